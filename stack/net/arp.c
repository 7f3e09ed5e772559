/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP (RFC826): the questions and answers of IPv4's neighbours. The table is neigh.c's. */
#include <string.h>
#include <rte_arp.h>
#include <rte_ether.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

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

static const uint8_t *source_towards(const struct port *port, const uint8_t addr[16])
{
	const uint8_t *any = NULL;

	for (int i = 0; i < port->addrs_n; i++) {
		if (!addr_is_v4(port->addr[i].addr))
			continue;
		if (addr_in_prefix(addr, port->addr[i].addr, port->addr[i].prefix))
			return port->addr[i].addr;
		if (any == NULL)
			any = port->addr[i].addr;
	}
	return any;
}

void arp_ask(struct neigh *n, bool unicast)
{
	static const uint8_t unknown[6];
	const uint8_t *src = source_towards(n->port, n->addr);

	if (src != NULL)
		arp_send(n->engine, n->port, RTE_ARP_OP_REQUEST, unicast ? n->mac : broadcast, src,
			unknown, n->addr);
}

static bool arp_is_sane(const struct rte_arp_hdr *h)
{
	return h->arp_hardware == rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) &&
	       h->arp_protocol == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) && h->arp_hlen == 6 &&
	       h->arp_plen == 4 && !(h->arp_data.arp_sha.addr_bytes[0] & 1);
}

/* RFC826's reception algorithm: refresh what is known, learn from who asks us. */
void arp_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct rte_arp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
	uint8_t sip[16], tip[16];
	struct neigh *n;
	bool ours = false;

	if (rte_pktmbuf_data_len(m) < sizeof(*h) || !arp_is_sane(h)) {
		e->counters.drop_arp++;
		rte_pktmbuf_free(m);
		return;
	}
	addr_from_v4(sip, &h->arp_data.arp_sip);
	addr_from_v4(tip, &h->arp_data.arp_tip);
	for (int i = 0; i < port->addrs_n; i++)
		ours |= addr_equal(port->addr[i].addr, tip);
	n = neigh_find(e->net, port, sip);
	if (n == NULL && ours && !addr_is_any(sip) && source_towards(port, sip) != NULL &&
		!ip_is_local(e, sip) && h->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST))
		n = neigh_get(e, port, sip, false);
	if (n != NULL)
		neigh_learn(n, h->arp_data.arp_sha.addr_bytes, true);
	if (ours && h->arp_opcode == rte_cpu_to_be_16(RTE_ARP_OP_REQUEST))
		arp_send(e, port, RTE_ARP_OP_REPLY, h->arp_data.arp_sha.addr_bytes, tip,
			h->arp_data.arp_sha.addr_bytes, sip);
	rte_pktmbuf_free(m);
}

void arp_announce(struct engine *e, struct port *port, const uint8_t addr[16])
{
	static const uint8_t unknown[6];

	arp_send(e, port, RTE_ARP_OP_REQUEST, broadcast, addr, unknown, addr);
}
