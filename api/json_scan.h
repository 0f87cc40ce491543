/*
 * Where things stand in JSON text: jansson says what a document holds but not where, and a user
 * wants line and column. Works on text alone; nothing is allocated, and the length bounds every
 * step.
 */
#ifndef WICK_API_JSON_SCAN_H
#define WICK_API_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct json_text {
	const char *bytes;
	size_t len;
};

/* Offset of the first byte at or after `at` that is not white space. */
size_t json_scan_space(const struct json_text *t, size_t at);

/* For text that parsed. `at` is where a value starts; returns the offset behind it. */
size_t json_scan_value(const struct json_text *t, size_t at);

/*
 * For text that parsed. `at` is where an object or array starts; returns where its n-th value (from
 * 0) starts, and for objects the offset behind that value's key.
 */
size_t json_scan_child(const struct json_text *t, size_t at, size_t n, size_t *ret_key_end);

/* Line and column (from 1) of the byte before `offset`, which is how serde_json counts. */
void json_scan_position(const struct json_text *t, size_t offset, unsigned int *ret_line,
			unsigned int *ret_column);

/* Is some value nested deeper than `max`? Then *ret_offset is behind the first bracket too many. */
bool json_scan_is_deeper(const struct json_text *t, unsigned int max, size_t *ret_offset);

/* What was read when the text ended too early: "an object", "a list", "a string", "a value". */
const char *json_scan_unfinished(const struct json_text *t);

#endif
