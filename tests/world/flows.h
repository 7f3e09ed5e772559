/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bulk senders between two engines through one bottleneck (world.h), each with its congestion control. Rates are of the
 * payload that arrived, against what the bottleneck could have carried; CONGESTION_STORY in the environment: what
 * became of them. Called by: tests/world/tcp_congestion.c, tcp_sharing.c.
 */
#ifndef CULVERT_TESTS_FLOWS_H
#define CULVERT_TESTS_FLOWS_H

#include "tests/world/world.h"

#define FLOWS_MAX 4
#define MSS 1448u
#define FRAME (MSS + 66u) /* with its headers */
#define STEP (2 * MS)
#define MBIT 1000000ull

struct flow {
	struct sock *out, *in;
	uint64_t got;
	bool quiet; /* has nothing to send now */
};

struct path {
	struct world *w;
	struct sock *listener;
	struct flow flow[FLOWS_MAX];
	unsigned n;
};

struct path path_over(const struct world_link *link, uint16_t mtu);
/* rate in bits a second, rtt in ns, the queue in bytes, and from how many of them on it marks (0: never). */
struct path path_new(uint64_t rate, uint64_t rtt, uint64_t queue, uint64_t mark);
void path_run(struct path *p, uint64_t ns);
void path_end(struct path *p);
/* Bytes of a bandwidth-delay product. */
uint64_t bdp(uint64_t rate, uint64_t rtt);
struct flow *flow_open(struct path *p, const char *algorithm);
/* Payload of a flow in the next ns, in bits a second. */
uint64_t flow_rate(struct path *p, struct flow *f, uint64_t ns);
void flow_story(const struct path *p, const struct flow *f);
/* EAL for a test program, with buffers for twice the longest path and its queue. */
void flows_begin(const char *name);

#endif
