/*
 * Unmodified Debian kernels as guests. A boot under emulation costs seconds, so each boot checks all there is to
 * see: CPUs, memory, interrupts, command line, initrd, drives of every kind, entropy, clock, and how it ends.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

TestSuite(linux_guest, .fini = harness_end);

enum { PAYLOAD = (1 << 20) + 4711, DISK = 1 << 20 };
/* Neither a multiple of 512 nor of 4; the guest sees its whole sectors. */
enum { ODD_DISK_SECTORS = 100, ODD_DISK_TAIL = 77 };

struct linux_case {
	const char *kernel; /* "6.1" or "6.12" */
	unsigned int vcpus, mem_mib;
	const char *end; /* wick.end */
	bool has_pauses; /* pause and resume all the time while the guest works */
};

/* What the guest runs. Lines of it start with "@"; commands that must fail say so. */
static const char script[] =
	"#!/bin/sh\n"
	"exec 2>&1\n"
	"echo \"@release $(uname -r)\"\n"
	"echo \"@online $(cat /sys/devices/system/cpu/online)\"\n"
	"echo \"@memtotal $(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)\"\n"
	"echo \"@ram $(sed -n 's/^\\([0-9a-f-]*\\) : System RAM/\\1/p' /proc/iomem | tr '\\n' ' "
	"')\"\n"
	"echo \"@cmdline $(cat /proc/cmdline)\"\n"
	"echo \"@payload $(sha256sum </payload)\"\n"
	"grep arch_timer /proc/interrupts | sed 's/^ */@timer /'\n"
	"grep virtio /proc/interrupts | sed 's/^ */@virtio /'\n"
	"echo \"@clock $(cat /sys/class/rtc/rtc0/since_epoch) $(cat /sys/class/rtc/rtc0/name)\"\n"
	"echo \"@rng $(cat /sys/class/misc/hw_random/rng_current)\"\n"
	"echo \"@random1 $(head -c 32 /dev/hwrng | sha256sum)\"\n"
	"echo \"@random2 $(head -c 32 /dev/hwrng | sha256sum)\"\n"
	"for d in a b c d; do echo \"@sectors-vd$d $(cat /sys/block/vd$d/size) $(cat "
	"/sys/block/vd$d/ro)\"; done\n"
	"echo \"@read-vda $(sha256sum </dev/vda)\"\n"
	"dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null && echo '@write-vda "
	"accepted' || echo '@write-vda refused'\n"
	"cat /dev/vda /dev/vda >/dev/vdb\n"
	"head -c $((512 * 100)) /dev/vda >/dev/vdc\n"
	"sync\n"
	"echo 3 >/proc/sys/vm/drop_caches\n"
	"echo \"@read-vdb $(sha256sum </dev/vdb)\"\n"
	"echo \"@read-vdc $(sha256sum </dev/vdc)\"\n"
	"grep arch_timer /proc/interrupts | sed 's/^ */@timer-later /'\n"
	"echo '@ask 1'\n"
	"read -r answer\n"
	"echo \"@answer ${#answer} $(printf %s \"$answer\" | sha256sum)\"\n"
	"grep ttyS0 /proc/interrupts | sed 's/^ */@uart /'\n"
	"echo \"@complaints $(dmesg | grep -E 'nobody cared|WARNING: CPU|Oops|Unable to handle|I/O "
	"error|ttyS0: .*overrun')\"\n"
	"echo '@end 0'\n";

/* --- the initrd: mkguest's, and an archive of our own behind it ------------------------------------------- */

static void cpio_entry(FILE *f, const char *name, unsigned int mode, const void *data, size_t len)
{
	static unsigned int inode = 1000;
	size_t name_len = strlen(name) + 1;

	fprintf(f, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode++, mode, 0,
		0, 1, 0, (unsigned int)len, 0, 0, 0, 0, (unsigned int)name_len, 0);
	fwrite(name, 1, name_len, f);
	fwrite("\0\0\0", 1, (4 - (110 + name_len) % 4) % 4, f);
	fwrite(data, 1, len, f);
	fwrite("\0\0\0", 1, (4 - len % 4) % 4, f);
}

static const char *make_initrd(const char *dir, const char *kernel, const char *payload)
{
	const char *path = format("%s/initrd", dir);
	struct text base = read_file(built(
		strcmp(kernel, "6.1") == 0 ? "guest/initramfs.cpio" : "guest/initramfs-6.12.cpio"));
	struct text data = read_file(payload);
	FILE *f = fopen(path, "w");

	check(NULL, f, "%s cannot be made", path);
	fwrite(base.bytes, 1, base.len, f);
	fwrite("\0\0\0", 1, (4 - base.len % 4) % 4, f);
	cpio_entry(f, "checks", S_IFREG | 0755, script, sizeof(script) - 1);
	cpio_entry(f, "payload", S_IFREG | 0644, data.bytes, data.len);
	cpio_entry(f, "TRAILER!!!", 0, "", 0);
	check(NULL, fclose(f) == 0, "%s cannot be written", path);
	return path;
}

/* --- what the guest saw -------------------------------------------------------------------------------------- */

static void check_memory(struct wick *w, const struct linux_case *c)
{
	/* 2 MiB at the start of RAM are held back (contract 4.1). */
	const uint64_t first = 0x80200000, end = 0x80000000 + ((uint64_t)c->mem_mib << 20);
	const char *want =
		format("%llx-%llx ", (unsigned long long)first, (unsigned long long)end - 1);
	const char *ram = output_value(w, "@ram");
	check(w, strcmp(ram, want) == 0, "System RAM is \"%s\", not \"%s\"", ram, want);

	/* The kernel keeps 1/64 for struct pages, its own size, and 64 MiB of bounce buffers for RAM above 4 GiB. */
	uint64_t kib = output_number(w, "@memtotal"), all = (uint64_t)c->mem_mib << 10;
	uint64_t own = all / 32 + 40 * 1024 + (end > UINT64_C(1) << 32 ? 64 * 1024 : 0);
	check(w, kib <= all && kib >= all - own, "MemTotal is %llu kB of %llu",
	      (unsigned long long)kib, (unsigned long long)all);
}

/* "10: 123 456 GICv3 27 Level arch_timer": one count for each CPU. */
static void check_ticks(struct wick *w, const struct linux_case *c, const char *key,
			const uint64_t *more_than, uint64_t *ret)
{
	const char *line = output_value(w, key);
	const char *at = strchr(line, ':');
	check(w, at && strstr(line, " GICv3 "), "the timer's interrupt is \"%s\"", line);
	at++;
	for (unsigned int cpu = 0; cpu < c->vcpus; cpu++) {
		char *end;
		ret[cpu] = strtoull(at, &end, 10);
		check(w, end != at && ret[cpu] > more_than[cpu],
		      "CPU %u has no (more) timer ticks: \"%s\"", cpu, line);
		at = end;
	}
}

static void check_interrupts(struct wick *w, const struct linux_case *c)
{
	uint64_t none[8] = { 0 }, before[8], later[8];
	check_ticks(w, c, "@timer", none, before);
	/* Only CPU 0 surely has work between the two looks: an idle CPU's tick is stopped. */
	uint64_t floor[8] = { 0 };
	check_ticks(w, c, "@timer-later", floor, later);
	uint64_t sum_before = 0, sum_later = 0;
	for (unsigned int cpu = 0; cpu < c->vcpus; cpu++) {
		sum_before += before[cpu];
		sum_later += later[cpu];
	}
	check(w, sum_later > sum_before, "timer ticks have stopped");
	const char *line = output_value(w, "@virtio");
	check(w, strstr(line, " GICv3 ") && strstr(line, " Edge "), "a virtio interrupt is \"%s\"",
	      line);
}

static void expect_value(struct wick *w, const char *key, const char *want)
{
	const char *got = output_value(w, key);
	check(w, strcmp(got, want) == 0, "%s is \"%s\", not \"%s\"", key, got, want);
}

static void expect_sum(struct wick *w, const char *key, const char *want)
{
	expect_value(w, key, format("%s  -", want));
}

struct disks {
	const char *read_only, *writeback, *odd, *empty;
	const char *sum; /* of the read-only one */
};

static struct disks make_disks(const char *dir)
{
	struct disks d = { .read_only = format("%s/a", dir),
			   .writeback = format("%s/b", dir),
			   .odd = format("%s/c", dir),
			   .empty = format("%s/d", dir) };
	write_pattern(d.read_only, DISK, 1);
	write_pattern(d.writeback, 2 * DISK, 2);
	write_pattern(d.odd, ODD_DISK_SECTORS * 512 + ODD_DISK_TAIL, 3);
	write_file(d.empty, "", 0);
	d.sum = sha256_of(d.read_only);
	return d;
}

static void check_disks(struct wick *w, const struct disks *d, const struct text *odd_before)
{
	expect_value(w, "@sectors-vda", format("%d 1", DISK / 512));
	expect_value(w, "@sectors-vdb", format("%d 0", 2 * DISK / 512));
	expect_value(w, "@sectors-vdc", format("%d 0", ODD_DISK_SECTORS));
	expect_value(w, "@sectors-vdd", "0 0");
	expect_sum(w, "@read-vda", d->sum);
	expect_value(w, "@write-vda", "refused");
	check(w, strcmp(sha256_of(d->read_only), d->sum) == 0, "a read-only drive has changed");

	/* In the guest, and in the host's file: twice what was on the first one. */
	struct text one = read_file(d->read_only), two = read_file(d->writeback);
	check(w,
	      two.len == 2 * one.len && memcmp(two.bytes, one.bytes, one.len) == 0 &&
		      memcmp(two.bytes + one.len, one.bytes, one.len) == 0,
	      "what the guest has written to vdb is not in the file");
	expect_sum(w, "@read-vdb", sha256_of(d->writeback));

	const size_t whole = ODD_DISK_SECTORS * 512;
	struct text odd = read_file(d->odd);
	check(w, odd.len == whole + ODD_DISK_TAIL && memcmp(odd.bytes, one.bytes, whole) == 0,
	      "what the guest has written to vdc is not in the file");
	check(w, memcmp(odd.bytes + whole, odd_before->bytes + whole, ODD_DISK_TAIL) == 0,
	      "the bytes behind the last whole sector have changed");
	const char *cut = format("%s.whole", d->odd);
	write_file(cut, odd.bytes, whole);
	expect_sum(w, "@read-vdc", sha256_of(cut));
	struct stat st;
	check(w, stat(d->empty, &st) == 0 && st.st_size == 0, "the empty drive has grown");
}

static void check_entropy_and_clock(struct wick *w, time_t from, time_t to)
{
	static const char zeros[] =
		"66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
	check(w, strncmp(output_value(w, "@rng"), "virtio_rng", 10) == 0, "the guest's rng is %s",
	      output_value(w, "@rng"));
	const char *one = output_value(w, "@random1"), *two = output_value(w, "@random2");
	check(w,
	      strcmp(one, two) != 0 && strncmp(one, zeros, 64) != 0 && strncmp(two, zeros, 64) != 0,
	      "random bytes are always the same");
	/* The guest looked at the clock between our two looks. */
	long long clock = atoll(output_value(w, "@clock"));
	check(w, clock >= from && clock <= to, "the clock is %lld, not in %lld..%lld", clock,
	      (long long)from, (long long)to);
	expect_contains(w, output_value(w, "@clock"), "pl031");
}

/* A well-behaved guest gives none; the drive's odd size is the one that belongs there. */
static void check_warnings(struct wick *w, char *log)
{
	for (char *line; (line = strsep(&log, "\n"));)
		check(w,
		      (!strstr(line, ":WARN:") && !strstr(line, ":ERROR:")) ||
			      strstr(line, "the guest does not see the last 77"),
		      "the log has \"%s\"", line);
}

/* --- while it runs -------------------------------------------------------------------------------------------- */

static void pause_until_asked(struct wick *w)
{
	const int64_t started = now_ms();
	unsigned int pauses = 0;
	wick_wait_output(w, "@WICK user-space");
	while (!memmem(w->out.bytes, w->out.len, "@ask", 4)) {
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Paused\"}", 204);
		expect_http(w, "PATCH", "/vm", "{\"state\": \"Resumed\"}", 204);
		pauses++;
		usleep(20000);
		wick_read_output(w);
		check(w, w->out_fd >= 0, "the guest has ended");
		check(w, now_ms() - started < DEADLINE_S * 1000, "the guest does not get on");
	}
	check(w, pauses >= 20, "the guest was done after %u pauses", pauses);
}

/* A line as long as a terminal takes: through the UART's FIFO of 16 bytes, and driven by interrupts. */
static const char *type_an_answer(struct wick *w)
{
	enum { LEN = 2000 };
	char *line = format("%*s", LEN + 1, "\n");
	for (unsigned int i = 0; i < LEN; i++)
		line[i] = "abcdefghijklmnopqrstuvwxyz0123456789-_,."[(i * i + i / 7) % 40];
	wick_wait_output(w, "@ask 1");
	wick_type(w, line);
	line[LEN] = '\0';
	return line;
}

static void check_answer(struct wick *w, const char *typed)
{
	const char *path = format("%s/typed", make_dir());
	write_file(path, typed, strlen(typed));
	expect_value(w, "@answer", format("%zu %s  -", strlen(typed), sha256_of(path)));
	expect_contains(w, output_value(w, "@uart"), " GICv3 ");
}

static void run_linux(const struct linux_case *c)
{
	const char *dir = make_dir();
	const char *payload = format("%s/payload", dir);
	/* Odd spacing and a word the kernel does not know: the command line is passed on as it is. */
	const char *args = format("console=ttyS0 quiet panic=-1  wick.test=a,b=\\\"c\\\"  "
				  "wick.sh=/checks wick.end=%s",
				  c->end);
	const char *seen = format("console=ttyS0 quiet panic=-1  wick.test=a,b=\"c\"  "
				  "wick.sh=/checks wick.end=%s pci=off "
				  "earlycon=uart,mmio,0x40002000",
				  c->end);

	write_pattern(payload, PAYLOAD, 4);
	struct disks d = make_disks(dir);
	struct text odd_before = read_file(d.odd);
	struct machine m = { .kernel = built(format("kernel/%s/Image", c->kernel)),
			     .initrd = make_initrd(dir, c->kernel, payload),
			     .args = args,
			     .vcpus = c->vcpus,
			     .mem_mib = c->mem_mib,
			     .has_entropy = true,
			     .has_boot_timer = true,
			     .drives = { { "a", d.read_only, true, false },
					 { "b", d.writeback, false, true },
					 { "c", d.odd, false, false },
					 { "d", d.empty, false, false } } };
	time_t from = time(NULL);
	struct wick *w = boot(&m);
	if (c->has_pauses)
		pause_until_asked(w);
	const char *typed = type_an_answer(w);
	int code = wick_wait_exit(w);
	time_t to = time(NULL);

	check(w, code == 0, "exit code %d", code);
	expect_value(w, "@end", "0");
	expect_value(w, "@WICK exit", "0");
	expect_contains(w, output_value(w, "@release"), format("%s.", c->kernel));
	expect_value(w, "@online", c->vcpus == 1 ? "0" : format("0-%u", c->vcpus - 1));
	expect_value(w, "@cmdline", seen);
	expect_sum(w, "@payload", sha256_of(payload));
	check_answer(w, typed);
	check_memory(w, c);
	check_interrupts(w, c);
	check_disks(w, &d, &odd_before);
	check_entropy_and_clock(w, from, to);
	struct text log = wick_log(w);
	expect_contains(w, log.bytes,
			strcmp(c->end, "reboot") == 0 ? "asked for a reset"
						      : "asked for a shutdown");
	expect_contains(w, log.bytes, "Guest-boot-time = ");
	check_warnings(w, log.bytes);
	expect_value(w, "@complaints", "");
}

Test(linux_guest, kernel_6_1_with_1_vcpu_and_128_mib)
{
	run_linux(&(struct linux_case){ "6.1", 1, 128, "reboot", false });
}

Test(linux_guest, kernel_6_12_with_2_vcpus_and_256_mib)
{
	run_linux(&(struct linux_case){ "6.12", 2, 256, "poweroff", true });
}

Test(linux_guest, kernel_6_1_with_4_vcpus_and_3_gib)
{
	run_linux(&(struct linux_case){ "6.1", 4, 3072, "poweroff", true });
}

Test(linux_guest, kernel_6_12_with_8_vcpus_and_512_mib)
{
	run_linux(&(struct linux_case){ "6.12", 8, 512, "reboot", false });
}
