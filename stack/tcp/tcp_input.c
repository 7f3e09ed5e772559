/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in: parse, find whose it is. What happens then is in tcp_steps.c, tcp_listen.c, tcp_timewait.c. */
#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

static bool segment_parse(struct engine *e, struct rte_mbuf *m, struct tcp_seg *s)
{
	struct pkt *p = pkt_of(m);

	if (!wire_tcp_parse(&s->h, rte_pktmbuf_mtod(m, const uint8_t *), rte_pktmbuf_data_len(m))) {
		e->counters.drop_l4_header++;
		return false;
	}
	p->src.port = s->h.sport;
	p->dst.port = s->h.dport;
	pkt_cut_front(m, s->h.header_bytes);
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

static void input_one(struct engine *e, struct rte_mbuf *m)
{
	struct tcp_seg s;
	struct tcp_flow *f;
	const struct pkt *p = pkt_of(m);

	if (!segment_parse(e, m, &s)) {
		rte_pktmbuf_free(m);
		return;
	}
	e->counters.tcp_in++;
	f = tcp_flow_find(e, &p->dst, &p->src);
	if (f == NULL) {
		no_connection(e, p, &s);
	} else if (!f->is_tw) {
		tcp_steps(cv_container_of(f, struct tcp_sock, flow), &s);
	} else if (!tcp_tw_input(e, cv_container_of(f, struct tcp_tw, flow), &s)) {
		no_connection(e, p, &s);
	}
	if (s.m != NULL)
		rte_pktmbuf_free(s.m);
}

void tcp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		input_one(e, pkts[i]);
}
