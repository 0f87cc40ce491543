/*
 * Gathering and scattering over a run of guest buffers (struct iov). Owns nothing. Whoever works on
 * the queue calls this, on the VMM thread. A message may be cut over segments at any byte, also
 * over empty ones.
 */
#include "devices/virtio/iov.h"

#include <string.h>

#include "vmm/base/bits.h"

void iov_add(struct iov *v, void *base, size_t len)
{
	v->seg[v->nsegs++] = (struct iovec){ base, len };
	v->bytes += len;
}

/* The first segment that holds a byte, at most `max` of it. The caller knows that v->bytes > 0. */
static struct iovec front(struct iov *v, size_t max)
{
	while (v->seg->iov_len == 0) {
		v->seg++;
		v->nsegs--;
	}
	return (struct iovec){ v->seg->iov_base, min_u64(v->seg->iov_len, max) };
}

static void drop_front(struct iov *v, size_t len)
{
	v->seg->iov_base = (uint8_t *)v->seg->iov_base + len;
	v->seg->iov_len -= len;
	v->bytes -= len;
	if (v->seg->iov_len == 0) {
		v->seg++;
		v->nsegs--;
	}
}

void iov_skip(struct iov *v, uint64_t len)
{
	for (uint64_t left = min_u64(len, v->bytes); left > 0;) {
		struct iovec piece = front(v, left);
		drop_front(v, piece.iov_len);
		left -= piece.iov_len;
	}
}

bool iov_get(struct iov *v, void *dst, size_t len)
{
	if (v->bytes < len)
		return false;
	for (uint8_t *to = dst; len > 0;) {
		struct iovec piece = front(v, len);
		memcpy(to, piece.iov_base, piece.iov_len);
		drop_front(v, piece.iov_len);
		to += piece.iov_len;
		len -= piece.iov_len;
	}
	/*
	 * The copy is complete here and the compiler may not read the guest's bytes again instead
	 * of it: a vCPU can have changed them since.
	 */
	__asm__ volatile("" : : "r"(dst) : "memory");
	return true;
}

bool iov_put(struct iov *v, const void *src, size_t len)
{
	if (v->bytes < len)
		return false;
	for (const uint8_t *from = src; len > 0;) {
		struct iovec piece = front(v, len);
		memcpy(piece.iov_base, from, piece.iov_len);
		drop_front(v, piece.iov_len);
		from += piece.iov_len;
		len -= piece.iov_len;
	}
	return true;
}

uint8_t *iov_take_last(struct iov *v)
{
	if (v->bytes == 0)
		return NULL;
	while (v->seg[v->nsegs - 1].iov_len == 0)
		v->nsegs--;
	struct iovec *last = &v->seg[v->nsegs - 1];
	last->iov_len--;
	v->bytes--;
	uint8_t *byte = (uint8_t *)last->iov_base + last->iov_len;
	if (last->iov_len == 0)
		v->nsegs--;
	return byte;
}
