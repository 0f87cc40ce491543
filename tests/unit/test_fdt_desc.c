/* vmm/core/fdt_desc.c: device-tree wishes as data, as devices fill them in. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/core/fdt_desc.h"

Test(fdt_desc, names_have_the_unit_address)
{
	static const struct {
		const char *name;
		gpa_t address;
		const char *want;
	} rows[] = {
		{ "uart", 0x40002000, "uart@40002000" },
		{ "intc", 0x3fff0000, "intc@3fff0000" },
		{ "zero", 0, "zero@0" },
		{ "top", UINT64_MAX, "top@ffffffffffffffff" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fdt_desc d;
		memset(&d, 0xee, sizeof(d));
		fdt_desc_init(&d, rows[i].name, rows[i].address);
		cr_expect_str_eq(d.name, rows[i].want);
		cr_expect_eq(d.nprops, 0);
	}
}

Test(fdt_desc, properties_stay_in_order)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "rtc", 0x40001000);
	fdt_desc_strings(&d, "compatible", "arm,pl031\0arm,primecell");
	fdt_desc_empty(&d, "dma-coherent");
	fdt_desc_u32(&d, "clocks", 2);
	fdt_desc_cells(&d, "pair", (const uint32_t[]){ 7, 0xffffffff }, 2);
	cr_assert_eq(d.nprops, 4);

	cr_expect_str_eq(d.prop[0].name, "compatible");
	cr_expect_eq(d.prop[0].kind, FDT_PROP_STRINGS);
	cr_expect_eq(d.prop[0].strings_len, 24, "both strings and both NULs");
	cr_expect_eq(memcmp(d.prop[0].strings, "arm,pl031\0arm,primecell", 24), 0);

	cr_expect_eq(d.prop[1].kind, FDT_PROP_EMPTY);
	cr_expect_eq(d.prop[1].ncells, 0);

	cr_expect_eq(d.prop[2].kind, FDT_PROP_CELLS);
	cr_expect(d.prop[2].ncells == 1 && d.prop[2].cells[0] == 2);

	cr_expect_eq(d.prop[3].ncells, 2);
	cr_expect(d.prop[3].cells[0] == 7 && d.prop[3].cells[1] == 0xffffffff);
}

Test(fdt_desc, reg_pairs_are_four_cells_and_append)
{
	static const uint32_t want[] = { 0x80, 0x1000, 1, 0x20000, 0, 0x3fff0000, 0, 0x10000 };
	struct fdt_desc d;
	fdt_desc_init(&d, "intc", 0);
	fdt_desc_reg(&d, UINT64_C(0x8000001000), UINT64_C(0x100020000));
	fdt_desc_empty(&d, "interrupt-controller");
	fdt_desc_reg(&d, 0x3fff0000, 0x10000);
	cr_assert_eq(d.nprops, 2, "one reg");
	cr_expect_str_eq(d.prop[0].name, "reg");
	cr_expect_eq(d.prop[0].ncells, 8);
	cr_expect_arr_eq(d.prop[0].cells, want, sizeof(want));
}

Test(fdt_desc, spis_have_the_bindings_flags)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "x", 0);
	fdt_desc_spi(&d, 5, IRQ_EDGE_RISING);
	fdt_desc_spi(&d, 0, IRQ_LEVEL_HIGH);
	cr_expect_str_eq(d.prop[0].name, "interrupts");
	cr_expect_arr_eq(d.prop[0].cells, ((uint32_t[]){ 0, 5, 1 }), 12);
	cr_expect_arr_eq(d.prop[1].cells, ((uint32_t[]){ 0, 0, 4 }), 12);
}

/* --- our own mistakes ------------------------------------------------------------------------- */

Test(fdt_desc, twelve_properties_fit)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "x", 0);
	for (size_t i = 0; i < ARRAY_SIZE(d.prop); i++)
		fdt_desc_empty(&d, "p");
	cr_expect_eq(d.nprops, 12);
}

Test(fdt_desc, a_property_too_many_asserts, .signal = SIGABRT)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "x", 0);
	for (size_t i = 0; i <= ARRAY_SIZE(d.prop); i++)
		fdt_desc_empty(&d, "p");
}

Test(fdt_desc, a_reg_pair_too_many_asserts, .signal = SIGABRT)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "x", 0);
	for (int i = 0; i < 4; i++)
		fdt_desc_reg(&d, 0, 1);
}

Test(fdt_desc, a_name_too_long_asserts, .signal = SIGABRT)
{
	struct fdt_desc d;
	fdt_desc_init(&d, "a-name-that-is-far-too-long-for-a-node", 0x1234567890abcdef);
}

/* --- the list --------------------------------------------------------------------------------- */

Test(fdt_desc, a_list_grows_in_order_with_zeroed_entries)
{
	struct fdt_list l = { 0 };
	for (unsigned int i = 0; i < 100; i++) {
		struct fdt_desc *d = fdt_list_add(&l);
		cr_assert(d);
		cr_assert(d->nprops == 0 && d->name[0] == '\0');
		fdt_desc_init(d, "n", i);
		fdt_desc_u32(d, "i", i);
	}
	cr_assert_eq(l.n, 100);
	for (unsigned int i = 0; i < 100; i++)
		cr_expect_eq(l.v[i].prop[0].cells[0], i);
	fdt_list_fini(&l);
	cr_expect(!l.v && l.n == 0 && l.cap == 0);
	fdt_list_fini(&l);
	cr_expect(fdt_list_add(&l), "usable again");
	fdt_list_fini(&l);
}
