/* vmm/args.c: Firecracker's parser's rules (contract 2.1), one row each. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <string.h>

#include "vmm/args.h"
#include "vmm/base/bits.h"

enum { MAX_WORDS = 8 };

static int parse(const char *const words[MAX_WORDS], struct args *a, struct err *e)
{
	char *argv[MAX_WORDS + 2] = { (char *)"wick" };
	int argc = 1;
	for (int i = 0; i < MAX_WORDS && words[i]; i++)
		argv[argc++] = (char *)words[i];
	memset(a, 0xee, sizeof(*a));
	e->text[0] = '\0';
	return args_parse(argc, argv, a, e);
}

Test(args, refusals)
{
	static const struct {
		const char *claim;
		const char *words[MAX_WORDS];
		const char *text;
	} rows[] = {
		{ "given twice",
		  { "--id", "a", "--id", "b" },
		  "The argument 'id' was provided more than once." },
		{ "a flag given twice",
		  { "--show-level", "--show-level" },
		  "The argument 'show-level' was provided more than once." },
		{ "unknown",
		  { "--foo", "1" },
		  "Found argument 'foo' which wasn't expected, or isn't valid in this context." },
		{ "no = between name and value",
		  { "--id=a" },
		  "Found argument 'id=a' which wasn't expected, or isn't valid in this context." },
		{ "a prefix of a name",
		  { "--api", "x" },
		  "Found argument 'api' which wasn't expected, or isn't valid in this context." },
		{ "one dash",
		  { "-id", "x" },
		  "Found argument '-id' which wasn't expected, or isn't valid in this context." },
		{ "a bare word",
		  { "run" },
		  "Found argument 'run' which wasn't expected, or isn't valid in this context." },
		{ "a word behind a flag",
		  { "--boot-timer", "yes" },
		  "Found argument 'yes' which wasn't expected, or isn't valid in this context." },
		{ "an empty word",
		  { "" },
		  "Found argument '' which wasn't expected, or isn't valid in this context." },
		{ "names are case-sensitive",
		  { "--ID", "a" },
		  "Found argument 'ID' which wasn't expected, or isn't valid in this context." },
		{ "no value at the end",
		  { "--id" },
		  "The argument 'id' requires a value, but none was supplied." },
		{ "another option is no value",
		  { "--id", "--no-api" },
		  "The argument 'id' requires a value, but none was supplied." },
		{ "the end of options is no value",
		  { "--id", "--", "x" },
		  "The argument 'id' requires a value, but none was supplied." },
		{ "--no-api alone",
		  { "--no-api" },
		  "Argument 'config-file' required, but not found." },
		{ "the first mistake is named",
		  { "--foo", "--bar" },
		  "Found argument 'foo' which wasn't expected, or isn't valid in this context." },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct args a;
		struct err e;
		int rc = parse(rows[i].words, &a, &e);
		cr_expect_eq(rc, -EINVAL, "%s: %d", rows[i].claim, rc);
		cr_expect_str_eq(e.text, rows[i].text, "%s: %s", rows[i].claim, e.text);
	}
}

Test(args, values)
{
	static const struct {
		const char *claim;
		const char *words[MAX_WORDS];
		enum arg which;
		bool is_set;
		const char *value;
	} rows[] = {
		{ "the socket's default", { 0 }, ARG_API_SOCK, false, "/run/firecracker.socket" },
		{ "the id's default", { 0 }, ARG_ID, false, "anonymous-instance" },
		{ "the payload's default", { 0 }, ARG_HTTP_API_MAX_PAYLOAD_SIZE, false, "51200" },
		{ "no config file by default", { 0 }, ARG_CONFIG_FILE, false, NULL },
		{ "no level by default", { 0 }, ARG_LEVEL, false, NULL },
		{ "no start time by default", { 0 }, ARG_START_TIME_US, false, NULL },
		{ "a value", { "--id", "vm-1" }, ARG_ID, true, "vm-1" },
		{ "an empty value", { "--log-path", "" }, ARG_LOG_PATH, true, "" },
		{ "a value with one dash", { "--id", "-1" }, ARG_ID, true, "-1" },
		{ "a value with =", { "--module", "a=b" }, ARG_MODULE, true, "a=b" },
		{ "a flag", { "--boot-timer" }, ARG_BOOT_TIMER, true, NULL },
		{ "what follows -- is not looked at",
		  { "--id", "a", "--", "--id", "b", "junk" },
		  ARG_ID,
		  true,
		  "a" },
		{ "--no-api with its file",
		  { "--no-api", "--config-file", "c.json" },
		  ARG_NO_API,
		  true,
		  NULL },
		{ "in any order",
		  { "--config-file", "c.json", "--no-api" },
		  ARG_CONFIG_FILE,
		  true,
		  "c.json" },
		{ "the jailer's times",
		  { "--start-time-us", "1", "--start-time-cpu-us", "2", "--parent-cpu-time-us",
		    "3" },
		  ARG_PARENT_CPU_TIME_US,
		  true,
		  "3" },
		{ "level", { "--level", "Debug", "--show-log-origin" }, ARG_LEVEL, true, "Debug" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct args a;
		struct err e;
		int rc = parse(rows[i].words, &a, &e);
		cr_assert_eq(rc, 0, "%s: %s", rows[i].claim, e.text);
		cr_expect_eq(a.is_set[rows[i].which], rows[i].is_set, "%s", rows[i].claim);
		const char *value = a.value[rows[i].which];
		if (rows[i].value)
			cr_expect_str_eq(value, rows[i].value, "%s", rows[i].claim);
		else
			cr_expect_null(value, "%s", rows[i].claim);
	}
}

Test(args, help_and_version_win_over_whatever_else_is_wrong)
{
	static const struct {
		const char *claim;
		const char *words[MAX_WORDS];
		int rc;
		bool help, version;
	} rows[] = {
		{ "help", { "--help" }, 0, true, false },
		{ "its short form", { "-h" }, 0, true, false },
		{ "help behind mistakes", { "--foo", "bar", "--help" }, 0, true, false },
		{ "version", { "--version" }, 0, false, true },
		{ "version behind mistakes", { "--id", "--version" }, 0, false, true },
		{ "help wins over version", { "--version", "--help" }, 0, true, false },
		{ "not behind --", { "--", "--help", "--version" }, 0, false, false },
		{ "mistakes count with help behind --",
		  { "--foo", "--", "--help" },
		  -EINVAL,
		  false,
		  false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct args a;
		struct err e;
		int rc = parse(rows[i].words, &a, &e);
		cr_expect_eq(rc, rows[i].rc, "%s: %d", rows[i].claim, rc);
		if (rc == 0) {
			cr_expect_eq(a.is_set[ARG_HELP], rows[i].help, "%s", rows[i].claim);
			cr_expect_eq(a.is_set[ARG_VERSION], rows[i].version, "%s", rows[i].claim);
		}
	}
}

Test(args, a_refusal_writes_no_result)
{
	static const char *const words[MAX_WORDS] = { "--foo" };
	struct args a, before;
	struct err e;
	memset(&before, 0xee, sizeof(before));
	cr_expect_eq(parse(words, &a, &e), -EINVAL);
	cr_expect_arr_eq(&a, &before, sizeof(a));
}

Test(args, no_argv_at_all)
{
	struct args a;
	struct err e;
	char *argv[] = { NULL };
	cr_expect_eq(args_parse(0, argv, &a, &e), 0);
	cr_expect_str_eq(a.value[ARG_ID], "anonymous-instance");
}

Test(args, numbers)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t want;
	} rows[] = {
		{ "0", true, 0 },
		{ "51200", true, 51200 },
		{ "007", true, 7 },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", false, 0 },
		{ "99999999999999999999999", false, 0 },
		{ "", false, 0 },
		{ "-1", false, 0 },
		{ "+1", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "0x10", false, 0 },
		{ "1e3", false, 0 },
		{ "12k", false, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const words[MAX_WORDS] = { "--start-time-us", rows[i].text };
		struct args a;
		struct err e;
		char want[128];
		uint64_t value = 4711;
		cr_assert_eq(parse(words, &a, &e), 0);
		int rc = args_u64(&a, ARG_START_TIME_US, &value, &e);
		cr_expect_eq(rc, rows[i].ok ? 0 : -EINVAL, "'%s': %d", rows[i].text, rc);
		cr_expect_eq(value, rows[i].ok ? rows[i].want : 4711, "'%s'", rows[i].text);
		(void)snprintf(want, sizeof(want), "The argument 'start-time-us' has value '%s', ",
			       rows[i].text);
		if (rc < 0)
			cr_expect_eq(strncmp(e.text, want, strlen(want)), 0, "%s", e.text);
	}
}

Test(args, help_names_every_flag, .init = cr_redirect_stdout)
{
	static const char *const flags[] = {
		"--api-sock <api-sock>",
		"--boot-timer",
		"--config-file <",
		"--help",
		"--http-api-max-payload-size <",
		"--id <",
		"--level <",
		"--log-path <",
		"--module <",
		"--no-api",
		"--parent-cpu-time-us <",
		"--show-level",
		"--show-log-origin",
		"--start-time-cpu-us <",
		"--start-time-us <",
		"--version",
	};
	static char text[16384];
	args_print_help();
	(void)fflush(stdout); /* what is missing shows below */
	FILE *f = cr_get_redirected_stdout();
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	cr_expect_eq(ARRAY_SIZE(flags), ARG_COUNT);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		cr_expect(strstr(text, flags[i]), "%s", flags[i]);
	cr_expect(strstr(text, "[default: \"/run/firecracker.socket\"]"));
}
