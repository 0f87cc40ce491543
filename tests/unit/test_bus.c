/* vmm/core/bus.c: disjoint windows, accesses wholly inside one, and the pool. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/core/bus.h"

/* A device that remembers the last access and answers with its own number. */
struct probe {
	uint8_t number;
	unsigned int reads, writes;
	uint64_t offset;
	unsigned int len;
	uint8_t written[8];
};

static void probe_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	struct probe *p = device;
	p->reads++;
	p->offset = offset;
	p->len = len;
	data[0] = p->number; /* the rest of `data` is the bus's to clear */
}

static void probe_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	struct probe *p = device;
	p->writes++;
	p->offset = offset;
	p->len = len;
	memcpy(p->written, data, len);
}

static const struct bus_ops ops = { probe_read, probe_write };

static struct bus *make(void)
{
	struct bus *b = NULL;
	cr_assert_eq(bus_create(&b), 0);
	return b;
}

Test(bus, overlaps)
{
	static const struct {
		const char *claim;
		gpa_t base;
		uint64_t size;
		int want;
	} rows[] = { /* beside [0x1000, 0x2000) and [0x4000, 0x5000) */
		     { "the same window", 0x1000, 0x1000, -EEXIST },
		     { "inside one", 0x1800, 0x10, -EEXIST },
		     { "around one", 0x800, 0x2000, -EEXIST },
		     { "around both", 0, 0x10000, -EEXIST },
		     { "its first byte", 0xfff, 2, -EEXIST },
		     { "its last byte", 0x1fff, 2, -EEXIST },
		     { "the upper one's first byte", 0x3fff, 2, -EEXIST },
		     { "its start and more", 0x1000, 1, -EEXIST },
		     { "all of the gap", 0x2000, 0x2000, 0 },
		     { "one byte more than the gap", 0x2000, 0x2001, -EEXIST },
		     { "up to the lower one", 0, 0x1000, 0 },
		     { "from the upper one's end", 0x5000, 1, 0 },
		     { "nothing", 0x3000, 0, -EINVAL },
		     { "wrapping", UINT64_MAX - 1, 4, -EINVAL },
		     { "everything", 0, UINT64_MAX, -EEXIST },
		     { "near the top", UINT64_MAX - 0x1000, 0x1000, 0 }
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bus *b = make();
		struct probe p[3] = { { .number = 1 }, { .number = 2 }, { .number = 3 } };
		uint8_t data = 0;
		cr_assert_eq(bus_add(b, 0x4000, 0x1000, &ops, &p[1]), 0);
		cr_assert_eq(bus_add(b, 0x1000, 0x1000, &ops, &p[0]), 0);
		int rc = bus_add(b, rows[i].base, rows[i].size, &ops, &p[2]);
		cr_expect_eq(rc, rows[i].want, "%s: %d", rows[i].claim, rc);
		if (rc == 0) {
			cr_expect(bus_read(b, rows[i].base, &data, 1) && data == 3, "%s",
				  rows[i].claim);
			cr_expect(bus_read(b, rows[i].base + rows[i].size - 1, &data, 1));
			cr_expect_eq(data, 3, "%s: the last byte", rows[i].claim);
		}
		cr_expect(bus_read(b, 0x1000, &data, 1) && data == 1, "%s", rows[i].claim);
		cr_expect(bus_read(b, 0x4fff, &data, 1) && data == 2, "%s", rows[i].claim);
		bus_destroy(b);
	}
}

static const struct access_row {
	const char *claim;
	gpa_t addr;
	unsigned int len;
	int device; /* -1: none */
	uint64_t offset;
} accesses[] = { /* devices at [0x1000, 0x1010), [0x1010, 0x1014), [0x2000, 0x2001) */
		 { "the first byte", 0x1000, 1, 0, 0 },
		 { "the last byte", 0x100f, 1, 0, 15 },
		 { "the last eight", 0x1008, 8, 0, 8 },
		 { "unaligned inside", 0x1003, 4, 0, 3 },
		 { "three bytes", 0x1005, 3, 0, 5 },
		 { "across into the neighbour", 0x100e, 4, -1, 0 },
		 { "across the end by one", 0x1009, 8, -1, 0 },
		 { "the byte before", 0xfff, 1, -1, 0 },
		 { "across the start", 0xffe, 4, -1, 0 },
		 { "the neighbour's first byte", 0x1010, 1, 1, 0 },
		 { "all of the neighbour", 0x1010, 4, 1, 0 },
		 { "more than all of it", 0x1010, 8, -1, 0 },
		 { "behind the neighbour", 0x1014, 1, -1, 0 },
		 { "a window of one byte", 0x2000, 1, 2, 0 },
		 { "two bytes there", 0x2000, 2, -1, 0 },
		 { "address 0", 0, 1, -1, 0 },
		 { "the last address", UINT64_MAX, 1, -1, 0 },
		 { "wrapping at the top", UINT64_MAX - 3, 8, -1, 0 }
};

Test(bus, accesses_reach_the_device_that_holds_all_of_them)
{
	struct bus *b = make();
	struct probe p[3] = { { .number = 10 }, { .number = 11 }, { .number = 12 } };
	cr_assert_eq(bus_add(b, 0x2000, 1, &ops, &p[2]), 0);
	cr_assert_eq(bus_add(b, 0x1000, 0x10, &ops, &p[0]), 0);
	cr_assert_eq(bus_add(b, 0x1010, 4, &ops, &p[1]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++) {
		const struct access_row *r = &accesses[i];
		const uint8_t out[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
		uint8_t data[8];
		memset(data, 0xee, sizeof(data));
		cr_expect_eq(bus_read(b, r->addr, data, r->len), r->device >= 0, "%s", r->claim);
		cr_expect_eq(bus_write(b, r->addr, out, r->len), r->device >= 0, "%s", r->claim);
		for (unsigned int k = r->len; k < 8; k++)
			cr_expect_eq(data[k], 0xee, "%s: byte %u is not the access's", r->claim, k);
		if (r->device < 0) {
			cr_expect_eq(data[0], 0xee, "%s: left alone", r->claim);
			continue;
		}
		const struct probe *d = &p[r->device];
		cr_expect_eq(data[0], d->number, "%s", r->claim);
		for (unsigned int k = 1; k < r->len; k++)
			cr_expect_eq(data[k], 0, "%s: byte %u is zero", r->claim, k);
		cr_expect(d->offset == r->offset && d->len == r->len, "%s", r->claim);
		cr_expect_eq(memcmp(d->written, out, r->len), 0, "%s", r->claim);
	}
	bus_destroy(b);
}

Test(bus, many_windows_in_any_order_are_all_found)
{
	enum { N = 200 };
	static struct probe p[N];
	struct bus *b = make();
	uint8_t data;
	for (unsigned int i = 0; i < N; i++) {
		unsigned int k = i * 67 % N; /* coprime: each once */
		p[k].number = (uint8_t)k;
		cr_assert_eq(bus_add(b, k * 0x1000, 0x800, &ops, &p[k]), 0);
	}
	for (unsigned int k = 0; k < N; k++) {
		cr_expect(bus_read(b, k * 0x1000, &data, 1) && data == (uint8_t)k);
		cr_expect(bus_read(b, k * 0x1000 + 0x7ff, &data, 1) && data == (uint8_t)k);
		cr_expect_not(bus_read(b, k * 0x1000 + 0x800, &data, 1));
	}
	for (unsigned int k = 0; k < N; k += 2)
		bus_remove(b, k * 0x1000);
	for (unsigned int k = 0; k < N; k++)
		cr_expect_eq(bus_read(b, k * 0x1000, &data, 1), k % 2 == 1, "window %u", k);
	cr_expect_eq(bus_add(b, 0, 0x1000, &ops, &p[0]), 0, "a removed window's place is free");
	bus_destroy(b);
}

Test(bus, remove_takes_a_windows_start_only)
{
	struct bus *b = make();
	struct probe p = { .number = 1 };
	uint8_t data;
	bus_remove(b, 0x1000);
	cr_assert_eq(bus_add(b, 0x1000, 0x1000, &ops, &p), 0);
	bus_remove(b, 0x1001);
	bus_remove(b, 0xfff);
	bus_remove(b, 0x2000);
	cr_expect(bus_read(b, 0x1000, &data, 1));
	bus_remove(b, 0x1000);
	cr_expect_not(bus_read(b, 0x1000, &data, 1));
	bus_destroy(b);
}

Test(bus, an_empty_bus_answers_nothing)
{
	struct bus *b = make();
	uint8_t data = 0xee;
	cr_expect_not(bus_read(b, 0, &data, 1));
	cr_expect_not(bus_write(b, UINT64_MAX, &data, 1));
	cr_expect_eq(data, 0xee);
	bus_destroy(b);
	bus_destroy(NULL);
}

Test(bus, the_pool_gives_aligned_windows_lowest_first_until_it_is_used_up)
{
	static const struct {
		const char *claim;
		uint64_t size;
		int rc;
		gpa_t base;
	} rows[] = {
		{ "the first", 0x1000, 0, 0x3000 },
		{ "the next", 0x1000, 0, 0x4000 },
		{ "a smaller one", 0x100, 0, 0x5000 },
		{ "aligned to its size", 0x1000, 0, 0x6000 },
		{ "a larger one is aligned too", 0x4000, 0, 0x8000 },
		{ "one that does not fit", 0x10000, -ENOSPC, 0 },
		{ "a refusal used nothing up", 0x1000, 0, 0xc000 },
		{ "up to the last byte", 0x2000, 0, 0xe000 },
		{ "no byte more", 1, -ENOSPC, 0 },
	};
	struct bus *b = make();
	gpa_t base;
	cr_expect_eq(bus_alloc(b, 0x1000, &base), -ENOSPC, "no pool, no window");
	bus_set_pool(b, 0x3000, 0xd000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		base = 0x4711;
		int rc = bus_alloc(b, rows[i].size, &base);
		cr_expect_eq(rc, rows[i].rc, "%s: %d", rows[i].claim, rc);
		cr_expect_eq(base, rc == 0 ? rows[i].base : 0x4711, "%s: 0x%llx", rows[i].claim,
			     (unsigned long long)base);
	}
	bus_destroy(b);
}

Test(bus, virtio_windows_of_the_layout)
{
	struct bus *b = make();
	gpa_t base = 0;
	unsigned int n = 0;
	bus_set_pool(b, 0x40003000, 0x70000000 - 0x40003000);
	while (n < 200000 && bus_alloc(b, 0x1000, &base) == 0)
		cr_assert_eq(base, 0x40003000 + n++ * UINT64_C(0x1000));
	cr_expect_eq(n, (0x70000000 - 0x40003000) / 0x1000, "every window up to the end");
	bus_destroy(b);
}
