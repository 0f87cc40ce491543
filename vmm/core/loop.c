/*
 * The VMM thread's event loop (struct loop): epoll, one callback at a time. loop_stop alone may be
 * called from elsewhere: it writes an eventfd that the loop itself watches.
 */
#include "vmm/core/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"

enum { BATCH = 16, NOT_STOPPED = -1 };

struct loop {
	int epoll_fd;   /* all events */
	int control_fd; /* those of loop_add_control once more */
	bool is_frozen; /* control_fd is waited on */
	struct loop_event stop_event;
	_Atomic int stop_code; /* NOT_STOPPED, or the code; stored before stop_event is signalled */
	struct epoll_event due[BATCH]; /* the batch being dispatched */
	int ndue;
};

static void on_stop(void *arg, uint32_t events)
{
	(void)arg; /* the code is in stop_code already; this only woke us */
	(void)events;
}

int loop_create(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->stop_code = NOT_STOPPED;
	loop_event_init(&l->stop_event, on_stop, l);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->control_fd = epoll_create1(EPOLL_CLOEXEC);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = l->epoll_fd < 0 || l->control_fd < 0 || fd < 0
			 ? -errno
			 : loop_add_control(l, &l->stop_event, fd, EPOLLIN);
	if (rc < 0) {
		close_fd(&fd);
		l->stop_event.fd = -1;
		loop_destroy(l);
		return rc;
	}
	*ret = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	close_fd(&l->stop_event.fd);
	close_fd(&l->control_fd);
	close_fd(&l->epoll_fd);
	free(l);
}

void loop_event_init(struct loop_event *ev, loop_fn fn, void *arg)
{
	*ev = (struct loop_event){ .fd = -1, .fn = fn, .arg = arg };
}

static int watch(int epoll_fd, struct loop_event *ev, int fd, uint32_t epoll_events)
{
	struct epoll_event e = { .events = epoll_events, .data.ptr = ev };
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int loop_add(struct loop *l, struct loop_event *ev, int fd, uint32_t epoll_events)
{
	int rc = watch(l->epoll_fd, ev, fd, epoll_events);
	ev->fd = rc < 0 ? -1 : fd;
	return rc;
}

int loop_add_control(struct loop *l, struct loop_event *ev, int fd, uint32_t epoll_events)
{
	int rc = loop_add(l, ev, fd, epoll_events);
	if (rc < 0)
		return rc;
	rc = watch(l->control_fd, ev, fd, epoll_events);
	if (rc < 0)
		loop_remove(l, ev);
	return rc;
}

void loop_freeze(struct loop *l, bool is_frozen)
{
	l->is_frozen = is_frozen;
	if (is_frozen)
		l->ndue = 0; /* level-triggered: what was due is due again after the thaw */
}

void loop_remove(struct loop *l, struct loop_event *ev)
{
	if (ev->fd < 0)
		return;
	/* Nothing to do where it is not in: no control event, or already closed. */
	(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, ev->fd, NULL);
	(void)epoll_ctl(l->control_fd, EPOLL_CTL_DEL, ev->fd, NULL);
	ev->fd = -1;
	for (int i = 0; i < l->ndue; i++)
		if (l->due[i].data.ptr == ev)
			l->due[i].data.ptr = NULL;
}

static void dispatch(struct loop *l)
{
	for (int i = 0; i < l->ndue; i++) {
		struct loop_event *ev = l->due[i].data.ptr;
		if (ev)
			ev->fn(ev->arg, l->due[i].events);
	}
	l->ndue = 0;
}

int loop_run(struct loop *l)
{
	for (;;) {
		/* Acquire: pairs with loop_stop's release, so what the stopper wrote before is seen. */
		int code = atomic_load_explicit(&l->stop_code, memory_order_acquire);
		if (code != NOT_STOPPED)
			return code;
		int n = epoll_wait(l->is_frozen ? l->control_fd : l->epoll_fd, l->due, BATCH, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		l->ndue = n < 0 ? 0 : n;
		dispatch(l);
	}
}

void loop_stop(struct loop *l, int code)
{
	int expected = NOT_STOPPED;
	if (atomic_compare_exchange_strong(&l->stop_code, &expected, code))
		(void)io_event_signal(l->stop_event.fd); /* cannot fail but by a full counter */
}
