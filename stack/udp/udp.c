/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol as a whole, and the life of its sockets; see udp.h. */
#include <stdlib.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/udp/priv.h"

/* A socket with a peer among others that share its port on several workers: its datagrams are ours wherever they hash;
 * what is sent to many comes to all workers in any case. */
static int pin(struct udp_sock *us, const uint8_t src[16], const struct cv_endpoint *peer, bool *pinned)
{
	struct engine *e = us->sk.engine;
	struct cv_endpoint local = us->sk.local;

	if (cv_likely(e->crew == NULL) || !crew_udp_is_spread(e, local.port) || udp_is_bound_to_many(&us->sk))
		return 0;
	memcpy(local.addr, src, 16);
	if (!crew_udp_pin(e, &local, peer))
		return -CV_ENOBUFS;
	*pinned = true;
	return 0;
}

static void unpin(struct udp_sock *us)
{
	if (us->flags & UDP_PINNED)
		crew_udp_unpin(us->sk.engine, &us->sk.local, &us->sk.peer);
	us->flags &= ~(uint32_t)UDP_PINNED;
}

static int udp_connect(struct sock *sk, const struct cv_endpoint *to)
{
	struct udp_sock *us = udp_of(sk);
	struct cv_endpoint peer = *to;
	struct ip_path path = {0};
	uint32_t ifindex = us->device;
	bool pinned = false;
	uint8_t src[16];
	int ret = udp_peer_check(sk, &peer);

	if (ret == 0)
		ret = udp_autobind_towards(sk, &peer);
	if (ret != 0)
		return ret;
	memset(&us->peer, 0, sizeof(us->peer));
	memset(&us->last, 0, sizeof(us->last));
	udp_source_of(sk, src);
	if (ifindex == 0 && addr_is_multicast(peer.addr))
		ifindex = mcast_out(us->mcast, addr_is_v4(peer.addr)).ifindex;
	ret = ip_path_resolve_via(sk->engine, &path, peer.addr, src, ifindex);
	if (ret == 0)
		ret = pin(us, src, &peer, &pinned);
	if (ret != 0)
		return ret; /* it has the peer that it had */
	unpin(us);
	us->flags |= pinned ? UDP_PINNED : 0;
	us->peer.path = path;
	if (!udp_is_bound_to_many(sk))
		memcpy(sk->local.addr, src, 16);
	sk->peer = peer;
	sk->status |= CV_ST_CONNECTED;
	if (us->flags & UDP_PINNED)
		udp_port_tell(sk->engine, sk->local.port);
	sock_event(sk);
	return 0;
}

/* What connect chose is given back, what bind said stays (as Linux). */
static int udp_disconnect(struct sock *sk)
{
	struct udp_sock *us = udp_of(sk);
	uint16_t port = sk->local.port;

	unpin(us);
	sk->status &= ~(uint32_t)CV_ST_CONNECTED;
	memset(&sk->peer, 0, sizeof(sk->peer));
	memset(&us->peer, 0, sizeof(us->peer));
	memset(&us->last, 0, sizeof(us->last));
	if (!(us->flags & UDP_BOUND_ADDR))
		udp_any(sk->family, sk->local.addr);
	if (!(us->flags & UDP_BOUND_PORT)) {
		list_del(&us->port_node);
		sk->local.port = 0;
		sk->status &= ~(uint32_t)CV_ST_BOUND;
	}
	udp_port_tell(sk->engine, port);
	sock_event(sk);
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
	struct udp_sock *us = udp_of(sk);

	(void)abort;
	udp_cork_drop(us);
	mcast_sock_end(e, &us->mcast);
	unpin(us);
	list_del(&us->port_node);
	if (sk->status & CV_ST_BOUND)
		udp_port_tell(e, sk->local.port);
	udp_errors_drop(us);
	sock_fini(sk);
	pool_put(&e->udp->socks, us);
}

static void udp_output_nothing(struct sock *sk)
{
	(void)sk; /* datagrams leave at once */
}

static uint16_t udp_device(const struct sock *sk)
{
	return udp_of((struct sock *)(uintptr_t)sk)->device;
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
	.rx_extra = udp_rx_extra,
	.device = udp_device,
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
	list_init(&us->corked);
	pktq_init(&us->errors);
	us->ttl = IP_TTL_DEFAULT;
	us->hops = -1;
	us->mtu_discover = us->mtu_discover6 = PMTUDISC_WANT;
	*out = &us->sk;
	return 0;
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
	udp->key.k0 = e->env.random64(e->env.ctx);
	udp->key.k1 = e->env.random64(e->env.ctx);
	e->udp = udp;
	return 0;
}

void udp_fini(struct engine *e)
{
	if (e->udp == NULL)
		return;
	for (unsigned i = 0; i < UDP_BUCKETS; i++) {
		list_for_each (node, &e->udp->buckets[i]) {
			struct udp_sock *us = list_entry(node, struct udp_sock, port_node);

			pktq_free_all(&us->sk.rxq);
			pktq_free_all(&us->errors);
		}
	}
	pool_fini(&e->udp->socks);
	free(e->udp);
	e->udp = NULL;
}

uint32_t udp_count(const struct engine *e)
{
	return e->udp->socks.used;
}
