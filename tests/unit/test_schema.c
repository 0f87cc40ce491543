/* api/schema_*.c: the tables against their structs, and each field that Firecracker knows. */
#include "api/schema.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

struct table {
	const struct json_schema *schema;
	size_t size; /* of the struct it reads or prints */
};

static const struct table tables[] = {
	{ &machine_put_schema, sizeof(struct machine_config_update) },
	{ &machine_patch_schema, sizeof(struct machine_config_update) },
	{ &machine_print_schema, sizeof(struct machine_config) },
	{ &boot_source_schema, sizeof(struct boot_source_config) },
	{ &logger_schema, sizeof(struct log_config) },
	{ &action_schema, sizeof(struct action_body) },
	{ &vm_state_schema, sizeof(struct vm_state_body) },
	{ &drive_schema, sizeof(struct block_config) },
	{ &entropy_schema, 0 },
	{ &serial_schema, sizeof(struct serial_config) },
};

/* The size that the kind writes; 0: any. */
static size_t size_of_kind(enum json_kind kind)
{
	switch (kind) {
	case JSON_KIND_BOOL:
		return sizeof(bool);
	case JSON_KIND_U32:
	case JSON_KIND_ENUM:
		return sizeof(uint32_t);
	case JSON_KIND_U64:
		return sizeof(uint64_t);
	default:
		return 0;
	}
}

Test(schema, every_row_fits_its_struct)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const struct json_schema *s = tables[i].schema;
		for (const struct json_field *f = s->fields; f->name; f++) {
			size_t size = size_of_kind(f->kind);
			cr_expect_leq(f->offset + f->size, tables[i].size, "%s.%s", s->name,
				      f->name);
			cr_expect_leq(f->has, tables[i].size, "%s.%s", s->name, f->name);
			cr_expect(size == 0 || f->size == size, "%s.%s: %zu bytes", s->name,
				  f->name, f->size);
			cr_expect_eq(f->kind == JSON_KIND_ENUM, f->names != NULL, "%s.%s", s->name,
				     f->name);
			cr_expect_not(s->ignores_unknown, "%s", s->name);
			cr_expect_not(f->required && f->nullable, "%s.%s", s->name, f->name);
		}
	}
}

Test(schema, no_table_names_a_field_twice)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct json_field *f = tables[i].schema->fields; f->name; f++) {
			for (const struct json_field *g = f + 1; g->name; g++)
				cr_expect_str_neq(f->name, g->name);
		}
	}
}

static int read_text(const struct json_schema *schema, const char *text, void *out, struct err *e)
{
	struct json_doc doc;
	int rc = json_doc_parse(text, strlen(text), &doc, e);
	if (rc < 0)
		return rc;
	rc = json_bind(&doc, NULL, schema, out, e);
	json_doc_free(&doc);
	return rc;
}

Test(schema, a_put_machine_refuses_null_where_firecracker_does)
{
	static const struct {
		const char *field;
		bool put_takes_null;
	} rows[] = {
		{ "vcpu_count", false },  { "mem_size_mib", false }, { "smt", false },
		{ "cpu_template", true }, { "huge_pages", false },   { "track_dirty_pages", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct machine_config_update u = { .has_smt = false };
		struct err e = { "" };
		char text[128];
		(void)snprintf(text, sizeof(text), "{\"%s\":null}", rows[i].field);
		cr_expect_eq(read_text(&machine_patch_schema, text, &u, &e), 0, "%s: %s",
			     rows[i].field, e.text);
		cr_expect_lt(read_text(&machine_put_schema, text, &u, &e), 0);
		bool is_about_null = strstr(e.text, "null") || strstr(e.text, "expected value");
		cr_expect_neq(is_about_null, rows[i].put_takes_null, "%s: %s", rows[i].field,
			      e.text);
	}
}

Test(schema, levels_in_any_case_and_both_spellings)
{
	static const struct {
		const char *name;
		enum log_level level;
	} rows[] = {
		{ "Off", LOG_OFF },      { "trace", LOG_TRACE }, { "DEBUG", LOG_DEBUG },
		{ "Info", LOG_INFO },    { "Warn", LOG_WARN },   { "warning", LOG_WARN },
		{ "WARNING", LOG_WARN }, { "eRRor", LOG_ERROR },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct log_config c = { .has_level = false };
		struct err e = { "" };
		char text[64];
		(void)snprintf(text, sizeof(text), "{\"level\":\"%s\"}", rows[i].name);
		cr_expect_eq(read_text(&logger_schema, text, &c, &e), 0, "%s", e.text);
		cr_expect(c.has_level && c.level == rows[i].level, "%s", rows[i].name);
	}
}

Test(schema, every_field_of_a_logger)
{
	struct log_config c = { .has_level = false };
	struct err e = { "" };
	cr_assert_eq(read_text(&logger_schema,
			       "{\"log_path\":\"/l\",\"level\":\"Info\",\"show_level\":true,"
			       "\"show_log_origin\":true,\"module\":\"api\"}",
			       &c, &e),
		     0, "%s", e.text);
	cr_expect_str_eq(c.log_path, "/l");
	cr_expect_str_eq(c.module, "api");
	cr_expect(c.has_log_path && c.has_level && c.has_module);
	cr_expect(c.has_show_level && c.show_level && c.has_show_log_origin && c.show_log_origin);
}

Test(schema, strings_of_the_largest_size_and_one_more)
{
	struct boot_source_config *b = calloc(1, sizeof(*b));
	struct err e = { "" };
	char *text = malloc(8192);
	for (size_t len = 4095; len <= 4096; len++) {
		int n = sprintf(text, "{\"kernel_image_path\":\"");
		memset(text + n, 'k', len);
		strcpy(text + n + len, "\"}");
		int rc = read_text(&boot_source_schema, text, b, &e);
		cr_expect_eq(rc == 0, len == 4095, "%zu: %s", len, e.text);
		if (rc == 0)
			cr_expect_eq(strlen(b->kernel_image_path), len);
	}
	free(text);
	free(b);
}

Test(schema, a_drive_read_and_printed_is_the_same)
{
	static const char text[] =
		"{\"drive_id\":\"a\",\"partuuid\":null,\"is_root_device\":true,\"cache_type\":"
		"\"Writeback\",\"is_read_only\":true,\"path_on_host\":\"/d\",\"rate_limiter\":null,"
		"\"io_engine\":\"Sync\",\"socket\":null}";
	struct block_config d = { .is_root_device = false };
	struct err e = { "" };
	size_t len;
	cr_assert_eq(read_text(&drive_schema, text, &d, &e), 0, "%s", e.text);
	cr_expect(d.is_root_device && d.is_read_only && !d.has_partuuid);
	cr_expect_eq(d.cache_type, BLOCK_CACHE_WRITEBACK);
	char *printed = json_text_of(json_print(&drive_schema, &d), &len);
	cr_expect_str_eq(printed, text);
	free(printed);
}
