# wick: the one Makefile. `make help` lists what there is; V=1 shows commands; SAN=address,undefined builds
# the monitor itself with sanitizers (unit tests always have them).

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

ifdef V
Q :=
else
Q := @
MAKEFLAGS += --no-print-directory
endif

VERSION	    := 0.1.0
API_VERSION := 1.17.0

HOST_ARCH := $(shell uname -m)
ifeq ($(HOST_ARCH),aarch64)
CROSS :=
else
CROSS := aarch64-linux-gnu-
endif
# Cross-built wick is linked with Debian's own arm64 libraries, which tools/setup unpacks here: the -dev packages of two
# architectures cannot be installed side by side.
SYSROOT := $(CURDIR)/build/sysroot
ARM64_CC ?= $(CROSS)gcc $(if $(CROSS),--sysroot=$(SYSROOT) -B$(SYSROOT)/usr/lib/aarch64-linux-gnu/)
ARM64_STRIP ?= $(CROSS)strip
NATIVE_CC   ?= gcc

# Parts of a target are built side by side, unless the user has said how many.
SUBMAKE = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

O := build/arm64
U := build/unit

WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wno-format-nonliteral
BASE_FLAGS := -std=gnu17 $(WARN) -MMD -MP -I. -D_GNU_SOURCE \
	-DWICK_VERSION='"$(VERSION)"' -DWICK_API_VERSION='"$(API_VERSION)"'
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)

# Static-PIE links cleanly with Debian's libraries, so that is what ships. Small, and hardened.
ARM64_CFLAGS := $(BASE_FLAGS) -Os -g -fPIE -fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections -fstack-protector-strong \
	-mbranch-protection=standard -fno-plt $(SAN_FLAGS)
ARM64_LDFLAGS := $(if $(SAN),-pie -static-libgcc -static-libasan -static-libubsan,-static-pie) -Wl,--gc-sections -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(SAN_FLAGS)
# With sanitizers only libc stays shared: the emulated host has no other library of ours.
comma := ,
LIBS := $(if $(SAN),-Wl$(comma)-Bstatic) -lfdt -ljansson -lhttp_parser -lz $(if $(SAN),-Wl$(comma)-Bdynamic -lm -ldl) -pthread

SRCS := $(sort $(wildcard vmm/*.c vmm/*/*.c devices/*.c devices/*/*.c arch/arm64/*.c api/*.c))
OBJS := $(SRCS:%.c=$(O)/%.o)

# Set-up comes first, and only a make that starts behind it sees what it installed: hence $(SUBMAKE), of this same file.
.PHONY: all
all: setup-build
	$(Q)$(SUBMAKE) $(O)/wick

.PHONY: setup-build
setup-build:
	@tools/setup build

# These files change when the text does, and with it all that was made from it: SAN=, a version, a source that is gone.
$(O).flags: export TEXT = $(ARM64_CC) $(CPPFLAGS) $(ARM64_CFLAGS) $(ARM64_LDFLAGS) $(LIBS) $(SRCS)
$(U).flags: export TEXT = $(NATIVE_CC) $(CPPFLAGS) $(UNIT_CFLAGS) $(LIBS) $(UNIT_LIB_SRCS)
$(O).flags $(U).flags: FORCE
	@mkdir -p $(@D); printf '%s\n' "$$TEXT" | cmp -s - $@ || printf '%s\n' "$$TEXT" > $@
.PHONY: FORCE

$(O)/wick.debug: $(OBJS)
	@printf '  LD   %s\n' $@
	$(Q)$(ARM64_CC) $(ARM64_LDFLAGS) -o $@ $(OBJS) $(LIBS)

$(O)/wick: $(O)/wick.debug
	@printf '  STRIP %s\n' $@
	$(Q)$(ARM64_STRIP) -o $@ $<

$(O)/%.o: %.c $(O).flags
	$(Q)mkdir -p $(@D); printf '  CC   %s\n' $<
	$(Q)$(ARM64_CC) $(CPPFLAGS) $(ARM64_CFLAGS) -c -o $@ $<

# --- unit tests: native, Criterion, ASan + UBSan -------------------------------------------------------
# Everything but main.c and kvm.c goes into one archive with the fakes; a test links what it names.
UNIT_SAN    ?= address,undefined
UNIT_CFLAGS := $(BASE_FLAGS) -O1 -g -fno-omit-frame-pointer $(if $(UNIT_SAN),-fsanitize=$(UNIT_SAN) -fno-sanitize-recover=all) \
	-I$(U)/include -Itests/unit -Itests/fuzz -Wno-missing-prototypes
UNIT_LIB_SRCS := $(filter-out vmm/main.c vmm/core/kvm.c,$(SRCS)) $(sort $(wildcard tests/unit/fakes/*.c))
UNIT_LIB_OBJS := $(UNIT_LIB_SRCS:%.c=$(U)/%.o)
UNIT_SRCS  := $(sort $(wildcard tests/unit/test_*.c))
UNIT_TESTS := $(UNIT_SRCS:tests/unit/%.c=$(U)/%)

# The arm64 KVM ABI, also when the tests are built for x86-64.
ARM64_ASM := $(firstword $(wildcard $(SYSROOT)/usr/include/aarch64-linux-gnu/asm) /usr/include/aarch64-linux-gnu/asm)
$(U)/include/.stamp:
	$(Q)mkdir -p $(U)/include/asm
	$(Q)ln -sf $(foreach h,kvm.h ptrace.h sve_context.h hwcap.h,$(ARM64_ASM)/$(h)) $(U)/include/asm/
	$(Q)touch $@

$(U)/%.o: %.c $(U).flags | $(U)/include/.stamp
	$(Q)mkdir -p $(@D); printf '  CC   %s (unit)\n' $<
	$(Q)$(NATIVE_CC) $(CPPFLAGS) $(UNIT_CFLAGS) -c -o $@ $<

$(U)/libwick.a: $(UNIT_LIB_OBJS)
	$(Q)rm -f $@; ar rcs $@ $^

$(U)/test_%: $(U)/tests/unit/test_%.o $(U)/libwick.a
	$(Q)printf '  LD   %s\n' $@
	$(Q)$(NATIVE_CC) $(UNIT_CFLAGS) -o $@ $< $(U)/libwick.a $(LIBS) -lcriterion

.PHONY: unit
unit:
	@tools/setup build test
	$(Q)$(SUBMAKE) $(UNIT_TESTS)
	$(Q)$(MAKE) unit-run

.PHONY: unit-run
unit-run: $(UNIT_TESTS)
	$(Q)tools/run-unit $(UNIT_TESTS)

# --- fuzzers: the same objects, a mutating driver, a corpus each; SECONDS each -----------------------------
FUZZ_SECONDS ?= 20
FUZZ_SEED    ?= 1
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
$(FUZZERS:%=$(U)/%): $(U)/fuzz_%: $(U)/tests/fuzz/fuzz_%.o $(U)/tests/fuzz/driver.o $(U)/libwick.a
	$(Q)printf '  LD   %s\n' $@
	$(Q)$(NATIVE_CC) $(UNIT_CFLAGS) -o $@ $^ $(LIBS)

.PHONY: fuzz
fuzz:
	@tools/setup build test
	$(Q)$(MAKE) fuzz-run

.PHONY: fuzz-run
fuzz-run: $(FUZZERS:%=$(U)/%)
	$(Q)for f in $(FUZZERS); do echo "== $$f, $(FUZZ_SECONDS) s"; \
		$(U)/$$f $(FUZZ_SECONDS) $(FUZZ_SEED) tests/fuzz/corpus/$${f#fuzz_}/* || exit 1; done

# --- style: formatting, layers, function lengths, and both compilers without a warning ------------------
.PHONY: style
style:
	@tools/setup build clang
	$(Q)tools/style

# For tools/style: what a compiler has to be given.
.PHONY: print-flags
print-flags:
	@echo 'BASE_FLAGS=$(BASE_FLAGS)'
	@echo 'UNIT_INCLUDE=-I$(U)/include -Itests/unit'

# --- the emulated host and what runs in it -----------------------------------------------------------
.PHONY: devhost
devhost:
	@tools/setup build devhost
	@tools/devhost --prepare

.PHONY: guest
guest:
	@tools/setup devhost
	@tools/mkguest

.PHONY: demo
demo: all devhost guest
	@tools/demo

.PHONY: shell
shell: all devhost guest
	@tools/guest-shell

-include $(wildcard tests/system/system.mk tests/bench/bench.mk)

# --- tests --------------------------------------------------------------------------------------------
.PHONY: test
test: all
	$(Q)$(MAKE) unit
	$(Q)$(MAKE) fuzz FUZZ_SECONDS=5
	$(Q)$(MAKE) system

.PHONY: help
help:
	@echo 'wick: a microVM monitor for arm64'
	@echo
	@echo '  make          build/arm64/wick, a static binary (cross-compiled where this is not an arm64 machine)'
	@echo '  make demo     boot a real Linux microVM and show that it worked'
	@echo '  make shell    the same, with an interactive guest console (Ctrl-A X or "poweroff" ends it)'
	@echo '  make test     all tests: unit tests natively with sanitizers, system tests on real KVM'
	@echo '  make unit     the unit tests alone'
	@echo '  make system   the system tests alone'
	@echo '  make fuzz     the fuzzers, FUZZ_SECONDS=20 each'
	@echo '  make style    formatting, layers, function lengths, gcc and clang without warnings'
	@echo '  make bench    figures in deterministic mode, beside QEMU in the same emulated host'
	@echo '  make clean    remove what was built; downloads stay (make distclean removes them too)'
	@echo
	@echo '  V=1 shows commands, SAN=address,undefined builds the monitor with sanitizers.'

.PHONY: distclean
distclean:
	rm -rf build

.PHONY: clean
clean:
	rm -rf $(O) $(U) $(O).flags $(U).flags build/demo build/bench build/style

-include $(OBJS:.o=.d) $(UNIT_LIB_OBJS:.o=.d) $(UNIT_SRCS:%.c=$(U)/%.d) $(patsubst %.c,$(U)/%.d,$(wildcard tests/fuzz/*.c))
