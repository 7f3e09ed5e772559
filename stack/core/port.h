/* SPDX-License-Identifier: BSD-3-Clause */
/* A port as the stack sees it: addresses, limits, what the device does for us, and this turn's frames.
 * Filled by whoever opens the device (dpdk/, tests) before engine_port_add(). */
#ifndef CULVERT_CORE_PORT_H
#define CULVERT_CORE_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

#define PORTS_MAX 16
#define PORT_TX_BATCH 64
#define PORT_ADDRS_MAX 4

struct port_addr {
	uint8_t addr[16]; /* network order, IPv4 mapped */
	uint8_t prefix;   /* IPv4's /n is 96 + n */
};

struct port {
	char name[32];
	uint16_t id; /* for env.rx and env.tx */
	uint8_t mac[6];
	bool up;
	struct port_addr addr[PORT_ADDRS_MAX];
	uint8_t addrs_n;
	bool has_gateway, has_gateway6;
	uint8_t gateway[16], gateway6[16];
	uint16_t mtu;  /* of IP, bytes */
	uint16_t vlan; /* 0: untagged */
	bool tx_ip_cksum, tx_l4_cksum; /* the device fills them in */
	bool rx_cksum;                 /* the device's verdict in ol_flags can be believed */
	bool trusted;                  /* checksum=trusted-link: neither made nor checked */
	/* this turn's frames */
	struct rte_mbuf *tx[PORT_TX_BATCH];
	uint16_t tx_n;
};

#endif
