/* Claim (gic.md A-14): loads and stores where nothing is end in this guest's external abort, at the right address. */
#include "lib/guest.h"

static const uint64_t places[] = {
	0x0,          0x1000,     0x3f000000, /* below the redistributors */
	0x40f00000,                           /* behind the last virtio window */
	0x6ffff000,   0x70000000, 0x7ffffff8, /* just below RAM */
	0xf0000000,                           /* behind RAM */
	0x1000000000,                         /* 64 GiB */
	0x4000000000, /* the 64-bit MMIO window: behind what a small guest's address space has */
};

static void check(uint64_t addr, unsigned int size, bool is_write)
{
	traps_clear();
	if (is_write)
		mmio_write(addr, size, 0x5a);
	else
		(void)mmio_read(addr, size);
	if (traps[0].count != 1)
		fail("%s of %lu at %lx: %lu traps", is_write ? "write" : "read", (uint64_t)size,
		     addr, traps[0].count);
	if (ESR_EC(traps[0].esr) != EC_DATA_ABORT || traps[0].far != addr)
		fail("%s of %lu at %lx: esr %lx far %lx", is_write ? "write" : "read",
		     (uint64_t)size, addr, traps[0].esr, traps[0].far);
}

void guest_main(void)
{
	uint64_t n = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		for (unsigned int size = 1; size <= 8; size *= 2, n += 2) {
			check(places[i], size, false);
			check(places[i], size, true);
		}
	/* In quantity: the log must not grow with it. */
	traps_clear();
	for (unsigned int i = 0; i < 2000; i++)
		mmio_write(0x60000000 + 8 * i, 8, i);
	if (traps[0].count != 2000)
		fail("2000 writes to nothing: %lu traps", traps[0].count);
	print("aborts: %lu\n", n + 2000);
}
