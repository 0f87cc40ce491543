/*
 * Hostile and merely demanding bare-metal guests. Of the hostile ones each runs while the API is asked all the time and must end with the verdict the guest itself
 * gives; the log stays within its budget whatever the guest does.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

TestSuite(hostile, .fini = harness_end);

/* One drive of 64 sectors, each word as the guest's disk_word() has it. */
static const char *make_pattern_disk(void)
{
	enum { SECTORS = 64, WORDS = SECTORS * 64 };
	static uint64_t words[WORDS];
	const char *path = format("%s/disk", make_dir());
	for (uint64_t i = 0; i < WORDS; i++)
		words[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	write_file(path, words, sizeof(words));
	return path;
}

/* Each call site (file:line in the log) has 10 lines in 5 seconds, counted from a site's first line; the log's own
 * times say how many seconds there were. Returns how many lines the most talkative one has. */
static unsigned int check_log_budget(struct wick *w)
{
	struct {
		char site[80];
		double first;
		unsigned int n;
	} *sites = calloc(64, sizeof(*sites));
	unsigned int nsites = 0, most = 0;
	struct text log = wick_log(w);
	char *rest = log.bytes;

	check(w, sites, "no memory");
	for (char *line; (line = strsep(&rest, "\n"));) {
		char site[80];
		unsigned int h, m, i;
		double s;
		/* 2026-01-01T00:00:00.000000000 [id:thread:WARN:file:line] text */
		if (!strstr(line, ":WARN:") && !strstr(line, ":ERROR:"))
			continue;
		const char *at = strstr(line, ":WARN:") ? strstr(line, ":WARN:") + 6
							: strstr(line, ":ERROR:") + 7;
		check(w, sscanf(line, "%*[^T]T%u:%u:%lf", &h, &m, &s) == 3,
		      "a log line without a time: %s", line);
		check(w, sscanf(at, "%79[^]]", site) == 1, "a log line without an origin: %s",
		      line);
		for (i = 0; i < nsites && strcmp(sites[i].site, site) != 0;)
			i++;
		if (i == nsites) {
			check(w, nsites < 64, "more than 64 call sites");
			snprintf(sites[nsites++].site, sizeof(sites[0].site), "%s", site);
		}
		double t = h * 3600.0 + m * 60.0 + s;
		if (sites[i].n++ == 0)
			sites[i].first = t;
		most = sites[i].n > most ? sites[i].n : most;
		double span = t >= sites[i].first ? t - sites[i].first : t - sites[i].first + 86400;
		unsigned int budget = 10 * ((unsigned int)(span / 5) + 1);
		check(w, sites[i].n <= budget, "%s has %u lines in %.3f s", site, sites[i].n, span);
	}
	free(sites);
	return most;
}

/* Has GET / answered with "Running"? No answer, or that it has ended, is for the caller to judge. */
static bool ask(struct wick *w)
{
	char buffer[512] = "";
	int fd = api_try_connect(w);
	if (fd < 0)
		return false;
	send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
	ssize_t n = read(fd, buffer, sizeof(buffer) - 1);
	close(fd);
	if (n <= 0 || strstr(buffer, "The microVM has ended."))
		return false;
	check(w,
	      strncmp(buffer, "HTTP/1.1 200 ", 13) == 0 && strstr(buffer, "\"state\":\"Running\""),
	      "GET / gives \"%s\"", buffer);
	return true;
}

static bool has_verdict(struct wick *w)
{
	wick_read_output(w);
	return w->out_fd < 0 || memmem(w->out.bytes, w->out.len, "\nDONE\n", 6) ||
	       memmem(w->out.bytes, w->out.len, "\nFAIL ", 6);
}

/*
 * The guest does its worst over and over until a key is typed, and it is typed only when the API has answered 20
 * times. (A guest that writes into the console's registers may lose the key: it is typed again.)
 */
static struct wick *run_while_asking(struct machine m)
{
	enum { ANSWERS = 20 };
	m.args = format("until=key %s", m.args ? m.args : "");
	struct wick *w = boot(&m);
	const int64_t started = now_ms();
	unsigned int answers = 0;

	wick_wait_api(w);
	while (!has_verdict(w)) {
		check(w, now_ms() - started < DEADLINE_S * 1000, "the guest does not end");
		bool has_answered = ask(w);
		check(w, has_answered || answers >= ANSWERS, "the API does not answer");
		answers += has_answered;
		if (answers >= ANSWERS)
			wick_type(w, "x");
		usleep(20000);
	}
	int code = wick_wait_exit(w);
	check(w, memmem(w->out.bytes, w->out.len, "\nDONE\n", 6), "guest %s has not said DONE",
	      m.guest);
	check(w, answers >= ANSWERS, "the guest has ended by itself");
	check(w, code == 0, "exit code %d", code);
	(void)check_log_budget(w);
	return w;
}

Test(hostile, random_accesses_to_every_window)
{
	const struct drive d = { "d", make_pattern_disk(), false, false };
	for (unsigned int seed = 1; seed <= 2; seed++) {
		struct wick *w = run_while_asking(
			(struct machine){ .guest = "fuzz_mmio",
					  .args = format("cpus=2 rounds=300 seed=%u", seed),
					  .vcpus = 2,
					  .has_entropy = true,
					  .drives = { d } });
		for (const char *const *name =
			     (const char *const[]){ "gicd", "gicr", "rtc", "uart", "virtio 0",
						    "virtio 1", NULL };
		     *name; name++)
			check(w, memmem(w->out.bytes, w->out.len, *name, strlen(*name)),
			      "no report about %s", *name);
	}
}

Test(hostile, random_accesses_of_two_vcpus_at_once)
{
	const struct drive d = { "d", make_pattern_disk(), false, false };
	struct wick *w =
		run_while_asking((struct machine){ .guest = "fuzz_mmio",
						   .args = "cpus=2 rounds=300 seed=3 both=1",
						   .vcpus = 2,
						   .has_entropy = true,
						   .drives = { d } });
	check(w, strstr(w->out.bytes, "window rtc"), "no report about the clock");
}

Test(hostile, accesses_without_syndrome_abort_in_the_guest)
{
	struct wick *w = run_while_asking((struct machine){
		.guest = "ldp_stp", .drives = { { "d", make_pattern_disk(), true, false } } });
	check(w, output_number(w, "aborts:") == 84, "%s", output_value(w, "aborts:"));
}

Test(hostile, accesses_to_nothing_abort_in_the_guest)
{
	struct wick *w = run_while_asking((struct machine){ .guest = "unmapped" });
	check(w, output_number(w, "aborts:") == 2080, "%s", output_value(w, "aborts:"));
	struct text log = wick_log(w);
	check(w, strstr(log.bytes, "write to nothing at guest address 0x"),
	      "the log does not name the address");
	check(w, check_log_budget(w) >= 10, "2080 aborts have not used the log's budget up");
}

Test(hostile, jumps_into_devices_abort_in_the_guest)
{
	struct wick *w = run_while_asking((struct machine){
		.guest = "jump_mmio", .drives = { { "d", make_pattern_disk(), true, false } } });
	check(w, output_number(w, "aborts:") == 500, "%s", output_value(w, "aborts:"));
}

Test(hostile, second_vcpu_progresses_while_the_first_misbehaves)
{
	struct wick *w = run_while_asking((struct machine){ .guest = "smp", .vcpus = 2 });
	check(w, output_number(w, "progress:") >= 100000, "%s", output_value(w, "progress:"));
}

static void run_bad_chains(bool is_read_only)
{
	const char *disk = make_pattern_disk();
	const char *before = sha256_of(disk);
	struct wick *w = run_while_asking(
		(struct machine){ .guest = "bad_chains",
				  .args = format("mem=128 sectors=64 ro=%d", is_read_only),
				  .drives = { { "d", disk, is_read_only, false } } });
	check(w, output_number(w, "chains:") == 51, "%s chains", output_value(w, "chains:"));
	check(w, strcmp(before, sha256_of(disk)) == 0, "the disk has changed");
	struct text log = wick_log(w);
	check(w, strstr(log.bytes, "the device needs a reset"), "the log does not tell of it");
}

Test(hostile, malformed_chains_leave_the_device_usable)
{
	run_bad_chains(false);
}

Test(hostile, malformed_chains_on_a_read_only_drive_do_not_write)
{
	run_bad_chains(true);
}

Test(hostile, registers_written_out_of_order_leave_the_device_usable)
{
	const char *disk = make_pattern_disk();
	const char *before = sha256_of(disk);
	struct wick *w = run_while_asking((struct machine){
		.guest = "bad_registers", .drives = { { "d", disk, false, false } } });
	check(w, output_number(w, "queues:") == 14, "%s queues", output_value(w, "queues:"));
	check(w, strcmp(before, sha256_of(disk)) == 0, "the disk has changed");
}

Test(hostile, descriptors_that_change_under_the_device_leave_it_usable)
{
	const char *disk = make_pattern_disk();
	const char *before = sha256_of(disk);
	struct wick *w =
		run_while_asking((struct machine){ .guest = "race_chains",
						   .args = "mem=128 sectors=64",
						   .vcpus = 2,
						   .drives = { { "d", disk, true, false } } });
	/* Both ways of ending were seen, or it was no race. */
	check(w, output_number(w, "resets:") > 0 && output_number(w, "answers:") > 0,
	      "%s resets, %s answers", output_value(w, "resets:"), output_value(w, "answers:"));
	check(w, strcmp(before, sha256_of(disk)) == 0, "the disk has changed");
}

Test(hostile, psci_calls_with_bad_arguments_are_refused)
{
	struct wick *w = boot_guest_to_done(&(struct machine){ .guest = "psci_bad", .vcpus = 2 });
	check(w, output_number(w, "calls:") == 9, "%s", output_value(w, "calls:"));
}

/* It takes prefetch aborts in KVM for ever; the monitor must still be able to stop it. */
Test(hostile, vcpu_started_at_a_device_address_can_be_paused)
{
	struct wick *w =
		boot(&(struct machine){ .guest = "psci_bad", .args = "hang=1", .vcpus = 2 });
	wick_wait_output(w, "HANGING");
	for (unsigned int i = 0; i < 5; i++) {
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Paused\"}", 204);
		expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Paused\"");
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Resumed\"}", 204);
	}
}

Test(hostile, every_vcpu_finds_its_redistributor)
{
	static const unsigned int counts[] = { 1, 2, 16, 17, 40 };
	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		struct wick *w =
			boot_guest_to_done(&(struct machine){ .guest = "many_cpus",
							      .args = format("cpus=%u", counts[i]),
							      .vcpus = counts[i] });
		check(w, output_number(w, "cpus:") == counts[i], "%s of %u",
		      output_value(w, "cpus:"), counts[i]);
	}
}

Test(hostile, off_and_reset_of_any_vcpu_end_wick_with_0)
{
	static const char *const variants[] = { "psci=off", "psci=reset", "psci=off from=1",
						"psci=reset from=1" };
	static const char *const words[] = { "shutdown", "reset", "shutdown", "reset" };
	for (unsigned int i = 0; i < ARRAY_SIZE(variants); i++) {
		struct wick *w =
			boot(&(struct machine){ .guest = "psci", .args = variants[i], .vcpus = 2 });
		int code = wick_wait_exit(w);
		check(w, code == 0, "%s: exit code %d", variants[i], code);
		wick_read_output(w);
		check(w, strstr(w->out.bytes, "ends") && !strstr(w->out.bytes, "FAIL"), "%s",
		      variants[i]);
		struct text log = wick_log(w);
		expect_contains(w, log.bytes, format("The guest asked for a %s", words[i]));
	}
}
