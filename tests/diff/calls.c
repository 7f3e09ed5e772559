/* SPDX-License-Identifier: BSD-3-Clause */
/* socket, bind, listen, accept, connect, getsockname and getpeername: what each returns, errno by errno
 * (socket(2), bind(2), listen(2), accept(2), connect(2), getsockname(2), getpeername(2)). */
#include <netinet/tcp.h>
#include <sys/un.h>

#include "tests/diff/diff.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif

CASE(listener__connect_accept__data_both_ways)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	same(write(client, "ping", 4), 4);
	same(read(server, text, sizeof(text)), 4);
	same_bytes(text, "ping", 4);
	same(write(server, "pong!", 5), 5);
	same(read(client, text, sizeof(text)), 5);
	same_bytes(text, "pong!", 5);
}

/* --- socket ------------------------------------------------------------------------------------ */

/* Programs clean up first and then print what went wrong. */
CASE(calls_that_succeed__errno_stays_as_it_was)
{
#define STAYS(call)                                                                                \
	do {                                                                                       \
		errno = EXFULL;                                                                    \
		works(call);                                                                       \
		same(errno, EXFULL);                                                               \
	} while (0)
	struct sockaddr_in address = diff_addr(0);
	socklen_t length = sizeof(address);
	int listener, client, server, udp, on = 1;
	char byte = 'x';

	STAYS(listener = socket(AF_INET, SOCK_STREAM, 0));
	STAYS(bind(listener, SA(address), length));
	STAYS(listen(listener, 5));
	STAYS(getsockname(listener, SA(address), &length));
	STAYS(client = socket(AF_INET, SOCK_STREAM, 0));
	STAYS(connect(client, SA(address), length));
	STAYS(server = accept(listener, NULL, NULL));
	STAYS(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	for (int i = 0; i < 20; i++) {
		STAYS(send(client, &byte, 1, 0));
		STAYS(read(server, &byte, 1));
		STAYS(write(server, &byte, 1));
		STAYS(recv(client, &byte, 1, 0));
	}
	STAYS(shutdown(client, SHUT_WR));
	STAYS(recv(server, &byte, 1, 0));
	STAYS(close(server));
	STAYS(close(client));
	STAYS(close(listener));
	address.sin_port = 0;
	STAYS(udp = socket(AF_INET, SOCK_DGRAM, 0));
	STAYS(bind(udp, SA(address), length));
	STAYS(getsockname(udp, SA(address), &length));
	STAYS(connect(udp, SA(address), length));
	STAYS(send(udp, &byte, 1, 0));
	STAYS(recv(udp, &byte, 1, 0));
	STAYS(close(udp));
#undef STAYS
}

CASE(socket__bad_combinations__errno_of_linux)
{
	fails(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
	fails(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
	fails(socket(AF_INET, 15, 0), EINVAL);
	fails(socket(AF_INET, SOCK_STREAM, 9999), EINVAL);
	fails(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT);
	fails(socket(AF_INET, SOCK_STREAM | 0x40000, 0), EINVAL);
}

CASE(socket__explicit_protocol__same_as_zero)
{
	int tcp = (int)works(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
	int udp = (int)works(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP));

	same(diff_int_option(tcp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	same(diff_int_option(tcp, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	same(diff_int_option(tcp, SOL_SOCKET, SO_DOMAIN), AF_INET);
	same(diff_int_option(udp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
	same(diff_int_option(udp, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
}

CASE(socket__flags__nonblock_and_cloexec)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));

	same(works(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	same(works(fcntl(fd, F_GETFL)), O_RDWR | O_NONBLOCK);
	works(close(fd));
	fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	same(works(fcntl(fd, F_GETFD)), 0);
	same(works(fcntl(fd, F_GETFL)), O_RDWR);
}

CASE(socket__lowest_free_number)
{
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(close(one));
	same(socket(AF_INET, SOCK_DGRAM, 0), one);
	works(close(two));
}

CASE(fresh_socket__calls_that_need_a_connection__errno)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	char byte;
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	signal(SIGPIPE, SIG_IGN);
	fails(recv(fd, &byte, 1, 0), ENOTCONN);
	fails(send(fd, "x", 1, 0), EPIPE);
	fails(shutdown(fd, SHUT_WR), ENOTCONN);
	fails(getpeername(fd, SA(address), &length), ENOTCONN);
	fails(accept(fd, NULL, NULL), EINVAL);
	works(getsockname(fd, SA(address), &length));
	same(length, sizeof(address));
	same(address.sin_family, AF_INET);
	same(address.sin_port, 0);
	same(address.sin_addr.s_addr, INADDR_ANY);
}

/* --- bind -------------------------------------------------------------------------------------- */

CASE(bind__port_zero__a_port_is_chosen)
{
	struct sockaddr_in address = diff_addr(0), got;
	socklen_t length = sizeof(got);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(fd, SA(address), sizeof(address)));
	works(getsockname(fd, SA(got), &length));
	same(length, sizeof(got));
	same(got.sin_addr.s_addr, address.sin_addr.s_addr);
	is(ntohs(got.sin_port) >= 1024);
}

CASE(bind__twice__einval)
{
	struct sockaddr_in address = diff_addr(0);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(fd, SA(address), sizeof(address)));
	fails(bind(fd, SA(address), sizeof(address)), EINVAL);
}

CASE(bind__short_or_wrong_address__errno)
{
	struct sockaddr_in address = diff_addr(0);
	struct sockaddr_in6 address6 = {.sin6_family = AF_INET6};
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	fails(bind(fd, SA(address), sizeof(address) - 1), EINVAL);
	fails(bind(fd, SA(address), 0), EINVAL);
	fails(bind(fd, SA(address6), sizeof(address6)), EAFNOSUPPORT);
	address.sin_family = 77;
	fails(bind(fd, SA(address), sizeof(address)), EAFNOSUPPORT);
	fails(bind(fd, (struct sockaddr *)8, sizeof(address)), EFAULT);
	fails(bind(-1, SA(address), sizeof(address)), EBADF);
}

CASE(bind__refused_then_done__close_gives_the_port_back)
{
	struct sockaddr_in address = diff_addr(0), other = diff_addr(0);
	socklen_t length = sizeof(address);
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0)), two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(one, SA(address), sizeof(address)));
	works(getsockname(one, SA(address), &length));
	fails(bind(two, SA(address), sizeof(address)), EADDRINUSE);
	works(bind(two, SA(other), sizeof(other)));
	works(listen(two, 1));
	works(getsockname(two, SA(other), &length));
	works(close(two));
	two = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	works(bind(two, SA(other), sizeof(other)));
}

/* As servers do that look for a free port. */
CASE(bind__wildcard_refused_then_elsewhere__works)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

	for (unsigned i = 0; i < 2; i++) {
		struct sockaddr_in address = diff_addr(0), any = {.sin_family = AF_INET};
		socklen_t length = sizeof(address);
		int one = (int)works(socket(AF_INET, types[i], 0)), two = (int)works(socket(AF_INET, types[i], 0));

		works(bind(one, SA(address), sizeof(address)));
		works(getsockname(one, SA(address), &length));
		any.sin_port = address.sin_port;
		fails(bind(two, SA(any), sizeof(any)), EADDRINUSE);
		any.sin_port = 0;
		works(bind(two, SA(any), sizeof(any)));
		works(getsockname(two, SA(any), &length));
		is(any.sin_port != 0 && any.sin_port != address.sin_port);
	}
}

CASE(bind__address_of_somebody_else__eaddrnotavail)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7777)};
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	inet_pton(AF_INET, "192.0.2.77", &address.sin_addr);
	fails(bind(fd, SA(address), sizeof(address)), EADDRNOTAVAIL);
}

CASE(bind__not_a_socket__enotsock)
{
	struct sockaddr_in address = diff_addr(0);
	int ends[2];

	works(pipe(ends));
	fails(bind(ends[0], SA(address), sizeof(address)), ENOTSOCK);
	fails(listen(ends[0], 1), ENOTSOCK);
	fails(connect(ends[0], SA(address), sizeof(address)), ENOTSOCK);
	fails(accept(ends[0], NULL, NULL), ENOTSOCK);
	fails(recv(ends[0], NULL, 0, 0), ENOTSOCK);
}

CASE(bind__port_in_use_by_listener__eaddrinuse_even_with_reuseaddr)
{
	int listener = diff_listen(0, 0, 1), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(diff_port(listener));

	fails(bind(fd, SA(address), sizeof(address)), EADDRINUSE);
	diff_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	fails(bind(fd, SA(address), sizeof(address)), EADDRINUSE);
}

CASE(bind__both_reuseaddr_none_listens__works_then_listen_decides)
{
	struct sockaddr_in address = diff_addr(0);
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	diff_set_int(one, SOL_SOCKET, SO_REUSEADDR, 1);
	diff_set_int(two, SOL_SOCKET, SO_REUSEADDR, 1);
	works(bind(one, SA(address), sizeof(address)));
	address = diff_addr(diff_port(one));
	works(bind(two, SA(address), sizeof(address)));
	works(listen(one, 1));
	fails(listen(two, 1), EADDRINUSE);
}

/* Or who listens first takes it from the other, who never named it. */
CASE(bind__port_zero_and_reuseaddr__never_a_port_of_somebody_else)
{
	const int reuse[] = {SO_REUSEADDR, SO_REUSEPORT};

	for (int i = 0; i < 2; i++) {
		struct sockaddr_in address = diff_addr(0);
		int first = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		int second = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		uint32_t port;

		diff_set_int(first, SOL_SOCKET, reuse[i], 1);
		diff_set_int(second, SOL_SOCKET, reuse[i], 1);
		works(bind(first, SA(address), sizeof(address)));
		port = diff_port(first);
		diff_set_int(second, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)(port << 16 | port));
		fails(bind(second, SA(address), sizeof(address)), EADDRINUSE);
		address = diff_addr((uint16_t)port);
		works(bind(second, SA(address), sizeof(address)));
		works(listen(second, 1));
	}
}

CASE(bind__without_reuseaddr__eaddrinuse)
{
	struct sockaddr_in address = diff_addr(0);
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(bind(one, SA(address), sizeof(address)));
	address = diff_addr(diff_port(one));
	fails(bind(two, SA(address), sizeof(address)), EADDRINUSE);
	works(close(one));
	works(bind(two, SA(address), sizeof(address)));
}

CASE(bind__reuseport_on_both__both_listen)
{
	struct sockaddr_in address = diff_addr(0);
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	diff_set_int(one, SOL_SOCKET, SO_REUSEPORT, 1);
	works(bind(one, SA(address), sizeof(address)));
	works(listen(one, 8));
	address = diff_addr(diff_port(one));
	fails(bind(two, SA(address), sizeof(address)), EADDRINUSE);
	diff_set_int(two, SOL_SOCKET, SO_REUSEPORT, 1);
	works(bind(two, SA(address), sizeof(address)));
	works(listen(two, 8));
	/* Every connection ends at exactly one of them. */
	diff_nonblock(one);
	diff_nonblock(two);
	for (int i = 0; i < 20; i++) {
		struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};
		int client = diff_connect(one);

		same(poll(both, 2, 3000), 1);
		works(accept(both[0].revents != 0 ? one : two, NULL, NULL));
		works(close(client));
	}
}

CASE(bind__server_restarts_while_its_connection_lives__needs_reuseaddr)
{
	struct sockaddr_in address;
	int listener = diff_listen(0, 0, 4), client = diff_connect(listener), fd;
	int server = (int)works(accept(listener, NULL, NULL));

	address = diff_addr(diff_port(listener));
	works(close(listener));
	fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	fails(bind(fd, SA(address), sizeof(address)), EADDRINUSE);
	diff_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	works(bind(fd, SA(address), sizeof(address)));
	works(listen(fd, 4));
	works(close(server));
	works(close(client));
}

/* --- listen and accept ------------------------------------------------------------------------- */

CASE(listen__unbound__gets_a_port)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(listen(fd, 1));
	is(diff_port(fd) != 0);
	same(diff_int_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
}

CASE(listen__on_connected__einval)
{
	int client, server;

	diff_pair(&client, &server);
	fails(listen(client, 1), EINVAL);
	fails(listen(server, 1), EINVAL);
}

CASE(listen__on_udp__eopnotsupp)
{
	int fd = diff_udp();

	fails(listen(fd, 1), EOPNOTSUPP);
	fails(accept(fd, NULL, NULL), EOPNOTSUPP);
}

CASE(listen__again__new_backlog)
{
	int fd = diff_listen(0, 0, 1);

	works(listen(fd, 100));
	works(listen(fd, 0));
	works(listen(fd, -1));
	same(diff_int_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
}

CASE(listener__send_recv_connect__errno)
{
	char byte;
	int fd = diff_listen(0, 0, 1);
	struct sockaddr_in address = diff_addr(diff_port(fd));

	signal(SIGPIPE, SIG_IGN);
	fails(recv(fd, &byte, 1, 0), ENOTCONN);
	fails(send(fd, "x", 1, 0), EPIPE);
	fails(connect(fd, SA(address), sizeof(address)), EISCONN);
	fails(getpeername(fd, SA(address), &(socklen_t){sizeof(address)}), ENOTCONN);
}

CASE(accept__nothing_there__eagain)
{
	int fd = diff_listen(SOCK_NONBLOCK, 0, 1);

	fails(accept(fd, NULL, NULL), EAGAIN);
	fails(accept4(fd, NULL, NULL, SOCK_CLOEXEC), EAGAIN);
	fails(accept4(fd, NULL, NULL, 0x123), EINVAL);
}

CASE(accept__address_of_peer__cut_to_the_given_length)
{
	struct sockaddr_in got, mine;
	socklen_t length = sizeof(got), mine_length = sizeof(mine);
	unsigned char small[8];
	int listener = diff_listen(0, 0, 8), client = diff_connect(listener);

	memset(&got, 0xee, sizeof(got));
	works(accept(listener, SA(got), &length));
	works(getsockname(client, SA(mine), &mine_length));
	same(length, sizeof(got));
	same_bytes(&got, &mine, sizeof(got));
	client = diff_connect(listener);
	memset(small, 0xee, sizeof(small));
	length = 4;
	works(accept(listener, (struct sockaddr *)small, &length));
	works(getsockname(client, SA(mine), &mine_length));
	same(length, sizeof(struct sockaddr_in));
	same_bytes(small, &mine, 4);
	same(small[4], 0xee);
}

CASE(accept4__flags__as_asked_and_not_inherited)
{
	int listener = diff_listen(SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 8), fd;

	diff_connect(listener);
	is(diff_readable(listener, 3000));
	fd = (int)works(accept(listener, NULL, NULL));
	same(works(fcntl(fd, F_GETFL)), O_RDWR);
	same(works(fcntl(fd, F_GETFD)), 0);
	diff_connect(listener);
	is(diff_readable(listener, 3000));
	fd = (int)works(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	same(works(fcntl(fd, F_GETFL)), O_RDWR | O_NONBLOCK);
	same(works(fcntl(fd, F_GETFD)), FD_CLOEXEC);
}

CASE(accept__negative_length__einval)
{
	struct sockaddr_in got;
	socklen_t length = (socklen_t)-1;
	int listener = diff_listen(0, 0, 8);

	diff_connect(listener);
	fails(accept(listener, SA(got), &length), EINVAL);
}

CASE(accept__options_of_the_listener__inherited)
{
	int listener = diff_listen(0, 0, 8), fd;

	diff_set_int(listener, IPPROTO_TCP, TCP_NODELAY, 1);
	diff_set_int(listener, SOL_SOCKET, SO_KEEPALIVE, 1);
	diff_set_int(listener, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	diff_connect(listener);
	fd = (int)works(accept(listener, NULL, NULL));
	same(diff_int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	same(diff_int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	same(diff_int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
	same(diff_int_option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	same(diff_int_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
}

CASE(accept__peer_reset_before__connection_is_still_given_or_gone)
{
	struct linger hard = {.l_onoff = 1};
	int listener = diff_listen(0, 0, 8), client = diff_connect(listener), fd;
	char byte;

	is(diff_readable(listener, 3000));
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	works(close(client));
	fd = (int)works(accept(listener, NULL, NULL));
	is(diff_readable(fd, 3000));
	fails(recv(fd, &byte, 1, 0), ECONNRESET);
	same(recv(fd, &byte, 1, 0), 0);
}

CASE(accept__many_waiting__in_order)
{
	enum { N = 20 };
	int listener = diff_listen(0, 0, N), clients[N];

	for (int i = 0; i < N; i++) {
		clients[i] = diff_connect(listener);
		diff_write_all(clients[i], &i, sizeof(i));
	}
	for (int i = 0; i < N; i++) {
		int got = -1, fd = (int)works(accept(listener, NULL, NULL));
		diff_read_all(fd, &got, sizeof(got));
		same(got, i);
	}
}

static void *
accept_one(void *arg)
{
	int *state = arg;

	__atomic_store_n(&state[1], gettid(), __ATOMIC_SEQ_CST);
	int fd = accept(state[0], NULL, NULL);
	state[2] = fd < 0 ? -errno : fd;
	return NULL;
}

static bool
has_tid(void *arg)
{
	return __atomic_load_n((int *)arg, __ATOMIC_SEQ_CST) != 0;
}

CASE(accept_blocked__shutdown_of_the_listener__einval)
{
	int state[3] = {diff_listen(0, 0, 8), 0, 0};
	pthread_t thread = diff_thread(accept_one, state);

	is(diff_until(has_tid, &state[1], 3000));
	diff_wait_blocked(state[1]);
	works(shutdown(state[0], SHUT_RDWR));
	same(pthread_join(thread, NULL), 0);
	same(state[2], -EINVAL);
	/* It listens no longer; the port is refused. */
	struct sockaddr_in address = diff_addr(diff_port(state[0]));
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(fd, SA(address), sizeof(address)), ECONNREFUSED);
	/* And may listen again; its port was chosen for it, so it is chosen anew. */
	works(listen(state[0], 8));
	address = diff_addr(diff_port(state[0]));
	works(connect(fd, SA(address), sizeof(address)));
}

CASE(accept_blocked__connection_comes__returned)
{
	int state[3] = {diff_listen(0, 0, 8), 0, 0};
	pthread_t thread = diff_thread(accept_one, state);

	is(diff_until(has_tid, &state[1], 3000));
	diff_wait_blocked(state[1]);
	int client = diff_connect(state[0]);
	same(pthread_join(thread, NULL), 0);
	is(state[2] >= 0);
	diff_write_all(client, "x", 1);
	diff_read_all(state[2], &(char){0}, 1);
}

CASE(listener_closed__waiting_connections__reset)
{
	char byte;
	int listener = diff_listen(0, 0, 8), client = diff_connect(listener);

	is(diff_readable(listener, 3000));
	works(close(listener));
	is(diff_readable(client, 3000));
	fails(recv(client, &byte, 1, 0), ECONNRESET);
}

/* --- connect ----------------------------------------------------------------------------------- */

/* A port of the servers' address on which nobody listens. */
static struct sockaddr_in
closed_port(void)
{
	struct sockaddr_in address;
	int fd = diff_listen(0, 0, 1);

	address = diff_addr(diff_port(fd));
	works(close(fd));
	return address;
}

CASE(connect__closed_port__econnrefused_then_again)
{
	struct sockaddr_in address = closed_port();
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	fails(connect(fd, SA(address), sizeof(address)), ECONNREFUSED);
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), 0);
	fails(connect(fd, SA(address), sizeof(address)), ECONNREFUSED);
	int listener = diff_listen(0, ntohs(address.sin_port), 1);
	works(connect(fd, SA(address), sizeof(address)));
	works(accept(listener, NULL, NULL));
}

CASE(connect_nonblocking__closed_port__so_error_once)
{
	struct sockaddr_in address = closed_port();
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	fails(connect(fd, SA(address), sizeof(address)), EINPROGRESS);
	short got = diff_poll(fd, POLLOUT, 3000);
	same(got, POLLOUT | POLLERR | POLLHUP);
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), 0);
}

CASE(connect_nonblocking__listener__writable_then_eisconn)
{
	int listener = diff_listen(0, 0, 1);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	fails(connect(fd, SA(address), sizeof(address)), EINPROGRESS);
	is(diff_writable(fd, 3000));
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), 0);
	/* The call that follows EINPROGRESS reports success once, as the manual's EALREADY promises. */
	int again = connect(fd, SA(address), sizeof(address));
	is(again == 0 || errno == EISCONN);
	fails(connect(fd, SA(address), sizeof(address)), EISCONN);
	works(accept(listener, NULL, NULL));
}

/* Without a cookie: a connect, then data. */
CASE(fast_open__sendto__connects_and_sends)
{
	int listener = diff_listen(0, 0, 4), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0)), server;
	struct sockaddr_in address = diff_addr(diff_port(listener));
	char text[8];

	diff_set_int(listener, IPPROTO_TCP, TCP_FASTOPEN, 4);
	same(diff_int_option(listener, IPPROTO_TCP, TCP_FASTOPEN), 4);
	same(sendto(fd, "hello", 5, MSG_FASTOPEN, SA(address), sizeof(address)), 5);
	server = (int)works(accept(listener, NULL, NULL));
	diff_read_all(server, text, 5);
	same_bytes(text, "hello", 5);
	fails(sendto(fd, "hello", 5, MSG_FASTOPEN, SA(address), sizeof(address)), EISCONN);
	diff_write_all(server, "answer", 6);
	diff_read_all(fd, text, 6);
	same_bytes(text, "answer", 6);
}

CASE(fast_open__sendmsg_nonblocking__einprogress_then_writable)
{
	int listener = diff_listen(0, 0, 4), fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct sockaddr_in address = diff_addr(diff_port(listener));
	struct iovec part = {(void *)(uintptr_t) "hello", 5};
	struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &part,
		.msg_iovlen = 1};

	fails(sendmsg(fd, &message, MSG_FASTOPEN), EINPROGRESS);
	is(diff_writable(fd, 3000));
	same(diff_int_option(fd, SOL_SOCKET, SO_ERROR), 0);
	same(send(fd, "hello", 5, 0), 5);
	works(accept(listener, NULL, NULL));
}

CASE(fast_open__connect_option__connects_as_ever_without_a_cookie)
{
	int listener = diff_listen(0, 0, 4), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0)), value = 2;
	int other = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(diff_port(listener)), closed = closed_port();

	fails(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, sizeof(value)), EINVAL);
	diff_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
	same(diff_int_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
	works(connect(fd, SA(address), sizeof(address)));
	value = 1;
	fails(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, sizeof(value)), EINVAL);
	same(send(fd, "hello", 5, 0), 5);
	works(accept(listener, NULL, NULL));
	fails(sendto(other, "hello", 5, MSG_FASTOPEN, SA(closed), sizeof(closed)), ECONNREFUSED);
}

CASE(fast_open__keys__one_or_two_and_errno)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0)), listener, udp = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	char keys[40] = "0123456789abcdefFEDCBA9876543210", got[64];
	socklen_t length = sizeof(got);

	works(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length));
	same(length, 0);
	works(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, 32)); /* before it is known who serves it */
	listener = diff_listen(0, 0, 4);
	for (int i = 0; i < 2; i++) {
		for (socklen_t n = 0; n <= 40; n++) {
			if (n != 16 && n != 32)
				fails(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, n), EINVAL);
		}
		fails(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, (void *)8, 16), EFAULT);
		works(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, i == 0 ? 32 : 16));
		length = sizeof(got);
		works(getsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length));
		same(length, i == 0 ? 32 : 16);
		same_bytes(got, keys, length);
	}
	length = 5;
	works(getsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length));
	same(length, 5);
	struct sockaddr_in address = diff_addr(diff_port(listener));
	works(connect(fd, SA(address), sizeof(address)));
	length = sizeof(got);
	works(getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length));
	same(length, 32);
	same_bytes(got, keys, length);
	int server = (int)works(accept(listener, NULL, NULL));
	length = sizeof(got);
	works(getsockopt(server, IPPROTO_TCP, TCP_FASTOPEN_KEY, got, &length));
	same(length, 0);
	fails(setsockopt(udp, IPPROTO_TCP, TCP_FASTOPEN_KEY, keys, 16), ENOPROTOOPT);
}

CASE(connect__connected__eisconn)
{
	int listener = diff_listen(0, 0, 1), fd = diff_connect(listener);
	struct sockaddr_in address = diff_addr(diff_port(listener));

	fails(connect(fd, SA(address), sizeof(address)), EISCONN);
}

static bool has_ended(void *arg)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	works(getsockopt(*(int *)arg, IPPROTO_TCP, TCP_INFO, &info, &length));
	return info.tcpi_state == TCP_CLOSE;
}

/* However it ended, until connect(AF_UNSPEC). */
CASE(connect__ended__eisconn)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int listener = diff_listen(0, 0, 4);
	struct sockaddr_in address = diff_addr(diff_port(listener));

	for (int reset = 0; reset < 2; reset++) {
		int fd = diff_connect(listener), server = (int)works(accept(listener, NULL, NULL));
		struct linger linger = {.l_onoff = reset};
		char byte;

		works(setsockopt(server, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
		works(close(server));
		is(diff_readable(fd, 3000));
		if (!reset)
			works(shutdown(fd, SHUT_WR));
		is(diff_until(has_ended, &fd, 3000));
		fails(listen(fd, 1), EINVAL);
		fails(connect(fd, SA(address), sizeof(address)), EISCONN);
		if (reset) /* is still to be told */
			fails(read(fd, &byte, 1), ECONNRESET);
		works(connect(fd, &none, sizeof(none)));
		works(connect(fd, SA(address), sizeof(address)));
		works(close((int)works(accept(listener, NULL, NULL))));
		works(close(fd));
	}
}

CASE(connect__bad_addresses__errno)
{
	struct sockaddr_in address = diff_addr(9);
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	fails(connect(fd, SA(address), 7), EINVAL);
	fails(connect(fd, SA(address), 1), EINVAL);
	fails(connect(fd, SA(local), sizeof(local)), EAFNOSUPPORT);
	fails(connect(fd, (struct sockaddr *)8, sizeof(address)), EFAULT);
	fails(connect(-1, SA(address), sizeof(address)), EBADF);
}

CASE(connect__bound_first__that_port_is_used)
{
	struct sockaddr_in address = diff_addr(0), got;
	socklen_t length = sizeof(got);
	int listener = diff_listen(0, 0, 1), fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	uint16_t port;

	works(bind(fd, SA(address), sizeof(address)));
	port = diff_port(fd);
	address = diff_addr(diff_port(listener));
	works(connect(fd, SA(address), sizeof(address)));
	same(diff_port(fd), port);
	works(accept(listener, SA(got), &length));
	same(ntohs(got.sin_port), port);
}

CASE(connect__same_four_tuple__eaddrnotavail)
{
	struct sockaddr_in mine = diff_addr(0), address;
	int listener = diff_listen(0, 0, 4);
	int one = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	int two = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	diff_set_int(one, SOL_SOCKET, SO_REUSEADDR, 1);
	diff_set_int(two, SOL_SOCKET, SO_REUSEADDR, 1);
	address = diff_addr(diff_port(listener));
	works(bind(one, SA(mine), sizeof(mine)));
	mine = diff_addr(diff_port(one));
	works(bind(two, SA(mine), sizeof(mine)));
	works(connect(one, SA(address), sizeof(address)));
	fails(connect(two, SA(address), sizeof(address)), EADDRNOTAVAIL);
}

CASE(connect__names_on_both_ends__agree)
{
	struct sockaddr_in one, two;
	socklen_t length = sizeof(one);
	int client, server;

	diff_pair(&client, &server);
	works(getsockname(client, SA(one), &length));
	works(getpeername(server, SA(two), &length));
	same_bytes(&one, &two, sizeof(one));
	works(getsockname(server, SA(one), &length));
	works(getpeername(client, SA(two), &length));
	same_bytes(&one, &two, sizeof(one));
	same(one.sin_addr.s_addr, diff_addr(0).sin_addr.s_addr);
}

CASE(names__short_length__cut_and_full_length_reported)
{
	unsigned char got[16];
	socklen_t length = 5;
	int client, server;

	diff_pair(&client, &server);
	memset(got, 0xee, sizeof(got));
	works(getpeername(client, (struct sockaddr *)got, &length));
	same(length, sizeof(struct sockaddr_in));
	same(got[5], 0xee);
	length = 0;
	works(getsockname(client, (struct sockaddr *)got, &length));
	same(length, sizeof(struct sockaddr_in));
	length = (socklen_t)-1;
	fails(getsockname(client, (struct sockaddr *)got, &length), EINVAL);
	length = 16;
	fails(getsockname(client, (struct sockaddr *)8, &length), EFAULT);
	fails(getpeername(client, (struct sockaddr *)got, (socklen_t *)8), EFAULT);
}

CASE(names__peer_gone__getpeername_enotconn)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	struct linger hard = {.l_onoff = 1};
	char byte;
	int client, server;

	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	works(close(client));
	is(diff_readable(server, 3000));
	fails(recv(server, &byte, 1, 0), ECONNRESET);
	fails(getpeername(server, SA(address), &length), ENOTCONN);
	works(getsockname(server, SA(address), &length));
}

CASE_LIMIT(listener_full__connects_wait__nothing_is_lost, 30)
{
	enum { N = 4 };
	int listener = diff_listen(0, 0, 1), clients[N];
	struct sockaddr_in address = diff_addr(diff_port(listener));

	for (int i = 0; i < N; i++) {
		clients[i] = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		fails(connect(clients[i], SA(address), sizeof(address)), EINPROGRESS);
	}
	for (int i = 0; i < N; i++) {
		is(diff_readable(listener, 15000));
		works(accept(listener, NULL, NULL));
	}
	for (int i = 0; i < N; i++) {
		is(diff_writable(clients[i], 15000));
		same(diff_int_option(clients[i], SOL_SOCKET, SO_ERROR), 0);
	}
}

/* As who retries after EINTR has to know. */
CASE(connect__again_when_it_is_done__0_once_then_EISCONN)
{
	int listener = diff_listen(0, 0, 5);
	struct sockaddr_in address = diff_addr(diff_port(listener));

	for (int bound = 0; bound < 2; bound++) {
		struct sockaddr_in own = diff_addr(0);
		int fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

		if (bound)
			works(bind(fd, SA(own), sizeof(own)));
		if (connect(fd, SA(address), sizeof(address)) != 0)
			same(errno, EINPROGRESS);
		is(diff_writable(fd, 3000));
		works(connect(fd, SA(address), sizeof(address)));
		fails(connect(fd, SA(address), sizeof(address)), EISCONN);
		works(close(fd));
		fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		works(connect(fd, SA(address), sizeof(address)));
		fails(connect(fd, SA(address), sizeof(address)), EISCONN);
		works(close(fd));
	}
}
