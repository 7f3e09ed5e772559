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

/* The type of a frame and the bytes of its Ethernet header; -1 when the frame was dropped (0 is a type). */
static inline int eth_parse(
	struct engine *e, const struct port *port, struct rte_mbuf *m, uint16_t *bytes)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t type, tag = 0;

	if (rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + sizeof(struct rte_vlan_hdr)) {
		e->counters.drop_short++;
		rte_pktmbuf_free(m);
		return -1;
	}
	type = rte_be_to_cpu_16(eth->ether_type);
	*bytes = RTE_ETHER_HDR_LEN;
	if (cv_unlikely(type == RTE_ETHER_TYPE_VLAN)) {
		const struct rte_vlan_hdr *vlan = (const void *)(eth + 1);

		tag = rte_be_to_cpu_16(vlan->vlan_tci) & 0xfff;
		type = rte_be_to_cpu_16(vlan->eth_proto);
		*bytes += (uint16_t)sizeof(*vlan);
	}
	if (cv_unlikely(tag != port->vlan)) {
		e->counters.drop_vlan++;
		rte_pktmbuf_free(m);
		return -1;
	}
	if (cv_unlikely(memcmp(&eth->dst_addr, port->mac, 6) != 0) &&
		!(eth->dst_addr.addr_bytes[0] & 1)) {
		e->counters.drop_not_for_us++;
		rte_pktmbuf_free(m);
		return -1;
	}
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
static inline bool ipv4_source_ok(const struct net *net, uint32_t src, uint32_t dst)
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

static inline bool ipv4_is_for_us(const struct net *net, uint32_t dst)
{
	for (unsigned i = 0; i < net->locals4_n; i++) {
		if (net->locals4[i] == dst || (net->broadcasts4[i] == dst && dst != 0))
			return true;
	}
	return dst == UINT32_MAX;
}

/* Of a header of any length; nearly all have 20 bytes. A sum that is 0 in ones' complement is a multiple of
 * 0xffff (RFC1071:1), and not 0 itself: the version is not. */
static inline bool ipv4_header_cksum_ok(const struct rte_ipv4_hdr *h, uint16_t bytes)
{
	uint64_t sum = 0;

	if (cv_unlikely(bytes != IP_HEADER_V4))
		return rte_raw_cksum(h, bytes) == 0xffff;
	for (unsigned i = 0; i < IP_HEADER_V4 / 4; i++) {
		uint32_t word;

		memcpy(&word, (const uint8_t *)h + 4 * i, 4);
		sum += word;
	}
	return sum % 0xffff == 0;
}

static inline bool ipv4_header_is_right(
	const struct port *port, const struct rte_mbuf *m, const struct rte_ipv4_hdr *h, uint16_t bytes)
{
	if (port->trusted || (port->rx_cksum && (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) ==
						       RTE_MBUF_F_RX_IP_CKSUM_GOOD))
		return true;
	return ipv4_header_cksum_ok(h, bytes);
}

/* Without a look at the bytes. */
static inline bool l4_cksum_is_believed(
	const struct port *port, const struct rte_mbuf *m, uint8_t proto)
{
	bool good = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	return (proto == IPPROTO_TCP || proto == IPPROTO_UDP) &&
		(port->trusted || (good && port->rx_cksum));
}

static struct rte_mbuf *ipv4_reassemble(
	struct engine *e, struct rte_mbuf *m, uint16_t id, uint16_t frag)
{
	const struct frag_id f = {
		id, (frag & RTE_IPV4_HDR_OFFSET_MASK) * 8u, (frag & RTE_IPV4_HDR_MF_FLAG) != 0};

	return reass_input(e, m, &f);
}

static inline void ipv4_describe(
	const struct port *port, struct pkt *p, const struct rte_ipv4_hdr *h)
{
	addr_from_v4(p->src.addr, &h->src_addr);
	addr_from_v4(p->dst.addr, &h->dst_addr);
	p->src.scope = p->dst.scope = 0;
	p->port = port->id;
	p->proto = h->next_proto_id;
	p->tos = h->type_of_service;
	p->ttl = h->time_to_live;
	p->l4_checked = 1;
}

/* m: the IPv4 header is `at` bytes behind the data. Returns m with data at the payload and struct pkt
 * filled, or NULL. */
static inline struct rte_mbuf *ipv4_parse(
	struct engine *e, const struct port *port, struct rte_mbuf *m, uint16_t at)
{
	const struct rte_ipv4_hdr *h = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, at);
	uint32_t have = rte_pktmbuf_pkt_len(m) - at;
	uint16_t total, bytes, frag, id;

	if (rte_pktmbuf_data_len(m) < at + sizeof(*h))
		DROP(drop_short);
	bytes = (uint16_t)((h->version_ihl & 0xf) * 4);
	total = rte_be_to_cpu_16(h->total_length);
	if (cv_unlikely(h->version_ihl != (4 << 4 | IP_HEADER_V4 / 4)) &&
		(h->version_ihl >> 4 != 4 || bytes < IP_HEADER_V4 ||
			at + bytes > rte_pktmbuf_data_len(m)))
		DROP(drop_ip_header);
	if (total < bytes || total > have)
		DROP(drop_ip_header);
	if (!ipv4_header_is_right(port, m, h, bytes))
		DROP(drop_ip_checksum);
	if (!ipv4_is_for_us(e->net, h->dst_addr))
		DROP(drop_not_for_us);
	if (!ipv4_source_ok(e->net, h->src_addr, h->dst_addr))
		DROP(drop_ip_source);
	ipv4_describe(port, pkt_of(m), h);
	frag = rte_be_to_cpu_16(h->fragment_offset) & 0x3fff;
	id = rte_be_to_cpu_16(h->packet_id);
	if (cv_unlikely(have > total)) /* Ethernet pads short frames */
		pkt_cut_back(m, have - total);
	rte_pktmbuf_adj(m, (uint16_t)(at + bytes));
	if (cv_unlikely(frag != 0)) {
		m = ipv4_reassemble(e, m, id, frag);
		if (m == NULL)
			return NULL;
	}
	if (!l4_cksum_is_believed(port, m, pkt_of(m)->proto) && !l4_cksum_ok(port, m, pkt_of(m)))
		DROP(drop_l4_checksum);
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

/* What no registered protocol takes. port: NULL from ourselves. */
static void l4_deliver_other(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	uint8_t proto = pkt_of(m)->proto;
	bool v4 = addr_is_v4(pkt_of(m)->src.addr);

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

static inline void l4_deliver(
	struct engine *e, struct port *port, struct l4_batch *b, struct rte_mbuf *m)
{
	uint8_t proto = pkt_of(m)->proto;

	for (unsigned i = 0; i < e->l4_n; i++) {
		if (e->l4[i].proto != proto)
			continue;
		if (cv_unlikely(b[i].n == ENGINE_BURST))
			batch_flush(e, b, i);
		b[i].pkts[b[i].n++] = m;
		return;
	}
	l4_deliver_other(e, port, m);
}

/* One frame; a packet of a registered protocol is left in its batch. */
static inline void frame_input(
	struct engine *e, struct port *port, struct l4_batch *batch, struct rte_mbuf *m)
{
	uint16_t bytes;
	int type = eth_parse(e, port, m, &bytes);

	if (cv_likely(type == RTE_ETHER_TYPE_IPV4)) {
		m = ipv4_parse(e, port, m, bytes);
		if (m != NULL)
			l4_deliver(e, port, batch, m);
		return;
	}
	if (type == -1)
		return;
	rte_pktmbuf_adj(m, bytes);
	if (type == RTE_ETHER_TYPE_IPV6) {
		m = ipv6_parse(e, port, m);
		if (m != NULL)
			l4_deliver(e, port, batch, m);
	} else if (type == RTE_ETHER_TYPE_ARP) {
		arp_input(e, port, m);
	} else {
		e->counters.drop_ethertype++;
		rte_pktmbuf_free(m);
	}
}

void net_input(struct engine *e, struct port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct l4_batch batch[ENGINE_L4_MAX];
	uint64_t bytes = 0;

	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	for (uint16_t i = 0; i < n; i++) {
		bytes += rte_pktmbuf_pkt_len(pkts[i]);
		frame_input(e, port, batch, pkts[i]);
	}
	e->counters.rx_packets += n;
	e->counters.rx_bytes += bytes;
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
