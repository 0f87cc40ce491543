/*
 * vmm/base/log.c: the line, the filters, the sinks that must never block a thread, the budgets. The
 * program's own clock_gettime stands before libc's, so that a test can set the time.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

#define SECOND UINT64_C(1000000000)

static bool is_time_set;
static struct timespec set_time;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (is_time_set && (id == CLOCK_REALTIME || id == CLOCK_MONOTONIC)) {
		*ts = set_time;
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, id, ts);
}

/* --- a file as sink --------------------------------------------------------------------------- */

static char path[64];
static struct err err;

static void set_path(struct log_config *c)
{
	(void)snprintf(path, sizeof(path), "/tmp/test_log.%d", getpid());
	c->has_log_path = true;
	(void)snprintf(c->log_path, sizeof(c->log_path), "%s", path);
}

static void log_to_file(struct log_config c)
{
	(void)unlink(path);
	set_path(&c);
	cr_assert_eq(log_configure(&c, &err), 0, "%s", err.text);
}

/* All that was logged since the last call; valid until the next. */
static const char *take_log(void)
{
	static char *text;
	size_t len;
	free(text);
	text = NULL;
	cr_assert_eq(io_read_file(path, 64 * MIB, &text, &len), 0);
	cr_assert_eq(truncate(path, 0), 0);
	return text;
}

static void remove_file(void)
{
	if (path[0])
		(void)unlink(path);
}

TestSuite(log, .fini = remove_file, .timeout = 60);

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	cr_assert_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	int rc = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return rc == 0;
}

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;
	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/* --- the line --------------------------------------------------------------------------------- */

#define TIME "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9} "

Test(log, line_format)
{
	static const struct {
		const char *claim;
		bool level, origin;
		const char *pattern;
	} rows[] = {
		{ "plain", false, false, TIME "\\[vm-1:main\\] a message 7\n$" },
		{ "with level", true, false, TIME "\\[vm-1:main:WARN\\] a message 7\n$" },
		{ "with origin", false, true, TIME "\\[vm-1:main:a/b\\.c:12\\] a message 7\n$" },
		{ "with both", true, true, TIME "\\[vm-1:main:WARN:a/b\\.c:12\\] a message 7\n$" },
	};
	log_init("vm-1");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		log_to_file((struct log_config){ .has_show_level = true,
						 .show_level = rows[i].level,
						 .has_show_log_origin = true,
						 .show_log_origin = rows[i].origin });
		log_write(LOG_WARN, "a/b.c", 12, "a message %d", 7);
		const char *text = take_log();
		cr_expect(matches(text, rows[i].pattern), "%s: %s", rows[i].claim, text);
	}
}

Test(log, macros_name_their_call_site_and_level)
{
	log_to_file((struct log_config){ .has_show_level = true,
					 .show_level = true,
					 .has_show_log_origin = true,
					 .show_log_origin = true,
					 .has_level = true,
					 .level = LOG_DEBUG });
	log_error("e");
	log_warn("w");
	log_info("i");
	log_debug("d");
	const char *text = take_log();
	cr_expect(matches(text, ":ERROR:tests/unit/test_log\\.c:[0-9]+\\] e\n"), "%s", text);
	cr_expect(matches(text, ":WARN:tests/unit/test_log\\.c:[0-9]+\\] w\n"), "%s", text);
	cr_expect(matches(text, ":INFO:tests/unit/test_log\\.c:[0-9]+\\] i\n"), "%s", text);
	cr_expect(matches(text, ":DEBUG:tests/unit/test_log\\.c:[0-9]+\\] d\n"), "%s", text);
	cr_expect_eq(count_lines(text), 4);
}

static void *named_thread(void *arg)
{
	char comm[16];
	log_name_thread(arg);
	(void)prctl(PR_GET_NAME, comm);
	log_info("from %s", comm);
	return NULL;
}

Test(log, names_of_instance_and_threads)
{
	static char vcpu[] = "fc_vcpu 0", longer[] = "a name of more than fifteen";
	char id[100];
	pthread_t t;
	log_to_file((struct log_config){ 0 });
	log_info("early");
	cr_expect(matches(take_log(), " \\[anonymous-instance:main\\] early\n$"));
	memset(id, 'i', 64);
	id[64] = '\0';
	log_init(id);
	cr_assert_eq(pthread_create(&t, NULL, named_thread, vcpu), 0);
	(void)pthread_join(t, NULL); /* made above */
	cr_expect(matches(take_log(), " \\[i{64}:fc_vcpu 0\\] from fc_vcpu 0\n$"));

	cr_assert_eq(pthread_create(&t, NULL, named_thread, longer), 0);
	(void)pthread_join(t, NULL); /* made above */
	cr_expect(matches(take_log(), ":a name of more \\] from a name of more \n$"));
	log_info("main is still main");
	cr_expect(matches(take_log(), ":main\\] main is still main\n$"));
}

Test(log, long_messages_are_cut_and_still_one_line)
{
	char message[4000];
	log_to_file((struct log_config){ 0 });
	log_info("%s", "");
	const size_t head = strlen(take_log()) - 1;
	for (size_t n = 2040 - head; n < sizeof(message); n += n < 2060 - head ? 1 : 500) {
		memset(message, 'x', n);
		message[n] = '\0';
		log_info("%s", message);
		const char *text = take_log();
		const size_t want = min_u64(head + n + 1, 2047);
		cr_expect_eq(strlen(text), want, "%zu bytes: %zu", n, strlen(text));
		cr_expect_eq(count_lines(text), 1);
		cr_expect_eq(text[strlen(text) - 1], '\n');
	}
}

Test(log, control_bytes_cannot_forge_a_line_or_drive_a_terminal)
{
	log_to_file((struct log_config){ 0 });
	log_info("a\nb\r\033[2Jc\x7f \303\251");
	cr_expect(matches(take_log(), "\\] a b  \\[2Jc  \303\251\n$"));
}

/* --- time ------------------------------------------------------------------------------------- */

static struct timespec instants[100000];
static unsigned int ninstants;

static void log_at_time(time_t seconds, long ns)
{
	cr_assert_lt(ninstants, ARRAY_SIZE(instants));
	instants[ninstants++] = set_time = (struct timespec){ seconds, ns };
	is_time_set = true;
	log_info("x");
	is_time_set = false;
}

/* `line` begins with the instant as gmtime_r has it. */
static void expect_time(const char *line, const struct timespec *t)
{
	char want[64], date[32];
	struct tm tm;
	cr_assert(gmtime_r(&t->tv_sec, &tm));
	cr_assert_gt(strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm), 0);
	(void)snprintf(want, sizeof(want), "%s.%09ld [", date, t->tv_nsec);
	cr_assert_eq(strncmp(line, want, strlen(want)), 0, "want %s got %.40s", want, line);
}

Test(log, known_instants)
{
	static const struct {
		const char *want;
		time_t seconds;
		long ns;
	} rows[] = {
		{ "1970-01-01T00:00:00.000000000 ", 0, 0 },
		{ "2000-02-29T23:59:59.999999999 ", 951868799, 999999999 },
		{ "2000-03-01T00:00:00.000000001 ", 951868800, 1 },
		{ "2026-11-21T02:06:11.123456789 ", 1795226771, 123456789 },
		{ "2038-01-19T03:14:08.000000000 ", 2147483648, 0 },
		{ "2100-02-28T23:59:59.000000000 ", 4107542399, 0 },
		{ "2100-03-01T00:00:00.000000000 ", 4107542400, 0 },
	};
	log_to_file((struct log_config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set_time = (struct timespec){ rows[i].seconds, rows[i].ns };
		is_time_set = true;
		log_info("x");
		is_time_set = false;
		const char *text = take_log();
		cr_expect_eq(strncmp(text, rows[i].want, strlen(rows[i].want)), 0, "%s: %s",
			     rows[i].want, text);
	}
}

Test(log, dates_are_gmtimes)
{
	log_to_file((struct log_config){ 0 });
	/* First and last seconds of days, in steps of 28 days and of one, over an era of 400 years. */
	for (time_t day = 0; day < 401 * 365; day += day % 31 < 28 ? 28 : 1) {
		log_at_time(day * 86400, 0);
		log_at_time(day * 86400 + 86399, 999999999);
	}
	/* And every day of a leap year and two common ones. */
	for (time_t day = 10950; day < 10950 + 3 * 366; day++)
		log_at_time(day * 86400 + 43200, 5);
	const char *line = take_log();
	for (unsigned int i = 0; i < ninstants; i++) {
		expect_time(line, &instants[i]);
		line = strchr(line, '\n') + 1;
	}
	cr_expect_gt(ninstants, 20000);
	cr_expect_eq(*line, '\0');
}

/* --- filters ---------------------------------------------------------------------------------- */

Test(log, level_names)
{
	static const struct {
		const char *name;
		bool ok;
		enum log_level want;
	} rows[] = {
		{ "Off", true, LOG_OFF },       { "Error", true, LOG_ERROR },
		{ "Warn", true, LOG_WARN },     { "Warning", true, LOG_WARN },
		{ "Info", true, LOG_INFO },     { "Debug", true, LOG_DEBUG },
		{ "Trace", true, LOG_TRACE },   { "wArNiNg", true, LOG_WARN },
		{ "off", true, LOG_OFF },       { "", false, LOG_OFF },
		{ "Warnings", false, LOG_OFF }, { "Inf", false, LOG_OFF },
		{ " Info", false, LOG_OFF },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		enum log_level got = LOG_TRACE + 1;
		cr_expect_eq(log_level_parse(rows[i].name, &got), rows[i].ok, "%s", rows[i].name);
		cr_expect_eq(got, rows[i].ok ? rows[i].want : LOG_TRACE + 1, "%s", rows[i].name);
	}
	cr_expect_str_eq(log_level_name(LOG_WARN), "WARN");
}

Test(log, level_filter)
{
	for (enum log_level level = LOG_OFF; level <= LOG_TRACE; level++) {
		log_to_file((struct log_config){ .has_level = true, .level = level });
		log_error("e");
		log_warn("w");
		log_info("i");
		log_debug("d");
		log_at(LOG_TRACE, "t");
		cr_expect_eq(count_lines(take_log()), (unsigned int)level, "level %d", level);
		for (enum log_level l = LOG_ERROR; l <= LOG_TRACE; l++)
			cr_expect_eq(log_is_enabled(l), l <= level);
	}
}

Test(log, an_update_without_level_goes_back_to_info)
{
	struct log_config none = { 0 };
	log_to_file((struct log_config){ .has_level = true, .level = LOG_TRACE });
	cr_assert_eq(log_configure(&none, &err), 0);
	cr_expect(log_is_enabled(LOG_INFO) && !log_is_enabled(LOG_DEBUG));
}

Test(log, module_filter)
{
	static const struct {
		const char *claim, *module, *file;
		bool passes;
	} rows[] = {
		{ "a folder", "devices/", "devices/rng.c", true },
		{ "another folder", "devices/", "vmm/vm.c", false },
		{ "a whole path", "vmm/vm.c", "vmm/vm.c", true },
		{ "a prefix, not a part", "rng", "devices/rng.c", false },
		{ "longer than the file's path", "vmm/vm.c/x", "vmm/vm.c", false },
		{ "none", "", "vmm/vm.c", true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct log_config c = { .has_module = true };
		(void)snprintf(c.module, sizeof(c.module), "%s", rows[i].module);
		log_to_file(c);
		log_write(LOG_ERROR, rows[i].file, 1, "x");
		cr_expect_eq(count_lines(take_log()), rows[i].passes ? 1 : 0, "%s", rows[i].claim);
	}
}

/* --- configuring ------------------------------------------------------------------------------ */

Test(log, absent_fields_keep_their_value)
{
	struct log_config none = { 0 };
	log_to_file((struct log_config){ .has_show_level = true,
					 .show_level = true,
					 .has_show_log_origin = true,
					 .show_log_origin = true });
	cr_assert_eq(log_configure(&none, &err), 0);
	log_write(LOG_INFO, "a.c", 1, "x");
	cr_expect(matches(take_log(), ":main:INFO:a\\.c:1\\] x\n$"));
	struct log_config off = { .has_show_level = true, .has_show_log_origin = true };
	cr_assert_eq(log_configure(&off, &err), 0);
	log_write(LOG_INFO, "a.c", 1, "x");
	cr_expect(matches(take_log(), ":main\\] x\n$"));
}

Test(log, a_path_that_cannot_be_opened_changes_nothing)
{
	struct log_config bad = { .has_log_path = true,
				  .log_path = "/nonexistent/log",
				  .has_level = true,
				  .level = LOG_TRACE,
				  .has_show_level = true,
				  .show_level = true };
	log_to_file((struct log_config){ 0 });
	cr_expect_eq(log_configure(&bad, &err), -ENOENT);
	cr_expect_str_eq(err.text, "Failed to open target file /nonexistent/log: "
				   "No such file or directory (os error 2)");
	cr_expect_not(log_is_enabled(LOG_DEBUG));
	log_info("still here");
	cr_expect(matches(take_log(), ":main\\] still here\n$"));

	(void)snprintf(bad.log_path, sizeof(bad.log_path), "/tmp");
	cr_expect_eq(log_configure(&bad, &err), -EISDIR);
	cr_expect_str_eq(err.text, "Failed to open target file /tmp: Is a directory (os error 21)");
}

Test(log, a_new_sink_takes_over_and_the_old_one_is_closed)
{
	char other[80];
	struct stat st;
	log_to_file((struct log_config){ 0 });
	log_info("one");
	(void)umask(022);
	int lowest = dup(0);
	(void)close(lowest); /* only its number was wanted */

	struct log_config c = { .has_log_path = true };
	(void)snprintf(other, sizeof(other), "%s.2", path);
	(void)snprintf(c.log_path, sizeof(c.log_path), "%s", other);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(log_configure(&c, &err), 0);
	log_info("two");
	cr_expect_eq(count_lines(take_log()), 1, "the first has the first line only");
	cr_assert_eq(stat(other, &st), 0);
	cr_expect_gt(st.st_size, 0);
	cr_expect_eq(st.st_mode & 0777, 0644);
	int now = dup(0);
	cr_expect_leq(now, lowest + 1, "descriptors pile up: %d, then %d", lowest, now);
	(void)close(now);
	(void)unlink(other);
}

Test(log, a_file_is_appended_to)
{
	set_path(&(struct log_config){ 0 });
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, "before\n", 7), 7);
	(void)close(fd); /* written and checked */
	struct log_config c = { 0 };
	set_path(&c);
	cr_assert_eq(log_configure(&c, &err), 0);
	log_info("after");
	cr_expect(matches(take_log(), "^before\n[0-9].* after\n$"));
}

/* --- sinks that are full or gone -------------------------------------------------------------- */

static void log_to_fifo(void)
{
	struct log_config c = { 0 };
	set_path(&c);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(log_configure(&c, &err), 0, "%s", err.text);
}

/* Reads all there is, without waiting; returns the number of whole lines. */
static unsigned int drain(int fd)
{
	static char buf[2 * 1024 * 1024];
	size_t n = 0;
	ssize_t got;
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	while ((got = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0)
		n += (size_t)got;
	buf[n] = '\0';
	cr_expect(n == 0 || buf[n - 1] == '\n', "no line is cut");
	return count_lines(buf);
}

Test(log, a_fifo_waits_for_its_reader)
{
	log_to_fifo();
	log_info("before the reader came");
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_expect_eq(drain(fd), 1);
	log_info("after");
	cr_expect_eq(drain(fd), 1);
	cr_expect_eq(log_missed_count(), 0);
	(void)close(fd);
}

/* If a line blocked, the suite's time limit would end this. */
static void expect_losses_are_counted(int reader)
{
	enum { LINES = 3000 };
	for (int i = 0; i < LINES; i++)
		log_info("line %d, long enough that a pipe of 64 KiB cannot hold all of them", i);
	const uint64_t missed = log_missed_count();
	cr_expect_gt(missed, 0);
	cr_expect_eq(drain(reader), LINES - missed);
	log_info("there is room again");
	cr_expect_eq(drain(reader), 1);
	cr_expect_eq(log_missed_count(), missed);
}

Test(log, a_full_fifo_loses_lines_and_counts_them)
{
	log_to_fifo();
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect_losses_are_counted(fd);
	(void)close(fd);
}

Test(log, a_full_stdout_loses_lines_and_counts_them)
{
	int p[2];
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	cr_assert_eq(dup2(p[1], STDOUT_FILENO), STDOUT_FILENO); /* blocking, as a user's pipe is */
	expect_losses_are_counted(p[0]);
}

Test(log, a_disk_that_is_full_costs_the_line)
{
	struct log_config c = { .has_log_path = true, .log_path = "/dev/full" };
	cr_assert_eq(log_configure(&c, &err), 0);
	log_info("x");
	log_write_from_signal(LOG_ERROR, "x");
	cr_expect_eq(log_missed_count(), 2);
}

Test(log, signal_lines)
{
	char longer[400];
	log_to_file((struct log_config){ .has_level = true, .level = LOG_ERROR });
	log_write_from_signal(LOG_ERROR, "Shutting down");
	cr_expect_str_eq(take_log(), "Shutting down\n");
	log_write_from_signal(LOG_WARN, "below the level");
	cr_expect_str_eq(take_log(), "");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_write_from_signal(LOG_ERROR, longer);
	cr_expect_eq(strlen(take_log()), 256, "cut, with its end of line");
}

/* --- many threads ----------------------------------------------------------------------------- */

enum { THREADS = 4, LINES_EACH = 300 };

static void *chatter(void *arg)
{
	log_name_thread(arg);
	for (int i = 0; i < LINES_EACH; i++)
		log_info("line %d of the thread called %s.", i, (const char *)arg);
	return NULL;
}

Test(log, lines_of_threads_do_not_mix)
{
	static char names[THREADS][8] = { "t0", "t1", "t2", "t3" };
	unsigned int lines = 0;
	pthread_t t[THREADS];
	char *save = NULL;
	log_to_file((struct log_config){ 0 });
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, chatter, names[i]), 0);
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(t[i], NULL); /* made above */
	cleanup_free char *text = strdup(take_log());
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		lines++;
		cr_assert(matches(l, ":t([0-3])\\] line [0-9]+ of the thread called t\\1\\.$"),
			  "%s", l);
	}
	cr_expect_eq(lines, THREADS * LINES_EACH);
}

/* --- budgets ---------------------------------------------------------------------------------- */

static void at_ns(uint64_t ns)
{
	is_time_set = true;
	set_time = (struct timespec){ (time_t)(ns / SECOND), (long)(ns % SECOND) };
}

Test(log, ten_lines_in_five_seconds)
{
	static const struct {
		const char *claim;
		uint64_t ns;
		unsigned int calls, pass;
	} rows[] = {
		{ "the first ten pass", 100 * SECOND, 10, 10 },
		{ "the eleventh does not", 100 * SECOND, 3, 0 },
		{ "nor one a nanosecond before the window's end", 105 * SECOND - 1, 3, 0 },
		{ "a new window opens after 5 s", 105 * SECOND, 4, 4 },
		{ "the rest of its budget is there later", 109 * SECOND, 8, 6 },
		{ "a long silence saves nothing up", 1000 * SECOND, 25, 10 },
	};
	struct log_limit limit = { 0 };
	uint64_t swallowed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned int pass = 0;
		at_ns(rows[i].ns);
		for (unsigned int n = 0; n < rows[i].calls; n++)
			pass += log_limit_pass(&limit);
		is_time_set = false;
		cr_expect_eq(pass, rows[i].pass, "%s: %u", rows[i].claim, pass);
		swallowed += rows[i].calls - rows[i].pass;
		cr_expect_eq(log_limited_count(), swallowed, "%s", rows[i].claim);
	}
}

Test(log, each_call_site_has_its_own_budget)
{
	log_to_file((struct log_config){ .has_level = true, .level = LOG_INFO });
	at_ns(50 * SECOND);
	for (int i = 0; i < 30; i++) {
		log_guest(LOG_WARN, "one site");
		log_guest(LOG_WARN, "another site");
		log_guest(LOG_DEBUG, "disabled: costs no budget and is no loss");
	}
	is_time_set = false;
	cr_expect_eq(count_lines(take_log()), 20);
	cr_expect_eq(log_limited_count(), 40);
	cr_expect_eq(log_missed_count(), 0);
}
