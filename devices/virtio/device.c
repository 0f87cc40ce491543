/*
 * The virtio device behind every transport (struct virtio_dev): feature negotiation, status
 * machine, start and reset of its queues, batches of queue work. Register accesses come on vCPU
 * threads, kicks on the VMM thread.
 *
 * What a driver gets wrong falls into two classes. A register access out of order is ignored and
 * counted, and the driver goes on. Rings or requests that make no sense leave no common ground: the
 * device sets DEVICE_NEEDS_RESET (2.1.2) and touches no ring until the driver has reset it.
 */
#include "devices/virtio/device.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/log.h"

/* A batch ends after so many requests, or after a request that takes it beyond so many bytes. */
enum { BATCH_REQUESTS = 256 };
#define BATCH_BYTES (32 * MIB)

#define FEATURES_ALL                                                  \
	(BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT64(VIRTIO_RING_F_INDIRECT_DESC))

/* The bits that a driver sets, in the only order it may (3.1.1). */
static const uint8_t status_order[] = {
	VIRTIO_CONFIG_S_ACKNOWLEDGE,
	VIRTIO_CONFIG_S_DRIVER,
	VIRTIO_CONFIG_S_FEATURES_OK,
	VIRTIO_CONFIG_S_DRIVER_OK,
};

void virtio_init(struct virtio_dev *v, const struct device_ops *device_ops,
		 const struct virtio_ops *ops, const struct device_env *env, uint64_t features)
{
	assert(ops->nqueues <= VIRTIO_QUEUES_MAX && ops->config_size <= VIRTIO_CONFIG_MAX);
	v->device.ops = device_ops;
	v->ops = ops;
	v->env = env;
	v->features = features | FEATURES_ALL;
	pthread_mutex_init(&v->lock, NULL);
	for (unsigned int i = 0; i < ops->nqueues; i++)
		queue_init(&v->queue[i], ops->queue_size[i]);
}

void virtio_fini(struct virtio_dev *v)
{
	pthread_mutex_destroy(&v->lock);
}

int virtio_describe(const struct device *d, struct fdt_list *list)
{
	const struct virtio_dev *v = (const struct virtio_dev *)d;
	return v->transport_ops->describe(v->transport, list);
}

void virtio_destroy(struct device *d)
{
	if (!d)
		return;
	struct virtio_dev *v = virtio_from_device(d);
	if (v->transport_ops)
		v->transport_ops->destroy(v->transport);
	v->ops->destroy(v);
}

void virtio_resume(struct device *d)
{
	struct virtio_dev *v = virtio_from_device(d);
	for (unsigned int i = 0; i < v->ops->nqueues; i++)
		v->transport_ops->wake(v->transport, i);
}

static void interrupt(struct virtio_dev *v, enum virtio_event event)
{
	metric_add(&v->metrics.interrupt_count, 1);
	v->transport_ops->interrupt(v->transport, event);
}

void virtio_config_changed(struct virtio_dev *v)
{
	/* Release: pairs with the transport's acquire, between which the driver reads the space. */
	atomic_fetch_add_explicit(&v->config_generation, 1, memory_order_release);
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(v, VIRTIO_EVENT_CONFIG);
}

static void needs_reset(struct virtio_dev *v, const char *why)
{
	log_guest(LOG_ERROR, "virtio %s: %s; the device needs a reset", v->ops->name, why);
	v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: only a driver that has set DRIVER_OK is told. */
	if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(v, VIRTIO_EVENT_CONFIG);
}

void virtio_fail(struct virtio_dev *v, const char *why)
{
	metric_add(&v->metrics.event_fails, 1);
	needs_reset(v, why);
}

static void refuse(struct virtio_dev *v, const char *what)
{
	metric_add(&v->metrics.cfg_fails, 1);
	log_guest(LOG_WARN, "virtio %s: ignored: %s (status 0x%x)", v->ops->name, what, v->status);
}

void virtio_refuse(struct virtio_dev *v, const char *what)
{
	pthread_mutex_lock(&v->lock);
	refuse(v, what);
	pthread_mutex_unlock(&v->lock);
}

/* --- features --------------------------------------------------------------------------------- */

uint32_t virtio_get_features(struct virtio_dev *v, uint32_t word)
{
	return word < 2 ? (uint32_t)(v->features >> (32 * word)) : 0;
}

static bool is_negotiating(const struct virtio_dev *v)
{
	return (v->status & VIRTIO_CONFIG_S_DRIVER) &&
	       !(v->status & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED));
}

void virtio_ack_features(struct virtio_dev *v, uint32_t word, uint32_t bits)
{
	pthread_mutex_lock(&v->lock);
	if (!is_negotiating(v))
		refuse(v, "features acknowledged outside of negotiation");
	else if (word >= 2)
		v->has_acked_unknown |= bits != 0;
	else if (word == 1)
		v->acked_features = (v->acked_features & GENMASK64(31, 0)) | (uint64_t)bits << 32;
	else
		v->acked_features = (v->acked_features & GENMASK64(63, 32)) | bits;
	pthread_mutex_unlock(&v->lock);
}

static bool can_accept_features(const struct virtio_dev *v)
{
	return (v->acked_features & ~v->features) == 0 && !v->has_acked_unknown &&
	       (v->acked_features & BIT64(VIRTIO_F_VERSION_1));
}

/* --- status machine --------------------------------------------------------------------------- */

static void reset(struct virtio_dev *v)
{
	if (v->ops->reset)
		v->ops->reset(v);
	for (unsigned int i = 0; i < v->ops->nqueues; i++)
		queue_reset(&v->queue[i]);
	v->acked_features = 0;
	v->has_acked_unknown = false;
	v->status = 0;
	v->transport_ops->reset(v->transport);
}

/* Queues that the driver left alone stay stopped: it does not use them. */
static const char *start_queues(struct virtio_dev *v)
{
	for (unsigned int i = 0; i < v->ops->nqueues; i++) {
		struct queue *q = &v->queue[i];
		if (q->is_ready && queue_start(q, v->env->mem, v->acked_features) < 0)
			return q->fault;
	}
	return NULL;
}

/* DRIVER_OK is set in any case: the driver said it, and NEEDS_RESET tells it what came of it. */
static void activate(struct virtio_dev *v)
{
	v->status |= VIRTIO_CONFIG_S_DRIVER_OK;
	const char *fault = start_queues(v);
	if (!fault && v->ops->activate && v->ops->activate(v) < 0)
		fault = "activation failed";
	if (fault) {
		metric_add(&v->metrics.activate_fails, 1);
		needs_reset(v, fault);
	}
}

/* The bit that comes next in order; 0 behind the last. */
static uint8_t next_status(uint8_t status)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(status_order); i++)
		if (!(status & status_order[i]))
			return status_order[i];
	return 0;
}

static void set_status_bit(struct virtio_dev *v, uint8_t bit)
{
	if (bit == VIRTIO_CONFIG_S_DRIVER_OK)
		activate(v);
	else if (bit == VIRTIO_CONFIG_S_FEATURES_OK && !can_accept_features(v)) /* 3.1.1: stays 0 */
		refuse(v, "features that were not offered, or no VERSION_1");
	else
		v->status |= bit;
}

static void write_status(struct virtio_dev *v, uint32_t value)
{
	/* NEEDS_RESET is ours: drivers write it back as they read it, or not. */
	uint32_t old = v->status & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
	uint32_t new = value & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET;
	uint32_t added = new & ~old;

	if (value == 0)
		reset(v);
	else if (old & ~new)
		refuse(v, "a status bit cleared without a reset");
	else if (added == 0)
		return;
	else if (added == VIRTIO_CONFIG_S_FAILED)
		v->status |= VIRTIO_CONFIG_S_FAILED;
	else if ((old & VIRTIO_CONFIG_S_FAILED) || added != next_status(v->status))
		refuse(v, "status bits out of order");
	else
		set_status_bit(v, (uint8_t)added);
}

uint8_t virtio_get_status(struct virtio_dev *v)
{
	pthread_mutex_lock(&v->lock);
	uint8_t status = v->status;
	pthread_mutex_unlock(&v->lock);
	return status;
}

void virtio_set_status(struct virtio_dev *v, uint32_t status)
{
	pthread_mutex_lock(&v->lock);
	write_status(v, status);
	pthread_mutex_unlock(&v->lock);
}

/* --- queue registers and configuration space -------------------------------------------------- */

uint32_t virtio_queue_max(const struct virtio_dev *v, uint32_t queue)
{
	return queue < v->ops->nqueues ? v->ops->queue_size[queue] : 0;
}

uint32_t virtio_queue_ready(struct virtio_dev *v, uint32_t queue)
{
	if (queue >= v->ops->nqueues)
		return 0;
	pthread_mutex_lock(&v->lock);
	uint32_t is_ready = v->queue[queue].is_ready;
	pthread_mutex_unlock(&v->lock);
	return is_ready;
}

static void set_low(gpa_t *gpa, uint32_t value)
{
	*gpa = (*gpa & GENMASK64(63, 32)) | value;
}

static void set_high(gpa_t *gpa, uint32_t value)
{
	*gpa = (*gpa & GENMASK64(31, 0)) | (uint64_t)value << 32;
}

static void write_queue_reg(struct queue *q, enum virtio_queue_reg reg, uint32_t value)
{
	switch (reg) {
	case VIRTIO_QUEUE_NUM:
		q->size = value;
		break;
	case VIRTIO_QUEUE_READY:
		q->is_ready = value == 1;
		break;
	case VIRTIO_QUEUE_DESC_LOW:
		set_low(&q->desc_gpa, value);
		break;
	case VIRTIO_QUEUE_DESC_HIGH:
		set_high(&q->desc_gpa, value);
		break;
	case VIRTIO_QUEUE_DRIVER_LOW:
		set_low(&q->avail_gpa, value);
		break;
	case VIRTIO_QUEUE_DRIVER_HIGH:
		set_high(&q->avail_gpa, value);
		break;
	case VIRTIO_QUEUE_DEVICE_LOW:
		set_low(&q->used_gpa, value);
		break;
	case VIRTIO_QUEUE_DEVICE_HIGH:
		set_high(&q->used_gpa, value);
		break;
	}
}

/* Queues are set up between FEATURES_OK and DRIVER_OK, and what runs is not changed under way. */
static bool can_set_up_queues(const struct virtio_dev *v)
{
	return (v->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	       !(v->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED));
}

void virtio_queue_set(struct virtio_dev *v, uint32_t queue, enum virtio_queue_reg reg,
		      uint32_t value)
{
	pthread_mutex_lock(&v->lock);
	if (queue >= v->ops->nqueues)
		refuse(v, "set-up of a queue that does not exist");
	else if (!can_set_up_queues(v))
		refuse(v, "queue set-up outside of FEATURES_OK to DRIVER_OK");
	else
		write_queue_reg(&v->queue[queue], reg, value);
	pthread_mutex_unlock(&v->lock);
}

void virtio_config_read(struct virtio_dev *v, uint64_t offset, uint8_t *data, unsigned int len)
{
	memset(data, 0, len);
	if (offset >= v->ops->config_size)
		return;
	pthread_mutex_lock(&v->lock);
	memcpy(data, v->config + offset, min_u64(len, v->ops->config_size - offset));
	pthread_mutex_unlock(&v->lock);
}

/* --- queue work ------------------------------------------------------------------------------- */

static bool is_live(const struct virtio_dev *v, const struct queue *q)
{
	return (v->status & VIRTIO_CONFIG_S_DRIVER_OK) && q->mem &&
	       !(v->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED));
}

void virtio_kick(struct virtio_dev *v, unsigned int queue)
{
	assert(queue < v->ops->nqueues);
	pthread_mutex_lock(&v->lock);
	metric_add(&v->metrics.queue_event_count, 1);
	/* A kick that a reset has overtaken means nothing any more. */
	if (is_live(v, &v->queue[queue]))
		v->ops->kick(v, queue);
	pthread_mutex_unlock(&v->lock);
}

enum drained { DRAINED_ALL, DRAINED_BATCH, DRAINED_FAILED };

/* What a batch has served so far: counted over all of a virtio_drain, however often it looks again. */
struct batch {
	unsigned int requests;
	uint64_t bytes;
};

/* Pops and serves until the ring is empty or the batch full. */
static enum drained drain_batch(struct virtio_dev *v, struct queue *q, virtio_serve_fn serve,
				struct batch *b)
{
	struct chain *c = &v->chain;

	for (; b->requests < BATCH_REQUESTS && b->bytes < BATCH_BYTES; b->requests++) {
		int rc = queue_pop(q, c);
		if (rc == 0)
			return DRAINED_ALL;
		if (rc < 0) {
			virtio_fail(v, q->fault);
			return DRAINED_FAILED;
		}
		b->bytes += c->readable.bytes + c->writable.bytes;
		uint32_t written = 0;
		if (serve(v, c, &written) < 0)
			return DRAINED_FAILED;
		queue_push(q, c->head, written);
	}
	return DRAINED_BATCH;
}

void virtio_drain(struct virtio_dev *v, unsigned int queue, virtio_serve_fn serve)
{
	struct queue *q = &v->queue[queue];
	struct batch b = { 0 };
	enum drained end;

	queue_disable_kicks(q);
	do {
		end = drain_batch(v, q, serve, &b);
	} while (end == DRAINED_ALL && queue_enable_kicks(q));

	if (b.requests == 0)
		metric_add(&v->metrics.no_avail_buffer, 1);
	if (queue_should_notify(q))
		interrupt(v, VIRTIO_EVENT_USED);
	if (end == DRAINED_BATCH)
		v->transport_ops->wake(v->transport, queue);
}
