/* devices/block/disk.c on real files of every awkward kind. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/disk.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

/* Each test works in a folder of its own. */
static char dir[] = "/tmp/wick-test-disk-XXXXXX";

static void enter_dir(void)
{
	const struct log_config quiet = { .has_level = true, .level = LOG_OFF };
	struct err e = { "" };
	cr_assert_eq(log_configure(&quiet, &e), 0);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chdir(dir), 0);
}

static void leave_dir(void)
{
	static const char *const names[] = { "disk", "link", "fifo", "log" };
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(names[i]); /* most are not there */
	cr_expect_eq(rmdir(dir), 0);
}

static void make_file(const char *name, off_t bytes)
{
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, bytes), 0);
	close(fd);
}

struct size_case {
	char claim[40];
	uint64_t bytes, nsectors;
};

ParameterizedTestParameters(disk, sizes)
{
	static struct size_case cases[] = {
		{ "an empty file", 0, 0 },
		{ "less than a sector", 511, 0 },
		{ "one sector", 512, 1 },
		{ "a tail of one byte", 513, 1 },
		{ "a tail of 511 bytes", 1023, 1 },
		{ "larger than 32 bits", 5 * GIB, 5 * GIB / 512 },
	};
	return cr_make_param_array(struct size_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct size_case *c, disk, sizes, .init = enter_dir, .fini = leave_dir)
{
	struct disk *d = NULL;
	make_file("disk", (off_t)c->bytes);
	cr_assert_eq(disk_open("disk", false, &d), 0, "%s", c->claim);
	cr_expect_eq(disk_nsectors(d), c->nsectors, "%s", c->claim);
	disk_close(d);
}

static off_t size_of(const char *name)
{
	struct stat st;
	cr_assert_eq(stat(name, &st), 0);
	return st.st_size;
}

Test(disk, a_dropped_tail_is_warned_of, .init = enter_dir, .fini = leave_dir)
{
	const struct log_config to_file = {
		.has_log_path = true, .log_path = "log", .has_level = true, .level = LOG_WARN
	};
	struct err e = { "" };
	struct disk *d = NULL;
	cr_assert_eq(log_configure(&to_file, &e), 0, "%s", e.text);
	make_file("disk", 1024);
	cr_assert_eq(disk_open("disk", false, &d), 0);
	disk_close(d);
	cr_expect_eq(size_of("log"), 0, "nothing to say of a whole number of sectors");
	make_file("disk", 1025);
	cr_assert_eq(disk_open("disk", false, &d), 0);
	disk_close(d);
	cr_expect_gt(size_of("log"), 0);
}

struct open_case {
	char path[32];
	bool read_only;
	int want;
};

ParameterizedTestParameters(disk, what_can_be_opened)
{
	static struct open_case cases[] = {
		{ "disk", false, 0 },
		{ "./disk", true, 0 },
		{ "link", false, 0 },
		{ "nowhere", false, -ENOENT },
		{ "disk/inside", false, -ENOTDIR },
		{ "", false, -ENOENT },
		{ ".", false, -EISDIR },
		{ ".", true, -EISDIR },
		{ "fifo", false, -EINVAL },
		{ "fifo", true, -EINVAL },
		{ "/dev/null", false, -EINVAL },
	};
	return cr_make_param_array(struct open_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct open_case *c, disk, what_can_be_opened, .init = enter_dir,
		  .fini = leave_dir, .timeout = 10)
{
	struct disk *d = NULL;
	make_file("disk", 512);
	cr_assert_eq(symlink("disk", "link"), 0);
	cr_assert_eq(mkfifo("fifo", 0600), 0);
	cr_expect_eq(disk_open(c->path, c->read_only, &d), c->want, "%s", c->path);
	cr_expect_eq(d != NULL, c->want == 0, "%s", c->path);
	disk_close(d);
}

/* Writes or reads `len` bytes in pieces of 100, 1 and the rest. */
static int transfer(struct disk *d, uint8_t *bytes, size_t len, uint64_t sector, bool write)
{
	struct iovec seg[3];
	struct iov v = { .seg = seg };
	iov_add(&v, bytes, 100);
	iov_add(&v, bytes + 100, 1);
	iov_add(&v, bytes + 101, len - 101);
	int rc = write ? disk_write(d, &v, sector) : disk_read(d, &v, sector);
	if (rc == 0)
		cr_expect_eq(v.bytes, 0, "all of it");
	return rc;
}

Test(disk, what_is_written_is_read_back, .init = enter_dir, .fini = leave_dir)
{
	static uint8_t out[8192], in[8192];
	struct disk *d = NULL;
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	make_file("disk", 6 * GIB);
	cr_assert_eq(disk_open("disk", false, &d), 0);
	const uint64_t sectors[] = { 0, 1, 17, 5 * GIB / 512, disk_nsectors(d) - 16 };
	for (unsigned int i = 0; i < ARRAY_SIZE(sectors); i++) {
		memset(in, 0, sizeof(in));
		out[0] = (uint8_t)i;
		cr_assert_eq(transfer(d, out, sizeof(out), sectors[i], true), 0);
		cr_assert_eq(disk_flush(d), 0);
		cr_assert_eq(transfer(d, in, sizeof(in), sectors[i], false), 0);
		cr_expect_eq(memcmp(in, out, sizeof(in)), 0, "sector %llu",
			     (unsigned long long)sectors[i]);
	}
	cr_expect_eq(size_of("disk"), (off_t)(6 * GIB), "and it has not grown");
	disk_close(d);
}

Test(disk, a_file_that_became_shorter_is_an_error, .init = enter_dir, .fini = leave_dir)
{
	static uint8_t in[1024];
	struct disk *d = NULL;
	make_file("disk", 4096);
	cr_assert_eq(disk_open("disk", false, &d), 0);
	make_file("disk", 3072 + 600); /* make_file truncates what is there */
	cr_expect_eq(transfer(d, in, sizeof(in), 4, false), 0, "before the new end");
	cr_expect_eq(transfer(d, in, sizeof(in), 6, false), -EIO, "across it");
	cr_expect_eq(transfer(d, in, sizeof(in), 8, false), -EIO, "behind it");
	disk_close(d);
}

Test(disk, read_only_is_enforced_by_the_kernel, .init = enter_dir, .fini = leave_dir)
{
	static uint8_t bytes[512];
	struct disk *d = NULL;
	make_file("disk", 512);
	cr_assert_eq(disk_open("disk", true, &d), 0);
	cr_expect_eq(transfer(d, bytes, sizeof(bytes), 0, true), -EBADF);
	cr_expect_eq(disk_flush(d), 0);
	disk_close(d);
}

Test(disk, the_id_is_device_and_inode, .init = enter_dir, .fini = leave_dir)
{
	struct stat st;
	struct disk *d = NULL;
	char want[64] = "";
	uint8_t id[DISK_ID_SIZE];
	make_file("disk", 512);
	cr_assert_eq(stat("disk", &st), 0);
	snprintf(want, sizeof(want), "%llu%llu%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino);
	cr_assert_eq(disk_open("disk", false, &d), 0);
	memset(id, 0xee, sizeof(id));
	disk_id(d, id);
	cr_expect_eq(memcmp(id, want, sizeof(id)), 0, "cut to 20, padded with NUL");
	disk_close(d);
}

Test(disk, closing_nothing_is_fine)
{
	disk_close(NULL);
}
