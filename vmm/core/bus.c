/*
 * MMIO windows and who answers them (struct bus). Filled on the VMM thread before vCPUs run, then
 * read by every vCPU thread without a lock: thread creation orders the two.
 */
#include "vmm/core/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/checked.h"

struct bus_range {
	gpa_t base;
	uint64_t size;
	const struct bus_ops *ops;
	void *device;
};

struct bus {
	struct bus_range *v; /* ascending */
	unsigned int n, cap;
	gpa_t pool_next, pool_end;
};

int bus_create(struct bus **ret)
{
	struct bus *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*ret = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	free(b->v);
	free(b);
}

/* Index of the first window that starts above `addr`. */
static unsigned int upper_bound(const struct bus *b, gpa_t addr)
{
	unsigned int low = 0, high = b->n;
	while (low < high) {
		unsigned int mid = (low + high) / 2;
		if (b->v[mid].base <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int bus_add(struct bus *b, gpa_t base, uint64_t size, const struct bus_ops *ops, void *device)
{
	uint64_t end;
	if (size == 0 || add_overflows_u64(base, size, &end))
		return -EINVAL;
	unsigned int at = upper_bound(b, base);
	if ((at > 0 && b->v[at - 1].base + b->v[at - 1].size > base) ||
	    (at < b->n && b->v[at].base < end))
		return -EEXIST;
	if (b->n == b->cap) {
		unsigned int cap = b->cap ? 2 * b->cap : 16;
		struct bus_range *v = reallocarray(b->v, cap, sizeof(*v));
		if (!v)
			return -ENOMEM;
		b->v = v;
		b->cap = cap;
	}
	memmove(&b->v[at + 1], &b->v[at], (b->n - at) * sizeof(b->v[0]));
	b->v[at] = (struct bus_range){ base, size, ops, device };
	b->n++;
	return 0;
}

void bus_remove(struct bus *b, gpa_t base)
{
	unsigned int at = upper_bound(b, base);
	if (at == 0 || b->v[at - 1].base != base)
		return;
	memmove(&b->v[at - 1], &b->v[at], (b->n - at) * sizeof(b->v[0]));
	b->n--;
}

void bus_set_pool(struct bus *b, gpa_t base, uint64_t size)
{
	b->pool_next = base;
	b->pool_end = base + size;
}

int bus_alloc(struct bus *b, uint64_t size, gpa_t *ret_base)
{
	gpa_t base = align_up(b->pool_next, size);
	if (base > b->pool_end || size > b->pool_end - base)
		return -ENOSPC;
	b->pool_next = base + size;
	*ret_base = base;
	return 0;
}

static const struct bus_range *find(const struct bus *b, gpa_t addr, unsigned int len)
{
	unsigned int at = upper_bound(b, addr);
	if (at == 0)
		return NULL;
	const struct bus_range *r = &b->v[at - 1];
	return range_fits(addr - r->base, len, r->size) ? r : NULL;
}

bool bus_read(const struct bus *b, gpa_t addr, uint8_t *data, unsigned int len)
{
	const struct bus_range *r = find(b, addr, len);
	if (!r)
		return false;
	memset(data, 0, len);
	r->ops->read(r->device, addr - r->base, data, len);
	return true;
}

bool bus_write(const struct bus *b, gpa_t addr, const uint8_t *data, unsigned int len)
{
	const struct bus_range *r = find(b, addr, len);
	if (!r)
		return false;
	r->ops->write(r->device, addr - r->base, data, len);
	return true;
}
