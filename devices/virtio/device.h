/*
 * A virtio device (virtio 1.2, section 2), whatever its kind and whatever its transport: features,
 * the status machine, queues, configuration space. Between a kind (struct virtio_ops: block, rng)
 * above and a transport (struct virtio_transport_ops: mmio) below; neither knows the other, and
 * nothing here knows either (transport.c chooses).
 *
 * Threads: vCPU threads come in through the transport's registers, the VMM thread does the queue
 * work. One mutex per device guards all of struct virtio_dev and of the struct it is embedded in,
 * but what says otherwise. Lock order: device, then GIC (irq_line).
 */
#ifndef WICK_DEVICES_VIRTIO_DEVICE_H
#define WICK_DEVICES_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "devices/registry.h"
#include "devices/virtio/queue.h"
#include "vmm/base/metric.h"

#define VIRTIO_QUEUES_MAX 8u
#define VIRTIO_CONFIG_MAX 64u /* bytes */

struct virtio_dev;

/* A kind of device. All calls but destroy come with the lock held. */
struct virtio_ops {
	const char *name; /* in log lines */
	uint32_t type;    /* VIRTIO_ID_* */
	uint32_t config_size;
	unsigned int nqueues;
	uint32_t queue_size[VIRTIO_QUEUES_MAX];

	/* DRIVER_OK was set, the queues that are ready have started. vCPU thread. May be NULL. */
	int (*activate)(struct virtio_dev *v);
	/* Forget all requests; queues are stopped behind it. vCPU thread. NULL: nothing to do. */
	void (*reset)(struct virtio_dev *v);
	/* The driver has made buffers available in a started queue. VMM thread. */
	void (*kick)(struct virtio_dev *v, unsigned int queue);
	/* Frees the device, which has no transport any more and may be half-built. VMM thread. */
	void (*destroy)(struct virtio_dev *v);
};

enum virtio_event { VIRTIO_EVENT_USED = 1, VIRTIO_EVENT_CONFIG = 2 }; /* bits of InterruptStatus */

/* A transport, for one device. */
struct virtio_transport_ops {
	/* Any thread. */
	void (*interrupt)(void *transport, enum virtio_event event);
	/* Makes the VMM thread kick this queue, soon. Any thread. */
	void (*wake)(void *transport, unsigned int queue);
	/* The device went through a reset: clear what the transport keeps of its own. Lock held. */
	void (*reset)(void *transport);
	int (*describe)(const void *transport, struct fdt_list *list);
	/* VMM thread, vCPUs stopped. */
	void (*destroy)(void *transport);
};

struct virtio_metrics {
	metric_t activate_fails;
	metric_t event_fails;     /* malformed rings and requests: the device went to NEEDS_RESET */
	metric_t cfg_fails;       /* register accesses that the status machine or the map refuses */
	metric_t no_avail_buffer; /* kicks that found an empty ring */
	metric_t queue_event_count;
	metric_t interrupt_count;
};

/* Embedded as the first member of each kind's struct. */
struct virtio_dev {
	struct device device; /* first: what the registry hands around */
	const struct virtio_ops *ops;
	const struct device_env *env;
	const struct virtio_transport_ops *transport_ops; /* NULL: not attached */
	void *transport;

	pthread_mutex_t lock;
	uint64_t features; /* offered; constant */
	uint64_t acked_features;
	bool has_acked_unknown; /* a feature bit of 64 and up was acknowledged */
	uint8_t status;
	_Atomic uint32_t config_generation; /* written with the lock held, read without */
	uint8_t config[VIRTIO_CONFIG_MAX];
	struct queue queue[VIRTIO_QUEUES_MAX];
	struct chain chain; /* scratch of virtio_drain */
	struct virtio_metrics metrics;
};

/* --- for kinds -------------------------------------------------------------------------------- */

/* `features` beside VERSION_1, EVENT_IDX and INDIRECT_DESC, which all devices offer. */
void virtio_init(struct virtio_dev *v, const struct device_ops *device_ops,
		 const struct virtio_ops *ops, const struct device_env *env, uint64_t features);
void virtio_fini(struct virtio_dev *v);

/* The device_ops of every virtio device, through its transport. */
int virtio_describe(const struct device *d, struct fdt_list *list);
void virtio_destroy(struct device *d);
void virtio_resume(struct device *d);

static inline struct virtio_dev *virtio_from_device(struct device *d)
{
	return (struct virtio_dev *)d;
}

/*
 * Serves what is available in a queue, a bounded batch at a time so that no guest keeps the VMM
 * thread for itself; the rest after other devices had their turn. One interrupt decision per batch.
 * `serve` says how many bytes it wrote to c->writable; -errno, after virtio_fail, ends it.
 */
typedef int (*virtio_serve_fn)(struct virtio_dev *v, struct chain *c, uint32_t *ret_written);
void virtio_drain(struct virtio_dev *v, unsigned int queue, virtio_serve_fn serve);

/* The driver broke the rules beyond repair: DEVICE_NEEDS_RESET, no more work until it resets us. */
void virtio_fail(struct virtio_dev *v, const char *why);

/* v->config was changed (by its owner, with the lock held). */
void virtio_config_changed(struct virtio_dev *v);

/* --- for transports; each takes the lock ------------------------------------------------------ */

uint32_t virtio_get_features(struct virtio_dev *v, uint32_t word);
void virtio_ack_features(struct virtio_dev *v, uint32_t word, uint32_t bits);
uint8_t virtio_get_status(struct virtio_dev *v);
void virtio_set_status(struct virtio_dev *v, uint32_t status);

/* What a driver writes about a queue; the address registers come in halves. */
enum virtio_queue_reg {
	VIRTIO_QUEUE_NUM,
	VIRTIO_QUEUE_READY,
	VIRTIO_QUEUE_DESC_LOW,
	VIRTIO_QUEUE_DESC_HIGH,
	VIRTIO_QUEUE_DRIVER_LOW,
	VIRTIO_QUEUE_DRIVER_HIGH,
	VIRTIO_QUEUE_DEVICE_LOW,
	VIRTIO_QUEUE_DEVICE_HIGH,
};
/* A queue that does not exist has size 0, is never ready, and ignores writes. */
uint32_t virtio_queue_max(const struct virtio_dev *v, uint32_t queue);
uint32_t virtio_queue_ready(struct virtio_dev *v, uint32_t queue);
void virtio_queue_set(struct virtio_dev *v, uint32_t queue, enum virtio_queue_reg reg,
		      uint32_t value);

/* Bytes beyond the configuration space read as zero. */
void virtio_config_read(struct virtio_dev *v, uint64_t offset, uint8_t *data, unsigned int len);

/* A register access that means nothing: counted. */
void virtio_refuse(struct virtio_dev *v, const char *what);

/* The kick has arrived on the VMM thread. */
void virtio_kick(struct virtio_dev *v, unsigned int queue);

#endif
