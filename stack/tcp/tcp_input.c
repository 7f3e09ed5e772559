/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in: parse, find whose it is. What happens then is in tcp_steps.c, tcp_listen.c, tcp_timewait.c. */
#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

/* Smaller pieces are not worth a buffer each in the receive queue (tcp_receive.c copies them together). */
#define MERGE_BYTES_MIN 256u
#define MERGE_BYTES_MAX 65536u

/* A segment of a burst. */
struct arrival {
	struct tcp_seg s;
	struct rte_mbuf *tail; /* of what was merged; NULL: nothing */
	bool again;    /* between the same ends as the one before */
	uint8_t kind;  /* enum kind */
};

/* Segments of one kind may be merged. */
enum kind {
	KIND_OTHER = 0,
	KIND_PLAIN = 1, /* an ACK and nothing but what follows */
	KIND_DATA = 2,
	KIND_TS = 4,
};

static inline bool segment_parse(struct engine *e, struct rte_mbuf *m, struct arrival *a)
{
	struct pkt *p = pkt_of(m);
	struct tcp_seg *s = &a->s;
	uint8_t head;

	if (!wire_tcp_parse(&s->h, rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m))) {
		e->counters.drop_l4_header++;
		return false;
	}
	p->src.port = s->h.sport;
	p->dst.port = s->h.dport;
	head = s->h.header_bytes; /* which m has: no need to ask rte_pktmbuf_adj() */
	m->data_off = (uint16_t)(m->data_off + head);
	m->data_len = (uint16_t)(m->data_len - head);
	m->pkt_len -= head;
	s->m = m;
	s->seq = s->h.seq;
	s->len = rte_pktmbuf_pkt_len(m);
	s->segs = 1;
	s->fin = (s->h.flags & TCP_FIN) != 0;
	s->cut = s->reuse = false;
	a->tail = NULL;
	a->kind = KIND_OTHER;
	if ((s->h.flags & ~TCP_PSH) == TCP_ACK && s->h.sacks_n == 0)
		a->kind = (uint8_t)(KIND_PLAIN | (s->len > 0 ? KIND_DATA : 0) |
			(s->h.has_ts ? KIND_TS : 0));
	return true;
}

static void no_connection(struct engine *e, const struct pkt *p, struct tcp_seg *s)
{
	struct tcp_sock *lp = NULL;

	/* Segments to groups are nobody's business (RFC9293 MUST-57), nor are those in frames to everybody (Linux). */
	if (p->to_all || !ip_is_local(e, p->dst.addr))
		return;
	lp = tcp_listener_find(e, &p->dst, &p->src);
	if (lp != NULL) {
		tcp_listen_input(lp, s, p);
		return;
	}
	e->counters.tcp_no_port++;
	tcp_rst_reply(e, p, s);
}

/* Leaves in s->m what nobody kept. */
static inline void deliver(struct engine *e, struct sock_flow *f, struct tcp_seg *s)
{
	if (cv_likely(f != NULL && f->kind == TCP_FLOW_SOCK)) {
		struct tcp_sock *tp = cv_container_of(f, struct tcp_sock, sk.flow);

		if (!tcp_predict(tp, s))
			tcp_steps(tp, s);
		return;
	}
	if (f != NULL && f->kind == TCP_FLOW_EMBRYO)
		tcp_embryo_input(e, cv_container_of(f, struct tcp_embryo, flow), s);
	else if (f == NULL || !tcp_tw_input(e, cv_container_of(f, struct tcp_tw, flow), s))
		no_connection(e, pkt_of(s->m), s);
}

/* b came next to a in its burst. */
static inline bool same_ends(const struct tcp_seg *a, const struct tcp_seg *b)
{
	const struct pkt *p = pkt_of(a->m), *q = pkt_of(b->m);

	return a->h.sport == b->h.sport && a->h.dport == b->h.dport &&
		(q->again || (addr_equal(p->src.addr, q->src.addr) && addr_equal(p->dst.addr, q->dst.addr)));
}

/* Of two ACKs in a row the second says all that the first said. */
static inline bool ack_merge(struct arrival *a, const struct tcp_seg *b)
{
	if (a->s.seq != b->seq || !seq_gt(b->h.ack, a->s.h.ack) || seq_lt(b->h.tsval, a->s.h.tsval))
		return false;
	a->s.h.ack = b->h.ack;
	a->s.h.tsval = b->h.tsval;
	return true;
}

/* Data behind data; their timestamps must be the same, because an ACK echoes the first one's (RFC7323:4.2). */
static inline bool data_merge(struct arrival *a, const struct tcp_seg *b)
{
	struct rte_mbuf *m = a->s.m;

	if (a->s.seq + a->s.len != b->seq || a->s.h.ack != b->h.ack || a->s.h.tsval != b->h.tsval ||
		a->s.len < MERGE_BYTES_MIN || b->len < MERGE_BYTES_MIN ||
		a->s.len + b->len > MERGE_BYTES_MAX || b->m->nb_segs != 1)
		return false;
	if (a->tail == NULL)
		a->tail = rte_pktmbuf_lastseg(m);
	a->tail->next = b->m;
	a->tail = b->m;
	m->nb_segs++;
	m->pkt_len += b->len;
	a->s.len += b->len;
	return true;
}

/* What one burst brings for one connection in a row is one segment to it, if it tells no more apart: no
 * difference to the connection, which sees all of it at the same time and answers at the end of the turn. */
static inline bool merge(struct arrival *a, const struct arrival *next)
{
	const struct tcp_seg *b = &next->s;

	if (a->kind != next->kind || a->kind == KIND_OTHER || pkt_of(a->s.m)->tos != pkt_of(b->m)->tos)
		return false;
	if (!(a->kind & KIND_DATA ? data_merge(a, b) : ack_merge(a, b)))
		return false;
	a->s.h.flags |= b->h.flags;
	a->s.h.wnd = b->h.wnd;
	a->s.h.tsecr = b->h.tsecr;
	a->s.segs++;
	return true;
}

/* The connection that most likely has this hash: what a segment reads and writes of it. */
static void flow_prefetch(const struct tcp *t, uint32_t hash)
{
	const struct sock_flow *f = *tcp_flow_bucket(t, hash);
	const char *tp;

	if (f == NULL)
		return;
	tp = (const char *)f - offsetof(struct tcp_sock, sk.flow);
	for (size_t at = 0; at < offsetof(struct tcp_sock, timer); at += RTE_CACHE_LINE_SIZE)
		__builtin_prefetch(tp + at);
}

/* Parses the burst, merges what can be, and asks for the memory of the connections that it will meet, so
 * that one waits for all and not for each. Returns how many segments there are; what is not needed any more is
 * freed. */
static uint32_t arrive(
	struct engine *e, struct rte_mbuf **pkts, uint32_t n, struct arrival *burst)
{
	const struct tcp *t = e->tcp;
	struct arrival *last = NULL, *a = burst;
	uint32_t freed = 0, bad = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct pkt *p = pkt_of(pkts[i]);

		if (cv_unlikely(!segment_parse(e, pkts[i], a))) {
			pkts[freed++] = pkts[i];
			bad++;
			last = NULL; /* the next one's `again` speaks of this one */
			continue;
		}
		a->again = last != NULL && same_ends(&last->s, &a->s);
		if (!a->again) {
			a->s.hash = tcp_flow_hash(t, &p->dst, &p->src);
			__builtin_prefetch(tcp_flow_bucket(t, a->s.hash));
		} else if (merge(last, a)) {
			if (a->s.len == 0)
				pkts[freed++] = a->s.m;
			continue;
		} else {
			a->s.hash = last->s.hash;
		}
		last = a++;
	}
	e->counters.tcp_in += n - bad;
	pkt_free_burst(pkts, freed);
	n = (uint32_t)(a - burst);
	for (a = burst; n > 1 && a < burst + n; a++) {
		if (!a->again)
			flow_prefetch(t, a->s.hash);
	}
	return n;
}

void tcp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	const struct tcp *t = e->tcp;
	struct arrival burst[ENGINE_BURST];
	const struct arrival *end = burst + arrive(e, pkts, n, burst);
	struct sock_flow *f = NULL;
	uint32_t gen = t->flows_gen, done = 0;

	for (struct arrival *a = burst; a < end; a++) {
		const struct pkt *p = pkt_of(a->s.m);

		/* What came before may have begun or ended connections. */
		if (!a->again || gen != t->flows_gen)
			f = tcp_flow_at(t, a->s.hash, &p->dst, &p->src);
		gen = t->flows_gen;
		deliver(e, f, &a->s);
		if (a->s.m != NULL)
			pkts[done++] = a->s.m;
	}
	pkt_free_burst(pkts, done);
}
