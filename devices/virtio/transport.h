/* Which transport a virtio device gets: the one place that knows them all. */
#ifndef WICK_DEVICES_VIRTIO_TRANSPORT_H
#define WICK_DEVICES_VIRTIO_TRANSPORT_H

struct err;
struct virtio_dev;

/*
 * Gives the device, after virtio_init, its transport. 0, or -errno with the message; then it has
 * none. VMM thread, before vCPUs run.
 */
int virtio_attach(struct virtio_dev *v, struct err *e);

#endif
