/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recoveries that were needless, and the window that they cost. Three witnesses: the timestamp of an ACK that answers what
 * was sent first (Eifel: RFC3522, RFC4015), the peer's DSACKs for all that was sent again (RFC3708), and after a
 * timeout an ACK of what was never sent again (F-RTO: RFC5682).
 */
#include "stack/tcp/tcp_loss.h"

void tcp_undo_keep(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	l->undo = true;
	l->again = l->timed = false;
	l->undo_una = tp->snd_una;
	l->undo_end = tp->snd_una;
	l->undo_bytes = 0;
	l->prior_cwnd = tp->cwnd;
	l->prior_ssthresh = tp->ssthresh;
}

void tcp_undo_again(struct tcp_sock *tp, uint32_t seq, uint32_t len)
{
	struct tcp_loss *l = tp->loss;

	/* What an earlier recovery sent again may be under way still, and its answer has an earlier timestamp. */
	if (seq_geq(tp->snd_una, l->again_end)) {
		l->again_ts = tcp_ts_now(tp);
		l->again_end = seq + len;
	}
	l->again_end = seq_max(l->again_end, seq + len);
	if (!l->undo)
		return;
	l->again = true;
	l->undo_end = seq_max(l->undo_end, seq + len);
	l->undo_bytes += len;
}

void tcp_undo_dsack(struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	struct tcp_loss *l = tp->loss;

	if (l->undo && seq_geq(lo, l->undo_una) && seq_leq(hi, l->undo_end))
		l->undo_bytes -= hi - lo < l->undo_bytes ? hi - lo : l->undo_bytes;
}

bool tcp_undo_is_delayed(const struct tcp_sock *tp, const struct wire_tcp *h)
{
	const struct tcp_loss *l = tp->loss;

	return l->undo && l->again && tp->ts_ok && h->has_ts && h->tsecr != 0 &&
		seq_lt(h->tsecr, l->again_ts);
}

bool tcp_undo_is_told(const struct tcp_sock *tp)
{
	return tp->loss->undo && tp->loss->again && tp->loss->undo_bytes == 0;
}

/* What was lost is under way again, in the order in which it was sent: mostly that of its numbers, so that each finds its
 * place beside the one before. */
static void fly_all(struct tcp_loss *l)
{
	struct list *at = l->flight.prev, *node;

	while ((node = list_pop(&l->lost)) != NULL) {
		struct tcp_xmit *x = list_entry(node, struct tcp_xmit, way);

		x->flags &= (uint8_t)~XMIT_LOST;
		at = tcp_xmit_place(l, at, x);
	}
	l->lost_bytes = 0;
}

void tcp_undo(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	tp->sk.engine->counters.tcp_undone++;
	if (tp->cwnd < l->prior_cwnd)
		tp->cwnd = l->prior_cwnd;
	if (tp->ssthresh < l->prior_ssthresh)
		tp->ssthresh = l->prior_ssthresh;
	tcp_cc_event(tp, TCP_CC_UNDO);
	fly_all(l);
	l->high_rxt = l->lost_below = tp->snd_una;
	l->undo = l->frto = l->cwr = false;
	tp->in_recovery = tp->rto_recovery = 0;
	tp->backoff = 0;
	if (!l->holes) /* some of it may be lost all the same */
		(void)tcp_rack_detect(tp, false);
}

/* RFC5682:3.1, the way of SACK. The first ACK after the timeout that moves on lets new data go instead of old; if the
 * next tells of data that was never sent again, the peer had all of it, only late. */
bool tcp_undo_frto(struct tcp_sock *tp, const struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	bool advanced = tp->snd_una != a->una;

	if (advanced && tcp_undo_is_delayed(tp, a->h)) {
		tcp_undo(tp);
		return false;
	}
	if (!l->frto)
		return true;
	if (a->orig && l->undo) { /* step 3 b */
		tcp_undo(tp);
		return false;
	}
	if (seq_gt(tp->snd_nxt, l->recover)) { /* new data went, and this ACK tells only of old */
		if (a->sacked || !advanced)
			l->frto = false; /* step 3 a */
	} else if (advanced && seq_lt(tp->snd_una, l->recover)) {
		/* step 2 b: new data, when there is any that may go: known at the end of the turn (tcp_output.c) */
		l->recover = tp->snd_nxt;
		l->frto_new = true;
	} else if (!advanced) {
		l->frto = false; /* step 2 a */
	}
	return true;
}
