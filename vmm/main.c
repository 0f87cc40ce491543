/*
 * The wick program: arguments, then a machine driven by the API, by a config file, or by both. The
 * main thread becomes the VMM thread. This file alone may name every layer.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "api/config_file.h"
#include "api/server.h"
#include "devices/serial.h"
#include "vmm/args.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/control.h"
#include "vmm/exit_codes.h"
#include "vmm/signals.h"
#include "vmm/vm.h"

/* What this process is made of; filled from the top, taken down from the bottom. */
struct process {
	struct args args;
	struct vm *vm;
	struct mailbox *mailbox;
	struct api_server *api;
};

static void print_version(void)
{
	(void)printf("Firecracker v%s\n\nwick v%s\n", WICK_API_VERSION, WICK_VERSION);
}

/* 1 to 64 letters, digits and hyphens: it becomes part of paths and log lines. */
static int check_id(const char *id, struct err *e)
{
	size_t len = strlen(id);
	if (len < 1 || len > 64)
		return err_set(e, -EINVAL,
			       "Invalid instance ID: Invalid len (%zu);  the length must be "
			       "between 1 and 64",
			       len);
	for (size_t i = 0; i < len; i++)
		if (!strchr("-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
			    id[i]))
			return err_set(e, -EINVAL,
				       "Invalid instance ID: Invalid char (%c) at position %zu",
				       id[i], i);
	return 0;
}

static int configure_log(const struct args *a, struct err *e)
{
	struct log_config c = { 0 };

	if (a->value[ARG_LEVEL]) {
		c.has_level = true;
		if (!log_level_parse(a->value[ARG_LEVEL], &c.level))
			return err_set(e, -EINVAL,
				       "Invalid value for logger level: %s.Possible values: "
				       "[Error, Warning, Info, Debug]",
				       a->value[ARG_LEVEL]);
	}
	c.has_log_path = a->is_set[ARG_LOG_PATH];
	if (c.has_log_path)
		(void)snprintf(c.log_path, sizeof(c.log_path), "%s", a->value[ARG_LOG_PATH]);
	c.has_show_level = c.show_level = a->is_set[ARG_SHOW_LEVEL];
	c.has_show_log_origin = c.show_log_origin = a->is_set[ARG_SHOW_LOG_ORIGIN];
	c.has_module = a->is_set[ARG_MODULE];
	if (c.has_module)
		(void)snprintf(c.module, sizeof(c.module), "%s", a->value[ARG_MODULE]);
	int rc = log_configure(&c, e);
	return rc < 0 ? err_prefix(e, rc, "Could not initialize logger: ") : 0;
}

/* The jailer's and other launchers' start times: checked now, used by the metrics. */
static int check_numbers(const struct args *a, struct err *e)
{
	static const enum arg numbers[] = { ARG_START_TIME_US, ARG_START_TIME_CPU_US,
					    ARG_PARENT_CPU_TIME_US, ARG_HTTP_API_MAX_PAYLOAD_SIZE };
	uint64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (!a->value[numbers[i]])
			continue;
		int rc = args_u64(a, numbers[i], &value, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Says why, both in the log and on stderr, as Firecracker does. */
static enum exit_code fail(enum exit_code code, const struct err *e)
{
	log_error("%s", e->text);
	(void)fprintf(stderr, "Error: %s\n", e->text);
	return code;
}

static void execute_in_place(void *arg, struct vm_request *r)
{
	vm_execute(arg, r);
}

static void execute_by_mailbox(void *arg, struct vm_request *r)
{
	mailbox_post(arg, r);
}

/* --config-file: configures and starts. `r` is large, so it is static: main thread only. */
static enum exit_code start_from_file(struct process *p, struct err *e)
{
	static struct vm_request r;

	if (config_file_apply(p->args.value[ARG_CONFIG_FILE], execute_in_place, p->vm, e) < 0)
		return fail(EXIT_CODE_BAD_CONFIGURATION, e);
	r.action = VM_START;
	vm_execute(p->vm, &r);
	if (r.rc < 0) {
		(void)err_set(e, r.rc, "Failed to build MicroVM from Json: %s", r.err.text);
		return fail(EXIT_CODE_GENERIC, e);
	}
	return EXIT_CODE_OK;
}

static int open_api(struct process *p, struct err *e)
{
	uint64_t max_payload;
	int rc = args_u64(&p->args, ARG_HTTP_API_MAX_PAYLOAD_SIZE, &max_payload, e);
	if (rc < 0)
		return rc;
	rc = mailbox_create(p->vm, &p->mailbox);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot create the API's mailbox");
	const struct api_config config = { .socket_path = p->args.value[ARG_API_SOCK],
					   .max_payload = max_payload };
	return api_server_create(&config, execute_by_mailbox, p->mailbox, &p->api, e);
}

static enum exit_code run(struct process *p)
{
	struct err e;
	enum exit_code code = EXIT_CODE_OK;

	if (!p->args.is_set[ARG_NO_API] && open_api(p, &e) < 0)
		return fail(EXIT_CODE_GENERIC, &e);
	if (p->args.is_set[ARG_CONFIG_FILE])
		code = start_from_file(p, &e);
	if (code != EXIT_CODE_OK)
		return code;
	if (p->api && api_server_start(p->api, &e) < 0)
		return fail(EXIT_CODE_GENERIC, &e);
	int rc = loop_run(p->vm->loop);
	if (rc < 0) {
		(void)err_set_os(&e, rc, "The event loop failed");
		return fail(EXIT_CODE_GENERIC, &e);
	}
	return (enum exit_code)rc;
}

static void take_down(struct process *p)
{
	if (p->mailbox)
		mailbox_close(p->mailbox);
	api_server_destroy(p->api);
	mailbox_destroy(p->mailbox);
	vm_destroy(p->vm);
	serial_restore_terminal();
}

static enum exit_code wick_main(int argc, char **argv, uint64_t start_us)
{
	struct process p = { 0 };
	struct err e;

	if (args_parse(argc, argv, &p.args, &e) < 0) {
		(void)err_prefix(&e, -EINVAL, "Arguments parsing error: ");
		enum exit_code code = fail(EXIT_CODE_ARGUMENTS, &e);
		(void)fprintf(stderr, "\nFor more information try --help.\n");
		return code;
	}
	if (p.args.is_set[ARG_HELP] || p.args.is_set[ARG_VERSION]) {
		print_version();
		if (p.args.is_set[ARG_HELP]) {
			(void)printf("\n");
			args_print_help();
		}
		(void)fflush(stdout); /* before the log's own writes */
		return EXIT_CODE_OK;
	}
	if (check_id(p.args.value[ARG_ID], &e) < 0 || check_numbers(&p.args, &e) < 0)
		return fail(EXIT_CODE_ARGUMENTS, &e);
	log_init(p.args.value[ARG_ID]);
	if (configure_log(&p.args, &e) < 0)
		return fail(EXIT_CODE_BAD_CONFIGURATION, &e);
	log_info("Running Firecracker v%s (wick v%s)", WICK_API_VERSION, WICK_VERSION);
	if (signals_install(&e) < 0)
		return fail(EXIT_CODE_GENERIC, &e);
	int rc = vm_create(p.args.value[ARG_ID], start_us, &p.vm);
	if (rc < 0) {
		(void)err_set_os(&e, rc, "Cannot create the microVM");
		return fail(EXIT_CODE_GENERIC, &e);
	}
	p.vm->config.boot_timer = p.args.is_set[ARG_BOOT_TIMER];
	timeline_mark(&p.vm->timeline, "process start");
	enum exit_code code = run(&p);
	take_down(&p);
	return code;
}

/*
 * A launcher may have closed stdin, stdout or stderr. The next descriptors to be opened, KVM's among them, would
 * take their numbers, and the log would write into those: so something harmless holds the places. An epoll
 * instance answers every read and write with EINVAL, and unlike /dev/null it is there in any jail.
 */
static void occupy_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)epoll_create1(0); /* the lowest free number: this one */
}

int main(int argc, char **argv)
{
	const uint64_t start_us = clock_monotonic_us();

	occupy_standard_fds();
	/* One heap for all threads: each arena more is memory per VM. */
	(void)mallopt(M_ARENA_MAX, 1);
	enum exit_code code = wick_main(argc, argv, start_us);
	if (code == EXIT_CODE_OK)
		log_info("Firecracker exiting successfully. exit_code=0");
	else
		log_error("Firecracker exiting with error. exit_code=%d", code);
	return code;
}
