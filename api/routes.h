/*
 * What each path and method of the API means: a table of {method, path, schema, action}. A request that fits
 * becomes a vm_request; everything else is refused here, in Firecracker's words.
 */
#ifndef WICK_API_ROUTES_H
#define WICK_API_ROUTES_H

#include "api/http.h"
#include "api/server.h"

struct api_answer {
	unsigned int status;
	bool deprecated;
	char *body; /* the receiver frees it; NULL: none */
	size_t body_len;
};

/* Answers one request. `vm` is the caller's room for a vm_request, too large for a small stack. */
void routes_serve(const struct http_request *http, api_submit_fn submit, void *arg,
		  struct vm_request *vm, struct api_answer *ret);

#endif
