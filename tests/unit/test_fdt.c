/* arch/arm64/fdt.c: what is read back from the blob, and that dtc has nothing to say about it. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/arm64/boot.h"
#include "arch/arm64/cpu.h"
#include "arch/arm64/fdt.h"
#include "arch/arm64/gic.h"
#include "arch/arm64/layout.h"
#include "fakes/fake_kvm.h"
#include "vmm/base/bits.h"

/* --- a machine --------------------------------------------------------------------------------- */

struct machine {
	struct fdt_machine m;
	struct mem_range ram[2];
	struct fdt_list nodes;
	uint64_t *mpidr;
	uint8_t seed[64];
	void *blob;
	size_t len;
	struct err err;
};

static void add_uart(struct fdt_list *list)
{
	struct fdt_desc *d = fdt_list_add(list);
	fdt_desc_init(d, "uart", LAYOUT_SERIAL);
	fdt_desc_strings(d, "compatible", "ns16550a");
	fdt_desc_reg(d, LAYOUT_SERIAL, LAYOUT_MMIO_WINDOW);
	fdt_desc_spi(d, 7, IRQ_EDGE_RISING);
	fdt_desc_u32(d, "clocks", FDT_PHANDLE_CLOCK);
	fdt_desc_strings(d, "clock-names", "apb_pclk");
}

static void add_virtio(struct fdt_list *list, unsigned int i)
{
	struct fdt_desc *d = fdt_list_add(list);
	const gpa_t base = LAYOUT_VIRTIO + i * LAYOUT_MMIO_WINDOW;
	fdt_desc_init(d, "virtio_mmio", base);
	fdt_desc_empty(d, "dma-coherent");
	fdt_desc_strings(d, "compatible", "virtio,mmio");
	fdt_desc_reg(d, base, LAYOUT_MMIO_WINDOW);
	fdt_desc_spi(d, i, IRQ_EDGE_RISING);
}

/* The GIC's node as gic_kvm_v3.c describes itself. */
static void add_gic(struct fdt_list *list, unsigned int ncpus)
{
	struct kvm kvm = KVM_CLOSED;
	struct err e;
	struct kvm_vcpu *vcpu = calloc(ncpus, sizeof(*vcpu));
	const struct kvm_vcpu **ptr = calloc(ncpus, sizeof(*ptr));
	struct gic *gic = NULL;
	fake_kvm_reset();
	cr_assert_eq(kvm_open(&kvm, &e), 0);
	cr_assert_eq(kvm_create_vm(&kvm, 40, &e), 0);
	for (unsigned int i = 0; i < ncpus; i++) {
		struct kvm_vcpu_init init = { 0 };
		cr_assert_eq(kvm_create_vcpu(&kvm, i, &vcpu[i]), 0);
		cr_assert_eq(kvm_vcpu_init(&vcpu[i], &init), 0);
		ptr[i] = &vcpu[i];
	}
	const struct gic_config cfg = {
		.kvm = &kvm, .vcpus = ptr, .nvcpus = ncpus, .nr_irqs = LAYOUT_NR_IRQS
	};
	cr_assert_eq(gic_create(&cfg, &gic, &e), 0, "%s", e.text);
	cr_assert_eq(gic->ops->describe(gic, list), 0);
	gic_destroy(gic);
	for (unsigned int i = 0; i < ncpus; i++)
		kvm_vcpu_close(&vcpu[i]);
	kvm_close(&kvm);
	free(vcpu);
	free(ptr);
}

static void machine_init(struct machine *x, unsigned int ncpus, uint64_t mem_mib)
{
	*x = (struct machine){ 0 };
	x->mpidr = calloc(ncpus, sizeof(*x->mpidr));
	x->blob = malloc(LAYOUT_FDT_MAX);
	cr_assert(x->mpidr && x->blob);
	for (unsigned int i = 0; i < ncpus; i++)
		x->mpidr[i] = BIT64(31) | cpu_mpidr_affinity(i);
	for (unsigned int i = 0; i < sizeof(x->seed); i++)
		x->seed[i] = (uint8_t)(i * 7 + 1);
	add_gic(&x->nodes, ncpus);
	add_uart(&x->nodes);
	for (unsigned int i = 0; i < 3; i++)
		add_virtio(&x->nodes, i);
	x->m = (struct fdt_machine){
		.cmdline = "console=ttyS0 reboot=k panic=1",
		.ram = x->ram,
		.nram = boot_ram_ranges(mem_mib, x->ram),
		.mpidr = x->mpidr,
		.ncpus = ncpus,
		.rng_seed = x->seed,
		.nodes = &x->nodes,
	};
}

static int machine_build(struct machine *x)
{
	return fdt_build(&x->m, x->blob, LAYOUT_FDT_MAX, &x->len, &x->err);
}

static void machine_fini(struct machine *x)
{
	fdt_list_fini(&x->nodes);
	free(x->mpidr);
	free(x->blob);
}

/* --- reading back ------------------------------------------------------------------------------ */

static int node(const struct machine *x, const char *path)
{
	int at = fdt_path_offset(x->blob, path);
	cr_assert(at >= 0, "%s: %s", path, fdt_strerror(at));
	return at;
}

static bool has(const struct machine *x, const char *path, const char *name)
{
	return fdt_getprop(x->blob, node(x, path), name, NULL) != NULL;
}

static void expect_bytes(const struct machine *x, const char *path, const char *name,
			 const void *want, size_t n)
{
	int len = -1;
	const void *got = fdt_getprop(x->blob, node(x, path), name, &len);
	cr_assert(got, "%s has no %s", path, name);
	cr_assert_eq(len, (int)n, "%s %s has %d bytes", path, name, len);
	cr_expect_eq(memcmp(got, want, n), 0, "%s %s differs", path, name);
}

static void expect_string(const struct machine *x, const char *path, const char *name,
			  const char *want)
{
	expect_bytes(x, path, name, want, strlen(want) + 1);
}

/* `want`: cells in host order. */
static void expect_cells(const struct machine *x, const char *path, const char *name,
			 const uint32_t *want, unsigned int n)
{
	uint8_t be[64];
	cr_assert(n * 4 <= sizeof(be));
	for (unsigned int i = 0; i < n; i++)
		fdt32_st(be + 4 * i, want[i]);
	expect_bytes(x, path, name, be, 4 * n);
}
#define EXPECT_CELLS(x, path, name, ...)                               \
	expect_cells((x), (path), (name), (uint32_t[]){ __VA_ARGS__ }, \
		     ARRAY_SIZE(((uint32_t[]){ __VA_ARGS__ })))

/* dtc reads the blob back and prints warnings on stderr: none are wanted. */
static void expect_dtc_is_silent(const struct machine *x)
{
	char dtb[] = "/tmp/test_fdt.XXXXXX", cmd[128], line[256];
	int fd = mkstemp(dtb);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, x->blob, x->len), (ssize_t)x->len);
	(void)close(fd);
	(void)snprintf(cmd, sizeof(cmd), "dtc -I dtb -O dts -o /dev/null %s 2>&1", dtb);
	FILE *p = popen(cmd, "r");
	cr_assert(p);
	while (fgets(line, sizeof(line), p))
		cr_expect_fail("dtc: %s", line);
	cr_expect_eq(pclose(p), 0, "dtc is installed and content");
	(void)unlink(dtb);
}

/* --- tests ------------------------------------------------------------------------------------- */

struct machine_case {
	unsigned int ncpus;
	uint64_t mem_mib;
	gpa_t initrd;
	uint64_t initrd_size;
	char last_cpu[24];
};

ParameterizedTestParameters(fdt, machines_dtc_accepts)
{
	static struct machine_case cases[] = {
		{ 1, 128, 0, 0, "/cpus/cpu@0" },
		{ 1, 128, 0x87dfe000, 5000, "/cpus/cpu@0" },
		{ 17, 3072, 0x87dfe000, 1, "/cpus/cpu@100" },
		{ 17, 300 * 1024, 0x87fffe000, 5000, "/cpus/cpu@100" },
		{ 300, 128, 0, 0, "/cpus/cpu@120b" },
		{ 300, 300 * 1024, 0x87fffe000, 5000, "/cpus/cpu@120b" },
		{ 512, 1022 * 1024, 0, 0, "/cpus/cpu@1f0f" },
	};
	return cr_make_param_array(struct machine_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct machine_case *c, fdt, machines_dtc_accepts)
{
	struct machine x;
	machine_init(&x, c->ncpus, c->mem_mib);
	x.m.initrd = c->initrd;
	x.m.initrd_size = c->initrd_size;
	cr_assert_eq(machine_build(&x), 0, "%s", x.err.text);
	cr_expect_eq(fdt_check_full(x.blob, x.len), 0);
	expect_dtc_is_silent(&x);

	int ncpus = 0, child;
	fdt_for_each_subnode(child, x.blob, node(&x, "/cpus")) ncpus++;
	cr_expect_eq(ncpus, (int)c->ncpus);
	EXPECT_CELLS(&x, c->last_cpu, "reg", 0, (uint32_t)cpu_mpidr_affinity(c->ncpus - 1));
	cr_expect_eq(has(&x, "/chosen", "linux,initrd-start"), c->initrd != 0);
	if (c->initrd) {
		const gpa_t end = c->initrd + c->initrd_size;
		EXPECT_CELLS(&x, "/chosen", "linux,initrd-start", (uint32_t)(c->initrd >> 32),
			     (uint32_t)c->initrd);
		EXPECT_CELLS(&x, "/chosen", "linux,initrd-end", (uint32_t)(end >> 32),
			     (uint32_t)end);
	}
	machine_fini(&x);
}

Test(fdt, the_fixed_nodes)
{
	struct machine x;
	machine_init(&x, 2, 128);
	cr_assert_eq(machine_build(&x), 0, "%s", x.err.text);
	expect_string(&x, "/", "compatible", "linux,dummy-virt");
	EXPECT_CELLS(&x, "/", "#address-cells", 2);
	EXPECT_CELLS(&x, "/", "#size-cells", 2);
	EXPECT_CELLS(&x, "/", "interrupt-parent", 1);
	EXPECT_CELLS(&x, "/cpus", "#address-cells", 2);
	EXPECT_CELLS(&x, "/cpus", "#size-cells", 0);
	expect_string(&x, "/cpus/cpu@1", "device_type", "cpu");
	expect_string(&x, "/cpus/cpu@1", "compatible", "arm,arm-v8");
	expect_string(&x, "/cpus/cpu@1", "enable-method", "psci");
	EXPECT_CELLS(&x, "/cpus/cpu@1", "reg", 0, 1);
	expect_string(&x, "/psci", "compatible", "arm,psci-0.2");
	expect_string(&x, "/psci", "method", "hvc");
	expect_string(&x, "/timer", "compatible", "arm,armv8-timer");
	expect_bytes(&x, "/timer", "always-on", "", 0);
	EXPECT_CELLS(&x, "/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	expect_string(&x, "/apb-pclk", "compatible", "fixed-clock");
	EXPECT_CELLS(&x, "/apb-pclk", "#clock-cells", 0);
	EXPECT_CELLS(&x, "/apb-pclk", "clock-frequency", 24000000);
	EXPECT_CELLS(&x, "/apb-pclk", "phandle", 2);
	expect_bytes(&x, "/chosen", "rng-seed", x.seed, sizeof(x.seed));
	cr_expect_not(has(&x, "/chosen", "linux,initrd-end"));
	cr_expect_not(has(&x, "/chosen", "stdout-path"));
	machine_fini(&x);
}

Test(fdt, descriptors_come_out_in_order_and_whole)
{
	static const char *const order[] = { "intc@3fff0000", "uart@40002000",
					     "virtio_mmio@40003000", "virtio_mmio@40004000",
					     "virtio_mmio@40005000" };
	struct machine x;
	unsigned int n = 0;
	int child;
	bool is_behind = false;
	machine_init(&x, 2, 128);
	cr_assert_eq(machine_build(&x), 0, "%s", x.err.text);
	fdt_for_each_subnode(child, x.blob, 0)
	{
		const char *name = fdt_get_name(x.blob, child, NULL);
		if (is_behind)
			cr_expect_str_eq(name, order[n++]);
		is_behind |= strcmp(name, "psci") == 0;
	}
	cr_expect_eq(n, ARRAY_SIZE(order));
	EXPECT_CELLS(&x, "/intc@3fff0000", "reg", 0, 0x3fff0000, 0, 0x10000, 0, 0x3ffb0000, 0,
		     0x40000);
	EXPECT_CELLS(&x, "/intc@3fff0000", "phandle", 1);
	EXPECT_CELLS(&x, "/intc@3fff0000", "interrupts", 1, 9, 4);
	expect_bytes(&x, "/intc@3fff0000", "interrupt-controller", "", 0);
	EXPECT_CELLS(&x, "/uart@40002000", "interrupts", 0, 7, 1);
	expect_string(&x, "/uart@40002000", "clock-names", "apb_pclk");
	expect_bytes(&x, "/virtio_mmio@40004000", "dma-coherent", "", 0);
	EXPECT_CELLS(&x, "/virtio_mmio@40004000", "reg", 0, 0x40004000, 0, 0x1000);
	machine_fini(&x);
}

Test(fdt, a_list_of_strings_stays_a_list)
{
	static const char both[] = "arm,pl031\0arm,primecell";
	struct machine x;
	machine_init(&x, 1, 128);
	struct fdt_desc *d = fdt_list_add(&x.nodes);
	fdt_desc_init(d, "rtc", LAYOUT_RTC);
	fdt_desc_strings(d, "compatible", "arm,pl031\0arm,primecell");
	fdt_desc_reg(d, LAYOUT_RTC, LAYOUT_MMIO_WINDOW);
	cr_assert_eq(machine_build(&x), 0, "%s", x.err.text);
	expect_bytes(&x, "/rtc@40001000", "compatible", both, sizeof(both));
	cr_expect_eq(fdt_stringlist_count(x.blob, node(&x, "/rtc@40001000"), "compatible"), 2);
	machine_fini(&x);
}

Test(fdt, all_memory_but_the_system_area_is_told)
{
	struct machine x;
	machine_init(&x, 1, 128);
	cr_assert_eq(machine_build(&x), 0);
	expect_string(&x, "/memory@80200000", "device_type", "memory");
	EXPECT_CELLS(&x, "/memory@80200000", "reg", 0, 0x80200000, 0, 0x07e00000);
	machine_fini(&x);

	machine_init(&x, 1, 300 * 1024);
	cr_assert_eq(machine_build(&x), 0);
	EXPECT_CELLS(&x, "/memory@80200000", "reg", 0, 0x80200000, 0x3f, 0x7fe00000, 0x80, 0, 0xb,
		     0x80000000);
	machine_fini(&x);
}

Test(fdt, boot_arguments_are_exact)
{
	char longest[LAYOUT_CMDLINE_MAX];
	for (size_t i = 0; i < sizeof(longest) - 1; i++)
		longest[i] = (char)(' ' + i % 95); /* quotes, backslashes and all */
	longest[sizeof(longest) - 1] = '\0';
	const char *const cmdlines[] = { "",      " ",
					 "a",     "quote=\"a b\" \\ $HOME \t end ",
					 longest, "\xc3\xa4\xff" };
	for (unsigned int i = 0; i < ARRAY_SIZE(cmdlines); i++) {
		struct machine x;
		machine_init(&x, 1, 128);
		x.m.cmdline = cmdlines[i];
		cr_assert_eq(machine_build(&x), 0, "%s", x.err.text);
		expect_string(&x, "/chosen", "bootargs", cmdlines[i]);
		machine_fini(&x);
	}
}

Test(fdt, u_and_mt_bits_are_not_in_reg)
{
	struct machine x;
	machine_init(&x, 1, 128);
	x.mpidr[0] = BIT64(31) | BIT64(30) | BIT64(24) | 0x20305;
	cr_assert_eq(machine_build(&x), 0);
	EXPECT_CELLS(&x, "/cpus/cpu@20305", "reg", 0, 0x20305);
	machine_fini(&x);
}

Test(fdt, every_buffer_that_is_too_small_is_refused)
{
	struct machine x;
	machine_init(&x, 2, 128);
	cr_assert_eq(machine_build(&x), 0);
	const size_t need = x.len;
	size_t len = 4711;
	for (size_t size = 0; size < need; size += size < 64 ? 1 : 13) {
		uint8_t *buf = malloc(size + 1); /* ASan watches its end */
		cr_assert_eq(fdt_build(&x.m, buf, size, &len, &x.err), -ENOSPC, "%zu bytes", size);
		cr_expect(strstr(x.err.text, "does not fit"), "%s", x.err.text);
		cr_expect_eq(len, 4711);
		free(buf);
	}
	machine_fini(&x);
}

Test(fdt, the_same_machine_gives_the_same_bytes)
{
	struct machine x, y;
	machine_init(&x, 3, 128);
	machine_init(&y, 3, 128);
	cr_assert_eq(machine_build(&x), 0);
	cr_assert_eq(machine_build(&y), 0);
	cr_assert_eq(x.len, y.len);
	cr_expect_arr_eq((uint8_t *)x.blob, (uint8_t *)y.blob, x.len);
	machine_fini(&x);
	machine_fini(&y);
}

/* --- the room that is kept for it ---------------------------------------------------------------- */

struct room_case {
	char claim[48];
	unsigned int ncpus, ndevices;
};

ParameterizedTestParameters(fdt, room)
{
	static struct room_case cases[] = {
		{ "the smallest machine", 1, 0 },
		{ "a usual one", 2, 4 },
		{ "as many devices as there are interrupts", 1, 96 },
		{ "as many vCPUs as KVM has", 512, 0 },
		{ "all of everything", 512, 96 },
	};
	return cr_make_param_array(struct room_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct room_case *c, fdt, room)
{
	static char cmdline[LAYOUT_CMDLINE_MAX];
	struct machine x;
	machine_init(&x, c->ncpus, 300 * 1024);
	for (unsigned int i = 3 + 1; i < c->ndevices;
	     i++) /* the rig has three and a UART already */
		add_virtio(&x.nodes, i);
	memset(cmdline, 'x', sizeof(cmdline) - 1);
	x.m.cmdline = cmdline;
	x.m.initrd = 0x90000000;
	x.m.initrd_size = 1;
	uint64_t room = fdt_room(c->ncpus, c->ndevices < 4 ? 4 : c->ndevices);
	cr_expect_eq(room % (4 * KIB), 0, "%s", c->claim);
	cr_expect_leq(room, LAYOUT_FDT_MAX, "%s", c->claim);
	cr_expect_eq(fdt_build(&x.m, x.blob, room, &x.len, &x.err), 0, "%s: %s", c->claim,
		     x.err.text);
	cr_expect_leq(x.len, room, "%s: %zu of %llu bytes", c->claim, x.len,
		      (unsigned long long)room);
	machine_fini(&x);
}
