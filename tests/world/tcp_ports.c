/* SPDX-License-Identifier: BSD-3-Clause */
/* Local ports: which a connect without a bind takes (RFC6056), what stands in the way of a bind; and
 * the listing of all that there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "tests/world/script.h"

#define FIRST 50000u
#define N 32u

static struct cv_endpoint peer(uint8_t last, uint16_t port)
{
	struct cv_endpoint at = {.port = port};

	addr_from_v4(at.addr, (const uint8_t[]){10, 0, 0, last});
	return at;
}

static struct world *world(void)
{
	static const struct world_link wire = {.delay_ns = MS};

	return world_new(1, &wire);
}

static struct sock *open_in(struct world *w)
{
	struct sock *sk;

	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &sk), 0);
	sk->user = w;
	return sk;
}

/* The port of a connect to `to`, 0: there is none. */
static uint16_t port_to(struct world *w, const struct cv_endpoint *to, struct sock **out)
{
	struct sock *sk = open_in(w);
	int ret = sock_connect(sk, to);

	*out = sk;
	assert_true(ret == 0 || ret == -CV_EADDRNOTAVAIL);
	return ret == 0 ? sk->local.port : 0;
}

static void range_set(struct world *w, uint32_t first, uint32_t last)
{
	w->host[0].e->tcp->config.local_port_first = first;
	w->host[0].e->tcp->config.local_port_last = last;
}

T(connect__ports_of_the_range__each_once_to_a_peer__then_none)
{
	struct world *w = world();
	const struct cv_endpoint one = peer(2, 80), other = peer(2, 81);
	struct sock *sk[N + 1], *more[N];
	uint32_t seen = 0;

	(void)state;
	range_set(w, FIRST, FIRST + N - 1);
	for (uint32_t i = 0; i < N; i++) {
		uint16_t port = port_to(w, &one, &sk[i]);

		assert_in_range(port, FIRST, FIRST + N - 1);
		assert_int_equal(seen & 1u << (port - FIRST), 0);
		seen |= 1u << (port - FIRST);
	}
	assert_int_equal(port_to(w, &one, &sk[N]), 0);
	for (uint32_t i = 0; i < N; i++) /* all of them are free to another */
		assert_int_not_equal(port_to(w, &other, &more[i]), 0);
	for (uint32_t i = 0; i < N; i++) {
		sock_close(sk[i], true);
		sock_close(more[i], true);
	}
	sock_close(sk[N], true);
	world_free(w);
}

/* What a stranger sees of the ports to himself says nothing of those to others, nor of another engine's. */
T(connect__to_many_peers__no_order_in_the_ports)
{
	struct world *w = world();
	uint32_t ascending = 0;
	uint16_t last = 0;

	(void)state;
	for (uint16_t i = 0; i < 64; i++) {
		const struct cv_endpoint to = peer(2, (uint16_t)(1000 + i));
		struct sock *sk;
		uint16_t port = port_to(w, &to, &sk);

		ascending += (uint16_t)(port - last) < 64;
		last = port;
		sock_close(sk, true);
	}
	assert_in_range(ascending, 0, 4); /* 64 steps of less than 64 ports in 28,232: 0.15 expected */
	world_free(w);
}

T(connect__socket_with_a_range__a_port_of_it)
{
	struct world *w = world();
	const struct cv_endpoint to = peer(2, 80);
	int range = (int)(40000u | 40001u << 16), wrong = (int)(40001u | 40000u << 16), got = 0;
	uint32_t len = sizeof(got);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct sock *sk = open_in(w);

		assert_int_equal(sock_setopt(sk, CV_OPT_LOCAL_PORT_RANGE, &wrong, sizeof(wrong)), -CV_EINVAL);
		assert_int_equal(sock_setopt(sk, CV_OPT_LOCAL_PORT_RANGE, &range, sizeof(range)), 0);
		assert_int_equal(sock_getopt(sk, CV_OPT_LOCAL_PORT_RANGE, &got, &len), 0);
		assert_int_equal(got, range);
		assert_int_equal(sock_connect(sk, &to), i < 2 ? 0 : -CV_EADDRNOTAVAIL);
		if (i < 2)
			assert_in_range(sk->local.port, 40000, 40001);
	}
	engine_turn(w->host[0].e, w->now_ns);
	world_free(w);
}

/* A connection holds its port on its own address only. */
T(bind__connection_on_the_same_port__only_its_address_is_taken)
{
	struct world *w = world();
	struct port *p = &w->host[0].port;
	struct cv_endpoint first = world_endpoint(0, 7000), second = peer(4, 7000), any = peer(0, 7000), *free_one;
	const struct cv_endpoint to = peer(2, 80);
	struct sock *sk = open_in(w), *b = open_in(w), *six;

	(void)state;
	memset(any.addr + 12, 0, 4);
	p->addr[p->addrs_n].prefix = 96 + 24;
	memcpy(p->addr[p->addrs_n++].addr, second.addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, p), 0);
	range_set(w, 7000, 7000);
	assert_int_equal(sock_connect(sk, &to), 0);
	assert_int_equal(sk->local.port, 7000);
	free_one = addr_equal(sk->local.addr, first.addr) ? &second : &first;
	assert_int_equal(sock_bind(b, &sk->local), -CV_EADDRINUSE);
	assert_int_equal(sock_bind(b, &any), -CV_EADDRINUSE);
	assert_int_equal(sock_bind(b, free_one), 0);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET6, CV_STREAM, &six), 0);
	six->v6only = true;
	assert_int_equal(sock_bind(six, &(struct cv_endpoint){.port = 7000}), 0);
	sock_close(six, true);
	sock_close(b, true);
	sock_close(sk, true);
	world_free(w);
}

struct listing {
	uint32_t listeners, connections, now;
};

static void count_one(void *ctx, const struct tcp_snapshot *s)
{
	struct listing *l = ctx;

	l->now++;
	if (s->state == CV_TCP_LISTEN)
		l->listeners++;
	else
		l->connections++;
}

/* However many there are, one look at them takes no longer than it was told to. */
T(listing__many_sockets__each_once__in_slices)
{
	enum { MANY = 500, STEPS = 64 };
	struct world *w = world();
	const struct cv_endpoint to = peer(2, 80);
	struct sock *listener[MANY], *sk[MANY];
	struct listing l = {0};
	uint64_t at = 0;
	unsigned slices = 0;
	bool more;

	(void)state;
	for (uint16_t i = 0; i < MANY; i++) {
		const struct cv_endpoint here = world_endpoint(0, (uint16_t)(1000 + i));

		listener[i] = open_in(w);
		assert_int_equal(sock_bind(listener[i], &here), 0);
		assert_int_equal(sock_listen(listener[i], 1), 0);
		assert_int_not_equal(port_to(w, &to, &sk[i]), 0);
	}
	for (uint16_t i = 0; i < MANY; i += 2) /* gaps */
		sock_close(listener[i], true);
	do {
		l.now = 0;
		more = tcp_foreach(w->host[0].e, &at, STEPS, count_one, &l);
		slices++;
		assert_in_range(l.now, 0, STEPS / 4);
	} while (more);
	assert_int_equal(l.listeners, MANY / 2);
	assert_int_equal(l.connections, MANY);
	assert_true(slices > MANY / STEPS);
	for (uint16_t i = 0; i < MANY; i++) {
		if (i % 2 == 1)
			sock_close(listener[i], true);
		sock_close(sk[i], true);
	}
	world_free(w);
}

/* SO_REUSEPORT: each of four has a quarter of those who come, and the wildcard's one nobody whom they take. */
T(listeners__twins_of_a_port__share_evenly)
{
	enum { TWINS = 4, CLIENTS = 4000 };
	struct world *w = world();
	const struct cv_endpoint here = world_endpoint(0, 80);
	struct cv_endpoint anywhere = {.port = 80};
	struct sock *twin[TWINS + 1];
	unsigned got[TWINS + 1] = {0};
	int on = 1;

	(void)state;
	addr_from_v4(anywhere.addr, (const uint8_t[4]){0});
	for (unsigned i = 0; i <= TWINS; i++) {
		twin[i] = open_in(w);
		assert_int_equal(sock_setopt(twin[i], CV_OPT_REUSEPORT, &on, sizeof(on)), 0);
		assert_int_equal(sock_bind(twin[i], i < TWINS ? &here : &anywhere), 0);
		assert_int_equal(sock_listen(twin[i], 1), 0);
	}
	for (uint16_t port = 1; port <= CLIENTS; port++) {
		const struct cv_endpoint client = peer(2, port);
		const struct tcp_sock *tp = tcp_listener_find(w->host[0].e, &here, &client);

		for (unsigned i = 0; i <= TWINS; i++)
			got[i] += &tp->sk == twin[i];
	}
	for (unsigned i = 0; i < TWINS; i++)
		assert_in_range(got[i], CLIENTS / TWINS * 9 / 10, CLIENTS / TWINS * 11 / 10);
	for (unsigned i = 0; i <= TWINS; i++)
		sock_close(twin[i], true);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect__ports_of_the_range__each_once_to_a_peer__then_none),
		cmocka_unit_test(connect__to_many_peers__no_order_in_the_ports),
		cmocka_unit_test(connect__socket_with_a_range__a_port_of_it),
		cmocka_unit_test(listeners__twins_of_a_port__share_evenly),
		cmocka_unit_test(listing__many_sockets__each_once__in_slices),
		cmocka_unit_test(bind__connection_on_the_same_port__only_its_address_is_taken),
	};

	world_eal_init("tcp_ports");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
