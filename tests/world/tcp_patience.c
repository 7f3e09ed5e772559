/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a connection waits for a peer that does not answer, or has no room (RFC5482, RFC1122:4.2.3.5, RFC9293:3.8.6.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

/* --- patience (RFC5482, RFC1122:4.2.3.5, RFC9293:3.8.6.1) ------------------------------------------------- */

T(user_timeout__data_not_acknowledged__ends_at_its_time)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int ms = 1500;

	assert_int_equal(sock_setopt(sk, CV_OPT_USER_TIMEOUT, &ms, sizeof(ms)), 0);
	script_write(s, sk, 10);
	script_wait(s, 200 * MS + 1490 * MS);
	script_is(sk, ESTABLISHED);
	script_wait(s, 20 * MS); /* timeouts at 200, 600 and 1400 ms; the next would be at 3000 */
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	s->head = s->tail;
	sock_close(sk, false);
	script_free(s);
}

T(user_timeout__syn_not_answered__ends_at_its_time)
{
	START;
	struct cv_endpoint to = world_endpoint(1, SCRIPT_PEER_PORT);
	struct sock *sk = script_socket(s);
	int ms = 1800;

	assert_int_equal(sock_setopt(sk, CV_OPT_USER_TIMEOUT, &ms, sizeof(ms)), 0);
	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_wait(s, 1790 * MS);
	script_is(sk, SYN_SENT);
	script_wait(s, 20 * MS);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	s->head = s->tail;
	sock_close(sk, false);
	script_free(s);
}

T(r1__path_is_doubted_after_three_timeouts)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 10);
	script_wait(s, 1300 * MS);
	assert_int_equal(s->e->counters.tcp_r1, 0);
	script_wait(s, 200 * MS);
	assert_int_equal(s->e->counters.tcp_r1, 1);
	s->head = s->tail;
	script_gone(s, sk);
}

/* A FIN needs room as a byte does: into a shut window it does not go; the window is probed, and it goes when it
 * opens. */
T(zero_window__fin__waits_and_probes)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);

	sock_shutdown_wr(sk);
	script_is(sk, FIN_WAIT_1);
	script_expect_in(s, 2 * SEC, TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, 2 * SEC, TCP_ACK, 0, 1, 0);
	s->wnd = 100;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, 0, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_is(sk, FIN_WAIT_2);
	script_gone(s, sk);
}

/* The window opens in the very turn in which it would be probed. */
T(zero_window__opens_with_the_probe__only_the_fin_goes)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);
	uint64_t since;

	sock_shutdown_wr(sk);
	script_expect_in(s, 2 * SEC, TCP_ACK, 0, 1, 0);
	since = s->w->now_ns;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	while (s->w->now_ns < since + 5 * SEC && engine_deadline_ns(s->e) < since + 300 * MS)
		script_wait(s, engine_deadline_ns(s->e) - s->w->now_ns);
	s->wnd = 100;
	script_queue(s, TCP_ACK, 1, 1, NULL, 0);
	s->w->now_ns = engine_deadline_ns(s->e);
	script_expect_in(s, 0, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_quiet(s, 0);
	script_gone(s, sk);
}

/* What is held back for its size waits 200 ms, not for the next probe of a window that is open. */
T(zero_window__opens_after_long__what_is_corked_waits_no_longer_than_ever)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);

	script_set(sk, CV_OPT_CORK, 1);
	script_write(s, sk, 10);
	for (int i = 0; i < 6; i++) {
		assert_non_null(script_next(s, 60 * SEC));
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	}
	s->wnd = 65535;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, 210 * MS, TCP_ACK, 1, 1, 10);
	script_gone(s, sk);
}

/* Behind what was lost the window was told as shut; what is sent again acknowledges more and opens it (as Linux:
 * RFC9293's SND.WL1 alone would not hear it). */
T(zero_window__opened_by_what_is_sent_again__data_at_once)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	static const char lost[100];

	script_write(s, sk, 1000);
	script_expect(s, TCP_ACK, 1, 1, 1000);
	s->wnd = 0;
	script_send(s, TCP_ACK, 101, 1, "b", 1);
	script_next(s, 0);
	s->wnd = 65535;
	script_send(s, TCP_ACK, 1, 1001, lost, sizeof(lost));
	script_expect_in(s, 0, TCP_ACK, 1001, 102, 0);
	script_write(s, sk, 10);
	script_expect_in(s, 0, TCP_ACK, 1001, 102, 10);
	script_gone(s, sk);
}

/* RFC9293 SHLD-17: a window that is taken back from under what is under way is shut as any other is. */
T(window_taken_back_to_zero__answered_for_ever__no_timeout)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 1000);
	script_expect(s, TCP_ACK, 1, 1, 1000);
	s->wnd = 0;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	for (int i = 0; i < 300; i++) {
		assert_non_null(script_next(s, 200 * SEC));
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	}
	script_is(sk, ESTABLISHED);
	s->wnd = 65535;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, 300 * MS, TCP_ACK, 1, 1, 1000); /* at once, as if it had never been shut */
	script_send(s, TCP_ACK, 1, 1001, NULL, 0);
	script_quiet(s, SEC);
	script_gone(s, sk);
}

T(window_taken_back_to_zero__not_answered__timed_out)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 1000);
	script_expect(s, TCP_ACK, 1, 1, 1000);
	s->wnd = 0;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_times_out(s, sk);
}

/* A window was shut for nearly as long as the user waits: what goes then has all of the time. */
T(user_timeout__after_a_zero_window__counts_anew)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);
	uint64_t since;

	script_set(sk, CV_OPT_USER_TIMEOUT, 10000);
	script_write(s, sk, 10);
	since = s->w->now_ns;
	while (s->w->now_ns < since + 7 * SEC) {
		if (script_next(s, SEC) != NULL)
			script_send(s, TCP_ACK, 1, 1, NULL, 0);
	}
	s->wnd = 65535;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 10);
	script_wait(s, 9 * SEC);
	script_is(sk, ESTABLISHED);
	script_wait(s, 2 * SEC);
	script_is(sk, CLOSED);
	s->head = s->tail;
	sock_close(sk, false);
	script_free(s);
}

static struct sock *kept_alive(struct script *s, int count, int timeout_ms)
{
	struct sock *sk = script_established_passive(s, NULL);

	script_set(sk, CV_OPT_KEEPIDLE, 10);
	script_set(sk, CV_OPT_KEEPINTVL, 2);
	script_set(sk, CV_OPT_KEEPCNT, count);
	script_set(sk, CV_OPT_USER_TIMEOUT, timeout_ms);
	script_set(sk, CV_OPT_KEEPALIVE, 1);
	return sk;
}

/* tcp(7): TCP_USER_TIMEOUT overrides how many probes of keepalive are sent. */
T(user_timeout__keepalive__ends_by_the_time_and_not_by_the_count)
{
	START;
	struct sock *sk = kept_alive(s, 100, 15000);

	for (int i = 0; i < 3; i++) /* at 10, 12 and 14 s */
		script_expect_in(s, 11 * SEC, TCP_ACK, 0, 1, 0);
	assert_true(script_next(s, 2100 * MS)->h.flags & TCP_RST);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(user_timeout__keepalive__more_probes_than_the_count)
{
	START;
	struct sock *sk = kept_alive(s, 2, 30000);

	for (int i = 0; i < 10; i++) /* at 10, 12 ... 28 s */
		script_expect_in(s, 11 * SEC, TCP_ACK, 0, 1, 0);
	assert_true(script_next(s, 2100 * MS)->h.flags & TCP_RST);
	sock_close(sk, false);
	script_free(s);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_timeout__data_not_acknowledged__ends_at_its_time),
		cmocka_unit_test(user_timeout__syn_not_answered__ends_at_its_time),
		cmocka_unit_test(r1__path_is_doubted_after_three_timeouts),
		cmocka_unit_test(zero_window__fin__waits_and_probes),
		cmocka_unit_test(zero_window__opens_with_the_probe__only_the_fin_goes),
		cmocka_unit_test(zero_window__opens_after_long__what_is_corked_waits_no_longer_than_ever),
		cmocka_unit_test(zero_window__opened_by_what_is_sent_again__data_at_once),
		cmocka_unit_test(window_taken_back_to_zero__answered_for_ever__no_timeout),
		cmocka_unit_test(window_taken_back_to_zero__not_answered__timed_out),
		cmocka_unit_test(user_timeout__after_a_zero_window__counts_anew),
		cmocka_unit_test(user_timeout__keepalive__ends_by_the_time_and_not_by_the_count),
		cmocka_unit_test(user_timeout__keepalive__more_probes_than_the_count),
	};

	world_eal_init("tcp_patience");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
