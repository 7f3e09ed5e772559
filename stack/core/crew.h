/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers of one service: engines that share ports and addresses, each with flows of its own. Whoever receives a
 * packet parses it as far as IP, and hands it over to the worker that owns its flow (docs/decisions/0015-workers.md).
 *
 * Owns: which flow is whose, the rings between each two workers. Does not own: what lies in them (stack/net/ the
 * packets, stack/user/ the messages), waking who sleeps (engine_env.wake).
 * Called by: stack/net/ and stack/tcp/ (packets, flows), stack/user/ (messages), the turn.
 *
 * Whose is what
 * - a TCP flow: by the Toeplitz hash of its ends with a key that makes both directions one (so that a device with
 *   RSS comes to the same), except those pinned: bound by their program to a port whose hash says otherwise;
 * - a datagram: by its local port, whose sockets are all one worker's; only those that share a port by SO_REUSEPORT and are
 *   bound alike may be several workers', and are found by the flow's hash;
 * - all else that has one owner (echo requests, fragments, what is sent to groups): worker 0's;
 * - what all must know (ARP, neighbour discovery, groups, ICMP errors): everybody gets a copy.
 *
 * No word is written by two workers, but for a UDP port's, which changes when a socket is bound and
 * unbound. A full ring drops the packet, as a NIC does; a message that finds no room waits in a
 * list of limited length.
 */
#ifndef CULVERT_CORE_CREW_H
#define CULVERT_CORE_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <rte_mbuf.h>

#include "stack/api/page.h"
#include "stack/api/segment.h"
#include "stack/base/compiler.h"
#include "stack/base/list.h"
#include "stack/base/siphash.h"
#include "stack/base/spsc.h"
#include "stack/core/engine.h"

#define CREW_MAX CV_WORKERS_MAX
#define CREW_PACKETS 4096u  /* of a ring */
#define CREW_MESSAGES 8192u
#define CREW_UNSENT_MAX 4096u /* messages that wait for room in one ring */
#define CREW_LISTENERS 1024u  /* with a queue counted over all workers; number 0 is none */
#define CREW_TABLE 128u       /* entries of the redirection table, as of most devices */
#define CREW_PIN_BUCKETS 1024u
#define CREW_PIN_WAYS 8u

/* The key that repeats 16 bits hashes both directions of a flow to one number. */
#define CREW_KEY_HI 0x6du
#define CREW_KEY_LO 0x5au

/* How a packet lies in a ring, in the low bits of its address. */
enum crew_packet {
	CREW_PARSED, /* data behind the IP header, struct pkt filled in; for its owner, or a copy for all */
	CREW_FRAME,  /* as it came */
	CREW_KINDS_MASK = 3,
};

/* Kinds of messages from here on are stack/net/'s (net_crew_message()), those below stack/user/'s (engine.message). */
#define CREW_NET 0x100u

/* What a layer tells the other workers'. */
struct crew_message {
	uint32_t kind;
	uint32_t group;
	uint32_t a, b;
	void *data;
	uint64_t spare;
};
#define CREW_MESSAGE_WORDS (sizeof(struct crew_message) / sizeof(uint64_t))

struct crew_unsent {
	struct list all;
	uint32_t n;
};

struct crew {
	uint16_t n CV_ALIGNED;
	struct spsc *packets;  /* [from * n + to] */
	struct spsc *messages; /* same */
	struct crew_unsent *unsent; /* same: what a ring had no room for; `from` alone touches it */
	const struct engine *engines[CREW_MAX]; /* for sums over all of them; filled in before any turn */
	struct siphash_key pin_key;
	struct crew_pins *pins; /* by worker, who writes them */
	uint64_t *udp_ports;    /* by local port, see below */
	uint32_t *waiting;      /* [worker * CREW_LISTENERS + listener]: connections that nobody took; the worker writes */
	bool listener_used[CREW_LISTENERS] CV_ALIGNED; /* worker 0's */
};

/* Flows of a worker that the general rule would give to another: a keyed hash of their ends, 0 is none. */
struct crew_pins {
	uint32_t n CV_ALIGNED;
	uint64_t of[CREW_PIN_BUCKETS][CREW_PIN_WAYS] CV_ALIGNED;
};

/* A UDP port's word. Bits 0 to 15: which workers have sockets there. Several may only while CREW_UDP_SPREAD is set; then
 * bits 16 to 31 say which have one without a peer, for datagrams of strangers, and bits 33 to 63 what all of them are bound
 * to (a hash). Sockets with a peer are pinned. */
#define CREW_UDP_OPEN_SHIFT 16
#define CREW_UDP_SPREAD (1ull << 32)
#define CREW_UDP_ALIKE_SHIFT 33

/* For n workers, which are made with it afterwards; NULL when memory is short. random64: as engine_env's. */
struct crew *crew_new(uint16_t n, const struct engine_env *env);
/* After all its engines. Packets and messages that nobody took go. */
void crew_free(struct crew *c);

/* The Toeplitz hash under the repeating key depends on the XOR of the 16-bit words alone. */
static inline uint16_t crew_hash_fold(uint64_t words)
{
	words ^= words >> 32;
	words ^= words >> 16;
	return (uint16_t)words;
}

static inline uint32_t crew_hash16(uint16_t folded)
{
	const uint32_t key = CREW_KEY_HI << 8 | CREW_KEY_LO, twice = key << 16 | key;
	uint32_t hash = 0;

	for (unsigned b = 0; b < 16; b++)
		hash ^= (folded >> (15 - b) & 1) != 0 ? twice << b : 0;
	return hash >> 16;
}

/* 16 of the 32 bits; the others are the same again. Symmetric in the two ends. What all IPv4 addresses have in common
 * here cancels itself out, so that both families are hashed as devices do it. */
static inline uint32_t crew_hash(const uint8_t a[16], const uint8_t b[16], uint16_t port_a, uint16_t port_b)
{
	uint64_t w[4];

	memcpy(w, a, 16);
	memcpy(w + 2, b, 16);
	return crew_hash16(
		(uint16_t)(__builtin_bswap16(crew_hash_fold(w[0] ^ w[1] ^ w[2] ^ w[3])) ^ port_a ^ port_b));
}

static inline uint16_t crew_by_hash(const struct crew *c, uint32_t hash)
{
	return (uint16_t)((hash & (CREW_TABLE - 1)) % c->n);
}

/* Whether this engine owns the flow by its hash. Always, without a crew. */
static inline bool crew_is_mine(
	const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer)
{
	return cv_likely(e->crew == NULL) ||
		crew_by_hash(e->crew, crew_hash(local->addr, peer->addr, local->port, peer->port)) == e->worker;
}

/* The owner of a TCP flow, pinned ones included. */
uint16_t crew_flow_owner(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
/* Worker 0 takes a flow that hashes elsewhere, as long as there is room for such. No effect on one that does not. */
bool crew_may_pin(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
void crew_pin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
void crew_unpin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);

/* UDP. A socket of this worker is to be bound to the port: -1, it may; else the worker that the port belongs to. alike: not 0
 * if it shares the port by SO_REUSEPORT, and then the same number for all that are bound to the same. */
int crew_udp_claim(struct engine *e, uint16_t port, uint64_t alike);
/* What this worker has there now: sockets at all, one without a peer. */
void crew_udp_state(struct engine *e, uint16_t port, bool any, bool open);
/* Whether sockets with a peer must be pinned there. */
bool crew_udp_is_spread(const struct engine *e, uint16_t port);
bool crew_udp_pin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
void crew_udp_unpin(struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
/* Which workers have sockets on the port, a bit each. */
uint32_t crew_udp_workers(const struct engine *e, uint16_t port);
/* Whose a datagram is that is sent to one. */
uint16_t crew_udp_owner(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);

/* A listener on all workers: what each has waiting counts against one backlog. Worker 0: a number for it; 0: none is left,
 * each worker counts for itself. */
uint32_t crew_listener_new(struct engine *e);
void crew_listener_end(struct engine *e, uint32_t listener);
/* What waits with this worker; with all of them, the others' a moment late. */
void crew_waiting_set(struct engine *e, uint32_t listener, uint32_t n);
uint32_t crew_waiting(const struct engine *e, uint32_t listener);

/* Hands m over; drops and counts it when the ring is full. m must not refer to a program's memory. */
void crew_hand_over(struct engine *e, uint16_t to, struct rte_mbuf *m, enum crew_packet kind);
/* A copy of m (and of its struct pkt) for every other worker. */
void crew_tell_all(struct engine *e, const struct rte_mbuf *m, enum crew_packet kind);
/* A copy that refers to nobody's memory, struct pkt included; NULL without buffers. */
struct rte_mbuf *crew_copy(struct engine *e, const struct rte_mbuf *m);
/* In order. A message that finds its ring full is kept until there is room; when CREW_UNSENT_MAX
 * wait so, it is refused: false, counted (drop_message). For what can be done without or be refused
 * to who asked for it. */
bool crew_send(struct engine *e, uint16_t to, const struct crew_message *msg);
/* The same without that limit (false: memory is short), for what ends or answers something that an
 * earlier message began: lost, the other side would keep it for ever, and nobody is left to be told
 * no. Who sends such says why they are few. */
bool crew_send_owed(struct engine *e, uint16_t to, const struct crew_message *msg);
/* Whether crew_send() takes another message for each worker. Always, without a crew. */
bool crew_has_room(const struct engine *e);
/* To every other worker. A message that does not get there is forgotten. */
void crew_send_all(struct engine *e, const struct crew_message *msg);

/* The turn: what the others put for this worker. Messages of a worker that were posted before a packet are seen before
 * it. Returns how much there was. */
uint32_t crew_receive(struct engine *e);
/* Whether there is something. */
bool crew_pending(const struct engine *e);
/* The end of the turn: wakes those for whom something was put. */
void crew_wake(struct engine *e);

#endif
