/*
 * The kinds of device, in one explicit array. The machine (vmm/build.c) creates each configured device
 * through its kind's ops and never knows more of it than this.
 */
#ifndef WICK_DEVICES_REGISTRY_H
#define WICK_DEVICES_REGISTRY_H

#include "vmm/base/err.h"
#include "vmm/core/bus.h"
#include "vmm/core/fdt_desc.h"
#include "vmm/core/irq.h"
#include "vmm/core/kvm.h"
#include "vmm/core/loop.h"
#include "vmm/core/memory.h"

/* What a device stands on. Outlives every device. */
struct device_env {
	const struct kvm *kvm;
	struct guest_mem *mem;
	struct bus *bus;
	struct irq_chip *irqs;
	struct loop *loop; /* device work runs on this loop's thread */
};

struct device_ops;

/* First member of every device that the registry makes. */
struct device {
	const struct device_ops *ops;
};

struct device_ops {
	const char *kind; /* "block", "rng", "serial", "rtc", "boot-timer" */
	/* `config` is the kind's own struct (e.g. struct block_config). All or nothing. */
	int (*create)(const struct device_env *env, const void *config, struct device **ret,
		      struct err *e);
	/* Appends the device's node(s). 0 or -ENOMEM. NULL: it has none. */
	int (*describe)(const struct device *d, struct fdt_list *list);
	/* On the VMM thread, with every vCPU stopped. NULL is fine. */
	void (*destroy)(struct device *d);
	/*
	 * On the VMM thread, after a pause ends: look at the queues once more, since a kick may have been
	 * eaten. NULL: nothing to do.
	 */
	void (*resume)(struct device *d);
};

/* NULL: no such kind. */
const struct device_ops *device_find(const char *kind);

#endif
