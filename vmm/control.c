/*
 * Requests to the machine (struct vm_request, struct mailbox): one table says which action is
 * allowed when, what runs it, and how its refusal begins. vm_execute runs on the VMM thread;
 * mailbox_post on any other.
 *
 * Mailbox ordering: the poster writes *request and then the eventfd; the VMM thread reads the
 * eventfd and then *request; the same backwards for the answer. An eventfd's write and read take
 * the same kernel lock, so each is a release and acquire pair.
 */
#include "vmm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/build.h"
#include "vmm/cmdline.h"
#include "vmm/vm.h"

/* --- actions: each returns 0, or -errno with the message a client sees behind the prefix ------ */

static int get_info(struct vm *vm, struct vm_request *r)
{
	(void)snprintf(r->out.info.id, sizeof(r->out.info.id), "%s", vm->id);
	r->out.info.state = vm->state;
	return 0;
}

static int get_config(struct vm *vm, struct vm_request *r)
{
	if (vm_config_copy(&vm->config, &r->out.config) < 0)
		return err_set(&r->err, -ENOMEM, "No memory for a copy of the configuration");
	return 0;
}

/* The host's limit where it can be asked; without KVM the start will say what is wrong. */
static unsigned int host_max_vcpus(struct vm *vm)
{
	struct err ignored;
	if (kvm_open(&vm->kvm, &ignored) < 0)
		return UINT_MAX;
	return (unsigned int)kvm_check_cap(&vm->kvm, KVM_CAP_MAX_VCPUS);
}

static int put_machine(struct vm *vm, struct vm_request *r)
{
	return vm_config_set_machine(&vm->config, &r->in.machine, true, host_max_vcpus(vm),
				     &r->err);
}

static int patch_machine(struct vm *vm, struct vm_request *r)
{
	return vm_config_set_machine(&vm->config, &r->in.machine, false, host_max_vcpus(vm),
				     &r->err);
}

/* Firecracker's text up to the OS error, which clients match; then the path. */
static int open_failed(const char *what, const char *path, struct err *e)
{
	char os[128];
	int rc = -errno;
	return err_set(e, rc, "%s %s %s", what, err_os_text(-rc, os, sizeof(os)), path);
}

/*
 * The files are opened here: what the guest gets is what the path named now. O_NONBLOCK: a FIFO must not
 * hold the VMM thread; the start refuses what is no regular file.
 */
static int put_boot_source(struct vm *vm, struct vm_request *r)
{
	const struct boot_source_config *b = &r->in.boot;
	if (b->has_boot_args) {
		int rc = cmdline_check(b->boot_args, &r->err);
		if (rc < 0)
			return rc;
	}
	cleanup_close int kernel = open(b->kernel_image_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kernel < 0)
		return open_failed("The kernel file cannot be opened:", b->kernel_image_path,
				   &r->err);
	cleanup_close int initrd = -1;
	if (b->has_initrd_path) {
		initrd = open(b->initrd_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (initrd < 0)
			return open_failed("The initrd file cannot be opened due to invalid path "
					   "or invalid permissions.",
					   b->initrd_path, &r->err);
	}
	close_fd(&vm->kernel_fd);
	close_fd(&vm->initrd_fd);
	vm->kernel_fd = take_fd(&kernel);
	vm->initrd_fd = take_fd(&initrd);
	vm->config.boot = *b;
	vm->config.has_boot_source = true;
	return 0;
}

static int put_drive(struct vm *vm, struct vm_request *r)
{
	return vm_config_set_drive(&vm->config, &r->in.drive, &r->err);
}

static int put_entropy(struct vm *vm, struct vm_request *r)
{
	(void)r; /* no fields yet: its presence is the configuration */
	vm->config.has_entropy = true;
	return 0;
}

static int put_serial(struct vm *vm, struct vm_request *r)
{
	vm->config.serial = r->in.serial;
	return 0;
}

static int put_logger(struct vm *vm, struct vm_request *r)
{
	int rc = log_configure(&r->in.logger, &r->err);
	if (rc < 0)
		return rc;
	vm->config.logger = r->in.logger;
	vm->config.has_logger = true;
	return 0;
}

static int start(struct vm *vm, struct vm_request *r)
{
	vm->start_us = clock_monotonic_us();
	vm->start_cpu_us = clock_process_cpu_us();
	const unsigned int marks = vm->timeline.n;
	timeline_mark(&vm->timeline, "configuration");
	int rc = build_boot(vm, &r->err);
	if (rc < 0) {
		vm->timeline.n = marks; /* the next try is timed as if this had not been */
		return rc;
	}
	vm_resume(vm);
	timeline_mark(&vm->timeline, "first KVM_RUN");
	timeline_log(&vm->timeline);
	return 0;
}

static int pause_vm(struct vm *vm, struct vm_request *r)
{
	(void)r; /* pausing a paused VM is success */
	vm_pause(vm);
	return 0;
}

static int resume_vm(struct vm *vm, struct vm_request *r)
{
	(void)r; /* resuming a running VM is success */
	if (vm->state == VM_PAUSED)
		vm_resume(vm);
	return 0;
}

static int flush_metrics(struct vm *vm, struct vm_request *r)
{
	(void)vm;
	(void)r;
	return 0; /* no metrics sink can be configured yet: nothing to write, a success */
}

/* --- the table -------------------------------------------------------------------------------- */

enum when { ANY, BEFORE_START, AFTER_START };

static const struct action {
	enum when when;
	const char *prefix;
	int (*run)(struct vm *vm, struct vm_request *r);
} actions[VM_ACTION_COUNT] = {
	[VM_GET_INFO] = { ANY, "", get_info },
	[VM_GET_CONFIG] = { ANY, "", get_config },
	[VM_PUT_MACHINE] = { BEFORE_START, "Machine config error: ", put_machine },
	[VM_PATCH_MACHINE] = { BEFORE_START, "Machine config error: ", patch_machine },
	[VM_PUT_BOOT_SOURCE] = { BEFORE_START, "Boot source error: ", put_boot_source },
	[VM_PUT_DRIVE] = { BEFORE_START, "Drive config error: ", put_drive },
	[VM_PUT_ENTROPY] = { BEFORE_START, "Entropy config error: ", put_entropy },
	[VM_PUT_SERIAL] = { BEFORE_START, "", put_serial },
	[VM_PUT_LOGGER] = { BEFORE_START, "Logger error: ", put_logger },
	[VM_START] = { BEFORE_START, "Start microvm error: ", start },
	[VM_PAUSE] = { AFTER_START, "Internal VMM error: ", pause_vm },
	[VM_RESUME] = { AFTER_START, "Internal VMM error: ", resume_vm },
	[VM_FLUSH_METRICS] = { AFTER_START, "Internal VMM error: ", flush_metrics },
};

static int check_state(const struct vm *vm, const struct action *a, struct err *e)
{
	if (a->when == BEFORE_START && vm->state != VM_NOT_STARTED)
		return err_set(
			e, -EPERM,
			"The requested operation is not supported after starting the microVM.");
	if (a->when == AFTER_START && vm->state == VM_NOT_STARTED)
		return err_set(
			e, -EPERM,
			"The requested operation is not supported before starting the microVM.");
	if (a->when == AFTER_START && vm->state == VM_FAILED)
		return err_set(e, -EIO,
			       "Internal VMM error: The microVM has failed: see the log for the "
			       "vCPU and the reason.");
	return 0;
}

void vm_execute(struct vm *vm, struct vm_request *r)
{
	const struct action *a = &actions[r->action];

	r->err.text[0] = '\0';
	r->rc = check_state(vm, a, &r->err);
	if (r->rc < 0)
		return;
	r->rc = a->run(vm, r);
	if (r->rc < 0)
		(void)err_prefix(&r->err, r->rc, "%s", a->prefix);
}

/* --- mailbox ---------------------------------------------------------------------------------- */

struct mailbox {
	struct vm *vm;
	struct loop_event posted; /* poster -> VMM thread */
	int answered_fd;          /* VMM thread -> poster, blocking */
	pthread_mutex_t lock;     /* guards closed; a leaf */
	bool is_closed;
	struct vm_request *request; /* handed over by the eventfds */
};

static void on_posted(void *arg, uint32_t events)
{
	struct mailbox *m = arg;

	(void)events;
	if (!io_event_drain(m->posted.fd))
		return;
	vm_execute(m->vm, m->request);
	/* One answer per request: the counter cannot be full. */
	(void)io_event_signal(m->answered_fd);
}

int mailbox_create(struct vm *vm, struct mailbox **ret)
{
	struct mailbox *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->vm = vm;
	loop_event_init(&m->posted, on_posted, m);
	(void)pthread_mutex_init(&m->lock, NULL); /* cannot fail on Linux */
	m->answered_fd = eventfd(0, EFD_CLOEXEC);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = m->answered_fd < 0 || fd < 0 ? -errno
					      : loop_add_control(vm->loop, &m->posted, fd, EPOLLIN);
	if (rc < 0) {
		close_fd(&fd);
		mailbox_destroy(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void mailbox_close(struct mailbox *m)
{
	pthread_mutex_lock(&m->lock);
	m->is_closed = true;
	pthread_mutex_unlock(&m->lock);
	/* A request that was posted but not executed is answered now: its poster waits. */
	if (m->posted.fd >= 0 && io_event_drain(m->posted.fd)) {
		m->request->rc = err_set(&m->request->err, -ESHUTDOWN, "The microVM has ended.");
		(void)io_event_signal(m->answered_fd); /* as in on_posted */
	}
}

void mailbox_destroy(struct mailbox *m)
{
	if (!m)
		return;
	int fd = m->posted.fd;
	loop_remove(m->vm->loop, &m->posted);
	close_fd(&fd);
	close_fd(&m->answered_fd);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

void mailbox_post(struct mailbox *m, struct vm_request *r)
{
	uint64_t count;

	pthread_mutex_lock(&m->lock);
	if (m->is_closed) {
		r->rc = err_set(&r->err, -ESHUTDOWN, "The microVM has ended.");
		pthread_mutex_unlock(&m->lock);
		return;
	}
	m->request = r;
	(void)io_event_signal(m->posted.fd); /* one request at a time: the counter cannot be full */
	pthread_mutex_unlock(&m->lock);
	/* Our own eventfd: only EINTR, retried. */
	(void)io_read_full(m->answered_fd, &count, sizeof(count));
}
