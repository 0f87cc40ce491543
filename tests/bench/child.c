/*
 * Starts the process to be measured and takes its console.
 */
#include "tests/bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (1ul << 20) /* more than a guest prints at a boot with all its messages */

struct shared {
	uint64_t exec_time;
	int exec_error;
};

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock always exists */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void become(char *const argv[], struct shared *shared, int go, int console)
{
	char byte;
	int null = open("/dev/null", O_RDONLY);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no monitor survives its meter */
	if (null < 0 || dup2(null, 0) < 0 || dup2(console, 1) < 0 || dup2(console, 2) < 0)
		_exit(126);
	(void)close(null);
	while (read(go, &byte, 1) < 0 && errno == EINTR)
		;
	(void)close(go);
	shared->exec_time = now();
	(void)execv(argv[0], argv);
	shared->exec_error = errno;
	_exit(127);
}

int child_fork(char *const argv[], struct child *ret)
{
	int console[2], go[2];
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *text = malloc(TEXT_MAX);

	if (shared == MAP_FAILED || !text || pipe2(console, O_CLOEXEC) < 0 ||
	    pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	memset(text, 0, TEXT_MAX); /* touched now, not while measuring */
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		(void)close(go[1]);
		become(argv, shared, go[0], console[1]);
	}
	(void)close(console[1]);
	(void)close(go[0]);
	*ret = (struct child){
		.pid = pid, .console = console[0], .go = go[1], .shared = shared, .text = text
	};
	return 0;
}

void child_go(struct child *c)
{
	(void)close(c->go);
	c->go = -1;
}

uint64_t child_exec_time(const struct child *c)
{
	return c->shared->exec_time;
}

int child_exec_error(const struct child *c)
{
	return c->shared->exec_error;
}

int child_read(struct child *c)
{
	/* The pipe must not fill up; of too long an output the newer half is kept. */
	if (c->len > TEXT_MAX - 4096) {
		memmove(c->text, c->text + TEXT_MAX / 2, c->len - TEXT_MAX / 2);
		c->len -= TEXT_MAX / 2;
		c->searched -= c->searched < TEXT_MAX / 2 ? c->searched : TEXT_MAX / 2;
	}
	ssize_t n = read(c->console, c->text + c->len, 4096);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	c->len += (size_t)n;
	return n > 0;
}

bool child_has_printed(struct child *c, const char *mark)
{
	size_t size = strlen(mark);
	char *found = memmem(c->text + c->searched, c->len - c->searched, mark, size);

	/* It may be in the pipe in two parts. */
	if (found)
		c->searched = (size_t)(found - c->text) + size;
	else if (c->len >= c->searched + size)
		c->searched = c->len - size + 1;
	return found;
}

void child_kill(struct child *c)
{
	(void)kill(c->pid, SIGKILL);
	(void)waitpid(c->pid, NULL, 0); /* ours alone, and dead */
}
