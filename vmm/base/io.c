/* Whole transfers: EINTR and short counts end here. Any thread. */
#include "vmm/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"

ssize_t io_read_full(int fd, void *buf, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t io_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n =
			pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int io_reopen(int fd, int access_mode)
{
	char path[32];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits any int */
	int own = open(path, access_mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own < 0 ? -errno : own;
}

int io_event_signal(int fd)
{
	const uint64_t one = 1;
	int rc = io_write_full(fd, &one, sizeof(one));
	return rc == -EAGAIN ? 0 : rc;
}

bool io_event_drain(int fd)
{
	uint64_t count;
	return io_read_full(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

int io_read_file(const char *path, size_t max, char **ret, size_t *ret_len)
{
	struct stat st;
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;

	/* The size may lie (a FIFO, /proc, a growing file): it is only where the search starts. */
	size_t room = S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : 64 * 1024;
	if (room > max + 1)
		room = max + 1;
	cleanup_free char *buf = NULL;
	size_t len = 0;
	for (;;) {
		char *grown = realloc(buf, room + 1);
		if (!grown)
			return -ENOMEM;
		buf = grown;
		ssize_t n = io_read_full(fd, buf + len, room - len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
		if (len < room)
			break;
		if (len > max)
			return -EFBIG;
		room = room * 2 > max + 1 ? max + 1 : room * 2;
	}
	buf[len] = '\0';
	*ret = take_ptr(&buf);
	*ret_len = len;
	return 0;
}
