/* api/config_file.c: the whole configuration in one JSON object, read and printed. */
#include "api/config_file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fakes/fake_api.h"
#include "vmm/base/bits.h"

#define FAILURE "Configuration for VMM from one single json failed: "

static struct fake_api fake;
static char file[] = "/tmp/wick-config-XXXXXX";

static void setup(void)
{
	int fd = mkstemp(file);
	cr_assert_geq(fd, 0);
	close(fd);
	fake_api_init(&fake);
}

static void teardown(void)
{
	(void)unlink(file);
	fake_api_fini(&fake);
}

TestSuite(config_file, .init = setup, .fini = teardown);

static void write_file(const char *text, size_t len)
{
	FILE *f = fopen(file, "w");
	cr_assert_eq(fwrite(text, 1, len, f), len);
	cr_assert_eq(fclose(f), 0);
}

static int apply(const char *text, struct err *e)
{
	write_file(text, strlen(text));
	fake.nactions = 0;
	return config_file_apply(file, fake_api_submit, &fake, e);
}

#define BOOT  "\"boot-source\":{\"kernel_image_path\":\"/k\"}"
#define NEEDS BOOT ",\"drives\":[]"

struct row {
	const char *claim, *text, *want; /* behind the failure's beginning and the file's name */
};

static const struct row refused[] = {
	{ "an empty file", "", "EOF while parsing a value at line 1 column 0" },
	{ "no object", "[]",
	  "invalid type: sequence, expected struct VmmConfig at line 1 column 0" },
	{ "no boot-source", "{\"drives\":[]}", "missing field `boot-source` at line 1 column 13" },
	{ "no drives", "{" BOOT "}", "missing field `drives` at line 1 column 42" },
	{ "a value of the wrong type names its field",
	  "{" NEEDS ",\n\"machine-config\":{\"vcpu_count\":\"two\",\"mem_size_mib\":1}}",
	  "machine-config.vcpu_count: invalid type: string \"two\", expected u8 at line 2 column "
	  "36" },
	{ "a missing field names its section", "{" NEEDS ",\"machine-config\":{\"vcpu_count\":1}}",
	  "machine-config: missing field `mem_size_mib` at line 1 column 87" },
	{ "an unknown field", "{" NEEDS ",\"entropy\":{\"x\":1}}",
	  "entropy.x: unknown field `x`, expected `rate_limiter` at line 1 column 68" },
	{ "the second drive",
	  "{" BOOT ",\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,\"path_on_host\":"
	  "\"/d\"},{\"drive_id\":\"b\",\"is_root_device\":\"no\"}]}",
	  "drives[1].is_root_device: invalid type: string \"no\", expected a boolean at line 1 "
	  "column 148" },
	{ "a drive without a path",
	  "{" BOOT ",\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true}]}",
	  "drives[0]: Drive config error: Unable to create the virtio block device: Invalid block "
	  "config. (drive_id is a, path_on_host is missing)" },
	{ "drives that are no list", "{" BOOT ",\"drives\":{}}",
	  "drives: invalid type: map, expected a sequence at line 1 column 51" },
	{ "a required section that is null", "{\"boot-source\":null,\"drives\":[]}",
	  "boot-source: invalid type: null, expected struct BootSourceConfig at line 1 column 19" },
	{ "a section whose feature is to come",
	  "{" NEEDS ",\"vsock\":{\"guest_cid\":3,\"uds_path\":\"/v\"}}",
	  "vsock: section is not supported by this version of wick yet: "
	  "{\"guest_cid\":3,\"uds_path\":\"/v\"} at line 1 column 93" },
	{ "a CPU template by path", "{" NEEDS ",\"cpu-config\":\"/t\"}",
	  "cpu-config: section is not supported by this version of wick yet: \"/t\" at line 1 "
	  "column 71" },
	{ "a section twice", "{" NEEDS ",\"drives\":[]}",
	  "duplicate field `drives` at line 1 column 62" },
	{ "a comma too many", "{" NEEDS ",}", "trailing comma at line 1 column 55" },
};

Test(config_file, refusals_name_file_field_and_value)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct row *r = &refused[i];
		char want[1024];
		struct err e = { "" };
		(void)snprintf(want, sizeof(want), FAILURE "%s: %s", file, r->want);
		cr_expect_lt(apply(r->text, &e), 0, "%s", r->claim);
		cr_expect_str_eq(e.text, want, "%s: got %s", r->claim, e.text);
		cr_expect_eq(fake.nactions, 0, "%s: nothing was submitted", r->claim);
	}
}

Test(config_file, sections_are_applied_in_firecrackers_order)
{
	static const enum vm_action want[] = { VM_PUT_LOGGER, VM_PUT_MACHINE, VM_PUT_BOOT_SOURCE,
					       VM_PUT_DRIVE,  VM_PUT_DRIVE,   VM_PUT_ENTROPY };
	struct err e;
	int rc = apply("{\"entropy\":{},\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,"
		       "\"path_on_host\":\"/a\"},{\"drive_id\":\"b\",\"is_root_device\":false,"
		       "\"path_on_host\":\"/b\"}]," BOOT ",\"machine-config\":{\"vcpu_count\":3,"
		       "\"mem_size_mib\":256},\"logger\":{\"level\":\"Info\"}}",
		       &e);
	cr_assert_eq(rc, 0, "%s", e.text);
	cr_assert_eq(fake.nactions, ARRAY_SIZE(want));
	cr_expect(!memcmp(fake.actions, want, sizeof(want)));
	cr_expect_eq(fake.config.machine.vcpu_count, 3);
	cr_expect_eq(fake.config.ndrives, 2);
	cr_expect_str_eq(fake.config.drives[1].path_on_host, "/b");
}

Test(config_file, unknown_and_empty_sections_are_passed_over)
{
	struct err e;
	int rc = apply("{" NEEDS ",\"foo\":{\"x\":[1]},\"vsock\":null,\"pmem\":[],\"metrics\":null,"
		       "\"network-interfaces\":[],\"mmds-config\":null,\"balloon\":null,"
		       "\"cpu-config\":null,\"memory-hotplug\":null,\"logger\":null,"
		       "\"machine-config\":null,\"entropy\":null}",
		       &e);
	cr_expect_eq(rc, 0, "%s", e.text);
	cr_expect_eq(fake.nactions, 1); /* the boot source */
}

Test(config_file, a_refusal_of_the_vmm_names_the_section)
{
	char want[256];
	struct err e;
	fake.refusal = "Boot source error: no";
	cr_expect_eq(apply("{" NEEDS "}", &e), -EINVAL);
	(void)snprintf(want, sizeof(want), FAILURE "%s: boot-source: Boot source error: no", file);
	cr_expect_str_eq(e.text, want);
}

Test(config_file, a_file_that_is_not_there)
{
	struct err e;
	cr_expect_eq(config_file_apply("/nonexistent", fake_api_submit, &fake, &e), -ENOENT);
	cr_expect_str_eq(e.text, FAILURE "/nonexistent: No such file or directory (os error 2)");
}

Test(config_file, a_file_that_is_too_large)
{
	struct err e;
	size_t len = 1 * MIB + 1;
	char *text = malloc(len);
	memset(text, ' ', len);
	write_file(text, len);
	free(text);
	cr_expect_eq(config_file_apply(file, fake_api_submit, &fake, &e), -EFBIG);
	cr_expect_not_null(strstr(e.text, "larger than 1048576 bytes"), "%s", e.text);
}

Test(config_file, what_is_printed_gives_the_same_again)
{
	struct fake_api second;
	struct err e;
	int rc = apply(
		"{" BOOT
		",\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,\"path_on_host\":"
		"\"/"
		"a\\u00e4\\\"\",\"partuuid\":\"p\",\"cache_type\":\"Writeback\",\"is_read_only\":"
		"true},{\"drive_id\":\"b\",\"is_root_device\":false,\"path_on_host\":\"/b\"}],"
		"\"machine-config\":{\"vcpu_count\":4,\"mem_size_mib\":1024,\"huge_pages\":\"2M\","
		"\"track_dirty_pages\":true,\"cpu_template\":\"None\"},\"entropy\":{}}",
		&e);
	cr_assert_eq(rc, 0, "%s", e.text);
	size_t len;
	char *first = config_file_print(&fake.config, &len);
	cr_assert_not_null(first);
	write_file(first, len);

	fake_api_init(&second);
	cr_assert_eq(config_file_apply(file, fake_api_submit, &second, &e), 0, "%s", e.text);
	char *again = config_file_print(&second.config, &len);
	cr_expect_str_eq(again, first);
	cr_expect_eq(second.config.ndrives, fake.config.ndrives);
	cr_expect(!memcmp(second.config.drives, fake.config.drives,
			  fake.config.ndrives * sizeof(*fake.config.drives)));
	cr_expect(!memcmp(&second.config.boot, &fake.config.boot, sizeof(fake.config.boot)));
	cr_expect_eq(second.config.machine.vcpu_count, 4);
	cr_expect_eq(second.config.machine.mem_size_mib, 1024);
	cr_expect_eq(second.config.machine.huge_pages, HUGE_PAGES_2M);
	cr_expect(second.config.machine.track_dirty_pages && second.config.has_entropy);
	fake_api_fini(&second);
	free(first);
	free(again);
}
