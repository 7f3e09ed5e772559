/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A timer lies in the level of the highest byte in which its tick differs from the wheel's. The wheel jumps
 * from one slot in use to the next: at a level-0 slot timers fire, at a slot above they are sorted down;
 * what lies beyond the top level's lap is sorted when the next lap begins.
 */
#include "stack/base/wheel.h"

#define SLOT_MASK (WHEEL_SLOTS - 1)
#define HORIZON ((uint64_t)1 << (WHEEL_LEVELS * WHEEL_SLOT_BITS))

void wheel_init(struct wheel *w, uint64_t now_ns)
{
	w->tick = now_ns >> WHEEL_TICK_SHIFT;
	w->armed = 0;
	list_init(&w->due);
	list_init(&w->far);
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned i = 0; i < WHEEL_SLOTS / 64; i++)
			w->used[level][i] = 0;
		for (unsigned i = 0; i < WHEEL_SLOTS; i++)
			list_init(&w->slot[level][i]);
	}
}

static void place(struct wheel *w, struct timer *t)
{
	uint64_t at = t->expires, diff;
	unsigned level, slot;

	if (at <= w->tick) {
		list_add_tail(&w->due, &t->node);
		return;
	}
	diff = at ^ w->tick;
	if (diff >= HORIZON) {
		list_add_tail(&w->far, &t->node);
		return;
	}
	level = (63u - (unsigned)__builtin_clzll(diff)) / WHEEL_SLOT_BITS;
	slot = (unsigned)(at >> (level * WHEEL_SLOT_BITS)) & SLOT_MASK;
	list_add_tail(&w->slot[level][slot], &t->node);
	w->used[level][slot / 64] |= (uint64_t)1 << (slot % 64);
}

void timer_set(struct wheel *w, struct timer *t, uint64_t expires_ns)
{
	/* Rounded up: never early. */
	uint64_t tick = (expires_ns >> WHEEL_TICK_SHIFT) +
		((expires_ns & (((uint64_t)1 << WHEEL_TICK_SHIFT) - 1)) != 0);

	if (timer_is_set(t))
		list_del(&t->node);
	else
		w->armed++;
	t->expires = tick;
	place(w, t);
}

void timer_del(struct wheel *w, struct timer *t)
{
	if (!timer_is_set(t))
		return;
	list_del(&t->node);
	w->armed--;
}

/* First slot in use at or after `from` in a level, WHEEL_SLOTS if none. A bit may be stale: its timers
 * were deleted; such a slot is visited for nothing once and cleared then. */
static unsigned slot_next(const struct wheel *w, unsigned level, unsigned from)
{
	for (unsigned i = from / 64; i < WHEEL_SLOTS / 64; i++) {
		uint64_t word = w->used[level][i];

		if (i == from / 64)
			word &= ~(uint64_t)0 << (from % 64);
		if (word != 0)
			return i * 64 + (unsigned)__builtin_ctzll(word);
	}
	return WHEEL_SLOTS;
}

/* The tick at which the next slot in use begins, and where it is. */
static uint64_t next_stop(const struct wheel *w, unsigned *level_out, unsigned *slot_out)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		unsigned shift = level * WHEEL_SLOT_BITS;
		unsigned here = (unsigned)(w->tick >> shift) & SLOT_MASK;
		unsigned slot = slot_next(w, level, here + 1);

		if (here + 1 < WHEEL_SLOTS && slot < WHEEL_SLOTS) {
			*level_out = level;
			*slot_out = slot;
			return (((w->tick >> shift) & ~(uint64_t)SLOT_MASK) | slot) << shift;
		}
	}
	if (list_empty(&w->far))
		return UINT64_MAX;
	*level_out = WHEEL_LEVELS;
	return (w->tick | (HORIZON - 1)) + 1;
}

static void slot_take(struct wheel *w, unsigned level, unsigned slot)
{
	struct list taken, *node;

	list_init(&taken);
	if (level == WHEEL_LEVELS) {
		list_splice_tail(&taken, &w->far);
	} else {
		list_splice_tail(&taken, &w->slot[level][slot]);
		w->used[level][slot / 64] &= ~((uint64_t)1 << (slot % 64));
	}
	while ((node = list_pop(&taken)) != NULL)
		place(w, list_entry(node, struct timer, node));
}

static uint32_t fire_due(struct wheel *w, struct engine *e, uint32_t budget)
{
	uint32_t fired = 0;

	while (fired < budget) {
		struct list *node = list_pop(&w->due);
		struct timer *t;

		if (node == NULL)
			break;
		t = list_entry(node, struct timer, node);
		w->armed--;
		fired++;
		t->fn(e, t);
	}
	return fired;
}

uint32_t wheel_turn(struct wheel *w, struct engine *e, uint64_t now, uint32_t budget)
{
	uint32_t fired = fire_due(w, e, budget);

	while (fired < budget && w->tick < now) {
		unsigned level = 0, slot = 0;
		uint64_t stop = next_stop(w, &level, &slot);

		if (stop > now) {
			w->tick = now;
			break;
		}
		w->tick = stop;
		slot_take(w, level, slot);
		fired += fire_due(w, e, budget - fired);
	}
	return fired;
}

uint64_t wheel_next_ns(const struct wheel *w)
{
	unsigned level, slot;
	uint64_t stop;

	if (w->armed == 0)
		return UINT64_MAX;
	if (!list_empty(&w->due))
		return w->tick << WHEEL_TICK_SHIFT;
	stop = next_stop(w, &level, &slot);
	return stop == UINT64_MAX ? UINT64_MAX : stop << WHEEL_TICK_SHIFT;
}
