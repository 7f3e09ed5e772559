/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbour discovery (RFC4861:7): the questions and answers of IPv6's neighbours, the frames of
 * duplicate address detection (RFC4862:5.4). The table is neigh.c's, what becomes of our addresses local.c's.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/net/priv.h"

#define ND_BYTES 24 /* of a neighbour's message without options */
#define RS_BYTES 8
#define ND_OPT_BYTES 8

enum { NA_ROUTER = 0x80, NA_SOLICITED = 0x40, NA_OVERRIDE = 0x20 };

static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
static const uint8_t unspecified[16];

void nd_solicited_node(uint8_t group[16], const uint8_t addr[16])
{
	static const uint8_t prefix[13] = {0xff, 2, [11] = 1, [12] = 0xff};

	memcpy(group, prefix, sizeof(prefix));
	memcpy(group + 13, addr + 13, 3);
}

/* A message of len bytes, zeroed, with its headers' place before it; the message, NULL without a buffer. */
static uint8_t *message_new(struct engine *e, struct rte_mbuf **m, uint16_t len)
{
	struct rte_ipv6_hdr *ip;

	*m = rte_pktmbuf_alloc(e->pkt_pool);
	ip = *m != NULL ? (void *)rte_pktmbuf_append(*m, (uint16_t)(sizeof(*ip) + len)) : NULL;
	if (ip == NULL) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(*m);
		return NULL;
	}
	memset(ip, 0, sizeof(*ip) + len);
	return (uint8_t *)(ip + 1);
}

/* mac: of the Ethernet destination, NULL: dst is a group, or a neighbour to be asked for it. */
static void message_send(struct engine *e, struct port *port, struct rte_mbuf *m, const uint8_t src[16],
	const uint8_t dst[16], const uint8_t *mac)
{
	struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod(m, struct rte_ipv6_hdr *);
	uint16_t len = (uint16_t)(rte_pktmbuf_pkt_len(m) - sizeof(*ip)), cksum;
	struct neigh *n;
	uint8_t group[6];

	cksum = (uint16_t)~mbuf_cksum(m, sizeof(*ip), pseudo_cksum(src, dst, IPPROTO_ICMPV6, len));
	memcpy((uint8_t *)(ip + 1) + ICMP_CKSUM_OFF, &cksum, 2);
	ip->vtc_flow = rte_cpu_to_be_32(6u << 28);
	ip->payload_len = rte_cpu_to_be_16(len);
	ip->proto = IPPROTO_ICMPV6;
	ip->hop_limits = ND_HOPS;
	addr_to_wire(ip->src_addr, src);
	addr_to_wire(ip->dst_addr, dst);
	if (mac == NULL && dst[0] != 0xff) {
		n = neigh_get(e, port, dst, true);
		if (n != NULL)
			neigh_output(e, n, m, 0);
		else
			rte_pktmbuf_free(m);
		return;
	}
	if (mac == NULL)
		eth_group_mac(group, dst);
	eth_output(e, port, m, mac ? mac : group, RTE_ETHER_TYPE_IPV6);
}

static void mac_option(uint8_t *at, uint8_t option, const struct port *port)
{
	at[0] = option;
	at[1] = 1;
	memcpy(at + 2, port->mac, 6);
}

/* A neighbour's message; option: 0 for none. */
static void nd_send(struct engine *e, struct port *port, uint8_t type, uint8_t flags,
	const uint8_t target[16], uint8_t option, const uint8_t src[16], const uint8_t dst[16],
	const uint8_t *mac)
{
	struct rte_mbuf *m;
	uint8_t *h = message_new(e, &m, ND_BYTES + (option ? ND_OPT_BYTES : 0));

	if (h == NULL)
		return;
	h[0] = type;
	h[4] = flags;
	addr_to_wire(h + 8, target);
	if (option)
		mac_option(h + ND_BYTES, option, port);
	if (type == ICMP6_SOLICIT)
		e->counters.nd_solicits_out++;
	else
		e->counters.nd_adverts_out++;
	message_send(e, port, m, src, dst, mac);
}

void nd_solicit_routers(struct engine *e, struct port *port, const uint8_t src[16])
{
	static const uint8_t all_routers[16] = {0xff, 2, [15] = 2};
	bool any = addr_is_any(src);
	struct rte_mbuf *m;
	uint8_t *h = message_new(e, &m, RS_BYTES + (any ? 0 : ND_OPT_BYTES));

	if (h == NULL)
		return;
	h[0] = ICMP6_ROUTER_SOLICIT;
	if (!any)
		mac_option(h + RS_BYTES, ND_OPT_SOURCE, port);
	e->counters.router_solicits_out++;
	message_send(e, port, m, src, all_routers, NULL);
}

static void advertise(const struct net_addr *a, uint8_t flags, const uint8_t dst[16], const uint8_t *mac)
{
	if (a->engine->worker != 0)
		return; /* the first one speaks for all (crew.h) */
	nd_send(a->engine, a->port, ICMP6_ADVERT, (uint8_t)(flags | NA_OVERRIDE), a->addr, ND_OPT_TARGET,
		a->addr, dst, mac);
}

void nd_probe(const struct net_addr *a)
{
	uint8_t group[16];

	nd_solicited_node(group, a->addr);
	nd_send(a->engine, a->port, ICMP6_SOLICIT, 0, a->addr, 0, unspecified, group, NULL);
}

void nd_announce(const struct net_addr *a)
{
	advertise(a, 0, all_nodes, NULL);
}

bool nd_ask(struct neigh *n, bool unicast)
{
	const uint8_t *src = net_source(n->engine->net, n->port, n->addr);
	uint8_t group[16];

	if (src == NULL)
		return false;
	nd_solicited_node(group, n->addr);
	nd_send(n->engine, n->port, ICMP6_SOLICIT, 0, n->addr, ND_OPT_SOURCE, src,
		unicast ? n->addr : group, unicast ? n->mac : NULL);
	return true;
}

bool nd_options_parse(const struct rte_mbuf *m, uint32_t from, uint8_t mac_type, struct nd_options *o)
{
	struct bytes b = bytes_over(
		rte_pktmbuf_mtod_offset(m, const uint8_t *, from), rte_pktmbuf_data_len(m) - from);

	*o = (struct nd_options){0};
	while (bytes_left(&b) > 0) {
		const uint8_t *at = b.at;
		uint8_t type = bytes_u8(&b), units = bytes_u8(&b);

		if (units == 0 || bytes_take(&b, units * 8u - 2) == NULL)
			return false;
		if (type == mac_type && units == 1 && !(at[2] & 1))
			o->mac = at + 2;
		else if (type == ND_OPT_MTU && units == 1)
			o->mtu = (uint32_t)at[4] << 24 | (uint32_t)at[5] << 16 | (uint32_t)at[6] << 8 | at[7];
		else if (type == ND_OPT_PREFIX && units == 4 &&
			o->prefixes_n < sizeof(o->prefixes) / sizeof(o->prefixes[0]))
			o->prefixes[o->prefixes_n++] = at;
	}
	return true;
}

/* RFC4861:7.2.3; RFC4862:5.4.3 */
static void solicit_input(struct engine *e, struct port *port, const struct pkt *p,
	const uint8_t target[16], const uint8_t *mac)
{
	struct net_addr *a = net_addr_find(e->net, target);
	struct neigh *n;

	if (a == NULL || a->port != port || a->state == ADDR_DUPLICATE)
		return;
	if (a->state == ADDR_TENTATIVE) {
		if (addr_is_any(p->src.addr))
			net_addr_conflict(a); /* both are testing: neither gets it */
		return;
	}
	if (addr_is_any(p->src.addr)) {
		advertise(a, 0, all_nodes, NULL);
		return;
	}
	if (ip_is_local(e, p->src.addr))
		return;
	n = mac != NULL ? neigh_get(e, port, p->src.addr, false)
			: neigh_find(e->net, port, p->src.addr);
	if (n != NULL && mac != NULL)
		neigh_learn(n, mac, false);
	advertise(a, NA_SOLICITED, p->src.addr, n != NULL && n->state != NEIGH_INCOMPLETE ? n->mac : NULL);
}

/* RFC4861:7.2.5 */
static void advert_input(struct engine *e, struct port *port, uint8_t flags,
	const uint8_t target[16], const uint8_t *mac)
{
	struct net_addr *a = net_addr_find(e->net, target);
	struct neigh *n = neigh_find(e->net, port, target);
	bool same;

	if (a != NULL && a->port == port) {
		net_addr_conflict(a);
		return;
	}
	if (n == NULL)
		return;
	if (n->state == NEIGH_INCOMPLETE && mac == NULL)
		return;
	same = n->state == NEIGH_INCOMPLETE || mac == NULL || memcmp(mac, n->mac, 6) == 0;
	if (!same && !(flags & NA_OVERRIDE)) {
		if (n->state == NEIGH_REACHABLE)
			neigh_doubt(n);
		return;
	}
	if (n->router && !(flags & NA_ROUTER))
		ra_neigh_failed(e, port, target, true);
	n->router = (flags & NA_ROUTER) != 0;
	if (flags & NA_SOLICITED)
		neigh_learn(n, mac != NULL ? mac : n->mac, true);
	else if (!same || n->state == NEIGH_INCOMPLETE)
		neigh_learn(n, mac, false);
}

void nd_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *), *mac = NULL;
	struct nd_options options;
	uint8_t target[16];
	bool bad = rte_pktmbuf_data_len(m) < ND_BYTES || p->ttl != ND_HOPS || h[1] != 0;
	bool solicit = !bad && h[0] == ICMP6_SOLICIT, from_any = addr_is_any(p->src.addr);

	if (!bad) {
		memcpy(target, h + 8, 16);
		if (addr_is_scoped(target))
			addr_scope_set(target, port->ifindex);
		bad = !nd_options_parse(m, ND_BYTES, solicit ? ND_OPT_SOURCE : ND_OPT_TARGET, &options);
		mac = options.mac;
		bad |= target[0] == 0xff || addr_is_v4(target);
	}
	if (!bad && solicit && from_any) /* a test for duplicates: to the group, without a MAC */
		bad = mac != NULL || p->dst.addr[0] != 0xff;
	if (!bad && !solicit)
		bad = from_any || (p->dst.addr[0] == 0xff && (h[4] & NA_SOLICITED));
	if (bad) {
		net_count_once(e, &e->counters.drop_nd);
		rte_pktmbuf_free(m);
		return;
	}
	if (solicit)
		solicit_input(e, port, p, target, mac);
	else
		advert_input(e, port, h[4], target, mac);
	rte_pktmbuf_free(m);
}
