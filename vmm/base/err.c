/* User-facing error messages in fixed buffers (struct err). Any thread, each its own struct. */
#include "vmm/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int rc, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap); /* cut at the buffer's end is fine */
	va_end(ap);
	return rc;
}

const char *err_os_text(int errnum, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s (os error %d)", strerrordesc_np(errnum) ?: "Unknown error",
		       errnum);
	return buf;
}

int err_set_os(struct err *e, int rc, const char *fmt, ...)
{
	char os[128];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->text))
		(void)snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s",
			       err_os_text(-rc, os, sizeof(os)));
	return rc;
}

int err_prefix(struct err *e, int rc, const char *fmt, ...)
{
	char head[256];
	struct err whole;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	size_t n = strlen(head);
	memcpy(whole.text, head, n);
	(void)snprintf(whole.text + n, sizeof(whole.text) - n, "%.*s",
		       (int)(sizeof(whole.text) - n - 1), e->text);
	*e = whole;
	return rc;
}
