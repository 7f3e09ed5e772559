/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv6 sockets, dual-stack listeners and mapped addresses (ipv6(7)). */
#include "tests/diff/diff.h"

static int
listen6(int v6only)
{
	struct sockaddr_in6 address = diff_addr6(0);
	int fd = (int)works(socket(AF_INET6, SOCK_STREAM, 0));

	diff_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	works(bind(fd, SA(address), sizeof(address)));
	works(listen(fd, 8));
	return fd;
}

/* A listener on both families' wildcard, or on IPv6's alone. */
static int
listen_any(int v6only)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
	int fd = (int)works(socket(AF_INET6, SOCK_STREAM, 0));

	diff_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	works(bind(fd, SA(address), sizeof(address)));
	works(listen(fd, 8));
	return fd;
}

static int
connect6(uint16_t port)
{
	struct sockaddr_in6 address = diff_addr6(port);
	int fd = (int)works(socket(AF_INET6, SOCK_STREAM, 0));

	works(connect(fd, SA(address), sizeof(address)));
	return fd;
}

CASE(ipv6__connect_accept__names_and_data)
{
	struct sockaddr_in6 one, two;
	socklen_t length = sizeof(one);
	int listener = listen6(0), client = connect6(diff_port(listener));
	int server = (int)works(accept(listener, SA(one), &length));

	same(length, sizeof(one));
	same(one.sin6_family, AF_INET6);
	works(getsockname(client, SA(two), &length));
	same(one.sin6_port, two.sin6_port);
	same_bytes(&one.sin6_addr, &two.sin6_addr, 16);
	struct sockaddr_in6 wanted = diff_addr6(0);
	same_bytes(&one.sin6_addr, &wanted.sin6_addr, 16);
	diff_ping(client, server);
	diff_ping(server, client);
	diff_send_pattern(client, 100000, 6);
	diff_expect_pattern(server, 100000, 6);
	same(diff_int_option(client, SOL_SOCKET, SO_DOMAIN), AF_INET6);
}

CASE(ipv6__closed_port__econnrefused)
{
	int listener = listen6(0), fd = (int)works(socket(AF_INET6, SOCK_STREAM, 0));
	struct sockaddr_in6 address = diff_addr6(diff_port(listener));

	works(close(listener));
	fails(connect(fd, SA(address), sizeof(address)), ECONNREFUSED);
}

CASE(ipv6__short_or_wrong_addresses__errno)
{
	struct sockaddr_in6 address6 = diff_addr6(0);
	struct sockaddr_in address = diff_addr(0);
	int fd = (int)works(socket(AF_INET6, SOCK_STREAM, 0));

	fails(bind(fd, SA(address6), 20), EINVAL);
	fails(bind(fd, SA(address), sizeof(address)), EINVAL);
	fails(connect(fd, SA(address6), 20), EINVAL);
}

CASE(dual_stack_listener__ipv4_client__mapped_address)
{
	struct sockaddr_in to;
	struct sockaddr_in6 from;
	socklen_t length = sizeof(from);
	int listener = listen_any(0), client = (int)works(socket(AF_INET, SOCK_STREAM, 0)), server;

	to = diff_addr(diff_port(listener));
	works(connect(client, SA(to), sizeof(to)));
	server = (int)works(accept(listener, SA(from), &length));
	same(length, sizeof(from));
	same(from.sin6_family, AF_INET6);
	is(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
	same_bytes(&from.sin6_addr.s6_addr[12], &to.sin_addr, 4);
	diff_ping(client, server);
	diff_ping(server, client);
	int client6 = connect6(diff_port(listener));
	server = (int)works(accept(listener, SA(from), &length));
	is(!IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
	diff_ping(client6, server);
}

CASE(v6only_listener__ipv4_client__refused)
{
	int listener = listen_any(1), client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in to = diff_addr(diff_port(listener));

	fails(connect(client, SA(to), sizeof(to)), ECONNREFUSED);
	int client6 = connect6(diff_port(listener));
	diff_ping(client6, (int)works(accept(listener, NULL, NULL)));
}

CASE(v6only__both_families_may_have_the_same_port)
{
	int six = listen_any(1), four = (int)works(socket(AF_INET, SOCK_STREAM, 0)), client;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(diff_port(six))};

	works(bind(four, SA(address), sizeof(address)));
	works(listen(four, 8));
	address = diff_addr(diff_port(six));
	client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	works(connect(client, SA(address), sizeof(address)));
	diff_ping(client, (int)works(accept(four, NULL, NULL)));
	client = connect6(diff_port(six));
	diff_ping(client, (int)works(accept(six, NULL, NULL)));
	/* Once it is bound, V6ONLY cannot change. */
	int no = 0;
	fails(setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)), EINVAL);
}

CASE(dual_stack_bound__ipv4_bind__eaddrinuse)
{
	int six = listen_any(0), four = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(diff_port(six));

	fails(bind(four, SA(address), sizeof(address)), EADDRINUSE);
}

CASE(connect_to_a_mapped_address__ipv4_inside)
{
	int listener = diff_listen(0, 0, 8), client = (int)works(socket(AF_INET6, SOCK_STREAM, 0));
	struct sockaddr_in four = diff_addr(diff_port(listener)), from;
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = four.sin_port}, mine;
	socklen_t length = sizeof(mine);

	to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&to.sin6_addr.s6_addr[12], &four.sin_addr, 4);
	works(connect(client, SA(to), sizeof(to)));
	works(getsockname(client, SA(mine), &length));
	same(length, sizeof(mine));
	is(IN6_IS_ADDR_V4MAPPED(&mine.sin6_addr));
	works(getpeername(client, SA(mine), &length));
	same_bytes(&mine.sin6_addr, &to.sin6_addr, 16);
	length = sizeof(from);
	int server = (int)works(accept(listener, SA(from), &length));
	same(from.sin_family, AF_INET);
	diff_ping(client, server);
}

CASE(udp6__unconnected_and_connected)
{
	struct sockaddr_in6 address = diff_addr6(0), from;
	socklen_t length = sizeof(from);
	int a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0)), b = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	char text[8];

	works(bind(a, SA(address), sizeof(address)));
	works(bind(b, SA(address), sizeof(address)));
	address.sin6_port = htons(diff_port(b));
	same(sendto(a, "six", 3, 0, SA(address), sizeof(address)), 3);
	is(diff_readable(b, 3000));
	same(recvfrom(b, text, 8, 0, SA(from), &length), 3);
	same(length, sizeof(from));
	same(ntohs(from.sin6_port), diff_port(a));
	works(connect(a, SA(address), sizeof(address)));
	same(send(a, "conn", 4, 0), 4);
	is(diff_readable(b, 3000));
	same(recv(b, text, 8, 0), 4);
	works(close(b));
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	fails(recv(a, text, 8, MSG_DONTWAIT), ECONNREFUSED);
}

CASE(udp6__connect_to_ipv4s_form__as_to_the_mapped_address)
{
	struct sockaddr_in four = diff_addr(0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6}, peer;
	socklen_t length = sizeof(four);
	int a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0)), b = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	char text[8];

	works(bind(b, SA(four), sizeof(four)));
	works(getsockname(b, SA(four), &length));
	works(bind(a, SA(any), sizeof(any)));
	works(connect(a, SA(four), sizeof(four)));
	length = sizeof(peer);
	works(getpeername(a, SA(peer), &length));
	same(length, sizeof(peer));
	same(peer.sin6_family, AF_INET6);
	is(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
	same(peer.sin6_port, four.sin_port);
	same(send(a, "four", 4, 0), 4);
	is(diff_readable(b, 3000));
	same(recv(b, text, 8, 0), 4);
	a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	diff_set_int(a, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	fails(connect(a, SA(four), sizeof(four)), EAFNOSUPPORT);
	a = (int)works(socket(AF_INET6, SOCK_STREAM, 0));
	fails(connect(a, SA(four), sizeof(four)), EINVAL);
}

CASE(ipv6__options__read_back)
{
	int fd = listen6(0);

	diff_set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
	same(diff_int_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS), 33);
	diff_set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20);
	same(diff_int_option(fd, IPPROTO_IPV6, IPV6_TCLASS), 0x20);
	/* Bound to an address of its own family, it serves only that. */
	same(diff_int_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
}
