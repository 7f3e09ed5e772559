/* SPDX-License-Identifier: BSD-3-Clause */
/* Memberships of sockets and of the stack itself, and the groups of ports that they make; see mcast.h. */
#include "stack/net/mcast.h"

#include <stddef.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/net/mcast_priv.h"
#include "stack/net/priv.h"

#define TTL_DEFAULT 1u /* groups stay on the link unless asked: RFC1112:6.1 */

struct mcast_member {
	struct list node;       /* of the socket */
	struct list group_node; /* of the group */
	struct mcast_group *group;
	uint8_t mode, n;
	bool named; /* it has had a source: its mode stays */
	uint8_t src[CV_MCAST_SOURCES_MAX][16];
};

struct mcast_sock {
	struct list members;
	struct mcast_member *filter; /* of no group: the sources of a filter that is being said */
	uint16_t members_n[2]; /* of IPv4, of IPv6 */
	struct mcast_family {
		uint16_t ifindex;
		uint8_t ttl;
		bool loop, all;
	} of[2]; /* IPv4, IPv6 */
};

static const struct mcast_family defaults = {.ttl = TTL_DEFAULT, .loop = true, .all = true};

int mcast_init(struct net *net)
{
	if (pool_init(&net->mcast_socks, sizeof(struct mcast_sock), MCAST_GROUPS_MAX) != 0)
		return -CV_ENOMEM;
	if (pool_init(&net->mcast_members, sizeof(struct mcast_member), MCAST_GROUPS_MAX) != 0) {
		pool_fini(&net->mcast_socks);
		return -CV_ENOMEM;
	}
	if (pool_init(&net->mcast_groups, sizeof(struct mcast_group), MCAST_GROUPS_MAX) != 0) {
		pool_fini(&net->mcast_members);
		pool_fini(&net->mcast_socks);
		return -CV_ENOMEM;
	}
	for (unsigned i = 0; i < MCAST_BUCKETS; i++)
		list_init(&net->mcast_buckets[i]);
	return 0;
}

void mcast_fini(struct net *net)
{
	pool_fini(&net->mcast_groups);
	pool_fini(&net->mcast_members);
	pool_fini(&net->mcast_socks);
}

/* --- groups of ports ----------------------------------------------------------------------------- */

static struct list *bucket(struct net *net, const uint8_t addr[16])
{
	uint64_t words[2];

	memcpy(words, addr, sizeof(words));
	return &net->mcast_buckets[siphash13(&net->key, words, 2, 0) % MCAST_BUCKETS];
}

struct mcast_group *mcast_group_find(const struct iface *i, const uint8_t addr[16])
{
	list_for_each (node, bucket(i->engine->net, addr)) {
		struct mcast_group *g = list_entry(node, struct mcast_group, hash_node);

		if (g->iface == i && addr_equal(g->addr, addr))
			return g;
	}
	return NULL;
}

/* 224.0.0.1, ff02::1 */
static bool is_all_hosts(const struct port *port, const uint8_t group[16])
{
	uint8_t hosts[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224, 0, 0, 1}, nodes[16] = {0xff, 2, [15] = 1};

	addr_scope_set(nodes, port->ifindex);
	return addr_equal(group, addr_is_v4(group) ? hosts : nodes);
}

bool mcast_is_member(const struct port *port, const uint8_t group[16])
{
	const struct mcast_group *g;

	if (is_all_hosts(port, group))
		return true;
	g = mcast_group_find(port->iface, group);
	return g != NULL && (g->internal > 0 || !list_empty(&g->members));
}

bool mcast_filter_has(const struct mcast_filter *f, const uint8_t src[16])
{
	for (unsigned i = 0; i < f->n; i++) {
		if (addr_equal(f->src[i], src))
			return true;
	}
	return false;
}

static bool member_has(const struct mcast_member *m, const uint8_t src[16])
{
	for (unsigned i = 0; i < m->n; i++) {
		if (addr_equal(m->src[i], src))
			return true;
	}
	return false;
}

static bool member_wants(const struct mcast_member *m, const uint8_t src[16])
{
	return member_has(m, src) == (m->mode == MCAST_MODE_INCLUDE);
}

/* Any one that excludes makes the whole exclude what nobody wants; else it is all that somebody includes. What does
 * not fit is let through: members filter for themselves. */
void mcast_group_filter(const struct mcast_group *g, struct mcast_filter *f)
{
	const struct mcast_member *first = NULL;

	*f = (struct mcast_filter){.mode = g->internal > 0 ? MCAST_MODE_EXCLUDE : MCAST_MODE_INCLUDE};
	list_for_each(node, &g->members)
	{
		const struct mcast_member *m = list_entry(node, struct mcast_member, group_node);

		if (m->mode == MCAST_MODE_EXCLUDE && f->mode == MCAST_MODE_INCLUDE) {
			f->mode = MCAST_MODE_EXCLUDE;
			first = m;
		}
	}
	if (f->mode == MCAST_MODE_EXCLUDE) {
		for (unsigned i = 0; first != NULL && i < first->n; i++) {
			bool wanted = false;

			list_for_each(node, &g->members)
				wanted |= member_wants(
					list_entry(node, struct mcast_member, group_node), first->src[i]);
			if (!wanted)
				memcpy(f->src[f->n++], first->src[i], 16);
		}
		return;
	}
	list_for_each(node, &g->members)
	{
		const struct mcast_member *m = list_entry(node, struct mcast_member, group_node);

		for (unsigned i = 0; i < m->n; i++) {
			if (mcast_filter_has(f, m->src[i]))
				continue;
			if (f->n == MCAST_FILTER_MAX) {
				*f = (struct mcast_filter){.mode = MCAST_MODE_EXCLUDE};
				return;
			}
			memcpy(f->src[f->n++], m->src[i], 16);
		}
	}
}

void mcast_group_end(struct mcast_group *g)
{
	mcast_report_group_fini(g);
	list_del(&g->hash_node);
	pool_put(&g->iface->engine->net->mcast_groups, g);
}

static struct mcast_group *group_get(struct iface *i, const uint8_t addr[16])
{
	struct mcast_group *g = mcast_group_find(i, addr);

	if (g != NULL)
		return g;
	g = pool_get(&i->engine->net->mcast_groups);
	if (g == NULL)
		return NULL;
	memset(g, 0, sizeof(*g));
	g->iface = i;
	memcpy(g->addr, addr, 16);
	list_init(&g->members);
	list_add_head(bucket(i->engine->net, addr), &g->hash_node);
	mcast_report_group_init(g);
	return g;
}

void mcast_join_internal(struct port *port, const uint8_t addr[16])
{
	struct mcast_group *g = group_get(port->iface, addr);
	struct mcast_filter before;

	if (g == NULL)
		return;
	mcast_group_filter(g, &before);
	g->internal++;
	mcast_report_change(g, &before);
}

void mcast_leave_internal(struct port *port, const uint8_t addr[16])
{
	struct mcast_group *g = mcast_group_find(port->iface, addr);
	struct mcast_filter before;

	if (g == NULL || g->internal == 0)
		return;
	mcast_group_filter(g, &before);
	g->internal--;
	mcast_report_change(g, &before);
}

/* What is sent to groups comes to the first worker, which speaks to routers, too: it must know of
 * every member, if not of the sources that each wants. Neither may be lost: the first worker counts
 * them. member_add() refuses joins while many wait to be told, so that what is owed is at most one
 * JOINED of a turn and one LEFT for each group that this worker has joined. */
static void first_worker_tell(const struct mcast_group *g, enum net_message kind)
{
	struct engine *e = g->iface->engine;
	struct crew_message msg = {.kind = kind, .a = g->iface->port->id};

	if (cv_likely(e->worker == 0))
		return;
	memcpy(&msg.data, g->addr, 8);
	memcpy(&msg.spare, g->addr + 8, 8);
	(void)crew_send_owed(e, 0, &msg);
}

void mcast_message(struct engine *e, const struct crew_message *msg)
{
	struct port *port = net_port_by_id(e, (uint16_t)msg->a);
	uint8_t group[16];

	memcpy(group, &msg->data, 8);
	memcpy(group + 8, &msg->spare, 8);
	if (port == NULL)
		return;
	if (msg->kind == NET_MSG_JOINED)
		mcast_join_internal(port, group);
	else
		mcast_leave_internal(port, group);
}

/* --- memberships of sockets ---------------------------------------------------------------------- */

static struct mcast_sock *sock_get(struct engine *e, struct mcast_sock **ms)
{
	if (*ms == NULL) {
		*ms = pool_get(&e->net->mcast_socks);
		if (*ms != NULL) {
			**ms = (struct mcast_sock){.of = {defaults, defaults}};
			list_init(&(*ms)->members);
		}
	}
	return *ms;
}

static struct mcast_member *member_find(
	const struct mcast_sock *ms, const struct port *port, const uint8_t group[16])
{
	list_for_each(node, &ms->members)
	{
		struct mcast_member *m = list_entry(node, struct mcast_member, node);

		if (m->group->iface->port == port && addr_equal(m->group->addr, group))
			return m;
	}
	return NULL;
}

static int member_add(
	struct engine *e, struct mcast_sock *ms, struct port *port, const uint8_t group[16], enum mcast_mode mode)
{
	bool v4 = addr_is_v4(group);
	struct mcast_member *m;
	struct mcast_filter before;

	if (member_find(ms, port, group) != NULL)
		return -CV_EADDRINUSE;
	if (ms->members_n[!v4] == (v4 ? MCAST_MEMBERSHIPS : MCAST_MEMBERSHIPS6) || !crew_has_room(e))
		return -CV_ENOBUFS;
	m = pool_get(&e->net->mcast_members);
	if (m == NULL)
		return -CV_ENOBUFS;
	*m = (struct mcast_member){.group = group_get(port->iface, group), .mode = (uint8_t)mode};
	if (m->group == NULL) {
		pool_put(&e->net->mcast_members, m);
		return -CV_ENOBUFS;
	}
	mcast_group_filter(m->group, &before);
	if (list_empty(&m->group->members))
		first_worker_tell(m->group, NET_MSG_JOINED);
	list_add_tail(&ms->members, &m->node);
	list_add_tail(&m->group->members, &m->group_node);
	ms->members_n[!v4]++;
	if (mode == MCAST_MODE_EXCLUDE) /* else its first source says something */
		mcast_report_change(m->group, &before);
	return 0;
}

static void member_end(struct engine *e, struct mcast_sock *ms, struct mcast_member *m)
{
	struct mcast_group *g = m->group;
	struct mcast_filter before;

	mcast_group_filter(g, &before);
	list_del(&m->node);
	list_del(&m->group_node);
	ms->members_n[!addr_is_v4(g->addr)]--;
	pool_put(&e->net->mcast_members, m);
	if (list_empty(&g->members))
		first_worker_tell(g, NET_MSG_LEFT);
	mcast_report_change(g, &before);
}

static unsigned sources_max(const uint8_t group[16])
{
	return addr_is_v4(group) ? CV_MCAST_SOURCES_MAX4 : CV_MCAST_SOURCES_MAX;
}

/* A source more or less in a list of mode; errors as Linux's ip_mc_source(). */
static int member_source(struct engine *e, struct mcast_sock *ms, struct port *port, const struct cv_mreq *r,
	const uint8_t group[16], enum mcast_mode mode, bool add)
{
	struct mcast_member *m = member_find(ms, port, group);
	struct mcast_filter before;
	unsigned at = 0;

	if (m == NULL || (m->named && m->mode != mode))
		return -CV_EINVAL;
	mcast_group_filter(m->group, &before);
	while (at < m->n && !addr_equal(m->src[at], r->source))
		at++;
	if (add ? at < m->n : at == m->n)
		return -CV_EADDRNOTAVAIL;
	if (add && m->n >= sources_max(group))
		return -CV_ENOBUFS;
	if (!add && m->n == 1 && mode == MCAST_MODE_INCLUDE) {
		member_end(e, ms, m); /* nothing is left of it */
		return 0;
	}
	m->mode = (uint8_t)mode;
	m->named |= add;
	if (add)
		memcpy(m->src[m->n++], r->source, 16);
	else
		memcpy(m->src[at], m->src[--m->n], 16);
	mcast_report_change(m->group, &before);
	return 0;
}

static int filter_source(struct engine *e, struct mcast_sock *ms, const uint8_t source[16])
{
	if (ms->filter == NULL) {
		ms->filter = pool_get(&e->net->mcast_members);
		if (ms->filter == NULL)
			return -CV_ENOBUFS;
		ms->filter->n = 0;
	}
	if (ms->filter->n == CV_MCAST_SOURCES_MAX)
		return -CV_ENOBUFS;
	memcpy(ms->filter->src[ms->filter->n++], source, 16);
	return 0;
}

static void filter_forget(struct engine *e, struct mcast_sock *ms)
{
	if (ms->filter != NULL)
		pool_put(&e->net->mcast_members, ms->filter);
	ms->filter = NULL;
}

/* Another list and mode in the place of those before; to include nobody is to leave. Errors as Linux's ip_mc_msfilter() and
 * ip6_mc_msfilter(), of which the latter wants the interface named. */
static int filter_set(struct engine *e, struct mcast_sock *ms, struct port *port, const struct cv_mreq *r,
	const uint8_t group[16])
{
	struct mcast_member *m = member_find(ms, port, group);
	unsigned n = ms->filter != NULL ? ms->filter->n : 0;
	struct mcast_filter before;

	if (n != r->source[CV_MCAST_NUMBER_AT])
		return -CV_EINVAL;
	if (r->source[CV_MCAST_MODE_AT] == MCAST_MODE_INCLUDE && n == 0) {
		if (m == NULL)
			return -CV_EADDRNOTAVAIL;
		member_end(e, ms, m);
		return 0;
	}
	if (m == NULL || (r->ifindex == 0 && !addr_is_v4(group)))
		return -CV_EINVAL;
	if (n > sources_max(group))
		return -CV_ENOBUFS;
	mcast_group_filter(m->group, &before);
	m->mode = r->source[CV_MCAST_MODE_AT];
	m->named = n > 0;
	m->n = (uint8_t)n;
	if (n > 0)
		memcpy(m->src, ms->filter->src, 16 * n);
	mcast_report_change(m->group, &before);
	return 0;
}

/* The port that a request means: a number, or (0) where packets to the group go. */
static struct port *port_meant(struct engine *e, const struct cv_mreq *r)
{
	struct ip_path path = {0};
	uint8_t src[16] = {0};

	if (r->ifindex != 0)
		return net_port_by_ifindex(e, r->ifindex);
	return ip_path_resolve(e, &path, r->group, src) == 0 ? path.port : NULL;
}

/* Link-local groups are told apart by their port. */
static void group_on(uint8_t group[16], const struct cv_mreq *r, const struct port *port)
{
	memcpy(group, r->group, 16);
	if (addr_is_scoped(group))
		addr_scope_set(group, port->ifindex);
}

static int request(struct engine *e, struct mcast_sock *ms, struct port *port, enum cv_option opt,
	const struct cv_mreq *r, const uint8_t group[16])
{
	struct mcast_member *m;
	int ret;

	switch ((unsigned)opt) {
	case CV_OPT_MCAST_JOIN:
		return member_add(e, ms, port, group, MCAST_MODE_EXCLUDE);
	case CV_OPT_MCAST_LEAVE:
		m = member_find(ms, port, group);
		if (m == NULL)
			return -CV_EADDRNOTAVAIL;
		member_end(e, ms, m);
		return 0;
	case CV_OPT_MCAST_JOIN_SOURCE:
		ret = member_add(e, ms, port, group, MCAST_MODE_INCLUDE);
		if (ret != 0 && ret != -CV_EADDRINUSE)
			return ret;
		return member_source(e, ms, port, r, group, MCAST_MODE_INCLUDE, true);
	case CV_OPT_MCAST_LEAVE_SOURCE:
		return member_source(e, ms, port, r, group, MCAST_MODE_INCLUDE, false);
	case CV_OPT_MCAST_BLOCK_SOURCE:
		return member_source(e, ms, port, r, group, MCAST_MODE_EXCLUDE, true);
	case CV_OPT_MCAST_UNBLOCK_SOURCE:
		return member_source(e, ms, port, r, group, MCAST_MODE_EXCLUDE, false);
	default:
		return filter_set(e, ms, port, r, group);
	}
}

/* Without an interface, any membership of the group is left (Linux). */
static struct mcast_member *member_any(const struct mcast_sock *ms, const struct cv_mreq *r)
{
	list_for_each (node, &ms->members) {
		struct mcast_member *m = list_entry(node, struct mcast_member, node);
		uint8_t group[16];

		group_on(group, r, m->group->iface->port);
		if (addr_equal(group, m->group->addr))
			return m;
	}
	return NULL;
}

static int membership(
	struct engine *e, struct mcast_sock *ms, uint8_t family, enum cv_option opt, const struct cv_mreq *r)
{
	struct mcast_member *m;
	struct port *port;
	uint8_t group[16];

	if (family == CV_AF_INET && !addr_is_v4(r->group))
		return -CV_EINVAL;
	if (!addr_is_multicast(r->group)) /* IPv4 looks for the membership first, as Linux */
		return opt == CV_OPT_MCAST_LEAVE && addr_is_v4(r->group) ? -CV_EADDRNOTAVAIL : -CV_EINVAL;
	if (opt == CV_OPT_MCAST_FILTER && r->source[CV_MCAST_MODE_AT] > MCAST_MODE_EXCLUDE)
		return -CV_EINVAL;
	if (opt == CV_OPT_MCAST_LEAVE && r->ifindex == 0 && (m = member_any(ms, r)) != NULL) {
		member_end(e, ms, m);
		return 0;
	}
	port = port_meant(e, r);
	if (port == NULL)
		return -CV_ENODEV;
	group_on(group, r, port);
	return request(e, ms, port, opt, r, group);
}

static int filter_get(struct engine *e, const struct mcast_sock *ms, uint8_t family, void *value, uint32_t *len)
{
	struct cv_mcast_filter f;
	const struct mcast_member *m = NULL;
	struct cv_mreq r = {0};
	struct port *port;
	uint8_t group[16];

	if (*len < sizeof(f) + 16 * CV_MCAST_SOURCES_MAX)
		return -CV_EINVAL;
	memcpy(&r, value, offsetof(struct cv_mreq, source));
	if (!addr_is_multicast(r.group) || (family == CV_AF_INET && !addr_is_v4(r.group)))
		return -CV_EINVAL;
	port = port_meant(e, &r);
	if (port == NULL)
		return -CV_ENODEV;
	group_on(group, &r, port);
	if (ms != NULL)
		m = member_find(ms, port, group);
	if (m == NULL)
		return -CV_EADDRNOTAVAIL;
	f = (struct cv_mcast_filter){m->mode, m->n};
	memcpy(value, &f, sizeof(f));
	memcpy((uint8_t *)value + sizeof(f), m->src, 16u * m->n);
	*len = (uint32_t)sizeof(f) + 16u * m->n;
	return 0;
}

/* --- options ------------------------------------------------------------------------------------- */

static int setting(struct engine *e, struct mcast_family *f, enum cv_option opt, int v)
{
	switch ((unsigned)opt) {
	case CV_OPT_MULTICAST_TTL:
	case CV_OPT_MULTICAST_HOPS:
		if (v < -1 || v > 255)
			return -CV_EINVAL;
		f->ttl = (uint8_t)(v == -1 ? TTL_DEFAULT : (unsigned)v);
		return 0;
	case CV_OPT_MULTICAST_LOOP6:
	case CV_OPT_MULTICAST_ALL:
	case CV_OPT_MULTICAST_ALL6:
		if (v != 0 && v != 1)
			return -CV_EINVAL;
		*(opt == CV_OPT_MULTICAST_LOOP6 ? &f->loop : &f->all) = v != 0;
		return 0;
	case CV_OPT_MULTICAST_LOOP:
		f->loop = v != 0;
		return 0;
	default: /* CV_OPT_MULTICAST_IF, CV_OPT_MULTICAST_IF6 */
		if (v != 0 && (v < 0 || net_port_by_ifindex(e, (uint32_t)v) == NULL))
			return opt == CV_OPT_MULTICAST_IF ? -CV_EADDRNOTAVAIL : -CV_ENODEV;
		f->ifindex = (uint16_t)v;
		return 0;
	}
}

/* -1: none of these; else 0 for IPv4's, 1 for IPv6's */
static int setting_family(enum cv_option opt)
{
	switch ((unsigned)opt) {
	case CV_OPT_MULTICAST_TTL:
	case CV_OPT_MULTICAST_LOOP:
	case CV_OPT_MULTICAST_ALL:
	case CV_OPT_MULTICAST_IF:
		return 0;
	case CV_OPT_MULTICAST_HOPS:
	case CV_OPT_MULTICAST_LOOP6:
	case CV_OPT_MULTICAST_ALL6:
	case CV_OPT_MULTICAST_IF6:
		return 1;
	default:
		return -1;
	}
}

static bool is_membership(enum cv_option opt)
{
	return opt >= CV_OPT_MCAST_JOIN && opt <= CV_OPT_MCAST_FILTER;
}

int mcast_setopt(struct engine *e, struct mcast_sock **ms, uint8_t family, enum cv_option opt, const void *value,
	uint32_t len)
{
	int of = setting_family(opt), v;
	struct cv_mreq r = {0};

	if ((of < 0 && !is_membership(opt)) || (of == 1 && family != CV_AF_INET6))
		return -CV_ENOPROTOOPT;
	if (len < (of < 0 ? sizeof(r) : sizeof(v)))
		return -CV_EINVAL;
	if (sock_get(e, ms) == NULL)
		return -CV_ENOBUFS;
	if (of < 0) {
		memcpy(&r, value, sizeof(r));
		if (opt == CV_OPT_MCAST_FILTER_SOURCE)
			return filter_source(e, *ms, r.source);
		v = membership(e, *ms, family, opt, &r);
		if (opt == CV_OPT_MCAST_FILTER)
			filter_forget(e, *ms);
		return v;
	}
	memcpy(&v, value, sizeof(v));
	return setting(e, &(*ms)->of[of], opt, v);
}

int mcast_getopt(struct engine *e, const struct mcast_sock *ms, uint8_t family, enum cv_option opt, void *value,
	uint32_t *len)
{
	int of = setting_family(opt), v;
	const struct mcast_family *f = ms != NULL && of >= 0 ? &ms->of[of] : &defaults;

	if (opt == CV_OPT_MCAST_FILTER)
		return filter_get(e, ms, family, value, len);
	if (of < 0 || (of == 1 && family != CV_AF_INET6))
		return -CV_ENOPROTOOPT;
	switch ((unsigned)opt) {
	case CV_OPT_MULTICAST_TTL:
	case CV_OPT_MULTICAST_HOPS:
		v = f->ttl;
		break;
	case CV_OPT_MULTICAST_LOOP:
	case CV_OPT_MULTICAST_LOOP6:
		v = f->loop;
		break;
	case CV_OPT_MULTICAST_ALL:
	case CV_OPT_MULTICAST_ALL6:
		v = f->all;
		break;
	default:
		v = f->ifindex;
		break;
	}
	if (*len > sizeof(v))
		*len = sizeof(v);
	memcpy(value, &v, *len);
	return 0;
}

void mcast_sock_end(struct engine *e, struct mcast_sock **ms)
{
	if (*ms == NULL)
		return;
	list_for_each_safe(node, &(*ms)->members)
		member_end(e, *ms, list_entry(node, struct mcast_member, node));
	filter_forget(e, *ms);
	pool_put(&e->net->mcast_socks, *ms);
	*ms = NULL;
}

bool mcast_wants(const struct mcast_sock *ms, uint16_t port, const uint8_t dst[16], const uint8_t src[16])
{
	if (!addr_is_multicast(dst) || ms == NULL)
		return true;
	list_for_each(node, &ms->members)
	{
		const struct mcast_member *m = list_entry(node, struct mcast_member, node);

		if (m->group->iface->port->id == port && addr_equal(m->group->addr, dst))
			return member_wants(m, src);
	}
	return ms->of[!addr_is_v4(dst)].all;
}

struct mcast_out mcast_out(const struct mcast_sock *ms, bool v4)
{
	const struct mcast_family *f = ms != NULL ? &ms->of[!v4] : &defaults;

	return (struct mcast_out){f->ifindex, f->ttl, f->loop};
}
