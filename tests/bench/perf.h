/*
 * Counters and sample rings of the kernel's perf events on one child process and all its threads.
 * They stay silent until the child calls exec.
 */
#ifndef BENCH_PERF_H
#define BENCH_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What is counted, in the order of counter_names[]. */
enum counter {
	CTR_VMM_INSTRUCTIONS,   /* iu: the monitor's own code */
	CTR_HOST_INSTRUCTIONS,  /* ik: the host kernel on its behalf */
	CTR_GUEST_INSTRUCTIONS, /* ig */
	CTR_EXITS,              /* all exits of the guest to the host kernel */
	CTR_USER_EXITS,         /* those of them that reach the monitor */
	CTR_GUEST_FAULTS,       /* stage-2 faults */
	CTR_SYSCALLS,
	CTR_PAGE_FAULTS,
	CTR_SWITCHES,
	CTR_TASK_CLOCK,
	CTR_COUNT,
};
extern const char *const counter_names[CTR_COUNT];

struct counters {
	int fd[CTR_COUNT];
};

/* Opens all; says on stderr which one failed. */
int counters_open(struct counters *c, pid_t child);
/* Stops all, then reads them. Counters that had to share hardware are no counters: -EBUSY. */
int counters_read(struct counters *c, uint64_t ret[CTR_COUNT]);

/* What is sampled. */
enum ring_kind {
	RING_ENTRY,   /* kvm:kvm_entry: the time alone */
	RING_CALLS,   /* raw_syscalls:sys_enter with arguments */
	RING_RETURNS, /* raw_syscalls:sys_exit */
	RING_FAULTS,  /* page faults: the instruction and the address */
	RING_PROFILE, /* the monitor's instruction pointer every so many ns */
	RING_COUNT,
};

struct sample {
	uint64_t ip;
	uint32_t pid, tid;
	uint64_t time; /* CLOCK_MONOTONIC, ns */
	uint64_t addr;
	int64_t call; /* RING_CALLS: the number, then its arguments */
	uint64_t args[6];
};

struct ring;
/* period 1: every event; larger: every so many. The ring keeps the first samples that fit. */
int ring_open(enum ring_kind kind, uint64_t period, pid_t child, struct ring **ret);
/* For poll(): readable once there is a sample. There is one file descriptor per CPU. */
unsigned int ring_fds(const struct ring *r, int fds[], unsigned int max);
void ring_stop(struct ring *r);
/* Next sample, earliest first over all CPUs; false when there is none left. */
bool ring_next(struct ring *r, struct sample *ret);
void ring_close(struct ring *r);

#endif
