/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inline hosting: the engine as a module inside the program's process, loaded by the shim. The contract of
 * segment.h, command.h and control.h stays what it is; here is only what a shared process makes possible:
 * threads of the program run the engine's turns themselves.
 *
 * Owns: the module's entry, and who may run a turn when. Called by: shim/ (host) and dpdk/ (module).
 *
 * The baton is one atomic word: whoever holds it runs a turn. A thread that waits is in one of three states:
 *   spinning    it runs turns
 *   watching    it sleeps on the engine's descriptor for all   watch_begin ... watch_end
 *   asleep      on its own bell only: somebody else spins or watches
 * When nobody does, the module's own thread takes over within a few milliseconds. turn and post must not be left by
 * longjmp.
 */
#ifndef CULVERT_API_INLINE_H
#define CULVERT_API_INLINE_H

#include <stdbool.h>

#include "control.h"

#define CV_INLINE_MODULE "libculvert-engine.so"
#define CV_INLINE_ENTRY "culvert_inline_start"
#define CV_INLINE_ERROR_BYTES 1024
#define CV_INLINE_BUSY 0u

/* What the program's side lends to the module. */
struct cv_inline_host {
	/* Moves a descriptor to a number that the program does not expect, close-on-exec, and keeps it from the
	 * program's close_range and the like; internal_close ends such a one. */
	int (*internal_fd)(int fd);
	void (*internal_close)(int fd);
	/* libc's own function of a name that the shim serves too (intercept.def). */
	void *(*libc)(const char *name);
	/* One line for the user; level: syslog's LOG_ERR, LOG_WARNING, LOG_NOTICE ... */
	void (*say)(int level, const char *text);
};

struct cv_inline_engine {
	uint32_t version;   /* CV_API_VERSION */
	char control[108];  /* path of the engine's control socket */
	/* Runs a turn, and returns its time (ns of CLOCK_MONOTONIC). CV_INLINE_BUSY: another thread is in one, and
	 * will run one more that sees all that was posted before this call. */
	uint64_t (*turn)(void);
	/* Goes on whenever a turn has told the program something, this thread or another. */
	uint32_t (*told)(void);
	/* The same as turn for a command that this thread has posted: the time may be some milliseconds old. */
	void (*post)(void);
	/* Whether commands may wait a few milliseconds for the poster's next turn: the module's own thread looks that often,
	 * unless a thread of the program sleeps for all, which would not see them. */
	bool (*may_defer)(void);
	/* The calling thread will sleep for all until *until_ns at the latest: returns the descriptor that gets
	 * readable when a turn is due. -1: another thread does already; -2: a turn is due now. */
	int (*watch_begin)(uint64_t *until_ns);
	void (*watch_end)(void);
	/* The program ends: runs turns until what it sent has been acknowledged, at most wait_ns long. */
	void (*finish)(uint64_t wait_ns);
	/* In a fork's child: lets go of what belongs to the parent's engine. */
	void (*forked)(void);
};

/* Starts the engine of a configuration file (NULL: the default one). 0: it runs; 1: one of that name runs
 * already elsewhere, and engine->control says where; then it may be called again. -1: error says why in one line. */
typedef int cv_inline_start(const struct cv_inline_host *host, const char *config,
	struct cv_inline_engine *engine, char error[CV_INLINE_ERROR_BYTES]);

#endif
