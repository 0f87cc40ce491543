/*
 * A run of guest buffers (struct iov): consumed from the front by copies, from the back by one
 * byte. The bytes are shared with running vCPUs; each function here touches a byte once.
 */
#ifndef WICK_DEVICES_VIRTIO_IOV_H
#define WICK_DEVICES_VIRTIO_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* `seg` points into storage of its owner (a chain); consuming changes the segments there. */
struct iov {
	struct iovec *seg;
	unsigned int nsegs;
	uint64_t bytes; /* sum of the segments' lengths */
};

/* Appends a segment; the owner knows that there is room. */
void iov_add(struct iov *v, void *base, size_t len);

/* Drops `len` bytes, or all there are, from the front. */
void iov_skip(struct iov *v, uint64_t len);

/* Copies the first `len` bytes out and drops them. False, nothing changed: there are fewer. */
bool iov_get(struct iov *v, void *dst, size_t len);

/* Copies `src` over the first `len` bytes, drops them. False, nothing changed: there are fewer. */
bool iov_put(struct iov *v, const void *src, size_t len);

/* The host address of the last byte, which is dropped; NULL if the run is empty. */
uint8_t *iov_take_last(struct iov *v);

#endif
