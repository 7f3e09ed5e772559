/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted link for the tests of IP: one host of a world, whose frames the test takes instead of the other one, and
 * frames that the test writes as any number of neighbours. (For TCP there is script.h.)
 */
#ifndef CULVERT_TESTS_WORLD_WIRE_H
#define CULVERT_TESTS_WORLD_WIRE_H

#include "stack/net/priv.h"
#include "tests/world/net_common.h"

#define WIRE_FRAMES 8192
#define LL0 "fe80::ff:fe00:1" /* of 02:00:00:00:00:01 */

struct wire_frame {
	uint64_t at_ns;
	uint32_t len;
	uint16_t vlan_tci; /* of a tag that the device is to put in; 0: none */
	uint8_t f[1600];
};

static struct wire_frame wire_frames[WIRE_FRAMES];
static unsigned wire_head, wire_tail;
/* The stranger's card. */
static const uint8_t wire_mac[6] = {2, 0, 0, 0, 0, 9};

static uint16_t wire_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct world_host *h = ctx;

	(void)port;
	for (uint16_t i = 0; i < n; i++) {
		struct wire_frame *w = &wire_frames[wire_tail++ % WIRE_FRAMES];
		uint32_t len = rte_pktmbuf_pkt_len(pkts[i]);
		const void *from;

		assert_true(len <= sizeof(w->f));
		from = rte_pktmbuf_read(pkts[i], 0, len, w->f);
		if (from != w->f)
			memcpy(w->f, from, len);
		w->at_ns = h->w->now_ns;
		w->len = len;
		w->vlan_tci = pkts[i]->ol_flags & RTE_MBUF_F_TX_VLAN ? pkts[i]->vlan_tci : 0;
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

/* Host 0 of a new world with the wire in the test's hands. What it has sent until now is forgotten. */
static inline struct world *wire_new(uint64_t seed, bool v6)
{
	struct world *w = v6 ? world6_new(seed, &perfect) : world_new(seed, &perfect);

	w->host[0].e->env.tx = wire_tx;
	wire_head = wire_tail = 0;
	return w;
}

static inline void wire_wait(struct world *w, uint64_t ns)
{
	world_run(w, ns, NULL, NULL);
}

static inline void wire_forget(struct world *w)
{
	wire_wait(w, 0);
	wire_head = wire_tail;
}

/* Type of the Ethernet header and, for IPv6 and IPv4, protocol and first byte behind the IP header; 0 and -1: any. */
static inline bool wire_is(const struct wire_frame *w, uint16_t type, uint8_t proto, int first)
{
	const uint8_t *f = w->f;
	bool v4 = type == RTE_ETHER_TYPE_IPV4;

	if ((uint16_t)(f[12] << 8 | f[13]) != type)
		return false;
	if (type == RTE_ETHER_TYPE_ARP)
		return proto == 0 || f[21] == proto;
	if (v4)
		return (proto == 0 || f[23] == proto) && (first < 0 || f[14 + (f[14] & 0xf) * 4] == first);
	return (proto == 0 || f[20] == proto) && (first < 0 || f[54] == first);
}

/* The next frame of that kind, at most within_ns from now; those before it are forgotten. NULL: none came. */
static inline const struct wire_frame *wire_next(
	struct world *w, uint64_t within_ns, uint16_t type, uint8_t proto, int first)
{
	uint64_t end = w->now_ns + within_ns;

	world_run(w, 0, NULL, NULL);
	for (;;) {
		while (wire_head != wire_tail) {
			const struct wire_frame *frame = &wire_frames[wire_head++ % WIRE_FRAMES];

			if (wire_is(frame, type, proto, first))
				return frame;
		}
		if (w->now_ns >= end)
			return NULL;
		world_run(w, end - w->now_ns < 10 * MS ? end - w->now_ns : 10 * MS, NULL, NULL);
	}
}

#define wire_arp(w, within, op) wire_next(w, within, RTE_ETHER_TYPE_ARP, op, -1)
#define wire_icmp6(w, within, type) wire_next(w, within, RTE_ETHER_TYPE_IPV6, IPPROTO_ICMPV6, type)
#define wire_udp4(w, within) wire_next(w, within, RTE_ETHER_TYPE_IPV4, IPPROTO_UDP, -1)
#define wire_udp6(w, within) wire_next(w, within, RTE_ETHER_TYPE_IPV6, IPPROTO_UDP, -1)

/* An ARP packet of a stranger's card. */
static inline void arp(struct world *w, const uint8_t *sha, uint16_t op, const char *sip, const char *tip)
{
	uint8_t f[60] = {[12] = 8, [13] = 6, [15] = 1, [16] = 8, [18] = 6, [19] = 4};

	memcpy(f, op == 1 ? (const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff} : w->host[0].port.mac, 6);
	memcpy(f + 6, sha, 6);
	f[21] = (uint8_t)op;
	memcpy(f + 22, sha, 6);
	memcpy(f + 28, at(sip, 0).addr + 12, 4);
	if (op != 1)
		memcpy(f + 32, w->host[0].port.mac, 6);
	memcpy(f + 38, at(tip, 0).addr + 12, 4);
	world_inject(w, 0, f, sizeof(f));
	wire_wait(w, 0);
}

/* ICMPv6 with its checksum. */
static inline void icmp6_from(struct world *w, const uint8_t *mac, const char *src, const char *dst, uint8_t hops,
	uint8_t *msg, uint16_t len)
{
	uint8_t frame[1600];
	uint16_t n;

	put16(msg + 2, 0);
	put16(msg + 2, l4_sum(src, dst, IPPROTO_ICMPV6, msg, len));
	n = frame6(frame, w, 0, src, dst, IPPROTO_ICMPV6, hops, msg, len);
	memcpy(frame + 6, mac, 6);
	world_inject(w, 0, frame, n);
	wire_wait(w, 0);
}

/* Neighbour solicitation (135) or advertisement (136); mac: of the link-layer option, NULL for none. */
static inline void nd_from(struct world *w, const char *src, const char *dst, uint8_t type, uint8_t flags,
	const char *target, const uint8_t *mac)
{
	uint8_t msg[32] = {type, 0, 0, 0, flags};

	memcpy(msg + 8, at(target, 0).addr, 16);
	msg[24] = type == 135 ? 1 : 2;
	msg[25] = 1;
	if (mac != NULL)
		memcpy(msg + 26, mac, 6);
	icmp6_from(w, mac != NULL ? mac : wire_mac, src, dst, 255, msg, mac ? 32 : 24);
}

static inline enum neigh_state neigh_state(const struct world *w, const char *text)
{
	const struct neigh *n = neigh_find(w->host[0].e->net, &w->host[0].port, inside(text).addr);

	assert_non_null(n);
	return n->state;
}

#endif
