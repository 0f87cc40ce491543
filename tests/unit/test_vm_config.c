/* vmm/vm_config.c: defaults, PUT against PATCH, limits with their texts, the order of drives. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/bits.h"
#include "vmm/vm_config.h"

enum { MAX_VCPUS_HERE = 8 };

Test(vm_config, defaults)
{
	struct vm_config c;
	memset(&c, 0xee, sizeof(c));
	vm_config_init(&c);
	cr_expect(c.machine.vcpu_count == 1 && c.machine.mem_size_mib == 128);
	cr_expect(!c.machine.smt && !c.machine.has_cpu_template && !c.machine.track_dirty_pages);
	cr_expect_eq(c.machine.huge_pages, HUGE_PAGES_NONE);
	cr_expect(!c.has_boot_source && !c.has_entropy && !c.has_logger && !c.boot_timer);
	cr_expect(c.ndrives == 0 && !c.drives);
	vm_config_fini(&c);
	vm_config_fini(&c);
}

/* --- the machine ------------------------------------------------------------------------------ */

static const struct machine_config_update everything = {
	.has_vcpu_count = true,
	.has_mem_size_mib = true,
	.has_smt = true,
	.has_cpu_template = true,
	.has_track_dirty_pages = true,
	.has_huge_pages = true,
	.value = { .vcpu_count = 4,
		   .mem_size_mib = 512,
		   .cpu_template = CPU_TEMPLATE_V1N1,
		   .track_dirty_pages = true,
		   .huge_pages = HUGE_PAGES_2M },
};

static const struct machine_config_update two_fields = {
	.has_vcpu_count = true,
	.has_mem_size_mib = true,
	.value = { .vcpu_count = 2, .mem_size_mib = 256 },
};

static int set_machine(struct vm_config *c, const struct machine_config_update *u, bool is_put,
		       struct err *e)
{
	e->text[0] = '\0';
	return vm_config_set_machine(c, u, is_put, MAX_VCPUS_HERE, e);
}

Test(vm_config, put_sets_everything_and_resets_what_it_leaves_out)
{
	struct vm_config c;
	struct err e;
	vm_config_init(&c);
	cr_assert_eq(set_machine(&c, &everything, true, &e), 0, "%s", e.text);
	cr_expect(c.machine.vcpu_count == 4 && c.machine.mem_size_mib == 512);
	cr_expect(c.machine.has_cpu_template && c.machine.cpu_template == CPU_TEMPLATE_V1N1);
	cr_expect(c.machine.track_dirty_pages && c.machine.huge_pages == HUGE_PAGES_2M);

	cr_assert_eq(set_machine(&c, &two_fields, true, &e), 0, "%s", e.text);
	cr_expect(c.machine.vcpu_count == 2 && c.machine.mem_size_mib == 256);
	cr_expect_not(c.machine.has_cpu_template);
	cr_expect_not(c.machine.track_dirty_pages);
	cr_expect_eq(c.machine.huge_pages, HUGE_PAGES_NONE);
}

Test(vm_config, patch_keeps_what_it_leaves_out)
{
	const struct machine_config_update count = { .has_vcpu_count = true,
						     .value = { .vcpu_count = 3 } };
	const struct machine_config_update nothing = { .value = { .vcpu_count = 7 } };
	struct vm_config c;
	struct err e;
	vm_config_init(&c);
	cr_assert_eq(set_machine(&c, &everything, true, &e), 0);
	struct machine_config want = c.machine;
	want.vcpu_count = 3;
	cr_assert_eq(set_machine(&c, &count, false, &e), 0);
	cr_expect_arr_eq(&c.machine, &want, sizeof(want));
	cr_assert_eq(set_machine(&c, &nothing, false, &e), 0);
	cr_expect_arr_eq(&c.machine, &want, sizeof(want), "absent fields are not looked at");
}

Test(vm_config, the_none_template_is_no_template)
{
	const struct machine_config_update none = { .has_cpu_template = true };
	struct vm_config c;
	struct err e;
	vm_config_init(&c);
	cr_assert_eq(set_machine(&c, &everything, true, &e), 0);
	cr_assert_eq(set_machine(&c, &none, false, &e), 0);
	cr_expect_not(c.machine.has_cpu_template);
}

static const struct limit_row {
	const char *claim;
	uint32_t vcpus;
	uint64_t mib;
	bool smt;
	enum huge_pages pages;
	const char *text; /* NULL: taken */
} limits[] = {
	{ "one vCPU", 1, 128, false, HUGE_PAGES_NONE, NULL },
	{ "as many as the host allows", 8, 128, false, HUGE_PAGES_NONE, NULL },
	{ "one more", 9, 128, false, HUGE_PAGES_NONE,
	  "vcpu_count is 9, this host's KVM allows 1 to 8." },
	{ "the most there are", UINT32_MAX, 128, false, HUGE_PAGES_NONE,
	  "vcpu_count is 4294967295," },
	{ "none", 0, 128, false, HUGE_PAGES_NONE, "The vCPU number is invalid! vcpu_count is 0," },
	{ "1 MiB", 1, 1, false, HUGE_PAGES_NONE, NULL },
	{ "an odd size in small pages", 1, 129, false, HUGE_PAGES_NONE, NULL },
	{ "no memory", 1, 0, false, HUGE_PAGES_NONE,
	  "The memory size (MiB) is either 0, or not a multiple of the configured page size." },
	{ "an odd size in huge pages", 1, 129, false, HUGE_PAGES_2M,
	  "not a multiple of the configured page size. (mem_size_mib is 129, pages are 2 MiB)" },
	{ "an odd size in transparent ones", 1, 129, false, HUGE_PAGES_TRANSPARENT,
	  "mem_size_mib is 129" },
	{ "an even size in huge pages", 1, 130, false, HUGE_PAGES_2M, NULL },
	{ "SMT", 1, 128, true, HUGE_PAGES_NONE,
	  "Enabling simultaneous multithreading is not supported on aarch64." },
};

Test(vm_config, limits_refuse_with_their_text_and_change_nothing)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct limit_row *r = &limits[i];
		struct machine_config_update u = everything;
		u.value.vcpu_count = r->vcpus;
		u.value.mem_size_mib = r->mib;
		u.value.smt = r->smt;
		u.value.huge_pages = r->pages;
		for (int is_put = 0; is_put < 2; is_put++) {
			struct vm_config c;
			struct err e;
			vm_config_init(&c);
			const struct machine_config before = c.machine;
			int rc = set_machine(&c, &u, is_put, &e);
			cr_expect_eq(rc, r->text ? -EINVAL : 0, "%s: %d", r->claim, rc);
			if (r->text) {
				cr_expect(strstr(e.text, r->text), "%s: %s", r->claim, e.text);
				cr_expect_arr_eq(&c.machine, &before, sizeof(before), "%s",
						 r->claim);
			} else {
				cr_expect_eq(c.machine.mem_size_mib, r->mib, "%s", r->claim);
			}
		}
	}
}

Test(vm_config, a_patch_is_checked_against_what_stays)
{
	const struct machine_config_update odd = { .has_mem_size_mib = true,
						   .value = { .mem_size_mib = 129 } };
	struct vm_config c;
	struct err e;
	vm_config_init(&c);
	cr_assert_eq(set_machine(&c, &everything, true, &e), 0);
	cr_expect_eq(set_machine(&c, &odd, false, &e), -EINVAL, "huge pages stay configured");
	cr_expect_eq(c.machine.mem_size_mib, 512);
}

/* --- drives ----------------------------------------------------------------------------------- */

static char disk_path[64];

static void make_disk(void)
{
	(void)snprintf(disk_path, sizeof(disk_path), "/tmp/test_vm_config.XXXXXX");
	int fd = mkstemp(disk_path);
	cr_assert(fd >= 0 && ftruncate(fd, MIB) == 0);
	(void)close(fd); /* empty */
}

static void remove_disk(void)
{
	(void)unlink(disk_path);
}

static struct block_config drive(const char *id, bool is_root)
{
	struct block_config d = { .is_root_device = is_root };
	(void)snprintf(d.drive_id, sizeof(d.drive_id), "%s", id);
	(void)snprintf(d.path_on_host, sizeof(d.path_on_host), "%s", disk_path);
	return d;
}

/* The ids in order, e.g. "root* data ". */
static const char *order(const struct vm_config *c)
{
	static char text[256];
	size_t n = 0;
	text[0] = '\0';
	for (unsigned int i = 0; i < c->ndrives; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s ", c->drives[i].drive_id,
				      c->drives[i].is_root_device ? "*" : "");
	return text;
}

struct put {
	const char *id;
	bool is_root;
	int rc;
};

Test(vm_config, order_of_drives, .init = make_disk, .fini = remove_disk)
{
	static const struct {
		const char *claim;
		struct put put[5];
		const char *want;
	} rows[] = {
		{ "in the order they came", { { "a", 0, 0 }, { "b", 0, 0 } }, "a b " },
		{ "the root goes first",
		  { { "a", 0, 0 }, { "b", 0, 0 }, { "r", 1, 0 }, { "c", 0, 0 } },
		  "r* a b c " },
		{ "a second root is refused",
		  { { "r", 1, 0 }, { "s", 1, -EEXIST }, { "a", 0, 0 } },
		  "r* a " },
		{ "the root replaced by itself", { { "r", 1, 0 }, { "r", 1, 0 } }, "r* " },
		{ "a drive replaced keeps its place",
		  { { "a", 0, 0 }, { "b", 0, 0 }, { "a", 0, 0 } },
		  "a b " },
		{ "a drive that becomes the root moves to the front",
		  { { "a", 0, 0 }, { "b", 0, 0 }, { "c", 0, 0 }, { "b", 1, 0 } },
		  "b* a c " },
		{ "a drive cannot become the second root",
		  { { "r", 1, 0 }, { "a", 0, 0 }, { "a", 1, -EEXIST } },
		  "r* a " },
		{ "a root that stops being one makes room",
		  { { "r", 1, 0 }, { "r", 0, 0 }, { "s", 1, 0 } },
		  "s* r " },
		{ "ids are compared whole",
		  { { "a", 0, 0 }, { "aa", 0, 0 }, { "A", 0, 0 } },
		  "a aa A " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vm_config c;
		vm_config_init(&c);
		for (unsigned int k = 0; k < ARRAY_SIZE(rows[i].put) && rows[i].put[k].id; k++) {
			const struct put *p = &rows[i].put[k];
			const struct block_config d = drive(p->id, p->is_root);
			struct err e = { "" };
			int rc = vm_config_set_drive(&c, &d, &e);
			cr_expect_eq(rc, p->rc, "%s, step %u: %s", rows[i].claim, k, e.text);
			if (rc < 0)
				cr_expect_str_eq(e.text, "A root block device already exists!");
		}
		cr_expect_str_eq(order(&c), rows[i].want, "%s: %s", rows[i].claim, order(&c));
		vm_config_fini(&c);
	}
}

Test(vm_config, a_drive_is_replaced_whole, .init = make_disk, .fini = remove_disk)
{
	struct vm_config c;
	struct err e;
	struct block_config d = drive("a", false);
	vm_config_init(&c);
	d.is_read_only = true;
	d.has_partuuid = true;
	cr_assert_eq(vm_config_set_drive(&c, &d, &e), 0);
	d = drive("a", false);
	cr_assert_eq(vm_config_set_drive(&c, &d, &e), 0);
	cr_expect_eq(c.ndrives, 1);
	cr_expect(!c.drives[0].is_read_only && !c.drives[0].has_partuuid);
	vm_config_fini(&c);
}

Test(vm_config, a_drive_that_cannot_be_opened_changes_nothing, .init = make_disk,
     .fini = remove_disk)
{
	struct vm_config c;
	struct err e;
	struct block_config d = drive("a", true);
	vm_config_init(&c);
	cr_assert_eq(vm_config_set_drive(&c, &d, &e), 0);
	(void)snprintf(d.path_on_host, sizeof(d.path_on_host), "/nonexistent/disk");
	cr_expect_eq(vm_config_set_drive(&c, &d, &e), -ENOENT);
	cr_expect_str_eq(e.text, "Unable to create the virtio block device: Virtio backend error: "
				 "Error manipulating the backing file: "
				 "No such file or directory (os error 2) /nonexistent/disk");
	cr_expect(c.ndrives == 1 && strcmp(c.drives[0].path_on_host, disk_path) == 0);
	vm_config_fini(&c);
}

Test(vm_config, a_copy_stands_alone, .init = make_disk, .fini = remove_disk)
{
	struct vm_config c, copy;
	struct err e;
	const struct block_config a = drive("a", false), b = drive("b", false);
	vm_config_init(&c);
	cr_assert_eq(vm_config_copy(&c, &copy), 0);
	cr_expect(!copy.drives && copy.ndrives == 0);
	cr_assert_eq(vm_config_set_drive(&c, &a, &e), 0);
	cr_assert_eq(vm_config_copy(&c, &copy), 0);
	cr_assert_eq(vm_config_set_drive(&c, &b, &e), 0);
	vm_config_fini(&c);
	cr_expect_str_eq(order(&copy), "a ");
	cr_expect_eq(copy.machine.mem_size_mib, 128);
	vm_config_fini(&copy);
}
