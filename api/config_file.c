/* The configuration file and its printed form. No state; the main thread reads, the API thread prints. */
#include "api/config_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/schema.h"
#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"

#define CONFIG_FILE_MAX (1 * MIB)

static const char failure[] = "Configuration for VMM from one single json failed: ";

/* In the order in which Firecracker applies them. */
static const struct section {
	const char *key;
	const struct json_schema *schema; /* NULL: its feature is still to come */
	enum vm_action action;
	bool is_required, is_list;
} sections[] = {
	{ "logger", &logger_schema, VM_PUT_LOGGER, false, false },
	{ .key = "metrics" },
	{ "machine-config", &machine_put_schema, VM_PUT_MACHINE, false, false },
	{ .key = "cpu-config" },
	{ "boot-source", &boot_source_schema, VM_PUT_BOOT_SOURCE, true, false },
	{ "drives", &drive_schema, VM_PUT_DRIVE, true, true },
	{ .key = "network-interfaces" },
	{ .key = "vsock" },
	{ .key = "balloon" },
	{ .key = "mmds-config" },
	{ "entropy", &entropy_schema, VM_PUT_ENTROPY, false, false },
	{ .key = "pmem" },
	{ .key = "memory-hotplug" },
};

struct reading {
	struct json_doc doc;
	api_submit_fn submit; /* NULL: the round that only checks */
	void *arg;
	struct vm_request *request;
};

static int read_body(struct reading *r, const struct section *s, const struct json_at *at,
		     struct err *e)
{
	char path[160] = "";
	memset(&r->request->in, 0, sizeof(r->request->in));
	int rc = json_bind(&r->doc, at, s->schema, &r->request->in, e);
	if (rc < 0)
		return rc;
	json_put_path(at, path, sizeof(path));
	if (s->action == VM_PUT_DRIVE && (rc = drive_check(&r->request->in.drive, e)) < 0)
		return err_prefix(e, rc, "%s: ", path);
	if (!r->submit)
		return 0;
	r->request->action = s->action;
	r->submit(r->arg, r->request);
	if (r->request->rc < 0)
		return err_set(e, r->request->rc, "%s: %.800s", path, r->request->err.text);
	return 0;
}

static int read_list(struct reading *r, const struct section *s, const struct json_at *list,
		     struct err *e)
{
	if (!json_is_array(list->value))
		return json_bad_type(&r->doc, list, "a sequence", e);
	struct json_at item = { .parent = list };
	int rc = 0;
	for (; rc == 0 && item.index < json_array_size(list->value); item.index++) {
		item.value = json_array_get(list->value, item.index);
		rc = read_body(r, s, &item, e);
	}
	return rc;
}

static int read_section(struct reading *r, const struct section *s, struct err *e)
{
	const struct json_at root = { .value = r->doc.root };
	struct json_at at;
	char value[128];
	if (!json_find(&root, s->key, &at))
		return s->is_required ? json_missing(&r->doc, &root, s->key, e) : 0;
	if (!s->schema && !json_is_nothing(at.value))
		return json_refuse(&r->doc, &at, e,
				   "section is not supported by this version of wick yet: %s",
				   json_excerpt(at.value, value, sizeof(value)));
	if (!s->schema || (!s->is_required && json_is_null(at.value)))
		return 0;
	return s->is_list ? read_list(r, s, &at, e) : read_body(r, s, &at, e);
}

static int read_sections(struct reading *r, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(sections); i++)
		rc = read_section(r, &sections[i], e);
	return rc;
}

static int read_text(const char *text, size_t len, api_submit_fn submit, void *arg, struct err *e)
{
	struct reading r = { .arg = arg };
	int rc = json_doc_parse(text, len, &r.doc, e);
	if (rc < 0)
		return rc;
	r.doc.names_fields = true;
	r.request = calloc(1, sizeof(*r.request)); /* too large for a stack */
	if (!r.request)
		rc = err_set(e, -ENOMEM, "no memory for a request");
	else if (!json_is_object(r.doc.root))
		rc = json_bad_type(&r.doc, NULL, "struct VmmConfig", e);
	if (rc == 0)
		rc = read_sections(&r, e);
	r.submit = submit;
	if (rc == 0)
		rc = read_sections(&r, e);
	free(r.request);
	json_doc_free(&r.doc);
	return rc;
}

int config_file_apply(const char *path, api_submit_fn submit, void *arg, struct err *e)
{
	struct err why = { "" };
	cleanup_free char *text = NULL;
	size_t len = 0;
	int rc = io_read_file(path, CONFIG_FILE_MAX, &text, &len);
	if (rc == -EFBIG)
		return err_set(e, rc, "%s%.256s: the file is larger than %llu bytes", failure, path,
			       (unsigned long long)CONFIG_FILE_MAX);
	if (rc < 0)
		return err_set_os(e, rc, "%s%.256s", failure, path);
	rc = read_text(text, len, submit, arg, &why);
	if (rc < 0)
		return err_set(e, rc, "%s%.256s: %.700s", failure, path, why.text);
	return 0;
}

/* --- printing --------------------------------------------------------------------------------- */

static json_t *print_drives(const struct vm_config *c)
{
	json_t *list = json_array();
	for (unsigned int i = 0; list && i < c->ndrives; i++) {
		if (json_array_append_new(list, json_print(&drive_schema, &c->drives[i])) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *print_machine(const struct machine_config *machine)
{
	struct machine_config m = *machine;
	if (m.cpu_template == CPU_TEMPLATE_NONE) /* "None" is printed as none at all */
		m.has_cpu_template = false;
	return json_print(&machine_print_schema, &m);
}

char *config_file_print_machine(const struct machine_config *machine, size_t *ret_len)
{
	return json_text_of(print_machine(machine), ret_len);
}

char *config_file_print(const struct vm_config *c, size_t *ret_len)
{
	/* Firecracker's keys in its order. It always says null for logger, and its tests compare that. */
	const struct {
		const char *key;
		json_t *value;
	} members[] = {
		{ "balloon", json_null() },
		{ "drives", print_drives(c) },
		{ "boot-source", json_print(&boot_source_schema, &c->boot) },
		{ "cpu-config", json_null() },
		{ "logger", json_null() },
		{ "machine-config", print_machine(&c->machine) },
		{ "metrics", json_null() },
		{ "mmds-config", json_null() },
		{ "network-interfaces", json_array() },
		{ "vsock", json_null() },
		{ "entropy", c->has_entropy ? json_print(&entropy_schema, c) : json_null() },
		{ "pmem", json_array() },
		{ "memory-hotplug", json_null() },
	};
	json_t *all = json_object();
	bool is_whole = all;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) /* each value is taken over, or freed */
		is_whole &= json_object_set_new(all, members[i].key, members[i].value) == 0;
	if (!is_whole) {
		json_decref(all);
		all = NULL;
	}
	return json_text_of(all, ret_len);
}
