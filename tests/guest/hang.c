/* Claim: none; it prints HANGING and spins for ever with interrupts masked, on every vCPU that there is (cpus=2). */
#include "lib/guest.h"

void secondary_main(void)
{
	for (;;)
		__asm__ volatile("");
}

void guest_main(void)
{
	if (argument("cpus=", 1) == 2)
		start_secondary();
	print("HANGING\n");
	for (;;)
		__asm__ volatile("");
}
