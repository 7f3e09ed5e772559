/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in: parse, find whose it is. What happens then is in tcp_steps.c, tcp_listen.c, tcp_timewait.c. */
#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

/* A segment of a burst. */
struct arrival {
	struct tcp_seg s;
	uint32_t hash;
	bool again; /* between the same ends as the one before */
};

static bool segment_parse(struct engine *e, struct rte_mbuf *m, struct tcp_seg *s)
{
	struct pkt *p = pkt_of(m);

	if (!wire_tcp_parse(&s->h, rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m))) {
		e->counters.drop_l4_header++;
		return false;
	}
	p->src.port = s->h.sport;
	p->dst.port = s->h.dport;
	rte_pktmbuf_adj(m, s->h.header_bytes);
	s->m = m;
	s->seq = s->h.seq;
	s->len = rte_pktmbuf_pkt_len(m);
	s->fin = (s->h.flags & TCP_FIN) != 0;
	s->reuse = false;
	return true;
}

static void no_connection(struct engine *e, const struct pkt *p, struct tcp_seg *s)
{
	struct tcp_sock *lp = NULL;

	/* Segments to groups are nobody's business (RFC9293 MUST-57). */
	if (!ip_is_local(e, p->dst.addr))
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
static inline void deliver(struct engine *e, struct tcp_flow *f, struct tcp_seg *s)
{
	if (cv_likely(f != NULL && !f->is_tw)) {
		struct tcp_sock *tp = cv_container_of(f, struct tcp_sock, flow);

		if (!tcp_predict(tp, s))
			tcp_steps(tp, s);
		return;
	}
	if (f == NULL || !tcp_tw_input(e, cv_container_of(f, struct tcp_tw, flow), s))
		no_connection(e, pkt_of(s->m), s);
}

static bool same_ends(const struct pkt *a, const struct pkt *b)
{
	return a->src.port == b->src.port && a->dst.port == b->dst.port &&
		addr_equal(a->src.addr, b->src.addr) && addr_equal(a->dst.addr, b->dst.addr);
}

/* The connection that most likely has this hash: what a segment reads and writes of it. */
static void flow_prefetch(const struct tcp *t, uint32_t hash)
{
	const struct tcp_flow *f = list_entry(tcp_flow_bucket(t, hash)->next, struct tcp_flow, node);
	const char *tp = (const char *)cv_container_of(f, struct tcp_sock, flow);

	for (size_t at = 0; at < offsetof(struct tcp_sock, sacked.r); at += RTE_CACHE_LINE_SIZE)
		__builtin_prefetch(tp + at);
}

/* Parses the burst and asks for the memory of the connections that it will meet, so that one waits for
 * all and not for each. Returns how many are segments at all. */
static uint16_t arrive(
	struct engine *e, struct rte_mbuf **pkts, uint16_t n, struct arrival *burst)
{
	const struct tcp *t = e->tcp;
	const struct pkt *last = NULL;
	uint16_t k = 0;

	for (uint16_t i = 0; i < n; i++) {
		const struct pkt *p = pkt_of(pkts[i]);
		struct arrival *a = &burst[k];

		if (cv_unlikely(!segment_parse(e, pkts[i], &a->s))) {
			rte_pktmbuf_free(pkts[i]);
			continue;
		}
		a->again = last != NULL && same_ends(last, p);
		if (a->again) {
			a->hash = burst[k - 1].hash;
		} else {
			a->hash = tcp_flow_hash(t, &p->dst, &p->src);
			__builtin_prefetch(tcp_flow_bucket(t, a->hash));
		}
		last = p;
		k++;
	}
	e->counters.tcp_in += k;
	for (uint16_t i = 0; k > 1 && i < k; i++) {
		if (!burst[i].again)
			flow_prefetch(t, burst[i].hash);
	}
	return k;
}

void tcp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	const struct tcp *t = e->tcp;
	struct arrival burst[ENGINE_BURST];
	struct tcp_flow *f = NULL;
	uint32_t gen = t->flows_gen;
	uint16_t done = 0;

	n = arrive(e, pkts, n, burst);
	for (uint16_t i = 0; i < n; i++) {
		struct arrival *a = &burst[i];
		const struct pkt *p = pkt_of(a->s.m);

		/* What came before may have begun or ended connections. */
		if (!a->again || gen != t->flows_gen)
			f = tcp_flow_at(t, a->hash, &p->dst, &p->src);
		gen = t->flows_gen;
		deliver(e, f, &a->s);
		if (a->s.m != NULL)
			pkts[done++] = a->s.m;
	}
	rte_pktmbuf_free_bulk(pkts, done);
}
