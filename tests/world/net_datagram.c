/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP on the wire: what is cut, put together, refused and reported; who of several gets a datagram. */
#include "stack/api/option.h"
#include "tests/world/net_common.h"

#define UDP_PLACE "10.0.0.2"

static uint8_t data[65536], got[65536];

static void set(struct sock *sk, enum cv_option opt, int value)
{
	assert_int_equal(sock_setopt(sk, opt, &value, sizeof(value)), 0);
}

/* Sender on host 0, receiver at port 9 of host 1, who know each other's MAC. */
static struct world *two(uint64_t seed, struct sock *sk[2])
{
	struct world *w = world_new(seed, &perfect);

	sk[0] = udp_at(w, 0, "10.0.0.1", 5);
	sk[1] = udp_at(w, 1, UDP_PLACE, 9);
	send_at(sk[0], UDP_PLACE, 9, "x", 1);
	world_run(w, SECOND, NULL, NULL);
	assert_int_equal(sock_recv_copy(sk[1], got, 1), 1);
	return w;
}

static void udp_segment__one_send__frames_of_that_size(void **state)
{
	struct sock *sk[2];
	struct world *w = two(1, sk);
	struct cv_endpoint to = at(UDP_PLACE, 9);
	uint32_t size[] = {1000, 1000, 500};

	(void)state;
	pattern(data, 2500, 1);
	set(sk[0], CV_OPT_UDP_SEGMENT, 1000);
	send_at(sk[0], UDP_PLACE, 9, data, 2500);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 3);
	for (unsigned i = 0, off = 0; i < 3; off += size[i++]) {
		assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), size[i]);
		assert_memory_equal(got, data + off, size[i]);
	}
	assert_int_equal(COUNT(w, 0, frags_out), 0);
	/* A segment goes in one frame, or not at all. */
	set(sk[0], CV_OPT_UDP_SEGMENT, 1473);
	assert_int_equal(try_send(sk[0], &to, data, 2500), -CV_EMSGSIZE);
	set(sk[0], CV_OPT_UDP_SEGMENT, 1472);
	assert_int_equal(try_send(sk[0], &to, data, 2500), 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	assert_int_equal(COUNT(w, 0, frags_out), 0);
	close_all(sk, 2);
	world_free(w);
}

static void udp_gro__datagrams_of_a_burst__become_one(void **state)
{
	struct sock *sk[2];
	struct world *w = two(2, sk);

	(void)state;
	pattern(data, 5000, 2);
	set(sk[0], CV_OPT_UDP_SEGMENT, 700);
	set(sk[1], CV_OPT_UDP_GRO, 1);
	send_at(sk[0], UDP_PLACE, 9, data, 5000); /* the last one is shorter: it ends the row */
	send_at(sk[0], UDP_PLACE, 9, data, 700);
	send_at(sk[0], UDP_PLACE, 9, data, 701); /* is 700 and 1 */
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 2);
	assert_int_equal(sock_rx_segment(sk[1]->rxq.head), 700);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 5000);
	assert_memory_equal(got, data, 5000);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 1401);
	assert_int_equal(sk[1]->rxq_bytes, 0);
	assert_int_equal(w->host[1].e->rx_held, 0);
	close_all(sk, 2);
	world_free(w);
}

static void take(struct sock *sk, struct cv_error_report *r)
{
	uint32_t len = sizeof(got);

	assert_int_equal(sock_getopt(sk, CV_OPT_ERRQUEUE, got, &len), 0);
	memcpy(r, got, sizeof(*r));
	assert_int_equal(len, sizeof(*r) + r->quoted);
}

static void do_not_fragment__too_long__is_refused_and_queued(void **state)
{
	struct sock *sk[2];
	struct world *w = two(3, sk);
	struct cv_endpoint to = at(UDP_PLACE, 9);
	struct cv_error_report r;

	(void)state;
	set(sk[0], CV_OPT_MTU_DISCOVER, 2);
	assert_int_equal(try_send(sk[0], &to, data, 1473), -CV_EMSGSIZE);
	assert_false(sk[0]->status & CV_ST_ERRQUEUE);
	set(sk[0], CV_OPT_RECVERR, 1);
	assert_int_equal(try_send(sk[0], &to, data, 1473), -CV_EMSGSIZE);
	assert_true(sk[0]->status & CV_ST_ERRQUEUE);
	take(sk[0], &r);
	assert_int_equal(r.error, CV_EMSGSIZE);
	assert_int_equal(r.origin, CV_ORIGIN_LOCAL);
	assert_int_equal(r.info, 1500);
	assert_int_equal(r.to.port, 9);
	assert_false(sk[0]->status & CV_ST_ERRQUEUE);
	assert_int_equal(try_send(sk[0], &to, data, 1472), 0);
	close_all(sk, 2);
	world_free(w);
}

/* An ICMP error of a router, 10.0.0.9, about a datagram of 50 bytes from port 5 of host 0. */
static void router_says(struct world *w, uint8_t type, uint8_t code, uint16_t low)
{
	uint8_t icmp[128] = {type, code, [8] = 0x45, [16] = 63, [17] = IPPROTO_UDP}, frame[200], udp[64];

	put16(icmp + 6, low);
	put16(icmp + 10, 78);
	memcpy(icmp + 20, at("10.0.0.1", 0).addr + 12, 4);
	memcpy(icmp + 24, at(UDP_PLACE, 0).addr + 12, 4);
	udp_bytes(udp, "10.0.0.1", 5, UDP_PLACE, 9, data, 50);
	memcpy(icmp + 28, udp, 58);
	put16(icmp + 2, fold16(sum16(icmp, 86, 0)));
	world_inject(w, 0, frame,
		frame4(frame, w, 0, "10.0.0.9", "10.0.0.1", IPPROTO_ICMP, 1, 0, icmp, 86));
	world_run(w, 0, NULL, NULL);
}

static void error_queue__router_says_time_exceeded__all_of_it_is_told(void **state)
{
	struct sock *sk[2];
	struct world *w = two(4, sk);
	struct cv_error_report r;
	uint32_t len = sizeof(got);

	(void)state;
	pattern(data, 50, 4);
	router_says(w, 11, 0, 0); /* not connected: nothing is told */
	assert_int_equal(sk[0]->error_seq, 0);
	set(sk[0], CV_OPT_RECVERR, 1);
	router_says(w, 11, 0, 0);
	router_says(w, 3, 3, 0);
	assert_int_equal(sk[0]->error_seq, 2);
	take(sk[0], &r);
	assert_int_equal(r.error, CV_EHOSTUNREACH);
	assert_int_equal(r.origin, CV_ORIGIN_ICMP);
	assert_int_equal(r.type, 11);
	assert_int_equal(r.code, 0);
	assert_int_equal(r.more, 1);
	assert_int_equal(r.offender.addr[15], 9);
	assert_int_equal(r.to.addr[15], 2);
	assert_int_equal(r.to.port, 9);
	assert_int_equal(r.quoted, 50);
	assert_memory_equal(got + sizeof(r), data, 50);
	assert_int_equal(sk[0]->error, CV_ECONNREFUSED); /* the next one is pending now */
	assert_int_equal(sk[0]->error_seq, 3);
	take(sk[0], &r);
	assert_int_equal(r.type, 3);
	assert_int_equal(r.more, 0);
	assert_int_equal(sock_getopt(sk[0], CV_OPT_ERRQUEUE, got, &len), -CV_EAGAIN);
	for (unsigned i = 0; i < 100; i++)
		router_says(w, 11, 0, 0);
	for (unsigned i = 0; i < 32; i++) /* no more than that */
		take(sk[0], &r);
	assert_int_equal(sock_getopt(sk[0], CV_OPT_ERRQUEUE, got, &len), -CV_EAGAIN);
	close_all(sk, 2);
	world_free(w);
}

static void reuseport__flows_are_spread__and_each_stays_where_it_is(void **state)
{
	struct world *w = world_new(5, &perfect);
	struct sock *to[4], *from = udp_at(w, 0, "10.0.0.1", 5);
	unsigned first[400];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct cv_endpoint ep = at(UDP_PLACE, 9);

		to[i] = udp_new(w, 1, CV_AF_INET);
		to[i]->reuseport = true;
		assert_int_equal(sock_bind(to[i], &ep), 0);
	}
	for (unsigned round = 0; round < 2; round++) {
		unsigned n[4] = {0};

		for (unsigned p = 0; p < 400; p++) {
			uint8_t udp[16], frame[64];

			udp_bytes(udp, "10.0.0.1", (uint16_t)(2000 + p), UDP_PLACE, 9, "x", 1);
			world_inject(w, 1, frame,
				frame4(frame, w, 1, "10.0.0.1", UDP_PLACE, IPPROTO_UDP, 1, 0, udp, 9));
			world_run(w, 0, NULL, NULL);
			for (unsigned i = 0; i < 4; i++) {
				if (to[i]->rxq.n == 0)
					continue;
				assert_int_equal(sock_recv_copy(to[i], got, 1), 1);
				n[i]++;
				if (round == 0)
					first[p] = i;
				assert_int_equal(first[p], i);
			}
		}
		assert_int_equal(n[0] + n[1] + n[2] + n[3], 400);
		for (unsigned i = 0; i < 4; i++)
			assert_in_range(n[i], 70, 130);
	}
	sock_close(from, false);
	close_all(to, 4);
	world_free(w);
}

static void group__every_member_gets_it__and_who_asks_for_all(void **state)
{
	struct world *w = world_new(6, &perfect);
	struct sock *from = udp_at(w, 0, "10.0.0.1", 5), *to[4];
	struct cv_mreq mreq = {.ifindex = 0};

	(void)state;
	memcpy(mreq.group, at("239.1.2.3", 0).addr, 16);
	for (unsigned i = 0; i < 4; i++) {
		struct cv_endpoint any = at("0.0.0.0", 9);

		to[i] = udp_new(w, 1, CV_AF_INET);
		to[i]->reuseaddr = true;
		assert_int_equal(sock_bind(to[i], &any), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sock_setopt(to[i], CV_OPT_MCAST_JOIN, &mreq, sizeof(mreq)), 0);
	set(to[3], CV_OPT_MULTICAST_ALL, 0);
	world_run(w, SECOND, NULL, NULL);
	send_at(from, "239.1.2.3", 9, "hello", 5);
	world_run(w, 10 * MS, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(to[i]->rxq.n, 1);
		assert_int_equal(sock_recv_copy(to[i], got, sizeof(got)), 5);
		assert_memory_equal(got, "hello", 5);
	}
	assert_int_equal(to[3]->rxq.n, 0); /* not a member, and wants only its own */
	assert_int_equal(COUNT(w, 1, udp_no_port), 0);
	send_at(from, "239.1.2.3", 10, "nobody", 6);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(COUNT(w, 1, udp_no_port), 1);
	assert_int_equal(COUNT(w, 1, icmp_errors_out), 0);
	sock_close(from, false);
	close_all(to, 4);
	world_free(w);
}

static void queue__takes_one_however_large__and_counts_the_rest(void **state)
{
	struct sock *sk[2];
	struct world *w = two(7, sk);

	(void)state;
	set(sk[1], CV_OPT_RCVBUF, 2000);
	for (unsigned i = 0; i < 3; i++)
		send_at(sk[0], UDP_PLACE, 9, data, 5000);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	assert_int_equal(COUNT(w, 1, udp_queue_full), 2);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 5000);
	send_at(sk[0], UDP_PLACE, 9, data, 5000);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	close_all(sk, 2);
	world_free(w);
}

static void corked__large__leaves_as_one_in_fragments(void **state)
{
	struct sock *sk[2];
	struct world *w = two(8, sk);

	(void)state;
	pattern(data, 9000, 8);
	set(sk[0], CV_OPT_UDP_CORK, 1);
	for (unsigned i = 0; i < 9; i++)
		send_at(sk[0], UDP_PLACE, 9, data + 1000 * i, 1000);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 0);
	set(sk[0], CV_OPT_UDP_CORK, 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 9000);
	assert_memory_equal(got, data, 9000);
	assert_int_equal(sk[0]->tx_taken, sk[0]->tx_acked);
	assert_true(COUNT(w, 0, frags_out) > 0);
	close_all(sk, 2);
	world_free(w);
}

/* What is corked goes where its first part was sent, though the socket has another peer by then. */
static void corked__another_peer_meanwhile__goes_to_the_first(void **state)
{
	struct sock *sk[2];
	struct world *w = two(14, sk);
	struct cv_endpoint first = at(UDP_PLACE, 9), second = at("10.0.0.1", 7);

	(void)state;
	assert_int_equal(sock_connect(sk[0], &first), 0);
	set(sk[0], CV_OPT_UDP_CORK, 1);
	assert_int_equal(try_send(sk[0], NULL, "one", 3), 0);
	assert_int_equal(sock_connect(sk[0], &second), 0);
	set(sk[0], CV_OPT_UDP_CORK, 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sock_recv_copy(sk[1], got, sizeof(got)), 3);
	close_all(sk, 2);
	world_free(w);
}

/* Every wrong byte of header or payload is seen; IPv4 without a checksum is taken (RFC768). */
static void checksum__wrong_or_none(void **state)
{
	struct sock *sk[2];
	struct world *w = two(9, sk);
	uint8_t udp[32], frame[100];

	(void)state;
	udp_bytes(udp, "10.0.0.1", 5, UDP_PLACE, 9, "datagram", 8);
	for (unsigned i = 0; i < 16; i++) {
		udp[i] ^= 0x10;
		world_inject(w, 1, frame,
			frame4(frame, w, 1, "10.0.0.1", UDP_PLACE, IPPROTO_UDP, 1, 0, udp, 16));
		udp[i] ^= 0x10;
	}
	world_run(w, 0, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 0);
	assert_int_equal(COUNT(w, 1, drop_l4_checksum), 16);
	put16(udp + 6, 0);
	world_inject(w, 1, frame, frame4(frame, w, 1, "10.0.0.1", UDP_PLACE, IPPROTO_UDP, 1, 0, udp, 16));
	world_run(w, 0, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	close_all(sk, 2);
	world_free(w);
}

/* RFC1122:3.2.2, RFC4443:2.4 (e): of all these only the first deserves an answer. */
static void error_about_an_error__or_a_group__is_not_sent(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto, first;
	} what[] = {{"10.0.0.1", UDP_PLACE, 200, 0}, {"10.0.0.1", UDP_PLACE, IPPROTO_UDP, 0},
		{"10.0.0.1", UDP_PLACE, IPPROTO_ICMP, 3}, {"10.0.0.1", UDP_PLACE, IPPROTO_ICMP, 11},
		{"10.0.0.1", "224.0.0.1", 200, 0}, {"10.0.0.1", "224.0.0.1", IPPROTO_UDP, 0},
		{"10.0.0.1", "255.255.255.255", 200, 0}, {"0.0.0.0", "255.255.255.255", 200, 0}};
	struct sock *sk[2];
	struct world *w = two(10, sk);

	(void)state;
	for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		uint8_t body[64] = {what[i].first}, frame[128];

		if (what[i].proto == IPPROTO_UDP) /* to a port that nobody has */
			udp_bytes(body, what[i].src, 5, what[i].dst, 99, "x", 1);
		else if (what[i].proto == IPPROTO_ICMP)
			put16(body + 2, fold16(sum16(body, 64, 0)));
		world_inject(w, 1, frame,
			frame4(frame, w, 1, what[i].src, what[i].dst, what[i].proto, 1, 0, body,
				what[i].proto == IPPROTO_UDP ? 9 : 64));
		world_run(w, 0, NULL, NULL);
		assert_int_equal(COUNT(w, 1, icmp_errors_out), i == 0 ? 1 : 2);
	}
	close_all(sk, 2);
	world_free(w);
}

/* ICMP errors and resets that any worker of host 1 has sent. */
static uint64_t complaints(const struct world *w)
{
	uint64_t n = 0;

	for (uint16_t k = 0; k < w->host[1].workers; k++) {
		const struct engine *e = world_engine(&w->host[1], k);

		n += e->counters.icmp_errors_out + e->counters.tcp_rst_out;
	}
	return n;
}

/* A frame to everybody on the link with a packet for us in it: a datagram is taken (as Linux), but nobody is complained
 * to, since all hosts of the link would do the same (RFC1122:3.2.2, RFC4443:2.4 (e.4)), and TCP does not answer. */
static void frame_to_everybody__with_a_packet_for_one__is_not_complained_about(void **state)
{
	static const uint8_t all[2][6] = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0, 0, 0, 1}};
	static const char *const src[] = {"10.0.0.1", "2001:db8::1"}, *const dst[] = {UDP_PLACE, "2001:db8::2"};

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = world6_new(11, &perfect);
		struct sock *sk = udp_at(w, 1, dst[v6], 9);
		uint8_t udp[16], tcp[20] = {0, 9, 0, 99, [12] = 0x50, [13] = 2, [14] = 0xff};
		uint8_t frame[128];
		uint16_t n;

		world_run(w, SECOND, NULL, NULL);
		put16(tcp + 16, l4_sum(src[v6], dst[v6], IPPROTO_TCP, tcp, 20));
		for (unsigned i = 0; i < 6; i++) {
			uint64_t sent = complaints(w);
			uint16_t port = i / 2 == 0 ? 9 : 99, len;

			len = udp_bytes(udp, src[v6], 5, dst[v6], port, "x", 1);
			if (v6)
				n = frame6(frame, w, 1, src[1], dst[1], i / 2 == 2 ? IPPROTO_TCP : IPPROTO_UDP, 64,
					i / 2 == 2 ? tcp : udp, i / 2 == 2 ? 20 : len);
			else
				n = frame4(frame, w, 1, src[0], dst[0], i / 2 == 2 ? IPPROTO_TCP : IPPROTO_UDP, 1, 0,
					i / 2 == 2 ? tcp : udp, i / 2 == 2 ? 20 : len);
			if (i % 2 == 0)
				memcpy(frame, all[v6], 6);
			world_inject(w, 1, frame, n);
			world_run(w, 0, NULL, NULL);
			assert_int_equal(sk->rxq.n, i < 2 ? i + 1 : 2);
			assert_int_equal(complaints(w) - sent, i % 2 == 1 && i > 1);
		}
		sock_close(sk, false);
		world_free(w);
	}
}

/* What follows the datagram in its packet is none of its business, nor of its checksum's (RFC768: Length). */
static void bytes_behind_the_datagram__are_left_out(void **state)
{
	static const char *const src[] = {"10.0.0.1", "2001:db8::1"}, *const dst[] = {UDP_PLACE, "2001:db8::2"};

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world *w = world6_new(12, &perfect);
		struct sock *sk = udp_at(w, 1, dst[v6], 9);
		uint8_t udp[32] = {0}, frame[128];
		uint16_t n = udp_bytes(udp, src[v6], 5, dst[v6], 9, "abc", 3);

		memcpy(udp + n, "tail", 4);
		n = (uint16_t)(n + 4);
		world_inject(w, 1, frame,
			v6 ? frame6(frame, w, 1, src[1], dst[1], IPPROTO_UDP, 64, udp, n)
			   : frame4(frame, w, 1, src[0], dst[0], IPPROTO_UDP, 1, 0, udp, n));
		world_run(w, 0, NULL, NULL);
		assert_int_equal(sock_recv_copy(sk, got, sizeof(got)), 3);
		assert_memory_equal(got, "abc", 3);
		udp[9] ^= 1;
		world_inject(w, 1, frame,
			v6 ? frame6(frame, w, 1, src[1], dst[1], IPPROTO_UDP, 64, udp, n)
			   : frame4(frame, w, 1, src[0], dst[0], IPPROTO_UDP, 1, 0, udp, n));
		world_run(w, 0, NULL, NULL);
		assert_int_equal(COUNT(w, 1, drop_l4_checksum), 1);
		sock_close(sk, false);
		world_free(w);
	}
}

/* One program's many sockets, whose errors and datagrams nobody reads, leave buffers for the others. */
static void unread__of_many_sockets__leaves_buffers(void **state)
{
	enum { MANY = 400 };
	static struct sock *sk[MANY];

	(void)state;
	for (unsigned errors = 0; errors < 2; errors++) {
		struct world *w = world_new(13, &perfect);
		struct sock *other[2] = {udp_at(w, 0, "10.0.0.1", 5), udp_at(w, 1, UDP_PLACE, 9)};

		send_at(other[0], UDP_PLACE, 9, "x", 1);
		world_run(w, SECOND, NULL, NULL);
		for (unsigned i = 0; i < MANY; i++) {
			struct cv_endpoint to = at("10.0.0.1", (uint16_t)(1000 + i));

			sk[i] = udp_at(w, 0, "10.0.0.1", (uint16_t)(1000 + i));
			set(sk[i], CV_OPT_RECVERR, 1);
			set(sk[i], CV_OPT_MTU_DISCOVER, 2);
			for (unsigned k = 0; k < 64; k++) {
				if (errors)
					(void)try_send(sk[i],
						&(struct cv_endpoint){
							.port = 9, .addr = {[10] = 0xff, 0xff, 10, 0, 0, 2}},
						data, 4000);
				else
					(void)try_send(sk[i], &to, data, 100);
			}
			world_run(w, 0, NULL, NULL);
		}
		assert_true(rte_mempool_avail_count(w->pool) > 1000);
		assert_int_equal(sock_recv_copy(other[1], got, 1), 1);
		send_at(other[0], UDP_PLACE, 9, "y", 1);
		world_run(w, SECOND, NULL, NULL);
		assert_int_equal(sock_recv_copy(other[1], got, 1), 1);
		close_all(sk, MANY);
		assert_int_equal(w->host[0].e->rx_held, 0);
		close_all(other, 2);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp_segment__one_send__frames_of_that_size),
		cmocka_unit_test(udp_gro__datagrams_of_a_burst__become_one),
		cmocka_unit_test(do_not_fragment__too_long__is_refused_and_queued),
		cmocka_unit_test(error_queue__router_says_time_exceeded__all_of_it_is_told),
		cmocka_unit_test(reuseport__flows_are_spread__and_each_stays_where_it_is),
		cmocka_unit_test(group__every_member_gets_it__and_who_asks_for_all),
		cmocka_unit_test(queue__takes_one_however_large__and_counts_the_rest),
		cmocka_unit_test(corked__large__leaves_as_one_in_fragments),
		cmocka_unit_test(corked__another_peer_meanwhile__goes_to_the_first),
		cmocka_unit_test(checksum__wrong_or_none),
		cmocka_unit_test(error_about_an_error__or_a_group__is_not_sent),
		cmocka_unit_test(frame_to_everybody__with_a_packet_for_one__is_not_complained_about),
		cmocka_unit_test(bytes_behind_the_datagram__are_left_out),
		cmocka_unit_test(unread__of_many_sockets__leaves_buffers),
	};

	world_eal_init("world-net-datagram");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
