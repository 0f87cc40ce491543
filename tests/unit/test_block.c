/* devices/block/block.c as a guest's driver sees it: requests of every shape, on a real file. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "fakes/virtq_driver.h"
#include "vmm/base/endian.h"

#define RINGS    GUEST_RAM
#define HEADER   (GUEST_RAM + 0x10000)
#define STATUS   (GUEST_RAM + 0x11000)
#define TABLE    (GUEST_RAM + 0x12000)
#define DATA     (GUEST_RAM + 0x20000)
#define VERSION  BIT64(VIRTIO_F_VERSION_1)
#define INDIRECT BIT64(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENTS   BIT64(VIRTIO_RING_F_EVENT_IDX)

enum { NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE, NO_STATUS = 0xee, NSECTORS = 64 };
enum { OK = VIRTIO_BLK_S_OK, IOERR = VIRTIO_BLK_S_IOERR, UNSUPP = VIRTIO_BLK_S_UNSUPP };
enum { IN = VIRTIO_BLK_T_IN, OUT = VIRTIO_BLK_T_OUT };

struct rig {
	struct machine m;
	struct virtq q;
	struct block_config config;
	int fd; /* the file behind the disk, for a second opinion */
};

static void file_init(struct rig *r, off_t bytes)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->config.drive_id, "rootfs");
	strcpy(r->config.path_on_host, "/tmp/wick-test-block-XXXXXX");
	r->fd = mkstemp(r->config.path_on_host);
	cr_assert_geq(r->fd, 0);
	cr_assert_eq(ftruncate(r->fd, bytes), 0);
}

static void plug(struct rig *r)
{
	machine_init(&r->m);
	machine_plug(&r->m, &block_device_ops, &r->config);
	virtq_init(&r->q, r->m.mem, RINGS, 256);
	machine_bring_up(&r->m, VERSION | INDIRECT, &r->q);
}

/* A disk of NSECTORS, whose every byte tells where it is. */
static void rig_init(struct rig *r)
{
	uint8_t sector[512];
	file_init(r, NSECTORS * 512);
	for (unsigned int i = 0; i < NSECTORS; i++) {
		for (unsigned int k = 0; k < sizeof(sector); k++)
			sector[k] = (uint8_t)(i * 31 + k);
		cr_assert_eq(pwrite(r->fd, sector, sizeof(sector), i * 512),
			     (ssize_t)sizeof(sector));
	}
	plug(r);
}

static void rig_fini(struct rig *r)
{
	machine_fini(&r->m);
	unlink(r->config.path_on_host);
	close(r->fd);
}

static uint8_t *at(const struct rig *r, gpa_t gpa)
{
	return guest_ram_at(r->m.mem, gpa);
}

static void put_header(const struct rig *r, uint32_t type, uint64_t sector)
{
	store_le32(at(r, HEADER), type);
	store_le32(at(r, HEADER + 4), 0);
	store_le64(at(r, HEADER + 8), sector);
	*at(r, STATUS) = NO_STATUS;
}

/* Offers head 0, kicks, and returns the used length; the chain must come back. */
static uint32_t run(struct rig *r)
{
	uint32_t id = UINT32_MAX, len = UINT32_MAX;
	virtq_offer(&r->q, 0);
	machine_kick(&r->m, 0);
	cr_assert(virtq_take_used(&r->q, &id, &len), "the request did not come back");
	cr_expect_eq(id, 0);
	cr_expect(machine_take_irq(&r->m));
	return len;
}

/* The plain shape: header, data (if any), status, a descriptor each. Returns the status byte. */
static uint8_t request(struct rig *r, uint32_t type, uint64_t sector, uint32_t bytes,
		       uint32_t *ret_len)
{
	uint16_t direction = type == OUT ? 0 : WRITE;
	put_header(r, type, sector);
	virtq_desc(&r->q, 0, DESC(HEADER, 16, NEXT, bytes ? 1 : 2));
	virtq_desc(&r->q, 1, DESC(DATA, bytes, NEXT | direction, 2));
	virtq_desc(&r->q, 2, DESC(STATUS, 1, WRITE, 0));
	uint32_t len = run(r);
	if (ret_len)
		*ret_len = len;
	return *at(r, STATUS);
}

static uint8_t want_byte(uint64_t offset)
{
	return (uint8_t)(offset / 512 * 31 + offset % 512);
}

static void expect_data(const struct rig *r, gpa_t gpa, uint64_t disk_offset, uint32_t bytes,
			const char *claim)
{
	for (uint32_t i = 0; i < bytes; i++)
		cr_assert_eq(*at(r, gpa + i), want_byte(disk_offset + i), "%s: byte %u", claim, i);
}

/* --- what is offered ------------------------------------------------------------------------------ */

struct offer_case {
	char claim[32];
	bool is_read_only;
	enum block_cache cache_type;
	uint32_t want; /* low word */
};

ParameterizedTestParameters(block, features)
{
	enum {
		BASE = 1 << VIRTIO_BLK_F_SIZE_MAX | 1 << VIRTIO_BLK_F_SEG_MAX |
		       1 << VIRTIO_BLK_F_BLK_SIZE | 0x30000000
	};
	static struct offer_case cases[] = {
		{ "cache type not given", false, 0, BASE },
		{ "Unsafe", false, BLOCK_CACHE_UNSAFE, BASE },
		{ "Writeback", false, BLOCK_CACHE_WRITEBACK, BASE | 1 << VIRTIO_BLK_F_FLUSH },
		{ "read-only", true, BLOCK_CACHE_UNSAFE, BASE | 1 << VIRTIO_BLK_F_RO },
	};
	return cr_make_param_array(struct offer_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct offer_case *c, block, features)
{
	struct rig r;
	file_init(&r, 512);
	r.config.is_read_only = c->is_read_only;
	r.config.cache_type = c->cache_type;
	plug(&r);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
	machine_write(&r.m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_DEVICE_FEATURES), c->want, "%s", c->claim);
	cr_expect_eq(request(&r, VIRTIO_BLK_T_FLUSH, 0, 0, NULL),
		     c->cache_type == BLOCK_CACHE_WRITEBACK ? OK : UNSUPP, "%s", c->claim);
	rig_fini(&r);
}

/* --- requests ------------------------------------------------------------------------------------- */

struct request_case {
	char claim[56];
	uint32_t type;
	uint64_t sector;
	uint32_t bytes;
	uint8_t want;
	uint32_t want_len;
};

/* clang-format off */
ParameterizedTestParameters(block, requests)
{
	static struct request_case cases[] = {
		{ "the first sector",			IN, 0, 512, OK, 513 },
		{ "the last sector",			IN, NSECTORS - 1, 512, OK, 513 },
		{ "all of it",				IN, 0, NSECTORS * 512, OK, NSECTORS * 512 + 1 },
		{ "nothing, inside",			IN, 1, 0, OK, 1 },
		{ "nothing, at the end",		IN, NSECTORS, 0, OK, 1 },
		{ "nothing, behind the end",		IN, NSECTORS + 1, 0, IOERR, 1 },
		{ "one sector behind the end",		IN, NSECTORS, 512, IOERR, 0 },
		{ "across the end",			IN, NSECTORS - 1, 1024, IOERR, 0 },
		{ "less than a sector",			IN, 0, 511, IOERR, 0 },
		{ "a sector and a byte",		IN, 0, 513, IOERR, 0 },
		{ "sector 2^63, whose offset wraps to 0", IN, BIT64(63), 512, IOERR, 0 },
		{ "sector 2^55, whose offset wraps to 0", IN, BIT64(55), 512, IOERR, 0 },
		{ "sector 2^54, a negative offset",	IN, BIT64(54), 512, IOERR, 0 },
		{ "the last sector there is",		IN, UINT64_MAX, 512, IOERR, 0 },
		{ "a write",				OUT, 3, 1024, OK, 1 },
		{ "a write across the end",		OUT, NSECTORS - 1, 1024, IOERR, 1 },
		{ "a write of odd length",		OUT, 0, 100, IOERR, 1 },
		{ "a write to sector 2^63",		OUT, BIT64(63), 512, IOERR, 1 },
		{ "GET_ID",				VIRTIO_BLK_T_GET_ID, 0, 20, OK, 21 },
		{ "GET_ID with more room than needed",	VIRTIO_BLK_T_GET_ID, 0, 64, OK, 20 },
		{ "GET_ID with too little",		VIRTIO_BLK_T_GET_ID, 0, 19, IOERR, 0 },
		{ "GET_ID with none",			VIRTIO_BLK_T_GET_ID, 0, 0, IOERR, 1 },
		{ "GET_ID does not look at the sector",	VIRTIO_BLK_T_GET_ID, UINT64_MAX, 20, OK, 21 },
		{ "DISCARD is not offered",		VIRTIO_BLK_T_DISCARD, 0, 16, UNSUPP, 0 },
		{ "WRITE_ZEROES is not offered",	VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, UNSUPP, 0 },
		{ "SCSI commands are of the past",	2, 0, 0, UNSUPP, 1 },
		{ "no such type",			0x12345678, 0, 512, UNSUPP, 0 },
		{ "all ones",				UINT32_MAX, 0, 0, UNSUPP, 1 },
	};
	return cr_make_param_array(struct request_case, cases, ARRAY_SIZE(cases));
}
/* clang-format on */
ParameterizedTest(struct request_case *c, block, requests)
{
	struct rig r;
	struct stat st;
	uint32_t len;
	rig_init(&r);
	memset(at(&r, DATA), 0xaa, NSECTORS * 512);
	cr_expect_eq(request(&r, c->type, c->sector, c->bytes, &len), c->want, "%s: status %u",
		     c->claim, *at(&r, STATUS));
	cr_expect_eq(len, c->want_len, "%s: used length %u", c->claim, len);
	if (c->type == IN && c->want == OK)
		expect_data(&r, DATA, c->sector * 512, c->bytes, c->claim);
	else if (c->type != VIRTIO_BLK_T_GET_ID)
		cr_expect_eq(*at(&r, DATA), 0xaa, "%s: the buffer is as it was", c->claim);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0xf, "%s: the device lives", c->claim);
	cr_assert_eq(fstat(r.fd, &st), 0);
	cr_expect_eq(st.st_size, NSECTORS * 512, "%s: the file has not grown", c->claim);
	rig_fini(&r);
}

Test(block, what_is_written_is_read_back_and_in_the_file)
{
	static uint8_t file[NSECTORS * 512];
	struct rig r;
	rig_init(&r);
	for (uint32_t i = 0; i < 4096; i++)
		*at(&r, DATA + i) = (uint8_t)(i * 13 + 5);
	cr_assert_eq(request(&r, OUT, 9, 4096, NULL), OK);
	memset(at(&r, DATA), 0, 4096);
	cr_assert_eq(request(&r, IN, 9, 4096, NULL), OK);
	cr_assert_eq(pread(r.fd, file, sizeof(file), 0), (ssize_t)sizeof(file));
	for (uint32_t i = 0; i < 4096; i++)
		cr_assert_eq(*at(&r, DATA + i), (uint8_t)(i * 13 + 5), "byte %u", i);
	for (uint32_t i = 0; i < sizeof(file); i++)
		cr_assert_eq(file[i],
			     i / 512 - 9 < 8 ? (uint8_t)((i - 9 * 512) * 13 + 5) : want_byte(i),
			     "byte %u of the file", i);
	rig_fini(&r);
}

Test(block, read_only_refuses_writes_and_serves_reads)
{
	struct rig r;
	uint8_t byte;
	file_init(&r, 1024);
	r.config.is_read_only = true;
	cr_assert_eq(fchmod(r.fd, 0400), 0);
	plug(&r);
	memset(at(&r, DATA), 0xaa, 512);
	cr_expect_eq(request(&r, OUT, 0, 512, NULL), IOERR);
	cr_assert_eq(pread(r.fd, &byte, 1, 0), 1);
	cr_expect_eq(byte, 0);
	cr_expect_eq(request(&r, IN, 0, 512, NULL), OK);
	cr_expect_eq(*at(&r, DATA), 0);
	rig_fini(&r);
}

Test(block, the_id_is_the_files)
{
	struct rig r;
	struct stat st;
	char want[64] = "";
	rig_init(&r);
	cr_assert_eq(fstat(r.fd, &st), 0);
	snprintf(want, sizeof(want), "%llu%llu%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino);
	memset(at(&r, DATA), 0xaa, 64);
	cr_assert_eq(request(&r, VIRTIO_BLK_T_GET_ID, 0, 20, NULL), OK);
	cr_expect_eq(memcmp(at(&r, DATA), want, 20), 0);
	cr_expect_eq(*at(&r, DATA + 20), 0xaa);
	rig_fini(&r);
}

/* --- shapes --------------------------------------------------------------------------------------- */

enum { FIRST_SECTOR = 5, BYTES = 1024 };

/* A read or write of BYTES whose chain starts with descriptors 0.. that the caller wrote and goes on here. */
static void expect_shape(struct rig *r, uint32_t type, const char *claim)
{
	uint32_t len = run(r);
	cr_expect_eq(*at(r, STATUS), OK, "%s: status %u", claim, *at(r, STATUS));
	cr_expect_eq(len, type == IN ? BYTES + 1 : 1, "%s: used length %u", claim, len);
}

/* Header cut after `cut` bytes; with `glued`, its second part and the data are one descriptor. */
static void cut_header(struct rig *r, uint32_t type, uint32_t cut, bool glued)
{
	gpa_t second = glued ? DATA - (16 - cut) : HEADER + cut;
	uint16_t direction = type == IN ? WRITE : 0;
	put_header(r, type, FIRST_SECTOR);
	if (glued)
		memcpy(at(r, second), at(r, HEADER + cut), 16 - cut);
	virtq_desc(&r->q, 0, DESC(HEADER, cut, NEXT, 1));
	virtq_desc(&r->q, 1, DESC(second, 16 - cut + (glued ? BYTES : 0), NEXT, glued ? 3 : 2));
	virtq_desc(&r->q, 2, DESC(DATA, BYTES, NEXT | direction, 3));
	virtq_desc(&r->q, 3, DESC(STATUS, 1, WRITE, 0));
}

Test(block, the_header_may_be_cut_anywhere)
{
	struct rig r;
	char claim[48];
	rig_init(&r);
	for (uint32_t cut = 1; cut < 16; cut++) {
		snprintf(claim, sizeof(claim), "read, cut at %u", cut);
		memset(at(&r, DATA), 0, BYTES);
		cut_header(&r, IN, cut, false);
		expect_shape(&r, IN, claim);
		expect_data(&r, DATA, FIRST_SECTOR * 512, BYTES, claim);

		snprintf(claim, sizeof(claim), "write, cut at %u, rest with the data", cut);
		cut_header(&r, OUT, cut, true);
		expect_shape(&r, OUT, claim);
		cr_assert_eq(request(&r, IN, FIRST_SECTOR, BYTES, NULL), OK);
		expect_data(&r, DATA, FIRST_SECTOR * 512, BYTES, claim);
	}
	rig_fini(&r);
}

Test(block, every_byte_may_be_a_descriptor)
{
	struct rig r;
	uint16_t n = 0;
	rig_init(&r);
	put_header(&r, IN, FIRST_SECTOR);
	for (; n < 16; n++)
		virtq_desc(&r.q, n, DESC(HEADER + n, 1, NEXT, n + 1));
	/* The data in pieces of every size that do not add up to sectors in between, scattered. */
	gpa_t gpa = DATA;
	for (uint32_t left = BYTES; left > 0; n++) {
		uint32_t len = n < left ? n : left;
		virtq_desc(&r.q, n, DESC(gpa, len, NEXT | WRITE, n + 1));
		gpa += len + 64;
		left -= len;
	}
	virtq_desc(&r.q, n, DESC(STATUS, 1, WRITE, 0));
	expect_shape(&r, IN, "scattered");
	gpa = DATA;
	for (uint32_t i = 16, done = 0; done < BYTES; i++) {
		uint32_t len = i < BYTES - done ? i : BYTES - done;
		expect_data(&r, gpa, FIRST_SECTOR * 512 + done, len, "scattered");
		gpa += len + 64;
		done += len;
	}
	rig_fini(&r);
}

Test(block, the_status_byte_may_share_a_descriptor_with_the_data)
{
	struct rig r;
	rig_init(&r);
	put_header(&r, IN, FIRST_SECTOR);
	*at(&r, DATA + BYTES) = NO_STATUS;
	virtq_desc(&r.q, 0, DESC(HEADER, 16, NEXT, 1));
	virtq_desc(&r.q, 1, DESC(DATA, BYTES + 1, WRITE, 0));
	cr_expect_eq(run(&r), BYTES + 1);
	cr_expect_eq(*at(&r, DATA + BYTES), OK);
	cr_expect_eq(*at(&r, STATUS), NO_STATUS);
	expect_data(&r, DATA, FIRST_SECTOR * 512, BYTES, "shared");
	rig_fini(&r);
}

Test(block, a_whole_request_in_an_indirect_table_of_256)
{
	enum { SEGS = 254 }; /* seg_max: 127 KiB */
	struct rig r;
	file_init(&r, SEGS * 512);
	plug(&r);
	put_header(&r, IN, 0);
	memset(at(&r, DATA), 0xaa, SEGS * 512);
	virtq_write_desc(&r.q, TABLE, 0, DESC(HEADER, 16, NEXT, 1));
	for (uint16_t i = 1; i <= SEGS; i++)
		virtq_write_desc(&r.q, TABLE, i,
				 DESC(DATA + (i - 1) * UINT64_C(512), 512, NEXT | WRITE, i + 1));
	virtq_write_desc(&r.q, TABLE, SEGS + 1, DESC(STATUS, 1, WRITE, 0));
	virtq_desc(&r.q, 0, DESC(TABLE, (SEGS + 2) * 16, VRING_DESC_F_INDIRECT, 0));
	cr_expect_eq(run(&r), SEGS * 512 + 1);
	cr_expect_eq(*at(&r, STATUS), OK);
	cr_expect_eq(*at(&r, DATA + SEGS * 512 - 1), 0);
	rig_fini(&r);
}

Test(block, a_header_that_is_too_short_fails_in_the_status_byte)
{
	struct rig r;
	rig_init(&r);
	for (uint32_t len = 1; len < 16; len++) {
		put_header(&r, IN, 0);
		virtq_desc(&r.q, 0, DESC(HEADER, len, NEXT, 1));
		virtq_desc(&r.q, 1, DESC(STATUS, 1, WRITE, 0));
		cr_expect_eq(run(&r), 1);
		cr_expect_eq(*at(&r, STATUS), IOERR, "header of %u bytes", len);
	}
	virtq_desc(&r.q, 0, DESC(STATUS, 1, WRITE, 0));
	*at(&r, STATUS) = NO_STATUS;
	cr_expect_eq(run(&r), 1, "no header at all");
	cr_expect_eq(*at(&r, STATUS), IOERR);
	rig_fini(&r);
}

Test(block, a_request_without_a_status_byte_needs_a_reset)
{
	struct rig r;
	rig_init(&r);
	put_header(&r, IN, 0);
	virtq_desc(&r.q, 0, DESC(HEADER, 16, 0, 0));
	virtq_offer(&r.q, 0);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0x4f);
	virtq_init(&r.q, r.m.mem, RINGS, 256);
	machine_bring_up(&r.m, VERSION, &r.q);
	cr_expect_eq(request(&r, IN, 0, 512, NULL), OK, "and a reset mends it");
	rig_fini(&r);
}

/* --- batches -------------------------------------------------------------------------------------- */

Test(block, a_full_ring_is_served_and_so_is_what_comes_behind_it)
{
	struct rig r;
	uint32_t id, len;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION | EVENTS, &r.q);
	for (uint16_t round = 0; round < 4; round++) {
		/* 85 requests of three descriptors each fill 255 entries; each 16 KiB read goes its own way. */
		for (uint16_t i = 0; i < 85; i++) {
			gpa_t header = HEADER + i * UINT64_C(16);
			store_le32(at(&r, header), IN);
			store_le64(at(&r, header + 8), i % NSECTORS);
			virtq_desc(&r.q, 3 * i, DESC(header, 16, NEXT, 3 * i + 1));
			virtq_desc(&r.q, 3 * i + 1,
				   DESC(DATA + i * UINT64_C(512), 512, NEXT | WRITE, 3 * i + 2));
			virtq_desc(&r.q, 3 * i + 2, DESC(STATUS + i, 1, WRITE, 0));
			*at(&r, STATUS + i) = NO_STATUS;
			virtq_offer(&r.q, 3 * i);
		}
		machine_kick(&r.m, 0);
		for (uint16_t i = 0; i < 85; i++) {
			cr_assert(virtq_take_used(&r.q, &id, &len), "round %u, request %u", round,
				  i);
			cr_expect(id == 3u * i && len == 513);
			cr_expect_eq(*at(&r, STATUS + i), OK);
			expect_data(&r, DATA + i * UINT64_C(512), i % NSECTORS * UINT64_C(512), 512,
				    "batch");
		}
	}
	rig_fini(&r);
}

Test(block, more_bytes_than_a_batch_may_hold_are_served_in_several)
{
	struct rig r;
	file_init(&r, 16 * MIB);
	plug(&r);
	put_header(&r, IN, 0);
	virtq_desc(&r.q, 0, DESC(HEADER, 16, NEXT, 1));
	virtq_desc(&r.q, 1, DESC(GUEST_RAM + 16 * MIB, 16 * MIB, NEXT | WRITE, 2));
	virtq_desc(&r.q, 2, DESC(STATUS, 1, WRITE, 0));
	for (int i = 0; i < 7; i++)
		virtq_offer(&r.q, 0);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 7);
	rig_fini(&r);
}

/*
 * Descriptors may all name the same bytes, so that a small guest can ask for 4 GiB at once: the VMM thread, and with it
 * the API, would be busy for that long. size_max and seg_max keep honest drivers far below the limit.
 */
Test(block, a_request_of_more_than_64_mib_fails_at_once)
{
	static const struct {
		const char *claim;
		uint32_t type;
		uint16_t segs; /* of 16 MiB */
		uint8_t want;
	} rows[] = {
		{ "a read of 64 MiB", IN, 4, OK },
		{ "a read of more", IN, 5, IOERR },
		{ "a read of nearly 4 GiB", IN, 254, IOERR },
		{ "a write of more", OUT, 5, IOERR },
	};
	struct rig r;
	file_init(&r, (off_t)(4 * GIB));
	plug(&r);
	cr_expect_leq(machine_read(&r.m, VIRTIO_MMIO_CONFIG + 8) *
			      (uint64_t)machine_read(&r.m, VIRTIO_MMIO_CONFIG + 12),
		      64 * MIB, "what is offered is served");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const uint16_t n = rows[i].segs, direction = rows[i].type == OUT ? 0 : WRITE;
		put_header(&r, rows[i].type, 0);
		virtq_desc(&r.q, 0, DESC(HEADER, 16, NEXT, 1));
		for (uint16_t k = 1; k <= n; k++)
			virtq_desc(&r.q, k,
				   DESC(GUEST_RAM + 16 * MIB, 16 * MIB, NEXT | direction, k + 1));
		virtq_desc(&r.q, n + 1, DESC(STATUS, 1, WRITE, 0));
		(void)run(&r); /* its length is another test's */
		cr_expect_eq(*at(&r, STATUS), rows[i].want, "%s", rows[i].claim);
	}
	cr_expect_eq(lseek(r.fd, 0, SEEK_DATA), -1, "nothing was written");
	rig_fini(&r);
}

/* --- creation ------------------------------------------------------------------------------------- */

Test(block, an_empty_file_is_a_disk_of_no_sectors)
{
	struct rig r;
	file_init(&r, 0);
	plug(&r);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_CONFIG), 0);
	cr_expect_eq(request(&r, IN, 0, 512, NULL), IOERR);
	cr_expect_eq(request(&r, VIRTIO_BLK_T_GET_ID, 0, 20, NULL), OK);
	rig_fini(&r);
}

Test(block, a_tail_is_neither_read_nor_written)
{
	struct rig r;
	file_init(&r, 1024 + 100);
	plug(&r);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_CONFIG), 2);
	cr_expect_eq(request(&r, IN, 1, 512, NULL), OK);
	cr_expect_eq(request(&r, OUT, 2, 512, NULL), IOERR);
	rig_fini(&r);
}

Test(block, a_file_that_became_shorter_fails_reads)
{
	struct rig r;
	rig_init(&r);
	cr_assert_eq(ftruncate(r.fd, 512 * 10), 0);
	cr_expect_eq(request(&r, IN, 9, 512, NULL), OK);
	cr_expect_eq(request(&r, IN, 9, 1024, NULL), IOERR);
	rig_fini(&r);
}

Test(block, check_and_create_say_what_is_wrong_with_the_file)
{
	struct block_config config = { .path_on_host = "/nowhere/at/all.ext4" };
	struct device *d = NULL;
	struct err e = { "" };
	struct machine m;
	static const char want[] =
		"Virtio backend error: Error manipulating the backing file: No such file or "
		"directory (os error 2) /nowhere/at/all.ext4";
	cr_expect_eq(block_check(&config, &e), -ENOENT);
	cr_expect_str_eq(e.text, want);
	machine_init(&m);
	e.text[0] = '\0';
	cr_expect_eq(block_device_ops.create(&m.env, &config, &d, &e), -ENOENT);
	cr_expect_str_eq(e.text, want);
	cr_expect_null(d);
	machine_fini(&m);
}

Test(block, check_accepts_what_can_be_opened)
{
	struct err e = { "" };
	struct rig r;
	file_init(&r, 0);
	cr_expect_eq(block_check(&r.config, &e), 0, "%s", e.text);
	unlink(r.config.path_on_host);
	close(r.fd);
}
