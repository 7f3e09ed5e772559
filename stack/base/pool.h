/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool of objects of one size with a fixed limit. Memory is reserved once and touched only as far as
 * objects were ever in use at the same time; what was put back last is given out first.
 * One worker's; get and put are O(1) and never allocate.
 */
#ifndef CULVERT_BASE_POOL_H
#define CULVERT_BASE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool {
	uint8_t *objects;
	size_t size;      /* of one object, a multiple of the cache line */
	size_t bytes;     /* reserved */
	uint32_t max;
	uint32_t fresh;   /* objects from here on were never given out */
	uint32_t used;
	void *free_list;  /* linked through the objects' first word */
};

/* 0, or -1 when memory is short. */
int pool_init(struct pool *p, size_t object_size, uint32_t max);
void pool_fini(struct pool *p);
/* NULL when `max` are in use. The content is undefined. */
void *pool_get(struct pool *p);
void pool_put(struct pool *p, void *object);
/* pool_get() would find none. */
static inline bool pool_is_used_up(const struct pool *p)
{
	return p->free_list == NULL && p->fresh >= p->max;
}

#endif
