/* arch/arm64/psci.c: the numbers are KVM's ABI, written out. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "arch/arm64/psci.h"
#include "vmm/base/bits.h"

#define UNKNOWN "system event of a kind that wick does not know"

struct event_case {
	uint32_t type;
	enum psci_event want;
	char name[56];
};

ParameterizedTestParameters(psci, events)
{
	static struct event_case cases[] = {
		{ 0, PSCI_EVENT_UNKNOWN, UNKNOWN }, { 1, PSCI_EVENT_SHUTDOWN, "shutdown" },
		{ 2, PSCI_EVENT_RESET, "reset" },   { 3, PSCI_EVENT_CRASH, "crash" },
		{ 4, PSCI_EVENT_UNKNOWN, UNKNOWN }, { 5, PSCI_EVENT_SUSPEND, "suspend" },
		{ 6, PSCI_EVENT_UNKNOWN, UNKNOWN }, { UINT32_MAX, PSCI_EVENT_UNKNOWN, UNKNOWN },
	};
	return cr_make_param_array(struct event_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct event_case *c, psci, events)
{
	cr_expect_eq(psci_event_of(c->type), c->want, "type %u", c->type);
	cr_expect_str_eq(psci_event_name(psci_event_of(c->type)), c->name);
}
