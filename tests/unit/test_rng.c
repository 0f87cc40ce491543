/* devices/rng.c as a guest's driver sees it. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "devices/rng.h"
#include "fakes/virtq_driver.h"

#define BUFFER  (GUEST_RAM + 0x100000)
#define VERSION BIT64(VIRTIO_F_VERSION_1)

enum { NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE };

struct rig {
	struct machine m;
	struct virtq q;
};

static void rig_init(struct rig *r)
{
	machine_init(&r->m);
	machine_plug(&r->m, &rng_device_ops, NULL);
	virtq_init(&r->q, r->m.mem, GUEST_RAM, 256);
	machine_bring_up(&r->m, VERSION, &r->q);
}

/* How many of `len` bytes that were 0 are so no longer: 255 of 256 if they are random. */
static uint32_t changed(const struct rig *r, gpa_t gpa, uint32_t len)
{
	const uint8_t *p = guest_ram_at(r->m.mem, gpa);
	uint32_t n = 0;
	for (uint32_t i = 0; i < len; i++)
		n += p[i] != 0;
	return n;
}

struct size_case {
	char claim[40];
	uint32_t len[3]; /* of up to three buffers */
	uint32_t want;
};

ParameterizedTestParameters(rng, sizes)
{
	static struct size_case cases[] = {
		{ "one byte", { 1 }, 1 },
		{ "a Linux request", { 64 }, 64 },
		{ "several buffers", { 100, 1, 300 }, 401 },
		{ "the limit", { 65536 }, 65536 },
		{ "one more", { 65537 }, 65536 },
		{ "the limit inside a buffer", { 65000, 1000, 1000 }, 65536 },
		{ "a megabyte", { 1 << 20 }, 65536 },
	};
	return cr_make_param_array(struct size_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct size_case *c, rng, sizes)
{
	struct rig r;
	uint32_t id, len, left = c->want, offset = 0;
	rig_init(&r);
	for (uint16_t i = 0; i < 3 && c->len[i]; i++) {
		bool is_last = i == 2 || !c->len[i + 1];
		virtq_desc(&r.q, i,
			   DESC(BUFFER + offset, c->len[i], is_last ? WRITE : WRITE | NEXT, i + 1));
		offset += c->len[i];
	}
	virtq_offer(&r.q, 0);
	machine_kick(&r.m, 0);
	cr_assert(virtq_take_used(&r.q, &id, &len), "%s", c->claim);
	cr_expect_eq(len, c->want, "%s: %u", c->claim, len);
	cr_expect_eq(changed(&r, BUFFER + left, 2 << 20), 0, "%s: nothing behind", c->claim);
	if (left > 16) {
		cr_expect_gt(changed(&r, BUFFER, left), left / 2, "%s", c->claim);
		cr_expect_gt(changed(&r, BUFFER + left - 16, 16), 8, "%s: up to the end", c->claim);
	}
	machine_fini(&r.m);
}

Test(rng, two_requests_get_different_numbers)
{
	struct rig r;
	rig_init(&r);
	for (uint16_t i = 0; i < 2; i++) {
		virtq_desc(&r.q, i, DESC(BUFFER + 32u * i, 32, WRITE, 0));
		virtq_offer(&r.q, i);
	}
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 2);
	cr_expect_neq(memcmp(guest_ram_at(r.m.mem, BUFFER), guest_ram_at(r.m.mem, BUFFER + 32), 32),
		      0);
	machine_fini(&r.m);
}

Test(rng, a_request_with_nowhere_to_write_needs_a_reset)
{
	struct rig r;
	rig_init(&r);
	virtq_desc(&r.q, 0, DESC(BUFFER, 64, 0, 0));
	virtq_offer(&r.q, 0);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0x4f);
	cr_expect_eq(changed(&r, BUFFER, 64), 0);
	machine_fini(&r.m);
}
