/*
 * What a process occupies: its memory, split into guest RAM and the rest, threads, descriptors.
 */
#ifndef BENCH_FOOTPRINT_H
#define BENCH_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct footprint {
	uint64_t ram_pss_kib;
	uint64_t pss_kib; /* without guest RAM, as all below */
	uint64_t rss_kib;
	uint64_t anon_kib;
	uint64_t page_tables_kib; /* of the whole process */
	uint64_t threads, fds;
};

/* A writable mapping of at least ram_mib is guest RAM. verbose: each mapping on stderr. */
int footprint_read(pid_t pid, uint64_t ram_mib, bool verbose, struct footprint *ret);

#endif
