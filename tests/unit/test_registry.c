/* devices/registry.c: every kind is found by its name, and nothing else is. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "devices/registry.h"
#include "vmm/base/bits.h"

struct kind_case {
	char kind[16];
	bool exists;
};

ParameterizedTestParameters(registry, kinds)
{
	static struct kind_case cases[] = {
		{ "block", true },  { "rng", true },        { "serial", true },
		{ "rtc", true },    { "boot-timer", true }, { "", false },
		{ "Block", false }, { "blo", false },       { "blocks", false },
	};
	return cr_make_param_array(struct kind_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct kind_case *c, registry, kinds)
{
	const struct device_ops *ops = device_find(c->kind);
	cr_assert_eq(ops != NULL, c->exists, "'%s'", c->kind);
	if (!ops)
		return;
	cr_expect_str_eq(ops->kind, c->kind);
	cr_expect(ops->create && ops->destroy, "'%s' can be made and unmade", c->kind);
}
