/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP's timers and what loss does to it, to the millisecond: a scripted peer against one engine (RFC6298, 5681,
 * 6582, 6675, 9293:3.8, 1122:4.2, 7323). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

/* The next segment comes ms after since_ns, give or take what the timing wheel may take. */
static const struct script_seg *after(struct script *s, uint64_t since_ns, uint64_t ms)
{
	const struct script_seg *seg = script_next(s, (ms + 1000) * MS);
	uint64_t took;

	assert_non_null(seg);
	took = (seg->at_ns - since_ns) / MS;
	if (took + 5 < ms || took > ms + 5 + ms / 500)
		fail_msg("it came after %llu ms, not %llu", (unsigned long long)took, (unsigned long long)ms);
	return seg;
}

/* --- the handshake --------------------------------------------------------------------------------- */

T(syn_sent__no_answer__seven_syns_then_timed_out)
{
	START;
	struct cv_endpoint to = world_endpoint(1, SCRIPT_PEER_PORT);
	struct sock *sk = script_socket(s);
	uint64_t begin = s->w->now_ns, at = 0;

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	for (uint64_t wait = 1000; wait <= 32000; wait *= 2) {
		at += wait;
		assert_int_equal(after(s, begin, at)->h.flags, TCP_SYN);
	}
	script_quiet(s, 60 * SEC);
	script_is(sk, SYN_SENT);
	script_wait(s, 5 * SEC);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(syn_sent__syn_count_of_the_user__fewer_syns)
{
	START;
	struct cv_endpoint to = world_endpoint(1, SCRIPT_PEER_PORT);
	struct sock *sk = script_socket(s);
	int two = 2;

	assert_int_equal(sock_setopt(sk, CV_OPT_SYNCNT, &two, sizeof(two)), 0);
	assert_int_equal(sock_connect(sk, &to), 0);
	for (int i = 0; i < 3; i++)
		script_expect_in(s, 3 * SEC, TCP_SYN, 0, 0, 0);
	script_quiet(s, 10 * SEC);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(syn_received__no_answer__six_syn_acks_then_forgotten)
{
	START;
	struct sock *ls = script_listen(s, 4);
	uint64_t begin = s->w->now_ns, at = 0;
	uint32_t socks, waits;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	for (uint64_t wait = 1000; wait <= 16000; wait *= 2) {
		at += wait;
		assert_int_equal(after(s, begin, at)->h.flags, TCP_SYN | TCP_ACK);
	}
	script_quiet(s, 64 * SEC);
	tcp_count(s->e, &socks, &waits);
	assert_int_equal(socks, 1); /* the listener */
	sock_close(ls, false);
	script_free(s);
}

T(syn_received__syn_count_of_the_listener__so_many_syn_acks_again)
{
	START;
	struct sock *ls = script_listen(s, 4);
	int count = 9; /* more than without it, and more than doubling goes on */
	uint64_t begin = s->w->now_ns, at = 0;

	assert_int_equal(sock_setopt(ls, CV_OPT_SYNCNT, &count, sizeof(count)), 0);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	for (int i = 0; i < count; i++) {
		at += i < 7 ? 1000u << i : 120000u;
		assert_int_equal(after(s, begin, at)->h.flags, TCP_SYN | TCP_ACK);
	}
	script_quiet(s, 300 * SEC);
	s->peer_port++;
	s->irs_known = false;
	count = 1;
	assert_int_equal(sock_setopt(ls, CV_OPT_SYNCNT, &count, sizeof(count)), 0);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_expect_in(s, 2 * SEC, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_quiet(s, 20 * SEC);
	sock_close(ls, false);
	script_free(s);
}

/* With numbers of its own in [tcp]. */
static struct script *script_configured(void)
{
	struct script *s;

	world_tcp.syn_retries = 1;
	world_tcp.retries2 = 2;
	world_tcp.keepalive_time = 20;
	world_tcp.keepalive_intvl = 3;
	world_tcp.keepalive_probes = 2;
	s = script_new(1);
	world_tcp = engine_tcp_defaults;
	return s;
}

T(config__syn_retries__holds_for_all)
{
	struct script *s = script_configured();
	struct cv_endpoint to = world_endpoint(1, SCRIPT_PEER_PORT);
	struct sock *sk = script_socket(s);

	(void)state;
	assert_int_equal(sock_connect(sk, &to), 0);
	for (int i = 0; i < 2; i++)
		script_expect_in(s, 2 * SEC, TCP_SYN, 0, 0, 0);
	script_quiet(s, 10 * SEC);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(config__retries2__holds_for_all)
{
	struct script *s = script_configured();
	struct sock *sk = script_established_active(s);

	(void)state;
	script_write(s, sk, 100);
	for (int i = 0; i < 3; i++)
		script_expect_in(s, 10 * SEC, TCP_PSH | TCP_ACK, 1, 1, 100);
	script_quiet(s, 20 * SEC);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(config__keepalive__holds_for_all)
{
	struct script *s = script_configured();
	struct sock *sk = script_established_active(s);
	int on = 1;

	(void)state;
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on)), 0);
	script_quiet(s, 19 * SEC);
	for (int i = 0; i < 2; i++)
		script_expect_in(s, 4 * SEC, TCP_ACK, 0, 1, 0);
	script_expect_in(s, 4 * SEC, TCP_RST | TCP_ACK, 1, 1, 0);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(accept_queue_full__ack_is_not_heard__syn_ack_again_until_there_is_room)
{
	START;
	struct sock *ls = script_listen(s, 0), *one, *two;

	/* A backlog of 0 holds one connection. */
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	uint32_t first = s->irs;
	s->peer_port++;
	s->irs_known = false;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	uint32_t second = s->irs;
	s->peer_port--;
	s->irs = first;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->peer_port++;
	s->irs = second;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, 2 * SEC, TCP_SYN | TCP_ACK, 0, 1, 0);
	one = script_accept(s, ls);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	two = script_accept(s, ls);
	sock_close(one, true);
	sock_close(two, true);
	sock_close(ls, false);
	script_wait(s, MS);
	s->head = s->tail;
	script_free(s);
}

/* --- retransmission -------------------------------------------------------------------------------- */

T(established__data_not_acknowledged__backoff_doubles_then_timed_out)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	uint64_t begin = s->w->now_ns, wait = 200, at = 0;
	unsigned sent = 0;

	script_write(s, sk, 100);
	script_expect(s, TCP_ACK, 1, 1, 100);
	while (sent < 15) {
		at += wait;
		const struct script_seg *seg = after(s, begin, at);
		assert_int_equal(seg->seq, 1);
		assert_int_equal(seg->len, 100);
		wait = wait * 2 < 120000 ? wait * 2 : 120000;
		sent++;
	}
	script_quiet(s, 119 * SEC);
	script_wait(s, 3 * SEC);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(established__round_trip_of_300_ms__rto_of_900)
{
	START;
	s->ts = true;
	struct sock *ls = script_listen(s, 4), *sk;
	uint64_t begin;

	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_wait(s, 300 * MS);
	s->tsval += 300;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(ls, false);
	assert_in_range(tcp_of(sk)->srtt_us, 299000, 301000);
	assert_in_range(tcp_of(sk)->rttvar_us, 149000, 151000);
	begin = s->w->now_ns;
	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 1, 10);
	assert_int_equal(after(s, begin, 900)->seq, 1); /* SRTT + 4 * RTTVAR */
	assert_int_equal(after(s, begin, 900 + 1800)->seq, 1);
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	script_gone(s, sk);
}

/* Ten segments of 1,000 bytes are on their way. */
static struct sock *ten_under_way(struct script *s)
{
	struct sock *sk;

	s->mss = 1000;
	sk = script_established_passive(s, NULL);
	script_write(s, sk, 10000);
	for (uint32_t i = 0; i < 10; i++)
		script_expect(s, TCP_ACK, 1 + i * 1000, 1, 1000);
	return sk;
}

T(established__two_duplicate_acks__nothing__three__fast_retransmit)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, 100 * MS);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, MS, TCP_ACK, 1, 1, 1000);
	assert_int_equal(tcp_of(sk)->in_recovery, 1);
	assert_int_equal(tcp_of(sk)->ssthresh, 7000); /* 0.7 of what was under way (RFC9438:4.6) */
	script_send(s, TCP_ACK, 1, 10001, NULL, 0);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	assert_int_equal(sk->tx_acked, 10000);
	script_gone(s, sk);
}

T(recovery__partial_ack_without_sack__next_hole_at_once)
{
	START;
	struct sock *sk = ten_under_way(s);

	for (int i = 0; i < 3; i++)
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, MS, TCP_ACK, 1, 1, 1000);
	script_send(s, TCP_ACK, 1, 4001, NULL, 0); /* RFC6582: the segment at 4001 is lost too */
	script_expect_in(s, MS, TCP_ACK, 4001, 1, 1000);
	script_send(s, TCP_ACK, 1, 10001, NULL, 0);
	script_quiet(s, 10 * SEC);
	script_gone(s, sk);
}

T(recovery__sack__only_the_holes_are_sent_again)
{
	START;
	s->sack_ok = true;
	struct sock *sk = ten_under_way(s);
	bool again[10] = {false};

	/* Missing: those at 1 and at 4001. */
	s->sacks_n = 1;
	s->sacks[0] = (struct range){1001, 2001};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->sacks[0] = (struct range){1001, 4001};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->sacks_n = 2;
	s->sacks[0] = (struct range){5001, 10001};
	s->sacks[1] = (struct range){1001, 4001};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_wait(s, 20 * MS);
	while (s->head != s->tail) {
		const struct script_seg *seg = &s->segs[s->head++ % SCRIPT_SEGS];
		assert_int_equal(seg->len, 1000);
		assert_int_equal(seg->seq % 1000, 1);
		assert_in_range(seg->seq, 1, 9001);
		again[seg->seq / 1000] = true;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(again[i], i == 0 || i == 4);
	s->sacks_n = 0;
	script_send(s, TCP_ACK, 1, 10001, NULL, 0);
	script_quiet(s, 10 * SEC);
	script_gone(s, sk);
}

T(timeout__window_falls_to_one_segment)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_expect_in(s, 250 * MS, TCP_ACK, 1, 1, 1000);
	assert_int_equal(tcp_of(sk)->cwnd, 1000);
	assert_int_equal(tcp_of(sk)->ssthresh, 7000); /* 0.7 of what was under way (RFC9438:4.6, 4.8) */
	script_send(s, TCP_ACK, 1, 10001, NULL, 0);
	script_gone(s, sk);
}

T(receiver__gap__sack_tells_what_is_there)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);
	const struct script_seg *seg;

	script_send(s, TCP_ACK, 101, 1, "abcde", 5);
	seg = script_expect(s, TCP_ACK, 1, 1, 0);
	assert_int_equal(seg->h.sacks_n, 1);
	assert_int_equal(seg->h.sacks[0].lo - s->iss, 101);
	assert_int_equal(seg->h.sacks[0].hi - s->iss, 106);
	script_send(s, TCP_ACK, 201, 1, "xy", 2); /* the latest comes first (RFC2018:4) */
	seg = script_expect(s, TCP_ACK, 1, 1, 0);
	assert_int_equal(seg->h.sacks_n, 2);
	assert_int_equal(seg->h.sacks[0].lo - s->iss, 201);
	assert_int_equal(seg->h.sacks[1].lo - s->iss, 101);
	script_gone(s, sk);
}

/* --- windows --------------------------------------------------------------------------------------- */

T(zero_window__probed_with_backoff__data_when_it_opens)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);
	uint64_t last, gap = 0;

	script_write(s, sk, 3000);
	last = s->w->now_ns;
	for (int i = 0; i < 5; i++) {
		const struct script_seg *seg = script_next(s, 20 * SEC);
		uint64_t took;

		assert_non_null(seg);
		assert_in_range(seg->len, 0, 1);
		took = (seg->at_ns - last) / MS;
		assert_true(i == 0 || (took + 10 >= 2 * gap && took <= 2 * gap + 10));
		gap = took;
		last = seg->at_ns;
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	}
	script_wait(s, MS);
	s->head = s->tail;
	s->wnd = 65535;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect_in(s, MS, TCP_ACK, 1, 1, 1460);
	script_expect_in(s, MS, TCP_ACK, 1461, 1, 1460);
	script_send(s, TCP_ACK, 1, 2921, NULL, 0);
	script_expect_in(s, MS, TCP_ACK, 2921, 1, 80);
	script_send(s, TCP_ACK, 1, 3001, NULL, 0);
	script_gone(s, sk);
}

T(zero_window__answered_for_ever__no_timeout)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 10);
	for (int i = 0; i < 40; i++) {
		assert_non_null(script_next(s, 200 * SEC));
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
	}
	script_is(sk, ESTABLISHED);
	script_gone(s, sk);
}

T(zero_window__never_answered__timed_out)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 10);
	script_times_out(s, sk);
}

T(zero_window__nobody_here_any_more__ends_though_it_answers)
{
	START;
	s->wnd = 0;
	struct sock *sk = script_established_passive(s, NULL);
	uint32_t socks = 1, waits;

	script_write(s, sk, 10);
	sock_close(sk, false);
	for (int i = 0; i < 20 && socks > 0; i++) {
		if (script_next(s, 200 * SEC) != NULL)
			script_send(s, TCP_ACK, 1, 1, NULL, 0);
		tcp_count(s->e, &socks, &waits);
	}
	assert_int_equal(socks, 0);
	script_wait(s, SEC);
	s->head = s->tail;
	script_free(s);
}

T(window_taken_back__nothing_begins_or_ends_beyond_it)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	const struct script_seg *seg;

	script_write(s, sk, 5840);
	for (uint32_t i = 0; i < 4; i++)
		script_expect(s, TCP_ACK, 1 + i * 1460, 1, 1460);
	s->wnd = 500; /* of what was 65,535 */
	script_send(s, TCP_ACK, 1, 1, "data", 4);
	seg = script_next(s, MS);
	assert_non_null(seg);
	assert_int_equal(seg->ack, 5);
	assert_in_range(seg->seq, 1, 501);
	seg = script_next(s, SEC); /* the retransmission */
	assert_non_null(seg);
	assert_int_equal(seg->seq, 1);
	assert_in_range(seg->len, 1, 500);
	script_gone(s, sk);
}

T(receiver__full__window_closes_and_opens_when_read)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	const struct script_seg *seg = NULL;
	static char chunk[1000], buf[200000];
	uint32_t at = 1;
	int size = 4608;

	assert_int_equal(sock_setopt(sk, CV_OPT_RCVBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 2000; i++) {
		script_send(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
		script_wait(s, 50 * MS);
		while (s->head != s->tail)
			seg = &s->segs[s->head++ % SCRIPT_SEGS];
		assert_non_null(seg);
		if (seg->ack == at) /* not taken: the window is full */
			break;
		at = seg->ack;
	}
	assert_non_null(seg);
	assert_int_equal(seg->h.wnd, 0);
	assert_true(sock_recv_copy(sk, buf, sizeof(buf)) == at - 1);
	seg = script_next(s, MS);
	assert_non_null(seg);
	assert_true(seg->h.wnd > 0);
	script_gone(s, sk);
}

/* --- small segments -------------------------------------------------------------------------------- */

T(nagle__second_small_write_waits_for_the_ack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 1, 10);
	script_write(s, sk, 10);
	script_write(s, sk, 10);
	script_quiet(s, 100 * MS);
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	script_expect_in(s, MS, TCP_ACK, 11, 1, 20);
	script_send(s, TCP_ACK, 1, 31, NULL, 0);
	script_gone(s, sk);
}

T(nodelay__each_write_at_once)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1;

	assert_int_equal(sock_setopt(sk, CV_OPT_NODELAY, &on, sizeof(on)), 0);
	for (uint32_t i = 0; i < 3; i++) {
		script_write(s, sk, 10);
		script_expect_in(s, MS, TCP_ACK, 1 + 10 * i, 1, 10);
	}
	script_send(s, TCP_ACK, 1, 31, NULL, 0);
	script_gone(s, sk);
}

T(cork__held_for_200_ms_at_most)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1;
	uint64_t begin = s->w->now_ns;

	assert_int_equal(sock_setopt(sk, CV_OPT_CORK, &on, sizeof(on)), 0);
	script_write(s, sk, 10);
	assert_int_equal(after(s, begin, 200)->len, 10);
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	script_gone(s, sk);
}

/* --- keepalive ------------------------------------------------------------------------------------- */

T(keepalive__no_answer__probes_then_timed_out)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1, idle = 10, interval = 2, count = 3;
	uint64_t begin = s->w->now_ns;

	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPIDLE, &idle, sizeof(idle)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPINTVL, &interval, sizeof(interval)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPCNT, &count, sizeof(count)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on)), 0);
	for (uint64_t at = 10000; at <= 14000; at += 2000)
		assert_int_equal(after(s, begin, at)->seq, 0); /* one before what is next */
	const struct script_seg *seg = after(s, begin, 16000);
	assert_true(seg->h.flags & TCP_RST);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(fin_wait_2__keepalive_no_answer__probes_then_timed_out)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1, idle = 10, interval = 2, count = 3;

	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPIDLE, &idle, sizeof(idle)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPINTVL, &interval, sizeof(interval)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPCNT, &count, sizeof(count)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on)), 0);
	sock_shutdown_wr(sk);
	script_expect(s, TCP_FIN | TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_is(sk, FIN_WAIT_2);
	for (int i = 0; i < count; i++)
		assert_int_equal(script_next(s, 11 * SEC)->seq, 1); /* one before what is next */
	assert_true(script_next(s, 3 * SEC)->h.flags & TCP_RST);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	sock_close(sk, false);
	script_free(s);
}

T(keepalive__answered__lives_on)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1, idle = 10;
	uint64_t begin = s->w->now_ns;

	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPIDLE, &idle, sizeof(idle)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPINTVL, &on, sizeof(on)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on)), 0);
	for (int i = 0; i < 10; i++) {
		after(s, begin, 10000);
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
		begin = s->w->now_ns;
	}
	script_is(sk, ESTABLISHED);
	script_gone(s, sk);
}

T(keepalive__peer_has_forgotten__reset)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	int on = 1, idle = 1;

	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPIDLE, &idle, sizeof(idle)), 0);
	assert_int_equal(sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on)), 0);
	assert_non_null(script_next(s, 2 * SEC));
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNRESET);
	sock_close(sk, false);
	script_free(s);
}

/* --- numbers that wrap, old segments ---------------------------------------------------------------- */

T(peers_numbers_wrap__data_in_order)
{
	START;
	static char chunk[1000];
	uint32_t at = 1;

	s->iss = UINT32_MAX - 2500;
	struct sock *sk = script_established_passive(s, NULL);
	for (int i = 0; i < 6; i++) {
		memset(chunk, 'a' + i, sizeof(chunk));
		script_send(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
		at += sizeof(chunk);
		script_expect(s, TCP_ACK, 1, at, 0);
	}
	for (int i = 0; i < 6; i++) {
		memset(chunk, 0, sizeof(chunk));
		assert_int_equal(sock_recv_copy(sk, chunk, sizeof(chunk)), sizeof(chunk));
		assert_int_equal(chunk[0], 'a' + i);
		assert_int_equal(chunk[999], 'a' + i);
	}
	script_gone(s, sk);
}

T(paws__old_timestamp__ack_only)
{
	START;
	s->ts = true;
	s->tsval = 5000;
	struct sock *sk = script_established_passive(s, NULL);

	s->tsval = 6000;
	script_send(s, TCP_ACK, 1, 1, "new", 3);
	script_expect(s, TCP_ACK, 1, 4, 0);
	s->tsval = 5500;
	script_send(s, TCP_ACK, 4, 1, "old", 3);
	script_expect(s, TCP_ACK, 1, 4, 0);
	s->tsval = 6001;
	script_send(s, TCP_ACK, 4, 1, "now", 3);
	script_expect(s, TCP_ACK, 1, 7, 0);
	char got[8];
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 6);
	assert_memory_equal(got, "newnow", 6);
	script_gone(s, sk);
}

/* The 24 days run from when the timestamp was taken over, not from the last segment, which may have been refused
 * for its timestamp. */
T(paws__old_timestamp_after_24_days__taken)
{
	START;
	const uint64_t day = 24ull * 3600 * SEC;

	s->ts = true;
	s->tsval = 0x90000000;
	struct sock *sk = script_established_passive(s, NULL);
	script_wait(s, 239 * day / 10);
	s->tsval = 0x80000000;
	script_send(s, TCP_ACK, 1, 1, "old", 3);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_wait(s, 2 * day / 10);
	script_send(s, TCP_ACK, 1, 1, "now", 3);
	script_expect(s, TCP_ACK, 1, 4, 0);
	script_gone(s, sk);
}

T(repeat_of_all_we_have__the_ack_echoes_its_timestamp)
{
	START;
	s->ts = true;
	s->tsval = 5000;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "data", 4);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 5000);
	s->tsval = 65000;
	script_send(s, TCP_ACK, 1, 1, "data", 4);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 65000);
	/* the same of a part; but not of what nobody who sees our ACKs would send */
	s->tsval = 70000;
	script_send(s, TCP_ACK, 1, 1, "da", 2);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 70000);
	s->tsval = 80000;
	script_send(s, TCP_ACK, 5u - (2u << 20), 1, "da", 2);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 70000);
	script_send(s, TCP_ACK, 1, 1000000, "da", 2);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 70000);
	script_gone(s, sk);
}

/* RFC7323:4.2: an ACK of several segments echoes the first one's timestamp. */
T(two_segments_one_ack__the_first_timestamp_is_echoed)
{
	START;
	s->ts = true;
	s->tsval = 5000;
	struct sock *sk = script_established_passive(s, NULL);

	script_queue(s, TCP_ACK, 1, 1, "da", 2);
	s->tsval = 5007;
	script_send(s, TCP_ACK, 3, 1, "ta", 2);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 5, 0)->h.tsecr, 5000);
	script_send(s, TCP_ACK, 5, 1, "!", 1);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 6, 0)->h.tsecr, 5007);
	script_gone(s, sk);
}

/* Without data: one in half a second is answered, so that two confused ends do not go on for ever. */
T(not_acceptable_without_data__answered_twice_a_second_at_most)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_wait(s, SEC);
	script_send(s, TCP_ACK, 0x40000000, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	for (int i = 0; i < 4; i++) {
		script_send(s, TCP_ACK, 0x40000000, 1, NULL, 0);
		script_quiet(s, 120 * MS);
	}
	script_send(s, TCP_ACK, 0x40000000, 1, "x", 1); /* the peer sends data again until it is answered */
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_wait(s, 20 * MS);
	script_send(s, TCP_ACK, 0x40000000, 1, NULL, 0);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_gone(s, sk);
}

T(burst_in_order__one_ack)
{
	START;
	static char chunk[1000];
	struct sock *sk = script_established_passive(s, NULL);
	uint32_t at = 1;

	for (int i = 0; i < 31; i++, at += sizeof(chunk))
		script_queue(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
	script_send(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
	script_expect(s, TCP_ACK, 1, 32001, 0);
	script_quiet(s, 300 * MS);
	for (int i = 0; i < 32; i++)
		assert_int_equal(sock_recv_copy(sk, chunk, sizeof(chunk)), sizeof(chunk));
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syn_sent__no_answer__seven_syns_then_timed_out),
		cmocka_unit_test(syn_sent__syn_count_of_the_user__fewer_syns),
		cmocka_unit_test(syn_received__no_answer__six_syn_acks_then_forgotten),
		cmocka_unit_test(syn_received__syn_count_of_the_listener__so_many_syn_acks_again),
		cmocka_unit_test(config__syn_retries__holds_for_all),
		cmocka_unit_test(config__retries2__holds_for_all),
		cmocka_unit_test(config__keepalive__holds_for_all),
		cmocka_unit_test(accept_queue_full__ack_is_not_heard__syn_ack_again_until_there_is_room),
		cmocka_unit_test(established__data_not_acknowledged__backoff_doubles_then_timed_out),
		cmocka_unit_test(established__round_trip_of_300_ms__rto_of_900),
		cmocka_unit_test(established__two_duplicate_acks__nothing__three__fast_retransmit),
		cmocka_unit_test(recovery__partial_ack_without_sack__next_hole_at_once),
		cmocka_unit_test(recovery__sack__only_the_holes_are_sent_again),
		cmocka_unit_test(timeout__window_falls_to_one_segment),
		cmocka_unit_test(receiver__gap__sack_tells_what_is_there),
		cmocka_unit_test(zero_window__probed_with_backoff__data_when_it_opens),
		cmocka_unit_test(zero_window__answered_for_ever__no_timeout),
		cmocka_unit_test(zero_window__never_answered__timed_out),
		cmocka_unit_test(zero_window__nobody_here_any_more__ends_though_it_answers),
		cmocka_unit_test(window_taken_back__nothing_begins_or_ends_beyond_it),
		cmocka_unit_test(receiver__full__window_closes_and_opens_when_read),
		cmocka_unit_test(nagle__second_small_write_waits_for_the_ack),
		cmocka_unit_test(nodelay__each_write_at_once),
		cmocka_unit_test(cork__held_for_200_ms_at_most),
		cmocka_unit_test(keepalive__no_answer__probes_then_timed_out),
		cmocka_unit_test(fin_wait_2__keepalive_no_answer__probes_then_timed_out),
		cmocka_unit_test(keepalive__answered__lives_on),
		cmocka_unit_test(keepalive__peer_has_forgotten__reset),
		cmocka_unit_test(peers_numbers_wrap__data_in_order),
		cmocka_unit_test(paws__old_timestamp__ack_only),
		cmocka_unit_test(paws__old_timestamp_after_24_days__taken),
		cmocka_unit_test(repeat_of_all_we_have__the_ack_echoes_its_timestamp),
		cmocka_unit_test(two_segments_one_ack__the_first_timestamp_is_echoed),
		cmocka_unit_test(not_acceptable_without_data__answered_twice_a_second_at_most),
		cmocka_unit_test(burst_in_order__one_ack),
	};

	world_eal_init("tcp_timers");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
