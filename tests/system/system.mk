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

# --- system tests: Criterion programs for the emulated host ------------------------------------------------
# Criterion's headers serve every machine; its arm64 library is the one that tools/devhost puts into the host.
ifeq ($(HOST_ARCH),aarch64)
SYSTEM_LIBS := -lcriterion
else
SYSTEM_LIBS := $(firstword $(wildcard build/devhost/tree-*criterion*/usr/lib/aarch64-linux-gnu/libcriterion.so.3*)) \
	-Wl,--allow-shlib-undefined
endif
SYSTEM_CFLAGS  := $(BASE_FLAGS) -O1 -g -Itests/system -Wno-missing-prototypes
SYSTEM_SRCS    := $(sort $(wildcard tests/system/test_*.c))
SYSTEM_TESTS   := $(SYSTEM_SRCS:tests/system/%.c=$(O)/system/%)
SYSTEM_SCRIPTS := $(patsubst tests/system/%.py,$(O)/system/%.py,$(wildcard tests/system/*.py))
CRITERION_INCLUDE := $(U)/include/criterion-only

# /usr/include itself must not be on a cross compiler's path.
$(CRITERION_INCLUDE)/criterion:
	$(Q)mkdir -p $(@D); ln -sfn /usr/include/criterion $@

$(O)/tests/system/%.o: tests/system/%.c | $(CRITERION_INCLUDE)/criterion
	$(Q)mkdir -p $(@D); printf '  CC   %s (system)\n' $<
	$(Q)$(ARM64_CC) $(SYSTEM_CFLAGS) -I$(CRITERION_INCLUDE) -c -o $@ $<

$(O)/system/test_%: $(O)/tests/system/test_%.o $(O)/tests/system/harness.o
	$(Q)mkdir -p $(@D); printf '  LD   %s\n' $@
	$(Q)$(ARM64_CC) -o $@ $^ $(SYSTEM_LIBS)

$(O)/system/%.py: tests/system/%.py
	$(Q)mkdir -p $(@D); cp $< $@

.PHONY: system-build system
system-build: $(GUEST_IMAGES) $(SYSTEM_TESTS) $(SYSTEM_SCRIPTS)

system: all devhost guest
	$(Q)$(SUBMAKE) system-build
	$(Q)tools/run-system

.SECONDARY: $(SYSTEM_SRCS:%.c=$(O)/%.o) $(O)/tests/system/harness.o
-include $(GUEST_NAMES:%=$(O)/tests/guest/%.d) $(SYSTEM_SRCS:%.c=$(O)/%.d) $(O)/tests/system/harness.d
