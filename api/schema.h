/*
 * The field tables of the bodies that are spoken over the API and in the config file: names, types,
 * order and strictness are Firecracker's. Order is that of its structs, which messages and answers
 * show.
 */
#ifndef WICK_API_SCHEMA_H
#define WICK_API_SCHEMA_H

#include "api/json_bind.h"
#include "vmm/control.h"

enum api_action { ACTION_FLUSH_METRICS, ACTION_INSTANCE_START, ACTION_SEND_CTRL_ALT_DEL };

struct action_body {
	enum api_action action_type;
};

struct vm_state_body {
	enum vm_action state; /* VM_PAUSE or VM_RESUME */
};

/* schema_machine.c */
extern const struct json_schema machine_put_schema;   /* struct machine_config_update */
extern const struct json_schema machine_patch_schema; /* struct machine_config_update */
extern const struct json_schema machine_print_schema; /* struct machine_config */
extern const struct json_schema boot_source_schema;   /* struct boot_source_config */
extern const struct json_schema logger_schema;        /* struct log_config */
extern const struct json_schema action_schema;        /* struct action_body */
extern const struct json_schema vm_state_schema;      /* struct vm_state_body */

/* schema_devices.c */
extern const struct json_schema drive_schema;   /* struct block_config */
extern const struct json_schema entropy_schema; /* no struct: nothing of it is kept yet */
extern const struct json_schema serial_schema;  /* struct serial_config */

/* What makes a drive of the fields? 0, or -EINVAL with Firecracker's message (its prefix included). */
int drive_check(const struct block_config *drive, struct err *e);

#endif
