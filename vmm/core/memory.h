/*
 * Guest memory: the only way from a guest physical address to host memory, bounds checked. Every
 * device, loader and walker of guest structures goes through mem_slice() or the copies below.
 * The regions never change between mem_create and mem_destroy, so no lock is needed. What the
 * slices point to is shared with running vCPUs: read a field once, into your own variable.
 */
#ifndef WICK_CORE_MEMORY_H
#define WICK_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/types.h"

#define MEM_MAX_REGIONS 2 /* below and above the 64-bit MMIO window */

struct mem_range {
	gpa_t gpa;
	uint64_t size; /* bytes */
};

struct mem_region {
	gpa_t gpa;
	uint64_t size; /* bytes */
	uint8_t *host;
};

enum mem_pages { MEM_PAGES_THP, MEM_PAGES_HUGETLB_2M };

struct guest_mem {
	unsigned int nregions; /* ascending, disjoint */
	struct mem_region region[MEM_MAX_REGIONS];
	uint8_t *map; /* one mapping, 2 MiB aligned, that holds all regions in order */
	uint64_t map_size;
};

/*
 * Maps zeroed, untouched memory for `n` ascending, disjoint ranges (each a multiple of the host's
 * page size, of 2 MiB for HUGETLB). Nothing is faulted in. -ENOMEM, -EINVAL with the reason in `e`.
 */
int mem_create(const struct mem_range *ranges, unsigned int n, enum mem_pages pages,
	       struct guest_mem **ret, struct err *e);
void mem_destroy(struct guest_mem *m);

/* Sum of the regions, bytes. */
uint64_t mem_size(const struct guest_mem *m);

/*
 * Host address of [gpa, gpa + len), valid as long as `m`, inside one region. -EFAULT if any byte of
 * it is not guest RAM (also for a length that wraps). A zero length needs an address inside RAM as
 * well.
 */
int mem_slice(const struct guest_mem *m, gpa_t gpa, uint64_t len, void **ret);

/* Copies; -EFAULT and nothing copied if any byte is outside. */
int mem_read(const struct guest_mem *m, gpa_t gpa, void *dst, uint64_t len);
int mem_write(const struct guest_mem *m, gpa_t gpa, const void *src, uint64_t len);

#endif
