/* arch/arm64/gunzip.c through boot_load: damaged, cut and over-long gzip files. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arm64/gunzip.h"
#include "fakes/boot_rig.h"
#include "vmm/base/bits.h"

enum damage { CUT, FLIP, CRC, LENGTH, ZEROS_BEHIND, BYTES_BEHIND, FAR_BYTE_BEHIND, TWICE };

struct gzip_case {
	char claim[48];
	enum damage damage;
	int want;
	char words[48];
};

ParameterizedTestParameters(gunzip, gzip_is_checked_to_its_end)
{
	static struct gzip_case cases[] = {
		{ "cut off", CUT, -EINVAL, "is cut off" },
		{ "a flipped bit in the middle", FLIP, -EINVAL, "is damaged gzip data" },
		{ "a wrong CRC", CRC, -EINVAL, "incorrect data check" },
		{ "a wrong length", LENGTH, -EINVAL, "incorrect length check" },
		{ "zeros behind are padding", ZEROS_BEHIND, 0, "" },
		{ "other bytes behind are not", BYTES_BEHIND, -EINVAL, "other data behind" },
		{ "nor are they 300 KiB later", FAR_BYTE_BEHIND, -EINVAL, "other data behind" },
		{ "a second member would be left out", TWICE, -EINVAL, "other data behind" },
	};
	return cr_make_param_array(struct gzip_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct gzip_case *c, gunzip, gzip_is_checked_to_its_end)
{
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	const size_t behind = 300 * 1024;
	struct boot_rig r;
	size_t n;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec), *gz = boot_gzip_of(image, spec.file_size, &n);
	gz = realloc(gz, 2 * n + behind);
	memset(gz + n, 0, n + behind);
	size_t size = n;
	switch (c->damage) {
	case CUT:
		size = n - 1;
		break;
	case FLIP:
		gz[n / 2] ^= 0x10;
		break;
	case CRC:
		gz[n - 8] ^= 1;
		break;
	case LENGTH:
		gz[n - 1] ^= 1;
		break;
	case ZEROS_BEHIND:
		size = n + behind;
		break;
	case BYTES_BEHIND:
		gz[size++] = 0xee;
		break;
	case FAR_BYTE_BEHIND:
		size = n + behind;
		gz[size - 1] = 0xee;
		break;
	case TWICE:
		memcpy(gz + n, gz, n);
		size = 2 * n;
		break;
	}
	cr_expect_eq(boot_rig_load(&r, boot_file_of(gz, size), -1), c->want, "%s: %s", c->claim,
		     r.err.text);
	boot_expect_words(&r, c->words);
	if (c->want) {
		cr_expect_eq(r.img.entry, 0);
		boot_expect_words(&r, "The kernel '/some/kernel' ");
	}
	free(image);
	free(gz);
	boot_rig_fini(&r);
}

/* Sparse, it costs nothing on disk; read to its end, it holds the VMM thread, and so the API, for hours. */
Test(gunzip, a_file_that_is_endless_behind_its_data_is_refused, .timeout = 30)
{
	const struct image_spec spec = { 0, 0x60000, 0, 0x50000 };
	struct boot_rig r;
	size_t n;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec), *gz = boot_gzip_of(image, spec.file_size, &n);
	int fd = boot_file_of(gz, n);
	cr_assert_eq(ftruncate(fd, (off_t)(4096 * GIB)), 0);
	cr_expect_eq(boot_rig_load(&r, fd, -1), -EINVAL, "%s", r.err.text);
	boot_expect_words(&r, "MiB of zeros behind the gzip data");
	free(image);
	free(gz);
	boot_rig_fini(&r);
}

Test(gunzip, every_prefix_of_a_gzip_file_is_refused)
{
	const struct image_spec spec = { 0, 0x60000, 0, 200 };
	struct boot_rig r;
	size_t n;
	boot_rig_init(&r, 128);
	uint8_t *image = boot_make_image(&spec), *gz = boot_gzip_of(image, spec.file_size, &n);
	for (size_t i = 0; i < n; i++)
		cr_expect_eq(boot_rig_load(&r, boot_file_of(gz, i), -1), -EINVAL,
			     "%zu of %zu bytes", i, n);
	cr_expect_eq(boot_rig_load(&r, boot_file_of(gz, n), -1), 0, "%s", r.err.text);
	free(image);
	free(gz);
	boot_rig_fini(&r);
}

Test(gunzip, a_file_that_becomes_shorter_is_reported)
{
	uint8_t data[4096], out[sizeof(data)];
	struct gunzip g;
	struct err e;
	size_t n;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = boot_pattern(i);
	uint8_t *gz = boot_gzip_of(data, sizeof(data), &n);
	int fd = boot_file_of(gz, n);
	cr_assert_eq(gunzip_init(&g, fd, n + 1, &e), 0);
	cr_expect_eq(gunzip_read(&g, out, sizeof(out), &e), -EIO);
	cr_expect(strstr(e.text, "became shorter"), "%s", e.text);
	gunzip_fini(&g);
	gunzip_fini(&g);
	(void)close(fd);
	free(gz);
}

Test(gunzip, reads_in_any_portions)
{
	static const size_t portions[] = { 1, 7, 100, 4095, 100000 };
	uint8_t data[5000], out[sizeof(data)];
	struct err e;
	size_t n;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = boot_pattern(i);
	uint8_t *gz = boot_gzip_of(data, sizeof(data), &n);
	for (unsigned int i = 0; i < ARRAY_SIZE(portions); i++) {
		struct gunzip g;
		size_t done = 0;
		int fd = boot_file_of(gz, n);
		cr_assert_eq(gunzip_init(&g, fd, n, &e), 0);
		while (done < sizeof(out)) {
			const size_t want = min_u64(portions[i], sizeof(out) - done);
			cr_assert_eq(gunzip_read(&g, out + done, want, &e), (ssize_t)want);
			done += want;
		}
		cr_expect_eq(gunzip_read(&g, out, 0, &e), 0);
		cr_expect_eq(gunzip_finish(&g, &e), 0, "%s", e.text);
		cr_expect_arr_eq(out, data, sizeof(data));
		gunzip_fini(&g);
		(void)close(fd);
	}
	free(gz);
}
