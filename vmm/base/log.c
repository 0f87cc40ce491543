/*
 * The process's log. One mutex guards the configuration, the sink and the rate-limit windows; a
 * line is formatted on the caller's stack and written by one write(2), so lines never interleave.
 * The level is atomic (relaxed: a line more or less around a change is nobody's error), so that a
 * disabled level costs one load. Signal handlers take no lock: log_write_from_signal only writes to
 * the descriptor.
 */
#include "vmm/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/base/metric.h"

enum { LINE_MAX_BYTES = 2048, LIMIT_LINES = 10 };
#define LIMIT_WINDOW_NS UINT64_C(5000000000)

static const char *const level_names[] = { "OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

bool log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcasecmp(name, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	if (strcasecmp(name, "WARNING") != 0)
		return false;
	*ret = LOG_WARN;
	return true;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

static struct {
	pthread_mutex_t lock;
	_Atomic int fd; /* stdout, or our own way to it, until a path is given */
	_Atomic int level;
	bool show_level, show_origin;
	char id[65];
	char module[256];
	metric_t missed, limited;
} log_state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.fd = STDOUT_FILENO,
	.level = LOG_INFO,
	.id = "anonymous-instance",
};

static _Thread_local char thread_name[16] = "main";

/*
 * stdout as a description of our own, non-blocking; negative where it cannot be had or is not wanted: a
 * file never blocks and keeps the offset that others write at, too.
 */
static int reopen_stdout(void)
{
	struct stat st;
	if (fstat(STDOUT_FILENO, &st) < 0 || (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)))
		return -1;
	return io_reopen(STDOUT_FILENO, O_WRONLY);
}

void log_init(const char *id)
{
	cleanup_close int fd = reopen_stdout();

	pthread_mutex_lock(&log_state.lock);
	(void)snprintf(log_state.id, sizeof(log_state.id), "%s", id);
	if (fd >= 0 && atomic_load(&log_state.fd) == STDOUT_FILENO)
		atomic_store(&log_state.fd, take_fd(&fd));
	pthread_mutex_unlock(&log_state.lock);
}

void log_name_thread(const char *name)
{
	(void)snprintf(thread_name, sizeof(thread_name), "%s", name);
	(void)prctl(PR_SET_NAME, thread_name); /* cosmetic: failure changes nothing */
}

int log_configure(const struct log_config *config, struct err *e)
{
	cleanup_close int fd = -1;
	if (config->has_log_path) {
		fd = open(config->log_path,
			  O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
		/* A FIFO nobody reads yet: opened for both ways it waits for its reader. */
		if (fd < 0 && errno == ENXIO)
			fd = open(config->log_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			return err_set_os(e, -errno, "Failed to open target file %s",
					  config->log_path);
	}

	pthread_mutex_lock(&log_state.lock);
	if (fd >= 0) {
		int old = atomic_exchange(&log_state.fd, take_fd(&fd));
		if (old != STDOUT_FILENO)
			(void)close(old); /* append-only log: nothing is buffered in it */
	}
	if (config->has_show_level)
		log_state.show_level = config->show_level;
	if (config->has_show_log_origin)
		log_state.show_origin = config->show_log_origin;
	if (config->has_module)
		(void)snprintf(log_state.module, sizeof(log_state.module), "%s", config->module);
	atomic_store_explicit(&log_state.level,
			      config->has_level ? (int)config->level : (int)LOG_INFO,
			      memory_order_relaxed);
	pthread_mutex_unlock(&log_state.lock);
	return 0;
}

bool log_is_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

/*
 * "2026-11-21T02:06:11.123456789": UTC. The date is worked out here (proleptic Gregorian, in eras
 * of 400 years that start on 1 March) because gmtime_r reads the time zone file, which costs
 * start-up time and is not there in a chroot.
 */
static size_t put_time(char *buf, size_t size)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail for this clock */
	unsigned int second = (unsigned int)(ts.tv_sec % 86400);
	unsigned int days = (unsigned int)(ts.tv_sec / 86400) + 719468; /* since 0000-03-01 */
	unsigned int era = days / 146097, doe = days % 146097;
	unsigned int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned int mp = (5 * doy + 2) / 153; /* months since March */
	unsigned int month = mp < 10 ? mp + 3 : mp - 9;
	return (size_t)snprintf(buf, size, "%04u-%02u-%02uT%02u:%02u:%02u.%09ld",
				yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1,
				second / 3600, second / 60 % 60, second % 60, ts.tv_nsec);
}

static size_t put_head(char *buf, size_t size, enum log_level level, const char *file, int line)
{
	size_t n = put_time(buf, size);
	n += (size_t)snprintf(buf + n, size - n, " [%s:%s", log_state.id, thread_name);
	if (log_state.show_level)
		n += (size_t)snprintf(buf + n, size - n, ":%s", level_names[level]);
	if (log_state.show_origin)
		n += (size_t)snprintf(buf + n, size - n, ":%s:%d", file, line);
	return n + (size_t)snprintf(buf + n, size - n, "] ");
}

/*
 * Would a write to `fd` neither block (stdout itself is the user's own description and stays blocking) nor
 * raise SIGPIPE (its handler logs, too: it would never come to an end)? Async-signal-safe. For a terminal it is no
 * promise, it says yes with room for a byte; and another writer may be faster: so log_init looks for better.
 */
static bool can_write(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	return poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR)) == POLLOUT;
}

/* One write: a sink that is full or gone costs the line, never the thread. Async-signal-safe. */
static void emit(const char *line, size_t len, bool ask_first)
{
	int fd = atomic_load(&log_state.fd);
	if ((ask_first || fd == STDOUT_FILENO) && !can_write(fd))
		metric_add(&log_state.missed, 1);
	else if (write(fd, line, len) != (ssize_t)len)
		metric_add(&log_state.missed, 1);
}

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	char buf[LINE_MAX_BYTES];
	va_list ap;

	pthread_mutex_lock(&log_state.lock);
	if (strncmp(file, log_state.module, strlen(log_state.module)) == 0) {
		size_t n = put_head(buf, sizeof(buf) - 1, level, file, line);
		va_start(ap, fmt);
		int m = vsnprintf(buf + n, sizeof(buf) - 1 - n, fmt, ap);
		va_end(ap);
		size_t end = n + (m < 0 ? 0 : min_u64((uint64_t)m, sizeof(buf) - 2 - n));
		/* Text that users sent must not forge lines or drive a terminal. */
		for (; n < end; n++)
			if ((unsigned char)buf[n] < ' ' || buf[n] == 0x7f)
				buf[n] = ' ';
		buf[n++] = '\n';
		emit(buf, n, false);
	}
	pthread_mutex_unlock(&log_state.lock);
}

void log_write_from_signal(enum log_level level, const char *text)
{
	char buf[256];
	size_t n = strlen(text);
	if (!log_is_enabled(level))
		return;
	n = n < sizeof(buf) - 1 ? n : sizeof(buf) - 1;
	memcpy(buf, text, n);
	buf[n++] = '\n';
	emit(buf, n, true);
}

uint64_t log_missed_count(void)
{
	return metric_get(&log_state.missed);
}

uint64_t log_limited_count(void)
{
	return metric_get(&log_state.limited);
}

bool log_limit_pass(struct log_limit *limit)
{
	uint64_t now = clock_monotonic_ns();

	pthread_mutex_lock(&log_state.lock);
	if (limit->lines == 0 || now - limit->window_ns >= LIMIT_WINDOW_NS) {
		limit->window_ns = now;
		limit->lines = 0;
	}
	bool pass = limit->lines < LIMIT_LINES;
	if (pass)
		limit->lines++;
	else
		metric_add(&log_state.limited, 1);
	pthread_mutex_unlock(&log_state.lock);
	return pass;
}
