/* SPDX-License-Identifier: BSD-3-Clause */
/* How the congestion window grows, segment by segment: a scripted peer against one engine (RFC5681:3.1, 4.1,
 * RFC7661:4.3). What whole flows make of it is in tcp_congestion.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

static struct sock *established(struct script *s, const char *algorithm, uint16_t mss)
{
	struct sock *sk;

	s->w->host[0].port.mtu = 9000;
	assert_int_equal(net_port_changed(s->w->host[0].e, &s->w->host[0].port), 0);
	s->mss = mss;
	s->wnd = 65535;
	s->has_wscale = true;
	s->wscale = 7;
	sk = script_established_active(s);
	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, algorithm, (uint32_t)strlen(algorithm)), 0);
	return sk;
}

/* All that was sent is acknowledged; how much it was. */
static uint32_t acknowledge(struct script *s, struct sock *sk)
{
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t sent;

	script_wait(s, 0);
	sent = tp->snd_max - tp->snd_una;
	s->head = s->tail;
	script_send(s, TCP_ACK, 1, tp->snd_max - tp->iss, NULL, 0);
	s->head = s->tail;
	return sent;
}

T(window_full__acks__grows)
{
	START;
	struct sock *sk = established(s, "reno", 1000);
	uint32_t iw = tcp_of(sk)->cwnd;

	assert_int_equal(iw, 10 * tcp_of(sk)->mss);
	script_write(s, sk, 200000);
	assert_int_equal(acknowledge(s, sk), iw);
	assert_int_equal(tcp_of(sk)->cwnd, 2 * iw);
	assert_int_equal(acknowledge(s, sk), 2 * iw);
	assert_int_equal(tcp_of(sk)->cwnd, 4 * iw);
	script_gone(s, sk);
}

T(window_hardly_used__acks__stays)
{
	START;
	struct sock *sk = established(s, "reno", 1000);
	uint32_t iw = tcp_of(sk)->cwnd;

	for (int i = 0; i < 200; i++) {
		script_write(s, sk, 400);
		assert_int_equal(acknowledge(s, sk), 400);
	}
	assert_int_equal(tcp_of(sk)->cwnd, iw);
	script_gone(s, sk);
}

/* Slow start leaves room for twice of what is used, so that a flow that begins to fill its window is not late. */
T(window_used_by_more_than_half__slow_start__grows_to_twice_the_use)
{
	START;
	struct sock *sk = established(s, "reno", 1000);
	uint32_t iw = tcp_of(sk)->cwnd;

	for (int i = 0; i < 50; i++) {
		script_write(s, sk, 8000);
		acknowledge(s, sk);
	}
	assert_in_range(tcp_of(sk)->cwnd, iw + 1, 2 * 8000 + 8000);
	script_gone(s, sk);
}

T(device_full__acks__stays)
{
	START;
	struct sock *sk = established(s, "reno", 1000);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t iw = tp->cwnd;

	s->w->host[0].tx_bounded = true;
	script_write(s, sk, 200000);
	for (int i = 0; i < 50; i++) {
		s->w->host[0].tx_room = 4;
		acknowledge(s, sk);
	}
	/* What was sent before the device was seen to be full filled the window once. */
	assert_in_range(tp->cwnd, iw, 3 * iw);
	assert_true(tp->snd_una - tp->iss > 100000);
	s->w->host[0].tx_bounded = false;
	script_gone(s, sk);
}

T(silence__data_again__window_halves_with_each_rto)
{
	START;
	struct sock *sk = established(s, "reno", 8000);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t iw = tp->cwnd, before;

	script_write(s, sk, 1000000);
	while (tp->snd_una - tp->iss < 1000000)
		acknowledge(s, sk);
	before = tp->cwnd;
	assert_true(before > 16 * iw);
	script_wait(s, tp->rto_us * US * 5 / 2);
	script_write(s, sk, 10);
	acknowledge(s, sk);
	assert_int_equal(tp->cwnd, before / 4);
	assert_int_equal(tp->ssthresh, UINT32_MAX);
	script_wait(s, 100 * tp->rto_us * US);
	script_write(s, sk, 10);
	acknowledge(s, sk);
	assert_int_equal(tp->cwnd, iw);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_full__acks__grows),
		cmocka_unit_test(window_hardly_used__acks__stays),
		cmocka_unit_test(window_used_by_more_than_half__slow_start__grows_to_twice_the_use),
		cmocka_unit_test(device_full__acks__stays),
		cmocka_unit_test(silence__data_again__window_halves_with_each_rto),
	};

	world_eal_init("tcp_window");
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
