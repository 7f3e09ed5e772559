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

static bool overlaps(const struct sock *a, const struct cv_endpoint *b)
{
	return addr_is_any(a->local.addr) || addr_is_any(b->addr) ||
		addr_equal(a->local.addr, b->addr);
}

/* Two sockets may share an address when both ask for it: socket(7), SO_REUSEADDR and SO_REUSEPORT. */
static bool port_is_free(struct udp *udp, const struct sock *sk, const struct cv_endpoint *local)
{
	list_for_each(node, bucket(udp, local->port)) {
		const struct sock *other = &list_entry(node, struct udp_sock, port_node)->sk;

		if (other == sk || other->local.port != local->port || !overlaps(other, local))
			continue;
		if ((other->reuseaddr && sk->reuseaddr) || (other->reuseport && sk->reuseport))
			continue;
		return false;
	}
	return true;
}

static int udp_bind(struct sock *sk, const struct cv_endpoint *local)
{
	struct udp *udp = sk->engine->udp;
	struct cv_endpoint at = *local;

	if (sk->status & CV_ST_BOUND)
		return -CV_EINVAL;
	if (!addr_is_any(at.addr) && !ip_is_local(sk->engine, at.addr) &&
		!addr_is_multicast(at.addr) && !addr_is_broadcast(at.addr))
		return -CV_EADDRNOTAVAIL;
	if (at.port == 0) {
		uint32_t start = (uint32_t)sk->engine->env.random64(sk->engine->env.ctx);
		uint32_t i;

		for (i = 0; i < UDP_EPHEMERAL_N; i++) {
			at.port = (uint16_t)(UDP_EPHEMERAL_LOW + (start + i) % UDP_EPHEMERAL_N);
			if (port_is_free(udp, sk, &at))
				break;
		}
		if (i == UDP_EPHEMERAL_N)
			return -CV_EADDRINUSE;
	} else if (!port_is_free(udp, sk, &at)) {
		return -CV_EADDRINUSE;
	}
	sk->local = at;
	sk->status |= CV_ST_BOUND;
	list_add_head(bucket(udp, at.port), &udp_of(sk)->port_node);
	sock_event(sk);
	return 0;
}

static int udp_autobind(struct sock *sk)
{
	struct cv_endpoint any = {0};

	if (sk->status & CV_ST_BOUND)
		return 0;
	addr_from_v4(any.addr, (const uint8_t[4]){0});
	return udp_bind(sk, &any);
}

static int udp_connect(struct sock *sk, const struct cv_endpoint *peer)
{
	struct udp_sock *us = udp_of(sk);
	int ret;

	ret = udp_autobind(sk);
	if (ret != 0)
		return ret;
	memset(&us->path, 0, sizeof(us->path));
	ret = ip_path_resolve(sk->engine, &us->path, peer->addr, sk->local.addr);
	if (ret != 0)
		return ret;
	sk->peer = *peer;
	sk->status |= CV_ST_CONNECTED;
	sock_event(sk);
	return 0;
}

static int udp_disconnect(struct sock *sk)
{
	sk->status &= ~(uint32_t)CV_ST_CONNECTED;
	memset(&sk->peer, 0, sizeof(sk->peer));
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

static int udp_send(struct sock *sk, struct txbuf *b)
{
	struct udp_sock *us = udp_of(sk);
	struct engine *e = sk->engine;
	const struct cv_endpoint *peer = b->has_peer ? &b->peer : &sk->peer;
	struct ip_path other = {0}, *path = b->has_peer ? &other : &us->path;
	uint32_t len = b->len;
	uint8_t src[16];
	struct rte_mbuf *m;
	int ret;

	if (!b->has_peer && !(sk->status & CV_ST_CONNECTED))
		return -CV_EDESTADDRREQ;
	if (sk->status & CV_ST_TX_SHUT)
		return -CV_EPIPE;
	if (addr_is_broadcast(peer->addr) && !us->broadcast)
		return -CV_EACCES;
	ret = udp_autobind(sk);
	if (ret != 0)
		return ret;
	memcpy(src, sk->local.addr, 16);
	ret = ip_path_resolve(e, path, peer->addr, src);
	if (ret != 0)
		return ret;
	if (len + sizeof(struct rte_udp_hdr) + IP_HEADER_V4 > path->mtu)
		return -CV_EMSGSIZE;
	m = udp_build(e, b, sk->local.port, peer->port);
	if (m == NULL)
		return -CV_ENOBUFS;
	e->counters.udp_out++;
	sk->tx_taken += len;
	sk->tx_acked += len;
	sock_event(sk);
	ret = ip_output(e, path, m, IPPROTO_UDP, us->tos, us->ttl, src, peer->addr, UDP_CKSUM_OFF);
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
	*out = &us->sk;
	return 0;
}

/* How well a socket fits a datagram: 0 not at all; a peer counts more than an address. */
static unsigned score(const struct sock *sk, const struct cv_endpoint *src,
	const struct cv_endpoint *dst)
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
	if (sk->family == CV_AF_INET6 && sk->v6only && addr_is_v4(dst->addr))
		return 0;
	if (sk->family == CV_AF_INET && !addr_is_v4(dst->addr))
		return 0;
	return points;
}

static struct sock *udp_find(
	struct udp *udp, const struct cv_endpoint *src, const struct cv_endpoint *dst)
{
	struct sock *best = NULL;
	unsigned most = 0;

	list_for_each(node, bucket(udp, dst->port)) {
		struct sock *sk = &list_entry(node, struct udp_sock, port_node)->sk;
		unsigned points = score(sk, src, dst);

		if (points > most) {
			most = points;
			best = sk;
		}
	}
	return best;
}

static void udp_deliver(struct engine *e, struct sock *sk, struct rte_mbuf *m)
{
	uint64_t held = (uint64_t)sk->rxq_bytes + sk->rx_lent + (uint64_t)sk->rxq.n * UDP_DATAGRAM_COST;

	if (held + rte_pktmbuf_pkt_len(m) > sk->rcvbuf) {
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
		rte_pktmbuf_trim(m, (uint16_t)(rte_pktmbuf_pkt_len(m) - len));
	rte_pktmbuf_adj(m, sizeof(*h));
	udp_deliver(e, sk, m);
}

void udp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		udp_input_one(e, pkts[i]);
}

/* Only a connected socket is told (udp(7)). */
void udp_icmp_error(struct engine *e, const struct icmp_error *err)
{
	struct sock *sk = udp_find(e->udp, &err->peer, &err->local);

	if (sk != NULL && (sk->status & CV_ST_CONNECTED) && err->hard)
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
		list_for_each(node, &e->udp->buckets[i])
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
