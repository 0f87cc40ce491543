/* Kernel and initrd files made in memory, and a guest to load them into. Test thread. */
#include "fakes/boot_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "arch/arm64/layout.h"
#include "vmm/base/bits.h"
#include "vmm/base/endian.h"

int boot_file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	return fd;
}

/* Every byte of it is its own offset's, so that a shifted or cut copy shows; no "MZ". */
uint8_t boot_pattern(uint64_t i)
{
	return (uint8_t)(i * 2654435761u >> 13 | 1);
}

uint8_t *boot_make_image(const struct image_spec *spec)
{
	uint8_t *p = malloc(spec->file_size);
	cr_assert(p);
	for (size_t i = 0; i < spec->file_size; i++)
		p[i] = boot_pattern(i);
	store_le64(p + 8, spec->text_offset);
	store_le64(p + 16, spec->image_size);
	store_le64(p + 24, spec->flags);
	memcpy(p + 56, "ARM\x64", 4);
	return p;
}

uint8_t *boot_gzip_of(const void *data, size_t n, size_t *ret_n)
{
	z_stream z = { 0 };
	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	size_t cap = deflateBound(&z, n);
	uint8_t *out = malloc(cap);
	cr_assert(out);
	z.next_in = (uint8_t *)(uintptr_t)data;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)cap;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	*ret_n = z.total_out;
	(void)deflateEnd(&z);
	return out;
}

void boot_rig_init(struct boot_rig *r, uint64_t mem_mib)
{
	struct mem_range range[2];
	*r = (struct boot_rig){ 0 };
	unsigned int n = boot_ram_ranges(mem_mib, range);
	cr_assert_eq(mem_create(range, n, MEM_PAGES_THP, &r->mem, &r->err), 0, "%s", r->err.text);
}

void boot_rig_fini(struct boot_rig *r)
{
	mem_destroy(r->mem);
}

/* Loads and closes the files. */
int boot_rig_load(struct boot_rig *r, int kernel_fd, int initrd_fd)
{
	const struct boot_files files = { kernel_fd, "/some/kernel", initrd_fd, "/some/initrd",
					  LAYOUT_FDT_MAX };
	int rc = boot_load(r->mem, &files, &r->img, &r->err);
	(void)close(kernel_fd);
	if (initrd_fd >= 0)
		(void)close(initrd_fd);
	return rc;
}

const uint8_t *boot_at(const struct boot_rig *r, gpa_t gpa, uint64_t len)
{
	void *p;
	cr_assert_eq(mem_slice(r->mem, gpa, len, &p), 0);
	return p;
}

bool boot_is_zero(const struct boot_rig *r, gpa_t from, gpa_t to)
{
	const uint8_t *p = boot_at(r, from, to - from);
	for (gpa_t i = 0; i < to - from; i++) {
		if (p[i])
			return false;
	}
	return true;
}

void boot_expect_words(const struct boot_rig *r, const char *words)
{
	cr_expect(strstr(r->err.text, words), "wanted '%s' in: %s", words, r->err.text);
}
