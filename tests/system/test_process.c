/* What other programs see of the process: names, signals, exit codes, the socket, the log, memory, pauses. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

TestSuite(process, .fini = harness_end);

static struct wick *start_api(void)
{
	struct wick *w = WICK("--api-sock", "api.sock", "--log-path", "log");
	wick_wait_api(w);
	return w;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

Test(process, threads_have_firecrackers_names)
{
	static const char *const want[] = { "fc_api", "fc_vcpu 0", "fc_vcpu 1", "wick" };
	struct wick *w = boot(&(struct machine){ .guest = "hang", .args = "cpus=2", .vcpus = 2 });
	char *names[16];
	unsigned int n = 0;

	wick_wait_output(w, "HANGING");
	wick_wait_api(w);
	DIR *tasks = opendir(format("/proc/%d/task", w->pid));
	check(w, tasks, "no /proc/PID/task");
	for (struct dirent *d; (d = readdir(tasks));) {
		if (d->d_name[0] == '.')
			continue;
		struct text comm = read_file(format("/proc/%d/task/%s/comm", w->pid, d->d_name));
		comm.bytes[strcspn(comm.bytes, "\n")] = '\0';
		check(w, n < ARRAY_SIZE(names), "more than 16 threads");
		names[n++] = comm.bytes;
	}
	closedir(tasks);
	qsort(names, n, sizeof(names[0]), by_text);
	check(w, n == ARRAY_SIZE(want), "%u threads, the last is %s", n, names[n - 1]);
	for (unsigned int i = 0; i < n; i++)
		check(w, strcmp(names[i], want[i]) == 0, "a thread is called \"%s\", not \"%s\"",
		      names[i], want[i]);
}

/* --- signals ------------------------------------------------------------------------------------------------ */

Test(process, fatal_signals_have_their_exit_codes)
{
	static const struct {
		int number, code;
	} rows[] = {
		{ SIGSYS, 148 },  { SIGBUS, 149 }, { SIGSEGV, 150 }, { SIGXFSZ, 151 },
		{ SIGXCPU, 154 }, { SIGHUP, 156 }, { SIGILL, 157 },
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct wick *w = start_api();
		wick_signal(w, rows[i].number);
		int code = wick_wait_exit(w);
		check(w, code == rows[i].code, "signal %d gives exit code %d", rows[i].number,
		      code);
		struct text log = wick_log(w);
		expect_contains(w, log.bytes,
				format("Shutting down VM after intercepting signal %d, code 0.",
				       rows[i].number));
	}
}

Test(process, sigterm_and_sigint_kill_as_if_never_caught)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct wick *w = boot(&(struct machine){ .guest = "hang" });
		wick_wait_output(w, "HANGING");
		wick_signal(w, numbers[i]);
		int code = wick_wait_exit(w);
		check(w, code == 1000 + numbers[i], "signal %d gives %d", numbers[i], code);
	}
}

Test(process, sigpipe_is_only_logged)
{
	struct wick *w = start_api();
	wick_signal(w, SIGPIPE);
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Not started\"");
	struct text log = wick_log(w);
	expect_contains(w, log.bytes, "Received signal 13");
}

/* A client that goes away in the middle is no reason to end. */
Test(process, client_that_leaves_before_its_answer_harms_nobody)
{
	struct wick *w = start_api();
	for (unsigned int i = 0; i < 50; i++) {
		int fd = api_connect(w);
		send_text(w, fd, "GET /vm/config HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /");
		close(fd);
	}
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Not started\"");
}

static unsigned int count_fds(struct wick *w)
{
	unsigned int n = 0;
	DIR *fds = opendir(format("/proc/%d/fd", w->pid));
	check(w, fds, "no /proc/PID/fd");
	while (readdir(fds))
		n++;
	closedir(fds);
	return n;
}

/* SCM_RIGHTS with a request, as some clients send: served, and the descriptor goes nowhere. */
Test(process, descriptors_sent_with_a_request_are_not_kept)
{
	struct wick *w = start_api();
	expect_http(w, "GET", "/", NULL, 200);
	for (unsigned int i = 0; i < 20; i++) {
		char request[] = "GET / HTTP/1.1\r\n\r\n";
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = { 0 };
		struct iovec iov = { request, sizeof(request) - 1 };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.bytes,
				    .msg_controllen = sizeof(control.bytes) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		int sent = STDERR_FILENO;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &sent, sizeof(sent));
		int fd = api_connect(w);
		check(w, sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)iov.iov_len, "sendmsg: %s",
		      strerror(errno));
		struct response r = read_response(w, fd);
		check(w, r.status == 200, "status %d", r.status);
		close(fd);
	}
	/* The last connection may still be open there. */
	expect_http(w, "GET", "/", NULL, 200);
	unsigned int n = count_fds(w);
	check(w, n < 25, "%u descriptors are open", n);
}

/* --- the socket ----------------------------------------------------------------------------------------------- */

static void expect_socket_refused(const char *dir)
{
	static const char *const args[] = { "--api-sock", "api.sock", "--log-path", "log2", NULL };
	struct wick *w = wick_start_with(&(struct start_options){ .dir = dir }, args);
	int code = wick_wait_exit(w);
	check(w, code == 1, "exit code %d", code);
	expect_contains(
		w, w->err.bytes,
		"Failed to open the API socket at: api.sock. Check that it is not already used.");
}

/* Their numbers would go to KVM's or the loop's descriptors, and the log would be written into those. */
Test(process, closed_standard_descriptors_are_occupied)
{
	const struct start_options o = { .dir = make_dir(), .has_no_stdio = true };
	struct wick *w = wick_start_with(
		&o, (const char *const[]){ "--api-sock", "api.sock", "--log-path", "log", NULL });
	char target[64];

	int client = -1;
	for (int i = 0; client < 0 && i < 1000;
	     i++) { /* its stdout says nothing, not even its end */
		client = api_try_connect(w);
		usleep(20000);
	}
	check(w, client >= 0, "the API socket does not come");
	close(client);
	for (int fd = 0; fd <= 2; fd++) {
		ssize_t n =
			readlink(format("/proc/%d/fd/%d", w->pid, fd), target, sizeof(target) - 1);
		check(w, n > 0, "descriptor %d is not open", fd);
		target[n] = '\0';
		check(w, strcmp(target, "anon_inode:[eventpoll]") == 0, "descriptor %d is %s", fd,
		      target);
	}
	wick_signal(w, SIGTERM);
	check(w, wick_wait_exit(w) == 1000 + SIGTERM, "it did not end by SIGTERM");
}

Test(process, socket_in_use_is_refused_and_its_owner_goes_on)
{
	struct wick *w = start_api();
	expect_socket_refused(w->dir);
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "anonymous-instance");
}

Test(process, socket_stays_behind_and_a_stale_one_is_refused)
{
	struct wick *w = boot(&(struct machine){ .guest = "psci" });
	int code = wick_wait_exit(w);
	struct stat st;
	check(w, code == 0, "exit code %d", code);
	check(w, stat(format("%s/api.sock", w->dir), &st) == 0 && S_ISSOCK(st.st_mode),
	      "the socket is gone");
	expect_socket_refused(w->dir);
	check(w, stat(format("%s/api.sock", w->dir), &st) == 0 && S_ISSOCK(st.st_mode),
	      "the refused start has removed it");
}

Test(process, a_plain_file_in_the_sockets_place_is_refused_and_kept)
{
	const char *dir = make_dir();
	write_file(format("%s/api.sock", dir), "precious", 8);
	expect_socket_refused(dir);
	struct text t = read_file(format("%s/api.sock", dir));
	cr_assert_str_eq(t.bytes, "precious");
}

/* --- the command line -------------------------------------------------------------------------------------------- */

Test(process, version_names_the_api_level_first)
{
	struct wick *w = WICK("--version");
	int code = wick_wait_exit(w);
	check(w, code == 0, "exit code %d", code);
	const char *lines = "Firecracker v1.17.0\n\nwick v0.1.0\n";
	check(w, strncmp(w->out.bytes, lines, strlen(lines)) == 0, "\"%s\"", w->out.bytes);
}

Test(process, version_and_help_win_over_whatever_else_is_wrong)
{
	struct wick *w = WICK("--nonsense", "--version", "--level", "loud");
	int code = wick_wait_exit(w);
	check(w, code == 0 && strncmp(w->out.bytes, "Firecracker v1.17.0\n", 20) == 0,
	      "exit code %d", code);
	w = WICK("--nonsense", "--help");
	code = wick_wait_exit(w);
	check(w, code == 0, "exit code %d", code);
	expect_contains(w, w->out.bytes, "--config-file");
	expect_contains(w, w->out.bytes, "--http-api-max-payload-size");
}

Test(process, id_appears_in_api_and_log)
{
	struct wick *w = WICK("--api-sock", "api.sock", "--log-path", "log", "--id", "my-vm-7");
	wick_wait_api(w);
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"id\":\"my-vm-7\"");
	struct text log = wick_log(w);
	expect_contains(w, log.bytes, "[my-vm-7:");
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

/* 2080 aborts and every request are logged; nobody reads the FIFO. */
static void boot_with_fifo_log(bool has_idle_reader)
{
	const char *dir = make_dir();
	const char *json = machine_json(&(struct machine){ .guest = "unmapped", .args = "" });
	static const char *const args[] = { "--no-api",    "--level", "Trace",
					    "--log-path",  "fifo",    "--config-file",
					    "config.json", NULL };

	cr_assert_eq(mkfifo(format("%s/fifo", dir), 0600), 0);
	write_file(format("%s/config.json", dir), json, strlen(json));
	int reader = has_idle_reader
			     ? open(format("%s/fifo", dir), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
			     : -1;
	cr_assert(!has_idle_reader || reader >= 0);
	if (has_idle_reader) {
		/* Full to the last byte before wick writes its first line. */
		int writer = open(format("%s/fifo", dir), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		char filler[4096] = { 0 };
		while (write(writer, filler, sizeof(filler)) > 0)
			;
		cr_assert_eq(errno, EAGAIN);
		close(writer);
	}
	struct wick *w = wick_start_with(&(struct start_options){ .dir = dir }, args);
	int code = wick_wait_exit(w);
	check(w, code == 0, "exit code %d", code);
	check(w, memmem(w->out.bytes, w->out.len, "\nDONE\n", 6), "the guest has not said DONE");
	if (reader >= 0)
		close(reader);
}

Test(process, log_fifo_without_a_reader_does_not_block)
{
	boot_with_fifo_log(false);
}

Test(process, full_log_fifo_does_not_block)
{
	boot_with_fifo_log(true);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

Test(process, an_idle_3_gib_guest_costs_almost_nothing)
{
	struct wick *w = boot(&(struct machine){ .guest = "hang", .mem_mib = 3072 });
	wick_wait_output(w, "HANGING");
	uint64_t kib = wick_proc_status(w, "VmRSS"), size = wick_proc_status(w, "VmSize");
	/* The guest's image, stack and device tree: a few huge pages of 2 MiB at most. */
	check(w, kib < 24 * 1024, "resident memory is %llu kB", (unsigned long long)kib);
	check(w, size > 3072 * 1024, "the guest's memory is not mapped: VmSize is %llu kB",
	      (unsigned long long)size);
}

/* --- pauses ------------------------------------------------------------------------------------------------------- */

struct progress {
	size_t taken; /* bytes of output that were looked at */
	uint64_t n, other;
};

/* Every line must follow the one before. */
static void follow(struct wick *w, struct progress *p)
{
	wick_read_output(w);
	for (;;) {
		const char *line = w->out.bytes + p->taken;
		const char *end = memchr(line, '\n', w->out.len - p->taken);
		if (!end)
			return;
		unsigned long long n, other;
		p->taken += (size_t)(end - line) + 1;
		if (sscanf(line, "n=%llu other=%llu", &n, &other) != 2) {
			check(w, p->n == 0, "the guest says \"%.*s\"", (int)(end - line), line);
			continue;
		}
		check(w, n == p->n + 1, "after %llu comes %llu", (unsigned long long)p->n, n);
		check(w, other >= p->other, "the second vCPU has gone back");
		p->n = n;
		p->other = other;
	}
}

static void patch_state(struct wick *w, int fd, const char *state)
{
	const char *body = format("{\"state\": \"%s\"}", state);
	send_text(
		w, fd,
		format("PATCH /vm HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body));
	struct response r = read_response(w, fd);
	check(w, r.status == 204, "%s gives %d: %s", state, r.status, r.body.bytes);
}

static void until_progress(struct wick *w, struct progress *p, uint64_t lines)
{
	const int64_t started = now_ms();
	const uint64_t n = p->n + lines;
	while (p->n < n) {
		check(w, now_ms() - started < DEADLINE_S * 1000, "the guest stands still at n=%llu",
		      (unsigned long long)p->n);
		usleep(2000);
		follow(w, p);
	}
}

Test(process, two_hundred_pauses_lose_and_repeat_nothing)
{
	struct wick *w = boot(&(struct machine){ .guest = "count", .vcpus = 2 });
	struct progress p = { 0 };
	uint64_t other_before;

	wick_wait_api(w);
	int fd = api_connect(w);
	until_progress(w, &p, 2);
	other_before = p.other;
	for (unsigned int cycle = 0; cycle < 200; cycle++) {
		patch_state(w, fd, "Paused");
		follow(w, &p);
		if (cycle % 20 == 0) {
			/* Stopped is stopped: the lines it has finished so far are all. */
			const uint64_t n = p.n;
			expect_contains(w, expect_http(w, "GET", "/", NULL, 200),
					"\"state\":\"Paused\"");
			patch_state(w, fd, "Paused");
			usleep(30000);
			follow(w, &p);
			check(w, p.n == n, "a paused guest goes on");
		}
		patch_state(w, fd, "Resumed");
		if (cycle % 20 == 0) {
			patch_state(w, fd, "Resumed");
			until_progress(w, &p, 1);
		}
	}
	until_progress(w, &p, 2);
	check(w, p.other > other_before, "the second vCPU stands still");
	close(fd);
}

/* A vCPU that never leaves the guest by itself must be kicked out. */
Test(process, guest_that_never_exits_can_be_paused)
{
	struct wick *w = boot(&(struct machine){ .guest = "hang", .args = "cpus=2", .vcpus = 2 });
	wick_wait_output(w, "HANGING");
	for (unsigned int i = 0; i < 20; i++) {
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Paused\"}", 204);
		expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Paused\"");
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Resumed\"}", 204);
		expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Running\"");
	}
}
