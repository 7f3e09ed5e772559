/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP, connected and not (udp(7), ip(7)): boundaries, addresses, truncation, errors that come back. */
#include <sys/uio.h>

#include "tests/diff/diff.h"

static struct sockaddr_in
name_of(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	works(getsockname(fd, SA(address), &length));
	return address;
}

static void
send_to(int fd, const void *data, size_t n, int to)
{
	struct sockaddr_in address = name_of(to);

	same(sendto(fd, data, n, 0, SA(address), sizeof(address)), n);
}

CASE(datagrams__keep_their_boundaries_and_order)
{
	char text[64];
	int a, b;

	diff_udp_pair(&a, &b);
	for (int i = 1; i <= 20; i++)
		same(send(a, "abcdefghijklmnopqrstuvwxyz", (size_t)i, 0), i);
	for (int i = 1; i <= 20; i++) {
		is(diff_readable(b, 3000));
		same(recv(b, text, sizeof(text), 0), i);
	}
	fails(recv(b, text, sizeof(text), MSG_DONTWAIT), EAGAIN);
}

/* The wildcard's two halves are one socket: connected, it takes nothing from others, whose datagrams are for who else
 * is on the port (iperf2's server). */
CASE(wildcard_connected__others_datagrams_go_to_the_next_socket_on_the_port)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, local = {.sin_family = AF_INET}, own;
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	int peer = diff_udp(), first = (int)works(socket(AF_INET, SOCK_DGRAM, 0)),
	    last = (int)works(socket(AF_INET, SOCK_DGRAM, 0)), other = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	socklen_t length = sizeof(own);
	char byte;

	works(getsockname(peer, SA(own), &length));
	diff_set_int(first, SOL_SOCKET, SO_REUSEADDR, 1);
	diff_set_int(last, SOL_SOCKET, SO_REUSEADDR, 1);
	works(bind(first, SA(any), sizeof(any)));
	any.sin_port = htons(diff_port(first));
	works(bind(last, SA(any), sizeof(any)));
	works(connect(last, SA(own), sizeof(own)));
	local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	local.sin_port = any.sin_port;
	works(connect(other, SA(local), sizeof(local)));
	for (int i = 0; i < 3; i++) {
		same(send(other, "x", 1, 0), 1);
		is(diff_readable(first, 3000));
		same(recv(first, &byte, 1, 0), 1);
	}
	works(close(first));
	same(send(other, "x", 1, 0), 1);
	fails(recv(other, &byte, 1, 0), ECONNREFUSED);
	works(connect(last, &nowhere, sizeof(nowhere)));
	same(send(other, "y", 1, 0), 1);
	is(diff_readable(last, 3000));
	same(recv(last, &byte, 1, 0), 1);
}

CASE(recvfrom__address_of_the_sender__cut_to_length)
{
	struct sockaddr_in from, wanted;
	socklen_t length = sizeof(from);
	int a = diff_udp(), b = diff_udp();
	char text[8];
	unsigned char small[8];

	wanted = name_of(a);
	send_to(a, "one", 3, b);
	is(diff_readable(b, 3000));
	same(recvfrom(b, text, 8, 0, SA(from), &length), 3);
	same(length, sizeof(from));
	same_bytes(&from, &wanted, sizeof(from));
	send_to(a, "two", 3, b);
	is(diff_readable(b, 3000));
	length = 6;
	memset(small, 0xee, sizeof(small));
	same(recvfrom(b, text, 8, 0, (struct sockaddr *)small, &length), 3);
	same(length, sizeof(from));
	same_bytes(small, &wanted, 6);
	same(small[6], 0xee);
	send_to(a, "new", 3, b);
	is(diff_readable(b, 3000));
	same(recvfrom(b, text, 8, 0, NULL, NULL), 3);
}

CASE(datagram_longer_than_the_buffer__cut_and_told)
{
	char text[4];
	struct iovec part = {text, 4};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int a, b;

	diff_udp_pair(&a, &b);
	same(send(a, "abcdefgh", 8, 0), 8);
	same(send(a, "abcdefgh", 8, 0), 8);
	same(send(a, "abcdefgh", 8, 0), 8);
	same(send(a, "next", 4, 0), 4);
	is(diff_readable(b, 3000));
	same(recv(b, text, 4, 0), 4);
	is(diff_readable(b, 3000));
	same(recv(b, text, 4, MSG_TRUNC), 8);
	is(diff_readable(b, 3000));
	same(recvmsg(b, &message, 0), 4);
	same(message.msg_flags, MSG_TRUNC);
	is(diff_readable(b, 3000));
	same(recvmsg(b, &message, 0), 4);
	same(message.msg_flags, 0);
	same_bytes(text, "next", 4);
}

CASE(datagram_of_zero_bytes__is_one)
{
	char text[4];
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	int a = diff_udp(), b = diff_udp(), have = -1;

	send_to(a, "", 0, b);
	is(diff_readable(b, 3000));
	works(ioctl(b, FIONREAD, &have));
	same(have, 0);
	same(recvfrom(b, text, 4, 0, SA(from), &length), 0);
	same(length, sizeof(from));
	fails(recv(b, text, 4, MSG_DONTWAIT), EAGAIN);
}

CASE(fionread__size_of_the_next_datagram)
{
	int a, b, have = -1;

	diff_udp_pair(&a, &b);
	same(send(a, "abc", 3, 0), 3);
	same(send(a, "defgh", 5, 0), 5);
	is(diff_readable(b, 3000));
	works(ioctl(b, FIONREAD, &have));
	same(have, 3);
}

CASE(msg_peek__datagram_stays)
{
	char text[8];
	int a, b;

	diff_udp_pair(&a, &b);
	same(send(a, "abc", 3, 0), 3);
	is(diff_readable(b, 3000));
	same(recv(b, text, 8, MSG_PEEK), 3);
	same(recv(b, text, 2, MSG_PEEK), 2);
	same(recv(b, text, 8, 0), 3);
	same_bytes(text, "abc", 3);
}

CASE(sendmsg__three_parts__one_datagram)
{
	char text[16];
	struct iovec parts[3] = {{"ab", 2}, {"cde", 3}, {"f", 1}};
	struct sockaddr_in to;
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3, .msg_name = &to, .msg_namelen = sizeof(to)};
	int a = diff_udp(), b = diff_udp();

	to = name_of(b);
	same(sendmsg(a, &message, 0), 6);
	is(diff_readable(b, 3000));
	same(recv(b, text, 16, 0), 6);
	same_bytes(text, "abcdef", 6);
	same(writev(a, parts, 0), 0);
	works(connect(a, SA(to), sizeof(to)));
	same(writev(a, parts, 3), 6);
	is(diff_readable(b, 3000));
	same(readv(b, (struct iovec[2]){{text, 4}, {text + 4, 4}}, 2), 6);
	same_bytes(text, "abcdef", 6);
}

/* recvmmsg(2): the time is looked at after each message, and what is left of it is told when there was one. */
CASE(recvmmsg__timeout__what_is_left_is_told)
{
	char text[2][4];
	struct iovec part[2] = {{text[0], 4}, {text[1], 4}};
	struct mmsghdr got[2] = {0};
	struct timespec left = {5, 0}, forever = {INT64_MAX, 999999999};
	int a, b;

	for (int i = 0; i < 2; i++)
		got[i].msg_hdr = (struct msghdr){.msg_iov = &part[i], .msg_iovlen = 1};
	diff_udp_pair(&a, &b);
	for (int i = 0; i < 8; i++)
		same(send(a, "x", 1, 0), 1);
	same(recvmmsg(b, got, 2, 0, &left), 2);
	same(left.tv_sec, 4);
	is(left.tv_nsec > 0);
	same(recvmmsg(b, got, 1, 0, &forever), 1);
	is(forever.tv_sec > INT64_MAX / 2);
	left = (struct timespec){0, 0};
	same(recvmmsg(b, got, 2, 0, &left), 1);
	same(left.tv_sec, 0);
	same(left.tv_nsec, 0);
	left = (struct timespec){0, 1};
	same(recvmmsg(b, got, 2, 0, &left), 1);
	same(left.tv_nsec, 0);
	same(recvmmsg(b, got, 2, 0, NULL), 2);
	same(recvmmsg(b, got, 1, 0, NULL), 1);
	left = (struct timespec){5, 7};
	fails(recvmmsg(b, got, 2, MSG_DONTWAIT, &left), EAGAIN);
	same(left.tv_sec, 5);
	same(left.tv_nsec, 7);
	same(recvmmsg(b, got, 0, MSG_DONTWAIT, &left), 0);
	same(left.tv_nsec, 7);
}

CASE(recvmmsg__timeout_that_is_none__refused)
{
	char text[4];
	struct iovec part = {text, 4};
	struct mmsghdr got = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	struct timespec bad[] = {{0, -1}, {-1, 0}, {1, 1000000000}};
	int a, b;

	diff_udp_pair(&a, &b);
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(b, 3000));
	for (int i = 0; i < 3; i++)
		fails(recvmmsg(b, &got, 1, MSG_DONTWAIT, &bad[i]), EINVAL);
	fails(recvmmsg(b, &got, 1, MSG_DONTWAIT, (struct timespec *)8), EFAULT);
	same(recvmmsg(b, &got, 1, MSG_DONTWAIT, NULL), 1);
}

CASE(sendmmsg_recvmmsg__many_datagrams)
{
	enum { N = 8 };
	char in[N][8];
	struct iovec out_part[N], in_part[N];
	struct mmsghdr out[N] = {0}, got[N] = {0};
	struct sockaddr_in from[N];
	int a, b;

	diff_udp_pair(&a, &b);
	for (int i = 0; i < N; i++) {
		out_part[i] = (struct iovec){"01234567", (size_t)i + 1};
		out[i].msg_hdr = (struct msghdr){.msg_iov = &out_part[i], .msg_iovlen = 1};
		in_part[i] = (struct iovec){in[i], 8};
		got[i].msg_hdr = (struct msghdr){.msg_iov = &in_part[i], .msg_iovlen = 1,
			.msg_name = &from[i], .msg_namelen = sizeof(from[i])};
	}
	same(sendmmsg(a, out, N, 0), N);
	for (int have = 0, end = 0; have < N && end < 1000; end++) {
		int n;

		is(diff_readable(b, 3000));
		n = (int)works(recvmmsg(b, got + have, (unsigned)(N - have), MSG_DONTWAIT, NULL));
		have += n;
	}
	for (int i = 0; i < N; i++) {
		same(got[i].msg_len, i + 1);
		same(got[i].msg_hdr.msg_namelen, sizeof(from[i]));
		same(from[i].sin_port, name_of(a).sin_port);
	}
	fails(recvmmsg(b, got, N, MSG_DONTWAIT, NULL), EAGAIN);
}

CASE(largest_datagram__whole_and_one_more_emsgsize)
{
	enum { LARGEST = 65507 };
	static char out[LARGEST + 1], in[LARGEST + 1];
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(a, SOL_SOCKET, SO_SNDBUF, 200000);
	diff_pattern(out, sizeof(out), 2, 0);
	fails(send(a, out, LARGEST + 1, 0), EMSGSIZE);
	same(send(a, out, LARGEST, 0), LARGEST);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), LARGEST);
	same_bytes(in, out, LARGEST);
	same(send(a, out, 4000, 0), 4000);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 4000);
	same_bytes(in, out, 4000);
}

CASE(unconnected__send_without_address__edestaddrreq)
{
	int a = diff_udp();

	fails(send(a, "x", 1, 0), EDESTADDRREQ);
	fails(write(a, "x", 1), EDESTADDRREQ);
	fails(sendto(a, "x", 1, 0, NULL, 0), EDESTADDRREQ);
}

CASE(bad_addresses__errno)
{
	struct sockaddr_in address = diff_addr(9);
	struct sockaddr_in6 address6 = {.sin6_family = AF_INET6};
	int a = diff_udp();

	fails(sendto(a, "x", 1, 0, SA(address), 4), EINVAL);
	fails(sendto(a, "x", 1, 0, SA(address6), sizeof(address6)), EAFNOSUPPORT);
	address.sin_port = 0;
	fails(sendto(a, "x", 1, 0, SA(address), sizeof(address)), EINVAL);
	fails(sendto(a, "x", 1, 0, (struct sockaddr *)8, sizeof(address)), EFAULT);
	fails(sendto(a, (void *)8, 1, 0, SA(address), sizeof(address)), EINVAL);
	address.sin_port = htons(9);
	fails(sendto(a, (void *)8, 1, 0, SA(address), sizeof(address)), EFAULT);
	fails(sendto(a, "x", 1, MSG_OOB, SA(address), sizeof(address)), EOPNOTSUPP);
}

CASE(connect__only_the_peer_is_heard)
{
	char text[8];
	int a = diff_udp(), b = diff_udp(), c = diff_udp();
	struct sockaddr_in to_b = name_of(b), peer;
	socklen_t length = sizeof(peer);

	fails(getpeername(a, SA(peer), &length), ENOTCONN);
	works(connect(a, SA(to_b), sizeof(to_b)));
	works(getpeername(a, SA(peer), &length));
	same_bytes(&peer, &to_b, sizeof(peer));
	send_to(c, "other", 5, a);
	send_to(b, "peer", 4, a);
	is(diff_readable(a, 3000));
	same(recv(a, text, 8, 0), 4);
	fails(recv(a, text, 8, MSG_DONTWAIT), EAGAIN);
	/* A connected socket may still send elsewhere. */
	send_to(a, "hello", 5, c);
	is(diff_readable(c, 3000));
	same(recv(c, text, 8, 0), 5);
	/* To another peer, and to none. */
	struct sockaddr_in to_c = name_of(c);
	works(connect(a, SA(to_c), sizeof(to_c)));
	same(send(a, "c", 1, 0), 1);
	is(diff_readable(c, 3000));
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	works(connect(a, &nowhere, sizeof(nowhere)));
	fails(getpeername(a, SA(peer), &length), ENOTCONN);
	fails(send(a, "x", 1, 0), EDESTADDRREQ);
}

static bool is_refused(void *arg)
{
	return diff_int_option(*(int *)arg, SOL_SOCKET, SO_ERROR) == ECONNREFUSED;
}

CASE(connect_port_0__connected_to_nobody)
{
	struct sockaddr_in nobody = diff_addr(0), peer;
	socklen_t length = sizeof(peer);
	int fd = diff_udp();

	works(connect(fd, SA(nobody), sizeof(nobody)));
	fails(getpeername(fd, SA(peer), &length), ENOTCONN);
	same(send(fd, "x", 1, 0), 1);
	is(diff_until(is_refused, &fd, 3000));
}

CASE(connect_unbound__gets_address_and_port)
{
	int b = diff_udp(), a = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in to_b = name_of(b), mine, from;
	socklen_t length = sizeof(from);
	char text[4];

	works(connect(a, SA(to_b), sizeof(to_b)));
	mine = name_of(a);
	same(mine.sin_addr.s_addr, to_b.sin_addr.s_addr);
	is(mine.sin_port != 0);
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(b, 3000));
	same(recvfrom(b, text, 4, 0, SA(from), &length), 1);
	same_bytes(&from, &mine, sizeof(from));
}

CASE(connect_unspec__bound_again)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	int b = diff_udp(), a = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in to_b = name_of(b), mine;

	works(connect(a, SA(to_b), sizeof(to_b)));
	mine = name_of(a);
	works(connect(a, &nowhere, sizeof(nowhere)));
	same(name_of(a).sin_port, 0);
	works(bind(a, SA(mine), sizeof(mine)));
	same(name_of(a).sin_port, mine.sin_port);
	fails(bind(a, SA(mine), sizeof(mine)), EINVAL);
	send_to(a, "x", 1, b);
	is(diff_readable(b, 3000));
}

CASE(sendto_unbound__gets_a_port)
{
	int b = diff_udp(), a = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	char text[4];

	send_to(a, "x", 1, b);
	is(name_of(a).sin_port != 0);
	is(diff_readable(b, 3000));
	same(recvfrom(b, text, 4, 0, SA(from), &length), 1);
	same(from.sin_port, name_of(a).sin_port);
	send_to(b, "answer", 4, a);
}

CASE(connected__nobody_there__econnrefused_once)
{
	int gone = diff_udp(), a = diff_udp();
	struct sockaddr_in to = name_of(gone);
	char byte;

	works(close(gone));
	works(connect(a, SA(to), sizeof(to)));
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	fails(recv(a, &byte, 1, MSG_DONTWAIT), ECONNREFUSED);
	fails(recv(a, &byte, 1, MSG_DONTWAIT), EAGAIN);
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	fails(send(a, "x", 1, 0), ECONNREFUSED);
	same(send(a, "x", 1, 0), 1);
	same(diff_poll(a, POLLIN, 3000) & POLLERR, POLLERR);
	same(diff_int_option(a, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	same(diff_int_option(a, SOL_SOCKET, SO_ERROR), 0);
}

CASE(unconnected__nobody_there__nothing_is_said)
{
	int gone = diff_udp(), a = diff_udp();
	struct sockaddr_in to = name_of(gone);

	works(close(gone));
	for (int i = 0; i < 3; i++)
		same(sendto(a, "x", 1, 0, SA(to), sizeof(to)), 1);
	same(diff_poll(a, POLLIN, 50), 0);
	same(diff_int_option(a, SOL_SOCKET, SO_ERROR), 0);
}

CASE(bind__in_use__eaddrinuse_unless_reuse)
{
	int a = diff_udp(), b = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	struct sockaddr_in address = name_of(a);

	fails(bind(b, SA(address), sizeof(address)), EADDRINUSE);
	works(close(a));
	works(bind(b, SA(address), sizeof(address)));
	fails(bind(b, SA(address), sizeof(address)), EINVAL);
	/* A TCP socket may have the same number. */
	int tcp = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	works(bind(tcp, SA(address), sizeof(address)));
}

CASE(reuseport__each_datagram_to_one_of_them)
{
	int one = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_DGRAM, 0)), seen = 0;
	struct sockaddr_in address = diff_addr(0);
	char text[8];

	diff_set_int(one, SOL_SOCKET, SO_REUSEPORT, 1);
	diff_set_int(two, SOL_SOCKET, SO_REUSEPORT, 1);
	works(bind(one, SA(address), sizeof(address)));
	address = name_of(one);
	works(bind(two, SA(address), sizeof(address)));
	for (int i = 0; i < 32; i++) {
		int sender = diff_udp();

		send_to(sender, "x", 1, one);
		works(close(sender));
	}
	while (seen < 32) {
		struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};

		is(poll(both, 2, 3000) > 0);
		for (int i = 0; i < 2; i++)
			if (both[i].revents & POLLIN) {
				same(recv(both[i].fd, text, 8, 0), 1);
				seen++;
			}
	}
}

CASE(shutdown__unconnected_enotconn__connected_works)
{
	char byte;
	int a, b, c = diff_udp();

	fails(shutdown(c, SHUT_WR), ENOTCONN);
	diff_udp_pair(&a, &b);
	works(shutdown(a, SHUT_WR));
	fails(send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
	works(shutdown(b, SHUT_RD));
	same(recv(b, &byte, 1, 0), 0);
}

CASE(poll__udp__writable_and_readable)
{
	int a, b;

	diff_udp_pair(&a, &b);
	same(diff_poll(a, POLLIN | POLLOUT, 0), POLLOUT);
	same(send(b, "x", 1, 0), 1);
	is(diff_readable(a, 3000));
	same(diff_poll(a, POLLIN | POLLOUT, 0), POLLIN | POLLOUT);
}

CASE(receive_queue_full__drops_but_keeps_what_it_has)
{
	static char chunk[1000];
	int a, b, got = 0;

	diff_udp_pair(&a, &b);
	diff_set_int(b, SOL_SOCKET, SO_RCVBUF, 10000);
	for (uint32_t i = 0; i < 500; i++) {
		memcpy(chunk, &i, sizeof(i));
		same(send(a, chunk, sizeof(chunk), 0), sizeof(chunk));
	}
	is(diff_readable(b, 3000));
	while (diff_poll(b, POLLIN, 100) != 0) {
		uint32_t number;

		same(recv(b, chunk, sizeof(chunk), MSG_DONTWAIT), sizeof(chunk));
		memcpy(&number, chunk, sizeof(number));
		is(number >= (uint32_t)got);
		got++;
	}
	is(got >= 4 && got < 500);
	/* And hears what comes then. */
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(b, 3000));
	same(recv(b, chunk, sizeof(chunk), 0), 1);
}

CASE(ip_pktinfo__the_destination_address)
{
	char control[256], text[4];
	struct iovec part = {text, 4};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control)};
	int a = diff_udp(), b = diff_udp();
	struct cmsghdr *head;

	diff_set_int(b, IPPROTO_IP, IP_PKTINFO, 1);
	send_to(a, "x", 1, b);
	is(diff_readable(b, 3000));
	same(recvmsg(b, &message, 0), 1);
	head = CMSG_FIRSTHDR(&message);
	is(head != NULL && head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO);
	struct in_pktinfo info;
	memcpy(&info, CMSG_DATA(head), sizeof(info));
	same(info.ipi_addr.s_addr, diff_addr(0).sin_addr.s_addr);
}

CASE(udp__both_ends_in_threads__ping_pong)
{
	int a, b;

	diff_udp_pair(&a, &b);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		uint32_t n;

		for (int i = 0; i < 2000; i++) {
			same(recv(b, &n, sizeof(n), 0), sizeof(n));
			same(send(b, &n, sizeof(n), 0), sizeof(n));
		}
		exit(0);
	}
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t n = 0;

		same(send(a, &i, sizeof(i), 0), sizeof(i));
		same(recv(a, &n, sizeof(n), 0), sizeof(n));
		same(n, i);
	}
	diff_join(child);
}

/* The error of what was sent comes before what was received, and no call of many forgets it. */
CASE(refused__with_datagrams_there__the_error_first)
{
	char text[4][8];
	struct iovec v[4];
	struct mmsghdr many[4] = {{.msg_len = 0}};
	int a, b;

	for (int i = 0; i < 4; i++) {
		v[i] = (struct iovec){text[i], sizeof(text[i])};
		many[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	}
	for (int how = 0; how < 2; how++) {
		diff_udp_pair(&a, &b);
		same(send(a, "one", 3, 0), 3);
		same(send(a, "two", 3, 0), 3);
		is(diff_readable(b, 3000));
		works(close(a));
		same(send(b, "x", 1, 0), 1);
		same(diff_poll(b, 0, 3000), POLLERR);
		if (how == 0)
			fails(recv(b, text[0], sizeof(text[0]), 0), ECONNREFUSED);
		else
			fails(recvmmsg(b, many, 4, MSG_DONTWAIT, NULL), ECONNREFUSED);
		same(recvmmsg(b, many, 4, MSG_DONTWAIT, NULL), 2);
		same_bytes(text[1], "two", 3);
		works(close(b));
	}
}

/* Only sending knows that nothing is urgent here. */
CASE(urgent__datagrams__received_like_any)
{
	char text[4];
	int a, b;

	diff_udp_pair(&a, &b);
	fails(recv(b, text, 4, MSG_OOB | MSG_DONTWAIT), EAGAIN);
	fails(send(a, "ab", 2, MSG_OOB), EOPNOTSUPP);
	same(send(a, "ab", 2, 0), 2);
	is(diff_readable(b, 3000));
	same(recv(b, text, 4, MSG_OOB), 2);
	fails(sockatmark(b), ENOTTY);
}

/* --- a reader that waits before the socket is bound ------------------------------------------------- */

struct early_reader {
	int fd, way;
	pid_t tid;
	char got[8];
	ssize_t n;
};
enum { BY_RECV, BY_READ, BY_RECVMSG, BY_POLL, BY_SELECT, BY_WAYS };

static void *early_read(void *arg)
{
	struct early_reader *r = arg;
	struct iovec iov = {r->got, sizeof(r->got)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct timeval most = {.tv_sec = 10};
	fd_set in;

	__atomic_store_n(&r->tid, gettid(), __ATOMIC_RELEASE);
	if (r->way == BY_POLL)
		same(diff_poll(r->fd, POLLIN, 10000), POLLIN);
	if (r->way == BY_SELECT) {
		FD_ZERO(&in);
		FD_SET(r->fd, &in);
		same(select(r->fd + 1, &in, NULL, NULL, &most), 1);
	}
	if (r->way == BY_READ)
		r->n = read(r->fd, r->got, sizeof(r->got));
	else if (r->way == BY_RECVMSG)
		r->n = recvmsg(r->fd, &msg, 0);
	else
		r->n = recv(r->fd, r->got, sizeof(r->got), 0);
	return NULL;
}

static bool reader_begun(void *arg)
{
	return __atomic_load_n(&((struct early_reader *)arg)->tid, __ATOMIC_ACQUIRE) != 0;
}

static pthread_t early_reader_start(struct early_reader *r)
{
	pthread_t thread;

	r->fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	r->tid = 0;
	thread = diff_thread(early_read, r);
	is(diff_until(reader_begun, r, 3000));
	diff_wait_blocked(r->tid);
	return thread;
}

CASE(reader_first__then_the_first_sendto__hears_the_answer)
{
	for (int way = 0; way < BY_WAYS; way++) {
		struct early_reader r = {.way = way};
		pthread_t thread = early_reader_start(&r);
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		int server = diff_udp();
		char text[8];

		send_to(r.fd, "ask", 3, server);
		same(recvfrom(server, text, sizeof(text), 0, SA(from), &length), 3);
		same(sendto(server, "answer", 6, 0, SA(from), length), 6);
		pthread_join(thread, NULL);
		same(r.n, 6);
		same_bytes(r.got, "answer", 6);
		works(close(server));
		works(close(r.fd));
	}
}

CASE(reader_first__then_bind_or_connect__hears)
{
	for (int connects = 0; connects < 2; connects++) {
		struct early_reader r = {.way = BY_RECV};
		pthread_t thread = early_reader_start(&r);
		struct sockaddr_in address = diff_addr(0);
		int server = diff_udp();

		if (connects)
			address = name_of(server);
		works(connects ? connect(r.fd, SA(address), sizeof(address)) : bind(r.fd, SA(address), sizeof(address)));
		send_to(server, "hello", 5, r.fd);
		pthread_join(thread, NULL);
		same(r.n, 5);
		works(close(server));
		works(close(r.fd));
	}
}

static void on_signal(int sig)
{
	(void)sig;
}

CASE(reader_before_bind__its_time_and_signals_end_it)
{
	struct timeval t = {.tv_usec = 50000};
	struct sigaction action = {.sa_handler = on_signal};
	struct early_reader r = {.way = BY_RECV};
	int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	pthread_t thread;
	char byte;

	works(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	fails(recv(fd, &byte, 1, 0), EAGAIN);
	fails(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
	diff_nonblock(fd);
	fails(read(fd, &byte, 1), EAGAIN);
	same(diff_poll(fd, POLLIN, 30), 0);
	works(sigaction(SIGUSR1, &action, NULL));
	thread = early_reader_start(&r);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	same(r.n, -1);
	thread = early_reader_start(&r);
	works(pthread_cancel(thread) == 0 ? 0 : -1);
	pthread_join(thread, NULL);
	works(close(r.fd));
}
