/* The PL031 real-time clock (ARM DDI 0224), without its interrupt: wall clock of the host at each read. */
#ifndef WICK_DEVICES_RTC_PL031_H
#define WICK_DEVICES_RTC_PL031_H

#include "devices/registry.h"

struct rtc_config {
	gpa_t base;
};

extern const struct device_ops rtc_pl031_device_ops; /* config: struct rtc_config */

#endif
