/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two engines and a bad link: whatever it loses, delays, doubles, reorders or damages, every byte arrives,
 * in order, once, within a bounded virtual time, and at the end nothing is left: no connection, no
 * buffer, no packet. Each run is one seed; the same seed gives the same frames.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

#define SECOND 1000000000ull
#define STEP (2 * MS)

struct plan {
	struct world_link link;
	uint64_t bytes;       /* from the client; the server sends half as many */
	uint64_t bound_s;     /* virtual seconds in which all must be there */
	uint32_t rcvbuf;      /* 0: the default */
	uint32_t queue;       /* bytes that a user queues at once; 0: plenty */
	uint32_t write_most;  /* bytes of one write */
	uint32_t read_most;   /* bytes of one read; a user reads once in a step then; 0: all there is */
	bool nodelay;
};

struct side {
	struct sock *sk;
	uint64_t sent, got, total;
	unsigned queued, released;
	uint8_t seed;
	bool shut;
};

struct run {
	const struct plan *plan;
	struct world *w;
	struct sock *listener;
	struct side client, server;
	uint64_t random, seed;
};

static uint32_t draw(struct run *r, uint32_t below)
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
}

static struct run *run_new(const struct plan *plan, uint64_t seed)
{
	struct run *r = calloc(1, sizeof(*r));
	struct cv_endpoint at = world_endpoint(1, 80);

	assert_non_null(r);
	r->plan = plan;
	r->seed = seed;
	r->random = (seed + 77) * 0x9e3779b97f4a7c15ull;
	r->w = world_new(seed, &plan->link);
	r->client.total = plan->bytes;
	r->server.total = plan->bytes / 2;
	r->client.seed = 1;
	r->server.seed = 99;
	assert_int_equal(sock_open(r->w->host[1].e, CV_AF_INET, CV_STREAM, &r->listener), 0);
	configure(r, r->listener);
	assert_int_equal(sock_bind(r->listener, &at), 0);
	assert_int_equal(sock_listen(r->listener, 8), 0);
	assert_int_equal(sock_open(r->w->host[0].e, CV_AF_INET, CV_STREAM, &r->client.sk), 0);
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
		uint32_t n = draw(r, r->plan->write_most ? r->plan->write_most : 8000) + 1;

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
		n = sock_recv_copy(s->sk, buf, draw(r, most) + 1);
		for (uint32_t i = 0; i < n; i++) {
			if (buf[i] != pattern(s->got + i, seed))
				fail_msg("seed %llu: byte %llu is wrong", (unsigned long long)r->seed,
					(unsigned long long)(s->got + i));
		}
		s->got += n;
	} while (n > 0 && r->plan->read_most == 0);
}

static bool run_done(const struct run *r)
{
	const struct side *c = &r->client, *s = &r->server;

	return s->sk != NULL && c->got == s->total && s->got == c->total &&
		(c->sk->status & CV_ST_RX_EOF) && (s->sk->status & CV_ST_RX_EOF) &&
		c->sk->tx_acked == c->sk->tx_taken && s->sk->tx_acked == s->sk->tx_taken;
}

static void run_step(struct run *r)
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

static void side_close(struct side *s, bool abort)
{
	if (s->sk != NULL)
		sock_close(s->sk, abort);
	s->sk = NULL;
}

/* After the last user let go: timers included, nothing may be left. Returns the hash of all frames. */
static uint64_t run_end(struct run *r)
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

static uint64_t transfer(const struct plan *plan, uint64_t seed)
{
	struct run *r = run_new(plan, seed);
	uint64_t begin = r->w->now_ns;

	while (!run_done(r) && r->w->now_ns - begin < plan->bound_s * SECOND)
		run_step(r);
	if (!run_done(r)) {
		story_of(r, &r->client, "client");
		story_of(r, &r->server, "server");
		fail_msg("seed %llu: not over after %llu virtual seconds", (unsigned long long)seed,
			(unsigned long long)plan->bound_s);
	}
	if (getenv("TRANSFER_TIMES"))
		print_message("seed %llu: %llu ms, %llu frames\n", (unsigned long long)seed,
			(unsigned long long)((r->w->now_ns - begin) / MS),
			(unsigned long long)r->w->frames_sent);
	return run_end(r);
}

static void transfers(const struct plan *plan, uint64_t first, unsigned seeds)
{
	for (uint64_t seed = first; seed < first + seeds; seed++)
		transfer(plan, seed);
}

/* --- links --------------------------------------------------------------------------------------- */

static void perfect_link__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = MS}, .bytes = 5000000, .bound_s = 10}, 1, 3);
	transfers(&(struct plan){.link = {.delay_ns = 0}, .bytes = 5000000, .bound_s = 10}, 4, 2);
	transfers(&(struct plan){.link = {.delay_ns = 100 * MS}, .bytes = 2000000, .bound_s = 20}, 6, 2);
}

static void one_byte_and_nothing__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = MS}, .bytes = 1, .bound_s = 3}, 1, 2);
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 200}, .bytes = 2, .bound_s = 200}, 10, 20);
}

static void loss_of_1_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 10}, .bytes = 2000000, .bound_s = 60}, 20, 8);
}

static void loss_of_5_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .loss = 50}, .bytes = 1000000, .bound_s = 120}, 40, 8);
}

/* The bound is wide: when an ACK is lost after a long backoff, the next one echoes the old timestamp, and the
 * round trip seems to have taken all that time (RFC7323:4.3 and Linux have it so). */
static void loss_of_20_percent__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 20 * MS, .loss = 200}, .bytes = 100000, .bound_s = 3600}, 60, 12);
}

static void reordered__transfer__arrives(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .reorder = 100, .reorder_ns = 3 * MS},
			  .bytes = 2000000, .bound_s = 60},
		80, 6);
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .reorder = 300, .reorder_ns = 40 * MS},
			  .bytes = 1000000, .bound_s = 120},
		90, 4);
}

static void duplicated__transfer__arrives_once(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .duplicate = 300}, .bytes = 2000000, .bound_s = 60},
		100, 6);
}

static void corrupted__transfer__arrives_undamaged(void **state)
{
	(void)state;
	transfers(&(struct plan){.link = {.delay_ns = 5 * MS, .corrupt = 50}, .bytes = 1000000, .bound_s = 120},
		120, 6);
}

static void everything_at_once__many_seeds__arrives(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .loss = 50, .reorder = 100, .reorder_ns = 9 * MS,
					  .duplicate = 50, .corrupt = 20},
		.bytes = 300000, .bound_s = 300};

	(void)state;
	transfers(&plan, 1000, 40);
}

/* --- users ---------------------------------------------------------------------------------------- */

static void small_receive_buffer__transfer__arrives(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS, .loss = 20}, .bytes = 300000, .bound_s = 300, .rcvbuf = 4096};

	(void)state;
	transfers(&plan, 200, 4);
	plan.rcvbuf = 20000;
	transfers(&plan, 210, 4);
}

static void slow_reader__zero_windows__arrives(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS}, .bytes = 200000, .bound_s = 300, .rcvbuf = 8192, .read_most = 300};

	(void)state;
	transfers(&plan, 220, 4);
	plan.link.loss = 50;
	plan.bound_s = 900;
	transfers(&plan, 230, 6);
}

static void tiny_writes__nodelay_and_nagle__arrive(void **state)
{
	struct plan plan = {.link = {.delay_ns = MS, .loss = 20}, .bytes = 30000, .bound_s = 300, .write_most = 20,
		.queue = 3000};

	(void)state;
	transfers(&plan, 240, 4);
	plan.nodelay = true;
	transfers(&plan, 250, 4);
}

/* Somebody lets go at any moment, with or without a reset: the other side gets a part, or all, and
 * everything ends. */
static void closes_at_random__every_socket_ends(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 2 * MS, .loss = 50, .reorder = 100, .reorder_ns = 5 * MS,
					  .duplicate = 20},
		.bytes = 200000, .bound_s = 300};

	(void)state;
	for (uint64_t seed = 3000; seed < 3100; seed++) {
		struct run *r = run_new(&plan, seed);
		uint32_t steps = draw(r, 120), who = draw(r, 3);
		bool abort = draw(r, 2) == 0;

		for (uint32_t i = 0; i < steps && !run_done(r); i++)
			run_step(r);
		if (who != 1)
			side_close(&r->client, abort);
		if (who != 0)
			side_close(&r->server, abort);
		if (who == 2 && draw(r, 2) == 0)
			world_run(r->w, draw(r, 1000) * MS, NULL, NULL);
		run_end(r);
	}
}

/* --- determinism ---------------------------------------------------------------------------------- */

static void same_seed__same_frames__other_seed__others(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .loss = 30, .reorder = 50, .reorder_ns = 9 * MS,
					  .duplicate = 20, .corrupt = 10},
		.bytes = 300000, .bound_s = 300};
	uint64_t one = transfer(&plan, 5), again = transfer(&plan, 5), other = transfer(&plan, 6);

	(void)state;
	assert_true(one == again);
	assert_true(one != other);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(perfect_link__transfer__arrives),
		cmocka_unit_test(one_byte_and_nothing__transfer__arrives),
		cmocka_unit_test(loss_of_1_percent__transfer__arrives),
		cmocka_unit_test(loss_of_5_percent__transfer__arrives),
		cmocka_unit_test(loss_of_20_percent__transfer__arrives),
		cmocka_unit_test(reordered__transfer__arrives),
		cmocka_unit_test(duplicated__transfer__arrives_once),
		cmocka_unit_test(corrupted__transfer__arrives_undamaged),
		cmocka_unit_test(everything_at_once__many_seeds__arrives),
		cmocka_unit_test(small_receive_buffer__transfer__arrives),
		cmocka_unit_test(slow_reader__zero_windows__arrives),
		cmocka_unit_test(tiny_writes__nodelay_and_nagle__arrive),
		cmocka_unit_test(closes_at_random__every_socket_ends),
		cmocka_unit_test(same_seed__same_frames__other_seed__others),
	};

	world_eal_init("tcp_transfer");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
