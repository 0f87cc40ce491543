/* api/routes.c: what each request is answered with, and what reaches the VMM. */
#include "api/routes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fakes/fake_api.h"
#include "vmm/base/bits.h"

#define NOTHING (-1) /* the VMM was not asked */

static struct fake_api fake;
static struct vm_request room;

static void setup(void)
{
	fake_api_init(&fake);
}

static void teardown(void)
{
	fake_api_fini(&fake);
}

TestSuite(routes, .init = setup, .fini = teardown);

static struct api_answer call(enum api_method method, const char *path, const char *body)
{
	struct api_answer answer;
	struct http_request *http = calloc(1, sizeof(*http));
	http->method = method;
	strcpy(http->path, path);
	http->body = (char *)body;
	http->body_len = body ? strlen(body) : 0;
	fake.nactions = 0;
	routes_serve(http, fake_api_submit, &fake, &room, &answer);
	free(http);
	return answer;
}

struct row {
	const char *claim;
	enum api_method method;
	const char *path, *body;
	unsigned int status;
	int action;       /* enum vm_action, or NOTHING */
	const char *want; /* the body; NULL: none. Of a 400: the fault's text */
};

#define SERDE "An error occurred when deserializing the json body of a request: "
#define LATER(what)                                                                     \
	"The requested operation is not supported: this version of wick (" WICK_VERSION \
	") does not have " what " yet."
#define MACHINE                                                                       \
	"{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,\"track_dirty_pages\":" \
	"false,\"huge_pages\":\"None\"}"

static const struct row rows[] = {
	{ "info", API_GET, "/", NULL, 200, VM_GET_INFO,
	  "{\"id\":\"anonymous-instance\",\"state\":\"Not "
	  "started\",\"vmm_version\":\"" WICK_API_VERSION "\",\"app_name\":\"Firecracker\"}" },
	{ "no path at all is the root", API_GET, "", NULL, 200, VM_GET_INFO,
	  "{\"id\":\"anonymous-instance\",\"state\":\"Not "
	  "started\",\"vmm_version\":\"" WICK_API_VERSION "\",\"app_name\":\"Firecracker\"}" },
	{ "version", API_GET, "/version", NULL, 200, NOTHING,
	  "{\"firecracker_version\":\"" WICK_API_VERSION "\"}" },
	{ "machine-config", API_GET, "/machine-config", NULL, 200, VM_GET_CONFIG, MACHINE },
	{ "more segments are ignored", API_GET, "/machine-config/x/y", NULL, 200, VM_GET_CONFIG,
	  MACHINE },
	{ "leading and trailing slashes are ignored", API_GET, "///machine-config/", NULL, 200,
	  VM_GET_CONFIG, MACHINE },
	{ "vm/config, nothing set", API_GET, "/vm/config", NULL, 200, VM_GET_CONFIG,
	  "{\"balloon\":null,\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"\","
	  "\"initrd_path\":null,\"boot_args\":null},\"cpu-config\":null,\"logger\":null,"
	  "\"machine-config\":" MACHINE ",\"metrics\":null,\"mmds-config\":null,"
	  "\"network-interfaces\":[],\"vsock\":null,\"entropy\":null,\"pmem\":[],"
	  "\"memory-hotplug\":null}" },

	{ "start", API_PUT, "/actions", "{\"action_type\": \"InstanceStart\"}", 204, VM_START,
	  NULL },
	{ "flush", API_PUT, "/actions", "{\"action_type\": \"FlushMetrics\"}", 204,
	  VM_FLUSH_METRICS, NULL },
	{ "Ctrl-Alt-Del", API_PUT, "/actions", "{\"action_type\": \"SendCtrlAltDel\"}", 400,
	  NOTHING, "SendCtrlAltDel does not supported on aarch64." },
	{ "an unknown action", API_PUT, "/actions", "{\"action_type\": \"Foo\"}", 400, NOTHING,
	  SERDE "unknown variant `Foo`, expected one of `FlushMetrics`, `InstanceStart`, "
		"`SendCtrlAltDel` at line 1 column 21." },
	{ "pause", API_PATCH, "/vm", "{\"state\": \"Paused\"}", 204, VM_PAUSE, NULL },
	{ "resume", API_PATCH, "/vm", "{\"state\": \"Resumed\"}", 204, VM_RESUME, NULL },
	{ "another state", API_PATCH, "/vm", "{\"state\": \"Running\"}", 400, NOTHING,
	  SERDE "unknown variant `Running`, expected `Paused` or `Resumed` at line 1 column "
		"19." },

	{ "boot-source", API_PUT, "/boot-source", "{\"kernel_image_path\": \"/k\"}", 204,
	  VM_PUT_BOOT_SOURCE, NULL },
	{ "boot-source without kernel", API_PUT, "/boot-source", "{\"boot_args\": null}", 400,
	  NOTHING, SERDE "missing field `kernel_image_path` at line 1 column 19." },
	{ "entropy", API_PUT, "/entropy", "{}", 204, VM_PUT_ENTROPY, NULL },
	{ "entropy without limits", API_PUT, "/entropy",
	  "{\"rate_limiter\": {\"bandwidth\": null, \"ops\": null}}", 204, VM_PUT_ENTROPY, NULL },
	{ "entropy with a limit", API_PUT, "/entropy",
	  "{\"rate_limiter\": {\"ops\": {\"size\": 1, \"refill_time\": 2}}}", 400, NOTHING,
	  SERDE "field `rate_limiter` is not supported by this version of wick yet: "
		"{\"ops\":{\"size\":1,\"refill_time\":2}} at line 1 column 55." },
	{ "serial", API_PUT, "/serial", "{\"serial_out_path\": \"/s\"}", 204, VM_PUT_SERIAL, NULL },
	{ "logger", API_PUT, "/logger", "{\"level\": \"wARNING\", \"show_level\": null}", 204,
	  VM_PUT_LOGGER, NULL },
	{ "an unknown level", API_PUT, "/logger", "{\"level\": \"loud\"}", 400, NOTHING,
	  SERDE "Invalid LevelFilter at line 1 column 16." },

	{ "a machine", API_PUT, "/machine-config", "{\"vcpu_count\": 2, \"mem_size_mib\": 512}",
	  204, VM_PUT_MACHINE, NULL },
	{ "a machine without vCPUs", API_PUT, "/machine-config", "{\"mem_size_mib\": 128}", 400,
	  NOTHING, SERDE "missing field `vcpu_count` at line 1 column 21." },
	{ "a machine without memory", API_PUT, "/machine-config", "{\"vcpu_count\": 1}", 400,
	  NOTHING, SERDE "missing field `mem_size_mib` at line 1 column 17." },
	{ "too many vCPUs for the type", API_PUT, "/machine-config",
	  "{\"vcpu_count\": 4294967296, \"mem_size_mib\": 1}", 400, NOTHING,
	  SERDE "invalid value: integer `4294967296`, expected u8 at line 1 column 25." },
	{ "a field nobody knows", API_PATCH, "/machine-config", "{\"foo\": 1}", 400, NOTHING,
	  SERDE "unknown field `foo`, expected one of `vcpu_count`, `mem_size_mib`, `smt`, "
		"`cpu_template`, `track_dirty_pages`, `huge_pages` at line 1 column 6." },
	{ "gdb may be null", API_PUT, "/machine-config",
	  "{\"vcpu_count\":1,\"mem_size_mib\":1,\"gdb_socket_path\":null}", 204, VM_PUT_MACHINE,
	  NULL },
	{ "gdb", API_PUT, "/machine-config",
	  "{\"vcpu_count\":1,\"mem_size_mib\":1,\"gdb_socket_path\":\"/g\"}", 400, NOTHING,
	  SERDE "field `gdb_socket_path` is not supported by this version of wick yet: \"/g\" at "
		"line 1 column 55." },
	{ "V1N1", API_PATCH, "/machine-config", "{\"cpu_template\": \"V1N1\"}", 400, NOTHING,
	  SERDE "field `cpu_template` is not supported by this version of wick yet: \"V1N1\" at "
		"line 1 column 23." },
	{ "huge pages", API_PATCH, "/machine-config", "{\"huge_pages\": \"2M\"}", 204,
	  VM_PATCH_MACHINE, NULL },
	{ "an unknown page size", API_PATCH, "/machine-config", "{\"huge_pages\": \"7M\"}", 400,
	  NOTHING,
	  SERDE "unknown variant `7M`, expected one of `None`, `Transparent`, `2M` at line 1 "
		"column 19." },
	{ "a patch of nothing", API_PATCH, "/machine-config", "{}", 400, NOTHING,
	  "Empty PATCH request." },
	{ "a patch of nulls", API_PATCH, "/machine-config", "{\"smt\": null}", 400, NOTHING,
	  "Empty PATCH request." },

	{ "a drive", API_PUT, "/drives/a_1",
	  "{\"drive_id\":\"a_1\",\"is_root_device\":true,\"path_on_host\":\"/d\"}", 204,
	  VM_PUT_DRIVE, NULL },
	{ "a drive with everything that may be said", API_PUT, "/drives/a",
	  "{\"drive_id\":\"a\",\"is_root_device\":false,\"path_on_host\":\"/d\",\"partuuid\":\"u\","
	  "\"cache_type\":\"Writeback\",\"is_read_only\":true,\"rate_limiter\":null,"
	  "\"io_engine\":\"Sync\",\"socket\":null}",
	  204, VM_PUT_DRIVE, NULL },
	{ "another drive in the body", API_PUT, "/drives/a",
	  "{\"drive_id\":\"b\",\"is_root_device\":true,\"path_on_host\":\"/d\"}", 400, NOTHING,
	  "The id from the path does not match the id from the body!" },
	{ "a drive without id in the path", API_PUT, "/drives", "{}", 400, NOTHING,
	  "The ID cannot be empty." },
	{ "the same, with a slash", API_PUT, "/drives/", "{}", 400, NOTHING,
	  "The ID cannot be empty." },
	{ "the same, with two", API_PUT, "/drives//a", "{}", 400, NOTHING,
	  "The ID cannot be empty." },
	{ "a drive's id with a hyphen", API_PUT, "/drives/a-b", "{}", 400, NOTHING,
	  "API Resource IDs can only contain alphanumeric characters and underscores." },
	{ "a drive without a path", API_PUT, "/drives/a",
	  "{\"drive_id\":\"a\",\"is_root_device\":true}", 400, NOTHING,
	  "Drive config error: Unable to create the virtio block device: Invalid block config. "
	  "(drive_id is a, path_on_host is missing)" },
	{ "io_uring", API_PUT, "/drives/a",
	  "{\"drive_id\":\"a\",\"is_root_device\":true,\"io_engine\":\"Async\"}", 400, NOTHING,
	  SERDE "field `io_engine` is not supported by this version of wick yet: \"Async\" at "
		"line 1 column 57." },
	{ "a vhost-user drive", API_PUT, "/drives/a", "{\"socket\":\"/s\"}", 400, NOTHING,
	  SERDE "field `socket` is not supported by this version of wick yet: \"/s\" at line 1 "
		"column 14." },
	{ "a drive's unknown field", API_PUT, "/drives/a", "{\"x\":1}", 400, NOTHING,
	  SERDE "unknown field `x`, expected one of `drive_id`, `partuuid`, `is_root_device`, "
		"`cache_type`, `is_read_only`, `path_on_host`, `rate_limiter`, `io_engine`, "
		"`socket` at line 1 column 4." },

	{ "an unknown path", API_PUT, "/foo/bar", "{}", 400, NOTHING,
	  "Invalid request method and/or path: PUT foo." },
	{ "an unknown path to get", API_GET, "/foo", NULL, 400, NOTHING,
	  "Invalid request method and/or path: GET foo." },
	{ "vm without config", API_GET, "/vm", NULL, 400, NOTHING,
	  "Invalid request method and/or path: GET vm." },
	{ "a method the path does not have", API_PATCH, "/actions", "{}", 400, NOTHING,
	  "Invalid request method and/or path: PATCH actions." },
	{ "DELETE of what cannot be deleted", API_DELETE, "/vm", NULL, 400, NOTHING,
	  "Invalid request method and/or path: DELETE vm." },
	{ "PUT to the root", API_PUT, "/", "{}", 400, NOTHING,
	  "Invalid request method and/or path: PUT ." },
	{ "GET with a body", API_GET, "/foo", "{}", 400, NOTHING,
	  "GET request cannot have a body." },
	{ "PUT without", API_PUT, "/foo", NULL, 400, NOTHING, "Empty PUT request." },
	{ "PATCH without", API_PATCH, "/vm", NULL, 400, NOTHING, "Empty PATCH request." },
	{ "DELETE with", API_DELETE, "/drives/a", "{}", 400, NOTHING, "Empty Delete request." },
	{ "no JSON", API_PUT, "/actions", " ", 400, NOTHING,
	  SERDE "EOF while parsing a value at line 1 column 1." },

	{ "a NIC", API_PUT, "/network-interfaces/eth0", "{}", 400, NOTHING,
	  LATER("PUT /network-interfaces/eth0") },
	{ "a vsock", API_PUT, "/vsock", "{}", 400, NOTHING, LATER("PUT /vsock") },
	{ "a balloon", API_PUT, "/balloon", "{}", 400, NOTHING, LATER("PUT /balloon") },
	{ "its statistics", API_GET, "/balloon/statistics", NULL, 400, NOTHING,
	  LATER("GET /balloon/statistics") },
	{ "its hinting, which has no body", API_PATCH, "/balloon/hinting/stop", NULL, 400, NOTHING,
	  LATER("PATCH /balloon/hinting/stop") },
	{ "its other things", API_GET, "/balloon/x", NULL, 400, NOTHING,
	  "Unrecognized GET request path `x`." },
	{ "metrics", API_PUT, "/metrics", "{}", 400, NOTHING, LATER("PUT /metrics") },
	{ "MMDS", API_GET, "/mmds", NULL, 400, NOTHING, LATER("GET /mmds") },
	{ "MMDS' other things", API_PUT, "/mmds/x", "{}", 400, NOTHING,
	  "Unrecognized PUT request path `x`." },
	{ "a snapshot", API_PUT, "/snapshot/create", "{}", 400, NOTHING,
	  LATER("PUT /snapshot/create") },
	{ "a snapshot's other things", API_PUT, "/snapshot/x", "{}", 400, NOTHING,
	  "Invalid request method and/or path: PUT /snapshot/x." },
	{ "no snapshot operation", API_PUT, "/snapshot", "{}", 400, NOTHING,
	  "Missing snapshot operation type." },
	{ "memory hotplug", API_PATCH, "/hotplug/memory", "{}", 400, NOTHING,
	  LATER("PATCH /hotplug/memory") },
	{ "another hotplug", API_PUT, "/hotplug/cpu", "{}", 400, NOTHING,
	  "Invalid request method and/or path: PUT hotplug." },
	{ "pmem", API_PUT, "/pmem/p", "{}", 400, NOTHING, LATER("PUT /pmem/p") },
	{ "a CPU template", API_PUT, "/cpu-config", "{}", 400, NOTHING, LATER("PUT /cpu-config") },
	{ "patching a drive", API_PATCH, "/drives/a", "{}", 400, NOTHING,
	  LATER("PATCH /drives/a") },
	{ "unplugging a drive", API_DELETE, "/drives/a", NULL, 400, NOTHING,
	  LATER("DELETE /drives/a") },
};

static void expect_body(const struct row *r, const struct api_answer *a)
{
	if (r->status == 400) {
		json_error_t je;
		json_t *j = json_loadb(a->body, a->body_len, 0, &je);
		cr_assert_not_null(j, "%s: %s", r->claim, je.text);
		cr_expect_eq(json_object_size(j), 1, "%s", r->claim);
		const char *text = json_string_value(json_object_get(j, "fault_message"));
		cr_expect_str_eq(text, r->want, "%s: got %s", r->claim, text);
		json_decref(j);
	} else if (r->want) {
		cr_expect_str_eq(a->body, r->want, "%s: got %s", r->claim, a->body);
	} else {
		cr_expect_null(a->body, "%s", r->claim);
	}
}

Test(routes, each_request_has_its_answer)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		fake_api_fini(&fake);
		fake_api_init(&fake);
		struct api_answer a = call(r->method, r->path, r->body);
		int action = fake.nactions ? (int)fake.actions[0] : NOTHING;
		cr_expect_eq(a.status, r->status, "%s: %u %s", r->claim, a.status,
			     a.body ? a.body : "");
		cr_expect_eq(action, r->action, "%s", r->claim);
		expect_body(r, &a);
		free(a.body);
	}
}

Test(routes, a_refusal_of_the_vmm_is_the_fault)
{
	fake.refusal = "Entropy config error: \"no\"\n";
	struct api_answer a = call(API_PUT, "/entropy", "{}");
	cr_expect_eq(a.status, 400);
	cr_expect_str_eq(a.body, "{\"fault_message\":\"Entropy config error: \\\"no\\\"\\n\"}");
	free(a.body);
}

Test(routes, a_fault_is_json_even_if_its_text_is_not_utf8)
{
	fake.refusal = "cut: \xc3";
	struct api_answer a = call(API_PUT, "/entropy", "{}");
	cr_expect_str_eq(a.body, "{\"fault_message\":\"cut: ?\"}");
	free(a.body);
}

Test(routes, a_cpu_template_is_deprecated)
{
	struct api_answer a = call(API_PATCH, "/machine-config", "{\"cpu_template\":\"None\"}");
	cr_expect_eq(a.status, 204);
	cr_expect(a.deprecated);
	a = call(API_PATCH, "/machine-config", "{\"smt\":false}");
	cr_expect_not(a.deprecated);
}

Test(routes, states_are_the_three_that_clients_know)
{
	static const struct {
		enum vm_state state;
		const char *want;
	} states[] = {
		{ VM_NOT_STARTED, "\"Not started\"" },
		{ VM_RUNNING, "\"Running\"" },
		{ VM_PAUSED, "\"Paused\"" },
		{ VM_FAILED, "\"Paused\"" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		fake.info.state = states[i].state;
		struct api_answer a = call(API_GET, "/", NULL);
		cr_expect_not_null(strstr(a.body, states[i].want), "%s", a.body);
		free(a.body);
	}
}

Test(routes, what_was_put_is_what_the_config_says)
{
	struct api_answer a = call(
		API_PUT, "/drives/a",
		"{\"drive_id\":\"a\",\"is_root_device\":true,\"path_on_host\":\"/d\",\"partuuid\":"
		"\"u\"}");
	cr_assert_eq(a.status, 204);
	a = call(API_PUT, "/boot-source",
		 "{\"kernel_image_path\":\"/k\",\"boot_args\":\"a \\\"b\\\"\"}");
	cr_assert_eq(a.status, 204);
	a = call(API_PUT, "/entropy", "{}");
	cr_assert_eq(a.status, 204);
	a = call(API_GET, "/vm/config", NULL);
	cr_expect_str_eq(
		a.body,
		"{\"balloon\":null,\"drives\":[{\"drive_id\":\"a\",\"partuuid\":\"u\","
		"\"is_root_device\":true,\"cache_type\":\"Unsafe\",\"is_read_only\":false,"
		"\"path_on_host\":\"/d\",\"rate_limiter\":null,\"io_engine\":\"Sync\",\"socket\":"
		"null}],\"boot-source\":{\"kernel_image_path\":\"/k\",\"initrd_path\":null,"
		"\"boot_args\":\"a \\\"b\\\"\"},\"cpu-config\":null,\"logger\":null,"
		"\"machine-config\":" MACHINE ",\"metrics\":null,\"mmds-config\":null,"
		"\"network-interfaces\":[],\"vsock\":null,\"entropy\":{\"rate_limiter\":null},"
		"\"pmem\":[],\"memory-hotplug\":null}",
		"got %s", a.body);
	free(a.body);
}
