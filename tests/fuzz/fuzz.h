/* What a fuzz target is: libFuzzer's entry. tests/fuzz/driver.c drives it where libFuzzer is not installed. */
#ifndef WICK_FUZZ_H
#define WICK_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
