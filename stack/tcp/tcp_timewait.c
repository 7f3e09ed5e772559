/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TIME_WAIT (RFC9293:3.10.7.4, RFC6191, RFC1337): a small object of its own, so that the
 * connection's can go.
 */
#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

void tcp_tw_free(struct engine *e, struct tcp_tw *tw)
{
	timer_del(&e->wheel, &tw->timer);
	tcp_flow_del(e, &tw->flow);
	pool_put(&e->tcp->tws, tw);
}

static void tw_timeout(struct engine *e, struct timer *timer)
{
	tcp_tw_free(e, cv_container_of(timer, struct tcp_tw, timer));
}

void tcp_time_wait(struct tcp_sock *tp)
{
	struct engine *e = tp->sk.engine;
	struct tcp_tw *tw = pool_get(&e->tcp->tws);

	tcp_set_state(tp, TCP_TIME_WAIT, "both sides are done");
	if (tp->ack_now)
		tcp_ack_send(tp);
	if (tw == NULL) { /* as many as the limit wait already */
		tcp_done(tp, CV_OK, "TIME_WAIT is cut short");
		return;
	}
	*tw = (struct tcp_tw){.snd_nxt = tp->snd_max,
		.rcv_nxt = tp->rcv_nxt,
		.ts_recent = tp->ts_recent,
		.ts_offset = tp->ts_offset,
		.since_ms = e->now_ms,
		.wnd = (uint16_t)(tp->rcv_wnd >> tp->rcv_wscale),
		.ts_ok = tp->ts_ok};
	tw->flow.kind = TCP_FLOW_TW;
	tcp_flow_replace(e, &tp->sk.flow, &tw->flow);
	tp->hashed = 0;
	tcp_done(tp, CV_OK, "TIME_WAIT goes on without the connection");
	timer_init(&tw->timer, tw_timeout);
	timer_set(&e->wheel, &tw->timer, e->now_ns + TCP_2MSL);
}

static void tw_ack(struct engine *e, const struct tcp_tw *tw)
{
	struct wire_tcp h = {.sport = tw->flow.local.port,
		.dport = tw->flow.peer.port,
		.seq = tw->snd_nxt,
		.ack = tw->rcv_nxt,
		.flags = TCP_ACK,
		.wnd = tw->wnd,
		.has_ts = tw->ts_ok,
		.tsval = e->now_ms + tw->ts_offset,
		.tsecr = tw->ts_recent};

	tcp_raw_send(e, &tw->flow.local, &tw->flow.peer, &h);
}

/* RFC6191:2, RFC1122:4.2.2.13: this SYN cannot be an old one. */
static bool syn_is_new(const struct tcp_tw *tw, const struct wire_tcp *h)
{
	if (tw->ts_ok && h->has_ts && h->tsval != tw->ts_recent)
		return seq_gt(h->tsval, tw->ts_recent);
	return seq_gt(h->seq, tw->rcv_nxt);
}

bool tcp_tw_input(struct engine *e, struct tcp_tw *tw, struct tcp_seg *s)
{
	const struct wire_tcp *h = &s->h;

	if (h->flags & TCP_RST)
		return true; /* RFC1337: no assassination */
	if ((h->flags & (TCP_SYN | TCP_ACK | TCP_FIN)) == TCP_SYN && syn_is_new(tw, h) &&
		tcp_listener_find(e, &tw->flow.local, &tw->flow.peer) != NULL) {
		s->reuse = true;
		s->reuse_iss = tw->snd_nxt + 65535 + 2;
		tcp_tw_free(e, tw);
		return false;
	}
	if (s->fin && h->seq + s->len + 1 == tw->rcv_nxt) /* our last ACK was lost */
		timer_set(&e->wheel, &tw->timer, e->now_ns + TCP_2MSL);
	if ((s->len > 0 || s->fin || (h->flags & TCP_SYN) || h->seq != tw->rcv_nxt) &&
		tcp_refused_may_ack(e, &tw->refused_ack_ms, s))
		tw_ack(e, tw);
	return true;
}

bool tcp_tw_yield(struct engine *e, struct sock_flow *f)
{
	uint32_t reuse = e->tcp->config.tw_reuse;
	struct tcp_tw *tw;

	if (f->kind != TCP_FLOW_TW)
		return false;
	tw = cv_container_of(f, struct tcp_tw, flow);
	if (reuse == 0 || (reuse == 2 && !addr_is_loopback(f->peer.addr)))
		return false;
	if (!tw->ts_ok || e->now_ms - tw->since_ms < TCP_TW_REUSE_MS)
		return false;
	tcp_tw_free(e, tw);
	return true;
}
