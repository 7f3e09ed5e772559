/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bounded reader over bytes from the wire: a read beyond the end gives zero and is remembered, so that
 * a parser reads straight on and asks once whether all of it was there.
 */
#ifndef CULVERT_BASE_BYTES_H
#define CULVERT_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *at, *end;
	bool bad; /* somebody read beyond the end */
};

static inline struct bytes bytes_over(const void *data, size_t len)
{
	return (struct bytes){data, (const uint8_t *)data + len, false};
}

static inline size_t bytes_left(const struct bytes *b)
{
	return (size_t)(b->end - b->at);
}

/* The next len bytes, NULL (and bad) when there are fewer. */
static inline const uint8_t *bytes_take(struct bytes *b, size_t len)
{
	const uint8_t *at = b->at;

	if (b->bad || bytes_left(b) < len) {
		b->bad = true;
		return NULL;
	}
	b->at += len;
	return at;
}

static inline uint8_t bytes_u8(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 1);

	return p ? *p : 0;
}

static inline uint16_t bytes_be16(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 2);

	if (p == NULL)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t bytes_be32(struct bytes *b)
{
	const uint8_t *p = bytes_take(b, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

#endif
