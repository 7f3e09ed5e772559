/* SPDX-License-Identifier: BSD-3-Clause */
/* Explicit congestion notification, bit by bit: a scripted peer against one engine (RFC3168:6.1, RFC8257:3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

enum { NOT_ECT, ECT1, ECT0, CE };
enum { OFF, ASK, ANSWER };
#define BOTH (TCP_ECE | TCP_CWR)

static struct script *script_with(uint32_t ecn)
{
	struct script *s;

	world_tcp.ecn = ecn;
	s = script_new(1);
	world_tcp.ecn = ANSWER;
	return s;
}

/* A connection that the peer asked for with ECN; algorithm: NULL for the default. */
static struct sock *accepted(struct script *s, const char *algorithm)
{
	struct sock *sk, *ls = script_listen(s, 4);

	if (algorithm != NULL)
		assert_int_equal(sock_setopt(ls, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	s->mss = 1000;
	script_send(s, TCP_SYN | BOTH, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK | TCP_ECE, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(ls, false);
	assert_int_equal(tcp_of(sk)->ecn_ok, 1);
	return sk;
}

/* --- the handshake ------------------------------------------------------------------------------------- */

T(listener__syn_flags_and_configuration__the_table)
{
	static const struct {
		uint32_t config;
		uint8_t flags, tos;
		bool dctcp, agreed;
	} rows[] = {
		{OFF, BOTH, NOT_ECT, false, false},
		{OFF, BOTH, NOT_ECT, true, true},
		{ASK, BOTH, NOT_ECT, false, true},
		{ANSWER, BOTH, NOT_ECT, false, true},
		{ANSWER, BOTH, ECT0, false, false}, /* a SYN that is marked as capable is not RFC3168's */
		{ANSWER, BOTH, ECT0, true, true},
		{ANSWER, BOTH, CE, false, false},
		{ANSWER, 0, NOT_ECT, false, false},
		{ANSWER, TCP_ECE, NOT_ECT, false, false},
		{ANSWER, TCP_CWR, NOT_ECT, true, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct script *s = script_with(rows[i].config);
		struct sock *sk, *ls = script_listen(s, 4);

		if (rows[i].dctcp)
			assert_int_equal(sock_setopt(ls, CV_OPT_CONGESTION, "dctcp", 5), 0);
		s->tos = rows[i].tos;
		script_send(s, TCP_SYN | rows[i].flags, 0, 0, NULL, 0);
		s->tos = 0;
		script_expect(s, TCP_SYN | TCP_ACK | (rows[i].agreed ? TCP_ECE : 0), 0, 1, 0);
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
		sk = script_accept(s, ls);
		assert_int_equal(tcp_of(sk)->ecn_ok, rows[i].agreed);
		sock_close(ls, false);
		script_gone(s, sk);
	}
}

T(connect__configuration_and_answer__the_table)
{
	static const struct {
		uint32_t config;
		bool dctcp;
		uint8_t asked, answer;
		bool agreed;
	} rows[] = {
		{OFF, false, 0, 0, false},
		{ANSWER, false, 0, 0, false},
		{ANSWER, false, 0, TCP_ECE, false},
		{ASK, false, BOTH, TCP_ECE, true},
		{ASK, false, BOTH, 0, false},
		{ASK, false, BOTH, BOTH, false}, /* reflects all bits: it knows nothing of ECN (6.1.1) */
		{OFF, true, BOTH, TCP_ECE, true},
		{OFF, true, BOTH, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct script *s = script_with(rows[i].config);
		struct cv_endpoint to = world_endpoint(1, s->peer_port);
		struct sock *sk = script_socket(s);

		if (rows[i].dctcp)
			assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "dctcp", 5), 0);
		assert_int_equal(sock_connect(sk, &to), 0);
		assert_int_equal(script_expect(s, TCP_SYN | rows[i].asked, 0, 0, 0)->tos, NOT_ECT);
		script_send(s, TCP_SYN | TCP_ACK | rows[i].answer, 0, 1, NULL, 0);
		script_expect(s, TCP_ACK, 1, 1, 0);
		assert_int_equal(tcp_of(sk)->ecn_ok, rows[i].agreed);
		script_gone(s, sk);
	}
}

T(connect__syn_lost__the_next_one_is_without)
{
	(void)state;
	struct script *s = script_with(ASK);
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN | BOTH, 0, 0, 0);
	script_expect_in(s, 2 * SEC, TCP_SYN, 0, 0, 0);
	script_gone(s, sk);
}

/* TCPI_OPT_ECN, and TCPI_OPT_ECN_SEEN after the first packet that was capable. */
T(tcp_info__agreed_and_seen__two_bits)
{
	START;
	struct sock *sk = accepted(s, NULL);
	struct cv_tcp_info info;
	uint32_t len = sizeof(info);

	script_send(s, TCP_ACK, 1, 1, "a", 1);
	assert_int_equal(sock_getopt(sk, CV_OPT_TCP_INFO, &info, &len), 0);
	assert_int_equal(info.options & 0x18, 8);
	s->tos = ECT0;
	script_send(s, TCP_ACK, 2, 1, "b", 1);
	assert_int_equal(sock_getopt(sk, CV_OPT_TCP_INFO, &info, &len), 0);
	assert_int_equal(info.options & 0x18, 0x18);
	script_gone(s, sk);
}

/* --- what leaves --------------------------------------------------------------------------------------- */

T(sender__new_data_is_capable__what_is_sent_again_and_acks_are_not)
{
	START;
	struct sock *sk = accepted(s, NULL);
	const struct script_seg *seg;

	script_write(s, sk, 500);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 1, 500)->tos, ECT0);
	seg = script_expect_in(s, 5 * SEC, TCP_ACK, 1, 1, 500);
	assert_int_equal(seg->tos, NOT_ECT);
	script_send(s, TCP_ACK, 1, 501, "x", 1);
	assert_int_equal(script_expect(s, TCP_ACK, 501, 2, 0)->tos, NOT_ECT);
	script_gone(s, sk);
}

T(sender__bits_of_ecn_in_ip_tos__are_not_the_users)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int tos = 0x1b, got = 0;
	uint32_t len = sizeof(got);

	assert_int_equal(sock_setopt(sk, CV_OPT_TOS, &tos, sizeof(tos)), 0);
	assert_int_equal(sock_getopt(sk, CV_OPT_TOS, &got, &len), 0);
	assert_int_equal(got, 0x18);
	script_write(s, sk, 10);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 1, 10)->tos, 0x18);
	script_gone(s, sk);
}

T(sender__echo__slows_down_once_in_a_window_and_says_cwr_once)
{
	START;
	struct sock *sk = accepted(s, NULL);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before = tp->cwnd, once;

	script_write(s, sk, 60000);
	for (uint32_t i = 0; i < before / 1000; i++)
		assert_int_equal(script_next(s, MS)->h.flags & TCP_CWR, 0);
	script_send(s, TCP_ACK | TCP_ECE, 1, 1001, NULL, 0);
	once = tp->ssthresh;
	assert_in_range(once, before * 69 / 100, before * 71 / 100);
	script_send(s, TCP_ACK | TCP_ECE, 1, 2001, NULL, 0); /* of the same window */
	script_send(s, TCP_ACK | TCP_ECE, 1, 6001, NULL, 0);
	assert_int_equal(tp->ssthresh, once);
	assert_int_equal(script_next(s, MS)->h.flags & TCP_CWR, TCP_CWR);
	assert_int_equal(script_next(s, MS)->h.flags & TCP_CWR, 0);
	s->head = s->tail;
	script_send(s, TCP_ACK, 1, 10001, NULL, 0);
	assert_in_range(tp->cwnd, once, once + 1000);
	script_send(s, TCP_ACK | TCP_ECE, 1, tp->snd_max - tp->iss, NULL, 0); /* of the next one */
	assert_in_range(tp->cwnd, once * 6 / 10, once * 8 / 10);
	assert_int_equal(tp->total_retrans, 0);
	script_gone(s, sk);
}

T(sender__loss__says_cwr_and_marks_of_that_window_do_not_count)
{
	START;
	struct sock *sk = accepted(s, NULL);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before = tp->cwnd;
	bool cwr = false;

	script_write(s, sk, 60000);
	script_wait(s, MS);
	s->head = s->tail;
	for (int i = 0; i < 3; i++)
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(tp->in_recovery, 1);
	script_send(s, TCP_ACK | TCP_ECE, 1, tp->snd_max - tp->iss, NULL, 0);
	assert_in_range(tp->cwnd, before * 6 / 10, before * 8 / 10);
	script_wait(s, MS);
	for (; s->head != s->tail; s->head++)
		cwr |= (s->segs[s->head % SCRIPT_SEGS].h.flags & TCP_CWR) != 0;
	assert_true(cwr);
	script_gone(s, sk);
}

/* --- what comes ---------------------------------------------------------------------------------------- */

/* A byte comes with that codepoint, and is answered so. */
static void byte_comes(struct script *s, uint32_t at, uint8_t tos, uint8_t answer)
{
	s->tos = tos;
	script_send(s, TCP_ACK, at, 1, "a", 1);
	script_expect(s, answer, 1, at + 1, 0);
}

/* Numbers come round: where the last reduction was is not ahead again 2 GiB later. */
T(sender__first_echo_after_3_gib__slows_down)
{
	START;
	struct sock *sk = accepted(s, NULL);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before;

	for (int i = 0; i < 3; i++) {
		script_much_later(s, sk, 0, 1u << 30);
		script_write(s, sk, 1000);
		script_expect(s, TCP_ACK, 1 + (uint32_t)i * 1000, 1, 1000);
		script_send(s, TCP_ACK, 1, 1001 + (uint32_t)i * 1000, NULL, 0);
	}
	before = tp->cwnd;
	script_write(s, sk, 60000);
	script_wait(s, MS);
	s->head = s->tail;
	script_send(s, TCP_ACK | TCP_ECE, 1, 4001, NULL, 0);
	assert_true(tp->ssthresh < before);
	script_wait(s, MS);
	script_gone(s, sk);
}

T(receiver__mark__echoed_until_cwr)
{
	START;
	struct sock *sk = accepted(s, NULL);

	byte_comes(s, 1, ECT0, TCP_ACK);
	byte_comes(s, 2, CE, TCP_ACK | TCP_ECE);
	byte_comes(s, 3, ECT0, TCP_ACK | TCP_ECE);
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK | TCP_ECE, 1, 4, 10);
	script_send(s, TCP_ACK | TCP_CWR, 4, 11, "d", 1);
	script_expect(s, TCP_ACK, 11, 5, 0);
	script_gone(s, sk);
}

T(receiver__mark_within_a_burst__is_not_merged_away)
{
	START;
	struct sock *sk = accepted(s, NULL);
	static const char data[1000];

	for (uint32_t i = 0; i < 8; i++) {
		s->tos = i == 3 ? CE : ECT0;
		script_queue(s, TCP_ACK, 1 + i * 1000, 1, data, 1000);
	}
	script_expect(s, TCP_ACK | TCP_ECE, 1, 8001, 0);
	script_gone(s, sk);
}

T(receiver__mark_out_of_order__is_echoed)
{
	START;
	struct sock *sk = accepted(s, NULL);

	s->tos = CE;
	script_send(s, TCP_ACK, 101, 1, "b", 1);
	script_expect(s, TCP_ACK | TCP_ECE, 1, 1, 0);
	script_gone(s, sk);
}

T(receiver__not_agreed__marks_mean_nothing)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	byte_comes(s, 1, CE, TCP_ACK);
	script_gone(s, sk);
}

/* Each change of the mark is told by an ACK of what came before it, within one burst too (RFC8257:3.2). */
T(dctcp_receiver__marks_come_and_go__each_ack_says_exactly)
{
	START;
	struct sock *sk = accepted(s, "dctcp");
	static const char data[1000];
	static const uint8_t tos[] = {ECT0, ECT0, CE, CE, CE, ECT0};

	for (uint32_t i = 0; i < 6; i++) {
		s->tos = tos[i];
		script_queue(s, TCP_ACK, 1 + i * 1000, 1, data, 1000);
	}
	script_expect(s, TCP_ACK, 1, 2001, 0);
	assert_int_equal(script_expect(s, TCP_ACK | TCP_ECE, 1, 5001, 0)->tos, ECT0);
	script_expect(s, TCP_ACK, 1, 6001, 0);
	script_gone(s, sk);
}

/* A tenth of the bytes is marked in each window: the window is reduced by about a twentieth (RFC8257:3.3). */
T(dctcp_sender__a_tenth_is_marked__reduces_by_a_twentieth)
{
	START;
	struct sock *sk = accepted(s, "dctcp");
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before = 0;

	tp->ssthresh = tp->cwnd = 20000;
	script_write(s, sk, 6000000);
	for (int round = 0; round < 150; round++) {
		uint32_t from, to, at;

		script_wait(s, 0);
		s->head = s->tail;
		from = tp->snd_una - tp->iss;
		to = tp->snd_max - tp->iss;
		at = from + (to - from) / 10;
		before = tp->cwnd;
		script_send(s, TCP_ACK | TCP_ECE, 1, at, NULL, 0);
		if (round > 100)
			assert_in_range(tp->ssthresh, before * 91 / 100, before * 98 / 100);
		script_send(s, TCP_ACK, 1, to, NULL, 0);
		s->head = s->tail;
		tp->cwnd = tp->ssthresh = 20000;
	}
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listener__syn_flags_and_configuration__the_table),
		cmocka_unit_test(connect__configuration_and_answer__the_table),
		cmocka_unit_test(connect__syn_lost__the_next_one_is_without),
		cmocka_unit_test(tcp_info__agreed_and_seen__two_bits),
		cmocka_unit_test(sender__new_data_is_capable__what_is_sent_again_and_acks_are_not),
		cmocka_unit_test(sender__bits_of_ecn_in_ip_tos__are_not_the_users),
		cmocka_unit_test(sender__echo__slows_down_once_in_a_window_and_says_cwr_once),
		cmocka_unit_test(sender__loss__says_cwr_and_marks_of_that_window_do_not_count),
		cmocka_unit_test(sender__first_echo_after_3_gib__slows_down),
		cmocka_unit_test(receiver__mark__echoed_until_cwr),
		cmocka_unit_test(receiver__mark_within_a_burst__is_not_merged_away),
		cmocka_unit_test(receiver__mark_out_of_order__is_echoed),
		cmocka_unit_test(receiver__not_agreed__marks_mean_nothing),
		cmocka_unit_test(dctcp_receiver__marks_come_and_go__each_ack_says_exactly),
		cmocka_unit_test(dctcp_sender__a_tenth_is_marked__reduces_by_a_twentieth),
	};

	world_eal_init("tcp_ecn");
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
