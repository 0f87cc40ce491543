/* The polled virtio-block driver of virtio_blk.h. */
#include "virtio_blk.h"

volatile struct desc vq_desc[2 * VQ_SIZE] __attribute__((aligned(4096)));
struct avail vq_avail __attribute__((aligned(4096)));
struct used vq_used __attribute__((aligned(4096)));
volatile struct blk_header vq_header __attribute__((aligned(64)));
volatile uint8_t vq_status __attribute__((aligned(64)));
uint8_t vq_data[8 * SECTOR] __attribute__((aligned(4096)));

static void clear(volatile void *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)at)[i] = 0;
}

void blk_negotiate(uint64_t features)
{
	reg_write(VIRTIO_STATUS, 0);
	if (reg_read(VIRTIO_STATUS) != 0)
		fail("status is %lx after a reset", (uint64_t)reg_read(VIRTIO_STATUS));
	clear(vq_desc, sizeof(vq_desc));
	clear(&vq_avail, sizeof(vq_avail));
	clear(&vq_used, sizeof(vq_used));
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE);
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	features |= F_VERSION_1;
	for (uint32_t word = 0; word < 2; word++) {
		reg_write(VIRTIO_DRV_FEATURES_SEL, word);
		reg_write(VIRTIO_DRV_FEATURES, (uint32_t)(features >> (32 * word)));
	}
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
	if (!(reg_read(VIRTIO_STATUS) & S_FEATURES_OK))
		fail("features %lx are refused", features);
}

static void set_address(uint64_t reg, uint64_t value)
{
	reg_write(reg, (uint32_t)value);
	reg_write(reg + 4, (uint32_t)(value >> 32));
}

void blk_set_queue(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	reg_write(VIRTIO_QUEUE_SEL, 0);
	reg_write(VIRTIO_QUEUE_NUM, size);
	set_address(VIRTIO_QUEUE_DESC, desc);
	set_address(VIRTIO_QUEUE_AVAIL, avail);
	set_address(VIRTIO_QUEUE_USED, used);
	reg_write(VIRTIO_QUEUE_READY, 1);
}

void blk_init(uint64_t features)
{
	blk_negotiate(features);
	blk_set_queue(VQ_SIZE, (uint64_t)vq_desc, (uint64_t)&vq_avail, (uint64_t)&vq_used);
	reg_write(VIRTIO_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

void set_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	vq_desc[i].addr = addr;
	vq_desc[i].len = len;
	vq_desc[i].flags = flags;
	vq_desc[i].next = next;
}

void set_request(uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	vq_header.type = type;
	vq_header.reserved = 0;
	vq_header.sector = sector;
	vq_status = 0xaa;
	set_desc(0, (uint64_t)&vq_header, sizeof(vq_header), D_NEXT, 1);
	set_desc(1, (uint64_t)data, len, D_NEXT | (type == BLK_OUT ? 0 : D_WRITE), 2);
	set_desc(2, (uint64_t)&vq_status, 1, D_WRITE, 0);
}

void submit(uint16_t head)
{
	vq_avail.ring[vq_avail.idx % VQ_SIZE] = head;
	__asm__ volatile("dmb sy" : : : "memory");
	vq_avail.idx++;
	__asm__ volatile("dmb sy" : : : "memory");
}

void kick(uint32_t queue)
{
	__asm__ volatile("dsb sy" : : : "memory");
	reg_write(VIRTIO_QUEUE_NOTIFY, queue);
}

bool wait_used(void)
{
	for (uint64_t n = 1;; n++) {
		__asm__ volatile("dmb sy" : : : "memory");
		if (vq_used.idx != 0)
			return true;
		/* Seldom: each look at the register is an exit to the monitor. */
		if (n % 1024 == 0 && (reg_read(VIRTIO_STATUS) & S_NEEDS_RESET))
			return false;
		pause_cpu();
	}
}

void good_read(const char *after)
{
	const uint64_t first = 3, sectors = 8;

	blk_init(0);
	clear(vq_data, sizeof(vq_data));
	set_request(BLK_IN, first, vq_data, sizeof(vq_data));
	submit(0);
	kick(0);
	if (!wait_used())
		fail("after %s a good read makes the device want a reset", after);
	if (vq_used.idx != 1 || vq_used.ring[0].id != 0 ||
	    vq_used.ring[0].len != sizeof(vq_data) + 1 || vq_status != BLK_S_OK)
		fail("after %s a good read gives status %lx, used %lu of %lu bytes", after,
		     (uint64_t)vq_status, (uint64_t)vq_used.idx, (uint64_t)vq_used.ring[0].len);
	for (uint64_t s = 0; s < sectors; s++)
		for (uint64_t w = 0; w < SECTOR / 8; w++)
			if (((volatile uint64_t *)vq_data)[s * 64 + w] != disk_word(first + s, w))
				fail("after %s a good read gives other data: sector %lu word %lu",
				     after, first + s, w);
}
