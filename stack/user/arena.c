/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks of the receive arena; see arena.h. */
#include "stack/user/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SPAN_NONE UINT32_MAX

static uint32_t class_of(uint32_t bytes)
{
	if (bytes <= 1u << ARENA_BLOCK_SHIFT_MIN)
		return 0;
	return 32u - (uint32_t)__builtin_clz(bytes - 1) - ARENA_BLOCK_SHIFT_MIN;
}

static uint32_t class_blocks(uint32_t class_index)
{
	return ARENA_SPAN_BYTES >> (ARENA_BLOCK_SHIFT_MIN + class_index);
}

int arena_init(struct arena *a, uint64_t bytes)
{
	memset(a, 0, sizeof(*a));
	a->spans_n = (uint32_t)(bytes >> ARENA_SPAN_SHIFT);
	a->spans = calloc(a->spans_n ? a->spans_n : 1, sizeof(*a->spans));
	if (!a->spans)
		return -1;
	a->free_head = SPAN_NONE;
	a->free_n = a->spans_n;
	for (uint32_t i = 0; i < ARENA_CLASSES; i++)
		a->room_head[i] = SPAN_NONE;
	return 0;
}

void arena_fini(struct arena *a)
{
	free(a->spans);
	memset(a, 0, sizeof(*a));
}

static void span_link(struct arena *a, uint32_t *head, uint32_t i)
{
	struct arena_span *s = &a->spans[i];

	s->prev = SPAN_NONE;
	s->next = *head;
	if (*head != SPAN_NONE)
		a->spans[*head].prev = i;
	*head = i;
	s->listed = true;
}

static void span_unlink(struct arena *a, uint32_t *head, uint32_t i)
{
	struct arena_span *s = &a->spans[i];

	if (s->prev != SPAN_NONE)
		a->spans[s->prev].next = s->next;
	else
		*head = s->next;
	if (s->next != SPAN_NONE)
		a->spans[s->next].prev = s->prev;
	s->listed = false;
}

/* An empty span leaves its class. */
static void span_give_back(struct arena *a, uint32_t i)
{
	span_unlink(a, &a->room_head[a->spans[i].class_index], i);
	span_link(a, &a->free_head, i);
	a->free_n++;
}

/* A span without a class, taken off its list. Each class may sit on one empty span (arena_free):
 * those are taken only when there is nothing else. */
static uint32_t span_pop(struct arena *a)
{
	uint32_t i = a->free_head;

	if (i == SPAN_NONE && a->fresh < a->spans_n) {
		a->free_n--;
		return a->fresh++;
	}
	for (uint32_t c = 0; i == SPAN_NONE && c < ARENA_CLASSES; c++) {
		uint32_t head = a->room_head[c];

		if (head != SPAN_NONE && a->spans[head].used == 0) {
			span_give_back(a, head);
			i = head;
		}
	}
	if (i != SPAN_NONE) {
		span_unlink(a, &a->free_head, i);
		a->free_n--;
	}
	return i;
}

/* Gives a span without a class to class_index and lists it there. */
static uint32_t span_take(struct arena *a, uint32_t class_index)
{
	uint32_t i = span_pop(a);
	uint32_t blocks = class_blocks(class_index);
	struct arena_span *s;

	if (i == SPAN_NONE)
		return SPAN_NONE;
	s = &a->spans[i];
	s->class_index = (uint8_t)class_index;
	s->used = 0;
	for (uint32_t w = 0; w < sizeof(s->free_map) / sizeof(s->free_map[0]); w++) {
		if (blocks >= 64 * (w + 1))
			s->free_map[w] = UINT64_MAX;
		else
			s->free_map[w] = blocks > 64 * w ? (1ull << (blocks - 64 * w)) - 1 : 0;
	}
	span_link(a, &a->room_head[class_index], i);
	return i;
}

uint64_t arena_alloc(struct arena *a, uint32_t bytes, uint32_t *size)
{
	uint32_t class_index = class_of(bytes);
	uint32_t i, w = 0, bit;
	struct arena_span *s;

	if (bytes > ARENA_SPAN_BYTES)
		return ARENA_NONE;
	i = a->room_head[class_index];
	if (i == SPAN_NONE)
		i = span_take(a, class_index);
	if (i == SPAN_NONE)
		return ARENA_NONE;
	s = &a->spans[i];
	while (!s->free_map[w])
		w++;
	bit = (uint32_t)__builtin_ctzll(s->free_map[w]);
	s->free_map[w] &= s->free_map[w] - 1;
	s->used++;
	if (s->used == class_blocks(class_index))
		span_unlink(a, &a->room_head[class_index], i);
	*size = 1u << (ARENA_BLOCK_SHIFT_MIN + class_index);
	a->used_bytes += *size;
	return ((uint64_t)i << ARENA_SPAN_SHIFT) + (uint64_t)(64 * w + bit) * *size;
}

void arena_free(struct arena *a, uint64_t off)
{
	uint32_t i = (uint32_t)(off >> ARENA_SPAN_SHIFT);
	struct arena_span *s = &a->spans[i];
	uint32_t class_index = s->class_index;
	uint32_t shift = ARENA_BLOCK_SHIFT_MIN + class_index;
	uint32_t block = ((uint32_t)off & (ARENA_SPAN_BYTES - 1)) >> shift;

	assert(i < a->fresh && s->used > 0 && !(s->free_map[block / 64] >> (block % 64) & 1));
	s->free_map[block / 64] |= 1ull << (block % 64);
	s->used--;
	a->used_bytes -= 1ull << shift;
	if (!s->listed)
		span_link(a, &a->room_head[class_index], i);
	/* An empty span stays with its class while it is the only one there with room: a ping-pong
	 * would give it back and take it again each time. */
	if (s->next != SPAN_NONE && a->spans[s->next].used == 0)
		span_give_back(a, s->next);
	if (s->used == 0 && (a->room_head[class_index] != i || s->next != SPAN_NONE))
		span_give_back(a, i);
}

bool arena_is_short(const struct arena *a)
{
	return a->free_n < a->spans_n / 8;
}
