/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The differential harness: one test binary that runs on the plain kernel and under the preload with
 * the same expectations. Write a case, see it pass on Linux, then here.
 *
 * Owns: the list of cases, one forked child with a time limit for each, the result lines, helpers that
 * every area needs. Does not own: which engine serves the sockets (dev/diff.sh sets that up).
 * Called by: tests/diff/<area>.c, one binary an area.
 *
 * Invariant: a case decides by what a call returned, never by having slept.
 *
 * Environment
 *   DIFF_ADDR   IPv4 address of servers (default 127.0.0.1; the engine's own under the preload)
 *   DIFF_ADDR6  IPv6 address of servers (default ::1)
 *   DIFF_KIND   "kernel" (default) or "culvert": who is expected to serve the sockets
 *   DIFF_ON_TIMEOUT  a command that is run with the process id of a case that ran out of time
 * Arguments: names of cases (a part is enough; none: all), --list, --nofork CASE (for a debugger).
 * Output: "ok NAME (N ms)", "not ok NAME: why", "skip NAME: why"; exit 1 when a case failed.
 */
#ifndef CULVERT_DIFF_H
#define CULVERT_DIFF_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* CASE(state__event__expectation) { ... }: at most 10 s; CASE_LIMIT for another bound. */
#define CASE_LIMIT(name, limit_s)                                                                  \
	static void name(void);                                                                    \
	__attribute__((constructor)) static void name##_register(void)                             \
	{                                                                                          \
		diff_register(#name, name, limit_s);                                               \
	}                                                                                          \
	static void name(void)
#define CASE(name) CASE_LIMIT(name, 10)

void diff_register(const char *name, void (*run)(void), unsigned limit_s);

/* End the case at once: failed with a message, or skipped with the reason. Any thread or child
 * of the case may fail it. */
_Noreturn void diff_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void diff_skip(const char *reason);

/* is(x > 0): true. same(a, b): equal integers. works(call): did not return -1; its value.
 * fails(call, EAGAIN): returned -1 with that errno. same_bytes(a, b, n). */
#define is(condition)                                                                              \
	do {                                                                                       \
		if (!(condition))                                                                  \
			diff_fail(__FILE__, __LINE__, "not true: %s (errno %s)", #condition,       \
				strerrorname_np(errno));                                           \
	} while (0)
#define same(actual, expected)                                                                     \
	diff_same(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))
#define works(call) diff_works(__FILE__, __LINE__, #call, (long long)(call))
#define fails(call, wanted)                                                                        \
	do {                                                                                       \
		errno = 0;                                                                         \
		long long diff_value = (long long)(call);                                          \
		diff_fails(__FILE__, __LINE__, #call, diff_value, errno, wanted);                  \
	} while (0)
#define same_bytes(actual, expected, length)                                                       \
	do {                                                                                       \
		if (memcmp(actual, expected, length) != 0)                                         \
			diff_fail(__FILE__, __LINE__, "%s differs from %s", #actual, #expected);   \
	} while (0)
void diff_same(const char *file, int line, const char *what, long long actual, long long expected);
long long diff_works(const char *file, int line, const char *what, long long value);
void diff_fails(
	const char *file, int line, const char *what, long long value, int error, int wanted);

bool diff_on_culvert(void);     /* DIFF_KIND=culvert */
int diff_workers(void);         /* of the engine: DIFF_WORKERS */
struct sockaddr_in diff_addr(uint16_t port);   /* the servers' address; port in host order */
struct sockaddr_in6 diff_addr6(uint16_t port);
#define SA(address) ((struct sockaddr *)&(address))
#define CSA(address) ((const struct sockaddr *)&(address))

/* A bound, listening TCP socket (SO_REUSEADDR) on the servers' address; port 0: any. type may carry
 * SOCK_NONBLOCK and SOCK_CLOEXEC. */
int diff_listen(int type_flags, uint16_t port, int backlog);
int diff_connect(int listener);           /* a blocking client of that listener, connected */
void diff_pair(int *client, int *server); /* a connected TCP pair, both blocking */
void diff_udp_pair(int *a, int *b);       /* two UDP sockets, bound and connected to each other */
int diff_udp(void);                       /* a UDP socket bound to the servers' address */
uint16_t diff_port(int fd);               /* local port, host order */

bool diff_readable(int fd, int timeout_ms); /* poll: POLLIN, POLLHUP or POLLERR within the time */
bool diff_writable(int fd, int timeout_ms);
void diff_arrived(int fd, int n);                      /* waits until n bytes can be read; fails the case otherwise */
short diff_poll(int fd, short events, int timeout_ms); /* revents, 0 on timeout */
void diff_nonblock(int fd);
int diff_int_option(int fd, int level, int option); /* getsockopt of an int; fails the case on error */
void diff_set_int(int fd, int level, int option, int value);

/* Exactly n bytes, blocking or not; fails the case on EOF or error. */
void diff_write_all(int fd, const void *data, size_t n);
void diff_read_all(int fd, void *data, size_t n);
void diff_ping(int from, int to); /* one byte goes; either may be a pipe */
void diff_ended(int fd);          /* fails the case unless all is read and the end is there, or comes */
void diff_not_ended(int fd);      /* nothing to read and no end */
/* A descriptor over a Unix socket, with one byte (SCM_RIGHTS); flags of recvmsg. */
void diff_pass(int channel, int fd);
int diff_take(int channel, int flags);
/* Deterministic bytes: the pattern of the stream `seed` from position `at`. */
void diff_pattern(void *data, size_t n, uint64_t seed, uint64_t at);
void diff_send_pattern(int fd, size_t total, uint64_t seed); /* writes total pattern bytes */
void diff_expect_pattern(int fd, size_t total, uint64_t seed); /* reads and compares them */

uint64_t diff_now_ms(void); /* monotonic */

/* Child processes inside a case: the function runs in the child, which then exits with 0. diff_join
 * fails the case unless the child exited with 0. */
pid_t diff_child(void (*run)(void *), void *arg);
void diff_join(pid_t child);
/* Thread inside a case. */
pthread_t diff_thread(void *(*run)(void *), void *arg);
/* True once the thread (its kernel id) sleeps in a system call, as /proc says: the way to know that it
 * blocks in recv() or poll(). Waits at most 5 s. */
void diff_wait_blocked(pid_t tid);
/* Calls diff_until(condition(arg), ms): looks every millisecond. */
bool diff_until(bool (*condition)(void *), void *arg, unsigned timeout_ms);

#endif
