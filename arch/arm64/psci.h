/* What KVM reports when a guest asks PSCI to end or suspend the machine. Pure. */
#ifndef WICK_ARM64_PSCI_H
#define WICK_ARM64_PSCI_H

#include <linux/kvm.h>
#include <stdint.h>

enum psci_event {
	PSCI_EVENT_SHUTDOWN, /* SYSTEM_OFF */
	PSCI_EVENT_RESET,    /* SYSTEM_RESET, SYSTEM_RESET2 */
	PSCI_EVENT_CRASH,
	PSCI_EVENT_SUSPEND, /* SYSTEM_SUSPEND: only where wick enabled it */
	PSCI_EVENT_UNKNOWN,
};

/* Decodes kvm_run.system_event of a KVM_EXIT_SYSTEM_EVENT. */
enum psci_event psci_event_of(uint32_t type);
/* For the log, after "the guest asked for a ": "shutdown". Never NULL. */
const char *psci_event_name(enum psci_event event);

#endif
