/*
 * JSON <-> structs by field tables: one table reads a request body or a section of the config file,
 * refuses what does not fit in serde_json's words (Firecracker's clients match them), and prints
 * the struct again.
 */
#ifndef WICK_API_JSON_BIND_H
#define WICK_API_JSON_BIND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/json_scan.h"
#include "vmm/base/err.h"

enum json_kind {
	JSON_KIND_STRING, /* into char[size], NUL-terminated */
	JSON_KIND_BOOL,
	JSON_KIND_U32,
	JSON_KIND_U64,
	JSON_KIND_ENUM,   /* into an enum (the size of int), by .names */
	JSON_KIND_OBJECT, /* into the struct at offset, by .schema */
	JSON_KIND_LATER   /* known by name, its feature is to come: only "nothing" or .fallback */
};

enum json_print {
	JSON_PRINT_ALWAYS,
	JSON_PRINT_NULL, /* null when the presence flag is false */
	JSON_PRINT_OMIT, /* left out when the presence flag is false */
	JSON_PRINT_NEVER
};

struct json_name {
	const char *name; /* NULL ends a list */
	int value;
};

struct json_schema;

struct json_field {
	const char *name; /* NULL ends a table */
	enum json_kind kind;
	size_t offset, size;
	size_t has; /* 1 + offset of the bool that says "present" (JSON_HAS); 0: there is none */
	bool required;
	bool nullable;  /* null means absent */
	bool is_hidden; /* not named where a message lists the fields */
	bool any_case;  /* ENUM: letter case does not matter */
	enum json_print print;
	uint64_t max;                  /* U32, U64: the largest value; 0: what fits */
	const char *expected;          /* the type in messages ("u8"); NULL: by kind */
	const struct json_name *names; /* ENUM; the first name of a value is the one printed */
	const char *bad_name;          /* ENUM: the message for an unknown name; NULL: serde's */
	const struct json_schema *schema;
	const char *fallback; /* LATER: the one string that is accepted, and printed; NULL: null */
	/* More to say about a value of the right type? 0, or -errno with a message, no place. */
	int (*check)(const struct json_field *f, const json_t *value, struct err *e);
};

#define JSON_HAS(type, member) (1 + offsetof(type, member))

struct json_schema {
	const char *name; /* in messages: "struct MachineConfig" */
	const struct json_field *fields;
	bool ignores_unknown;
};

/* A parsed document, with its text, from which messages take their line and column. */
struct json_doc {
	json_t *root;
	struct json_text text;
	bool names_fields; /* messages begin with the field's path ("drives[0].cache_type: ") */
};

/* A value inside a document: how to get there from the root. Lives on the stack of who walks. */
struct json_at {
	const struct json_at *parent; /* NULL: the root */
	size_t index;                 /* which value of the parent, in the order of the text */
	const char *key;              /* NULL: the parent is an array */
	const json_t *value;
};

/* `text` must outlive the document. -EINVAL with a message, -ENOMEM. */
int json_doc_parse(const char *text, size_t len, struct json_doc *ret, struct err *e);
void json_doc_free(struct json_doc *doc);

/*
 * Reads the object at `at` (NULL: the root) into `out`. Absent fields are left as they are. On
 * failure `out` may be half written. 0 or -errno with the message.
 */
int json_bind(const struct json_doc *doc, const struct json_at *at,
	      const struct json_schema *schema, void *out, struct err *e);

/* Finds a member of the object at `parent`. False: there is none. */
bool json_find(const struct json_at *parent, const char *key, struct json_at *ret);

/* null, {}, [], and objects of nothing but such: as good as absent. */
bool json_is_nothing(const json_t *value);

/* Messages about a place. Each returns -EINVAL. `at` NULL: the root. */
int json_bad_type(const struct json_doc *doc, const struct json_at *at, const char *expected,
		  struct err *e);
int json_missing(const struct json_doc *doc, const struct json_at *object, const char *field,
		 struct err *e);
int json_refuse(const struct json_doc *doc, const struct json_at *at, struct err *e,
		const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Appends the path of `at` ("drives[0].cache_type") to the string in `buf`. */
void json_put_path(const struct json_at *at, char *buf, size_t size);

/* The value as short JSON text for a message; cut to what fits. Returns `buf`. */
const char *json_excerpt(const json_t *value, char *buf, size_t size);

/* A new object as the table prints it, or NULL: no memory. */
json_t *json_print(const struct json_schema *schema, const void *in);

/* Compact text in fresh memory; takes `value` over. NULL for a NULL value or without memory. */
char *json_text_of(json_t *value, size_t *ret_len);

#endif
