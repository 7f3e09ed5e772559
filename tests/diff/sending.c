/* SPDX-License-Identifier: BSD-3-Clause */
/* How much a sender may queue, and what it learns of it: full buffers, TCP_NOTSENT_LOWAT, pacing, the counts that ioctl
 * gives (socket(7), tcp(7)). */
#include <linux/sockios.h>
#include <sys/epoll.h>

#include "tests/diff/diff.h"

CASE(send__buffer_full__eagain_then_writable_again)
{
	static char chunk[65536];
	size_t sent = 0, taken = 0;
	ssize_t n;
	int client, server;

	diff_pair(&client, &server);
	diff_nonblock(client);
	/* Full is when nothing moves: a stack beside the program may still be carrying what it has.
	 */
	do {
		while ((n = send(client, chunk, sizeof(chunk), 0)) > 0)
			sent += (size_t)n;
		same(n, -1);
		same(errno, EAGAIN);
	} while (diff_poll(client, POLLOUT, 100) != 0);
	/* Not writable by far is not yet full (socket(7): a third must be free). */
	while ((n = send(client, chunk, 1, MSG_DONTWAIT)) == 1)
		sent++;
	same(n, -1);
	same(errno, EAGAIN);
	/* What was taken is what comes, and then there is room. */
	while (taken < sent) {
		n = (ssize_t)works(recv(server, chunk, sizeof(chunk), 0));
		is(n > 0);
		taken += (size_t)n;
	}
	same(taken, sent);
	is(diff_writable(client, 3000));
	same(send(client, "x", 1, 0), 1);
}

#define LOWAT 16384
#define LOWAT_BUFFER (65536 + LOWAT) /* one buffer may go beyond it */

static int unsent(int fd)
{
	int n = -1;

	works(ioctl(fd, SIOCOUTQNSD, &n));
	return n;
}

static bool is_unsent_low(void *fd)
{
	return unsent(*(int *)fd) < LOWAT;
}

/* Sends until nothing goes any more; the peer does not read. */
static size_t fill(int fd)
{
	static char chunk[LOWAT];
	size_t sent = 0;
	ssize_t n;

	do {
		while ((n = send(fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0)
			sent += (size_t)n;
		same(n, -1);
		same(errno, EAGAIN);
	} while (diff_poll(fd, POLLOUT, 100) != 0);
	return sent;
}

static void drain(int fd, size_t n)
{
	static char chunk[65536];

	while (n > 0)
		n -= (size_t)works(recv(fd, chunk, n < sizeof(chunk) ? n : sizeof(chunk), 0));
}

CASE(notsent_lowat__peer_reads_nothing__little_waits_unsent)
{
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_RCVBUF, LOWAT); /* all else waits here */
	diff_set_int(client, SOL_SOCKET, SO_SNDBUF, 4 << 20);
	diff_set_int(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT);
	fill(client);
	is(unsent(client) >= LOWAT / 2); /* or it would be writable */
	is(unsent(client) <= LOWAT_BUFFER);
	fails(send(client, "x", 1, MSG_DONTWAIT), EAGAIN);
	same(diff_poll(client, POLLOUT, 0), 0);
	/* Without the bound the same socket takes much more. */
	diff_set_int(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0);
	is(diff_writable(client, 3000));
	fill(client);
	is(unsent(client) > 2 * LOWAT_BUFFER);
}

CASE(notsent_lowat__what_waits_is_sent__writable)
{
	int client, server;
	size_t sent;

	diff_pair(&client, &server);
	diff_set_int(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT);
	sent = fill(client);
	drain(server, sent - (size_t)unsent(client)); /* opens the window */
	is(diff_writable(client, 3000));
	is(unsent(client) < LOWAT);
	same(send(client, "x", 1, MSG_DONTWAIT), 1);
	drain(server, (size_t)unsent(client) + 1);
}

CASE(notsent_lowat__of_the_listener__the_connection_has_it)
{
	int listener = diff_listen(0, 0, 4), client, server;

	diff_set_int(listener, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT);
	client = diff_connect(listener);
	server = (int)works(accept(listener, NULL, NULL));
	same(diff_int_option(server, IPPROTO_TCP, TCP_NOTSENT_LOWAT), LOWAT);
	fill(server);
	is(unsent(server) <= LOWAT_BUFFER);
	same(diff_int_option(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
}

struct blocked_send {
	int fd;
	pid_t tid;
	size_t total;
};

static void *lowat_send(void *arg)
{
	struct blocked_send *s = arg;

	__atomic_store_n(&s->tid, gettid(), __ATOMIC_RELEASE);
	diff_send_pattern(s->fd, s->total, 9);
	return NULL;
}

static bool has_started(void *arg)
{
	return __atomic_load_n(&((struct blocked_send *)arg)->tid, __ATOMIC_ACQUIRE) != 0;
}

CASE_LIMIT(notsent_lowat__blocking_send__waits_and_goes_on, 30)
{
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT);
	struct blocked_send s = {.fd = client, .total = 32u << 20};
	pthread_t thread = diff_thread(lowat_send, &s);
	is(diff_until(has_started, &s, 3000));
	diff_wait_blocked(s.tid);
	is(unsent(client) <= LOWAT_BUFFER);
	diff_expect_pattern(server, s.total, 9);
	pthread_join(thread, NULL);
}

CASE(notsent_lowat__epoll_edge__told_when_it_was_sent)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET}, got;
	int client, server, ep = (int)works(epoll_create1(0));
	size_t sent;

	diff_pair(&client, &server);
	diff_set_int(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT);
	works(epoll_ctl(ep, EPOLL_CTL_ADD, client, &event));
	same(epoll_wait(ep, &got, 1, 3000), 1);
	sent = fill(client);
	while (epoll_wait(ep, &got, 1, 100) == 1) /* edges of while it was filled */
		continue;
	drain(server, sent - (size_t)unsent(client));
	same(epoll_wait(ep, &got, 1, 3000), 1);
	is(diff_until(is_unsent_low, &client, 3000));
	drain(server, (size_t)unsent(client));
}

CASE(max_pacing_rate__bulk__takes_its_time)
{
	int client, server;
	uint64_t begin;

	diff_pair(&client, &server);
	diff_set_int(client, SOL_SOCKET, SO_MAX_PACING_RATE, 4000000);
	begin = diff_now_ms();
	struct blocked_send s = {.fd = client, .total = 2000000};
	pthread_t thread = diff_thread(lowat_send, &s);
	diff_expect_pattern(server, s.total, 9);
	pthread_join(thread, NULL);
	is(diff_now_ms() - begin >=
		300); /* half a second, less what goes before the rate is known and what a late timer makes up for */
}

CASE(send__partial_write__count_is_what_was_taken)
{
	static char big[32 << 20];
	int client, server;
	uint64_t seed = 21;

	diff_pair(&client, &server);
	diff_pattern(big, sizeof(big), seed, 0);
	diff_nonblock(client);
	ssize_t n = (ssize_t)works(send(client, big, sizeof(big), 0));
	is(n > 0 && n < (ssize_t)sizeof(big));
	diff_expect_pattern(server, (size_t)n, seed);
	fails(recv(server, big, 1, MSG_DONTWAIT), EAGAIN);
}

CASE(send_nonblocking__many_small_to_peers_that_do_not_read__eagain_and_others_go_on)
{
	enum { PEERS = 20 };
	char message[100] = "m", byte;
	int client[PEERS], server[PEERS], other_client, other_server;

	for (int i = 0; i < PEERS; i++) {
		int n = 0;

		diff_pair(&client[i], &server[i]);
		while (send(server[i], message, sizeof(message), MSG_DONTWAIT) > 0 && n < 1000000)
			n++;
		is(errno == EAGAIN && n > 0 && n < 1000000);
	}
	diff_pair(&other_client, &other_server);
	for (int i = 0; i < 100; i++) {
		diff_write_all(other_server, "x", 1);
		diff_read_all(other_client, &byte, 1);
	}
}

CASE(siocoutq__all_acknowledged__zero)
{
	int client, server, left = -1;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdef", 6);
	diff_arrived(server, 6);
	uint64_t end = diff_now_ms() + 3000;
	while (works(ioctl(client, TIOCOUTQ, &left)) == 0 && left != 0 && diff_now_ms() < end)
		poll(NULL, 0, 1);
	same(left, 0);
}
