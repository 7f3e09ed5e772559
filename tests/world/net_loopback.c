/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets to ourselves: own addresses, and 127.0.0.0/8 and ::1 where the engine serves them. */
#include "tests/world/net_common.h"

static struct world *loop_new(uint64_t seed)
{
	struct world *w = world6_new(seed, &perfect);

	w->host[0].e->config.loopback = true;
	return w;
}

static void local_address(const struct sock *sk, const char *text)
{
	assert_memory_equal(sk->local.addr, inside(text).addr, 16);
}

static void connect__to_ourselves__source_is_as_linux_chooses(void **state)
{
	static const struct {
		const char *to, *from;
	} table[] = {{"127.0.0.1", "127.0.0.1"}, {"127.3.2.1", "127.0.0.1"},
		{"10.0.0.1", "10.0.0.1"}, {"::1", "::1"}, {"2001:db8::1", "2001:db8::1"},
		{"10.0.0.2", "10.0.0.1"}, {"2001:db8::2", "2001:db8::1"},
		{"fe80::77", "fe80::ff:fe00:1"}, {"0.0.0.0", "127.0.0.1"}, {"::", "::1"}};
	struct world *w = loop_new(1);

	(void)state;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct cv_endpoint to = at(table[i].to, 9);
		struct sock *sk = udp_new(w, 0, addr_is_v4(to.addr) ? CV_AF_INET : CV_AF_INET6);

		assert_int_equal(sock_connect(sk, &to), 0);
		local_address(sk, table[i].from);
		sock_close(sk, false);
	}
	world_free(w);
}

static void datagrams__to_loopback__turn_round(void **state)
{
	static const char *const pairs[][2] = {{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1", "127.9.9.9"}, {"::1", "::1"}, {"10.0.0.1", "127.0.0.1"},
		{"127.0.0.1", "10.0.0.1"}};
	struct world *w = loop_new(2);
	uint64_t frames;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	frames = w->frames_sent;
	for (unsigned i = 0; i < 5; i++) {
		struct sock *sk[2] = {udp_at(w, 0, pairs[i][0], 5), udp_at(w, 0, pairs[i][1], 9)};
		char got[8];

		send_at(sk[0], pairs[i][1], 9, "hello", 5);
		world_run(w, MS, NULL, NULL);
		assert_int_equal(sk[1]->rxq.n, 1);
		assert_memory_equal(pkt_of(sk[1]->rxq.head)->src.addr, at(pairs[i][0], 0).addr, 16);
		assert_memory_equal(pkt_of(sk[1]->rxq.head)->dst.addr, at(pairs[i][1], 0).addr, 16);
		assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 5);
		close_all(sk, 2);
	}
	assert_int_equal(w->frames_sent, frames);
	world_free(w);
}

static void loopback__not_served__has_no_route(void **state)
{
	struct world *w = world6_new(3, &perfect);
	struct cv_endpoint four = at("127.0.0.1", 9), six = at("::1", 9);
	struct sock *sk[2] = {udp_new(w, 0, CV_AF_INET), udp_new(w, 0, CV_AF_INET6)};

	(void)state;
	w->host[0].port.has_gateway = true; /* a default route does not help */
	memcpy(w->host[0].port.gateway, at("10.0.0.2", 0).addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, &w->host[0].port), 0);
	assert_int_equal(sock_connect(sk[0], &four), -CV_ENETUNREACH);
	assert_int_equal(sock_connect(sk[1], &six), -CV_ENETUNREACH);
	close_all(sk, 2); /* the attempt has bound them, as on Linux */
	sk[0] = udp_new(w, 0, CV_AF_INET);
	sk[1] = udp_new(w, 0, CV_AF_INET6);
	assert_int_equal(sock_bind(sk[0], &four), -CV_EADDRNOTAVAIL);
	assert_int_equal(sock_bind(sk[1], &six), -CV_EADDRNOTAVAIL);
	close_all(sk, 2);
	world_free(w);
}

static void bound_to_loopback__cannot_leave_the_machine(void **state)
{
	struct world *w = loop_new(4);
	struct sock *sk = udp_at(w, 0, "127.0.0.1", 5);
	struct cv_endpoint away = at("10.0.0.2", 9);

	(void)state;
	assert_int_equal(try_send(sk, &away, "x", 1), -CV_EINVAL);
	sock_close(sk, false);
	world_free(w);
}

static void port_nobody_has__on_loopback__is_refused(void **state)
{
	struct world *w = loop_new(5);
	static const char *const to[] = {"127.0.0.1", "::1"};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct cv_endpoint ep = at(to[i], 9);
		struct sock *sk = udp_new(w, 0, i == 0 ? CV_AF_INET : CV_AF_INET6);

		assert_int_equal(sock_connect(sk, &ep), 0);
		assert_int_equal(try_send(sk, NULL, "x", 1), 0);
		world_run(w, MS, NULL, NULL);
		assert_int_equal(sk->error, CV_ECONNREFUSED);
		sock_close(sk, false);
	}
	world_free(w);
}

/* The same of our own link-local address, which is one with its interface only. */
static void port_nobody_has__on_our_link_local_address__is_refused(void **state)
{
	struct world *w = world6_new(12, &perfect);
	struct cv_endpoint ep = inside("fe80::ff:fe00:1");
	struct sock *sk = udp_new(w, 0, CV_AF_INET6);

	(void)state;
	ep.port = 9;
	world_run(w, 5 * SECOND, NULL, NULL);
	assert_int_equal(sock_connect(sk, &ep), 0);
	assert_int_equal(try_send(sk, NULL, "x", 1), 0);
	world_run(w, MS, NULL, NULL);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	sock_close(sk, false);
	world_free(w);
}

static void largest_datagrams__go_whole(void **state)
{
	struct world *w = loop_new(6);
	static uint8_t data[65527], got[65527];
	static const struct {
		const char *at;
		uint32_t bytes;
	} table[] = {{"127.0.0.1", 65507}, {"::1", 65527}};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sock *sk[2] = {udp_at(w, 0, table[i].at, 5), udp_at(w, 0, table[i].at, 9)};
		struct cv_endpoint to = at(table[i].at, 9);

		pattern(data, sizeof(data), i);
		send_at(sk[0], table[i].at, 9, data, table[i].bytes);
		if (i == 0)
			assert_int_equal(
				try_send(sk[0], &to, data, table[i].bytes + 1), -CV_EMSGSIZE);
		world_run(w, MS, NULL, NULL);
		assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), table[i].bytes);
		assert_memory_equal(got, data, table[i].bytes);
		close_all(sk, 2);
	}
	assert_int_equal(COUNT(w, 0, frags_out), 0);
	world_free(w);
}

static void tcp__over_loopback__both_families(void **state)
{
	struct world *w = loop_new(7);
	static const char *const to[] = {"127.0.0.1", "::1", "10.0.0.1", "2001:db8::1"};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct cv_endpoint ep = at(to[i], 80);
		uint8_t family = addr_is_v4(ep.addr) ? CV_AF_INET : CV_AF_INET6;
		struct sock *l, *c, *s;
		char got[8];

		assert_int_equal(sock_open(w->host[0].e, family, CV_STREAM, &l), 0);
		assert_int_equal(sock_open(w->host[0].e, family, CV_STREAM, &c), 0);
		l->user = c->user = w;
		assert_int_equal(sock_bind(l, &ep), 0);
		assert_int_equal(sock_listen(l, 5), 0);
		assert_int_equal(sock_connect(c, &ep), 0);
		world_run(w, 10 * MS, NULL, NULL);
		assert_true(c->status & CV_ST_CONNECTED);
		s = sock_accept(l);
		assert_non_null(s);
		sock_accept_done(l);
		s->user = w;
		assert_int_equal(try_send(c, NULL, "hello", 5), 0);
		world_run(w, 10 * MS, NULL, NULL);
		assert_int_equal(sock_recv_copy(s, got, sizeof(got)), 5);
		sock_close(c, true);
		sock_close(s, true);
		sock_close(l, true);
		world_run(w, 10 * MS, NULL, NULL);
	}
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect__to_ourselves__source_is_as_linux_chooses),
		cmocka_unit_test(datagrams__to_loopback__turn_round),
		cmocka_unit_test(loopback__not_served__has_no_route),
		cmocka_unit_test(bound_to_loopback__cannot_leave_the_machine),
		cmocka_unit_test(port_nobody_has__on_loopback__is_refused),
		cmocka_unit_test(port_nobody_has__on_our_link_local_address__is_refused),
		cmocka_unit_test(largest_datagrams__go_whole),
		cmocka_unit_test(tcp__over_loopback__both_families),
	};

	world_eal_init("world-net-loopback");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
