/*
 * A raw virtio-block driver for guests that misuse it: virtio-mmio version 2, one queue of 16, polled. Rings are
 * plain memory for the test to write what it likes into.
 */
#ifndef WICK_GUEST_VIRTIO_BLK_H
#define WICK_GUEST_VIRTIO_BLK_H

#include "guest.h"

#define VQ_SIZE 16

#define VIRTIO_MAGIC            0x000
#define VIRTIO_DEVICE_ID        0x008
#define VIRTIO_FEATURES         0x010
#define VIRTIO_FEATURES_SEL     0x014
#define VIRTIO_DRV_FEATURES     0x020
#define VIRTIO_DRV_FEATURES_SEL 0x024
#define VIRTIO_QUEUE_SEL        0x030
#define VIRTIO_QUEUE_NUM_MAX    0x034
#define VIRTIO_QUEUE_NUM        0x038
#define VIRTIO_QUEUE_READY      0x044
#define VIRTIO_QUEUE_NOTIFY     0x050
#define VIRTIO_INT_STATUS       0x060
#define VIRTIO_INT_ACK          0x064
#define VIRTIO_STATUS           0x070
#define VIRTIO_QUEUE_DESC       0x080
#define VIRTIO_QUEUE_AVAIL      0x090
#define VIRTIO_QUEUE_USED       0x0a0
#define VIRTIO_CONFIG           0x100

#define S_ACKNOWLEDGE 0x01
#define S_DRIVER      0x02
#define S_DRIVER_OK   0x04
#define S_FEATURES_OK 0x08
#define S_NEEDS_RESET 0x40
#define S_FAILED      0x80

#define F_INDIRECT  (1ul << 28)
#define F_VERSION_1 (1ul << 32)

#define D_NEXT     1
#define D_WRITE    2
#define D_INDIRECT 4

#define BLK_IN       0
#define BLK_OUT      1
#define BLK_S_OK     0
#define BLK_S_IOERR  1
#define BLK_S_UNSUPP 2
#define SECTOR       512

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct avail {
	volatile uint16_t flags, idx, ring[VQ_SIZE], used_event;
};

struct used {
	volatile uint16_t flags, idx;
	struct {
		volatile uint32_t id, len;
	} ring[VQ_SIZE];
	volatile uint16_t avail_event;
};

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* Twice the table: what is behind it looks right, so that a device that goes there is found out. */
extern volatile struct desc vq_desc[2 * VQ_SIZE];
extern struct avail vq_avail;
extern struct used vq_used;
extern volatile struct blk_header vq_header;
extern volatile uint8_t vq_status;
extern uint8_t vq_data[8 * SECTOR];

static inline uint32_t reg_read(uint64_t reg)
{
	return (uint32_t)mmio_read(VIRTIO + reg, 4);
}

static inline void reg_write(uint64_t reg, uint32_t value)
{
	mmio_write(VIRTIO + reg, 4, value);
}

/* Reset, negotiation, the driver's part of the status up to FEATURES_OK; rings cleared. */
void blk_negotiate(uint64_t features);
/* Where the rings are, as the queue's registers want it. */
void blk_set_queue(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used);
/* Both, with the real rings, and DRIVER_OK. */
void blk_init(uint64_t features);

void set_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
/* A right request in descriptors 0 to 2: header, data, status. */
void set_request(uint32_t type, uint64_t sector, void *data, uint32_t len);
void submit(uint16_t head);
void kick(uint32_t queue);
/* Until the device has used a buffer (true) or wants a reset (false). */
bool wait_used(void);

/* Sector n's word w on the test's disk; the host makes the file by the same rule. */
static inline uint64_t disk_word(uint64_t sector, uint64_t word)
{
	return (sector * 64 + word + 1) * 0x9e3779b97f4a7c15ul;
}

/* Reads sectors through a fresh device and compares; fails the guest naming `after`. */
void good_read(const char *after);

#endif
