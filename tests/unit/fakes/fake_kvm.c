/*
 * vmm/core/kvm.h without KVM (struct fake, one instance): records, answers, fails on request. The
 * vGICv3 behind the device attributes is in fake_vgic.c, interrupts and eventfds in fake_irq.c.
 * Test thread; kvm_vcpu_run from any.
 */
#include "fakes/fake_kvm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fakes/fake_kvm_internal.h"
#include "vmm/base/bits.h"

enum { RUN_SIZE = 4096, MAX_FAILURES = 8, MAX_CAPS = 512, MAX_NAMES = 64 };

struct failure {
	const char *function;
	unsigned int countdown; /* 0: spent */
	int errnum;
};

struct counter {
	const char *function;
	unsigned int n;
};

static struct fake {
	struct fake_kvm_knobs knobs;
	struct failure failure[MAX_FAILURES];
	struct counter counter[MAX_NAMES];
	unsigned int nnames;
	int cap[MAX_CAPS];
	char *trace;
	size_t trace_len, trace_cap;

	struct fake_fd fd[FAKE_MAX_FDS];
	struct fake_vcpu vcpu[FAKE_MAX_VCPUS]; /* in creation order */
	unsigned int nvcpus;

	struct fake_kvm_slot slot[FAKE_MAX_SLOTS];

	fake_kvm_run_fn run_fn;
	void *run_arg;
} fake;

/* --- bookkeeping ------------------------------------------------------------------------------ */

static struct counter *counter_of(const char *function)
{
	for (unsigned int i = 0; i < fake.nnames; i++) {
		if (strcmp(fake.counter[i].function, function) == 0)
			return &fake.counter[i];
	}
	assert(fake.nnames < MAX_NAMES);
	struct counter *c = &fake.counter[fake.nnames++];
	*c = (struct counter){ .function = function };
	return c;
}

int fake_enter(const char *function)
{
	int rc = 0;
	counter_of(function)->n++;
	for (unsigned int i = 0; i < MAX_FAILURES; i++) {
		struct failure *f = &fake.failure[i];
		if (f->countdown && strcmp(f->function, function) == 0 && --f->countdown == 0)
			rc = -f->errnum;
	}
	return rc;
}

void fake_trace(const char *fmt, ...)
{
	va_list ap;
	if (fake.trace_cap - fake.trace_len < 256) {
		fake.trace_cap = fake.trace_cap ? 2 * fake.trace_cap : 4096;
		fake.trace = realloc(fake.trace, fake.trace_cap);
		assert(fake.trace);
	}
	va_start(ap, fmt);
	int n = vsnprintf(fake.trace + fake.trace_len, 255, fmt, ap);
	va_end(ap);
	assert(n >= 0 && n < 255);
	fake.trace_len += (size_t)n;
	fake.trace[fake.trace_len++] = '\n';
	fake.trace[fake.trace_len] = '\0';
}

/* A number may be somebody else's file by now, after a close: the inode says whether it is still
 * ours. */
static bool fd_is_ours(const struct fake_fd *f)
{
	struct stat st;
	return f->ino && fstat(f->fd, &st) == 0 && st.st_ino == f->ino;
}

/* A real descriptor, so that closing it twice or never shows. */
static int open_fd(enum fake_kind kind, unsigned int number)
{
	struct stat st;
	char path[] = "/tmp/fake_kvm.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	assert(fd >= 0 && unlink(path) == 0 && fstat(fd, &st) == 0);
	for (unsigned int i = 0; i < FAKE_MAX_FDS; i++) {
		if (fd_is_ours(&fake.fd[i]))
			continue;
		fake.fd[i] = (struct fake_fd){
			.fd = fd, .ino = st.st_ino, .kind = kind, .number = number
		};
		return fd;
	}
	assert(!"fake_kvm: too many descriptors");
	return -1;
}

const struct fake_fd *fake_find_fd(int fd, enum fake_kind kind)
{
	for (unsigned int i = 0; i < FAKE_MAX_FDS; i++) {
		if (fake.fd[i].fd == fd && fake.fd[i].kind == kind && fd_is_ours(&fake.fd[i]))
			return &fake.fd[i];
	}
	return NULL;
}

static struct fake_vcpu *vcpu_of(const struct kvm_vcpu *v)
{
	const struct fake_fd *f = fake_find_fd(v->fd, FAKE_VCPU);
	assert(f && "fake_kvm: not an open vCPU");
	return fake_vcpu_by_id(f->number);
}

struct fake_vcpu *fake_vcpu_by_id(unsigned int id)
{
	for (unsigned int i = 0; i < fake.nvcpus; i++) {
		if (fake.vcpu[i].id == id)
			return &fake.vcpu[i];
	}
	return NULL;
}

struct fake_vcpu *fake_vcpus(unsigned int *ret_n)
{
	*ret_n = fake.nvcpus;
	return fake.vcpu;
}

/* --- for tests -------------------------------------------------------------------------------- */

void fake_kvm_reset(void)
{
	for (unsigned int i = 0; i < FAKE_MAX_FDS; i++) {
		if (fd_is_ours(&fake.fd[i]))
			(void)close(fake.fd[i].fd); /* a test left it open; nothing was written */
	}
	for (unsigned int i = 0; i < fake.nvcpus; i++)
		free(fake.vcpu[i].reg);
	free(fake.trace);
	memset(&fake, 0, sizeof(fake));
	fake_irq_reset();
	fake_vgic_reset();
	fake.knobs = (struct fake_kvm_knobs){
		.device_types = BIT32(KVM_DEV_TYPE_ARM_VGIC_V3) | BIT32(KVM_DEV_TYPE_ARM_VGIC_ITS),
		.max_vcpus = 512,
		.odd_vcpu = -1,
	};
	for (unsigned int i = 0; i < MAX_CAPS; i++)
		fake.cap[i] = 1;
	fake.cap[KVM_CAP_MAX_VCPUS] = 512;
	fake.cap[KVM_CAP_NR_VCPUS] = 4;
	fake.cap[KVM_CAP_IRQ_ROUTING] = 4096;
	fake.cap[KVM_CAP_ARM_VM_IPA_SIZE] = 48;
}

struct fake_kvm_knobs *fake_kvm_knobs(void)
{
	return &fake.knobs;
}

void fake_kvm_fail(const char *function, unsigned int nth, int errnum)
{
	for (unsigned int i = 0; i < MAX_FAILURES; i++) {
		if (fake.failure[i].countdown)
			continue;
		fake.failure[i] = (struct failure){ function, nth, errnum };
		return;
	}
	assert(!"fake_kvm: too many failures wanted");
}

void fake_kvm_set_cap(unsigned int cap, int value)
{
	assert(cap < MAX_CAPS);
	fake.cap[cap] = value;
}

const char *fake_kvm_trace(void)
{
	return fake.trace ? fake.trace : "";
}

void fake_kvm_trace_clear(void)
{
	fake.trace_len = 0;
	if (fake.trace)
		fake.trace[0] = '\0';
}

unsigned int fake_kvm_calls(const char *function)
{
	return counter_of(function)->n;
}

static struct fake_reg *reg_of(struct fake_vcpu *v, uint64_t id)
{
	for (unsigned int i = 0; i < v->nregs; i++) {
		if (v->reg[i].id == id)
			return &v->reg[i];
	}
	return NULL;
}

bool fake_kvm_reg(unsigned int vcpu_id, uint64_t reg_id, uint64_t *ret)
{
	struct fake_vcpu *v = fake_vcpu_by_id(vcpu_id);
	const struct fake_reg *r = v ? reg_of(v, reg_id) : NULL;
	if (r)
		memcpy(ret, r->value, sizeof(*ret));
	return r != NULL;
}

bool fake_kvm_vcpu_features(unsigned int vcpu_id, struct kvm_vcpu_init *ret)
{
	const struct fake_vcpu *v = fake_vcpu_by_id(vcpu_id);
	if (!v || !v->is_init)
		return false;
	*ret = v->init;
	return true;
}

unsigned int fake_kvm_aborts(unsigned int vcpu_id)
{
	const struct fake_vcpu *v = fake_vcpu_by_id(vcpu_id);
	return v ? v->aborts : 0;
}

bool fake_kvm_slot(uint32_t slot, struct fake_kvm_slot *ret)
{
	if (slot >= FAKE_MAX_SLOTS || !fake.slot[slot].size)
		return false;
	*ret = fake.slot[slot];
	return true;
}

void fake_kvm_on_run(fake_kvm_run_fn fn, void *arg)
{
	fake.run_fn = fn;
	fake.run_arg = arg;
}

unsigned int fake_kvm_open_fds(void)
{
	unsigned int n = 0;
	for (unsigned int i = 0; i < FAKE_MAX_FDS; i++)
		n += fd_is_ours(&fake.fd[i]);
	return n;
}

/* --- vmm/core/kvm.h --------------------------------------------------------------------------- */

int kvm_open(struct kvm *k, struct err *e)
{
	int rc = fake_enter("kvm_open");
	if (rc)
		return err_set_os(e, rc, "fake open");
	if (k->sys_fd < 0) {
		*k = (struct kvm){ .sys_fd = open_fd(FAKE_SYS, 0),
				   .vm_fd = -1,
				   .run_size = RUN_SIZE };
		fake_trace("open");
	}
	return 0;
}

/* A new VM has none of what the former one had; its irqfds stay, so that leaks are seen. */
static void forget_vm(void)
{
	for (unsigned int i = 0; i < fake.nvcpus; i++)
		free(fake.vcpu[i].reg);
	memset(fake.vcpu, 0, sizeof(fake.vcpu));
	fake.nvcpus = 0;
	memset(fake.slot, 0, sizeof(fake.slot));
	fake_vgic_reset();
}

int kvm_create_vm(struct kvm *k, unsigned int ipa_bits, struct err *e)
{
	int rc = fake_enter("kvm_create_vm");
	if (rc)
		return err_set_os(e, rc, "fake create_vm");
	forget_vm();
	k->vm_fd = open_fd(FAKE_VM, 0);
	fake_trace("create_vm %u", ipa_bits);
	return 0;
}

void kvm_close(struct kvm *k)
{
	(void)fake_enter("kvm_close"); /* cannot fail */
	if (k->vm_fd >= 0)
		(void)close(k->vm_fd);
	if (k->sys_fd >= 0)
		(void)close(k->sys_fd);
	*k = KVM_CLOSED;
}

int kvm_check_cap(const struct kvm *k, unsigned int cap)
{
	(void)k;
	int rc = fake_enter("kvm_check_cap");
	return rc ? rc : cap < MAX_CAPS ? fake.cap[cap] : 0;
}

int kvm_enable_cap(const struct kvm *k, unsigned int cap, uint64_t arg0)
{
	(void)k;
	int rc = fake_enter("kvm_enable_cap");
	if (!rc)
		fake_trace("enable_cap %u 0x%llx", cap, (unsigned long long)arg0);
	return rc;
}

int kvm_set_memory(const struct kvm *k, const struct kvm_userspace_memory_region *region)
{
	(void)k;
	int rc = fake_enter("kvm_set_memory");
	if (rc)
		return rc;
	if (region->slot >= FAKE_MAX_SLOTS)
		return -EINVAL;
	fake_trace("set_memory %u 0x%llx 0x%llx", region->slot,
		   (unsigned long long)region->guest_phys_addr,
		   (unsigned long long)region->memory_size);
	fake.slot[region->slot] =
		(struct fake_kvm_slot){ region->flags, region->guest_phys_addr, region->memory_size,
					(void *)(uintptr_t)region->userspace_addr };
	return 0;
}

int kvm_preferred_target(const struct kvm *k, struct kvm_vcpu_init *ret)
{
	(void)k;
	int rc = fake_enter("kvm_preferred_target");
	if (!rc)
		*ret = (struct kvm_vcpu_init){ .target = FAKE_KVM_TARGET };
	return rc;
}

int kvm_create_vcpu(const struct kvm *k, unsigned int id, struct kvm_vcpu *ret)
{
	(void)k;
	int rc = fake_enter("kvm_create_vcpu");
	if (rc)
		return rc;
	if (id >= fake.knobs.max_vcpus || id >= FAKE_MAX_VCPUS)
		return -EINVAL;
	if (fake_vcpu_by_id(id))
		return -EEXIST;
	if (fake_vgic_is_init()) /* [B-2] */
		return -EBUSY;
	fake.vcpu[fake.nvcpus++] = (struct fake_vcpu){ .id = id };
	*ret = (struct kvm_vcpu){ .fd = open_fd(FAKE_VCPU, id),
				  .run_size = RUN_SIZE,
				  .run = calloc(1, RUN_SIZE) };
	assert(ret->run);
	fake_trace("create_vcpu %u", id);
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *v)
{
	(void)fake_enter("kvm_vcpu_close"); /* cannot fail */
	free(v->run);
	if (v->fd >= 0)
		(void)close(v->fd);
	*v = KVM_VCPU_CLOSED;
}

int kvm_vcpu_init(const struct kvm_vcpu *v, const struct kvm_vcpu_init *init)
{
	int rc = fake_enter("kvm_vcpu_init");
	if (rc)
		return rc;
	struct fake_vcpu *f = vcpu_of(v);
	f->init = *init;
	f->is_init = true;
	fake_trace("vcpu_init %u %u 0x%x", f->id, init->target, init->features[0]);
	return 0;
}

int kvm_vcpu_run(const struct kvm_vcpu *v)
{
	const struct fake_fd *f = fake_find_fd(v->fd, FAKE_VCPU);
	assert(f);
	return fake.run_fn ? fake.run_fn(f->number, v->run, fake.run_arg) : -EINTR;
}

static size_t reg_size(uint64_t id)
{
	return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

int kvm_vcpu_get_reg(const struct kvm_vcpu *v, uint64_t id, void *value)
{
	int rc = fake_enter("kvm_vcpu_get_reg");
	if (rc)
		return rc;
	struct fake_vcpu *f = vcpu_of(v);
	const struct fake_reg *r = reg_of(f, id);
	if (r) {
		memcpy(value, r->value, reg_size(id));
		return 0;
	}
	if (id != FAKE_REG_MPIDR)
		return -ENOENT;
	if (!f->is_init)
		return -ENOEXEC; /* as KVM does before KVM_ARM_VCPU_INIT */
	uint64_t mpidr = fake_mpidr(f);
	memcpy(value, &mpidr, sizeof(mpidr));
	return 0;
}

int kvm_vcpu_set_reg(const struct kvm_vcpu *v, uint64_t id, const void *value)
{
	int rc = fake_enter("kvm_vcpu_set_reg");
	if (rc)
		return rc;
	struct fake_vcpu *f = vcpu_of(v);
	if (!f->is_init)
		return -ENOEXEC;
	uint64_t low = 0;
	memcpy(&low, value, reg_size(id) < sizeof(low) ? reg_size(id) : sizeof(low));
	fake_trace("set_reg %u 0x%llx 0x%llx", f->id, (unsigned long long)id,
		   (unsigned long long)low);
	if (id == FAKE_REG_MPIDR && fake.knobs.mpidr_is_stuck)
		return 0;
	struct fake_reg *r = reg_of(f, id);
	if (!r) {
		f->reg = reallocarray(f->reg, f->nregs + 1, sizeof(*f->reg));
		assert(f->reg);
		r = &f->reg[f->nregs++];
	}
	*r = (struct fake_reg){ .id = id };
	memcpy(r->value, value, reg_size(id));
	return 0;
}

int kvm_vcpu_inject_abort(const struct kvm_vcpu *v)
{
	int rc = fake_enter("kvm_vcpu_inject_abort");
	if (rc)
		return rc;
	vcpu_of(v)->aborts++;
	return 0;
}

int kvm_test_device(const struct kvm *k, uint32_t type)
{
	(void)k;
	int rc = fake_enter("kvm_test_device");
	if (rc)
		return rc;
	return type < 32 && fake.knobs.device_types & BIT32(type) ? 0 : -ENODEV;
}

int kvm_create_device(const struct kvm *k, uint32_t type)
{
	(void)k;
	int rc = fake_enter("kvm_create_device");
	if (rc)
		return rc;
	if (type >= 32 || !(fake.knobs.device_types & BIT32(type)))
		return -ENODEV;
	fake_trace("create_device %s", fake_device_name(type));
	rc = fake_vgic_create(type);
	return rc ? rc : open_fd(FAKE_DEVICE, type);
}

int kvm_device_set_attr(int device_fd, uint32_t group, uint64_t attr, const void *value)
{
	int rc = fake_enter("kvm_device_set_attr");
	if (rc)
		return rc;
	const struct fake_fd *f = fake_find_fd(device_fd, FAKE_DEVICE);
	return f ? fake_vgic_set_attr(f->number, group, attr, value) : -EBADF;
}

int kvm_device_get_attr(int device_fd, uint32_t group, uint64_t attr, void *value)
{
	int rc = fake_enter("kvm_device_get_attr");
	if (rc)
		return rc;
	const struct fake_fd *f = fake_find_fd(device_fd, FAKE_DEVICE);
	return f ? fake_vgic_get_attr(f->number, group, attr, value) : -EBADF;
}
