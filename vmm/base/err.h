/*
 * The reason that a user reads: a message in a fixed buffer, so that failing needs no memory.
 * Functions whose failure a user sees take `struct err *` last and return err_set(e, -EINVAL, …).
 */
#ifndef WICK_BASE_ERR_H
#define WICK_BASE_ERR_H

#include <stddef.h>

struct err {
	char text[1024]; /* "" while nothing failed; cut, never overrun */
};

/* Writes the message and returns `rc` (0 or -errno), so that callers fail in one line. */
int err_set(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and the OS error's text for `rc` = -errno, as err_os_text has it. */
int err_set_os(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts text in front of a message that a lower layer wrote. Returns `rc`. */
int err_prefix(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* For ENOENT: "No such file or directory (os error 2)", the wording Firecracker's clients match. */
const char *err_os_text(int errnum, char *buf, size_t size);

#endif
