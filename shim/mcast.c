/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: the layouts in which a program joins and leaves them (ip(7), ipv6(7), RFC3678) become the contract's one;
 * and which side an interface is on.
 *
 * A socket that both serve joins on both sides where the interface may be either's. What is asked of a socket before
 * it is decided who serves it goes to the kernel, is noted, and said again to the engine.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "shim/link.h"
#include "shim/memory.h"
#include "shim/real.h"
#include "shim/sock.h"

#define NOTES_MAX 192 /* joins, leaves and sources together: room for a filter and more */
#define OPTMEM_MAX 131072 /* net.core.optmem_max: longer filters are not looked at */

struct mcast_note {
	unsigned option;
	struct cv_mreq m;
};

struct mcast_notes {
	bool by_engine[2]; /* IP_MULTICAST_IF, IPV6_MULTICAST_IF name an interface of the engine's */
	unsigned n;
	struct mcast_note of[NOTES_MAX];
};

/* A program's request: the contract's, and whose the interface is. */
struct request {
	unsigned option;
	struct cv_mreq m; /* CV_OPT_MULTICAST_IF*: ifindex only */
	bool engine, kernel;
	unsigned n; /* CV_OPT_MCAST_FILTER: its sources */
	uint8_t src[CV_MCAST_SOURCES_MAX][16];
};

static const struct {
	int level, name;
	unsigned option;
	uint8_t layout;
} table[] = {
	{IPPROTO_IP, IP_ADD_MEMBERSHIP, CV_OPT_MCAST_JOIN, 'm'},
	{IPPROTO_IP, IP_DROP_MEMBERSHIP, CV_OPT_MCAST_LEAVE, 'm'},
	{IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, CV_OPT_MCAST_JOIN_SOURCE, 's'},
	{IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, CV_OPT_MCAST_LEAVE_SOURCE, 's'},
	{IPPROTO_IP, IP_BLOCK_SOURCE, CV_OPT_MCAST_BLOCK_SOURCE, 's'},
	{IPPROTO_IP, IP_UNBLOCK_SOURCE, CV_OPT_MCAST_UNBLOCK_SOURCE, 's'},
	{IPPROTO_IP, IP_MULTICAST_IF, CV_OPT_MULTICAST_IF, 'i'},
	{IPPROTO_IP, IP_MULTICAST_TTL, CV_OPT_MULTICAST_TTL, 'b'},
	{IPPROTO_IP, IP_MULTICAST_LOOP, CV_OPT_MULTICAST_LOOP, 'b'},
	{IPPROTO_IP, IP_MULTICAST_ALL, CV_OPT_MULTICAST_ALL, 'b'},
	{IPPROTO_IPV6, IPV6_JOIN_GROUP, CV_OPT_MCAST_JOIN, '6'},
	{IPPROTO_IPV6, IPV6_LEAVE_GROUP, CV_OPT_MCAST_LEAVE, '6'},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF, CV_OPT_MULTICAST_IF6, 'n'},
	{0, MCAST_JOIN_GROUP, CV_OPT_MCAST_JOIN, 'g'},
	{0, MCAST_LEAVE_GROUP, CV_OPT_MCAST_LEAVE, 'g'},
	{0, MCAST_JOIN_SOURCE_GROUP, CV_OPT_MCAST_JOIN_SOURCE, 'r'},
	{0, MCAST_LEAVE_SOURCE_GROUP, CV_OPT_MCAST_LEAVE_SOURCE, 'r'},
	{0, MCAST_BLOCK_SOURCE, CV_OPT_MCAST_BLOCK_SOURCE, 'r'},
	{0, MCAST_UNBLOCK_SOURCE, CV_OPT_MCAST_UNBLOCK_SOURCE, 'r'},
	{IPPROTO_IP, IP_MSFILTER, CV_OPT_MCAST_FILTER, 'f'},
	{0, MCAST_MSFILTER, CV_OPT_MCAST_FILTER, 'F'},
};

static int find(int level, int name)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].name == name && (table[i].level == 0 ? level == IPPROTO_IP || level == IPPROTO_IPV6 : table[i].level == level))
			return (int)i;
	}
	return -1;
}

bool mcast_option(int level, int name)
{
	return find(level, name) >= 0;
}

static void mapped(uint8_t to[16], const struct in_addr *v4)
{
	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, v4, 4);
}

static int from_sockaddr(uint8_t to[16], const struct sockaddr_storage *ss, int level)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (ss->ss_family != (level == IPPROTO_IP ? AF_INET : AF_INET6))
		return -EADDRNOTAVAIL;
	if (level == IPPROTO_IP) {
		memcpy(&in, ss, sizeof(in));
		mapped(to, &in.sin_addr);
	} else {
		memcpy(&in6, ss, sizeof(in6));
		memcpy(to, &in6.sin6_addr, 16);
	}
	return 0;
}

static void interface_by_number(const struct link *l, struct request *r, uint32_t ifindex)
{
	r->m.ifindex = ifindex;
	r->engine = ifindex == 0 || link_has_interface(l, ifindex);
	r->kernel = true; /* a TAP's number is that of its end in the kernel */
}

static void interface_by_address(const struct link *l, struct request *r, const struct in_addr *v4)
{
	uint8_t addr[16];

	mapped(addr, v4);
	r->m.ifindex = link_interface(l, addr);
	r->engine = v4->s_addr == INADDR_ANY || r->m.ifindex != 0;
	r->kernel = r->m.ifindex == 0;
}

/* struct ip_mreqn is struct ip_mreq with a number behind it; IP_MULTICAST_IF takes the address alone, too. */
static int read_mreqn(const struct link *l, struct request *r, const void *value, socklen_t len, bool alone)
{
	struct ip_mreqn m = {.imr_ifindex = 0};

	if (len < (alone ? sizeof(struct in_addr) : sizeof(struct ip_mreq)))
		return -EINVAL;
	if (len < sizeof(struct ip_mreq))
		memcpy(&m.imr_address, value, sizeof(struct in_addr));
	else
		memcpy(&m, value, len < sizeof(m) ? sizeof(struct ip_mreq) : sizeof(m));
	mapped(r->m.group, &m.imr_multiaddr);
	if (m.imr_ifindex != 0)
		interface_by_number(l, r, (uint32_t)m.imr_ifindex);
	else
		interface_by_address(l, r, &m.imr_address);
	return 0;
}

static int read_source(const struct link *l, struct request *r, const void *value, socklen_t len)
{
	struct ip_mreq_source m;

	if (len != sizeof(m))
		return -EINVAL;
	memcpy(&m, value, sizeof(m));
	mapped(r->m.group, (const void *)&m.imr_multiaddr);
	mapped(r->m.source, (const void *)&m.imr_sourceaddr);
	interface_by_address(l, r, (const void *)&m.imr_interface);
	return 0;
}

static int read_group(
	const struct link *l, struct request *r, int level, const void *value, socklen_t len, bool with_source)
{
	struct group_source_req m;
	struct group_req g;
	int error;

	if (len < (with_source ? sizeof(m) : sizeof(g)))
		return -EINVAL;
	if (with_source) {
		memcpy(&m, value, sizeof(m));
	} else {
		memcpy(&g, value, sizeof(g));
		m.gsr_interface = g.gr_interface;
		m.gsr_group = g.gr_group;
	}
	error = from_sockaddr(r->m.group, &m.gsr_group, level);
	if (error == 0 && with_source)
		error = from_sockaddr(r->m.source, &m.gsr_source, level);
	interface_by_number(l, r, m.gsr_interface);
	return error != 0 && level == IPPROTO_IP && !with_source ? -EINVAL : error;
}

/* --- whole filters ------------------------------------------------------------------------------- */

static void filter_head(struct request *r, uint32_t mode, uint32_t n)
{
	r->n = n;
	r->m.source[CV_MCAST_MODE_AT] = mode == MCAST_INCLUDE ? 0 : mode == MCAST_EXCLUDE ? 1 : UINT8_MAX;
	r->m.source[CV_MCAST_NUMBER_AT] = (uint8_t)n;
}

static int read_filter4(const struct link *l, struct request *r, const void *value, socklen_t len)
{
	struct ip_msfilter m;
	struct in_addr source;

	if (len < IP_MSFILTER_SIZE(0))
		return -EINVAL;
	memcpy(&m, value, IP_MSFILTER_SIZE(0));
	if (len > OPTMEM_MAX || m.imsf_numsrc > CV_MCAST_SOURCES_MAX4)
		return -ENOBUFS;
	if (len < IP_MSFILTER_SIZE(m.imsf_numsrc))
		return -EINVAL;
	mapped(r->m.group, &m.imsf_multiaddr);
	interface_by_address(l, r, &m.imsf_interface);
	filter_head(r, m.imsf_fmode, m.imsf_numsrc);
	for (unsigned i = 0; i < r->n; i++) {
		memcpy(&source, (const uint8_t *)value + IP_MSFILTER_SIZE(i), sizeof(source));
		mapped(r->src[i], &source);
	}
	return 0;
}

/* IPv6 does not look at the families of what it is given. */
static int filter_address(uint8_t to[16], const void *at, int level)
{
	struct sockaddr_storage ss;

	memcpy(&ss, at, sizeof(ss));
	if (level == IPPROTO_IPV6)
		ss.ss_family = AF_INET6;
	return from_sockaddr(to, &ss, level);
}

static int read_filter(const struct link *l, struct request *r, int level, const void *value, socklen_t len)
{
	struct group_filter g;
	int error;

	if (len < GROUP_FILTER_SIZE(0))
		return -EINVAL;
	memcpy(&g, value, GROUP_FILTER_SIZE(0));
	if (len > OPTMEM_MAX || g.gf_numsrc > (level == IPPROTO_IP ? CV_MCAST_SOURCES_MAX4 : CV_MCAST_SOURCES_MAX))
		return -ENOBUFS;
	if (len < GROUP_FILTER_SIZE(g.gf_numsrc))
		return -EINVAL;
	error = filter_address(r->m.group, &g.gf_group, level);
	interface_by_number(l, r, g.gf_interface);
	filter_head(r, g.gf_fmode, g.gf_numsrc);
	for (unsigned i = 0; error == 0 && i < r->n; i++)
		error = filter_address(r->src[i], (const uint8_t *)value + GROUP_FILTER_SIZE(i), level);
	return error;
}

static int read_request(
	const struct link *l, struct request *r, int level, unsigned i, const void *value, socklen_t len)
{
	struct ipv6_mreq six;
	int v;

	*r = (struct request){.option = table[i].option};
	switch (table[i].layout) {
	case 'm':
		return read_mreqn(l, r, value, len, false);
	case 'i':
		return read_mreqn(l, r, value, len, true);
	case 's':
		return read_source(l, r, value, len);
	case '6':
		if (len < sizeof(six))
			return -EINVAL;
		memcpy(&six, value, sizeof(six));
		memcpy(r->m.group, &six.ipv6mr_multiaddr, 16);
		interface_by_number(l, r, six.ipv6mr_interface);
		return 0;
	case 'n':
		if (len < sizeof(v))
			return -EINVAL;
		memcpy(&v, value, sizeof(v));
		interface_by_number(l, r, (uint32_t)v);
		return 0;
	case 'f':
		return read_filter4(l, r, value, len);
	case 'F':
		return read_filter(l, r, level, value, len);
	default:
		return read_group(l, r, level, value, len, table[i].layout == 'r');
	}
}

static bool is_interface(unsigned option)
{
	return option == CV_OPT_MULTICAST_IF || option == CV_OPT_MULTICAST_IF6;
}

static int engine_ask(struct file *f, unsigned option, const struct cv_mreq *m)
{
	struct cv_command c = {.op = CV_CMD_SETOPT, .arg = option, .len = sizeof(*m)};

	if (is_interface(option)) {
		c.len = sizeof(m->ifindex);
		memcpy(c.value, &m->ifindex, sizeof(m->ifindex));
	} else {
		memcpy(c.value, m, sizeof(c.value));
		memcpy(&c.pos, m->source, 8);
		memcpy(&c.off, m->source + 8, 8);
	}
	return sock_call(f, &c, NULL, NULL);
}

static int engine_request(struct file *f, const struct request *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct cv_mreq one = {.ifindex = 0};
		int error;

		memcpy(one.source, r->src[i], 16);
		error = engine_ask(f, CV_OPT_MCAST_FILTER_SOURCE, &one);
		if (error != 0)
			return error;
	}
	return engine_ask(f, r->option, &r->m);
}

static struct mcast_notes *notes_of(struct file *f)
{
	if (!f->mcast)
		f->mcast = memory_get(sizeof(*f->mcast));
	return f->mcast;
}

void mcast_forget(struct file *f)
{
	memory_put(f->mcast, sizeof(*f->mcast));
	f->mcast = NULL;
}

static int note(struct file *f, const struct request *r)
{
	struct mcast_notes *n = notes_of(f);

	if (!n || n->n + r->n >= NOTES_MAX)
		return -ENOBUFS;
	for (unsigned i = 0; i < r->n; i++) {
		n->of[n->n] = (struct mcast_note){.option = CV_OPT_MCAST_FILTER_SOURCE};
		memcpy(n->of[n->n++].m.source, r->src[i], 16);
	}
	n->of[n->n++] = (struct mcast_note){r->option, r->m};
	return 0;
}

/* May be asked for again: the engine's socket that heard it first need not be the one that stays. */
void mcast_replay(struct file *f)
{
	const struct mcast_notes *n = f->mcast;

	for (unsigned i = 0; n && i < n->n; i++)
		engine_ask(f, n->of[i].option, &n->of[i].m);
}

static void interface_note(struct file *f, const struct request *r)
{
	struct mcast_notes *n = notes_of(f);

	if (n)
		n->by_engine[r->option == CV_OPT_MULTICAST_IF6] = r->engine && r->m.ifindex != 0;
}

/* A byte will do where others want an int (ip(7)). */
static int byte_or_int(int fd, struct file *f, int level, int name, const void *value, socklen_t len)
{
	int v;

	if (len < 1)
		return -EINVAL;
	if (len < sizeof(v))
		v = *(const uint8_t *)value;
	else
		memcpy(&v, value, sizeof(v));
	if (f->mux.rec)
		return option_set(fd, f, level, name, &v, sizeof(v));
	if (real_setsockopt(fd, level, name, value, len) != 0)
		return -errno;
	option_note(f, level, name, &v, sizeof(v));
	return 0;
}

int mcast_set(int fd, struct file *f, int level, int name, const void *value, socklen_t len)
{
	struct link *l = f->mux.rec ? sock_link(f) : link_get();
	struct request r = {.kernel = true};
	int kernel = -ENODEV, engine = -ENODEV, error = 0;

	if (table[find(level, name)].layout == 'b')
		return byte_or_int(fd, f, level, name, value, len);
	if (l)
		error = read_request(l, &r, level, (unsigned)find(level, name), value, len);
	if (l && error == 0 && is_interface(r.option))
		interface_note(f, &r);
	if (!f->mux.rec || f->mux.both) {
		kernel = real_setsockopt(fd, level, name, value, len) == 0 ? 0 : -errno;
		if (!l || error != 0 || (!r.engine && !f->mux.rec))
			return kernel;
	}
	if (error != 0)
		return error;
	if (!f->mux.rec) /* the engine judges when it gets it */
		return kernel == 0 || !r.kernel ? note(f, &r) : kernel;
	if (r.engine)
		engine = engine_request(f, &r);
	else if (r.option == CV_OPT_MULTICAST_IF)
		engine = -EADDRNOTAVAIL;
	return kernel == 0 ? 0 : engine;
}

static int interface_get(struct file *f, void *value, socklen_t *len)
{
	struct cv_command c = {.op = CV_CMD_GETOPT, .arg = CV_OPT_MULTICAST_IF};
	uint8_t reply[CV_REPLY_BYTES] = {0}, addr[16] = {0};
	uint32_t n = sizeof(reply), ifindex;
	int error = sock_call(f, &c, reply, &n);

	if (error < 0)
		return error;
	if ((int)*len < 0)
		return -EINVAL;
	memcpy(&ifindex, reply, sizeof(ifindex));
	if (ifindex != 0)
		link_interface_address(sock_link(f), ifindex, addr);
	if (*len > sizeof(struct in_addr))
		*len = sizeof(struct in_addr);
	memcpy(value, addr + 12, *len);
	return 0;
}

/* What the engine says of the membership that r names; its sources in reply. */
static int filter_ask(struct file *f, const struct request *r, struct cv_mcast_filter *filter, uint8_t reply[CV_REPLY_BYTES])
{
	struct cv_command c = {.op = CV_CMD_GETOPT, .arg = CV_OPT_MCAST_FILTER};
	uint32_t n = CV_REPLY_BYTES;
	int error = -EADDRNOTAVAIL;

	static_assert(sizeof(c.value) == offsetof(struct cv_mreq, source), "what is asked about fits a command");
	static_assert(sizeof(*filter) + sizeof(r->src) <= CV_REPLY_BYTES, "the answer fits a reply");
	memcpy(c.value, &r->m, sizeof(c.value));
	if (r->engine)
		error = sock_call(f, &c, reply, &n);
	if (error != 0)
		return error;
	memcpy(filter, reply, sizeof(*filter));
	if (filter->n > CV_MCAST_SOURCES_MAX)
		return -EINVAL;
	filter->mode = filter->mode == 0 ? MCAST_INCLUDE : MCAST_EXCLUDE;
	return 0;
}

/* As Linux: the program's count says how many sources it has room for, and becomes how many there are. */
static int filter4_get(struct file *f, void *value, socklen_t *len)
{
	uint8_t reply[CV_REPLY_BYTES] = {0};
	struct cv_mcast_filter filter;
	struct request r = {.kernel = true};
	struct ip_msfilter m;
	uint32_t room;
	int error;

	if ((int)*len < (int)IP_MSFILTER_SIZE(0))
		return -EINVAL;
	memcpy(&m, value, IP_MSFILTER_SIZE(0));
	mapped(r.m.group, &m.imsf_multiaddr);
	interface_by_address(sock_link(f), &r, &m.imsf_interface);
	if (!IN_MULTICAST(ntohl(m.imsf_multiaddr.s_addr)))
		return -EINVAL;
	error = r.engine ? filter_ask(f, &r, &filter, reply) : -ENODEV;
	if (error != 0)
		return error;
	room = m.imsf_numsrc < filter.n ? m.imsf_numsrc : filter.n;
	m.imsf_fmode = filter.mode;
	m.imsf_numsrc = filter.n;
	memcpy(value, &m, IP_MSFILTER_SIZE(0));
	for (unsigned i = 0; i < room; i++)
		memcpy((uint8_t *)value + IP_MSFILTER_SIZE(i), reply + sizeof(filter) + 16 * i + 12, 4);
	*len = (socklen_t)IP_MSFILTER_SIZE(room);
	return 0;
}

static void source_out(struct sockaddr_storage *to, int level, const uint8_t source[16])
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	memset(to, 0, sizeof(*to));
	memcpy(&in.sin_addr, source + 12, 4);
	memcpy(&in6.sin6_addr, source, 16);
	if (level == IPPROTO_IP)
		memcpy(to, &in, sizeof(in));
	else
		memcpy(to, &in6, sizeof(in6));
}

static int filter_get(struct file *f, int level, void *value, socklen_t *len)
{
	uint8_t reply[CV_REPLY_BYTES] = {0};
	struct cv_mcast_filter filter;
	struct request r = {.kernel = true};
	struct group_filter g;
	uint32_t room;
	int error;

	if ((int)*len < (int)GROUP_FILTER_SIZE(0))
		return -EINVAL;
	memcpy(&g, value, GROUP_FILTER_SIZE(0));
	if (level == IPPROTO_IP && g.gf_group.ss_family != AF_INET)
		return -EINVAL;
	(void)filter_address(r.m.group, &g.gf_group, level);
	if (level == IPPROTO_IP ? (r.m.group[12] & 0xf0) != 0xe0 : r.m.group[0] != 0xff)
		return -EINVAL;
	interface_by_number(sock_link(f), &r, g.gf_interface);
	error = g.gf_interface != 0 ? filter_ask(f, &r, &filter, reply) : -EADDRNOTAVAIL;
	if (error != 0)
		return error;
	room = g.gf_numsrc < filter.n ? g.gf_numsrc : filter.n;
	g.gf_fmode = filter.mode;
	g.gf_numsrc = filter.n;
	memcpy(value, &g, GROUP_FILTER_SIZE(0));
	for (unsigned i = 0; i < room; i++) {
		struct sockaddr_storage ss;

		source_out(&ss, level, reply + sizeof(filter) + 16 * i);
		memcpy((uint8_t *)value + GROUP_FILTER_SIZE(i), &ss, sizeof(ss));
	}
	*len = (socklen_t)GROUP_FILTER_SIZE(room);
	return 0;
}

bool mcast_reads(int level, int name)
{
	int i = find(level, name);

	return i >= 0 && (table[i].option == CV_OPT_MCAST_FILTER || table[i].layout == 'i');
}

int mcast_get(int fd, struct file *f, int level, int name, void *value, socklen_t *len)
{
	int error;

	if (name == IP_MULTICAST_IF && level == IPPROTO_IP)
		return interface_get(f, value, len);
	error = table[find(level, name)].layout == 'f' ? filter4_get(f, value, len) : filter_get(f, level, value, len);
	/* A socket of both sides has joined on one of them. */
	if (f->mux.both && (error == -EADDRNOTAVAIL || error == -ENODEV))
		return real_getsockopt(fd, level, name, value, len) == 0 ? 0 : -errno;
	return error;
}

bool mcast_to_engine(const struct file *f, const struct cv_endpoint *to)
{
	bool v4 = address_family(to) == CV_AF_INET;

	if (v4 ? (to->addr[12] & 0xf0) != 0xe0 : to->addr[0] != 0xff)
		return false;
	if (!v4 && to->scope != 0)
		return link_has_interface(sock_link(f), to->scope);
	return f->mcast && f->mcast->by_engine[!v4];
}
