/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours on Ethernet, both families: one table, a bounded queue for each unresolved one, and the five
 * states of unreachability detection (RFC4861:7.3; ARP's neighbours the same way, as RFC1122:2.3.2.1 asks).
 * An entry that fails or ages out makes every kept path look again. How to ask is arp.c's and nd.c's.
 *
 * That a neighbour hears us is known from its answers, and from TCP: a connection that was acknowledged says so
 * in its path (ip.h, progress), which is looked at only when a packet leaves in STALE or DELAY.
 */
#include <string.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define NEIGH_TRIES 3u               /* RFC4861:10, MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT */
#define NEIGH_DELAY_NS 5000000000ull /* DELAY_FIRST_PROBE_TIME */
#define NEIGH_STALE_NS 60000000000ull /* without a packet until it is forgotten, as Linux */

void neigh_init(struct net *net)
{
	list_init(&net->stale);
	list_init(&net->incomplete);
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++)
		list_init(&net->buckets[i]);
}

static struct list *bucket(struct net *net, const uint8_t addr[16])
{
	uint64_t words[2];

	memcpy(words, addr, sizeof(words));
	return &net->buckets[siphash13(&net->key, words, 2, 0) % NEIGH_BUCKETS];
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

/* Routers speak for IPv6 (RFC4861:6.3.4). */
static uint64_t reachable_ns(const struct neigh *n)
{
	return n->ether_type == RTE_ETHER_TYPE_IPV4 ? NEIGH_REACHABLE_NS : n->port->iface->reachable_ns;
}

static uint64_t retrans_ns(const struct neigh *n)
{
	return n->ether_type == RTE_ETHER_TYPE_IPV4 ? NEIGH_RETRANS_NS : n->port->iface->retrans_ns;
}

static void timer_in(struct neigh *n, uint64_t ns)
{
	timer_set(&n->engine->wheel, &n->timer, n->engine->now_ns + ns);
}

/* The one place where the state changes; the timer is what the state waits for. */
static void state_set(struct neigh *n, enum neigh_state state)
{
	struct net *net = n->engine->net;

	n->state = state;
	n->tries = 0;
	list_del(&n->age_node);
	switch (state) {
	case NEIGH_REACHABLE:
		timer_in(n, reachable_ns(n));
		break;
	case NEIGH_STALE:
		list_add_tail(&net->stale, &n->age_node);
		timer_in(n, NEIGH_STALE_NS);
		break;
	case NEIGH_DELAY:
		timer_in(n, NEIGH_DELAY_NS);
		break;
	case NEIGH_INCOMPLETE:
		list_add_tail(&net->incomplete, &n->age_node);
		timer_del(&n->engine->wheel, &n->timer);
		break;
	case NEIGH_PROBE:
		break;
	}
}

static void neigh_ask(struct neigh *n)
{
	bool unicast = n->state == NEIGH_PROBE, asked;

	asked = n->ether_type == RTE_ETHER_TYPE_IPV4 ? arp_ask(n, unicast) : nd_ask(n, unicast);
	n->tries = (uint8_t)(n->tries + asked); /* that we cannot ask yet is not the neighbour's fault */
	timer_in(n, retrans_ns(n));
}

/* Off the table; what waited is left to the caller. */
static void neigh_forget(struct neigh *n, struct pktq *waiting)
{
	struct net *net = n->engine->net;

	*waiting = n->waiting;
	net->waiting_n -= waiting->n;
	timer_del(&n->engine->wheel, &n->timer);
	list_del(&n->hash_node);
	list_del(&n->age_node);
	if (n->held)
		net->gen++; /* paths hold the pointer */
	pool_put(&net->neighs, n);
}

/* Nobody answered. The protocols hear of it when the table is consistent again: they may send. */
static void neigh_failed(struct neigh *n)
{
	struct engine *e = n->engine;
	const struct port *port = n->port;
	uint8_t addr[16];
	struct pktq waiting;
	struct rte_mbuf *m;

	memcpy(addr, n->addr, 16);
	neigh_forget(n, &waiting);
	ra_neigh_failed(e, port, addr, false);
	e->counters.drop_neigh_failed += waiting.n;
	while ((m = pktq_pop(&waiting)) != NULL) {
		icmp_error_unreachable(e, port, m);
		rte_pktmbuf_free(m);
	}
}

static void neigh_timer(struct engine *e, struct timer *t)
{
	struct neigh *n = cv_container_of(t, struct neigh, timer);
	struct pktq none;

	(void)e;
	switch (n->state) {
	case NEIGH_REACHABLE:
		state_set(n, NEIGH_STALE);
		return;
	case NEIGH_STALE:
		neigh_forget(n, &none);
		return;
	case NEIGH_DELAY:
		state_set(n, NEIGH_PROBE);
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

/* A full table gives up what was not used for longest, and what does not answer; never what is in use
 * (RFC4861:7.3.3 leaves the choice). */
static struct neigh *neigh_room(struct engine *e)
{
	struct net *net = e->net;
	struct list *ages = !list_empty(&net->stale) ? &net->stale : &net->incomplete;
	struct neigh *n = pool_get(&net->neighs);
	struct pktq waiting;

	if (n != NULL || list_empty(ages))
		return n;
	neigh_forget(list_entry(list_first(ages), struct neigh, age_node), &waiting);
	e->counters.neigh_evicted++;
	e->counters.drop_neigh_failed += waiting.n;
	pktq_free_all(&waiting);
	return pool_get(&net->neighs);
}

struct neigh *neigh_get(struct engine *e, struct port *port, const uint8_t addr[16], bool ask)
{
	struct net *net = e->net;
	struct neigh *n = neigh_find(net, port, addr);

	if (n == NULL) {
		n = neigh_room(e);
		if (n == NULL) {
			e->counters.drop_neigh_table++;
			return NULL;
		}
		memset(n, 0, sizeof(*n));
		memcpy(n->addr, addr, 16);
		n->port = port;
		n->engine = e;
		n->ether_type = addr_is_v4(addr) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
		pktq_init(&n->waiting);
		timer_init(&n->timer, neigh_timer);
		list_init(&n->age_node);
		list_add_head(bucket(net, addr), &n->hash_node);
		state_set(n, NEIGH_INCOMPLETE);
		if (ask)
			neigh_ask(n);
	}
	n->held |= ask;
	return n;
}

void neigh_learn(struct neigh *n, const uint8_t mac[6], bool confirmed)
{
	struct engine *e = n->engine;
	struct rte_mbuf *m;

	confirmed &= n->held; /* else nobody has asked */
	/* What is known to work is not doubted because the same is said again (RFC4861:7.2.3). */
	if (!confirmed && n->state != NEIGH_INCOMPLETE && memcmp(n->mac, mac, 6) == 0)
		return;
	memcpy(n->mac, mac, 6);
	state_set(n, confirmed ? NEIGH_REACHABLE : NEIGH_STALE);
	if (!confirmed && n->waiting.n > 0)
		state_set(n, NEIGH_DELAY); /* what waited is the first packet to it */
	e->net->waiting_n -= n->waiting.n;
	n->datagrams = 0;
	while ((m = pktq_pop(&n->waiting)) != NULL)
		eth_output(e, n->port, m, n->mac, n->ether_type);
}

void neigh_doubt(struct neigh *n)
{
	state_set(n, NEIGH_STALE);
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

static void neigh_wait(struct engine *e, struct neigh *n, struct rte_mbuf *m)
{
	bool follows = n->waiting.n > 0 && is_follower(m);

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

/* The connection that sends was acknowledged lately: so it was heard (RFC4861:7.3.1). */
static bool progress_is_fresh(const struct engine *e, uint32_t progress)
{
	return progress != 0 &&
		ip_progress_now(e) - progress <= (uint32_t)(NEIGH_DELAY_NS >> IP_PROGRESS_SHIFT);
}

void neigh_output(struct engine *e, struct neigh *n, struct rte_mbuf *m, uint32_t progress)
{
	if (n->state == NEIGH_INCOMPLETE) {
		neigh_wait(e, n, m);
		return;
	}
	if (n->state >= NEIGH_DELAY) {
		if (progress_is_fresh(e, progress))
			state_set(n, NEIGH_REACHABLE);
		else if (n->state == NEIGH_STALE)
			state_set(n, NEIGH_DELAY);
	}
	eth_output(e, n->port, m, n->mac, n->ether_type);
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
