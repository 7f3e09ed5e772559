/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way in: whose a datagram is, what its receive queue takes, and what becomes of it otherwise. Datagrams to a
 * group or a broadcast address go to every socket that takes them (RFC1112:4, udp(7)). Those of one sender that
 * follow each other become one, where the user wants that (UDP_GRO).
 */
#include <string.h>
#include <rte_udp.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/udp/priv.h"

#define UDP_DATAGRAM_COST 512u /* of a queued datagram against rcvbuf, besides its bytes */
#define UDP_GRO_BYTES 65507u   /* most that datagrams are put together to, */
#define UDP_GRO_SEGMENTS 128u  /* and most of them */

/* --- UDP_GRO: in a packet in the queue, pkt.seq is the size of the datagrams that it is made of, pkt.fin that none
 * follows --- */

static bool gro_fits(const struct udp_sock *us, struct rte_mbuf *tail, struct rte_mbuf *m)
{
	const struct pkt *t = pkt_of(tail), *p = pkt_of(m);
	uint32_t len = rte_pktmbuf_pkt_len(m), have = rte_pktmbuf_pkt_len(tail);

	(void)us;
	return !t->fin && len > 0 && len <= t->seq && have + len <= UDP_GRO_BYTES &&
	       have < t->seq * UDP_GRO_SEGMENTS && t->tos == p->tos && t->ttl == p->ttl && t->port == p->port &&
	       t->src.port == p->src.port && addr_equal(t->src.addr, p->src.addr) &&
	       addr_equal(t->dst.addr, p->dst.addr);
}

/* True: m is part of the packet at the queue's end now. */
static bool gro_join(struct udp_sock *us, struct rte_mbuf *m)
{
	struct sock *sk = &us->sk;
	struct rte_mbuf *tail = sk->rxq.tail;
	uint32_t len = rte_pktmbuf_pkt_len(m);
	struct pkt *p = pkt_of(m);

	if (tail == NULL || !gro_fits(us, tail, m)) {
		p->seq = len;
		p->fin = len == 0;
		return false;
	}
	pkt_of(tail)->fin = len < pkt_of(tail)->seq;
	sk->rxq_bytes += len;
	sk->engine->rx_held += m->nb_segs;
	if (rte_pktmbuf_chain(tail, m) != 0) { /* more pieces than a chain holds: cannot be, by the limits above */
		sk->rxq_bytes -= len;
		sk->engine->rx_held -= m->nb_segs;
		rte_pktmbuf_free(m);
	}
	sock_event(sk);
	return true;
}

/* --- the queue -------------------------------------------------------------------------------- */

/* As Linux: an empty queue takes one datagram, however large. */
static bool queue_has_room(const struct sock *sk, uint32_t len)
{
	uint64_t held = (uint64_t)sk->rxq_bytes + sk->rx_lent + (uint64_t)sk->rxq.n * UDP_DATAGRAM_COST;

	return (held + len <= sk->rcvbuf || held == 0) && !sock_rx_refuse(sk);
}

static void udp_deliver(struct engine *e, struct udp_sock *us, struct rte_mbuf *m)
{
	struct sock *sk = &us->sk;
	struct pkt *p = pkt_of(m);

	if (cv_unlikely(!queue_has_room(sk, rte_pktmbuf_pkt_len(m)))) {
		e->counters.udp_queue_full++;
		us->drops++;
		rte_pktmbuf_free(m);
		return;
	}
	e->counters.udp_in++;
	p->seq = 0;
	/* Nobody asks a received packet for its RSS hash any more: it holds the time. */
	if (us->flags & (UDP_TIMESTAMP | UDP_TIMESTAMPNS))
		memcpy(&m->hash, &e->now_ns, sizeof(e->now_ns));
	if ((us->flags & UDP_GRO) && gro_join(us, m))
		return;
	sock_rx_queue(sk, m);
}

bool udp_rx_extra(const struct sock *sk, const struct rte_mbuf *m, struct cv_rxd_extra *extra)
{
	const struct udp_sock *us = cv_container_of(sk, struct udp_sock, sk);

	if (cv_likely((us->flags & (UDP_TIMESTAMP | UDP_TIMESTAMPNS | UDP_RXQ_OVFL)) == 0))
		return false;
	*extra = (struct cv_rxd_extra){.drops = us->drops};
	if (us->flags & (UDP_TIMESTAMP | UDP_TIMESTAMPNS))
		memcpy(&extra->time_ns, &m->hash, sizeof(extra->time_ns));
	return true;
}

/* --- whose it is -------------------------------------------------------------------------------- */

/* Copies share the bytes; each has a description of its own. */
static struct rte_mbuf *copy_of(struct engine *e, struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_clone(m, e->pkt_pool);

	if (copy == NULL)
		e->counters.no_mbuf++;
	else
		*pkt_of(copy) = *pkt_of(m);
	return copy;
}

/* m: the payload. */
static void udp_deliver_all(struct engine *e, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	struct udp_sock *before = NULL;

	list_for_each (node, udp_bucket(e->udp, p->dst.port)) {
		struct udp_sock *us = list_entry(node, struct udp_sock, port_node);
		struct rte_mbuf *copy;

		if (!udp_gets_copy(e, us, p))
			continue;
		if (before != NULL && (copy = copy_of(e, m)) != NULL)
			udp_deliver(e, before, copy);
		before = us;
	}
	if (before != NULL) {
		udp_deliver(e, before, m);
		return;
	}
	e->counters.udp_no_port++;
	rte_pktmbuf_free(m);
}

static void nobody(struct engine *e, struct rte_mbuf *m)
{
	e->counters.udp_no_port++;
	icmp_send_port_unreachable(e, m);
	rte_pktmbuf_free(m);
}

/* What is sent to many comes to the first worker, which gives a copy to each other one with sockets on the port. m: with
 * its header. */
static void others_tell(struct engine *e, const struct pkt *p, const struct rte_mbuf *m)
{
	uint32_t others;

	if (cv_likely(e->crew == NULL) || e->worker != 0)
		return;
	others = crew_udp_workers(e, p->dst.port) & ~1u;
	for (uint16_t to = 1; others >> to != 0; to++) {
		struct rte_mbuf *copy = others >> to & 1 ? crew_copy(e, m) : NULL;

		if (copy != NULL)
			crew_hand_over(e, to, copy, CREW_PARSED);
	}
}

/* The socket of the datagram before in this burst, and the ports that it had, as they lie in the header. */
struct flow {
	struct udp_sock *us;
	uint32_t ports;
};

/* NULL: to many, or to nobody; *many says which. */
static struct udp_sock *find_one(struct engine *e, const struct pkt *p, bool *many)
{
	*many = addr_is_multicast(p->dst.addr) || ip_is_broadcast(e, p->dst.addr);
	return *many ? NULL : udp_find(e, p->port, &p->src, &p->dst);
}

static void udp_input_one(struct engine *e, struct rte_mbuf *m, struct flow *flow)
{
	const struct rte_udp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_udp_hdr *);
	struct pkt *p = pkt_of(m);
	bool many = false;
	uint32_t ports;
	uint16_t len;

	if (cv_unlikely(rte_pktmbuf_data_len(m) < sizeof(*h) ||
			(len = rte_be_to_cpu_16(h->dgram_len)) < sizeof(*h) ||
			len > rte_pktmbuf_pkt_len(m))) {
		e->counters.drop_l4_header++;
		rte_pktmbuf_free(m);
		return;
	}
	p->src.port = rte_be_to_cpu_16(h->src_port);
	p->dst.port = rte_be_to_cpu_16(h->dst_port);
	memcpy(&ports, h, sizeof(ports));
	if (!p->again || flow->us == NULL || ports != flow->ports) {
		flow->us = find_one(e, p, &many);
		flow->ports = ports;
	}
	if (cv_unlikely(flow->us == NULL && !many)) {
		nobody(e, m);
		return;
	}
	if (cv_unlikely(many))
		others_tell(e, p, m);
	if (rte_pktmbuf_pkt_len(m) > len)
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - len);
	pkt_cut_front(m, sizeof(*h));
	if (cv_unlikely(many))
		udp_deliver_all(e, m);
	else
		udp_deliver(e, flow->us, m);
}

void udp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	struct flow flow = {NULL, 0};

	for (uint16_t i = 0; i < n; i++)
		udp_input_one(e, pkts[i], &flow);
}
