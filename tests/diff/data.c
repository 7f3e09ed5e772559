/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving bytes over TCP: the send and recv families, their flags, streams, urgent data (send(2), recv(2), readv(2),
 * sendmmsg(2), recvmmsg(2), tcp(7)). How much a sender may queue is in sending.c, files and stdio in files.c. */
#include <limits.h>
#include <sys/uio.h>

#include "tests/diff/diff.h"

CASE(recv__nothing_there__eagain_in_every_way)
{
	char text[4];
	struct iovec part = {text, 4};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	int client, server;

	diff_pair(&client, &server);
	fails(recv(server, text, 4, MSG_DONTWAIT), EAGAIN);
	fails(recvmsg(server, &message, MSG_DONTWAIT), EAGAIN);
	diff_nonblock(server);
	fails(recv(server, text, 4, 0), EAGAIN);
	fails(read(server, text, 4), EAGAIN);
	fails(readv(server, &part, 1), EAGAIN);
	fails(recvmsg(server, &message, 0), EAGAIN);
	fails(recvfrom(server, text, 4, 0, NULL, NULL), EAGAIN);
}

CASE(recv__zero_bytes_asked__zero)
{
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "data", 4);
	diff_arrived(server, 4);
	same(recv(server, text, 0, 0), 0);
	same(read(server, text, 0), 0);
	same(send(client, text, 0, 0), 0);
	same(write(client, text, 0), 0);
	diff_read_all(server, text, 4);
	same_bytes(text, "data", 4);
}

CASE(recv__less_than_there_is__rest_stays)
{
	char text[8];
	int client, server, have = -1;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdefgh", 8);
	diff_arrived(server, 8);
	same(recv(server, text, 3, 0), 3);
	same_bytes(text, "abc", 3);
	works(ioctl(server, FIONREAD, &have));
	same(have, 5);
	same(recv(server, text, 8, 0), 5);
	same_bytes(text, "defgh", 5);
	works(ioctl(server, FIONREAD, &have));
	same(have, 0);
}

CASE(msg_peek__data_stays)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdef", 6);
	diff_arrived(server, 6);
	same(recv(server, text, 4, MSG_PEEK), 4);
	same_bytes(text, "abcd", 4);
	same(recv(server, text, 8, MSG_PEEK), 6);
	same_bytes(text, "abcdef", 6);
	same(recv(server, text, 8, 0), 6);
	fails(recv(server, text, 8, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
}

CASE(msg_peek__over_many_segments)
{
	static char text[100000], wanted[100000];
	int client, server;

	diff_pair(&client, &server);
	diff_pattern(wanted, sizeof(wanted), 9, 0);
	diff_write_all(client, wanted, sizeof(wanted));
	diff_arrived(server, sizeof(wanted));
	same(recv(server, text, sizeof(text), MSG_PEEK), sizeof(text));
	same_bytes(text, wanted, sizeof(wanted));
	memset(text, 0, sizeof(text));
	same(recv(server, text, sizeof(text), MSG_WAITALL), sizeof(text));
	same_bytes(text, wanted, sizeof(wanted));
}

CASE(preadv2_pwritev2__position_minus_one__as_readv_and_writev)
{
	char one[4] = "", two[8] = "";
	struct iovec out[2] = {{(char *)"abcd", 4}, {(char *)"efgh", 4}};
	struct iovec in[2] = {{one, 3}, {two, 5}};
	int client, server;

	diff_pair(&client, &server);
	same(pwritev2(client, out, 2, -1, 0), 8);
	diff_arrived(server, 8);
	same(preadv2(server, in, 2, -1, 0), 8);
	same_bytes(one, "abc", 3);
	same_bytes(two, "defgh", 5);
	fails(preadv2(server, in, 2, -1, RWF_NOWAIT), EAGAIN);
	fails(preadv2(server, in, 2, 0, 0), ESPIPE);
	fails(pwritev2(client, out, 2, 7, 0), ESPIPE);
	fails(preadv2(server, in, 2, -2, 0), EINVAL);
	fails(pwritev2(client, out, 2, -1, 1 << 30), EOPNOTSUPP);
}

CASE(msg_trunc__on_a_stream__discards)
{
	char text[8] = "........";
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdef", 6);
	diff_arrived(server, 6);
	same(recv(server, NULL, 4, MSG_TRUNC), 4);
	same(recv(server, text, 8, 0), 2);
	same_bytes(text, "ef", 2);
}

struct waitall {
	int fd;
	pid_t tid;
	ssize_t got;
	char text[16];
};

static void *waitall_run(void *arg)
{
	struct waitall *w = arg;

	__atomic_store_n(&w->tid, gettid(), __ATOMIC_SEQ_CST);
	w->got = recv(w->fd, w->text, 10, MSG_WAITALL);
	return NULL;
}

static bool tid_known(void *arg)
{
	return __atomic_load_n((pid_t *)arg, __ATOMIC_SEQ_CST) != 0;
}

CASE(msg_waitall__pieces__all_or_up_to_eof)
{
	struct waitall w = {0};
	int client, server;

	diff_pair(&client, &server);
	w.fd = server;
	pthread_t thread = diff_thread(waitall_run, &w);
	is(diff_until(tid_known, &w.tid, 3000));
	diff_wait_blocked(w.tid);
	diff_write_all(client, "01234", 5);
	diff_wait_blocked(w.tid);
	diff_write_all(client, "56789x", 6);
	same(pthread_join(thread, NULL), 0);
	same(w.got, 10);
	same_bytes(w.text, "0123456789", 10);
	diff_write_all(client, "y", 1);
	works(shutdown(client, SHUT_WR));
	same(recv(server, w.text, 10, MSG_WAITALL), 2);
	same_bytes(w.text, "xy", 2);
	same(recv(server, w.text, 10, MSG_WAITALL), 0);
}

CASE(readv_writev__gather_and_scatter)
{
	char a[3], b[5], c[4];
	struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdefghij", 8}};
	struct iovec in[3] = {{a, 3}, {b, 5}, {c, 4}};
	int client, server;

	diff_pair(&client, &server);
	same(writev(client, out, 3), 10);
	diff_arrived(server, 10);
	same(readv(server, in, 3), 10);
	same_bytes(a, "abc", 3);
	same_bytes(b, "defgh", 5);
	same_bytes(c, "ij", 2);
	fails(writev(client, out, -1), EINVAL);
	fails(readv(server, in, 1025), EINVAL);
	same(writev(client, NULL, 0), 0);
}

CASE(sendmsg_recvmsg__many_parts)
{
	enum { PARTS = 100 };
	struct iovec out[PARTS], in[PARTS];
	static char from[PARTS][37], to[PARTS][41];
	struct msghdr send_it = {.msg_iov = out, .msg_iovlen = PARTS};
	struct msghdr take_it = {.msg_iov = in, .msg_iovlen = PARTS};
	int client, server;

	diff_pair(&client, &server);
	diff_pattern(from, sizeof(from), 3, 0);
	for (int i = 0; i < PARTS; i++) {
		out[i] = (struct iovec){from[i], sizeof(from[i])};
		in[i] = (struct iovec){to[i], sizeof(to[i])};
	}
	same(sendmsg(client, &send_it, 0), sizeof(from));
	diff_arrived(server, sizeof(from));
	take_it.msg_flags = 0x55;
	same(recvmsg(server, &take_it, 0), sizeof(from));
	same(take_it.msg_flags & ~MSG_CMSG_CLOEXEC, 0);
	same(take_it.msg_namelen, 0);
	same_bytes(to, from, sizeof(from));
}

CASE(recvfrom__tcp__address_untouched_length_zero_or_kept)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abcd", 4);
	same(recvfrom(server, text, 4, MSG_WAITALL, SA(address), &length), 4);
	same(length, 0);
}

CASE(sendto__tcp_connected__address_is_ignored)
{
	struct sockaddr_in address = diff_addr(1);
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	same(sendto(client, "abcd", 4, 0, SA(address), sizeof(address)), 4);
	diff_read_all(server, text, 4);
	same_bytes(text, "abcd", 4);
}

CASE(bad_pointers_and_descriptors__errno)
{
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abcd", 4);
	diff_arrived(server, 4);
	fails(recv(server, (void *)8, 4, 0), EFAULT);
	same(recv(server, text, 4, 0), 4);
	fails(send(client, (void *)8, 4, 0), EFAULT);
	fails(sendmsg(client, (struct msghdr *)8, 0), EFAULT);
	fails(recvmsg(server, (struct msghdr *)8, MSG_DONTWAIT), EFAULT);
	fails(send(-1, "x", 1, 0), EBADF);
	fails(recv(999, text, 1, 0), EBADF);
}

CASE(recvmmsg_sendmmsg__tcp)
{
	char in[4][4];
	struct iovec out_part[3] = {{"ab", 2}, {"cde", 3}, {"f", 1}}, in_part[4];
	struct mmsghdr out[3] = {0}, got[4] = {0};
	int client, server;

	diff_pair(&client, &server);
	for (int i = 0; i < 3; i++)
		out[i].msg_hdr = (struct msghdr){.msg_iov = &out_part[i], .msg_iovlen = 1};
	for (int i = 0; i < 4; i++) {
		in_part[i] = (struct iovec){in[i], 4};
		got[i].msg_hdr = (struct msghdr){.msg_iov = &in_part[i], .msg_iovlen = 1};
	}
	same(sendmmsg(client, out, 3, 0), 3);
	same(out[0].msg_len, 2);
	same(out[1].msg_len, 3);
	same(out[2].msg_len, 1);
	diff_arrived(server, 6);
	same(recvmmsg(server, got, 4, MSG_DONTWAIT, NULL), 2);
	same(got[0].msg_len, 4);
	same(got[1].msg_len, 2);
	same_bytes(in[0], "abcd", 4);
	same_bytes(in[1], "ef", 2);
	fails(recvmmsg(server, got, 4, MSG_DONTWAIT, NULL), EAGAIN);
}

struct stream {
	int fd;
	size_t total;
};

static void *stream_send(void *arg)
{
	struct stream *s = arg;

	diff_send_pattern(s->fd, s->total, 5);
	works(shutdown(s->fd, SHUT_WR));
	return NULL;
}

CASE_LIMIT(stream__64_mib_both_ways_at_once__intact, 60)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	struct stream one = {client, 64u << 20}, two = {server, 64u << 20};
	pthread_t a = diff_thread(stream_send, &one), b = diff_thread(stream_send, &two);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		diff_expect_pattern(client, two.total, 5);
		same(recv(client, &byte, 1, 0), 0);
		exit(0);
	}
	diff_expect_pattern(server, one.total, 5);
	same(recv(server, &byte, 1, 0), 0);
	same(pthread_join(a, NULL), 0);
	same(pthread_join(b, NULL), 0);
	diff_join(child);
}

/* More messages than sendmmsg(2) takes in one call. */
CASE(recvmmsg_sendmmsg__many__only_sendmmsg_has_a_limit)
{
	enum { MANY = 1500 };
	static struct mmsghdr m[MANY];
	static struct iovec v[MANY];
	static char text[MANY];
	int client, server;

	diff_pair(&client, &server);
	for (int i = 0; i < MANY; i++) {
		v[i] = (struct iovec){&text[i], 1};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	}
	same(sendmmsg(client, m, MANY, 0), 1024);
	same(sendmmsg(client, m, MANY - 1024, 0), MANY - 1024);
	diff_arrived(server, MANY);
	same(recvmmsg(server, m, MANY, 0, NULL), MANY);
}

CASE(stream__byte_by_byte__in_order)
{
	enum { N = 3000 };
	int client, server, on = 1;

	diff_pair(&client, &server);
	works(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	for (int i = 0; i < N; i++) {
		unsigned char byte = (unsigned char)(i * 7), got;

		same(send(client, &byte, 1, 0), 1);
		diff_read_all(server, &got, 1);
		same(got, byte);
	}
}

CASE(stream__pipelined_small_writes__nothing_lost)
{
	enum { N = 20000 };
	int client, server;
	static uint32_t got[N];

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		for (uint32_t i = 0; i < N; i++)
			diff_write_all(client, &i, sizeof(i));
		exit(0);
	}
	diff_read_all(server, got, sizeof(got));
	for (uint32_t i = 0; i < N; i++)
		same(got[i], i);
	diff_join(child);
}

CASE(stream__threads_write_to_one_socket__each_write_whole)
{
	/* Writes of a few bytes by several threads do not mix inside each other. */
	enum { THREADS = 4, N = 2000 };
	int client, server;
	unsigned next[THREADS] = {0};

	diff_pair(&client, &server);
	pid_t children[THREADS];
	for (uint32_t t = 0; t < THREADS; t++) {
		children[t] = (pid_t)works(fork());
		if (children[t] != 0)
			continue;
		for (uint32_t i = 0; i < N; i++) {
			uint32_t pair[2] = {t, i};
			same(send(client, pair, sizeof(pair), 0), sizeof(pair));
		}
		exit(0);
	}
	for (int i = 0; i < THREADS * N; i++) {
		uint32_t pair[2];

		diff_read_all(server, pair, sizeof(pair));
		is(pair[0] < THREADS);
		same(pair[1], next[pair[0]]++);
	}
	for (int t = 0; t < THREADS; t++)
		diff_join(children[t]);
}

/* --- lengths ------------------------------------------------------------------------------------ */

/* Each call that takes vectors says so of them, whatever lies in the socket. */
static void every_call_refuses(int from, int to, struct iovec *v, size_t n, int by_vector, int by_message)
{
	struct mmsghdr m = {.msg_hdr = {.msg_iov = v, .msg_iovlen = n}};

	fails(writev(from, v, (int)n), by_vector);
	fails(sendmsg(from, &m.msg_hdr, MSG_DONTWAIT), by_message);
	fails(sendmmsg(from, &m, 1, MSG_DONTWAIT), by_message);
	fails(readv(to, v, (int)n), by_vector);
	fails(recvmsg(to, &m.msg_hdr, MSG_DONTWAIT), by_message);
	fails(recvmsg(to, &m.msg_hdr, MSG_DONTWAIT | MSG_TRUNC), by_message);
	fails(recvmmsg(to, &m, 1, MSG_DONTWAIT, NULL), by_message);
}

static void every_vector_is_looked_at(int from, int to)
{
	static struct iovec many[1025];
	char text[4];
	struct iovec bad = {text, (size_t)-1}, two[2] = {{text, 1}, {text, (size_t)SSIZE_MAX + 1}},
		     far[2] = {{text, SSIZE_MAX}, {text, SSIZE_MAX}};

	every_call_refuses(from, to, &bad, 1, EINVAL, EINVAL);
	every_call_refuses(from, to, two, 2, EINVAL, EINVAL);
	every_call_refuses(from, to, far, 2, EFAULT, EFAULT);
	for (size_t i = 0; i < 1025; i++)
		many[i] = (struct iovec){text, 0};
	every_call_refuses(from, to, many, 1025, EINVAL, EMSGSIZE);
	diff_write_all(from, "abc", 3);
	is(diff_readable(to, 3000));
	every_call_refuses(from, to, &bad, 1, EINVAL, EINVAL);
	every_call_refuses(from, to, many, 1025, EINVAL, EMSGSIZE);
	same(recv(to, text, 4, 0), 3);
}

CASE(vectors__lengths_below_zero_or_too_many__refused)
{
	int client, server;

	diff_pair(&client, &server);
	every_vector_is_looked_at(client, server);
	diff_udp_pair(&client, &server);
	every_vector_is_looked_at(client, server);
}

/* recv() and one vector are cut to what a call may move; read() and write() look at the end of the memory first. */
static void any_length_is_received(int from, int to)
{
	char text[8];
	struct iovec v = {text, SSIZE_MAX};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	same(send(from, "abc", 3, 0), 3);
	diff_arrived(to, 3);
	fails(read(to, text, (size_t)-1), EFAULT);
	fails(read(to, text, SSIZE_MAX), EFAULT);
	fails(write(from, text, (size_t)-1), EFAULT);
	same(recv(to, text, (size_t)-1, MSG_PEEK), 3);
	same(recvmsg(to, &m, MSG_PEEK), 3);
	same(readv(to, &v, 1), 3);
	same_bytes(text, "abc", 3);
}

CASE(length__beyond_all_memory__only_read_and_write_refuse)
{
	int client, server;

	diff_udp_pair(&client, &server);
	fails(send(client, &client, (size_t)-1, 0), EMSGSIZE);
	any_length_is_received(client, server);
	diff_pair(&client, &server);
	any_length_is_received(client, server);
}

/* --- urgent data -------------------------------------------------------------------------------
 */

CASE(oob__sent__pollpri_and_read_apart)
{
	char byte = 0, text[8];
	int client, server;

	diff_pair(&client, &server);
	same(send(client, "abc", 3, 0), 3);
	same(send(client, "!", 1, MSG_OOB), 1);
	same(send(client, "def", 3, 0), 3);
	same(diff_poll(server, POLLPRI, 3000), POLLPRI);
	same(recv(server, &byte, 1, MSG_OOB), 1);
	same(byte, '!');
	same(recv(server, text, 8, 0), 3);
	same_bytes(text, "abc", 3);
	diff_read_all(server, text, 3);
	same_bytes(text, "def", 3);
	fails(recv(server, &byte, 1, MSG_OOB), EINVAL);
}

CASE(oob__inline__in_the_stream_and_sockatmark)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_OOBINLINE, 1);
	same(send(client, "abc", 3, 0), 3);
	same(send(client, "!", 1, MSG_OOB), 1);
	same(diff_poll(server, POLLPRI, 3000), POLLPRI);
	same(sockatmark(server), 0);
	diff_arrived(server, 3);
	same(recv(server, text, 8, 0), 3);
	same_bytes(text, "abc", 3);
	same(sockatmark(server), 1);
	same(recv(server, text, 8, 0), 1);
	same_bytes(text, "!", 1);
}

/* recv() of nothing tells whether there is something; read() of nothing looks at nothing. */
CASE(receive_of_no_bytes__nothing_there__waits_as_for_some)
{
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	fails(recv(server, text, 0, MSG_DONTWAIT), EAGAIN);
	same(read(server, text, 0), 0);
	diff_write_all(client, "abc", 3);
	diff_arrived(server, 3);
	same(recv(server, text, 0, MSG_DONTWAIT), 0);
	same(recv(server, text, 0, 0), 0);
	same(recv(server, text, sizeof(text), 0), 3);
	works(close(client));
	is(diff_readable(server, 3000));
	same(recv(server, text, 0, 0), 0);
}

CASE(datagram__read_and_write_of_no_bytes__only_write_is_one)
{
	char text[8];
	struct iovec none = {text, 0};
	int a, b;

	diff_udp_pair(&a, &b);
	same(read(b, text, 0), 0);
	same(send(a, "abc", 3, 0), 3);
	is(diff_readable(b, 3000));
	same(read(b, text, 0), 0);
	same(readv(b, &none, 1), 0);
	same(recv(b, text, sizeof(text), MSG_DONTWAIT), 3);
	same(writev(a, &none, 1), 0);
	same(send(a, "abcd", 4, 0), 4);
	is(diff_readable(b, 3000));
	same(recv(b, text, sizeof(text), 0), 4);
	same(write(a, text, 0), 0);
	is(diff_readable(b, 3000));
	same(recv(b, text, sizeof(text), MSG_DONTWAIT), 0);
}

CASE(urgent_byte__recvmsg__says_so_and_nothing_else)
{
	char text[8], control[64];
	struct iovec v = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
		.msg_flags = MSG_CTRUNC};
	int client, server;

	diff_pair(&client, &server);
	same(send(client, "u", 1, MSG_OOB), 1);
	same(diff_poll(server, POLLPRI, 3000), POLLPRI);
	same(recvmsg(server, &m, MSG_OOB), 1);
	same(m.msg_flags, MSG_OOB);
	same(m.msg_controllen, 0);
}

static int unread_bytes(int fd)
{
	int n = -1;

	works(ioctl(fd, FIONREAD, &n));
	return n;
}

/* A pair of which the server has "ab", the urgent '!', and "cd". */
static void pair_with_urgent(int *client, int *server)
{
	diff_pair(client, server);
	same(send(*client, "ab!", 3, MSG_OOB), 3);
	diff_write_all(*client, "cd", 2);
	same(diff_poll(*server, POLLPRI, 3000), POLLPRI);
}

CASE(urgent_byte__passed_by_unread__is_gone)
{
	char text[8];
	int client, server;

	pair_with_urgent(&client, &server);
	same(recv(server, text, 8, 0), 2);
	same(sockatmark(server), 1);
	diff_read_all(server, text, 1);
	same_bytes(text, "c", 1);
	same(diff_poll(server, POLLPRI, 0), 0);
	fails(recv(server, text, 8, MSG_OOB), EINVAL);
	same(send(client, "!", 1, MSG_OOB), 1);
	same(diff_poll(server, POLLPRI, 3000), POLLPRI);
	diff_read_all(server, text, 1);
	same_bytes(text, "d", 1);
	fails(recv(server, text, 8, MSG_DONTWAIT), EAGAIN);
	same(diff_poll(server, POLLPRI | POLLIN, 0), 0);
	fails(recv(server, text, 8, MSG_OOB), EINVAL);
}

CASE(urgent_byte__peeked_over__can_be_read)
{
	char text[8];
	int client, server;

	pair_with_urgent(&client, &server);
	same(recv(server, text, 8, 0), 2);
	is(diff_readable(server, 3000));
	same(recv(server, text, 1, MSG_PEEK), 1);
	same_bytes(text, "c", 1);
	same(recv(server, NULL, 8, MSG_OOB | MSG_PEEK | MSG_TRUNC), 1);
	same(recv(server, text, 8, MSG_OOB | MSG_PEEK), 1);
	same(recv(server, text, 8, MSG_OOB), 1);
	same_bytes(text, "!", 1);
	fails(recv(server, text, 8, MSG_OOB), EINVAL);
	same(diff_poll(server, POLLPRI, 0), 0);
}

CASE(urgent_byte__read_in_line__is_pending_no_more)
{
	char text[8];
	int client, server;

	pair_with_urgent(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_OOBINLINE, 1);
	same(recv(server, text, 8, 0), 2);
	same(diff_poll(server, POLLPRI, 0), POLLPRI);
	diff_read_all(server, text, 3);
	same_bytes(text, "!cd", 3);
	same(diff_poll(server, POLLPRI, 0), 0);
}

CASE(fionread__urgent_byte_ahead__counts_up_to_it)
{
	char text[8];
	int client, server;

	pair_with_urgent(&client, &server);
	same(unread_bytes(server), 2);
	same(recv(server, text, 1, MSG_OOB), 1);
	same(unread_bytes(server), 2);
	same(recv(server, text, 8, 0), 2);
	same(unread_bytes(server), 0);
	diff_set_int(server, SOL_SOCKET, SO_OOBINLINE, 1);
	diff_arrived(server, 3);
	diff_set_int(server, SOL_SOCKET, SO_OOBINLINE, 0);
	same(unread_bytes(server), 0);
	diff_read_all(server, text, 1);
	same_bytes(text, "c", 1);
	same(unread_bytes(server), 1);
}

CASE(listener__asked_about_data__errno)
{
	int listener = diff_listen(0, 0, 1), value = 0;
	char text[8];

	fails(recv(listener, text, 1, MSG_OOB), ENOTCONN);
	fails(ioctl(listener, TIOCOUTQ, &value), EINVAL);
	fails(ioctl(listener, FIONREAD, &value), EINVAL);
	same(sockatmark(listener), 0);
}
