/* The device tree blob, from data alone: descriptors in, bytes out. */
#ifndef WICK_ARM64_FDT_H
#define WICK_ARM64_FDT_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/fdt_desc.h"
#include "vmm/core/memory.h"

/* Bindings arm,gic-v3 and arm,gic-400, "interrupts" = <type number flags>. */
enum { FDT_IRQ_PPI = 1, FDT_IRQ_LEVEL_HIGH = 4 };

struct fdt_machine {
	const char *cmdline;
	gpa_t initrd;
	uint64_t initrd_size;
	const struct mem_range *ram; /* whole regions; the system area is taken off here */
	unsigned int nram;
	const uint64_t *mpidr; /* per vCPU, as read back */
	unsigned int ncpus;
	const uint8_t *rng_seed;      /* 64 bytes */
	const struct fdt_list *nodes; /* interrupt controller and devices, in order */
};

/* Bytes to keep for the tree of such a machine, a multiple of 4 KiB: enough, and little more. */
uint64_t fdt_room(unsigned int ncpus, unsigned int ndevices);

/* Builds the blob into `buf`. -ENOSPC if it does not fit; `ret_len`: its bytes. */
int fdt_build(const struct fdt_machine *m, void *buf, size_t size, size_t *ret_len, struct err *e);

#endif
