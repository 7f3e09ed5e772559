/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer that tells what no honest one would, to make work: what it costs is bounded, and the connection goes on. What strangers
 * send is in tcp_states.c, tcp_table.c and tcp_flood.c; what comes out of order, in tcp_ooo.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

static void sack(struct script *s, uint32_t lo, uint32_t hi)
{
	s->sacks_n = 1;
	s->sacks[0] = (struct range){lo, hi};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->sacks_n = 0;
	s->head = s->tail;
}

/* CVE-2019-11478: each block cuts two pieces off what is under way. */
T(sack_blocks__of_single_bytes__few_records)
{
	START;
	struct sock *sk = ten_under_way(s);

	for (uint32_t i = 1; i < 10 * N; i += 2)
		sack(s, 1 + i, 2 + i);
	assert_in_range(s->e->tcp->xmits.used, 2, 64 + 2 * 10 + 20);
	told(s, 10, 0, 0);
	assert_int_equal(sk->tx_acked, 10 * N);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	script_wait(s, MS);
	script_gone(s, sk);
}

#define MANY 9000u
#define SMALL 100u

/* A block behind thousands of others is not found by one ACK, but by the third. */
T(sack_block__far_behind_the_last__found_in_pieces)
{
	START;
	s->sack_ok = s->has_wscale = true;
	s->wscale = 7;
	s->mss = SMALL;
	struct sock *sk = script_established_passive(s, NULL);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before;

	tp->cwnd = MANY * SMALL;
	for (uint32_t i = 0; i < MANY; i += MANY / 18) {
		script_write(s, sk, MANY / 18 * SMALL);
		script_wait(s, MS);
		s->head = s->tail;
	}
	assert_int_equal(tp->snd_max - tp->snd_una, MANY * SMALL);
	for (uint32_t i = 1; i < MANY - 2; i += 2)
		sack(s, 1 + i * SMALL, 1 + (i + 1) * SMALL);
	sack(s, 1 + 2 * SMALL, 1 + 3 * SMALL);
	before = tp->loss->sacked_bytes;
	assert_int_equal(s->e->counters.tcp_sack_far, 0);
	for (uint64_t put_off = 1; put_off <= 2; put_off++) {
		sack(s, 1 + (MANY - 1) * SMALL, 1 + MANY * SMALL);
		assert_int_equal(s->e->counters.tcp_sack_far, put_off);
		assert_int_equal(tp->loss->sacked_bytes, before);
	}
	sack(s, 1 + (MANY - 1) * SMALL, 1 + MANY * SMALL);
	assert_int_equal(s->e->counters.tcp_sack_far, 2);
	assert_int_equal(tp->loss->sacked_bytes, before + SMALL);
	script_send(s, TCP_ACK, 1, 1 + MANY * SMALL, NULL, 0);
	assert_int_equal(sk->tx_acked, MANY * SMALL);
	script_wait(s, MS);
	script_gone(s, sk);
}

/* Segments that may only be late are waited for each by itself: an ACK looks at the first of them only. */
T(reordering_was_seen__sent_at_two_times__each_lost_at_its_own)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct tcp_sock *tp = tcp_of(sk);
	uint64_t begin;

	tp->cwnd = 20 * N;
	tp->reordering = 1;
	script_wait(s, 4 * MS);
	script_write(s, sk, 2 * N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 11 * N, 1, N);
	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 9, 11, 12); /* the tenth and the eleventh are missing */
	comes(s, 9, begin, RTT / MS / 4);
	comes(s, 10, begin, RTT / MS / 4 + 4);
	script_gone(s, sk);
}

/* What we may send in one segment says nothing of what the peer sends in one: each has one duplicate ACK. */
T(out_of_order__of_a_peer_that_takes_small_ones_only__one_ack_each)
{
	START;
	static const uint8_t data[1000];
	s->mss = 88;
	struct sock *sk = script_established_passive(s, NULL);

	for (uint32_t i = 1; i <= 3; i++) {
		script_send(s, TCP_ACK, 1 + i * 1000, 1, data, sizeof(data));
		script_expect(s, TCP_ACK, 1, 1, 0);
		script_quiet(s, MS);
	}
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sack_blocks__of_single_bytes__few_records),
		cmocka_unit_test(sack_block__far_behind_the_last__found_in_pieces),
		cmocka_unit_test(reordering_was_seen__sent_at_two_times__each_lost_at_its_own),
		cmocka_unit_test(out_of_order__of_a_peer_that_takes_small_ones_only__one_ack_each),
	};

	world_eal_init_large("tcp_hostile", 98303);
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
