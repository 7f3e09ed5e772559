/* SPDX-License-Identifier: BSD-3-Clause */
/* How loss is found: by time (RACK) and by probes of the tail (TLP), RFC8985. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

/* --- RACK (RFC8985:6.2) ------------------------------------------------------------------------------ */

T(rack__as_much_sacked_as_three_segments__lost_at_once)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 0, 2, 5);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 0, 2, 7); /* PRR: five may be under way, and are until this */
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	script_quiet(s, MS);
	assert_int_equal(tcp_of(sk)->in_recovery, 1);
	told(s, 10, 0, 0);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	assert_int_equal(tcp_of(sk)->cwnd, tcp_of(sk)->ssthresh);
	script_gone(s, sk);
}

/* Step 5: what is missing may have changed places with what arrived, by a quarter of the round trip. */
T(rack__one_sacked__lost_after_a_quarter_of_the_round_trip)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 0, 1, 2);
	comes(s, 0, begin, RTT / MS / 4);
	script_gone(s, sk);
}

/* Steps 3 and 4: who has seen packets change places waits, however much was sacked. */
T(rack__reordering_was_seen__waits_though_much_is_sacked)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	told(s, 0, 1, 2);
	script_wait(s, 2 * MS);
	told(s, 2, 0, 0); /* it was late only */
	script_quiet(s, 10 * MS);
	assert_int_equal(tcp_of(sk)->reordering, 1);
	assert_int_equal(tcp_of(sk)->total_retrans, 0);
	begin = s->w->now_ns;
	told(s, 2, 3, 8);
	comes(s, 2, begin, RTT / MS / 4);
	script_gone(s, sk);
}

/* A retransmission is a transmission: what was sent after it and arrived shows that it is lost. RFC6675 waits for the
 * timer here. */
T(rack__retransmission_is_lost__found_without_the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 0, 1, 5);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	script_write(s, sk, 10 * N);
	script_wait(s, MS);
	told(s, 0, 1, 10); /* lets new data go, after the retransmission */
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_wait(s, RTT);
	while (script_next(s, 0) != NULL)
		;
	told(s, 0, 1, 11);
	script_expect_in(s, RTT, TCP_ACK, 1, 1, N);
	assert_int_equal(s->e->counters.tcp_timeouts, 0);
	script_gone(s, sk);
}

T(rack__dsack__the_window_for_reordering_grows_once_a_round)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 0, 1, 2);
	comes(s, 0, begin, 5);
	s->sacks_n = 1;
	for (int i = 0; i < 2; i++) { /* both of segment 0 arrived; the second DSACK is of the same round */
		s->sacks[0] = (struct range){1, 1 + N};
		script_send(s, TCP_ACK, 1, 1 + 3 * N, NULL, 0);
	}
	s->sacks_n = 0;
	assert_int_equal(tcp_of(sk)->reo_mult, 1);
	assert_int_equal(tcp_of(sk)->reo_persist, 16);
	script_gone(s, sk);
}

/* --- TLP (RFC8985:7) ----------------------------------------------------------------------------------- */

/* The last three of ten are lost: a probe after two round trips, and the rest as soon as it is answered (PRR lets one
 * go for each that arrives). */
T(tlp__tail_is_lost__repaired_without_the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 7, 0, 0);
	comes(s, 9, begin, 2 * RTT / MS);
	script_wait(s, RTT);
	told(s, 7, 9, 10);
	script_expect_in(s, 0, TCP_ACK, 1 + 7 * N, 1, N);
	script_wait(s, RTT);
	told(s, 8, 9, 10);
	script_expect_in(s, 0, TCP_ACK, 1 + 8 * N, 1, N);
	script_wait(s, RTT);
	told(s, 10, 0, 0);
	script_quiet(s, SEC);
	assert_int_equal(s->e->counters.tcp_timeouts, 0);
	script_gone(s, sk);
}

T(tlp__data_waits_for_the_window__the_probe_is_new)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	script_write(s, sk, 3 * N); /* the first window is full */
	script_quiet(s, MS);
	comes(s, 10, begin, 2 * RTT / MS);
	script_wait(s, RTT);
	told(s, 11, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	script_gone(s, sk);
}

/* Then the timer: one probe only. */
T(tlp__probe_is_not_answered__the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	begin = s->w->now_ns;
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	assert_in_range((s->w->now_ns - begin) / MS, 200, 250);
	assert_int_equal(s->e->counters.tcp_timeouts, 1);
	script_gone(s, sk);
}

/* 7.4.2: the probe was needed, and nobody else says so. */
T(tlp__probe_repaired_a_loss__the_window_pays)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 9, 0, 0);
	script_wait(s, RTT);
	script_write(s, sk, 2 * N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 11 * N, 1, N);
	comes(s, 11, begin, 3 * RTT / MS);
	told(s, 12, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	script_write(s, sk, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 12 * N, 1, N);
	told(s, 13, 0, 0);
	assert_true(tcp_of(sk)->ssthresh < 11 * N);
	script_gone(s, sk);
}

T(tlp__both_arrived__dsack__the_window_stays)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	told(s, 10, 0, 0);
	told(s, 10, 9, 10);
	script_write(s, sk, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	told(s, 11, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rack__as_much_sacked_as_three_segments__lost_at_once),
		cmocka_unit_test(rack__one_sacked__lost_after_a_quarter_of_the_round_trip),
		cmocka_unit_test(rack__reordering_was_seen__waits_though_much_is_sacked),
		cmocka_unit_test(rack__retransmission_is_lost__found_without_the_timer),
		cmocka_unit_test(rack__dsack__the_window_for_reordering_grows_once_a_round),
		cmocka_unit_test(tlp__tail_is_lost__repaired_without_the_timer),
		cmocka_unit_test(tlp__data_waits_for_the_window__the_probe_is_new),
		cmocka_unit_test(tlp__probe_is_not_answered__the_timer),
		cmocka_unit_test(tlp__probe_repaired_a_loss__the_window_pays),
		cmocka_unit_test(tlp__both_arrived__dsack__the_window_stays),
	};

	world_eal_init("tcp_rack");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
