/* vmm/base/bits.h: masks, fields and alignment at their edges. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "vmm/base/bits.h"

Test(bits, single_bits_and_masks)
{
	static const struct {
		const char *claim;
		uint64_t got, want;
	} rows[] = {
		{ "the lowest bit", BIT32(0), 1 },
		{ "the highest bit of 32 is not sign-extended", BIT32(31), 0x80000000 },
		{ "the highest bit of 64", BIT64(63), 0x8000000000000000 },
		{ "a mask of one bit", GENMASK32(7, 7), 0x80 },
		{ "a mask in the middle", GENMASK32(25, 24), 0x03000000 },
		{ "the whole word of 32", GENMASK32(31, 0), 0xffffffff },
		{ "the top bit of 32", GENMASK32(31, 31), 0x80000000 },
		{ "the whole word of 64", GENMASK64(63, 0), UINT64_MAX },
		{ "the top bit of 64", GENMASK64(63, 63), 0x8000000000000000 },
		{ "a mask across the words' border", GENMASK64(39, 28), 0xfff0000000 },
		{ "sizes do not wrap at 32 bits", 4 * GIB, 0x100000000 },
		{ "a MiB", MIB, 1048576 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(rows[i].got, rows[i].want, "%s: 0x%llx", rows[i].claim,
			     (unsigned long long)rows[i].got);
}

Test(bits, fields)
{
	static const struct {
		const char *claim;
		uint64_t got, want;
	} rows[] = {
		{ "get shifts down", FIELD_GET(GENMASK32(25, 24), 0x0200ffffu), 2 },
		{ "get of the lowest field", FIELD_GET(GENMASK32(7, 0), 0x1234u), 0x34 },
		{ "get of a whole word", FIELD_GET(GENMASK32(31, 0), 0xdeadbeefu), 0xdeadbeef },
		{ "get of the top bit", FIELD_GET(BIT64(63), UINT64_MAX), 1 },
		{ "get of 64 bits with a 32-bit mask looks at its low half",
		  FIELD_GET(GENMASK32(31, 16), UINT64_C(0xffffffff00050000)), 5 },
		{ "prep shifts up", FIELD_PREP(GENMASK32(25, 24), 2u), 0x02000000 },
		{ "prep cuts what does not fit", FIELD_PREP(GENMASK32(25, 24), 7u), 0x03000000 },
		{ "prep into the high word from a small type",
		  FIELD_PREP(GENMASK64(39, 32), (uint8_t)0xab), UINT64_C(0xab00000000) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(rows[i].got, rows[i].want, "%s: 0x%llx", rows[i].claim,
			     (unsigned long long)rows[i].got);
}

Test(bits, get_undoes_prep_for_every_mask)
{
	for (unsigned int lo = 0; lo < 64; lo++) {
		for (unsigned int hi = lo; hi < 64; hi++) {
			const uint64_t mask = GENMASK64(hi, lo);
			const uint64_t value = UINT64_C(0xa5a5a5a5a5a5a5a5) & (mask >> lo);
			cr_assert_eq(FIELD_GET(mask, FIELD_PREP(mask, value)), value, "%u..%u", hi,
				     lo);
		}
	}
}

Test(bits, alignment)
{
	static const struct {
		const char *claim;
		uint64_t value, align, up, down;
	} rows[] = {
		{ "zero is aligned", 0, 4096, 0, 0 },
		{ "one rounds both ways", 1, 4096, 4096, 0 },
		{ "a multiple stays", 8192, 4096, 8192, 8192 },
		{ "one below a multiple", 8191, 4096, 8192, 4096 },
		{ "one above a multiple", 8193, 4096, 12288, 8192 },
		{ "align 1 changes nothing", 12345, 1, 12345, 12345 },
		{ "past 4 GiB", 0x100000001, 0x200000, 0x100200000, 0x100000000 },
		{ "the last multiple stays", 0xfffffffffffff000, 4096, 0xfffffffffffff000,
		  0xfffffffffffff000 },
		{ "up wraps to 0 past the last multiple, as documented", 0xfffffffffffff001, 4096,
		  0, 0xfffffffffffff000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cr_expect_eq(align_up(rows[i].value, rows[i].align), rows[i].up, "%s",
			     rows[i].claim);
		cr_expect_eq(align_down(rows[i].value, rows[i].align), rows[i].down, "%s",
			     rows[i].claim);
	}
}

struct outer {
	char pad[7];
	uint64_t inner[3];
};

Test(bits, container_of_finds_the_outer_struct)
{
	struct outer o;
	cr_expect_eq(container_of(&o.inner[2], struct outer, inner[2]), &o);
	cr_expect_eq(container_of(&o.pad[0], struct outer, pad[0]), &o);
	cr_expect_eq(ARRAY_SIZE(o.inner), 3);
}

Test(bits, min_u64_is_unsigned)
{
	cr_expect_eq(min_u64(1, 2), 1);
	cr_expect_eq(min_u64(UINT64_MAX, 5), 5, "2^64 - 1 is not -1");
	cr_expect_eq(min_u64(UINT64_MAX, UINT64_MAX), UINT64_MAX);
}
