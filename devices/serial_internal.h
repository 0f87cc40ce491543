/*
 * The host's side of the UART, for serial.c alone: where output goes (struct serial_sink), where
 * input comes from, and the terminal's mode. No function here blocks unless it says so, and none
 * locks: serial.c calls them under its mutex.
 */
#ifndef WICK_DEVICES_SERIAL_INTERNAL_H
#define WICK_DEVICES_SERIAL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum { SERIAL_SINK_SIZE = 16384 };

struct serial_sink {
	int fd;           /* -1: output goes nowhere */
	bool is_owned;    /* ours to close */
	bool must_poll;   /* a description shared with others, so blocking: ask before writing */
	size_t max_write; /* bytes that one write may take without blocking */
	bool is_full;     /* the last write was refused; cleared by whoever saw EPOLLOUT */
	size_t len;
	uint8_t buf[SERIAL_SINK_SIZE]; /* [0, len): taken from the guest, not yet written */
};

/* `k` is zeroed. `path`: a file (appended to, created) or FIFO; NULL: stdout. Fails only for a
 * path. */
int serial_sink_open(struct serial_sink *k, const char *path, struct err *e);
/* Takes one byte; counts it as missed if there is no room. */
void serial_sink_put(struct serial_sink *k, uint8_t byte);
/* Writes what the sink takes now. Afterwards: empty, or is_full. */
void serial_sink_flush(struct serial_sink *k);
/* The last words: waits for a slow reader, but for no more than half a second; then closes. */
void serial_sink_close(struct serial_sink *k);

/*
 * stdin if it is a terminal (made raw) or a FIFO, else -1. `*ret_owned`: the descriptor is our own
 * non-blocking one; otherwise it is stdin itself, to be read only when epoll says so.
 */
int serial_source_open(bool *ret_owned);

#endif
