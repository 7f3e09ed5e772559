/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `micro` measures on: one engine on a virtual clock, frames in memory, any number of established
 * connections to peers that exist only as numbers. No device, no thread, no second engine.
 *
 * Owns: the engine, its port and packet pool, the peers' ends of the connections. Does not own: what is
 * measured (micro.c).
 * Called by: bench/micro.c.
 */
#ifndef CULVERT_BENCH_MICRO_BED_H
#define CULVERT_BENCH_MICRO_BED_H

#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/core/engine.h"
#include "stack/sock/sock.h"

#define BED_MSS 1448u /* payload of a full segment: MTU 1500, timestamps */
#define BED_OUT_MAX 4096u
#define BED_UDP_PORT 53
#define BED_BACKLOG 64u

/* A peer's end of one connection. */
struct bed_conn {
	struct sock *sk;
	uint32_t addr; /* the peer's, host order */
	uint16_t port;
	uint32_t seq, ack; /* what it sends next, what it expects next */
	uint32_t ts_base;  /* the engine's timestamp at time 0, ms */
};

struct bed {
	struct engine *e;
	struct port port;
	struct rte_mempool *pool;
	uint64_t now_ns;
	struct rte_mbuf *in[ENGINE_BURST]; /* frames of the next turn */
	uint16_t in_n;
	struct rte_mbuf *out[BED_OUT_MAX]; /* what the engine sent and nobody freed yet */
	uint32_t out_n;
	struct bed_conn *conns;
	uint32_t conns_n, at;
	struct sock *listener, *udp;
	/* what is counted: around each bed_turn_counted() */
	void (*count_begin)(void), (*count_end)(void);
};

/* An engine with n established connections on port 80 and one UDP socket on BED_UDP_PORT. Ends the
 * program with a message when it cannot be made. */
void bed_init(struct bed *b, uint32_t connections);
void bed_fini(struct bed *b);

/* The next connection of all, in an order that visits each before any twice. */
struct bed_conn *bed_conn_next(struct bed *b);

/* Adds a frame of the peer to the next turn's burst: a segment of len bytes at c->seq, which moves on. */
void bed_segment(struct bed *b, struct bed_conn *c, uint8_t flags, uint32_t len);
void bed_datagram(struct bed *b, uint32_t len);
/* The gateway is known afterwards, also where a jump of the clock made the engine forget it. */
void bed_gateway_meet(struct bed *b);

/* One turn, 10 us later; counted or not. */
void bed_turn(struct bed *b);
void bed_turn_counted(struct bed *b);
/* Frees what the engine sent. */
void bed_out_free(struct bed *b);
/* The program reads all there is. */
void bed_read(struct sock *sk);
/* The program sends len bytes, which the peer is taken to expect from now on. */
void bed_write(struct bed *b, struct bed_conn *c, uint32_t len);
/* A connection of the engine to itself is begun; the next one that the listener has; counted turns until all of them have
 * left no trace. */
struct sock *bed_connect(struct bed *b);
struct sock *bed_accept(struct bed *b);
void bed_turns_to_idle(struct bed *b);
/* A send buffer of len bytes that needs no freeing; valid until the peer has acknowledged it. */
struct txbuf *bed_txbuf(uint32_t len);

#endif
