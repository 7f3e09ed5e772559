/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a packet goes and from which address: ourselves, connected subnets, configured routes, what routers say
 * (ra.c); and what is known of the MTU of paths (RFC1191, RFC8201). Asked when a path is made, not for each packet.
 *
 * Configured routes lie in one array, longest prefix first: the first that fits is the right one
 * (docs/decisions/0017).
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

#define PMTU_NS 600000000000ull /* then the old size is tried again (RFC1191:6.3) */
#define PMTU_MIN_V4 552         /* less is not believed, as Linux */

static const uint8_t loopback4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};

bool ip_is_local(const struct engine *e, const uint8_t addr[16])
{
	const struct net *net = e->net;

	if (cv_likely(addr_is_v4(addr))) {
		uint32_t v4;

		memcpy(&v4, addr + 12, 4);
		for (unsigned i = 0; i < net->locals4_n; i++) {
			if (net->locals4[i] == v4)
				return true;
		}
	} else {
		net_for_each_addr(a, net)
		{
			if (addr_equal(a->addr, addr))
				return net_addr_usable(a);
		}
	}
	return e->config.loopback && addr_is_loopback(addr);
}

bool ip_is_broadcast(const struct engine *e, const uint8_t addr[16])
{
	const struct net *net = e->net;
	uint32_t v4;

	if (!addr_is_v4(addr))
		return false;
	memcpy(&v4, addr + 12, 4);
	if (v4 == UINT32_MAX)
		return true;
	for (unsigned i = 0; i < net->locals4_n; i++) {
		if (net->broadcasts4[i] == v4 && v4 != 0)
			return true;
	}
	return false;
}

void ip_self(const struct engine *e, uint8_t addr[16])
{
	static const uint8_t loopback6[16] = {[15] = 1};
	bool v4 = addr_is_v4(addr);

	if (e->config.loopback) {
		memcpy(addr, v4 ? loopback4 : loopback6, 16);
		return;
	}
	net_for_each_addr(a, e->net)
	{
		if (addr_is_v4(a->addr) == v4 && net_addr_usable(a) && !addr_is_scoped(a->addr)) {
			memcpy(addr, a->addr, 16);
			return;
		}
	}
}

/* --- configured routes --------------------------------------------------------------------------- */

static bool fits(const struct net_route *r, const uint8_t dst[16])
{
	if (r->words == 1) { /* IPv4: the last word says all */
		uint32_t word;

		memcpy(&word, dst + 12, 4);
		return (word & (uint32_t)r->mask[1]) == (uint32_t)r->value[1];
	} else {
		uint64_t words[2];

		memcpy(words, dst, sizeof(words));
		return (words[0] & r->mask[0]) == r->value[0] && (words[1] & r->mask[1]) == r->value[1];
	}
}

/* What fits() compares. */
static void compile(struct net_route *r)
{
	bool v4 = addr_is_v4(r->to.prefix);
	uint8_t mask[16] = {0}, value[16];

	for (unsigned i = 0; i < r->to.bits; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> (i % 8));
	for (unsigned i = 0; i < 16; i++)
		value[i] = r->to.prefix[i] & mask[i];
	memcpy(r->to.prefix, value, 16);
	r->words = v4 ? 1 : 2;
	if (v4) {
		r->mask[1] = r->value[1] = 0;
		memcpy(&r->mask[1], mask + 12, 4);
		memcpy(&r->value[1], value + 12, 4);
	} else {
		memcpy(r->mask, mask, 16);
		memcpy(r->value, value, 16);
	}
}

static struct net_routes *routes_of(struct net *net, const uint8_t addr[16])
{
	return &net->routes[!addr_is_v4(addr)];
}

int net_route_add(struct engine *e, const struct ip_route *to)
{
	struct net_routes *all = routes_of(e->net, to->prefix);
	struct net_route r = {.to = *to};
	unsigned at = 0;

	if (all->n == NET_ROUTES_MAX)
		return -CV_ENOBUFS;
	if (r.to.port != NULL && addr_is_scoped(r.to.gateway))
		addr_scope_set(r.to.gateway, r.to.port->ifindex);
	compile(&r);
	while (at < all->n && all->of[at].to.bits >= r.to.bits)
		at++;
	memmove(&all->of[at + 1], &all->of[at], (all->n - at) * sizeof(r));
	all->of[at] = r;
	all->n++;
	e->net->gen++;
	return 0;
}

/* --- the way to an address ----------------------------------------------------------------------- */

struct route {
	struct port *port;
	const uint8_t *src; /* the address of ours that fits */
	const uint8_t *hop;
	unsigned prefix;
	uint16_t mtu; /* 0: the port's */
	int error;    /* there is none, and this is what to say of it */
};

static const uint8_t *gateway_of(const struct port *port, bool v4)
{
	if (v4)
		return port->has_gateway ? port->gateway : NULL;
	return port->has_gateway6 ? port->gateway6 : NULL;
}

static bool allows(const struct port *port, uint32_t ifindex)
{
	return ifindex == 0 || port->ifindex == ifindex;
}

/* Link-local addresses and groups: the port that their scope says; IPv4's and a group without one: where the
 * neighbour is known is best, then the first port that speaks the family. */
static struct route route_on_link(const struct engine *e, const uint8_t dst[16], uint32_t ifindex)
{
	struct route first = {0};
	uint32_t scope = addr_is_scoped(dst) && addr_scope(dst) != 0 ? addr_scope(dst) : ifindex;

	for (unsigned i = 0; i < e->net->ifaces_n; i++) {
		struct port *port = e->net->ifaces[i].port;
		struct route r = {.port = port, .src = net_source(e->net, port, dst), .hop = dst, .prefix = 128};

		if (r.src == NULL || !allows(port, scope))
			continue;
		if (scope != 0 || neigh_find(e->net, r.port, dst) != NULL)
			return r;
		if (first.port == NULL)
			first = r;
	}
	return first;
}

/* Subnets that we are on, by our addresses or a router's word (RFC4861:6.3.4). */
static struct route route_connected(struct engine *e, const uint8_t dst[16], uint32_t ifindex)
{
	bool v4 = addr_is_v4(dst);
	struct route best = {0};

	net_for_each_addr(a, e->net)
	{
		if (addr_is_v4(a->addr) == v4 && net_addr_usable(a) && a->origin != ADDR_AUTOCONF &&
			a->prefix >= best.prefix && allows(a->port, ifindex) && !addr_is_scoped(a->addr) &&
			addr_in_prefix(dst, a->addr, a->prefix))
			best = (struct route){.port = a->port, .hop = dst, .prefix = a->prefix};
	}
	if (!v4 && e->net->onlink_n > 0) {
		uint8_t bits = (uint8_t)best.prefix;
		struct port *port = ra_onlink(e, dst, ifindex, &bits);

		if (port != NULL)
			best = (struct route){.port = port, .hop = dst, .prefix = bits};
	}
	return best;
}

/* The port by which a configured route goes: its own, or where its gateway is. */
static struct port *route_port(struct engine *e, const struct ip_route *to)
{
	struct port *port = to->port;

	if (port == NULL && to->has_gateway)
		port = route_connected(e, to->gateway, 0).port;
	return port != NULL && port->up ? port : to->port;
}

/* Longer than `bits`, or as long and better than nothing. */
static struct route route_configured(struct engine *e, const uint8_t dst[16], uint32_t ifindex)
{
	const struct net_routes *all = routes_of(e->net, dst);
	static const int errors[] = {[IP_ROUTE_UNREACHABLE] = -CV_EHOSTUNREACH,
		[IP_ROUTE_BLACKHOLE] = -CV_EINVAL,
		[IP_ROUTE_PROHIBIT] = -CV_EACCES};

	for (unsigned i = 0; i < all->n; i++) {
		const struct ip_route *to = &all->of[i].to;
		struct port *port;

		if (!fits(&all->of[i], dst))
			continue;
		if (to->kind != IP_ROUTE_VIA)
			return (struct route){.prefix = to->bits, .error = errors[to->kind]};
		port = route_port(e, to);
		if (port != NULL && allows(port, ifindex))
			return (struct route){.port = port,
				.hop = to->has_gateway ? to->gateway : dst,
				.prefix = to->bits,
				.mtu = to->mtu};
	}
	return (struct route){0};
}

/* The gateways of ports, then routers that offered themselves. */
static struct route route_default(struct engine *e, const uint8_t dst[16], uint32_t ifindex)
{
	bool v4 = addr_is_v4(dst);
	struct route r = {0};

	for (unsigned i = 0; i < e->net->ifaces_n; i++) {
		struct port *port = e->net->ifaces[i].port;
		const uint8_t *gateway = gateway_of(port, v4);

		if (gateway != NULL && allows(port, ifindex))
			return (struct route){.port = port, .hop = gateway};
	}
	if (!v4)
		r.port = ra_router(e, ifindex, &r.hop);
	return r;
}

/* The longest prefix wins; of equal ones what is connected. */
static struct route route_find(struct engine *e, const uint8_t dst[16], uint32_t ifindex)
{
	bool v4 = addr_is_v4(dst);
	struct route best, other;

	if (addr_is_multicast(dst) || addr_is_broadcast(dst) || (!v4 && addr_is_link_local(dst)))
		return route_on_link(e, dst, ifindex);
	best = route_connected(e, dst, ifindex);
	if (routes_of(e->net, dst)->n > 0) {
		other = route_configured(e, dst, ifindex);
		if ((other.port != NULL || other.error != 0) &&
			((best.port == NULL && best.error == 0) || other.prefix > best.prefix))
			best = other;
	}
	if (best.port == NULL && best.error == 0)
		best = route_default(e, dst, ifindex);
	if (best.port != NULL && !v4 && best.hop != dst)
		ra_redirected(e, dst, &best.port, &best.hop);
	if (best.port != NULL) {
		best.src = net_source(e->net, best.port, v4 ? best.hop : dst);
		if (best.src == NULL)
			return (struct route){0};
	}
	return best;
}

static struct pmtu *pmtu_slot(struct net *net, const uint8_t dst[16])
{
	uint32_t h = 0;

	for (int i = 0; i < 16; i++)
		h = h * 31 + dst[i];
	return &net->pmtus[h % NET_PMTUS];
}

/* Paths that last hold a size for ever: one timer makes all look again when something has expired.
 */
static void pmtu_timer(struct engine *e, struct timer *t)
{
	struct net *net = e->net;
	uint64_t next = UINT64_MAX;
	uint32_t before = net->pmtus_n;

	for (unsigned i = 0; i < NET_PMTUS; i++) {
		struct pmtu *p = &net->pmtus[i];

		if (p->mtu == 0)
			continue;
		if (p->until_ns <= e->now_ns) {
			p->mtu = 0;
			net->pmtus_n--;
		} else if (p->until_ns < next) {
			next = p->until_ns;
		}
	}
	if (net->pmtus_n != before)
		net->gen++;
	if (next != UINT64_MAX)
		timer_set(&e->wheel, t, next);
}

void pmtu_init(struct engine *e)
{
	timer_init(&e->net->pmtu_timer, pmtu_timer);
}

/* True if it is news: less than what is known, or said again when what is known has lasted for half
 * its time, as Linux. A path that is only kept for longer need not be resolved again. */
static bool pmtu_take(struct engine *e, const uint8_t dst[16], uint16_t mtu)
{
	struct net *net = e->net;
	struct pmtu *p = pmtu_slot(net, dst);
	uint16_t least = addr_is_v4(dst) ? PMTU_MIN_V4 : IP6_MTU_MIN;
	bool known = p->mtu != 0 && p->until_ns > e->now_ns && addr_equal(p->addr, dst), cut = mtu < least;

	if (cut)
		mtu = least;
	if (known && (p->mtu < mtu || (p->cut && !cut)))
		return false; /* a router cannot make it larger */
	if (known && p->mtu == mtu && p->cut == cut) {
		if (p->until_ns - e->now_ns > PMTU_NS / 2)
			return false;
		p->until_ns = e->now_ns + PMTU_NS;
		return true;
	}
	net->pmtus_n += p->mtu == 0;
	memcpy(p->addr, dst, 16);
	p->mtu = mtu;
	p->cut = cut;
	p->until_ns = e->now_ns + PMTU_NS;
	if (!timer_is_set(&net->pmtu_timer))
		timer_set(&e->wheel, &net->pmtu_timer, p->until_ns);
	net->gen++;
	return true;
}

/* Only the worker whose flow the error is about can tell that it is not made up; the path is everybody's. */
void ip_pmtu_learn(struct engine *e, const uint8_t dst[16], uint16_t mtu)
{
	struct crew_message msg = {.kind = NET_MSG_PMTU, .a = mtu};

	if (!pmtu_take(e, dst, mtu))
		return;
	memcpy(&msg.data, dst, 8);
	memcpy(&msg.spare, dst + 8, 8);
	crew_send_all(e, &msg); /* who does not hear of it gets errors of its own */
}

void pmtu_message(struct engine *e, const struct crew_message *msg)
{
	uint8_t dst[16];

	memcpy(dst, &msg->data, 8);
	memcpy(dst + 8, &msg->spare, 8);
	(void)pmtu_take(e, dst, (uint16_t)msg->a);
}

/* mtu: of the way out. What is known of the way behind it. */
static void path_narrow(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint16_t mtu)
{
	const struct pmtu *p;

	path->pmtu = mtu;
	if (e->net->pmtus_n == 0)
		return;
	p = pmtu_slot(e->net, dst);
	if (p->mtu == 0 || !addr_equal(p->addr, dst))
		return;
	if (p->mtu < mtu)
		path->pmtu = p->mtu;
	path->cut = path->no_df = p->cut;
}

/* Of the way out: the route's, a router's word for IPv6 (RFC4861:6.3.4), the port's. */
static uint16_t mtu_of(const struct route *r, const uint8_t dst[16])
{
	uint16_t mtu = r->port->mtu, six = r->port->iface->mtu6;

	if (r->mtu != 0 && r->mtu < mtu)
		mtu = r->mtu;
	return !addr_is_v4(dst) && six != 0 && six < mtu ? six : mtu;
}

uint8_t ip_hops(const struct ip_path *path, const uint8_t dst[16])
{
	return path->port == NULL || addr_is_v4(dst) ? IP_TTL_DEFAULT : path->port->iface->hops;
}

static int resolve_local(
	struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16])
{
	*path = (struct ip_path){
		.gen = e->net->gen, .mtu = IP_LOOPBACK_MTU, .pmtu = IP_LOOPBACK_MTU, .local = true};
	if (addr_is_any(
		    src)) /* as Linux: all of 127/8 from 127.0.0.1, else from the address itself */
		memcpy(src, addr_is_v4(dst) && addr_is_loopback(dst) ? loopback4 : dst, 16);
	return 0;
}

bool ip_path_is_valid(const struct engine *e, const struct ip_path *path)
{
	return path->gen == e->net->gen;
}

/* The port of an address of ours; 0: it is none. */
static uint32_t ifindex_of(struct net *net, const uint8_t addr[16])
{
	const struct net_addr *a = net_addr_find(net, addr);

	return a != NULL ? a->port->ifindex : 0;
}

int ip_path_resolve_via(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16],
	uint32_t ifindex)
{
	bool any;
	struct route r;
	uint16_t mtu;

	if (cv_likely(path->gen == e->net->gen && !addr_is_any(src)))
		return 0;
	any = addr_is_any(src);
	if (!any && addr_is_v4(src) != addr_is_v4(dst))
		return -CV_ENETUNREACH;
	if (ip_is_local(e, dst))
		return resolve_local(e, path, dst, src);
	if (addr_is_loopback(dst))
		return -CV_ENETUNREACH;
	if (!any && addr_is_loopback(src))
		return -CV_EINVAL;
	if (ifindex != 0 && net_port_by_ifindex(e, ifindex) == NULL)
		return -CV_ENODEV;
	/* Groups and everybody are on every link: the source says which is meant (Linux). */
	if (!any && ifindex == 0 && (addr_is_multicast(dst) || addr_is_broadcast(dst)))
		ifindex = ifindex_of(e->net, src);
	r = route_find(e, dst, ifindex);
	if (r.port == NULL)
		return r.error != 0 ? r.error : -CV_ENETUNREACH;
	if (any)
		memcpy(src, r.src, 16);
	mtu = mtu_of(&r, dst);
	*path = (struct ip_path){.mtu = r.port->mtu, .port = r.port};
	path_narrow(e, path, dst, mtu);
	if (!addr_is_multicast(dst) && !ip_is_broadcast(e, dst)) {
		path->neigh = neigh_get(e, r.port, r.hop, true);
		if (path->neigh == NULL)
			return -CV_ENOBUFS;
	}
	path->gen = e->net->gen;
	return 0;
}

int ip_path_resolve(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16])
{
	return ip_path_resolve_via(e, path, dst, src, 0);
}
