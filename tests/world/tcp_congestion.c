/* SPDX-License-Identifier: BSD-3-Clause */
/* What one flow makes of a path. Those that share one are in tcp_sharing.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "tests/world/flows.h"

#define LARGE_MTU 9000u
#define LARGE_MSS (LARGE_MTU - 52u)

static void rates(uint64_t most, uint64_t got)
{
	if (getenv("CONGESTION_STORY") != NULL)
		print_message("%.2f of %.2f Mbit/s: %llu %%\n", (double)got / 1e6, (double)most / 1e6,
			(unsigned long long)(got * 100 / most));
}

static void long_fat_path__one_cubic_flow__fills_it(void **state)
{
	const uint64_t rate = 1000 * MBIT, rtt = 300 * MS, most = rate * MSS / FRAME;
	struct path p = path_new(rate, rtt, bdp(rate, rtt), 0);
	struct flow *f = flow_open(&p, "cubic");
	uint64_t got;

	(void)state;
	path_run(&p, 6 * SEC); /* slow start */
	flow_story(&p, f);
	/* It ended before the queue did, and with buffers that had grown enough. */
	assert_int_equal(p.w->wire[1].queue_drops, 0);
	assert_true(tcp_of(f->out)->ssthresh < 2 * bdp(rate, rtt));
	got = flow_rate(&p, f, 10 * SEC);
	flow_story(&p, f);
	assert_true(got > most / 100 * 90);
	path_end(&p);
}

/* The same, when the flow has filled the queue, which is as long as the path, and lost. What is left of its window, 0.7 of
 * twice the bandwidth-delay product, is more than the path alone needs: the queue is not empty before the recovery is over. The
 * packets are large, or the cycle of the flow would be 33 s long instead of 18 (K = cbrt(0.75 W), W = 49,536 segments), with
 * six times as many packets. */
static void long_fat_path__one_cubic_flow_and_its_own_losses__fills_it(void **state)
{
	const uint64_t rate = 1000 * MBIT, rtt = 300 * MS, most = rate * LARGE_MSS / (LARGE_MSS + 66);
	const struct world_link link = {.delay_ns = rtt / 2, .rate_bps = rate, .queue_bytes = bdp(rate, rtt)};
	struct path p = path_over(&link, LARGE_MTU);
	struct flow *f = flow_open(&p, "cubic");
	uint64_t got, drops;

	(void)state;
	path_run(&p, 6 * SEC);
	flow_story(&p, f);
	drops = p.w->wire[1].queue_drops;
	got = flow_rate(&p, f, 45 * SEC);
	flow_story(&p, f);
	rates(most, got);
	assert_true(p.w->wire[1].queue_drops > drops);
	assert_true(got > most / 100 * 90);
	path_end(&p);
}

/* --- what a rate of loss makes of a window ------------------------------------------------------------- */

/* Average windows in segments: what arrived in a round trip, and what cwnd allowed. */
struct windows {
	double used, allowed;
};

/* Every nth packet is lost on a path that holds back nothing: the average in so many losses after ten others. Where slow
 * start ends matters for large windows: a cycle without a loss of CUBIC's ends a segment or two above its plateau, so
 * a hundred losses later its window is about where it began. Between them is fast convergence (RFC9438:4.7), which the
 * tables do not know: a cycle that ends a hair below the plateau puts the next one 15 % lower. Begun at 85 % of what is
 * expected, the second cycle is the one that ends below its plateau, and what it leaves is near the tables' point. */
static struct windows average_windows(const char *algorithm, uint64_t rtt, uint32_t nth, unsigned losses, double expected)
{
	struct path p = path_over(&(struct world_link){.delay_ns = rtt / 2, .drop_nth = nth}, 1500);
	struct flow *f = flow_open(&p, algorithm);
	uint64_t from, since, cwnd = 0, steps = 0;

	tcp_of(f->out)->ssthresh = (uint32_t)(0.85 * expected * MSS);
	while (p.w->wire[1].large < 10ull * nth)
		path_run(&p, STEP);
	from = f->got;
	since = p.w->now_ns;
	for (; p.w->wire[1].large < (10ull + losses) * nth; steps++) {
		path_run(&p, STEP);
		cwnd += tcp_of(f->out)->cwnd;
	}
	from = f->got - from;
	since = p.w->now_ns - since;
	path_end(&p);
	return (struct windows){(double)from / MSS * (double)rtt / (double)since, (double)cwnd / MSS / (double)steps};
}

/* RFC9438:5.1, tables 1 and 2: average windows of a flow of which one packet in so many is lost. Reno's are 1.2 sqrt(n). The
 * formulas know no recovery, a round trip without growth: of eight, with a window of twelve. Pacing, which windows
 * of 100 have, takes nothing: what cwnd allows is sent. CONGESTION=all: also those that take millions of
 * packets. */
static void steady_loss__average_windows__as_in_the_tables(void **state)
{
	static const struct {
		const char *algorithm;
		uint64_t rtt;
		uint32_t nth;
		double window, within;
		bool always;
	} rows[] = {
		{"reno", 100 * MS, 100, 12, 0.3, true},
		{"reno", 100 * MS, 1000, 38, 0.1, true},
		{"reno", 10 * MS, 10000, 120, 0.1, true},
		{"cubic", 100 * MS, 100, 12, 0.3, true},
		{"cubic", 100 * MS, 1000, 38, 0.1, true},
		{"cubic", 100 * MS, 10000, 187, 0.1, true},
		{"cubic", 100 * MS, 100000, 1054, 0.1, false},
		{"cubic", 10 * MS, 1000, 38, 0.1, true},
		{"cubic", 10 * MS, 10000, 120, 0.1, true},
		{"cubic", 10 * MS, 100000, 379, 0.1, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct windows window;
		double wanted = rows[i].window;
		bool right;

		if (!rows[i].always && getenv("CONGESTION") == NULL)
			continue;
		window = average_windows(rows[i].algorithm, rows[i].rtt, rows[i].nth, 20, wanted);
		right = window.used > wanted * (1 - rows[i].within) && window.used < wanted * (1 + rows[i].within) &&
			(wanted < 100 || window.used > window.allowed * 0.98);
		if (!right || getenv("CONGESTION_STORY") != NULL)
			print_message("%s, %llu ms, one of %u lost: %.1f segments of %.1f, for %.0f\n", rows[i].algorithm,
				(unsigned long long)(rows[i].rtt / MS), rows[i].nth, window.used, window.allowed, wanted);
		assert_true(right);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_fat_path__one_cubic_flow__fills_it),
		cmocka_unit_test(long_fat_path__one_cubic_flow_and_its_own_losses__fills_it),
		cmocka_unit_test(steady_loss__average_windows__as_in_the_tables),
	};

	flows_begin("tcp_congestion");
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
