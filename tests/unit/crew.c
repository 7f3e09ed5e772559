/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker a flow is whose (stack/core/crew.h), against DPDK's Toeplitz hash; the rings between workers with two
 * threads. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <rte_thash.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"

static unsigned seed = 1;

static void random_bytes(uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)rand_r(&seed);
}

/* words: as a device takes them, in the order of the packet's bytes. */
static uint32_t reference(const uint8_t *bytes, uint32_t words)
{
	uint8_t key[52];
	uint32_t host[9];

	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = i & 1 ? CREW_KEY_LO : CREW_KEY_HI;
	for (uint32_t i = 0; i < words; i++)
		host[i] = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 |
			(uint32_t)bytes[4 * i + 2] << 8 | bytes[4 * i + 3];
	return rte_softrss(host, words, key);
}

static void hash__of_any_flow__is_the_devices(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t tuple[36], a[16], b[16];
		unsigned len = i % 2 ? 4 : 16;
		uint16_t pa, pb;
		uint32_t want;

		random_bytes(tuple, sizeof(tuple));
		if (len == 4) {
			addr_from_v4(a, tuple);
			addr_from_v4(b, tuple + 4);
		} else {
			memcpy(a, tuple, 16);
			memcpy(b, tuple + 16, 16);
		}
		pa = (uint16_t)(tuple[2 * len] << 8 | tuple[2 * len + 1]);
		pb = (uint16_t)(tuple[2 * len + 2] << 8 | tuple[2 * len + 3]);
		want = reference(tuple, 2 * len / 4 + 1);
		assert_int_equal(crew_hash(a, b, pa, pb), want & 0xffff);
		assert_int_equal(want >> 16, want & 0xffff); /* so 16 of them say all */
		assert_int_equal(crew_hash(b, a, pb, pa), want & 0xffff);
	}
}

/* A client that opens connections one after the other spreads them. */
static void hash__of_ports_in_a_row__spreads(void **state)
{
	static struct crew c = {.n = 3};
	unsigned count[3] = {0};
	uint8_t a[16], b[16];

	(void)state;
	addr_from_v4(a, (const uint8_t[]){10, 0, 0, 1});
	addr_from_v4(b, (const uint8_t[]){10, 0, 0, 2});
	for (unsigned port = 32768; port < 32768 + 3000; port++)
		count[crew_by_hash(&c, crew_hash(a, b, (uint16_t)port, 80))]++;
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(count[i], 850, 1150);
}

#define RING_ROUNDS 2000000ull

static void *ring_fill(void *arg)
{
	struct spsc *r = arg;

	for (uint64_t i = 0; i < RING_ROUNDS;) {
		uint64_t *w = spsc_put(r);

		if (w == NULL) {
			sched_yield();
			continue;
		}
		w[0] = i;
		w[1] = ~i;
		spsc_put_done(r);
		i++;
	}
	return NULL;
}

static void ring__of_two_threads__loses_nothing_and_keeps_order(void **state)
{
	struct spsc r;
	pthread_t thread;

	(void)state;
	assert_int_equal(spsc_init(&r, 64, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, ring_fill, &r), 0);
	for (uint64_t i = 0; i < RING_ROUNDS;) {
		uint32_t tail = spsc_tail(&r);
		const uint64_t *w;

		while ((w = spsc_front(&r, tail)) != NULL) {
			assert_true(w[0] == i && w[1] == ~i);
			spsc_take_done(&r);
			i++;
		}
		sched_yield();
	}
	pthread_join(thread, NULL);
	assert_true(spsc_is_empty(&r));
	spsc_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash__of_any_flow__is_the_devices),
		cmocka_unit_test(hash__of_ports_in_a_row__spreads),
		cmocka_unit_test(ring__of_two_threads__loses_nothing_and_keeps_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
