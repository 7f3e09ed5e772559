/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages of datagrams, both ways and both families (cmsg(3), ip(7), ipv6(7), socket(7)). */
#include <sys/uio.h>

#include "tests/diff/diff.h"

struct got {
	char text[2048];
	char control[512];
	struct msghdr message;
	struct iovec part;
	ssize_t n;
};

static void
get_in(int fd, struct got *g, size_t control, int flags)
{
	memset(g, 0, sizeof(*g));
	g->part = (struct iovec){g->text, sizeof(g->text)};
	g->message = (struct msghdr){.msg_iov = &g->part, .msg_iovlen = 1, .msg_control = g->control,
		.msg_controllen = control};
	is(diff_readable(fd, 3000));
	g->n = works(recvmsg(fd, &g->message, flags));
}

static void
get(int fd, struct got *g)
{
	get_in(fd, g, sizeof(g->control), 0);
}

/* The message's data, of that length; the case fails when it is not there. */
static const void *
has(struct got *g, int level, int type, size_t length)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&g->message); c; c = CMSG_NXTHDR(&g->message, c)) {
		if (c->cmsg_level != level || c->cmsg_type != type)
			continue;
		same(c->cmsg_len, CMSG_LEN(length));
		return CMSG_DATA(c);
	}
	diff_fail(__FILE__, __LINE__, "no control message %d of level %d", type, level);
}

static bool
has_none(struct got *g, int level, int type)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&g->message); c; c = CMSG_NXTHDR(&g->message, c))
		if (c->cmsg_level == level && c->cmsg_type == type)
			return false;
	return true;
}

static int
int_of(const void *data)
{
	int v;

	memcpy(&v, data, sizeof(v));
	return v;
}

/* One that goes out with a control message of an int, or of `length` bytes. */
static ssize_t
send_with(int fd, const void *to, socklen_t to_length, int level, int type, const void *data, size_t length)
{
	char control[256] = {0};
	struct iovec part = {"hello", 5};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(length), .msg_name = (void *)(uintptr_t)to,
		.msg_namelen = to_length};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_len = CMSG_LEN(length);
	c->cmsg_level = level;
	c->cmsg_type = type;
	memcpy(CMSG_DATA(c), data, length);
	return sendmsg(fd, &message, 0);
}

static ssize_t
send_int(int fd, int level, int type, int value)
{
	return send_with(fd, NULL, 0, level, type, &value, sizeof(value));
}

static int
udp6(void)
{
	int fd = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct sockaddr_in6 at = diff_addr6(0);

	works(bind(fd, SA(at), sizeof(at)));
	return fd;
}

static void
pair6(int *a, int *b)
{
	struct sockaddr_in6 at;
	socklen_t length = sizeof(at);

	*a = udp6();
	*b = udp6();
	works(getsockname(*a, SA(at), &length));
	works(connect(*b, SA(at), sizeof(at)));
	works(getsockname(*b, SA(at), &length));
	works(connect(*a, SA(at), sizeof(at)));
}

CASE(received__ttl_tos_pktinfo_origdst__ipv4)
{
	struct got g;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	diff_set_int(b, IPPROTO_IP, IP_RECVTOS, 1);
	diff_set_int(b, IPPROTO_IP, IP_PKTINFO, 1);
	diff_set_int(b, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
	same(diff_int_option(b, IPPROTO_IP, IP_RECVTTL), 1);
	same(diff_int_option(b, IPPROTO_IP, IP_RECVTOS), 1);
	same(diff_int_option(b, IPPROTO_IP, IP_PKTINFO), 1);
	same(diff_int_option(b, IPPROTO_IP, IP_RECVORIGDSTADDR), 1);
	diff_set_int(a, IPPROTO_IP, IP_TTL, 17);
	diff_set_int(a, IPPROTO_IP, IP_TOS, 0x28);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 17);
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0x28);
	struct in_pktinfo info;
	memcpy(&info, has(&g, IPPROTO_IP, IP_PKTINFO, sizeof(info)), sizeof(info));
	same(info.ipi_addr.s_addr, diff_addr(0).sin_addr.s_addr);
	same(info.ipi_spec_dst.s_addr, diff_addr(0).sin_addr.s_addr);
	is(info.ipi_ifindex > 0);
	struct sockaddr_in to;
	memcpy(&to, has(&g, IPPROTO_IP, IP_ORIGDSTADDR, sizeof(to)), sizeof(to));
	same(to.sin_family, AF_INET);
	same(to.sin_addr.s_addr, diff_addr(0).sin_addr.s_addr);
	same(ntohs(to.sin_port), diff_port(b));
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 0);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	is(has_none(&g, IPPROTO_IP, IP_TTL));
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0x28);
}

CASE(received__hoplimit_tclass_pktinfo__ipv6)
{
	struct got g;
	int a, b;

	pair6(&a, &b);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
	diff_set_int(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9);
	diff_set_int(a, IPPROTO_IPV6, IPV6_TCLASS, 0x44);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IPV6, IPV6_HOPLIMIT, 4)), 9);
	same(int_of(has(&g, IPPROTO_IPV6, IPV6_TCLASS, 4)), 0x44);
	struct in6_pktinfo info;
	struct sockaddr_in6 mine = diff_addr6(0), to;
	memcpy(&info, has(&g, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), sizeof(info));
	same_bytes(&info.ipi6_addr, &mine.sin6_addr, 16);
	is(info.ipi6_ifindex > 0);
	memcpy(&to, has(&g, IPPROTO_IPV6, IPV6_ORIGDSTADDR, sizeof(to)), sizeof(to));
	same_bytes(&to.sin6_addr, &mine.sin6_addr, 16);
	same(ntohs(to.sin6_port), diff_port(b));
}

CASE(received__ipv4_on_an_ipv6_socket__mapped_pktinfo_and_ipv4s_ttl)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	struct sockaddr_in to = diff_addr(0);
	socklen_t length = sizeof(any);
	int a = diff_udp(), b = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct in6_pktinfo info;
	struct got g;

	diff_set_int(b, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	works(bind(b, SA(any), sizeof(any)));
	works(getsockname(b, SA(any), &length));
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	to.sin_port = any.sin6_port;
	diff_set_int(a, IPPROTO_IP, IP_TTL, 33);
	same(sendto(a, "x", 1, 0, SA(to), sizeof(to)), 1);
	get(b, &g);
	memcpy(&info, has(&g, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), sizeof(info));
	is(IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr));
	same_bytes(info.ipi6_addr.s6_addr + 12, &to.sin_addr, 4);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 33);
	is(has_none(&g, IPPROTO_IPV6, IPV6_HOPLIMIT));
}

CASE(control_buffer_too_small__cut_and_told)
{
	struct got g;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	diff_set_int(b, IPPROTO_IP, IP_RECVTOS, 1);
	for (int i = 0; i < 4; i++)
		same(send(a, "x", 1, 0), 1);
	get_in(b, &g, CMSG_SPACE(4), 0); /* room for the first */
	same(g.message.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
	same(g.message.msg_controllen, CMSG_SPACE(4));
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
	get_in(b, &g, 8, 0); /* not even for a header */
	same(g.message.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
	same(g.message.msg_controllen, 0);
	get_in(b, &g, CMSG_LEN(2), 0); /* a part of the first */
	same(g.message.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
	same(g.message.msg_controllen, CMSG_LEN(2));
	get_in(b, &g, CMSG_SPACE(4) + CMSG_SPACE(1), 0);
	same(g.message.msg_flags & MSG_CTRUNC, 0);
	same(g.message.msg_controllen, CMSG_SPACE(4) + CMSG_SPACE(1));
}

CASE(peek__has_the_control_messages_too)
{
	struct got g;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	same(send(a, "abc", 3, 0), 3);
	get_in(b, &g, sizeof(g.control), MSG_PEEK);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
	get(b, &g);
	same(g.n, 3);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
}

CASE(recvmmsg__each_has_its_own)
{
	enum { N = 3 };
	char text[N][8], control[N][128];
	struct iovec part[N];
	struct mmsghdr got[N] = {0};
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	for (int i = 0; i < N; i++) {
		same(send_int(a, IPPROTO_IP, IP_TTL, 10 + i), 5);
		part[i] = (struct iovec){text[i], 8};
		got[i].msg_hdr = (struct msghdr){.msg_iov = &part[i], .msg_iovlen = 1,
			.msg_control = control[i], .msg_controllen = sizeof(control[i])};
	}
	for (int have = 0; have < N;) {
		is(diff_readable(b, 3000));
		have += (int)works(recvmmsg(b, got + have, (unsigned)(N - have), MSG_DONTWAIT, NULL));
	}
	for (int i = 0; i < N; i++) {
		struct cmsghdr *c = CMSG_FIRSTHDR(&got[i].msg_hdr);

		is(c != NULL && c->cmsg_type == IP_TTL);
		same(int_of(CMSG_DATA(c)), 10 + i);
	}
}

CASE(sent__ttl_and_tos_of_one_datagram__ipv4)
{
	struct got g;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	diff_set_int(b, IPPROTO_IP, IP_RECVTOS, 1);
	same(send_int(a, IPPROTO_IP, IP_TTL, 5), 5);
	get(b, &g);
	same_bytes(g.text, "hello", 5);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 5);
	same(send_int(a, IPPROTO_IP, IP_TOS, 0x10), 5);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0x10);
	uint8_t tos = 0x20;
	same(send_with(a, NULL, 0, IPPROTO_IP, IP_TOS, &tos, 1), 5);
	get(b, &g);
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0x20);
	fails(send_int(a, IPPROTO_IP, IP_TTL, 0), EINVAL);
	fails(send_int(a, IPPROTO_IP, IP_TTL, 256), EINVAL);
	fails(send_int(a, IPPROTO_IP, IP_TOS, 256), EINVAL);
	fails(send_int(a, IPPROTO_IP, 200, 1), EINVAL);
	fails(send_with(a, NULL, 0, IPPROTO_IP, IP_TTL, &tos, 1), EINVAL);
	same(send_int(a, IPPROTO_TCP, 1, 1), 5); /* another level's are not looked at */
	get(b, &g);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0);
}

CASE(sent__hoplimit_and_tclass_of_one_datagram__ipv6)
{
	struct got g;
	int a, b;

	pair6(&a, &b);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
	diff_set_int(b, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	same(send_int(a, IPPROTO_IPV6, IPV6_HOPLIMIT, 5), 5);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IPV6, IPV6_HOPLIMIT, 4)), 5);
	same(send_int(a, IPPROTO_IPV6, IPV6_TCLASS, 0x30), 5);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IPV6, IPV6_TCLASS, 4)), 0x30);
	fails(send_int(a, IPPROTO_IPV6, IPV6_HOPLIMIT, 256), EINVAL);
	fails(send_int(a, IPPROTO_IPV6, IPV6_TCLASS, -2), EINVAL);
	fails(send_int(a, IPPROTO_IPV6, IPV6_DONTFRAG, 2), EINVAL);
}

CASE(sent__source_address_by_pktinfo)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, to, from;
	struct in_pktinfo info = {.ipi_spec_dst = diff_addr(0).sin_addr};
	socklen_t length = sizeof(to);
	int a = (int)works(socket(AF_INET, SOCK_DGRAM, 0)), b = diff_udp();
	char text[8];

	works(bind(a, SA(any), sizeof(any)));
	works(getsockname(b, SA(to), &length));
	same(send_with(a, &to, sizeof(to), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)), 5);
	is(diff_readable(b, 3000));
	length = sizeof(from);
	same(recvfrom(b, text, 8, 0, SA(from), &length), 5);
	same(from.sin_addr.s_addr, diff_addr(0).sin_addr.s_addr);
	info.ipi_spec_dst.s_addr = inet_addr("203.0.113.77"); /* nobody's here */
	fails(send_with(a, &to, sizeof(to), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)), ENETUNREACH);
	info.ipi_spec_dst.s_addr = 0;
	same(send_with(a, &to, sizeof(to), IPPROTO_IP, IP_PKTINFO, &info, sizeof(info)), 5);
	fails(send_with(a, &to, sizeof(to), IPPROTO_IP, IP_PKTINFO, &info, 4), EINVAL);
}

CASE(sent__source_address_by_pktinfo__ipv6)
{
	struct in6_pktinfo info = {.ipi6_addr = diff_addr6(0).sin6_addr};
	struct got g;
	int a, b;

	pair6(&a, &b);
	same(send_with(a, NULL, 0, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)), 5);
	get(b, &g);
	inet_pton(AF_INET6, "2001:db8:77::1", &info.ipi6_addr);
	fails(send_with(a, NULL, 0, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info)), EINVAL);
}

CASE(malformed_control_messages__einval)
{
	char control[64] = {0};
	struct iovec part = {"x", 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(struct cmsghdr)};
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;
	int a, b;

	diff_udp_pair(&a, &b);
	*c = (struct cmsghdr){.cmsg_len = 100, .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
	fails(sendmsg(a, &message, 0), EINVAL);
	c->cmsg_len = 3;
	fails(sendmsg(a, &message, 0), EINVAL);
	message.msg_controllen = 4; /* not even a header: as if there were none */
	same(sendmsg(a, &message, 0), 1);
}

CASE(timestamp__is_the_time_of_arrival)
{
	struct timespec before, after, ns;
	struct timeval us;
	struct got g;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(b, SOL_SOCKET, SO_TIMESTAMP, 1);
	same(diff_int_option(b, SOL_SOCKET, SO_TIMESTAMP), 1);
	clock_gettime(CLOCK_REALTIME, &before);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	clock_gettime(CLOCK_REALTIME, &after);
	memcpy(&us, has(&g, SOL_SOCKET, SO_TIMESTAMP, sizeof(us)), sizeof(us));
	/* A turn may have begun a little before. */
	is(us.tv_sec >= before.tv_sec - 1 && us.tv_sec <= after.tv_sec);
	diff_set_int(b, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	is(has_none(&g, SOL_SOCKET, SO_TIMESTAMP));
	memcpy(&ns, has(&g, SOL_SOCKET, SO_TIMESTAMPNS, sizeof(ns)), sizeof(ns));
	is(ns.tv_sec >= before.tv_sec - 1 && ns.tv_sec <= after.tv_sec + 5 && ns.tv_nsec < 1000000000);
	diff_set_int(b, SOL_SOCKET, SO_TIMESTAMPNS, 0);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	is(has_none(&g, SOL_SOCKET, SO_TIMESTAMPNS));
}

CASE(rxq_ovfl__counts_what_was_dropped)
{
	static char chunk[1000];
	uint32_t drops = 0;
	int a, b, got = 0;
	struct got g;

	diff_udp_pair(&a, &b);
	diff_set_int(b, SOL_SOCKET, SO_RCVBUF, 10000);
	diff_set_int(b, SOL_SOCKET, SO_RXQ_OVFL, 1);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	is(has_none(&g, SOL_SOCKET, SO_RXQ_OVFL)); /* nothing was dropped yet: nothing is said */
	for (int i = 0; i < 300; i++)
		same(send(a, chunk, sizeof(chunk), 0), sizeof(chunk));
	while (diff_poll(b, POLLIN, 200) != 0) {
		get(b, &g);
		got++;
	}
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	memcpy(&drops, has(&g, SOL_SOCKET, SO_RXQ_OVFL, sizeof(drops)), sizeof(drops));
	same(drops + (uint32_t)got, 300);
}

CASE(options_set_before_bind__count)
{
	struct sockaddr_in at = diff_addr(0);
	socklen_t length = sizeof(at);
	int a = diff_udp(), b = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct got g;

	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	diff_set_int(b, IPPROTO_IP, IP_PKTINFO, 1);
	diff_set_int(b, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	works(bind(b, SA(at), sizeof(at)));
	works(getsockname(b, SA(at), &length));
	same(sendto(a, "x", 1, 0, SA(at), sizeof(at)), 1);
	get(b, &g);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
	has(&g, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo));
	has(&g, SOL_SOCKET, SO_TIMESTAMPNS, sizeof(struct timespec));
}

CASE(options__hold_in_a_child_and_in_a_copy_of_the_descriptor)
{
	struct got g;
	int a, b, copy;

	diff_udp_pair(&a, &b);
	diff_set_int(b, IPPROTO_IP, IP_RECVTTL, 1);
	copy = (int)works(dup(b));
	same(send(a, "x", 1, 0), 1);
	get(copy, &g);
	same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
	same(send(a, "x", 1, 0), 1);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		get(b, &g);
		same(int_of(has(&g, IPPROTO_IP, IP_TTL, 4)), 64);
		diff_set_int(b, IPPROTO_IP, IP_RECVTOS, 1);
		exit(0);
	}
	diff_join(child);
	same(send(a, "x", 1, 0), 1);
	get(b, &g);
	same(*(const uint8_t *)has(&g, IPPROTO_IP, IP_TOS, 1), 0);
}
