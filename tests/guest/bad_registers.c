/*
 * Claim: whatever a driver writes into a device's registers, in whatever order, the device keeps to the standard's
 * status machine, and after a reset it serves a good driver again. Needs drive 0 with the test's pattern, and
 * 128 MiB of RAM.
 */
#include "lib/virtio_blk.h"

/* --- queue registers ------------------------------------------------------------------------------------- */

static const struct queue_case {
	const char *name;
	uint32_t size;
	uint64_t desc, avail, used; /* 0: the real one; else this address */
} queue_cases[] = {
	{ "a queue of 0", 0, 0, 0, 0 },
	{ "a queue of 3", 3, 0, 0, 0 },
	{ "a queue of 512", 512, 0, 0, 0 },
	{ "a queue of 2^31", 0x80000000, 0, 0, 0 },
	{ "descriptors in a device window", 16, VIRTIO, 0, 0 },
	{ "available ring in a device window", 16, 0, UART, 0 },
	{ "used ring in the GIC", 16, 0, 0, GICD },
	{ "descriptors at the very end", 16, ~0xful, 0, 0 },
	{ "available ring that wraps around", 16, 0, ~1ul, 0 },
	{ "used ring that wraps around", 16, 0, 0, ~3ul },
	{ "descriptors off by one", 16, RAM + 0x400001, 0, 0 },
	{ "available ring off by one", 16, 0, RAM + 0x400001, 0 },
	{ "used ring off by two", 16, 0, 0, RAM + 0x400002 },
	{ "used ring across the end of RAM", 16, 0, 0, RAM + 0x8000000 - 16 },
};

static void run_queue(const struct queue_case *q)
{
	const uint8_t all = S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK;

	blk_negotiate(0);
	blk_set_queue(q->size, q->desc ? q->desc : (uint64_t)vq_desc,
		      q->avail ? q->avail : (uint64_t)&vq_avail,
		      q->used ? q->used : (uint64_t)&vq_used);
	set_request(BLK_IN, 0, vq_data, SECTOR);
	submit(0);
	reg_write(VIRTIO_STATUS, all);
	kick(0);
	if (reg_read(VIRTIO_STATUS) != (all | S_NEEDS_RESET))
		fail("%s: status %lx", q->name, (uint64_t)reg_read(VIRTIO_STATUS));
	if (vq_used.idx != 0)
		fail("%s: served", q->name);
	good_read(q->name);
}

/* --- the status machine ---------------------------------------------------------------------------------- */

static void expect_status(uint32_t want, const char *what)
{
	uint32_t status = reg_read(VIRTIO_STATUS);
	if (status != want)
		fail("%s: status %lx", what, (uint64_t)status);
}

static void out_of_order(void)
{
	static const uint8_t jumps[] = { 0x02, 0x03, 0x04, 0x07, 0x08, 0x0b,
					 0x0f, 0x10, 0x20, 0x3f, 0xff };

	for (unsigned int i = 0; i < ARRAY_SIZE(jumps); i++) {
		reg_write(VIRTIO_STATUS, 0);
		reg_write(VIRTIO_STATUS, jumps[i]);
		expect_status(0, "a jump in the status");
	}
	good_read("jumps in the status");
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE);
	expect_status(0x0f, "a status bit cleared without reset");
	good_read("bits cleared");
	/* NEEDS_RESET is the device's own. */
	reg_write(VIRTIO_STATUS, 0x0f | S_NEEDS_RESET);
	expect_status(0x0f, "NEEDS_RESET from the driver");
	reg_write(VIRTIO_STATUS, 0x0f | S_FAILED);
	expect_status(0x0f | S_FAILED, "FAILED from the driver");
	good_read("FAILED");
}

static void garbage_registers(void)
{
	uint64_t seed = argument("seed=", 7);

	for (unsigned int round = 0; round < 30; round++) {
		for (unsigned int i = 0; i < 20; i++)
			reg_write(VIRTIO_STATUS, (uint32_t)next_random(&seed) & 0xff);
		for (unsigned int i = 0; i < 20; i++)
			mmio_write(VIRTIO + (next_random(&seed) & 0xfff),
				   1u << (next_random(&seed) & 1), next_random(&seed));
		kick((uint32_t)next_random(&seed));
		good_read("garbage in registers");
	}
}

static void features_not_offered(void)
{
	reg_write(VIRTIO_STATUS, 0);
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE);
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	for (uint32_t word = 0; word < 2; word++) {
		reg_write(VIRTIO_DRV_FEATURES_SEL, word);
		reg_write(VIRTIO_DRV_FEATURES, 0xffffffff);
	}
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
	expect_status(S_ACKNOWLEDGE | S_DRIVER, "features that were not offered");
	good_read("features that were not offered");
}

static void idle_queue(void)
{
	blk_negotiate(0);
	reg_write(VIRTIO_STATUS, 0x0f);
	set_request(BLK_IN, 0, vq_data, SECTOR);
	submit(0);
	for (uint32_t q = 0; q < 4; q++)
		kick(q);
	expect_status(0x0f, "a kick of a queue that is not ready");
	if (vq_used.idx != 0)
		fail("a queue that is not ready is served");
	good_read("a queue that is not ready");
}

/* A running device's rings are neither moved nor resized: entry n is used slot n modulo the size it had. */
static void live_queue_changed(void)
{
	blk_init(0);
	blk_set_queue(256, VIRTIO, UART, GICD);
	for (unsigned int i = 0; i < 2 * VQ_SIZE; i++) {
		set_request(BLK_IN, 3, vq_data, SECTOR);
		vq_data[0] = 0;
		submit(0);
		kick(0);
		while (vq_used.idx != i + 1 && !(reg_read(VIRTIO_STATUS) & S_NEEDS_RESET))
			pause_cpu();
		if (vq_used.idx != i + 1 || vq_used.ring[i % VQ_SIZE].len != SECTOR + 1 ||
		    vq_status != BLK_S_OK || *(volatile uint64_t *)vq_data != disk_word(3, 0))
			fail("a live queue was changed: request %lu", (uint64_t)i);
		vq_used.ring[i % VQ_SIZE].len = 0;
	}
	good_read("a live queue's registers written");
}

void guest_main(void)
{
	good_read("nothing");
	for (unsigned int i = 0; i < ARRAY_SIZE(queue_cases); i++)
		run_queue(&queue_cases[i]);
	print("queues: %lu\n", (uint64_t)ARRAY_SIZE(queue_cases));
	out_of_order();
	features_not_offered();
	idle_queue();
	live_queue_changed();
	garbage_registers();
	if (traps[0].count)
		fail("%lu accesses to the device have trapped", traps[0].count);
}
