/*
 * Building the machine, step by step: each step is `int step(vm, e)`, none calls back to an earlier
 * one, and when one fails vm_teardown() takes the half-built machine. VMM thread. Each step's time
 * goes into the timeline.
 */
#include "vmm/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "arch/arm64/cpu.h"
#include "arch/arm64/fdt.h"
#include "arch/arm64/layout.h"
#include "devices/boot_timer.h"
#include "devices/rtc_pl031.h"
#include "devices/serial.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"
#include "vmm/cmdline.h"

struct build_step {
	const char *name; /* NULL: timed together with the step before */
	int (*run)(struct vm *vm, struct err *e);
};

/* More RAM than the map has room for is cut, as Firecracker does. */
static uint64_t ram_mib(const struct vm *vm)
{
	return min_u64(vm->config.machine.mem_size_mib, LAYOUT_RAM_MAX / MIB);
}

static int step_kvm(struct vm *vm, struct err *e)
{
	int rc = kvm_open(&vm->kvm, e);
	if (rc < 0)
		return rc;
	rc = kvm_create_vm(&vm->kvm, boot_ipa_bits(ram_mib(vm)), e);
	if (rc < 0)
		return rc;
	/* Without it one LDP to a device would end the VM (gic.md A-15). */
	rc = kvm_enable_cap(&vm->kvm, KVM_CAP_ARM_NISV_TO_USER, 0);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot enable KVM_CAP_ARM_NISV_TO_USER");
	return 0;
}

static int step_memory(struct vm *vm, struct err *e)
{
	const struct machine_config *m = &vm->config.machine;
	const uint32_t flags = m->track_dirty_pages ? KVM_MEM_LOG_DIRTY_PAGES : 0;
	struct mem_range ranges[2];
	unsigned int n = boot_ram_ranges(ram_mib(vm), ranges);
	if (m->mem_size_mib != ram_mib(vm))
		log_warn("mem_size_mib is %llu, the memory map has room for %llu: the guest gets "
			 "that.",
			 (unsigned long long)m->mem_size_mib, (unsigned long long)ram_mib(vm));

	int rc = mem_create(ranges, n,
			    m->huge_pages == HUGE_PAGES_2M ? MEM_PAGES_HUGETLB_2M : MEM_PAGES_THP,
			    &vm->mem, e);
	for (unsigned int i = 0; rc == 0 && i < n; i++) {
		const struct mem_region *r = &vm->mem->region[i];
		const struct kvm_userspace_memory_region slot = {
			.slot = i,
			.flags = flags,
			.guest_phys_addr = r->gpa,
			.memory_size = r->size,
			.userspace_addr = (uintptr_t)r->host,
		};
		rc = kvm_set_memory(&vm->kvm, &slot);
		if (rc < 0)
			return err_set_os(
				e, rc, "KVM refuses guest memory region %u (%llu MiB at 0x%llx)", i,
				(unsigned long long)(r->size / MIB), (unsigned long long)r->gpa);
	}
	return rc;
}

static int step_bus(struct vm *vm, struct err *e)
{
	if (bus_create(&vm->bus) < 0)
		return err_set(e, -ENOMEM, "No memory for the MMIO bus");
	bus_set_pool(vm->bus, LAYOUT_VIRTIO, LAYOUT_VIRTIO_END - LAYOUT_VIRTIO);
	return 0;
}

static int step_vcpus(struct vm *vm, struct err *e)
{
	const unsigned int n = vm->config.machine.vcpu_count;
	const unsigned int limit = (unsigned int)kvm_check_cap(&vm->kvm, KVM_CAP_MAX_VCPUS);
	if (n > limit)
		return err_set(e, -EINVAL, "vcpu_count is %u, this host's KVM allows at most %u", n,
			       limit);
	vm->mpidr = calloc(n, sizeof(vm->mpidr[0]));
	if (!vm->mpidr)
		return err_set(e, -ENOMEM, "No memory for %u vCPUs", n);
	const struct vcpu_config config = {
		.kvm = &vm->kvm, .bus = vm->bus, .n = n, .events = vm_vcpu_events(vm)
	};
	int rc = vcpu_set_create(&config, &vm->vcpus, e);
	for (unsigned int i = 0; rc == 0 && i < n; i++)
		rc = cpu_init(&vm->kvm, vcpu_set_kvm(vm->vcpus, i), i, &vm->mpidr[i], e);
	return rc;
}

static int step_gic(struct vm *vm, struct err *e)
{
	const unsigned int n = vcpu_set_count(vm->vcpus);
	cleanup_free const struct kvm_vcpu **vcpus = calloc(n, sizeof(*vcpus));
	if (!vcpus)
		return err_set(e, -ENOMEM, "No memory for %u vCPUs", n);
	for (unsigned int i = 0; i < n; i++)
		vcpus[i] = vcpu_set_kvm(vm->vcpus, i);
	const struct gic_config config = {
		.kvm = &vm->kvm, .vcpus = vcpus, .nvcpus = n, .nr_irqs = LAYOUT_NR_IRQS
	};
	int rc = gic_create(&config, &vm->gic, e);
	if (rc < 0)
		return rc;
	const struct irq_sink sink = gic_irq_sink(vm->gic);
	irq_chip_init(&vm->irqs, &vm->kvm, &sink, LAYOUT_NR_GSIS);
	vm->env = (struct device_env){
		.kvm = &vm->kvm, .mem = vm->mem, .bus = vm->bus, .irqs = &vm->irqs, .loop = vm->loop
	};
	return 0;
}

static int add_device(struct vm *vm, const char *kind, const void *config, struct err *e)
{
	const struct device_ops *ops = device_find(kind);
	if (!ops)
		return err_set(e, -ENODEV, "There is no device kind \"%s\"", kind);
	struct device **grown = reallocarray(vm->devices, vm->ndevices + 1, sizeof(*grown));
	if (!grown)
		return err_set(e, -ENOMEM, "No memory for another device");
	vm->devices = grown;
	int rc = ops->create(&vm->env, config, &vm->devices[vm->ndevices], e);
	if (rc == 0)
		vm->ndevices++;
	return rc;
}

/* In Firecracker's order, so that guests see the same windows and interrupts (contract 4.2). */
static int step_devices(struct vm *vm, struct err *e)
{
	const struct vm_config *c = &vm->config;
	const char *args = c->boot.has_boot_args ? c->boot.boot_args : "";
	const struct rtc_config rtc = { .base = LAYOUT_RTC };
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < c->ndrives; i++) {
		rc = add_device(vm, "block", &c->drives[i], e);
		if (rc < 0)
			return err_prefix(e, rc, "drive %s: ", c->drives[i].drive_id);
	}
	if (rc == 0 && c->has_entropy)
		rc = add_device(vm, "rng", NULL, e);
	if (rc == 0 && cmdline_has_console(args)) {
		struct serial_config serial = c->serial;
		serial.base = LAYOUT_SERIAL;
		rc = add_device(vm, "serial", &serial, e);
	}
	if (rc == 0)
		rc = add_device(vm, "rtc", &rtc, e);
	if (rc == 0 && c->boot_timer) {
		const struct boot_timer_config timer = { .base = LAYOUT_BOOT_TIMER,
							 .start_us = vm->start_us,
							 .start_cpu_us = vm->start_cpu_us };
		rc = add_device(vm, "boot-timer", &timer, e);
	}
	return rc;
}

static int step_load(struct vm *vm, struct err *e)
{
	const struct boot_source_config *b = &vm->config.boot;
	const struct boot_files files = { .kernel_fd = vm->kernel_fd,
					  .kernel_path = b->kernel_image_path,
					  .initrd_fd = vm->initrd_fd,
					  .initrd_path = b->initrd_path,
					  .fdt_room = fdt_room(vcpu_set_count(vm->vcpus),
							       vm->ndevices) };
	return boot_load(vm->mem, &files, &vm->boot, e);
}

static int describe_devices(struct vm *vm, struct fdt_list *nodes)
{
	int rc = vm->gic->ops->describe(vm->gic, nodes);
	for (unsigned int i = 0; rc == 0 && i < vm->ndevices; i++)
		if (vm->devices[i]->ops->describe)
			rc = vm->devices[i]->ops->describe(vm->devices[i], nodes);
	return rc;
}

static int write_fdt(struct vm *vm, const char *cmdline, const struct fdt_list *nodes,
		     struct err *e)
{
	uint8_t seed[64];
	struct mem_range ram[MEM_MAX_REGIONS];
	void *blob;
	size_t len;

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return err_set_os(e, -errno, "Cannot get random bytes for the guest's seed");
	for (unsigned int i = 0; i < vm->mem->nregions; i++)
		ram[i] = (struct mem_range){ vm->mem->region[i].gpa, vm->mem->region[i].size };
	int rc = mem_slice(vm->mem, vm->boot.fdt, vm->boot.fdt_room, &blob);
	if (rc < 0)
		return err_set(e, rc, "The device tree's place 0x%llx is not in guest memory",
			       (unsigned long long)vm->boot.fdt);
	const struct fdt_machine machine = {
		.cmdline = cmdline,
		.initrd = vm->boot.initrd,
		.initrd_size = vm->boot.initrd_size,
		.ram = ram,
		.nram = vm->mem->nregions,
		.mpidr = vm->mpidr,
		.ncpus = vcpu_set_count(vm->vcpus),
		.rng_seed = seed,
		.nodes = nodes,
	};
	rc = fdt_build(&machine, blob, vm->boot.fdt_room, &len, e);
	explicit_bzero(seed, sizeof(seed)); /* the guest's secret now */
	return rc;
}

static int step_fdt(struct vm *vm, struct err *e)
{
	char cmdline[LAYOUT_CMDLINE_MAX];
	struct fdt_list nodes = { 0 };

	int rc = cmdline_build(&vm->config, cmdline, sizeof(cmdline), e);
	if (rc < 0)
		return rc;
	rc = describe_devices(vm, &nodes);
	if (rc < 0)
		(void)err_set(e, rc, "No memory for the device tree's description");
	else
		rc = write_fdt(vm, cmdline, &nodes, e);
	fdt_list_fini(&nodes);
	return rc;
}

static int step_boot_regs(struct vm *vm, struct err *e)
{
	return cpu_set_boot_regs(vcpu_set_kvm(vm->vcpus, 0), vm->boot.entry, vm->boot.fdt, e);
}

static int step_threads(struct vm *vm, struct err *e)
{
	return vcpu_set_start(vm->vcpus, e);
}

/* Restore: a second list of these functions, with state where boot has image, tree, registers. */
static const struct build_step boot_steps[] = {
	{ "KVM", step_kvm },
	{ "memory", step_memory },
	{ NULL, step_bus },
	{ NULL, step_vcpus },
	{ "GIC and vCPUs", step_gic },
	{ "devices", step_devices },
	{ "kernel and initrd", step_load },
	{ NULL, step_fdt },
	{ NULL, step_boot_regs },
	{ "device tree and registers", step_threads },
};

int build_boot(struct vm *vm, struct err *e)
{
	if (!vm->config.has_boot_source)
		return err_set(e, -EINVAL, "Cannot start microvm without kernel configuration.");
	for (size_t i = 0; i < ARRAY_SIZE(boot_steps); i++) {
		int rc = boot_steps[i].run(vm, e);
		if (rc < 0) {
			vm_teardown(vm);
			return rc;
		}
		if (boot_steps[i].name)
			timeline_mark(&vm->timeline, boot_steps[i].name);
	}
	log_info("Interrupt controller: %s, %u vCPUs, %llu MiB", vm->gic->ops->name,
		 vcpu_set_count(vm->vcpus), (unsigned long long)vm->config.machine.mem_size_mib);
	return 0;
}
