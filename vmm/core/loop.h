/*
 * The event loop of the VMM thread: level-triggered epoll, callbacks run one at a time on the
 * thread that called loop_run. All functions are for that thread only (or before it runs), except
 * loop_stop.
 */
#ifndef WICK_CORE_LOOP_H
#define WICK_CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

typedef void (*loop_fn)(void *arg, uint32_t epoll_events);

/* Embedded by its owner, who keeps it alive until loop_remove. */
struct loop_event {
	int fd; /* -1: not in a loop */
	loop_fn fn;
	void *arg;
};

/* Who is called; not watched yet. */
void loop_event_init(struct loop_event *ev, loop_fn fn, void *arg);

int loop_create(struct loop **ret);
void loop_destroy(struct loop *l);

/* Watches `fd` (owned by the caller) for `epoll_events` (EPOLLIN …). 0, or -errno: not watched then. */
int loop_add(struct loop *l, struct loop_event *ev, int fd, uint32_t epoll_events);
/* As loop_add, for what is served while the loop is frozen, too: requests to the machine, not device work. */
int loop_add_control(struct loop *l, struct loop_event *ev, int fd, uint32_t epoll_events);
/* May be called from any callback, also for another event that is already due: it will not run. */
void loop_remove(struct loop *l, struct loop_event *ev);

/*
 * While frozen, only control events are dispatched; what else is due waits (a paused machine stands still:
 * contract 1.3). Takes effect before the next callback. Idempotent.
 */
void loop_freeze(struct loop *l, bool is_frozen);

/* Dispatches until loop_stop; returns the code given to it, or -errno. */
int loop_run(struct loop *l);
/* Any thread; the first code wins. */
void loop_stop(struct loop *l, int code);

#endif
