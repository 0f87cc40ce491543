/* --config-file: the same bodies as the API's, in one JSON object; executed in Firecracker's order. */
#ifndef WICK_API_CONFIG_FILE_H
#define WICK_API_CONFIG_FILE_H

#include "api/server.h"

/*
 * Reads, checks and submits the whole file (contract 3), without starting the VM. The first failure stops it;
 * the message names file, field and value. Messages begin as Firecracker's.
 */
int config_file_apply(const char *path, api_submit_fn submit, void *arg, struct err *e);

#endif
