/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in: Ethernet, VLAN, IPv4 (RFC791, RFC1122:3.2.1), and on to the protocol by bursts. */
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define DROP(reason)                                                                               \
	do {                                                                                       \
		e->counters.reason++;                                                              \
		rte_pktmbuf_free(m);                                                               \
		return NULL;                                                                       \
	} while (0)

/* Takes the Ethernet header off; the type, -1 when the frame was dropped (0 is a type). */
static int eth_strip(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t type, bytes = RTE_ETHER_HDR_LEN, tag = 0;

	if (rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + sizeof(struct rte_vlan_hdr)) {
		e->counters.drop_short++;
		rte_pktmbuf_free(m);
		return -1;
	}
	type = rte_be_to_cpu_16(eth->ether_type);
	if (type == RTE_ETHER_TYPE_VLAN) {
		const struct rte_vlan_hdr *vlan = (const void *)(eth + 1);

		tag = rte_be_to_cpu_16(vlan->vlan_tci) & 0xfff;
		type = rte_be_to_cpu_16(vlan->eth_proto);
		bytes += (uint16_t)sizeof(*vlan);
	}
	if (tag != port->vlan) {
		e->counters.drop_vlan++;
		rte_pktmbuf_free(m);
		return -1;
	}
	if (memcmp(&eth->dst_addr, port->mac, 6) != 0 && !(eth->dst_addr.addr_bytes[0] & 1)) {
		e->counters.drop_not_for_us++;
		rte_pktmbuf_free(m);
		return -1;
	}
	rte_pktmbuf_adj(m, bytes);
	return type;
}

bool l4_cksum_ok(const struct port *port, struct rte_mbuf *m, const struct pkt *p)
{
	uint64_t verdict = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	bool icmp = p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6;

	if (p->proto == IPPROTO_UDP && rte_pktmbuf_data_len(m) >= 8 &&
		*rte_pktmbuf_mtod_offset(m, const uint16_t *, 6) == 0 && !port->trusted)
		return addr_is_v4(p->src.addr); /* the sender made none: RFC768, RFC8200:8.1 */
	if ((port->trusted && !icmp) ||
		(p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && !icmp))
		return true;
	if (port->rx_cksum && verdict == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return true;
	if (port->rx_cksum && verdict == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return false;
	return mbuf_cksum(m, 0,
		       p->proto == IPPROTO_ICMP ? 0
						: pseudo_cksum(p->src.addr, p->dst.addr, p->proto,
							  rte_pktmbuf_pkt_len(m))) == 0xffff;
}

/* Loopback addresses never come by a wire (RFC1122:3.2.1.3 (g)), nor do our own as a source. Both
 * in network order. */
static bool ipv4_source_ok(const struct net *net, uint32_t src, uint32_t dst)
{
	uint8_t first = (uint8_t)src;

	if (cv_unlikely(first == 0 || first == 127 || first >= 0xe0))
		return src == 0 && dst == UINT32_MAX;
	for (unsigned i = 0; i < net->locals4_n; i++) {
		if (net->locals4[i] == src || net->broadcasts4[i] == src)
			return false;
	}
	return true;
}

static bool ipv4_is_for_us(const struct net *net, uint32_t dst)
{
	for (unsigned i = 0; i < net->locals4_n; i++) {
		if (net->locals4[i] == dst || (net->broadcasts4[i] == dst && dst != 0))
			return true;
	}
	return dst == UINT32_MAX;
}

/* Of a header of any length; nearly all have 20 bytes. */
static uint16_t ipv4_header_cksum(const struct rte_ipv4_hdr *h, uint16_t bytes)
{
	return cv_likely(bytes == IP_HEADER_V4) ? cksum_words(h, IP_HEADER_V4 / 4)
						: rte_raw_cksum(h, bytes);
}

static struct rte_mbuf *ipv4_reassemble(
	struct engine *e, struct rte_mbuf *m, uint16_t id, uint16_t frag)
{
	const struct frag_id f = {
		id, (frag & RTE_IPV4_HDR_OFFSET_MASK) * 8u, (frag & RTE_IPV4_HDR_MF_FLAG) != 0};

	return reass_input(e, m, &f);
}

/* m: data at the IPv4 header. Returns m with data at the payload and struct pkt filled, or NULL. */
static struct rte_mbuf *ipv4_parse(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *h = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	struct pkt *p = pkt_of(m);
	uint16_t total, bytes, frag, id;
	uint32_t src, dst;

	if (rte_pktmbuf_data_len(m) < sizeof(*h))
		DROP(drop_short);
	bytes = (uint16_t)((h->version_ihl & 0xf) * 4);
	total = rte_be_to_cpu_16(h->total_length);
	if (h->version_ihl >> 4 != 4 || bytes < IP_HEADER_V4 || bytes > rte_pktmbuf_data_len(m) ||
		total < bytes || total > rte_pktmbuf_pkt_len(m))
		DROP(drop_ip_header);
	if (!port->trusted && ipv4_header_cksum(h, bytes) != 0xffff)
		DROP(drop_ip_checksum);
	memcpy(&src, &h->src_addr, 4);
	memcpy(&dst, &h->dst_addr, 4);
	addr_from_v4(p->src.addr, &src);
	addr_from_v4(p->dst.addr, &dst);
	p->src.scope = p->dst.scope = 0;
	p->port = port->id;
	p->proto = h->next_proto_id;
	p->tos = h->type_of_service;
	p->ttl = h->time_to_live;
	frag = rte_be_to_cpu_16(h->fragment_offset) & 0x3fff;
	id = rte_be_to_cpu_16(h->packet_id);
	if (!ipv4_is_for_us(e->net, dst))
		DROP(drop_not_for_us);
	if (!ipv4_source_ok(e->net, src, dst))
		DROP(drop_ip_source);
	if (rte_pktmbuf_pkt_len(m) > total) /* Ethernet pads short frames */
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - total);
	rte_pktmbuf_adj(m, bytes);
	if (cv_unlikely(frag != 0)) {
		m = ipv4_reassemble(e, m, id, frag);
		if (m == NULL)
			return NULL;
		p = pkt_of(m);
	}
	if (!l4_cksum_ok(port, m, p))
		DROP(drop_l4_checksum);
	p->l4_checked = 1;
	return m;
}

/* Gathers packets of one protocol, so that it gets a burst. */
struct l4_batch {
	struct rte_mbuf *pkts[ENGINE_BURST];
	uint16_t n;
};

static void batch_flush(struct engine *e, struct l4_batch *b, unsigned i)
{
	if (b[i].n > 0)
		e->l4[i].input(e, b[i].pkts, b[i].n);
	b[i].n = 0;
}

/* port: NULL from ourselves. */
static void l4_deliver(struct engine *e, struct port *port, struct l4_batch *b, struct rte_mbuf *m)
{
	uint8_t proto = pkt_of(m)->proto;
	bool v4;

	for (unsigned i = 0; i < e->l4_n; i++) {
		if (e->l4[i].proto != proto)
			continue;
		if (b[i].n == ENGINE_BURST)
			batch_flush(e, b, i);
		b[i].pkts[b[i].n++] = m;
		return;
	}
	v4 = addr_is_v4(pkt_of(m)->src.addr);
	if (proto == IPPROTO_ICMP && v4) {
		icmp_input(e, m);
		return;
	}
	if (proto == IPPROTO_ICMPV6 && !v4) {
		icmp6_input(e, port, m);
		return;
	}
	e->counters.drop_ip_protocol++;
	if (v4)
		icmp_error_send(e, m, false, ICMP_UNREACHABLE, ICMP_PROTOCOL, 0);
	rte_pktmbuf_free(m);
}

void net_input(struct engine *e, struct port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct l4_batch batch[ENGINE_L4_MAX];

	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		e->counters.rx_packets++;
		e->counters.rx_bytes += rte_pktmbuf_pkt_len(m);
		switch (eth_strip(e, port, m)) {
		case -1:
			break;
		case RTE_ETHER_TYPE_IPV4:
			m = ipv4_parse(e, port, m);
			if (m != NULL)
				l4_deliver(e, port, batch, m);
			break;
		case RTE_ETHER_TYPE_IPV6:
			m = ipv6_parse(e, port, m);
			if (m != NULL)
				l4_deliver(e, port, batch, m);
			break;
		case RTE_ETHER_TYPE_ARP:
			arp_input(e, port, m);
			break;
		default:
			e->counters.drop_ethertype++;
			rte_pktmbuf_free(m);
		}
	}
	for (unsigned i = 0; i < e->l4_n; i++)
		batch_flush(e, batch, i);
}

uint32_t net_loopback_input(struct engine *e)
{
	struct l4_batch batch[ENGINE_L4_MAX];
	struct pktq now = e->net->loopback; /* what these cause goes round in the next turn */
	struct rte_mbuf *m;
	uint32_t n = now.n;

	pktq_init(&e->net->loopback);
	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	while ((m = pktq_pop(&now)) != NULL)
		l4_deliver(e, NULL, batch, m);
	for (unsigned i = 0; i < e->l4_n; i++)
		batch_flush(e, batch, i);
	return n;
}
