/*
 * Claim: a second vCPU makes progress while the first does what it should not. CPU 0 misbehaves until both have
 * done enough; a CPU 1 that stands still makes the guest never end.
 */
#include "lib/guest.h"

static volatile uint64_t progress;

void secondary_main(void)
{
	for (;;)
		progress++;
}

static void misbehave(uint64_t *seed)
{
	uint64_t r = next_random(seed);
	uint64_t addr = 0x50000000 + (r & 0xffff8);

	switch (r >> 62) {
	case 0:
		__asm__ volatile("ldp x2, x3, [%0]" : : "r"(UART) : "x2", "x3", "memory");
		break;
	case 1:
		((void (*)(void))(addr & ~0xful))();
		break;
	case 2:
		mmio_write(addr, 4, r);
		break;
	default:
		(void)mmio_read(addr, 8);
		break;
	}
}

void guest_main(void)
{
	uint64_t seed = argument("seed=", 1) * 0x9e3779b97f4a7c15ul + 1;
	uint64_t n;

	start_secondary();
	while (progress == 0)
		pause_cpu();
	uint64_t before = progress;
	for (n = 0; n < 3000 || progress < before + 100000; n++)
		misbehave(&seed);
	print("misdeeds: %lu, trapped: %lu\n", n, traps[0].count);
	if (traps[0].count != n)
		fail("not every misdeed trapped");
	if (traps[1].count)
		fail("the other CPU has trapped %lu times", traps[1].count);
	print("progress: %lu\n", progress - before);
}
