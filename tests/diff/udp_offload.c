/* SPDX-License-Identifier: BSD-3-Clause */
/* Many datagrams in one call, and one datagram in many (udp(7)): UDP_SEGMENT, UDP_GRO, UDP_CORK, MSG_MORE. */
#include <netinet/udp.h>
#include <sys/uio.h>

#include "tests/diff/diff.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static char out[70000], in[70000];

/* Sends n bytes with UDP_SEGMENT as a control message. */
static ssize_t
send_cut(int fd, size_t n, uint16_t segment)
{
	char control[CMSG_SPACE(sizeof(segment))] = {0};
	struct iovec part = {out, n};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_len = CMSG_LEN(sizeof(segment));
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	memcpy(CMSG_DATA(c), &segment, sizeof(segment));
	return sendmsg(fd, &message, 0);
}

/* What comes is n bytes of the pattern in datagrams of `segment`, the last one perhaps smaller. */
static void
expect_cut(int fd, size_t n, size_t segment)
{
	for (size_t at = 0; at < n;) {
		size_t wanted = n - at < segment ? n - at : segment;

		is(diff_readable(fd, 3000));
		same(recv(fd, in, sizeof(in), 0), wanted);
		same_bytes(in, out + at, wanted);
		at += wanted;
	}
	fails(recv(fd, in, sizeof(in), MSG_DONTWAIT), EAGAIN);
}

CASE(udp_segment__one_send_is_many_datagrams)
{
	int a, b;

	diff_udp_pair(&a, &b);
	diff_pattern(out, sizeof(out), 1, 0);
	diff_set_int(a, IPPROTO_UDP, UDP_SEGMENT, 1000);
	same(diff_int_option(a, IPPROTO_UDP, UDP_SEGMENT), 1000);
	same(send(a, out, 10500, 0), 10500);
	expect_cut(b, 10500, 1000);
	same(send(a, out, 3000, 0), 3000);
	expect_cut(b, 3000, 1000);
	same(send(a, out, 1000, 0), 1000);
	expect_cut(b, 1000, 1000);
	same(send(a, out, 999, 0), 999);
	expect_cut(b, 999, 1000);
	same(send(a, out, 0, 0), 0);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 0);
	diff_set_int(a, IPPROTO_UDP, UDP_SEGMENT, 0);
	same(send(a, out, 10500, 0), 10500);
	expect_cut(b, 10500, 10500);
}

CASE(udp_segment__as_a_control_message)
{
	int a, b;

	diff_udp_pair(&a, &b);
	diff_pattern(out, sizeof(out), 2, 0);
	same(send_cut(a, 5000, 1400), 5000);
	expect_cut(b, 5000, 1400);
	diff_set_int(a, IPPROTO_UDP, UDP_SEGMENT, 700);
	same(send_cut(a, 5000, 1400), 5000); /* instead of the option's */
	expect_cut(b, 5000, 1400);
	same(send_cut(a, 5000, 0), 5000); /* none */
	expect_cut(b, 5000, 5000);
}

CASE(udp_segment__limits)
{
	int a, b, v = -1;

	diff_udp_pair(&a, &b);
	fails(setsockopt(a, IPPROTO_UDP, UDP_SEGMENT, &v, sizeof(v)), EINVAL);
	v = 65536;
	fails(setsockopt(a, IPPROTO_UDP, UDP_SEGMENT, &v, sizeof(v)), EINVAL);
	same(send_cut(a, 64 * 10, 10), 640);
	expect_cut(b, 640, 10);
	fails(send_cut(a, 129 * 10, 10), EINVAL); /* more than UDP_MAX_SEGMENTS */
	fails(send_cut(a, 65508, 1400), EMSGSIZE);
}

CASE(udp_gro__bursts_come_together__with_their_size)
{
	char control[256];
	struct iovec part = {in, sizeof(in)};
	size_t have = 0;
	bool merged = false;
	int a, b;

	diff_udp_pair(&a, &b);
	diff_pattern(out, sizeof(out), 3, 0);
	same(diff_int_option(b, IPPROTO_UDP, UDP_GRO), 0);
	diff_set_int(b, IPPROTO_UDP, UDP_GRO, 1);
	same(diff_int_option(b, IPPROTO_UDP, UDP_GRO), 1);
	same(send_cut(a, 20500, 1000), 20500);
	while (have < 20500) {
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
			.msg_controllen = sizeof(control)};
		struct cmsghdr *c;
		ssize_t n;

		is(diff_readable(b, 3000));
		n = works(recvmsg(b, &message, 0));
		same_bytes(in, out + have, (size_t)n);
		c = CMSG_FIRSTHDR(&message);
		if (n > 1000) {
			int size;

			is(c != NULL);
			same(c->cmsg_level, IPPROTO_UDP);
			same(c->cmsg_type, UDP_GRO);
			same(c->cmsg_len, CMSG_LEN(sizeof(size)));
			memcpy(&size, CMSG_DATA(c), sizeof(size));
			same(size, 1000);
			merged = true;
		}
		have += (size_t)n;
	}
	same(have, 20500);
	is(merged);
	diff_set_int(b, IPPROTO_UDP, UDP_GRO, 0);
	same(send_cut(a, 4000, 1000), 4000);
	expect_cut(b, 4000, 1000);
}

CASE(udp_gro__different_senders_stay_apart)
{
	int a = diff_udp(), c = diff_udp(), b = diff_udp();
	struct sockaddr_in to, from;
	socklen_t length = sizeof(to);

	works(getsockname(b, SA(to), &length));
	diff_set_int(b, IPPROTO_UDP, UDP_GRO, 1);
	for (int i = 0; i < 4; i++)
		same(sendto(i % 2 ? a : c, i % 2 ? "from a, yes" : "from c, yes", 11, 0, SA(to), sizeof(to)), 11);
	/* Which sender's come first is nobody's promise. */
	for (ssize_t all = 0, n; all < 44; all += n) {
		is(diff_readable(b, 3000));
		length = sizeof(from);
		n = recvfrom(b, in, sizeof(in), 0, SA(from), &length);
		is(n == 11 || n == 22);
		for (ssize_t at = 0; at < n; at += 11)
			same_bytes(in + at, ntohs(from.sin_port) == diff_port(a) ? "from a, yes" : "from c, yes", 11);
	}
}

CASE(msg_more__several_sends_are_one_datagram)
{
	int a, b;

	diff_udp_pair(&a, &b);
	same(send(a, "one ", 4, MSG_MORE), 4);
	same(send(a, "two ", 4, MSG_MORE), 4);
	fails(recv(b, in, sizeof(in), MSG_DONTWAIT), EAGAIN);
	same(send(a, "three", 5, 0), 5);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 13);
	same_bytes(in, "one two three", 13);
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 1);
}

/* What is corked fills the send buffer, and nobody but the next send takes it out. */
CASE(msg_more__beyond_what_is_free__goes_on)
{
	static char out[6000];
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(a, SOL_SOCKET, SO_SNDBUF, 4000);
	diff_pattern(out, sizeof(out), 1, 0);
	same(send(a, out, 5000, MSG_MORE), 5000);
	same(send(a, out + 5000, 1000, MSG_MORE), 1000);
	same(send(a, "", 0, 0), 0);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 6000);
	same_bytes(in, out, 6000);
}

CASE(udp_cork__until_it_is_taken_away)
{
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(a, IPPROTO_UDP, UDP_CORK, 1);
	same(diff_int_option(a, IPPROTO_UDP, UDP_CORK), 1);
	same(send(a, "abc", 3, 0), 3);
	same(send(a, "", 0, 0), 0);
	same(send(a, "def", 3, 0), 3);
	fails(recv(b, in, sizeof(in), MSG_DONTWAIT), EAGAIN);
	diff_set_int(a, IPPROTO_UDP, UDP_CORK, 0);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 6);
	same_bytes(in, "abcdef", 6);
	diff_set_int(a, IPPROTO_UDP, UDP_CORK, 1);
	diff_set_int(a, IPPROTO_UDP, UDP_CORK, 0); /* nothing was there: nothing is sent */
	fails(recv(b, in, sizeof(in), MSG_DONTWAIT), EAGAIN);
}

CASE(corked__the_first_destination_counts)
{
	int a = diff_udp(), b = diff_udp(), c = diff_udp();
	struct sockaddr_in to_b, to_c;
	socklen_t length = sizeof(to_b);

	works(getsockname(b, SA(to_b), &length));
	works(getsockname(c, SA(to_c), &length));
	same(sendto(a, "for ", 4, MSG_MORE, SA(to_b), sizeof(to_b)), 4);
	same(sendto(a, "b", 1, 0, SA(to_c), sizeof(to_c)), 1);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 5);
	fails(recv(c, in, sizeof(in), MSG_DONTWAIT), EAGAIN);
}

CASE(corked__too_much__emsgsize_and_forgotten)
{
	int a, b;

	diff_udp_pair(&a, &b);
	diff_set_int(a, SOL_SOCKET, SO_SNDBUF, 400000);
	same(send(a, out, 40000, MSG_MORE), 40000);
	fails(send(a, out, 40000, MSG_MORE), EMSGSIZE);
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(b, 3000));
	same(recv(b, in, sizeof(in), 0), 1);
}

CASE(corked__closed__nothing_is_sent)
{
	int a, b;

	diff_udp_pair(&a, &b);
	same(send(a, "never", 5, MSG_MORE), 5);
	works(close(a));
	same(diff_poll(b, POLLIN, 50), 0);
}
