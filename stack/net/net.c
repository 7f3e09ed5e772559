/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of an engine's IP layer; its ports and their addresses. */
#include <stdlib.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

int net_init(struct engine *e)
{
	struct net *net = calloc(1, sizeof(*net));

	if (net == NULL)
		return -CV_ENOMEM;
	e->net = net;
	net->gen = 1;
	net->neigh_queue = e->config.neigh_queue;
	net->waiting_max = e->pkt_pool->size / 8;
	net->ip_id = (uint16_t)e->env.random64(e->env.ctx);
	net->ip6_id = (uint32_t)e->env.random64(e->env.ctx);
	pktq_init(&net->loopback);
	for (unsigned i = 0; i < NEIGH_BUCKETS; i++)
		list_init(&net->buckets[i]);
	pmtu_init(e);
	if (pool_init(&net->neighs, sizeof(struct neigh), e->config.neigh_max) == 0) {
		if (reass_init(e) == 0)
			return 0;
		pool_fini(&net->neighs);
	}
	free(net);
	e->net = NULL;
	return -CV_ENOMEM;
}

void net_fini(struct engine *e)
{
	if (e->net == NULL)
		return;
	neigh_fini(e);
	reass_fini(e);
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

struct net_addr *net_addr_find(struct net *net, const uint8_t addr[16])
{
	for (int i = 0; i < net->addrs_n; i++) {
		if (addr_equal(net->addrs[i].addr, addr))
			return &net->addrs[i];
	}
	return NULL;
}

/* The subnet's broadcast address; 0 where there is none: /31 (RFC3021), /32. */
static uint32_t subnet_broadcast(const struct net_addr *a)
{
	uint8_t all[16];
	uint32_t v4;

	if (a->prefix >= 127)
		return 0;
	memcpy(all, a->addr, 16);
	for (unsigned bit = a->prefix; bit < 128; bit++)
		all[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
	memcpy(&v4, all + 12, 4);
	return v4;
}

static void locals_index(struct net *net)
{
	net->locals4_n = 0;
	for (int i = 0; i < net->addrs_n; i++) {
		const struct net_addr *a = &net->addrs[i];

		if (!addr_is_v4(a->addr))
			continue;
		memcpy(&net->locals4[net->locals4_n], a->addr + 12, 4);
		net->broadcasts4[net->locals4_n++] = subnet_broadcast(a);
	}
	net->gen++;
}

static void addr_announce(struct net_addr *a)
{
	if (addr_is_v4(a->addr))
		arp_announce(a->engine, a->port, a->addr);
	else
		nd_addr_start(a);
}

static void addr_add(struct engine *e, struct port *port, const uint8_t addr[16], uint8_t prefix)
{
	struct net *net = e->net;
	struct net_addr *a = &net->addrs[net->addrs_n++];

	*a = (struct net_addr){.prefix = prefix, .state = ADDR_VALID, .port = port, .engine = e};
	memcpy(a->addr, addr, 16);
	timer_init(&a->dad, NULL);
	addr_announce(a);
}

/* The link-local address of the MAC's modified EUI-64 (RFC4291:2.5.1, appendix A), which the port
 * keeps as long as it has any other of IPv6. */
static bool link_local(uint8_t addr[16], const struct port *port)
{
	const uint8_t *mac = port->mac;
	const uint8_t eui[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

	memset(addr, 0, 16);
	addr[0] = 0xfe;
	addr[1] = 0x80;
	memcpy(addr + 8, eui, 8);
	for (int i = 0; i < port->addrs_n; i++) {
		if (!addr_is_v4(port->addr[i].addr))
			return true;
	}
	return false;
}

static bool port_has(const struct port *port, const uint8_t addr[16])
{
	for (int i = 0; i < port->addrs_n; i++) {
		if (addr_equal(port->addr[i].addr, addr))
			return true;
	}
	return false;
}

/* Takes off what the port has no longer. */
static void addrs_drop(struct engine *e, const struct port *port)
{
	struct net *net = e->net;
	uint8_t ll[16];
	bool with_ll = link_local(ll, port);

	for (int i = 0; i < net->addrs_n;) {
		struct net_addr *a = &net->addrs[i], *last = &net->addrs[net->addrs_n - 1];
		bool testing = timer_is_set(&last->dad);

		if (a->port != port || port_has(port, a->addr) ||
			(with_ll && addr_equal(a->addr, ll))) {
			i++;
			continue;
		}
		/* The last one takes its place; a timer that is set cannot be copied. */
		timer_del(&e->wheel, &a->dad);
		timer_del(&e->wheel, &last->dad);
		*a = *last;
		timer_init(&a->dad, last->dad.fn);
		net->addrs_n--;
		if (a != last && testing)
			nd_addr_start(a);
	}
}

int net_port_changed(struct engine *e, struct port *port)
{
	struct net *net = e->net;
	uint8_t ll[16];

	if (port->addrs_n > PORT_ADDRS_MAX)
		return -CV_ENOBUFS;
	addrs_drop(e, port);
	for (int i = 0; i < port->addrs_n; i++) {
		if (net_addr_find(net, port->addr[i].addr) == NULL)
			addr_add(e, port, port->addr[i].addr, port->addr[i].prefix);
	}
	if (link_local(ll, port) && net_addr_find(net, ll) == NULL)
		addr_add(e, port, ll, 64);
	locals_index(net);
	return 0;
}

int net_port_add(struct engine *e, struct port *port)
{
	if (e->ports_n == PORTS_MAX || port->addrs_n > PORT_ADDRS_MAX)
		return -CV_ENOBUFS;
	port->tx_n = 0;
	port->tx_full = false;
	list_init(&port->tx_waiting);
	e->ports[e->ports_n++] = port;
	return net_port_changed(e, port);
}

void net_port_up(struct engine *e, struct port *port)
{
	if (port->up)
		return;
	port->up = true;
	for (int i = 0; i < e->net->addrs_n; i++) {
		if (e->net->addrs[i].port == port)
			addr_announce(&e->net->addrs[i]);
	}
	neigh_port_ask(e, port);
}

void net_port_down(struct engine *e, struct port *port)
{
	if (!port->up)
		return;
	port_flush(e, port);
	port->up = false;
	neigh_port_flush(e, port);
}

bool net_has_loopback(const struct engine *e)
{
	return e->net->loopback.n > 0;
}
