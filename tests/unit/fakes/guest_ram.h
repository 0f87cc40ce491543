/* Guest RAM for tests: a real mem_create mapping in two regions, and the guest's own pen. */
#ifndef WICK_TESTS_GUEST_RAM_H
#define WICK_TESTS_GUEST_RAM_H

#include "vmm/base/bits.h"
#include "vmm/core/memory.h"

#define GUEST_RAM           UINT64_C(0x80000000)
#define GUEST_RAM_SIZE      (32 * MIB)
#define GUEST_RAM_HIGH      UINT64_C(0x8000000000)
#define GUEST_RAM_HIGH_SIZE (2 * MIB)

/* Fails the test if it cannot. mem_destroy frees it. */
struct guest_mem *guest_ram_create(void);

/* Host address of an address inside RAM. */
void *guest_ram_at(const struct guest_mem *mem, gpa_t gpa);

#endif
