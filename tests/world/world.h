/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A world: engines on a virtual clock, joined pairwise by a simulated link with delay, loss, duplication,
 * reordering and corruption, all from one seed. Time jumps to whatever happens next. The same seed gives
 * the same frames at the same times.
 */
#ifndef CULVERT_TESTS_WORLD_H
#define CULVERT_TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/core/engine.h"
#include "stack/sock/sock.h"

#define WORLD_FRAMES_MAX 4096
#define WORLD_FRAME_BYTES (65535 + 18) /* the largest */
#define WORLD_BUFFER_BYTES 2048        /* of a frame in one packet buffer; larger frames come as chains */

struct world_link {
	uint64_t delay_ns;
	/* in 1/1000 of the frames */
	unsigned loss, duplicate, reorder, corrupt;
	uint64_t reorder_ns; /* how much later a reordered frame comes */
};

struct world_frame {
	struct rte_mbuf *m;
	uint64_t at_ns;
	uint64_t order; /* frames of one time keep their order */
	int to;
};

struct world_host {
	struct world *w;
	struct engine *e;
	struct port port;
	int index;
	/* A device with a short queue: it takes tx_room frames more. */
	bool tx_bounded;
	uint16_t tx_room;
};

struct world {
	uint64_t now_ns, order, random;
	struct world_link link;
	struct world_host host[2];
	struct world_frame frames[WORLD_FRAMES_MAX];
	unsigned frames_n;
	uint64_t frames_sent, hash; /* hash of all that was sent, with the times */
	struct rte_mempool *pool;
};

/* Once for a test binary: EAL without hugepages. */
void world_eal_init(const char *name);
/* Two hosts, 10.0.0.1 and 10.0.0.2 /24, time 1 s. */
struct world *world_new(uint64_t seed, const struct world_link *link);
/* Frees all; fails the test when a packet buffer is not back. */
void world_free(struct world *w);
/* A host whose engine was killed and started again: nothing is left but its secret (engine.h). */
void world_host_restart(struct world *w, int host);
/* Runs until `until_ns` from now, or until done(ctx) says so; true in the latter case. */
bool world_run(struct world *w, uint64_t for_ns, bool (*done)(void *ctx), void *ctx);
/* 10.0.0.(host + 1):port */
struct cv_endpoint world_endpoint(int host, uint16_t port);
/* A send buffer on the heap that frees itself; *released counts. */
struct txbuf *world_txbuf(const void *data, uint32_t len, unsigned *released);
/* Puts a frame on the wire towards a host, as a stranger would; data is copied. */
void world_inject(struct world *w, int to, const void *data, uint32_t len);

#endif
