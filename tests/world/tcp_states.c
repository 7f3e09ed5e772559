/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP's states, event by event: a scripted peer against one engine (RFC9293:3.10.7, RFC5961). Names say
 * the state, the event, the expectation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

static void text_of(struct sock *sk, const char *wanted)
{
	char got[64] = "";
	uint32_t n = sock_recv_copy(sk, got, sizeof(got));

	assert_int_equal(n, strlen(wanted));
	assert_memory_equal(got, wanted, n);
}

static uint32_t time_waits(struct script *s)
{
	uint32_t socks, waits;

	tcp_count(s->e, &socks, &waits);
	return waits;
}

static uint32_t socks(struct script *s)
{
	uint32_t n, waits;

	tcp_count(s->e, &n, &waits);
	return n;
}

/* --- CLOSED and LISTEN --------------------------------------------------------------------------- */

T(closed__syn__rst_acks_it)
{
	START;
	s->irs_known = true; /* its number in a RST is 0, or what we said */
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_RST | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_FIN | TCP_SYN, 0, 0, "abc", 3);
	script_expect(s, TCP_RST | TCP_ACK, 0, 5, 0);
	script_free(s);
}

T(closed__ack__rst_with_its_number)
{
	START;
	s->irs_known = true;
	script_send(s, TCP_ACK, 5, 77, NULL, 0);
	script_expect(s, TCP_RST, 77, 0, 0);
	script_free(s);
}

T(closed__rst__silence)
{
	START;
	s->irs_known = true;
	script_send(s, TCP_RST, 5, 0, NULL, 0);
	script_send(s, TCP_RST | TCP_ACK, 5, 5, NULL, 0);
	script_quiet(s, SEC);
	script_free(s);
}

T(listen__ack_or_rst__rst_or_silence)
{
	START;
	struct sock *ls = script_listen(s, 4);

	s->irs_known = true;
	script_send(s, TCP_RST, 5, 0, NULL, 0);
	script_quiet(s, SEC);
	script_send(s, TCP_ACK, 5, 9, NULL, 0);
	script_expect(s, TCP_RST, 9, 0, 0);
	script_send(s, TCP_FIN, 5, 0, NULL, 0);
	script_quiet(s, SEC);
	assert_int_equal(socks(s), 1);
	sock_close(ls, false);
	script_free(s);
}

T(listen__syn__handshake__established)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);

	assert_int_equal(sk->peer.port, SCRIPT_PEER_PORT);
	assert_int_equal(sk->local.port, SCRIPT_PORT);
	assert_true(sk->status & CV_ST_CONNECTED);
	sock_close(ls, false);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(listen__syn_with_data__data_acknowledged_later)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_send(s, TCP_SYN, 0, 0, "early", 5);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, "early", 5);
	sk = script_accept(s, ls);
	script_expect(s, TCP_ACK, 1, 6, 0);
	text_of(sk, "early");
	sock_close(ls, false);
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

/* --- SYN_RECEIVED ---------------------------------------------------------------------------------- */

T(syn_received__syn_again__syn_ack_again)
{
	START;
	struct sock *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	sock_close(ls, false);
	script_free(s);
}

T(syn_received__rst__forgotten_and_the_user_is_not_told)
{
	START;
	struct sock *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	script_quiet(s, 3 * SEC);
	assert_int_equal(socks(s), 1);
	assert_null(sock_accept(ls));
	assert_int_equal(ls->error_seq, 0);
	sock_close(ls, false);
	script_free(s);
}

T(syn_received__wrong_ack__rst)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 99, NULL, 0);
	script_expect(s, TCP_RST, 99, 0, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	sock_close(ls, false);
	script_free(s);
}

T(syn_received__listener_closed__rst)
{
	START;
	struct sock *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	sock_close(ls, false);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_RST, 1, 0, 0);
	script_free(s);
}

T(accept_queue__listener_closed__rst)
{
	START;
	struct sock *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, MS);
	sock_close(ls, false);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

/* --- SYN_SENT -------------------------------------------------------------------------------------- */

static struct sock *syn_sent(struct script *s)
{
	struct cv_endpoint to = world_endpoint(1, SCRIPT_PEER_PORT);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_is(sk, SYN_SENT);
	return sk;
}

T(syn_sent__syn_ack__established)
{
	START;
	struct sock *sk = script_established_active(s);

	assert_true(sk->status & CV_ST_CONNECTED);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(syn_sent__rst_of_our_syn__refused)
{
	START;
	struct sock *sk = syn_sent(s);

	script_send(s, TCP_RST | TCP_ACK, 0, 1, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	sock_close(sk, false);
	script_free(s);
}

T(syn_sent__rst_of_something_else__ignored)
{
	START;
	struct sock *sk = syn_sent(s);

	script_send(s, TCP_RST, 0, 0, NULL, 0);
	script_send(s, TCP_RST | TCP_ACK, 0, 55, NULL, 0);
	script_is(sk, SYN_SENT);
	assert_int_equal(sk->error_seq, 0);
	sock_close(sk, false);
	script_free(s);
}

T(syn_sent__ack_of_something_else__rst)
{
	START;
	struct sock *sk = syn_sent(s);

	script_send(s, TCP_SYN | TCP_ACK, 0, 55, NULL, 0);
	script_expect(s, TCP_RST, 55, 0, 0);
	script_is(sk, SYN_SENT);
	script_send(s, TCP_ACK, 0, 0, NULL, 0);
	script_expect(s, TCP_RST, 0, 0, 0);
	script_is(sk, SYN_SENT);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_is(sk, ESTABLISHED);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(syn_sent__syn__simultaneous_open)
{
	START;
	struct sock *sk = syn_sent(s);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_is(sk, SYN_RECEIVED);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_is(sk, ESTABLISHED);
	assert_true(sk->status & CV_ST_CONNECTED);
	script_wait(s, MS);
	s->head = s->tail; /* an ACK may answer the second SYN */
	script_write(s, sk, 3);
	script_expect(s, TCP_ACK, 1, 1, 3);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 4, 1, 0);
	script_free(s);
}

T(syn_sent__user_closes__gone)
{
	START;
	struct sock *sk = syn_sent(s);

	sock_close(sk, false);
	script_quiet(s, 5 * SEC);
	assert_int_equal(socks(s), 0);
	script_free(s);
}

/* --- ESTABLISHED ------------------------------------------------------------------------------------ */

T(established__data__acknowledged_and_read)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK | TCP_PSH, 1, 1, "hello", 5);
	script_expect(s, TCP_ACK, 1, 6, 0);
	text_of(sk, "hello");
	script_write(s, sk, 100);
	script_expect(s, TCP_ACK, 1, 6, 100);
	script_send(s, TCP_ACK, 6, 101, NULL, 0);
	assert_int_equal(sk->tx_acked, 100);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 101, 6, 0);
	script_free(s);
}

T(established__out_of_order__duplicate_ack_then_all)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 4, 1, "lo", 2);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 6, 1, "!", 1);
	script_expect(s, TCP_ACK, 1, 1, 0);
	assert_int_equal(sk->rxq_bytes, 0);
	script_send(s, TCP_ACK, 1, 1, "hel", 3);
	script_expect(s, TCP_ACK, 1, 7, 0);
	text_of(sk, "hello!");
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

T(established__overlapping_data__each_byte_once)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	script_expect(s, TCP_ACK, 1, 4, 0);
	script_send(s, TCP_ACK, 1, 1, "abcdef", 6);
	script_expect(s, TCP_ACK, 1, 7, 0);
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	script_expect(s, TCP_ACK, 1, 7, 0);
	text_of(sk, "abcdef");
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

T(established__outside_the_window__ack_only)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1 + 100000000, 1, "far", 3);
	script_expect(s, TCP_ACK, 1, 1, 0);
	assert_int_equal(sk->rxq_bytes, 0);
	script_is(sk, ESTABLISHED);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(established__ack_of_what_was_not_sent__ack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 5000, "x", 1);
	script_expect(s, TCP_ACK, 1, 1, 0);
	assert_int_equal(sk->rxq_bytes, 0);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(established__no_ack_flag__dropped)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, 0, 1, 0, "x", 1);
	script_quiet(s, SEC);
	assert_int_equal(sk->rxq_bytes, 0);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(established__rst__only_the_exact_number_counts)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_RST, 2, 0, NULL, 0); /* in the window: RFC5961 asks back */
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_send(s, TCP_RST, 1 + 100000000, 0, NULL, 0);
	script_quiet(s, SEC);
	script_is(sk, ESTABLISHED);
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNRESET);
	assert_int_equal(sk->error_seq, 1);
	assert_true(sk->status & CV_ST_DEAD);
	script_quiet(s, SEC);
	sock_close(sk, false);
	script_free(s);
}

T(established__syn__challenge_ack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_quiet(s, 500 * MS); /* it is told twice a second */
	script_send(s, TCP_SYN, 5, 0, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_is(sk, ESTABLISHED);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	script_free(s);
}

T(established__closed_with_unread_data__rst)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "unread", 6);
	script_expect(s, TCP_ACK, 1, 7, 0);
	sock_close(sk, false);
	script_expect(s, TCP_RST | TCP_ACK, 1, 7, 0);
	assert_int_equal(socks(s), 0);
	script_free(s);
}

/* --- passive close ---------------------------------------------------------------------------------- */

T(established__fin__close_wait_then_last_ack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_FIN | TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 2, 0);
	script_is(sk, CLOSE_WAIT);
	assert_true(sk->status & CV_ST_RX_EOF);
	script_write(s, sk, 10); /* half close: we may still speak */
	script_expect(s, TCP_ACK, 1, 2, 10);
	script_send(s, TCP_ACK, 2, 11, NULL, 0);
	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 11, 2, 0);
	script_is(sk, LAST_ACK);
	script_send(s, TCP_ACK, 2, 12, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error_seq, 0);
	sock_close(sk, false);
	assert_int_equal(time_waits(s), 0);
	script_free(s);
}

T(established__data_and_fin_together__both_count)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_FIN | TCP_ACK, 1, 1, "last", 4);
	script_expect(s, TCP_ACK, 1, 6, 0);
	script_is(sk, CLOSE_WAIT);
	text_of(sk, "last");
	script_send(s, TCP_FIN | TCP_ACK, 1, 1, "last", 4); /* again: our ACK was lost */
	script_expect(s, TCP_ACK, 1, 6, 0);
	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 6, 0);
	script_send(s, TCP_ACK, 6, 2, NULL, 0);
	assert_int_equal(socks(s), 0);
	script_free(s);
}

T(established__fin_before_a_gap__waits_for_it)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_FIN | TCP_ACK, 4, 1, "def", 3);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_is(sk, ESTABLISHED);
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	script_expect(s, TCP_ACK, 1, 8, 0);
	script_is(sk, CLOSE_WAIT);
	text_of(sk, "abcdef");
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

T(close_wait__rst__epipe)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_FIN | TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 2, 0);
	script_send(s, TCP_RST, 2, 0, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_EPIPE); /* as Linux */
	sock_close(sk, false);
	script_free(s);
}

/* --- active close ----------------------------------------------------------------------------------- */

T(fin_wait__ack_then_fin__time_wait_of_two_msl)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_is(sk, FIN_WAIT_1);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_is(sk, FIN_WAIT_2);
	script_send(s, TCP_ACK, 1, 2, "more", 4); /* the peer may go on */
	script_expect(s, TCP_ACK, 2, 5, 0);
	text_of(sk, "more");
	script_send(s, TCP_FIN | TCP_ACK, 5, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 6, 0);
	assert_int_equal(time_waits(s), 1);
	sock_close(sk, false);
	script_wait(s, 30 * SEC);
	assert_int_equal(time_waits(s), 1);
	script_send(s, TCP_FIN | TCP_ACK, 5, 2, NULL, 0); /* our ACK was lost: again, and the time begins anew */
	script_expect(s, TCP_ACK, 2, 6, 0);
	script_wait(s, 59 * SEC);
	assert_int_equal(time_waits(s), 1);
	script_wait(s, 2 * SEC);
	assert_int_equal(time_waits(s), 0);
	script_free(s);
}

T(fin_wait_1__fin_that_acks_ours__time_wait)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_FIN | TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	assert_int_equal(time_waits(s), 1);
	script_free(s);
}

T(fin_wait_1__fin__closing__simultaneous_close)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_FIN | TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_is(sk, CLOSING);
	script_send(s, TCP_ACK, 2, 2, NULL, 0);
	assert_int_equal(time_waits(s), 1);
	sock_close(sk, false);
	script_free(s);
}

T(fin_wait_2__orphan__ends_after_its_time)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_wait(s, 59 * SEC);
	assert_int_equal(socks(s) + time_waits(s), 1);
	script_wait(s, 62 * SEC);
	assert_int_equal(socks(s) + time_waits(s), 0);
	script_send(s, TCP_ACK, 1, 2, "late", 4);
	script_expect(s, TCP_RST, 2, 0, 0);
	script_free(s);
}

T(fin_wait_2__somebody_still_reads__no_end)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_wait(s, 600 * SEC);
	script_is(sk, FIN_WAIT_2);
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

T(fin_wait__data_for_nobody__rst)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 2, "nobody", 6);
	const struct script_seg *seg = script_next(s, SEC);
	assert_non_null(seg);
	assert_true(seg->h.flags & TCP_RST);
	assert_int_equal(socks(s), 0);
	script_free(s);
}

T(time_wait__new_syn__a_new_connection)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);
	uint32_t old = s->irs;

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_FIN | TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	assert_int_equal(time_waits(s), 1);
	s->irs_known = false;
	s->iss += 100000; /* beyond what was (RFC1122:4.2.2.13) */
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_true(seq_gt(s->irs, old));
	assert_int_equal(time_waits(s), 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	sock_close(ls, false);
	script_free(s);
}

/* Two ends that are both wrong about each other: not an ACK for each ACK, but one for each FIN. */
T(time_wait__old_acks__answered_twice_a_second_at_most)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_FIN | TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	for (int i = 0; i < 4; i++) {
		script_send(s, TCP_ACK, 1, 2, NULL, 0);
		script_quiet(s, 120 * MS);
	}
	for (int i = 0; i < 3; i++) {
		script_send(s, TCP_FIN | TCP_ACK, 1, 2, NULL, 0);
		script_expect(s, TCP_ACK, 2, 2, 0);
	}
	script_wait(s, 20 * MS);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_free(s);
}

T(time_wait__rst__ignored)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	sock_close(sk, false);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_FIN | TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_send(s, TCP_RST, 2, 0, NULL, 0); /* RFC1337 */
	assert_int_equal(time_waits(s), 1);
	script_free(s);
}

T(user__sends_after_shutdown__epipe)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	unsigned released = 0;
	struct txbuf *b = world_txbuf("x", 1, &released);

	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	assert_int_equal(sock_send(sk, b), -CV_EPIPE);
	free((void *)(uintptr_t)b->data);
	free(b);
	sock_close(sk, true);
	script_next(s, SEC);
	script_free(s);
}

T(user__closes_with_data_queued__data_then_fin)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 3000);
	sock_close(sk, false);
	script_expect(s, TCP_ACK, 1, 1, 1460);
	script_expect(s, TCP_ACK, 1461, 1, 1460);
	script_expect(s, TCP_FIN | TCP_ACK, 2921, 1, 80);
	script_send(s, TCP_FIN | TCP_ACK, 1, 3002, NULL, 0);
	script_expect(s, TCP_ACK, 3002, 2, 0);
	script_free(s);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed__syn__rst_acks_it),
		cmocka_unit_test(closed__ack__rst_with_its_number),
		cmocka_unit_test(closed__rst__silence),
		cmocka_unit_test(listen__ack_or_rst__rst_or_silence),
		cmocka_unit_test(listen__syn__handshake__established),
		cmocka_unit_test(listen__syn_with_data__data_acknowledged_later),
		cmocka_unit_test(syn_received__syn_again__syn_ack_again),
		cmocka_unit_test(syn_received__rst__forgotten_and_the_user_is_not_told),
		cmocka_unit_test(syn_received__wrong_ack__rst),
		cmocka_unit_test(syn_received__listener_closed__rst),
		cmocka_unit_test(accept_queue__listener_closed__rst),
		cmocka_unit_test(syn_sent__syn_ack__established),
		cmocka_unit_test(syn_sent__rst_of_our_syn__refused),
		cmocka_unit_test(syn_sent__rst_of_something_else__ignored),
		cmocka_unit_test(syn_sent__ack_of_something_else__rst),
		cmocka_unit_test(syn_sent__syn__simultaneous_open),
		cmocka_unit_test(syn_sent__user_closes__gone),
		cmocka_unit_test(established__data__acknowledged_and_read),
		cmocka_unit_test(established__out_of_order__duplicate_ack_then_all),
		cmocka_unit_test(established__overlapping_data__each_byte_once),
		cmocka_unit_test(established__outside_the_window__ack_only),
		cmocka_unit_test(established__ack_of_what_was_not_sent__ack),
		cmocka_unit_test(established__no_ack_flag__dropped),
		cmocka_unit_test(established__rst__only_the_exact_number_counts),
		cmocka_unit_test(established__syn__challenge_ack),
		cmocka_unit_test(established__closed_with_unread_data__rst),
		cmocka_unit_test(established__fin__close_wait_then_last_ack),
		cmocka_unit_test(established__data_and_fin_together__both_count),
		cmocka_unit_test(established__fin_before_a_gap__waits_for_it),
		cmocka_unit_test(close_wait__rst__epipe),
		cmocka_unit_test(fin_wait__ack_then_fin__time_wait_of_two_msl),
		cmocka_unit_test(fin_wait_1__fin_that_acks_ours__time_wait),
		cmocka_unit_test(fin_wait_1__fin__closing__simultaneous_close),
		cmocka_unit_test(fin_wait_2__orphan__ends_after_its_time),
		cmocka_unit_test(fin_wait_2__somebody_still_reads__no_end),
		cmocka_unit_test(fin_wait__data_for_nobody__rst),
		cmocka_unit_test(time_wait__new_syn__a_new_connection),
		cmocka_unit_test(time_wait__old_acks__answered_twice_a_second_at_most),
		cmocka_unit_test(time_wait__rst__ignored),
		cmocka_unit_test(user__sends_after_shutdown__epipe),
		cmocka_unit_test(user__closes_with_data_queued__data_then_fin),
	};

	world_eal_init("tcp_states");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
