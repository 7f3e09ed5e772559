/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only a connection with something under way, or in trouble, needs; from pools of the engine. An idle connection has
 * none of it.
 *
 * struct tcp_xmit: bytes that went out together, until they are acknowledged (tcp_xmit.c): what RACK looks at. Only
 * where the peer sends SACK.
 * struct tcp_loss: what the peer tells of our segments that did not arrive, and what is done about it. Taken at the first
 * sign of loss or reordering, given back when all is well again (tcp_recovery.c).
 * struct tcp_ooo: segments of the peer that wait for a gap before them to close (tcp_ooo.c).
 * struct tcp_plpmtud: of a connection whose large segments did not arrive (tcp_plpmtud.c).
 * struct tcp_pace: of a connection that does not send all that it may at once (tcp_pace.c).
 *
 * When a pool is empty (counted): without records a connection recovers as RFC6675 has it (tcp_holes.c) until nothing is
 * under way; without a tcp_loss the first segment is sent again at each timeout, and nothing more; without a tcp_ooo what
 * comes out of order is dropped. The connection goes on either way.
 */
#ifndef CULVERT_TCP_LOSS_H
#define CULVERT_TCP_LOSS_H

#include "stack/tcp/tcp.h"

enum {
	XMIT_SACKED = 1, /* the peer has it; on neither list */
	XMIT_LOST = 2,   /* and not sent again since: on the list of what is lost */
	XMIT_AGAIN = 4,  /* was sent more than once */
};

struct tcp_xmit {
	struct tcp_xmit *next; /* by number: from snd_una to snd_max there is no gap */
	struct list way;       /* while there is a tcp_loss: in loss->flight or loss->lost */
	uint64_t sent_ns;      /* last */
	uint32_t lo, hi;       /* [lo, hi); of the first one a part may be acknowledged already */
	uint8_t flags;
};

#define TCP_SACKS_SEEN 4
#define TCP_HOLES_MAX 32u

enum tcp_sample {
	TCP_SAMPLE_NONE,
	TCP_SAMPLE_SURE,   /* sent once */
	TCP_SAMPLE_UNSURE, /* sent more than once */
};

struct tcp_loss {
	uint32_t recover; /* the recovery ends, or ended, here (RFC6582, RFC6675: RecoveryPoint) */
	uint8_t dupacks;
	bool holes; /* without records: what is at the end is used */

	/* with records */
	bool reneged;   /* the first segment that is missing was there before (RFC2018:8) */
	struct list flight; /* records under way, in the order in which they were sent last */
	struct list lost;   /* to be sent again, by number */
	struct tcp_xmit *hint; /* of the last SACK block: where the next one mostly goes on; may be NULL */
	uint32_t sacked_bytes, lost_bytes;
	uint32_t pieces; /* records that SACK blocks have cut off others and that are left, or more */
	uint32_t fack;  /* behind the highest byte that is known to have arrived */
	struct range seen[TCP_SACKS_SEEN]; /* the blocks of the ACK before: nothing new is in them */
	uint8_t seen_n;
	uint64_t heard_ns;      /* when what was sent last went, of all that arrived; */
	enum tcp_sample sample; /* its round trip, when it was told in this turn */
	uint32_t sample_tsecr;

	/* RACK (RFC8985:5.2): of the segment sent last among those that arrived; rack_ns 0: none did yet */
	uint64_t rack_ns, rack_rtt_ns;
	uint32_t rack_end;
	uint32_t dsack_round; /* no second DSACK counts before this is acknowledged, if dsack_waits */
	bool dsack_waits;

	/* TLP (RFC8985:7.1): a probe is out, and what its ACK will reach */
	bool tlp_out, tlp_again;
	uint32_t tlp_end;

	/* PRR (RFC6937, RFC9937) */
	bool probe; /* only a probe of the path's MTU was lost: the window stays */
	bool cwr; /* the window shrinks for congestion that was told, not for loss */
	uint32_t prr_delivered, prr_out, prr_from /* RecoverFS */;

	/* what a recovery began with, while it may still prove needless */
	bool undo, frto;
	bool frto_new; /* new data instead of old, if any can go (RFC5682:3.1 step 2 b) */
	bool timed; /* released by TCP_T_REO when nothing else happens */
	uint32_t undo_una, undo_end; /* sent again: between these */
	uint32_t undo_bytes;         /* sent again and not told as duplicates */
	uint32_t prior_cwnd, prior_ssthresh;
	uint32_t again_ts;  /* our timestamp when the first of what is under way again went, */
	uint32_t again_end; /* which ends here; not behind snd_una: nothing is */
	bool again;        /* something was */

	/* without records: holes (RFC6675) */
	uint32_t high_rxt;    /* holes below it were sent again in this recovery (RFC6675: HighRxt) */
	uint32_t lost_below;  /* holes below it are lost */
	uint32_t dup_bytes;   /* without SACK: what has arrived beyond snd_una by the duplicate ACKs */
	struct ranges sacked; /* what the peer has beyond snd_una */
	struct range sacked_room[TCP_HOLES_MAX];
};

/* What one ACK did. */
struct tcp_acked {
	const struct wire_tcp *h;
	uint32_t una;       /* before it */
	uint32_t fack;      /* before it */
	uint32_t delivered; /* bytes that it tells of for the first time */
	uint32_t lost;      /* bytes found lost by it */
	uint32_t work;      /* records that its blocks passed by */
	bool duplicate;     /* it moves nothing and brings nothing (RFC5681:2) */
	bool sacked;        /* it selectively acknowledged something new, */
	bool dsack;         /* told a duplicate, */
	bool orig;          /* acknowledged what was sent before the recovery and never again */
};

/* What waits without a gap in it. */
struct tcp_run {
	struct tcp_run *kid[2];       /* before and behind it, with less weight */
	struct rte_mbuf *head, *tail; /* its packets, linked by struct pkt */
	struct list node;             /* of tcp_ooo's changed or told */
	uint32_t lo, hi;              /* [lo, hi), a FIN included */
	uint32_t weight;
};
static_assert(sizeof(struct tcp_run) <= 64, "a run is a cache line");

struct tcp_ooo {
	struct tcp_run *root;
	struct list changed, told; /* runs, since the peer was told of them or not: the latest last, or first */
	uint32_t n;                /* packets of all runs */
};

struct tcp_plpmtud {
	uint16_t low;      /* payload of a segment that arrives, as we believe; */
	uint16_t high;     /* nothing larger is tried, */
	uint16_t probe;    /* what is being tried, from probe_lo on; 0: nothing */
	uint32_t probe_lo;
	uint32_t acked;    /* bytes acknowledged (tp->bytes_acked) when low was believed */
	uint32_t rest_ms;  /* since then it is known well enough; 0: it is not */
};

struct tcp_pace {
	struct timer timer; /* set: something waits for next_ns */
	struct tcp_sock *tp;
	uint64_t max_rate; /* SO_MAX_PACING_RATE, bytes in a second; UINT64_MAX, 0: none */
	uint64_t next_ns;  /* nothing goes before */
	bool asked;        /* the program wants it: the socket keeps it for good */
	/* within one turn */
	uint64_t rate;
	uint32_t credit, again, next_seq; /* bytes that may go; that went once more; snd_nxt at the beginning */
};

/* --- tcp_recovery.c: the course of a recovery */

/* The connection's, taken from the pool if it has none. NULL: the pool is empty. */
struct tcp_loss *tcp_loss_get(struct tcp_sock *tp);
/* Gives it back, when there is one. */
void tcp_loss_put(struct tcp_sock *tp);
/* The same, if all is well. */
void tcp_loss_settle(struct tcp_sock *tp);
/* Bytes beyond snd_una that the peer has. */
static inline uint32_t tcp_loss_sacked(const struct tcp_loss *l)
{
	return l->holes ? ranges_count(&l->sacked) : l->sacked_bytes;
}
/* An ACK, new or old, of a connection with records and a tcp_loss: all that it tells. duplicate: it moves
 * nothing and brings nothing (RFC5681:2). */
void tcp_recovery_ack(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate);
/* Inside a fast recovery: cwnd lets go what an ACK that tells of so many new bytes allows. safe: as of tcp_prr_sndcnt(). */
void tcp_recovery_rate(struct tcp_sock *tp, uint32_t delivered, bool safe);
/* The window at the end of a fast recovery. */
void tcp_recovery_window(struct tcp_sock *tp);
/* The end of a turn, with a tcp_loss: the round trip of what its ACKs told; and is all well? */
void tcp_recovery_turn(struct tcp_sock *tp);
/* TCP_T_REO: nothing was heard that would have decided what is lost. */
void tcp_recovery_timer(struct tcp_sock *tp);

/* --- tcp_xmit.c: the records of what is under way */

/* [lo, hi) went out for the first time. */
void tcp_xmit_add(struct tcp_sock *tp, uint32_t lo, uint32_t hi);
/* Cut at `at`, lo < at < hi: returns the upper part. NULL: no record is free; nothing changed. */
struct tcp_xmit *tcp_xmit_split(struct tcp_sock *tp, struct tcp_xmit *x, uint32_t at);
/* x swallows the record behind it. */
void tcp_xmit_join(struct tcp_sock *tp, struct tcp_xmit *x);
/* All records go back; what they say goes on as holes. */
void tcp_xmit_forget(struct tcp_sock *tp);
/* The same at the connection's end. */
void tcp_xmit_drop(struct tcp_sock *tp);
/* To the flight, in the order of time; off it, to the lost. Bytes are counted. */
void tcp_xmit_fly(struct tcp_sock *tp, struct tcp_xmit *x);
/* Puts x, which is on no list, in its place by time among those under way, looked for from near on. Returns the place. */
struct list *tcp_xmit_place(struct tcp_loss *l, struct list *near, struct tcp_xmit *x);
void tcp_xmit_lose(struct tcp_sock *tp, struct tcp_xmit *x);
/* [seq, seq + len) at the beginning of x went out again. False: no record was free, and there are none any more. */
bool tcp_xmit_again(struct tcp_sock *tp, struct tcp_xmit *x, uint32_t seq, uint32_t len);

/* --- tcp_rack.c: what arrived, what is lost (RFC2018, RFC8985:6) */

/* The SACK blocks of an ACK; DSACK as well. False: no record was free, and there are none any more. */
bool tcp_rack_sack(struct tcp_sock *tp, struct tcp_acked *a);
/* snd_una has moved: records below it go. */
void tcp_rack_una(struct tcp_sock *tp, struct tcp_acked *a);
/* RFC8985:6.2 steps 4 and 5: the bytes newly found lost. Sets the reordering timer. */
uint32_t tcp_rack_detect(struct tcp_sock *tp, bool dsack);
/* A recovery has ended without DSACK so far (6.2 step 4). */
void tcp_rack_recovered(struct tcp_sock *tp);
/* What a timeout makes of the records (6.3). All: nothing is believed to be under way any more. False: no record was
 * free. */
bool tcp_rack_timeout(struct tcp_sock *tp, bool all);

/* --- tcp_ooo.c: what waits for a gap to close */

/* Takes the acceptable s, which begins behind rcv_nxt, if there is room: then s->m is NULL. s may be cut. */
void tcp_ooo_queue(struct tcp_sock *tp, struct tcp_seg *s);
/* The next packet that is in order now, without what was there before (it may be empty, and have a FIN); NULL: none. */
struct rte_mbuf *tcp_ooo_take(struct tcp_sock *tp);
/* Frees what waits. */
void tcp_ooo_drop(struct tcp_sock *tp);
/* For tcp_consistent(): runs and packets are in order, apart, behind rcv_nxt, and counted. */
bool tcp_ooo_is_consistent(const struct tcp_sock *tp);
/* [lo, hi) came twice: the next ACK tells it (RFC2883). */
void tcp_sack_duplicate(struct tcp_sock *tp, uint32_t lo, uint32_t hi);
/* Blocks of an ACK that goes now, what was not told yet first: how many. */
uint8_t tcp_sack_blocks(struct tcp_sock *tp, struct range out[WIRE_TCP_SACK_MAX]);
/* There are some that were not told. */
bool tcp_sack_is_due(const struct tcp_sock *tp);

/* --- tcp_pace.c */

/* SO_MAX_PACING_RATE. -CV_ENOBUFS: the pool is empty. */
int tcp_pace_set(struct tcp_sock *tp, uint64_t max_rate);
uint64_t tcp_pace_max(const struct tcp_sock *tp);
/* Bytes in a second: what it is, or would be if the connection were paced. UINT64_MAX: nothing is known yet. */
uint64_t tcp_pace_rate(const struct tcp_sock *tp);
/* The window or the round trip has changed: is it to be paced? */
void tcp_pace_look(struct tcp_sock *tp);
/* Before and after what a turn sends of a paced connection. */
void tcp_pace_begin(struct tcp_sock *tp);
void tcp_pace_end(struct tcp_sock *tp);
/* Between them: bytes that may go. */
static inline uint32_t tcp_pace_room(const struct tcp_sock *tp)
{
	const struct tcp_pace *p = tp->pace;
	uint32_t spent = p->again + (tp->snd_nxt - p->next_seq);

	return p->credit > spent ? p->credit - spent : 0;
}
/* Something waits for its time. */
static inline bool tcp_pace_holds(const struct tcp_sock *tp)
{
	return tp->pace != NULL && timer_is_set(&tp->pace->timer);
}
/* What is next goes at once: a retransmission timer has waited long enough. */
void tcp_pace_hurry(struct tcp_sock *tp);
/* The connection's end, the socket's. */
void tcp_pace_stop(struct tcp_sock *tp);
void tcp_pace_drop(struct tcp_sock *tp);

/* --- tcp_plpmtud.c */

/* The retransmission timer has ended, tp->backoff times in a row. May lower the MSS. */
void tcp_plpmtud_timeout(struct tcp_sock *tp);
/* The connection begins, with its MSS. */
void tcp_plpmtud_established(struct tcp_sock *tp);
/* Before new data goes, of a connection with a tcp_plpmtud: may send a probe. Returns how many segments went. */
uint32_t tcp_plpmtud_output(struct tcp_sock *tp);
/* Something was found lost: was it a probe alone? Then it is done with. */
bool tcp_plpmtud_is_lost(struct tcp_sock *tp);
void tcp_plpmtud_stop(struct tcp_sock *tp);

/* --- tcp_tlp.c: tail loss probes (RFC8985:7) */

/* When a probe is due; 0: none is to be sent. */
uint64_t tcp_tlp_due(const struct tcp_sock *tp);
/* Sends it. False: there was no room to. */
bool tcp_tlp_send(struct tcp_sock *tp);
void tcp_tlp_ack(struct tcp_sock *tp, const struct tcp_acked *a);
/* The probe has repaired a loss: the window pays for it. */
void tcp_tlp_lost(struct tcp_sock *tp);

/* --- tcp_prr.c: how much a recovery sends (RFC6937, RFC9937) */

/* A reduction begins: bytes under way and not selectively acknowledged before this ACK. */
void tcp_prr_begin(struct tcp_loss *l, uint32_t under_way);
/* What may be sent now, in bytes. safe: the ACK moved snd_una on and found nothing lost. */
uint32_t tcp_prr_sndcnt(struct tcp_loss *l, uint32_t pipe, uint32_t ssthresh, uint32_t delivered, bool safe,
	uint32_t mss);

/* --- tcp_undo.c: recoveries that were needless (RFC3522, RFC4015, RFC5682, RFC3708) */

/* Before a reduction: what it may be taken back to. */
void tcp_undo_keep(struct tcp_sock *tp);
/* len bytes at seq went out again. */
void tcp_undo_again(struct tcp_sock *tp, uint32_t seq, uint32_t len);
/* A duplicate was told: [lo, hi). */
void tcp_undo_dsack(struct tcp_sock *tp, uint32_t lo, uint32_t hi);
/* The ACK, which moved snd_una on, answers what was sent first (RFC3522). */
bool tcp_undo_is_delayed(const struct tcp_sock *tp, const struct wire_tcp *h);
/* All that was sent again was needless. */
bool tcp_undo_is_told(const struct tcp_sock *tp);
/* Back to the window of before; only what RACK itself finds lost counts as lost. */
void tcp_undo(struct tcp_sock *tp);
/* In a recovery after a timeout: false when it has proved needless, and is over. */
bool tcp_undo_frto(struct tcp_sock *tp, const struct tcp_acked *a);

/* --- tcp_holes.c: without records (RFC5681, RFC6582, RFC6675) */

/* The same without records. */
void tcp_holes_ack(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate);
void tcp_holes_timeout(struct tcp_sock *tp);
uint32_t tcp_holes_pipe(const struct tcp_sock *tp);
bool tcp_holes_next(struct tcp_sock *tp, uint32_t *seq, uint32_t *len);

#endif
