/*
 * The configuration as one JSON object: --config-file reads it, GET /vm/config prints it. The bodies are the
 * API's; they are executed in Firecracker's order.
 */
#ifndef WICK_API_CONFIG_FILE_H
#define WICK_API_CONFIG_FILE_H

#include "api/server.h"

/*
 * Reads, checks and submits the whole file (contract 3), without starting the VM. Nothing is submitted
 * before all of it was checked; the first failure stops it. The message names file, field and value, and
 * begins as Firecracker's.
 */
int config_file_apply(const char *path, api_submit_fn submit, void *arg, struct err *e);

/* The object as text in fresh memory; a file of it gives the same VM again. NULL: no memory. */
char *config_file_print(const struct vm_config *config, size_t *ret_len);

/* The machine-config section alone, likewise. */
char *config_file_print_machine(const struct machine_config *machine, size_t *ret_len);

#endif
