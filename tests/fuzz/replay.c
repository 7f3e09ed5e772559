/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a fuzz target without libFuzzer: the files that are named, or else a fixed number of inputs made from one random
 * seed. FUZZ_INPUTS=N for another number. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

#define INPUTS 300
#define BYTES_MAX 2048

static int run_file(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL) {
		perror(path);
		return 1;
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	return LLVMFuzzerTestOneInput(data, n);
}

static uint32_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

/* Small numbers are likelier: they are flags, lengths and indexes that could be right. */
static void run_random(unsigned long inputs)
{
	static uint8_t data[BYTES_MAX];
	uint64_t state = 0x9e3779b97f4a7c15ull;

	for (unsigned long i = 0; i < inputs; i++) {
		size_t n = draw(&state) % BYTES_MAX;

		for (size_t k = 0; k < n; k++)
			data[k] = (uint8_t)(draw(&state) % 2 ? draw(&state) : draw(&state) % 20);
		LLVMFuzzerTestOneInput(data, n);
	}
	printf("%lu inputs\n", inputs);
}

int main(int argc, char **argv)
{
	const char *wanted = getenv("FUZZ_INPUTS");
	int result = 0;

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		result |= run_file(argv[i]);
	if (argc == 1)
		run_random(wanted != NULL ? strtoul(wanted, NULL, 10) : INPUTS);
	return result;
}
