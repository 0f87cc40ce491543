/*
 * virtio over MMIO, version 2 (virtio 1.2, 4.2.2): struct virtio_mmio. Registers are read and
 * written by vCPU threads; kicks arrive on the VMM thread, each queue's by an eventfd that KVM
 * signals when the guest writes QueueNotify: no exit to user space, one hop. (Without KVM's help
 * the write comes to us and signals it.)
 *
 * InterruptStatus has no lock, because the VMM thread holds the device's through a whole batch, and
 * a vCPU that acknowledges an interrupt should not wait for a disk. Order of things, for one used
 * buffer:
 *
 *   device: used->idx (release) | InterruptStatus |= 1 (release) | pulse (a system call: orders all
 *           before it)
 *   driver: takes the interrupt | reads InterruptStatus | writes InterruptACK (clears; acquire and
 *           release) | reads used->idx
 *
 * If the bit is set again between the driver's read and its ACK, the ACK clears it, and the pulse
 * finds a zero status; the used index was stored before the bit, so the driver sees it after its
 * ACK. Were the bit set behind the pulse, the driver could find a zero status, ignore the interrupt
 * and sleep for good.
 */
#include "devices/virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/endian.h"
#include "vmm/base/io.h"

#define WINDOW_SIZE (4 * KIB)

enum { MAGIC = 0x74726976 /* "virt" */, VERSION = 2, VENDOR_ID = 0 };

struct virtio_mmio;

struct kick {
	struct virtio_mmio *m;
	unsigned int queue;
	int event_fd; /* -1: not made */
	bool has_ioeventfd;
	struct loop_event loop_event;
};

struct virtio_mmio {
	struct virtio_dev *v;
	const struct device_env *env;
	gpa_t base;
	bool is_on_bus;
	struct irq_line irq;
	_Atomic uint32_t interrupt_status; /* enum virtio_event; see the top */
	/* Selectors: any vCPU may write them, none tears them; a driver that races itself loses. */
	_Atomic uint32_t device_features_sel, driver_features_sel, queue_sel;
	struct kick kick[VIRTIO_QUEUES_MAX];
};

/* --- registers: vCPU threads ------------------------------------------------------------------ */

static uint32_t read_register(struct virtio_mmio *m, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->v->ops->type;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR_ID;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_get_features(m->v, m->device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return virtio_queue_max(m->v, m->queue_sel);
	case VIRTIO_MMIO_QUEUE_READY:
		return virtio_queue_ready(m->v, m->queue_sel);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load_explicit(&m->interrupt_status, memory_order_acquire);
	case VIRTIO_MMIO_STATUS:
		return virtio_get_status(m->v);
	case VIRTIO_MMIO_SHM_LEN_LOW: /* there are no shared memory regions: all ones (4.2.2) */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return atomic_load_explicit(&m->v->config_generation, memory_order_acquire);
	default: /* write-only, QueueReset (not offered) and reserved */
		virtio_refuse(m->v, "read of no register");
		return 0;
	}
}

static void wake_queue(void *transport, unsigned int queue)
{
	struct virtio_mmio *m = transport;
	(void)io_event_signal(m->kick[queue].event_fd); /* a full counter is a kick already */
}

static void write_register(struct virtio_mmio *m, uint64_t offset, uint32_t value)
{
	struct virtio_dev *v = m->v;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_ack_features(v, m->driver_features_sel, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_NUM, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_READY, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY: /* only where there is no ioeventfd */
		if (value < v->ops->nqueues)
			wake_queue(m, value);
		else
			virtio_refuse(v, "kick of a queue that does not exist");
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		atomic_fetch_and_explicit(&m->interrupt_status, ~value, memory_order_acq_rel);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(v, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DESC_LOW, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DRIVER_LOW, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DRIVER_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DEVICE_LOW, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		virtio_queue_set(v, m->queue_sel, VIRTIO_QUEUE_DEVICE_HIGH, value);
		break;
	case VIRTIO_MMIO_SHM_SEL: /* no region, whichever */
		break;
	default: /* read-only, QueueReset (not offered) and reserved */
		virtio_refuse(v, "write to no register");
		break;
	}
}

static bool is_config(uint64_t offset, unsigned int len)
{
	return offset >= VIRTIO_MMIO_CONFIG && (len == 1 || len == 2 || len == 4 || len == 8);
}

static bool is_register(uint64_t offset, unsigned int len)
{
	return offset < VIRTIO_MMIO_CONFIG && len == 4 && offset % 4 == 0;
}

static void mmio_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	struct virtio_mmio *m = device;

	memset(data, 0, len);
	if (is_config(offset, len))
		virtio_config_read(m->v, offset - VIRTIO_MMIO_CONFIG, data, len);
	else if (is_register(offset, len))
		store_le32(data, read_register(m, offset));
	else
		virtio_refuse(m->v, "read of an odd size or place");
}

static void mmio_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	struct virtio_mmio *m = device;

	if (is_register(offset, len))
		write_register(m, offset, load_le32(data));
	else /* also the configuration space: no device of ours has a writable field */
		virtio_refuse(m->v, "write of an odd size or place");
}

static const struct bus_ops mmio_bus_ops = { .read = mmio_read, .write = mmio_write };

/* --- what the device asks of its transport ---------------------------------------------------- */

static void raise_interrupt(void *transport, enum virtio_event event)
{
	struct virtio_mmio *m = transport;

	/* Before the pulse: see the top. */
	atomic_fetch_or_explicit(&m->interrupt_status, event, memory_order_release);
	irq_line_pulse(&m->irq);
}

static void reset_registers(void *transport)
{
	struct virtio_mmio *m = transport;

	atomic_store_explicit(&m->interrupt_status, 0, memory_order_release);
	m->device_features_sel = 0;
	m->driver_features_sel = 0;
	m->queue_sel = 0;
}

static int describe(const void *transport, struct fdt_list *list)
{
	const struct virtio_mmio *m = transport;
	struct fdt_desc *d = fdt_list_add(list);
	if (!d)
		return -ENOMEM;
	fdt_desc_init(d, "virtio_mmio", m->base);
	fdt_desc_strings(d, "compatible", "virtio,mmio");
	fdt_desc_reg(d, m->base, WINDOW_SIZE);
	fdt_desc_spi(d, m->irq.gsi, IRQ_EDGE_RISING);
	fdt_desc_empty(d, "dma-coherent");
	return 0;
}

/* --- making and unmaking: VMM thread ---------------------------------------------------------- */

static void on_kick(void *arg, uint32_t epoll_events)
{
	struct kick *k = arg;

	(void)epoll_events; /* EPOLLIN is all we asked for */
	/* Drained before the ring is read: a kick that comes during the work signals again. */
	if (io_event_drain(k->event_fd))
		virtio_kick(k->m->v, k->queue);
}

static void destroy(void *transport)
{
	struct virtio_mmio *m = transport;

	for (unsigned int i = 0; i < m->v->ops->nqueues; i++) {
		struct kick *k = &m->kick[i];
		if (k->has_ioeventfd)
			(void)kvm_ioeventfd(m->env->kvm, m->base + VIRTIO_MMIO_QUEUE_NOTIFY, i,
					    k->event_fd, false); /* nothing to do if it fails */
		loop_remove(m->env->loop, &k->loop_event);
		close_fd(&k->event_fd);
	}
	irq_line_fini(&m->irq);
	if (m->is_on_bus)
		bus_remove(m->env->bus, m->base);
	free(m);
}

static const struct virtio_transport_ops mmio_transport_ops = {
	.interrupt = raise_interrupt,
	.wake = wake_queue,
	.reset = reset_registers,
	.describe = describe,
	.destroy = destroy,
};

static void init_kick(struct kick *k, struct virtio_mmio *m, unsigned int queue)
{
	*k = (struct kick){ .m = m, .queue = queue, .event_fd = -1 };
	loop_event_init(&k->loop_event, on_kick, k);
}

static int connect_kick(struct kick *k, struct err *e)
{
	const struct device_env *env = k->m->env;
	const gpa_t notify = k->m->base + VIRTIO_MMIO_QUEUE_NOTIFY;

	k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->event_fd < 0)
		return err_set_os(e, -errno, "Cannot make an eventfd");
	int rc = loop_add(env->loop, &k->loop_event, k->event_fd, EPOLLIN);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot watch an eventfd");
	rc = kvm_ioeventfd(env->kvm, notify, k->queue, k->event_fd, true);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot connect a queue (KVM_IOEVENTFD)");
	k->has_ioeventfd = true;
	return 0;
}

static int connect_all(struct virtio_mmio *m, struct err *e)
{
	int rc = bus_alloc(m->env->bus, WINDOW_SIZE, &m->base);
	if (rc < 0)
		return err_set_os(e, rc, "No room for another virtio device");
	rc = bus_add(m->env->bus, m->base, WINDOW_SIZE, &mmio_bus_ops, m);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot place a virtio device");
	m->is_on_bus = true;
	rc = irq_line_init(&m->irq, m->env->irqs, IRQ_EDGE_RISING, e);
	for (unsigned int i = 0; rc == 0 && i < m->v->ops->nqueues; i++)
		rc = connect_kick(&m->kick[i], e);
	return rc;
}

int virtio_mmio_attach(struct virtio_dev *v, struct err *e)
{
	struct virtio_mmio *m = calloc(1, sizeof(*m));
	if (!m)
		return err_set_os(e, -ENOMEM, "Cannot make a virtio device");
	m->v = v;
	m->env = v->env;
	for (unsigned int i = 0; i < VIRTIO_QUEUES_MAX; i++)
		init_kick(&m->kick[i], m, i);
	int rc = connect_all(m, e);
	if (rc < 0) {
		destroy(m);
		return rc;
	}
	v->transport = m;
	v->transport_ops = &mmio_transport_ops;
	return 0;
}
