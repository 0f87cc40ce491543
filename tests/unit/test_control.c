/*
 * vmm/control.c on the fake KVM: what is allowed in which state, what a failed start leaves behind,
 * and the mailbox between two threads.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"
#include "vmm/base/endian.h"
#include "vmm/base/io.h"
#include "vmm/control.h"
#include "vmm/vm.h"

static char kernel_path[64], disk_path[64];
static struct vm *vm;
static struct vm_request req; /* large */
static _Atomic int run_rc;    /* what KVM_RUN answers; 0: an exit for `run_reason` */
static _Atomic uint32_t run_reason;

static void nap_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };
	(void)nanosleep(&t, NULL); /* shorter is fine, too */
}

static int run_guest(unsigned int id, struct kvm_run *run, void *arg)
{
	(void)id;
	(void)arg; /* all vCPUs do the same */
	if (!__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED))
		nap_ms(1);
	run->exit_reason = run_reason;
	run->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN;
	return __atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED) ? -EINTR : run_rc;
}

static void make_file(char *path, size_t size, const void *data, size_t len)
{
	(void)snprintf(path, 64, "/tmp/test_control.XXXXXX");
	int fd = mkstemp(path);
	cr_assert(fd >= 0 && io_write_full(fd, data, len) == 0 && ftruncate(fd, (off_t)size) == 0);
	(void)close(fd); /* written and checked */
}

/* The smallest arm64 Image: a header that asks for 64 KiB (booting.rst, section 4). */
static void make_kernel(void)
{
	uint8_t head[64] = { 0 };
	store_le64(head + 16, 64 * KIB);
	store_le64(head + 24, 2); /* 4 KiB pages, little endian */
	memcpy(head + 56, "ARM\x64", 4);
	make_file(kernel_path, 8192, head, sizeof(head));
}

static void fresh_vm(void)
{
	fake_kvm_reset();
	fake_kvm_on_run(run_guest, NULL);
	run_rc = -EINTR;
	cr_assert_eq(vm_create("vm-1", 0, &vm), 0);
}

static void end_vm(void)
{
	vm_destroy(vm);
	vm = NULL;
	cr_expect_eq(fake_kvm_open_fds(), 0, "KVM descriptors leak");
	cr_expect(fake_kvm_irqfds() == 0 && fake_kvm_ioeventfds() == 0, "eventfds stay in KVM");
}

static void setup(void)
{
	struct log_config quiet = { .has_log_path = true, .log_path = "/dev/null" };
	struct err e;
	cr_assert_eq(log_configure(&quiet, &e), 0);
	make_kernel();
	make_file(disk_path, MIB, "", 0);
	fresh_vm();
}

static void teardown(void)
{
	end_vm();
	(void)unlink(kernel_path);
	(void)unlink(disk_path);
}

TestSuite(control, .init = setup, .fini = teardown, .timeout = 60);

/* A valid request for each action. */
static void fill(struct vm_request *r, enum vm_action action)
{
	memset(r, 0, sizeof(*r));
	r->action = action;
	r->rc = 4711;
	switch (action) {
	case VM_PUT_MACHINE:
	case VM_PATCH_MACHINE:
		r->in.machine.has_vcpu_count = r->in.machine.has_mem_size_mib = true;
		r->in.machine.value.vcpu_count = 2;
		r->in.machine.value.mem_size_mib = 128;
		break;
	case VM_PUT_BOOT_SOURCE:
		(void)snprintf(r->in.boot.kernel_image_path, sizeof(r->in.boot.kernel_image_path),
			       "%s", kernel_path);
		break;
	case VM_PUT_DRIVE:
		(void)snprintf(r->in.drive.drive_id, sizeof(r->in.drive.drive_id), "d");
		(void)snprintf(r->in.drive.path_on_host, sizeof(r->in.drive.path_on_host), "%s",
			       disk_path);
		break;
	case VM_PUT_LOGGER:
		r->in.logger.has_level = true;
		r->in.logger.level = LOG_ERROR;
		break;
	default:
		break;
	}
}

static int execute(enum vm_action action)
{
	fill(&req, action);
	vm_execute(vm, &req);
	if (action == VM_GET_CONFIG && req.rc == 0)
		vm_config_fini(&req.out.config);
	return req.rc;
}

static void must(enum vm_action action)
{
	cr_assert_eq(execute(action), 0, "action %d: %s", action, req.err.text);
}

static void to_state(enum vm_state state)
{
	if (state == VM_NOT_STARTED)
		return;
	must(VM_PUT_BOOT_SOURCE);
	must(VM_START);
	if (state == VM_PAUSED)
		must(VM_PAUSE);
	if (state == VM_FAILED) {
		vm_pause(vm);
		vm->state = VM_FAILED;
	}
}

/* --- action x state --------------------------------------------------------------------------- */

#define AFTER  "The requested operation is not supported after starting the microVM."
#define BEFORE "The requested operation is not supported before starting the microVM."
#define FAILED \
	"Internal VMM error: The microVM has failed: see the log for the vCPU and the reason."
#define NO_KERNEL "Start microvm error: Cannot start microvm without kernel configuration."

Test(control, each_action_in_each_state)
{
	static const struct {
		enum vm_action action;
		const char *want[4]; /* not started, running, paused, failed; NULL: allowed */
	} rows[] = {
		{ VM_GET_INFO, { NULL, NULL, NULL, NULL } },
		{ VM_GET_CONFIG, { NULL, NULL, NULL, NULL } },
		{ VM_PUT_MACHINE, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PATCH_MACHINE, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PUT_BOOT_SOURCE, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PUT_DRIVE, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PUT_ENTROPY, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PUT_SERIAL, { NULL, AFTER, AFTER, AFTER } },
		{ VM_PUT_LOGGER, { NULL, AFTER, AFTER, AFTER } },
		{ VM_START, { NO_KERNEL, AFTER, AFTER, AFTER } },
		{ VM_PAUSE, { BEFORE, NULL, NULL, FAILED } },
		{ VM_RESUME, { BEFORE, NULL, NULL, FAILED } },
		{ VM_FLUSH_METRICS, { BEFORE, NULL, NULL, FAILED } },
	};
	cr_assert_eq(ARRAY_SIZE(rows), VM_ACTION_COUNT);
	for (enum vm_state state = VM_NOT_STARTED; state <= VM_FAILED; state++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			const char *want = rows[i].want[state];
			end_vm();
			fresh_vm();
			to_state(state);
			int rc = execute(rows[i].action);
			cr_expect_eq(rc == 0, want == NULL, "action %d in state %d: %d %s",
				     rows[i].action, state, rc, req.err.text);
			cr_expect_str_eq(req.err.text, want ? want : "", "action %d in state %d",
					 rows[i].action, state);
			if (want)
				cr_expect_eq(vm->state, state, "a refusal changes no state");
		}
	}
}

Test(control, states_follow_the_actions)
{
	static const struct {
		enum vm_action action;
		enum vm_state want;
	} steps[] = {
		{ VM_PUT_BOOT_SOURCE, VM_NOT_STARTED },
		{ VM_START, VM_RUNNING },
		{ VM_RESUME, VM_RUNNING },
		{ VM_PAUSE, VM_PAUSED },
		{ VM_PAUSE, VM_PAUSED },
		{ VM_FLUSH_METRICS, VM_PAUSED },
		{ VM_RESUME, VM_RUNNING },
		{ VM_PAUSE, VM_PAUSED },
	};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		must(steps[i].action);
		must(VM_GET_INFO);
		cr_expect_eq(req.out.info.state, steps[i].want, "step %zu", i);
		cr_expect_str_eq(req.out.info.id, "vm-1");
	}
}

/* --- configuration ---------------------------------------------------------------------------- */

Test(control, refusals_carry_their_prefix)
{
	fake_kvm_set_cap(KVM_CAP_MAX_VCPUS, 4);
	fill(&req, VM_PUT_MACHINE);
	req.in.machine.value.vcpu_count = 5;
	vm_execute(vm, &req);
	cr_expect_str_eq(req.err.text, "Machine config error: The vCPU number is invalid! "
				       "vcpu_count is 5, this host's KVM allows 1 to 4.");
	cr_expect_eq(vm->config.machine.vcpu_count, 1);

	fill(&req, VM_PUT_DRIVE);
	(void)snprintf(req.in.drive.path_on_host, sizeof(req.in.drive.path_on_host),
		       "/nonexistent");
	vm_execute(vm, &req);
	cr_expect_eq(
		strncmp(req.err.text, "Drive config error: Unable to create the virtio block ", 54),
		0, "%s", req.err.text);

	fill(&req, VM_PUT_LOGGER);
	req.in.logger.has_log_path = true;
	(void)snprintf(req.in.logger.log_path, sizeof(req.in.logger.log_path), "/nonexistent/log");
	vm_execute(vm, &req);
	cr_expect_str_eq(req.err.text, "Logger error: Failed to open target file /nonexistent/log: "
				       "No such file or directory (os error 2)");
	cr_expect_not(vm->config.has_logger);
}

Test(control, without_kvm_the_machine_can_still_be_configured)
{
	fake_kvm_fail("kvm_open", 1, EACCES);
	must(VM_PUT_MACHINE);
	cr_expect_eq(vm->config.machine.vcpu_count, 2);
}

Test(control, a_vcpu_count_that_only_the_start_can_judge_is_refused_there)
{
	fake_kvm_fail("kvm_open", 1, EACCES);
	fill(&req, VM_PUT_MACHINE);
	req.in.machine.value.vcpu_count = 0x80000001;
	vm_execute(vm, &req);
	cr_assert_eq(req.rc, 0, "%s", req.err.text);
	must(VM_PUT_BOOT_SOURCE);
	cr_expect_eq(execute(VM_START), -EINVAL);
	cr_expect(strstr(req.err.text, "vcpu_count is 2147483649, this host's KVM allows"), "%s",
		  req.err.text);
}

Test(control, boot_source_is_opened_at_once_and_all_or_nothing)
{
	static const struct {
		const char *kernel, *initrd, *args, *want;
	} rows[] = {
		{ "/nonexistent", NULL, NULL,
		  "Boot source error: The kernel file cannot be opened: "
		  "No such file or directory (os error 2) /nonexistent" },
		{ kernel_path, "/nonexistent", NULL,
		  "Boot source error: The initrd file cannot be opened due to invalid path or "
		  "invalid permissions. No such file or directory (os error 2) /nonexistent" },
		{ kernel_path, NULL, "caf\xc3\xa9",
		  "Boot source error: The kernel command line is invalid: boot_args has byte 0xc3 "
		  "at "
		  "position 3, only printable ASCII can be passed on" },
	};
	must(VM_PUT_BOOT_SOURCE);
	const int kernel_fd = vm->kernel_fd;
	cr_expect_geq(kernel_fd, 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fill(&req, VM_PUT_BOOT_SOURCE);
		struct boot_source_config *b = &req.in.boot;
		(void)snprintf(b->kernel_image_path, sizeof(b->kernel_image_path), "%s",
			       rows[i].kernel);
		b->has_initrd_path = rows[i].initrd != NULL;
		(void)snprintf(b->initrd_path, sizeof(b->initrd_path), "%s",
			       rows[i].initrd ? rows[i].initrd : "");
		b->has_boot_args = rows[i].args != NULL;
		(void)snprintf(b->boot_args, sizeof(b->boot_args), "%s",
			       rows[i].args ? rows[i].args : "");
		vm_execute(vm, &req);
		cr_expect_lt(req.rc, 0);
		cr_expect_str_eq(req.err.text, rows[i].want);
		cr_expect_eq(vm->kernel_fd, kernel_fd, "the former kernel stays");
		cr_expect_str_eq(vm->config.boot.kernel_image_path, kernel_path);
	}
}

static unsigned int count_fds(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");
	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

Test(control, a_boot_source_put_again_closes_the_former_files)
{
	must(VM_PUT_BOOT_SOURCE);
	const unsigned int before = count_fds();
	for (int i = 0; i < 5; i++)
		must(VM_PUT_BOOT_SOURCE);
	cr_expect_eq(count_fds(), before);
}

Test(control, a_copy_of_the_configuration_is_the_requesters)
{
	must(VM_PUT_DRIVE);
	fill(&req, VM_GET_CONFIG);
	vm_execute(vm, &req);
	cr_assert_eq(req.rc, 0);
	cr_expect(req.out.config.ndrives == 1 && req.out.config.drives != vm->config.drives);
	req.out.config.drives[0].drive_id[0] = 'x';
	cr_expect_str_eq(vm->config.drives[0].drive_id, "d");
	vm_config_fini(&req.out.config);
}

/* --- starts that fail ------------------------------------------------------------------------- */

/* Two vCPUs, a disk, entropy, a console, the boot timer: every kind of device there is. */
static void configure_everything(void)
{
	must(VM_PUT_MACHINE);
	must(VM_PUT_DRIVE);
	must(VM_PUT_ENTROPY);
	fill(&req, VM_PUT_SERIAL);
	req.in.serial.has_serial_out_path = true;
	(void)snprintf(req.in.serial.serial_out_path, sizeof(req.in.serial.serial_out_path),
		       "/dev/null");
	vm_execute(vm, &req);
	fill(&req, VM_PUT_BOOT_SOURCE);
	req.in.boot.has_boot_args = true;
	(void)snprintf(req.in.boot.boot_args, sizeof(req.in.boot.boot_args), "console=ttyS0");
	vm_execute(vm, &req);
	cr_assert_eq(req.rc, 0, "%s", req.err.text);
	vm->config.boot_timer = true;
}

static void configured_vm(void)
{
	end_vm();
	fresh_vm();
	configure_everything();
	kvm_close(&vm->kvm); /* the vCPU limit was asked for: else kvm_open is not called again */
}

static unsigned int calls_of_a_start(const char *function)
{
	configured_vm();
	const unsigned int before = fake_kvm_calls(function);
	must(VM_START);
	return fake_kvm_calls(function) - before;
}

/* The `nth` call of `function` fails, and with it the start. */
static void expect_clean_failure(const char *function, unsigned int nth)
{
	static struct vm_config before;
	configured_vm();
	before = vm->config;
	const unsigned int fds = count_fds(), marks = vm->timeline.n;
	fake_kvm_fail(function, nth, ENXIO);
	cr_assert_lt(execute(VM_START), 0, "%s %u", function, nth);
	cr_expect_eq(strncmp(req.err.text, "Start microvm error: ", 21), 0, "%s", req.err.text);
	cr_expect_gt(strlen(req.err.text), 40, "%s %u: says little: %s", function, nth,
		     req.err.text);
	cr_expect_eq(vm->state, VM_NOT_STARTED, "%s %u", function, nth);
	cr_expect_eq(fake_kvm_open_fds(), 0, "%s %u leaks from KVM", function, nth);
	cr_expect(fake_kvm_irqfds() == 0 && fake_kvm_ioeventfds() == 0, "%s %u", function, nth);
	cr_expect_eq(count_fds(), fds, "%s %u leaks descriptors", function, nth);
	cr_expect_eq(memcmp(&before, &vm->config, sizeof(before)), 0, "%s %u", function, nth);
	cr_expect_eq(vm->timeline.n, marks, "%s %u", function, nth);
	must(VM_START);
	cr_expect_eq(vm->state, VM_RUNNING, "%s %u: the next try", function, nth);
}

Test(control, a_start_that_fails_at_any_kvm_call_leaves_nothing_and_can_be_tried_again)
{
	static const char *const functions[] = {
		"kvm_open",
		"kvm_create_vm",
		"kvm_enable_cap",
		"kvm_set_memory",
		"kvm_create_vcpu",
		"kvm_preferred_target",
		"kvm_vcpu_init",
		"kvm_vcpu_set_reg",
		"kvm_vcpu_get_reg",
		"kvm_test_device",
		"kvm_create_device",
		"kvm_device_set_attr",
		"kvm_device_get_attr",
		"kvm_set_gsi_routing",
		"kvm_irqfd",
		"kvm_ioeventfd",
	};
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		const unsigned int calls = calls_of_a_start(functions[i]);
		cr_expect_gt(calls, 0, "%s is not called at all", functions[i]);
		for (unsigned int nth = 1; nth <= calls; nth++)
			expect_clean_failure(functions[i], nth);
	}
}

Test(control, a_kernel_that_is_none_fails_the_start_and_a_right_one_mends_it)
{
	char other[64];
	make_file(other, 8192, "\177ELF", 4);
	fill(&req, VM_PUT_BOOT_SOURCE);
	(void)snprintf(req.in.boot.kernel_image_path, sizeof(req.in.boot.kernel_image_path), "%s",
		       other);
	vm_execute(vm, &req);
	cr_assert_eq(req.rc, 0);
	cr_expect_lt(execute(VM_START), 0);
	cr_expect(strstr(req.err.text, other), "%s", req.err.text);
	(void)unlink(other);
	must(VM_PUT_BOOT_SOURCE);
	must(VM_START);
}

/* --- the mailbox ------------------------------------------------------------------------------ */

struct poster {
	struct mailbox *m;
	_Atomic unsigned int answers;
	_Atomic bool is_posting;
	int last_rc;
	char last_text[1024];
	bool until_failed;
};

/* Posts until it is refused; with `until_failed`, until the microVM has failed, and ends the loop. */
static void *post_for_ever(void *arg)
{
	static struct vm_request r;
	struct poster *p = arg;
	do {
		fill(&r, VM_GET_INFO);
		p->is_posting = true;
		mailbox_post(p->m, &r);
		p->answers++;
		if (p->until_failed && r.out.info.state == VM_FAILED)
			loop_stop(vm->loop, 9);
	} while (r.rc == 0);
	p->last_rc = r.rc;
	(void)snprintf(p->last_text, sizeof(p->last_text), "%s", r.err.text);
	return NULL;
}

static void expect_ended(const struct poster *p)
{
	cr_expect_eq(p->last_rc, -ESHUTDOWN, "%d", p->last_rc);
	cr_expect_str_eq(p->last_text, "The microVM has ended.");
}

static void *stop_later(void *arg)
{
	struct poster *p = arg;
	while (p->answers < 1000)
		nap_ms(1);
	loop_stop(vm->loop, 3);
	return NULL;
}

Test(control, the_mailbox_answers_each_post_and_refuses_when_closed)
{
	struct poster p = { 0 };
	pthread_t poster, stopper;
	cr_assert_eq(mailbox_create(vm, &p.m), 0);
	cr_assert_eq(pthread_create(&poster, NULL, post_for_ever, &p), 0);
	cr_assert_eq(pthread_create(&stopper, NULL, stop_later, &p), 0);
	cr_expect_eq(loop_run(vm->loop), 3);
	mailbox_close(p.m); /* while the poster posts */
	cr_assert_eq(pthread_join(poster, NULL), 0);
	cr_assert_eq(pthread_join(stopper, NULL), 0);
	cr_expect_geq(p.answers, 1000);
	expect_ended(&p);
	fill(&req, VM_GET_INFO);
	mailbox_post(p.m, &req); /* and once more, from whomever */
	cr_expect_eq(req.rc, -ESHUTDOWN);
	mailbox_destroy(p.m);
}

Test(control, closing_answers_a_poster_that_waits)
{
	struct poster p = { 0 };
	pthread_t poster;
	cr_assert_eq(mailbox_create(vm, &p.m), 0);
	cr_assert_eq(pthread_create(&poster, NULL, post_for_ever, &p), 0);
	while (!p.is_posting)
		nap_ms(1);
	nap_ms(10); /* most likely it waits by now; the loop never runs */
	mailbox_close(p.m);
	cr_assert_eq(pthread_join(poster, NULL), 0);
	cr_expect_eq(p.answers, 1);
	expect_ended(&p);
	mailbox_destroy(p.m);
	mailbox_destroy(NULL);
}

/* --- what vCPUs tell -------------------------------------------------------------------------- */

Test(control, a_failed_vcpu_fails_the_microvm_and_the_api_still_answers)
{
	struct poster p = { .until_failed = true };
	pthread_t poster;
	run_rc = -EFAULT;
	configure_everything();
	must(VM_START);
	cr_assert_eq(mailbox_create(vm, &p.m), 0);
	cr_assert_eq(pthread_create(&poster, NULL, post_for_ever, &p), 0);
	cr_expect_eq(loop_run(vm->loop), 9, "stopped by the poster, who saw the failure");
	mailbox_close(p.m);
	cr_assert_eq(pthread_join(poster, NULL), 0);
	cr_expect_eq(vm->state, VM_FAILED);
	cr_expect_eq(execute(VM_RESUME), -EIO);
	mailbox_destroy(p.m);
}

Test(control, a_guest_that_powers_off_ends_the_loop_with_code_0)
{
	run_rc = 0;
	run_reason = KVM_EXIT_SYSTEM_EVENT;
	must(VM_PUT_BOOT_SOURCE);
	must(VM_START);
	cr_expect_eq(loop_run(vm->loop), 0);
}
