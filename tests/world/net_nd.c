/* SPDX-License-Identifier: BSD-3-Clause */
/* Neighbours and our own addresses, both families: probing, conflicts, announcements, the five states of a
 * neighbour, ageing, a full table. */
#include "tests/world/wire.h"

#include <rte_ether.h>

static bool is_ours(const struct world *w, const char *text)
{
	return ip_is_local(w->host[0].e, inside(text).addr);
}

static int bind_to(struct world *w, const char *text)
{
	struct cv_endpoint ep = at(text, 5);
	struct sock *sk = udp_new(w, 0, addr_is_v4(ep.addr) ? CV_AF_INET : CV_AF_INET6);
	int ret = sock_bind(sk, &ep);

	sock_close(sk, false);
	return ret;
}

/* Its address again from the beginning, tested before it is used. */
static struct world *tentative_new(uint64_t seed, bool v6)
{
	struct world *w = wire_new(seed, v6);
	struct port *port = &w->host[0].port;

	port->dad4 = port->dad6 = true;
	net_port_down(w->host[0].e, port);
	wire_forget(w);
	net_port_up(w->host[0].e, port);
	return w;
}

/* --- IPv4 -------------------------------------------------------------------------------------- */

static void address4__with_probing__is_ours_after_three_questions(void **state)
{
	struct world *w = tentative_new(1, false);
	const struct wire_frame *f;
	uint64_t last = w->now_ns;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_false(is_ours(w, "10.0.0.1"));
		assert_int_equal(bind_to(w, "10.0.0.1"), -CV_EADDRNOTAVAIL);
		f = wire_arp(w, 3 * SECOND, 1);
		assert_non_null(f);
		assert_memory_equal(f->f + 28, "\0\0\0\0", 4); /* nobody's question: no cache learns from it */
		assert_memory_equal(f->f + 38, at("10.0.0.1", 0).addr + 12, 4);
		assert_true(f->at_ns - last <= (i == 0 ? SECOND : 2 * SECOND) + 10 * MS);
		assert_true(i == 0 || f->at_ns - last >= SECOND);
		last = f->at_ns;
	}
	for (unsigned i = 0; i < 2; i++) { /* announcements */
		f = wire_arp(w, 3 * SECOND, 1);
		assert_non_null(f);
		assert_memory_equal(f->f + 28, at("10.0.0.1", 0).addr + 12, 4);
		assert_memory_equal(f->f + 38, at("10.0.0.1", 0).addr + 12, 4);
		assert_true(f->at_ns - last >= 2 * SECOND && f->at_ns - last < 2 * SECOND + 20 * MS);
		last = f->at_ns;
		assert_true(is_ours(w, "10.0.0.1"));
	}
	assert_null(wire_arp(w, 20 * SECOND, 1));
	assert_int_equal(bind_to(w, "10.0.0.1"), 0);
	world_free(w);
}

static void address4__somebody_has_or_tests_it__is_not_used(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 3; how++) {
		struct world *w = tentative_new(2, false);

		assert_non_null(wire_arp(w, 2 * SECOND, 1));
		if (how == 0) /* the owner's answer to the probe */
			arp(w, wire_mac, 2, "10.0.0.1", "0.0.0.0");
		else if (how == 1) /* the owner asks something */
			arp(w, wire_mac, 1, "10.0.0.1", "10.0.0.7");
		else /* another one that wants it */
			arp(w, wire_mac, 1, "0.0.0.0", "10.0.0.1");
		wire_head = wire_tail;
		assert_null(wire_arp(w, 20 * SECOND, 1));
		assert_false(is_ours(w, "10.0.0.1"));
		assert_int_equal(bind_to(w, "10.0.0.1"), -CV_EADDRNOTAVAIL);
		assert_int_equal(COUNT(w, 0, addr_duplicates), 1);
		world_free(w);
	}
}

static void address4__our_own_probe_comes_back__means_nothing(void **state)
{
	struct world *w = tentative_new(3, false);

	(void)state;
	assert_non_null(wire_arp(w, 2 * SECOND, 1));
	arp(w, w->host[0].port.mac, 1, "0.0.0.0", "10.0.0.1");
	wire_wait(w, 10 * SECOND);
	assert_true(is_ours(w, "10.0.0.1"));
	world_free(w);
}

static void address4__tentative__is_not_answered_for(void **state)
{
	struct world *w = tentative_new(4, false);

	(void)state;
	assert_non_null(wire_arp(w, 2 * SECOND, 1));
	arp(w, wire_mac, 1, "10.0.0.9", "10.0.0.1");
	assert_null(wire_arp(w, 500 * MS, 2));
	wire_wait(w, 10 * SECOND);
	arp(w, wire_mac, 1, "10.0.0.9", "10.0.0.1");
	assert_non_null(wire_arp(w, 0, 2));
	world_free(w);
}

static void address4__claimed_in_use__is_defended_every_ten_seconds(void **state)
{
	struct world *w = wire_new(5, false);
	const struct wire_frame *f;

	(void)state;
	wire_forget(w);
	for (unsigned i = 0; i < 2; i++) {
		arp(w, wire_mac, 1, "10.0.0.1", "10.0.0.1");
		f = wire_arp(w, 0, 1);
		assert_non_null(f);
		assert_memory_equal(f->f + 28, at("10.0.0.1", 0).addr + 12, 4);
		arp(w, wire_mac, 2, "10.0.0.1", "10.0.0.1");
		assert_null(wire_arp(w, 9 * SECOND, 1)); /* two that defend would not stop */
		wire_wait(w, 2 * SECOND);
	}
	assert_true(is_ours(w, "10.0.0.1"));
	assert_int_equal(COUNT(w, 0, addr_conflicts), 4);
	assert_int_equal(COUNT(w, 0, addr_duplicates), 0);
	world_free(w);
}

/* A neighbour of either family that the test answers for. */
static void neighbour_answers(struct world *w, bool v6)
{
	if (v6)
		nd_from(w, "2001:db8::9", "2001:db8::1", 136, 0x60, "2001:db8::9", wire_mac);
	else
		arp(w, wire_mac, 2, "10.0.0.9", "10.0.0.1");
}

static const struct wire_frame *question(struct world *w, uint64_t within, bool v6)
{
	return v6 ? wire_icmp6(w, within, 135) : wire_arp(w, within, 1);
}

static const struct wire_frame *datagram(struct world *w, uint64_t within, bool v6)
{
	return v6 ? wire_udp6(w, within) : wire_udp4(w, within);
}

/* RFC4861:7.3.2, by ARP as by neighbour discovery. */
static void neighbour__used_again_after_silence__goes_through_all_states(void **state)
{
	static const char *const them[] = {"10.0.0.9", "2001:db8::9"};

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = wire_new(6, v6);
		struct sock *sk = udp_at(w, 0, v6 ? "2001:db8::1" : "10.0.0.1", 5);
		const struct wire_frame *f;

		wire_forget(w);
		send_at(sk, them[v6], 9, "x", 1);
		f = question(w, 0, v6);
		assert_non_null(f);
		assert_true(f->f[0] & 1); /* to everybody, or a group */
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_INCOMPLETE);
		neighbour_answers(w, v6);
		assert_non_null(datagram(w, 0, v6));
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_REACHABLE);
		assert_null(question(w, 29 * SECOND, v6));
		wire_wait(w, 2 * SECOND);
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_STALE);
		assert_null(question(w, 20 * SECOND, v6)); /* nobody asks while nobody sends */
		send_at(sk, them[v6], 9, "y", 1);
		assert_non_null(datagram(w, 0, v6)); /* it leaves at once */
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_DELAY);
		assert_null(question(w, 4900 * MS, v6));
		f = question(w, 200 * MS, v6);
		assert_non_null(f);
		assert_memory_equal(f->f, wire_mac, 6); /* to itself */
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_PROBE);
		neighbour_answers(w, v6);
		assert_int_equal(neigh_state(w, them[v6]), NEIGH_REACHABLE);
		sock_close(sk, false);
		world_free(w);
	}
}

static void neighbour__gone__is_asked_three_times_and_forgotten(void **state)
{
	static const char *const them[] = {"10.0.0.9", "2001:db8::9"};

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = wire_new(7, v6);
		struct sock *sk = udp_at(w, 0, v6 ? "2001:db8::1" : "10.0.0.1", 5);
		const struct wire_frame *f;

		wire_forget(w);
		send_at(sk, them[v6], 9, "x", 1);
		wire_wait(w, 0);
		neighbour_answers(w, v6);
		wire_wait(w, 40 * SECOND);
		wire_head = wire_tail;
		send_at(sk, them[v6], 9, "x", 1);
		for (unsigned i = 0; i < 3; i++) {
			f = question(w, 5100 * MS, v6);
			assert_non_null(f);
			assert_memory_equal(f->f, wire_mac, 6);
		}
		assert_null(question(w, 10 * SECOND, v6));
		assert_null(neigh_find(w->host[0].e->net, &w->host[0].port, inside(them[v6]).addr));
		send_at(sk, them[v6], 9, "x", 1); /* whoever has the address now */
		f = question(w, 0, v6);
		assert_non_null(f);
		assert_true(f->f[0] & 1);
		sock_close(sk, false);
		world_free(w);
	}
}

static void neighbour__not_used__is_forgotten_without_a_word(void **state)
{
	struct world *w = wire_new(8, false);

	(void)state;
	arp(w, wire_mac, 1, "10.0.0.9", "10.0.0.1");
	assert_int_equal(neigh_state(w, "10.0.0.9"), NEIGH_STALE); /* it asked; that says not that it hears us */
	wire_forget(w);
	assert_null(wire_arp(w, 61 * SECOND, 1));
	assert_null(neigh_find(w->host[0].e->net, &w->host[0].port, at("10.0.0.9", 0).addr));
	world_free(w);
}

/* RFC4861:7.3.1: as long as TCP is acknowledged nobody asks. */
static void tcp__acknowledged__keeps_its_neighbour_reachable(void **state)
{
	struct world *w = world_new(9, &perfect);
	struct cv_endpoint to = at("10.0.0.2", 80);
	uint8_t byte = 1, got[4];
	struct sock *l, *c, *s;
	uint64_t asked;

	(void)state;
	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &l), 0);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &c), 0);
	assert_int_equal(sock_bind(l, &to), 0);
	assert_int_equal(sock_listen(l, 1), 0);
	assert_int_equal(sock_connect(c, &to), 0);
	world_run(w, SECOND, NULL, NULL);
	s = sock_accept(l);
	assert_non_null(s);
	asked = COUNT(w, 0, arp_requests_out);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(try_send(c, NULL, &byte, 1), 0);
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(sock_recv_copy(s, got, sizeof(got)), 1);
	}
	assert_int_equal(COUNT(w, 0, arp_requests_out), asked);
	assert_true(COUNT(w, 1, arp_requests_out) > 2); /* who only receives knows nothing, and asks */
	sock_close(c, true);
	sock_close(s, true);
	sock_close(l, true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

static void table__full__gives_up_the_longest_unused(void **state)
{
	struct world *w = wire_new(10, true);
	struct sock *sk = udp_at(w, 0, "2001:db8::1", 5);
	char text[40];

	(void)state;
	wire_forget(w);
	send_at(sk, "2001:db8::9", 9, "x", 1);
	wire_wait(w, 0);
	neighbour_answers(w, true);
	for (unsigned i = 0; i < 5000; i++) { /* more than the table's 4,096 */
		snprintf(text, sizeof(text), "2001:db8::1:%x", i);
		nd_from(w, text, "2001:db8::1", 135, 0, "2001:db8::1", wire_mac);
	}
	assert_true(COUNT(w, 0, neigh_evicted) >= 5000 - 4096);
	assert_int_equal(COUNT(w, 0, drop_neigh_table), 0);
	assert_int_equal(neigh_state(w, "2001:db8::9"), NEIGH_REACHABLE); /* in use, so it stays */
	assert_int_equal(neigh_state(w, text), NEIGH_STALE);
	assert_null(neigh_find(w->host[0].e->net, &w->host[0].port, at("2001:db8::1:0", 0).addr));
	sock_close(sk, false);
	world_free(w);
}

/* Who answers without having been asked is not in use: he can fill no table. */
static void table__full_of_answers_nobody_asked_for__makes_room(void **state)
{
	struct world *w = wire_new(20, true);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 5), *sk6 = udp_at(w, 0, "2001:db8::1", 5);
	char text[40];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		if (i & 1) {
			snprintf(text, sizeof(text), "10.1.%u.%u", i >> 8, i & 0xff);
			arp(w, wire_mac, 1, text, "10.0.0.1");
			arp(w, wire_mac, 2, text, "10.0.0.1");
		} else {
			snprintf(text, sizeof(text), "2001:db8::1:%x", i);
			nd_from(w, text, "2001:db8::1", 135, 0, "2001:db8::1", wire_mac);
			nd_from(w, text, "2001:db8::1", 136, 0x60, text, wire_mac);
		}
	}
	wire_forget(w);
	send_at(sk, "10.0.0.9", 9, "x", 1);
	assert_non_null(wire_arp(w, 0, 1));
	send_at(sk6, "2001:db8::9", 9, "x", 1);
	assert_non_null(wire_icmp6(w, 0, 135));
	assert_int_equal(COUNT(w, 0, drop_neigh_table), 0);
	sock_close(sk, false);
	sock_close(sk6, false);
	world_free(w);
}

/* Who asks us directly may leave out his MAC, because he thinks that we know it (RFC4861:7.2.2): if we do not, we ask
 * him first. */
static void question__without_a_mac__from_a_stranger_is_answered(void **state)
{
	struct world *w = wire_new(21, true);
	const struct wire_frame *f;

	(void)state;
	wire_wait(w, 5 * SECOND);
	wire_forget(w);
	nd_from(w, "2001:db8::9", "2001:db8::1", 135, 0, "2001:db8::1", NULL);
	assert_non_null(wire_icmp6(w, 0, 135));
	nd_from(w, "2001:db8::9", "2001:db8::1", 136, 0x60, "2001:db8::9", wire_mac);
	f = wire_icmp6(w, 0, 136);
	assert_non_null(f);
	assert_memory_equal(f->f, wire_mac, 6);
	assert_memory_equal(f->f + 38, at("2001:db8::9", 0).addr, 16);
	assert_int_equal(f->f[58], 0x60); /* solicited, override */
	/* Now he is known. */
	nd_from(w, "2001:db8::9", "2001:db8::1", 135, 0, "2001:db8::1", NULL);
	assert_non_null(wire_icmp6(w, 0, 136));
	world_free(w);
}

/* What is fragmented, be it in one piece, may be made to deceive those who watch the link: neighbours never need it
 * (RFC6980:5). */
static void discovery__in_fragments__is_dropped(void **state)
{
	struct world *w = wire_new(22, true);
	uint8_t ns[32] = {135, [24] = 1, [25] = 1}, echo[32] = {128}, packet[64], frame[128];

	(void)state;
	wire_wait(w, 5 * SECOND);
	memcpy(ns + 8, at("2001:db8::1", 0).addr, 16);
	memcpy(ns + 26, wire_mac, 6);
	put16(ns + 2, l4_sum("2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6, ns, 32));
	put16(echo + 2, l4_sum("2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6, echo, 32));
	nd_from(w, "2001:db8::9", "2001:db8::1", 135, 0, "2001:db8::1", wire_mac);
	wire_forget(w);
	for (unsigned whole = 0; whole < 2; whole++) {
		for (unsigned i = 0; i < 2; i++) {
			const uint8_t *message = i == 0 ? ns : echo;

			for (uint16_t off = 0; off < 32; off = (uint16_t)(off + (whole ? 32 : 16))) {
				uint16_t n = whole ? 32 : 16;

				memcpy(packet,
					(const uint8_t[]){IPPROTO_ICMPV6, 0, 0, 0, 0, 0, (uint8_t)whole, (uint8_t)i},
					8);
				put16(packet + 2, off | (off + n < 32));
				memcpy(packet + 8, message + off, n);
				world_inject(w, 0, frame,
					frame6(frame, w, 0, "2001:db8::9", "2001:db8::1", IPPROTO_FRAGMENT, 255, packet,
						(uint16_t)(n + 8)));
				wire_wait(w, 0);
			}
			if (i == 0)
				assert_null(wire_icmp6(w, 0, 136));
			else
				assert_non_null(wire_icmp6(w, 0, 129));
		}
	}
	assert_int_equal(COUNT(w, 0, drop_nd), 2);
	world_free(w);
}

/* --- IPv6 -------------------------------------------------------------------------------------- */

static void address6__with_probing__is_ours_after_a_silent_second(void **state)
{
	struct world *w = tentative_new(11, true);
	const struct wire_frame *f;
	unsigned tested = 0;
	uint8_t group[16];

	(void)state;
	assert_false(is_ours(w, "2001:db8::1"));
	assert_false(is_ours(w, LL0));
	assert_int_equal(bind_to(w, "2001:db8::1"), -CV_EADDRNOTAVAIL);
	while ((f = wire_icmp6(w, 1010 * MS, 135)) != NULL && tested < 2) {
		tested++;
		assert_memory_equal(f->f + 22, at("::", 0).addr, 16);
		assert_int_equal(f->f[21], 255);
		assert_int_equal(f->len, 14 + 40 + 24); /* without an option: RFC4861:4.3 */
		nd_solicited_node(group, f->f + 62);
		assert_memory_equal(f->f + 38, group, 16);
		assert_false(is_ours(w, "2001:db8::1") && is_ours(w, LL0));
	}
	assert_int_equal(tested, 2); /* the address and the link-local one */
	wire_wait(w, 1010 * MS);
	assert_true(is_ours(w, "2001:db8::1"));
	assert_true(is_ours(w, LL0));
	assert_int_equal(bind_to(w, "2001:db8::1"), 0);
	world_free(w);
}

static void address6__tentative__neither_asks_nor_answers(void **state)
{
	struct world *w = tentative_new(12, true);
	struct sock *sk = udp_at(w, 0, "::", 5);
	struct cv_endpoint to = at("2001:db8::9", 9);

	(void)state;
	nd_from(w, "2001:db8::9", "ff02::1:ff00:1", 135, 0, "2001:db8::1", wire_mac);
	assert_int_equal(try_send(sk, &to, "x", 1), -CV_ENETUNREACH); /* there is no address to send from */
	assert_null(wire_icmp6(w, 500 * MS, 136));
	wire_wait(w, 2 * SECOND);
	nd_from(w, "2001:db8::9", "ff02::1:ff00:1", 135, 0, "2001:db8::1", wire_mac);
	assert_non_null(wire_icmp6(w, 0, 136));
	sock_close(sk, false);
	world_free(w);
}

static void address6__of_somebody_else__is_not_used(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 2; how++) {
		struct world *w = tentative_new(13, true);

		if (how == 0)
			nd_from(w, "2001:db8::1", "ff02::1", 136, 0x20, "2001:db8::1", wire_mac);
		else
			nd_from(w, "::", "ff02::1:ff00:1", 135, 0, "2001:db8::1", NULL);
		wire_wait(w, 10 * SECOND);
		assert_int_equal(COUNT(w, 0, addr_duplicates), 1);
		assert_int_equal(bind_to(w, "2001:db8::1"), -CV_EADDRNOTAVAIL);
		assert_false(is_ours(w, "2001:db8::1"));
		assert_true(is_ours(w, LL0));
		world_free(w);
	}
}

static void address6__in_use__later_claims_are_defended(void **state)
{
	struct world *w = wire_new(14, true);
	const struct wire_frame *f;

	(void)state;
	wire_forget(w);
	nd_from(w, "::", "ff02::1:ff00:1", 135, 0, "2001:db8::1", NULL);
	f = wire_icmp6(w, 0, 136);
	assert_non_null(f);
	assert_memory_equal(f->f + 38, at("ff02::1", 0).addr, 16);
	nd_from(w, "2001:db8::1", "ff02::1", 136, 0x20, "2001:db8::1", wire_mac);
	assert_non_null(wire_icmp6(w, 0, 136));
	assert_int_equal(COUNT(w, 0, addr_duplicates), 0);
	assert_int_equal(COUNT(w, 0, addr_conflicts), 1);
	assert_true(is_ours(w, "2001:db8::1"));
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(address4__with_probing__is_ours_after_three_questions),
		cmocka_unit_test(address4__somebody_has_or_tests_it__is_not_used),
		cmocka_unit_test(address4__our_own_probe_comes_back__means_nothing),
		cmocka_unit_test(address4__tentative__is_not_answered_for),
		cmocka_unit_test(address4__claimed_in_use__is_defended_every_ten_seconds),
		cmocka_unit_test(neighbour__used_again_after_silence__goes_through_all_states),
		cmocka_unit_test(neighbour__gone__is_asked_three_times_and_forgotten),
		cmocka_unit_test(neighbour__not_used__is_forgotten_without_a_word),
		cmocka_unit_test(tcp__acknowledged__keeps_its_neighbour_reachable),
		cmocka_unit_test(table__full__gives_up_the_longest_unused),
		cmocka_unit_test(table__full_of_answers_nobody_asked_for__makes_room),
		cmocka_unit_test(question__without_a_mac__from_a_stranger_is_answered),
		cmocka_unit_test(discovery__in_fragments__is_dropped),
		cmocka_unit_test(address6__with_probing__is_ours_after_a_silent_second),
		cmocka_unit_test(address6__tentative__neither_asks_nor_answers),
		cmocka_unit_test(address6__of_somebody_else__is_not_used),
		cmocka_unit_test(address6__in_use__later_claims_are_defended),
	};

	world_eal_init("world-net-nd");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
