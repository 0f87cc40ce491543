/* Interrupt lines, routing, irqfds and ioeventfds of the fake KVM (struct irqs, one instance). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/fake_kvm.h"
#include "fakes/fake_kvm_internal.h"

enum { MAX_NOTIFIERS = 512, MAX_IRQ_WORDS = 4096 };

struct notifier { /* an irqfd (addr 0) or an ioeventfd */
	gpa_t addr;
	uint32_t number; /* GSI or datamatch */
	int fd;
};

struct irq_word {
	uint32_t irq;
	bool level;
};

static struct irqs {
	struct notifier irqfd[MAX_NOTIFIERS], ioeventfd[MAX_NOTIFIERS];
	unsigned int nirqfds, nioeventfds;
	struct irq_word irq_word[MAX_IRQ_WORDS];
	unsigned int nirq_words;
	struct kvm_irq_routing_entry *routing;
	unsigned int nrouting;
} irqs;

void fake_irq_reset(void)
{
	free(irqs.routing);
	memset(&irqs, 0, sizeof(irqs));
}

static struct notifier *notifier_of(struct notifier *v, unsigned int n, gpa_t addr, uint32_t number)
{
	for (unsigned int i = 0; i < n; i++) {
		if (v[i].addr == addr && v[i].number == number)
			return &v[i];
	}
	return NULL;
}

int fake_kvm_irqfd(uint32_t gsi)
{
	const struct notifier *x = notifier_of(irqs.irqfd, irqs.nirqfds, 0, gsi);
	return x ? x->fd : -1;
}

int fake_kvm_ioeventfd(gpa_t addr, uint32_t datamatch)
{
	const struct notifier *x = notifier_of(irqs.ioeventfd, irqs.nioeventfds, addr, datamatch);
	return x ? x->fd : -1;
}

unsigned int fake_kvm_irqfds(void)
{
	return irqs.nirqfds;
}

unsigned int fake_kvm_ioeventfds(void)
{
	return irqs.nioeventfds;
}

int fake_kvm_irq_level(uint32_t irq)
{
	for (unsigned int i = 0; i < irqs.nirq_words; i++) {
		if (irqs.irq_word[i].irq == irq)
			return irqs.irq_word[i].level;
	}
	return -1;
}

const struct kvm_irq_routing_entry *fake_kvm_routing(unsigned int *ret_n)
{
	*ret_n = irqs.nrouting;
	return irqs.routing;
}

int kvm_set_gsi_routing(const struct kvm *k, const struct kvm_irq_routing_entry *entries,
			unsigned int n)
{
	(void)k;
	int rc = fake_enter("kvm_set_gsi_routing");
	if (rc)
		return rc;
	fake_trace("set_gsi_routing %u", n);
	free(irqs.routing);
	irqs.routing = n ? calloc(n, sizeof(*entries)) : NULL;
	if (n)
		memcpy(irqs.routing, entries, n * sizeof(*entries));
	irqs.nrouting = n;
	return 0;
}

static int notifier_set(struct notifier *v, unsigned int *n, const struct notifier *want,
			bool assign)
{
	struct notifier *x = notifier_of(v, *n, want->addr, want->number);
	if (assign) {
		if (x)
			return -EEXIST;
		if (*n == MAX_NOTIFIERS)
			return -ENOSPC;
		v[(*n)++] = *want;
		return 0;
	}
	if (!x || x->fd != want->fd)
		return -ENOENT;
	*x = v[--*n];
	return 0;
}

int kvm_irqfd(const struct kvm *k, uint32_t gsi, int event_fd, bool assign)
{
	(void)k;
	int rc = fake_enter("kvm_irqfd");
	if (rc)
		return rc;
	if (assign && fake_vgic_is_half_built()) /* [F-7] */
		return -EAGAIN;
	fake_trace("irqfd %u %s", gsi, assign ? "on" : "off");
	return notifier_set(irqs.irqfd, &irqs.nirqfds, &(struct notifier){ 0, gsi, event_fd },
			    assign);
}

int kvm_ioeventfd(const struct kvm *k, gpa_t addr, uint32_t datamatch, int event_fd, bool assign)
{
	(void)k;
	int rc = fake_enter("kvm_ioeventfd");
	if (rc)
		return rc;
	fake_trace("ioeventfd 0x%llx %u %s", (unsigned long long)addr, datamatch,
		   assign ? "on" : "off");
	return notifier_set(irqs.ioeventfd, &irqs.nioeventfds,
			    &(struct notifier){ addr, datamatch, event_fd }, assign);
}

int kvm_irq_line(const struct kvm *k, uint32_t irq, bool level)
{
	(void)k;
	int rc = fake_enter("kvm_irq_line");
	if (rc)
		return rc;
	fake_trace("irq_line 0x%x %d", irq, level);
	for (unsigned int i = 0; i < irqs.nirq_words; i++) {
		if (irqs.irq_word[i].irq == irq) {
			irqs.irq_word[i].level = level;
			return 0;
		}
	}
	assert(irqs.nirq_words < MAX_IRQ_WORDS);
	irqs.irq_word[irqs.nirq_words++] = (struct irq_word){ irq, level };
	return 0;
}
