/* What the API says in the log of each request: lines that Firecracker's users and tests look for. */
#ifndef WICK_API_LOG_H
#define WICK_API_LOG_H

#include "api/http.h"
#include "vmm/base/err.h"

void api_log_request(const struct http_request *r);
void api_log_success(unsigned int status);
void api_log_fault(const struct err *e);
/* A field or call that still works and will not for ever. */
void api_log_deprecated(enum api_method m, const char *path, const char *field);

#endif
