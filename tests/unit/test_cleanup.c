/* vmm/base/cleanup.h: what is declared is released, what is taken is not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/cleanup.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* Leaves the fd's number in *ret; hands the fd over if `take`. */
static int open_in_scope(bool take, int *ret)
{
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	*ret = fd;
	return take ? take_fd(&fd) : -1;
}

Test(cleanup, a_declared_fd_is_closed_at_the_scopes_end)
{
	int fd;
	(void)open_in_scope(false, &fd);
	cr_assert_geq(fd, 0);
	cr_expect_not(is_open(fd));
}

Test(cleanup, a_taken_fd_stays_open)
{
	int fd;
	cr_assert_eq(open_in_scope(true, &fd), fd);
	cr_expect(is_open(fd));
	cr_expect_eq(close(fd), 0);
}

Test(cleanup, fd_0_is_an_fd_too)
{
	int saved = dup(0);
	cr_assert_geq(saved, 0);
	cr_assert_eq(dup2(saved, 0), 0);
	{
		cleanup_close int fd = 0;
		(void)fd; /* its declaration closes it */
	}
	cr_expect_not(is_open(0));
	cr_expect_eq(dup2(saved, 0), 0);
	(void)close(saved); /* the test's own copy */
}

Test(cleanup, a_closed_one_is_left_alone_and_errno_too)
{
	errno = ENOENT;
	{
		cleanup_close int fd = -1;
		(void)fd; /* its declaration is the test */
	}
	cr_expect_eq(errno, ENOENT, "-1 must not be closed: %d", errno);
}

Test(cleanup, close_fd_marks_it_closed_and_may_be_repeated)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;
	close_fd(&fd);
	cr_expect_eq(fd, -1);
	cr_expect_not(is_open(number));
	close_fd(&fd);
	cr_expect_eq(fd, -1);
}

/* LeakSanitizer and AddressSanitizer are the judges of these two. */
Test(cleanup, memory_is_freed_unless_it_is_taken)
{
	char *kept;
	{
		cleanup_free char *dropped = strdup("dropped");
		cleanup_free char *handed_over = strdup("kept");
		cleanup_free char *never = NULL;
		cr_assert(dropped && !never);
		kept = take_ptr(&handed_over);
		cr_expect_null(handed_over);
	}
	cr_expect_str_eq(kept, "kept");
	free(kept);
}
