/* Kernel files by their first bytes. Owns nothing, any thread. */
#include "arch/arm64/image.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/base/bits.h"
#include "vmm/base/endian.h"

enum {
	TEXT_OFFSET_AT = 8,
	IMAGE_SIZE_AT = 16,
	FLAGS_AT = 24,
	MAGIC_AT = 56,
	HEADER_SIZE = 64,
};

#define FLAGS_BIG_ENDIAN BIT64(0)
#define FLAGS_PAGE_SIZE  GENMASK64(2, 1)

#define OLD_TEXT_OFFSET 0x80000u

struct magic {
	size_t offset;
	size_t len;
	const char *bytes;
	const char *name;
};
#define MAGIC(offset, bytes, name)                           \
	{                                                    \
		(offset), sizeof(bytes) - 1, (bytes), (name) \
	}

static const struct magic arm64_image = MAGIC(MAGIC_AT, "ARM\x64", "");
static const struct magic gzip = MAGIC(0, "\x1f\x8b", "");

/* First match wins: what is surer or more precise comes first. */
static const struct magic others[] = {
	MAGIC(0, "\177ELF",
	      "an ELF file (vmlinux is one; wick takes what `objcopy -O binary` makes of it, which "
	      "kernels build as Image)"),
	MAGIC(0x202, "HdrS", "an x86 bzImage"),
	MAGIC(0, "MZ\0\0zimg", "an EFI zboot image (vmlinuz.efi; the Image is compressed inside)"),
	MAGIC(MAGIC_AT, "RSC\x05", "a RISC-V kernel Image"),
	MAGIC(0x24, "\x18\x28\x6f\x01", "a 32-bit Arm zImage"),
	MAGIC(0, "\3757zXZ\0", "xz-compressed"),
	MAGIC(0, "\x28\xb5\x2f\xfd", "zstd-compressed"),
	MAGIC(0, "\x04\x22\x4d\x18", "lz4-compressed"),
	MAGIC(0, "\x02\x21\x4c\x18", "lz4-compressed (the legacy format)"),
	MAGIC(0, "BZh", "bzip2-compressed"),
	MAGIC(0, "\x89LZO", "lzo-compressed"),
	MAGIC(0, "\x5d\0\0", "lzma-compressed"),
	MAGIC(0, "\x27\x05\x19\x56", "a U-Boot uImage"),
	MAGIC(0, "\xd0\x0d\xfe\xed", "a device tree blob or FIT image"),
	MAGIC(0, "070701", "a cpio archive, as an initrd is"),
	MAGIC(0, "070702", "a cpio archive, as an initrd is"),
	MAGIC(0, "!<arch>\n", "an ar archive or Debian package"),
	MAGIC(0, "\xed\xab\xee\xdb", "an RPM package"),
	MAGIC(0, "PK\x03\x04", "a zip archive"),
	MAGIC(257, "ustar", "a tar archive"),
	MAGIC(0, "QFI\xfb", "a qcow2 disk image"),
	MAGIC(0, "hsqs", "a squashfs image"),
	MAGIC(0, "MZ", "an EFI or Windows program without an arm64 kernel header"),
	MAGIC(510, "\x55\xaa", "a disk image or boot sector"),
	MAGIC(0, "#!", "a script"),
};

static bool matches(const struct magic *m, const uint8_t *head, size_t n)
{
	return n >= m->offset + m->len && memcmp(head + m->offset, m->bytes, m->len) == 0;
}

static void decode_header(const uint8_t *head, struct image_header *ret)
{
	static const unsigned int page_kib[] = { 0, 4, 16, 64 };
	const uint64_t flags = load_le64(head + FLAGS_AT);
	ret->image_size = load_le64(head + IMAGE_SIZE_AT);
	/* Before 3.17 text_offset has the kernel's endianness, and flags is a reserved word. */
	ret->text_offset =
		ret->image_size ? load_le64(head + TEXT_OFFSET_AT) : (uint64_t)OLD_TEXT_OFFSET;
	ret->is_big_endian = ret->image_size && flags & FLAGS_BIG_ENDIAN;
	ret->page_kib = ret->image_size ? page_kib[FIELD_GET(FLAGS_PAGE_SIZE, flags)] : 0;
}

enum image_kind image_parse(const uint8_t *head, size_t n, struct image_header *ret)
{
	/* code0 and code1, before the header, are the kernel's own business: "MZ" or a branch. */
	if (n >= HEADER_SIZE && matches(&arm64_image, head, n)) {
		decode_header(head, ret);
		return IMAGE_ARM64;
	}
	return matches(&gzip, head, n) ? IMAGE_GZIP : IMAGE_OTHER;
}

/* ASCII only, so that noise is not called text. */
static bool is_text(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const bool is_space = head[i] >= '\t' && head[i] <= '\r';
		if (!is_space && (head[i] < ' ' || head[i] > '~'))
			return false;
	}
	return n > 0;
}

static bool is_zero(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (head[i])
			return false;
	}
	return true;
}

const char *image_looks_like(const uint8_t *head, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (matches(&others[i], head, n))
			return others[i].name;
	}
	if (n == 0)
		return "empty";
	if (is_text(head, n))
		return "a text file";
	if (n < HEADER_SIZE)
		return "too short for a kernel, whose header alone has 64 bytes";
	if (is_zero(head, n))
		return "nothing but zeros at its start";
	return "no arm64 kernel: the magic \"ARM\\x64\" is missing at offset 56";
}
