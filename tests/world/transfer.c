/* SPDX-License-Identifier: BSD-3-Clause */
/* See transfer.h. */
#include "tests/world/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SECOND 1000000000ull
#define STEP (2 * MS)

uint32_t run_draw(struct run *r, uint32_t below)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (uint32_t)(r->random >> 16) % below;
}

static uint8_t pattern(uint64_t at, uint8_t seed)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16) + seed);
}

static void configure(struct run *r, struct sock *sk)
{
	int v = (int)r->plan->rcvbuf;

	sk->user = r;
	if (v != 0)
		assert_int_equal(sock_setopt(sk, CV_OPT_RCVBUF, &v, sizeof(v)), 0);
	v = r->plan->nodelay;
	assert_int_equal(sock_setopt(sk, CV_OPT_NODELAY, &v, sizeof(v)), 0);
	if (r->plan->congestion != NULL)
		assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, r->plan->congestion,
					 (uint32_t)strlen(r->plan->congestion)), 0);
}

static struct cv_endpoint endpoint6(int host, uint16_t port)
{
	return (struct cv_endpoint){.addr = {0xfd, [15] = (uint8_t)(host + 1)}, .port = port};
}

static void ipv6_begin(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct port *p = &w->host[i].port;
		struct cv_endpoint own = endpoint6(i, 0);

		memcpy(p->addr[p->addrs_n].addr, own.addr, 16);
		p->addr[p->addrs_n++].prefix = 64;
		assert_int_equal(net_port_changed(w->host[i].e, p), 0);
	}
}

struct run *run_new(const struct plan *plan, uint64_t seed)
{
	struct run *r = calloc(1, sizeof(*r));
	struct cv_endpoint at = plan->ipv6 ? endpoint6(1, 80) : world_endpoint(1, 80);
	uint8_t family = plan->ipv6 ? CV_AF_INET6 : CV_AF_INET;

	assert_non_null(r);
	r->plan = plan;
	r->seed = seed;
	r->random = (seed + 77) * 0x9e3779b97f4a7c15ull;
	r->w = world_new(seed, &plan->link);
	if (plan->ipv6)
		ipv6_begin(r->w);
	if (plan->prepare != NULL)
		plan->prepare(r->w);
	r->client.total = plan->bytes;
	r->server.total = plan->bytes / 2;
	r->client.seed = 1;
	r->server.seed = 99;
	assert_int_equal(sock_open(r->w->host[1].e, family, CV_STREAM, &r->listener), 0);
	configure(r, r->listener);
	assert_int_equal(sock_bind(r->listener, &at), 0);
	assert_int_equal(sock_listen(r->listener, 8), 0);
	assert_int_equal(sock_open(r->w->host[0].e, family, CV_STREAM, &r->client.sk), 0);
	configure(r, r->client.sk);
	assert_int_equal(sock_connect(r->client.sk, &at), 0);
	return r;
}

static void user_writes(struct run *r, struct side *s)
{
	static uint8_t buf[65536];
	uint64_t queue = r->plan->queue ? r->plan->queue : 400000;

	while (s->sent < s->total && s->sk->tx_taken - s->sk->tx_acked < queue &&
		(s->sk->status & CV_ST_CONNECTED)) {
		uint32_t n = run_draw(r, r->plan->write_most ? r->plan->write_most : 8000) + 1;

		if (n > s->total - s->sent)
			n = (uint32_t)(s->total - s->sent);
		for (uint32_t i = 0; i < n; i++)
			buf[i] = pattern(s->sent + i, s->seed);
		assert_int_equal(sock_send(s->sk, world_txbuf(buf, n, &s->released)), 0);
		s->queued++;
		s->sent += n;
	}
	if (s->sent == s->total && !s->shut && (s->sk->status & CV_ST_CONNECTED)) {
		sock_shutdown_wr(s->sk);
		s->shut = true;
	}
}

static void user_reads(struct run *r, struct side *s, uint8_t seed)
{
	static uint8_t buf[65536];
	uint32_t most = r->plan->read_most ? r->plan->read_most : 20000, n;

	do {
		n = sock_recv_copy(s->sk, buf, run_draw(r, most) + 1);
		for (uint32_t i = 0; i < n; i++) {
			if (buf[i] != pattern(s->got + i, seed))
				fail_msg("seed %llu: byte %llu is wrong", (unsigned long long)r->seed,
					(unsigned long long)(s->got + i));
		}
		s->got += n;
	} while (n > 0 && r->plan->read_most == 0);
}

bool run_done(const struct run *r)
{
	const struct side *c = &r->client, *s = &r->server;

	return s->sk != NULL && c->got == s->total && s->got == c->total &&
		(c->sk->status & CV_ST_RX_EOF) && (s->sk->status & CV_ST_RX_EOF) &&
		c->sk->tx_acked == c->sk->tx_taken && s->sk->tx_acked == s->sk->tx_taken;
}

void run_step(struct run *r)
{
	world_run(r->w, STEP, NULL, NULL);
	if (r->server.sk == NULL && (r->server.sk = sock_accept(r->listener)) != NULL) {
		r->server.sk->user = r;
		sock_accept_done(r->listener);
	}
	user_writes(r, &r->client);
	user_reads(r, &r->client, r->server.seed);
	if (r->server.sk != NULL) {
		user_writes(r, &r->server);
		user_reads(r, &r->server, r->client.seed);
	}
}

static void story_of(const struct run *r, const struct side *s, const char *who)
{
	const struct tcp_sock *t = s->sk ? tcp_of(s->sk) : NULL;

	if (t == NULL)
		return;
	print_error("%s: %s una %u nxt %u end %u wnd %u cwnd %u rcv_wnd %u; got %llu of %llu, error %u\n", who,
		tcp_state_name(t->state), t->snd_una - t->iss, t->snd_nxt - t->iss, t->snd_end - t->iss,
		t->snd_wnd, t->cwnd, t->rcv_wnd, (unsigned long long)s->got,
		(unsigned long long)(s == &r->client ? r->server.total : r->client.total), s->sk->error);
}

void run_story(const struct run *r)
{
	story_of(r, &r->client, "client");
	story_of(r, &r->server, "server");
}

void side_close(struct side *s, bool abort)
{
	if (s->sk != NULL)
		sock_close(s->sk, abort);
	s->sk = NULL;
}

/* After the last user let go: timers included, nothing may be left. */
uint64_t run_end(struct run *r)
{
	uint64_t hash;

	side_close(&r->client, false);
	side_close(&r->server, false);
	sock_close(r->listener, false);
	world_run(r->w, 1000 * SECOND, NULL, NULL);
	for (int host = 0; host < 2; host++) {
		uint32_t socks, waits;

		tcp_count(r->w->host[host].e, &socks, &waits);
		if (socks != 0 || waits != 0)
			fail_msg("seed %llu: host %d keeps %u connections, %u in TIME_WAIT",
				(unsigned long long)r->seed, host, socks, waits);
	}
	assert_int_equal(r->client.queued, r->client.released);
	assert_int_equal(r->server.queued, r->server.released);
	hash = r->w->hash;
	world_free(r->w);
	free(r);
	return hash;
}

uint64_t transfer(const struct plan *plan, uint64_t seed)
{
	struct run *r = run_new(plan, seed);
	uint64_t begin = r->w->now_ns;

	while (!run_done(r) && r->w->now_ns - begin < plan->bound_s * SECOND)
		run_step(r);
	if (!run_done(r)) {
		run_story(r);
		fail_msg("seed %llu: not over after %llu virtual seconds", (unsigned long long)seed,
			(unsigned long long)plan->bound_s);
	}
	if (getenv("TRANSFER_TIMES"))
		print_message("seed %llu: %llu ms, %llu frames\n", (unsigned long long)seed,
			(unsigned long long)((r->w->now_ns - begin) / MS),
			(unsigned long long)r->w->frames_sent);
	return run_end(r);
}

void transfers(const struct plan *plan, uint64_t first, unsigned seeds)
{
	for (uint64_t seed = first; seed < first + seeds; seed++)
		transfer(plan, seed);
}
