/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The send buffers of one arena: four sizes, in slabs of 64 KiB, last freed first given.
 * Owns: which buffer is whose. Pure; one thread. Called by: lane.c, tests.
 * Invariant: a slab holds buffers of one size; a wholly free slab may change its size.
 */
#ifndef CULVERT_SHIM_TXBUF_H
#define CULVERT_SHIM_TXBUF_H

#include <stdbool.h>
#include <stdint.h>

#define TXBUF_NONE UINT64_MAX
#define TXBUF_SLAB_BYTES 65536u
#define TXBUF_SMALLEST 256u
#define TXBUF_PER_SLAB (TXBUF_SLAB_BYTES / TXBUF_SMALLEST)
#define TXBUF_CLASSES 4

struct txbuf_slab {
	uint64_t used_map[TXBUF_PER_SLAB / 64];
	uint16_t free_first; /* index + 1 of the buffer given next; 0: none */
	uint16_t used;
	uint8_t class_index;
	bool listed; /* in its class's list of slabs with room */
	uint32_t next, prev; /* index + 1 */
	uint16_t free_next[TXBUF_PER_SLAB];
};

struct txbuf_pool {
	struct txbuf_slab *slabs;
	uint32_t slabs_n;
	uint32_t fresh;              /* from here on never used */
	uint32_t empty;              /* slabs without a class: index + 1 */
	uint32_t room[TXBUF_CLASSES]; /* slabs with a free buffer: index + 1 */
	uint32_t used;               /* buffers given out */
};

/* Memory that txbuf_init needs for an arena of so many bytes. */
uint64_t txbuf_memory(uint64_t arena_bytes);
/* memory: zeroed, txbuf_memory() bytes. */
void txbuf_init(struct txbuf_pool *p, void *memory, uint64_t arena_bytes);
/* The smallest buffer that holds `bytes`, or a slab when it is more; when that size has run out a
 * smaller one. Offset in the arena, or TXBUF_NONE. *size: its bytes. */
uint64_t txbuf_take(struct txbuf_pool *p, uint32_t bytes, uint32_t *size);
/* False: no such buffer is given out. */
bool txbuf_give(struct txbuf_pool *p, uint64_t offset);

#endif
