/* SPDX-License-Identifier: BSD-3-Clause */
/* Send buffers: see txbuf.h. */
#include "shim/txbuf.h"

static const uint32_t class_bytes[TXBUF_CLASSES] = {256, 2048, 16384, 65536};

uint64_t txbuf_memory(uint64_t arena_bytes)
{
	return arena_bytes / TXBUF_SLAB_BYTES * sizeof(struct txbuf_slab);
}

void txbuf_init(struct txbuf_pool *p, void *memory, uint64_t arena_bytes)
{
	*p = (struct txbuf_pool){
		.slabs = memory, .slabs_n = (uint32_t)(arena_bytes / TXBUF_SLAB_BYTES)};
}

static void list_push(struct txbuf_pool *p, uint32_t *head, uint32_t slab)
{
	struct txbuf_slab *s = &p->slabs[slab];

	s->prev = 0;
	s->next = *head;
	if (*head)
		p->slabs[*head - 1].prev = slab + 1;
	*head = slab + 1;
	s->listed = true;
}

static void list_drop(struct txbuf_pool *p, uint32_t *head, uint32_t slab)
{
	struct txbuf_slab *s = &p->slabs[slab];

	if (s->prev)
		p->slabs[s->prev - 1].next = s->next;
	else
		*head = s->next;
	if (s->next)
		p->slabs[s->next - 1].prev = s->prev;
	s->listed = false;
}

/* A slab without a class, or -1. */
static int64_t slab_empty(struct txbuf_pool *p)
{
	uint32_t slab;

	if (p->empty) {
		slab = p->empty - 1;
		list_drop(p, &p->empty, slab);
		return slab;
	}
	return p->fresh < p->slabs_n ? (int64_t)p->fresh++ : -1;
}

static void slab_format(struct txbuf_slab *s, unsigned class_index)
{
	uint32_t n = TXBUF_SLAB_BYTES / class_bytes[class_index];

	s->class_index = (uint8_t)class_index;
	s->used = 0;
	s->free_first = 1;
	for (uint32_t i = 0; i < n; i++)
		s->free_next[i] = (uint16_t)(i + 1 < n ? i + 2 : 0);
}

static uint64_t class_take(struct txbuf_pool *p, unsigned class_index)
{
	struct txbuf_slab *s;
	uint32_t slab, i;

	if (!p->room[class_index]) {
		int64_t empty = slab_empty(p);

		if (empty < 0)
			return TXBUF_NONE;
		slab_format(&p->slabs[empty], class_index);
		list_push(p, &p->room[class_index], (uint32_t)empty);
	}
	slab = p->room[class_index] - 1;
	s = &p->slabs[slab];
	i = s->free_first - 1u;
	s->free_first = s->free_next[i];
	s->used_map[i / 64] |= 1ull << (i % 64);
	s->used++;
	p->used++;
	if (!s->free_first)
		list_drop(p, &p->room[class_index], slab);
	return (uint64_t)slab * TXBUF_SLAB_BYTES + (uint64_t)i * class_bytes[class_index];
}

uint64_t txbuf_take(struct txbuf_pool *p, uint32_t bytes, uint32_t *size)
{
	unsigned fit = 0;

	while (fit < TXBUF_CLASSES - 1 && class_bytes[fit] < bytes)
		fit++;
	for (unsigned c = fit + 1; c-- > 0;) {
		uint64_t offset = class_take(p, c);

		if (offset != TXBUF_NONE) {
			*size = class_bytes[c];
			return offset;
		}
	}
	/* Only larger ones are left. */
	for (unsigned c = fit + 1; c < TXBUF_CLASSES; c++) {
		uint64_t offset = class_take(p, c);

		if (offset != TXBUF_NONE) {
			*size = class_bytes[c];
			return offset;
		}
	}
	return TXBUF_NONE;
}

bool txbuf_give(struct txbuf_pool *p, uint64_t offset)
{
	uint64_t slab = offset / TXBUF_SLAB_BYTES;
	struct txbuf_slab *s;
	uint32_t i, within = (uint32_t)(offset % TXBUF_SLAB_BYTES);

	if (slab >= p->fresh)
		return false;
	s = &p->slabs[slab];
	i = within / class_bytes[s->class_index];
	if (within % class_bytes[s->class_index] || !(s->used_map[i / 64] >> (i % 64) & 1))
		return false;
	s->used_map[i / 64] &= ~(1ull << (i % 64));
	s->free_next[i] = s->free_first;
	s->free_first = (uint16_t)(i + 1);
	s->used--;
	p->used--;
	if (s->used == 0) {
		if (s->listed)
			list_drop(p, &p->room[s->class_index], (uint32_t)slab);
		list_push(p, &p->empty, (uint32_t)slab);
	} else if (!s->listed) {
		list_push(p, &p->room[s->class_index], (uint32_t)slab);
	}
	return true;
}
