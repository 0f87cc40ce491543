/*
 * Claim: pauses lose and repeat nothing. Prints "n=<number> other=<number>" with n growing by one each line for
 * ever; each round also reads a register with a known value and a moving pattern through the UART's scratch
 * register, so an MMIO access that a pause has torn is found. Needs 2 vCPUs; the other counts in memory.
 */
#include "lib/guest.h"

static volatile uint64_t other;

void secondary_main(void)
{
	for (;;)
		other++;
}

void guest_main(void)
{
	start_secondary();
	for (uint64_t n = 1;; n++) {
		for (unsigned int i = 0; i < 20; i++) {
			mmio_write(UART + 7, 1, n + i);
			uint64_t scratch = mmio_read(UART + 7, 1);
			uint64_t id = mmio_read(RTC + 0xfe0, 4);
			if (scratch != ((n + i) & 0xff) || id != 0x31)
				fail("round %lu: scratch reads %lx, RTC id %lx", n, scratch, id);
		}
		print("n=%lu other=%lu\n", n, other);
	}
}
