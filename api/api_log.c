/* Log lines about API requests, in Firecracker's words. No state; API thread. */
#include "api/api_log.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"

/* What a line shows of a body: the log's lines are bounded, and a body can be large. */
#define SHOWN_MAX 1024

/* "Put": how Rust prints the method. */
static const char *const method_names[API_METHOD_COUNT] = {
	[API_GET] = "Get",
	[API_PUT] = "Put",
	[API_PATCH] = "Patch",
	[API_DELETE] = "Delete",
};

/* Appends one byte of a string as Rust's {:?} shows it. At most 8 bytes; returns how many. */
static size_t put_escaped(char *out, char c)
{
	static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
	const char *special = c ? strchr(plain, c) : NULL;
	if (special)
		return (size_t)sprintf(out, "\\%c", letters[special - plain]);
	if (!c)
		return (size_t)sprintf(out, "\\0");
	if ((unsigned char)c < ' ' || c == 0x7f)
		return (size_t)sprintf(out, "\\u{%x}", (unsigned int)c);
	out[0] = c;
	return 1;
}

/* `text` in quotes; cut, with dots, where it would not fit. */
static void quote(const char *text, size_t len, char *buf, size_t size)
{
	size_t n = 0, i = 0;
	buf[n++] = '"';
	for (; i < len && n + 16 < size; i++)
		n += put_escaped(buf + n, text[i]);
	(void)snprintf(buf + n, size - n, "%s\"", i < len ? "..." : "");
}

static bool is_text(const char *bytes, size_t len)
{
	json_t *s = json_stringn(bytes, len); /* refuses what is not UTF-8 */
	json_decref(s);
	return s != NULL;
}

void api_log_request(const struct http_request *r)
{
	static const char no_text[] = "inconvertible to UTF-8";
	char path[SHOWN_MAX + 32], body[SHOWN_MAX + 32];
	if (!log_is_enabled(LOG_INFO))
		return;
	quote(r->path, strlen(r->path), path, sizeof(path));
	const char *method = method_names[r->method];
	bool is_template = !strcmp(r->path, "/cpu-config");
	if (!r->body || !strcmp(r->path, "/mmds")) {
		log_info("The API server received a %s request on %s.", method, path);
	} else if (is_template && !log_is_enabled(LOG_DEBUG)) {
		log_info("The API server received a %s request on %s. To view the CPU template "
			 "received by the API, configure log-level to DEBUG.",
			 method, path);
	} else {
		if (is_text(r->body, r->body_len))
			quote(r->body, r->body_len, body, sizeof(body));
		else
			quote(no_text, sizeof(no_text) - 1, body, sizeof(body));
		log_info("The API server received a %s request on %s with body %s.", method, path,
			 body);
	}
}

void api_log_success(unsigned int status)
{
	log_info("The request was executed successfully. Status code: %s.",
		 status == 204 ? "204 No Content" : "200 OK");
}

void api_log_fault(const struct err *e)
{
	char line[sizeof(e->text)];
	(void)snprintf(line, sizeof(line), "%s", e->text);
	for (char *p = line; *p; p++) { /* one line, whatever a client put into it */
		if ((unsigned char)*p < ' ')
			*p = ' ';
	}
	log_error("Received Error. Status code: 400 Bad Request. Message: %s", line);
}

void api_log_deprecated(enum api_method m, const char *path, const char *field)
{
	log_warn("%s %s: %s field is deprecated.", api_method_text(m), path, field);
}
