/* vmm/base/io.c: whole transfers over whatever gives or takes them in pieces. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"

static void nap_ms(long ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	(void)nanosleep(&t, NULL); /* a little less does not matter */
}

static uint8_t *pattern(size_t len)
{
	uint8_t *p = malloc(len ? len : 1);
	cr_assert(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	return p;
}

/* An unlinked file with `len` bytes of the pattern. */
static int temp_file(size_t len)
{
	char path[] = "/tmp/test_io.XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	cleanup_free uint8_t *p = pattern(len);
	cr_assert(fd >= 0 && unlink(path) == 0);
	cr_assert_eq(write(fd, p, len), (ssize_t)len);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* --- pieces and signals ----------------------------------------------------------------------- */

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
	(void)number;
	signals_seen++;
}

struct transfer {
	int fd;
	uint8_t *data;
	size_t len;
	ssize_t rc;
};

static void *read_all(void *arg)
{
	struct transfer *t = arg;
	t->rc = io_read_full(t->fd, t->data, t->len);
	return NULL;
}

static void *write_all(void *arg)
{
	struct transfer *t = arg;
	t->rc = io_write_full(t->fd, t->data, t->len);
	return NULL;
}

/* No SA_RESTART: a blocked read or write comes back with EINTR. */
static void interrupt(pthread_t thread, int times)
{
	struct sigaction sa = { .sa_handler = on_signal };
	cr_assert_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	for (int i = 0; i < times; i++) {
		nap_ms(5);
		cr_assert_eq(pthread_kill(thread, SIGUSR1), 0);
	}
	nap_ms(5);
}

Test(io, read_puts_pieces_together_and_survives_signals, .timeout = 20)
{
	int p[2];
	cleanup_free uint8_t *want = pattern(1000);
	struct transfer t = { .data = calloc(1, 1000), .len = 1000 };
	pthread_t reader;

	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	t.fd = p[0];
	cr_assert_eq(pthread_create(&reader, NULL, read_all, &t), 0);
	interrupt(reader, 3);
	for (size_t at = 0; at < 1000; at += 250) {
		cr_assert_eq(write(p[1], want + at, 250), 250);
		nap_ms(2);
	}
	cr_assert_eq(pthread_join(reader, NULL), 0);
	cr_expect_eq(t.rc, 1000);
	cr_expect_eq(signals_seen, 3);
	cr_expect_arr_eq(t.data, want, 1000);
	free(t.data);
}

Test(io, read_ends_at_the_end_of_file, .timeout = 20)
{
	int p[2];
	char buf[8] = "";
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	cr_assert_eq(write(p[1], "abc", 3), 3);
	(void)close(p[1]); /* the end of file is the test */
	cr_expect_eq(io_read_full(p[0], buf, sizeof(buf)), 3);
	cr_expect_str_eq(buf, "abc");
	cr_expect_eq(io_read_full(p[0], buf, sizeof(buf)), 0);
	(void)close(p[0]);
}

Test(io, write_puts_everything_through_a_slow_pipe_and_survives_signals, .timeout = 20)
{
	enum { LEN = 1 << 20 }; /* a pipe holds 64 KiB: many short writes */
	int p[2];
	struct transfer t = { .data = pattern(LEN), .len = LEN };
	cleanup_free uint8_t *got = calloc(1, LEN);
	pthread_t writer;

	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	t.fd = p[1];
	cr_assert_eq(pthread_create(&writer, NULL, write_all, &t), 0);
	interrupt(writer, 3);
	for (size_t at = 0; at < LEN;) {
		ssize_t n = read(p[0], got + at, min_u64(10007, LEN - at));
		cr_assert_gt(n, 0);
		at += (size_t)n;
	}
	cr_assert_eq(pthread_join(writer, NULL), 0);
	cr_expect_eq(t.rc, 0);
	cr_expect_eq(memcmp(got, t.data, LEN), 0);
	free(t.data);
}

Test(io, a_full_non_blocking_pipe_is_eagain)
{
	int p[2];
	cleanup_free uint8_t *data = pattern(1 << 20);
	cr_assert_eq(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	cr_expect_eq(io_write_full(p[1], data, 1 << 20), -EAGAIN);
	(void)close(p[0]);
	(void)close(p[1]);
}

Test(io, errors_are_handed_up)
{
	int p[2];
	char c = 0;
	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	cr_expect_eq(io_pread_full(p[0], &c, 1, 0), -ESPIPE);
	cr_expect_eq(io_pwrite_full(p[1], &c, 1, 0), -ESPIPE);
	cr_expect_eq(io_write_full(p[0], &c, 1), -EBADF, "the end that only reads");
	(void)close(p[0]);
	cr_expect_eq(io_write_full(p[1], &c, 1), -EPIPE);
	cr_expect_eq(io_read_full(-1, &c, 1), -EBADF);
	cr_expect_eq(io_pread_full(-1, &c, 1, 0), -EBADF);
	(void)close(p[1]);
}

Test(io, nothing_to_do_is_success_on_any_fd)
{
	cr_expect_eq(io_read_full(-1, NULL, 0), 0);
	cr_expect_eq(io_write_full(-1, NULL, 0), 0);
	cr_expect_eq(io_pread_full(-1, NULL, 0, 0), 0);
	cr_expect_eq(io_pwrite_full(-1, NULL, 0, 0), 0);
}

/* --- offsets ---------------------------------------------------------------------------------- */

Test(io, pread_at_the_files_edges)
{
	static const struct {
		const char *claim;
		uint64_t offset;
		size_t len;
		ssize_t want;
	} rows[] = {
		{ "the first byte", 0, 1, 1 },
		{ "all", 0, 1000, 1000 },
		{ "more than all", 0, 1500, 1000 },
		{ "the last byte", 999, 1, 1 },
		{ "across the end", 990, 20, 10 },
		{ "at the end", 1000, 20, 0 },
		{ "far behind the end", UINT64_C(1) << 40, 20, 0 },
		{ "an offset that no file has", UINT64_C(1) << 63, 20, -EINVAL },
	};
	int fd = temp_file(1000);
	cleanup_free uint8_t *want = pattern(1000);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t buf[1500];
		ssize_t n = io_pread_full(fd, buf, rows[i].len, rows[i].offset);
		cr_expect_eq(n, rows[i].want, "%s: %zd", rows[i].claim, n);
		if (n > 0)
			cr_expect_eq(memcmp(buf, want + rows[i].offset, (size_t)n), 0, "%s",
				     rows[i].claim);
	}
	cr_expect_eq(lseek(fd, 0, SEEK_CUR), 0, "the file's own position stays");
	(void)close(fd);
}

Test(io, pwrite_is_read_back_and_touches_nothing_else)
{
	int fd = temp_file(1000);
	cleanup_free uint8_t *want = pattern(1000);
	uint8_t buf[1100];
	memset(want + 500, 0x5a, 100);
	cr_expect_eq(io_pwrite_full(fd, want + 500, 100, 500), 0);
	cr_expect_eq(io_pread_full(fd, buf, sizeof(buf), 0), 1000);
	cr_expect_eq(memcmp(buf, want, 1000), 0);
	cr_expect_eq(io_pwrite_full(fd, "end", 3, 1000), 0);
	cr_expect_eq(io_pread_full(fd, buf, sizeof(buf), 0), 1003);
	(void)close(fd);
}

/* --- a description of one's own ----------------------------------------------------------------- */

Test(io, reopened_descriptor_is_non_blocking_and_the_first_is_not)
{
	char byte;
	int pipe_fd[2];
	cr_assert_eq(pipe2(pipe_fd, O_CLOEXEC), 0);
	int own = io_reopen(pipe_fd[0], O_RDONLY);
	cr_assert_geq(own, 0);
	cr_expect_eq(read(own, &byte, 1), -1);
	cr_expect_eq(errno, EAGAIN, "it does not block");
	cr_expect_not(fcntl(pipe_fd[0], F_GETFL) & O_NONBLOCK, "others that share it still do");
	cr_expect_eq(write(pipe_fd[1], "x", 1), 1);
	cr_expect_eq(read(own, &byte, 1), 1, "it is the same pipe");
	(void)close(own);
	(void)close(pipe_fd[0]);
	(void)close(pipe_fd[1]);
}

Test(io, descriptor_that_is_closed_or_a_socket_is_not_reopened)
{
	int pair[2];
	cr_expect_eq(io_reopen(-1, O_RDONLY), -ENOENT);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_expect_eq(io_reopen(pair[0], O_WRONLY), -ENXIO);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

/* --- eventfds --------------------------------------------------------------------------------- */

Test(io, event_signal_and_drain)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_expect_not(io_event_drain(fd), "nothing was signalled");
	for (int i = 0; i < 3; i++)
		cr_expect_eq(io_event_signal(fd), 0);
	cr_expect(io_event_drain(fd));
	cr_expect_not(io_event_drain(fd), "one drain takes all");
	(void)close(fd);
}

Test(io, a_full_counter_is_signalled_already, .timeout = 20)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_assert_eq(write(fd, &most, sizeof(most)), 8);
	cr_expect_eq(io_event_signal(fd), 0);
	cr_expect(io_event_drain(fd));
	(void)close(fd);
	cr_expect_eq(io_event_signal(-1), -EBADF);
	cr_expect_not(io_event_drain(-1));
}

/* --- whole files ------------------------------------------------------------------------------ */

Test(io, read_file_limits)
{
	static const struct {
		const char *claim;
		size_t len, max;
		int want;
	} rows[] = {
		{ "an empty file", 0, 100, 0 },
		{ "an empty file where none may be read", 0, 0, 0 },
		{ "one byte where none may be read", 1, 0, -EFBIG },
		{ "exactly the limit", 100, 100, 0 },
		{ "one byte more", 101, 100, -EFBIG },
		{ "far more", 1000000, 100, -EFBIG },
		{ "a large file", 1000000, 2000000, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char path[64];
		char *got = NULL;
		size_t len = 4711;
		int fd = temp_file(rows[i].len);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		int rc = io_read_file(path, rows[i].max, &got, &len);
		cr_expect_eq(rc, rows[i].want, "%s: %d", rows[i].claim, rc);
		if (rc == 0) {
			cleanup_free uint8_t *want = pattern(rows[i].len);
			cr_expect_eq(len, rows[i].len, "%s", rows[i].claim);
			cr_expect_eq(memcmp(got, want, len), 0, "%s", rows[i].claim);
			cr_expect_eq(got[len], '\0', "%s", rows[i].claim);
			free(got);
		} else {
			cr_expect(!got && len == 4711, "%s: outputs are left alone", rows[i].claim);
		}
		(void)close(fd);
	}
}

Test(io, read_file_refuses_what_is_no_file)
{
	char *got;
	size_t len;
	cr_expect_eq(io_read_file("/tmp", 100, &got, &len), -EISDIR);
	cr_expect_eq(io_read_file("/nonexistent/file", 100, &got, &len), -ENOENT);
	cr_expect_eq(io_read_file("", 100, &got, &len), -ENOENT);
}

/* Files of /proc say they have 0 bytes, as a file does that grows after it was looked at. */
Test(io, read_file_does_not_trust_the_size)
{
	char direct[65536];
	char *got = NULL;
	size_t len = 0;
	int fd = open("/proc/filesystems", O_RDONLY | O_CLOEXEC);
	ssize_t want = io_read_full(fd, direct, sizeof(direct));
	cr_assert_gt(want, 0);
	cr_assert_eq(io_read_file("/proc/filesystems", sizeof(direct), &got, &len), 0);
	cr_expect_eq(len, (size_t)want);
	cr_expect_eq(memcmp(got, direct, len), 0);
	free(got);
	cr_expect_eq(io_read_file("/proc/filesystems", (size_t)want - 1, &got, &len), -EFBIG);
	(void)close(fd);
}

struct fifo {
	char path[64];
	size_t len;
};

static void *feed(void *arg)
{
	const struct fifo *f = arg;
	cleanup_free uint8_t *data = pattern(f->len);
	int fd = open(f->path, O_WRONLY | O_CLOEXEC);
	(void)io_write_full(fd, data, f->len); /* EPIPE when the reader had enough */
	(void)close(fd);
	return NULL;
}

static int read_fifo(size_t len, size_t max, char **ret, size_t *ret_len)
{
	struct fifo f = { .len = len };
	pthread_t writer;
	(void)snprintf(f.path, sizeof(f.path), "/tmp/test_io.fifo.%d", getpid());
	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(mkfifo(f.path, 0600), 0);
	cr_assert_eq(pthread_create(&writer, NULL, feed, &f), 0);
	int rc = io_read_file(f.path, max, ret, ret_len);
	cr_assert_eq(pthread_join(writer, NULL), 0);
	(void)unlink(f.path);
	return rc;
}

Test(io, read_file_takes_a_fifo_to_its_end, .timeout = 20)
{
	char *got = NULL;
	size_t len = 0;
	cleanup_free uint8_t *want = pattern(300000);
	cr_assert_eq(read_fifo(300000, 300000, &got, &len), 0);
	cr_expect_eq(len, 300000);
	cr_expect_eq(memcmp(got, want, len), 0);
	free(got);
	cr_expect_eq(read_fifo(300001, 300000, &got, &len), -EFBIG);
}
