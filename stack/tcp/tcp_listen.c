/* SPDX-License-Identifier: BSD-3-Clause */
/* LISTEN (RFC9293:3.10.7.2): who is let in, the connection that comes of it, the accept queue, and
 * its end. */
#include <stdlib.h>

#include "stack/core/crew.h"
#include "stack/tcp/tcp_loss.h"

#define EMBRYOS_MIN 256u

bool tcp_accept_queue_is_full(const struct tcp_sock *lp)
{
	const struct sock_accepts *a = lp->sk.accepts;

	return (cv_likely(a->crew == 0) ? a->n + a->lent : crew_waiting(lp->sk.engine, a->crew)) >
	       a->backlog;
}

static bool embryos_are_full(const struct tcp_sock *lp)
{
	uint32_t backlog = lp->sk.accepts->backlog;

	return tcp_listening(lp)->embryos_n >= (backlog > EMBRYOS_MIN ? backlog : EMBRYOS_MIN);
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
	tp->syncnt = lp->syncnt;
	tp->sk.lowat = lp->sk.lowat;
	tp->cc = lp->cc;
	if (lp->pace != NULL)
		(void)tcp_pace_set(tp, lp->pace->max_rate);
}

static void windows_begin(struct tcp_sock *tp, const struct wire_tcp *h)
{
	tp->snd_wnd = (uint32_t)h->wnd << ((h->flags & TCP_SYN) ? 0 : tp->snd_wscale);
	tp->max_wnd = tp->snd_wnd;
	tp->snd_wl1 = h->seq;
	tp->snd_wl2 = h->ack;
	tp->cwnd = tp->backoff > 0 ? tcp_eff_mss(tp) /* RFC5681:3.1: the SYN was lost */
				   : tcp_initial_window(tp);
	tcp_cc_init(tp);
}

static void numbers_begin(struct tcp_sock *tp, const struct tcp_embryo *r)
{
	tcp_connection_begin(tp, (struct tcp_numbers){r->iss, r->ts_offset});
	tp->snd_nxt = tp->snd_max = r->iss + 1;
	tp->irs = r->irs;
	tp->rcv_nxt = tp->last_ack_sent = r->irs + 1;
	tp->rcv_wnd = r->rcv_wnd;
	tp->rcv_adv = tp->rcv_nxt + r->rcv_wnd;
	tp->rtt_start = r->since_ns;
	tp->backoff = r->lost;
}

static void options_begin(struct tcp_sock *tp, const struct tcp_embryo *r)
{
	tp->peer_mss = r->peer_mss;
	tp->sack_ok = r->sack_ok;
	tp->ts_ok = r->ts_ok;
	tp->wscale_ok = r->wscale_ok;
	tp->ecn_ok = r->ecn_ok;
	tp->snd_wscale = r->wscale_ok ? r->snd_wscale : 0;
	if (!r->wscale_ok)
		tp->rcv_wscale = 0;
	tp->ts_recent = r->ts_recent;
	tp->ts_recent_ms = tp->sk.engine->now_ms;
	(void)ip_path_resolve(tp->sk.engine, &tp->path, tp->sk.peer.addr, tp->sk.local.addr);
	tcp_mss_update(tp);
}

static struct tcp_sock *child_new(struct tcp_sock *lp, const struct tcp_embryo *r)
{
	struct tcp_sock *tp = tcp_new(lp->sk.engine, lp->sk.family);

	if (tp == NULL)
		return NULL;
	inherit(tp, lp);
	tp->sk.local = r->flow.local;
	tp->sk.peer = r->flow.peer;
	tp->sk.flow.hash = r->flow.hash;
	tp->sk.status |= CV_ST_BOUND;
	tp->bound_addr = 1;
	numbers_begin(tp, r);
	options_begin(tp, r);
	lp->sk.engine->counters.tcp_passive_opens++;
	return tp;
}

static void accept_queue_add(struct tcp_sock *lp, struct tcp_sock *tp)
{
	list_add_tail(&lp->sk.accepts->queue, &tp->sk.node);
	lp->sk.accepts->n++;
	sock_accepts_changed(&lp->sk);
	sock_event(&lp->sk);
}

void tcp_child_begin(struct tcp_sock *lp, const struct tcp_embryo *r, struct tcp_seg *s)
{
	struct tcp_sock *tp = child_new(lp, r);

	if (tp == NULL)
		return;
	tcp_set_state(tp, TCP_SYN_RECEIVED, "SYN");
	tcp_established(tp, &s->h);
	accept_queue_add(lp, tp);
	tcp_steps(tp, s); /* what else it brings */
}

/* Fast Open (RFC7413:4.2.2): the connection is there, and takes the SYN's data, before the
 * handshake is done. */
static bool child_of_syn(struct tcp_sock *lp, struct tcp_seg *s, const struct pkt *p, bool renew)
{
	struct tcp_embryo r;
	struct tcp_sock *tp;

	tcp_embryo_read(&r, lp, s, p);
	tp = child_new(lp, &r);
	if (tp == NULL)
		return false;
	windows_begin(tp, &s->h);
	tcp_fastopen_begin(lp, tp, s);
	tcp_set_state(tp, TCP_SYN_RECEIVED, "SYN with a cookie");
	accept_queue_add(lp, tp);
	tp->fastopen_keys = renew ? lp->fastopen_keys
				  : 0; /* lent for this SYN-ACK; a repeated one gives no cookie */
	tcp_syn_send(tp);
	tp->fastopen_keys = 0;
	tcp_rexmt_update(tp, true);
	tcp_leave(tp);
	return true;
}

void tcp_listen_input(struct tcp_sock *lp, struct tcp_seg *s, const struct pkt *p)
{
	struct engine *e = lp->sk.engine;
	uint32_t cookies = e->tcp->config.syncookies;
	bool full = embryos_are_full(lp) && !s->reuse;
	struct tcp_embryo r;

	if (s->h.flags & TCP_RST)
		return;
	if (s->h.flags & TCP_ACK) {
		if ((s->h.flags & TCP_SYN) || !tcp_cookie_check(lp, s, p, &r))
			tcp_rst_reply(e, p, s);
		else if (tcp_accept_queue_is_full(lp))
			e->counters.tcp_listen_overflow++;
		else
			tcp_child_begin(lp, &r, s);
		return;
	}
	if (!(s->h.flags & TCP_SYN) || s->fin)
		return;
	if (tcp_accept_queue_is_full(lp)) { /* the peer's next SYN may find room */
		e->counters.tcp_listen_overflow++;
	} else if (cookies == 2 || (cookies == 1 && full)) {
		tcp_cookie_send(lp, s, p);
	} else if (full) {
		e->counters.tcp_listen_overflow++;
	} else {
		enum tcp_fastopen fo = tcp_fastopen_look(lp, s, p);

		if (fo < TCP_FASTOPEN_NOW || !child_of_syn(lp, s, p, fo == TCP_FASTOPEN_RENEW))
			tcp_embryo_begin(lp, s, p, fo == TCP_FASTOPEN_COOKIE);
	}
}

/* RFC6298:5.7: a SYN that was sent again tells nothing, and 3 s is the careful start. */
static void rtt_begin(struct tcp_sock *tp)
{
	if (tp->backoff > 0)
		tp->rto_us = 3 * SEC / US;
	else if (tp->rtt_start != 0) /* a cookie does not say when it was made */
		tcp_rtt_sample(tp, tp->sk.engine->now_ns - tp->rtt_start);
	tp->timing = 0;
	tp->backoff = 0;
	tp->retrans_start_ms = 0;
}

void tcp_established(struct tcp_sock *tp, const struct wire_tcp *h)
{
	tp->snd_una = tp->iss + 1;
	if (tp->fastopen_waits) /* what is not acknowledged with the SYN goes again as if it had not
				   gone */
		tp->snd_nxt = tp->snd_max = seq_max(h->ack, tp->snd_una);
	tcp_fastopen_end(tp, false);
	tcp_plpmtud_established(tp);
	windows_begin(tp, h);
	rtt_begin(tp);
	tcp_set_state(tp, TCP_ESTABLISHED, "handshake");
	tcp_rexmt_update(tp, true);
	tcp_keepalive_restart(tp);
	tcp_receive_begin(tp);
	if (tp->snd_end != tp->snd_una || tp->fin_queued)
		sock_output_later(&tp->sk);
}

int tcp_listener_open(struct tcp_sock *lp, uint32_t backlog)
{
	struct tcp_listener *l = pool_get(&lp->sk.engine->tcp->listeners);

	if (l == NULL)
		return -CV_ENOBUFS;
	*l = (struct tcp_listener){.accepts.backlog = backlog};
	list_init(&l->accepts.queue);
	list_init(&l->embryos);
	lp->sk.accepts = &l->accepts;
	return 0;
}

void tcp_listener_close(struct tcp_sock *lp)
{
	struct engine *e = lp->sk.engine;
	struct tcp_listener *l = tcp_listening(lp);
	struct list *embryos = &l->embryos;
	struct list *node;

	/* Half-open ones just go: their next segment finds nobody, and gets its RST then. */
	while (!list_empty(embryos))
		tcp_embryo_free(e, list_entry(embryos->next, struct tcp_embryo, node));
	while ((node = list_pop(&l->accepts.queue)) != NULL)
		sock_close(list_entry(node, struct sock, node), true);
	sock_listener_share(&lp->sk, 0);
	l->closed = true;
	if (l->fastopen_n == 0)
		pool_put(&e->tcp->listeners, l);
	lp->sk.accepts = NULL;
}

/* What the original has from pools stays with its worker. */
struct listener_copy {
	struct tcp_sock sock;
	struct tcp_pace pace;
	uint32_t keys_bytes;
	uint8_t keys[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES];
};

void *tcp_listener_copy(const struct sock *sk)
{
	struct listener_copy *copy = malloc(sizeof(*copy));

	if (copy == NULL)
		return NULL;
	copy->sock = *cv_container_of(sk, struct tcp_sock, sk);
	if (copy->sock.pace != NULL) {
		copy->pace = *copy->sock.pace;
		copy->sock.pace = &copy->pace;
	}
	copy->keys_bytes = tcp_fastopen_keys_get(&copy->sock, copy->keys);
	return copy;
}

/* The port is the listener's, whatever else this worker has on it. */
int tcp_listener_mirror(struct sock *sk, const void *copy, uint32_t backlog)
{
	struct tcp_sock *tp = tcp_of(sk);
	const struct listener_copy *from = copy;
	const struct tcp_sock *lp = &from->sock;
	int ret;

	inherit(tp, lp);
	tp->defer_accept = lp->defer_accept;
	tp->fastopen_queue = lp->fastopen_queue;
	if (from->keys_bytes > 0 && tcp_fastopen_keys_set(tp, from->keys, from->keys_bytes) != 0)
		return -CV_ENOMEM;
	if (tp->state == TCP_LISTEN) {
		sk->accepts->backlog = backlog;
		return 0;
	}
	ret = tcp_listener_open(tp, backlog);
	if (ret != 0)
		return ret;
	tp->bound_port = lp->bound_port;
	tp->bound_addr = lp->bound_addr;
	tcp_port_keep(tp, &lp->sk.local);
	tcp_start_over(tp);
	tcp_set_state(tp, TCP_LISTEN, "the listener's replica");
	tcp_leave(tp);
	return 0;
}
