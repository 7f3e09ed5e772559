/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine inside this process (stack/api/inline.h).
 *
 * Owns: loading the module, its end, what becomes of it over fork. Does not own: waiting (spin.c, wait.c), which runs turns.
 * Called by: link.c, when the first internet socket needs an engine and CULVERT_MODE=inline.
 */
#ifndef CULVERT_SHIM_INLINE_H
#define CULVERT_SHIM_INLINE_H

#include <stdbool.h>

#include "stack/api/inline.h"

/* Whether the environment asks for it. */
bool inline_wanted(void);
/* Starts the engine at the first call. The path of the control socket at which it answers, be it ours or one of the
 * same name that ran already; NULL: there is none, and it has been said why. One thread at a time. */
const char *inline_start(void);
/* The engine, as long as this process has it; NULL. */
const struct cv_inline_engine *inline_engine(void);
/* The process ends: what it sent before goes out first, as from the kernel. */
void inline_end(void);
/* Meanwhile what the other threads' sockets say is not for the program: inline_pass() does not return in another thread
 * than that which ends the process. */
extern bool inline_ending;
void inline_park(void);
static inline void inline_pass(void)
{
	if (__builtin_expect(__atomic_load_n(&inline_ending, __ATOMIC_ACQUIRE), 0))
		inline_park();
}
/* Before fork: says once where the engine stays. */
void inline_fork_prepare(void);
/* Before exec: says that the engine's children lose it, if there may be any. */
void inline_exec(void);
/* In a fork's child: the engine stays with the parent. */
void inline_fork_child(void);

#endif
