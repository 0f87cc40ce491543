/*
 * One client of the API: bytes in, requests answered one after the other, bytes out. Never blocks; at most one
 * answer waits to be sent, and nothing more is read until it is gone.
 */
#ifndef WICK_API_CONN_H
#define WICK_API_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "api/routes.h"

/* What every connection of a server shares. */
struct conn_service {
	api_submit_fn submit;
	void *arg;
	struct vm_request *request; /* room for one: requests are served one at a time */
};

struct conn;

/* Takes over `fd`, a non-blocking stream socket, in any case. 0 or -ENOMEM. */
int conn_create(int fd, size_t max_payload, struct conn **ret);
/* NULL is fine. */
void conn_destroy(struct conn *c);

int conn_fd(const struct conn *c);
/* The epoll events it waits for now. */
uint32_t conn_events(const struct conn *c);
/* Goes on as far as it can. False: the connection is over, destroy it. */
bool conn_run(struct conn *c, uint32_t events, const struct conn_service *service);

#endif
