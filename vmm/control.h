/*
 * The way in to the machine: a vm_request says what is wanted, vm_execute() does it on the VMM
 * thread. The API thread posts through the mailbox and waits; the config file is executed in place.
 * Which action is allowed in which state is one table in control.c.
 */
#ifndef WICK_CONTROL_H
#define WICK_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/vm_config.h"

struct vm;

enum vm_state { VM_NOT_STARTED, VM_RUNNING, VM_PAUSED, VM_FAILED };

enum vm_action {
	VM_GET_INFO,        /* out.info */
	VM_GET_CONFIG,      /* out.config: a copy, the requester frees it with vm_config_fini */
	VM_PUT_MACHINE,     /* in.machine */
	VM_PATCH_MACHINE,   /* in.machine */
	VM_PUT_BOOT_SOURCE, /* in.boot */
	VM_PUT_DRIVE,       /* in.drive */
	VM_PUT_ENTROPY,
	VM_PUT_SERIAL, /* in.serial */
	VM_PUT_LOGGER, /* in.logger */
	VM_START,
	VM_PAUSE,
	VM_RESUME,
	VM_FLUSH_METRICS,
	VM_ACTION_COUNT
};

struct vm_info {
	char id[65];
	enum vm_state state;
};

struct vm_request {
	enum vm_action action;
	union {
		struct machine_config_update machine;
		struct boot_source_config boot;
		struct block_config drive;
		struct serial_config serial;
		struct log_config logger;
	} in;
	union {
		struct vm_info info;
		struct vm_config config;
	} out;
	int rc; /* 0, or -errno with the whole message (prefix included) in err */
	struct err err;
};

/* VMM thread: does it now. Fills rc, err and out. */
void vm_execute(struct vm *vm, struct vm_request *r);

/*
 * The mailbox: one request at a time, from one API thread. The poster fills *r, rings, waits; the
 * VMM thread executes it from its loop and answers. Ownership of *r passes to the VMM thread with
 * the eventfd write and comes back with the answer's (both are full barriers: syscalls on the same
 * eventfd pair).
 */
struct mailbox;
int mailbox_create(struct vm *vm, struct mailbox **ret);
/* NULL is fine. No poster may be waiting: close it and join the poster first. */
void mailbox_destroy(struct mailbox *m);
/* VMM thread, when its loop has ended: refuses a request that waits, and all from now on. */
void mailbox_close(struct mailbox *m);
/* Any thread but the VMM's; blocks until answered. */
void mailbox_post(struct mailbox *m, struct vm_request *r);

#endif
