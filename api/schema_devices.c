/* Field tables of the devices. A LATER row is a field whose feature is to come. Constants only. */
#include "api/schema.h"

#include <errno.h>

#define ROW(type, knd, member, ...)                                                         \
	{                                                                                   \
		.name = #member, .kind = JSON_KIND_##knd, .offset = offsetof(type, member), \
		.size = sizeof(((type *)0)->member), __VA_ARGS__                            \
	}
#define LATER(jname, ...)                                                               \
	{                                                                               \
		.name = (jname), .kind = JSON_KIND_LATER, .nullable = true, __VA_ARGS__ \
	}

/* --- drives ----------------------------------------------------------------------------------- */

static const struct json_name cache_names[] = {
	{ "Unsafe", BLOCK_CACHE_UNSAFE },
	{ "Writeback", BLOCK_CACHE_WRITEBACK },
	{ 0 },
};

#define DRIVE(knd, member, ...) ROW(struct block_config, knd, member, __VA_ARGS__)

/* Only virtio drives so far: their fields are printed whether they were given or not. */
static const struct json_field drive_fields[] = {
	DRIVE(STRING, drive_id, .required = true),
	DRIVE(STRING, partuuid, .nullable = true, .print = JSON_PRINT_NULL,
	      .has = JSON_HAS(struct block_config, has_partuuid)),
	DRIVE(BOOL, is_root_device, .required = true),
	DRIVE(ENUM, cache_type, .names = cache_names),
	DRIVE(BOOL, is_read_only, .nullable = true),
	DRIVE(STRING, path_on_host, .nullable = true), /* its absence is the drive's error */
	LATER("rate_limiter"),
	LATER("io_engine", .fallback = "Sync"),
	LATER("socket"),
	{ 0 },
};
const struct json_schema drive_schema = { "struct BlockDeviceConfig", drive_fields, false };

int drive_check(const struct block_config *drive, struct err *e)
{
	if (drive->path_on_host[0])
		return 0;
	return err_set(e, -EINVAL,
		       "Drive config error: Unable to create the virtio block device: Invalid "
		       "block config. (drive_id is %s, path_on_host is missing)",
		       drive->drive_id);
}

/* --- entropy ---------------------------------------------------------------------------------- */

static const struct json_field entropy_fields[] = {
	LATER("rate_limiter"),
	{ 0 },
};
const struct json_schema entropy_schema = { "struct EntropyDeviceConfig", entropy_fields, false };

/* --- serial: never printed -------------------------------------------------------------------- */

static const struct json_field serial_fields[] = {
	ROW(struct serial_config, STRING, serial_out_path, .nullable = true,
	    .print = JSON_PRINT_NEVER, .expected = "path string",
	    .has = JSON_HAS(struct serial_config, has_serial_out_path)),
	LATER("rate_limiter", .print = JSON_PRINT_NEVER),
	{ 0 },
};
const struct json_schema serial_schema = { "struct SerialConfig", serial_fields, false };
