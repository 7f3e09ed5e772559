/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has which port: binding (bind(2), socket(7)), and whose a datagram is. */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/udp/priv.h"

#define UDP_EPHEMERAL_LOW 32768u /* Linux's ip_local_port_range */
#define UDP_EPHEMERAL_N 28232u

/* The families that a socket bound to addr takes datagrams of. */
enum { TAKES_V4 = 1, TAKES_V6 = 2 };
static unsigned takes(const struct sock *sk, const uint8_t addr[16])
{
	if (sk->family == CV_AF_INET || addr_is_v4(addr))
		return TAKES_V4;
	return addr_is_any(addr) && !sk->v6only ? TAKES_V4 | TAKES_V6 : TAKES_V6;
}

static bool overlaps(
	const struct udp_sock *other, const struct udp_sock *us, const struct cv_endpoint *local)
{
	const uint8_t *theirs = other->sk.local.addr;

	if ((takes(&other->sk, theirs) & takes(&us->sk, local->addr)) == 0)
		return false;
	if (other->device != 0 && us->device != 0 && other->device != us->device)
		return false;
	return addr_is_any(theirs) || addr_is_any(local->addr) || addr_equal(theirs, local->addr);
}

void udp_any(uint8_t family, uint8_t addr[16])
{
	memset(addr, 0, 16);
	if (family == CV_AF_INET)
		addr_from_v4(addr, (const uint8_t[4]){0});
}

/* Two sockets may share an address when both ask for it: socket(7), SO_REUSEADDR and SO_REUSEPORT.
 */
static bool port_is_free(struct udp *udp, const struct udp_sock *us, const struct cv_endpoint *local)
{
	list_for_each (node, udp_bucket(udp, local->port)) {
		const struct udp_sock *other = list_entry(node, struct udp_sock, port_node);
		const struct sock *a = &other->sk, *b = &us->sk;

		if (other == us || a->local.port != local->port || !overlaps(other, us, local))
			continue;
		if ((a->reuseaddr && b->reuseaddr) || (a->reuseport && b->reuseport))
			continue;
		return false;
	}
	return true;
}

/* For crew_udp_claim(): of all that share a port by SO_REUSEPORT, those with the same number take the same datagrams. */
static uint64_t alike(const struct udp_sock *us, const struct cv_endpoint *at)
{
	uint64_t words[3];

	if (!us->sk.reuseport)
		return 0;
	memcpy(words, at->addr, 16);
	words[2] = (uint64_t)us->device << 8 | takes(&us->sk, at->addr);
	return siphash(&us->sk.engine->crew->pin_key, words, 3) | 1ull << CREW_UDP_ALIKE_SHIFT;
}

/* 0: the port is taken; -CV_EADDRINUSE; -CV_EXDEV: it belongs to another worker, whose sockets decide. */
static int port_take(struct udp_sock *us, const struct cv_endpoint *at)
{
	struct engine *e = us->sk.engine;

	if (!port_is_free(e->udp, us, at))
		return -CV_EADDRINUSE;
	if (cv_unlikely(e->crew != NULL) && crew_udp_claim(e, at->port, alike(us, at)) >= 0)
		return -CV_EXDEV;
	return 0;
}

/* Workers whose sockets share a port must take the same datagrams: each gets those that hash to it, whatever its sockets
 * take. */
int udp_device_change(struct udp_sock *us, uint16_t device)
{
	struct engine *e = us->sk.engine;
	struct cv_endpoint at = us->sk.local;
	uint16_t before = us->device;

	us->device = device;
	if (cv_likely(e->crew == NULL) || !(us->sk.status & CV_ST_BOUND) || device == before)
		return 0;
	if (!(us->flags & UDP_BOUND_ADDR))
		udp_any(us->sk.family, at.addr);
	if (crew_udp_claim(e, at.port, alike(us, &at)) < 0)
		return 0;
	us->device = before;
	return -CV_EBUSY;
}

void udp_port_tell(struct engine *e, uint16_t port)
{
	bool any = false, open = false;

	if (cv_likely(e->crew == NULL))
		return;
	list_for_each (node, udp_bucket(e->udp, port)) {
		const struct sock *sk = &list_entry(node, struct udp_sock, port_node)->sk;

		if (sk->local.port != port)
			continue;
		any = true;
		open = (sk->status & CV_ST_CONNECTED) == 0;
		if (open)
			break;
	}
	crew_udp_state(e, port, any, open);
}

static int bind_check(const struct sock *sk, const uint8_t addr[16])
{
	const struct engine *e = sk->engine;

	if (sk->status & CV_ST_BOUND)
		return -CV_EINVAL;
	if (addr_is_any(addr))
		return 0;
	if (sk->family == CV_AF_INET && !addr_is_v4(addr))
		return -CV_EAFNOSUPPORT;
	if (sk->v6only && addr_is_v4(addr))
		return -CV_EINVAL;
	if (!ip_is_local(e, addr) && !addr_is_multicast(addr) && !ip_is_broadcast(e, addr))
		return -CV_EADDRNOTAVAIL;
	return 0;
}

/* A group of the link without its interface: the socket's device says it (Linux). */
static int group_scope(const struct udp_sock *us, struct cv_endpoint *at)
{
	if (!addr_is_scoped(at->addr) || addr_scope(at->addr) != 0)
		return 0;
	if (us->device == 0)
		return -CV_EINVAL;
	at->scope = us->device;
	addr_scope_set(at->addr, us->device);
	return 0;
}

/* src, peer: of several workers one whose answers come by our own queue; NULL: any. */
static int port_choose(
	struct udp_sock *us, struct cv_endpoint *at, const uint8_t src[16], const struct cv_endpoint *peer)
{
	struct engine *e = us->sk.engine;
	uint32_t start = (uint32_t)e->env.random64(e->env.ctx);
	struct cv_endpoint from = {0};

	if (peer != NULL)
		memcpy(from.addr, src, 16);
	for (uint32_t i = 0; i < UDP_EPHEMERAL_N; i++) {
		at->port = from.port = (uint16_t)(UDP_EPHEMERAL_LOW + (start + i) % UDP_EPHEMERAL_N);
		if ((peer == NULL || crew_is_mine(e, &from, peer)) && port_take(us, at) == 0)
			return 0;
	}
	return -CV_EADDRINUSE;
}

static int bind_towards(
	struct sock *sk, const struct cv_endpoint *local, const uint8_t src[16], const struct cv_endpoint *peer)
{
	struct udp_sock *us = udp_of(sk);
	struct cv_endpoint at = *local;
	int ret = bind_check(sk, at.addr);

	if (ret == 0)
		ret = group_scope(us, &at);
	if (ret != 0)
		return ret;
	if (sk->family == CV_AF_INET && addr_is_any(at.addr))
		udp_any(sk->family, at.addr);
	us->flags &= ~(uint32_t)(UDP_BOUND_ADDR | UDP_BOUND_PORT);
	us->flags |= (addr_is_any(at.addr) ? 0 : UDP_BOUND_ADDR) | (at.port == 0 ? 0 : UDP_BOUND_PORT);
	ret = at.port == 0 ? port_choose(us, &at, src, peer) : port_take(us, &at);
	if (ret != 0)
		return ret;
	sk->local = at;
	sk->status |= CV_ST_BOUND;
	list_add_head(udp_bucket(sk->engine->udp, at.port), &us->port_node);
	sock_event(sk);
	return 0;
}

int udp_bind(struct sock *sk, const struct cv_endpoint *local)
{
	return bind_towards(sk, local, NULL, NULL);
}

int udp_autobind(struct sock *sk)
{
	const struct cv_endpoint any = {0};

	return sk->status & CV_ST_BOUND ? 0 : udp_bind(sk, &any);
}

int udp_autobind_towards(struct sock *sk, const struct cv_endpoint *peer)
{
	const struct cv_endpoint any = {0};
	struct ip_path path = {0};
	uint8_t src[16];

	if (cv_likely(sk->engine->crew == NULL) || (sk->status & CV_ST_BOUND))
		return udp_autobind(sk);
	udp_source_of(sk, src);
	if (ip_path_resolve(sk->engine, &path, peer->addr, src) != 0)
		return udp_autobind(sk);
	return bind_towards(sk, &any, src, peer);
}

/* SO_BINDTODEVICE: pkt.port is the port that it came by. */
static bool device_fits(struct engine *e, const struct udp_sock *us, uint16_t port)
{
	const struct port *came;

	if (us->device == 0)
		return true;
	came = port == PORT_LOOPBACK ? NULL : net_port_by_id(e, port);
	return came != NULL && came->ifindex == us->device;
}

/* How well a socket fits a datagram: 0 not at all; a peer counts more than an address. */
static unsigned score(struct engine *e, const struct udp_sock *us, uint16_t port,
	const struct cv_endpoint *src, const struct cv_endpoint *dst)
{
	const struct sock *sk = &us->sk;
	unsigned points = 1;

	if (sk->local.port != dst->port)
		return 0;
	if (!addr_is_any(sk->local.addr)) {
		if (!addr_equal(sk->local.addr, dst->addr))
			return 0;
		points += 1;
	}
	if (sk->status & CV_ST_CONNECTED) {
		if (sk->peer.port != src->port || !addr_equal(sk->peer.addr, src->addr))
			return 0;
		points += 2;
	}
	if ((takes(sk, sk->local.addr) & (addr_is_v4(dst->addr) ? TAKES_V4 : TAKES_V6)) == 0)
		return 0;
	if (us->device != 0) {
		if (!device_fits(e, us, port))
			return 0;
		points += 4;
	}
	return points;
}

/* Among equals that share by SO_REUSEPORT the flow's keyed hash decides, so that a sender's datagrams stay together
 * and no sender can aim at one of them. */
static struct udp_sock *twin_choose(struct engine *e, uint16_t port, const struct cv_endpoint *src,
	const struct cv_endpoint *dst, unsigned most, unsigned twins)
{
	uint64_t words[4];
	uint32_t hash;
	unsigned nth;

	memcpy(words, src->addr, 16);
	memcpy(words + 2, dst->addr, 16);
	hash = (uint32_t)siphash13(&e->udp->key, words, 4, (uint32_t)src->port << 16 | dst->port);
	nth = (unsigned)((uint64_t)hash * twins >> 32);
	list_for_each (node, udp_bucket(e->udp, dst->port)) {
		struct udp_sock *us = list_entry(node, struct udp_sock, port_node);

		if (us->sk.reuseport && score(e, us, port, src, dst) == most && nth-- == 0)
			return us;
	}
	return NULL;
}

struct udp_sock *udp_find(
	struct engine *e, uint16_t port, const struct cv_endpoint *src, const struct cv_endpoint *dst)
{
	struct udp_sock *best = NULL;
	unsigned most = 0, twins = 0;

	list_for_each (node, udp_bucket(e->udp, dst->port)) {
		struct udp_sock *us = list_entry(node, struct udp_sock, port_node);
		unsigned points = score(e, us, port, src, dst);

		if (points == 0 || points < most)
			continue;
		if (points > most) {
			best = us;
			twins = 0;
		}
		most = points;
		twins += us->sk.reuseport;
	}
	/* One that does not share and was bound last is the one (Linux). */
	if (cv_unlikely(twins > 1 && best->sk.reuseport))
		best = twin_choose(e, port, src, dst, most, twins);
	return best;
}

bool udp_gets_copy(struct engine *e, const struct udp_sock *us, const struct pkt *p)
{
	return score(e, us, p->port, &p->src, &p->dst) > 0 &&
	       mcast_wants(us->mcast, p->port, p->dst.addr, p->src.addr);
}
