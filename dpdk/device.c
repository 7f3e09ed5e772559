/* SPDX-License-Identifier: BSD-3-Clause */
/* One device: which of its offloads are used, its queues and how it spreads flows over them, its
 * start. Called by ports.c when it opens a port. */
#include "dpdk/ports_priv.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <rte_ethdev.h>

#include "dpdk/log.h"
#include "stack/core/crew.h"

#define RX_DESC 512
#define TX_DESC 512
#define RSS_KEY_MOST 64

/* Whether a program's segment is out of the driver's reach: a real device sees what was mapped for
 * it, and virtio-user's other end what it was shown. The drivers named here read frames with the
 * processor. */
static bool needs_own_memory(const char *driver)
{
	static const char *const by_processor[] = {"net_tap", "net_memif", "net_af_packet",
		"net_af_xdp", "net_vhost", "net_pcap", "net_null"};

	for (size_t i = 0; i < sizeof(by_processor) / sizeof(by_processor[0]); i++)
		if (strcmp(driver, by_processor[i]) == 0)
			return false;
	return true;
}

/* The TAP driver sums in software, and wrongly over segments of odd length: the stack does it. */
static void offloads_choose(
	struct ports_port *q, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	const struct config_port *o = q->config;
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_CHECKSUM;
	const uint64_t tx4 = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

	conf->txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	/* What lies in a program's segment is not in the memory that a zero-copy memif shows to its
	 * other end. */
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

/* Who cuts super-segments. The TAP driver cuts in software, too, with wrong checksums and a pool of
 * its own. */
static void tso_choose(
	struct ports_port *q, const struct rte_eth_dev_info *info, struct rte_eth_conf *conf)
{
	/* Behind virtio somebody makes the IPv4 checksums of what he cuts without being asked. */
	const uint64_t needs =
		RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS |
		(strncmp(q->driver, "net_virtio", 10) == 0 ? 0 : RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);

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

/* As many as there are workers, if the device has them. A memif's other end gives out its frames as
 * it likes, and a queue that it has not made must not be polled. */
static uint16_t queues_choose(
	const struct ports *p, const struct ports_port *q, const struct rte_eth_dev_info *info)
{
	uint16_t n = memif_is(q->config->device) ? 1 : p->workers;

	n = n < info->max_rx_queues ? n : info->max_rx_queues;
	n = n < info->max_tx_queues ? n : info->max_tx_queues;
	return n > 0 ? n : 1;
}

/* The key of crew.h: then a device's queue is mostly its flow's owner's. The TAP driver would do it
 * by rules for the kernel's traffic control; the kernel by itself brings a flow's frames by the
 * queue that its answers go by. */
static void rss_choose(struct ports_port *q, const struct rte_eth_dev_info *info,
	struct rte_eth_conf *conf, uint8_t *key)
{
	const uint64_t kinds = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP |
		RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;

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

	if (q->queues == 1 || q->tap || info->reta_size == 0 ||
		info->reta_size > RTE_ETH_RSS_RETA_SIZE_512)
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

static int queues_setup(struct ports_port *q, struct rte_mempool *pool, uint16_t rxd, uint16_t txd,
	const char **step)
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

/* An interface of the kernel's is in programs' lists already. */
void ports_name_show(struct port *s)
{
	if (s->ifindex >= IFINDEX_OWN || if_indextoname(s->ifindex, s->shown) == NULL)
		snprintf(s->shown, sizeof(s->shown), "%.*s", (int)sizeof(s->shown) - 1, s->name);
}

int ports_device_start(
	struct ports *p, struct ports_port *q, struct rte_mempool *pool, const char **step)
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
	q->own_memory = needs_own_memory(q->driver);
	offloads_choose(q, &info, &conf);
	tso_choose(q, &info, &conf);
	if (q->config->pci && (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_VLAN_INSERT)) {
		conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
		q->stack.tx_vlan = true;
	}
	q->stack.ifindex = (uint16_t)(info.if_index > 0 && info.if_index < IFINDEX_OWN
					      ? info.if_index
					      : IFINDEX_OWN + q->stack.id);
	ports_name_show(&q->stack);
	q->offloads = q->stack.tx_l4_cksum || q->stack.tx_ip_cksum;
	conf.intr_conf.rxq = q->tap || q->config->pci;
	/* The TAP driver (22.11) claims to tell, keeps its state by netlink, and calls nobody. */
	q->link_told =
		!q->tap && info.dev_flags != NULL && (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
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
	rte_eth_allmulticast_enable(q->ethdev); /* groups are sorted out by the stack; some devices
						   have no other mode */
	rte_eth_macaddr_get(q->ethdev, &mac);
	memcpy(q->stack.mac, mac.addr_bytes, 6);
	/* The kernel's end of the TAP has the driver's address. With one address for both, each
	 * would find its IPv6 link-local address taken by the other. */
	if (q->tap)
		q->stack.mac[5] ^= 1;
	return 0;
}
