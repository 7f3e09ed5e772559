/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP (RFC768, RFC1122:4.1). Owns struct udp_sock, the table of bound ports, and what a datagram's
 * way in and out costs. Called by: the composition root, stack/sock/ through udp_proto.
 */
#ifndef CULVERT_UDP_UDP_H
#define CULVERT_UDP_UDP_H

#include "stack/net/ip.h"
#include "stack/net/mcast.h"
#include "stack/sock/sock.h"

/* Options that are on or off. */
enum udp_flag {
	UDP_RECVERR4 = 1u << 0, /* IP_RECVERR: errors about IPv4 packets are queued, with what they quote */
	UDP_RECVERR6 = 1u << 1,
	UDP_BROADCAST = 1u << 2,
	UDP_CORK = 1u << 3,
	UDP_GRO = 1u << 4,
	UDP_RXQ_OVFL = 1u << 5,
	UDP_TIMESTAMP = 1u << 6, /* either of both */
	UDP_DONTFRAG6 = 1u << 7, /* IPV6_DONTFRAG */
	UDP_BOUND_ADDR = 1u << 8, /* by bind, not by connect */
	UDP_BOUND_PORT = 1u << 9,
	UDP_TIMESTAMPNS = 1u << 10,
	UDP_PINNED = 1u << 11, /* crew.h */
	/* Only told: the library makes these control messages of what every datagram has with it. */
	UDP_PKTINFO4 = 1u << 16,
	UDP_PKTINFO6 = 1u << 17,
	UDP_RECVTTL = 1u << 18,
	UDP_RECVTOS = 1u << 19,
	UDP_RECVHOPS = 1u << 20,
	UDP_RECVTCLASS = 1u << 21,
	UDP_ORIGDST4 = 1u << 22,
	UDP_ORIGDST6 = 1u << 23,
};

/* Everything that one datagram goes out with. */
struct udp_how {
	struct cv_endpoint to;
	uint8_t src[16];
	struct udp_path *by;
	uint16_t segment; /* UDP_SEGMENT: the bytes of each datagram that it is cut into, 0: it is one */
	uint8_t tos, ttl;
};

/* A path that a datagram took, and how; kept for the next one to the same address. */
struct udp_path {
	struct ip_path path;
	bool plain; /* nothing has to be asked again as long as the path is valid and no option was set */
	uint8_t tos, ttl;
};

struct udp_sock {
	struct sock sk;        /* first */
	struct list port_node; /* in its port's bucket while bound */
	struct udp_path peer;  /* while there is one */
	uint32_t flags;        /* enum udp_flag */
	uint32_t drops;        /* datagrams that found the receive queue full */
	uint8_t tos, tclass, ttl;
	uint8_t mtu_discover, mtu_discover6; /* Linux's IP_PMTUDISC_* */
	uint16_t segment;                    /* UDP_SEGMENT */
	uint16_t device;                     /* SO_BINDTODEVICE: ifindex, 0: any */
	int16_t hops;                        /* IPV6_UNICAST_HOPS; -1: as the path has it */
	struct mcast_sock *mcast;            /* NULL: no memberships, no settings */
	/* Where the last datagram to an address of its own went: servers often send there again. */
	struct {
		uint8_t dst[16], src[16];
		bool src_chosen; /* by the route, not by the user */
		uint16_t ifindex;
		struct udp_path to;
	} last;
	/* UDP_CORK, MSG_MORE: a datagram that is not complete yet, and how it will leave. */
	struct list corked; /* txbuf.node */
	uint32_t corked_bytes;
	struct udp_how corked_how; /* its path is asked for anew when it leaves: by this port, */
	uint16_t corked_ifindex;
	bool corked_no_loop; /* and as the first part's was (struct ip_path) */
	struct pktq errors; /* struct cv_error_report and what was quoted, oldest first */
};

int udp_init(struct engine *e);
void udp_fini(struct engine *e);
/* -CV_ENOBUFS when the limit is reached. */
int udp_open(struct engine *e, uint8_t family, struct sock **out);
void udp_input(struct engine *e, struct rte_mbuf **pkts, uint16_t n);
void udp_icmp_error(struct engine *e, const struct icmp_error *err);
uint32_t udp_count(const struct engine *e);

#endif
