/* SPDX-License-Identifier: BSD-3-Clause */
/* An engine's counters, from counters.def. The worker writes; others may read a torn-free copy of each. */
#ifndef CULVERT_CORE_COUNTERS_H
#define CULVERT_CORE_COUNTERS_H

#include <stdint.h>

struct engine_counters {
#define X(name, text) uint64_t name;
#include "stack/core/counters.def"
#undef X
};

#define ENGINE_COUNTERS_N (sizeof(struct engine_counters) / sizeof(uint64_t))
struct engine_counter_name {
	const char *name, *text;
};
/* In the order of the struct's fields. */
extern const struct engine_counter_name engine_counter_names[ENGINE_COUNTERS_N];

#endif
