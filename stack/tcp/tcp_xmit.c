/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of transmissions, for RACK (RFC8985:5.1). What one turn sends in a row is one record, however many segments it
 * is, because all of it went at one time; SACK blocks and retransmissions cut it where they must. So a healthy
 * connection pays for a record a turn, and the lists by time and of the lost are made only when something is wrong.
 */
#include "stack/tcp/tcp_loss.h"

static struct tcp_xmit *xmit_get(struct tcp_sock *tp)
{
	struct tcp_xmit *x = pool_get(&tp->sk.engine->tcp->xmits);

	if (x == NULL)
		tp->sk.engine->counters.tcp_xmit_limit++;
	return x;
}

void tcp_xmit_add(struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	struct tcp_xmit *x;

	/* A connection that once had none begins again when nothing is under way. */
	if (!tp->sack_ok || (tp->xmit == NULL && tp->snd_una != lo))
		return;
	x = xmit_get(tp);
	if (x == NULL) {
		tcp_xmit_forget(tp);
		return;
	}
	*x = (struct tcp_xmit){.lo = lo, .hi = hi, .sent_ns = tp->sk.engine->now_ns};
	if (tp->xmit == NULL)
		tp->xmit = x;
	else
		tp->xmit_last->next = x;
	tp->xmit_last = x;
	list_init(&x->way);
	if (tp->loss != NULL)
		list_add_tail(&tp->loss->flight, &x->way);
}

struct tcp_xmit *tcp_xmit_split(struct tcp_sock *tp, struct tcp_xmit *x, uint32_t at)
{
	struct tcp_xmit *y = xmit_get(tp);

	if (y == NULL)
		return NULL;
	*y = *x;
	y->lo = at;
	x->hi = at;
	x->next = y;
	if (tp->xmit_last == x)
		tp->xmit_last = y;
	list_init(&y->way);
	if (tp->loss != NULL && !list_empty(&x->way))
		list_add_head(&x->way, &y->way);
	return y;
}

void tcp_xmit_join(struct tcp_sock *tp, struct tcp_xmit *x)
{
	struct tcp_xmit *y = x->next;

	x->hi = y->hi;
	x->next = y->next;
	x->flags |= y->flags & XMIT_AGAIN;
	if (tp->xmit_last == y)
		tp->xmit_last = x;
	if (tp->loss->hint == y)
		tp->loss->hint = x;
	pool_put(&tp->sk.engine->tcp->xmits, y);
}

void tcp_xmit_drop(struct tcp_sock *tp)
{
	while (tp->xmit != NULL) {
		struct tcp_xmit *x = tp->xmit;

		tp->xmit = x->next;
		pool_put(&tp->sk.engine->tcp->xmits, x);
	}
}

/* Holes below high_rxt were sent again, those from there to lost_below are still to be. */
static void to_holes(struct tcp_sock *tp, struct tcp_loss *l)
{
	bool lost = false;

	ranges_clear(&l->sacked);
	l->high_rxt = l->lost_below = tp->snd_una;
	for (const struct tcp_xmit *x = tp->xmit; x != NULL; x = x->next) {
		if ((x->flags & XMIT_SACKED) && seq_gt(x->lo, tp->snd_una)) { /* else it was thrown away (RFC2018:8) */
			(void)ranges_add(&l->sacked, x->lo, x->hi);
		} else if (x->flags & XMIT_LOST) {
			l->lost_below = x->hi;
			lost = true;
		} else if ((x->flags & XMIT_AGAIN) && !lost) {
			l->high_rxt = l->lost_below = x->hi;
		}
	}
	if (l->probe)
		tp->ssthresh = tp->cwnd; /* what is not known any more ends as any other recovery */
	if (tp->in_recovery && !l->cwr) {
		l->lost_below = seq_max(l->lost_below, tp->snd_una + 1);
		tp->cwnd = tp->ssthresh;
	} else if (l->cwr) {
		tp->in_recovery = 0;
		tp->cwnd = tp->ssthresh;
	}
	l->cwr = l->undo = l->tlp_out = l->reneged = l->frto = l->probe = false;
	l->sacked_bytes = l->lost_bytes = 0;
	l->holes = true;
	l->hint = NULL;
	list_init(&l->flight);
	list_init(&l->lost);
}

void tcp_xmit_forget(struct tcp_sock *tp)
{
	if (tp->loss != NULL)
		to_holes(tp, tp->loss);
	tcp_xmit_drop(tp);
	tcp_timer_stop(tp, TCP_T_REO);
}

static uint64_t sent_at(struct list *node)
{
	return list_entry(node, struct tcp_xmit, way)->sent_ns;
}

struct list *tcp_xmit_place(struct tcp_loss *l, struct list *near, struct tcp_xmit *x)
{
	while (near != &l->flight && sent_at(near) > x->sent_ns)
		near = near->prev;
	while (near->next != &l->flight && sent_at(near->next) <= x->sent_ns)
		near = near->next;
	list_add_head(near, &x->way);
	return &x->way;
}

void tcp_xmit_fly(struct tcp_sock *tp, struct tcp_xmit *x)
{
	struct tcp_loss *l = tp->loss;

	if (x->flags & XMIT_LOST)
		l->lost_bytes -= x->hi - x->lo;
	x->flags &= (uint8_t)~XMIT_LOST;
	list_del(&x->way);
	(void)tcp_xmit_place(l, l->flight.prev, x);
}

void tcp_xmit_lose(struct tcp_sock *tp, struct tcp_xmit *x)
{
	struct tcp_loss *l = tp->loss;
	struct list *at;

	x->flags |= XMIT_LOST;
	l->lost_bytes += x->hi - x->lo;
	list_del(&x->way);
	at = l->lost.prev;
	if (!list_empty(&l->lost) && seq_lt(x->lo, list_entry(l->lost.next, struct tcp_xmit, way)->lo))
		at = &l->lost; /* a retransmission that is lost: those go in order */
	while (at != &l->lost && seq_gt(list_entry(at, struct tcp_xmit, way)->lo, x->lo))
		at = at->prev;
	list_add_head(at, &x->way);
}

bool tcp_xmit_again(struct tcp_sock *tp, struct tcp_xmit *x, uint32_t seq, uint32_t len)
{
	if (seq != x->lo) {
		x = tcp_xmit_split(tp, x, seq);
		if (x == NULL)
			return false;
	}
	if (x->hi != seq + len && tcp_xmit_split(tp, x, seq + len) == NULL)
		return false;
	x->flags |= XMIT_AGAIN;
	x->sent_ns = tp->sk.engine->now_ns;
	tcp_xmit_fly(tp, x);
	return true;
}
