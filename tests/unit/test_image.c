/* arch/arm64/image.c through boot_load: a wrong kernel file is named with what it looks like. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "fakes/boot_rig.h"
#include "vmm/base/bits.h"

struct wrong_case {
	char claim[40];
	size_t at, len;
	char bytes[16];
	size_t size; /* of the file */
	uint8_t filler;
	char words[64];
};

#define WRONG(claim, at, bytes, size, words)                               \
	{                                                                  \
		claim, (at), sizeof(bytes) - 1, bytes, (size), 0x91, words \
	}

ParameterizedTestParameters(image, a_wrong_file_is_named)
{
	static struct wrong_case cases[] = {
		WRONG("ELF", 0, "\177ELF\2\1\1", 5000, "an ELF file"),
		WRONG("x86 bzImage", 0x202, "HdrS", 5000, "an x86 bzImage"),
		WRONG("EFI zboot", 0, "MZ\0\0zimg", 5000, "an EFI zboot image"),
		WRONG("EFI program", 0, "MZ", 5000, "an EFI or Windows program"),
		WRONG("xz", 0, "\3757zXZ\0", 5000, "xz-compressed"),
		WRONG("zstd", 0, "\x28\xb5\x2f\xfd", 5000, "zstd-compressed"),
		WRONG("lz4", 0, "\x04\x22\x4d\x18", 5000, "lz4-compressed"),
		WRONG("lz4 legacy", 0, "\x02\x21\x4c\x18", 5000, "lz4-compressed"),
		WRONG("bzip2", 0, "BZh9", 5000, "bzip2-compressed"),
		WRONG("lzop", 0, "\x89LZO", 5000, "lzo-compressed"),
		WRONG("lzma", 0, "\x5d\0\0", 5000, "lzma-compressed"),
		WRONG("uImage", 0, "\x27\x05\x19\x56", 5000, "a U-Boot uImage"),
		WRONG("device tree", 0, "\xd0\x0d\xfe\xed", 5000, "a device tree blob"),
		WRONG("RISC-V", 56, "RSC\x05", 5000, "a RISC-V kernel"),
		WRONG("arm32", 0x24, "\x18\x28\x6f\x01", 5000, "a 32-bit Arm zImage"),
		WRONG("initrd given as kernel", 0, "070701", 5000, "a cpio archive"),
		WRONG("Debian package", 0, "!<arch>\n", 5000, "Debian package"),
		WRONG("tar", 257, "ustar", 5000, "a tar archive"),
		WRONG("boot sector", 510, "\x55\xaa", 5000, "a disk image"),
		WRONG("script", 0, "#!/bin/sh\n", 200, "a script"),
		{ "text", 0, 5, "hello", 5000, 'x', "a text file" },
		{ "short text", 0, 5, "hello", 6, '\n', "a text file" },
		{ "zeros", 0, 0, "", 5000, 0, "nothing but zeros" },
		WRONG("one byte", 0, "", 1, "too short"),
		WRONG("63 bytes, magic and all", 56, "ARM\x64", 63, "too short"),
		WRONG("noise", 0, "", 5000, "the magic \"ARM\\x64\" is missing"),
		WRONG("the magic a byte late", 57, "ARM\x64", 5000, "is missing"),
		WRONG("empty", 0, "", 0, "an empty file"),
	};
	return cr_make_param_array(struct wrong_case, cases, ARRAY_SIZE(cases));
}
ParameterizedTest(struct wrong_case *c, image, a_wrong_file_is_named)
{
	struct boot_rig r;
	uint8_t *file = malloc(c->size + 1);
	memset(file, c->filler, c->size);
	memcpy(file + c->at, c->bytes, min_u64(c->len, c->size));
	boot_rig_init(&r, 128);
	cr_expect_eq(boot_rig_load(&r, boot_file_of(file, c->size), -1), -EINVAL, "%s", c->claim);
	boot_expect_words(&r, c->words);
	boot_expect_words(&r, "'/some/kernel'");
	if (c->size)
		boot_expect_words(&r, "wick takes an arm64 kernel Image or Image.gz");

	/* The same, compressed. */
	size_t n;
	uint8_t *gz = boot_gzip_of(file, c->size, &n);
	cr_expect_eq(boot_rig_load(&r, boot_file_of(gz, n), -1), -EINVAL, "%s", c->claim);
	boot_expect_words(&r, "gzip-compressed, but inside it is ");
	boot_expect_words(&r, c->size ? c->words : "empty");
	boot_expect_words(&r, "wick takes");
	cr_expect(boot_is_zero(&r, LAYOUT_RAM, LAYOUT_RAM + 4 * MIB), "memory is untouched");
	free(file);
	free(gz);
	boot_rig_fini(&r);
}
