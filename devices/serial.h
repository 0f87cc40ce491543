/* The 16550A UART: the guest's console, its input from stdin and its output to stdout or a file. */
#ifndef WICK_DEVICES_SERIAL_H
#define WICK_DEVICES_SERIAL_H

#include <stdbool.h>

#include "devices/registry.h"
#include "vmm/base/metric.h"

struct serial_config {
	gpa_t base;
	bool has_serial_out_path;
	char serial_out_path[4096]; /* absent: stdout, and input from a stdin that is tty or FIFO */
};

extern const struct device_ops serial_device_ops; /* config: struct serial_config */

/*
 * Puts the terminal back as it was before the UART made it raw. Async-signal-safe and idempotent:
 * every way out of the process calls it (return from main, exit, fatal signals).
 */
void serial_restore_terminal(void);

/* Named as in Firecracker's "uart" metrics; process-wide. */
struct serial_metrics {
	metric_t error_count;        /* writes to the output that failed */
	metric_t flush_count;        /* write(2) calls that moved bytes */
	metric_t missed_read_count;  /* guest reads that are not one byte wide */
	metric_t missed_write_count; /* such writes, and output bytes that were dropped */
	metric_t read_count;         /* bytes the guest received */
	metric_t write_count;        /* bytes the output took */
	metric_t rate_limiter_dropped_bytes;
};
struct serial_metrics *serial_metrics(void);

#endif
