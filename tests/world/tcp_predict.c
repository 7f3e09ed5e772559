/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Header prediction and merged bursts against the steps, segment by segment: the same conversation with two engines, of
 * which one gets every segment with an URG flag without an urgent pointer. That means nothing (RFC6093), but such a
 * segment is not merged with others and takes the steps. What both send, when, and what they say of the connection must
 * be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

#define STEPS 400
#define WINDOW 20000u /* of the engine's bytes that the peer lets be under way */

/* A conversation from one seed: what the peer does depends on the seed and on what the engine sent only. */
struct talk {
	struct script *s;
	struct sock *sk;
	uint8_t urg;
	uint32_t draws;
	uint32_t seq, ack; /* of the peer: sent, and got in order, relative */
	uint32_t acked;    /* what its last burst acknowledged */
	uint64_t hash;     /* of all that the engine sent, with the times */
	uint32_t sent;
};

static uint32_t draw(struct talk *t, uint32_t n)
{
	t->draws = t->draws * 1664525u + 1013904223u;
	return (t->draws >> 8) % n;
}

static void hash_add(struct talk *t, uint64_t v)
{
	t->hash = (t->hash ^ v) * 0x100000001b3ull;
}

static void look(struct talk *t)
{
	struct script *s = t->s;

	for (; s->head != s->tail; s->head++) {
		const struct script_seg *seg = &s->segs[s->head % SCRIPT_SEGS];

		hash_add(t, seg->at_ns);
		hash_add(t, (uint64_t)seg->seq << 32 | seg->ack);
		hash_add(t, (uint64_t)seg->len << 32 | seg->h.flags);
		hash_add(t, (uint64_t)seg->h.wnd << 32 | seg->h.tsecr);
		for (unsigned i = 0; i < seg->h.sacks_n; i++)
			hash_add(t, (uint64_t)seg->h.sacks[i].lo << 32 | seg->h.sacks[i].hi);
		if (seg->seq == t->ack)
			t->ack += seg->len;
		t->sent++;
	}
}

static void say(struct talk *t, uint32_t seq, uint32_t ack, uint32_t len)
{
	static char data[1460];

	script_send(t->s, TCP_ACK | t->urg, seq, ack, data, len);
	look(t);
}

/* A burst of data, of ACKs piece by piece, or of both in any order. */
static void burst(struct talk *t)
{
	static char data[1460];
	uint32_t what = draw(t, 3), acked = t->acked;

	for (uint32_t n = 2 + draw(t, 30); n > 0; n--) {
		uint32_t len = what == 0 || (what == 2 && draw(t, 2)) ? 1 + draw(t, 1400) : 0;

		if (what > 0 && acked < t->ack)
			acked += 1 + draw(t, t->ack - acked);
		if (draw(t, 40) == 0)
			t->s->tsval++;
		script_queue(t->s, TCP_ACK | t->urg, t->seq, acked, data, len);
		t->seq += len;
	}
	t->acked = acked;
	script_wait(t->s, 0);
	look(t);
}

static void step(struct talk *t)
{
	static uint8_t buf[65536];
	uint32_t len = 1 + draw(t, 1400), back = draw(t, 3000);

	t->s->tsval += draw(t, 3);
	switch (draw(t, 18)) {
	case 0: /* out of order, and mostly filled by what comes next */
		say(t, t->seq + len, t->ack, draw(t, 2) * len);
		break;
	case 1: /* old, whole or in part */
		say(t, t->seq > back ? t->seq - back : 1, t->ack, len);
		break;
	case 2: /* an old ACK, a duplicate, or one of what was never sent */
		say(t, t->seq, t->ack > 1 ? t->ack - draw(t, 2) : t->ack + draw(t, 2) * 70000, draw(t, 2) * len);
		break;
	case 3: /* another window */
		t->s->wnd = (uint16_t)(2000 + draw(t, 60000));
		say(t, t->seq, t->ack, 0);
		break;
	case 4: /* an old timestamp */
		t->s->tsval -= 100;
		say(t, t->seq, t->ack, len);
		t->s->tsval += 100;
		break;
	case 5:
		script_wait(t->s, draw(t, 300) * MS);
		look(t);
		break;
	case 6:
	case 7:
		(void)sock_recv_copy(t->sk, buf, 1 + draw(t, sizeof(buf)));
		break;
	case 8:
	case 9:
		if (t->sk->tx_taken - t->sk->tx_acked < WINDOW)
			script_write(t->s, t->sk, 1 + draw(t, 4000));
		script_wait(t->s, 0);
		look(t);
		break;
	case 10:
	case 11:
		say(t, t->seq, t->ack, 0);
		break;
	case 12:
	case 13:
	case 14:
		burst(t);
		break;
	default:
		say(t, t->seq, t->ack, len);
		t->seq += len;
	}
}

static void talk(struct talk *t, uint32_t seed, bool predicted, struct cv_tcp_info *info)
{
	uint32_t len = sizeof(*info);

	*t = (struct talk){.s = script_new(seed), .urg = predicted ? 0 : TCP_URG, .draws = seed, .seq = 1,
		.ack = 1, .acked = 1};
	t->s->ts = seed % 4 != 0;
	t->s->sack_ok = seed % 2 != 0;
	t->s->has_wscale = seed % 8 < 4;
	t->s->wscale = 2;
	t->sk = script_established_passive(t->s, NULL);
	for (int i = 0; i < STEPS; i++)
		step(t);
	assert_int_equal(sock_getopt(t->sk, CV_OPT_TCP_INFO, info, &len), 0);
	sock_close(t->sk, true);
	script_free(t->s);
}

static void any_conversation__merged_and_predicted_or_neither__the_same(void **state)
{
	uint32_t sent = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct talk with, without;
		struct cv_tcp_info info[2];

		memset(info, 0, sizeof(info));
		talk(&with, seed, true, &info[0]);
		talk(&without, seed, false, &info[1]);
		if (with.hash != without.hash || memcmp(&info[0], &info[1], sizeof(info[0])) != 0)
			fail_msg("seed %u: predicted: %u segments, acked %llu; else %u, acked %llu", seed,
				with.sent, (unsigned long long)info[0].bytes_acked, without.sent,
				(unsigned long long)info[1].bytes_acked);
		sent += with.sent;
	}
	assert_true(sent > 60 * STEPS / 4); /* it was a conversation */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_conversation__merged_and_predicted_or_neither__the_same),
	};

	world_eal_init("tcp_predict");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
