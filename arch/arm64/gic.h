/*
 * The interrupt controller as the monitor knows it: which one runs is chosen here once and asked by
 * nobody. Requirement ids (A-4, C-8 …) are those of the project's GIC requirements, see docs/.
 */
#ifndef WICK_ARM64_GIC_H
#define WICK_ARM64_GIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/fdt_desc.h"
#include "vmm/core/irq.h"
#include "vmm/core/kvm.h"

struct gic;

struct gic_config {
	const struct kvm *kvm;
	/* All of them, ids 0..nvcpus-1, created and initialised. */
	const struct kvm_vcpu *const *vcpus;
	unsigned int nvcpus;
	uint32_t nr_irqs; /* INTIDs, 64..992, a multiple of 32 */
};

/* All the monitor knows of a GIC. Eight calls is the limit. */
struct gic_ops {
	const char *name;         /* "GICv3", for the log */
	uint32_t kvm_device_type; /* for the probe */
	bool has_irqfd;
	/* Makes and initialises it, after every vCPU, before any runs; verifies it (C-8). */
	int (*create)(const struct gic_config *cfg, struct gic **ret, struct err *e);
	/* Any thread. `intid`: an SPI. -EINVAL outside 32..nr_irqs-1. */
	int (*set_spi)(struct gic *g, uint32_t intid, bool level);
	/* Appends the interrupt controller's node, phandle FDT_PHANDLE_GIC. */
	int (*describe)(const struct gic *g, struct fdt_list *list);
	void (*destroy)(struct gic *g); /* NULL and half-built are fine */
};

struct gic {
	const struct gic_ops *ops;
};

/* The best backend the host offers. -ENODEV: none, the message lists what was asked. */
int gic_create(const struct gic_config *cfg, struct gic **ret, struct err *e);
void gic_destroy(struct gic *g);

/* How devices' lines reach it. */
struct irq_sink gic_irq_sink(struct gic *g);

#endif
