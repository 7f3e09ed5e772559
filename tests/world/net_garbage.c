/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of garbage: valid ones of every kind, damaged in a few places, cut into buffers anywhere;
 * one loop from one seed. Nothing may be read beyond its end (sanitizers), kept for ever, or let
 * through damaged. */
#include "tests/world/net_common.h"

#define ROUNDS 300000

struct draw {
	uint64_t s;
};

static uint32_t draw(struct draw *d, uint32_t below)
{
	d->s ^= d->s << 13;
	d->s ^= d->s >> 7;
	d->s ^= d->s << 17;
	return (uint32_t)(d->s >> 20) % below;
}

static uint16_t icmp_body(struct draw *d, uint8_t *p, bool v6)
{
	static const uint8_t types4[] = {0, 3, 5, 8, 11, 12, 13},
			     types6[] = {1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 137, 143};
	uint16_t len = (uint16_t)(8 + draw(d, 80));

	for (uint16_t i = 0; i < len; i++)
		p[i] = (uint8_t)draw(d, 256);
	p[0] = v6 ? types6[draw(d, sizeof(types6))] : types4[draw(d, sizeof(types4))];
	p[1] = (uint8_t)draw(d, 6);
	if (v6 && (p[0] == 135 || p[0] == 136) && len >= 24) {
		memcpy(p + 8, at(draw(d, 2) ? "2001:db8::1" : "2001:db8::2", 0).addr, 16);
		p[1] = 0;
		if (len > 25)
			p[25] = (uint8_t)draw(d, 3);
	} else if (len >= 28 && draw(d, 2)) { /* quotes something of ours */
		memset(p + 8, 0, 20);
		p[8] = 0x45;
		p[17] = draw(d, 2) ? IPPROTO_TCP : IPPROTO_UDP;
		memcpy(p + 20, at("10.0.0.1", 0).addr + 12, 4);
		memcpy(p + 24, at("10.0.0.2", 0).addr + 12, 4);
	}
	return len;
}

static uint16_t tcp_body(struct draw *d, uint8_t *p)
{
	uint16_t len = (uint16_t)(20 + draw(d, 60));

	for (uint16_t i = 0; i < len; i++)
		p[i] = (uint8_t)draw(d, 256);
	put16(p, 5);
	put16(p + 2, draw(d, 4) ? 80 : draw(d, 65536));
	p[12] = (uint8_t)(draw(d, 4) ? (5 + draw(d, 6)) << 4 : p[12]);
	return len;
}

/* IPv6 extension headers in front of n bytes, which move; their length, and the first one's number.
 */
static uint16_t extensions(struct draw *d, uint8_t *p, uint16_t n, uint8_t *next)
{
	static const uint8_t kinds[] = {0, 43, 44, 44, 51, 60, 59, 135};
	uint16_t bytes = 0;

	while (draw(d, 3) == 0 && bytes < 120) {
		uint16_t units = (uint16_t)draw(d, 3);
		uint8_t kind = kinds[draw(d, sizeof(kinds))];

		bytes = (uint16_t)(8 * (units + 1));
		memmove(p + bytes, p, n);
		for (uint16_t i = 0; i < bytes; i++)
			p[i] = (uint8_t)(draw(d, 2) ? 0 : draw(d, 256));
		p[0] = *next;
		p[1] = (uint8_t)units;
		*next = kind;
		n = (uint16_t)(n + bytes);
	}
	return n;
}

static uint16_t make(struct draw *d, struct world *w, uint8_t *frame)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 143};
	bool v6 = draw(d, 2);
	const char *src = v6 ? "2001:db8::2" : "10.0.0.2", *dst = v6 ? "2001:db8::1" : "10.0.0.1";
	uint8_t body[600], proto = protos[draw(d, sizeof(protos))];
	uint16_t n, frag = 0;

	if (draw(d, 12) == 0) { /* ARP */
		uint8_t arp[28] = {0, 1, 8, 0, 6, 4, 0, (uint8_t)(1 + draw(d, 2)), 2, [13] = 2};

		memcpy(arp + 14, at("10.0.0.2", 0).addr + 12, 4);
		memcpy(arp + 24, at("10.0.0.1", 0).addr + 12, 4);
		frame4(frame, w, 0, src, src, 0, 0, 0, "", 0);
		put16(frame + 12, RTE_ETHER_TYPE_ARP);
		memcpy(frame + 14, arp, 28);
		return 42;
	}
	if (proto == IPPROTO_UDP) {
		n = udp_bytes(body, src, 5, dst, 9, "good data", 9);
	} else if (proto == IPPROTO_ICMP) {
		proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		n = icmp_body(d, body, v6);
		put16(body + 2, 0);
		put16(body + 2, v6 ? l4_sum(src, dst, proto, body, n) : fold16(sum16(body, n, 0)));
	} else {
		n = tcp_body(d, body);
		put16(body + 16, 0);
		put16(body + 16, l4_sum(src, dst, proto, body, n));
	}
	if (v6) {
		n = extensions(d, body, n, &proto);
		return frame6(frame, w, 0, src, dst, proto, draw(d, 2) ? 255 : 64, body, n);
	}
	if (draw(d, 3) == 0)
		frag = (uint16_t)(draw(d, 2) ? draw(d, 65536) : (draw(d, 2) << 13 | draw(d, 4)));
	return frame4(frame, w, 0, src, dst, proto, (uint16_t)draw(d, 8), frag, body, n);
}

static uint16_t damage(struct draw *d, uint8_t *frame, uint16_t len)
{
	for (uint32_t n = draw(d, 4); n > 0; n--)
		frame[draw(d, len)] = (uint8_t)draw(d, 256);
	if (draw(d, 8) == 0)
		len = (uint16_t)(1 + draw(d, len));
	return draw(d, 4) ? len : (uint16_t)(len + draw(d, 40)); /* padding */
}

static void part_free(void *addr, void *opaque)
{
	(void)opaque;
	free(addr);
}

/* Half of them on the heap, where a sanitizer sees the first byte read behind their end. */
static struct rte_mbuf *part_new(struct draw *d, struct world *w, const uint8_t *data, uint16_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);
	struct rte_mbuf_ext_shared_info *info;
	uint8_t *to;

	assert_non_null(m);
	if (draw(d, 2) == 0) {
		to = (void *)rte_pktmbuf_append(m, n);
		assert_non_null(to);
		memcpy(to, data, n);
		return m;
	}
	to = malloc(sizeof(*info) + n);
	assert_non_null(to);
	memcpy(to + sizeof(*info), data, n);
	info = (void *)to;
	info->free_cb = part_free;
	info->fcb_opaque = NULL;
	rte_mbuf_ext_refcnt_set(info, 1);
	rte_pktmbuf_attach_extbuf(m, to, RTE_BAD_IOVA, (uint16_t)(sizeof(*info) + n), info);
	m->data_off = sizeof(*info);
	m->data_len = n;
	m->pkt_len = n;
	return m;
}

/* The frame in one to four buffers that end exactly where their data ends. */
static struct rte_mbuf *in_buffers(
	struct draw *d, struct world *w, const uint8_t *frame, uint16_t len)
{
	struct rte_mbuf *m = NULL;

	for (uint16_t off = 0; off < len;) {
		uint16_t n = (uint16_t)(draw(d, 3) ? (uint32_t)(len - off)
						   : 1 + draw(d, (uint32_t)(len - off)));
		struct rte_mbuf *part;

		if (m != NULL && m->nb_segs == 4)
			n = (uint16_t)(len - off);
		part = part_new(d, w, frame + off, n);
		if (m == NULL)
			m = part;
		else
			assert_int_equal(rte_pktmbuf_chain(m, part), 0);
		off = (uint16_t)(off + n);
	}
	return m;
}

static void one_seed(uint64_t seed, unsigned rounds)
{
	struct world *w = world6_new(seed, &perfect);
	struct draw d = {(seed + 1) * 0x9e3779b97f4a7c15ull};
	struct sock *sk[2] = {udp_at(w, 0, "::", 9), NULL};
	struct cv_endpoint any = at("::", 80);
	unsigned good = 0;

	assert_int_equal(sock_open(w->host[0].e, CV_AF_INET6, CV_STREAM, &sk[1]), 0);
	sk[1]->user = w;
	assert_int_equal(sock_bind(sk[1], &any), 0);
	assert_int_equal(sock_listen(sk[1], 16), 0);
	for (unsigned i = 0; i < rounds; i++) {
		uint8_t frame[2048] = {0};
		uint16_t len = damage(&d, frame, make(&d, w, frame));
		struct rte_mbuf *m = in_buffers(&d, w, frame, len);

		net_input(w->host[0].e, &w->host[0].port, &m, 1);
		if (i % 16 == 0)
			world_run(w, draw(&d, 50) * MS, NULL, NULL);
		while (sk[0]->rxq.n > 0) {
			char got[64];

			/* Damage that the checksum missed would be 1 in 65536. */
			good += sock_recv_copy(sk[0], got, sizeof(got)) == 9 &&
				memcmp(got, "good data", 9) == 0;
		}
	}
	assert_true(good > rounds / 100);
	sock_close(sk[0], false);
	sock_close(sk[1], true);
	world_run(w, 300 * SECOND, NULL, NULL);
	world_free(w); /* nothing was kept */
}

static void damaged_frames__of_every_kind__harm_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 6; seed++)
		one_seed(seed, ROUNDS / 6);
}

static void frames_of_noise__harm_nothing(void **state)
{
	struct world *w = world6_new(9, &perfect);
	struct draw d = {77};

	(void)state;
	for (unsigned i = 0; i < ROUNDS / 2; i++) {
		static const uint16_t types[] = {0x800, 0x86dd, 0x806, 0x8100, 0};
		uint8_t frame[200];
		uint16_t len = (uint16_t)(1 + draw(&d, sizeof(frame) - 1));
		struct rte_mbuf *m;

		for (uint16_t j = 0; j < len; j++)
			frame[j] = (uint8_t)draw(&d, 256);
		if (len > 14) {
			memcpy(frame, w->host[0].port.mac, 6);
			put16(frame + 12, types[draw(&d, 5)]);
		}
		m = in_buffers(&d, w, frame, len);
		net_input(w->host[0].e, &w->host[0].port, &m, 1);
		if (i % 32 == 0)
			world_run(w, 0, NULL, NULL);
	}
	world_run(w, 300 * SECOND, NULL, NULL);
	world_free(w);
}

/* Takes buffers out of the pool until `leave` are left, or gives back. */
static void pool_leave(struct world *w, struct rte_mbuf **held, unsigned *n, unsigned most, unsigned leave)
{
	while (*n > 0 && rte_mempool_avail_count(w->pool) < leave)
		rte_pktmbuf_free(held[--*n]);
	while (*n < most && rte_mempool_avail_count(w->pool) > leave) {
		held[*n] = rte_pktmbuf_alloc(w->pool);
		assert_non_null(held[*n]);
		++*n;
	}
}

static void set_int(struct sock *sk, enum cv_option opt, int value)
{
	(void)sock_setopt(sk, opt, &value, sizeof(value));
}

/* One thing that a program may do with its datagrams, or its neighbours to us. */
static void anything(struct draw *d, struct world *w, struct sock **sk)
{
	static const char *const to[] = {"10.0.0.2", "10.0.0.9", "10.0.0.1", "239.1.2.3", "10.0.0.255", "2001:db8::2",
		"2001:db8::9", "2001:db8::1", "ff15::77", "ff02::1"};
	static uint8_t data[20000], got[20000];
	static const uint32_t sizes[] = {0, 1, 100, 1472, 1473, 3000, 20000};
	unsigned k = draw(d, 10), v6 = k >= 5;
	struct cv_endpoint ep = at(to[k], draw(d, 4) ? 9 : 99);
	struct sock *one = sk[v6];

	switch (draw(d, 12)) {
	case 0:
		set_int(one, CV_OPT_UDP_CORK, (int)draw(d, 2));
		break;
	case 1:
		set_int(one, CV_OPT_UDP_SEGMENT, draw(d, 2) ? 0 : 700);
		break;
	case 2:
		set_int(one, v6 ? CV_OPT_MTU_DISCOVER6 : CV_OPT_MTU_DISCOVER, (int)draw(d, 6));
		break;
	case 3:
		(void)sock_connect(one, &ep);
		break;
	case 4:
		(void)sock_disconnect(one);
		break;
	case 5: {
		struct engine *e = w->host[0].e;

		(w->host[0].port.up ? net_port_down : net_port_up)(e, &w->host[0].port);
		break;
	}
	case 6:
		for (unsigned i = 0; i < 4; i++) {
			while (sock_recv_copy(sk[i], got, sizeof(got)) > 0)
				;
		}
		break;
	case 7: {
		uint32_t len = sizeof(got);

		(void)sock_getopt(one, CV_OPT_ERRQUEUE, got, &len);
		break;
	}
	default:
		(void)try_send(one, draw(d, 3) ? &ep : NULL, data, sizes[draw(d, 7)]);
		break;
	}
}

/* With next to no packet buffers everything fails somewhere half way; nothing may be kept, and with buffers all goes
 * on. */
static void buffers__nearly_none__everything_fails_and_nothing_is_kept(void **state)
{
	static struct rte_mbuf *held[8191];

	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct world *w = world6_new(seed, &perfect);
		struct sock *sk[4] = {udp_at(w, 0, "0.0.0.0", 9), udp_at(w, 0, "::", 10), udp_at(w, 1, "0.0.0.0", 9),
			udp_at(w, 1, "::", 10)};
		struct cv_mreq r[2] = {{.ifindex = 1}, {.ifindex = 1}};
		struct draw d = {seed * 77};
		unsigned n = 0;

		memcpy(r[0].group, at("239.1.2.3", 0).addr, 16);
		memcpy(r[1].group, at("ff15::77", 0).addr, 16);
		for (unsigned i = 0; i < 4; i++) {
			set_int(sk[i], CV_OPT_BROADCAST, 1);
			set_int(sk[i], i % 2 ? CV_OPT_RECVERR6 : CV_OPT_RECVERR, 1);
			(void)sock_setopt(sk[i], CV_OPT_MCAST_JOIN, &r[i % 2], sizeof(r[0]));
		}
		for (unsigned i = 0; i < 20000; i++) {
			if (draw(&d, 3) == 0)
				pool_leave(w, held, &n, 8191, draw(&d, 2) ? draw(&d, 6) : draw(&d, 60));
			anything(&d, w, sk);
			if (draw(&d, 2))
				world_run(w, draw(&d, 3) * MS, NULL, NULL);
			if (draw(&d, 100) == 0)
				world_run(w, draw(&d, 4) * SECOND, NULL, NULL);
		}
		while (n > 0)
			rte_pktmbuf_free(held[--n]);
		if (!w->host[0].port.up)
			net_port_up(w->host[0].e, &w->host[0].port);
		close_all(sk, 4);
		world_run(w, 100 * SECOND, NULL, NULL);
		sk[0] = udp_at(w, 0, "10.0.0.1", 9);
		sk[1] = udp_at(w, 1, "10.0.0.2", 9);
		send_at(sk[0], "10.0.0.2", 9, "x", 1);
		world_run(w, 100 * SECOND, NULL, NULL);
		assert_int_equal(sk[1]->rxq.n, 1);
		close_all(sk, 2);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_frames__of_every_kind__harm_nothing),
		cmocka_unit_test(frames_of_noise__harm_nothing),
		cmocka_unit_test(buffers__nearly_none__everything_fails_and_nothing_is_kept),
	};

	world_eal_init("world-net-garbage");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
