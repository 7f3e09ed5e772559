/* SPDX-License-Identifier: BSD-3-Clause */
/* What flows make of a path: bulk senders between two engines through one bottleneck (world.h), each with its congestion
 * control. Rates are of the payload that arrived, against what the bottleneck could have carried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

#define FLOWS_MAX 4
#define MSS 1448u
#define FRAME (MSS + 66u) /* with its headers */
#define LARGE_MTU 9000u
#define LARGE_MSS (LARGE_MTU - 52u)
#define STEP (2 * MS)
#define MBIT 1000000ull

struct flow {
	struct sock *out, *in;
	uint64_t got;
	bool quiet; /* has nothing to send now */
};

struct path {
	struct world *w;
	struct sock *listener;
	struct flow flow[FLOWS_MAX];
	unsigned n;
};

static struct path path_over(const struct world_link *link, uint16_t mtu)
{
	struct cv_endpoint at = world_endpoint(1, 80);
	struct path p = {.w = world_new(1, link)};

	for (int i = 0; i < 2; i++) {
		p.w->host[i].port.mtu = mtu;
		assert_int_equal(net_port_changed(p.w->host[i].e, &p.w->host[i].port), 0);
	}
	assert_int_equal(sock_open(p.w->host[1].e, CV_AF_INET, CV_STREAM, &p.listener), 0);
	p.listener->user = p.w;
	assert_int_equal(sock_bind(p.listener, &at), 0);
	assert_int_equal(sock_listen(p.listener, 8), 0);
	return p;
}

static struct path path_new(uint64_t rate, uint64_t rtt, uint64_t queue, uint64_t mark)
{
	return path_over(&(struct world_link){.delay_ns = rtt / 2, .rate_bps = rate, .queue_bytes = queue, .mark_bytes = mark},
		1500);
}

/* Bytes of a bandwidth-delay product. */
static uint64_t bdp(uint64_t rate, uint64_t rtt)
{
	return rate / 8000 * (rtt / MS);
}

static struct flow *flow_open(struct path *p, const char *algorithm)
{
	struct flow *f = &p->flow[p->n++];
	struct cv_endpoint to = world_endpoint(1, 80);

	assert_int_equal(sock_setopt(p->listener, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	assert_int_equal(sock_open(p->w->host[0].e, CV_AF_INET, CV_STREAM, &f->out), 0);
	f->out->user = p->w;
	assert_int_equal(sock_setopt(f->out, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	assert_int_equal(sock_connect(f->out, &to), 0);
	for (int i = 0; i < 1000 && (f->in = sock_accept(p->listener)) == NULL; i++)
		world_run(p->w, STEP, NULL, NULL);
	assert_non_null(f->in);
	f->in->user = p->w;
	sock_accept_done(p->listener);
	return f;
}

static void buffer_free(struct txbuf *b, void *ctx)
{
	(void)ctx;
	free(b);
}

/* As much as the send buffer takes. */
static void flow_write(struct flow *f)
{
	static const uint8_t zeros[65536];

	while (!f->quiet && f->out->tx_taken - f->out->tx_acked < f->out->sndbuf) {
		struct txbuf *b = calloc(1, sizeof(*b));

		assert_non_null(b);
		*b = (struct txbuf){.data = zeros, .len = sizeof(zeros), .release = buffer_free};
		assert_int_equal(sock_send(f->out, b), 0);
	}
}

static void flow_read(struct flow *f)
{
	struct rte_mbuf *m;

	while ((m = sock_recv_take(f->in)) != NULL) {
		f->got += rte_pktmbuf_pkt_len(m);
		sock_consumed(f->in, rte_pktmbuf_pkt_len(m));
		rte_pktmbuf_free(m);
	}
}

static void path_run(struct path *p, uint64_t ns)
{
	for (uint64_t t = 0; t < ns; t += STEP) {
		for (unsigned i = 0; i < p->n; i++) {
			flow_write(&p->flow[i]);
			flow_read(&p->flow[i]);
		}
		world_run(p->w, STEP, NULL, NULL);
	}
}

/* Payload of a flow in the next ns, in bits a second. */
static uint64_t flow_rate(struct path *p, struct flow *f, uint64_t ns)
{
	uint64_t before = f->got;

	path_run(p, ns);
	return (f->got - before) * 8 * 1000 / (ns / MS);
}

static void path_end(struct path *p)
{
	for (unsigned i = 0; i < p->n; i++) {
		sock_close(p->flow[i].out, true);
		sock_close(p->flow[i].in, true);
	}
	sock_close(p->listener, false);
	world_run(p->w, 2 * SEC, NULL, NULL);
	world_free(p->w);
}

static void story(const struct path *p, const struct flow *f)
{
	const struct tcp_sock *tp = tcp_of(f->out);

	if (getenv("CONGESTION_STORY") == NULL)
		return;
	print_message("t %5llu ms cwnd %u ssthresh %u flight %u sndbuf %u rcvbuf %u srtt %u rexmt %u drops %llu marks %llu queue %llu got %llu%s%s\n",
		(unsigned long long)(p->w->now_ns / MS), tp->cwnd / MSS, tp->ssthresh / MSS, (tp->snd_max - tp->snd_una) / MSS,
		f->out->sndbuf, f->in->rcvbuf, tp->srtt_us, tp->total_retrans,
		(unsigned long long)p->w->wire[1].queue_drops, (unsigned long long)p->w->wire[1].marks,
		(unsigned long long)world_queued(p->w, 1), (unsigned long long)f->got, tp->in_recovery ? " recovery" : "", tp->rto_recovery ? " RTO" : "");
}

static void rates(uint64_t most, uint64_t got)
{
	if (getenv("CONGESTION_STORY") != NULL)
		print_message("%.2f of %.2f Mbit/s: %llu %%\n", (double)got / 1e6, (double)most / 1e6,
			(unsigned long long)(got * 100 / most));
}

/* --- one flow ------------------------------------------------------------------------------------------ */

static void long_fat_path__one_cubic_flow__fills_it(void **state)
{
	const uint64_t rate = 1000 * MBIT, rtt = 300 * MS, most = rate * MSS / FRAME;
	struct path p = path_new(rate, rtt, bdp(rate, rtt), 0);
	struct flow *f = flow_open(&p, "cubic");
	uint64_t got;

	(void)state;
	path_run(&p, 6 * SEC); /* slow start */
	story(&p, f);
	/* It ended before the queue did, and with buffers that had grown enough. */
	assert_int_equal(p.w->wire[1].queue_drops, 0);
	assert_true(tcp_of(f->out)->ssthresh < 2 * bdp(rate, rtt));
	got = flow_rate(&p, f, 10 * SEC);
	story(&p, f);
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
	story(&p, f);
	drops = p.w->wire[1].queue_drops;
	got = flow_rate(&p, f, 45 * SEC);
	story(&p, f);
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
	story(&p, f[0]);
	story(&p, f[1]);
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
	story(&p, f);
	assert_true(p.w->wire[1].marks > 0);
	assert_int_equal(p.w->wire[1].queue_drops, 0);
	assert_int_equal(tcp_of(f->out)->total_retrans, 0);
	assert_true(got > most / 100 * 90);
	path_end(&p);
}

/* --- several flows ------------------------------------------------------------------------------------- */

/* Two flows, the second one later, through a bottleneck with a queue of `queues` bandwidth-delay products; so long after
 * the second began, what they had of `window`. */
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
	story(&p, a);
	story(&p, b);
	if (getenv("CONGESTION_STORY") != NULL || percent < least || percent > most)
		print_message("%s %.2f Mbit/s, %s %.2f Mbit/s: %llu %%\n", c->first, (double)of_a / 1e6, c->second,
			(double)of_b / 1e6, (unsigned long long)percent);
	path_end(&p);
	assert_in_range(percent, least, most);
	assert_true(of_a + of_b > c->rate * MSS / FRAME / 100 * 90);
}

/* RFC9438:5.6: flows of the same round trip end up with the same rate. What brings them there is who loses how often: on the
 * plateau of its curve a flow grows by less than a segment in a round trip, so a full queue drops one segment of one
 * flow. The cubic is flat where the losses come, so a flow that had more than its share keeps it until it loses more
 * often. A window must be many such losses long: K = cbrt(0.75 W) is 5 s here with W of 165 segments, and the window
 * sixty of them. */
static void two_cubic_flows__share_within_a_fifth(void **state)
{
	(void)state;
	contest(&(struct contest){"cubic", "cubic", 20 * MBIT, 100 * MS, 1, 5 * SEC, 60 * SEC, 300 * SEC}, 80, 125);
}

/* On short, slow paths CUBIC is in its Reno-friendly region, where its average window is to be Reno's: neither starves the
 * other (RFC9438:4.3, 5.1). */
static void short_paths__cubic_against_reno__about_equal(void **state)
{
	(void)state;
	contest(&(struct contest){"reno", "cubic", 10 * MBIT, 20 * MS, 1, 0, 20 * SEC, 120 * SEC}, 67, 150);
	contest(&(struct contest){"reno", "cubic", 20 * MBIT, 20 * MS, 1, 0, 20 * SEC, 120 * SEC}, 67, 150);
}

/* On a long path CUBIC takes what Reno would leave for minutes. If both lost at each overflow, every T seconds, Reno's
 * window would go up to 2 T / RTT, CUBIC's to T^3 C / (1 - beta), together path and queue: 825 segments here, T 8.2 s, and their
 * averages 61 and 690 segments. One that loses more often than the other, mostly the larger one, has less of that. */
static void long_path__cubic_against_reno__takes_what_reno_leaves(void **state)
{
	(void)state;
	contest(&(struct contest){"reno", "cubic", 50 * MBIT, 100 * MS, 1, 0, 20 * SEC, 120 * SEC}, 250, 1130);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_fat_path__one_cubic_flow__fills_it),
		cmocka_unit_test(long_fat_path__one_cubic_flow_and_its_own_losses__fills_it),
		cmocka_unit_test(steady_loss__average_windows__as_in_the_tables),
		cmocka_unit_test(marking_bottleneck__dctcp__queue_stays_near_the_mark),
		cmocka_unit_test(marking_bottleneck__cubic_with_ecn__loses_nothing),
		cmocka_unit_test(two_cubic_flows__share_within_a_fifth),
		cmocka_unit_test(short_paths__cubic_against_reno__about_equal),
		cmocka_unit_test(long_path__cubic_against_reno__takes_what_reno_leaves),
	};

	world_eal_init_large("tcp_congestion", 98303);
	world_tcp.rmem_max = world_tcp.wmem_max = 160u << 20; /* twice the path and its queue */
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
