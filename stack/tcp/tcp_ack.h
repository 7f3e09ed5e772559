/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What any acceptable ACK does, inline because both ways of a segment do it: the steps (tcp_ack.c) and header
 * prediction (tcp_predict.c). What is rare is not inline.
 */
#ifndef CULVERT_TCP_ACK_H
#define CULVERT_TCP_ACK_H

#include "stack/tcp/tcp_loss.h"

/* An RTT sample of the ACK, if it gives one (RFC6298:3, RFC7323:4.1). */
void tcp_ack_time(struct tcp_sock *tp, const struct wire_tcp *h);
/* The window was shut: patience begins anew, and what was under way goes again soon. */
void tcp_ack_opens(struct tcp_sock *tp);
/* Lets go of the send buffers below snd_una. */
void tcp_ack_free(struct tcp_sock *tp);

/* The peer's window (RFC9293:3.10.7.4: SND.WL1, SND.WL2). */
static inline void tcp_ack_window(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint32_t wnd = (uint32_t)h->wnd << tp->snd_wscale;

	if (!(seq_lt(tp->snd_wl1, h->seq) ||
		    seq_gt(h->ack, tp->snd_una) /* as Linux: what is sent again may bring news, too */ ||
		    (tp->snd_wl1 == h->seq && seq_leq(tp->snd_wl2, h->ack))))
		return;
	tp->snd_wl1 = h->seq;
	tp->snd_wl2 = h->ack;
	if (tp->snd_wnd == wnd)
		return;
	if (cv_unlikely(tp->snd_wnd == 0))
		tcp_ack_opens(tp);
	tp->snd_wnd = wnd;
	if (wnd > tp->max_wnd)
		tp->max_wnd = wnd;
	sock_output_later(&tp->sk);
}

/* The retransmission timer begins anew (RFC6298:5.3), for a probe when more than one segment is under way: while it
 * moves later that is one store. */
static inline void tcp_ack_rexmt(struct tcp_sock *tp)
{
	uint32_t flight = tp->snd_max - tp->snd_una;
	uint32_t at = tcp_deadline(tp->sk.engine->now_ns + (flight > tcp_eff_mss(tp) ? tp->pto_us : tp->rto_us) * US);

	if (cv_likely(flight != 0 && !tp->persist && tp->deadline[TCP_T_REXMT] != 0 &&
		      seq_geq(at, tp->deadline[TCP_T_REXMT])))
		tp->deadline[TCP_T_REXMT] = at; /* tcp_timer.c: the wheel's timer stands before it */
	else
		tcp_rexmt_update(tp, true);
}

/* Records of what is acknowledged go, in a healthy connection. */
static inline void tcp_ack_records(struct tcp_sock *tp)
{
	struct tcp_xmit *x = tp->xmit;

	while (x != NULL && seq_leq(x->hi, tp->snd_una)) {
		struct tcp_xmit *next = x->next;

		pool_put(&tp->sk.engine->tcp->xmits, x);
		x = next;
	}
	tp->xmit = x;
}

/* snd_una moves to h->ack: numbers and buffers. */
static inline void tcp_ack_una(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint32_t data = seq_min(h->ack, tp->snd_end) - seq_min(tp->snd_una, tp->snd_end);

	tp->backoff = 0;
	tp->probes = 0;
	tp->soft_error = 0;
	tp->retrans_start_ms = 0;
	tp->snd_una = h->ack;
	if (!list_empty(&tp->txq)) {
		const struct txbuf *b = list_entry(tp->txq.next, struct txbuf, node);

		if (seq_leq(b->seq + b->len, tp->snd_una))
			tcp_ack_free(tp);
	}
	if (data > 0) {
		if (cv_unlikely(tp->sk.tx_taken - tp->sk.tx_acked > TCP_SNDBUF_BULK))
			tcp_sndbuf_acked(tp);
		tp->sk.tx_acked += data;
		tp->bytes_acked += data;
		sock_event(&tp->sk);
	}
}

/* snd_una moves to h->ack, where nothing is wrong, or there are no records. */
static inline void tcp_ack_advance(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint32_t bytes = h->ack - tp->snd_una;

	if (cv_unlikely(tp->timing ? seq_geq(h->ack, tp->rtt_seq) : tp->retrans_start_ms != 0))
		tcp_ack_time(tp, h);
	tcp_ack_una(tp, h);
	tcp_ack_records(tp);
	if (cv_likely(tp->loss == NULL))
		tcp_cc_acked(tp, bytes, h);
	else
		tcp_holes_acked(tp, h, bytes);
	tcp_ack_rexmt(tp);
	if (tp->snd_end != tp->snd_max || tp->loss != NULL || (tp->fin_queued && !tp->fin_sent))
		sock_output_later(&tp->sk);
}

#endif
