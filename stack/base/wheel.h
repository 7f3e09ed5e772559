/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hierarchical timing wheel: four levels of 256 slots, a tick of 2^20 ns (1.05 ms). Setting and
 * deleting a timer is O(1); an idle wheel costs nothing, because a bitmap per level names the slots in use.
 *
 * Owns: the order of timers. Does not own: the objects they are embedded in, or the clock (the caller
 * says what time it is; time never goes back).
 * Called by: everything in stack/ that waits, on the engine's worker only.
 *
 * Promise: a timer never fires before its time; it fires at the first wheel_advance() at or after it, at
 * most one tick late, in no promised order among timers of one tick. Any 64-bit
 * time may be set; the top level's lap is 2^52 ns (52 days).
 */
#ifndef CULVERT_BASE_WHEEL_H
#define CULVERT_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/base/list.h"

#define WHEEL_TICK_SHIFT 20
#define WHEEL_LEVELS 4
#define WHEEL_SLOT_BITS 8
#define WHEEL_SLOTS (1u << WHEEL_SLOT_BITS)

struct engine;
struct timer;

typedef void (*timer_fn)(struct engine *e, struct timer *t);

struct timer {
	struct list node; /* in a slot; on no list when not set */
	uint64_t expires; /* tick */
	timer_fn fn;
};

struct wheel {
	uint64_t tick; /* all timers up to this tick have fired */
	uint32_t armed; /* timers that are set */
	struct list far; /* beyond this lap of the top level */
	struct list due; /* taken from a slot and not yet fired */
	uint64_t used[WHEEL_LEVELS][WHEEL_SLOTS / 64];
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ns);

static inline void timer_init(struct timer *t, timer_fn fn)
{
	list_init(&t->node);
	t->expires = 0;
	t->fn = fn;
}

static inline bool timer_is_set(const struct timer *t)
{
	return !list_empty(&t->node);
}

/* (Re)arms t for expires_ns. A time that has passed fires at the next advance. */
void timer_set(struct wheel *w, struct timer *t, uint64_t expires_ns);
/* Harmless when t is not set. */
void timer_del(struct wheel *w, struct timer *t);

/* wheel_advance() to a tick. */
uint32_t wheel_turn(struct wheel *w, struct engine *e, uint64_t tick, uint32_t budget);
/* Fires what is due at now_ns, at most `budget` timers; the rest fires at the next call. Callbacks may
 * set and delete any timer. Returns how many fired. */
static inline uint32_t wheel_advance(struct wheel *w, struct engine *e, uint64_t now_ns, uint32_t budget)
{
	uint64_t tick = now_ns >> WHEEL_TICK_SHIFT;

	return tick <= w->tick && list_empty(&w->due) ? 0 : wheel_turn(w, e, tick, budget);
}

/* A time not after the earliest expiry, at which to call wheel_advance() again (it may find nothing to
 * fire but a level to sort); UINT64_MAX when no timer is set. */
uint64_t wheel_next_ns(const struct wheel *w);

#endif
