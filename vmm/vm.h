/*
 * The microVM: owner of every part. All of it belongs to the VMM thread; vCPU threads reach it only
 * through vcpu_events (vm.c), the API thread only through the mailbox.
 *
 * Lock order, outermost first: virtio device lock -> GIC (kernel) ; vcpu_set lock and log lock are
 * leaves.
 */
#ifndef WICK_VM_H
#define WICK_VM_H

#include <stdbool.h>
#include <stdint.h>

#include "arch/arm64/boot.h"
#include "arch/arm64/gic.h"
#include "devices/registry.h"
#include "vmm/control.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq.h"
#include "vmm/core/kvm.h"
#include "vmm/core/loop.h"
#include "vmm/core/memory.h"
#include "vmm/timeline.h"
#include "vmm/vcpu.h"
#include "vmm/vm_config.h"

struct vm {
	char id[65];
	enum vm_state state;
	struct vm_config config;
	struct loop *loop;
	struct timeline timeline;
	uint64_t start_us, start_cpu_us; /* when the start was asked for */

	/* Opened when they are configured, as Firecracker does; -1: not given. */
	int kernel_fd, initrd_fd;

	/* The machine, made by build.c; all empty before. */
	struct kvm kvm;
	struct guest_mem *mem;
	struct bus *bus;
	struct vcpu_set *vcpus;
	uint64_t *mpidr; /* one each, as KVM has them */
	struct gic *gic;
	struct irq_chip irqs;
	struct device_env env; /* devices keep a pointer to it */
	struct device **devices;
	unsigned int ndevices;
	struct boot_image boot;

	/* A vCPU's failure, handed to the VMM thread through an eventfd. */
	struct loop_event fail_event;
};

/* Opens nothing of KVM. `process_start_us`: CLOCK_MONOTONIC, the timeline's origin. 0 or -errno. */
int vm_create(const char *id, uint64_t process_start_us, struct vm **ret);
/* Everything, in the reverse order of making. NULL is fine. */
void vm_destroy(struct vm *vm);

/* The machine alone: back to what the configuration says, fit for another start. */
void vm_teardown(struct vm *vm);

void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* What vCPUs tell the machine. */
struct vcpu_events vm_vcpu_events(struct vm *vm);

#endif
