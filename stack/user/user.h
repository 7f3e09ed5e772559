/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's side of the contract in stack/api/: groups, processes, lanes, sets, records. Reads
 * commands, checks them, calls stack/sock/; turns what sockets report into records, descriptors,
 * events and doorbells. Pure: memory and bells come from the caller, so tests and fuzzers run it on
 * a heap buffer.
 *
 * Trusts nothing in the segment. A group that breaks the contract loses at most its own sockets;
 * contract errors are counted (user_violations).
 * Called by: dpdk/ (worker context only), tests.
 */
#ifndef CULVERT_USER_USER_H
#define CULVERT_USER_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/api/command.h"
#include "stack/api/segment.h"

struct engine;
struct sock;
struct user;       /* the user side of one engine */
struct user_group; /* one segment */

struct user_limits { /* of one group; 0 takes the default */
	uint32_t socks_max, rxds_max, lanes_max, sets_max;
	uint32_t cmd_entries, comp_entries, set_entries;
	uint64_t rx_bytes, tx_bytes_lane;
	/* The engines that serve it together (crew.h): the same limits to each, but for its number. 0: it is alone */
	uint16_t workers, worker;
	uint32_t number; /* of the group, the same on all of them */
	bool inside; /* its program runs in the engine's process: it may read packet buffers */
};

struct user_env {
	void *ctx;
	/* Wakes the sleeper of a set: bell is what user_lane_open or user_set_open was given. False: it held the caller
	 * up, which no bell of an honest program does; none of its group's is rung again. */
	bool (*ring)(void *ctx, int bell);
};

/* NULL when memory is short. */
struct user *user_new(struct engine *e, const struct user_env *env);
/* The order at the end: user_group_close of every group, engine_free, user_free. Calls `done` of
 * groups whose send buffers the engine dropped without a release. */
void user_free(struct user *u);

/* Bytes that a segment of these limits takes (a multiple of the page size). */
uint64_t user_segment_size(const struct user_limits *limits);
/* Formats seg (zeroed, size bytes) and serves it from now on; NULL when memory is short. With several workers each
 * opens the group, worker 0 first; processes and sets then are opened and closed on all of them in the same order, which
 * gives them the same numbers. */
struct user_group *user_group_open(struct user *u, void *seg, uint64_t size,
	const struct user_limits *limits);
/* Ends all its processes; after return nothing of the engine refers to the segment, except send
 * buffers under way: `done(arg)` is called once those are gone too (perhaps at once). Then the
 * memory may be unmapped. */
void user_group_close(struct user_group *g, void (*done)(void *arg), void *arg);

/* Processes. parent < 0: holds nothing; else it holds what parent holds, and from now on the group reads nothing but
 * its segment: the child sees its own copy of the engine's other memory. Returns the number or -CV_E... */
int user_proc_open(struct user_group *g, int parent, int32_t pid);
/* The process is gone: its lanes and sets are taken back, at most so many of its holds dropped. False: call again,
 * others may be served between. */
bool user_proc_end(struct user_group *g, int proc, uint32_t most);
/* Does all of that, and forgets the process. Returns how many processes the group still has. */
uint32_t user_proc_close(struct user_group *g, int proc);
/* A fork's child has a number of its own. */
void user_proc_pid_set(struct user_group *g, int proc, int32_t pid);
/* After exec: lanes and sets of the process are taken back; holds stay. */
void user_proc_exec(struct user_group *g, int proc);
/* Marks handles as found by the new program; then user_proc_retain_done drops the others. */
void user_proc_retain(struct user_group *g, int proc, const uint32_t *handles, uint32_t n);
void user_proc_retain_done(struct user_group *g, int proc);

/* Return the index or -CV_EMFILE. bell is handed to env->ring. */
int user_lane_open(struct user_group *g, int proc, int bell);
int user_set_open(struct user_group *g, int proc, int bell);
/* The waiting set of a lane that another worker has given a number, on all others; and its end. */
void user_lane_mirror(struct user_group *g, int proc, uint32_t lane, int bell);
void user_lane_mirror_close(struct user_group *g, int proc, uint32_t lane);
/* -CV_EINVAL if it is not proc's. What was posted on the lane before is still carried out. The bell
 * will not be rung again after return. */
int user_lane_close(struct user_group *g, int proc, uint32_t lane);
int user_set_close(struct user_group *g, int proc, uint32_t set);
/* A command of a process that comes on no lane: 0 (as on a lane, its effect shows in the record). -CV_EINVAL: one that
 * needs a lane, for its bytes or its answer. -CV_EAGAIN: bytes that it must wait for are nowhere. */
int user_proc_command(struct user_group *g, int proc, const struct cv_command *cmd);

/* engine.commands, engine.sock_event and engine.events_done are set by user_new to functions of this
 * layer. user_pending tells whether a command waits on any lane (read before the worker sleeps). */
bool user_pending(const struct user *u);
/* Goes on whenever a turn has told a program something: a change of a socket, or what came of a command. Any thread may ask. */
uint32_t user_told(const struct user *u);

/* For `culvert ss` and `culvert stat`; worker context. */
struct user_group_info {
	uint32_t number; /* the same on all workers */
	int32_t pid; /* of the first process alive, 0 if none */
	uint32_t procs, lanes, sets, socks;
	uint32_t rxds_used, watches;
	uint64_t rx_bytes_used, tx_bytes_used; /* receive arena in use; send buffers under way */
	uint32_t txbufs_used;
	uint32_t starved;    /* sockets whose packets wait for receive memory */
	uint64_t violations; /* commands and cursors against the contract: the program is broken */
	uint64_t refused;    /* commands on sockets gone or not held: a race of the program's */
	bool closing;        /* closed, send buffers still under way */
};
void user_group_info(const struct user_group *g, struct user_group_info *info);

struct user_sock_info {
	uint32_t handle;
	int32_t pid;            /* of the first process that holds it, 0 if none */
	uint32_t holders;       /* processes; 0: waits in a listener's queue */
	uint32_t recvq, sendq;  /* bytes; on a listener: connections waiting, backlog */
	bool replica;           /* of a listener of worker 0 */
	const struct sock *sk;
};
/* Calls f for each group, closing ones included. f must not change them. */
void user_group_foreach(struct user *u, void (*f)(struct user_group *g, void *arg), void *arg);
/* Calls f for the sockets at *at (all 0 to begin with) and behind, of all groups, and moves *at on; returns after having
 * looked at `most` places. False: that was all. f must not change them. */
struct user_sock_place {
	uint32_t group, sock;
};
bool user_sock_foreach(struct user *u, struct user_sock_place *at, uint32_t most,
	void (*f)(const struct user_sock_info *info, void *arg), void *arg);
/* Of one socket; false if no group has it. */
bool user_sock_info(const struct sock *sk, struct user_sock_info *info);

#endif
