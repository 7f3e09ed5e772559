/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP (RFC826): the questions and answers of IPv4's neighbours, and the frames of address conflict detection
 * (RFC5227). The table is neigh.c's, what becomes of our addresses local.c's. */
#include <string.h>
#include <rte_arp.h>
#include <rte_ether.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t unknown[6];

static void arp_send(struct engine *e, struct port *port, uint16_t op, const uint8_t eth_dst[6],
	const uint8_t src[16], const uint8_t tha[6], const uint8_t tpa[16])
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(e->pkt_pool);
	struct rte_arp_hdr *h;

	if (m == NULL) {
		e->counters.no_mbuf++;
		return;
	}
	h = (void *)rte_pktmbuf_append(m, sizeof(*h));
	h->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
	h->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	h->arp_hlen = 6;
	h->arp_plen = 4;
	h->arp_opcode = rte_cpu_to_be_16(op);
	memcpy(&h->arp_data.arp_sha, port->mac, 6);
	memcpy(&h->arp_data.arp_sip, src + 12, 4);
	memcpy(&h->arp_data.arp_tha, tha, 6);
	memcpy(&h->arp_data.arp_tip, tpa + 12, 4);
	if (op == RTE_ARP_OP_REQUEST)
		e->counters.arp_requests_out++;
	else
		e->counters.arp_replies_out++;
	eth_output(e, port, m, eth_dst, RTE_ETHER_TYPE_ARP);
}

static const struct net_addr *source_towards(const struct port *port, const uint8_t addr[16])
{
	const struct net *net = port->iface->engine->net;
	const struct net_addr *any = NULL;

	net_for_each_addr(a, net)
	{
		if (a->port != port || !addr_is_v4(a->addr) || !net_addr_usable(a))
			continue;
		if (addr_in_prefix(addr, a->addr, a->prefix))
			return a;
		if (any == NULL)
			any = a;
	}
	return any;
}

bool arp_ask(struct neigh *n, bool unicast)
{
	const struct net_addr *src = source_towards(n->port, n->addr);

	if (src != NULL)
		arp_send(n->engine, n->port, RTE_ARP_OP_REQUEST, unicast ? n->mac : broadcast, src->addr,
			unknown, n->addr);
	return src != NULL;
}

static bool arp_is_sane(const struct rte_arp_hdr *h)
{
	return h->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
	       h->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && h->arp_hlen == 6 &&
	       h->arp_plen == 4 && !(h->arp_data.arp_sha.addr_bytes[0] & 1);
}

/* Whether it claims an address of ours, or tests one that we are testing (RFC5227:2.1.1, 2.4). */
static struct net_addr *address_claimed(struct engine *e, const struct port *port,
	const struct rte_arp_hdr *h, const uint8_t sip[16], const uint8_t tip[16])
{
	struct net_addr *a;

	if (memcmp(&h->arp_data.arp_sha, port->mac, 6) == 0)
		return NULL; /* our own words, come back */
	a = net_addr_find(e->net, addr_is_any(sip) ? tip : sip);
	if (a == NULL || a->port != port)
		return NULL;
	if (addr_is_any(sip) &&
		(a->state != ADDR_TENTATIVE || h->arp_opcode != rte_cpu_to_be_16(RTE_ARP_OP_REQUEST)))
		return NULL;
	return a;
}

/* RFC826's reception algorithm: refresh what is known, learn from who asks us. Only an answer to us says that
 * its sender hears us, too. */
static void arp_learn(struct engine *e, struct port *port, const struct rte_arp_hdr *h,
	const uint8_t sip[16], bool ours)
{
	bool request = h->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST);
	struct neigh *n = neigh_find(e->net, port, sip);

	if (n == NULL && ours && request && !addr_is_any(sip) && source_towards(port, sip) != NULL)
		n = neigh_get(e, port, sip, false);
	if (n != NULL)
		neigh_learn(n, h->arp_data.arp_sha.addr_bytes, !request && ours);
}

void arp_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct rte_arp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
	struct net_addr *claimed, *target;
	uint8_t sip[16], tip[16];
	bool ours;

	if (rte_pktmbuf_data_len(m) < sizeof(*h) || !arp_is_sane(h)) {
		net_count_once(e, &e->counters.drop_arp);
		rte_pktmbuf_free(m);
		return;
	}
	addr_from_v4(sip, &h->arp_data.arp_sip);
	addr_from_v4(tip, &h->arp_data.arp_tip);
	target = net_addr_find(e->net, tip);
	ours = target != NULL && target->port == port && net_addr_usable(target);
	claimed = address_claimed(e, port, h, sip, tip);
	if (claimed != NULL)
		net_addr_conflict(claimed);
	else
		arp_learn(e, port, h, sip, ours);
	if (e->worker == 0 && ours && h->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST))
		arp_send(e, port, RTE_ARP_OP_REPLY, h->arp_data.arp_sha.addr_bytes, tip,
			h->arp_data.arp_sha.addr_bytes, sip);
	rte_pktmbuf_free(m);
}

void arp_probe(const struct net_addr *a)
{
	static const uint8_t zero[16];

	arp_send(a->engine, a->port, RTE_ARP_OP_REQUEST, broadcast, zero, unknown, a->addr);
}

void arp_announce(const struct net_addr *a)
{
	arp_send(a->engine, a->port, RTE_ARP_OP_REQUEST, broadcast, a->addr, unknown, a->addr);
}
