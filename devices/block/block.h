/* virtio-block: one disk of the guest. */
#ifndef WICK_DEVICES_BLOCK_H
#define WICK_DEVICES_BLOCK_H

#include <stdbool.h>

#include "devices/registry.h"

enum block_cache { BLOCK_CACHE_UNSAFE, BLOCK_CACHE_WRITEBACK };

struct block_config {
	char drive_id[65];
	bool is_root_device;
	bool has_partuuid;
	char partuuid[128];
	enum block_cache cache_type; /* Writeback offers FLUSH; Unsafe (default) does not */
	char path_on_host[4096];
	bool is_read_only;
};

extern const struct device_ops block_device_ops; /* config: struct block_config */

/* Can the disk be opened as configured? Opens and closes it: what PUT /drives answers with. */
int block_check(const struct block_config *config, struct err *e);

#endif
