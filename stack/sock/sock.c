/* SPDX-License-Identifier: BSD-3-Clause */
/* The part of a socket that all protocols share; see sock.h. */
#include "stack/sock/sock.h"

#include <string.h>

#include "stack/base/addr.h"
#include "stack/base/compiler.h"
#include "stack/core/crew.h"

#define RCVBUF_DEFAULT 1048576u
#define SNDBUF_DEFAULT 524288u

static struct rte_mbuf *rxq_pop(struct sock *sk)
{
	struct rte_mbuf *m = pktq_pop(&sk->rxq);

	if (m != NULL) {
		sk->rxq_bytes -= rte_pktmbuf_pkt_len(m);
		sk->engine->rx_held -= m->nb_segs;
	}
	return m;
}

void sock_init(struct sock *sk, struct engine *e, const struct sock_proto *proto, uint8_t family,
	uint8_t type)
{
	memset(sk, 0, sizeof(*sk));
	sk->proto = proto;
	sk->engine = e;
	sk->type = type;
	sk->family = family;
	sk->rcvbuf = RCVBUF_DEFAULT;
	sk->sndbuf = SNDBUF_DEFAULT;
	list_init(&sk->dirty_node);
	list_init(&sk->output_node);
	list_init(&sk->node);
	pktq_init(&sk->rxq);
}

void sock_fini(struct sock *sk)
{
	list_del(&sk->dirty_node);
	list_del(&sk->output_node);
	list_del(&sk->node);
	while (sk->rxq.head != NULL)
		rte_pktmbuf_free(rxq_pop(sk));
}

void sock_output_wait(struct sock *sk, struct port *port)
{
	list_del(&sk->output_node);
	list_add_tail(&port->tx_waiting, &sk->output_node);
}

void sock_set_error(struct sock *sk, enum cv_error error)
{
	sk->error = (uint8_t)error;
	sk->error_seq++;
	sock_event(sk);
}

/* A user's address as the engine keeps it (addr.h, addr_is_scoped): a link-local one needs its interface, as on
 * Linux, or has that of the socket (SO_BINDTODEVICE); a group may leave it to IPV6_MULTICAST_IF. */
static int scope_in(const struct sock *sk, const struct cv_endpoint *from, struct cv_endpoint *to)
{
	uint16_t scope = from->scope, device;

	*to = *from;
	to->scope = 0;
	if (!addr_is_scoped(to->addr))
		return 0;
	device = sk->proto->device != NULL ? sk->proto->device(sk) : 0;
	if (scope == 0)
		scope = device;
	else if (device != 0 && scope != device)
		return -CV_EINVAL;
	if (scope == 0)
		return addr_is_multicast(to->addr) ? 0 : -CV_EINVAL;
	if (net_port_by_ifindex(sk->engine, scope) == NULL)
		return -CV_ENODEV;
	to->scope = scope;
	addr_scope_set(to->addr, scope);
	return 0;
}

void sock_endpoint_out(struct cv_endpoint *to, const struct cv_endpoint *from)
{
	*to = *from;
	addr_to_wire(to->addr, from->addr);
}

int sock_bind(struct sock *sk, const struct cv_endpoint *user)
{
	struct cv_endpoint at, *local = &at;
	int ret = scope_in(sk, user, local);

	if (ret == 0)
		ret = sk->proto->bind(sk, local);

	/* Bound to an address of its own family it serves only that, as Linux says. */
	if (ret == 0 && sk->family == CV_AF_INET6 && !addr_is_any(local->addr) &&
		!addr_is_v4(local->addr))
		sk->v6only = true;
	return ret;
}

int sock_listen(struct sock *sk, uint32_t backlog)
{
	return sk->proto->listen ? sk->proto->listen(sk, backlog) : -CV_EOPNOTSUPP;
}

void *sock_listener_copy(const struct sock *sk)
{
	return sk->proto->listener_copy ? sk->proto->listener_copy(sk) : NULL;
}

int sock_listener_mirror(struct sock *sk, const void *copy, uint32_t backlog)
{
	return sk->proto->listener_mirror ? sk->proto->listener_mirror(sk, copy, backlog) : -CV_EOPNOTSUPP;
}

int sock_connect(struct sock *sk, const struct cv_endpoint *peer)
{
	struct cv_endpoint at;
	int ret = scope_in(sk, peer, &at);

	return ret == 0 ? sk->proto->connect(sk, &at) : ret;
}

int sock_disconnect(struct sock *sk)
{
	return sk->proto->disconnect(sk);
}

int sock_send(struct sock *sk, struct txbuf *b)
{
	int ret = 0;

	if (b->has_peer && cv_unlikely(addr_is_scoped(b->peer.addr)))
		ret = scope_in(sk, &b->peer, &b->peer);
	return ret == 0 ? sk->proto->send(sk, b) : ret;
}

int sock_extend(struct sock *sk, struct txbuf *b, uint32_t n, uint32_t flags)
{
	return sk->proto->extend ? sk->proto->extend(sk, b, n, flags) : -CV_EINVAL;
}

void sock_shutdown_wr(struct sock *sk)
{
	sk->proto->shutdown_wr(sk);
}

void sock_close(struct sock *sk, bool abort)
{
	sk->user = NULL;
	list_del(&sk->dirty_node);
	sk->proto->close(sk, abort || sk->rx_lent > 0 || sk->rxq.n > 0);
}

struct sock *sock_accept(struct sock *listener)
{
	struct sock_accepts *a = listener->accepts;
	struct list *node = a != NULL ? list_pop(&a->queue) : NULL;

	if (node == NULL)
		return NULL;
	a->n--;
	a->lent++;
	return list_entry(node, struct sock, node);
}

void sock_accept_done(struct sock *listener)
{
	struct sock_accepts *a = listener->accepts;

	if (a == NULL || a->lent == 0) /* it listens no longer, or anew */
		return;
	a->lent--;
	sock_accepts_changed(listener);
}

void sock_accepts_changed(struct sock *listener)
{
	const struct sock_accepts *a = listener->accepts;

	if (cv_unlikely(a->crew != 0))
		crew_waiting_set(listener->engine, a->crew, a->n + a->lent);
}

void sock_listener_share(struct sock *listener, uint32_t number)
{
	struct sock_accepts *a = listener->accepts;

	if (a->crew != 0)
		crew_waiting_set(listener->engine, a->crew, 0);
	a->crew = number;
	sock_accepts_changed(listener);
}

struct rte_mbuf *sock_recv_take(struct sock *sk)
{
	struct rte_mbuf *m = rxq_pop(sk);

	if (m != NULL)
		sk->rx_lent += rte_pktmbuf_pkt_len(m);
	return m;
}

void sock_consumed(struct sock *sk, uint32_t bytes)
{
	sk->rx_lent -= bytes < sk->rx_lent ? bytes : sk->rx_lent;
	if (sk->proto->consumed != NULL)
		sk->proto->consumed(sk, bytes);
}

uint32_t sock_recv_copy(struct sock *sk, void *buf, uint32_t len)
{
	uint32_t copied = 0;

	while (copied < len && sk->rxq.head != NULL) {
		struct rte_mbuf *m = sk->rxq.head;
		uint32_t have = rte_pktmbuf_pkt_len(m), n = have;
		const void *from;

		if (n > len - copied)
			n = len - copied;
		from = rte_pktmbuf_read(m, 0, n, (uint8_t *)buf + copied);
		if (from != (uint8_t *)buf + copied && n > 0)
			memcpy((uint8_t *)buf + copied, from, n);
		copied += n;
		if (n < have && sk->type == CV_STREAM) {
			pkt_cut_front(m, n);
			sk->rxq_bytes -= n;
			sk->rx_lent += n;
			sock_consumed(sk, n);
			break;
		}
		rte_pktmbuf_free(sock_recv_take(sk));
		sock_consumed(sk, have);
		if (sk->type == CV_DGRAM)
			break;
	}
	return copied;
}

/* What every protocol keeps in the same place; NULL: the protocol's own. */
static bool *common_option(struct sock *sk, enum cv_option opt)
{
	if (opt == CV_OPT_REUSEADDR)
		return &sk->reuseaddr;
	if (opt == CV_OPT_REUSEPORT)
		return &sk->reuseport;
	return opt == CV_OPT_V6ONLY ? &sk->v6only : NULL;
}

int sock_setopt(struct sock *sk, enum cv_option opt, const void *value, uint32_t len)
{
	bool *flag = common_option(sk, opt);
	int v;

	if (flag == NULL)
		return sk->proto->setopt(sk, opt, value, len);
	if (len < sizeof(v) ||
		(opt == CV_OPT_V6ONLY && (sk->family != CV_AF_INET6 || (sk->status & CV_ST_BOUND))))
		return -CV_EINVAL;
	memcpy(&v, value, sizeof(v));
	*flag = v != 0;
	return 0;
}

int sock_getopt(struct sock *sk, enum cv_option opt, void *value, uint32_t *len)
{
	const bool *flag = common_option(sk, opt);
	int v;

	if (flag == NULL)
		return sk->proto->getopt(sk, opt, value, len);
	if (opt == CV_OPT_V6ONLY && sk->family != CV_AF_INET6)
		return -CV_ENOPROTOOPT;
	v = *flag;
	if (*len > sizeof(v))
		*len = sizeof(v);
	memcpy(value, &v, *len);
	return 0;
}

void txbuf_get(struct txbuf *b)
{
	rte_mbuf_ext_refcnt_update(&b->shinfo, 1);
}

void txbuf_put(struct txbuf *b)
{
	if (rte_mbuf_ext_refcnt_update(&b->shinfo, -1) == 0)
		b->release(b, b->ctx);
}
