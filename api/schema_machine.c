/* Field tables of the machine itself: size, boot source, logger, actions, state. Constants only. */
#include "api/schema.h"

#include <errno.h>
#include <string.h>

#define ROW(type, jname, knd, member, ...)                                                  \
	{                                                                                   \
		.name = (jname), .kind = JSON_KIND_##knd, .offset = offsetof(type, member), \
		.size = sizeof(((type *)0)->member), __VA_ARGS__                            \
	}

/* --- machine-config --------------------------------------------------------------------------- */

static const struct json_name cpu_template_names[] = {
	{ "V1N1", CPU_TEMPLATE_V1N1 },
	{ "None", CPU_TEMPLATE_NONE },
	{ 0 },
};

static const struct json_name huge_pages_names[] = {
	{ "None", HUGE_PAGES_NONE },
	{ "Transparent", HUGE_PAGES_TRANSPARENT },
	{ "2M", HUGE_PAGES_2M },
	{ 0 },
};

static int check_cpu_template(const struct json_field *f, const json_t *value, struct err *e)
{
	if (!strcmp(json_string_value(value), "None"))
		return 0;
	return err_set(e, -EINVAL,
		       "field `%s` is not supported by this version of wick yet: \"%.32s\"",
		       f->name, json_string_value(value));
}

#define UPDATE(jname, knd, member, ...)                             \
	ROW(struct machine_config_update, jname, knd, value.member, \
	    .has = JSON_HAS(struct machine_config_update, has_##member), __VA_ARGS__)

/* `null` is refused for a plain value with a default, and accepted for an Option. */
static const struct json_field machine_put_fields[] = {
	/* Firecracker's type in messages; the limit is the host's, and vm_config.c checks it. */
	UPDATE("vcpu_count", U32, vcpu_count, .required = true, .expected = "u8"),
	UPDATE("mem_size_mib", U64, mem_size_mib, .required = true, .expected = "usize"),
	UPDATE("smt", BOOL, smt),
	UPDATE("cpu_template", ENUM, cpu_template, .nullable = true, .names = cpu_template_names,
	       .check = check_cpu_template),
	UPDATE("track_dirty_pages", BOOL, track_dirty_pages),
	UPDATE("huge_pages", ENUM, huge_pages, .names = huge_pages_names),
	/* Only Firecracker's gdb builds know it; the others would list it as unknown. */
	{ .name = "gdb_socket_path", .kind = JSON_KIND_LATER, .nullable = true, .is_hidden = true },
	{ 0 },
};
const struct json_schema machine_put_schema = { "struct MachineConfig", machine_put_fields, false };

static const struct json_field machine_patch_fields[] = {
	UPDATE("vcpu_count", U32, vcpu_count, .nullable = true, .expected = "u8"),
	UPDATE("mem_size_mib", U64, mem_size_mib, .nullable = true, .expected = "usize"),
	UPDATE("smt", BOOL, smt, .nullable = true),
	UPDATE("cpu_template", ENUM, cpu_template, .nullable = true, .names = cpu_template_names,
	       .check = check_cpu_template),
	UPDATE("track_dirty_pages", BOOL, track_dirty_pages, .nullable = true),
	UPDATE("huge_pages", ENUM, huge_pages, .nullable = true, .names = huge_pages_names),
	{ .name = "gdb_socket_path", .kind = JSON_KIND_LATER, .nullable = true, .is_hidden = true },
	{ 0 },
};
const struct json_schema machine_patch_schema = { "struct MachineConfigUpdate",
						  machine_patch_fields, false };

#define MACHINE(jname, knd, member, ...) \
	ROW(struct machine_config, jname, knd, member, .print = JSON_PRINT_ALWAYS, __VA_ARGS__)

static const struct json_field machine_print_fields[] = {
	MACHINE("vcpu_count", U32, vcpu_count),
	MACHINE("mem_size_mib", U64, mem_size_mib),
	MACHINE("smt", BOOL, smt),
	ROW(struct machine_config, "cpu_template", ENUM, cpu_template, .names = cpu_template_names,
	    .print = JSON_PRINT_OMIT, .has = JSON_HAS(struct machine_config, has_cpu_template)),
	MACHINE("track_dirty_pages", BOOL, track_dirty_pages),
	MACHINE("huge_pages", ENUM, huge_pages, .names = huge_pages_names),
	{ 0 },
};
const struct json_schema machine_print_schema = { "struct MachineConfig", machine_print_fields,
						  false };

/* --- boot-source ------------------------------------------------------------------------------ */

#define BOOT(jname, member, ...) ROW(struct boot_source_config, jname, STRING, member, __VA_ARGS__)
#define BOOT_OPTION(member)                                               \
	BOOT(#member, member, .nullable = true, .print = JSON_PRINT_NULL, \
	     .has = JSON_HAS(struct boot_source_config, has_##member))

static const struct json_field boot_source_fields[] = {
	BOOT("kernel_image_path", kernel_image_path, .required = true),
	BOOT_OPTION(initrd_path),
	BOOT_OPTION(boot_args),
	{ 0 },
};
const struct json_schema boot_source_schema = { "struct BootSourceConfig", boot_source_fields,
						false };

/* --- logger ----------------------------------------------------------------------------------- */

static const struct json_name level_names[] = {
	{ "Off", LOG_OFF },   { "Trace", LOG_TRACE }, { "Debug", LOG_DEBUG },  { "Info", LOG_INFO },
	{ "Warn", LOG_WARN }, { "Error", LOG_ERROR }, { "Warning", LOG_WARN }, { 0 },
};

#define LOGGER(knd, member, ...)                                                                 \
	ROW(struct log_config, #member, knd, member, .nullable = true, .print = JSON_PRINT_NULL, \
	    .has = JSON_HAS(struct log_config, has_##member), __VA_ARGS__)

static const struct json_field logger_fields[] = {
	LOGGER(STRING, log_path, .expected = "path string"),
	LOGGER(ENUM, level, .names = level_names, .any_case = true,
	       .bad_name = "Invalid LevelFilter"),
	LOGGER(BOOL, show_level),
	LOGGER(BOOL, show_log_origin),
	LOGGER(STRING, module),
	{ 0 },
};
const struct json_schema logger_schema = { "struct LoggerConfig", logger_fields, false };

/* --- actions, vm ------------------------------------------------------------------------------ */

static const struct json_name action_names[] = {
	{ "FlushMetrics", ACTION_FLUSH_METRICS },
	{ "InstanceStart", ACTION_INSTANCE_START },
	{ "SendCtrlAltDel", ACTION_SEND_CTRL_ALT_DEL },
	{ 0 },
};

static const struct json_field action_fields[] = {
	ROW(struct action_body, "action_type", ENUM, action_type, .required = true,
	    .names = action_names),
	{ 0 },
};
const struct json_schema action_schema = { "struct ActionBody", action_fields, false };

static const struct json_name vm_state_names[] = {
	{ "Paused", VM_PAUSE },
	{ "Resumed", VM_RESUME },
	{ 0 },
};

static const struct json_field vm_state_fields[] = {
	ROW(struct vm_state_body, "state", ENUM, state, .required = true, .names = vm_state_names),
	{ 0 },
};
const struct json_schema vm_state_schema = { "struct Vm", vm_state_fields, false };
