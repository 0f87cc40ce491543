/*
 * meter: runs a virtual machine monitor once and prints what that took, as one line of JSON with
 * integers only. It runs in the (emulated) arm64 host, beside the monitor: ../../docs/bench.md.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/child.h"
#include "tests/bench/footprint.h"
#include "tests/bench/perf.h"

#define NS_PER_MS 1000000ull
#define CPUS_MAX  64

enum until { UNTIL_ENTRY, UNTIL_MARK, UNTIL_EXIT };

struct options {
	const char *name;
	const char *mark;
	enum until until;
	uint64_t limit_ms;
	uint64_t ram_mib; /* not 0: footprint wanted */
	uint64_t settle_ms;
	uint64_t profile; /* ns between two samples; 0: none */
	bool calls, faults, maps, console;
	char **argv;
};

/* One run. Times are in ns since exec; 0: it has not happened. */
struct run {
	const struct options *options;
	struct child child;
	struct counters counters;
	struct ring *ring[RING_COUNT];
	uint64_t deadline;
	uint64_t entry_time, mark_time, exit_time;
	uint64_t value[CTR_COUNT];
	uint64_t calls_before_entry;
	struct footprint footprint;
};

static const char usage[] =
	"usage: meter [OPTION]... -- MONITOR [ARG]...\n"
	"  --name NAME        what the line says the monitor is (MONITOR)\n"
	"  --mark TEXT        what the guest prints where counting ends (@WICK user-space)\n"
	"  --until entry|mark|exit    ... or where else it ends (mark)\n"
	"  --limit MS         give up after that (60000)\n"
	"  --ram MIB          at the end, also say what the process occupies besides guest RAM of "
	"this size\n"
	"  --settle MS        ... after letting the guest run on for so long (500)\n"
	"  --calls            list each system call before the end on stderr, and count those "
	"before the first entry\n"
	"  --faults           list each page fault of the monitor before the end on stderr\n"
	"  --profile N        list the monitor's instruction pointer every N instructions on "
	"stderr\n"
	"  --maps             list each mapping on stderr\n"
	"  --console          show the console on stderr\n";

static uint64_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* this clock always exists */
	return (uint64_t)t.tv_sec * 1000 * NS_PER_MS + (uint64_t)t.tv_nsec;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == 0 || *end != 0) {
		(void)fprintf(stderr, "meter: '%s' is no number\n", text);
		exit(2);
	}
	return n;
}

static enum until until_named(const char *text)
{
	static const char *const names[] = { "entry", "mark", "exit" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum until)i;
	(void)fprintf(stderr, "meter: --until '%s': use entry, mark or exit\n", text);
	exit(2);
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "name", 1, 0, 'n' },  { "mark", 1, 0, 'm' },    { "until", 1, 0, 'u' },
		{ "limit", 1, 0, 'l' }, { "ram", 1, 0, 'r' },     { "settle", 1, 0, 's' },
		{ "calls", 0, 0, 'c' }, { "faults", 0, 0, 'f' },  { "profile", 1, 0, 'p' },
		{ "maps", 0, 0, 'M' },  { "console", 0, 0, 'C' }, { 0 },
	};
	int c;

	*o = (struct options){
		.mark = "@WICK user-space", .until = UNTIL_MARK, .limit_ms = 60000, .settle_ms = 500
	};
	while ((c = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
		switch (c) {
		case 'n':
			o->name = optarg;
			break;
		case 'm':
			o->mark = optarg;
			break;
		case 'u':
			o->until = until_named(optarg);
			break;
		case 'l':
			o->limit_ms = number(optarg);
			break;
		case 'r':
			o->ram_mib = number(optarg);
			break;
		case 's':
			o->settle_ms = number(optarg);
			break;
		case 'p':
			o->profile = number(optarg);
			break;
		case 'c':
			o->calls = true;
			break;
		case 'f':
			o->faults = true;
			break;
		case 'M':
			o->maps = true;
			break;
		case 'C':
			o->console = true;
			break;
		default:
			(void)fputs(usage, stderr);
			exit(2);
		}
	}
	o->argv = argv + optind;
	if (!o->argv[0]) {
		(void)fputs(usage, stderr);
		exit(2);
	}
	if (!o->name)
		o->name = o->argv[0];
}

static int open_rings(struct run *r)
{
	const struct options *o = r->options;
	const uint64_t period[RING_COUNT] = { [RING_ENTRY] = 1,
					      [RING_CALLS] = o->calls,
					      [RING_RETURNS] = o->calls,
					      [RING_FAULTS] = o->faults,
					      [RING_PROFILE] = o->profile };

	for (int i = 0; i < RING_COUNT; i++) {
		int rc = period[i] ? ring_open((enum ring_kind)i, period[i], r->child.pid,
					       &r->ring[i])
				   : 0;
		if (rc < 0) {
			(void)fprintf(stderr, "meter: sample ring %d: %s\n", i, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

/* One sample is enough: the later ones would only cost time. */
static void take_entry(struct run *r)
{
	struct sample s;

	if (!r->entry_time && ring_next(r->ring[RING_ENTRY], &s)) {
		r->entry_time = s.time;
		ring_stop(r->ring[RING_ENTRY]);
	}
}

/* Whether that was the end of what is measured. */
static bool take_console(struct run *r)
{
	int rc = child_read(&r->child);

	if (rc <= 0) {
		r->exit_time = now();
		return true;
	}
	if (!r->mark_time && child_has_printed(&r->child, r->options->mark)) {
		r->mark_time = now();
		return r->options->until == UNTIL_MARK;
	}
	return false;
}

/* Sleeps between events: whatever this process does is time taken from the monitor. */
static int watch(struct run *r)
{
	int fds[CPUS_MAX];
	unsigned int n = ring_fds(r->ring[RING_ENTRY], fds, CPUS_MAX);
	struct pollfd p[CPUS_MAX + 1] = { { .fd = r->child.console, .events = POLLIN } };

	for (unsigned int i = 0; i < n; i++)
		p[i + 1] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	for (;;) {
		uint64_t t = now();
		if (t >= r->deadline)
			return -ETIMEDOUT;
		int rc = poll(p, r->entry_time ? 1 : n + 1,
			      (int)((r->deadline - t) / NS_PER_MS) + 1);
		if (rc < 0 && errno != EINTR)
			return -errno;
		if (rc <= 0)
			continue;
		take_entry(r);
		if (r->entry_time && r->options->until == UNTIL_ENTRY)
			return 0;
		if (p[0].revents && take_console(r))
			return 0;
	}
}

/* The guest goes on to its idle state, and then nothing moves while we look. */
static int take_footprint(struct run *r)
{
	const struct options *o = r->options;
	uint64_t end = now() + o->settle_ms * NS_PER_MS;
	struct pollfd p = { .fd = r->child.console, .events = POLLIN };

	for (uint64_t t = now(); t < end; t = now()) {
		int rc = poll(&p, 1, (int)((end - t) / NS_PER_MS) + 1);
		if (rc > 0 && child_read(&r->child) <= 0)
			return -ESRCH;
	}
	if (kill(r->child.pid, SIGSTOP) < 0)
		return -errno;
	return footprint_read(r->child.pid, o->ram_mib, o->maps, &r->footprint);
}

static int measure(struct run *r)
{
	int rc = counters_open(&r->counters, r->child.pid);

	if (rc == 0)
		rc = open_rings(r);
	if (rc < 0)
		return rc;
	r->deadline = now() + r->options->limit_ms * NS_PER_MS;
	child_go(&r->child);
	rc = watch(r);
	if (rc == 0)
		rc = counters_read(&r->counters, r->value);
	for (int i = 0; i < RING_COUNT; i++)
		if (r->ring[i])
			ring_stop(r->ring[i]);
	if (rc == 0 && r->options->ram_mib)
		rc = take_footprint(r);
	return rc;
}

static uint64_t since_exec(const struct run *r, uint64_t t)
{
	return t ? t - child_exec_time(&r->child) : 0;
}

static void list_calls(struct run *r)
{
	struct sample s, end;

	while (r->ring[RING_CALLS] && ring_next(r->ring[RING_CALLS], &s)) {
		r->calls_before_entry += !r->entry_time || s.time < r->entry_time;
		(void)fprintf(stderr, "CALL %lu %u %ld %lx %lx %lx %lx\n", since_exec(r, s.time),
			      s.tid, s.call, s.args[0], s.args[1], s.args[2], s.args[3]);
	}
	while (r->ring[RING_RETURNS] && ring_next(r->ring[RING_RETURNS], &end))
		(void)fprintf(stderr, "RETURN %lu %u\n", since_exec(r, end.time), end.tid);
}

/* Addresses mean something only with the place where the program is: its first mapping. */
static void list_base(const struct run *r)
{
	char path[64];
	unsigned long pair[2];

	(void)snprintf(path, sizeof(path), "/proc/%d/auxv", (int)r->child.pid);
	FILE *auxv = fopen(path, "re");
	while (auxv && fread(pair, sizeof(pair), 1, auxv) == 1 && pair[0] != AT_NULL) {
		/* The program headers are in its first page. */
		if (pair[0] == AT_PHDR)
			(void)fprintf(stderr, "BASE %lx\n", pair[1] & ~4095ul);
	}
	if (auxv)
		(void)fclose(auxv);
}

static void list_addresses(struct run *r)
{
	struct sample s;

	while (r->ring[RING_FAULTS] && ring_next(r->ring[RING_FAULTS], &s))
		(void)fprintf(stderr, "FAULT %lu %u %lx %lx\n", since_exec(r, s.time), s.tid, s.ip,
			      s.addr);
	while (r->ring[RING_PROFILE] && ring_next(r->ring[RING_PROFILE], &s))
		(void)fprintf(stderr, "AT %lu %u %lx\n", since_exec(r, s.time), s.tid, s.ip);
}

static void field(const char *name, uint64_t value)
{
	(void)printf(",\"%s\":%lu", name, value);
}

static void print(const struct run *r)
{
	const struct footprint *f = &r->footprint;

	(void)printf("{\"name\":\"%s\"", r->options->name);
	field("entry_ns", since_exec(r, r->entry_time));
	field("mark_ns", since_exec(r, r->mark_time));
	field("exit_ns", since_exec(r, r->exit_time));
	for (int i = 0; i < CTR_COUNT; i++)
		field(counter_names[i], r->value[i]);
	if (r->options->calls)
		field("calls_before_entry", r->calls_before_entry);
	if (r->options->ram_mib) {
		field("ram_pss_kib", f->ram_pss_kib);
		field("pss_kib", f->pss_kib);
		field("rss_kib", f->rss_kib);
		field("anon_kib", f->anon_kib);
		field("page_tables_kib", f->page_tables_kib);
		field("threads", f->threads);
		field("fds", f->fds);
	}
	(void)puts("}");
}

/* What went wrong, with the console's last words. */
static int verdict(const struct run *r, int rc)
{
	const struct options *o = r->options;
	const struct child *c = &r->child;
	size_t tail = c->len < 2000 ? c->len : 2000;

	if (child_exec_error(c))
		(void)fprintf(stderr, "meter: %s: %s\n", o->argv[0], strerror(child_exec_error(c)));
	else if (rc < 0)
		(void)fprintf(stderr, "meter: %s: %s\n", o->name, strerror(-rc));
	else if (o->until == UNTIL_MARK && !r->mark_time)
		(void)fprintf(stderr, "meter: %s ended before its guest printed '%s'\n", o->name,
			      o->mark);
	else
		return 0;
	(void)fprintf(stderr, "meter: the last of its output:\n%.*s\n", (int)tail,
		      c->text + c->len - tail);
	return 1;
}

int main(int argc, char **argv)
{
	struct options o;
	struct run r = { .options = &o };
	char entropy[16];

	parse(argc, argv, &o);
	/* On a host that has none yet, the first to ask for randomness works 2 G instructions for it. */
	if (getrandom(entropy, sizeof(entropy), 0) < 0)
		return 1;
	int rc = child_fork(o.argv, &r.child);
	if (rc < 0) {
		(void)fprintf(stderr, "meter: fork: %s\n", strerror(-rc));
		return 1;
	}
	rc = measure(&r);
	if (o.faults || o.profile)
		list_base(&r);
	child_kill(&r.child);
	list_calls(&r);
	list_addresses(&r);
	if (o.console)
		(void)fwrite(r.child.text, 1, r.child.len, stderr);
	rc = verdict(&r, rc);
	if (rc == 0)
		print(&r);
	for (int i = 0; i < RING_COUNT; i++)
		ring_close(r.ring[i]);
	return rc;
}
