/* Kernel command line: one buffer, filled once while the machine is built. VMM thread. */
#include "vmm/cmdline.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/layout.h"

static const char default_args[] = "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux "
				   "i8042.nomux i8042.dumbkbd swiotlb=noforce";

/* `lowest`: 0x20, or 0x21 where a space would begin another word. */
static int check_bytes(const char *what, const char *text, unsigned char lowest, struct err *e)
{
	for (size_t i = 0; text[i]; i++)
		if ((unsigned char)text[i] < lowest || (unsigned char)text[i] > 0x7e)
			return err_set(e, -EINVAL,
				       "The kernel command line is invalid: %s has byte 0x%02x at "
				       "position %zu, only printable ASCII can be passed on",
				       what, (unsigned char)text[i], i);
	return 0;
}

int cmdline_check(const char *boot_args, struct err *e)
{
	size_t len = strlen(boot_args);
	if (len >= LAYOUT_CMDLINE_MAX)
		return err_set(e, -E2BIG,
			       "The kernel command line is invalid: boot_args has %zu bytes, at "
			       "most %u fit",
			       len, LAYOUT_CMDLINE_MAX - 1);
	return check_bytes("boot_args", boot_args, 0x20, e);
}

bool cmdline_has_console(const char *cmdline)
{
	return strstr(cmdline, "console=") != NULL;
}

struct line {
	char *buf;
	size_t size, len;
	bool overflow;
};

static void append(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void append(struct line *l, const char *fmt, ...)
{
	va_list ap;
	if (l->len > 0 && l->len + 1 < l->size)
		l->buf[l->len++] = ' ';
	va_start(ap, fmt);
	int n = vsnprintf(l->buf + l->len, l->size - l->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= l->size - l->len)
		l->overflow = true;
	else
		l->len += (size_t)n;
}

int cmdline_build(const struct vm_config *config, char *buf, size_t size, struct err *e)
{
	const char *args = config->boot.has_boot_args ? config->boot.boot_args : default_args;
	const struct block_config *root = config->ndrives ? &config->drives[0] : NULL;
	int rc = cmdline_check(args, e);
	if (rc == 0 && root && root->is_root_device && root->has_partuuid)
		rc = check_bytes("partuuid", root->partuuid, 0x21, e);
	if (rc < 0)
		return rc;
	struct line l = { .buf = buf,
			  .size = size < LAYOUT_CMDLINE_MAX ? size : LAYOUT_CMDLINE_MAX };
	buf[0] = '\0';
	if (args[0])
		append(&l, "%s", args);
	append(&l, "pci=off");
	if (root && root->is_root_device) {
		if (root->has_partuuid)
			append(&l, "root=PARTUUID=%s", root->partuuid);
		else
			append(&l, "root=/dev/vda");
		append(&l, root->is_read_only ? "ro" : "rw");
	}
	if (cmdline_has_console(args))
		append(&l, "earlycon=uart,mmio,0x%08llx", (unsigned long long)LAYOUT_SERIAL);
	if (l.overflow)
		return err_set(e, -E2BIG,
			       "The kernel command line is invalid: with what wick appends it is "
			       "longer than %u bytes",
			       LAYOUT_CMDLINE_MAX - 1);
	return 0;
}
