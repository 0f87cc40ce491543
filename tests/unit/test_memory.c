/* vmm/core/memory.c: no byte outside guest RAM is ever handed out, and none inside is touched early. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/io.h"
#include "vmm/core/memory.h"

#define TOP  UINT64_MAX
#define LOW  UINT64_C(0x80000000)
#define HIGH UINT64_C(0x8000000000)

/* Two regions as around the 64-bit MMIO window: 4 MiB at LOW, 2 MiB at HIGH. */
static const struct mem_range two[] = { { LOW, 4 * MIB }, { HIGH, 2 * MIB } };

static struct guest_mem *make(const struct mem_range *ranges, unsigned int n)
{
	struct guest_mem *m = NULL;
	struct err e;
	cr_assert_eq(mem_create(ranges, n, MEM_PAGES_THP, &m, &e), 0, "%s", e.text);
	return m;
}

/* --- slices ----------------------------------------------------------------------------------- */

static const struct slice_row {
	const char *claim;
	gpa_t gpa;
	uint64_t len;
	bool is_ram;
	unsigned int region;
	uint64_t offset; /* in it */
} slices[] = {
	{ "the first byte", LOW, 1, true, 0, 0 },
	{ "the last byte", LOW + 4 * MIB - 1, 1, true, 0, 4 * MIB - 1 },
	{ "the whole region", LOW, 4 * MIB, true, 0, 0 },
	{ "all but the first byte", LOW + 1, 4 * MIB - 1, true, 0, 1 },
	{ "the byte before", LOW - 1, 1, false, 0, 0 },
	{ "across the start", LOW - 1, 2, false, 0, 0 },
	{ "the byte behind", LOW + 4 * MIB, 1, false, 0, 0 },
	{ "across the end", LOW + 4 * MIB - 1, 2, false, 0, 0 },
	{ "one byte more than all", LOW, 4 * MIB + 1, false, 0, 0 },
	{ "nothing at the first byte", LOW, 0, true, 0, 0 },
	{ "nothing at the last byte", LOW + 4 * MIB - 1, 0, true, 0, 4 * MIB - 1 },
	{ "nothing behind the end", LOW + 4 * MIB, 0, false, 0, 0 },
	{ "nothing before the start", LOW - 1, 0, false, 0, 0 },
	{ "the longest length there is", LOW, TOP, false, 0, 0 },
	{ "a length that wraps to 0", LOW, 0 - LOW, false, 0, 0 },
	{ "a length that wraps into the region", LOW + 1, TOP, false, 0, 0 },
	{ "a length whose low half would fit", LOW, (UINT64_C(1) << 32) + 1, false, 0, 0 },
	{ "between the regions", (LOW + HIGH) / 2, 1, false, 0, 0 },
	{ "from one region to the other", LOW, HIGH - LOW + 1, false, 0, 0 },
	{ "contiguous in the host, not in the guest", LOW + 4 * MIB - 8, 16, false, 0, 0 },
	{ "the second region's first byte", HIGH, 1, true, 1, 0 },
	{ "the second region's last byte", HIGH + 2 * MIB - 1, 1, true, 1, 2 * MIB - 1 },
	{ "the whole second region", HIGH, 2 * MIB, true, 1, 0 },
	{ "before the second region", HIGH - 1, 1, false, 0, 0 },
	{ "across the second region's start", HIGH - 1, 2, false, 0, 0 },
	{ "behind the second region", HIGH + 2 * MIB, 1, false, 0, 0 },
	{ "across the second region's end", HIGH + 2 * MIB - 4, 8, false, 0, 0 },
	{ "address 0", 0, 1, false, 0, 0 },
	{ "everything", 0, TOP, false, 0, 0 },
	{ "the last address", TOP, 1, false, 0, 0 },
	{ "the last address, wrapping", TOP, TOP, false, 0, 0 },
	{ "nothing at the last address", TOP, 0, false, 0, 0 },
};

Test(memory, slice_at_every_edge)
{
	struct guest_mem *m = make(two, 2);
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		const struct slice_row *r = &slices[i];
		void *p = m;
		int rc = mem_slice(m, r->gpa, r->len, &p);
		cr_expect_eq(rc, r->is_ram ? 0 : -EFAULT, "%s: %d", r->claim, rc);
		if (r->is_ram)
			cr_expect_eq(p, m->region[r->region].host + r->offset, "%s", r->claim);
		else
			cr_expect_eq(p, m, "%s: the output is left alone", r->claim);
	}
	mem_destroy(m);
}

/* Lengths that are not RAM would be copied if the check were late: a small buffer and ASan judge. */
Test(memory, copies_refuse_what_slices_refuse)
{
	struct guest_mem *m = make(two, 2);
	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		const struct slice_row *r = &slices[i];
		uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
		if (r->is_ram && r->len > sizeof(buf))
			continue;
		const int want = r->is_ram ? 0 : -EFAULT;
		cr_expect_eq(mem_write(m, r->gpa, buf, r->len), want, "write %s", r->claim);
		if (!r->is_ram)
			cr_expect_eq(mem_read(m, r->gpa, buf, r->len), want, "read %s", r->claim);
		cr_expect_eq(buf[0], 1, "%s: nothing was copied", r->claim);
	}
	mem_destroy(m);
}

Test(memory, what_is_written_is_read_back_at_the_same_place)
{
	struct guest_mem *m = make(two, 2);
	static const gpa_t places[] = { LOW, LOW + 4 * MIB - 6, HIGH, HIGH + 2 * MIB - 6,
					LOW + 4095 };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char got[6];
		void *p;
		cr_assert_eq(mem_write(m, places[i], "guest", 6), 0);
		cr_assert_eq(mem_read(m, places[i], got, 6), 0);
		cr_expect_str_eq(got, "guest");
		cr_assert_eq(mem_slice(m, places[i], 6, &p), 0);
		cr_expect_str_eq((char *)p, "guest");
	}
	mem_destroy(m);
}

Test(memory, a_region_at_address_0_and_one_at_the_top)
{
	static const struct mem_range edge[] = { { 0, MIB }, { 0 - 2 * MIB, MIB } };
	struct guest_mem *m = make(edge, 2);
	void *p;
	cr_expect_eq(mem_slice(m, 0, 1, &p), 0);
	cr_expect_eq(p, m->map);
	cr_expect_eq(mem_slice(m, 0 - MIB - 1, 1, &p), 0);
	cr_expect_eq(p, m->map + 2 * MIB - 1);
	cr_expect_eq(mem_slice(m, 0 - MIB - 1, 2, &p), -EFAULT);
	cr_expect_eq(mem_slice(m, 0 - MIB - 1, MIB + 2, &p), -EFAULT, "wraps to address 0");
	cr_expect_eq(mem_slice(m, TOP, 2, &p), -EFAULT, "wraps to address 0");
	mem_destroy(m);
}

/* --- the mapping ------------------------------------------------------------------------------ */

static uint64_t statm_bytes(unsigned int field)
{
	char *text = NULL;
	size_t len = 0;
	cr_assert_eq(io_read_file("/proc/self/statm", 4096, &text, &len), 0);
	char *p = text;
	unsigned long pages = 0;
	for (unsigned int i = 0; i <= field; i++)
		pages = strtoul(p, &p, 10);
	free(text);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

Test(memory, nothing_is_faulted_in)
{
	static const struct mem_range ranges[] = { { LOW, 3 * GIB }, { HIGH, GIB } };
	const size_t pages = 4 * GIB / 4096;
	unsigned char *vec = malloc(pages);
	cr_assert(vec);
	memset(vec, 1, pages);

	uint64_t before = statm_bytes(1);
	struct guest_mem *m = make(ranges, 2);
	cr_expect_lt(statm_bytes(1) - before, 2 * MIB, "resident memory grew");
	cr_assert_eq(mincore(m->map, 4 * GIB, vec), 0);
	cr_expect_null(memchr(vec, 1, pages), "a page is there already");

	memset(m->region[1].host, 1, 1); /* and the first touch is where it should be */
	cr_assert_eq(mincore(m->region[1].host, 4096, vec), 0);
	cr_expect_eq(vec[0] & 1, 1);
	mem_destroy(m);
	free(vec);
}

Test(memory, pages_are_zero_aligned_and_no_more_than_asked_for)
{
	static const uint64_t sizes[] = { 4 * KIB,           2 * MIB - 4 * KIB, 2 * MIB,
					  2 * MIB + 4 * KIB, 127 * MIB,         128 * MIB,
					  GIB + 4 * KIB };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct mem_range range = { LOW, sizes[i] };
		const uint64_t before = statm_bytes(0);
		struct guest_mem *m = make(&range, 1);
		cr_expect_eq((uintptr_t)m->map % (2 * MIB), 0, "%llu",
			     (unsigned long long)sizes[i]);
		cr_expect_lt(statm_bytes(0) - before, sizes[i] + MIB,
			     "the spare address space is given back");
		cr_expect_eq(mem_size(m), sizes[i]);
		cr_expect(m->region[0].host[0] == 0 && m->region[0].host[sizes[i] - 1] == 0);
		mem_destroy(m);
		cr_expect_lt(statm_bytes(0), before + MIB, "destroyed");
	}
}

Test(memory, regions_follow_each_other_in_one_mapping)
{
	struct guest_mem *m = make(two, 2);
	cr_expect_eq(m->nregions, 2);
	cr_expect_eq(mem_size(m), 6 * MIB);
	cr_expect_eq(m->region[0].host, m->map);
	cr_expect_eq(m->region[1].host, m->map + 4 * MIB);
	for (unsigned int i = 0; i < 2; i++) {
		cr_expect_eq(m->region[i].gpa, two[i].gpa);
		cr_expect_eq(m->region[i].size, two[i].size);
	}
	mem_destroy(m);
}

Test(memory, destroying_nothing_is_fine)
{
	mem_destroy(NULL);
}

/* --- refusals --------------------------------------------------------------------------------- */

static const struct refusal_row {
	const char *claim;
	unsigned int n;
	struct mem_range ranges[MEM_MAX_REGIONS + 1];
	enum mem_pages pages;
	int want;
	const char *text;
} refusals[] = {
	{ "no region", 0, { { 0 } }, MEM_PAGES_THP, -EINVAL, "0 memory regions, 1 to 2" },
	{ "too many regions",
	  3,
	  { { 0, MIB }, { MIB, MIB }, { 2 * MIB, MIB } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "3 memory regions, 1 to 2" },
	{ "an empty region", 1, { { LOW, 0 } }, MEM_PAGES_THP, -EINVAL, "memory region 0 (0 " },
	{ "half a page", 1, { { LOW, 2048 } }, MEM_PAGES_THP, -EINVAL, "multiple of 4 KiB" },
	{ "an address within a page", 1, { { LOW + 1, MIB } }, MEM_PAGES_THP, -EINVAL, "4 KiB" },
	{ "an odd MiB of huge pages",
	  1,
	  { { LOW, 3 * MIB } },
	  MEM_PAGES_HUGETLB_2M,
	  -EINVAL,
	  "multiple of 2048 KiB" },
	{ "a huge page at an odd MiB",
	  1,
	  { { LOW + MIB, 2 * MIB } },
	  MEM_PAGES_HUGETLB_2M,
	  -EINVAL,
	  "multiple of 2048 KiB" },
	{ "overlap by a page",
	  2,
	  { { LOW, 2 * MIB }, { LOW + 2 * MIB - 4096, MIB } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "memory region 1 overlaps" },
	{ "the same twice",
	  2,
	  { { LOW, MIB }, { LOW, MIB } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "memory region 1 overlaps" },
	{ "descending",
	  2,
	  { { HIGH, MIB }, { LOW, MIB } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "memory region 1 overlaps" },
	{ "an end past 2^64",
	  1,
	  { { 0 - MIB, 2 * MIB } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "memory region 0 overlaps another or wraps" },
	{ "a second region whose end wraps into the first",
	  2,
	  { { LOW, MIB }, { HIGH, 0 - HIGH + LOW } },
	  MEM_PAGES_THP,
	  -EINVAL,
	  "memory region 1 overlaps another or wraps" },
	{ "more than an address space",
	  1,
	  { { 0, UINT64_C(1) << 60 } },
	  MEM_PAGES_THP,
	  -ENOMEM,
	  "Cannot map 1099511627776 MiB of guest memory: Cannot allocate memory (os error 12)" },
	{ "a size that wraps with the room for its alignment",
	  1,
	  { { 0, 0 - 4096 } },
	  MEM_PAGES_THP,
	  -ENOMEM,
	  "Cannot map 17592186044415 MiB of guest memory: Cannot allocate memory (os error 12)" },
};

Test(memory, refusals)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal_row *r = &refusals[i];
		struct guest_mem *m = NULL;
		struct err e = { "" };
		int rc = mem_create(r->ranges, r->n, r->pages, &m, &e);
		cr_expect_eq(rc, r->want, "%s: %d", r->claim, rc);
		cr_expect(strstr(e.text, r->text), "%s: %s", r->claim, e.text);
		cr_expect_null(m, "%s", r->claim);
	}
}

/* Else the guest's first touch of the page that is missing would be SIGBUS in mid-flight. */
Test(memory, huge_pages_that_the_host_lacks_are_refused_at_the_start)
{
	char *text = NULL;
	size_t len = 0;
	struct guest_mem *m = NULL;
	struct err e = { "" };

	cr_assert_eq(io_read_file("/proc/meminfo", 65536, &text, &len), 0);
	const char *line = strstr(text, "HugePages_Free:");
	const uint64_t nfree = line ? strtoull(line + strlen("HugePages_Free:"), NULL, 10) : 0;
	free(text);
	const struct mem_range range = { 0, (nfree + 1) * 2 * MIB };
	int rc = mem_create(&range, 1, MEM_PAGES_HUGETLB_2M, &m, &e);
	cr_expect(rc == -ENOMEM || rc == -EINVAL, "%d", rc);
	cr_expect(strstr(e.text, "from 2 MiB huge pages (see /proc/sys/vm/nr_hugepages): "), "%s",
		  e.text);
	mem_destroy(m);
}

Test(memory, adjacent_regions_are_fine)
{
	static const struct mem_range adjacent[] = { { LOW, MIB }, { LOW + MIB, MIB } };
	struct guest_mem *m = make(adjacent, 2);
	void *p;
	cr_expect_eq(mem_slice(m, LOW + MIB - 1, 1, &p), 0);
	cr_expect_eq(mem_slice(m, LOW + MIB, 1, &p), 0);
	cr_expect_eq(mem_slice(m, LOW + MIB - 1, 2, &p), -EFAULT, "inside one region only");
	mem_destroy(m);
}
