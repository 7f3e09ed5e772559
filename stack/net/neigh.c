/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours on Ethernet, both families: one table, a bounded queue for each unresolved one, ageing
 * and probing (RFC1122:2.3.2, RFC4861:7.3). An entry that fails or ages out makes every kept path
 * look again. How to ask is arp.c's and nd.c's.
 */
#include <string.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define NEIGH_RETRY_NS 1000000000ull
#define NEIGH_TRIES 3
#define NEIGH_REACHABLE_NS 30000000000ull
#define NEIGH_DELAY_NS 5000000000ull /* RFC4861:10, DELAY_FIRST_PROBE_TIME */
#define NEIGH_STALE_ROUNDS 12        /* of NEIGH_DELAY_NS without use until it is forgotten */

static struct list *bucket(struct net *net, const uint8_t addr[16])
{
	uint32_t h = (uint32_t)addr[15] * 167u + (uint32_t)addr[14] * 13u + addr[13];

	return &net->buckets[h % NEIGH_BUCKETS];
}

struct neigh *neigh_find(struct net *net, const struct port *port, const uint8_t addr[16])
{
	list_for_each (node, bucket(net, addr)) {
		struct neigh *n = list_entry(node, struct neigh, hash_node);

		if (n->port == port && addr_equal(n->addr, addr))
			return n;
	}
	return NULL;
}

static void neigh_ask(struct neigh *n)
{
	bool unicast = n->state == NEIGH_PROBE;

	n->tries++;
	if (n->ether_type == RTE_ETHER_TYPE_IPV4)
		arp_ask(n, unicast);
	else if (!nd_ask(n, unicast))
		n->tries--; /* it has to wait, and that is not the neighbour's fault */
	timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + NEIGH_RETRY_NS);
}

/* Off the table; what waited is left to the caller. */
static void neigh_forget(struct neigh *n, struct pktq *waiting)
{
	struct net *net = n->engine->net;

	*waiting = n->waiting;
	net->waiting_n -= waiting->n;
	timer_del(&n->engine->wheel, &n->timer);
	list_del(&n->hash_node);
	net->gen++; /* paths hold the pointer */
	pool_put(&net->neighs, n);
}

/* Nobody answered. The protocols hear of it when the table is consistent again: they may send. */
static void neigh_failed(struct neigh *n)
{
	struct engine *e = n->engine;
	struct pktq waiting;
	struct rte_mbuf *m;

	neigh_forget(n, &waiting);
	e->counters.drop_neigh_failed += waiting.n;
	while ((m = pktq_pop(&waiting)) != NULL) {
		icmp_error_unreachable(e, m);
		rte_pktmbuf_free(m);
	}
}

static void stale_timer(struct neigh *n)
{
	struct pktq none;

	if (n->used) {
		n->state = NEIGH_PROBE;
		n->tries = 0;
		neigh_ask(n);
	} else if (++n->tries >= NEIGH_STALE_ROUNDS) {
		neigh_forget(n, &none);
	} else {
		timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + NEIGH_DELAY_NS);
	}
}

static void neigh_timer(struct engine *e, struct timer *t)
{
	struct neigh *n = cv_container_of(t, struct neigh, timer);
	struct pktq none;

	(void)e;
	switch (n->state) {
	case NEIGH_STALE:
		stale_timer(n);
		return;
	case NEIGH_REACHABLE:
		if (!n->used) {
			neigh_forget(n, &none);
			return;
		}
		n->state = NEIGH_PROBE;
		n->tries = 0;
		break;
	case NEIGH_INCOMPLETE:
	case NEIGH_PROBE:
		break;
	}
	if (n->tries >= NEIGH_TRIES)
		neigh_failed(n);
	else
		neigh_ask(n);
}

struct neigh *neigh_get(struct engine *e, struct port *port, const uint8_t addr[16], bool ask)
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
	n->ether_type = addr_is_v4(addr) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
	pktq_init(&n->waiting);
	timer_init(&n->timer, neigh_timer);
	list_add_head(bucket(net, addr), &n->hash_node);
	if (ask)
		neigh_ask(n);
	return n;
}

void neigh_learn(struct neigh *n, const uint8_t mac[6], bool confirmed)
{
	struct engine *e = n->engine;
	struct rte_mbuf *m;

	/* What is known to work is not doubted because the same is said again (RFC4861:7.2.3). */
	if (!confirmed && n->state != NEIGH_INCOMPLETE && memcmp(n->mac, mac, 6) == 0)
		return;
	memcpy(n->mac, mac, 6);
	n->state = confirmed ? NEIGH_REACHABLE : NEIGH_STALE;
	n->tries = 0;
	n->used = n->waiting.n > 0;
	timer_set(&e->wheel, &n->timer,
		e->now_ns + (confirmed ? NEIGH_REACHABLE_NS : NEIGH_DELAY_NS));
	e->net->waiting_n -= n->waiting.n;
	n->datagrams = 0;
	while ((m = pktq_pop(&n->waiting)) != NULL)
		eth_output(e, n->port, m, n->mac, n->ether_type);
}

void neigh_doubt(struct neigh *n)
{
	n->state = NEIGH_STALE;
	n->tries = 0;
	timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + NEIGH_DELAY_NS);
}

/* A fragment that continues the datagram before it. */
static bool is_follower(const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *h4 = rte_pktmbuf_mtod(m, const struct rte_ipv4_hdr *);
	const struct rte_ipv6_hdr *h6 = (const void *)h4;
	const struct rte_ipv6_fragment_ext *f = (const void *)(h6 + 1);

	if (h4->version_ihl >> 4 == 4)
		return (h4->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK)) != 0;
	return h6->proto == IPPROTO_FRAGMENT &&
	       (rte_be_to_cpu_16(f->frag_data) & RTE_IPV6_EHDR_FO_MASK) != 0;
}

static void drop_oldest(struct neigh *n)
{
	do {
		rte_pktmbuf_free(pktq_pop(&n->waiting));
		n->engine->counters.drop_neigh_queue++;
		n->engine->net->waiting_n--;
	} while (n->waiting.head != NULL && is_follower(n->waiting.head));
	n->datagrams--;
}

void neigh_output(struct engine *e, struct neigh *n, struct rte_mbuf *m)
{
	bool follows;

	n->used = true;
	if (n->state != NEIGH_INCOMPLETE) {
		eth_output(e, n->port, m, n->mac, n->ether_type);
		return;
	}
	follows = n->waiting.n > 0 && is_follower(m);
	if (!follows && n->datagrams >= e->net->neigh_queue)
		drop_oldest(n); /* the newest is worth most: RFC1122:2.3.2.2 */
	if (e->net->waiting_n >= e->net->waiting_max) {
		rte_pktmbuf_free(m);
		e->counters.drop_neigh_queue++;
		return;
	}
	n->datagrams += !follows;
	e->net->waiting_n++;
	pktq_push(&n->waiting, m);
}

void neigh_port_flush(struct engine *e, const struct port *port)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		list_for_each_safe (node, &e->net->buckets[i]) {
			struct neigh *n = list_entry(node, struct neigh, hash_node);
			struct pktq waiting;

			if (port != NULL && n->port != port)
				continue;
			neigh_forget(n, &waiting);
			e->counters.drop_neigh_failed += waiting.n;
			pktq_free_all(&waiting);
		}
	}
}

void neigh_port_ask(struct engine *e, const struct port *port)
{
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++) {
		list_for_each (node, &e->net->buckets[i]) {
			struct neigh *n = list_entry(node, struct neigh, hash_node);

			if (n->port == port && n->state == NEIGH_INCOMPLETE) {
				n->tries = 0;
				neigh_ask(n);
			}
		}
	}
}

void neigh_fini(struct engine *e)
{
	neigh_port_flush(e, NULL);
}
