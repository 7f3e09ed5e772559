/* SPDX-License-Identifier: BSD-3-Clause */
/* See micro_bed.h. */
#include "bench/micro_bed.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_arp.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "stack/base/addr.h"
#include "stack/tcp/tcp.h"

#define POOL_MBUFS 16383u
#define TURN_NS 10000u
#define PEER_NET (172u << 24 | 16u << 16) /* behind the gateway */
#define PEER_PORTS 50000u                 /* connections of one peer address */
#define WSCALE 10
#define CWND (4u << 20) /* so that no workload waits for a window to open */
#define TXBUFS 1024u
#define TXBUF_BYTES (64u * BED_MSS)

static const uint8_t engine_mac[6] = {2, 0, 0, 0, 0, 1}, gateway_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t engine_ip[4] = {10, 0, 0, 1}, gateway_ip[4] = {10, 0, 0, 2};
static uint8_t payload[TXBUF_BYTES];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}

/* --- the wire ---------------------------------------------------------------------------------- */

static uint16_t wire_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	struct bed *b = ctx;
	uint16_t n = b->in_n < max ? b->in_n : max;

	(void)port;
	memcpy(pkts, b->in, n * sizeof(*pkts));
	b->in_n = 0;
	return n;
}

static uint16_t wire_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct bed *b = ctx;

	(void)port;
	if (b->out_n + n > BED_OUT_MAX)
		die("the engine sends more than was asked for");
	memcpy(b->out + b->out_n, pkts, n * sizeof(*pkts));
	b->out_n += n;
	return n;
}

static uint64_t wire_random(void *ctx)
{
	static uint64_t x = 0x9e3779b97f4a7c15ull;

	(void)ctx;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* --- frames of the peers ------------------------------------------------------------------------- */

static void *frame_begin(struct bed *b, uint16_t type, uint32_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);
	struct rte_ether_hdr *eth;

	if (m == NULL || b->in_n == ENGINE_BURST)
		die("out of packet buffers");
	eth = (void *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + len));
	memcpy(&eth->dst_addr, engine_mac, 6);
	memcpy(&eth->src_addr, gateway_mac, 6);
	eth->ether_type = rte_cpu_to_be_16(type);
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	b->in[b->in_n++] = m;
	return eth + 1;
}

static void *ip_begin(struct bed *b, uint8_t proto, uint32_t from, uint32_t len)
{
	struct rte_ipv4_hdr *ip = frame_begin(b, RTE_ETHER_TYPE_IPV4, (uint32_t)sizeof(*ip) + len);

	memset(ip, 0, sizeof(*ip));
	ip->version_ihl = 0x45;
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len));
	ip->time_to_live = 64;
	ip->next_proto_id = proto;
	ip->src_addr = rte_cpu_to_be_32(from);
	memcpy(&ip->dst_addr, engine_ip, 4);
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return ip + 1;
}

static void tcp_frame(struct bed *b, const struct bed_conn *c, struct wire_tcp *h, uint32_t len)
{
	uint32_t head = (uint32_t)wire_tcp_emit_bytes(h);
	struct rte_tcp_hdr *tcp = ip_begin(b, IPPROTO_TCP, c->addr, head + len);

	wire_tcp_emit(h, (uint8_t *)tcp);
	memset((uint8_t *)tcp + head, 'x', len);
	tcp->cksum = rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)tcp - 1, tcp);
}

static uint32_t now_ms(const struct bed *b)
{
	return (uint32_t)(b->now_ns / 1000000);
}

void bed_segment(struct bed *b, struct bed_conn *c, uint8_t flags, uint32_t len)
{
	struct wire_tcp h = {.sport = c->port, .dport = 80, .seq = c->seq, .ack = c->ack,
		.flags = flags | TCP_ACK, .wnd = 65535, .has_ts = true, .tsval = now_ms(b),
		.tsecr = c->ts_base + now_ms(b)};

	tcp_frame(b, c, &h, len);
	c->seq += len;
}

void bed_datagram(struct bed *b, uint32_t len)
{
	struct rte_udp_hdr *udp = ip_begin(b, IPPROTO_UDP, PEER_NET, (uint32_t)sizeof(*udp) + len);

	udp->src_port = rte_cpu_to_be_16(4000);
	udp->dst_port = rte_cpu_to_be_16(BED_UDP_PORT);
	udp->dgram_len = rte_cpu_to_be_16((uint16_t)(sizeof(*udp) + len));
	udp->dgram_cksum = 0;
	memset(udp + 1, 'x', len);
	udp->dgram_cksum = rte_ipv4_udptcp_cksum((const struct rte_ipv4_hdr *)udp - 1, udp);
}

static void gateway_answers(struct bed *b)
{
	struct rte_arp_hdr *arp = frame_begin(b, RTE_ETHER_TYPE_ARP, sizeof(*arp));

	memset(arp, 0, sizeof(*arp));
	arp->arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER);
	arp->arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	arp->arp_hlen = 6;
	arp->arp_plen = 4;
	arp->arp_opcode = rte_cpu_to_be_16(RTE_ARP_OP_REPLY);
	memcpy(&arp->arp_data.arp_sha, gateway_mac, 6);
	memcpy(&arp->arp_data.arp_sip, gateway_ip, 4);
	memcpy(&arp->arp_data.arp_tha, engine_mac, 6);
	memcpy(&arp->arp_data.arp_tip, engine_ip, 4);
}

/* --- turns --------------------------------------------------------------------------------------- */

void bed_turn(struct bed *b)
{
	b->now_ns += TURN_NS;
	engine_turn(b->e, b->now_ns);
}

void bed_turn_counted(struct bed *b)
{
	b->now_ns += TURN_NS;
	b->count_begin();
	engine_turn(b->e, b->now_ns);
	b->count_end();
}

void bed_out_free(struct bed *b)
{
	for (uint32_t i = 0; i < b->out_n; i++)
		rte_pktmbuf_free(b->out[i]);
	b->out_n = 0;
}

void bed_gateway_meet(struct bed *b)
{
	bed_datagram(b, 1);
	bed_turn(b);
	gateway_answers(b);
	bed_turn(b);
	bed_out_free(b);
}

/* --- the program --------------------------------------------------------------------------------- */

void bed_read(struct sock *sk)
{
	struct rte_mbuf *m;

	while ((m = sock_recv_take(sk)) != NULL) {
		uint32_t len = rte_pktmbuf_pkt_len(m);

		rte_pktmbuf_free(m);
		sock_consumed(sk, len);
	}
}

static void txbuf_done(struct txbuf *b, void *ctx)
{
	(void)ctx;
	b->ctx = NULL;
}

struct txbuf *bed_txbuf(uint32_t len)
{
	static struct txbuf bufs[TXBUFS];
	static uint32_t next;
	struct txbuf *t = &bufs[next++ % TXBUFS];

	if (t->ctx != NULL || len > TXBUF_BYTES)
		die("a send buffer is still in use");
	t->data = payload;
	t->len = len;
	t->release = txbuf_done;
	t->ctx = t;
	return t;
}

void bed_write(struct bed *b, struct bed_conn *c, uint32_t len)
{
	(void)b;
	if (sock_send(c->sk, bed_txbuf(len)) != 0)
		die("sock_send refuses");
	c->ack += len;
}

struct bed_conn *bed_conn_next(struct bed *b)
{
	b->at = (uint32_t)((b->at + 7919ull) % b->conns_n); /* a prime that divides no count in use */
	return &b->conns[b->at];
}

struct sock *bed_connect(struct bed *b)
{
	struct cv_endpoint at = {.port = 80};
	struct sock *sk;

	addr_from_v4(at.addr, engine_ip);
	if (sock_open(b->e, CV_AF_INET, CV_STREAM, &sk) != 0 || sock_connect(sk, &at) != 0)
		die("no connection to ourselves");
	return sk;
}

struct sock *bed_accept(struct bed *b)
{
	struct sock *sk = sock_accept(b->listener);

	if (sk == NULL)
		die("nothing to accept");
	sock_accept_done(b->listener);
	return sk;
}

/* The first time there are timers of all connections among those that are due, and a turn has a budget for them. */
void bed_turns_to_idle(struct bed *b)
{
	uint32_t socks, time_waits, turns = b->conns_n / 100 + 10;

	do {
		bed_turn_counted(b);
		tcp_count(b->e, &socks, &time_waits);
	} while (time_waits != 0 && turns-- > 0);
	if (socks != b->conns_n + 1 || time_waits != 0)
		die("a connection has not ended");
	bed_gateway_meet(b);
}

/* --- set-up -------------------------------------------------------------------------------------- */

static void synack_take(struct bed *b, struct bed_conn *c)
{
	struct wire_tcp h;
	const uint8_t *tcp;

	if (b->out_n != 1)
		die("no SYN-ACK");
	tcp = rte_pktmbuf_mtod_offset(b->out[0], const uint8_t *, RTE_ETHER_HDR_LEN + IP_HEADER_V4);
	if (!wire_tcp_parse(&h, tcp, rte_pktmbuf_data_len(b->out[0]) - RTE_ETHER_HDR_LEN - IP_HEADER_V4))
		die("not a SYN-ACK");
	c->ack = h.seq + 1;
	c->ts_base = h.tsval - now_ms(b);
	bed_out_free(b);
}

static void conn_establish(struct bed *b, uint32_t i)
{
	struct bed_conn *c = &b->conns[i];
	struct wire_tcp syn = {.dport = 80, .seq = 1000, .flags = TCP_SYN, .wnd = 65535, .has_mss = true,
		.mss = 1460, .sack_ok = true, .has_ts = true, .tsval = now_ms(b), .has_wscale = true,
		.wscale = WSCALE};

	*c = (struct bed_conn){.addr = PEER_NET + i / PEER_PORTS + 1,
		.port = (uint16_t)(10000 + i % PEER_PORTS), .seq = 1001};
	syn.sport = c->port;
	tcp_frame(b, c, &syn, 0);
	bed_turn(b);
	synack_take(b, c);
	bed_segment(b, c, 0, 0);
	bed_turn(b);
	c->sk = sock_accept(b->listener);
	if (c->sk == NULL)
		die("no connection");
	sock_accept_done(b->listener);
	c->sk->user = b;
	tcp_of(c->sk)->cwnd = CWND;
}

static void sockets_open(struct bed *b, uint32_t connections)
{
	struct cv_endpoint at = {.port = 80};

	addr_from_v4(at.addr, engine_ip);
	if (sock_open(b->e, CV_AF_INET, CV_STREAM, &b->listener) != 0 || sock_bind(b->listener, &at) != 0 ||
		sock_listen(b->listener, BED_BACKLOG) != 0)
		die("no listener");
	at.port = BED_UDP_PORT;
	if (sock_open(b->e, CV_AF_INET, CV_DGRAM, &b->udp) != 0 || sock_bind(b->udp, &at) != 0)
		die("no UDP socket");
	b->udp->user = b;
	b->conns = calloc(connections, sizeof(*b->conns));
	if (b->conns == NULL)
		die("no memory");
	b->conns_n = connections;
	for (uint32_t i = 0; i < connections; i++)
		conn_establish(b, i);
}

static struct rte_mempool *pool_of_run(void)
{
	static struct rte_mempool *pool;
	char prefix[64];
	char *argv[] = {(char *)(uintptr_t)"micro", (char *)(uintptr_t)"--no-huge", (char *)(uintptr_t)"-m",
		(char *)(uintptr_t)"128", (char *)(uintptr_t)"--no-pci", (char *)(uintptr_t)"--no-telemetry",
		(char *)(uintptr_t)"--no-shconf", (char *)(uintptr_t)"-l", (char *)(uintptr_t)"0",
		(char *)(uintptr_t)"--log-level", (char *)(uintptr_t)"error", prefix};

	if (pool != NULL)
		return pool;
	snprintf(prefix, sizeof(prefix), "--file-prefix=culvert-micro-%d", getpid());
	if (rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])), argv) < 0)
		die("no EAL");
	pool = rte_pktmbuf_pool_create("micro", POOL_MBUFS, 256,
		RTE_ALIGN(sizeof(struct pkt), RTE_MBUF_PRIV_ALIGN), RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	if (pool == NULL)
		die("no packet pool");
	return pool;
}

void bed_init(struct bed *b, uint32_t connections)
{
	const struct engine_env env = {.ctx = b, .rx = wire_rx, .tx = wire_tx, .random64 = wire_random};
	struct engine_config config = {.tcp_max = connections + 4 * BED_BACKLOG, .udp_max = 16};
	const char *why = "";

	memset(b, 0, sizeof(*b));
	b->pool = config.pkt_pool = pool_of_run();
	b->now_ns = 1000000000;
	b->e = engine_new(&config, &env, b->now_ns, &why);
	if (b->e == NULL)
		die(why);
	b->port = (struct port){.name = "wire", .up = true, .mtu = 1500, .addrs_n = 1, .has_gateway = true,
		.tx_ip_cksum = true, .tx_l4_cksum = true, .rx_cksum = true};
	memcpy(b->port.mac, engine_mac, 6);
	b->port.addr[0].prefix = 96 + 24;
	addr_from_v4(b->port.addr[0].addr, engine_ip);
	addr_from_v4(b->port.gateway, gateway_ip);
	if (net_port_add(b->e, &b->port) != 0)
		die("no port");
	bed_gateway_meet(b);
	sockets_open(b, connections);
}

void bed_fini(struct bed *b)
{
	bed_out_free(b);
	engine_free(b->e);
	free(b->conns);
}
