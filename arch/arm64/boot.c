/*
 * Kernel and initrd into guest RAM, and where the device tree goes (struct boot_image). The thread
 * that builds the machine. Files are read straight into guest memory: no page is touched that stays
 * unused.
 */
#include "arch/arm64/boot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "arch/arm64/gunzip.h"
#include "arch/arm64/image.h"
#include "arch/arm64/layout.h"
#include "vmm/base/bits.h"
#include "vmm/base/checked.h"
#include "vmm/base/io.h"

#define PAGE_SIZE (4 * KIB)
#define INITRD_WINDOW \
	(32 * GIB) /* booting.rst: kernel and initrd within this much, 1 GiB aligned */

static const char takes[] = "wick takes an arm64 kernel Image or Image.gz";

/* A regular file that is being loaded, and how messages begin. */
struct source {
	int fd;
	const char *what; /* "kernel", "initrd" */
	const char *path;
	const char *takes; /* what would be right; "" : anything */
	uint64_t size;     /* bytes, of the file */
};

static uint64_t to_mib(uint64_t bytes)
{
	return bytes / MIB + (bytes % MIB != 0);
}

/* --- RAM -------------------------------------------------------------------------------------- */

unsigned int boot_ram_ranges(uint64_t mem_mib, struct mem_range ret[2])
{
	const uint64_t size = mem_mib * MIB, low = LAYOUT_MMIO64 - LAYOUT_RAM;
	ret[0] = (struct mem_range){ .gpa = LAYOUT_RAM, .size = min_u64(size, low) };
	if (size <= low)
		return 1;
	ret[1] = (struct mem_range){ .gpa = LAYOUT_RAM_HIGH, .size = size - low };
	return 2;
}

unsigned int boot_ipa_bits(uint64_t mem_mib)
{
	struct mem_range range[2];
	const struct mem_range *last = &range[boot_ram_ranges(mem_mib, range) - 1];
	return 64 - (unsigned int)__builtin_clzll(last->gpa + last->size - 1);
}

/* --- files ------------------------------------------------------------------------------------ */

static const char *file_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO or pipe";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "no regular file";
	}
}

static int source_open(struct source *s, struct err *e)
{
	struct stat st;
	if (fstat(s->fd, &st) < 0)
		return err_set_os(e, -errno, "The %s '%s' cannot be examined", s->what, s->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "The %s '%s' is %s; it must be a regular file", s->what,
			       s->path, file_type(st.st_mode));
	if (st.st_size == 0)
		return err_set(e, -EINVAL, "The %s '%s' is an empty file%s%s", s->what, s->path,
			       s->takes[0] ? "; " : "", s->takes);
	s->size = (uint64_t)st.st_size;
	return 0;
}

/* All of it, or its first `len` bytes, to `dst`. */
static int source_read(const struct source *s, void *dst, uint64_t len, struct err *e)
{
	ssize_t n = io_pread_full(s->fd, dst, len, 0);
	if (n < 0)
		return err_set_os(e, (int)n, "The %s '%s' cannot be read", s->what, s->path);
	if ((uint64_t)n < len)
		return err_set(e, -EIO, "The %s '%s' became shorter while it was read", s->what,
			       s->path);
	return 0;
}

/* --- placement -------------------------------------------------------------------------------- */

/* Where things go: the device tree last, the initrd directly below it, the kernel below that. */
struct plan {
	const struct guest_mem *mem;
	struct source kernel, initrd;
	gpa_t limit; /* the kernel ends here at the latest */
	struct boot_image img;
};

static bool has_initrd(const struct plan *p)
{
	return p->initrd.fd >= 0;
}

/* In the last 2 MiB of the first region, at their end: a small initrd and the tree then share one huge page. */
static int place_fdt(struct plan *p, uint64_t room, struct err *e)
{
	const struct mem_region *first = &p->mem->region[0];
	if (p->mem->nregions == 0 || first->gpa != LAYOUT_RAM ||
	    first->size < LAYOUT_SYSTEM_SIZE + room + PAGE_SIZE)
		return err_set(e, -ENOSPC, "The guest's memory (%llu MiB) has no room for a kernel",
			       (unsigned long long)to_mib(mem_size(p->mem)));
	p->img.fdt = first->gpa + first->size - room;
	p->img.fdt_room = room;
	p->limit = p->img.fdt;
	return 0;
}

static int place_initrd(struct plan *p, struct err *e)
{
	const uint64_t size = p->initrd.size;
	const gpa_t top = min_u64(p->img.fdt, align_down(LAYOUT_KERNEL, GIB) + INITRD_WINDOW);
	if (size > top - LAYOUT_KERNEL)
		return err_set(e, -ENOSPC,
			       "The initrd '%s' has %llu MiB, which do not fit into the guest's "
			       "memory of %llu MiB",
			       p->initrd.path, (unsigned long long)to_mib(size),
			       (unsigned long long)to_mib(mem_size(p->mem)));
	p->img.initrd = align_down(top - size, PAGE_SIZE);
	p->img.initrd_size = size;
	p->limit = p->img.initrd;
	return 0;
}

static int refuse_size(const struct plan *p, uint64_t need, struct err *e)
{
	char initrd[64] = "";
	if (has_initrd(p))
		(void)snprintf(initrd, sizeof(initrd), ", together with an initrd of %llu MiB,",
			       (unsigned long long)to_mib(p->img.initrd_size));
	return err_set(e, -ENOSPC,
		       "The kernel '%s' needs %llu MiB, which%s do not fit into the guest's memory "
		       "of %llu MiB",
		       p->kernel.path, (unsigned long long)to_mib(need), initrd,
		       (unsigned long long)to_mib(mem_size(p->mem)));
}

/*
 * Entry and end from the header; `file_size`: bytes of the Image as far as known. An Image may be
 * longer than its image_size says (signed, padded): all of it gets its place.
 */
static int place_kernel(struct plan *p, const struct image_header *h, uint64_t file_size,
			struct err *e)
{
	const uint64_t need = h->image_size > file_size ? h->image_size : file_size;
	if (h->is_big_endian)
		return err_set(e, -EINVAL,
			       "The kernel '%s' is an Image for big-endian arm64; wick takes "
			       "little-endian ones",
			       p->kernel.path);
	if (h->text_offset >= p->limit - LAYOUT_KERNEL)
		return err_set(e, -EINVAL,
			       "The kernel '%s' asks to be placed 0x%llx bytes (text_offset) into "
			       "the guest's memory of %llu MiB",
			       p->kernel.path, (unsigned long long)h->text_offset,
			       (unsigned long long)to_mib(mem_size(p->mem)));
	if (!range_fits(LAYOUT_KERNEL + h->text_offset, need, p->limit))
		return refuse_size(p, need, e);
	p->img.entry = LAYOUT_KERNEL + h->text_offset;
	p->img.kernel_end = p->img.entry + need;
	p->img.page_kib = h->page_kib;
	return 0;
}

/* --- loading ---------------------------------------------------------------------------------- */

static int load_at(const struct plan *p, gpa_t gpa, const struct source *s, struct err *e)
{
	void *host;
	int rc = mem_slice(p->mem, gpa, s->size, &host);
	if (rc)
		return err_set_os(e, rc, "The %s '%s' does not fit into guest memory", s->what,
				  s->path);
	return source_read(s, host, s->size, e);
}

/* The first `n` bytes are inflated already, in `head`. */
static int inflate_rest(struct plan *p, struct gunzip *g, const uint8_t *head, size_t n,
			struct err *e)
{
	void *host;
	const uint64_t room = p->limit - p->img.entry;
	int rc = mem_slice(p->mem, p->img.entry, room, &host);
	if (rc)
		return err_set_os(e, rc, "does not fit into guest memory");
	memcpy(host, head, n);
	ssize_t more = gunzip_read(g, (uint8_t *)host + n, room - n, e);
	if (more < 0)
		return (int)more;
	rc = gunzip_finish(g, e);
	if (rc)
		return rc;
	const gpa_t end = p->img.entry + n + (uint64_t)more;
	if (p->img.kernel_end < end)
		p->img.kernel_end = end;
	return 0;
}

static int load_gzip_stream(struct plan *p, struct gunzip *g, struct err *e)
{
	uint8_t head[IMAGE_HEAD];
	struct image_header h;
	ssize_t n = gunzip_read(g, head, sizeof(head), e);
	if (n < 0)
		return err_prefix(e, (int)n, "The kernel '%s' ", p->kernel.path);
	if (image_parse(head, (size_t)n, &h) != IMAGE_ARM64)
		return err_set(e, -EINVAL,
			       "The kernel '%s' is gzip-compressed, but inside it is %s; %s",
			       p->kernel.path, image_looks_like(head, (size_t)n), takes);
	int rc = place_kernel(p, &h, (uint64_t)n, e);
	if (rc)
		return rc;
	rc = inflate_rest(p, g, head, (size_t)n, e);
	if (rc == -E2BIG)
		return refuse_size(p, p->limit - p->img.entry + 1, e);
	return rc ? err_prefix(e, rc, "The kernel '%s' ", p->kernel.path) : 0;
}

static int load_gzip(struct plan *p, struct err *e)
{
	struct gunzip g;
	int rc = gunzip_init(&g, p->kernel.fd, p->kernel.size, e);
	if (rc)
		return err_prefix(e, rc, "The kernel '%s' ", p->kernel.path);
	rc = load_gzip_stream(p, &g, e);
	gunzip_fini(&g);
	return rc;
}

static int load_kernel(struct plan *p, struct err *e)
{
	uint8_t head[IMAGE_HEAD];
	struct image_header h;
	const size_t n = min_u64(sizeof(head), p->kernel.size);
	int rc = source_read(&p->kernel, head, n, e);
	if (rc)
		return rc;
	switch (image_parse(head, n, &h)) {
	case IMAGE_ARM64:
		rc = place_kernel(p, &h, p->kernel.size, e);
		return rc ? rc : load_at(p, p->img.entry, &p->kernel, e);
	case IMAGE_GZIP:
		return load_gzip(p, e);
	case IMAGE_OTHER:
		break;
	}
	return err_set(e, -EINVAL, "The kernel '%s' is %s; %s", p->kernel.path,
		       image_looks_like(head, n), takes);
}

int boot_load(const struct guest_mem *mem, const struct boot_files *files, struct boot_image *ret,
	      struct err *e)
{
	struct plan p = {
		.mem = mem,
		.kernel = { files->kernel_fd, .what = "kernel", .path = files->kernel_path,
			    .takes = takes },
		.initrd = { files->initrd_fd, .what = "initrd", .path = files->initrd_path,
			    .takes = "" },
	};
	int rc = source_open(&p.kernel, e);
	if (!rc && has_initrd(&p))
		rc = source_open(&p.initrd, e);
	if (!rc)
		rc = place_fdt(&p, files->fdt_room, e);
	if (!rc && has_initrd(&p))
		rc = place_initrd(&p, e);
	if (!rc)
		rc = load_kernel(&p, e);
	if (!rc && has_initrd(&p))
		rc = load_at(&p, p.img.initrd, &p.initrd, e);
	if (!rc)
		*ret = p.img;
	return rc;
}
