/* SPDX-License-Identifier: BSD-3-Clause */
/* The timing wheel against a plain list of (timer, time): never early, at most a tick late, none lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/base/wheel.h"

#define TICK ((uint64_t)1 << WHEEL_TICK_SHIFT)
#define DAY_NS ((uint64_t)86400 * 1000000000)

struct probe {
	struct timer timer;
	uint64_t want_ns; /* UINT64_MAX: not set */
	uint32_t fired;
};

static uint64_t clock_ns;

static void on_fire(struct engine *e, struct timer *t)
{
	struct probe *p = cv_container_of(t, struct probe, timer);

	(void)e;
	assert_true(clock_ns >= p->want_ns);
	p->want_ns = UINT64_MAX;
	p->fired++;
}

static void probe_set(struct wheel *w, struct probe *p, uint64_t at)
{
	p->want_ns = at;
	timer_set(w, &p->timer, at);
}

static void advance(struct wheel *w, uint64_t now)
{
	clock_ns = now;
	wheel_advance(w, NULL, now, UINT32_MAX);
}

static void one_timer__any_distance__fires_once_in_time(void **state)
{
	static const uint64_t distance[] = {0, 1, TICK - 1, TICK, 255 * TICK, 256 * TICK, 257 * TICK,
		65535 * TICK, 65536 * TICK, 3 * DAY_NS, 51 * DAY_NS, 60 * DAY_NS, 400 * DAY_NS};
	static const uint64_t start[] = {0, 1, 254 * TICK, 255 * TICK, 0xffffffffull * TICK,
		(uint64_t)123456789 * 1000000};
	struct wheel *w = test_malloc(sizeof(*w));

	(void)state;
	for (size_t s = 0; s < 6; s++) {
		for (size_t d = 0; d < 13; d++) {
			struct probe p = {0};
			uint64_t at = start[s] + distance[d];

			wheel_init(w, start[s]);
			timer_init(&p.timer, on_fire);
			probe_set(w, &p, at);
			if (at > start[s] + 1) {
				advance(w, at - 1);
				assert_int_equal(p.fired, 0);
			}
			assert_true(wheel_next_ns(w) <= at + TICK);
			advance(w, at + TICK);
			assert_int_equal(p.fired, 1);
			assert_true(wheel_next_ns(w) == UINT64_MAX);
			assert_int_equal(w->armed, 0);
		}
	}
	test_free(w);
}

static uint64_t random_below(uint64_t *seed, uint64_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % n;
}

/* What is not late: nothing that was wanted a tick ago is still waiting. */
static void expect_none_late(const struct probe *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_true(p[i].want_ns == UINT64_MAX || p[i].want_ns + TICK > clock_ns);
}

static void many_timers__set_reset_deleted_at_random__none_early_late_or_lost(void **state)
{
	enum { N = 300, STEPS = 4000 };
	struct wheel *w = test_malloc(sizeof(*w));
	struct probe *p = test_calloc(N, sizeof(*p));

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t rnd = seed * 0x9e3779b97f4a7c15ull, now = random_below(&rnd, DAY_NS * 60);

		wheel_init(w, now);
		for (size_t i = 0; i < N; i++) {
			timer_init(&p[i].timer, on_fire);
			p[i].want_ns = UINT64_MAX;
		}
		for (int step = 0; step < STEPS; step++) {
			struct probe *q = &p[random_below(&rnd, N)];
			uint64_t span = (uint64_t)1 << random_below(&rnd, 50);

			if (random_below(&rnd, 4) == 0) {
				timer_del(w, &q->timer);
				q->want_ns = UINT64_MAX;
			} else {
				probe_set(w, q, now + random_below(&rnd, span));
			}
			if (random_below(&rnd, 8) == 0)
				now = wheel_next_ns(w) > now ? wheel_next_ns(w) : now;
			else
				now += random_below(&rnd, (uint64_t)1 << random_below(&rnd, 36));
			if (now == UINT64_MAX)
				break;
			advance(w, now);
			expect_none_late(p, N);
		}
		for (size_t i = 0; i < N; i++)
			assert_int_equal(timer_is_set(&p[i].timer), p[i].want_ns != UINT64_MAX);
	}
	test_free(p);
	test_free(w);
}

static struct wheel *shared;

static void on_fire_rearm(struct engine *e, struct timer *t)
{
	struct probe *p = cv_container_of(t, struct probe, timer);

	(void)e;
	p->fired++;
	timer_set(shared, t, clock_ns + 10 * TICK);
}

static void callback__that_rearms_itself__fires_once_an_advance(void **state)
{
	struct probe p = {0};

	(void)state;
	shared = test_malloc(sizeof(*shared));
	wheel_init(shared, 0);
	timer_init(&p.timer, on_fire_rearm);
	timer_set(shared, &p.timer, TICK);
	for (uint32_t i = 1; i <= 100; i++) {
		advance(shared, i * 20 * TICK);
		assert_int_equal(p.fired, i);
	}
	test_free(shared);
}

static void budget__smaller_than_what_is_due__leaves_the_rest_for_the_next_call(void **state)
{
	enum { N = 10 };
	struct probe p[N];
	struct wheel *w = test_malloc(sizeof(*w));

	(void)state;
	wheel_init(w, 0);
	for (size_t i = 0; i < N; i++) {
		p[i].fired = 0;
		timer_init(&p[i].timer, on_fire);
		probe_set(w, &p[i], 5 * TICK);
	}
	clock_ns = 6 * TICK;
	assert_int_equal(wheel_advance(w, NULL, clock_ns, 4), 4);
	assert_true(wheel_next_ns(w) <= clock_ns);
	assert_int_equal(wheel_advance(w, NULL, clock_ns, 4), 4);
	assert_int_equal(wheel_advance(w, NULL, clock_ns, 4), 2);
	assert_int_equal(wheel_advance(w, NULL, clock_ns, 4), 0);
	test_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_timer__any_distance__fires_once_in_time),
		cmocka_unit_test(
			many_timers__set_reset_deleted_at_random__none_early_late_or_lost),
		cmocka_unit_test(callback__that_rearms_itself__fires_once_an_advance),
		cmocka_unit_test(
			budget__smaller_than_what_is_due__leaves_the_rest_for_the_next_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
