/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A world: engines on a virtual clock, joined pairwise by a simulated link with delay, loss, duplication,
 * reordering and corruption, all from one seed. Time jumps to whatever happens next. The same seed gives
 * the same frames at the same times. With WORLD_PCAP=DIRECTORY in the environment every world writes what was sent,
 * before the link harms it, into a file that tcpdump and tshark read.
 */
#ifndef CULVERT_TESTS_WORLD_H
#define CULVERT_TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <rte_mbuf.h>

#include "stack/base/list.h"
#include "stack/core/engine.h"
#include "stack/sock/sock.h"

#define WORLD_FRAMES_MAX 131072 /* on the wire at once: 1 Gbit/s x 300 ms and as much in a queue, both ways */
#define WORLD_FRAME_BYTES (65535 + 18) /* the largest */
#define WORLD_BUFFER_BYTES 2048        /* of a frame in one packet buffer; larger frames come as chains */

#define WORLD_SMALL 200 /* bytes: acknowledgements are less */

/* Each way alike. A frame waits in the bottleneck's queue, if there is one, and then takes delay_ns. */
struct world_link {
	uint64_t delay_ns;
	/* in 1/1000 of the frames */
	unsigned loss, duplicate, reorder, corrupt;
	uint64_t reorder_ns; /* how much later a reordered frame comes */
	uint32_t drop_nth;   /* of the frames of more than WORLD_SMALL bytes every so-manyth is lost; 0: none */
	uint32_t frame_max; /* larger frames vanish, and nobody says so; 0: none do */
	bool spares_arp;     /* no ARP frame is lost: the loss is behind the first hop, as mostly in life */
	/* The bottleneck. Bytes are those of frames, Ethernet header included. */
	uint64_t rate_bps;    /* bits a second; 0: no bottleneck */
	uint64_t queue_bytes; /* what does not fit behind those that wait is dropped (tail drop); 0: all fits */
	uint64_t mark_bytes;  /* a frame that finds as much waiting is marked CE if it is ECT (RFC3168:5); 0: none is */
};

/* On its way to a host. */
struct world_frame {
	struct list node;
	uint64_t at_ns;
	uint32_t len, turn;
	uint8_t data[];
};

/* One way of the link. */
struct world_wire {
	struct list frames;    /* by at_ns; those of one time in the order in which they were sent */
	uint64_t busy_until_ns; /* until the bottleneck has sent what waits */
	uint64_t queued_max;   /* the most bytes that waited; a test may set it back */
	uint64_t queue_drops, marks, bytes /* that passed the bottleneck */;
	uint64_t large; /* frames of more than WORLD_SMALL bytes that passed it */
};

#define WORLD_WORKERS_MAX 4

/* By which worker's queue a frame comes in, on a host that has several workers. */
enum world_rss {
	WORLD_RSS_HASH, /* TCP by the hash of its flow, all else by the first one's, as a device with RSS */
	WORLD_RSS_ONE,  /* all by the first one's, as a device with one queue */
	WORLD_RSS_TURN, /* by the queues in turn, whatever it is */
};

/* A host's worker other than the first one. */
struct world_worker {
	struct world_host *host;
	struct engine *e;
	struct port port; /* the host's, but for what lies in it for the device */
};

struct world_host {
	struct world *w;
	struct engine *e; /* of the only worker, or the first one */
	struct port port;
	struct crew *crew;
	uint16_t workers;
	enum world_rss rss;
	struct world_worker more[WORLD_WORKERS_MAX - 1];
	int index;
	/* A device with a short queue: it takes tx_room frames more. */
	bool tx_bounded;
	uint16_t tx_room;
};

struct world {
	uint64_t now_ns, random;
	struct world_link link;
	struct world_host host[2];
	struct world_wire wire[2]; /* by destination */
	unsigned frames_n;         /* on both */
	uint32_t frames_put;
	uint64_t frames_sent, hash; /* hash of all that was sent, with the times */
	uint64_t rx_no_buffer;      /* frames that came when the packet buffers were used up */
	struct rte_mempool *pool;
	/* Every frame that a host sends, before the link harms it, and every one that a host takes. May be NULL. */
	void (*watch)(void *ctx, int host, bool sent, const uint8_t *frame, uint32_t len);
	void *watch_ctx;
	FILE *capture; /* what is sent, in a file (environment WORLD_PCAP=DIRECTORY); NULL: nobody wants one */
};

/* TCP's settings of the engines that are made from now on. */
extern struct engine_tcp_config world_tcp;

/* Once for a test binary: EAL without hugepages. */
void world_eal_init(const char *name);
/* The same, with so many packet buffers for each world's two hosts instead of 8,191. */
void world_eal_init_large(const char *name, uint32_t buffers);
/* Connections that each host's engine can have; for worlds made from then on. */
extern uint32_t world_tcp_max;
/* Two hosts, 10.0.0.1 and 10.0.0.2 /24, time 1 s. Each has as many workers as the environment's WORLD_WORKERS says (1), and
 * gets its frames as WORLD_RSS says: hash (the default), one or turn. */
struct world *world_new(uint64_t seed, const struct world_link *link);
/* The same with so many workers on each host, whatever the environment says. */
struct world *world_new_crew(uint64_t seed, const struct world_link *link, uint16_t workers, enum world_rss rss);
struct engine *world_engine(const struct world_host *h, uint16_t worker);
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
/* Takes a frame off the wire and frees it. */
void world_frame_free(struct world *w, struct world_frame *f);
/* Bytes that wait at the bottleneck towards a host. */
uint64_t world_queued(const struct world *w, int to);

#endif
