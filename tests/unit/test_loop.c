/* vmm/core/loop.c: callbacks one at a time, removal from within, stopping from anywhere. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/io.h"
#include "vmm/core/loop.h"

TestSuite(loop, .timeout = 20);

enum { MAX_NODES = 40 };

/* An eventfd in the loop; what its callback does is in the fields. */
struct node {
	struct loop *loop;
	struct loop_event ev;
	int fd;
	unsigned int runs;
	uint32_t events;
	bool keep_signalled;
	struct node *remove;   /* removes this one, which may be itself */
	struct node *add;      /* adds this one */
	unsigned int stop_at;  /* stops the loop at this run; 0: never */
	unsigned int *counter; /* the order of runs, shared */
	unsigned int order;    /* of the last run */
};

static void on_node(void *arg, uint32_t events)
{
	struct node *n = arg;
	n->runs++;
	n->events = events;
	if (n->counter)
		n->order = ++*n->counter;
	if (!n->keep_signalled)
		(void)io_event_drain(n->fd); /* a spurious run shows in `runs` */
	if (n->add)
		cr_assert_eq(loop_add(n->loop, &n->add->ev, n->add->fd, EPOLLIN), 0);
	n->add = NULL;
	if (n->remove)
		loop_remove(n->loop, &n->remove->ev);
	if (n->runs == n->stop_at)
		loop_stop(n->loop, 7);
}

static void node_make(struct node *n, struct loop *l)
{
	*n = (struct node){ .loop = l };
	loop_event_init(&n->ev, on_node, n);
	n->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cr_assert_geq(n->fd, 0);
}

static void node_init(struct node *n, struct loop *l)
{
	node_make(n, l);
	cr_assert_eq(loop_add(l, &n->ev, n->fd, EPOLLIN), 0);
}

static void node_fini(struct node *n)
{
	loop_remove(n->loop, &n->ev);
	cr_expect_eq(close(n->fd), 0);
}

static struct loop *make(void)
{
	struct loop *l = NULL;
	cr_assert_eq(loop_create(&l), 0);
	return l;
}

Test(loop, each_due_event_runs_once_with_its_events)
{
	struct loop *l = make();
	struct node n[3];
	for (int i = 0; i < 3; i++)
		node_init(&n[i], l);
	cr_assert_eq(io_event_signal(n[0].fd), 0);
	cr_assert_eq(io_event_signal(n[2].fd), 0);
	n[2].stop_at = 1;
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(n[0].runs, 1);
	cr_expect_eq(n[1].runs, 0, "nothing was signalled");
	cr_expect_eq(n[2].runs, 1);
	cr_expect_eq(n[0].events, EPOLLIN);
	for (int i = 0; i < 3; i++)
		node_fini(&n[i]);
	loop_destroy(l);
}

Test(loop, an_event_that_is_not_drained_runs_again)
{
	struct loop *l = make();
	struct node n;
	node_init(&n, l);
	n.keep_signalled = true;
	n.stop_at = 5;
	cr_assert_eq(io_event_signal(n.fd), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(n.runs, 5);
	node_fini(&n);
	loop_destroy(l);
}

/* More than one batch; nobody starves behind events that stay due. */
Test(loop, many_due_events_all_run_before_any_runs_twice)
{
	struct loop *l = make();
	struct node n[MAX_NODES];
	for (int i = 0; i < MAX_NODES; i++) {
		node_init(&n[i], l);
		n[i].keep_signalled = true;
		cr_assert_eq(io_event_signal(n[i].fd), 0);
	}
	n[0].stop_at = 3;
	cr_expect_eq(loop_run(l), 7);
	for (int i = 0; i < MAX_NODES; i++)
		cr_expect(n[i].runs == 2 || n[i].runs == 3, "event %d ran %u times", i, n[i].runs);
	for (int i = 0; i < MAX_NODES; i++)
		node_fini(&n[i]);
	loop_destroy(l);
}

Test(loop, events_run_in_the_order_they_became_due)
{
	struct loop *l = make();
	struct node n[4];
	unsigned int counter = 0;
	static const int order[] = { 2, 0, 3, 1 };
	for (int i = 0; i < 4; i++) {
		node_init(&n[i], l);
		n[i].counter = &counter;
	}
	for (int i = 0; i < 4; i++)
		cr_assert_eq(io_event_signal(n[order[i]].fd), 0);
	n[order[3]].stop_at = 1;
	cr_expect_eq(loop_run(l), 7);
	for (unsigned int i = 0; i < 4; i++)
		cr_expect_eq(n[order[i]].order, i + 1);
	for (int i = 0; i < 4; i++)
		node_fini(&n[i]);
	loop_destroy(l);
}

/* Whichever of the two runs first removes the other: exactly one runs. */
Test(loop, a_due_event_that_another_removes_does_not_run)
{
	struct loop *l = make();
	struct node n[2], last;
	for (int i = 0; i < 2; i++) {
		node_init(&n[i], l);
		n[i].remove = &n[!i];
		cr_assert_eq(io_event_signal(n[i].fd), 0);
	}
	node_init(&last, l);
	last.stop_at = 1;
	cr_assert_eq(io_event_signal(last.fd), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(n[0].runs + n[1].runs, 1);
	cr_expect_eq(n[n[0].runs ? 1 : 0].ev.fd, -1, "marked as out of the loop");
	node_fini(&n[0]);
	node_fini(&n[1]);
	node_fini(&last);
	loop_destroy(l);
}

Test(loop, an_event_may_remove_itself_and_be_added_again)
{
	struct loop *l = make();
	struct node once, adder;
	node_init(&once, l);
	once.keep_signalled = true;
	once.remove = &once;
	cr_assert_eq(io_event_signal(once.fd), 0);
	node_init(&adder, l);
	adder.keep_signalled = true;
	adder.stop_at = 4;
	cr_assert_eq(io_event_signal(adder.fd), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(once.runs, 1, "still signalled, but not in the loop");
	node_fini(&adder);
	loop_destroy(l);

	l = make();
	once.loop = l;
	once.runs = 0;
	once.remove = NULL;
	once.stop_at = 1;
	cr_assert_eq(loop_add(l, &once.ev, once.fd, EPOLLIN), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(once.runs, 1);
	node_fini(&once);
	loop_destroy(l);
}

Test(loop, an_event_added_by_a_callback_runs)
{
	struct loop *l = make();
	struct node first, second;
	node_init(&first, l);
	node_make(&second, l);
	first.add = &second;
	second.stop_at = 1;
	cr_assert_eq(io_event_signal(first.fd), 0);
	cr_assert_eq(io_event_signal(second.fd), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(second.runs, 1);
	node_fini(&first);
	node_fini(&second);
	loop_destroy(l);
}

/* The memory of a removed due event may be used for another at once. */
Test(loop, a_removed_event_may_be_reused_within_the_batch)
{
	struct loop *l = make();
	struct node killer, victim, fresh;
	node_init(&killer, l);
	node_init(&victim, l);
	node_make(&fresh, l);
	killer.remove = &victim;
	killer.stop_at = 1;
	cr_assert_eq(io_event_signal(killer.fd), 0);
	cr_assert_eq(io_event_signal(victim.fd), 0);
	cr_expect_eq(loop_run(l), 7);
	cr_expect_eq(victim.runs, 0);
	loop_event_init(&victim.ev, on_node, &fresh);
	cr_assert_eq(loop_add(l, &victim.ev, fresh.fd, EPOLLIN), 0);
	loop_remove(l, &victim.ev);
	cr_expect_eq(close(victim.fd), 0);
	node_fini(&killer);
	node_fini(&fresh);
	loop_destroy(l);
}

Test(loop, add_refuses_and_leaves_the_event_out)
{
	struct loop *l = make();
	struct loop_event ev;
	char path[] = "/tmp/test_loop.XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);
	(void)unlink(path);
	loop_event_init(&ev, on_node, NULL);
	cr_expect_eq(loop_add(l, &ev, -1, EPOLLIN), -EBADF);
	cr_expect_eq(ev.fd, -1);
	cr_expect_eq(loop_add(l, &ev, file, EPOLLIN), -EPERM, "a plain file");
	cr_expect_eq(ev.fd, -1);
	loop_remove(l, &ev); /* nothing to do, and fine */
	(void)close(file);
	loop_destroy(l);
}

/* --- stopping --------------------------------------------------------------------------------- */

Test(loop, the_first_code_wins_also_before_the_run)
{
	struct loop *l = make();
	struct node n;
	node_init(&n, l);
	cr_assert_eq(io_event_signal(n.fd), 0);
	loop_stop(l, 0);
	loop_stop(l, 3);
	cr_expect_eq(loop_run(l), 0);
	cr_expect_eq(n.runs, 0, "a stopped loop dispatches nothing");
	node_fini(&n);
	loop_destroy(l);
}

static void *stop_later(void *arg)
{
	const struct timespec nap = { .tv_nsec = 20000000 };
	(void)nanosleep(&nap, NULL); /* long enough for the loop to sleep; not needed for success */
	loop_stop(arg, 42);
	return NULL;
}

Test(loop, another_thread_stops_a_loop_that_sleeps)
{
	struct loop *l = make();
	pthread_t t;
	cr_assert_eq(pthread_create(&t, NULL, stop_later, l), 0);
	cr_expect_eq(loop_run(l), 42);
	cr_assert_eq(pthread_join(t, NULL), 0);
	loop_destroy(l);
}

static void on_signal(int number)
{
	(void)number; /* interrupting is all it does */
}

struct target {
	struct loop *loop;
	pthread_t thread;
};

static void *interrupt_then_stop(void *arg)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	struct target *t = arg;
	for (int i = 0; i < 3; i++) {
		(void)nanosleep(&nap, NULL);
		(void)pthread_kill(t->thread, SIGUSR1); /* it lives: it joins us */
	}
	loop_stop(t->loop, 5);
	return NULL;
}

Test(loop, signals_do_not_end_it)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct target target = { make(), pthread_self() };
	pthread_t t;
	cr_assert_eq(sigaction(SIGUSR1, &sa, NULL), 0);
	cr_assert_eq(pthread_create(&t, NULL, interrupt_then_stop, &target), 0);
	cr_expect_eq(loop_run(target.loop), 5);
	cr_assert_eq(pthread_join(t, NULL), 0);
	loop_destroy(target.loop);
}

Test(loop, destroying_closes_its_descriptors)
{
	int before = dup(0);
	(void)close(before); /* only the number */
	for (int i = 0; i < 10; i++)
		loop_destroy(make());
	loop_destroy(NULL);
	int after = dup(0);
	(void)close(after); /* only the number */
	cr_expect_eq(after, before);
}

/* --- freezing ----------------------------------------------------------------------------------- */

struct freezer {
	struct loop *loop;
	struct loop_event ev;
	int fd;
	unsigned int runs;
	bool freeze_to[3];
};

/* The i-th run freezes or thaws as freeze_to says; the last one stops the loop. */
static void on_freezer(void *arg, uint32_t events)
{
	struct freezer *f = arg;
	(void)events;
	loop_freeze(f->loop, f->freeze_to[f->runs++]);
	if (f->runs == ARRAY_SIZE(f->freeze_to))
		loop_stop(f->loop, 5);
}

/* The control event is always due, the device's as well: how often each ran tells who was served. */
static void expect_served(const bool freeze_to[3], unsigned int device_runs, const char *claim)
{
	struct loop *l = make();
	struct node device;
	struct freezer control = { .loop = l, .fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) };
	memcpy(control.freeze_to, freeze_to, sizeof(control.freeze_to));
	loop_event_init(&control.ev, on_freezer, &control);
	cr_assert_eq(loop_add_control(l, &control.ev, control.fd, EPOLLIN), 0);
	node_init(&device, l); /* behind the control event: due after it in the same batch */
	device.keep_signalled = true;
	cr_assert_eq(io_event_signal(device.fd), 0);
	cr_expect_eq(loop_run(l), 5);
	cr_expect_eq(control.runs, 3, "%s", claim);
	cr_expect_eq(device.runs, device_runs, "%s: %u", claim, device.runs);
	loop_remove(l, &control.ev);
	cr_expect_eq(close(control.fd), 0);
	node_fini(&device);
	loop_destroy(l);
}

Test(loop, a_frozen_loop_serves_control_events_alone)
{
	expect_served((const bool[]){ false, false, false }, 3, "never frozen");
	expect_served((const bool[]){ true, true, true }, 0, "frozen at once, also what is due");
	expect_served((const bool[]){ true, false, false }, 1, "thawed: what was due is due again");
	expect_served((const bool[]){ false, true, true }, 1, "frozen later");
}
