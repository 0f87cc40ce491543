/*
 * Claim: whatever a driver puts into rings and requests, the device refuses in the way the standard says, touches
 * nothing until it is reset, and then serves a good driver again. Needs drive 0 with the test's pattern; arguments:
 * mem=<MiB> sectors=N ro=0|1.
 */
#include "lib/virtio_blk.h"

#define RAM_END (RAM + (argument("mem=", 128) << 20))

/* What a chain leads to. ANY: the device may do either, because the rings are gone; it must only survive. */
enum want { RESET, STATUS, ANY };

struct chain_case {
	const char *name;
	void (*make)(void);
	enum want want;
	uint8_t status;
	uint64_t features;
};

/* The last one is behind every table that is told of. */
static struct desc indirect[4] __attribute__((aligned(64)));

static void plain(void)
{
	set_request(BLK_IN, 0, vq_data, SECTOR);
}

static void loop_of_one(void)
{
	plain();
	set_desc(1, (uint64_t)vq_data, SECTOR, D_NEXT | D_WRITE, 1);
}

static void loop_of_two(void)
{
	plain();
	set_desc(2, (uint64_t)&vq_status, 1, D_NEXT | D_WRITE, 1);
}

static void loop_to_head(void)
{
	plain();
	set_desc(1, (uint64_t)&vq_header, 16, D_NEXT, 0);
}

/* A right descriptor where no descriptor is: a device that follows there serves the request. */
static void plant(uint64_t index, unsigned int like)
{
	volatile struct desc *d = (volatile struct desc *)((uint64_t)vq_desc + 16 * index);
	d->addr = vq_desc[like].addr;
	d->len = vq_desc[like].len;
	d->flags = vq_desc[like].flags;
	d->next = vq_desc[like].next;
}

static void next_outside(void)
{
	plain();
	plant(VQ_SIZE, 2);
	vq_desc[1].next = VQ_SIZE;
}

static void next_far_outside(void)
{
	plain();
	plant(0xffff, 1);
	vq_desc[0].next = 0xffff;
}

static void head_outside(void)
{
	plain();
	plant(VQ_SIZE, 0);
	vq_avail.ring[0] = VQ_SIZE;
	vq_avail.idx = 1;
}

static void head_far_outside(void)
{
	plain();
	plant(0xffff, 0);
	vq_avail.ring[0] = 0xffff;
	vq_avail.idx = 1;
}

static void avail_17_ahead(void)
{
	plain();
	vq_avail.idx = VQ_SIZE + 1;
}

static void avail_far_ahead(void)
{
	plain();
	vq_avail.idx = 0x8000;
}

static void avail_behind(void)
{
	plain();
	vq_avail.idx = 0xffff;
}

static void data_at(uint64_t addr, uint32_t len)
{
	plain();
	vq_desc[1].addr = addr;
	vq_desc[1].len = len;
}

static void data_at_zero(void)
{
	data_at(0, SECTOR);
}

static void data_in_mmio(void)
{
	data_at(VIRTIO, SECTOR);
}

static void data_in_gic(void)
{
	data_at(GICD, SECTOR);
}

static void data_across_ram_end(void)
{
	data_at(RAM_END - 8, SECTOR);
}

static void data_across_ram_start(void)
{
	data_at(RAM - 8, SECTOR);
}

static void data_wraps_around(void)
{
	data_at(0xffffffffffffff00ul, SECTOR);
}

static void data_with_top_bit(void)
{
	data_at((uint64_t)vq_data | 1ul << 63, SECTOR);
}

static void data_of_4_gib(void)
{
	data_at((uint64_t)vq_data, 0xffffffff);
}

static void data_of_4_gib_at_top(void)
{
	data_at(0xfffffffffffff000ul, 0xffffffff);
}

static void empty_data(void)
{
	data_at((uint64_t)vq_data, 0);
}

static void header_in_mmio(void)
{
	plain();
	vq_desc[0].addr = UART;
}

static void status_in_mmio(void)
{
	plain();
	vq_desc[2].addr = RTC;
}

static void readable_behind_writable(void)
{
	plain();
	vq_desc[2].flags = 0;
}

static void no_status(void)
{
	plain();
	vq_desc[1].flags = D_NEXT;
	vq_desc[2].flags = 0;
}

static void header_alone(void)
{
	plain();
	vq_desc[0].flags = 0;
}

static void short_header(void)
{
	plain();
	vq_desc[0].len = 15;
}

static void no_header(void)
{
	plain();
	vq_desc[0].flags |= D_WRITE;
}

static void request_of(uint32_t type, uint64_t sector, uint32_t len)
{
	set_request(type, sector, vq_data, len);
}

static void unknown_type(void)
{
	request_of(0x77777777, 0, SECTOR);
}

static void sector_behind_end(void)
{
	request_of(BLK_IN, argument("sectors=", 64), SECTOR);
}

static void read_across_end(void)
{
	request_of(BLK_IN, argument("sectors=", 64) - 1, 2 * SECTOR);
}

static void sector_wraps_around(void)
{
	request_of(BLK_IN, ~0ul, 2 * SECTOR);
}

static void sector_times_512_wraps_around(void)
{
	request_of(BLK_IN, 1ul << 55, SECTOR);
}

static void write_behind_end(void)
{
	request_of(BLK_OUT, 1ul << 40, SECTOR);
}

static void write_just_behind_end(void)
{
	request_of(BLK_OUT, argument("sectors=", 64), SECTOR);
}

static void write_across_end(void)
{
	request_of(BLK_OUT, argument("sectors=", 64) - 1, 2 * SECTOR);
}

static void half_sector(void)
{
	request_of(BLK_IN, 0, 100);
}

static void write_half_sector(void)
{
	request_of(BLK_OUT, 0, SECTOR + 1);
}

static void indirect_to(const void *table, uint32_t len, uint16_t flags)
{
	plain();
	for (unsigned int i = 0; i < 3; i++)
		indirect[i] = *(struct desc *)(uintptr_t)&vq_desc[i];
	set_desc(0, (uint64_t)table, len, D_INDIRECT | flags, 1);
}

static void indirect_unnegotiated(void)
{
	indirect_to(indirect, 48, 0);
}

static void indirect_odd_length(void)
{
	indirect_to(indirect, 47, 0);
}

static void indirect_empty(void)
{
	indirect_to(indirect, 0, 0);
}

static void indirect_huge(void)
{
	indirect_to(indirect, 0xfffffff0, 0);
}

static void indirect_in_mmio(void)
{
	indirect_to((void *)VIRTIO, 48, 0);
}

static void indirect_with_next(void)
{
	indirect_to(indirect, 48, D_NEXT);
}

static void indirect_in_indirect(void)
{
	indirect_to(indirect, 48, 0);
	indirect[1].flags = D_INDIRECT;
}

static void indirect_in_itself(void)
{
	indirect_to(indirect, 48, 0);
	indirect[0] = (struct desc){ (uint64_t)indirect, 48, D_INDIRECT, 0 };
}

static void indirect_loop(void)
{
	indirect_to(indirect, 48, 0);
	indirect[2].flags = D_NEXT | D_WRITE;
	indirect[2].next = 1;
}

static void indirect_next_outside(void)
{
	indirect_to(indirect, 48, 0);
	indirect[3] = indirect[2];
	indirect[1].next = 3;
}

/* The device is made to write over what it is reading. */
static void data_over_rings(void)
{
	data_at((uint64_t)vq_desc, SECTOR);
}

static void data_over_avail(void)
{
	data_at((uint64_t)&vq_avail, SECTOR);
}

static void data_over_used(void)
{
	data_at((uint64_t)&vq_used, SECTOR);
}

static void status_over_avail_index(void)
{
	plain();
	vq_desc[2].addr = (uint64_t)&vq_avail.idx;
}

#define WANT_STATUS(s) STATUS, BLK_S_##s

static const struct chain_case chain_cases[] = {
	{ "a descriptor that leads to itself", loop_of_one, RESET, 0, 0 },
	{ "a loop of two", loop_of_two, RESET, 0, 0 },
	{ "a loop to the head", loop_to_head, RESET, 0, 0 },
	{ "next just outside the table", next_outside, RESET, 0, 0 },
	{ "next far outside the table", next_far_outside, RESET, 0, 0 },
	{ "head just outside the table", head_outside, RESET, 0, 0 },
	{ "head far outside the table", head_far_outside, RESET, 0, 0 },
	{ "available index one too far", avail_17_ahead, RESET, 0, 0 },
	{ "available index far too far", avail_far_ahead, RESET, 0, 0 },
	{ "available index backwards", avail_behind, RESET, 0, 0 },
	{ "data at address 0", data_at_zero, RESET, 0, 0 },
	{ "data in a device window", data_in_mmio, RESET, 0, 0 },
	{ "data in the GIC", data_in_gic, RESET, 0, 0 },
	{ "data across the end of RAM", data_across_ram_end, RESET, 0, 0 },
	{ "data across the start of RAM", data_across_ram_start, RESET, 0, 0 },
	{ "data that wraps around", data_wraps_around, RESET, 0, 0 },
	{ "data address with the top bit", data_with_top_bit, RESET, 0, 0 },
	{ "data of 4 GiB", data_of_4_gib, RESET, 0, 0 },
	{ "data of 4 GiB that wraps around", data_of_4_gib_at_top, RESET, 0, 0 },
	{ "a buffer of no bytes", empty_data, RESET, 0, 0 },
	{ "header in a device window", header_in_mmio, RESET, 0, 0 },
	{ "status in a device window", status_in_mmio, RESET, 0, 0 },
	{ "readable behind writable", readable_behind_writable, RESET, 0, 0 },
	{ "no status byte", no_status, RESET, 0, 0 },
	{ "a header alone", header_alone, RESET, 0, 0 },
	{ "a header cut short", short_header, WANT_STATUS(IOERR), 0 },
	{ "no header", no_header, WANT_STATUS(IOERR), 0 },
	{ "an unknown request", unknown_type, WANT_STATUS(UNSUPP), 0 },
	{ "a read behind the end", sector_behind_end, WANT_STATUS(IOERR), 0 },
	{ "a read across the end", read_across_end, WANT_STATUS(IOERR), 0 },
	{ "a sector that wraps around", sector_wraps_around, WANT_STATUS(IOERR), 0 },
	{ "a sector whose byte offset wraps around", sector_times_512_wraps_around,
	  WANT_STATUS(IOERR), 0 },
	{ "a write behind the end", write_behind_end, WANT_STATUS(IOERR), 0 },
	{ "a write just behind the end", write_just_behind_end, WANT_STATUS(IOERR), 0 },
	{ "a write across the end", write_across_end, WANT_STATUS(IOERR), 0 },
	{ "a read of a part of a sector", half_sector, WANT_STATUS(IOERR), 0 },
	{ "a write of a sector and a byte", write_half_sector, WANT_STATUS(IOERR), 0 },
	{ "indirect without the feature", indirect_unnegotiated, RESET, 0, 0 },
	{ "indirect of an odd length", indirect_odd_length, RESET, 0, F_INDIRECT },
	{ "indirect of no length", indirect_empty, RESET, 0, F_INDIRECT },
	{ "indirect of 4 GiB", indirect_huge, RESET, 0, F_INDIRECT },
	{ "indirect in a device window", indirect_in_mmio, RESET, 0, F_INDIRECT },
	{ "indirect with a next", indirect_with_next, RESET, 0, F_INDIRECT },
	{ "indirect in indirect", indirect_in_indirect, RESET, 0, F_INDIRECT },
	{ "indirect in itself", indirect_in_itself, RESET, 0, F_INDIRECT },
	{ "a loop in an indirect table", indirect_loop, RESET, 0, F_INDIRECT },
	{ "next outside the indirect table", indirect_next_outside, RESET, 0, F_INDIRECT },
	{ "data over the descriptors", data_over_rings, ANY, 0, 0 },
	{ "data over the available ring", data_over_avail, ANY, 0, 0 },
	{ "data over the used ring", data_over_used, ANY, 0, 0 },
	{ "status over the available index", status_over_avail_index, ANY, 0, 0 },
};

static void expect_reset(const char *name)
{
	if (vq_used.idx != 0)
		fail("%s: the device has used a buffer", name);
	/* It touches nothing any more, whatever it is told. */
	plain();
	vq_avail.idx = 0;
	submit(0);
	kick(0);
	for (unsigned int i = 0; i < 20; i++)
		if (!(reg_read(VIRTIO_STATUS) & S_NEEDS_RESET))
			fail("%s: NEEDS_RESET has gone without a reset", name);
	if (vq_used.idx != 0)
		fail("%s: the device works on although it needs a reset", name);
}

static void run_chain(const struct chain_case *c)
{
	blk_init(c->features);
	c->make();
	vq_status = 0xaa;
	if (vq_avail.idx == 0)
		submit(0);
	kick(0);
	if (c->want == ANY) {
		for (unsigned int i = 0; i < 100; i++)
			(void)reg_read(VIRTIO_STATUS);
	} else if (c->want == RESET) {
		if (wait_used())
			fail("%s: served with status %lx", c->name, (uint64_t)vq_status);
		expect_reset(c->name);
	} else {
		if (!wait_used())
			fail("%s: the device wants a reset", c->name);
		if (vq_status != c->status)
			fail("%s: status %lx", c->name, (uint64_t)vq_status);
	}
	good_read(c->name);
}

/* VIRTIO_BLK_F_RO is a request to the driver; the device must not rely on it. Argument: ro=1. */
static void write_to_the_drive(void)
{
	const uint64_t is_read_only = argument("ro=", 0);

	blk_init(0);
	for (unsigned int i = 0; i < SECTOR / 8; i++)
		((volatile uint64_t *)vq_data)[i] = disk_word(5, i); /* what is there already */
	set_request(BLK_OUT, is_read_only ? 6 : 5, vq_data, SECTOR);
	submit(0);
	kick(0);
	if (!wait_used() || vq_status != (is_read_only ? BLK_S_IOERR : BLK_S_OK))
		fail("a write gives status %lx, ro=%lu", (uint64_t)vq_status, is_read_only);
	good_read("a write");
}

void guest_main(void)
{
	if (reg_read(VIRTIO_MAGIC) != 0x74726976 || reg_read(VIRTIO_DEVICE_ID) != 2)
		fail("there is no drive");
	good_read("nothing");
	write_to_the_drive();
	for (unsigned int i = 0; i < ARRAY_SIZE(chain_cases); i++)
		run_chain(&chain_cases[i]);
	print("chains: %lu\n", (uint64_t)ARRAY_SIZE(chain_cases));
}
