/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP (RFC768, RFC1122:4.1). Owns struct udp_sock, the table of bound ports, and what a datagram's
 * way in and out costs. Called by: the composition root, stack/sock/ through udp_proto.
 */
#ifndef CULVERT_UDP_UDP_H
#define CULVERT_UDP_UDP_H

#include "stack/net/ip.h"
#include "stack/sock/sock.h"

struct udp_sock {
	struct sock sk;        /* first */
	struct list port_node; /* in its port's bucket while bound */
	struct ip_path path;   /* to the peer, while there is one */
	/* Where the last datagram to an address of its own went: servers often send there again. */
	struct {
		uint8_t dst[16], src[16];
		struct ip_path path;
	} last;
	uint8_t tos, ttl;
	uint8_t mtu_discover; /* Linux's IP_PMTUDISC_* */
	bool broadcast;
	bool bound_addr, bound_port; /* by bind, not by connect */
};

int udp_init(struct engine *e);
void udp_fini(struct engine *e);
/* -CV_ENOBUFS when the limit is reached. */
int udp_open(struct engine *e, uint8_t family, struct sock **out);
void udp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n);
void udp_icmp_error(struct engine *e, const struct icmp_error *err);
uint32_t udp_count(const struct engine *e);

#endif
