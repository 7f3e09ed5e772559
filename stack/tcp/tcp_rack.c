/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What arrived and what is lost: the SACK blocks of the peer marked on the records of transmissions (RFC2018, RFC2883),
 * and RACK (RFC8985:6): a segment is lost when one that was sent later has arrived, and longer ago than packets
 * change places. So a retransmission that is lost is found as any other.
 */
#include "stack/tcp/tcp_loss.h"

#define DUP_THRESH 3u
#define WORK_MAX 4096u /* records that the blocks of one ACK may pass by */
#define PIECES_MIN 64u
#define DSACK_FREE_RECOVERIES 16u /* the window for reordering falls back after so many */

/* RACK_sent_after(): what goes in one turn goes in the order of its numbers. */
static bool sent_after(uint64_t t1, uint32_t end1, uint64_t t2, uint32_t end2)
{
	return t1 > t2 || (t1 == t2 && seq_gt(end1, end2));
}

/* 6.2 step 2, its doubt: an ACK of what was sent twice may answer the first. */
static bool is_of_the_first(const struct tcp_sock *tp, const struct tcp_xmit *x, const struct tcp_acked *a)
{
	if (tp->ts_ok && a->h->has_ts && seq_lt(a->h->tsecr, (uint32_t)(x->sent_ns / MS) + tp->ts_offset))
		return true;
	return (tp->sk.engine->now_ns - x->sent_ns) / 1000 + 1 < tp->min_rtt_us;
}

/* [lo, hi) of x is told for the first time: steps 2 and 3. */
static void delivered(struct tcp_sock *tp, const struct tcp_xmit *x, uint32_t lo, uint32_t hi, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	uint64_t rtt = tp->sk.engine->now_ns - x->sent_ns;

	a->delivered += hi - lo;
	l->fack = seq_max(l->fack, hi);
	/* The ACK answers what was sent last, however long others waited for theirs, which were lost. */
	if (x->sent_ns >= l->heard_ns) {
		l->heard_ns = x->sent_ns;
		l->sample = x->flags & XMIT_AGAIN ? TCP_SAMPLE_UNSURE : TCP_SAMPLE_SURE;
	}
	if (x->flags & XMIT_AGAIN) {
		if (is_of_the_first(tp, x, a))
			return;
	} else {
		if (seq_lt(hi, a->fack))
			tp->reordering = 1;
		if (seq_leq(hi, l->recover))
			a->orig = true;
	}
	l->rack_rtt_ns = rtt;
	if (sent_after(x->sent_ns, hi, l->rack_ns, l->rack_end)) {
		l->rack_ns = x->sent_ns;
		l->rack_end = hi;
	}
}

static void mark(struct tcp_sock *tp, struct tcp_xmit *x, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;

	delivered(tp, x, x->lo, x->hi, a);
	if (x->flags & XMIT_LOST)
		l->lost_bytes -= x->hi - x->lo;
	x->flags = (uint8_t)((x->flags & ~XMIT_LOST) | XMIT_SACKED);
	list_del(&x->way);
	l->sacked_bytes += x->hi - x->lo;
	a->sacked = true;
}

/* Blocks begin and end where our segments do, or a few bytes from there: a peer that tells of single bytes gets no record for
 * each (CVE-2019-11478). */
static bool may_cut(const struct tcp_sock *tp)
{
	return tp->loss->pieces < PIECES_MIN + 2 * ((tp->snd_max - tp->snd_una) / tcp_eff_mss(tp));
}

static void joined(struct tcp_loss *l)
{
	l->pieces -= l->pieces > 0;
}

/* The record in which lo lies, or the first behind it. NULL: none, or it is too far for this ACK; the next one goes on from
 * here. */
static struct tcp_xmit *record_at(struct tcp_sock *tp, uint32_t lo, struct tcp_acked *a, struct tcp_xmit **before)
{
	struct tcp_loss *l = tp->loss;
	struct tcp_xmit *x = l->hint != NULL && seq_leq(l->hint->lo, lo) ? l->hint : tp->xmit;

	*before = NULL;
	while (x != NULL && seq_leq(x->hi, lo)) {
		*before = x;
		x = x->next;
		if (++a->work >= WORK_MAX) {
			tp->sk.engine->counters.tcp_sack_far++;
			l->hint = *before;
			return NULL;
		}
	}
	return x;
}

/* Cuts x, which is not marked, so that it is inside [lo, hi); false: no record was free. *skip: it must stay whole. */
static bool fit(struct tcp_sock *tp, struct tcp_xmit **x, uint32_t lo, uint32_t hi, bool *skip)
{
	struct tcp_xmit *in = *x;

	*skip = (seq_lt(in->lo, lo) || seq_gt(in->hi, hi)) && !may_cut(tp);
	if (*skip)
		return true;
	if (seq_lt(in->lo, lo)) {
		in = tcp_xmit_split(tp, in, lo);
		tp->loss->pieces++;
	}
	if (in == NULL)
		return false;
	*x = in;
	if (seq_leq(in->hi, hi))
		return true;
	tp->loss->pieces++;
	return tcp_xmit_split(tp, in, hi) != NULL;
}

/* Neighbours that arrived become one record, so that what is there is as long as what is missing. */
static bool block_mark(struct tcp_sock *tp, uint32_t lo, uint32_t hi, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	struct tcp_xmit *before, *x = record_at(tp, lo, a, &before);

	for (; x != NULL && seq_lt(x->lo, hi); x = x->next) {
		if (!(x->flags & XMIT_SACKED)) {
			struct tcp_xmit *whole = x;
			bool skip;

			if (!fit(tp, &x, lo, hi, &skip))
				return false;
			before = x != whole ? whole : before;
			if (skip) {
				before = x;
				continue;
			}
			mark(tp, x, a);
		}
		if (before != NULL && (before->flags & XMIT_SACKED)) {
			tcp_xmit_join(tp, before);
			joined(l);
			x = before;
		}
		if (x->next != NULL && (x->next->flags & XMIT_SACKED)) {
			tcp_xmit_join(tp, x);
			joined(l);
		}
		before = x;
		l->hint = x;
	}
	return true;
}

/* RFC2883:4: a first block that is below the ACK, or inside the second, tells of a duplicate. */
static bool is_dsack(const struct tcp_sock *tp, const struct wire_tcp *h)
{
	const struct range *first = &h->sacks[0], *second = &h->sacks[1];

	if (h->sacks_n == 0 || !seq_lt(first->lo, first->hi))
		return false;
	/* Old enough to be ours, and not what was never sent. */
	if (seq_gt(first->hi, tp->snd_max) || seq_lt(first->lo, tp->snd_una - tp->max_wnd))
		return false;
	return seq_leq(first->hi, h->ack) ||
		(h->sacks_n > 1 && seq_geq(first->lo, second->lo) && seq_leq(first->hi, second->hi));
}

static bool was_seen(const struct tcp_loss *l, const struct range *r)
{
	for (uint8_t i = 0; i < l->seen_n; i++) {
		if (l->seen[i].lo == r->lo && l->seen[i].hi == r->hi)
			return true;
	}
	return false;
}

/* The blocks from the first on that can be and tell something, ascending, so that each is found from the one before. */
static uint8_t news_sorted(
	const struct tcp_sock *tp, const struct wire_tcp *h, uint8_t first, struct range out[WIRE_TCP_SACK_MAX])
{
	uint8_t n = 0, at;

	for (uint8_t i = first; i < h->sacks_n; i++) {
		const struct range *r = &h->sacks[i];

		if (!seq_lt(r->lo, r->hi) || seq_leq(r->lo, seq_max(h->ack, tp->snd_una)) ||
			seq_gt(r->hi, tp->snd_max) || was_seen(tp->loss, r))
			continue;
		for (at = n++; at > 0 && seq_gt(out[at - 1].lo, r->lo); at--)
			out[at] = out[at - 1];
		out[at] = *r;
	}
	return n;
}

bool tcp_rack_sack(struct tcp_sock *tp, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	const struct wire_tcp *h = a->h;
	struct range news[WIRE_TCP_SACK_MAX];
	uint8_t n;

	a->dsack = is_dsack(tp, h);
	if (a->dsack)
		tcp_undo_dsack(tp, h->sacks[0].lo, h->sacks[0].hi);
	n = news_sorted(tp, h, a->dsack ? 1 : 0, news);
	for (uint8_t i = 0; i < n; i++) {
		if (!block_mark(tp, news[i].lo, news[i].hi, a)) {
			tcp_xmit_forget(tp);
			return false;
		}
	}
	l->seen_n = a->work < WORK_MAX ? h->sacks_n : 0;
	for (uint8_t i = 0; i < l->seen_n; i++)
		l->seen[i] = h->sacks[i];
	return true;
}

/* [lo, hi) of x is acknowledged for good. */
static void una_passes(struct tcp_sock *tp, const struct tcp_xmit *x, uint32_t lo, uint32_t hi, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;

	if (x->flags & XMIT_SACKED) {
		l->sacked_bytes -= hi - lo;
		return;
	}
	if (x->flags & XMIT_LOST)
		l->lost_bytes -= hi - lo;
	delivered(tp, x, lo, hi, a);
}

void tcp_rack_una(struct tcp_sock *tp, struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	uint32_t una = tp->snd_una;
	struct tcp_xmit *x;

	while ((x = tp->xmit) != NULL && seq_leq(x->hi, una)) {
		una_passes(tp, x, seq_max(x->lo, a->una), x->hi, a);
		list_del(&x->way);
		if (l->hint == x)
			l->hint = NULL;
		joined(l);
		tp->xmit = x->next;
		pool_put(&tp->sk.engine->tcp->xmits, x);
	}
	if (x != NULL && seq_lt(x->lo, una)) {
		una_passes(tp, x, seq_max(x->lo, a->una), una, a);
		x->lo = una;
	}
	/* What is next was said to be there: the peer has thrown it away (RFC2018:8). */
	l->reneged = x != NULL && (x->flags & XMIT_SACKED);
}

/* 6.2 step 4. */
static uint64_t reordering_window(struct tcp_sock *tp, bool dsack)
{
	struct tcp_loss *l = tp->loss;
	uint64_t wnd = 1000ull * tp->min_rtt_us * (tp->reo_mult + 1u) / 4, srtt = 1000ull * tp->srtt_us;

	if (l->dsack_waits && seq_geq(tp->snd_una, l->dsack_round))
		l->dsack_waits = false;
	if (dsack && !l->dsack_waits) {
		l->dsack_waits = true;
		l->dsack_round = tp->snd_nxt;
		if (tp->reo_mult < UINT8_MAX)
			tp->reo_mult++;
		tp->reo_persist = DSACK_FREE_RECOVERIES;
		wnd = 1000ull * tp->min_rtt_us * (tp->reo_mult + 1u) / 4;
	}
	if (!tp->reordering && (tp->in_recovery || tp->rto_recovery || l->dupacks >= DUP_THRESH ||
				       l->sacked_bytes > (DUP_THRESH - 1) * tcp_eff_mss(tp)))
		return 0;
	return wnd < srtt ? wnd : srtt;
}

void tcp_rack_recovered(struct tcp_sock *tp)
{
	if (tp->reo_persist > 0 && --tp->reo_persist == 0)
		tp->reo_mult = 0;
}

uint32_t tcp_rack_detect(struct tcp_sock *tp, bool dsack)
{
	struct tcp_loss *l = tp->loss;
	uint64_t now = tp->sk.engine->now_ns, wait = reordering_window(tp, dsack) + l->rack_rtt_ns, due = 0;
	uint32_t before = l->lost_bytes;

	/* In the order in which they were sent: behind the first that may only be late, all may be. The timer is that one's, not
	 * the last one's as in the RFC, so that no ACK looks at all that was sent within the window for reordering. */
	list_for_each_safe(node, &l->flight)
	{
		struct tcp_xmit *x = list_entry(node, struct tcp_xmit, way);

		if (!sent_after(l->rack_ns, l->rack_end, x->sent_ns, x->hi))
			break;
		if (x->sent_ns + wait > now) {
			due = x->sent_ns + wait;
			break;
		}
		tcp_xmit_lose(tp, x);
	}
	if (due != 0)
		tcp_timer_set(tp, TCP_T_REO, due - now);
	else if (!l->timed)
		tcp_timer_stop(tp, TCP_T_REO);
	return l->lost_bytes - before;
}

bool tcp_rack_timeout(struct tcp_sock *tp, bool all)
{
	struct tcp_loss *l = tp->loss;
	uint64_t wait = reordering_window(tp, false) + l->rack_rtt_ns, now = tp->sk.engine->now_ns;
	struct tcp_xmit *head = tp->xmit;

	if (!all && !(head->flags & (XMIT_SACKED | XMIT_LOST)) && head->hi - head->lo > tcp_eff_mss(tp) &&
		tcp_xmit_split(tp, head, head->lo + tcp_eff_mss(tp)) == NULL) {
		tcp_xmit_forget(tp);
		return false;
	}
	all |= l->reneged;
	for (struct tcp_xmit *x = head; x != NULL; x = x->next) {
		if ((x->flags & XMIT_SACKED) && l->reneged) {
			l->sacked_bytes -= x->hi - x->lo;
			x->flags &= (uint8_t)~XMIT_SACKED;
		}
		if (!(x->flags & (XMIT_SACKED | XMIT_LOST)) && (all || x == head || x->sent_ns + wait <= now))
			tcp_xmit_lose(tp, x);
	}
	if (l->reneged)
		l->seen_n = 0;
	l->reneged = false;
	return true;
}
