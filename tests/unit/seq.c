/* SPDX-License-Identifier: BSD-3-Clause */
/* Sequence arithmetic: RFC9293:3.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "stack/base/seq.h"

static const uint32_t bases[] = {0, 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
#define EACH_BASE(b) for (size_t i_ = 0, b; i_ < 6 && ((b = bases[i_]), 1); i_++)

static void later__anywhere_on_the_circle__is_greater(void **state)
{
	static const uint32_t ahead[] = {1, 2, 1000, 0x40000000, 0x7fffffff};

	(void)state;
	EACH_BASE(base) {
		for (size_t j = 0; j < 5; j++) {
			uint32_t a = (uint32_t)base, b = a + ahead[j];

			assert_true(seq_lt(a, b) && seq_leq(a, b) && seq_gt(b, a) && seq_geq(b, a));
			assert_false(seq_lt(b, a) || seq_leq(b, a) || seq_gt(a, b) || seq_geq(a, b));
			assert_int_equal(seq_diff(b, a), ahead[j]);
			assert_int_equal(seq_max(a, b), b);
			assert_int_equal(seq_min(a, b), a);
		}
	}
}

static void equal__anywhere__is_neither_before_nor_after(void **state)
{
	(void)state;
	EACH_BASE(base) {
		uint32_t a = (uint32_t)base;

		assert_true(seq_leq(a, a) && seq_geq(a, a));
		assert_false(seq_lt(a, a) || seq_gt(a, a));
	}
}

static void in__half_open_window__over_the_wrap(void **state)
{
	(void)state;
	EACH_BASE(base) {
		uint32_t lo = (uint32_t)base, hi = lo + 100;

		assert_true(seq_in(lo, lo, hi) && seq_in(hi - 1, lo, hi));
		assert_false(seq_in(hi, lo, hi) || seq_in(lo - 1, lo, hi) || seq_in(lo, lo, lo));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later__anywhere_on_the_circle__is_greater),
		cmocka_unit_test(equal__anywhere__is_neither_before_nor_after),
		cmocka_unit_test(in__half_open_window__over_the_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
