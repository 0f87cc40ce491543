/*
 * The MMIO bus: sorted, disjoint windows of guest physical addresses. Filled while the machine is
 * built, read-only while vCPUs run; each device locks itself.
 */
#ifndef WICK_CORE_BUS_H
#define WICK_CORE_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/types.h"

struct bus;

/*
 * `offset` is from the window's start; [offset, offset + len) lies inside the window; len is 1 to 8
 * and not necessarily a power of two's natural alignment. read fills all of `data` (little endian);
 * nothing the guest does may fail: undefined accesses read as zero and ignore writes.
 */
struct bus_ops {
	void (*read)(void *device, uint64_t offset, uint8_t *data, unsigned int len);
	void (*write)(void *device, uint64_t offset, const uint8_t *data, unsigned int len);
};

int bus_create(struct bus **ret);
void bus_destroy(struct bus *b);

/* Registers a window. -EEXIST if it overlaps another, -EINVAL if empty or wrapping, -ENOMEM. */
int bus_add(struct bus *b, gpa_t base, uint64_t size, const struct bus_ops *ops, void *device);
void bus_remove(struct bus *b, gpa_t base);

/*
 * Gives out `size`-byte windows, aligned to their size, from the range that bus_set_pool named,
 * lowest first. -ENOSPC when it is used up. (Placed devices use bus_add alone.)
 */
void bus_set_pool(struct bus *b, gpa_t base, uint64_t size);
int bus_alloc(struct bus *b, uint64_t size, gpa_t *ret_base);

/* One guest access; false: no window holds all of it (the caller injects an abort). */
bool bus_read(const struct bus *b, gpa_t addr, uint8_t *data, unsigned int len);
bool bus_write(const struct bus *b, gpa_t addr, const uint8_t *data, unsigned int len);

#endif
