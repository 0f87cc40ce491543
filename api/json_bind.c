/*
 * JSON values into structs by field tables, and the messages for what does not fit. No state; any
 * thread. Order of complaints is serde's: fields in the order of the text, then what is missing in
 * table order.
 */
#include "api/json_bind.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- places ----------------------------------------------------------------------------------- */

enum place { PLACE_BEFORE, PLACE_FIRST_BYTE, PLACE_BEHIND, PLACE_BEHIND_KEY };

/* What a message points at. */
struct spot {
	const struct json_doc *doc;
	const struct json_at *at; /* NULL: the root */
	enum place place;
};

static size_t value_start(const struct json_doc *doc, const struct json_at *at, size_t *key_end)
{
	if (!at || !at->parent)
		return *key_end = json_scan_space(&doc->text, 0);
	size_t unused;
	return json_scan_child(&doc->text, value_start(doc, at->parent, &unused), at->index,
			       key_end);
}

static size_t spot_offset(const struct spot *s)
{
	size_t key_end;
	size_t start = value_start(s->doc, s->at, &key_end);
	switch (s->place) {
	case PLACE_BEFORE:
		return start;
	case PLACE_FIRST_BYTE:
		return start + 1;
	case PLACE_BEHIND_KEY:
		return key_end;
	default:
		return json_scan_value(&s->doc->text, start);
	}
}

void json_put_path(const struct json_at *at, char *buf, size_t size)
{
	if (!at || !at->parent)
		return;
	json_put_path(at->parent, buf, size);
	size_t n = strlen(buf);
	if (at->key)
		(void)snprintf(buf + n, size - n, "%s%.64s", n ? "." : "", at->key);
	else
		(void)snprintf(buf + n, size - n, "[%zu]", at->index);
}

static int refuse_va(const struct spot *s, struct err *e, const char *fmt, va_list ap)
{
	char what[768]; /* leaves room in an err for the path and the place */
	char path[160] = "";
	unsigned int line, column;
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	if (s->doc->names_fields)
		json_put_path(s->at, path, sizeof(path));
	json_scan_position(&s->doc->text, spot_offset(s), &line, &column);
	return err_set(e, -EINVAL, "%s%s%s at line %u column %u", path, *path ? ": " : "", what,
		       line, column);
}

static int refuse_place(struct spot s, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse_place(struct spot s, struct err *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = refuse_va(&s, e, fmt, ap);
	va_end(ap);
	return rc;
}

int json_refuse(const struct json_doc *doc, const struct json_at *at, struct err *e,
		const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = refuse_va(&(struct spot){ doc, at, PLACE_BEHIND }, e, fmt, ap);
	va_end(ap);
	return rc;
}

/* --- messages --------------------------------------------------------------------------------- */

const char *json_excerpt(const json_t *value, char *buf, size_t size)
{
	memset(buf, 0, size); /* jansson leaves out whole pieces that do not fit */
	if (json_dumpb(value, buf, size - 1, JSON_COMPACT | JSON_ENCODE_ANY) < size)
		return buf;
	size_t n = strnlen(buf, size - 5);
	while (n && ((unsigned char)buf[n] & 0xc0) == 0x80) /* not inside a character */
		n--;
	memcpy(buf + n, "...", 4);
	return buf;
}

/* Shortest decimal that reads back the same, and never without a point, as Rust prints it. */
static void put_float(double d, char *buf, size_t size)
{
	if (d > -1e15 && d < 1e15 && (double)(int64_t)d == d) {
		(void)snprintf(buf, size, "%.1f", d);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		(void)snprintf(buf, size, "%.*g", digits, d);
		if (strtod(buf, NULL) == d)
			break;
	}
}

static const char *describe(const json_t *value, char *buf, size_t size)
{
	char number[64];
	switch (json_typeof(value)) {
	case JSON_STRING:
		(void)snprintf(buf, size, "string \"%.200s\"", json_string_value(value));
		break;
	case JSON_INTEGER:
		(void)snprintf(buf, size, "integer `%lld`", json_integer_value(value));
		break;
	case JSON_REAL:
		put_float(json_real_value(value), number, sizeof(number));
		(void)snprintf(buf, size, "floating point `%s`", number);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		(void)snprintf(buf, size, "boolean `%s`", json_is_true(value) ? "true" : "false");
		break;
	case JSON_NULL:
		return "null";
	case JSON_OBJECT:
		return "map";
	case JSON_ARRAY:
		return "sequence";
	}
	return buf;
}

int json_bad_type(const struct json_doc *doc, const struct json_at *at, const char *expected,
		  struct err *e)
{
	char got[256];
	const json_t *value = at ? at->value : doc->root;
	bool is_container = json_is_object(value) || json_is_array(value);
	return refuse_place((struct spot){ doc, at, is_container ? PLACE_BEFORE : PLACE_BEHIND }, e,
			    "invalid type: %s, expected %s", describe(value, got, sizeof(got)),
			    expected);
}

int json_missing(const struct json_doc *doc, const struct json_at *object, const char *field,
		 struct err *e)
{
	return refuse_place((struct spot){ doc, object, PLACE_BEHIND }, e, "missing field `%s`",
			    field);
}

/* "`a`", "`a` or `b`", "one of `a`, `b`, `c`": the item-th of `count` names. */
static void put_name(char *list, size_t size, size_t item, size_t count, const char *name)
{
	const char *before = item == 0 ? (count > 2 ? "one of " : "") : count > 2 ? ", " : " or ";
	size_t n = strlen(list);
	(void)snprintf(list + n, size - n, "%s`%s`", before, name);
}

static int unknown_field(const struct json_doc *doc, const struct json_at *at,
			 const struct json_schema *schema, struct err *e)
{
	char list[512] = "";
	size_t count = 0, item = 0;
	for (const struct json_field *f = schema->fields; f->name; f++)
		count += !f->is_hidden;
	for (const struct json_field *f = schema->fields; f->name; f++) {
		if (!f->is_hidden)
			put_name(list, sizeof(list), item++, count, f->name);
	}
	return refuse_place((struct spot){ doc, at, PLACE_BEHIND_KEY }, e,
			    "unknown field `%.100s`, %s%s", at->key,
			    count ? "expected " : "there are no fields", list);
}

static int unknown_variant(const struct json_doc *doc, const struct json_at *at,
			   const struct json_field *f, struct err *e)
{
	char list[512] = "";
	size_t count = 0, item = 0;
	if (f->bad_name)
		return refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e, "%s", f->bad_name);
	while (f->names[count].name)
		count++;
	for (const struct json_name *n = f->names; n->name; n++)
		put_name(list, sizeof(list), item++, count, n->name);
	return refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e,
			    "unknown variant `%.100s`, expected %s", json_string_value(at->value),
			    list);
}

/* --- values ----------------------------------------------------------------------------------- */

static int bind_string(const struct json_doc *doc, const struct json_at *at,
		       const struct json_field *f, char *out, struct err *e)
{
	if (!json_is_string(at->value))
		return json_bad_type(doc, at, f->expected ? f->expected : "a string", e);
	size_t len = json_string_length(at->value);
	if (len >= f->size)
		return refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e,
				    "invalid length %zu, expected a string of at most %zu bytes",
				    len, f->size - 1);
	memcpy(out, json_string_value(at->value), len + 1);
	return 0;
}

static int bind_number(const struct json_doc *doc, const struct json_at *at,
		       const struct json_field *f, char *out, struct err *e)
{
	bool is_u32 = f->kind == JSON_KIND_U32;
	const char *expected = f->expected ? f->expected : is_u32 ? "u32" : "u64";
	uint64_t max = f->max ? f->max : is_u32 ? UINT32_MAX : UINT64_MAX;
	if (!json_is_integer(at->value))
		return json_bad_type(doc, at, expected, e);
	json_int_t n = json_integer_value(at->value);
	if (n < 0 || (uint64_t)n > max)
		return refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e,
				    "invalid value: integer `%lld`, expected %s", n, expected);
	uint32_t u32 = (uint32_t)n;
	uint64_t u64 = (uint64_t)n;
	if (is_u32)
		memcpy(out, &u32, sizeof(u32));
	else
		memcpy(out, &u64, sizeof(u64));
	return 0;
}

static int bind_enum(const struct json_doc *doc, const struct json_at *at,
		     const struct json_field *f, char *out, struct err *e)
{
	if (!json_is_string(at->value)) {
		if (f->bad_name) /* Firecracker reads a string first, then looks for its name */
			return json_bad_type(doc, at, "a string", e);
		return refuse_place((struct spot){ doc, at, PLACE_FIRST_BYTE }, e,
				    "expected value");
	}
	const char *name = json_string_value(at->value);
	for (const struct json_name *n = f->names; n->name; n++) {
		if ((f->any_case ? strcasecmp : strcmp)(n->name, name) == 0) {
			memcpy(out, &n->value, sizeof(n->value));
			return 0;
		}
	}
	return unknown_variant(doc, at, f, e);
}

static int bind_bool(const struct json_doc *doc, const struct json_at *at, char *out, struct err *e)
{
	if (!json_is_boolean(at->value))
		return json_bad_type(doc, at, "a boolean", e);
	bool b = json_is_true(at->value);
	memcpy(out, &b, sizeof(b));
	return 0;
}

bool json_is_nothing(const json_t *value)
{
	if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0))
		return true;
	if (!json_is_object(value))
		return false;
	json_t *object = (json_t *)value; /* jansson's iterators want it so; nothing is written */
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		if (!json_is_nothing(json_object_iter_value(it)))
			return false;
	}
	return true;
}

static int bind_later(const struct json_doc *doc, const struct json_at *at,
		      const struct json_field *f, struct err *e)
{
	char value[128];
	if (json_is_nothing(at->value) || (f->fallback && json_is_string(at->value) &&
					   !strcmp(json_string_value(at->value), f->fallback)))
		return 0;
	return refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e,
			    "field `%s` is not supported by this version of wick yet: %s", f->name,
			    json_excerpt(at->value, value, sizeof(value)));
}

static int bind_value(const struct json_doc *doc, const struct json_at *at,
		      const struct json_field *f, char *out, struct err *e)
{
	switch (f->kind) {
	case JSON_KIND_STRING:
		return bind_string(doc, at, f, out, e);
	case JSON_KIND_BOOL:
		return bind_bool(doc, at, out, e);
	case JSON_KIND_U32:
	case JSON_KIND_U64:
		return bind_number(doc, at, f, out, e);
	case JSON_KIND_ENUM:
		return bind_enum(doc, at, f, out, e);
	case JSON_KIND_OBJECT:
		return json_bind(doc, at, f->schema, out, e);
	case JSON_KIND_LATER:
		return bind_later(doc, at, f, e);
	}
	return -EINVAL;
}

static int bind_field(const struct json_doc *doc, const struct json_at *at,
		      const struct json_field *f, char *out, struct err *e)
{
	struct err why;
	if (f->nullable && json_is_null(at->value))
		return 0;
	int rc = bind_value(doc, at, f, out + f->offset, e);
	if (rc == 0 && f->check && (rc = f->check(f, at->value, &why)) < 0)
		(void)refuse_place((struct spot){ doc, at, PLACE_BEHIND }, e, "%s", why.text);
	if (rc == 0 && f->has)
		*(bool *)(out + f->has - 1) = true;
	return rc;
}

/* --- objects ---------------------------------------------------------------------------------- */

static const struct json_field *find_field(const struct json_schema *schema, const char *name)
{
	for (const struct json_field *f = schema->fields; f->name; f++) {
		if (!strcmp(f->name, name))
			return f;
	}
	return NULL;
}

int json_bind(const struct json_doc *doc, const struct json_at *at,
	      const struct json_schema *schema, void *out, struct err *e)
{
	const struct json_at root = { .value = doc->root };
	if (!at)
		at = &root;
	if (!json_is_object(at->value))
		return json_bad_type(doc, at, schema->name, e);

	json_t *object = (json_t *)at->value; /* for jansson's iterators; nothing is written */
	struct json_at member = { .parent = at };
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		member.key = json_object_iter_key(it);
		member.value = json_object_iter_value(it);
		const struct json_field *f = find_field(schema, member.key);
		int rc = 0;
		if (f)
			rc = bind_field(doc, &member, f, out, e);
		else if (!schema->ignores_unknown)
			rc = unknown_field(doc, &member, schema, e);
		if (rc < 0)
			return rc;
		member.index++;
	}
	for (const struct json_field *f = schema->fields; f->name; f++) {
		if (f->required && !json_object_get(object, f->name))
			return json_missing(doc, at, f->name, e);
	}
	return 0;
}

bool json_find(const struct json_at *parent, const char *key, struct json_at *ret)
{
	json_t *object = (json_t *)parent->value; /* for jansson's iterators; nothing is written */
	size_t index = 0;
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		if (!strcmp(json_object_iter_key(it), key)) {
			*ret = (struct json_at){ parent, index, key, json_object_iter_value(it) };
			return true;
		}
		index++;
	}
	return false;
}
