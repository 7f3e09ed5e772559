/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs on hosts of several workers: one listener takes connections on all of them, one set hears of all, and what ends
 * a socket ends it wherever it is (docs/decisions/0015-workers.md). What holds for any number of workers is in user.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/core/crew.h"
#include "stack/tcp/tcp.h"
#include "tests/world/program.h"

#define WORKERS 2
#define MANY 24u

/* A server program on host 1, a client program on host 0. */
struct pair {
	struct world *w;
	struct program_host ha, hb;
	struct program_group *ga, *gb;
	struct program a, b;
	uint32_t listener, client[MANY], server[MANY];
};

static void pair_start(struct pair *t, uint64_t seed, enum world_rss rss)
{
	t->w = world_new_crew(seed, &program_link, WORKERS, rss);
	program_host_init(&t->ha, t->w, 0);
	program_host_init(&t->hb, t->w, 1);
	t->ga = program_group_new(&t->ha, &program_limits);
	t->gb = program_group_new(&t->hb, &program_limits);
	program_start(&t->a, t->ga, NULL);
	program_start(&t->b, t->gb, NULL);
}

/* Sockets of TCP on all workers of a host, TIME_WAITs included. */
static uint32_t socks_of(const struct pair *t, int host)
{
	uint32_t sum = 0;

	for (uint16_t k = 0; k < WORKERS; k++) {
		uint32_t socks, waits;

		tcp_count(world_engine(&t->w->host[host], k), &socks, &waits);
		sum += socks + waits;
	}
	return sum;
}

static void pair_end(struct pair *t)
{
	program_group_free(t->ga);
	program_group_free(t->gb);
	world_run(t->w, 400 * SEC, NULL, NULL);
	assert_int_equal(socks_of(t, 0), 0);
	assert_int_equal(socks_of(t, 1), 0);
	world_free(t->w);
	program_host_fini(&t->ha);
	program_host_fini(&t->hb);
}

static void run_ms(struct pair *t, unsigned ms)
{
	world_run(t->w, ms * MS, NULL, NULL);
}

/* Returns how many of the server's ends are on worker 1. */
static unsigned connect_many(struct pair *t)
{
	unsigned far = 0;

	t->listener = program_listener(&t->b, 1, 80);
	for (unsigned i = 0; i < MANY; i++)
		t->client[i] = program_connect(&t->a, 1, 80);
	run_ms(t, 20);
	for (unsigned i = 0; i < MANY; i++) {
		t->server[i] = program_accept(&t->b, t->listener, true);
		assert_int_not_equal(t->server[i], CV_SOCK_NONE);
		far += program_record(&t->b, t->server[i])->worker == 1;
	}
	assert_int_equal(program_accept(&t->b, t->listener, true), CV_SOCK_NONE);
	run_ms(t, 1);
	return far;
}

static void listener__on_all_workers__gives_every_connection_to_its_program(void **state)
{
	static const enum world_rss kinds[] = {WORLD_RSS_HASH, WORLD_RSS_ONE, WORLD_RSS_TURN};

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct pair t;
		unsigned far;

		pair_start(&t, k, kinds[k]);
		far = connect_many(&t);
		assert_in_range(far, 1, MANY - 1);
		assert_int_equal(program_info(t.gb).rxds_used, 0);
		for (unsigned i = 0; i < MANY; i++) {
			const struct cv_endpoint *peer = &program_record(&t.b, t.server[i])->peer;
			char text[8];
			unsigned from = 0;

			assert_int_equal(program_send(&t.b, t.server[i], "hello", 5, NULL), 5);
			run_ms(&t, 5);
			/* To the client that has this port, and nobody else. */
			while (program_record(&t.a, t.client[from])->local.port != peer->port)
				from++;
			assert_int_equal(program_recv(&t.a, t.client[from], text, sizeof(text), NULL), 5);
			assert_memory_equal(text, "hello", 5);
		}
		assert_int_equal(program_info(t.ga).violations + program_info(t.gb).violations, 0);
		pair_end(&t);
	}
}

static const struct cv_segment *geo_of(const struct program_group *g)
{
	return (const void *)g->seg;
}

static uint32_t events(const struct program_group *g, int set, uint16_t worker)
{
	const struct cv_segment *geo = geo_of(g);
	const struct cv_set *ring = (const void *)(g->seg + geo->sets_off +
		((uint64_t)worker * geo->sets_max + (uint32_t)set) * geo->set_stride);

	return ring->tail;
}

/* One set watches sockets of both workers: each posts into its own ring, either rings the one bell for the one armed word. */
static void set__with_sockets_of_all_workers__hears_of_each(void **state)
{
	struct pair t;
	struct cv_set *first;
	uint32_t before[WORKERS], rings;
	int set;

	(void)state;
	pair_start(&t, 7, WORLD_RSS_HASH);
	assert_in_range(connect_many(&t), 1, MANY - 1);
	set = program_set_open(&t.b, 55);
	first = (void *)(t.gb->seg + geo_of(t.gb)->sets_off + (uint32_t)set * geo_of(t.gb)->set_stride);
	for (unsigned i = 0; i < MANY; i++)
		program_post(&t.b, (struct cv_command){.op = CV_CMD_WATCH, .sock = t.server[i],
					   .arg = (uint32_t)set, .len = i});
	run_ms(&t, 1);
	for (uint16_t k = 0; k < WORKERS; k++)
		before[k] = events(t.gb, set, k);
	assert_int_equal(before[0] + before[1], MANY);
	for (uint16_t worker = 0; worker < WORKERS; worker++) {
		unsigned i = 0;

		while (program_record(&t.b, t.server[i])->worker != worker)
			i++;
		first->head = events(t.gb, set, 0);
		((struct cv_set *)(void *)((char *)first +
			geo_of(t.gb)->sets_max * geo_of(t.gb)->set_stride))->head = events(t.gb, set, 1);
		first->armed = 1u + worker;
		rings = t.hb.rings;
		for (unsigned c = 0; c < MANY; c++) {
			if (program_record(&t.a, t.client[c])->local.port ==
				program_record(&t.b, t.server[i])->peer.port)
				program_send(&t.a, t.client[c], "x", 1, NULL);
		}
		run_ms(&t, 10);
		assert_int_equal(events(t.gb, set, worker), before[worker] + 1);
		assert_int_equal(events(t.gb, set, 1 - worker), before[1 - worker]);
		assert_int_equal(t.hb.rings, rings + 1);
		assert_int_equal(t.hb.last_bell, 55);
		before[worker]++;
	}
	pair_end(&t);
}

/* Nobody took them: they end with the listener, on both workers; the peers see it. */
static void listener_closed__with_connections_waiting__they_are_reset_everywhere(void **state)
{
	struct pair t;

	(void)state;
	pair_start(&t, 8, WORLD_RSS_ONE);
	t.listener = program_listener(&t.b, 1, 80);
	for (unsigned i = 0; i < MANY; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 20);
	program_close(&t.b, t.listener);
	run_ms(&t, 20);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(program_record(&t.a, t.client[i])->status & CV_ST_DEAD);
	assert_int_equal(socks_of(&t, 1), 0);
	assert_int_equal(program_info(t.gb).socks, 0);
	/* And the port is nobody's: a connect is refused whatever worker it comes to. */
	for (unsigned i = 0; i < 4; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 10);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(program_record(&t.a, t.client[i])->error, CV_ECONNREFUSED);
	pair_end(&t);
}

static void process_killed__its_connections_end_on_all_workers(void **state)
{
	struct pair t;

	(void)state;
	pair_start(&t, 9, WORLD_RSS_HASH);
	assert_in_range(connect_many(&t), 1, MANY - 1);
	program_end(&t.b);
	run_ms(&t, 20);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(program_record(&t.a, t.client[i])->status & CV_ST_RX_EOF);
	assert_int_equal(program_info(t.gb).socks, 0);
	pair_end(&t);
}

/* The child of a fork takes connections of either worker, and holds them. */
static void fork__the_child_accepts_from_all_workers(void **state)
{
	struct pair t;
	struct program child;
	unsigned far = 0;

	(void)state;
	pair_start(&t, 10, WORLD_RSS_HASH);
	t.listener = program_listener(&t.b, 1, 80);
	program_start(&child, t.gb, &t.b);
	program_close(&t.b, t.listener);
	for (unsigned i = 0; i < MANY; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 20);
	for (unsigned i = 0; i < MANY; i++) {
		t.server[i] = program_accept(&child, t.listener, true);
		assert_int_not_equal(t.server[i], CV_SOCK_NONE);
		far += program_record(&child, t.server[i])->worker == 1;
	}
	run_ms(&t, 1);
	assert_in_range(far, 1, MANY - 1);
	program_end(&t.b);
	run_ms(&t, 10);
	for (unsigned i = 0; i < MANY; i++)
		assert_false(program_record(&t.a, t.client[i])->status & CV_ST_RX_EOF);
	program_end(&child);
	run_ms(&t, 10);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(program_record(&t.a, t.client[i])->status & CV_ST_RX_EOF);
	pair_end(&t);
}

/* What is set on a listener after listen() holds for connections of all workers (accept(2)). */
static void listener__options_set_later__are_every_connections(void **state)
{
	struct pair t;
	const int on = 1;
	struct cv_command set = {.op = CV_CMD_SETOPT, .arg = CV_OPT_KEEPALIVE, .len = sizeof(on)};

	(void)state;
	pair_start(&t, 11, WORLD_RSS_HASH);
	t.listener = program_listener(&t.b, 1, 80);
	set.sock = t.listener;
	memcpy(set.value, &on, sizeof(on));
	assert_int_equal(program_call(&t.b, set), 0);
	run_ms(&t, 1);
	for (unsigned i = 0; i < MANY; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 20);
	for (unsigned i = 0; i < MANY; i++) {
		struct program *lane;
		int value = 0;

		t.server[i] = program_accept(&t.b, t.listener, true);
		lane = program_of(&t.b, t.server[i]);
		assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_GETOPT,
							   .sock = t.server[i], .arg = CV_OPT_KEEPALIVE}), 0);
		memcpy(&value, lane->shared->reply, sizeof(value));
		assert_int_equal(value, 1);
	}
	pair_end(&t);
}

/* All workers together take what one would: the backlog and one more. */
static void backlog__is_one_for_all_workers(void **state)
{
	struct pair t;
	unsigned connected = 0;

	(void)state;
	pair_start(&t, 12, WORLD_RSS_HASH);
	t.listener = program_listener(&t.b, 1, 80);
	assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_LISTEN, .sock = t.listener,
						 .arg = 7}), 0);
	for (unsigned i = 0; i < MANY; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 500);
	for (unsigned i = 0; i < MANY; i++)
		connected += program_accept(&t.b, t.listener, false) != CV_SOCK_NONE;
	assert_int_equal(connected, 8);
	pair_end(&t);
}

/* A short one is nobody's by halves: whichever workers the connections hash to, as many are let in as by one worker; each
 * that the program takes makes room for one more. */
static void backlog__short__is_full_when_all_workers_have_so_many(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 6; seed++) {
		struct pair t;

		pair_start(&t, 20 + seed, WORLD_RSS_HASH);
		t.listener = program_listener(&t.b, 1, 80);
		assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_LISTEN, .sock = t.listener,
							 .arg = 1}), 0);
		for (unsigned i = 0; i < 2; i++) { /* both come in at once, though perhaps to the same worker */
			t.client[i] = program_connect(&t.a, 1, 80);
			run_ms(&t, 10);
			assert_true(program_record(&t.a, t.client[i])->status & CV_ST_CONNECTED);
		}
		t.client[2] = program_connect(&t.a, 1, 80);
		run_ms(&t, 100);
		assert_false(program_record(&t.a, t.client[2])->status & CV_ST_CONNECTED);
		assert_int_not_equal(program_accept(&t.b, t.listener, true), CV_SOCK_NONE);
		run_ms(&t, 3000); /* its SYN comes again */
		assert_true(program_record(&t.a, t.client[2])->status & CV_ST_CONNECTED);
		program_close(&t.b, t.listener);
		run_ms(&t, 10);
		for (uint16_t k = 0; k < WORKERS; k++)
			assert_int_equal(t.w->host[1].crew->waiting[k * CREW_LISTENERS + 1], 0);
		pair_end(&t);
	}
}

/* A port that only another worker's TIME_WAITs still have (bind(2)). */
static void bind__with_time_waits_on_another_worker__is_in_use(void **state)
{
	struct pair t;
	uint32_t sock;
	struct cv_command bind = {.op = CV_CMD_BIND, .peer = world_endpoint(1, 80)};

	(void)state;
	pair_start(&t, 14, WORLD_RSS_HASH);
	assert_in_range(connect_many(&t), 1, MANY - 1);
	/* Who closes first has the TIME_WAIT. */
	for (unsigned i = 0; i < MANY; i++) {
		if (program_record(&t.b, t.server[i])->worker == 1)
			program_close(&t.b, t.server[i]);
	}
	run_ms(&t, 10);
	for (unsigned i = 0; i < MANY; i++)
		program_close(&t.a, t.client[i]);
	run_ms(&t, 10);
	for (unsigned i = 0; i < MANY; i++) {
		if (program_record(&t.b, t.server[i])->handle == t.server[i])
			program_close(&t.b, t.server[i]);
	}
	program_close(&t.b, t.listener);
	run_ms(&t, 10);
	sock = program_open(&t.b, CV_STREAM);
	bind.sock = sock;
	assert_int_equal(program_call(&t.b, bind), -CV_EADDRINUSE);
	world_run(t.w, 120 * SEC, NULL, NULL);
	assert_int_equal(program_call(&t.b, bind), 0);
	pair_end(&t);
}

/* Only worker 0 knows which ports are taken. */
static void bind__of_another_workers_socket__is_refused(void **state)
{
	struct pair t;
	int sock;

	(void)state;
	pair_start(&t, 13, WORLD_RSS_HASH);
	sock = program_call(t.a.more[0], (struct cv_command){.op = CV_CMD_OPEN, .family = CV_AF_INET,
						 .type = CV_STREAM});
	assert_true(sock > 0);
	assert_int_equal(program_record(&t.a, (uint32_t)sock)->worker, 1);
	assert_int_equal(program_call(&t.a, (struct cv_command){.op = CV_CMD_BIND, .sock = (uint32_t)sock,
						 .peer = world_endpoint(0, 90)}), -CV_EINVAL);
	assert_int_equal(program_call(&t.a, (struct cv_command){.op = CV_CMD_LISTEN, .sock = (uint32_t)sock,
						 .arg = 5}), -CV_EINVAL);
	pair_end(&t);
}

static void option_set(
	struct program *p, uint32_t sock, enum cv_option option, const void *value, uint32_t len)
{
	struct cv_command set = {.op = CV_CMD_SETOPT, .sock = sock, .arg = option, .len = len};
	uint8_t whole[CV_FASTOPEN_KEYS_MAX * CV_FASTOPEN_KEY_BYTES + 4] = {0};

	memcpy(whole, value, len);
	memcpy(set.value, whole, sizeof(set.value));
	memcpy(&set.pos, whole + 20, sizeof(set.pos));
	memcpy(&set.off, whole + 28, sizeof(set.off));
	assert_int_equal(program_call(p, set), 0);
}

/* MANY connections from both workers, opened with TCP_FASTOPEN_CONNECT: whose SYNs' data was taken,
 * by the server's worker. */
static void fast_connects(struct pair *t, uint64_t taken[WORKERS])
{
	const int on = 1;

	for (uint16_t k = 0; k < WORKERS; k++)
		taken[k] = world_engine(&t->w->host[1], k)->counters.tcp_fastopen_in;
	for (unsigned i = 0; i < MANY; i++) {
		struct program *p = i % 2 == 0 ? &t->a : t->a.more[0];
		int sock = program_call(
			p, (struct cv_command){
				   .op = CV_CMD_OPEN, .family = CV_AF_INET, .type = CV_STREAM});

		assert_true(sock > 0);
		t->client[i] = (uint32_t)sock;
		option_set(p, t->client[i], CV_OPT_FASTOPEN_CONNECT, &on, sizeof(on));
		assert_int_equal(program_call(p, (struct cv_command){.op = CV_CMD_CONNECT,
							 .sock = t->client[i],
							 .family = CV_AF_INET,
							 .peer = world_endpoint(1, 80)}),
			0);
		assert_int_equal(program_send(p, t->client[i], "hello", 5, NULL), 5);
		run_ms(t, 20);
		t->server[i] = program_accept(&t->b, t->listener, true);
		assert_int_not_equal(t->server[i], CV_SOCK_NONE);
	}
	for (uint16_t k = 0; k < WORKERS; k++)
		taken[k] = world_engine(&t->w->host[1], k)->counters.tcp_fastopen_in - taken[k];
	for (unsigned i = 0; i < MANY; i++) {
		program_close(&t->a, t->client[i]);
		program_close(&t->b, t->server[i]);
	}
	run_ms(t, 200);
}

/* What the clients' workers know of the server: each has talked to one of its workers. */
static void cookies_are_alike(const struct pair *t, uint8_t cookie[8])
{
	for (uint16_t k = 0; k < WORKERS; k++) {
		const struct tcp_fastopen_peer *peer = world_engine(&t->w->host[0], k)->tcp->fastopen_peers;

		while (peer->cookie_n == 0)
			peer++;
		assert_int_equal(peer->cookie_n, 8);
		if (k == 0)
			memcpy(cookie, peer->cookie, 8);
		assert_memory_equal(peer->cookie, cookie, 8);
	}
}

/* Each worker gives cookies of the listener's keys: those set before listen(), and later ones. */
static void listener__fast_open_keys__are_all_workers(void **state)
{
	static const uint8_t before[16] = "the first key is",
			     later[33] = "the second key, the first key is";
	const int queue = (int)MANY;
	struct pair t;
	uint64_t taken[WORKERS];
	uint8_t first[8], second[8];

	(void)state;
	pair_start(&t, 16, WORLD_RSS_HASH);
	for (int host = 0; host < 2; host++) {
		for (uint16_t k = 0; k < WORKERS; k++)
			world_engine(&t.w->host[host], k)->tcp->config.fastopen = 3;
	}
	t.listener = program_open(&t.b, CV_STREAM);
	assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_BIND,
						    .sock = t.listener,
						    .peer = world_endpoint(1, 80)}),
		0);
	option_set(&t.b, t.listener, CV_OPT_FASTOPEN, &queue, sizeof(queue));
	option_set(&t.b, t.listener, CV_OPT_FASTOPEN_KEY, before, sizeof(before));
	assert_int_equal(
		program_call(&t.b,
			(struct cv_command){.op = CV_CMD_LISTEN, .sock = t.listener, .arg = MANY}),
		0);
	world_engine(&t.w->host[1], 1)->tcp->fastopen.key[0].k0++; /* what it would use without */
	fast_connects(&t, taken);
	assert_int_equal(taken[0] + taken[1], MANY - WORKERS); /* each worker's first asks for a cookie */
	cookies_are_alike(&t, first);
	option_set(&t.b, t.listener, CV_OPT_FASTOPEN_KEY, later, 32);
	run_ms(&t, 1);
	for (unsigned round = 0; round < 2; round++) {
		fast_connects(&t, taken);
		assert_int_equal(taken[0] + taken[1], MANY);
		assert_in_range(taken[1], 1, MANY - 1);
		cookies_are_alike(&t, second);
		assert_memory_not_equal(first, second, 8);
		option_set(&t.b, t.listener, CV_OPT_FASTOPEN_KEY, later, 16); /* clients have cookies of it now */
	}
	pair_end(&t);
}

static int dgram_bind(struct program *p, int sock)
{
	return program_call(p, (struct cv_command){.op = CV_CMD_BIND, .sock = (uint32_t)sock,
				   .peer = world_endpoint(0, 90)});
}

/* A UDP socket is any worker's. A port that is another's is refused with the number of that one. */
static void bind__of_datagram_sockets__a_port_is_one_workers(void **state)
{
	const struct cv_command open = {.op = CV_CMD_OPEN, .family = CV_AF_INET, .type = CV_DGRAM};
	struct pair t;
	int first, second;
	uint32_t owner;

	(void)state;
	pair_start(&t, 15, WORLD_RSS_HASH);
	first = program_call(t.a.more[0], open);
	second = program_call(&t.a, open);
	assert_true(first > 0 && second > 0);
	assert_int_equal(program_record(&t.a, (uint32_t)first)->worker, 1);
	assert_int_equal(dgram_bind(&t.a, first), 0);
	assert_int_equal(dgram_bind(&t.a, second), -CV_EXDEV);
	memcpy(&owner, t.a.shared->reply, sizeof(owner));
	assert_int_equal(owner, 1);
	program_close(&t.a, (uint32_t)first);
	run_ms(&t, 1);
	assert_int_equal(dgram_bind(&t.a, second), 0);
	pair_end(&t);
}

/* As many messages as can wait for worker 1 do: what must reach it is refused, not queued without bound, and works later. */
static void listen__no_room_for_its_message__enobufs_until_there_is(void **state)
{
	const struct crew_message other = {.kind = UINT32_MAX};
	struct cv_command listen = {.op = CV_CMD_LISTEN, .arg = 64};
	struct engine *e;
	struct pair t;

	(void)state;
	pair_start(&t, 17, WORLD_RSS_HASH);
	e = t.w->host[1].e;
	listen.sock = program_open(&t.b, CV_STREAM);
	assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_BIND, .sock = listen.sock,
						    .peer = world_endpoint(1, 80)}),
		0);
	for (unsigned i = 0; i < CREW_MESSAGES + CREW_UNSENT_MAX; i++)
		assert_true(crew_send(e, 1, &other));
	assert_int_equal(program_call(&t.b, listen), -CV_ENOBUFS);
	run_ms(&t, 1);
	assert_int_equal(program_call(&t.b, listen), 0);
	t.listener = listen.sock;
	for (unsigned i = 0; i < MANY; i++)
		t.client[i] = program_connect(&t.a, 1, 80);
	run_ms(&t, 20);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_not_equal(program_accept(&t.b, t.listener, true), CV_SOCK_NONE);
	pair_end(&t);
}

/* Who is told that the listener is closed is let in by nobody, on no worker. */
static void listener__closed_and_told__is_gone_from_all_workers(void **state)
{
	struct pair t;
	uint32_t socks, waits;

	(void)state;
	pair_start(&t, 31, WORLD_RSS_HASH);
	t.listener = program_listener(&t.b, 1, 80);
	tcp_count(world_engine(&t.w->host[1], 1), &socks, &waits);
	assert_int_equal(socks, 1);
	program_post(&t.b, (struct cv_command){.op = CV_CMD_CLOSE, .sock = t.listener, .seq = ++t.b.seq});
	(void)engine_turn(t.w->host[1].e, t.w->now_ns); /* of worker 0 alone */
	assert_int_not_equal(t.b.shared->reply_seq, t.b.seq);
	run_ms(&t, 1);
	assert_int_equal(t.b.shared->reply_seq, t.b.seq);
	for (uint16_t k = 0; k < WORKERS; k++) {
		tcp_count(world_engine(&t.w->host[1], k), &socks, &waits);
		assert_int_equal(socks, 0);
	}
	/* Another one of the same port, and one that a process holds that ends meanwhile. */
	t.listener = program_listener(&t.b, 1, 80);
	program_post(&t.b, (struct cv_command){.op = CV_CMD_CLOSE, .sock = t.listener, .seq = 1000});
	program_end(&t.b);
	run_ms(&t, 10);
	assert_int_equal(socks_of(&t, 1), 0);
	pair_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listener__closed_and_told__is_gone_from_all_workers),
		cmocka_unit_test(listener__on_all_workers__gives_every_connection_to_its_program),
		cmocka_unit_test(set__with_sockets_of_all_workers__hears_of_each),
		cmocka_unit_test(listener_closed__with_connections_waiting__they_are_reset_everywhere),
		cmocka_unit_test(process_killed__its_connections_end_on_all_workers),
		cmocka_unit_test(fork__the_child_accepts_from_all_workers),
		cmocka_unit_test(listener__options_set_later__are_every_connections),
		cmocka_unit_test(listener__fast_open_keys__are_all_workers),
		cmocka_unit_test(listen__no_room_for_its_message__enobufs_until_there_is),
		cmocka_unit_test(backlog__is_one_for_all_workers),
		cmocka_unit_test(backlog__short__is_full_when_all_workers_have_so_many),
		cmocka_unit_test(bind__with_time_waits_on_another_worker__is_in_use),
		cmocka_unit_test(bind__of_another_workers_socket__is_refused),
		cmocka_unit_test(bind__of_datagram_sockets__a_port_is_one_workers),
	};

	world_eal_init("user_crew");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
