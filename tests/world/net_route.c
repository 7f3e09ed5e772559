/* SPDX-License-Identifier: BSD-3-Clause */
/* Where packets go: configured routes, what routers advertise and correct, addresses made of their prefixes, and which
 * of several addresses is the source. */
#include "tests/world/wire.h"

#include <rte_ether.h>

#define ROUTER "fe80::a"
#define ROUTER_B "fe80::b"

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb};

static void route(struct world *w, const char *prefix, uint8_t bits, enum ip_route_kind kind, const char *gateway,
	uint16_t mtu)
{
	struct ip_route r = {.kind = kind, .mtu = mtu, .has_gateway = gateway != NULL};

	memcpy(r.prefix, at(prefix, 0).addr, 16);
	r.bits = (uint8_t)(bits + (addr_is_v4(r.prefix) ? 96 : 0));
	if (gateway != NULL)
		memcpy(r.gateway, at(gateway, 0).addr, 16);
	else
		r.port = &w->host[0].port;
	assert_int_equal(net_route_add(w->host[0].e, &r), 0);
}

/* The path to an address: 0 and *hop, or an error. */
static int way(struct world *w, const char *dst, const char *hop, uint16_t *mtu)
{
	struct ip_path path = {0};
	uint8_t src[16] = {0};
	int ret = ip_path_resolve(w->host[0].e, &path, inside(dst).addr, src);

	if (ret == 0 && hop != NULL) {
		assert_non_null(path.neigh);
		assert_memory_equal(path.neigh->addr, inside(hop).addr, 16);
	}
	if (ret == 0 && mtu != NULL)
		*mtu = path.pmtu;
	return ret;
}

static const char *source_towards(struct world *w, const char *dst)
{
	static char text[INET6_ADDRSTRLEN];
	struct ip_path path = {0};
	uint8_t src[16] = {0}, wire[16];

	if (ip_path_resolve(w->host[0].e, &path, inside(dst).addr, src) != 0)
		return "none";
	addr_to_wire(wire, src);
	if (addr_is_v4(wire))
		inet_ntop(AF_INET, wire + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, wire, text, sizeof(text));
	return text;
}

static void routes__most_specific__wins(void **state)
{
	struct world *w = wire_new(1, true);
	uint16_t mtu;

	(void)state;
	assert_int_equal(way(w, "192.0.2.1", NULL, NULL), -CV_ENETUNREACH);
	route(w, "192.0.0.0", 8, IP_ROUTE_VIA, "10.0.0.7", 0);
	route(w, "192.0.2.0", 24, IP_ROUTE_VIA, "10.0.0.8", 1400);
	route(w, "192.0.2.128", 25, IP_ROUTE_UNREACHABLE, NULL, 0);
	route(w, "192.0.3.0", 24, IP_ROUTE_BLACKHOLE, NULL, 0);
	route(w, "192.0.4.0", 24, IP_ROUTE_PROHIBIT, NULL, 0);
	route(w, "192.0.2.129", 32, IP_ROUTE_VIA, "10.0.0.9", 0);
	route(w, "198.51.100.0", 24, IP_ROUTE_VIA, NULL, 0);
	assert_int_equal(way(w, "192.1.1.1", "10.0.0.7", &mtu), 0);
	assert_int_equal(mtu, 1500);
	assert_int_equal(way(w, "192.0.2.1", "10.0.0.8", &mtu), 0);
	assert_int_equal(mtu, 1400);
	assert_int_equal(way(w, "192.0.2.130", NULL, NULL), -CV_EHOSTUNREACH);
	assert_int_equal(way(w, "192.0.2.129", "10.0.0.9", NULL), 0);
	assert_int_equal(way(w, "192.0.3.1", NULL, NULL), -CV_EINVAL);
	assert_int_equal(way(w, "192.0.4.1", NULL, NULL), -CV_EACCES);
	assert_int_equal(way(w, "198.51.100.9", "198.51.100.9", NULL), 0); /* on the link */
	assert_int_equal(way(w, "10.0.0.200", "10.0.0.200", NULL), 0);     /* connected, as ever */
	route(w, "10.0.0.128", 25, IP_ROUTE_VIA, "10.0.0.7", 0);           /* more specific than the subnet */
	assert_int_equal(way(w, "10.0.0.200", "10.0.0.7", NULL), 0);
	route(w, "2001:db8:5::", 48, IP_ROUTE_VIA, "2001:db8::7", 1300);
	route(w, "2001:db8:5:6::", 64, IP_ROUTE_UNREACHABLE, NULL, 0);
	assert_int_equal(way(w, "2001:db8:5::1", "2001:db8::7", &mtu), 0);
	assert_int_equal(mtu, 1300);
	assert_int_equal(way(w, "2001:db8:5:6::1", NULL, NULL), -CV_EHOSTUNREACH);
	assert_int_equal(way(w, "2001:db8:6::1", NULL, NULL), -CV_ENETUNREACH);
	world_free(w);
}

static void gateway__of_the_port__is_the_last_choice(void **state)
{
	struct world *w = wire_new(2, false);
	struct port *port = &w->host[0].port;

	(void)state;
	port->has_gateway = true;
	memcpy(port->gateway, at("10.0.0.254", 0).addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	assert_int_equal(way(w, "192.0.2.1", "10.0.0.254", NULL), 0);
	route(w, "0.0.0.0", 1, IP_ROUTE_VIA, "10.0.0.7", 0);
	assert_int_equal(way(w, "1.2.3.4", "10.0.0.7", NULL), 0);
	assert_int_equal(way(w, "192.0.2.1", "10.0.0.254", NULL), 0);
	world_free(w);
}

/* 1,000 routes of all lengths against what a plain reading of them says. */
static void routes__many__agree_with_a_plain_search(void **state)
{
	static struct ip_route all[1000];
	struct world *w = wire_new(3, true);
	uint64_t x = 88172645463325252ull;
	struct port *port = &w->host[0].port;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		bool v4 = i % 2;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		all[i] = (struct ip_route){.kind = (enum ip_route_kind)(1 + x % 3), .port = port};
		if (v4)
			addr_from_v4(all[i].prefix, (uint8_t[]){20, (uint8_t)(x >> 8 & 3), (uint8_t)(x >> 16), (uint8_t)(x >> 24)});
		else
			memcpy(all[i].prefix, (uint8_t[16]){0x20, 3, (uint8_t)(x >> 8 & 3), (uint8_t)(x >> 16), (uint8_t)(x >> 24)}, 16);
		all[i].bits = (uint8_t)((v4 ? 96 + 8 : 16) + x % (v4 ? 25 : 25));
		assert_int_equal(net_route_add(w->host[0].e, &all[i]), 0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		static const int errors[] = {0, -CV_EHOSTUNREACH, -CV_EINVAL, -CV_EACCES};
		struct ip_path path = {0};
		uint8_t dst[16], src[16] = {0};
		int wanted = -CV_ENETUNREACH, bits = -1;

		memcpy(dst, all[i % 1000].prefix, 16);
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		dst[addr_is_v4(dst) ? 15 : 4] ^= (uint8_t)(x & 0xff);
		for (unsigned k = 0; k < 1000; k++) {
			if (addr_is_v4(all[k].prefix) == addr_is_v4(dst) && all[k].bits > bits &&
				addr_in_prefix(dst, all[k].prefix, all[k].bits)) {
				bits = all[k].bits;
				wanted = errors[all[k].kind];
			}
		}
		assert_int_equal(ip_path_resolve(w->host[0].e, &path, dst, src), wanted);
	}
	world_free(w);
}

/* --- routers ----------------------------------------------------------------------------------- */

struct ra {
	uint16_t lifetime;
	const char *prefix;
	uint8_t flags; /* of the prefix: 0x80 on-link, 0x40 autonomous */
	uint32_t valid, preferred, mtu;
	uint8_t hops, cur_hops; /* of the advertisement itself; that it wants */
	uint32_t reachable_ms, retrans_ms;
};

static void put32(uint8_t *to, uint32_t v)
{
	put16(to, v >> 16);
	put16(to + 2, v & 0xffff);
}

static void advertise(struct world *w, const char *from, const uint8_t *mac, struct ra ra)
{
	uint8_t msg[80] = {134, 0, 0, 0, ra.cur_hops};
	uint16_t n = 16;

	put16(msg + 6, ra.lifetime);
	put32(msg + 8, ra.reachable_ms);
	put32(msg + 12, ra.retrans_ms);
	msg[n] = 1;
	msg[n + 1] = 1;
	memcpy(msg + n + 2, mac, 6);
	n = (uint16_t)(n + 8);
	if (ra.mtu != 0) {
		msg[n] = 5;
		msg[n + 1] = 1;
		put32(msg + n + 4, ra.mtu);
		n = (uint16_t)(n + 8);
	}
	if (ra.prefix != NULL) {
		msg[n] = 3;
		msg[n + 1] = 4;
		msg[n + 2] = 64;
		msg[n + 3] = ra.flags;
		put32(msg + n + 4, ra.valid);
		put32(msg + n + 8, ra.preferred);
		memcpy(msg + n + 16, at(ra.prefix, 0).addr, 16);
		n = (uint16_t)(n + 32);
	}
	icmp6_from(w, mac, from, "ff02::1", ra.hops ? ra.hops : 255, msg, n);
}

static struct world *auto_new(uint64_t seed)
{
	struct world *w = wire_new(seed, false);
	struct port *port = &w->host[0].port;

	net_port_down(w->host[0].e, port);
	port->autoconf6 = true;
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	wire_forget(w);
	net_port_up(w->host[0].e, port);
	return w;
}

static void routers__are_asked_for_until_one_answers(void **state)
{
	struct world *w = auto_new(4);
	const struct wire_frame *f;
	uint64_t last = 0, gaps[4];

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		f = wire_icmp6(w, 80 * SECOND, 133);
		assert_non_null(f);
		assert_memory_equal(f->f + 38, at("ff02::2", 0).addr, 16);
		assert_memory_equal(f->f + 22, at(LL0, 0).addr, 16);
		assert_int_equal(f->f[21], 255);
		assert_memory_equal(f->f + 64, w->host[0].port.mac, 6); /* its link-layer address */
		if (i > 0)
			gaps[i - 1] = f->at_ns - last;
		last = f->at_ns;
	}
	for (unsigned i = 0; i < 4; i++) /* RFC7559: 4, 8, 16, 32 s and a tenth */
		assert_true(gaps[i] > (4 * SECOND << i) / 10 * 9 - 10 * MS && gaps[i] < (4 * SECOND << i) / 10 * 11 + 10 * MS);
	advertise(w, ROUTER_B, mac_b, (struct ra){.lifetime = 0}); /* who is there, but no default router */
	assert_non_null(wire_icmp6(w, 80 * SECOND, 133));
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800});
	assert_null(wire_icmp6(w, 4000 * SECOND, 133));
	world_free(w);
}

static void default_router__lasts_as_long_as_it_says(void **state)
{
	struct world *w = auto_new(5);

	(void)state;
	advertise(w, ROUTER, mac_a,
		(struct ra){.lifetime = 100, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 86400, .preferred = 86400});
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	assert_int_equal(way(w, "2001:db8:1::77", "2001:db8:1::77", NULL), 0); /* on the link */
	wire_wait(w, 99 * SECOND);
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	wire_wait(w, 2 * SECOND);
	assert_int_equal(way(w, "2001:db8:77::1", NULL, NULL), -CV_ENETUNREACH);
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100});
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 0}); /* it goes */
	assert_int_equal(way(w, "2001:db8:77::1", NULL, NULL), -CV_ENETUNREACH);
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100});
	nd_from(w, ROUTER, LL0, 136, 0x60, ROUTER, mac_a); /* it says that it is no router */
	assert_int_equal(way(w, "2001:db8:77::1", NULL, NULL), -CV_ENETUNREACH);
	world_free(w);
}

/* An advertisement with another MAC that does not override changes nothing but that what is known is tested
 * (RFC4861:7.2.5), not even whether it is a router. */
static void router__somebody_else_answers_for_it__stays(void **state)
{
	struct world *w = auto_new(20);

	(void)state;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100});
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	nd_from(w, ROUTER, LL0, 136, 0x60 | 0x80, ROUTER, mac_a);
	assert_int_equal(neigh_state(w, ROUTER), NEIGH_REACHABLE);
	nd_from(w, ROUTER, LL0, 136, 0x40, ROUTER, mac_b);
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	assert_int_equal(neigh_state(w, ROUTER), NEIGH_STALE);
	world_free(w);
}

/* What an IPv6 router says of times is about IPv6's neighbours. */
static void times__advertised__leave_arp_alone(void **state)
{
	struct world *w = auto_new(21);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 5);

	(void)state;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100, .reachable_ms = 100, .retrans_ms = 60000});
	wire_forget(w);
	send_at(sk, "10.0.0.9", 9, "x", 1);
	for (unsigned i = 0; i < 3; i++)
		assert_non_null(wire_arp(w, 1010 * MS, 1));
	send_at(sk, "10.0.0.8", 9, "x", 1);
	arp(w, wire_mac, 2, "10.0.0.8", "10.0.0.1");
	wire_wait(w, 20 * SECOND);
	assert_int_equal(neigh_state(w, "10.0.0.8"), NEIGH_REACHABLE);
	sock_close(sk, false);
	world_free(w);
}

/* RFC4861:6.1.2 */
static void advertisement__not_valid__is_not_heeded(void **state)
{
	struct world *w = auto_new(6);
	uint8_t cut[20] = {134, [7] = 100, [16] = 1}; /* an option without length */

	(void)state;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100, .hops = 64});
	advertise(w, "2001:db8::a", mac_a, (struct ra){.lifetime = 100});
	icmp6_from(w, mac_a, ROUTER, "ff02::1", 255, cut, sizeof(cut));
	icmp6_from(w, mac_a, ROUTER, "ff02::1", 255, cut, 12);
	assert_int_equal(COUNT(w, 0, drop_nd), 4);
	assert_int_equal(COUNT(w, 0, router_adverts_in), 0);
	w->host[0].port.autoconf6 = false;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100}); /* nobody asked */
	assert_int_equal(w->host[0].e->net->routers_n, 0);
	world_free(w);
}

static void router__silent__the_other_one_is_taken(void **state)
{
	struct world *w = auto_new(7);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6);
	struct ra ra = {.lifetime = 1800, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 86400, .preferred = 86400};

	(void)state;
	advertise(w, ROUTER, mac_a, ra);
	advertise(w, ROUTER_B, mac_b, ra);
	wire_forget(w);
	send_at(sk, "2001:db8:77::1", 9, "x", 1);
	assert_memory_equal(wire_udp6(w, 0)->f, mac_a, 6);
	for (unsigned i = 0; i < 10; i++) { /* the first one does not answer the probes */
		wire_wait(w, SECOND);
		send_at(sk, "2001:db8:77::1", 9, "x", 1);
	}
	wire_forget(w);
	send_at(sk, "2001:db8:77::1", 9, "x", 1);
	assert_memory_equal(wire_udp6(w, 0)->f, mac_b, 6);
	sock_close(sk, false);
	world_free(w);
}

static void mtu__advertised__bounds_ipv6_only(void **state)
{
	struct world *w = auto_new(8);
	uint16_t mtu;

	(void)state;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800, .mtu = 1400, .prefix = "2001:db8:1::", .flags = 0xc0,
					    .valid = 86400, .preferred = 86400});
	assert_int_equal(way(w, "2001:db8:1::7", NULL, &mtu), 0);
	assert_int_equal(mtu, 1400);
	assert_int_equal(way(w, "10.0.0.7", NULL, &mtu), 0);
	assert_int_equal(mtu, 1500);
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800, .mtu = 1000}); /* IPv6 has none so small */
	assert_int_equal(way(w, "2001:db8:1::7", NULL, &mtu), 0);
	assert_int_equal(mtu, 1400);
	world_free(w);
}

/* Of datagrams, of a stream's segments, of an echo's answer: what the router says, unless the socket does. */
static void hop_limit__advertised__is_what_ipv6_packets_begin_with(void **state)
{
	const struct cv_endpoint to = at("2001:db8:77::1", 9);
	struct ra ra = {.lifetime = 1800, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 86400, .preferred = 86400};
	struct world *w = auto_new(15);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6), *stream;
	uint8_t echo[8] = {128};
	const struct wire_frame *f;
	uint32_t len = sizeof(int);
	int v = 5;

	(void)state;
	advertise(w, ROUTER, mac_a, ra); /* which says nothing of it */
	wire_wait(w, 5 * SECOND);
	wire_forget(w);
	send_at(sk, "2001:db8:77::1", 9, "x", 1);
	assert_int_equal(wire_udp6(w, 0)->f[21], 64);
	ra.cur_hops = 33;
	advertise(w, ROUTER, mac_a, ra);
	send_at(sk, "2001:db8:77::1", 9, "x", 1);
	assert_int_equal(wire_udp6(w, 0)->f[21], 33);
	ra.cur_hops = 0;
	advertise(w, ROUTER, mac_a, ra); /* no word is not another one */
	assert_int_equal(sock_getopt(sk, CV_OPT_UNICAST_HOPS, &v, &len), 0);
	assert_int_equal(v, 64); /* without a peer there is no path */
	assert_int_equal(sock_connect(sk, &to), 0);
	assert_int_equal(sock_getopt(sk, CV_OPT_UNICAST_HOPS, &v, &len), 0);
	assert_int_equal(v, 33);
	v = 9;
	assert_int_equal(sock_setopt(sk, CV_OPT_UNICAST_HOPS, &v, sizeof(v)), 0);
	assert_int_equal(try_send(sk, NULL, "x", 1), 0);
	assert_int_equal(wire_udp6(w, 0)->f[21], 9);
	v = -1;
	assert_int_equal(sock_setopt(sk, CV_OPT_UNICAST_HOPS, &v, sizeof(v)), 0);
	assert_int_equal(try_send(sk, NULL, "x", 1), 0);
	assert_int_equal(wire_udp6(w, 0)->f[21], 33);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET6, CV_STREAM, &stream), 0);
	stream->user = w;
	assert_int_equal(sock_connect(stream, &to), 0);
	f = wire_next(w, SECOND, RTE_ETHER_TYPE_IPV6, IPPROTO_TCP, -1);
	assert_non_null(f);
	assert_int_equal(f->f[21], 33);
	wire_forget(w);
	icmp6_from(w, mac_a, ROUTER, "fe80::ff:fe00:1", 255, echo, sizeof(echo));
	f = wire_next(w, SECOND, RTE_ETHER_TYPE_IPV6, IPPROTO_ICMPV6, 129);
	assert_non_null(f);
	assert_int_equal(f->f[21], 33);
	sock_close(stream, true);
	sock_close(sk, false);
	world_free(w);
}

/* RFC4861:8 */
static void redirect__from_our_router__is_followed(void **state)
{
	struct world *w = auto_new(9);
	uint8_t msg[48] = {137, [40] = 2, [41] = 1};
	struct ra ra = {.lifetime = 1800, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 86400, .preferred = 86400};

	(void)state;
	advertise(w, ROUTER, mac_a, ra);
	memcpy(msg + 8, at(ROUTER_B, 0).addr, 16);
	memcpy(msg + 24, at("2001:db8:77::1", 0).addr, 16);
	memcpy(msg + 42, mac_b, 6);
	icmp6_from(w, mac_b, ROUTER_B, LL0, 255, msg, 48); /* not from the router that we use */
	icmp6_from(w, mac_a, ROUTER, LL0, 64, msg, 48);    /* from afar */
	assert_int_equal(COUNT(w, 0, drop_nd), 2);
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER, NULL), 0);
	icmp6_from(w, mac_a, ROUTER, LL0, 255, msg, 48);
	assert_int_equal(COUNT(w, 0, redirects_in), 1);
	assert_int_equal(way(w, "2001:db8:77::1", ROUTER_B, NULL), 0);
	assert_int_equal(way(w, "2001:db8:77::2", ROUTER, NULL), 0);
	assert_int_equal(neigh_state(w, ROUTER_B), NEIGH_STALE); /* the redirect told its card */
	/* To the destination itself: it is on the link. */
	memcpy(msg + 24, at("2001:db8:77::3", 0).addr, 16);
	memcpy(msg + 8, at("2001:db8:77::3", 0).addr, 16);
	icmp6_from(w, mac_a, ROUTER, LL0, 255, msg, 48);
	assert_int_equal(way(w, "2001:db8:77::3", "2001:db8:77::3", NULL), 0);
	memcpy(msg + 8, at("2001:db8:5::5", 0).addr, 16); /* neither a router of the link nor the destination */
	icmp6_from(w, mac_a, ROUTER, LL0, 255, msg, 48);
	assert_int_equal(COUNT(w, 0, drop_nd), 3);
	world_free(w);
}

/* --- addresses of their own ---------------------------------------------------------------------- */

static const struct net_addr *made(const struct world *w, const char *prefix, unsigned *n)
{
	const struct net_addr *found = NULL;

	*n = 0;
	net_for_each_addr(a, w->host[0].e->net)
	{
		if (a->origin == ADDR_AUTOCONF && addr_in_prefix(a->addr, at(prefix, 0).addr, 64)) {
			found = a;
			++*n;
		}
	}
	return found;
}

static void slaac__address__is_stable_and_of_its_network(void **state)
{
	uint8_t first[16], other[16];
	unsigned n;

	(void)state;
	for (unsigned round = 0; round < 2; round++) { /* another engine with the same secret */
		struct world *w = auto_new(10);

		advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800, .prefix = "2001:db8:1::", .flags = 0xc0,
						    .valid = 86400, .preferred = 14400});
		advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800, .prefix = "2001:db8:2::", .flags = 0xc0,
						    .valid = 86400, .preferred = 14400});
		assert_non_null(made(w, "2001:db8:2::", &n));
		memcpy(other, made(w, "2001:db8:2::", &n)->addr, 16);
		assert_non_null(made(w, "2001:db8:1::", &n));
		assert_int_equal(n, 1);
		if (round == 1)
			assert_memory_equal(first, made(w, "2001:db8:1::", &n)->addr, 16);
		memcpy(first, made(w, "2001:db8:1::", &n)->addr, 16);
		assert_true(ip_is_local(w->host[0].e, first));
		assert_memory_not_equal(first + 8, other + 8, 8);                     /* another network, another identifier */
		assert_memory_not_equal(first + 8, inside(LL0).addr + 8, 8);          /* and not the card's */
		world_free(w);
	}
}

static void slaac__lifetimes__deprecate_then_end(void **state)
{
	struct world *w = auto_new(11);
	struct ra ra = {.lifetime = 9000, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 20000, .preferred = 100};
	const struct net_addr *a;
	unsigned n;

	(void)state;
	advertise(w, ROUTER, mac_a, ra);
	ra.prefix = "2001:db8:2::";
	ra.preferred = 10000;
	advertise(w, ROUTER, mac_a, ra);
	a = made(w, "2001:db8:1::", &n);
	assert_int_equal(a->state, ADDR_PREFERRED);
	assert_memory_equal(source_towards(w, "2001:db8:1::99"), "2001:db8:1::", 11);
	wire_wait(w, 101 * SECOND);
	assert_int_equal(a->state, ADDR_DEPRECATED);
	assert_true(ip_is_local(w->host[0].e, a->addr));
	assert_memory_equal(source_towards(w, "2001:db8:1::99"), "2001:db8:2::", 11); /* rule 3 before rule 8 */
	/* A short lifetime is no order: two hours are left (RFC4862:5.5.3 (e)). */
	ra = (struct ra){.lifetime = 9000, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 1, .preferred = 1};
	advertise(w, ROUTER, mac_a, ra);
	wire_wait(w, 7190 * SECOND);
	assert_non_null(made(w, "2001:db8:1::", &n));
	wire_wait(w, 20 * SECOND);
	assert_null(made(w, "2001:db8:1::", &n));
	world_free(w);
}

static void slaac__address_of_somebody_else__another_is_made(void **state)
{
	struct world *w = auto_new(12);
	char text[INET6_ADDRSTRLEN];
	const struct net_addr *a;
	uint8_t taken[3][16];
	unsigned n;

	(void)state;
	w->host[0].port.dad6 = true;
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 1800, .prefix = "2001:db8:1::", .flags = 0xc0, .valid = 86400,
					    .preferred = 14400});
	for (unsigned i = 0; i < 3; i++) {
		a = made(w, "2001:db8:1::", &n);
		assert_non_null(a);
		assert_int_equal(n, 1);
		assert_int_equal(a->state, ADDR_TENTATIVE);
		memcpy(taken[i], a->addr, 16);
		if (i > 0)
			assert_memory_not_equal(taken[i], taken[i - 1], 16);
		inet_ntop(AF_INET6, a->addr, text, sizeof(text));
		nd_from(w, text, "ff02::1", 136, 0x20, text, wire_mac);
	}
	a = made(w, "2001:db8:1::", &n);
	assert_int_equal(a->state, ADDR_DUPLICATE); /* three are enough */
	wire_wait(w, 10 * SECOND);
	assert_false(ip_is_local(w->host[0].e, a->addr));
	world_free(w);
}

static void slaac__not_asked_for__makes_nothing(void **state)
{
	struct world *w = auto_new(13);
	unsigned n;

	(void)state;
	advertise(w, ROUTER, mac_a, (struct ra){.prefix = "2001:db8:1::", .flags = 0x80, .valid = 100, .preferred = 100});
	advertise(w, ROUTER, mac_a, (struct ra){.prefix = "2001:db8:2::", .flags = 0x40, .valid = 100, .preferred = 101});
	advertise(w, ROUTER, mac_a, (struct ra){.prefix = "fe80::", .flags = 0x40, .valid = 100, .preferred = 100});
	advertise(w, ROUTER, mac_a, (struct ra){.prefix = "2001:db8:3::", .flags = 0x40, .valid = 0, .preferred = 0});
	assert_null(made(w, "2001:db8:1::", &n));
	assert_null(made(w, "2001:db8:2::", &n));
	assert_null(made(w, "2001:db8:3::", &n));
	/* Autonomous, but not on the link: an address, and no neighbours. */
	advertise(w, ROUTER, mac_a, (struct ra){.lifetime = 100, .prefix = "2001:db8:4::", .flags = 0x40, .valid = 100,
					    .preferred = 100});
	assert_non_null(made(w, "2001:db8:4::", &n));
	assert_int_equal(way(w, "2001:db8:4::99", ROUTER, NULL), 0);
	world_free(w);
}

/* RFC6724:5 */
static void source__of_several__follows_the_rules(void **state)
{
	static const char *const have[] = {"2001:db8:a::1", "2001:db8:b::1", "fd00:1::1", "2002:c000:201::1"};
	static const char *const table[][2] = {{"2001:db8:b::9", "2001:db8:b::1"}, /* the longest common prefix */
		{"2001:db8:a::9", "2001:db8:a::1"}, {"fd00:1::9", "fd00:1::1"},
		{"fd77::1", "fd00:1::1"},                    /* its label */
		{"2002:c633:6401::1", "2002:c000:201::1"},   /* 6to4 to 6to4 */
		{"fe80::9", LL0},                            /* its scope */
		{"ff12::1", LL0}, {"2600::1", "2001:db8:a::1"}};
	struct world *w = wire_new(14, false);
	struct port *port = &w->host[0].port;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		memcpy(port->addr[1 + i].addr, at(have[i], 0).addr, 16);
		port->addr[1 + i].prefix = 64;
	}
	port->addrs_n = 5;
	port->has_gateway6 = true;
	memcpy(port->gateway6, at(ROUTER, 0).addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_string_equal(source_towards(w, table[i][0]), table[i][1]);
	world_free(w);
}

static void source4__of_several__is_of_the_next_hops_subnet(void **state)
{
	struct world *w = wire_new(15, false);
	struct port *port = &w->host[0].port;

	(void)state;
	memcpy(port->addr[1].addr, at("10.9.0.1", 0).addr, 16);
	port->addr[1].prefix = 96 + 16;
	port->addrs_n = 2;
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	route(w, "192.0.2.0", 24, IP_ROUTE_VIA, "10.9.0.9", 0);
	route(w, "198.51.100.0", 24, IP_ROUTE_VIA, "10.0.0.9", 0);
	assert_string_equal(source_towards(w, "10.9.3.4"), "10.9.0.1");
	assert_string_equal(source_towards(w, "10.0.0.4"), "10.0.0.1");
	assert_string_equal(source_towards(w, "192.0.2.1"), "10.9.0.1");
	assert_string_equal(source_towards(w, "198.51.100.1"), "10.0.0.1");
	world_free(w);
}

/* Programs must say by which interface (ipv6(7)); the answer says by which it came. */
static void link_local__without_an_interface__is_refused(void **state)
{
	struct world *w = wire_new(16, true);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6), *us = udp_new(w, 0, CV_AF_INET6);
	struct cv_endpoint to = at("fe80::9", 9), own = at(LL0, 7), out;

	(void)state;
	to.scope = own.scope = 0;
	assert_int_equal(sock_connect(sk, &to), -CV_EINVAL);
	assert_int_equal(try_send(sk, &to, "x", 1), -CV_EINVAL);
	assert_int_equal(sock_bind(us, &own), -CV_EINVAL);
	to.scope = own.scope = 9;
	assert_int_equal(sock_connect(sk, &to), -CV_ENODEV);
	assert_int_equal(sock_bind(us, &own), -CV_ENODEV);
	to.scope = own.scope = 1;
	assert_int_equal(sock_bind(us, &own), 0);
	assert_int_equal(sock_connect(us, &to), 0);
	sock_endpoint_out(&out, &us->local);
	assert_memory_equal(out.addr, at(LL0, 0).addr, 16);
	assert_int_equal(out.scope, 1);
	sock_endpoint_out(&out, &us->peer);
	assert_memory_equal(out.addr, at("fe80::9", 0).addr, 16);
	assert_int_equal(out.scope, 1);
	sock_close(sk, false);
	sock_close(us, false);
	world_free(w);
}

/* SO_BINDTODEVICE says it as well (socket(7)), and nobody may say otherwise. */
static void link_local__of_a_socket_bound_to_a_device__is_that_ones(void **state)
{
	struct world *w = wire_new(17, true);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6);
	struct cv_endpoint to = at("fe80::9", 9), own = at(LL0, 7), out;
	const char *name = net_port_by_ifindex(w->host[0].e, 1)->name;

	(void)state;
	assert_int_equal(sock_setopt(sk, CV_OPT_BINDTODEVICE, name, (uint32_t)strlen(name) + 1), 0);
	to.scope = own.scope = 2;
	assert_int_equal(sock_bind(sk, &own), -CV_EINVAL);
	assert_int_equal(try_send(sk, &to, "x", 1), -CV_EINVAL);
	to.scope = own.scope = 0;
	assert_int_equal(sock_bind(sk, &own), 0);
	assert_int_equal(try_send(sk, &to, "x", 1), 0);
	assert_int_equal(sock_connect(sk, &to), 0);
	sock_endpoint_out(&out, &sk->peer);
	assert_memory_equal(out.addr, at("fe80::9", 0).addr, 16);
	assert_int_equal(out.scope, 1);
	sock_close(sk, false);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes__most_specific__wins),
		cmocka_unit_test(gateway__of_the_port__is_the_last_choice),
		cmocka_unit_test(routes__many__agree_with_a_plain_search),
		cmocka_unit_test(routers__are_asked_for_until_one_answers),
		cmocka_unit_test(default_router__lasts_as_long_as_it_says),
		cmocka_unit_test(router__somebody_else_answers_for_it__stays),
		cmocka_unit_test(times__advertised__leave_arp_alone),
		cmocka_unit_test(advertisement__not_valid__is_not_heeded),
		cmocka_unit_test(router__silent__the_other_one_is_taken),
		cmocka_unit_test(mtu__advertised__bounds_ipv6_only),
		cmocka_unit_test(hop_limit__advertised__is_what_ipv6_packets_begin_with),
		cmocka_unit_test(redirect__from_our_router__is_followed),
		cmocka_unit_test(slaac__address__is_stable_and_of_its_network),
		cmocka_unit_test(slaac__lifetimes__deprecate_then_end),
		cmocka_unit_test(slaac__address_of_somebody_else__another_is_made),
		cmocka_unit_test(slaac__not_asked_for__makes_nothing),
		cmocka_unit_test(source__of_several__follows_the_rules),
		cmocka_unit_test(source4__of_several__is_of_the_next_hops_subnet),
		cmocka_unit_test(link_local__without_an_interface__is_refused),
		cmocka_unit_test(link_local__of_a_socket_bound_to_a_device__is_that_ones),
	};

	world_eal_init("world-net-route");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
