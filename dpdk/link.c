/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether links are up: asked of drivers or told by them, and told to the engines; a memif's client that has lost its
 * server connects again. On the workers. */
#include "dpdk/ports_priv.h"

#include <rte_ethdev.h>

#include "dpdk/log.h"
#include "stack/net/ip.h"

#define CONNECT_NS 1000000000ull /* a memif's peer has so long to answer */

int ports_link_event(uint16_t ethdev, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct ports_port *q = arg;

	(void)ethdev;
	(void)type;
	(void)ret;
	atomic_store(&q->link_changed, true);
	return 0;
}

/* The driver connects when it is started, and never again. */
static void peer_lost(struct ports_port *q, uint64_t now)
{
	if (!q->connects || now - q->started_ns < CONNECT_NS)
		return;
	rte_eth_dev_stop(q->ethdev);
	q->waits_for_peer = true;
}

/* A driver that is silent about its link, and is told of none, is taken at its word when asked. */
void ports_link_look(struct ports *p, struct engine *e)
{
	for (uint16_t i = 0; i < p->n; i++) {
		struct ports_port *q = &p->port[i];
		struct rte_eth_link link;
		bool up;

		if (q->waits_for_peer) {
			if (rte_eth_dev_start(q->ethdev) != 0)
				continue;
			q->waits_for_peer = false;
			q->started_ns = 0;
		}
		if (q->started_ns == 0)
			q->started_ns = e->now_ns;
		if (q->link_told && !atomic_exchange(&q->link_changed, false))
			continue;
		if (rte_eth_link_get_nowait(q->ethdev, &link) != 0)
			continue;
		up = link.link_status == RTE_ETH_LINK_UP;
		if (up != q->stack.up)
			log_line(LOG_NOTICE, "port %s is %s", q->stack.name, up ? "up" : "down");
		if (up)
			net_port_up(e, &q->stack);
		else
			net_port_down(e, &q->stack);
		if (!up)
			peer_lost(q, e->now_ns);
	}
}

void ports_link_follow(struct ports_view *v, struct engine *e)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		bool up = __atomic_load_n(&v->ports->port[i].stack.up, __ATOMIC_RELAXED);

		if (up)
			net_port_up(e, v->stack[i]);
		else
			net_port_down(e, v->stack[i]);
	}
}
