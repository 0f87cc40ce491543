/* arm64 vCPU registers in KVM's ONE_REG numbering, and the fields of those that wick reads. */
#ifndef WICK_ARM64_REGS_H
#define WICK_ARM64_REGS_H

#include <linux/kvm.h>
#include <stddef.h>

#include "vmm/base/bits.h"

/* A 64-bit member of struct kvm_regs (asm/kvm.h): REG_CORE(regs.pc). */
#define REG_CORE(member) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))

#define REG_X0     REG_CORE(regs.regs[0])
#define REG_PC     REG_CORE(regs.pc)
#define REG_PSTATE REG_CORE(regs.pstate)

#define REG_MPIDR_EL1 ARM64_SYS_REG(3, 0, 0, 0, 5)

#define MPIDR_AFF0     GENMASK64(7, 0)
#define MPIDR_AFF1     GENMASK64(15, 8)
#define MPIDR_AFF2     GENMASK64(23, 16)
#define MPIDR_AFF3     GENMASK64(39, 32)
#define MPIDR_AFFINITY (MPIDR_AFF0 | MPIDR_AFF1 | MPIDR_AFF2 | MPIDR_AFF3)

/* PSTATE, as SPSR_EL1 has it. */
#define PSTATE_D         BIT64(9)
#define PSTATE_A         BIT64(8)
#define PSTATE_I         BIT64(7)
#define PSTATE_F         BIT64(6)
#define PSTATE_MODE_EL1H UINT64_C(5)

#endif
