/* Which interrupt controller runs; what in-kernel ones share. VMM thread; gic_kvm_set_spi: any. */
#include "arch/arm64/gic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/gic_internal.h"
#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"

/* Preference order is this order. */
static const struct gic_ops *const backends[] = { &gic_kvm_v3 };

int gic_config_check(const struct gic_config *cfg, struct err *e)
{
	if (cfg->nvcpus == 0) /* KVM would say yes and then refuse every vCPU (B-3) */
		return err_set(e, -EINVAL, "interrupt controller: there is no vCPU to serve");
	if (cfg->nr_irqs < GIC_NR_IRQS_MIN || cfg->nr_irqs > GIC_NR_IRQS_MAX || cfg->nr_irqs % 32)
		return err_set(
			e, -EINVAL,
			"interrupt controller: %u interrupts; it can have %u to %u, in steps of 32",
			cfg->nr_irqs, GIC_NR_IRQS_MIN, GIC_NR_IRQS_MAX);
	return 0;
}

/* None was granted: say what was asked, and what KVM answered to the first choice. */
static int refuse_all(int rc, struct err *e)
{
	char asked[128] = "";
	for (unsigned int i = 0; i < ARRAY_SIZE(backends); i++) {
		size_t used = strlen(asked);
		(void)snprintf(asked + used, sizeof(asked) - used, "%s%s (KVM device type %u)",
			       i ? ", " : "", backends[i]->name, backends[i]->kvm_device_type);
	}
	char text[96];
	return err_set(e, -ENODEV,
		       "GIC_KIND: this host's KVM offers no interrupt controller that wick can "
		       "use. Asked for: %s: %s",
		       asked, err_os_text(-rc, text, sizeof(text)));
}

int gic_create(const struct gic_config *cfg, struct gic **ret, struct err *e)
{
	int first_rc = 0;
	int rc = gic_config_check(cfg, e);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < ARRAY_SIZE(backends); i++) {
		rc = kvm_test_device(cfg->kvm, backends[i]->kvm_device_type);
		if (rc == 0)
			return backends[i]->create(cfg, ret, e);
		if (i == 0)
			first_rc = rc;
	}
	return refuse_all(first_rc, e);
}

void gic_destroy(struct gic *g)
{
	if (g)
		g->ops->destroy(g);
}

static int sink_set_spi(void *gic, uint32_t intid, bool level)
{
	struct gic *g = gic;
	return g->ops->set_spi(g, intid, level);
}

struct irq_sink gic_irq_sink(struct gic *g)
{
	return (struct irq_sink){ .gic = g,
				  .set_spi = sink_set_spi,
				  .has_irqfd = g->ops->has_irqfd };
}

int gic_kvm_set_spi(const struct kvm *k, uint32_t nr_irqs, uint32_t intid, bool level)
{
	if (intid < IRQ_SPI_BASE || intid >= nr_irqs)
		return -EINVAL;
	return kvm_irq_line(k, KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | intid, level);
}

int gic_kvm_set_routing(const struct kvm *k, uint32_t nr_irqs)
{
	const uint32_t n = nr_irqs - IRQ_SPI_BASE;
	cleanup_free struct kvm_irq_routing_entry *entries = calloc(n, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (uint32_t gsi = 0; gsi < n; gsi++) {
		entries[gsi] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = 0, .pin = gsi },
		};
	}
	return kvm_set_gsi_routing(k, entries, n);
}
