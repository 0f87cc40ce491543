/* The API's routes: one table, and the few rules that hold for all of them. No state; API thread. */
#include "api/routes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_log.h"
#include "api/config_file.h"
#include "api/schema.h"
#include "vmm/base/bits.h"

struct segment {
	const char *at; /* NULL: the path ended before it */
	size_t len;
};

struct route;

/* One request on its way through its row. */
struct call {
	const struct http_request *http;
	const struct route *route;
	struct segment first, second;
	struct json_doc doc; /* .root NULL: the row has no schema */
	api_submit_fn submit;
	void *arg;
	struct vm_request *vm;
	struct api_answer *answer;
};

struct route {
	enum api_method method;
	const char *first;
	const char *second; /* NULL: any or none; "": none */
	int (*serve)(struct call *c, struct err *e);
	const struct json_schema *schema; /* of the body */
	enum vm_action action;
};

/* --- helpers of the handlers ------------------------------------------------------------------ */

static bool segment_is(const struct segment *s, const char *text)
{
	size_t len = s->at ? s->len : 0;
	return len == strlen(text) && (!len || !memcmp(s->at, text, len));
}

/* Has the VMM thread do what c->vm says. */
static int execute(struct call *c, enum vm_action action, struct err *e)
{
	c->vm->action = action;
	c->submit(c->arg, c->vm);
	return c->vm->rc < 0 ? err_set(e, c->vm->rc, "%s", c->vm->err.text) : 0;
}

static int bind_body(struct call *c, void *out, struct err *e)
{
	struct err why;
	int rc = json_doc_parse(c->http->body, c->http->body_len, &c->doc, &why);
	if (rc == 0)
		rc = json_bind(&c->doc, NULL, c->route->schema, out, &why);
	if (rc < 0)
		return err_set(
			e, rc,
			"An error occurred when deserializing the json body of a request: %.900s.",
			why.text);
	return 0;
}

/* Takes `body` over. */
static int answer_json(struct call *c, char *body, size_t len, struct err *e)
{
	if (!body)
		return err_set(e, -ENOMEM, "No memory for the answer.");
	*c->answer = (struct api_answer){ .status = 200, .body = body, .body_len = len };
	return 0;
}

static int check_id(const struct segment *id, struct err *e)
{
	if (!id->len)
		return err_set(e, -EINVAL, "The ID cannot be empty.");
	for (size_t i = 0; i < id->len; i++) {
		if (id->at[i] != '_' && !isalnum((unsigned char)id->at[i]))
			return err_set(e, -EINVAL,
				       "API Resource IDs can only contain alphanumeric characters "
				       "and underscores.");
	}
	return 0;
}

/* --- handlers: 0, or -errno with the whole message -------------------------------------------- */

/* Rows that need nothing more: the body is the action's input. */
static int serve_plain(struct call *c, struct err *e)
{
	int rc = bind_body(c, &c->vm->in, e);
	return rc < 0 ? rc : execute(c, c->route->action, e);
}

static int get_info(struct call *c, struct err *e)
{
	static const char *const states[] = {
		[VM_NOT_STARTED] = "Not started",
		[VM_RUNNING] = "Running",
		[VM_PAUSED] = "Paused",
		[VM_FAILED] = "Paused", /* clients know three states; its vCPUs stand still */
	};
	int rc = execute(c, VM_GET_INFO, e);
	if (rc < 0)
		return rc;
	size_t len;
	const struct vm_info *info = &c->vm->out.info;
	json_t *body =
		json_pack("{s:s, s:s, s:s, s:s}", "id", info->id, "state", states[info->state],
			  "vmm_version", WICK_API_VERSION, "app_name", "Firecracker");
	char *text = json_text_of(body, &len);
	return answer_json(c, text, len, e);
}

static int get_version(struct call *c, struct err *e)
{
	size_t len;
	char *text =
		json_text_of(json_pack("{s:s}", "firecracker_version", WICK_API_VERSION), &len);
	return answer_json(c, text, len, e);
}

static int get_config(struct call *c, struct err *e)
{
	int rc = execute(c, VM_GET_CONFIG, e);
	if (rc < 0)
		return rc;
	size_t len;
	char *text = config_file_print(&c->vm->out.config, &len);
	vm_config_fini(&c->vm->out.config);
	return answer_json(c, text, len, e);
}

static int get_machine(struct call *c, struct err *e)
{
	int rc = execute(c, VM_GET_CONFIG, e);
	if (rc < 0)
		return rc;
	size_t len;
	char *text = config_file_print_machine(&c->vm->out.config.machine, &len);
	vm_config_fini(&c->vm->out.config);
	return answer_json(c, text, len, e);
}

static int set_machine(struct call *c, struct err *e)
{
	const struct machine_config_update *u = &c->vm->in.machine;
	int rc = bind_body(c, &c->vm->in.machine, e);
	if (rc < 0)
		return rc;
	bool is_deprecated = u->has_cpu_template;
	if (c->http->method == API_PATCH && !u->has_vcpu_count && !u->has_mem_size_mib &&
	    !u->has_smt && !u->has_cpu_template && !u->has_track_dirty_pages && !u->has_huge_pages)
		return err_set(e, -EINVAL, "Empty PATCH request.");
	rc = execute(c, c->route->action, e);
	if (is_deprecated) {
		api_log_deprecated(c->http->method, "/machine-config", "cpu_template");
		c->answer->deprecated = true;
	}
	return rc;
}

static int put_drive(struct call *c, struct err *e)
{
	const struct block_config *drive = &c->vm->in.drive;
	int rc = check_id(&c->second, e);
	if (rc == 0)
		rc = bind_body(c, &c->vm->in.drive, e);
	if (rc == 0 && !segment_is(&c->second, drive->drive_id))
		rc = err_set(e, -EINVAL,
			     "The id from the path does not match the id from the body!");
	if (rc == 0)
		rc = drive_check(drive, e);
	return rc < 0 ? rc : execute(c, VM_PUT_DRIVE, e);
}

static int put_action(struct call *c, struct err *e)
{
	struct action_body body = { 0 };
	int rc = bind_body(c, &body, e);
	if (rc < 0)
		return rc;
	if (body.action_type == ACTION_SEND_CTRL_ALT_DEL)
		return err_set(e, -EINVAL, "SendCtrlAltDel does not supported on aarch64.");
	return execute(c, body.action_type == ACTION_INSTANCE_START ? VM_START : VM_FLUSH_METRICS,
		       e);
}

static int patch_vm(struct call *c, struct err *e)
{
	struct vm_state_body body = { 0 };
	int rc = bind_body(c, &body, e);
	return rc < 0 ? rc : execute(c, body.state, e);
}

/* Firecracker has it and wick does not yet: said plainly, never a pretended success. */
static int refuse_later(struct call *c, struct err *e)
{
	return err_set(e, -EOPNOTSUPP,
		       "The requested operation is not supported: this version of wick (%s) does "
		       "not have %s %.*s yet.",
		       WICK_VERSION, api_method_text(c->http->method), 256, c->http->path);
}

static int refuse_subpath(struct call *c, struct err *e)
{
	return err_set(e, -EINVAL, "Unrecognized %s request path `%.*s`.",
		       api_method_text(c->http->method), (int)c->second.len, c->second.at);
}

static int refuse_snapshot_path(struct call *c, struct err *e)
{
	if (!c->second.at)
		return err_set(e, -EINVAL, "Missing snapshot operation type.");
	return err_set(e, -EINVAL, "Invalid request method and/or path: PUT /snapshot/%.*s.",
		       (int)c->second.len, c->second.at);
}

/* --- the table; the first row that fits is taken ---------------------------------------------- */

static const struct route routes[] = {
	{ API_GET, "", NULL, get_info, NULL, VM_GET_INFO },
	{ API_GET, "version", NULL, get_version, NULL, VM_ACTION_COUNT },
	{ API_GET, "vm", "config", get_config, NULL, VM_GET_CONFIG },
	{ API_GET, "machine-config", NULL, get_machine, NULL, VM_GET_CONFIG },

	{ API_PUT, "actions", NULL, put_action, &action_schema, VM_ACTION_COUNT },
	{ API_PUT, "boot-source", NULL, serve_plain, &boot_source_schema, VM_PUT_BOOT_SOURCE },
	{ API_PUT, "drives", NULL, put_drive, &drive_schema, VM_PUT_DRIVE },
	{ API_PUT, "entropy", NULL, serve_plain, &entropy_schema, VM_PUT_ENTROPY },
	{ API_PUT, "logger", NULL, serve_plain, &logger_schema, VM_PUT_LOGGER },
	{ API_PUT, "machine-config", NULL, set_machine, &machine_put_schema, VM_PUT_MACHINE },
	{ API_PUT, "serial", NULL, serve_plain, &serial_schema, VM_PUT_SERIAL },

	{ API_PATCH, "machine-config", NULL, set_machine, &machine_patch_schema, VM_PATCH_MACHINE },
	{ API_PATCH, "vm", NULL, patch_vm, &vm_state_schema, VM_ACTION_COUNT },

	{ .method = API_GET, .first = "balloon", .second = "", .serve = refuse_later },
	{ .method = API_GET, .first = "balloon", .second = "statistics", .serve = refuse_later },
	{ .method = API_GET, .first = "balloon", .second = "hinting", .serve = refuse_later },
	{ .method = API_GET, .first = "balloon", .serve = refuse_subpath },
	{ .method = API_GET, .first = "mmds", .serve = refuse_later },
	{ .method = API_GET, .first = "hotplug", .second = "memory", .serve = refuse_later },

	{ .method = API_PUT, .first = "balloon", .serve = refuse_later },
	{ .method = API_PUT, .first = "cpu-config", .serve = refuse_later },
	{ .method = API_PUT, .first = "hotplug", .second = "memory", .serve = refuse_later },
	{ .method = API_PUT, .first = "metrics", .serve = refuse_later },
	{ .method = API_PUT, .first = "mmds", .second = "", .serve = refuse_later },
	{ .method = API_PUT, .first = "mmds", .second = "config", .serve = refuse_later },
	{ .method = API_PUT, .first = "mmds", .serve = refuse_subpath },
	{ .method = API_PUT, .first = "network-interfaces", .serve = refuse_later },
	{ .method = API_PUT, .first = "pmem", .serve = refuse_later },
	{ .method = API_PUT, .first = "snapshot", .second = "create", .serve = refuse_later },
	{ .method = API_PUT, .first = "snapshot", .second = "load", .serve = refuse_later },
	{ .method = API_PUT, .first = "snapshot", .serve = refuse_snapshot_path },
	{ .method = API_PUT, .first = "vsock", .serve = refuse_later },

	{ .method = API_PATCH, .first = "balloon", .serve = refuse_later },
	{ .method = API_PATCH, .first = "drives", .serve = refuse_later },
	{ .method = API_PATCH, .first = "hotplug", .second = "memory", .serve = refuse_later },
	{ .method = API_PATCH, .first = "mmds", .serve = refuse_later },
	{ .method = API_PATCH, .first = "network-interfaces", .serve = refuse_later },
	{ .method = API_PATCH, .first = "pmem", .serve = refuse_later },

	{ .method = API_DELETE, .first = "drives", .serve = refuse_later },
	{ .method = API_DELETE, .first = "network-interfaces", .serve = refuse_later },
	{ .method = API_DELETE, .first = "pmem", .serve = refuse_later },
};

/* --- one request ------------------------------------------------------------------------------ */

/* The next segment of a path whose leading slashes are gone; a trailing slash begins no segment. */
static struct segment next_segment(const char **path)
{
	struct segment s = { NULL, 0 };
	if (!**path)
		return s;
	s.at = *path;
	s.len = strcspn(s.at, "/");
	*path = s.at + s.len + (s.at[s.len] == '/');
	return s;
}

static const struct route *find_route(const struct call *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const struct route *r = &routes[i];
		if (r->method == c->http->method && segment_is(&c->first, r->first) &&
		    (!r->second || segment_is(&c->second, r->second)))
			return r;
	}
	return NULL;
}

/* Which methods have bodies is asked before which paths exist. */
static int check_body(const struct call *c, struct err *e)
{
	const struct http_request *h = c->http;
	switch (h->method) {
	case API_GET:
		return h->body ? err_set(e, -EINVAL, "GET request cannot have a body.") : 0;
	case API_PUT:
		return h->body ? 0 : err_set(e, -EINVAL, "Empty PUT request.");
	case API_PATCH: /* hinting/start and /stop are the calls without a body */
		if (h->body ||
		    (segment_is(&c->first, "balloon") && segment_is(&c->second, "hinting")))
			return 0;
		return err_set(e, -EINVAL, "Empty PATCH request.");
	default:
		return h->body ? err_set(e, -EINVAL, "Empty Delete request.") : 0;
	}
}

static int serve(struct call *c, struct err *e)
{
	const char *path = c->http->path + strspn(c->http->path, "/");
	c->first = next_segment(&path);
	c->second = next_segment(&path);
	int rc = check_body(c, e);
	if (rc < 0)
		return rc;
	c->route = find_route(c);
	if (!c->route)
		return err_set(e, -ENOENT, "Invalid request method and/or path: %s %.*s.",
			       api_method_text(c->http->method), (int)c->first.len,
			       c->first.at ? c->first.at : "");
	memset(&c->vm->in, 0, sizeof(c->vm->in));
	rc = c->route->serve(c, e);
	json_doc_free(&c->doc);
	return rc;
}

/* Bytes that are no text (a message can be cut inside a character) are shown as question marks. */
static json_t *fault_text(const char *message)
{
	char plain[sizeof(((struct err *)0)->text)];
	json_t *text = json_string(message);
	if (text)
		return text;
	(void)snprintf(plain, sizeof(plain), "%s", message);
	for (char *p = plain; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(plain);
}

static void answer_fault(const struct err *e, struct api_answer *ret)
{
	ret->status = 400;
	ret->body = json_text_of(json_pack("{s:o}", "fault_message", fault_text(e->text)),
				 &ret->body_len);
}

void routes_serve(const struct http_request *http, api_submit_fn submit, void *arg,
		  struct vm_request *vm, struct api_answer *ret)
{
	struct err e;
	struct call c = { .http = http, .submit = submit, .arg = arg, .vm = vm, .answer = ret };
	*ret = (struct api_answer){ .status = 204 };
	api_log_request(http);
	if (serve(&c, &e) < 0) {
		answer_fault(&e, ret);
		api_log_fault(&e);
	} else {
		api_log_success(ret->status);
	}
}
