/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IP: from frames to parsed packets, from segments to frames; ARP, neighbour discovery, ICMP,
 * routes, fragments, and the way back to ourselves. Both families: IPv4 addresses are mapped ones
 * throughout, and mapped addresses in an IPv6 header are refused, so that neither can pass for the
 * other.
 *
 * Owns: struct net (our addresses, neighbours, path MTUs, reassembly, loopback queue, ICMP rate
 * limit). Does not own: ports, L4. Called by: stack/core/ (input), the L4 protocols (output), the
 * composition root. RFC 791, 792, 826, 1122, 1191, 4291, 4443, 4861, 4862, 5227, 5722, 6724,
 * 8200, 8201.
 */
#ifndef CULVERT_NET_IP_H
#define CULVERT_NET_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/api/error.h"
#include "stack/core/engine.h"
#include "stack/core/pkt.h"

#define IP_HEADER_V4 20
#define IP_HEADER_V6 40
#define IP_TTL_DEFAULT 64
#define IP_LOOPBACK_MTU 65535
#define IP_PAYLOAD_MAX_V4 65515u /* bytes behind the header of one packet, fragments together */
#define IP_PAYLOAD_MAX_V6 65535u

/* Where packets to one destination go: the answer of a route and neighbour look-up, kept as long as
 * the generation is the present one. Zero it to forget. */
struct ip_path {
	uint32_t gen;
	uint16_t mtu;      /* of the port */
	uint16_t pmtu;     /* of the whole path as far as known: at most mtu */
	bool local;        /* the destination is one of our own addresses */
	bool may_fragment; /* the sender's wish, set behind each ip_path_resolve(): larger packets
			      are cut */
	bool cut : 1;      /* a link of it takes less than we go down to: routers are to cut (IPv4) */
	bool no_loop : 1;  /* the sender's: members of this engine get nothing of what goes to a group */
	bool no_df;        /* routers may cut, too (IPv4): at first as `cut`, then the sender's wish */
	/* When what was sent along it was last acknowledged by the other end (ip_progress_now()), which is how the
	 * next hop is known to be alive (RFC4861:7.3.1); 0: never. The sender's to set. */
	uint32_t progress;
	struct port *port;
	struct neigh *neigh; /* NULL: everybody, or a group */
};

/* The TTL or hop limit of a packet to dst whose sender wishes none: 64, or what routers of the path's port say for IPv6
 * (RFC4861:6.3.4). Of a path that is not resolved it is 64. */
uint8_t ip_hops(const struct ip_path *path, const uint8_t dst[16]);

/* Now, as struct ip_path's progress has it: about milliseconds. */
#define IP_PROGRESS_SHIFT 20
static inline uint32_t ip_progress_now(const struct engine *e)
{
	return (uint32_t)(e->now_ns >> IP_PROGRESS_SHIFT);
}

/* What an ICMP error says about a packet of ours (RFC792, RFC4443, RFC1122:3.2.2). */
struct icmp_error {
	enum cv_error error;            /* what a connected user is told */
	bool hard;                      /* protocol or port unreachable */
	uint16_t mtu;                   /* fragmentation needed: the next hop's MTU, else 0 */
	struct cv_endpoint local, peer; /* of the packet that we had sent */
	uint32_t seq;                   /* first 4 bytes behind the ports (TCP's sequence number) */
	uint16_t port; /* pkt.port of the message */
	/* As the message has them, for users who read them. */
	uint8_t type, code;
	uint16_t quote_len;   /* bytes behind the first 8 of the L4 header */
	uint32_t info;        /* too big: the MTU; parameter problem: the pointer */
	uint8_t offender[16]; /* who sent the message */
	const uint8_t *quote;
};

int net_init(struct engine *e);
void net_fini(struct engine *e);

/* Adds a device's port (the engine keeps the pointer). Its addresses are probed where the port wants that
 * (dad4, dad6), then announced. A port with an IPv6 address gets a link-local one besides. 0, -CV_ENOBUFS when there are too many. */
int net_port_add(struct engine *e, struct port *port);
/* Adds a VLAN's port, whose vlan is the tag, on a device's port that was added before; it takes over what the device
 * does for us. The same errors. */
int net_vlan_add(struct engine *e, struct port *device, struct port *vlan);
/* By pkt.port; by what programs call it; by either of its names, which is not empty. NULL: there is none. */
struct port *net_port_by_id(const struct engine *e, uint16_t id);
struct port *net_port_by_ifindex(const struct engine *e, uint32_t ifindex);
struct port *net_port_by_name(const struct engine *e, const char *name);
/* The port's link-local address, without its scope. */
void net_link_local(uint8_t addr[16], const struct port *port);
/* The i-th address that was made of a router's prefix and is in use, and its port; NULL: there are not so many.
 * net_generation() changes when any of them does. */
const struct port *net_address_made(const struct engine *e, unsigned i, uint8_t addr[16]);
uint32_t net_generation(const struct engine *e);
/* Whether an address is being tested for another owner (RFC5227, RFC4862:5.4), so that nobody can bind it yet. Those of a
 * port whose link is down do not count: their test has not begun. */
bool net_has_tentative(const struct engine *e);
/* The port's link came or went (sets port->up). Coming up: addresses are announced and the
 * neighbours are asked again. Connections stay. Without effect when nothing changed. */
void net_port_up(struct engine *e, struct port *port);
void net_port_down(struct engine *e, struct port *port);
/* The port's addresses or gateways were changed: take them over, announce what is new. */
int net_port_changed(struct engine *e, struct port *port);

/* A route of the configuration. */
struct ip_route {
	uint8_t prefix[16], bits; /* IPv4's /n is 96 + n */
	enum ip_route_kind { IP_ROUTE_VIA, IP_ROUTE_UNREACHABLE, IP_ROUTE_BLACKHOLE, IP_ROUTE_PROHIBIT } kind;
	struct port *port; /* NULL: on which the gateway is */
	bool has_gateway;  /* else all of it is on the link */
	uint8_t gateway[16];
	uint16_t mtu; /* 0: the port's */
};
/* -CV_ENOBUFS when there are too many. The most specific one wins, as long as its port is up; those that are not
 * IP_ROUTE_VIA give what Linux gives: EHOSTUNREACH, EINVAL, EACCES. */
int net_route_add(struct engine *e, const struct ip_route *r);

/* Frames of one port, owned by the callee. */
void net_input(struct engine *e, struct port *port, struct rte_mbuf **pkts, uint16_t n);
/* What other workers handed over, as it lies in a ring (crew.h); at most ENGINE_BURST. */
void net_crew_input(struct engine *e, const uint64_t *words, uint32_t n);
/* What another worker's IP layer says. */
void net_crew_message(struct engine *e, const struct crew_message *msg);
/* Packets that turned round; returns how many. */
uint32_t net_loopback_input(struct engine *e);
bool net_has_loopback(const struct engine *e);

/* True for an address of the engine itself that can be used now. */
bool ip_is_local(const struct engine *e, const uint8_t addr[16]);
/* 255.255.255.255, or the broadcast address of a subnet that we are on. */
bool ip_is_broadcast(const struct engine *e, const uint8_t addr[16]);
/* What the wildcard address means as a destination: ourselves, in addr's family. Left as it is when
 * we have no address of that family. */
void ip_self(const struct engine *e, uint8_t addr[16]);
/* Makes path valid for dst. src (16 bytes): chosen when it is the wildcard address, else kept; groups and 255.255.255.255
 * are then sent to by its port.
 * -CV_ENETUNREACH without a route, -CV_EADDRNOTAVAIL when a source of that family is missing,
 * -CV_EINVAL when src is a loopback address and dst is not ours. */
int ip_path_resolve(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16]);
/* The same by one port only: that which programs call ifindex; 0: any. -CV_ENODEV when there is none. */
int ip_path_resolve_via(struct engine *e, struct ip_path *path, const uint8_t dst[16], uint8_t src[16],
	uint32_t ifindex);
/* Whether the path still holds, so that what was chosen with it (the source) holds, too. */
bool ip_path_is_valid(const struct engine *e, const struct ip_path *path);
/* A router on the way to dst takes no more than mtu. Call when the ICMP error was checked against
 * what is under way; paths learn of it when they are next resolved (path.pmtu). */
void ip_pmtu_learn(struct engine *e, const uint8_t dst[16], uint16_t mtu);
/* Sends m (L4 header and payload, headroom for IP and Ethernet, L4 checksum field zero at
 * cksum_off) along a valid path. Consumes m. 0 or -CV_EMSGSIZE, -CV_ENOBUFS. A super-segment
 * (port.h) carries RTE_MBUF_F_TX_TCP_SEG, l4_len and tso_segsz. */
int ip_output(struct engine *e, const struct ip_path *path, struct rte_mbuf *m, uint8_t proto,
	uint8_t tos, uint8_t ttl, const uint8_t src[16], const uint8_t dst[16], uint16_t cksum_off);
/* Hands a finished frame to the port at the end of the turn. When the device has had no room for more than
 * a batch the frame is dropped: ask port->tx_full before making many. */
void port_send(struct engine *e, struct port *port, struct rte_mbuf *m);
void port_flush(struct engine *e, struct port *port);

/* For a parsed packet whose port nobody has: ICMP port unreachable, rate limited. m: data at the IP
 * payload; not consumed. */
void icmp_send_port_unreachable(struct engine *e, struct rte_mbuf *m);

#endif
