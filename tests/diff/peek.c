/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking without taking: where a peek begins (SO_PEEK_OFF: socket(7)), on streams and datagram sockets. MSG_PEEK as
 * such is in data.c and udp.c. */
#include <sys/uio.h>

#include "tests/diff/diff.h"

static int offset_of(int fd)
{
	return diff_int_option(fd, SOL_SOCKET, SO_PEEK_OFF);
}

/* Linux has it for streams since 6.9. */
static void set_offset(int fd, int at)
{
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at)) != 0 && errno == EOPNOTSUPP)
		diff_skip("this kernel has no SO_PEEK_OFF for streams");
	same(offset_of(fd), at);
}

/* Takes a call's bytes for those of a string, and looks where the next peek begins. */
static void gets_with(int fd, size_t room, int flags, const char *expected, int offset)
{
	char text[32] = {0};

	same(recv(fd, text, room, flags | MSG_DONTWAIT), strlen(expected));
	same_bytes(text, expected, strlen(expected));
	same(offset_of(fd), offset);
}

static void nothing_to_peek_at(int fd, int offset)
{
	char text[8];

	fails(recv(fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	same(offset_of(fd), offset);
}

CASE(stream__peek_offset__each_peek_goes_on_and_each_read_goes_back)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	same(offset_of(server), -1);
	set_offset(server, 0);
	diff_write_all(client, "0123456789", 10);
	diff_arrived(server, 10);
	gets_with(server, 4, MSG_PEEK, "0123", 4);
	gets_with(server, 4, MSG_PEEK, "4567", 8);
	gets_with(server, 4, MSG_PEEK, "89", 10);
	nothing_to_peek_at(server, 10);
	fails(recv(server, text, 0, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	gets_with(server, 3, 0, "012", 7);
	nothing_to_peek_at(server, 7);
	set_offset(server, 2);
	gets_with(server, 2, MSG_PEEK, "56", 4);
	same(recv(server, NULL, 2, MSG_TRUNC), 2);
	gets_with(server, 2, MSG_PEEK, "78", 4);
	same(recv(server, NULL, 3, MSG_TRUNC | MSG_PEEK), 1);
	same(offset_of(server), 5);
	set_offset(server, -5);
	gets_with(server, 9, MSG_PEEK, "56789", -5);
	set_offset(server, 1);
	gets_with(server, 9, 0, "56789", 0);
}

CASE(stream__peek_behind_the_end__is_the_end)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	set_offset(server, 2);
	diff_write_all(client, "abc", 3);
	diff_arrived(server, 3);
	gets_with(server, 8, MSG_PEEK, "c", 3);
	nothing_to_peek_at(server, 3);
	works(shutdown(client, SHUT_WR));
	same(diff_poll(server, POLLRDHUP, 3000), POLLRDHUP);
	same(recv(server, text, sizeof(text), MSG_PEEK), 0);
	same(offset_of(server), 3);
	gets_with(server, 8, 0, "abc", 0);
	same(recv(server, text, sizeof(text), MSG_PEEK), 0);
}

/* The urgent byte is stepped over, and counts for nothing. */
CASE(stream__peek_offset__stops_at_the_urgent_byte)
{
	int client, server;

	diff_pair(&client, &server);
	set_offset(server, 1);
	same(send(client, "abc!", 4, MSG_OOB), 4);
	diff_write_all(client, "xyz", 3);
	same(diff_poll(server, POLLPRI, 3000), POLLPRI);
	diff_arrived(server, 3);
	gets_with(server, 8, MSG_PEEK, "bc", 3);
}

CASE(peek_offset__before_it_is_connected__stays)
{
	int listener = diff_listen(SOCK_STREAM, 0, 4), client = (int)works(socket(AF_INET, SOCK_STREAM, 0)), server;
	struct sockaddr_in address = diff_addr(diff_port(listener));
	short little = 0;

	same(offset_of(client), -1);
	set_offset(client, 3);
	works(connect(client, SA(address), sizeof(address)));
	same(offset_of(client), 3);
	fails(setsockopt(client, SOL_SOCKET, SO_PEEK_OFF, &little, sizeof(little)), EINVAL);
	server = (int)works(accept(listener, NULL, NULL));
	diff_write_all(server, "abcde", 5);
	diff_arrived(client, 5);
	gets_with(client, 1, MSG_PEEK, "d", 4);
}

/* A datagram's bytes and flags. */
static void gets_one(int fd, size_t room, int flags, const char *expected, bool cut, int offset)
{
	char text[16] = {0};
	struct iovec part = {text, room};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

	same(recvmsg(fd, &m, flags | MSG_DONTWAIT), strlen(expected));
	same_bytes(text, expected, strlen(expected));
	same(m.msg_flags & MSG_TRUNC, cut ? MSG_TRUNC : 0);
	same(offset_of(fd), offset);
}

/* Waits until the last of them is there, which has bytes, and looks at no empty one. */
static void send_all(int from, int to, const char *const *texts, size_t n)
{
	size_t total = 0;
	char text[8];

	for (size_t i = 0; i < n; i++) {
		same(send(from, texts[i], strlen(texts[i]), 0), strlen(texts[i]));
		total += strlen(texts[i]);
	}
	set_offset(to, (int)total - 1);
	same(recv(to, text, 1, MSG_PEEK), 1);
}

CASE(datagrams__peek_offset__goes_on_through_them)
{
	int a, b;

	diff_udp_pair(&a, &b);
	same(offset_of(b), -1);
	send_all(a, b, (const char *[]){"01234", "abc", "XY"}, 3);
	set_offset(b, 0);
	gets_one(b, 3, MSG_PEEK, "012", true, 3);
	gets_one(b, 3, MSG_PEEK, "34", false, 5);
	gets_one(b, 9, MSG_PEEK, "abc", false, 8);
	gets_one(b, 1, MSG_PEEK, "X", true, 9);
	gets_one(b, 1, MSG_PEEK, "Y", true, 10); /* as Linux has it */
	nothing_to_peek_at(b, 10);
	gets_one(b, 9, 0, "01234", false, 5);
	nothing_to_peek_at(b, 5);
	gets_one(b, 1, 0, "a", true, 4);
	nothing_to_peek_at(b, 4);
	set_offset(b, 1);
	gets_one(b, 9, MSG_PEEK, "Y", false, 2);
	set_offset(b, -1);
	gets_one(b, 9, MSG_PEEK, "XY", false, -1);
	gets_one(b, 9, 0, "XY", false, -1);
}

CASE(datagrams__peek_offset__length_of_the_whole_counts)
{
	char text[16];
	int a, b;

	diff_udp_pair(&a, &b);
	send_all(a, b, (const char *[]){"01234", "abc"}, 2);
	set_offset(b, 1);
	same(recv(b, text, 2, MSG_PEEK | MSG_TRUNC), 5);
	same_bytes(text, "12", 2);
	gets_one(b, 2, MSG_PEEK, "bc", true, 8);
	same(recv(b, text, 2, MSG_TRUNC), 5);
	same(offset_of(b), 3);
	gets_one(b, 9, 0, "abc", false, 0);
	nothing_to_peek_at(b, 0);
}

/* An empty datagram is seen once. */
CASE(datagrams__empty_ones__peeked_at_once)
{
	int a, b;

	diff_udp_pair(&a, &b);
	send_all(a, b, (const char *[]){"", "abc", "", "XY"}, 4);
	set_offset(b, 1);
	gets_one(b, 9, MSG_PEEK, "bc", false, 3);
	gets_one(b, 9, MSG_PEEK, "", false, 3);
	gets_one(b, 9, MSG_PEEK, "XY", false, 5);
	nothing_to_peek_at(b, 5);
	gets_one(b, 9, 0, "", false, 5);
	gets_one(b, 9, 0, "abc", false, 2);
	gets_one(b, 9, 0, "", false, 2);
	gets_one(b, 9, 0, "XY", false, 0);
}

struct peer {
	int fd;
	pid_t reader;
};

static void *send_when_it_waits(void *arg)
{
	const struct peer *peer = arg;

	diff_wait_blocked(peer->reader);
	same(send(peer->fd, "de", 2, 0), 2);
	return NULL;
}

static void waits_for_more(int from, int to)
{
	struct peer peer = {from, gettid()};
	pthread_t thread;
	char text[8];

	same(send(from, "abc", 3, 0), 3);
	diff_arrived(to, 3);
	set_offset(to, 3);
	thread = diff_thread(send_when_it_waits, &peer);
	same(recv(to, text, sizeof(text), MSG_PEEK), 2);
	same_bytes(text, "de", 2);
	same(offset_of(to), 5);
	same(pthread_join(thread, NULL), 0);
}

CASE(peek_behind_what_is_there__waits_for_more)
{
	const struct timeval soon = {0, 50000};
	char text[8];
	int a, b;

	diff_udp_pair(&a, &b);
	waits_for_more(a, b);
	diff_pair(&a, &b);
	waits_for_more(a, b);
	works(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)));
	fails(recv(b, text, sizeof(text), MSG_PEEK), EAGAIN);
	same(read(b, text, sizeof(text)), 5);
	same_bytes(text, "abcde", 5);
	same(offset_of(b), 0);
}
