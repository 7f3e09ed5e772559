/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv6: neighbours, duplicate addresses, echo and errors, extension headers, both families on one
 * socket. */
#include "tests/world/net_common.h"

#define LL0 "fe80::ff:fe00:1" /* of 02:00:00:00:00:01 */
#define LL1 "fe80::ff:fe00:2"

static void icmp6(struct world *w, int to, const char *src, const char *dst, uint8_t hops,
	uint8_t *msg, uint16_t len)
{
	uint8_t frame[1514];

	put16(msg + 2, 0);
	put16(msg + 2, l4_sum(src, dst, IPPROTO_ICMPV6, msg, len));
	world_inject(w, to, frame, frame6(frame, w, to, src, dst, IPPROTO_ICMPV6, hops, msg, len));
}

/* The packet of a protocol (and ICMPv6 type, if not 0) that is on its way to a host, from its IP
 * header on. */
static const uint8_t *on_the_wire(const struct world *w, int to, uint8_t next, uint8_t type)
{
	list_for_each(node, &w->wire[to].frames)
	{
		const uint8_t *f = list_entry(node, struct world_frame, node)->data;

		if (f[12] == 0x86 && f[13] == 0xdd && f[20] == next &&
			(type == 0 || f[54] == type))
			return f + 14;
	}
	return NULL;
}

/* Neighbour advertisement (or solicitation, type 135) with a link-layer address option. */
static void nd(struct world *w, int to, const char *src, const char *dst, uint8_t type,
	uint8_t flags, const char *target, const uint8_t *mac)
{
	uint8_t msg[32] = {type, 0, 0, 0, flags};

	memcpy(msg + 8, at(target, 0).addr, 16);
	msg[24] = type == 135 ? 1 : 2;
	msg[25] = 1;
	if (mac != NULL)
		memcpy(msg + 26, mac, 6);
	icmp6(w, to, src, dst, 255, msg, mac ? 32 : 24);
}

static void two_hosts__datagram__arrives_after_neighbour_discovery(void **state)
{
	static const char *const pairs[][2] = {{"2001:db8::1", "2001:db8::2"}, {LL0, LL1}};
	struct world *w = world6_new(1, &perfect);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sock *sk[2] = {udp_at(w, 0, pairs[i][0], 5), udp_at(w, 1, pairs[i][1], 9)};
		struct sock *any = udp_new(w, 0, CV_AF_INET6);
		char got[16];

		send_at(sk[0], pairs[i][1], 9, "hello", 5);
		send_at(any, pairs[i][1], 9, "again", 5);
		world_run(w, 2 * SECOND, NULL, NULL);
		assert_int_equal(sk[1]->rxq.n, 2);
		assert_memory_equal(pkt_of(sk[1]->rxq.head)->src.addr, inside(pairs[i][0]).addr, 16);
		assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 5);
		assert_memory_equal(pkt_of(sk[1]->rxq.head)->src.addr, inside(pairs[i][0]).addr, 16);
		/* And the answer needs no more questions. */
		send_at(sk[1], pairs[i][0], 5, "back", 4);
		world_run(w, 5 * MS, NULL, NULL);
		assert_int_equal(sk[0]->rxq.n, 1);
		close_all(sk, 2);
		sock_close(any, false);
	}
	assert_int_equal(COUNT(w, 0, drop_nd) + COUNT(w, 1, drop_nd), 0);
	assert_int_equal(COUNT(w, 0, addr_duplicates), 0);
	world_free(w);
}

/* RFC4861:7.2.5: what may change a known MAC. */
static void advertisements__change_a_mac_only_when_they_override(void **state)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 9};
	struct world *w = world6_new(5, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "2001:db8::1", 5), udp_at(w, 1, "2001:db8::2", 9)};

	(void)state;
	send_at(sk[0], "2001:db8::2", 9, "x", 1);
	world_run(w, 2 * SECOND, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	nd(w, 0, "2001:db8::2", "ff02::1", 136, 0, "2001:db8::2", other);
	send_at(sk[0], "2001:db8::2", 9, "x", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	nd(w, 0, "2001:db8::2", "ff02::1", 136, 0x20, "2001:db8::2", other);
	world_run(w, 0, NULL, NULL);
	send_at(sk[0], "2001:db8::2", 9, "x", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2); /* went to the other card */
	/* It does not answer there: five seconds, three questions, and the next one finds the old
	 * card. */
	world_run(w, 10 * SECOND, NULL, NULL);
	send_at(sk[0], "2001:db8::2", 9, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 3);
	close_all(sk, 2);
	world_free(w);
}

static void discovery__from_afar_or_malformed__is_dropped(void **state)
{
	struct world *w = world6_new(6, &perfect);
	uint8_t msg[40] = {135, [24] = 1, [25] = 1, [26] = 2, [31] = 2};
	uint64_t answers;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	answers = COUNT(w, 0, nd_adverts_out);
	memcpy(msg + 8, at("2001:db8::1", 0).addr, 16);
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 64, msg, 32);  /* a router passed it on */
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 255, msg, 20); /* cut short */
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 255, msg, 29); /* in an option */
	icmp6(w, 0, "::", "ff02::1:ff00:1", 255, msg, 32);       /* a test has no MAC */
	icmp6(w, 0, "::", "2001:db8::1", 255, msg, 24);          /* and goes to the group */
	msg[25] = 0;                                             /* an option without length */
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 255, msg, 32);
	msg[25] = 1;
	msg[1] = 1; /* code */
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 255, msg, 32);
	msg[1] = 0;
	msg[0] = 136;
	msg[4] = 0x40; /* an answer to everybody */
	icmp6(w, 0, "2001:db8::2", "ff02::1", 255, msg, 24);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, drop_nd), 8);
	assert_int_equal(COUNT(w, 0, nd_adverts_out), answers);
	world_free(w);
}

static void echo__is_answered_whole(void **state)
{
	struct world *w = world6_new(7, &perfect);
	static uint8_t msg[1400];
	const uint8_t *answer;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	nd(w, 0, "2001:db8::2", "2001:db8::1", 135, 0, "2001:db8::1", w->host[1].port.mac);
	pattern(msg, sizeof(msg), 1);
	msg[0] = 128;
	msg[1] = 0;
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 64, msg, sizeof(msg));
	world_run(w, 0, NULL, NULL);
	answer = on_the_wire(w, 1, IPPROTO_ICMPV6, 129);
	assert_non_null(answer);
	assert_memory_equal(answer + 8, at("2001:db8::1", 0).addr, 16);
	assert_memory_equal(answer + 24, at("2001:db8::2", 0).addr, 16);
	assert_int_equal(
		l4_sum("2001:db8::1", "2001:db8::2", IPPROTO_ICMPV6, answer + 40, sizeof(msg)), 0);
	assert_memory_equal(answer + 44, msg + 4, sizeof(msg) - 4);
	world_free(w);
}

static void port_nobody_has__is_refused(void **state)
{
	struct world *w = world6_new(8, &perfect);
	struct sock *sk = udp_at(w, 0, "2001:db8::1", 5);
	struct cv_endpoint to = at("2001:db8::2", 9);

	(void)state;
	assert_int_equal(sock_connect(sk, &to), 0);
	assert_int_equal(try_send(sk, NULL, "x", 1), 0);
	world_run(w, 2 * SECOND, NULL, NULL);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	sock_close(sk, false);
	world_free(w);
}

static void packet_too_big__connected_udp__cuts(void **state)
{
	struct world *w = world6_new(9, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "2001:db8::1", 5), udp_at(w, 1, "2001:db8::2", 9)};
	struct cv_endpoint to = at("2001:db8::2", 9);
	uint8_t data[1400], got[1400], msg[8 + 48] = {2, [6] = 5, [7] = 20}; /* 1300 */

	(void)state;
	pattern(data, sizeof(data), 1);
	assert_int_equal(sock_connect(sk[0], &to), 0);
	assert_int_equal(try_send(sk[0], NULL, data, 10), 0);
	world_run(w, 2 * SECOND, NULL, NULL);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	memcpy(msg + 8, on_the_wire(w, 1, IPPROTO_UDP, 0), 48);
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 64, msg, sizeof(msg));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[0]->error, CV_EMSGSIZE);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, frags_out), 2);
	assert_int_equal(sk[1]->rxq.n, 3);
	sock_recv_copy(sk[1], got, sizeof(got));
	sock_recv_copy(sk[1], got, sizeof(got));
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	close_all(sk, 2);
	world_free(w);
}

/* Puts UDP behind the headers in ext, the first of which is `first`. */
static void udp_behind(struct world *w, uint8_t first, const uint8_t *ext, uint16_t ext_len)
{
	uint8_t packet[1200], frame[1300];
	uint16_t n;

	memcpy(packet, ext, ext_len);
	n = udp_bytes(packet + ext_len, "2001:db8::2", 5, "2001:db8::1", 9, "hello", 5);
	world_inject(w, 0, frame,
		frame6(frame, w, 0, "2001:db8::2", "2001:db8::1", first, 64, packet,
			(uint16_t)(ext_len + n)));
	world_run(w, 0, NULL, NULL);
}

static void extension_headers__known_ones_are_skipped(void **state)
{
	static const uint8_t options[] = {60, 0, 1, 4, 0, 0, 0, 0, /* hop by hop: padding */
		43, 0, 0x1e, 2, 0, 0, 0, 0,                        /* destination: unknown, skip */
		44, 0, 0, 0, 0, 0, 0, 0,                           /* routing: nothing left */
		17, 0, 0, 0, 1, 2, 3, 4};                          /* an atomic fragment */
	struct world *w = world6_new(10, &perfect);
	struct sock *sk = udp_at(w, 0, "::", 9);
	char got[8];

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	udp_behind(w, 0, options, sizeof(options));
	assert_int_equal(sk->rxq.n, 1);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 5);
	sock_close(sk, false);
	world_free(w);
}

static void extension_headers__bad_ones__are_refused(void **state)
{
	static const struct {
		uint8_t first, ext[16], len;
		int code; /* of the parameter problem, -1: silence */
		uint8_t pointer;
	} bad[] = {
		{60, {0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4}, 16, 1, 40}, /* hop by hop not first */
		{60, {17, 0, 0x9e, 4, 0, 0, 0, 0}, 8, 2, 42}, /* an option to complain of */
		{60, {17, 0, 0x5e, 4, 0, 0, 0, 0}, 8, -1, 0}, /* one to be silent about */
		{60, {17, 0, 1, 5, 0, 0, 0, 0}, 8, -1, 0},    /* longer than the header */
		{60, {17, 200, 1, 4, 0, 0, 0, 0}, 8, -1, 0},  /* longer than the packet */
		{43, {17, 0, 0, 1, 0, 0, 0, 0}, 8, 0, 42},    /* a route that goes on */
		{51, {17, 0, 0, 0, 0, 0, 0, 0}, 8, 1, 6},     /* what we do not know */
	};
	struct world *w = world6_new(11, &perfect);
	struct sock *sk = udp_at(w, 0, "::", 9);
	uint8_t many[80];

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	nd(w, 0, "2001:db8::2", "2001:db8::1", 135, 0, "2001:db8::1", w->host[1].port.mac);
	world_run(w, 2 * MS, NULL, NULL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const uint8_t *error;

		udp_behind(w, bad[i].first, bad[i].ext, bad[i].len);
		error = on_the_wire(w, 1, IPPROTO_ICMPV6, 4);
		assert_true((error != NULL) == (bad[i].code >= 0));
		if (error != NULL) {
			assert_int_equal(error[41], bad[i].code);
			assert_int_equal(error[47], bad[i].pointer);
			assert_int_equal(error[48] >> 4, 6); /* the packet itself follows */
			assert_int_equal(error[48 + 6], bad[i].first);
		}
		world_run(w, 2 * MS, NULL, NULL);
	}
	for (unsigned i = 0; i < 80; i += 8)
		memcpy(many + i, (uint8_t[]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
	many[72] = 17;
	udp_behind(w, 60, many, sizeof(many)); /* ten headers are too many */
	assert_int_equal(sk->rxq.n, 0);
	assert_int_equal(COUNT(w, 0, drop_ip6_extension) + COUNT(w, 0, drop_ip_protocol), 8);
	sock_close(sk, false);
	world_free(w);
}

/* An error is not answered by one, whatever stands before it (RFC4443:2.4 (e.1)). */
static void error__behind_bad_options__is_not_answered(void **state)
{
	static const struct {
		uint8_t chain[24], len, type;
		bool answered;
	} table[] = {
		{{58, 0, 0x9e, 4}, 8, 128, true}, {{58, 0, 0x9e, 4}, 8, 1, false},
		{{43, 0, 0x9e, 4, 0, 0, 0, 0, 58}, 16, 3, false}, {{43, 0, 0x9e, 4, 0, 0, 0, 0, 58}, 16, 129, true},
		{{44, 0, 0x9e, 4, 0, 0, 0, 0, 58, 0, 0, 1}, 16, 3, false}, /* a first fragment of one */
	};
	struct world *w = world6_new(30, &perfect);

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint8_t packet[64] = {0}, frame[128];
		uint64_t sent = COUNT(w, 0, icmp_errors_out);

		memcpy(packet, table[i].chain, table[i].len);
		packet[table[i].len] = table[i].type;
		world_inject(w, 0, frame,
			frame6(frame, w, 0, "2001:db8::2", "2001:db8::1", 60, 64, packet,
				(uint16_t)(table[i].len + 16)));
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(COUNT(w, 0, icmp_errors_out) - sent, table[i].answered);
	}
	world_free(w);
}

/* A mapped address on the wire would reach IPv4's sockets. */
static void mapped_and_loopback_addresses__on_the_wire__are_dropped(void **state)
{
	static const char *const pairs[][2] = {{"::ffff:10.0.0.2", "2001:db8::1"},
		{"2001:db8::2", "::ffff:10.0.0.1"}, {"::1", "2001:db8::1"}, {"2001:db8::2", "::1"},
		{"2001:db8::1", "2001:db8::1"}, {"::", "2001:db8::1"}, {"ff02::1", "2001:db8::1"},
		{"2001:db8::2", "ff02::1:ff00:99"}, {"2001:db8::2", "2001:db8::3"}};
	struct world *w = world6_new(12, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "::", 9), udp_at(w, 0, "10.0.0.1", 10)};
	uint8_t udp[64], frame[128];
	uint64_t before;

	(void)state;
	w->host[0].e->config.loopback = true;
	world_run(w, 2 * SECOND, NULL, NULL);
	before = COUNT(w, 0, drop_not_for_us); /* host 1's own tests for duplicates */
	for (unsigned i = 0; i < 9; i++) {
		uint16_t n =
			udp_bytes(udp, "2001:db8::2", 5, "2001:db8::1", i == 1 ? 10 : 9, "x", 1);

		put16(udp + 6, 0);
		put16(udp + 6, l4_sum(pairs[i][0], pairs[i][1], IPPROTO_UDP, udp, n));
		world_inject(w, 0, frame,
			frame6(frame, w, 0, pairs[i][0], pairs[i][1], IPPROTO_UDP, 64, udp, n));
	}
	world_run(w, MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, drop_ip_source), 5);
	assert_int_equal(COUNT(w, 0, drop_not_for_us), before + 4);
	assert_int_equal(sk[0]->rxq.n + sk[1]->rxq.n, 0);
	close_all(sk, 2);
	world_free(w);
}

static void udp_without_checksum__is_dropped(void **state)
{
	struct world *w = world6_new(13, &perfect);
	struct sock *sk = udp_at(w, 0, "::", 9);
	uint8_t udp[64], frame[128];
	uint16_t n = udp_bytes(udp, "2001:db8::2", 5, "2001:db8::1", 9, "x", 1);

	(void)state;
	put16(udp + 6, 0);
	world_inject(w, 0, frame,
		frame6(frame, w, 0, "2001:db8::2", "2001:db8::1", IPPROTO_UDP, 64, udp, n));
	world_run(w, MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, drop_l4_checksum), 1);
	sock_close(sk, false);
	world_free(w);
}

static void socket_of_both_families__takes_and_sends_both(void **state)
{
	struct world *w = world6_new(14, &perfect);
	struct sock *both = udp_at(w, 0, "::", 9);
	struct sock *four = udp_at(w, 1, "10.0.0.2", 9), *six = udp_at(w, 1, "2001:db8::2", 9);
	struct sock *sk[3] = {both, four, six};

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	send_at(four, "10.0.0.1", 9, "x", 1);
	send_at(six, "2001:db8::1", 9, "x", 1);
	send_at(both, "10.0.0.2", 9, "y", 1);
	send_at(both, "2001:db8::2", 9, "y", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(both->rxq.n, 2);
	assert_int_equal(four->rxq.n, 1);
	assert_int_equal(six->rxq.n, 1);
	close_all(sk, 3);
	world_free(w);
}

static void bind__across_families__as_linux(void **state)
{
	struct world *w = world6_new(15, &perfect);
	struct cv_endpoint any6 = at("::", 9), any4 = at("0.0.0.0", 9), mapped = at("10.0.0.1", 9),
			   six = at("2001:db8::1", 9), away = at("10.0.0.2", 9);
	struct sock *a = udp_new(w, 0, CV_AF_INET6), *b = udp_new(w, 0, CV_AF_INET);

	(void)state;
	assert_int_equal(sock_bind(b, &six), -CV_EAFNOSUPPORT);
	assert_int_equal(sock_bind(a, &any6), 0);
	assert_int_equal(sock_bind(b, &any4), -CV_EADDRINUSE);
	assert_int_equal(sock_bind(b, &mapped), -CV_EADDRINUSE);
	sock_close(a, false);
	a = udp_new(w, 0, CV_AF_INET6);
	a->v6only = true;
	assert_int_equal(sock_bind(a, &mapped), -CV_EINVAL);
	assert_int_equal(sock_bind(a, &any6), 0);
	assert_int_equal(sock_bind(b, &any4), 0);
	assert_int_equal(try_send(a, &away, "x", 1), -CV_ENETUNREACH);
	send_at(b, "10.0.0.1", 9, "x", 1); /* to itself */
	world_run(w, MS, NULL, NULL);
	assert_int_equal(a->rxq.n, 0);
	assert_int_equal(b->rxq.n, 1);
	sock_close(a, false);
	sock_close(b, false);
	world_free(w);
}

static void disconnect__gives_back_what_connect_chose(void **state)
{
	struct world *w = world6_new(16, &perfect);
	struct sock *sk = udp_new(w, 0, CV_AF_INET6), *bound = udp_at(w, 0, "10.0.0.1", 7);
	struct cv_endpoint four = at("10.0.0.2", 9), six = at("2001:db8::2", 9);

	(void)state;
	assert_int_equal(sock_connect(sk, &four), 0);
	assert_memory_equal(sk->local.addr, at("10.0.0.1", 0).addr, 16);
	assert_int_equal(sock_disconnect(sk), 0);
	assert_true(addr_is_any(sk->local.addr));
	assert_int_equal(sk->local.port, 0);
	assert_int_equal(sock_connect(sk, &six), 0);
	assert_memory_equal(sk->local.addr, at("2001:db8::1", 0).addr, 16);
	assert_int_equal(sock_connect(bound, &four), 0);
	assert_int_equal(sock_disconnect(bound), 0);
	assert_int_equal(bound->local.port, 7);
	assert_int_equal(bound->local.addr[15], 1);
	sock_close(sk, false);
	sock_close(bound, false);
	world_free(w);
}

static void gateway__link_local__carries_what_is_not_on_the_link(void **state)
{
	struct world *w = world6_new(17, &perfect);
	struct port *port = &w->host[0].port;
	struct sock *sk = udp_at(w, 0, "::", 5);
	const uint8_t *sent;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	port->has_gateway6 = true;
	memcpy(port->gateway6, at(LL1, 0).addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, port), 0);
	send_at(sk, "2001:db8:77::1", 9, "x", 1);
	world_run(w, 2 * MS, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_UDP, 0);
	assert_non_null(sent);
	assert_memory_equal(sent - 14, w->host[1].port.mac, 6);
	assert_memory_equal(sent + 8, at("2001:db8::1", 0).addr, 16); /* not the link-local one */
	sock_close(sk, false);
	world_free(w);
}

static void tcp__over_ipv6__segments_fit_and_arrive(void **state)
{
	struct world *w = world6_new(18, &perfect);
	struct cv_endpoint to = at("2001:db8::2", 80);
	static uint8_t data[50000], got[50000];
	struct sock *l, *c, *s;
	uint32_t have = 0;

	(void)state;
	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET6, CV_STREAM, &l), 0);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET6, CV_STREAM, &c), 0);
	l->user = c->user = w;
	assert_int_equal(sock_bind(l, &to), 0);
	assert_int_equal(sock_listen(l, 5), 0);
	assert_int_equal(sock_connect(c, &to), 0);
	world_run(w, 3 * SECOND, NULL, NULL);
	assert_true(c->status & CV_ST_CONNECTED);
	s = sock_accept(l);
	assert_non_null(s);
	sock_accept_done(l);
	s->user = w;
	pattern(data, sizeof(data), 3);
	assert_int_equal(try_send(c, NULL, data, sizeof(data)), 0);
	for (int i = 0; i < 1000 && have < sizeof(got); i++) {
		world_run(w, 10 * MS, NULL, NULL);
		have += sock_recv_copy(s, got + have, (uint32_t)sizeof(got) - have);
	}
	assert_int_equal(have, sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	assert_int_equal(COUNT(w, 0, tcp_retrans), 0);
	sock_close(c, true);
	sock_close(s, true);
	sock_close(l, true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

/* RFC4443:2.4 (a) */
static void unknown_error__goes_to_who_asks_for_errors(void **state)
{
	struct world *w = world6_new(21, &perfect);
	struct sock *sk = udp_at(w, 0, "2001:db8::1", 5);
	uint8_t msg[8 + 40 + 16] = {100, 7, [8] = 0x60, [8 + 6] = IPPROTO_UDP}, got[sizeof(struct cv_error_report) + 64];
	struct cv_error_report r;
	uint32_t len = sizeof(got);
	int on = 1;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	put16(msg + 12, 16);
	memcpy(msg + 16, at("2001:db8::1", 0).addr, 16);
	memcpy(msg + 32, at("2001:db8::2", 0).addr, 16);
	udp_bytes(msg + 48, "2001:db8::1", 5, "2001:db8::2", 9, "datagram", 8);
	assert_int_equal(sock_setopt(sk, CV_OPT_RECVERR6, &on, sizeof(on)), 0);
	icmp6(w, 0, "2001:db8::2", "2001:db8::1", 64, msg, sizeof(msg));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk->error, CV_EPROTO);
	assert_int_equal(sock_getopt(sk, CV_OPT_ERRQUEUE, got, &len), 0);
	memcpy(&r, got, sizeof(r));
	assert_int_equal(r.origin, CV_ORIGIN_ICMP6);
	assert_int_equal(r.type, 100);
	assert_int_equal(r.code, 7);
	assert_int_equal(r.quoted, 8);
	assert_memory_equal(got + sizeof(r), "datagram", 8);
	sock_close(sk, false);
	world_free(w);
}

/* RFC8200:4.5: a fragment that ends behind the largest packet. */
static void fragment__behind_the_largest_packet__parameter_problem(void **state)
{
	struct world *w = world6_new(22, &perfect);
	struct sock *sk = udp_at(w, 0, "::", 9);
	uint8_t body[8 + 1000] = {IPPROTO_UDP, 0, 0xff, 0xf8}, frame[1200];
	const uint8_t *error;

	(void)state;
	world_run(w, 2 * SECOND, NULL, NULL);
	nd(w, 0, "2001:db8::2", "2001:db8::1", 135, 0, "2001:db8::1", w->host[1].port.mac);
	world_run(w, 2 * MS, NULL, NULL);
	world_inject(w, 0, frame,
		frame6(frame, w, 0, "2001:db8::2", "2001:db8::1", IPPROTO_FRAGMENT, 64, body, sizeof(body)));
	world_run(w, 0, NULL, NULL);
	error = on_the_wire(w, 1, IPPROTO_ICMPV6, 4);
	assert_non_null(error);
	assert_int_equal(error[41], 0);
	assert_int_equal(error[47], 42);
	assert_int_equal(COUNT(w, 0, drop_ip_fragment), 1);
	sock_close(sk, false);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hosts__datagram__arrives_after_neighbour_discovery),
		cmocka_unit_test(advertisements__change_a_mac_only_when_they_override),
		cmocka_unit_test(discovery__from_afar_or_malformed__is_dropped),
		cmocka_unit_test(echo__is_answered_whole),
		cmocka_unit_test(port_nobody_has__is_refused),
		cmocka_unit_test(unknown_error__goes_to_who_asks_for_errors),
		cmocka_unit_test(fragment__behind_the_largest_packet__parameter_problem),
		cmocka_unit_test(packet_too_big__connected_udp__cuts),
		cmocka_unit_test(extension_headers__known_ones_are_skipped),
		cmocka_unit_test(extension_headers__bad_ones__are_refused),
		cmocka_unit_test(error__behind_bad_options__is_not_answered),
		cmocka_unit_test(mapped_and_loopback_addresses__on_the_wire__are_dropped),
		cmocka_unit_test(udp_without_checksum__is_dropped),
		cmocka_unit_test(socket_of_both_families__takes_and_sends_both),
		cmocka_unit_test(bind__across_families__as_linux),
		cmocka_unit_test(disconnect__gives_back_what_connect_chose),
		cmocka_unit_test(gateway__link_local__carries_what_is_not_on_the_link),
		cmocka_unit_test(tcp__over_ipv6__segments_fit_and_arrive),
	};

	world_eal_init("world-net-ipv6");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
