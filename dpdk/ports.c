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
#include "stack/core/pkt.h"
#include "stack/net/ip.h"

#define RX_DESC 512
#define TX_DESC 512
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

static int device_start(struct ports_port *q, struct rte_mempool *pool, const char **step)
{
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
	*step = "configuration";
	if ((status = rte_eth_dev_configure(q->ethdev, 1, 1, &conf)) != 0)
		return status;
	rte_eth_dev_adjust_nb_rx_tx_desc(q->ethdev, &rxd, &txd);
	*step = "receive queue";
	if ((status = rte_eth_rx_queue_setup(q->ethdev, 0, rxd, SOCKET_ID_ANY, NULL, pool)) != 0)
		return status;
	*step = "transmit queue";
	if ((status = rte_eth_tx_queue_setup(q->ethdev, 0, txd, SOCKET_ID_ANY, NULL)) != 0)
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
	q->rx_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(q->ethdev, 0);
	if (q->tap && q->rx_fd >= 0) {
		int flags = fcntl(q->rx_fd, F_GETFL);
		if (flags >= 0)
			fcntl(q->rx_fd, F_SETFL, flags & ~O_ASYNC);
	}
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
	status = device_start(q, p->pool, &step);
	if (status != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: device=%.200s: %s fails: %s", c->path,
			q->config->device_line, q->config->device, step, rte_strerror(-status));
		return -1;
	}
	waiting_prepare(q);
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
	p->vlans_n++;
}

int ports_open(struct ports *p, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	memset(p, 0, sizeof(*p));
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
		p->port[p->n].rx_fd = -1;
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

static struct port *stack_port(struct ports *p, const struct config_port *o)
{
	for (uint16_t i = 0; i < p->n; i++) {
		if (p->port[i].config == o)
			return &p->port[i].stack;
	}
	for (uint16_t i = 0; i < p->vlans_n; i++) {
		if (p->vlan[i].config == o)
			return &p->vlan[i].stack;
	}
	return NULL;
}

static int route_give(struct ports *p, struct engine *e, const struct config_route *r)
{
	static const enum ip_route_kind kinds[] = {[ROUTE_VIA] = IP_ROUTE_VIA,
		[ROUTE_UNREACHABLE] = IP_ROUTE_UNREACHABLE,
		[ROUTE_BLACKHOLE] = IP_ROUTE_BLACKHOLE,
		[ROUTE_PROHIBIT] = IP_ROUTE_PROHIBIT};
	struct ip_route to = {.bits = (uint8_t)(r->to.prefix + (r->v6 ? 0 : 96)),
		.kind = kinds[r->kind],
		.port = r->port != NULL ? stack_port(p, r->port) : NULL,
		.has_gateway = r->gateway.set,
		.mtu = r->mtu};

	memcpy(to.prefix, r->to.addr, 16);
	memcpy(to.gateway, r->gateway.addr, 16);
	return net_route_add(e, &to);
}

int ports_engine_add(struct ports *p, struct engine *e, const struct config *c, char error[CONFIG_ERROR_BYTES])
{
	const struct config_port *o = NULL;

	for (uint16_t i = 0; i < p->n && o == NULL; i++) {
		if (net_port_add(e, &p->port[i].stack) != 0)
			o = p->port[i].config;
	}
	for (uint16_t i = 0; i < p->vlans_n && o == NULL; i++) {
		struct ports_vlan *v = &p->vlan[i];

		if (net_vlan_add(e, &p->port[v->parent].stack, &v->stack) != 0)
			o = v->config;
	}
	if (o != NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s:%d: too many ports or addresses", c->path, o->line);
		return -1;
	}
	for (uint16_t i = 0; i < c->routes_n; i++) {
		if (route_give(p, e, &c->routes[i]) != 0) {
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

uint16_t ports_rx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t max)
{
	struct ports *p = ctx;

	if (p->port[port].waits_for_peer)
		return 0;
	return rte_eth_rx_burst(p->port[port].ethdev, 0, pkts, max);
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

uint16_t ports_tx(void *ctx, uint16_t port, struct rte_mbuf **pkts, uint16_t n)
{
	struct ports *p = ctx;

	if (p->port[port].one_segment)
		flatten(pkts, n);
	if (p->port[port].offloads) /* some drivers want headers otherwise than others, and see to it here */
		n = rte_eth_tx_prepare(p->port[port].ethdev, 0, pkts, n);
	return rte_eth_tx_burst(p->port[port].ethdev, 0, pkts, n);
}
