/*
 * Split virtqueues (virtio 1.2, 2.7), the device's side: the only reader of rings, and so the one
 * place where descriptors are judged. A queue has no lock of its own: its struct virtio_dev's lock
 * guards it.
 */
#ifndef WICK_DEVICES_VIRTIO_QUEUE_H
#define WICK_DEVICES_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/iov.h"
#include "vmm/core/memory.h"

#define QUEUE_SIZE_MAX 256u

/*
 * One request of the driver: every buffer checked to be guest RAM. The segments (ours) cannot
 * change any more, the bytes they point to can: running vCPUs share them. Copy a header before
 * judging it (iov_get).
 */
struct chain {
	uint16_t head;       /* its name towards the driver: queue_push hands it back */
	struct iov readable; /* what the driver tells us; comes first */
	struct iov writable; /* where we answer */
	struct iovec seg[QUEUE_SIZE_MAX];
};

struct queue {
	/* Guest-visible registers. The driver's words, unjudged until queue_start. */
	uint32_t size; /* entries */
	bool is_ready;
	gpa_t desc_gpa, avail_gpa, used_gpa;

	/* From queue_start to queue_reset; all indices count modulo 2^16. */
	const struct guest_mem *mem; /* NULL: not started */
	uint32_t max_size;           /* entries; constant */
	bool has_event_idx, has_indirect;
	uint16_t next_avail;    /* next available entry to take */
	uint16_t seen_avail;    /* driver's index at our last look: below it, entries are ours */
	uint16_t next_used;     /* next used entry to fill */
	uint16_t notified_used; /* next_used at the last queue_should_notify */
	const char *fault;      /* what was wrong with the rings, once a function said so */

	/* Host addresses of the three parts, checked for `size` entries. */
	const uint8_t *desc;
	_Atomic uint16_t *avail;
	_Atomic uint16_t *used;
};

/* `max_size`: a power of two, at most QUEUE_SIZE_MAX. */
void queue_init(struct queue *q, uint32_t max_size);

/* Back to the state after queue_init. */
void queue_reset(struct queue *q);

/*
 * Judges the registers and starts: size a power of two up to max_size, parts aligned to 16, 2 and 4
 * and inside RAM. -EINVAL with q->fault set; the queue is not started then. `features`: what was
 * negotiated.
 */
int queue_start(struct queue *q, const struct guest_mem *mem, uint64_t features);

/*
 * Takes the next request. 1: it is in *ret; 0: there is none; -EBADMSG: what the driver wrote is
 * malformed, q->fault says how. After that the queue is not to be used until reset.
 */
int queue_pop(struct queue *q, struct chain *ret);

/* Gives a request back; `written`: bytes written to its writable part, from its start. */
void queue_push(struct queue *q, uint16_t head, uint32_t written);

/* After a batch of pushes: does the driver want an interrupt for them? Ask once per batch. */
bool queue_should_notify(struct queue *q);

/*
 * Kicks are not wanted while we look at the ring anyhow (a hint: one can still come). Enabling them
 * says true if the driver has made more available meanwhile, which it may not kick for: look again.
 */
void queue_disable_kicks(struct queue *q);
bool queue_enable_kicks(struct queue *q);

#endif
