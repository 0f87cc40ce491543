/*
 * What a bare-metal test guest stands on: console, traps that are taken and gone on from, PSCI, MMIO accesses of
 * exact sizes. A guest is one claim: it prints a line for each part, then "DONE" or "FAIL <why>", and powers off.
 * Interrupts stay masked. Memory: identity mapped, RAM cached, everything else device memory.
 */
#ifndef WICK_GUEST_H
#define WICK_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GICD       0x3fff0000ul
#define GICR_SIZE  0x20000ul /* one each, directly below the distributor */
#define BOOT_TIMER 0x40000000ul
#define RTC        0x40001000ul
#define UART       0x40002000ul
#define VIRTIO     0x40003000ul
#define WINDOW     0x1000ul
#define RAM        0x80000000ul

#define CPUS_MAX 64

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * The guest's program; a return is "DONE". With until=key on the command line it is run again and again until the
 * host sends a byte: so a test decides how much happens meanwhile, and no time is involved.
 */
void guest_main(void);
/* What the second CPU does when it was started; a guest that starts one defines it. */
void secondary_main(void);

/* --- console: %s %lu %lx %% only; `uart_reset` gives back a console that was written over */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void uart_reset(void);
/* "FAIL <why>", then off: the guest's verdict on the monitor. */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The number behind `name` ("seed=") on the command line, or `fallback`. */
uint64_t argument(const char *name, uint64_t fallback);
bool has_argument(const char *text);

/* --- traps of this CPU: recorded and skipped; a prefetch abort returns to the caller of the jump */
struct trap_record {
	volatile uint64_t count, esr, far;
};
extern struct trap_record traps[CPUS_MAX];
void traps_clear(void);
unsigned int cpu_index(void);

#define ESR_EC(esr)       (((esr) >> 26) & 0x3f)
#define ESR_FSC(esr)      ((esr)&0x3f)
#define EC_PREFETCH_ABORT 0x21
#define EC_DATA_ABORT     0x25
#define FSC_EXTERNAL      0x10

/* --- PSCI by hvc */
#define PSCI_VERSION       0x84000000ul
#define PSCI_CPU_OFF       0x84000002ul
#define PSCI_CPU_ON        0xc4000003ul
#define PSCI_AFFINITY_INFO 0xc4000004ul
#define PSCI_SYSTEM_OFF    0x84000008ul
#define PSCI_SYSTEM_RESET  0x84000009ul
long psci(uint64_t function, uint64_t a, uint64_t b, uint64_t c);
void power_off(void) __attribute__((noreturn));
/* CPU `index`, by KVM's MPIDR for it, runs secondary_main(). */
void turn_on(unsigned int index);
uint64_t mpidr_of(unsigned int index);
/* CPU 1. The second form does nothing when it was called before. */
void turn_on_secondary(void);
void start_secondary(void);
extern char secondary_boot[];

/* --- MMIO: one instruction each, of the forms that KVM can decode */
uint64_t mmio_read(uint64_t addr, unsigned int size);
void mmio_write(uint64_t addr, unsigned int size, uint64_t value);

/* xorshift64*: the same numbers for the same seed everywhere. */
uint64_t next_random(uint64_t *state);

static inline void pause_cpu(void)
{
	__asm__ volatile("yield" : : : "memory");
}

#endif
