/* SPDX-License-Identifier: BSD-3-Clause */
/* How connections end: shutdown, close, linger, reset, SIGPIPE, and what the other side sees of it
 * (shutdown(2), close(2), socket(7), tcp(7)). */
#include <sys/epoll.h>

#include "tests/diff/diff.h"

static int pipes_seen;

static void
on_pipe(int number)
{
	(void)number;
	pipes_seen++;
}

static void
reset_on_close(int fd)
{
	struct linger hard = {.l_onoff = 1};

	works(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
}

/* The peer's FIN or RST is there. */
static void
ended(int fd)
{
	same(diff_poll(fd, POLLRDHUP, 3000) & POLLRDHUP, POLLRDHUP);
}

CASE(close__peer_reads_what_was_sent_then_eof)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "last", 4);
	works(close(client));
	diff_read_all(server, text, 4);
	same_bytes(text, "last", 4);
	same(recv(server, text, 8, 0), 0);
	same(recv(server, text, 8, 0), 0);
	same(diff_poll(server, POLLIN | POLLRDHUP | POLLOUT, 0), POLLIN | POLLRDHUP | POLLOUT);
}

CASE(close__descriptor_is_gone)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	works(close(client));
	fails(close(client), EBADF);
	fails(send(client, "x", 1, 0), EBADF);
	fails(recv(client, &byte, 1, 0), EBADF);
	fails(shutdown(client, SHUT_RDWR), EBADF);
}

CASE(close__unread_data__peer_gets_reset)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "unread", 6);
	is(diff_readable(server, 3000));
	works(close(server));
	ended(client);
	fails(recv(client, &byte, 1, 0), ECONNRESET);
	same(recv(client, &byte, 1, 0), 0);
}

CASE(linger_zero__close__peer_gets_reset)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	reset_on_close(client);
	works(close(client));
	ended(server);
	same(diff_poll(server, POLLIN | POLLOUT | POLLRDHUP, 0) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
	same(diff_int_option(server, SOL_SOCKET, SO_ERROR), ECONNRESET);
	same(diff_int_option(server, SOL_SOCKET, SO_ERROR), 0);
	same(recv(server, &byte, 1, 0), 0);
}

CASE(linger_zero__data_sent_before__readable_then_reset)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "data", 4);
	is(diff_readable(server, 3000));
	reset_on_close(client);
	works(close(client));
	ended(server);
	same(recv(server, text, 8, 0), 4);
	fails(recv(server, text, 8, 0), ECONNRESET);
}

CASE(reset__send__epipe_and_one_signal)
{
	char byte;
	int client, server;

	signal(SIGPIPE, on_pipe);
	diff_pair(&client, &server);
	reset_on_close(client);
	works(close(client));
	ended(server);
	fails(recv(server, &byte, 1, 0), ECONNRESET);
	fails(send(server, "x", 1, 0), EPIPE);
	same(pipes_seen, 1);
	fails(send(server, "x", 1, MSG_NOSIGNAL), EPIPE);
	same(pipes_seen, 1);
	fails(write(server, "x", 1), EPIPE);
	same(pipes_seen, 2);
}

CASE(reset__send_first__econnreset_without_signal)
{
	int client, server;

	signal(SIGPIPE, on_pipe);
	diff_pair(&client, &server);
	reset_on_close(client);
	works(close(client));
	ended(server);
	fails(send(server, "x", 1, 0), ECONNRESET);
	same(pipes_seen, 0);
	fails(send(server, "x", 1, 0), EPIPE);
	same(pipes_seen, 1);
}

static void
send_and_die(void *arg)
{
	signal(SIGPIPE, SIG_DFL);
	send(*(int *)arg, "x", 1, 0);
}

CASE(sigpipe__default__kills)
{
	int client, server, status;

	diff_pair(&client, &server);
	works(shutdown(client, SHUT_WR));
	pid_t child = diff_child(send_and_die, &client);
	same(waitpid(child, &status, 0), child);
	is(WIFSIGNALED(status));
	same(WTERMSIG(status), SIGPIPE);
}

CASE(write_after_peer_closed__first_works_then_epipe)
{
	int client, server;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&client, &server);
	works(close(client));
	ended(server);
	same(send(server, "x", 1, 0), 1); /* the peer answers with a reset */
	same(diff_poll(server, 0, 3000) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
	fails(send(server, "x", 1, 0), EPIPE);
}

/* --- shutdown ---------------------------------------------------------------------------------- */

CASE(shutdown_wr__peer_eof__still_receives)
{
	char text[8];
	int client, server;

	signal(SIGPIPE, on_pipe);
	diff_pair(&client, &server);
	diff_write_all(client, "ask", 3);
	works(shutdown(client, SHUT_WR));
	fails(send(client, "x", 1, 0), EPIPE);
	same(pipes_seen, 1);
	diff_read_all(server, text, 3);
	same(recv(server, text, 8, 0), 0);
	same(send(server, "answer", 6, 0), 6);
	diff_read_all(client, text, 6);
	same_bytes(text, "answer", 6);
	works(close(server));
	same(recv(client, text, 8, 0), 0);
	same(diff_poll(client, POLLIN | POLLOUT | POLLRDHUP, 3000) & (POLLHUP | POLLRDHUP), POLLHUP | POLLRDHUP);
}

CASE(shutdown_rd__eof_at_once__peer_does_not_notice)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	works(shutdown(server, SHUT_RD));
	same(recv(server, text, 8, 0), 0);
	same(diff_poll(server, POLLIN | POLLRDHUP, 0), POLLIN | POLLRDHUP);
	same(diff_poll(client, POLLIN | POLLRDHUP, 0), 0);
	same(send(server, "still", 5, 0), 5);
	diff_read_all(client, text, 5);
}

CASE(shutdown_rd__data_there__readable_all_the_same)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abc", 3);
	is(diff_readable(server, 3000));
	works(shutdown(server, SHUT_RD));
	same(recv(server, text, 8, 0), 3);
	same(recv(server, text, 8, 0), 0);
}

CASE(shutdown_rdwr__both_ways_over)
{
	char text[8];
	int client, server;

	signal(SIGPIPE, SIG_IGN);
	diff_pair(&client, &server);
	works(shutdown(client, SHUT_RDWR));
	same(recv(client, text, 8, 0), 0);
	fails(send(client, "x", 1, 0), EPIPE);
	same(recv(server, text, 8, 0), 0);
	same(diff_poll(client, POLLIN | POLLOUT | POLLRDHUP, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

CASE(shutdown__bad_how__einval)
{
	int client, server;

	diff_pair(&client, &server);
	fails(shutdown(client, 3), EINVAL);
	fails(shutdown(client, -1), EINVAL);
	fails(shutdown(-1, SHUT_WR), EBADF);
}

CASE(shutdown__twice__works_while_connected)
{
	int client, server;

	diff_pair(&client, &server);
	works(shutdown(client, SHUT_WR));
	works(shutdown(client, SHUT_WR));
	works(shutdown(client, SHUT_RDWR));
}

CASE(shutdown__after_reset__enotconn)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	reset_on_close(client);
	works(close(client));
	ended(server);
	fails(recv(server, &byte, 1, 0), ECONNRESET);
	fails(shutdown(server, SHUT_WR), ENOTCONN);
}

/* --- others wait meanwhile --------------------------------------------------------------------- */

struct receiver {
	int fd;
	pid_t tid;
	ssize_t got;
	int error;
};

static void *
receive_one(void *arg)
{
	struct receiver *r = arg;
	char byte;

	__atomic_store_n(&r->tid, gettid(), __ATOMIC_SEQ_CST);
	errno = 0;
	r->got = recv(r->fd, &byte, 1, 0);
	r->error = errno;
	return NULL;
}

static bool
tid_known(void *arg)
{
	return __atomic_load_n((pid_t *)arg, __ATOMIC_SEQ_CST) != 0;
}

static pthread_t
blocked_receiver(struct receiver *r)
{
	pthread_t thread = diff_thread(receive_one, r);

	is(diff_until(tid_known, &r->tid, 3000));
	diff_wait_blocked(r->tid);
	return thread;
}

CASE(recv_blocked__own_shutdown_rd__zero)
{
	struct receiver r = {0};
	int client, server;

	diff_pair(&client, &server);
	r.fd = server;
	pthread_t thread = blocked_receiver(&r);
	works(shutdown(server, SHUT_RD));
	same(pthread_join(thread, NULL), 0);
	same(r.got, 0);
}

CASE(recv_blocked__peer_closes__zero)
{
	struct receiver r = {0};
	int client, server;

	diff_pair(&client, &server);
	r.fd = server;
	pthread_t thread = blocked_receiver(&r);
	works(close(client));
	same(pthread_join(thread, NULL), 0);
	same(r.got, 0);
}

CASE(recv_blocked__peer_resets__econnreset)
{
	struct receiver r = {0};
	int client, server;

	diff_pair(&client, &server);
	r.fd = server;
	pthread_t thread = blocked_receiver(&r);
	reset_on_close(client);
	works(close(client));
	same(pthread_join(thread, NULL), 0);
	same(r.got, -1);
	same(r.error, ECONNRESET);
}

CASE(close__while_another_thread_receives__data_still_reaches_it)
{
	/* Linux keeps the open file until the call in progress returns: the descriptor is free, the
	 * connection stays. */
	struct receiver r = {0};
	int client, server;

	diff_pair(&client, &server);
	r.fd = server;
	pthread_t thread = blocked_receiver(&r);
	works(close(server));
	diff_write_all(client, "x", 1);
	same(pthread_join(thread, NULL), 0);
	same(r.got, 1);
	ended(client);
}

CASE(connect_unspec__dissolves)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	char byte;
	int client, server;

	diff_pair(&client, &server);
	works(connect(client, &nowhere, sizeof(nowhere)));
	ended(server);
	fails(recv(server, &byte, 1, 0), ECONNRESET);
	fails(send(client, "x", 1, MSG_NOSIGNAL), ECONNRESET);
	fails(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
	/* And may connect again. */
	int listener = diff_listen(0, 0, 1);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	works(connect(client, SA(address), sizeof(address)));
	server = (int)works(accept(listener, NULL, NULL));
	diff_write_all(client, "x", 1);
	diff_read_all(server, &byte, 1);
}

/* As a client sees whose server closes while it still sends. */
CASE(reset_after_fin__recv_is_the_end__the_error_stays)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	diff_write_all(server, "z", 1);
	works(shutdown(server, SHUT_WR));
	ended(client);
	diff_write_all(client, "x", 1);
	diff_arrived(server, 1);
	works(close(server));
	same(diff_poll(client, 0, 3000), POLLERR | POLLHUP);
	diff_read_all(client, &byte, 1);
	same(recv(client, &byte, 1, 0), 0);
	same(recv(client, &byte, 1, MSG_DONTWAIT), 0);
	same(recv(client, &byte, 1, MSG_PEEK), 0);
	same(diff_int_option(client, SOL_SOCKET, SO_ERROR), EPIPE);
	same(recv(client, &byte, 1, 0), 0);
	fails(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE(reset_after_both_fins__recv_is_the_end__the_error_stays)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	works(shutdown(server, SHUT_WR));
	ended(client);
	diff_write_all(client, "x", 1);
	works(shutdown(client, SHUT_WR));
	ended(server);
	works(close(server)); /* with a byte unread */
	same(recv(client, &byte, 1, 0), 0);
	same(recv(client, &byte, 1, 0), 0);
}

static void *receives_end(void *arg)
{
	char byte;

	same(recv(*(int *)arg, &byte, 1, 0), 0);
	return NULL;
}

/* How a program stops the thread that reads. */
CASE(udp__shutdown_unconnected__ENOTCONN_and_who_waits_is_woken)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct sockaddr_in any = {.sin_family = AF_INET};

	for (int wildcard = 0; wildcard < 2; wildcard++) {
		int fd = wildcard ? (int)works(socket(AF_INET, SOCK_DGRAM, 0)) : diff_udp();

		if (wildcard)
			works(bind(fd, SA(any), sizeof(any)));
		struct sockaddr_in own = diff_addr(diff_port(fd));
		pthread_t reader = diff_thread(receives_end, &fd);

		fails(shutdown(fd, SHUT_RDWR), ENOTCONN);
		same(pthread_join(reader, NULL), 0);
		same(diff_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
		fails(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(own), sizeof(own)), EPIPE);
		works(connect(fd, &nowhere, sizeof(nowhere)));
		fails(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(own), sizeof(own)), EPIPE);
		works(close(fd));
	}
}

CASE(bound_stream__shutdown__ENOTCONN_and_the_end)
{
	struct sockaddr_in any_port = diff_addr(0);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	char byte;

	works(bind(fd, SA(any_port), sizeof(any_port)));
	fails(shutdown(fd, SHUT_RDWR), ENOTCONN);
	same(diff_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
	same(recv(fd, &byte, 1, 0), 0);
}

struct attempt {
	int fd;
	struct sockaddr_in to;
};

static void *connects_in_vain(void *arg)
{
	const struct attempt *a = arg;

	fails(connect(a->fd, CSA(a->to), sizeof(a->to)), ECONNRESET);
	return NULL;
}

/* The listener is full, and answers nothing. */
CASE(connecting__shutdown__ends_it_with_ECONNRESET)
{
	for (int how = SHUT_RD; how <= SHUT_RDWR; how++) {
		int listener = diff_listen(0, 0, 0), fd;
		struct sockaddr_in address = diff_addr(diff_port(listener));

		diff_connect(listener);
		fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		fails(connect(fd, SA(address), sizeof(address)), EINPROGRESS);
		is(!diff_writable(fd, 20));
		works(shutdown(fd, how));
		same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), ECONNRESET);
		fails(connect(fd, SA(address), sizeof(address)), EINPROGRESS);
		works(close(fd));
		struct attempt again = {(int)works(socket(AF_INET, SOCK_STREAM, 0)), address};
		pthread_t connects = diff_thread(connects_in_vain, &again);
		while (shutdown(again.fd, how) != 0)
			same(errno, ENOTCONN); /* it has not begun */
		same(pthread_join(connects, NULL), 0);
		works(close(again.fd));
		works(close(listener));
	}
}

/* Nobody asked for what was left of the first. */
CASE(connect_unspec__connects_at_once__no_error_of_before)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	int listener = diff_listen(0, 0, 5), client = diff_connect(listener);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	char byte;

	works(close((int)works(accept(listener, NULL, NULL))));
	works(connect(client, &nowhere, sizeof(nowhere)));
	works(connect(client, SA(address), sizeof(address)));
	int server = (int)works(accept(listener, NULL, NULL));
	diff_write_all(client, "x", 1);
	diff_read_all(server, &byte, 1);
	diff_write_all(server, "y", 1);
	diff_read_all(client, &byte, 1);
}

CASE(connect_unspec__bound_and_listens)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	int listener = diff_listen(0, 0, 5), fd = diff_connect(listener);
	struct sockaddr_in any_port = diff_addr(0);

	works(connect(fd, &nowhere, sizeof(nowhere)));
	if (bind(fd, SA(any_port), sizeof(any_port)) != 0) {
		same(errno, EINVAL);
		is(diff_workers() > 1); /* not the one's that knows the ports (docs/compatibility.md) */
		return;
	}
	fails(bind(fd, SA(any_port), sizeof(any_port)), EINVAL);
	works(listen(fd, 5));
	works(close(diff_connect(fd)));
}

CASE(linger_seconds__close_returns_once_all_is_taken)
{
	struct linger soft = {.l_onoff = 1, .l_linger = 5};
	static char chunk[100000];
	int client, server;

	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &soft, sizeof(soft)));
	diff_write_all(client, chunk, sizeof(chunk));
	pid_t reader = (pid_t)works(fork());
	if (reader == 0) {
		works(close(client));
		diff_read_all(server, chunk, sizeof(chunk));
		same(recv(server, chunk, 1, 0), 0);
		exit(0);
	}
	works(close(server));
	uint64_t begin = diff_now_ms();
	works(close(client));
	is(diff_now_ms() - begin < 4000);
	diff_join(reader);
}

CASE(simultaneous_close__both_end)
{
	enum { N = 50 };

	for (int i = 0; i < N; i++) {
		char byte;
		int client, server;

		diff_pair(&client, &server);
		works(shutdown(client, SHUT_WR));
		works(shutdown(server, SHUT_WR));
		same(recv(client, &byte, 1, 0), 0);
		same(recv(server, &byte, 1, 0), 0);
		works(close(client));
		works(close(server));
	}
}

CASE(epoll__peer_closes__in_rdhup_and_hup_only_when_both)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLOUT};
	int client, server, set = (int)works(epoll_create1(0));

	diff_pair(&client, &server);
	works(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
	works(shutdown(client, SHUT_WR));
	ended(server);
	same(epoll_wait(set, &event, 1, 3000), 1);
	same(event.events, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
	works(shutdown(server, SHUT_WR));
	same(diff_poll(server, 0, 3000), POLLHUP);
	same(epoll_wait(set, &event, 1, 3000), 1);
	same(event.events, EPOLLIN | EPOLLRDHUP | EPOLLOUT | EPOLLHUP);
}

struct resetting {
	int fd;
	pid_t sender;
};

static void *reset_when_it_sleeps(void *arg)
{
	const struct resetting *r = arg;

	diff_wait_blocked(r->sender);
	reset_on_close(r->fd);
	works(close(r->fd));
	return NULL;
}

/* Two sends that wait for room; the peer resets in the middle. What the part did not say, the next call does: a program
 * that is told EPIPE instead is ended by SIGPIPE. */
CASE(send_of_much__reset_in_the_middle__a_part_then_ECONNRESET_then_EPIPE)
{
	static char much[16 << 20];

	for (int i = 0; i < 2; i++) {
		struct resetting r = {.sender = getpid()};
		int client;

		diff_pair(&client, &r.fd);
		pthread_t thread = diff_thread(reset_when_it_sleeps, &r);
		ssize_t part = works(send(client, much, sizeof(much), 0));
		is(part > 0 && part < (ssize_t)sizeof(much));
		same(pthread_join(thread, NULL), 0);
		if (i == 0)
			fails(send(client, much, 10, 0), ECONNRESET);
		else
			same(diff_int_option(client, SOL_SOCKET, SO_ERROR), ECONNRESET);
		fails(send(client, much, 10, MSG_NOSIGNAL), EPIPE);
		works(close(client));
	}
}
