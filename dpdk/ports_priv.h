/* SPDX-License-Identifier: BSD-3-Clause */
/* What eal.c, ports.c, device.c, link.c and queues.c share of the ports. */
#ifndef CULVERT_DPDK_PORTS_PRIV_H
#define CULVERT_DPDK_PORTS_PRIV_H

#include <rte_ethdev.h>
#include <rte_ether.h>

#include "dpdk/ports.h"

/* Interface numbers of our own, for ports that are no interface of the kernel's. */
#define IFINDEX_OWN 0x8000u

#define FRAME_HEADER (RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 2 * RTE_VLAN_HLEN)

/* eal.c: bytes of the largest frame that comes or goes by a port. */
uint32_t ports_frame_bytes(const struct config_port *o);
/* Bytes of a packet buffer, and how many there are. */
uint32_t ports_buffer_room(const struct config *c);
uint64_t ports_buffers(const struct config *c);
/* device.c: configures and starts the device of q. 0, or a negative errno, with what failed in *step. */
int ports_device_start(struct ports *p, struct ports_port *q, struct rte_mempool *pool, const char **step);
/* Gives the port the name that programs know it by; it has its number and its own name. */
void ports_name_show(struct port *s);
/* link.c: a driver's callback; arg is the port. */
int ports_link_event(uint16_t ethdev, enum rte_eth_event_type type, void *arg, void *ret);
/* queues.c: rings for the frames of workers without a queue. 0, -1: no memory. */
int ports_lent_prepare(struct ports *p, struct ports_port *q);

#endif
