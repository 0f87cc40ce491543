/*
 * devices/virtio/device.c as a guest sees it through the registers of a real device (entropy): negotiation, status
 * machine, reset, what becomes of broken rings.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "devices/rng.h"
#include "devices/virtio/device.h"
#include "devices/virtio/transport.h"
#include "fakes/virtq_driver.h"

#define RINGS   GUEST_RAM
#define BUFFER  (GUEST_RAM + 0x10000)
#define VERSION BIT64(VIRTIO_F_VERSION_1)
#define OFFERED (VERSION | BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_RING_F_INDIRECT_DESC))

enum { ACK = 1, DRIVER = 2, FEATURES_OK = 8, NEEDS_RESET = 0x40 };
enum { IRQ_USED = 1, IRQ_CONFIG = 2 };

struct rig {
	struct machine m;
	struct virtq q;
};

static void rig_init(struct rig *r)
{
	machine_init(&r->m);
	machine_plug(&r->m, &rng_device_ops, NULL);
	virtq_init(&r->q, r->m.mem, RINGS, 16);
}

/* Offers one writable buffer of 8 bytes. */
static void offer(struct rig *r)
{
	virtq_desc(&r->q, 0, DESC(BUFFER, 8, VRING_DESC_F_WRITE, 0));
	virtq_offer(&r->q, 0);
}

static const struct virtio_metrics *metrics(const struct rig *r)
{
	return &virtio_from_device(r->m.device)->metrics;
}

/* --- status machine ------------------------------------------------------------------------------- */

struct status_case {
	char claim[56];
	uint32_t write[6];
	unsigned int nwrites;
	uint32_t want;
};

/* clang-format off */
ParameterizedTestParameters(virtio_device, status_machine)
{
	/* Before each FEATURES_OK the test acknowledges VERSION_1, which counts only when DRIVER is set. */
	static struct status_case cases[] = {
		{ "the way it is meant",		{ 1, 3, 0xb, 0xf }, 4, 0xf },
		{ "ACKNOWLEDGE alone",			{ 1 }, 1, 1 },
		{ "DRIVER first is ignored",		{ 2 }, 1, 0 },
		{ "ACKNOWLEDGE and DRIVER at once",	{ 3 }, 1, 0 },
		{ "FEATURES_OK before DRIVER",		{ 1, 9 }, 2, 1 },
		{ "DRIVER_OK before FEATURES_OK",	{ 1, 3, 7 }, 3, 3 },
		{ "both at once",			{ 1, 3, 0xf }, 3, 3 },
		{ "all at once",			{ 0xf }, 1, 0 },
		{ "the same again changes nothing",	{ 1, 1, 3, 3, 0xb, 0xb }, 6, 0xb },
		{ "a bit cannot be taken back",		{ 1, 3, 1 }, 3, 3 },
		{ "nor swapped for the next",		{ 1, 3, 8 }, 3, 3 },
		{ "nor FEATURES_OK",			{ 1, 3, 0xb, 3 }, 4, 0xb },
		{ "0 resets from anywhere",		{ 1, 3, 0xb, 0xf, 0 }, 5, 0 },
		{ "and it starts over",			{ 1, 3, 0, 1 }, 4, 1 },
		{ "and only from the start",		{ 1, 3, 0, 3 }, 4, 0 },
		{ "FAILED at any time",			{ 1, 0x81 }, 2, 0x81 },
		{ "FAILED at once",			{ 0x80 }, 1, 0x80 },
		{ "nothing follows FAILED",		{ 1, 0x81, 0x83 }, 3, 0x81 },
		{ "but a reset",			{ 1, 0x81, 0, 1 }, 4, 1 },
		{ "FAILED does not come with another",	{ 1, 0x83 }, 2, 1 },
		{ "unknown bits are ignored as a whole", { 1, 0x11, 3 }, 3, 3 },
		{ "bits above the byte too",		{ 1, 0x103 }, 2, 1 },
		{ "NEEDS_RESET is not the driver's",	{ 1, 0x43 }, 2, 3 },
		{ "NEEDS_RESET alone is no reset",	{ 1, 3, 0x40 }, 3, 3 },
	};
	return cr_make_param_array(struct status_case, cases, ARRAY_SIZE(cases));
}
/* clang-format on */
ParameterizedTest(struct status_case *c, virtio_device, status_machine)
{
	struct rig r;
	rig_init(&r);
	for (unsigned int i = 0; i < c->nwrites; i++) {
		machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
		machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES, 1);
		machine_write(&r.m, VIRTIO_MMIO_STATUS, c->write[i]);
	}
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), c->want, "%s: 0x%x", c->claim,
		     machine_read(&r.m, VIRTIO_MMIO_STATUS));
	machine_fini(&r.m);
}

struct features_case {
	char claim[56];
	uint64_t features;
	uint32_t beyond; /* acknowledged in word 2 */
	uint32_t want;
};

ParameterizedTestParameters(virtio_device, feature_negotiation)
{
	static struct features_case cases[] = {
		{ "all that is offered", OFFERED, 0, 0xb },
		{ "VERSION_1 alone", VERSION, 0, 0xb },
		{ "nothing", 0, 0, 3 },
		{ "all but VERSION_1", OFFERED & ~VERSION, 0, 3 },
		{ "one low feature that is not offered", OFFERED | 1, 0, 3 },
		{ "one high feature that is not offered", OFFERED | BIT64(34), 0, 3 },
		{ "bit 63", OFFERED | BIT64(63), 0, 3 },
		{ "every bit", UINT64_MAX, 0, 3 },
		{ "zeros beyond bit 63", OFFERED, 0, 0xb },
		{ "a bit beyond 63", OFFERED, 1, 3 },
	};
	return cr_make_param_array(struct features_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct features_case *c, virtio_device, feature_negotiation)
{
	struct rig r;
	rig_init(&r);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, ACK);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, ACK | DRIVER);
	for (uint32_t word = 0; word < 3; word++) {
		machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES,
			      word < 2 ? (uint32_t)(c->features >> (32 * word)) : c->beyond);
	}
	machine_write(&r.m, VIRTIO_MMIO_STATUS, ACK | DRIVER | FEATURES_OK);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), c->want, "%s", c->claim);
	cr_expect_eq(machine_negotiate(&r.m, VERSION), 0xb, "%s: a second try", c->claim);
	machine_fini(&r.m);
}

Test(virtio_device, device_features_by_word)
{
	static const uint32_t want[] = { (uint32_t)OFFERED, OFFERED >> 32, 0, 0 };
	struct rig r;
	rig_init(&r);
	for (uint32_t word = 0; word < ARRAY_SIZE(want); word++) {
		machine_write(&r.m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
		cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_DEVICE_FEATURES), want[word]);
	}
	machine_write(&r.m, VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	machine_fini(&r.m);
}

Test(virtio_device, features_are_settled_by_features_ok)
{
	struct rig r;
	rig_init(&r);
	machine_negotiate(&r.m, VERSION);
	machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	machine_write(&r.m, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	cr_expect_eq(virtio_from_device(r.m.device)->acked_features, VERSION);
	machine_fini(&r.m);
}

Test(virtio_device, queues_are_set_up_between_features_ok_and_driver_ok_only)
{
	struct rig r;
	rig_init(&r);
	machine_set_queue(&r.m, 0, &r.q);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 0, "before FEATURES_OK");
	machine_negotiate(&r.m, VERSION);
	machine_set_queue(&r.m, 0, &r.q);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 1);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_READY, 2);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 0, "only 1 is ready");
	machine_set_queue(&r.m, 0, &r.q);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, 0xf);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 1, "while it runs");
	machine_write(&r.m, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 0, "after a reset");
	machine_fini(&r.m);
}

Test(virtio_device, a_queue_that_does_not_exist_is_empty)
{
	struct rig r;
	rig_init(&r);
	machine_negotiate(&r.m, VERSION);
	machine_set_queue(&r.m, 1, &r.q);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_READY), 0);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	machine_settle(&r.m);
	machine_fini(&r.m);
}

/* --- at work --------------------------------------------------------------------------------------- */

Test(virtio_device, reset_with_requests_in_flight)
{
	struct rig r;
	uint32_t id, len;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	offer(&r);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, 0);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 0, "nothing is touched after a reset");
	cr_expect_not(machine_take_irq(&r.m));

	/* Another driver, other rings, other indices. */
	virtq_init(&r.q, r.m.mem, RINGS + 0x4000, 4);
	machine_bring_up(&r.m, OFFERED, &r.q);
	offer(&r);
	machine_kick(&r.m, 0);
	cr_assert(virtq_take_used(&r.q, &id, &len));
	cr_expect_eq(len, 8);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, 0);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), 0, "cleared by reset");
	machine_fini(&r.m);
}

Test(virtio_device, rings_outside_ram_need_a_reset)
{
	struct rig r;
	rig_init(&r);
	struct virtq bad = r.q;
	bad.used = GUEST_RAM + GUEST_RAM_SIZE - 4;
	machine_negotiate(&r.m, VERSION);
	machine_set_queue(&r.m, 0, &bad);
	machine_write(&r.m, VIRTIO_MMIO_STATUS, 0xf);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0xf | NEEDS_RESET);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), IRQ_CONFIG);
	cr_expect(machine_take_irq(&r.m));
	cr_expect_eq(metric_get(&metrics(&r)->activate_fails), 1);
	machine_kick(&r.m, 0);
	machine_bring_up(&r.m, VERSION, &r.q);
	machine_fini(&r.m);
}

Test(virtio_device, a_malformed_chain_needs_a_reset)
{
	struct rig r;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	offer(&r);
	virtq_desc(&r.q, 1, DESC(0, 8, VRING_DESC_F_WRITE, 0));
	virtq_offer(&r.q, 1);
	virtq_offer(&r.q, 0);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 1, "the one before it was served, the one behind not");
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0xf | NEEDS_RESET);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), IRQ_CONFIG | IRQ_USED);
	cr_expect_eq(metric_get(&metrics(&r)->event_fails), 1);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 1, "and no work until then");
	virtq_init(&r.q, r.m.mem, RINGS, 16);
	machine_bring_up(&r.m, VERSION, &r.q);
	machine_fini(&r.m);
}

Test(virtio_device, one_interrupt_for_a_batch)
{
	struct rig r;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	for (int i = 0; i < 16; i++)
		offer(&r);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 16);
	cr_expect_eq(metric_get(&metrics(&r)->interrupt_count), 1);
	machine_fini(&r.m);
}

/* A device whose guest has one more request for it, from another vCPU, whenever it has served one. */
struct busy {
	struct virtio_dev virtio; /* first: the registry's and the transport's handle */
	struct virtq *q;
	unsigned int left; /* requests still to come */
};

static int serve_and_ask_again(struct virtio_dev *v, struct chain *c, uint32_t *ret_written)
{
	struct busy *b = container_of(v, struct busy, virtio);
	*ret_written = (uint32_t)c->writable.bytes;
	if (b->left > 0 && b->left--)
		virtq_offer(b->q, 0);
	return 0;
}

static void busy_kick(struct virtio_dev *v, unsigned int queue)
{
	virtio_drain(v, queue, serve_and_ask_again);
}

static void busy_destroy(struct virtio_dev *v)
{
	virtio_fini(v);
	free(container_of(v, struct busy, virtio));
}

static const struct device_ops busy_device_ops;

static int busy_create(const struct device_env *env, const void *config, struct device **ret,
		       struct err *e)
{
	static const struct virtio_ops ops = { .name = "busy",
					       .type = 4,
					       .nqueues = 1,
					       .queue_size = { 256 },
					       .kick = busy_kick,
					       .destroy = busy_destroy };
	struct busy *b = calloc(1, sizeof(*b));
	cr_assert(b);
	b->left = *(const unsigned int *)config;
	virtio_init(&b->virtio, &busy_device_ops, &ops, env, 0);
	*ret = &b->virtio.device;
	return virtio_attach(&b->virtio, e);
}

static const struct device_ops busy_device_ops = { .kind = "busy",
						   .create = busy_create,
						   .describe = virtio_describe,
						   .destroy = virtio_destroy,
						   .resume = virtio_resume };

/* Other devices, the API and a pause wait for the VMM thread that long. */
Test(virtio_device, a_batch_is_bounded_also_for_a_guest_that_adds_while_it_is_served)
{
	static const struct {
		const char *claim;
		uint32_t bytes;
		unsigned int requests, kicks;
	} rows[] = {
		{ "in bytes", 20 * MIB, 64, 32 },
		{ "in requests", 8, 1024, 4 },
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig r;
		const unsigned int more = rows[i].requests - 1;
		machine_init(&r.m);
		machine_plug(&r.m, &busy_device_ops, &more);
		virtq_init(&r.q, r.m.mem, RINGS, 16);
		container_of(virtio_from_device(r.m.device), struct busy, virtio)->q = &r.q;
		machine_bring_up(&r.m, VERSION, &r.q);
		virtq_desc(&r.q, 0, DESC(BUFFER, rows[i].bytes, VRING_DESC_F_WRITE, 0));
		virtq_offer(&r.q, 0);
		machine_kick(&r.m, 0);
		for (unsigned int n = 0; n < rows[i].requests; n++) /* each takes a turn at most */
			machine_settle(&r.m);
		cr_expect_eq(virtq_used_idx(&r.q), rows[i].requests, "%s", rows[i].claim);
		uint64_t kicks = metric_get(&metrics(&r)->queue_event_count);
		cr_expect_geq(kicks, rows[i].kicks, "%s: %u kicks", rows[i].claim,
			      (unsigned int)kicks);
		machine_fini(&r.m);
	}
}

Test(virtio_device, a_configuration_change_moves_the_generation)
{
	struct rig r;
	rig_init(&r);
	struct virtio_dev *v = virtio_from_device(r.m.device);
	pthread_mutex_lock(&v->lock);
	virtio_config_changed(v);
	pthread_mutex_unlock(&v->lock);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	cr_expect_not(machine_take_irq(&r.m), "no driver to tell");
	machine_bring_up(&r.m, VERSION, &r.q);
	pthread_mutex_lock(&v->lock);
	virtio_config_changed(v);
	pthread_mutex_unlock(&v->lock);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_CONFIG_GENERATION), 2);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), IRQ_CONFIG);
	cr_expect(machine_take_irq(&r.m));
	machine_fini(&r.m);
}
