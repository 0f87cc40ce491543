/*
 * HTTP requests from bytes, by Debian's http-parser, and responses to bytes. Owner: the API thread.
 *
 * Lines are gathered here and given to the library whole: that keeps Firecracker's limit per line,
 * makes the result independent of how the bytes arrive, and lets headers that Firecracker ignores
 * (Connection, Upgrade, Transfer-Encoding) not change what the library does. The library checks
 * methods, URIs, versions, header tokens and Content-Length, and frames the body. Memory per
 * connection is this struct and one body of a size that was checked.
 */
#include "api/http.h"

#include <errno.h>
#include <http_parser.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "vmm/base/bits.h"

enum stage { STAGE_REQUEST_LINE, STAGE_HEADERS, STAGE_BODY, STAGE_DONE, STAGE_BAD };

struct http_reader {
	http_parser parser;
	enum stage stage;
	size_t max_payload;
	size_t line_len;
	char line[HTTP_LINE_MAX + 1];
	uint32_t content_length;
	bool expects_continue;
	bool is_complete; /* the library saw the end of the message */
	struct http_request request;
	char error[HTTP_LINE_MAX + 128];
};

static const char *const method_texts[API_METHOD_COUNT] = {
	[API_GET] = "GET",
	[API_PUT] = "PUT",
	[API_PATCH] = "PATCH",
	[API_DELETE] = "DELETE",
};

const char *api_method_text(enum api_method m)
{
	return method_texts[m];
}

static enum http_event bad(struct http_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static enum http_event bad(struct http_reader *r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(r->error, sizeof(r->error), fmt, ap); /* cut is fine: a person reads it */
	va_end(ap);
	for (char *p = r->error; *p; p++) { /* it goes into an answer and a log line: text only */
		if (*p < ' ' || *p > '~')
			*p = '?';
	}
	r->stage = STAGE_BAD;
	return HTTP_EVENT_BAD;
}

/* --- what the library calls ------------------------------------------------------------------- */

/* The path of "/path" or "http://host/path"; anything else has none, as in Firecracker. */
static int on_url(http_parser *p, const char *at, size_t len)
{
	static const char scheme[] = "http://";
	const size_t scheme_len = sizeof(scheme) - 1;
	struct http_reader *r = p->data;
	if (len >= scheme_len && !memcmp(at, scheme, scheme_len)) {
		const char *slash = memchr(at + scheme_len, '/', len - scheme_len);
		len = slash ? len - (size_t)(slash - at) : 0;
		at = slash;
	} else if (len && at[0] != '/') {
		len = 0;
	}
	if (len)
		memcpy(r->request.path, at, len); /* shorter than the line it came from */
	r->request.path[len] = '\0';
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct http_reader *r = p->data;
	if (!r->request.body || len > r->content_length - r->request.body_len)
		return -1; /* the library sees a body where the headers, as read here, have none */
	memcpy(r->request.body + r->request.body_len, at, len);
	r->request.body_len += len;
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct http_reader *r = p->data;
	r->is_complete = true;
	return 0;
}

static const http_parser_settings callbacks = {
	.on_url = on_url,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

static bool library_accepts(struct http_reader *r, const char *bytes, size_t len)
{
	size_t used = http_parser_execute(&r->parser, &callbacks, bytes, len);
	return used == len && HTTP_PARSER_ERRNO(&r->parser) == HPE_OK;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void begin_request(struct http_reader *r)
{
	free(r->request.body);
	r->request = (struct http_request){ 0 };
	http_parser_init(&r->parser, HTTP_REQUEST);
	r->parser.data = r;
	r->stage = STAGE_REQUEST_LINE;
	r->line_len = 0;
	r->content_length = 0;
	r->expects_continue = false;
	r->is_complete = false;
}

static enum http_event refuse_request_line(struct http_reader *r)
{
	switch (HTTP_PARSER_ERRNO(&r->parser)) {
	case HPE_INVALID_METHOD:
		return bad(r, "Invalid HTTP Method: Unsupported HTTP method.");
	case HPE_INVALID_URL:
		return bad(r, "Invalid URI: Cannot parse URI.");
	case HPE_INVALID_VERSION:
		return bad(r, "Invalid HTTP Version: Unsupported HTTP version.");
	default:
		return bad(r, "Invalid request.");
	}
}

static enum http_event read_request_line(struct http_reader *r)
{
	static const unsigned char methods[API_METHOD_COUNT] = {
		[API_GET] = HTTP_GET,
		[API_PUT] = HTTP_PUT,
		[API_PATCH] = HTTP_PATCH,
		[API_DELETE] = HTTP_DELETE,
	};
	if (r->line_len == 2) /* the library would skip an empty line */
		return bad(r, "Invalid request.");
	if (!library_accepts(r, r->line, r->line_len))
		return refuse_request_line(r);

	unsigned int m = 0;
	while (m < API_METHOD_COUNT && methods[m] != r->parser.method)
		m++;
	if (m == API_METHOD_COUNT)
		return bad(r, "Invalid HTTP Method: Unsupported HTTP method.");
	if (r->parser.http_major == 0) /* "GET /": HTTP/0.9 has no version */
		return bad(r, "Invalid request.");
	if (r->parser.http_major != 1 || r->parser.http_minor > 1)
		return bad(r, "Invalid HTTP Version: Unsupported HTTP version.");
	r->request.method = (enum api_method)m;
	r->stage = STAGE_HEADERS;
	return HTTP_EVENT_MORE;
}

/* One header line, as it stands in r->line. The value is not yet trimmed. */
struct header {
	const char *name, *value;
	size_t name_len, value_len;
};

static void trim(const char **text, size_t *len)
{
	while (*len && strchr(" \t", (*text)[0])) {
		(*text)++;
		(*len)--;
	}
	while (*len && strchr(" \t", (*text)[*len - 1]))
		(*len)--;
}

static bool text_equals(const char *text, size_t len, const char *want)
{
	return len == strlen(want) && !memcmp(text, want, len);
}

static bool header_is(const struct header *h, const char *name)
{
	return h->name_len == strlen(name) && !strncasecmp(h->name, name, h->name_len);
}

static enum http_event bad_value(struct http_reader *r, const struct header *h)
{
	return bad(r, "Invalid header. Reason: Invalid value. Key:%.*s; Value:%.*s",
		   (int)h->name_len, h->name, (int)h->value_len, h->value);
}

static enum http_event read_content_length(struct http_reader *r, const struct header *h)
{
	const char *digits = h->value;
	size_t len = h->value_len;
	trim(&digits, &len);
	uint64_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return bad_value(r, h);
		n = n * 10 + (unsigned int)(digits[i] - '0');
		if (n > UINT32_MAX)
			return bad_value(r, h);
	}
	if (!len)
		return bad_value(r, h);
	r->content_length = (uint32_t)n;
	return HTTP_EVENT_MORE;
}

/* Bodies are only ever sent as they are: a client that refuses "identity" is refused. */
static enum http_event read_accept_encoding(struct http_reader *r, const struct header *h)
{
	static const char identity[] = "identity";
	const char *all = h->value;
	size_t all_len = h->value_len;
	trim(&all, &all_len);
	if (!all_len)
		return bad(r, "Invalid request.");
	bool names_identity = memmem(all, all_len, identity, sizeof(identity) - 1);
	for (const char *item = all, *end = all + all_len; item <= end;) {
		const char *comma = memchr(item, ',', (size_t)(end - item));
		const char *text = item;
		size_t len = (size_t)((comma ? comma : end) - item);
		struct header as_printed = { "Accept-Encoding", item, 15, len };
		trim(&text, &len);
		if (text_equals(text, len, "identity;q=0") ||
		    (text_equals(text, len, "*;q=0") && !names_identity))
			return bad_value(r, &as_printed);
		item = comma ? comma + 1 : end + 1;
	}
	return HTTP_EVENT_MORE;
}

/* What Firecracker takes no notice of; the library would. */
static bool is_ignored(const struct header *h)
{
	static const char *const names[] = { "Connection", "Proxy-Connection", "Upgrade",
					     "Transfer-Encoding" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (header_is(h, names[i]))
			return true;
	}
	return false;
}

static enum http_event read_header(struct http_reader *r)
{
	const char *colon = memchr(r->line, ':', r->line_len);
	if (!colon)
		return bad(r, "Invalid header. Reason: Header is incorrectly formatted. Key: %.*s",
			   (int)(r->line_len - 2), r->line);
	/* A folded line would continue the header before it, which may have been read already. */
	if (strchr(" \t", r->line[0]))
		return bad(r, "Invalid request.");

	struct header h = { .name = r->line, .value = colon + 1 };
	h.name_len = (size_t)(colon - r->line);
	h.value_len = r->line_len - 2 - h.name_len - 1;
	enum http_event ev = HTTP_EVENT_MORE;
	if (header_is(&h, "Content-Length")) {
		ev = read_content_length(r, &h);
	} else if (header_is(&h, "Accept-Encoding")) {
		ev = read_accept_encoding(r, &h);
	} else if (header_is(&h, "Expect")) {
		const char *value = h.value;
		size_t len = h.value_len;
		trim(&value, &len);
		r->expects_continue |= text_equals(value, len, "100-continue");
	}
	if (ev == HTTP_EVENT_MORE && !is_ignored(&h) && !library_accepts(r, r->line, r->line_len))
		return bad(r, "Invalid request.");
	return ev;
}

static enum http_event end_headers(struct http_reader *r)
{
	if (r->content_length > r->max_payload)
		return bad(r,
			   "Request payload with size %u is larger than the limit of %zu allowed "
			   "by server.",
			   r->content_length, r->max_payload);
	if (r->content_length) {
		r->request.body = malloc((size_t)r->content_length + 1);
		if (!r->request.body)
			return bad(r, "No memory for a payload of size %u.", r->content_length);
		r->request.body[r->content_length] = '\0';
	}
	if (!library_accepts(r, r->line, r->line_len) ||
	    r->is_complete != (r->content_length == 0)) /* framing is a matter of agreement */
		return bad(r, "Invalid request.");
	r->stage = r->content_length ? STAGE_BODY : STAGE_DONE;
	if (r->stage == STAGE_DONE)
		return HTTP_EVENT_REQUEST;
	return r->expects_continue ? HTTP_EVENT_CONTINUE : HTTP_EVENT_MORE;
}

static enum http_event refuse_long_line(struct http_reader *r)
{
	if (r->stage == STAGE_REQUEST_LINE)
		return bad(r, "Invalid request.");
	return bad(r, "Invalid header. Reason: Invalid content length. Header: %.*s",
		   (int)r->line_len, r->line);
}

static enum http_event read_line(struct http_reader *r, const char *buf, size_t len, size_t *used)
{
	const char *start = buf + *used;
	size_t n = min_u64(len - *used, HTTP_LINE_MAX - r->line_len);
	const char *lf = memchr(start, '\n', n);
	if (lf)
		n = (size_t)(lf - start) + 1;
	memcpy(r->line + r->line_len, start, n);
	r->line_len += n;
	*used += n;
	if (!lf)
		return r->line_len == HTTP_LINE_MAX ? refuse_long_line(r) : HTTP_EVENT_MORE;
	if (r->line_len < 2 || r->line[r->line_len - 2] != '\r')
		return bad(r, "Invalid request.");

	enum http_event ev;
	if (r->stage == STAGE_REQUEST_LINE)
		ev = read_request_line(r);
	else if (r->line_len > 2)
		ev = read_header(r);
	else
		ev = end_headers(r);
	r->line_len = 0;
	return ev;
}

static enum http_event read_body(struct http_reader *r, const char *buf, size_t len, size_t *used)
{
	size_t n = min_u64(len - *used, r->content_length - r->request.body_len);
	if (!library_accepts(r, buf + *used, n))
		return bad(r, "Invalid request.");
	*used += n;
	if (r->request.body_len < r->content_length)
		return HTTP_EVENT_MORE;
	if (!r->is_complete)
		return bad(r, "Invalid request.");
	r->stage = STAGE_DONE;
	return HTTP_EVENT_REQUEST;
}

/* --- public ----------------------------------------------------------------------------------- */

int http_reader_create(size_t max_payload, struct http_reader **ret)
{
	struct http_reader *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	/* The library's own limit, for all parsers: off. Lines are limited here, their number is not. */
	http_parser_set_max_header_size(UINT32_MAX);
	r->max_payload = max_payload;
	begin_request(r);
	*ret = r;
	return 0;
}

void http_reader_destroy(struct http_reader *r)
{
	if (!r)
		return;
	free(r->request.body);
	free(r);
}

enum http_event http_reader_feed(struct http_reader *r, const char *buf, size_t len,
				 size_t *ret_used)
{
	enum http_event ev = HTTP_EVENT_MORE;
	size_t used = 0;
	if (r->stage == STAGE_DONE)
		begin_request(r);
	while (used < len && ev == HTTP_EVENT_MORE) {
		if (r->stage == STAGE_BAD) {
			used = len;
			ev = HTTP_EVENT_BAD;
		} else if (r->stage == STAGE_BODY) {
			ev = read_body(r, buf, len, &used);
		} else {
			ev = read_line(r, buf, len, &used);
		}
	}
	*ret_used = used;
	return ev;
}

const struct http_request *http_reader_request(const struct http_reader *r)
{
	return &r->request;
}

const char *http_reader_error(const struct http_reader *r)
{
	return r->error;
}

int http_response_format(const struct http_response *r, char **ret, size_t *ret_len)
{
	/* 100 and 204 never have a body; everything else says its length, 0 too. */
	bool has_length = r->status != 100 && r->status != 204;
	char length[96] = "";
	if (has_length)
		(void)snprintf(length, sizeof(length),
			       "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			       r->body_len);
	char head[256]; /* no reason phrase, but its space: what clients see from Firecracker */
	int head_len = snprintf(head, sizeof(head),
				"HTTP/1.1 %u \r\nServer: Firecracker API\r\n"
				"Connection: keep-alive\r\n%s%s\r\n",
				r->status, r->deprecated ? "Deprecation: true\r\n" : "", length);
	size_t body_len = has_length ? r->body_len : 0;
	char *out = malloc((size_t)head_len + body_len + 1);
	if (!out)
		return -ENOMEM;
	memcpy(out, head, (size_t)head_len);
	if (body_len)
		memcpy(out + head_len, r->body, body_len);
	*ret = out;
	*ret_len = (size_t)head_len + body_len;
	return 0;
}
