/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program on one engine of a world: the program's side of the contract (stack/api/), spelled out over
 * ordinary memory. One lane a process; all waiting is running the world.
 */
#ifndef CULVERT_TESTS_PROGRAM_H
#define CULVERT_TESTS_PROGRAM_H

#include "stack/api/command.h"
#include "stack/user/user.h"
#include "tests/world/world.h"

#define PROGRAM_SLOT 4096u /* of the send arena */
#define PROGRAM_SLOTS 256u

struct program_host {
	struct world *w;
	struct user *u; /* of the only worker, or the first one */
	struct user *more[WORLD_WORKERS_MAX - 1];
	uint16_t workers;
	uint32_t groups_n;
	unsigned rings; /* bells that were rung */
	bool bells_block; /* as when their program has filled them */
	int last_bell;
};

/* A group with its segment. */
struct program_group {
	struct program_host *host;
	struct user_group *g; /* as above */
	struct user_group *more[WORLD_WORKERS_MAX - 1];
	unsigned done_n;
	struct program *lanes; /* of its processes, to the other workers */
	uint8_t *seg;
	uint64_t size;
	bool done; /* user_group_close() said so */
};

/* One process with one lane. */
struct program {
	struct program_group *group;
	int proc;
	uint32_t lane;
	struct cv_lane *shared;
	uint32_t tail, seq;
	bool slot_used[PROGRAM_SLOTS];
	unsigned slots_used;
	/* The same for its lanes to the other workers. */
	struct program *more[WORLD_WORKERS_MAX - 1];
	struct program *next_lane; /* in the group's list */
	uint16_t connects; /* to be spread over the workers */
};

/* A link of a millisecond, and a segment that is soon full. */
extern const struct world_link program_link;
extern const struct user_limits program_limits;

void program_host_init(struct program_host *h, struct world *w, int host);
/* Behind world_free(). */
void program_host_fini(struct program_host *h);
struct program_group *program_group_new(struct program_host *h, const struct user_limits *limits);
/* Closes it, runs the world until the engine has let go, frees the segment. */
void program_group_free(struct program_group *g);

/* The group's next process; parent NULL: with nothing. */
void program_start(struct program *p, struct program_group *g, const struct program *parent);
/* The process dies. */
void program_end(struct program *p);
/* Its first step, and any further one; true: the last. */
bool program_end_some(struct program *p, uint32_t most);
void program_lane_open(struct program *p);
int program_set_open(struct program *p, int bell);
void program_set_close(struct program *p, int set);
/* What a process is to the engine's workers. */
void program_exec(struct program *p, const uint32_t *kept, uint32_t n);

/* Posts and goes on. */
void program_post(struct program *p, struct cv_command c);
/* Without the process' lane: user_proc_command(). */
int program_say(struct program *p, struct cv_command c);
/* Posts, runs the world, returns the reply's result. */
int program_call(struct program *p, struct cv_command c);

/* Whose lane goes to the worker of the socket: p, or one of p->more. */
struct program *program_of(struct program *p, uint32_t sock);
struct cv_sock *program_record(struct program *p, uint32_t sock);
uint32_t program_open(struct program *p, enum cv_type type);
uint32_t program_listener(struct program *p, int host, uint16_t port);
uint32_t program_bound(struct program *p, int host, uint16_t port);
/* A stream to there; does not wait. */
uint32_t program_connect(struct program *p, int host, uint16_t port);
/* The next connection, 0 when there is none. announce: post ACCEPTED. */
uint32_t program_accept(struct program *p, uint32_t listener, bool announce);
void program_close(struct program *p, uint32_t sock);
/* How many bytes were queued: as far as sndbuf and the arena go. to: datagram. */
uint32_t program_send(struct program *p, uint32_t sock, const void *data, uint32_t len,
	const struct cv_endpoint *to);
/* Bytes read (a datagram: one), 0 when there are none. from: datagram, may be NULL. */
uint32_t program_recv(struct program *p, uint32_t sock, void *data, uint32_t len,
	struct cv_endpoint *from);
/* Takes back the send buffers that are free again. */
void program_collect(struct program *p);
struct user_group_info program_info(const struct program_group *g);

#endif
