/* SPDX-License-Identifier: BSD-3-Clause */
/* See udp.h. */
#include "stack/udp/udp.h"

#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <rte_udp.h>

#include "stack/base/addr.h"
#include "stack/base/pool.h"

#define UDP_BUCKETS 1024u
#define UDP_EPHEMERAL_LOW 32768u /* Linux's ip_local_port_range */
#define UDP_EPHEMERAL_N 28232u
#define UDP_DATAGRAM_COST 512u /* of a queued datagram against rcvbuf, besides its bytes */
#define UDP_CKSUM_OFF 6
#define UDP_MULTICAST_TTL 1 /* groups stay on the link unless asked: RFC1112:6.1 */

struct udp {
	struct pool socks;
	struct list buckets[UDP_BUCKETS];
};

static struct udp_sock *udp_of(struct sock *sk)
{
	return cv_container_of(sk, struct udp_sock, sk);
}

static struct list *bucket(struct udp *udp, uint16_t port)
{
	return &udp->buckets[port % UDP_BUCKETS];
}

/* The families that a socket bound to addr takes datagrams of. */
enum { TAKES_V4 = 1, TAKES_V6 = 2 };
static unsigned takes(const struct sock *sk, const uint8_t addr[16])
{
	if (sk->family == CV_AF_INET || addr_is_v4(addr))
		return TAKES_V4;
	return addr_is_any(addr) && !sk->v6only ? TAKES_V4 | TAKES_V6 : TAKES_V6;
}

static bool overlaps(
	const struct sock *other, const struct sock *sk, const struct cv_endpoint *local)
{
	if ((takes(other, other->local.addr) & takes(sk, local->addr)) == 0)
		return false;
	return addr_is_any(other->local.addr) || addr_is_any(local->addr) ||
	       addr_equal(other->local.addr, local->addr);
}

/* Two sockets may share an address when both ask for it: socket(7), SO_REUSEADDR and SO_REUSEPORT.
 */
static bool port_is_free(struct udp *udp, const struct sock *sk, const struct cv_endpoint *local)
{
	list_for_each (node, bucket(udp, local->port)) {
		const struct sock *other = &list_entry(node, struct udp_sock, port_node)->sk;

		if (other == sk || other->local.port != local->port || !overlaps(other, sk, local))
			continue;
		if ((other->reuseaddr && sk->reuseaddr) || (other->reuseport && sk->reuseport))
			continue;
		return false;
	}
	return true;
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

static int port_choose(const struct sock *sk, struct cv_endpoint *at)
{
	uint32_t start = (uint32_t)sk->engine->env.random64(sk->engine->env.ctx);

	for (uint32_t i = 0; i < UDP_EPHEMERAL_N; i++) {
		at->port = (uint16_t)(UDP_EPHEMERAL_LOW + (start + i) % UDP_EPHEMERAL_N);
		if (port_is_free(sk->engine->udp, sk, at))
			return 0;
	}
	return -CV_EADDRINUSE;
}

static int udp_bind(struct sock *sk, const struct cv_endpoint *local)
{
	struct udp *udp = sk->engine->udp;
	struct udp_sock *us = udp_of(sk);
	struct cv_endpoint at = *local;
	int ret = bind_check(sk, at.addr);

	if (ret != 0)
		return ret;
	if (sk->family == CV_AF_INET && addr_is_any(at.addr))
		addr_from_v4(at.addr, (const uint8_t[4]){0});
	us->bound_addr = !addr_is_any(at.addr);
	us->bound_port = at.port != 0;
	if (at.port == 0)
		ret = port_choose(sk, &at);
	else if (!port_is_free(udp, sk, &at))
		ret = -CV_EADDRINUSE;
	if (ret != 0)
		return ret;
	sk->local = at;
	sk->status |= CV_ST_BOUND;
	list_add_head(bucket(udp, at.port), &us->port_node);
	sock_event(sk);
	return 0;
}

static int udp_autobind(struct sock *sk)
{
	const struct cv_endpoint any = {0};

	return sk->status & CV_ST_BOUND ? 0 : udp_bind(sk, &any);
}

/* Whether sk may speak to peer at all; the wildcard address becomes what it means. */
static int peer_check(const struct sock *sk, struct cv_endpoint *peer)
{
	const struct engine *e = sk->engine;

	if (sk->family == CV_AF_INET && addr_is_any(peer->addr))
		addr_from_v4(peer->addr, (const uint8_t[4]){0});
	if (addr_is_any(peer->addr))
		ip_self(e, peer->addr);
	if (sk->family == CV_AF_INET && !addr_is_v4(peer->addr))
		return -CV_EAFNOSUPPORT;
	if (sk->v6only && addr_is_v4(peer->addr))
		return -CV_ENETUNREACH;
	if (ip_is_broadcast(e, peer->addr) && !udp_of((struct sock *)(uintptr_t)sk)->broadcast)
		return -CV_EACCES;
	return 0;
}

/* A wildcard of either family is one to choose from: a socket of IPv6 may speak IPv4, too. */
static void source_of(const struct sock *sk, uint8_t src[16])
{
	if (addr_is_any(sk->local.addr))
		memset(src, 0, 16);
	else
		memcpy(src, sk->local.addr, 16);
}

static int udp_connect(struct sock *sk, const struct cv_endpoint *to)
{
	struct udp_sock *us = udp_of(sk);
	struct cv_endpoint peer = *to;
	uint8_t src[16];
	int ret = peer_check(sk, &peer);

	if (ret == 0)
		ret = udp_autobind(sk);
	if (ret != 0)
		return ret;
	memset(&us->path, 0, sizeof(us->path));
	source_of(sk, src);
	ret = ip_path_resolve(sk->engine, &us->path, peer.addr, src);
	if (ret != 0)
		return ret;
	memcpy(sk->local.addr, src, 16);
	sk->peer = peer;
	sk->status |= CV_ST_CONNECTED;
	sock_event(sk);
	return 0;
}

/* What connect chose is given back, what bind said stays (as Linux). */
static int udp_disconnect(struct sock *sk)
{
	struct udp_sock *us = udp_of(sk);

	sk->status &= ~(uint32_t)CV_ST_CONNECTED;
	memset(&sk->peer, 0, sizeof(sk->peer));
	memset(&us->path, 0, sizeof(us->path));
	if (!us->bound_addr) {
		memset(sk->local.addr, 0, 16);
		if (sk->family == CV_AF_INET)
			addr_from_v4(sk->local.addr, (const uint8_t[4]){0});
	}
	if (!us->bound_port) {
		list_del(&us->port_node);
		sk->local.port = 0;
		sk->status &= ~(uint32_t)CV_ST_BOUND;
	}
	sock_event(sk);
	return 0;
}

static void txbuf_detached(void *addr, void *opaque)
{
	struct txbuf *b = opaque;

	(void)addr;
	b->release(b, b->ctx);
}

/* A header mbuf in front of the user's bytes, which are not copied. */
static struct rte_mbuf *udp_build(struct engine *e, struct txbuf *b, uint16_t sport, uint16_t dport)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(e->pkt_pool), *body = NULL;
	struct rte_udp_hdr *h;

	if (m != NULL && b->len > 0)
		body = rte_pktmbuf_alloc(e->pkt_pool);
	if (m == NULL || (b->len > 0 && body == NULL)) {
		e->counters.no_mbuf++;
		rte_pktmbuf_free(m);
		return NULL;
	}
	h = (void *)rte_pktmbuf_append(m, sizeof(*h));
	h->src_port = rte_cpu_to_be_16(sport);
	h->dst_port = rte_cpu_to_be_16(dport);
	h->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*h) + b->len));
	h->dgram_cksum = 0;
	if (body != NULL) {
		b->shinfo.free_cb = txbuf_detached;
		b->shinfo.fcb_opaque = b;
		rte_mbuf_ext_refcnt_set(&b->shinfo, 1);
		rte_pktmbuf_attach_extbuf(body, (void *)(uintptr_t)b->data, RTE_BAD_IOVA,
			(uint16_t)b->len, &b->shinfo);
		body->data_off = 0;
		body->data_len = (uint16_t)b->len;
		body->pkt_len = b->len;
		rte_pktmbuf_chain(m, body);
	}
	return m;
}

/* Linux's IP_PMTUDISC_* */
enum {
	PMTUDISC_DONT,
	PMTUDISC_WANT,
	PMTUDISC_DO,
	PMTUDISC_PROBE,
	PMTUDISC_INTERFACE,
	PMTUDISC_OMIT
};

/* How the path is to be used, and whether len bytes may go along it. */
static int path_prepare(const struct udp_sock *us, struct ip_path *path, bool v4, uint32_t len)
{
	uint32_t most = v4 ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6;
	uint32_t header = v4 ? IP_HEADER_V4 : IP_HEADER_V6;

	len += (uint32_t)sizeof(struct rte_udp_hdr);
	if (len > most)
		return -CV_EMSGSIZE;
	path->may_fragment = us->mtu_discover != PMTUDISC_DO && us->mtu_discover != PMTUDISC_PROBE;
	path->no_df = us->mtu_discover == PMTUDISC_DONT || us->mtu_discover >= PMTUDISC_INTERFACE;
	if (path->may_fragment || path->local)
		return 0;
	return len + header > (us->mtu_discover == PMTUDISC_DO ? path->pmtu : path->mtu)
		       ? -CV_EMSGSIZE
		       : 0;
}

/* The path to an address that is not the peer's, and the source that goes with it. */
static int path_find(
	struct udp_sock *us, const uint8_t dst[16], struct ip_path **path, uint8_t src[16])
{
	struct sock *sk = &us->sk;
	int ret;

	*path = &us->last.path;
	if (ip_path_is_valid(sk->engine, &us->last.path) && addr_equal(us->last.dst, dst) &&
		(addr_is_any(sk->local.addr) || addr_equal(sk->local.addr, us->last.src))) {
		memcpy(src, us->last.src, 16);
		return 0;
	}
	memset(&us->last.path, 0, sizeof(us->last.path));
	source_of(sk, src);
	ret = ip_path_resolve(sk->engine, &us->last.path, dst, src);
	memcpy(us->last.dst, dst, 16);
	memcpy(us->last.src, src, 16);
	return ret;
}

/* Where b goes and from which address; *path stands. */
static int send_prepare(struct sock *sk, const struct txbuf *b, struct ip_path **path,
	struct cv_endpoint *peer, uint8_t src[16])
{
	struct udp_sock *us = udp_of(sk);
	int ret;

	if (!b->has_peer && !(sk->status & CV_ST_CONNECTED))
		return -CV_EDESTADDRREQ;
	if (sk->status & CV_ST_TX_SHUT)
		return -CV_EPIPE;
	*peer = b->has_peer ? b->peer : sk->peer;
	if (peer->port == 0)
		return -CV_EINVAL;
	ret = peer_check(sk, peer);
	if (ret == 0)
		ret = udp_autobind(sk);
	if (ret != 0)
		return ret;
	if (b->has_peer) {
		ret = path_find(us, peer->addr, path, src);
	} else {
		*path = &us->path;
		source_of(sk, src);
		ret = ip_path_resolve(sk->engine, &us->path, peer->addr, src);
	}
	return ret != 0 ? ret : path_prepare(us, *path, addr_is_v4(peer->addr), b->len);
}

static int udp_send(struct sock *sk, struct txbuf *b)
{
	struct udp_sock *us = udp_of(sk);
	struct engine *e = sk->engine;
	struct ip_path *path;
	struct cv_endpoint peer;
	uint32_t len = b->len;
	uint8_t src[16], ttl;
	struct rte_mbuf *m;
	int ret = send_prepare(sk, b, &path, &peer, src);

	if (ret != 0)
		return ret;
	m = udp_build(e, b, sk->local.port, peer.port);
	if (m == NULL)
		return -CV_ENOBUFS;
	e->counters.udp_out++;
	sk->tx_taken += len;
	sk->tx_acked += len;
	sock_event(sk);
	ttl = addr_is_multicast(peer.addr) ? UDP_MULTICAST_TTL : us->ttl;
	ret = ip_output(e, path, m, IPPROTO_UDP, us->tos, ttl, src, peer.addr, UDP_CKSUM_OFF);
	if (len == 0)
		b->release(b, b->ctx);
	(void)ret; /* a datagram that was lost after this point was lost on the way */
	return 0;
}

static void udp_shutdown_wr(struct sock *sk)
{
	sk->status |= CV_ST_TX_SHUT;
	sock_event(sk);
}

static void udp_close(struct sock *sk, bool abort)
{
	struct engine *e = sk->engine;

	(void)abort;
	list_del(&udp_of(sk)->port_node);
	sock_fini(sk);
	pool_put(&e->udp->socks, udp_of(sk));
}

static int int_option(struct udp_sock *us, enum cv_option opt, int *value, bool set)
{
	struct sock *sk = &us->sk;

#define FIELD(field, type)                                                                         \
	do {                                                                                       \
		if (set)                                                                           \
			(field) = (type)*value;                                                    \
		*value = (int)(field);                                                             \
		return 0;                                                                          \
	} while (0)
	switch ((unsigned)opt) {
	case CV_OPT_SNDBUF:
		FIELD(sk->sndbuf, uint32_t);
	case CV_OPT_RCVBUF:
		FIELD(sk->rcvbuf, uint32_t);
	case CV_OPT_BROADCAST:
		FIELD(us->broadcast, bool);
	case CV_OPT_TOS:
	case CV_OPT_TCLASS:
		FIELD(us->tos, uint8_t);
	case CV_OPT_TTL:
	case CV_OPT_UNICAST_HOPS:
		if (set && (*value < -1 || *value > 255 || *value == 0))
			return -CV_EINVAL;
		if (set && *value == -1)
			*value = IP_TTL_DEFAULT;
		FIELD(us->ttl, uint8_t);
	case CV_OPT_MTU_DISCOVER:
		if (set && (*value < PMTUDISC_DONT || *value > PMTUDISC_OMIT))
			return -CV_EINVAL;
		FIELD(us->mtu_discover, uint8_t);
	case CV_OPT_MTU:
		if (set)
			return -CV_ENOPROTOOPT;
		if (!(sk->status & CV_ST_CONNECTED))
			return -CV_ENOTCONN;
		*value = us->path.pmtu;
		return 0;
	default:
		return -CV_ENOPROTOOPT;
	}
#undef FIELD
}

static int udp_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len)
{
	int v;

	if (len < sizeof(v))
		return -CV_EINVAL;
	memcpy(&v, value, sizeof(v));
	return int_option(udp_of(sk), opt, &v, true);
}

static int udp_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len)
{
	int v = 0, ret = int_option(udp_of(sk), opt, &v, false);

	if (ret != 0)
		return ret;
	if (*len > sizeof(v))
		*len = sizeof(v);
	memcpy(value, &v, *len);
	return 0;
}

static void udp_output_nothing(struct sock *sk)
{
	(void)sk; /* datagrams leave at once */
}

static const struct sock_proto udp_proto = {
	.name = "udp",
	.bind = udp_bind,
	.connect = udp_connect,
	.disconnect = udp_disconnect,
	.send = udp_send,
	.shutdown_wr = udp_shutdown_wr,
	.close = udp_close,
	.setopt = udp_setopt,
	.getopt = udp_getopt,
	.output = udp_output_nothing,
};

int udp_open(struct engine *e, uint8_t family, struct sock **out)
{
	struct udp_sock *us = pool_get(&e->udp->socks);

	if (us == NULL)
		return -CV_ENOBUFS;
	memset(us, 0, sizeof(*us));
	sock_init(&us->sk, e, &udp_proto, family, CV_DGRAM);
	list_init(&us->port_node);
	us->ttl = IP_TTL_DEFAULT;
	us->mtu_discover = PMTUDISC_WANT;
	*out = &us->sk;
	return 0;
}

/* How well a socket fits a datagram: 0 not at all; a peer counts more than an address. */
static unsigned score(
	const struct sock *sk, const struct cv_endpoint *src, const struct cv_endpoint *dst)
{
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
	return points;
}

/* Among equals that share by SO_REUSEPORT the sender decides, so that its datagrams stay together.
 */
static struct sock *udp_find(
	struct udp *udp, const struct cv_endpoint *src, const struct cv_endpoint *dst)
{
	struct sock *best = NULL;
	unsigned most = 0, twins = 0;
	uint32_t pick = (src->port + (uint32_t)src->addr[15] * 251u) * 0x9e3779b1u >> 8;

	list_for_each (node, bucket(udp, dst->port)) {
		struct sock *sk = &list_entry(node, struct udp_sock, port_node)->sk;
		unsigned points = score(sk, src, dst);

		if (points == 0 || points < most)
			continue;
		twins = points > most ? 1 : twins + 1;
		if (points > most || (sk->reuseport && pick % twins == 0))
			best = sk;
		most = points;
	}
	return best;
}

static void udp_deliver(struct engine *e, struct sock *sk, struct rte_mbuf *m)
{
	uint64_t held =
		(uint64_t)sk->rxq_bytes + sk->rx_lent + (uint64_t)sk->rxq.n * UDP_DATAGRAM_COST;

	if (held + rte_pktmbuf_pkt_len(m) > sk->rcvbuf || sock_rx_refuse(sk)) {
		e->counters.udp_queue_full++;
		rte_pktmbuf_free(m);
		return;
	}
	e->counters.udp_in++;
	sock_rx_queue(sk, m);
}

static void udp_input_one(struct engine *e, struct rte_mbuf *m)
{
	const struct rte_udp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_udp_hdr *);
	struct pkt *p = pkt_of(m);
	uint16_t len;
	struct sock *sk;

	if (rte_pktmbuf_data_len(m) < sizeof(*h) ||
		(len = rte_be_to_cpu_16(h->dgram_len)) < sizeof(*h) ||
		len > rte_pktmbuf_pkt_len(m)) {
		e->counters.drop_l4_header++;
		rte_pktmbuf_free(m);
		return;
	}
	p->src.port = rte_be_to_cpu_16(h->src_port);
	p->dst.port = rte_be_to_cpu_16(h->dst_port);
	sk = udp_find(e->udp, &p->src, &p->dst);
	if (sk == NULL) {
		e->counters.udp_no_port++;
		icmp_send_port_unreachable(e, m);
		rte_pktmbuf_free(m);
		return;
	}
	if (rte_pktmbuf_pkt_len(m) > len)
		pkt_cut_back(m, rte_pktmbuf_pkt_len(m) - len);
	pkt_cut_front(m, sizeof(*h));
	udp_deliver(e, sk, m);
}

void udp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		udp_input_one(e, pkts[i]);
}

/* Only a connected socket is told, and of what will not pass (udp(7)); every one of ours is reason
 * enough to believe that the path has become narrow. */
void udp_icmp_error(struct engine *e, const struct icmp_error *err)
{
	struct sock *sk = udp_find(e->udp, &err->peer, &err->local);

	if (sk == NULL)
		return;
	if (err->mtu != 0)
		ip_pmtu_learn(e, err->peer.addr, err->mtu);
	if ((sk->status & CV_ST_CONNECTED) &&
		(err->hard || (err->mtu != 0 && udp_of(sk)->mtu_discover != PMTUDISC_DONT)))
		sock_set_error(sk, err->error);
}

int udp_init(struct engine *e)
{
	struct udp *udp = calloc(1, sizeof(*udp));

	if (udp == NULL)
		return -CV_ENOMEM;
	if (pool_init(&udp->socks, sizeof(struct udp_sock), e->config.udp_max) != 0) {
		free(udp);
		return -CV_ENOMEM;
	}
	for (unsigned i = 0; i < UDP_BUCKETS; i++)
		list_init(&udp->buckets[i]);
	e->udp = udp;
	return 0;
}

void udp_fini(struct engine *e)
{
	if (e->udp == NULL)
		return;
	for (unsigned i = 0; i < UDP_BUCKETS; i++) {
		list_for_each (node, &e->udp->buckets[i])
			pktq_free_all(&list_entry(node, struct udp_sock, port_node)->sk.rxq);
	}
	pool_fini(&e->udp->socks);
	free(e->udp);
	e->udp = NULL;
}

uint32_t udp_count(const struct engine *e)
{
	return e->udp->socks.used;
}
