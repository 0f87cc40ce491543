/*
 * A vCPU and its thread. The set of all vCPUs is paused, resumed and stopped together by the VMM
 * thread.
 */
#ifndef WICK_VCPU_H
#define WICK_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/metric.h"
#include "vmm/core/bus.h"
#include "vmm/core/kvm.h"

/* What a vCPU tells the machine; called on the vCPU's thread, must not block. */
struct vcpu_events {
	void *arg;
	/* PSCI: `type` is KVM_SYSTEM_EVENT_*. */
	void (*system_event)(void *arg, uint32_t type);
	/* This vCPU cannot go on (gic.md A-16); it has parked itself. */
	void (*failed)(void *arg, unsigned int id, const char *reason);
};

struct vcpu_metrics {
	metric_t exit_mmio_read, exit_mmio_write, failures;
};

struct vcpu_set;

struct vcpu_config {
	const struct kvm *kvm;
	const struct bus *bus; /* answers their MMIO */
	unsigned int n;
	struct vcpu_events events;
};

/* Creates vCPUs 0..n-1 (ascending: gic.md C-2), not yet initialised, without threads. */
int vcpu_set_create(const struct vcpu_config *config, struct vcpu_set **ret, struct err *e);
/* Stops and joins threads, closes everything. NULL is fine. */
void vcpu_set_destroy(struct vcpu_set *s);

unsigned int vcpu_set_count(const struct vcpu_set *s);
/* Valid as long as the set. */
const struct kvm_vcpu *vcpu_set_kvm(const struct vcpu_set *s, unsigned int id);

/* Starts one thread each ("fc_vcpu N"), paused. All or none. */
int vcpu_set_start(struct vcpu_set *s, struct err *e);
/* Lets them run. Idempotent. */
void vcpu_set_resume(struct vcpu_set *s);
/*
 * Returns when no vCPU is in KVM_RUN and each has finished its last MMIO instruction: registers are
 * consistent then (E-12, E-13). Idempotent.
 */
void vcpu_set_pause(struct vcpu_set *s);

const struct vcpu_metrics *vcpu_set_metrics(const struct vcpu_set *s);

#endif
