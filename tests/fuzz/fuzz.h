/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a fuzz target offers, libFuzzer's two functions, and how it takes its input apart. The same file builds twice: with
 * libFuzzer (./dev build fuzz), and with replay.c, which runs the seeds and a fixed number of inputs from one
 * random seed, so that ./dev test always does.
 */
#ifndef CULVERT_TESTS_FUZZ_H
#define CULVERT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* Zero behind the end. */
static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t high = fuzz_u8(in);

	return (uint16_t)(high << 8 | fuzz_u8(in));
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t high = fuzz_u16(in);

	return high << 16 | fuzz_u16(in);
}

/* At most n bytes, as many as there are; *got. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t n, size_t *got)
{
	const uint8_t *from = in->at;

	*got = n < in->left ? n : in->left;
	in->at += *got;
	in->left -= *got;
	return from;
}

#endif
