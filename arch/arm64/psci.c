/* PSCI system events, decoded. Owns nothing, any thread. */
#include "arch/arm64/psci.h"

enum psci_event psci_event_of(uint32_t type)
{
	switch (type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return PSCI_EVENT_SHUTDOWN;
	case KVM_SYSTEM_EVENT_RESET:
		return PSCI_EVENT_RESET;
	case KVM_SYSTEM_EVENT_CRASH:
		return PSCI_EVENT_CRASH;
	case KVM_SYSTEM_EVENT_SUSPEND:
		return PSCI_EVENT_SUSPEND;
	default: /* newer than this list: WAKEUP, SEV_TERM and what KVM invents next */
		return PSCI_EVENT_UNKNOWN;
	}
}

const char *psci_event_name(enum psci_event event)
{
	switch (event) {
	case PSCI_EVENT_SHUTDOWN:
		return "shutdown";
	case PSCI_EVENT_RESET:
		return "reset";
	case PSCI_EVENT_CRASH:
		return "crash";
	case PSCI_EVENT_SUSPEND:
		return "suspend";
	case PSCI_EVENT_UNKNOWN:
		break;
	}
	return "system event of a kind that wick does not know";
}
