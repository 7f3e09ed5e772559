/* SPDX-License-Identifier: BSD-3-Clause */
/* What the compiler offers beyond C11, under one name each. Used everywhere in stack/. */
#ifndef CULVERT_BASE_COMPILER_H
#define CULVERT_BASE_COMPILER_H

#include <stddef.h>

#define cv_likely(x) __builtin_expect(!!(x), 1)
#define cv_unlikely(x) __builtin_expect(!!(x), 0)

/* The object of `type` whose `member` is at ptr. */
#define cv_container_of(ptr, type, member)                                                         \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
