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
