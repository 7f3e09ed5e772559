/* SPDX-License-Identifier: BSD-3-Clause */
/* VLANs (802.1Q): several on one device, each with its own addresses; tags out and in. */
#include "tests/world/wire.h"

#include <rte_ether.h>

static struct port vlan5[2], vlan6[2];

static void vlan_make(struct world *w, int host, struct port *port, uint16_t tag, uint16_t id)
{
	char text[32];

	memset(port, 0, sizeof(*port));
	port->id = id;
	port->vlan = tag;
	snprintf(text, sizeof(text), "10.%u.0.%d", tag, host + 1);
	memcpy(port->addr[0].addr, at(text, 0).addr, 16);
	port->addr[0].prefix = 96 + 24;
	snprintf(text, sizeof(text), "fd00:%u::%d", tag, host + 1);
	memcpy(port->addr[1].addr, at(text, 0).addr, 16);
	port->addr[1].prefix = 64;
	port->addrs_n = 2;
	assert_int_equal(net_vlan_add(w->host[host].e, &w->host[host].port, port), 0);
}

static struct world *vlans_new(uint64_t seed)
{
	struct world *w = world_new(seed, &perfect);

	for (int i = 0; i < 2; i++) {
		vlan_make(w, i, &vlan5[i], 5, 100);
		vlan_make(w, i, &vlan6[i], 6, 101);
	}
	return w;
}

static void two_vlans_and_none__each_keeps_to_itself(void **state)
{
	static const char *const table[][2] = {{"10.5.0.1", "10.5.0.2"}, {"10.6.0.1", "10.6.0.2"},
		{"10.0.0.1", "10.0.0.2"}, {"fd00:5::1", "fd00:5::2"}, {"fd00:6::1", "fd00:6::2"}};
	struct world *w = vlans_new(1);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct sock *sk[2] = {udp_at(w, 0, table[i][0], 5), udp_at(w, 1, table[i][1], 9)};

		send_at(sk[0], table[i][1], 9, "hello", 5);
		world_run(w, 10 * MS, NULL, NULL);
		assert_int_equal(sk[1]->rxq.n, 1);
		assert_int_equal(pkt_of(sk[1]->rxq.head)->port, i == 2 ? w->host[1].port.id : i % 3 == 0 ? 100 : 101);
		send_at(sk[1], table[i][0], 5, "back", 4);
		world_run(w, 10 * MS, NULL, NULL);
		assert_int_equal(sk[0]->rxq.n, 1);
		close_all(sk, 2);
	}
	assert_int_equal(COUNT(w, 0, drop_vlan) + COUNT(w, 1, drop_vlan), 0);
	world_free(w);
}

static void tcp__over_a_vlan__arrives_whole(void **state)
{
	static uint8_t data[200000], got[200000];
	struct world *w = vlans_new(2);
	struct cv_endpoint to = at("10.5.0.2", 80);
	struct sock *l, *c, *s;
	uint32_t have = 0;

	(void)state;
	pattern(data, sizeof(data), 3);
	assert_int_equal(sock_open(w->host[1].e, CV_AF_INET, CV_STREAM, &l), 0);
	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET, CV_STREAM, &c), 0);
	assert_int_equal(sock_bind(l, &to), 0);
	assert_int_equal(sock_listen(l, 1), 0);
	assert_int_equal(sock_connect(c, &to), 0);
	world_run(w, 100 * MS, NULL, NULL);
	s = sock_accept(l);
	assert_non_null(s);
	assert_int_equal(try_send(c, NULL, data, sizeof(data)), 0);
	for (unsigned i = 0; i < 200 && have < sizeof(got); i++) {
		world_run(w, 10 * MS, NULL, NULL);
		have += sock_recv_copy(s, got + have, (uint32_t)sizeof(got) - have);
	}
	assert_int_equal(have, sizeof(got));
	assert_memory_equal(got, data, sizeof(got));
	sock_close(c, true);
	sock_close(s, true);
	sock_close(l, true);
	world_run(w, SECOND, NULL, NULL);
	world_free(w);
}

/* A frame to host 0 with a tag (TCI), or none (-1). */
static void tagged(struct world *w, int tci, const char *src, const char *dst)
{
	uint8_t udp[64], plain[128], frame[132];
	uint16_t n = udp_bytes(udp, src, 5, dst, 9, "x", 1);

	n = frame4(plain, w, 0, src, dst, IPPROTO_UDP, 1, 0, udp, n);
	if (tci < 0) {
		world_inject(w, 0, plain, n);
	} else {
		memcpy(frame, plain, 12);
		put16(frame + 12, 0x8100);
		put16(frame + 14, (uint32_t)tci);
		memcpy(frame + 16, plain + 12, n - 12u);
		world_inject(w, 0, frame, n + 4u);
	}
	world_run(w, 0, NULL, NULL);
}

static void tags__right_ones_only_and_priority(void **state)
{
	struct world *w = vlans_new(3);
	struct sock *plain = udp_at(w, 0, "10.0.0.1", 9), *five = udp_at(w, 0, "10.5.0.1", 9);

	(void)state;
	world_run(w, 10 * MS, NULL, NULL);
	tagged(w, 7, "10.5.0.2", "10.5.0.1");
	assert_int_equal(COUNT(w, 0, drop_vlan), 1);
	assert_int_equal(five->rxq.n, 0);
	tagged(w, 5, "10.5.0.2", "10.5.0.1");
	assert_int_equal(five->rxq.n, 1);
	tagged(w, 0xe005, "10.5.0.2", "10.5.0.1"); /* priority 7 */
	assert_int_equal(five->rxq.n, 2);
	tagged(w, -1, "10.0.0.2", "10.0.0.1");
	assert_int_equal(plain->rxq.n, 1);
	tagged(w, 0, "10.0.0.2", "10.0.0.1"); /* a priority tag is no VLAN */
	assert_int_equal(plain->rxq.n, 2);
	tagged(w, 0x6000, "10.0.0.2", "10.0.0.1");
	assert_int_equal(plain->rxq.n, 3);
	assert_int_equal(COUNT(w, 0, drop_vlan), 1);
	sock_close(plain, false);
	sock_close(five, false);
	world_free(w);
}

static void device_with_a_tag__takes_no_other_and_none(void **state)
{
	struct world *w = world_new(4, &perfect);
	struct sock *sk = udp_at(w, 0, "10.0.0.1", 9);

	(void)state;
	w->host[0].port.vlan = 5;
	tagged(w, -1, "10.0.0.2", "10.0.0.1");
	tagged(w, 0, "10.0.0.2", "10.0.0.1");
	tagged(w, 6, "10.0.0.2", "10.0.0.1");
	assert_int_equal(COUNT(w, 0, drop_vlan), 3);
	tagged(w, 5, "10.0.0.2", "10.0.0.1");
	assert_int_equal(sk->rxq.n, 1);
	sock_close(sk, false);
	world_free(w);
}

static void tag__is_put_in_by_us_or_by_the_device(void **state)
{
	(void)state;
	for (unsigned device = 0; device < 2; device++) {
		struct world *w = wire_new(5, false);
		struct sock *sk;
		const struct wire_frame *f;

		w->host[0].port.tx_vlan = device;
		vlan_make(w, 0, &vlan5[0], 5, 100);
		wire_forget(w);
		sk = udp_at(w, 0, "10.5.0.1", 5);
		send_at(sk, "10.5.0.2", 9, "x", 1);
		f = wire_next(w, 0, device ? RTE_ETHER_TYPE_ARP : RTE_ETHER_TYPE_VLAN, 0, -1);
		assert_non_null(f);
		assert_int_equal(f->vlan_tci, device ? 5 : 0);
		if (!device) {
			assert_memory_equal(f->f + 14, "\0\5\x08\x06", 4);
			assert_int_equal(f->len, 14 + 4 + 28);
		}
		sock_close(sk, false);
		world_free(w);
	}
}

static void mtu__of_a_vlan__is_its_own(void **state)
{
	struct world *w = world_new(6, &perfect);
	struct cv_endpoint to = at("10.5.0.2", 9);
	struct sock *sk;
	int how = 2; /* IP_PMTUDISC_DO */
	uint8_t data[1500] = {0};

	(void)state;
	vlan_make(w, 0, &vlan5[0], 5, 100);
	assert_int_equal(vlan5[0].mtu, 1500); /* the device's: a tag takes nothing from it */
	memset(&vlan6[0], 0, sizeof(vlan6[0]));
	vlan5[0].mtu = 1400;
	sk = udp_at(w, 0, "10.5.0.1", 5);
	assert_int_equal(sock_setopt(sk, CV_OPT_MTU_DISCOVER, &how, sizeof(how)), 0);
	assert_int_equal(try_send(sk, &to, data, 1373), -CV_EMSGSIZE);
	assert_int_equal(try_send(sk, &to, data, 1372), 0);
	sock_close(sk, false);
	world_run(w, 5 * SECOND, NULL, NULL);
	world_free(w);
}

static void link_local__of_two_vlans__are_told_apart(void **state)
{
	struct world *w = vlans_new(7);
	struct cv_endpoint ep = at(LL0, 9), to = at(LL0, 9);
	struct sock *sk[2] = {udp_new(w, 0, CV_AF_INET6), udp_new(w, 0, CV_AF_INET6)}, *from = udp_new(w, 1, CV_AF_INET6);

	(void)state;
	assert_int_not_equal(vlan5[0].ifindex, vlan6[0].ifindex);
	ep.scope = vlan5[0].ifindex;
	assert_int_equal(sock_bind(sk[0], &ep), 0);
	ep.scope = vlan6[0].ifindex;
	assert_int_equal(sock_bind(sk[1], &ep), 0); /* the same bytes, another link */
	to.scope = vlan6[1].ifindex;
	assert_int_equal(try_send(from, &to, "x", 1), 0);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[0]->rxq.n, 0);
	assert_int_equal(sk[1]->rxq.n, 1);
	assert_int_equal(pkt_of(sk[1]->rxq.head)->src.scope, vlan6[0].ifindex);
	close_all(sk, 2);
	sock_close(from, false);
	world_free(w);
}

static void device__down_and_up__takes_its_vlans_along(void **state)
{
	struct world *w = vlans_new(8);
	struct sock *sk[2] = {udp_at(w, 0, "10.5.0.1", 5), udp_at(w, 1, "10.5.0.2", 9)};
	uint64_t said;

	(void)state;
	net_port_down(w->host[0].e, &w->host[0].port);
	assert_false(vlan5[0].up);
	said = COUNT(w, 0, arp_requests_out);
	net_port_up(w->host[0].e, &w->host[0].port);
	assert_true(vlan5[0].up && vlan6[0].up);
	assert_int_equal(COUNT(w, 0, arp_requests_out), said + 3); /* each of them announces */
	send_at(sk[0], "10.5.0.2", 9, "x", 1);
	world_run(w, 10 * MS, NULL, NULL);
	assert_int_equal(sk[1]->rxq.n, 1);
	close_all(sk, 2);
	world_free(w);
}

/* Who is bound to an address of a port's sends to groups and to everybody by that port, unless he says otherwise
 * (Linux). */
static void group_and_everybody__from_a_bound_address__by_its_port(void **state)
{
	static const char *const table[][2] = {
		{"10.5.0.1", "239.1.2.3"}, {"10.5.0.1", "255.255.255.255"}, {"fd00:5::1", "ff15::77"}};
	struct world *w = wire_new(9, true);
	int on = 1;

	(void)state;
	vlan_make(w, 0, &vlan5[0], 5, 100);
	wire_wait(w, 5 * SECOND);
	for (unsigned i = 0; i < 3; i++) {
		bool v4 = addr_is_v4(at(table[i][0], 0).addr);
		struct sock *sk = udp_at(w, 0, table[i][0], 5);

		assert_int_equal(sock_setopt(sk, CV_OPT_BROADCAST, &on, sizeof(on)), 0);
		wire_forget(w);
		send_at(sk, table[i][1], 9, "x", 1);
		assert_non_null(wire_next(w, 0, RTE_ETHER_TYPE_VLAN, 0, -1));
		if (v4 && addr_is_multicast(at(table[i][1], 0).addr)) {
			on = 1; /* the first port */
			assert_int_equal(sock_setopt(sk, CV_OPT_MULTICAST_IF, &on, sizeof(on)), 0);
			send_at(sk, table[i][1], 9, "x", 1);
			assert_non_null(wire_udp4(w, 0));
		}
		sock_close(sk, false);
	}
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_vlans_and_none__each_keeps_to_itself),
		cmocka_unit_test(tcp__over_a_vlan__arrives_whole),
		cmocka_unit_test(tags__right_ones_only_and_priority),
		cmocka_unit_test(device_with_a_tag__takes_no_other_and_none),
		cmocka_unit_test(tag__is_put_in_by_us_or_by_the_device),
		cmocka_unit_test(mtu__of_a_vlan__is_its_own),
		cmocka_unit_test(link_local__of_two_vlans__are_told_apart),
		cmocka_unit_test(device__down_and_up__takes_its_vlans_along),
		cmocka_unit_test(group_and_everybody__from_a_bound_address__by_its_port),
	};

	world_eal_init("world-net-vlan");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
