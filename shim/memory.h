/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's own memory. The calls that signal-safety(7) lets a handler make, and a child of a program with threads,
 * must not ask the program's allocator: the handler's own thread may be inside it, or a thread that fork left behind.
 *
 * Owns: free memory. Called by: all of shim/ but stream.c, whose calls may allocate.
 * Invariant: nothing here takes a lock. What was given back is kept for the next who wants as much.
 */
#ifndef CULVERT_SHIM_MEMORY_H
#define CULVERT_SHIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_ALIGN 64u

/* Zeroed, aligned to MEMORY_ALIGN. NULL: none is left. */
void *memory_get(size_t bytes);
/* bytes: what it was asked for with. p may be NULL. */
void memory_put(void *p, size_t bytes);
/* `bytes` of them with the first `old` as they were, which p points to; the rest is zero. NULL: none is left, p is as
 * it was. */
void *memory_grow(void *p, size_t old, size_t bytes);

/* A stack of objects that are at least a pointer in size, aligned to MEMORY_ALIGN, and stay mapped for ever: who looks
 * at the first one may find it taken, and used, meanwhile. The first bytes of an object on it are the stack's. */
struct memory_stack {
	uint64_t top;
};
void memory_push(struct memory_stack *s, void *object);
/* NULL: empty. */
void *memory_pop(struct memory_stack *s);
/* n objects more on the stack, and one for the caller. NULL: no memory. */
void *memory_stack_grow(struct memory_stack *s, size_t object_bytes, size_t n);

#endif
