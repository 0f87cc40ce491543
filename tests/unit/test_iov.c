/* devices/virtio/iov.c: the same bytes, however they are cut. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

#include "devices/virtio/iov.h"
#include "vmm/base/bits.h"

enum { NSEGS = 6, BYTES = 16 };

struct cut_case {
	char claim[40];
	uint8_t len[NSEGS]; /* of each segment; they add up to BYTES */
};

ParameterizedTestParameters(iov, cuts)
{
	static struct cut_case cases[] = {
		{ "one piece", { 16 } },
		{ "two halves", { 8, 8 } },
		{ "one byte first", { 1, 15 } },
		{ "one byte last", { 15, 1 } },
		{ "all odd", { 3, 5, 1, 7 } },
		{ "empty ones at both ends", { 0, 0, 16, 0, 0 } },
		{ "empty ones in between", { 4, 0, 4, 0, 8 } },
		{ "an empty one behind the last byte", { 8, 7, 1, 0 } },
	};
	return cr_make_param_array(struct cut_case, cases, ARRAY_SIZE(cases));
}

struct rig {
	uint8_t *heap[NSEGS]; /* memory of its own for each, so that ASan sees overruns */
	struct iovec seg[NSEGS];
	struct iov iov;
};

/* Segment contents count up from 0 over the whole run. */
static void rig_init(struct rig *r, const struct cut_case *c)
{
	uint8_t next = 0;
	memset(r, 0, sizeof(*r));
	r->iov.seg = r->seg;
	for (unsigned int i = 0; i < NSEGS; i++) {
		r->heap[i] = malloc(c->len[i] ? c->len[i] : 1);
		for (unsigned int k = 0; k < c->len[i]; k++)
			r->heap[i][k] = next++;
		iov_add(&r->iov, r->heap[i], c->len[i]);
	}
	cr_assert_eq(r->iov.bytes, BYTES, "%s", c->claim);
}

/* Reads the memory back, whatever the run has become. */
static void read_back(const struct rig *r, const struct cut_case *c, uint8_t ret[BYTES])
{
	for (unsigned int i = 0; i < NSEGS; i++) {
		memcpy(ret, r->heap[i], c->len[i]);
		ret += c->len[i];
	}
}

static void rig_fini(struct rig *r)
{
	for (unsigned int i = 0; i < NSEGS; i++)
		free(r->heap[i]);
}

ParameterizedTest(struct cut_case *c, iov, cuts)
{
	/* Taken in two goes, the second from wherever the first ended. */
	for (unsigned int first = 0; first <= BYTES; first++) {
		struct rig r;
		uint8_t got[BYTES];
		rig_init(&r, c);
		cr_assert(iov_get(&r.iov, got, first), "%s", c->claim);
		cr_expect_eq(r.iov.bytes, BYTES - first, "%s", c->claim);
		cr_expect_not(iov_get(&r.iov, got, BYTES - first + 1), "%s: too many", c->claim);
		cr_assert(iov_get(&r.iov, got + first, BYTES - first), "%s", c->claim);
		for (unsigned int i = 0; i < BYTES; i++)
			cr_expect_eq(got[i], i, "%s: byte %u of %u + rest", c->claim, i, first);
		cr_expect_eq(r.iov.bytes, 0, "%s", c->claim);
		rig_fini(&r);
	}
}

ParameterizedTestParameters(iov, puts)
{
	return iov_cuts_param();
}
ParameterizedTest(struct cut_case *c, iov, puts)
{
	static const uint8_t text[] = "ABCDEFGHIJKLMNOP";
	for (unsigned int skip = 0; skip <= BYTES; skip++) {
		struct rig r;
		uint8_t got[BYTES];
		rig_init(&r, c);
		iov_skip(&r.iov, skip);
		cr_expect_not(iov_put(&r.iov, text, BYTES - skip + 1), "%s: too many", c->claim);
		cr_assert(iov_put(&r.iov, text, BYTES - skip), "%s", c->claim);
		read_back(&r, c, got);
		for (unsigned int i = 0; i < BYTES; i++)
			cr_expect_eq(got[i], i < skip ? i : text[i - skip], "%s: byte %u", c->claim,
				     i);
		rig_fini(&r);
	}
}

ParameterizedTestParameters(iov, last_bytes)
{
	return iov_cuts_param();
}
ParameterizedTest(struct cut_case *c, iov, last_bytes)
{
	struct rig r;
	rig_init(&r, c);
	for (unsigned int i = BYTES; i-- > 0;) {
		uint8_t *last = iov_take_last(&r.iov);
		cr_assert_not_null(last, "%s", c->claim);
		cr_expect_eq(*last, i, "%s: byte %u", c->claim, i);
		cr_expect_eq(r.iov.bytes, i, "%s", c->claim);
	}
	cr_expect_null(iov_take_last(&r.iov), "%s: nothing is left", c->claim);
	rig_fini(&r);
}

Test(iov, nothing_can_be_taken_from_nothing)
{
	struct iov v = { 0 };
	uint8_t byte;
	cr_expect(iov_get(&v, &byte, 0));
	cr_expect(iov_put(&v, &byte, 0));
	cr_expect_not(iov_get(&v, &byte, 1));
	cr_expect_not(iov_put(&v, &byte, 1));
	iov_skip(&v, UINT64_MAX);
	cr_expect_eq(v.bytes, 0);
}

Test(iov, front_and_back_meet_in_the_middle)
{
	struct cut_case c = { "", { 0, 5, 6, 5 } };
	struct rig r;
	uint8_t header[10];
	rig_init(&r, &c);
	cr_expect_eq(*iov_take_last(&r.iov), 15);
	cr_expect(iov_get(&r.iov, header, sizeof(header)));
	cr_expect_eq(r.iov.bytes, 5);
	cr_expect_eq(*(uint8_t *)r.iov.seg[0].iov_base, 10, "data goes on behind the header");
	iov_skip(&r.iov, 100);
	cr_expect_eq(r.iov.bytes, 0, "no more than there is");
	rig_fini(&r);
}
