/* SPDX-License-Identifier: BSD-3-Clause */
/* LISTEN (RFC9293:3.10.7.2): embryos, the accept queue, and its end. */
#include <string.h>

#include "stack/tcp/tcp.h"

#define EMBRYOS_MIN 256u

static struct tcp_sock *listener_of(const struct tcp_sock *tp)
{
	return cv_container_of(tp->sk.listener, struct tcp_sock, sk);
}

static bool accept_queue_is_full(const struct tcp_sock *lp)
{
	return lp->sk.acceptq_len + lp->sk.accept_lent > lp->sk.backlog;
}

static bool is_full(const struct tcp_sock *lp)
{
	uint32_t most = lp->sk.backlog > EMBRYOS_MIN ? lp->sk.backlog : EMBRYOS_MIN;

	return accept_queue_is_full(lp) || lp->embryos_n >= most;
}

/* What accept(2) says a connection takes from its listener, and the rest Linux lets it take. */
static void inherit(struct tcp_sock *tp, const struct tcp_sock *lp)
{
	tp->sk.rcvbuf = lp->sk.rcvbuf;
	tp->sk.sndbuf = lp->sk.sndbuf;
	tp->sk.v6only = lp->sk.v6only;
	tp->sk.reuseaddr = lp->sk.reuseaddr;
	tp->sk.reuseport = lp->sk.reuseport;
	tp->rcvbuf_locked = lp->rcvbuf_locked;
	tp->sndbuf_locked = lp->sndbuf_locked;
	tp->nodelay = lp->nodelay;
	tp->cork = lp->cork;
	tp->quickack = lp->quickack;
	tp->oobinline = lp->oobinline;
	tp->keepalive = lp->keepalive;
	tp->keep_idle_s = lp->keep_idle_s;
	tp->keep_intvl_s = lp->keep_intvl_s;
	tp->keep_cnt = lp->keep_cnt;
	tp->user_timeout_ms = lp->user_timeout_ms;
	tp->user_mss = lp->user_mss;
	tp->tos = lp->tos;
	tp->ttl = lp->ttl;
	tp->mtu_discover = lp->mtu_discover;
	tp->linger2_s = lp->linger2_s;
	tp->window_clamp = lp->window_clamp;
	tp->notsent_lowat = lp->notsent_lowat;
	tp->cc = lp->cc;
}

static void embryo_start(struct tcp_sock *lp, struct tcp_sock *tp, const struct tcp_seg *s,
	const struct pkt *p)
{
	inherit(tp, lp);
	tp->acceptable = 0;
	tp->sk.local = p->dst;
	tp->sk.peer = p->src;
	tp->sk.status |= CV_ST_BOUND;
	tp->bound_addr = 1;
	tcp_connection_begin(tp, s->reuse ? &s->reuse_iss : NULL);
	tp->sk.listener = &lp->sk;
	list_add_tail(&lp->embryos, &tp->sk.accept_node);
	lp->embryos_n++;
	tp->irs = s->h.seq;
	tp->rcv_nxt = tp->rcv_up = tp->rcv_adv = s->h.seq + 1;
	tp->snd_wnd = s->h.wnd;
	(void)ip_path_resolve(tp->sk.engine, &tp->path, tp->sk.peer.addr, tp->sk.local.addr);
	tcp_syn_options(tp, &s->h);
	tcp_set_state(tp, TCP_SYN_RECEIVED, "SYN");
	tcp_syn_send(tp);
	tcp_rexmt_update(tp, true);
}

void tcp_listen_input(struct tcp_sock *lp, struct tcp_seg *s, const struct pkt *p)
{
	struct engine *e = lp->sk.engine;
	struct tcp_sock *tp;

	if (s->h.flags & TCP_RST)
		return;
	if (s->h.flags & TCP_ACK) {
		tcp_rst_reply(e, p, s);
		return;
	}
	if (!(s->h.flags & TCP_SYN) || s->fin)
		return;
	/* Full: the peer's next SYN may find room. */
	if (is_full(lp)) {
		e->counters.tcp_listen_overflow++;
		return;
	}
	tp = tcp_new(e, lp->sk.family);
	if (tp == NULL)
		return;
	e->counters.tcp_passive_opens++;
	embryo_start(lp, tp, s, p);
	tcp_leave(tp);
}

static void windows_begin(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint32_t mss = tcp_eff_mss(tp), iw = TCP_INITIAL_WINDOW * mss;
	uint32_t most = 2 * mss > 14600 ? 2 * mss : 14600; /* RFC6928 */

	tp->snd_wnd = (uint32_t)h->wnd << ((h->flags & TCP_SYN) ? 0 : tp->snd_wscale);
	tp->max_wnd = tp->snd_wnd;
	tp->snd_wl1 = h->seq;
	tp->snd_wl2 = h->ack;
	tp->cwnd = iw < most ? iw : most;
	if (tp->backoff > 0)
		tp->cwnd = mss; /* RFC5681:3.1: the SYN was lost */
	tp->cc->init(tp);
}

/* RFC6298:5.7: a SYN that was sent again tells nothing, and 3 s is the careful start. */
static void rtt_begin(struct tcp_sock *tp)
{
	if (tp->backoff == 0)
		tcp_rtt_sample(tp, tp->sk.engine->now_ns - tp->rtt_start);
	else
		tp->rto_ns = 3 * SEC;
	tp->timing = 0;
	tp->backoff = 0;
	tp->retrans_start = 0;
}

bool tcp_established(struct tcp_sock *tp, const struct wire_tcp *h)
{
	struct tcp_sock *lp = NULL;

	if (!tp->acceptable) {
		lp = listener_of(tp);
		if (accept_queue_is_full(lp)) {
			tp->sk.engine->counters.tcp_listen_overflow++;
			return false;
		}
		list_del(&tp->sk.accept_node);
		lp->embryos_n--;
		tp->acceptable = 1;
	}
	tp->snd_una = h->ack;
	windows_begin(tp, h);
	rtt_begin(tp);
	tcp_set_state(tp, TCP_ESTABLISHED, "handshake");
	tcp_rexmt_update(tp, true);
	tcp_keepalive_restart(tp);
	tp->autotune_start = tp->sk.engine->now_ns;
	if (tp->snd_end != tp->snd_una || tp->fin_queued)
		sock_output_later(&tp->sk);
	if (lp != NULL) {
		list_add_tail(&lp->sk.acceptq, &tp->sk.accept_node);
		lp->sk.acceptq_len++;
		sock_event(&lp->sk);
	}
	return true;
}

void tcp_embryo_gone(struct tcp_sock *tp)
{
	listener_of(tp)->embryos_n--;
	list_del(&tp->sk.accept_node);
	tp->sk.listener = NULL;
	tp->acceptable = 1;
	tp->closed = 1; /* nobody ever had it */
}

void tcp_listener_close(struct tcp_sock *lp)
{
	struct list *node;

	/* Half-open ones just go: their next segment finds nobody, and gets its RST then. */
	while (!list_empty(&lp->embryos)) {
		struct sock *sk = list_entry(lp->embryos.next, struct sock, accept_node);

		tcp_done(tcp_of(sk), CV_OK, "listener closed");
		tcp_leave(tcp_of(sk));
	}
	while ((node = list_pop(&lp->sk.acceptq)) != NULL) {
		struct sock *sk = list_entry(node, struct sock, accept_node);

		sk->listener = NULL;
		lp->sk.acceptq_len--;
		sock_close(sk, true);
	}
}
