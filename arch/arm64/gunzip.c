/* Inflating a gzip file through zlib (struct gunzip). The thread that builds the machine. */
#include "arch/arm64/gunzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/io.h"

enum {
	IN_SIZE = 128 * 1024,
	GZIP_ONLY = 16 + MAX_WBITS, /* zlib: a gzip wrapper and no other, the largest window */
};

#define PADDING_MAX (16 * MIB)

int gunzip_init(struct gunzip *g, int fd, uint64_t size, struct err *e)
{
	*g = (struct gunzip){ .fd = fd, .size = size };
	g->in = malloc(IN_SIZE);
	if (!g->in)
		return err_set_os(e, -ENOMEM, "cannot be decompressed");
	if (inflateInit2(&g->z, GZIP_ONLY) != Z_OK) {
		free(g->in);
		g->in = NULL;
		return err_set_os(e, -ENOMEM, "cannot be decompressed");
	}
	return 0;
}

void gunzip_fini(struct gunzip *g)
{
	if (!g->in)
		return;
	(void)inflateEnd(&g->z); /* only complains of streams that were cut short */
	free(g->in);
	g->in = NULL;
}

/* Refills the input. 0, also at the end of the file (avail_in stays 0 then), or -errno. */
static int fill(struct gunzip *g, struct err *e)
{
	const size_t want = min_u64(IN_SIZE, g->size - g->offset);
	ssize_t n = io_pread_full(g->fd, g->in, want, g->offset);
	if (n < 0)
		return err_set_os(e, (int)n, "cannot be read");
	if ((size_t)n < want)
		return err_set(e, -EIO, "became shorter while it was read");
	g->offset += (uint64_t)n;
	g->z.next_in = g->in;
	g->z.avail_in = (uInt)n;
	return 0;
}

static int inflate_error(const struct gunzip *g, int zrc, struct err *e)
{
	if (zrc == Z_MEM_ERROR)
		return err_set_os(e, -ENOMEM, "cannot be decompressed");
	return err_set(e, -EINVAL, "is damaged gzip data (%s near byte %llu)",
		       g->z.msg ? g->z.msg : "no valid stream",
		       (unsigned long long)(g->offset - g->z.avail_in));
}

ssize_t gunzip_read(struct gunzip *g, void *buf, size_t len, struct err *e)
{
	size_t done = 0;
	while (done < len && !g->is_end) {
		if (g->z.avail_in == 0) {
			int rc = fill(g, e);
			if (rc)
				return rc;
			if (g->z.avail_in == 0)
				return err_set(e, -EINVAL, "is cut off: the gzip data has no end");
		}
		const size_t room = min_u64(len - done, GIB); /* avail_out has 32 bits */
		g->z.next_out = (uint8_t *)buf + done;
		g->z.avail_out = (uInt)room;
		int zrc = inflate(&g->z, Z_NO_FLUSH);
		if (zrc != Z_OK && zrc != Z_STREAM_END)
			return inflate_error(g, zrc, e);
		done += room - g->z.avail_out;
		g->is_end = zrc == Z_STREAM_END;
	}
	return (ssize_t)done;
}

int gunzip_finish(struct gunzip *g, struct err *e)
{
	uint8_t spare;
	ssize_t n = gunzip_read(g, &spare, sizeof(spare), e); /* the trailer may still be unread */
	if (n < 0)
		return (int)n;
	if (n > 0)
		return err_set(e, -E2BIG, "has more data than fits");
	/* Bounded: a sparse file can be padded for hours of reading. */
	const uint64_t end = g->offset - g->z.avail_in;
	while (g->offset - end <= PADDING_MAX) {
		for (uInt i = 0; i < g->z.avail_in; i++) {
			if (g->z.next_in[i])
				return err_set(
					e, -EINVAL,
					"has other data behind the gzip data, near byte %llu",
					(unsigned long long)(g->offset - g->z.avail_in + i));
		}
		if (g->offset == g->size)
			return 0;
		int rc = fill(g, e);
		if (rc)
			return rc;
	}
	return err_set(e, -EINVAL, "has more than %llu MiB of zeros behind the gzip data",
		       (unsigned long long)(PADDING_MAX / MIB));
}
