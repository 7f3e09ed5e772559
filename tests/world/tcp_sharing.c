/* SPDX-License-Identifier: BSD-3-Clause */
/* What flows make of a path that others use as well, or that marks instead of losing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "tests/world/flows.h"

/* --- ECN ----------------------------------------------------------------------------------------------- */

/* The queue of a marking bottleneck, averaged over ns, in bytes. */
static uint64_t queue_average(struct path *p, uint64_t ns)
{
	uint64_t sum = 0, n = 0;

	for (uint64_t t = 0; t < ns; t += STEP, n++) {
		path_run(p, STEP);
		sum += world_queued(p->w, 1);
	}
	return sum / n;
}

static void marking_bottleneck__dctcp__queue_stays_near_the_mark(void **state)
{
	const uint64_t rate = 1000 * MBIT, rtt = 4 * MS, most = rate * MSS / FRAME, mark = 100 * FRAME;
	struct path p = path_new(rate, rtt, 4 * bdp(rate, rtt), mark);
	struct flow *f[2] = {flow_open(&p, "dctcp"), flow_open(&p, "dctcp")};
	uint64_t got, average;

	(void)state;
	path_run(&p, 2 * SEC);
	p.w->wire[1].queued_max = 0;
	got = f[0]->got + f[1]->got;
	average = queue_average(&p, 4 * SEC);
	got = (f[0]->got + f[1]->got - got) * 2;
	flow_story(&p, f[0]);
	flow_story(&p, f[1]);
	assert_int_equal(p.w->wire[1].queue_drops, 0);
	assert_int_equal(tcp_of(f[0]->out)->total_retrans, 0);
	assert_in_range(average, mark / 4, mark * 3 / 2);
	assert_true(p.w->wire[1].queued_max < 3 * mark);
	assert_true(got > most / 100 * 95);
	path_end(&p);
}

/* CUBIC with ECN: no segment is lost, whatever it does to the queue. */
static void marking_bottleneck__cubic_with_ecn__loses_nothing(void **state)
{
	const uint64_t rate = 100 * MBIT, rtt = 20 * MS, most = rate * MSS / FRAME;
	struct path p;
	struct flow *f;
	uint64_t got;

	(void)state;
	world_tcp.ecn = 1;
	p = path_new(rate, rtt, 4 * bdp(rate, rtt), bdp(rate, rtt) / 2);
	world_tcp.ecn = 2;
	f = flow_open(&p, "cubic");
	path_run(&p, 3 * SEC);
	got = flow_rate(&p, f, 10 * SEC);
	flow_story(&p, f);
	assert_true(p.w->wire[1].marks > 0);
	assert_int_equal(p.w->wire[1].queue_drops, 0);
	assert_int_equal(tcp_of(f->out)->total_retrans, 0);
	assert_true(got > most / 100 * 90);
	path_end(&p);
}

/* --- several flows ------------------------------------------------------------------------------------- */

/* Two flows, the second one later, through a bottleneck with a queue of `queues` bandwidth-delay products; so long
 * after the second began, what they had of `window`. */
struct contest {
	const char *first, *second;
	uint64_t rate, rtt;
	double queues;
	uint64_t later, settled, window;
};

static void contest(const struct contest *c, unsigned least, unsigned most)
{
	const uint64_t pipe = bdp(c->rate, c->rtt);
	struct path p = path_new(c->rate, c->rtt, (uint64_t)(c->queues * (double)pipe), 0);
	struct flow *a = flow_open(&p, c->first), *b;
	uint64_t of_a, of_b, percent;

	path_run(&p, c->later);
	b = flow_open(&p, c->second);
	path_run(&p, c->settled);
	of_a = a->got;
	of_b = flow_rate(&p, b, c->window);
	of_a = (a->got - of_a) * 8 * 1000 / (c->window / MS);
	percent = of_b * 100 / of_a;
	flow_story(&p, a);
	flow_story(&p, b);
	if (getenv("CONGESTION_STORY") != NULL || percent < least || percent > most)
		print_message("%s %.2f Mbit/s, %s %.2f Mbit/s: %llu %%\n", c->first, (double)of_a / 1e6, c->second,
			(double)of_b / 1e6, (unsigned long long)percent);
	path_end(&p);
	assert_in_range(percent, least, most);
	assert_true(of_a + of_b > c->rate * MSS / FRAME / 100 * 90);
}

/* RFC9438:5.6: flows of the same round trip end up with the same rate. What brings them there is who loses how often:
 * on the plateau of its curve a flow grows by less than a segment in a round trip, so a full queue drops one segment of
 * one flow. The cubic is flat where the losses come, so a flow that had more than its share keeps it until it loses
 * more often. A window must be many such losses long: K = cbrt(0.75 W) is 5 s here with W of 165 segments, and the
 * window sixty of them. */
static void two_cubic_flows__share_within_a_fifth(void **state)
{
	(void)state;
	contest(&(struct contest){"cubic", "cubic", 20 * MBIT, 100 * MS, 1, 5 * SEC, 60 * SEC, 300 * SEC}, 80, 125);
}

/* On short, slow paths CUBIC is in its Reno-friendly region, where its average window is to be Reno's: neither starves
 * the other (RFC9438:4.3, 5.1). */
static void short_paths__cubic_against_reno__about_equal(void **state)
{
	(void)state;
	contest(&(struct contest){"reno", "cubic", 10 * MBIT, 20 * MS, 1, 0, 20 * SEC, 120 * SEC}, 67, 150);
	contest(&(struct contest){"reno", "cubic", 20 * MBIT, 20 * MS, 1, 0, 20 * SEC, 120 * SEC}, 67, 150);
}

/* On a long path CUBIC takes what Reno would leave for minutes. If both lost at each overflow, every T seconds, Reno's
 * window would go up to 2 T / RTT, CUBIC's to T^3 C / (1 - beta), together path and queue: 825 segments here, T 8.2 s,
 * and their averages 61 and 690 segments. One that loses more often than the other, mostly the larger one, has less of
 * that. */
static void long_path__cubic_against_reno__takes_what_reno_leaves(void **state)
{
	(void)state;
	contest(&(struct contest){"reno", "cubic", 50 * MBIT, 100 * MS, 1, 0, 20 * SEC, 120 * SEC}, 250, 1130);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marking_bottleneck__dctcp__queue_stays_near_the_mark),
		cmocka_unit_test(marking_bottleneck__cubic_with_ecn__loses_nothing),
		cmocka_unit_test(two_cubic_flows__share_within_a_fifth),
		cmocka_unit_test(short_paths__cubic_against_reno__about_equal),
		cmocka_unit_test(long_path__cubic_against_reno__takes_what_reno_leaves),
	};

	flows_begin("tcp_sharing");
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
