/*
 * Claim (gic.md A-15): an access to a device that KVM cannot decode is this guest's external abort, with the right
 * address, without side effect; the instruction behind it runs.
 */
#include "lib/guest.h"

/* Returns what the base register holds afterwards: an abort must not have written it back. */
#define ACCESS(name, text)                                      \
	static uint64_t name(uint64_t base)                     \
	{                                                       \
		__asm__ volatile(".arch_extension lse\n\t" text \
				 : "+r"(base)                   \
				 :                              \
				 : "x2", "x3", "memory");       \
		return base;                                    \
	}
ACCESS(ldp_x, "ldp x2, x3, [%0]")
ACCESS(ldp_w, "ldp w2, w3, [%0]")
ACCESS(stp_x, "stp xzr, xzr, [%0]")
ACCESS(stp_w, "stp wzr, wzr, [%0]")
ACCESS(ldp_post, "ldp x2, x3, [%0], #16")
ACCESS(ldr_post, "ldr w2, [%0], #4")
ACCESS(str_post, "str wzr, [%0], #4")
ACCESS(ldr_pre, "ldr w2, [%0, #8]!")
ACCESS(str_pre, "str wzr, [%0, #8]!")
ACCESS(ldr_q, "ldr q0, [%0]")
ACCESS(str_q, "str q0, [%0]")
ACCESS(ldr_d, "ldr d0, [%0]")
ACCESS(ld1, "ld1 {v0.16b}, [%0]")
ACCESS(st1, "st1 {v0.16b}, [%0]")

static const struct access {
	const char *name;
	uint64_t (*run)(uint64_t base);
	uint64_t offset; /* of the address from the base */
} accesses[] = {
	{ "ldp x", ldp_x, 0 },
	{ "ldp w", ldp_w, 0 },
	{ "stp x", stp_x, 0 },
	{ "stp w", stp_w, 0 },
	{ "ldp post-index", ldp_post, 0 },
	{ "ldr post-index", ldr_post, 0 },
	{ "str post-index", str_post, 0 },
	{ "ldr pre-index", ldr_pre, 8 },
	{ "str pre-index", str_pre, 8 },
	{ "ldr q", ldr_q, 0 },
	{ "str q", str_q, 0 },
	{ "ldr d", ldr_d, 0 },
	{ "ld1", ld1, 0 },
	{ "st1", st1, 0 },
};

static const struct target {
	const char *name;
	uint64_t addr;
} targets[] = {
	{ "gicd", GICD + 0x100 }, { "gicr", GICD - GICR_SIZE }, { "rtc", RTC },
	{ "uart", UART },         { "virtio", VIRTIO },         { "nothing", 0x60000000 },
};

static void check(const struct access *a, const struct target *t)
{
	traps_clear();
	uint64_t base = a->run(t->addr);
	if (traps[0].count != 1)
		fail("%s at %s: %lu traps", a->name, t->name, traps[0].count);
	if (ESR_EC(traps[0].esr) != EC_DATA_ABORT || ESR_FSC(traps[0].esr) != FSC_EXTERNAL)
		fail("%s at %s: esr %lx is no external abort", a->name, t->name, traps[0].esr);
	if (traps[0].far != t->addr + a->offset)
		fail("%s at %s: far %lx", a->name, t->name, traps[0].far);
	if (base != t->addr)
		fail("%s at %s: base register became %lx", a->name, t->name, base);
}

void guest_main(void)
{
	uint64_t enabled = mmio_read(GICD + 0x104, 4);
	unsigned int n = 0;

	for (unsigned int t = 0; t < ARRAY_SIZE(targets); t++)
		for (unsigned int a = 0; a < ARRAY_SIZE(accesses); a++, n++)
			check(&accesses[a], &targets[t]);
	traps_clear();
	if (mmio_read(RTC + 0xfe0, 4) != 0x31 || traps[0].count)
		fail("a plain read does not work afterwards");
	if (mmio_read(GICD + 0x104, 4) != enabled)
		fail("an aborted store has changed GICD_ISENABLER");
	print("aborts: %lu\n", (uint64_t)n);
}
