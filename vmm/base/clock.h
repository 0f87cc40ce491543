/* The clocks that figures and log lines are taken from. Units in the names. */
#ifndef WICK_BASE_CLOCK_H
#define WICK_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_monotonic_ns(void);
uint64_t clock_monotonic_us(void);
/* CPU time of this process, all threads. */
uint64_t clock_process_cpu_us(void);
/* Seconds since 1970, UTC. */
uint64_t clock_realtime_s(void);

#endif
