/*
 * Claim: whatever is read from and written to device windows, in any size and alignment, hurts nobody but this
 * guest. Arguments: seed=N rounds=N cpus=N; with both=1 a second CPU does the same at the same time.
 */
#include "lib/guest.h"

struct window {
	const char *name;
	uint64_t base, size;
};

static struct window windows[] = {
	{ "gicd", GICD, 0x10000 },
	{ "gicr", 0, 0 },
	{ "boot timer", BOOT_TIMER, WINDOW },
	{ "rtc", RTC, WINDOW },
	{ "uart", UART, WINDOW },
	{ "virtio 0", VIRTIO, WINDOW },
	{ "virtio 1", VIRTIO + WINDOW, WINDOW },
	{ "virtio 2 and nothing behind it", VIRTIO + 2 * WINDOW, 2 * WINDOW },
};

static uint64_t pick_value(uint64_t *seed)
{
	uint64_t r = next_random(seed);
	switch (r >> 61) {
	case 0:
		return 0;
	case 1:
		return ~0ul;
	case 2:
		return 1ul << (r & 63);
	case 3:
		return r & 0xf;
	default:
		return r;
	}
}

/* Registers are dense at a window's start. */
static uint64_t pick_offset(const struct window *w, unsigned int size, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	uint64_t reach = (r >> 60) < 8 && w->size > 0x200 ? 0x200 : w->size;
	uint64_t offset = (r & 0xffffffff) % reach;
	if ((r >> 56 & 15) != 0)
		offset &= ~(uint64_t)(size - 1);
	return offset + size > w->size ? w->size - size : offset;
}

/* What would end this guest is not the fuzz's to write: the console's output is, and it is kept short. */
static void one_access(const struct window *w, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	unsigned int size = 1u << (r & 3);
	uint64_t addr = w->base + pick_offset(w, size, seed);
	if (r & 4)
		(void)mmio_read(addr, size);
	else
		mmio_write(addr, size, pick_value(seed));
}

static volatile bool is_running, is_idle = true;

/* Everything but the console: that is where the verdict goes. */
void secondary_main(void)
{
	uint64_t seed = argument("seed=", 1) * 0xd1342543de82ef95ul + 1;
	for (;;) {
		while (!is_running) {
			is_idle = true;
			pause_cpu();
		}
		is_idle = false;
		unsigned int i = next_random(&seed) % ARRAY_SIZE(windows);
		if (windows[i].base != UART)
			one_access(&windows[i], &seed);
	}
}

void guest_main(void)
{
	uint64_t seed = argument("seed=", 1) * 0x9e3779b97f4a7c15ul + 1;
	uint64_t rounds = argument("rounds=", 2000);
	uint64_t cpus = argument("cpus=", 1);

	windows[1].base = GICD - cpus * GICR_SIZE;
	windows[1].size = cpus * GICR_SIZE;
	if (argument("both=", 0))
		start_secondary();
	is_running = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(windows); i++) {
		traps_clear();
		for (uint64_t n = 0; n < rounds; n++)
			one_access(&windows[i], &seed);
		uart_reset();
		print("\nwindow %s: %lu accesses, %lu traps\n", windows[i].name, rounds,
		      traps[0].count);
	}
	is_running = false;
	while (!is_idle)
		pause_cpu();
}
