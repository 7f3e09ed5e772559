/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive arena's allocator: blocks of 256 bytes to 64 KiB inside a group's segment. All its
 * state is private to the engine; it never looks into the memory that it hands out.
 *
 * The arena is cut into spans of 64 KiB; a span in use holds blocks of one size. What was freed
 * last is given out first, so that a group touches little of its segment's memory and the caches
 * keep what it touches.
 * Called by: stack/user/rx.c, tests.
 */
#ifndef CULVERT_USER_ARENA_H
#define CULVERT_USER_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#define ARENA_SPAN_SHIFT 16
#define ARENA_SPAN_BYTES (1u << ARENA_SPAN_SHIFT)
#define ARENA_BLOCK_SHIFT_MIN 8
#define ARENA_CLASSES (ARENA_SPAN_SHIFT - ARENA_BLOCK_SHIFT_MIN + 1)
#define ARENA_NONE UINT64_MAX

struct arena_span {
	uint64_t free_map[(ARENA_SPAN_BYTES >> ARENA_BLOCK_SHIFT_MIN) / 64]; /* 1: free */
	uint32_t prev, next; /* in its class's list of spans with room, or the list of free spans */
	uint16_t used;       /* blocks given out */
	uint8_t class_index;
	bool listed;
};

struct arena {
	struct arena_span *spans;
	uint32_t spans_n;
	uint32_t fresh;      /* spans from here on were never used */
	uint32_t free_head;  /* spans without a class */
	uint32_t free_n;     /* of those, fresh ones included */
	uint32_t room_head[ARENA_CLASSES];
	uint64_t used_bytes;
};

/* Bytes must be a multiple of the span. 0, or -1 when memory is short. */
int arena_init(struct arena *a, uint64_t bytes);
void arena_fini(struct arena *a);
/* A block of at least bytes (1 to 64 KiB): its offset in the arena, and its size in *size;
 * ARENA_NONE when there is none. O(1). */
uint64_t arena_alloc(struct arena *a, uint32_t bytes, uint32_t *size);
/* off is what arena_alloc returned. O(1). */
void arena_free(struct arena *a, uint64_t off);
/* True when less than an eighth of the spans is free: the users should be modest. */
bool arena_is_short(const struct arena *a);

#endif
