/* The guest's kernel command line, from the configuration (contract 4.4). */
#ifndef WICK_CMDLINE_H
#define WICK_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/vm_config.h"

/*
 * The user's boot_args exactly as given, or Firecracker's default, with what Firecracker appends:
 * pci=off, the root device, earlycon where a console is named. -E2BIG when it is longer than
 * LAYOUT_CMDLINE_MAX - 1 bytes, -EINVAL for bytes the kernel cannot be given; `size` >=
 * LAYOUT_CMDLINE_MAX.
 */
int cmdline_build(const struct vm_config *config, char *buf, size_t size, struct err *e);

/* The checks alone, for PUT /boot-source. */
int cmdline_check(const char *boot_args, struct err *e);

/* Does the guest get a console? Only then is there a UART. */
bool cmdline_has_console(const char *cmdline);

#endif
