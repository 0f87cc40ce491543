/* arch/arm64/cpu.c against the fake KVM: A-4 (MPIDR), A-18 (preferred target), the boot registers.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/cpu.h"
#include "arch/arm64/regs.h"
#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"

struct affinity_case {
	unsigned int id;
	uint64_t want;
};

ParameterizedTestParameters(cpu, a4_affinity_is_kvms_formula)
{
	static struct affinity_case cases[] = {
		{ 0, 0x0 },       { 1, 0x1 },        { 15, 0xf },           { 16, 0x100 },
		{ 17, 0x101 },    { 255, 0xf0f },    { 256, 0x1000 },       { 511, 0x1f0f },
		{ 4095, 0xff0f }, { 4096, 0x10000 }, { 0xfffff, 0xffff0f },
	};
	return cr_make_param_array(struct affinity_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct affinity_case *c, cpu, a4_affinity_is_kvms_formula)
{
	cr_expect_eq(cpu_mpidr_affinity(c->id), c->want, "vCPU %u has 0x%llx", c->id,
		     (unsigned long long)cpu_mpidr_affinity(c->id));
}

struct rig {
	struct kvm kvm;
	struct kvm_vcpu vcpu;
	struct err err;
};

static void rig_init(struct rig *r, unsigned int id)
{
	*r = (struct rig){ .kvm = KVM_CLOSED, .vcpu = KVM_VCPU_CLOSED };
	cr_assert_eq(kvm_open(&r->kvm, &r->err), 0);
	cr_assert_eq(kvm_create_vm(&r->kvm, 40, &r->err), 0);
	cr_assert_eq(kvm_create_vcpu(&r->kvm, id, &r->vcpu), 0);
	fake_kvm_trace_clear();
}

static void rig_fini(struct rig *r)
{
	kvm_vcpu_close(&r->vcpu);
	kvm_close(&r->kvm);
	cr_expect_eq(fake_kvm_open_fds(), 0);
}

struct init_case {
	char claim[64];
	unsigned int id;
	uint32_t features;
};

ParameterizedTestParameters(cpu, init_features)
{
	static struct init_case cases[] = {
		{ "the boot CPU has PSCI 0.2 and runs", 0, BIT32(KVM_ARM_VCPU_PSCI_0_2) },
		{ "the second waits, powered off", 1,
		  BIT32(KVM_ARM_VCPU_PSCI_0_2) | BIT32(KVM_ARM_VCPU_POWER_OFF) },
		{ "so does the last", 511,
		  BIT32(KVM_ARM_VCPU_PSCI_0_2) | BIT32(KVM_ARM_VCPU_POWER_OFF) },
	};
	return cr_make_param_array(struct init_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct init_case *c, cpu, init_features)
{
	struct rig r;
	struct kvm_vcpu_init got;
	uint64_t mpidr = 0;
	fake_kvm_reset();
	rig_init(&r, c->id);
	cr_assert_eq(cpu_init(&r.kvm, &r.vcpu, c->id, &mpidr, &r.err), 0, "%s", r.err.text);
	cr_assert(fake_kvm_vcpu_features(c->id, &got));
	cr_expect_eq(got.target, FAKE_KVM_TARGET, "A-18: the preferred target");
	cr_expect_eq(got.features[0], c->features, "%s", c->claim);
	for (unsigned int i = 1; i < ARRAY_SIZE(got.features); i++)
		cr_expect_eq(got.features[i], 0);
	cr_expect_eq(mpidr, BIT64(31) | cpu_mpidr_affinity(c->id), "MPIDR is given as read");
	uint64_t written;
	cr_expect_not(fake_kvm_reg(c->id, REG_MPIDR_EL1, &written), "A-4: never chosen by wick");
	rig_fini(&r);
}

struct mpidr_case {
	char claim[48];
	uint64_t flip;
	int want;
};

ParameterizedTestParameters(cpu, a4_other_mpidr_is_refused)
{
	static struct mpidr_case cases[] = {
		{ "Aff0 differs", BIT64(0), -EINVAL },
		{ "Aff1 differs", BIT64(8), -EINVAL },
		{ "Aff2 differs", BIT64(23), -EINVAL },
		{ "Aff3 is not zero", BIT64(32), -EINVAL },
		{ "top bit of Aff3 is not zero", BIT64(39), -EINVAL },
		{ "the MT bit is no affinity", BIT64(24), 0 },
		{ "nor is RES1", BIT64(31), 0 },
	};
	return cr_make_param_array(struct mpidr_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct mpidr_case *c, cpu, a4_other_mpidr_is_refused)
{
	struct rig r;
	uint64_t mpidr = 42;
	char text[32];
	fake_kvm_reset();
	fake_kvm_knobs()->odd_vcpu = 17;
	fake_kvm_knobs()->odd_mpidr = c->flip;
	rig_init(&r, 17);
	cr_expect_eq(cpu_init(&r.kvm, &r.vcpu, 17, &mpidr, &r.err), c->want, "%s", c->claim);
	if (c->want) {
		(void)snprintf(text, sizeof(text), "0x%llx",
			       (unsigned long long)((BIT64(31) | 0x101) ^ c->flip));
		cr_expect(strstr(r.err.text, "GIC_MPIDR"), "%s", r.err.text);
		cr_expect(strstr(r.err.text, "vCPU 17"), "%s", r.err.text);
		cr_expect(strstr(r.err.text, text), "%s", r.err.text);
		cr_expect(strstr(r.err.text, "0x101"), "%s", r.err.text);
		cr_expect_eq(mpidr, 42, "outputs are written only on success");
	}
	rig_fini(&r);
}

struct fail_case {
	char function[32];
	char word[32];
};

ParameterizedTestParameters(cpu, each_kvm_failure_is_reported)
{
	static struct fail_case cases[] = {
		{ "kvm_preferred_target", "target" },
		{ "kvm_vcpu_init", "initialise" },
		{ "kvm_vcpu_get_reg", "MPIDR" },
	};
	return cr_make_param_array(struct fail_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct fail_case *c, cpu, each_kvm_failure_is_reported)
{
	struct rig r;
	uint64_t mpidr = 42;
	fake_kvm_reset();
	rig_init(&r, 3);
	fake_kvm_fail(c->function, 1, EPERM);
	cr_expect_eq(cpu_init(&r.kvm, &r.vcpu, 3, &mpidr, &r.err), -EPERM);
	cr_expect(strstr(r.err.text, "vCPU 3"), "%s", r.err.text);
	cr_expect(strstr(r.err.text, c->word), "%s", r.err.text);
	cr_expect(strstr(r.err.text, "(os error 1)"), "%s", r.err.text);
	cr_expect_eq(mpidr, 42);
	rig_fini(&r);
}

Test(cpu, boot_registers)
{
	struct rig r;
	uint64_t value = 0, mpidr;
	fake_kvm_reset();
	rig_init(&r, 0);
	cr_assert_eq(cpu_init(&r.kvm, &r.vcpu, 0, &mpidr, &r.err), 0);
	cr_assert_eq(cpu_set_boot_regs(&r.vcpu, 0x80280000, 0x8fe00000, &r.err), 0);
	/* The numbers are KVM's ABI, written out: the macros are what is tested. */
	cr_expect(fake_kvm_reg(0, 0x6030000000100042, &value));
	cr_expect_eq(value, 0x3c5, "PSTATE: EL1h, DAIF masked; 0x%llx", (unsigned long long)value);
	cr_expect(fake_kvm_reg(0, 0x6030000000100040, &value));
	cr_expect_eq(value, 0x80280000, "PC");
	cr_expect(fake_kvm_reg(0, 0x6030000000100000, &value));
	cr_expect_eq(value, 0x8fe00000, "X0");
	cr_expect_eq(REG_MPIDR_EL1, 0x603000000013c005);
	rig_fini(&r);
}

Test(cpu, each_boot_register_failure_is_reported)
{
	static const char *const names[] = { "PSTATE", "PC", "X0" };
	struct rig r;
	uint64_t mpidr;
	fake_kvm_reset();
	rig_init(&r, 0);
	cr_assert_eq(cpu_init(&r.kvm, &r.vcpu, 0, &mpidr, &r.err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		fake_kvm_fail("kvm_vcpu_set_reg", i + 1, EINVAL);
		cr_expect_eq(cpu_set_boot_regs(&r.vcpu, 1, 2, &r.err), -EINVAL);
		cr_expect(strstr(r.err.text, names[i]), "%s", r.err.text);
	}
	rig_fini(&r);
}
