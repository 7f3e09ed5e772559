/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordered disjoint ranges in a short array; see ranges.h. */
#include "stack/base/ranges.h"

#include <string.h>

#include "stack/base/seq.h"

bool ranges_add(struct ranges *s, uint32_t lo, uint32_t hi)
{
	uint32_t first = 0, last;

	if (!seq_lt(lo, hi))
		return false;
	while (first < s->n && seq_lt(s->r[first].hi, lo))
		first++;
	/* [first, last) overlap or touch the new one. */
	for (last = first; last < s->n && seq_leq(s->r[last].lo, hi); last++) {
		lo = seq_min(lo, s->r[last].lo);
		hi = seq_max(hi, s->r[last].hi);
	}
	if (last == first && s->n == RANGES_MAX)
		return false;
	memmove(&s->r[first + 1], &s->r[last], (s->n - last) * sizeof(s->r[0]));
	s->r[first] = (struct range){lo, hi};
	s->n = s->n - (last - first) + 1;
	return true;
}

void ranges_drop_below(struct ranges *s, uint32_t lo)
{
	uint32_t gone = 0;

	while (gone < s->n && seq_leq(s->r[gone].hi, lo))
		gone++;
	s->n -= gone;
	memmove(&s->r[0], &s->r[gone], s->n * sizeof(s->r[0]));
	if (s->n > 0)
		s->r[0].lo = seq_max(s->r[0].lo, lo);
}

const struct range *ranges_find(const struct ranges *s, uint32_t x)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (seq_in(x, s->r[i].lo, s->r[i].hi))
			return &s->r[i];
	}
	return NULL;
}

uint32_t ranges_count(const struct ranges *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->n; i++)
		count += s->r[i].hi - s->r[i].lo;
	return count;
}
