/*
 * vmm/vcpu.c on the fake KVM: each exit does what its row says, a vCPU that cannot go on stops no
 * other, and no pause is lost. The script of a vCPU is consumed by its own thread; when it is at its
 * end the "guest" runs until immediate_exit or the kick signal ends it, as KVM_RUN does.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"
#include "vmm/vcpu.h"

enum { MAX_VCPUS = 4 };

/* What one KVM_RUN does. */
struct step {
	int rc;
	uint32_t reason;
	uint64_t addr; /* MMIO, NISV; the type of a system event */
	uint32_t len;
	bool is_write;
	uint8_t data[8];
};

struct cpu {
	const struct step *steps;
	unsigned int n;
	_Atomic unsigned int at;          /* next step */
	_Atomic unsigned int runs;        /* KVM_RUN calls */
	_Atomic unsigned int completions; /* KVM_RUN with a pending MMIO instruction */
	bool pending;                     /* own thread: that instruction waits to be finished */
	uint8_t result[8];                /* own thread: what a finished read brought */
	char comm[16];
	_Atomic bool in_guest;
};

static struct world {
	struct cpu cpu[MAX_VCPUS];
	struct kvm kvm;
	struct bus *bus;
	struct vcpu_set *set;
	struct err e;

	/* One device at 0x1000, 16 bytes; under `lock`. */
	pthread_mutex_t lock;
	unsigned int reads, writes;
	uint64_t offset;
	unsigned int len;
	uint8_t written[8];

	_Atomic unsigned int failures, system_events;
	_Atomic unsigned int failed_id, event_type;
	char reason[256];
} w;

static void nap_us(long us)
{
	const struct timespec t = { .tv_nsec = us * 1000 };
	(void)nanosleep(&t, NULL); /* the kick may cut it short: that is what it is for */
}

static bool immediate_exit(struct kvm_run *run)
{
	return __atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED);
}

static int play(struct cpu *c, const struct step *s, struct kvm_run *run)
{
	if (s->rc < 0)
		return s->rc; /* exit_reason stays what it was */
	run->exit_reason = s->reason;
	switch (s->reason) {
	case KVM_EXIT_MMIO:
		run->mmio.phys_addr = s->addr;
		run->mmio.len = s->len;
		run->mmio.is_write = s->is_write;
		memcpy(run->mmio.data, s->data, 8);
		c->pending = true;
		break;
	case KVM_EXIT_ARM_NISV:
		run->arm_nisv.fault_ipa = s->addr;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		run->system_event.type = (uint32_t)s->addr;
		break;
	default:
		break;
	}
	return 0;
}

/* KVM_RUN, in KVM's order: finish the MMIO instruction, look at immediate_exit, run. */
static int run_guest(unsigned int id, struct kvm_run *run, void *arg)
{
	struct cpu *c = &w.cpu[id];
	(void)arg; /* `w` is all there is */
	c->runs++;
	if (c->comm[0] == '\0')
		(void)prctl(PR_GET_NAME, c->comm);
	if (c->pending) {
		memcpy(c->result, run->mmio.data, 8);
		c->pending = false;
		c->completions++;
	}
	if (immediate_exit(run))
		return -EINTR;
	unsigned int at = c->at;
	if (at < c->n) {
		c->at = at + 1;
		return play(c, &c->steps[at], run);
	}
	c->in_guest = true;
	nap_us(500); /* the kick ends it early, as it ends KVM_RUN */
	c->in_guest = false;
	return -EINTR; /* as any signal of the host's does */
}

static void device_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	(void)device; /* there is one */
	pthread_mutex_lock(&w.lock);
	w.reads++;
	w.offset = offset;
	w.len = len;
	pthread_mutex_unlock(&w.lock);
	memset(data, 0x5a, len);
}

static void device_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	(void)device; /* there is one */
	pthread_mutex_lock(&w.lock);
	w.writes++;
	w.offset = offset;
	w.len = len;
	memcpy(w.written, data, len);
	pthread_mutex_unlock(&w.lock);
}

static void on_system_event(void *arg, uint32_t type)
{
	cr_expect_eq(arg, &w);
	w.event_type = type;
	w.system_events++;
}

static void on_failed(void *arg, unsigned int id, const char *reason)
{
	cr_expect_eq(arg, &w);
	(void)snprintf(w.reason, sizeof(w.reason), "%s", reason);
	w.failed_id = id;
	w.failures++;
}

static const struct vcpu_events events = { &w, on_system_event, on_failed };
static const struct bus_ops device_ops = { device_read, device_write };

static void setup(void)
{
	struct log_config quiet = { .has_log_path = true, .log_path = "/dev/null" };
	fake_kvm_reset();
	w.kvm = KVM_CLOSED;
	cr_assert_eq(log_configure(&quiet, &w.e), 0);
	cr_assert_eq(pthread_mutex_init(&w.lock, NULL), 0);
	cr_assert_eq(kvm_open(&w.kvm, &w.e), 0);
	cr_assert_eq(kvm_create_vm(&w.kvm, 40, &w.e), 0);
	cr_assert_eq(bus_create(&w.bus), 0);
	cr_assert_eq(bus_add(w.bus, 0x1000, 16, &device_ops, NULL), 0);
	fake_kvm_on_run(run_guest, NULL);
}

static void teardown(void)
{
	vcpu_set_destroy(w.set);
	bus_destroy(w.bus);
	kvm_close(&w.kvm);
	cr_expect_eq(fake_kvm_open_fds(), 0, "descriptors leak");
}

TestSuite(vcpu, .init = setup, .fini = teardown, .timeout = 60);

static int create(unsigned int n, struct vcpu_set **ret)
{
	const struct vcpu_config config = { .kvm = &w.kvm, .bus = w.bus, .n = n, .events = events };
	return vcpu_set_create(&config, ret, &w.e);
}

static void start(unsigned int n)
{
	cr_assert_eq(create(n, &w.set), 0, "%s", w.e.text);
	cr_assert_eq(vcpu_set_start(w.set, &w.e), 0, "%s", w.e.text);
}

/* Until the counter has the value; the suite's time limit ends a wait in vain. */
static void wait_for(_Atomic unsigned int *counter, unsigned int value)
{
	while (atomic_load(counter) < value)
		nap_us(200);
}

/* Runs the script on vCPU 0 and comes back paused. */
static void run_script(const struct step *steps, unsigned int n)
{
	w.cpu[0].steps = steps;
	w.cpu[0].n = n;
	start(1);
	vcpu_set_resume(w.set);
	wait_for(&w.cpu[0].at, n);
	vcpu_set_pause(w.set);
}

/* --- exits ------------------------------------------------------------------------------------ */

static const struct mmio_row {
	const char *claim;
	struct step step;
	bool routed;
	uint64_t offset;
} mmio[] = {
	{ "a read of 4", { 0, KVM_EXIT_MMIO, 0x1004, 4, false, { 0 } }, true, 4 },
	{ "a read of 8", { 0, KVM_EXIT_MMIO, 0x1008, 8, false, { 0 } }, true, 8 },
	{ "a read of 1", { 0, KVM_EXIT_MMIO, 0x100f, 1, false, { 0 } }, true, 15 },
	{ "a write of 2", { 0, KVM_EXIT_MMIO, 0x1002, 2, true, { 1, 2 } }, true, 2 },
	{ "a write of 8",
	  { 0, KVM_EXIT_MMIO, 0x1000, 8, true, { 8, 7, 6, 5, 4, 3, 2, 1 } },
	  true,
	  0 },
	{ "a read of nothing", { 0, KVM_EXIT_MMIO, 0x2000, 4, false, { 0 } }, false, 0 },
	{ "a write to nothing", { 0, KVM_EXIT_MMIO, 0xfff, 1, true, { 9 } }, false, 0 },
	{ "a read across the end", { 0, KVM_EXIT_MMIO, 0x100e, 4, false, { 0 } }, false, 0 },
	{ "a read of length 0", { 0, KVM_EXIT_MMIO, 0x1000, 0, false, { 0 } }, false, 0 },
	{ "a write longer than the buffer",
	  { 0, KVM_EXIT_MMIO, 0x1000, 9, true, { 0 } },
	  false,
	  0 },
	{ "a length that is no length",
	  { 0, KVM_EXIT_MMIO, 0x1000, UINT32_MAX, true, { 0 } },
	  false,
	  0 },
	{ "a pair load that KVM cannot decode",
	  { 0, KVM_EXIT_ARM_NISV, 0x1000, 0, false, { 0 } },
	  false,
	  0 },
};

Test(vcpu, accesses_reach_their_device_or_abort_in_the_guest)
{
	struct step steps[ARRAY_SIZE(mmio)];
	unsigned int reads = 0, writes = 0, aborts = 0;
	uint64_t exits = 0;
	w.cpu[0].steps = steps;
	start(1);
	for (unsigned int i = 0; i < ARRAY_SIZE(mmio); i++) {
		const struct mmio_row *r = &mmio[i];
		steps[i] = r->step; /* the vCPU is paused: nobody looks */
		w.cpu[0].n = i + 1;
		vcpu_set_resume(w.set);
		wait_for(&w.cpu[0].at, i + 1);
		vcpu_set_pause(w.set);
		reads += r->routed && !r->step.is_write;
		writes += r->routed && r->step.is_write;
		aborts += !r->routed;
		exits += r->step.reason == KVM_EXIT_MMIO;
		cr_expect_eq(w.reads, reads, "%s", r->claim);
		cr_expect_eq(w.writes, writes, "%s", r->claim);
		cr_expect_eq(fake_kvm_aborts(0), aborts, "%s", r->claim);
		cr_expect_eq(w.cpu[0].completions, exits, "%s: finished before the pause",
			     r->claim);
		if (!r->routed)
			continue;
		cr_expect(w.offset == r->offset && w.len == r->step.len, "%s", r->claim);
		for (unsigned int k = 0; k < r->step.len; k++)
			cr_expect_eq(r->step.is_write ? w.written[k] : w.cpu[0].result[k],
				     r->step.is_write ? r->step.data[k] : 0x5a, "%s, byte %u",
				     r->claim, k);
	}
	cr_expect_eq(w.failures, 0, "a guest's mistake is no failure");
}

Test(vcpu, exits_are_counted)
{
	static const struct step steps[] = {
		{ .reason = KVM_EXIT_MMIO, .addr = 0x1000, .len = 4 },
		{ .reason = KVM_EXIT_MMIO, .addr = 0x1000, .len = 4, .is_write = true },
		{ .reason = KVM_EXIT_MMIO, .addr = 0x9000, .len = 4, .is_write = true },
	};
	run_script(steps, ARRAY_SIZE(steps));
	const struct vcpu_metrics *m = vcpu_set_metrics(w.set);
	cr_expect_eq(metric_get(&m->exit_mmio_read), 1);
	cr_expect_eq(metric_get(&m->exit_mmio_write), 2);
	cr_expect_eq(metric_get(&m->failures), 0);
}

Test(vcpu, system_events_are_handed_up)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_SYSTEM_EVENT,
					       .addr = KVM_SYSTEM_EVENT_RESET } };
	run_script(steps, 1);
	cr_expect_eq(w.system_events, 1);
	cr_expect_eq(w.event_type, KVM_SYSTEM_EVENT_RESET);
	cr_expect_eq(w.failures, 0);
}

/* After the MMIO exit the stale reason would be played once more if EINTR were not seen first. */
Test(vcpu, eintr_and_eagain_leave_the_stale_reason_alone)
{
	static const struct step steps[] = {
		{ .reason = KVM_EXIT_MMIO, .addr = 0x1000, .len = 4, .is_write = true },
		{ .rc = -EINTR },
		{ .rc = -EAGAIN },
		{ .reason = KVM_EXIT_INTR },
		{ .rc = -EINTR },
	};
	run_script(steps, ARRAY_SIZE(steps));
	cr_expect_eq(w.writes, 1);
	cr_expect_eq(w.failures, 0);
	cr_expect_eq(w.cpu[0].completions, 1);
}

/* --- failures --------------------------------------------------------------------------------- */

static const struct failure_row {
	const char *claim;
	struct step step;
	const char *reason;
} failures[] = {
	{ "an unknown reason",
	  { .reason = 4711 },
	  "KVM left the guest for a reason wick does not know: 4711" },
	{ "a reason without a row",
	  { .reason = KVM_EXIT_DEBUG },
	  "KVM left the guest for a reason wick does not know: 4" },
	{ "reason 0",
	  { .reason = KVM_EXIT_UNKNOWN },
	  "KVM left the guest for a reason wick does not know: 0" },
	{ "entry refused", { .reason = KVM_EXIT_FAIL_ENTRY }, "KVM_EXIT_FAIL_ENTRY, reason 0x0" },
	{ "internal error", { .reason = KVM_EXIT_INTERNAL_ERROR }, "KVM_EXIT_INTERNAL_ERROR" },
	{ "no NISV support", { .rc = -ENOSYS }, "Function not implemented (os error 38)" },
	{ "memory gone", { .rc = -EFAULT }, "KVM_RUN failed: Bad address (os error 14)" },
};

Test(vcpu, a_failed_vcpu_stops_no_other)
{
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		const struct failure_row *r = &failures[i];
		w.failures = 0;
		memset(w.cpu, 0, sizeof(w.cpu));
		fake_kvm_reset();
		fake_kvm_on_run(run_guest, NULL);
		w.kvm = KVM_CLOSED;
		cr_assert_eq(kvm_open(&w.kvm, &w.e), 0);
		cr_assert_eq(kvm_create_vm(&w.kvm, 40, &w.e), 0);
		w.cpu[1].steps = &r->step;
		w.cpu[1].n = 1;
		start(3);
		vcpu_set_resume(w.set);
		wait_for(&w.failures, 1);
		unsigned int ran = w.cpu[1].runs;
		wait_for(&w.cpu[0].runs, w.cpu[0].runs + 3);
		wait_for(&w.cpu[2].runs, w.cpu[2].runs + 3);
		cr_expect_eq(w.cpu[1].runs, ran, "%s: it runs on", r->claim);
		vcpu_set_pause(w.set); /* must not wait for the broken one */
		vcpu_set_resume(w.set);
		wait_for(&w.cpu[0].runs, w.cpu[0].runs + 3);
		vcpu_set_pause(w.set);
		cr_expect_eq(w.cpu[1].runs, ran, "%s: a resume does not mend it", r->claim);
		cr_expect(w.failures == 1 && w.failed_id == 1, "%s", r->claim);
		cr_expect(strstr(w.reason, r->reason), "%s: %s", r->claim, w.reason);
		cr_expect_eq(metric_get(&vcpu_set_metrics(w.set)->failures), 1, "%s", r->claim);
		vcpu_set_destroy(w.set);
		w.set = NULL;
		kvm_close(&w.kvm);
	}
}

Test(vcpu, an_abort_that_cannot_be_injected_is_a_failure)
{
	static const struct step steps[] = { { .reason = KVM_EXIT_ARM_NISV, .addr = 0x9000 } };
	fake_kvm_fail("kvm_vcpu_inject_abort", 1, EINVAL);
	run_script(steps, 1);
	cr_expect_eq(w.failures, 1);
	cr_expect(strstr(w.reason, "0x9000 could not be injected"), "%s", w.reason);
}

/* --- pause and resume ------------------------------------------------------------------------- */

static void expect_paused(unsigned int n)
{
	unsigned int before[MAX_VCPUS];
	for (unsigned int i = 0; i < n; i++)
		before[i] = w.cpu[i].runs;
	nap_us(3000);
	for (unsigned int i = 0; i < n; i++) {
		cr_expect_eq(w.cpu[i].runs, before[i], "vCPU %u runs while paused", i);
		cr_expect_not(w.cpu[i].in_guest);
		cr_expect_not(w.cpu[i].pending, "vCPU %u has half an instruction", i);
	}
}

Test(vcpu, threads_start_paused_and_named)
{
	start(3);
	cr_expect_eq(vcpu_set_count(w.set), 3);
	expect_paused(3);
	cr_expect_eq(w.cpu[0].runs, 0);
	vcpu_set_resume(w.set);
	for (unsigned int i = 0; i < 3; i++) {
		char want[16];
		(void)snprintf(want, sizeof(want), "fc_vcpu %u", i);
		wait_for(&w.cpu[i].runs, 2);
		vcpu_set_pause(w.set);
		cr_expect_str_eq(w.cpu[i].comm, want);
		vcpu_set_resume(w.set);
	}
}

Test(vcpu, pause_and_resume_are_idempotent)
{
	start(2);
	vcpu_set_pause(w.set);
	vcpu_set_pause(w.set);
	vcpu_set_resume(w.set);
	vcpu_set_resume(w.set);
	wait_for(&w.cpu[0].runs, 3);
	vcpu_set_pause(w.set);
	vcpu_set_pause(w.set);
	expect_paused(2);
}

Test(vcpu, pausing_a_set_without_threads_is_fine)
{
	cr_assert_eq(create(2, &w.set), 0);
	vcpu_set_pause(w.set);
	vcpu_set_resume(w.set);
	vcpu_set_pause(w.set);
}

/* A guest that never exits: only a kick ends it, which is not lost between the look and the sleep. */
static int sleep_until_kicked(struct kvm_run *run)
{
	const struct timespec long_time = { .tv_sec = 30 };
	sigset_t kick, before;
	int rc = -EINTR;
	sigemptyset(&kick);
	sigaddset(&kick, SIGRTMIN);
	(void)pthread_sigmask(SIG_BLOCK, &kick, &before);
	if (!immediate_exit(run))
		rc = ppoll(NULL, 0, &long_time, &before) < 0 ? -errno : -ETIMEDOUT;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* A guest whose kick always comes before it enters: only immediate_exit ends it. */
static int sleep_until_immediate_exit(struct kvm_run *run)
{
	for (int i = 0; i < 100000; i++) { /* tens of seconds */
		if (immediate_exit(run))
			return -EINTR;
		nap_us(200);
	}
	return -ETIMEDOUT;
}

/* Endless MMIO reads on vCPU 0: each pause falls between an exit and its completion. */
static int never_idle(unsigned int id, struct kvm_run *run, void *arg)
{
	static const struct step read_4 = { .reason = KVM_EXIT_MMIO, .addr = 0x1000, .len = 4 };
	struct cpu *c = &w.cpu[id];
	(void)arg; /* `w` is all there is */
	c->runs++;
	if (id == 1)
		return sleep_until_kicked(run);
	if (id == 2)
		return sleep_until_immediate_exit(run);
	if (c->pending) {
		c->pending = false;
		c->completions++;
	}
	if (immediate_exit(run))
		return -EINTR;
	nap_us(50);
	return play(c, &read_4, run);
}

static void *toggle(void *arg)
{
	(void)arg; /* the one set */
	for (int i = 0; i < 1000; i++) {
		const unsigned int before = w.cpu[0].runs;
		vcpu_set_resume(w.set);
		if (i % 2)
			wait_for(&w.cpu[0].runs, before + 2); /* else: on its way there */
		vcpu_set_pause(w.set);
		cr_assert_not(w.cpu[0].pending, "round %d", i);
		cr_assert_eq(w.cpu[0].completions, w.reads, "round %d", i);
	}
	return NULL;
}

Test(vcpu, a_thousand_pauses_lose_nothing)
{
	pthread_t t;
	fake_kvm_on_run(never_idle, NULL);
	start(3);
	cr_assert_eq(pthread_create(&t, NULL, toggle, NULL), 0);
	cr_assert_eq(pthread_join(t, NULL), 0);
	expect_paused(3);
	cr_expect_eq(w.cpu[0].completions, w.reads, "each read is finished exactly once");
	cr_expect_geq(w.reads, 500);
	cr_expect_eq(w.failures, 0, "%s", w.reason);
}

/* --- making and ending ------------------------------------------------------------------------ */

static unsigned int count_threads(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/task");
	cr_assert(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

Test(vcpu, destroying_a_running_set_ends_its_threads)
{
	const unsigned int before = count_threads();
	start(MAX_VCPUS);
	vcpu_set_resume(w.set);
	wait_for(&w.cpu[3].runs, 2);
	cr_expect_eq(count_threads(), before + MAX_VCPUS);
	vcpu_set_destroy(w.set);
	w.set = NULL;
	while (count_threads() > before) /* a joined thread leaves /proc a moment later */
		nap_us(200);
	vcpu_set_destroy(NULL);
}

Test(vcpu, a_refused_vcpu_leaves_none)
{
	for (unsigned int nth = 1; nth <= 3; nth++) {
		struct vcpu_set *s = NULL;
		char want[128];
		fake_kvm_reset();
		w.kvm = KVM_CLOSED;
		cr_assert_eq(kvm_open(&w.kvm, &w.e), 0);
		cr_assert_eq(kvm_create_vm(&w.kvm, 40, &w.e), 0);
		fake_kvm_fail("kvm_create_vcpu", nth, ENOMEM);
		cr_expect_eq(create(3, &s), -ENOMEM);
		(void)snprintf(want, sizeof(want),
			       "Cannot create vCPU %u of 3 (KVM_CREATE_VCPU): "
			       "Cannot allocate memory (os error 12)",
			       nth - 1);
		cr_expect_str_eq(w.e.text, want);
		cr_expect_null(s);
		cr_expect_eq(fake_kvm_open_fds(), 2, "the VM's own two");
		kvm_close(&w.kvm);
	}
}

Test(vcpu, ids_ascend_and_are_handed_out)
{
	cr_assert_eq(create(3, &w.set), 0);
	cr_expect(strstr(fake_kvm_trace(), "create_vcpu 0\ncreate_vcpu 1\ncreate_vcpu 2\n"));
	for (unsigned int i = 0; i < 3; i++)
		cr_expect(vcpu_set_kvm(w.set, i)->fd >= 0 && vcpu_set_kvm(w.set, i)->run);
}
