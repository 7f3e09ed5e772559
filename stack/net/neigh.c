/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours on Ethernet: ARP (RFC826), with a bounded queue for each unresolved one, ageing and
 * probing (RFC1122:2.3.2). An entry that fails or ages out makes every kept path look again.
 */
#include <string.h>
#include <rte_arp.h>
#include <rte_ether.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define NEIGH_RETRY_NS 1000000000ull
#define NEIGH_TRIES 3
#define NEIGH_REACHABLE_NS 30000000000ull

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static struct list *bucket(struct net *net, const uint8_t addr[16])
{
	uint32_t h = (uint32_t)addr[15] * 167u + (uint32_t)addr[14] * 13u + addr[13];

	return &net->buckets[h % NEIGH_BUCKETS];
}

static struct neigh *neigh_find(struct net *net, const struct port *port, const uint8_t addr[16])
{
	list_for_each(node, bucket(net, addr)) {
		struct neigh *n = list_entry(node, struct neigh, hash_node);

		if (n->port == port && addr_equal(n->addr, addr))
			return n;
	}
	return NULL;
}

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

static void neigh_ask(struct neigh *n)
{
	static const uint8_t unknown[6];
	const uint8_t *src = source_towards(n->port, n->addr);

	if (src == NULL)
		return;
	n->tries++;
	arp_send(n->engine, n->port, RTE_ARP_OP_REQUEST,
		n->state == NEIGH_PROBE ? n->mac : broadcast, src, unknown, n->addr);
	timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + NEIGH_RETRY_NS);
}

static void neigh_free(struct neigh *n)
{
	struct net *net = n->engine->net;

	n->engine->counters.drop_neigh_failed += n->waiting.n;
	pktq_free_all(&n->waiting);
	timer_del(&n->engine->wheel, &n->timer);
	list_del(&n->hash_node);
	net->gen++; /* paths hold the pointer */
	pool_put(&net->neighs, n);
}

static void neigh_timer(struct engine *e, struct timer *t)
{
	struct neigh *n = cv_container_of(t, struct neigh, timer);

	(void)e;
	if (n->state == NEIGH_REACHABLE) {
		if (!n->used) {
			neigh_free(n);
			return;
		}
		n->state = NEIGH_PROBE;
		n->tries = 0;
	}
	if (n->tries >= NEIGH_TRIES)
		neigh_free(n);
	else
		neigh_ask(n);
}

struct neigh *neigh_get(struct engine *e, struct port *port, const uint8_t addr[16])
{
	struct net *net = e->net;
	struct neigh *n = neigh_find(net, port, addr);

	if (n != NULL)
		return n;
	n = pool_get(&net->neighs);
	if (n == NULL) {
		e->counters.drop_neigh_table++;
		return NULL;
	}
	memset(n, 0, sizeof(*n));
	memcpy(n->addr, addr, 16);
	n->port = port;
	n->engine = e;
	n->state = NEIGH_INCOMPLETE;
	pktq_init(&n->waiting);
	timer_init(&n->timer, neigh_timer);
	list_add_head(bucket(net, addr), &n->hash_node);
	neigh_ask(n);
	return n;
}

static void neigh_learn(struct neigh *n, const uint8_t mac[6])
{
	struct rte_mbuf *m;

	memcpy(n->mac, mac, 6);
	n->state = NEIGH_REACHABLE;
	n->tries = 0;
	n->used = n->waiting.n > 0;
	timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + NEIGH_REACHABLE_NS);
	while ((m = pktq_pop(&n->waiting)) != NULL)
		eth_output(n->engine, n->port, m, n->mac, RTE_ETHER_TYPE_IPV4);
}

void neigh_output(struct engine *e, struct neigh *n, struct rte_mbuf *m)
{
	n->used = true;
	if (n->state != NEIGH_INCOMPLETE) {
		eth_output(e, n->port, m, n->mac, RTE_ETHER_TYPE_IPV4);
		return;
	}
	if (n->waiting.n >= e->net->neigh_queue) { /* the newest is worth most: RFC1122:2.3.2.2 */
		rte_pktmbuf_free(pktq_pop(&n->waiting));
		e->counters.drop_neigh_queue++;
	}
	pktq_push(&n->waiting, m);
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
		n = neigh_get(e, port, sip);
	if (n != NULL)
		neigh_learn(n, h->arp_data.arp_sha.addr_bytes);
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

void neigh_fini(struct engine *e)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		list_for_each_safe(node, &e->net->buckets[i])
			neigh_free(list_entry(node, struct neigh, hash_node));
	}
}
