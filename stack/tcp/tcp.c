/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol as a whole: its tables and limits, the life of a connection's object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/tcp/tcp_loss.h"

#define FLOW_BUCKETS_MIN 1024u
/* One connection in so many may be in trouble at a time, and at least these (memory is touched as it is needed). */
#define TROUBLED_PART 4u
#define TROUBLED_MIN 4096u
#define RECORDS_MIN 65536u

static uint32_t flow_buckets(uint32_t max)
{
	uint32_t n = FLOW_BUCKETS_MIN;

	while (n < max)
		n *= 2;
	return n;
}

int tcp_init(struct engine *e)
{
	struct tcp *t = calloc(1, sizeof(*t));
	uint32_t buckets = flow_buckets(e->config.tcp_max), troubles;

	if (t == NULL)
		return -CV_ENOMEM;
	e->tcp = t;
	t->flows = calloc(buckets, sizeof(*t->flows));
	t->ports = calloc(UINT16_MAX + 1, sizeof(*t->ports));
	if (t->flows == NULL || t->ports == NULL || pool_init(&t->socks, sizeof(struct tcp_sock), e->config.tcp_max) != 0)
		return -CV_ENOMEM;
	if (pool_init(&t->tws, sizeof(struct tcp_tw), e->config.tcp_max) != 0 ||
		pool_init(&t->embryos, sizeof(struct tcp_embryo), e->config.tcp_max) != 0 ||
		pool_init(&t->listeners, sizeof(struct tcp_listener), e->config.tcp_max) != 0 ||
		pool_init(&t->fastopen_keys, sizeof(struct tcp_fastopen_keys), e->config.tcp_max) != 0 ||
		pool_init(&t->paces, sizeof(struct tcp_pace), e->config.tcp_max) != 0 ||
		pool_init(&t->plpmtuds, sizeof(struct tcp_plpmtud), e->config.tcp_max) != 0)
		return -CV_ENOMEM;
	t->ooo_max = e->pkt_pool->size / 4;
	troubles = e->config.tcp_max / TROUBLED_PART > TROUBLED_MIN ? e->config.tcp_max / TROUBLED_PART : TROUBLED_MIN;
	if (pool_init(&t->losses, sizeof(struct tcp_loss), troubles) != 0 ||
		pool_init(&t->ooos, sizeof(struct tcp_ooo), troubles) != 0 ||
		pool_init(&t->runs, sizeof(struct tcp_run), t->ooo_max) != 0 ||
		pool_init(&t->xmits, sizeof(struct tcp_xmit), 4 * e->config.tcp_max + RECORDS_MIN) != 0)
		return -CV_ENOMEM;
	t->config = e->config.tcp != NULL ? *e->config.tcp : engine_tcp_defaults;
	e->config.tcp = NULL;
	while (t->config.rmem_max >> t->wscale > 65535) /* RFC7323:2.3 */
		t->wscale++;
	t->flow_mask = buckets - 1;
	for (uint32_t i = 0; i < TCP_BINDS; i++)
		list_init(&t->binds[i]);
	t->key.k0 = e->env.random64(e->env.ctx);
	t->key.k1 = e->env.random64(e->env.ctx);
	t->secret = (struct siphash_key){e->config.secret[0], e->config.secret[1]};
	if (t->secret.k0 == 0 && t->secret.k1 == 0)
		t->secret = (struct siphash_key){e->env.random64(e->env.ctx), e->env.random64(e->env.ctx)};
	tcp_fastopen_init(t);
	for (uint32_t i = 0; i < TCP_NEXT_PORTS; i++)
		t->next_port[i] = (uint32_t)e->env.random64(e->env.ctx);
	t->run_weight = e->env.random64(e->env.ctx);
	return 0;
}

static void buffers_free(struct tcp_sock *tp)
{
	tcp_ooo_drop(tp);
	sock_fini(&tp->sk);
}

/* Send buffers are the users' to take back: they go when the users go. */
void tcp_fini(struct engine *e)
{
	struct tcp *t = e->tcp;

	if (t == NULL)
		return;
	for (uint32_t i = 0; t->flows != NULL && i <= t->flow_mask; i++) {
		for (struct sock_flow *f = t->flows[i]; f != NULL; f = f->next) {
			if (f->kind == TCP_FLOW_SOCK)
				buffers_free(cv_container_of(f, struct tcp_sock, sk.flow));
		}
	}
	pool_fini(&t->socks);
	pool_fini(&t->tws);
	pool_fini(&t->losses);
	pool_fini(&t->ooos);
	pool_fini(&t->runs);
	pool_fini(&t->embryos);
	pool_fini(&t->listeners);
	pool_fini(&t->fastopen_keys);
	pool_fini(&t->xmits);
	pool_fini(&t->paces);
	pool_fini(&t->plpmtuds);
	free(t->flows);
	free(t->ports);
	free(t);
	e->tcp = NULL;
}

void tcp_count(const struct engine *e, uint32_t *socks, uint32_t *time_waits)
{
	*socks = e->tcp->socks.used;
	*time_waits = e->tcp->tws.used;
}

struct tcp_sock *tcp_new(struct engine *e, uint8_t family)
{
	struct tcp_sock *tp = pool_get(&e->tcp->socks);

	if (tp == NULL) {
		e->counters.tcp_limit++;
		return NULL;
	}
	memset((uint8_t *)tp + sizeof(tp->sk), 0, sizeof(*tp) - sizeof(tp->sk));
	sock_init(&tp->sk, e, &tcp_proto, family, CV_STREAM);
	list_init(&tp->txq);
	tcp_timer_init(tp);
	tp->sk.sndbuf = TCP_SNDBUF_LEAST;
	tp->state = TCP_CLOSED;
	tp->cc = tcp_cc_default(&e->tcp->config);
	tp->ttl = family == CV_AF_INET6 ? 0 : IP_TTL_DEFAULT;
	tp->mtu_discover = 1; /* Linux's IP_PMTUDISC_WANT */
	tp->keep_idle_s = (uint16_t)e->tcp->config.keepalive_time;
	tp->keep_intvl_s = (uint16_t)e->tcp->config.keepalive_intvl;
	tp->keep_cnt = (uint8_t)e->tcp->config.keepalive_probes;
	tp->sk.lowat = e->tcp->config.notsent_lowat != UINT32_MAX;
	tcp_start_over(tp);
	return tp;
}

int tcp_open(struct engine *e, uint8_t family, struct sock **out)
{
	struct tcp_sock *tp = tcp_new(e, family);

	if (tp == NULL)
		return -CV_ENOBUFS;
	*out = &tp->sk;
	return 0;
}

void tcp_leave(struct tcp_sock *tp)
{
#ifdef CULVERT_CHECKS
	const char *why = NULL;

	if (!tcp_consistent(tp, &why)) {
		fprintf(stderr, "tcp: %s: not so: %s\n", tcp_state_name(tp->state), why);
		abort();
	}
#endif
	if (tp->state != TCP_CLOSED || !tp->closed)
		return;
	tcp_port_unbind(tp);
	tcp_pace_drop(tp);
	tcp_fastopen_keys_drop(tp);
	sock_fini(&tp->sk);
	pool_put(&tp->sk.engine->tcp->socks, tp);
}

#define FOREACH_ENTRY 7u /* the work of telling one, in looks at an empty place */

static void snapshot(struct tcp_sock *tp, struct tcp_snapshot *s)
{
	struct sock *sk = &tp->sk;
	uint32_t first = 0;

	*s = (struct tcp_snapshot){.state = tcp_state_number(tp->state),
		.local = sk->local,
		.peer = sk->peer,
		.sk = sk,
		.recvq = sk->rxq_bytes + sk->rx_lent,
		.sendq = tp->snd_end - tp->snd_una,
		.srtt_us = tp->srtt_us,
		.rttvar_us = tp->rttvar_us,
		.cwnd = tp->cwnd,
		.ssthresh = tp->ssthresh,
		.mss = tp->mss,
		.retrans = tp->backoff,
		.total_retrans = tp->total_retrans,
		.timer = TCP_TIMERS};
	if (tp->state == TCP_LISTEN) {
		s->recvq = sk->accepts->n + sk->accepts->lent;
		s->sendq = sk->accepts->backlog;
	}
	for (uint8_t i = 0; i < TCP_TIMERS; i++) {
		if (tp->deadline[i] == 0 || (first != 0 && seq_geq(tp->deadline[i], first)))
			continue;
		first = tp->deadline[i];
		s->timer = i;
		s->timer_ns = tcp_deadline_ns(sk->engine, first);
		s->timer_ns -= s->timer_ns < sk->engine->now_ns ? s->timer_ns : sk->engine->now_ns;
	}
}

static void flow_snapshot(struct sock_flow *f, struct tcp_snapshot *s)
{
	if (f->kind == TCP_FLOW_SOCK)
		snapshot(cv_container_of(f, struct tcp_sock, sk.flow), s);
	else
		*s = (struct tcp_snapshot){.state = f->kind == TCP_FLOW_TW ? CV_TCP_TIME_WAIT : CV_TCP_SYN_RECEIVED,
			.local = f->local,
			.peer = f->peer,
			.timer = TCP_TIMERS};
}

static uint32_t bucket_listeners(struct list *bucket, void (*fn)(void *ctx, const struct tcp_snapshot *s), void *ctx)
{
	struct tcp_snapshot s;
	uint32_t n = 0;

	list_for_each(node, bucket)
	{
		struct tcp_sock *tp = list_entry(node, struct tcp_sock, sk.node);

		if (tp->state != TCP_LISTEN)
			continue; /* connections come below */
		snapshot(tp, &s);
		fn(ctx, &s);
		n++;
	}
	return n;
}

static uint32_t bucket_flows(
	struct sock_flow *first, void (*fn)(void *ctx, const struct tcp_snapshot *s), void *ctx)
{
	struct tcp_snapshot s;
	uint32_t n = 0;

	for (struct sock_flow *f = first; f != NULL; f = f->next, n++) {
		flow_snapshot(f, &s);
		fn(ctx, &s);
	}
	return n;
}

/* Positions are the buckets of the port table, then those of the flow table. */
bool tcp_foreach(struct engine *e, uint64_t *at, uint32_t most,
	void (*fn)(void *ctx, const struct tcp_snapshot *s), void *ctx)
{
	struct tcp *t = e->tcp;
	const uint64_t end = (uint64_t)TCP_BINDS + t->flow_mask + 1;

	for (uint32_t work = 0; work < most && *at < end; work++) {
		uint64_t i = (*at)++;

		work += FOREACH_ENTRY * (i < TCP_BINDS ? bucket_listeners(&t->binds[i], fn, ctx)
						       : bucket_flows(t->flows[i - TCP_BINDS], fn, ctx));
	}
	return *at < end;
}
