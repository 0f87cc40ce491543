/* What the tests of boot.c, image.c and gunzip.c share. */
#ifndef WICK_TESTS_BOOT_RIG_H
#define WICK_TESTS_BOOT_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/arm64/boot.h"

struct image_spec {
	uint64_t text_offset, image_size, flags;
	size_t file_size;
};

/* A file in memory with these bytes; boot_rig_load closes it. */
int boot_file_of(const void *bytes, size_t n);
/* Byte i of an Image outside its header: never zero. */
uint8_t boot_pattern(uint64_t i);
/* Freed by the caller, as boot_gzip_of's. */
uint8_t *boot_make_image(const struct image_spec *spec);
uint8_t *boot_gzip_of(const void *data, size_t n, size_t *ret_n);

struct boot_rig {
	struct guest_mem *mem;
	struct boot_image img;
	struct err err;
};

void boot_rig_init(struct boot_rig *r, uint64_t mem_mib);
void boot_rig_fini(struct boot_rig *r);
/* boot_load of "/some/kernel" and, unless -1, "/some/initrd". */
int boot_rig_load(struct boot_rig *r, int kernel_fd, int initrd_fd);
const uint8_t *boot_at(const struct boot_rig *r, gpa_t gpa, uint64_t len);
bool boot_is_zero(const struct boot_rig *r, gpa_t from, gpa_t to);
void boot_expect_words(const struct boot_rig *r, const char *words);

#endif
