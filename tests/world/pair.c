/* SPDX-License-Identifier: BSD-3-Clause */
/* Two programs: see pair.h. */
#include "tests/world/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "stack/tcp/tcp.h"
#include "stack/udp/udp.h"

void pair_start(struct pair *t, uint64_t seed, const struct user_limits *limits)
{
	t->w = world_new(seed, &program_link);
	program_host_init(&t->ha, t->w, 0);
	program_host_init(&t->hb, t->w, 1);
	t->ga = program_group_new(&t->ha, limits);
	t->gb = program_group_new(&t->hb, limits);
	program_start(&t->a, t->ga, NULL);
	program_start(&t->b, t->gb, NULL);
}

void pair_end(struct pair *t)
{
	uint32_t socks, waits;

	program_group_free(t->ga);
	program_group_free(t->gb);
	world_run(t->w, 400 * SEC, NULL, NULL);
	for (int i = 0; i < 2 * t->w->host[0].workers; i++) {
		struct engine *e = world_engine(&t->w->host[i % 2], (uint16_t)(i / 2));

		tcp_count(e, &socks, &waits);
		assert_int_equal(socks + waits, 0);
		assert_int_equal(udp_count(e), 0);
		assert_int_equal(e->rx_held, 0);
		assert_int_equal(e->rx_lent, 0);
	}
	world_free(t->w);
	program_host_fini(&t->ha);
	program_host_fini(&t->hb);
}

void pair_run(struct pair *t, unsigned ms)
{
	world_run(t->w, ms * MS, NULL, NULL);
}

void pair_connect(struct pair *t, uint32_t *listener, uint32_t *client, uint32_t *server)
{
	*listener = program_listener(&t->b, 1, 80);
	*client = program_connect(&t->a, 1, 80);
	pair_run(t, 10);
	assert_true(program_record(&t->a, *client)->status & CV_ST_CONNECTED);
	*server = program_accept(&t->b, *listener, true);
	assert_int_not_equal(*server, CV_SOCK_NONE);
	pair_run(t, 1);
}

uint8_t pair_pattern(uint32_t i)
{
	return (uint8_t)(i * 31 + (i >> 9));
}

void pair_transfer(struct pair *t, struct program *p, uint32_t sock, struct program *q, uint32_t peer)
{
	static uint8_t out[PAIR_BYTES], in[PAIR_BYTES];
	uint32_t sent = 0, got = 0;

	for (uint32_t i = 0; i < PAIR_BYTES; i++)
		out[i] = pair_pattern(i);
	for (unsigned turns = 0; got < PAIR_BYTES && turns < 20000; turns++) {
		if (sent < PAIR_BYTES)
			sent += program_send(p, sock, out + sent, PAIR_BYTES - sent, NULL);
		pair_run(t, 1);
		got += program_recv(q, peer, in + got, PAIR_BYTES - got, NULL);
	}
	assert_int_equal(got, PAIR_BYTES);
	assert_memory_equal(in, out, PAIR_BYTES);
}
