/* devices/rtc_pl031.c: every register of DDI 0224, with the host's clock behind it. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "devices/rtc_pl031.h"
#include "vmm/base/bits.h"
#include "vmm/base/endian.h"

enum { BASE = 0x40001000 };
enum {
	DR = 0x00,
	MR = 0x04,
	LR = 0x08,
	CR = 0x0c,
	IMSC = 0x10,
	RIS = 0x14,
	MIS = 0x18,
	ICR = 0x1c
};

struct rig {
	struct device_env env;
	struct device *rtc;
	struct err err;
};

static void rig_init(struct rig *r)
{
	const struct rtc_config cfg = { .base = BASE };
	*r = (struct rig){ 0 };
	cr_assert_eq(bus_create(&r->env.bus), 0);
	cr_assert_eq(rtc_pl031_device_ops.create(&r->env, &cfg, &r->rtc, &r->err), 0);
}

static void rig_fini(struct rig *r)
{
	rtc_pl031_device_ops.destroy(r->rtc);
	bus_destroy(r->env.bus);
}

static uint32_t get(struct rig *r, unsigned int offset)
{
	uint8_t data[4] = { 0xee, 0xee, 0xee, 0xee };
	cr_assert(bus_read(r->env.bus, BASE + offset, data, sizeof(data)));
	return load_le32(data);
}

static void put(struct rig *r, unsigned int offset, uint32_t value)
{
	uint8_t data[4];
	store_le32(data, value);
	cr_assert(bus_write(r->env.bus, BASE + offset, data, sizeof(data)));
}

static void sleep_until_counter_is(struct rig *r, uint32_t value)
{
	const struct timespec t = { .tv_nsec = 10000000 };
	for (int i = 0; i < 300 && get(r, DR) != value; i++)
		(void)nanosleep(&t, NULL);
	cr_assert_eq(get(r, DR), value);
}

struct reg_case {
	char claim[56];
	unsigned int offset;
	uint32_t reset, after_ones; /* read at first, and after all ones were written */
};

ParameterizedTestParameters(rtc_pl031, reg)
{
	static struct reg_case cases[] = {
		{ "RTCMR is read/write", MR, 0, UINT32_MAX },
		{ "RTCLR is read/write", LR, 0, UINT32_MAX },
		{ "RTCCR says started, and cannot be stopped", CR, 1, 1 },
		{ "RTCIMSC has one bit", IMSC, 0, 1 },
		{ "RTCRIS is read-only", RIS, 0, 0 },
		{ "RTCMIS is read-only", MIS, 0, 0 },
		{ "RTCICR is write-only", ICR, 0, 0 },
		{ "reserved space reads 0", 0x20, 0, 0 },
		{ "the test registers are not there", 0x80, 0, 0 },
		{ "the word below the IDs reads 0", 0xfdc, 0, 0 },
		{ "RTCPeriphID0: part 0x31", 0xfe0, 0x31, 0x31 },
		{ "RTCPeriphID1: part, designer", 0xfe4, 0x10, 0x10 },
		{ "RTCPeriphID2: designer, revision", 0xfe8, 0x04, 0x04 },
		{ "RTCPeriphID3: configuration", 0xfec, 0x00, 0x00 },
		{ "RTCPCellID0", 0xff0, 0x0d, 0x0d },
		{ "RTCPCellID1", 0xff4, 0xf0, 0xf0 },
		{ "RTCPCellID2", 0xff8, 0x05, 0x05 },
		{ "RTCPCellID3", 0xffc, 0xb1, 0xb1 },
	};
	return cr_make_param_array(struct reg_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct reg_case *c, rtc_pl031, reg)
{
	struct rig r;
	rig_init(&r);
	cr_expect_eq(get(&r, c->offset), c->reset, "%s: at reset", c->claim);
	put(&r, c->offset, UINT32_MAX);
	cr_expect_eq(get(&r, c->offset), c->after_ones, "%s: after a write", c->claim);
	rig_fini(&r);
}

Test(rtc_pl031, the_clock_is_the_hosts_and_writes_to_it_are_ignored)
{
	struct rig r;
	rig_init(&r);
	put(&r, DR, 12345);
	uint32_t before = (uint32_t)time(NULL);
	uint32_t got = get(&r, DR);
	cr_expect_geq(got, before - 1); /* time() may lag by a tick */
	cr_expect_leq(got, before + 2);
	cr_expect_eq(metric_get(&rtc_metrics()->missed_write_count), 1);
	rig_fini(&r);
}

Test(rtc_pl031, a_load_moves_the_clock_and_it_goes_on)
{
	struct rig r;
	rig_init(&r);
	put(&r, LR, 1000);
	uint32_t got = get(&r, DR);
	cr_expect(got == 1000 || got == 1001);
	sleep_until_counter_is(&r, 1002);
	put(&r, LR, 5);
	got = get(&r, DR);
	cr_expect(got == 5 || got == 6, "a second load is not added to the first");
	rig_fini(&r);
}

Test(rtc_pl031, the_counter_wraps_at_32_bits)
{
	struct rig r;
	rig_init(&r);
	put(&r, LR, UINT32_MAX);
	sleep_until_counter_is(&r, 0);
	rig_fini(&r);
}

Test(rtc_pl031, a_match_is_latched_masked_and_cleared)
{
	struct rig r;
	rig_init(&r);
	put(&r, LR, 100);
	put(&r, MR, 102);
	cr_expect_eq(get(&r, RIS), 0);
	sleep_until_counter_is(&r, 103); /* found although nobody looked in second 102 */
	cr_expect_eq(get(&r, RIS), 1);
	cr_expect_eq(get(&r, MIS), 0);
	put(&r, IMSC, 1);
	cr_expect_eq(get(&r, MIS), 1);
	put(&r, ICR, 1);
	cr_expect_eq(get(&r, RIS), 0);
	cr_expect_eq(get(&r, MIS), 0);
	rig_fini(&r);
}

Test(rtc_pl031, every_offset_and_width_is_harmless)
{
	struct rig r;
	uint8_t data[8];
	rig_init(&r);
	for (unsigned int offset = 0; offset < 0x1000; offset++) {
		for (unsigned int len = 1; len <= 8 && offset + len <= 0x1000; len++) {
			bool is_register = len == 4 && offset % 4 == 0;
			memset(data, 0x5a, sizeof(data));
			cr_assert(bus_write(r.env.bus, BASE + offset, data, len));
			cr_assert(bus_read(r.env.bus, BASE + offset, data, len));
			for (unsigned int b = 0; !is_register && b < len; b++)
				cr_assert_eq(data[b], 0, "offset 0x%x width %u", offset, len);
		}
	}
	rig_fini(&r);
}

Test(rtc_pl031, odd_accesses_are_counted)
{
	struct rig r;
	uint8_t data[8] = { 0 };
	rig_init(&r);
	cr_expect(bus_read(r.env.bus, BASE + DR, data, 8));
	cr_expect(bus_read(r.env.bus, BASE + DR + 2, data, 4));
	cr_expect(bus_write(r.env.bus, BASE + LR, data, 1));
	cr_expect_eq(metric_get(&rtc_metrics()->missed_read_count), 2);
	cr_expect_eq(metric_get(&rtc_metrics()->missed_write_count), 1);
	cr_expect_eq(metric_get(&rtc_metrics()->error_count), 0);
	rig_fini(&r);
}

Test(rtc_pl031, its_node_has_no_interrupt)
{
	struct fdt_list list = { 0 };
	struct rig r;
	rig_init(&r);
	cr_assert_eq(rtc_pl031_device_ops.describe(r.rtc, &list), 0);
	cr_assert_eq(list.n, 1);
	const struct fdt_desc *d = &list.v[0];
	cr_expect_str_eq(d->name, "rtc@40001000");
	static const char *const names[] = { "compatible", "reg", "clocks", "clock-names" };
	cr_assert_eq(d->nprops, ARRAY_SIZE(names));
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		cr_expect_str_eq(d->prop[i].name, names[i]);
	cr_expect_eq(d->prop[0].strings_len, 24);
	cr_expect_arr_eq(d->prop[0].strings, "arm,pl031\0arm,primecell", 24);
	cr_expect_arr_eq(d->prop[1].cells, ((uint32_t[]){ 0, BASE, 0, 0x1000 }), 16);
	cr_expect_eq(d->prop[2].cells[0], FDT_PHANDLE_CLOCK);
	fdt_list_fini(&list);
	rig_fini(&r);
}

Test(rtc_pl031, a_taken_window_fails)
{
	const struct rtc_config cfg = { .base = BASE };
	struct device *second = NULL;
	struct rig r;
	rig_init(&r);
	cr_expect_eq(rtc_pl031_device_ops.create(&r.env, &cfg, &second, &r.err), -EEXIST);
	cr_expect_null(second);
	cr_expect_eq(get(&r, CR), 1);
	rig_fini(&r);
}
