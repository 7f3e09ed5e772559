/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An ordered set of disjoint ranges of sequence numbers [lo, hi), bounded: what SACK needs on both sides (RFC2018,
 * RFC6675) and what reassembly counts. All numbers in one set lie within 2^31. The ranges lie in memory of the set's
 * owner, who says how many there is room for.
 */
#ifndef CULVERT_BASE_RANGES_H
#define CULVERT_BASE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

struct range {
	uint32_t lo, hi;
};

struct ranges {
	uint32_t n, max;
	struct range *r; /* ascending, no two touch */
};

/* Empty, with room for max ranges. */
static inline void ranges_init(struct ranges *s, struct range *room, uint32_t max)
{
	s->n = 0;
	s->max = max;
	s->r = room;
}

static inline void ranges_clear(struct ranges *s)
{
	s->n = 0;
}

/* Adds [lo, hi), merging what overlaps or touches. False (and the set unchanged) when it would need more
 * than there is room for, or hi is not after lo. */
bool ranges_add(struct ranges *s, uint32_t lo, uint32_t hi);
/* Removes all below `lo`. */
void ranges_drop_below(struct ranges *s, uint32_t lo);
/* The number of the first range that ends behind x; n: none does. */
uint32_t ranges_behind(const struct ranges *s, uint32_t x);
/* The range that holds x, NULL if none. */
const struct range *ranges_find(const struct ranges *s, uint32_t x);
/* Numbers in the set. */
uint32_t ranges_count(const struct ranges *s);

#endif
