/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP (RFC9293 with 4987, 5681, 5961, 6056, 6191, 7413, 6298, 6528, 6582, 6675, 7323, 2018).
 *
 * Owns: connections, listeners, TIME_WAIT, the tables that find them. Does not own: the socket's common
 * part (stack/sock/), IP (stack/net/).
 * Called by: the composition root, stack/sock/ through tcp_proto, stack/net/ with packets.
 * Invariant: an object is freed only by tcp_leave(), the last thing of every entry, so no step sees a
 * freed connection.
 */
#ifndef CULVERT_TCP_TCP_H
#define CULVERT_TCP_TCP_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "stack/api/command.h"
#include "stack/base/list.h"
#include "stack/base/pool.h"
#include "stack/base/seq.h"
#include "stack/base/siphash.h"
#include "stack/base/wheel.h"
#include "stack/core/engine.h"
#include "stack/core/pkt.h"
#include "stack/net/ip.h"
#include "stack/sock/sock.h"
#include "stack/wire/tcp.h"

#define US 1000ull
#define MS 1000000ull
#define SEC 1000000000ull
#define TCP_RTO_MIN (200 * MS)
#define TCP_RTO_INITIAL (1 * SEC)
#define TCP_RTO_MAX (120 * SEC)
#define TCP_DELACK (40 * MS)
#define TCP_HELD_MAX (200 * MS) /* a small segment waits for more (tcp(7), TCP_CORK) */
#define TCP_2MSL (60 * SEC)
#define TCP_SNDBUF_LEAST (64u << 10) /* of those that grow by themselves */
#define TCP_SACK_ACKS 16u /* that one turn may send to tell of many gaps */
#define TCP_LONG_PATH_US 1000u /* a round trip that is more than the wheel's tick */
#define TCP_COPY_MAX 256u /* payload up to this is copied behind the header */
#define TCP_PIECES_MAX 6u
#define TCP_CHAIN_MAX 32u /* pieces of a super-segment */
#define TCP_SEGS_PER_TURN 64u
#define TCP_CHALLENGES_PER_SECOND 1000u /* on the average; of the engine */
#define TCP_REFUSED_ACK_MS 500u /* between ACKs that answer what is not acceptable and has no data */
#define TCP_MSS_DEFAULT 536u
#define TCP_MSS_DEFAULT_V6 1220u
#define TCP_INITIAL_WINDOW 10u
#define TCP_TW_REUSE_MS 2u /* our timestamp clock has ticked since: RFC6191 */

enum tcp_state {
#define X(name, number) TCP_##name,
#include "stack/tcp/tcp_state.def"
#undef X
	TCP_STATES
};

/* Deadlines of one connection; one wheel timer serves all (see tcp_timer.c). */
enum tcp_timer {
	TCP_T_REXMT,   /* retransmission, or probe of a zero window */
	TCP_T_DELACK,
	TCP_T_KEEP,    /* keepalive */
	TCP_T_LINGER,  /* orphan in FIN_WAIT_2; deferred accept */
	TCP_T_REO,     /* what is missing may only be late (RFC8985:6.2), or a last word is (tcp_recovery.c) */
	TCP_TIMERS
};

/* What a pair of ends finds: struct sock_flow's kind. */
enum tcp_flow_kind { TCP_FLOW_SOCK, TCP_FLOW_EMBRYO, TCP_FLOW_TW };

/* Connections and TIME_WAITs on one local port: those that stand in the way of bind(). */
struct tcp_port_use {
	uint32_t all, no_reuseaddr, no_reuseport;
};
#define TCP_PORT_SLOTS 4u /* half for IPv4, half for IPv6: local addresses by their last bit */
struct tcp_port {
	struct tcp_port_use use[TCP_PORT_SLOTS];
};
#define TCP_NEXT_PORTS 256u /* RFC6056:3.3.4's table */

struct tcp_sock;
struct tcp_xmit;
struct tcp_loss;
struct tcp_ooo;
struct tcp_pace;
struct tcp_plpmtud;

/* What happens to a connection besides ACKs, for its congestion control. */
enum tcp_cc_event {
	TCP_CC_RTO,  /* the retransmission timer ended; cwnd is one segment */
	TCP_CC_UNDO, /* the last reduction was for nothing; cwnd and ssthresh are what they were */
	TCP_CC_IDLE, /* a long silence has ended; cwnd is what is left of it */
};

/* An algorithm of congestion control: how the window grows and what a loss makes of it (RFC5681 terms; bytes). It
 * keeps what it must know in cc_priv, all zeros at first. Between the loss and the end of recovery cwnd is not its
 * concern (tcp_recovery.c). NULL for what it does not want to know. */
struct tcp_cc {
	const char *name;
	bool ecn; /* asks for ECN whatever the configuration says */
	void (*init)(struct tcp_sock *tp);
	/* Outside recovery, with cwnd full: may grow it. */
	void (*acked)(struct tcp_sock *tp, uint32_t bytes);
	/* The round trip of a segment, while in slow start. */
	void (*rtt)(struct tcp_sock *tp, uint32_t rtt_us);
	/* With ECN: bytes from snd_una on are acknowledged, or none; marked: the ACK echoes a mark. */
	void (*delivered)(struct tcp_sock *tp, uint32_t bytes, bool marked);
	/* Of a congestion event that begins: the new ssthresh, after a loss, and after a mark (NULL: the same). */
	uint32_t (*ssthresh)(struct tcp_sock *tp);
	uint32_t (*marked)(struct tcp_sock *tp);
	void (*event)(struct tcp_sock *tp, enum tcp_cc_event event);
};
#define TCP_CC_PRIV 32

/* Ordered by who touches what, line by line: a segment on its way in or out meets the first part only, whose end is where
 * the prefetch of tcp_input.c ends. Each byte is paid for by every idle connection: what only one in trouble needs is in
 * struct tcp_loss, what only a listener needs in struct tcp_listener; times that need not be exact are milliseconds. */
struct tcp_sock {
	struct sock sk;

	/* every segment: what is received */
	uint8_t state; /* enum tcp_state; only tcp_set_state() writes it */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t sack_ok : 1, ts_ok : 1, wscale_ok : 1, closed : 1 /* the user let go */,
		hashed : 1, in_recovery : 1, rto_recovery : 1, timing : 1;
	uint8_t ack_now : 1, fin_queued : 1, fin_sent : 1, fin_received : 1, nodelay : 1, cork : 1,
		quickack : 1, persist : 1;
	uint8_t cwnd_limited : 1 /* cwnd was full in the present window of data */,
		reordering : 1 /* of our segments was seen */,
		pingpong : 1 /* our data answers the peer's: an ACK may wait for it (delayed ACK) */,
		ecn_ok : 1 /* agreed upon */, ecn_seen : 1 /* and a capable packet came */, ecn_echo : 1 /* our ACKs say ECE */,
		ecn_cwr : 1 /* new data is to say CWR */,
		ecn_told : 1 /* the reduction that begins is for a mark */;
	uint8_t ack_pending; /* data segments not yet acknowledged */
	uint8_t dup_owed;
	uint32_t rcv_nxt, rcv_wnd, rcv_adv /* right edge last advertised */;
	uint32_t last_ack_sent; /* RFC7323:4.3's Last.ACK.sent */
	uint32_t ts_recent, ts_offset;
	uint32_t ts_recent_ms; /* when it was set */
	uint32_t last_rx_ms;

	/* what is sent and acknowledged */
	uint32_t snd_una, snd_nxt, snd_max, snd_wnd, snd_wl1, snd_wl2;
	uint32_t snd_end; /* sequence number behind the last byte queued, */
	uint32_t snd_sml; /* behind the last segment sent that was less than an MSS */
	uint32_t max_wnd;
	uint32_t mss; /* payload bytes of a segment without options but timestamps */
	uint32_t cwnd, ssthresh;
	uint32_t ecn_until; /* marks of data below it were answered already */
	uint32_t cwnd_used, cwnd_used_seq; /* the most under way in the window that ends there */
	uint32_t rto_us, pto_us /* until a tail loss probe; rto_us where there is none */;
	uint32_t fastopen_keys; /* TCP_FASTOPEN_KEY: tcp_fastopen.c's number of them, 0: the engine's */
	struct list txq;      /* txbufs not fully acknowledged */
	struct txbuf *cursor; /* hint: where the last segment was cut from */
	struct tcp_xmit *xmit, *xmit_last; /* what is under way, with the time; NULL: nothing, or no records */
	struct tcp_loss *loss; /* NULL: nothing that we sent is missing (tcp_loss.h) */
	struct tcp_ooo *ooo;   /* NULL: nothing waits for a gap to close */
	struct tcp_plpmtud *plpmtud; /* NULL: the path takes what it says */
	struct tcp_pace *pace; /* NULL: what may be sent is sent at once */
	const struct tcp_cc *cc;
	uint32_t deadline[TCP_TIMERS]; /* tcp_deadline(); 0: not set */
	uint32_t rtt_seq;
	uint64_t rtt_start;
	uint64_t last_data_tx_ns;
	uint32_t last_data_rx_ms;
	uint32_t retrans_start_ms; /* first retransmission of what is unacknowledged; 0 none */
	uint8_t backoff, probes, probes_out /* since the peer last answered */, keep_probes;
	uint8_t soft_error;
	uint8_t tos, ttl; /* ttl 0: as the path has it (IPv6 sockets) */
	uint8_t reo_mult; /* RACK's window for reordering, less 1: RFC8985:6.2 step 4; */
	struct ip_path path;
	uint32_t segs_in, segs_out, data_segs_in, data_segs_out;
	uint64_t rx_total, bytes_acked;
	uint32_t snd_up; /* behind the last urgent byte */
	uint32_t window_clamp;
	uint16_t pmtu;       /* that mss is made for */
	uint16_t send_epoch; /* tcp_sndbuf.c */
	uint32_t srtt_us;
	uint64_t cc_priv[TCP_CC_PRIV / 8];

	/* now and then */
	struct timer timer;
	uint32_t rttvar_us, min_rtt_us;
	uint32_t autotune_start; /* receive buffer autotuning: of this round trip (tcp_receive.c), */
	uint32_t rcv_copied, rcv_space; /* what its user took since; the most that it took in one */
	uint32_t refused_ack_ms; /* the last ACK that answered a segment without data, not acceptable */
	uint32_t dup_lo, dup_hi; /* received twice, not yet told (RFC2883); none: the same */
	uint64_t bytes_retrans;
	uint32_t total_retrans;
	uint32_t iss, irs;
	uint16_t peer_mss;
	uint8_t reo_persist;

	/* what the user wants */
	uint8_t keepalive : 1, rcvbuf_locked : 1, sndbuf_locked : 1, bound_port : 1, bound_addr : 1,
		oobinline : 1, broadcast : 1; /* kept and told, without meaning for a stream */
	uint8_t fastopen : 1,         /* of this connection: the program may send before the handshake is done */
		fastopen_waits : 1,   /* the SYN waits for data, or has gone with it */
		fastopen_connect : 1, /* TCP_FASTOPEN_CONNECT */
		ended : 1,            /* CLOSED after it was established: connected still, as Linux sees it */
		syn_data_acked : 1;   /* for TCP_INFO */
	uint8_t defer_accept; /* SYN-ACKs sent again while a listener waits for data, 0: it does not */
	uint8_t mtu_discover, syncnt, priority, keep_cnt;
	uint16_t keep_idle_s, keep_intvl_s;
	int16_t linger2_s;
	uint16_t user_mss;
	uint16_t fastopen_queue; /* TCP_FASTOPEN: how many of a listener may be open before the handshake is done */
	uint16_t port_first, port_last; /* IP_LOCAL_PORT_RANGE, 0: the engine's */
	uint32_t user_timeout_ms, notsent_lowat;
};
static_assert(sizeof(struct tcp_sock) <= 704, "a connection is small");
static_assert(offsetof(struct tcp_sock, snd_una) == 4 * 64 && offsetof(struct tcp_sock, xmit) <= 6 * 64 &&
		      offsetof(struct tcp_sock, timer) <= 9 * 64,
	"what every segment meets is nine lines");

/* What a socket has more while it listens. Connections of its that were opened fast have it, too, in SYN-RECEIVED. */
struct tcp_listener {
	struct sock_accepts accepts;
	struct list embryos;
	uint32_t embryos_n;
	bool closed; /* kept for the last of the */
	/* connections whose SYN was taken with its data; and those that were reset then */
	uint32_t fastopen_n, fastopen_resets;
	uint64_t fastopen_reset_ns;
	uint64_t cookie_ns; /* when it answered with a cookie last, 0 never */
};

/* SYN-RECEIVED of a passive open: what the SYN said and what we answered, until the handshake is done and a
 * connection is made of it (tcp_embryo.c). */
struct tcp_embryo {
	struct sock_flow flow;
	struct list node; /* of its listener's */
	struct tcp_sock *listener;
	struct timer timer;
	uint64_t since_ns;       /* the first SYN-ACK; 0: not known, it was a cookie; once acked: the round trip */
	uint32_t refused_ack_ms; /* as of a connection */
	uint32_t iss, irs, rcv_wnd;
	uint32_t ts_recent, ts_offset;
	uint16_t peer_mss;
	uint8_t snd_wscale, timeouts;
	uint8_t sack_ok : 1, ts_ok : 1, wscale_ok : 1, ecn_ok : 1,
		acked : 1,     /* the handshake is done, but data is waited for, or room */
		lost : 1,      /* a SYN-ACK was not answered in time */
		fo_cookie : 1; /* the SYN-ACK gives a Fast Open cookie */
};

/* TIME_WAIT: what is left of a connection (RFC9293:3.10.7.4, RFC6191). */
struct tcp_tw {
	struct sock_flow flow;
	struct timer timer;
	uint32_t snd_nxt, rcv_nxt, ts_recent, ts_offset;
	uint32_t since_ms;
	uint32_t refused_ack_ms; /* as of a connection */
	uint16_t wnd;
	bool ts_ok;
};

/* What a server makes cookies with: the first key; those of the second are taken, too (RFC7413:4.1.2). */
struct tcp_fastopen_keys {
	uint32_t n;
	struct siphash_key key[CV_FASTOPEN_KEYS_MAX];
};

/* What a client knows of a server (RFC7413:4.1.3.1). */
struct tcp_fastopen_peer {
	uint8_t addr[16];
	uint8_t cookie[WIRE_TCP_FO_MAX];
	uint8_t cookie_n, losses;
	uint16_t mss;
	uint64_t lost_ns;
};
#define TCP_FASTOPEN_PEERS 256u

#define TCP_BINDS 4096u

struct tcp {
	struct pool losses, ooos, runs, xmits, paces, plpmtuds; /* tcp_loss.h */
	struct pool fastopen_keys;
	struct pool socks, tws, embryos, listeners;
	struct engine_tcp_config config;
	struct sock_flow **flows; /* buckets */
	uint32_t flow_mask;
	uint32_t flows_gen; /* changes when a flow comes or goes */
	struct list binds[TCP_BINDS]; /* bound sockets and listeners by local port */
	struct tcp_port *ports;       /* by local port */
	struct siphash_key key;    /* of the flow table */
	struct siphash_key secret; /* of what strangers see */
	struct tcp_fastopen_keys fastopen; /* of listeners that have no keys of their own */
	struct tcp_fastopen_peer fastopen_peers[TCP_FASTOPEN_PEERS];
	uint64_t challenge_second;
	uint32_t challenges; /* left of this second */
	uint32_t ooo_n, ooo_max; /* packets that wait for gaps, all connections */
	uint64_t run_weight;     /* of the last one of their runs: a generator's state */
	uint8_t wscale; /* that we offer */
	uint32_t send_epoch, senders, senders_before; /* tcp_sndbuf.c */
	uint32_t next_port[TCP_NEXT_PORTS];
};

/* A parsed segment on its way through the steps. */
struct tcp_seg {
	struct wire_tcp h;
	struct rte_mbuf *m; /* payload; NULL once queued */
	uint32_t hash;      /* of its ends */
	uint32_t seq, len;  /* after trimming: of the payload */
	uint16_t segs;      /* on the wire: more than one when a burst's were merged (tcp_input.c) */
	bool fin;
	bool cut;           /* text that we have, or beyond the window, was left out: the peer is told where we are */
	bool reuse;         /* a SYN on the addresses of a connection in TIME_WAIT: */
	uint32_t reuse_iss; /* our number must begin behind that one's (RFC6191) */
};

/* What a step says to the driver. */
enum tcp_verdict {
	TCP_NEXT, /* go on with the next step */
	TCP_STOP, /* the segment is done with */
};

/* --- tcp.c */
int tcp_init(struct engine *e);
void tcp_fini(struct engine *e);
int tcp_open(struct engine *e, uint8_t family, struct sock **out);
/* Objects in use: connections, listeners and sockets; TIME_WAITs. */
void tcp_count(const struct engine *e, uint32_t *socks, uint32_t *time_waits);
extern const struct sock_proto tcp_proto;
struct tcp_sock *tcp_new(struct engine *e, uint8_t family);
/* The end of every entry: checks, frees what is over and nobody's. */
void tcp_leave(struct tcp_sock *tp);

static inline struct tcp_sock *tcp_of(struct sock *sk)
{
	return cv_container_of(sk, struct tcp_sock, sk);
}
static inline struct tcp_listener *tcp_listening(const struct tcp_sock *tp)
{
	return tp->sk.accepts != NULL ? cv_container_of(tp->sk.accepts, struct tcp_listener, accepts) : NULL;
}
static inline uint32_t tcp_ts_now(const struct tcp_sock *tp)
{
	return tp->sk.engine->now_ms + tp->ts_offset;
}
/* A time that a connection keeps in milliseconds, never 0. They come round after 49 days: what is asked is how long ago. */
static inline uint32_t tcp_now_ms(const struct engine *e)
{
	return e->now_ms | (e->now_ms == 0);
}

/* --- tcp_state.c */
const char *tcp_state_name(enum tcp_state s);
enum cv_tcp_state tcp_state_number(enum tcp_state s);
bool tcp_state_may(enum tcp_state from, enum tcp_state to);
/* The peer has a connection that an abort must end (RFC9293:3.10.5). */
bool tcp_state_needs_rst(enum tcp_state s);
/* The only way to change state: checks the table, keeps sk.status, wakes the user. */
void tcp_set_state(struct tcp_sock *tp, enum tcp_state to, const char *why);
/* Ends the connection: timers, queues, table entries; error CV_OK for a normal end. */
void tcp_done(struct tcp_sock *tp, enum cv_error error, const char *why);
/* True, or *why says what is inconsistent. */
bool tcp_consistent(const struct tcp_sock *tp, const char **why);

/* --- tcp_table.c */
/* f->hash is that of its ends. */
void tcp_flow_add(struct engine *e, struct sock_flow *f);
void tcp_flow_del(struct engine *e, struct sock_flow *f);
/* `by`, of which only the kind is set, takes the place of old, of the same ends. */
void tcp_flow_replace(struct engine *e, struct sock_flow *old, struct sock_flow *by);
struct sock_flow *tcp_flow_find(
	struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
/* The same in two steps, for bursts. */
uint32_t tcp_flow_hash(
	const struct tcp *t, const struct cv_endpoint *local, const struct cv_endpoint *peer);
struct sock_flow *tcp_flow_at(const struct tcp *t, uint32_t hash, const struct cv_endpoint *local,
	const struct cv_endpoint *peer);
static inline struct sock_flow **tcp_flow_bucket(const struct tcp *t, uint32_t hash)
{
	return &t->flows[hash & t->flow_mask];
}
struct tcp_sock *tcp_listener_find(
	struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
int tcp_port_bind(struct tcp_sock *tp, const struct cv_endpoint *local);
/* Without a question: it is bound there already. */
void tcp_port_keep(struct tcp_sock *tp, const struct cv_endpoint *local);
void tcp_port_unbind(struct tcp_sock *tp);
/* An unused local port towards peer, 0 when there is none. */
uint16_t tcp_port_choose(struct tcp_sock *tp, const struct cv_endpoint *peer);
/* Where a connection's numbers begin (RFC6528), and its timestamps: the same offset for one pair of ends, so that they go on
 * where an earlier connection's ended. */
struct tcp_numbers {
	uint32_t iss, ts_offset;
};
struct tcp_numbers tcp_numbers(const struct engine *e, const struct cv_endpoint *local, const struct cv_endpoint *peer);
/* Somebody else listens where tp is bound. */
bool tcp_port_is_listened(const struct tcp_sock *tp);

/* --- tcp_user.c */
/* Enters the table of flows, with the hash that stands in sk.flow, and sets the numbers up. */
void tcp_connection_begin(struct tcp_sock *tp, struct tcp_numbers numbers);
/* Forgets the connection that was, so that another can begin on the same socket. */
void tcp_start_over(struct tcp_sock *tp);

/* --- tcp_input.c, tcp_steps.c, tcp_predict.c */
void tcp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n);
void tcp_icmp_error(struct engine *e, const struct icmp_error *err);
/* Puts the FIN behind what is queued and moves the state along. */
void tcp_fin_queue(struct tcp_sock *tp);
/* Two ends that each find the other's ACKs not acceptable would go on for ever: of such segments without data one in
 * TCP_REFUSED_ACK may be answered, as Linux has it. *last: when one was, 0 never. */
static inline bool tcp_refused_may_ack(
	const struct engine *e, uint32_t *last, const struct tcp_seg *s)
{
	if ((s->len > 0 || s->fin) && !(s->h.flags & TCP_SYN))
		return true;
	if (*last != 0 && e->now_ms - *last < TCP_REFUSED_ACK_MS)
		return false;
	*last = tcp_now_ms(e);
	return true;
}
/* Whatever becomes of it (as Linux counts for TCP_INFO). */
static inline void tcp_segs_count(struct tcp_sock *tp, const struct tcp_seg *s)
{
	tp->segs_in += s->segs;
	if (s->len > 0)
		tp->data_segs_in += s->segs;
}
/* A segment for tp, which may be gone afterwards. */
void tcp_steps(struct tcp_sock *tp, struct tcp_seg *s);
/* The same in short. False: it is not what nearly all are, and nothing was done. */
bool tcp_predict(struct tcp_sock *tp, struct tcp_seg *s);
/* Takes the timestamp over when the segment begins at or before what was acknowledged last (RFC7323:4.3). */
static inline void tcp_ts_recent_update(struct tcp_sock *tp, const struct wire_tcp *h)
{
	if (seq_gt(h->seq, tp->last_ack_sent))
		return;
	tp->ts_recent = h->tsval;
	tp->ts_recent_ms = tp->sk.engine->now_ms;
}
void tcp_syn_sent_input(struct tcp_sock *tp, struct tcp_seg *s);
void tcp_syn_options(struct tcp_sock *tp, const struct wire_tcp *h);
/* The peer knows that the connection stands: windows, timers. */
void tcp_established(struct tcp_sock *tp, const struct wire_tcp *h);

/* --- tcp_listen.c */
void tcp_listen_input(struct tcp_sock *lp, struct tcp_seg *s, const struct pkt *p);
/* -CV_ENOBUFS: too many listen. */
int tcp_listener_open(struct tcp_sock *lp, uint32_t backlog);
/* Ends what was not accepted. */
void tcp_listener_close(struct tcp_sock *lp);
/* sock_listener_copy(), sock_listener_mirror() */
void *tcp_listener_copy(const struct sock *sk);
int tcp_listener_mirror(struct sock *sk, const void *copy, uint32_t backlog);
bool tcp_accept_queue_is_full(const struct tcp_sock *lp);
/* s completes the handshake of r, which is on no list any more: the connection, in the accept queue. */
void tcp_child_begin(struct tcp_sock *lp, const struct tcp_embryo *r, struct tcp_seg *s);

/* --- tcp_embryo.c */
/* What a SYN says, and what we answer, but for the table of flows. */
void tcp_embryo_read(struct tcp_embryo *r, struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p);
/* The SYN-ACK. ts: what the timestamp says, if there is one. */
void tcp_embryo_answer(const struct tcp_embryo *r, uint32_t ts);
/* A SYN for a listener that has room. */
void tcp_embryo_begin(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p, bool fo_cookie);
void tcp_embryo_input(struct engine *e, struct tcp_embryo *r, struct tcp_seg *s);
void tcp_embryo_icmp(struct engine *e, struct tcp_embryo *r, const struct icmp_error *err);
/* No trace of it: its next segment finds nobody. */
void tcp_embryo_free(struct engine *e, struct tcp_embryo *r);

/* --- tcp_cookie.c (RFC4987:3.6) */
/* Answers the SYN without remembering it. */
void tcp_cookie_send(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p);
/* True: s acknowledges a cookie of ours, and *r says what the handshake agreed on. */
bool tcp_cookie_check(
	struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p, struct tcp_embryo *r);

/* --- tcp_fastopen.c */
enum tcp_fastopen {
	TCP_FASTOPEN_NONE,
	TCP_FASTOPEN_COOKIE, /* the SYN-ACK gives one */
	TCP_FASTOPEN_NOW,
	TCP_FASTOPEN_RENEW, /* and the SYN-ACK gives one of the key that is used now */
};
void tcp_fastopen_init(struct tcp *t);
/* TCP_FASTOPEN_KEY, in any state: bytes of one or two keys. -CV_EINVAL: of neither; -CV_ENOMEM. */
int tcp_fastopen_keys_set(struct tcp_sock *tp, const void *value, uint32_t len);
/* Bytes of the keys that were set; 0: none were. */
uint32_t tcp_fastopen_keys_get(const struct tcp_sock *tp, uint8_t out[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES]);
void tcp_fastopen_keys_drop(struct tcp_sock *tp);
enum tcp_fastopen tcp_fastopen_look(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p);
/* Puts the cookie that lp, or whoever has its keys, gives to the client into h. */
void tcp_fastopen_cookie_give(
	const struct tcp_sock *lp, const struct cv_endpoint *server, const struct cv_endpoint *client, struct wire_tcp *h);
/* tp was made of the SYN s: it counts as pending until tcp_fastopen_end(), which may be called at any time. */
void tcp_fastopen_begin(struct tcp_sock *lp, struct tcp_sock *tp, struct tcp_seg *s);
void tcp_fastopen_end(struct tcp_sock *tp, bool reset);
bool tcp_fastopen_is_offered(const struct engine *e);
/* Whether the SYN of a connect may wait for data (tp->fastopen_waits), or asks for a cookie. */
void tcp_fastopen_connect(struct tcp_sock *tp);
/* What our SYN says of it: puts the option into h and returns how many bytes of data go along. */
uint32_t tcp_fastopen_syn(struct tcp_sock *tp, struct wire_tcp *h);
/* What the SYN-ACK says of it. */
void tcp_fastopen_learn(struct tcp_sock *tp, const struct wire_tcp *h);

/* --- tcp_receive.c */
/* The connection stands: its buffer begins to follow what is read. */
void tcp_receive_begin(struct tcp_sock *tp);
/* Takes payload and FIN of an acceptable, trimmed segment. True: the FIN is now in order. */
bool tcp_receive_data(struct tcp_sock *tp, struct tcp_seg *s);
/* Cuts what lies outside the window; false when nothing acceptable is left (RFC9293:3.10.7.4). */
bool tcp_receive_trim(struct tcp_sock *tp, struct tcp_seg *s);
/* s, which is refused, may be a repeat of what we have: the peer is told (RFC2883). */
void tcp_receive_duplicate(struct tcp_sock *tp, const struct tcp_seg *s);
/* Frees what waits out of order, and what nobody will read. */
void tcp_receive_forget(struct tcp_sock *tp);
uint32_t tcp_receive_window(const struct tcp_sock *tp);
void tcp_receive_consumed(struct tcp_sock *tp, uint32_t bytes);

/* --- tcp_ack.c */
enum tcp_verdict tcp_ack_input(struct tcp_sock *tp, struct tcp_seg *s);

/* --- tcp_recovery.c; more in tcp_loss.h */
uint32_t tcp_pipe_in_loss(const struct tcp_sock *tp);
/* Bytes under way (RFC6675:4). */
static inline uint32_t tcp_pipe(const struct tcp_sock *tp)
{
	if (cv_likely(tp->loss == NULL))
		return tp->snd_max - tp->snd_una;
	return tcp_pipe_in_loss(tp);
}
/* An ACK of a connection without records moves snd_una on by bytes (tcp_holes.c). */
void tcp_holes_acked(struct tcp_sock *tp, const struct wire_tcp *h, uint32_t bytes);
/* The retransmission timer fired. */
void tcp_recovery_rto(struct tcp_sock *tp);
/* All that is under way goes again, without a word on congestion: the path takes less (RFC1191:6.5). */
void tcp_recovery_resend(struct tcp_sock *tp);
/* Congestion was told, not loss (RFC3168): the window falls to cc->ssthresh() as in a recovery, until what is under
 * way is acknowledged. False: a reduction is under way already. */
bool tcp_recovery_cwr(struct tcp_sock *tp);
/* What to retransmit next: false if nothing. */
bool tcp_recovery_next(struct tcp_sock *tp, uint32_t *seq, uint32_t *len);
/* It went. */
void tcp_recovery_sent(struct tcp_sock *tp, uint32_t seq, uint32_t len);

/* The device that the path begins with has no room now. */
static inline bool tcp_port_is_full(const struct tcp_sock *tp)
{
	return tp->path.port != NULL && tp->path.port->device->tx_full;
}

/* --- tcp_cc.c */
#define X(name) extern const struct tcp_cc tcp_cc_##name;
#include "stack/core/tcp_congestion.def"
#undef X
const struct tcp_cc *tcp_cc_default(const struct engine_tcp_config *config);
/* NULL: there is none of that name. */
const struct tcp_cc *tcp_cc_find(const char *name);
/* Begins anew with tp->cc. */
void tcp_cc_init(struct tcp_sock *tp);
/* After new data was sent, or none could be. limited: more waits, and cwnd alone is in its way. */
void tcp_cc_sent(struct tcp_sock *tp, bool limited);
/* Data is about to be sent after nothing was under way (RFC5681:4.1). */
void tcp_cc_restart(struct tcp_sock *tp);
/* A congestion event begins: the new ssthresh (RFC5681:3.1 (4)). cwnd is the caller's. */
uint32_t tcp_cc_reduce(struct tcp_sock *tp);
void tcp_cc_event(struct tcp_sock *tp, enum tcp_cc_event event);
/* What was not needed need not be larger: in slow start the window may reach twice what was under way. */
static inline bool tcp_cc_is_limited(const struct tcp_sock *tp)
{
	return tp->cwnd_limited || (tp->cwnd < tp->ssthresh && tp->cwnd < 2 * tp->cwnd_used);
}
void tcp_cc_grow(struct tcp_sock *tp, uint32_t bytes, const struct wire_tcp *h);
/* bytes were acknowledged by h (or NULL), outside recovery. A window that was not used does not grow (RFC7661:4.3), nor does one for
 * which our own device has no room: what is sent beyond would only wait there. */
static inline void tcp_cc_acked(struct tcp_sock *tp, uint32_t bytes, const struct wire_tcp *h)
{
	if (tcp_cc_is_limited(tp) && !tcp_port_is_full(tp))
		tcp_cc_grow(tp, bytes, h);
}
/* FlightSize (RFC5681:2), what a reduction starts from, as it was when the turn began: ACKs of this turn have taken some of it
 * away, and while more waits the end of each turn fills it again. No more than cwnd, which a recovery may exceed. */
static inline uint32_t tcp_cc_flight(const struct tcp_sock *tp)
{
	uint32_t flight = tp->snd_max - tp->snd_una;

	if (seq_gt(tp->snd_end, tp->snd_max) && flight < tp->cwnd_used)
		flight = tp->cwnd_used;
	return flight < tp->cwnd ? flight : tp->cwnd;
}
/* The slow start of an algorithm: up to ssthresh; what of bytes is left. */
uint32_t tcp_slow_start(struct tcp_sock *tp, uint32_t bytes);
uint32_t tcp_cubic_root(uint64_t n);

/* --- tcp_ecn.c */
/* Of our SYN. */
uint8_t tcp_ecn_syn_flags(const struct tcp_sock *tp);
void tcp_ecn_answered(struct tcp_sock *tp, const struct wire_tcp *h);
/* Whether a listener agrees to the SYN's wish. */
bool tcp_ecn_accepts(const struct tcp_sock *lp, const struct wire_tcp *h, uint8_t tos);
/* For the two bits of the IP header, with ecn_ok. */
uint8_t tcp_ecn_codepoint(const struct tcp_sock *tp, uint32_t seq, uint32_t len);
/* Acceptable text has come, with ecn_ok; not yet taken. */
void tcp_ecn_received(struct tcp_sock *tp, const struct tcp_seg *s);
/* An acceptable ACK that is not old, before anything else is made of it, with ecn_ok. */
void tcp_ecn_ack(struct tcp_sock *tp, const struct wire_tcp *h);

/* --- tcp_output.c, tcp_segment.c */
void tcp_output(struct sock *sk);
void tcp_syn_send(struct tcp_sock *tp);
void tcp_ack_send(struct tcp_sock *tp);
void tcp_probe_send(struct tcp_sock *tp, uint32_t seq);
void tcp_rst_send(struct tcp_sock *tp);
bool tcp_segment_send(struct tcp_sock *tp, uint32_t seq, uint32_t len, uint8_t flags);
/* Payload of the largest segment that the path's port takes (port.h): the MSS, or many of them. */
uint32_t tcp_segment_max(const struct tcp_sock *tp);
/* As much of [seq, seq + len), more than an MSS, as is worth one chain of buffers: whole segments. */
uint32_t tcp_segment_fit(struct tcp_sock *tp, uint32_t seq, uint32_t len);
/* Answers a segment that no connection is there for (RFC9293:3.10.7.1). */
void tcp_rst_reply(struct engine *e, const struct pkt *p, const struct tcp_seg *s);
/* An ACK or RST without a connection object behind it. */
void tcp_raw_send(struct engine *e, const struct cv_endpoint *from, const struct cv_endpoint *to,
	const struct wire_tcp *h);
/* The same, with the path that was found and what the IP header says. */
void tcp_path_send(struct engine *e, const struct ip_path *path, const struct cv_endpoint *from,
	const struct cv_endpoint *to, const struct wire_tcp *h, uint8_t tos, uint8_t ttl);
/* The MSS option towards peer (RFC9293:3.7.1), and what holds when the peer sends none. */
uint16_t tcp_mss_offer(const struct ip_path *path, const uint8_t peer[16], uint16_t user_mss);
uint16_t tcp_mss_default(const uint8_t peer[16]);
/* RFC5961: an ACK that asks the peer to prove itself; rate limited (7). */
void tcp_challenge_ack(struct tcp_sock *tp);
/* *last: when the connection was answered so last, 0 never. */
bool tcp_challenge_allowed(struct engine *e, uint32_t *last);
static inline uint32_t tcp_eff_mss(const struct tcp_sock *tp)
{
	return tp->mss;
}
void tcp_mss_update(struct tcp_sock *tp);
/* The same, if the path takes what it says. */
uint32_t tcp_mss_of_path(const struct tcp_sock *tp);
/* RFC6928. */
static inline uint32_t tcp_initial_window(const struct tcp_sock *tp)
{
	uint32_t mss = tcp_eff_mss(tp), iw = TCP_INITIAL_WINDOW * mss, most = 2 * mss > 14600 ? 2 * mss : 14600;

	return iw < most ? iw : most;
}

/* --- tcp_timer.c */
/* A deadline as a connection keeps it: in 16ths of the wheel's tick, rounded up, coming round after three days; never 0. */
#define TCP_DEADLINE_SHIFT (WHEEL_TICK_SHIFT - 4)
static inline uint32_t tcp_deadline(uint64_t at_ns)
{
	uint32_t at = (uint32_t)((at_ns + (1u << TCP_DEADLINE_SHIFT) - 1) >> TCP_DEADLINE_SHIFT);

	return at | (at == 0);
}
/* And back. */
static inline uint64_t tcp_deadline_ns(const struct engine *e, uint32_t deadline)
{
	uint64_t now = e->now_ns >> TCP_DEADLINE_SHIFT;

	return (now + (uint64_t)(int32_t)(deadline - (uint32_t)now)) << TCP_DEADLINE_SHIFT;
}
void tcp_timer_init(struct tcp_sock *tp);
void tcp_timer_set(struct tcp_sock *tp, enum tcp_timer t, uint64_t after_ns);
static inline bool tcp_timer_is_on(const struct tcp_sock *tp, enum tcp_timer t)
{
	return tp->deadline[t] != 0;
}
static inline void tcp_timer_stop(struct tcp_sock *tp, enum tcp_timer t)
{
	tp->deadline[t] = 0;
}
void tcp_timer_stop_all(struct tcp_sock *tp);
void tcp_rtt_sample(struct tcp_sock *tp, uint64_t rtt_ns);
void tcp_keepalive_restart(struct tcp_sock *tp);
/* FIN_WAIT_2 and nobody is here: the peer's FIN is not waited for for ever. */
void tcp_orphan_timer(struct tcp_sock *tp);
/* The retransmission timer as RFC6298:5 wants it after a change. */
void tcp_rexmt_update(struct tcp_sock *tp, bool restart);

/* --- tcp_sndbuf.c */
#define TCP_SNDBUF_BULK 32768u /* more waits than answers of a server usually have */
/* An ACK came for more than that: how much may wait from now on. The caller tells the user. */
void tcp_sndbuf_acked(struct tcp_sock *tp);
/* sock_unsent() */
uint32_t tcp_unsent(const struct sock *sk, uint32_t *lowat);

/* --- tcp_timewait.c */
void tcp_time_wait(struct tcp_sock *tp);
/* True when the segment is done with; false: a new SYN may use the addresses (object is gone). */
bool tcp_tw_input(struct engine *e, struct tcp_tw *tw, struct tcp_seg *s);
void tcp_tw_free(struct engine *e, struct tcp_tw *tw);
/* A new connection of ours wants the addresses of f. True when f was a TIME_WAIT that could go: a later
 * timestamp will tell old segments from new ones (RFC6191). */
bool tcp_tw_yield(struct engine *e, struct sock_flow *f);

/* --- tcp_options.c */
int tcp_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len);
int tcp_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len);

/* For `culvert ss`: one connection, listener or TIME_WAIT. */
struct tcp_snapshot {
	enum cv_tcp_state state;
	struct cv_endpoint local, peer;
	struct sock *sk; /* NULL: TIME_WAIT, half-open */
	uint32_t recvq, sendq; /* listener: accept queue, backlog */
	uint32_t srtt_us, rttvar_us, cwnd, ssthresh, mss, retrans, total_retrans;
	uint8_t timer; /* enum tcp_timer, TCP_TIMERS: none */
	uint64_t timer_ns; /* from now */
};
/* Tells of what lies at *at (0 to begin with) and behind, and moves *at on; returns after work that grows with `most`, not
 * with the number of connections. False: that was all. What comes or goes between two calls is told or not. */
bool tcp_foreach(struct engine *e, uint64_t *at, uint32_t most,
	void (*fn)(void *ctx, const struct tcp_snapshot *s), void *ctx);

#endif
