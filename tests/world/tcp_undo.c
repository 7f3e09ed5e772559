/* SPDX-License-Identifier: BSD-3-Clause */
/* Recoveries that were needless are undone (RFC3522, RFC4015, RFC5682, RFC2883), and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

/* --- needless (RFC3522, RFC4015, RFC5682, RFC2883) ------------------------------------------------------ */

T(timeout__first_segments_ack_was_late__timestamp_tells__window_is_back)
{
	START;
	s->ts = true;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd, stamp = s->tsecr;
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	assert_true(tcp_of(sk)->cwnd <= N);
	s->tsecr = stamp; /* of the first transmissions */
	told(s, 3, 0, 0);
	assert_int_equal(tcp_of(sk)->rto_recovery, 0);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	assert_int_equal(s->e->counters.tcp_undone, 1);
	script_quiet(s, MS); /* and nothing of the rest goes again */
	script_gone(s, sk);
}

T(timeout__what_was_never_sent_again_is_acknowledged__f_rto__window_is_back)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd;
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	script_write(s, sk, 4 * N);
	told(s, 1, 0, 0); /* step 2 b: new data, not the second segment */
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	told(s, 2, 0, 0); /* step 3 b: that went once only */
	assert_int_equal(tcp_of(sk)->rto_recovery, 0);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(s->e->counters.tcp_undone, 1);
	script_gone(s, sk);
}

T(timeout__loss_was_real__f_rto_goes_on_with_the_lost)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	told(s, 1, 0, 0); /* there is no new data */
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	assert_int_equal(tcp_of(sk)->rto_recovery, 1);
	assert_int_equal(s->e->counters.tcp_undone, 0);
	script_gone(s, sk);
}

/* 3.1 step 1: a second timeout, when the first one's repair has come some way, asks no more: the lost goes. */
T(timeout__again_after_progress__no_f_rto)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	script_write(s, sk, 10 * N);
	comes(s, 10, begin, 2 * RTT / MS); /* the probe is new data */
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	told(s, 1, 0, 0);
	script_expect_in(s, 0, TCP_ACK, 1 + 11 * N, 1, N);
	script_wait(s, 100 * MS);
	s->head = s->tail; /* all of it is lost */
	script_expect_in(s, 2 * SEC, TCP_ACK, 1 + N, 1, N);
	assert_int_equal(s->e->counters.tcp_timeouts, 2);
	told(s, 2, 0, 0);
	script_expect_in(s, 0, TCP_ACK, 1 + 2 * N, 1, N);
	script_gone(s, sk);
}

T(fast_recovery__dsack_for_all_that_went_again__window_is_back)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd;

	script_wait(s, RTT);
	told(s, 0, 2, 6);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 0, 2, 8);
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	told(s, 10, 0, 0); /* all was there */
	assert_true(tcp_of(sk)->cwnd < cwnd);
	script_wait(s, RTT);
	told(s, 10, 0, 1);
	assert_true(tcp_of(sk)->cwnd < cwnd); /* one of two may have been needed */
	told(s, 10, 1, 2);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	script_gone(s, sk);
}

/* An undone recovery leaves what it sent again between what went before it. */
T(trouble_begins_again__what_was_sent_again_is_under_way_in_its_order)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct tcp_sock *tp = tcp_of(sk);
	struct tcp_xmit *first = tp->xmit, *again, *last;
	const struct list *at;

	again = tcp_xmit_split(tp, first, tp->snd_una + 2 * N);
	last = tcp_xmit_split(tp, again, tp->snd_una + 3 * N);
	again->flags |= XMIT_AGAIN;
	again->sent_ns += 5 * MS;
	assert_non_null(tcp_loss_get(tp));
	at = tp->loss->flight.next;
	assert_ptr_equal(list_entry(at, struct tcp_xmit, way), first);
	assert_ptr_equal(list_entry(at->next, struct tcp_xmit, way), last);
	assert_ptr_equal(list_entry(at->next->next, struct tcp_xmit, way), again);
	told(s, 10, 0, 0);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timeout__first_segments_ack_was_late__timestamp_tells__window_is_back),
		cmocka_unit_test(timeout__what_was_never_sent_again_is_acknowledged__f_rto__window_is_back),
		cmocka_unit_test(timeout__loss_was_real__f_rto_goes_on_with_the_lost),
		cmocka_unit_test(timeout__again_after_progress__no_f_rto),
		cmocka_unit_test(fast_recovery__dsack_for_all_that_went_again__window_is_back),
		cmocka_unit_test(trouble_begins_again__what_was_sent_again_is_under_way_in_its_order),
	};

	world_eal_init("tcp_undo");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
