/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring between two threads: one puts, one takes; entries of a fixed number of words. No lock, no atomic
 * read-modify-write: each side writes its own cursor and looks at the other's only when the ring seems full or empty.
 *
 * Owns: the entries' memory. Called by: stack/core/crew.c.
 * Invariant: what was written into an entry before spsc_put_done() is seen by who finds it by spsc_front().
 */
#ifndef CULVERT_BASE_SPSC_H
#define CULVERT_BASE_SPSC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct spsc {
	/* The side that puts. */
	uint32_t tail __attribute__((aligned(64)));
	uint32_t head_seen;
	/* The side that takes. */
	uint32_t head __attribute__((aligned(64)));
	/* Both read. */
	uint64_t *words __attribute__((aligned(64)));
	uint32_t entries, width; /* entries: a power of two */
};

/* entries: a power of two; width: words of an entry. 0, or -1 when memory is short. */
static inline int spsc_init(struct spsc *r, uint32_t entries, uint32_t width)
{
	*r = (struct spsc){.entries = entries, .width = width};
	r->words = calloc((size_t)entries * width, sizeof(uint64_t));
	return r->words != NULL ? 0 : -1;
}

static inline void spsc_fini(struct spsc *r)
{
	free(r->words);
	r->words = NULL;
}

/* The entry to fill in, which the other side sees after spsc_put_done(); NULL: the ring is full. */
static inline uint64_t *spsc_put(struct spsc *r)
{
	if (r->tail - r->head_seen == r->entries) {
		r->head_seen = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
		if (r->tail - r->head_seen == r->entries)
			return NULL;
	}
	return r->words + (size_t)(r->tail & (r->entries - 1)) * r->width;
}

static inline void spsc_put_done(struct spsc *r)
{
	__atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
}

/* How far the other side has put: what lies before it may be taken. */
static inline uint32_t spsc_tail(const struct spsc *r)
{
	return __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
}

static inline bool spsc_is_empty(const struct spsc *r)
{
	return r->head == spsc_tail(r);
}

/* The oldest entry before `tail`, which spsc_tail() gave; NULL: none. */
static inline const uint64_t *spsc_front(const struct spsc *r, uint32_t tail)
{
	return r->head == tail ? NULL : r->words + (size_t)(r->head & (r->entries - 1)) * r->width;
}

/* The i-th entry from the oldest one; there must be as many before spsc_tail(). */
static inline const uint64_t *spsc_at(const struct spsc *r, uint32_t i)
{
	return r->words + (size_t)((r->head + i) & (r->entries - 1)) * r->width;
}

/* The entry of spsc_front() is the other side's again. */
static inline void spsc_take_done(struct spsc *r)
{
	__atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
}

#endif
