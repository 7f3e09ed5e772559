/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recovery without records of transmissions: fast retransmit and NewReno (RFC5681, RFC6582) where the peer has no SACK;
 * the scoreboard of RFC6675 where there were no records left.
 */
#include "stack/tcp/tcp_ack.h"
#include "stack/tcp/tcp_loss.h"

#define DUP_THRESH 3u

static uint32_t sacked_in(const struct tcp_loss *l, uint32_t lo, uint32_t hi)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->sacked.n; i++) {
		uint32_t a = seq_max(l->sacked.r[i].lo, lo), b = seq_min(l->sacked.r[i].hi, hi);

		if (seq_lt(a, b))
			n += b - a;
	}
	return n;
}

static uint32_t holes_in(const struct tcp_loss *l, uint32_t lo, uint32_t hi)
{
	return seq_lt(lo, hi) ? hi - lo - sacked_in(l, lo, hi) : 0;
}

/* IsLost() of RFC6675:4: enough bytes or enough separate ranges above. */
static void lost_update(const struct tcp_sock *tp, struct tcp_loss *l)
{
	uint32_t bytes = 0, ranges = 0;

	for (uint32_t i = l->sacked.n; i-- > 0;) {
		bytes += l->sacked.r[i].hi - l->sacked.r[i].lo;
		ranges++;
		if (ranges >= DUP_THRESH || bytes > (DUP_THRESH - 1) * tcp_eff_mss(tp)) {
			l->lost_below = seq_max(l->lost_below, l->sacked.r[i].lo);
			return;
		}
	}
}

/* A block that can be: neither a duplicate's (RFC2883) nor nonsense. */
static bool is_news(const struct tcp_sock *tp, const struct wire_tcp *h, const struct range *r)
{
	return seq_lt(r->lo, r->hi) && seq_gt(r->lo, seq_max(h->ack, tp->snd_una)) && seq_leq(r->hi, tp->snd_max);
}

static bool sack_input(struct tcp_sock *tp, const struct wire_tcp *h)
{
	struct tcp_loss *l = tp->loss;
	uint32_t before = 0, after;

	if (l != NULL) {
		ranges_drop_below(&l->sacked, seq_max(h->ack, tp->snd_una));
		before = ranges_count(&l->sacked);
	}
	for (uint8_t i = 0; i < h->sacks_n; i++) {
		if (!is_news(tp, h, &h->sacks[i]))
			continue;
		l = tcp_loss_get(tp);
		if (l == NULL)
			return false;
		(void)ranges_add(&l->sacked, h->sacks[i].lo, h->sacks[i].hi);
	}
	if (l == NULL)
		return false;
	lost_update(tp, l);
	after = ranges_count(&l->sacked);
	return after > before;
}

uint32_t tcp_holes_pipe(const struct tcp_sock *tp)
{
	const struct tcp_loss *l = tp->loss;

	if (!tp->in_recovery && !tp->rto_recovery)
		return tp->snd_max - tp->snd_una - sacked_in(l, tp->snd_una, tp->snd_max);
	return holes_in(l, seq_max(l->lost_below, tp->snd_una), tp->snd_max) +
		holes_in(l, tp->snd_una, l->high_rxt);
}

static void enter(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	tp->in_recovery = 1;
	l->recover = tp->snd_max;
	l->holes = true;
	l->high_rxt = tp->snd_una;
	l->lost_below = seq_max(l->lost_below, tp->snd_una + 1);
	tp->ssthresh = tcp_cc_reduce(tp);
	tp->cwnd = tp->ssthresh;
	if (!tp->sack_ok) /* RFC5681:3.2 step 3: three have left the network */
		tp->cwnd += DUP_THRESH * tcp_eff_mss(tp);
	tp->timing = 0;
	sock_output_later(&tp->sk);
}

static void dupack(struct tcp_sock *tp)
{
	struct tcp_loss *l = tcp_loss_get(tp);

	if (l == NULL)
		return; /* the retransmission timer is left */
	if (l->dupacks < 255)
		l->dupacks++;
	if (tp->in_recovery || tp->rto_recovery) {
		if (!tp->sack_ok && tp->in_recovery)
			tp->cwnd += tcp_eff_mss(tp); /* inflation: RFC5681:3.2 step 4 */
		sock_output_later(&tp->sk);
		return;
	}
	if (l->dupacks >= DUP_THRESH ||
		(l->sacked.n > 0 && seq_gt(l->lost_below, tp->snd_una)))
		enter(tp);
	else
		sock_output_later(&tp->sk); /* limited transmit: RFC3042 */
}

void tcp_holes_acked(struct tcp_sock *tp, const struct wire_tcp *h, uint32_t bytes)
{
	struct tcp_loss *l = tp->loss;
	uint32_t mss = tcp_eff_mss(tp);

	l->dupacks = 0;
	if (tp->rto_recovery && tcp_undo_is_delayed(tp, h))
		tcp_undo(tp);
	l->high_rxt = seq_max(l->high_rxt, tp->snd_una);
	l->lost_below = seq_max(l->lost_below, tp->snd_una);
	if (tp->in_recovery && seq_geq(tp->snd_una, l->recover)) {
		tp->in_recovery = 0;
		tp->cwnd = tp->ssthresh;
		l->lost_below = tp->snd_una;
	} else if (tp->in_recovery) { /* partial ACK: the next hole is lost too (RFC6582:3.2) */
		l->lost_below = seq_max(l->lost_below, tp->snd_una + 1);
		if (!tp->sack_ok)
			tp->cwnd = (tp->cwnd > bytes ? tp->cwnd - bytes : 0) + mss;
	} else {
		if (tp->rto_recovery && seq_geq(tp->snd_una, l->recover))
			tp->rto_recovery = 0;
		tcp_cc_acked(tp, bytes, h);
	}
	tcp_loss_settle(tp);
}

void tcp_holes_ack(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate)
{
	bool news = tp->sack_ok && (h->sacks_n > 0 || tp->loss != NULL) && sack_input(tp, h);

	if (h->ack != tp->snd_una) {
		tcp_ack_advance(tp, h);
		if (news && tp->loss != NULL && seq_gt(tp->loss->lost_below, tp->snd_una))
			dupack(tp);
		return;
	}
	/* RFC5681:2, and RFC6675:2 where the peer tells more */
	if (tp->snd_max != tp->snd_una && (news || (duplicate && !tp->sack_ok)))
		dupack(tp);
}

void tcp_holes_timeout(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	/* The peer may have reneged (RFC2018:8): what it said is forgotten. */
	ranges_clear(&l->sacked);
	l->high_rxt = tp->snd_una;
	l->lost_below = tp->snd_max;
	tp->cwnd = tcp_eff_mss(tp);
}

bool tcp_holes_next(struct tcp_sock *tp, uint32_t *seq, uint32_t *len)
{
	const struct tcp_loss *l = tp->loss;
	uint32_t at, end;

	at = seq_max(l->high_rxt, tp->snd_una);
	for (uint32_t i = 0; i < l->sacked.n; i++) {
		if (seq_in(at, l->sacked.r[i].lo, l->sacked.r[i].hi))
			at = l->sacked.r[i].hi;
	}
	if (seq_geq(at, l->lost_below) || seq_geq(at, tp->snd_max))
		return false;
	end = seq_min(at + tcp_eff_mss(tp), tp->snd_max);
	for (uint32_t i = 0; i < l->sacked.n; i++) {
		if (seq_gt(l->sacked.r[i].lo, at))
			end = seq_min(end, l->sacked.r[i].lo);
	}
	*seq = at;
	*len = end - at;
	return true;
}
