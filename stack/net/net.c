/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of an engine's IP layer; its ports, VLANs among them, and which addresses they are configured with. */
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
	frag_init(e);
	net->key = (struct siphash_key){e->config.secret[0], e->config.secret[1]};
	if (net->key.k0 == 0 && net->key.k1 == 0)
		net->key = (struct siphash_key){e->env.random64(e->env.ctx), e->env.random64(e->env.ctx)};
	pktq_init(&net->loopback);
	neigh_init(net);
	ra_init(net);
	pmtu_init(e);
	if (mcast_init(net) != 0) {
		free(net);
		e->net = NULL;
		return -CV_ENOMEM;
	}
	if (pool_init(&net->neighs, sizeof(struct neigh), e->config.neigh_max) == 0) {
		if (reass_init(e) == 0)
			return 0;
		pool_fini(&net->neighs);
	}
	mcast_fini(net);
	free(net);
	e->net = NULL;
	return -CV_ENOMEM;
}

void net_fini(struct engine *e)
{
	if (e->net == NULL)
		return;
	for (; e->rx_n > 0; e->rx_n--) /* found by a look, and not handled any more */
		rte_pktmbuf_free(e->rx[e->rx_n - 1]);
	neigh_fini(e);
	reass_fini(e);
	pktq_free_all(&e->net->loopback);
	for (uint16_t i = 0; i < e->ports_n; i++) {
		for (uint16_t j = 0; j < e->ports[i]->tx_n; j++)
			rte_pktmbuf_free(e->ports[i]->tx[j]);
		e->ports[i]->tx_n = 0;
	}
	pool_fini(&e->net->neighs);
	mcast_fini(e->net);
	free(e->net);
	e->net = NULL;
}

struct port *net_port_by_id(const struct engine *e, uint16_t id)
{
	for (unsigned i = 0; i < e->net->ifaces_n; i++) {
		if (e->net->ifaces[i].port->id == id)
			return e->net->ifaces[i].port;
	}
	return NULL;
}

struct port *net_port_by_ifindex(const struct engine *e, uint32_t ifindex)
{
	for (unsigned i = 0; i < e->net->ifaces_n; i++) {
		if (e->net->ifaces[i].port->ifindex == ifindex)
			return e->net->ifaces[i].port;
	}
	return NULL;
}

struct port *net_port_by_name(const struct engine *e, const char *name)
{
	for (unsigned i = 0; i < e->net->ifaces_n; i++) {
		struct port *port = e->net->ifaces[i].port;

		if (strcmp(port->name, name) == 0 || strcmp(port->shown, name) == 0)
			return port;
	}
	return NULL;
}

/* Whether the port speaks IPv6 at all. */
static bool port_has_ipv6(const struct port *port)
{
	for (int i = 0; i < port->addrs_n; i++) {
		if (!addr_is_v4(port->addr[i].addr))
			return true;
	}
	return port->autoconf6;
}

/* The link-local address of the MAC's modified EUI-64 (RFC4291:2.5.1, appendix A). */
void net_link_local(uint8_t addr[16], const struct port *port)
{
	const uint8_t *mac = port->mac;
	const uint8_t eui[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

	memset(addr, 0, 16);
	addr[0] = 0xfe;
	addr[1] = 0x80;
	memcpy(addr + 8, eui, 8);
}

const struct port *net_address_made(const struct engine *e, unsigned i, uint8_t addr[16])
{
	net_for_each_addr(a, e->net)
	{
		if (a->origin != ADDR_AUTOCONF || !net_addr_usable(a) || i-- > 0)
			continue;
		memcpy(addr, a->addr, 16);
		return a->port;
	}
	return NULL;
}

uint32_t net_generation(const struct engine *e)
{
	return e->net->gen;
}

/* What is configured, as it is kept: with its scope. */
static void configured(uint8_t addr[16], const struct port *port, int i)
{
	memcpy(addr, port->addr[i].addr, 16);
	if (addr_is_scoped(addr))
		addr_scope_set(addr, port->ifindex);
}

static bool is_configured(const struct port *port, const struct net_addr *a)
{
	uint8_t addr[16];

	for (int i = 0; i < port->addrs_n; i++) {
		configured(addr, port, i);
		if (addr_equal(addr, a->addr))
			return true;
	}
	return false;
}

/* Takes off what the port has no longer; its link-local address stays as long as it has any other of IPv6. */
static void addrs_drop(struct engine *e, const struct port *port)
{
	bool v6 = port_has_ipv6(port);

	net_for_each_addr(a, e->net)
	{
		bool stays = a->origin == ADDR_CONFIGURED ? is_configured(port, a)
			     : a->origin == ADDR_LINK_LOCAL ? v6
							    : port->autoconf6;

		if (a->port == port && !stays)
			net_addr_drop(a);
	}
}

int net_port_changed(struct engine *e, struct port *port)
{
	struct net *net = e->net;
	uint8_t addr[16];

	if (port->addrs_n > PORT_ADDRS_MAX)
		return -CV_ENOBUFS;
	addrs_drop(e, port);
	net_link_local(addr, port);
	addr_scope_set(addr, port->ifindex);
	if (port_has_ipv6(port) && net_addr_find(net, addr) == NULL &&
		net_addr_add(e, port, addr, 64, ADDR_LINK_LOCAL) == NULL)
		return -CV_ENOBUFS;
	for (int i = 0; i < port->addrs_n; i++) {
		configured(addr, port, i);
		if (net_addr_find(net, addr) == NULL &&
			net_addr_add(e, port, addr, port->addr[i].prefix, ADDR_CONFIGURED) == NULL)
			return -CV_ENOBUFS;
	}
	if (addr_is_scoped(port->gateway6))
		addr_scope_set(port->gateway6, port->ifindex);
	net->gen++;
	return 0;
}

static int iface_add(struct engine *e, struct port *port)
{
	struct net *net = e->net;
	struct iface *i = &net->ifaces[net->ifaces_n];

	if (net->ifaces_n == NET_IFACES_MAX || port->addrs_n > PORT_ADDRS_MAX)
		return -CV_ENOBUFS;
	net->ifaces_n++;
	*i = (struct iface){.port = port,
		.engine = e,
		.reachable_ns = NEIGH_REACHABLE_NS,
		.retrans_ns = NEIGH_RETRANS_NS,
		.hops = IP_TTL_DEFAULT};
	ra_iface_init(i);
	mcast_report_init(&i->mcast[0], i);
	mcast_report_init(&i->mcast[1], i);
	port->iface = i;
	if (port->ifindex == 0)
		port->ifindex = (uint16_t)(port->id + 1);
	if (net_port_changed(e, port) != 0)
		return -CV_ENOBUFS;
	if (port->up)
		ra_solicit(i);
	return 0;
}

int net_port_add(struct engine *e, struct port *port)
{
	if (e->ports_n == PORTS_MAX)
		return -CV_ENOBUFS;
	port->tx_n = 0;
	port->tx_full = false;
	port->device = port;
	port->next_vlan = NULL;
	list_init(&port->tx_waiting);
	e->ports[e->ports_n++] = port;
	return iface_add(e, port);
}

int net_vlan_add(struct engine *e, struct port *device, struct port *vlan)
{
	vlan->device = device;
	memcpy(vlan->mac, device->mac, 6);
	vlan->up = device->up;
	vlan->tx_ip_cksum = device->tx_ip_cksum;
	vlan->tx_l4_cksum = device->tx_l4_cksum;
	vlan->tx_vlan = device->tx_vlan;
	vlan->rx_cksum = device->rx_cksum;
	vlan->trusted = device->trusted;
	vlan->tso = device->tso;
	vlan->tso_max = device->tso_max;
	if (vlan->mtu == 0 || vlan->mtu > device->mtu)
		vlan->mtu = device->mtu;
	vlan->next_vlan = device->next_vlan;
	device->next_vlan = vlan;
	return iface_add(e, vlan);
}

static void iface_up(struct engine *e, struct port *port)
{
	port->up = true;
	net_for_each_addr(a, e->net)
	{
		if (a->port == port)
			net_addr_start(a);
	}
	mcast_report_up(&port->iface->mcast[0]);
	mcast_report_up(&port->iface->mcast[1]);
	ra_solicit(port->iface);
	neigh_port_ask(e, port);
}

void net_port_up(struct engine *e, struct port *port)
{
	if (port->up)
		return;
	for (struct port *p = port; p != NULL; p = p->next_vlan)
		iface_up(e, p);
}

void net_port_down(struct engine *e, struct port *port)
{
	if (!port->up)
		return;
	port_flush(e, port);
	for (struct port *p = port; p != NULL; p = p->next_vlan) {
		p->up = false;
		neigh_port_flush(e, p);
		ra_port_flush(e, p);
	}
}

bool net_has_loopback(const struct engine *e)
{
	return e->net->loopback.n > 0;
}

void net_crew_message(struct engine *e, const struct crew_message *msg)
{
	switch ((enum net_message)msg->kind) {
	case NET_MSG_PMTU:
		pmtu_message(e, msg);
		break;
	case NET_MSG_JOINED:
	case NET_MSG_LEFT:
		mcast_message(e, msg);
		break;
	case NET_MSG_DUPLICATE:
		net_addr_message(e, msg);
		break;
	}
}
