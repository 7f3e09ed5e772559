/* SPDX-License-Identifier: BSD-3-Clause */
/* Moving bytes over TCP: the send and recv families, their flags, sendfile, the counts that ioctl
 * gives (send(2), recv(2), readv(2), sendmmsg(2), recvmmsg(2), sendfile(2), tcp(7)). */
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "tests/diff/diff.h"

/* Waits until n bytes can be read. */
static void arrived(int fd, int n)
{
	uint64_t end = diff_now_ms() + 3000;
	int have = 0;

	do {
		works(ioctl(fd, FIONREAD, &have));
		if (have >= n)
			return;
		poll(NULL, 0, 1);
	} while (diff_now_ms() < end);
	diff_fail(__FILE__, __LINE__, "only %d of %d bytes came", have, n);
}

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
	arrived(server, 4);
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
	arrived(server, 8);
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
	arrived(server, 6);
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
	arrived(server, sizeof(wanted));
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
	arrived(server, 8);
	same(preadv2(server, in, 2, -1, 0), 8);
	same_bytes(one, "abc", 3);
	same_bytes(two, "defgh", 5);
	fails(preadv2(server, in, 2, -1, RWF_NOWAIT), EAGAIN);
	fails(preadv2(server, in, 2, 0, 0), ESPIPE);
	fails(pwritev2(client, out, 2, 7, 0), ESPIPE);
	fails(preadv2(server, in, 2, -2, 0), EINVAL);
	fails(pwritev2(client, out, 2, -1, 1 << 30), EOPNOTSUPP);
}

static int print_list(int fd, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vdprintf(fd, format, list);
	va_end(list);
	return n;
}

CASE(dprintf_vdprintf__print_to_a_socket)
{
	char text[32] = "";
	int client, server;

	diff_pair(&client, &server);
	same(dprintf(client, "%d bottles\n", 99), 11);
	same(print_list(client, "%s%c", "of bee", 'r'), 7);
	arrived(server, 18);
	same(recv(server, text, sizeof(text), 0), 18);
	same_bytes(text, "99 bottles\nof beer", 18);
	same(shutdown(client, SHUT_WR), 0);
	signal(SIGPIPE, SIG_IGN);
	fails(dprintf(client, "x"), EPIPE);
}

CASE(msg_trunc__on_a_stream__discards)
{
	char text[8] = "........";
	int client, server;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdef", 6);
	arrived(server, 6);
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
	arrived(server, 10);
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
	arrived(server, sizeof(from));
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
	arrived(server, 4);
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
	arrived(server, 6);
	same(recvmmsg(server, got, 4, MSG_DONTWAIT, NULL), 2);
	same(got[0].msg_len, 4);
	same(got[1].msg_len, 2);
	same_bytes(in[0], "abcd", 4);
	same_bytes(in[1], "ef", 2);
	fails(recvmmsg(server, got, 4, MSG_DONTWAIT, NULL), EAGAIN);
}

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

static int
unsent(int fd)
{
	int n = -1;

	works(ioctl(fd, SIOCOUTQNSD, &n));
	return n;
}

static bool
is_unsent_low(void *fd)
{
	return unsent(*(int *)fd) < LOWAT;
}

/* Sends until nothing goes any more; the peer does not read. */
static size_t
fill(int fd)
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

static void
drain(int fd, size_t n)
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

static void *
lowat_send(void *arg)
{
	struct blocked_send *s = arg;

	__atomic_store_n(&s->tid, gettid(), __ATOMIC_RELEASE);
	diff_send_pattern(s->fd, s->total, 9);
	return NULL;
}

static bool
has_started(void *arg)
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
	is(diff_now_ms() - begin >= 400); /* half a second, less what goes before the rate is known */
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

/* --- sendfile and friends ----------------------------------------------------------------------
 */

static int pattern_file(size_t size, uint64_t seed)
{
	int fd = (int)works(memfd_create("pattern", 0));
	void *map;

	works(ftruncate(fd, (off_t)size));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	is(map != MAP_FAILED);
	diff_pattern(map, size, seed, 0);
	works(munmap(map, size));
	return fd;
}

static void *expect_seed_7(void *arg)
{
	struct stream *s = arg;

	diff_expect_pattern(s->fd, s->total, 7);
	return NULL;
}

CASE(sendfile__without_offset__file_position_moves)
{
	enum { SIZE = 300000 };
	int client, server, file = pattern_file(SIZE, 7);
	size_t sent = 0;

	diff_pair(&client, &server);
	struct stream s = {server, SIZE};
	pthread_t reader = diff_thread(expect_seed_7, &s);
	while (sent < SIZE) {
		ssize_t n = (ssize_t)works(sendfile(client, file, NULL, SIZE));
		is(n > 0);
		sent += (size_t)n;
		same(lseek(file, 0, SEEK_CUR), sent);
	}
	same(sendfile(client, file, NULL, SIZE), 0);
	same(pthread_join(reader, NULL), 0);
}

CASE(sendfile__offset__only_the_offset_moves)
{
	enum { SIZE = 1 << 20 };
	off_t offset = 100;
	char got[1000], wanted[1000];
	int client, server, file = pattern_file(SIZE, 7);

	diff_pair(&client, &server);
	same(sendfile(client, file, &offset, 1000), 1000);
	same(offset, 1100);
	same(lseek(file, 0, SEEK_CUR), 0);
	diff_read_all(server, got, 1000);
	diff_pattern(wanted, 1000, 7, 100);
	same_bytes(got, wanted, 1000);
	offset = SIZE - 10;
	same(sendfile(client, file, &offset, 1000), 10);
	same(offset, SIZE);
	same(sendfile(client, file, &offset, 1000), 0);
	diff_read_all(server, got, 10);
}

CASE(sendfile__nonblocking__partial_and_exact)
{
	enum { SIZE = 64 << 20 };
	off_t offset = 0;
	int client, server, file = pattern_file(SIZE, 7);

	diff_pair(&client, &server);
	diff_nonblock(client);
	ssize_t n = (ssize_t)works(sendfile(client, file, &offset, SIZE));
	is(n > 0 && n < SIZE);
	same(offset, n);
	for (;;) {
		ssize_t more = sendfile(client, file, &offset, SIZE);
		if (more < 0)
			break;
		n += more;
		same(offset, n);
	}
	same(errno, EAGAIN);
	same(offset, n);
	diff_expect_pattern(server, (size_t)n, 7);
}

/* Whole buffers of any size must not be taken for a beginning that the rest follows. */
CASE(sendfile__longer_than_the_file__its_end_is_not_held_back)
{
	enum { SIZE = 1 << 16 };
	int client, server, file = pattern_file(SIZE, 7), size = 1 << 20;

	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	for (size_t sent = 0; sent < SIZE;)
		sent += (size_t)works(sendfile(client, file, NULL, 1 << 30));
	arrived(server, SIZE);
	diff_expect_pattern(server, SIZE, 7);
}

CASE(sendfile__bad_descriptors__errno)
{
	int client, server, ends[2], file = pattern_file(100, 7);

	diff_pair(&client, &server);
	works(pipe(ends));
	fails(sendfile(client, -1, NULL, 10), EBADF);
	fails(sendfile(-1, file, NULL, 10), EBADF);
	off_t negative = -5;
	fails(sendfile(client, file, &negative, 10), EINVAL);
}

CASE(write__to_a_file_from_a_socket__positions_are_espipe)
{
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	fails(lseek(client, 0, SEEK_SET), ESPIPE);
	fails(pread(client, text, 4, 0), ESPIPE);
	fails(pwrite(client, text, 4, 0), ESPIPE);
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
	arrived(server, 3);
	same(recv(server, text, 8, 0), 3);
	same_bytes(text, "abc", 3);
	same(sockatmark(server), 1);
	same(recv(server, text, 8, 0), 1);
	same_bytes(text, "!", 1);
}

/* --- peers that do not read ----------------------------------------------------------------------
 */

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

/* --- stdio --------------------------------------------------------------------------------------
 */

CASE(fdopen__lines_both_ways__fclose_is_the_end)
{
	char line[32], byte;
	int client, server;

	diff_pair(&client, &server);
	FILE *out = fdopen(client, "r+"), *in = fdopen(server, "r+");
	is(out != NULL && in != NULL);
	same(fileno(out), client);
	is(fprintf(out, "line %d\n", 1) == 7);
	works(fflush(out));
	is(fgets(line, sizeof(line), in) != NULL);
	same_bytes(line, "line 1\n", 8);
	works(fclose(out));
	is(fgets(line, sizeof(line), in) == NULL);
	is(feof(in));
	works(fclose(in));
	fails(recv(client, &byte, 1, 0), EBADF);
}

/* --- queue lengths -----------------------------------------------------------------------------
 */

CASE(siocoutq__all_acknowledged__zero)
{
	int client, server, left = -1;

	diff_pair(&client, &server);
	diff_write_all(client, "abcdef", 6);
	arrived(server, 6);
	uint64_t end = diff_now_ms() + 3000;
	while (works(ioctl(client, TIOCOUTQ, &left)) == 0 && left != 0 && diff_now_ms() < end)
		poll(NULL, 0, 1);
	same(left, 0);
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
	arrived(server, 3);
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

CASE(stream_for_both__flush_before_the_answer__no_error)
{
	int client, server;
	char line[16];

	diff_pair(&client, &server);
	FILE *f = fdopen(server, "rbe+");
	is(f != NULL);
	diff_write_all(client, "one\ntwo\n", 8);
	is(fgets(line, sizeof(line), f) != NULL);
	errno = 0;
	same(fflush(f), 0);
	fails(fseek(f, 0, SEEK_CUR), ESPIPE);
	is(fgets(line, sizeof(line), f) != NULL);
	same_bytes(line, "two\n", 5);
	same(fprintf(f, "answer\n"), 7);
	same(fflush(f), 0);
	diff_read_all(client, line, 7);
	same_bytes(line, "answer\n", 7);
	errno = 0;
	is(fdopen(client, "zz") == NULL);
	same(errno, EINVAL);
}

CASE(sendfile__from_a_pipe__EINVAL)
{
	int client, server, ends[2];

	diff_pair(&client, &server);
	works(pipe(ends));
	fails(sendfile(client, ends[0], NULL, 5), EINVAL);
	fails(sendfile(client, -1, NULL, 5), EBADF);
}
