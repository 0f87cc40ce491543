/*
 * The device tree blob (struct fdt_machine in, bytes out), by libfdt's sequential writer. The machine's own
 * nodes are here; devices and the interrupt controller come as data and are not known by name.
 */
#include "arch/arm64/fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "arch/arm64/regs.h"
#include "vmm/base/bits.h"

enum { RNG_SEED_SIZE = 64, CLOCK_HZ = 24000000 };

/* Nothing is written any more once `rc` holds libfdt's (negative) reason. */
struct writer {
	void *fdt;
	int rc;
};

static void keep(struct writer *w, int rc)
{
	if (!w->rc)
		w->rc = rc;
}

static void begin(struct writer *w, const char *name)
{
	if (!w->rc)
		keep(w, fdt_begin_node(w->fdt, name));
}

static void end(struct writer *w)
{
	if (!w->rc)
		keep(w, fdt_end_node(w->fdt));
}

static void put_bytes(struct writer *w, const char *name, const void *bytes, size_t len)
{
	if (!w->rc)
		keep(w, fdt_property(w->fdt, name, bytes, (int)len));
}

static void put_string(struct writer *w, const char *name, const char *value)
{
	put_bytes(w, name, value, strlen(value) + 1);
}

static void put_empty(struct writer *w, const char *name)
{
	put_bytes(w, name, NULL, 0);
}

static void put_cells(struct writer *w, const char *name, const uint32_t *cells, unsigned int n)
{
	void *place;
	if (w->rc)
		return;
	keep(w, fdt_property_placeholder(w->fdt, name, (int)(n * sizeof(cells[0])), &place));
	for (unsigned int i = 0; !w->rc && i < n; i++)
		fdt32_st((uint8_t *)place + i * sizeof(cells[0]), cells[i]);
}

static void put_u32(struct writer *w, const char *name, uint32_t value)
{
	put_cells(w, name, &value, 1);
}

static void put_u64s(struct writer *w, const char *name, const uint64_t *values, unsigned int n)
{
	void *place;
	if (w->rc)
		return;
	keep(w, fdt_property_placeholder(w->fdt, name, (int)(n * sizeof(values[0])), &place));
	for (unsigned int i = 0; !w->rc && i < n; i++)
		fdt64_st((uint8_t *)place + i * sizeof(values[0]), values[i]);
}

static void put_u64(struct writer *w, const char *name, uint64_t value)
{
	put_u64s(w, name, &value, 1);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static void write_cpus(struct writer *w, const struct fdt_machine *m)
{
	begin(w, "cpus");
	put_u32(w, "#address-cells", 2);
	put_u32(w, "#size-cells", 0);
	for (unsigned int i = 0; i < m->ncpus; i++) {
		const uint64_t affinity = m->mpidr[i] & MPIDR_AFFINITY;
		char name[32];
		(void)snprintf(name, sizeof(name), "cpu@%llx", (unsigned long long)affinity);
		begin(w, name);
		put_string(w, "device_type", "cpu");
		put_string(w, "compatible", "arm,arm-v8");
		put_string(w, "enable-method", "psci");
		put_u64(w, "reg", affinity);
		end(w);
	}
	end(w);
}

/* One node, all regions: the guest sees all of its memory but the system area at the start. */
static void write_memory(struct writer *w, const struct fdt_machine *m)
{
	uint64_t reg[2 * MEM_MAX_REGIONS] = { 0 };
	unsigned int n = 0;
	for (unsigned int i = 0; i < m->nram && n < ARRAY_SIZE(reg); i++) {
		const uint64_t held_back = i == 0 ? LAYOUT_SYSTEM_SIZE : 0;
		reg[n++] = m->ram[i].gpa + held_back;
		reg[n++] = m->ram[i].size - held_back;
	}
	char name[32];
	(void)snprintf(name, sizeof(name), "memory@%llx", (unsigned long long)reg[0]);
	begin(w, name);
	put_string(w, "device_type", "memory");
	put_u64s(w, "reg", reg, n);
	end(w);
}

/*
 * No linux,pci-probe-only: there is no PCI host bridge it could speak to. No kaslr-seed: as in Firecracker, the
 * guest that wants KASLR without FEAT_RNG has no source for it.
 */
static void write_chosen(struct writer *w, const struct fdt_machine *m)
{
	begin(w, "chosen");
	put_string(w, "bootargs", m->cmdline);
	if (m->initrd) {
		put_u64(w, "linux,initrd-start", m->initrd);
		put_u64(w, "linux,initrd-end", m->initrd + m->initrd_size);
	}
	put_bytes(w, "rng-seed", m->rng_seed, RNG_SEED_SIZE);
	end(w);
}

static void write_timer(struct writer *w)
{
	/* Secure, non-secure, virtual and hypervisor physical timer: INTIDs 29, 30, 27, 26. */
	static const uint32_t interrupts[] = {
		FDT_IRQ_PPI, 13, FDT_IRQ_LEVEL_HIGH, FDT_IRQ_PPI, 14, FDT_IRQ_LEVEL_HIGH,
		FDT_IRQ_PPI, 11, FDT_IRQ_LEVEL_HIGH, FDT_IRQ_PPI, 10, FDT_IRQ_LEVEL_HIGH,
	};
	begin(w, "timer");
	put_string(w, "compatible", "arm,armv8-timer");
	put_empty(w, "always-on");
	put_cells(w, "interrupts", interrupts, ARRAY_SIZE(interrupts));
	end(w);
}

static void write_clock(struct writer *w)
{
	begin(w, "apb-pclk");
	put_string(w, "compatible", "fixed-clock");
	put_u32(w, "#clock-cells", 0);
	put_u32(w, "clock-frequency", CLOCK_HZ);
	put_string(w, "clock-output-names", "clk24mhz");
	put_u32(w, "phandle", FDT_PHANDLE_CLOCK);
	end(w);
}

static void write_psci(struct writer *w)
{
	begin(w, "psci");
	put_string(w, "compatible", "arm,psci-0.2");
	put_string(w, "method", "hvc");
	end(w);
}

static void write_desc(struct writer *w, const struct fdt_desc *d)
{
	begin(w, d->name);
	for (unsigned int i = 0; i < d->nprops; i++) {
		const struct fdt_prop *p = &d->prop[i];
		switch (p->kind) {
		case FDT_PROP_EMPTY:
			put_empty(w, p->name);
			break;
		case FDT_PROP_CELLS:
			put_cells(w, p->name, p->cells, p->ncells);
			break;
		case FDT_PROP_STRINGS:
			put_bytes(w, p->name, p->strings, p->strings_len);
			break;
		}
	}
	end(w);
}

static void write_root(struct writer *w, const struct fdt_machine *m)
{
	begin(w, "");
	put_u32(w, "#address-cells", 2);
	put_u32(w, "#size-cells", 2);
	put_string(w, "compatible", "linux,dummy-virt");
	put_u32(w, "interrupt-parent", FDT_PHANDLE_GIC);
	write_cpus(w, m);
	write_memory(w, m);
	write_chosen(w, m);
	write_timer(w);
	write_clock(w);
	write_psci(w);
	for (unsigned int i = 0; i < m->nodes->n; i++)
		write_desc(w, &m->nodes->v[i]);
	end(w);
}

uint64_t fdt_room(unsigned int ncpus, unsigned int ndevices)
{
	/* The fixed part with the longest command line, a cpu node, a device's node: each with a third to spare. */
	return align_up(8 * KIB + ncpus * UINT64_C(208) + ndevices * UINT64_C(512), 4 * KIB);
}

int fdt_build(const struct fdt_machine *m, void *buf, size_t size, size_t *ret_len, struct err *e)
{
	size = min_u64(size, LAYOUT_FDT_MAX); /* the protocol's limit; libfdt counts in int */
	struct writer w = { .fdt = buf };
	/* Names may repeat: storing each once costs a search of all names before. */
	keep(&w, fdt_create_with_flags(buf, (int)size, FDT_CREATE_FLAG_NO_NAME_DEDUP));
	if (!w.rc)
		keep(&w, fdt_finish_reservemap(buf));
	write_root(&w, m);
	if (!w.rc)
		keep(&w, fdt_finish(buf));
	if (w.rc == -FDT_ERR_NOSPACE)
		return err_set(e, -ENOSPC, "The device tree does not fit into %zu bytes", size);
	if (w.rc)
		return err_set(e, -EINVAL, "The device tree cannot be written: %s",
			       fdt_strerror(w.rc));
	*ret_len = fdt_totalsize(buf);
	return 0;
}
