/* devices/serial.c: the 16550A's registers and interrupts as a driver sees them, and its node. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devices/serial.h"
#include "fakes/serial_rig.h"
#include "vmm/base/bits.h"

/* --- registers --------------------------------------------------------------------- */

struct reset_case {
	char claim[48];
	unsigned int offset;
	uint8_t want;
};

ParameterizedTestParameters(serial, reset_value)
{
	static struct reset_case cases[] = {
		{ "RBR is empty", RBR, 0x00 },
		{ "no interrupt is enabled", IER, 0x00 },
		{ "no interrupt is pending, FIFOs are off", IIR, 0x01 },
		{ "8 bits, divisor latch closed", LCR, 0x03 },
		{ "DTR, RTS and loopback are off", MCR, 0x00 },
		{ "the transmitter is empty, nothing received", LSR, 0x60 },
		{ "the peer is ready, nothing has changed", MSR, 0xb0 },
		{ "the scratch register is zero", SCR, 0x00 },
		{ "the register behind the last one reads 0", 8, 0x00 },
		{ "the window's last byte reads 0", 0xfff, 0x00 },
	};
	return cr_make_param_array(struct reset_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct reset_case *c, serial, reset_value)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	uint8_t got = serial_rig_get(&r, c->offset);
	cr_expect_eq(got, c->want, "%s: 0x%02x", c->claim, got);
	serial_rig_fini(&r);
}

struct mask_case {
	char claim[48];
	unsigned int offset;
	uint8_t want; /* read back after 0xff was written */
};

ParameterizedTestParameters(serial, writable_bits)
{
	static struct mask_case cases[] = {
		{ "IER has four bits", IER, 0x0f }, { "LCR has eight", LCR, 0xff },
		{ "MCR has five", MCR, 0x1f },      { "SCR has eight", SCR, 0xff },
		{ "LSR is read-only", LSR, 0x60 },  { "MSR is read-only", MSR, 0xb0 },
	};
	return cr_make_param_array(struct mask_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct mask_case *c, serial, writable_bits)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, c->offset, 0xff);
	uint8_t got = serial_rig_get(&r, c->offset);
	cr_expect_eq(got, c->want, "%s: 0x%02x", c->claim, got);
	serial_rig_fini(&r);
}

Test(serial, dlab_swaps_in_the_divisor_and_keeps_the_rest)
{
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	serial_rig_put(&r, IER, 0x05);
	serial_rig_put(&r, LCR, 0x83);
	serial_rig_put(&r, THR, 0x34);
	serial_rig_put(&r, IER, 0x12);
	cr_expect_eq(serial_rig_get(&r, RBR), 0x34);
	cr_expect_eq(serial_rig_get(&r, IER), 0x12);
	serial_rig_put(&r, LCR, 0x03);
	cr_expect_eq(serial_rig_get(&r, IER), 0x05);
	cr_expect_eq(serial_rig_get(&r, RBR), 0x00);
	serial_rig_fini(&r);
	char c;
	cr_expect_lt(read(r.out, &c, 1), 1, "a divisor must not be transmitted");
}

Test(serial, every_offset_and_width_is_harmless)
{
	static const unsigned int near_end[] = { 0xff0, 0xff8, 0xffc, 0xffe, 0xfff };
	struct serial_rig r;
	uint8_t data[8];
	serial_rig_init(&r, "/dev/null");
	for (unsigned int i = 0; i < 40 + ARRAY_SIZE(near_end); i++) {
		unsigned int offset = i < 40 ? i : near_end[i - 40];
		for (unsigned int len = 1; len <= 8 && offset + len <= 0x1000; len++) {
			memset(data, (int)(0xa5 + i * len), sizeof(data));
			cr_expect(bus_write(r.env.bus, SERIAL_RIG_BASE + offset, data, len));
			memset(data, 0xff, sizeof(data));
			cr_expect(bus_read(r.env.bus, SERIAL_RIG_BASE + offset, data, len));
			for (unsigned int b = 1; len > 1 && b < len; b++)
				cr_expect_eq(data[b], 0, "offset %u width %u", offset, len);
		}
	}
	cr_expect_gt(metric_get(&serial_metrics()->missed_read_count), 0);
	cr_expect_gt(metric_get(&serial_metrics()->missed_write_count), 0);
	serial_rig_fini(&r);
}

Test(serial, wide_accesses_are_refused_and_counted)
{
	struct serial_rig r;
	uint8_t data[4] = { 'a', 'b', 'c', 'd' };
	serial_rig_init_pipes(&r);
	cr_expect(bus_write(r.env.bus, SERIAL_RIG_BASE + THR, data, 4));
	cr_expect(bus_read(r.env.bus, SERIAL_RIG_BASE + LSR, data, 2));
	cr_expect_eq(data[0], 0);
	cr_expect_eq(metric_get(&serial_metrics()->missed_write_count), 1);
	cr_expect_eq(metric_get(&serial_metrics()->missed_read_count), 1);
	serial_rig_fini(&r);
	cr_expect_lt(read(r.out, data, 1), 1);
}

/* --- loopback and FIFO ------------------------------------------------------------- */

struct loop_lines_case {
	char claim[48];
	uint8_t mcr, want;
};

ParameterizedTestParameters(serial, loopback_lines)
{
	static struct loop_lines_case cases[] = {
		{ "Linux's probe: OUT2 and RTS give DCD and CTS", 0x1a, 0x90 },
		{ "DTR gives DSR", 0x11, 0x20 },
		{ "OUT1 gives RI", 0x14, 0x40 },
		{ "nothing gives nothing", 0x10, 0x00 },
		{ "all four", 0x1f, 0xf0 },
	};
	return cr_make_param_array(struct loop_lines_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct loop_lines_case *c, serial, loopback_lines)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, c->mcr);
	uint8_t got = serial_rig_get(&r, MSR) & 0xf0;
	cr_expect_eq(got, c->want, "%s: 0x%02x", c->claim, got);
	serial_rig_put(&r, MCR, 0);
	cr_expect_eq(serial_rig_get(&r, MSR) & 0xf0, 0xb0, "the peer is back after loopback");
	serial_rig_fini(&r);
}

Test(serial, modem_deltas_are_set_by_a_change_and_cleared_by_a_read)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK | 0x04); /* CTS, DSR, DCD fall, RI rises */
	cr_expect_eq(serial_rig_get(&r, MSR), 0x4b, "a rising RI is no trailing edge");
	cr_expect_eq(serial_rig_get(&r, MSR), 0x40);
	serial_rig_put(&r, MCR, LOOPBACK);
	cr_expect_eq(serial_rig_get(&r, MSR), 0x04, "RI fell");
	serial_rig_fini(&r);
}

Test(serial, loopback_returns_bytes_and_sends_none)
{
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put(&r, FCR, FIFO_ON);
	serial_rig_put_text(&r, "ab\n");
	cr_expect_eq(serial_rig_get(&r, LSR), 0x61);
	cr_expect_eq(serial_rig_get(&r, RBR), 'a');
	cr_expect_eq(serial_rig_get(&r, RBR), 'b');
	cr_expect_eq(serial_rig_get(&r, RBR), '\n');
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	serial_rig_fini(&r);
	char c;
	cr_expect_lt(read(r.out, &c, 1), 1);
}

Test(serial, a_full_fifo_keeps_16_bytes_and_reports_the_overrun_once)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put(&r, FCR, FIFO_ON);
	for (uint8_t i = 0; i < 18; i++)
		serial_rig_put(&r, THR, i);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x63);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x61);
	for (uint8_t i = 0; i < 16; i++)
		cr_expect_eq(serial_rig_get(&r, RBR), i);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	serial_rig_fini(&r);
}

Test(serial, without_fifo_the_newer_character_wins)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put_text(&r, "xy");
	cr_expect_eq(serial_rig_get(&r, LSR), 0x63);
	cr_expect_eq(serial_rig_get(&r, RBR), 'y');
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	serial_rig_fini(&r);
}

Test(serial, fcr_resets_the_receiver)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put(&r, FCR, FIFO_ON);
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc1);
	serial_rig_put_text(&r, "abc");
	serial_rig_put(&r, FCR, FIFO_ON | 0x02);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	serial_rig_put_text(&r, "d");
	serial_rig_put(&r, FCR, 0);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01);
	serial_rig_put_text(&r, "e");
	serial_rig_put(&r, FCR, FIFO_ON);
	cr_expect_eq(serial_rig_get(&r, RBR), 'e',
		     "a character that came just before the FIFO is kept");
	serial_rig_fini(&r);
}

struct trigger_case {
	char claim[40];
	uint8_t fcr;
	unsigned int level;
};

ParameterizedTestParameters(serial, trigger_level)
{
	static struct trigger_case cases[] = {
		{ "level 1", 0x01, 1 },
		{ "level 4", 0x41, 4 },
		{ "level 8", 0x81, 8 },
		{ "level 14", 0xc1, 14 },
	};
	return cr_make_param_array(struct trigger_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct trigger_case *c, serial, trigger_level)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put(&r, FCR, c->fcr);
	serial_rig_put(&r, IER, 0x01);
	for (unsigned int n = 1; n <= 16; n++) {
		serial_rig_put(&r, THR, 'x');
		cr_expect_eq(serial_rig_get(&r, IIR), n < c->level ? 0xcc : 0xc4, "%s, %u bytes",
			     c->claim, n);
	}
	serial_rig_fini(&r);
}

/* --- interrupts -------------------------------------------------------------------- */

Test(serial, iir_names_causes_by_priority_and_each_has_its_own_end)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, FCR, 0x41); /* trigger at 4 */
	serial_rig_put(&r, MCR, LOOPBACK);
	for (int i = 0; i < 17; i++)
		serial_rig_put(&r, THR, 'x');
	serial_rig_put(&r, IER, 0x0f);
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc6, "line status first");
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc6, "reading IIR does not end it");
	(void)serial_rig_get(&r, LSR);
	for (int i = 0; i < 13; i++) {
		cr_expect_eq(serial_rig_get(&r, IIR), 0xc4, "then received data");
		(void)serial_rig_get(&r, RBR);
	}
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(serial_rig_get(&r, IIR), 0xcc, "then the character timeout");
		(void)serial_rig_get(&r, RBR);
	}
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc2, "then the transmitter, ended by this read");
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc0, "then modem status");
	(void)serial_rig_get(&r, MSR);
	cr_expect_eq(serial_rig_get(&r, IIR), 0xc1, "then none");
	serial_rig_fini(&r);
}

Test(serial, thre_interrupt_comes_with_its_enable_and_goes_with_iir)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, IER, 0x02);
	cr_expect_eq(serial_rig_pulses(), 1);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x02);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01);
	serial_rig_put(&r, IER, 0x02);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01, "enabling twice is not enabling again");
	serial_rig_put(&r, IER, 0x00);
	serial_rig_put(&r, IER, 0x02);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x02, "Linux's test of the transmitter interrupt");
	cr_expect_eq(serial_rig_pulses(), 1);
	serial_rig_put(&r, THR, 'x');
	cr_expect_eq(serial_rig_pulses(), 1);
	serial_rig_put(&r, THR, 'y');
	cr_expect_eq(serial_rig_pulses(), 0, "still pending: no new cause");
	cr_expect_eq(serial_rig_get(&r, IIR), 0x02);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01);
	serial_rig_fini(&r);
}

Test(serial, a_disabled_cause_does_not_interrupt_until_enabled)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	(void)serial_rig_get(&r, MSR);
	serial_rig_put(&r, THR, 'x');
	cr_expect_eq(serial_rig_pulses(), 0);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01);
	serial_rig_put(&r, IER, 0x01);
	cr_expect_eq(serial_rig_pulses(), 1);
	cr_expect_eq(serial_rig_get(&r, IIR), 0x04);
	serial_rig_fini(&r);
}

Test(serial, a_second_cause_pulses_while_the_first_is_pending)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	(void)serial_rig_get(&r, MSR);
	serial_rig_put(&r, IER, 0x09);
	cr_expect_eq(serial_rig_pulses(), 0);
	serial_rig_put(&r, THR, 'x');
	cr_expect_eq(serial_rig_pulses(), 1, "received data");
	serial_rig_put(&r, MCR, LOOPBACK | RTS);
	cr_expect_eq(serial_rig_pulses(), 1, "modem status");
	serial_rig_put(&r, MCR, LOOPBACK);
	cr_expect_eq(serial_rig_pulses(), 0, "the same cause again");
	serial_rig_fini(&r);
}

Test(serial, a_masked_and_unmasked_cause_pulses_again)
{
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	serial_rig_put(&r, MCR, LOOPBACK);
	serial_rig_put(&r, IER, 0x01);
	serial_rig_put(&r, THR, 'x');
	cr_expect_eq(serial_rig_pulses(), 1);
	serial_rig_put(&r, IER, 0x00); /* Linux's console does this around every line */
	serial_rig_put(&r, IER, 0x01);
	cr_expect_eq(serial_rig_pulses(), 1);
	serial_rig_fini(&r);
}

/* --- the device tree --------------------------------------------------------------- */

Test(serial, its_node_is_firecrackers)
{
	struct fdt_list list = { 0 };
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	cr_assert_eq(serial_device_ops.describe(r.uart, &list), 0);
	cr_assert_eq(list.n, 1);
	const struct fdt_desc *d = &list.v[0];
	cr_expect_str_eq(d->name, "uart@40002000");
	static const char *const names[] = { "compatible", "reg", "clocks", "clock-names",
					     "interrupts" };
	cr_assert_eq(d->nprops, ARRAY_SIZE(names));
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		cr_expect_str_eq(d->prop[i].name, names[i]);
	cr_expect_arr_eq(d->prop[0].strings, "ns16550a", 9);
	cr_expect_arr_eq(d->prop[1].cells, ((uint32_t[]){ 0, SERIAL_RIG_BASE, 0, 0x1000 }), 16);
	cr_expect_eq(d->prop[2].cells[0], FDT_PHANDLE_CLOCK);
	cr_expect_arr_eq(d->prop[3].strings, "apb_pclk", 9);
	cr_expect_arr_eq(d->prop[4].cells, ((uint32_t[]){ 0, 0, 1 }), 12, "SPI 0, rising edge");
	fdt_list_fini(&list);
	serial_rig_fini(&r);
}
