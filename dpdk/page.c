/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's page (stack/api/page.h): made once, sealed so that only this process writes it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpdk/service.h"

static void route_add(struct cv_page *p, const uint8_t addr[16], unsigned prefix, uint8_t flags,
	uint16_t mtu)
{
	struct cv_route *r = &p->routes[p->routes_n];

	if (p->routes_n == CV_ROUTES_MAX)
		return;
	memcpy(r->addr, addr, 16);
	r->prefix = (uint8_t)prefix;
	r->flags = flags;
	r->mtu = mtu;
	p->routes_n++;
}

static void port_routes(struct cv_page *p, const struct config_port *o)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff}, any6[16] = {0},
			     link_local[16] = {0xfe, 0x80};

	for (unsigned i = 0; i < o->more_n; i++) {
		unsigned bits = o->more[i].prefix + (o->more_v6[i] ? 0u : 96u);

		route_add(p, o->more[i].addr, 128, CV_ROUTE_LOCAL, o->mtu);
		route_add(p, o->more[i].addr, bits, CV_ROUTE_OUT, o->mtu);
	}
	if (o->address6.set || o->autoconf6)
		route_add(p, link_local, 10, CV_ROUTE_OUT, o->mtu);
	if (o->gateway.set)
		route_add(p, any4, 96, CV_ROUTE_OUT, o->mtu);
	if (o->gateway6.set || o->autoconf6) /* what routers will say is not known yet */
		route_add(p, any6, 0, CV_ROUTE_OUT, o->mtu);
}

/* Those that refuse are the engine's too: it says so. */
static void configured_routes(struct cv_page *p, const struct config *c)
{
	for (unsigned i = 0; i < c->routes_n; i++) {
		const struct config_route *r = &c->routes[i];

		route_add(p, r->to.addr, r->to.prefix + (r->v6 ? 0u : 96u), CV_ROUTE_OUT,
			r->mtu != 0 ? r->mtu : r->port != NULL ? r->port->mtu : UINT16_MAX);
	}
}

static void loopback_routes(struct cv_page *p, bool ours)
{
	static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff, [12] = 127}, v6[16] = {[15] = 1};
	uint8_t flags = ours ? CV_ROUTE_LOCAL : CV_ROUTE_KERNEL;

	route_add(p, v4, 96 + 8, flags, UINT16_MAX);
	route_add(p, v6, 128, flags, UINT16_MAX);
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

	if (page_map(s) != 0)
		return -1;
	p = s->page;
	p->magic = CV_PAGE_MAGIC;
	p->version = CV_API_VERSION;
	p->pid = (uint32_t)getpid();
	p->workers = s->config.workers;
	strncpy(p->name, s->config.name, sizeof(p->name) - 1);
	for (int i = 0; i < s->config.ports_n; i++)
		port_routes(p, &s->config.ports[i]);
	configured_routes(p, &s->config);
	loopback_routes(p, s->config.loopback);
	return 0;
}
