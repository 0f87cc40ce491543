/*
 * What tests see of the fake KVM, which is linked instead of vmm/core/kvm.c: its knobs, what was
 * asked of it, and an ordered trace of the calls. It behaves as the project's GIC requirements say
 * KVM does (ids in brackets there). One thread at a time, except kvm_vcpu_run.
 */
#ifndef WICK_TESTS_FAKE_KVM_H
#define WICK_TESTS_FAKE_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/kvm.h"

#define FAKE_KVM_TARGET 5u /* what kvm_preferred_target answers: KVM_ARM_TARGET_GENERIC_V8 */

/* Set after fake_kvm_reset and before the call that they are to change. */
struct fake_kvm_knobs {
	uint32_t device_types;  /* bit n: KVM_DEV_TYPE n can be made; GICv3 and ITS at first */
	unsigned int max_vcpus; /* creating a vCPU with this id or a higher one: -EINVAL; 512 */
	/* The vCPU with this id (-1: none) has these bits of the registers flipped. */
	int odd_vcpu;
	uint64_t odd_mpidr;
	uint64_t odd_typer;
	/* Every redistributor's GICR_TYPER has these bits flipped. */
	uint64_t all_typer;
	/* KVM_SET_ONE_REG of MPIDR_EL1 says 0 but changes nothing. */
	bool mpidr_is_stuck;
};

/* Forgets everything, closes what the fake opened, knobs at their defaults. First line of every
 * test. */
void fake_kvm_reset(void);
struct fake_kvm_knobs *fake_kvm_knobs(void);

/* The `nth` call (from 1, counted from now) of `function` ("kvm_create_device") fails with
 * `errnum`. */
void fake_kvm_fail(const char *function, unsigned int nth, int errnum);
/* What kvm_check_cap answers; at first every capability is 1 and the usual limits are real. */
void fake_kvm_set_cap(unsigned int cap, int value);

/*
 * The calls so far, one line each, ended by '\n': the function's name without "kvm_" and its
 * arguments, e.g. "create_vcpu 0\n" or "set_attr gicv3 0 0x5 0x2000003ffb0000\n". Queries
 * (check_cap, get_reg, get_attr, preferred_target) and runs leave no line.
 */
const char *fake_kvm_trace(void);
void fake_kvm_trace_clear(void);
/* How often `function` has been called, queries and failures included. */
unsigned int fake_kvm_calls(const char *function);

/* The eventfd registered for a GSI, or -1. */
int fake_kvm_irqfd(uint32_t gsi);
/* The eventfd registered for a 32-bit write of `datamatch` to `addr`, or -1. */
int fake_kvm_ioeventfd(gpa_t addr, uint32_t datamatch);
/* How many of each are registered: 0 after a clean destroy. */
unsigned int fake_kvm_irqfds(void);
unsigned int fake_kvm_ioeventfds(void);

/* The last level given to kvm_irq_line for this packed word: 0, 1, or -1 if never. */
int fake_kvm_irq_level(uint32_t irq);
/* The routing table that holds; NULL and 0 entries until one was set. */
const struct kvm_irq_routing_entry *fake_kvm_routing(unsigned int *ret_n);

/* The last value written to a device attribute; false: none was. Values are widened to 64 bits. */
bool fake_kvm_attr(uint32_t device_type, uint32_t group, uint64_t attr, uint64_t *ret);
/* The last value written to a vCPU register (its first 8 bytes); false: none was. */
bool fake_kvm_reg(unsigned int vcpu_id, uint64_t reg_id, uint64_t *ret);
/* How kvm_vcpu_init was called for this vCPU; false: it was not. */
bool fake_kvm_vcpu_features(unsigned int vcpu_id, struct kvm_vcpu_init *ret);
/* Aborts injected into this vCPU so far. */
unsigned int fake_kvm_aborts(unsigned int vcpu_id);

/* A memory slot as last set; false: not there or removed. */
struct fake_kvm_slot {
	uint32_t flags;
	gpa_t gpa;
	uint64_t size;
	void *host;
};
bool fake_kvm_slot(uint32_t slot, struct fake_kvm_slot *ret);

/* What kvm_vcpu_run does (on the caller's thread); without one it returns -EINTR. */
typedef int (*fake_kvm_run_fn)(unsigned int vcpu_id, struct kvm_run *run, void *arg);
void fake_kvm_on_run(fake_kvm_run_fn fn, void *arg);

/* Descriptors that the fake handed out and that are still open: leaks, at the end of a test. */
unsigned int fake_kvm_open_fds(void);

#endif
