/*
 * Split virtqueues, the device's side (struct queue, struct chain). Called with the device's lock
 * held.
 *
 * The rings are shared with a driver on another CPU, and arm64 reorders loads and stores freely, so
 * every access that hands something over says which one of the driver's it pairs with:
 *
 *   avail->idx, load acquire: pairs with the driver's barrier (dmb ishst) before its store of
 *       avail->idx. Ring entries and descriptors below the index are visible once the index is.
 *   used->idx, store release: pairs with the driver's barrier (dmb ishld) after its load of
 *       used->idx. Used entry, status byte and data are visible once the index is. (Data that the
 *       kernel wrote for us, as in preadv, was written by this CPU in program order, which release
 *       covers.)
 *   full fence between the store of used->idx and the load of used_event or avail->flags: the
 *       driver stores used_event, has a full barrier, and loads used->idx. Without a fence on both
 *       sides each could miss the other's store, and the interrupt would be lost.
 *   full fence between the store of avail_event or used->flags and the second load of avail->idx:
 *       the same, mirrored; the driver stores avail->idx, has a full barrier, loads avail_event.
 *
 * All else is relaxed or plain: ordered by the above, or a hint.
 *
 * The driver is hostile. A descriptor is copied once, the copy is checked, the copy is used.
 */
#include "devices/virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/endian.h"

/* The parts' layout in 16-bit words (2.7.6, 2.7.8); used entries are 8 bytes each. */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_ENTRIES = 2, USED_ENTRY_WORDS = 4 };

/* 2.7.4.2: a driver must not make a chain of more than 2^32 bytes. */
#define CHAIN_BYTES_MAX BIT64(32)

struct desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* The table that a walk is in: the queue's own, or an indirect one. */
struct desc_table {
	const uint8_t *host;
	uint32_t n;
	bool is_indirect;
};

static uint16_t load16(const _Atomic uint16_t *p, memory_order order)
{
	return le16toh(atomic_load_explicit(p, order));
}

static void store16(_Atomic uint16_t *p, uint16_t v, memory_order order)
{
	atomic_store_explicit(p, htole16(v), order);
}

static int malformed(struct queue *q, const char *why)
{
	q->fault = why;
	return -EBADMSG;
}

static _Atomic uint16_t *used_event(const struct queue *q)
{
	return &q->avail[RING_ENTRIES + q->size];
}

static _Atomic uint16_t *avail_event(const struct queue *q)
{
	return &q->used[RING_ENTRIES + USED_ENTRY_WORDS * q->size];
}

void queue_init(struct queue *q, uint32_t max_size)
{
	assert(max_size != 0 && max_size <= QUEUE_SIZE_MAX && (max_size & (max_size - 1)) == 0);
	*q = (struct queue){ .max_size = max_size, .size = max_size };
}

void queue_reset(struct queue *q)
{
	queue_init(q, q->max_size);
}

/* One part of the rings; `align` also makes the atomic accesses legal. */
static int map_part(const struct guest_mem *mem, gpa_t gpa, uint64_t len, uint64_t align,
		    void **ret)
{
	return (gpa & (align - 1)) != 0 ? -EINVAL : mem_slice(mem, gpa, len, ret);
}

int queue_start(struct queue *q, const struct guest_mem *mem, uint64_t features)
{
	void *desc, *avail, *used;

	q->fault = NULL;
	if (q->size == 0 || q->size > q->max_size || (q->size & (q->size - 1)) != 0)
		q->fault = "queue size is not a power of two within the maximum";
	else if (map_part(mem, q->desc_gpa, UINT64_C(16) * q->size, 16, &desc) < 0)
		q->fault = "descriptor table is not aligned to 16 or not in RAM";
	else if (map_part(mem, q->avail_gpa, 6 + UINT64_C(2) * q->size, 2, &avail) < 0)
		q->fault = "available ring is not aligned to 2 or not in RAM";
	else if (map_part(mem, q->used_gpa, 6 + UINT64_C(8) * q->size, 4, &used) < 0)
		q->fault = "used ring is not aligned to 4 or not in RAM";
	if (q->fault)
		return -EINVAL;

	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->has_event_idx = (features & BIT64(VIRTIO_RING_F_EVENT_IDX)) != 0;
	q->has_indirect = (features & BIT64(VIRTIO_RING_F_INDIRECT_DESC)) != 0;
	q->mem = mem;
	return 0;
}

static struct desc copy_desc(const uint8_t *table, uint32_t index)
{
	uint8_t raw[sizeof(struct vring_desc)];

	memcpy(raw, table + (size_t)index * sizeof(raw), sizeof(raw));
	/* From here on only the copy is looked at: a vCPU can change the original at any time. */
	__asm__ volatile("" : : "r"(raw) : "memory");
	return (struct desc){
		.addr = load_le64(raw + offsetof(struct vring_desc, addr)),
		.len = load_le32(raw + offsetof(struct vring_desc, len)),
		.flags = load_le16(raw + offsetof(struct vring_desc, flags)),
		.next = load_le16(raw + offsetof(struct vring_desc, next)),
	};
}

/* 2.7.5.3; the WRITE flag of a descriptor that refers to a table is ignored, as the clause says. */
static int enter_indirect(struct queue *q, const struct desc *d, struct desc_table *t)
{
	void *host;

	if (!q->has_indirect)
		return malformed(q, "indirect descriptor without the feature");
	if (t->is_indirect)
		return malformed(q, "indirect table inside an indirect table");
	if (d->flags & VRING_DESC_F_NEXT)
		return malformed(q, "indirect descriptor with a next one");
	if (d->len == 0 || d->len % sizeof(struct vring_desc) != 0)
		return malformed(q, "indirect table is empty or not a multiple of 16 bytes");
	if (mem_slice(q->mem, d->addr, d->len, &host) < 0)
		return malformed(q, "indirect table is not in RAM");
	*t = (struct desc_table){ host, d->len / sizeof(struct vring_desc), true };
	return 0;
}

static int add_buffer(struct queue *q, const struct desc *d, struct chain *c)
{
	void *host;

	/* The specification is silent on empty buffers; no driver makes them, QEMU refuses them. */
	if (d->len == 0)
		return malformed(q, "buffer of zero bytes");
	if (mem_slice(q->mem, d->addr, d->len, &host) < 0)
		return malformed(q, "buffer is not in RAM");
	if (c->readable.bytes + c->writable.bytes + d->len > CHAIN_BYTES_MAX)
		return malformed(q, "chain of more than 2^32 bytes");
	if (d->flags & VRING_DESC_F_WRITE) {
		if (c->writable.nsegs == 0)
			c->writable.seg = &c->seg[c->readable.nsegs];
		iov_add(&c->writable, host, d->len);
		return 0;
	}
	if (c->writable.nsegs != 0)
		return malformed(q, "readable buffer behind a writable one");
	iov_add(&c->readable, host, d->len);
	return 0;
}

/*
 * Each turn adds a segment or enters the one indirect table, so the limit both ends loops and keeps
 * the segments inside c->seg. An indirect chain may be longer than the queue is (Linux does that on
 * small queues).
 */
static int walk_chain(struct queue *q, struct chain *c)
{
	struct desc_table table = { q->desc, q->size, false };
	uint32_t limit = q->size;
	uint32_t index = c->head;

	for (uint32_t nsegs = 0; nsegs < limit;) {
		struct desc d = copy_desc(table.host, index);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			int rc = enter_indirect(q, &d, &table);
			if (rc < 0)
				return rc;
			limit = QUEUE_SIZE_MAX;
			index = 0;
			continue;
		}
		int rc = add_buffer(q, &d, c);
		if (rc < 0)
			return rc;
		nsegs++;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		if (d.next >= table.n)
			return malformed(q, "next descriptor is outside the table");
		index = d.next;
	}
	return malformed(q, "chain is longer than the queue, or a loop");
}

/* Are there entries to take? -EBADMSG if the driver claims more than the ring can hold. */
static int look_at_avail(struct queue *q)
{
	q->seen_avail = load16(&q->avail[RING_IDX], memory_order_acquire);
	uint16_t n = (uint16_t)(q->seen_avail - q->next_avail);
	if (n > q->size)
		return malformed(q, "available index jumped by more than the queue size");
	return n != 0;
}

int queue_pop(struct queue *q, struct chain *ret)
{
	if (q->next_avail == q->seen_avail) {
		int rc = look_at_avail(q);
		if (rc <= 0)
			return rc;
	}
	uint32_t slot = q->next_avail & (q->size - 1);
	uint16_t head = load16(&q->avail[RING_ENTRIES + slot], memory_order_relaxed);
	if (head >= q->size)
		return malformed(q, "head of the chain is outside the descriptor table");

	ret->head = head;
	ret->readable = (struct iov){ .seg = ret->seg };
	ret->writable = (struct iov){ .seg = ret->seg };
	int rc = walk_chain(q, ret);
	if (rc < 0)
		return rc;
	q->next_avail++;
	return 1;
}

void queue_push(struct queue *q, uint16_t head, uint32_t written)
{
	uint32_t slot = q->next_used & (q->size - 1);
	uint8_t entry[sizeof(struct vring_used_elem)];

	store_le32(entry, head);
	store_le32(entry + 4, written);
	memcpy((void *)&q->used[RING_ENTRIES + USED_ENTRY_WORDS * slot], entry, sizeof(entry));
	q->next_used++;
	store16(&q->used[RING_IDX], q->next_used, memory_order_release);
}

bool queue_should_notify(struct queue *q)
{
	uint16_t old = q->notified_used;
	uint16_t new = q->next_used;

	q->notified_used = new;
	if (old == new)
		return false;
	/* Between used->idx (queue_push) and used_event or flags: see the top. */
	atomic_thread_fence(memory_order_seq_cst);
	if (q->has_event_idx)
		return vring_need_event(load16(used_event(q), memory_order_relaxed), new, old);
	return !(load16(&q->avail[RING_FLAGS], memory_order_relaxed) & VRING_AVAIL_F_NO_INTERRUPT);
}

void queue_disable_kicks(struct queue *q)
{
	/*
	 * With EVENT_IDX there is nothing to write: avail_event stays where the driver's index has
	 * passed it, and no kick is due until it is moved on.
	 */
	if (!q->has_event_idx)
		store16(&q->used[RING_FLAGS], VRING_USED_F_NO_NOTIFY, memory_order_relaxed);
}

bool queue_enable_kicks(struct queue *q)
{
	if (q->has_event_idx)
		store16(avail_event(q), q->next_avail, memory_order_relaxed);
	else
		store16(&q->used[RING_FLAGS], 0, memory_order_relaxed);
	/* Between avail_event or flags and the second look at avail->idx: see the top. */
	atomic_thread_fence(memory_order_seq_cst);
	/* A malformed index counts as more: the pop that follows judges it. */
	return load16(&q->avail[RING_IDX], memory_order_acquire) != q->next_avail;
}
