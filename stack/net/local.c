/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own addresses: from tentative, while it is found out whether somebody else has one (RFC5227:2.1,
 * RFC4862:5.4), to preferred, deprecated and gone; and which of them a packet leaves from (RFC6724:5).
 * How to ask and announce is arp.c's and nd.c's, where addresses come from is net.c's and slaac.c's.
 *
 * An address that is not usable is in no table that a packet is looked up in. One that is in use is kept when
 * somebody claims it later: it is announced once more, at most every ten seconds (RFC5227:2.4 (c)); IPv6 leaves
 * that case open (RFC4862:5.4).
 */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

/* RFC5227:1.1 */
#define SECOND_NS 1000000000ull
#define PROBE_WAIT_NS SECOND_NS
#define PROBES 3u
#define PROBE_MIN_NS SECOND_NS
#define PROBE_MAX_NS (2 * SECOND_NS)
#define ANNOUNCE_WAIT_NS (2 * SECOND_NS)
#define ANNOUNCEMENTS 2u
#define ANNOUNCE_NS (2 * SECOND_NS)
#define DEFEND_NS (10 * SECOND_NS)
#define DAD_SOLICITS 1u /* RFC4862:5.1, DupAddrDetectTransmits */

struct net_addr *net_addr_find(struct net *net, const uint8_t addr[16])
{
	net_for_each_addr(a, net)
	{
		if (addr_equal(a->addr, addr))
			return a;
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

static void state_set(struct net_addr *a, enum net_addr_state state)
{
	struct net *net = a->engine->net;

	a->state = (uint8_t)state;
	net->locals4_n = 0;
	net_for_each_addr(b, net)
	{
		if (!addr_is_v4(b->addr) || !net_addr_usable(b))
			continue;
		memcpy(&net->locals4[net->locals4_n], b->addr + 12, 4);
		net->broadcasts4[net->locals4_n++] = subnet_broadcast(b);
	}
	net->gen++;
}

static uint64_t random_below(struct engine *e, uint64_t ns)
{
	return e->env.random64(e->env.ctx) % ns;
}

static void dad_in(struct net_addr *a, uint64_t ns)
{
	timer_set(&a->engine->wheel, &a->dad, a->engine->now_ns + ns);
}

/* Several engines have the same addresses when a device is shared by workers: one speaks for all, and tells the others
 * what it has found to be somebody else's. */
static bool speaks(const struct net_addr *a)
{
	return a->engine->worker == 0;
}

static bool wants_probing(const struct net_addr *a)
{
	return speaks(a) && (addr_is_v4(a->addr) ? a->port->dad4 : a->port->dad6);
}

static void announce(struct net_addr *a)
{
	if (!speaks(a))
		return;
	if (addr_is_v4(a->addr))
		arp_announce(a);
	else
		nd_announce(a);
}

/* Nobody has it but us. */
static void become_usable(struct net_addr *a)
{
	bool old = a->preferred_until_ns <= a->engine->now_ns, fresh = a->state == ADDR_TENTATIVE;

	state_set(a, old ? ADDR_DEPRECATED : ADDR_PREFERRED);
	a->sent = 1;
	announce(a);
	if (fresh)
		neigh_port_ask(a->engine, a->port); /* what had to wait for a source */
}

static void probe4(struct net_addr *a)
{
	if (a->sent == PROBES) {
		become_usable(a);
		dad_in(a, ANNOUNCE_NS);
		return;
	}
	arp_probe(a);
	a->sent++;
	dad_in(a, a->sent == PROBES ? ANNOUNCE_WAIT_NS
				    : PROBE_MIN_NS + random_below(a->engine, PROBE_MAX_NS - PROBE_MIN_NS));
}

static void probe6(struct net_addr *a)
{
	if (a->sent == DAD_SOLICITS) {
		become_usable(a);
		/* What was said of groups until now came from ::, and no router has heeded it (RFC3590:4). */
		if (addr_is_link_local(a->addr))
			mcast_report_up(&a->port->iface->mcast[1]);
		return;
	}
	nd_probe(a);
	a->sent++;
	dad_in(a, a->port->iface->retrans_ns);
}

static void dad_timer(struct engine *e, struct timer *t)
{
	struct net_addr *a = cv_container_of(t, struct net_addr, dad);

	(void)e;
	if (a->state == ADDR_TENTATIVE) {
		if (addr_is_v4(a->addr))
			probe4(a);
		else
			probe6(a);
	} else if (a->sent < ANNOUNCEMENTS) {
		a->sent++;
		announce(a);
	}
}

void net_addr_start(struct net_addr *a)
{
	timer_del(&a->engine->wheel, &a->dad);
	a->sent = 0;
	if (!wants_probing(a)) {
		become_usable(a);
		return;
	}
	state_set(a, ADDR_TENTATIVE);
	if (a->port->up) /* else when it comes up */
		dad_in(a, random_below(a->engine, PROBE_WAIT_NS));
}

static void lifetime_timer(struct engine *e, struct timer *t)
{
	struct net_addr *a = cv_container_of(t, struct net_addr, lifetime);

	if (a->valid_until_ns <= e->now_ns) {
		net_addr_drop(a);
		return;
	}
	if (a->state == ADDR_PREFERRED && a->preferred_until_ns <= e->now_ns)
		state_set(a, ADDR_DEPRECATED);
	if (a->valid_until_ns != NET_FOREVER)
		timer_set(&e->wheel, t, a->valid_until_ns);
}

void net_addr_lifetimes(struct net_addr *a, uint64_t preferred_ns, uint64_t valid_ns)
{
	struct engine *e = a->engine;
	uint64_t next;

	a->preferred_until_ns = preferred_ns == NET_FOREVER ? NET_FOREVER : e->now_ns + preferred_ns;
	a->valid_until_ns = valid_ns == NET_FOREVER ? NET_FOREVER : e->now_ns + valid_ns;
	if (net_addr_usable(a))
		state_set(a, preferred_ns > 0 ? ADDR_PREFERRED : ADDR_DEPRECATED);
	next = preferred_ns > 0 ? a->preferred_until_ns : a->valid_until_ns;
	timer_del(&e->wheel, &a->lifetime);
	if (next != NET_FOREVER)
		timer_set(&e->wheel, &a->lifetime, next);
	else if (a->valid_until_ns != NET_FOREVER)
		timer_set(&e->wheel, &a->lifetime, a->valid_until_ns);
}

bool net_has_tentative(const struct engine *e)
{
	net_for_each_addr(a, e->net)
	{
		if (a->state == ADDR_TENTATIVE && a->port->up)
			return true;
	}
	return false;
}

static struct net_addr *slot_find(struct net *net)
{
	for (unsigned i = 0; i < net->addrs_n; i++) {
		if (net->addrs[i].state == ADDR_FREE)
			return &net->addrs[i];
	}
	return net->addrs_n < NET_ADDRS_MAX ? &net->addrs[net->addrs_n++] : NULL;
}

struct net_addr *net_addr_add(struct engine *e, struct port *port, const uint8_t addr[16], uint8_t prefix,
	enum net_addr_origin origin)
{
	struct net_addr *a = slot_find(e->net);
	uint8_t group[16];

	if (a == NULL)
		return NULL;
	*a = (struct net_addr){.prefix = prefix,
		.state = ADDR_TENTATIVE,
		.origin = (uint8_t)origin,
		.port = port,
		.engine = e,
		.preferred_until_ns = NET_FOREVER,
		.valid_until_ns = NET_FOREVER};
	memcpy(a->addr, addr, 16);
	timer_init(&a->dad, dad_timer);
	timer_init(&a->lifetime, lifetime_timer);
	if (!addr_is_v4(addr)) { /* before the first probe: RFC4862:5.4.2 */
		nd_solicited_node(group, addr);
		addr_scope_set(group, port->ifindex);
		mcast_join_internal(port, group);
	}
	net_addr_start(a);
	return a;
}

void net_addr_drop(struct net_addr *a)
{
	uint8_t group[16];

	timer_del(&a->engine->wheel, &a->dad);
	timer_del(&a->engine->wheel, &a->lifetime);
	if (!addr_is_v4(a->addr)) {
		nd_solicited_node(group, a->addr);
		addr_scope_set(group, a->port->ifindex);
		mcast_leave_internal(a->port, group);
	}
	state_set(a, ADDR_FREE);
}

/* It is somebody else's. All workers make the same one in its place, if any. */
static void give_up(struct net_addr *a)
{
	timer_del(&a->engine->wheel, &a->dad);
	state_set(a, ADDR_DUPLICATE);
	if (a->origin == ADDR_AUTOCONF)
		slaac_again(a);
}

/* Owed: nobody tells them again, and conflicts are few. */
static void others_tell(const struct net_addr *a)
{
	struct engine *e = a->engine;
	struct crew_message msg = {.kind = NET_MSG_DUPLICATE};

	memcpy(&msg.data, a->addr, 8);
	memcpy(&msg.spare, a->addr + 8, 8);
	for (uint16_t to = 1; e->worker == 0 && e->crew != NULL && to < e->crew->n; to++)
		(void)crew_send_owed(e, to, &msg);
}

void net_addr_message(struct engine *e, const struct crew_message *msg)
{
	struct net_addr *a;
	uint8_t addr[16];

	memcpy(addr, &msg->data, 8);
	memcpy(addr + 8, &msg->spare, 8);
	a = net_addr_find(e->net, addr);
	if (a != NULL && a->state != ADDR_DUPLICATE)
		give_up(a);
}

void net_addr_conflict(struct net_addr *a)
{
	struct engine *e = a->engine;
	bool lately = a->conflict_ns != 0 && e->now_ns - a->conflict_ns < DEFEND_NS;

	if (a->state == ADDR_TENTATIVE) {
		net_count_once(e, &e->counters.addr_duplicates);
		others_tell(a);
		give_up(a);
		return;
	}
	if (!net_addr_usable(a))
		return;
	net_count_once(e, &e->counters.addr_conflicts);
	if (lately)
		return;
	a->conflict_ns = e->now_ns;
	announce(a);
}

/* --- source address selection -------------------------------------------------------------------- */

/* RFC6724:3.1, IPv4's as 3.2 */
static unsigned scope_of(const uint8_t addr[16])
{
	if (!addr_is_v4(addr) && addr_is_multicast(addr))
		return addr[1] & 0xf;
	if (addr_is_link_local(addr) || addr_is_loopback(addr))
		return 2;
	return !addr_is_v4(addr) && addr[0] == 0xfe && (addr[1] & 0xc0) == 0xc0 ? 5 : 14;
}

/* RFC6724:2.1, the default policy table's labels */
static unsigned label_of(const uint8_t addr[16])
{
	static const struct {
		uint8_t prefix[16], bits, label;
	} table[] = {{{[10] = 0xff, [11] = 0xff}, 96, 4}, {{[15] = 1}, 128, 0}, {{0x20, 1}, 32, 5},
		{{0x20, 2}, 16, 2}, {{0x3f, 0xfe}, 16, 12}, {{0xfe, 0xc0}, 10, 11}, {{0xfc}, 7, 13},
		{{0}, 96, 3}};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (addr_in_prefix(addr, table[i].prefix, table[i].bits))
			return table[i].label;
	}
	return 1;
}

static unsigned common_bits(const uint8_t a[16], const uint8_t b[16], unsigned most)
{
	unsigned n = 0;

	while (n < most && ((a[n / 8] ^ b[n / 8]) >> (7 - n % 8) & 1) == 0)
		n++;
	return n;
}

/* Whether a is better than b by RFC6724:5's rules 2, 3, 6 and 8; 1 is ip_path_resolve()'s (our own address), 5
 * the caller's, 4 and 7 are about addresses that we do not have. */
static bool is_better(const struct net_addr *a, const struct net_addr *b, const uint8_t dst[16])
{
	unsigned sa = scope_of(a->addr), sb = scope_of(b->addr), sd = scope_of(dst);
	bool la = label_of(a->addr) == label_of(dst), lb = label_of(b->addr) == label_of(dst);

	if (sa != sb)
		return sa < sb ? sa >= sd : sb < sd;
	if (a->state != b->state)
		return a->state == ADDR_PREFERRED;
	if (la != lb)
		return la;
	return common_bits(a->addr, dst, a->prefix) > common_bits(b->addr, dst, b->prefix);
}

const uint8_t *net_source(const struct net *net, const struct port *port, const uint8_t dst[16])
{
	const struct net_addr *best = NULL;
	bool v4 = addr_is_v4(dst);

	for (const struct net_addr *a = net->addrs; a < net->addrs + net->addrs_n; a++) {
		if (net_addr_usable(a) && a->port == port && addr_is_v4(a->addr) == v4 &&
			(best == NULL || is_better(a, best, dst)))
			best = a;
	}
	return best != NULL ? best->addr : NULL;
}
