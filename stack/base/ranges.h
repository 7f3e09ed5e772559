/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small ordered set of disjoint ranges of sequence numbers [lo, hi), bounded: what SACK needs on both
 * sides (RFC2018, RFC6675) and what reassembly counts. All numbers in one set lie within 2^31.
 */
#ifndef CULVERT_BASE_RANGES_H
#define CULVERT_BASE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

#define RANGES_MAX 32

struct range {
	uint32_t lo, hi;
};

struct ranges {
	uint32_t n;
	struct range r[RANGES_MAX]; /* ascending, no two touch */
};

static inline void ranges_clear(struct ranges *s)
{
	s->n = 0;
}

/* Adds [lo, hi), merging what overlaps or touches. False (and the set unchanged) when it would need more
 * than RANGES_MAX ranges, or hi is not after lo. */
bool ranges_add(struct ranges *s, uint32_t lo, uint32_t hi);
/* Removes all below `lo`. */
void ranges_drop_below(struct ranges *s, uint32_t lo);
/* The range that holds x, NULL if none. */
const struct range *ranges_find(const struct ranges *s, uint32_t x);
/* Numbers in the set. */
uint32_t ranges_count(const struct ranges *s);

#endif
