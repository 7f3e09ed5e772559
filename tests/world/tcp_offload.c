/* SPDX-License-Identifier: BSD-3-Clause */
/* Few large packets: super-segments (stack/core/port.h) made, sent and received; devices that have no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "stack/net/ip.h"
#include "tests/world/script.h"
#include "tests/world/transfer.h"

#define MSS 1460u

/* --- two engines ---------------------------------------------------------------------------------- */

static void trusted(struct world *w, int host, uint16_t tso_max)
{
	w->host[host].port.tso = PORT_TSO_TRUSTED;
	w->host[host].port.tso_max = tso_max;
}

static void both_trusted(struct world *w)
{
	trusted(w, 0, 65535);
	trusted(w, 1, 65535);
}

static void client_trusted(struct world *w)
{
	trusted(w, 0, 30000);
}

static void mtu_set(struct world *w, uint16_t mtu)
{
	w->host[0].port.mtu = mtu;
	w->host[1].port.mtu = mtu;
}

static void jumbo_trusted(struct world *w)
{
	mtu_set(w, 9000);
	both_trusted(w);
}

static void largest_mtu(struct world *w)
{
	mtu_set(w, 65535);
}

static void odd_mtu_trusted(struct world *w)
{
	mtu_set(w, 1237);
	trusted(w, 0, 4001);
	trusted(w, 1, 65534);
}

static void both_software(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		w->host[i].port.tso = PORT_TSO_SOFTWARE;
		w->host[i].port.tso_max = 65535;
	}
}

static void software_and_vlan(struct world *w)
{
	both_software(w);
	mtu_set(w, 777);
	w->host[0].port.vlan = w->host[1].port.vlan = 5;
}

static void both_devices(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		w->host[i].port.tso = PORT_TSO_DEVICE;
		w->host[i].port.tso_max = 65535;
		w->host[i].port.tx_ip_cksum = w->host[i].port.tx_l4_cksum = true;
	}
}

static void trusted_link__bulk__few_frames(void **state)
{
	const struct plan plan = {.link = {.delay_ns = MS}, .prepare = both_trusted, .bytes = 5000000, .bound_s = 10};
	struct run *r = run_new(&plan, 1);

	(void)state;
	while (!run_done(r))
		run_step(r);
	/* 7.5 MB are some 5,200 segments of an MSS, and as many frames and ACKs without super-segments. */
	assert_true(r->w->frames_sent < 1500);
	run_end(r);
}

static void on_any_link_of(bool ipv6, void (*prepare)(struct world *w), uint64_t seed)
{
	const struct plan plans[] = {
		{.link = {.delay_ns = MS}, .bytes = 2000000, .bound_s = 10},
		{.link = {.delay_ns = 0}, .bytes = 2000000, .bound_s = 10},
		{.link = {.delay_ns = 5 * MS, .loss = 50}, .bytes = 1000000, .bound_s = 120},
		{.link = {.delay_ns = 5 * MS, .reorder = 200, .reorder_ns = 7 * MS}, .bytes = 1000000, .bound_s = 60},
		{.link = {.delay_ns = 5 * MS, .duplicate = 200, .corrupt = 20}, .bytes = 1000000, .bound_s = 120},
		{.link = {.delay_ns = 5 * MS, .loss = 50, .reorder = 100, .reorder_ns = 9 * MS, .duplicate = 50, .corrupt = 20},
			.bytes = 300000, .bound_s = 300},
		{.link = {.delay_ns = MS, .loss = 20}, .bytes = 300000, .bound_s = 300, .rcvbuf = 20000},
		{.link = {.delay_ns = MS}, .bytes = 200000, .bound_s = 300, .rcvbuf = 8192, .read_most = 300},
		{.link = {.delay_ns = MS, .loss = 20}, .bytes = 200000, .bound_s = 300, .write_most = 40, .nodelay = true},
	};

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		struct plan plan = plans[i];

		plan.prepare = prepare;
		plan.ipv6 = ipv6;
		transfers(&plan, seed + 10 * i, 3);
	}
}

static void on_any_link(void (*prepare)(struct world *w), uint64_t seed)
{
	on_any_link_of(false, prepare, seed);
}

static void both_ends_trusted__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(both_trusted, 100);
}

static void one_end_trusted__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(client_trusted, 300);
}

static void jumbo_frames__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(jumbo_trusted, 500);
}

static void largest_mtu__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(largest_mtu, 700);
}

static void odd_sizes__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(odd_mtu_trusted, 900);
}

static void cut_in_software__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(both_software, 1100);
	on_any_link(software_and_vlan, 1300);
}

static void cut_by_the_device__any_link__arrives(void **state)
{
	(void)state;
	on_any_link(both_devices, 1500);
}

static void ipv6_mtu(struct world *w)
{
	both_software(w);
	mtu_set(w, 1300);
}

static void ipv6__any_link__arrives(void **state)
{
	(void)state;
	on_any_link_of(true, both_trusted, 1700);
	on_any_link_of(true, both_software, 1900);
	on_any_link_of(true, ipv6_mtu, 2100);
}

/* --- what one segment holds ----------------------------------------------------------------------- */

/* An established connection of an engine whose port takes super-segments; the peer offers 4 MiB. */
static struct sock *established(struct script *s, uint16_t tso_max)
{
	trusted(s->w, 0, tso_max);
	s->has_wscale = true;
	s->wscale = 7;
	s->sack_ok = true;
	s->wnd = 32768;
	return script_established_active(s);
}

static void finish(struct script *s, struct sock *sk)
{
	sock_close(sk, true);
	script_free(s);
}

static void bulk__first_flight__is_the_initial_window(void **state)
{
	struct script *s = script_new(1);
	struct sock *sk = established(s, 65535);

	(void)state;
	script_write(s, sk, 100000);
	script_expect(s, TCP_ACK, 1, 1, 10 * MSS);
	script_quiet(s, MS);
	/* Slow start: one more for each that was acknowledged, however few ACKs say so. */
	script_send(s, TCP_ACK, 1, 1 + 10 * MSS, NULL, 0);
	script_expect(s, TCP_ACK, 1 + 10 * MSS, 1, 20 * MSS);
	script_quiet(s, MS);
	finish(s, sk);
}

static void bulk__port_takes_less__segments_are_whole_and_fit(void **state)
{
	struct script *s = script_new(2);
	struct sock *sk = established(s, 4000 + 40);

	(void)state;
	script_write(s, sk, 100000);
	for (unsigned i = 0; i < 5; i++)
		script_expect(s, TCP_ACK, 1 + i * 2 * MSS, 1, 2 * MSS);
	script_quiet(s, MS);
	finish(s, sk);
}

static void content__of_many_buffers__is_in_order(void **state)
{
	struct script *s = script_new(3);
	struct sock *sk = established(s, 65535);
	const struct script_seg *seg;

	(void)state;
	for (unsigned i = 0; i < 14; i++)
		script_write(s, sk, 1000 + i);
	seg = script_expect(s, TCP_ACK, 1, 1, 14091);
	for (uint32_t i = 0; i < seg->len; i++)
		assert_int_equal(seg->data[i], script_byte(i));
	finish(s, sk);
}

static void window_of_the_peer__cuts__at_whole_segments(void **state)
{
	struct script *s = script_new(4);
	struct sock *sk = established(s, 65535);

	(void)state;
	s->wnd = 5000 >> 7;
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	script_write(s, sk, 100000);
	script_expect(s, TCP_ACK, 1, 1, 3 * MSS);
	script_quiet(s, MS);
	finish(s, sk);
}

static void short_end__nagle__one_at_a_time(void **state)
{
	struct script *s = script_new(5);
	struct sock *sk = established(s, 65535);

	(void)state;
	script_write(s, sk, 3 * MSS + 100);
	script_expect(s, TCP_ACK, 1, 1, 3 * MSS + 100);
	script_write(s, sk, 2 * MSS + 200);
	script_expect(s, TCP_ACK, 1 + 3 * MSS + 100, 1, 2 * MSS);
	script_quiet(s, MS);
	script_send(s, TCP_ACK, 1, 1 + 3 * MSS, NULL, 0);
	script_quiet(s, MS);
	script_send(s, TCP_ACK, 1, 1 + 3 * MSS + 100, NULL, 0);
	script_expect(s, TCP_ACK | TCP_PSH, 1 + 5 * MSS + 100, 1, 200);
	finish(s, sk);
}

static void short_end__nodelay_or_fin__goes_along(void **state)
{
	struct script *s = script_new(6);
	struct sock *sk = established(s, 65535);
	int on = 1;

	(void)state;
	assert_int_equal(sock_setopt(sk, CV_OPT_NODELAY, &on, sizeof(on)), 0);
	script_write(s, sk, 3 * MSS + 100);
	script_expect(s, TCP_ACK, 1, 1, 3 * MSS + 100);
	on = 0;
	assert_int_equal(sock_setopt(sk, CV_OPT_NODELAY, &on, sizeof(on)), 0);
	script_write(s, sk, 2 * MSS + 1);
	sock_shutdown_wr(sk);
	script_expect(s, TCP_ACK | TCP_FIN, 1 + 3 * MSS + 100, 1, 2 * MSS + 1);
	finish(s, sk);
}

static void urgent_data__is_sent__in_plain_segments(void **state)
{
	struct script *s = script_new(7);
	struct sock *sk = established(s, 65535);

	(void)state;
	tcp_of(sk)->snd_up = tcp_of(sk)->snd_end + 3 * MSS;
	script_write(s, sk, 6 * MSS);
	for (unsigned i = 0; i < 3; i++)
		script_expect(s, TCP_ACK | TCP_URG, 1 + i * MSS, 1, MSS);
	script_expect(s, TCP_ACK, 1 + 3 * MSS, 1, 3 * MSS);
	finish(s, sk);
}

/* Two GiB on, an old urgent pointer would be ahead again. */
static void old_urgent_pointer__follows_what_is_acknowledged(void **state)
{
	struct script *s = script_new(8);
	struct sock *sk = established(s, 65535);

	(void)state;
	tcp_of(sk)->snd_up = tcp_of(sk)->snd_una - 0x7fffff00;
	script_write(s, sk, 2 * MSS);
	script_expect(s, TCP_ACK, 1, 1, 2 * MSS);
	assert_true(tcp_of(sk)->snd_up == tcp_of(sk)->snd_una);
	finish(s, sk);
}

static void path_narrower_than_its_link__segments_are_plain(void **state)
{
	struct script *s = script_new(9);
	struct sock *sk = established(s, 65535);

	(void)state;
	ip_pmtu_learn(s->e, sk->peer.addr, 1000);
	script_write(s, sk, 10000);
	script_expect(s, TCP_ACK, 1, 1, MSS); /* was cut when the path was looked up */
	script_expect(s, TCP_ACK, 1 + MSS, 1, 960);
	script_expect(s, TCP_ACK, 1 + MSS + 960, 1, 960);
	finish(s, sk);
}

/* --- cut before the device ------------------------------------------------------------------------------ */

static void cut_in_software__frames__are_those_of_an_mss(void **state)
{
	struct script *s = script_new(15);
	struct sock *sk = established(s, 65535);
	const struct script_seg *seg;
	int on = 1;

	(void)state;
	s->w->host[0].port.tso = PORT_TSO_SOFTWARE;
	assert_int_equal(sock_setopt(sk, CV_OPT_NODELAY, &on, sizeof(on)), 0);
	script_write(s, sk, 700);
	script_write(s, sk, 2000);
	script_write(s, sk, 3 * MSS);
	sock_shutdown_wr(sk);
	for (unsigned i = 0; i < 5; i++) { /* script.c looks at every checksum */
		uint32_t at = i * MSS, len = i < 4 ? MSS : 2700 + 3 * MSS - 4 * MSS;
		uint8_t fin = i < 4 ? 0 : TCP_FIN;

		seg = script_expect(s, TCP_ACK | fin, 1 + at, 1, len);
		assert_int_equal(seg->h.flags & TCP_PSH, i < 4 ? 0 : TCP_PSH);
		for (uint32_t k = 0; k < len; k++)
			assert_int_equal(seg->data[k], script_byte(at + k));
	}
	script_quiet(s, MS);
	assert_int_equal(tcp_of(sk)->data_segs_out, 5);
	assert_int_equal(s->w->host[0].e->counters.tx_refused, 0);
	finish(s, sk);
}

/* --- loss ------------------------------------------------------------------------------------------- */

static void lost_super_segment__comes_again_in_plain_segments(void **state)
{
	struct script *s = script_new(10);
	struct sock *sk = established(s, 7300 + 40);

	(void)state;
	script_write(s, sk, 10 * MSS);
	script_expect(s, TCP_ACK, 1, 1, 5 * MSS);
	script_expect(s, TCP_ACK, 1 + 5 * MSS, 1, 5 * MSS);
	s->sacks_n = 1;
	s->sacks[0] = (struct range){1 + 5 * MSS, 1 + 10 * MSS};
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	for (unsigned i = 0; i < 5; i++)
		script_expect(s, TCP_ACK, 1 + i * MSS, 1, MSS);
	script_quiet(s, MS);
	finish(s, sk);
}

static void part_of_a_super_segment_acknowledged__the_rest_comes_again(void **state)
{
	struct script *s = script_new(11);
	struct sock *sk = established(s, 65535);

	(void)state;
	script_write(s, sk, 10 * MSS);
	script_expect(s, TCP_ACK, 1, 1, 10 * MSS);
	script_send(s, TCP_ACK, 1, 1 + 4321, NULL, 0);
	script_expect_in(s, 10 * MS, TCP_ACK, 1 + 9 * MSS, 1, MSS); /* a probe (RFC8985:7) */
	script_expect_in(s, 2 * SEC, TCP_ACK, 1 + 4321, 1, MSS);    /* the timer */
	finish(s, sk);
}

/* --- received ----------------------------------------------------------------------------------------- */

static void user_reads_pattern(struct sock *sk, const uint8_t *data, uint32_t len)
{
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	assert_int_equal(sock_recv_copy(sk, buf, len + 1), len);
	assert_memory_equal(buf, data, len);
	free(buf);
}

static void super_segment_received__is_acknowledged_at_once(void **state)
{
	static uint8_t data[20000];
	struct script *s = script_new(12);
	struct sock *sk = established(s, 65535);

	(void)state;
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = script_byte(i);
	script_write(s, sk, 10); /* its answers may carry ACKs: those of single segments wait */
	script_send(s, TCP_ACK, 1, 1, data, 100);
	script_expect(s, TCP_ACK, 1, 101, 10);
	tcp_of(sk)->pingpong = true;
	script_send(s, TCP_ACK, 101, 11, data + 100, MSS);
	script_quiet(s, 30 * MS);
	script_expect(s, TCP_ACK, 11, 101 + MSS, 0); /* delayed */
	tcp_of(sk)->pingpong = true;
	script_send(s, TCP_ACK, 101 + MSS, 11, data + 100 + MSS, sizeof(data) - 100 - MSS);
	script_expect_in(s, 0, TCP_ACK, 11, 1 + sizeof(data), 0);
	user_reads_pattern(sk, data, sizeof(data));
	finish(s, sk);
}

/* Numbers that wrap within it, and a part that was there already. */
static void super_segment_received__across_the_wrap__is_cut(void **state)
{
	static uint8_t data[30000];
	struct script *s = script_new(13);
	struct sock *sk;

	(void)state;
	s->iss = UINT32_MAX - 10000;
	sk = established(s, 65535);
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = script_byte(i);
	script_send(s, TCP_ACK, 1, 1, data, 5000);
	script_expect(s, TCP_ACK, 1, 5001, 0);
	script_send(s, TCP_ACK, 1, 1, data, sizeof(data));
	script_expect(s, TCP_ACK, 1, 1 + sizeof(data), 0);
	user_reads_pattern(sk, data, sizeof(data));
	finish(s, sk);
}

/* A peer without SACK counts: three segments' worth out of order are three duplicates. */
static void super_segment_out_of_order__without_sack__as_many_duplicates(void **state)
{
	static uint8_t data[3 * MSS];
	struct script *s = script_new(14);
	struct sock *sk;

	(void)state;
	trusted(s->w, 0, 65535);
	sk = script_established_active(s);
	script_send(s, TCP_ACK, 1 + MSS, 1, data, sizeof(data));
	for (unsigned i = 0; i < 3; i++)
		script_expect(s, TCP_ACK, 1, 1, 0);
	script_quiet(s, MS);
	finish(s, sk);
}

/* --- devices without room ------------------------------------------------------------------------------ */

static void short_device_queue__nothing_is_lost(void **state)
{
	const struct plan plan = {.link = {.delay_ns = MS}, .prepare = both_trusted, .bytes = 3000000, .bound_s = 60};
	struct run *r = run_new(&plan, 20);

	(void)state;
	for (int i = 0; i < 2; i++)
		r->w->host[i].tx_bounded = true;
	for (unsigned i = 0; i < 100000 && !run_done(r); i++) {
		r->w->host[0].tx_room = r->w->host[1].tx_room = (uint16_t)run_draw(r, 4);
		run_step(r);
	}
	assert_true(run_done(r));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(r->w->host[i].e->counters.tx_refused, 0);
		assert_int_equal(r->w->host[i].e->counters.tcp_retrans, 0);
		r->w->host[i].tx_bounded = false;
	}
	run_end(r);
}

static void stopped_device__frames_are_given_up__and_the_rest_arrives(void **state)
{
	const struct plan plan = {.link = {.delay_ns = MS}, .prepare = both_trusted, .bytes = 8000000, .bound_s = 60};
	struct run *r = run_new(&plan, 21);

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		run_step(r);
	r->w->host[0].tx_bounded = true;
	for (unsigned i = 0; i < 200; i++)
		run_step(r);
	assert_true(r->w->host[0].e->counters.tx_refused > 0);
	r->w->host[0].tx_bounded = false;
	for (unsigned i = 0; i < 10000 && !run_done(r); i++)
		run_step(r);
	assert_true(run_done(r));
	run_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trusted_link__bulk__few_frames),
		cmocka_unit_test(both_ends_trusted__any_link__arrives),
		cmocka_unit_test(one_end_trusted__any_link__arrives),
		cmocka_unit_test(jumbo_frames__any_link__arrives),
		cmocka_unit_test(largest_mtu__any_link__arrives),
		cmocka_unit_test(odd_sizes__any_link__arrives),
		cmocka_unit_test(cut_in_software__any_link__arrives),
		cmocka_unit_test(cut_by_the_device__any_link__arrives),
		cmocka_unit_test(ipv6__any_link__arrives),
		cmocka_unit_test(bulk__first_flight__is_the_initial_window),
		cmocka_unit_test(bulk__port_takes_less__segments_are_whole_and_fit),
		cmocka_unit_test(content__of_many_buffers__is_in_order),
		cmocka_unit_test(window_of_the_peer__cuts__at_whole_segments),
		cmocka_unit_test(short_end__nagle__one_at_a_time),
		cmocka_unit_test(short_end__nodelay_or_fin__goes_along),
		cmocka_unit_test(urgent_data__is_sent__in_plain_segments),
		cmocka_unit_test(old_urgent_pointer__follows_what_is_acknowledged),
		cmocka_unit_test(path_narrower_than_its_link__segments_are_plain),
		cmocka_unit_test(cut_in_software__frames__are_those_of_an_mss),
		cmocka_unit_test(lost_super_segment__comes_again_in_plain_segments),
		cmocka_unit_test(part_of_a_super_segment_acknowledged__the_rest_comes_again),
		cmocka_unit_test(super_segment_received__is_acknowledged_at_once),
		cmocka_unit_test(super_segment_received__across_the_wrap__is_cut),
		cmocka_unit_test(super_segment_out_of_order__without_sack__as_many_duplicates),
		cmocka_unit_test(short_device_queue__nothing_is_lost),
		cmocka_unit_test(stopped_device__frames_are_given_up__and_the_rest_arrives),
	};

	world_eal_init("tcp_offload");
	if (argc > 1) /* one test, or a pattern */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
