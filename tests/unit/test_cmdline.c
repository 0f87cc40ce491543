/* vmm/cmdline.c: the user's words exactly, then Firecracker's (contract 4.4), within 2047 bytes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "vmm/base/bits.h"
#include "vmm/cmdline.h"

#define DEFAULT                                                                            \
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd " \
	"swiotlb=noforce"
#define UUID "0eaa91a0-01"

struct root {
	bool has, is_root, has_partuuid, is_read_only;
};

static int build(const char *args, const struct root *root, char *buf, struct err *e)
{
	static struct vm_config c;
	vm_config_init(&c);
	c.boot.has_boot_args = args != NULL;
	if (args)
		(void)snprintf(c.boot.boot_args, sizeof(c.boot.boot_args), "%s", args);
	if (root->has) {
		c.drives = calloc(1, sizeof(*c.drives));
		cr_assert(c.drives);
		c.ndrives = 1;
		c.drives->is_root_device = root->is_root;
		c.drives->is_read_only = root->is_read_only;
		c.drives->has_partuuid = root->has_partuuid;
		(void)snprintf(c.drives->partuuid, sizeof(c.drives->partuuid), UUID);
	}
	int rc = cmdline_build(&c, buf, LAYOUT_CMDLINE_MAX, e);
	vm_config_fini(&c);
	return rc;
}

Test(cmdline, lines)
{
	static const struct {
		const char *claim, *args;
		struct root root;
		const char *want;
	} rows[] = {
		{ "the default", NULL, { 0 }, DEFAULT " pci=off" },
		{ "no words at all are the user's choice", "", { 0 }, "pci=off" },
		{ "the user's words replace the default", "quiet", { 0 }, "quiet pci=off" },
		{ "spaces and quotes pass exactly",
		  "  a=\"b  c\"  -- init 1 ",
		  { 0 },
		  "  a=\"b  c\"  -- init 1  pci=off" },
		{ "percent signs are no formats", "a=%s%n%d", { 0 }, "a=%s%n%d pci=off" },
		{ "all printable ASCII",
		  " !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~",
		  { 0 },
		  " !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ pci=off" },
		{ "a writable root",
		  "x",
		  { true, true, false, false },
		  "x pci=off root=/dev/vda rw" },
		{ "a read-only root",
		  "x",
		  { true, true, false, true },
		  "x pci=off root=/dev/vda ro" },
		{ "a partition",
		  "x",
		  { true, true, true, true },
		  "x pci=off root=PARTUUID=" UUID " ro" },
		{ "a disk that is no root", "x", { true, false, true, true }, "x pci=off" },
		{ "a console",
		  "console=ttyS0 quiet",
		  { 0 },
		  "console=ttyS0 quiet pci=off earlycon=uart,mmio,0x40002000" },
		{ "everything, in order",
		  "console=ttyS0",
		  { true, true, false, false },
		  "console=ttyS0 pci=off root=/dev/vda rw earlycon=uart,mmio,0x40002000" },
		{ "the default with a root",
		  NULL,
		  { true, true, false, false },
		  DEFAULT " pci=off root=/dev/vda rw" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char buf[LAYOUT_CMDLINE_MAX];
		struct err e = { "" };
		int rc = build(rows[i].args, &rows[i].root, buf, &e);
		cr_assert_eq(rc, 0, "%s: %s", rows[i].claim, e.text);
		cr_expect_str_eq(buf, rows[i].want, "%s: %s", rows[i].claim, buf);
	}
}

Test(cmdline, length_limits_to_the_byte)
{
	static const struct {
		const char *claim;
		size_t len; /* of the user's words */
		struct root root;
		int want;
	} rows[] = {
		/* " pci=off" is 8 bytes, " root=/dev/vda rw" 17 */
		{ "the last byte", 2047 - 8, { 0 }, 0 },
		{ "one byte more", 2048 - 8, { 0 }, -E2BIG },
		{ "the last byte with a root", 2047 - 25, { true, true, false, false }, 0 },
		{ "one byte more with a root", 2048 - 25, { true, true, false, false }, -E2BIG },
		{ "full with the user's words", 2047, { 0 }, -E2BIG },
		{ "the user's words alone too long", 2048, { 0 }, -E2BIG },
		{ "far too long", 4000, { true, true, false, false }, -E2BIG }
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char words[4096],
			*buf = malloc(LAYOUT_CMDLINE_MAX); /* one byte too many is ASan's */
		struct err e = { "" };
		memset(words, 'x', rows[i].len);
		words[rows[i].len] = '\0';
		int rc = build(words, &rows[i].root, buf, &e);
		cr_expect_eq(rc, rows[i].want, "%s: %d", rows[i].claim, rc);
		if (rc == 0)
			cr_expect_eq(strlen(buf), 2047, "%s: %zu", rows[i].claim, strlen(buf));
		else
			cr_expect(strstr(e.text, "2047"), "%s: %s", rows[i].claim, e.text);
		free(buf);
	}
}

Test(cmdline, check_names_the_byte_and_its_place)
{
	static const struct {
		const char *claim, *args;
		int want;
		const char *text;
	} rows[] = {
		{ "empty", "", 0, "" },
		{ "plain", "quiet", 0, "" },
		{ "UTF-8", "a=\xc3\xa9", -EINVAL, "byte 0xc3 at position 2" },
		{ "a tab", "a\tb", -EINVAL, "byte 0x09 at position 1" },
		{ "a new line at the end", "ab\n", -EINVAL, "byte 0x0a at position 2" },
		{ "DEL", "\x7f", -EINVAL, "byte 0x7f at position 0" },
		{ "the highest byte", "\xff", -EINVAL, "byte 0xff at position 0" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { "" };
		cr_expect_eq(cmdline_check(rows[i].args, &e), rows[i].want, "%s", rows[i].claim);
		cr_expect(strstr(e.text, rows[i].text), "%s: %s", rows[i].claim, e.text);
		if (rows[i].want)
			cr_expect_eq(strncmp(e.text, "The kernel command line is invalid: ", 36),
				     0);
	}
}

/* It comes from another request than boot_args, and is checked as they are. */
Test(cmdline, a_partuuid_is_one_printable_word)
{
	static const struct {
		const char *partuuid;
		int want;
		const char *text;
	} rows[] = {
		{ UUID, 0, "" },
		{ "a b", -EINVAL, "partuuid has byte 0x20 at position 1" },
		{ "a\n", -EINVAL, "partuuid has byte 0x0a at position 1" },
		{ "\xc3\xa9", -EINVAL, "partuuid has byte 0xc3 at position 0" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct block_config root = { .is_root_device = true, .has_partuuid = true };
		static struct vm_config c;
		char buf[LAYOUT_CMDLINE_MAX];
		struct err e = { "" };
		vm_config_init(&c);
		c.drives = &root;
		c.ndrives = 1;
		(void)snprintf(root.partuuid, sizeof(root.partuuid), "%s", rows[i].partuuid);
		cr_expect_eq(cmdline_build(&c, buf, sizeof(buf), &e), rows[i].want, "row %zu", i);
		cr_expect(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
	}
}

Test(cmdline, consoles)
{
	cr_expect(cmdline_has_console("console=ttyS0"));
	cr_expect(cmdline_has_console("quiet console=hvc0"));
	cr_expect_not(cmdline_has_console(""));
	cr_expect_not(cmdline_has_console("console"));
	cr_expect_not(cmdline_has_console(DEFAULT));
}
