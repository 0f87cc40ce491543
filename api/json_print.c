/* Structs to JSON by the tables that read them. No state; any thread. */
#include "api/json_bind.h"

#include <stdlib.h>
#include <string.h>

static bool is_present(const struct json_field *f, const char *in)
{
	return !f->has || *(const bool *)(in + f->has - 1);
}

static json_t *print_enum(const struct json_field *f, const char *at)
{
	int value;
	memcpy(&value, at, sizeof(value));
	for (const struct json_name *n = f->names; n->name; n++) {
		if (n->value == value)
			return json_string(n->name);
	}
	return json_null(); /* a value without a name: nobody can have set it */
}

static json_t *print_value(const struct json_field *f, const char *in)
{
	const char *at = in + f->offset;
	uint32_t u32;
	uint64_t u64;
	bool b;
	switch (f->kind) {
	case JSON_KIND_STRING:
		return json_string(at);
	case JSON_KIND_BOOL:
		memcpy(&b, at, sizeof(b));
		return json_boolean(b);
	case JSON_KIND_U32:
		memcpy(&u32, at, sizeof(u32));
		return json_integer(u32);
	case JSON_KIND_U64:
		memcpy(&u64, at, sizeof(u64));
		return json_integer((json_int_t)u64);
	case JSON_KIND_ENUM:
		return print_enum(f, at);
	case JSON_KIND_OBJECT:
		return json_print(f->schema, at);
	case JSON_KIND_LATER:
		return f->fallback ? json_string(f->fallback) : json_null();
	}
	return NULL;
}

json_t *json_print(const struct json_schema *schema, const void *in)
{
	json_t *object = json_object();
	for (const struct json_field *f = schema->fields; object && f->name; f++) {
		bool present = is_present(f, in);
		if (f->print == JSON_PRINT_NEVER || (f->print == JSON_PRINT_OMIT && !present))
			continue;
		json_t *value =
			f->print == JSON_PRINT_NULL && !present ? json_null() : print_value(f, in);
		if (json_object_set_new(object, f->name, value) < 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

char *json_text_of(json_t *value, size_t *ret_len)
{
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	json_decref(value);
	*ret_len = text ? strlen(text) : 0;
	return text;
}
