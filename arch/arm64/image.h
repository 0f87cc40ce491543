/* The first bytes of a kernel file: an arm64 Image's header, or what else it looks like. Pure. */
#ifndef WICK_ARM64_IMAGE_H
#define WICK_ARM64_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_HEAD 1024 /* this many bytes of a file are enough to tell, if it has them */

enum image_kind { IMAGE_ARM64, IMAGE_GZIP, IMAGE_OTHER };

/* Documentation/arch/arm64/booting.rst, section 4. */
struct image_header {
	uint64_t text_offset; /* from a 2 MiB aligned base; 0x80000 where image_size is 0 */
	uint64_t image_size;  /* bytes that the kernel needs, bss included; 0: before Linux 3.17 */
	bool is_big_endian;
	unsigned int page_kib; /* 4, 16, 64; 0: unspecified */
};

/* `ret` is filled in for IMAGE_ARM64 only. `n`: bytes in `head`. */
enum image_kind image_parse(const uint8_t *head, size_t n, struct image_header *ret);

/* For IMAGE_OTHER, after "this is ": "an x86 bzImage". Never NULL. */
const char *image_looks_like(const uint8_t *head, size_t n);

#endif
