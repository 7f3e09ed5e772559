/* SPDX-License-Identifier: BSD-3-Clause */
/* The way out: route, IPv4 header, checksums, Ethernet, the port's batch; or round to ourselves. */
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

void port_flush(struct engine *e, struct port *port)
{
	uint16_t sent = 0;

	if (port->tx_n == 0)
		return;
	for (uint16_t i = 0; i < port->tx_n; i++)
		e->counters.tx_bytes += rte_pktmbuf_pkt_len(port->tx[i]);
	if (port->up)
		sent = e->env.tx(e->env.ctx, port->id, port->tx, port->tx_n);
	e->counters.tx_packets += sent;
	for (uint16_t i = sent; i < port->tx_n; i++) {
		e->counters.tx_refused++;
		e->counters.tx_bytes -= rte_pktmbuf_pkt_len(port->tx[i]);
		rte_pktmbuf_free(port->tx[i]);
	}
	port->tx_n = 0;
}

void port_send(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	if (port->tx_n == PORT_TX_BATCH)
		port_flush(e, port);
	port->tx[port->tx_n++] = m;
}

void eth_output(
	struct engine *e, struct port *port, struct rte_mbuf *m, const uint8_t mac[6], uint16_t type)
{
	size_t bytes = RTE_ETHER_HDR_LEN + (port->vlan ? sizeof(struct rte_vlan_hdr) : 0);
	struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(m, (uint16_t)bytes);

	if (eth == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(&eth->dst_addr, mac, 6);
	memcpy(&eth->src_addr, port->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
	if (port->vlan) {
		struct rte_vlan_hdr *tag = (void *)(eth + 1);

		eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
		tag->vlan_tci = rte_cpu_to_be_16(port->vlan);
		tag->eth_proto = rte_cpu_to_be_16(type);
	}
	m->l2_len = bytes & 0x7f;
	port_send(e, port, m);
}

static uint32_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Not rte_raw_cksum_mbuf(): in DPDK 22.11 that loses carries behind a segment of odd length. */
uint16_t mbuf_cksum(const struct rte_mbuf *m, uint32_t off, uint32_t sum)
{
	uint32_t done = 0;

	for (; m != NULL; m = m->next) {
		uint32_t len = m->data_len;
		uint16_t part;

		if (off >= len) {
			off -= len;
			continue;
		}
		part = rte_raw_cksum(rte_pktmbuf_mtod_offset(m, const char *, off), len - off);
		sum += done & 1 ? rte_bswap16(part) : part;
		done += len - off;
		off = 0;
	}
	return (uint16_t)fold(sum);
}

uint32_t pseudo_cksum(const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t len)
{
	size_t skip = addr_is_v4(src) ? 12 : 0;
	const uint32_t tail[2] = {rte_cpu_to_be_32(len), rte_cpu_to_be_32(proto)};

	return fold((uint32_t)rte_raw_cksum(src + skip, 16 - skip) +
		rte_raw_cksum(dst + skip, 16 - skip) + rte_raw_cksum(tail, sizeof(tail)));
}

bool ip_is_local(const struct engine *e, const uint8_t addr[16])
{
	if (e->config.loopback && addr_is_loopback(addr))
		return true;
	for (int p = 0; p < e->ports_n; p++) {
		for (int i = 0; i < e->ports[p]->addrs_n; i++) {
			if (addr_equal(e->ports[p]->addr[i].addr, addr))
				return true;
		}
	}
	return false;
}

struct route {
	struct port *port;
	const uint8_t *src; /* the address of ours that fits */
	const uint8_t *hop;
	unsigned prefix;
};

/* Connected subnets before gateways; the longest prefix wins. */
static struct route route_find(const struct engine *e, const uint8_t dst[16])
{
	struct route best = {0};

	for (int p = 0; p < e->ports_n; p++) {
		struct port *port = e->ports[p];
		bool v4 = addr_is_v4(dst);
		const uint8_t *gateway = v4 ? (port->has_gateway ? port->gateway : NULL)
					    : (port->has_gateway6 ? port->gateway6 : NULL);

		for (int i = 0; i < port->addrs_n; i++) {
			const struct port_addr *a = &port->addr[i];

			if (addr_is_v4(a->addr) != v4)
				continue;
			if (addr_in_prefix(dst, a->addr, a->prefix) && a->prefix >= best.prefix)
				best = (struct route){port, a->addr, dst, a->prefix};
			else if (best.port == NULL && gateway != NULL &&
				addr_in_prefix(gateway, a->addr, a->prefix))
				best = (struct route){port, a->addr, gateway, 0};
		}
	}
	return best;
}

int ip_path_resolve(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16])
{
	struct route r;

	if (path->gen == e->net->gen && !addr_is_any(src))
		return 0;
	if (ip_is_local(e, dst)) {
		*path = (struct ip_path){.gen = e->net->gen, .mtu = IP_LOOPBACK_MTU, .local = true};
		if (addr_is_any(src))
			memcpy(src, dst, 16);
		return 0;
	}
	r = route_find(e, dst);
	if (r.port == NULL)
		return -CV_ENETUNREACH;
	if (addr_is_any(src))
		memcpy(src, r.src, 16);
	if (!addr_is_v4(dst))
		return -CV_ENETUNREACH; /* neighbour discovery is not there yet */
	*path = (struct ip_path){.mtu = r.port->mtu, .port = r.port};
	if (!addr_is_broadcast(dst)) {
		path->neigh = neigh_get(e, r.port, r.hop);
		if (path->neigh == NULL)
			return -CV_ENOBUFS;
	}
	path->gen = e->net->gen;
	return 0;
}

static void l4_cksum_fill(struct port *port, struct rte_mbuf *m, uint8_t proto,
	const uint8_t src[16], const uint8_t dst[16], uint16_t off)
{
	uint16_t *field = rte_pktmbuf_mtod_offset(m, uint16_t *, off);
	uint32_t sum = proto == IPPROTO_ICMP
		? 0
		: pseudo_cksum(src, dst, proto, rte_pktmbuf_pkt_len(m));
	uint16_t value;

	if (port->trusted && proto != IPPROTO_ICMP)
		return;
	if (port->tx_l4_cksum && proto != IPPROTO_ICMP) {
		*field = (uint16_t)sum;
		m->ol_flags |= proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM
						    : RTE_MBUF_F_TX_UDP_CKSUM;
		return;
	}
	value = (uint16_t)~mbuf_cksum(m, 0, sum);
	*field = value == 0 && proto == IPPROTO_UDP ? 0xffff : value;
}

static void ipv4_header(struct engine *e, struct port *port, struct rte_ipv4_hdr *h,
	struct rte_mbuf *m, uint8_t proto, uint8_t tos, uint8_t ttl)
{
	h->version_ihl = 0x45;
	h->type_of_service = tos;
	h->total_length = rte_cpu_to_be_16((uint16_t)rte_pktmbuf_pkt_len(m));
	h->packet_id = rte_cpu_to_be_16(e->net->ip_id++);
	h->fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG);
	h->time_to_live = ttl;
	h->next_proto_id = proto;
	h->hdr_checksum = 0;
	m->l3_len = IP_HEADER_V4;
	if (m->ol_flags & (RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM) || port->tx_ip_cksum)
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	if (port->tx_ip_cksum)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		h->hdr_checksum = rte_ipv4_cksum(h);
}

static int loopback_output(struct engine *e, struct rte_mbuf *m, uint8_t proto, uint8_t tos,
	uint8_t ttl, const uint8_t src[16], const uint8_t dst[16])
{
	struct pkt *p = pkt_of(m);

	p->port = PORT_LOOPBACK;
	p->proto = proto;
	p->tos = tos;
	p->ttl = ttl;
	p->l4_checked = 1;
	memcpy(p->src.addr, src, 16);
	memcpy(p->dst.addr, dst, 16);
	p->src.scope = p->dst.scope = 0;
	e->counters.loopback_packets++;
	pktq_push(&e->net->loopback, m);
	return 0;
}

int ip_output(struct engine *e, const struct ip_path *path, struct rte_mbuf *m, uint8_t proto,
	uint8_t tos, uint8_t ttl, const uint8_t src[16], const uint8_t dst[16], uint16_t cksum_off)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct rte_ipv4_hdr *h;

	if (rte_pktmbuf_pkt_len(m) + IP_HEADER_V4 > path->mtu) {
		rte_pktmbuf_free(m);
		return -CV_EMSGSIZE;
	}
	if (path->local)
		return loopback_output(e, m, proto, tos, ttl, src, dst);
	l4_cksum_fill(path->port, m, proto, src, dst, cksum_off);
	h = (void *)rte_pktmbuf_prepend(m, IP_HEADER_V4);
	if (h == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(m);
		return -CV_ENOBUFS;
	}
	memcpy(&h->src_addr, src + 12, 4);
	memcpy(&h->dst_addr, dst + 12, 4);
	ipv4_header(e, path->port, h, m, proto, tos, ttl);
	if (path->neigh != NULL)
		neigh_output(e, path->neigh, m);
	else
		eth_output(e, path->port, m, all, RTE_ETHER_TYPE_IPV4);
	return 0;
}
