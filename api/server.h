/*
 * The API server: HTTP/1.1 over a unix stream socket, one thread ("fc_api"), strictly serial.
 * Firecracker's transport as the contract's 1.1 describes it.
 */
#ifndef WICK_API_SERVER_H
#define WICK_API_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/control.h"

struct api_config {
	const char *socket_path;
	size_t max_payload; /* bytes of a request body */
};

struct api_server;

/* Does the work of a parsed request; blocks until it is answered. In wick: mailbox_post. */
typedef void (*api_submit_fn)(void *arg, struct vm_request *r);

/*
 * Binds and listens; fails if the path exists ("Failed to open the API socket at: P. Check that it is not
 * already used."). Nothing is served before api_server_start.
 */
int api_server_create(const struct api_config *config, api_submit_fn submit, void *arg,
		      struct api_server **ret, struct err *e);
int api_server_start(struct api_server *s, struct err *e);
/* Ends the thread, closes connections; the socket file stays (clients remove it). */
void api_server_destroy(struct api_server *s);

#endif
