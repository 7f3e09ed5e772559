/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A socket, as its user sees it and as every protocol provides it.
 *
 * Owns: the object's common part, its receive queue and send queue, readiness, pending error. Does
 * not own: protocol state (struct tcp_sock, struct udp_sock embed this first), the shared segment
 * (stack/user/).
 * Called by: stack/user/ and tests from above, the protocols from below, always on the worker that
 * owns the socket.
 *
 * Effects towards the user are queued: a protocol calls sock_event(); at the end of the turn the
 * engine reports each such socket once (engine.h, sock_event). Never a call up from inside a step.
 *
 * Errors are -enum cv_error (stack/api/error.h).
 */
#ifndef CULVERT_SOCK_SOCK_H
#define CULVERT_SOCK_SOCK_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/api/command.h"
#include "stack/api/error.h"
#include "stack/api/option.h"
#include "stack/api/segment.h"
#include "stack/base/list.h"
#include "stack/core/engine.h"
#include "stack/net/ip.h"

/* A send buffer: bytes of a user that the engine refers to until they are acknowledged (stream) or
 * gone (datagram) and no device holds them. Whoever makes one fills data, len, release and ctx.
 * The protocol attaches it to mbufs (rte_pktmbuf_attach_extbuf with shinfo), which count as
 * references. release is called once, when the last reference is gone, on the worker. */
struct txbuf {
	struct list node; /* in the socket's send queue */
	struct rte_mbuf_ext_shared_info shinfo;
	const uint8_t *data;
	uint32_t len;
	uint32_t flags; /* enum cv_cmd_flags */
	struct cv_endpoint peer; /* datagram: destination, when has_peer */
	bool has_peer;
	const struct cv_send_with *with; /* datagram: what it alone is sent with, NULL: nothing; during sock_send() only */
	void (*release)(struct txbuf *b, void *ctx);
	void *ctx;
	uint64_t cookie; /* the maker's */
	uint32_t seq;    /* the protocol's: sequence number of the first byte (stream) */
};

#define SOCK_RX_FAIR_SHARE 64u /* packets that a socket may hold however short buffers are */

struct sock_proto; /* table of functions, one per protocol */

/* Two ends, as a protocol's table of connections has them (stack/tcp/tcp_table.c). */
struct sock_flow {
	struct sock_flow *next; /* in the same bucket */
	struct cv_endpoint local, peer;
	uint8_t kind; /* the protocol's: what it is the flow of */
	bool reuseaddr, reuseport; /* as they were when it was entered */
	uint32_t hash; /* of the ends */
};

/* What a listener has: established connections that nobody took, by sock.node. */
struct sock_accepts {
	struct list queue;
	uint32_t n, lent, backlog;
	uint32_t crew; /* its number among those of several workers (crew_listener_new()); 0: its queue is all */
};

struct sock {
	const struct sock_proto *proto;
	struct engine *engine;
	void *user; /* of whoever attached itself; NULL: nobody reads this socket any more */
	union { /* a connection is found by its ends */
		struct sock_flow flow;
		struct {
			struct sock_flow *flow_next;
			struct cv_endpoint local, peer;
		};
	};
	struct list dirty_node;  /* in engine.dirty */
	struct list output_node; /* in engine.output */
	uint8_t type;   /* enum cv_type */
	uint8_t family; /* enum cv_family it was opened with */
	bool v6only, reuseaddr, reuseport;
	bool lowat;     /* what is not sent yet bounds what may be queued: sock_unsent() */
	uint8_t error;  /* enum cv_error: latest */
	uint32_t error_seq;
	uint32_t status; /* enum cv_status, kept by the protocol */

	/* receive: packets in order, headers cut off, payload in the mbuf's data (chains allowed; for
	 * datagrams one chain is one datagram, struct pkt tells addresses) */
	struct pktq rxq;
	uint32_t rxq_bytes;  /* in rxq */
	uint32_t rx_lent;    /* taken from rxq by the user and not yet consumed */
	uint32_t rcvbuf, sndbuf;

	/* send: bytes taken by sock_send() and acknowledged (datagram: gone) since the start */
	uint64_t tx_taken, tx_acked;
	uint64_t rx_urgent_pos; /* stream position of the urgent byte, with CV_ST_URGENT */

	struct list node; /* in a listener's queue; of those that are in none: the protocol's */
	struct sock_accepts *accepts; /* of a listener; the protocol's, in an object of its own */
};
static_assert(offsetof(struct sock, local) == offsetof(struct sock, flow.local) &&
		      offsetof(struct sock, peer) == offsetof(struct sock, flow.peer),
	"two names of one thing");

struct sock_proto {
	const char *name;
	int (*bind)(struct sock *sk, const struct cv_endpoint *local);
	int (*listen)(struct sock *sk, uint32_t backlog);
	int (*connect)(struct sock *sk, const struct cv_endpoint *peer);
	int (*disconnect)(struct sock *sk);
	int (*send)(struct sock *sk, struct txbuf *b);
	int (*extend)(struct sock *sk, struct txbuf *b, uint32_t n, uint32_t flags); /* may be NULL */
	void (*shutdown_wr)(struct sock *sk);
	void (*close)(struct sock *sk, bool abort);
	void (*consumed)(struct sock *sk, uint32_t bytes);
	int (*setopt)(struct sock *sk, enum cv_option opt, const void *value, uint32_t len);
	int (*getopt)(struct sock *sk, enum cv_option opt, void *value, uint32_t *len);
	/* What a user wants to know besides of a datagram in its queue; false: nothing. May be NULL. */
	bool (*rx_extra)(const struct sock *sk, const struct rte_mbuf *m, struct cv_rxd_extra *extra);
	void (*output)(struct sock *sk); /* end of turn, socket was on engine.output */
	uint32_t (*unsent)(const struct sock *sk, uint32_t *lowat); /* NULL: sk->lowat is never set */
	uint16_t (*device)(const struct sock *sk); /* the ifindex it is bound to, 0: none. May be NULL */
	void *(*listener_copy)(const struct sock *sk);                                     /* may be NULL */
	int (*listener_mirror)(struct sock *sk, const void *copy, uint32_t backlog); /* same */
};

/* --- for users ------------------------------------------------------------------------------- */

/* A new socket of family and type, in *out. -CV_EPROTONOSUPPORT, -CV_ENOBUFS (limit reached). */
int sock_open(struct engine *e, uint8_t family, uint8_t type, struct sock **out);
int sock_bind(struct sock *sk, const struct cv_endpoint *local);
int sock_listen(struct sock *sk, uint32_t backlog);
/* Stream: starts the handshake, 0 when begun; the outcome is in status and error. */
/* What a listener's connections take from it, for its replicas on other workers, to be freed; NULL when memory is short. */
void *sock_listener_copy(const struct sock *sk);
/* Makes a new socket the replica of such a listener, or one that is it already. */
int sock_listener_mirror(struct sock *sk, const void *copy, uint32_t backlog);
int sock_connect(struct sock *sk, const struct cv_endpoint *peer);
int sock_disconnect(struct sock *sk); /* connect(AF_UNSPEC) */
/* Queues b. On success b belongs to the socket until release; on error nothing was kept. Accepts
 * beyond sndbuf (the user's side holds to it); -CV_EPIPE, -CV_ENOTCONN, -CV_EMSGSIZE ... */
int sock_send(struct sock *sk, struct txbuf *b);
/* b, which sock_send() took, has n bytes more at its end. -CV_EINVAL when it is not the last one that waits to be
 * acknowledged any more, and as sock_send(). Streams only. */
int sock_extend(struct sock *sk, struct txbuf *b, uint32_t n, uint32_t flags);
void sock_shutdown_wr(struct sock *sk);
/* The user lets go of the socket for good: sk->user = NULL. Unread data or abort: RST. The object
 * lives on until the protocol is done and must not be touched by the user again. A listener takes
 * its unaccepted connections along (RST). */
void sock_close(struct sock *sk, bool abort);
/* Next connection of a listener, NULL if none. It belongs to the caller; adds one to accepts->lent,
 * which the caller takes back by sock_accept_done() when the program has it. */
struct sock *sock_accept(struct sock *listener);
void sock_accept_done(struct sock *listener);
/* The listener is one of several workers' (crew.h), by this number; 0: no longer. */
void sock_listener_share(struct sock *listener, uint32_t number);
/* n or lent has changed. */
void sock_accepts_changed(struct sock *listener);
/* How many wait in its queue. */
static inline uint32_t sock_accepts_n(const struct sock *sk)
{
	return sk->accepts != NULL ? sk->accepts->n : 0;
}
/* Takes the oldest received packet (or datagram) out of the queue, NULL if none. Its bytes count
 * against rcvbuf until sock_consumed(). The caller frees the mbuf. */
struct rte_mbuf *sock_recv_take(struct sock *sk);
void sock_consumed(struct sock *sk, uint32_t bytes);
/* Of a datagram that was taken: it is several of so many bytes each (UDP_GRO), 0: one. */
static inline uint32_t sock_rx_segment(const struct rte_mbuf *m)
{
	uint32_t segment = pkt_of((struct rte_mbuf *)(uintptr_t)m)->seq;

	return rte_pktmbuf_pkt_len(m) > segment ? segment : 0;
}
static inline bool sock_rx_extra(
	const struct sock *sk, const struct rte_mbuf *m, struct cv_rxd_extra *extra)
{
	return sk->proto->rx_extra != NULL && sk->proto->rx_extra(sk, m, extra);
}
/* Copies up to len bytes out and consumes them; returns how many. For tests. */
uint32_t sock_recv_copy(struct sock *sk, void *buf, uint32_t len);
int sock_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len);
int sock_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len);

/* With sk->lowat: the bytes that were taken and not sent, and below how many of them more may be queued. */
static inline uint32_t sock_unsent(const struct sock *sk, uint32_t *lowat)
{
	return sk->proto->unsent(sk, lowat);
}

/* An endpoint of the engine's (sk->local, struct pkt's) as users know it: without the scope in its bytes. */
void sock_endpoint_out(struct cv_endpoint *to, const struct cv_endpoint *from);

/* --- for protocols --------------------------------------------------------------------------- */

void sock_init(struct sock *sk, struct engine *e, const struct sock_proto *proto, uint8_t family,
	uint8_t type);
/* Queue for the user's attention at the end of the turn. Cheap when already queued. */
static inline void sock_event(struct sock *sk)
{
	if (sk->user != NULL && list_empty(&sk->dirty_node))
		list_add_tail(&sk->engine->dirty, &sk->dirty_node);
}
/* Queue for proto->output at the end of the turn. */
static inline void sock_output_later(struct sock *sk)
{
	if (list_empty(&sk->output_node))
		list_add_tail(&sk->engine->output, &sk->output_node);
}
/* The same, when the port's device has room again. */
void sock_output_wait(struct sock *sk, struct port *port);
void sock_set_error(struct sock *sk, enum cv_error error);
/* Appends a received packet for the user. */
static inline void sock_rx_queue(struct sock *sk, struct rte_mbuf *m)
{
	sk->rxq_bytes += rte_pktmbuf_pkt_len(m);
	sk->engine->rx_held += m->nb_segs;
	pktq_push(&sk->rxq, m);
	sock_event(sk);
}
/* True when unread packets hold too much of the packet pool, some of them this socket's user's, and this socket more than its
 * share, which is the less the more they hold, and nothing from one and a half times that much on: what is new must be dropped,
 * so that one user who does not read, however many sockets he has, cannot stop the others. */
static inline bool sock_rx_refuse(const struct sock *sk)
{
	const struct engine *e = sk->engine;
	uint32_t held = e->rx_held, max = e->rx_held_max, rest;

	if (held <= max || (sk->user != NULL && e->user_keeps_up != NULL && e->user_keeps_up(sk)))
		return false;
	rest = held - max < max / 2 ? max / 2 - (held - max) : 0;
	return rest == 0 || sk->rxq.n > (uint64_t)SOCK_RX_FAIR_SHARE * rest / (max / 2);
}
/* Takes it off the engine's lists; call before the object is freed. */
void sock_fini(struct sock *sk);
void txbuf_get(struct txbuf *b);
void txbuf_put(struct txbuf *b); /* the last one calls release */

#endif
