/*
 * What the user asks for, as plain data: no pointers but the drive array, no descriptors. API
 * bodies and the config file are bound to these structs by api/schema_*.c, which also prints them.
 * Owner: struct vm, on the VMM thread; the API thread gets copies.
 */
#ifndef WICK_VM_CONFIG_H
#define WICK_VM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"
#include "devices/serial.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"

enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_TRANSPARENT, HUGE_PAGES_2M };
enum cpu_template { CPU_TEMPLATE_NONE, CPU_TEMPLATE_V1N1 };

struct machine_config {
	uint32_t vcpu_count;
	uint64_t mem_size_mib;
	bool smt;
	bool has_cpu_template;
	enum cpu_template cpu_template;
	bool track_dirty_pages;
	enum huge_pages huge_pages;
};

/* A PATCH: the fields that are there. PUT binds to this as well, with its two required fields. */
struct machine_config_update {
	bool has_vcpu_count, has_mem_size_mib, has_smt, has_cpu_template, has_track_dirty_pages,
		has_huge_pages;
	struct machine_config value;
};

struct boot_source_config {
	char kernel_image_path[4096];
	bool has_boot_args;
	char boot_args[4096]; /* 2047 fit: room for a refusal that says how many there are */
	bool has_initrd_path;
	char initrd_path[4096];
};

struct vm_config {
	struct machine_config machine;
	bool has_boot_source;
	struct boot_source_config boot;
	struct block_config *drives; /* root first; owned */
	unsigned int ndrives;
	bool has_entropy;
	struct serial_config serial;
	bool has_logger;
	struct log_config logger;
	bool boot_timer;
};

/* 1 vCPU, 128 MiB, nothing else. */
void vm_config_init(struct vm_config *c);
void vm_config_fini(struct vm_config *c);
int vm_config_copy(const struct vm_config *from, struct vm_config *ret);

/*
 * Each checks everything before it changes anything; on failure the config is as it was, and the
 * message is the one a client sees behind its prefix ("Machine config error: ").
 */
int vm_config_set_machine(struct vm_config *c, const struct machine_config_update *u, bool is_put,
			  unsigned int max_vcpus, struct err *e);
int vm_config_set_drive(struct vm_config *c, const struct block_config *drive, struct err *e);

#endif
