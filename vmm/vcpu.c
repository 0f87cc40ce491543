/*
 * vCPU threads (struct vcpu_set, struct vcpu): KVM_RUN, the table of exits, and the pause
 * handshake.
 *
 * Locking: `lock` guards `wanted`, `parked` and the writes of immediate_exit; it is a leaf, nothing
 * is taken under it. `wanted` is also read without it by the running loop.
 *
 * Pause: the VMM thread, under the lock, stores `wanted`, then immediate_exit = 1 in each kvm_run,
 * and sends each thread the kick signal. A thread inside the guest leaves it with EINTR; one
 * between its look at `wanted` and KVM_RUN finds immediate_exit set (KVM reads it after it has
 * unblocked to the signal), so no kick is lost. The thread clears immediate_exit itself, under the
 * lock, after it has seen `wanted`: the two stores cannot be seen half done. A pending MMIO read is
 * finished first: KVM writes the destination register and steps the PC at the start of the next
 * KVM_RUN, which immediate_exit then ends at once. On arm64 the look at `wanted` may be late by a
 * moment; the signal makes the thread come back and the lock orders what it does next. The look is
 * an acquire: a thread that was resumed before it ever parked has not taken the lock, and must see
 * what the VMM thread did before vcpu_set_resume.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/log.h"

/*
 * The least that glibc takes on arm64; no multiple of 2 MiB, so that no huge page ever backs one
 * (performance.md 2.1).
 */
enum { STACK_BYTES = 128 * 1024 };

enum wanted { WANT_PAUSED, WANT_RUNNING, WANT_STOPPED };

struct vcpu {
	unsigned int id;
	struct kvm_vcpu kvm;
	struct vcpu_set *set;
	pthread_t thread;
	bool has_thread;
	bool parked;       /* under the set's lock */
	bool mmio_pending; /* own thread: KVM still has to finish the last MMIO instruction */
	bool is_broken;    /* own thread: reported as failed, runs no more */
};

struct vcpu_set {
	const struct bus *bus;
	struct vcpu_events events;
	struct vcpu_metrics metrics;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* `wanted` or a `parked` */
	_Atomic int wanted;
	unsigned int n;
	struct vcpu vcpu[];
};

static int kick_signal(void)
{
	return SIGRTMIN; /* the first real-time signal, as Firecracker */
}

static void on_kick(int signal)
{
	(void)signal; /* arriving is all it does: KVM_RUN returns EINTR */
}

/* --- exits ------------------------------------------------------------------------------------ */

static void fail(struct vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct vcpu *v, const char *fmt, ...)
{
	char reason[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(reason, sizeof(reason), fmt, ap); /* cut is fine */
	va_end(ap);
	v->is_broken = true;
	metric_add(&v->set->metrics.failures, 1);
	v->set->events.failed(v->set->events.arg, v->id, reason);
}

/* The guest touched nothing, or in a way that cannot be emulated: its own fault, its own abort. */
static void inject_abort(struct vcpu *v, uint64_t gpa, const char *what)
{
	log_guest(LOG_WARN, "vCPU %u: %s at guest address 0x%llx, external abort injected", v->id,
		  what, (unsigned long long)gpa);
	int rc = kvm_vcpu_inject_abort(&v->kvm);
	if (rc < 0)
		fail(v,
		     "an external abort for guest address 0x%llx could not be injected: error %d",
		     (unsigned long long)gpa, -rc);
}

static void exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->kvm.run;
	const uint64_t addr = run->mmio.phys_addr;
	const uint32_t len = run->mmio.len;
	bool found = false;

	v->mmio_pending = true;
	if (len >= 1 && len <= sizeof(run->mmio.data)) {
		if (run->mmio.is_write) {
			metric_add(&v->set->metrics.exit_mmio_write, 1);
			found = bus_write(v->set->bus, addr, run->mmio.data, len);
		} else {
			metric_add(&v->set->metrics.exit_mmio_read, 1);
			found = bus_read(v->set->bus, addr, run->mmio.data, len);
		}
	}
	if (!found)
		inject_abort(v, addr, run->mmio.is_write ? "write to nothing" : "read of nothing");
}

static void exit_nisv(struct vcpu *v)
{
	inject_abort(v, v->kvm.run->arm_nisv.fault_ipa,
		     "an access KVM cannot decode (LDP, STP, ...)");
}

static void exit_system_event(struct vcpu *v)
{
	v->set->events.system_event(v->set->events.arg, v->kvm.run->system_event.type);
}

static void exit_fail_entry(struct vcpu *v)
{
	fail(v, "the CPU refused to enter the guest (KVM_EXIT_FAIL_ENTRY, reason 0x%llx)",
	     (unsigned long long)v->kvm.run->fail_entry.hardware_entry_failure_reason);
}

static void exit_internal_error(struct vcpu *v)
{
	fail(v, "KVM_EXIT_INTERNAL_ERROR, suberror %u", v->kvm.run->internal.suberror);
}

static void exit_intr(struct vcpu *v)
{
	(void)v; /* a signal: the loop looks at `wanted` */
}

/* A reason that has no row ends the VM, not the monitor. */
static void (*const exit_table[])(struct vcpu *) = {
	[KVM_EXIT_INTR] = exit_intr,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
	[KVM_EXIT_ARM_NISV] = exit_nisv,
};

static void run_once(struct vcpu *v)
{
	int rc = kvm_vcpu_run(&v->kvm);
	v->mmio_pending = false;
	if (rc == -EINTR || rc == -EAGAIN)
		return; /* exit_reason is stale then (E-12) */
	if (rc < 0) {
		fail(v, "KVM_RUN failed: %s (os error %d)", strerrordesc_np(-rc) ?: "?", -rc);
		return;
	}
	uint32_t reason = v->kvm.run->exit_reason;
	if (reason < ARRAY_SIZE(exit_table) && exit_table[reason])
		exit_table[reason](v);
	else
		fail(v, "KVM left the guest for a reason wick does not know: %u", reason);
}

/* --- the handshake ---------------------------------------------------------------------------- */

static void set_immediate_exit(struct vcpu *v, uint8_t value)
{
	__atomic_store_n(&v->kvm.run->immediate_exit, value, __ATOMIC_RELAXED);
}

/* KVM finishes the MMIO instruction and returns before the guest runs on. */
static void finish_mmio(struct vcpu *v)
{
	if (!v->mmio_pending)
		return;
	set_immediate_exit(v, 1);
	(void)kvm_vcpu_run(&v->kvm); /* -EINTR by design */
	v->mmio_pending = false;
}

/* Waits until running is wanted; false: the thread is to end. */
static bool park(struct vcpu *v)
{
	struct vcpu_set *s = v->set;

	if (!v->is_broken)
		finish_mmio(v);
	pthread_mutex_lock(&s->lock);
	v->parked = true;
	pthread_cond_broadcast(&s->changed);
	while (s->wanted == WANT_PAUSED || (v->is_broken && s->wanted != WANT_STOPPED))
		pthread_cond_wait(&s->changed, &s->lock);
	bool go_on = s->wanted == WANT_RUNNING;
	if (go_on) {
		set_immediate_exit(v, 0);
		v->parked = false;
	}
	pthread_mutex_unlock(&s->lock);
	return go_on;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	(void)snprintf(name, sizeof(name), "fc_vcpu %u", v->id);
	log_name_thread(name);
	for (;;) {
		if (v->is_broken ||
		    atomic_load_explicit(&v->set->wanted, memory_order_acquire) != WANT_RUNNING) {
			if (!park(v))
				return NULL;
		}
		run_once(v);
	}
}

static bool all_parked(const struct vcpu_set *s)
{
	for (unsigned int i = 0; i < s->n; i++)
		if (s->vcpu[i].has_thread && !s->vcpu[i].parked)
			return false;
	return true;
}

void vcpu_set_pause(struct vcpu_set *s)
{
	pthread_mutex_lock(&s->lock);
	atomic_store_explicit(&s->wanted, WANT_PAUSED, memory_order_relaxed);
	for (unsigned int i = 0; i < s->n; i++) {
		struct vcpu *v = &s->vcpu[i];
		if (!v->has_thread || v->parked)
			continue;
		set_immediate_exit(v, 1);
		/* Cannot fail: the thread is ours and not joined yet. */
		(void)pthread_kill(v->thread, kick_signal());
	}
	while (!all_parked(s))
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void want(struct vcpu_set *s, enum wanted wanted)
{
	pthread_mutex_lock(&s->lock);
	/* Release: pairs with vcpu_thread's acquire, whose thread may not have parked yet. */
	atomic_store_explicit(&s->wanted, (int)wanted, memory_order_release);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void vcpu_set_resume(struct vcpu_set *s)
{
	want(s, WANT_RUNNING);
}

/* --- life ------------------------------------------------------------------------------------- */

int vcpu_set_create(const struct vcpu_config *config, struct vcpu_set **ret, struct err *e)
{
	const unsigned int n = config->n;
	struct vcpu_set *s = calloc(1, sizeof(*s) + n * sizeof(s->vcpu[0]));
	if (!s)
		return err_set(e, -ENOMEM, "No memory for %u vCPUs", n);
	s->bus = config->bus;
	s->events = config->events;
	s->wanted = WANT_PAUSED;
	/* Neither can fail on Linux with default attributes. */
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
	for (unsigned int i = 0; i < n; i++) {
		struct vcpu *v = &s->vcpu[i];
		*v = (struct vcpu){ .id = i, .kvm = KVM_VCPU_CLOSED, .set = s };
		int rc = kvm_create_vcpu(config->kvm, i, &v->kvm);
		if (rc < 0) {
			vcpu_set_destroy(s);
			return err_set_os(e, rc, "Cannot create vCPU %u of %u (KVM_CREATE_VCPU)", i,
					  n);
		}
		s->n = i + 1;
	}
	*ret = s;
	return 0;
}

void vcpu_set_destroy(struct vcpu_set *s)
{
	if (!s)
		return;
	vcpu_set_pause(s);
	want(s, WANT_STOPPED);
	for (unsigned int i = 0; i < s->n; i++) {
		if (s->vcpu[i].has_thread) /* started by us, joined once */
			(void)pthread_join(s->vcpu[i].thread, NULL);
		kvm_vcpu_close(&s->vcpu[i].kvm);
	}
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

unsigned int vcpu_set_count(const struct vcpu_set *s)
{
	return s->n;
}

const struct kvm_vcpu *vcpu_set_kvm(const struct vcpu_set *s, unsigned int id)
{
	return &s->vcpu[id].kvm;
}

const struct vcpu_metrics *vcpu_set_metrics(const struct vcpu_set *s)
{
	return &s->metrics;
}

static int install_kick(struct err *e)
{
	/* No SA_RESTART: it has to interrupt KVM_RUN. */
	struct sigaction sa = { .sa_handler = on_kick };
	sigemptyset(&sa.sa_mask);
	if (sigaction(kick_signal(), &sa, NULL) < 0)
		return err_set_os(e, -errno, "Cannot install the vCPU kick signal's handler");
	return 0;
}

int vcpu_set_start(struct vcpu_set *s, struct err *e)
{
	pthread_attr_t attr;
	int rc = install_kick(e);
	if (rc < 0)
		return rc;
	(void)pthread_attr_init(&attr); /* cannot fail on Linux */
	rc = -pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (rc < 0)
		(void)err_set_os(e, rc, "Cannot give vCPU threads %d bytes of stack", STACK_BYTES);
	for (unsigned int i = 0; i < s->n && rc == 0; i++) {
		struct vcpu *v = &s->vcpu[i];
		rc = -pthread_create(&v->thread, &attr, vcpu_thread, v);
		if (rc < 0)
			(void)err_set_os(e, rc, "Cannot start the thread of vCPU %u", i);
		else
			v->has_thread = true;
	}
	(void)pthread_attr_destroy(&attr);
	return rc; /* vcpu_set_destroy ends those that did start */
}
