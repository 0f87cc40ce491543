/*
 * Signal handlers: async-signal-safe only, on whichever thread the signal hits. They format without
 * stdio, write one log line, give the terminal back and leave.
 */
#include "vmm/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/serial.h"
#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/exit_codes.h"

static const struct fatal_signal {
	int number;
	enum exit_code code;
} fatal_signals[] = {
	{ SIGSYS, EXIT_CODE_SIGSYS },   { SIGBUS, EXIT_CODE_SIGBUS },
	{ SIGSEGV, EXIT_CODE_SIGSEGV }, { SIGXFSZ, EXIT_CODE_SIGXFSZ },
	{ SIGXCPU, EXIT_CODE_SIGXCPU }, { SIGHUP, EXIT_CODE_SIGHUP },
	{ SIGILL, EXIT_CODE_SIGILL },
};

/* These end us as by default, once the terminal is back. (SIGKILL is beyond anybody.) */
static const int terminating_signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGABRT, SIGTRAP, SIGFPE };

/* Appends text and a decimal number; `out` has room for any line made here. */
static char *put_text(char *out, const char *text)
{
	size_t n = strlen(text);
	memcpy(out, text, n);
	return out + n;
}

static char *put_number(char *out, long value)
{
	char digits[24];
	size_t n = 0;
	unsigned long v = value < 0 ? -(unsigned long)value : (unsigned long)value;
	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	if (value < 0)
		*out++ = '-';
	while (n)
		*out++ = digits[--n];
	return out;
}

static void log_signal(const char *head, const siginfo_t *info)
{
	char line[160];
	char *p = put_text(line, head);
	p = put_number(p, info->si_signo);
	p = put_text(p, ", code ");
	p = put_number(p, info->si_code);
	p = put_text(p, ".");
	*p = '\0';
	log_write_from_signal(LOG_ERROR, line);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
	(void)context;
	log_signal("Shutting down VM after intercepting signal ", info);
	if (number == SIGSYS) {
		char line[96];
		char *p = put_text(line, "Shutting down VM after intercepting a bad syscall (");
		p = put_number(p, info->si_syscall);
		p = put_text(p, ").");
		*p = '\0';
		log_write_from_signal(LOG_ERROR, line);
	}
	serial_restore_terminal();
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		if (fatal_signals[i].number == number)
			_exit(fatal_signals[i].code);
	_exit(EXIT_CODE_UNEXPECTED);
}

enum { PIPE_LINES = 10 };
#define PIPE_WINDOW_NS UINT64_C(5000000000)

/*
 * As log_guest's budget, without its lock: a guest raises SIGPIPE with each line it prints once the
 * console's reader has left. Relaxed: a line more or less where two threads begin a window at once.
 */
static bool may_log_pipe(void)
{
	static _Atomic uint64_t window_ns;
	static _Atomic unsigned int lines;
	const uint64_t now = clock_monotonic_ns();
	uint64_t start = atomic_load_explicit(&window_ns, memory_order_relaxed);

	if (now - start >= PIPE_WINDOW_NS &&
	    atomic_compare_exchange_strong(&window_ns, &start, now))
		atomic_store_explicit(&lines, 0, memory_order_relaxed);
	return atomic_fetch_add_explicit(&lines, 1, memory_order_relaxed) < PIPE_LINES;
}

static void on_pipe(int number, siginfo_t *info, void *context)
{
	const int interrupted = errno; /* whoever is interrupted may be about to look at it */
	(void)number;
	(void)context;
	if (may_log_pipe())
		log_signal("Received signal ", info);
	errno = interrupted;
}

/* SA_RESETHAND has put the default back: raising again kills us the way the parent expects. */
static void on_terminate(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	serial_restore_terminal();
	if (getpid() == 1 && (number == SIGTERM || number == SIGINT))
		_exit(EXIT_CODE_OK);
	(void)raise(number); /* blocked until this handler returns, delivered then */
}

static int install(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	sigfillset(&sa.sa_mask);
	return sigaction(number, &sa, NULL) < 0 ? -errno : 0;
}

int signals_install(struct err *e)
{
	int rc = install(SIGPIPE, on_pipe, SA_RESTART);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(fatal_signals); i++)
		rc = install(fatal_signals[i].number, on_fatal, 0);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(terminating_signals); i++)
		rc = install(terminating_signals[i], on_terminate, SA_RESETHAND);
	return rc < 0 ? err_set_os(e, rc, "Failed to register signal handlers") : 0;
}
