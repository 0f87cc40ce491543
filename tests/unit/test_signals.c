/* vmm/signals.c: what each signal does to a process, seen from its parent. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/exit_codes.h"
#include "vmm/signals.h"

TestSuite(signals, .timeout = 60);

/* --- a child whose stdout, and so its log, is a pipe ------------------------------------------ */

struct child {
	pid_t pid;
	int out;
	int status;
	char text[4096];
};

/* The child runs `body` with the handlers installed, then exits with 77. */
static void child_start(struct child *c, void (*body)(int), int arg)
{
	int p[2];
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	*c = (struct child){ .pid = fork() };
	cr_assert_geq(c->pid, 0);
	if (c->pid == 0) {
		struct err e;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process is left behind */
		if (dup2(p[1], STDOUT_FILENO) < 0 || signals_install(&e) < 0)
			_exit(99);
		(void)close(p[0]);
		(void)close(p[1]);
		body(arg);
		_exit(77);
	}
	(void)close(p[1]);
	c->out = p[0];
}

/* All it said, and how it ended; one that hangs is killed. */
static void child_end(struct child *c)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	pid_t gone = 0;
	for (int i = 0; i < 500 && gone == 0; i++) { /* 5 s */
		gone = waitpid(c->pid, &c->status, WNOHANG);
		if (gone == 0)
			(void)nanosleep(&nap, NULL); /* a shorter one costs a round */
	}
	if (gone == 0) {
		(void)kill(c->pid, SIGKILL);
		gone = waitpid(c->pid, &c->status, 0);
	}
	cr_assert_eq(gone, c->pid);
	ssize_t n = io_read_full(c->out, c->text, sizeof(c->text) - 1);
	c->text[n > 0 ? n : 0] = '\0';
	(void)close(c->out);
}

static void raise_it(int number)
{
	(void)raise(number);
}

static void raise_blocked_too(int number)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM); /* some other signal blocked changes nothing */
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)raise(number);
}

/* --- fatal ones ------------------------------------------------------------------------------- */

static const struct fatal_row {
	int number;
	int code;
} fatal[] = {
	{ SIGSYS, 148 },  { SIGBUS, 149 }, { SIGSEGV, 150 }, { SIGXFSZ, 151 },
	{ SIGXCPU, 154 }, { SIGHUP, 156 }, { SIGILL, 157 },
};

Test(signals, a_fatal_signal_logs_a_line_and_exits_with_its_code)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
		struct child c;
		char want[80];
		child_start(&c, i % 2 ? raise_blocked_too : raise_it, fatal[i].number);
		child_end(&c);
		(void)snprintf(want, sizeof(want),
			       "Shutting down VM after intercepting signal %d, code %d.\n",
			       fatal[i].number, SI_TKILL);
		cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == fatal[i].code,
			  "signal %d: status 0x%x", fatal[i].number, c.status);
		cr_expect_eq(strncmp(c.text, want, strlen(want)), 0, "signal %d: %s",
			     fatal[i].number, c.text);
	}
}

static void touch_forbidden_page(int arg)
{
	(void)arg; /* which page is nobody's choice */
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*page = 1;
}

static void touch_behind_a_file(int arg)
{
	char path[] = "/tmp/test_signals.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	(void)arg; /* which file is nobody's choice */
	(void)unlink(path);
	volatile char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*page = 1;
}

static void *touch_in_thread(void *arg)
{
	touch_forbidden_page(0);
	return arg;
}

static void fault_on_another_thread(int arg)
{
	pthread_t t;
	(void)arg; /* one other thread */
	if (pthread_create(&t, NULL, touch_in_thread, NULL) == 0)
		(void)pthread_join(t, NULL); /* never returns */
}

/* As a seccomp filter with action trap does it. */
static void call_what_is_forbidden(int number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(98);
	(void)syscall(number, 0, 0);
}

Test(signals, real_faults_say_what_they_were)
{
	static const struct {
		const char *claim;
		void (*body)(int);
		int arg, code;
		const char *text;
	} rows[] = {
		{ "a forbidden page", touch_forbidden_page, 0, 150, "signal 11, code 2.\n" },
		{ "on another thread", fault_on_another_thread, 0, 150, "signal 11, code 2.\n" },
		{ "behind a file's end", touch_behind_a_file, 0, 149, "signal 7, code 2.\n" },
		{ "a forbidden system call", call_what_is_forbidden, SYS_sethostname, 148,
		  "intercepting a bad syscall (" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct child c;
		child_start(&c, rows[i].body, rows[i].arg);
		child_end(&c);
		cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == rows[i].code,
			  "%s: status 0x%x", rows[i].claim, c.status);
		cr_expect(strstr(c.text, rows[i].text), "%s: %s", rows[i].claim, c.text);
		if (rows[i].code == 148) {
			char nr[32];
			(void)snprintf(nr, sizeof(nr), "bad syscall (%d).\n", SYS_sethostname);
			cr_expect(strstr(c.text, nr), "its number: %s", c.text);
		}
	}
}

Test(signals, exit_codes_are_the_contracts)
{
	cr_expect_eq(EXIT_CODE_BAD_CONFIGURATION, 152);
	cr_expect_eq(EXIT_CODE_ARGUMENTS, 153);
	cr_expect_eq(EXIT_CODE_UNEXPECTED, 2);
	cr_expect_eq(EXIT_CODE_GENERIC, 1);
}

/* --- SIGTERM and SIGINT ----------------------------------------------------------------------- */

static void wait_for_a_signal(int arg)
{
	(void)arg; /* whichever comes */
	log_info("ready");
	for (;;)
		(void)pause();
}

static void wait_until_ready(struct child *c)
{
	char byte;
	do
		cr_assert_eq(read(c->out, &byte, 1), 1);
	while (byte != '\n');
}

Test(signals, sigterm_and_sigint_kill_as_by_default)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGQUIT, SIGABRT, SIGTRAP, SIGFPE };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct child c;
		child_start(&c, wait_for_a_signal, 0);
		wait_until_ready(&c);
		cr_assert_eq(kill(c.pid, numbers[i]), 0);
		child_end(&c);
		cr_expect(WIFSIGNALED(c.status) && WTERMSIG(c.status) == numbers[i],
			  "signal %d: status 0x%x", numbers[i], c.status);
		cr_expect_str_eq(c.text, "");
	}
}

/* In a process of its own, which can make no other children after that. */
static void terminate_pid_1(int arg)
{
	int status = 0;
	if (unshare(CLONE_NEWPID) < 0)
		_exit(errno == EPERM ? 77 : 98); /* not root: nothing to see here */
	pid_t pid = fork();                      /* the namespace's first; it has our handlers */
	if (pid == 0)
		wait_for_a_signal(arg);
	if (pid < 0 || kill(pid, SIGTERM) < 0 || waitpid(pid, &status, 0) != pid)
		_exit(98);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 77 : 97);
}

Test(signals, sigterm_ends_pid_1_with_code_0)
{
	struct child c;
	child_start(&c, terminate_pid_1, 0);
	child_end(&c);
	cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 77, "status 0x%x", c.status);
}

/* --- SIGPIPE ---------------------------------------------------------------------------------- */

static void write_to_a_broken_pipe(int arg)
{
	int p[2];
	(void)arg; /* one write */
	if (pipe(p) < 0 || close(p[0]) < 0)
		_exit(98);
	if (write(p[1], "x", 1) != -1 || errno != EPIPE)
		_exit(97);
	log_info("and on it goes");
}

Test(signals, sigpipe_is_logged_only)
{
	struct child c;
	char want[64];
	child_start(&c, write_to_a_broken_pipe, 0);
	child_end(&c);
	(void)snprintf(want, sizeof(want), "Received signal %d, code %d.\n", SIGPIPE, SI_USER);
	cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 77, "status 0x%x", c.status);
	cr_expect_eq(strncmp(c.text, want, strlen(want)), 0, "%s", c.text);
	cr_expect(strstr(c.text, "] and on it goes\n"), "%s", c.text);
}

/* A guest's console whose reader has left raises it with every line the guest prints. */
static void write_often_to_a_broken_pipe(int arg)
{
	int p[2];
	if (pipe(p) < 0 || close(p[0]) < 0)
		_exit(98);
	for (int i = 0; i < arg; i++)
		if (write(p[1], "x", 1) != -1 || errno != EPIPE)
			_exit(97);
	errno = ENOTTY;
	if (raise(SIGPIPE) != 0 || errno != ENOTTY)
		_exit(96);
}

Test(signals, a_flood_of_sigpipe_does_not_fill_the_log)
{
	struct child c;
	unsigned int lines = 0;
	child_start(&c, write_often_to_a_broken_pipe, 100);
	child_end(&c);
	cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 77, "status 0x%x", c.status);
	for (const char *p = c.text; (p = strstr(p, "Received signal 13")); p++)
		lines++;
	cr_expect_eq(lines, 10, "%u lines for 101 signals", lines);
}

/* Its handler must not write to the pipe that raised it: that would raise it again, for ever. */
static void log_to_a_broken_stdout(int arg)
{
	int p[2];
	(void)arg; /* stdout */
	if (pipe(p) < 0 || dup2(p[1], STDOUT_FILENO) < 0 || close(p[0]) < 0 || close(p[1]) < 0)
		_exit(98);
	for (int i = 0; i < 3; i++)
		log_info("nobody reads this");
	(void)raise(SIGPIPE);
	_exit(log_missed_count() >= 3 ? 77 : 97);
}

static void log_to_a_fifo_whose_reader_left(int arg)
{
	struct log_config config = { .has_log_path = true };
	struct err e;
	(void)snprintf(config.log_path, sizeof(config.log_path), "/tmp/test_signals.%d", getpid());
	if (arg != 0 || mkfifo(config.log_path, 0600) < 0)
		_exit(98);
	int reader = open(config.log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int rc = log_configure(&config, &e);
	(void)unlink(config.log_path);
	if (rc < 0 || close(reader) < 0)
		_exit(98);
	for (int i = 0; i < 3; i++)
		log_info("nobody reads this");
	_exit(log_missed_count() >= 3 ? 77 : 97);
}

Test(signals, a_log_whose_reader_has_left_costs_lines_and_nothing_else)
{
	void (*const bodies[])(int) = { log_to_a_broken_stdout, log_to_a_fifo_whose_reader_left };
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct child c;
		child_start(&c, bodies[i], 0);
		child_end(&c);
		cr_expect(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 77, "row %zu: 0x%x", i,
			  c.status);
	}
}
