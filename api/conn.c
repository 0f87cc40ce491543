/*
 * A client's connection (struct conn). Owner: the server, on the API thread. Its memory is bounded: the input
 * chunk, the HTTP reader's line and one body, and one answer.
 */
#include "api/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define CHUNK_BYTES 4096

struct conn {
	int fd;
	struct http_reader *reader;
	char in[CHUNK_BYTES];
	size_t in_used, in_len; /* in[in_used, in_len) is still to be read */
	char *out;              /* the answer being sent; NULL: none */
	size_t out_sent, out_len;
	bool is_at_eof;   /* the client will not send more, but may still listen */
	bool is_draining; /* no request will be read any more: what comes is thrown away */
};

int conn_create(int fd, size_t max_payload, struct conn **ret)
{
	cleanup_close int owned = fd;
	cleanup_free struct conn *c = calloc(1, sizeof(*c));
	if (!c || http_reader_create(max_payload, &c->reader) < 0)
		return -ENOMEM;
	c->fd = take_fd(&owned);
	*ret = take_ptr(&c);
	return 0;
}

void conn_destroy(struct conn *c)
{
	if (!c)
		return;
	close_fd(&c->fd);
	http_reader_destroy(c->reader);
	free(c->out);
	free(c);
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

uint32_t conn_events(const struct conn *c)
{
	return c->out ? EPOLLOUT : EPOLLIN;
}

/* --- out -------------------------------------------------------------------------------------- */

/* Sends what the socket takes. False: the client is gone. */
static bool flush(struct conn *c)
{
	while (c->out) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->out_sent += (size_t)n;
		if (c->out_sent < c->out_len)
			continue;
		free(c->out);
		c->out = NULL;
		if (c->is_draining && shutdown(c->fd, SHUT_WR) < 0)
			return false;
	}
	return true;
}

static bool queue_answer(struct conn *c, const struct http_response *r)
{
	c->out_sent = 0;
	return http_response_format(r, &c->out, &c->out_len) == 0 && flush(c);
}

/* --- requests --------------------------------------------------------------------------------- */

static bool serve_request(struct conn *c, const struct conn_service *service)
{
	struct api_answer answer;
	uint64_t start_us = clock_monotonic_us();
	routes_serve(http_reader_request(c->reader), service->submit, service->arg,
		     service->request, &answer);
	const struct http_response r = { answer.status, answer.deprecated, answer.body,
					 answer.body_len };
	bool ok = queue_answer(c, &r);
	free(answer.body);
	log_debug("Total previous API call duration: %llu us.",
		  (unsigned long long)(clock_monotonic_us() - start_us));
	return ok;
}

/*
 * Where the next request would begin is unknown after bytes that are none: the answer is the last
 * one, then the socket is half closed. What the client still sends is read and thrown away, so that
 * it can finish sending and gets to see the answer.
 */
static bool refuse_bytes(struct conn *c)
{
	char body[HTTP_LINE_MAX + 256];
	int n = snprintf(body, sizeof(body),
			 "{ \"error\": \"%s\nAll previous unanswered requests will be dropped.\" }",
			 http_reader_error(c->reader));
	const struct http_response r = { 400, false, body, (size_t)n };
	log_error("The API server could not parse a request: %s", http_reader_error(c->reader));
	c->is_draining = true;
	return queue_answer(c, &r);
}

/* Serves what has arrived, until an answer has to wait. False: the connection is over. */
static bool serve_input(struct conn *c, const struct conn_service *service)
{
	bool ok = true;
	while (ok && !c->out && !c->is_draining && c->in_used < c->in_len) {
		size_t used;
		switch (http_reader_feed(c->reader, c->in + c->in_used, c->in_len - c->in_used,
					 &used)) {
		case HTTP_EVENT_MORE:
			break;
		case HTTP_EVENT_CONTINUE:
			ok = queue_answer(c, &(struct http_response){ .status = 100 });
			break;
		case HTTP_EVENT_REQUEST:
			ok = serve_request(c, service);
			break;
		case HTTP_EVENT_BAD:
			ok = refuse_bytes(c);
			break;
		}
		c->in_used += used;
	}
	return ok;
}

/* --- in --------------------------------------------------------------------------------------- */

/* Plain recv: descriptors that a client passes along (SCM_RIGHTS) are dropped by the kernel. */
static bool receive(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_used = 0;
	c->in_len = c->is_draining ? 0 : (size_t)n;
	c->is_at_eof = n == 0;
	return true;
}

bool conn_run(struct conn *c, uint32_t events, const struct conn_service *service)
{
	/* A hang-up shows in send or recv, behind what the client sent before it. */
	if (!flush(c) || !serve_input(c, service))
		return false;
	if (!c->out && (events & ~(uint32_t)EPOLLOUT) && (!receive(c) || !serve_input(c, service)))
		return false;
	return c->out || !c->is_at_eof;
}
