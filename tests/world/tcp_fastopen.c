/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP Fast Open (RFC7413), both sides: cookies, data in the SYN, what is lost, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

#define START_WITH(bits)                                                                           \
	START;                                                                                     \
	s->e->tcp->config.fastopen = (bits)

static void reads(struct sock *sk, const char *wanted)
{
	char got[64] = "";

	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), strlen(wanted));
	assert_string_equal(got, wanted);
}

/* --- server ------------------------------------------------------------------------------------------ */

/* Another client, which has the same address. */
static void next_client(struct script *s)
{
	s->peer_port++;
	s->irs_known = false;
}

/* A listener, and a client that has got its cookie. */
static struct sock *server(struct script *s, int queue)
{
	struct sock *ls = script_listen(s, 8);
	const struct script_seg *seg;

	script_set(ls, CV_OPT_FASTOPEN, queue);
	s->has_fo = true;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_true(seg->h.has_fo);
	assert_int_equal(seg->h.fo_n, 8);
	memcpy(s->fo, seg->h.fo, 8);
	s->fo_n = 8;
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	next_client(s);
	return ls;
}

T(listen__syn_asks_for_a_cookie__given_and_an_ordinary_handshake)
{
	START_WITH(3);
	struct sock *ls = script_listen(s, 8);

	script_set(ls, CV_OPT_FASTOPEN, 8);
	s->has_fo = true;
	script_send(s, TCP_SYN, 0, 0, "early", 5);
	assert_true(script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0)->h.has_fo);
	assert_null(sock_accept(ls));
	script_send(s, TCP_ACK, 1, 1, "early", 5);
	script_expect(s, TCP_ACK, 1, 6, 0);
	script_both_gone(s, script_accept(s, ls), ls);
}

T(listen__syn_with_cookie_and_data__accepted_read_and_answered_at_once)
{
	START_WITH(3);
	struct sock *ls = server(s, 8), *sk;

	script_send(s, TCP_SYN, 0, 0, "GET /", 5);
	assert_false(script_expect(s, TCP_SYN | TCP_ACK, 0, 6, 0)->h.has_fo);
	sk = script_accept(s, ls);
	script_is(sk, SYN_RECEIVED);
	assert_true(sk->status & CV_ST_CONNECTED);
	reads(sk, "GET /");
	script_write(s, sk, 2000); /* before the handshake is done */
	script_expect(s, TCP_ACK, 1, 6, 1460);
	script_expect(s, TCP_ACK, 1461, 6, 540);
	script_send(s, TCP_ACK, 6, 2001, NULL, 0);
	script_is(sk, ESTABLISHED);
	assert_int_equal(sk->tx_acked, 2000);
	script_quiet(s, SEC);
	script_both_gone(s, sk, ls);
}

T(listen__syn_with_a_wrong_cookie__data_not_taken_and_the_right_one_given)
{
	START_WITH(3);
	struct sock *ls = server(s, 8);
	const struct script_seg *seg;

	s->fo[3] ^= 1;
	script_send(s, TCP_SYN, 0, 0, "GET /", 5);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	s->fo[3] ^= 1;
	assert_true(seg->h.has_fo);
	assert_memory_equal(seg->h.fo, s->fo, 8);
	assert_null(sock_accept(ls));
	script_gone(s, ls);
}

T(listen__fast_open_not_wanted__the_option_is_not_heard)
{
	START_WITH(1); /* clients only, Linux's default */
	struct sock *ls = script_listen(s, 8);

	script_set(ls, CV_OPT_FASTOPEN, 8);
	s->has_fo = true;
	script_send(s, TCP_SYN, 0, 0, "early", 5);
	assert_false(script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0)->h.has_fo);
	script_gone(s, ls);
}

T(listen__as_many_pending_as_the_user_wants__ordinary_handshake)
{
	START_WITH(3);
	struct sock *ls = server(s, 2), *sk[2];

	for (int i = 0; i < 2; i++, next_client(s)) {
		script_send(s, TCP_SYN, 0, 0, "a", 1);
		script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
		sk[i] = script_accept(s, ls);
	}
	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	sock_close(sk[0], true);
	script_both_gone(s, sk[1], ls);
}

/* RFC7413:5.1: or a stranger's SYNs, whose SYN-ACKs the spoofed host answers with a RST, would
 * never count. */
T(syn_received__rst__counts_as_pending_for_a_minute)
{
	START_WITH(3);
	struct sock *ls = server(s, 1), *sk;

	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
	script_send(s, TCP_RST, 2, 0, NULL, 0);
	sk = script_accept(s, ls);
	assert_true(sk->status & CV_ST_DEAD);
	assert_int_equal(sk->error, CV_ECONNRESET);
	sock_close(sk, true);
	next_client(s);
	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	script_wait(s, 61 * SEC);
	next_client(s);
	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
	script_both_gone(s, script_accept(s, ls), ls);
}

T(syn_received__no_ack__syn_ack_again_and_nothing_else)
{
	START_WITH(3);
	struct sock *ls = server(s, 8), *sk;

	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
	sk = script_accept(s, ls);
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 2, 10);
	for (unsigned i = 0; i < engine_tcp_defaults.synack_retries; i++)
		script_expect_in(s, 40 * SEC, TCP_SYN | TCP_ACK, 0, 2, 0);
	script_quiet(s, 40 * SEC);
	assert_true(sk->status & CV_ST_DEAD);
	script_both_gone(s, sk, ls);
}

T(syn_received__user_closes__the_answer_and_fin_arrive)
{
	START_WITH(3);
	struct sock *ls = server(s, 8), *sk;

	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
	sk = script_accept(s, ls);
	reads(sk, "a");
	script_write(s, sk, 10);
	sock_close(sk, false);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 2, 10);
	script_send(s, TCP_ACK | TCP_FIN, 2, 12, NULL, 0);
	script_expect(s, TCP_ACK, 12, 3, 0);
	script_gone(s, ls);
}

T(syn_received__listener_closes__the_connection_lives)
{
	START_WITH(3);
	struct sock *ls = server(s, 8), *sk;

	script_send(s, TCP_SYN, 0, 0, "a", 1);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 2, 0);
	sk = script_accept(s, ls);
	sock_close(ls, false);
	script_send(s, TCP_ACK, 2, 1, NULL, 0);
	script_is(sk, ESTABLISHED);
	script_gone(s, sk);
}

/* --- TCP_FASTOPEN_KEY -------------------------------------------------------------------------------- */

static const uint8_t two_keys[2 * CV_FASTOPEN_KEY_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
	12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
static const uint8_t *const other_key = two_keys + CV_FASTOPEN_KEY_BYTES;
/* Of 10.0.0.2 at 10.0.0.1: what a Linux 6.18 with the first of the keys gave. */
static const uint8_t cookie_of_linux[8] = {0x78, 0x8b, 0xe4, 0xdb, 0xe2, 0x4b, 0x25, 0x85};

static void has_keys(struct sock *sk, const void *keys, uint32_t wanted)
{
	uint8_t got[64];
	uint32_t len = sizeof(got);

	assert_int_equal(sock_getopt(sk, CV_OPT_FASTOPEN_KEY, got, &len), 0);
	assert_int_equal(len, wanted);
	assert_memory_equal(got, keys, wanted);
}

T(setsockopt__keys__one_or_two_whole_ones)
{
	START_WITH(3);
	struct sock *sk = script_socket(s);
	uint8_t part[20];
	uint32_t len = sizeof(part);

	has_keys(sk, NULL, 0);
	for (uint32_t n = 0; n <= sizeof(two_keys); n++)
		assert_int_equal(sock_setopt(sk, CV_OPT_FASTOPEN_KEY, two_keys, n),
			n == 16 || n == 32 ? 0 : -CV_EINVAL);
	has_keys(sk, two_keys, 32);
	assert_int_equal(sock_getopt(sk, CV_OPT_FASTOPEN_KEY, part, &len), 0);
	assert_int_equal(len, sizeof(part));
	assert_int_equal(sock_setopt(sk, CV_OPT_FASTOPEN_KEY, other_key, 16), 0);
	has_keys(sk, other_key, 16);
	assert_int_equal(s->e->tcp->fastopen_keys.used, 1);
	script_gone(s, sk);
}

T(listen__keys_set_before__cookies_are_those_of_linux)
{
	START_WITH(3);
	struct cv_endpoint at = world_endpoint(0, SCRIPT_PORT);
	struct sock *ls = script_socket(s), *sk;
	const struct script_seg *seg;

	script_set(ls, CV_OPT_FASTOPEN, 8);
	assert_int_equal(sock_setopt(ls, CV_OPT_FASTOPEN_KEY, two_keys, 32), 0);
	assert_int_equal(sock_bind(ls, &at), 0);
	assert_int_equal(sock_listen(ls, 8), 0);
	s->has_fo = true;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_int_equal(seg->h.fo_n, 8);
	assert_memory_equal(seg->h.fo, cookie_of_linux, 8);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	has_keys(sk, NULL, 0); /* the listener's */
	script_both_gone(s, sk, ls);
}

/* Of fd00::2 at fd00::1, from the same Linux. */
T(listen__keys_set__cookies_of_ipv6_are_those_of_linux)
{
	static const uint8_t wanted[8] = {0x85, 0x44, 0xfa, 0x46, 0xea, 0x04, 0x2e, 0x3f};
	START_WITH(3);
	const struct cv_endpoint server = {.addr = {0xfd, [15] = 1}, .port = 81}, client = {.addr = {0xfd, [15] = 2}};
	struct sock *ls = script_socket(s);
	struct wire_tcp h = {0};

	assert_int_equal(sock_setopt(ls, CV_OPT_FASTOPEN_KEY, two_keys, 32), 0);
	tcp_fastopen_cookie_give(tcp_of(ls), &server, &client, &h);
	assert_int_equal(h.fo_n, 8);
	assert_memory_equal(h.fo, wanted, 8);
	script_gone(s, ls);
}

/* A SYN with that cookie and "GET /": the answer acknowledges so much. */
static const struct script_seg *syn_with(struct script *s, const uint8_t cookie[8], uint32_t acked)
{
	s->has_fo = true;
	s->fo_n = 8;
	memcpy(s->fo, cookie, 8);
	script_send(s, TCP_SYN, 0, 0, "GET /", 5);
	return script_expect(s, TCP_SYN | TCP_ACK, 0, acked, 0);
}

static void gives_another(const struct script_seg *seg)
{
	assert_int_equal(seg->h.fo_n, 8);
	assert_memory_not_equal(seg->h.fo, cookie_of_linux, 8);
}

/* The client with a cookie of the key before: its data is taken, and it gets a cookie of the new
 * key. */
T(listen__cookie_of_the_second_key__data_taken_and_a_new_one_given_once)
{
	START_WITH(3);
	struct sock *ls = script_listen(s, 8), *sk;
	uint8_t keys[32], fresh[8];
	const struct script_seg *seg;

	script_set(ls, CV_OPT_FASTOPEN, 8);
	memcpy(keys, other_key, 16);
	memcpy(keys + 16, two_keys, 16);
	assert_int_equal(sock_setopt(ls, CV_OPT_FASTOPEN_KEY, keys, 32), 0);
	seg = syn_with(s, cookie_of_linux, 6);
	gives_another(seg);
	memcpy(fresh, seg->h.fo, 8);
	assert_false(script_expect_in(s, 2 * SEC, TCP_SYN | TCP_ACK, 0, 6, 0)->h.has_fo);
	sk = script_accept(s, ls);
	reads(sk, "GET /");
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 6, 0);
	next_client(s);
	assert_false(syn_with(s, fresh, 6)->h.has_fo);
	script_both_gone(s, script_accept(s, ls), ls);
}

/* Setting one key forgets the second. */
T(listen__cookie_of_a_key_that_is_no_more__data_not_taken_and_a_new_one_given)
{
	START_WITH(3);
	struct sock *ls = script_listen(s, 8);

	script_set(ls, CV_OPT_FASTOPEN, 8);
	assert_int_equal(sock_setopt(ls, CV_OPT_FASTOPEN_KEY, two_keys, 32), 0);
	assert_int_equal(sock_setopt(ls, CV_OPT_FASTOPEN_KEY, other_key, 16), 0);
	gives_another(syn_with(s, cookie_of_linux, 1));
	assert_null(sock_accept(ls));
	script_gone(s, ls);
}

/* --- client ------------------------------------------------------------------------------------------ */

static struct sock *client(struct script *s)
{
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	s->irs_known = false;
	script_set(sk, CV_OPT_FASTOPEN_CONNECT, 1);
	assert_int_equal(sock_connect(sk, &to), 0);
	return sk;
}

/* The first connect asks for a cookie and gets one. */
static void client_learns(struct script *s)
{
	struct sock *sk = client(s);
	const struct script_seg *seg = script_expect(s, TCP_SYN, 0, 0, 0);

	assert_true(seg->h.has_fo);
	assert_int_equal(seg->h.fo_n, 0);
	s->has_fo = true;
	s->fo_n = 6;
	memcpy(s->fo, "cookie", 6);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	sock_close(sk, true);
	script_expect(s, TCP_RST | TCP_ACK, 1, 1, 0);
	s->has_fo = false;
}

T(connect__cookie_known__syn_waits_for_data_and_carries_it)
{
	START_WITH(1);
	struct sock *sk;
	const struct script_seg *seg;

	client_learns(s);
	sk = client(s);
	script_quiet(s, SEC);
	assert_true(sk->status & CV_ST_CONNECTED); /* may be written to */
	script_write(s, sk, 5);
	seg = script_expect(s, TCP_SYN, 0, 0, 5);
	assert_int_equal(seg->h.fo_n, 6);
	assert_memory_equal(seg->h.fo, "cookie", 6);
	script_send(s, TCP_SYN | TCP_ACK, 0, 6, NULL, 0);
	script_expect(s, TCP_ACK, 6, 1, 0);
	script_is(sk, ESTABLISHED);
	assert_int_equal(sk->tx_acked, 5);
	script_quiet(s, SEC);
	script_gone(s, sk);
}

T(syn_sent__data_not_acknowledged_with_the_syn__sent_at_once)
{
	START_WITH(1);
	struct sock *sk;

	client_learns(s);
	sk = client(s);
	script_write(s, sk, 3000);
	/* an MSS of 1460 less as many options as there can be; the rest waits for the handshake */
	script_expect(s, TCP_SYN, 0, 0, 1420);
	script_quiet(s, 100 * MS);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 1460);
	script_expect(s, TCP_ACK, 1461, 1, 1460);
	script_expect(s, TCP_ACK, 2921, 1, 80);
	script_send(s, TCP_ACK, 1, 3001, NULL, 0);
	assert_int_equal(sk->tx_acked, 3000);
	script_gone(s, sk);
}

T(syn_sent__syn_with_data_lost__again_without__twice__not_tried_for_a_while)
{
	START_WITH(1);

	client_learns(s);
	for (int i = 0; i < 2; i++) {
		struct sock *sk = client(s);
		const struct script_seg *seg;

		script_write(s, sk, 5);
		script_expect(s, TCP_SYN, 0, 0, 5);
		seg = script_expect_in(s, 2 * SEC, TCP_SYN, 0, 0, 0);
		assert_false(seg->h.has_fo);
		script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
		script_expect(s, TCP_ACK, 1, 1, 5);
		sock_close(sk, true);
		script_expect(s, TCP_RST | TCP_ACK, 6, 1, 0);
	}
	struct sock *sk = client(s);

	assert_false(script_expect(s, TCP_SYN, 0, 0, 0)->h.has_fo); /* at once */
	sock_close(sk, true);
	script_wait(s, 241 * SEC);
	script_quiet(s, MS); /* the engine sees what time it is */
	sk = client(s);
	script_write(s, sk, 5);
	script_expect(s, TCP_SYN, 0, 0, 5);
	script_gone(s, sk);
}

T(syn_sent__refused__the_data_is_gone)
{
	START_WITH(1);
	struct sock *sk;

	client_learns(s);
	sk = client(s);
	script_write(s, sk, 5);
	script_expect(s, TCP_SYN, 0, 0, 5);
	script_send(s, TCP_RST | TCP_ACK, 0, 6, NULL, 0);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	script_gone(s, sk);
}

T(setsockopt__clients_must_not__eopnotsupp)
{
	START_WITH(0);
	struct sock *sk = script_socket(s);
	int on = 1;

	assert_int_equal(sock_setopt(sk, CV_OPT_FASTOPEN_CONNECT, &on, sizeof(on)), -CV_EOPNOTSUPP);
	script_gone(s, sk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listen__syn_asks_for_a_cookie__given_and_an_ordinary_handshake),
		cmocka_unit_test(listen__syn_with_cookie_and_data__accepted_read_and_answered_at_once),
		cmocka_unit_test(listen__syn_with_a_wrong_cookie__data_not_taken_and_the_right_one_given),
		cmocka_unit_test(listen__fast_open_not_wanted__the_option_is_not_heard),
		cmocka_unit_test(listen__as_many_pending_as_the_user_wants__ordinary_handshake),
		cmocka_unit_test(syn_received__rst__counts_as_pending_for_a_minute),
		cmocka_unit_test(syn_received__no_ack__syn_ack_again_and_nothing_else),
		cmocka_unit_test(syn_received__user_closes__the_answer_and_fin_arrive),
		cmocka_unit_test(syn_received__listener_closes__the_connection_lives),
		cmocka_unit_test(setsockopt__keys__one_or_two_whole_ones),
		cmocka_unit_test(listen__keys_set_before__cookies_are_those_of_linux),
		cmocka_unit_test(listen__keys_set__cookies_of_ipv6_are_those_of_linux),
		cmocka_unit_test(listen__cookie_of_the_second_key__data_taken_and_a_new_one_given_once),
		cmocka_unit_test(listen__cookie_of_a_key_that_is_no_more__data_not_taken_and_a_new_one_given),
		cmocka_unit_test(connect__cookie_known__syn_waits_for_data_and_carries_it),
		cmocka_unit_test(syn_sent__data_not_acknowledged_with_the_syn__sent_at_once),
		cmocka_unit_test(syn_sent__syn_with_data_lost__again_without__twice__not_tried_for_a_while),
		cmocka_unit_test(syn_sent__refused__the_data_is_gone),
		cmocka_unit_test(setsockopt__clients_must_not__eopnotsupp),
	};

	world_eal_init("tcp_fastopen");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
