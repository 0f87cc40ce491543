/*
 * Claim: PSCI calls with bad arguments are answered as the standard says (DEN0022), and a CPU that starts at an
 * address without memory harms nobody. Needs 2 vCPUs. With hang=1 it stays there for the test to look at.
 */
#include "lib/guest.h"

#define NOT_SUPPORTED      -1
#define INVALID_PARAMETERS -2
#define ALREADY_ON         -4
#define AFFINITY_ON        0
#define AFFINITY_OFF       1

static const struct call {
	const char *name;
	uint64_t function, a, b;
	long want;
} calls[] = {
	{ "CPU_ON of a CPU that is not there", PSCI_CPU_ON, 0x700, RAM + 0x200000,
	  INVALID_PARAMETERS },
	{ "CPU_ON with reserved MPIDR bits", PSCI_CPU_ON, 0xff00000001000001, RAM + 0x200000,
	  INVALID_PARAMETERS },
	{ "CPU_ON of the CPU itself", PSCI_CPU_ON, 0, RAM + 0x200000, ALREADY_ON },
	{ "AFFINITY_INFO of a CPU that is not there", PSCI_AFFINITY_INFO, 0x700, 0,
	  INVALID_PARAMETERS },
	{ "AFFINITY_INFO of an unknown level", PSCI_AFFINITY_INFO, 0, 9, INVALID_PARAMETERS },
	{ "AFFINITY_INFO of the CPU itself", PSCI_AFFINITY_INFO, 0, 0, AFFINITY_ON },
	{ "AFFINITY_INFO of CPU 1 before its start", PSCI_AFFINITY_INFO, 1, 0, AFFINITY_OFF },
	{ "a PSCI function that does not exist", 0x840000ff, 0, 0, NOT_SUPPORTED },
	{ "a hypercall that does not exist", 0xc600ffff, 1, 2, NOT_SUPPORTED },
};

static volatile uint64_t second;

void secondary_main(void)
{
	second++;
	(void)psci(PSCI_CPU_OFF, 0, 0, 0);
	fail("CPU_OFF has returned");
}

void guest_main(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		const struct call *c = &calls[i];
		long rc = psci(c->function, c->a, c->b, 0);
		if (rc != c->want)
			fail("%s gives %lx", c->name, (uint64_t)rc);
	}
	for (unsigned int i = 1; i <= 10; i++) {
		turn_on_secondary();
		while (second != i)
			pause_cpu();
		while (psci(PSCI_AFFINITY_INFO, 1, 0, 0) != AFFINITY_OFF)
			pause_cpu();
	}
	if (psci(PSCI_CPU_ON, 1, UART, 0) != 0)
		fail("CPU_ON at a device's address was refused: KVM does not look at it");
	print("calls: %lu\n", (uint64_t)ARRAY_SIZE(calls));
	if (argument("hang=", 0) == 1) {
		print("HANGING\n");
		for (;;)
			pause_cpu();
	}
}
