/*
 * Interrupt lines for devices. A device owns an irq_line and pulses or sets it; whether the
 * kernel's GIC takes it through an irqfd or a userspace GIC through a call is settled here. No
 * device asks which.
 */
#ifndef WICK_CORE_IRQ_H
#define WICK_CORE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/kvm.h"

#define IRQ_SPI_BASE 32 /* GSI n is SPI n, INTID n + 32 (gic.md) */

enum irq_trigger { IRQ_EDGE_RISING, IRQ_LEVEL_HIGH };

/* What the GIC offers to lines; registered by whoever built it (vmm/build.c). */
struct irq_sink {
	void *gic;
	/* Any thread. `intid` is an SPI's, 32 and up. */
	int (*set_spi)(void *gic, uint32_t intid, bool level);
	bool has_irqfd; /* the kernel injects: edge lines become eventfds */
};

/* Hands out GSIs 0 .. nr_gsis-1 in order. */
struct irq_chip {
	const struct kvm *kvm;
	struct irq_sink sink;
	uint32_t nr_gsis;
	uint32_t next_gsi;
};

void irq_chip_init(struct irq_chip *c, const struct kvm *kvm, const struct irq_sink *sink,
		   uint32_t nr_gsis);

struct irq_line {
	struct irq_chip *chip; /* NULL: not connected, pulses go nowhere */
	uint32_t gsi;
	enum irq_trigger trigger;
	int event_fd; /* irqfd, or -1 where there is none */
};

/*
 * Takes the next GSI and connects the line. -ENOSPC ("Could not allocate GSI: …") when all are
 * taken; on failure nothing is left connected.
 */
int irq_line_init(struct irq_line *line, struct irq_chip *c, enum irq_trigger trigger,
		  struct err *e);
/* Disconnects; fine on a zeroed or already closed line. The GSI is not handed out again. */
void irq_line_fini(struct irq_line *line);

/* Edge lines, any thread: one interrupt; merged with one that is still pending. */
void irq_line_pulse(struct irq_line *line);
/* Level lines, any thread. */
void irq_line_set(struct irq_line *line, bool level);

#endif
