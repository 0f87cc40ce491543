/*
 * The host's side of the UART (struct serial_sink, the terminal). Any thread, under the UART's
 * mutex, except serial_restore_terminal, which also runs in signal handlers.
 *
 * O_NONBLOCK belongs to the open file description, which a shell shares between all its children: a
 * monitor that sets it on its stdin and stdout (as Firecracker does) makes the terminal or pipe
 * non-blocking for everyone else on it, also after it is gone. So we open the same file once more
 * through /proc/self/fd and have a description of our own. Where that does not work (no /proc in a
 * jail, sockets, a terminal that is another user's) we ask poll() and then write no more than
 * cannot block.
 */
#include "devices/serial_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "devices/serial.h"
#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

enum { LAST_WORDS_ROUNDS = 10, LAST_WORDS_ROUND_MS = 50 };

static struct serial_metrics metrics;

struct serial_metrics *serial_metrics(void)
{
	return &metrics;
}

static void sink_open_stdout(struct serial_sink *k)
{
	struct stat st;
	if (fstat(STDOUT_FILENO, &st) < 0)
		return; /* started with stdout closed */
	k->fd = STDOUT_FILENO;
	if (S_ISREG(st.st_mode))
		return; /* never blocks, and its offset must stay shared with our log lines */
	int fd = io_reopen(STDOUT_FILENO, O_WRONLY);
	if (fd >= 0) {
		k->fd = fd;
		k->is_owned = true;
		return;
	}
	/* POLLOUT promises PIPE_BUF bytes on a pipe, but only one on a terminal or socket. */
	k->must_poll = true;
	k->max_write = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
}

int serial_sink_open(struct serial_sink *k, const char *path, struct err *e)
{
	const int flags = O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	k->fd = -1; /* field by field: the buffer stays untouched pages */
	k->max_write = SERIAL_SINK_SIZE;
	k->is_pollable = true;
	if (!path) {
		sink_open_stdout(k);
		return 0;
	}
	int fd = open(path, O_WRONLY | flags, 0644);
	/*
	 * ENXIO: a FIFO without a reader. Firecracker opens FIFOs for reading too, which succeeds:
	 * a reader that comes later finds up to a pipe's worth of output.
	 */
	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | flags, 0644);
	if (fd < 0)
		return err_set_os(e, -errno, "Cannot open the serial output %s", path);
	k->fd = fd;
	k->is_owned = true;
	return 0;
}

static ssize_t sink_write(struct serial_sink *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLOUT };
	if (k->must_poll && poll(&p, 1, 0) <= 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(k->fd, k->buf, min_u64(k->len, k->max_write));
}

static void sink_drop_all(struct serial_sink *k)
{
	metric_add(&metrics.missed_write_count, k->len);
	k->len = 0;
}

void serial_sink_flush(struct serial_sink *k)
{
	char why[128];
	k->is_full = false;
	while (k->len && k->fd >= 0) {
		ssize_t n = sink_write(k);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			k->is_full = true;
			return;
		}
		if (n <= 0) { /* EPIPE: the reader left; ENOSPC; EIO: the terminal is gone */
			metric_add(&metrics.error_count, 1);
			log_guest(LOG_ERROR, "Serial output lost: %s",
				  err_os_text(errno, why, sizeof(why)));
			break;
		}
		metric_add(&metrics.flush_count, 1);
		metric_add(&metrics.write_count, (uint64_t)n);
		k->len -= (size_t)n;
		memmove(k->buf, k->buf + n, k->len);
	}
	sink_drop_all(k);
}

void serial_sink_try(struct serial_sink *k)
{
	if (!k->is_full || !k->is_pollable)
		serial_sink_flush(k);
}

void serial_sink_put(struct serial_sink *k, uint8_t byte)
{
	if (k->len == sizeof(k->buf))
		serial_sink_try(k);
	if (k->len == sizeof(k->buf)) {
		metric_add(&metrics.missed_write_count, 1);
		return;
	}
	k->buf[k->len++] = byte;
}

void serial_sink_close(struct serial_sink *k)
{
	if (k->fd < 0)
		return;
	serial_sink_flush(k);
	for (int i = 0; i < LAST_WORDS_ROUNDS && k->is_full; i++) {
		struct pollfd p = { .fd = k->fd, .events = POLLOUT };
		(void)poll(&p, 1, LAST_WORDS_ROUND_MS); /* the flush finds out how it went */
		serial_sink_flush(k);
	}
	sink_drop_all(k);
	if (k->is_owned)
		close_fd(&k->fd);
	k->fd = -1;
}

/* The terminal's own mode; valid while terminal_is_raw. Written before the flag is set. */
static struct termios terminal_saved;
static atomic_bool terminal_is_raw;

/* A job in the background that touches the terminal's mode or reads it would be stopped. */
static bool terminal_is_foreground(void)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);
	return group < 0 || group == getpgrp(); /* < 0: not our controlling terminal */
}

static void terminal_make_raw(void)
{
	struct termios t;
	if (atomic_load(&terminal_is_raw) || tcgetattr(STDIN_FILENO, &t) < 0)
		return;
	terminal_saved = t;
	atomic_store(&terminal_is_raw, true); /* before the change: a signal between restores it */
	/*
	 * Every key goes to the guest as it is, ^C, ^S and ^V included. Output processing stays on:
	 * log lines share the screen and end in a bare newline.
	 */
	t.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | ISTRIP | IXON | BRKINT | PARMRK);
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL | ISIG | IEXTEN);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0)
		atomic_store(&terminal_is_raw, false);
}

void serial_restore_terminal(void)
{
	sigset_t ttou, old;
	if (!atomic_exchange(&terminal_is_raw, false))
		return;
	/* In the background by now? Then SIGTTOU would stop us on our way out. */
	(void)sigemptyset(&ttou);
	(void)sigaddset(&ttou, SIGTTOU);
	(void)pthread_sigmask(SIG_BLOCK, &ttou, &old);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved); /* gone: nothing to restore */
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int serial_source_open(bool *ret_owned)
{
	struct stat st;
	bool is_tty = isatty(STDIN_FILENO);
	*ret_owned = false;
	if (fstat(STDIN_FILENO, &st) < 0 || (!is_tty && !S_ISFIFO(st.st_mode)))
		return -1;
	if (is_tty && !terminal_is_foreground()) {
		log_info("stdin is the terminal of another job: no console input.");
		return -1;
	}
	if (is_tty)
		terminal_make_raw();
	int fd = io_reopen(STDIN_FILENO, O_RDONLY);
	*ret_owned = fd >= 0;
	return fd >= 0 ? fd : STDIN_FILENO;
}
