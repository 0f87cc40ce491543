/* What is in guest RAM before the first instruction: kernel Image and initrd, and the RAM's map. */
#ifndef WICK_ARM64_BOOT_H
#define WICK_ARM64_BOOT_H

#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/core/memory.h"

struct boot_image {
	gpa_t entry;           /* where PC starts */
	gpa_t kernel_end;      /* first byte behind image_size, bss included */
	gpa_t initrd;          /* 0: none */
	uint64_t initrd_size;  /* bytes */
	gpa_t fdt;             /* where the device tree goes, */
	uint64_t fdt_room;     /* into so many bytes */
	unsigned int page_kib; /* of the kernel's translation tables: 4, 16, 64; 0: not said */
};

/*
 * RAM ranges for `mem_mib` (1 .. 1022 GiB): one, or two around the 64-bit MMIO window. Returns how
 * many were filled in (1 or 2).
 */
unsigned int boot_ram_ranges(uint64_t mem_mib, struct mem_range ret[2]);
/* Physical address bits that the last byte of `mem_mib` of RAM needs. */
unsigned int boot_ipa_bits(uint64_t mem_mib);

/* Regular files, read from offset 0; the paths are for messages. */
struct boot_files {
	int kernel_fd;
	const char *kernel_path;
	int initrd_fd; /* -1: none */
	const char *initrd_path;
	/* Bytes to keep for the device tree, a multiple of 4 KiB up to LAYOUT_FDT_MAX. */
	uint64_t fdt_room;
};

/*
 * Reads kernel (arm64 Image or Image.gz) and initrd straight into guest memory
 * and places the device tree. The header is checked as the arm64 boot protocol defines it
 * (Documentation/arch/arm64/booting.rst); a wrong file is named with what it looks like.
 *
 * The initrd ends where the device tree starts, but at the latest 32 GiB behind the start of RAM:
 * the protocol wants it and the kernel in one window of that size.
 */
int boot_load(const struct guest_mem *mem, const struct boot_files *files, struct boot_image *ret,
	      struct err *e);

#endif
