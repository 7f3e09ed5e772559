/* SPDX-License-Identifier: BSD-3-Clause */
/* The ACK field (RFC9293:3.10.7.4, fifth; RFC5961:5): what it frees, times, opens and tells of loss. */
#include "stack/tcp/tcp_ack.h"

void tcp_ack_time(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint64_t now = tp->sk.engine->now_ns;

	tp->path.progress = ip_progress_now(tp->sk.engine); /* once a round trip is enough to know that we are heard */
	if (tp->timing && seq_geq(h->ack, tp->rtt_seq)) {
		tp->timing = 0;
		tcp_rtt_sample(tp, now - tp->rtt_start);
	} else if (!tp->timing && tp->retrans_start_ms != 0 && tp->ts_ok && h->has_ts && h->tsecr != 0) {
		/* After a retransmission only the timestamp knows which one was answered. */
		uint32_t ms = tcp_ts_now(tp) - h->tsecr;

		if (ms < TCP_RTO_MAX / MS)
			tcp_rtt_sample(tp, ms * MS);
	}
}

void tcp_ack_opens(struct tcp_sock *tp)
{
	tp->retrans_start_ms = 0;
	if (tp->backoff == 0)
		return;
	tp->backoff = 0;
	tcp_rexmt_update(tp, true);
}

void tcp_ack_free(struct tcp_sock *tp)
{
	while (!list_empty(&tp->txq)) {
		struct txbuf *b = list_entry(tp->txq.next, struct txbuf, node);

		if (seq_gt(b->seq + b->len, tp->snd_una))
			break;
		if (tp->cursor == b)
			tp->cursor = NULL;
		list_del(&b->node);
		txbuf_put(b);
	}
}

/* SACK blocks of what we sent and nobody has told of. */
static bool tells_of_loss(const struct tcp_sock *tp, const struct wire_tcp *h)
{
	for (uint8_t i = 0; i < h->sacks_n; i++) {
		const struct range *r = &h->sacks[i];

		if (seq_lt(r->lo, r->hi) && seq_gt(r->lo, seq_max(h->ack, tp->snd_una)) && seq_leq(r->hi, tp->snd_max))
			return true;
	}
	return false;
}

/* All that an ACK tells of what arrived. It may be older than snd_una. */
static void arrivals_take(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate)
{
	if (tp->loss != NULL ? tp->loss->holes : tp->xmit == NULL)
		tcp_holes_ack(tp, h, duplicate);
	else if (tp->loss != NULL || (tells_of_loss(tp, h) && tcp_loss_get(tp) != NULL))
		tcp_recovery_ack(tp, h, duplicate);
	else if (seq_gt(h->ack, tp->snd_una))
		tcp_ack_advance(tp, h);
}

enum tcp_verdict tcp_ack_input(struct tcp_sock *tp, struct tcp_seg *s)
{
	const struct wire_tcp *h = &s->h;
	uint32_t wnd = tp->snd_wnd;

	if (seq_gt(h->ack, tp->snd_max) || seq_lt(h->ack, tp->snd_una - tp->max_wnd)) {
		tcp_challenge_ack(tp);
		return TCP_STOP;
	}
	tp->probes_out = 0;
	if (seq_lt(h->ack, tp->snd_una)) { /* old: its text still counts, and what arrived out of order */
		if (tells_of_loss(tp, h))
			arrivals_take(tp, h, false);
		return TCP_NEXT;
	}
	tcp_ack_window(tp, h);
	if (tp->ecn_ok)
		tcp_ecn_ack(tp, h);
	arrivals_take(tp, h, h->ack == tp->snd_una && s->len == 0 && !s->fin && wnd == tp->snd_wnd);
	return TCP_NEXT;
}
