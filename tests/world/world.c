/* SPDX-License-Identifier: BSD-3-Clause */
/* See world.h. */
#include "tests/world/world.h"

#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "stack/base/addr.h"
#include "stack/core/crew.h"
#include "stack/net/ip.h"

#define POOL_MBUFS 8191u

static struct rte_mempool *pool;
struct engine_tcp_config world_tcp;
uint32_t world_tcp_max = 4096;

void world_eal_init_large(const char *name, uint32_t buffers)
{
	char prefix[64], memory[16];
	cpu_set_t cores;
	char *argv[] = {(char *)(uintptr_t)name, "--no-huge", "-m", memory, "--no-pci", "--no-telemetry",
		"--no-shconf", "-l", "0", "--log-level", "error", prefix};

	snprintf(memory, sizeof(memory), "%u", 32 + buffers / 256); /* MiB; a buffer takes 2.4 KiB */
	snprintf(prefix, sizeof(prefix), "--file-prefix=%s-%d", name, getpid());
	world_tcp = engine_tcp_defaults;
	/* EAL keeps to one core, the same of each test that runs: back to where we may. */
	if (sched_getaffinity(0, sizeof(cores), &cores) != 0 ||
		rte_eal_init((int)(sizeof(argv) / sizeof(argv[0])), argv) < 0 ||
		sched_setaffinity(0, sizeof(cores), &cores) != 0)
		abort();
	pool = rte_pktmbuf_pool_create("world", buffers, 0,
		RTE_ALIGN(sizeof(struct pkt), RTE_MBUF_PRIV_ALIGN), RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	if (pool == NULL)
		abort();
}

void world_eal_init(const char *name)
{
	world_eal_init_large(name, POOL_MBUFS);
}

static uint64_t draw(struct world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static bool chance(struct world *w, unsigned per_mille)
{
	return per_mille > 0 && draw(w) % 1000 < per_mille;
}

static void hash_add(struct world *w, const void *data, size_t len)
{
	const uint8_t *at = data;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		w->hash = (w->hash ^ word) * 0x9e3779b97f4a7c15ull;
		w->hash ^= w->hash >> 29;
	}
	for (; len > 0; len--, at++)
		w->hash = (w->hash ^ *at) * 0x100000001b3ull;
}

/* In as many buffers as it takes; NULL: there are not as many. */
static struct rte_mbuf *frame_copy(struct world *w, const uint8_t *data, uint32_t len)
{
	struct rte_mbuf *m = NULL;

	while (len > 0) {
		uint32_t n = len < WORLD_BUFFER_BYTES ? len : WORLD_BUFFER_BYTES;
		struct rte_mbuf *s = rte_pktmbuf_alloc(w->pool);

		if (s == NULL) {
			rte_pktmbuf_free(m);
			return NULL;
		}
		memcpy(rte_pktmbuf_append(s, (uint16_t)n), data, n);
		if (m == NULL)
			m = s;
		else
			assert_int_equal(rte_pktmbuf_chain(m, s), 0);
		data += n;
		len -= n;
	}
	return m;
}

/* --- captures ------------------------------------------------------------------------------------ */

/* WORLD_PCAP=DIRECTORY: a file for each world, in pcap's form with nanoseconds. WORLD_PCAP_ENGINES=1: without the frames
 * that a test injects, which may be bad on purpose. */
static void capture_open(struct world *w)
{
	static unsigned worlds;
	const char *directory = getenv("WORLD_PCAP");
	const uint32_t head[] = {0xa1b23c4d, 2 | 4u << 16, 0, 0, WORLD_FRAME_BYTES, 1 /* Ethernet */};
	char path[512];

	if (directory == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%05u.pcap", directory, worlds++);
	w->capture = fopen(path, "w");
	assert_non_null(w->capture);
	assert_int_equal(fwrite(head, sizeof(head), 1, w->capture), 1);
}

static void capture_add(struct world *w, const uint8_t *data, uint32_t len)
{
	const uint32_t head[] = {(uint32_t)(w->now_ns / 1000000000), (uint32_t)(w->now_ns % 1000000000), len, len};

	if (w->capture == NULL)
		return;
	assert_int_equal(fwrite(head, sizeof(head), 1, w->capture), 1);
	assert_int_equal(fwrite(data, len, 1, w->capture), 1);
}

/* --- the wire ------------------------------------------------------------------------------------ */

static void wire_put(struct world *w, int to, const uint8_t *data, uint32_t len, uint64_t at_ns)
{
	struct world_frame *f = malloc(sizeof(*f) + len);
	struct list *behind = w->wire[to].frames.prev;

	assert_non_null(f);
	assert_true(w->frames_n < WORLD_FRAMES_MAX);
	f->at_ns = at_ns;
	f->len = len;
	f->turn = w->frames_put++;
	memcpy(f->data, data, len);
	if (chance(w, w->link.corrupt)) {
		uint32_t at = (uint32_t)(draw(w) % len);

		f->data[at] ^= (uint8_t)(1u << draw(w) % 8);
	}
	while (behind != &w->wire[to].frames && list_entry(behind, struct world_frame, node)->at_ns > at_ns)
		behind = behind->prev;
	list_insert_before(behind->next, &f->node);
	w->frames_n++;
}

void world_frame_free(struct world *w, struct world_frame *f)
{
	list_del(&f->node);
	free(f);
	w->frames_n--;
}

void world_inject(struct world *w, int to, const void *data, uint32_t len)
{
	if (getenv("WORLD_PCAP_ENGINES") == NULL)
		capture_add(w, data, len);
	wire_put(w, to, data, len, w->now_ns);
}

/* What a device with checksum and segmentation offload makes of a frame: the sums that the flags ask for, after a
 * look at what the driver was promised. */
static void device_finish(struct world_host *h, uint8_t *frame, uint32_t len, const struct rte_mbuf *asked)
{
	struct rte_ipv4_hdr *ip = (void *)(frame + asked->l2_len);
	struct rte_tcp_hdr *tcp = (void *)((uint8_t *)ip + asked->l3_len);

	if (!h->port.tx_l4_cksum || (asked->ol_flags & RTE_MBUF_F_TX_L4_MASK) != RTE_MBUF_F_TX_TCP_CKSUM)
		return;
	assert_true(asked->ol_flags & RTE_MBUF_F_TX_IPV4 && asked->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(len - asked->l2_len));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->cksum = 0;
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
}

uint64_t world_queued(const struct world *w, int to)
{
	uint64_t until = w->wire[to].busy_until_ns;

	return until > w->now_ns ? (until - w->now_ns) * (w->link.rate_bps / 1000) / 8000000 : 0;
}

/* ECT becomes CE, whatever the family (RFC3168:5). */
static bool congestion_mark(uint8_t *frame)
{
	struct rte_ipv4_hdr *ip = (void *)(frame + RTE_ETHER_HDR_LEN);

	if (frame[12] == 0x08 && frame[13] == 0x00 && (ip->type_of_service & 3) != 0) {
		ip->type_of_service |= 3;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		return true;
	}
	if (frame[12] == 0x86 && frame[13] == 0xdd && (frame[RTE_ETHER_HDR_LEN + 1] & 0x30) != 0) {
		frame[RTE_ETHER_HDR_LEN + 1] |= 0x30;
		return true;
	}
	return false;
}

/* When the frame has passed the bottleneck; 0: it was dropped. */
static uint64_t bottleneck_pass(struct world *w, int to, uint8_t *frame, uint32_t len)
{
	struct world_wire *way = &w->wire[to];
	uint64_t queued = world_queued(w, to), from = way->busy_until_ns;

	if (w->link.rate_bps == 0)
		return w->now_ns;
	if (w->link.queue_bytes != 0 && queued + len > w->link.queue_bytes) {
		way->queue_drops++;
		return 0;
	}
	if (w->link.mark_bytes != 0 && queued >= w->link.mark_bytes && congestion_mark(frame))
		way->marks++;
	if (queued + len > way->queued_max)
		way->queued_max = queued + len;
	way->bytes += len;
	from = from > w->now_ns ? from : w->now_ns;
	way->busy_until_ns = from + (uint64_t)len * 8000000 / (w->link.rate_bps / 1000);
	return way->busy_until_ns;
}

static bool frame_is_arp(const uint8_t *frame)
{
	return frame[12] == 0x08 && frame[13] == 0x06;
}

static bool is_lost(struct world *w, int to, const uint8_t *frame, uint32_t len)
{
	if (w->link.spares_arp && frame_is_arp(frame))
		return false;
	if (w->link.frame_max != 0 && len > w->link.frame_max)
		return true;
	if (w->link.drop_nth != 0 && len > WORLD_SMALL && ++w->wire[to].large % w->link.drop_nth == 0)
		return true;
	return chance(w, w->link.loss);
}

static void frame_send(struct world_host *h, uint8_t *data, uint32_t len)
{
	struct world *w = h->w;
	uint64_t at;

	w->frames_sent++;
	hash_add(w, &w->now_ns, sizeof(w->now_ns));
	hash_add(w, data, len);
	capture_add(w, data, len);
	if (w->watch != NULL)
		w->watch(w->watch_ctx, h->index, true, data, len);
	at = bottleneck_pass(w, 1 - h->index, data, len);
	if (at == 0)
		return;
	at += w->link.delay_ns;
	if (chance(w, w->link.reorder))
		at += w->link.reorder_ns;
	if (!is_lost(w, 1 - h->index, data, len))
		wire_put(w, 1 - h->index, data, len, at);
	if (chance(w, w->link.duplicate))
		wire_put(w, 1 - h->index, data, len, at);
}

/* As a device with RTE_ETH_TX_OFFLOAD_TCP_TSO. */
static void device_cut(struct world_host *h, const uint8_t *whole, uint32_t len, const struct rte_mbuf *asked)
{
	uint32_t head = (uint32_t)asked->l2_len + asked->l3_len + asked->l4_len, mss = asked->tso_segsz;
	const struct rte_ipv4_hdr *ip = (const void *)(whole + asked->l2_len);
	const struct rte_tcp_hdr *tcp = (const void *)(whole + asked->l2_len + asked->l3_len);

	assert_int_equal(h->port.tso, PORT_TSO_DEVICE);
	assert_int_equal(tcp->cksum, rte_ipv4_phdr_cksum(ip, asked->ol_flags));
	assert_true(mss + asked->l3_len + asked->l4_len <= h->port.mtu);
	for (uint32_t off = head; off < len; off += mss) {
		static uint8_t frame[WORLD_FRAME_BYTES];
		struct rte_tcp_hdr *mine = (void *)(frame + asked->l2_len + asked->l3_len);
		uint32_t n = len - off < mss ? len - off : mss;

		memcpy(frame, whole, head);
		memcpy(frame + head, whole + off, n);
		mine->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + off - head);
		if (off + n < len)
			mine->tcp_flags &= (uint8_t)~(RTE_TCP_FIN_FLAG | RTE_TCP_PSH_FLAG);
		if (off > head)
			mine->tcp_flags &= (uint8_t)~RTE_TCP_CWR_FLAG;
		device_finish(h, frame, head + n, asked);
		frame_send(h, frame, head + n);
	}
}

static uint16_t host_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct world_host *h = ctx;
	static uint8_t flat[WORLD_FRAME_BYTES];

	(void)port;
	if (h->tx_bounded) {
		n = n < h->tx_room ? n : h->tx_room;
		h->tx_room = (uint16_t)(h->tx_room - n);
	}
	for (uint16_t i = 0; i < n; i++) {
		uint32_t len = rte_pktmbuf_pkt_len(pkts[i]);
		const uint8_t *data = rte_pktmbuf_read(pkts[i], 0, len, flat);

		assert_true(len <= sizeof(flat));
		if (data != flat)
			memcpy(flat, data, len);
		if (pkts[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
			device_cut(h, flat, len, pkts[i]);
		} else {
			device_finish(h, flat, len, pkts[i]);
			frame_send(h, flat, len);
		}
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static struct world_frame *wire_first(struct world *w, int to)
{
	struct list *frames = &w->wire[to].frames;

	return list_empty(frames) ? NULL : list_entry(frames->next, struct world_frame, node);
}

/* What a device with RSS makes of a frame; 0: none of its business. */
static uint16_t frame_worker(const struct world_host *h, const struct world_frame *f)
{
	const struct rte_ipv4_hdr *ip = (const void *)(f->data + RTE_ETHER_HDR_LEN);
	const uint8_t *ports = (const uint8_t *)(ip + 1);
	uint8_t src[16], dst[16];

	if (f->len < RTE_ETHER_HDR_LEN + sizeof(*ip) + 4 || f->data[12] != 8 || f->data[13] != 0 ||
		ip->version_ihl != 0x45 || ip->next_proto_id != IPPROTO_TCP)
		return 0;
	addr_from_v4(src, &ip->src_addr);
	addr_from_v4(dst, &ip->dst_addr);
	return crew_by_hash(h->crew, crew_hash(src, dst, (uint16_t)(ports[0] << 8 | ports[1]),
					     (uint16_t)(ports[2] << 8 | ports[3])));
}

static bool frame_is_for(struct world_host *h, const struct world_frame *f, uint16_t worker)
{
	if (h->workers == 1)
		return true;
	if (h->rss == WORLD_RSS_TURN)
		return f->turn % h->workers == worker;
	return (h->rss == WORLD_RSS_HASH ? frame_worker(h, f) : 0) == worker;
}

static uint16_t worker_rx(struct world_host *h, uint16_t worker, struct rte_mbuf **pkts, uint16_t max)
{
	struct world *w = h->w;
	uint16_t n = 0;

	while (n < max) {
		struct world_frame *f = wire_first(w, h->index);

		if (f == NULL || f->at_ns > w->now_ns || !frame_is_for(h, f, worker))
			break;
		pkts[n] = frame_copy(w, f->data, f->len);
		if (pkts[n] != NULL && w->watch != NULL)
			w->watch(w->watch_ctx, h->index, false, f->data, f->len);
		if (pkts[n] != NULL)
			n++;
		else
			w->rx_no_buffer++;
		world_frame_free(w, f);
	}
	return n;
}

static uint16_t host_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	(void)port;
	return worker_rx(ctx, 0, pkts, max);
}

static uint16_t more_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	struct world_worker *m = ctx;

	(void)port;
	return worker_rx(m->host, m->e->worker, pkts, max);
}

static uint16_t more_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	return host_tx(((struct world_worker *)ctx)->host, port, pkts, n);
}

static uint64_t host_random(void *ctx)
{
	return draw(((struct world_host *)ctx)->w);
}

static uint64_t more_random(void *ctx)
{
	return host_random(((struct world_worker *)ctx)->host);
}

struct engine *world_engine(const struct world_host *h, uint16_t worker)
{
	return worker == 0 ? h->e : h->more[worker - 1].e;
}

static struct port host_port(int i)
{
	struct port port = {.name = "wire", .up = true, .mtu = 1500, .addrs_n = 1,
		.mac = {2, 0, 0, 0, 0, (uint8_t)(i + 1)}};

	port.addr[0].prefix = 96 + 24;
	addr_from_v4(port.addr[0].addr, (const uint8_t[]){10, 0, 0, (uint8_t)(i + 1)});
	return port;
}

static struct engine *worker_new(struct world_host *h, uint16_t worker, const struct engine_env *env, struct port *port)
{
	const struct engine_config config = {.pkt_pool = h->w->pool, .tcp_max = world_tcp_max, .udp_max = 4096,
		.secret = {0x5ec7e7, (uint64_t)h->index}, .crew = h->crew, .worker = worker, .tcp = &world_tcp};
	const char *why;
	struct engine *e = engine_new(&config, env, h->w->now_ns, &why);

	assert_non_null(e);
	*port = host_port(h->index);
	assert_int_equal(net_port_add(e, port), 0);
	return e;
}

static void host_init(struct world *w, int i)
{
	struct world_host *h = &w->host[i];
	const struct engine_env env = {.ctx = h, .rx = host_rx, .tx = host_tx, .random64 = host_random};

	h->w = w;
	h->index = i;
	h->crew = h->workers > 1 ? crew_new(h->workers, &env) : NULL;
	h->e = worker_new(h, 0, &env, &h->port);
	for (uint16_t k = 1; k < h->workers; k++) {
		struct world_worker *m = &h->more[k - 1];
		const struct engine_env theirs = {.ctx = m, .rx = more_rx, .tx = more_tx, .random64 = more_random};

		m->host = h;
		m->e = worker_new(h, k, &theirs, &m->port);
	}
}

static void host_free(struct world_host *h)
{
	for (uint16_t k = 0; k < h->workers; k++)
		engine_free(world_engine(h, k));
	crew_free(h->crew);
}

/* What a test changed of the device holds for all its queues. */
static void port_follow(struct engine *e, struct port *port, const struct port *first)
{
	if (port->addrs_n != first->addrs_n || memcmp(port->addr, first->addr, sizeof(port->addr)) != 0) {
		memcpy(port->addr, first->addr, sizeof(port->addr));
		port->addrs_n = first->addrs_n;
		assert_int_equal(net_port_changed(e, port), 0);
	}
	port->mtu = first->mtu;
	port->tx_ip_cksum = first->tx_ip_cksum;
	port->tx_l4_cksum = first->tx_l4_cksum;
	port->rx_cksum = first->rx_cksum;
	port->trusted = first->trusted;
	port->tso = first->tso;
	port->tso_max = first->tso_max;
}

static void host_turn(struct world_host *h)
{
	engine_turn(h->e, h->w->now_ns);
	for (uint16_t k = 1; k < h->workers; k++) {
		port_follow(h->more[k - 1].e, &h->more[k - 1].port, &h->port);
		engine_turn(h->more[k - 1].e, h->w->now_ns);
	}
}

void world_host_restart(struct world *w, int i)
{
	host_free(&w->host[i]);
	host_init(w, i);
}

static enum world_rss rss_of(const char *name)
{
	if (name != NULL && strcmp(name, "one") == 0)
		return WORLD_RSS_ONE;
	return name != NULL && strcmp(name, "turn") == 0 ? WORLD_RSS_TURN : WORLD_RSS_HASH;
}

struct world *world_new(uint64_t seed, const struct world_link *link)
{
	const char *workers = getenv("WORLD_WORKERS");

	return world_new_crew(
		seed, link, workers != NULL ? (uint16_t)atoi(workers) : 1, rss_of(getenv("WORLD_RSS")));
}

struct world *world_new_crew(uint64_t seed, const struct world_link *link, uint16_t workers, enum world_rss rss)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->random = (seed + 1) * 0x9e3779b97f4a7c15ull;
	w->hash = 0xcbf29ce484222325ull;
	w->now_ns = 1000000000;
	w->link = *link;
	w->pool = pool;
	capture_open(w);
	list_init(&w->wire[0].frames);
	list_init(&w->wire[1].frames);
	for (int i = 0; i < 2; i++) {
		w->host[i].workers = workers;
		w->host[i].rss = rss;
		host_init(w, i);
	}
	return w;
}

void world_free(struct world *w)
{
	for (int to = 0; to < 2; to++) {
		struct world_frame *f;

		while ((f = wire_first(w, to)) != NULL)
			world_frame_free(w, f);
	}
	host_free(&w->host[0]);
	host_free(&w->host[1]);
	assert_int_equal(rte_mempool_in_use_count(w->pool), 0);
	if (w->capture != NULL)
		assert_int_equal(fclose(w->capture), 0);
	free(w);
}

static uint64_t world_next_ns(struct world *w)
{
	uint64_t next = UINT64_MAX;

	for (int i = 0; i < 2; i++) {
		const struct world_frame *f = wire_first(w, i);

		if (f != NULL && f->at_ns < next)
			next = f->at_ns;
		for (uint16_t k = 0; k < w->host[i].workers; k++) {
			uint64_t at = engine_deadline_ns(world_engine(&w->host[i], k));

			next = at < next ? at : next;
		}
	}
	return next;
}

bool world_run(struct world *w, uint64_t for_ns, bool (*done)(void *ctx), void *ctx)
{
	uint64_t end = w->now_ns + for_ns;

	for (;;) {
		uint64_t next;

		host_turn(&w->host[0]);
		host_turn(&w->host[1]);
		if (done != NULL && done(ctx))
			return true;
		next = world_next_ns(w);
		if (next > end) {
			w->now_ns = end;
			return false;
		}
		w->now_ns = next > w->now_ns ? next : w->now_ns;
	}
}

struct cv_endpoint world_endpoint(int host, uint16_t port)
{
	struct cv_endpoint ep = {.port = port};

	addr_from_v4(ep.addr, (const uint8_t[]){10, 0, 0, (uint8_t)(host + 1)});
	return ep;
}

static void txbuf_free(struct txbuf *b, void *ctx)
{
	unsigned *released = ctx;

	++*released;
	free((void *)(uintptr_t)b->data);
	free(b);
}

struct txbuf *world_txbuf(const void *data, uint32_t len, unsigned *released)
{
	struct txbuf *b = calloc(1, sizeof(*b));
	uint8_t *copy = malloc(len ? len : 1);

	assert_true(b != NULL && copy != NULL);
	memcpy(copy, data, len);
	b->data = copy;
	b->len = len;
	b->release = txbuf_free;
	b->ctx = released;
	return b;
}
