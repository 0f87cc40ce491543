/* api/json_*.c, api/schema_*.c, api/routes.c: any body, to any of the routes that read one. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "api/routes.h"
#include "fuzz.h"
#include "vmm/base/bits.h"
#include "vmm/base/log.h"

static void submit(void *arg, struct vm_request *r)
{
	(void)arg;
	r->rc = 0;
}

static void serve(enum api_method method, const char *path, const uint8_t *data, size_t size)
{
	static struct vm_request room;
	static struct http_request http;
	struct api_answer a;
	char *body = malloc(size + 1);
	if (!body)
		abort();
	memcpy(body, data, size);
	body[size] = '\0';
	http.method = method;
	strcpy(http.path, path);
	http.body = body;
	http.body_len = size;
	routes_serve(&http, submit, NULL, &room, &a);
	free(body);
	if (a.status != 204) { /* every answer with a body is JSON */
		json_error_t e;
		json_t *j = json_loadb(a.body, a.body_len, 0, &e);
		if (!j || a.status != 400)
			abort();
		json_decref(j);
	}
	free(a.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "/actions", "/boot-source",    "/drives/a", "/entropy",
					     "/logger",  "/machine-config", "/serial" };
	static const struct log_config quiet = { .has_level = true, .level = LOG_OFF };
	static int is_quiet;
	struct err e;
	if (!is_quiet)
		is_quiet = log_configure(&quiet, &e) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		serve(API_PUT, paths[i], data, size);
	serve(API_PATCH, "/machine-config", data, size);
	serve(API_PATCH, "/vm", data, size);
	return 0;
}
