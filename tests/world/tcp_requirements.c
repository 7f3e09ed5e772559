/* SPDX-License-Identifier: BSD-3-Clause */
/* What RFC 9293 asks and no other test says in so many words, by its numbers (docs/rfc.md): a scripted peer against one
 * engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "tests/world/script.h"
#include "tests/world/transfer.h"

/* --- PUSH (RFC9293:3.9.1.2) ------------------------------------------------------------------------ */

/* MUST-61, SHLD-28 */
T(push__only_in_the_last_segment_of_a_write__the_others_are_full)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 1460 * 2 + 100);
	assert_false(script_expect(s, TCP_ACK, 1, 1, 1460)->h.flags & TCP_PSH);
	assert_false(script_expect(s, TCP_ACK, 1461, 1, 1460)->h.flags & TCP_PSH);
	script_send(s, TCP_ACK, 1, 2921, NULL, 0);
	assert_true(script_expect(s, TCP_ACK, 2921, 1, 100)->h.flags & TCP_PSH);
	script_gone(s, sk);
}

/* SHLD-27, MAY-16 */
T(push__of_writes_that_go_together__is_one)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, 1, 10);
	for (int i = 0; i < 3; i++)
		script_write(s, sk, 10); /* Nagle's algorithm holds them */
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	assert_true(script_expect(s, TCP_ACK, 11, 1, 30)->h.flags & TCP_PSH);
	script_quiet(s, 100 * MS);
	script_gone(s, sk);
}

/* --- the window (RFC9293:3.8.6) -------------------------------------------------------------------- */

static uint32_t sent_at_once(struct script *s, struct sock *sk)
{
	uint32_t una = tcp_of(sk)->snd_una;

	script_wait(s, MS);
	s->head = s->tail;
	return tcp_of(sk)->snd_max - una;
}

/* MUST-1: 40,000 would be negative in 16 bits. */
T(window__above_32767__is_used)
{
	START;
	struct sock *sk;

	s->wnd = 40000;
	sk = script_established_passive(s, NULL);
	tcp_of(sk)->cwnd = 1000000;
	script_write(s, sk, 60000);
	assert_in_range(sent_at_once(s, sk), 40000 - 1460, 40000);
	script_gone(s, sk);
}

/* REC-1: a gigabyte does not fit in 16 bits, nor its product with the scale. */
T(window__scaled_by_14__is_a_number_of_32_bits)
{
	START;
	struct sock *sk;

	s->has_wscale = true;
	s->wscale = 14;
	sk = script_established_passive(s, NULL);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	assert_int_equal(tcp_of(sk)->snd_wnd, 65535u << 14);
	script_gone(s, sk);
}

/* SHLD-14: the right edge that was offered stays offered, read or not. */
T(window__offered__is_never_taken_back)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	static const char chunk[700];
	static char buf[5000];
	uint32_t edge = 0, at = 1;

	script_set(sk, CV_OPT_RCVBUF, 20000);
	for (int i = 0; i < 400; i++) {
		script_send(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
		if (i % 7 == 0)
			sock_recv_copy(sk, buf, (uint32_t)(i * 97 % 5000));
		if (i % 50 == 49)
			script_set(sk, CV_OPT_RCVBUF, 20000 - i * 40);
		script_wait(s, 50 * MS);
		while (s->head != s->tail) {
			const struct script_seg *seg = &s->segs[s->head++ % SCRIPT_SEGS];

			assert_true(seg->ack + seg->h.wnd >= edge);
			edge = seg->ack + seg->h.wnd;
			at = seg->ack;
		}
	}
	assert_true(at > 30000);
	script_gone(s, sk);
}

/* MUST-39: who reads byte by byte does not make the peer send bytes. */
T(window__opened_by_single_bytes__is_not_told_before_it_is_worth_a_segment)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	static const char chunk[1460];
	static char buf[200000];
	const struct script_seg *seg = NULL;
	uint32_t at = 1, read = 0;

	script_set(sk, CV_OPT_RCVBUF, 20000);
	for (int i = 0; i < 400; i++) {
		script_send(s, TCP_ACK, at, 1, chunk, sizeof(chunk));
		script_wait(s, 50 * MS);
		at = tcp_of(sk)->rcv_nxt - s->iss;
	}
	assert_int_equal(tcp_of(sk)->rcv_wnd, 0);
	s->head = s->tail;
	while (read < 200000 && (seg = script_next(s, 0)) == NULL)
		read += sock_recv_copy(sk, buf, 1);
	assert_non_null(seg);
	assert_true(seg->h.wnd >= 1460); /* min(half of the buffer, a segment) */
	script_gone(s, sk);
}

static struct sock *full(struct script *s, uint32_t *at)
{
	struct sock *sk = script_established_passive(s, NULL);
	static const char chunk[1000];

	script_set(sk, CV_OPT_RCVBUF, 4608);
	*at = 1;
	for (int i = 0; i < 2000 && (*at == 1 || tcp_of(sk)->rcv_wnd > 0); i++) {
		script_send(s, TCP_ACK, *at, 1, chunk, sizeof(chunk));
		script_wait(s, 50 * MS);
		*at = tcp_of(sk)->rcv_nxt - s->iss;
	}
	assert_int_equal(tcp_of(sk)->rcv_wnd, 0);
	s->head = s->tail;
	return sk;
}

/* MUST-66 */
T(window__shut__a_reset_counts)
{
	START;
	uint32_t at;
	struct sock *sk = full(s, &at);

	script_send(s, TCP_RST, at, 0, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNRESET);
	sock_close(sk, false);
	script_free(s);
}

/* MUST-66 */
T(window__shut__acknowledgments_and_urgent_pointers_count)
{
	START;
	uint32_t at;
	struct sock *sk = full(s, &at);

	script_write(s, sk, 10);
	script_expect(s, TCP_ACK, 1, at, 10);
	s->urg = 1;
	script_send(s, TCP_ACK | TCP_URG, at, 11, NULL, 0);
	assert_int_equal(tcp_of(sk)->snd_una - tcp_of(sk)->iss, 11);
	assert_true(sk->status & CV_ST_URGENT);
	script_gone(s, sk);
}

/* --- options (RFC9293:3.1, 3.7.1) ------------------------------------------------------------------ */

/* MUST-15: who names no MSS gets segments of 536. */
T(mss__peer_names_none__536)
{
	START;
	struct sock *sk;

	s->mss = 0;
	sk = script_established_passive(s, NULL);
	script_write(s, sk, 2000);
	script_expect(s, TCP_ACK, 1, 1, 536);
	script_expect(s, TCP_ACK, 537, 1, 536);
	script_gone(s, sk);
}

/* Takes the MSS option out of the IPv6 SYNs that are under way. */
static void syns_without_mss(struct world *w)
{
	for (int to = 0; to < 2; to++) {
		for (struct list *at = w->wire[to].frames.next; at != &w->wire[to].frames; at = at->next) {
			struct world_frame *f = list_entry(at, struct world_frame, node);
			struct rte_ipv6_hdr *ip = (void *)(f->data + RTE_ETHER_HDR_LEN);
			struct rte_tcp_hdr *tcp = (void *)(ip + 1);
			uint8_t *option = (uint8_t *)(tcp + 1);

			if (f->data[12] != 0x86 || ip->proto != IPPROTO_TCP || !(tcp->tcp_flags & TCP_SYN) ||
				option[0] != 2)
				continue;
			memset(option, 1, 4);
			tcp->cksum = 0;
			tcp->cksum = rte_ipv6_udptcp_cksum(ip, tcp);
		}
	}
}

/* A peer that names less than the options take must not make the length of our segments negative. */
T(mss__peer_names_one_with_timestamps__segments_of_36_as_linux)
{
	START;
	struct sock *sk;

	s->mss = 1;
	s->ts = true;
	sk = script_established_passive(s, NULL);
	script_write(s, sk, 100);
	script_expect(s, TCP_ACK, 1, 1, 36);
	script_expect(s, TCP_ACK, 37, 1, 36);
	script_expect(s, TCP_ACK, 73, 1, 28);
	script_send(s, TCP_ACK, 1, 101, NULL, 0);
	script_gone(s, sk);
}

/* MUST-15: 1,220 over IPv6. */
T(mss__ipv6_peer_names_none__1220)
{
	const struct plan plan = {.link = {.delay_ns = 10 * MS}, .bytes = 5000, .ipv6 = true};
	struct run *r = run_new(&plan, 1);

	(void)state;
	for (int i = 0; i < 5000 && !run_done(r); i++) {
		run_step(r); /* 2 ms: no frame passes unseen */
		syns_without_mss(r->w);
	}
	assert_true(run_done(r));
	assert_int_equal(tcp_of(r->client.sk)->peer_mss, 1220);
	assert_int_equal(tcp_of(r->server.sk)->peer_mss, 1220);
	assert_true(tcp_of(r->client.sk)->mss <= 1220);
	run_end(r);
}

/* MUST-14, MUST-67, MUST-65: MTU less 40 in the SYN, and in no other segment. */
T(mss__of_the_link__in_the_syn_only)
{
	START;
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);
	const struct script_seg *seg;

	assert_int_equal(sock_connect(sk, &to), 0);
	seg = script_expect(s, TCP_SYN, 0, 0, 0);
	assert_true(seg->h.has_mss);
	assert_int_equal(seg->h.mss, 1460);
	script_send(s, TCP_SYN | TCP_ACK, 0, 1, NULL, 0);
	assert_false(script_expect(s, TCP_ACK, 1, 1, 0)->h.has_mss);
	script_write(s, sk, 100);
	assert_false(script_expect(s, TCP_ACK, 1, 1, 100)->h.has_mss);
	script_gone(s, sk);
}

/* MUST-16: what the peer takes, less the options of the segment. */
T(mss__segments__are_less_by_their_options)
{
	START;
	struct sock *sk;

	s->ts = true;
	s->mss = 1000;
	sk = script_established_passive(s, NULL);
	script_write(s, sk, 1500);
	script_expect(s, TCP_ACK, 1, 1, 988);
	script_gone(s, sk);
}

/* --- initial numbers (RFC9293:3.4.1) --------------------------------------------------------------- */

/* MUST-8, SHLD-1, MUST-9 */
T(initial_numbers__rise_with_the_clock__and_differ_by_ends_and_secret)
{
	START;
	struct cv_endpoint l = world_endpoint(0, 80), p = world_endpoint(1, 4000), q = world_endpoint(1, 4001);
	uint32_t first = tcp_numbers(s->e, &l, &p).iss, second;

	script_wait(s, SEC);
	script_wait(s, 0);
	second = tcp_numbers(s->e, &l, &p).iss;
	assert_in_range(second - first, 240000, 260000); /* 4 us a step */
	assert_true(tcp_numbers(s->e, &l, &q).iss != second);
	assert_true(abs((int)(tcp_numbers(s->e, &l, &q).iss - second)) > 1000);
	assert_true(tcp_numbers(s->w->host[1].e, &l, &p).iss != second); /* another secret */
	script_free(s);
}

/* --- opening (RFC9293:3.5) ------------------------------------------------------------------------- */

/* MUST-11: SYN-RECEIVED knows that it came from SYN-SENT: the user hears of the reset. */
T(simultaneous_open__then_reset__the_user_is_refused)
{
	START;
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_is(sk, SYN_RECEIVED);
	script_send(s, TCP_RST, 1, 0, NULL, 0);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	sock_close(sk, false);
	script_free(s);
}

/* MUST-46 */
T(open__to_a_group_or_broadcast__is_refused)
{
	static const uint8_t nobody[][4] = {{224, 0, 0, 1}, {255, 255, 255, 255}, {10, 0, 0, 255}};
	START;

	for (unsigned i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
		struct cv_endpoint to = world_endpoint(1, 80);
		struct sock *sk = script_socket(s);

		memcpy(to.addr + 12, nobody[i], 4);
		assert_true(sock_connect(sk, &to) < 0);
		script_quiet(s, 10 * MS);
		sock_close(sk, false);
	}
	script_free(s);
}

/* MUST-57, MUST-63: nothing answers, nothing is remembered. */
T(syn__of_or_to_an_impossible_address__is_dropped_silently)
{
	static const uint8_t from[][4] = {{224, 0, 0, 1}, {255, 255, 255, 255}, {10, 0, 0, 255}, {127, 0, 0, 1},
		{0, 0, 0, 0}, {10, 0, 0, 1}};
	static const uint8_t to[][4] = {{224, 0, 0, 1}, {255, 255, 255, 255}, {10, 0, 0, 255}};
	START;
	struct sock *ls = script_listen(s, 8);

	for (unsigned i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		s->from_ip = from[i];
		script_send(s, TCP_SYN, 0, 0, NULL, 0);
		script_quiet(s, 10 * MS);
	}
	s->from_ip = NULL;
	for (unsigned i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		s->to_ip = to[i];
		script_send(s, TCP_SYN, 0, 0, NULL, 0);
		script_send(s, TCP_ACK, 1, 1, NULL, 0);
		script_quiet(s, 10 * MS);
	}
	sock_close(ls, false);
	script_free(s);
}

/* --- closing (RFC9293:3.6) ------------------------------------------------------------------------- */

/* SHLD-2 */
T(reset__with_text__counts)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_RST | TCP_ACK, 1, 1, "why", 3);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ECONNRESET);
	sock_close(sk, false);
	script_free(s);
}

/* --- retransmission (RFC9293:3.8) ------------------------------------------------------------------ */

/* MUST-18: whichever of two sendings an ACK without timestamp answers, it says nothing of the round trip. */
T(karn__ack_of_a_retransmission__is_no_sample)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	uint32_t before, at;

	script_write(s, sk, 100);
	script_expect(s, TCP_ACK, 1, 1, 100);
	script_wait(s, 20 * MS);
	script_send(s, TCP_ACK, 1, 101, NULL, 0);
	before = tcp_of(sk)->srtt_us;
	script_write(s, sk, 100);
	script_wait(s, 5 * SEC);
	at = s->tail - s->head;
	assert_true(at >= 2);
	s->head = s->tail;
	script_send(s, TCP_ACK, 1, 201, NULL, 0);
	assert_int_equal(tcp_of(sk)->srtt_us, before);
	script_gone(s, sk);
}

/* --- to and from IP (RFC9293:3.9.2) ---------------------------------------------------------------- */

/* MUST-49, MUST-48, SHLD-22, SHLD-21 */
T(ttl_and_diffserv__set_by_the_user__at_any_time_and_unchanged)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	const struct script_seg *seg;

	script_set(sk, CV_OPT_TTL, 7);
	script_set(sk, CV_OPT_TOS, 0xb8);
	script_write(s, sk, 10);
	seg = script_expect(s, TCP_ACK, 1, 1, 10);
	assert_int_equal(seg->ttl, 7);
	assert_int_equal(seg->tos, 0xb8);
	script_send(s, TCP_ACK, 1, 11, NULL, 0);
	script_set(sk, CV_OPT_TOS, 0x20);
	script_write(s, sk, 10);
	assert_int_equal(script_expect(s, TCP_ACK, 11, 1, 10)->tos, 0x20);
	script_gone(s, sk);
}

/* MUST-50 */
T(ip_options__not_understood__are_ignored)
{
	static const uint8_t router_alert[4] = {148, 4, 0, 0};
	START;
	struct sock *sk;

	s->ip_options = router_alert;
	sk = script_established_passive(s, NULL);
	script_send(s, TCP_ACK, 1, 1, "hello", 5);
	assert_int_equal(tcp_of(sk)->rcv_nxt - s->iss, 6);
	script_gone(s, sk);
}

/* MUST-21 */
T(user_timeout__set_by_the_user__ends_the_connection)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_set(sk, CV_OPT_USER_TIMEOUT, 3000);
	script_write(s, sk, 100);
	script_wait(s, 2500 * MS);
	script_is(sk, ESTABLISHED);
	script_wait(s, 4 * SEC);
	script_is(sk, CLOSED);
	assert_int_equal(sk->error, CV_ETIMEDOUT);
	s->head = s->tail;
	sock_close(sk, false);
	script_free(s);
}

/* MUST-24, MUST-25, MUST-28: silent for a day; when asked for, after two hours. */
T(keepalive__off_unless_asked_for__then_after_two_hours)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	uint64_t begin;

	script_quiet(s, 24 * 3600 * SEC);
	script_set(sk, CV_OPT_KEEPALIVE, 1);
	begin = s->w->now_ns;
	script_send(s, TCP_ACK, 1, 1, "x", 1);
	script_expect(s, TCP_ACK, 1, 2, 0);
	script_quiet(s, 7190 * SEC);
	script_expect_in(s, 20 * SEC, TCP_ACK, 0, 2, 0); /* SHLD-12: without data, one before SND.NXT */
	assert_true(s->w->now_ns - begin >= 7200 * SEC);
	script_gone(s, sk);
}

/* SHLD-18, MUST-40, SHLD-19: by the second full segment, and before half a second. */
T(delayed_acks__every_second_segment__and_within_half_a_second)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);
	static const char full_segment[1460];
	uint32_t at = 1;

	for (int i = 0; i < 40; i++, at += 1460) { /* past the quick ones of a connection's begin */
		script_send(s, TCP_ACK, at, 1, full_segment, 1460);
		script_wait(s, 500 * MS - 1);
		assert_int_equal(tcp_of(sk)->last_ack_sent - s->iss, at + 1460);
	}
	s->head = s->tail;
	tcp_of(sk)->pingpong = true; /* an answer of ours might take the ACK along */
	tcp_of(sk)->quickack = 0;
	script_send(s, TCP_ACK, at, 1, full_segment, 1460);
	script_quiet(s, 0);
	script_send(s, TCP_ACK, at + 1460, 1, full_segment, 1460);
	script_expect_in(s, 0, TCP_ACK, 1, at + 2920, 0);
	script_gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(push__only_in_the_last_segment_of_a_write__the_others_are_full),
		cmocka_unit_test(push__of_writes_that_go_together__is_one),
		cmocka_unit_test(window__above_32767__is_used),
		cmocka_unit_test(window__scaled_by_14__is_a_number_of_32_bits),
		cmocka_unit_test(window__offered__is_never_taken_back),
		cmocka_unit_test(window__opened_by_single_bytes__is_not_told_before_it_is_worth_a_segment),
		cmocka_unit_test(window__shut__a_reset_counts),
		cmocka_unit_test(window__shut__acknowledgments_and_urgent_pointers_count),
		cmocka_unit_test(mss__peer_names_none__536),
		cmocka_unit_test(mss__peer_names_one_with_timestamps__segments_of_36_as_linux),
		cmocka_unit_test(mss__ipv6_peer_names_none__1220),
		cmocka_unit_test(mss__of_the_link__in_the_syn_only),
		cmocka_unit_test(mss__segments__are_less_by_their_options),
		cmocka_unit_test(initial_numbers__rise_with_the_clock__and_differ_by_ends_and_secret),
		cmocka_unit_test(simultaneous_open__then_reset__the_user_is_refused),
		cmocka_unit_test(open__to_a_group_or_broadcast__is_refused),
		cmocka_unit_test(syn__of_or_to_an_impossible_address__is_dropped_silently),
		cmocka_unit_test(reset__with_text__counts),
		cmocka_unit_test(karn__ack_of_a_retransmission__is_no_sample),
		cmocka_unit_test(ttl_and_diffserv__set_by_the_user__at_any_time_and_unchanged),
		cmocka_unit_test(ip_options__not_understood__are_ignored),
		cmocka_unit_test(user_timeout__set_by_the_user__ends_the_connection),
		cmocka_unit_test(keepalive__off_unless_asked_for__then_after_two_hours),
		cmocka_unit_test(delayed_acks__every_second_segment__and_within_half_a_second),
	};

	world_eal_init("tcp_requirements");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
