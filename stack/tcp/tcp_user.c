/* SPDX-License-Identifier: BSD-3-Clause */
/* The user's calls (RFC9293:3.10.1 to 3.10.6), and what ICMP tells: tcp_proto. */
#include <string.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/tcp/tcp.h"

#define STATUS_OF_CONNECTION                                                                       \
	(CV_ST_CONNECTING | CV_ST_CONNECTED | CV_ST_RX_EOF | CV_ST_FIN | CV_ST_TX_SHUT |           \
		CV_ST_DEAD | CV_ST_URGENT)

void tcp_start_over(struct tcp_sock *tp)
{
	struct sock *sk = &tp->sk;

	tp->sack_ok = tp->ts_ok = tp->wscale_ok = 1; /* what we offer */
	tp->snd_wscale = 0;
	tp->rcv_wscale = sk->engine->tcp->wscale;
	tp->fastopen = tp->fastopen_waits = tp->syn_data_acked = 0;
	tp->in_recovery = tp->rto_recovery = tp->timing = tp->reordering = 0;
	tp->reo_mult = tp->reo_persist = 0;
	tp->ecn_ok = tp->ecn_seen = tp->ecn_echo = tp->ecn_cwr = 0;
	tp->ended = tp->ack_now = tp->fin_queued = tp->fin_sent = tp->fin_received = tp->persist = 0;
	tp->ack_pending = tp->dup_owed = 0;
	tp->pingpong = false;
	tp->last_data_rx_ms = 0;
	tp->last_data_tx_ns = 0;
	tp->rcv_nxt = tp->rcv_wnd = tp->rcv_adv = 0;
	tp->snd_wnd = tp->max_wnd = tp->ts_recent = 0;
	tp->mss = TCP_MSS_DEFAULT;
	tp->cwnd = TCP_INITIAL_WINDOW * TCP_MSS_DEFAULT;
	tp->ssthresh = UINT32_MAX;
	tp->dup_lo = tp->dup_hi = 0;
	tp->rtt_start = 0;
	tp->retrans_start_ms = 0;
	tp->srtt_us = tp->rttvar_us = tp->min_rtt_us = 0;
	tp->rto_us = tp->pto_us = TCP_RTO_INITIAL / US;
	tp->backoff = tp->probes = tp->probes_out = tp->keep_probes = 0;
	tp->soft_error = 0;
	tp->peer_mss = tp->pmtu = 0;
	memset(&tp->path, 0, sizeof(tp->path));
	sk->status &= ~(uint32_t)STATUS_OF_CONNECTION;
}

/* The connection's first sequence number; everything before it counts as acknowledged. */
static void sequence_begin(struct tcp_sock *tp, uint32_t iss)
{
	tp->iss = iss;
	tp->snd_una = tp->snd_nxt = tp->snd_max = iss;
	tp->snd_end = tp->snd_up = iss + 1;
	tp->snd_sml = tp->ecn_until = iss;
}

void tcp_connection_begin(struct tcp_sock *tp, struct tcp_numbers numbers)
{
	struct engine *e = tp->sk.engine;

	tp->sk.flow.reuseaddr = tp->sk.reuseaddr;
	tp->sk.flow.reuseport = tp->sk.reuseport;
	tcp_flow_add(e, &tp->sk.flow);
	tp->hashed = 1;
	sequence_begin(tp, numbers.iss);
	tp->ts_offset = numbers.ts_offset;
	tp->last_rx_ms = e->now_ms;
}

static bool source_is_ours(const struct engine *e, const uint8_t addr[16])
{
	return addr_is_any(addr) || ip_is_local(e, addr);
}

static int tcp_bind(struct sock *sk, const struct cv_endpoint *local)
{
	struct tcp_sock *tp = tcp_of(sk);
	int ret;

	if (tp->state != TCP_CLOSED || (sk->status & CV_ST_BOUND))
		return -CV_EINVAL;
	if (!source_is_ours(sk->engine, local->addr))
		return -CV_EADDRNOTAVAIL;
	ret = tcp_port_bind(tp, local);
	if (ret != 0)
		return ret;
	tp->bound_port = 1;
	tp->bound_addr = !addr_is_any(local->addr);
	sock_event(sk);
	return 0;
}

static int tcp_listen(struct sock *sk, uint32_t backlog)
{
	struct tcp_sock *tp = tcp_of(sk);
	struct cv_endpoint any = {0};
	int ret;

	if (tp->state == TCP_LISTEN) {
		sk->accepts->backlog = backlog;
		return 0;
	}
	if (tp->state != TCP_CLOSED || tp->ended)
		return -CV_EINVAL;
	if (!tp->bound_port) {
		if (sk->family == CV_AF_INET)
			addr_from_v4(any.addr, (const uint8_t[4]){0});
		ret = tcp_bind(sk, &any);
		if (ret != 0)
			return ret;
	}
	if (tcp_port_is_listened(tp))
		return -CV_EADDRINUSE;
	ret = tcp_listener_open(tp, backlog);
	if (ret != 0)
		return ret;
	tcp_start_over(tp);
	tcp_set_state(tp, TCP_LISTEN, "listen");
	tcp_leave(tp);
	return 0;
}

/* Chooses what of the local end is not bound. */
static int local_choose(struct tcp_sock *tp, const struct cv_endpoint *peer)
{
	struct sock *sk = &tp->sk;
	int ret;

	if (!tp->bound_addr) {
		memset(sk->local.addr, 0, 16);
		if (addr_is_v4(peer->addr))
			addr_from_v4(sk->local.addr, (const uint8_t[4]){0});
	}
	ret = ip_path_resolve(sk->engine, &tp->path, peer->addr, sk->local.addr);
	if (ret != 0)
		return ret;
	if (tp->bound_port) {
		struct sock_flow *f = tcp_flow_find(sk->engine, &sk->local, peer);

		return f == NULL || tcp_tw_yield(sk->engine, f) ? 0 : -CV_EADDRNOTAVAIL;
	}
	sk->local.port = tcp_port_choose(tp, peer);
	return sk->local.port != 0 ? 0 : -CV_EADDRNOTAVAIL;
}

static int tcp_connect(struct sock *sk, const struct cv_endpoint *peer)
{
	struct tcp_sock *tp = tcp_of(sk);
	struct cv_endpoint to = *peer;
	int ret;

	if (tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECEIVED)
		return -CV_EALREADY;
	if (tp->state != TCP_CLOSED || tp->ended)
		return -CV_EISCONN;
	if (addr_is_multicast(to.addr) || ip_is_broadcast(sk->engine, to.addr))
		return -CV_ENETUNREACH;
	if (sk->family == CV_AF_INET && !addr_is_v4(to.addr))
		return -CV_EAFNOSUPPORT;
	if (addr_is_any(to.addr))
		ip_self(sk->engine, to.addr);
	tcp_start_over(tp);
	ret = local_choose(tp, &to);
	if (ret != 0)
		return ret;
	if (!crew_may_pin(sk->engine, &sk->local, &to))
		return -CV_EADDRNOTAVAIL;
	sk->peer = to;
	sk->status |= CV_ST_BOUND;
	sk->flow.hash = tcp_flow_hash(sk->engine->tcp, &sk->local, &to);
	tcp_connection_begin(tp, tcp_numbers(sk->engine, &sk->local, &to));
	tcp_mss_update(tp);
	sk->engine->counters.tcp_active_opens++;
	tcp_fastopen_connect(tp);
	tcp_set_state(tp, TCP_SYN_SENT, "connect");
	if (!tp->fastopen_waits) {
		tcp_syn_send(tp);
		tcp_rexmt_update(tp, true);
	}
	tcp_leave(tp);
	return 0;
}

/* connect(AF_UNSPEC): the connection is aborted, the socket may begin another one. */
static int tcp_disconnect(struct sock *sk)
{
	struct tcp_sock *tp = tcp_of(sk);

	enum cv_error error = CV_OK; /* what Linux leaves behind for the next call */

	if (tp->state == TCP_LISTEN)
		tcp_listener_close(tp);
	else if (tcp_state_needs_rst(tp->state))
		tcp_rst_send(tp);
	if (tp->state > TCP_LISTEN)
		error = CV_ECONNRESET;
	tcp_done(tp, error, "disconnect");
	tcp_receive_forget(tp);
	tcp_start_over(tp);
	memset(&sk->peer, 0, sizeof(sk->peer));
	if (!tp->bound_addr)
		memset(sk->local.addr, 0, 16);
	if (tp->bound_port) {
		struct cv_endpoint again = sk->local;

		/* Still its own, whatever connections came of it. */
		list_del(&tp->sk.node);
		tcp_port_keep(tp, &again);
	} else {
		sk->local.port = 0;
		sk->status &= ~(uint32_t)CV_ST_BOUND;
	}
	sock_event(sk);
	tcp_leave(tp);
	return 0;
}

static void txbuf_detached(void *addr, void *opaque)
{
	struct txbuf *b = opaque;

	(void)addr;
	b->release(b, b->ctx);
}

static int tcp_send(struct sock *sk, struct txbuf *b)
{
	struct tcp_sock *tp = tcp_of(sk);

	if (tp->fin_queued || (sk->status & CV_ST_TX_SHUT) || tp->state == TCP_CLOSED ||
		tp->state == TCP_LISTEN)
		return -CV_EPIPE;
	b->shinfo.free_cb = txbuf_detached;
	b->shinfo.fcb_opaque = b;
	rte_mbuf_ext_refcnt_set(&b->shinfo, 1);
	if (b->len == 0) {
		txbuf_put(b);
		return 0;
	}
	b->seq = tp->snd_end;
	tp->snd_end += b->len;
	if (b->flags & CV_F_URGENT)
		tp->snd_up = tp->snd_end;
	list_add_tail(&tp->txq, &b->node);
	sk->tx_taken += b->len;
	sock_output_later(sk);
	return 0;
}

static int tcp_extend(struct sock *sk, struct txbuf *b, uint32_t n, uint32_t flags)
{
	struct tcp_sock *tp = tcp_of(sk);

	if (tp->fin_queued || list_empty(&tp->txq) || tp->txq.prev != &b->node)
		return -CV_EINVAL;
	b->len += n;
	b->flags = flags;
	tp->snd_end += n;
	sk->tx_taken += n;
	sock_output_later(sk);
	return 0;
}

void tcp_fin_queue(struct tcp_sock *tp)
{
	tp->fin_queued = 1;
	tp->sk.status |= CV_ST_TX_SHUT;
	if (tp->state == TCP_SYN_RECEIVED) /* it goes when the handshake is done: RFC9293:3.10.4's second way */
		sock_event(&tp->sk);
	else
		tcp_set_state(tp, tp->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1, "FIN queued");
	sock_output_later(&tp->sk);
}

static bool may_send_fin(const struct tcp_sock *tp)
{
	return tp->state == TCP_SYN_RECEIVED || tp->state == TCP_ESTABLISHED ||
		tp->state == TCP_CLOSE_WAIT;
}

static void tcp_shutdown_wr(struct sock *sk)
{
	struct tcp_sock *tp = tcp_of(sk);

	if (may_send_fin(tp))
		tcp_fin_queue(tp);
	else if (tp->state == TCP_SYN_SENT)
		tcp_done(tp, CV_OK, "shutdown while connecting");
	tcp_leave(tp);
}

static void tcp_close(struct sock *sk, bool abort)
{
	struct tcp_sock *tp = tcp_of(sk);

	tp->closed = 1;
	tcp_receive_forget(tp);
	if (tp->state == TCP_LISTEN) {
		tcp_listener_close(tp);
		tcp_done(tp, CV_OK, "close");
	} else if (tp->state == TCP_SYN_SENT) {
		tcp_done(tp, CV_OK, "close");
	} else if (abort) {
		if (tcp_state_needs_rst(tp->state))
			tcp_rst_send(tp);
		tcp_done(tp, CV_OK, "abort");
	} else if (may_send_fin(tp)) {
		tcp_fin_queue(tp);
	} else if (tp->state == TCP_FIN_WAIT_2) {
		tcp_orphan_timer(tp);
	}
	tcp_leave(tp);
}

static void tcp_consumed(struct sock *sk, uint32_t bytes)
{
	tcp_receive_consumed(tcp_of(sk), bytes);
}

const struct sock_proto tcp_proto = {
	.name = "tcp",
	.bind = tcp_bind,
	.listen = tcp_listen,
	.listener_copy = tcp_listener_copy,
	.listener_mirror = tcp_listener_mirror,
	.connect = tcp_connect,
	.disconnect = tcp_disconnect,
	.send = tcp_send,
	.extend = tcp_extend,
	.shutdown_wr = tcp_shutdown_wr,
	.close = tcp_close,
	.consumed = tcp_consumed,
	.setopt = tcp_setopt,
	.getopt = tcp_getopt,
	.output = tcp_output,
	.unsent = tcp_unsent,
};

/* The path takes less than we thought (RFC1191): cut smaller and send again what was under way. */
static void path_mtu_lowered(struct tcp_sock *tp, uint16_t mtu)
{
	struct ip_path before = tp->path;

	if (mtu >= tp->path.pmtu)
		return;
	ip_pmtu_learn(tp->sk.engine, tp->sk.peer.addr, mtu);
	if (ip_path_resolve(tp->sk.engine, &tp->path, tp->sk.peer.addr, tp->sk.local.addr) != 0 ||
		(tp->path.pmtu >= before.pmtu && tp->path.cut == before.cut))
		return;
	tcp_mss_update(tp);
	if (tp->state >= TCP_ESTABLISHED) {
		tcp_recovery_resend(tp);
	}
}

/* RFC1122:4.2.3.9, RFC5927: believed only when it names something that is under way. */
void tcp_icmp_error(struct engine *e, const struct icmp_error *err)
{
	struct sock_flow *f = tcp_flow_find(e, &err->local, &err->peer);
	struct tcp_sock *tp;

	if (f != NULL && f->kind == TCP_FLOW_EMBRYO) {
		tcp_embryo_icmp(e, cv_container_of(f, struct tcp_embryo, flow), err); /* the end of it, perhaps */
		return;
	}
	if (f == NULL || f->kind != TCP_FLOW_SOCK)
		return;
	tp = cv_container_of(f, struct tcp_sock, sk.flow);
	if (seq_lt(err->seq, tp->snd_una) || seq_geq(err->seq, tp->snd_max))
		return;
	if (err->mtu != 0)
		path_mtu_lowered(tp, err->mtu);
	else if (tp->state == TCP_SYN_SENT)
		tcp_done(tp, err->error, "ICMP error");
	else
		tp->soft_error = (uint8_t)err->error;
	tcp_leave(tp);
}
