/* api/json_*.c: tables between JSON and structs, and messages word for word as serde_json's. */
#include "api/json_bind.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

enum colour { RED, GREEN, BLUE };

struct inner {
	uint32_t size;
	bool has_note;
	char note[8];
};

struct thing {
	char name[9];
	bool flag;
	uint32_t count;
	uint64_t big;
	bool has_colour;
	enum colour colour;
	bool has_inner;
	struct inner inner;
};

static const struct json_name colour_names[] = {
	{ "Red", RED },
	{ "Green", GREEN },
	{ "Blue", BLUE },
	{ 0 },
};

static const struct json_name switch_names[] = { { "On", 1 }, { "Off", 0 }, { 0 } };

static const struct json_field inner_fields[] = {
	{ .name = "size",
	  .kind = JSON_KIND_U32,
	  .offset = offsetof(struct inner, size),
	  .required = true },
	{ .name = "note",
	  .kind = JSON_KIND_STRING,
	  .offset = offsetof(struct inner, note),
	  .size = sizeof(((struct inner *)0)->note),
	  .nullable = true,
	  .print = JSON_PRINT_OMIT,
	  .has = JSON_HAS(struct inner, has_note) },
	{ 0 },
};
static const struct json_schema inner_schema = { "struct Inner", inner_fields, false };

static int check_name(const struct json_field *f, const json_t *value, struct err *e)
{
	return strcmp(json_string_value(value), "bad") ? 0
						       : err_set(e, -EINVAL, "%s is bad", f->name);
}

#define THING(jname, knd, member, ...)                                   \
	{                                                                \
		.name = (jname), .kind = JSON_KIND_##knd,                \
		.offset = offsetof(struct thing, member),                \
		.size = sizeof(((struct thing *)0)->member), __VA_ARGS__ \
	}

static const struct json_field thing_fields[] = {
	THING("name", STRING, name, .required = true, .check = check_name),
	THING("flag", BOOL, flag),
	THING("count", U32, count, .max = 255, .expected = "u8"),
	THING("big", U64, big),
	THING("colour", ENUM, colour, .names = colour_names, .nullable = true,
	      .has = JSON_HAS(struct thing, has_colour), .print = JSON_PRINT_NULL),
	THING("inner", OBJECT, inner, .schema = &inner_schema, .nullable = true,
	      .has = JSON_HAS(struct thing, has_inner), .print = JSON_PRINT_NULL),
	{ .name = "later", .kind = JSON_KIND_LATER, .nullable = true, .fallback = "Sync" },
	{ .name = "hidden", .kind = JSON_KIND_LATER, .is_hidden = true, .print = JSON_PRINT_NEVER },
	{ 0 },
};
static const struct json_schema thing_schema = { "struct Thing", thing_fields, false };

struct two {
	int level, power;
};
static const struct json_field two_fields[] = {
	{ .name = "level",
	  .kind = JSON_KIND_ENUM,
	  .offset = offsetof(struct two, level),
	  .names = colour_names,
	  .any_case = true,
	  .bad_name = "Invalid Level" },
	{ .name = "power",
	  .kind = JSON_KIND_ENUM,
	  .offset = offsetof(struct two, power),
	  .names = switch_names },
	{ 0 },
};
static const struct json_schema two_schema = { "struct Two", two_fields, false };
static const struct json_schema lax_schema = { "struct Two", two_fields, true };
static const struct json_field no_fields[] = { { 0 } };
static const struct json_schema none_schema = { "struct None", no_fields, false };

static bool names_fields; /* in messages */

static int bind(const char *text, size_t len, const struct json_schema *schema, void *out,
		struct err *e)
{
	struct json_doc doc;
	char *copy = malloc(len); /* of the exact size, for ASan */
	if (len)
		memcpy(copy, text, len);
	int rc = json_doc_parse(copy, len, &doc, e);
	if (rc == 0) {
		doc.names_fields = names_fields;
		rc = json_bind(&doc, NULL, schema, out, e);
		json_doc_free(&doc);
	}
	free(copy);
	return rc;
}

struct row {
	const char *claim, *text, *want;
	const struct json_schema *schema; /* NULL: thing_schema */
};

static const struct row refused[] = {
	/* shape */
	{ "a required field is missing", "{\"flag\": true}",
	  "missing field `name` at line 1 column 14", NULL },
	{ "the place of a missing field is the end of the object", "{\n \"flag\": true\n}\n",
	  "missing field `name` at line 3 column 1", NULL },
	{ "missing in an inner object", "{\"name\":\"a\",\"inner\":{}}",
	  "missing field `size` at line 1 column 22", NULL },
	{ "unknown, many known; hidden ones are not told", "{\"x\": 1}",
	  "unknown field `x`, expected one of `name`, `flag`, `count`, `big`, `colour`, "
	  "`inner`, `later` at line 1 column 4",
	  NULL },
	{ "unknown, two known", "{\"x\": 1}",
	  "unknown field `x`, expected `level` or `power` at line 1 column 4", &two_schema },
	{ "unknown, none known", "{\"x\": 1}",
	  "unknown field `x`, there are no fields at line 1 column 4", &none_schema },
	{ "unknown, behind others", "{\"name\" : \"a,}\\\"\" , \"y\":1}",
	  "unknown field `y`, expected one of `name`, `flag`, `count`, `big`, `colour`, "
	  "`inner`, `later` at line 1 column 23",
	  NULL },
	{ "twice", "{\"flag\": true, \"flag\": true}", "duplicate field `flag` at line 1 column 21",
	  NULL },
	{ "no object", "[1]", "invalid type: sequence, expected struct Thing at line 1 column 0",
	  NULL },
	{ "a number is no object", "7",
	  "invalid type: integer `7`, expected struct Thing at line 1 column 1", NULL },
	{ "null is no object", "null",
	  "invalid type: null, expected struct Thing at line 1 column 4", NULL },
	{ "order is that of the text", "{\"flag\": 1, \"x\": 2}",
	  "invalid type: integer `1`, expected a boolean at line 1 column 10", NULL },
	/* types */
	{ "a string for a number", "{\"count\": \"foo\"}",
	  "invalid type: string \"foo\", expected u8 at line 1 column 15", NULL },
	{ "a string for a bool", "{\"flag\": \"foo\"}",
	  "invalid type: string \"foo\", expected a boolean at line 1 column 14", NULL },
	{ "a bool for a string", "{\"name\": true}",
	  "invalid type: boolean `true`, expected a string at line 1 column 13", NULL },
	{ "null where it is not allowed", "{\"flag\": null}",
	  "invalid type: null, expected a boolean at line 1 column 13", NULL },
	{ "a map for a string", "{\"name\": {}}",
	  "invalid type: map, expected a string at line 1 column 9", NULL },
	{ "a float for an integer", "{\"count\": 1.5}",
	  "invalid type: floating point `1.5`, expected u8 at line 1 column 13", NULL },
	{ "a round float is a float", "{\"count\": 1e1}",
	  "invalid type: floating point `10.0`, expected u8 at line 1 column 13", NULL },
	{ "too small", "{\"count\": -1}",
	  "invalid value: integer `-1`, expected u8 at line 1 column 12", NULL },
	{ "too large", "{\"count\": 256}",
	  "invalid value: integer `256`, expected u8 at line 1 column 13", NULL },
	{ "negative where 64 bits are", "{\"big\": -5}",
	  "invalid value: integer `-5`, expected u64 at line 1 column 10", NULL },
	{ "2^63 and more", "{\"big\": 9223372036854775808}",
	  "number out of range at line 1 column 27", NULL },
	{ "2^64 and more", "{\"big\": 18446744073709551616}",
	  "number out of range at line 1 column 28", NULL },
	{ "unknown variant of three", "{\"colour\": \"foo\"}",
	  "unknown variant `foo`, expected one of `Red`, `Green`, `Blue` at line 1 column 16",
	  NULL },
	{ "unknown variant of two", "{\"power\": \"on\"}",
	  "unknown variant `on`, expected `On` or `Off` at line 1 column 14", &two_schema },
	{ "no variant at all", "{\"colour\": 1}", "expected value at line 1 column 12", NULL },
	{ "its own words", "{\"level\": \"pink\"}", "Invalid Level at line 1 column 16",
	  &two_schema },
	{ "its own words, wrong type", "{\"level\": 1}",
	  "invalid type: integer `1`, expected a string at line 1 column 11", &two_schema },
	{ "a string that is too long", "{\"name\": \"123456789\"}",
	  "invalid length 9, expected a string of at most 8 bytes at line 1 column 20", NULL },
	{ "inside an object", "{\"inner\": {\"size\": \"x\"}}",
	  "invalid type: string \"x\", expected u32 at line 1 column 22", NULL },
	{ "a check has the last word", "{\"name\": \"bad\"}", "name is bad at line 1 column 14",
	  NULL },
	{ "later: a value", "{\"name\":\"a\", \"later\": \"Async\"}",
	  "field `later` is not supported by this version of wick yet: \"Async\" at line 1 "
	  "column 29",
	  NULL },
	{ "later: an object", "{\"hidden\": {\"a\": {\"b\": 1}}}",
	  "field `hidden` is not supported by this version of wick yet: {\"a\":{\"b\":1}} at "
	  "line 1 column 26",
	  NULL },
	/* syntax */
	{ "nothing", "", "EOF while parsing a value at line 1 column 0", NULL },
	{ "white space", " \n ", "EOF while parsing a value at line 2 column 1", NULL },
	{ "an open object", "{", "EOF while parsing an object at line 1 column 1", NULL },
	{ "an open object behind a member", "{\"flag\": true",
	  "EOF while parsing an object at line 1 column 13", NULL },
	{ "an open list", "[1", "EOF while parsing a list at line 1 column 2", NULL },
	{ "an open string", "{\"fla", "EOF while parsing a string at line 1 column 5", NULL },
	{ "a string open at an escape", "{\"fla\\", "invalid escape at line 1 column 6", NULL },
	{ "no value behind the colon", "{\"flag\":", "EOF while parsing a value at line 1 column 8",
	  NULL },
	{ "behind the end", "{} x", "trailing characters at line 1 column 4", NULL },
	{ "two documents", "{\"name\":\"a\"}{}", "trailing characters at line 1 column 13", NULL },
	{ "a key without quotes", "{flag: true}", "key must be a string at line 1 column 5", NULL },
	{ "a key that is a number", "{1: true}", "key must be a string at line 1 column 2", NULL },
	{ "a comma too many", "{\"flag\": true,}", "trailing comma at line 1 column 15", NULL },
	{ "a comma too many in a list", "[1, ]", "trailing comma at line 1 column 5", NULL },
	{ "no colon", "{\"flag\" true}", "expected `:` at line 1 column 12", NULL },
	{ "no comma", "{\"flag\": true 1}", "expected `,` or `}` at line 1 column 15", NULL },
	{ "no value", "{\"flag\": }", "expected value at line 1 column 10", NULL },
	{ "NUL in a string", "{\"name\": \"a\\u0000b\"}",
	  "a NUL character is not allowed at line 1 column 19", NULL },
	{ "not UTF-8", "{\"name\": \"a\xff\"}", "invalid unicode code point at line 1 column 11",
	  NULL },
	{ "a raw line feed in a string", "{\"name\": \"a\n\"}",
	  "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 11",
	  NULL },
};

Test(json_bind, refuses_in_serdes_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct row *r = &refused[i];
		struct thing out = { .name = "" };
		struct err e = { "" };
		int rc = bind(r->text, strlen(r->text), r->schema ? r->schema : &thing_schema, &out,
			      &e);
		cr_expect_eq(rc, -EINVAL, "%s", r->claim);
		cr_expect_str_eq(e.text, r->want, "%s: got %s", r->claim, e.text);
	}
}

Test(json_bind, a_raw_nul_is_refused)
{
	struct thing out;
	struct err e;
	cr_expect_eq(bind("{\"na\0me\": 1}", 12, &thing_schema, &out, &e), -EINVAL);
	cr_expect_eq(bind("{\"name\": \"a\"}\0", 14, &thing_schema, &out, &e), -EINVAL);
}

Test(json_bind, every_cut_of_a_good_document_is_refused)
{
	static const char text[] = "{\"name\": \"a\\\"\\u00e4\", \"flag\": true, \"count\": 12, "
				   "\"inner\": {\"size\": 3, \"note\": null}}";
	struct err e;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct thing out = { .name = "" };
		cr_expect_eq(bind(text, len, &thing_schema, &out, &e), -EINVAL, "%zu", len);
	}
}

Test(json_bind, reads_every_kind)
{
	static const char text[] =
		"{\"inner\":{\"note\":\"hi\",\"size\":4294967295},\"colour\":"
		"\"Blue\",\"big\":9223372036854775807,\"count\":255,\"flag\":true,"
		"\"name\":\"\xc3\xa4\\n\",\"later\":\"Sync\",\"hidden\":null}";
	struct thing t = { .name = "" };
	struct err e;
	cr_assert_eq(bind(text, sizeof(text) - 1, &thing_schema, &t, &e), 0, "%s", e.text);
	cr_expect_str_eq(t.name, "\xc3\xa4\n");
	cr_expect(t.flag && t.has_colour && t.has_inner && t.inner.has_note);
	cr_expect_eq(t.count, 255);
	cr_expect_eq(t.big, INT64_MAX);
	cr_expect_eq(t.colour, BLUE);
	cr_expect_eq(t.inner.size, UINT32_MAX);
	cr_expect_str_eq(t.inner.note, "hi");
}

Test(json_bind, null_leaves_an_optional_field_absent)
{
	static const char text[] = "{\"name\":\"a\",\"colour\":null,\"inner\":null,\"later\":null}";
	struct thing t = { .colour = GREEN };
	struct err e;
	cr_assert_eq(bind(text, sizeof(text) - 1, &thing_schema, &t, &e), 0, "%s", e.text);
	cr_expect(!t.has_colour && !t.has_inner);
	cr_expect_eq(t.colour, GREEN);
}

Test(json_bind, a_later_field_may_be_as_good_as_absent)
{
	static const char *const texts[] = { "null", "{}", "[]", "{\"a\":null,\"b\":{\"c\":[]}}",
					     "\"Sync\"" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char text[128];
		struct thing t = { .name = "" };
		struct err e;
		(void)snprintf(text, sizeof(text), "{\"name\":\"a\",\"later\":%s}", texts[i]);
		cr_expect_eq(bind(text, strlen(text), &thing_schema, &t, &e), 0, "%s", e.text);
	}
}

Test(json_bind, a_lax_table_ignores_what_it_does_not_know)
{
	struct two two = { 0 };
	struct err e;
	static const char text[] = "{\"x\":{\"y\":[1,2]},\"LEVEL\":1,\"level\":\"bLUE\"}";
	cr_assert_eq(bind(text, sizeof(text) - 1, &lax_schema, &two, &e), 0, "%s", e.text);
	cr_expect_eq(two.level, BLUE);
}

Test(json_bind, messages_name_the_field_when_asked_to)
{
	struct thing t = { .name = "" };
	struct err e;
	static const char text[] = "{\"inner\":{\"size\":\"x\"}}";
	names_fields = true;
	cr_expect_lt(bind(text, sizeof(text) - 1, &thing_schema, &t, &e), 0);
	cr_expect_str_eq(
		e.text, "inner.size: invalid type: string \"x\", expected u32 at line 1 column 20");
}

Test(json_bind, prints_what_it_reads)
{
	static const char *const texts[] = {
		"{\"name\":\"a/\\\"\\\\\",\"flag\":true,\"count\":7,\"big\":9223372036854775807,"
		"\"colour\":\"Green\",\"inner\":{\"size\":1,\"note\":\"n\"},\"later\":\"Sync\"}",
		"{\"name\":\"\",\"flag\":false,\"count\":0,\"big\":0,\"colour\":null,\"inner\":"
		"null,\"later\":\"Sync\"}",
		"{\"name\":\"\",\"flag\":false,\"count\":0,\"big\":0,\"colour\":\"Red\",\"inner\":"
		"{\"size\":0},\"later\":\"Sync\"}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct thing t = { .name = "" };
		struct err e;
		size_t len;
		cr_assert_eq(bind(texts[i], strlen(texts[i]), &thing_schema, &t, &e), 0, "%s",
			     e.text);
		char *printed = json_text_of(json_print(&thing_schema, &t), &len);
		cr_expect_str_eq(printed, texts[i]);
		cr_expect_eq(len, strlen(texts[i]));
		free(printed);
	}
}

Test(json_bind, an_excerpt_is_cut_between_characters)
{
	char buf[16];
	json_t *s = json_string("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
	json_t *o = json_pack("{s:i, s:[i,i,i,i]}", "abc", 1, "d", 1, 2, 3, 4);
	json_t *n = json_integer(12);
	json_excerpt(s, buf, sizeof(buf));
	cr_expect_lt(strlen(buf), sizeof(buf));
	json_t *again = json_string(buf); /* refuses what is not UTF-8 */
	cr_expect_not_null(again, "%s", buf);
	json_excerpt(o, buf, sizeof(buf));
	cr_expect(!strncmp(buf, "{\"abc\":1", 8) && strstr(buf, "..."), "%s", buf);
	cr_expect_str_eq(json_excerpt(n, buf, sizeof(buf)), "12");
	json_decref(again);
	json_decref(s);
	json_decref(o);
	json_decref(n);
}

/* --- depth --- */

static char *nested(size_t depth, const char *brackets)
{
	char *text = malloc(2 * depth + 1);
	memset(text, brackets[0], depth);
	memset(text + depth, brackets[1], depth);
	text[2 * depth] = '\0';
	return text;
}

static void *parse_on_small_stack(void *arg)
{
	struct json_doc doc;
	struct err e;
	cr_assert_eq(json_doc_parse(arg, strlen(arg), &doc, &e), 0, "%s", e.text);
	json_doc_free(&doc);
	return NULL;
}

Test(json_bind, the_allowed_depth_fits_a_small_stack)
{
	pthread_attr_t attr;
	pthread_t thread;
	char *text = nested(128, "[]");
	cr_assert_eq(pthread_attr_init(&attr), 0);
	cr_assert_eq(pthread_attr_setstacksize(&attr, 64 * 1024), 0);
	cr_assert_eq(pthread_create(&thread, &attr, parse_on_small_stack, text), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	(void)pthread_attr_destroy(&attr);
	free(text);
}

Test(json_bind, deeper_is_refused_before_it_is_parsed)
{
	static const size_t depths[] = { 129, 1000, 1000000 };
	for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
		struct thing t;
		struct err e;
		char *text = nested(depths[i], "[]");
		cr_expect_eq(bind(text, strlen(text), &thing_schema, &t, &e), -EINVAL);
		cr_expect_str_eq(e.text, "recursion limit exceeded at line 1 column 129");
		free(text);
	}
}
