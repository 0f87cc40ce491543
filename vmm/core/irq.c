/*
 * Devices' interrupt lines (struct irq_chip, struct irq_line). Lines are made on the VMM thread
 * while the machine is built; pulse and set may be called from any thread.
 *
 * Ordering: a device publishes what the interrupt is about (used ring, InterruptStatus) before it
 * pulses. An eventfd write and KVM_IRQ_LINE are system calls that take the kernel's GIC lock, which
 * orders those stores before the guest sees the interrupt; no further barrier is needed here.
 */
#include "vmm/core/irq.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

void irq_chip_init(struct irq_chip *c, const struct kvm *kvm, const struct irq_sink *sink,
		   uint32_t nr_gsis)
{
	*c = (struct irq_chip){ .kvm = kvm, .sink = *sink, .nr_gsis = nr_gsis };
}

int irq_line_init(struct irq_line *line, struct irq_chip *c, enum irq_trigger trigger,
		  struct err *e)
{
	*line = (struct irq_line){ .event_fd = -1 };
	if (c->next_gsi >= c->nr_gsis)
		return err_set(e, -ENOSPC,
			       "Could not allocate GSI: The requested resource is not available.");
	cleanup_close int fd = -1;
	/* A plain irqfd only ever raises: it would stick high on a level line (gic.md F-4). */
	if (c->sink.has_irqfd && trigger == IRQ_EDGE_RISING) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		int rc = fd < 0 ? -errno : kvm_irqfd(c->kvm, c->next_gsi, fd, true);
		if (rc < 0)
			return err_set_os(e, rc, "Cannot connect an interrupt (KVM_IRQFD, GSI %u)",
					  c->next_gsi);
	}
	*line = (struct irq_line){
		.chip = c, .gsi = c->next_gsi++, .trigger = trigger, .event_fd = take_fd(&fd)
	};
	return 0;
}

void irq_line_fini(struct irq_line *line)
{
	if (!line->chip)
		return;
	if (line->event_fd >= 0)
		/* Should it fail: closing does it, too. */
		(void)kvm_irqfd(line->chip->kvm, line->gsi, line->event_fd, false);
	close_fd(&line->event_fd);
	line->chip = NULL;
}

static void sink_set(struct irq_line *line, bool level)
{
	const struct irq_sink *sink = &line->chip->sink;
	int rc = sink->set_spi(sink->gic, line->gsi + IRQ_SPI_BASE, level);
	if (rc < 0)
		log_guest(LOG_ERROR, "Interrupt GSI %u could not be set to %d: %d", line->gsi,
			  level, rc);
}

void irq_line_pulse(struct irq_line *line)
{
	if (!line->chip)
		return;
	assert(line->trigger == IRQ_EDGE_RISING);
	if (line->event_fd >= 0) {
		(void)io_event_signal(line->event_fd); /* a full counter is a pending interrupt */
		return;
	}
	sink_set(line, true);
	sink_set(line, false);
}

void irq_line_set(struct irq_line *line, bool level)
{
	if (!line->chip)
		return;
	assert(line->trigger == IRQ_LEVEL_HIGH);
	sink_set(line, level);
}
