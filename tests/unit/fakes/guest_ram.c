/* Guest RAM for tests, see the header. Test thread. */
#include "fakes/guest_ram.h"

#include <criterion/criterion.h>
#include <criterion/assert.h>

struct guest_mem *guest_ram_create(void)
{
	const struct mem_range ranges[] = { { GUEST_RAM, GUEST_RAM_SIZE },
					    { GUEST_RAM_HIGH, GUEST_RAM_HIGH_SIZE } };
	struct guest_mem *mem = NULL;
	struct err e = { "" };
	int rc = mem_create(ranges, ARRAY_SIZE(ranges), MEM_PAGES_THP, &mem, &e);
	cr_assert_eq(rc, 0, "guest RAM: %s", e.text);
	return mem;
}

void *guest_ram_at(const struct guest_mem *mem, gpa_t gpa)
{
	void *p = NULL;
	cr_assert_eq(mem_slice(mem, gpa, 1, &p), 0, "0x%llx is not RAM", (unsigned long long)gpa);
	return p;
}
