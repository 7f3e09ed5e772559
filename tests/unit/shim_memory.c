/* SPDX-License-Identifier: BSD-3-Clause */
/* The library's own memory (shim/memory.h). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/memory.h"

static const size_t sizes[] = {1, 64, 65, 4096, 100000, 1u << 20, (1u << 20) + 1, 5u << 20};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static bool is_all(const unsigned char *p, size_t bytes, unsigned char value)
{
	for (size_t i = 0; i < bytes; i++) {
		if (p[i] != value)
			return false;
	}
	return true;
}

static void get__zeroed_and_aligned_also_when_used_before(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < SIZES; i++) {
			unsigned char *p = memory_get(sizes[i]);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % MEMORY_ALIGN, 0);
			assert_true(is_all(p, sizes[i], 0));
			memset(p, 0xa5, sizes[i]);
			memory_put(p, sizes[i]);
		}
	}
}

static void put__the_next_of_that_size_gets_it(void **state)
{
	void *p = memory_get(3000), *q;

	(void)state;
	memory_put(p, 3000);
	q = memory_get(4096);
	assert_ptr_equal(p, q);
	memory_put(q, 4096);
	memory_put(NULL, 100);
}

static void get__more_than_there_is__null(void **state)
{
	(void)state;
	assert_null(memory_get((size_t)1 << 60));
	assert_null(memory_grow(NULL, 0, (size_t)1 << 60));
}

static void grow__keeps_what_was_there_and_zeroes_the_rest(void **state)
{
	unsigned char *p = NULL;
	size_t old = 0;

	(void)state;
	for (size_t i = 0; i < SIZES; i++) {
		p = memory_grow(p, old, sizes[i]);
		assert_non_null(p);
		assert_true(is_all(p, old, 0x5a));
		assert_true(is_all(p + old, sizes[i] - old, 0));
		memset(p, 0x5a, sizes[i]);
		old = sizes[i];
	}
	memory_put(p, old);
}

/* --- no two have the same, however they interleave ------------------------------------------------- */

#define THREADS 4
#define ROUNDS 20000
#define HELD 8

static unsigned damaged;

static void *take_and_give(void *arg)
{
	unsigned char mine = (unsigned char)(uintptr_t)arg, *held[HELD] = {NULL};

	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned char **slot = &held[round * 5 % HELD];

		if (*slot && !is_all(*slot, 100, mine))
			__atomic_fetch_add(&damaged, 1, __ATOMIC_RELAXED);
		memory_put(*slot, 100);
		*slot = memory_get(100);
		if (!*slot || !is_all(*slot, 100, 0))
			__atomic_fetch_add(&damaged, 1, __ATOMIC_RELAXED);
		else
			memset(*slot, mine, 100);
	}
	for (unsigned i = 0; i < HELD; i++)
		memory_put(held[i], 100);
	return NULL;
}

static void threads__each_piece_has_one_holder(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(damaged, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get__zeroed_and_aligned_also_when_used_before),
		cmocka_unit_test(put__the_next_of_that_size_gets_it),
		cmocka_unit_test(get__more_than_there_is__null),
		cmocka_unit_test(grow__keeps_what_was_there_and_zeroes_the_rest),
		cmocka_unit_test(threads__each_piece_has_one_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
