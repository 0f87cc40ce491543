/* A UART under test: the test's thread is the vCPU, the loop may run on a thread of its own. */
#ifndef WICK_TESTS_SERIAL_RIG_H
#define WICK_TESTS_SERIAL_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/registry.h"

enum { SERIAL_RIG_BASE = 0x40002000, SERIAL_RIG_PATIENCE_MS = 3000 };

/* Offsets, and the bits that more than one test writes. */
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = 0, FCR = 2 };
enum { LOOPBACK = 0x10, RTS = 0x02, FIFO_ON = 0x01 };

struct serial_rig {
	struct kvm kvm;
	struct irq_chip irqs;
	struct device_env env;
	struct device *uart;
	struct err err;
	pthread_t thread;
	bool has_thread;
	int in, out; /* the test's ends of stdin and stdout; -1 when closed or not used */
};

/* A UART on the present stdin and stdout, or on `path`. The loop does not run yet. */
int serial_rig_create(struct serial_rig *r, const char *path);
/* As above, and it works. */
void serial_rig_init(struct serial_rig *r, const char *path);
/* stdin and stdout are pipes whose other ends are r->in and r->out (which never blocks). */
void serial_rig_init_pipes(struct serial_rig *r);
void serial_rig_start_loop(struct serial_rig *r);
/* Stops the loop, destroys everything, and expects that no interrupt stays connected. */
void serial_rig_fini(struct serial_rig *r);

/* One guest access of one byte. */
uint8_t serial_rig_get(struct serial_rig *r, unsigned int offset);
void serial_rig_put(struct serial_rig *r, unsigned int offset, uint8_t value);
void serial_rig_put_text(struct serial_rig *r, const char *text);
/* Interrupts since the last call. */
uint64_t serial_rig_pulses(void);
/* Polls LSR until data is ready; false when patience ends. */
bool serial_rig_becomes_ready(struct serial_rig *r);

void test_sleep_ms(long ms);
/* Moves a descriptor to another number, closing what was there. */
void test_replace_fd(int with, int fd);
/* Reads until `want` bytes are there or patience ends. */
size_t test_read_within(int fd, char *buf, size_t size, size_t want);

#endif
