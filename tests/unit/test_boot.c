/* arch/arm64/boot.c: where kernel, initrd and device tree go, and what does not fit. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arm64/layout.h"
#include "fakes/boot_rig.h"
#include "vmm/base/bits.h"

/* Rows that clang-format fills instead of breaking at each comma. */
#define ROW(...)            \
	{                   \
		__VA_ARGS__ \
	}

/* --- RAM -------------------------------------------------------------------------------------- */

struct ram_case {
	uint64_t mib;
	unsigned int n;
	uint64_t low, high;
	unsigned int ipa_bits;
};

ParameterizedTestParameters(boot, ram_is_split_around_the_window)
{
	static struct ram_case cases[] = {
		{ 1, 1, MIB, 0, 32 },
		{ 128, 1, 128 * MIB, 0, 32 },
		{ 2048, 1, 2 * GIB, 0, 32 },
		{ 2049, 1, 2 * GIB + MIB, 0, 33 },
		{ 254 * 1024 - 1, 1, 254 * GIB - MIB, 0, 38 },
		{ 254 * 1024, 1, 254 * GIB, 0, 38 },
		{ 254 * 1024 + 1, 2, 254 * GIB, MIB, 40 },
		{ 300 * 1024, 2, 254 * GIB, 46 * GIB, 40 },
		{ 766 * 1024, 2, 254 * GIB, 512 * GIB, 40 },
		{ 766 * 1024 + 1, 2, 254 * GIB, 512 * GIB + MIB, 41 },
		{ 1022 * 1024, 2, 254 * GIB, 768 * GIB, 41 },
	};
	return cr_make_param_array(struct ram_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct ram_case *c, boot, ram_is_split_around_the_window)
{
	struct mem_range range[2] = { 0 };
	cr_expect_eq(boot_ram_ranges(c->mib, range), c->n);
	cr_expect_eq(range[0].gpa, 0x80000000);
	cr_expect_eq(range[0].size, c->low);
	cr_expect_eq(range[1].gpa, c->n == 2 ? 0x8000000000 : 0);
	cr_expect_eq(range[1].size, c->high);
	cr_expect_eq(boot_ipa_bits(c->mib), c->ipa_bits, "%u", boot_ipa_bits(c->mib));
}

/* --- placement -------------------------------------------------------------------------------- */

struct place_case {
	char claim[64];
	uint64_t mem_mib;
	struct image_spec image;
	size_t initrd;
	bool is_gzip;
	gpa_t entry, end, initrd_at, fdt;
	unsigned int page_kib;
};

ParameterizedTestParameters(boot, everything_has_its_place)
{
	static struct place_case cases[] = {
		ROW("text_offset 0, as kernels are now", 128, ROW(0, 0x60000, 0xa, 0x50001), 0,
		    false, 0x80200000, 0x80260000, 0, 0x87e00000, 4),
		ROW("text_offset is added", 128, ROW(0x80000, 0x60000, 0xc, 0x50001), 0, false,
		    0x80280000, 0x802e0000, 0, 0x87e00000, 16),
		ROW("image_size 0: text_offset is 0x80000, whatever it says", 128,
		    ROW(0x1234, 0, ~0ull, 0x50001), 0, false, 0x80280000, 0x802d0001, 0, 0x87e00000,
		    0),
		ROW("a file longer than image_size is loaded whole", 128,
		    ROW(0, 0x1000, 6, 0x50001), 0, false, 0x80200000, 0x80250001, 0, 0x87e00000,
		    64),
		ROW("an initrd of one byte", 128, ROW(0, 0x60000, 0, 0x50001), 1, false, 0x80200000,
		    0x80260000, 0x87dff000, 0x87e00000, 0),
		ROW("an initrd of exactly one page", 128, ROW(0, 0x60000, 0, 0x50001), 4096, false,
		    0x80200000, 0x80260000, 0x87dff000, 0x87e00000, 0),
		ROW("an initrd of one page and a byte", 128, ROW(0, 0x60000, 0, 0x50001), 4097,
		    false, 0x80200000, 0x80260000, 0x87dfe000, 0x87e00000, 0),
		ROW("odd MiB of memory", 129, ROW(0, 0x60000, 0, 0x50001), 5000, false, 0x80200000,
		    0x80260000, 0x87efe000, 0x87f00000, 0),
		ROW("kernel, initrd and tree fill the memory", 6, ROW(0, 0x1f0000, 0, 0x50001),
		    0x10000, false, 0x80200000, 0x803f0000, 0x803f0000, 0x80400000, 0),
		ROW("gzip", 128, ROW(0x80000, 0x60000, 0xa, 0x50001), 5000, true, 0x80280000,
		    0x802e0000, 0x87dfe000, 0x87e00000, 4),
		ROW("gzip, and the Image is longer than it says", 128, ROW(0, 0x1000, 0, 0x50001),
		    0, true, 0x80200000, 0x80250001, 0, 0x87e00000, 0),
		ROW("gzip of an old Image", 128, ROW(0, 0, 0, 0x50001), 0, true, 0x80280000,
		    0x802d0001, 0, 0x87e00000, 0),
		ROW("gzip that just fits", 6, ROW(0, 0, 0, 0x180000), 0, true, 0x80280000,
		    0x80400000, 0, 0x80400000, 0),
		ROW("gzip of an Image of 64 bytes", 128, ROW(0, 0x60000, 0, 64), 0, true,
		    0x80200000, 0x80260000, 0, 0x87e00000, 0),
		ROW("much memory: the initrd stays in the 32 GiB window", 300 * 1024,
		    ROW(0, 0x60000, 0, 0x50001), 5000, false, 0x80200000, 0x80260000, 0x87fffe000,
		    0x3fffe00000, 0),
	};
	return cr_make_param_array(struct place_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct place_case *c, boot, everything_has_its_place)
{
	struct boot_rig r;
	size_t n = c->image.file_size;
	boot_rig_init(&r, c->mem_mib);
	uint8_t *image = boot_make_image(&c->image), *gz = NULL;
	uint8_t *initrd = malloc(c->initrd + 1);
	for (size_t i = 0; i < c->initrd; i++)
		initrd[i] = (uint8_t)~boot_pattern(i) | 2;
	if (c->is_gzip)
		gz = boot_gzip_of(image, c->image.file_size, &n);
	int rc = boot_rig_load(&r, boot_file_of(gz ? gz : image, n),
			       c->initrd ? boot_file_of(initrd, c->initrd) : -1);
	cr_assert_eq(rc, 0, "%s: %s", c->claim, r.err.text);
	cr_expect_eq(r.img.entry, c->entry, "%s: 0x%llx", c->claim,
		     (unsigned long long)r.img.entry);
	cr_expect_eq(r.img.kernel_end, c->end, "%s: 0x%llx", c->claim,
		     (unsigned long long)r.img.kernel_end);
	cr_expect_eq(r.img.initrd, c->initrd_at, "%s: 0x%llx", c->claim,
		     (unsigned long long)r.img.initrd);
	cr_expect_eq(r.img.initrd_size, c->initrd);
	cr_expect_eq(r.img.fdt, c->fdt, "%s: 0x%llx", c->claim, (unsigned long long)r.img.fdt);
	cr_expect_eq(r.img.page_kib, c->page_kib);

	const gpa_t end = c->entry + c->image.file_size;
	const gpa_t initrd_at = c->initrd ? c->initrd_at : c->fdt;
	cr_expect_arr_eq(boot_at(&r, c->entry, c->image.file_size), image, c->image.file_size, "%s",
			 c->claim);
	cr_expect(boot_is_zero(&r, LAYOUT_RAM, c->entry), "nothing in front of it");
	cr_expect(boot_is_zero(&r, end, min_u64(end + MIB, initrd_at)), "nothing behind it");
	if (c->initrd) {
		const gpa_t from = initrd_at - min_u64(MIB, initrd_at - end);
		cr_expect_arr_eq(boot_at(&r, initrd_at, c->initrd), initrd, c->initrd);
		cr_expect(boot_is_zero(&r, from, initrd_at), "nothing in front of the initrd");
		cr_expect(boot_is_zero(&r, initrd_at + c->initrd,
				       align_up(initrd_at + c->initrd, 4096)));
	}
	cr_expect(boot_is_zero(&r, c->fdt, c->fdt + LAYOUT_FDT_MAX),
		  "the device tree's place is untouched");
	free(image);
	free(gz);
	free(initrd);
	boot_rig_fini(&r);
}

Test(boot, no_memory_is_touched_that_need_not_be)
{
	const struct image_spec spec = { 0, 16 * MIB, 0xa, 300000 };
	struct boot_rig r;
	unsigned char vec[64 * 1024];
	boot_rig_init(&r, 128);
	cr_assert_eq(madvise(r.mem->map, r.mem->map_size, MADV_NOHUGEPAGE), 0);
	uint8_t *image = boot_make_image(&spec);
	cr_assert_eq(
		boot_rig_load(&r, boot_file_of(image, spec.file_size), boot_file_of("initrd", 6)),
		0, "%s", r.err.text);
	const size_t npages = 128 * MIB / 4096, kernel_pages = (spec.file_size + 4095) / 4096;
	cr_assert(npages <= sizeof(vec));
	cr_assert_eq(mincore(r.mem->region[0].host, 128 * MIB, vec), 0);
	size_t resident = 0;
	for (size_t i = 0; i < npages; i++)
		resident += vec[i] & 1;
	cr_expect_eq(resident, kernel_pages + 1, "%zu pages, the file has %zu", resident,
		     kernel_pages);
	free(image);
	boot_rig_fini(&r);
}

/* --- sizes that do not fit --------------------------------------------------------------------- */

struct fit_case {
	char claim[64];
	uint64_t mem_mib;
	struct image_spec image;
	size_t initrd;
	bool is_gzip;
	char words[3][64];
};

ParameterizedTestParameters(boot, what_does_not_fit_is_refused_with_sizes)
{
	static struct fit_case cases[] = {
		ROW("bss reaches into the device tree", 8, ROW(0, 0x400001, 0, 0x50000), 0, false,
		    ROW("kernel '/some/kernel' needs 5 MiB", "memory of 8 MiB", "")),
		ROW("bss reaches into the initrd", 8, ROW(0, 0x3ff001, 0, 0x50000), 4096, false,
		    ROW("needs 4 MiB", "initrd of 1 MiB", "memory of 8 MiB")),
		ROW("so does the file itself", 8, ROW(0, 0x1000, 0, 0x300000), 2 * 1024 * 1024,
		    false, ROW("needs 3 MiB", "initrd of 2 MiB", "")),
		ROW("text_offset moves it out", 8, ROW(0x200000, 0x200001, 0, 0x50000), 0, false,
		    ROW("needs 3 MiB", "memory of 8 MiB", "")),
		ROW("text_offset behind the memory", 8, ROW(0x400000, 0x1000, 0, 0x50000), 0, false,
		    ROW("text_offset", "0x400000 bytes", "8 MiB")),
		ROW("text_offset 2^64-1", 8, ROW(UINT64_MAX, 0x1000, 0, 0x50000), 0, false,
		    ROW("text_offset", "0xffffffffffffffff bytes", "")),
		ROW("text_offset that wraps to the right place", 8,
		    ROW(-(uint64_t)0x80000000, 0x1000, 0, 0x50000), 0, false,
		    ROW("text_offset", "0xffffffff80000000", "")),
		ROW("image_size 2^64-1", 128, ROW(0, UINT64_MAX, 0, 0x50000), 0, false,
		    ROW("needs 17592186044416 MiB", "memory of 128 MiB", "")),
		ROW("image_size that wraps", 128, ROW(0x80000, -(uint64_t)0x80280000, 0, 0x50000),
		    0, false, ROW("needs 17592186042366 MiB", "", "")),
		ROW("an initrd larger than memory", 8, ROW(0, 0x60000, 0, 0x50000), 9 * 1024 * 1024,
		    false, ROW("initrd '/some/initrd' has 9 MiB", "memory of 8 MiB", "")),
		ROW("an initrd a byte too large", 8, ROW(0, 0x60000, 0, 0x50000),
		    4 * 1024 * 1024 + 1, false, ROW("initrd '/some/initrd' has 5 MiB", "", "")),
		ROW("no room for the kernel is left", 8, ROW(0, 0x60000, 0, 0x50000),
		    4 * 1024 * 1024, false, ROW("text_offset", "", "")),
		ROW("gzip: the header says too much", 8, ROW(0, 0x400001, 0, 0x50000), 0, true,
		    ROW("needs 5 MiB", "", "")),
		ROW("gzip: more comes out than the header says", 8, ROW(0, 0x1000, 0, 0x400001), 0,
		    true, ROW("needs 5 MiB", "memory of 8 MiB", "")),
		ROW("hardly any memory", 4, ROW(0, 0x60000, 0, 0x50000), 0, false,
		    ROW("memory (4 MiB)", "no room", "")),
	};
	return cr_make_param_array(struct fit_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct fit_case *c, boot, what_does_not_fit_is_refused_with_sizes)
{
	struct boot_rig r;
	size_t n = c->image.file_size;
	boot_rig_init(&r, c->mem_mib);
	uint8_t *image = boot_make_image(&c->image), *gz = NULL, *initrd = calloc(1, c->initrd + 1);
	if (c->is_gzip)
		gz = boot_gzip_of(image, c->image.file_size, &n);
	int rc = boot_rig_load(&r, boot_file_of(gz ? gz : image, n),
			       c->initrd ? boot_file_of(initrd, c->initrd) : -1);
	cr_expect_lt(rc, 0, "%s", c->claim);
	for (unsigned int i = 0; i < ARRAY_SIZE(c->words); i++)
		boot_expect_words(&r, c->words[i]);
	cr_expect_eq(r.img.entry, 0, "outputs are written only on success");
	cr_expect(boot_is_zero(&r, r.mem->region[0].gpa + c->mem_mib * MIB - LAYOUT_FDT_MAX,
			       r.mem->region[0].gpa + c->mem_mib * MIB));
	free(image);
	free(gz);
	free(initrd);
	boot_rig_fini(&r);
}

/* --- files --- */

Test(boot, big_endian_is_refused)
{
	const struct image_spec spec = { 0, 0x60000, 1, 0x50000 };
	struct boot_rig r;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec);
	cr_expect_eq(boot_rig_load(&r, boot_file_of(image, spec.file_size), -1), -EINVAL);
	boot_expect_words(&r, "big-endian");
	free(image);
	boot_rig_fini(&r);
}

struct type_case {
	char path[16];
	char words[32];
};

ParameterizedTestParameters(boot, only_regular_files)
{
	static struct type_case cases[] = { { "/", "a directory" },
					    { "/dev/zero", "a character device" },
					    { "fifo", "a FIFO" } };
	return cr_make_param_array(struct type_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct type_case *c, boot, only_regular_files)
{
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	struct boot_rig r;
	for (int as_initrd = 0; as_initrd < 2; as_initrd++) {
		int fds[2] = { -1, -1 };
		boot_rig_init(&r, 128);
		uint8_t *image = boot_make_image(&spec);
		int fd = open(c->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			cr_assert_eq(pipe(fds), 0);
			fd = fds[0];
		}
		if (as_initrd)
			cr_expect_eq(boot_rig_load(&r, boot_file_of(image, spec.file_size), fd),
				     -EINVAL);
		else
			cr_expect_eq(boot_rig_load(&r, fd, -1), -EINVAL);
		boot_expect_words(&r, c->words);
		boot_expect_words(&r,
				  as_initrd ? "initrd '/some/initrd'" : "kernel '/some/kernel'");
		if (fds[1] >= 0)
			(void)close(fds[1]);
		free(image);
		boot_rig_fini(&r);
	}
}

Test(boot, an_empty_initrd_is_refused)
{
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	struct boot_rig r;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec);
	cr_expect_eq(boot_rig_load(&r, boot_file_of(image, spec.file_size), boot_file_of("", 0)),
		     -EINVAL);
	boot_expect_words(&r, "initrd '/some/initrd' is an empty file");
	free(image);
	boot_rig_fini(&r);
}

Test(boot, a_file_that_cannot_be_read_is_reported)
{
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	char path[] = "/tmp/test_boot.XXXXXX";
	struct boot_rig r;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec);
	int fd = mkstemp(path);
	cr_assert_eq(write(fd, image, spec.file_size), (ssize_t)spec.file_size);
	(void)close(fd);
	cr_expect_eq(boot_rig_load(&r, open(path, O_WRONLY), -1), -EBADF);
	boot_expect_words(&r, "kernel '/some/kernel' cannot be read");
	cr_expect_eq(boot_rig_load(&r, boot_file_of(image, spec.file_size), open(path, O_WRONLY)),
		     -EBADF);
	boot_expect_words(&r, "initrd '/some/initrd' cannot be read");
	(void)unlink(path);
	free(image);
	boot_rig_fini(&r);
}

/* sysfs gives files 4096 bytes and then has fewer: what a file looks like that is cut while it is read. */
Test(boot, a_file_that_becomes_shorter_is_reported)
{
	static const char path[] = "/sys/devices/system/cpu/online";
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	struct boot_rig r;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec);
	cr_assert_eq(access(path, R_OK), 0);
	cr_expect_eq(boot_rig_load(&r, open(path, O_RDONLY | O_CLOEXEC), -1), -EIO);
	boot_expect_words(&r, "kernel '/some/kernel' became shorter");
	cr_expect_eq(boot_rig_load(&r, boot_file_of(image, spec.file_size),
				   open(path, O_RDONLY | O_CLOEXEC)),
		     -EIO);
	boot_expect_words(&r, "initrd '/some/initrd' became shorter");
	free(image);
	boot_rig_fini(&r);
}
