/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer that tells what no honest one would, to make work: what it costs is bounded, and the connection goes on. What strangers
 * send is in tcp_states.c, tcp_table.c and tcp_flood.c; what comes out of order, in tcp_ooo.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/tcp/tcp_loss.h"
#include "tests/world/flight.h"

static void sack(struct script *s, uint32_t lo, uint32_t hi)
{
	s->sacks_n = 1;
	s->sacks[0] = (struct range){lo, hi};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->sacks_n = 0;
	s->head = s->tail;
}

/* CVE-2019-11478: each block cuts two pieces off what is under way. */
T(sack_blocks__of_single_bytes__few_records)
{
	START;
	struct sock *sk = ten_under_way(s);

	for (uint32_t i = 1; i < 10 * N; i += 2)
		sack(s, 1 + i, 2 + i);
	assert_in_range(s->e->tcp->xmits.used, 2, 64 + 2 * 10 + 20);
	told(s, 10, 0, 0);
	assert_int_equal(sk->tx_acked, 10 * N);
	assert_int_equal(tcp_of(sk)->in_recovery, 0);
	script_wait(s, MS);
	script_gone(s, sk);
}

#define MANY 9000u
#define SMALL 100u

/* A block behind thousands of others is not found by one ACK, but by the third. */
T(sack_block__far_behind_the_last__found_in_pieces)
{
	START;
	s->sack_ok = s->has_wscale = true;
	s->wscale = 7;
	s->mss = SMALL;
	struct sock *sk = script_established_passive(s, NULL);
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t before;

	tp->cwnd = MANY * SMALL;
	for (uint32_t i = 0; i < MANY; i += MANY / 18) {
		script_write(s, sk, MANY / 18 * SMALL);
		script_wait(s, MS);
		s->head = s->tail;
	}
	assert_int_equal(tp->snd_max - tp->snd_una, MANY * SMALL);
	for (uint32_t i = 1; i < MANY - 2; i += 2)
		sack(s, 1 + i * SMALL, 1 + (i + 1) * SMALL);
	sack(s, 1 + 2 * SMALL, 1 + 3 * SMALL);
	before = tp->loss->sacked_bytes;
	assert_int_equal(s->e->counters.tcp_sack_far, 0);
	for (uint64_t put_off = 1; put_off <= 2; put_off++) {
		sack(s, 1 + (MANY - 1) * SMALL, 1 + MANY * SMALL);
		assert_int_equal(s->e->counters.tcp_sack_far, put_off);
		assert_int_equal(tp->loss->sacked_bytes, before);
	}
	sack(s, 1 + (MANY - 1) * SMALL, 1 + MANY * SMALL);
	assert_int_equal(s->e->counters.tcp_sack_far, 2);
	assert_int_equal(tp->loss->sacked_bytes, before + SMALL);
	script_send(s, TCP_ACK, 1, 1 + MANY * SMALL, NULL, 0);
	assert_int_equal(sk->tx_acked, MANY * SMALL);
	script_wait(s, MS);
	script_gone(s, sk);
}

/* Segments that may only be late are waited for each by itself: an ACK looks at the first of them only. */
T(reordering_was_seen__sent_at_two_times__each_lost_at_its_own)
{
	START;
	struct sock *sk = ten_under_way(s);
	struct tcp_sock *tp = tcp_of(sk);
	uint64_t begin;

	tp->cwnd = 20 * N;
	tp->reordering = 1;
	script_wait(s, 4 * MS);
	script_write(s, sk, 2 * N);
	script_expect_in(s, 0, TCP_ACK, 1 + 10 * N, 1, N);
	script_expect_in(s, 0, TCP_ACK, 1 + 11 * N, 1, N);
	script_wait(s, RTT);
	begin = s->w->now_ns;
	told(s, 9, 11, 12); /* the tenth and the eleventh are missing */
	comes(s, 9, begin, RTT / MS / 4);
	comes(s, 10, begin, RTT / MS / 4 + 4);
	script_gone(s, sk);
}

/* What we may send in one segment says nothing of what the peer sends in one: each has one duplicate ACK. */
T(out_of_order__of_a_peer_that_takes_small_ones_only__one_ack_each)
{
	START;
	static const uint8_t data[1000];
	s->mss = 88;
	struct sock *sk = script_established_passive(s, NULL);

	for (uint32_t i = 1; i <= 3; i++) {
		script_send(s, TCP_ACK, 1 + i * 1000, 1, data, sizeof(data));
		script_expect(s, TCP_ACK, 1, 1, 0);
		script_quiet(s, MS);
	}
	script_gone(s, sk);
}

/* --- whatever it told, when it is honest again the connection goes on --------------------------------------- */

static uint64_t dice;

static uint32_t draw(uint32_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 16) % below;
}

/* What the peer has of us: it acknowledges what it likes, and stands by it. */
struct liar {
	uint32_t told, sent; /* numbers: acknowledged, and behind the last that we sent */
	uint32_t came;       /* bytes of its own that we have, */
	uint32_t top;        /* and behind the last that it sent within our window, gaps or not */
};

static void hear(struct script *s, struct liar *l)
{
	for (; s->head != s->tail; s->head++) {
		const struct script_seg *seg = &s->segs[s->head % SCRIPT_SEGS];

		assert_false(seg->h.flags & TCP_RST);
		l->sent = seq_max(l->sent, seg->seq + seg->len + ((seg->h.flags & TCP_FIN) != 0));
		l->came = seq_max(l->came, seg->ack - 1);
	}
}

static void lie(struct script *s, struct liar *l, uint32_t edge)
{
	static const uint16_t windows[] = {0, 0, 1, 100, 1000, 1460, 4000, 65535, 65535, 65535};
	static const char data[4000];
	uint32_t way = l->sent - l->told, at = l->told, seq = l->came + 1, len;
	uint8_t flags = TCP_ACK | (draw(8) == 0 ? TCP_ECE : 0) | (draw(8) == 0 ? TCP_CWR : 0);

	if (draw(2) == 0)
		s->wnd = windows[draw(10)];
	if (way > 0 && draw(3) == 0)
		at = l->told += 1 + draw(draw(2) ? way : (way < 1460 ? way : 1460));
	else if (draw(6) == 0)
		at -= draw(2000);
	s->sacks_n = 0;
	for (uint32_t i = draw(4); s->sack_ok && way > 0 && i > 0; i--) {
		uint32_t lo = l->told + draw(way), hi = lo + 1 + draw(3000);

		s->sacks[s->sacks_n++] = (struct range){lo, draw(4) && seq_gt(hi, l->sent) ? l->sent : hi};
	}
	s->tsval += draw(20);
	s->tsecr -= draw(4) == 0 ? draw(1000) : 0;
	seq += draw(4) == 0 ? draw(5000) : 0;
	len = draw(3) == 0 ? draw(3000) : 0;
	l->top = seq_max(l->top, seq_min(seq + len, edge));
	script_queue(s, flags, len == 0 && draw(2) ? l->top : seq, at, data, len);
	s->sacks_n = 0;
}

/* What else changes under a connection, of its own host and the way. */
static void meddle(struct script *s, const struct liar *l, struct sock *sk)
{
	static const char *const algorithms[] = {
#define X(name) #name,
#include "stack/core/tcp_congestion.def"
#undef X
	};
	const struct icmp_error err = {.error = CV_EMSGSIZE,
		.mtu = (uint16_t)(500 + draw(1100)),
		.local = world_endpoint(0, s->port),
		.peer = world_endpoint(1, s->peer_port),
		.seq = s->irs + l->told + draw(l->sent - l->told + 1)};
	const char *name = algorithms[draw(RTE_DIM(algorithms))];
	uint32_t rate;

	switch (draw(8)) {
	case 0:
		tcp_icmp_error(s->e, &err);
		break;
	case 1:
		assert_int_equal(sock_setopt(sk, CV_OPT_CONGESTION, name, (uint32_t)strlen(name)), 0);
		break;
	case 2:
		rate = 100000 + draw(10000000);
		(void)sock_setopt(sk, CV_OPT_MAX_PACING_RATE, &rate, sizeof(rate)); /* memory may be short */
		break;
	case 3:
		script_set(sk, CV_OPT_MAXSEG, 88 + (int)draw(2000));
		break;
	case 4:
		s->w->host[0].tx_bounded = !s->w->host[0].tx_bounded;
		break;
	case 5:
		script_set(sk, CV_OPT_RCVBUF, 1000 + (int)draw(100000));
		break;
	case 6:
		script_set(sk, draw(2) ? CV_OPT_CORK : CV_OPT_NODELAY, (int)draw(2));
		break;
	default:
		script_set(sk, CV_OPT_NOTSENT_LOWAT, (int)draw(10000));
		break;
	}
}

static void world_draw(struct script *s)
{
	struct tcp *t = s->e->tcp;
	struct port *p = &s->w->host[0].port;

	p->tso = draw(3) ? PORT_TSO_NONE : draw(2) ? PORT_TSO_SOFTWARE : PORT_TSO_TRUSTED;
	p->tso_max = 65535;
	p->mtu = draw(2) ? 1500 : 9000;
	assert_int_equal(net_port_changed(s->e, p), 0);
	s->mss = (uint16_t)(draw(2) ? 1460 : 100 + draw(9000));
	t->config.mtu_probing = draw(3);
	t->config.ecn = draw(3);
	t->config.pacing_window = draw(2) ? 10000 : 0;
	t->config.pacing_rtt = draw(2);
	if (draw(2) == 0)
		return;
	t->xmits.max = draw(30);
	t->losses.max = draw(2);
	t->ooos.max = draw(2);
	t->runs.max = draw(10);
	t->paces.max = draw(2);
	t->plpmtuds.max = draw(2);
}

static void lie_for_a_while(struct script *s, struct liar *l, struct sock *sk)
{
	static const uint64_t waits[] = {0, 0, 0, 1, 5, 30, 100, 250, 1000};
	static char got[65536];

	for (uint32_t n = 30 + draw(100); n > 0; n--) {
		if (draw(3) == 0)
			script_write(s, sk, 1 + draw(draw(2) ? 20000 : 100));
		if (draw(10) == 0)
			meddle(s, l, sk);
		s->w->host[0].tx_room = (uint16_t)draw(6);
		for (uint32_t burst = draw(4); burst > 0; burst--)
			lie(s, l, tcp_of(sk)->rcv_adv - s->iss);
		script_wait(s, waits[draw(9)] * MS);
		(void)sock_recv_copy(sk, got, sizeof(got));
		hear(s, l);
	}
	script_set(sk, CV_OPT_CORK, 0);
	s->w->host[0].tx_bounded = false;
}

/* It keeps what comes, as far as it has room for gaps, and tells so. */
static void take(struct script *s, struct liar *l, struct ranges *kept, const struct script_seg *seg)
{
	uint32_t end = seg->seq + seg->len + ((seg->h.flags & TCP_FIN) != 0);

	s->sacks_n = 0;
	if (seq_leq(seg->seq, l->told))
		l->told = seq_max(l->told, end);
	else if (s->sack_ok && ranges_add(kept, seg->seq, end))
		s->sacks[s->sacks_n++] = *ranges_find(kept, seg->seq);
	while (kept->n > 0 && seq_leq(kept->r[0].lo, l->told)) {
		l->told = seq_max(l->told, kept->r[0].hi);
		ranges_drop_below(kept, l->told);
	}
}

static void be_honest(struct script *s, struct liar *l, struct sock *sk)
{
	uint64_t until = s->w->now_ns + 2000 * SEC;
	struct range room[64];
	struct ranges kept;

	ranges_init(&kept, room, RTE_DIM(room));
	s->wnd = 65535;
	while (script_state(sk) != TCP_FIN_WAIT_2 && s->w->now_ns < until) {
		const struct script_seg *seg = script_next(s, 200 * SEC);

		if (seg == NULL)
			break;
		assert_false(seg->h.flags & TCP_RST);
		if (seg->len == 0 && !(seg->h.flags & TCP_FIN) && seg->seq + 1 != l->told)
			continue;
		s->tsval++;
		s->tsecr = seg->h.tsval;
		take(s, l, &kept, seg);
		script_send(s, TCP_ACK, l->top, l->told, NULL, 0);
		s->sacks_n = 0;
	}
}

T(peer__lies_and_then_is_honest__everything_arrives)
{
	const char *one = getenv("SEED");
	uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1, last = one != NULL ? first : 400;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		struct script *s = script_new(seed);
		struct liar l = {.told = 1, .sent = 1, .top = 1};
		struct sock *sk;

		dice = (seed + 11) * 0x9e3779b97f4a7c15ull;
		s->forgets = true;
		s->sack_ok = draw(4) != 0;
		s->ts = draw(2);
		s->has_wscale = draw(2);
		s->wscale = (uint8_t)draw(3);
		world_draw(s);
		sk = script_established_passive(s, NULL);
		lie_for_a_while(s, &l, sk);
		sock_shutdown_wr(sk);
		be_honest(s, &l, sk);
		if (script_state(sk) != TCP_FIN_WAIT_2)
			fail_msg("seed %llu: %s, error %u, %u of %u bytes", (unsigned long long)seed,
				tcp_state_name(script_state(sk)), sk->error, (uint32_t)sk->tx_acked,
				(uint32_t)sk->tx_taken);
		script_gone(s, sk);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sack_blocks__of_single_bytes__few_records),
		cmocka_unit_test(sack_block__far_behind_the_last__found_in_pieces),
		cmocka_unit_test(reordering_was_seen__sent_at_two_times__each_lost_at_its_own),
		cmocka_unit_test(out_of_order__of_a_peer_that_takes_small_ones_only__one_ack_each),
		cmocka_unit_test(peer__lies_and_then_is_honest__everything_arrives),
	};

	world_eal_init_large("tcp_hostile", 98303);
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
