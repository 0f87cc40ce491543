/* Shared by the interrupt controller's backends (gic_*.c) and gic.c, which chooses among them;
 * nobody else. */
#ifndef WICK_ARM64_GIC_INTERNAL_H
#define WICK_ARM64_GIC_INTERNAL_H

#include <stdint.h>

#include "arch/arm64/gic.h"

extern const struct gic_ops gic_kvm_v3;

#define GIC_SPI_FIRST 32u
#define GIC_INTID_END 1020u /* 1020..1023 are special, never an interrupt */

/* One past the last SPI that a controller with `nr_irqs` INTIDs has. */
static inline uint32_t gic_spi_end(uint32_t nr_irqs)
{
	return nr_irqs < GIC_INTID_END ? nr_irqs : GIC_INTID_END;
}

/* Is this what every backend can rely on? -EINVAL with the reason otherwise. */
int gic_config_check(const struct gic_config *cfg, struct err *e);

/* The in-kernel backends' half of KVM_IRQ_LINE: raises or lowers an SPI. -EINVAL if it is none
 * (F-2). */
int gic_kvm_set_spi(const struct kvm *k, uint32_t nr_irqs, uint32_t intid, bool level);

/*
 * Installs the complete routing table: GSI n is SPI n for every SPI there is. KVM replaces the
 * whole table on each call, so this is the one place that writes it (F-1).
 */
int gic_kvm_set_routing(const struct kvm *k, uint32_t nr_irqs);

#endif
