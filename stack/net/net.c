/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of an engine's IP layer, and its ports. */
#include <stdlib.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

int net_init(struct engine *e)
{
	struct net *net = calloc(1, sizeof(*net));

	if (net == NULL)
		return -CV_ENOMEM;
	if (pool_init(&net->neighs, sizeof(struct neigh), e->config.neigh_max) != 0) {
		free(net);
		return -CV_ENOMEM;
	}
	net->gen = 1;
	net->neigh_queue = e->config.neigh_queue;
	net->ip_id = (uint16_t)e->env.random64(e->env.ctx);
	pktq_init(&net->loopback);
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++)
		list_init(&net->buckets[i]);
	e->net = net;
	return 0;
}

void net_fini(struct engine *e)
{
	if (e->net == NULL)
		return;
	neigh_fini(e);
	pktq_free_all(&e->net->loopback);
	for (uint16_t i = 0; i < e->ports_n; i++) {
		for (uint16_t j = 0; j < e->ports[i]->tx_n; j++)
			rte_pktmbuf_free(e->ports[i]->tx[j]);
		e->ports[i]->tx_n = 0;
	}
	pool_fini(&e->net->neighs);
	free(e->net);
	e->net = NULL;
}

int net_port_add(struct engine *e, struct port *port)
{
	if (e->ports_n == PORTS_MAX || port->addrs_n > PORT_ADDRS_MAX)
		return -CV_ENOBUFS;
	port->tx_n = 0;
	e->ports[e->ports_n++] = port;
	e->net->gen++;
	for (int i = 0; i < port->addrs_n; i++) {
		if (addr_is_v4(port->addr[i].addr))
			arp_announce(e, port, port->addr[i].addr);
	}
	return 0;
}

bool net_has_loopback(const struct engine *e)
{
	return e->net->loopback.n > 0;
}
