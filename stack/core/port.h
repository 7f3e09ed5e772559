/* SPDX-License-Identifier: BSD-3-Clause */
/* A port as the stack sees it: addresses, limits, what the device does for us, and this turn's frames.
 * Filled by whoever opens the device (dpdk/, tests) before engine_port_add(). */
#ifndef CULVERT_CORE_PORT_H
#define CULVERT_CORE_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

#include "stack/base/list.h"

#define PORTS_MAX 16
#define PORT_TX_BATCH 64
#define PORT_GSO_SEGMENTS 32u /* of a super-segment that is cut in software */
#define PORT_TX_QUEUE (PORT_TX_BATCH + 2 * PORT_GSO_SEGMENTS)
#define PORT_TX_RETRY_NS 10000u /* a device without room is asked again after so long */
#define PORT_ADDRS_MAX 16

/* What becomes of a TCP segment that is larger than the path's MSS: one header before the payload of many
 * segments (a super-segment), so that TCP's own work is done once for all of them. */
enum port_tso {
	PORT_TSO_NONE,    /* the port takes none: TCP cuts at the MSS */
	PORT_TSO_DEVICE,  /* the device cuts it: RTE_ETH_TX_OFFLOAD_TCP_TSO */
	PORT_TSO_SOFTWARE, /* it is cut just before the device (stack/net/gso.c) */
	PORT_TSO_TRUSTED, /* it leaves whole: what is at the other end takes it (tso=trusted-link) */
};

struct port_addr {
	uint8_t addr[16]; /* network order, IPv4 mapped */
	uint8_t prefix;   /* IPv4's /n is 96 + n */
};

struct iface; /* what stack/net/ knows of a port besides */

struct port {
	char name[32];
	char shown[16];   /* what programs call it: the kernel's name of the device, or else ours; empty: ours */
	uint16_t id;      /* for env.rx and env.tx; of a VLAN's port, any other number */
	uint16_t ifindex; /* what programs call it by (scope ids, IP_PKTINFO ...); 0: net_port_add() gives it one */
	uint8_t mac[6];
	bool up;
	/* A VLAN's port lies on another one, whose frames, link and device are its own too; net_port_add() makes a
	 * device's port its own device. */
	struct port *device;
	struct port *next_vlan; /* of a device: the VLANs' ports on it */
	struct iface *iface;
	bool dad4, dad6; /* addresses are tested before they are used (RFC5227, RFC4862:5.4) */
	bool autoconf6;  /* routers are asked for addresses and routes (RFC4861:6.3, RFC4862:5.5) */
	struct port_addr addr[PORT_ADDRS_MAX];
	uint8_t addrs_n;
	bool has_gateway, has_gateway6;
	uint8_t gateway[16], gateway6[16];
	uint16_t mtu;  /* of IP, bytes */
	uint16_t vlan; /* tag of its frames; 0: untagged */
	bool tx_vlan;  /* the device puts the tag in */
	bool tx_ip_cksum, tx_l4_cksum; /* the device fills them in */
	bool rx_cksum;                 /* the device's verdict in ol_flags can be believed */
	bool trusted;                  /* checksum=trusted-link: neither made nor checked */
	enum port_tso tso;
	uint16_t tso_max; /* of a super-segment: bytes of IP, header included; with PORT_TSO_NONE unused */
	/* Frames for the device: this turn's, and before them what it had no room for last time. */
	struct rte_mbuf *tx[PORT_TX_QUEUE];
	uint16_t tx_n;
	bool tx_full;           /* it had no room when it was last asked, */
	uint64_t tx_full_ns;    /* and since then it has taken nothing */
	struct list tx_waiting; /* sockets (sock.output_node) that have more for it */
};

#endif
