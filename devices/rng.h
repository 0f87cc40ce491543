/* virtio-rng: the host's random numbers for the guest. */
#ifndef WICK_DEVICES_RNG_H
#define WICK_DEVICES_RNG_H

#include "devices/registry.h"

extern const struct device_ops rng_device_ops; /* config: none (NULL) */

#endif
