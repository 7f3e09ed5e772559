/* SPDX-License-Identifier: BSD-3-Clause */
/* What neighbours, routers and queriers say to an engine with addresses of both families, a VLAN, memberships and
 * autoconf6: [kind][milliseconds][length, 2 bytes][message] and again. The headers around a message, and its checksum,
 * are right, so that its parser is met; often its addresses are ones that mean something, and its options have the length
 * that their type wants. */
#include <string.h>
#include <netinet/in.h>

#include "stack/net/mcast.h"
#include "stack/net/priv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/world/world.h"

#define MESSAGE_MAX 1400u
#define HEADERS 64u

static const uint8_t link_local[16] = {0xfe, 0x80, [15] = 0xa}, all_nodes[16] = {0xff, 2, [15] = 1},
		     router_v4[4] = {10, 0, 0, 254}, group_v4[4] = {239, 1, 2, 3},
		     group_v6[16] = {0xff, 0x12, [14] = 2, 3};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_link");
	world_tcp_max = 64;
	return 0;
}

static void put16(uint8_t *to, uint32_t v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
}

/* The sum over n bytes from at on, on top of another one. */
static void sum_put(uint8_t *field, const uint8_t *at, size_t n, uint32_t sum)
{
	uint16_t value;

	memset(field, 0, 2);
	value = (uint16_t)~cksum_fold((uint64_t)sum + cksum_bytes(at, n));
	memcpy(field, &value, 2);
}

/* Returns the bytes of the frame. */
static uint32_t icmp6_wrap(uint8_t *f, uint32_t n, uint8_t hops)
{
	uint8_t *ip = f + 14;

	put16(f + 12, 0x86dd);
	ip[0] = 0x60;
	put16(ip + 4, n);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = hops;
	memcpy(ip + 8, link_local, 16);
	memcpy(ip + 24, all_nodes, 16);
	sum_put(ip + 42, ip + 40, n, pseudo_cksum(link_local, all_nodes, IPPROTO_ICMPV6, n));
	return 54 + n;
}

static uint32_t igmp_wrap(uint8_t *f, uint32_t n)
{
	uint8_t *ip = f + 14;

	put16(f + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, 20 + n);
	ip[8] = 1;
	ip[9] = IPPROTO_IGMP;
	memcpy(ip + 12, router_v4, 4);
	memcpy(ip + 16, group_v4, 4);
	sum_put(ip + 10, ip, 20, 0);
	sum_put(ip + 22, ip + 20, n, 0);
	return 34 + n;
}

/* The length of what stands before the options, by type. */
static uint32_t nd_fixed(uint8_t type)
{
	return type == 134 ? 16 : type == 137 ? 40 : type == 135 || type == 136 ? 24 : 8;
}

/* Neighbour discovery as it is written: the fixed part, then options. Returns the length. */
static uint32_t nd_compose(uint8_t *m, uint8_t type, struct fuzz_input *in)
{
	static const uint8_t kinds[8][2] = {{1, 1}, {2, 1}, {3, 4}, {5, 1}, {24, 3}, {25, 3}, {3, 4}, {14, 1}};
	static const uint8_t ours[16] = {0x20, 1, 0xd, 0xb8, [15] = 1}, theirs[16] = {0x20, 1, 0xd, 0xb8, [15] = 9};
	uint32_t n = nd_fixed(type);
	uint8_t count = fuzz_u8(in), which = fuzz_u8(in);
	size_t got;
	const uint8_t *from = fuzz_bytes(in, n - 4, &got);

	if (got > 0)
		memcpy(m + 4, from, got);
	if (n >= 24 && (which & 3) != 0)
		memcpy(m + 8, which & 1 ? ours : which & 2 ? theirs : link_local, 16);
	if (n == 40 && (which & 4))
		memcpy(m + 24, theirs, 16);
	for (uint8_t i = 0; i < count % 5; i++) {
		const uint8_t *kind = kinds[fuzz_u8(in) & 7];

		m[n] = kind[0];
		m[n + 1] = kind[1];
		from = fuzz_bytes(in, kind[1] * 8u - 2, &got);
		if (got > 0)
			memcpy(m + n + 2, from, got);
		if (kind[0] == 3 && (count & 128)) { /* on the link, addresses may be made: 2001:db8:X::/64 */
			m[n + 2] = 64;
			m[n + 3] |= 0xc0;
			memcpy(m + n + 16, ours, 4);
		}
		n += kind[1] * 8u;
	}
	return n;
}

static void message_put(struct world *w, struct fuzz_input *in)
{
	static const uint8_t to_all[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9};
	static const uint8_t types[8] = {130, 131, 132, 134, 135, 136, 137, 143};
	uint8_t frame[HEADERS + MESSAGE_MAX] = {0}, kind = fuzz_u8(in), ms = fuzz_u8(in);
	size_t got = 0;
	const uint8_t *from = NULL;
	uint32_t n;

	memcpy(frame, to_all, sizeof(to_all));
	if (kind & 128) {
		frame[54] = types[3 + kind / 4 % 4];
		n = icmp6_wrap(frame, nd_compose(frame + 54, frame[54], in), 255);
		world_inject(w, 0, frame, n);
		world_run(w, ms * 8000000ull, NULL, NULL);
		return;
	}
	from = fuzz_bytes(in, fuzz_u16(in) % MESSAGE_MAX, &got);
	n = (uint32_t)got;
	if (n < 8)
		return;
	if (kind % 4 < 2) { /* ICMPv6 of these kinds, code 0 */
		memcpy(frame + 54, from, n);
		frame[54] = types[kind / 4 % 8];
		frame[55] = 0;
		n = icmp6_wrap(frame, n, frame[54] < 133 || frame[54] == 143 ? 1 : 255);
	} else if (kind % 4 == 2) {
		memcpy(frame + 34, from, n);
		n = igmp_wrap(frame, n);
	} else {
		memcpy(frame + 14, from, n);
		put16(frame + 12, 0x0806);
		memcpy(frame + 14, "\0\1\x08\0\6\4\0", 7);
		n += 14;
	}
	world_inject(w, 0, frame, n);
	world_run(w, ms * 8000000ull, NULL, NULL);
}

static void host_prepare(struct world *w, struct port *vlan, struct mcast_sock **ms)
{
	struct port *port = &w->host[0].port;
	struct cv_mreq six = {.ifindex = 1}, four = {.group = {[10] = 0xff, [11] = 0xff}, .ifindex = 1};

	port->dad4 = port->dad6 = port->autoconf6 = true;
	memcpy(port->addr[1].addr, (const uint8_t[16]){0x20, 1, 0xd, 0xb8, [15] = 1}, 16);
	port->addr[1].prefix = 64;
	port->addrs_n = 2;
	net_port_down(w->host[0].e, port);
	(void)net_port_changed(w->host[0].e, port);
	net_port_up(w->host[0].e, port);
	*vlan = (struct port){.id = 100, .vlan = 5, .autoconf6 = true};
	(void)net_vlan_add(w->host[0].e, port, vlan);
	memcpy(six.group, group_v6, 16);
	memcpy(four.group + 12, group_v4, 4);
	(void)mcast_setopt(w->host[0].e, ms, CV_AF_INET6, CV_OPT_MCAST_JOIN, &six, sizeof(six));
	(void)mcast_setopt(w->host[0].e, ms, CV_AF_INET6, CV_OPT_MCAST_JOIN_SOURCE, &four, sizeof(four));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct world_link perfect = {.delay_ns = 0};
	static struct port vlan;
	struct fuzz_input in = {data, size};
	struct world *w = world_new(1, &perfect);
	struct mcast_sock *ms = NULL;

	host_prepare(w, &vlan, &ms);
	while (in.left > 0)
		message_put(w, &in);
	mcast_sock_end(w->host[0].e, &ms);
	world_run(w, 10000000000ull, NULL, NULL);
	world_free(w);
	return 0;
}
