/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes out of order: it waits, the peer is told of it (RFC2018, RFC2883), and the stream is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"
#include "tests/world/transfer.h"
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
	script_gone(s, sk);
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
	script_gone(s, sk);
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
	script_gone(s, sk);
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
	script_gone(s, sk);
}

T(receiver__no_sack__no_dsack)
{
	START;
	struct sock *sk = script_established_passive(s, NULL);

	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	script_expect(s, TCP_ACK, 1, 11, 0);
	script_send(s, TCP_ACK, 1, 1, "0123456789", 10);
	assert_int_equal(script_expect(s, TCP_ACK, 1, 11, 0)->h.sacks_n, 0);
	script_gone(s, sk);
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
	script_gone(s, sk);
}

#define GAPS 356u

T(receiver__more_gaps_than_can_be_told__all_is_kept)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);
	uint8_t data[2000], got[2000];

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = script_byte(i);
	for (uint32_t i = 2; i < 2 * GAPS; i += 2)
		script_send(s, TCP_ACK, 1 + i, 1, data + i, 1);
	assert_int_equal(tcp_of(sk)->ooo->n, GAPS - 1);
	assert_int_equal(s->e->tcp->runs.used, GAPS - 1);
	s->head = s->tail;
	for (uint32_t i = 1; i < 2 * GAPS; i += 2) {
		script_send(s, TCP_ACK, 1 + i - (i == 1), 1, data + i - (i == 1), 1 + (i == 1));
		s->head = s->tail;
	}
	assert_int_equal(tcp_of(sk)->rcv_nxt - tcp_of(sk)->irs, 1 + 2 * GAPS);
	assert_null(tcp_of(sk)->ooo);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 2 * GAPS);
	assert_memory_equal(got, data, 2 * GAPS);
	script_gone(s, sk);
}

/* --- order --------------------------------------------------------------------------------------------- */

#define STREAM 3000u

struct puzzle {
	struct script *s;
	struct sock *sk;
	uint8_t data[STREAM], got[STREAM];
	bool sent[STREAM + 1]; /* the last is the FIN */
	uint64_t random;
};

static uint32_t draw(struct puzzle *p, uint32_t below)
{
	p->random = p->random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(p->random >> 33) % below;
}

/* Bytes of the runs, in order, none touching the next. */
static uint32_t runs_walk(const struct puzzle *p, const struct tcp_run *r, uint32_t *behind)
{
	const struct tcp_sock *tp = tcp_of(p->sk);
	uint32_t sum, bytes = 0;

	if (r == NULL)
		return 0;
	sum = runs_walk(p, r->kid[0], behind);
	assert_true(seq_gt(r->lo, *behind));
	*behind = r->hi;
	for (uint32_t at = r->lo - tp->irs - 1; at < r->hi - tp->irs - 1; at++)
		assert_true(p->sent[at]);
	for (struct rte_mbuf *m = r->head;; m = pkt_of(m)->next) {
		bytes += rte_pktmbuf_pkt_len(m) + pkt_of(m)->fin;
		if (m == r->tail)
			break;
	}
	assert_int_equal(bytes, r->hi - r->lo);
	for (int i = 0; i < 2; i++)
		assert_true(r->kid[i] == NULL || r->kid[i]->weight <= r->weight);
	return sum + bytes + runs_walk(p, r->kid[1], behind);
}

static void puzzle_check(const struct puzzle *p)
{
	const struct tcp_sock *tp = tcp_of(p->sk);
	uint32_t at = tp->rcv_nxt - tp->irs - 1, behind = tp->rcv_nxt, waits = 0;

	assert_true(at > STREAM || !p->sent[at]);
	for (uint32_t i = 0; i < at; i++)
		assert_true(p->sent[i]);
	while (++at <= STREAM)
		waits += p->sent[at];
	assert_int_equal(tp->ooo != NULL ? runs_walk(p, tp->ooo->root, &behind) : 0, waits);
}

/* What an ACK tells of was sent. */
static void told_is_true(const struct puzzle *p, const struct script_seg *seg)
{
	for (unsigned i = 0; i < seg->h.sacks_n; i++) {
		for (uint32_t at = seg->h.sacks[i].lo; at != seg->h.sacks[i].hi; at++)
			assert_true(p->sent[at - p->s->iss - 1]);
	}
}

/* Pieces of a stream, of any length, as often as chance will have it; some lie over many others. */
T(receiver__pieces_in_any_order__the_stream_is_right)
{
	(void)state;
	for (unsigned seed = 0; seed < 20; seed++) {
		struct puzzle p = {.s = script_new(1), .random = seed};

		p.s->sack_ok = true;
		p.sk = script_established_passive(p.s, NULL);
		for (uint32_t i = 0; i < STREAM; i++)
			p.data[i] = script_byte(i);
		while (script_state(p.sk) != TCP_CLOSE_WAIT) {
			uint32_t at = draw(&p, STREAM), len = 1 + draw(&p, draw(&p, 20) == 0 ? 500 : 8);
			bool fin = at + len >= STREAM;

			len = fin ? STREAM - at : len;
			for (uint32_t i = at; i < at + len + fin; i++)
				p.sent[i] = true;
			script_send(p.s, TCP_ACK | (fin ? TCP_FIN : 0), 1 + at, 1, p.data + at, len);
			for (; p.s->head != p.s->tail; p.s->head++)
				told_is_true(&p, &p.s->segs[p.s->head % SCRIPT_SEGS]);
			puzzle_check(&p);
		}
		assert_int_equal(sock_recv_copy(p.sk, p.got, STREAM), STREAM);
		assert_memory_equal(p.got, p.data, STREAM);
		assert_null(tcp_of(p.sk)->ooo);
		script_gone(p.s, p.sk);
	}
}

/* --- what the peer is told (RFC2018:4) ------------------------------------------------------------------- */

T(receiver__many_gaps__those_told_last_are_told_again)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);

	for (uint32_t i = 1; i <= 6; i++) {
		script_send(s, TCP_ACK, i * 100, 1, "abc", 3);
		if (i < 6)
			script_expect(s, TCP_ACK, 1, 1, 0);
	}
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {600, 603}, {500, 503}, {400, 403}, {300, 303});
	script_send(s, TCP_ACK, 203, 1, "d", 1); /* what grows is news */
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {200, 204}, {600, 603}, {500, 503}, {400, 403});
	script_gone(s, sk);
}

/* One ACK has room for four, or three beside a timestamp: a sender that does not hear of the others takes them for lost. */
T(receiver__burst_with_many_gaps__all_are_told)
{
	START;
	s->sack_ok = true;
	struct sock *sk = script_established_passive(s, NULL);
	bool told_of[40] = {false};
	unsigned acks = 0, sum = 0;

	for (uint32_t i = 1; i < 40; i++)
		script_queue(s, TCP_ACK, 1 + i * 2, 1, "a", 1);
	script_wait(s, MS);
	for (; s->head != s->tail; s->head++, acks++) {
		const struct script_seg *seg = &s->segs[s->head % SCRIPT_SEGS];

		for (unsigned i = 0; i < seg->h.sacks_n; i++)
			told_of[(seg->h.sacks[i].lo - s->iss - 1) / 2] = true;
	}
	for (unsigned i = 0; i < 40; i++)
		sum += told_of[i];
	assert_int_equal(sum, 39);
	assert_in_range(acks, 10, TCP_SACK_ACKS);
	script_gone(s, sk);
}

/* --- how much may wait ---------------------------------------------------------------------------------- */

/* Segments 1 to 6, of which so many may wait; then the first, and those that were dropped. */
static void room_for(struct script *s, uint32_t room)
{
	struct sock *sk = script_established_passive(s, NULL);
	char got[10];

	for (uint32_t i = 1; i <= 6; i++)
		script_send(s, TCP_ACK, 1 + i, 1, &"0123456"[i], 1);
	assert_int_equal(tcp_of(sk)->ooo->n, room);
	assert_int_equal(s->e->counters.tcp_ooo_drop, 6 - room);
	assert_int_equal(s->e->tcp->runs.used, 1);
	while (s->head + 1 != s->tail)
		s->head++;
	BLOCKS(s, script_expect(s, TCP_ACK, 1, 1, 0), {2, 2 + room});
	script_send(s, TCP_ACK, 1, 1, "0", 1);
	script_expect(s, TCP_ACK, 1, 2 + room, 0);
	script_send(s, TCP_ACK, 2 + room, 1, &"123456"[room], 6 - room);
	script_expect(s, TCP_ACK, 1, 8, 0);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 7);
	assert_memory_equal(got, "0123456", 7);
	script_gone(s, sk);
}

T(receiver__more_than_may_wait__dropped_and_not_told)
{
	START;
	s->sack_ok = true;
	s->e->tcp->config.out_of_order = 4;
	room_for(s, 4);
}

T(receiver__one_connection__has_no_more_than_it_leaves_for_others)
{
	START;
	s->sack_ok = true;
	s->e->tcp->ooo_max = 6;
	room_for(s, 3);
}

/* Ten thousand segments under way, and every fifth is lost: each goes once more, and nothing else. */
T(ten_thousand_under_way__two_thousand_holes__each_goes_once_more)
{
	const struct plan plan = {.link = {.delay_ns = 100 * MS}, .bytes = 20 << 20, .queue = 20 << 20, .write_most = 60000,
		.rcvbuf = 16 << 20};
	struct tcp_sock *tp;
	struct run *r;
	uint64_t lost, begin;

	(void)state;
	world_tcp.rmem_max = 64u << 20;
	world_tcp.pacing_window = 0;
	r = run_new(&plan, 1);
	world_tcp = engine_tcp_defaults;
	r->server.total = 1;
	tp = tcp_of(r->client.sk);
	while (r->server.sk == NULL)
		run_step(r);
	tp->cwnd = 10000 * tp->mss;
	r->w->link.drop_nth = 5;
	while (tp->snd_max - tp->snd_una < 10000 * tp->mss)
		run_step(r);
	r->w->link.drop_nth = 0;
	lost = r->w->wire[1].large / 5;
	assert_true(lost >= 2000);
	for (begin = r->w->now_ns; !run_done(r);) {
		run_step(r);
		assert_true(r->w->now_ns - begin < 10 * SEC);
	}
	assert_int_equal(tp->total_retrans, lost);
	assert_int_equal(r->w->host[0].e->counters.tcp_timeouts, 0);
	assert_int_equal(r->w->host[1].e->counters.tcp_ooo_drop, 0);
	(void)run_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver__all_of_a_segment_again__dsack_of_it_once),
		cmocka_unit_test(receiver__part_of_a_segment_again__dsack_of_that_part),
		cmocka_unit_test(receiver__what_waits_comes_again__dsack_then_its_block),
		cmocka_unit_test(receiver__what_closes_the_gap_brings_more__dsack_of_what_waited),
		cmocka_unit_test(receiver__no_sack__no_dsack),
		cmocka_unit_test(receiver__no_room_for_gaps__dropped_and_counted__goes_on),
		cmocka_unit_test(receiver__more_gaps_than_can_be_told__all_is_kept),
		cmocka_unit_test(receiver__pieces_in_any_order__the_stream_is_right),
		cmocka_unit_test(receiver__many_gaps__those_told_last_are_told_again),
		cmocka_unit_test(receiver__burst_with_many_gaps__all_are_told),
		cmocka_unit_test(receiver__more_than_may_wait__dropped_and_not_told),
		cmocka_unit_test(receiver__one_connection__has_no_more_than_it_leaves_for_others),
		cmocka_unit_test(ten_thousand_under_way__two_thousand_holes__each_goes_once_more),
	};

	world_eal_init_large("tcp_ooo", 98303);
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
