/* devices/boot_timer.c: the line it logs, and all that must not log. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/boot_timer.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

enum { BASE = 0x40000000, COMPLETE = 123 };

struct rig {
	struct device_env env;
	struct device *timer;
	struct err err;
	char log_path[64];
	char text[1024]; /* the log so far, see read_log */
};

static void rig_init(struct rig *r)
{
	const struct boot_timer_config cfg = {
		.base = BASE,
		.start_us = clock_monotonic_us() - 1234567,
		.start_cpu_us = 0,
	};
	struct log_config log = { .has_log_path = true };
	*r = (struct rig){ 0 };
	(void)snprintf(r->log_path, sizeof(r->log_path), "/tmp/test_boot_timer.%d", (int)getpid());
	memcpy(log.log_path, r->log_path, sizeof(r->log_path));
	cr_assert_eq(log_configure(&log, &r->err), 0, "%s", r->err.text);
	cr_assert_eq(bus_create(&r->env.bus), 0);
	cr_assert_eq(boot_timer_device_ops.create(&r->env, &cfg, &r->timer, &r->err), 0);
}

static void rig_fini(struct rig *r)
{
	boot_timer_device_ops.destroy(r->timer);
	bus_destroy(r->env.bus);
	cr_expect_eq(unlink(r->log_path), 0);
}

static const char *read_log(struct rig *r)
{
	FILE *f = fopen(r->log_path, "re");
	cr_assert_not_null(f);
	r->text[fread(r->text, 1, sizeof(r->text) - 1, f)] = '\0';
	(void)fclose(f);
	return r->text;
}

static void put(struct rig *r, unsigned int offset, uint8_t value, unsigned int len)
{
	uint8_t data[8] = { value };
	cr_assert(bus_write(r->env.bus, BASE + offset, data, len));
}

Test(boot_timer, the_line_is_firecrackers)
{
	struct rig r;
	regex_t re;
	unsigned long us, ms, cpu_us, cpu_ms;
	rig_init(&r);
	put(&r, 0, COMPLETE, 1);
	const char *line = strstr(read_log(&r), "Guest-boot-time");
	cr_assert_not_null(line, "%s", r.text);
	cr_assert_eq(regcomp(&re,
			     "^Guest-boot-time = [ 0-9]{6,} us [0-9]+ ms, [ 0-9]{6,} CPU us [0-9]+ "
			     "CPU ms\n$",
			     REG_EXTENDED | REG_NOSUB),
		     0);
	cr_expect_eq(regexec(&re, line, 0, NULL, 0), 0, "%s", line);
	regfree(&re);
	cr_assert_eq(sscanf(line, "Guest-boot-time = %lu us %lu ms, %lu CPU us %lu CPU ms", &us,
			    &ms, &cpu_us, &cpu_ms),
		     4);
	cr_expect_geq(us, 1234567);
	cr_expect_lt(us, 1234567 + 5000000);
	cr_expect_eq(ms, us / 1000);
	cr_expect_leq(cpu_us, clock_process_cpu_us());
	cr_expect_eq(cpu_ms, cpu_us / 1000);
	rig_fini(&r);
}

Test(boot_timer, only_the_first_write_logs)
{
	struct rig r;
	rig_init(&r);
	for (int i = 0; i < 100; i++)
		put(&r, 0, COMPLETE, 1);
	const char *first = strstr(read_log(&r), "Guest-boot-time");
	cr_assert_not_null(first);
	cr_expect_null(strstr(first + 1, "Guest-boot-time"));
	rig_fini(&r);
}

struct other_case {
	char claim[40];
	unsigned int offset, len;
	uint8_t value;
};

ParameterizedTestParameters(boot_timer, no_line)
{
	static struct other_case cases[] = {
		{ "another value", 0, 1, 122 },       { "zero", 0, 1, 0 },
		{ "another offset", 1, 1, COMPLETE }, { "the last offset", 0xfff, 1, COMPLETE },
		{ "two bytes", 0, 2, COMPLETE },      { "four bytes", 0, 4, COMPLETE },
		{ "eight bytes", 0, 8, COMPLETE },
	};
	return cr_make_param_array(struct other_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct other_case *c, boot_timer, no_line)
{
	struct rig r;
	rig_init(&r);
	put(&r, c->offset, c->value, c->len);
	cr_expect_null(strstr(read_log(&r), "Guest-boot-time"), "%s", c->claim);
	put(&r, 0, COMPLETE, 1);
	cr_expect_not_null(strstr(read_log(&r), "Guest-boot-time"), "%s: and then it does",
			   c->claim);
	rig_fini(&r);
}

Test(boot_timer, reads_are_zero_and_there_is_no_node)
{
	struct rig r;
	uint8_t data[8];
	rig_init(&r);
	memset(data, 0xff, sizeof(data));
	cr_expect(bus_read(r.env.bus, BASE, data, sizeof(data)));
	cr_expect_arr_eq(data, ((uint8_t[8]){ 0 }), sizeof(data));
	cr_expect_null(boot_timer_device_ops.describe);
	rig_fini(&r);
}

Test(boot_timer, a_taken_window_fails)
{
	const struct boot_timer_config cfg = { .base = BASE };
	struct device *second = NULL;
	struct rig r;
	rig_init(&r);
	cr_expect_eq(boot_timer_device_ops.create(&r.env, &cfg, &second, &r.err), -EEXIST);
	cr_expect_null(second);
	rig_fini(&r);
}
