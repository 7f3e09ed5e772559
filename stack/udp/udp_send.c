/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way out: how a datagram is to leave (socket options, control messages, routes), corked ones that are made of
 * several sends, and large ones that are cut into many (UDP_SEGMENT). Errors are Linux's, as udp_sendmsg() returns
 * them. The user's bytes are attached, not copied.
 */
#include <netinet/in.h>
#include <string.h>
#include <rte_udp.h>

#include "stack/base/addr.h"
#include "stack/udp/priv.h"

#define UDP_CKSUM_OFF 6
#define UDP_PLAIN_MAX 65507u  /* longer ones are IPv6's, or an error */
#define UDP_SEGMENTS_MAX 128u /* Linux's UDP_MAX_SEGMENTS */

int udp_peer_check(struct sock *sk, struct cv_endpoint *peer)
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
	if (ip_is_broadcast(e, peer->addr) && !(udp_of(sk)->flags & UDP_BROADCAST))
		return -CV_EACCES;
	return 0;
}

bool udp_is_bound_to_many(const struct sock *sk)
{
	return addr_is_multicast(sk->local.addr) || ip_is_broadcast(sk->engine, sk->local.addr);
}

void udp_source_of(const struct sock *sk, uint8_t src[16])
{
	if (addr_is_any(sk->local.addr) || udp_is_bound_to_many(sk))
		memset(src, 0, 16);
	else
		memcpy(src, sk->local.addr, 16);
}

/* The path to an address that is not the peer's, and the source that goes with it. */
static int path_find(struct udp_sock *us, struct udp_how *how, uint16_t ifindex)
{
	struct engine *e = us->sk.engine;
	bool any = addr_is_any(how->src);
	int ret;

	how->by = &us->last.to;
	if (ip_path_is_valid(e, &us->last.to.path) && addr_equal(us->last.dst, how->to.addr) &&
		us->last.ifindex == ifindex &&
		(any ? us->last.src_chosen : addr_equal(us->last.src, how->src))) {
		memcpy(how->src, us->last.src, 16);
		return 0;
	}
	memset(&us->last.to, 0, sizeof(us->last.to));
	ret = ip_path_resolve_via(e, &us->last.to.path, how->to.addr, how->src, ifindex);
	memcpy(us->last.dst, how->to.addr, 16);
	memcpy(us->last.src, how->src, 16);
	us->last.src_chosen = any;
	us->last.ifindex = ifindex;
	return ret;
}

/* What the program said of this one datagram. */
static int with_apply(struct udp_sock *us, const struct cv_send_with *with, struct udp_how *how,
	uint16_t *ifindex)
{
	const struct engine *e = us->sk.engine;

	if (with->what & CV_WITH_TTL)
		how->ttl = with->ttl;
	if (with->what & CV_WITH_TOS)
		how->tos = with->tos;
	if (with->what & CV_WITH_SEGMENT)
		how->segment = with->segment;
	if (with->what & CV_WITH_IFINDEX) {
		if (us->device != 0 && us->device != with->ifindex)
			return -CV_EINVAL;
		*ifindex = with->ifindex;
	}
	if ((with->what & CV_WITH_SOURCE) && !addr_is_any(with->source)) {
		if (!ip_is_local(e, with->source))
			return addr_is_v4(with->source) ? -CV_ENETUNREACH : -CV_EINVAL;
		memcpy(how->src, with->source, 16);
	}
	return 0;
}

/* To a group: its own TTL, perhaps its own port, and whether members here hear it. */
static int group_path(struct udp_sock *us, struct udp_how *how, const struct cv_send_with *with, uint16_t ifindex)
{
	struct mcast_out out = mcast_out(us->mcast, addr_is_v4(how->to.addr));
	int ret;

	if (with == NULL || !(with->what & CV_WITH_TTL))
		how->ttl = out.ttl;
	ret = path_find(us, how, ifindex != 0 ? ifindex : out.ifindex);
	how->by->path.no_loop = !out.loop;
	return ret;
}

/* The way to one host. */
static int host_path(struct udp_sock *us, const struct txbuf *b, struct udp_how *how, uint16_t ifindex)
{
	bool any_hops = us->hops < 0 && !(b->with != NULL && (b->with->what & CV_WITH_TTL));
	int ret;

	if (b->has_peer || (b->with != NULL && (b->with->what & (CV_WITH_SOURCE | CV_WITH_IFINDEX)))) {
		ret = path_find(us, how, ifindex);
	} else {
		how->by = &us->peer;
		ret = ip_path_resolve_via(us->sk.engine, &us->peer.path, how->to.addr, how->src, ifindex);
	}
	if (ret == 0 && any_hops && !addr_is_v4(how->to.addr))
		how->ttl = ip_hops(&how->by->path, how->to.addr);
	return ret;
}

static int how_path(struct udp_sock *us, const struct txbuf *b, struct udp_how *how)
{
	uint16_t ifindex = us->device;
	int ret = 0;

	udp_source_of(&us->sk, how->src);
	if (cv_unlikely(b->with != NULL))
		ret = with_apply(us, b->with, how, &ifindex);
	if (ret != 0)
		return ret;
	if (cv_unlikely(addr_is_multicast(how->to.addr)))
		return group_path(us, how, b->with, ifindex);
	return host_path(us, b, how, ifindex);
}

/* Where b goes, from which address, and with what in its headers. */
static int how_make(struct udp_sock *us, const struct txbuf *b, struct udp_how *how)
{
	struct sock *sk = &us->sk;
	int ret = 0;
	bool v4;

	if (!b->has_peer && !(sk->status & CV_ST_CONNECTED))
		return -CV_EDESTADDRREQ;
	if (sk->status & CV_ST_TX_SHUT)
		return -CV_EPIPE;
	how->to = b->has_peer ? b->peer : sk->peer;
	if (b->has_peer) /* else connect has asked */
		ret = how->to.port != 0 ? udp_peer_check(sk, &how->to) : -CV_EINVAL;
	if (ret == 0)
		ret = udp_autobind(sk);
	if (ret != 0)
		return ret;
	v4 = addr_is_v4(how->to.addr);
	how->tos = v4 ? us->tos : us->tclass;
	how->ttl = v4 ? us->ttl : (uint8_t)us->hops;
	how->segment = us->segment;
	return how_path(us, b, how);
}

/* Whether a datagram of len bytes, or those that it is cut into, may go along the path, and how the path is used. */
static int path_prepare(struct udp_sock *us, const struct udp_how *how, const struct txbuf *b, uint32_t len)
{
	struct ip_path *path = &how->by->path;
	bool v4 = addr_is_v4(how->to.addr);
	uint8_t discover = v4 ? us->mtu_discover : us->mtu_discover6;
	uint32_t most = v4 ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6;
	uint32_t header = (v4 ? IP_HEADER_V4 : IP_HEADER_V6) + UDP_HEADER_BYTES;
	bool whole = us->flags & UDP_DONTFRAG6 && !v4;
	uint32_t mtu;

	if (len + UDP_HEADER_BYTES > most)
		return -CV_EMSGSIZE;
	if (b != NULL && b->with != NULL && (b->with->what & CV_WITH_DONTFRAG))
		whole = b->with->dontfrag;
	path->may_fragment = discover != PMTUDISC_DO && discover != PMTUDISC_PROBE;
	path->no_df =
		discover == PMTUDISC_DONT || discover >= PMTUDISC_INTERFACE || (discover == PMTUDISC_WANT && path->cut);
	if (cv_likely(path->may_fragment && !whole && how->segment == 0))
		return 0;
	mtu = discover == PMTUDISC_PROBE || discover >= PMTUDISC_INTERFACE ? path->mtu : path->pmtu;
	if (how->segment != 0 && len > how->segment) {
		if (how->segment + header > mtu)
			return -CV_EMSGSIZE;
		return len > how->segment * UDP_SEGMENTS_MAX ? -CV_EINVAL : 0;
	}
	if ((path->may_fragment && !whole) || path->local || len + header <= mtu)
		return 0;
	udp_error_local(us, CV_EMSGSIZE, &how->to, mtu);
	return -CV_EMSGSIZE;
}

static void txbuf_detached(void *addr, void *opaque)
{
	struct txbuf *b = opaque;

	(void)addr;
	b->release(b, b->ctx);
}

static void txbuf_begin(struct txbuf *b)
{
	b->shinfo.free_cb = txbuf_detached;
	b->shinfo.fcb_opaque = b;
	rte_mbuf_ext_refcnt_set(&b->shinfo, 1);
}

/* len bytes of b from off on, behind m; the caller has counted the reference. */
static bool body_attach(struct engine *e, struct rte_mbuf *m, struct txbuf *b, uint32_t off, uint32_t len)
{
	struct rte_mbuf *body = rte_pktmbuf_alloc(e->pkt_pool);

	if (body == NULL) {
		e->counters.no_mbuf++;
		return false;
	}
	rte_pktmbuf_attach_extbuf(
		body, (void *)(uintptr_t)(b->data + off), RTE_BAD_IOVA, (uint16_t)len, &b->shinfo);
	body->data_off = 0;
	body->data_len = (uint16_t)len;
	body->pkt_len = len;
	rte_pktmbuf_chain(m, body);
	return true;
}

static inline void header_fill(struct rte_mbuf *m, uint16_t sport, uint16_t dport, uint32_t len)
{
	struct rte_udp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof(*h));

	h->src_port = rte_cpu_to_be_16(sport);
	h->dst_port = rte_cpu_to_be_16(dport);
	h->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*h) + len));
	h->dgram_cksum = 0;
}

/* A header for len bytes. */
static struct rte_mbuf *header_make(struct engine *e, uint16_t sport, uint16_t dport, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(e->pkt_pool);

	if (m == NULL)
		e->counters.no_mbuf++;
	else
		header_fill(m, sport, dport, len);
	return m;
}

/* What is lost from here on was lost on the way. */
static void datagram_out(struct udp_sock *us, const struct udp_how *how, struct rte_mbuf *m)
{
	struct engine *e = us->sk.engine;

	e->counters.udp_out++;
	(void)ip_output(e, &how->by->path, m, IPPROTO_UDP, how->tos, how->ttl, how->src, how->to.addr, UDP_CKSUM_OFF);
}

/* --- several buffers, or several datagrams ----------------------------------------------------- */

struct cursor {
	struct list *node;
	uint32_t off; /* in that buffer */
};

/* The next len bytes of the buffers as one datagram; NULL without memory. */
static struct rte_mbuf *piece_build(
	struct udp_sock *us, const struct udp_how *how, struct cursor *at, uint32_t len)
{
	struct engine *e = us->sk.engine;
	struct rte_mbuf *m = header_make(e, us->sk.local.port, how->to.port, len);

	while (m != NULL && len > 0) {
		struct txbuf *b = list_entry(at->node, struct txbuf, node);
		uint32_t n = b->len - at->off < len ? b->len - at->off : len;

		txbuf_get(b);
		if (!body_attach(e, m, b, at->off, n)) {
			txbuf_put(b);
			rte_pktmbuf_free(m);
			return NULL;
		}
		at->off += n;
		len -= n;
		if (at->off == b->len) {
			at->node = at->node->next;
			at->off = 0;
		}
	}
	return m;
}

/* All of the buffers, in datagrams of how->segment bytes, or in one. Each buffer is given up. */
static int pieces_out(struct udp_sock *us, const struct udp_how *how, struct list *bufs, uint32_t total)
{
	uint32_t each = how->segment != 0 && how->segment < total ? how->segment : total, done = 0;
	struct cursor at = {bufs->next, 0};
	struct list *node;
	int ret = 0;

	do {
		uint32_t n = total - done < each ? total - done : each;
		struct rte_mbuf *m = piece_build(us, how, &at, n);

		if (m == NULL) {
			ret = done == 0 ? -CV_ENOBUFS : 0;
			break;
		}
		datagram_out(us, how, m);
		done += n;
	} while (done < total);
	while ((node = list_pop(bufs)) != NULL)
		txbuf_put(list_entry(node, struct txbuf, node));
	return ret;
}

static void taken(struct udp_sock *us, uint32_t len)
{
	us->sk.tx_taken += len;
	us->sk.tx_acked += len;
	sock_event(&us->sk);
}

static int segments_out(struct udp_sock *us, const struct udp_how *how, struct txbuf *b)
{
	uint32_t len = b->len;
	struct list bufs;

	txbuf_begin(b);
	list_init(&bufs);
	list_add_tail(&bufs, &b->node);
	(void)pieces_out(us, how, &bufs, len);
	taken(us, len);
	return 0;
}

/* --- corked ------------------------------------------------------------------------------------ */

void udp_cork_drop(struct udp_sock *us)
{
	struct list *node;

	while ((node = list_pop(&us->corked)) != NULL)
		txbuf_put(list_entry(node, struct txbuf, node));
	us->corked_bytes = 0;
	us->corked_how.by = NULL;
}

int udp_uncork(struct udp_sock *us)
{
	struct udp_how how = us->corked_how;
	struct udp_path by = {0}; /* the socket's may lead to another peer by now */
	uint32_t total = us->corked_bytes;
	int ret;

	if (how.by == NULL)
		return 0;
	how.by = &by;
	ret = ip_path_resolve_via(us->sk.engine, &by.path, how.to.addr, how.src, us->corked_ifindex);
	by.path.no_loop = us->corked_no_loop;
	if (ret == 0)
		ret = path_prepare(us, &how, NULL, total);
	if (ret == 0)
		ret = pieces_out(us, &how, &us->corked, total);
	udp_cork_drop(us);
	sock_event(&us->sk);
	return ret;
}

static int cork_append(struct udp_sock *us, struct txbuf *b)
{
	bool v4 = addr_is_v4(us->corked_how.to.addr), last = !(b->flags & CV_F_MORE) && !(us->flags & UDP_CORK);
	uint32_t most = v4 ? IP_PAYLOAD_MAX_V4 : IP_PAYLOAD_MAX_V6;

	if (us->corked_bytes + b->len + UDP_HEADER_BYTES > most) {
		udp_cork_drop(us);
		return -CV_EMSGSIZE;
	}
	taken(us, b->len); /* the next send may only come when there is room for it, and takes these along */
	us->corked_bytes += b->len;
	txbuf_begin(b);
	if (b->len > 0)
		list_add_tail(&us->corked, &b->node);
	else
		txbuf_put(b);
	if (last) {
		int ret = udp_uncork(us);

		if (ret != 0) /* the buffer is not the caller's any more: told at the next call */
			sock_set_error(&us->sk, (enum cv_error)-ret);
	}
	return 0;
}

/* The first part says where all go, as on Linux. */
static int cork_begin(struct udp_sock *us, const struct udp_how *how, struct txbuf *b)
{
	const struct ip_path *path = &how->by->path;

	us->corked_how = *how;
	us->corked_ifindex = path->port != NULL ? path->port->ifindex : 0;
	us->corked_no_loop = path->no_loop;
	return cork_append(us, b);
}

/* --- one buffer, one datagram: nearly all -------------------------------------------------------- */

/* A header for b's bytes, and the bytes behind it. */
static inline struct rte_mbuf *whole_build(struct engine *e, struct txbuf *b, uint16_t sport, uint16_t dport)
{
	struct rte_mbuf *m[2];

	if (cv_unlikely(b->len == 0))
		return header_make(e, sport, dport, 0);
	if (cv_unlikely(rte_pktmbuf_alloc_bulk(e->pkt_pool, m, 2) != 0)) {
		e->counters.no_mbuf++;
		return NULL;
	}
	header_fill(m[0], sport, dport, b->len);
	txbuf_begin(b);
	rte_pktmbuf_attach_extbuf(
		m[1], (void *)(uintptr_t)b->data, RTE_BAD_IOVA, (uint16_t)b->len, &b->shinfo);
	m[1]->data_off = 0;
	m[1]->data_len = (uint16_t)b->len;
	m[0]->next = m[1];
	m[0]->nb_segs = 2;
	m[0]->pkt_len += b->len;
	return m[0];
}

static inline int whole_out(struct udp_sock *us, const struct udp_path *by, const uint8_t src[16],
	const struct cv_endpoint *to, struct txbuf *b)
{
	struct engine *e = us->sk.engine;
	uint32_t len = b->len;
	struct rte_mbuf *m = whole_build(e, b, us->sk.local.port, to->port);

	if (m == NULL)
		return -CV_ENOBUFS;
	taken(us, len);
	e->counters.udp_out++;
	(void)ip_output(e, &by->path, m, IPPROTO_UDP, by->tos, by->ttl, src, to->addr, UDP_CKSUM_OFF);
	if (len == 0)
		b->release(b, b->ctx);
	return 0;
}

/* The way that the last datagram to the same address took, when nothing is to be asked again; NULL: it is. */
static inline const struct udp_path *way_known(const struct udp_sock *us, const struct txbuf *b)
{
	const struct udp_path *by = b->has_peer ? &us->last.to : &us->peer;

	if (!by->plain || !ip_path_is_valid(us->sk.engine, &by->path) || b->with != NULL ||
		(b->flags & CV_F_MORE) || b->len > UDP_PLAIN_MAX || (us->sk.status & CV_ST_TX_SHUT))
		return NULL;
	if (b->has_peer && (!addr_equal(us->last.dst, b->peer.addr) || b->peer.port == 0))
		return NULL;
	return by;
}

static int send_asking(struct udp_sock *us, struct txbuf *b)
{
	struct udp_how how;
	int ret;

	if (us->corked_how.by != NULL)
		return cork_append(us, b);
	ret = how_make(us, b, &how);
	if (ret != 0)
		return ret;
	how.by->plain = false;
	if ((us->flags & UDP_CORK) || (b->flags & CV_F_MORE)) {
		return cork_begin(us, &how, b);
	}
	ret = path_prepare(us, &how, b, b->len);
	if (ret != 0)
		return ret;
	how.by->tos = how.tos;
	how.by->ttl = how.ttl;
	if (how.segment != 0 && b->len > how.segment)
		return segments_out(us, &how, b);
	how.by->plain = how.by->path.may_fragment && how.segment == 0 && b->with == NULL &&
			!(us->flags & UDP_DONTFRAG6) && !addr_is_multicast(how.to.addr) &&
			!udp_is_bound_to_many(&us->sk);
	return whole_out(us, how.by, how.src, &how.to, b);
}

int udp_send(struct sock *sk, struct txbuf *b)
{
	struct udp_sock *us = udp_of(sk);
	const struct udp_path *by = way_known(us, b);

	if (cv_unlikely(by == NULL))
		return send_asking(us, b);
	if (b->has_peer)
		return whole_out(us, by, us->last.src, &b->peer, b);
	return whole_out(us, by, sk->local.addr, &sk->peer, b);
}
