/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lanes: a thread's rings to a worker, and the send buffers in its arena.
 *
 * Owns: opening and closing a thread's lanes, posting, synchronous commands, the allocator. Does
 * not own: sleeping (wait.h). Called by: decide.c, record.c, tx.c.
 * Invariants
 * - A lane is used by one thread, and not by a signal handler that interrupts it: lane_enter gives
 *   a handler the thread's second lane.
 * - What lies in the arena is the engine's from CV_CMD_SEND until its completion.
 */
#ifndef CULVERT_SHIM_LANE_H
#define CULVERT_SHIM_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/link.h"
#include "shim/txbuf.h"
#include "stack/api/command.h"

struct lane {
	struct wait_lane wait; /* first */
	struct link *link;
	struct cv_command *commands;
	const uint64_t *completions;
	uint32_t tail; /* commands posted */
	uint32_t seq;
	uint32_t generation; /* of the process */
	struct txbuf_pool pool;
};

/* The calling thread's lane to a worker until lane_leave; NULL: none can be had. */
struct lane *lane_enter(struct link *l, uint32_t worker);
void lane_leave(struct lane *lane);
/* The calling thread's lanes to all workers are made now: it may not open descriptors any more. */
void lane_prepare(struct link *l);
/* Why none could be had: -ENETDOWN: the engine is gone; -ENOBUFS: it gives the thread none. */
int lane_error(const struct link *l);
/* 0 or -ENETDOWN. */
int lane_post(struct lane *lane, const struct cv_command *command);
/* The result (>= 0), or -errno. The reply's bytes stay in lane->wait.lane->reply until lane_leave. */
int lane_call(struct lane *lane, struct cv_command *command);
/* In the child: the lanes so far are the parent's. */
void lane_fork_child(void);
/* A send buffer of at most `bytes` bytes: offset in the segment, its size in *size; TXBUF_NONE:
 * the arena is full (collect completions, then wait). */
uint64_t lane_buffer(struct lane *lane, uint32_t bytes, uint32_t *size);
/* One that no command was posted for. */
void lane_buffer_give(struct lane *lane, uint64_t offset);

#endif
