/*
 * The microVM's life (struct vm): create, pause, resume, tear down. VMM thread, but for the two
 * vcpu_events callbacks, which run on vCPU threads and only hand over.
 */
#include "vmm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "arch/arm64/psci.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/exit_codes.h"

/* A vCPU cannot go on: stop the others, keep process and API alive (gic.md A-16). */
static void on_failure(void *arg, uint32_t events)
{
	struct vm *vm = arg;

	(void)events;
	(void)io_event_drain(vm->fail_event.fd); /* why we run says it all */
	if (!vm->vcpus || vm->state == VM_FAILED)
		return;
	vcpu_set_pause(vm->vcpus);
	loop_freeze(vm->loop, true);
	vm->state = VM_FAILED;
	log_error("The microVM has failed and is stopped; the API still answers.");
}

int vm_create(const char *id, uint64_t process_start_us, struct vm **ret)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	(void)snprintf(vm->id, sizeof(vm->id), "%s", id);
	vm_config_init(&vm->config);
	vm->kvm = KVM_CLOSED;
	vm->kernel_fd = -1;
	vm->initrd_fd = -1;
	loop_event_init(&vm->fail_event, on_failure, vm);
	vm->timeline.origin_us = process_start_us;
	int rc = loop_create(&vm->loop);
	if (rc == 0) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		rc = fd < 0 ? -errno : loop_add_control(vm->loop, &vm->fail_event, fd, EPOLLIN);
		if (rc < 0)
			close_fd(&fd);
	}
	if (rc < 0) {
		vm_destroy(vm);
		return rc;
	}
	*ret = vm;
	return 0;
}

void vm_teardown(struct vm *vm)
{
	/* vCPUs stop first: after that nobody touches devices but this thread. */
	if (vm->vcpus)
		vcpu_set_pause(vm->vcpus);
	while (vm->ndevices > 0) {
		struct device *d = vm->devices[--vm->ndevices];
		d->ops->destroy(d);
	}
	free(vm->devices);
	vm->devices = NULL;
	gic_destroy(vm->gic);
	vm->gic = NULL;
	vcpu_set_destroy(vm->vcpus);
	vm->vcpus = NULL;
	free(vm->mpidr);
	vm->mpidr = NULL;
	kvm_close(&vm->kvm);
	mem_destroy(vm->mem);
	vm->mem = NULL;
	bus_destroy(vm->bus);
	vm->bus = NULL;
	if (vm->loop)
		loop_freeze(vm->loop, false);
	vm->state = VM_NOT_STARTED;
}

void vm_destroy(struct vm *vm)
{
	if (!vm)
		return;
	vm_teardown(vm);
	vm_config_fini(&vm->config);
	close_fd(&vm->kernel_fd);
	close_fd(&vm->initrd_fd);
	if (vm->loop && vm->fail_event.fd >= 0) {
		int fd = vm->fail_event.fd;
		loop_remove(vm->loop, &vm->fail_event);
		close_fd(&fd);
	}
	loop_destroy(vm->loop);
	free(vm);
}

void vm_pause(struct vm *vm)
{
	vcpu_set_pause(vm->vcpus);
	/* Devices stand still with them, until vm_resume wakes their queues. */
	loop_freeze(vm->loop, true);
	vm->state = VM_PAUSED;
}

void vm_resume(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->ndevices; i++)
		if (vm->devices[i]->ops->resume)
			vm->devices[i]->ops->resume(vm->devices[i]);
	loop_freeze(vm->loop, false);
	vm->state = VM_RUNNING;
	vcpu_set_resume(vm->vcpus);
}

/* PSCI off and reset both end the process with exit code 0: no reboot in place (contract 2.1). */
static void on_system_event(void *arg, uint32_t type)
{
	struct vm *vm = arg;
	log_info("The guest asked for a %s, the microVM ends.",
		 psci_event_name(psci_event_of(type)));
	loop_stop(vm->loop, EXIT_CODE_OK);
}

static void on_vcpu_failed(void *arg, unsigned int id, const char *reason)
{
	struct vm *vm = arg;
	log_error("vCPU %u cannot go on: %s", id, reason);
	(void)io_event_signal(vm->fail_event.fd); /* a counter at its limit is signalled already */
}

struct vcpu_events vm_vcpu_events(struct vm *vm)
{
	return (struct vcpu_events){
		.arg = vm,
		.system_event = on_system_event,
		.failed = on_vcpu_failed,
	};
}
