/* api/http.c: any bytes, in any cut, give the same events, and requests that keep their promises. */
#include <stdlib.h>
#include <string.h>

#include "api/http.h"
#include "fuzz.h"
#include "vmm/base/bits.h"

#define MAX_PAYLOAD 300

static void check_request(const struct http_request *q)
{
	if (strlen(q->path) >= HTTP_LINE_MAX || q->body_len > MAX_PAYLOAD ||
	    !q->body != !q->body_len || (q->body && q->body[q->body_len]))
		abort();
}

/* A hash of all events, so that two ways of cutting can be compared. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t step)
{
	struct http_reader *r;
	uint64_t hash = 1;
	if (http_reader_create(MAX_PAYLOAD, &r) < 0)
		abort();
	for (size_t at = 0; at < size;) {
		size_t used;
		enum http_event ev = http_reader_feed(r, (const char *)data + at,
						      min_u64(step, size - at), &used);
		at += used;
		if (ev == HTTP_EVENT_MORE)
			continue;
		hash = hash * 31 + ev;
		if (ev == HTTP_EVENT_BAD)
			break;
		const struct http_request *q = http_reader_request(r);
		if (ev == HTTP_EVENT_REQUEST) {
			check_request(q);
			hash = hash * 31 + q->method * 7 + q->body_len + strlen(q->path);
		}
	}
	http_reader_destroy(r);
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole = read_all(data, size, SIZE_MAX);
	if (read_all(data, size, 1) != whole || read_all(data, size, 13) != whole)
		abort();
	return 0;
}
