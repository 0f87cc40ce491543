/* The vGICv3 behind the fake KVM's device attributes (struct vgic, one instance), as far as set-up
 * goes. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/fake_kvm.h"
#include "fakes/fake_kvm_internal.h"
#include "vmm/base/bits.h"

enum { MAX_ATTRS = 4096, MAX_REGIONS = 8 };

#define REGION_COUNT GENMASK64(63, 52)
#define REGION_BASE  GENMASK64(51, 16)
#define REGION_FLAGS GENMASK64(15, 12)
#define REGION_INDEX GENMASK64(11, 0)

#define DIST_SIZE   (64 * KIB)
#define REDIST_SIZE (128 * KIB)

#define TYPER_OFFSET 0x8u
#define TYPER_LAST   BIT64(4)

struct attr {
	uint32_t type, group;
	uint64_t attr, value;
};

struct region {
	uint64_t base;
	unsigned int count;
};

static struct vgic {
	bool is_made, is_init, has_dist;
	uint32_t nr_irqs;
	uint64_t dist;
	struct region region[MAX_REGIONS];
	unsigned int nregions;
	struct attr attr[MAX_ATTRS];
	unsigned int nattrs;
} vgic;

void fake_vgic_reset(void)
{
	memset(&vgic, 0, sizeof(vgic));
}

const char *fake_device_name(uint32_t type)
{
	switch (type) {
	case KVM_DEV_TYPE_ARM_VGIC_V2:
		return "gicv2";
	case KVM_DEV_TYPE_ARM_VGIC_V3:
		return "gicv3";
	case KVM_DEV_TYPE_ARM_VGIC_ITS:
		return "its";
	default:
		return "other";
	}
}

bool fake_vgic_is_init(void)
{
	return vgic.is_init;
}

bool fake_vgic_is_half_built(void)
{
	return vgic.is_made && !vgic.is_init;
}

int fake_vgic_create(uint32_t type)
{
	if (type != KVM_DEV_TYPE_ARM_VGIC_V3 && type != KVM_DEV_TYPE_ARM_VGIC_V2)
		return 0;
	if (vgic.is_made)
		return -EEXIST;
	vgic.is_made = true;
	return 0;
}

static uint64_t affinity(unsigned int id)
{
	return (id & 0xf) | (uint64_t)((id >> 4) & 0xff) << 8 | (uint64_t)((id >> 12) & 0xff) << 16;
}

/* KVM's formula, with the RES1 bit 31. */
uint64_t fake_mpidr(const struct fake_vcpu *v)
{
	const struct fake_kvm_knobs *k = fake_kvm_knobs();
	uint64_t mpidr = BIT64(31) | affinity(v->id);
	return k->odd_vcpu == (int)v->id ? mpidr ^ k->odd_mpidr : mpidr;
}

/* vCPUs take frames in creation order, regions in index order [C-2]; Last: end of the run [C-8]. */
static bool is_last_frame(unsigned int index, unsigned int nvcpus)
{
	unsigned int first = 0;
	for (unsigned int r = 0; r < vgic.nregions; r++) {
		const struct region *here = &vgic.region[r];
		unsigned int end = first + here->count;
		if (index < end) {
			bool goes_on = r + 1 < vgic.nregions && nvcpus > end &&
				       here[1].base == here->base + here->count * REDIST_SIZE;
			return index + 1 == nvcpus || (index + 1 == end && !goes_on);
		}
		first = end;
	}
	return false;
}

static uint64_t typer(unsigned int index, unsigned int nvcpus, const struct fake_vcpu *v)
{
	const struct fake_kvm_knobs *k = fake_kvm_knobs();
	uint64_t t = affinity(v->id) << 32 | (uint64_t)v->id << 8;
	if (is_last_frame(index, nvcpus))
		t |= TYPER_LAST;
	return t ^ k->all_typer ^ (k->odd_vcpu == (int)v->id ? k->odd_typer : 0);
}

static uint64_t packed(uint64_t mpidr)
{
	return (mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff);
}

static int get_redist(uint64_t attr, uint32_t *ret)
{
	unsigned int n;
	const struct fake_vcpu *v = fake_vcpus(&n);
	uint32_t offset = (uint32_t)attr;
	if (!vgic.is_init)
		return -EBUSY; /* [C-3] */
	for (unsigned int i = 0; i < n; i++) {
		if (packed(fake_mpidr(&v[i])) != attr >> 32)
			continue;
		if (offset != TYPER_OFFSET && offset != TYPER_OFFSET + 4)
			return -ENXIO;
		uint64_t t = typer(i, n, &v[i]);
		*ret = offset == TYPER_OFFSET ? (uint32_t)t : (uint32_t)(t >> 32);
		return 0;
	}
	return -EINVAL; /* unknown affinity [C-4] */
}

static int set_nr_irqs(uint32_t n)
{
	if (n < 64 || n > 1023 || n % 32)
		return -EINVAL;
	if (vgic.nr_irqs || vgic.is_init)
		return -EBUSY;
	vgic.nr_irqs = n;
	return 0;
}

static int set_dist(uint64_t base)
{
	if (base % (64 * KIB))
		return -EINVAL;
	if (vgic.has_dist)
		return -EEXIST;
	vgic.has_dist = true;
	vgic.dist = base;
	return 0;
}

static int set_region(uint64_t word)
{
	struct region r = { .base = word & REGION_BASE,
			    .count = (unsigned int)FIELD_GET(REGION_COUNT, word) };
	if (FIELD_GET(REGION_INDEX, word) != vgic.nregions || word & REGION_FLAGS || !r.count)
		return -EINVAL;
	if (vgic.nregions == MAX_REGIONS)
		return -ENOMEM;
	uint64_t end = r.base + r.count * REDIST_SIZE;
	if (vgic.has_dist && r.base < vgic.dist + DIST_SIZE && vgic.dist < end)
		return -EINVAL;
	vgic.region[vgic.nregions++] = r;
	return 0;
}

static int set_addr(uint64_t attr, uint64_t value)
{
	switch (attr) {
	case KVM_VGIC_V3_ADDR_TYPE_DIST:
		return set_dist(value);
	case KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION:
		return set_region(value);
	default:
		return -ENXIO;
	}
}

/* How many bytes a group's value has; 0: none. */
static size_t value_size(uint32_t group)
{
	switch (group) {
	case KVM_DEV_ARM_VGIC_GRP_ADDR:
	case KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS:
	case KVM_DEV_ARM_VGIC_GRP_ITS_REGS:
		return 8;
	case KVM_DEV_ARM_VGIC_GRP_CTRL:
		return 0;
	default:
		return 4;
	}
}

static struct attr *attr_of(uint32_t type, uint32_t group, uint64_t attr)
{
	for (unsigned int i = 0; i < vgic.nattrs; i++) {
		struct attr *a = &vgic.attr[i];
		if (a->type == type && a->group == group && a->attr == attr)
			return a;
	}
	return NULL;
}

static void record(uint32_t type, uint32_t group, uint64_t attr, uint64_t value)
{
	struct attr *a = attr_of(type, group, attr);
	if (!a) {
		assert(vgic.nattrs < MAX_ATTRS);
		a = &vgic.attr[vgic.nattrs++];
	}
	*a = (struct attr){ type, group, attr, value };
}

bool fake_kvm_attr(uint32_t device_type, uint32_t group, uint64_t attr, uint64_t *ret)
{
	const struct attr *a = attr_of(device_type, group, attr);
	if (a)
		*ret = a->value;
	return a != NULL;
}

static int gicv3_set(uint32_t group, uint64_t attr, uint64_t value)
{
	switch (group) {
	case KVM_DEV_ARM_VGIC_GRP_ADDR:
		return set_addr(attr, value);
	case KVM_DEV_ARM_VGIC_GRP_NR_IRQS:
		return set_nr_irqs((uint32_t)value);
	case KVM_DEV_ARM_VGIC_GRP_CTRL:
		/* With no vCPU INIT says 0 as well, and no vCPU can be made then [B-3]. */
		if (attr == KVM_DEV_ARM_VGIC_CTRL_INIT)
			vgic.is_init = true;
		return 0;
	default:
		return vgic.is_init ? 0 : -EBUSY; /* [C-3] */
	}
}

int fake_vgic_set_attr(uint32_t type, uint32_t group, uint64_t attr, const void *value)
{
	uint64_t v = 0;
	assert(value || !value_size(group));
	memcpy(&v, value ? value : &v, value_size(group));
	fake_trace("set_attr %s %u 0x%llx 0x%llx", fake_device_name(type), group,
		   (unsigned long long)attr, (unsigned long long)v);
	int rc = type == KVM_DEV_TYPE_ARM_VGIC_V3 ? gicv3_set(group, attr, v) : 0;
	if (!rc)
		record(type, group, attr, v);
	return rc;
}

int fake_vgic_get_attr(uint32_t type, uint32_t group, uint64_t attr, void *value)
{
	if (type == KVM_DEV_TYPE_ARM_VGIC_V3 && group == KVM_DEV_ARM_VGIC_GRP_REDIST_REGS)
		return get_redist(attr, value);
	const struct attr *a = attr_of(type, group, attr);
	if (!a)
		return -ENXIO;
	memcpy(value, &a->value, value_size(group));
	return 0;
}
