/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What routers tell hosts (RFC4861:6.3, 8.3): default routers, what is on the link, MTU and times, better next hops;
 * and asking them (with RFC7559's patience). Addresses made of their prefixes are slaac.c's. Only on ports with
 * autoconf6.
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define SECOND_NS 1000000000ull
#define SOLICIT_DELAY_NS SECOND_NS      /* MAX_RTR_SOLICITATION_DELAY */
#define SOLICIT_NS (4 * SECOND_NS)      /* RTR_SOLICITATION_INTERVAL, RFC7559's IRT */
#define SOLICIT_MOST_NS (3600 * SECOND_NS) /* RFC7559's MRT */
#define FAILED_NS (60 * SECOND_NS)      /* a router that did not answer is the last choice for so long */
#define MS_NS 1000000ull
#define RA_BYTES 16u
#define REDIRECT_BYTES 40u
#define REACHABLE_MS_MOST 3600000u /* RFC4861:6.3.4: at most an hour */

static uint64_t lifetime_end(const struct engine *e, uint32_t seconds)
{
	return seconds == UINT32_MAX ? NET_FOREVER : e->now_ns + seconds * SECOND_NS;
}

/* The timer stands at the first end of what routers said. */
static void ra_timer_update(struct engine *e)
{
	struct net *net = e->net;
	uint64_t next = NET_FOREVER;

	for (unsigned i = 0; i < NET_ROUTERS_MAX; i++) {
		if (net->routers[i].port != NULL && net->routers[i].until_ns < next)
			next = net->routers[i].until_ns;
	}
	for (unsigned i = 0; i < NET_PREFIXES_MAX; i++) {
		if (net->onlinks[i].port != NULL && net->onlinks[i].until_ns < next)
			next = net->onlinks[i].until_ns;
	}
	if (next == NET_FOREVER)
		timer_del(&e->wheel, &net->ra_timer);
	else
		timer_set(&e->wheel, &net->ra_timer, next);
	net->gen++;
}

static void router_end(struct net *net, struct nd_router *r)
{
	r->port = NULL;
	net->routers_n--;
}

static void onlink_end(struct net *net, struct nd_prefix *p)
{
	p->port = NULL;
	net->onlink_n--;
}

static void redirect_end(struct net *net, struct nd_redirect *r)
{
	r->port = NULL;
	net->redirects_n--;
	net->gen++;
}

static void ra_timer(struct engine *e, struct timer *t)
{
	struct net *net = e->net;

	(void)t;
	for (unsigned i = 0; i < NET_ROUTERS_MAX; i++) {
		if (net->routers[i].port != NULL && net->routers[i].until_ns <= e->now_ns)
			router_end(net, &net->routers[i]);
	}
	for (unsigned i = 0; i < NET_PREFIXES_MAX; i++) {
		if (net->onlinks[i].port != NULL && net->onlinks[i].until_ns <= e->now_ns)
			onlink_end(net, &net->onlinks[i]);
	}
	ra_timer_update(e);
}

void ra_init(struct net *net)
{
	timer_init(&net->ra_timer, ra_timer);
}

/* --- questions ----------------------------------------------------------------------------------- */

/* RFC7559:2: twice as long each time, a tenth of it random. */
static void solicit_timer(struct engine *e, struct timer *t)
{
	struct iface *i = cv_container_of(t, struct iface, solicit);
	static const uint8_t any[16], group[16] = {0xff, 2, [15] = 2};
	const uint8_t *src = net_source(e->net, i->port, group);
	uint64_t tenth = i->solicit_ns / 10;

	if (!i->port->up || !i->port->autoconf6)
		return;
	nd_solicit_routers(e, i->port, src != NULL && addr_is_link_local(src) ? src : any);
	timer_set(&e->wheel, t,
		e->now_ns + i->solicit_ns - tenth + e->env.random64(e->env.ctx) % (2 * tenth));
	i->solicit_ns = i->solicit_ns * 2 < SOLICIT_MOST_NS ? i->solicit_ns * 2 : SOLICIT_MOST_NS;
}

void ra_iface_init(struct iface *i)
{
	timer_init(&i->solicit, solicit_timer);
}

void ra_solicit(struct iface *i)
{
	struct engine *e = i->engine;

	if (!i->port->autoconf6 || e->worker != 0)
		return;
	i->solicit_ns = SOLICIT_NS;
	timer_set(&e->wheel, &i->solicit, e->now_ns + e->env.random64(e->env.ctx) % SOLICIT_DELAY_NS);
}

void ra_port_flush(struct engine *e, const struct port *port)
{
	struct net *net = e->net;

	timer_del(&e->wheel, &port->iface->solicit);
	for (unsigned i = 0; i < NET_ROUTERS_MAX; i++) {
		if (net->routers[i].port == port)
			router_end(net, &net->routers[i]);
	}
	for (unsigned i = 0; i < NET_PREFIXES_MAX; i++) {
		if (net->onlinks[i].port == port)
			onlink_end(net, &net->onlinks[i]);
	}
	for (unsigned i = 0; i < NET_REDIRECTS_MAX; i++) {
		if (net->redirects[i].port == port)
			redirect_end(net, &net->redirects[i]);
	}
	ra_timer_update(e);
}

/* --- answers ------------------------------------------------------------------------------------- */

static struct nd_router *router_find(struct net *net, const struct port *port, const uint8_t addr[16])
{
	for (unsigned i = 0; i < NET_ROUTERS_MAX; i++) {
		if (net->routers[i].port == port && addr_equal(net->routers[i].addr, addr))
			return &net->routers[i];
	}
	return NULL;
}

static void router_heard(struct engine *e, struct port *port, const uint8_t addr[16], uint16_t lifetime_s)
{
	struct net *net = e->net;
	struct nd_router *r = router_find(net, port, addr);

	if (r != NULL && lifetime_s == 0) {
		router_end(net, r);
		return;
	}
	for (unsigned i = 0; r == NULL && lifetime_s > 0 && i < NET_ROUTERS_MAX; i++) {
		if (net->routers[i].port != NULL)
			continue;
		r = &net->routers[i];
		*r = (struct nd_router){.port = port};
		memcpy(r->addr, addr, 16);
		net->routers_n++;
	}
	if (r != NULL)
		r->until_ns = lifetime_end(e, lifetime_s);
}

static void onlink_heard(
	struct engine *e, struct port *port, const uint8_t prefix[16], uint8_t bits, uint32_t valid_s)
{
	struct net *net = e->net;
	struct nd_prefix *p = NULL, *empty = NULL;

	for (unsigned i = 0; i < NET_PREFIXES_MAX; i++) {
		struct nd_prefix *o = &net->onlinks[i];

		if (o->port == port && o->bits == bits && addr_in_prefix(prefix, o->prefix, bits))
			p = o;
		else if (o->port == NULL && empty == NULL)
			empty = o;
	}
	if (p != NULL && valid_s == 0) {
		onlink_end(net, p);
		return;
	}
	if (p == NULL && valid_s > 0 && empty != NULL) {
		p = empty;
		*p = (struct nd_prefix){.port = port, .bits = bits};
		memcpy(p->prefix, prefix, 16);
		net->onlink_n++;
	}
	if (p != NULL)
		p->until_ns = lifetime_end(e, valid_s);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A prefix information option (RFC4861:4.6.2). */
static void prefix_heard(struct engine *e, struct port *port, const uint8_t *o)
{
	uint8_t bits = o[2], flags = o[3];
	uint32_t valid_s = be32(o + 4), preferred_s = be32(o + 8);
	const uint8_t *prefix = o + 16;

	if (bits > 128 || addr_is_scoped(prefix) || addr_is_multicast(prefix) || addr_is_v4(prefix))
		return;
	if (flags & 0x80)
		onlink_heard(e, port, prefix, bits, valid_s);
	if ((flags & 0x40) && bits == 64 && preferred_s <= valid_s)
		slaac_prefix(e, port, prefix, preferred_s, valid_s);
}

/* Hop limit, times and sizes (RFC4861:6.3.4); 0: the router does not say. */
static void parameters_heard(struct engine *e, struct iface *i, const uint8_t *h, const struct nd_options *o)
{
	uint32_t reachable_ms = be32(h + 8), retrans_ms = be32(h + 12);

	if (h[4] != 0) /* any, as Linux (accept_ra_min_hop_limit=1) */
		i->hops = h[4];
	if (reachable_ms != 0 && reachable_ms <= REACHABLE_MS_MOST && reachable_ms != i->base_reachable_ms) {
		i->base_reachable_ms = reachable_ms; /* half to one and a half times as long: 6.3.2 */
		i->reachable_ns = reachable_ms * MS_NS / 2 +
			e->env.random64(e->env.ctx) % (reachable_ms * MS_NS);
	}
	if (retrans_ms != 0)
		i->retrans_ns = retrans_ms * MS_NS;
	if (o->mtu >= IP6_MTU_MIN && o->mtu <= i->port->mtu)
		i->mtu6 = (uint16_t)o->mtu;
}

void ra_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	struct nd_options o;
	struct neigh *n;

	if (rte_pktmbuf_data_len(m) < RA_BYTES || p->ttl != ND_HOPS || h[1] != 0 ||
		!addr_is_link_local(p->src.addr) || !nd_options_parse(m, RA_BYTES, ND_OPT_SOURCE, &o)) {
		net_count_once(e, &e->counters.drop_nd);
	} else if (port->autoconf6) {
		uint16_t lifetime_s = (uint16_t)(h[6] << 8 | h[7]);

		net_count_once(e, &e->counters.router_adverts_in);
		if (lifetime_s > 0) /* else a default router may still be found (RFC4861:6.3.7) */
			timer_del(&e->wheel, &port->iface->solicit);
		router_heard(e, port, p->src.addr, lifetime_s);
		parameters_heard(e, port->iface, h, &o);
		n = o.mac != NULL ? neigh_get(e, port, p->src.addr, false)
				  : neigh_find(e->net, port, p->src.addr);
		if (n != NULL && o.mac != NULL)
			neigh_learn(n, o.mac, false);
		if (n != NULL)
			n->router = true;
		for (unsigned i = 0; i < o.prefixes_n; i++)
			prefix_heard(e, port, o.prefixes[i]);
		ra_timer_update(e);
	}
	rte_pktmbuf_free(m);
}

/* RFC4861:8.1: from the router that we use for the destination, about a router of the link or the destination. */
static bool redirect_ok(
	struct engine *e, struct port *port, const struct pkt *p, const uint8_t target[16], const uint8_t dst[16])
{
	struct ip_path path = {0};
	uint8_t src[16] = {0};

	if (addr_is_multicast(dst) || addr_is_v4(dst) || addr_is_scoped(dst) || !addr_is_link_local(p->src.addr) ||
		!(addr_is_link_local(target) || addr_equal(target, dst)) || ip_is_local(e, dst))
		return false;
	return ip_path_resolve(e, &path, dst, src) == 0 && path.neigh != NULL && path.port == port &&
		addr_equal(path.neigh->addr, p->src.addr);
}

static void redirect_set(struct net *net, struct port *port, const uint8_t dst[16], const uint8_t hop[16])
{
	struct nd_redirect *r = NULL;

	for (unsigned i = 0; r == NULL && i < NET_REDIRECTS_MAX; i++) {
		if (net->redirects[i].port != NULL && addr_equal(net->redirects[i].dst, dst))
			r = &net->redirects[i];
	}
	if (r == NULL)
		r = &net->redirects[net->redirect_next++ % NET_REDIRECTS_MAX];
	if (r->port == NULL)
		net->redirects_n++;
	r->port = port;
	memcpy(r->dst, dst, 16);
	memcpy(r->hop, hop, 16);
	net->gen++;
}

void redirect_input(struct engine *e, struct port *port, struct rte_mbuf *m)
{
	const struct pkt *p = pkt_of(m);
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t target[16], dst[16];
	struct nd_options o;
	struct neigh *n;
	bool ok = rte_pktmbuf_data_len(m) >= REDIRECT_BYTES && p->ttl == ND_HOPS && h[1] == 0 &&
		nd_options_parse(m, REDIRECT_BYTES, ND_OPT_TARGET, &o);

	if (ok) {
		memcpy(target, h + 8, 16);
		memcpy(dst, h + 24, 16);
		if (addr_is_scoped(target))
			addr_scope_set(target, port->ifindex);
		ok = redirect_ok(e, port, p, target, dst);
	}
	if (!ok) {
		net_count_once(e, &e->counters.drop_nd);
		rte_pktmbuf_free(m);
		return;
	}
	net_count_once(e, &e->counters.redirects_in);
	redirect_set(e->net, port, dst, target);
	n = o.mac != NULL ? neigh_get(e, port, target, false) : NULL;
	if (n != NULL) {
		neigh_learn(n, o.mac, false);
		n->router |= !addr_equal(target, dst);
	}
	rte_pktmbuf_free(m);
}

/* --- what is asked ------------------------------------------------------------------------------- */

struct port *ra_onlink(struct engine *e, const uint8_t dst[16], uint32_t ifindex, uint8_t *bits)
{
	struct port *port = NULL;

	for (unsigned i = 0; i < NET_PREFIXES_MAX; i++) {
		const struct nd_prefix *p = &e->net->onlinks[i];

		if (p->port == NULL || (ifindex != 0 && p->port->ifindex != ifindex) || p->bits < *bits ||
			!addr_in_prefix(dst, p->prefix, p->bits))
			continue;
		port = p->port;
		*bits = p->bits;
	}
	return port;
}

/* RFC4861:6.3.6: who is known to be there, then who is not known to be gone, each in turn. */
struct port *ra_router(struct engine *e, uint32_t ifindex, const uint8_t **hop)
{
	struct net *net = e->net;
	struct nd_router *best = NULL;
	unsigned most = 0;

	for (unsigned k = 0; net->routers_n > 0 && k < NET_ROUTERS_MAX; k++) {
		struct nd_router *r = &net->routers[(net->router_next + k) % NET_ROUTERS_MAX];
		const struct neigh *n;
		unsigned points = 1;

		if (r->port == NULL || (ifindex != 0 && r->port->ifindex != ifindex))
			continue;
		n = neigh_find(net, r->port, r->addr);
		if (r->failed_ns == 0 || e->now_ns - r->failed_ns >= FAILED_NS)
			points += n != NULL && n->state != NEIGH_INCOMPLETE ? 2 : 1;
		if (points > most) {
			most = points;
			best = r;
		}
	}
	if (best == NULL)
		return NULL;
	if (most == 1) /* all are gone: try the next one the next time */
		net->router_next = (unsigned)(best - net->routers) + 1;
	*hop = best->addr;
	return best->port;
}

void ra_redirected(struct engine *e, const uint8_t dst[16], struct port **port, const uint8_t **hop)
{
	for (unsigned i = 0; e->net->redirects_n > 0 && i < NET_REDIRECTS_MAX; i++) {
		const struct nd_redirect *r = &e->net->redirects[i];

		if (r->port == NULL || !addr_equal(r->dst, dst))
			continue;
		*port = r->port;
		*hop = r->hop;
		return;
	}
}

void ra_neigh_failed(struct engine *e, const struct port *port, const uint8_t addr[16], bool no_router)
{
	struct net *net = e->net;
	struct nd_router *r = net->routers_n > 0 ? router_find(net, port, addr) : NULL;

	if (r != NULL && no_router)
		router_end(net, r);
	else if (r != NULL)
		r->failed_ns = e->now_ns;
	for (unsigned i = 0; net->redirects_n > 0 && i < NET_REDIRECTS_MAX; i++) {
		if (net->redirects[i].port == port && addr_equal(net->redirects[i].hop, addr))
			redirect_end(net, &net->redirects[i]);
	}
	if (r != NULL)
		net->gen++;
}
