/*
 * The guest's physical memory map: Firecracker's, so that its guests, tools and memory files fit.
 *
 *          0x0000_0000  (redistributors grow down from the distributor, 128 KiB a vCPU)
 *          0x3fff_0000  GICv3 distributor, 64 KiB
 *          0x4000_0000  boot timer, 4 KiB
 *          0x4000_1000  PL031 RTC, 4 KiB
 *          0x4000_2000  16550 UART, 4 KiB
 *          0x4000_3000  virtio-mmio, 4 KiB each, up to 0x7000_0000
 *          0x8000_0000  RAM: 2 MiB held back for the system, not in the memory node
 *          0x8020_0000  kernel Image (+ text_offset)
 *             …         initrd, page aligned, ending where the device tree starts
 *             …         device tree: as much of the end of the first RAM region as it needs
 *       0x40_0000_0000  64-bit MMIO window, 256 GiB; RAM goes on behind it
 *       0x80_0000_0000  second RAM region
 */
#ifndef WICK_ARM64_LAYOUT_H
#define WICK_ARM64_LAYOUT_H

#include "vmm/base/bits.h"

#define LAYOUT_GICV3_DIST       UINT64_C(0x3fff0000)
#define LAYOUT_GICV3_DIST_SIZE  (64 * KIB)
#define LAYOUT_GICV3_RDIST_SIZE (128 * KIB) /* each vCPU's; directly below the distributor */
#define LAYOUT_NR_IRQS          128u        /* INTIDs: GSI 0..95 are SPI 32..127 */
#define LAYOUT_NR_GSIS          (LAYOUT_NR_IRQS - 32)

#define LAYOUT_BOOT_TIMER  UINT64_C(0x40000000)
#define LAYOUT_RTC         UINT64_C(0x40001000)
#define LAYOUT_SERIAL      UINT64_C(0x40002000)
#define LAYOUT_VIRTIO      UINT64_C(0x40003000)
#define LAYOUT_VIRTIO_END  UINT64_C(0x70000000)
#define LAYOUT_MMIO_WINDOW (4 * KIB)

#define LAYOUT_RAM         UINT64_C(0x80000000)
#define LAYOUT_SYSTEM_SIZE (2 * MIB)
#define LAYOUT_KERNEL      (LAYOUT_RAM + LAYOUT_SYSTEM_SIZE)
#define LAYOUT_MMIO64      UINT64_C(0x4000000000)
#define LAYOUT_MMIO64_SIZE (256 * GIB)
#define LAYOUT_RAM_HIGH    (LAYOUT_MMIO64 + LAYOUT_MMIO64_SIZE)
#define LAYOUT_RAM_MAX     (1022 * GIB)
#define LAYOUT_FDT_MAX     (2 * MIB)
#define LAYOUT_CMDLINE_MAX 2048u /* bytes, as Firecracker */

#endif
