/* SPDX-License-Identifier: BSD-3-Clause */
/* Ordered disjoint ranges in a short array; see ranges.h. */
#include "stack/base/ranges.h"

#include <string.h>

#include "stack/base/seq.h"

bool ranges_add(struct ranges *s, uint32_t lo, uint32_t hi)
{
	uint32_t first, last;

	if (!seq_lt(lo, hi))
		return false;
	first = ranges_behind(s, lo - 1);
	/* [first, last) overlap or touch the new one. */
	for (last = first; last < s->n && seq_leq(s->r[last].lo, hi); last++) {
		lo = seq_min(lo, s->r[last].lo);
		hi = seq_max(hi, s->r[last].hi);
	}
	if (last == first && s->n == s->max)
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

uint32_t ranges_behind(const struct ranges *s, uint32_t x)
{
	uint32_t lo = 0, hi = s->n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (seq_gt(s->r[mid].hi, x))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

const struct range *ranges_find(const struct ranges *s, uint32_t x)
{
	uint32_t i = ranges_behind(s, x);

	return i < s->n && seq_leq(s->r[i].lo, x) ? &s->r[i] : NULL;
}

uint32_t ranges_count(const struct ranges *s)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->n; i++)
		count += s->r[i].hi - s->r[i].lo;
	return count;
}
