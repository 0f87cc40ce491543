/* The guests' small library (guest.h). No libc: memset and friends are here because compilers call them. */
#include "guest.h"

#include <stdarg.h>

#define UART_THR 0
#define UART_IER 1
#define UART_FCR 2
#define UART_LCR 3
#define UART_MCR 4
#define UART_LSR 5

struct trap_record traps[CPUS_MAX];
extern uint64_t boot_fdt;

/* Called from start.S. */
struct frame {
	uint64_t x[31];
	uint64_t elr;
	uint64_t spsr;
};
void trap(uint64_t kind, struct frame *f);
void guest_start(void);
void secondary_start(uint64_t cpu);
void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);

void *memset(void *to, int value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

unsigned int cpu_index(void)
{
	uint64_t index;
	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(index));
	return (unsigned int)index;
}

/* --- MMIO ---------------------------------------------------------------------------------------------- */

uint64_t mmio_read(uint64_t addr, unsigned int size)
{
	uint64_t value = 0;
	switch (size) {
	case 1:
		__asm__ volatile("ldrb %w0, [%1]" : "+r"(value) : "r"(addr) : "memory");
		break;
	case 2:
		__asm__ volatile("ldrh %w0, [%1]" : "+r"(value) : "r"(addr) : "memory");
		break;
	case 4:
		__asm__ volatile("ldr %w0, [%1]" : "+r"(value) : "r"(addr) : "memory");
		break;
	default:
		__asm__ volatile("ldr %0, [%1]" : "+r"(value) : "r"(addr) : "memory");
		break;
	}
	return value;
}

void mmio_write(uint64_t addr, unsigned int size, uint64_t value)
{
	switch (size) {
	case 1:
		__asm__ volatile("strb %w0, [%1]" : : "r"(value), "r"(addr) : "memory");
		break;
	case 2:
		__asm__ volatile("strh %w0, [%1]" : : "r"(value), "r"(addr) : "memory");
		break;
	case 4:
		__asm__ volatile("str %w0, [%1]" : : "r"(value), "r"(addr) : "memory");
		break;
	default:
		__asm__ volatile("str %0, [%1]" : : "r"(value), "r"(addr) : "memory");
		break;
	}
}

/* --- console -------------------------------------------------------------------------------------------- */

void uart_reset(void)
{
	mmio_write(UART + UART_LCR, 1, 0x03); /* 8 bits, no divisor latch */
	mmio_write(UART + UART_MCR, 1, 0);    /* no loopback */
	mmio_write(UART + UART_IER, 1, 0);
	mmio_write(UART + UART_FCR, 1, 0x01); /* FIFOs on, and not cleared: a key may be in there */
}

/* The host has sent a byte. Raising RTS invites it; it comes when the monitor gets to it, perhaps by the next call. */
static bool key_pressed(void)
{
	uart_reset();
	mmio_write(UART + UART_MCR, 1, 0x02);
	for (unsigned int i = 0; i < 64; i++)
		if (mmio_read(UART + UART_LSR, 1) & 0x01)
			return true;
	return false;
}

static void put_char(char c)
{
	mmio_write(UART + UART_THR, 1, (uint8_t)c);
}

static void put_number(uint64_t value, unsigned int base)
{
	char digits[24];
	unsigned int n = 0;
	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put_char(digits[--n]);
}

static void vprint(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put_char(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == 's') {
			for (const char *s = va_arg(ap, const char *); *s; s++)
				put_char(*s);
		} else if (*fmt == 'l') {
			fmt++;
			put_number(va_arg(ap, uint64_t), *fmt == 'x' ? 16 : 10);
		} else {
			put_char(*fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}

void fail(const char *fmt, ...)
{
	va_list ap;
	uart_reset();
	print("\nFAIL ");
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
	power_off();
}

/* --- the command line: its bytes are somewhere in the device tree ------------------------------------------ */

static const char *find_argument(const char *name)
{
	const uint8_t *fdt = (const uint8_t *)boot_fdt;
	uint32_t size =
		(uint32_t)fdt[4] << 24 | (uint32_t)fdt[5] << 16 | (uint32_t)fdt[6] << 8 | fdt[7];
	for (uint32_t i = 0; i < size; i++) {
		uint32_t n = 0;
		while (name[n] && i + n < size && fdt[i + n] == (uint8_t)name[n])
			n++;
		if (!name[n])
			return (const char *)&fdt[i + n];
	}
	return NULL;
}

bool has_argument(const char *text)
{
	return find_argument(text) != NULL;
}

uint64_t argument(const char *name, uint64_t fallback)
{
	const char *text = find_argument(name);
	if (!text || *text < '0' || *text > '9')
		return fallback;
	uint64_t value = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

/* --- traps --------------------------------------------------------------------------------------------- */

void traps_clear(void)
{
	struct trap_record *t = &traps[cpu_index()];
	t->count = 0;
	t->esr = 0;
	t->far = 0;
}

enum { KIND_SYNC = 4, KIND_SERROR = 7 };

void trap(uint64_t kind, struct frame *f)
{
	struct trap_record *t = &traps[cpu_index()];
	uint64_t esr, far;

	__asm__ volatile("mrs %0, esr_el1" : "=r"(esr));
	__asm__ volatile("mrs %0, far_el1" : "=r"(far));
	esr &= 0xffffffff; /* KVM of Linux 6.1 extends the sign of those it makes */
	if (kind == KIND_SERROR)
		fail("SError: esr %lx, pc %lx", esr, f->elr);
	if (kind != KIND_SYNC)
		fail("trap of kind %lu: esr %lx, pc %lx", kind, esr, f->elr);
	t->count++;
	t->esr = esr;
	t->far = far;
	switch (ESR_EC(esr)) {
	case EC_DATA_ABORT:
		f->elr += 4;
		break;
	case EC_PREFETCH_ABORT:
		f->elr = f->x[30]; /* as if the function jumped to had returned */
		break;
	default:
		fail("trap: esr %lx, far %lx, pc %lx", esr, far, f->elr);
	}
}

/* --- PSCI ---------------------------------------------------------------------------------------------- */

long psci(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;
	__asm__ volatile("hvc #0"
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 :
			 : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
			   "x15", "x16", "x17", "memory");
	return (int32_t)x0; /* the error codes are 32-bit whichever the call's width */
}

void power_off(void)
{
	(void)psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		__asm__ volatile("wfi");
}

__attribute__((weak)) void secondary_main(void)
{
}

/* 16 CPUs a cluster, as KVM numbers them (gic.md T1). */
uint64_t mpidr_of(unsigned int index)
{
	return (index & 15) | (uint64_t)(index >> 4) << 8;
}

void turn_on(unsigned int index)
{
	long rc = psci(PSCI_CPU_ON, mpidr_of(index), (uint64_t)secondary_boot, index);
	if (rc != 0)
		fail("CPU_ON of CPU %lu gives %lx", (uint64_t)index, (uint64_t)rc);
}

void turn_on_secondary(void)
{
	turn_on(1);
}

void start_secondary(void)
{
	static bool is_started;
	if (!is_started)
		turn_on_secondary();
	is_started = true;
}

void secondary_start(uint64_t cpu)
{
	(void)cpu;
	secondary_main();
}

void guest_start(void)
{
	uart_reset();
	do
		guest_main();
	while (has_argument("until=key") && !key_pressed());
	uart_reset();
	print("\nDONE\n");
	power_off();
}

uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dul;
}
