/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of stack/net/ share. */
#ifndef CULVERT_NET_PRIV_H
#define CULVERT_NET_PRIV_H

#include <string.h>

#include "stack/base/list.h"
#include "stack/base/pool.h"
#include "stack/base/siphash.h"
#include "stack/base/wheel.h"
#include "stack/core/crew.h"
#include "stack/net/ip.h"
#include "stack/net/mcast_priv.h"

#define NEIGH_BUCKETS 256u
#define MCAST_BUCKETS 1024u
#define NEIGH_REACHABLE_NS 30000000000ull /* RFC4861:10, REACHABLE_TIME, */
#define NEIGH_RETRANS_NS 1000000000ull    /* RETRANS_TIMER */
#define ICMP_BUCKETS 256u
#define ICMP_EACH_NS 1000000000u /* ICMP errors to one destination: one a second, */
#define ICMP_EACH_BURST 6u       /* after so many at once */
#define ICMP_ALL_NS 1000000u     /* to all: a thousand a second */
#define ICMP_ALL_BURST 50u
#define FRAG_IDS 256u
#define NET_IFACES_MAX 64 /* devices and VLANs */
#define NET_ADDRS_MAX 256
#define NET_PMTUS 256u
#define REASS_BUCKETS 64u
#define REASS_SOURCES 256u
#define IP6_MTU_MIN 1280u
#define NET_ROUTES_MAX 1024u /* of a family */
#define NET_ROUTERS_MAX 16u
#define NET_PREFIXES_MAX 64u
#define NET_REDIRECTS_MAX 256u
#define NET_FOREVER UINT64_MAX

enum net_addr_state {
	ADDR_FREE,      /* the slot has none */
	ADDR_TENTATIVE, /* not ours yet: somebody else may have it */
	ADDR_PREFERRED,
	ADDR_DEPRECATED, /* for what uses it already, not for what begins */
	ADDR_DUPLICATE,  /* somebody else has it */
};

enum net_addr_origin { ADDR_CONFIGURED, ADDR_LINK_LOCAL, ADDR_AUTOCONF };

/* An address of ours. Slots stay where they are as long as they live: timers lie in them. */
struct net_addr {
	uint8_t addr[16];
	uint8_t prefix;
	uint8_t state;  /* enum net_addr_state */
	uint8_t origin; /* enum net_addr_origin */
	uint8_t sent;   /* probes, then announcements */
	uint8_t dad_counter; /* RFC7217:5: how many before it were somebody else's */
	struct port *port;
	struct engine *engine;
	struct timer dad;      /* probing and announcing */
	struct timer lifetime; /* ends being preferred, then valid */
	uint64_t preferred_until_ns, valid_until_ns;
	uint64_t conflict_ns; /* when somebody else last claimed it; 0: never */
};

#define net_for_each_addr(a, net)                                                                  \
	for (__typeof__(&(net)->addrs[0]) a = (net)->addrs; a < (net)->addrs + (net)->addrs_n; a++)   \
		if (a->state != ADDR_FREE)

static inline bool net_addr_usable(const struct net_addr *a)
{
	return a->state == ADDR_PREFERRED || a->state == ADDR_DEPRECATED;
}

/* In this order: up to PROBE a packet just goes (output.c); DELAY and STALE send it too, and look at what it
 * tells (RFC4861:7.3.2). */
enum neigh_state { NEIGH_REACHABLE, NEIGH_PROBE, NEIGH_DELAY, NEIGH_STALE, NEIGH_INCOMPLETE };

struct neigh {
	struct list hash_node;
	struct list age_node; /* among the stale, or the incomplete ones: oldest first */
	uint8_t addr[16];
	struct port *port;
	struct engine *engine;
	enum neigh_state state;
	uint16_t ether_type;
	uint8_t mac[6];
	uint8_t tries;
	bool held;           /* paths may hold it */
	bool router;         /* it says so */
	uint32_t datagrams;  /* in waiting; fragments behind the first one do not count */
	struct pktq waiting; /* IP packets without Ethernet header */
	struct timer timer;
};

/* What is known of a port besides, mostly from routers. */
struct iface {
	struct port *port;
	struct engine *engine;
	uint64_t reachable_ns, retrans_ns; /* of IPv6's neighbours: RFC4861:6.3.2 */
	uint32_t base_reachable_ms;        /* that reachable_ns was drawn from */
	uint16_t mtu6;                     /* 0: the port's */
	uint8_t hops;                      /* of packets whose sender says nothing of it */
	struct timer solicit;              /* of routers (RFC4861:6.3.7, RFC7559) */
	uint64_t solicit_ns;               /* until the next one */
	struct mcast_iface mcast[2];       /* IPv4's groups, IPv6's */
};

/* Of tokens: when the next one would fall due if each came just in time (ITU-T I.371's virtual scheduling). */
struct icmp_bucket {
	uint64_t due_ns;
};

/* What the workers' IP layers tell each other (crew.h). */
enum net_message {
	NET_MSG_PMTU = CREW_NET, /* a: the size, data and spare: the destination */
	NET_MSG_JOINED,          /* a: the port, data and spare: a group that has members on this worker */
	NET_MSG_LEFT,            /* the same: it has none any more */
	NET_MSG_DUPLICATE,       /* data and spare: an address that the first worker has found to be somebody else's */
};

struct pmtu {
	uint8_t addr[16];
	uint16_t mtu; /* 0: unused */
	bool cut;     /* routers are to cut what is as large as that: a link takes less */
	uint64_t until_ns;
};

struct net_route {
	struct ip_route to;
	uint64_t mask[2], value[2]; /* of the address as it lies in memory; of IPv4 its four bytes only */
	uint8_t words;
};

struct net_routes {
	unsigned n;
	struct net_route of[NET_ROUTES_MAX]; /* longest prefix first */
};

/* A default router that offered itself, or what is on the link, or the better next hop of one destination; each as
 * long as its lifetime says. */
struct nd_router {
	uint8_t addr[16];
	struct port *port; /* NULL: free */
	uint64_t until_ns;
	uint64_t failed_ns; /* when it last did not answer; 0: never */
};
struct nd_prefix {
	uint8_t prefix[16], bits;
	struct port *port;
	uint64_t until_ns;
};
struct nd_redirect {
	uint8_t dst[16], hop[16];
	struct port *port;
};

struct net {
	uint32_t gen; /* of paths; starts at 1 */
	uint16_t addrs_n; /* slots that were ever used */
	uint16_t locals4_n;
	/* The same once more for every packet's question "is it ours?", network order. */
	uint32_t locals4[NET_ADDRS_MAX];
	uint32_t broadcasts4[NET_ADDRS_MAX]; /* 0: that subnet has none */
	uint16_t ip_id;
	uint32_t frag_ids[FRAG_IDS]; /* frag.c */
	struct siphash_key frag_key;
	struct net_addr addrs[NET_ADDRS_MAX];
	struct iface ifaces[NET_IFACES_MAX];
	uint16_t ifaces_n;
	struct net_routes routes[2]; /* IPv4's, IPv6's */
	struct nd_router routers[NET_ROUTERS_MAX];
	struct nd_prefix onlinks[NET_PREFIXES_MAX];
	struct nd_redirect redirects[NET_REDIRECTS_MAX];
	unsigned routers_n, onlink_n, redirects_n; /* in use, not slots */
	unsigned router_next, redirect_next;
	struct timer ra_timer; /* ends what routers said */
	struct siphash_key key; /* of tables, and of interface identifiers: the same over restarts (engine.h, secret) */

	struct list buckets[NEIGH_BUCKETS];
	struct pool neighs;
	struct list stale, incomplete; /* neighbours that may go when there is no room: oldest first */
	uint32_t neigh_queue;
	uint32_t waiting_n, waiting_max; /* packets that wait for any neighbour */

	struct pool mcast_socks, mcast_members, mcast_groups;
	struct list mcast_buckets[MCAST_BUCKETS]; /* the groups of all ports */

	struct pktq loopback;
	struct icmp_bucket icmp_all, icmp_to[ICMP_BUCKETS];

	struct pmtu pmtus[NET_PMTUS];
	uint32_t pmtus_n;
	struct timer pmtu_timer;

	struct pool reass;
	struct list reass_buckets[REASS_BUCKETS];
	struct list reass_age; /* oldest first */
	uint32_t reass_mbufs, reass_mbufs_max;
	struct {
		uint32_t datagrams, mbufs;
	} reass_of[REASS_SOURCES]; /* of each source, by hash */
};

/* local.c */
/* The entry of our address, whatever its state; NULL if it is none of ours. */
struct net_addr *net_addr_find(struct net *net, const uint8_t addr[16]);
/* A new address; its probing begins if the port wants that, else it is announced. NULL: no room. */
struct net_addr *net_addr_add(struct engine *e, struct port *port, const uint8_t addr[16], uint8_t prefix,
	enum net_addr_origin origin);
void net_addr_drop(struct net_addr *a);
/* From the beginning: probing, or announcing what needs no probing. */
void net_addr_start(struct net_addr *a);
/* From now on so many ns; NET_FOREVER. */
void net_addr_lifetimes(struct net_addr *a, uint64_t preferred_ns, uint64_t valid_ns);
/* Somebody else has it, or claims so: given up while it is tentative, else defended. */
void net_addr_conflict(struct net_addr *a);
/* NET_MSG_DUPLICATE. */
void net_addr_message(struct engine *e, const struct crew_message *msg);
/* The address of a port to begin something with, as RFC6724:5 orders them; NULL if there is none. */
const uint8_t *net_source(const struct net *net, const struct port *port, const uint8_t dst[16]);

/* route.c */
void pmtu_init(struct engine *e);
/* mcast.c: NET_MSG_JOINED, NET_MSG_LEFT. On worker 0. */
void mcast_message(struct engine *e, const struct crew_message *msg);
/* What another worker has learned (NET_MSG_PMTU). */
void pmtu_message(struct engine *e, const struct crew_message *msg);

/* ra.c */
void ra_init(struct net *net);
void ra_iface_init(struct iface *i);
/* Asks for routers, until one has answered. */
void ra_solicit(struct iface *i);
/* What was learned from the port is forgotten. */
void ra_port_flush(struct engine *e, const struct port *port);
/* A router advertisement or redirect; m: parsed, data at the ICMPv6 header. Consumes m. */
void ra_input(struct engine *e, struct port *port, struct rte_mbuf *m);
void redirect_input(struct engine *e, struct port *port, struct rte_mbuf *m);
/* The port on which dst is, by a prefix of at least *bits, which becomes its length; NULL: none. */
struct port *ra_onlink(struct engine *e, const uint8_t dst[16], uint32_t ifindex, uint8_t *bits);
/* The port of the default router to use, and its address in *hop; NULL: there is none. */
struct port *ra_router(struct engine *e, uint32_t ifindex, const uint8_t **hop);
/* The better next hop that a router told us of, if any. */
void ra_redirected(struct engine *e, const uint8_t dst[16], struct port **port, const uint8_t **hop);
/* A neighbour does not answer, or is no router any more. */
void ra_neigh_failed(struct engine *e, const struct port *port, const uint8_t addr[16], bool no_router);

/* slaac.c */
/* An autonomous prefix was advertised (RFC4862:5.5.3). Seconds; UINT32_MAX: for ever. */
void slaac_prefix(struct engine *e, struct port *port, const uint8_t prefix[16], uint32_t preferred_s, uint32_t valid_s);
/* The address that was made is somebody else's: another one, if it may be. */
void slaac_again(struct net_addr *a);

/* neigh.c */
void neigh_init(struct net *net);
struct neigh *neigh_find(struct net *net, const struct port *port, const uint8_t addr[16]);
/* The entry of a next hop, made (and, if ask, asked for) when there is none; NULL when the table is
 * full of neighbours that are in use. */
struct neigh *neigh_get(struct engine *e, struct port *port, const uint8_t addr[16], bool ask);
/* Sends an IP packet to the neighbour, now or when it has answered. progress: struct ip_path's. Consumes m. */
void neigh_output(struct engine *e, struct neigh *n, struct rte_mbuf *m, uint32_t progress);
/* Its MAC was heard; confirmed: in answer, so it hears us, if we had asked. */
void neigh_learn(struct neigh *n, const uint8_t mac[6], bool confirmed);
/* Somebody says otherwise: what we know is used, and tested. */
void neigh_doubt(struct neigh *n);
/* Forgets all neighbours of a port. */
void neigh_port_flush(struct engine *e, const struct port *port);
/* Asks again at once for all of a port that have not answered. */
void neigh_port_ask(struct engine *e, const struct port *port);
void neigh_fini(struct engine *e);

/* arp.c */
/* Asks for n's MAC: everybody, or (unicast) n itself. False: none of our addresses can ask yet. */
bool arp_ask(struct neigh *n, bool unicast);
/* m: data at the ARP header. Consumes m. */
void arp_input(struct engine *e, struct port *port, struct rte_mbuf *m);
/* RFC5227:2.1.1, 2.3 */
void arp_probe(const struct net_addr *a);
void arp_announce(const struct net_addr *a);

/* nd.c */
enum { ND_OPT_SOURCE = 1, ND_OPT_TARGET = 2, ND_OPT_PREFIX = 3, ND_OPT_MTU = 5 };
#define ND_HOPS 255 /* RFC4861:7.1: what a router passed on is not believed */
/* The walk over a message's options; false: one is cut short or has no length. Each as it is asked for. */
struct nd_options {
	const uint8_t *mac;           /* source or target link-layer address; NULL: none */
	uint32_t mtu;                 /* 0: none */
	const uint8_t *prefixes[16];  /* prefix information options, whole */
	unsigned prefixes_n;
};
bool nd_options_parse(const struct rte_mbuf *m, uint32_t from, uint8_t mac_type, struct nd_options *o);
/* A router solicitation from src (:: without the option). */
void nd_solicit_routers(struct engine *e, struct port *port, const uint8_t src[16]);
/* As arp_ask(). */
bool nd_ask(struct neigh *n, bool unicast);
/* A neighbour solicitation or advertisement; m: parsed, data at the ICMPv6 header. Consumes m. */
void nd_input(struct engine *e, struct port *port, struct rte_mbuf *m);
/* Asks whether somebody has the address (RFC4862:5.4.2); says that we have it (RFC4861:7.2.6). */
void nd_probe(const struct net_addr *a);
void nd_announce(const struct net_addr *a);
/* ff02::1:ffXX:XXXX of addr */
void nd_solicited_node(uint8_t group[16], const uint8_t addr[16]);

/* mcast.c */
int mcast_init(struct net *net);
void mcast_fini(struct net *net);
/* The stack's own memberships; each ends with one leave. */
void mcast_join_internal(struct port *port, const uint8_t group[16]);
void mcast_leave_internal(struct port *port, const uint8_t group[16]);
/* Whether anybody on the port has joined; every host is in the group of all hosts. Of several workers the first one knows of
 * all members, the others of their own. */
bool mcast_is_member(const struct port *port, const uint8_t group[16]);

/* igmp.c, mld.c */
/* m: parsed, data at the message, its checksum still to be looked at (IGMP). Consumes m. */
void igmp_input(struct engine *e, struct port *port, struct rte_mbuf *m);
bool mld_is(uint8_t icmp6_type);
void mld_input(struct engine *e, struct port *port, struct rte_mbuf *m);

/* Every worker gets a copy of what all must know (crew.h): the first one counts it. */
static inline void net_count_once(const struct engine *e, uint64_t *counter)
{
	*counter += e->worker == 0;
}

/* output.c */
void eth_output(struct engine *e, struct port *port, struct rte_mbuf *m, const uint8_t mac[6],
	uint16_t type);
/* The MAC of everybody or of a group. */
void eth_group_mac(uint8_t mac[6], const uint8_t dst[16]);
/* Puts the IP header before m, whose L4 checksum is done or delegated, and sends it. next: what
 * follows the header; frag4: IPv4's flags and offset, host order. */
struct ip_emit {
	const struct ip_path *path;
	const uint8_t *src, *dst;
	uint8_t next, tos, ttl;
	uint16_t frag4, id4;
};
int ip_emit(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m);
/* The 16-bit ones' complement sum of a larger one. */
static inline uint16_t cksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
/* The same of n whole words. */
static inline uint16_t cksum_words(const void *data, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t word;

		memcpy(&word, (const uint8_t *)data + 4 * i, 4);
		sum += word;
	}
	return cksum_fold(sum);
}
/* The same of any bytes, at most 2^32: words side by side in wide registers (RFC1071:2 (C)). */
uint16_t cksum_bytes(const void *data, size_t len);
/* The Internet checksum of m from off on, plus sum; folded, not inverted. */
uint16_t mbuf_cksum(const struct rte_mbuf *m, uint32_t off, uint32_t sum);
/* Folded sum of the pseudo header. */
uint32_t pseudo_cksum(const uint8_t src[16], const uint8_t dst[16], uint8_t proto, uint32_t len);

/* gso.c */
/* Cuts a super-segment, a whole frame, into at most `most` frames in out; returns how many. Consumes it. */
uint16_t gso_cut(struct engine *e, struct port *port, struct rte_mbuf *whole, struct rte_mbuf **out,
	uint16_t most);

/* input.c */
/* What the port says or we compute of the checksum at m's data. */
bool l4_cksum_ok(const struct port *port, struct rte_mbuf *m, const struct pkt *p);

/* ipv6.c */
/* m: data at the IPv6 header. Returns m with data at the payload and struct pkt filled, or NULL. */
struct rte_mbuf *ipv6_parse(struct engine *e, const struct port *port, struct rte_mbuf *m);

/* frag.c */
void frag_init(struct engine *e);
/* Sends m in fragments; consumes it. */
int frag_output(struct engine *e, const struct ip_emit *how, struct rte_mbuf *m);

/* reass.c */
struct frag_id {
	uint32_t id;
	uint32_t off; /* bytes */
	bool more;
};
int reass_init(struct engine *e);
void reass_fini(struct engine *e);
/* A fragment: data at its payload, struct pkt filled. Returns the whole payload when this completed
 * it (struct pkt of the first fragment), else NULL. Consumes m. */
struct rte_mbuf *reass_input(struct engine *e, struct rte_mbuf *m, const struct frag_id *f);

/* icmp.c */
/* m: parsed, data at the ICMP header. Consumes m. port: NULL from ourselves. */
void icmp_input(struct engine *e, struct rte_mbuf *m);
void icmp6_input(struct engine *e, struct port *port, struct rte_mbuf *m);

/* icmp_error.c */
/* Reports an error about m; whole: data at the IP header, else at the payload. info: the second
 * word. Not consumed. Sends nothing where the RFCs forbid it. */
void icmp_error_send(struct engine *e, struct rte_mbuf *m, bool whole, uint8_t type, uint8_t code,
	uint32_t info);
/* m: an ICMP or ICMPv6 error; tells the protocol whose packet it quotes. Not consumed. */
void icmp_error_input(struct engine *e, struct rte_mbuf *m);
/* The next hop of a packet of ours, on port, did not answer. m: data at the IP header. Not consumed. */
void icmp_error_unreachable(struct engine *e, const struct port *port, struct rte_mbuf *m);

enum {
	ICMP_UNREACHABLE = 3,
	ICMP_PROTOCOL = 2,      /* code */
	ICMP_PORT = 3,          /* code */
	ICMP_FRAGMENTATION = 4, /* code */
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER = 12,
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_PARAMETER = 4,
	ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
	ICMP6_ROUTER_SOLICIT = 133,
	ICMP6_ROUTER_ADVERT = 134,
	ICMP6_SOLICIT = 135,
	ICMP6_ADVERT = 136,
	ICMP6_REDIRECT = 137,
	ICMP_CKSUM_OFF = 2,
};

#endif
