# Test guests and system tests; included by the Makefile. See tests/system/README.md.

# --- bare-metal guests: build/arm64/guest/<name>.img, an arm64 Image each --------------------------------
GUEST_CFLAGS := -std=gnu17 $(WARN) -MMD -MP -I. -Itests/guest -O2 -g -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -mgeneral-regs-only -mstrict-align -mbranch-protection=none -fno-builtin
GUEST_LIB    := $(patsubst %.c,$(O)/%.o,$(wildcard tests/guest/lib/*.c)) $(O)/tests/guest/lib/start.o
GUEST_NAMES  := $(patsubst tests/guest/%.c,%,$(wildcard tests/guest/*.c))
GUEST_IMAGES := $(GUEST_NAMES:%=$(O)/guest/%.img)

$(O)/tests/guest/%.o: tests/guest/%.c
	$(Q)mkdir -p $(@D); printf '  CC   %s (guest)\n' $<
	$(Q)$(ARM64_CC) $(GUEST_CFLAGS) -c -o $@ $<

$(O)/tests/guest/%.o: tests/guest/%.S
	$(Q)mkdir -p $(@D); printf '  AS   %s (guest)\n' $<
	$(Q)$(ARM64_CC) $(GUEST_CFLAGS) -c -o $@ $<

$(O)/guest/%.img: $(O)/tests/guest/%.o $(GUEST_LIB) tests/guest/lib/guest.ld
	$(Q)mkdir -p $(@D); printf '  IMG  %s\n' $@
	$(Q)$(ARM64_CC) -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
		-T tests/guest/lib/guest.ld -o $(@:.img=.elf.tmp) $< $(GUEST_LIB)
	$(Q)$(ARM64_OBJCOPY) -O binary $(@:.img=.elf.tmp) $@

ARM64_OBJCOPY ?= $(CROSS)objcopy
.SECONDARY: $(GUEST_LIB) $(GUEST_NAMES:%=$(O)/tests/guest/%.o)
