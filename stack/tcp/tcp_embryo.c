/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The SYN cache (RFC4987:3.4): SYN-RECEIVED of a passive open (RFC9293:3.10.7.4) in a small object,
 * until the handshake is done and a connection is made of it.
 *
 * Owns: embryos, their SYN-ACKs and timers. Does not own: the listener's queues (tcp_listen.c), SYN
 * cookies (tcp_cookie.c). Called by: tcp_listen.c with SYNs, tcp_input.c with what follows.
 */
#include <string.h>

#include "stack/tcp/tcp.h"

/* As Linux does it (tcp(7), TCP_DEFER_ACCEPT): once the peer has acknowledged us, SYN-ACKs only
 * remind it near the end of the wait. */
static bool reminds(const struct tcp_embryo *r)
{
	return r->listener->defer_accept == 0 || !r->acked ||
	       r->timeouts + 1 >= r->listener->defer_accept;
}

static bool is_over(const struct tcp_embryo *r)
{
	uint32_t defer = r->listener->defer_accept, syncnt = r->listener->syncnt;

	return r->timeouts >= (syncnt != 0 ? syncnt : r->listener->sk.engine->tcp->config.synack_retries) &&
	       (defer == 0 || !r->acked || r->timeouts >= defer);
}

static uint32_t ts_now(const struct tcp_embryo *r)
{
	return r->listener->sk.engine->now_ms + r->ts_offset;
}

static void timer_restart(struct engine *e, struct tcp_embryo *r)
{
	uint64_t wait = r->timeouts < 8 ? TCP_RTO_INITIAL << r->timeouts : TCP_RTO_MAX;

	timer_set(&e->wheel, &r->timer, e->now_ns + (wait < TCP_RTO_MAX ? wait : TCP_RTO_MAX));
}

static void timed_out(struct engine *e, struct timer *timer)
{
	struct tcp_embryo *r = cv_container_of(timer, struct tcp_embryo, timer);

	if (is_over(r)) {
		tcp_embryo_free(e, r);
		return;
	}
	e->counters.tcp_timeouts++;
	if (reminds(r)) {
		e->counters.tcp_retrans++;
		tcp_embryo_answer(r, ts_now(r));
	}
	r->lost |= !r->acked;
	r->timeouts++;
	timer_restart(e, r);
}

void tcp_embryo_read(
	struct tcp_embryo *r, struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p)
{
	const struct wire_tcp *h = &s->h;
	uint32_t room = lp->sk.rcvbuf;
	struct tcp_numbers numbers;

	if (lp->window_clamp != 0 && room > lp->window_clamp)
		room = lp->window_clamp;
	*r = (struct tcp_embryo){.listener = lp,
		.irs = h->seq,
		.rcv_wnd = room < 65535 ? room : 65535, /* a SYN's window is not scaled */
		.peer_mss = h->has_mss && h->mss != 0 ? h->mss : tcp_mss_default(p->src.addr),
		.sack_ok = h->sack_ok,
		.ts_ok = h->has_ts,
		.ts_recent = h->tsval,
		.wscale_ok = h->has_wscale,
		.ecn_ok = tcp_ecn_accepts(lp, h, p->tos),
		.snd_wscale = h->wscale < 14 ? h->wscale : 14};
	r->flow = (struct sock_flow){.local = p->dst,
		.peer = p->src,
		.kind = TCP_FLOW_EMBRYO,
		.reuseaddr = lp->sk.reuseaddr,
		.reuseport = lp->sk.reuseport,
		.hash = s->hash};
	numbers = tcp_numbers(lp->sk.engine, &p->dst, &p->src);
	r->iss = s->reuse ? s->reuse_iss : numbers.iss;
	r->ts_offset = numbers.ts_offset;
}

void tcp_embryo_answer(const struct tcp_embryo *r, uint32_t ts)
{
	const struct tcp_sock *lp = r->listener;
	struct engine *e = lp->sk.engine;
	struct cv_endpoint from = r->flow.local;
	struct ip_path path = {0};
	struct wire_tcp h = {.sport = from.port,
		.dport = r->flow.peer.port,
		.seq = r->iss,
		.ack = r->irs + 1,
		.flags = (uint8_t)(TCP_SYN | TCP_ACK | (r->ecn_ok ? TCP_ECE : 0)),
		.wnd = (uint16_t)r->rcv_wnd,
		.has_mss = true,
		.has_ts = r->ts_ok,
		.tsval = ts,
		.tsecr = r->ts_recent,
		.sack_ok = r->sack_ok,
		.has_wscale = r->wscale_ok,
		.wscale = e->tcp->wscale};

	if (ip_path_resolve(e, &path, r->flow.peer.addr, from.addr) != 0)
		return;
	if (r->fo_cookie)
		tcp_fastopen_cookie_give(lp, &r->flow.local, &r->flow.peer, &h);
	h.mss = tcp_mss_offer(&path, r->flow.peer.addr, lp->user_mss);
	tcp_path_send(e, &path, &from, &r->flow.peer, &h, lp->tos, lp->ttl);
}

void tcp_embryo_begin(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p, bool fo_cookie)
{
	struct engine *e = lp->sk.engine;
	struct tcp_embryo *r = pool_get(&e->tcp->embryos);

	if (r == NULL) {
		e->counters.tcp_limit++;
		return;
	}
	tcp_embryo_read(r, lp, s, p);
	r->fo_cookie = fo_cookie;
	r->since_ns = e->now_ns;
	timer_init(&r->timer, timed_out);
	tcp_flow_add(e, &r->flow);
	list_add_tail(&tcp_listening(lp)->embryos, &r->node);
	tcp_listening(lp)->embryos_n++;
	tcp_embryo_answer(r, ts_now(r));
	timer_restart(e, r);
}

void tcp_embryo_free(struct engine *e, struct tcp_embryo *r)
{
	timer_del(&e->wheel, &r->timer);
	tcp_flow_del(e, &r->flow);
	list_del(&r->node);
	tcp_listening(r->listener)->embryos_n--;
	pool_put(&e->tcp->embryos, r);
}

/* First: sequence number, and RFC7323:5.3's timestamp. */
static bool is_acceptable(struct engine *e, const struct tcp_embryo *r, const struct tcp_seg *s)
{
	uint32_t at = s->h.seq - (r->irs + 1), end = at + s->len + s->fin;

	if (r->ts_ok && s->h.has_ts && !(s->h.flags & TCP_RST) &&
		seq_lt(s->h.tsval, r->ts_recent)) {
		e->counters.tcp_paws++;
		return false;
	}
	/* What repeats the SYN's text begins before the window and ends in it. */
	return at < r->rcv_wnd || (at == r->rcv_wnd && s->len == 0) || (seq_lt(at, 0) && seq_gt(end, 0) && end <= r->rcv_wnd);
}

static void ack_send(struct engine *e, const struct tcp_embryo *r)
{
	struct wire_tcp h = {.sport = r->flow.local.port,
		.dport = r->flow.peer.port,
		.seq = r->iss + 1,
		.ack = r->irs + 1,
		.flags = TCP_ACK,
		.wnd = (uint16_t)(r->wscale_ok ? r->rcv_wnd >> e->tcp->wscale : r->rcv_wnd),
		.has_ts = r->ts_ok,
		.tsval = ts_now(r),
		.tsecr = r->ts_recent};

	tcp_raw_send(e, &r->flow.local, &r->flow.peer, &h);
}

static void challenge(struct engine *e, struct tcp_embryo *r)
{
	if (tcp_challenge_allowed(e, &r->refused_ack_ms))
		ack_send(e, r);
}

/* Fifth: ACK. True: of our SYN. */
static bool ack_is_ours(struct engine *e, const struct tcp_embryo *r, const struct tcp_seg *s)
{
	if (s->h.ack == r->iss + 1)
		return true;
	tcp_rst_reply(e, pkt_of(s->m), s);
	return false;
}

/* The listener may wait for data, its accept queue or the engine for room: then the peer's ACK is as if it
 * were lost. */
static void complete(struct engine *e, struct tcp_embryo *r, struct tcp_seg *s)
{
	struct tcp_sock *lp = r->listener;
	struct tcp_embryo done;

	if (!r->acked)
		r->since_ns = e->now_ns - r->since_ns;
	r->acked = 1;
	if (s->len == 0 && !s->fin && r->timeouts < lp->defer_accept)
		return;
	if (tcp_accept_queue_is_full(lp)) {
		e->counters.tcp_listen_overflow++;
		return;
	}
	if (pool_is_used_up(&e->tcp->socks)) {
		e->counters.tcp_limit++;
		return;
	}
	done = *r;
	done.since_ns = e->now_ns - r->since_ns; /* however long the data was waited for */
	tcp_embryo_free(e, r);
	tcp_child_begin(lp, &done, s);
}

void tcp_embryo_input(struct engine *e, struct tcp_embryo *r, struct tcp_seg *s)
{
	const struct wire_tcp *h = &s->h;
	uint8_t kind = h->flags & (TCP_SYN | TCP_RST | TCP_ACK);

	if (kind == TCP_SYN && h->seq == r->irs) { /* our answer was lost */
		if (tcp_refused_may_ack(e, &r->refused_ack_ms, s))
			tcp_embryo_answer(r, ts_now(r));
	} else if (!is_acceptable(e, r, s)) {
		if (!(h->flags & TCP_RST) && tcp_refused_may_ack(e, &r->refused_ack_ms, s))
			ack_send(e, r);
	} else if (h->flags & TCP_RST) { /* second: RFC5961:3.2 */
		if (h->seq == r->irs + 1)
			tcp_embryo_free(e, r);
		else
			challenge(e, r);
	} else if (h->flags & TCP_SYN) { /* fourth: RFC5961:4.2 */
		challenge(e, r);
	} else if ((h->flags & TCP_ACK) && ack_is_ours(e, r, s)) {
		complete(e, r, s);
	}
}

/* No error of the network is for accept() to return: the peer may try again (Linux too). A closed
 * port or protocol at the peer's end says a stranger only (RFC5927:4). */
void tcp_embryo_icmp(struct engine *e, struct tcp_embryo *r, const struct icmp_error *err)
{
	if (err->seq == r->iss && err->mtu == 0 && !err->hard)
		tcp_embryo_free(e, r);
}
