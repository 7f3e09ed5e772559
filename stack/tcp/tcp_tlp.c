/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tail loss probes (RFC8985:7): when the ACK of the last flight does not come in two round trips, one segment is sent, so
 * that the peer's answer tells what is missing, long before the retransmission timer would.
 *
 * The probe's time is the retransmission timer's deadline (tcp_timer.c): more than one segment under way makes it pto_us
 * instead of rto_us. A single segment's probe would wait for a delayed ACK as well, which is later than its RTO:
 * the probe goes then in the RTO's place, and the timer runs once more (7.2, 7.3, and Linux).
 */
#include "stack/tcp/tcp_loss.h"

#define TLP_MAX_ACK_DELAY TCP_RTO_MIN

uint64_t tcp_tlp_due(const struct tcp_sock *tp)
{
	const struct tcp_loss *l = tp->loss;
	uint64_t due = tp->last_data_tx_ns + tp->pto_us * US, rto = tp->xmit->sent_ns + tp->rto_us * US;

	if (tp->backoff != 0 || tp->state < TCP_ESTABLISHED || tp->srtt_us == 0)
		return 0;
	if (l != NULL && (tp->in_recovery || tp->rto_recovery || l->tlp_out || l->sacked_bytes != 0 || l->lost_bytes != 0))
		return 0;
	if (tp->snd_max - tp->snd_una <= tcp_eff_mss(tp))
		due += TLP_MAX_ACK_DELAY;
	return due < rto ? due : rto;
}

/* A segment that was never sent says more, and may be of use. */
static bool new_segment(struct tcp_sock *tp)
{
	uint32_t len = tp->snd_end - tp->snd_nxt, mss = tcp_eff_mss(tp);

	if (tp->fin_sent || seq_geq(tp->snd_nxt, tp->snd_end))
		return false;
	if (len > mss)
		len = mss;
	return seq_leq(tp->snd_nxt + len, tp->snd_una + tp->snd_wnd) &&
		tcp_segment_send(tp, tp->snd_nxt, len, TCP_PSH);
}

bool tcp_tlp_send(struct tcp_sock *tp)
{
	struct tcp_loss *l = tcp_loss_get(tp);
	struct tcp_xmit *x;
	uint32_t seq;

	if (l == NULL)
		return false;
	tp->sk.engine->counters.tcp_probes++;
	l->tlp_out = true;
	l->tlp_again = false;
	if (!new_segment(tp)) {
		x = tp->xmit_last;
		seq = seq_max(seq_max(x->lo, tp->snd_una), x->hi - tcp_eff_mss(tp));
		if (!tcp_segment_send(tp, seq, x->hi - seq, TCP_PSH)) {
			l->tlp_out = false;
			tcp_loss_settle(tp);
			return false;
		}
		l->tlp_again = true;
		if (!tcp_xmit_again(tp, x, seq, x->hi - seq)) {
			tcp_xmit_forget(tp);
			return true;
		}
	}
	l->tlp_end = tp->snd_max;
	return true;
}

void tcp_tlp_lost(struct tcp_sock *tp)
{
	if (tp->in_recovery || tp->rto_recovery)
		return;
	tp->ssthresh = tcp_cc_reduce(tp);
	if (tp->cwnd > tp->ssthresh)
		tp->cwnd = tp->ssthresh;
}

/* 7.4: did the probe repair a loss that nobody else noticed? */
void tcp_tlp_ack(struct tcp_sock *tp, const struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;

	if (!l->tlp_out || seq_lt(a->h->ack, l->tlp_end))
		return;
	if (!l->tlp_again) {
		l->tlp_out = false;
	} else if (a->dsack && a->h->sacks[0].hi == l->tlp_end) {
		l->tlp_out = false; /* both arrived */
	} else if (seq_gt(a->h->ack, l->tlp_end)) {
		l->tlp_out = false;
		tcp_tlp_lost(tp);
	} else if (a->duplicate && !a->sacked) {
		l->tlp_out = false; /* a duplicate ACK: both arrived, and the peer knows no DSACK */
	}
}
