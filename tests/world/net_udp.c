/* SPDX-License-Identifier: BSD-3-Clause */
/* Two engines on a wire, or one with itself: ARP, ICMP, UDP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "stack/net/ip.h"
#include "stack/udp/udp.h"
#include "tests/world/world.h"

#define MS 1000000ull
#define SECOND 1000000000ull

static const struct world_link perfect = {.delay_ns = MS};

static struct sock *udp_bound(struct world *w, int host, uint16_t port)
{
	struct cv_endpoint at = world_endpoint(host, port);
	struct sock *sk;

	assert_int_equal(sock_open(w->host[host].e, CV_AF_INET, CV_DGRAM, &sk), 0);
	sk->user = w;
	assert_int_equal(sock_bind(sk, &at), 0);
	return sk;
}

static void send_to(
	struct sock *sk, struct cv_endpoint to, const void *data, uint32_t len, unsigned *released)
{
	struct txbuf *b = world_txbuf(data, len, released);

	b->peer = to;
	b->has_peer = true;
	assert_int_equal(sock_send(sk, b), 0);
}

static void two_hosts__datagram__arrives_after_arp_with_its_addresses(void **state)
{
	struct world *w = world_new(1, &perfect);
	struct sock *a = udp_bound(w, 0, 1000), *b = udp_bound(w, 1, 2000);
	unsigned released = 0;
	char got[32];
	struct pkt *p;

	(void)state;
	send_to(a, world_endpoint(1, 2000), "hello, culvert", 14, &released);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(b->rxq.n, 1);
	p = pkt_of(b->rxq.head);
	assert_int_equal(p->src.port, 1000);
	assert_int_equal(p->src.addr[15], 1);
	assert_int_equal(p->dst.addr[15], 2);
	assert_int_equal(sock_recv_copy(b, got, sizeof(got)), 14);
	assert_memory_equal(got, "hello, culvert", 14);
	assert_int_equal(released, 1);
	assert_true(w->host[1].e->counters.arp_replies_out >= 1);
	sock_close(a, false);
	sock_close(b, false);
	world_free(w);
}

static void one_host__datagram_to_itself__needs_no_port(void **state)
{
	struct world *w = world_new(2, &perfect);
	struct sock *a = udp_bound(w, 0, 1000), *b = udp_bound(w, 0, 2000);
	static char big[60000], got[60000];
	unsigned released = 0;

	(void)state;
	memset(big, 'x', sizeof(big));
	send_to(a, world_endpoint(0, 2000), big, sizeof(big), &released);
	send_to(a, world_endpoint(0, 2000), "", 0, &released);
	world_run(w, MS, NULL, NULL);
	assert_int_equal(b->rxq.n, 2);
	assert_int_equal(sock_recv_copy(b, got, sizeof(got)), sizeof(big));
	assert_memory_equal(got, big, sizeof(big));
	assert_int_equal(sock_recv_copy(b, got, sizeof(got)), 0);
	assert_int_equal(b->rxq.n, 0);
	assert_int_equal(released, 2);
	sock_close(a, false);
	sock_close(b, false);
	world_free(w);
}

static void connected__port_nobody_has__is_refused(void **state)
{
	struct world *w = world_new(3, &perfect);
	struct sock *a = udp_bound(w, 0, 1000);
	struct cv_endpoint to = world_endpoint(1, 9);
	unsigned released = 0;

	(void)state;
	assert_int_equal(sock_connect(a, &to), 0);
	assert_int_equal(sock_send(a, world_txbuf("x", 1, &released)), 0);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(a->error, CV_ECONNREFUSED);
	assert_int_equal(a->error_seq, 1);
	assert_int_equal(w->host[1].e->counters.icmp_errors_out, 1);
	sock_close(a, false);
	world_free(w);
}

/* Frames that a look has found belong to the engine: they end with it. */
static void engine__ends_behind_a_look__frees_what_it_found(void **state)
{
	struct world *w = world_new(20, &(struct world_link){.delay_ns = 1000});
	uint8_t frame[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	(void)state;
	world_run(w, SECOND, NULL, NULL);
	world_inject(w, 0, frame, sizeof(frame));
	assert_true(engine_look(w->host[0].e));
	assert_int_equal(w->host[0].e->rx_n, 1);
	world_free(w);
}

static void bind__conflicts__as_linux(void **state)
{
	struct world *w = world_new(4, &perfect);
	struct sock *a = udp_bound(w, 0, 1000), *b;
	struct cv_endpoint at = world_endpoint(0, 1000), elsewhere = world_endpoint(1, 1);

	(void)state;
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_DGRAM, &b), 0);
	assert_int_equal(sock_bind(b, &at), -CV_EADDRINUSE);
	assert_int_equal(sock_bind(b, &elsewhere), -CV_EADDRNOTAVAIL);
	b->reuseaddr = true;
	assert_int_equal(sock_bind(b, &at), -CV_EADDRINUSE);
	a->reuseaddr = true;
	assert_int_equal(sock_bind(b, &at), 0);
	assert_int_equal(sock_bind(b, &at), -CV_EINVAL);
	sock_close(a, false);
	sock_close(b, false);
	assert_int_equal(udp_count(w->host[0].e), 0);
	world_free(w);
}

static void unanswered_arp__three_tries__then_the_queue_is_dropped(void **state)
{
	struct world *w = world_new(5, &perfect);
	struct sock *a = udp_bound(w, 0, 1000);
	struct cv_endpoint nobody = world_endpoint(76, 1);
	unsigned released = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		send_to(a, nobody, "x", 1, &released);
	world_run(w, 10 * SECOND, NULL, NULL);
	assert_int_equal(w->host[0].e->counters.drop_neigh_queue, 4);
	assert_int_equal(w->host[0].e->counters.drop_neigh_failed, 16);
	assert_int_equal(w->host[0].e->counters.arp_requests_out, 1 + 3); /* one announces */
	assert_int_equal(released, 20);
	sock_close(a, false);
	world_free(w);
}

/* What arrives is what was sent, each at most twice, whatever the wire does. */
static void bad_wire__many_datagrams__none_is_damaged(void **state)
{
	const struct world_link bad = {.delay_ns = MS,
		.loss = 100,
		.duplicate = 50,
		.reorder = 100,
		.reorder_ns = 3 * MS,
		.corrupt = 100};
	unsigned total = 0;
	uint64_t hashes[2] = {0};

	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct world *w = world_new(seed / 2, &bad);
		struct sock *a = udp_bound(w, 0, 1000), *b = udp_bound(w, 1, 2000);
		unsigned released = 0, seen[64] = {0};
		uint8_t data[200];

		for (unsigned i = 0; i < 64; i++) {
			memset(data, (int)i, sizeof(data));
			send_to(a, world_endpoint(1, 2000), data, sizeof(data), &released);
			world_run(w, 100 * MS, NULL, NULL);
		}
		world_run(w, 10 * SECOND, NULL, NULL);
		while (b->rxq.n > 0) {
			assert_int_equal(sock_recv_copy(b, data, sizeof(data)), sizeof(data));
			for (size_t j = 1; j < sizeof(data); j++)
				assert_int_equal(data[j], data[0]);
			assert_true(++seen[data[0]] <= 2);
			total++;
		}
		assert_int_equal(released, 64);
		hashes[seed % 2] = w->hash;
		if (seed % 2 == 1)
			assert_true(hashes[0] == hashes[1]); /* the same seed: the same frames */
		sock_close(a, false);
		sock_close(b, false);
		world_free(w);
	}
	assert_true(total > 40 * 64 / 2);
}

static void random_frames__from_a_stranger__harm_nothing(void **state)
{
	struct world *w = world_new(6, &perfect);
	uint8_t frame[200];
	unsigned seed = 3;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint16_t len = (uint16_t)(1 + rand_r(&seed) % (int)sizeof(frame));

		for (uint16_t j = 0; j < len; j++)
			frame[j] = (uint8_t)rand_r(&seed);
		memcpy(frame, w->host[0].port.mac, 6);
		if (len > 40) {
			frame[12] = 8;
			frame[13] = rand_r(&seed) % 4 ? 0 : 6;
			frame[14] = rand_r(&seed) % 4 ? 0x45 : frame[14];
		}
		world_inject(w, 0, frame, len);
		world_run(w, 0, NULL, NULL);
	}
	assert_int_equal(w->host[0].e->counters.rx_packets, 20000);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hosts__datagram__arrives_after_arp_with_its_addresses),
		cmocka_unit_test(one_host__datagram_to_itself__needs_no_port),
		cmocka_unit_test(connected__port_nobody_has__is_refused),
		cmocka_unit_test(bind__conflicts__as_linux),
		cmocka_unit_test(engine__ends_behind_a_look__frees_what_it_found),
		cmocka_unit_test(unanswered_arp__three_tries__then_the_queue_is_dropped),
		cmocka_unit_test(bad_wire__many_datagrams__none_is_damaged),
		cmocka_unit_test(random_frames__from_a_stranger__harm_nothing),
	};

	world_eal_init("world-net-udp");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
