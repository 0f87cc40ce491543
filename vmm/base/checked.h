/* Arithmetic on untrusted numbers: each says true on overflow and then writes nothing useful. */
#ifndef WICK_BASE_CHECKED_H
#define WICK_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool add_overflows_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return __builtin_add_overflow(a, b, ret);
}

static inline bool mul_overflows_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	return __builtin_mul_overflow(a, b, ret);
}

static inline bool add_overflows_u32(uint32_t a, uint32_t b, uint32_t *ret)
{
	return __builtin_add_overflow(a, b, ret);
}

/* Does [start, start + len) lie within [0, limit)? Never overflows. */
static inline bool range_fits(uint64_t start, uint64_t len, uint64_t limit)
{
	return start <= limit && len <= limit - start;
}

#endif
