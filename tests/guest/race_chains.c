/*
 * Claim: a driver that changes descriptors, headers and indices while the device reads them gets an answer or a
 * device that needs a reset, never more. CPU 1 rewrites them all the time; needs 2 vCPUs and the test's drive.
 */
#include "lib/virtio_blk.h"

static volatile bool is_racing, is_idle = true;
static uint64_t answers, resets;

/* Between what is right and what is not, as fast as it goes. */
static void rewrite(uint64_t r)
{
	static const uint64_t places[] = { 0, VIRTIO, GICD, RAM - 8, ~0xful, 0x4000000000ul };
	volatile struct desc *d = &vq_desc[r & 3];

	switch ((r >> 8) & 7) {
	case 0:
		d->addr = places[(r >> 16) % ARRAY_SIZE(places)];
		break;
	case 1:
		d->len = (uint32_t)(r >> 16);
		break;
	case 2:
		d->len = SECTOR;
		break;
	case 3:
		d->flags = (uint16_t)(r >> 16) & 7;
		break;
	case 4:
		d->next = (uint16_t)(r >> 16);
		break;
	case 5:
		vq_header.type = (r >> 16) & 1 ? BLK_IN : (uint32_t)(r >> 20) & 15;
		break;
	case 6:
		vq_header.sector = (r >> 16) & 1 ? 3 : r;
		break;
	default:
		d->addr = (uint64_t)vq_data;
		break;
	}
}

void secondary_main(void)
{
	uint64_t seed = argument("seed=", 1) + 0x9e3779b97f4a7c15ul;
	for (;;) {
		while (!is_racing) {
			is_idle = true;
			pause_cpu();
		}
		is_idle = false;
		rewrite(next_random(&seed));
	}
}

/* Status bytes that the device writes behind the driver's back may hit rings: only survival counts. */
static void race(void)
{
	blk_init(0);
	set_request(BLK_IN, 3, vq_data, SECTOR);
	/* No writes to the disk: the test compares it. */
	vq_desc[3].addr = (uint64_t)vq_data;
	is_racing = true;
	for (unsigned int i = 0; i < 50; i++) {
		submit(0);
		kick(0);
		if (reg_read(VIRTIO_STATUS) & S_NEEDS_RESET)
			break;
	}
	resets += !!(reg_read(VIRTIO_STATUS) & S_NEEDS_RESET);
	answers += vq_used.idx;
	is_racing = false;
	while (!is_idle)
		pause_cpu();
	good_read("a race");
}

void guest_main(void)
{
	start_secondary();
	for (unsigned int i = 0; i < 60; i++)
		race();
	print("resets: %lu\n", resets);
	print("answers: %lu\n", answers);
}
