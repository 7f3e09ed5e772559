/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss and its repair, rule by rule: a scripted peer against one engine (RFC2018, 3042, 5681, 6582, 6675). How loss is found is in
 * tcp_rack.c, how much goes then in tcp_prr.c, and what was needless in tcp_undo.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"
#include "tests/world/transfer.h"

/* --- limited transmit (RFC3042) ------------------------------------------------------------------------ */

/* The window is full, and each of the first two duplicates lets one more segment go: what left the network is counted
 * once, by the duplicate or by the SACK block that it carries. */
static void limited_transmit(bool sack)
{
	struct script *s = script_new(1);
	struct sock *sk;

	s->sack_ok = sack;
	s->mss = N;
	sk = script_established_passive(s, NULL);
	script_write(s, sk, 20 * N);
	for (uint32_t i = 0; i < 10; i++)
		script_expect(s, TCP_ACK, 1 + i * N, 1, N);
	for (uint32_t i = 0; i < 2; i++) {
		told(s, 0, 1, sack ? 2 + i : 0);
		script_expect_in(s, 0, TCP_ACK, 1 + (10 + i) * N, 1, N);
		script_quiet(s, 0);
	}
	told(s, 0, 1, sack ? 4 : 0);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	script_gone(s, sk);
}

T(two_duplicates__no_sack__a_new_segment_each)
{
	(void)state;
	limited_transmit(false);
}

T(two_duplicates__sack__a_new_segment_each)
{
	(void)state;
	limited_transmit(true);
}

/* --- where a reduction starts from (RFC5681:3.1 (4)) ---------------------------------------------------- */

/* Ten segments are under way; one burst acknowledges four and tells of a loss. waits: more has been written, and would have
 * filled the window at the end of a turn between. */
static uint32_t ssthresh_after_burst(bool waits)
{
	struct script *s = script_new(1);
	struct sock *sk = ten_under_way(s);
	uint32_t ssthresh;

	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "reno", 4), 0);
	tcp_of(sk)->cwnd = 10 * N;
	if (waits)
		script_write(s, sk, 20 * N);
	script_wait(s, RTT);
	for (uint32_t i = 1; i <= 4; i++)
		script_queue(s, TCP_ACK, 1, 1 + i * N, NULL, 0);
	s->sacks_n = 1;
	s->sacks[0] = (struct range){1 + 5 * N, 1 + 10 * N};
	script_send(s, TCP_ACK, 1, 1 + 4 * N, NULL, 0);
	s->sacks_n = 0;
	assert_int_equal(tcp_of(sk)->in_recovery, 1);
	ssthresh = tcp_of(sk)->ssthresh;
	script_wait(s, MS);
	script_gone(s, sk);
	return ssthresh;
}

T(reduction__acks_and_loss_in_one_burst__half_of_what_was_under_way_before)
{
	(void)state;
	assert_int_equal(ssthresh_after_burst(true), 5 * N);
}

/* Nothing would have taken the place of what was acknowledged. */
T(reduction__nothing_waits__half_of_what_is_left)
{
	(void)state;
	assert_int_equal(ssthresh_after_burst(false), 3 * N);
}

/* All but the last of sixty seem lost and were only late: when they are acknowledged nearly nothing is under way, and
 * the window of 42 does not go out at once. */
T(recovery_ends__little_under_way__no_burst)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct tcp_sock *tp = tcp_of(sk);
	unsigned burst = 0;

	tp->cwnd = 60 * N;
	script_write(s, sk, 290 * N);
	script_wait(s, RTT);
	told(s, 0, 59, 60);
	script_wait(s, RTT / 2);
	assert_int_equal(tp->in_recovery, 1);
	assert_int_equal(tp->ssthresh, 42 * N);
	s->head = s->tail;
	script_send(s, TCP_ACK, 1, tp->snd_max - tp->iss, NULL, 0);
	assert_int_equal(tp->in_recovery, 0);
	script_wait(s, MS);
	for (; s->head != s->tail; s->head++)
		burst++;
	assert_in_range(burst, 10, 15);
	script_gone(s, sk);
}

/* ACKs that changed places: the old one tells of segments that the other did not. */
T(old_ack__with_sack_blocks__what_is_missing_goes_at_once)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 4, 0, 0);
	told(s, 2, 5, 9);
	script_expect_in(s, 0, TCP_ACK, 1 + 4 * N, 1, N);
	assert_int_equal(tcp_of(sk)->snd_una - tcp_of(sk)->iss, 1 + 4 * N);
	told(s, 10, 0, 0);
	script_gone(s, sk);
}

T(old_ack__blocks_below_the_newest__nothing)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 8, 0, 0);
	told(s, 2, 4, 8);
	script_quiet(s, MS);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	assert_null(tcp_of(sk)->loss);
	told(s, 10, 0, 0);
	script_gone(s, sk);
}

/* --- the peer changes its mind (RFC2018:8) --------------------------------------------------------------- */

T(sacked_and_thrown_away__all_of_it_goes_again)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t sent = 0;

	script_wait(s, RTT);
	told(s, 0, 1, 10);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 1, 0, 0); /* what follows was there before */
	for (uint32_t at = 1; at < 10; at++) {
		while (script_next(s, 15 * MS) != NULL)
			sent++;
		assert_true(sent > 0);
		told(s, at + 1, 0, 0);
	}
	assert_int_equal(sk->tx_acked, 10 * N);
	script_gone(s, sk);
}

/* The ACK that shows it has overtaken the one that told of what is gone: that one is not believed any more. */
T(sacked_and_thrown_away__told_late__goes_again)
{
	START;
	struct sock *sk = ten_under_way(s);
	const struct script_seg *seg;
	bool again = false;

	script_wait(s, RTT);
	told(s, 2, 0, 0);
	s->sacks_n = 2;
	s->sacks[0] = (struct range){1 + 5 * N, 1 + 6 * N};
	s->sacks[1] = (struct range){1 + 2 * N, 1 + 3 * N};
	script_send(s, TCP_ACK, 1, 1 + N, NULL, 0);
	s->sacks_n = 0;
	while (!again && (seg = script_next(s, 3 * SEC)) != NULL)
		again = seg->seq == 1 + 2 * N && seg->len == N;
	assert_true(again);
	assert_in_range(s->e->counters.tcp_timeouts, 0, 2);
	told(s, 10, 0, 0);
	script_wait(s, SEC);
	s->head = s->tail;
	script_gone(s, sk);
}

T(sender__no_room_for_recovery__mended_by_timeouts)
{
	START;
	s->mss = 1000;
	struct sock *sk = script_established_passive(s, NULL);
	uint32_t max = s->e->tcp->losses.max;

	s->e->tcp->losses.max = 0;
	script_write(s, sk, 4000);
	for (uint32_t i = 0; i < 4; i++)
		script_expect(s, TCP_ACK, 1 + i * 1000, 1, 1000);
	for (int i = 0; i < 4; i++)
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, SEC, TCP_ACK, 1, 1, 1000);
	script_send(s, TCP_ACK, 1, 1001, NULL, 0);
	script_expect_in(s, SEC, TCP_ACK, 1001, 1, 1000);
	assert_true(s->e->counters.tcp_loss_limit > 0);
	script_send(s, TCP_ACK, 1, 4001, NULL, 0);
	script_quiet(s, SEC);
	s->e->tcp->losses.max = max;
	script_gone(s, sk);
}

/* Then RFC6675: what is sacked stays sacked, what is missing goes again. */
T(sender__no_records_left__holes_are_mended_without_them)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct pool *p = &s->e->tcp->xmits;
	void *free_list = p->free_list;
	uint32_t max = p->max;

	p->free_list = NULL;
	p->max = p->fresh;
	script_wait(s, RTT);
	told(s, 0, 1, 2); /* this cannot be cut from the one record */
	told(s, 0, 1, 3);
	told(s, 0, 1, 4);
	assert_null(tcp_of(sk)->xmit);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 0, 5, 10);
	script_expect_in(s, 0, TCP_ACK, 1 + 4 * N, 1, N);
	told(s, 10, 0, 0);
	assert_true(s->e->counters.tcp_xmit_limit > 0);
	assert_int_equal(s->e->counters.tcp_timeouts, 0);
	p->max = max;
	assert_int_equal(p->used, 0);
	if (p->free_list == NULL)
		p->free_list = free_list;
	script_write(s, sk, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	assert_non_null(tcp_of(sk)->xmit); /* a new flight has them again */
	script_gone(s, sk);
}

/* The same in the middle of a recovery: what is sacked is not forgotten, and the timeout finds no trace of the records.
 */
T(sender__no_records_left_in_a_recovery__holes_and_the_timeout_mend_it)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct pool *p = &s->e->tcp->xmits;
	void *free_list;
	uint32_t max = p->max;

	script_wait(s, RTT);
	told(s, 0, 1, 10);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	assert_int_equal(tcp_of(sk)->in_recovery, 1);
	script_write(s, sk, 4 * N);
	script_wait(s, 0);
	s->head = s->tail;
	free_list = p->free_list;
	p->free_list = NULL;
	p->max = p->fresh;
	told(s, 1, 11, 12); /* cuts what went now in a row */
	assert_null(tcp_of(sk)->xmit);
	script_wait(s, MS);
	s->head = s->tail;
	script_next(s, 2 * SEC); /* at the timeout the first that is missing */
	assert_true(s->e->counters.tcp_timeouts > 0);
	p->max = max;
	p->free_list = free_list;
	told(s, 14, 0, 0);
	script_quiet(s, SEC);
	assert_null(tcp_of(sk)->loss);
	assert_int_equal(sk->tx_acked, 14 * N);
	script_gone(s, sk);
}

static uint32_t pool_most;

static void pools_shrink(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct tcp *t = w->host[i].e->tcp;

		t->xmits.max = 1 + pool_most;
		t->losses.max = t->ooos.max = 1 + pool_most / 4;
		t->runs.max = 1 + pool_most / 2;
	}
}

/* Records run out at any step of a recovery, again and again: everything arrives. */
static void pools_of_a_few__everything_arrives(void **state)
{
	struct plan plan = {.prepare = pools_shrink,
		.link = {.delay_ns = 5 * MS, .loss = 60, .reorder = 60, .reorder_ns = 3 * MS, .spares_arp = true},
		.bytes = 200000,
		.bound_s = 3600};

	(void)state;
	for (pool_most = 0; pool_most < 24; pool_most++) {
		plan.write_most = pool_most % 2 ? 3000 : 0;
		transfers(&plan, 1 + 10 * pool_most, 10);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_duplicates__no_sack__a_new_segment_each),
		cmocka_unit_test(two_duplicates__sack__a_new_segment_each),
		cmocka_unit_test(reduction__acks_and_loss_in_one_burst__half_of_what_was_under_way_before),
		cmocka_unit_test(reduction__nothing_waits__half_of_what_is_left),
		cmocka_unit_test(recovery_ends__little_under_way__no_burst),
		cmocka_unit_test(old_ack__with_sack_blocks__what_is_missing_goes_at_once),
		cmocka_unit_test(old_ack__blocks_below_the_newest__nothing),
		cmocka_unit_test(sacked_and_thrown_away__all_of_it_goes_again),
		cmocka_unit_test(sacked_and_thrown_away__told_late__goes_again),
		cmocka_unit_test(sender__no_room_for_recovery__mended_by_timeouts),
		cmocka_unit_test(sender__no_records_left__holes_are_mended_without_them),
		cmocka_unit_test(sender__no_records_left_in_a_recovery__holes_and_the_timeout_mend_it),
		cmocka_unit_test(pools_of_a_few__everything_arrives),
	};

	world_eal_init("tcp_recovery");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
