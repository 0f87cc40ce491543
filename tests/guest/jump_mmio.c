/* Claim: a jump to where no memory is, device or nothing, is this guest's prefetch abort. */
#include "lib/guest.h"

static const uint64_t places[] = {
	0x0,  GICD,   GICD - GICR_SIZE, BOOT_TIMER, RTC,
	UART, VIRTIO, 0x60000000,       0x7ffff000, 0xf0000000,
};

void guest_main(void)
{
	for (unsigned int round = 0; round < 50; round++)
		for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
			traps_clear();
			((void (*)(void))places[i])();
			if (traps[0].count != 1 || ESR_EC(traps[0].esr) != EC_PREFETCH_ABORT ||
			    traps[0].far != places[i])
				fail("jump to %lx: %lu traps, esr %lx, far %lx", places[i],
				     traps[0].count, traps[0].esr, traps[0].far);
		}
	print("aborts: %lu\n", (uint64_t)(50 * ARRAY_SIZE(places)));
}
