/* SPDX-License-Identifier: BSD-3-Clause */
/* See memory.h. Sizes are powers of two, a stack each; what is larger is the kernel's. */
#include "shim/memory.h"

#include <string.h>
#include <sys/mman.h>

#include "stack/base/poison.h"

#define SMALLEST_BITS 6u
#define LARGEST_BITS 20u
#define CHUNK_BYTES 65536u /* what is asked of the kernel at once for small ones */

/* A stack's word: the first object's address without the bits that are zero, and above it how often it changed. Who
 * finds it changed between its steps begins again. */
#define ALIGN_BITS 6u
#define PLACE_BITS (47u - ALIGN_BITS) /* of memory that was not asked for above them */

static struct memory_stack stacks[LARGEST_BITS + 1];

static void *first_of(uint64_t word)
{
	return (void *)(uintptr_t)((word & ((UINT64_C(1) << PLACE_BITS) - 1)) << ALIGN_BITS);
}

static bool first_set(struct memory_stack *s, uint64_t *word, const void *first)
{
	uint64_t next = ((*word >> PLACE_BITS) + 1) << PLACE_BITS | (uintptr_t)first >> ALIGN_BITS;

	return __atomic_compare_exchange_n(&s->top, word, next, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void memory_push(struct memory_stack *s, void *object)
{
	uint64_t word = __atomic_load_n(&s->top, __ATOMIC_ACQUIRE);

	do
		__atomic_store_n((void **)object, first_of(word), __ATOMIC_RELEASE);
	while (!first_set(s, &word, object));
}

void *memory_pop(struct memory_stack *s)
{
	uint64_t word = __atomic_load_n(&s->top, __ATOMIC_ACQUIRE);
	void **object;

	do
		object = first_of(word);
	while (object && !first_set(s, &word, __atomic_load_n(object, __ATOMIC_ACQUIRE)));
	return object;
}

static void *from_kernel(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *memory_stack_grow(struct memory_stack *s, size_t object_bytes, size_t n)
{
	char *objects = from_kernel((n + 1) * object_bytes);

	for (size_t i = 1; objects && i <= n; i++)
		memory_push(s, objects + i * object_bytes);
	return objects;
}

static unsigned bits_of(size_t bytes)
{
	return bytes <= 1u << SMALLEST_BITS ? SMALLEST_BITS : 64u - (unsigned)__builtin_clzl(bytes - 1);
}

void *memory_get(size_t bytes)
{
	unsigned bits = bits_of(bytes);
	size_t size = (size_t)1 << bits;
	void *p;

	if (bits > LARGEST_BITS)
		return from_kernel(bytes);
	p = memory_pop(&stacks[bits]);
	if (!p)
		return memory_stack_grow(&stacks[bits], size, size < CHUNK_BYTES ? CHUNK_BYTES / size - 1 : 0);
	UNPOISON(p, size);
	return memset(p, 0, bytes);
}

void memory_put(void *p, size_t bytes)
{
	unsigned bits = bits_of(bytes);

	if (!p)
		return;
	if (bits > LARGEST_BITS) {
		munmap(p, bytes);
		return;
	}
	POISON((char *)p + sizeof(void *), ((size_t)1 << bits) - sizeof(void *));
	memory_push(&stacks[bits], p);
}

void *memory_grow(void *p, size_t old, size_t bytes)
{
	void *grown = memory_get(bytes);

	if (!grown)
		return NULL;
	if (p)
		memcpy(grown, p, old);
	memory_put(p, old);
	return grown;
}
