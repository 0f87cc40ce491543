/* What an arm64 vCPU is before it runs. Owns nothing; the thread that builds the machine. */
#include "arch/arm64/cpu.h"

#include <errno.h>

#include "arch/arm64/regs.h"
#include "vmm/base/bits.h"

uint64_t cpu_mpidr_affinity(unsigned int id)
{
	return FIELD_PREP(MPIDR_AFF0, (uint64_t)id & 0xf) |
	       FIELD_PREP(MPIDR_AFF1, (uint64_t)id >> 4 & 0xff) |
	       FIELD_PREP(MPIDR_AFF2, (uint64_t)id >> 12 & 0xff);
}

/* KVM_SET_ONE_REG(MPIDR_EL1) takes anything, so wick never writes it; but it looks. */
static int check_mpidr(const struct kvm_vcpu *v, unsigned int id, uint64_t *ret_mpidr,
		       struct err *e)
{
	uint64_t mpidr = 0;
	int rc = kvm_vcpu_get_reg(v, REG_MPIDR_EL1, &mpidr);
	if (rc)
		return err_set_os(e, rc, "vCPU %u: cannot read MPIDR", id);
	if ((mpidr & MPIDR_AFFINITY) != cpu_mpidr_affinity(id))
		return err_set(e, -EINVAL,
			       "GIC_MPIDR: vCPU %u has MPIDR 0x%llx; its affinity should be 0x%llx",
			       id, (unsigned long long)mpidr,
			       (unsigned long long)cpu_mpidr_affinity(id));
	*ret_mpidr = mpidr;
	return 0;
}

int cpu_init(const struct kvm *k, const struct kvm_vcpu *v, unsigned int id, uint64_t *ret_mpidr,
	     struct err *e)
{
	/* The target is the host's choice; nothing here depends on a CPU model. */
	struct kvm_vcpu_init init;
	int rc = kvm_preferred_target(k, &init);
	if (rc)
		return err_set_os(e, rc, "vCPU %u: KVM names no CPU target for this host", id);
	init.features[0] |= BIT32(KVM_ARM_VCPU_PSCI_0_2);
	if (id != 0) /* the others wait for the guest's PSCI CPU_ON */
		init.features[0] |= BIT32(KVM_ARM_VCPU_POWER_OFF);
	rc = kvm_vcpu_init(v, &init);
	if (rc)
		return err_set_os(e, rc, "vCPU %u: KVM cannot initialise it (target %u)", id,
				  init.target);
	return check_mpidr(v, id, ret_mpidr, e);
}

int cpu_set_boot_regs(const struct kvm_vcpu *v, gpa_t entry, gpa_t fdt, struct err *e)
{
	/* X1..X3 are zero since KVM_ARM_VCPU_INIT, as its documentation promises. */
	const struct {
		const char *name;
		uint64_t id, value;
	} regs[] = {
		{ "PSTATE", REG_PSTATE,
		  PSTATE_D | PSTATE_A | PSTATE_I | PSTATE_F | PSTATE_MODE_EL1H },
		{ "PC", REG_PC, entry },
		{ "X0", REG_X0, fdt },
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(regs); i++) {
		int rc = kvm_vcpu_set_reg(v, regs[i].id, &regs[i].value);
		if (rc)
			return err_set_os(e, rc, "boot vCPU: KVM does not take %s = 0x%llx",
					  regs[i].name, (unsigned long long)regs[i].value);
	}
	return 0;
}
