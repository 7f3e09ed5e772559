/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in: Ethernet, VLAN, IPv4 (RFC791, RFC1122:3.2.1), and on to the protocol by bursts. */
#include <assert.h>
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_icmp.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/net/priv.h"

#define IPV4_PLAIN (4 << 4 | IP_HEADER_V4 / 4) /* version and length of a header without options */

#define DROP(reason)                                                                               \
	do {                                                                                       \
		e->counters.reason++;                                                              \
		rte_pktmbuf_free(m);                                                               \
		return NULL;                                                                       \
	} while (0)

/* The port of a tagged frame: the device's own, which priority tags (0) belong to, or a VLAN's on it. */
static struct port *port_of_tag(struct port *device, uint16_t tag)
{
	struct port *port = device;

	while (port != NULL && port->vlan != tag)
		port = port->next_vlan;
	return port;
}

/* The type of a frame and the bytes of its Ethernet header, and the port that it belongs to; -1 when the frame was
 * dropped (0 is a type). */
static inline int eth_parse(struct engine *e, struct port **port, struct rte_mbuf *m, uint16_t *bytes)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint16_t type;

	if (rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + sizeof(struct rte_vlan_hdr)) {
		e->counters.drop_short++;
		rte_pktmbuf_free(m);
		return -1;
	}
	type = rte_be_to_cpu_16(eth->ether_type);
	*bytes = RTE_ETHER_HDR_LEN;
	if (cv_unlikely(type == RTE_ETHER_TYPE_VLAN)) {
		const struct rte_vlan_hdr *vlan = (const void *)(eth + 1);

		*port = port_of_tag(*port, rte_be_to_cpu_16(vlan->vlan_tci) & 0xfff);
		type = rte_be_to_cpu_16(vlan->eth_proto);
		*bytes += (uint16_t)sizeof(*vlan);
	} else if (cv_unlikely((*port)->vlan != 0)) {
		*port = NULL;
	}
	if (cv_unlikely(*port == NULL)) {
		e->counters.drop_vlan++;
		rte_pktmbuf_free(m);
		return -1;
	}
	if (cv_unlikely(memcmp(&eth->dst_addr, (*port)->mac, 6) != 0) &&
		!(eth->dst_addr.addr_bytes[0] & 1)) {
		e->counters.drop_not_for_us++;
		rte_pktmbuf_free(m);
		return -1;
	}
	return type;
}

/* A datagram may be shorter than its packet: the rest is not its own (RFC768), and in no checksum. */
static void udp_expose(struct rte_mbuf *m)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t len = (uint16_t)(h[4] << 8 | h[5]);

	if (cv_unlikely(len >= 8 && len < rte_pktmbuf_pkt_len(m)))
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - len);
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
	if (p->proto == IPPROTO_UDP && rte_pktmbuf_data_len(m) >= 8)
		udp_expose(m);
	return mbuf_cksum(m, 0,
		       p->proto == IPPROTO_ICMP ? 0
						: pseudo_cksum(p->src.addr, p->dst.addr, p->proto,
							  rte_pktmbuf_pkt_len(m))) == 0xffff;
}

/* Who has no address may speak to everybody and, as Linux has it, to the groups of the link and of groups: switches ask
 * so who has joined what (RFC4541:2.1.1). dst: network order. */
static bool ipv4_nobody_may_send(uint32_t dst, uint8_t proto)
{
	uint32_t to = rte_be_to_cpu_32(dst);

	return to == UINT32_MAX || to >> 8 == 0xe00000 || (to >> 28 == 0xe && proto == IPPROTO_IGMP);
}

/* Loopback addresses never come by a wire (RFC1122:3.2.1.3 (g)), nor do our own as a source. Both
 * in network order. */
static inline bool ipv4_source_ok(const struct net *net, uint32_t src, uint32_t dst, uint8_t proto)
{
	uint8_t first = (uint8_t)src;

	if (cv_unlikely(first == 0 || first == 127 || first >= 0xe0))
		return src == 0 && ipv4_nobody_may_send(dst, proto);
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

/* dst: network order */
static bool ipv4_is_group_of_ours(const struct port *port, uint32_t dst)
{
	uint8_t group[16];

	addr_from_v4(group, &dst);
	return addr_is_multicast(group) && mcast_is_member(port, group);
}

/* Of a header of any length; nearly all have 20 bytes. A sum that is 0 in ones' complement is a multiple of
 * 0xffff (RFC1071:1), and not 0 itself: the version is not. */
static inline bool ipv4_header_cksum_ok(const struct rte_ipv4_hdr *h, uint16_t bytes)
{
	uint64_t sum = 0;

	if (cv_unlikely(bytes != IP_HEADER_V4))
		return cksum_bytes(h, bytes) == 0xffff;
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
}

/* Takes off what is not payload: `head` bytes before it, and what Ethernet padded short frames with. */
static inline void payload_expose(struct rte_mbuf *m, uint16_t head, uint32_t bytes)
{
	if (cv_unlikely(rte_pktmbuf_pkt_len(m) > bytes))
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - bytes);
	rte_pktmbuf_adj(m, head);
}

static inline struct rte_mbuf *l4_cksum_check(
	struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	if (!l4_cksum_is_believed(port, m, pkt_of(m)->proto) && !l4_cksum_ok(port, m, pkt_of(m)))
		DROP(drop_l4_checksum);
	return m;
}

/* m: the IPv4 header is `at` bytes behind the data. Returns m with data at the payload and struct pkt
 * filled, or NULL. plain: it had no options and was no fragment. */
static inline struct rte_mbuf *ipv4_parse(
	struct engine *e, const struct port *port, struct rte_mbuf *m, uint16_t at, bool *plain)
{
	const struct rte_ipv4_hdr *h = rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, at);
	uint16_t total, bytes, frag, id;

	if (rte_pktmbuf_data_len(m) < at + sizeof(*h))
		DROP(drop_short);
	bytes = (uint16_t)((h->version_ihl & 0xf) * 4);
	total = rte_be_to_cpu_16(h->total_length);
	if (cv_unlikely(h->version_ihl != IPV4_PLAIN) &&
		(h->version_ihl >> 4 != 4 || bytes < IP_HEADER_V4 ||
			at + bytes > rte_pktmbuf_data_len(m)))
		DROP(drop_ip_header);
	if (total < bytes || total > rte_pktmbuf_pkt_len(m) - at)
		DROP(drop_ip_header);
	if (!ipv4_header_is_right(port, m, h, bytes))
		DROP(drop_ip_checksum);
	if (!ipv4_is_for_us(e->net, h->dst_addr) && !ipv4_is_group_of_ours(port, h->dst_addr))
		DROP(drop_not_for_us);
	if (!ipv4_source_ok(e->net, h->src_addr, h->dst_addr, h->next_proto_id))
		DROP(drop_ip_source);
	ipv4_describe(port, pkt_of(m), h);
	frag = rte_be_to_cpu_16(h->fragment_offset) & 0x3fff;
	id = rte_be_to_cpu_16(h->packet_id);
	*plain = frag == 0 && bytes == IP_HEADER_V4;
	payload_expose(m, (uint16_t)(at + bytes), at + (uint32_t)total);
	if (cv_unlikely(frag != 0)) {
		m = ipv4_reassemble(e, m, id, frag);
		if (m == NULL)
			return NULL;
	}
	return l4_cksum_check(e, port, m);
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

static inline void batch_push(struct l4_batch *b, struct rte_mbuf *m, bool again)
{
	pkt_of(m)->again = again;
	b->pkts[b->n++] = m;
}

/* The frame before in its burst, if it was plain IPv4 on plain Ethernet and was taken. */
struct model {
	const uint8_t *frame;
	const struct pkt *p;
	struct l4_batch *batch; /* where it lies */
};

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Which flags of a packet say, by which values, that both its checksums need not be looked at: the device
 * has, or nobody makes any on this link. */
struct believed {
	uint64_t mask, value;
};

static inline struct believed cksums_believed(const struct port *port)
{
	const uint64_t mask = RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK;
	const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;

	if (port->trusted)
		return (struct believed){0, 0};
	return (struct believed){mask, port->rx_cksum ? good : UINT64_MAX};
}

/* A peer's frames mostly follow each other with the same headers. What was asked of the one before needs not
 * be asked again of a frame with the same destination, type, version, TOS, fragment field, TTL, protocol and
 * addresses; its length and checksum are its own. */
static inline bool frame_is_like(const struct port *port, const struct model *model,
	const struct rte_mbuf *m, bool believed)
{
	const uint8_t *a = model->frame, *b = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_ipv4_hdr *h = (const void *)(b + RTE_ETHER_HDR_LEN);
	uint32_t total;

	if (a == NULL || rte_pktmbuf_data_len(m) < RTE_ETHER_HDR_LEN + IP_HEADER_V4 ||
		load64(a) != load64(b) || load32(a + 12) != load32(b + 12) ||
		load32(a + 20) != load32(b + 20) || load64(a + 26) != load64(b + 26))
		return false;
	total = rte_be_to_cpu_16(h->total_length);
	return total >= IP_HEADER_V4 && total <= rte_pktmbuf_pkt_len(m) - RTE_ETHER_HDR_LEN &&
		(believed || ipv4_header_is_right(port, m, h, IP_HEADER_V4));
}

static inline struct rte_mbuf *ipv4_parse_like(struct engine *e, const struct port *port,
	const struct model *model, struct rte_mbuf *m, bool believed)
{
	const struct rte_ipv4_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);

	*pkt_of(m) = *model->p;
	payload_expose(m, RTE_ETHER_HDR_LEN + IP_HEADER_V4,
		RTE_ETHER_HDR_LEN + (uint32_t)rte_be_to_cpu_16(h->total_length));
	return believed ? m : l4_cksum_check(e, port, m);
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
	if (proto == IPPROTO_IGMP && v4 && port != NULL) {
		igmp_input(e, port, m);
		return;
	}
	e->counters.drop_ip_protocol++;
	if (v4)
		icmp_error_send(e, m, false, ICMP_UNREACHABLE, ICMP_PROTOCOL, 0);
	rte_pktmbuf_free(m);
}

/* The batch in which m lies now; NULL: none. */
static inline struct l4_batch *l4_deliver_here(
	struct engine *e, struct port *port, struct l4_batch *b, struct rte_mbuf *m)
{
	uint8_t proto = pkt_of(m)->proto;

	for (unsigned i = 0; i < e->l4_n; i++) {
		if (e->l4[i].proto != proto)
			continue;
		if (cv_unlikely(b[i].n == ENGINE_BURST))
			batch_flush(e, b, i);
		batch_push(&b[i], m, false);
		return &b[i];
	}
	l4_deliver_other(e, port, m);
	return NULL;
}

/* Echoes have one owner; errors, neighbours and groups concern every worker. */
static bool all_must_know(const struct pkt *p, const struct rte_mbuf *m)
{
	const uint8_t *type = rte_pktmbuf_mtod(m, const uint8_t *);

	if (p->proto == IPPROTO_IGMP)
		return true;
	if ((p->proto != IPPROTO_ICMP && p->proto != IPPROTO_ICMPV6) || rte_pktmbuf_data_len(m) == 0)
		return false;
	return p->proto == IPPROTO_ICMP ? *type != RTE_IP_ICMP_ECHO_REQUEST && *type != RTE_IP_ICMP_ECHO_REPLY
					: *type != ICMP6_ECHO_REQUEST && *type != ICMP6_ECHO_REPLY;
}

/* Its ends into p: the ports lie at the same places in both. */
static void ports_parse(struct pkt *p, const struct rte_mbuf *m)
{
	const uint8_t *ports = rte_pktmbuf_mtod(m, const uint8_t *);

	p->src.port = (uint16_t)(ports[0] << 8 | ports[1]);
	p->dst.port = (uint16_t)(ports[2] << 8 | ports[3]);
}

/* What is sent to many is distributed by the first one (udp_receive.c). */
static uint16_t datagram_owner(const struct engine *e, const struct pkt *p)
{
	if (addr_is_multicast(p->dst.addr) || ip_is_broadcast(e, p->dst.addr))
		return 0;
	return crew_udp_owner(e, &p->dst, &p->src);
}

/* Sends m to the worker that owns it, or copies to all; true: it is not ours any more. port: NULL from ourselves. */
static bool steer(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	struct pkt *p = pkt_of(m);
	uint16_t to = 0;

	if (p->proto == IPPROTO_TCP && rte_pktmbuf_data_len(m) >= 4) {
		ports_parse(p, m);
		to = crew_flow_owner(e, &p->dst, &p->src);
	} else if (p->proto == IPPROTO_UDP && rte_pktmbuf_data_len(m) >= 4) {
		ports_parse(p, m);
		to = datagram_owner(e, p);
	} else if (all_must_know(p, m)) {
		crew_tell_all(e, m, CREW_PARSED);
		return false;
	}
	if (to == e->worker)
		return false;
	if (port == NULL) { /* it may refer to a program's memory, which its own worker must be asked to give back */
		struct rte_mbuf *own = crew_copy(e, m);

		rte_pktmbuf_free(m);
		m = own;
	}
	if (m != NULL)
		crew_hand_over(e, to, m, CREW_PARSED);
	return true;
}

/* The same of a frame as it came, for the first worker. */
static bool steer_frame(struct engine *e, const struct port *port, struct rte_mbuf *m)
{
	if (e->worker == 0)
		return false;
	pkt_of(m)->port = port->id;
	crew_hand_over(e, 0, m, CREW_FRAME);
	return true;
}

/* The same, or to its owner. */
static inline struct l4_batch *l4_deliver(
	struct engine *e, struct port *port, struct l4_batch *b, struct rte_mbuf *m)
{
	if (cv_unlikely(e->crew != NULL) && steer(e, port, m))
		return NULL;
	return l4_deliver_here(e, port, b, m);
}

/* What one worker must see all of: fragments, and what is sent to groups, whose members are its sockets. A fragment header
 * behind other extension headers is met later, and its datagram put together where it is met. */
static inline bool is_first_workers(const struct rte_mbuf *m, int type, uint16_t at)
{
	const uint8_t *h = rte_pktmbuf_mtod_offset(m, const uint8_t *, at);
	uint32_t len = rte_pktmbuf_data_len(m);

	if (type == RTE_ETHER_TYPE_IPV4)
		return len >= at + (uint32_t)IP_HEADER_V4 && (((h[6] & 0x3f) | h[7]) != 0 || h[16] >> 4 == 0xe);
	return type == RTE_ETHER_TYPE_IPV6 && len >= at + (uint32_t)IP_HEADER_V6 &&
		(h[6] == IPPROTO_FRAGMENT || h[24] == 0xff);
}

/* m: the Ethernet header of `bytes` was taken off. */
static void arp_share(struct engine *e, const struct port *port, struct rte_mbuf *m, uint16_t bytes)
{
	if (cv_likely(e->crew == NULL))
		return;
	pkt_of(m)->port = port->id;
	(void)rte_pktmbuf_prepend(m, bytes);
	crew_tell_all(e, m, CREW_FRAME);
	rte_pktmbuf_adj(m, bytes);
}

/* A frame like none before: *model becomes what the next one is compared with. */
static void frame_input(struct engine *e, struct port *port, struct l4_batch *batch,
	struct model *model, struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct l4_batch *b;
	uint16_t bytes;
	int type = eth_parse(e, &port, m, &bytes);
	bool plain;

	model->frame = NULL;
	if (type == -1)
		return;
	pkt_of(m)->to_all = frame[0] & 1;
	if (cv_unlikely(e->crew != NULL) && is_first_workers(m, type, bytes) && steer_frame(e, port, m))
		return;
	if (cv_likely(type == RTE_ETHER_TYPE_IPV4)) {
		m = ipv4_parse(e, port, m, bytes, &plain);
		if (m == NULL)
			return;
		b = l4_deliver(e, port, batch, m);
		if (b != NULL && plain && bytes == RTE_ETHER_HDR_LEN)
			*model = (struct model){frame, pkt_of(m), b};
		return;
	}
	rte_pktmbuf_adj(m, bytes);
	if (type == RTE_ETHER_TYPE_IPV6) {
		m = ipv6_parse(e, port, m);
		if (m != NULL)
			(void)l4_deliver(e, port, batch, m);
	} else if (type == RTE_ETHER_TYPE_ARP) {
		arp_share(e, port, m, bytes);
		arp_input(e, port, m);
	} else {
		e->counters.drop_ethertype++;
		rte_pktmbuf_free(m);
	}
}

void net_input(struct engine *e, struct port *port, struct rte_mbuf **pkts, uint16_t n)
{
	struct l4_batch batch[ENGINE_L4_MAX];
	const struct believed trust = cksums_believed(port);
	const bool alone = e->crew == NULL;
	struct model model = {NULL, NULL, NULL};
	uint64_t bytes = 0;

	assert(n <= ENGINE_BURST); /* so that no batch, and with it the model, goes before the end */
	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		bool believed = (m->ol_flags & trust.mask) == trust.value;

		bytes += rte_pktmbuf_pkt_len(m);
		if (frame_is_like(port, &model, m, believed)) {
			m = ipv4_parse_like(e, port, &model, m, believed);
			if (m != NULL && (cv_likely(alone) || !steer(e, port, m)))
				batch_push(model.batch, m, true);
		} else {
			frame_input(e, port, batch, &model, m);
		}
	}
	e->counters.rx_packets += n;
	e->counters.rx_bytes += bytes;
	for (unsigned i = 0; i < e->l4_n; i++)
		batch_flush(e, batch, i);
}

static uint16_t type_at(const uint8_t *frame, uint16_t bytes)
{
	return (uint16_t)(frame[bytes - 2] << 8 | frame[bytes - 1]);
}

/* Of a frame only what was not done yet: ARP was told everybody, and is not told again, whatever tag it has. */
static void crew_frame_input(
	struct engine *e, struct port *port, struct l4_batch *batch, struct rte_mbuf *m)
{
	struct model model = {NULL, NULL, NULL};
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	uint16_t bytes = RTE_ETHER_HDR_LEN;

	if (type_at(frame, bytes) == RTE_ETHER_TYPE_VLAN)
		bytes += (uint16_t)sizeof(struct rte_vlan_hdr);
	if (type_at(frame, bytes) == RTE_ETHER_TYPE_ARP) {
		rte_pktmbuf_adj(m, bytes);
		arp_input(e, port, m);
		return;
	}
	frame_input(e, port->device, batch, &model, m); /* the tag says again which of its VLANs */
}

/* What another worker sends to a group comes to the first one, parsed: only that knows whether anybody here has joined
 * (output.c, group_loop()). */
static bool group_is_left(const struct port *port, const struct pkt *p)
{
	return cv_unlikely(addr_is_multicast(p->dst.addr)) && (port == NULL || !mcast_is_member(port, p->dst.addr));
}

void net_crew_input(struct engine *e, const uint64_t *words, uint32_t n)
{
	struct l4_batch batch[ENGINE_L4_MAX];

	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = (void *)(uintptr_t)(words[i] & ~(uint64_t)CREW_KINDS_MASK);
		struct port *port = net_port_by_id(e, pkt_of(m)->port);
		bool parsed = (words[i] & CREW_KINDS_MASK) == CREW_PARSED;

		if (parsed && !(e->worker == 0 && group_is_left(port, pkt_of(m))))
			(void)l4_deliver_here(e, port, batch, m);
		else if (!parsed && port != NULL)
			crew_frame_input(e, port, batch, m);
		else
			rte_pktmbuf_free(m);
	}
	for (unsigned i = 0; i < e->l4_n; i++)
		batch_flush(e, batch, i);
}

static uint32_t loopback_deliver(struct engine *e)
{
	struct l4_batch batch[ENGINE_L4_MAX];
	struct pktq now = e->net->loopback; /* what these cause goes round in the next turn */
	struct rte_mbuf *m;
	uint32_t n = now.n;

	pktq_init(&e->net->loopback);
	for (unsigned i = 0; i < e->l4_n; i++)
		batch[i].n = 0;
	while ((m = pktq_pop(&now)) != NULL)
		(void)l4_deliver(e, NULL, batch, m);
	for (unsigned i = 0; i < e->l4_n; i++)
		batch_flush(e, batch, i);
	return n;
}

uint32_t net_loopback_input(struct engine *e)
{
	return e->net->loopback.n == 0 ? 0 : loopback_deliver(e);
}
