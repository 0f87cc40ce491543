/* The virtio-mmio transport (virtio 1.2, 4.2): a 4 KiB window of registers, one edge interrupt. */
#ifndef WICK_DEVICES_VIRTIO_MMIO_H
#define WICK_DEVICES_VIRTIO_MMIO_H

#include "devices/virtio/device.h"

/*
 * Takes a window from the bus, a GSI and an eventfd per queue, and becomes v's transport. All or
 * nothing. VMM thread, before vCPUs run.
 */
int virtio_mmio_attach(struct virtio_dev *v, struct err *e);

#endif
