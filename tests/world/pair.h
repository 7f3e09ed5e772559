/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two programs, one on each host of a world, and what most tests of the contract do with them. Any number of workers.
 * Called by: tests/world/user*.c. Fails the test when something is not as promised.
 */
#ifndef CULVERT_TESTS_PAIR_H
#define CULVERT_TESTS_PAIR_H

#include "tests/world/program.h"

#define PAIR_BYTES 300000u

/* A server program on host 1, a client program on host 0. */
struct pair {
	struct world *w;
	struct program_host ha, hb;
	struct program_group *ga, *gb;
	struct program a, b;
};

void pair_start(struct pair *t, uint64_t seed, const struct user_limits *limits);
/* Everything that was taken is back: TIME_WAIT over, no buffer left anywhere. */
void pair_end(struct pair *t);
void pair_run(struct pair *t, unsigned ms);
/* A connection between the two programs; the listener stays open. */
void pair_connect(struct pair *t, uint32_t *listener, uint32_t *client, uint32_t *server);
/* Byte i of what is sent. */
uint8_t pair_pattern(uint32_t i);
/* Sends PAIR_BYTES bytes from sock of p to peer of q and compares them. */
void pair_transfer(struct pair *t, struct program *p, uint32_t sock, struct program *q, uint32_t peer);

#endif
