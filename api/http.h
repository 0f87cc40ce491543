/*
 * HTTP/1.1 in the dialect of Firecracker's server: request bytes in, requests out, and the bytes of
 * a response. No sockets here. The only file pair that knows which HTTP library reads the bytes.
 */
#ifndef WICK_API_HTTP_H
#define WICK_API_HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* The request line, and each header line, with its CRLF. Any number of headers; none is stored. */
#define HTTP_LINE_MAX 1024

enum api_method { API_GET, API_PUT, API_PATCH, API_DELETE, API_METHOD_COUNT };

/* "GET", as on the wire. */
const char *api_method_text(enum api_method m);

struct http_request {
	enum api_method method;
	char path[HTTP_LINE_MAX]; /* from the first '/' of the origin or absolute form; may be "" */
	char *body;               /* NULL: none; a NUL stands behind it */
	size_t body_len;
};

enum http_event {
	HTTP_EVENT_MORE,     /* all bytes were used, the request is not complete */
	HTTP_EVENT_CONTINUE, /* the client wants to see a "100" before it sends the body */
	HTTP_EVENT_REQUEST,  /* http_reader_request() has one, until the next feed */
	HTTP_EVENT_BAD       /* not a request: http_reader_error() says why, for good */
};

struct http_reader;

/* A body larger than `max_payload` is refused before memory is taken for it. 0 or -ENOMEM. */
int http_reader_create(size_t max_payload, struct http_reader **ret);
void http_reader_destroy(struct http_reader *r);

/*
 * Reads on until something happened. The caller comes back with the bytes from *ret_used on. The
 * events do not depend on how the bytes were cut into calls.
 */
enum http_event http_reader_feed(struct http_reader *r, const char *buf, size_t len,
				 size_t *ret_used);
const struct http_request *http_reader_request(const struct http_reader *r);
const char *http_reader_error(const struct http_reader *r);

struct http_response {
	unsigned int status;
	bool deprecated;  /* says "Deprecation: true" */
	const char *body; /* NULL: none */
	size_t body_len;
};

/* Head and body in fresh memory. 0 or -ENOMEM. */
int http_response_format(const struct http_response *r, char **ret, size_t *ret_len);

#endif
