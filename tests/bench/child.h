/*
 * The measured process: forked, held until its counters are open, then let go into exec with a pipe
 * as its console.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int console;           /* what the process and its guest print */
	int go;                /* closing it lets the process go */
	struct shared *shared; /* what the process says before exec */
	char *text;            /* the console's output so far */
	size_t len, searched;
};

int child_fork(char *const argv[], struct child *ret);
void child_go(struct child *c);
/* When it called exec, in ns of CLOCK_MONOTONIC. */
uint64_t child_exec_time(const struct child *c);
/* 0, or the error that exec ended with. */
int child_exec_error(const struct child *c);
/* Takes what is in the pipe: 1, 0 at its end, -errno. */
int child_read(struct child *c);
/* Whether `mark` has been printed since the last call. */
bool child_has_printed(struct child *c, const char *mark);
void child_kill(struct child *c);

#endif
