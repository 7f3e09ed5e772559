/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors about datagrams: the error queue (IP_RECVERR: ip(7), ipv6(7)), path MTU options (ip(7)). */
#include <time.h>
#include <linux/errqueue.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "tests/diff/diff.h"

struct fault {
	struct sock_extended_err ee;
	struct sockaddr_in6 offender;
	struct sockaddr_in6 to;
	char payload[2048];
	ssize_t n;
	int flags;
};

/* One from the queue, with the level and type of its control message. */
static void
take(int fd, struct fault *fault, int level, int type)
{
	char control[512];
	struct iovec part = {fault->payload, sizeof(fault->payload)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control), .msg_name = &fault->to, .msg_namelen = sizeof(fault->to)};
	struct cmsghdr *c;

	memset(fault, 0, sizeof(*fault));
	fault->n = works(recvmsg(fd, &message, MSG_ERRQUEUE));
	fault->flags = message.msg_flags;
	c = CMSG_FIRSTHDR(&message);
	is(c != NULL);
	same(c->cmsg_level, level);
	same(c->cmsg_type, type);
	same(c->cmsg_len, CMSG_LEN(sizeof(fault->ee) + (level == IPPROTO_IP ? 16 : 28)));
	memcpy(&fault->ee, CMSG_DATA(c), sizeof(fault->ee));
	memcpy(&fault->offender, CMSG_DATA(c) + sizeof(fault->ee), level == IPPROTO_IP ? 16 : 28);
}

/* An address of the servers where nobody listens. */
static struct sockaddr_in
nobody(void)
{
	int gone = diff_udp();
	struct sockaddr_in to;
	socklen_t length = sizeof(to);

	works(getsockname(gone, SA(to), &length));
	works(close(gone));
	return to;
}

static struct sockaddr_in6
nobody6(void)
{
	int gone = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct sockaddr_in6 to = diff_addr6(0);
	socklen_t length = sizeof(to);

	works(bind(gone, SA(to), sizeof(to)));
	works(getsockname(gone, SA(to), &length));
	works(close(gone));
	return to;
}

CASE(recverr__unconnected__is_told_with_all_that_is_known)
{
	struct sockaddr_in to = nobody(), told;
	struct fault fault;
	int a = diff_udp();
	char byte;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	same(diff_int_option(a, IPPROTO_IP, IP_RECVERR), 1);
	same(sendto(a, "payload", 7, 0, SA(to), sizeof(to)), 7);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	take(a, &fault, IPPROTO_IP, IP_RECVERR);
	same(fault.flags, MSG_ERRQUEUE);
	same(fault.n, 7);
	same_bytes(fault.payload, "payload", 7);
	same(fault.ee.ee_errno, ECONNREFUSED);
	same(fault.ee.ee_origin, SO_EE_ORIGIN_ICMP);
	same(fault.ee.ee_type, 3);
	same(fault.ee.ee_code, 3);
	same(fault.ee.ee_info, 0);
	same(fault.ee.ee_data, 0);
	memcpy(&told, &fault.to, sizeof(told));
	same_bytes(&told, &to, 8);
	memcpy(&told, &fault.offender, sizeof(told));
	same(told.sin_family, AF_INET);
	same(told.sin_addr.s_addr, to.sin_addr.s_addr);
	same(told.sin_port, 0);
	/* What was read from the queue is pending no more. */
	fails(recv(a, &byte, 1, MSG_DONTWAIT), EAGAIN);
	same(diff_poll(a, POLLIN, 0), 0);
	fails(recv(a, &byte, 1, MSG_ERRQUEUE), EAGAIN);
}

CASE(recverr__pending_error_first__the_queue_stays)
{
	struct sockaddr_in to = nobody();
	struct fault fault;
	int a = diff_udp();
	char byte;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	works(connect(a, SA(to), sizeof(to)));
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	fails(recv(a, &byte, 1, MSG_DONTWAIT), ECONNREFUSED);
	same(diff_poll(a, 0, 0) & POLLERR, POLLERR); /* as long as the queue is not empty */
	fails(recv(a, &byte, 1, MSG_DONTWAIT), EAGAIN);
	take(a, &fault, IPPROTO_IP, IP_RECVERR);
	same(fault.ee.ee_errno, ECONNREFUSED);
	same(diff_poll(a, 0, 0), 0);
}

CASE(recverr__several__one_after_the_other)
{
	struct sockaddr_in to[3];
	struct fault fault;
	int a = diff_udp(), have = 0;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	for (int i = 0; i < 3; i++)
		to[i] = nobody();
	for (int i = 0; i < 3; i++) {
		/* Each send may be told of the error of the one before. */
		while (sendto(a, &"abc"[i], 1, 0, SA(to[i]), sizeof(to[i])) != 1)
			same(errno, ECONNREFUSED);
		is(diff_poll(a, 0, 3000) & POLLERR);
	}
	for (; have < 3; have++) {
		struct sockaddr_in told;

		is(diff_poll(a, 0, 3000) & POLLERR);
		take(a, &fault, IPPROTO_IP, IP_RECVERR);
		same(fault.n, 1);
		same(fault.payload[0], "abc"[have]);
		memcpy(&told, &fault.to, sizeof(told));
		same(told.sin_port, to[have].sin_port);
	}
	same(diff_int_option(a, SOL_SOCKET, SO_ERROR), 0);
	same(diff_poll(a, 0, 0), 0);
}

CASE(recverr__switched_off__the_queue_is_gone)
{
	struct sockaddr_in to = nobody();
	int a = diff_udp();
	char byte;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	same(sendto(a, "x", 1, 0, SA(to), sizeof(to)), 1);
	same(diff_poll(a, 0, 3000) & POLLERR, POLLERR);
	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 0);
	fails(recv(a, &byte, 1, MSG_ERRQUEUE), EAGAIN);
}

CASE(recverr__payload_longer_than_the_buffer__cut)
{
	struct sockaddr_in to = nobody();
	char small[4], control[512];
	struct iovec part = {small, sizeof(small)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control)};
	int a = diff_udp();

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	same(sendto(a, "abcdefgh", 8, 0, SA(to), sizeof(to)), 8);
	same(diff_poll(a, 0, 3000) & POLLERR, POLLERR);
	same(recvmsg(a, &message, MSG_ERRQUEUE), 4);
	same(message.msg_flags, MSG_ERRQUEUE | MSG_TRUNC);
	same_bytes(small, "abcd", 4);
}

CASE(recverr__epoll__sees_epollerr)
{
	struct sockaddr_in to = nobody();
	int a = diff_udp(), ep = (int)works(epoll_create1(0));
	struct epoll_event event = {.events = EPOLLIN};
	struct fault fault;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	works(epoll_ctl(ep, EPOLL_CTL_ADD, a, &event));
	same(sendto(a, "x", 1, 0, SA(to), sizeof(to)), 1);
	same(epoll_wait(ep, &event, 1, 3000), 1);
	same(event.events & EPOLLERR, EPOLLERR);
	take(a, &fault, IPPROTO_IP, IP_RECVERR);
	same(epoll_wait(ep, &event, 1, 0), 0);
}

CASE(recverr__ipv6)
{
	struct sockaddr_in6 to = nobody6();
	struct fault fault;
	int a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct sockaddr_in6 at = diff_addr6(0);

	works(bind(a, SA(at), sizeof(at)));
	diff_set_int(a, IPPROTO_IPV6, IPV6_RECVERR, 1);
	same(diff_int_option(a, IPPROTO_IPV6, IPV6_RECVERR), 1);
	same(sendto(a, "payload", 7, 0, SA(to), sizeof(to)), 7);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	take(a, &fault, IPPROTO_IPV6, IPV6_RECVERR);
	same(fault.n, 7);
	same_bytes(fault.payload, "payload", 7);
	same(fault.ee.ee_errno, ECONNREFUSED);
	same(fault.ee.ee_origin, SO_EE_ORIGIN_ICMP6);
	same(fault.ee.ee_type, 1);
	same(fault.ee.ee_code, 4);
	same(fault.to.sin6_family, AF_INET6);
	same(fault.to.sin6_port, to.sin6_port);
	same_bytes(&fault.to.sin6_addr, &to.sin6_addr, 16);
	same(fault.offender.sin6_family, AF_INET6);
	same_bytes(&fault.offender.sin6_addr, &to.sin6_addr, 16);
}

CASE(recverr__ipv6_socket__error_about_ipv4__mapped)
{
	struct sockaddr_in to4 = nobody();
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = to4.sin_port};
	struct fault fault;
	int a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));

	to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
	memcpy(to.sin6_addr.s6_addr + 12, &to4.sin_addr, 4);
	diff_set_int(a, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	diff_set_int(a, IPPROTO_IPV6, IPV6_RECVERR, 1);
	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	works(connect(a, SA(to), sizeof(to)));
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, 0, 3000) & POLLERR, POLLERR);
	take(a, &fault, IPPROTO_IPV6, IPV6_RECVERR);
	same(fault.ee.ee_origin, SO_EE_ORIGIN_ICMP);
	same(fault.ee.ee_type, 3);
	same_bytes(&fault.to.sin6_addr, &to.sin6_addr, 16);
	same_bytes(&fault.offender.sin6_addr, &to.sin6_addr, 16);
}

CASE(errqueue__nothing_there__eagain_though_blocking)
{
	int a = diff_udp(), c, s;
	char byte;

	fails(recv(a, &byte, 1, MSG_ERRQUEUE), EAGAIN);
	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	fails(recv(a, &byte, 1, MSG_ERRQUEUE), EAGAIN);
	diff_pair(&c, &s);
	fails(recv(c, &byte, 1, MSG_ERRQUEUE), EAGAIN);
}

CASE(mtu_discover__values_and_ip_mtu)
{
	int a, b, c = diff_udp();

	diff_udp_pair(&a, &b);
	for (int v = IP_PMTUDISC_DONT; v <= IP_PMTUDISC_OMIT; v++) {
		diff_set_int(a, IPPROTO_IP, IP_MTU_DISCOVER, v);
		same(diff_int_option(a, IPPROTO_IP, IP_MTU_DISCOVER), v);
	}
	int bad = 6;
	fails(setsockopt(a, IPPROTO_IP, IP_MTU_DISCOVER, &bad, sizeof(bad)), EINVAL);
	bad = -1;
	fails(setsockopt(a, IPPROTO_IP, IP_MTU_DISCOVER, &bad, sizeof(bad)), EINVAL);
	is(diff_int_option(a, IPPROTO_IP, IP_MTU) >= 1500);
	socklen_t length = sizeof(bad);
	fails(getsockopt(c, IPPROTO_IP, IP_MTU, &bad, &length), ENOTCONN);
	fails(setsockopt(c, IPPROTO_IP, IP_MTU, &bad, sizeof(bad)), ENOPROTOOPT);
}

CASE(ipv6_options__on_an_ipv4_socket__enoprotoopt)
{
	int a = diff_udp(), v = 1;
	socklen_t length = sizeof(v);

	fails(setsockopt(a, IPPROTO_IPV6, IPV6_RECVERR, &v, sizeof(v)), ENOPROTOOPT);
	fails(setsockopt(a, IPPROTO_IPV6, IPV6_TCLASS, &v, sizeof(v)), ENOPROTOOPT);
	fails(getsockopt(a, IPPROTO_IPV6, IPV6_RECVPKTINFO, &v, &length), EOPNOTSUPP);
}

CASE(ipv6_mtu_discover__and_dontfrag)
{
	int a = (int)works(socket(AF_INET6, SOCK_DGRAM, 0));
	struct sockaddr_in6 to = nobody6();

	works(connect(a, SA(to), sizeof(to)));
	is(diff_int_option(a, IPPROTO_IPV6, IPV6_MTU) >= 1280);
	diff_set_int(a, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
	same(diff_int_option(a, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_DO);
	diff_set_int(a, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
	same(diff_int_option(a, IPPROTO_IPV6, IPV6_DONTFRAG), 1);
}

CASE(recverr__socket_on_the_wildcard__is_told_too)
{
	struct sockaddr_in to = nobody(), any = {.sin_family = AF_INET};
	int a = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct fault fault;

	diff_set_int(a, IPPROTO_IP, IP_RECVERR, 1);
	works(bind(a, SA(any), sizeof(any)));
	same(sendto(a, "payload", 7, 0, SA(to), sizeof(to)), 7);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	take(a, &fault, IPPROTO_IP, IP_RECVERR);
	same(fault.ee.ee_errno, ECONNREFUSED);
	same_bytes(fault.payload, "payload", 7);
	same(diff_poll(a, 0, 0), 0);
}

CASE(broadcast__without_leave__eacces_at_once)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = INADDR_BROADCAST};
	int a = diff_udp();

	fails(sendto(a, "x", 1, 0, SA(to), sizeof(to)), EACCES);
}
