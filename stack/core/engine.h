/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An engine: one worker's whole stack. Pure: packets, commands, time and random numbers come in
 * through struct engine_env and engine_turn(); packets and events go out the same way. It reads no
 * clock, opens no device, starts no thread and allocates only when it is made.
 *
 * Owns: the turn and its order, the parts that every layer shares (time, wheel, pools, counters,
 * lists of work for the end of the turn). Does not own: what the layers do.
 * Called by: dpdk/ (the worker's loop), tests/world, tests/fuzz.
 *
 * One turn, fixed order (design 5): commands, receive burst, timers, output, transmit burst, events.
 * Each has a budget. One `now` per turn.
 */
#ifndef CULVERT_CORE_ENGINE_H
#define CULVERT_CORE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/base/list.h"
#include "stack/base/wheel.h"
#include "stack/core/counters.h"
#include "stack/core/port.h"

struct crew;
struct crew_message;
struct engine;
struct icmp_error;
struct sock;

/* What an engine gets from outside. All are called in the worker's context only. */
struct engine_env {
	void *ctx;
	/* Up to max received frames of port `port` into pkts; returns how many. The engine owns them.
	 * mbufs carry a private area of at least sizeof(struct pkt). */
	uint16_t (*rx)(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max);
	/* Send; returns how many were taken (they belong to the device now). The rest stays with the
	 * engine, which counts and frees it. */
	uint16_t (*tx)(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
	uint64_t (*random64)(void *ctx);
	/* Another worker has something in a ring of ours: it must not sleep over it. Called at most once a turn for
	 * each. NULL: nobody sleeps. */
	void (*wake)(void *ctx, uint16_t worker);
};

/* TCP's settings. */
struct engine_tcp_config {
#define X(key, min, max, def, text) uint32_t key;
#include "stack/core/tcp_config.def"
#undef X
	uint32_t congestion_control; /* which of tcp_congestion.def */
};
/* What they are when nobody says otherwise. */
extern const struct engine_tcp_config engine_tcp_defaults;

/* Limits, each named and configurable; 0 takes the default. */
struct engine_config {
	uint32_t tcp_max;       /* TCP connections, listeners included */
	uint32_t udp_max;       /* UDP sockets */
	uint32_t neigh_max;     /* neighbour cache entries */
	uint32_t neigh_queue;   /* frames that wait for one unresolved neighbour */
	struct rte_mempool *pkt_pool; /* where headers and small packets are made; data room for a
					 full frame of every port; priv_size >= sizeof(struct pkt) */
	bool loopback; /* 127.0.0.0/8 and ::1 are the engine's own */
	/* What initial sequence numbers and timestamps are made from (RFC6528:3). The same over restarts on one
	 * machine: then the TIME_WAIT that a peer still has takes the restarted engine's SYN for a new one
	 * (RFC6191). Zeros: drawn at the start. */
	uint64_t secret[2];
	const struct engine_tcp_config *tcp; /* read by engine_new() only; NULL: the defaults */
	struct crew *crew; /* the workers that share our ports (crew.h); NULL: we are alone */
	uint16_t worker;   /* our number among them */
};

/* A layer's way into the turn. The composition root (stack/stack.c) registers them, in order. */
struct engine_l4 {
	uint8_t proto; /* IPPROTO_TCP ... */
	/* n parsed packets (struct pkt filled by stack/net/); the callee owns them. */
	void (*input)(struct engine *e, struct rte_mbuf **pkts, uint16_t n);
	/* An ICMP error about a packet that we sent (struct icmp_error in stack/net/icmp.h). */
	void (*icmp_error)(struct engine *e, const struct icmp_error *err);
};

#define ENGINE_L4_MAX 4
#define ENGINE_BURST 64

struct engine {
	/* every packet */
	uint64_t now_ns; /* of this turn */
	uint32_t now_ms; /* the same, to the millisecond; comes round after 49 days */
	struct engine_env env;
	struct list dirty;  /* sockets with news for their users (sock.h), for the end of the turn */
	struct list output; /* sockets that may have something to send, same */
	struct wheel wheel;
	struct engine_counters counters;
	struct rte_mempool *pkt_pool;
	uint32_t rx_held;     /* packet buffers in receive queues that no user has taken, */
	uint32_t rx_held_max; /* and how many of them are too many (sock_rx_refuse) */
	uint32_t rx_lent;     /* that programs read from, */
	uint32_t rx_lent_max; /* and may at most: beyond that they get copies */
	struct port *ports[PORTS_MAX];
	uint16_t ports_n;
	uint16_t rx_n, rx_port; /* the burst in hand, and whose it is */
	struct rte_mbuf *rx[ENGINE_BURST];
	uint16_t worker; /* its number */
	uint32_t crew_told; /* workers for whom something was put in this turn, a bit each */
	struct crew *crew;  /* NULL: alone */
	uint32_t unsent_n;  /* messages that wait for room (crew.h) */
	struct engine_l4 l4[ENGINE_L4_MAX];
	uint8_t l4_n;
	/* per layer; each layer defines its own struct */
	struct net *net;
	struct udp *udp;
	struct tcp *tcp;
	/* end of turn: tell users. Set by whoever hosts sockets (stack/user/, or a test). Called once
	 * for each dirty socket, which was taken off the list before. */
	void (*sock_event)(void *ctx, struct sock *sk);
	/* Whether sk's user has taken all that came for him until now; may be NULL: nobody knows */
	bool (*user_keeps_up)(const struct sock *sk);
	uint32_t (*commands)(void *ctx); /* start of turn, returns how many; may be NULL */
	/* what another worker's user side says; may be NULL */
	void (*message)(void *ctx, uint16_t from, const struct crew_message *msg);
	bool (*pending)(void *ctx); /* whether a command waits; may be NULL */
	void (*events_done)(void *ctx); /* after the last sock_event of the turn; may be NULL */
	void *user_ctx;
	struct engine_config config;
};

/* Makes an engine with all layers (stack/stack.c). Returns NULL and says why in *why (a static text)
 * when memory is short or a limit is absurd. Allocates; not for the packet path. */
struct engine *engine_new(const struct engine_config *config, const struct engine_env *env,
	uint64_t now_ns, const char **why);
/* Frees all, connections included, without a packet. */
void engine_free(struct engine *e);

/* It is now_ns. */
static inline void engine_set_now(struct engine *e, uint64_t now_ns)
{
	e->now_ns = now_ns;
	e->now_ms = (uint32_t)(now_ns / 1000000);
}

/* Runs one turn at time now_ns (monotonic, never less than before). Returns how many packets and
 * commands it handled: 0 means that it was idle. */
uint32_t engine_turn(struct engine *e, uint64_t now_ns);

/* Whether a turn would find work, timers apart: commands, frames, output. Needs no time: reading a clock costs more
 * than looking. Frames that it finds it keeps for the next turn. */
bool engine_look(struct engine *e);

/* The time at which a turn must run even if nothing arrives; UINT64_MAX if none. */
uint64_t engine_deadline_ns(const struct engine *e);

#endif
