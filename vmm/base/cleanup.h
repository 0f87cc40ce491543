/* Release at the end of the scope by declaration; take_*() hands ownership over on success. */
#ifndef WICK_BASE_CLEANUP_H
#define WICK_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_fn(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through it that a close could lose */
}

static inline void cleanup_free_fn(void *p)
{
	free(*(void **)p);
}

static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

static inline void *take_ptr_fn(void *p)
{
	void *taken = *(void **)p;
	*(void **)p = NULL;
	return taken;
}

#define cleanup_close __attribute__((cleanup(cleanup_close_fn)))
#define cleanup_free  __attribute__((cleanup(cleanup_free_fn)))
#define take_ptr(pp)  ((__typeof__(*(pp)))take_ptr_fn(pp))

/* Closes *fd if it is open and marks it closed: for destructors of half-built objects. */
static inline void close_fd(int *fd)
{
	cleanup_close_fn(fd);
	*fd = -1;
}

#endif
