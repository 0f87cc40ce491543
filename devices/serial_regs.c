/*
 * The registers of a 16550A as in the PC16550D manual (struct serial_regs), without a thread, a
 * lock or a descriptor: serial.c calls them under its mutex. The transmitter is infinitely fast:
 * the holding register is always empty.
 */
#include "devices/serial.h"
#include "devices/serial_internal.h"
#include "vmm/base/bits.h"

enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2 };
enum { LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

/* Causes of an interrupt have the bits of their enables. */
#define IER_RDI  0x01 /* received data */
#define IER_THRI 0x02 /* transmitter holding register empty */
#define IER_RLSI 0x04 /* receiver line status */
#define IER_MSI  0x08 /* modem status */
#define IER_MASK 0x0f

/* TIMEOUT: data below the trigger level; the wait for four characters' time is skipped. */
#define IIR_NONE       0x01
#define IIR_MODEM      0x00
#define IIR_THRE       0x02
#define IIR_RX         0x04
#define IIR_LINE       0x06
#define IIR_RX_TIMEOUT 0x0c
#define IIR_FIFO       0xc0

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

/* So many looks at LSR with nothing sent between them: a guest that polls for input. */
enum { RX_SIZE = SERIAL_RX_SIZE, POLLS_TO_LISTEN = 16 };

uint8_t serial_regs_causes(const struct serial_regs *r)
{
	uint8_t causes = 0;
	if (r->rx_count)
		causes |= IER_RDI;
	if (r->is_thre_pending)
		causes |= IER_THRI;
	if (r->line_errors)
		causes |= IER_RLSI;
	if (r->msr & (MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD))
		causes |= IER_MSI;
	return causes & r->ier;
}

/* --- receiver --------------------------------------------------------------------------------- */

static unsigned int rx_capacity(const struct serial_regs *r)
{
	return r->fcr & FCR_ENABLE ? RX_SIZE : 1;
}

static unsigned int rx_trigger(const struct serial_regs *r)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return r->fcr & FCR_ENABLE ? levels[FIELD_GET(FCR_TRIGGER, r->fcr)] : 1;
}

static void rx_clear(struct serial_regs *r)
{
	r->rx_head = 0;
	r->rx_count = 0;
}

static void rx_push(struct serial_regs *r, uint8_t byte)
{
	if (r->rx_count >= rx_capacity(r)) { /* only loopback gets here: input waits for room */
		r->line_errors |= LSR_OE;
		if (!(r->fcr & FCR_ENABLE))
			r->rx[r->rx_head] = byte; /* without FIFO the old character is lost */
		return;
	}
	r->rx[(r->rx_head + r->rx_count++) % RX_SIZE] = byte;
}

static uint8_t read_rbr(struct serial_regs *r)
{
	if (!r->rx_count)
		return 0;
	uint8_t byte = r->rx[r->rx_head];
	r->rx_head = (r->rx_head + 1) % RX_SIZE;
	r->rx_count--;
	metric_add(&serial_metrics()->read_count, 1);
	return byte;
}

static bool is_listening(const struct serial_regs *r)
{
	bool listens = (r->mcr & MCR_RTS) || (r->ier & IER_RDI) || r->lsr_polls >= POLLS_TO_LISTEN;
	return listens && !(r->mcr & MCR_LOOP);
}

unsigned int serial_regs_room(const struct serial_regs *r)
{
	return is_listening(r) && r->rx_count < rx_capacity(r) ? rx_capacity(r) - r->rx_count : 0;
}

bool serial_regs_wants_input(const struct serial_regs *r)
{
	return is_listening(r) && !r->rx_count;
}

void serial_regs_receive(struct serial_regs *r, uint8_t byte)
{
	rx_push(r, byte);
}

/* --- registers -------------------------------------------------------------------------------- */

static void write_thr(struct serial_regs *r, uint8_t byte)
{
	r->lsr_polls = 0;
	r->is_thre_pending = true; /* it is empty again already */
	if (r->mcr & MCR_LOOP) {
		rx_push(r, byte);
		return;
	}
	serial_sink_put(r->out, byte);
	if (byte == '\n')
		serial_sink_try(r->out);
}

static void write_ier(struct serial_regs *r, uint8_t value)
{
	/* The holding register is always empty: enabling its interrupt raises it (manual, IER1). */
	if (value & ~r->ier & IER_THRI)
		r->is_thre_pending = true;
	r->ier = value & IER_MASK;
}

/*
 * The manual clears the FIFOs whenever bit 0 changes. We do so only when they are switched off:
 * Linux enables receive interrupts just before it enables the FIFOs, and a first character that
 * came between is worth keeping.
 */
static void write_fcr(struct serial_regs *r, uint8_t value)
{
	if (!(value & FCR_ENABLE) || (value & FCR_CLEAR_RX))
		rx_clear(r);
	r->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

/* The inputs that MCR gives the modem lines: a peer that is always ready, or our own outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct serial_regs *r, uint8_t value)
{
	uint8_t lines = modem_lines(value & MCR_MASK);
	uint8_t changed = lines ^ r->msr;
	uint8_t deltas = r->msr & (MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD);
	deltas |= (changed & MSR_CTS ? MSR_DCTS : 0) | (changed & MSR_DSR ? MSR_DDSR : 0) |
		  (changed & MSR_DCD ? MSR_DDCD : 0) | (r->msr & ~lines & MSR_RI ? MSR_TERI : 0);
	r->msr = lines | deltas;
	r->mcr = value & MCR_MASK;
}

void serial_regs_write(struct serial_regs *r, uint64_t offset, uint8_t value)
{
	bool dlab = r->lcr & LCR_DLAB;
	switch (offset) {
	case THR:
		if (dlab)
			r->dll = value;
		else
			write_thr(r, value);
		return;
	case IER:
		if (dlab)
			r->dlm = value;
		else
			write_ier(r, value);
		return;
	case FCR:
		write_fcr(r, value);
		return;
	case LCR: /* word length, parity and break mean nothing to a console without a wire */
		r->lcr = value;
		return;
	case MCR:
		write_mcr(r, value);
		return;
	case SCR:
		r->scr = value;
		return;
	default: /* LSR and MSR are read-only; the rest of the window is not decoded */
		return;
	}
}

/* Highest priority first (manual, table of interrupt control functions). */
static uint8_t read_iir(struct serial_regs *r)
{
	uint8_t causes = serial_regs_causes(r);
	uint8_t fifo = r->fcr & FCR_ENABLE ? IIR_FIFO : 0;
	if (causes & IER_RLSI)
		return fifo | IIR_LINE;
	if (causes & IER_RDI)
		return fifo | (r->rx_count >= rx_trigger(r) ? IIR_RX : IIR_RX_TIMEOUT);
	if (causes & IER_THRI) {
		r->is_thre_pending = false; /* being told is what acknowledges this one */
		return fifo | IIR_THRE;
	}
	if (causes & IER_MSI)
		return fifo | IIR_MODEM;
	serial_sink_try(r->out); /* a handler that is done: nothing more to collect */
	return fifo | IIR_NONE;
}

static uint8_t read_lsr(struct serial_regs *r)
{
	uint8_t lsr = LSR_THRE | LSR_TEMT | r->line_errors | (r->rx_count ? LSR_DR : 0);
	r->line_errors = 0;
	if (r->lsr_polls < POLLS_TO_LISTEN)
		r->lsr_polls++;
	return lsr;
}

static uint8_t read_msr(struct serial_regs *r)
{
	uint8_t msr = r->msr;
	r->msr &= MSR_CTS | MSR_DSR | MSR_RI | MSR_DCD;
	return msr;
}

uint8_t serial_regs_read(struct serial_regs *r, uint64_t offset)
{
	bool dlab = r->lcr & LCR_DLAB;
	switch (offset) {
	case RBR:
		return dlab ? r->dll : read_rbr(r);
	case IER:
		return dlab ? r->dlm : r->ier;
	case IIR:
		return read_iir(r);
	case LCR:
		return r->lcr;
	case MCR:
		return r->mcr;
	case LSR:
		return read_lsr(r);
	case MSR:
		return read_msr(r);
	case SCR:
		return r->scr;
	default: /* not decoded */
		return 0;
	}
}

void serial_regs_init(struct serial_regs *r, struct serial_sink *out)
{
	*r = (struct serial_regs){
		.out = out,
		.msr = modem_lines(0),
		.lcr = 0x03, /* as firmware leaves it: 8 bits, 9600 baud; early consoles trust it */
		.dll = 12,
	};
}
