/* The choice of a transport for a virtio device. Owns nothing. VMM thread. */
#include "devices/virtio/transport.h"

#include "devices/virtio/mmio.h"

int virtio_attach(struct virtio_dev *v, struct err *e)
{
	return virtio_mmio_attach(v, e);
}
