/*
 * Guest RAM (struct guest_mem): one mapping, and the one place where guest physical addresses
 * become host addresses. Created and destroyed on the VMM thread; read-only in between, so any
 * thread may look up.
 */
#include "vmm/core/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/base/bits.h"
#include "vmm/base/checked.h"

#define HUGE_PAGE (2 * MIB)

static int check_ranges(const struct mem_range *ranges, unsigned int n, enum mem_pages pages,
			uint64_t *ret_total, struct err *e)
{
	const uint64_t align = pages == MEM_PAGES_HUGETLB_2M ? HUGE_PAGE : 4 * KIB;
	uint64_t total = 0, end = 0;

	if (n == 0 || n > MEM_MAX_REGIONS)
		return err_set(e, -EINVAL, "%u memory regions, 1 to %d are possible", n,
			       MEM_MAX_REGIONS);
	for (unsigned int i = 0; i < n; i++) {
		if (ranges[i].size == 0 || (ranges[i].size | ranges[i].gpa) % align)
			return err_set(e, -EINVAL,
				       "memory region %u (%#llx bytes at %#llx) is not a multiple "
				       "of %llu KiB",
				       i, (unsigned long long)ranges[i].size,
				       (unsigned long long)ranges[i].gpa,
				       (unsigned long long)(align / KIB));
		if (ranges[i].gpa < end || add_overflows_u64(ranges[i].gpa, ranges[i].size, &end) ||
		    add_overflows_u64(total, ranges[i].size, &total))
			return err_set(e, -EINVAL, "memory region %u overlaps another or wraps", i);
	}
	*ret_total = total;
	return 0;
}

/*
 * Address space for `size` bytes at a 2 MiB boundary, so that huge pages can back it: reserved with
 * room to spare, the ends given back. MAP_NORESERVE: what the guest never touches costs nothing.
 */
static int map_aligned(uint64_t size, enum mem_pages pages, uint8_t **ret)
{
	const int prot = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (pages == MEM_PAGES_HUGETLB_2M) {
		/* Reserved, not faulted in: a small pool is an error now, not a SIGBUS later. */
		void *p =
			mmap(NULL, size, prot, flags | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
		if (p == MAP_FAILED)
			return -errno;
		*ret = p;
		return 0;
	}
	uint64_t with_room;
	if (add_overflows_u64(size, HUGE_PAGE, &with_room))
		return -ENOMEM;
	uint8_t *p = mmap(NULL, with_room, prot, flags | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	uint64_t head = align_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p;
	if (head)
		(void)munmap(p, head); /* failing to give address space back costs nothing */
	(void)munmap(p + head + size, HUGE_PAGE - head);
	*ret = p + head;
	return 0;
}

int mem_create(const struct mem_range *ranges, unsigned int n, enum mem_pages pages,
	       struct guest_mem **ret, struct err *e)
{
	uint64_t total = 0;
	int rc = check_ranges(ranges, n, pages, &total, e);
	if (rc < 0)
		return rc;
	struct guest_mem *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "Cannot allocate the guest memory's description");
	rc = map_aligned(total, pages, &m->map);
	if (rc < 0) {
		free(m);
		return err_set_os(e, rc, "Cannot map %llu MiB of guest memory%s",
				  (unsigned long long)(total / MIB),
				  pages == MEM_PAGES_HUGETLB_2M
					  ? " from 2 MiB huge pages (see /proc/sys/vm/nr_hugepages)"
					  : "");
	}
	m->map_size = total;
	m->nregions = n;
	uint8_t *host = m->map;
	for (unsigned int i = 0; i < n; i++) {
		m->region[i] = (struct mem_region){ ranges[i].gpa, ranges[i].size, host };
		host += ranges[i].size;
	}
	/* Advice only: hosts without transparent huge pages answer EINVAL and run as well. */
	if (pages == MEM_PAGES_THP)
		(void)madvise(m->map, total, MADV_HUGEPAGE);
	/* A core dump is no place for a guest's memory. */
	(void)madvise(m->map, total, MADV_DONTDUMP);
	*ret = m;
	return 0;
}

void mem_destroy(struct guest_mem *m)
{
	if (!m)
		return;
	(void)munmap(m->map, m->map_size); /* our own mapping: cannot fail */
	free(m);
}

uint64_t mem_size(const struct guest_mem *m)
{
	return m->map_size;
}

int mem_slice(const struct guest_mem *m, gpa_t gpa, uint64_t len, void **ret)
{
	for (unsigned int i = 0; i < m->nregions; i++) {
		const struct mem_region *r = &m->region[i];
		if (gpa < r->gpa || gpa - r->gpa >= r->size)
			continue;
		if (!range_fits(gpa - r->gpa, len, r->size))
			return -EFAULT;
		*ret = r->host + (gpa - r->gpa);
		return 0;
	}
	return -EFAULT;
}

int mem_read(const struct guest_mem *m, gpa_t gpa, void *dst, uint64_t len)
{
	void *p;
	int rc = mem_slice(m, gpa, len, &p);
	if (rc == 0)
		memcpy(dst, p, len);
	return rc;
}

int mem_write(const struct guest_mem *m, gpa_t gpa, const void *src, uint64_t len)
{
	void *p;
	int rc = mem_slice(m, gpa, len, &p);
	if (rc == 0)
		memcpy(p, src, len);
	return rc;
}
