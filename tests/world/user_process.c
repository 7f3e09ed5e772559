/* SPDX-License-Identifier: BSD-3-Clause */
/* The contract between programs and the engine (stack/user/): a group's processes and what they hold, with fork, exec
 * and the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/pair.h"

/* A program that posts one command more whenever the engine takes one: a bind that chooses a port asks for a random
 * number. */
static struct {
	struct program *p;
	uint32_t sock[200];
	unsigned posted;
	uint64_t (*random64)(void *ctx);
} poster;

static uint64_t post_another(void *ctx)
{
	if (poster.posted < 200 && poster.p->tail - poster.p->shared->cmd_head < program_limits.cmd_entries)
		program_post(poster.p, (struct cv_command){.op = CV_CMD_BIND,
					       .sock = poster.sock[poster.posted++],
					       .family = CV_AF_INET,
					       .peer = world_endpoint(0, 0)});
	return poster.random64(ctx);
}

/* The engine serves others meanwhile: it must come back. */
static void fork__lane_that_is_never_empty__takes_no_more_than_was_posted_before(void **state)
{
	struct pair t;
	struct program child;
	struct engine_env *env;

	(void)state;
	pair_start(&t, 8, &program_limits);
	poster.p = &t.a;
	poster.posted = 0;
	for (unsigned i = 0; i < 200; i++)
		poster.sock[i] = program_open(&t.a, CV_STREAM);
	env = &t.w->host[0].e->env;
	poster.random64 = env->random64;
	env->random64 = post_another;
	(void)post_another(env->ctx);
	program_start(&child, t.ga, &t.a);
	assert_in_range(poster.posted, 2, program_limits.cmd_entries + 1);
	pair_run(&t, 10); /* the rest in turns, as ever */
	assert_true(poster.posted > program_limits.cmd_entries + 1);
	env->random64 = poster.random64;
	pair_end(&t);
}

/* A fork's child does not see what the engine writes into its own memory: from then on all is in
 * the segment, what waits unread too. */
static void inside__fork__what_is_unread_moves_into_the_segment(void **state)
{
	static uint8_t out[20000], in[20000];
	struct user_limits limits = program_limits;
	uint32_t listener, client, server;
	struct program child;
	struct engine *e;
	struct pair t;

	(void)state;
	limits.inside = true;
	pair_start(&t, 4, &limits);
	e = t.w->host[1].e;
	pair_connect(&t, &listener, &client, &server);
	for (uint32_t i = 0; i < sizeof(out); i++)
		out[i] = pair_pattern(i);
	assert_true(program_send(&t.a, client, out, sizeof(out), NULL) == sizeof(out));
	pair_run(&t, 20);
	assert_true(e->rx_lent >= 10);
	program_start(&child, t.gb, &t.b);
	assert_true(program_info(t.gb).rx_bytes_used >= 10 * 1024);
	for (uint32_t i = 0; i < sizeof(in);) {
		uint32_t n = program_recv(&t.b, server, in + i, 1000, NULL);

		assert_true(n > 0);
		i += n;
	}
	assert_memory_equal(in, out, sizeof(out));
	assert_true(program_send(&t.a, client, out, sizeof(out), NULL) == sizeof(out));
	pair_run(&t, 20);
	assert_true(program_info(t.gb).rx_bytes_used > 10000);
	pair_end(&t);
}

static void connection__taken_by_another_lane_before_accepted_is_seen__works(void **state)
{
	struct pair t;
	struct program other;
	uint32_t listener, client, server;
	int set;

	(void)state;
	pair_start(&t, 4, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	client = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	/* A second thread of the same process watches it first. */
	other = t.b;
	program_lane_open(&other);
	set = program_set_open(&t.b, 7);
	assert_true(set >= 0);
	server = program_accept(&t.b, listener, false);
	assert_int_equal(
		program_call(&other,
			(struct cv_command){.op = CV_CMD_WATCH, .sock = server, .arg = (uint32_t)set, .len = 5}),
		0);
	program_post(&t.b, (struct cv_command){.op = CV_CMD_ACCEPTED, .sock = server});
	pair_run(&t, 1);
	assert_int_equal(program_info(t.gb).refused, 0);
	assert_int_equal(program_info(t.gb).violations, 0);
	pair_transfer(&t, &t.a, client, &t.b, server);
	pair_end(&t);
}

/* One thread accepts and another one closes the listener: what accept() has returned lives, also when the engine sees the
 * other lane first. shared: a child has the listener, too. */
static void listener_closed_over_an_accept(bool shared)
{
	struct pair t;
	struct program other, child;
	uint32_t listener, client, server;

	pair_start(&t, 4, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	if (shared)
		program_start(&child, t.gb, &t.b);
	client = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	other = t.b;
	program_lane_open(&other);
	server = program_accept(&t.b, listener, false);
	program_close(&other, listener);
	pair_run(&t, 1);
	program_post(&t.b, (struct cv_command){.op = CV_CMD_ACCEPTED, .sock = server});
	pair_run(&t, 1);
	assert_int_equal(program_info(t.gb).refused, 0);
	pair_transfer(&t, &t.a, client, &t.b, server);
	program_close(&t.b, server);
	pair_run(&t, 10);
	assert_int_equal(program_info(t.gb).socks, shared ? 1 : 0);
	if (shared)
		program_end(&child);
	pair_end(&t);
}

static void connection__taken__listener_closed_before_accepted_is_seen__lives(void **state)
{
	(void)state;
	listener_closed_over_an_accept(false);
	listener_closed_over_an_accept(true);
}

static void fork__parent_accepts_forks_and_ends__child_goes_on(void **state)
{
	struct pair t;
	struct program child;
	uint32_t listener, client, server;
	struct user_group_info info;

	(void)state;
	pair_start(&t, 5, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	client = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	server = program_accept(&t.b, listener, true);
	/* The fork comes before the engine has looked at ACCEPTED. */
	program_start(&child, t.gb, &t.b);
	program_end(&t.b);
	pair_transfer(&t, &t.a, client, &child, server);
	program_end(&child);
	pair_run(&t, 50);
	assert_true(program_record(&t.a, client)->status & CV_ST_RX_EOF);
	info = program_info(t.gb);
	assert_int_equal(info.socks, 0);
	assert_int_equal(info.rx_bytes_used + info.txbufs_used + info.watches + info.lanes, 0);
	pair_end(&t);
}

/* Killed between taking a connection and saying so, while another process goes on with the listener. */
static void process_end__connection_taken_and_not_told__ends_with_it(void **state)
{
	(void)state;
	for (unsigned exec = 0; exec < 2; exec++) {
		struct pair t;
		struct program child;
		uint32_t listener, client[8], taken[8];

		pair_start(&t, 10, &program_limits);
		listener = program_listener(&t.b, 1, 80);
		program_start(&child, t.gb, &t.b);
		for (unsigned i = 0; i < 8; i++)
			client[i] = program_connect(&t.a, 1, 80);
		pair_run(&t, 10);
		for (unsigned i = 0; i < 8; i++) { /* in any order, with several workers */
			uint32_t sock = program_accept(i % 2 ? &t.b : &child, listener, false);
			uint16_t port = program_record(&t.b, sock)->peer.port;
			unsigned k = i;

			while (program_record(&t.a, client[k])->local.port != port)
				k++;
			taken[i] = sock;
			sock = client[i];
			client[i] = client[k];
			client[k] = sock;
		}
		if (exec)
			program_exec(&child, &listener, 1);
		else
			program_end(&child);
		pair_run(&t, 10);
		for (unsigned i = 0; i < 8; i++) {
			bool over = (program_record(&t.a, client[i])->status & CV_ST_RX_EOF) != 0;

			assert_int_equal(over, i % 2 == 0);
			if (i % 2)
				pair_transfer(&t, &t.a, client[i], &t.b, taken[i]);
		}
		/* The listener has room for as many as before. */
		assert_int_equal(program_info(t.gb).socks, 1 + 4);
		client[0] = program_connect(&t.a, 1, 80);
		pair_run(&t, 10);
		taken[0] = program_accept(&t.b, listener, true);
		pair_transfer(&t, &t.b, taken[0], &t.a, client[0]);
		pair_end(&t);
	}
}

static void process_end__unread_data__peer_is_reset(void **state)
{
	struct pair t;
	uint32_t listener, client, server;

	(void)state;
	pair_start(&t, 6, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	program_send(&t.a, client, "unread", 6, NULL);
	pair_run(&t, 20);
	program_end(&t.b);
	pair_run(&t, 20);
	assert_true(program_record(&t.a, client)->status & CV_ST_DEAD);
	assert_int_equal(program_record(&t.a, client)->error, CV_ECONNRESET);
	assert_int_equal(program_info(t.gb).socks, 0);
	pair_end(&t);
}

static void process_end__data_just_posted__is_delivered_before_fin(void **state)
{
	struct pair t;
	uint32_t listener, client, server;
	char text[16];

	(void)state;
	pair_start(&t, 7, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	program_send(&t.b, server, "last words", 10, NULL);
	program_end(&t.b);
	pair_run(&t, 20);
	assert_int_equal(program_recv(&t.a, client, text, sizeof(text), NULL), 10);
	assert_memory_equal(text, "last words", 10);
	assert_true(program_record(&t.a, client)->status & CV_ST_RX_EOF);
	assert_int_equal(program_record(&t.a, client)->error_seq, 0);
	pair_end(&t);
}

static void exec__retained_sockets_stay__the_others_close(void **state)
{
	struct pair t;
	uint32_t listener, kept, lost, kept_server, lost_server;

	(void)state;
	pair_start(&t, 8, &program_limits);
	pair_connect(&t, &listener, &kept, &kept_server);
	lost = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	lost_server = program_accept(&t.b, listener, true);
	pair_run(&t, 1);
	program_exec(&t.b, &kept_server, 1);
	program_lane_open(&t.b);
	pair_run(&t, 20);
	assert_true(program_record(&t.a, lost)->status & CV_ST_RX_EOF);
	assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_RECVD, .sock = lost_server}), -CV_EBADF);
	pair_transfer(&t, &t.a, kept, &t.b, kept_server);
	pair_end(&t);
}

static void lane__closed_with_buffers_under_way__is_free_when_they_are_back(void **state)
{
	struct pair t;
	struct program other;
	uint32_t listener, client, server;
	static const uint8_t data[20000];

	(void)state;
	pair_start(&t, 9, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	other = t.a;
	program_lane_open(&other);
	assert_int_equal(program_send(&other, client, data, sizeof(data), NULL), sizeof(data));
	assert_int_equal(user_lane_close(t.ga->g, t.a.proc, other.lane), 0);
	assert_int_equal(program_info(t.ga).lanes, 2); /* not acknowledged yet */
	pair_run(&t, 50);
	assert_int_equal(program_info(t.ga).lanes, 1);
	assert_int_equal(program_record(&t.b, server)->rx_produced, sizeof(data));
	assert_int_equal(user_lane_close(t.ga->g, t.a.proc, other.lane), -CV_EINVAL);
	pair_end(&t);
}

static unsigned ended_of(struct pair *t, const uint32_t *client, unsigned n)
{
	unsigned ended = 0;

	for (unsigned i = 0; i < n; i++)
		ended += (program_record(&t->a, client[i])->status & CV_ST_RX_EOF) != 0;
	return ended;
}

static void process_end__many_sockets__some_at_a_time(void **state)
{
	struct pair t;
	uint32_t listener, client[12];
	unsigned before = 0, steps = 0, ended;
	bool over;

	(void)state;
	pair_start(&t, 13, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	for (unsigned i = 0; i < 12; i++)
		client[i] = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	for (unsigned i = 0; i < 12; i++)
		assert_int_not_equal(program_accept(&t.b, listener, true), CV_SOCK_NONE);
	do {
		over = program_end_some(&t.b, 3);
		pair_run(&t, 10);
		ended = ended_of(&t, client, 12);
		assert_in_range(ended - before, 0, 3 * t.hb.workers);
		before = ended;
		steps++;
	} while (!over);
	assert_int_equal(ended, 12);
	assert_in_range(steps, 2, 5);
	program_end(&t.b);
	assert_int_equal(program_info(t.gb).procs, 0);
	pair_end(&t);
}

static void no_lane__accepts_watches_reads_closes__as_with_one(void **state)
{
	struct pair t;
	uint32_t listener, client, server;
	char text[16];

	(void)state;
	pair_start(&t, 11, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	client = program_connect(&t.a, 1, 80);
	pair_run(&t, 10);
	server = program_accept(&t.b, listener, false);
	assert_int_equal(program_say(&t.b, (struct cv_command){.op = CV_CMD_ACCEPTED, .sock = server}), 0);
	assert_int_equal(program_info(t.gb).socks, 2);
	pair_transfer(&t, &t.a, client, &t.b, server);
	/* Behind what another thread's lane still has, and there is nothing that it would wait for in vain. */
	assert_int_equal(program_send(&t.a, client, "last words", 10, NULL), 10);
	assert_int_equal(
		program_say(&t.a, (struct cv_command){.op = CV_CMD_CLOSE, .sock = client, .pos = PAIR_BYTES + 11}),
		-CV_EAGAIN);
	assert_int_equal(
		program_say(&t.a, (struct cv_command){.op = CV_CMD_CLOSE, .sock = client, .pos = PAIR_BYTES + 10}), 0);
	pair_run(&t, 20);
	assert_int_equal(program_recv(&t.b, server, text, sizeof(text), NULL), 10);
	assert_true(program_record(&t.b, server)->status & CV_ST_RX_EOF);
	assert_int_equal(program_say(&t.b, (struct cv_command){.op = CV_CMD_RECVD, .sock = server}), 0);
	assert_int_equal(program_info(t.gb).rx_bytes_used, 0);
	assert_int_equal(program_info(t.ga).violations + program_info(t.gb).violations, 0);
	pair_end(&t);
}

static void no_lane__needs_one_or_is_not_its_own__nothing_happens(void **state)
{
	struct pair t;
	struct program child;
	uint32_t listener, client, server;

	(void)state;
	pair_start(&t, 12, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	program_start(&child, t.ga, NULL);
	for (unsigned op = 0; op <= CV_CMD_COUNT; op++) {
		int result = program_say(
			&child, (struct cv_command){.op = (uint8_t)op, .sock = client, .seq = 1, .len = 100});

		assert_true(result == 0 || result == -CV_EINVAL);
	}
	assert_int_equal(
		program_say(&t.a, (struct cv_command){.op = CV_CMD_SEND, .sock = client, .len = 100}), -CV_EINVAL);
	assert_int_equal(
		program_say(&t.a, (struct cv_command){.op = CV_CMD_OPEN, .sock = client, .family = CV_AF_INET}),
		-CV_EINVAL);
	pair_transfer(&t, &t.b, server, &t.a, client);
	assert_int_equal(program_info(t.ga).socks, 1);
	pair_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fork__lane_that_is_never_empty__takes_no_more_than_was_posted_before),
		cmocka_unit_test(inside__fork__what_is_unread_moves_into_the_segment),
		cmocka_unit_test(connection__taken_by_another_lane_before_accepted_is_seen__works),
		cmocka_unit_test(connection__taken__listener_closed_before_accepted_is_seen__lives),
		cmocka_unit_test(fork__parent_accepts_forks_and_ends__child_goes_on),
		cmocka_unit_test(process_end__connection_taken_and_not_told__ends_with_it),
		cmocka_unit_test(process_end__unread_data__peer_is_reset),
		cmocka_unit_test(process_end__data_just_posted__is_delivered_before_fin),
		cmocka_unit_test(exec__retained_sockets_stay__the_others_close),
		cmocka_unit_test(lane__closed_with_buffers_under_way__is_free_when_they_are_back),
		cmocka_unit_test(process_end__many_sockets__some_at_a_time),
		cmocka_unit_test(no_lane__accepts_watches_reads_closes__as_with_one),
		cmocka_unit_test(no_lane__needs_one_or_is_not_its_own__nothing_happens),
	};

	world_eal_init("world_user_process");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
