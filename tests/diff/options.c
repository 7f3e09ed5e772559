/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket options read back, in every state; unknown ones; TCP_INFO (getsockopt(2), socket(7), tcp(7), ip(7)). */
#include <linux/sock_diag.h>
#include <netinet/ip.h>

#include "tests/diff/diff.h"

struct int_option {
	const char *name;
	int level, option, value, back;
};
#define O(level, option, value, back) {#option, level, option, value, back}
static const struct int_option stream_options[] = {
	O(SOL_SOCKET, SO_REUSEADDR, 1, 1),
	O(SOL_SOCKET, SO_REUSEADDR, 0, 0),
	O(SOL_SOCKET, SO_REUSEPORT, 1, 1),
	O(SOL_SOCKET, SO_KEEPALIVE, 5, 1),
	O(SOL_SOCKET, SO_BROADCAST, 1, 1),
	O(SOL_SOCKET, SO_OOBINLINE, 1, 1),
	O(SOL_SOCKET, SO_PRIORITY, 3, 3),
	O(SOL_SOCKET, SO_RCVLOWAT, 100, 100),
	O(SOL_SOCKET, SO_RCVLOWAT, 0, 1),
	O(SOL_SOCKET, SO_DONTROUTE, 1, 1),
	O(SOL_SOCKET, SO_TIMESTAMP, 1, 1),
	O(IPPROTO_TCP, TCP_NODELAY, 7, 1),
	O(IPPROTO_TCP, TCP_NODELAY, 0, 0),
	O(IPPROTO_TCP, TCP_CORK, 1, 1),
	O(IPPROTO_TCP, TCP_KEEPIDLE, 33, 33),
	O(IPPROTO_TCP, TCP_KEEPINTVL, 7, 7),
	O(IPPROTO_TCP, TCP_KEEPCNT, 4, 4),
	O(IPPROTO_TCP, TCP_SYNCNT, 3, 3),
	O(IPPROTO_TCP, TCP_USER_TIMEOUT, 12345, 12345),
	O(IPPROTO_TCP, TCP_LINGER2, 17, 17),
	O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 65536, 65536),
	O(IPPROTO_TCP, TCP_MAXSEG, 1000, 1000),
	O(IPPROTO_IP, IP_TTL, 42, 42),
	O(IPPROTO_IP, IP_TOS, 0x10, 0x10),
	O(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_DO),
	O(IPPROTO_IP, IP_RECVERR, 1, 1),
};
#define N(table) (sizeof(table) / sizeof((table)[0]))

/* The value is read back as Linux gives it. TCP_MAXSEG means the negotiated size once connected. */
static void
set_and_read(int fd, const struct int_option *o)
{
	socklen_t length = sizeof(int);
	int value = -1;

	if (setsockopt(fd, o->level, o->option, &o->value, sizeof(o->value)) != 0)
		diff_fail(__FILE__, __LINE__, "setting %s failed with %s", o->name, strerrorname_np(errno));
	if (getsockopt(fd, o->level, o->option, &value, &length) != 0)
		diff_fail(__FILE__, __LINE__, "reading %s failed with %s", o->name, strerrorname_np(errno));
	if (length != sizeof(int) || value != o->back)
		diff_fail(__FILE__, __LINE__, "%s: set %d, read %d (%u bytes), not %d", o->name, o->value,
			value, length, o->back);
}

CASE(quickack__on_until_taken_back)
{
	int client, server;

	diff_pair(&client, &server);
	same(diff_int_option(client, IPPROTO_TCP, TCP_QUICKACK), 1);
	diff_set_int(client, IPPROTO_TCP, TCP_QUICKACK, 0);
	same(diff_int_option(client, IPPROTO_TCP, TCP_QUICKACK), 0);
	diff_set_int(client, IPPROTO_TCP, TCP_QUICKACK, 1);
	same(diff_int_option(client, IPPROTO_TCP, TCP_QUICKACK), 1);
}

CASE(options__fresh_socket__read_back)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	for (size_t i = 0; i < N(stream_options); i++)
		if (stream_options[i].option != TCP_MAXSEG || stream_options[i].level != IPPROTO_TCP)
			set_and_read(fd, &stream_options[i]);
}

CASE(options__set_before_bind__kept_after_bind_and_connect)
{
	static const int checked[][3] = {{SOL_SOCKET, SO_KEEPALIVE, 1}, {IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 99}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 4321},
		{IPPROTO_IP, IP_TTL, 33}, {IPPROTO_IP, IP_TOS, 8}, {SOL_SOCKET, SO_RCVLOWAT, 9}};
	struct sockaddr_in mine = diff_addr(0);
	int listener = diff_listen(0, 0, 4), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(diff_port(listener));

	for (size_t i = 0; i < N(checked); i++)
		diff_set_int(fd, checked[i][0], checked[i][1], checked[i][2]);
	works(bind(fd, SA(mine), sizeof(mine)));
	for (size_t i = 0; i < N(checked); i++)
		same(diff_int_option(fd, checked[i][0], checked[i][1]), checked[i][2]);
	works(connect(fd, SA(address), sizeof(address)));
	for (size_t i = 0; i < N(checked); i++)
		same(diff_int_option(fd, checked[i][0], checked[i][1]), checked[i][2]);
}

CASE(options__notsent_lowat__none_at_first)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	same(diff_int_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
	diff_set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1);
	same(diff_int_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), -1);
}

static uint64_t
pacing_rate(int fd)
{
	uint64_t rate = 1;
	socklen_t length = sizeof(rate);

	works(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &length));
	same(length, sizeof(rate));
	return rate;
}

static void
pacing_rate_set_and_read(int fd)
{
	uint64_t rate = 5ull << 32;
	uint8_t part[3] = {0};
	socklen_t length = sizeof(part);

	is(pacing_rate(fd) == UINT64_MAX);
	same(diff_int_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE), -1);
	diff_set_int(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 123456);
	is(pacing_rate(fd) == 123456);
	same(diff_int_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE), 123456);
	works(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)));
	is(pacing_rate(fd) == rate);
	same(diff_int_option(fd, SOL_SOCKET, SO_MAX_PACING_RATE), -1); /* as much as fits */
	works(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, part, &length));
	same(length, sizeof(part));
	fails(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, part, sizeof(part)), EINVAL);
	diff_set_int(fd, SOL_SOCKET, SO_MAX_PACING_RATE, -1);
	is(pacing_rate(fd) == UINT64_MAX);
}

CASE(options__max_pacing_rate__32_and_64_bits)
{
	int client, server;

	pacing_rate_set_and_read((int)works(socket(AF_INET, SOCK_STREAM, 0)));
	pacing_rate_set_and_read((int)works(socket(AF_INET, SOCK_DGRAM, 0)));
	diff_pair(&client, &server);
	pacing_rate_set_and_read(client);
	pacing_rate_set_and_read(server);
	diff_udp_pair(&client, &server);
	pacing_rate_set_and_read(client);
}

CASE(options__max_pacing_rate_set_before__holds_when_connected)
{
	int listener = diff_listen(0, 0, 4), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(diff_port(listener));

	diff_set_int(listener, SOL_SOCKET, SO_MAX_PACING_RATE, 777777);
	diff_set_int(fd, SOL_SOCKET, SO_MAX_PACING_RATE, 555555);
	works(connect(fd, SA(address), sizeof(address)));
	is(pacing_rate(fd) == 555555);
	fd = (int)works(accept(listener, NULL, NULL));
	is(pacing_rate(fd) == 777777);
}

/* All of Linux's struct, which netinet/tcp.h cuts. */
CASE(tcp_info__its_later_fields__are_there)
{
	static const size_t pacing_rate_at = 104, max_pacing_rate_at = 112, bytes_acked_at = 120, least = 184;
	uint64_t rate, most, acked;
	uint8_t info[512];
	socklen_t length = sizeof(info);
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(client, SOL_SOCKET, SO_MAX_PACING_RATE, 3000000);
	diff_send_pattern(client, 20000, 1);
	diff_expect_pattern(server, 20000, 1);
	do { /* the last ACK may be on its way */
		length = sizeof(info);
		works(getsockopt(client, IPPROTO_TCP, TCP_INFO, info, &length));
		is(length >= least);
		memcpy(&rate, info + pacing_rate_at, sizeof(rate));
		memcpy(&most, info + max_pacing_rate_at, sizeof(most));
		memcpy(&acked, info + bytes_acked_at, sizeof(acked));
	} while (acked < 20000);
	same(most, 3000000);
	is(rate > 0 && rate <= most);
}

CASE(options__connected__read_back)
{
	int client, server;

	diff_pair(&client, &server);
	for (size_t i = 0; i < N(stream_options); i++)
		if (stream_options[i].option != TCP_MAXSEG || stream_options[i].level != IPPROTO_TCP)
			set_and_read(client, &stream_options[i]);
	for (size_t i = 0; i < N(stream_options); i++)
		if (stream_options[i].option != TCP_MAXSEG || stream_options[i].level != IPPROTO_TCP)
			set_and_read(server, &stream_options[i]);
}

CASE(options__listening__read_back)
{
	int fd = diff_listen(0, 0, 1);

	for (size_t i = 0; i < N(stream_options); i++)
		if (stream_options[i].option != TCP_MAXSEG || stream_options[i].level != IPPROTO_TCP)
			set_and_read(fd, &stream_options[i]);
	diff_set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3);
	is(diff_int_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) >= 3);
}

CASE(options__unknown__enoprotoopt)
{
	int client, server, value = 1;
	socklen_t length = sizeof(value);

	diff_pair(&client, &server);
	fails(setsockopt(client, SOL_SOCKET, 9999, &value, sizeof(value)), ENOPROTOOPT);
	fails(getsockopt(client, SOL_SOCKET, 9999, &value, &length), ENOPROTOOPT);
	fails(setsockopt(client, IPPROTO_TCP, 9999, &value, sizeof(value)), ENOPROTOOPT);
	fails(getsockopt(client, IPPROTO_TCP, 9999, &value, &length), ENOPROTOOPT);
	fails(setsockopt(client, IPPROTO_IP, 9999, &value, sizeof(value)), ENOPROTOOPT);
	fails(getsockopt(client, IPPROTO_IP, 9999, &value, &length), ENOPROTOOPT);
	fails(setsockopt(client, 7777, 1, &value, sizeof(value)), ENOPROTOOPT);
	fails(getsockopt(client, 7777, 1, &value, &length), EOPNOTSUPP);
}

CASE(options__read_only__enoprotoopt)
{
	int client, server, value = 1;

	diff_pair(&client, &server);
	fails(setsockopt(client, SOL_SOCKET, SO_TYPE, &value, sizeof(value)), ENOPROTOOPT);
	fails(setsockopt(client, SOL_SOCKET, SO_ERROR, &value, sizeof(value)), ENOPROTOOPT);
	fails(setsockopt(client, SOL_SOCKET, SO_DOMAIN, &value, sizeof(value)), ENOPROTOOPT);
	fails(setsockopt(client, SOL_SOCKET, SO_PROTOCOL, &value, sizeof(value)), ENOPROTOOPT);
}

CASE(options__short_or_bad__errno)
{
	int client, server, value = 1;
	socklen_t length = sizeof(value);

	diff_pair(&client, &server);
	fails(setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, 2), EINVAL);
	fails(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &value, 2), EINVAL);
	fails(setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, (void *)8, sizeof(value)), EFAULT);
	fails(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, (void *)8, sizeof(value)), EFAULT);
	fails(getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t *)8), EFAULT);
	fails(getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, (void *)8, &length), EFAULT);
	length = (socklen_t)-1;
	fails(getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &value, &length), EINVAL);
	fails(setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)), EBADF);
	fails(getsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &value, &length), EBADF);
	/* Fewer bytes than an int are what is asked for. */
	unsigned char byte = 0xee;
	length = 1;
	diff_set_int(client, SOL_SOCKET, SO_KEEPALIVE, 1);
	works(getsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &byte, &length));
	same(length, 1);
	same(byte, 1);
}

CASE(options__out_of_range__einval)
{
	int client, server, value;

	diff_pair(&client, &server);
	for (value = 0; value != -1; value = -1) {
		fails(setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(value)), EINVAL);
		fails(setsockopt(client, IPPROTO_TCP, TCP_KEEPINTVL, &value, sizeof(value)), EINVAL);
		fails(setsockopt(client, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(value)), EINVAL);
		fails(setsockopt(client, IPPROTO_TCP, TCP_SYNCNT, &value, sizeof(value)), EINVAL);
		fails(setsockopt(client, IPPROTO_IP, IP_TTL, &value, sizeof(value)), EINVAL);
	}
	value = 256;
	fails(setsockopt(client, IPPROTO_IP, IP_TTL, &value, sizeof(value)), EINVAL);
	fails(setsockopt(client, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(value)), EINVAL);
	value = 40000;
	fails(setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(value)), EINVAL);
}

CASE(so_linger_and_timeouts__structures_read_back)
{
	struct linger linger = {.l_onoff = 5, .l_linger = 9}, linger_back;
	struct timeval time = {.tv_sec = 2, .tv_usec = 500000}, time_back, bad = {.tv_usec = 1000000};
	socklen_t length = sizeof(linger_back);
	int client, server;

	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	works(getsockopt(client, SOL_SOCKET, SO_LINGER, &linger_back, &length));
	same(linger_back.l_onoff, 1);
	same(linger_back.l_linger, 9);
	for (int which = 0; which < 2; which++) {
		int option = which == 0 ? SO_RCVTIMEO : SO_SNDTIMEO;

		length = sizeof(time_back);
		works(getsockopt(client, SOL_SOCKET, option, &time_back, &length));
		same(time_back.tv_sec, 0);
		same(time_back.tv_usec, 0);
		works(setsockopt(client, SOL_SOCKET, option, &time, sizeof(time)));
		works(getsockopt(client, SOL_SOCKET, option, &time_back, &length));
		same(length, sizeof(time_back));
		same(time_back.tv_sec, 2);
		same(time_back.tv_usec, 500000);
		fails(setsockopt(client, SOL_SOCKET, option, &bad, sizeof(bad)), EDOM);
		fails(setsockopt(client, SOL_SOCKET, option, &time, sizeof(int)), EINVAL);
	}
	fails(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(int)), EINVAL);
}

CASE(buffers__set__at_least_doubled_or_kept)
{
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 50000);
	same(diff_int_option(client, SOL_SOCKET, SO_SNDBUF), 100000);
	diff_set_int(client, SOL_SOCKET, SO_RCVBUF, 60000);
	same(diff_int_option(client, SOL_SOCKET, SO_RCVBUF), 120000);
	/* Too small is raised, never refused. */
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 1);
	is(diff_int_option(client, SOL_SOCKET, SO_SNDBUF) > 1000);
	diff_set_int(client, SOL_SOCKET, SO_RCVBUF, 1);
	is(diff_int_option(client, SOL_SOCKET, SO_RCVBUF) > 1000);
}

CASE(so_sndbuf__bounds_what_a_sender_may_queue)
{
	static char chunk[1 << 20];
	int listener = diff_listen(0, 0, 1), server, client;
	struct sockaddr_in address = diff_addr(diff_port(listener));
	size_t queued = 0;
	ssize_t n;

	diff_set_int(listener, SOL_SOCKET, SO_RCVBUF, 20000);
	client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 30000);
	works(connect(client, SA(address), sizeof(address)));
	server = (int)works(accept(listener, NULL, NULL));
	diff_nonblock(client);
	while ((n = send(client, chunk, sizeof(chunk), 0)) > 0)
		queued += (size_t)n;
	same(errno, EAGAIN);
	is(queued > 5000);
	is(queued < 2000000);
	while (queued > 0)
		queued -= (size_t)works(recv(server, chunk, sizeof(chunk), 0));
}

CASE(tcp_congestion__set_and_read)
{
	char name[16] = "";
	socklen_t length = sizeof(name);
	int client, server;

	diff_pair(&client, &server);
	works(getsockopt(client, IPPROTO_TCP, TCP_CONGESTION, name, &length));
	is(name[0] != 0);
	works(setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	length = sizeof(name);
	works(getsockopt(client, IPPROTO_TCP, TCP_CONGESTION, name, &length));
	same(strcmp(name, "reno"), 0);
	same(length, sizeof(name));
	fails(setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6), ENOENT);
}

CASE(tcp_maxseg__connected__a_plausible_size)
{
	int client, server, size;

	diff_pair(&client, &server);
	size = diff_int_option(client, IPPROTO_TCP, TCP_MAXSEG);
	is(size >= 500 && size < 65536);
	size = diff_int_option(server, IPPROTO_TCP, TCP_MAXSEG);
	is(size >= 500 && size < 65536);
}

CASE(tcp_info__counts_what_was_moved)
{
	enum { SIZE = 100000 };
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);
	int client, server;

	diff_pair(&client, &server);
	diff_send_pattern(client, SIZE, 4);
	diff_expect_pattern(server, SIZE, 4);
	works(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &length));
	is(length >= 104);
	same(info.tcpi_state, TCP_ESTABLISHED);
	is(info.tcpi_snd_mss >= 500);
	is(info.tcpi_rtt > 0);
	is(info.tcpi_snd_cwnd > 0);
	is(info.tcpi_rto >= 100000);
	same(info.tcpi_ca_state, 0);
	length = sizeof(info);
	works(shutdown(client, SHUT_WR));
	same(diff_poll(server, POLLRDHUP, 3000), POLLRDHUP);
	works(getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &length));
	same(info.tcpi_state, TCP_CLOSE_WAIT);
}

CASE(tcp_info__fresh_and_listening__states)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0)), listener = diff_listen(0, 0, 1);

	works(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
	same(info.tcpi_state, TCP_CLOSE);
	length = sizeof(info);
	works(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length));
	same(info.tcpi_state, TCP_LISTEN);
	length = 8;
	memset(&info, 0xee, sizeof(info));
	works(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length));
	same(length, 8);
	same(((unsigned char *)&info)[8], 0xee);
}

CASE(udp__options__read_back)
{
	static const struct int_option options[] = {O(SOL_SOCKET, SO_REUSEADDR, 1, 1),
		O(SOL_SOCKET, SO_BROADCAST, 1, 1), O(IPPROTO_IP, IP_TTL, 9, 9), O(IPPROTO_IP, IP_TOS, 0x20, 0x20),
		O(IPPROTO_IP, IP_RECVERR, 1, 1), O(IPPROTO_IP, IP_PKTINFO, 1, 1),
		O(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DONT)};
	int fd = diff_udp(), value = 1;

	for (size_t i = 0; i < N(options); i++)
		set_and_read(fd, &options[i]);
	fails(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)), ENOPROTOOPT);
}

CASE(tcp_cork__holds_a_partial_segment_until_removed)
{
	char text[16];
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(client, IPPROTO_TCP, TCP_CORK, 1);
	diff_write_all(client, "head", 4);
	diff_write_all(client, "body", 4);
	same(diff_poll(server, POLLIN, 50), 0);
	diff_set_int(client, IPPROTO_TCP, TCP_CORK, 0);
	diff_read_all(server, text, 8);
	same_bytes(text, "headbody", 8);
}

CASE(msg_more__holds_until_the_next_send)
{
	char text[16];
	int client, server;

	diff_pair(&client, &server);
	same(send(client, "head", 4, MSG_MORE), 4);
	same(diff_poll(server, POLLIN, 50), 0);
	same(send(client, "body", 4, 0), 4);
	diff_read_all(server, text, 8);
	same_bytes(text, "headbody", 8);
}

/* Before and after it is decided who serves the socket. */
CASE(options__a_byte_or_more_than_an_int__taken_as_linux_does)
{
	const unsigned char tos = 0x10, ttl = 33;
	const long much[4] = {77};
	const struct sockaddr_in address = diff_addr(0);
	const int types[] = {SOCK_STREAM, SOCK_DGRAM};

	for (int i = 0; i < 4; i++) {
		int fd = (int)works(socket(AF_INET, types[i % 2], 0));

		if (i >= 2)
			works(bind(fd, CSA(address), sizeof(address)));
		works(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)));
		works(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
		works(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, much, sizeof(much)));
		works(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, much, sizeof(much)));
		fails(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, much, 1), EINVAL);
		if (types[i % 2] == SOCK_STREAM)
			works(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, much, sizeof(much)));
		if (i < 2)
			works(bind(fd, CSA(address), sizeof(address)));
		same(diff_int_option(fd, IPPROTO_IP, IP_TOS), tos);
		same(diff_int_option(fd, IPPROTO_IP, IP_TTL), ttl);
		same(diff_int_option(fd, SOL_SOCKET, SO_BROADCAST), 1);
		same(diff_int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
		if (types[i % 2] == SOCK_STREAM)
			same(diff_int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
		works(close(fd));
	}
}

CASE(options__read_into_less_than_an_int__a_byte)
{
	int client, server, one = diff_udp();
	int fds[2];

	diff_pair(&client, &server);
	fds[0] = client;
	fds[1] = one;
	for (unsigned i = 0; i < 2; i++) {
		diff_set_int(fds[i], IPPROTO_IP, IP_TTL, 77);
		for (socklen_t room = 0; room < sizeof(int); room++) {
			unsigned char value[4] = {1, 2, 3, 4};
			socklen_t length = room;

			works(getsockopt(fds[i], IPPROTO_IP, IP_TTL, value, &length));
			same(length, room ? 1 : 0);
			same(value[0], room ? 77 : 1);
			same(value[1], 2);
			length = room;
			works(getsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, value, &length));
			same(length, room);
		}
	}
}

CASE(mtu_discover__stream__paths_are_asked_unless_told_otherwise)
{
	int client, server, fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(0);

	works(bind(fd, SA(address), sizeof(address)));
	same(diff_int_option(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_WANT);
	works(listen(fd, 1));
	same(diff_int_option(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_WANT);
	diff_pair(&client, &server);
	same(diff_int_option(client, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_WANT);
	same(diff_int_option(server, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_WANT);
	diff_set_int(client, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	same(diff_int_option(client, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
}

CASE(options_of_tcp__datagram_socket__refused)
{
	int fd = diff_udp(), value = 1;
	socklen_t length = sizeof(value);

	fails(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), EOPNOTSUPP);
	fails(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, &value, &length), EOPNOTSUPP);
	fails(getsockopt(fd, IPPROTO_TCP, 9999, &value, &length), EOPNOTSUPP);
	fails(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, length), ENOPROTOOPT);
	fails(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, &value, length), ENOPROTOOPT);
}

CASE(accepted__how_much_to_wait_for_and_where_to_peek__as_the_listener)
{
	int listener = diff_listen(0, 0, 5), client, server;

	diff_set_int(listener, SOL_SOCKET, SO_RCVLOWAT, 3);
	diff_set_int(listener, SOL_SOCKET, SO_PEEK_OFF, 2);
	client = diff_connect(listener);
	server = (int)works(accept(listener, NULL, NULL));
	same(diff_int_option(server, SOL_SOCKET, SO_RCVLOWAT), 3);
	same(diff_int_option(server, SOL_SOCKET, SO_PEEK_OFF), 2);
	works(close(client));
}
