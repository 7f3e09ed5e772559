/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dpdk/nap.h"

static void pause__is_lengthened_by_an_eighth_at_most(void **state)
{
	uint64_t looked = 0;

	(void)state;
	for (uint64_t came = 1000; came < 100000000; came += 1000) {
		while (looked < came)
			looked += nap_ns(looked);
		assert_true(looked - came <= NAP_LEAST_NS || looked - came <= came / 8);
	}
}

static void idle_second__costs_some_thousand_looks(void **state)
{
	uint64_t now = 0, looks = 0;

	(void)state;
	for (; now < 1000000000; looks++)
		now += nap_ns(now);
	assert_in_range(looks, 1000, 1040);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pause__is_lengthened_by_an_eighth_at_most),
		cmocka_unit_test(idle_second__costs_some_thousand_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
