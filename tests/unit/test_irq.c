/* vmm/core/irq.c: GSIs in order, irqfds for edges only, level lines and userspace GICs by callback. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/core/irq.h"

/* What a GIC was told. */
struct gic {
	unsigned int calls;
	uint32_t intid[8];
	bool level[8];
	int rc;
};

static int gic_set(void *arg, uint32_t intid, bool level)
{
	struct gic *g = arg;
	if (g->calls < ARRAY_SIZE(g->intid)) {
		g->intid[g->calls] = intid;
		g->level[g->calls] = level;
	}
	g->calls++;
	return g->rc;
}

struct rig {
	struct kvm kvm;
	struct gic gic;
	struct irq_chip chip;
	struct err e;
};

static void rig_init(struct rig *r, bool has_irqfd, uint32_t nr_gsis)
{
	fake_kvm_reset();
	*r = (struct rig){ .kvm = KVM_CLOSED };
	cr_assert_eq(kvm_open(&r->kvm, &r->e), 0);
	cr_assert_eq(kvm_create_vm(&r->kvm, 40, &r->e), 0);
	const struct irq_sink sink = { .gic = &r->gic, .set_spi = gic_set, .has_irqfd = has_irqfd };
	irq_chip_init(&r->chip, &r->kvm, &sink, nr_gsis);
}

static void rig_fini(struct rig *r)
{
	kvm_close(&r->kvm);
	cr_expect_eq(fake_kvm_irqfds(), 0, "an irqfd is left");
	cr_expect_eq(fake_kvm_open_fds(), 0);
}

Test(irq, which_lines_get_an_irqfd)
{
	static const struct {
		const char *claim;
		bool has_irqfd;
		enum irq_trigger trigger;
		bool want;
	} rows[] = {
		{ "an edge where the kernel injects", true, IRQ_EDGE_RISING, true },
		{ "a level there never: it would stick high", true, IRQ_LEVEL_HIGH, false },
		{ "an edge of a userspace GIC", false, IRQ_EDGE_RISING, false },
		{ "a level of a userspace GIC", false, IRQ_LEVEL_HIGH, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rig r;
		struct irq_line line;
		rig_init(&r, rows[i].has_irqfd, 96);
		cr_assert_eq(irq_line_init(&line, &r.chip, rows[i].trigger, &r.e), 0);
		cr_expect_eq(line.event_fd >= 0, rows[i].want, "%s", rows[i].claim);
		cr_expect_eq(fake_kvm_irqfd(0), line.event_fd, "%s", rows[i].claim);
		cr_expect_eq(r.gic.calls, 0, "%s: connecting raises nothing", rows[i].claim);
		irq_line_fini(&line);
		rig_fini(&r);
	}
}

Test(irq, a_pulse_of_an_irqfd_line_is_one_eventfd_write)
{
	struct rig r;
	struct irq_line line;
	eventfd_t count = 0;
	rig_init(&r, true, 96);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_EDGE_RISING, &r.e), 0);
	irq_line_pulse(&line);
	irq_line_pulse(&line);
	cr_expect_eq(eventfd_read(line.event_fd, &count), 0);
	cr_expect_eq(count, 2);
	cr_expect_eq(r.gic.calls, 0, "the kernel's GIC is not called");
	irq_line_fini(&line);
	rig_fini(&r);
}

Test(irq, a_full_eventfd_does_not_block_the_device, .timeout = 20)
{
	struct rig r;
	struct irq_line line;
	rig_init(&r, true, 96);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_EDGE_RISING, &r.e), 0);
	cr_assert_eq(eventfd_write(line.event_fd, UINT64_MAX - 1), 0);
	irq_line_pulse(&line);
	cr_expect(io_event_drain(line.event_fd));
	irq_line_fini(&line);
	rig_fini(&r);
}

Test(irq, a_pulse_by_callback_goes_up_and_down)
{
	struct rig r;
	struct irq_line line[2];
	rig_init(&r, false, 96);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(irq_line_init(&line[i], &r.chip, IRQ_EDGE_RISING, &r.e), 0);
	irq_line_pulse(&line[1]);
	cr_expect_eq(r.gic.calls, 2);
	cr_expect(r.gic.intid[0] == 33 && r.gic.level[0], "GSI 1 is INTID 33");
	cr_expect(r.gic.intid[1] == 33 && !r.gic.level[1]);
	for (int i = 0; i < 2; i++)
		irq_line_fini(&line[i]);
	rig_fini(&r);
}

Test(irq, levels_are_handed_on_as_they_are)
{
	struct rig r;
	struct irq_line line;
	rig_init(&r, true, 96);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_LEVEL_HIGH, &r.e), 0);
	irq_line_set(&line, true);
	irq_line_set(&line, true);
	irq_line_set(&line, false);
	cr_expect_eq(r.gic.calls, 3);
	cr_expect(r.gic.level[0] && r.gic.level[1] && !r.gic.level[2]);
	cr_expect_eq(r.gic.intid[2], 32);
	irq_line_fini(&line);
	rig_fini(&r);
}

Test(irq, a_gic_that_refuses_is_logged_within_a_budget)
{
	struct rig r;
	struct irq_line line;
	struct log_config quiet = { .has_log_path = true, .log_path = "/dev/null" };
	cr_assert_eq(log_configure(&quiet, &r.e), 0);
	rig_init(&r, false, 96);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_LEVEL_HIGH, &r.e), 0);
	r.gic.rc = -EINVAL;
	for (int i = 0; i < 30; i++)
		irq_line_set(&line, true);
	cr_expect_eq(log_limited_count(), 20);
	irq_line_fini(&line);
	rig_fini(&r);
}

Test(irq, gsis_are_given_in_order_and_never_again)
{
	enum { N = 96 };
	struct rig r;
	static struct irq_line line[N + 1];
	rig_init(&r, true, N);
	for (uint32_t i = 0; i < N; i++) {
		cr_assert_eq(irq_line_init(&line[i], &r.chip, i % 2, &r.e), 0);
		cr_expect_eq(line[i].gsi, i);
	}
	cr_expect_eq(irq_line_init(&line[N], &r.chip, IRQ_EDGE_RISING, &r.e), -ENOSPC);
	cr_expect_str_eq(r.e.text,
			 "Could not allocate GSI: The requested resource is not available.");
	irq_line_fini(&line[0]);
	cr_expect_eq(irq_line_init(&line[N], &r.chip, IRQ_EDGE_RISING, &r.e), -ENOSPC,
		     "a GSI is not handed out again");
	cr_expect(line[N].event_fd == -1 && !line[N].chip, "nothing is left connected");
	for (uint32_t i = 1; i < N; i++)
		irq_line_fini(&line[i]);
	rig_fini(&r);
}

Test(irq, a_refused_irqfd_leaves_nothing_and_takes_no_gsi)
{
	struct rig r;
	struct irq_line line;
	rig_init(&r, true, 96);
	fake_kvm_fail("kvm_irqfd", 1, EAGAIN);
	cr_expect_eq(irq_line_init(&line, &r.chip, IRQ_EDGE_RISING, &r.e), -EAGAIN);
	cr_expect_str_eq(r.e.text, "Cannot connect an interrupt (KVM_IRQFD, GSI 0): "
				   "Resource temporarily unavailable (os error 11)");
	cr_expect(line.event_fd == -1 && !line.chip);
	irq_line_pulse(&line); /* goes nowhere */
	irq_line_fini(&line);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_EDGE_RISING, &r.e), 0);
	cr_expect_eq(line.gsi, 0);
	irq_line_fini(&line);
	rig_fini(&r);
}

Test(irq, a_line_before_init_and_after_fini_goes_nowhere)
{
	struct rig r;
	struct irq_line line = { 0 };
	irq_line_pulse(&line);
	irq_line_set(&line, true);
	irq_line_fini(&line);
	cr_expect_eq(fcntl(0, F_GETFD) >= 0, true, "a zeroed line does not close fd 0");

	rig_init(&r, true, 96);
	cr_assert_eq(irq_line_init(&line, &r.chip, IRQ_EDGE_RISING, &r.e), 0);
	irq_line_fini(&line);
	irq_line_fini(&line);
	irq_line_pulse(&line);
	irq_line_set(&line, true);
	cr_expect_eq(r.gic.calls, 0);
	cr_expect_eq(line.event_fd, -1);
	rig_fini(&r);
}
