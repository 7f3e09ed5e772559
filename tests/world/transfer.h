/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transfer between two engines of a world: a client sends, a server sends half as much, both read, and both
 * shut down. Whatever the plan's link does, every byte arrives, in order, once, within a bounded virtual time, and
 * at the end nothing is left: no connection, no buffer, no packet. Each run is one seed; the same seed gives the
 * same frames.
 *
 * Owns: the users of both ends. Does not own: the world. Called by: tests/world/tcp_*.c.
 */
#ifndef CULVERT_TESTS_TRANSFER_H
#define CULVERT_TESTS_TRANSFER_H

#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

struct plan {
	struct world_link link;
	void (*prepare)(struct world *w); /* before the first packet; may be NULL */
	uint64_t bytes;       /* from the client; the server sends half as many */
	uint64_t bound_s;     /* virtual seconds in which all must be there */
	uint32_t rcvbuf;      /* 0: the default */
	uint32_t queue;       /* bytes that a user queues at once; 0: plenty */
	uint32_t write_most;  /* bytes of one write */
	uint32_t read_most;   /* bytes of one read; a user reads once in a step then; 0: all there is */
	const char *congestion; /* TCP_CONGESTION; NULL: the default */
	bool nodelay;
	bool ipv6;
};

struct side {
	struct sock *sk;
	uint64_t sent, got, total;
	unsigned queued, released;
	uint8_t seed;
	bool shut;
};

struct run {
	const struct plan *plan;
	struct world *w;
	struct sock *listener;
	struct side client, server;
	uint64_t random, seed;
};

/* All of it; fails the test unless it is over in time. Returns the hash of all frames. */
uint64_t transfer(const struct plan *plan, uint64_t seed);
/* The same for the seeds from first on. */
void transfers(const struct plan *plan, uint64_t first, unsigned seeds);

/* The parts, for tests that interfere: 2 ms of both ends, and whether all has arrived. */
struct run *run_new(const struct plan *plan, uint64_t seed);
void run_step(struct run *r);
bool run_done(const struct run *r);
uint64_t run_end(struct run *r);
/* Prints where both ends stand. */
void run_story(const struct run *r);
void side_close(struct side *s, bool abort);
/* A number below `below`, from the run's seed. */
uint32_t run_draw(struct run *r, uint32_t below);

#endif
