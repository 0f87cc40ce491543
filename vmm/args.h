/* The command line: Firecracker's flags and rules, from one table that also prints --help. */
#ifndef WICK_ARGS_H
#define WICK_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum arg {
	ARG_API_SOCK,
	ARG_BOOT_TIMER,
	ARG_CONFIG_FILE,
	ARG_HELP,
	ARG_HTTP_API_MAX_PAYLOAD_SIZE,
	ARG_ID,
	ARG_LEVEL,
	ARG_LOG_PATH,
	ARG_MODULE,
	ARG_NO_API,
	ARG_PARENT_CPU_TIME_US,
	ARG_SHOW_LEVEL,
	ARG_SHOW_LOG_ORIGIN,
	ARG_START_TIME_CPU_US,
	ARG_START_TIME_US,
	ARG_VERSION,
	ARG_COUNT
};

struct args {
	bool is_set[ARG_COUNT];
	const char *value[ARG_COUNT]; /* given or default; NULL for flags and what has no default */
};

/*
 * `--name value` only; -EINVAL with Firecracker's wording in `e`. --help, -h and then --version win
 * over everything else that is wrong. What follows "--" is not looked at.
 */
int args_parse(int argc, char *const *argv, struct args *ret, struct err *e);

void args_print_help(void);

/* A non-negative decimal number; names the flag in its message. */
int args_u64(const struct args *a, enum arg which, uint64_t *ret, struct err *e);

#endif
