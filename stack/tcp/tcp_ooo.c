/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Out of order: segments of the peer that wait for a gap before them to close, and what the peer is told of them (RFC2018,
 * RFC2883).
 *
 * What follows without a gap is a run (struct tcp_run, tcp_loss.h): a chain of packets that do not overlap. The runs of a
 * connection are in a treap by sequence number, whose weights nobody outside knows: in whatever order segments come, each
 * costs the logarithm of the runs. Runs are in one of two lists, too: those that changed since the peer was told of them, and
 * the others, the latest first.
 *
 * Owns: struct tcp_ooo and its runs. Does not own: what is acceptable, and text in order (tcp_receive.c).
 * Called by: tcp_receive.c, tcp_segment.c, tcp_state.c.
 */
#include "stack/tcp/tcp_loss.h"

/* --- the treap */

/* The last run that begins at or before x. */
static struct tcp_run *run_below(const struct tcp_ooo *o, uint32_t x)
{
	struct tcp_run *found = NULL;

	for (struct tcp_run *r = o->root; r != NULL;) {
		bool higher = seq_leq(r->lo, x);

		found = higher ? r : found;
		r = r->kid[higher];
	}
	return found;
}

/* The first run that begins at or behind x. */
static struct tcp_run *run_above(const struct tcp_ooo *o, uint32_t x)
{
	struct tcp_run *found = NULL;

	for (struct tcp_run *r = o->root; r != NULL;) {
		bool higher = seq_lt(r->lo, x);

		found = higher ? found : r;
		r = r->kid[higher];
	}
	return found;
}

static struct tcp_run *run_first(const struct tcp_ooo *o)
{
	struct tcp_run *r = o->root;

	while (r->kid[0] != NULL)
		r = r->kid[0];
	return r;
}

/* Below every run is what has less weight: r takes the place of the first such, which becomes its two kids. */
static void treap_add(struct tcp_ooo *o, struct tcp_run *r)
{
	struct tcp_run **at = &o->root, **low = &r->kid[0], **high = &r->kid[1];

	while (*at != NULL && (*at)->weight > r->weight)
		at = &(*at)->kid[seq_lt((*at)->lo, r->lo)];
	for (struct tcp_run *rest = *at; rest != NULL;) {
		bool lower = seq_lt(rest->lo, r->lo);
		struct tcp_run *next = rest->kid[lower];

		if (lower) {
			*low = rest;
			low = &rest->kid[1];
		} else {
			*high = rest;
			high = &rest->kid[0];
		}
		rest = next;
	}
	*low = *high = NULL;
	*at = r;
}

static void treap_del(struct tcp_ooo *o, struct tcp_run *r)
{
	struct tcp_run **at = &o->root, *low = r->kid[0], *high = r->kid[1];

	while (*at != r)
		at = &(*at)->kid[seq_lt((*at)->lo, r->lo)];
	while (low != NULL && high != NULL) {
		if (low->weight > high->weight) {
			*at = low;
			at = &low->kid[1];
			low = *at;
		} else {
			*at = high;
			at = &high->kid[0];
			high = *at;
		}
	}
	*at = low != NULL ? low : high;
}

/* --- runs and packets */

static struct tcp_run *run_new(struct tcp *t, struct tcp_ooo *o, const struct tcp_seg *s)
{
	struct tcp_run *r = pool_get(&t->runs);

	if (r == NULL)
		return NULL;
	t->run_weight = t->run_weight * 6364136223846793005u + 1442695040888963407u;
	*r = (struct tcp_run){.lo = s->seq, .hi = s->seq, .weight = (uint32_t)(t->run_weight >> 32)};
	treap_add(o, r);
	list_add_tail(&o->changed, &r->node);
	return r;
}

/* Its packets are somebody else's, or gone. */
static void run_free(struct tcp *t, struct tcp_ooo *o, struct tcp_run *r)
{
	treap_del(o, r);
	list_del(&r->node);
	pool_put(&t->runs, r);
}

static void run_push(struct tcp_run *r, struct rte_mbuf *first, struct rte_mbuf *last)
{
	if (r->tail != NULL)
		pkt_of(r->tail)->next = first;
	else
		r->head = first;
	r->tail = last;
}

static void run_changed(struct tcp_ooo *o, struct tcp_run *r)
{
	list_del(&r->node);
	list_add_tail(&o->changed, &r->node);
}

/* The run's first packet, and with the last the run. */
static struct rte_mbuf *run_pop(struct tcp *t, struct tcp_ooo *o, struct tcp_run *r)
{
	struct rte_mbuf *m = r->head;

	r->head = m == r->tail ? NULL : pkt_of(m)->next;
	o->n--;
	t->ooo_n--;
	if (r->head == NULL)
		run_free(t, o, r);
	else
		r->lo = pkt_of(r->head)->seq;
	return m;
}

static struct tcp_ooo *ooo_get(struct tcp_sock *tp)
{
	struct tcp_ooo *o = tp->ooo;

	if (o != NULL)
		return o;
	o = pool_get(&tp->sk.engine->tcp->ooos);
	if (o == NULL)
		return NULL;
	o->root = NULL;
	o->n = 0;
	list_init(&o->changed);
	list_init(&o->told);
	return tp->ooo = o;
}

static void ooo_put_if_empty(struct tcp_sock *tp)
{
	if (tp->ooo == NULL || tp->ooo->root != NULL)
		return;
	pool_put(&tp->sk.engine->tcp->ooos, tp->ooo);
	tp->ooo = NULL;
}

/* --- the way in */

/* A connection may have as many as are left for all others: however many connections take what they can get, there is some
 * for the next one. */
static bool has_room(const struct tcp_sock *tp)
{
	const struct tcp *t = tp->sk.engine->tcp;
	uint32_t n = tp->ooo != NULL ? tp->ooo->n : 0;

	return n < t->config.out_of_order && n < t->ooo_max - t->ooo_n;
}

/* The first part of s that waits already is told. */
static void tell_duplicate(struct tcp_sock *tp, const struct tcp_run *below, const struct tcp_seg *s)
{
	uint32_t data = s->seq + s->len;
	const struct tcp_run *r = below != NULL && seq_gt(below->hi, s->seq) ? below : run_above(tp->ooo, s->seq);

	if (r != NULL && seq_lt(r->lo, data))
		tcp_sack_duplicate(tp, seq_max(r->lo, s->seq), seq_min(r->hi, data));
}

/* What runs behind the beginning of s have of it: they go if s has all of them, or else s ends where the run begins. */
static void cut_back(struct tcp_sock *tp, struct tcp_seg *s)
{
	struct tcp *t = tp->sk.engine->tcp;
	struct tcp_ooo *o = tp->ooo;
	struct tcp_run *r;

	while ((r = run_above(o, s->seq)) != NULL && seq_lt(r->lo, s->seq + s->len + s->fin)) {
		if (seq_leq(r->hi, s->seq + s->len + s->fin)) {
			bool last;

			do {
				last = r->head == r->tail;
				rte_pktmbuf_free(run_pop(t, o, r));
			} while (!last);
			continue;
		}
		if (seq_lt(r->lo, s->seq + s->len)) {
			pkt_cut_back(s->m, s->seq + s->len - r->lo);
			s->len = r->lo - s->seq;
		}
		s->fin = false;
	}
}

/* s, which has nothing that waits already, joins the run before it or begins one, and may close the gap to the next. */
static bool link_up(struct tcp_sock *tp, struct tcp_run *below, const struct tcp_seg *s)
{
	struct tcp *t = tp->sk.engine->tcp;
	struct tcp_ooo *o = tp->ooo;
	struct tcp_run *r = below != NULL && below->hi == s->seq ? below : run_new(t, o, s), *above;

	if (r == NULL)
		return false;
	pkt_of(s->m)->seq = s->seq;
	pkt_of(s->m)->fin = s->fin;
	run_push(r, s->m, s->m);
	r->hi = s->seq + s->len + s->fin;
	above = run_above(o, r->hi);
	if (above != NULL && above->lo == r->hi) {
		run_push(r, above->head, above->tail);
		r->hi = above->hi;
		run_free(t, o, above);
	}
	run_changed(o, r);
	o->n++;
	t->ooo_n++;
	return true;
}

void tcp_ooo_queue(struct tcp_sock *tp, struct tcp_seg *s)
{
	struct tcp_ooo *o = has_room(tp) ? ooo_get(tp) : tp->ooo;
	struct tcp_run *below = NULL;

	if (o != NULL) {
		below = run_below(o, s->seq);
		tell_duplicate(tp, below, s);
		if (below != NULL && seq_geq(below->hi, s->seq + s->len + s->fin)) {
			run_changed(o, below); /* RFC2883:4: its block follows */
			return;
		}
	}
	if (o == NULL || !has_room(tp)) {
		tp->sk.engine->counters.tcp_ooo_drop++;
		return;
	}
	if (below != NULL && seq_gt(below->hi, s->seq)) {
		pkt_cut_front(s->m, below->hi - s->seq);
		s->len -= below->hi - s->seq;
		s->seq = below->hi;
	}
	cut_back(tp, s);
	if (link_up(tp, below, s))
		s->m = NULL;
	else
		tp->sk.engine->counters.tcp_ooo_drop++;
	ooo_put_if_empty(tp);
}

struct rte_mbuf *tcp_ooo_take(struct tcp_sock *tp)
{
	struct tcp *t = tp->sk.engine->tcp;

	while (tp->ooo != NULL) {
		struct tcp_run *r = run_first(tp->ooo);
		uint32_t cut = tp->rcv_nxt - r->lo;
		struct rte_mbuf *m;

		if (seq_gt(r->lo, tp->rcv_nxt))
			return NULL;
		if (cut > 0) /* what closed the gap brought some of it again */
			tcp_sack_duplicate(tp, r->lo, seq_min(r->hi, tp->rcv_nxt));
		m = run_pop(t, tp->ooo, r);
		ooo_put_if_empty(tp);
		if (cut <= rte_pktmbuf_pkt_len(m)) {
			pkt_cut_front(m, cut);
			return m;
		}
		rte_pktmbuf_free(m);
	}
	return NULL;
}

void tcp_ooo_drop(struct tcp_sock *tp)
{
	struct tcp *t = tp->sk.engine->tcp;

	while (tp->ooo != NULL) {
		rte_pktmbuf_free(run_pop(t, tp->ooo, tp->ooo->root));
		ooo_put_if_empty(tp);
	}
}

#define WRONG (1u << 31)

/* Packets of r and its kids. *behind: where the run before them ends, and then where they do. */
static uint32_t packets_count(const struct tcp_run *r, uint32_t *behind)
{
	uint32_t n = 0, at;

	if (r == NULL)
		return 0;
	n += packets_count(r->kid[0], behind);
	if (!seq_gt(r->lo, *behind))
		n |= WRONG;
	at = r->lo;
	for (struct rte_mbuf *m = r->head;; m = pkt_of(m)->next) {
		if (pkt_of(m)->seq != at)
			n |= WRONG;
		at += rte_pktmbuf_pkt_len(m) + pkt_of(m)->fin;
		n++;
		if (m == r->tail)
			break;
	}
	if (at != r->hi)
		n |= WRONG;
	*behind = r->hi;
	return n + packets_count(r->kid[1], behind);
}

bool tcp_ooo_is_consistent(const struct tcp_sock *tp)
{
	uint32_t behind = tp->rcv_nxt;

	return tp->ooo == NULL || (tp->ooo->n > 0 && packets_count(tp->ooo->root, &behind) == tp->ooo->n);
}

/* --- what the peer is told */

/* An ACK has room for one such range. Of several that one ACK answers the first is told, with what touches it: the same
 * whether a burst's segments were merged or not. */
void tcp_sack_duplicate(struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	if (!tp->sack_ok || !seq_lt(lo, hi))
		return;
	if (tp->dup_lo == tp->dup_hi) {
		tp->dup_lo = lo;
		tp->dup_hi = hi;
	} else if (seq_leq(lo, tp->dup_hi) && seq_geq(hi, tp->dup_lo)) {
		tp->dup_lo = seq_min(tp->dup_lo, lo);
		tp->dup_hi = seq_max(tp->dup_hi, hi);
	}
}

/* RFC2883:4: first what came twice. RFC2018:4: then the block of the segment that came last, and those told last, so that an
 * ACK that is lost is no loss of what it told. Of more changes than it has room for an ACK tells the first, as if it had gone
 * when they were all. */
uint8_t tcp_sack_blocks(struct tcp_sock *tp, struct range out[WIRE_TCP_SACK_MAX])
{
	struct tcp_ooo *o = tp->ooo;
	struct list *again, *node, *news[WIRE_TCP_SACK_MAX];
	uint8_t n = 0, k = 0, most = tp->ts_ok ? 3 : 4;

	if (tp->dup_lo != tp->dup_hi)
		out[n++] = (struct range){tp->dup_lo, tp->dup_hi};
	tp->dup_lo = tp->dup_hi = 0;
	if (o == NULL)
		return n;
	again = o->told.next;
	while (n + k < most && (node = list_pop(&o->changed)) != NULL)
		news[k++] = node;
	while (k > 0) {
		const struct tcp_run *r = list_entry(news[--k], struct tcp_run, node);

		out[n++] = (struct range){r->lo, r->hi};
		list_insert_before(again, news[k]);
	}
	for (; n < most && again != &o->told; again = again->next) {
		const struct tcp_run *r = list_entry(again, struct tcp_run, node);

		out[n++] = (struct range){r->lo, r->hi};
	}
	return n;
}

bool tcp_sack_is_due(const struct tcp_sock *tp)
{
	return tp->ooo != NULL && !list_empty(&tp->ooo->changed);
}
