/* SPDX-License-Identifier: BSD-3-Clause */
/* EAL start and ethdev set-up. */
#include "dpdk/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>

#include "dpdk/callbacks.h"
#include "dpdk/log.h"
#include "stack/core/crew.h"
#include "stack/core/pkt.h"
#include "stack/net/ip.h"

#define RX_DESC 512
#define TX_DESC 512
#define RSS_KEY_MOST 64
#define LENT_FRAMES 1024u
#define LENT_BURST 32u
#define CONNECT_NS 1000000000ull /* a memif's peer has so long to answer */
#define BUFFERS_MOST 32768u
#define BUFFERS_LEAST 8192u
#define BUFFERS_BYTES (256ull << 20) /* of all buffers, between these two */
#define ENGINE_MIB 256 /* beside packets: tables, device rings */

/* Interface numbers of our own, for ports that are no interface of the kernel's. */
#define IFINDEX_OWN 0x8000u

#define FRAME_HEADER (RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 2 * RTE_VLAN_HLEN)
#define FRAME_MOST (UINT16_MAX - RTE_PKTMBUF_HEADROOM) /* what one packet buffer holds */

/* Bytes of the largest frame that comes or goes by a port. */
static uint32_t frame_bytes(const struct config_port *o)
{
	uint32_t ip = o->mtu;

	if (o->tso == TSO_TRUSTED && o->tso_max > ip)
		ip = o->tso_max;
	if (memif_is(o->device))
		return memif_buffer_bytes(o->device, ip + FRAME_HEADER);
	return ip + FRAME_HEADER < FRAME_MOST ? ip + FRAME_HEADER : FRAME_MOST;
}

static uint32_t room_of(const struct config *c)
{
	uint32_t room = RTE_MBUF_DEFAULT_BUF_SIZE;

	for (int i = 0; i < c->ports_n; i++) {
		uint32_t frame = frame_bytes(&c->ports[i]) + RTE_PKTMBUF_HEADROOM;

		room = frame > room ? frame : room;
	}
	return room;
}

/* How many, where the configuration does not say: memory for large ones is real with hugepages. */
static uint64_t buffers_of(const struct config *c)
{
	uint64_t n = BUFFERS_BYTES / room_of(c);

	if (c->limits.packet_buffers != 0)
		return c->limits.packet_buffers;
	if (n > BUFFERS_MOST)
		n = BUFFERS_MOST;
	return n < BUFFERS_LEAST ? BUFFERS_LEAST : n;
}

/* Bytes in hugepages of any size: `what` is nr_hugepages or free_hugepages. */
static uint64_t hugepages_bytes(const char *what)
{
	glob_t found = {0};
	uint64_t total = 0;
	char pattern[128];

	snprintf(pattern, sizeof(pattern), "/sys/kernel/mm/hugepages/hugepages-*/%s", what);
	glob(pattern, 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		FILE *f = fopen(found.gl_pathv[i], "re");
		unsigned long n = 0, kib = 0;

		if (f != NULL && fscanf(f, "%lu", &n) == 1 &&
			sscanf(strstr(found.gl_pathv[i], "hugepages-"), "hugepages-%lukB", &kib) == 1)
			total += (uint64_t)n * kib << 10;
		if (f != NULL)
			fclose(f);
	}
	globfree(&found);
	return total;
}

/* 0, or -1 with one line in error: they are wanted and there are none. */
static int hugepages_decide(struct config *c, uint64_t mib, char *error)
{
	if (c->hugepages == HUGEPAGES_AUTO)
		c->hugepages = hugepages_bytes("free_hugepages") >> 20 >= mib + mib / 4 ? HUGEPAGES_YES
											 : HUGEPAGES_NO;
	if (c->hugepages == HUGEPAGES_NO || hugepages_bytes("nr_hugepages") > 0)
		return 0;
	snprintf(error, CONFIG_ERROR_BYTES,
		"%s: hugepages=yes, and the machine has none: set vm.nr_hugepages (%llu MiB are"
		" wanted) or hugepages=no", c->path, (unsigned long long)mib);
	return -1;
}

/* The cores that this process may use, as a list: taskset's word holds for an engine too. */
static void cores_allowed(char *text, size_t size)
{
	cpu_set_t set;
	size_t n = 0;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		CPU_SET(0, &set);
	text[0] = '\0';
	for (int i = 0; i < CPU_SETSIZE && n + 8 < size; i++)
		if (CPU_ISSET(i, &set))
			n += (size_t)snprintf(text + n, size - n, "%s%d", n > 0 ? "," : "", i);
}

/* EAL reads its arguments by getopt, whose state may be in the middle of the program's own (getopt(3): 0 starts it
 * anew). */
static int eal_init(int argc, char **argv)
{
	char *nothing[] = {(char *)"culvert", NULL}, *arg = optarg;
	int index = optind, option = optopt, error = opterr, status;

	optind = 0;
	(void)getopt(1, nothing, "");
	status = rte_eal_init(argc, argv);
	optind = 0;
	(void)getopt(1, nothing, "");
	optind = index;
	optopt = option;
	opterr = error;
	optarg = arg;
	return status;
}

int ports_eal_init(struct config *c, bool inside, bool noise, char error[CONFIG_ERROR_BYTES])
{
	char prefix[64], memory[32], allowed[1024], lcores[1056];
	char *argv[20];
	int argc = 0;
	bool pci = false, zero_copy = false;
	uint64_t mib = ENGINE_MIB +
		((buffers_of(c) * (room_of(c) + 384)) >> 20);
	sigset_t realtime;

	for (int i = 0; i < c->ports_n; i++) {
		pci = pci || c->ports[i].pci;
		zero_copy = zero_copy || memif_is_zero_copy(c->ports[i].device);
	}
	snprintf(prefix, sizeof(prefix), "--file-prefix=culvert-%s", c->name);
	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)mib);
	cores_allowed(allowed, sizeof(allowed));
	snprintf(lcores, sizeof(lcores), "--lcores=0@(%s)", c->cores[0] != '\0' ? c->cores : allowed);
	argv[argc++] = (char *)"culvertd";
	argv[argc++] = prefix;
	argv[argc++] = lcores;
	if (hugepages_decide(c, mib, error) != 0)
		return -2;
	/* Each excludes the other. In memory: nothing is left in a hugetlbfs, and none need be mounted. */
	argv[argc++] = (char *)(c->hugepages == HUGEPAGES_YES ? "--in-memory" : "--no-huge");
	if (c->hugepages == HUGEPAGES_NO) {
		argv[argc++] = (char *)"-m";
		argv[argc++] = memory;
	}
	if (zero_copy) /* the memif driver hands the files of this memory to the other end */
		argv[argc++] = (char *)"--single-file-segments";
	if (!pci)
		argv[argc++] = (char *)"--no-pci";
	if (inside) {
		argv[argc++] = (char *)"--no-telemetry";
		if (c->hugepages == HUGEPAGES_NO)
			argv[argc++] = (char *)"--no-shconf";
	}
	if (!noise)
		argv[argc++] = (char *)"--log-level=*:3"; /* its errors are told by us, once */
	argv[argc] = NULL;
	/* The TAP driver asks for a signal for each frame and reads only after one. Blocked in every
	 * thread from the start none ever comes, and the driver reads whenever it is polled. */
	sigemptyset(&realtime);
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		sigaddset(&realtime, s);
	pthread_sigmask(SIG_BLOCK, &realtime, NULL);
	if (eal_init(argc, argv) < 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s: DPDK does not start: %s", c->path,
			rte_strerror(rte_errno));
		return -1;
	}
	return 0;
}

/* What a frame has room for bounds the configured sizes. */
static void sizes_fill(struct port *s, const struct config_port *o)
{
	uint32_t ip = frame_bytes(o) - FRAME_HEADER;

	s->mtu = o->mtu < ip ? o->mtu : (uint16_t)ip;
	if (s->mtu < o->mtu)
		log_line(LOG_NOTICE, "port %s: mtu is %u: a frame must lie in one buffer", o->name, s->mtu);
	s->tso_max = o->tso_max;
	if (o->tso == TSO_TRUSTED && o->tso_max > ip)
		s->tso_max = (uint16_t)ip;
}

/* A link with two ends, configured together: nobody else can have the address (dad=auto). */
static bool is_private_wire(const struct config_port *o)
{
	const char *device = o->parent_port != NULL ? o->parent_port->device : o->device;

	return strncmp(device, "net_tap", 7) == 0 || memif_is(device) || strncmp(device, "net_ring", 8) == 0 ||
		strncmp(device, "net_pcap", 8) == 0 || strncmp(device, "net_null", 8) == 0;
}

static void addresses_fill(struct port *s, const struct config_port *o)
{
	for (unsigned i = 0; i < o->more_n; i++) {
		memcpy(s->addr[i].addr, o->more[i].addr, 16);
		s->addr[i].prefix = (uint8_t)(o->more[i].prefix + (o->more_v6[i] ? 0 : 96));
	}
	s->addrs_n = (uint8_t)o->more_n;
	s->autoconf6 = o->autoconf6;
	s->dad4 = o->dad == DAD_YES;
	s->dad6 = o->dad == DAD_YES || (o->dad == DAD_AUTO && !is_private_wire(o));
	s->has_gateway = o->gateway.set;
	s->has_gateway6 = o->gateway6.set;
	memcpy(s->gateway, o->gateway.addr, 16);
	memcpy(s->gateway6, o->gateway6.addr, 16);
	s->vlan = o->vlan;
	s->trusted = o->checksum == CHECKSUM_TRUSTED;
}

/* The TAP driver sums in software, and wrongly over segments of odd length: the stack does it. */
static void offloads_choose(struct ports_port *q, const struct rte_eth_dev_info *info,
	struct rte_eth_conf *conf)
{
	const struct config_port *o = q->config;
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_CHECKSUM;
	const uint64_t tx4 = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

	conf->txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	/* What lies in a program's segment is not in the memory that a zero-copy memif shows to its other end. */
	q->one_segment = conf->txmode.offloads == 0 || memif_is_zero_copy(o->device);
	if (q->tap || (o->checksum != CHECKSUM_AUTO && o->checksum != CHECKSUM_OFFLOAD))
		return;
	if ((info->rx_offload_capa & rx) == rx) {
		conf->rxmode.offloads |= rx;
		q->stack.rx_cksum = true;
	}
	if ((info->tx_offload_capa & tx4) == tx4) {
		conf->txmode.offloads |= tx4;
		q->stack.tx_l4_cksum = true;
	}
	if (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
		conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
		q->stack.tx_ip_cksum = true;
	}
}

/* Who cuts super-segments. The TAP driver cuts in software, too, with wrong checksums and a pool of its own. */
static void tso_choose(struct ports_port *q, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const uint64_t needs =
		RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;

	q->stack.tso = PORT_TSO_NONE;
	if (q->config->tso == TSO_TRUSTED)
		q->stack.tso = PORT_TSO_TRUSTED;
	if (q->config->tso != TSO_AUTO)
		return;
	q->stack.tso = PORT_TSO_SOFTWARE;
	if (!q->tap && q->stack.tx_l4_cksum && (info->tx_offload_capa & needs) == needs) {
		q->stack.tso = PORT_TSO_DEVICE;
		conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	}
}

/* As many as there are workers, if the device has them. A memif's other end gives out its frames as it likes, and a
 * queue that it has not made must not be polled. */
static uint16_t queues_choose(const struct ports *p, const struct ports_port *q, const struct rte_eth_dev_info *info)
{
	uint16_t n = memif_is(q->config->device) ? 1 : p->workers;

	n = n < info->max_rx_queues ? n : info->max_rx_queues;
	n = n < info->max_tx_queues ? n : info->max_tx_queues;
	return n > 0 ? n : 1;
}

/* The key of crew.h: then a device's queue is mostly its flow's owner's. The TAP driver would do it by rules for the
 * kernel's traffic control; the kernel by itself brings a flow's frames by the queue that its answers go by. */
static void rss_choose(struct ports_port *q, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf, uint8_t *key)
{
	const uint64_t kinds = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;

	if (q->queues == 1 || q->tap || (info->flow_type_rss_offloads & kinds) == 0 ||
		info->hash_key_size > RSS_KEY_MOST)
		return;
	for (unsigned i = 0; i < RSS_KEY_MOST; i++)
		key[i] = i & 1 ? CREW_KEY_LO : CREW_KEY_HI;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){.rss_key = key,
		.rss_key_len = info->hash_key_size,
		.rss_hf = info->flow_type_rss_offloads & kinds};
}

/* What the device will not do the workers do by handing over. */
static void rss_table(const struct ports_port *q, const struct rte_eth_dev_info *info)
{
	struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];

	if (q->queues == 1 || q->tap || info->reta_size == 0 || info->reta_size > RTE_ETH_RSS_RETA_SIZE_512)
		return;
	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < info->reta_size; i++) {
		table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ull << (i % RTE_ETH_RETA_GROUP_SIZE);
		table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			(uint16_t)(i % CREW_TABLE % q->queues);
	}
	if (rte_eth_dev_rss_reta_update(q->ethdev, table, info->reta_size) != 0)
		log_line(LOG_DEBUG, "port %s: its table of queues is its own", q->stack.name);
}

static int queues_setup(struct ports_port *q, struct rte_mempool *pool, uint16_t rxd, uint16_t txd, const char **step)
{
	int status = 0;

	for (uint16_t k = 0; status == 0 && k < q->queues; k++) {
		*step = "receive queue";
		status = rte_eth_rx_queue_setup(q->ethdev, k, rxd, SOCKET_ID_ANY, NULL, pool);
		if (status != 0)
			break;
		*step = "transmit queue";
		status = rte_eth_tx_queue_setup(q->ethdev, k, txd, SOCKET_ID_ANY, NULL);
	}
	return status;
}

static int device_start(struct ports *p, struct ports_port *q, struct rte_mempool *pool, const char **step)
{
	uint8_t key[RSS_KEY_MOST];
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint16_t rxd = RX_DESC, txd = TX_DESC;
	int status;

	*step = "information";
	if ((status = rte_eth_dev_info_get(q->ethdev, &info)) != 0)
		return status;
	snprintf(q->driver, sizeof(q->driver), "%s", info.driver_name);
	q->tap = strcmp(q->driver, "net_tap") == 0;
	offloads_choose(q, &info, &conf);
	tso_choose(q, &info, &conf);
	if (q->config->pci && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT)) {
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
		q->stack.tx_vlan = true;
	}
	q->stack.ifindex = (uint16_t)(info.if_index > 0 && info.if_index < IFINDEX_OWN ? info.if_index : IFINDEX_OWN + q->stack.id);
	q->offloads = q->stack.tx_l4_cksum || q->stack.tx_ip_cksum;
	conf.intr_conf.rxq = q->tap || q->config->pci;
	/* The TAP driver (22.11) claims to tell, keeps its state by netlink, and calls nobody. */
	q->link_told = !q->tap && info.dev_flags != NULL && (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
	conf.intr_conf.lsc = q->link_told;
	q->queues = queues_choose(p, q, &info);
	rss_choose(q, &info, &conf, key);
	*step = "configuration";
	if ((status = rte_eth_dev_configure(q->ethdev, q->queues, q->queues, &conf)) != 0)
		return status;
	rte_eth_dev_adjust_nb_rx_tx_desc(q->ethdev, &rxd, &txd);
	if ((status = queues_setup(q, pool, rxd, txd, step)) != 0)
		return status;
	*step = "mtu";
	status = rte_eth_dev_set_mtu(q->ethdev, q->stack.mtu);
	if (status != 0 && status != -ENOTSUP && q->config->mtu != 1500)
		return status;
	*step = "start";
	status = rte_eth_dev_start(q->ethdev);
	q->connects = memif_connects(q->config->device);
	q->waits_for_peer = status != 0 && q->connects;
	if (status != 0 && !q->waits_for_peer)
		return status;
	rss_table(q, &info);
	rte_eth_promiscuous_enable(q->ethdev);
	rte_eth_allmulticast_enable(q->ethdev); /* groups are sorted out by the stack; some devices have no other mode */
	rte_eth_macaddr_get(q->ethdev, &mac);
	memcpy(q->stack.mac, mac.addr_bytes, 6);
	/* The kernel's end of the TAP has the driver's address. With one address for both, each would find its
	 * IPv6 link-local address taken by the other. */
	if (q->tap)
		q->stack.mac[5] ^= 1;
	return 0;
}

static int link_event(uint16_t ethdev, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct ports_port *q = arg;

	(void)ethdev;
	(void)type;
	(void)ret;
	atomic_store(&q->link_changed, true);
	return 0;
}

/* The driver connects when it is started, and never again. */
static void peer_lost(struct ports_port *q, uint64_t now)
{
	if (!q->connects || now - q->started_ns < CONNECT_NS)
		return;
	rte_eth_dev_stop(q->ethdev);
	q->waits_for_peer = true;
}

/* A driver that is silent about its link, and is told of none, is taken at its word when asked. */
void ports_link_look(struct ports *p, struct engine *e)
{
	for (uint16_t i = 0; i < p->n; i++) {
		struct ports_port *q = &p->port[i];
		struct rte_eth_link link;
		bool up;

		if (q->waits_for_peer) {
			if (rte_eth_dev_start(q->ethdev) != 0)
				continue;
			q->waits_for_peer = false;
			q->started_ns = 0;
		}
		if (q->started_ns == 0)
			q->started_ns = e->now_ns;
		if (q->link_told && !atomic_exchange(&q->link_changed, false))
			continue;
		if (rte_eth_link_get_nowait(q->ethdev, &link) != 0)
			continue;
		up = link.link_status == RTE_ETH_LINK_UP;
		if (up != q->stack.up)
			log_line(LOG_NOTICE, "port %s is %s", q->stack.name, up ? "up" : "down");
		if (up)
			net_port_up(e, &q->stack);
		else
			net_port_down(e, &q->stack);
		if (!up)
			peer_lost(q, e->now_ns);
	}
}

static void waiting_prepare(struct ports_port *q)
{
	for (uint16_t k = 0; k < q->queues; k++) {
		int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(q->ethdev, k), flags;

		q->rx_fd[k] = fd;
		if (!q->tap || fd < 0)
			continue;
		flags = fcntl(fd, F_GETFL);
		if (flags >= 0)
			fcntl(fd, F_SETFL, flags & ~O_ASYNC);
	}
}

/* Frames of workers without a queue. */
static int lent_prepare(struct ports *p, struct ports_port *q)
{
	if (q->queues == p->workers)
		return 0;
	q->lent = aligned_alloc(64, p->workers * sizeof(*q->lent));
	for (uint16_t k = 0; q->lent != NULL && k < p->workers; k++) {
		if (spsc_init(&q->lent[k], LENT_FRAMES, 1) != 0)
			return -1;
	}
	return q->lent != NULL ? 0 : -1;
}

static int port_open(struct ports *p, uint16_t i, const struct config *c, char *error)
{
	struct ports_port *q = &p->port[i];
	const char *step = "";
	char device[sizeof(q->config->device) + 32];
	int status;

	snprintf(device, sizeof(device), "%s", q->config->device);
	if (memif_is(device)) {
		memif_device(q->config->device, frame_bytes(q->config), device, sizeof(device));
		memif_socket_clear(device);
	}
	status = rte_dev_probe(device);
	q->ethdev = RTE_MAX_ETHPORTS;
	if (status == 0) {
		uint16_t id;
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(q->config->device, ","), q->config->device);
		if (rte_eth_dev_get_port_by_name(name, &id) == 0)
			q->ethdev = id;
	}
	if (status != 0 || q->ethdev == RTE_MAX_ETHPORTS) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: device=%.200s: there is no such device (%s)",
			c->path, q->config->device_line, q->config->device, rte_strerror(-status));
		return -1;
	}
	snprintf(q->stack.name, sizeof(q->stack.name), "%s", q->config->name);
	q->stack.id = i;
	addresses_fill(&q->stack, q->config);
	sizes_fill(&q->stack, q->config);
	status = device_start(p, q, p->pool, &step);
	if (status != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: device=%.200s: %s fails: %s", c->path,
			q->config->device_line, q->config->device, step, rte_strerror(-status));
		return -1;
	}
	waiting_prepare(q);
	if (lent_prepare(p, q) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no memory for port %s", q->stack.name);
		return -1;
	}
	if (q->link_told)
		rte_eth_dev_callback_register(
			q->ethdev, RTE_ETH_EVENT_INTR_LSC, link_event, q);
	q->stack.up = !q->waits_for_peer;
	if (q->config->host_address.set || q->config->host_address6.set) {
		struct rte_eth_dev_info info;
		char iface[IF_NAMESIZE] = "";
		rte_eth_dev_info_get(q->ethdev, &info);
		if_indextoname(info.if_index, iface);
		status = host_address_set(iface, &q->config->host_address, &q->config->host_address6);
		if (status != 0) {
			snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: host_address= cannot be set on %s: %s",
				c->path, q->config->line, iface, strerror(-status));
			return -1;
		}
	}
	return 0;
}

/* What is the device's it takes over in net_vlan_add(). */
static void vlan_make(struct ports *p, const struct config_port *o)
{
	struct ports_vlan *v = &p->vlan[p->vlans_n];

	v->config = o;
	snprintf(v->stack.name, sizeof(v->stack.name), "%s", o->name);
	v->stack.id = (uint16_t)(CONFIG_PORTS_MAX + p->vlans_n);
	v->stack.ifindex = (uint16_t)(IFINDEX_OWN + v->stack.id);
	v->stack.mtu = o->mtu;
	addresses_fill(&v->stack, o);
	for (uint16_t i = 0; i < p->n; i++) {
		if (p->port[i].config == o->parent_port)
			v->parent = i;
	}
	memcpy(v->stack.mac, p->port[v->parent].stack.mac, 6);
	p->vlans_n++;
}

int ports_open(struct ports *p, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	memset(p, 0, sizeof(*p));
	p->workers = (uint16_t)c->workers;
	p->callbacks_fd = callbacks_start();
	if (p->callbacks_fd < 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "the drivers' callbacks: %s", strerror(-p->callbacks_fd));
		return -1;
	}
	p->pool = rte_pktmbuf_pool_create("culvert", (unsigned)buffers_of(c), 256,
		RTE_ALIGN(sizeof(struct pkt), RTE_MBUF_PRIV_ALIGN), (uint16_t)room_of(c), SOCKET_ID_ANY);
	if (p->pool == NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s: no memory for packet_buffers=%llu: %s", c->path,
			(unsigned long long)buffers_of(c), rte_strerror(rte_errno));
		return -1;
	}
	for (uint16_t i = 0; i < c->ports_n; i++) {
		if (c->ports[i].parent_port != NULL)
			continue;
		p->port[p->n].config = &c->ports[i];
		for (unsigned k = 0; k < CV_WORKERS_MAX; k++)
			p->port[p->n].rx_fd[k] = -1;
		if (port_open(p, p->n, c, error) != 0)
			return -1;
		p->n++;
	}
	for (uint16_t i = 0; i < c->ports_n; i++) {
		if (c->ports[i].parent_port != NULL)
			vlan_make(p, &c->ports[i]);
	}
	return 0;
}

struct port *ports_stack_port(struct ports *p, const struct config_port *o)
{
	for (uint16_t i = 0; i < p->vlans_n; i++) {
		if (p->vlan[i].config == o)
			return &p->vlan[i].stack;
	}
	for (uint16_t i = 0; i < p->n; i++) {
		if (p->port[i].config == o)
			return &p->port[i].stack;
	}
	return NULL;
}

static struct port *stack_port(const struct ports_view *v, const struct config_port *o)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		if (v->ports->port[i].config == o)
			return v->stack[i];
	}
	for (uint16_t i = 0; i < v->ports->vlans_n; i++) {
		if (v->ports->vlan[i].config == o)
			return v->vlan[i];
	}
	return NULL;
}

static int route_give(const struct ports_view *v, struct engine *e, const struct config_route *r)
{
	static const enum ip_route_kind kinds[] = {[ROUTE_VIA] = IP_ROUTE_VIA,
		[ROUTE_UNREACHABLE] = IP_ROUTE_UNREACHABLE,
		[ROUTE_BLACKHOLE] = IP_ROUTE_BLACKHOLE,
		[ROUTE_PROHIBIT] = IP_ROUTE_PROHIBIT};
	struct ip_route to = {.bits = (uint8_t)(r->to.prefix + (r->v6 ? 0 : 96)),
		.kind = kinds[r->kind],
		.port = r->port != NULL ? stack_port(v, r->port) : NULL,
		.has_gateway = r->gateway.set,
		.mtu = r->mtu};

	memcpy(to.prefix, r->to.addr, 16);
	memcpy(to.gateway, r->gateway.addr, 16);
	return net_route_add(e, &to);
}

int ports_engine_add(struct ports_view *v, struct engine *e, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	const struct ports *p = v->ports;
	const struct config_port *o = NULL;

	for (uint16_t i = 0; i < p->n && o == NULL; i++) {
		if (net_port_add(e, v->stack[i]) != 0)
			o = p->port[i].config;
	}
	for (uint16_t i = 0; i < p->vlans_n && o == NULL; i++) {
		if (net_vlan_add(e, v->stack[p->vlan[i].parent], v->vlan[i]) != 0)
			o = p->vlan[i].config;
	}
	if (o != NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: too many ports or addresses", c->path, o->line);
		return -1;
	}
	for (uint16_t i = 0; i < c->routes_n; i++) {
		if (route_give(v, e, &c->routes[i]) != 0) {
			snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: too many routes", c->path, c->routes[i].line);
			return -1;
		}
	}
	return 0;
}

void ports_close(struct ports *p)
{
	for (uint16_t i = 0; i < p->n; i++) {
		rte_eth_dev_stop(p->port[i].ethdev);
		rte_eth_dev_close(p->port[i].ethdev);
	}
	p->n = 0;
	callbacks_stop();
}

uint32_t ports_callbacks(struct ports *p)
{
	return p->callbacks_fd < 0 ? 0 : callbacks_run();
}

/* For drivers that take no chains. Headers are made in buffers that have room for a whole frame. */
static void flatten(struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		if (pkts[i]->nb_segs > 1 && rte_pktmbuf_linearize(pkts[i]) != 0)
			log_line(LOG_DEBUG, "a frame of %u bytes has no room to lie in one piece",
				rte_pktmbuf_pkt_len(pkts[i]));
	}
}

static uint16_t queue_send(const struct ports_port *q, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	if (q->one_segment)
		flatten(pkts, n);
	if (q->offloads) /* some drivers want headers otherwise than others, and see to it here */
		n = rte_eth_tx_prepare(q->ethdev, queue, pkts, n);
	return rte_eth_tx_burst(q->ethdev, queue, pkts, n);
}

/* --- workers without a queue ---------------------------------------------------------------------- */

/* What refers to a program's memory is given back by its own worker only: others send a copy. */
static struct rte_mbuf *frame_lend(const struct ports_view *v, struct rte_mbuf *m)
{
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
		if (!RTE_MBUF_DIRECT(s))
			return rte_pktmbuf_copy(m, v->ports->pool, 0, UINT32_MAX);
	}
	return m;
}

static uint16_t frames_lend(struct ports_view *v, struct ports_port *q, struct rte_mbuf **pkts, uint16_t n)
{
	struct spsc *r = &q->lent[v->worker];
	uint16_t done = 0;

	for (; done < n; done++) {
		uint64_t *word = spsc_put(r);
		struct rte_mbuf *m = word != NULL ? frame_lend(v, pkts[done]) : NULL;

		if (m == NULL)
			break;
		if (m != pkts[done])
			rte_pktmbuf_free(pkts[done]);
		*word = (uintptr_t)m;
		spsc_put_done(r);
	}
	if (done > 0)
		v->told |= 1u << (v->worker % q->queues);
	return done;
}

static void lent_send(const struct ports_port *q, uint16_t queue, struct spsc *r)
{
	struct rte_mbuf *pkts[LENT_BURST];
	uint32_t tail = spsc_tail(r), have = tail - r->head;
	uint16_t n = 0, sent;

	while (n < LENT_BURST && n < have) {
		pkts[n] = (void *)(uintptr_t)*spsc_at(r, n);
		n++;
	}
	sent = n > 0 ? queue_send(q, queue, pkts, n) : 0;
	while (sent-- > 0)
		spsc_take_done(r);
}

bool ports_lent(const struct ports_view *v)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		const struct ports_port *q = &v->ports->port[i];

		for (uint16_t k = q->queues; k < v->ports->workers; k++) {
			if (k % q->queues == v->worker && !spsc_is_empty(&q->lent[k]))
				return true;
		}
	}
	return false;
}

/* --- a worker's ------------------------------------------------------------------------------------ */

int ports_view_init(struct ports_view *v, struct ports *p, uint16_t worker)
{
	struct port *copy = worker > 0 ? calloc((size_t)p->n + p->vlans_n, sizeof(*copy)) : NULL;

	*v = (struct ports_view){.ports = p, .worker = worker};
	if (worker > 0 && copy == NULL)
		return -1;
	for (uint16_t i = 0; i < p->n; i++) {
		v->stack[i] = worker > 0 ? copy + i : &p->port[i].stack;
		*v->stack[i] = p->port[i].stack;
	}
	for (uint16_t i = 0; i < p->vlans_n; i++) {
		v->vlan[i] = worker > 0 ? copy + p->n + i : &p->vlan[i].stack;
		*v->vlan[i] = p->vlan[i].stack;
	}
	return 0;
}

void ports_link_follow(struct ports_view *v, struct engine *e)
{
	for (uint16_t i = 0; i < v->ports->n; i++) {
		bool up = __atomic_load_n(&v->ports->port[i].stack.up, __ATOMIC_RELAXED);

		if (up)
			net_port_up(e, v->stack[i]);
		else
			net_port_down(e, v->stack[i]);
	}
}

uint16_t ports_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	struct ports_view *v = ctx;
	struct ports_port *q = &v->ports->port[port];

	if (v->worker >= q->queues || q->waits_for_peer)
		return 0;
	for (uint16_t k = v->worker + q->queues; k < v->ports->workers; k = (uint16_t)(k + q->queues))
		lent_send(q, v->worker, &q->lent[k]);
	return rte_eth_rx_burst(q->ethdev, v->worker, pkts, max);
}

uint16_t ports_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct ports_view *v = ctx;
	struct ports_port *q = &v->ports->port[port];

	if (v->worker >= q->queues)
		return frames_lend(v, q, pkts, n);
	return queue_send(q, v->worker, pkts, n);
}
