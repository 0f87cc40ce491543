/*
 * KVM's ioctls, one small function each (struct kvm, struct kvm_vcpu). Set-up calls run on the VMM
 * thread; kvm_vcpu_* on the vCPU's own thread once it runs; kvm_irq_line from any thread.
 */
#include "vmm/core/kvm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"

/* ioctl that is restarted after a signal; a value >= 0 or -errno. */
static int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int rc;
	do {
		rc = ioctl(fd, request, arg);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

static int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	return kvm_ioctl(fd, request, (void *)value); /* these requests take the number itself */
}

/* What wick cannot run without (contract 5), by the names a user can look up. */
static const struct {
	unsigned int cap;
	const char *name;
} required_caps[] = {
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2" },
	{ KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_ARM_NISV_TO_USER, "KVM_CAP_ARM_NISV_TO_USER" },
	{ KVM_CAP_ARM_INJECT_EXT_DABT, "KVM_CAP_ARM_INJECT_EXT_DABT" },
};

static int open_error(int rc, struct err *e)
{
	if (rc == -EACCES)
		return err_set_os(e, rc,
				  "Cannot open /dev/kvm for reading and writing (add this user to "
				  "the group that owns it, often kvm, or give access with setfacl "
				  "-m u:$USER:rw /dev/kvm)");
	if (rc == -ENOENT)
		return err_set_os(
			e, rc,
			"Cannot open /dev/kvm (this host has no KVM: it needs an arm64 CPU booted "
			"at EL2 and a kernel with CONFIG_KVM; in a jail, make the node)");
	return err_set_os(e, rc, "Cannot open /dev/kvm");
}

int kvm_open(struct kvm *k, struct err *e)
{
	if (k->sys_fd >= 0)
		return 0;
	cleanup_close int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return open_error(-errno, e);
	int version = kvm_ioctl_value(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(e, -EPROTO, "/dev/kvm has API version %d, wick needs %d", version,
			       KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(required_caps); i++)
		if (kvm_ioctl_value(fd, KVM_CHECK_EXTENSION, required_caps[i].cap) <= 0)
			return err_set(e, -EOPNOTSUPP, "The host's KVM lacks %s, which wick needs",
				       required_caps[i].name);
	int size = kvm_ioctl_value(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, -EPROTO, "KVM_GET_VCPU_MMAP_SIZE says %d, less than %zu", size,
			       sizeof(struct kvm_run));
	k->run_size = (size_t)size;
	k->sys_fd = take_fd(&fd);
	return 0;
}

int kvm_create_vm(struct kvm *k, unsigned int ipa_bits, struct err *e)
{
	unsigned long type = 0; /* 40 bits */
	if (ipa_bits > 40) {
		int limit = kvm_check_cap(k, KVM_CAP_ARM_VM_IPA_SIZE);
		if (limit < (int)ipa_bits)
			return err_set(e, -E2BIG,
				       "The memory size needs %u physical address bits, this host "
				       "gives a guest at most %d",
				       ipa_bits, limit > 0 ? limit : 40);
		type = KVM_VM_TYPE_ARM_IPA_SIZE(ipa_bits);
	}
	int fd = kvm_ioctl_value(k->sys_fd, KVM_CREATE_VM, type);
	if (fd < 0)
		return err_set_os(e, fd, "KVM_CREATE_VM failed");
	k->vm_fd = fd;
	return 0;
}

void kvm_close(struct kvm *k)
{
	close_fd(&k->vm_fd);
	close_fd(&k->sys_fd);
}

int kvm_check_cap(const struct kvm *k, unsigned int cap)
{
	int rc = kvm_ioctl_value(k->vm_fd >= 0 ? k->vm_fd : k->sys_fd, KVM_CHECK_EXTENSION, cap);
	return rc < 0 ? 0 : rc;
}

int kvm_enable_cap(const struct kvm *k, unsigned int cap, uint64_t arg0)
{
	struct kvm_enable_cap arg = { .cap = cap, .args = { arg0 } };
	return kvm_ioctl(k->vm_fd, KVM_ENABLE_CAP, &arg);
}

int kvm_set_memory(const struct kvm *k, const struct kvm_userspace_memory_region *region)
{
	struct kvm_userspace_memory_region arg = *region;
	return kvm_ioctl(k->vm_fd, KVM_SET_USER_MEMORY_REGION, &arg);
}

int kvm_preferred_target(const struct kvm *k, struct kvm_vcpu_init *ret)
{
	struct kvm_vcpu_init init = { 0 };
	int rc = kvm_ioctl(k->vm_fd, KVM_ARM_PREFERRED_TARGET, &init);
	if (rc == 0)
		*ret = init;
	return rc;
}

int kvm_create_vcpu(const struct kvm *k, unsigned int id, struct kvm_vcpu *ret)
{
	cleanup_close int fd = kvm_ioctl_value(k->vm_fd, KVM_CREATE_VCPU, id);
	if (fd < 0)
		return fd;
	void *run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	*ret = (struct kvm_vcpu){ .fd = take_fd(&fd), .run_size = k->run_size, .run = run };
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *v)
{
	if (v->run)
		(void)munmap(v->run, v->run_size); /* our own mapping: cannot fail */
	close_fd(&v->fd);
	*v = KVM_VCPU_CLOSED;
}

int kvm_vcpu_init(const struct kvm_vcpu *v, const struct kvm_vcpu_init *init)
{
	struct kvm_vcpu_init arg = *init;
	return kvm_ioctl(v->fd, KVM_ARM_VCPU_INIT, &arg);
}

int kvm_vcpu_run(const struct kvm_vcpu *v)
{
	return ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;
}

int kvm_vcpu_get_reg(const struct kvm_vcpu *v, uint64_t id, void *value)
{
	struct kvm_one_reg arg = { .id = id, .addr = (uintptr_t)value };
	return kvm_ioctl(v->fd, KVM_GET_ONE_REG, &arg);
}

int kvm_vcpu_set_reg(const struct kvm_vcpu *v, uint64_t id, const void *value)
{
	struct kvm_one_reg arg = { .id = id, .addr = (uintptr_t)value };
	return kvm_ioctl(v->fd, KVM_SET_ONE_REG, &arg);
}

int kvm_vcpu_inject_abort(const struct kvm_vcpu *v)
{
	struct kvm_vcpu_events events = { .exception.ext_dabt_pending = 1 };
	return kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events);
}

int kvm_test_device(const struct kvm *k, uint32_t type)
{
	struct kvm_create_device arg = { .type = type, .flags = KVM_CREATE_DEVICE_TEST };
	return kvm_ioctl(k->vm_fd, KVM_CREATE_DEVICE, &arg);
}

int kvm_create_device(const struct kvm *k, uint32_t type)
{
	struct kvm_create_device arg = { .type = type };
	int rc = kvm_ioctl(k->vm_fd, KVM_CREATE_DEVICE, &arg);
	return rc < 0 ? rc : (int)arg.fd;
}

static int device_attr(int fd, unsigned long request, uint32_t group, uint64_t attr,
		       const void *value)
{
	struct kvm_device_attr arg = { .group = group, .attr = attr, .addr = (uintptr_t)value };
	return kvm_ioctl(fd, request, &arg);
}

int kvm_device_set_attr(int device_fd, uint32_t group, uint64_t attr, const void *value)
{
	return device_attr(device_fd, KVM_SET_DEVICE_ATTR, group, attr, value);
}

int kvm_device_get_attr(int device_fd, uint32_t group, uint64_t attr, void *value)
{
	return device_attr(device_fd, KVM_GET_DEVICE_ATTR, group, attr, value);
}

int kvm_set_gsi_routing(const struct kvm *k, const struct kvm_irq_routing_entry *entries,
			unsigned int n)
{
	size_t bytes = n * sizeof(entries[0]);
	cleanup_free struct kvm_irq_routing *table = calloc(1, sizeof(*table) + bytes);
	if (!table)
		return -ENOMEM;
	table->nr = n;
	for (unsigned int i = 0; i < n; i++)
		table->entries[i] = entries[i];
	return kvm_ioctl(k->vm_fd, KVM_SET_GSI_ROUTING, table);
}

int kvm_irqfd(const struct kvm *k, uint32_t gsi, int event_fd, bool assign)
{
	struct kvm_irqfd arg = { .fd = (uint32_t)event_fd,
				 .gsi = gsi,
				 .flags = assign ? 0 : KVM_IRQFD_FLAG_DEASSIGN };
	return kvm_ioctl(k->vm_fd, KVM_IRQFD, &arg);
}

int kvm_ioeventfd(const struct kvm *k, gpa_t addr, uint32_t datamatch, int event_fd, bool assign)
{
	struct kvm_ioeventfd arg = {
		.datamatch = datamatch,
		.addr = addr,
		.len = 4,
		.fd = event_fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH | (assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	return kvm_ioctl(k->vm_fd, KVM_IOEVENTFD, &arg);
}

int kvm_irq_line(const struct kvm *k, uint32_t irq, bool level)
{
	struct kvm_irq_level arg = { .irq = irq, .level = level };
	return kvm_ioctl(k->vm_fd, KVM_IRQ_LINE, &arg);
}
