/* SPDX-License-Identifier: BSD-3-Clause */
/* The send buffers of a lane (shim/txbuf.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/txbuf.h"

#define SLABS 8u
#define ARENA_BYTES ((uint64_t)SLABS * TXBUF_SLAB_BYTES)

static struct txbuf_pool pool;

static int pool_open(void **state)
{
	*state = calloc(1, txbuf_memory(ARENA_BYTES));
	txbuf_init(&pool, *state, ARENA_BYTES);
	return *state ? 0 : -1;
}

static int pool_shut(void **state)
{
	free(*state);
	return 0;
}

static void take__fits_or_is_a_whole_slab(void **state)
{
	const uint32_t asked[] = {1, 256, 257, 2048, 2049, 16385, 100000};
	const uint32_t given[] = {256, 256, 2048, 2048, 16384, 65536, 65536};
	uint32_t size;

	(void)state;
	for (unsigned i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		assert_int_not_equal(txbuf_take(&pool, asked[i], &size), TXBUF_NONE);
		assert_int_equal(size, given[i]);
	}
}

static void give__last_freed_is_given_first(void **state)
{
	uint32_t size;
	uint64_t a = txbuf_take(&pool, 100, &size), b = txbuf_take(&pool, 100, &size);

	(void)state;
	assert_int_not_equal(a, b);
	assert_true(txbuf_give(&pool, a));
	assert_int_equal(txbuf_take(&pool, 100, &size), a);
}

static void give__refuses_what_is_not_given_out(void **state)
{
	uint32_t size;
	uint64_t a = txbuf_take(&pool, 2000, &size);

	(void)state;
	assert_false(txbuf_give(&pool, a + 1));
	assert_false(txbuf_give(&pool, a + TXBUF_SLAB_BYTES));
	assert_false(txbuf_give(&pool, TXBUF_NONE));
	assert_true(txbuf_give(&pool, a));
	assert_false(txbuf_give(&pool, a));
	assert_int_equal(pool.used, 0);
}

static void take__empty_slabs_change_their_size(void **state)
{
	uint64_t all[SLABS];
	uint32_t size;

	(void)state;
	for (unsigned i = 0; i < SLABS; i++)
		all[i] = txbuf_take(&pool, TXBUF_SLAB_BYTES, &size);
	assert_int_equal(txbuf_take(&pool, 1, &size), TXBUF_NONE);
	assert_true(txbuf_give(&pool, all[3]));
	assert_int_equal(txbuf_take(&pool, 1, &size), all[3]);
	assert_int_equal(size, 256);
}

/* Random taking and giving: no byte belongs to two, and at the end all is free again. */
static void swarm__no_overlap_no_leak(void **state)
{
	static uint8_t owner[ARENA_BYTES / TXBUF_SMALLEST];
	struct held {
		uint64_t offset;
		uint32_t size;
	} held[512];
	unsigned n = 0;
	uint32_t seed = 1;

	(void)state;
	memset(owner, 0, sizeof(owner));
	for (unsigned step = 0; step < 200000 || n > 0; step++) {
		seed = seed * 1664525u + 1013904223u;
		if (step < 200000 && n < 512 && (seed >> 16 & 1)) {
			struct held *h = &held[n];

			h->offset = txbuf_take(&pool, (seed >> 8) % 70000, &h->size);
			if (h->offset == TXBUF_NONE)
				continue;
			assert_true(h->offset + h->size <= ARENA_BYTES);
			for (uint64_t i = 0; i < h->size; i += TXBUF_SMALLEST)
				assert_int_equal(owner[(h->offset + i) / TXBUF_SMALLEST]++, 0);
			n++;
		} else if (n > 0) {
			struct held h = held[seed % n];

			held[seed % n] = held[n - 1];
			n--;
			assert_true(txbuf_give(&pool, h.offset));
			memset(&owner[h.offset / TXBUF_SMALLEST], 0, h.size / TXBUF_SMALLEST);
		}
	}
	assert_int_equal(pool.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(take__fits_or_is_a_whole_slab, pool_open, pool_shut),
		cmocka_unit_test_setup_teardown(give__last_freed_is_given_first, pool_open, pool_shut),
		cmocka_unit_test_setup_teardown(
			give__refuses_what_is_not_given_out, pool_open, pool_shut),
		cmocka_unit_test_setup_teardown(
			take__empty_slabs_change_their_size, pool_open, pool_shut),
		cmocka_unit_test_setup_teardown(swarm__no_overlap_no_leak, pool_open, pool_shut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
