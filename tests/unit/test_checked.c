/* vmm/base/checked.h: overflow is said, never wrapped. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "vmm/base/bits.h"
#include "vmm/base/checked.h"

#define TOP UINT64_MAX

Test(checked, add_u64)
{
	static const struct {
		const char *claim;
		uint64_t a, b;
		bool overflows;
		uint64_t sum;
	} rows[] = {
		{ "small numbers", 2, 3, false, 5 },
		{ "up to the last value", TOP - 1, 1, false, TOP },
		{ "one past it", TOP, 1, true, 0 },
		{ "nothing added to the last value", TOP, 0, false, TOP },
		{ "both halves", UINT64_C(1) << 63, UINT64_C(1) << 63, true, 0 },
		{ "both last values", TOP, TOP, true, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t sum;
		bool overflows = add_overflows_u64(rows[i].a, rows[i].b, &sum);
		cr_expect_eq(overflows, rows[i].overflows, "%s", rows[i].claim);
		if (!overflows)
			cr_expect_eq(sum, rows[i].sum, "%s", rows[i].claim);
	}
}

Test(checked, mul_u64)
{
	static const struct {
		const char *claim;
		uint64_t a, b;
		bool overflows;
		uint64_t product;
	} rows[] = {
		{ "small numbers", 6, 7, false, 42 },
		{ "by zero", TOP, 0, false, 0 },
		{ "by one", TOP, 1, false, TOP },
		{ "2^32 squared", UINT64_C(1) << 32, UINT64_C(1) << 32, true, 0 },
		{ "just fits", UINT64_C(1) << 32, UINT32_MAX, false, 0xffffffff00000000 },
		{ "2^64 - 1 doubled", TOP, 2, true, 0 },
		{ "MiB into bytes just fits", TOP / MIB, MIB, false, 0xfffffffffff00000 },
		{ "one MiB more does not", TOP / MIB + 1, MIB, true, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t product;
		bool overflows = mul_overflows_u64(rows[i].a, rows[i].b, &product);
		cr_expect_eq(overflows, rows[i].overflows, "%s", rows[i].claim);
		if (!overflows)
			cr_expect_eq(product, rows[i].product, "%s", rows[i].claim);
	}
}

Test(checked, add_u32)
{
	uint32_t sum;
	cr_expect_not(add_overflows_u32(UINT32_MAX, 0, &sum));
	cr_expect_eq(sum, UINT32_MAX);
	cr_expect_not(add_overflows_u32(0x7fffffff, 0x80000000, &sum));
	cr_expect_eq(sum, UINT32_MAX);
	cr_expect(add_overflows_u32(UINT32_MAX, 1, &sum), "32 bits, not 64");
}

Test(checked, range_fits)
{
	static const struct {
		const char *claim;
		uint64_t start, len, limit;
		bool want;
	} rows[] = {
		{ "all of it", 0, 10, 10, true },
		{ "one byte too many", 0, 11, 10, false },
		{ "the last byte", 9, 1, 10, true },
		{ "across the end", 9, 2, 10, false },
		{ "nothing at the end", 10, 0, 10, true },
		{ "one byte at the end", 10, 1, 10, false },
		{ "nothing behind the end", 11, 0, 10, false },
		{ "a length that would wrap", 5, TOP, 10, false },
		{ "a length that would wrap to the start", 5, TOP - 4, 10, false },
		{ "a start that would wrap", TOP, 2, 10, false },
		{ "nothing in nothing", 0, 0, 0, true },
		{ "something in nothing", 0, 1, 0, false },
		{ "up to the last value", 0, TOP, TOP, true },
		{ "last value's last byte", TOP - 1, 1, TOP, true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(range_fits(rows[i].start, rows[i].len, rows[i].limit), rows[i].want,
			     "%s", rows[i].claim);
}
