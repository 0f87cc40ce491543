/*
 * The 16550A UART (struct serial): its registers as in the PC16550D manual, byte wide, at the start
 * of a 4 KiB window. vCPU threads touch the registers, the VMM thread moves input and late output;
 * one mutex, `lock`, guards all fields after it.
 *
 * Interrupts. The chip has one level output, but our line is edge triggered (the contract's 4.2). A
 * pulse is sent whenever an enabled cause becomes pending that was not, so also for a second cause
 * while a first one is. Nothing is lost with a driver that serves causes until IIR says "none", as
 * all do that work on PCs' edge triggered lines: after that read no cause is pending, so whatever
 * comes next is a new one and pulses; the GIC latches a pulse that comes while the handler still
 * runs. A pulse too many costs the guest one look at IIR.
 *
 * Output. A byte is never waited for: transmitter and FIFO are always empty. Bytes are collected up
 * to a newline, until an interrupt handler's last look at IIR (an echo, a prompt), or for HOLD_NS
 * at most: a boot log costs a write per line, not per byte, and a polling guest's prompt still
 * appears at once to the eye. What is held is written when the VM ends for whatever reason.
 *
 * Input. stdin is the transmitter at the other end, and like one it heeds RTS: it sends while the
 * guest raises RTS, has receive interrupts enabled, or polls LSR; one FIFO at a time. So what is
 * typed or piped before the guest listens waits in the terminal or pipe and is not lost when the
 * guest's driver resets the FIFO.
 */
#include "devices/serial.h"

#include <errno.h>
#include <pthread.h>
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

enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2 };
enum { LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

/* Causes of an interrupt have the bits of their enables. */
#define IER_RDI  0x01 /* received data */
#define IER_THRI 0x02 /* transmitter holding register empty */
#define IER_RLSI 0x04 /* receiver line status */
#define IER_MSI  0x08 /* modem status */
#define IER_MASK 0x0f

#define IIR_NONE  0x01
#define IIR_MODEM 0x00
#define IIR_THRE  0x02
#define IIR_RX    0x04
#define IIR_LINE  0x06
#define IIR_RX_TIMEOUT                                                             \
	0x0c /* data below the trigger level; the four characters' wait is skipped \
	      */
#define IIR_FIFO 0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_TRIGGER  0xc0

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DCTS 0x01 /* changed since the last read; TERI: RI fell */
#define MSR_DDSR 0x02
#define MSR_TERI 0x04
#define MSR_DDCD 0x08
#define MSR_CTS  0x10
#define MSR_DSR  0x20
#define MSR_RI   0x40
#define MSR_DCD  0x80

enum {
	RX_SIZE = 16, /* the 16550A's receive FIFO */
	POLLS_TO_LISTEN =
		16 /* so many looks at LSR, nothing sent between: a guest polls for input */
};

struct serial {
	struct device dev;
	struct loop *loop;
	struct bus *bus; /* NULL: no window yet */
	gpa_t base;
	struct irq_line irq;
	int timer_fd; /* wakes the VMM thread: at once, or when held output is due */
	struct loop_event timer_event;

	pthread_mutex_t lock;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors; /* LSR_OE, until LSR is read */
	uint8_t msr;         /* lines and deltas */
	bool is_thre_pending;
	uint8_t raised; /* causes that the last pulse or an earlier one told of */
	uint8_t rx[RX_SIZE];
	unsigned int rx_head, rx_count;
	unsigned int lsr_polls;

	int in_fd; /* -1: no input, or its end was seen */
	bool in_owned;
	struct loop_event in_event;  /* registered while there is room and the guest listens */
	struct loop_event out_event; /* registered while the sink is full */
	bool is_out_pollable;
	bool is_woken; /* the timer was set to fire at once */
	bool is_held;  /* the timer was set for held output */
	struct serial_sink sink;
};

/* --- the interrupt -----------------------------------------------------------------------------
 */

static uint8_t pending_causes(const struct serial *s)
{
	uint8_t causes = 0;
	if (s->rx_count)
		causes |= IER_RDI;
	if (s->is_thre_pending)
		causes |= IER_THRI;
	if (s->line_errors)
		causes |= IER_RLSI;
	if (s->msr & (MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD))
		causes |= IER_MSI;
	return causes & s->ier;
}

static void update_interrupt(struct serial *s)
{
	uint8_t now = pending_causes(s);
	if (now & ~s->raised)
		irq_line_pulse(&s->irq);
	s->raised = now;
}

/* --- receiver ----------------------------------------------------------------------------------
 */

static unsigned int rx_capacity(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? RX_SIZE : 1;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return s->fcr & FCR_ENABLE ? levels[FIELD_GET(FCR_TRIGGER, s->fcr)] : 1;
}

static void rx_clear(struct serial *s)
{
	s->rx_head = 0;
	s->rx_count = 0;
}

static void rx_push(struct serial *s, uint8_t byte)
{
	if (s->rx_count >= rx_capacity(s)) { /* only loopback gets here: input waits for room */
		s->line_errors |= LSR_OE;
		if (!(s->fcr & FCR_ENABLE))
			s->rx[s->rx_head] = byte; /* without FIFO the old character is lost */
		return;
	}
	s->rx[(s->rx_head + s->rx_count++) % RX_SIZE] = byte;
}

static uint8_t read_rbr(struct serial *s)
{
	if (!s->rx_count)
		return 0;
	uint8_t byte = s->rx[s->rx_head];
	s->rx_head = (s->rx_head + 1) % RX_SIZE;
	s->rx_count--;
	metric_add(&serial_metrics()->read_count, 1);
	return byte;
}

/* Does the guest want what stdin may have? Refilled when empty: one wake-up per FIFO. */
static bool is_input_wanted(const struct serial *s)
{
	bool listens = (s->mcr & MCR_RTS) || (s->ier & IER_RDI) || s->lsr_polls >= POLLS_TO_LISTEN;
	return listens && !(s->mcr & MCR_LOOP);
}

/* --- the VMM thread ----------------------------------------------------------------------------
 */

static void wake_loop(struct serial *s, long delay_ns)
{
	const struct itimerspec when = { .it_value.tv_nsec = delay_ns };
	(void)timerfd_settime(s->timer_fd, 0, &when, NULL); /* fails only for bad arguments */
}

static bool is_input_due(const struct serial *s)
{
	return s->in_fd >= 0 && s->in_event.fd < 0 && !s->rx_count && is_input_wanted(s);
}

static bool is_output_due(const struct serial *s)
{
	return s->sink.is_full && s->out_event.fd < 0 && s->is_out_pollable;
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

static void on_input(void *arg, uint32_t events)
{
	struct serial *s = arg;
	uint8_t buf[RX_SIZE];
	(void)pthread_mutex_lock(&s->lock);
	unsigned int room = is_input_wanted(s) ? rx_capacity(s) - s->rx_count : 0;
	if (s->rx_count > rx_capacity(s) || !room) {
		/* Level triggered: watching on would spin. The guest's next step wakes us. */
		loop_remove(s->loop, &s->in_event);
		goto unlock;
	}
	ssize_t n = read(s->in_fd, buf, room);
	for (ssize_t i = 0; i < n; i++)
		rx_push(s, buf[i]);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) ||
	    (n < 0 && (events & (EPOLLHUP | EPOLLERR)))) {
		log_info("The serial input has ended.");
		input_end(s);
	}
	update_interrupt(s);
unlock:
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
	if (is_input_due(s) &&
	    loop_add(s->loop, &s->in_event, s->in_fd, EPOLLIN, on_input, s) < 0) {
		log_warn("stdin cannot be watched: no console input.");
		input_end(s);
	}
	if (is_output_due(s) &&
	    loop_add(s->loop, &s->out_event, s->sink.fd, EPOLLOUT, on_writable, s) < 0)
		s->is_out_pollable = false; /* a device without poll: every newline tries again */
}

static void on_timer(void *arg, uint32_t events)
{
	struct serial *s = arg;
	(void)events;
	(void)pthread_mutex_lock(&s->lock);
	(void)io_event_drain(
		s->timer_fd); /* a timer that was set again meanwhile: it fires again */
	s->is_woken = false;
	s->is_held = false;
	if (!s->sink.is_full || !s->is_out_pollable)
		serial_sink_flush(&s->sink);
	update_watches(s);
	(void)pthread_mutex_unlock(&s->lock);
}

/* --- registers ---------------------------------------------------------------------------------
 */

static void write_thr(struct serial *s, uint8_t byte)
{
	s->lsr_polls = 0;
	s->is_thre_pending = true; /* it is empty again already */
	if (s->mcr & MCR_LOOP) {
		rx_push(s, byte);
		return;
	}
	serial_sink_put(&s->sink, byte);
	if (byte == '\n' && (!s->sink.is_full || !s->is_out_pollable))
		serial_sink_flush(&s->sink);
}

static void write_ier(struct serial *s, uint8_t value)
{
	/* The holding register is always empty: enabling its interrupt raises it (manual, IER1). */
	if (value & ~s->ier & IER_THRI)
		s->is_thre_pending = true;
	s->ier = value & IER_MASK;
}

/*
 * The manual clears the FIFOs whenever bit 0 changes. We do so only when they are switched off:
 * Linux enables receive interrupts just before it enables the FIFOs, and a first character that
 * came between is worth keeping.
 */
static void write_fcr(struct serial *s, uint8_t value)
{
	if (!(value & FCR_ENABLE) || (value & FCR_CLEAR_RX))
		rx_clear(s);
	s->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

/* The inputs that MCR gives the modem lines: a peer that is always ready, or our own outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial *s, uint8_t value)
{
	uint8_t lines = modem_lines(value & MCR_MASK);
	uint8_t changed = lines ^ s->msr;
	uint8_t deltas = s->msr & (MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD);
	deltas |= (changed & MSR_CTS ? MSR_DCTS : 0) | (changed & MSR_DSR ? MSR_DDSR : 0) |
		  (changed & MSR_DCD ? MSR_DDCD : 0) | (s->msr & ~lines & MSR_RI ? MSR_TERI : 0);
	s->msr = lines | deltas;
	s->mcr = value & MCR_MASK;
}

static void write_register(struct serial *s, uint64_t offset, uint8_t value)
{
	bool dlab = s->lcr & LCR_DLAB;
	switch (offset) {
	case THR:
		if (dlab)
			s->dll = value;
		else
			write_thr(s, value);
		return;
	case IER:
		if (dlab)
			s->dlm = value;
		else
			write_ier(s, value);
		return;
	case FCR:
		write_fcr(s, value);
		return;
	case LCR: /* word length, parity and break mean nothing to a console without a wire */
		s->lcr = value;
		return;
	case MCR:
		write_mcr(s, value);
		return;
	case SCR:
		s->scr = value;
		return;
	default: /* LSR and MSR are read-only; the rest of the window is not decoded */
		return;
	}
}

/* Highest priority first (manual, table of interrupt control functions). */
static uint8_t read_iir(struct serial *s)
{
	uint8_t causes = pending_causes(s);
	uint8_t fifo = s->fcr & FCR_ENABLE ? IIR_FIFO : 0;
	if (causes & IER_RLSI)
		return fifo | IIR_LINE;
	if (causes & IER_RDI)
		return fifo | (s->rx_count >= rx_trigger(s) ? IIR_RX : IIR_RX_TIMEOUT);
	if (causes & IER_THRI) {
		s->is_thre_pending = false; /* being told is what acknowledges this one */
		return fifo | IIR_THRE;
	}
	if (causes & IER_MSI)
		return fifo | IIR_MODEM;
	if (!s->sink.is_full)
		serial_sink_flush(&s->sink); /* a handler that is done: nothing more to collect */
	return fifo | IIR_NONE;
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t lsr = LSR_THRE | LSR_TEMT | s->line_errors | (s->rx_count ? LSR_DR : 0);
	s->line_errors = 0;
	if (s->lsr_polls < POLLS_TO_LISTEN)
		s->lsr_polls++;
	return lsr;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t msr = s->msr;
	s->msr &= MSR_CTS | MSR_DSR | MSR_RI | MSR_DCD;
	return msr;
}

static uint8_t read_register(struct serial *s, uint64_t offset)
{
	bool dlab = s->lcr & LCR_DLAB;
	switch (offset) {
	case RBR:
		return dlab ? s->dll : read_rbr(s);
	case IER:
		return dlab ? s->dlm : s->ier;
	case IIR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		return read_msr(s);
	case SCR:
		return s->scr;
	default: /* not decoded */
		return 0;
	}
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
	data[0] = read_register(s, offset);
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
	write_register(s, offset, data[0]);
	settle(s);
	(void)pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_bus_ops = { .read = serial_read, .write = serial_write };

/* --- the device --------------------------------------------------------------------------------
 */

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
	s->timer_event.fd = s->in_event.fd = s->out_event.fd = -1;
	s->is_out_pollable = true;
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail for a plain one */
	s->msr = modem_lines(0);
	s->lcr = 0x03; /* as firmware leaves it: 8 bits, 9600 baud; early consoles trust it */
	s->dll = 12;
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
	rc = s->timer_fd < 0
		     ? -errno
		     : loop_add(s->loop, &s->timer_event, s->timer_fd, EPOLLIN, on_timer, s);
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
