/* vmm/base/err.c: messages in a fixed buffer: cut at its end, never overrun, codes handed through. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/err.h"

enum { FULL = sizeof(((struct err *)0)->text) - 1 };

/* On the heap, so that one byte too many is AddressSanitizer's. */
static struct err *fresh(void)
{
	struct err *e = malloc(sizeof(*e));
	cr_assert(e);
	memset(e, 0xee, sizeof(*e));
	return e;
}

static char *letters(size_t n)
{
	char *s = malloc(n + 1);
	cr_assert(s);
	memset(s, 'x', n);
	s[n] = '\0';
	return s;
}

Test(err, set_formats_and_returns_the_code)
{
	struct err *e = fresh();
	cr_expect_eq(err_set(e, -EINVAL, "drive %s has %d", "a", 7), -EINVAL);
	cr_expect_str_eq(e->text, "drive a has 7");
	cr_expect_eq(err_set(e, 0, "%s", "100% literal %s"), 0);
	cr_expect_str_eq(e->text, "100% literal %s");
	free(e);
}

Test(err, every_length_around_the_buffers_end)
{
	for (size_t n = FULL - 40; n < FULL + 3; n++) {
		struct err *e = fresh();
		char *s = letters(n);
		const size_t want = n < FULL ? n : FULL;

		err_set(e, -EIO, "%s", s);
		cr_expect_eq(strlen(e->text), want, "set: %zu", n);

		err_set_os(e, -EIO, "%s", s);
		cr_expect_eq(strncmp(e->text, s, want), 0, "set_os keeps the message: %zu", n);
		cr_expect_leq(strlen(e->text), FULL);

		err_set(e, -EIO, "%s", s);
		err_prefix(e, -EIO, "head: ");
		cr_expect_eq(strncmp(e->text, "head: xxx", 9), 0, "prefix stays in front: %zu", n);
		cr_expect_eq(strlen(e->text), min_u64(n + 6, FULL), "prefix: %zu", n);
		free(s);
		free(e);
	}
}

Test(err, os_text_is_rusts_wording)
{
	static const struct {
		int errnum;
		const char *want;
	} rows[] = {
		{ ENOENT, "No such file or directory (os error 2)" },
		{ EACCES, "Permission denied (os error 13)" },
		{ EISDIR, "Is a directory (os error 21)" },
		{ EADDRINUSE, "Address already in use (os error 98)" },
		{ 4095, "Unknown error (os error 4095)" },
		{ -1, "Unknown error (os error -1)" },
	};
	char buf[128];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_str_eq(err_os_text(rows[i].errnum, buf, sizeof(buf)), rows[i].want);
}

Test(err, os_text_is_cut_too)
{
	char *buf = malloc(8);
	cr_assert(buf);
	cr_expect_str_eq(err_os_text(ENOENT, buf, 8), "No such");
	free(buf);
}

Test(err, set_os_appends_the_reason)
{
	struct err *e = fresh();
	cr_expect_eq(err_set_os(e, -ENOENT, "Cannot open %s", "/x"), -ENOENT);
	cr_expect_str_eq(e->text, "Cannot open /x: No such file or directory (os error 2)");
	free(e);
}

Test(err, prefixes_pile_up_in_front)
{
	struct err *e = fresh();
	err_set(e, -EINVAL, "reason");
	cr_expect_eq(err_prefix(e, -EBUSY, "drive %s: ", "root"), -EBUSY);
	cr_expect_eq(err_prefix(e, -EPERM, "Start: "), -EPERM);
	cr_expect_str_eq(e->text, "Start: drive root: reason");
	err_prefix(e, 0, "%s", "");
	cr_expect_str_eq(e->text, "Start: drive root: reason");
	free(e);
}

Test(err, a_prefix_may_quote_the_message_itself)
{
	struct err *e = fresh();
	err_set(e, -EINVAL, "reason");
	err_prefix(e, -EINVAL, "[%s] ", e->text);
	cr_expect_str_eq(e->text, "[reason] reason");
	free(e);
}
