/*
 * The PL031 real-time clock (struct rtc), DDI 0224. vCPU threads only; `lock` guards its registers.
 *
 * The counter is the host's wall clock in seconds plus an offset that RTCLR sets, computed at each
 * read: no timer, and right after a pause. The interrupt is not wired (Firecracker's contract gives
 * it no "interrupts" property, so Linux offers no alarm) and takes no GSI; the match status is kept
 * for a guest that polls RTCRIS, found when it looks.
 */
#include "devices/rtc_pl031.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"

#define WINDOW_SIZE 0x1000

#define RTCDR   0x000 /* data: the counter */
#define RTCMR   0x004 /* match */
#define RTCLR   0x008 /* load */
#define RTCCR   0x00c /* control: bit 0, started */
#define RTCIMSC 0x010 /* interrupt mask */
#define RTCRIS  0x014 /* raw interrupt status */
#define RTCMIS  0x018 /* masked interrupt status */
#define RTCICR  0x01c /* interrupt clear */
#define RTC_ID  0xfe0 /* RTCPeriphID0-3, RTCPCellID0-3 */

#define RTC_INT     BIT32(0)
#define RTC_STARTED BIT32(0)

struct rtc {
	struct device dev;
	struct bus *bus; /* NULL: no window yet */
	gpa_t base;
	pthread_mutex_t lock;
	uint32_t offset; /* counter minus the host's clock, modulo 2^32 */
	uint32_t mr, lr, imsc, ris;
	uint32_t unmatched; /* the first counter value that was not yet compared with mr */
};

static struct rtc_metrics metrics;

struct rtc_metrics *rtc_metrics(void)
{
	return &metrics;
}

static uint32_t counter(const struct rtc *r)
{
	return (uint32_t)clock_realtime_s() + r->offset;
}

/* Has the counter reached mr since the last look? A host clock that steps back matches nothing. */
static void update_match(struct rtc *r)
{
	uint32_t elapsed = counter(r) - r->unmatched;
	if (elapsed > INT32_MAX)
		return;
	if (r->mr - r->unmatched <= elapsed)
		r->ris |= RTC_INT;
	r->unmatched += elapsed + 1;
}

static uint32_t read_id(uint64_t offset)
{
	/* Part 0x031, designer 0x41 (Arm), revision 0; then the PrimeCell's mark. */
	static const uint8_t id[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	return id[(offset - RTC_ID) / 4 % ARRAY_SIZE(id)];
}

static uint32_t read_register(struct rtc *r, uint64_t offset)
{
	switch (offset) {
	case RTCDR:
		return counter(r);
	case RTCMR:
		return r->mr;
	case RTCLR:
		return r->lr;
	case RTCCR: /* the host's clock cannot be stopped */
		return RTC_STARTED;
	case RTCIMSC:
		return r->imsc;
	case RTCRIS:
		update_match(r);
		return r->ris;
	case RTCMIS:
		update_match(r);
		return r->ris & r->imsc;
	default:
		if (offset >= RTC_ID)
			return read_id(offset);
		metric_add(&metrics.missed_read_count, 1); /* write-only or reserved */
		return 0;
	}
}

static void write_register(struct rtc *r, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case RTCMR:
		update_match(r);
		r->mr = value;
		r->unmatched = counter(r); /* a match with the present second counts */
		return;
	case RTCLR:
		update_match(r);
		r->lr = value;
		r->offset += value - counter(r);
		r->unmatched = value;
		return;
	case RTCCR: /* started already, and then writes have no effect */
		return;
	case RTCIMSC:
		r->imsc = value & RTC_INT;
		return;
	case RTCICR:
		update_match(r);
		r->ris &= ~(value & RTC_INT);
		return;
	default:
		metric_add(&metrics.missed_write_count, 1); /* read-only or reserved */
		return;
	}
}

static void rtc_read(void *device, uint64_t offset, uint8_t *data, unsigned int len)
{
	struct rtc *r = device;
	memset(data, 0, len);
	if (len != 4 || offset % 4) {
		metric_add(&metrics.missed_read_count, 1);
		return;
	}
	(void)pthread_mutex_lock(&r->lock);
	store_le32(data, read_register(r, offset));
	(void)pthread_mutex_unlock(&r->lock);
}

static void rtc_write(void *device, uint64_t offset, const uint8_t *data, unsigned int len)
{
	struct rtc *r = device;
	if (len != 4 || offset % 4) {
		metric_add(&metrics.missed_write_count, 1);
		return;
	}
	(void)pthread_mutex_lock(&r->lock);
	write_register(r, offset, load_le32(data));
	(void)pthread_mutex_unlock(&r->lock);
}

static const struct bus_ops rtc_bus_ops = { .read = rtc_read, .write = rtc_write };

static void rtc_destroy(struct device *d)
{
	struct rtc *r = d ? container_of(d, struct rtc, dev) : NULL;
	if (!r)
		return;
	if (r->bus)
		bus_remove(r->bus, r->base);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

static int rtc_create(const struct device_env *env, const void *config, struct device **ret,
		      struct err *e)
{
	const struct rtc_config *cfg = config;
	struct rtc *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set_os(e, -ENOMEM, "Cannot create the RTC");
	r->dev.ops = &rtc_pl031_device_ops;
	r->base = cfg->base;
	(void)pthread_mutex_init(&r->lock, NULL); /* cannot fail for a plain one */
	r->unmatched = counter(r);
	int rc = bus_add(env->bus, cfg->base, WINDOW_SIZE, &rtc_bus_ops, r);
	if (rc < 0) {
		rtc_destroy(&r->dev);
		return err_set_os(e, rc, "Cannot place the RTC at 0x%llx",
				  (unsigned long long)cfg->base);
	}
	r->bus = env->bus;
	*ret = &r->dev;
	return 0;
}

static int rtc_describe(const struct device *d, struct fdt_list *list)
{
	const struct rtc *r = container_of(d, const struct rtc, dev);
	struct fdt_desc *node = fdt_list_add(list);
	if (!node)
		return -ENOMEM;
	fdt_desc_init(node, "rtc", r->base);
	fdt_desc_strings(node, "compatible", "arm,pl031\0arm,primecell");
	fdt_desc_reg(node, r->base, WINDOW_SIZE);
	fdt_desc_u32(node, "clocks", FDT_PHANDLE_CLOCK);
	fdt_desc_strings(node, "clock-names", "apb_pclk");
	return 0;
}

const struct device_ops rtc_pl031_device_ops = {
	.kind = "rtc",
	.create = rtc_create,
	.describe = rtc_describe,
	.destroy = rtc_destroy,
};
