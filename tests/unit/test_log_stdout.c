/* vmm/base/log.c on a stdout that nobody reads: each test ends its process if a line blocks. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include "vmm/base/log.h"

TestSuite(log_stdout, .timeout = 60);

/* A terminal says it is writable while it has room for a byte: a longer line would wait for the rest. */
Test(log_stdout, a_terminal_that_stands_still_does_not_block)
{
	int terminal, ours;
	cr_assert_eq(openpty(&terminal, &ours, NULL, NULL, NULL), 0);
	cr_assert_eq(dup2(ours, STDOUT_FILENO), STDOUT_FILENO);
	log_init("vm-1");
	for (int i = 0; i < 3000; i++)
		log_info("line %d on a terminal that nobody looks at", i);
	cr_expect_gt(log_missed_count(), 0);
	(void)close(terminal);
	cr_expect_eq(fcntl(ours, F_GETFL) & O_NONBLOCK, 0, "it is the user's shell's, too");
}

Test(log_stdout, a_full_stdout_does_not_block_a_signal_handler)
{
	int p[2];
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	cr_assert_eq(dup2(p[1], STDOUT_FILENO), STDOUT_FILENO);
	for (int i = 0; i < 3000; i++)
		log_write_from_signal(LOG_ERROR, "a line for a pipe that nobody reads");
	cr_expect_gt(log_missed_count(), 0);
}
