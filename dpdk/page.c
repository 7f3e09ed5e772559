/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's page (stack/api/page.h): made once, sealed so that only this process writes it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpdk/service.h"
#include "stack/net/ip.h"

#define PAGE_MADE_MAX 32u
#define MADE_BITS 64u /* of the network of an address that ends in an interface identifier (RFC4291:2.5.1) */

/* Two of each address and up to four more of each port, one of each route, the loopback's two, and those to be made. */
static_assert((2u * CONFIG_ADDRESSES_MAX + 4u) * CONFIG_SECTIONS_MAX + CONFIG_ROUTES_MAX + 2u + PAGE_MADE_MAX <=
		      CV_ROUTES_MAX,
	"the page has room for all of a configuration");
static_assert(CONFIG_SECTIONS_MAX <= CV_INTERFACES_MAX && sizeof(((struct port *)0)->shown) == CV_INTERFACE_NAME_BYTES,
	"the page has room for all ports");

static void route_add(struct cv_page *p, const uint8_t addr[16], unsigned prefix, uint8_t flags,
	uint16_t mtu, uint16_t ifindex)
{
	struct cv_route *r = &p->routes[p->routes_n];

	memcpy(r->addr, addr, 16);
	r->prefix = (uint8_t)prefix;
	r->flags = flags;
	r->mtu = mtu;
	r->ifindex = ifindex;
	p->routes_n++;
}

static void address_add(struct cv_page *p, const uint8_t addr[16], unsigned network, const struct config_port *o,
	const struct port *port)
{
	route_add(p, addr, 128, CV_ROUTE_LOCAL, o->mtu, port->ifindex);
	p->routes[p->routes_n - 1].network = (uint8_t)network;
}

static void port_routes(struct cv_page *p, const struct config_port *o, const struct port *port)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff}, any6[16] = {0},
			     link_local[16] = {0xfe, 0x80};
	uint8_t own[16];

	for (unsigned i = 0; i < o->more_n; i++) {
		unsigned bits = o->more[i].prefix + (o->more_v6[i] ? 0u : 96u);

		address_add(p, o->more[i].addr, bits, o, port);
		route_add(p, o->more[i].addr, bits, CV_ROUTE_OUT, o->mtu, port->ifindex);
	}
	if (o->address6.set || o->autoconf6) {
		net_link_local(own, port);
		address_add(p, own, MADE_BITS, o, port);
		route_add(p, link_local, 10, CV_ROUTE_OUT, o->mtu, port->ifindex);
	}
	if (o->gateway.set)
		route_add(p, any4, 96, CV_ROUTE_OUT, o->mtu, port->ifindex);
	if (o->gateway6.set || o->autoconf6) /* what routers will say is not known yet */
		route_add(p, any6, 0, CV_ROUTE_OUT, o->mtu, port->ifindex);
}

static void interface_add(struct cv_page *p, const struct port *port)
{
	struct cv_interface *i = &p->interfaces[p->interfaces_n++];

	memcpy(i->name, port->shown, sizeof(i->name));
	i->ifindex = port->ifindex;
	i->mtu = port->mtu;
	memcpy(i->mac, port->mac, sizeof(i->mac));
}

/* Those that refuse are the engine's too: it says so. */
static void configured_routes(struct cv_page *p, const struct config *c)
{
	for (unsigned i = 0; i < c->routes_n; i++) {
		const struct config_route *r = &c->routes[i];

		route_add(p, r->to.addr, r->to.prefix + (r->v6 ? 0u : 96u), CV_ROUTE_OUT,
			r->mtu != 0 ? r->mtu : r->port != NULL ? r->port->mtu : UINT16_MAX, 0);
	}
}

/* Places for addresses that routers' prefixes make (page_addresses()). */
static void addresses_reserve(struct service *s)
{
	static const uint8_t none[16];

	s->made_first = s->page->routes_n;
	for (; s->made_n < PAGE_MADE_MAX; s->made_n++)
		route_add(s->page, none, 128, 0, 0, 0);
}

/* A reader who sees flags sees the address, too. */
static void address_publish(struct cv_route *r, const uint8_t addr[16], const struct port *port)
{
	__atomic_store_n(&r->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(r->addr, addr, 16);
	r->mtu = port->mtu;
	r->ifindex = port->ifindex;
	r->network = MADE_BITS;
	__atomic_store_n(&r->flags, CV_ROUTE_LOCAL, __ATOMIC_RELEASE);
}

void page_addresses(struct service *s, struct engine *e)
{
	const struct port *port;
	uint8_t addr[16];

	if (s->made_n == 0 || net_generation(e) == s->made_gen)
		return;
	s->made_gen = net_generation(e);
	for (uint32_t i = 0; i < s->made_n; i++) {
		struct cv_route *r = &s->page->routes[s->made_first + i];

		port = net_address_made(e, i, addr);
		if (port == NULL)
			__atomic_store_n(&r->flags, 0, __ATOMIC_RELAXED);
		else if (r->flags == 0 || memcmp(r->addr, addr, 16) != 0)
			address_publish(r, addr, port);
	}
}

static void loopback_routes(struct cv_page *p, bool ours)
{
	static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff, [12] = 127}, v6[16] = {[15] = 1};
	uint8_t flags = ours ? CV_ROUTE_LOCAL : CV_ROUTE_KERNEL;

	route_add(p, v4, 96 + 8, flags, UINT16_MAX, 0);
	route_add(p, v6, 128, flags, UINT16_MAX, 0);
}

static int page_map(struct service *s)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

	s->page_fd = memfd_create("culvert-page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (s->page_fd < 0 || ftruncate(s->page_fd, sizeof(struct cv_page)) != 0)
		return -1;
	s->page = mmap(NULL, sizeof(struct cv_page), PROT_READ | PROT_WRITE, MAP_SHARED, s->page_fd, 0);
	if (s->page == MAP_FAILED)
		return -1;
	return fcntl(s->page_fd, F_ADD_SEALS, seals);
}

int page_make(struct service *s)
{
	struct cv_page *p;
	bool autoconf = false;

	if (page_map(s) != 0)
		return -1;
	p = s->page;
	p->magic = CV_PAGE_MAGIC;
	p->version = CV_API_VERSION;
	p->pid = (uint32_t)getpid();
	p->workers = s->config.workers;
	strncpy(p->name, s->config.name, sizeof(p->name) - 1);
	for (int i = 0; i < s->config.ports_n; i++) {
		const struct port *port = ports_stack_port(&s->ports, &s->config.ports[i]);

		interface_add(p, port);
		port_routes(p, &s->config.ports[i], port);
		autoconf |= s->config.ports[i].autoconf6;
	}
	configured_routes(p, &s->config);
	loopback_routes(p, s->config.loopback);
	if (autoconf)
		addresses_reserve(s);
	return 0;
}
