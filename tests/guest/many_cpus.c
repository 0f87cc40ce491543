/*
 * Claim (gic.md C-8, H-18): every vCPU finds its own redistributor: MPIDR is KVM's formula, GICR_TYPER of the frame
 * with its number has the same affinity and number, and the last frame alone says "last". Argument: cpus=N.
 */
#include "lib/guest.h"

#define GICR_TYPER      0x08
#define TYPER_LAST      (1ul << 4)
#define TYPER_NUMBER(t) (((t) >> 8) & 0xffff)
#define TYPER_AFF(t)    ((t) >> 32)

static volatile uint64_t checked[CPUS_MAX];

static uint64_t cpus(void)
{
	static uint64_t n;
	if (!n)
		n = argument("cpus=", 1);
	return n;
}

static void check_frame(unsigned int self)
{
	uint64_t mpidr;
	__asm__ volatile("mrs %0, mpidr_el1" : "=r"(mpidr));
	const uint64_t affinity = mpidr & 0xff00fffffful;
	const uint64_t typer = mmio_read(GICD - (cpus() - self) * GICR_SIZE + GICR_TYPER, 8);

	if (affinity != mpidr_of(self))
		fail("CPU %lu has MPIDR %lx", (uint64_t)self, mpidr);
	if (TYPER_AFF(typer) != affinity)
		fail("CPU %lu: GICR_TYPER %lx", (uint64_t)self, typer);
	if (TYPER_NUMBER(typer) != self)
		fail("CPU %lu: GICR_TYPER %lx has another number", (uint64_t)self, typer);
	if (!!(typer & TYPER_LAST) != (self == cpus() - 1))
		fail("CPU %lu: GICR_TYPER %lx: last or not is wrong", (uint64_t)self, typer);
	if (traps[self].count)
		fail("CPU %lu has trapped", (uint64_t)self);
	checked[self] = 1;
}

void secondary_main(void)
{
	check_frame(cpu_index());
}

void guest_main(void)
{
	if (cpus() > CPUS_MAX)
		fail("more CPUs than there are stacks");
	check_frame(0);
	for (unsigned int i = 1; i < cpus(); i++) {
		turn_on(i);
		while (!checked[i])
			pause_cpu();
	}
	/* The one behind the last is not there. */
	long rc = psci(PSCI_CPU_ON, mpidr_of((unsigned int)cpus()), (uint64_t)secondary_boot, 0);
	if (rc != -2)
		fail("CPU_ON of one CPU too many gives %lx", (uint64_t)rc);
	print("cpus: %lu\n", cpus());
}
