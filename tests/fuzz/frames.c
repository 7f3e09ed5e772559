/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames off a wire into an engine of both families that has a listener and datagram sockets, with one worker or two:
 * [options, workers][length, 2 bytes][shape][mend][frame] and again. The Ethernet header of each is made ours often, and what `mend` says
 * of the headers behind it is made right, so that more than Ethernet is met: IP with its options and extension headers,
 * fragments, ICMP that quotes, UDP, TCP. Between frames programs use their sockets (uses.h), errors about what they sent come,
 * and frames go to groups and to everybody from then on. */
#include <string.h>
#include <netinet/in.h>

#include "stack/net/priv.h"
#include "stack/tcp/tcp.h"
#include "tests/fuzz/uses.h"
#include "tests/world/world.h"

#define FRAME_MAX 1514
#define BETWEEN 0xc000u /* lengths from here on are no lengths */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_frames");
	world_tcp_max = 64;
	return 0;
}

static struct sock *opened(struct world *w, uint8_t family, uint16_t port)
{
	const struct cv_endpoint at = world_endpoint(0, port);
	struct sock *sk;

	if (sock_open(w->host[0].e, family, CV_STREAM, &sk) != 0)
		return NULL;
	sk->user = w;
	(void)sock_bind(sk, &at);
	(void)sock_listen(sk, 4);
	return sk;
}

static void put16(uint8_t *to, uint32_t v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
}

/* What a datagram of ours that an error quotes has, and what comes to a socket. */
static void ports_mend(uint8_t *l4, size_t n, uint8_t next, uint8_t mend)
{
	if (n < 8 || !(mend & 8))
		return;
	if (next == IPPROTO_UDP) {
		put16(l4 + 2, 53);
		put16(l4 + 4, (uint32_t)n);
	} else if (next == IPPROTO_TCP) {
		put16(l4 + 2, 80);
		l4[12 % n] = (uint8_t)(0x50 | (l4[12 % n] & 0x70));
	}
}

static void ip4_mend(uint8_t *ip, size_t n, uint8_t mend)
{
	static const uint8_t kinds[4] = {IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP, IPPROTO_UDP};
	size_t head;

	if (n < 20)
		return;
	ip[0] = (uint8_t)(0x40 | ((ip[0] & 15) < 5 ? 5 : ip[0] & 15));
	put16(ip + 2, (uint32_t)n);
	if (mend & 1)
		ip[9] = kinds[mend >> 1 & 3];
	if (mend & 16) /* whole, or one of few datagrams' pieces */
		memset(ip + 6, 0, 2);
	else
		put16(ip + 4, ip[5] & 3);
	memcpy(ip + 12, (const uint8_t[8]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
	head = (ip[0] & 15) * 4u;
	if (head < n)
		ports_mend(ip + head, n - head, ip[9], mend);
	if (ip[9] == IPPROTO_ICMP && (mend & 32) && head + 28 + 8 <= n) { /* an error about a datagram from our port */
		uint8_t *quote = ip + head + 8;

		ip[head] = (uint8_t[]){3, 11, 12, 3}[mend >> 6];
		quote[0] = 0x45;
		quote[9] = IPPROTO_UDP;
		memcpy(quote + 12, (const uint8_t[8]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
		put16(quote + 20, 53);
	}
}

static void ip6_mend(uint8_t *ip, size_t n, uint8_t mend)
{
	static const uint8_t kinds[4] = {IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMPV6, 0};
	static const uint8_t extensions[4] = {IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING};
	uint8_t *l4 = ip + 40;

	if (n < 48)
		return;
	ip[0] = 0x60;
	put16(ip + 4, (uint32_t)n - 40);
	memcpy(ip + 8, uses_addr6[1], 16);
	memcpy(ip + 24, uses_addr6[0], 16);
	if (mend & 1)
		ip[6] = kinds[mend >> 1 & 3];
	if (mend & 16) {
		ip[6] = extensions[mend >> 6];
		l4[0] = kinds[mend >> 1 & 3];
		if (mend & 32)
			l4[1] = 0; /* eight bytes long */
		return;
	}
	ports_mend(l4, n - 40, ip[6], mend);
}

/* To a group, to everybody, or (IPv6) from who is not there. */
static void aim_at(uint8_t *frame, size_t n, uint8_t aim)
{
	static const uint8_t group6[16] = {0xff, 0x12, [14] = 2, 3};
	bool v6 = frame[12] == 0x86;

	if ((aim & 3) == 0 || n < 14 + (v6 ? 40 : 20))
		return;
	if (aim & 1) {
		memcpy(frame, v6 ? "\x33\x33\0\0\2\3" : "\1\0\x5e\1\2\3", 6);
		memcpy(frame + 14 + (v6 ? 24 : 16), v6 ? group6 : (const uint8_t[]){239, 1, 2, 3}, v6 ? 16 : 4);
	} else if (!v6) {
		memset(frame, 0xff, 6);
		memset(frame + 30, 0xff, 4);
	}
	if (aim & 4)
		frame[14 + (v6 ? 23 : 15)] = aim >> 3;
}

static void frame_put(struct world *w, struct fuzz_input *in, uint16_t n, uint8_t aim)
{
	static const uint8_t to_us[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x08, 0x00};
	uint8_t frame[FRAME_MAX];
	uint8_t shape = fuzz_u8(in), mend = fuzz_u8(in);
	size_t got;
	const uint8_t *from = fuzz_bytes(in, n % FRAME_MAX, &got);

	if (got == 0)
		return;
	memcpy(frame, from, got);
	if ((shape & 3) != 0 && got >= sizeof(to_us)) {
		memcpy(frame, to_us, sizeof(to_us));
		if ((shape & 3) == 2) {
			frame[12] = 0x86;
			frame[13] = 0xdd;
			if (shape & 4)
				ip6_mend(frame + 14, got - 14, mend);
		} else if ((shape & 3) == 3) {
			frame[13] = 0x06;
		} else if (shape & 4) {
			ip4_mend(frame + 14, got - 14, mend);
		}
		aim_at(frame, got, aim);
	}
	world_inject(w, 0, frame, (uint16_t)got);
	if (shape >> 3 < 16) /* else the next one comes at once */
		world_run(w, (shape >> 3) * MS, NULL, NULL);
}

/* An error of a host or a router about a datagram of ours. */
static void complaint_put(struct world *w, struct fuzz_input *in, bool v6)
{
	uint8_t frame[256] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}, *ip = frame + 14, *icmp = ip + (v6 ? 40 : 20), *quote = icmp + 8;
	uint8_t head = v6 ? 40 : 20;
	size_t got, n;
	const uint8_t *payload;
	uint16_t cksum;

	icmp[0] = fuzz_u8(in) % 32;
	if (!(icmp[0] & 16)) /* those that errors have */
		icmp[0] = v6 ? 1 + icmp[0] % 4 : (uint8_t[]){3, 11, 12, 3}[icmp[0] & 3];
	icmp[1] = fuzz_u8(in) % 16;
	put16(icmp + 6, fuzz_u16(in)); /* the MTU */
	put16(quote + (v6 ? 4 : 2), fuzz_u16(in));
	payload = fuzz_bytes(in, 64, &got);
	memcpy(quote + head + 8, payload, got);
	n = 8 + head + 8 + got;
	put16(quote + head, USES_PORT);
	put16(quote + head + 2, USES_PORT);
	put16(frame + 12, v6 ? 0x86dd : 0x0800);
	if (v6) {
		ip[0] = quote[0] = 0x60;
		put16(ip + 4, (uint32_t)n);
		ip[6] = IPPROTO_ICMPV6;
		quote[6] = IPPROTO_UDP;
		ip[7] = quote[7] = 64;
		memcpy(ip + 8, uses_addr6[1], 16);
		memcpy(ip + 24, uses_addr6[0], 16);
		memcpy(quote + 8, uses_addr6[0], 16);
		memcpy(quote + 24, uses_addr6[1], 16);
	} else {
		ip[0] = quote[0] = 0x45;
		put16(ip + 2, (uint32_t)n + 20);
		ip[8] = quote[8] = 64;
		ip[9] = IPPROTO_ICMP;
		quote[9] = IPPROTO_UDP;
		memcpy(ip + 12, (const uint8_t[8]){10, 0, 0, 2, 10, 0, 0, 1}, 8);
		memcpy(quote + 12, (const uint8_t[8]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	}
	cksum = (uint16_t)~cksum_fold((uint64_t)cksum_bytes(icmp, n) +
		(v6 ? pseudo_cksum(uses_addr6[1], uses_addr6[0], IPPROTO_ICMPV6, (uint32_t)n) : 0));
	memcpy(icmp + 2, &cksum, 2);
	world_inject(w, 0, frame, (uint32_t)(14 + head + n));
	world_run(w, MS, NULL, NULL);
}

/* A length that no frame has says what happens between frames. */
static void between(struct uses *u, struct fuzz_input *in, uint16_t what, uint8_t *aim)
{
	if ((what & 15) == 14)
		complaint_put(u->w, in, what & 16);
	else if ((what & 15) == 15)
		*aim = fuzz_u8(in);
	else
		uses_step(u, in, what);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct world_link link = {.delay_ns = 0};
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_u8(&in), aim = 0;
	struct world *w = how & 1 ? world_new_crew(1, &link, 2, WORLD_RSS_TURN) : world_new(1, &link);
	struct sock *stream;
	struct uses u;

	uses_start(&u, w, how >> 1);
	stream = opened(w, CV_AF_INET, 80);
	while (in.left > 0) {
		uint16_t n = fuzz_u16(&in);

		if (n >= BETWEEN)
			between(&u, &in, n, &aim);
		else
			frame_put(w, &in, n, aim);
	}
	sock_close(stream, true);
	uses_end(&u);
	world_run(w, 600 * SEC, NULL, NULL);
	world_free(w);
	return 0;
}
