/* Claim: PSCI's off and reset end the monitor. Arguments: psci=off (or none), psci=reset, from=1 (the second CPU asks). */
#include "lib/guest.h"

static void end(void)
{
	(void)psci(has_argument("psci=reset") ? PSCI_SYSTEM_RESET : PSCI_SYSTEM_OFF, 0, 0, 0);
	fail("SYSTEM_OFF or SYSTEM_RESET has returned");
}

void secondary_main(void)
{
	end();
}

void guest_main(void)
{
	print("ends\n");
	if (argument("from=", 0) == 1) {
		start_secondary();
		for (;;)
			pause_cpu();
	}
	end();
}
