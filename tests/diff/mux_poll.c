/* SPDX-License-Identifier: BSD-3-Clause */
/* poll(2), ppoll(2), select(2), pselect(2) over sockets and others. */
#include <sys/resource.h>
#include <sys/select.h>

#include "tests/diff/mux.h"

CASE(poll__readable_when_data_comes)
{
	int client, server;

	diff_pair(&client, &server);
	struct pollfd fd = {.fd = server, .events = POLLIN};
	same(poll(&fd, 1, 0), 0);
	same(fd.revents, 0);
	same(poll(&fd, 1, MUX_QUIET), 0);
	mux_send(client, "x");
	same(poll(&fd, 1, -1), 1);
	same(fd.revents, POLLIN);
	same(poll(&fd, 1, 0), 1);
	mux_expect(server, "x");
	same(poll(&fd, 1, 0), 0);
}

CASE(poll__every_bit_that_was_asked)
{
	int client, server;

	diff_pair(&client, &server);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	same(diff_poll(server, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLPRI | POLLRDHUP, 0),
		POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
	same(diff_poll(server, POLLRDNORM, 0), POLLRDNORM);
	same(diff_poll(server, 0, 0), 0);
}

CASE(poll__closed_and_negative__nval_and_ignored)
{
	int client, server;

	diff_pair(&client, &server);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	struct pollfd fds[4] = {
		{.fd = -1, .events = POLLIN, .revents = 77},
		{.fd = 9999, .events = POLLIN},
		{.fd = server, .events = POLLIN},
		{.fd = client, .events = POLLIN, .revents = 77},
	};
	same(poll(fds, 4, MUX_SOON), 2);
	same(fds[0].revents, 0);
	same(fds[1].revents, POLLNVAL);
	same(fds[2].revents, POLLIN);
	same(fds[3].revents, 0);
	works(close(server));
	same(poll(fds + 2, 1, MUX_SOON), 1);
	same(fds[2].revents, POLLNVAL);
}

CASE(poll__same_socket_twice__both_entries)
{
	int client, server;

	diff_pair(&client, &server);
	struct pollfd fds[2] = {
		{.fd = server, .events = POLLIN}, {.fd = server, .events = POLLOUT}};
	same(poll(fds, 2, MUX_SOON), 1);
	same(fds[0].revents, 0);
	same(fds[1].revents, POLLOUT);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	same(poll(fds, 2, MUX_SOON), 2);
}

CASE(poll__hang_up_and_reset__unasked)
{
	struct linger abort_it = {.l_onoff = 1, .l_linger = 0};
	int client, server;

	diff_pair(&client, &server);
	works(shutdown(client, SHUT_WR));
	same(diff_poll(server, POLLIN | POLLRDHUP, MUX_SOON), POLLIN | POLLRDHUP);
	same(diff_poll(server, 0, MUX_QUIET), 0);
	works(shutdown(server, SHUT_WR));
	mux_settle(server, POLLHUP);
	same(diff_poll(server, 0, MUX_SOON), POLLHUP);
	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &abort_it, sizeof(abort_it)));
	works(close(client));
	mux_settle(server, POLLERR | POLLHUP);
	same(diff_poll(server, 0, MUX_SOON), POLLERR | POLLHUP);
}

CASE(poll__unconnected_and_listening__as_tcp_poll)
{
	struct sockaddr_in address = diff_addr(0);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	same(diff_poll(fd, POLLIN | POLLOUT, MUX_SOON), POLLOUT | POLLHUP);
	works(bind(fd, SA(address), sizeof(address)));
	same(diff_poll(fd, POLLIN | POLLOUT, MUX_SOON), POLLOUT | POLLHUP);
	works(listen(fd, 1));
	same(diff_poll(fd, POLLIN | POLLOUT, MUX_QUIET), 0);
	diff_connect(fd);
	same(diff_poll(fd, POLLIN | POLLOUT, MUX_SOON), POLLIN);
	works(shutdown(fd, SHUT_RDWR));
	same(diff_poll(fd, POLLIN | POLLOUT, MUX_SOON) & (POLLOUT | POLLHUP), POLLOUT | POLLHUP);
}

CASE(poll__timeouts__exact)
{
	int client, server;

	diff_pair(&client, &server);
	for (int mixed = 0; mixed < 2; mixed++) {
		int ends[2];
		works(pipe(ends));
		struct pollfd fds[2] = {
			{.fd = server, .events = POLLIN}, {.fd = ends[0], .events = POLLIN}};
		uint64_t start = diff_now_ms();
		same(poll(fds, mixed ? 2 : 1, 50), 0);
		is(diff_now_ms() - start >= 49);
		is(diff_now_ms() - start < 1500);
		start = diff_now_ms();
		for (int i = 0; i < 100; i++)
			same(poll(fds, mixed ? 2 : 1, 0), 0);
		is(diff_now_ms() - start < 1000);
	}
	struct pollfd fd = {.fd = server, .events = POLLIN};
	struct timespec bad = {.tv_nsec = 1000000000}, negative = {.tv_sec = -1};
	fails(ppoll(&fd, 1, &bad, NULL), EINVAL);
	fails(ppoll(&fd, 1, &negative, NULL), EINVAL);
	same(poll(NULL, 0, 1), 0);
}

struct sender {
	int fd;
	pid_t sleeper;
};

/* Sends once the other thread sleeps. */
static void *send_when_blocked(void *arg)
{
	struct sender *s = arg;

	diff_wait_blocked(s->sleeper);
	mux_send(s->fd, "x");
	return NULL;
}

CASE(poll__asleep__woken_by_data)
{
	int client, server, ends[2];

	diff_pair(&client, &server);
	works(pipe(ends));
	for (int i = 0; i < 20; i++) {
		struct sender s = {.fd = client, .sleeper = gettid()};
		struct pollfd fds[2] = {
			{.fd = ends[0], .events = POLLIN}, {.fd = server, .events = POLLIN}};
		pthread_t thread = diff_thread(send_when_blocked, &s);
		same(poll(fds, 2, -1), 1);
		same(fds[1].revents, POLLIN);
		mux_expect(server, "x");
		same(pthread_join(thread, NULL), 0);
	}
}

static void *write_pipe_when_blocked(void *arg)
{
	struct sender *s = arg;

	diff_wait_blocked(s->sleeper);
	same(write(s->fd, "p", 1), 1);
	return NULL;
}

CASE(poll__asleep__woken_by_a_pipe)
{
	int client, server, ends[2];
	char byte;

	diff_pair(&client, &server);
	works(pipe(ends));
	for (int i = 0; i < 20; i++) {
		struct sender s = {.fd = ends[1], .sleeper = gettid()};
		struct pollfd fds[2] = {
			{.fd = ends[0], .events = POLLIN}, {.fd = server, .events = POLLIN}};
		pthread_t thread = diff_thread(write_pipe_when_blocked, &s);
		same(poll(fds, 2, -1), 1);
		same(fds[0].revents, POLLIN);
		same(read(ends[0], &byte, 1), 1);
		same(pthread_join(thread, NULL), 0);
	}
}

static void *poll_it(void *arg)
{
	struct pollfd fd = {.fd = *(int *)arg, .events = POLLIN};

	same(poll(&fd, 1, 5000), 1);
	same(fd.revents, POLLIN);
	return NULL;
}

CASE(poll__several_threads_one_socket__all_woken)
{
	int client, server;
	pthread_t threads[4];

	diff_pair(&client, &server);
	for (int i = 0; i < 4; i++)
		threads[i] = diff_thread(poll_it, &server);
	mux_send(client, "x");
	for (int i = 0; i < 4; i++)
		same(pthread_join(threads[i], NULL), 0);
}

CASE(poll__many_entries__the_ready_ones)
{
	enum { PAIRS = 100 };
	static struct pollfd fds[2 * PAIRS];
	int client[PAIRS], ends[2];

	for (int i = 0; i < PAIRS; i++) {
		int server;
		diff_pair(&client[i], &server);
		works(pipe(ends));
		fds[2 * i] = (struct pollfd){.fd = server, .events = POLLIN};
		fds[2 * i + 1] = (struct pollfd){.fd = ends[0], .events = POLLIN};
		if (i == 42)
			same(write(ends[1], "p", 1), 1);
	}
	same(poll(fds, 2 * PAIRS, MUX_SOON), 1);
	same(fds[85].revents, POLLIN);
	for (int i = 0; i < PAIRS; i += 10) {
		mux_send(client[i], "x");
		mux_settle(fds[2 * i].fd, POLLIN);
	}
	same(poll(fds, 2 * PAIRS, MUX_SOON), 11);
	for (int i = 0; i < 2 * PAIRS; i++)
		same(fds[i].revents, i == 85 || i % 20 == 0 ? POLLIN : 0);
}

CASE(poll__request_and_reply__ten_thousand_times)
{
	int client, server;

	diff_pair(&client, &server);
	for (int i = 0; i < 10000; i++) {
		mux_send(client, "q");
		same(diff_poll(server, POLLIN, MUX_SOON), POLLIN);
		mux_expect(server, "q");
		mux_send(server, "r");
		same(diff_poll(client, POLLIN, MUX_SOON), POLLIN);
		mux_expect(client, "r");
	}
}

/* --- select --------------------------------------------------------------------------------------
 */

static int select_one(int fd, bool *in_ready, bool *out_ready, bool *ex_ready, int ms)
{
	struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	fd_set in, out, ex;

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&ex);
	FD_SET(fd, &in);
	FD_SET(fd, &out);
	FD_SET(fd, &ex);
	int n = select(fd + 1, in_ready ? &in : NULL, out_ready ? &out : NULL,
		ex_ready ? &ex : NULL, &timeout);
	if (in_ready)
		*in_ready = FD_ISSET(fd, &in);
	if (out_ready)
		*out_ready = FD_ISSET(fd, &out);
	if (ex_ready)
		*ex_ready = FD_ISSET(fd, &ex);
	return n;
}

CASE(select__each_set__its_bits)
{
	bool in, out, ex;
	int client, server;
	char byte;

	diff_pair(&client, &server);
	same(select_one(server, &in, &out, &ex, MUX_SOON), 1);
	is(!in && out && !ex);
	same(select_one(server, &in, NULL, &ex, MUX_QUIET), 0);
	is(!in && !ex);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	same(select_one(server, &in, &out, &ex, MUX_SOON), 2);
	is(in && out && !ex);
	same(send(client, "!", 1, MSG_OOB), 1);
	mux_settle(server, POLLPRI);
	same(select_one(server, &in, &out, &ex, MUX_SOON), 3);
	is(in && out && ex);
	same(recv(server, &byte, 1, MSG_OOB), 1);
	mux_expect(server, "x");
	works(shutdown(client, SHUT_WR));
	mux_settle(server, POLLRDHUP);
	same(select_one(server, &in, NULL, NULL, MUX_SOON), 1);
	is(in);
}

CASE(select__hang_up__not_exceptional)
{
	bool in, out, ex;
	int client, server;

	diff_pair(&client, &server);
	works(shutdown(client, SHUT_WR));
	works(shutdown(server, SHUT_WR));
	mux_settle(server, POLLHUP);
	/* Only urgent data would be exceptional: select waits. */
	uint64_t start = diff_now_ms();
	same(select_one(server, NULL, NULL, &ex, 50), 0);
	is(diff_now_ms() - start >= 49);
	same(select_one(server, &in, &out, &ex, MUX_SOON), 2);
	is(in && out && !ex);
}

CASE(select__timeout__left_over_is_written_back)
{
	struct timeval timeout = {.tv_sec = 5};
	int client, server;
	fd_set in;

	diff_pair(&client, &server);
	mux_send(client, "x");
	FD_ZERO(&in);
	FD_SET(server, &in);
	same(select(server + 1, &in, NULL, NULL, &timeout), 1);
	is(timeout.tv_sec < 5);
	is(timeout.tv_sec >= 2);
	mux_expect(server, "x");
	timeout = (struct timeval){.tv_usec = 40000};
	same(select(server + 1, &in, NULL, NULL, &timeout), 0);
	same(timeout.tv_sec, 0);
	same(timeout.tv_usec, 0);
	is(!FD_ISSET(server, &in));
	timeout = (struct timeval){.tv_sec = -1};
	FD_SET(server, &in);
	fails(select(server + 1, &in, NULL, NULL, &timeout), EINVAL);
	fails(select(-1, &in, NULL, NULL, NULL), EINVAL);
}

CASE(select__closed_descriptor__ebadf_and_sets_kept)
{
	struct timeval soon = {.tv_sec = 1};
	int client, server, gone = (int)works(dup(0));
	fd_set in;

	diff_pair(&client, &server);
	works(close(gone));
	FD_ZERO(&in);
	FD_SET(gone, &in);
	FD_SET(server, &in);
	int top = gone > server ? gone : server;
	fails(select(top + 1, &in, NULL, NULL, &soon), EBADF);
	is(FD_ISSET(server, &in));
}

CASE(select__many_descriptors__counts_bits)
{
	enum { PAIRS = 100 };
	int client[PAIRS], server[PAIRS], top = 0;
	fd_set in, out;

	FD_ZERO(&in);
	FD_ZERO(&out);
	for (int i = 0; i < PAIRS; i++) {
		diff_pair(&client[i], &server[i]);
		FD_SET(server[i], &in);
		FD_SET(server[i], &out);
		top = server[i] > top ? server[i] : top;
		if (i % 3 == 0) {
			mux_send(client[i], "x");
			mux_settle(server[i], POLLIN);
		}
	}
	same(select(top + 1, &in, &out, NULL, NULL), 134);
	for (int i = 0; i < PAIRS; i++) {
		same(!!FD_ISSET(server[i], &in), i % 3 == 0);
		is(FD_ISSET(server[i], &out));
	}
	/* Only what lies below the first argument counts. */
	struct timeval none = {0};
	FD_ZERO(&in);
	FD_SET(server[0], &in);
	same(select(server[0], &in, NULL, NULL, &none), 0);
}

CASE(pselect__timeout__not_written_back)
{
	struct timespec timeout = {.tv_nsec = 30000000};
	int client, server;
	fd_set in;

	diff_pair(&client, &server);
	FD_ZERO(&in);
	FD_SET(server, &in);
	same(pselect(server + 1, &in, NULL, NULL, &timeout, NULL), 0);
	same(timeout.tv_nsec, 30000000);
	mux_send(client, "x");
	FD_SET(server, &in);
	same(pselect(server + 1, &in, NULL, NULL, NULL, NULL), 1);
}

CASE(wildcard_listener__poll_sees_both_stacks)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address;
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(fd, SA(any), sizeof(any)));
	works(listen(fd, 8));
	same(diff_poll(fd, POLLIN | POLLOUT, MUX_QUIET), 0);
	for (int i = 0; i < 4; i++) {
		address = diff_addr(diff_port(fd));
		if (i & 1)
			address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		int client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		works(connect(client, SA(address), sizeof(address)));
		same(diff_poll(fd, POLLIN | POLLOUT, MUX_SOON), POLLIN);
		works(accept(fd, NULL, NULL));
		same(diff_poll(fd, POLLIN | POLLOUT, MUX_QUIET), 0);
	}
}

/* Bound to the wildcard, it could have become anything; connected, it is one stack's. */
CASE(wildcard_stream__connected__ready_for_what_its_connection_is)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address;
	int listener = diff_listen(0, 0, 1), set = mux_new(), server;
	int client = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(client, SA(any), sizeof(any)));
	mux_add(set, client, EPOLLIN, 1);
	address = diff_addr(diff_port(listener));
	works(connect(client, SA(address), sizeof(address)));
	server = (int)works(accept(listener, NULL, NULL));
	same(diff_poll(client, POLLIN, MUX_QUIET), 0);
	mux_none(set);
	mux_send(server, "x");
	same(diff_poll(client, POLLIN, MUX_SOON), POLLIN);
	same(mux_one(set, 1), EPOLLIN);
}

static void *shut_both(void *arg)
{
	const struct sender *s = arg;

	(void)shutdown(s->fd, SHUT_RD);
	diff_wait_blocked(s->sleeper);
	(void)shutdown(s->fd, SHUT_WR);
	return NULL;
}

CASE(poll__udp_shut_both_ways__hup_wakes)
{
	struct sender s = {.fd = diff_udp(), .sleeper = gettid()};
	pthread_t thread = diff_thread(shut_both, &s);
	uint64_t start = diff_now_ms();

	same(diff_poll(s.fd, 0, MUX_SOON), POLLHUP);
	is(diff_now_ms() - start < MUX_SOON); /* by now any wait would have seen it */
	same(pthread_join(thread, NULL), 0);
}

/* Nobody but its peer reaches it until it is disconnected. */
CASE(wildcard_udp__connected_and_disconnected__hears_its_peer_then_everybody)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address, local = {.sin_family = AF_INET};
	int peer = diff_udp(), set = mux_new(), stranger = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

	/* A port that was asked for is kept when the socket is disconnected. */
	works(bind(fd, SA(any), sizeof(any)));
	any.sin_port = htons(diff_port(fd));
	works(close(fd));
	fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	works(bind(fd, SA(any), sizeof(any)));
	mux_add(set, fd, EPOLLIN, 1);
	local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	works(bind(stranger, SA(local), sizeof(local)));
	local.sin_port = htons(diff_port(fd));
	address = diff_addr(diff_port(peer));
	works(connect(fd, SA(address), sizeof(address)));
	same(sendto(stranger, "a", 1, 0, SA(local), sizeof(local)), 1);
	same(diff_poll(fd, POLLIN, MUX_QUIET), 0);
	mux_none(set);
	any.sin_family = AF_UNSPEC;
	works(connect(fd, SA(any), sizeof(any)));
	same(sendto(stranger, "b", 1, 0, SA(local), sizeof(local)), 1);
	same(mux_one(set, 1), EPOLLIN);
	mux_expect(fd, "b");
}
