/* SPDX-License-Identifier: BSD-3-Clause */
/* Links on which large frames vanish without a word (tcp_plpmtud.c, RFC4821): all arrives in time,
 * the MSS comes back up to what the path takes; and a loss that is one, or an outage, changes
 * nothing for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/transfer.h"

#define MB 1000000ull
#define ETHERNET 14u
#define HEADERS_V4 (ETHERNET + 20 + 20 + 12) /* with timestamps */
#define HEADERS_V6 (ETHERNET + 40 + 20 + 12)
#define FULL_V4 (1514u - HEADERS_V4)
#define CLOSE 8u /* how near the search comes */

static uint32_t probing(const struct run *r)
{
	return r->w->host[0].e->tcp->plpmtuds.used + r->w->host[1].e->tcp->plpmtuds.used;
}

static uint64_t black_holes(const struct run *r)
{
	return r->w->host[0].e->counters.tcp_black_holes +
	       r->w->host[1].e->counters.tcp_black_holes;
}

static void run_until(struct run *r, bool (*done)(const struct run *r), uint64_t bound_ns)
{
	uint64_t begin = r->w->now_ns;

	while (!done(r)) {
		if (r->w->now_ns - begin >= bound_ns) {
			run_story(r);
			fail_msg("not over in time");
		}
		run_step(r);
	}
}

static void run_for(struct run *r, uint64_t ns)
{
	for (uint64_t end = r->w->now_ns + ns; r->w->now_ns < end;)
		run_step(r);
}

static uint32_t client_mss(const struct run *r)
{
	return tcp_of(r->client.sk)->mss;
}

static void end(struct run *r)
{
	side_close(&r->client, false);
	side_close(&r->server, false);
	world_run(r->w, SEC, NULL, NULL);
	assert_int_equal(probing(r), 0);
	run_end(r);
}

/* All of it, through links of several widths; the MSS at the end is the path's to a few bytes. */
static void frames_above_a_size_vanish__all_arrives_and_the_mss_is_found(void **state)
{
	static const struct {
		uint32_t frame_max;
		bool ipv6;
	} links[] = {
		{1400, false}, {1280 + ETHERNET, true}, {1492, false}, {1111, false}, {1400, true}};

	(void)state;
	for (unsigned i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		const struct plan plan = {
			.link = {.delay_ns = 5 * MS, .frame_max = links[i].frame_max},
			.bytes = 4 * MB,
			.write_most = 20000,
			.ipv6 = links[i].ipv6};
		struct run *r = run_new(&plan, 1 + i);
		uint32_t fits = links[i].frame_max - (links[i].ipv6 ? HEADERS_V6 : HEADERS_V4),
			 mss = 0;
		uint64_t begin = r->w->now_ns;

		while (!run_done(r)) {
			run_step(r);
			assert_true(r->w->now_ns - begin < 10 * SEC);
			if (r->client.sk->status & CV_ST_CONNECTED)
				mss = client_mss(r);
		}
		if (mss > fits || mss + CLOSE < fits)
			fail_msg("frames of %u bytes: the MSS is %u, %u would fit",
				links[i].frame_max, mss, fits);
		assert_in_range(black_holes(r), 1, 2); /* each side once */
		end(r);
	}
}

static bool three_quarters(const struct run *r)
{
	return r->server.got > r->client.total * 3 / 4;
}

/* A probe that is lost costs no window: no reduction after the one of the timeouts. */
static void probe__lost__is_no_congestion(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .frame_max = 1400},
		.bytes = 20 * MB,
		.write_most = 20000,
		.queue = 4 << 20};
	struct run *r = run_new(&plan, 1);
	const struct tcp_sock *tp = tcp_of(r->client.sk);
	uint32_t cwnd = 0;

	(void)state;
	r->server.total = 1;
	while (!three_quarters(r)) {
		run_step(r);
		if (tp->plpmtud == NULL || tp->rto_recovery)
			continue;
		if (tp->cwnd < cwnd)
			fail_msg("cwnd fell from %u to %u", cwnd, tp->cwnd);
		cwnd = tp->cwnd;
	}
	assert_in_range(r->w->host[0].e->counters.tcp_mtu_probes, 4,
		8); /* of 1,024 to 1,448 bytes the half, and so on */
	assert_true(tp->plpmtud->rest_ms != 0);
	run_until(r, run_done, 20 * SEC);
	end(r);
}

/* The path is tried again after ten minutes, and has become as wide as its first link. */
static void path__widens__is_found_at_the_next_search(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .frame_max = 1400},
		.bytes = 1ull << 40,
		.write_most = 20000,
		.queue = 200000};
	struct run *r = run_new(&plan, 1);

	(void)state;
	r->server.total = 1;
	run_for(r, 10 * SEC);
	assert_int_equal(black_holes(r), 1);
	assert_in_range(client_mss(r), 1400 - HEADERS_V4 - CLOSE, 1400 - HEADERS_V4);
	r->w->link.frame_max = 0;
	r->client.total = r->client.sent; /* silence; the end is not yet */
	r->client.shut = true;
	world_run(r->w, 599 * SEC, NULL, NULL);
	r->client.total = r->client.sent + 2 * MB;
	run_for(r, 5 * SEC);
	assert_int_equal(client_mss(r), FULL_V4);
	assert_int_equal(probing(r), 0);
	r->client.shut = false;
	run_until(r, run_done, 20 * SEC);
	end(r);
}

/* Nothing arrives for a while: the segments become small, and are large again soon after. */
static void outage__is_over__mss_comes_back(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS},
		.bytes = 300 * MB,
		.write_most = 20000,
		.queue = 400000};
	struct run *r = run_new(&plan, 1);

	(void)state;
	r->server.total = 1;
	run_for(r, 100 * MS);
	assert_int_equal(client_mss(r), FULL_V4);
	r->w->link.loss = 1000;
	r->w->link.spares_arp = true;
	run_for(r, 4 * SEC);
	assert_int_equal(client_mss(r), FULL_V4); /* segments as large have arrived: it takes longer to doubt that */
	run_for(r, 100 * SEC);
	assert_int_equal(client_mss(r), 1024);
	assert_int_equal(probing(r), 1);
	r->w->link.loss = 0;
	run_for(r, 110 * SEC); /* the timer has doubled */
	assert_int_equal(client_mss(r), FULL_V4);
	assert_int_equal(probing(r), 0);
	side_close(&r->client, true);
	end(r);
}

static void losses__of_three_in_a_hundred__are_no_black_hole(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS, .loss = 30, .spares_arp = true},
		.bytes = 2 * MB,
		.bound_s = 60};

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct run *r = run_new(&plan, seed);

		run_until(r, run_done, 60 * SEC);
		assert_int_equal(black_holes(r), 0);
		end(r);
	}
}

/* What is smaller than the smaller segments is lost for another reason. */
static void small_segments__time_out__stay_as_they_are(void **state)
{
	const struct plan plan = {
		.link = {.delay_ns = 5 * MS, .spares_arp = true}, .bytes = 500, .write_most = 400};
	struct run *r = run_new(&plan, 1);

	(void)state;
	world_run(r->w, 15 * MS, NULL, NULL);
	r->w->link.loss = 1000;
	run_for(r, 10 * SEC);
	assert_true(tcp_of(r->client.sk)->backoff >= engine_tcp_defaults.retries1);
	assert_int_equal(black_holes(r), 0);
	r->w->link.loss = 0;
	run_until(r, run_done, 60 * SEC);
	end(r);
}

static void mtu_probing_2__a_new_connection__begins_small_and_grows(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 5 * MS},
		.bytes = 3 * MB,
		.write_most = 20000,
		.queue = 400000};
	struct run *r;

	(void)state;
	world_tcp.mtu_probing = 2;
	r = run_new(&plan, 1);
	while (!(r->client.sk->status & CV_ST_CONNECTED))
		run_step(r);
	assert_int_equal(client_mss(r), 1024);
	run_until(r, run_done, 10 * SEC);
	assert_int_equal(client_mss(r), FULL_V4);
	end(r);
	world_tcp.mtu_probing = engine_tcp_defaults.mtu_probing;
}

static void mtu_probing_0__frames_vanish__times_out(void **state)
{
	const struct plan plan = {
		.link = {.delay_ns = 5 * MS, .frame_max = 1400}, .bytes = MB, .write_most = 20000};
	struct run *r;

	(void)state;
	world_tcp.mtu_probing = 0;
	r = run_new(&plan, 1);
	run_for(r, 30 * SEC);
	assert_int_equal(r->server.got, 0);
	assert_int_equal(client_mss(r), FULL_V4);
	side_close(&r->client, true);
	side_close(&r->server, true);
	end(r);
	world_tcp.mtu_probing = engine_tcp_defaults.mtu_probing;
}

static void probe__under_way_in_a_timeout__has_failed(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 50 * MS, .frame_max = 1400},
		.bytes = 1ull << 40,
		.write_most = 20000};
	struct run *r = run_new(&plan, 1);
	const struct tcp_sock *tp = tcp_of(r->client.sk);
	uint32_t probe;

	(void)state;
	r->server.total = 1;
	while (tp->plpmtud == NULL || tp->plpmtud->probe == 0)
		run_step(r);
	probe = tp->plpmtud->probe;
	r->w->link.loss = 1000;
	r->w->link.spares_arp = true;
	while (tp->backoff == 0)
		run_step(r);
	assert_int_equal(tp->plpmtud->probe, 0);
	assert_int_equal(tp->plpmtud->high, probe - 1);
	r->w->link.loss = 0;
	side_close(&r->client, true);
	end(r);
}

/* The connection ends while a probe is out: nothing is left. */
static void probe__under_way__reset(void **state)
{
	const struct plan plan = {.link = {.delay_ns = 50 * MS, .frame_max = 1400},
		.bytes = 1ull << 40,
		.write_most = 20000};
	struct run *r = run_new(&plan, 1);

	(void)state;
	r->server.total = 1;
	for (int i = 0; i < 10000 && (probing(r) == 0 || tcp_of(r->client.sk)->plpmtud->probe == 0);
		i++)
		run_step(r);
	assert_int_equal(probing(r), 1);
	side_close(&r->server, true);
	world_run(r->w, 200 * MS, NULL, NULL);
	assert_true(r->client.sk->status & CV_ST_DEAD);
	assert_int_equal(probing(r), 0);
	end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_above_a_size_vanish__all_arrives_and_the_mss_is_found),
		cmocka_unit_test(probe__lost__is_no_congestion),
		cmocka_unit_test(path__widens__is_found_at_the_next_search),
		cmocka_unit_test(outage__is_over__mss_comes_back),
		cmocka_unit_test(losses__of_three_in_a_hundred__are_no_black_hole),
		cmocka_unit_test(small_segments__time_out__stay_as_they_are),
		cmocka_unit_test(mtu_probing_2__a_new_connection__begins_small_and_grows),
		cmocka_unit_test(mtu_probing_0__frames_vanish__times_out),
		cmocka_unit_test(probe__under_way_in_a_timeout__has_failed),
		cmocka_unit_test(probe__under_way__reset),
	};

	world_eal_init_large("world_tcp_plpmtud", 32767);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
