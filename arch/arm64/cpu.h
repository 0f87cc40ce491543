/* An arm64 vCPU before it runs: features, MPIDR, boot registers. */
#ifndef WICK_ARM64_CPU_H
#define WICK_ARM64_CPU_H

#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/kvm.h"

/*
 * The MPIDR affinity bits that KVM gives to vCPU `id`:
 * Aff0 = id[3:0], Aff1 = id[11:4], Aff2 = id[19:12].
 */
uint64_t cpu_mpidr_affinity(unsigned int id);

/*
 * KVM_ARM_VCPU_INIT with the preferred target, PSCI 0.2, and power-off for every id but 0; then
 * reads MPIDR back and refuses to go on with any other affinity than the formula's.
 * `ret_mpidr`: as read.
 */
int cpu_init(const struct kvm *k, const struct kvm_vcpu *v, unsigned int id, uint64_t *ret_mpidr,
	     struct err *e);

/* The boot protocol's entry state: EL1h, DAIF masked, PC = entry, X0 = device tree, X1..X3 = 0. */
int cpu_set_boot_regs(const struct kvm_vcpu *v, gpa_t entry, gpa_t fdt, struct err *e);

#endif
