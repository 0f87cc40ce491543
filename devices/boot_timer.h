/* The boot timer: the guest writes 123 on reaching user space, and the log says when that was. */
#ifndef WICK_DEVICES_BOOT_TIMER_H
#define WICK_DEVICES_BOOT_TIMER_H

#include <stdint.h>

#include "devices/registry.h"

struct boot_timer_config {
	gpa_t base;
	uint64_t start_us;     /* CLOCK_MONOTONIC when the VM's start was asked for */
	uint64_t start_cpu_us; /* process CPU time then */
};

extern const struct device_ops boot_timer_device_ops; /* config: struct boot_timer_config */

#endif
