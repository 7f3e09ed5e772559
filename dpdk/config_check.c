/* SPDX-License-Identifier: BSD-3-Clause */
/* What the keys of a configuration say together: ports, VLANs and their parents, networks that overlap, gateways and routes. */
#include "dpdk/config_priv.h"

#include <stdio.h>
#include <string.h>

#include "stack/base/addr.h"

/* Whether a is in one of the port's networks, and none of its addresses. */
static bool is_neighbour(const struct config_port *o, const struct config_address *a, bool v6)
{
	bool found = v6 && addr_is_link_local(a->addr);

	for (unsigned i = 0; i < o->more_n; i++) {
		if (o->more_v6[i] != v6)
			continue;
		if (memcmp(a->addr, o->more[i].addr, 16) == 0)
			return false;
		found |= config_same_net(a, &o->more[i], v6, o->more[i].prefix);
	}
	return found;
}

static int pair_check(struct parser *p, const char *key, const struct config_address *a, const struct config_port *o,
	bool v6)
{
	bool speaks = v6 ? o->address6.set || o->autoconf6 : o->address.set;

	if (!a->set)
		return 0;
	if (!speaks)
		return config_fail(p, "%s%s= needs address%s=", key, v6 ? "6" : "", v6 ? "6" : "");
	if (!is_neighbour(o, a, v6))
		return config_fail(p, "%s%s= must be another address in the network of address%s=", key,
			v6 ? "6" : "", v6 ? "6" : "");
	return 0;
}

static struct config_port *port_find(struct config *c, const char *name)
{
	for (int i = 0; i < c->ports_n; i++)
		if (strcmp(c->ports[i].name, name) == 0)
			return &c->ports[i];
	return NULL;
}

/* A VLAN has its parent's device, and nothing that is the device's. */
static int parent_check(struct parser *p, struct config_port *o)
{
	const struct config_port *parent = port_find(p->c, o->parent);

	if (o->device[0] != '\0')
		return config_fail(p, "[port %s] has device= and parent=; a VLAN has only parent=", o->name);
	if (o->vlan == 0)
		return config_fail(p, "[port %s] has parent=, so it needs vlan=", o->name);
	if (parent == NULL || parent->device[0] == '\0')
		return config_fail(p, "[port %s] has parent=%s, which is no port with device=", o->name, o->parent);
	if (o->checksum != CHECKSUM_AUTO || o->tso != TSO_AUTO || o->host_address.set || o->host_address6.set)
		return config_fail(p, "[port %s]: checksum=, tso= and host_address= are the parent's", o->name);
	if (o->mtu > parent->mtu)
		return config_fail(p, "[port %s]: mtu=%u is more than the parent's %u", o->name, o->mtu, parent->mtu);
	if (parent->vlan == o->vlan)
		return config_fail(p, "[port %s] has vlan=%u already", parent->name, o->vlan);
	for (const struct config_port *q = p->c->ports; q < o; q++)
		if (q->vlan == o->vlan && strcmp(q->parent, o->parent) == 0)
			return config_fail(p, "[port %s] has vlan=%u already", q->name, o->vlan);
	o->parent_port = parent;
	return 0;
}

static int overlap_check(struct parser *p, const struct config_port *o)
{
	for (const struct config_port *q = p->c->ports; q < o; q++) {
		for (unsigned i = 0; i < o->more_n * q->more_n; i++) {
			unsigned a = i % o->more_n, b = i / o->more_n;
			uint8_t bits = o->more[a].prefix < q->more[b].prefix ? o->more[a].prefix : q->more[b].prefix;

			if (o->more_v6[a] == q->more_v6[b] &&
				config_same_net(&o->more[a], &q->more[b], o->more_v6[a], bits))
				return config_fail(p, "the networks of [port %s] and [port %s] overlap", q->name, o->name);
		}
	}
	return 0;
}

static int route_check(struct parser *p, struct config_route *r)
{
	p->line = r->line;
	if (r->dev[0] != '\0') {
		r->port = port_find(p->c, r->dev);
		return r->port != NULL ? 0 : config_fail(p, "dev %s: there is no such port", r->dev);
	}
	for (int i = 0; i < p->c->ports_n && r->kind == ROUTE_VIA && r->port == NULL; i++)
		if (is_neighbour(&p->c->ports[i], &r->gateway, r->v6))
			r->port = &p->c->ports[i];
	if (r->kind == ROUTE_VIA && r->port == NULL)
		return config_fail(p, "the gateway is in no port's network");
	return 0;
}

static int port_check(struct parser *p, struct config_port *o)
{
	bool tap = strncmp(o->device, "net_tap", 7) == 0;

	p->line = o->line;
	if (o->parent[0] != '\0' && parent_check(p, o) != 0)
		return -1;
	if (o->device[0] == '\0' && o->parent[0] == '\0')
		return config_fail(p, "[port %s] needs device=, as net_tap0,iface=culvert0", o->name);
	if (o->more_n == 0 && !o->autoconf6)
		return config_fail(p, "[port %s] needs address=, address6= or autoconf6=yes", o->name);
	if ((o->address6.set || o->autoconf6) && o->mtu < 1280)
		return config_fail(p, "[port %s] has address6=, so mtu= must be 1280 or more", o->name);
	if (o->tso == TSO_TRUSTED && (o->gateway.set || o->gateway6.set))
		return config_fail(p, "[port %s] has gateway=, and a router passes on no frame larger than its MTU: tso=trusted-link "
			       "is for links whose other end is all there is", o->name);
	if (tap && (o->mtu > 1500 || o->tso == TSO_TRUSTED))
		return config_fail(p, "[port %s]: the driver of net_tap takes no frame of more than 1522 bytes: mtu= is at most 1500, and "
			       "tso=trusted-link cannot be", o->name);
	if ((o->host_address.set || o->host_address6.set) && !tap)
		return config_fail(p, "host_address= is for net_tap devices only");
	if (pair_check(p, "gateway", &o->gateway, o, false) != 0 ||
		pair_check(p, "gateway", &o->gateway6, o, true) != 0 ||
		pair_check(p, "host_address", &o->host_address, o, false) != 0 ||
		pair_check(p, "host_address", &o->host_address6, o, true) != 0)
		return -1;
	return overlap_check(p, o);
}

int config_check(struct parser *p)
{
	struct config *c = p->c;

	int devices = 0;

	for (int i = 0; i < c->ports_n; i++) {
		if (port_check(p, &c->ports[i]) != 0)
			return -1;
		devices += c->ports[i].device[0] != '\0';
	}
	for (int i = 0; i < c->routes_n; i++)
		if (route_check(p, &c->routes[i]) != 0)
			return -1;
	p->line = 0;
	if (devices > CONFIG_PORTS_MAX)
		return config_fail(p, "more than %d ports with device=", CONFIG_PORTS_MAX);
	if (c->ports_n == 0 && !c->loopback)
		return config_fail(p, "there is no [port NAME] section; one with device= and address= is needed");
	if (c->tcp.local_port_first > c->tcp.local_port_last)
		return config_fail(p, "local_port_first=%u is behind local_port_last=%u", c->tcp.local_port_first,
			c->tcp.local_port_last);
	if (c->control[0] == '\0')
		snprintf(c->control, sizeof(c->control), "/run/culvert/%s.sock", c->name);
	return 0;
}
