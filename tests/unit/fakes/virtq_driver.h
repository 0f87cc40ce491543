/*
 * The guest's side of a split virtqueue, for tests: writes rings as a driver would, and as no driver should.
 * On top of it a small machine: bus, interrupts, event loop on its own thread, and one virtio-mmio device that
 * is reached through nothing but its registers, its eventfds and guest memory.
 */
#ifndef WICK_TESTS_VIRTQ_DRIVER_H
#define WICK_TESTS_VIRTQ_DRIVER_H

#include <pthread.h>
#include <semaphore.h>

#include "devices/registry.h"
#include "fakes/guest_ram.h"

struct virtq {
	struct guest_mem *mem;
	uint16_t size;
	gpa_t desc, avail, used;
	uint16_t avail_idx; /* what the driver has stored in avail->idx */
	uint16_t seen_used; /* used entries taken so far */
};

/* Lays zeroed rings out from `at` (4 KiB aligned; takes less than 16 KiB for 256 entries). */
void virtq_init(struct virtq *q, struct guest_mem *mem, gpa_t at, uint16_t size);

struct virtq_desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define DESC(addr, len, flags, next) ((struct virtq_desc){ (addr), (len), (flags), (next) })

/* Writes entry `index` of any descriptor table. */
void virtq_write_desc(const struct virtq *q, gpa_t table, uint32_t index, struct virtq_desc desc);
/* The usual: entry of the queue's own table. */
void virtq_desc(const struct virtq *q, uint16_t index, struct virtq_desc desc);
/* Puts a head on the available ring and moves the index. */
void virtq_offer(struct virtq *q, uint16_t head);
void virtq_set_avail_idx(struct virtq *q, uint16_t idx);
void virtq_set_avail_flags(const struct virtq *q, uint16_t flags);
void virtq_set_used_event(const struct virtq *q, uint16_t value);
uint16_t virtq_avail_event(const struct virtq *q);
uint16_t virtq_used_flags(const struct virtq *q);
uint16_t virtq_used_idx(const struct virtq *q);
/* Takes the next used entry; false: there is none. */
bool virtq_take_used(struct virtq *q, uint32_t *ret_id, uint32_t *ret_len);

struct machine {
	struct kvm kvm;
	struct guest_mem *mem;
	struct bus *bus;
	struct irq_chip irqs;
	struct loop *loop;
	struct device_env env;
	struct device *device;
	gpa_t base; /* the device's window */

	pthread_t vmm; /* runs the loop */
	bool is_running;
	int settle_fd;
	struct loop_event settle_event;
	sem_t settled;
};

#define MACHINE_FIRST_WINDOW UINT64_C(0x40003000)

/* All but the device. Resets the fake KVM. */
void machine_init(struct machine *m);
/* Creates the device, which must succeed, and starts the VMM thread. */
void machine_plug(struct machine *m, const struct device_ops *ops, const void *config);
/* Stops the thread, destroys all, and checks that nothing stayed registered or open. */
void machine_fini(struct machine *m);

uint32_t machine_read(const struct machine *m, uint64_t reg);
void machine_write(const struct machine *m, uint64_t reg, uint32_t value);

/* Up to FEATURES_OK; returns the status then. */
uint32_t machine_negotiate(const struct machine *m, uint64_t features);
/* Writes the registers of queue `index` and makes it ready. */
void machine_set_queue(const struct machine *m, uint32_t index, const struct virtq *q);
/* Reset, negotiate, queue 0, DRIVER_OK. Fails the test if the device does not go live. */
void machine_bring_up(const struct machine *m, uint64_t features, const struct virtq *q);

/* What KVM does with a write of `queue` to QueueNotify. */
void machine_signal(const struct machine *m, uint32_t queue);
/* Returns when the VMM thread has worked off all kicks. */
void machine_settle(struct machine *m);
void machine_kick(struct machine *m, uint32_t queue);
/* Was the interrupt pulsed since the last call? */
bool machine_take_irq(const struct machine *m);

#endif
