/* vmm/base/endian.h: little-endian bytes at any alignment, whatever the host. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/endian.h"

static const uint8_t bytes[] = { 0x11, 0x22, 0x33, 0x84, 0x55, 0x66, 0x77, 0x98, 0xa9, 0xba };

Test(endian, loads_take_the_low_byte_first_and_do_not_extend_signs)
{
	cr_expect_eq(load_le16(bytes), 0x2211);
	cr_expect_eq(load_le32(bytes), 0x84332211);
	cr_expect_eq(load_le64(bytes), UINT64_C(0x9877665584332211));
	cr_expect_eq((uint64_t)load_le32(bytes), UINT64_C(0x84332211));
}

Test(endian, any_alignment)
{
	for (size_t at = 0; at <= 2; at++) {
		uint8_t buf[sizeof(bytes)];
		cr_expect_eq(load_le64(bytes + at) & 0xff, bytes[at]);
		cr_expect_eq(load_le64(bytes + at) >> 56, bytes[at + 7]);
		memset(buf, 0xee, sizeof(buf));
		store_le64(buf + at, load_le64(bytes + at));
		cr_expect_arr_eq(buf + at, bytes + at, 8, "at %zu", at);
	}
}

Test(endian, stores_touch_their_bytes_only)
{
	static const struct {
		const char *claim;
		unsigned int len;
	} rows[] = { { "two", 2 }, { "four", 4 }, { "eight", 8 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t buf[10];
		memset(buf, 0xee, sizeof(buf));
		switch (rows[i].len) {
		case 2:
			store_le16(buf + 1, 0x2211);
			break;
		case 4:
			store_le32(buf + 1, 0x84332211);
			break;
		default:
			store_le64(buf + 1, UINT64_C(0x9877665584332211));
		}
		cr_expect_arr_eq(buf + 1, bytes, rows[i].len, "%s", rows[i].claim);
		cr_expect_eq(buf[0], 0xee, "%s", rows[i].claim);
		cr_expect_eq(buf[1 + rows[i].len], 0xee, "%s", rows[i].claim);
	}
}
