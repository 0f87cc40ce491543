/*
 * devices/serial_host.c and how serial.c uses it: input and output on real pipes, FIFOs, sockets,
 * files and a pseudo terminal. The loop runs on a thread of its own, as in the monitor; the test's
 * thread is the vCPU.
 */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "devices/serial.h"
#include "fakes/serial_rig.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/signals.h"

enum { SINK_BYTES = 16384 };

static int unread_bytes(int fd)
{
	int n = -1;
	cr_assert_eq(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

/* --- input ------------------------------------------------------------------------- */

Test(serial_host, input_waits_in_the_pipe_until_the_guest_listens)
{
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	serial_rig_start_loop(&r);
	cr_assert_eq(write(r.in, "echo hi\n", 8), 8);
	serial_rig_put(&r, FCR, FIFO_ON);
	test_sleep_ms(30);
	cr_expect_eq(unread_bytes(r.in), 8, "a driver may still reset the FIFO");
	serial_rig_put(&r, MCR, RTS);
	cr_expect(serial_rig_becomes_ready(&r));
	for (const char *p = "echo hi\n"; *p; p++)
		cr_expect_eq(serial_rig_get(&r, RBR), *p);
	serial_rig_fini(&r);
}

Test(serial_host, a_polling_guest_is_listening)
{
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	serial_rig_start_loop(&r);
	cr_assert_eq(write(r.in, "k", 1), 1);
	cr_expect(serial_rig_becomes_ready(&r)); /* reads LSR and nothing else */
	cr_expect_eq(serial_rig_get(&r, RBR), 'k');
	serial_rig_fini(&r);
}

Test(serial_host, a_full_fifo_leaves_the_rest_in_the_pipe_without_spinning)
{
	struct serial_rig r;
	char text[101], got[101] = "";
	for (int i = 0; i < 100; i++)
		text[i] = (char)('!' + i % 90);
	text[100] = '\0';
	serial_rig_init_pipes(&r);
	serial_rig_start_loop(&r);
	serial_rig_put(&r, FCR, 0xc1);
	serial_rig_put(&r, IER, 0x01);
	cr_assert_eq(write(r.in, text, 100), 100);
	for (int ms = 0; ms < SERIAL_RIG_PATIENCE_MS && unread_bytes(r.in) != 84; ms++)
		test_sleep_ms(1);
	uint64_t cpu = clock_process_cpu_us();
	test_sleep_ms(200);
	cr_expect_lt(clock_process_cpu_us() - cpu, 100000, "the loop must sleep while it is full");
	cr_expect_eq(unread_bytes(r.in), 84);
	cr_expect_gt(serial_rig_pulses(), 0);
	for (int i = 0; i < 100; i++) {
		cr_assert(serial_rig_becomes_ready(&r));
		got[i] = (char)serial_rig_get(&r, RBR);
	}
	cr_expect_str_eq(got, text);
	cr_expect_eq(metric_get(&serial_metrics()->read_count), 100);
	serial_rig_fini(&r);
}

Test(serial_host, at_end_of_input_the_loop_sleeps_and_output_goes_on)
{
	struct serial_rig r;
	char buf[8];
	const struct log_config quiet = { .has_level = true, .level = LOG_ERROR };
	cr_assert_eq(log_configure(&quiet, NULL), 0); /* the log shares stdout with the console */
	serial_rig_init_pipes(&r);
	serial_rig_start_loop(&r);
	serial_rig_put(&r, MCR, RTS);
	cr_assert_eq(write(r.in, "z", 1), 1);
	cr_assert_eq(close(r.in), 0);
	cr_expect(serial_rig_becomes_ready(&r));
	cr_expect_eq(serial_rig_get(&r, RBR), 'z');
	test_sleep_ms(20);
	uint64_t cpu = clock_process_cpu_us();
	test_sleep_ms(200);
	cr_expect_lt(clock_process_cpu_us() - cpu, 100000);
	serial_rig_put_text(&r, "ok\n");
	cr_expect_eq(test_read_within(r.out, buf, sizeof(buf), 3), 3);
	serial_rig_fini(&r);
}

Test(serial_host, a_regular_file_is_no_input)
{
	struct serial_rig r;
	int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	test_replace_fd(file, STDIN_FILENO);
	serial_rig_init(&r, NULL);
	serial_rig_start_loop(&r);
	serial_rig_put(&r, MCR, RTS);
	test_sleep_ms(30);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	cr_expect_eq(lseek(STDIN_FILENO, 0, SEEK_CUR), 0);
	serial_rig_fini(&r);
}

/* --- output ------------------------------------------------------------------------ */

Test(serial_host, a_line_is_out_when_its_newline_is)
{
	struct serial_rig r;
	char buf[64] = "";
	serial_rig_init_pipes(
		&r); /* no loop runs: nothing but the guest's own access can have written */
	serial_rig_put_text(&r, "Linux version\n");
	cr_expect_eq(read(r.out, buf, sizeof(buf)), 14);
	cr_expect_str_eq(buf, "Linux version\n");
	cr_expect_eq(metric_get(&serial_metrics()->flush_count), 1, "one write for the line");
	cr_expect_eq(metric_get(&serial_metrics()->write_count), 14);
	serial_rig_fini(&r);
}

Test(serial_host, an_echo_is_out_when_the_handler_is_done)
{
	struct serial_rig r;
	char buf[8] = "";
	serial_rig_init_pipes(&r);
	serial_rig_put(&r, THR, 'k');
	cr_expect_eq(serial_rig_get(&r, IIR), 0x01);
	cr_expect_eq(read(r.out, buf, sizeof(buf)), 1);
	cr_expect_str_eq(buf, "k");
	serial_rig_fini(&r);
}

Test(serial_host, a_polled_prompt_is_out_soon)
{
	struct serial_rig r;
	char buf[8] = "";
	serial_rig_init_pipes(&r);
	serial_rig_start_loop(&r);
	serial_rig_put_text(&r, "$ ");
	uint64_t start = clock_monotonic_us();
	cr_expect_eq(test_read_within(r.out, buf, sizeof(buf), 2), 2);
	cr_expect_lt(clock_monotonic_us() - start, 1000000, "20 ms and what a busy host adds");
	cr_expect_str_eq(buf, "$ ");
	serial_rig_fini(&r);
}

Test(serial_host, what_is_held_is_written_at_the_end)
{
	struct serial_rig r;
	char buf[16] = "";
	serial_rig_init_pipes(&r);
	serial_rig_put_text(&r, "panic");
	serial_rig_fini(&r);
	cr_expect_eq(read(r.out, buf, sizeof(buf)), 5);
	cr_expect_str_eq(buf, "panic");
}

Test(serial_host, a_full_pipe_does_not_stop_the_guest_and_loses_only_what_exceeds_the_buffer)
{
	enum { EXTRA = 1000 };
	static char got[SINK_BYTES + 1];
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	cr_assert_eq(fcntl(r.out, F_SETPIPE_SZ, 4096), 4096);
	static const char full[4096];
	cr_assert_eq(write(STDOUT_FILENO, full, sizeof(full)), sizeof(full));
	serial_rig_start_loop(&r);
	for (int i = 0; i < SINK_BYTES + EXTRA; i++)
		serial_rig_put(&r, THR, i % 64 == 63 ? '\n' : (uint8_t)('0' + i % 64));
	cr_expect_eq(metric_get(&serial_metrics()->missed_write_count), EXTRA);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	cr_assert_eq(test_read_within(r.out, got, sizeof(full), sizeof(full)), sizeof(full));
	cr_assert_eq(test_read_within(r.out, got, sizeof(got), SINK_BYTES), SINK_BYTES);
	for (int i = 0; i < SINK_BYTES; i++)
		cr_assert_eq(got[i], i % 64 == 63 ? '\n' : '0' + i % 64, "byte %d", i);
	serial_rig_put_text(&r, "on\n");
	cr_expect_eq(test_read_within(r.out, got, sizeof(got), 3), 3);
	serial_rig_fini(&r);
}

Test(serial_host, a_reader_that_left_costs_an_error_not_the_process)
{
	struct serial_rig r;
	(void)signal(SIGPIPE, SIG_IGN); /* as main.c does */
	serial_rig_init_pipes(&r);
	cr_assert_eq(close(r.out), 0);
	serial_rig_put_text(&r, "lost\n");
	cr_expect_eq(metric_get(&serial_metrics()->error_count), 1);
	cr_expect_eq(metric_get(&serial_metrics()->missed_write_count), 5);
	serial_rig_fini(&r);
}

Test(serial_host, stdin_and_stdout_stay_blocking_for_everyone_else)
{
	struct serial_rig r;
	serial_rig_init_pipes(&r);
	cr_expect_eq(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, 0);
	cr_expect_eq(fcntl(STDIN_FILENO, F_GETFL) & O_NONBLOCK, 0);
	serial_rig_fini(&r);
}

Test(serial_host, a_socket_cannot_be_reopened_and_still_never_blocks)
{
	int pair[2];
	static char got[4096];
	struct serial_rig r;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	test_replace_fd(pair[1], STDOUT_FILENO);
	serial_rig_init(&r, NULL);
	cr_assert_eq(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	serial_rig_start_loop(&r);
	serial_rig_put_text(&r, "hello\n");
	cr_expect_eq(test_read_within(pair[0], got, sizeof(got), 6), 6);
	for (int i = 0; i < 300000; i++)
		serial_rig_put(&r, THR, i % 64 == 63 ? '\n' : 'x');
	cr_expect_gt(metric_get(&serial_metrics()->missed_write_count), 0);
	serial_rig_fini(&r);
}

Test(serial_host, a_file_gets_exactly_what_the_guest_wrote_behind_what_it_had)
{
	char path[] = "/tmp/test_serial.XXXXXX", got[64] = "";
	int fd = mkstemp(path);
	struct serial_rig r;
	cr_assert_eq(write(fd, "old\n", 4), 4);
	serial_rig_init(&r, path);
	serial_rig_start_loop(&r);
	serial_rig_put_text(&r, "new line\nrest \xff");
	serial_rig_fini(&r);
	cr_expect_eq(pread(fd, got, sizeof(got), 0), 19);
	cr_expect_str_eq(got, "old\nnew line\nrest \xff");
	cr_expect_eq(unlink(path), 0);
}

Test(serial_host, a_fifo_without_reader_keeps_output_for_the_one_to_come)
{
	char path[64], got[16] = "";
	struct serial_rig r;
	(void)snprintf(path, sizeof(path), "/tmp/test_serial.%d.fifo", (int)getpid());
	cr_assert_eq(mkfifo(path, 0600), 0);
	serial_rig_init(&r, path);
	serial_rig_put_text(&r, "early\n");
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_expect_eq(read(fd, got, sizeof(got)), 6);
	cr_expect_str_eq(got, "early\n");
	serial_rig_fini(&r);
	cr_expect_eq(unlink(path), 0);
}

Test(serial_host, an_impossible_path_is_named)
{
	struct serial_rig r = { .in = -1, .out = -1 };
	cr_expect_eq(serial_rig_create(&r, "/nonexistent/console"), -ENOENT);
	cr_expect_str_eq(r.err.text, "Cannot open the serial output /nonexistent/console: "
				     "No such file or directory (os error 2)");
	cr_expect_null(r.uart);
	serial_rig_fini(&r);
}

Test(serial_host, a_taken_window_fails_and_leaves_its_owner_alone)
{
	static const struct bus_ops ops;
	const struct serial_config cfg = { .base = SERIAL_RIG_BASE };
	struct device *second = NULL;
	struct serial_rig r;
	serial_rig_init(&r, "/dev/null");
	cr_expect_eq(serial_device_ops.create(&r.env, &cfg, &second, &r.err), -EEXIST);
	cr_expect_null(second);
	cr_expect_eq(serial_rig_get(&r, LSR), 0x60);
	cr_expect_eq(bus_add(r.env.bus, SERIAL_RIG_BASE + 0x800, 1, &ops, NULL), -EEXIST);
	serial_rig_fini(&r);
}

/* --- the terminal ------------------------------------------------------------------ */

struct pty {
	int master;
	struct termios before;
};

static void pty_as_stdio(struct pty *p)
{
	int slave;
	cr_assert_eq(openpty(&p->master, &slave, NULL, NULL, NULL), 0);
	cr_assert_eq(dup2(slave, STDOUT_FILENO), STDOUT_FILENO);
	test_replace_fd(slave, STDIN_FILENO);
	cr_assert_eq(tcgetattr(STDIN_FILENO, &p->before), 0);
	cr_assert_eq(fcntl(p->master, F_SETFL, O_NONBLOCK), 0);
}

static void expect_mode(const struct termios *want, const char *when)
{
	struct termios now;
	cr_assert_eq(tcgetattr(STDIN_FILENO, &now), 0);
	cr_expect_eq(now.c_lflag, want->c_lflag, "%s", when);
	cr_expect_eq(now.c_iflag, want->c_iflag, "%s", when);
	cr_expect_eq(now.c_oflag, want->c_oflag, "%s", when);
}

Test(serial_host, the_terminal_is_raw_while_the_uart_lives)
{
	struct pty p;
	struct serial_rig r;
	struct termios raw;
	pty_as_stdio(&p);
	serial_rig_init(&r, NULL);
	cr_assert_eq(tcgetattr(STDIN_FILENO, &raw), 0);
	cr_expect_eq(raw.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
	cr_expect_eq(raw.c_iflag & (ICRNL | IXON), 0);
	cr_expect_eq(raw.c_oflag, p.before.c_oflag, "our log lines need their carriage returns");
	serial_rig_fini(&r);
	expect_mode(&p.before, "after destroy");
}

Test(serial_host, the_terminal_can_be_restored_early_and_often)
{
	struct pty p;
	struct serial_rig r;
	pty_as_stdio(&p);
	serial_restore_terminal();
	expect_mode(&p.before, "before there is a UART");
	serial_rig_init(&r, NULL);
	serial_restore_terminal();
	expect_mode(&p.before, "as a signal handler does it");
	serial_restore_terminal();
	serial_rig_fini(&r);
	expect_mode(&p.before, "after all");
}

Test(serial_host, a_failed_create_leaves_the_terminal_alone)
{
	const struct serial_config cfg = { .base = SERIAL_RIG_BASE };
	struct device *second = NULL;
	struct pty p;
	struct serial_rig r;
	pty_as_stdio(&p);
	serial_rig_init(&r, "/dev/null");
	cr_expect_eq(serial_device_ops.create(&r.env, &cfg, &second, &r.err), -EEXIST);
	expect_mode(&p.before, "after the failure");
	serial_rig_fini(&r);
}

Test(serial_host, keys_reach_the_guest_untouched_and_its_answer_the_screen)
{
	struct pty p;
	struct serial_rig r;
	char buf[16] = "";
	pty_as_stdio(&p);
	serial_rig_init(&r, NULL);
	serial_rig_start_loop(&r);
	serial_rig_put(&r, FCR, FIFO_ON);
	serial_rig_put(&r, MCR, RTS);
	cr_assert_eq(write(p.master, "\x03\r\x13\x11", 4), 4);
	for (const char *k = "\x03\r\x13\x11"; *k; k++) {
		cr_assert(serial_rig_becomes_ready(&r));
		cr_expect_eq(serial_rig_get(&r, RBR), *k);
	}
	serial_rig_put_text(&r, "~ # ");
	cr_expect_eq(test_read_within(p.master, buf, sizeof(buf), 4), 4);
	cr_expect_str_eq(buf, "~ # ", "and no echo before it");
	serial_rig_fini(&r);
}

/* --- ways out ----------------------------------------------------------------------------------- */

/* A child whose UART has made the terminal raw, with the monitor's signal handlers; says when it is so far. */
static _Noreturn void be_raw(int ready)
{
	struct serial_rig r;
	serial_rig_init(&r, NULL);
	if (signals_install(&r.err) < 0 || write(ready, "x", 1) != 1)
		_exit(98);
	for (;;)
		(void)pause();
}

Test(serial_host, every_signal_that_ends_the_process_gives_the_terminal_back)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGQUIT, SIGABRT, SIGTRAP, SIGFPE, SIGSEGV,
				       SIGBUS,  SIGILL, SIGHUP,  SIGSYS,  SIGXCPU, SIGXFSZ };
	struct pty p;
	pty_as_stdio(&p);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct termios raw;
		int ready[2], status;
		char byte, claim[32];
		cr_assert_eq(pipe(ready), 0);
		pid_t pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0)
			be_raw(ready[1]);
		cr_assert_eq(read(ready[0], &byte, 1), 1);
		cr_assert_eq(tcgetattr(STDIN_FILENO, &raw), 0);
		cr_expect_eq(raw.c_lflag & ICANON, 0, "it is raw before");
		cr_assert(kill(pid, numbers[i]) == 0 && waitpid(pid, &status, 0) == pid);
		(void)snprintf(claim, sizeof(claim), "after signal %d", numbers[i]);
		expect_mode(&p.before, claim);
		(void)close(ready[0]);
		(void)close(ready[1]);
	}
}
