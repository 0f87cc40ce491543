/*
 * The parts of the UART, for devices/serial*.c alone: the chip's registers (struct serial_regs),
 * where output goes (struct serial_sink), where input comes from, and the terminal's mode. Nothing
 * here blocks unless it says so, and nothing locks: serial.c calls it under its mutex.
 */
#ifndef WICK_DEVICES_SERIAL_INTERNAL_H
#define WICK_DEVICES_SERIAL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum { SERIAL_SINK_SIZE = 16384, SERIAL_RX_SIZE = 16 /* the 16550A's receive FIFO */ };

struct serial_sink {
	int fd;           /* -1: output goes nowhere */
	bool is_owned;    /* ours to close */
	bool must_poll;   /* a description shared with others, so blocking: ask before writing */
	size_t max_write; /* bytes that one write may take without blocking */
	bool is_pollable; /* until epoll refuses it: a full sink is announced by EPOLLOUT again */
	bool is_full;     /* the last write was refused; cleared by whoever saw EPOLLOUT */
	size_t len;
	uint8_t buf[SERIAL_SINK_SIZE]; /* [0, len): taken from the guest, not yet written */
};

/* `k` is zeroed. `path`: a file (created, appended to) or FIFO; NULL: stdout, which cannot fail. */
int serial_sink_open(struct serial_sink *k, const char *path, struct err *e);
/* Takes one byte; counts it as missed if there is no room. */
void serial_sink_put(struct serial_sink *k, uint8_t byte);
/* Writes what the sink takes now. Afterwards: empty, or is_full. */
void serial_sink_flush(struct serial_sink *k);
/* As flush, unless EPOLLOUT is awaited. */
void serial_sink_try(struct serial_sink *k);
/* The last words: waits for a slow reader, but for no more than half a second; then closes. */
void serial_sink_close(struct serial_sink *k);

/*
 * stdin if it is a terminal (made raw) or a FIFO, else -1. `*ret_owned`: the descriptor is our own
 * non-blocking one; otherwise it is stdin itself, to be read only when epoll says so.
 */
int serial_source_open(bool *ret_owned);

struct serial_regs {
	struct serial_sink *out;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors; /* LSR's, until it is read */
	uint8_t msr;         /* lines and deltas */
	bool is_thre_pending;
	uint8_t rx[SERIAL_RX_SIZE];
	unsigned int rx_head, rx_count;
	unsigned int lsr_polls; /* looks at LSR since the last byte was sent, see is_listening */
};

void serial_regs_init(struct serial_regs *r, struct serial_sink *out);
/* One byte; offsets that are not decoded read 0. */
uint8_t serial_regs_read(struct serial_regs *r, uint64_t offset);
void serial_regs_write(struct serial_regs *r, uint64_t offset, uint8_t value);
/* Enabled causes of an interrupt that are pending, as a set of IER's bits. */
uint8_t serial_regs_causes(const struct serial_regs *r);

/* Bytes that serial_regs_receive may be given now: none to a guest that does not listen. */
unsigned int serial_regs_room(const struct serial_regs *r);
/* Is it time to look for input? Once per FIFO: it is empty and the guest listens. */
bool serial_regs_wants_input(const struct serial_regs *r);
void serial_regs_receive(struct serial_regs *r, uint8_t byte);

#endif
