/* A gzip file as a stream of bytes: bounded, CRC-checked, straight into the caller's memory. */
#ifndef WICK_ARM64_GUNZIP_H
#define WICK_ARM64_GUNZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <zlib.h>

#include "vmm/base/err.h"

struct gunzip {
	int fd;                /* the caller's */
	uint64_t offset, size; /* of the file: next byte to read, bytes in all */
	bool is_end;           /* the stream is complete and its CRC was right */
	uint8_t *in;
	z_stream z;
};

/* `size`: bytes of the file, from offset 0. Messages begin with a verb: "is cut off …". */
int gunzip_init(struct gunzip *g, int fd, uint64_t size, struct err *e);
void gunzip_fini(struct gunzip *g);

/* Reads until `len` bytes or the end of the data. Returns the number of bytes, or -errno. */
ssize_t gunzip_read(struct gunzip *g, void *buf, size_t len, struct err *e);

/*
 * After the last byte: is this really the end? Zero bytes behind the stream are padding, 16 MiB at most;
 * anything else, a second gzip member too, is refused: it would be silently left out.
 */
int gunzip_finish(struct gunzip *g, struct err *e);

#endif
