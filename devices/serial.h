/* The 16550 UART: the guest's console. */
#ifndef WICK_DEVICES_SERIAL_H
#define WICK_DEVICES_SERIAL_H

#include <stdbool.h>

#include "devices/registry.h"

struct serial_config {
	gpa_t base;
	bool has_serial_out_path;
	char serial_out_path[4096]; /* absent: stdout, with input from stdin if it is a tty or a FIFO */
};

extern const struct device_ops serial_device_ops; /* config: struct serial_config */

/*
 * Puts the terminal back as it was before the UART made it raw. Async-signal-safe and idempotent: every way
 * out of the process calls it (return from main, exit, fatal signals).
 */
void serial_restore_terminal(void);

#endif
