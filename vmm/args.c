/* Command line parsing from one table (struct args). Main thread, before anything else runs. */
#include "vmm/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

static const struct arg_spec {
	const char *name;
	bool takes_value;
	const char *fallback;
	const char *help;
} specs[ARG_COUNT] = {
	[ARG_API_SOCK] = { "api-sock", true, "/run/firecracker.socket",
			   "Path to unix domain socket used by the API." },
	[ARG_BOOT_TIMER] = { "boot-timer", false, NULL,
			     "Adds the boot timer device: logs the time from the start request "
			     "until the guest writes to it." },
	[ARG_CONFIG_FILE] = { "config-file", true, NULL,
			      "Path to a file that contains the microVM configuration in JSON "
			      "format; the microVM starts at once." },
	[ARG_HELP] = { "help", false, NULL, "Show the help message." },
	[ARG_HTTP_API_MAX_PAYLOAD_SIZE] = { "http-api-max-payload-size", true, "51200",
					    "Http API request payload max size, in bytes." },
	[ARG_ID] = { "id", true, "anonymous-instance", "MicroVM unique identifier." },
	[ARG_LEVEL] = { "level", true, NULL,
			"Set the logger level: Off, Error, Warning, Info, Debug or Trace." },
	[ARG_LOG_PATH] = { "log-path", true, NULL,
			   "Path to a fifo or a file used for configuring the logger on startup." },
	[ARG_MODULE] = { "module", true, NULL, "Set the logger module filter." },
	[ARG_NO_API] = { "no-api", false, NULL,
			 "Run the microVM of --config-file without an API socket." },
	[ARG_PARENT_CPU_TIME_US] = { "parent-cpu-time-us", true, NULL,
				     "Parent process CPU time (wall clock, microseconds). "
				     "Optional." },
	[ARG_SHOW_LEVEL] = { "show-level", false, NULL, "Output the level in the logs." },
	[ARG_SHOW_LOG_ORIGIN] = { "show-log-origin", false, NULL,
				  "Include the file path and line number of the log's origin." },
	[ARG_START_TIME_CPU_US] = { "start-time-cpu-us", true, NULL,
				    "Process start CPU time (wall clock, microseconds). "
				    "Optional." },
	[ARG_START_TIME_US] = { "start-time-us", true, NULL,
				"Process start time (wall clock, microseconds). Optional." },
	[ARG_VERSION] = { "version", false, NULL, "Print the version." },
};

static bool is_present(int argc, char *const *argv, const char *what)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], what) == 0)
			return true;
	return false;
}

static int find(const char *name)
{
	for (int i = 0; i < ARG_COUNT; i++)
		if (strcmp(specs[i].name, name) == 0)
			return i;
	return -1;
}

/* argv[*i] is an option; takes its value too. */
static int parse_one(int argc, char *const *argv, int *i, struct args *a, struct err *e)
{
	const char *text = argv[*i];
	const char *name = strncmp(text, "--", 2) == 0 ? text + 2 : text;
	int which = name == text ? -1 : find(name);
	if (which < 0)
		return err_set(e, -EINVAL,
			       "Found argument '%s' which wasn't expected, or isn't valid in this "
			       "context.",
			       name);
	if (a->is_set[which])
		return err_set(e, -EINVAL, "The argument '%s' was provided more than once.", name);
	a->is_set[which] = true;
	if (!specs[which].takes_value)
		return 0;
	if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)
		return err_set(e, -EINVAL,
			       "The argument '%s' requires a value, but none was supplied.", name);
	a->value[which] = argv[++*i];
	return 0;
}

int args_parse(int argc, char *const *argv, struct args *ret, struct err *e)
{
	struct args a = { 0 };

	for (int i = 0; i < ARG_COUNT; i++)
		a.value[i] = specs[i].fallback;
	a.is_set[ARG_HELP] = is_present(argc, argv, "--help") || is_present(argc, argv, "-h");
	a.is_set[ARG_VERSION] = !a.is_set[ARG_HELP] && is_present(argc, argv, "--version");
	if (!a.is_set[ARG_HELP] && !a.is_set[ARG_VERSION]) {
		for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
			int rc = parse_one(argc, argv, &i, &a, e);
			if (rc < 0)
				return rc;
		}
		if (a.is_set[ARG_NO_API] && !a.is_set[ARG_CONFIG_FILE])
			return err_set(e, -EINVAL,
				       "Argument 'config-file' required, but not found.");
	}
	*ret = a;
	return 0;
}

void args_print_help(void)
{
	char left[64];

	(void)printf("optional arguments:\n");
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		const struct arg_spec *s = &specs[i];
		(void)snprintf(left, sizeof(left), s->takes_value ? "  --%s <%s>" : "  --%s",
			       s->name, s->name);
		(void)printf("%-59s   %s", left, s->help);
		if (s->fallback)
			(void)printf(" [default: \"%s\"]", s->fallback);
		(void)printf("\n");
	}
}

int args_u64(const struct args *a, enum arg which, uint64_t *ret, struct err *e)
{
	const char *text = a->value[which];
	char *end;

	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || end == text || text[0] < '0' || text[0] > '9')
		return err_set(e, -EINVAL,
			       "The argument '%s' has value '%s', expected a whole number of at "
			       "most 64 bits",
			       specs[which].name, text);
	*ret = v;
	return 0;
}
