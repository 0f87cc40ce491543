/*
 * The 16550A UART (struct serial): serial_regs.c in a 4 KiB window, serial_host.c behind it. vCPU
 * threads touch the registers, the VMM thread moves input and late output; one mutex, `lock`,
 * guards all fields after it.
 *
 * Interrupts. The chip has one level output, but our line is edge triggered (the contract's 4.2). A
 * pulse is sent whenever an enabled cause becomes pending that was not, so also for a second cause
 * while a first one is. Nothing is lost with a driver that serves causes until IIR says "none", as
 * all do that work on PCs' edge triggered lines: after that read no cause is pending, so whatever
 * comes next is a new one and pulses; the GIC latches a pulse that comes while the handler still
 * runs. A pulse too many costs the guest one look at IIR.
 *
 * Output. A guest never waits for its reader. Bytes are collected up to a newline, to an interrupt
 * handler's last look at IIR (an echo, a prompt), or for HOLD_NS at most: a boot log costs a write
 * per line, not per byte, and a polling guest's prompt still appears at once to the eye. What is
 * held is written when the VM ends.
 *
 * Input. stdin is the transmitter at the other end, and like one it heeds RTS: it sends while the
 * guest raises RTS, has receive interrupts enabled, or polls LSR; one FIFO at a time. So what is
 * typed or piped before the guest listens waits in the terminal or pipe, and is not lost when the
 * guest's driver resets the FIFO.
 */
#include "devices/serial.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/serial_internal.h"
#include "vmm/base/bits.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

#define WINDOW_SIZE 0x1000
#define HOLD_NS     20000000 /* 20 ms */
#define AT_ONCE_NS  1

struct serial {
	struct device dev;
	struct loop *loop;
	struct bus *bus; /* NULL: no window yet */
	gpa_t base;
	struct irq_line irq;
	int timer_fd; /* wakes the VMM thread: at once, or when held output is due */
	struct loop_event timer_event;

	pthread_mutex_t lock;
	struct serial_regs regs;
	uint8_t raised; /* causes that the last pulse or an earlier one told of */
	int in_fd;      /* -1: no input, or its end was seen */
	bool in_owned;
	struct loop_event in_event;  /* registered while there is room and the guest listens */
	struct loop_event out_event; /* registered while the sink is full */
	bool is_woken;               /* the timer was set to fire at once */
	bool is_held;                /* the timer was set for held output */
	struct serial_sink sink;
};

/* --- the interrupt ---------------------------------------------------------------------------- */

static void update_interrupt(struct serial *s)
{
	uint8_t now = serial_regs_causes(&s->regs);
	if (now & ~s->raised)
		irq_line_pulse(&s->irq);
	s->raised = now;
}

/* --- the VMM thread --------------------------------------------------------------------------- */

static void wake_loop(struct serial *s, long delay_ns)
{
	const struct itimerspec when = { .it_value.tv_nsec = delay_ns };
	(void)timerfd_settime(s->timer_fd, 0, &when, NULL); /* fails only for bad arguments */
}

static bool is_input_due(const struct serial *s)
{
	return s->in_fd >= 0 && s->in_event.fd < 0 && serial_regs_wants_input(&s->regs);
}

static bool is_output_due(const struct serial *s)
{
	return s->sink.is_full && s->out_event.fd < 0 && s->sink.is_pollable;
}

/* After whatever a vCPU did: only the VMM thread may change what the loop watches. */
static void settle(struct serial *s)
{
	update_interrupt(s);
	if (s->is_woken)
		return;
	if (is_input_due(s) || is_output_due(s)) {
		s->is_woken = true;
		wake_loop(s, AT_ONCE_NS);
	} else if (s->sink.len && !s->sink.is_full && !s->is_held) {
		s->is_held = true;
		wake_loop(s, HOLD_NS);
	}
}

static void input_end(struct serial *s)
{
	loop_remove(s->loop, &s->in_event);
	if (s->in_owned)
		close_fd(&s->in_fd);
	s->in_fd = -1;
}

static void receive_input(struct serial *s, uint32_t events)
{
	uint8_t buf[SERIAL_RX_SIZE];
	unsigned int room = serial_regs_room(&s->regs);
	if (!room) {
		/* Level triggered: watching on would spin. The guest's next step wakes us. */
		loop_remove(s->loop, &s->in_event);
		return;
	}
	ssize_t n = read(s->in_fd, buf, room);
	for (ssize_t i = 0; i < n; i++)
		serial_regs_receive(&s->regs, buf[i]);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
	    (n < 0 && (events & (EPOLLHUP | EPOLLERR)))) {
		log_info("The serial input has ended.");
		input_end(s);
	}
	update_interrupt(s);
}

static void on_input(void *arg, uint32_t events)
{
	struct serial *s = arg;
	(void)pthread_mutex_lock(&s->lock);
	receive_input(s, events);
	(void)pthread_mutex_unlock(&s->lock);
}

static void on_writable(void *arg, uint32_t events)
{
	struct serial *s = arg;
	(void)events; /* also EPOLLERR: the write says what it is */
	(void)pthread_mutex_lock(&s->lock);
	serial_sink_flush(&s->sink);
	if (!s->sink.is_full)
		loop_remove(s->loop, &s->out_event);
	(void)pthread_mutex_unlock(&s->lock);
}

static void update_watches(struct serial *s)
{
	if (is_input_due(s) && loop_add(s->loop, &s->in_event, s->in_fd, EPOLLIN) < 0) {
		log_warn("stdin cannot be watched: no console input.");
		input_end(s);
	}
	if (is_output_due(s) && loop_add(s->loop, &s->out_event, s->sink.fd, EPOLLOUT) < 0)
		s->sink.is_pollable = false; /* a device without poll: every newline tries again */
}

static void on_timer(void *arg, uint32_t events)
{
	struct serial *s = arg;
	(void)events;
	(void)pthread_mutex_lock(&s->lock);
	(void)io_event_drain(s->timer_fd); /* set again since it fired: it fires again */
	s->is_woken = false;
	s->is_held = false;
	serial_sink_try(&s->sink);
	update_watches(s);
	(void)pthread_mutex_unlock(&s->lock);
}

static void serial_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	struct serial *s = device;
	memset(data, 0, len);
	if (len != 1) {
		metric_add(&serial_metrics()->missed_read_count, 1);
		return;
	}
	(void)pthread_mutex_lock(&s->lock);
	data[0] = serial_regs_read(&s->regs, offset);
	settle(s);
	(void)pthread_mutex_unlock(&s->lock);
}

static void serial_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	struct serial *s = device;
	if (len != 1) {
		metric_add(&serial_metrics()->missed_write_count, 1);
		return;
	}
	(void)pthread_mutex_lock(&s->lock);
	serial_regs_write(&s->regs, offset, data[0]);
	settle(s);
	(void)pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_bus_ops = { .read = serial_read, .write = serial_write };

/* --- the device ------------------------------------------------------------------------------- */

static void serial_destroy(struct device *d)
{
	struct serial *s = d ? container_of(d, struct serial, dev) : NULL;
	if (!s)
		return;
	if (s->bus)
		bus_remove(s->bus, s->base);
	loop_remove(s->loop, &s->out_event);
	loop_remove(s->loop, &s->timer_event);
	input_end(s);
	serial_sink_close(&s->sink);
	serial_restore_terminal();
	irq_line_fini(&s->irq);
	close_fd(&s->timer_fd);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct serial *serial_new(const struct device_env *env, gpa_t base)
{
	struct serial *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->dev.ops = &serial_device_ops;
	s->loop = env->loop;
	s->base = base;
	s->timer_fd = -1;
	s->in_fd = -1;
	s->sink.fd = -1;
	loop_event_init(&s->timer_event, on_timer, s);
	loop_event_init(&s->in_event, on_input, s);
	loop_event_init(&s->out_event, on_writable, s);
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail for a plain one */
	serial_regs_init(&s->regs, &s->sink);
	return s;
}

static int serial_connect(struct serial *s, const struct device_env *env,
			  const struct serial_config *cfg, struct err *e)
{
	int rc = serial_sink_open(&s->sink, cfg->has_serial_out_path ? cfg->serial_out_path : NULL,
				  e);
	if (rc < 0)
		return rc;
	s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	rc = s->timer_fd < 0 ? -errno : loop_add(s->loop, &s->timer_event, s->timer_fd, EPOLLIN);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot create the UART's timer");
	rc = irq_line_init(&s->irq, env->irqs, IRQ_EDGE_RISING, e);
	if (rc < 0)
		return rc;
	rc = bus_add(env->bus, cfg->base, WINDOW_SIZE, &serial_bus_ops, s);
	if (rc < 0)
		return err_set_os(e, rc, "Cannot place the UART at 0x%llx",
				  (unsigned long long)cfg->base);
	s->bus = env->bus;
	return 0;
}

static int serial_create(const struct device_env *env, const void *config, struct device **ret,
			 struct err *e)
{
	const struct serial_config *cfg = config;
	struct serial *s = serial_new(env, cfg->base);
	if (!s)
		return err_set_os(e, -ENOMEM, "Cannot create the UART");
	int rc = serial_connect(s, env, cfg, e);
	if (rc < 0) {
		serial_destroy(&s->dev);
		return rc;
	}
	/* Last, so that a failure above never leaves the terminal raw. With a path: output only. */
	if (!cfg->has_serial_out_path)
		s->in_fd = serial_source_open(&s->in_owned);
	*ret = &s->dev;
	return 0;
}

static int serial_describe(const struct device *d, struct fdt_list *list)
{
	const struct serial *s = container_of(d, const struct serial, dev);
	struct fdt_desc *node = fdt_list_add(list);
	if (!node)
		return -ENOMEM;
	fdt_desc_init(node, "uart", s->base);
	fdt_desc_strings(node, "compatible", "ns16550a");
	fdt_desc_reg(node, s->base, WINDOW_SIZE);
	fdt_desc_u32(node, "clocks", FDT_PHANDLE_CLOCK);
	fdt_desc_strings(node, "clock-names", "apb_pclk");
	fdt_desc_spi(node, s->irq.gsi, s->irq.trigger);
	return 0;
}

const struct device_ops serial_device_ops = {
	.kind = "serial",
	.create = serial_create,
	.describe = serial_describe,
	.destroy = serial_destroy,
};
