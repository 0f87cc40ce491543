/*
 * The boot timer (struct boot_timer): the guest's init writes byte 123 at offset 0 and the log says
 * how long the boot took, in Firecracker's words. vCPU threads only; lock-free.
 */
#include "devices/boot_timer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define WINDOW_SIZE 0x1000

enum { BOOT_COMPLETE = 123 };

struct boot_timer {
	struct device dev;
	struct bus *bus; /* NULL: no window yet */
	struct boot_timer_config cfg;
	atomic_bool is_logged; /* a guest gets one line, whatever it writes */
};

static void boot_timer_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	(void)device;
	(void)offset;
	memset(data, 0, len);
}

static void boot_timer_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	struct boot_timer *t = device;
	if (len != 1 || offset != 0 || data[0] != BOOT_COMPLETE ||
	    atomic_exchange(&t->is_logged, true))
		return;
	uint64_t us = clock_monotonic_us() - t->cfg.start_us;
	uint64_t cpu_us = clock_process_cpu_us() - t->cfg.start_cpu_us;
	log_info("Guest-boot-time = %6" PRIu64 " us %" PRIu64 " ms, %6" PRIu64 " CPU us %" PRIu64
		 " CPU ms",
		 us, us / 1000, cpu_us, cpu_us / 1000);
}

static const struct bus_ops boot_timer_bus_ops = { .read = boot_timer_read,
						   .write = boot_timer_write };

static void boot_timer_destroy(struct device *d)
{
	struct boot_timer *t = d ? container_of(d, struct boot_timer, dev) : NULL;
	if (!t)
		return;
	if (t->bus)
		bus_remove(t->bus, t->cfg.base);
	free(t);
}

static int boot_timer_create(const struct device_env *env, const void *config, struct device **ret,
			     struct err *e)
{
	struct boot_timer *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set_os(e, -ENOMEM, "Cannot create the boot timer");
	t->dev.ops = &boot_timer_device_ops;
	t->cfg = *(const struct boot_timer_config *)config;
	int rc = bus_add(env->bus, t->cfg.base, WINDOW_SIZE, &boot_timer_bus_ops, t);
	if (rc < 0) {
		(void)err_set_os(e, rc, "Cannot place the boot timer at 0x%" PRIx64,
				 t->cfg.base); /* before t goes */
		boot_timer_destroy(&t->dev);
		return rc;
	}
	t->bus = env->bus;
	*ret = &t->dev;
	return 0;
}

const struct device_ops boot_timer_device_ops = {
	.kind = "boot-timer",
	.create = boot_timer_create,
	.destroy = boot_timer_destroy,
};
