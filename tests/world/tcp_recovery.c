/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss and its repair, rule by rule: a scripted peer against one engine (RFC2018, 2883, 3522, 5482, 5682, 6298, 6675, 6937,
 * 8985). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/script.h"

#define T(name) static void name(void **state)
#define START                                                                                                \
	struct script *s = script_new(1);                                                                    \
	(void)state

static void gone(struct script *s, struct sock *sk)
{
	sock_close(sk, true);
	script_wait(s, MS);
	s->head = s->tail;
	assert_int_equal(s->e->tcp->losses.used, 0);
	assert_int_equal(s->e->tcp->ooos.used, 0);
	script_free(s);
}

/* The SACK blocks of a segment, relative to the peer's numbers. */
static void blocks_are(const struct script *s, const struct script_seg *seg, const struct range *r, unsigned n)
{
	assert_int_equal(seg->h.sacks_n, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(seg->h.sacks[i].lo - s->iss, r[i].lo);
		assert_int_equal(seg->h.sacks[i].hi - s->iss, r[i].hi);
	}
}
#define BLOCKS(s, seg, ...)                                                                                  \
	blocks_are(s, seg, (const struct range[]){__VA_ARGS__},                                              \
		sizeof((const struct range[]){__VA_ARGS__}) / sizeof(struct range))

#define RTT (20 * MS)
#define N 1000u /* bytes of a segment */

/* Ten segments of N bytes are under way over a path of RTT, at time 0. */
static struct sock *ten_under_way_with(struct script *s, bool sack)
{
	struct sock *ls = script_listen(s, 4), *sk;

	s->sack_ok = sack;
	s->mss = s->ts ? N + 12 : N;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_wait(s, RTT);
	s->tsval += RTT / MS;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	sk = script_accept(s, ls);
	sock_close(ls, false);
	script_write(s, sk, 10 * N);
	for (uint32_t i = 0; i < 10; i++)
		script_expect(s, TCP_ACK, 1 + i * N, 1, N);
	return sk;
}

static struct sock *ten_under_way(struct script *s)
{
	return ten_under_way_with(s, true);
}

/* The peer has all before segment `ack`, and those from lo to hi (not included). */
static void told(struct script *s, uint32_t ack, uint32_t lo, uint32_t hi)
{
	s->sacks_n = lo < hi;
	s->sacks[0] = (struct range){1 + lo * N, 1 + hi * N};
	script_send(s, TCP_ACK, 1, 1 + ack * N, NULL, 0);
	s->sacks_n = 0;
}

/* Segment i comes ms after since_ns, within what the timing wheel may take. */
static void comes(struct script *s, uint32_t i, uint64_t since_ns, uint64_t ms)
{
	const struct script_seg *seg = script_expect_in(s, 2 * SEC, TCP_ACK, 1 + i * N, 1, N);
	uint64_t took = seg->at_ns - since_ns;

	if (took < ms * MS || took > (ms + 3) * MS)
		fail_msg("segment %u came after %llu us", i, (unsigned long long)took / 1000);
}

/* --- DSACK, told (RFC2883:4) ------------------------------------------------------------------------ */

T(receiver__all_of_a_segment_again__dsack_of_it_once)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 11, 0)->h.sacks_n, 0);
	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 11, 0), {1, 11});
	script_send(s, TCP_ACK, 11, 1, "abc", 3);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 14, 0)->h.sacks_n, 0);
	gone(s, sk);
}

T(receiver__part_of_a_segment_again__dsack_of_that_part)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	script_expect(s, TCP_ACK, 1, 11, 0);
	script_send(s, TCP_ACK, 6, 1, "56789abcde", 10);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 16, 0), {6, 11});
	gone(s, sk);
}

/* RFC2883:4.2: the duplicate first, then the block that it is a part of, then the others. */
T(receiver__what_waits_comes_again__dsack_then_its_block)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 101, 1, "0123456789", 10);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {101, 111});
	script_send(s, TCP_ACK, 201, 1, "0123456789", 10);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {201, 211}, {101, 111});
	script_send(s, TCP_ACK, 101, 1, "01234", 5);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {101, 106}, {101, 111}, {201, 211});
	script_send(s, TCP_ACK, 96, 1, "abcde0123456789xyz", 18); /* before it, all of it, behind it */
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {101, 111}, {96, 114}, {201, 211});
	gone(s, sk);
}

T(receiver__what_closes_the_gap_brings_more__dsack_of_what_waited)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 6, 1, "567", 3);
	script_expect(s, TCP_ACK, 1, 1, 0);
	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 11, 0), {6, 9});
	gone(s, sk);
}

T(receiver__no_sack__no_dsack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	script_expect(s, TCP_ACK, 1, 11, 0);
	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 11, 0)->h.sacks_n, 0);
	gone(s, sk);
}

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
	gone(s, sk);
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
	gone(s, sk);
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
	gone(s, sk);
}

/* --- RACK (RFC8985:6.2) ------------------------------------------------------------------------------ */

T(rack__as_much_sacked_as_three_segments__lost_at_once)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 0, 2, 5);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 0, 2, 7); /* PRR: five may be under way, and are until this */
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	script_quiet(s, MS);
	assert_int_equal(tcp_of(sk)->in_recovery, 1);
	told(s, 10, 0, 0);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	assert_int_equal(tcp_of(sk)->cwnd, tcp_of(sk)->ssthresh);
	gone(s, sk);
}

/* Step 5: what is missing may have changed places with what arrived, by a quarter of the round trip. */
T(rack__one_sacked__lost_after_a_quarter_of_the_round_trip)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 0, 1, 2);
	comes(s, 0, begin, RTT / MS / 4);
	gone(s, sk);
}

/* Steps 3 and 4: who has seen packets change places waits, however much was sacked. */
T(rack__reordering_was_seen__waits_though_much_is_sacked)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	told(s, 0, 1, 2);
	script_wait(s, 2 * MS);
	told(s, 2, 0, 0); /* it was late only */
	script_quiet(s, 10 * MS);
	assert_int_equal(tcp_of(sk)->reordering, 1);
	assert_int_equal(tcp_of(sk)->total_retrans, 0);
	begin = s->w->now_ns;
	told(s, 2, 3, 8);
	comes(s, 2, begin, RTT / MS / 4);
	gone(s, sk);
}

/* A retransmission is a transmission: what was sent after it and arrived shows that it is lost. RFC6675 waits for the
 * timer here. */
T(rack__retransmission_is_lost__found_without_the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);

	script_wait(s, RTT);
	told(s, 0, 1, 5);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	script_write(s, sk, 10 * N);
	script_wait(s, MS);
	told(s, 0, 1, 10); /* lets new data go, after the retransmission */
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_wait(s, RTT);
	while (script_next(s, 0) != NULL)
		;
	told(s, 0, 1, 11);
	script_expect_in(s, RTT, TCP_ACK, 1, 1, N);
	assert_int_equal(s->e->counters.tcp_timeouts, 0);
	gone(s, sk);
}

T(rack__dsack__the_window_for_reordering_grows_once_a_round)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 0, 1, 2);
	comes(s, 0, begin, 5);
	s->sacks_n = 1;
	for (int i = 0; i < 2; i++) { /* both of segment 0 arrived; the second DSACK is of the same round */
		s->sacks[0] = (struct range){1, 1 + N};
		script_send(s, TCP_ACK, 1, 1 + 3 * N, NULL, 0);
	}
	s->sacks_n = 0;
	assert_int_equal(tcp_of(sk)->reo_mult, 1);
	assert_int_equal(tcp_of(sk)->reo_persist, 16);
	gone(s, sk);
}

/* --- TLP (RFC8985:7) ----------------------------------------------------------------------------------- */

/* The last three of ten are lost: a probe after two round trips, and the rest as soon as it is answered (PRR lets one
 * go for each that arrives). */
T(tlp__tail_is_lost__repaired_without_the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 7, 0, 0);
	comes(s, 9, begin, 2 * RTT / MS);
	script_wait(s, RTT);
	told(s, 7, 9, 10);
	script_expect_in(s, 0, TCP_ACK, 1 + 7 * N, 1, N);
	script_wait(s, RTT);
	told(s, 8, 9, 10);
	script_expect_in(s, 0, TCP_ACK, 1 + 8 * N, 1, N);
	script_wait(s, RTT);
	told(s, 10, 0, 0);
	script_quiet(s, SEC);
	assert_int_equal(s->e->counters.tcp_timeouts, 0);
	gone(s, sk);
}

T(tlp__data_waits_for_the_window__the_probe_is_new)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	script_write(s, sk, 3 * N); /* the first window is full */
	script_quiet(s, MS);
	comes(s, 10, begin, 2 * RTT / MS);
	script_wait(s, RTT);
	told(s, 11, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	gone(s, sk);
}

/* Then the timer: one probe only. */
T(tlp__probe_is_not_answered__the_timer)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	begin = s->w->now_ns;
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	assert_in_range((s->w->now_ns - begin) / MS, 200, 250);
	assert_int_equal(s->e->counters.tcp_timeouts, 1);
	gone(s, sk);
}

/* 7.4.2: the probe was needed, and nobody else says so. */
T(tlp__probe_repaired_a_loss__the_window_pays)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin;

	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 9, 0, 0);
	script_wait(s, RTT);
	script_write(s, sk, 2 * N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 11 * N, 1, N);
	comes(s, 11, begin, 3 * RTT / MS);
	told(s, 12, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	script_write(s, sk, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 12 * N, 1, N);
	told(s, 13, 0, 0);
	assert_true(tcp_of(sk)->ssthresh < 11 * N);
	gone(s, sk);
}

T(tlp__both_arrived__dsack__the_window_stays)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	told(s, 10, 0, 0);
	told(s, 10, 9, 10);
	script_write(s, sk, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	told(s, 11, 0, 0);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	gone(s, sk);
}

/* --- PRR (RFC6937, RFC9937) ---------------------------------------------------------------------------- */

/* RFC6937:3.1, first example: of 20 under way the first is lost, and the window halves: one goes for each two ACKs. */
T(prr__one_of_twenty_lost__one_for_each_two_acks)
{
	struct tcp_loss l = {0};
	uint32_t pipe = 19, sent = 0;

	(void)state;
	tcp_prr_begin(&l, 20);
	for (uint32_t ack = 1; ack <= 19; ack++) {
		pipe--;
		uint32_t n = tcp_prr_sndcnt(&l, pipe, 10, 1, false, 1);
		sent += n;
		l.prr_out += n;
		pipe += n;
		assert_in_range(n, 0, 1);
		assert_in_range(sent, ack / 2, ack / 2 + 1);
	}
	assert_int_equal(sent, 10);
}

/* The second: 15 of 20 are lost at once, so that less is under way than may be. CRB: as much as arrives; SSRB: one
 * more with each ACK that shows progress. */
T(prr__most_lost__as_much_as_arrives_and_one_more_when_all_goes_well)
{
	struct tcp_loss l = {0};

	(void)state;
	tcp_prr_begin(&l, 20);
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, false, 1), 1);
	l.prr_out = 1;
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, false, 1), 1);
	l.prr_out = 2;
	assert_int_equal(tcp_prr_sndcnt(&l, 4, 10, 1, true, 1), 2);
	l.prr_out = 4;
	assert_int_equal(tcp_prr_sndcnt(&l, 9, 10, 3, true, 1), 1); /* not beyond ssthresh */
}

/* Twenty under way and the first lost, without SACK: each duplicate is a segment that arrived (RFC6937:3). */
T(prr__without_sack__one_for_each_two_duplicates)
{
	START;
	struct sock *sk = ten_under_way_with(s, false);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t sent = 0;

	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "reno", 4), 0); /* halves */
	tp->cwnd = 20 * N;
	script_write(s, sk, 40 * N);
	script_wait(s, 0);
	told(s, 0, 0, 0); /* limited transmit: one more */
	told(s, 0, 0, 0);
	assert_int_equal(tp->snd_max - tp->snd_una, 22 * N);
	s->head = s->tail;
	for (uint32_t ack = 1; ack <= 19; ack++) {
		told(s, 0, 0, 0);
		for (; s->head != s->tail; s->head++)
			sent++;
		assert_in_range(sent, (ack - 1) / 2, (ack + 1) / 2); /* whole segments */
	}
	assert_int_equal(tp->ssthresh, 10 * N);
	assert_int_equal(tcp_pipe(tp), tp->ssthresh);
	told(s, 22, 0, 0);
	assert_int_equal(tp->in_recovery, 0);
	assert_int_equal(tp->cwnd, 10 * N);
	gone(s, sk);
}

/* Two holes, without SACK: the second goes with the partial ACK, and new data up to ssthresh. */
T(prr__without_sack__partial_ack__the_next_hole_and_no_more_than_ssthresh)
{
	START;
	struct sock *sk = ten_under_way_with(s, false);
	struct tcp_sock *tp = tcp_of(sk);

	script_write(s, sk, 20 * N);
	for (int i = 0; i < 8; i++) /* segments 0 and 5 are lost */
		told(s, 0, 0, 0);
	s->head = s->tail;
	told(s, 5, 0, 0);
	script_expect_in(s, 0, TCP_ACK, 1 + 5 * N, 1, N);
	assert_int_equal(tp->in_recovery, 1);
	assert_int_equal(tcp_pipe(tp), tp->ssthresh);
	script_send(s, TCP_ACK, 1, tp->snd_max - tp->iss, NULL, 0);
	assert_int_equal(tp->in_recovery, 0);
	script_wait(s, MS);
	gone(s, sk);
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
	gone(s, sk);
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
	gone(s, sk);
}

T(prr__told_congestion__the_window_halves_over_a_round_trip)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t sent = 0;

	assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, "reno", 4), 0); /* halves */
	tcp_of(sk)->cwnd = 10 * N;
	script_write(s, sk, 20 * N);
	assert_true(tcp_recovery_cwr(tcp_of(sk)));
	assert_false(tcp_recovery_cwr(tcp_of(sk)));
	for (uint32_t i = 1; i <= 10; i++) {
		told(s, i, 0, 0);
		while (script_next(s, 0) != NULL)
			sent++;
		assert_in_range(sent + 1, i / 2, i / 2 + 2);
	}
	assert_int_equal(sent, 5);
	assert_int_equal(tcp_of(sk)->cwnd, 5 * N);
	assert_int_equal(tcp_of(sk)->total_retrans, 0);
	gone(s, sk);
}

/* --- needless (RFC3522, RFC4015, RFC5682, RFC2883) ------------------------------------------------------ */

T(timeout__first_segments_ack_was_late__timestamp_tells__window_is_back)
{
	START;
	s->ts = true;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd, stamp = s->tsecr;
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	assert_true(tcp_of(sk)->cwnd <= N);
	s->tsecr = stamp; /* of the first transmissions */
	told(s, 3, 0, 0);
	assert_int_equal(tcp_of(sk)->rto_recovery, 0);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	assert_int_equal(s->e->counters.tcp_undone, 1);
	script_quiet(s, MS); /* and nothing of the rest goes again */
	gone(s, sk);
}

T(timeout__what_was_never_sent_again_is_acknowledged__f_rto__window_is_back)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd;
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	script_write(s, sk, 4 * N);
	told(s, 1, 0, 0); /* step 2 b: new data, not the second segment */
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	told(s, 2, 0, 0); /* step 3 b: that went once only */
	assert_int_equal(tcp_of(sk)->rto_recovery, 0);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(s->e->counters.tcp_undone, 1);
	gone(s, sk);
}

T(timeout__loss_was_real__f_rto_goes_on_with_the_lost)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint64_t begin = s->w->now_ns;

	comes(s, 9, begin, 2 * RTT / MS);
	script_expect_in(s, 2 * SEC, TCP_ACK, 1, 1, N);
	told(s, 1, 0, 0); /* there is no new data */
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	assert_int_equal(tcp_of(sk)->rto_recovery, 1);
	assert_int_equal(s->e->counters.tcp_undone, 0);
	gone(s, sk);
}

T(fast_recovery__dsack_for_all_that_went_again__window_is_back)
{
	START;
	struct sock *sk = ten_under_way(s);
	uint32_t cwnd = tcp_of(sk)->cwnd;

	script_wait(s, RTT);
	told(s, 0, 2, 6);
	script_expect_in(s, 0, TCP_ACK, 1, 1, N);
	told(s, 0, 2, 8);
	script_expect_in(s, 0, TCP_ACK, 1 + N, 1, N);
	told(s, 10, 0, 0); /* all was there */
	assert_true(tcp_of(sk)->cwnd < cwnd);
	script_wait(s, RTT);
	told(s, 10, 0, 1);
	assert_true(tcp_of(sk)->cwnd < cwnd); /* one of two may have been needed */
	told(s, 10, 1, 2);
	assert_true(tcp_of(sk)->cwnd >= cwnd);
	assert_int_equal(tcp_of(sk)->ssthresh, UINT32_MAX);
	gone(s, sk);
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
	gone(s, sk);
}

/* --- memory ------------------------------------------------------------------------------------------ */

T(receiver__no_room_for_gaps__dropped_and_counted__goes_on)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);
	uint32_t max = s->e->tcp->ooos.max;

	s->e->tcp->ooos.max = 0;
	script_send(s, TCP_ACK, 6, 1, "56789", 5);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 1, 0)->h.sacks_n, 0);
	assert_int_equal(s->e->counters.tcp_ooo_drop, 1);
	script_send(s, TCP_ACK, 1, 1, "01234", 5);
	script_expect(s, TCP_ACK, 1, 6, 0);
	s->e->tcp->ooos.max = max;
	gone(s, sk);
}

T(receiver__more_gaps_than_can_be_told__all_is_kept)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);
	uint8_t data[2000], got[2000];

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = script_byte(i);
	for (uint32_t i = 2; i < 2 * (TCP_GAPS_MAX + 100); i += 2)
		script_send(s, TCP_ACK, 1 + i, 1, data + i, 1);
	assert_int_equal(tcp_of(sk)->ooo->q.n, TCP_GAPS_MAX + 99);
	assert_int_equal(tcp_of(sk)->ooo->ranges.n, TCP_GAPS_MAX);
	s->head = s->tail;
	for (uint32_t i = 1; i < 2 * (TCP_GAPS_MAX + 100); i += 2) {
		script_send(s, TCP_ACK, 1 + i - (i == 1), 1, data + i - (i == 1), 1 + (i == 1));
		s->head = s->tail;
	}
	assert_int_equal(tcp_of(sk)->rcv_nxt - tcp_of(sk)->irs, 1 + 2 * (TCP_GAPS_MAX + 100));
	assert_null(tcp_of(sk)->ooo);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 2 * (TCP_GAPS_MAX + 100));
	assert_memory_equal(got, data, 2 * (TCP_GAPS_MAX + 100));
	gone(s, sk);
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
	gone(s, sk);
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
	gone(s, sk);
}

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
	gone(s, sk);
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
	gone(s, sk);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver__all_of_a_segment_again__dsack_of_it_once),
		cmocka_unit_test(receiver__part_of_a_segment_again__dsack_of_that_part),
		cmocka_unit_test(receiver__what_waits_comes_again__dsack_then_its_block),
		cmocka_unit_test(receiver__what_closes_the_gap_brings_more__dsack_of_what_waited),
		cmocka_unit_test(receiver__no_sack__no_dsack),
		cmocka_unit_test(two_duplicates__no_sack__a_new_segment_each),
		cmocka_unit_test(two_duplicates__sack__a_new_segment_each),
		cmocka_unit_test(reduction__acks_and_loss_in_one_burst__half_of_what_was_under_way_before),
		cmocka_unit_test(reduction__nothing_waits__half_of_what_is_left),
		cmocka_unit_test(recovery_ends__little_under_way__no_burst),
		cmocka_unit_test(rack__as_much_sacked_as_three_segments__lost_at_once),
		cmocka_unit_test(rack__one_sacked__lost_after_a_quarter_of_the_round_trip),
		cmocka_unit_test(rack__reordering_was_seen__waits_though_much_is_sacked),
		cmocka_unit_test(rack__retransmission_is_lost__found_without_the_timer),
		cmocka_unit_test(rack__dsack__the_window_for_reordering_grows_once_a_round),
		cmocka_unit_test(tlp__tail_is_lost__repaired_without_the_timer),
		cmocka_unit_test(tlp__data_waits_for_the_window__the_probe_is_new),
		cmocka_unit_test(tlp__probe_is_not_answered__the_timer),
		cmocka_unit_test(tlp__probe_repaired_a_loss__the_window_pays),
		cmocka_unit_test(tlp__both_arrived__dsack__the_window_stays),
		cmocka_unit_test(prr__one_of_twenty_lost__one_for_each_two_acks),
		cmocka_unit_test(prr__most_lost__as_much_as_arrives_and_one_more_when_all_goes_well),
		cmocka_unit_test(prr__without_sack__one_for_each_two_duplicates),
		cmocka_unit_test(prr__without_sack__partial_ack__the_next_hole_and_no_more_than_ssthresh),
		cmocka_unit_test(old_ack__with_sack_blocks__what_is_missing_goes_at_once),
		cmocka_unit_test(old_ack__blocks_below_the_newest__nothing),
		cmocka_unit_test(prr__told_congestion__the_window_halves_over_a_round_trip),
		cmocka_unit_test(timeout__first_segments_ack_was_late__timestamp_tells__window_is_back),
		cmocka_unit_test(timeout__what_was_never_sent_again_is_acknowledged__f_rto__window_is_back),
		cmocka_unit_test(timeout__loss_was_real__f_rto_goes_on_with_the_lost),
		cmocka_unit_test(fast_recovery__dsack_for_all_that_went_again__window_is_back),
		cmocka_unit_test(sacked_and_thrown_away__all_of_it_goes_again),
		cmocka_unit_test(receiver__no_room_for_gaps__dropped_and_counted__goes_on),
		cmocka_unit_test(receiver__more_gaps_than_can_be_told__all_is_kept),
		cmocka_unit_test(sender__no_room_for_recovery__mended_by_timeouts),
		cmocka_unit_test(sender__no_records_left__holes_are_mended_without_them),
		cmocka_unit_test(user_timeout__data_not_acknowledged__ends_at_its_time),
		cmocka_unit_test(user_timeout__syn_not_answered__ends_at_its_time),
		cmocka_unit_test(r1__path_is_doubted_after_three_timeouts),
		cmocka_unit_test(zero_window__fin__waits_and_probes),
	};

	world_eal_init("tcp_recovery");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
