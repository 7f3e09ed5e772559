/* SPDX-License-Identifier: BSD-3-Clause */
/* The contract between programs and the engine (stack/user/), both sides in one process: sockets, lanes, sets.
 * Processes are in user_process.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/pair.h"

static void stream__both_ways__every_byte_and_all_buffers_back(void **state)
{
	struct pair t;
	uint32_t listener, client, server;

	(void)state;
	pair_start(&t, 1, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	pair_transfer(&t, &t.a, client, &t.b, server);
	pair_transfer(&t, &t.b, server, &t.a, client);
	pair_run(&t, 300);
	program_collect(&t.a);
	assert_int_equal(t.a.slots_used, 0);
	assert_int_equal(program_info(t.gb).rx_bytes_used, 0);
	assert_int_equal(program_info(t.gb).rxds_used, 0);
	assert_int_equal(program_info(t.ga).violations + program_info(t.gb).violations, 0);
	pair_end(&t);
}

static void stream__receive_memory_smaller_than_the_window__nothing_is_lost(void **state)
{
	struct user_limits tight = program_limits;
	struct pair t;
	uint32_t listener, client, server;

	(void)state;
	tight.rx_bytes = 128 << 10;
	tight.rxds_max = 16;
	pair_start(&t, 2, &tight);
	pair_connect(&t, &listener, &client, &server);
	pair_transfer(&t, &t.a, client, &t.b, server);
	pair_end(&t);
}

static void datagram__connected_again__has_the_new_names(void **state)
{
	struct pair t;
	uint32_t sock;

	(void)state;
	pair_start(&t, 6, &program_limits);
	sock = program_bound(&t.a, 0, 5000);
	for (uint16_t port = 7; port < 9; port++) {
		assert_int_equal(program_call(&t.a, (struct cv_command){.op = CV_CMD_CONNECT,
							    .sock = sock,
							    .family = CV_AF_INET,
							    .peer = world_endpoint(1, port)}),
			0);
		assert_int_equal(program_record(&t.a, sock)->peer.port, port);
	}
	assert_int_equal(program_call(&t.a, (struct cv_command){.op = CV_CMD_CONNECT, .sock = sock}), 0);
	assert_int_equal(program_record(&t.a, sock)->peer.port, 0);
	pair_end(&t);
}

/* What epoll instances may have is besides what lanes take of the same numbers. */
static void limits__many_lanes__as_many_sets_as_configured(void **state)
{
	static const uint32_t lanes[] = {2, 4, 5000};
	struct pair t;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct user_limits limits = program_limits;
		int first;

		limits.lanes_max = lanes[i];
		limits.sets_max = 4;
		pair_start(&t, i, &limits);
		first = program_set_open(&t.a, 1);
		assert_true(first >= 0);
		for (int k = 1; k < 4; k++)
			assert_true(program_set_open(&t.a, 1) >= 0);
		assert_int_equal(program_set_open(&t.a, 1), -CV_EMFILE);
		program_set_close(&t.a, first);
		assert_int_equal(program_set_open(&t.a, 1), first);
		pair_end(&t);
	}
}

static uint32_t held_of(const struct pair *t, int host)
{
	uint32_t sum = 0;

	for (uint16_t k = 0; k < t->w->host[host].workers; k++)
		sum += world_engine(&t->w->host[host], k)->rx_held;
	return sum;
}

/* Half of the packet buffers lie in queues of a program that does not read, whose peers send on to all its many sockets. */
static void crowd__does_not_read__other_program_is_served_as_before(void **state)
{
	static const uint8_t data[PAIR_BYTES];
	struct user_limits tight = program_limits;
	struct pair t;
	struct program_group *crowd_group, *peers_group;
	struct program crowd, peers;
	uint32_t listener, client, server, sock[60];

	(void)state;
	tight.rx_bytes = 64 << 10;
	pair_start(&t, 9, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	crowd_group = program_group_new(&t.hb, &tight);
	program_start(&crowd, crowd_group, NULL);
	peers_group = program_group_new(&t.ha, &program_limits);
	program_start(&peers, peers_group, NULL);
	for (uint16_t k = 0; k < t.w->host[1].workers; k++)
		world_engine(&t.w->host[1], k)->rx_held_max = 64 / t.w->host[1].workers;
	(void)program_listener(&crowd, 1, 81);
	for (unsigned i = 0; i < 60; i++)
		sock[i] = program_connect(&peers, 1, 81);
	for (unsigned k = 0; k < 20; k++) {
		pair_run(&t, 10);
		for (unsigned i = 0; i < 60; i++)
			(void)program_send(&peers, sock[i], data, 8000, NULL);
	}
	assert_in_range(held_of(&t, 1), 65, 64 + 64 / 2 + ENGINE_BURST);
	pair_transfer(&t, &t.a, client, &t.b, server);
	program_group_free(crowd_group);
	program_group_free(peers_group);
	assert_int_equal(held_of(&t, 1), 0);
	pair_end(&t);
}

/* Bytes of the receive arena that hold what the group's sockets have not read. */
static uint64_t arena_used(const struct program_group *g)
{
	return program_info(g).rx_bytes_used;
}

static void inside__large_pieces__are_read_from_packet_buffers(void **state)
{
	struct user_limits limits = program_limits;
	uint32_t listener, client, server;
	struct engine *e;
	struct pair t;

	(void)state;
	limits.inside = true;
	pair_start(&t, 3, &limits);
	e = t.w->host[1].e;
	pair_connect(&t, &listener, &client, &server);
	assert_true(program_send(&t.a, client, (uint8_t[20000]){0}, 20000, NULL) == 20000);
	pair_run(&t, 20);
	assert_true(e->rx_lent >= 10);
	assert_true(arena_used(t.gb) < 4096);
	assert_int_equal(program_recv(&t.b, server, (uint8_t[20000]){0}, 20000, NULL), 20000);
	pair_transfer(&t, &t.a, client, &t.b, server);

	/* Beyond the limit there are copies, and nothing is lost. */
	e->rx_lent_max = 4;
	pair_transfer(&t, &t.a, client, &t.b, server);
	assert_true(program_send(&t.a, client, (uint8_t[20000]){0}, 20000, NULL) == 20000);
	pair_run(&t, 20);
	assert_true(e->rx_lent <= 4 && arena_used(t.gb) > 10000);
	pair_end(&t);
}

static void datagram__to_another_program__arrives_with_its_sender(void **state)
{
	struct pair t;
	uint32_t a, b;
	struct cv_endpoint to = world_endpoint(1, 2000), from;
	char text[32];

	(void)state;
	pair_start(&t, 3, &program_limits);
	a = program_bound(&t.a, 0, 1000);
	b = program_bound(&t.b, 1, 2000);
	assert_int_equal(program_send(&t.a, a, "datagram", 8, &to), 8);
	pair_run(&t, 20);
	assert_int_equal(program_recv(&t.b, b, text, sizeof(text), &from), 8);
	assert_memory_equal(text, "datagram", 8);
	assert_int_equal(from.port, 1000);
	assert_memory_equal(from.addr, world_endpoint(0, 0).addr, 16);
	pair_end(&t);
}

static struct cv_set *set_at(const struct program_group *g, int set)
{
	const struct cv_segment *geo = (const void *)g->seg;

	return (void *)(g->seg + geo->sets_off + (uint64_t)set * geo->set_stride);
}

static void watch__events__come_once_until_read_and_ring_once_for_each_arming(void **state)
{
	struct pair t;
	uint32_t listener, client, server;
	struct cv_set *shared;
	int set;

	(void)state;
	pair_start(&t, 10, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	set = program_set_open(&t.b, 55);
	shared = set_at(t.gb, set);
	program_post(
		&t.b, (struct cv_command){
			      .op = CV_CMD_WATCH, .sock = server, .arg = (uint32_t)set, .len = 9});
	pair_run(&t, 1);
	assert_int_equal(shared->tail, 1); /* the state at the beginning */
	assert_int_equal(((uint64_t *)(shared + 1))[0], CV_SET_EVENT(server, 9u));
	shared->head = 1;
	t.hb.rings = 0;
	shared->armed = 1;
	for (int i = 0; i < 3; i++) {
		program_send(&t.a, client, "x", 1, NULL);
		pair_run(&t, 50);
	}
	assert_int_equal(shared->tail, 2);
	assert_int_equal(t.hb.rings, 1);
	assert_int_equal(t.hb.last_bell, 55);
	shared->head = 2;
	shared->armed = 2;
	program_send(&t.a, client, "x", 1, NULL);
	pair_run(&t, 50);
	assert_int_equal(shared->tail, 3);
	assert_int_equal(t.hb.rings, 2);
	pair_end(&t);
}

static void bell__blocks__none_of_its_groups_is_rung_again(void **state)
{
	struct pair t;
	uint32_t listener, client, server;
	int set[2];

	(void)state;
	pair_start(&t, 13, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	pair_run(&t, 50);
	t.hb.rings = 0;
	t.hb.bells_block = true;
	for (int i = 0; i < 2; i++) {
		set[i] = program_set_open(&t.b, 55 + i);
		set_at(t.gb, set[i])->armed = 1;
		program_post(
			&t.b, (struct cv_command){
				      .op = CV_CMD_WATCH, .sock = server, .arg = (uint32_t)set[i]});
	}
	pair_run(&t, 1);
	assert_int_equal(t.hb.rings, 1);
	t.hb.bells_block = false;
	for (int i = 0; i < 2; i++) {
		set_at(t.gb, set[i])->head = 1;
		set_at(t.gb, set[i])->armed = 2;
	}
	program_send(&t.a, client, "x", 1, NULL);
	pair_run(&t, 50);
	assert_int_equal(set_at(t.gb, set[0])->tail, 2); /* it may look by itself */
	assert_int_equal(t.hb.rings, 1);
	pair_end(&t);
}

static void watch__more_than_one_socket_may_have__set_is_told_of_everything(void **state)
{
	struct pair t;
	uint32_t listener, client, server, before;
	struct cv_set *shared;
	int set = -1, result = 0;
	uint32_t n = 0;

	(void)state;
	pair_start(&t, 11, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	set = program_set_open(&t.b, 55);
	while (result == 0 && n < 1000)
		result = program_call(&t.b, (struct cv_command){.op = CV_CMD_WATCH,
						    .sock = server,
						    .arg = (uint32_t)set,
						    .len = n++});
	assert_int_equal(result, -CV_ENOMEM);
	assert_int_equal(n, 257);
	shared = set_at(t.gb, set);
	shared->head = shared->tail;
	before = shared->overflow;
	program_send(&t.a, client, "x", 1, NULL);
	pair_run(&t, 20);
	assert_true(shared->overflow > before);
	pair_end(&t);
}

static void commands__room_is_wanted__lane_is_rung_when_some_were_taken(void **state)
{
	struct pair t;
	struct cv_set *shared;

	(void)state;
	pair_start(&t, 13, &program_limits);
	shared = set_at(t.gb, (int)t.b.lane);
	pair_run(&t, 1);
	for (uint32_t want = 0; want < 2; want++) {
		t.hb.rings = 0;
		shared->armed = 1 + want;
		t.b.shared->want = want;
		for (int i = 0; i < 8; i++)
			program_post(&t.b, (struct cv_command){.op = CV_CMD_NOP});
		pair_run(&t, 1);
		assert_int_equal(t.b.shared->cmd_head, t.b.tail);
		assert_int_equal(t.hb.rings, want);
	}
	pair_end(&t);
}

/* As a worker that would sleep now. */
static bool turns_due(const struct pair *t)
{
	bool due = false;

	for (uint16_t k = 0; k < t->w->host[1].workers; k++)
		due = engine_look(world_engine(&t->w->host[1], k)) || due;
	return due;
}

static void turns_take(const struct pair *t)
{
	for (unsigned n = 0; n < 100 && turns_due(t); n++) {
		for (uint16_t k = 0; k < t->w->host[1].workers; k++)
			engine_turn(world_engine(&t->w->host[1], k), t->w->now_ns);
	}
	assert_false(turns_due(t));
}

/* What is carried out behind a turn is told in the next one: there must be one. */
static void command_without_lane__told_before_the_worker_sleeps(void **state)
{
	struct pair t;
	uint32_t sock;
	int set;

	(void)state;
	pair_start(&t, 14, &program_limits);
	sock = program_bound(&t.b, 1, 2000);
	set = program_set_open(&t.b, 77);
	turns_take(&t);
	assert_int_equal(
		program_say(&t.b, (struct cv_command){.op = CV_CMD_WATCH, .sock = sock, .arg = (uint32_t)set}), 0);
	assert_true(turns_due(&t));
	turns_take(&t);
	pair_end(&t);
}

#define STARVED 100u

static void starved__more_than_a_turn_feeds__all_are_fed_before_the_worker_sleeps(void **state)
{
	struct user_limits tight = program_limits;
	struct pair t;
	uint32_t from, sock[STARVED], fed = 0;
	struct cv_sock *hog;

	(void)state;
	tight.rxds_max = 256;
	pair_start(&t, 15, &tight);
	from = program_bound(&t.a, 0, 1000);
	for (uint16_t i = 0; i < STARVED; i++)
		sock[i] = program_bound(&t.b, 1, (uint16_t)(2000 + i));
	for (uint16_t i = 0; i < STARVED;) {
		const struct cv_endpoint to = world_endpoint(1, (uint16_t)(2000 + i));

		assert_int_equal(program_send(&t.a, from, "x", 1, &to), 1);
		pair_run(&t, 2);
		i = (uint16_t)program_info(t.gb).starved; /* the first one takes all there is */
	}
	turns_take(&t);
	hog = program_record(&t.b, sock[0]);
	hog->rx_consumed = hog->rx_produced;
	program_post(&t.b, (struct cv_command){.op = CV_CMD_RECVD, .sock = sock[0]});
	turns_take(&t);
	for (uint32_t i = 1; i < STARVED; i++)
		fed += program_record(&t.b, sock[i])->rx_produced == 1;
	assert_int_equal(fed, STARVED - 1);
	pair_end(&t);
}

static void send__full_and_wanted__tells_when_there_is_room(void **state)
{
	struct pair t;
	uint32_t listener, client, server, events;
	static const uint8_t data[1 << 20];
	static uint8_t in[1 << 20];
	struct cv_set *shared;
	int32_t size = 60000;
	struct cv_command opt = {.op = CV_CMD_SETOPT, .arg = CV_OPT_SNDBUF, .len = sizeof(size)};
	int set;

	(void)state;
	pair_start(&t, 12, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	opt.sock = client;
	memcpy(opt.value, &size, sizeof(size));
	assert_int_equal(program_call(&t.a, opt), 0);
	assert_int_equal(program_record(&t.a, client)->sndbuf, 120000);
	set = program_set_open(&t.a, 77);
	shared = set_at(t.ga, set);
	program_post(&t.a,
		(struct cv_command){.op = CV_CMD_WATCH, .sock = client, .arg = (uint32_t)set});
	for (int i = 0; i < 2000; i++) { /* until the peer's window and our buffer are full */
		program_send(&t.a, client, data, sizeof(data), NULL);
		pair_run(&t, 1);
	}
	assert_true(program_record(&t.a, client)->tx_pos - program_record(&t.a, client)->tx_acked >
		    100000);
	shared->head = events = shared->tail;
	program_record(&t.a, client)->tx_want++;
	pair_run(&t, 300);
	assert_int_equal(shared->tail, events);
	while (program_recv(&t.b, server, in, sizeof(in), NULL) > 0)
		pair_run(&t, 5);
	pair_run(&t, 300);
	assert_int_equal(shared->tail, events + 1);
	pair_end(&t);
}

static void small_sends__unacknowledged__buffers_are_back_and_bytes_arrive(void **state)
{
	struct pair t;
	uint32_t listener, client, server;
	uint8_t text[450], got[450];
	uint32_t n = 0;

	(void)state;
	pair_start(&t, 14, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = pair_pattern(i);
	for (uint32_t i = 0; i < sizeof(text); i += 9)
		assert_int_equal(program_send(&t.a, client, text + i, 9, NULL), 9);
	world_run(t.w, 0, NULL, NULL);
	program_collect(&t.a);
	assert_true(program_record(&t.a, client)->tx_acked < program_record(&t.a, client)->tx_pos);
	assert_int_equal(t.a.slots_used, 0);
	while (n < sizeof(got)) {
		pair_run(&t, 50);
		n += program_recv(&t.b, server, got + n, (uint32_t)sizeof(got) - n, NULL);
	}
	assert_memory_equal(got, text, sizeof(text));
	pair_run(&t, 200);
	assert_int_equal(program_info(t.ga).txbufs_used, 0);
	pair_end(&t);
}

/* OPEN, CONNECT and WATCH in one command, as a client's connect() posts them. */
static int open_and_connect(
	struct program *p, struct cv_endpoint peer, uint32_t family, int32_t *result)
{
	int handle = program_call(p, (struct cv_command){.op = CV_CMD_OPEN,
					     .flags = CV_F_CONNECT,
					     .type = CV_STREAM,
					     .family = CV_AF_INET,
					     .arg = family,
					     .peer = peer,
					     .len = p->lane + 1});

	memcpy(result, p->shared->reply, sizeof(*result));
	return handle;
}

static void open_with_connect__one_answer__connected_and_watched(void **state)
{
	struct pair t;
	uint32_t listener, server, events;
	int32_t result;
	int client;

	(void)state;
	pair_start(&t, 14, &program_limits);
	listener = program_listener(&t.b, 1, 80);
	events = set_at(t.ga, (int)t.a.lane)->tail;
	client = open_and_connect(&t.a, world_endpoint(1, 80), CV_AF_INET, &result);
	assert_true(client > 0);
	assert_int_equal(result, 0);
	pair_run(&t, 10);
	assert_true(program_record(&t.a, (uint32_t)client)->status & CV_ST_CONNECTED);
	assert_int_not_equal(set_at(t.ga, (int)t.a.lane)->tail, events);
	server = program_accept(&t.b, listener, true);
	pair_run(&t, 1);
	pair_transfer(&t, &t.a, (uint32_t)client, &t.b, server);
	pair_end(&t);
}

static void open_with_connect__refused__the_socket_stays_and_may_try_again(void **state)
{
	struct cv_endpoint group = world_endpoint(1, 80);
	struct pair t;
	int32_t result;
	int client;

	(void)state;
	group.addr[12] = 224; /* multicast */
	pair_start(&t, 15, &program_limits);
	assert_int_equal(open_and_connect(&t.a, group, 99, &result), -CV_EAFNOSUPPORT);
	client = open_and_connect(&t.a, group, CV_AF_INET, &result);
	assert_true(client > 0);
	assert_int_equal(result, -CV_ENETUNREACH);
	program_listener(&t.b, 1, 80);
	assert_int_equal(program_call(&t.a, (struct cv_command){.op = CV_CMD_CONNECT,
						    .sock = (uint32_t)client,
						    .family = CV_AF_INET,
						    .peer = world_endpoint(1, 80)}),
		0);
	pair_run(&t, 10);
	assert_true(program_record(&t.a, (uint32_t)client)->status & CV_ST_CONNECTED);
	pair_end(&t);
}

static void commands__stale_foreign_or_nonsense__refused(void **state)
{
	struct pair t;
	struct program_group *stranger_group;
	struct program stranger;
	uint32_t listener, client, server;

	(void)state;
	pair_start(&t, 13, &program_limits);
	pair_connect(&t, &listener, &client, &server);
	stranger_group = program_group_new(&t.hb, &program_limits);
	program_start(&stranger, stranger_group, NULL);
	assert_int_equal(
		program_call(&stranger, (struct cv_command){.op = CV_CMD_CLOSE, .sock = server}),
		-CV_EBADF);
	assert_int_equal(program_call(&t.b, (struct cv_command){.op = CV_CMD_LISTEN,
						    .sock = server + (1u << CV_SOCK_INDEX_BITS)}),
		-CV_EBADF);
	assert_int_equal(
		program_call(&t.b, (struct cv_command){.op = 99, .sock = server}), -CV_EINVAL);
	assert_int_equal(
		program_call(&t.b,
			(struct cv_command){.op = CV_CMD_OPEN, .family = 99, .type = CV_STREAM}),
		-CV_EAFNOSUPPORT);
	assert_int_equal(
		program_call(&t.b,
			(struct cv_command){.op = CV_CMD_GETOPT, .sock = server, .arg = 100000}),
		-CV_EINVAL);
	assert_int_equal(
		program_call(&t.b,
			(struct cv_command){.op = CV_CMD_WATCH, .sock = server, .arg = 100000}),
		-CV_EINVAL);
	/* Outside its arena, and at a position that was passed: nothing is sent. */
	program_post(
		&t.b, (struct cv_command){.op = CV_CMD_SEND, .sock = server, .off = 0, .len = 100});
	program_post(&t.b,
		(struct cv_command){
			.op = CV_CMD_SEND, .sock = server, .off = UINT64_MAX - 10, .len = 100});
	pair_run(&t, 20);
	assert_int_equal(program_record(&t.a, client)->rx_produced, 0);
	assert_true(program_info(t.gb).violations >= 3);
	pair_transfer(&t, &t.b, server, &t.a, client);
	program_group_free(stranger_group);
	pair_end(&t);
}

/* Fills a segment with noise, cursors and commands included. */
static void scribble(struct program_group *g, unsigned *seed)
{
	const struct cv_segment geo = *(const struct cv_segment *)(const void *)g->seg;
	uint64_t control = geo.rx_off; /* everything in front of the data */

	for (int i = 0; i < 400; i++) {
		uint64_t at = ((uint64_t)rand_r(seed) << 16 ^ (uint64_t)rand_r(seed)) % control;
		int kind = rand_r(seed) % 4;

		if (kind == 0)
			g->seg[at] = (uint8_t)rand_r(seed);
		else if (kind == 1 && at + 8 <= control)
			*(uint64_t *)(void *)(g->seg + (at & ~7ull)) = (uint64_t)rand_r(seed) % 512;
		else if (kind == 2 && at + 64 <= control)
			memset(g->seg + (at & ~63ull), rand_r(seed), 64);
		else /* where lanes and sets keep their cursors */
			g->seg[geo.lanes_off + at % (geo.lane_stride * 2)] = (uint8_t)rand_r(seed);
	}
}

/* Commands that look right, on sockets that may be its own. */
static void plausible(struct program *p, unsigned *seed)
{
	struct cv_command *cmds = (void *)(p->shared + 1);

	for (uint32_t i = 0; i < program_limits.cmd_entries; i++) {
		struct cv_command c = {.op = (uint8_t)(rand_r(seed) % (CV_CMD_COUNT + 1)),
			.flags = (uint8_t)rand_r(seed),
			.family = rand_r(seed) % 2 ? CV_AF_INET : CV_AF_INET6,
			.type = (uint8_t)(1 + rand_r(seed) % 2),
			.seq = (uint32_t)rand_r(seed) % 2,
			.sock = (uint32_t)rand_r(seed) % 40,
			.len = (uint32_t)rand_r(seed) % 9000,
			.pos = (uint64_t)rand_r(seed) % 3,
			.off = ((const struct cv_segment *)(const void *)p->group->seg)->tx_off +
			       (uint64_t)rand_r(seed) % (2 << 20),
			.arg = (uint32_t)rand_r(seed) % 40};

		c.peer = world_endpoint(rand_r(seed) % 2, (uint16_t)(80 + rand_r(seed) % 4));
		cmds[i] = c;
	}
	__atomic_store_n(&p->shared->cmd_tail,
		__atomic_load_n(&p->shared->cmd_head, __ATOMIC_ACQUIRE) + program_limits.cmd_entries,
		__ATOMIC_RELEASE);
}

static void hostile__noise_over_its_segment__other_transfer_intact(void **state)
{
	(void)state;
	for (unsigned s = 1; s <= 12; s++) {
		struct pair t;
		struct program_group *bad_group;
		struct program bad;
		uint32_t listener, client, server;
		unsigned seed = s;
		struct cv_segment first;

		pair_start(&t, 100 + s, &program_limits);
		pair_connect(&t, &listener, &client, &server);
		bad_group = program_group_new(&t.hb, &program_limits);
		first = *(const struct cv_segment *)(const void *)bad_group->seg;
		program_start(&bad, bad_group, NULL);
		(void)program_listener(&bad, 1, 81);
		(void)program_bound(&bad, 1, 82);
		for (int round = 0; round < 60; round++) {
			if (round % 2)
				plausible(&bad, &seed);
			else
				scribble(bad_group, &seed);
			pair_run(&t, 2);
			/* The test reads the geometry from there. */
			memcpy(bad_group->seg, &first, sizeof(first));
			if (round % 20 == 10)
				pair_transfer(&t, &t.a, client, &t.b, server);
		}
		program_group_free(bad_group);
		pair_transfer(&t, &t.b, server, &t.a, client);
		pair_end(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stream__both_ways__every_byte_and_all_buffers_back),
		cmocka_unit_test(stream__receive_memory_smaller_than_the_window__nothing_is_lost),
		cmocka_unit_test(datagram__connected_again__has_the_new_names),
		cmocka_unit_test(limits__many_lanes__as_many_sets_as_configured),
		cmocka_unit_test(crowd__does_not_read__other_program_is_served_as_before),
		cmocka_unit_test(inside__large_pieces__are_read_from_packet_buffers),
		cmocka_unit_test(datagram__to_another_program__arrives_with_its_sender),
		cmocka_unit_test(watch__events__come_once_until_read_and_ring_once_for_each_arming),
		cmocka_unit_test(bell__blocks__none_of_its_groups_is_rung_again),
		cmocka_unit_test(watch__more_than_one_socket_may_have__set_is_told_of_everything),
		cmocka_unit_test(commands__room_is_wanted__lane_is_rung_when_some_were_taken),
		cmocka_unit_test(command_without_lane__told_before_the_worker_sleeps),
		cmocka_unit_test(starved__more_than_a_turn_feeds__all_are_fed_before_the_worker_sleeps),
		cmocka_unit_test(send__full_and_wanted__tells_when_there_is_room),
		cmocka_unit_test(small_sends__unacknowledged__buffers_are_back_and_bytes_arrive),
		cmocka_unit_test(open_with_connect__one_answer__connected_and_watched),
		cmocka_unit_test(open_with_connect__refused__the_socket_stays_and_may_try_again),
		cmocka_unit_test(commands__stale_foreign_or_nonsense__refused),
		cmocka_unit_test(hostile__noise_over_its_segment__other_transfer_intact),
	};

	world_eal_init("world_user");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
