/* When each part of a start began and ended: the boot metric, the log's "Boot timeline" lines. */
#ifndef WICK_TIMELINE_H
#define WICK_TIMELINE_H

#include <stdint.h>

enum { TIMELINE_MAX = 24 };

struct timeline {
	uint64_t origin_us; /* CLOCK_MONOTONIC at process start */
	unsigned int n;
	struct {
		const char *name;          /* static */
		uint64_t start_us, end_us; /* since origin */
	} span[TIMELINE_MAX];
};

/* Names the span from the last one's end (or origin) until now. Dropped when the table is full. */
void timeline_mark(struct timeline *t, const char *name);
/* One log line each, at Debug. */
void timeline_log(const struct timeline *t);

#endif
