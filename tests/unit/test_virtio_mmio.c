/*
 * devices/virtio/mmio.c as a guest sees it: registers, configuration space, kicks and interrupts of a real device (entropy: one queue, no configuration space; block where there has to be one).
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "devices/rng.h"
#include "devices/virtio/device.h"
#include "fakes/fake_kvm.h"
#include "fakes/virtq_driver.h"

#define RINGS   GUEST_RAM
#define BUFFER  (GUEST_RAM + 0x10000)
#define VERSION BIT64(VIRTIO_F_VERSION_1)
#define OFFERED (VERSION | BIT64(VIRTIO_RING_F_EVENT_IDX) | BIT64(VIRTIO_RING_F_INDIRECT_DESC))

enum { IRQ_USED = 1, IRQ_CONFIG = 2 };

struct rig {
	struct machine m;
	struct virtq q;
};

static void rig_init(struct rig *r)
{
	machine_init(&r->m);
	machine_plug(&r->m, &rng_device_ops, NULL);
	virtq_init(&r->q, r->m.mem, RINGS, 16);
}

/* Offers one writable buffer of 8 bytes. */
static void offer(struct rig *r)
{
	virtq_desc(&r->q, 0, DESC(BUFFER, 8, VRING_DESC_F_WRITE, 0));
	virtq_offer(&r->q, 0);
}

static const struct virtio_metrics *metrics(const struct rig *r)
{
	return &virtio_from_device(r->m.device)->metrics;
}

/* --- the register map ----------------------------------------------------------------------------- */

struct register_case {
	char name[20];
	uint32_t offset, want;
};

ParameterizedTestParameters(virtio_mmio, registers_after_reset)
{
	static struct register_case cases[] = {
		{ "MagicValue", 0x000, 0x74726976 },
		{ "Version", 0x004, 2 },
		{ "DeviceID", 0x008, VIRTIO_ID_RNG },
		{ "VendorID", 0x00c, 0 },
		{ "DeviceFeatures", 0x010, 0x30000000 },
		{ "QueueNumMax", 0x034, 256 },
		{ "QueueReady", 0x044, 0 },
		{ "InterruptStatus", 0x060, 0 },
		{ "Status", 0x070, 0 },
		{ "SHMLenLow", 0x0b0, UINT32_MAX },
		{ "SHMLenHigh", 0x0b4, UINT32_MAX },
		{ "SHMBaseLow", 0x0b8, UINT32_MAX },
		{ "SHMBaseHigh", 0x0bc, UINT32_MAX },
		{ "QueueReset", 0x0c0, 0 },
		{ "ConfigGeneration", 0x0fc, 0 },
		{ "config space", 0x100, 0 },
		{ "end of the window", 0xffc, 0 },
	};
	return cr_make_param_array(struct register_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct register_case *c, virtio_mmio, registers_after_reset)
{
	struct rig r;
	rig_init(&r);
	cr_expect_eq(machine_read(&r.m, c->offset), c->want, "%s is 0x%x", c->name,
		     machine_read(&r.m, c->offset));
	machine_fini(&r.m);
}

static bool is_readable(uint64_t offset)
{
	static const uint16_t readable[] = { 0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x044,
					     0x060, 0x070, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0fc };
	for (unsigned int i = 0; i < ARRAY_SIZE(readable); i++)
		if (readable[i] == offset)
			return true;
	return false;
}

Test(virtio_mmio, any_other_read_is_zero)
{
	struct rig r;
	rig_init(&r);
	for (uint64_t offset = 0; offset < 0x1000; offset++) {
		for (unsigned int len = 1; len <= 8 && offset + len <= 0x1000; len++) {
			uint8_t data[8], zero[8] = { 0 };
			if (len == 4 && is_readable(offset))
				continue;
			memset(data, 0xee, sizeof(data));
			cr_assert(bus_read(r.m.bus, r.m.base + offset, data, len));
			cr_expect_eq(memcmp(data, zero, len), 0, "%u bytes at 0x%llx", len,
				     (unsigned long long)offset);
		}
	}
	machine_fini(&r.m);
}

Test(virtio_mmio, writes_of_odd_size_or_place_change_nothing)
{
	static const uint8_t ones[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct rig r;
	rig_init(&r);
	for (uint64_t offset = 0; offset < 0x1000; offset++) {
		for (unsigned int len = 1; len <= 8 && offset + len <= 0x1000; len++)
			if (len != 4 || offset % 4 != 0 || offset >= VIRTIO_MMIO_CONFIG)
				cr_assert(bus_write(r.m.bus, r.m.base + offset, ones, len));
	}
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_STATUS), 0);
	cr_expect_gt(metric_get(&metrics(&r)->cfg_fails), 0);
	machine_bring_up(&r.m, VERSION, &r.q);
	machine_fini(&r.m);
}

/* Every word written with a few values, in every state: the device may refuse, not fall over. */
Test(virtio_mmio, no_word_written_anywhere_hurts)
{
	static const uint32_t values[] = { 0, 1, 2, 7, 0xf, 256, 0x80000000, UINT32_MAX };
	struct rig r;
	rig_init(&r);
	for (uint64_t offset = 0; offset < 0x200; offset += 4) {
		for (unsigned int i = 0; i < ARRAY_SIZE(values); i++) {
			machine_bring_up(&r.m, VERSION, &r.q);
			machine_write(&r.m, offset, values[i]);
			machine_negotiate(&r.m, VERSION);
			machine_write(&r.m, offset, values[i]);
			machine_write(&r.m, VIRTIO_MMIO_STATUS, 0xf);
			machine_settle(&r.m);
		}
	}
	machine_bring_up(&r.m, VERSION, &r.q);
	machine_fini(&r.m);
}

struct config_case {
	char claim[40];
	uint64_t offset;
	unsigned int len;
	uint64_t want;
};

ParameterizedTestParameters(virtio_mmio, configuration_space)
{
	/* struct virtio_blk_config of a disk of 0x11 sectors: 24 bytes. */
	static struct config_case cases[] = {
		{ "capacity", 0, 8, 0x11 },
		{ "capacity, low half", 0, 4, 0x11 },
		{ "capacity, high half", 4, 4, 0 },
		{ "capacity, first byte", 0, 1, 0x11 },
		{ "seg_max", 12, 4, 254 },
		{ "seg_max, two bytes", 12, 2, 254 },
		{ "seg_max, second byte", 13, 1, 0 },
		{ "blk_size", 20, 4, 512 },
		{ "blk_size, second byte", 21, 1, 2 },
		{ "the last two bytes", 22, 2, 0 },
		{ "across the end: zeros behind", 20, 8, 512 },
		{ "at the end", 24, 4, 0 },
		{ "end of the window", 0xef8, 8, 0 },
	};
	return cr_make_param_array(struct config_case, cases, ARRAY_SIZE(cases));
}

static int disk_of(size_t bytes, struct block_config *config)
{
	memset(config, 0, sizeof(*config));
	strcpy(config->path_on_host, "/tmp/wick-test-mmio-XXXXXX");
	int fd = mkstemp(config->path_on_host);
	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

ParameterizedTest(struct config_case *c, virtio_mmio, configuration_space)
{
	struct block_config config;
	struct machine m;
	uint64_t got = 0;
	int fd = disk_of(0x11 * 512, &config);
	machine_init(&m);
	machine_plug(&m, &block_device_ops, &config);
	cr_assert(bus_read(m.bus, m.base + 0x100 + c->offset, (uint8_t *)&got, c->len));
	cr_expect_eq(got, c->want, "%s: 0x%llx", c->claim, (unsigned long long)got);
	machine_fini(&m);
	unlink(config.path_on_host);
	close(fd);
}

/* Any place and size gives the same bytes as one read at a time; 3, 5, 6 and 7 bytes give zeros. */
Test(virtio_mmio, configuration_space_at_every_offset_and_size)
{
	struct block_config config;
	struct machine m;
	uint8_t bytes[64 + 8];
	int fd = disk_of(UINT64_C(0x1234567) * 512, &config);
	machine_init(&m);
	machine_plug(&m, &block_device_ops, &config);
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		cr_assert(bus_read(m.bus, m.base + 0x100 + i, &bytes[i], 1));
	for (unsigned int offset = 0; offset < 64; offset++) {
		for (unsigned int len = 1; len <= 8; len++) {
			uint8_t got[8], want[8] = { 0 };
			if ((len & (len - 1)) == 0)
				memcpy(want, bytes + offset, len);
			cr_assert(bus_read(m.bus, m.base + 0x100 + offset, got, len));
			cr_expect_eq(memcmp(got, want, len), 0, "%u bytes at %u", len, offset);
		}
	}
	machine_fini(&m);
	unlink(config.path_on_host);
	close(fd);
}

/* --- at work -------------------------------------------------------------------------------------- */

Test(virtio_mmio, a_kick_is_served_and_interrupts)
{
	struct rig r;
	uint32_t id, len;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	offer(&r);
	machine_kick(&r.m, 0);
	cr_assert(virtq_take_used(&r.q, &id, &len));
	cr_expect(id == 0 && len == 8);
	cr_expect(machine_take_irq(&r.m));
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), IRQ_USED);
	machine_write(&r.m, VIRTIO_MMIO_INTERRUPT_ACK, IRQ_CONFIG);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), IRQ_USED, "not this bit");
	machine_write(&r.m, VIRTIO_MMIO_INTERRUPT_ACK, IRQ_USED);
	cr_expect_eq(machine_read(&r.m, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	machine_kick(&r.m, 0);
	cr_expect_not(machine_take_irq(&r.m), "nothing was used");
	cr_expect_eq(metric_get(&metrics(&r)->no_avail_buffer), 1);
	machine_fini(&r.m);
}

Test(virtio_mmio, a_written_kick_is_as_good_as_an_eventfd)
{
	struct rig r;
	uint32_t id, len;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	offer(&r);
	machine_write(&r.m, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	machine_settle(&r.m);
	cr_expect(virtq_take_used(&r.q, &id, &len));
	machine_fini(&r.m);
}

Test(virtio_mmio, a_kick_before_driver_ok_is_not_served)
{
	struct rig r;
	rig_init(&r);
	offer(&r);
	machine_kick(&r.m, 0);
	machine_negotiate(&r.m, VERSION);
	machine_set_queue(&r.m, 0, &r.q);
	machine_kick(&r.m, 0);
	cr_expect_eq(virtq_used_idx(&r.q), 0);
	machine_fini(&r.m);
}

Test(virtio_mmio, event_idx_end_to_end)
{
	struct rig r;
	rig_init(&r);
	machine_bring_up(&r.m, OFFERED, &r.q);
	virtq_set_used_event(&r.q, 2); /* wake me for the third */
	for (int i = 0; i < 3; i++) {
		offer(&r);
		machine_kick(&r.m, 0);
		cr_expect_eq(machine_take_irq(&r.m), i == 2, "request %d", i);
		cr_expect_eq(virtq_avail_event(&r.q), i + 1, "kick us for the next");
	}
	machine_fini(&r.m);
}

Test(virtio_mmio, resume_looks_at_the_queues_once_more)
{
	struct rig r;
	rig_init(&r);
	machine_bring_up(&r.m, VERSION, &r.q);
	offer(&r);
	machine_settle(&r.m);
	cr_expect_eq(virtq_used_idx(&r.q), 0, "the kick got lost");
	r.m.device->ops->resume(r.m.device);
	machine_settle(&r.m);
	cr_expect_eq(virtq_used_idx(&r.q), 1);
	machine_fini(&r.m);
}

/* --- making and unmaking -------------------------------------------------------------------------- */

static const struct fdt_prop *prop(const struct fdt_desc *d, const char *name)
{
	for (unsigned int i = 0; i < d->nprops; i++)
		if (strcmp(d->prop[i].name, name) == 0)
			return &d->prop[i];
	cr_assert_fail("no property %s", name);
	return NULL;
}

Test(virtio_mmio, the_device_tree_node)
{
	static const uint32_t reg[] = { 0, 0x40003000, 0, 0x1000 }, interrupts[] = { 0, 0, 1 };
	struct fdt_list list = { 0 };
	struct rig r;
	rig_init(&r);
	cr_assert_eq(r.m.device->ops->describe(r.m.device, &list), 0);
	cr_assert_eq(list.n, 1);
	const struct fdt_desc *d = &list.v[0];
	cr_expect_str_eq(d->name, "virtio_mmio@40003000");
	cr_expect_str_eq(prop(d, "compatible")->strings, "virtio,mmio");
	cr_expect_eq(memcmp(prop(d, "reg")->cells, reg, sizeof(reg)), 0);
	cr_expect_eq(memcmp(prop(d, "interrupts")->cells, interrupts, sizeof(interrupts)), 0);
	cr_expect_eq(prop(d, "dma-coherent")->kind, FDT_PROP_EMPTY);
	fdt_list_fini(&list);
	machine_fini(&r.m);
}

struct creation_case {
	char call[24];
	int errnum;
};

ParameterizedTestParameters(virtio_mmio, creation_is_all_or_nothing)
{
	static struct creation_case cases[] = { { "kvm_irqfd", EINVAL },
						{ "kvm_ioeventfd", ENOSPC } };
	return cr_make_param_array(struct creation_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct creation_case *c, virtio_mmio, creation_is_all_or_nothing)
{
	struct device *d = NULL;
	struct err e = { "" };
	struct machine m;
	machine_init(&m);
	fake_kvm_fail(c->call, 1, c->errnum);
	cr_expect_eq(rng_device_ops.create(&m.env, NULL, &d, &e), -c->errnum, "%s", c->call);
	cr_expect_null(d);
	cr_expect_str_not_empty(e.text, "%s", c->call);
	machine_fini(&m); /* checks that nothing is left */
}

Test(virtio_mmio, a_full_bus_is_an_error)
{
	struct device *d = NULL;
	struct err e = { "" };
	struct machine m;
	machine_init(&m);
	bus_set_pool(m.bus, MACHINE_FIRST_WINDOW, 0x800);
	cr_expect_eq(rng_device_ops.create(&m.env, NULL, &d, &e), -ENOSPC);
	machine_fini(&m);
}
