/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library must know of the program's signal handlers: see handler.c.
 */
#ifndef CULVERT_SHIM_HANDLER_H
#define CULVERT_SHIM_HANDLER_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>

#include "stack/api/inline.h"

struct signal_turn {
	volatile sig_atomic_t running; /* a turn, on this thread */
	volatile sig_atomic_t late;    /* signals came meanwhile and wait, blocked */
	volatile sig_atomic_t handled; /* handlers of the program that this thread has begun; wraps */
	volatile sig_atomic_t broken;  /* of those, the ones without SA_RESTART */
};
extern __thread struct signal_turn signal_turn __attribute__((tls_model("initial-exec")));

/* Handlers that waited for the end of a turn run in here. Where no lock of the library is held: they may not return. */
void signal_run_late(void);
static inline void signal_check_late(void)
{
	if (__builtin_expect(signal_turn.late != 0, 0))
		signal_run_late();
}

/* The engine's calls, with handlers kept out. Its devices' system calls leave errno behind, which is the program's. */
static inline uint64_t signal_safe_turn(const struct cv_inline_engine *inside)
{
	int saved = errno;
	uint64_t now;

	signal_turn.running = 1;
	now = inside->turn();
	signal_turn.running = 0;
	errno = saved;
	return now;
}

static inline void signal_safe_post(const struct cv_inline_engine *inside)
{
	int saved = errno;

	signal_turn.running = 1;
	inside->post();
	signal_turn.running = 0;
	errno = saved;
}

#endif
