/* SPDX-License-Identifier: BSD-3-Clause */
/* The way out: IP header, checksums, Ethernet, the port's batch; or round to ourselves. */
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

/* A device that takes nothing for so long has stopped: what waits for it is given up, as it always was
 * by devices without a queue, and the protocols' own timers go on. */
#define TX_STUCK_NS 100000000ull

static void tx_drop(struct engine *e, struct port *port)
{
	e->counters.tx_refused += port->tx_n;
	for (uint16_t i = 0; i < port->tx_n; i++)
		rte_pktmbuf_free(port->tx[i]);
	port->tx_n = 0;
	port->tx_full = false;
	list_splice_tail(&e->output, &port->tx_waiting);
}

/* sent of the frames are the device's now; bytes: of all before. */
static void tx_taken(struct engine *e, struct port *port, uint16_t sent, uint64_t bytes)
{
	uint16_t rest = (uint16_t)(port->tx_n - sent);

	if (cv_unlikely(rest > 0))
		memmove(port->tx, port->tx + sent, rest * sizeof(port->tx[0]));
	for (uint16_t i = 0; i < rest; i++)
		bytes -= rte_pktmbuf_pkt_len(port->tx[i]);
	e->counters.tx_packets += sent;
	e->counters.tx_bytes += bytes;
	port->tx_n = rest;
	if (rest > 0 && (sent > 0 || !port->tx_full))
		port->tx_full_ns = e->now_ns;
	port->tx_full = rest > 0;
	if (!port->tx_full)
		list_splice_tail(&e->output, &port->tx_waiting);
}

void port_flush(struct engine *e, struct port *port)
{
	uint64_t bytes = 0;

	if (port->tx_n == 0)
		return;
	if (!port->up) {
		tx_drop(e, port);
		return;
	}
	for (uint16_t i = 0; i < port->tx_n; i++)
		bytes += rte_pktmbuf_pkt_len(port->tx[i]);
	tx_taken(e, port, e->env.tx(e->env.ctx, port->id, port->tx, port->tx_n), bytes);
	if (port->tx_full && e->now_ns - port->tx_full_ns >= TX_STUCK_NS)
		tx_drop(e, port);
}

/* The same for what needs more than a place in the queue. */
static void port_send_rare(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	uint16_t room = 1;
	bool cut = (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) && port->tso == PORT_TSO_SOFTWARE;

	if (port->tx_n >= PORT_TX_BATCH)
		port_flush(e, port);
	if (cut)
		room = PORT_GSO_SEGMENTS;
	if (port->tx_n + room > PORT_TX_QUEUE) {
		e->counters.tx_refused++;
		rte_pktmbuf_free(m);
	} else if (cut) {
		port->tx_n = (uint16_t)(port->tx_n + gso_cut(e, port, m, port->tx + port->tx_n, room));
	} else {
		port->tx[port->tx_n++] = m;
	}
}

static inline void frame_send(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	if (cv_likely(port->tx_n < PORT_TX_BATCH && !(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)))
		port->tx[port->tx_n++] = m;
	else
		port_send_rare(e, port, m);
}

void port_send(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	frame_send(e, port, m);
}

void eth_output(struct engine *e, struct port *port, struct rte_mbuf *m, const uint8_t mac[6],
	uint16_t type)
{
	bool tagged = port->vlan != 0 && !port->tx_vlan;
	size_t bytes = RTE_ETHER_HDR_LEN + (tagged ? sizeof(struct rte_vlan_hdr) : 0);
	struct rte_ether_hdr *eth = (void *)rte_pktmbuf_prepend(m, (uint16_t)bytes);

	if (eth == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(&eth->dst_addr, mac, 6);
	memcpy(&eth->src_addr, port->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
	if (port->vlan != 0 && port->tx_vlan) {
		m->vlan_tci = port->vlan;
		m->ol_flags |= RTE_MBUF_F_TX_VLAN;
	} else if (tagged) {
		struct rte_vlan_hdr *tag = (void *)(eth + 1);

		eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
		tag->vlan_tci = rte_cpu_to_be_16(port->vlan);
		tag->eth_proto = rte_cpu_to_be_16(type);
	}
	m->l2_len = bytes & 0x7f;
	frame_send(e, port->device, m);
}

typedef uint64_t u64x2 __attribute__((vector_size(16)));

uint16_t cksum_bytes(const void *data, size_t len)
{
	const uint8_t *p = data;
	u64x2 low = {0, 0}, high = {0, 0}, v[2];
	uint64_t sum;
	uint32_t word;

	for (; len >= sizeof(v); len -= sizeof(v), p += sizeof(v)) {
		memcpy(v, p, sizeof(v));
		low += (v[0] & UINT32_MAX) + (v[1] & UINT32_MAX);
		high += (v[0] >> 32) + (v[1] >> 32);
	}
	low += high;
	sum = low[0] + low[1];
	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	word = 0;
	memcpy(&word, p, len);
	sum += word;
	return cksum_fold(sum);
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
		part = cksum_bytes(rte_pktmbuf_mtod_offset(m, const char *, off), len - off);
		sum += done & 1 ? rte_bswap16(part) : part;
		done += len - off;
		off = 0;
	}
	return cksum_fold(sum);
}

static inline uint32_t pseudo_cksum4(const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t len)
{
	uint32_t a, b;

	memcpy(&a, src + 12, 4);
	memcpy(&b, dst + 12, 4);
	return cksum_fold((uint64_t)rte_cpu_to_be_32(len) + rte_cpu_to_be_32(proto) + a + b);
}

uint32_t pseudo_cksum(const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t len)
{
	uint8_t wire[32];

	if (addr_is_v4(src))
		return pseudo_cksum4(src, dst, proto, len);
	addr_to_wire(wire, src);
	addr_to_wire(wire + 16, dst);
	return cksum_fold((uint64_t)rte_cpu_to_be_32(len) + rte_cpu_to_be_32(proto) + cksum_words(wire, 8));
}

void eth_group_mac(uint8_t mac[6], const uint8_t dst[16])
{
	if (!addr_is_v4(dst)) { /* RFC2464:7 */
		mac[0] = 0x33;
		mac[1] = 0x33;
		memcpy(mac + 2, dst + 12, 4);
	} else if (addr_is_multicast(dst)) { /* RFC1112:6.4 */
		const uint8_t to[6] = {1, 0, 0x5e, dst[13] & 0x7f, dst[14], dst[15]};

		memcpy(mac, to, 6);
	} else {
		memset(mac, 0xff, 6);
	}
}

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* sum: over the pseudo header; may_delegate: m leaves in one piece, so that the device may do it. */
static inline void l4_cksum_fill(const struct port *port, struct rte_mbuf *m, uint8_t proto,
	uint32_t sum, uint16_t off, bool may_delegate)
{
	uint16_t *field = rte_pktmbuf_mtod_offset(m, uint16_t *, off);
	uint16_t value;

	if (port->tx_l4_cksum && may_delegate) {
		*field = (uint16_t)sum;
		m->ol_flags |=
			proto == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
		return;
	}
	value = (uint16_t)~mbuf_cksum(m, 0, sum);
	*field = value == 0 && proto == IPPROTO_UDP ? 0xffff : value;
}

/* The same for any protocol; nothing where nobody looks. */
static void l4_cksum_make(const struct port *port, struct rte_mbuf *m, uint8_t proto,
	const uint8_t src[16], const uint8_t dst[16], uint16_t off, bool whole)
{
	if (port->trusted && !is_icmp(proto))
		return;
	l4_cksum_fill(port, m, proto,
		proto == IPPROTO_ICMP ? 0 : pseudo_cksum(src, dst, proto, rte_pktmbuf_pkt_len(m)), off,
		whole && !is_icmp(proto));
}

/* h: in m, of a packet of total bytes. */
static inline void ipv4_fill(struct engine *e, const struct port *port, const struct ip_emit *how,
	struct rte_mbuf *m, struct rte_ipv4_hdr *h, uint32_t total)
{
	h->version_ihl = 0x45;
	h->type_of_service = how->tos;
	h->total_length = rte_cpu_to_be_16((uint16_t)total);
	h->packet_id =
		rte_cpu_to_be_16(how->frag4 & ~RTE_IPV4_HDR_DF_FLAG ? how->id4 : e->net->ip_id++);
	h->fragment_offset = rte_cpu_to_be_16(how->frag4);
	h->time_to_live = how->ttl;
	h->next_proto_id = how->next;
	h->hdr_checksum = 0;
	memcpy(&h->src_addr, how->src + 12, 4);
	memcpy(&h->dst_addr, how->dst + 12, 4);
	if (m->ol_flags & (RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM) || port->tx_ip_cksum)
		m->ol_flags |= RTE_MBUF_F_TX_IPV4;
	if (port->tx_ip_cksum)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		h->hdr_checksum = (uint16_t)~cksum_words(h, IP_HEADER_V4 / 4);
}

static bool ipv4_header(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *h = (void *)rte_pktmbuf_prepend(m, IP_HEADER_V4);

	if (h == NULL)
		return false;
	m->l3_len = IP_HEADER_V4;
	ipv4_fill(e, how->path->port, how, m, h, rte_pktmbuf_pkt_len(m));
	return true;
}

static bool ipv6_header(const struct ip_emit *how, struct rte_mbuf *m)
{
	uint16_t len = (uint16_t)rte_pktmbuf_pkt_len(m);
	struct rte_ipv6_hdr *h = (void *)rte_pktmbuf_prepend(m, IP_HEADER_V6);

	if (h == NULL)
		return false;
	h->vtc_flow = rte_cpu_to_be_32(6u << 28 | (uint32_t)how->tos << 20);
	h->payload_len = rte_cpu_to_be_16(len);
	h->proto = how->next;
	h->hop_limits = how->ttl;
	addr_to_wire(h->src_addr, how->src);
	addr_to_wire(h->dst_addr, how->dst);
	m->l3_len = IP_HEADER_V6;
	if (m->ol_flags & (RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM))
		m->ol_flags |= RTE_MBUF_F_TX_IPV6;
	return true;
}

int ip_emit(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m)
{
	bool v4 = addr_is_v4(how->dst);
	uint8_t mac[6];

	if (!(v4 ? ipv4_header(e, how, m) : ipv6_header(how, m))) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(m);
		return -CV_ENOBUFS;
	}
	if (cv_likely(how->path->neigh != NULL)) {
		neigh_output(e, how->path->neigh, m, how->path->progress);
		return 0;
	}
	eth_group_mac(mac, how->dst);
	eth_output(e, how->path->port, m, mac, v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
	return 0;
}

static int loopback_output(struct engine *e, struct rte_mbuf *m, uint8_t proto, uint8_t tos,
	uint8_t ttl, const uint8_t src[16], const uint8_t dst[16])
{
	struct pkt *p = pkt_of(m);

	p->port = PORT_LOOPBACK;
	p->proto = proto;
	p->tos = tos;
	p->ttl = ttl;
	p->to_all = 0;
	memcpy(p->src.addr, src, 16);
	memcpy(p->dst.addr, dst, 16);
	p->src.scope = p->dst.scope = 0;
	e->counters.loopback_packets++;
	pktq_push(&e->net->loopback, m);
	return 0;
}

/* Whether anybody here may have joined the group on the port: a worker other than the first one knows of its own
 * members only, and lets the first one decide (input.c, net_crew_input()) when sockets of others are on the datagram's
 * port. */
static bool may_have_members(const struct engine *e, const struct port *port, const uint8_t group[16],
	const struct rte_mbuf *m, uint8_t proto)
{
	const uint8_t *l4 = rte_pktmbuf_mtod(m, const uint8_t *);

	if (mcast_is_member(port, group))
		return true;
	return e->worker != 0 && proto == IPPROTO_UDP && crew_udp_workers(e, (uint16_t)(l4[2] << 8 | l4[3])) != 0;
}

/* With TTL 0, or by its scope, what goes to a group does not leave this host (RFC1112:6.1, RFC4291:2.7). */
static bool group_stays(const struct ip_emit *how)
{
	return addr_is_multicast(how->dst) && (how->ttl == 0 || (!addr_is_v4(how->dst) && (how->dst[1] & 0xf) <= 1));
}

/* What goes to a group that this engine has joined on the port, or to everybody, comes back to it, too. */
static void group_loop(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m)
{
	const struct port *port = how->path->port;
	struct rte_mbuf *copy;
	uint8_t group[16];

	memcpy(group, how->dst, 16);
	if (addr_is_scoped(group))
		addr_scope_set(group, port->ifindex);
	if (addr_is_multicast(group) && !may_have_members(e, port, group, m, how->next))
		return;
	copy = rte_pktmbuf_copy(m, e->pkt_pool, 0, UINT32_MAX);
	if (copy == NULL) {
		e->counters.no_mbuf++;
		return;
	}
	(void)loopback_output(e, copy, how->next, how->tos, how->ttl, how->src, group);
	pkt_of(copy)->port = port->id;
}

/* A super-segment: its checksum as who cuts it wants it. False: the port takes none. */
static bool super_segment_prepare(const struct port *port, struct rte_mbuf *m, const uint8_t src[16],
	const uint8_t dst[16], uint16_t cksum_off)
{
	switch (port->tso) {
	case PORT_TSO_DEVICE: /* the sum over the pseudo header without the length, which differs */
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		*rte_pktmbuf_mtod_offset(m, uint16_t *, cksum_off) =
			(uint16_t)pseudo_cksum(src, dst, IPPROTO_TCP, 0);
		return true;
	case PORT_TSO_SOFTWARE:
		if (port->tx_l4_cksum && !port->trusted)
			m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		return true;
	case PORT_TSO_TRUSTED: /* to the device, a frame like any other */
		m->ol_flags &= ~RTE_MBUF_F_TX_TCP_SEG;
		l4_cksum_make(port, m, IPPROTO_TCP, src, dst, cksum_off, true);
		return true;
	case PORT_TSO_NONE:
		break;
	}
	return false;
}

static int output_any(struct engine *e, struct ip_emit *how, struct rte_mbuf *m, uint16_t cksum_off)
{
	const struct ip_path *path = how->path;
	bool v4 = addr_is_v4(how->dst), super = (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0, whole;
	uint32_t len = rte_pktmbuf_pkt_len(m), header = v4 ? IP_HEADER_V4 : IP_HEADER_V6;

	if (path->local && len <= (v4 ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6))
		return loopback_output(e, m, how->next, how->tos, how->ttl, how->src, how->dst);
	if (cv_unlikely(path->neigh == NULL) && !path->no_loop)
		group_loop(e, how, m);
	if (cv_unlikely(path->neigh == NULL) && group_stays(how)) {
		rte_pktmbuf_free(m);
		return 0;
	}
	whole = super || len + header <= (path->may_fragment ? path->pmtu : path->mtu);
	if (len > (v4 ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6) || (!whole && !path->may_fragment) ||
		(super && !super_segment_prepare(path->port, m, how->src, how->dst, cksum_off))) {
		rte_pktmbuf_free(m);
		return -CV_EMSGSIZE;
	}
	if (!super)
		l4_cksum_make(path->port, m, how->next, how->src, how->dst, cksum_off, whole);
	if (!whole)
		return frag_output(e, how, m);
	if (!path->no_df)
		how->frag4 = RTE_IPV4_HDR_DF_FLAG;
	return ip_emit(e, how, m);
}

#define PLAIN_HEADERS (RTE_ETHER_HDR_LEN + IP_HEADER_V4)

/* TCP or UDP over IPv4, whole, to a neighbour that is known, on Ethernet without a tag: nearly every packet. */
static inline bool is_plain(const struct ip_path *path, const struct rte_mbuf *m, uint8_t proto)
{
	const struct neigh *n = path->neigh;

	return n != NULL && n->state <= NEIGH_PROBE && n->ether_type == RTE_ETHER_TYPE_IPV4 &&
		(proto == IPPROTO_TCP || proto == IPPROTO_UDP) &&
		!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) && path->port->vlan == 0 &&
		rte_pktmbuf_pkt_len(m) + IP_HEADER_V4 <= path->pmtu &&
		rte_pktmbuf_headroom(m) >= PLAIN_HEADERS;
}

/* What output_any() comes down to for these, both headers in one go. */
static inline void output_plain(
	struct engine *e, struct ip_emit *how, struct rte_mbuf *m, uint16_t cksum_off)
{
	struct port *port = how->path->port;
	const struct neigh *n = how->path->neigh;
	struct rte_ether_hdr *eth;

	if (!port->trusted)
		l4_cksum_fill(port, m, how->next,
			pseudo_cksum4(how->src, how->dst, how->next, rte_pktmbuf_pkt_len(m)),
			cksum_off, true);
	m->data_off = (uint16_t)(m->data_off - PLAIN_HEADERS);
	m->data_len = (uint16_t)(m->data_len + PLAIN_HEADERS);
	m->pkt_len += PLAIN_HEADERS;
	m->tx_offload = RTE_ETHER_HDR_LEN | IP_HEADER_V4 << RTE_MBUF_L2_LEN_BITS; /* l2_len, l3_len */
	eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	how->frag4 = how->path->no_df ? 0 : RTE_IPV4_HDR_DF_FLAG;
	ipv4_fill(e, port, how, m, (void *)(eth + 1), rte_pktmbuf_pkt_len(m) - RTE_ETHER_HDR_LEN);
	memcpy(&eth->dst_addr, n->mac, 6);
	memcpy(&eth->src_addr, port->mac, 6);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	frame_send(e, port, m);
}

int ip_output(struct engine *e, const struct ip_path *path, struct rte_mbuf *m, uint8_t proto,
	uint8_t tos, uint8_t ttl, const uint8_t src[16], const uint8_t dst[16], uint16_t cksum_off)
{
	struct ip_emit how = {path, src, dst, proto, tos, ttl, 0, 0};

	if (cv_unlikely(!is_plain(path, m, proto)))
		return output_any(e, &how, m, cksum_off);
	output_plain(e, &how, m, cksum_off);
	return 0;
}
