/* Positions in JSON text, for messages. No state; any thread. */
#include "api/json_scan.h"

#include <string.h>

#include "vmm/base/bits.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t json_scan_space(const struct json_text *t, size_t at)
{
	while (at < t->len && is_space(t->bytes[at]))
		at++;
	return at;
}

/* `at` is a quote. Is there a closing one? *ret_end is behind it, or the end of the text. */
static bool string_is_closed(const struct json_text *t, size_t at, size_t *ret_end)
{
	*ret_end = t->len;
	for (at++; at < t->len; at++) {
		if (t->bytes[at] == '\\') {
			at++;
		} else if (t->bytes[at] == '"') {
			*ret_end = at + 1;
			return true;
		}
	}
	return false;
}

static size_t scan_string(const struct json_text *t, size_t at)
{
	size_t end;
	(void)string_is_closed(t, at, &end); /* if not, the end of the text is as far as it goes */
	return end;
}

size_t json_scan_value(const struct json_text *t, size_t at)
{
	size_t depth = 0;
	while (at < t->len) {
		char c = t->bytes[at];
		if (c == '"') {
			at = scan_string(t, at);
		} else if (c == '{' || c == '[') {
			depth++;
			at++;
		} else if (c == '}' || c == ']') {
			if (!depth)
				return at;
			depth--;
			at++;
		} else if (!depth && (c == ',' || is_space(c))) {
			return at;
		} else {
			at++;
			continue;
		}
		if (!depth)
			return at;
	}
	return t->len;
}

size_t json_scan_child(const struct json_text *t, size_t at, size_t n, size_t *ret_key_end)
{
	bool is_object = at < t->len && t->bytes[at] == '{';
	*ret_key_end = at;
	for (size_t i = 0;; i++) {
		at = json_scan_space(t, at < t->len ? at + 1 : at); /* past the bracket or comma */
		if (is_object) {
			*ret_key_end = scan_string(t, at);
			at = json_scan_space(t, *ret_key_end);
			at = json_scan_space(t, at < t->len ? at + 1 : at); /* past the colon */
		}
		if (i == n || at >= t->len)
			return at;
		at = json_scan_space(t, json_scan_value(t, at));
	}
}

void json_scan_position(const struct json_text *t, size_t offset, unsigned int *ret_line,
			unsigned int *ret_column)
{
	unsigned int line = 1, column = 0;
	for (size_t i = 0; i < offset && i < t->len; i++) {
		column++;
		if (t->bytes[i] == '\n') {
			line++;
			column = 0;
		}
	}
	*ret_line = line;
	*ret_column = column;
}

bool json_scan_is_deeper(const struct json_text *t, unsigned int max, size_t *ret_offset)
{
	unsigned int depth = 0;
	for (size_t at = 0; at < t->len;) {
		char c = t->bytes[at];
		if (c == '"') {
			at = scan_string(t, at);
			continue;
		}
		at++;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth)
			depth--;
		if (depth > max) {
			*ret_offset = at;
			return true;
		}
	}
	return false;
}

const char *json_scan_unfinished(const struct json_text *t)
{
	char open[256] = ""; /* brackets not closed yet; deeper text was refused before */
	size_t depth = 0;
	char last = '\0'; /* the last byte outside strings and white space */
	for (size_t at = 0; at < t->len; at++) {
		char c = t->bytes[at];
		if (c == '"') {
			size_t end;
			if (!string_is_closed(t, at, &end))
				return "a string";
			at = end - 1;
		} else if ((c == '{' || c == '[') && depth < ARRAY_SIZE(open)) {
			open[depth++] = c;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
		if (!is_space(c))
			last = c;
	}
	if (!depth || last == ':' || last == ',')
		return "a value";
	return open[depth - 1] == '{' ? "an object" : "a list";
}
