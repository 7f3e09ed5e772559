/* SPDX-License-Identifier: BSD-3-Clause */
/* How much a recovery sends: proportional rate reduction (RFC6937, RFC9937). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

/* --- PRR (RFC6937, RFC9937) ---------------------------------------------------------------------------- */

/* RFC6937:3.1, first example: of 20 under way the first is lost, and the window halves: one goes for each two ACKs. */
T(prr__one_of_twenty_lost__one_for_each_two_acks)
{
	struct tcp_loss l = {0};
	uint32_t pipe = 19, sent = 0;

	(void)state;
	tcp_prr_begin(&l, 20);
	for (uint32_t ack = 1; ack <= 19; ack++) {
		pipe--;
		uint32_t n = tcp_prr_sndcnt(&l, pipe, 10, 1, false, 1);
		sent += n;
		l.prr_out += n;
		pipe += n;
		assert_in_range(n, 0, 1);
		assert_in_range(sent, ack / 2, ack / 2 + 1);
	}
	assert_int_equal(sent, 10);
}

/* The second: 15 of 20 are lost at once, so that less is under way than may be. CRB: as much as arrives; SSRB: one
 * more with each ACK that shows progress. */
T(prr__most_lost__as_much_as_arrives_and_one_more_when_all_goes_well)
{
	struct tcp_loss l = {0};

	(void)state;
	tcp_prr_begin(&l, 20);
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, false, 1), 1);
	l.prr_out = 1;
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, false, 1), 1);
	l.prr_out = 2;
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, true, 1), 2);
	l.prr_out = 4;
	assert_int_equal(tcp_prr_sndcnt(&l, 9, 10, 3, true, 1), 1); /* not beyond ssthresh */
}

/* Twenty under way and the first lost, without SACK: each duplicate is a segment that arrived (RFC6937:3). */
T(prr__without_sack__one_for_each_two_duplicates)
{
	START;
	struct sock *sk = ten_under_way_with(s, false);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t sent = 0;

	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "reno", 4), 0); /* halves */
	tp->cwnd = 20 * N;
	script_write(s, sk, 40 * N);
	script_wait(s, 0);
	told(s, 0, 0, 0); /* limited transmit: one more */
	told(s, 0, 0, 0);
	assert_int_equal(tp->snd_max - tp->snd_una, 22 * N);
	s->head = s->tail;
	for (uint32_t ack = 1; ack <= 19; ack++) {
		told(s, 0, 0, 0);
		for (; s->head != s->tail; s->head++)
			sent++;
		assert_in_range(sent, (ack - 1) / 2, (ack + 1) / 2); /* whole segments */
	}
	assert_int_equal(tp->ssthresh, 10 * N);
	assert_int_equal(tcp_pipe(tp), tp->ssthresh);
	told(s, 22, 0, 0);
	assert_int_equal(tp->in_recovery, 0);
	assert_int_equal(tp->cwnd, 10 * N);
	script_gone(s, sk);
}

/* Two holes, without SACK: the second goes with the partial ACK, and new data up to ssthresh. */
T(prr__without_sack__partial_ack__the_next_hole_and_no_more_than_ssthresh)
{
	START;
	struct sock *sk = ten_under_way_with(s, false);
	struct tcp_sock *tp = tcp_of(sk);

	script_write(s, sk, 20 * N);
	for (int i = 0; i < 8; i++) /* segments 0 and 5 are lost */
		told(s, 0, 0, 0);
	s->head = s->tail;
	told(s, 5, 0, 0);
	script_expect_in(s, 0, TCP_ACK, 1 + 5 * N, 1, N);
	assert_int_equal(tp->in_recovery, 1);
	assert_int_equal(tcp_pipe(tp), tp->ssthresh);
	script_send(s, TCP_ACK, 1, tp->snd_max - tp->iss, NULL, 0);
	assert_int_equal(tp->in_recovery, 0);
	script_wait(s, MS);
	script_gone(s, sk);
}

T(prr__told_congestion__the_window_halves_over_a_round_trip)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t sent = 0;

	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "reno", 4), 0); /* halves */
	tcp_of(sk)->cwnd = 10 * N;
	script_write(s, sk, 20 * N);
	assert_true(tcp_recovery_cwr(tcp_of(sk)));
	assert_false(tcp_recovery_cwr(tcp_of(sk)));
	for (uint32_t i = 1; i <= 10; i++) {
		told(s, i, 0, 0);
		while (script_next(s, 0) != NULL)
			sent++;
		assert_in_range(sent + 1, i / 2, i / 2 + 2);
	}
	assert_int_equal(sent, 5);
	assert_int_equal(tcp_of(sk)->cwnd, 5 * N);
	assert_int_equal(tcp_of(sk)->total_retrans, 0);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prr__one_of_twenty_lost__one_for_each_two_acks),
		cmocka_unit_test(prr__most_lost__as_much_as_arrives_and_one_more_when_all_goes_well),
		cmocka_unit_test(prr__without_sack__one_for_each_two_duplicates),
		cmocka_unit_test(prr__without_sack__partial_ack__the_next_hole_and_no_more_than_ssthresh),
		cmocka_unit_test(prr__told_congestion__the_window_halves_over_a_round_trip),
	};

	world_eal_init("tcp_prr");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
