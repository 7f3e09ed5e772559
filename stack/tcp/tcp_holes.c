/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recovery without records of transmissions: fast retransmit and NewReno (RFC5681, RFC6582) where the peer has no SACK;
 * the scoreboard of RFC6675 where there were no records left. How much may go is tcp_prr.c's, for both. Without SACK what
 * has arrived is estimated: a segment for each duplicate ACK (RFC6937:3).
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

/* Takes the SACK blocks, and forgets what is below the ACK. True: some of it is new. *told: how much more the peer says to have
 * beyond its ACK than before; negative when the ACK has passed some. */
static bool sack_input(struct tcp_sock *tp, const struct wire_tcp *h, int64_t *told)
{
	struct tcp_loss *l = tp->loss;
	uint32_t before = 0, after, una = seq_max(h->ack, tp->snd_una);

	if (l != NULL) {
		*told = -(int64_t)ranges_count(&l->sacked);
		ranges_drop_below(&l->sacked, una);
		if (l->sacked.n > 0 && l->sacked.r[0].lo == una) /* the peer has thrown it away (RFC2018:8) */
			ranges_drop_below(&l->sacked, l->sacked.r[0].hi);
		before = ranges_count(&l->sacked);
		*told += before;
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
	*told += after - before;
	return after > before;
}

uint32_t tcp_holes_pipe(const struct tcp_sock *tp)
{
	const struct tcp_loss *l = tp->loss;
	uint32_t pipe;

	if (!tp->in_recovery && !tp->rto_recovery)
		return tp->snd_max - tp->snd_una - sacked_in(l, tp->snd_una, tp->snd_max);
	pipe = holes_in(l, seq_max(l->lost_below, tp->snd_una), tp->snd_max) +
		holes_in(l, tp->snd_una, l->high_rxt);
	return pipe > l->dup_bytes ? pipe - l->dup_bytes : 0;
}

/* The first segment that is missing is lost. */
static void first_is_lost(struct tcp_sock *tp, struct tcp_loss *l)
{
	l->lost_below = seq_max(l->lost_below, seq_min(tp->snd_una + tcp_eff_mss(tp), tp->snd_max));
}

static void enter(struct tcp_sock *tp, uint32_t delivered)
{
	struct tcp_loss *l = tp->loss;

	tp->in_recovery = 1;
	l->recover = tp->snd_max;
	l->holes = true;
	l->high_rxt = tp->snd_una;
	first_is_lost(tp, l);
	tp->ssthresh = tcp_cc_reduce(tp);
	tcp_prr_begin(l, tp->snd_max - tp->snd_una - ranges_count(&l->sacked) - l->dup_bytes + delivered);
	tp->timing = 0;
}

/* A duplicate: one more segment has arrived, as far as any can have: more duplicates count for nothing. */
static uint32_t dup_count(struct tcp_sock *tp, struct tcp_loss *l)
{
	uint32_t mss = tcp_eff_mss(tp), flight = tp->snd_max - tp->snd_una, most = flight > mss ? flight - mss : 0;
	uint32_t before = l->dup_bytes;

	l->dup_bytes = before + mss < most ? before + mss : most;
	return l->dup_bytes > before ? l->dup_bytes - before : 0;
}

/* delivered: what the ACK tells of beyond snd_una, with SACK. */
static void dupack(struct tcp_sock *tp, uint32_t delivered)
{
	struct tcp_loss *l = tcp_loss_get(tp);

	if (l == NULL)
		return; /* the retransmission timer is left */
	if (!tp->sack_ok)
		delivered = dup_count(tp, l);
	if (l->dupacks < 255)
		l->dupacks++;
	sock_output_later(&tp->sk); /* without a recovery: limited transmit (RFC3042) */
	if (!tp->in_recovery && !tp->rto_recovery &&
		(l->dupacks >= DUP_THRESH || (l->sacked.n > 0 && seq_gt(l->lost_below, tp->snd_una))))
		enter(tp, delivered);
	if (tp->in_recovery)
		tcp_recovery_rate(tp, delivered, false);
}

/* snd_una has moved by bytes: what duplicates told of was among it, all but what closed the gap. How much is new. */
static uint32_t dup_passed(struct tcp_sock *tp, struct tcp_loss *l, uint32_t bytes)
{
	uint32_t mss = tcp_eff_mss(tp), known = bytes > mss ? bytes - mss : 0;

	known = known < l->dup_bytes ? known : l->dup_bytes;
	l->dup_bytes -= known;
	return bytes - known;
}

void tcp_holes_acked(struct tcp_sock *tp, const struct wire_tcp *h, uint32_t bytes)
{
	struct tcp_loss *l = tp->loss;

	l->dupacks = 0;
	if (tp->rto_recovery && tcp_undo_is_delayed(tp, h))
		tcp_undo(tp);
	l->high_rxt = seq_max(l->high_rxt, tp->snd_una);
	l->lost_below = seq_max(l->lost_below, tp->snd_una);
	if (tp->in_recovery && seq_geq(tp->snd_una, l->recover)) {
		tcp_recovery_window(tp);
		tp->in_recovery = 0;
		l->lost_below = tp->snd_una;
	} else if (tp->in_recovery) { /* partial ACK: the next hole is lost too (RFC6582:3.2) */
		first_is_lost(tp, l);
		return;
	} else {
		if (tp->rto_recovery && seq_geq(tp->snd_una, l->recover))
			tp->rto_recovery = 0;
		tcp_cc_acked(tp, bytes, h);
	}
	l->dup_bytes = 0;
	tcp_loss_settle(tp);
}

/* The ACK moves snd_una on. told: what it says of more, less what it passes. */
static void advance(struct tcp_sock *tp, const struct wire_tcp *h, bool news, int64_t told)
{
	uint32_t bytes = h->ack - tp->snd_una;

	tcp_ack_advance(tp, h);
	if (tp->loss == NULL)
		return;
	if (tp->in_recovery)
		tcp_recovery_rate(tp,
			tp->sack_ok ? (uint32_t)(bytes + told) : dup_passed(tp, tp->loss, bytes), false);
	else if (news && seq_gt(tp->loss->lost_below, tp->snd_una))
		dupack(tp, (uint32_t)(bytes + told));
}

void tcp_holes_ack(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate)
{
	int64_t told = 0;
	bool news = tp->sack_ok && (h->sacks_n > 0 || tp->loss != NULL) && sack_input(tp, h, &told);

	if (seq_gt(h->ack, tp->snd_una))
		advance(tp, h, news, told);
	/* RFC5681:2, and RFC6675:2 where the peer tells more */
	else if (tp->snd_max != tp->snd_una && (news || (duplicate && !tp->sack_ok)))
		dupack(tp, (uint32_t)told);
}

void tcp_holes_timeout(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	/* The peer may have reneged (RFC2018:8): what it said is forgotten. */
	ranges_clear(&l->sacked);
	l->dup_bytes = 0;
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
