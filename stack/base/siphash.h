/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyed hashes, so that a stranger cannot aim at a bucket or guess a number. SipHash-2-4 over whole 64-bit
 * words for what a stranger sees (initial sequence numbers: RFC6528); SipHash-1-3, half the rounds, for tables, whose
 * hashes nobody sees. The results are those of the published functions.
 */
#ifndef CULVERT_BASE_SIPHASH_H
#define CULVERT_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

static inline void siphash_round(uint64_t v[4])
{
#define SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
	v[0] += v[1];
	v[1] = SIP_ROTL(v[1], 13) ^ v[0];
	v[0] = SIP_ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = SIP_ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = SIP_ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = SIP_ROTL(v[1], 17) ^ v[2];
	v[2] = SIP_ROTL(v[2], 32);
#undef SIP_ROTL
}

/* words: n little-endian 64-bit words. */
static inline uint64_t siphash(const struct siphash_key *key, const uint64_t *words, size_t n)
{
	uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull,
		key->k0 ^ 0x6c7967656e657261ull, key->k1 ^ 0x7465646279746573ull};
	uint64_t last = (uint64_t)(n * 8) << 56;

	for (size_t i = 0; i < n; i++) {
		v[3] ^= words[i];
		siphash_round(v);
		siphash_round(v);
		v[0] ^= words[i];
	}
	v[3] ^= last;
	siphash_round(v);
	siphash_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* words: n little-endian 64-bit words, and tail: 4 bytes behind them, which share a word with the length. */
static inline uint64_t siphash13(
	const struct siphash_key *key, const uint64_t *words, size_t n, uint32_t tail)
{
	uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull,
		key->k0 ^ 0x6c7967656e657261ull, key->k1 ^ 0x7465646279746573ull};
	uint64_t last = (uint64_t)(n * 8 + 4) << 56 | tail;

	for (size_t i = 0; i < n; i++) {
		v[3] ^= words[i];
		siphash_round(v);
		v[0] ^= words[i];
	}
	v[3] ^= last;
	siphash_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
