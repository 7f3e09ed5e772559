/* SPDX-License-Identifier: BSD-3-Clause */
/* What mcast.c, mcast_report.c, igmp.c and mld.c share: the groups of a port and what is said of them. */
#ifndef CULVERT_NET_MCAST_PRIV_H
#define CULVERT_NET_MCAST_PRIV_H

#include "stack/base/list.h"
#include "stack/base/pool.h"
#include "stack/base/wheel.h"
#include "stack/net/mcast.h"

#define MCAST_FILTER_MAX 64u   /* sources of a group, all memberships together: no less than of one */
#define MCAST_MEMBERSHIPS 20u  /* of a socket, of IPv4: Linux's igmp_max_memberships */
#define MCAST_MEMBERSHIPS6 2048u /* of IPv6: about what Linux's optmem_max has room for */
#define MCAST_GROUPS_MAX 4096u

enum mcast_mode { MCAST_MODE_INCLUDE, MCAST_MODE_EXCLUDE };

/* RFC3376:3.2; with mode INCLUDE and no source: nothing is wanted. */
struct mcast_filter {
	uint8_t mode, n;
	uint8_t src[MCAST_FILTER_MAX][16];
};

/* A group of a port, as long as anybody has joined it, and then until routers know that nobody has. */
struct mcast_group {
	struct list node; /* in its port's list */
	struct list hash_node; /* what every packet to a group is looked up by */
	struct iface *iface;
	uint8_t addr[16];
	struct list members;
	uint16_t internal;           /* joined by the stack itself (solicited-node groups) */
	bool reported;               /* by us, last of all: so we say when we leave (RFC2236:3) */
	uint8_t changes_left;        /* of reports about a change (robustness) */
	struct mcast_filter known;   /* what routers were told, before the change that is being told */
	struct timer change;         /* its next report */
	struct timer answer;         /* to a query about the group */
	uint8_t asked_n;             /* about these sources; 0: about the group */
	uint8_t asked[MCAST_FILTER_MAX][16];
};

/* One family of a port. */
struct mcast_iface {
	struct iface *iface;
	struct list groups;
	uint64_t old_until_ns[2]; /* a querier of the version before was heard; of the one before that */
	uint8_t robustness;
	struct timer answer; /* to a general query */
};

enum mcast_record_type { MCAST_IS_IN = 1, MCAST_IS_EX, MCAST_TO_IN, MCAST_TO_EX, MCAST_ALLOW, MCAST_BLOCK };

struct mcast_record {
	uint8_t type, n;
	const uint8_t *group;
	const uint8_t (*src)[16];
};

/* A query as both families have it. */
struct mcast_query {
	unsigned age;        /* 0: IGMPv3 or MLDv2; 1: IGMPv2, MLDv1; 2: IGMPv1 */
	uint64_t max_ns;     /* answers come within */
	uint64_t interval_ns; /* of the querier */
	uint8_t robustness;
	bool general;
	uint8_t group[16];
	uint16_t n;
	const uint8_t *src; /* n addresses as on the wire */
};

/* mcast.c */
struct mcast_group *mcast_group_find(const struct iface *i, const uint8_t addr[16]);
/* What all that have joined want together (RFC3376:3.2). */
void mcast_group_filter(const struct mcast_group *g, struct mcast_filter *f);
bool mcast_filter_has(const struct mcast_filter *f, const uint8_t src[16]);
/* Nobody has it and nothing is left to say. */
void mcast_group_end(struct mcast_group *g);

/* mcast_report.c */
void mcast_report_init(struct mcast_iface *mi, struct iface *i);
void mcast_report_fini(struct mcast_iface *mi);
/* The group's filter is another than it was: tell. */
void mcast_report_change(struct mcast_group *g, const struct mcast_filter *before);
void mcast_report_query(struct mcast_iface *mi, const struct mcast_query *q);
/* Somebody else has reported the group: nobody need do it again, for old queriers (RFC2236:3). */
void mcast_report_heard(struct mcast_iface *mi, const uint8_t group[16]);
void mcast_report_group_init(struct mcast_group *g);
void mcast_report_group_fini(struct mcast_group *g);
/* The port's link came up: all anew. */
void mcast_report_up(struct mcast_iface *mi);
struct mcast_iface *mcast_iface_of(struct iface *i, bool v4);

/* igmp.c, mld.c: records to all routers that speak the present version, or one group in an older one's words. age as
 * in mcast_query. */
void igmp_records(struct iface *i, const struct mcast_record *r, unsigned n);
void igmp_old(struct iface *i, const uint8_t group[16], unsigned age, bool leave);
void mld_records(struct iface *i, const struct mcast_record *r, unsigned n);
void mld_old(struct iface *i, const uint8_t group[16], bool leave);

#endif
