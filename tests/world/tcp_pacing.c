/* SPDX-License-Identifier: BSD-3-Clause */
/* Pacing (tcp_pace.c): SO_MAX_PACING_RATE, large windows over long paths; and that nothing of it is
 * left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/script.h"
#include "tests/world/transfer.h"

#define MBIT 1000000ull
#define KB 1000ull
#define MB 1000000ull

static uint32_t paced(const struct run *r)
{
	return r->w->host[0].e->tcp->paces.used + r->w->host[1].e->tcp->paces.used;
}

static void run_for(struct run *r, uint64_t ns)
{
	for (uint64_t end = r->w->now_ns + ns; r->w->now_ns < end;)
		run_step(r);
}

static void max_rate_set(struct sock *sk, uint64_t rate)
{
	assert_int_equal(sock_setopt(sk, CV_OPT_MAX_PACING_RATE, &rate, sizeof(rate)), 0);
}

/* The client sends without an end, the server answers nothing that counts. */
static struct run *bulk_new(const struct plan *plan, uint64_t rate)
{
	struct run *r = run_new(plan, 1);

	r->server.total = 1;
	max_rate_set(r->client.sk, rate);
	return r;
}

static void bulk_end(struct run *r)
{
	side_close(&r->client, true);
	side_close(&r->server, true);
	assert_int_equal(paced(r), 0);
	run_end(r);
}

/* In 1/1000 of what was wanted. */
static uint64_t rate_of(struct run *r, uint64_t wanted, uint64_t ns)
{
	uint64_t got = r->server.got, since = r->w->now_ns;

	run_for(r, ns);
	return (r->server.got - got) * SEC / (r->w->now_ns - since) * 1000 / wanted;
}

static void max_pacing_rate__bulk__leaves_at_that_rate(void **state)
{
	static const uint64_t rates[] = {20 * KB, 1 * MB, 10 * MB, 50 * MB};
	static const uint64_t delays[] = {100000, 10 * MS};

	(void)state;
	for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (unsigned d = 0; d < 2; d++) {
			const struct plan plan = {.link = {.delay_ns = delays[d]},
				.bytes = 1ull << 40,
				.queue = 4 << 20,
				.write_most = 60000};
			struct run *r = bulk_new(&plan, rates[i]);
			uint64_t rate;

			run_for(r, 500 * MS); /* the window grows to it */
			rate = rate_of(r, rates[i], rates[i] < MB ? 10 * SEC : 2 * SEC);
			if (rate < 980 || rate > 1020)
				fail_msg("%llu bytes/s, delay %llu us: %llu/1000 of it",
					(unsigned long long)rates[i],
					(unsigned long long)delays[d] / 1000,
					(unsigned long long)rate);
			bulk_end(r);
		}
	}
}

static void max_pacing_rate__changed__holds_at_once(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS},
		.bytes = 1ull << 40,
		.queue = 4 << 20,
		.write_most = 60000};
	struct run *r = bulk_new(&plan, 4 * KB); /* a segment in a third of a second */
	uint64_t rate;

	(void)state;
	run_for(r, SEC);
	max_rate_set(r->client.sk, 5 * MB);
	run_for(r, 200 * MS);
	rate = rate_of(r, 5 * MB, SEC);
	assert_in_range(rate, 970, 1030);
	max_rate_set(r->client.sk, MB);
	run_for(r, 50 * MS);
	rate = rate_of(r, MB, SEC);
	assert_in_range(rate, 970, 1030);
	max_rate_set(r->client.sk, UINT64_MAX);
	run_for(r, 500 * MS);
	assert_true(rate_of(r, MB, SEC) > 5000);
	bulk_end(r);
}

struct burst {
	uint64_t since_ns, bytes, most;
};

static void burst_watch(void *ctx, int host, bool sent, const uint8_t *frame, uint32_t len)
{
	struct burst *b = ctx;
	(void)frame;

	if (host == 0 && sent)
		b->bytes += len;
}

/* 12 segments in 10 ms: of no 3 ms window more than two quanta. */
static void max_pacing_rate__no_time__has_more_than_its_quanta(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 20 * MS},
		.bytes = 1ull << 40,
		.queue = 4 << 20,
		.write_most = 60000};
	struct run *r = bulk_new(&plan, 1740 * KB);
	struct burst b = {0};
	(void)state;

	run_for(r, SEC);
	r->w->watch = burst_watch;
	r->w->watch_ctx = &b;
	for (int i = 0; i < 1000; i++) {
		b.bytes = 0;
		run_step(r); /* 2 ms */
		b.most = b.bytes > b.most ? b.bytes : b.most;
	}
	assert_in_range(b.most, 2 * 1514, 6 * 1514);
	r->w->watch = NULL;
	bulk_end(r);
}

static void max_pacing_rate__of_the_listener__the_connection_has_it(void **state)
{
	const struct plan plan = {.link = {.delay_ns = MS}, .bytes = 100000};
	struct run *r = run_new(&plan, 1);
	struct cv_tcp_info info;
	uint64_t rate = 0;
	uint32_t len = sizeof(rate);

	(void)state;
	max_rate_set(r->listener, 123456);
	while (!run_done(r))
		run_step(r);
	assert_int_equal(sock_getopt(r->server.sk, CV_OPT_MAX_PACING_RATE, &rate, &len), 0);
	assert_int_equal(rate, 123456);
	len = sizeof(info);
	assert_int_equal(sock_getopt(r->server.sk, CV_OPT_TCP_INFO, &info, &len), 0);
	assert_int_equal(info.max_pacing_rate, 123456);
	assert_int_equal(info.pacing_rate, 123456);
	/* One that nobody bounds: what Linux would pace it by. */
	len = sizeof(info);
	assert_int_equal(sock_getopt(r->client.sk, CV_OPT_TCP_INFO, &info, &len), 0);
	assert_true(info.max_pacing_rate == UINT64_MAX);
	assert_int_equal(
		info.pacing_rate, (uint64_t)info.snd_cwnd * info.snd_mss * 2 * 1000000 / info.rtt);
	side_close(&r->server, false);
	sock_close(r->listener, false);
	side_close(&r->client, false);
	world_run(r->w, 100 * SEC, NULL, NULL);
	assert_int_equal(paced(r), 0);
	world_free(r->w);
	free(r);
}

/* 50 Mbit/s over 300 ms with a queue of a tenth of what is under way then. */
#define LONG_RATE (50 * MBIT)
#define LONG_RTT (300 * MS)
#define LONG_BDP (LONG_RATE / 8 * LONG_RTT / SEC)
static const struct plan long_plan = {
	.link = {.delay_ns = LONG_RTT / 2, .rate_bps = LONG_RATE, .queue_bytes = LONG_BDP / 10},
	.bytes = 30 * MB,
	.queue = 8 << 20,
	.write_most = 60000};

struct outcome {
	uint64_t ms, drops, undone;
	uint32_t again;
};

static struct run *long_new(bool pacing)
{
	struct run *r;

	world_tcp.pacing_window = pacing ? engine_tcp_defaults.pacing_window : 0;
	r = run_new(&long_plan, 1);
	world_tcp.pacing_window = engine_tcp_defaults.pacing_window;
	r->server.total = 1;
	return r;
}

static void long_run(struct run *r, bool (*done)(const struct run *r))
{
	uint64_t begin = r->w->now_ns;

	while (!done(r)) {
		run_step(r);
		assert_true(r->w->now_ns - begin < 100 * SEC);
	}
}

static struct outcome long_end(struct run *r, uint64_t begin)
{
	struct outcome o = {.ms = (r->w->now_ns - begin) / MS,
		.drops = r->w->wire[1].queue_drops,
		.undone = r->w->host[0].e->counters.tcp_undone,
		.again = tcp_of(r->client.sk)->total_retrans};

	run_end(r);
	return o;
}

static struct outcome bulk_over_long_path(bool pacing)
{
	struct run *r = long_new(pacing);
	uint64_t begin = r->w->now_ns;

	long_run(r, run_done);
	return long_end(r, begin);
}

/* Slow start goes on for a round trip behind the full queue, before the sender hears of it, and doubles the window once
 * more: 1.5 times of what path and queue hold. What that costs is a segment lost for each beyond, and no more: each goes
 * again once, at a rate that loses hardly any other. */
static void cubic__long_path_with_a_small_queue__ends_sooner(void **state)
{
	struct outcome without = bulk_over_long_path(false), with = bulk_over_long_path(true);

	(void)state;
	print_message("30 MB: %llu ms unpaced, %llu ms paced, %llu lost\n", (unsigned long long)without.ms,
		(unsigned long long)with.ms, (unsigned long long)with.drops);
	assert_true(with.ms * 10 < without.ms * 6);
	assert_int_equal(with.again, with.drops);
	assert_int_equal(with.undone, 0);
	assert_true(with.drops < LONG_BDP * 65 / 100 / 1448);
}

static bool all_read(const struct run *r)
{
	return r->server.got == r->client.total;
}

/* As video goes: a piece, a silence, a piece. The window is open when one begins. */
static struct outcome pieces_over_long_path(bool pacing)
{
	struct run *r = long_new(pacing);
	uint64_t begin = r->w->now_ns;

	r->client.total = 0;
	for (int i = 0; i < 20; i++) {
		r->client.total += 600 * KB;
		r->client.shut = i < 19; /* no end yet */
		long_run(r, all_read);
		run_for(r, LONG_RTT);
	}
	long_run(r, run_done);
	return long_end(r, begin);
}

static void cubic__pieces_over_a_long_path__hardly_lose(void **state)
{
	struct outcome without = pieces_over_long_path(false), with = pieces_over_long_path(true);

	(void)state;
	print_message("20 pieces: %llu ms, %llu frames lost unpaced; %llu ms, %llu paced\n",
		(unsigned long long)without.ms, (unsigned long long)without.drops,
		(unsigned long long)with.ms, (unsigned long long)with.drops);
	assert_true(without.drops > 50);
	assert_true(with.drops * 10 < without.drops);
	assert_true(with.ms < without.ms);
}

static void short_path__large_window__is_not_paced(void **state)
{
	const struct plan plan = {
		.link = {.delay_ns = MS}, .bytes = 8 * MB, .queue = 4 << 20, .write_most = 60000};
	struct run *r = run_new(&plan, 1);
	uint32_t cwnd = 0;

	(void)state;
	while (!run_done(r)) {
		run_step(r);
		cwnd = tcp_of(r->client.sk)->cwnd > cwnd ? tcp_of(r->client.sk)->cwnd : cwnd;
		assert_int_equal(paced(r), 0);
	}
	assert_true(cwnd > engine_tcp_defaults.pacing_window);
	run_end(r);
}

/* A sender that waits for its time, in the middle of a transfer. */
static struct run *held_new(const struct plan *plan)
{
	struct run *r = bulk_new(plan, 100 * KB);

	run_for(r, SEC);
	for (int i = 0; i < 100 && !tcp_pace_holds(tcp_of(r->client.sk)); i++)
		run_step(r);
	assert_true(tcp_pace_holds(tcp_of(r->client.sk)));
	return r;
}

static const struct plan held_plan = {
	.link = {.delay_ns = 10 * MS, .spares_arp = true}, .bytes = 1ull << 40};

static void held__aborted__nothing_is_left(void **state)
{
	struct run *r = held_new(&held_plan);

	(void)state;
	side_close(&r->client, true);
	assert_int_equal(paced(r), 0);
	bulk_end(r);
}

static void held__reset_by_the_peer__nothing_is_left(void **state)
{
	struct run *r = held_new(&held_plan);

	(void)state;
	side_close(&r->server, true);
	world_run(r->w, 100 * MS, NULL, NULL);
	assert_true(r->client.sk->status & CV_ST_DEAD);
	assert_false(tcp_pace_holds(tcp_of(r->client.sk)));
	side_close(&r->client, false);
	assert_int_equal(paced(r), 0);
	bulk_end(r);
}

static void held__closed__the_rest_goes_at_the_rate(void **state)
{
	struct plan plan = held_plan;
	struct run *r;
	uint64_t begin;

	(void)state;
	plan.bytes = 500000;
	r = held_new(&plan);
	begin = r->w->now_ns;
	while (!run_done(r)) {
		run_step(r);
		assert_true(r->w->now_ns - begin < 10 * SEC);
	}
	assert_in_range((r->w->now_ns - begin) / MS, 3700,
		4200); /* 500 KB at 100 KB/s, of which a second was */
	bulk_end(r);
}

static void held__nothing_arrives_any_more__times_out(void **state)
{
	struct run *r = held_new(&held_plan);

	(void)state;
	r->w->link.loss = 1000;
	for (int i = 0; i < 2000 && !(r->client.sk->status & CV_ST_DEAD); i++)
		world_run(r->w, SEC, NULL, NULL);
	assert_int_equal(r->client.sk->error, CV_ETIMEDOUT);
	assert_false(tcp_pace_holds(tcp_of(r->client.sk)));
	side_close(&r->client, false);
	assert_int_equal(paced(r), 0);
	r->w->link.loss = 0;
	bulk_end(r);
}

/* Losses and a rate together: all arrives, at not much less than the rate. */
static void max_pacing_rate__with_losses__all_arrives(void **state)
{
	const struct plan plan = {
		.link = {.delay_ns = 10 * MS, .loss = 10}, .bytes = 5 * MB, .bound_s = 30};

	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct run *r = run_new(&plan, seed);
		uint64_t begin = r->w->now_ns;

		max_rate_set(r->client.sk, MB);
		while (!run_done(r)) {
			run_step(r);
			assert_true(r->w->now_ns - begin < 30 * SEC);
		}
		assert_true(r->w->now_ns - begin > 5 * SEC);
		side_close(&r->client, false);
		side_close(&r->server, false);
		run_end(r);
	}
}

static void config__pacing_rate_without_a_sample__is_unbounded(void **state)
{
	const struct plan plan = {.link = {.delay_ns = MS}};
	struct run *r = run_new(&plan, 1);
	struct cv_tcp_info info;
	uint32_t len = sizeof(info);

	(void)state;
	assert_int_equal(sock_getopt(r->client.sk, CV_OPT_TCP_INFO, &info, &len), 0);
	assert_true(info.pacing_rate == UINT64_MAX);
	run_for(r, 10 * MS);
	run_end(r);
}

/* Segments have become larger than the window: what goes goes at the rate of one of them in a round trip, no slower. */
static void window_less_than_a_segment__paced__goes_on(void **state)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_wait(s, 20 * MS);
	script_set(ls, CV_OPT_MAXSEG, 100);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(ls, false);
	max_rate_set(sk, MB);
	assert_int_equal(tcp_of(sk)->cwnd, 1000);
	script_set(sk, CV_OPT_MAXSEG, 0);
	script_write(s, sk, 10 * 1460);
	for (uint32_t at = 0; at < 10 * 1460; at += 1460) {
		script_expect_in(s, 200 * MS, TCP_ACK, 1 + at, 1, 1460);
		script_send(s, TCP_ACK, 1, 1 + at + 1460, NULL, 0);
	}
	script_gone(s, sk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(max_pacing_rate__bulk__leaves_at_that_rate),
		cmocka_unit_test(max_pacing_rate__changed__holds_at_once),
		cmocka_unit_test(max_pacing_rate__no_time__has_more_than_its_quanta),
		cmocka_unit_test(max_pacing_rate__of_the_listener__the_connection_has_it),
		cmocka_unit_test(max_pacing_rate__with_losses__all_arrives),
		cmocka_unit_test(cubic__long_path_with_a_small_queue__ends_sooner),
		cmocka_unit_test(cubic__pieces_over_a_long_path__hardly_lose),
		cmocka_unit_test(short_path__large_window__is_not_paced),
		cmocka_unit_test(held__aborted__nothing_is_left),
		cmocka_unit_test(held__reset_by_the_peer__nothing_is_left),
		cmocka_unit_test(held__closed__the_rest_goes_at_the_rate),
		cmocka_unit_test(held__nothing_arrives_any_more__times_out),
		cmocka_unit_test(config__pacing_rate_without_a_sample__is_unbounded),
		cmocka_unit_test(window_less_than_a_segment__paced__goes_on),
	};

	world_eal_init_large("world_tcp_pacing", 65535);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
