/* The host's side of a disk: a file or block device seen as whole sectors of 512 bytes. */
#ifndef WICK_DEVICES_BLOCK_DISK_H
#define WICK_DEVICES_BLOCK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/iov.h"

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512u
#define DISK_ID_SIZE 20u /* VIRTIO_BLK_ID_BYTES */

struct disk;

/*
 * Opens a regular file or a block device. A last part of less than a sector is left out, with a
 * warning. -errno; -EINVAL if it is neither.
 */
int disk_open(const char *path, bool read_only, struct disk **ret);
void disk_close(struct disk *d);

uint64_t disk_nsectors(const struct disk *d);

/*
 * Transfers all of `v` (consumed), whole sectors inside the disk, at `sector`: 0 or -errno, -EIO
 * where the file has become shorter. After a failure some of it may have been transferred.
 */
int disk_read(struct disk *d, struct iov *v, uint64_t sector);
int disk_write(struct disk *d, struct iov *v, uint64_t sector);

/* Everything written so far is on stable storage. 0 or -errno. */
int disk_flush(struct disk *d);

/* The serial number: device and inode in decimal, cut or padded with NULs (not terminated). */
void disk_id(const struct disk *d, uint8_t ret[DISK_ID_SIZE]);

#endif
