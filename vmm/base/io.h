/* Whole reads and writes: EINTR and short transfers are dealt with here, once; eventfds; files. */
#ifndef WICK_BASE_IO_H
#define WICK_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * One more open file description, non-blocking, of what `fd` refers to, by /proc. Its own, because
 * O_NONBLOCK belongs to the description and so would hit everybody who shares `fd`'s. `access_mode`:
 * O_RDONLY, O_WRONLY. Returns a descriptor or -errno (no /proc, a socket, another user's terminal).
 */
int io_reopen(int fd, int access_mode);

/* Reads until `len` bytes or end of file. Returns the number of bytes, or -errno. */
ssize_t io_read_full(int fd, void *buf, size_t len);
ssize_t io_pread_full(int fd, void *buf, size_t len, uint64_t offset);

/* Writes all of it. Returns 0, or -errno (some bytes may have been written then). */
int io_write_full(int fd, const void *buf, size_t len);
int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

/* Adds one to an eventfd; one at its limit is signalled already: success. 0 or -errno. */
int io_event_signal(int fd);
/* Takes the counter of a non-blocking eventfd down to zero. True if it had been signalled. */
bool io_event_drain(int fd);

/*
 * Reads a whole file of at most `max` bytes into fresh memory; a NUL stands behind it, not counted.
 * 0 or -errno; -EFBIG: it is longer. *ret is the caller's to free.
 */
int io_read_file(const char *path, size_t max, char **ret, size_t *ret_len);

#endif
