/*
 * KVM: the only module that calls ioctl on KVM file descriptors. Unit tests link
 * tests/unit/fakes/fake_kvm.c in its place. Functions return 0 (or a value >= 0) or -errno unless
 * they say otherwise; EINTR of a set-up call is retried here.
 */
#ifndef WICK_CORE_KVM_H
#define WICK_CORE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/types.h"

struct kvm {
	int sys_fd;      /* /dev/kvm, -1 when closed */
	int vm_fd;       /* -1 until kvm_create_vm */
	size_t run_size; /* bytes of a vCPU's kvm_run mapping */
};

struct kvm_vcpu {
	int fd;
	size_t run_size;
	struct kvm_run *run; /* shared with the kernel; only the vCPU's own thread reads it */
};

#define KVM_CLOSED      ((struct kvm){ .sys_fd = -1, .vm_fd = -1 })
#define KVM_VCPU_CLOSED ((struct kvm_vcpu){ .fd = -1 })

/* Opens /dev/kvm, checks the API version and the capabilities wick needs. Idempotent. */
int kvm_open(struct kvm *k, struct err *e);
/* `ipa_bits`: width of the guest's physical address space; 40 and less is every host's default. */
int kvm_create_vm(struct kvm *k, unsigned int ipa_bits, struct err *e);
/* Both descriptors; fine on a half-built or closed one. */
void kvm_close(struct kvm *k);

/* The value of KVM_CHECK_EXTENSION, on the VM once it exists, else on /dev/kvm; 0: not there. */
int kvm_check_cap(const struct kvm *k, unsigned int cap);
int kvm_enable_cap(const struct kvm *k, unsigned int cap, uint64_t arg0);

/* One memory slot; size 0 removes it. Flags: KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY. */
int kvm_set_memory(const struct kvm *k, const struct kvm_userspace_memory_region *region);

int kvm_preferred_target(const struct kvm *k, struct kvm_vcpu_init *ret);
/* Creates vCPU `id` and maps its kvm_run. */
int kvm_create_vcpu(const struct kvm *k, unsigned int id, struct kvm_vcpu *ret);
void kvm_vcpu_close(struct kvm_vcpu *v);
int kvm_vcpu_init(const struct kvm_vcpu *v, const struct kvm_vcpu_init *init);
/* KVM_RUN, not retried: 0, or -errno (-EINTR, -EAGAIN: run again). */
int kvm_vcpu_run(const struct kvm_vcpu *v);
/* KVM_GET/SET_ONE_REG; `value` has as many bytes as the id's size field says (at most 256). */
int kvm_vcpu_get_reg(const struct kvm_vcpu *v, uint64_t id, void *value);
int kvm_vcpu_set_reg(const struct kvm_vcpu *v, uint64_t id, const void *value);
/* The guest takes a synchronous external abort for the access that exited (gic.md ). */
int kvm_vcpu_inject_abort(const struct kvm_vcpu *v);

/* KVM_CREATE_DEVICE_TEST: can this type (KVM_DEV_TYPE_*) be made? 0 or -ENODEV. */
int kvm_test_device(const struct kvm *k, uint32_t type);
/* Returns the device's descriptor, which the caller closes, or -errno. */
int kvm_create_device(const struct kvm *k, uint32_t type);
int kvm_device_set_attr(int device_fd, uint32_t group, uint64_t attr, const void *value);
int kvm_device_get_attr(int device_fd, uint32_t group, uint64_t attr, void *value);

/* The complete table: KVM replaces whatever there was (gic.md F-1). */
int kvm_set_gsi_routing(const struct kvm *k, const struct kvm_irq_routing_entry *entries,
			unsigned int n);
/* A write to `event_fd` raises `gsi`. The caller has checked the GSI (gic.md F-2). */
int kvm_irqfd(const struct kvm *k, uint32_t gsi, int event_fd, bool assign);
/* A 32-bit guest write of `datamatch` to `addr` signals `event_fd` instead of exiting. */
int kvm_ioeventfd(const struct kvm *k, gpa_t addr, uint32_t datamatch, int event_fd, bool assign);
/* `irq`: the packed type/vcpu/number word of KVM_IRQ_LINE on arm64. */
int kvm_irq_line(const struct kvm *k, uint32_t irq, bool level);

#endif
