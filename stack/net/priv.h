/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of stack/net/ share. */
#ifndef CULVERT_NET_PRIV_H
#define CULVERT_NET_PRIV_H

#include "stack/base/list.h"
#include "stack/base/pool.h"
#include "stack/base/wheel.h"
#include "stack/net/ip.h"

#define NEIGH_BUCKETS 256u
#define NET_ICMP_PER_SECOND 1000u

enum neigh_state { NEIGH_INCOMPLETE, NEIGH_REACHABLE, NEIGH_PROBE };

struct neigh {
	struct list hash_node;
	uint8_t addr[16];
	struct port *port;
	struct engine *engine;
	enum neigh_state state;
	uint8_t mac[6];
	uint8_t tries;
	bool used; /* since the last look */
	struct pktq waiting; /* IP packets without Ethernet header */
	struct timer timer;
};

struct net {
	uint32_t gen; /* of paths; starts at 1 */
	struct list buckets[NEIGH_BUCKETS];
	struct pool neighs;
	uint32_t neigh_queue;
	struct pktq loopback;
	uint64_t icmp_second;
	uint32_t icmp_sent;
	uint16_t ip_id;
};

/* neigh.c */
/* The entry of a next hop, made when there is none; NULL when the table is full. */
struct neigh *neigh_get(struct engine *e, struct port *port, const uint8_t addr[16]);
/* Sends an IP packet to the neighbour, now or when it has answered. Consumes m. */
void neigh_output(struct engine *e, struct neigh *n, struct rte_mbuf *m);
/* m: data at the ARP header. Consumes m. */
void arp_input(struct engine *e, struct port *port, struct rte_mbuf *m);
void arp_announce(struct engine *e, struct port *port, const uint8_t addr[16]);
void neigh_fini(struct engine *e);

/* output.c */
void eth_output(
	struct engine *e, struct port *port, struct rte_mbuf *m, const uint8_t mac[6], uint16_t type);
/* The Internet checksum of m from off on, plus sum; folded, not inverted. */
uint16_t mbuf_cksum(const struct rte_mbuf *m, uint32_t off, uint32_t sum);
/* Folded sum of the pseudo header. */
uint32_t pseudo_cksum(const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t len);

/* icmp.c */
/* m: parsed, data at the ICMP header. Consumes m. */
void icmp_input(struct engine *e, struct rte_mbuf *m);

#endif
