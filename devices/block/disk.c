/*
 * The host's side of a disk (struct disk): system calls straight on guest memory. Opened where the
 * machine is built or checked, used on the VMM thread under its device's lock.
 */
#include "devices/block/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/log.h"

struct disk {
	int fd;
	uint64_t nsectors;
	uint8_t id[DISK_ID_SIZE];
};

static void make_id(const struct stat *st, uint8_t id[DISK_ID_SIZE])
{
	char text[64];

	memset(text, 0, sizeof(text));
	(void)snprintf(text, sizeof(text), "%llu%llu%llu", (unsigned long long)st->st_dev,
		       (unsigned long long)st->st_rdev, (unsigned long long)st->st_ino);
	memcpy(id, text, DISK_ID_SIZE);
}

/* O_NONBLOCK only so that a FIFO cannot hold us in open(); it goes once we know what it is. */
static int open_backing(const char *path, bool read_only, struct stat *ret_st)
{
	cleanup_close int fd = open(path, O_CLOEXEC | O_NONBLOCK | (read_only ? O_RDONLY : O_RDWR));
	if (fd < 0 || fstat(fd, ret_st) < 0)
		return -errno;
	if (S_ISDIR(ret_st->st_mode))
		return -EISDIR;
	if (!S_ISREG(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode))
		return -EINVAL;
	if (fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return take_fd(&fd);
}

int disk_open(const char *path, bool read_only, struct disk **ret)
{
	struct stat st;
	cleanup_close int fd = open_backing(path, read_only, &st);
	if (fd < 0)
		return fd;
	off_t bytes = lseek(fd, 0, SEEK_END); /* st_size is 0 for block devices */
	if (bytes < 0)
		return -errno;

	struct disk *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->nsectors = (uint64_t)bytes >> SECTOR_SHIFT;
	if (bytes % SECTOR_SIZE != 0)
		log_warn("%s: %lld bytes are no whole number of %u-byte sectors; the guest does "
			 "not see the last %lld",
			 path, (long long)bytes, SECTOR_SIZE, (long long)(bytes % SECTOR_SIZE));
	make_id(&st, d->id);
	d->fd = take_fd(&fd);
	*ret = d;
	return 0;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	close_fd(&d->fd);
	free(d);
}

uint64_t disk_nsectors(const struct disk *d)
{
	return d->nsectors;
}

typedef ssize_t (*transfer_fn)(int fd, const struct iovec *iov, int n, off_t offset);

/* The kernel moves at most 2 GiB a call, and less when it likes. */
static int transfer(struct disk *d, struct iov *v, uint64_t sector, transfer_fn fn)
{
	off_t offset = (off_t)(sector << SECTOR_SHIFT);

	while (v->bytes > 0) {
		ssize_t n = fn(d->fd, v->seg, (int)v->nsegs, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		iov_skip(v, (uint64_t)n);
		offset += n;
	}
	return 0;
}

int disk_read(struct disk *d, struct iov *v, uint64_t sector)
{
	return transfer(d, v, sector, preadv);
}

int disk_write(struct disk *d, struct iov *v, uint64_t sector)
{
	return transfer(d, v, sector, pwritev);
}

int disk_flush(struct disk *d)
{
	return fdatasync(d->fd) < 0 ? -errno : 0;
}

void disk_id(const struct disk *d, uint8_t ret[DISK_ID_SIZE])
{
	memcpy(ret, d->id, DISK_ID_SIZE);
}
