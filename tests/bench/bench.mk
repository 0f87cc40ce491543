# The bench: a meter that runs beside the monitors in the emulated host, and its driver tools/bench (docs/bench.md).
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
BENCH_OBJS := $(BENCH_SRCS:%.c=$(O)/%.o)

# Static without relocations: it shares one CPU with what it measures.
$(O)/bench/meter: $(BENCH_OBJS)
	$(Q)mkdir -p $(@D); printf '  LD   %s\n' $@
	$(Q)$(ARM64_CC) -static -s -o $@ $(BENCH_OBJS)

.PHONY: bench bench-quick
bench: all devhost guest
	$(Q)$(SUBMAKE) $(O)/bench/meter
	@tools/bench

bench-quick: all devhost guest
	$(Q)$(SUBMAKE) $(O)/bench/meter
	@tools/bench --quick

-include $(BENCH_OBJS:.o=.d)
