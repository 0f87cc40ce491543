/* The kinds of device there are, in one explicit array. Owns nothing. */
#include "devices/registry.h"

#include <string.h>

#include "devices/block/block.h"
#include "devices/boot_timer.h"
#include "devices/rng.h"
#include "devices/rtc_pl031.h"
#include "devices/serial.h"
#include "vmm/base/bits.h"

static const struct device_ops *const kinds[] = {
	&block_device_ops,     &rng_device_ops,        &serial_device_ops,
	&rtc_pl031_device_ops, &boot_timer_device_ops,
};

const struct device_ops *device_find(const char *kind)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i]->kind, kind) == 0)
			return kinds[i];
	return NULL;
}
