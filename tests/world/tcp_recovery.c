/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss and its repair, rule by rule: a scripted peer against one engine (RFC2018, 2883, 6675), and two engines
 * with a link that loses what the test names. */
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver__all_of_a_segment_again__dsack_of_it_once),
		cmocka_unit_test(receiver__part_of_a_segment_again__dsack_of_that_part),
		cmocka_unit_test(receiver__what_waits_comes_again__dsack_then_its_block),
		cmocka_unit_test(receiver__what_closes_the_gap_brings_more__dsack_of_what_waited),
		cmocka_unit_test(receiver__no_sack__no_dsack),
		cmocka_unit_test(receiver__no_room_for_gaps__dropped_and_counted__goes_on),
		cmocka_unit_test(sender__no_room_for_recovery__mended_by_timeouts),
	};

	world_eal_init("tcp_recovery");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
