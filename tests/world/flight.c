/* SPDX-License-Identifier: BSD-3-Clause */
/* See flight.h. */
#include "tests/world/flight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

void blocks_are(const struct script *s, const struct script_seg *seg, const struct range *r, unsigned n)
{
	assert_int_equal(seg->h.sacks_n, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(seg->h.sacks[i].lo - s->iss, r[i].lo);
		assert_int_equal(seg->h.sacks[i].hi - s->iss, r[i].hi);
	}
}

struct sock *ten_under_way_with(struct script *s, bool sack)
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

struct sock *ten_under_way(struct script *s)
{
	return ten_under_way_with(s, true);
}

void told(struct script *s, uint32_t ack, uint32_t lo, uint32_t hi)
{
	s->sacks_n = lo < hi;
	s->sacks[0] = (struct range){1 + lo * N, 1 + hi * N};
	script_send(s, TCP_ACK, 1, 1 + ack * N, NULL, 0);
	s->sacks_n = 0;
}

void comes(struct script *s, uint32_t i, uint64_t since_ns, uint64_t ms)
{
	const struct script_seg *seg = script_expect_in(s, 2 * SEC, TCP_ACK, 1 + i * N, 1, N);
	uint64_t took = seg->at_ns - since_ns;

	if (took < ms * MS || took > (ms + 3) * MS)
		fail_msg("segment %u came after %llu us", i, (unsigned long long)took / 1000);
}
