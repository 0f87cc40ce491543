/*
 * KVM's in-kernel GICv3 (struct gic_kvm_v3): addresses, redistributor regions, initialisation, and
 * the check that every vCPU will find its own redistributor. VMM thread, but for set_spi.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "arch/arm64/cpu.h"
#include "arch/arm64/fdt.h"
#include "arch/arm64/gic_internal.h"
#include "arch/arm64/layout.h"
#include "arch/arm64/regs.h"
#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"

/* KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION's word (C-1); bits 15:12 are flags, zero. */
#define REGION_COUNT GENMASK64(63, 52)
#define REGION_BASE  GENMASK64(51, 16)
#define REGION_INDEX GENMASK64(11, 0)

/* GICR_TYPER (IHI 0069). */
#define GICR_TYPER      0x8u
#define TYPER_PLPIS     BIT64(0)
#define TYPER_LAST      BIT64(4)
#define TYPER_PROCESSOR GENMASK64(23, 8)
#define TYPER_AFFINITY  GENMASK64(63, 32)

#define PPI_MAINTENANCE 9 /* INTID 25 */

/* A run of redistributor frames; vCPUs fill runs in creation order, that is ascending ids (C-2). */
struct redist_region {
	gpa_t base;
	unsigned int count; /* frames: all used */
};

struct gic_kvm_v3 {
	struct gic gic; /* first: callers hold this */
	const struct kvm *kvm;
	int fd;
	uint32_t nr_irqs;
	struct redist_region region[2];
	unsigned int nregions;
};

static struct gic_kvm_v3 *v3_of(struct gic *g)
{
	return container_of(g, struct gic_kvm_v3, gic);
}

/*
 * One region directly below the distributor. KVM checks less than this: a shortage passes INIT and
 * shows as ENXIO of the first KVM_RUN (C-1).
 */
static int place_redists(struct gic_kvm_v3 *v3, unsigned int nvcpus, struct err *e)
{
	static_assert(LAYOUT_GICV3_DIST % (64 * KIB) == 0 &&
			      LAYOUT_GICV3_RDIST_SIZE % (64 * KIB) == 0,
		      "GICv3 frames are 64 KiB aligned");
	const uint64_t room = min_u64(LAYOUT_GICV3_DIST / LAYOUT_GICV3_RDIST_SIZE,
				      FIELD_GET(REGION_COUNT, UINT64_MAX));
	if (nvcpus > room)
		return err_set(e, -ENOSPC,
			       "GICv3: %u vCPUs need as many redistributors of 128 KiB; below the "
			       "distributor at 0x%llx there is room for %llu",
			       nvcpus, (unsigned long long)LAYOUT_GICV3_DIST,
			       (unsigned long long)room);
	v3->region[0] = (struct redist_region){
		.base = LAYOUT_GICV3_DIST - nvcpus * LAYOUT_GICV3_RDIST_SIZE, .count = nvcpus
	};
	v3->nregions = 1;
	return 0;
}

static int set_regions(const struct gic_kvm_v3 *v3, struct err *e)
{
	for (unsigned int i = 0; i < v3->nregions; i++) {
		const struct redist_region *r = &v3->region[i];
		const uint64_t word = FIELD_PREP(REGION_COUNT, (uint64_t)r->count) |
				      (r->base & REGION_BASE) |
				      FIELD_PREP(REGION_INDEX, (uint64_t)i);
		int rc = kvm_device_set_attr(v3->fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
					     KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &word);
		if (rc)
			return err_set_os(
				e, rc,
				"GICv3: KVM refuses a redistributor region of %u frames at 0x%llx",
				r->count, (unsigned long long)r->base);
	}
	return 0;
}

/* The order KVM wants: sizes and addresses, then INIT, then everything else (B-5, C-1, C-3). */
static int set_up(const struct gic_kvm_v3 *v3, struct err *e)
{
	const uint64_t dist = LAYOUT_GICV3_DIST;
	int rc = kvm_device_set_attr(v3->fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &v3->nr_irqs);
	if (rc)
		return err_set_os(e, rc, "GICv3: KVM refuses %u interrupts", v3->nr_irqs);
	rc = kvm_device_set_attr(v3->fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
				 &dist);
	if (rc)
		return err_set_os(e, rc, "GICv3: KVM refuses a distributor at 0x%llx",
				  (unsigned long long)dist);
	rc = set_regions(v3, e);
	if (rc)
		return rc;
	rc = kvm_device_set_attr(v3->fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT,
				 NULL);
	if (rc)
		return err_set_os(e, rc, "GICv3: KVM cannot initialise it");
	rc = gic_kvm_set_routing(v3->kvm, v3->nr_irqs);
	if (rc)
		return err_set_os(e, rc, "GICv3: KVM refuses the interrupt routing table");
	return 0;
}

/* Aff3.Aff2.Aff1.Aff0 in 32 bits, as in GICR_TYPER and device attributes; not as MPIDR (C-4). */
static uint32_t packed_affinity(uint64_t mpidr)
{
	return (uint32_t)(FIELD_GET(MPIDR_AFF3, mpidr) << 24 |
			  (mpidr & (MPIDR_AFF2 | MPIDR_AFF1 | MPIDR_AFF0)));
}

static int read_typer(const struct gic_kvm_v3 *v3, uint64_t mpidr, uint64_t *ret)
{
	const uint64_t attr = (uint64_t)packed_affinity(mpidr) << 32 | GICR_TYPER;
	uint32_t half[2] = { 0 };
	for (unsigned int i = 0; i < ARRAY_SIZE(half); i++) {
		int rc = kvm_device_get_attr(v3->fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
					     attr + i * sizeof(half[0]), &half[i]);
		if (rc)
			return rc;
	}
	*ret = (uint64_t)half[1] << 32 | half[0];
	return 0;
}

/* Is vCPU `id`'s frame the last of its run? */
static bool is_last_frame(const struct gic_kvm_v3 *v3, unsigned int id)
{
	unsigned int end = 0;
	for (unsigned int i = 0; i < v3->nregions; i++) {
		end += v3->region[i].count;
		if (id + 1 == end)
			return true;
	}
	return false;
}

/* What GICR_TYPER must say of vCPU `id`, in the fields by which the guest finds its own frame. */
static uint64_t expected_typer(const struct gic_kvm_v3 *v3, unsigned int id, uint64_t mpidr)
{
	return FIELD_PREP(TYPER_AFFINITY, (uint64_t)packed_affinity(mpidr)) |
	       FIELD_PREP(TYPER_PROCESSOR, (uint64_t)id) |
	       (is_last_frame(v3, id) ? TYPER_LAST : 0); /* PLPIS 0: there is no ITS */
}

/* C-8: a guest whose vCPU finds another's frame, or none, hangs without a word. */
static int check_vcpu(const struct gic_kvm_v3 *v3, unsigned int id, const struct kvm_vcpu *vcpu,
		      struct err *e)
{
	static const uint64_t fields = TYPER_AFFINITY | TYPER_PROCESSOR | TYPER_LAST | TYPER_PLPIS;
	uint64_t mpidr = 0, typer = 0;
	int rc = kvm_vcpu_get_reg(vcpu, REG_MPIDR_EL1, &mpidr);
	if (rc)
		return err_set_os(e, rc, "GICv3: cannot read MPIDR of vCPU %u", id);
	if ((mpidr & MPIDR_AFFINITY) != cpu_mpidr_affinity(id))
		return err_set(
			e, -EINVAL, "GIC_MPIDR: vCPU %u has MPIDR 0x%llx where 0x%llx is expected",
			id, (unsigned long long)mpidr, (unsigned long long)cpu_mpidr_affinity(id));
	rc = read_typer(v3, mpidr, &typer);
	if (rc)
		return err_set_os(e, rc,
				  "GIC_MPIDR: vCPU %u: no redistributor answers to MPIDR 0x%llx",
				  id, (unsigned long long)mpidr);
	const uint64_t want = expected_typer(v3, id, mpidr);
	if ((typer & fields) != want)
		return err_set(e, -EINVAL,
			       "GIC_MPIDR: vCPU %u has MPIDR 0x%llx, but its GICR_TYPER is 0x%llx "
			       "where 0x%llx is expected",
			       id, (unsigned long long)mpidr, (unsigned long long)typer,
			       (unsigned long long)want);
	return 0;
}

static void v3_destroy(struct gic *g)
{
	if (!g)
		return;
	struct gic_kvm_v3 *v3 = v3_of(g);
	close_fd(&v3->fd);
	free(v3);
}

static int v3_build(struct gic_kvm_v3 *v3, const struct gic_config *cfg, struct err *e)
{
	int rc = place_redists(v3, cfg->nvcpus, e);
	if (rc)
		return rc;
	v3->fd = kvm_create_device(cfg->kvm, KVM_DEV_TYPE_ARM_VGIC_V3);
	if (v3->fd < 0)
		return err_set_os(e, v3->fd, "GICv3: KVM cannot create it");
	rc = set_up(v3, e);
	for (unsigned int id = 0; !rc && id < cfg->nvcpus; id++)
		rc = check_vcpu(v3, id, cfg->vcpus[id], e);
	return rc;
}

static int v3_create(const struct gic_config *cfg, struct gic **ret, struct err *e)
{
	struct gic_kvm_v3 *v3 = calloc(1, sizeof(*v3));
	if (!v3)
		return err_set_os(e, -ENOMEM, "GICv3");
	*v3 = (struct gic_kvm_v3){
		.gic.ops = &gic_kvm_v3, .kvm = cfg->kvm, .fd = -1, .nr_irqs = cfg->nr_irqs
	};
	int rc = v3_build(v3, cfg, e);
	if (rc) {
		v3_destroy(&v3->gic);
		return rc;
	}
	*ret = &v3->gic;
	return 0;
}

static int v3_set_spi(struct gic *g, uint32_t intid, bool level)
{
	const struct gic_kvm_v3 *v3 = v3_of(g);
	return gic_kvm_set_spi(v3->kvm, v3->nr_irqs, intid, level);
}

/* Binding arm,gic-v3. The cells and ranges are for the ITS, a child, and for interrupt-map. */
static int v3_describe(const struct gic *g, struct fdt_list *list)
{
	const struct gic_kvm_v3 *v3 = container_of(g, const struct gic_kvm_v3, gic);
	struct fdt_desc *d = fdt_list_add(list);
	if (!d)
		return -ENOMEM;
	fdt_desc_init(d, "intc", LAYOUT_GICV3_DIST);
	fdt_desc_strings(d, "compatible", "arm,gic-v3");
	fdt_desc_u32(d, "#interrupt-cells", 3);
	fdt_desc_empty(d, "interrupt-controller");
	fdt_desc_u32(d, "#address-cells", 2);
	fdt_desc_u32(d, "#size-cells", 2);
	fdt_desc_empty(d, "ranges");
	fdt_desc_reg(d, LAYOUT_GICV3_DIST, LAYOUT_GICV3_DIST_SIZE);
	for (unsigned int i = 0; i < v3->nregions; i++)
		fdt_desc_reg(d, v3->region[i].base, v3->region[i].count * LAYOUT_GICV3_RDIST_SIZE);
	if (v3->nregions > 1)
		fdt_desc_u32(d, "#redistributor-regions", v3->nregions);
	fdt_desc_cells(d, "interrupts",
		       (const uint32_t[]){ FDT_IRQ_PPI, PPI_MAINTENANCE, FDT_IRQ_LEVEL_HIGH }, 3);
	fdt_desc_u32(d, "phandle", FDT_PHANDLE_GIC);
	return 0;
}

const struct gic_ops gic_kvm_v3 = {
	.name = "GICv3",
	.kvm_device_type = KVM_DEV_TYPE_ARM_VGIC_V3,
	.has_irqfd = true,
	.create = v3_create,
	.set_spi = v3_set_spi,
	.describe = v3_describe,
	.destroy = v3_destroy,
};
