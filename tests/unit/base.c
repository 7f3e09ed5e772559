/* SPDX-License-Identifier: BSD-3-Clause */
/* Range sets, pools, the bounded reader, addresses, and the keyed hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "stack/base/bytes.h"
#include "stack/base/pool.h"
#include "stack/base/ranges.h"
#include "stack/base/seq.h"
#include "stack/base/siphash.h"

struct ranges_8 {
	struct ranges s;
	struct range room[8];
};

/* Ranges against a bitmap, over the wrap of the sequence space. */
static void ranges__random_adds_and_drops__agree_with_a_bitmap(void **state)
{
	enum { SPAN = 256 };
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		uint32_t base = 0xffffffff - (uint32_t)(rand_r(&seed) % SPAN);
		struct ranges_8 set;
		uint8_t map[SPAN] = {0};

		ranges_init(&set.s, set.room, 8);
		for (int step = 0; step < 60; step++) {
			uint32_t lo = (uint32_t)rand_r(&seed) % SPAN;
			uint32_t hi = lo + 1 + (uint32_t)rand_r(&seed) % (SPAN - lo);
			uint32_t n = 0;

			if (rand_r(&seed) % 10 == 0) {
				ranges_drop_below(&set.s, base + lo);
				memset(map, 0, lo);
			} else if (ranges_add(&set.s, base + lo, base + hi)) {
				memset(map + lo, 1, hi - lo);
			} else {
				assert_int_equal(set.s.n, 8);
			}
			for (uint32_t i = 0; i < SPAN; i++) {
				n += map[i];
				assert_int_equal(ranges_find(&set.s, base + i) != NULL, map[i]);
			}
			assert_int_equal(ranges_count(&set.s), n);
			for (uint32_t i = 1; i < set.s.n; i++)
				assert_true(seq_lt(set.s.r[i - 1].hi, set.s.r[i].lo));
		}
	}
}

static void ranges__full__refuses_a_new_one_but_still_merges(void **state)
{
	struct ranges_8 set;

	(void)state;
	ranges_init(&set.s, set.room, 8);
	for (uint32_t i = 0; i < 8; i++)
		assert_true(ranges_add(&set.s, i * 10, i * 10 + 5));
	assert_false(ranges_add(&set.s, 1000, 1001));
	assert_false(ranges_add(&set.s, 7, 7));
	assert_true(ranges_add(&set.s, 5, 10));
	assert_int_equal(set.s.n, 8 - 1);
	assert_int_equal(ranges_find(&set.s, 7)->hi, 15);
}

static void pool__limit_and_reuse(void **state)
{
	struct pool p;
	void *a, *b;

	(void)state;
	assert_int_equal(pool_init(&p, 40, 2), 0);
	a = pool_get(&p);
	b = pool_get(&p);
	assert_true(a != NULL && b != NULL && a != b);
	assert_int_equal((uintptr_t)a % 64, 0);
	assert_null(pool_get(&p));
	pool_put(&p, a);
	assert_int_equal(p.used, 1);
	assert_ptr_equal(pool_get(&p), a);
	pool_fini(&p);
}

static void bytes__read_beyond_the_end__is_zero_and_remembered(void **state)
{
	const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7};
	struct bytes b = bytes_over(data, sizeof(data));

	(void)state;
	assert_int_equal(bytes_be32(&b), 0x01020304);
	assert_int_equal(bytes_be16(&b), 0x0506);
	assert_false(b.bad);
	assert_int_equal(bytes_be16(&b), 0);
	assert_true(b.bad);
	assert_int_equal(bytes_u8(&b), 0); /* one byte is left, but what follows cannot be trusted */
}

static void addr__kinds(void **state)
{
	uint8_t v4[ADDR_BYTES], any[ADDR_BYTES] = {0}, net[ADDR_BYTES];

	(void)state;
	addr_from_v4(v4, (const uint8_t[]){10, 1, 2, 3});
	addr_from_v4(net, (const uint8_t[]){10, 1, 0, 0});
	assert_true(addr_is_v4(v4) && !addr_is_any(v4) && addr_is_any(any));
	assert_true(addr_in_prefix(v4, net, 96 + 16) && addr_in_prefix(v4, net, 96 + 22));
	assert_false(addr_in_prefix(v4, net, 96 + 23));
	addr_from_v4(v4, (const uint8_t[]){0, 0, 0, 0});
	assert_true(addr_is_any(v4));
	addr_from_v4(v4, (const uint8_t[]){224, 0, 0, 1});
	assert_true(addr_is_multicast(v4));
	any[15] = 1;
	assert_true(addr_is_loopback(any) && !addr_is_any(any));
}

/* Test vectors of the SipHash paper's reference: key 00..0f, input 00..n-1. */
static void siphash__reference_vectors(void **state)
{
	const struct siphash_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	const uint64_t words[] = {0x0706050403020100ull};

	(void)state;
	assert_true(siphash(&key, words, 0) == 0x726fdb47dd0e0e31ull);
	assert_true(siphash(&key, words, 1) == 0x93f5f5799a932462ull);
}

/* As CPython computes hash(bytes(range(12))) and hash(bytes(range(36))) with PYTHONHASHSEED=0, whose key is 0. */
static void siphash13__other_implementations_vectors(void **state)
{
	const struct siphash_key key = {0, 0};
	const uint64_t words[] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull, 0x1716151413121110ull,
		0x1f1e1d1c1b1a1918ull};

	(void)state;
	assert_true(siphash13(&key, words, 1, 0x0b0a0908) == 0xa6baf4fb0f9fe1c2ull);
	assert_true(siphash13(&key, words, 4, 0x23222120) == 0xac77921fcc642bd3ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges__random_adds_and_drops__agree_with_a_bitmap),
		cmocka_unit_test(ranges__full__refuses_a_new_one_but_still_merges),
		cmocka_unit_test(pool__limit_and_reuse),
		cmocka_unit_test(bytes__read_beyond_the_end__is_zero_and_remembered),
		cmocka_unit_test(addr__kinds),
		cmocka_unit_test(siphash__reference_vectors),
		cmocka_unit_test(siphash13__other_implementations_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
