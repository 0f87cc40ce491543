/*
 * virtio-block (virtio 1.2, 5.2): struct blk, one queue, one disk. Requests run one after the other
 * on the VMM thread, under the device's lock, straight between the disk and guest memory.
 *
 * Beyond Firecracker's features it offers SEG_MAX and indirect descriptors, so that a guest's 128
 * KiB read stays one request, SIZE_MAX, which bounds one, and BLK_SIZE, so that its sector size is
 * no guess.
 */
#include "devices/block/block.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/disk.h"
#include "devices/virtio/device.h"
#include "devices/virtio/transport.h"
#include "vmm/base/bits.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"

enum { QUEUE_SIZE = 256, SEG_MAX = QUEUE_SIZE - 2 /* header and status take one each */ };

/*
 * One request is served in one go, and API, pause and other devices wait for it. Its descriptors may all name the same
 * memory, so no guest is too small to ask for 4 GiB; honest drivers stay below SEG_MAX times SIZE_MAX, half the limit.
 */
#define SIZE_MAX_BYTES    (128 * KIB)
#define REQUEST_BYTES_MAX (64 * MIB)

/* The configuration space up to blk_size; geometry is not offered and reads 0. */
#define CONFIG_SIZE offsetof(struct virtio_blk_config, physical_block_exp)

struct blk {
	struct virtio_dev virtio; /* first: the registry's and the transport's handle */
	struct disk *disk;
	char drive_id[65];
	bool is_read_only;
	bool can_flush; /* FLUSH was offered */
};

struct request {
	uint32_t type;
	uint64_t sector;
};

static struct blk *to_blk(struct virtio_dev *v)
{
	return container_of(v, struct blk, virtio);
}

/* Does the data lie on the disk, in whole sectors, and is it not too much? */
static bool can_transfer(const struct blk *b, uint64_t sector, uint64_t bytes)
{
	return bytes % SECTOR_SIZE == 0 && bytes <= REQUEST_BYTES_MAX &&
	       range_fits(sector, bytes >> SECTOR_SHIFT, disk_nsectors(b->disk));
}

static int do_read(struct blk *b, const struct request *r, struct chain *c)
{
	return can_transfer(b, r->sector, c->writable.bytes)
		       ? disk_read(b->disk, &c->writable, r->sector)
		       : -EINVAL;
}

static int do_write(struct blk *b, const struct request *r, struct chain *c)
{
	if (b->is_read_only)
		return -EROFS;
	return can_transfer(b, r->sector, c->readable.bytes)
		       ? disk_write(b->disk, &c->readable, r->sector)
		       : -EINVAL;
}

static int do_flush(struct blk *b, const struct request *r, struct chain *c)
{
	(void)r; /* 5.2.6: the sector of a flush says nothing */
	(void)c;
	return b->can_flush ? disk_flush(b->disk) : -EOPNOTSUPP;
}

static int do_get_id(struct blk *b, const struct request *r, struct chain *c)
{
	uint8_t id[DISK_ID_SIZE];

	(void)r;
	disk_id(b->disk, id);
	return iov_put(&c->writable, id, sizeof(id)) ? 0 : -EINVAL;
}

static const struct request_type {
	uint32_t type;
	const char *name;
	int (*run)(struct blk *b, const struct request *r, struct chain *c);
} request_types[] = {
	{ VIRTIO_BLK_T_IN, "read", do_read },
	{ VIRTIO_BLK_T_OUT, "write", do_write },
	{ VIRTIO_BLK_T_FLUSH, "flush", do_flush },
	{ VIRTIO_BLK_T_GET_ID, "get id", do_get_id },
};

static const struct request_type *find_type(uint32_t type)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(request_types); i++)
		if (request_types[i].type == type)
			return &request_types[i];
	return NULL;
}

/* Header and status byte are off the chain: what is left is data. Returns the status byte. */
static uint8_t run_request(struct blk *b, const struct request *r, struct chain *c)
{
	const struct request_type *t = find_type(r->type);
	int rc = t ? t->run(b, r, c) : -EOPNOTSUPP;
	if (rc == 0)
		return VIRTIO_BLK_S_OK;
	log_guest(LOG_ERROR, "Drive %s: %s request for sector %llu failed: %s", b->drive_id,
		  t ? t->name : "unknown", (unsigned long long)r->sector, strerror(-rc));
	return rc == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* A chain: 16 bytes of header, data, a status byte; cut into buffers anywhere (5.2.6). */
static int serve(struct virtio_dev *v, struct chain *c, uint32_t *ret_written)
{
	struct virtio_blk_outhdr header;
	struct blk *b = to_blk(v);
	uint8_t *status = iov_take_last(&c->writable);

	if (!status) {
		virtio_fail(v, "request without a status byte");
		return -EBADMSG;
	}
	uint64_t room = c->writable.bytes;
	if (iov_get(&c->readable, &header, sizeof(header))) {
		const struct request r = { load_le32(&header.type), load_le64(&header.sector) };
		*status = run_request(b, &r, c);
	} else {
		*status = VIRTIO_BLK_S_IOERR; /* a request shorter than its header */
	}
	/*
	 * 2.7.8.2: bytes written from the start of the writable part. A failed request's status
	 * byte lies behind data that nobody wrote: then only what came before counts.
	 */
	uint64_t data = room - c->writable.bytes;
	*ret_written = (uint32_t)(data == room ? data + 1 : data);
	return 0;
}

static void kick(struct virtio_dev *v, unsigned int queue)
{
	virtio_drain(v, queue, serve);
}

static void destroy(struct virtio_dev *v)
{
	struct blk *b = to_blk(v);

	disk_close(b->disk);
	virtio_fini(v);
	free(b);
}

static const struct virtio_ops blk_virtio_ops = {
	.name = "block",
	.type = VIRTIO_ID_BLOCK,
	.config_size = CONFIG_SIZE,
	.nqueues = 1,
	.queue_size = { QUEUE_SIZE },
	.kick = kick,
	.destroy = destroy,
};

static void fill_config(struct blk *b)
{
	uint8_t *config = b->virtio.config;

	store_le64(config + offsetof(struct virtio_blk_config, capacity), disk_nsectors(b->disk));
	store_le32(config + offsetof(struct virtio_blk_config, size_max), SIZE_MAX_BYTES);
	store_le32(config + offsetof(struct virtio_blk_config, seg_max), SEG_MAX);
	store_le32(config + offsetof(struct virtio_blk_config, blk_size), SECTOR_SIZE);
}

/* Firecracker's wording, which its clients match. */
static int open_disk(const struct block_config *config, struct disk **ret, struct err *e)
{
	char os_text[128];
	int rc = disk_open(config->path_on_host, config->is_read_only, ret);
	if (rc < 0)
		return err_set(e, rc,
			       "Virtio backend error: Error manipulating the backing file: %s %s",
			       err_os_text(-rc, os_text, sizeof(os_text)), config->path_on_host);
	return 0;
}

static int blk_create(const struct device_env *env, const void *config, struct device **ret,
		      struct err *e)
{
	const struct block_config *c = config;
	struct blk *b = calloc(1, sizeof(*b));
	if (!b)
		return err_set_os(e, -ENOMEM, "Cannot make drive %s", c->drive_id);
	b->is_read_only = c->is_read_only;
	b->can_flush = c->cache_type == BLOCK_CACHE_WRITEBACK; /* absent reads as Unsafe */
	memcpy(b->drive_id, c->drive_id, sizeof(b->drive_id));
	virtio_init(&b->virtio, &block_device_ops, &blk_virtio_ops, env,
		    BIT64(VIRTIO_BLK_F_SIZE_MAX) | BIT64(VIRTIO_BLK_F_SEG_MAX) |
			    BIT64(VIRTIO_BLK_F_BLK_SIZE) |
			    (b->is_read_only ? BIT64(VIRTIO_BLK_F_RO) : 0) |
			    (b->can_flush ? BIT64(VIRTIO_BLK_F_FLUSH) : 0));

	int rc = open_disk(c, &b->disk, e);
	if (rc == 0) {
		fill_config(b);
		rc = virtio_attach(&b->virtio, e);
	}
	if (rc < 0) {
		virtio_destroy(&b->virtio.device);
		return rc;
	}
	*ret = &b->virtio.device;
	return 0;
}

int block_check(const struct block_config *config, struct err *e)
{
	struct disk *d;
	int rc = open_disk(config, &d, e);
	if (rc == 0)
		disk_close(d);
	return rc;
}

const struct device_ops block_device_ops = {
	.kind = "block",
	.create = blk_create,
	.describe = virtio_describe,
	.destroy = virtio_destroy,
	.resume = virtio_resume,
};
