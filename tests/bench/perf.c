/*
 * perf_event_open(2) for the meter: a table of counters, a table of sample rings.
 */
#include "tests/bench/perf.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* RING_SIZE has room for the longest list there is: QEMU's calls before its first entry. */
#define EVENTS     "/sys/kernel/tracing/events/"
#define PAGE       4096ul
#define RING_SIZE  (4ul << 20)
#define ENTRY_SIZE PAGE

const char *const counter_names[CTR_COUNT] = {
	[CTR_VMM_INSTRUCTIONS] = "iu",   [CTR_HOST_INSTRUCTIONS] = "ik",
	[CTR_GUEST_INSTRUCTIONS] = "ig", [CTR_EXITS] = "exits",
	[CTR_USER_EXITS] = "user_exits", [CTR_GUEST_FAULTS] = "guest_faults",
	[CTR_SYSCALLS] = "syscalls",     [CTR_PAGE_FAULTS] = "page_faults",
	[CTR_SWITCHES] = "switches",     [CTR_TASK_CLOCK] = "cpu_ns",
};

/* An event: hardware or software by number, or a tracepoint by name. */
struct event {
	const char *tracepoint;
	uint32_t type;
	uint64_t config;
	bool no_user, no_kernel, no_guest, no_host;
};

#define TRACEPOINT(name)                                           \
	{                                                          \
		.tracepoint = (name), .type = PERF_TYPE_TRACEPOINT \
	}
#define SOFTWARE(number)                                       \
	{                                                      \
		.type = PERF_TYPE_SOFTWARE, .config = (number) \
	}
#define INSTRUCTIONS .type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_INSTRUCTIONS

static const struct event counter_events[CTR_COUNT] = {
	[CTR_VMM_INSTRUCTIONS] = { INSTRUCTIONS, .no_kernel = true, .no_guest = true },
	[CTR_HOST_INSTRUCTIONS] = { INSTRUCTIONS, .no_user = true, .no_guest = true },
	[CTR_GUEST_INSTRUCTIONS] = { INSTRUCTIONS, .no_host = true },
	[CTR_EXITS] = TRACEPOINT("kvm/kvm_exit"),
	[CTR_USER_EXITS] = TRACEPOINT("kvm/kvm_userspace_exit"),
	[CTR_GUEST_FAULTS] = TRACEPOINT("kvm/kvm_guest_fault"),
	[CTR_SYSCALLS] = TRACEPOINT("raw_syscalls/sys_enter"),
	[CTR_PAGE_FAULTS] = SOFTWARE(PERF_COUNT_SW_PAGE_FAULTS),
	[CTR_SWITCHES] = SOFTWARE(PERF_COUNT_SW_CONTEXT_SWITCHES),
	[CTR_TASK_CLOCK] = SOFTWARE(PERF_COUNT_SW_TASK_CLOCK),
};

/* The profile goes by the clock: under emulation, samples of the instruction counter come late. */
static const struct event ring_events[RING_COUNT] = {
	[RING_ENTRY] = TRACEPOINT("kvm/kvm_entry"),
	[RING_CALLS] = TRACEPOINT("raw_syscalls/sys_enter"),
	[RING_RETURNS] = TRACEPOINT("raw_syscalls/sys_exit"),
	[RING_FAULTS] = SOFTWARE(PERF_COUNT_SW_PAGE_FAULTS),
	[RING_PROFILE] = { .type = PERF_TYPE_SOFTWARE,
			   .config = PERF_COUNT_SW_CPU_CLOCK,
			   .no_kernel = true },
};

/* The kernel numbers tracepoints anew at every boot. */
static int tracepoint_id(const char *name, uint64_t *ret)
{
	char path[128];

	(void)snprintf(path, sizeof(path), EVENTS "%s/id", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return -errno;
	int n = fscanf(f, "%lu", ret);
	(void)fclose(f);
	return n == 1 ? 0 : -EINVAL;
}

static int attr_fill(const struct event *e, struct perf_event_attr *a)
{
	*a = (struct perf_event_attr){
		.size = sizeof(*a),
		.type = e->type,
		.config = e->config,
		.disabled = 1,
		.inherit = 1,
		.enable_on_exec = 1,
		.exclude_user = e->no_user,
		.exclude_kernel = e->no_kernel,
		.exclude_guest = e->no_guest,
		.exclude_host = e->no_host,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	uint64_t id = e->config;
	int rc = e->tracepoint ? tracepoint_id(e->tracepoint, &id) : 0;
	a->config = id;
	return rc;
}

static int event_open(const struct perf_event_attr *a, pid_t child, int cpu)
{
	long fd = syscall(SYS_perf_event_open, a, child, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}

int counters_open(struct counters *c, pid_t child)
{
	struct perf_event_attr a;

	for (int i = 0; i < CTR_COUNT; i++) {
		int rc = attr_fill(&counter_events[i], &a);
		a.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
		c->fd[i] = rc < 0 ? rc : event_open(&a, child, -1);
		if (c->fd[i] < 0) {
			(void)fprintf(stderr, "meter: counter %s: %s\n", counter_names[i],
				      strerror(-c->fd[i]));
			return c->fd[i];
		}
	}
	return 0;
}

int counters_read(struct counters *c, uint64_t ret[CTR_COUNT])
{
	struct {
		uint64_t value, enabled, running;
	} r;

	for (int i = 0; i < CTR_COUNT; i++)
		if (ioctl(c->fd[i], PERF_EVENT_IOC_DISABLE, 0) < 0)
			return -errno;
	for (int i = 0; i < CTR_COUNT; i++) {
		if (read(c->fd[i], &r, sizeof(r)) != sizeof(r))
			return -EIO;
		if (r.enabled != r.running)
			return -EBUSY;
		ret[i] = r.value;
	}
	return 0;
}

/* One CPU's share of a ring: inherited events may be mapped only if bound to a CPU. */
struct cpu_ring {
	int fd;
	size_t size;
	struct perf_event_mmap_page *meta;
	bool has_next;
	struct sample next;
};

struct ring {
	enum ring_kind kind;
	unsigned int ncpus;
	struct cpu_ring cpu[];
};

static const uint64_t ring_fields[RING_COUNT] = {
	[RING_ENTRY] = PERF_SAMPLE_TIME,
	[RING_CALLS] = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_RAW,
	[RING_RETURNS] = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
	[RING_FAULTS] = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
	[RING_PROFILE] = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
};

static int cpu_ring_open(struct cpu_ring *c, const struct perf_event_attr *a, pid_t child, int cpu)
{
	c->fd = event_open(a, child, cpu);
	if (c->fd < 0)
		return c->fd;
	void *p = mmap(NULL, PAGE + c->size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	c->meta = p;
	return 0;
}

int ring_open(enum ring_kind kind, uint64_t period, pid_t child, struct ring **ret)
{
	unsigned int ncpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	struct perf_event_attr a;

	int rc = attr_fill(&ring_events[kind], &a);
	struct ring *r = calloc(1, sizeof(*r) + ncpus * sizeof(r->cpu[0]));
	if (rc < 0 || !r) {
		free(r);
		return rc < 0 ? rc : -ENOMEM;
	}
	r->kind = kind;
	r->ncpus = ncpus;
	a.sample_period = period;
	a.sample_type = ring_fields[kind];
	/* Nobody waits for the long lists: their reader would be in the way of what it measures. */
	a.wakeup_events = kind == RING_ENTRY ? 1 : UINT32_MAX;
	for (unsigned int i = 0; i < ncpus && rc == 0; i++) {
		r->cpu[i].size = kind == RING_ENTRY ? ENTRY_SIZE : RING_SIZE;
		rc = cpu_ring_open(&r->cpu[i], &a, child, (int)i);
	}
	if (rc < 0) {
		ring_close(r);
		return rc;
	}
	*ret = r;
	return 0;
}

unsigned int ring_fds(const struct ring *r, int fds[], unsigned int max)
{
	unsigned int n = 0;

	for (; n < r->ncpus && n < max; n++)
		fds[n] = r->cpu[n].fd;
	return n;
}

void ring_stop(struct ring *r)
{
	for (unsigned int i = 0; i < r->ncpus; i++)
		(void)ioctl(r->cpu[i].fd, PERF_EVENT_IOC_DISABLE, 0); /* it was open: cannot fail */
}

/* Copies out of the ring, around its end. */
static void ring_copy(const struct cpu_ring *c, uint64_t from, void *to, size_t size)
{
	const char *data = (const char *)c->meta + PAGE;

	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = data[(from + i) % c->size];
}

/* The order of fields in a sample is the kernel's: IP, TID, TIME, ADDR, RAW. */
static void sample_decode(enum ring_kind kind, const uint64_t *word, struct sample *s)
{
	uint64_t fields = ring_fields[kind];

	*s = (struct sample){ 0 };
	if (fields & PERF_SAMPLE_IP)
		s->ip = *word++;
	if (fields & PERF_SAMPLE_TID) {
		s->pid = (uint32_t)*word;
		s->tid = (uint32_t)(*word++ >> 32);
	}
	if (fields & PERF_SAMPLE_TIME)
		s->time = *word++;
	if (fields & PERF_SAMPLE_ADDR)
		s->addr = *word++;
	if (fields & PERF_SAMPLE_RAW) {
		/* u32 size, then the event: 8 bytes common to all, long id, unsigned long args[6] */
		const char *event = (const char *)word + sizeof(uint32_t) + 8;
		memcpy(&s->call, event, sizeof(s->call));
		memcpy(s->args, event + sizeof(s->call), sizeof(s->args));
	}
}

static bool cpu_ring_next(enum ring_kind kind, struct cpu_ring *c)
{
	union {
		struct perf_event_header h;
		uint64_t word[64];
	} record;
	/* pairs with the kernel's barrier before it moves data_head */
	uint64_t head = __atomic_load_n(&c->meta->data_head, __ATOMIC_ACQUIRE);

	while (c->meta->data_tail < head) {
		uint64_t tail = c->meta->data_tail;
		ring_copy(c, tail, &record.h, sizeof(record.h));
		size_t size = record.h.size;
		if (size < sizeof(record.h) || size > sizeof(record))
			return false;
		ring_copy(c, tail, &record, size);
		__atomic_store_n(&c->meta->data_tail, tail + size, __ATOMIC_RELEASE);
		if (record.h.type == PERF_RECORD_SAMPLE) {
			sample_decode(kind, record.word + 1, &c->next);
			return true;
		}
	}
	return false;
}

bool ring_next(struct ring *r, struct sample *ret)
{
	struct cpu_ring *first = NULL;

	for (unsigned int i = 0; i < r->ncpus; i++) {
		struct cpu_ring *c = &r->cpu[i];
		if (!c->has_next)
			c->has_next = cpu_ring_next(r->kind, c);
		if (c->has_next && (!first || c->next.time < first->next.time))
			first = c;
	}
	if (!first)
		return false;
	*ret = first->next;
	first->has_next = false;
	return true;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < r->ncpus; i++) {
		if (r->cpu[i].meta)
			(void)munmap(r->cpu[i].meta, PAGE + r->cpu[i].size);
		if (r->cpu[i].fd > 0)
			(void)close(r->cpu[i].fd);
	}
	free(r);
}
