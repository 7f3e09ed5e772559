/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments, both families and both ways: whole datagrams over bad wires, overlaps, limits, time.
 */
#include "tests/world/wire.h"

#define MF 0x2000

static const struct {
	const char *a, *b;
	uint32_t max; /* bytes of a datagram */
} families[] = {{"10.0.0.1", "10.0.0.2", 65507}, {"2001:db8::1", "2001:db8::2", 65527}};

static uint8_t data[65527], got[65527];

/* UDP from host 1 to port 9 of host 0, cut by hand: frag() injects [off, off + len) of it. */
struct cut {
	struct world *w;
	bool v6;
	uint8_t udp[4096];
	uint16_t len;
};

static void cut_init(struct cut *c, struct world *w, bool v6, uint16_t payload)
{
	c->w = w;
	c->v6 = v6;
	pattern(data, payload, 5);
	c->len = udp_bytes(c->udp, families[v6].b, 5, families[v6].a, 9, data, payload);
}

static void frag_raw(struct cut *c, uint16_t id, uint16_t off, uint16_t len, bool more)
{
	uint8_t frame[2048], body[2048] = {IPPROTO_UDP};

	if (!c->v6) {
		world_inject(c->w, 0, frame,
			frame4(frame, c->w, 0, families[0].b, families[0].a, IPPROTO_UDP, id,
				(uint16_t)((more ? MF : 0) | off / 8), c->udp + off, len));
	} else {
		put16(body + 2, (uint32_t)off | more);
		put16(body + 6, id);
		memcpy(body + 8, c->udp + off, len);
		world_inject(c->w, 0, frame,
			frame6(frame, c->w, 0, families[1].b, families[1].a, IPPROTO_FRAGMENT, 64,
				body, (uint16_t)(8 + len)));
	}
	world_run(c->w, 0, NULL, NULL);
}

static void frag(struct cut *c, uint16_t id, uint16_t off, uint16_t len)
{
	frag_raw(c, id, off, len, off + len < c->len);
}

/* The world after the tests for duplicates, with a socket at port 9 of host 0. */
static struct world *frag_world(uint64_t seed, struct sock **sk)
{
	struct world *w = world6_new(seed, &perfect);

	*sk = udp_at(w, 0, "::", 9);
	world_run(w, 2 * SECOND, NULL, NULL);
	return w;
}

static void arrived(struct sock *sk, const struct cut *c)
{
	assert_int_equal(sk->rxq.n, 1);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), c->len - 8);
	assert_memory_equal(got, data, c->len - 8u);
}

static void large_datagrams__arrive_whole(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		static const uint32_t sizes[] = {
			1452, 1453, 1472, 1473, 2953, 8192, 40001, 65507, 65527};
		struct world *w = world6_new(1, &perfect);
		struct sock *sk[2] = {
			udp_at(w, 0, families[f].a, 5), udp_at(w, 1, families[f].b, 9)};

		for (unsigned i = 0; i < 9 && sizes[i] <= families[f].max; i++) {
			pattern(data, sizes[i], i);
			send_at(sk[0], families[f].b, 9, data, sizes[i]);
			world_run(w, 2 * SECOND, NULL, NULL);
			assert_int_equal(sk[1]->rxq.n, 1);
			assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), sizes[i]);
			assert_memory_equal(got, data, sizes[i]);
		}
		assert_int_equal(COUNT(w, 1, reass_done), f == 0 ? 5 : 8);
		close_all(sk, 2);
		world_free(w);
	}
}

/* What waits for a neighbour waits as a whole: 45 fragments are one datagram. */
static void unresolved_neighbour__queue_counts_datagrams(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct world *w = world6_new(2, &perfect);
		struct sock *sk[2] = {
			udp_at(w, 0, families[f].a, 5), udp_at(w, 1, families[f].b, 9)};

		for (uint8_t i = 0; i < 18; i++) {
			memset(data, i, 30000);
			send_at(sk[0], families[f].b, 9, data, 30000);
		}
		world_run(w, 2 * SECOND, NULL, NULL);
		assert_int_equal(sk[1]->rxq.n, 16);
		for (uint8_t i = 2; i < 18; i++) {
			assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 30000);
			assert_int_equal(got[0], i);
			assert_int_equal(got[29999], i);
		}
		close_all(sk, 2);
		world_free(w);
	}
}

static void bad_wire__datagrams_are_whole_or_nothing(void **state)
{
	const struct world_link bad = {.delay_ns = MS,
		.loss = 10,
		.duplicate = 50,
		.reorder = 300,
		.reorder_ns = 3 * MS,
		.corrupt = 5};
	unsigned whole = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		unsigned f = seed % 2;
		struct world *w = world6_new(seed, &bad);
		struct sock *sk[2] = {
			udp_at(w, 0, families[f].a, 5), udp_at(w, 1, families[f].b, 9)};

		world_run(w, 2 * SECOND, NULL, NULL);
		for (unsigned i = 0; i < 30; i++) {
			uint32_t size = 1500 + (uint32_t)(seed * 977 + i * 1511) % 18000;

			pattern(data, size, i);
			send_at(sk[0], families[f].b, 9, data, size);
			world_run(w, 100 * MS, NULL, NULL);
			while (sk[1]->rxq.n > 0) {
				assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), size);
				assert_memory_equal(got, data, size);
				whole++;
			}
		}
		world_run(w, 120 * SECOND, NULL, NULL);
		close_all(sk, 2);
		world_free(w); /* and nothing is left behind */
	}
	assert_true(whole > 40 * 30 / 2);
}

static void any_order__arrives_whole(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct sock *sk;
		struct world *w = frag_world(round, &sk);
		struct cut c;
		uint16_t order[40], n = 0;

		cut_init(&c, w, round & 1, 1900);
		for (uint16_t off = 0; off < c.len; off = (uint16_t)(off + 48))
			order[n++] = off;
		for (uint16_t i = n; i > 1; i--) {
			uint16_t j = (uint16_t)(rand_r(&seed) % i), x = order[j];

			order[j] = order[i - 1];
			order[i - 1] = x;
		}
		for (uint16_t i = 0; i < n; i++) {
			uint16_t left = (uint16_t)(c.len - order[i]), len = left < 48 ? left : 48;

			assert_int_equal(sk->rxq.n, 0);
			frag(&c, 77, order[i], len);
			if (i % 3 == 0 && i + 1 < n)
				frag(&c, 77, order[i], len); /* said twice */
		}
		arrived(sk, &c);
		sock_close(sk, false);
		world_free(w);
	}
}

/* RFC5722: nothing of a datagram with overlapping fragments is believed, also what comes later. */
static void overlap__ends_the_datagram(void **state)
{
	static const struct {
		uint16_t off, len;
	} wrong[] = {
		{0, 400}, {392, 16}, {0, 8}, {200, 100 + 4}, {0, 1200}, {792, 16}, {1000, 1008}};

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct sock *sk;
		struct world *w = frag_world(3, &sk);
		struct cut c;
		unsigned k = i / 2;

		cut_init(&c, w, i & 1, 2000);
		frag(&c, 5, 0, 400);
		frag(&c, 5, 800, 400);
		frag_raw(&c, 5, wrong[k].off, wrong[k].len & 0xfff8u, true);
		frag(&c, 5, 400, 400);
		frag(&c, 5, 1200, 808);
		if (k == 0) { /* that one was no overlap but the same again */
			arrived(sk, &c);
		} else {
			assert_int_equal(COUNT(w, 0, reass_overlaps), 1);
			assert_int_equal(sk->rxq.n, 0);
			assert_true(COUNT(w, 0, drop_ip_fragment) >= 3);
			frag(&c, 6, 0, 1000); /* the next one is not concerned */
			frag(&c, 6, 1000, 1008);
			arrived(sk, &c);
		}
		world_run(w, 100 * SECOND, NULL, NULL);
		assert_int_equal(COUNT(w, 0, reass_timeouts), 0);
		sock_close(sk, false);
		world_free(w);
	}
}

static void the_end__said_twice_differently__ends_the_datagram(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct sock *sk;
		struct world *w = frag_world(4, &sk);
		struct cut c;

		cut_init(&c, w, i & 1, 2000);
		switch (i / 2) {
		case 0: /* behind the end */
			frag_raw(&c, 5, 800, 200, false);
			frag_raw(&c, 5, 1000, 200, true);
			break;
		case 1: /* an end before what is there */
			frag_raw(&c, 5, 800, 200, true);
			frag_raw(&c, 5, 400, 200, false);
			break;
		default: /* two ends */
			frag_raw(&c, 5, 800, 200, false);
			frag_raw(&c, 5, 400, 200, false);
		}
		assert_int_equal(COUNT(w, 0, reass_overlaps), 1);
		sock_close(sk, false);
		world_free(w);
	}
}

static void malformed__is_refused(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct sock *sk;
		struct world *w = frag_world(5, &sk);
		struct cut c;

		cut_init(&c, w, v6, 2000);
		frag_raw(&c, 1, 0, 401, true); /* not a multiple of eight, though more follows */
		frag_raw(&c, 2, 0, 0, true);   /* empty */
		memset(c.udp, 0, sizeof(c.udp));
		assert_int_equal(COUNT(w, 0, drop_ip_fragment), 2);
		/* The ping of death: ends behind the largest packet. */
		if (!v6) {
			uint8_t frame[1600];

			world_inject(w, 0, frame,
				frame4(frame, w, 0, families[0].b, families[0].a, IPPROTO_UDP, 3,
					0x1fff, c.udp, 1000));
			world_run(w, 0, NULL, NULL);
			assert_int_equal(COUNT(w, 0, drop_ip_fragment), 3);
		}
		sock_close(sk, false);
		world_free(w);
	}
}

static void not_all__in_time__is_forgotten_and_reported(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct sock *sk, *other;
		struct world *w = frag_world(6, &sk);
		struct cut c;
		uint64_t after = v6 ? 60 : 30;

		other = udp_at(w, 1, families[v6].b, 5); /* its MAC is known then */
		send_at(other, families[v6].a, 9, "x", 1);
		world_run(w, SECOND, NULL, NULL);
		sock_recv_copy(sk, got, 1);
		cut_init(&c, w, v6, 2000);
		frag(&c, 1, 0, 800);
		frag(&c, 2, 800, 800); /* of this one the beginning is missing */
		world_run(w, (after - 1) * SECOND, NULL, NULL);
		assert_int_equal(COUNT(w, 0, reass_timeouts), 0);
		world_run(w, 2 * SECOND, NULL, NULL);
		assert_int_equal(COUNT(w, 0, reass_timeouts), 2);
		assert_int_equal(COUNT(w, 0, icmp_errors_out), 1);
		frag(&c, 1, 800, 1208); /* too late */
		assert_int_equal(sk->rxq.n, 0);
		world_run(w, 5 * SECOND, NULL, NULL);
		assert_int_equal(COUNT(w, 1, icmp_errors_in), 1);
		sock_close(sk, false);
		sock_close(other, false);
		world_free(w);
	}
}

static void many_unfinished__the_oldest_goes(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct sock *sk;
		struct world *w = frag_world(7, &sk);
		struct cut c;

		cut_init(&c, w, v6, 2000);
		for (uint16_t id = 0; id < 300; id++)
			frag(&c, id, 0, 1000);
		assert_int_equal(COUNT(w, 0, reass_evicted), 300 - 64);
		frag(&c, 299, 1000, 1008);
		arrived(sk, &c);
		frag(&c, 0, 1000, 1008);
		assert_int_equal(sk->rxq.n, 0);
		sock_close(sk, false);
		world_free(w);
	}
}

/* The first half of a datagram from another source, "10.0.0.9", or its second. */
static void other_half(struct world *w, bool second)
{
	uint8_t udp[2048], payload[1008], frame[2048];

	pattern(payload, sizeof(payload), 9);
	udp_bytes(udp, "10.0.0.9", 5, "10.0.0.1", 9, payload, sizeof(payload));
	world_inject(w, 0, frame,
		frame4(frame, w, 0, "10.0.0.9", "10.0.0.1", IPPROTO_UDP, 77, second ? 512 / 8 : MF,
			udp + (second ? 512 : 0), second ? 1016 - 512 : 512));
	world_run(w, 0, NULL, NULL);
}

static void many_unfinished_of_one_source__cost_others_nothing(void **state)
{
	struct sock *sk;
	struct world *w = frag_world(7, &sk);
	struct cut c;

	(void)state;
	cut_init(&c, w, false, 2000);
	other_half(w, false);
	for (uint16_t id = 0; id < 2000; id++)
		frag(&c, id, 0, 1000);
	other_half(w, true);
	assert_int_equal(sk->rxq.n, 1);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 1008);
	sock_close(sk, false);
	world_free(w);
}

/* RFC6946:4: it is the whole datagram, whatever else has its identification. */
static void ipv6__atomic_fragment__has_nothing_to_do_with_others(void **state)
{
	struct sock *sk;
	struct world *w = frag_world(12, &sk);
	struct cut c, whole;

	(void)state;
	cut_init(&whole, w, true, 300);
	cut_init(&c, w, true, 2000);
	frag(&c, 5, 0, 800);
	frag_raw(&whole, 5, 0, whole.len, false);
	assert_int_equal(sk->rxq.n, 1);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 300);
	frag(&c, 5, 800, 1208);
	arrived(sk, &c);
	assert_int_equal(COUNT(w, 0, reass_overlaps), 0);
	sock_close(sk, false);
	world_free(w);
}

/* The identification of the first fragment that host 0 sends of a datagram to there. */
static uint32_t id_of(struct world *w, struct sock *sk, const char *there, bool v6)
{
	const struct wire_frame *f;

	wire_forget(w);
	send_at(sk, there, 9, data, 3000);
	f = v6 ? wire_next(w, SECOND, RTE_ETHER_TYPE_IPV6, IPPROTO_FRAGMENT, -1) : wire_udp4(w, SECOND);
	assert_non_null(f);
	return v6 ? (uint32_t)f->f[58] << 24 | (uint32_t)f->f[59] << 16 | (uint32_t)f->f[60] << 8 | f->f[61]
		  : (uint32_t)f->f[18] << 8 | f->f[19];
}

/* RFC7739:5.3: what one destination sees says nothing about what another one will. */
static void identifications__of_each_destination__not_to_be_guessed(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = wire_new(13, v6);
		const char *one = v6 ? "2001:db8::2" : "10.0.0.2", *two = v6 ? "2001:db8::9" : "10.0.0.9";
		struct sock *sk;
		uint32_t a, b, c;

		wire_wait(w, 5 * SECOND);
		sk = udp_at(w, 0, families[v6].a, 5);
		for (unsigned i = 0; i < 2; i++) { /* both neighbours are known then */
			const char *text = i ? two : one;

			if (v6)
				nd_from(w, text, "2001:db8::1", 135, 0, "2001:db8::1", wire_mac);
			else
				arp(w, wire_mac, 1, text, "10.0.0.1");
		}
		a = id_of(w, sk, one, v6);
		b = id_of(w, sk, two, v6);
		c = id_of(w, sk, one, v6);
		/* Each worker counts in numbers of its own. */
		assert_int_equal((c - a) & (v6 ? UINT32_MAX : UINT16_MAX), w->host[0].workers);
		assert_true(((b - a) & (v6 ? UINT32_MAX : UINT16_MAX)) > 16);
		assert_true(((a - b) & (v6 ? UINT32_MAX : UINT16_MAX)) > 16);
		sock_close(sk, false);
		world_free(w);
	}
}

/* One sender cannot hold more than an eighth of the packet buffers. */
static void tiny_fragments__buffers_are_bounded(void **state)
{
	struct sock *sk;
	struct world *w = frag_world(8, &sk);
	struct cut c;

	(void)state;
	cut_init(&c, w, false, 4000);
	for (uint16_t id = 0; id < 100; id++) {
		for (uint16_t off = 8; off < 8 * 100; off = (uint16_t)(off + 16))
			frag(&c, id, off, 8);
		assert_true(rte_mempool_in_use_count(w->pool) <= w->pool->size / 8);
	}
	assert_true(COUNT(w, 0, reass_evicted) > 0);
	/* And one datagram not of more than 256 pieces. */
	for (uint16_t off = 0; off < 8 * 257; off = (uint16_t)(off + 8))
		frag(&c, 1000, off, 8);
	assert_int_equal(COUNT(w, 0, reass_overlaps), 1);
	sock_close(sk, false);
	world_free(w);
}

static void ping__larger_than_a_frame__is_answered_whole(void **state)
{
	struct sock *sk;
	struct world *w = frag_world(9, &sk);
	uint8_t icmp[3008] = {8}, frame[1600];

	(void)state;
	pattern(icmp + 4, sizeof(icmp) - 4, 1);
	put16(icmp + 2, fold16(sum16(icmp, sizeof(icmp), 0)));
	for (uint16_t off = 0; off < sizeof(icmp); off = (uint16_t)(off + 1480)) {
		uint16_t len = (uint16_t)(sizeof(icmp) - off < 1480 ? sizeof(icmp) - off : 1480);

		world_inject(w, 0, frame,
			frame4(frame, w, 0, families[0].b, families[0].a, IPPROTO_ICMP, 9,
				(uint16_t)((off + len < (int)sizeof(icmp) ? MF : 0) | off / 8),
				icmp + off, len));
	}
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(COUNT(w, 0, icmp_echo_in), 1);
	assert_int_equal(COUNT(w, 0, frags_out), 3);
	assert_int_equal(COUNT(w, 1, reass_done), 1);
	assert_int_equal(COUNT(w, 1, drop_l4_checksum), 0);
	sock_close(sk, false);
	world_free(w);
}

/* A fragment within a fragment is refused; what follows a fragment header may be an extension
 * header. */
static void ipv6__headers_behind_the_fragment_header(void **state)
{
	struct sock *sk;
	struct world *w = frag_world(10, &sk);
	uint8_t body[256] = {60, 0, 0, 1, 0, 0, 0,
		1, /* fragment: more, destination options follow */
		IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0},
		frame[400];
	uint16_t n = udp_bytes(body + 16, families[1].b, 5, families[1].a, 9, "hello", 5);
	uint8_t last[64] = {60, 0, 0, 16, 0, 0, 0, 1};

	(void)state;
	memcpy(last + 8, body + 24, n - 8u); /* the first one ends behind the UDP header */
	for (unsigned round = 0; round < 2; round++) {
		world_inject(w, 0, frame,
			frame6(frame, w, 0, families[1].b, families[1].a, IPPROTO_FRAGMENT, 64,
				body, 24));
		world_inject(w, 0, frame,
			frame6(frame, w, 0, families[1].b, families[1].a, IPPROTO_FRAGMENT, 64,
				last, (uint16_t)n));
		world_run(w, 0, NULL, NULL);
		if (round == 0) {
			assert_int_equal(sk->rxq.n, 1);
			assert_int_equal(sock_recv_copy(sk, got, 8), 5);
			assert_memory_equal(got, "hello", 5);
		}
		body[0] = last[0] = IPPROTO_FRAGMENT; /* now a fragment follows */
		memset(body + 8, 0, 8);
		body[8] = IPPROTO_UDP;
		body[11] = 1;
	}
	assert_int_equal(sk->rxq.n, 0);
	assert_int_equal(COUNT(w, 0, drop_ip6_extension), 1);
	sock_close(sk, false);
	world_free(w);
}

/* All headers must lie in it, the upper layer's included: RFC8200:4.5, RFC7112:5. */
static void first_fragment__without_all_headers__parameter_problem(void **state)
{
	static const struct {
		uint8_t next, body[16], len; /* behind the fragment header */
		bool whole;
	} first[] = {
		{IPPROTO_TCP, {0}, 16, false},
		{IPPROTO_UDP, {0}, 0, false},
		{IPPROTO_DSTOPTS, {IPPROTO_UDP, 1, 1, 12}, 8, false},   /* the options go on */
		{IPPROTO_DSTOPTS, {IPPROTO_UDP, 1, 1, 12}, 16, false},  /* and then there is no UDP */
		{IPPROTO_DSTOPTS, {IPPROTO_UDP, 0, 1, 4}, 16, true},
		{IPPROTO_UDP, {0}, 8, true},
		{IPPROTO_ICMPV6, {0}, 8, true},
	};
	struct world *w = wire_new(21, true);
	unsigned wrong = 0;

	(void)state;
	wire_wait(w, 5 * SECOND);
	nd_from(w, families[1].b, families[1].a, 135, 0, families[1].a, wire_mac);
	wire_wait(w, 10 * MS);
	for (unsigned i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		uint8_t body[24] = {first[i].next, 0, 0, 1, 0, 0, 0, (uint8_t)(i + 1)}, frame[128];
		const struct wire_frame *f;

		memcpy(body + 8, first[i].body, first[i].len);
		world_inject(w, 0, frame, frame6(frame, w, 0, families[1].b, families[1].a, IPPROTO_FRAGMENT, 64,
						  body, (uint16_t)(8u + first[i].len)));
		f = wire_next(w, 10 * MS, RTE_ETHER_TYPE_IPV6, IPPROTO_ICMPV6, 4);
		assert_true((f == NULL) == first[i].whole);
		if (f == NULL)
			continue;
		wrong++;
		assert_int_equal(f->f[55], 3); /* the code */
		assert_memory_equal(f->f + 58, "\0\0\0\0", 4);
	}
	assert_int_equal(COUNT(w, 0, drop_ip_fragment), wrong);
	wire_wait(w, 120 * SECOND);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_datagrams__arrive_whole),
		cmocka_unit_test(first_fragment__without_all_headers__parameter_problem),
		cmocka_unit_test(unresolved_neighbour__queue_counts_datagrams),
		cmocka_unit_test(bad_wire__datagrams_are_whole_or_nothing),
		cmocka_unit_test(any_order__arrives_whole),
		cmocka_unit_test(overlap__ends_the_datagram),
		cmocka_unit_test(the_end__said_twice_differently__ends_the_datagram),
		cmocka_unit_test(malformed__is_refused),
		cmocka_unit_test(not_all__in_time__is_forgotten_and_reported),
		cmocka_unit_test(many_unfinished__the_oldest_goes),
		cmocka_unit_test(many_unfinished_of_one_source__cost_others_nothing),
		cmocka_unit_test(ipv6__atomic_fragment__has_nothing_to_do_with_others),
		cmocka_unit_test(identifications__of_each_destination__not_to_be_guessed),
		cmocka_unit_test(tiny_fragments__buffers_are_bounded),
		cmocka_unit_test(ping__larger_than_a_frame__is_answered_whole),
		cmocka_unit_test(ipv6__headers_behind_the_fragment_header),
	};

	world_eal_init("world-net-frag");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
