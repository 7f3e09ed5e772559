// SPDX-License-Identifier: BSD-3-Clause
/*
 * Memberships (ip(7), ipv6(7), RFC3678), errno by errno: each way to ask, what cannot be, and what comes through. Sockets are
 * bound to the servers' address, so that one side alone judges.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "diff.h"

#define GROUP 0xef010203u /* 239.1.2.3 */
#define SOURCE 0x0a630001u

static uint32_t interface(void)
{
	return if_nametoindex(diff_on_culvert() ? "cv0" : "lo");
}

static struct in_addr v4(uint32_t address)
{
	return (struct in_addr){htonl(address)};
}

static struct ip_mreq mreq(uint32_t group)
{
	return (struct ip_mreq){v4(group), diff_addr(0).sin_addr};
}

static struct ip_mreq_source mreq_source(uint32_t group, uint32_t source)
{
	struct ip_mreq_source m = {.imr_interface = diff_addr(0).sin_addr};

	m.imr_multiaddr = v4(group);
	m.imr_sourceaddr = v4(source);
	return m;
}

static void sockaddr4(struct sockaddr_storage *to, uint32_t address)
{
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = v4(address)};

	memset(to, 0, sizeof(*to));
	memcpy(to, &in, sizeof(in));
}

static struct group_req group_req(uint32_t group)
{
	struct group_req g = {.gr_interface = interface()};

	sockaddr4(&g.gr_group, group);
	return g;
}

static struct group_source_req source_req(uint32_t group, uint32_t source)
{
	struct group_source_req g = {.gsr_interface = interface()};

	sockaddr4(&g.gsr_group, group);
	sockaddr4(&g.gsr_source, source);
	return g;
}

static int ip_set(int fd, int name, const void *value, socklen_t len)
{
	return setsockopt(fd, IPPROTO_IP, name, value, len);
}
#define SET(fd, name, value) ip_set(fd, name, &(value), sizeof(value))

CASE(add_membership__twice__and_dropped_twice)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);

	fails(SET(fd, IP_DROP_MEMBERSHIP, m), EADDRNOTAVAIL);
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	fails(SET(fd, IP_ADD_MEMBERSHIP, m), EADDRINUSE);
	works(SET(fd, IP_DROP_MEMBERSHIP, m));
	fails(SET(fd, IP_DROP_MEMBERSHIP, m), EADDRNOTAVAIL);
}

CASE(add_membership__what_cannot_be__is_refused)
{
	int fd = diff_udp();
	struct ip_mreq unicast = mreq(SOURCE), nowhere = {v4(GROUP), v4(0xc0000201)}, m = mreq(GROUP);
	struct ip_mreqn number = {.imr_multiaddr = v4(GROUP), .imr_ifindex = 9999};

	fails(SET(fd, IP_ADD_MEMBERSHIP, unicast), EINVAL);
	fails(SET(fd, IP_ADD_MEMBERSHIP, nowhere), ENODEV);
	fails(SET(fd, IP_ADD_MEMBERSHIP, number), ENODEV);
	fails(ip_set(fd, IP_ADD_MEMBERSHIP, &m, sizeof(m) - 1), EINVAL);
	fails(SET(fd, IP_DROP_MEMBERSHIP, unicast), EADDRNOTAVAIL);
	fails(ip_set(fd, IP_DROP_MEMBERSHIP, &m, sizeof(m) - 1), EINVAL);
	number.imr_ifindex = (int)interface();
	works(SET(fd, IP_ADD_MEMBERSHIP, number));
	fails(SET(fd, IP_ADD_MEMBERSHIP, m), EADDRINUSE); /* the same interface by another name */
	works(SET(fd, IP_DROP_MEMBERSHIP, m));
}

/* Sockets that share a port: where it is in use already decides whose the next ones are, after they have joined. */
CASE(add_membership__before_the_bind_to_a_shared_port__is_kept)
{
	struct sockaddr_in at = diff_addr(0);
	struct ip_mreq m = mreq(GROUP);

	for (int i = 0; i < 4; i++) {
		int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

		diff_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		works(SET(fd, IP_ADD_MEMBERSHIP, m));
		works(bind(fd, CSA(at), sizeof(at)));
		at.sin_port = htons(diff_port(fd));
		works(SET(fd, IP_DROP_MEMBERSHIP, m));
	}
}

CASE(add_membership__more_than_20__enobufs)
{
	int fd = diff_udp();

	for (uint32_t i = 0; i < 20; i++) {
		struct ip_mreq m = mreq(GROUP + i);

		works(SET(fd, IP_ADD_MEMBERSHIP, m));
	}
	struct ip_mreq m = mreq(GROUP + 20);

	fails(SET(fd, IP_ADD_MEMBERSHIP, m), ENOBUFS);
}

CASE(source_membership__sources_come_and_go)
{
	int fd = diff_udp();
	struct ip_mreq_source one = mreq_source(GROUP, SOURCE), two = mreq_source(GROUP, SOURCE + 1);
	struct ip_mreq m = mreq(GROUP);

	fails(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, one), EINVAL);
	works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one));
	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one), EADDRNOTAVAIL);
	works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, two));
	fails(SET(fd, IP_ADD_MEMBERSHIP, m), EADDRINUSE);
	fails(SET(fd, IP_BLOCK_SOURCE, one), EINVAL); /* it names whom it wants */
	works(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, one));
	fails(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, one), EADDRNOTAVAIL);
	works(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, two)); /* the last one takes the membership along */
	fails(SET(fd, IP_DROP_MEMBERSHIP, m), EADDRNOTAVAIL);
	fails(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, two), EINVAL);
}

CASE(source_membership__what_cannot_be__is_refused)
{
	int fd = diff_udp();
	struct ip_mreq_source unicast = mreq_source(SOURCE, SOURCE), nowhere = mreq_source(GROUP, SOURCE), m = nowhere;

	nowhere.imr_interface = v4(0xc0000201);
	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, unicast), EINVAL);
	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, nowhere), ENODEV);
	fails(ip_set(fd, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof(m) - 1), EINVAL);
	fails(ip_set(fd, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof(m) + 1), EINVAL);
}

CASE(source_membership__more_than_10__enobufs)
{
	int fd = diff_udp();

	for (uint32_t i = 0; i < 10; i++) {
		struct ip_mreq_source m = mreq_source(GROUP, SOURCE + i);

		works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, m));
	}
	struct ip_mreq_source m = mreq_source(GROUP, SOURCE + 10);

	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, m), ENOBUFS);
}

CASE(block_source__of_a_membership__and_back)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);
	struct ip_mreq_source one = mreq_source(GROUP, SOURCE);

	fails(SET(fd, IP_BLOCK_SOURCE, one), EINVAL);
	fails(SET(fd, IP_UNBLOCK_SOURCE, one), EINVAL);
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	fails(SET(fd, IP_UNBLOCK_SOURCE, one), EADDRNOTAVAIL);
	works(SET(fd, IP_BLOCK_SOURCE, one));
	fails(SET(fd, IP_BLOCK_SOURCE, one), EADDRNOTAVAIL);
	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one), EINVAL); /* it names whom it does not want */
	works(SET(fd, IP_UNBLOCK_SOURCE, one));
	fails(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one), EINVAL); /* nor does it forget that */
	works(SET(fd, IP_DROP_MEMBERSHIP, m));
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one)); /* one that has had no names may begin */
	works(SET(fd, IP_DROP_MEMBERSHIP, m));
}

CASE(mcast_join_group__as_add_membership)
{
	int fd = diff_udp();
	struct group_req g = group_req(GROUP), unicast = group_req(SOURCE), nowhere = g, six = g;
	struct ip_mreq m = mreq(GROUP);

	nowhere.gr_interface = 9999;
	six.gr_group.ss_family = AF_INET6;
	fails(SET(fd, MCAST_LEAVE_GROUP, g), EADDRNOTAVAIL);
	works(SET(fd, MCAST_JOIN_GROUP, g));
	fails(SET(fd, MCAST_JOIN_GROUP, g), EADDRINUSE);
	fails(SET(fd, IP_ADD_MEMBERSHIP, m), EADDRINUSE);
	works(SET(fd, MCAST_LEAVE_GROUP, g));
	fails(SET(fd, MCAST_JOIN_GROUP, unicast), EINVAL);
	fails(SET(fd, MCAST_JOIN_GROUP, nowhere), ENODEV);
	fails(SET(fd, MCAST_JOIN_GROUP, six), EINVAL);
	fails(ip_set(fd, MCAST_JOIN_GROUP, &g, sizeof(g) - 1), EINVAL);
	fails(ip_set(fd, MCAST_LEAVE_GROUP, &g, sizeof(g) - 1), EINVAL);
}

CASE(mcast_join_source_group__as_add_source_membership)
{
	int fd = diff_udp();
	struct group_source_req one = source_req(GROUP, SOURCE), six = one, nowhere = one;
	struct group_req g = group_req(GROUP);

	six.gsr_source.ss_family = AF_INET6;
	nowhere.gsr_interface = 9999;
	fails(SET(fd, MCAST_LEAVE_SOURCE_GROUP, one), EINVAL);
	works(SET(fd, MCAST_JOIN_SOURCE_GROUP, one));
	fails(SET(fd, MCAST_JOIN_SOURCE_GROUP, one), EADDRNOTAVAIL);
	fails(SET(fd, MCAST_BLOCK_SOURCE, one), EINVAL);
	works(SET(fd, MCAST_LEAVE_SOURCE_GROUP, one));
	works(SET(fd, MCAST_JOIN_GROUP, g));
	works(SET(fd, MCAST_BLOCK_SOURCE, one));
	works(SET(fd, MCAST_UNBLOCK_SOURCE, one));
	works(SET(fd, MCAST_LEAVE_GROUP, g));
	fails(SET(fd, MCAST_JOIN_SOURCE_GROUP, six), EADDRNOTAVAIL);
	fails(SET(fd, MCAST_JOIN_SOURCE_GROUP, nowhere), ENODEV);
	fails(ip_set(fd, MCAST_JOIN_SOURCE_GROUP, &one, sizeof(one) - 1), EINVAL);
}

static int udp6(void)
{
	int fd = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct sockaddr_in6 at = diff_addr6(0);

	works(bind(fd, CSA(at), sizeof(at)));
	return fd;
}

static struct ipv6_mreq mreq6(uint8_t first, uint32_t index)
{
	struct ipv6_mreq m = {.ipv6mr_interface = index};

	m.ipv6mr_multiaddr.s6_addr[0] = first;
	m.ipv6mr_multiaddr.s6_addr[1] = first == 0xff ? 0x12 : 0;
	m.ipv6mr_multiaddr.s6_addr[15] = 9;
	return m;
}

static int six_set(int fd, int name, const void *value, socklen_t len)
{
	return setsockopt(fd, IPPROTO_IPV6, name, value, len);
}
#define SET6(fd, name, value) six_set(fd, name, &(value), sizeof(value))

CASE(ipv6_join_group__and_what_cannot_be)
{
	int fd = udp6();
	struct ipv6_mreq m = mreq6(0xff, interface()), unicast = mreq6(0xfd, interface()), nowhere = mreq6(0xff, 9999);

	fails(SET6(fd, IPV6_LEAVE_GROUP, m), EADDRNOTAVAIL);
	works(SET6(fd, IPV6_JOIN_GROUP, m));
	fails(SET6(fd, IPV6_JOIN_GROUP, m), EADDRINUSE);
	works(SET6(fd, IPV6_LEAVE_GROUP, m));
	fails(SET6(fd, IPV6_LEAVE_GROUP, m), EADDRNOTAVAIL);
	fails(SET6(fd, IPV6_JOIN_GROUP, unicast), EINVAL);
	fails(SET6(fd, IPV6_LEAVE_GROUP, unicast), EINVAL);
	fails(SET6(fd, IPV6_JOIN_GROUP, nowhere), ENODEV);
	fails(six_set(fd, IPV6_JOIN_GROUP, &m, sizeof(m) - 1), EINVAL);
}

CASE(ipv6_join_group__more_than_20__works)
{
	int fd = udp6();

	for (unsigned i = 0; i < 40; i++) {
		struct ipv6_mreq m = mreq6(0xff, interface());

		m.ipv6mr_multiaddr.s6_addr[14] = (uint8_t)(i + 1);
		works(SET6(fd, IPV6_JOIN_GROUP, m));
	}
}

static void sockaddr6(struct sockaddr_storage *to, const struct in6_addr *address)
{
	const struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = *address};

	memset(to, 0, sizeof(*to));
	memcpy(to, &in6, sizeof(in6));
}

CASE(ipv6_mcast_join_group__and_sources)
{
	int fd = udp6();
	struct ipv6_mreq m = mreq6(0xff, interface());
	struct in6_addr from = {.s6_addr = {0xfd, 1, [15] = 1}};
	struct group_req g = {.gr_interface = m.ipv6mr_interface};
	struct group_source_req s = {.gsr_interface = m.ipv6mr_interface};

	sockaddr6(&g.gr_group, &m.ipv6mr_multiaddr);
	sockaddr6(&s.gsr_group, &m.ipv6mr_multiaddr);
	sockaddr6(&s.gsr_source, &from);
	works(SET6(fd, MCAST_JOIN_GROUP, g));
	fails(SET6(fd, IPV6_JOIN_GROUP, m), EADDRINUSE);
	works(SET6(fd, MCAST_BLOCK_SOURCE, s));
	fails(SET6(fd, MCAST_BLOCK_SOURCE, s), EADDRNOTAVAIL);
	works(SET6(fd, MCAST_UNBLOCK_SOURCE, s));
	works(SET6(fd, MCAST_LEAVE_GROUP, g));
	fails(SET6(fd, MCAST_LEAVE_SOURCE_GROUP, s), EINVAL);
	works(SET6(fd, MCAST_JOIN_SOURCE_GROUP, s));
	fails(SET6(fd, MCAST_JOIN_SOURCE_GROUP, s), EADDRNOTAVAIL);
	works(SET6(fd, MCAST_LEAVE_SOURCE_GROUP, s));
	fails(SET6(fd, MCAST_LEAVE_GROUP, g), EADDRNOTAVAIL);
	g.gr_group.ss_family = AF_INET;
	fails(SET6(fd, MCAST_JOIN_GROUP, g), EADDRNOTAVAIL);
}

/* --- the whole filter at once (RFC3678:4.1.3, 5.1.3) ------------------------------------------------- */

#define MANY 70u

static union {
	struct ip_msfilter v4;
	struct group_filter g;
	uint8_t bytes[GROUP_FILTER_SIZE(MANY)];
} filter;

/* n sources from SOURCE on; returns the request's length. */
static socklen_t filter4(uint32_t group, uint32_t mode, uint32_t n)
{
	memset(&filter, 0, sizeof(filter));
	filter.v4.imsf_multiaddr = v4(group);
	filter.v4.imsf_interface = diff_addr(0).sin_addr;
	filter.v4.imsf_fmode = mode;
	filter.v4.imsf_numsrc = n;
	for (uint32_t i = 0; i < n; i++) {
		const struct in_addr a = v4(SOURCE + i);

		memcpy(filter.bytes + IP_MSFILTER_SIZE(i), &a, sizeof(a));
	}
	return (socklen_t)IP_MSFILTER_SIZE(n);
}

static socklen_t filter_group(uint32_t group, uint32_t mode, uint32_t n)
{
	memset(&filter, 0, sizeof(filter));
	filter.g.gf_interface = interface();
	sockaddr4(&filter.g.gf_group, group);
	filter.g.gf_fmode = mode;
	filter.g.gf_numsrc = n;
	for (uint32_t i = 0; i < n; i++) {
		struct sockaddr_storage a;

		sockaddr4(&a, SOURCE + i);
		memcpy(filter.bytes + GROUP_FILTER_SIZE(i), &a, sizeof(a));
	}
	return (socklen_t)GROUP_FILTER_SIZE(n);
}

static int filter_set(int fd, int level, int name, socklen_t len)
{
	return setsockopt(fd, level, name, &filter, len);
}

/* Asks for as many as `room` sources; *len is what came back. */
static int filter_get4(int fd, uint32_t room, socklen_t *len)
{
	*len = filter4(GROUP, 77, 0);
	filter.v4.imsf_numsrc = room;
	*len = (socklen_t)IP_MSFILTER_SIZE(room);
	return getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, len);
}

static int filter_get_group(int fd, uint32_t room, socklen_t *len)
{
	*len = filter_group(GROUP, 77, 0);
	filter.g.gf_numsrc = room;
	*len = (socklen_t)GROUP_FILTER_SIZE(room);
	return getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, len);
}

/* What IP_MSFILTER says of the membership. */
static void filter4_is(int fd, uint32_t mode, uint32_t n)
{
	socklen_t len;

	works(filter_get4(fd, MANY, &len));
	is(filter.v4.imsf_fmode == mode && filter.v4.imsf_numsrc == n);
	is(len == IP_MSFILTER_SIZE(n));
	for (uint32_t i = 0; i < n; i++) {
		const struct in_addr a = v4(SOURCE + i);

		is(memcmp(filter.bytes + IP_MSFILTER_SIZE(i), &a, sizeof(a)) == 0);
	}
}

CASE(ip_msfilter__replaces_all_sources_and_the_mode)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);
	struct ip_mreq_source one = mreq_source(GROUP, SOURCE), last = mreq_source(GROUP, SOURCE + 2);

	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	filter4_is(fd, MCAST_EXCLUDE, 0);
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_EXCLUDE, 3)));
	filter4_is(fd, MCAST_EXCLUDE, 3);
	fails(SET(fd, IP_BLOCK_SOURCE, one), EADDRNOTAVAIL);
	works(SET(fd, IP_UNBLOCK_SOURCE, last));
	filter4_is(fd, MCAST_EXCLUDE, 2);
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_INCLUDE, 1)));
	filter4_is(fd, MCAST_INCLUDE, 1);
	fails(SET(fd, IP_BLOCK_SOURCE, last), EINVAL);
	works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, last));
	works(SET(fd, IP_DROP_SOURCE_MEMBERSHIP, last));
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_EXCLUDE, 0)));
	filter4_is(fd, MCAST_EXCLUDE, 0);
	works(SET(fd, IP_ADD_SOURCE_MEMBERSHIP, one)); /* no names: it may begin anew */
	filter4_is(fd, MCAST_INCLUDE, 1);
	/* To include nobody is to leave. */
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_INCLUDE, 0)));
	fails(SET(fd, IP_DROP_MEMBERSHIP, m), EADDRNOTAVAIL);
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_INCLUDE, 0)), EADDRNOTAVAIL);
}

CASE(ip_msfilter__what_cannot_be__is_refused)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);
	socklen_t len = filter4(GROUP, MCAST_EXCLUDE, 1);

	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len), EINVAL); /* no member */
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len - 1), EINVAL);
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, (socklen_t)IP_MSFILTER_SIZE(0) - 1), EINVAL);
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len + 1));
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(SOURCE, MCAST_EXCLUDE, 1)), EINVAL);
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, 2, 1)), EINVAL);
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_EXCLUDE, 10)));
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_EXCLUDE, 11)), ENOBUFS);
	filter4_is(fd, MCAST_EXCLUDE, 10);
	len = filter4(GROUP, MCAST_EXCLUDE, 1);
	filter.v4.imsf_numsrc = 11;
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len), ENOBUFS); /* before it looks at the length */
	filter.v4.imsf_numsrc = 2;
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len), EINVAL);
	len = filter4(GROUP, MCAST_EXCLUDE, 1);
	filter.v4.imsf_interface = v4(0xc0000201);
	fails(filter_set(fd, IPPROTO_IP, IP_MSFILTER, len), ENODEV);
}

CASE(ip_msfilter__read__as_much_as_there_is_room)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);
	socklen_t len;

	fails(filter_get4(fd, 4, &len), EADDRNOTAVAIL);
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	works(filter_set(fd, IPPROTO_IP, IP_MSFILTER, filter4(GROUP, MCAST_EXCLUDE, 5)));
	works(filter_get4(fd, 2, &len));
	is(filter.v4.imsf_numsrc == 5 && len == IP_MSFILTER_SIZE(2));
	is(filter.bytes[IP_MSFILTER_SIZE(2)] == 0); /* nothing behind it */
	works(filter_get4(fd, 0, &len));
	is(filter.v4.imsf_numsrc == 5 && len == IP_MSFILTER_SIZE(0));
	len = filter4(SOURCE, 0, 0);
	fails(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, &len), EINVAL);
	len = filter4(GROUP, 0, 0) - 1;
	fails(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, &len), EINVAL);
	len = filter4(GROUP, 0, 0);
	filter.v4.imsf_interface = v4(0xc0000201);
	fails(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, &filter, &len), ENODEV);
}

CASE(mcast_msfilter__as_ip_msfilter)
{
	int fd = diff_udp();
	struct ip_mreq m = mreq(GROUP);
	struct sockaddr_in in;
	socklen_t len;

	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, MCAST_EXCLUDE, 1)), EINVAL);
	fails(filter_get_group(fd, 4, &len), EADDRNOTAVAIL);
	works(SET(fd, IP_ADD_MEMBERSHIP, m));
	works(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, MCAST_EXCLUDE, 10)));
	filter4_is(fd, MCAST_EXCLUDE, 10);
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, MCAST_EXCLUDE, 11)), ENOBUFS);
	works(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, MCAST_INCLUDE, 3)));
	works(filter_get_group(fd, 2, &len));
	is(filter.g.gf_fmode == MCAST_INCLUDE && filter.g.gf_numsrc == 3 && len == GROUP_FILTER_SIZE(2));
	memcpy(&in, filter.bytes + GROUP_FILTER_SIZE(1), sizeof(in));
	is(in.sin_family == AF_INET && in.sin_port == 0 && in.sin_addr.s_addr == htonl(SOURCE + 1));
	works(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, MCAST_INCLUDE, 0)));
	fails(SET(fd, IP_DROP_MEMBERSHIP, m), EADDRNOTAVAIL);
}

CASE(mcast_msfilter__what_cannot_be__is_refused)
{
	int fd = diff_udp();
	struct group_req g = group_req(GROUP);
	socklen_t len = filter_group(GROUP, MCAST_EXCLUDE, 2);

	works(SET(fd, MCAST_JOIN_GROUP, g));
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, len - 1), EINVAL);
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, (socklen_t)GROUP_FILTER_SIZE(0) - 1), EINVAL);
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(SOURCE, MCAST_EXCLUDE, 1)), EINVAL);
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, filter_group(GROUP, 5, 1)), EINVAL);
	len = filter_group(GROUP, MCAST_EXCLUDE, 1);
	filter.g.gf_group.ss_family = AF_INET6;
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, len), EADDRNOTAVAIL);
	len = filter_group(GROUP, MCAST_EXCLUDE, 1);
	filter.g.gf_slist[0].ss_family = AF_INET6;
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, len), EADDRNOTAVAIL);
	len = filter_group(GROUP, MCAST_EXCLUDE, 1);
	filter.g.gf_interface = 9999;
	fails(filter_set(fd, IPPROTO_IP, MCAST_MSFILTER, len), ENODEV);
	len = filter_group(GROUP, 0, 0);
	filter.g.gf_interface = 9999;
	fails(getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, &len), EADDRNOTAVAIL);
	len = filter_group(GROUP, 0, 0);
	filter.g.gf_interface = 0;
	fails(getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, &len), EADDRNOTAVAIL);
	len = filter_group(SOURCE, 0, 0);
	fails(getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, &len), EINVAL);
	len = filter_group(GROUP, 0, 0);
	filter.g.gf_group.ss_family = AF_INET6;
	fails(getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, &len), EINVAL);
	len = filter_group(GROUP, 0, 0) - 1;
	fails(getsockopt(fd, IPPROTO_IP, MCAST_MSFILTER, &filter, &len), EINVAL);
}

static socklen_t filter6(const struct ipv6_mreq *m, uint32_t mode, uint32_t n)
{
	memset(&filter, 0, sizeof(filter));
	filter.g.gf_interface = m->ipv6mr_interface;
	sockaddr6(&filter.g.gf_group, &m->ipv6mr_multiaddr);
	filter.g.gf_fmode = mode;
	filter.g.gf_numsrc = n;
	for (uint32_t i = 0; i < n; i++) {
		const struct in6_addr from = {.s6_addr = {0xfd, 1, [15] = (uint8_t)(i + 1)}};
		struct sockaddr_storage a;

		sockaddr6(&a, &from);
		memcpy(filter.bytes + GROUP_FILTER_SIZE(i), &a, sizeof(a));
	}
	return (socklen_t)GROUP_FILTER_SIZE(n);
}

static void filter6_is(int fd, const struct ipv6_mreq *m, uint32_t mode, uint32_t n)
{
	socklen_t len = filter6(m, 77, 0);

	filter.g.gf_numsrc = MANY;
	len = sizeof(filter);
	works(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &len));
	is(filter.g.gf_fmode == mode && filter.g.gf_numsrc == n && len == GROUP_FILTER_SIZE(n));
	for (uint32_t i = 0; i < n; i++) {
		struct sockaddr_in6 in6;

		memcpy(&in6, filter.bytes + GROUP_FILTER_SIZE(i), sizeof(in6));
		is(in6.sin6_family == AF_INET6 && in6.sin6_addr.s6_addr[15] == i + 1 && in6.sin6_scope_id == 0);
	}
}

CASE(ipv6_msfilter__replaces_all_sources_and_the_mode)
{
	int fd = udp6();
	struct ipv6_mreq m = mreq6(0xff, interface());

	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_EXCLUDE, 1)), EINVAL);
	works(SET6(fd, IPV6_JOIN_GROUP, m));
	filter6_is(fd, &m, MCAST_EXCLUDE, 0);
	works(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_INCLUDE, 64)));
	filter6_is(fd, &m, MCAST_INCLUDE, 64);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_INCLUDE, 65)), ENOBUFS);
	works(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_EXCLUDE, 2)));
	filter6_is(fd, &m, MCAST_EXCLUDE, 2);
	works(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_INCLUDE, 0)));
	fails(SET6(fd, IPV6_LEAVE_GROUP, m), EADDRNOTAVAIL);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_INCLUDE, 0)), EADDRNOTAVAIL);
}

CASE(ipv6_block_source__more_than_64__enobufs)
{
	int fd = udp6();
	struct ipv6_mreq m = mreq6(0xff, interface());
	struct group_source_req s = {.gsr_interface = m.ipv6mr_interface};
	struct in6_addr from = {.s6_addr = {0xfd, 1}};

	works(SET6(fd, IPV6_JOIN_GROUP, m));
	sockaddr6(&s.gsr_group, &m.ipv6mr_multiaddr);
	for (unsigned i = 0; i < 65; i++) {
		from.s6_addr[15] = (uint8_t)(i + 1);
		sockaddr6(&s.gsr_source, &from);
		if (i < 64)
			works(SET6(fd, MCAST_BLOCK_SOURCE, s));
		else
			fails(SET6(fd, MCAST_BLOCK_SOURCE, s), ENOBUFS);
	}
}

CASE(ipv6_msfilter__what_cannot_be__is_refused)
{
	int fd = udp6();
	struct ipv6_mreq m = mreq6(0xff, interface()), unicast = mreq6(0xfd, interface()), nowhere = mreq6(0xff, 9999);
	struct ipv6_mreq none = mreq6(0xff, 0);
	socklen_t len;

	works(SET6(fd, IPV6_JOIN_GROUP, m));
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_EXCLUDE, 2) - 1), EINVAL);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, MCAST_EXCLUDE, 0) - 1), EINVAL);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&unicast, MCAST_EXCLUDE, 1)), EINVAL);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&m, 2, 1)), EINVAL);
	fails(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, filter6(&nowhere, MCAST_EXCLUDE, 1)), ENODEV);
	len = filter6(&nowhere, 0, 0);
	fails(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &len), EADDRNOTAVAIL);
	len = filter6(&none, 0, 0);
	fails(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &len), EADDRNOTAVAIL);
	len = filter6(&unicast, 0, 0);
	fails(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &len), EINVAL);
	len = filter6(&m, 0, 0) - 1;
	fails(getsockopt(fd, IPPROTO_IPV6, MCAST_MSFILTER, &filter, &len), EINVAL);
	len = filter6(&m, MCAST_EXCLUDE, 1);
	filter.g.gf_group.ss_family = AF_INET;
	works(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, len)); /* families are not looked at */
	len = filter6(&m, MCAST_EXCLUDE, 2);
	filter.g.gf_slist[0].ss_family = AF_INET;
	works(filter_set(fd, IPPROTO_IPV6, MCAST_MSFILTER, len));
}

/* A server that answers from where it was spoken to says so by the same structure. */
CASE(pktinfo__of_a_datagram_to_a_group__is_answered_from_our_address)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_addr = v4(GROUP)};
	int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0)), sender = diff_udp(), on = 1;
	struct in_addr own = diff_addr(0).sin_addr;
	char space[CMSG_SPACE(sizeof(struct in_pktinfo))], text[8];
	struct iovec v = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct ip_mreq group = mreq(GROUP);
	struct in_pktinfo info;

	works(bind(fd, SA(any), sizeof(any)));
	works(SET(fd, IP_ADD_MEMBERSHIP, group));
	works(SET(fd, IP_PKTINFO, on));
	works(SET(sender, IP_MULTICAST_IF, own));
	to.sin_port = htons(diff_port(fd));
	same(sendto(sender, "hello", 5, 0, SA(to), sizeof(to)), 5);
	is(diff_readable(fd, 3000));
	same(recvmsg(fd, &m, 0), 5);
	memcpy(&info, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(info));
	same(info.ipi_addr.s_addr, to.sin_addr.s_addr);
	same(info.ipi_spec_dst.s_addr, own.s_addr);
}
