/* SPDX-License-Identifier: BSD-3-Clause */
/* CUBIC's window against the formulas of RFC9438, computed the slow way, with acknowledgements that come evenly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"

#define MSS 1448u
#define C 0.4
#define BETA 0.7

/* A connection that is always limited by its window: nothing else of it is looked at. */
struct bed {
	struct engine e;
	struct tcp_sock tp;
	uint64_t rtt_ns;
	double rest; /* of bytes acknowledged */
};

static struct bed bed;

static void begin(uint32_t cwnd, uint32_t rtt_ms)
{
	memset(&bed, 0, sizeof(bed));
	engine_set_now(&bed.e, 5 * SEC);
	bed.tp.sk.engine = &bed.e;
	bed.tp.mss = MSS;
	bed.tp.cc = &tcp_cc_cubic;
	bed.tp.cwnd = cwnd;
	bed.tp.ssthresh = UINT32_MAX;
	bed.tp.srtt_us = rtt_ms * 1000;
	bed.rtt_ns = rtt_ms * MS;
}

static void lose(void)
{
	bed.tp.snd_max = bed.tp.snd_una + bed.tp.cwnd;
	bed.tp.ssthresh = bed.tp.cc->ssthresh(&bed.tp);
	bed.tp.cwnd = bed.tp.ssthresh;
}

/* A window is acknowledged in each round trip, in ACKs of two segments. */
static void run(uint64_t ns)
{
	uint64_t end = bed.e.now_ns + ns;

	while (bed.e.now_ns < end) {
		bed.e.now_ns += (uint64_t)(2.0 * MSS / bed.tp.cwnd * (double)bed.rtt_ns);
		bed.tp.cc->acked(&bed.tp, 2 * MSS);
	}
}

static double cube_root(double n)
{
	double x = n > 1 ? n : 1;

	for (int i = 0; i < 200; i++)
		x -= (x * x * x - n) / (3 * x * x);
	return x;
}

/* In segments, t seconds after the loss at w_max. */
static double w_cubic(double w_max, double from, double t)
{
	double d = t - cube_root((w_max - from) / C);

	return C * d * d * d + w_max;
}

static void near(double got, double wanted, double part)
{
	if (got < wanted * (1 - part) || got > wanted * (1 + part))
		fail_msg("%.1f is not %.1f within %.1f %%", got, wanted, part * 100);
}

static void cube_roots__are_exact(void **state)
{
	(void)state;
	for (uint64_t x = 0; x < 2642246; x = x * 3 / 2 + 1) {
		assert_int_equal(tcp_cubic_root(x * x * x), x);
		if (x > 1)
			assert_int_equal(tcp_cubic_root(x * x * x - 1), x - 1);
	}
	assert_int_equal(tcp_cubic_root(UINT64_MAX), 2642245);
}

/* A long, fast path, where the cubic is ahead of Reno all the time. */
static void after_a_loss__long_path__follows_the_cubic(void **state)
{
	const double w_max = 10000;

	(void)state;
	begin((uint32_t)w_max * MSS, 100);
	lose();
	near(bed.tp.cwnd, BETA * w_max * MSS, 0.001);
	for (int second = 1; second <= 40; second++) {
		run(SEC);
		near((double)bed.tp.cwnd / MSS, w_cubic(w_max, BETA * w_max, second), 0.02);
	}
}

/* A short, slow one: there Reno is ahead, with alpha = 3 (1 - beta) / (1 + beta), and 1 above W_max (4.3). */
static void after_a_loss__short_path__as_fast_as_reno(void **state)
{
	const double w_max = 40, alpha = 3 * (1 - BETA) / (1 + BETA);
	double w = BETA * w_max;

	(void)state;
	begin((uint32_t)w_max * MSS, 10);
	lose();
	for (int i = 0; i < 60; i++) {
		run(10 * MS);
		w += w < w_max ? alpha : 1;
		near((double)bed.tp.cwnd / MSS, w, 0.06);
	}
}

static void second_loss_below_the_first__fast_convergence(void **state)
{
	const double first = 10000, second = 8000, w_max = second * (1 + BETA) / 2;

	(void)state;
	begin((uint32_t)first * MSS, 100);
	lose();
	bed.tp.cwnd = (uint32_t)second * MSS;
	lose();
	near(bed.tp.cwnd, BETA * second * MSS, 0.001);
	for (int s = 1; s <= 20; s++) {
		run(SEC);
		near((double)bed.tp.cwnd / MSS, w_cubic(w_max, BETA * second, s), 0.02);
	}
}

/* After a timeout the plateau is where congestion avoidance begins (4.8). */
static void timeout__curve_begins_at_its_plateau(void **state)
{
	double from;

	(void)state;
	begin(10000 * MSS, 100);
	lose();
	tcp_cc_event(&bed.tp, TCP_CC_RTO);
	bed.tp.cwnd = MSS;
	while (bed.tp.cwnd < bed.tp.ssthresh)
		bed.tp.cc->acked(&bed.tp, bed.tp.cwnd);
	from = (double)bed.tp.cwnd / MSS;
	for (int s = 1; s <= 10; s++) {
		run(SEC);
		near((double)bed.tp.cwnd / MSS, from + C * s * s * s, 0.02);
	}
}

/* Time in which no ACK found the window full does not move the curve along (5.8). */
static void silence__does_not_count(void **state)
{
	uint32_t before;

	(void)state;
	begin(10000 * MSS, 100);
	lose();
	run(10 * SEC);
	before = bed.tp.cwnd;
	bed.e.now_ns += 100 * SEC;
	run(SEC);
	assert_in_range(bed.tp.cwnd, before, before + before / 50);
}

/* Round trips get longer within the first slow start (RFC9406:4.2). */
static void slow_start(uint32_t step_us, uint32_t most)
{
	uint32_t rtt_us = 20000, rounds = 0, before;

	begin(10 * MSS, 20);
	for (; bed.tp.ssthresh == UINT32_MAX && rounds < 30; rounds++) {
		before = bed.tp.cwnd;
		bed.tp.snd_nxt += before;
		for (int i = 0; i < 10; i++) {
			bed.tp.cc->rtt(&bed.tp, rtt_us);
			if (bed.tp.ssthresh == UINT32_MAX)
				bed.tp.cc->acked(&bed.tp, before / 10);
		}
		bed.tp.snd_una = bed.tp.snd_nxt;
		if (rounds < 4)
			assert_int_equal(bed.tp.cwnd, 2 * before);
		else
			rtt_us += step_us;
	}
	assert_in_range(rounds, most - 1, most);
	assert_in_range(bed.tp.cwnd, 16 * 10 * MSS, 16 * 10 * MSS * 12);
	assert_int_equal(bed.tp.ssthresh, bed.tp.cwnd);
}

static void slow_start__round_trips_grow_for_a_round__ends_after_five_more(void **state)
{
	uint32_t rtt_us = 20000, rounds = 0;

	(void)state;
	begin(10 * MSS, 20);
	for (; bed.tp.ssthresh == UINT32_MAX && rounds < 30; rounds++) {
		bed.tp.snd_nxt += bed.tp.cwnd;
		for (int i = 0; i < 10; i++)
			bed.tp.cc->rtt(&bed.tp, rtt_us);
		bed.tp.snd_una = bed.tp.snd_nxt;
		if (rounds == 3)
			rtt_us += 6000;
	}
	assert_int_equal(rounds, 10); /* four, one that sees it, five */
}

/* And no jitter if they grow again. */
static void slow_start__round_trips_go_on_growing__ends(void **state)
{
	(void)state;
	slow_start(5000, 7);
}

static void slow_start__one_round_was_jitter__goes_on(void **state)
{
	uint32_t before;

	(void)state;
	begin(10 * MSS, 20);
	for (uint32_t round = 0; round < 12; round++) {
		before = bed.tp.cwnd;
		bed.tp.snd_nxt += before;
		for (int i = 0; i < 10; i++) {
			bed.tp.cc->rtt(&bed.tp, round == 3 ? 30000 : 20000);
			bed.tp.cc->acked(&bed.tp, before / 10);
		}
		bed.tp.snd_una = bed.tp.snd_nxt;
	}
	assert_int_equal(bed.tp.ssthresh, UINT32_MAX);
	assert_true(bed.tp.cwnd > 500 * 10 * MSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cube_roots__are_exact),
		cmocka_unit_test(after_a_loss__long_path__follows_the_cubic),
		cmocka_unit_test(after_a_loss__short_path__as_fast_as_reno),
		cmocka_unit_test(second_loss_below_the_first__fast_convergence),
		cmocka_unit_test(timeout__curve_begins_at_its_plateau),
		cmocka_unit_test(silence__does_not_count),
		cmocka_unit_test(slow_start__round_trips_grow_for_a_round__ends_after_five_more),
		cmocka_unit_test(slow_start__round_trips_go_on_growing__ends),
		cmocka_unit_test(slow_start__one_round_was_jitter__goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
