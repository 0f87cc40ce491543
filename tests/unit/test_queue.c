/* devices/virtio/queue.c, fed by a driver that does everything wrong, and by one that does it right. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "devices/virtio/queue.h"
#include "fakes/virtq_driver.h"

enum {
	SIZE = 8,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT
};

#define RINGS    GUEST_RAM
#define BUFFER   (GUEST_RAM + 0x10000)
#define TABLE    (GUEST_RAM + 0x20000) /* an indirect one */
#define RAM_END  (GUEST_RAM + GUEST_RAM_SIZE)
#define FEATURES (BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_RING_F_INDIRECT_DESC))
#define EVENTS   BIT64(VIRTIO_RING_F_EVENT_IDX)

struct rig {
	struct guest_mem *mem;
	struct virtq driver;
	struct queue queue;
	struct chain chain;
};

static void rig_init_size(struct rig *r, uint64_t features, uint16_t size)
{
	memset(r, 0, sizeof(*r));
	r->mem = guest_ram_create();
	virtq_init(&r->driver, r->mem, RINGS, size);
	queue_init(&r->queue, QUEUE_SIZE_MAX);
	r->queue.size = size;
	r->queue.desc_gpa = r->driver.desc;
	r->queue.avail_gpa = r->driver.avail;
	r->queue.used_gpa = r->driver.used;
	cr_assert_eq(queue_start(&r->queue, r->mem, features), 0, "%s", r->queue.fault);
}

static void rig_init(struct rig *r, uint64_t features)
{
	rig_init_size(r, features, SIZE);
}

/* --- malformed chains ----------------------------------------------------------------------------- */

struct malformed_case {
	char claim[56];
	uint16_t head;
	struct virtq_desc desc[3];     /* entries 0 to 2 of the queue's table */
	struct virtq_desc indirect[3]; /* of the table at TABLE */
	char fault[64];
};

/* clang-format off */
/* A good readable buffer, alone or with a next one. */
#define GOOD	 { BUFFER, 16, 0, 0 }
#define THEN(n)	 { BUFFER, 16, NEXT, (n) }
#define TO_TABLE { TABLE, 48, INDIRECT, 0 }

ParameterizedTestParameters(queue, malformed_chains_are_refused)
{
	static struct malformed_case cases[] = {
		{ "a chain that leads to itself ends", 0,
		  { THEN(0) }, { { 0 } }, "chain is longer than the queue, or a loop" },
		{ "a loop of three ends", 0,
		  { THEN(1), THEN(2), THEN(0) }, { { 0 } }, "chain is longer than the queue, or a loop" },
		{ "next one past the table", 0,
		  { THEN(SIZE) }, { { 0 } }, "next descriptor is outside the table" },
		{ "next 65535", 0,
		  { THEN(0xffff) }, { { 0 } }, "next descriptor is outside the table" },
		{ "head one past the table", SIZE,
		  { GOOD }, { { 0 } }, "head of the chain is outside the descriptor table" },
		{ "head 65535", 0xffff,
		  { GOOD }, { { 0 } }, "head of the chain is outside the descriptor table" },
		{ "buffer at address 0", 0,
		  { { 0, 16, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "buffer one byte below RAM", 0,
		  { { GUEST_RAM - 1, 16, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "buffer behind RAM", 0,
		  { { RAM_END, 1, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "buffer that ends one byte behind RAM", 0,
		  { { RAM_END - 15, 16, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "buffer that ends behind the high region", 0,
		  { { GUEST_RAM_HIGH + GUEST_RAM_HIGH_SIZE - 4, 8, WRITE, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "address and length that wrap", 0,
		  { { UINT64_MAX - 0xff, 0x200, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "the last address there is", 0,
		  { { UINT64_MAX, 1, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "length of 4 GiB less one", 0,
		  { { BUFFER, UINT32_MAX, 0, 0 } }, { { 0 } }, "buffer is not in RAM" },
		{ "length 0", 0, { { BUFFER, 0, 0, 0 } }, { { 0 } }, "buffer of zero bytes" },
		{ "length 0 behind a good one", 0,
		  { THEN(1), { BUFFER, 0, WRITE, 0 } }, { { 0 } }, "buffer of zero bytes" },
		{ "writable before readable", 0,
		  { { BUFFER, 16, WRITE | NEXT, 1 }, GOOD }, { { 0 } }, "readable buffer behind a writable one" },
		{ "indirect inside indirect", 0,
		  { TO_TABLE }, { TO_TABLE }, "indirect table inside an indirect table" },
		{ "indirect behind one inside indirect", 0,
		  { TO_TABLE }, { THEN(1), TO_TABLE }, "indirect table inside an indirect table" },
		{ "indirect with a next one", 0,
		  { { TABLE, 48, INDIRECT | NEXT, 1 }, GOOD }, { GOOD }, "indirect descriptor with a next one" },
		{ "indirect table of 0 bytes", 0,
		  { { TABLE, 0, INDIRECT, 0 } }, { GOOD }, "indirect table is empty or not a multiple of 16 bytes" },
		{ "indirect table of 15 bytes", 0,
		  { { TABLE, 15, INDIRECT, 0 } }, { GOOD }, "indirect table is empty or not a multiple of 16 bytes" },
		{ "indirect table of 17 bytes", 0,
		  { { TABLE, 17, INDIRECT, 0 } }, { GOOD }, "indirect table is empty or not a multiple of 16 bytes" },
		{ "indirect table of 4 GiB less 16", 0,
		  { { TABLE, 0xfffffff0, INDIRECT, 0 } }, { GOOD }, "indirect table is not in RAM" },
		{ "indirect table behind RAM", 0,
		  { { RAM_END, 16, INDIRECT, 0 } }, { GOOD }, "indirect table is not in RAM" },
		{ "next outside an indirect table", 0,
		  { TO_TABLE }, { THEN(3) }, "next descriptor is outside the table" },
		{ "next inside the queue but outside a short table", 0,
		  { { TABLE, 16, INDIRECT, 0 } }, { THEN(1), GOOD }, "next descriptor is outside the table" },
		{ "a loop in an indirect table ends", 0,
		  { TO_TABLE }, { THEN(1), THEN(0) }, "chain is longer than the queue, or a loop" },
		{ "length 0 in an indirect table", 0,
		  { TO_TABLE }, { { BUFFER, 0, 0, 0 } }, "buffer of zero bytes" },
		{ "writable before readable across tables", 0,
		  { { BUFFER, 16, WRITE | NEXT, 1 }, TO_TABLE }, { GOOD }, "readable buffer behind a writable one" },
	};
	return cr_make_param_array(struct malformed_case, cases, ARRAY_SIZE(cases));
}
/* clang-format on */

ParameterizedTest(struct malformed_case *c, queue, malformed_chains_are_refused)
{
	struct rig r;
	rig_init(&r, FEATURES);
	for (uint16_t i = 0; i < ARRAY_SIZE(c->desc); i++) {
		virtq_desc(&r.driver, i, c->desc[i]);
		virtq_write_desc(&r.driver, TABLE, i, c->indirect[i]);
	}
	virtq_offer(&r.driver, c->head);
	for (int again = 0; again < 2; again++) {
		cr_expect_eq(queue_pop(&r.queue, &r.chain), -EBADMSG, "%s", c->claim);
		cr_expect_str_eq(r.queue.fault ? r.queue.fault : "", c->fault, "%s: %s", c->claim,
				 r.queue.fault);
	}
	mem_destroy(r.mem);
}

Test(queue, an_indirect_descriptor_needs_the_feature)
{
	struct rig r;
	rig_init(&r, BIT64(VIRTIO_F_VERSION_1));
	virtq_desc(&r.driver, 0, DESC(TABLE, 16, INDIRECT, 0));
	virtq_write_desc(&r.driver, TABLE, 0, DESC(BUFFER, 16, 0, 0));
	virtq_offer(&r.driver, 0);
	cr_expect_eq(queue_pop(&r.queue, &r.chain), -EBADMSG);
	cr_expect_str_eq(r.queue.fault, "indirect descriptor without the feature");
	mem_destroy(r.mem);
}

struct jump_case {
	char claim[48];
	uint16_t from, to;
	int want;
};

ParameterizedTestParameters(queue, available_index_jumps)
{
	static struct jump_case cases[] = {
		{ "no step: nothing there", 0, 0, 0 },
		{ "a full ring is fine", 0, SIZE, 1 },
		{ "one more than the ring holds", 0, SIZE + 1, -EBADMSG },
		{ "one back", 0, 0xffff, -EBADMSG },
		{ "half way round", 0, 0x8000, -EBADMSG },
		{ "a full ring across the wrap", 0xfffc, 4, 1 },
		{ "one too many across the wrap", 0xfffc, 5, -EBADMSG },
	};
	return cr_make_param_array(struct jump_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct jump_case *c, queue, available_index_jumps)
{
	struct rig r;
	rig_init(&r, FEATURES);
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, 0, 0));
	r.queue.next_avail = r.queue.seen_avail = c->from;
	virtq_set_avail_idx(&r.driver, c->to);
	cr_expect_eq(queue_pop(&r.queue, &r.chain), c->want, "%s", c->claim);
	mem_destroy(r.mem);
}

Test(queue, more_than_4_gib_in_one_chain_is_refused)
{
	struct rig r;
	rig_init(&r, FEATURES);
	/* 128 times 32 MiB is 2^32 and allowed; the 129th is not. */
	for (uint16_t i = 0; i < 129; i++)
		virtq_write_desc(&r.driver, TABLE, i,
				 DESC(GUEST_RAM, GUEST_RAM_SIZE, NEXT, (uint16_t)(i + 1)));
	virtq_write_desc(&r.driver, TABLE, 127, DESC(GUEST_RAM, GUEST_RAM_SIZE, 0, 0));
	virtq_desc(&r.driver, 0, DESC(TABLE, 129 * 16, INDIRECT, 0));
	virtq_offer(&r.driver, 0);
	cr_expect_eq(queue_pop(&r.queue, &r.chain), 1);
	cr_expect_eq(r.chain.readable.bytes, BIT64(32));

	virtq_write_desc(&r.driver, TABLE, 127, DESC(GUEST_RAM, GUEST_RAM_SIZE, NEXT, 128));
	virtq_offer(&r.driver, 0);
	cr_expect_eq(queue_pop(&r.queue, &r.chain), -EBADMSG);
	cr_expect_str_eq(r.queue.fault, "chain of more than 2^32 bytes");
	mem_destroy(r.mem);
}

/* --- good chains ---------------------------------------------------------------------------------- */

Test(queue, a_chain_is_what_the_driver_wrote)
{
	struct rig r;
	rig_init(&r, FEATURES);
	virtq_desc(&r.driver, 5, DESC(BUFFER, 16, NEXT, 2));
	virtq_desc(&r.driver, 2, DESC(BUFFER + 16, 100, NEXT, 7));
	virtq_desc(&r.driver, 7,
		   DESC(GUEST_RAM_HIGH + GUEST_RAM_HIGH_SIZE - 512, 512, NEXT | WRITE, 0));
	virtq_desc(&r.driver, 0, DESC(RAM_END - 1, 1, WRITE, 0));
	cr_expect_eq(queue_pop(&r.queue, &r.chain), 0, "nothing was offered");
	virtq_offer(&r.driver, 5);
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1);
	cr_expect_eq(r.chain.head, 5);
	cr_expect_eq(r.chain.readable.nsegs, 2);
	cr_expect_eq(r.chain.readable.bytes, 116);
	cr_expect_eq(r.chain.writable.nsegs, 2);
	cr_expect_eq(r.chain.writable.bytes, 513);
	cr_expect_eq(r.chain.readable.seg[1].iov_base, guest_ram_at(r.mem, BUFFER + 16));
	cr_expect_eq(r.chain.writable.seg[1].iov_base, guest_ram_at(r.mem, RAM_END - 1));
	cr_expect_eq(queue_pop(&r.queue, &r.chain), 0, "only one was offered");
	mem_destroy(r.mem);
}

Test(queue, direct_descriptors_may_lead_to_an_indirect_table)
{
	struct rig r;
	rig_init(&r, FEATURES);
	/* The table lies at an odd address, and the flag WRITE on the way to it means nothing (2.7.5.3.2). */
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, NEXT, 1));
	virtq_desc(&r.driver, 1, DESC(TABLE + 1, 32, INDIRECT | WRITE, 0));
	virtq_write_desc(&r.driver, TABLE + 1, 0, DESC(BUFFER + 16, 8, NEXT, 1));
	virtq_write_desc(&r.driver, TABLE + 1, 1,
			 DESC(BUFFER + 64, 4, WRITE | 0x8000 /* unknown */, 0));
	virtq_offer(&r.driver, 0);
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1, "%s", r.queue.fault);
	cr_expect_eq(r.chain.readable.bytes, 24);
	cr_expect_eq(r.chain.writable.bytes, 4);
	mem_destroy(r.mem);
}

struct length_case {
	char claim[56];
	uint16_t queue_size, length;
	bool is_indirect;
	int want;
};

ParameterizedTestParameters(queue, chain_lengths)
{
	static struct length_case cases[] = {
		{ "as long as the queue", SIZE, SIZE, false, 1 },
		{ "a queue of one", 1, 1, false, 1 },
		{ "as long as the largest queue", 256, 256, false, 1 },
		{ "an indirect chain may be longer than the queue", SIZE, 256, true, 1 },
		{ "but not longer than 256", SIZE, 257, true, -EBADMSG },
		{ "nor on the largest queue", 256, 257, true, -EBADMSG },
	};
	return cr_make_param_array(struct length_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct length_case *c, queue, chain_lengths)
{
	struct rig r;
	rig_init_size(&r, FEATURES, c->queue_size);
	gpa_t table = c->is_indirect ? TABLE : r.driver.desc;
	for (uint16_t i = 0; i < c->length; i++)
		virtq_write_desc(
			&r.driver, table, i,
			DESC(BUFFER + i, 1, i + 1 < c->length ? NEXT : 0, (uint16_t)(i + 1)));
	if (c->is_indirect)
		virtq_desc(&r.driver, 0, DESC(TABLE, UINT32_C(16) * c->length, INDIRECT, 0));
	virtq_offer(&r.driver, 0);
	cr_expect_eq(queue_pop(&r.queue, &r.chain), c->want, "%s", c->claim);
	if (c->want == 1)
		cr_expect_eq(r.chain.readable.nsegs, c->length, "%s", c->claim);
	mem_destroy(r.mem);
}

Test(queue, what_the_driver_changes_after_the_check_changes_nothing)
{
	struct rig r;
	rig_init(&r, FEATURES);
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, 0, 0));
	virtq_offer(&r.driver, 0);
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1);
	virtq_desc(&r.driver, 0, DESC(0, UINT32_MAX, NEXT, 0xffff));
	cr_expect_eq(r.chain.readable.seg[0].iov_base, guest_ram_at(r.mem, BUFFER));
	cr_expect_eq(r.chain.readable.seg[0].iov_len, 16);
	mem_destroy(r.mem);
}

Test(queue, indices_wrap_at_65536)
{
	struct rig r;
	rig_init(&r, FEATURES);
	for (uint32_t i = 0; i < 70000; i++) {
		uint16_t head = i % SIZE;
		uint32_t id, len;
		virtq_desc(&r.driver, head, DESC(BUFFER + i, 1 + i % 7, WRITE, 0));
		virtq_offer(&r.driver, head);
		cr_assert_eq(queue_pop(&r.queue, &r.chain), 1, "request %u", i);
		cr_assert_eq(r.chain.writable.bytes, 1 + i % 7, "request %u", i);
		queue_push(&r.queue, r.chain.head, i);
		cr_assert(virtq_take_used(&r.driver, &id, &len), "request %u", i);
		cr_assert(id == head && len == i, "request %u came back as %u, %u", i, id, len);
	}
	cr_expect_eq(virtq_used_idx(&r.driver), 70000 - 65536);
	mem_destroy(r.mem);
}

/* --- notifications -------------------------------------------------------------------------------- */

struct event_case {
	char claim[56];
	uint16_t used_event, old, new;
	bool want;
};

ParameterizedTestParameters(queue, event_idx_decides_on_interrupts)
{
	static struct event_case cases[] = {
		{ "the entry waited for was used", 0, 0, 1, true },
		{ "it is not there yet", 1, 0, 1, false },
		{ "it is the last of the batch", 4, 0, 5, true },
		{ "it is in the middle of the batch", 2, 0, 5, true },
		{ "it was used before this batch", 2, 3, 5, false },
		{ "nothing was used", 0, 0, 0, false },
		{ "nothing was used since", 4, 5, 5, false },
		{ "across the wrap, inside", 0xffff, 0xfffe, 2, true },
		{ "across the wrap, the first behind it", 0, 0xfffe, 2, true },
		{ "across the wrap, too far", 2, 0xfffe, 2, false },
		{ "half way round is not now", 0x8000, 0, 8, false },
	};
	return cr_make_param_array(struct event_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct event_case *c, queue, event_idx_decides_on_interrupts)
{
	struct rig r;
	rig_init(&r, FEATURES | EVENTS);
	r.queue.next_used = r.queue.notified_used = c->old;
	virtq_set_used_event(&r.driver, c->used_event);
	virtq_set_avail_flags(&r.driver, VRING_AVAIL_F_NO_INTERRUPT); /* ignored with EVENT_IDX */
	while (r.queue.next_used != c->new)
		queue_push(&r.queue, 0, 0);
	cr_expect_eq(queue_should_notify(&r.queue), c->want, "%s", c->claim);
	cr_expect_not(queue_should_notify(&r.queue), "%s: asked again", c->claim);
	mem_destroy(r.mem);
}

Test(queue, without_event_idx_the_flag_decides_on_interrupts)
{
	struct rig r;
	rig_init(&r, FEATURES);
	cr_expect_not(queue_should_notify(&r.queue), "nothing was used");
	queue_push(&r.queue, 0, 0);
	cr_expect(queue_should_notify(&r.queue));
	virtq_set_avail_flags(&r.driver, VRING_AVAIL_F_NO_INTERRUPT);
	queue_push(&r.queue, 0, 0);
	cr_expect_not(queue_should_notify(&r.queue), "the driver does not want any");
	mem_destroy(r.mem);
}

Test(queue, kicks_are_suppressed_by_the_flag)
{
	struct rig r;
	rig_init(&r, FEATURES);
	queue_disable_kicks(&r.queue);
	cr_expect_eq(virtq_used_flags(&r.driver), VRING_USED_F_NO_NOTIFY);
	cr_expect_not(queue_enable_kicks(&r.queue), "the ring is empty");
	cr_expect_eq(virtq_used_flags(&r.driver), 0);
	queue_disable_kicks(&r.queue);
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, 0, 0));
	virtq_offer(&r.driver, 0);
	cr_expect(queue_enable_kicks(&r.queue), "one came while kicks were off");
	mem_destroy(r.mem);
}

Test(queue, kicks_are_suppressed_by_avail_event)
{
	struct rig r;
	rig_init(&r, FEATURES | EVENTS);
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, 0, 0));
	virtq_offer(&r.driver, 0);
	virtq_offer(&r.driver, 0);
	queue_disable_kicks(&r.queue);
	cr_expect_eq(virtq_avail_event(&r.driver), 0, "already passed: no kick is due");
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1);
	cr_expect(queue_enable_kicks(&r.queue), "one is left");
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1);
	cr_expect_not(queue_enable_kicks(&r.queue));
	cr_expect_eq(virtq_avail_event(&r.driver), 2, "the next one is to kick");
	cr_expect_eq(virtq_used_flags(&r.driver), 0, "the flag is not used");
	mem_destroy(r.mem);
}

/* --- start ---------------------------------------------------------------------------------------- */

struct start_case {
	char claim[48];
	uint32_t size;
	gpa_t desc, avail, used;
	int want;
};

#define AVAIL (RINGS + 0x1000)
#define USED  (RINGS + 0x2000)

ParameterizedTestParameters(queue, start_judges_the_registers)
{
	static struct start_case cases[] = {
		{ "the largest", 256, RINGS, AVAIL, USED, 0 },
		{ "one entry", 1, RINGS, AVAIL, USED, 0 },
		{ "size 0", 0, RINGS, AVAIL, USED, -EINVAL },
		{ "no power of two", 3, RINGS, AVAIL, USED, -EINVAL },
		{ "above the maximum", 512, RINGS, AVAIL, USED, -EINVAL },
		{ "size that fits only its lower half", 0x10100, RINGS, AVAIL, USED, -EINVAL },
		{ "the largest number", 0x80000000, RINGS, AVAIL, USED, -EINVAL },
		{ "table not aligned to 16", 8, RINGS + 8, AVAIL, USED, -EINVAL },
		{ "available ring not aligned to 2", 8, RINGS, AVAIL + 1, USED, -EINVAL },
		{ "used ring not aligned to 4", 8, RINGS, AVAIL, USED + 2, -EINVAL },
		{ "smallest alignments", 8, RINGS + 16, AVAIL + 2, USED + 4, 0 },
		{ "addresses that were never written", 8, 0, 0, 0, -EINVAL },
		{ "table at the end of RAM", 8, RAM_END - 8 * 16, AVAIL, USED, 0 },
		{ "table one entry behind it", 8, RAM_END - 7 * 16, AVAIL, USED, -EINVAL },
		{ "available ring at the end", 8, RINGS, RAM_END - 22, USED, 0 },
		{ "available ring without its used_event", 8, RINGS, RAM_END - 20, USED, -EINVAL },
		{ "used ring at the end", 8, RINGS, AVAIL, RAM_END - 72, 0 },
		{ "used ring behind it", 8, RINGS, AVAIL, RAM_END - 68, -EINVAL },
		{ "a table that wraps", 256, UINT64_MAX - 15, AVAIL, USED, -EINVAL },
	};
	return cr_make_param_array(struct start_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct start_case *c, queue, start_judges_the_registers)
{
	struct guest_mem *mem = guest_ram_create();
	struct queue q;
	queue_init(&q, QUEUE_SIZE_MAX);
	q.size = c->size;
	q.desc_gpa = c->desc;
	q.avail_gpa = c->avail;
	q.used_gpa = c->used;
	cr_expect_eq(queue_start(&q, mem, FEATURES), c->want, "%s: %s", c->claim,
		     q.fault ? q.fault : "started");
	cr_expect_eq(q.mem != NULL, c->want == 0, "%s", c->claim);
	mem_destroy(mem);
}

Test(queue, reset_forgets_everything)
{
	struct rig r;
	struct queue fresh;
	rig_init(&r, FEATURES | EVENTS);
	virtq_desc(&r.driver, 0, DESC(BUFFER, 16, 0, 0));
	virtq_offer(&r.driver, 0);
	cr_assert_eq(queue_pop(&r.queue, &r.chain), 1);
	queue_push(&r.queue, 0, 0);
	queue_init(&fresh, QUEUE_SIZE_MAX);
	queue_reset(&r.queue);
	cr_expect_eq(memcmp(&r.queue, &fresh, sizeof(fresh)), 0);
	mem_destroy(r.mem);
}
