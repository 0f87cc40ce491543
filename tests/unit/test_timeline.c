/* vmm/timeline.c: spans without gaps, from the process's start on. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/timeline.h"

Test(timeline, spans_follow_each_other_without_gaps)
{
	const uint64_t now = clock_monotonic_us();
	struct timeline t = { .origin_us = now - 1000 };
	timeline_mark(&t, "one");
	timeline_mark(&t, "two");
	timeline_mark(&t, "three");
	const uint64_t later = clock_monotonic_us();

	cr_assert_eq(t.n, 3);
	cr_expect_eq(t.span[0].start_us, 0, "the first begins with the process");
	cr_expect_geq(t.span[0].end_us, 1000);
	cr_expect_eq(t.span[1].start_us, t.span[0].end_us);
	cr_expect_eq(t.span[2].start_us, t.span[1].end_us);
	cr_expect_geq(t.span[2].end_us, t.span[2].start_us);
	cr_expect_leq(t.span[2].end_us, later - t.origin_us);
	cr_expect_str_eq(t.span[1].name, "two");
}

Test(timeline, spans_past_the_end_are_dropped)
{
	struct timeline t = { .origin_us = clock_monotonic_us() };
	for (int i = 0; i < TIMELINE_MAX + 5; i++)
		timeline_mark(&t, i < TIMELINE_MAX ? "kept" : "dropped");
	cr_expect_eq(t.n, TIMELINE_MAX);
	cr_expect_str_eq(t.span[TIMELINE_MAX - 1].name, "kept");
}

Test(timeline, log_lines_at_debug)
{
	struct timeline t = { .n = 2, .span = { { "KVM", 0, 12 }, { "GIC and vCPUs", 12, 345 } } };
	struct log_config c = { .has_log_path = true, .has_level = true, .level = LOG_DEBUG };
	struct err e;
	char *text = NULL;
	size_t len;

	(void)snprintf(c.log_path, sizeof(c.log_path), "/tmp/test_timeline.%d", getpid());
	cr_assert_eq(log_configure(&c, &e), 0);
	timeline_log(&t);
	c.level = LOG_INFO;
	cr_assert_eq(log_configure(&c, &e), 0);
	timeline_log(&t);
	cr_assert_eq(io_read_file(c.log_path, 65536, &text, &len), 0);
	(void)unlink(c.log_path);
	const char *first = strstr(text, "] Boot timeline: KVM start_us=0 end_us=12\n");
	cr_assert(first, "%s", text);
	const char *second =
		strstr(first, "] Boot timeline: GIC and vCPUs start_us=12 end_us=345\n");
	cr_assert(second, "%s", text);
	cr_expect_null(strstr(second + 20, "Boot timeline"), "none at Info: %s", text);
	free(text);
}
