/* api/http.c: requests out of bytes, however the bytes are cut, and the bytes of responses. */
#include "api/http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

#define MAX_PAYLOAD 64

/* What a reader made of some bytes, as text: "PUT /x [body]\n", "100\n", "BAD message\n". */
struct trace {
	char text[8192];
	size_t len;
};

static void put_event(struct trace *t, const struct http_reader *r, enum http_event ev)
{
	const struct http_request *q = http_reader_request(r);
	char *at = t->text + t->len;
	size_t room = sizeof(t->text) - t->len;
	int n = 0;
	if (ev == HTTP_EVENT_CONTINUE)
		n = snprintf(at, room, "100\n");
	else if (ev == HTTP_EVENT_BAD)
		n = snprintf(at, room, "BAD %s\n", http_reader_error(r));
	else if (ev == HTTP_EVENT_REQUEST)
		n = snprintf(at, room, "%s %s %s%s%s\n", api_method_text(q->method), q->path,
			     q->body ? "[" : "-", q->body ? q->body : "", q->body ? "]" : "");
	t->len += (size_t)n;
}

/* Feeds as a server does: comes back with what was not used, stops at the first BAD. */
static bool feed(struct trace *t, struct http_reader *r, const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		/* a copy of the exact size: ASan sees any read behind it */
		char *copy = malloc(len - at);
		memcpy(copy, bytes + at, len - at);
		size_t used;
		enum http_event ev = http_reader_feed(r, copy, len - at, &used);
		free(copy);
		put_event(t, r, ev);
		if (ev == HTTP_EVENT_BAD)
			return false;
		at += used;
	}
	return true;
}

static void read_in_steps(struct trace *t, const char *bytes, size_t len, size_t step)
{
	struct http_reader *r;
	*t = (struct trace){ .len = 0 };
	cr_assert_eq(http_reader_create(MAX_PAYLOAD, &r), 0);
	for (size_t at = 0; at < len; at += step) {
		if (!feed(t, r, bytes + at, min_u64(step, len - at)))
			break;
	}
	http_reader_destroy(r);
}

#define H "HTTP/1.1\r\n"
#define E "\r\n\r\n"

struct row {
	const char *claim, *bytes, *want;
};

static const struct row rows[] = {
	{ "the smallest request", "GET / " H "\r\n", "GET / -\n" },
	{ "HTTP/1.0 is spoken", "GET /version HTTP/1.0" E, "GET /version -\n" },
	{ "curl's headers",
	  "GET /vm/config " H "Host: localhost\r\nUser-Agent: curl\r\nAccept: */*" E,
	  "GET /vm/config -\n" },
	{ "absolute form loses scheme and host", "GET http://localhost/machine-config " H "\r\n",
	  "GET /machine-config -\n" },
	{ "absolute form with a port", "GET http://h:80/a/b " H "\r\n", "GET /a/b -\n" },
	{ "absolute form without a path has none", "GET http://localhost " H "\r\n", "GET  -\n" },
	{ "a query belongs to the path", "GET /a?b=c " H "\r\n", "GET /a?b=c -\n" },
	{ "PUT with a body", "PUT /x " H "Content-Length: 2" E "{}", "PUT /x [{}]\n" },
	{ "PATCH with a body", "PATCH /x " H "content-length:3" E "{ }", "PATCH /x [{ }]\n" },
	{ "DELETE", "DELETE /drives/a " H "\r\n", "DELETE /drives/a -\n" },
	{ "length 0 is no body", "PUT /x " H "Content-Length: 0" E, "PUT /x -\n" },
	{ "a GET with a body is read whole", "GET /x " H "Content-Length: 2" E "{}GET / " H "\r\n",
	  "GET /x [{}]\nGET / -\n" },
	{ "pipelined requests",
	  "PUT /a " H "Content-Length: 1" E "1PUT /b " H "Content-Length: 1" E "2GET /c " H "\r\n",
	  "PUT /a [1]\nPUT /b [2]\nGET /c -\n" },
	{ "100-continue comes before the body",
	  "PUT /a " H "Expect: 100-continue\r\nContent-Length: 1" E "1", "100\nPUT /a [1]\n" },
	{ "100-continue without a body is nothing", "PUT /a " H "Expect: 100-continue" E,
	  "PUT /a -\n" },
	{ "another expectation is ignored", "PUT /a " H "Expect: tea\r\nContent-Length: 1" E "1",
	  "PUT /a [1]\n" },
	{ "Connection: close is ignored", "GET /a " H "Connection: close" E "GET /b " H "\r\n",
	  "GET /a -\nGET /b -\n" },
	{ "an upgrade is ignored",
	  "GET /a " H "Connection: Upgrade\r\nUpgrade: h2c" E "GET /b " H "\r\n",
	  "GET /a -\nGET /b -\n" },
	{ "chunked is not decoded: the request has no body",
	  "PUT /a " H "Transfer-Encoding: chunked" E "0" E,
	  "PUT /a -\nBAD Invalid HTTP Method: Unsupported HTTP method.\n" },
	{ "Content-Length wins over chunked",
	  "PUT /a " H "Transfer-Encoding: chunked\r\nContent-Length: 1" E "1", "PUT /a [1]\n" },
	{ "a body at the limit",
	  "PUT /a " H "Content-Length: 64" E
	  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	  "PUT /a [0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef]\n" },
	{ "a body over the limit is refused by its length alone",
	  "PUT /a " H "Content-Length: 65" E,
	  "BAD Request payload with size 65 is larger than the limit of 64 allowed by server.\n" },
	{ "the largest length", "PUT /a " H "Content-Length: 4294967295" E,
	  "BAD Request payload with size 4294967295 is larger than the limit of 64 allowed by "
	  "server.\n" },
	{ "a length of 2^32", "PUT /a " H "Content-Length: 4294967296" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Content-Length; Value: 4294967296\n" },
	{ "a length of 2^64", "PUT /a " H "Content-Length: 18446744073709551616" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Content-Length; Value: "
	  "18446744073709551616\n" },
	{ "a negative length", "PUT /a " H "Content-Length: -1" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Content-Length; Value: -1\n" },
	{ "an empty length", "PUT /a " H "Content-Length:" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Content-Length; Value:\n" },
	{ "two lengths", "PUT /a " H "Content-Length: 1\r\nContent-Length: 1" E,
	  "BAD Invalid request.\n" },
	{ "POST is unknown", "POST / " H "\r\n",
	  "BAD Invalid HTTP Method: Unsupported HTTP method.\n" },
	{ "an invented method", "FETCH / " H "\r\n",
	  "BAD Invalid HTTP Method: Unsupported HTTP method.\n" },
	{ "methods are upper case", "get / " H "\r\n",
	  "BAD Invalid HTTP Method: Unsupported HTTP method.\n" },
	{ "HTTP/2.0", "GET / HTTP/2.0" E, "BAD Invalid HTTP Version: Unsupported HTTP version.\n" },
	{ "HTTP/1.2", "GET / HTTP/1.2" E, "BAD Invalid HTTP Version: Unsupported HTTP version.\n" },
	{ "HTTP/0.9", "GET /" E, "BAD Invalid request.\n" },
	{ "no URI that is one", "GET x " H "\r\n", "BAD Invalid URI: Cannot parse URI.\n" },
	{ "an empty line is no request", "\r\nGET / " H "\r\n", "BAD Invalid request.\n" },
	{ "a line feed alone ends no line", "GET / HTTP/1.1\n\n", "BAD Invalid request.\n" },
	{ "a header without colon", "GET / " H "nonsense" E,
	  "BAD Invalid header. Reason: Header is incorrectly formatted. Key: nonsense\n" },
	{ "a header without name", "GET / " H ": x" E, "BAD Invalid request.\n" },
	{ "a folded header", "GET / " H "A: b\r\n c: d" E, "BAD Invalid request.\n" },
	{ "identity refused", "GET / " H "Accept-Encoding: gzip, identity;q=0" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Accept-Encoding; Value: identity;q=0\n" },
	{ "everything refused", "GET / " H "Accept-Encoding: *;q=0" E,
	  "BAD Invalid header. Reason: Invalid value. Key:Accept-Encoding; Value:*;q=0\n" },
	{ "everything but identity refused", "GET / " H "Accept-Encoding: identity, *;q=0" E,
	  "GET / -\n" },
	{ "compression offered", "GET / " H "Accept-Encoding: gzip, deflate" E, "GET / -\n" },
	{ "an empty Accept-Encoding", "GET / " H "Accept-Encoding:" E, "BAD Invalid request.\n" },
	{ "no event before the end", "PUT /a " H "Content-Length: 5" E "1234", "" },
};

Test(http, each_row_reads_as_it_should)
{
	struct trace t;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		read_in_steps(&t, rows[i].bytes, strlen(rows[i].bytes), SIZE_MAX / 2);
		cr_expect_str_eq(t.text, rows[i].want, "%s: got %s", rows[i].claim, t.text);
	}
}

Test(http, any_step_gives_the_same)
{
	struct trace t;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t step = 1; step < 9; step++) {
			read_in_steps(&t, rows[i].bytes, strlen(rows[i].bytes), step);
			cr_expect_str_eq(t.text, rows[i].want, "%s in steps of %zu: got %s",
					 rows[i].claim, step, t.text);
		}
	}
}

Test(http, any_split_in_two_gives_the_same)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = strlen(rows[i].bytes);
		for (size_t cut = 0; cut <= len; cut++) {
			struct trace t = { .len = 0 };
			struct http_reader *r;
			cr_assert_eq(http_reader_create(MAX_PAYLOAD, &r), 0);
			if (feed(&t, r, rows[i].bytes, cut))
				(void)feed(&t, r, rows[i].bytes + cut, len - cut);
			http_reader_destroy(r);
			cr_expect_str_eq(t.text, rows[i].want, "%s cut at %zu: got %s",
					 rows[i].claim, cut, t.text);
		}
	}
}

/* "GET /aaa… HTTP/1.1\r\n" of `len` bytes, then the end of the headers. */
static size_t long_request_line(char *buf, size_t len)
{
	static const char tail[] = " HTTP/1.1\r\n";
	memset(buf, 'a', len);
	memcpy(buf, "GET /", 5);
	memcpy(buf + len - strlen(tail), tail, strlen(tail));
	memcpy(buf + len, "\r\n", 2);
	return len + 2;
}

static size_t long_header_line(char *buf, size_t len)
{
	static const char head[] = "GET / HTTP/1.1\r\n";
	memcpy(buf, head, strlen(head));
	char *line = buf + strlen(head);
	memset(line, 'v', len);
	memcpy(line, "X: ", 3);
	memcpy(line + len - 2, "\r\n\r\n", 4);
	return strlen(head) + len + 2;
}

Test(http, a_line_may_have_1024_bytes_and_not_one_more)
{
	static const size_t steps[] = { 1, 7, 1000, 1024, 1025, 4096 };
	char buf[2048];
	struct trace t;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		read_in_steps(&t, buf, long_request_line(buf, 1024), steps[i]);
		cr_expect(!strncmp(t.text, "GET /aaa", 8), "request line of 1024: %s", t.text);
		read_in_steps(&t, buf, long_request_line(buf, 1025), steps[i]);
		cr_expect_str_eq(t.text, "BAD Invalid request.\n");
		read_in_steps(&t, buf, long_header_line(buf, 1024), steps[i]);
		cr_expect_str_eq(t.text, "GET / -\n");
		read_in_steps(&t, buf, long_header_line(buf, 1025), steps[i]);
		cr_expect(
			!strncmp(t.text,
				 "BAD Invalid header. Reason: Invalid content length. Header: X: v",
				 62),
			"header line of 1025: %.80s", t.text);
	}
}

Test(http, many_headers_are_fine)
{
	static char buf[256 * 1024]; /* http-parser itself would stop at 80 KiB */
	struct trace t;
	size_t n = (size_t)sprintf(buf, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 12000; i++)
		n += (size_t)sprintf(buf + n, "X-%d: y\r\n", i);
	n += (size_t)sprintf(buf + n, "\r\n");
	read_in_steps(&t, buf, n, 4096);
	cr_expect_str_eq(t.text, "GET / -\n");
}

Test(http, any_single_byte_in_any_place_is_survived)
{
	static const char base[] = "PUT /a " H "Content-Length: 1\r\nExpect: x" E "1";
	struct trace t;
	for (size_t at = 0; at < sizeof(base) - 1; at++) {
		for (int byte = 0; byte < 256; byte++) {
			char buf[sizeof(base)];
			memcpy(buf, base, sizeof(base));
			buf[at] = (char)byte;
			read_in_steps(&t, buf, sizeof(base) - 1, 4096);
			struct trace bytewise;
			read_in_steps(&bytewise, buf, sizeof(base) - 1, 1);
			cr_expect_str_eq(bytewise.text, t.text, "byte %02x at %zu", byte, at);
		}
	}
}

Test(http, a_bad_reader_stays_bad)
{
	struct http_reader *r;
	size_t used;
	cr_assert_eq(http_reader_create(MAX_PAYLOAD, &r), 0);
	cr_expect_eq(http_reader_feed(r, "\r\n", 2, &used), HTTP_EVENT_BAD);
	cr_expect_eq(http_reader_feed(r, "GET / " H "\r\n", 18, &used), HTTP_EVENT_BAD);
	cr_expect_eq(used, 18);
	http_reader_destroy(r);
}

Test(http, nothing_is_what_destroy_accepts)
{
	http_reader_destroy(NULL);
}

struct response_row {
	const char *claim;
	struct http_response response;
	const char *want;
};

Test(http, responses_are_firecrackers_byte_for_byte)
{
	static const struct response_row responses[] = {
		{ "204 has neither type nor length",
		  { .status = 204 },
		  "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n" },
		{ "100 likewise",
		  { .status = 100 },
		  "HTTP/1.1 100 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n" },
		{ "200 with a body",
		  { 200, false, "{}", 2 },
		  "HTTP/1.1 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		  "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" },
		{ "deprecation stands before the type",
		  { 400, true, "x", 1 },
		  "HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		  "Deprecation: true\r\nContent-Type: application/json\r\nContent-Length: 1\r\n"
		  "\r\nx" },
		{ "a deprecated 204",
		  { .status = 204, .deprecated = true },
		  "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
		  "Deprecation: true\r\n\r\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
		const struct response_row *r = &responses[i];
		char *out;
		size_t len;
		cr_assert_eq(http_response_format(&r->response, &out, &len), 0);
		cr_expect_eq(len, strlen(r->want), "%s", r->claim);
		cr_expect(!memcmp(out, r->want, strlen(r->want)), "%s", r->claim);
		free(out);
	}
}
