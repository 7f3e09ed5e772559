/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * micro CONNECTIONS PACKETS [WORKLOAD...]
 *
 * The engine's work for one packet, workload by workload, with CONNECTIONS established connections of
 * which each turn serves the next. Only the turns that are meant are counted: frames are made before
 * and freed after.
 *
 * Under callgrind (--collect-atstart=no) each workload leaves two dumps, named "WORKLOAD CONNECTIONS COUNT", of
 * PACKETS and of twice as many: their difference is the cost, whatever the ends of a run cost.
 * Otherwise it prints a line each: workload, connections, nanoseconds a packet, cycles a packet (of
 * this program's own code; "-" where the processor's counters cannot be had).
 */
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else /* built without valgrind's headers: times only */
#define RUNNING_ON_VALGRIND 0
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#endif

#include "bench/micro_bed.h"
#include "stack/tcp/tcp.h"

#define BURST 32u
#define SMALL 64u
#define IN_A_ROW 8u /* requests of one connection */
#define ROUNDS 5 /* of which the median is printed */

/* --- counting ------------------------------------------------------------------------------------ */

static bool callgrind;
static int cycles_fd = -1;
static struct timespec began;
static uint64_t spent_ns;
static uint32_t counts;

static void count_begin(void)
{
	if (callgrind) {
		CALLGRIND_TOGGLE_COLLECT;
		return;
	}
	if (cycles_fd >= 0)
		ioctl(cycles_fd, PERF_EVENT_IOC_ENABLE, 0);
	clock_gettime(CLOCK_MONOTONIC, &began);
}

static void count_end(void)
{
	struct timespec now;

	if (callgrind) {
		CALLGRIND_TOGGLE_COLLECT;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	counts++;
	if (cycles_fd >= 0)
		ioctl(cycles_fd, PERF_EVENT_IOC_DISABLE, 0);
	spent_ns += (uint64_t)(now.tv_sec - began.tv_sec) * 1000000000ull + (uint64_t)now.tv_nsec -
		(uint64_t)began.tv_nsec;
}

/* What reading the clock twice costs is not the engine's. */
static double clock_ns(void)
{
	spent_ns = 0;
	for (int i = 0; i < 1000; i++) {
		count_begin();
		count_end();
	}
	return (double)spent_ns / 1000;
}

static void cycles_open(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE, .size = sizeof(attr),
		.config = PERF_COUNT_HW_CPU_CYCLES, .disabled = 1, .exclude_kernel = 1, .exclude_hv = 1};

	cycles_fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static uint64_t cycles_read(void)
{
	uint64_t n = 0;

	if (cycles_fd >= 0 && read(cycles_fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		n = 0;
	return n;
}

/* --- workloads: each does one round and says of how many packets -------------------------------- */

/* Full segments in order, up to the socket queue; one ACK for all goes out. */
static uint32_t rx_data(struct bed *b)
{
	struct bed_conn *c = bed_conn_next(b);

	for (uint32_t i = 0; i < BURST; i++)
		bed_segment(b, c, 0, BED_MSS);
	bed_turn_counted(b);
	bed_out_free(b);
	bed_read(c->sk);
	return BURST;
}

/* The same where the engine must verify the checksum itself. */
static uint32_t rx_data_sum(struct bed *b)
{
	b->port.rx_cksum = false;
	rx_data(b);
	b->port.rx_cksum = true;
	return BURST;
}

/* The same with each segment for another connection; of each second one the ACK is due. */
static uint32_t rx_spread(struct bed *b)
{
	struct bed_conn *c[BURST];

	for (uint32_t i = 0; i < BURST; i++) {
		c[i] = bed_conn_next(b);
		bed_segment(b, c[i], 0, BED_MSS);
	}
	bed_turn_counted(b);
	bed_out_free(b);
	for (uint32_t i = 0; i < BURST; i++)
		bed_read(c[i]->sk);
	return BURST;
}

/* ACKs of two segments each. */
static uint32_t rx_ack(struct bed *b)
{
	struct bed_conn *c = bed_conn_next(b);

	bed_write(b, c, 2 * BURST * BED_MSS);
	bed_turn(b);
	bed_out_free(b);
	c->ack -= 2 * BURST * BED_MSS;
	for (uint32_t i = 0; i < BURST; i++) {
		c->ack += 2 * BED_MSS;
		bed_segment(b, c, 0, 0);
	}
	bed_turn_counted(b);
	return BURST;
}

/* An ACK of two segments for each of many connections. */
static uint32_t rx_ack_spread(struct bed *b)
{
	struct bed_conn *c[BURST];

	for (uint32_t i = 0; i < BURST; i++) {
		c[i] = bed_conn_next(b);
		bed_write(b, c[i], 2 * BED_MSS);
	}
	bed_turn(b);
	bed_out_free(b);
	for (uint32_t i = 0; i < BURST; i++)
		bed_segment(b, c[i], 0, 0);
	bed_turn_counted(b);
	return BURST;
}

static void out_check(const struct bed *b, uint32_t n)
{
	if (b->out_n == n)
		return;
	fprintf(stderr, "micro: %u packets instead of %u\n", b->out_n, n);
	exit(1);
}

/* Full segments of one send, built and handed to the port. */
static uint32_t tx_data(struct bed *b)
{
	struct bed_conn *c = bed_conn_next(b);

	bed_write(b, c, BURST * BED_MSS);
	bed_turn_counted(b);
	out_check(b, BURST);
	bed_out_free(b);
	bed_segment(b, c, 0, 0);
	bed_turn(b);
	return BURST;
}

static uint32_t tx_data_sum(struct bed *b)
{
	b->port.tx_ip_cksum = b->port.tx_l4_cksum = false;
	tx_data(b);
	b->port.tx_ip_cksum = b->port.tx_l4_cksum = true;
	return BURST;
}

/* The same segments, cut from super-segments just before the port. */
static uint32_t tx_cut(struct bed *b)
{
	b->port.tso = PORT_TSO_SOFTWARE;
	b->port.tso_max = UINT16_MAX;
	tx_data(b);
	b->port.tso = PORT_TSO_NONE;
	return BURST;
}

/* One super-segment, which the device cuts. */
static uint32_t tx_device(struct bed *b)
{
	struct bed_conn *c = bed_conn_next(b);

	b->port.tso = PORT_TSO_DEVICE;
	b->port.tso_max = UINT16_MAX;
	bed_write(b, c, BURST * BED_MSS);
	bed_turn_counted(b);
	b->port.tso = PORT_TSO_NONE;
	bed_out_free(b);
	bed_segment(b, c, 0, 0);
	bed_turn(b);
	return BURST;
}

/* A small request, which carries the ACK of the last answer, is read, and answered in the next turn; what
 * the program's side costs is counted, too. n requests for n connections in one turn, IN_A_ROW times; then
 * the connections are left with nothing under way. */
static uint32_t request(struct bed *b, uint32_t n)
{
	struct bed_conn *c[BURST];

	for (uint32_t i = 0; i < n; i++)
		c[i] = bed_conn_next(b);
	for (uint32_t row = 0; row < IN_A_ROW; row++) {
		for (uint32_t i = 0; i < n; i++)
			bed_segment(b, c[i], TCP_PSH, SMALL);
		bed_turn_counted(b);
		b->count_begin();
		for (uint32_t i = 0; i < n; i++) {
			bed_read(c[i]->sk);
			bed_write(b, c[i], SMALL);
		}
		b->count_end();
		bed_turn_counted(b);
		bed_out_free(b);
	}
	for (uint32_t i = 0; i < n; i++)
		bed_segment(b, c[i], 0, 0);
	bed_turn(b);
	return n * IN_A_ROW;
}

static uint32_t request_one(struct bed *b)
{
	return request(b, 1);
}

static uint32_t request_burst(struct bed *b)
{
	return request(b, b->conns_n < BURST ? b->conns_n : BURST);
}

static uint32_t udp_rx(struct bed *b)
{
	for (uint32_t i = 0; i < BURST; i++)
		bed_datagram(b, SMALL);
	bed_turn_counted(b);
	bed_read(b->udp);
	return BURST;
}

/* The send call is counted: it is where a datagram is built. */
static uint32_t udp_tx(struct bed *b)
{
	b->count_begin();
	for (uint32_t i = 0; i < BURST; i++) {
		struct txbuf *t = bed_txbuf(SMALL);

		t->has_peer = true;
		t->peer = b->conns[0].sk->peer;
		(void)sock_send(b->udp, t);
	}
	b->count_end();
	bed_turn_counted(b);
	out_check(b, BURST);
	bed_out_free(b);
	return BURST;
}

/* Connections of the engine to itself from the socket to the end of their TIME_WAIT, both ends: the client closes first.
 * BURST of them at a time. */
static uint32_t connection(struct bed *b)
{
	struct sock *mine[BURST], *theirs[BURST];

	b->count_begin();
	for (uint32_t i = 0; i < BURST; i++)
		mine[i] = bed_connect(b);
	b->count_end();
	for (uint32_t i = 0; i < 4; i++) /* SYN, SYN-ACK, ACK: a turn sees what was there when it began */
		bed_turn_counted(b);
	b->count_begin();
	for (uint32_t i = 0; i < BURST; i++) {
		theirs[i] = bed_accept(b);
		sock_close(mine[i], false);
	}
	b->count_end();
	for (uint32_t i = 0; i < 3; i++) /* FIN, its ACK */
		bed_turn_counted(b);
	b->count_begin();
	for (uint32_t i = 0; i < BURST; i++)
		sock_close(theirs[i], false);
	b->count_end();
	for (uint32_t i = 0; i < 3; i++)
		bed_turn_counted(b);
	b->now_ns += TCP_2MSL + SEC;
	bed_turns_to_idle(b);
	return BURST;
}

static uint32_t idle(struct bed *b)
{
	bed_turn_counted(b);
	return 1;
}

static const struct workload {
	const char *name;
	uint32_t (*round)(struct bed *b);
	bool many; /* needs a burst's worth of connections */
} workloads[] = {
	{"rx-data", rx_data, false},
	{"rx-data-sum", rx_data_sum, false},
	{"rx-spread", rx_spread, true},
	{"rx-ack", rx_ack, false},
	{"rx-ack-spread", rx_ack_spread, true},
	{"tx-data", tx_data, false},
	{"tx-data-sum", tx_data_sum, false},
	{"tx-cut", tx_cut, false},
	{"tx-device", tx_device, false},
	{"request", request_one, false},
	{"request-burst", request_burst, true},
	{"connect", connection, false},
	{"udp-rx", udp_rx, false},
	{"udp-tx", udp_tx, false},
	{"idle", idle, false},
};
#define WORKLOADS_N (sizeof(workloads) / sizeof(workloads[0]))

/* --- measuring ----------------------------------------------------------------------------------- */

static uint32_t run(struct bed *b, const struct workload *w, uint32_t packets)
{
	uint32_t done = 0;

	while (done < packets)
		done += w->round(b);
	return done;
}

static void measure_instructions(struct bed *b, const struct workload *w, uint32_t packets)
{
	char name[96];

	for (uint32_t times = 1; times <= 2; times++) {
		uint32_t done;

		CALLGRIND_START_INSTRUMENTATION;
		CALLGRIND_ZERO_STATS;
		done = run(b, w, times * packets);
		snprintf(name, sizeof(name), "%s %u %u", w->name, b->conns_n, done);
		CALLGRIND_DUMP_STATS_AT(name);
		CALLGRIND_STOP_INSTRUMENTATION;
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure_time(struct bed *b, const struct workload *w, uint32_t packets)
{
	double ns[ROUNDS], cycles[ROUNDS], clock = clock_ns();

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t before = cycles_read();
		uint32_t done;

		spent_ns = 0;
		counts = 0;
		done = run(b, w, packets);
		ns[i] = ((double)spent_ns - clock * counts) / done;
		cycles[i] = (double)(cycles_read() - before) / done;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
	qsort(cycles, ROUNDS, sizeof(cycles[0]), by_size);
	printf("%s %u %.1f ", w->name, b->conns_n, ns[ROUNDS / 2]);
	if (cycles_fd >= 0)
		printf("%.0f\n", cycles[ROUNDS / 2]);
	else
		printf("-\n");
}

static bool is_wanted(const struct workload *w, int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		if (strcmp(argv[i], w->name) == 0)
			return true;
	}
	return argc <= 3;
}

int main(int argc, char **argv)
{
	uint32_t connections = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	uint32_t packets = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	static struct bed b;

	if (connections == 0 || packets == 0) {
		fprintf(stderr, "usage: micro CONNECTIONS PACKETS [WORKLOAD...]\n");
		return 2;
	}
	callgrind = RUNNING_ON_VALGRIND;
	CALLGRIND_STOP_INSTRUMENTATION;
	if (!callgrind)
		cycles_open();
	bed_init(&b, connections);
	b.count_begin = count_begin;
	b.count_end = count_end;
	for (size_t i = 0; i < WORKLOADS_N; i++) {
		const struct workload *w = &workloads[i];

		if (!is_wanted(w, argc, argv) || (w->many && connections < BURST))
			continue;
		(void)run(&b, w, packets / 4 + 1);
		if (callgrind)
			measure_instructions(&b, w, packets);
		else
			measure_time(&b, w, packets);
	}
	bed_fini(&b);
	return 0;
}
