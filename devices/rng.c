/*
 * virtio-rng (virtio 1.2, 5.4): struct rng, one queue whose buffers are filled with the host
 * kernel's random numbers, straight into guest memory. VMM thread.
 */
#include "devices/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "devices/virtio/device.h"
#include "devices/virtio/transport.h"
#include "vmm/base/bits.h"

enum { QUEUE_SIZE = 256 };

/* A driver may get less than it asked for (5.4.6.2). Firecracker's limit: no request lasts long. */
#define REQUEST_BYTES_MAX (64 * KIB)

struct rng {
	struct virtio_dev virtio; /* first: the registry's and the transport's handle */
};

static int serve(struct virtio_dev *v, struct chain *c, uint32_t *ret_written)
{
	uint64_t want = min_u64(c->writable.bytes, REQUEST_BYTES_MAX);

	if (want == 0) {
		virtio_fail(v, "entropy request without a writable buffer");
		return -EBADMSG;
	}
	uint32_t done = 0;
	while (done < want) {
		const struct iovec *seg = c->writable.seg;
		ssize_t n = getrandom(seg->iov_base, min_u64(seg->iov_len, want - done), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* the driver takes what there is, which may be nothing */
		iov_skip(&c->writable, (uint64_t)n);
		done += (uint32_t)n;
	}
	*ret_written = done;
	return 0;
}

static void kick(struct virtio_dev *v, unsigned int queue)
{
	virtio_drain(v, queue, serve);
}

static void destroy(struct virtio_dev *v)
{
	virtio_fini(v);
	free(container_of(v, struct rng, virtio));
}

static const struct virtio_ops rng_virtio_ops = {
	.name = "rng",
	.type = VIRTIO_ID_RNG,
	.nqueues = 1,
	.queue_size = { QUEUE_SIZE },
	.kick = kick,
	.destroy = destroy,
};

static int rng_create(const struct device_env *env, const void *config, struct device **ret,
		      struct err *e)
{
	(void)config; /* there is none */
	struct rng *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set_os(e, -ENOMEM, "Cannot make the entropy device");
	virtio_init(&r->virtio, &rng_device_ops, &rng_virtio_ops, env, 0);
	int rc = virtio_attach(&r->virtio, e);
	if (rc < 0) {
		virtio_destroy(&r->virtio.device);
		return rc;
	}
	*ret = &r->virtio.device;
	return 0;
}

const struct device_ops rng_device_ops = {
	.kind = "rng",
	.create = rng_create,
	.describe = virtio_describe,
	.destroy = virtio_destroy,
	.resume = virtio_resume,
};
