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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_timeout__data_not_acknowledged__ends_at_its_time),
		cmocka_unit_test(user_timeout__syn_not_answered__ends_at_its_time),
		cmocka_unit_test(r1__path_is_doubted_after_three_timeouts),
		cmocka_unit_test(zero_window__fin__waits_and_probes),
	};

	world_eal_init("tcp_patience");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
