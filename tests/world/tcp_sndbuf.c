/* SPDX-License-Identifier: BSD-3-Clause */
/* The send buffer's size where the program did not say it: tcp_sndbuf.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "tests/world/world.h"

#define MILLI 1000000ull
#define STREAMS_MAX 8u
#define PIECE 16384u

struct streams {
	struct world *w;
	unsigned n;
	struct sock *listener, *out[STREAMS_MAX], *in[STREAMS_MAX];
	unsigned released;
};

static bool all_connected(void *ctx)
{
	const struct streams *s = ctx;

	return sock_accepts_n(s->listener) == s->n;
}

static void streams_open(struct streams *s, unsigned n, uint64_t delay_ns)
{
	const struct world_link link = {.delay_ns = delay_ns};
	const struct cv_endpoint at = world_endpoint(1, 80);

	*s = (struct streams){.w = world_new(1, &link), .n = n};
	assert_int_equal(sock_open(s->w->host[1].e, CV_AF_INET, CV_STREAM, &s->listener), 0);
	assert_int_equal(sock_bind(s->listener, &at), 0);
	assert_int_equal(sock_listen(s->listener, STREAMS_MAX), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(sock_open(s->w->host[0].e, CV_AF_INET, CV_STREAM, &s->out[i]), 0);
		assert_int_equal(sock_connect(s->out[i], &at), 0);
	}
	assert_true(world_run(s->w, 2000 * MILLI, all_connected, s));
	for (unsigned i = 0; i < n; i++) {
		s->in[i] = sock_accept(s->listener);
		sock_accept_done(s->listener);
	}
}

/* The first `busy` send as much as their buffers hold; all read what comes. */
static void streams_run(struct streams *s, unsigned busy, uint64_t for_ns, uint64_t step_ns)
{
	static uint8_t bytes[1 << 20];

	for (uint64_t t = 0; t < for_ns; t += step_ns) {
		for (unsigned i = 0; i < busy; i++) {
			struct sock *sk = s->out[i];

			while (sk->tx_taken - sk->tx_acked + PIECE <= sk->sndbuf)
				assert_int_equal(
					sock_send(sk, world_txbuf(bytes, PIECE, &s->released)), 0);
		}
		world_run(s->w, step_ns, NULL, NULL);
		for (unsigned i = 0; i < s->n; i++)
			(void)sock_recv_copy(s->in[i], bytes, sizeof(bytes));
	}
}

static void streams_end(struct streams *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		sock_close(s->out[i], true);
		sock_close(s->in[i], true);
	}
	sock_close(s->listener, true);
	world_free(s->w);
}

static void short_path__those_that_send_share_what_the_cache_holds(void **state)
{
	static const struct {
		unsigned senders;
		uint32_t sndbuf;
	} cases[] = {{1, 512 << 10}, {2, 256 << 10}, {4, 128 << 10}, {8, 64 << 10}};
	struct streams s;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		streams_open(&s, STREAMS_MAX, MILLI / 100);
		streams_run(&s, cases[i].senders, 100 * MILLI, MILLI / 10);
		assert_int_equal(s.out[0]->sndbuf, cases[i].sndbuf);
		/* Who has nothing to send takes no part. */
		if (cases[i].senders < STREAMS_MAX)
			assert_int_equal(s.out[STREAMS_MAX - 1]->sndbuf, 64 << 10);
		streams_end(&s);
	}
}

static void others_fall_silent__the_last_one_has_all(void **state)
{
	struct streams s;

	(void)state;
	streams_open(&s, STREAMS_MAX, MILLI / 100);
	streams_run(&s, STREAMS_MAX, 100 * MILLI, MILLI / 10);
	assert_int_equal(s.out[0]->sndbuf, 64 << 10);
	streams_run(&s, 1, 100 * MILLI, MILLI / 10);
	assert_int_equal(s.out[0]->sndbuf, 512 << 10);
	streams_end(&s);
}

static void long_path__twice_the_window_up_to_the_limit(void **state)
{
	struct streams s;
	uint32_t last = 0;

	(void)state;
	streams_open(&s, 1, 20 * MILLI);
	for (unsigned i = 0; i < 50; i++) {
		streams_run(&s, 1, 40 * MILLI, 5 * MILLI);
		assert_true(s.out[0]->sndbuf >= last);
		last = s.out[0]->sndbuf;
		assert_true(last <= engine_tcp_defaults.wmem_max);
	}
	assert_true(last >= 1 << 20);
	streams_end(&s);
}

static void set_by_the_program__stays(void **state)
{
	int size = 100000;
	struct streams s;

	(void)state;
	streams_open(&s, 1, MILLI / 100);
	assert_int_equal(sock_setopt(s.out[0], CV_OPT_SNDBUF, &size, sizeof(size)), 0);
	streams_run(&s, 1, 50 * MILLI, MILLI / 10);
	assert_int_equal(s.out[0]->sndbuf, 200000);
	streams_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_path__those_that_send_share_what_the_cache_holds),
		cmocka_unit_test(others_fall_silent__the_last_one_has_all),
		cmocka_unit_test(long_path__twice_the_window_up_to_the_limit),
		cmocka_unit_test(set_by_the_program__stays),
	};

	world_eal_init("tcp_sndbuf");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
