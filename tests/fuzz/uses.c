/* SPDX-License-Identifier: BSD-3-Clause */
/* See uses.h. */
#include "tests/fuzz/uses.h"

#include <stdlib.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/ip.h"
#include "stack/net/mcast.h"
#include "stack/udp/udp.h"

#define SEND_MOST 9000u
#define MILLISECOND 1000000ull
#define TENTH (100 * MILLISECOND)

const uint8_t uses_addr6[2][16] = {{0xfd, [15] = 1}, {0xfd, [15] = 2}};

/* Of both families what means something: the hosts, who is not there, ourselves, everybody, groups. */
#define V4(a, b, c, d) {[10] = 0xff, [11] = 0xff, [12] = a, b, c, d}
static const uint8_t addresses[16][16] = {V4(10, 0, 0, 1), {0xfd, [15] = 1}, V4(10, 0, 0, 2), {0xfd, [15] = 2},
	V4(239, 1, 2, 3), {0xff, 0x12, [14] = 2, 3}, V4(10, 0, 0, 9), {0xfd, [15] = 9}, V4(0, 0, 0, 0), {0},
	V4(255, 255, 255, 255), {0xfe, 0x80, [15] = 9}, V4(127, 0, 0, 1), {[15] = 1}, V4(192, 0, 2, 1),
	{0xff, 2, [15] = 1}};
static const char *const names[4] = {"", "cv0", "eth0", "a name that is far too long"};

static struct cv_endpoint endpoint(uint8_t which)
{
	struct cv_endpoint at = {.port = USES_PORT};

	memcpy(at.addr, addresses[which & 15], 16);
	if (which & 0x40)
		at.port = which & 0x20 ? 0 : 54;
	if (addr_is_link_local(at.addr) && !addr_is_v4(at.addr))
		at.scope = which & 0x10 ? 1 : 0;
	return at;
}

/* how: bit 0 SO_REUSEADDR, 1 SO_REUSEPORT, 2 not IPV6_V6ONLY; where: endpoint()'s. */
static void opened(struct uses *u, unsigned i, uint8_t how, uint8_t where)
{
	const struct cv_endpoint at = endpoint(where);
	struct engine *e = world_engine(&u->w->host[0], (uint16_t)(i % u->w->host[0].workers));

	u->sk[i] = NULL;
	if (sock_open(e, i % 2 ? CV_AF_INET6 : CV_AF_INET, CV_DGRAM, &u->sk[i]) != 0)
		return;
	u->sk[i]->user = u;
	u->sk[i]->reuseaddr = how & 1;
	u->sk[i]->reuseport = how & 2;
	u->sk[i]->v6only = i % 2 && !(how & 4);
	(void)sock_bind(u->sk[i], &at);
}

/* What many programs want from the start: a bit each, on all sockets. */
static void wanted_at_start(struct sock *sk, uint8_t how)
{
	static const struct {
		enum cv_option opt;
		int value;
	} of[7] = {{CV_OPT_RECVERR, 1}, {CV_OPT_RECVERR6, 1}, {CV_OPT_UDP_GRO, 1}, {CV_OPT_TIMESTAMP, 1},
		{CV_OPT_RXQ_OVFL, 1}, {CV_OPT_RCVBUF, 1000}, {CV_OPT_MTU_DISCOVER, 2}};

	for (unsigned i = 0; i < 7; i++) {
		if (how >> i & 1)
			(void)sock_setopt(sk, of[i].opt, &of[i].value, sizeof(int));
	}
}

void uses_start(struct uses *u, struct world *w, uint8_t how)
{
	*u = (struct uses){.w = w};
	for (unsigned h = 0; h < 2; h++) {
		struct port *port = &w->host[h].port;

		memcpy(port->addr[1].addr, uses_addr6[h], 16);
		port->addr[1].prefix = 64;
		port->addrs_n = 2;
		(void)net_port_changed(w->host[h].e, port);
		port->trusted = true; /* a fuzzer does not guess checksums */
	}
	world_run(w, MILLISECOND, NULL, NULL);
	for (unsigned i = 0; i < USES_SOCKS; i++) {
		const struct cv_endpoint peer = endpoint((uint8_t)(2 + i % 2));

		opened(u, i, 3, (uint8_t)(i < 2 ? i : 8 + i % 2));
		if (u->sk[i] == NULL)
			continue;
		wanted_at_start(u->sk[i], how);
		if (i >= 4)
			(void)sock_connect(u->sk[i], &peer);
	}
}

void uses_end(struct uses *u)
{
	for (unsigned i = 0; i < USES_SOCKS; i++) {
		if (u->sk[i] != NULL)
			sock_close(u->sk[i], true);
	}
}

/* --- options --------------------------------------------------------------------------------------- */

static void option_int(struct sock *sk, struct fuzz_input *in)
{
	static const enum cv_option wanted[] = {CV_OPT_RECVERR, CV_OPT_RECVERR6, CV_OPT_UDP_GRO, CV_OPT_UDP_CORK,
		CV_OPT_UDP_SEGMENT, CV_OPT_PKTINFO, CV_OPT_PKTINFO6, CV_OPT_RXQ_OVFL, CV_OPT_TIMESTAMP,
		CV_OPT_TIMESTAMPNS, CV_OPT_MTU_DISCOVER, CV_OPT_MTU_DISCOVER6, CV_OPT_DONTFRAG6, CV_OPT_MULTICAST_ALL,
		CV_OPT_MULTICAST_ALL6, CV_OPT_MULTICAST_LOOP, CV_OPT_BROADCAST, CV_OPT_RCVBUF};
	uint8_t which = fuzz_u8(in), small = fuzz_u8(in);
	const unsigned n = sizeof(wanted) / sizeof(wanted[0]);
	enum cv_option opt = which < 2 * n ? wanted[which % n] : (enum cv_option)(1 + which % (CV_OPT_COUNT - 1));
	int v = small < 0xf0 ? small : small == 0xf0 ? (int)fuzz_u16(in) : (int8_t)small;

	(void)sock_setopt(sk, opt, &v, small == 0xf1 ? 2 : sizeof(v));
}

static void option_read(struct sock *sk, struct fuzz_input *in)
{
	uint8_t value[1280], which = fuzz_u8(in), most = fuzz_u8(in);
	uint32_t len = most == 0 ? sizeof(value) : most;
	struct cv_mreq ask = {.ifindex = 1};

	memcpy(ask.group, addresses[4 + (which & 1)], 16);
	memset(value, 0, sizeof(value));
	memcpy(value, &ask, sizeof(ask));
	(void)sock_getopt(sk, (enum cv_option)(1 + which % (CV_OPT_COUNT - 1)), value, &len);
	if (len > sizeof(value))
		abort();
}

static void device(struct sock *sk, struct fuzz_input *in)
{
	const char *name = names[fuzz_u8(in) & 3];
	char back[CV_DEVICE_NAME_BYTES];
	uint32_t len = sizeof(back);

	(void)sock_setopt(sk, CV_OPT_BINDTODEVICE, name, (uint32_t)strlen(name) + 1);
	(void)sock_getopt(sk, CV_OPT_BINDTODEVICE, back, &len);
}

/* One request, or a filter of a few sources. */
static void membership(struct sock *sk, struct fuzz_input *in)
{
	static const uint32_t interfaces[4] = {1, 0, 9, 1};
	uint8_t which = fuzz_u8(in), whom = fuzz_u8(in), n = whom >> 4 & 7;
	enum cv_option opt = (enum cv_option)(CV_OPT_MCAST_JOIN + which % 8);
	struct cv_mreq r = {.ifindex = interfaces[which >> 6]};

	memcpy(r.group, addresses[whom & 1 ? 4 + (which >> 5 & 1) : whom & 15], 16);
	memcpy(r.source, addresses[whom >> 4], 16);
	if (opt == CV_OPT_MCAST_FILTER) {
		struct cv_mreq one = {0};

		for (unsigned i = 0; i < n; i++) {
			memcpy(one.source, addresses[(which >> 3 & 3) + 2 * i], 16);
			(void)sock_setopt(sk, CV_OPT_MCAST_FILTER_SOURCE, &one, sizeof(one));
		}
		r.source[CV_MCAST_MODE_AT] = which >> 3 & 3;
		r.source[CV_MCAST_NUMBER_AT] = n;
	}
	(void)sock_setopt(sk, opt, &r, sizeof(r));
}

/* --- datagrams ------------------------------------------------------------------------------------- */

static void sent(struct sock *sk, struct fuzz_input *in)
{
	static const uint8_t zeros[UINT16_MAX];
	static unsigned released;
	uint8_t how = fuzz_u8(in), to = fuzz_u8(in);
	uint32_t len = fuzz_u16(in);
	struct cv_send_with with = {0};
	struct txbuf *b = world_txbuf(zeros, how & 8 ? len : len % SEND_MOST, &released);

	if (how & 1)
		b->flags = CV_F_MORE;
	if (how & 2) {
		b->peer = endpoint(to);
		b->has_peer = true;
	}
	if (how & 4) {
		size_t got;
		const uint8_t *from = fuzz_bytes(in, 8, &got);

		memcpy((uint8_t *)&with + 16, from, got); /* all but the source */
		memcpy(with.source, addresses[how >> 4], 16);
		b->with = &with;
	}
	if (sock_send(sk, b) != 0) {
		free((void *)(uintptr_t)b->data);
		free(b);
	}
}

/* As the programs' side takes a datagram. */
static void received(struct sock *sk)
{
	struct rte_mbuf *m = sock_recv_take(sk);
	struct cv_rxd_extra extra;

	if (m == NULL)
		return;
	(void)sock_rx_extra(sk, m, &extra);
	if (sock_rx_segment(m) > rte_pktmbuf_pkt_len(m))
		abort();
	sock_consumed(sk, rte_pktmbuf_pkt_len(m));
	rte_pktmbuf_free(m);
}

static void error_read(struct sock *sk, struct fuzz_input *in)
{
	uint8_t value[sizeof(struct cv_error_report) + CV_ERROR_QUOTED_MAX], most = fuzz_u8(in);
	uint32_t len = most & 1 ? most : sizeof(value);

	(void)sock_getopt(sk, CV_OPT_ERRQUEUE, value, &len);
	if (len > sizeof(value))
		abort();
}

static void connected(struct sock *sk, struct fuzz_input *in)
{
	uint8_t to = fuzz_u8(in);
	const struct cv_endpoint peer = endpoint(to);

	if (to & 0x80)
		(void)sock_disconnect(sk);
	else
		(void)sock_connect(sk, &peer);
}

static void again(struct uses *u, unsigned i, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), where = fuzz_u8(in);

	if (u->sk[i] != NULL)
		sock_close(u->sk[i], how & 8);
	opened(u, i, how, where);
}

/* What is done to one, or to all in the same way. */
static void one_step(struct uses *u, struct sock *sk, struct fuzz_input *in, uint16_t what)
{
	switch (what & 15) {
	case 0:
	case 1:
		option_int(sk, in);
		break;
	case 2:
		option_read(sk, in);
		break;
	case 3:
		device(sk, in);
		break;
	case 4:
	case 5:
		membership(sk, in);
		break;
	case 6:
	case 7:
		sent(sk, in);
		break;
	case 8:
		received(sk);
		break;
	case 9:
		error_read(sk, in);
		break;
	case 10:
		connected(sk, in);
		break;
	case 11:
		sock_shutdown_wr(sk);
		break;
	default:
		world_run(u->w, fuzz_u8(in) * TENTH, NULL, NULL);
		break;
	}
}

void uses_step(struct uses *u, struct fuzz_input *in, uint16_t what)
{
	unsigned i = what >> 4 & 7;
	const struct fuzz_input from = *in;

	if (i < USES_SOCKS && (u->sk[i] == NULL || (what & 15) == 12)) {
		again(u, i, in);
		return;
	}
	if (i < USES_SOCKS) {
		one_step(u, u->sk[i], in, what);
		return;
	}
	for (i = 0; i < USES_SOCKS; i++) {
		*in = from;
		if (u->sk[i] != NULL)
			one_step(u, u->sk[i], in, what);
	}
}
