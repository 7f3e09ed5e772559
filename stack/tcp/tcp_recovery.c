/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss recovery: fast retransmit and NewReno (RFC5681, RFC6582); with SACK the scoreboard of RFC6675.
 * sacked: what the peer has beyond snd_una. lost_below: holes below it are lost.
 * high_rxt: holes below it were retransmitted in this recovery.
 */
#include "stack/tcp/tcp.h"

#define DUP_THRESH 3u

static uint32_t sacked_in(const struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < tp->sacked.n; i++) {
		uint32_t a = seq_max(tp->sacked.r[i].lo, lo), b = seq_min(tp->sacked.r[i].hi, hi);

		if (seq_lt(a, b))
			n += b - a;
	}
	return n;
}

static uint32_t holes_in(const struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	return seq_lt(lo, hi) ? hi - lo - sacked_in(tp, lo, hi) : 0;
}

/* IsLost() of RFC6675:4: enough bytes or enough separate ranges above. */
static void lost_update(struct tcp_sock *tp)
{
	uint32_t bytes = 0, ranges = 0;

	for (uint32_t i = tp->sacked.n; i-- > 0;) {
		bytes += tp->sacked.r[i].hi - tp->sacked.r[i].lo;
		ranges++;
		if (ranges >= DUP_THRESH || bytes > (DUP_THRESH - 1) * tcp_eff_mss(tp)) {
			tp->lost_below = seq_max(tp->lost_below, tp->sacked.r[i].lo);
			return;
		}
	}
}

void tcp_sack_input(struct tcp_sock *tp, const struct wire_tcp *h)
{
	ranges_drop_below(&tp->sacked, seq_max(h->ack, tp->snd_una));
	for (uint8_t i = 0; i < h->sacks_n; i++) {
		uint32_t lo = h->sacks[i].lo, hi = h->sacks[i].hi;

		/* DSACK and nonsense: not news (RFC2018:5, RFC2883) */
		if (!seq_lt(lo, hi) || seq_leq(lo, seq_max(h->ack, tp->snd_una)) ||
			seq_gt(hi, tp->snd_max))
			continue;
		(void)ranges_add(&tp->sacked, lo, hi);
	}
	lost_update(tp);
}

uint32_t tcp_pipe_in_loss(const struct tcp_sock *tp)
{
	if (!tp->in_recovery && !tp->rto_recovery)
		return tp->snd_max - tp->snd_una - sacked_in(tp, tp->snd_una, tp->snd_max);
	return holes_in(tp, seq_max(tp->lost_below, tp->snd_una), tp->snd_max) +
		holes_in(tp, tp->snd_una, tp->high_rxt);
}

static void enter(struct tcp_sock *tp)
{
	tp->in_recovery = 1;
	tp->recover = tp->snd_max;
	tp->high_rxt = tp->snd_una;
	tp->lost_below = seq_max(tp->lost_below, tp->snd_una + 1);
	tp->ssthresh = tp->cc->ssthresh(tp);
	tp->cwnd = tp->ssthresh;
	if (!tp->sack_ok) /* RFC5681:3.2 step 3: three have left the network */
		tp->cwnd += DUP_THRESH * tcp_eff_mss(tp);
	tp->timing = 0;
	sock_output_later(&tp->sk);
}

void tcp_recovery_dupack(struct tcp_sock *tp)
{
	if (tp->dupacks < 255)
		tp->dupacks++;
	if (tp->in_recovery || tp->rto_recovery) {
		if (!tp->sack_ok && tp->in_recovery)
			tp->cwnd += tcp_eff_mss(tp); /* inflation: RFC5681:3.2 step 4 */
		sock_output_later(&tp->sk);
		return;
	}
	if (tp->dupacks >= DUP_THRESH ||
		(tp->sacked.n > 0 && seq_gt(tp->lost_below, tp->snd_una)))
		enter(tp);
	else
		sock_output_later(&tp->sk); /* limited transmit: RFC3042 */
}

/* snd_una has advanced by bytes. */
void tcp_recovery_acked(struct tcp_sock *tp, uint32_t bytes)
{
	uint32_t mss = tcp_eff_mss(tp);

	tp->dupacks = 0;
	tp->high_rxt = seq_max(tp->high_rxt, tp->snd_una);
	tp->lost_below = seq_max(tp->lost_below, tp->snd_una);
	if (tp->in_recovery && seq_geq(tp->snd_una, tp->recover)) {
		tp->in_recovery = 0;
		tp->cwnd = tp->ssthresh;
		tp->lost_below = tp->snd_una;
	} else if (tp->in_recovery) { /* partial ACK: the next hole is lost too (RFC6582:3.2) */
		tp->lost_below = seq_max(tp->lost_below, tp->snd_una + 1);
		if (!tp->sack_ok)
			tp->cwnd = (tp->cwnd > bytes ? tp->cwnd - bytes : 0) + mss;
	} else {
		if (tp->rto_recovery && seq_geq(tp->snd_una, tp->recover))
			tp->rto_recovery = 0;
		tp->cc->acked(tp, bytes);
	}
}

void tcp_recovery_rto(struct tcp_sock *tp)
{
	if (!tp->rto_recovery || seq_geq(tp->snd_una, tp->recover)) /* RFC5681 (4): once */
		tp->ssthresh = tp->cc->ssthresh(tp);
	tp->in_recovery = 0;
	tp->rto_recovery = 1;
	tp->recover = tp->snd_max;
	tp->cwnd = tcp_eff_mss(tp);
	tp->dupacks = 0;
	/* The peer may have reneged (RFC2018:8): what it said is forgotten. */
	ranges_clear(&tp->sacked);
	tp->high_rxt = tp->snd_una;
	tp->lost_below = tp->snd_max;
}

bool tcp_recovery_next(struct tcp_sock *tp, uint32_t *seq, uint32_t *len)
{
	uint32_t at = seq_max(tp->high_rxt, tp->snd_una), end;

	if (!tp->in_recovery && !tp->rto_recovery)
		return false;
	for (uint32_t i = 0; i < tp->sacked.n; i++) {
		if (seq_in(at, tp->sacked.r[i].lo, tp->sacked.r[i].hi))
			at = tp->sacked.r[i].hi;
	}
	if (seq_geq(at, tp->lost_below) || seq_geq(at, tp->snd_max))
		return false;
	end = seq_min(at + tcp_eff_mss(tp), tp->snd_max);
	for (uint32_t i = 0; i < tp->sacked.n; i++) {
		if (seq_gt(tp->sacked.r[i].lo, at))
			end = seq_min(end, tp->sacked.r[i].lo);
	}
	/* Not beyond what the peer allows now: it may have taken back a part of its window, and some
	 * (Linux since 6.17) then drop the whole segment. The first segment goes in any case. */
	if (seq_gt(end, tp->snd_una + tp->snd_wnd) && seq_lt(at, tp->snd_una + tp->snd_wnd))
		end = tp->snd_una + tp->snd_wnd;
	*seq = at;
	*len = end - at;
	return true;
}
