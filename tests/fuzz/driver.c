/*
 * A small driver for a fuzz target where libFuzzer is not installed: every corpus file as it is, then
 * mutations of them. usage: fuzz_x SECONDS SEED FILE... It prints the seed, so that a finding comes back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"

#define SEEDS_MAX 256
#define INPUT_MAX 8192

struct input {
	size_t len;
	uint8_t bytes[INPUT_MAX];
};

static uint64_t state;

static uint64_t random_below(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void mutate(struct input *in)
{
	static const char pieces[][16] = { "\r\n",
					   "\r\n\r\n",
					   "{",
					   "}",
					   "[",
					   "\"",
					   ":",
					   ",",
					   "\\u0000",
					   "null",
					   "-1",
					   "1e9",
					   "Content-Length: ",
					   "\xff",
					   " ",
					   "/" };
	size_t at = random_below(in->len + 1);
	const char *piece = pieces[random_below(sizeof(pieces) / sizeof(pieces[0]))];
	size_t n = strlen(piece), cut = random_below(8);
	switch (random_below(4)) {
	case 0: /* another byte */
		if (at < in->len)
			in->bytes[at] = (uint8_t)random_below(256);
		break;
	case 1: /* a piece put in */
		if (in->len + n > INPUT_MAX)
			break;
		memmove(in->bytes + at + n, in->bytes + at, in->len - at);
		memcpy(in->bytes + at, piece, n);
		in->len += n;
		break;
	case 2: /* bytes taken out */
		cut = cut < in->len - at ? cut : in->len - at;
		memmove(in->bytes + at, in->bytes + at + cut, in->len - at - cut);
		in->len -= cut;
		break;
	default: /* the end repeated */
		if (in->len + (in->len - at) > INPUT_MAX)
			break;
		memcpy(in->bytes + in->len, in->bytes + at, in->len - at);
		in->len += in->len - at;
		break;
	}
}

static size_t load(char **files, int n, struct input *seeds)
{
	size_t count = 0;
	for (int i = 0; i < n && count < SEEDS_MAX; i++) {
		char *text;
		size_t len;
		if (io_read_file(files[i], INPUT_MAX, &text, &len) < 0)
			continue;
		memcpy(seeds[count].bytes, text, len);
		seeds[count++].len = len;
		free(text);
	}
	return count;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: %s SECONDS SEED FILE...\n", argv[0]);
		return 2;
	}
	struct input *seeds = calloc(SEEDS_MAX, sizeof(*seeds));
	static struct input in;
	uint64_t end_us = clock_monotonic_us() + strtoull(argv[1], NULL, 10) * 1000000, runs = 0;
	size_t count = seeds ? load(argv + 3, argc - 3, seeds) : 0;
	state = strtoull(argv[2], NULL, 10) | 1;
	for (size_t i = 0; i < count; i++)
		LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].len);
	for (; count && clock_monotonic_us() < end_us; runs++) {
		in = seeds[random_below(count)];
		for (uint64_t n = 1 + random_below(8); n; n--)
			mutate(&in);
		LLVMFuzzerTestOneInput(in.bytes, in.len);
	}
	printf("%s: seed %s, %zu files, %llu mutations, nothing found\n", argv[0], argv[2], count,
	       (unsigned long long)runs);
	free(seeds);
	return count ? 0 : 1;
}
