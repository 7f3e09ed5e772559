/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of connections beyond one segment: options of the handshake, limits, numbers at the wrap, ends that meet themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "tests/world/script.h"

static int get(struct sock *sk, enum cv_option opt)
{
	int v = -77;
	uint32_t len = sizeof(v);

	assert_int_equal(sock_getopt(sk, opt, &v, &len), 0);
	return v;
}

/* --- the handshake's options ------------------------------------------------------------------------ */

T(syn_without_mss__536_or_1220)
{
	START;
	struct sock *ls, *sk;
	struct cv_endpoint six = {.addr = {0xfd}};

	s->mss = 0;
	sk = script_established_passive(s, &ls);
	assert_int_equal(tcp_of(sk)->mss, 536);
	script_write(s, sk, 600);
	assert_int_equal(script_next(s, SEC)->len, 536);
	assert_int_equal(tcp_mss_default(six.addr), 1220);
	script_both_gone(s, sk, ls);
}

T(syn_ack_without_mss__536)
{
	START;
	struct sock *sk;

	s->mss = 0;
	sk = script_established_active(s);
	assert_int_equal(tcp_of(sk)->mss, 536);
	script_gone(s, sk);
}

T(window_scale__the_peers_shift_counts_to_14)
{
	START;
	struct sock *ls, *sk;

	s->has_wscale = true;
	s->wscale = 15;
	s->wnd = 4;
	sk = script_established_passive(s, &ls);
	assert_int_equal(tcp_of(sk)->snd_wscale, 14);
	assert_int_equal(tcp_of(sk)->snd_wnd, 4 << 14);
	script_both_gone(s, sk, ls);
}

T(window_scale__not_in_the_window_of_a_syn)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;
	const struct script_seg *seg;

	s->has_wscale = true;
	s->wscale = 4;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_true(seg->h.has_wscale);
	assert_int_equal(seg->h.wscale, s->e->tcp->wscale);
	assert_int_equal(seg->h.wnd, 65535);
	script_send(s, TCP_ACK, 1, 1, "a", 1);
	sk = script_accept(s, ls);
	seg = script_expect(s, TCP_ACK, 1, 2, 0);
	assert_in_range((uint32_t)seg->h.wnd << s->e->tcp->wscale, 65535 - 256, sk->rcvbuf);
	script_both_gone(s, sk, ls);
}

T(window_scale__the_peer_has_none__neither_have_we)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	assert_false(script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0)->h.has_wscale);
	s->wnd = 1000;
	script_send(s, TCP_ACK, 1, 1, "a", 1);
	sk = script_accept(s, ls);
	assert_int_equal(tcp_of(sk)->snd_wnd, 1000);
	assert_int_equal(tcp_of(sk)->rcv_wscale, 0);
	assert_true(script_expect(s, TCP_ACK, 1, 2, 0)->h.wnd > 60000);
	script_both_gone(s, sk, ls);
}

/* --- options of sockets ----------------------------------------------------------------------------- */

T(options__limits_as_linux)
{
	START;
	struct sock *sk = script_socket(s);
	int zero = 0;

	script_set(sk, CV_OPT_LINGER2, -5);
	assert_int_equal(get(sk, CV_OPT_LINGER2), -1);
	script_set(sk, CV_OPT_LINGER2, 0);
	assert_int_equal(get(sk, CV_OPT_LINGER2), 60);
	script_set(sk, CV_OPT_LINGER2, 1000);
	assert_int_equal(get(sk, CV_OPT_LINGER2), 120);
	script_set(sk, CV_OPT_WINDOW_CLAMP, 10);
	assert_int_equal(get(sk, CV_OPT_WINDOW_CLAMP), 1152);
	script_set(sk, CV_OPT_WINDOW_CLAMP, 0);
	assert_int_equal(get(sk, CV_OPT_WINDOW_CLAMP), 0);
	script_set(sk, CV_OPT_DEFER_ACCEPT, 5); /* in SYN-ACKs: after 1, 2 and 4 s */
	assert_int_equal(get(sk, CV_OPT_DEFER_ACCEPT), 7);
	script_set(sk, CV_OPT_TOS, 0x13); /* ECN's bits are TCP's own */
	assert_int_equal(get(sk, CV_OPT_TOS), 0x10);
	script_set(sk, CV_OPT_DEFER_ACCEPT, -1);
	assert_int_equal(get(sk, CV_OPT_DEFER_ACCEPT), 0);
	sock_close(sk, true);
	sk = script_established_active(s);
	assert_int_equal(sock_setopt(sk, CV_OPT_WINDOW_CLAMP, &zero, sizeof(zero)), -CV_EINVAL);
	script_gone(s, sk);
}

T(window_clamp__no_more_is_offered)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_set(ls, CV_OPT_WINDOW_CLAMP, 5000);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	assert_int_equal(script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0)->h.wnd, 5000);
	script_send(s, TCP_ACK, 1, 1, "a", 1);
	sk = script_accept(s, ls);
	assert_in_range(script_expect(s, TCP_ACK, 1, 2, 0)->h.wnd, 4999, 5000);
	script_both_gone(s, sk, ls);
}

T(defer_accept__bare_ack__accepted_with_the_data)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_set(ls, CV_OPT_DEFER_ACCEPT, 5);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, 2 * SEC);
	assert_null(sock_accept(ls));
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	sk = script_accept(s, ls);
	assert_int_equal(sk->rxq_bytes, 3);
	script_both_gone(s, sk, ls);
}

T(defer_accept__no_data__reminded_near_the_end_and_accepted_then)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_set(ls, CV_OPT_DEFER_ACCEPT, 5); /* 3 SYN-ACKs */
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, 6900 * MS);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0); /* at 7 s */
	assert_null(sock_accept(ls));
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	script_is(sk, ESTABLISHED);
	script_both_gone(s, sk, ls);
}

/* A client that thinks before it asks: nothing was lost, and its path is not slow. */
T(defer_accept__data_after_seconds__round_trip_and_window_are_the_handshakes)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;

	script_set(ls, CV_OPT_DEFER_ACCEPT, 20);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_wait(s, 20 * MS);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, 5 * SEC);
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	sk = script_accept(s, ls);
	assert_in_range(tcp_of(sk)->srtt_us, 20000, 21500);
	assert_in_range(tcp_of(sk)->rto_us, 200000, 240000);
	assert_int_equal(tcp_of(sk)->cwnd, tcp_initial_window(tcp_of(sk)));
	script_both_gone(s, sk, ls);
}

/* When there are as many connections as there can be the ACK of one more is not heard, as with a full accept queue. */
T(no_room_for_a_connection__ack_is_not_heard__accepted_when_there_is)
{
	START;
	struct sock *ls = script_listen(s, 4), *sk;
	struct pool *p = &s->e->tcp->socks;
	uint32_t max = p->max;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	p->max = p->fresh;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	assert_null(sock_accept(ls));
	assert_int_equal(s->e->counters.tcp_limit, 1);
	p->max = max;
	script_expect_in(s, 2 * SEC, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	script_is(sk, ESTABLISHED);
	script_both_gone(s, sk, ls);
}

T(unsent__after_the_fin__none)
{
	START;
	struct sock *sk = script_established_active(s);

	script_write(s, sk, 10);
	sock_shutdown_wr(sk);
	assert_int_equal(get(sk, CV_OPT_UNSENT), 10);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 10);
	assert_int_equal(get(sk, CV_OPT_UNSENT), 0);
	assert_int_equal(get(sk, CV_OPT_OUTQ), 10);
	script_gone(s, sk);
}

T(user_timeout__ends_when_it_is_over)
{
	START;
	struct sock *sk = script_established_active(s);
	uint64_t first;

	script_set(sk, CV_OPT_USER_TIMEOUT, 3000);
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 1, 10);
	first = script_expect(s, TCP_ACK, 1, 1, 10)->at_ns;
	while (!(sk->status & CV_ST_DEAD)) {
		(void)script_next(s, 10 * MS);
		assert_true(s->w->now_ns - first < 4 * SEC);
	}
	assert_in_range(s->w->now_ns - first, 2990 * MS, 3030 * MS);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	script_gone(s, sk);
}

/* --- numbers ------------------------------------------------------------------------------------------ */

T(our_numbers_wrap__data_and_acks_go_on)
{
	START;
	const struct cv_endpoint from = world_endpoint(0, 5000), to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);
	uint32_t now;

	/* RFC6528's clock ticks every 4.096 us: it takes its time until our next number is 5,000 before the wrap. */
	script_wait(s, MS);
	now = tcp_numbers(s->e, &from, &to).iss;
	script_wait(s, (uint64_t)(uint32_t)(0u - 5000u - now) << 12);
	script_quiet(s, 0);
	assert_int_equal(sock_bind(sk, &from), 0);
	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	assert_true(s->irs > 0u - 6000u);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_write(s, sk, 14600);
	for (uint32_t at = 1; at < 14601; at += 1460)
		script_expect(s, TCP_ACK, at, 1, 1460);
	script_send(s, TCP_ACK, 1, 2921, NULL, 0);
	script_send(s, TCP_ACK, 1, 7301, NULL, 0); /* beyond it */
	assert_int_equal(sk->tx_acked, 7300);
	script_expect_in(s, 3 * SEC, TCP_ACK, 7301, 1, 1460); /* and what is lost there comes again */
	script_send(s, TCP_ACK, 1, 14601, NULL, 0);
	assert_int_equal(sk->tx_acked, 14600);
	script_gone(s, sk);
}

/* --- limits ------------------------------------------------------------------------------------------ */

/* RFC5961:7: a connection is told twice a second, the engine says it some 1,000 times, and never the same number of times. */
T(challenge_acks__one_connection__one_in_half_a_second)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);

	script_send(s, TCP_RST, 100, 0, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_send(s, TCP_RST, 100, 0, NULL, 0);
	script_send(s, TCP_SYN, 100, 0, NULL, 0);
	script_quiet(s, 500 * MS);
	script_send(s, TCP_RST, 100, 0, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_both_gone(s, sk, ls);
}

T(challenge_acks__many_connections__a_number_that_is_drawn)
{
	START;
	enum { MANY = 1600 };
	struct sock *ls = script_listen(s, 4);
	uint64_t sent[3];

	s->e->tcp->config.syncookies = 0;
	sock_listen(ls, MANY);
	for (unsigned i = 0; i < MANY; i++) { /* half-open ones do */
		s->peer_port = (uint16_t)(10000 + i);
		script_send(s, TCP_SYN, 0, 0, NULL, 0);
		script_wait(s, MS);
		s->head = s->tail;
	}
	for (unsigned round = 0; round < 3; round++) {
		uint64_t before = s->e->counters.tcp_challenges;

		do {
			script_wait(s, 10 * MS);
			s->head = s->tail;
		} while (s->w->now_ns / (10 * MS) % 100 != 0); /* until a second begins */
		for (unsigned i = 0; i < MANY; i++) {
			s->peer_port = (uint16_t)(10000 + i);
			script_send(s, TCP_RST, 100, 0, NULL, 0);
			s->head = s->tail;
		}
		sent[round] = s->e->counters.tcp_challenges - before;
		assert_in_range(sent[round], 500, 1500);
	}
	assert_true(sent[0] != sent[1] || sent[1] != sent[2]);
	script_gone(s, ls);
}

T(fin_into_a_shut_window__probed_and_sent_when_it_opens)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);

	s->wnd = 0;
	script_send(s, TCP_ACK, 1, 1, "a", 1);
	script_expect(s, TCP_ACK, 1, 2, 0);
	sock_shutdown_wr(sk);
	script_is(sk, FIN_WAIT_1);
	for (int i = 0; i < 20; i++) { /* longer than any number of retransmissions: a peer that answers lives */
		script_expect_in(s, 130 * SEC, TCP_ACK, 0, 2, 0);
		script_send(s, TCP_ACK, 2, 1, NULL, 0);
	}
	s->wnd = 100;
	script_send(s, TCP_ACK, 2, 1, NULL, 0);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 2, 0);
	script_send(s, TCP_ACK, 2, 2, NULL, 0);
	script_is(sk, FIN_WAIT_2);
	script_both_gone(s, sk, ls);
}

/* As stack/net/ reports an ICMP error that quotes our segment with this number. */
static void icmp(struct script *s, uint32_t seq, enum cv_error error, bool hard, uint16_t mtu)
{
	const struct icmp_error err = {.error = error, .hard = hard, .mtu = mtu, .local = world_endpoint(0, s->port),
		.peer = world_endpoint(1, s->peer_port), .seq = s->irs + seq};

	tcp_icmp_error(s->e, &err);
}

/* RFC5927:4: what quotes nothing that is under way is not believed. */
T(syn_received__icmp__only_of_our_syn_ack_and_only_soft_ones_count)
{
	START;
	struct sock *ls = script_listen(s, 4);

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	icmp(s, 1, CV_EHOSTUNREACH, false, 0);
	icmp(s, 0, CV_ECONNREFUSED, true, 0);
	icmp(s, 0, CV_EMSGSIZE, false, 600);
	assert_int_equal(s->e->tcp->embryos.used, 1);
	icmp(s, 0, CV_EHOSTUNREACH, false, 0);
	assert_int_equal(s->e->tcp->embryos.used, 0);
	script_gone(s, ls);
}

T(established__icmp__soft_error_told_when_it_times_out_and_forgotten_with_the_next_ack)
{
	START;
	struct sock *sk = script_established_active(s);

	script_set(sk, CV_OPT_USER_TIMEOUT, 2000);
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 1, 10);
	icmp(s, 500, CV_ENETUNREACH, false, 0); /* nothing of ours */
	icmp(s, 1, CV_EHOSTUNREACH, false, 0);
	script_is(sk, ESTABLISHED);
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	assert_int_equal(tcp_of(sk)->soft_error, 0);
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 11, 1, 10);
	icmp(s, 11, CV_EHOSTUNREACH, false, 0);
	script_wait(s, 5 * SEC);
	s->head = s->tail;
	assert_int_equal(sk->error, CV_EHOSTUNREACH);
	script_gone(s, sk);
}

/* --- ends that meet ------------------------------------------------------------------------------------ */

T(self_connect__simultaneous_open_with_itself)
{
	START;
	const struct cv_endpoint me = world_endpoint(0, 7000);
	struct sock *sk = script_socket(s);
	char got[8] = "";

	assert_int_equal(sock_bind(sk, &me), 0);
	assert_int_equal(sock_connect(sk, &me), 0);
	script_wait(s, 10 * MS);
	script_is(sk, ESTABLISHED);
	script_write(s, sk, 5);
	script_wait(s, 10 * MS);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 5);
	assert_int_equal((uint8_t)got[4], script_byte(4));
	script_wait(s, 100 * MS);
	assert_int_equal(sk->tx_acked, 5);
	sock_shutdown_wr(sk); /* and a simultaneous close */
	script_wait(s, 10 * MS);
	assert_true(script_state(sk) == TCP_CLOSED); /* the TIME_WAIT is apart */
	sock_close(sk, false);
	script_free(s);
}

static struct sock *syn_received_by_simultaneous_open(struct script *s)
{
	const struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	return sk;
}

/* RFC7323:2.2: nor in the window of the SYN-ACK that answers ours on the way. */
T(window_scale__simultaneous_open__not_in_the_window_of_a_syn)
{
	START;
	struct sock *sk;

	s->has_wscale = true;
	s->wscale = 7;
	s->wnd = 1000;
	sk = syn_received_by_simultaneous_open(s);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_is(sk, ESTABLISHED);
	assert_int_equal(tcp_of(sk)->snd_wscale, 7);
	assert_in_range(tcp_of(sk)->snd_wnd, 1000 - 127, 1000);
	script_gone(s, sk);
}

/* A buffer of a few KiB on a link of 64 KiB: that it was read is told although it is less than half a segment. */
T(self_connect__small_buffer__the_window_opens_when_it_is_read)
{
	START;
	const struct cv_endpoint me = world_endpoint(0, 7000);
	struct sock *sk = script_socket(s);
	uint32_t got = 0, turns = 0;
	char to[65536];

	script_set(sk, CV_OPT_RCVBUF, 4096);
	assert_int_equal(sock_bind(sk, &me), 0);
	assert_int_equal(sock_connect(sk, &me), 0);
	script_wait(s, 10 * MS);
	script_write(s, sk, 60000);
	for (; got < 60000 && turns < 100; turns++) {
		script_wait(s, MS);
		got += sock_recv_copy(sk, to, sizeof(to));
	}
	assert_int_equal(got, 60000);
	script_gone(s, sk);
}

T(syn_received__user_closes__fin_when_the_handshake_is_done)
{
	START;
	struct sock *sk = syn_received_by_simultaneous_open(s);

	sock_close(sk, false);
	script_expect_in(s, 2 * SEC, TCP_SYN | TCP_ACK, 0, 1, 0); /* the SYN goes on being sent again */
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 0);
	script_send(s, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_free(s);
}

T(syn_received__data_queued_and_shut__both_go_when_the_handshake_is_done)
{
	START;
	struct sock *sk = syn_received_by_simultaneous_open(s);

	script_write(s, sk, 10);
	sock_shutdown_wr(sk);
	script_quiet(s, 500 * MS);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 10);
	script_send(s, TCP_ACK, 1, 12, NULL, 0);
	script_is(sk, FIN_WAIT_2);
	assert_int_equal(sk->tx_acked, 10);
	script_gone(s, sk);
}

/* --- TIME_WAIT --------------------------------------------------------------------------------------- */

/* Our side closes first, with timestamps or without. */
static void time_wait_at(struct script *s, const struct cv_endpoint *from)
{
	const struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	script_set(sk, CV_OPT_REUSEADDR, 1);
	assert_int_equal(sock_bind(sk, from), 0);
	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	sock_close(sk, false);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 0);
	script_send(s, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_wait(s, 10 * MS);
	script_quiet(s, 0);
	s->irs_known = false;
}

static int connect_again(struct script *s, const struct cv_endpoint *from, struct sock **sk)
{
	const struct cv_endpoint to = world_endpoint(1, s->peer_port);

	*sk = script_socket(s);
	script_set(*sk, CV_OPT_REUSEADDR, 1);
	assert_int_equal(sock_bind(*sk, from), 0);
	return sock_connect(*sk, &to);
}

T(time_wait__connect_with_timestamps__the_ends_are_used_again)
{
	START;
	const struct cv_endpoint from = world_endpoint(0, 5000);
	const struct script_seg *seg;
	struct sock *sk;
	uint32_t last, irs;

	s->ts = true;
	time_wait_at(s, &from);
	irs = s->irs;
	last = s->tsecr;
	s->e->tcp->config.tw_reuse = 2;
	assert_int_equal(connect_again(s, &from, &sk), -CV_EADDRNOTAVAIL); /* no loopback */
	sock_close(sk, true);
	s->e->tcp->config.tw_reuse = 1;
	assert_int_equal(connect_again(s, &from, &sk), 0);
	seg = script_expect(s, TCP_SYN, 0, 0, 0);
	assert_true(seq_gt(seg->h.tsval, last)); /* RFC6191, RFC7323: the peer's TIME_WAIT lets it in, if it has one */
	assert_true(seq_gt(s->irs, irs + 2));
	script_gone(s, sk);
}

T(time_wait__connect_without_timestamps__eaddrnotavail)
{
	START;
	const struct cv_endpoint from = world_endpoint(0, 5000);
	struct sock *sk;

	time_wait_at(s, &from);
	assert_int_equal(connect_again(s, &from, &sk), -CV_EADDRNOTAVAIL);
	script_gone(s, sk);
}

/* RFC6191:2: among the peer's SYNs the timestamp tells, also where the number would not. */
T(time_wait__syn_with_a_later_timestamp_and_a_lower_number__a_new_connection)
{
	START;
	struct sock *ls, *sk;

	s->ts = true;
	s->tsval = 100;
	sk = script_established_passive(s, &ls);
	sock_close(sk, false);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 0);
	script_send(s, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	s->tsval = 90; /* an old one of before */
	script_send(s, TCP_SYN, 500, 0, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	s->tsval = 101;
	s->iss -= 5000;
	s->irs_known = false;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_both_gone(s, script_accept(s, ls), ls);
}

T(time_wait__syn_to_a_port_nobody_listens_on__stays)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);
	uint32_t socks, waits;

	sock_close(sk, false);
	sock_close(ls, false);
	script_expect(s, TCP_ACK | TCP_FIN, 1, 1, 0);
	script_send(s, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	script_send(s, TCP_SYN, 50000, 0, NULL, 0);
	script_expect(s, TCP_ACK, 2, 2, 0);
	tcp_count(s->e, &socks, &waits);
	assert_int_equal(waits, 1);
	script_free(s);
}

/* --- ACKs, urgent data ------------------------------------------------------------------------------- */

/* Where an answer carries the ACK, it is waited for; else it goes at once (RFC9293:3.8.6.3 allows 500 ms). */
T(request_and_answer__the_ack_waits_40_ms_for_the_answer)
{
	START;
	struct sock *ls, *sk = script_established_passive(s, &ls);

	script_send(s, TCP_ACK, 1, 1, "ask", 3);
	script_expect(s, TCP_ACK, 1, 4, 0); /* nobody has answered yet: at once */
	script_write(s, sk, 4);
	script_expect(s, TCP_ACK, 1, 4, 4);
	script_send(s, TCP_ACK, 4, 5, "ask", 3);
	script_quiet(s, 30 * MS);
	script_write(s, sk, 4);
	script_expect(s, TCP_ACK, 5, 7, 4); /* with it */
	script_send(s, TCP_ACK, 7, 9, "ask", 3);
	script_quiet(s, 38 * MS);
	script_expect(s, TCP_ACK, 9, 10, 0); /* or alone */
	script_both_gone(s, sk, ls);
}

T(urgent__sent__the_pointer_is_behind_the_byte)
{
	START;
	struct sock *sk = script_established_active(s);
	static unsigned released;
	const struct script_seg *seg;
	struct txbuf *b = world_txbuf("ab!", 3, &released);

	b->flags = CV_F_URGENT;
	assert_int_equal(sock_send(sk, b), 0);
	seg = script_expect(s, TCP_ACK | TCP_URG, 1, 1, 3);
	assert_int_equal(seg->h.urg, 3);
	script_send(s, TCP_ACK, 1, 4, NULL, 0);
	script_write(s, sk, 4);
	script_expect(s, TCP_ACK, 4, 1, 4); /* no longer */
	script_gone(s, sk);
}

T(urgent__received__the_mark_is_at_the_byte)
{
	START;
	struct sock *sk = script_established_active(s);

	s->urg = 3;
	script_send(s, TCP_ACK | TCP_URG, 1, 1, "ab!cd", 5);
	s->urg = 0;
	script_expect(s, TCP_ACK, 1, 6, 0);
	assert_true(sk->status & CV_ST_URGENT);
	assert_int_equal(sk->rx_urgent_pos, 2);
	script_gone(s, sk);
}

/* Numbers come round: what was urgent long ago, or never was, is not ahead again 2 GiB later. */
T(urgent__received_after_3_gib__the_mark_is_at_the_byte)
{
	START;
	struct sock *sk = script_established_active(s);

	script_much_later(s, sk, 3u << 30, 0);
	s->urg = 3;
	script_send(s, TCP_ACK | TCP_URG, 1, 1, "ab!cd", 5);
	s->urg = 0;
	script_expect(s, TCP_ACK, 1, 6, 0);
	assert_true(sk->status & CV_ST_URGENT);
	assert_int_equal(sk->rx_urgent_pos, (3ull << 30) + 2);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syn_without_mss__536_or_1220),
		cmocka_unit_test(syn_ack_without_mss__536),
		cmocka_unit_test(window_scale__the_peers_shift_counts_to_14),
		cmocka_unit_test(window_scale__not_in_the_window_of_a_syn),
		cmocka_unit_test(window_scale__the_peer_has_none__neither_have_we),
		cmocka_unit_test(options__limits_as_linux),
		cmocka_unit_test(window_clamp__no_more_is_offered),
		cmocka_unit_test(defer_accept__bare_ack__accepted_with_the_data),
		cmocka_unit_test(defer_accept__no_data__reminded_near_the_end_and_accepted_then),
		cmocka_unit_test(defer_accept__data_after_seconds__round_trip_and_window_are_the_handshakes),
		cmocka_unit_test(no_room_for_a_connection__ack_is_not_heard__accepted_when_there_is),
		cmocka_unit_test(unsent__after_the_fin__none),
		cmocka_unit_test(user_timeout__ends_when_it_is_over),
		cmocka_unit_test(our_numbers_wrap__data_and_acks_go_on),
		cmocka_unit_test(challenge_acks__one_connection__one_in_half_a_second),
		cmocka_unit_test(challenge_acks__many_connections__a_number_that_is_drawn),
		cmocka_unit_test(syn_received__icmp__only_of_our_syn_ack_and_only_soft_ones_count),
		cmocka_unit_test(established__icmp__soft_error_told_when_it_times_out_and_forgotten_with_the_next_ack),
		cmocka_unit_test(fin_into_a_shut_window__probed_and_sent_when_it_opens),
		cmocka_unit_test(self_connect__simultaneous_open_with_itself),
		cmocka_unit_test(self_connect__small_buffer__the_window_opens_when_it_is_read),
		cmocka_unit_test(window_scale__simultaneous_open__not_in_the_window_of_a_syn),
		cmocka_unit_test(syn_received__user_closes__fin_when_the_handshake_is_done),
		cmocka_unit_test(syn_received__data_queued_and_shut__both_go_when_the_handshake_is_done),
		cmocka_unit_test(time_wait__connect_with_timestamps__the_ends_are_used_again),
		cmocka_unit_test(time_wait__connect_without_timestamps__eaddrnotavail),
		cmocka_unit_test(time_wait__syn_with_a_later_timestamp_and_a_lower_number__a_new_connection),
		cmocka_unit_test(time_wait__syn_to_a_port_nobody_listens_on__stays),
		cmocka_unit_test(request_and_answer__the_ack_waits_40_ms_for_the_answer),
		cmocka_unit_test(urgent__sent__the_pointer_is_behind_the_byte),
		cmocka_unit_test(urgent__received__the_mark_is_at_the_byte),
		cmocka_unit_test(urgent__received_after_3_gib__the_mark_is_at_the_byte),
	};

	world_eal_init("tcp_life");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
