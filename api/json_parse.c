/* JSON documents from bytes; what jansson finds wrong, in serde_json's words. Any thread. */
#include "api/json_bind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

/* serde_json's limit. jansson recurses per level, and the API thread's stack is small. */
#define DEPTH_MAX 128

static int refuse_at_offset(const struct json_text *t, size_t offset, const char *what,
			    struct err *e)
{
	unsigned int line, column;
	json_scan_position(t, offset, &line, &column);
	return err_set(e, -EINVAL, "%s at line %u column %u", what, line, column);
}

/* jansson: "duplicate object key near '"x"'"; its position is behind the key. */
static int refuse_duplicate(const struct json_text *t, const json_error_t *je, struct err *e)
{
	char what[JSON_ERROR_TEXT_LENGTH + 32];
	size_t end = min_u64(t->len, (uint64_t)(je->position < 0 ? 0 : je->position));
	size_t start = end ? end - 1 : 0;
	while (start && t->bytes[start - 1] != '"')
		start--;
	if (end && t->bytes[end - 1] == '"')
		(void)snprintf(what, sizeof(what), "duplicate field `%.*s`",
			       (int)min_u64(end - 1 - start, 100), t->bytes + start);
	else
		(void)snprintf(what, sizeof(what), "duplicate field");
	return refuse_at_offset(t, end, what, e);
}

/* What jansson's words begin with, and serde_json's for the same mistake. */
static const struct {
	const char *theirs, *ours;
} syntax_texts[] = {
	{ "string or '}' expected", "key must be a string" },
	{ "':' expected", "expected `:`" },
	{ "'}' expected", "expected `,` or `}`" },
	{ "']' expected", "expected `,` or `]`" },
	{ "control character", "control character (\\u0000-\\u001F) found while parsing a string" },
	{ "unexpected newline",
	  "control character (\\u0000-\\u001F) found while parsing a string" },
	{ "invalid escape", "invalid escape" },
	{ "invalid Unicode", "invalid unicode code point" },
	{ "invalid token", "expected value" },
	{ "unexpected token", "expected value" },
};

/* Is the byte before `offset` a bracket that closes behind a comma? */
static bool is_trailing_comma(const struct json_text *t, size_t offset)
{
	if (!offset || !strchr("}]", t->bytes[offset - 1]))
		return false;
	for (offset--; offset && strchr(" \t\r\n", t->bytes[offset - 1]);)
		offset--;
	return offset && t->bytes[offset - 1] == ',';
}

static int refuse_syntax(const struct json_text *t, const json_error_t *je, struct err *e)
{
	size_t offset = min_u64(t->len, (uint64_t)(je->position < 0 ? 0 : je->position));
	const char *what = is_trailing_comma(t, offset) ? "trailing comma" : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(syntax_texts) && !what; i++) {
		if (!strncmp(je->text, syntax_texts[i].theirs, strlen(syntax_texts[i].theirs)))
			what = syntax_texts[i].ours;
	}
	return refuse_at_offset(t, offset, what ? what : je->text, e);
}

static int refuse_document(const struct json_text *t, const json_error_t *je, struct err *e)
{
	char what[64];
	switch (json_error_code(je)) {
	case json_error_out_of_memory:
		return err_set(e, -ENOMEM, "out of memory");
	case json_error_premature_end_of_input:
		(void)snprintf(what, sizeof(what), "EOF while parsing %s", json_scan_unfinished(t));
		return refuse_at_offset(t, t->len, what, e);
	case json_error_end_of_input_expected: {
		size_t end = json_scan_value(t, json_scan_space(t, 0));
		return refuse_at_offset(t, json_scan_space(t, end) + 1, "trailing characters", e);
	}
	case json_error_duplicate_key:
		return refuse_duplicate(t, je, e);
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return refuse_syntax(t,
				     &(json_error_t){ .text = "a NUL character is not allowed",
						      .position = je->position },
				     e);
	case json_error_numeric_overflow:
		return refuse_syntax(
			t,
			&(json_error_t){ .text = "number out of range", .position = je->position },
			e);
	case json_error_invalid_utf8:
		return refuse_syntax(t,
				     &(json_error_t){ .text = "invalid unicode code point",
						      .position = je->position },
				     e);
	default:
		return refuse_syntax(t, je, e);
	}
}

int json_doc_parse(const char *text, size_t len, struct json_doc *ret, struct err *e)
{
	struct json_doc doc = { .text = { text, len } };
	json_error_t je;
	size_t offset;
	if (json_scan_is_deeper(&doc.text, DEPTH_MAX, &offset))
		return refuse_at_offset(&doc.text, offset, "recursion limit exceeded", e);
	if (json_scan_space(&doc.text, 0) == len)
		return refuse_at_offset(&doc.text, len, "EOF while parsing a value", e);
	doc.root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!doc.root)
		return refuse_document(&doc.text, &je, e);
	*ret = doc;
	return 0;
}

void json_doc_free(struct json_doc *doc)
{
	json_decref(doc->root);
	doc->root = NULL;
}
