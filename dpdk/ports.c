/* SPDX-License-Identifier: BSD-3-Clause */
/* The ports of a configuration: a device or a VLAN each, opened in order, with what the stack is to know of it; and what each
 * worker's engine is given of them. The devices themselves: device.c. */
#include "dpdk/ports_priv.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf_pool_ops.h>

#include "dpdk/callbacks.h"
#include "dpdk/log.h"
#include "stack/core/pkt.h"
#include "stack/net/ip.h"

/* What a frame has room for bounds the configured sizes. */
static void sizes_fill(struct port *s, const struct config_port *o)
{
	uint32_t ip = ports_frame_bytes(o) - FRAME_HEADER;

	s->mtu = o->mtu < ip ? o->mtu : (uint16_t)ip;
	if (s->mtu < o->mtu)
		log_line(LOG_NOTICE, "port %s: mtu is %u: a frame must lie in one buffer", o->name, s->mtu);
	s->tso_max = o->tso_max;
	if (o->tso == TSO_TRUSTED && o->tso_max > ip)
		s->tso_max = (uint16_t)ip;
}

/* A link with two ends, configured together: nobody else can have the address (dad=auto). */
static bool is_private_wire(const struct config_port *o)
{
	const char *device = o->parent_port != NULL ? o->parent_port->device : o->device;

	return strncmp(device, "net_tap", 7) == 0 || memif_is(device) || strncmp(device, "net_ring", 8) == 0 ||
		strncmp(device, "net_pcap", 8) == 0 || strncmp(device, "net_null", 8) == 0;
}

static void addresses_fill(struct port *s, const struct config_port *o)
{
	for (unsigned i = 0; i < o->more_n; i++) {
		memcpy(s->addr[i].addr, o->more[i].addr, 16);
		s->addr[i].prefix = (uint8_t)(o->more[i].prefix + (o->more_v6[i] ? 0 : 96));
	}
	s->addrs_n = (uint8_t)o->more_n;
	s->autoconf6 = o->autoconf6;
	s->dad4 = o->dad == DAD_YES;
	s->dad6 = o->dad == DAD_YES || (o->dad == DAD_AUTO && !is_private_wire(o));
	s->has_gateway = o->gateway.set;
	s->has_gateway6 = o->gateway6.set;
	memcpy(s->gateway, o->gateway.addr, 16);
	memcpy(s->gateway6, o->gateway6.addr, 16);
	s->vlan = o->vlan;
	s->trusted = o->checksum == CHECKSUM_TRUSTED;
}

static void waiting_prepare(struct ports_port *q)
{
	for (uint16_t k = 0; k < q->queues; k++) {
		int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(q->ethdev, k), flags;

		q->rx_fd[k] = fd;
		if (!q->tap || fd < 0)
			continue;
		flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags & ~O_ASYNC);
	}
}

static int port_open(struct ports *p, uint16_t i, const struct config *c, char *error)
{
	struct ports_port *q = &p->port[i];
	const char *step = "";
	char device[sizeof(q->config->device) + 32];
	int status;

	snprintf(device, sizeof(device), "%s", q->config->device);
	if (memif_is(device)) {
		memif_device(q->config->device, ports_frame_bytes(q->config), device, sizeof(device));
		memif_socket_clear(device);
	}
	status = rte_dev_probe(device);
	q->ethdev = RTE_MAX_ETHPORTS;
	if (status == 0) {
		uint16_t id;
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(q->config->device, ","), q->config->device);
		if (rte_eth_dev_get_port_by_name(name, &id) == 0)
			q->ethdev = id;
	}
	if (status != 0 || q->ethdev == RTE_MAX_ETHPORTS) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: device=%.200s: there is no such device (%s)",
			c->path, q->config->device_line, q->config->device, rte_strerror(-status));
		return -1;
	}
	snprintf(q->stack.name, sizeof(q->stack.name), "%s", q->config->name);
	q->stack.id = i;
	addresses_fill(&q->stack, q->config);
	sizes_fill(&q->stack, q->config);
	status = ports_device_start(p, q, p->pool, &step);
	if (status != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: device=%.200s: %s fails: %s", c->path,
			q->config->device_line, q->config->device, step, rte_strerror(-status));
		return -1;
	}
	waiting_prepare(q);
	if (ports_lent_prepare(p, q) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no memory for port %s", q->stack.name);
		return -1;
	}
	if (q->link_told)
		rte_eth_dev_callback_register(
			q->ethdev, RTE_ETH_EVENT_INTR_LSC, ports_link_event, q);
	q->stack.up = !q->waits_for_peer;
	if (q->config->host_address.set || q->config->host_address6.set) {
		struct rte_eth_dev_info info;
		char iface[IF_NAMESIZE] = "";
		rte_eth_dev_info_get(q->ethdev, &info);
		if_indextoname(info.if_index, iface);
		status = host_address_set(iface, &q->config->host_address, &q->config->host_address6);
		if (status != 0) {
			snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: host_address= cannot be set on %s: %s",
				c->path, q->config->line, iface, strerror(-status));
			return -1;
		}
	}
	return 0;
}

/* What is the device's it takes over in net_vlan_add(). */
static void vlan_make(struct ports *p, const struct config_port *o)
{
	struct ports_vlan *v = &p->vlan[p->vlans_n];

	v->config = o;
	snprintf(v->stack.name, sizeof(v->stack.name), "%s", o->name);
	v->stack.id = (uint16_t)(CONFIG_PORTS_MAX + p->vlans_n);
	v->stack.ifindex = (uint16_t)(IFINDEX_OWN + v->stack.id);
	ports_name_show(&v->stack);
	v->stack.mtu = o->mtu;
	addresses_fill(&v->stack, o);
	for (uint16_t i = 0; i < p->n; i++) {
		if (p->port[i].config == o->parent_port)
			v->parent = i;
	}
	memcpy(v->stack.mac, p->port[v->parent].stack.mac, 6);
	p->vlans_n++;
}

/* rte_pktmbuf_pool_create(), with the buffers side by side. By default none lies across two pages, so that with 4 KiB pages
 * each takes one: a third more memory, headers that meet in few sets of the caches, and a pool larger than the AF_XDP driver
 * (22.11) counts: buffers behind what it has shown to the kernel are lost there, until nothing is sent or received any more.
 * Devices that know physical addresses need the default. */
static struct rte_mempool *pool_make(const struct config *c)
{
	struct rte_pktmbuf_pool_private private = {
		.mbuf_data_room_size = (uint16_t)ports_buffer_room(c),
		.mbuf_priv_size = RTE_ALIGN(sizeof(struct pkt), RTE_MBUF_PRIV_ALIGN),
	};
	struct rte_mempool *pool = rte_mempool_create_empty("culvert", (unsigned)ports_buffers(c),
		(unsigned)sizeof(struct rte_mbuf) + private.mbuf_priv_size + private.mbuf_data_room_size, 256,
		sizeof(private), SOCKET_ID_ANY, rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);

	if (pool == NULL)
		return NULL;
	if ((rte_errno = -rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL)) == 0) {
		int n;

		rte_pktmbuf_pool_init(pool, &private);
		if ((n = rte_mempool_populate_default(pool)) >= 0) {
			rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
			return pool;
		}
		rte_errno = -n;
	}
	rte_mempool_free(pool);
	return NULL;
}

int ports_open(struct ports *p, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	memset(p, 0, sizeof(*p));
	p->workers = (uint16_t)c->workers;
	p->callbacks_fd = callbacks_start();
	if (p->callbacks_fd < 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "the drivers' callbacks: %s", strerror(-p->callbacks_fd));
		return -1;
	}
	p->pool = pool_make(c);
	if (p->pool == NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s: no memory for packet_buffers=%llu: %s", c->path,
			(unsigned long long)ports_buffers(c), rte_strerror(rte_errno));
		return -1;
	}
	for (uint16_t i = 0; i < c->ports_n; i++) {
		if (c->ports[i].parent_port != NULL)
			continue;
		p->port[p->n].config = &c->ports[i];
		for (unsigned k = 0; k < CV_WORKERS_MAX; k++)
			p->port[p->n].rx_fd[k] = -1;
		if (port_open(p, p->n, c, error) != 0)
			return -1;
		p->n++;
	}
	for (uint16_t i = 0; i < c->ports_n; i++) {
		if (c->ports[i].parent_port != NULL)
			vlan_make(p, &c->ports[i]);
	}
	return 0;
}

struct port *ports_stack_port(struct ports *p, const struct config_port *o)
{
	for (uint16_t i = 0; i < p->vlans_n; i++) {
		if (p->vlan[i].config == o)
			return &p->vlan[i].stack;
	}
	for (uint16_t i = 0; i < p->n; i++) {
		if (p->port[i].config == o)
			return &p->port[i].stack;
	}
	return NULL;
}

void ports_close(struct ports *p)
{
	for (uint16_t i = 0; i < p->n; i++) {
		rte_eth_dev_stop(p->port[i].ethdev);
		rte_eth_dev_close(p->port[i].ethdev);
	}
	p->n = 0;
	callbacks_stop();
}

uint32_t ports_callbacks(struct ports *p)
{
	return p->callbacks_fd < 0 ? 0 : callbacks_run();
}

/* --- a worker's ------------------------------------------------------------------------------------ */

int ports_view_init(struct ports_view *v, struct ports *p, uint16_t worker)
{
	struct port *copy = worker > 0 ? calloc((size_t)p->n + p->vlans_n, sizeof(*copy)) : NULL;

	*v = (struct ports_view){.ports = p, .worker = worker};
	if (worker > 0 && copy == NULL)
		return -1;
	for (uint16_t i = 0; i < p->n; i++) {
		v->stack[i] = worker > 0 ? copy + i : &p->port[i].stack;
		*v->stack[i] = p->port[i].stack;
	}
	for (uint16_t i = 0; i < p->vlans_n; i++) {
		v->vlan[i] = worker > 0 ? copy + p->n + i : &p->vlan[i].stack;
		*v->vlan[i] = p->vlan[i].stack;
	}
	return 0;
}

static struct port *stack_port(const struct ports_view *v, const struct config_port *o)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		if (v->ports->port[i].config == o)
			return v->stack[i];
	}
	for (uint16_t i = 0; i < v->ports->vlans_n; i++) {
		if (v->ports->vlan[i].config == o)
			return v->vlan[i];
	}
	return NULL;
}

static int route_give(const struct ports_view *v, struct engine *e, const struct config_route *r)
{
	static const enum ip_route_kind kinds[] = {[ROUTE_VIA] = IP_ROUTE_VIA,
		[ROUTE_UNREACHABLE] = IP_ROUTE_UNREACHABLE,
		[ROUTE_BLACKHOLE] = IP_ROUTE_BLACKHOLE,
		[ROUTE_PROHIBIT] = IP_ROUTE_PROHIBIT};
	struct ip_route to = {.bits = (uint8_t)(r->to.prefix + (r->v6 ? 0 : 96)),
		.kind = kinds[r->kind],
		.port = r->port != NULL ? stack_port(v, r->port) : NULL,
		.has_gateway = r->gateway.set,
		.mtu = r->mtu};

	memcpy(to.prefix, r->to.addr, 16);
	memcpy(to.gateway, r->gateway.addr, 16);
	return net_route_add(e, &to);
}

int ports_engine_add(struct ports_view *v, struct engine *e, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	const struct ports *p = v->ports;
	const struct config_port *o = NULL;

	for (uint16_t i = 0; i < p->n && o == NULL; i++) {
		if (net_port_add(e, v->stack[i]) != 0)
			o = p->port[i].config;
	}
	for (uint16_t i = 0; i < p->vlans_n && o == NULL; i++) {
		if (net_vlan_add(e, v->stack[p->vlan[i].parent], v->vlan[i]) != 0)
			o = p->vlan[i].config;
	}
	if (o != NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: too many ports or addresses", c->path, o->line);
		return -1;
	}
	for (uint16_t i = 0; i < c->routes_n; i++) {
		if (route_give(v, e, &c->routes[i]) != 0) {
			snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: too many routes", c->path, c->routes[i].line);
			return -1;
		}
	}
	return 0;
}
