/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames off a wire into an engine of both families that has a listener and datagram sockets: [length, 2 bytes][shape][mend][frame]
 * and again. The Ethernet header of each is made ours often, and what `mend` says of the headers behind it is made right, so that
 * more than Ethernet is met: IP with its options and extension headers, fragments, ICMP that quotes, UDP, TCP. */
#include <string.h>
#include <netinet/in.h>

#include "stack/net/ip.h"
#include "stack/tcp/tcp.h"
#include "tests/fuzz/fuzz.h"
#include "tests/world/world.h"

#define FRAME_MAX 1514

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_frames");
	world_tcp_max = 64;
	return 0;
}

static struct sock *opened(struct world *w, uint8_t family, uint8_t type, uint16_t port)
{
	struct cv_endpoint at = {.port = port};
	struct sock *sk;

	if (family == CV_AF_INET)
		at = world_endpoint(0, port);
	if (sock_open(w->host[0].e, family, type, &sk) != 0)
		return NULL;
	sk->user = w;
	(void)sock_bind(sk, &at);
	if (type == CV_STREAM)
		(void)sock_listen(sk, 4);
	return sk;
}

static const uint8_t ours6[16] = {0xfd, [15] = 1}, theirs6[16] = {0xfd, [15] = 2};

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
	memcpy(ip + 8, theirs6, 16);
	memcpy(ip + 24, ours6, 16);
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

static void frame_put(struct world *w, struct fuzz_input *in)
{
	static const uint8_t to_us[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x08, 0x00};
	uint8_t frame[FRAME_MAX];
	uint16_t n = fuzz_u16(in);
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
	}
	world_inject(w, 0, frame, (uint16_t)got);
	world_run(w, (shape >> 3) * MS, NULL, NULL);
}

/* Options that change what is done with a datagram, and a look at what came. */
static void datagrams_use(struct sock *sk)
{
	static uint8_t buf[2048];
	uint32_t len = sizeof(buf);

	(void)sock_recv_copy(sk, buf, sizeof(buf));
	(void)sock_getopt(sk, CV_OPT_ERRQUEUE, buf, &len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct world_link link = {.delay_ns = 0};
	struct fuzz_input in = {data, size};
	struct world *w = world_new(1, &link);
	struct port *port = &w->host[0].port;
	struct sock *stream, *dgram, *dgram6;
	uint8_t how = fuzz_u8(&in);

	memcpy(port->addr[1].addr, ours6, 16);
	port->addr[1].prefix = 64;
	port->addrs_n = 2;
	(void)net_port_changed(w->host[0].e, port);
	port->trusted = true; /* a fuzzer does not guess checksums */
	stream = opened(w, CV_AF_INET, CV_STREAM, 80);
	dgram = opened(w, CV_AF_INET, CV_DGRAM, 53);
	dgram6 = opened(w, CV_AF_INET6, CV_DGRAM, 53);
	for (unsigned bit = 0; bit < 8; bit++) {
		static const enum cv_option wanted[8] = {CV_OPT_RECVERR, CV_OPT_UDP_GRO, CV_OPT_PKTINFO, CV_OPT_RECVTTL,
			CV_OPT_RECVERR6, CV_OPT_PKTINFO6, CV_OPT_RXQ_OVFL, CV_OPT_RECVORIGDST};
		int on = how >> bit & 1;

		(void)sock_setopt(bit == 4 || bit == 5 ? dgram6 : dgram, wanted[bit], &on, sizeof(on));
	}
	while (in.left > 0) {
		frame_put(w, &in);
		datagrams_use(dgram);
		datagrams_use(dgram6);
	}
	sock_close(stream, true);
	sock_close(dgram, true);
	sock_close(dgram6, true);
	world_run(w, 600 * SEC, NULL, NULL);
	world_free(w);
	return 0;
}
