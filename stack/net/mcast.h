/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: which a socket has joined (ip(7), ipv6(7), RFC3678), and so which datagrams it gets; how it sends to them.
 *
 * Owns: a socket's memberships and its settings for sending to groups, the groups of each port, and, by igmp.c and
 * mld.c, what routers are told of them (RFC3376, RFC3810). Does not own: delivery. Called by: the datagram protocols.
 */
#ifndef CULVERT_NET_MCAST_H
#define CULVERT_NET_MCAST_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/api/option.h"
#include "stack/core/engine.h"

struct mcast_sock; /* NULL: nothing but defaults */

/* -CV_ENOPROTOOPT when opt is none of these; else as Linux, error by error. family: enum cv_family of the socket. A
 * struct mcast_sock is made when it is needed: mcast_sock_end() ends all memberships and frees it. */
int mcast_setopt(struct engine *e, struct mcast_sock **ms, uint8_t family, enum cv_option opt, const void *value,
	uint32_t len);
/* CV_OPT_MCAST_FILTER: value holds what it is asked about (option.h). */
int mcast_getopt(struct engine *e, const struct mcast_sock *ms, uint8_t family, enum cv_option opt, void *value,
	uint32_t *len);
void mcast_sock_end(struct engine *e, struct mcast_sock **ms);

/* Whether a socket takes a datagram that came by port (pkt.port) from src to the group dst; to a broadcast address
 * every one does. */
bool mcast_wants(const struct mcast_sock *ms, uint16_t port, const uint8_t dst[16], const uint8_t src[16]);

/* What a socket has set for sending to a group of v4's family or the other. */
struct mcast_out {
	uint16_t ifindex; /* 0: as routes say */
	uint8_t ttl;
	bool loop; /* members of this engine get it, too: ip_path.no_loop */
};
struct mcast_out mcast_out(const struct mcast_sock *ms, bool v4);

#endif
