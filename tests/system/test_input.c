/* Bad input: each is refused with the exit code or status that clients know, and a message that says what is wrong. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

TestSuite(input, .fini = harness_end);

/* Started with these arguments it ends with this exit code and says all of these; on stderr, where a user looks. */
static void expect_end_in(const struct start_options *o, const char *const *args, int want,
			  const char *const *parts)
{
	struct wick *w = wick_start_with(o, args);
	int code = wick_wait_exit(w);
	check(w, code == want, "exit code %d, not %d", code, want);
	for (; *parts; parts++)
		expect_contains(w, w->err.bytes, *parts);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_end(const char *const *args, int want, const char *const *parts)
{
	expect_end_in(&(struct start_options){ 0 }, args, want, parts);
}

static void expect_config_refused(const char *json, int want, const char *const *parts)
{
	const struct start_options o = { .dir = make_dir() };
	write_file(format("%s/vm.json", o.dir), json, strlen(json));
	expect_end_in(&o, ARGS("--no-api", "--config-file", "vm.json", "--log-path", "log"), want,
		      parts);
}

static struct wick *start_api(void)
{
	struct wick *w = WICK("--api-sock", "api.sock", "--log-path", "log");
	wick_wait_api(w);
	return w;
}

/* Refused with 400 and a fault_message that says all of these; and the process goes on. */
static void expect_400(struct wick *w, const char *method, const char *path, const char *body,
		       const char *const *parts)
{
	const char *answer = expect_http(w, method, path, body, 400);
	expect_contains(w, answer, "\"fault_message\":");
	for (; *parts; parts++)
		expect_contains(w, answer, *parts);
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Not started\"");
}

/* --- arguments ------------------------------------------------------------------------------------------------ */

Test(input, bad_flags_end_with_153)
{
	expect_end(ARGS("--nonsense"), 153,
		   ARGS("Found argument 'nonsense' which wasn't expected"));
	expect_end(ARGS("stray"), 153, ARGS("Found argument 'stray' which wasn't expected"));
	expect_end(ARGS("--api-sock=x"), 153,
		   ARGS("Found argument 'api-sock=x' which wasn't expected"));
	expect_end(ARGS("--id", "a", "--id", "b"), 153,
		   ARGS("The argument 'id' was provided more than once."));
	expect_end(ARGS("--id"), 153,
		   ARGS("The argument 'id' requires a value, but none was supplied."));
	expect_end(ARGS("--id", "--no-api"), 153,
		   ARGS("The argument 'id' requires a value, but none was supplied."));
	expect_end(ARGS("--no-api"), 153, ARGS("config-file"));
	expect_end(ARGS("--http-api-max-payload-size", "many"), 153,
		   ARGS("http-api-max-payload-size", "many"));
}

Test(input, bad_ids_end_with_153)
{
	expect_end(ARGS("--id", ""), 153, ARGS("Invalid instance ID", "Invalid len (0)"));
	expect_end(ARGS("--id", "a_b"), 153,
		   ARGS("Invalid instance ID", "Invalid char (_) at position 1"));
	expect_end(
		ARGS("--id", "12345678901234567890123456789012345678901234567890123456789012345"),
		153, ARGS("Invalid instance ID", "Invalid len (65)"));
}

Test(input, bad_log_options_end_with_152)
{
	expect_end(ARGS("--level", "loud"), 152, ARGS("loud"));
	expect_end(ARGS("--log-path", "no/such/folder/log"), 152,
		   ARGS("no/such/folder/log", "No such file or directory"));
}

/* --- /dev/kvm --------------------------------------------------------------------------------------------------- */

Test(input, no_permission_on_kvm_says_what_to_do)
{
	enum { NOBODY = 65534 };
	const struct start_options o = { .dir = make_dir(), .uid = NOBODY };
	const char *json = machine_json(&(struct machine){ .guest = "psci" });

	if (getuid() != 0)
		cr_skip_test("only root can become somebody without permission");
	write_file(format("%s/vm.json", o.dir), json, strlen(json));
	struct wick *w = wick_start_with(
		&o, ARGS("--no-api", "--config-file", "vm.json", "--log-path", "log"));
	int code = wick_wait_exit(w);
	check(w, code == 1, "exit code %d", code);
	expect_contains(w, w->err.bytes, "/dev/kvm");
	expect_contains(w, w->err.bytes, "Permission denied");
	/* What to do: a group or a mode is to be given, by name. */
	check(w,
	      strstr(w->err.bytes, "group") || strstr(w->err.bytes, "chmod") ||
		      strstr(w->err.bytes, "setfacl"),
	      "the message does not say what to do");
}

Test(input, host_without_kvm_says_what_to_do)
{
	const struct start_options o = { .dir = make_dir(), .has_no_dev = true };
	const char *json = machine_json(&(struct machine){ .guest = "psci" });

	if (getuid() != 0)
		cr_skip_test("only root can take /dev away");
	write_file(format("%s/vm.json", o.dir), json, strlen(json));
	struct wick *w = wick_start_with(
		&o, ARGS("--no-api", "--config-file", "vm.json", "--log-path", "log"));
	int code = wick_wait_exit(w);
	check(w, code == 1, "exit code %d", code);
	expect_contains(w, w->err.bytes, "/dev/kvm");
	expect_contains(w, w->err.bytes, "No such file or directory (os error 2)");
	check(w, strlen(w->err.bytes) > 120, "the message does not say what to do");
}

/* More than the CPU's physical addresses reach: refused with a reason, before anything runs. */
Test(input, memory_beyond_the_hosts_address_space_is_refused)
{
	struct wick *w = start_api();
	expect_http(w, "PUT", "/boot-source",
		    format("{\"kernel_image_path\": \"%s\"}", built("guest/psci.img")), 204);
	expect_http(w, "PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 1046528}",
		    204);
	expect_400(w, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}",
		   ARGS("Start microvm error: "));
	expect_http(w, "PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 128}", 204);
	expect_http(w, "PUT", "/actions", "{\"action_type\": \"InstanceStart\"}", 204);
	int code = wick_wait_exit(w);
	check(w, code == 0, "exit code %d", code);
}

/* --- kernels ------------------------------------------------------------------------------------------------------ */

static const struct wrong_kernel {
	const char *name;
	const char *head;
	size_t head_len, at, size;
	const char *looks_like;
} wrong_kernels[] = {
	{ "elf", "\177ELF\2\1\1", 7, 0, 4096, "an ELF file" },
	{ "text", "This is no kernel.\n", 19, 0, 19, "a text file" },
	{ "empty", "", 0, 0, 0, "empty" },
	{ "zboot", "MZ\0\0zimg", 8, 0, 4096, "an EFI zboot image" },
	{ "bzimage", "HdrS", 4, 0x202, 4096, "an x86 bzImage" },
	{ "zeros", "", 0, 0, 4096, "nothing but zeros" },
};

static const char *write_wrong_kernel(const char *dir, const struct wrong_kernel *k)
{
	const char *path = format("%s/%s", dir, k->name);
	char bytes[4096] = { 0 };
	memcpy(bytes + k->at, k->head, k->head_len);
	write_file(path, bytes, k->size);
	return path;
}

Test(input, wrong_kernels_are_named_with_what_they_look_like)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong_kernels); i++) {
		const char *path = write_wrong_kernel(make_dir(), &wrong_kernels[i]);
		expect_config_refused(machine_json(&(struct machine){ .kernel = path }), 1,
				      ARGS(path, wrong_kernels[i].looks_like, "Image"));
	}
}

/* A failed start leaves the microVM configurable. */
Test(input, start_can_be_tried_again_after_a_wrong_kernel)
{
	struct wick *w = start_api();
	const char *wrong = write_wrong_kernel(w->dir, &wrong_kernels[0]);
	static const char start[] = "{\"action_type\": \"InstanceStart\"}";

	expect_400(w, "PUT", "/actions", start,
		   ARGS("Start microvm error: Cannot start microvm without kernel configuration."));
	for (unsigned int i = 0; i < 3; i++) {
		expect_http(w, "PUT", "/boot-source",
			    format("{\"kernel_image_path\": \"%s\"}", wrong), 204);
		expect_400(w, "PUT", "/actions", start,
			   ARGS("Start microvm error: ", "an ELF file"));
	}
	expect_http(w, "PUT", "/boot-source",
		    format("{\"kernel_image_path\": \"%s\", \"boot_args\": \"console=ttyS0\"}",
			   built("guest/psci.img")),
		    204);
	expect_http(w, "PUT", "/actions", start, 204);
	int code = wick_wait_exit(w);
	check(w, code == 0, "exit code %d", code);
	check(w, strstr(w->out.bytes, "ends"), "the guest has not run");
}

Test(input, missing_files_are_named)
{
	struct wick *w = start_api();
	expect_400(w, "PUT", "/boot-source", "{\"kernel_image_path\": \"/no/kernel\"}",
		   ARGS("Boot source error: The kernel file cannot be opened: ", "/no/kernel",
			"No such file or directory (os error 2)"));
	expect_400(w, "PUT", "/boot-source",
		   format("{\"kernel_image_path\": \"%s\", \"initrd_path\": \"/no/initrd\"}",
			  built("guest/psci.img")),
		   ARGS("Boot source error: The initrd file cannot be opened", "/no/initrd",
			"No such file or directory (os error 2)"));
	expect_400(
		w, "PUT", "/drives/a",
		"{\"drive_id\": \"a\", \"is_root_device\": false, \"path_on_host\": \"/no/disk\"}",
		ARGS("Drive config error: ", "/no/disk", "No such file or directory (os error 2)"));
	/* Nothing of it has been taken. */
	const char *config = expect_http(w, "GET", "/vm/config", NULL, 200);
	expect_contains(w, config, "\"drives\":[]");
	check(w, !strstr(config, "/no/"), "a refused path is configured: %s", config);
}

Test(input, kernel_or_initrd_larger_than_memory_is_refused)
{
	const char *dir = make_dir();
	const char *initrd = format("%s/initrd", dir);
	write_file(initrd, "x", 1);
	check(NULL, truncate(initrd, 200 << 20) == 0, "truncate");
	expect_config_refused(machine_json(&(struct machine){ .guest = "psci", .initrd = initrd }),
			      1, ARGS(initrd, "128 MiB"));
}

/* --- API bodies ----------------------------------------------------------------------------------------------------- */

Test(input, bad_machine_configurations_are_refused)
{
	struct wick *w = start_api();
	const char *before = expect_http(w, "GET", "/machine-config", NULL, 200);

	expect_400(w, "PUT", "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 0}",
		   ARGS("Machine config error: ", "The memory size (MiB) is either 0, or not a "
						  "multiple of the configured page size."));
	expect_400(w, "PUT", "/machine-config", "{\"vcpu_count\": 0, \"mem_size_mib\": 128}",
		   ARGS("The vCPU number is invalid!"));
	/* KVM allows 512 with a GICv3, fewer with others. */
	expect_400(w, "PUT", "/machine-config", "{\"vcpu_count\": 600, \"mem_size_mib\": 128}",
		   ARGS("Machine config error: The vCPU number is invalid!", "600"));
	expect_400(w, "PUT", "/machine-config",
		   "{\"vcpu_count\": 1, \"mem_size_mib\": 128, \"smt\": true}",
		   ARGS("Enabling simultaneous multithreading is not supported on aarch64."));
	expect_400(w, "PUT", "/machine-config", "{\"mem_size_mib\": 128}",
		   ARGS("missing field `vcpu_count`"));
	expect_400(w, "PUT", "/machine-config", "{\"vcpu_count\": \"two\", \"mem_size_mib\": 128}",
		   ARGS("invalid type: string"));
	expect_400(w, "PUT", "/machine-config",
		   "{\"vcpu_count\": 1, \"mem_size_mib\": 128, \"sockets\": 2}",
		   ARGS("unknown field `sockets`"));
	expect_400(w, "PUT", "/machine-config",
		   "{\"vcpu_count\": 1, \"vcpu_count\": 2, \"mem_size_mib\": 128}",
		   ARGS("duplicate field `vcpu_count`"));
	expect_400(w, "PATCH", "/machine-config", "{}", ARGS("Empty PATCH request."));

	const char *after = expect_http(w, "GET", "/machine-config", NULL, 200);
	check(w, strcmp(before, after) == 0, "a refused configuration was taken: %s", after);
}

Test(input, more_vcpus_than_the_host_has_are_refused)
{
	expect_config_refused(
		"{\"boot-source\": {\"kernel_image_path\": \"/dev/null\"}, \"drives\": [], "
		"\"machine-config\": {\"vcpu_count\": 600, \"mem_size_mib\": 128}}",
		152, ARGS("vm.json", "vcpu_count", "600"));
}

Test(input, unknown_paths_and_wrong_methods_are_refused)
{
	struct wick *w = start_api();
	expect_400(w, "GET", "/nothing", NULL,
		   ARGS("Invalid request method and/or path: GET nothing."));
	expect_400(w, "PUT", "/vm/config", "{}",
		   ARGS("Invalid request method and/or path: PUT vm."));
	expect_400(w, "GET", "/machine-config", "{}", ARGS("GET request cannot have a body."));
	expect_400(w, "PUT", "/machine-config", "", ARGS("Empty PUT request."));
	expect_400(w, "PUT", "/machine-config", "not json",
		   ARGS("An error occurred when deserializing the json body of a request: "));
	expect_400(w, "PUT", "/machine-config", "{\"vcpu_count\": 1, ", ARGS("EOF while parsing"));
	expect_400(
		w, "PUT", "/drives/a",
		"{\"drive_id\": \"b\", \"is_root_device\": false, \"path_on_host\": \"/dev/null\"}",
		ARGS("The id from the path does not match the id from the body!"));
	expect_400(w, "PUT", "/actions", "{\"action_type\": \"SelfDestruct\"}",
		   ARGS("unknown variant `SelfDestruct`"));
	expect_400(w, "PATCH", "/vm", "{\"state\": \"Paused\"}",
		   ARGS("The requested operation is not supported before starting the microVM."));
}

Test(input, body_of_the_limit_is_read_and_one_byte_more_is_refused)
{
	enum { LIMIT = 51200 };
	struct wick *w = start_api();
	char *body = malloc(LIMIT + 2);

	cr_assert(body);
	memset(body, ' ', LIMIT + 1);
	memcpy(body, "{\"vcpu_count\": 3, \"mem_size_mib\": 256}", 38);
	body[LIMIT] = '\0';
	expect_http(w, "PUT", "/machine-config", body, 204);
	expect_contains(w, expect_http(w, "GET", "/machine-config", NULL, 200), "\"vcpu_count\":3");

	/* The head alone is enough to know. */
	int fd = api_connect(w);
	send_text(w, fd,
		  format("PUT /machine-config HTTP/1.1\r\nContent-Length: %d\r\n\r\n", LIMIT + 1));
	struct response r = read_response(w, fd);
	check(w, r.status == 400, "status %d", r.status);
	expect_contains(w, r.body.bytes,
			"Request payload with size 51201 is larger than the limit of 51200 allowed "
			"by server.");
	expect_contains(w, r.body.bytes, "{ \"error\": \"");
	close(fd);
	free(body);
}

Test(input, cut_off_body_changes_nothing)
{
	struct wick *w = start_api();
	int fd = api_connect(w);
	send_text(w, fd,
		  "PUT /machine-config HTTP/1.1\r\nContent-Length: 100\r\n\r\n{\"vcpu_count\": 5, "
		  "\"mem_size_mib\": 512}");
	close(fd);
	fd = api_connect(w);
	send_text(w, fd, "PUT /machine-config HT");
	close(fd);
	expect_contains(w, expect_http(w, "GET", "/machine-config", NULL, 200), "\"vcpu_count\":1");
}

Test(input, garbage_instead_of_http_is_answered_and_harms_nobody)
{
	static const char *const garbage[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"BREW / HTTP/1.1\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"get / HTTP/1.1\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
	};
	struct wick *w = start_api();
	for (unsigned int i = 0; i < ARRAY_SIZE(garbage); i++) {
		int fd = api_connect(w);
		char buffer[1024] = "";
		send_text(w, fd, garbage[i]);
		send_text(w, fd, "GET");
		ssize_t n = read(fd, buffer, sizeof(buffer) - 1);
		check(w, n > 0 && strncmp(buffer, "HTTP/1.1 400 ", 13) == 0,
		      "\"%s\" is answered with \"%s\"", garbage[i], buffer);
		close(fd);
	}
	/* A line longer than any that is allowed. */
	int fd = api_connect(w);
	char *line = malloc(5000);
	cr_assert(line);
	memset(line, 'a', 4999);
	line[4999] = '\0';
	send_text(w, fd, "GET /");
	send_text(w, fd, line);
	struct response r = read_response(w, fd);
	check(w, r.status == 400, "a line of 5000 bytes gives %d", r.status);
	close(fd);
	free(line);
	expect_contains(w, expect_http(w, "GET", "/", NULL, 200), "\"state\":\"Not started\"");
}

/* --- config files ---------------------------------------------------------------------------------------------------- */

Test(input, config_file_errors_name_file_field_and_value)
{
	static const char head[] = "Configuration for VMM from one single json failed: ";
#define BOOT "\"boot-source\": {\"kernel_image_path\": \"/dev/null\"}"

	expect_config_refused(
		"{" BOOT
		", \"drives\": [], \"machine-config\": {\"vcpu_count\": 1, \"mem_size_mib\": 0}}",
		152, ARGS(head, "vm.json", "machine-config", "mem_size_mib", "0"));
	expect_config_refused("{" BOOT ", \"drives\": [], \"machine-config\": {\"vcpu_count\": -1, "
			      "\"mem_size_mib\": 128}}",
			      152, ARGS(head, "vm.json", "machine-config", "vcpu_count", "-1"));
	expect_config_refused("{" BOOT ", \"drives\": [], \"machine-config\": {\"vcpu_count\": 1, "
			      "\"mem_size_mib\": 128, \"cores\": 9}}",
			      152, ARGS(head, "vm.json", "machine-config", "cores"));
	expect_config_refused(
		"{" BOOT ", \"drives\": [{\"drive_id\": \"a\", \"is_root_device\": \"perhaps\"}]}",
		152, ARGS(head, "vm.json", "drives", "is_root_device", "perhaps"));
	expect_config_refused("{" BOOT ", \"drives\": [{\"drive_id\": \"a\", \"is_root_device\": "
			      "false, \"path_on_host\": \"/no/disk\"}]}",
			      152, ARGS(head, "vm.json", "drives", "/no/disk", "No such file"));
	expect_config_refused(
		"{\"boot-source\": {\"kernel_image_path\": \"/no/kernel\"}, \"drives\": []}", 152,
		ARGS(head, "vm.json", "boot-source", "/no/kernel", "No such file"));
	expect_config_refused("{\"drives\": []}", 152, ARGS(head, "vm.json", "boot-source"));
	expect_config_refused("{" BOOT "}", 152, ARGS(head, "vm.json", "drives"));
	expect_config_refused("{" BOOT ", \"drives\": [], ", 152,
			      ARGS(head, "vm.json", "line 1 column"));
	expect_config_refused("", 152, ARGS(head, "vm.json"));
	expect_config_refused("[]", 152, ARGS(head, "vm.json"));
	expect_end(ARGS("--no-api", "--config-file", "no.json"), 152,
		   ARGS(head, "no.json", "No such file or directory (os error 2)"));
	expect_end(ARGS("--no-api", "--config-file", "/"), 152, ARGS(head, "/", "directory"));
}

Test(input, boot_arguments_that_do_not_fit_are_refused)
{
	struct wick *w = start_api();
	char args[2049];
	memset(args, 'a', 2048);
	args[2048] = '\0';
	expect_400(w, "PUT", "/boot-source",
		   format("{\"kernel_image_path\": \"%s\", \"boot_args\": \"%s\"}",
			  built("guest/psci.img"), args),
		   ARGS("The kernel command line is invalid", "2048"));
	expect_400(w, "PUT", "/boot-source",
		   format("{\"kernel_image_path\": \"%s\", \"boot_args\": \"a\\nb\"}",
			  built("guest/psci.img")),
		   ARGS("The kernel command line is invalid", "0x0a"));
}
