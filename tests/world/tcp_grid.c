/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The golden grid: loss x delay x reordering x receive buffer x congestion control, a transfer in
 * every cell, every byte compared, over within a time that theory allows.
 *
 * The bounds come from models, not from runs. From the opened connection to the last byte read, a
 * flow takes the sum of
 *
 *   slow start log2 of the window's growth, in round trips (RFC5681:3.1), each twice for delayed
 * ACKs, bulk       bytes at the lower of the receive window's rate, W / RTT, and the rate of
 * Padhye, Firoiu, Towsley and Kurose (1998) for Reno with timeouts, which for little loss is
 * Mathis' 1.22 MSS / (RTT sqrt(p)). CUBIC is never below Reno (RFC9438:4.3); for it too, then, the
 * tail   the last segments' losses, of which no ACK tells: a timer that doubles (RFC6298:5.5), so
 * many times that one segment in a hundred thousand needs more: all cells together send about as
 * many.
 *
 * SLACK covers what a model of averages leaves out: that the seed's losses are no average. Loss is
 * in both directions, so acknowledgments are lost as well; it begins when the connection stands:
 * how long a handshake takes is tcp_timers.c's. Reordering comes late by a quarter of the round
 * trip, which RACK takes for no loss (RFC8985:6.2's reo_wnd), and must cost at most what
 * REORDER_AS_LOSS would.
 *
 * GRID=all in the environment runs ten seeds of every cell instead of one. With 30 % lost each way half of
 * all attempts fail, so that one segment in 50,000 fails sixteen times in a row, and its connection is
 * given up as it must be (RFC9293:3.8.3): of a thousand cells this may befall one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/transfer.h"

#define MSS 1448.0
#define RTO_MIN_S 0.2
#define RTO_MAX_S 120.0
#define SLACK 3.0
#define REORDER_AS_LOSS 0.01
#define UNLIKELY 0.00001
#define STEP_S 0.002 /* users look every 2 ms (transfer.c) */

static const struct {
	unsigned per_mille;
	uint64_t bytes;
} losses[] = {
	{0, 4000000}, {1, 4000000}, {10, 2000000}, {50, 1000000}, {100, 600000}, {300, 200000}};
static const unsigned delays_ms[] = {0, 1, 20, 100, 300}; /* one way */
static const uint32_t buffers[] = {16384, 0};
static const char *const algorithms[] = {"reno", "cubic", "dctcp"};

struct cell {
	unsigned loss, delay_ms;
	uint64_t bytes;
	bool reorder;
	uint32_t rcvbuf;
	const char *congestion;
};

/* Until a segment has arrived and its ACK has, of both of which p are lost, with a timer that doubles from rto. */
static double tail_s(double p, double rtt, double rto)
{
	double waited = rtt, both = 1 - (1 - p) * (1 - p);

	for (double again = both; again > UNLIKELY; again *= both) {
		waited += rto;
		rto = 2 * rto < RTO_MAX_S ? 2 * rto : RTO_MAX_S;
	}
	return waited;
}

/* Bytes a second that Reno sends where p of the packets are lost, b = 2 packets an ACK. */
static double padhye_rate(double p, double rtt, double rto)
{
	double timeouts = 3 * sqrt(3 * 2 * p / 8);

	return MSS / (rtt * sqrt(2 * 2 * p / 3) +
			     rto * (timeouts < 1 ? timeouts : 1) * p * (1 + 32 * p * p));
}

static double bound_s(const struct cell *c)
{
	double p = c->loss / 1000.0 + (c->reorder ? REORDER_AS_LOSS : 0);
	double rtt = 2 * c->delay_ms / 1000.0 + STEP_S,
	       rto = rtt * 2 > RTO_MIN_S + rtt ? rtt * 2 : RTO_MIN_S + rtt;
	/* Half of a receive buffer may be overhead, as in Linux; the default's window is 64 KiB at
	 * first. */
	double window = c->rcvbuf != 0 ? c->rcvbuf / 2.0 : 65535, rate = window / rtt;
	double slow_start = 2 * rtt * ceil(log2(window / MSS));

	if (p > 0 && padhye_rate(p, rtt, rto) < rate)
		rate = padhye_rate(p, rtt, rto);
	return slow_start + SLACK * (double)c->bytes / rate + tail_s(c->loss / 1000.0, rtt, rto);
}

/* What became of the cells. */
struct outcome {
	unsigned cells, late, given_up;
};

static void cell_run(const struct cell *c, uint64_t seed, struct outcome *o)
{
	const struct plan plan = {.link = {.delay_ns = c->delay_ms * MS, .spares_arp = true},
		.bytes = c->bytes,
		.rcvbuf = c->rcvbuf,
		.congestion = c->congestion};
	double bound = bound_s(c), took;
	struct run *r = run_new(&plan, seed);
	uint64_t begin;

	r->server.total = 0;
	while (r->server.sk == NULL)
		run_step(r);
	begin = r->w->now_ns;
	r->w->link.loss = c->loss;
	r->w->link.reorder = c->reorder ? 100 : 0;
	r->w->link.reorder_ns = c->delay_ms != 0 ? c->delay_ms * MS / 2 : MS / 4;
	while (r->server.got < r->client.total && r->client.sk->error == 0 &&
		r->w->now_ns - begin < 3600 * SEC)
		run_step(r);
	took = (double)(r->w->now_ns - begin) / 1e9;
	o->cells++;
	if (r->client.sk->error == CV_ETIMEDOUT && r->server.got < r->client.total) {
		o->given_up++;
		run_story(r);
		run_end(r);
		return;
	}
	if (took > bound || getenv("GRID_TIMES"))
		print_message("%-5s loss %4.1f %% delay %3u ms reorder %2d %% buffer %6u: %8.2f of "
			      "%8.2f s, seed %llu\n",
			c->congestion, c->loss / 10.0, c->delay_ms, c->reorder ? 10 : 0, c->rcvbuf,
			took, bound, (unsigned long long)seed);
	if (took > bound) {
		run_story(r);
		o->late++;
	}
	while (!run_done(r) && r->w->now_ns - begin < 3600 * SEC)
		run_step(r);
	assert_true(run_done(r));
	run_end(r);
}

static void grid(bool reorder)
{
	unsigned seeds = getenv("GRID") != NULL ? 10 : 1;
	struct outcome o = {0};

	for (unsigned a = 0; a < sizeof(algorithms) / sizeof(algorithms[0]); a++)
		for (unsigned l = 0; l < sizeof(losses) / sizeof(losses[0]); l++)
			for (unsigned d = 0; d < sizeof(delays_ms) / sizeof(delays_ms[0]); d++)
				for (unsigned b = 0; b < 2; b++)
					for (unsigned seed = 0; seed < seeds; seed++)
						cell_run(&(struct cell){.loss = losses[l].per_mille,
								 .bytes = losses[l].bytes,
								 .delay_ms = delays_ms[d],
								 .reorder = reorder,
								 .rcvbuf = buffers[b],
								 .congestion = algorithms[a]},
							o.cells + 1, &o);
	assert_int_equal(o.late, 0);
	assert_true(o.given_up * 1000 <= o.cells);
}

static void in_order__every_cell__within_its_bound(void **state)
{
	(void)state;
	grid(false);
}

static void reordered__every_cell__within_its_bound(void **state)
{
	(void)state;
	grid(true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order__every_cell__within_its_bound),
		cmocka_unit_test(reordered__every_cell__within_its_bound),
	};

	world_eal_init("tcp_grid");
	world_tcp.mtu_probing = 0; /* the bounds are those of segments of one size */
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
