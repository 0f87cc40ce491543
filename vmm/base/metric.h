/*
 * Counters that any thread bumps and that the metrics writer reads. Relaxed: a counter orders
 * nothing, and a reader wants a recent value, not a consistent set.
 */
#ifndef WICK_BASE_METRIC_H
#define WICK_BASE_METRIC_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t metric_t;

static inline void metric_add(metric_t *m, uint64_t n)
{
	atomic_fetch_add_explicit(m, n, memory_order_relaxed);
}

static inline uint64_t metric_get(const metric_t *m)
{
	return atomic_load_explicit(m, memory_order_relaxed);
}

#endif
