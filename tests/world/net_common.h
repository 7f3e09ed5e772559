/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests of IP share: sockets on both families, a world with IPv6, frames made by hand. */
#ifndef CULVERT_TESTS_WORLD_NET_COMMON_H
#define CULVERT_TESTS_WORLD_NET_COMMON_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "stack/base/addr.h"
#include "stack/net/ip.h"
#include "stack/udp/udp.h"
#include "tests/world/world.h"

#define MS 1000000ull
#define SECOND 1000000000ull
#define COUNT(w, host_, name) ((w)->host[host_].e->counters.name)

static const struct world_link perfect = {.delay_ns = MS};

/* text: an address of either family */
static inline struct cv_endpoint at(const char *text, uint16_t port)
{
	struct cv_endpoint ep = {.port = port};
	uint8_t v4[4];

	if (inet_pton(AF_INET, text, v4) == 1)
		addr_from_v4(ep.addr, v4);
	else
		assert_int_equal(inet_pton(AF_INET6, text, ep.addr), 1);
	if (addr_is_link_local(ep.addr) && !addr_is_v4(ep.addr))
		ep.scope = 1; /* of a host's first port */
	return ep;
}

/* An address as the engine keeps it: a link-local one with its scope (addr.h). */
static inline struct cv_endpoint inside(const char *text)
{
	struct cv_endpoint ep = at(text, 0);

	if (ep.scope != 0)
		addr_scope_set(ep.addr, ep.scope);
	return ep;
}

static inline struct sock *udp_new(struct world *w, int host, uint8_t family)
{
	struct sock *sk;

	assert_int_equal(sock_open(w->host[host].e, family, CV_DGRAM, &sk), 0);
	sk->user = w;
	return sk;
}

static inline struct sock *udp_at(struct world *w, int host, const char *text, uint16_t port)
{
	struct cv_endpoint ep = at(text, port);
	struct sock *sk = udp_new(w, host, addr_is_v4(ep.addr) ? CV_AF_INET : CV_AF_INET6);

	assert_int_equal(sock_bind(sk, &ep), 0);
	return sk;
}

static inline int try_send(
	struct sock *sk, const struct cv_endpoint *to, const void *data, uint32_t len)
{
	static unsigned released;
	struct txbuf *b = world_txbuf(data, len, &released);
	int ret;

	if (to != NULL) {
		b->peer = *to;
		b->has_peer = true;
	}
	ret = sock_send(sk, b);
	if (ret != 0) {
		free((void *)(uintptr_t)b->data);
		free(b);
	}
	return ret;
}

static inline void send_at(
	struct sock *sk, const char *text, uint16_t port, const void *data, uint32_t len)
{
	struct cv_endpoint to = at(text, port);

	assert_int_equal(try_send(sk, &to, data, len), 0);
}

/* Host i gets 2001:db8::(i + 1)/64 besides, and with it a link-local address. */
static inline struct world *world6_new(uint64_t seed, const struct world_link *link)
{
	struct world *w = world_new(seed, link);

	for (int i = 0; i < 2; i++) {
		struct port *port = &w->host[i].port;
		char text[32];

		snprintf(text, sizeof(text), "2001:db8::%d", i + 1);
		memcpy(port->addr[1].addr, at(text, 0).addr, 16);
		port->addr[1].prefix = 64;
		port->addrs_n = 2;
		assert_int_equal(net_port_changed(w->host[i].e, port), 0);
	}
	return w;
}

static inline uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static inline void put16(uint8_t *at_, uint32_t v)
{
	at_[0] = (uint8_t)(v >> 8);
	at_[1] = (uint8_t)v;
}

static inline uint16_t fold16(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* A frame towards host `to` as the other one's: header by hand, payload as it is. Returns its
 * bytes; the IPv4 header's checksum is right. */
static inline uint16_t frame4(uint8_t *f, const struct world *w, int to, const char *src,
	const char *dst, uint8_t proto, uint16_t id, uint16_t frag, const void *payload,
	uint16_t len)
{
	uint8_t *ip = f + 14;

	memcpy(f, w->host[to].port.mac, 6);
	memcpy(f + 6, w->host[1 - to].port.mac, 6);
	put16(f + 12, RTE_ETHER_TYPE_IPV4);
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, 20u + len);
	put16(ip + 4, id);
	put16(ip + 6, frag);
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, at(src, 0).addr + 12, 4);
	memcpy(ip + 16, at(dst, 0).addr + 12, 4);
	put16(ip + 10, fold16(sum16(ip, 20, 0)));
	memcpy(ip + 20, payload, len);
	return (uint16_t)(34 + len);
}

static inline uint16_t frame6(uint8_t *f, const struct world *w, int to, const char *src,
	const char *dst, uint8_t next, uint8_t hops, const void *payload, uint16_t len)
{
	uint8_t *ip = f + 14;

	memcpy(f, w->host[to].port.mac, 6);
	memcpy(f + 6, w->host[1 - to].port.mac, 6);
	put16(f + 12, RTE_ETHER_TYPE_IPV6);
	memset(ip, 0, 8);
	ip[0] = 0x60;
	put16(ip + 4, len);
	ip[6] = next;
	ip[7] = hops;
	memcpy(ip + 8, at(src, 0).addr, 16);
	memcpy(ip + 24, at(dst, 0).addr, 16);
	memcpy(ip + 40, payload, len);
	return (uint16_t)(54 + len);
}

/* The checksum of an L4 packet between the two addresses, to be put into its field. */
static inline uint16_t l4_sum(
	const char *src, const char *dst, uint8_t proto, const void *data, uint16_t len)
{
	struct cv_endpoint s = at(src, 0), d = at(dst, 0);
	size_t skip = addr_is_v4(s.addr) ? 12 : 0;

	return fold16(sum16(data, len,
		sum16(s.addr + skip, 16 - skip,
			sum16(d.addr + skip, 16 - skip, (uint32_t)proto + len))));
}

/* A whole UDP datagram with checksum at to; returns its bytes. */
static inline uint16_t udp_bytes(uint8_t *to, const char *src, uint16_t sport, const char *dst,
	uint16_t dport, const void *data, uint16_t len)
{
	put16(to, sport);
	put16(to + 2, dport);
	put16(to + 4, 8u + len);
	put16(to + 6, 0);
	memcpy(to + 8, data, len);
	put16(to + 6, l4_sum(src, dst, IPPROTO_UDP, to, (uint16_t)(8 + len)));
	return (uint16_t)(8 + len);
}

static inline void close_all(struct sock **sk, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sock_close(sk[i], false);
}

/* Bytes that differ from place to place. */
static inline void pattern(uint8_t *to, size_t len, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + salt);
}

#endif
