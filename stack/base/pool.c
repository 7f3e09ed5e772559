/* SPDX-License-Identifier: BSD-3-Clause */
/* See pool.h. The kernel gives zero pages on first touch: that is the lazy part. */
#include "stack/base/pool.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "stack/base/poison.h"

#define LINE 64u
#define HUGE_FROM (16u << 20) /* a small pool is not worth zeroing a huge page for its first object */

int pool_init(struct pool *p, size_t object_size, uint32_t max)
{
	void *memory;

	memset(p, 0, sizeof(*p));
	p->size = (object_size + LINE - 1) & ~(size_t)(LINE - 1);
	p->max = max;
	p->bytes = p->size * (max ? max : 1);
	memory = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		p->bytes = 0;
		return -1;
	}
	/* An object a packet, each on another page: the page tables should be small. A wish only. */
	if (p->bytes >= HUGE_FROM)
		(void)madvise(memory, p->bytes, MADV_HUGEPAGE);
	p->objects = memory;
	return 0;
}

void pool_fini(struct pool *p)
{
	if (p->bytes > 0) {
		UNPOISON(p->objects, p->size * p->fresh);
		munmap(p->objects, p->bytes);
	}
	memset(p, 0, sizeof(*p));
}

void *pool_get(struct pool *p)
{
	void *object = p->free_list;

	if (object != NULL)
		memcpy(&p->free_list, object, sizeof(void *));
	else if (p->fresh < p->max)
		object = p->objects + p->size * p->fresh++;
	else
		return NULL;
	UNPOISON(object, p->size);
	p->used++;
	return object;
}

void pool_put(struct pool *p, void *object)
{
	assert((uint8_t *)object >= p->objects && (uint8_t *)object < p->objects + p->bytes);
	memcpy(object, &p->free_list, sizeof(void *));
	/* But for the link. */
	POISON((uint8_t *)object + sizeof(void *), p->size - sizeof(void *));
	p->free_list = object;
	p->used--;
}
