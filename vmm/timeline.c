/* Boot timeline (struct timeline). VMM thread. */
#include "vmm/timeline.h"

#include "vmm/base/clock.h"
#include "vmm/base/log.h"

void timeline_mark(struct timeline *t, const char *name)
{
	if (t->n == TIMELINE_MAX)
		return;
	uint64_t start = t->n ? t->span[t->n - 1].end_us : 0;
	t->span[t->n].name = name;
	t->span[t->n].start_us = start;
	t->span[t->n].end_us = clock_monotonic_us() - t->origin_us;
	t->n++;
}

void timeline_log(const struct timeline *t)
{
	for (unsigned int i = 0; i < t->n; i++)
		log_debug("Boot timeline: %s start_us=%llu end_us=%llu", t->span[i].name,
			  (unsigned long long)t->span[i].start_us,
			  (unsigned long long)t->span[i].end_us);
}
