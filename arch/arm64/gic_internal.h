/* Shared by the interrupt controller's backends (gic_*.c) and gic.c, which chooses; nobody else. */
#ifndef WICK_ARM64_GIC_INTERNAL_H
#define WICK_ARM64_GIC_INTERNAL_H

#include <stdint.h>

#include "arch/arm64/gic.h"

extern const struct gic_ops gic_kvm_v3;

#define GIC_NR_IRQS_MIN 64u
/* KVM's documentation says 1024, but 6.1 and 6.12 refuse it: 1020..1023 are no interrupts. */
#define GIC_NR_IRQS_MAX 992u

/* Is this what every backend can rely on? -EINVAL with the reason otherwise. */
int gic_config_check(const struct gic_config *cfg, struct err *e);

/* The in-kernel backends' set_spi, by KVM_IRQ_LINE. -EINVAL if `intid` is no SPI (F-2). */
int gic_kvm_set_spi(const struct kvm *k, uint32_t nr_irqs, uint32_t intid, bool level);

/*
 * Installs the complete routing table: GSI n is SPI n for every SPI there is. KVM replaces the
 * whole table on each call, so this is the one place that writes it (F-1).
 */
int gic_kvm_set_routing(const struct kvm *k, uint32_t nr_irqs);

#endif
