/* Bit fields, alignment and array lengths: the few inline helpers that every layer may use. */
#ifndef WICK_BASE_BITS_H
#define WICK_BASE_BITS_H

#include <stddef.h>
#include <stdint.h>

#define BIT32(n)          (UINT32_C(1) << (n))
#define BIT64(n)          (UINT64_C(1) << (n))
#define GENMASK32(hi, lo) ((UINT32_MAX >> (31 - (hi))) & (UINT32_MAX << (lo)))
#define GENMASK64(hi, lo) ((UINT64_MAX >> (63 - (hi))) & (UINT64_MAX << (lo)))

/* The field that `mask` selects, shifted down; and a value shifted up into it. */
#define FIELD_GET(mask, value)  (((value) & (mask)) / ((mask) & -(mask)))
#define FIELD_PREP(mask, value) (((value) * ((mask) & -(mask))) & (mask))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* `align` is a power of two. align_up wraps to 0 past the last multiple: check sizes before. */
static inline uint64_t align_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
