/* arch/arm64/gic.c and gic_kvm_v3.c against the fake KVM, B-3, B-5, C-1 to C-4, C-8, F-1,
 * F-2. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/cpu.h"
#include "arch/arm64/gic.h"
#include "arch/arm64/layout.h"
#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"

struct rig {
	struct kvm kvm;
	struct kvm_vcpu *vcpu;
	const struct kvm_vcpu **ptr;
	struct gic_config cfg;
	struct gic *gic;
	struct err err;
};

/* Everything up to the GIC. Knobs are set before. */
static void rig_init(struct rig *r, unsigned int nvcpus)
{
	*r = (struct rig){ .kvm = KVM_CLOSED };
	r->vcpu = calloc(nvcpus ? nvcpus : 1, sizeof(*r->vcpu));
	r->ptr = calloc(nvcpus ? nvcpus : 1, sizeof(*r->ptr));
	cr_assert(r->vcpu && r->ptr);
	cr_assert_eq(kvm_open(&r->kvm, &r->err), 0);
	cr_assert_eq(kvm_create_vm(&r->kvm, 40, &r->err), 0);
	for (unsigned int i = 0; i < nvcpus; i++) {
		struct kvm_vcpu_init init;
		cr_assert_eq(kvm_preferred_target(&r->kvm, &init), 0);
		cr_assert_eq(kvm_create_vcpu(&r->kvm, i, &r->vcpu[i]), 0);
		cr_assert_eq(kvm_vcpu_init(&r->vcpu[i], &init), 0);
		r->ptr[i] = &r->vcpu[i];
	}
	r->cfg = (struct gic_config){
		.kvm = &r->kvm, .vcpus = r->ptr, .nvcpus = nvcpus, .nr_irqs = LAYOUT_NR_IRQS
	};
	fake_kvm_trace_clear();
}

static int rig_create(struct rig *r)
{
	return gic_create(&r->cfg, &r->gic, &r->err);
}

static void rig_fini(struct rig *r)
{
	gic_destroy(r->gic);
	for (unsigned int i = 0; i < r->cfg.nvcpus; i++)
		kvm_vcpu_close(&r->vcpu[i]);
	kvm_close(&r->kvm);
	free(r->vcpu);
	free(r->ptr);
	cr_expect_eq(fake_kvm_open_fds(), 0, "no descriptor is left");
}

Test(gic_kvm_v3, calls_come_in_the_order_that_kvm_wants)
{
	struct rig r;
	fake_kvm_reset();
	rig_init(&r, 2);
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	/* NR_IRQS (3), DIST (0/2), REDIST_REGION (0/5, never 0/3), INIT (4/0), routing (C-1, C-2,
	 * C-3, F-1). */
	cr_expect_str_eq(fake_kvm_trace(), "create_device gicv3\n"
					   "set_attr gicv3 3 0x0 0x80\n"
					   "set_attr gicv3 0 0x2 0x3fff0000\n"
					   "set_attr gicv3 0 0x5 0x2000003ffb0000\n"
					   "set_attr gicv3 4 0x0 0x0\n"
					   "set_gsi_routing 96\n");
	cr_expect_str_eq(r.gic->ops->name, "GICv3");
	rig_fini(&r);
}

struct count_case {
	unsigned int nvcpus;
	uint64_t region; /* count 63:52, base 51:16, flags and index 0 */
};

ParameterizedTestParameters(gic_kvm_v3, any_number_of_vcpus)
{
	static struct count_case cases[] = {
		{ 1, 0x001000003ffd0000 },   { 2, 0x002000003ffb0000 },  { 8, 0x008000003fef0000 },
		{ 16, 0x010000003fdf0000 },  { 17, 0x011000003fdd0000 }, { 40, 0x028000003faf0000 },
		{ 512, 0x200000003bff0000 },
	};
	return cr_make_param_array(struct count_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct count_case *c, gic_kvm_v3, any_number_of_vcpus)
{
	struct rig r;
	uint64_t word = 0;
	fake_kvm_reset();
	rig_init(&r, c->nvcpus);
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	cr_expect(fake_kvm_attr(KVM_DEV_TYPE_ARM_VGIC_V3, KVM_DEV_ARM_VGIC_GRP_ADDR,
				KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &word));
	cr_expect_eq(word, c->region, "0x%llx", (unsigned long long)word);
	/* A-6, C-8: MPIDR and both halves of GICR_TYPER were looked at, for each. */
	cr_expect_eq(fake_kvm_calls("kvm_vcpu_get_reg"), c->nvcpus);
	cr_expect_eq(fake_kvm_calls("kvm_device_get_attr"), 2 * c->nvcpus);
	rig_fini(&r);
}

struct typer_case {
	char claim[56];
	unsigned int nvcpus, odd;
	uint64_t flip;
	uint64_t typer, want; /* both must be in the message */
};

ParameterizedTestParameters(gic_kvm_v3, c8_a_wrong_typer_is_refused)
{
	static struct typer_case cases[] = {
		{ "Aff0", 4, 2, BIT64(32), 0x300000200, 0x200000200 },
		{ "Aff1", 40, 39, BIT64(40), 0x30700002710, 0x20700002710 },
		{ "Aff2", 4, 1, BIT64(48), 0x1000100000100, 0x100000100 },
		{ "Aff3", 4, 1, BIT64(56), 0x100000100000100, 0x100000100 },
		{ "another vCPU's number", 4, 1, BIT64(9), 0x100000300, 0x100000100 },
		{ "top bit of the number", 4, 1, BIT64(23), 0x100800100, 0x100000100 },
		{ "Last in the middle", 4, 1, BIT64(4), 0x100000110, 0x100000100 },
		{ "Last on the first of two", 2, 0, BIT64(4), 0x10, 0x0 },
		{ "no Last on the last", 4, 3, BIT64(4), 0x300000300, 0x300000310 },
		{ "no Last on the only one", 1, 0, BIT64(4), 0x0, 0x10 },
		{ "PLPIS without an ITS", 4, 0, BIT64(0), 0x1, 0x0 },
	};
	return cr_make_param_array(struct typer_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct typer_case *c, gic_kvm_v3, c8_a_wrong_typer_is_refused)
{
	struct rig r;
	char cpu[16], typer[32], want[32], mpidr[32];
	fake_kvm_reset();
	fake_kvm_knobs()->odd_vcpu = (int)c->odd;
	fake_kvm_knobs()->odd_typer = c->flip;
	rig_init(&r, c->nvcpus);
	cr_expect_eq(rig_create(&r), -EINVAL, "%s", c->claim);
	(void)snprintf(cpu, sizeof(cpu), "vCPU %u ", c->odd);
	(void)snprintf(typer, sizeof(typer), "is 0x%llx ", (unsigned long long)c->typer);
	(void)snprintf(want, sizeof(want), "where 0x%llx ", (unsigned long long)c->want);
	(void)snprintf(mpidr, sizeof(mpidr), "0x%llx",
		       (unsigned long long)(BIT64(31) | cpu_mpidr_affinity(c->odd)));
	cr_expect(strstr(r.err.text, "GIC_MPIDR"), "%s", r.err.text);
	cr_expect(strstr(r.err.text, cpu), "%s", r.err.text);
	cr_expect(strstr(r.err.text, typer), "%s: %s", c->claim, r.err.text);
	cr_expect(strstr(r.err.text, want), "%s: %s", c->claim, r.err.text);
	cr_expect(strstr(r.err.text, mpidr), "%s", r.err.text);
	cr_expect_null(r.gic);
	rig_fini(&r);
}

Test(gic_kvm_v3, c8_fields_that_no_guest_looks_for_do_not_matter)
{
	struct rig r;
	fake_kvm_reset();
	fake_kvm_knobs()->all_typer =
		BIT64(5) | BIT64(3) | BIT64(24); /* DPGS, DirectLPI, CommonLPIAff */
	rig_init(&r, 3);
	cr_expect_eq(rig_create(&r), 0, "%s", r.err.text);
	rig_fini(&r);
}

Test(gic_kvm_v3, a4_an_mpidr_that_is_not_the_formulas_is_refused)
{
	static const uint64_t flips[] = { BIT64(0), BIT64(8), BIT64(16), BIT64(32), BIT64(39) };
	for (unsigned int i = 0; i < ARRAY_SIZE(flips); i++) {
		struct rig r;
		fake_kvm_reset();
		fake_kvm_knobs()->odd_vcpu = 3;
		fake_kvm_knobs()->odd_mpidr = flips[i];
		rig_init(&r, 4);
		cr_expect_eq(rig_create(&r), -EINVAL);
		cr_expect(strstr(r.err.text, "GIC_MPIDR: vCPU 3"), "%s", r.err.text);
		cr_expect_null(r.gic);
		rig_fini(&r);
	}
}

struct fail_case {
	char function[32];
	unsigned int nth;
	char word[48];
};

ParameterizedTestParameters(gic_kvm_v3, each_kvm_failure_is_reported)
{
	static struct fail_case cases[] = {
		{ "kvm_create_device", 1, "create" },
		{ "kvm_device_set_attr", 1, "128 interrupts" },
		{ "kvm_device_set_attr", 2, "distributor at 0x3fff0000" },
		{ "kvm_device_set_attr", 3, "region of 2 frames at 0x3ffb0000" },
		{ "kvm_device_set_attr", 4, "initialise" },
		{ "kvm_set_gsi_routing", 1, "routing" },
		{ "kvm_vcpu_get_reg", 2, "MPIDR of vCPU 1" },
		{ "kvm_device_get_attr", 1, "vCPU 0" },
		{ "kvm_device_get_attr", 4, "vCPU 1" },
	};
	return cr_make_param_array(struct fail_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct fail_case *c, gic_kvm_v3, each_kvm_failure_is_reported)
{
	struct rig r;
	fake_kvm_reset();
	rig_init(&r, 2);
	fake_kvm_fail(c->function, c->nth, E2BIG);
	cr_expect_eq(rig_create(&r), -E2BIG, "%s %u", c->function, c->nth);
	cr_expect(strstr(r.err.text, "GIC"), "%s", r.err.text);
	cr_expect(strstr(r.err.text, c->word), "%s: %s", c->function, r.err.text);
	cr_expect(strstr(r.err.text, "(os error 7)"), "%s", r.err.text);
	cr_expect_null(r.gic);
	rig_fini(&r);
}

Test(gic_kvm_v3, a_host_without_it_is_told_what_was_asked)
{
	struct rig r;
	fake_kvm_reset();
	fake_kvm_knobs()->device_types = BIT32(KVM_DEV_TYPE_ARM_VGIC_V2);
	rig_init(&r, 1);
	cr_expect_eq(rig_create(&r), -ENODEV);
	cr_expect(strstr(r.err.text, "GIC_KIND"), "%s", r.err.text);
	cr_expect(strstr(r.err.text, "GICv3 (KVM device type 7)"), "%s", r.err.text);
	cr_expect(strstr(r.err.text, "(os error 19)"), "%s", r.err.text);
	cr_expect_str_eq(fake_kvm_trace(), "", "nothing was made");
	cr_expect_null(r.gic);
	rig_fini(&r);
}

struct config_case {
	char claim[56];
	unsigned int nvcpus;
	uint32_t nr_irqs;
	int want;
};

ParameterizedTestParameters(gic_kvm_v3, configuration_is_checked_before_anything_is_made)
{
	static struct config_case cases[] = {
		{ "B-3: no vCPU", 0, 128, -EINVAL },
		{ "B-5: too few interrupts", 1, 32, -EINVAL },
		{ "B-5: not a multiple of 32", 1, 100, -EINVAL },
		{ "B-5: too many for KVM, whatever its manual says", 1, 1024, -EINVAL },
		{ "C-1: the region's count has 12 bits", 4096, 128, -ENOSPC },
		{ "below the distributor is no more room", 8192, 128, -ENOSPC },
	};
	return cr_make_param_array(struct config_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct config_case *c, gic_kvm_v3,
		  configuration_is_checked_before_anything_is_made)
{
	struct rig r;
	fake_kvm_reset();
	rig_init(&r, 1);
	r.cfg.nvcpus = c->nvcpus;
	r.cfg.nr_irqs = c->nr_irqs;
	cr_expect_eq(rig_create(&r), c->want, "%s", c->claim);
	cr_expect_neq(r.err.text[0], '\0');
	cr_expect_str_eq(fake_kvm_trace(), "", "%s: nothing was made", c->claim);
	r.cfg.nvcpus = 1;
	rig_fini(&r);
}

struct irqs_case {
	uint32_t nr_irqs, routes;
};

ParameterizedTestParameters(gic_kvm_v3, f1_the_routing_table_is_complete)
{
	static struct irqs_case cases[] = { { 64, 32 }, { 128, 96 }, { 992, 960 } };
	return cr_make_param_array(struct irqs_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct irqs_case *c, gic_kvm_v3, f1_the_routing_table_is_complete)
{
	struct rig r;
	unsigned int n = 0;
	fake_kvm_reset();
	rig_init(&r, 1);
	r.cfg.nr_irqs = c->nr_irqs;
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	const struct kvm_irq_routing_entry *v = fake_kvm_routing(&n);
	cr_assert_eq(n, c->routes, "every SPI and no more");
	for (unsigned int i = 0; i < n; i++) {
		cr_assert_eq(v[i].gsi, i);
		cr_assert_eq(v[i].type, KVM_IRQ_ROUTING_IRQCHIP);
		cr_assert_eq(v[i].flags, 0);
		cr_assert_eq(v[i].u.irqchip.irqchip, 0, "F-2: there is one irqchip");
		cr_assert_eq(v[i].u.irqchip.pin, i);
	}
	rig_fini(&r);
}

struct spi_case {
	uint32_t nr_irqs, intid;
	int want;
};

ParameterizedTestParameters(gic_kvm_v3, f2_only_spis_reach_kvm)
{
	static struct spi_case cases[] = {
		{ 128, 0, -EINVAL },    { 128, 31, -EINVAL },
		{ 128, 32, 0 },         { 128, 127, 0 },
		{ 128, 128, -EINVAL },  { 128, UINT32_MAX, -EINVAL },
		{ 992, 991, 0 },        { 992, 992, -EINVAL },
		{ 992, 1023, -EINVAL }, { 128, 0x01000020, -EINVAL },
	};
	return cr_make_param_array(struct spi_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct spi_case *c, gic_kvm_v3, f2_only_spis_reach_kvm)
{
	struct rig r;
	fake_kvm_reset();
	rig_init(&r, 1);
	r.cfg.nr_irqs = c->nr_irqs;
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	struct irq_sink sink = gic_irq_sink(r.gic);
	cr_expect(sink.has_irqfd);
	cr_expect_eq(sink.set_spi(sink.gic, c->intid, true), c->want, "INTID %u", c->intid);
	const uint32_t word = 0x01000000 | c->intid; /* type SPI in 27:24 (B-17) */
	if (c->want == 0) {
		cr_expect_eq(fake_kvm_irq_level(word), 1);
		cr_expect_eq(sink.set_spi(sink.gic, c->intid, false), 0);
		cr_expect_eq(fake_kvm_irq_level(word), 0);
	} else {
		cr_expect_eq(fake_kvm_calls("kvm_irq_line"), 0);
	}
	rig_fini(&r);
}

Test(gic_kvm_v3, a_failed_line_is_reported)
{
	struct rig r;
	fake_kvm_reset();
	rig_init(&r, 1);
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	fake_kvm_fail("kvm_irq_line", 1, EIO);
	cr_expect_eq(r.gic->ops->set_spi(r.gic, 40, true), -EIO);
	rig_fini(&r);
}

static const struct fdt_prop *prop(const struct fdt_desc *d, const char *name)
{
	for (unsigned int i = 0; i < d->nprops; i++) {
		if (strcmp(d->prop[i].name, name) == 0)
			return &d->prop[i];
	}
	return NULL;
}

static void expect_cells(const struct fdt_desc *d, const char *name, const uint32_t *want,
			 unsigned int n)
{
	const struct fdt_prop *p = prop(d, name);
	cr_assert(p, "%s is there", name);
	cr_expect_eq(p->kind, FDT_PROP_CELLS);
	cr_assert_eq(p->ncells, n, "%s has %u cells", name, p->ncells);
	for (unsigned int i = 0; i < n; i++)
		cr_expect_eq(p->cells[i], want[i], "%s[%u] = 0x%x", name, i, p->cells[i]);
}

Test(gic_kvm_v3, describes_itself)
{
	struct rig r;
	struct fdt_list list = { 0 };
	fake_kvm_reset();
	rig_init(&r, 2);
	cr_assert_eq(rig_create(&r), 0, "%s", r.err.text);
	cr_assert_eq(r.gic->ops->describe(r.gic, &list), 0);
	cr_assert_eq(list.n, 1);
	const struct fdt_desc *d = &list.v[0];
	cr_expect_str_eq(d->name, "intc@3fff0000");
	cr_expect_str_eq(prop(d, "compatible")->strings, "arm,gic-v3");
	cr_expect_eq(prop(d, "compatible")->strings_len, sizeof("arm,gic-v3"));
	cr_expect_eq(prop(d, "interrupt-controller")->kind, FDT_PROP_EMPTY);
	expect_cells(d, "#interrupt-cells", (const uint32_t[]){ 3 }, 1);
	expect_cells(d, "interrupts", (const uint32_t[]){ 1, 9, 4 }, 3);
	expect_cells(d, "phandle", (const uint32_t[]){ FDT_PHANDLE_GIC }, 1);
	expect_cells(d, "reg",
		     (const uint32_t[]){ 0, 0x3fff0000, 0, 0x10000, 0, 0x3ffb0000, 0, 0x40000 }, 8);
	cr_expect_null(prop(d, "#redistributor-regions"), "one region is the default");
	fdt_list_fini(&list);
	rig_fini(&r);
}

Test(gic_kvm_v3, destroying_nothing_is_fine)
{
	gic_destroy(NULL);
}
