/* vmm/base/clock.c: the right clock in the right unit. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <time.h>

#include "vmm/base/clock.h"

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;
	cr_assert_eq(clock_gettime(id, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

Test(clock, each_lies_between_two_looks_at_its_clock)
{
	uint64_t before, now, after;

	before = now_ns(CLOCK_MONOTONIC);
	now = clock_monotonic_ns();
	after = now_ns(CLOCK_MONOTONIC);
	cr_expect(before <= now && now <= after, "monotonic, ns");

	before = now_ns(CLOCK_MONOTONIC) / 1000;
	now = clock_monotonic_us();
	after = now_ns(CLOCK_MONOTONIC) / 1000;
	cr_expect(before <= now && now <= after, "monotonic, us");

	before = now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1000;
	now = clock_process_cpu_us();
	after = now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1000;
	cr_expect(before <= now && now <= after, "process CPU time, us");

	before = now_ns(CLOCK_REALTIME) / 1000000000u;
	now = clock_realtime_s();
	after = now_ns(CLOCK_REALTIME) / 1000000000u;
	cr_expect(before <= now && now <= after, "real time, s");
}

Test(clock, sleeping_costs_no_cpu_time)
{
	const struct timespec nap = { .tv_nsec = 50000000 };
	uint64_t cpu = clock_process_cpu_us(), wall = clock_monotonic_us();
	(void)nanosleep(&nap, NULL); /* cut short, the comparison below still holds */
	cpu = clock_process_cpu_us() - cpu;
	wall = clock_monotonic_us() - wall;
	cr_expect_lt(cpu, wall);
}
