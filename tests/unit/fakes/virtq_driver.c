/* A guest's virtio driver and a machine for it (struct virtq, struct machine). Test thread. */
#include "fakes/virtq_driver.h"

#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "fakes/fake_kvm.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/endian.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

enum { AVAIL_AT = 0x1000, USED_AT = 0x2000, RINGS_SIZE = 0x3000 };

void virtq_init(struct virtq *q, struct guest_mem *mem, gpa_t at, uint16_t size)
{
	memset(guest_ram_at(mem, at), 0, RINGS_SIZE);
	*q = (struct virtq){
		.mem = mem, .size = size, .desc = at, .avail = at + AVAIL_AT, .used = at + USED_AT
	};
}

void virtq_write_desc(const struct virtq *q, gpa_t table, uint32_t index, struct virtq_desc desc)
{
	uint8_t *d = guest_ram_at(q->mem, table + UINT64_C(16) * index);
	store_le64(d, desc.addr);
	store_le32(d + 8, desc.len);
	store_le16(d + 12, desc.flags);
	store_le16(d + 14, desc.next);
}

void virtq_desc(const struct virtq *q, uint16_t index, struct virtq_desc desc)
{
	virtq_write_desc(q, q->desc, index, desc);
}

static void put16(const struct virtq *q, gpa_t at, uint16_t v)
{
	atomic_store((_Atomic uint16_t *)guest_ram_at(q->mem, at), htole16(v));
}

static uint16_t get16(const struct virtq *q, gpa_t at)
{
	return le16toh(atomic_load((_Atomic uint16_t *)guest_ram_at(q->mem, at)));
}

void virtq_offer(struct virtq *q, uint16_t head)
{
	put16(q, q->avail + 4 + 2 * (gpa_t)(q->avail_idx % q->size), head);
	virtq_set_avail_idx(q, (uint16_t)(q->avail_idx + 1));
}

void virtq_set_avail_idx(struct virtq *q, uint16_t idx)
{
	q->avail_idx = idx;
	put16(q, q->avail + 2, idx);
}

void virtq_set_avail_flags(const struct virtq *q, uint16_t flags)
{
	put16(q, q->avail, flags);
}

void virtq_set_used_event(const struct virtq *q, uint16_t value)
{
	put16(q, q->avail + 4 + UINT64_C(2) * q->size, value);
}

uint16_t virtq_avail_event(const struct virtq *q)
{
	return get16(q, q->used + 4 + UINT64_C(8) * q->size);
}

uint16_t virtq_used_flags(const struct virtq *q)
{
	return get16(q, q->used);
}

uint16_t virtq_used_idx(const struct virtq *q)
{
	return get16(q, q->used + 2);
}

bool virtq_take_used(struct virtq *q, uint32_t *ret_id, uint32_t *ret_len)
{
	if (q->seen_used == virtq_used_idx(q))
		return false;
	const uint8_t *entry =
		guest_ram_at(q->mem, q->used + 4 + UINT64_C(8) * (q->seen_used % q->size));
	*ret_id = load_le32(entry);
	*ret_len = load_le32(entry + 4);
	q->seen_used++;
	return true;
}

/* --- the machine ---------------------------------------------------------------------------------- */

static int no_spi(void *gic, uint32_t intid, bool level)
{
	(void)gic;
	(void)intid;
	(void)level;
	return -1; /* there are irqfds */
}

void machine_init(struct machine *m)
{
	static const struct irq_sink sink = { .set_spi = no_spi, .has_irqfd = true };

	/* What a guest does wrong is logged; here that is most of what it does. */
	const struct log_config quiet = { .has_level = true, .level = LOG_OFF };
	struct err e = { "" };

	memset(m, 0, sizeof(*m));
	cr_assert_eq(log_configure(&quiet, &e), 0, "%s", e.text);
	fake_kvm_reset();
	m->kvm = KVM_CLOSED;
	m->mem = guest_ram_create();
	cr_assert_eq(bus_create(&m->bus), 0);
	bus_set_pool(m->bus, MACHINE_FIRST_WINDOW, 64 * KIB);
	cr_assert_eq(loop_create(&m->loop), 0);
	irq_chip_init(&m->irqs, &m->kvm, &sink, 96);
	m->env = (struct device_env){
		.kvm = &m->kvm, .mem = m->mem, .bus = m->bus, .irqs = &m->irqs, .loop = m->loop
	};
	m->base = MACHINE_FIRST_WINDOW;
	m->settle_fd = -1;
}

static int kick_fd(const struct machine *m, uint32_t queue)
{
	return fake_kvm_ioeventfd(m->base + VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

static bool has_pending_kick(const struct machine *m)
{
	for (uint32_t i = 0; kick_fd(m, i) >= 0; i++) {
		struct pollfd p = { .fd = kick_fd(m, i), .events = POLLIN };
		if (poll(&p, 1, 0) == 1)
			return true;
	}
	return false;
}

/* Not drained while there is a kick: level-triggered, it comes again behind the kick's callback. */
static void on_settle(void *arg, uint32_t epoll_events)
{
	struct machine *m = arg;
	(void)epoll_events;
	if (!has_pending_kick(m) && io_event_drain(m->settle_fd))
		sem_post(&m->settled);
}

static void *run_loop(void *arg)
{
	struct machine *m = arg;
	(void)loop_run(m->loop);
	return NULL;
}

void machine_plug(struct machine *m, const struct device_ops *ops, const void *config)
{
	struct err e = { "" };
	int rc = ops->create(&m->env, config, &m->device, &e);
	cr_assert_eq(rc, 0, "create: %s", e.text);
	m->settle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_assert_geq(m->settle_fd, 0);
	cr_assert_eq(sem_init(&m->settled, 0, 0), 0);
	loop_event_init(&m->settle_event, on_settle, m);
	cr_assert_eq(loop_add(m->loop, &m->settle_event, m->settle_fd, EPOLLIN), 0);
	cr_assert_eq(pthread_create(&m->vmm, NULL, run_loop, m), 0);
	m->is_running = true;
}

void machine_fini(struct machine *m)
{
	if (m->is_running) {
		loop_stop(m->loop, 0);
		pthread_join(m->vmm, NULL);
		loop_remove(m->loop, &m->settle_event);
		close_fd(&m->settle_fd);
		sem_destroy(&m->settled);
	}
	if (m->device)
		m->device->ops->destroy(m->device);
	uint8_t byte;
	cr_expect_eq(fake_kvm_ioeventfds(), 0, "ioeventfds stay registered");
	cr_expect_eq(fake_kvm_irqfds(), 0, "irqfds stay registered");
	cr_expect_not(bus_read(m->bus, m->base, &byte, 1), "the window stays on the bus");
	loop_destroy(m->loop);
	bus_destroy(m->bus);
	mem_destroy(m->mem);
}

uint32_t machine_read(const struct machine *m, uint64_t reg)
{
	uint8_t data[4];
	cr_assert(bus_read(m->bus, m->base + reg, data, sizeof(data)));
	return load_le32(data);
}

void machine_write(const struct machine *m, uint64_t reg, uint32_t value)
{
	uint8_t data[4];
	store_le32(data, value);
	cr_assert(bus_write(m->bus, m->base + reg, data, sizeof(data)));
}

uint32_t machine_negotiate(const struct machine *m, uint64_t features)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE;
	machine_write(m, VIRTIO_MMIO_STATUS, 0);
	machine_write(m, VIRTIO_MMIO_STATUS, status);
	status |= VIRTIO_CONFIG_S_DRIVER;
	machine_write(m, VIRTIO_MMIO_STATUS, status);
	for (uint32_t word = 0; word < 2; word++) {
		machine_write(m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		machine_write(m, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * word)));
	}
	machine_write(m, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_FEATURES_OK);
	return machine_read(m, VIRTIO_MMIO_STATUS);
}

void machine_set_queue(const struct machine *m, uint32_t index, const struct virtq *q)
{
	machine_write(m, VIRTIO_MMIO_QUEUE_SEL, index);
	machine_write(m, VIRTIO_MMIO_QUEUE_NUM, q->size);
	machine_write(m, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)q->desc);
	machine_write(m, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(q->desc >> 32));
	machine_write(m, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)q->avail);
	machine_write(m, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(q->avail >> 32));
	machine_write(m, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)q->used);
	machine_write(m, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(q->used >> 32));
	machine_write(m, VIRTIO_MMIO_QUEUE_READY, 1);
}

void machine_bring_up(const struct machine *m, uint64_t features, const struct virtq *q)
{
	uint32_t status = machine_negotiate(m, features);
	machine_set_queue(m, 0, q);
	machine_write(m, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
	cr_assert_eq(machine_read(m, VIRTIO_MMIO_STATUS), 0xf, "the device is not live");
}

void machine_signal(const struct machine *m, uint32_t queue)
{
	cr_assert_eq(io_event_signal(kick_fd(m, queue)), 0);
}

void machine_settle(struct machine *m)
{
	cr_assert_eq(io_event_signal(m->settle_fd), 0);
	while (sem_wait(&m->settled) < 0)
		; /* EINTR */
}

void machine_kick(struct machine *m, uint32_t queue)
{
	machine_signal(m, queue);
	machine_settle(m);
}

bool machine_take_irq(const struct machine *m)
{
	return io_event_drain(fake_kvm_irqfd(m->irqs.next_gsi - 1));
}
