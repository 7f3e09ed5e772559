/* SPDX-License-Identifier: BSD-3-Clause */
/* SYN floods and SYN cookies (RFC4987): what a listener keeps, and who still gets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "stack/base/addr.h"
#include "tests/world/script.h"

#define FLOOD 1000000u
#define CLIENT_EVERY 20000u
#define EMBRYOS 256u /* of a listener with a shorter backlog */

/* --- two engines and a stranger ------------------------------------------------------------------- */

static uint32_t stranger;

static uint32_t draw(void)
{
	stranger ^= stranger << 13;
	stranger ^= stranger >> 17;
	stranger ^= stranger << 5;
	return stranger;
}

/* A SYN as a client's of today, from anywhere in 11.0.0.0/8. */
static void spoofed_syn(struct world *w)
{
	static uint8_t frame[128];
	struct rte_ether_hdr *eth = (void *)frame;
	struct rte_ipv4_hdr *ip = (void *)(eth + 1);
	struct rte_tcp_hdr *tcp = (void *)(ip + 1);
	struct wire_tcp h = {.sport = (uint16_t)(draw() | 1024), .dport = 80, .seq = draw(), .flags = TCP_SYN,
		.wnd = 64240, .has_mss = true, .mss = 1460, .sack_ok = true, .has_ts = true, .tsval = draw(),
		.has_wscale = true, .wscale = 7};
	size_t len = wire_tcp_emit(&h, (uint8_t *)tcp);

	memcpy(&eth->dst_addr, w->host[0].port.mac, 6);
	memcpy(&eth->src_addr, w->host[1].port.mac, 6);
	eth->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	*ip = (struct rte_ipv4_hdr){.version_ihl = 0x45, .time_to_live = 64, .next_proto_id = IPPROTO_TCP,
		.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len)),
		.src_addr = rte_cpu_to_be_32(11u << 24 | (draw() & 0xffffff)),
		.dst_addr = rte_cpu_to_be_32(10u << 24 | 1)};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	world_inject(w, 0, frame, (uint32_t)(sizeof(*eth) + sizeof(*ip) + len));
}

static bool connected(void *ctx)
{
	const struct sock *sk = ctx;

	return (sk->status & CV_ST_CONNECTED) != 0;
}

static bool has_bytes(void *ctx)
{
	const struct sock *sk = ctx;

	return sk->rxq_bytes > 0;
}

static bool has_connection(void *ctx)
{
	const struct sock *sk = ctx;

	return sock_accepts_n(sk) > 0;
}

/* Connects, is accepted, and is heard; both sides have all that they would have without a flood. */
static void client_comes_through(struct world *w, struct sock *listener)
{
	const struct cv_endpoint to = world_endpoint(0, 80);
	struct sock *client, *server;
	const struct tcp_sock *tp;
	unsigned released = 0;
	char got[8] = "";

	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &client), 0);
	client->user = w;
	assert_int_equal(sock_connect(client, &to), 0);
	assert_true(world_run(w, 900 * MS, connected, client)); /* with its first SYN */
	assert_true(world_run(w, 900 * MS, has_connection, listener));
	server = sock_accept(listener);
	server->user = w;
	sock_accept_done(listener);
	tp = tcp_of(server);
	assert_true(tp->ts_ok && tp->sack_ok && tp->wscale_ok);
	assert_int_equal(tp->snd_wscale, 7);
	assert_int_equal(tp->mss, 1448);
	assert_int_equal(sock_send(client, world_txbuf("hello", 5, &released)), 0);
	assert_true(world_run(w, 900 * MS, has_bytes, server));
	assert_int_equal(sock_recv_copy(server, got, sizeof(got)), 5);
	assert_string_equal(got, "hello");
	sock_close(client, false);
	world_run(w, 10 * MS, NULL, NULL);
	sock_close(server, false);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(released, 1);
}

static struct world *flooded_world(struct sock **listener)
{
	const struct world_link link = {.delay_ns = MS};
	const struct cv_endpoint at = world_endpoint(0, 80), router = world_endpoint(1, 0);
	struct world *w = world_new(1, &link);
	struct port *p = &w->host[0].port;

	stranger = 4711;
	p->has_gateway = true;
	memcpy(p->gateway, router.addr, 16);
	assert_int_equal(net_port_changed(w->host[0].e, p), 0);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, listener), 0);
	(*listener)->user = w;
	assert_int_equal(sock_bind(*listener, &at), 0);
	assert_int_equal(sock_listen(*listener, 16), 0);
	return w;
}

static void flood(struct world *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		spoofed_syn(w);
		if (i % ENGINE_BURST == ENGINE_BURST - 1)
			world_run(w, 100000, NULL, NULL);
	}
	world_run(w, MS, NULL, NULL);
}

T(listen__a_million_syns__clients_connect_and_memory_is_bounded)
{
	struct sock *listener;
	struct world *w = flooded_world(&listener);
	const struct tcp *t = w->host[0].e->tcp;
	const struct engine_counters *c = &w->host[0].e->counters;
	uint32_t clients = 0, socks, waits;

	(void)state;
	for (uint32_t sent = 0; sent < FLOOD; sent += CLIENT_EVERY, clients++) {
		flood(w, CLIENT_EVERY);
		client_comes_through(w, listener);
		assert_true(t->embryos.used <= EMBRYOS);
	}
	assert_int_equal(t->embryos.fresh, EMBRYOS); /* never more at a time */
	assert_int_equal(t->socks.fresh, 2);
	assert_true(c->tcp_cookies_in >= clients - 1); /* one may have met a free place */
	assert_true(c->tcp_cookies_out > FLOOD * 9 / 10);
	sock_close(listener, false);
	world_run(w, 600 * SEC, NULL, NULL);
	tcp_count(w->host[0].e, &socks, &waits);
	assert_int_equal(socks + waits + t->embryos.used, 0);
	world_free(w);
}

T(listen__a_flood_and_no_cookies__what_is_too_many_is_dropped)
{
	struct sock *listener;
	struct world *w = flooded_world(&listener);
	struct tcp *t = w->host[0].e->tcp;

	(void)state;
	t->config.syncookies = 0;
	flood(w, 1000);
	assert_int_equal(t->embryos.used, EMBRYOS);
	assert_int_equal(w->host[0].e->counters.tcp_listen_overflow, 1000 - EMBRYOS);
	assert_int_equal(w->host[0].e->counters.tcp_cookies_out, 0);
	/* Nobody answers: the places are free again. */
	world_run(w, 64 * SEC, NULL, NULL);
	assert_int_equal(t->embryos.used, 0);
	sock_close(listener, false);
	world_free(w);
}

/* --- one cookie, segment by segment ---------------------------------------------------------------- */

static struct script *cookie_script(struct sock **ls)
{
	struct script *s = script_new(1);

	s->e->tcp->config.syncookies = 2;
	*ls = script_listen(s, 4);
	return s;
}

static void cookie_end(struct script *s, struct sock *ls)
{
	sock_close(ls, true);
	script_wait(s, SEC);
	s->head = s->tail;
	script_free(s);
}

T(cookie__no_timestamps__mss_and_nothing_else)
{
	struct sock *ls;
	struct script *s = cookie_script(&ls);
	const struct script_seg *seg;
	struct tcp_sock *tp;

	(void)state;
	s->mss = 1439; /* the next lower one that a cookie can say is 1400 */
	s->sack_ok = s->has_wscale = true;
	s->wscale = 5;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_false(seg->h.sack_ok || seg->h.has_wscale || seg->h.has_ts);
	assert_int_equal(s->e->tcp->embryos.used + s->e->tcp->socks.used, 1);
	script_quiet(s, 30 * SEC); /* nobody is there to send it again */
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	script_expect(s, TCP_ACK, 1, 4, 0);
	tp = tcp_of(script_accept(s, ls));
	assert_int_equal(tp->state, TCP_ESTABLISHED);
	assert_int_equal(tp->mss, 1400);
	assert_false(tp->sack_ok || tp->wscale_ok || tp->ts_ok);
	assert_int_equal(tp->sk.rxq_bytes, 3);
	sock_close(&tp->sk, true);
	cookie_end(s, ls);
}

T(cookie__timestamps__the_other_options_come_back_in_them)
{
	struct sock *ls;
	struct script *s = cookie_script(&ls);
	const struct script_seg *seg;
	struct tcp_sock *tp;

	(void)state;
	s->mss = 1300;
	s->ts = s->sack_ok = s->has_wscale = true;
	s->wscale = 5;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	seg = script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	assert_true(seg->h.sack_ok && seg->h.has_wscale && seg->h.has_ts);
	s->wnd = 1000;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	tp = tcp_of(script_accept(s, ls));
	assert_true(tp->sack_ok && tp->wscale_ok && tp->ts_ok);
	assert_int_equal(tp->snd_wnd, 1000 << 5);
	assert_int_equal(tp->mss, 1300 - 12);
	assert_true(tp->rcv_adv - tp->rcv_nxt > 0);
	sock_close(&tp->sk, true);
	cookie_end(s, ls);
}

T(cookie__too_old__rst)
{
	struct sock *ls;
	struct script *s = cookie_script(&ls);

	(void)state;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_wait(s, 100 * SEC);
	s->peer_port++; /* another's, so that the listener still knows of cookies */
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	(void)script_next(s, MS);
	s->peer_port--;
	script_wait(s, 29 * SEC);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_RST, 1, 0, 0);
	assert_null(sock_accept(ls));
	cookie_end(s, ls);
}

T(cookie__of_another_connection_or_number__rst)
{
	struct sock *ls;
	struct script *s = cookie_script(&ls);

	(void)state;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 2, NULL, 0);
	script_expect(s, TCP_RST, 2, 0, 0);
	script_send(s, TCP_ACK, 2, 1, NULL, 0); /* not behind the SYN that was answered */
	script_expect(s, TCP_RST, 1, 0, 0);
	s->peer_port++;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_expect(s, TCP_RST, 1, 0, 0);
	assert_int_equal(s->e->counters.tcp_cookies_bad, 3);
	assert_null(sock_accept(ls));
	cookie_end(s, ls);
}

T(cookie__accept_queue_full__silence_then_let_in)
{
	struct sock *ls, *sk;
	struct script *s = cookie_script(&ls);
	uint32_t irs[2];

	(void)state;
	sock_listen(ls, 0);
	for (int i = 0; i < 2; i++) {
		s->peer_port += (uint16_t)i;
		s->irs_known = false;
		script_send(s, TCP_SYN, 0, 0, NULL, 0);
		script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
		irs[i] = s->irs;
	}
	s->peer_port--;
	s->irs = irs[0];
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	s->peer_port++;
	s->irs = irs[1];
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_quiet(s, SEC);
	sk = script_accept(s, ls);
	assert_null(sock_accept(ls));
	sock_close(sk, true);
	(void)script_next(s, MS);
	script_send(s, TCP_ACK, 1, 1, "abc", 3);
	sk = script_accept(s, ls);
	assert_int_equal(sk->rxq_bytes, 3);
	sock_close(sk, true);
	cookie_end(s, ls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listen__a_million_syns__clients_connect_and_memory_is_bounded),
		cmocka_unit_test(listen__a_flood_and_no_cookies__what_is_too_many_is_dropped),
		cmocka_unit_test(cookie__no_timestamps__mss_and_nothing_else),
		cmocka_unit_test(cookie__timestamps__the_other_options_come_back_in_them),
		cmocka_unit_test(cookie__too_old__rst),
		cmocka_unit_test(cookie__of_another_connection_or_number__rst),
		cmocka_unit_test(cookie__accept_queue_full__silence_then_let_in),
	};

	world_eal_init("tcp_flood");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
