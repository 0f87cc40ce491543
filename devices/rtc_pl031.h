/* The PL031 real-time clock (ARM DDI 0224), no interrupt: the host's wall clock at each read. */
#ifndef WICK_DEVICES_RTC_PL031_H
#define WICK_DEVICES_RTC_PL031_H

#include "devices/registry.h"
#include "vmm/base/metric.h"

struct rtc_config {
	gpa_t base;
};

extern const struct device_ops rtc_pl031_device_ops; /* config: struct rtc_config */

/* Named as in Firecracker's "rtc" metrics; process-wide. */
struct rtc_metrics {
	metric_t error_count;       /* nothing here can fail: stays 0 */
	metric_t missed_read_count; /* accesses that are not to a register, aligned, 32 bits wide */
	metric_t missed_write_count; /* such, and writes to read-only registers */
};
struct rtc_metrics *rtc_metrics(void);

#endif
