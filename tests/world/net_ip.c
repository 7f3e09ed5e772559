/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv4 beyond a datagram that just arrives: padding, ports that come and go, neighbours that do not
 * answer, ICMP errors and whom they reach, addresses that cannot be. */
#include "tests/world/net_common.h"

/* The packet of a protocol that is on its way to a host, from its IP header on; NULL if none. */
static const uint8_t *on_the_wire(const struct world *w, int to, uint8_t proto, uint16_t *len)
{
	list_for_each(node, &w->wire[to].frames)
	{
		const struct world_frame *f = list_entry(node, struct world_frame, node);

		if (f->data[12] == 8 && f->data[13] == 0 && f->data[23] == proto) {
			*len = (uint16_t)(f->len - 14);
			return f->data + 14;
		}
	}
	return NULL;
}

static struct sock *tcp_to(struct world *w, const char *text, uint16_t port)
{
	struct cv_endpoint to = at(text, port);
	struct sock *sk;

	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &sk), 0);
	sk->user = w;
	assert_int_equal(sock_connect(sk, &to), 0);
	return sk;
}

/* An ICMP error from host 1 about the packet at quote. */
static void complain(struct world *w, uint8_t type, uint8_t code, uint16_t mtu,
	const uint8_t *quote, uint16_t len)
{
	uint8_t icmp[600] = {type, code}, frame[700];

	put16(icmp + 6, mtu);
	memcpy(icmp + 8, quote, len);
	put16(icmp + 2, fold16(sum16(icmp, 8u + len, 0)));
	world_inject(w, 0, frame,
		frame4(frame, w, 0, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP, 1, 0, icmp,
			(uint16_t)(8 + len)));
}

/* Both hosts know each other's MAC. */
static void acquaint(struct world *w)
{
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 7777);

	send_at(sk, "10.0.0.2", 7777, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	sock_close(sk, false);
}

static void padding__over_several_buffers__is_cut(void **state)
{
	struct world *w = world_new(1, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 9);
	uint8_t udp[64], frame[256], got[64];
	uint16_t n, cuts[] = {14 + 20 + 8 + 3, 2, 40, 11};
	struct rte_mbuf *m = NULL, *part;

	(void)state;
	n = udp_bytes(udp, "10.0.0.2", 5, "10.0.0.1", 9, "hello", 5);
	memset(frame, 0xee, sizeof(frame));
	frame4(frame, w, 0, "10.0.0.2", "10.0.0.1", IPPROTO_UDP, 1, 0, udp, n);
	for (unsigned i = 0, off = 0; i < 4;
		off += cuts[i++]) { /* two bytes of payload, 51 of padding */
		part = rte_pktmbuf_alloc(w->pool);
		memcpy(rte_pktmbuf_append(part, cuts[i]), frame + off, cuts[i]);
		if (m == NULL)
			m = part;
		else
			assert_int_equal(rte_pktmbuf_chain(m, part), 0);
	}
	net_input(w->host[0].e, &w->host[0].port, &m, 1);
	assert_int_equal(sk->rxq.n, 1);
	assert_int_equal(sk->rxq.head->pkt_len, 5);
	assert_int_equal(sk->rxq.head->nb_segs, 2);
	assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	sock_close(sk, false);
	world_free(w);
}

static void checksum__pieces_of_odd_length__is_right(void **state)
{
	static const uint16_t cuts[] = {14 + 20 + 8, 1, 3, 5, 2, 7, 1, 1, 13};
	struct world *w = world_new(2, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 9);
	uint8_t udp[64], frame[128], data[33];

	(void)state;
	for (unsigned salt = 0; salt < 500; salt++) {
		struct rte_mbuf *m = NULL, *part;
		uint16_t n;

		for (unsigned i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)(0xff - (i * salt) % 5);
		n = udp_bytes(udp, "10.0.0.2", 5, "10.0.0.1", 9, data, sizeof(data));
		frame4(frame, w, 0, "10.0.0.2", "10.0.0.1", IPPROTO_UDP, 1, 0, udp, n);
		for (unsigned i = 0, off = 0; i < 9; off += cuts[i++]) {
			part = rte_pktmbuf_alloc(w->pool);
			memcpy(rte_pktmbuf_append(part, cuts[i]), frame + off, cuts[i]);
			if (m == NULL)
				m = part;
			else
				assert_int_equal(rte_pktmbuf_chain(m, part), 0);
		}
		net_input(w->host[0].e, &w->host[0].port, &m, 1);
		assert_int_equal(sk->rxq.n, 1);
		assert_int_equal(sock_recv_copy(sk, data, sizeof(data)), sizeof(data));
	}
	assert_int_equal(COUNT(w, 0, drop_l4_checksum), 0);
	sock_close(sk, false);
	world_free(w);
}

static void connect__neighbour_silent__host_unreachable_after_three_seconds(void **state)
{
	struct world *w = world_new(3, &perfect);
	struct sock *sk = tcp_to(w, "10.0.0.77", 80);

	(void)state;
	world_run(w, 2900 * MS, NULL, NULL);
	assert_int_equal(sk->error_seq, 0);
	world_run(w, 300 * MS, NULL, NULL);
	assert_int_equal(sk->error, CV_EHOSTUNREACH);
	assert_true(sk->status & CV_ST_DEAD);
	sock_close(sk, false);
	world_free(w);
}

static void connect__port_unreachable__refused_only_when_it_quotes_our_syn(void **state)
{
	struct world *w = world_new(4, &perfect);
	struct sock *sk;
	uint8_t quote[28];
	const uint8_t *syn;
	uint16_t len;

	(void)state;
	acquaint(w);
	w->link.loss = 1000; /* what follows is lost but for what we put there */
	sk = tcp_to(w, "10.0.0.2", 80);
	w->link.loss = 0;
	world_run(w, 0, NULL, NULL);
	syn = on_the_wire(w, 1, IPPROTO_TCP, &len);
	assert_non_null(syn);
	memcpy(quote, syn, sizeof(quote));
	w->host[1].port.up = false; /* nobody answers by itself */
	quote[24] ^= 0x80;          /* a sequence number far away: a forgery */
	complain(w, 3, 3, 0, quote, sizeof(quote));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk->error_seq, 0);
	quote[24] ^= 0x80;
	complain(w, 3, 3, 0, quote, sizeof(quote));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk->error, CV_ECONNREFUSED);
	sock_close(sk, false);
	world_free(w);
}

static void fragmentation_needed__connected_udp__learns_and_cuts(void **state)
{
	struct world *w = world_new(5, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, "10.0.0.2", 9)};
	struct cv_endpoint to = at("10.0.0.2", 9);
	uint8_t data[1400], quote[28];
	const uint8_t *sent;
	uint16_t len;
	int mtu = 0;
	uint32_t size = sizeof(mtu);

	(void)state;
	acquaint(w);
	pattern(data, sizeof(data), 1);
	assert_int_equal(sock_connect(sk[0], &to), 0);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_UDP, &len);
	assert_non_null(sent);
	assert_int_equal(sent[6] & 0x40, 0x40); /* do not fragment */
	memcpy(quote, sent, sizeof(quote));
	complain(w, 3, 4, 1000, quote, sizeof(quote));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[0]->error, CV_EMSGSIZE);
	assert_int_equal(sock_getopt(sk[0], CV_OPT_MTU, &mtu, &size), 0);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	assert_int_equal(sock_getopt(sk[0], CV_OPT_MTU, &mtu, &size), 0);
	assert_int_equal(mtu, 1000);
	assert_int_equal(COUNT(w, 0, frags_out), 2);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	/* After ten minutes the old size is tried again. */
	world_run(w, 601 * SECOND, NULL, NULL);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	assert_int_equal(COUNT(w, 0, frags_out), 2);
	close_all(sk, 2);
	world_free(w);
}

/* A connection of host 0 to host 1, after the handshake. */
static void tcp_pair(struct world *w, struct sock *sk[3])
{
	struct cv_endpoint to = at("10.0.0.2", 80);

	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &sk[2]), 0);
	sk[2]->user = w;
	assert_int_equal(sock_bind(sk[2], &to), 0);
	assert_int_equal(sock_listen(sk[2], 5), 0);
	sk[0] = tcp_to(w, "10.0.0.2", 80);
	world_run(w, SECOND, NULL, NULL);
	sk[1] = sock_accept(sk[2]);
	assert_non_null(sk[1]);
	sock_accept_done(sk[2]);
	sk[1]->user = w;
}

static void fragmentation_needed__tcp__segments_become_smaller(void **state)
{
	struct world *w = world_new(12, &perfect);
	struct sock *sk[3];
	static uint8_t data[14000], got[14000];
	const uint8_t *sent;
	uint8_t quote[28];
	uint32_t have = 0;
	uint16_t len;

	(void)state;
	tcp_pair(w, sk);
	pattern(data, sizeof(data), 1);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_TCP, &len);
	assert_non_null(sent);
	assert_int_equal(len, 1500);
	memcpy(quote, sent, sizeof(quote));
	while (!list_empty(&w->wire[1].frames)) /* the router lost them all */
		world_frame_free(w, list_entry(w->wire[1].frames.next, struct world_frame, node));
	complain(w, 3, 4, 1000, quote, sizeof(quote));
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_TCP, &len); /* at once, not by the timer */
	assert_non_null(sent);
	list_for_each(node, &w->wire[1].frames)
		assert_true(list_entry(node, struct world_frame, node)->len <= 1014);
	for (int i = 0; i < 500 && have < sizeof(got); i++) {
		world_run(w, 10 * MS, NULL, NULL);
		have += sock_recv_copy(sk[1], got + have, (uint32_t)sizeof(got) - have);
	}
	assert_int_equal(have, sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	for (int i = 0; i < 3; i++)
		sock_close(sk[i], true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

/* RFC1122:4.2.3.9: an established connection outlives what may pass, and what a stranger may say.
 */
static void unreachable__established_tcp__goes_on(void **state)
{
	struct world *w = world_new(13, &perfect);
	struct sock *sk[3];
	const uint8_t *sent;
	uint8_t quote[28], got[4];
	uint16_t len;

	(void)state;
	tcp_pair(w, sk);
	assert_int_equal(try_send(sk[0], NULL, "abcd", 4), 0);
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_TCP, &len);
	assert_non_null(sent);
	memcpy(quote, sent, sizeof(quote));
	for (uint8_t code = 0; code < 16; code++) {
		if (code != 4)
			complain(w, 3, code, 0, quote, sizeof(quote));
	}
	for (uint8_t code = 0; code < 3; code++) {
		complain(w, 4, code, 0, quote, sizeof(quote)); /* source quench */
		complain(w, 11, code, 0, quote, sizeof(quote));
		complain(w, 12, code, 0, quote, sizeof(quote));
	}
	world_run(w, 100 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, icmp_errors_in), 19);
	assert_true(sk[0]->status & CV_ST_CONNECTED);
	assert_false(sk[0]->status & CV_ST_DEAD);
	assert_int_equal(sk[0]->error_seq, 0);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 4);
	for (int i = 0; i < 3; i++)
		sock_close(sk[i], true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

static void udp__do_not_fragment__too_long_is_refused(void **state)
{
	struct world *w = world_new(6, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 5);
	struct cv_endpoint to = at("10.0.0.2", 9);
	static uint8_t data[65508];
	int how = 2;

	(void)state;
	assert_int_equal(try_send(sk, &to, data, 65508), -CV_EMSGSIZE);
	assert_int_equal(sock_setopt(sk, CV_OPT_MTU_DISCOVER, &how, sizeof(how)), 0);
	assert_int_equal(try_send(sk, &to, data, 1473), -CV_EMSGSIZE);
	assert_int_equal(try_send(sk, &to, data, 1472), 0);
	how = 6;
	assert_int_equal(sock_setopt(sk, CV_OPT_MTU_DISCOVER, &how, sizeof(how)), -CV_EINVAL);
	sock_close(sk, false);
	world_free(w);
}

static void port__down_and_up__announces_and_asks_again(void **state)
{
	struct world *w = world_new(7, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, "10.0.0.2", 9)};
	uint64_t asked;

	(void)state;
	acquaint(w);
	net_port_down(w->host[0].e, &w->host[0].port);
	send_at(sk[0], "10.0.0.2", 9, "a", 1);
	world_run(w, 500 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 0);
	/* The other end has got a new card meanwhile. */
	w->host[1].port.mac[3] = 0x77;
	asked = COUNT(w, 0, arp_requests_out);
	net_port_up(w->host[0].e, &w->host[0].port);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, arp_requests_out), asked + 2); /* says and asks */
	assert_int_equal(sk[1]->rxq.n, 1);                          /* what waited */
	send_at(sk[0], "10.0.0.2", 9, "b", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	net_port_up(w->host[0].e, &w->host[0].port); /* nothing new */
	assert_int_equal(COUNT(w, 0, arp_requests_out), asked + 2);
	close_all(sk, 2);
	world_free(w);
}

static void neighbour__with_a_new_mac__its_announcement_is_believed(void **state)
{
	struct world *w = world_new(8, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, "10.0.0.2", 9)};

	(void)state;
	acquaint(w);
	net_port_down(w->host[1].e, &w->host[1].port);
	w->host[1].port.mac[3] = 0x77;
	net_port_up(w->host[1].e, &w->host[1].port);
	world_run(w, 10 * MS, NULL, NULL);
	send_at(sk[0], "10.0.0.2", 9, "a", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	close_all(sk, 2);
	world_free(w);
}

static void unknown_protocol__is_answered_protocol_unreachable(void **state)
{
	struct world *w = world_new(9, &perfect);
	uint8_t frame[100], payload[16] = {0};

	(void)state;
	acquaint(w);
	world_inject(w, 0, frame,
		frame4(frame, w, 0, "10.0.0.2", "10.0.0.1", 143, 1, 0, payload, sizeof(payload)));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, icmp_errors_out), 1);
	assert_int_equal(COUNT(w, 0, drop_ip_protocol), 1);
	world_free(w);
}

static void impossible_addresses__are_dropped_and_counted(void **state)
{
	static const char *const from[] = {"127.0.0.1", "10.0.0.1", "224.0.0.1", "255.255.255.255",
		"10.0.0.255", "0.0.0.0", "240.0.0.1"};
	static const char *const to[] = {"127.0.0.1", "10.0.0.3", "224.0.0.251", "10.0.1.255"};
	struct world *w = world_new(10, &perfect);
	struct sock *sk = udp_at(w, 0, "0.0.0.0", 9);
	uint8_t udp[64], frame[128];

	(void)state;
	w->host[0].e->config.loopback = true;
	for (unsigned i = 0; i < 7; i++) {
		uint16_t n = udp_bytes(udp, from[i], 5, "10.0.0.1", 9, "x", 1);

		world_inject(w, 0, frame,
			frame4(frame, w, 0, from[i], "10.0.0.1", IPPROTO_UDP, 1, 0, udp, n));
	}
	for (unsigned i = 0; i < 4; i++) {
		uint16_t n = udp_bytes(udp, "10.0.0.2", 5, to[i], 9, "x", 1);

		world_inject(w, 0, frame,
			frame4(frame, w, 0, "10.0.0.2", to[i], IPPROTO_UDP, 1, 0, udp, n));
	}
	world_run(w, MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, drop_ip_source), 7);
	assert_int_equal(COUNT(w, 0, drop_not_for_us), 4);
	assert_int_equal(sk->rxq.n, 0);
	sock_close(sk, false);
	world_free(w);
}

static void broadcast__of_the_subnet__needs_leave_and_reaches_all(void **state)
{
	struct world *w = world_new(11, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, "0.0.0.0", 9)};
	struct cv_endpoint all = at("10.0.0.255", 9), everybody = at("255.255.255.255", 9);
	int one = 1;
	uint64_t asked = COUNT(w, 0, arp_requests_out);

	(void)state;
	assert_int_equal(try_send(sk[0], &all, "x", 1), -CV_EACCES);
	assert_int_equal(sock_connect(sk[0], &all), -CV_EACCES);
	assert_int_equal(sock_setopt(sk[0], CV_OPT_BROADCAST, &one, sizeof(one)), 0);
	assert_int_equal(try_send(sk[0], &all, "x", 1), 0);
	assert_int_equal(try_send(sk[0], &everybody, "x", 1), 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	assert_int_equal(COUNT(w, 0, arp_requests_out), asked);
	/* Nobody complains about what many got. */
	close_all(sk + 1, 1);
	assert_int_equal(try_send(sk[0], &all, "x", 1), 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 1, icmp_errors_out), 0);
	close_all(sk, 1);
	world_free(w);
}

/* The first packet waits for its neighbour's MAC and goes the general way out, the second the short one. */
static void neighbour__unknown_then_known__the_same_frame(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 4; how++) { /* checksums by the device or not, trusted or not */
		struct world *w = world_new(1, &perfect);
		struct sock *sk = udp_at(w, 0, "10.0.0.1", 9);
		uint8_t first[64] = {0};
		const uint8_t *ip;
		uint16_t len = 0;

		w->host[0].port.tx_ip_cksum = w->host[0].port.tx_l4_cksum = how & 1;
		w->host[0].port.trusted = (how & 2) != 0;
		send_at(sk, "10.0.0.2", 9, "the same", 8);
		assert_int_equal(w->host[0].e->counters.udp_out, 1);
		assert_null(on_the_wire(w, 1, IPPROTO_UDP, &len));
		world_run(w, 1 * MS, NULL, NULL); /* it announces itself */
		ip = on_the_wire(w, 1, IPPROTO_UDP, &len);
		assert_non_null(ip);
		assert_int_equal(len, 36);
		memcpy(first, ip - 14, 14u + len);
		world_run(w, 10 * MS, NULL, NULL);
		send_at(sk, "10.0.0.2", 9, "the same", 8);
		world_run(w, 0, NULL, NULL);
		ip = on_the_wire(w, 1, IPPROTO_UDP, &len);
		assert_non_null(ip);
		assert_int_equal(len, 36);
		assert_int_equal(ip[5], (uint8_t)(first[14 + 5] + 1)); /* its own identification */
		if (!(how & 1)) {
			assert_int_equal(fold16(sum16(ip, 20, 0)), 0);
			assert_int_equal(fold16(sum16(first + 14, 20, 0)), 0);
		}
		memcpy(first + 14 + 4, ip + 4, 2);
		memcpy(first + 14 + 10, ip + 10, 2);
		assert_memory_equal(first, ip - 14, 14 + 36);
		sock_close(sk, false);
		world_free(w);
	}
}

#define TWIN_BYTES 60u /* a UDP datagram of 6 bytes, padded as Ethernet does */

/* What becomes of a good frame and of one that differs from it, in one burst or in one turn each. */
static void two_frames(const uint8_t *good, const uint8_t *other, bool together, bool trusted,
	struct engine_counters *counted, uint8_t got[64])
{
	struct world *w = world_new(1, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 9);

	w->host[0].port.trusted = trusted;
	world_inject(w, 0, good, TWIN_BYTES);
	if (!together)
		world_run(w, 0, NULL, NULL);
	world_inject(w, 0, other, TWIN_BYTES);
	world_run(w, 0, NULL, NULL);
	memset(got, 0, 64);
	got[0] = (uint8_t)sk->rxq.n;
	for (unsigned i = 0; i < 2 && sk->rxq.n > 0; i++) {
		struct pkt *p = pkt_of(sk->rxq.head);

		memcpy(got + 1 + i * 31, p->src.addr + 12, 4);
		got[5 + i * 31] = p->tos;
		got[6 + i * 31] = p->ttl;
		got[7 + i * 31] = (uint8_t)rte_pktmbuf_pkt_len(sk->rxq.head);
		(void)sock_recv_copy(sk, got + 8 + i * 31, 20);
	}
	*counted = w->host[0].e->counters;
	sock_close(sk, false);
	world_run(w, 60 * SECOND, NULL, NULL); /* fragments, unanswered questions */
	world_free(w);
}

/* Frames of a burst that look alike are judged together (net/input.c): whatever differs between two must have
 * the effect that it has alone. */
static void burst__frame_differs_from_the_one_before__is_judged_as_if_alone(void **state)
{
	uint8_t udp[32], good[TWIN_BYTES] = {0}, other[TWIN_BYTES], got[2][64];
	struct engine_counters counted[2];
	struct world *w = world_new(1, &perfect);
	uint16_t n = udp_bytes(udp, "10.0.0.2", 5, "10.0.0.1", 9, "hello!", 6);

	(void)state;
	frame4(good, w, 0, "10.0.0.2", "10.0.0.1", IPPROTO_UDP, 1, 0, udp, n);
	world_free(w);
	for (unsigned bit = 0; bit < 8 * (34 + 8 + 6); bit++) {
		for (unsigned how = 0; how < 4; how++) { /* header checksum mended or not; port trusted or not */
			memcpy(other, good, sizeof(other));
			other[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (how & 1) {
				put16(other + 24, 0);
				put16(other + 24, fold16(sum16(other + 14, 20, 0)));
			}
			for (unsigned i = 0; i < 2; i++)
				two_frames(good, other, i == 0, how & 2, &counted[i], got[i]);
			if (memcmp(got[0], got[1], 64) != 0 ||
				memcmp(&counted[0], &counted[1], sizeof(counted[0])) != 0)
				fail_msg("bit %u of byte %u, way %u: %u datagrams in a burst, %u alone", bit % 8,
					bit / 8, how, got[0][0], got[1][0]);
		}
	}
}

/* A datagram to a port that nobody has, from an address on the link. */
static void knock(struct world *w, const char *src)
{
	uint8_t udp[16], frame[80];

	udp_bytes(udp, src, 5, "10.0.0.1", 9, "x", 1);
	world_inject(w, 0, frame,
		frame4(frame, w, 0, src, "10.0.0.1", IPPROTO_UDP, 1, 0, udp, 9));
	world_run(w, 0, NULL, NULL);
}

/* RFC1812:4.3.2.8, RFC4443:2.4 (f): a bucket for each destination, and one for all. */
static void errors_sent__to_one_destination_and_to_all__are_limited(void **state)
{
	struct world *w = world_new(30, &perfect);
	char src[32];
	uint64_t before;

	(void)state;
	acquaint(w);
	for (unsigned i = 0; i < 100; i++)
		knock(w, "10.0.0.2");
	assert_int_equal(COUNT(w, 0, icmp_errors_out), 6);
	assert_int_equal(COUNT(w, 0, icmp_rate_limited), 94);
	world_run(w, SECOND, NULL, NULL);
	for (unsigned i = 0; i < 100; i++)
		knock(w, "10.0.0.2");
	assert_int_equal(COUNT(w, 0, icmp_errors_out), 7);
	before = COUNT(w, 0, icmp_errors_out);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(src, sizeof(src), "10.0.0.%u", 10 + i);
		knock(w, src);
	}
	assert_in_range(COUNT(w, 0, icmp_errors_out) - before, 20, 50);
	world_run(w, 10 * SECOND, NULL, NULL);
	world_free(w);
}

/* RFC5927:7.2: a packet that would have passed was not refused for its size. */
static void fragmentation_needed__about_a_packet_that_fits__is_not_believed(void **state)
{
	struct world *w = world_new(31, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 5);
	struct cv_endpoint to = at("10.0.0.2", 9);
	uint8_t data[900], quote[28];
	const uint8_t *sent;
	uint16_t len;
	int mtu = 0;
	uint32_t size = sizeof(mtu);

	(void)state;
	acquaint(w);
	pattern(data, sizeof(data), 1);
	assert_int_equal(sock_connect(sk, &to), 0);
	assert_int_equal(try_send(sk, NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_UDP, &len);
	assert_non_null(sent);
	memcpy(quote, sent, sizeof(quote));
	complain(w, 3, 4, 1000, quote, sizeof(quote));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 0, icmp_errors_refused), 1);
	assert_int_equal(sock_getopt(sk, CV_OPT_MTU, &mtu, &size), 0);
	assert_int_equal(mtu, 1500);
	complain(w, 3, 4, 600, quote, sizeof(quote)); /* this may be true */
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sock_getopt(sk, CV_OPT_MTU, &mtu, &size), 0);
	assert_int_equal(mtu, 600);
	sock_close(sk, false);
	world_free(w);
}

/* Of the next packet to host 1. */
static bool forbids_cutting(const struct world *w, uint8_t proto)
{
	uint16_t len;
	const uint8_t *sent = on_the_wire(w, 1, proto, &len);

	assert_non_null(sent);
	return sent[6] & 0x40;
}

/* ip(7): who chose IP_PMTUDISC_DO wants no other way. */
static void fragmentation_needed__less_than_is_believed__routers_may_cut(void **state)
{
	struct world *w = world_new(13, &perfect);
	struct sock *sk[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, "10.0.0.2", 9)};
	struct cv_endpoint to = at("10.0.0.2", 9);
	uint8_t data[1400], quote[28];
	uint16_t len;
	int mtu = 0, never = 2, want = 1;
	uint32_t size = sizeof(mtu);

	(void)state;
	acquaint(w);
	pattern(data, sizeof(data), 1);
	assert_int_equal(sock_connect(sk[0], &to), 0);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	assert_true(forbids_cutting(w, IPPROTO_UDP));
	memcpy(quote, on_the_wire(w, 1, IPPROTO_UDP, &len), sizeof(quote));
	complain(w, 3, 4, 300, quote, sizeof(quote));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[0]->error, CV_EMSGSIZE);
	sk[0]->error = 0;
	assert_int_equal(sock_getopt(sk[0], CV_OPT_MTU, &mtu, &size), 0);
	assert_int_equal(mtu, 552);
	assert_int_equal(try_send(sk[0], NULL, data, 500), 0);
	world_run(w, 0, NULL, NULL);
	assert_false(forbids_cutting(w, IPPROTO_UDP));
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sock_setopt(sk[0], CV_OPT_MTU_DISCOVER, &never, sizeof(never)), 0);
	assert_int_equal(try_send(sk[0], NULL, data, 500), 0);
	world_run(w, 0, NULL, NULL);
	assert_true(forbids_cutting(w, IPPROTO_UDP));
	/* After ten minutes the old ways are tried again. */
	world_run(w, 601 * SECOND, NULL, NULL);
	assert_int_equal(sock_setopt(sk[0], CV_OPT_MTU_DISCOVER, &want, sizeof(want)), 0);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, SECOND, NULL, NULL); /* the neighbour is asked for again */
	assert_int_equal(COUNT(w, 0, frags_out), 0);
	close_all(sk, 2);
	world_free(w);
}

static void fragmentation_needed__tcp_less_than_is_believed__routers_may_cut(void **state)
{
	struct world *w = world_new(14, &perfect);
	struct sock *sk[3];
	static uint8_t data[1400], got[1400];
	const uint8_t *sent;
	uint8_t quote[28];
	uint16_t len;

	(void)state;
	tcp_pair(w, sk);
	pattern(data, sizeof(data), 1);
	assert_int_equal(try_send(sk[0], NULL, data, sizeof(data)), 0);
	world_run(w, 0, NULL, NULL);
	assert_true(forbids_cutting(w, IPPROTO_TCP));
	memcpy(quote, on_the_wire(w, 1, IPPROTO_TCP, &len), sizeof(quote));
	while (!list_empty(&w->wire[1].frames)) /* the router lost it */
		world_frame_free(w, list_entry(w->wire[1].frames.next, struct world_frame, node));
	complain(w, 3, 4, 300, quote, sizeof(quote));
	world_run(w, 0, NULL, NULL);
	sent = on_the_wire(w, 1, IPPROTO_TCP, &len); /* at once, not by the timer */
	assert_non_null(sent);
	assert_int_equal(len, 552);
	assert_false(forbids_cutting(w, IPPROTO_TCP));
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	/* Said again, it is no news: nothing is sent twice. */
	complain(w, 3, 4, 300, quote, sizeof(quote));
	world_run(w, 0, NULL, NULL);
	assert_null(on_the_wire(w, 1, IPPROTO_TCP, &len));
	for (int i = 0; i < 3; i++)
		sock_close(sk[i], true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(padding__over_several_buffers__is_cut),
		cmocka_unit_test(checksum__pieces_of_odd_length__is_right),
		cmocka_unit_test(connect__neighbour_silent__host_unreachable_after_three_seconds),
		cmocka_unit_test(connect__port_unreachable__refused_only_when_it_quotes_our_syn),
		cmocka_unit_test(fragmentation_needed__connected_udp__learns_and_cuts),
		cmocka_unit_test(fragmentation_needed__tcp__segments_become_smaller),
		cmocka_unit_test(unreachable__established_tcp__goes_on),
		cmocka_unit_test(udp__do_not_fragment__too_long_is_refused),
		cmocka_unit_test(port__down_and_up__announces_and_asks_again),
		cmocka_unit_test(neighbour__with_a_new_mac__its_announcement_is_believed),
		cmocka_unit_test(unknown_protocol__is_answered_protocol_unreachable),
		cmocka_unit_test(impossible_addresses__are_dropped_and_counted),
		cmocka_unit_test(neighbour__unknown_then_known__the_same_frame),
		cmocka_unit_test(burst__frame_differs_from_the_one_before__is_judged_as_if_alone),
		cmocka_unit_test(broadcast__of_the_subnet__needs_leave_and_reaches_all),
		cmocka_unit_test(errors_sent__to_one_destination_and_to_all__are_limited),
		cmocka_unit_test(fragmentation_needed__about_a_packet_that_fits__is_not_believed),
		cmocka_unit_test(fragmentation_needed__less_than_is_believed__routers_may_cut),
		cmocka_unit_test(fragmentation_needed__tcp_less_than_is_believed__routers_may_cut),
	};

	world_eal_init("world-net-ip");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
