/* SPDX-License-Identifier: BSD-3-Clause */
/* epoll(7) over sockets: levels, edges, one shot, half closes, errors, membership. */
#include "tests/diff/mux.h"

#define HUNG_UP (EPOLLIN | EPOLLRDHUP | EPOLLHUP)

CASE(epoll__level_triggered__until_read)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 7);
	mux_none(set);
	mux_send(client, "abcd");
	same(mux_one(set, 7), EPOLLIN);
	same(mux_one(set, 7), EPOLLIN);
	mux_expect(server, "ab");
	same(mux_one(set, 7), EPOLLIN);
	mux_expect(server, "cd");
	mux_none(set);
	mux_send(client, "e");
	same(mux_one(set, 7), EPOLLIN);
}

CASE(epoll__timeout_0__returns_0_when_nothing_is_ready)
{
	struct epoll_event event;
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	same(epoll_wait(set, &event, 1, 0), 0);
	mux_add(set, server, EPOLLIN, 1);
	for (int i = 0; i < 1000; i++)
		same(epoll_wait(set, &event, 1, 0), 0);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	same(epoll_wait(set, &event, 1, 0), 1);
	same(event.events, EPOLLIN);
}

CASE(epoll__timeout__is_kept)
{
	struct epoll_event event;
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	uint64_t start = diff_now_ms();
	same(epoll_wait(set, &event, 1, 60), 0);
	is(diff_now_ms() - start >= 59);
	is(diff_now_ms() - start < 1500);
}

CASE(epoll__connected_socket__is_writable)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLIN | EPOLLOUT, 1);
	same(mux_one(set, 1), EPOLLOUT);
	mux_send(server, "x");
	mux_settle(client, POLLIN);
	same(mux_one(set, 1), EPOLLIN | EPOLLOUT);
	mux_mod(set, client, EPOLLIN | EPOLLRDNORM | EPOLLWRNORM, 2);
	same(mux_one(set, 2), EPOLLIN | EPOLLRDNORM | EPOLLWRNORM);
}

CASE(epoll__user_data__all_64_bits)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLOUT, 0xfedcba9876543210u);
	mux_one(set, 0xfedcba9876543210u);
	mux_mod(set, client, EPOLLOUT, UINT64_MAX);
	mux_one(set, UINT64_MAX);
}

CASE(epoll__edge__once_until_new_data)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN | EPOLLET, 1);
	mux_none(set);
	mux_send(client, "one");
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	/* More data is a new edge, though the old was not read. */
	mux_send(client, "two");
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	/* Reading a part is none. */
	mux_expect(server, "on");
	mux_none(set);
	mux_expect(server, "etwo");
	mux_send(client, "three");
	same(mux_one(set, 1), EPOLLIN);
}

CASE(epoll__edge__mod_and_add_rearm)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_send(client, "data");
	mux_settle(server, POLLIN);
	mux_add(set, server, EPOLLIN | EPOLLET, 1);
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	mux_mod(set, server, EPOLLIN | EPOLLET, 2);
	same(mux_one(set, 2), EPOLLIN);
	mux_none(set);
	mux_mod(set, server, EPOLLIN | EPOLLOUT | EPOLLET, 3);
	same(mux_one(set, 3), EPOLLIN | EPOLLOUT);
	mux_none(set);
	mux_del(set, server);
	mux_add(set, server, EPOLLIN | EPOLLET, 4);
	same(mux_one(set, 4), EPOLLIN);
	mux_none(set);
}

/* Writes until the socket is full; returns how much. */
static size_t fill(int fd)
{
	char chunk[16384] = "";
	size_t total = 0;
	ssize_t n;

	diff_nonblock(fd);
	/* On Linux loopback the peer's window opens a little while it is filled. */
	for (int quiet = 0; quiet < 2;) {
		n = send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
		if (n > 0) {
			total += (size_t)n;
			quiet = 0;
			continue;
		}
		same(errno, EAGAIN);
		if (!diff_writable(fd, MUX_QUIET))
			quiet++;
	}
	return total;
}

static void drain(int fd, size_t total)
{
	static char chunk[65536];

	while (total > 0) {
		ssize_t n = works(read(fd, chunk, sizeof(chunk)));

		is(n > 0);
		total -= (size_t)n;
	}
}

CASE(epoll__edge_out__again_after_full)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLOUT | EPOLLET, 1);
	same(mux_one(set, 1), EPOLLOUT);
	mux_none(set);
	/* A little data acknowledged is no edge. */
	mux_send(client, "little");
	mux_expect(server, "little");
	mux_none(set);
	size_t total = fill(client);
	struct epoll_event event;
	while (epoll_wait(set, &event, 1, 0) > 0)
		;
	drain(server, total);
	same(mux_one(set, 1), EPOLLOUT);
}

/* Room that comes without a byte acknowledged. */
CASE(epoll__edge_out__larger_send_buffer)
{
	int set = mux_new(), client, server;
	struct epoll_event event;
	size_t total;

	diff_pair(&client, &server);
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 20000);
	mux_add(set, client, EPOLLOUT | EPOLLET, 1);
	total = fill(client);
	while (epoll_wait(set, &event, 1, MUX_QUIET) > 0)
		;
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 200000);
	same(mux_one(set, 1), EPOLLOUT);
	total += fill(client);
	while (epoll_wait(set, &event, 1, 0) > 0)
		;
	drain(server, total);
	same(mux_one(set, 1), EPOLLOUT);
}

/* Room that comes just when the sender finds that there is none. */
CASE_LIMIT(epoll__edge_out__datagrams_again_after_full, 60)
{
	static const char datagram[1000];
	int set = mux_new(), a, b;

	diff_udp_pair(&a, &b);
	diff_nonblock(a);
	diff_set_int(a, SOL_SOCKET, SO_SNDBUF, 4000);
	mux_add(set, a, EPOLLOUT | EPOLLET, 1);
	same(mux_one(set, 1), EPOLLOUT);
	for (int n = 0; n < 100000; n++) {
		if (send(a, datagram, sizeof(datagram), 0) >= 0)
			continue;
		same(errno, EAGAIN);
		same(mux_one(set, 1), EPOLLOUT);
	}
}

CASE(epoll__out__not_while_full)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLOUT, 1);
	size_t total = fill(client);
	mux_none(set);
	drain(server, total);
	same(mux_one(set, 1), EPOLLOUT);
}

CASE(epoll__oneshot__once_until_mod)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN | EPOLLONESHOT, 1);
	mux_send(client, "a");
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	mux_send(client, "b");
	mux_none(set);
	mux_mod(set, server, EPOLLIN | EPOLLONESHOT, 2);
	same(mux_one(set, 2), EPOLLIN);
	/* Silent also for a hang-up. */
	works(close(client));
	mux_settle(server, POLLRDHUP);
	mux_none(set);
	mux_mod(set, server, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, 3);
	same(mux_one(set, 3), EPOLLIN | EPOLLRDHUP);
	mux_none(set);
}

CASE(epoll__peer_shuts_down__in_and_rdhup)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLRDHUP, 1);
	mux_none(set);
	works(shutdown(client, SHUT_WR));
	same(mux_one(set, 1), EPOLLRDHUP);
	mux_mod(set, server, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 2);
	same(mux_one(set, 2), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	/* Both directions closed. */
	works(shutdown(server, SHUT_WR));
	mux_settle(server, POLLHUP);
	same(mux_one(set, 2), HUNG_UP | EPOLLOUT);
	mux_mod(set, server, 0, 3);
	same(mux_one(set, 3), EPOLLHUP);
}

CASE(epoll__own_shutdown_rd__in_and_rdhup)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN | EPOLLRDHUP, 1);
	mux_none(set);
	works(shutdown(server, SHUT_RD));
	same(mux_one(set, 1), EPOLLIN | EPOLLRDHUP);
}

CASE(epoll__reset__err_and_hup)
{
	struct linger abort_it = {.l_onoff = 1, .l_linger = 0};
	int set = mux_new(), client, server;
	char byte;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it)));
	works(close(client));
	mux_settle(server, POLLERR | POLLHUP);
	same(mux_one(set, 1), HUNG_UP | EPOLLOUT | EPOLLERR);
	fails(read(server, &byte, 1), ECONNRESET);
	/* The error was taken, the end stays. */
	same(mux_one(set, 1), HUNG_UP | EPOLLOUT);
	same(read(server, &byte, 1), 0);
}

CASE(epoll__so_error__takes_the_err)
{
	struct linger abort_it = {.l_onoff = 1, .l_linger = 0};
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, 0, 1);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it)));
	works(close(client));
	mux_settle(server, POLLERR | POLLHUP);
	same(mux_one(set, 1), EPOLLERR | EPOLLHUP);
	same(diff_int_option(server, SOL_SOCKET, SO_ERROR), ECONNRESET);
	same(mux_one(set, 1), EPOLLHUP);
}

CASE(epoll__two_sets__both_report)
{
	int a = mux_new(), b = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(a, server, EPOLLIN, 1);
	mux_add(b, server, EPOLLIN | EPOLLET, 2);
	mux_send(client, "x");
	same(mux_one(a, 1), EPOLLIN);
	same(mux_one(b, 2), EPOLLIN);
	same(mux_one(a, 1), EPOLLIN);
	mux_none(b);
	mux_del(a, server);
	mux_none(a);
	mux_send(client, "y");
	same(mux_one(b, 2), EPOLLIN);
	works(close(a));
	mux_send(client, "z");
	same(mux_one(b, 2), EPOLLIN);
}

CASE(epoll__both_ends_in_one_set__each_its_own)
{
	struct epoll_event events[4];
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLIN, 1);
	mux_add(set, server, EPOLLIN, 2);
	mux_send(client, "to server");
	same(mux_one(set, 2), EPOLLIN);
	mux_send(server, "to client");
	mux_settle(client, POLLIN);
	same(works(epoll_wait(set, events, 4, MUX_SOON)), 2);
	same(events[0].data.u64 + events[1].data.u64, 3);
}

CASE(epoll__maxevents_1__goes_round)
{
	int set = mux_new(), client[3], server[3];
	struct epoll_event event;
	unsigned seen = 0;

	for (int i = 0; i < 3; i++) {
		diff_pair(&client[i], &server[i]);
		mux_add(set, server[i], EPOLLIN, (uint64_t)i);
		mux_send(client[i], "x");
		mux_settle(server[i], POLLIN);
	}
	for (int i = 0; i < 3; i++) {
		same(works(epoll_wait(set, &event, 1, MUX_SOON)), 1);
		seen |= 1u << event.data.u64;
	}
	same(seen, 7);
}

CASE(epoll__errors__as_the_manual_says)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = mux_new(), client, server, ends[2];
	volatile int negative = -1;

	diff_pair(&client, &server);
	works(pipe(ends));
	mux_add(set, server, EPOLLIN, 1);
	fails(mux_ctl(set, EPOLL_CTL_ADD, server, EPOLLIN, 1), EEXIST);
	fails(mux_ctl(set, EPOLL_CTL_MOD, client, EPOLLIN, 1), ENOENT);
	fails(epoll_ctl(set, EPOLL_CTL_DEL, client, NULL), ENOENT);
	fails(mux_ctl(set, 77, server, EPOLLIN, 1), EINVAL);
	fails(mux_ctl(set, EPOLL_CTL_ADD, 9999, EPOLLIN, 1), EBADF);
	fails(mux_ctl(9999, EPOLL_CTL_ADD, server, EPOLLIN, 1), EBADF);
	fails(mux_ctl(client, EPOLL_CTL_ADD, server, EPOLLIN, 1), EINVAL);
	fails(mux_ctl(ends[0], EPOLL_CTL_ADD, server, EPOLLIN, 1), EINVAL);
	fails(mux_ctl(set, EPOLL_CTL_ADD, set, EPOLLIN, 1), EINVAL);
	fails(epoll_ctl(set, EPOLL_CTL_ADD, client, NULL), EFAULT);
	fails(epoll_ctl(set, EPOLL_CTL_MOD, server, NULL), EFAULT);
	fails(epoll_wait(set, &event, 0, 0), EINVAL);
	fails(epoll_wait(set, &event, negative, 0), EINVAL);
	fails(epoll_wait(9999, &event, 1, 0), EBADF);
	fails(epoll_wait(server, &event, 1, 0), EINVAL);
	fails(epoll_create1(0x7fff), EINVAL);
	fails(epoll_create(0), EINVAL);
	int file = (int)works(open("/proc/self/exe", O_RDONLY));
	fails(mux_ctl(set, EPOLL_CTL_ADD, file, EPOLLIN, 1), EPERM);
	works(close(set));
	fails(epoll_wait(set, &event, 1, 0), EBADF);
	fails(mux_ctl(set, EPOLL_CTL_ADD, server, EPOLLIN, 1), EBADF);
}

CASE(epoll__exclusive__rules)
{
	int set = mux_new(), inner = mux_new(), listener = diff_listen(0, 0, 4), client, server;

	diff_pair(&client, &server);
	mux_add(set, listener, EPOLLIN | EPOLLEXCLUSIVE, 1);
	fails(mux_ctl(set, EPOLL_CTL_MOD, listener, EPOLLIN, 1), EINVAL);
	mux_add(set, server, EPOLLIN, 2);
	fails(mux_ctl(set, EPOLL_CTL_MOD, server, EPOLLIN | EPOLLEXCLUSIVE, 2), EINVAL);
	fails(mux_ctl(set, EPOLL_CTL_ADD, client, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE, 3),
		EINVAL);
	fails(mux_ctl(set, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE, 3), EINVAL);
	mux_add(set, client, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 3);
	mux_send(server, "x");
	same(mux_one(set, 3), EPOLLIN);
	mux_del(set, listener);
	mux_add(set, listener, EPOLLIN, 4);
	mux_mod(set, listener, EPOLLIN, 5);
}

CASE(epoll__close_while_registered__gone_and_number_free)
{
	int set = mux_new(), client, server, other_client, other_server;

	diff_pair(&client, &server);
	diff_pair(&other_client, &other_server);
	mux_add(set, server, EPOLLIN, 1);
	mux_send(client, "unread");
	mux_settle(server, POLLIN);
	works(close(server));
	mux_none(set);
	/* The number is someone else's now. */
	same(works(dup2(other_server, server)), server);
	works(close(other_server));
	fails(mux_ctl(set, EPOLL_CTL_MOD, server, EPOLLIN, 1), ENOENT);
	mux_add(set, server, EPOLLIN, 2);
	mux_send(other_client, "x");
	same(mux_one(set, 2), EPOLLIN);
	/* dup2 onto it closes it too. */
	int ends[2];
	works(pipe(ends));
	works(dup2(ends[0], server));
	mux_none(set);
	mux_add(set, server, EPOLLIN, 3);
	same(write(ends[1], "p", 1), 1);
	same(mux_one(set, 3), EPOLLIN);
}

CASE(epoll__dup_of_a_member__keeps_it)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	int copy = (int)works(dup(server));
	works(close(server));
	mux_send(client, "x");
	same(mux_one(set, 1), EPOLLIN);
	fails(epoll_ctl(set, EPOLL_CTL_DEL, server, NULL), EBADF);
	/* The copy under its own number is a member of its own. */
	mux_add(set, copy, EPOLLIN, 2);
	struct epoll_event events[4];
	same(works(epoll_wait(set, events, 4, MUX_SOON)), 2);
	same(events[0].data.u64 + events[1].data.u64, 3);
	works(close(copy));
	mux_none(set);
}

CASE(epoll__dup_of_the_set__is_the_same_set)
{
	int set = mux_new(), client, server;
	int copy = (int)works(dup(set));

	diff_pair(&client, &server);
	mux_add(copy, server, EPOLLIN, 1);
	fails(mux_ctl(set, EPOLL_CTL_ADD, server, EPOLLIN, 1), EEXIST);
	works(close(set));
	mux_send(client, "x");
	same(mux_one(copy, 1), EPOLLIN);
}

CASE(epoll__listener__readable_until_accepted)
{
	int set = mux_new(), listener = diff_listen(SOCK_NONBLOCK, 0, 8);

	mux_add(set, listener, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	mux_none(set);
	diff_connect(listener);
	same(mux_one(set, 1), EPOLLIN);
	diff_connect(listener);
	works(accept(listener, NULL, NULL));
	same(mux_one(set, 1), EPOLLIN);
	works(accept(listener, NULL, NULL));
	fails(accept(listener, NULL, NULL), EAGAIN);
	mux_none(set);
}

CASE(epoll__listener_edge__each_connection)
{
	int set = mux_new(), listener = diff_listen(SOCK_NONBLOCK, 0, 8);

	mux_add(set, listener, EPOLLIN | EPOLLET, 1);
	diff_connect(listener);
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	diff_connect(listener);
	same(mux_one(set, 1), EPOLLIN);
	works(accept(listener, NULL, NULL));
	mux_none(set);
}

CASE(epoll__connect__added_before_or_after)
{
	int listener = diff_listen(0, 0, 8);
	struct sockaddr_in address = diff_addr(diff_port(listener));

	for (int before = 0; before < 2; before++) {
		int set = mux_new();
		int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

		if (before) {
			mux_add(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 5);
			/* A socket in CLOSED. */
			same(mux_one(set, 5), EPOLLOUT | EPOLLHUP);
		}
		if (connect(fd, SA(address), sizeof(address)) != 0)
			same(errno, EINPROGRESS);
		if (!before)
			mux_add(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 5);
		mux_settle(fd, POLLOUT);
		same(mux_one(set, 5), EPOLLOUT);
		same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), 0);
		int server = (int)works(accept(listener, NULL, NULL));
		mux_send(server, "hello");
		mux_settle(fd, POLLIN);
		same(mux_one(set, 5), EPOLLIN | EPOLLOUT);
		mux_mod(set, fd, EPOLLIN, 6);
		same(mux_one(set, 6), EPOLLIN);
		mux_expect(fd, "hello");
		mux_none(set);
		fails(mux_ctl(set, EPOLL_CTL_ADD, fd, EPOLLIN, 1), EEXIST);
		mux_del(set, fd);
		mux_send(server, "again");
		mux_none(set);
	}
}

CASE(epoll__connect_added_before_as_edge__one_event)
{
	int set = mux_new(), listener = diff_listen(0, 0, 8);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	mux_add(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1);
	if (connect(fd, SA(address), sizeof(address)) != 0)
		same(errno, EINPROGRESS);
	mux_settle(fd, POLLOUT);
	same(mux_one(set, 1), EPOLLOUT);
	mux_none(set);
}

/* What an edge is told from is the same as after the first connect. */
CASE(epoll__edge_out__connected_again)
{
	int set = mux_new(), listener = diff_listen(0, 0, 8);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	mux_add(set, fd, EPOLLOUT | EPOLLET, 1);
	for (int i = 0; i < 3; i++) {
		if (connect(fd, SA(address), sizeof(address)) != 0)
			same(errno, EINPROGRESS);
		mux_settle(fd, POLLOUT);
		same(mux_one(set, 1), EPOLLOUT);
		mux_none(set);
		works(close((int)works(accept(listener, NULL, NULL))));
		works(connect(fd, &nowhere, sizeof(nowhere)));
	}
}

CASE(epoll__connect_refused__err)
{
	int set = mux_new(), listener = diff_listen(0, 0, 8);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	works(close(listener));
	if (connect(fd, SA(address), sizeof(address)) != 0 && errno == ECONNREFUSED)
		diff_skip("the kernel refused at once");
	mux_add(set, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
	mux_settle(fd, POLLERR | POLLHUP);
	same(mux_one(set, 1), HUNG_UP | EPOLLOUT | EPOLLERR);
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	same(mux_one(set, 1), HUNG_UP | EPOLLOUT);
}

CASE(epoll__udp__datagrams_and_room)
{
	int set = mux_new(), a, b;
	char text[8];

	diff_udp_pair(&a, &b);
	mux_add(set, b, EPOLLIN | EPOLLOUT, 1);
	same(mux_one(set, 1), EPOLLOUT);
	mux_mod(set, b, EPOLLIN, 2);
	mux_none(set);
	same(send(a, "one", 3, 0), 3);
	same(send(a, "", 0, 0), 0);
	same(mux_one(set, 2), EPOLLIN);
	same(recv(b, text, sizeof(text), 0), 3);
	same(mux_one(set, 2), EPOLLIN);
	same(recv(b, text, sizeof(text), 0), 0);
	mux_none(set);
}

CASE(epoll__udp_edge__each_datagram)
{
	int set = mux_new(), a, b;

	diff_udp_pair(&a, &b);
	mux_add(set, b, EPOLLIN | EPOLLET, 1);
	same(send(a, "one", 3, 0), 3);
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
	same(send(a, "two", 3, 0), 3);
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
}

CASE(epoll__udp_undecided__added_before_bind)
{
	int set = mux_new(), a = diff_udp();
	struct sockaddr_in address = diff_addr(0);
	int b = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

	mux_add(set, b, EPOLLIN, 1);
	mux_none(set);
	works(bind(b, SA(address), sizeof(address)));
	address = diff_addr(diff_port(b));
	same(sendto(a, "one", 3, 0, SA(address), sizeof(address)), 3);
	same(mux_one(set, 1), EPOLLIN);
}

CASE(epoll__udp_refused__err)
{
	int set = mux_new(), gone = diff_udp();
	struct sockaddr_in address = diff_addr(diff_port(gone));
	int fd = diff_udp();

	works(close(gone));
	works(connect(fd, SA(address), sizeof(address)));
	mux_add(set, fd, EPOLLIN, 1);
	same(send(fd, "x", 1, 0), 1);
	same(mux_one(set, 1), EPOLLERR);
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	mux_none(set);
}

CASE(epoll__rcvlowat__readable_from_there)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_RCVLOWAT, 6);
	mux_add(set, server, EPOLLIN, 1);
	mux_send(client, "abc");
	mux_none(set);
	mux_send(client, "def");
	same(mux_one(set, 1), EPOLLIN);
	mux_expect(server, "abc");
	mux_none(set);
	/* The end is readable whatever the mark. */
	works(shutdown(client, SHUT_WR));
	same(mux_one(set, 1), EPOLLIN);
}

CASE(epoll__rcvlowat_lowered__what_lies_there_is_an_edge)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_RCVLOWAT, 6);
	mux_add(set, server, EPOLLIN | EPOLLET, 1);
	mux_send(client, "abc");
	mux_none(set);
	diff_set_int(server, SOL_SOCKET, SO_RCVLOWAT, 3);
	same(mux_one(set, 1), EPOLLIN);
	mux_none(set);
}

CASE(epoll__urgent__pri)
{
	int set = mux_new(), client, server;
	char byte;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLPRI, 1);
	mux_send(client, "normal");
	mux_none(set);
	same(send(client, "!", 1, MSG_OOB), 1);
	same(mux_one(set, 1), EPOLLPRI);
	same(recv(server, &byte, 1, MSG_OOB), 1);
	same(byte, '!');
}

CASE(epoll__urgent__pri_is_an_edge_each_time)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLPRI | EPOLLET, 1);
	for (int i = 0; i < 3; i++) {
		same(send(client, "!", 1, MSG_OOB), 1);
		same(mux_one(set, 1), EPOLLPRI);
		mux_none(set);
	}
}

CASE(epoll__wildcard_listener__both_stacks)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address;
	int set = mux_new(), fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	char byte = 0;

	works(bind(fd, SA(any), sizeof(any)));
	works(listen(fd, 8));
	mux_add(set, fd, EPOLLIN, 1);
	mux_none(set);
	for (int i = 0; i < 4; i++) {
		address = diff_addr(diff_port(fd));
		if (i & 1)
			address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		int client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		works(connect(client, SA(address), sizeof(address)));
		same(mux_one(set, 1), EPOLLIN);
		int server = (int)works(accept(fd, NULL, NULL));
		mux_none(set);
		mux_send(client, "x");
		mux_settle(server, POLLIN);
		same(read(server, &byte, 1), 1);
	}
}

CASE(epoll__wildcard_udp__both_stacks)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address;
	int set = mux_new(), fd = (int)works(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
	char text[8];

	works(bind(fd, SA(any), sizeof(any)));
	mux_add(set, fd, EPOLLIN | EPOLLET, 1);
	mux_none(set);
	for (int i = 0; i < 4; i++) {
		address = diff_addr(diff_port(fd));
		if (i & 1)
			address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		int client = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
		same(sendto(client, "dgram", 5, 0, SA(address), sizeof(address)), 5);
		same(mux_one(set, 1), EPOLLIN);
		same(recv(fd, text, sizeof(text), 0), 5);
		fails(recv(fd, text, sizeof(text), 0), EAGAIN);
		works(close(client));
	}
}

CASE(epoll__many_members__only_the_active_cost)
{
	enum { IDLE = 200 };
	int set = mux_new(), listener = diff_listen(0, 0, IDLE), active_client, active;

	for (int i = 0; i < IDLE; i++) {
		diff_connect(listener);
		mux_add(set, (int)works(accept(listener, NULL, NULL)), EPOLLIN, (uint64_t)i);
	}
	diff_pair(&active_client, &active);
	mux_add(set, active, EPOLLIN, 999);
	mux_none(set);
	for (int i = 0; i < 1000; i++) {
		mux_send(active_client, "x");
		same(mux_one(set, 999), EPOLLIN);
		mux_expect(active, "x");
	}
}

/* --- several threads ------------------------------------------------------------------------------ */

/* A socket that one thread takes out of the set and another puts back at once, as servers do whose listener hands connections to
 * workers. */
struct hands {
	int set, fd;
	_Atomic int turn; /* odd: the other thread's; < 0: the end */
};

static void *hands_add(void *arg)
{
	struct hands *h = arg;
	int turn;

	while ((turn = h->turn) >= 0) {
		if (turn % 2 == 0)
			continue;
		mux_add(h->set, h->fd, EPOLLIN, 9);
		h->turn = turn + 1;
	}
	return NULL;
}

CASE(epoll_ctl__removed_here_added_there__events_still_come)
{
	enum { ROUNDS = 300 };
	struct hands h = {.set = mux_new()};
	int client;
	pthread_t other;

	diff_pair(&client, &h.fd);
	mux_add(h.set, h.fd, EPOLLIN, 9);
	other = diff_thread(hands_add, &h);
	for (int round = 0; round < ROUNDS; round++) {
		int turn = h.turn;

		mux_del(h.set, h.fd);
		h.turn = turn + 1;
		while (h.turn != turn + 2)
			;
		mux_send(client, "x");
		same(mux_one(h.set, 9), EPOLLIN);
		mux_expect(h.fd, "x");
	}
	h.turn = -1;
	same(pthread_join(other, NULL), 0);
}
