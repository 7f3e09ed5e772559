/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors, signals and system log of an engine inside a program: see inline.h. */
#include "dpdk/inline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_MAX 4096

static const struct cv_inline_host *host;
static _Atomic int fds[FDS_MAX]; /* number + 1; 0: free */

void inline_fd_host(const struct cv_inline_host *h)
{
	host = h;
}

static int keep(int fd)
{
	if (fd < 0 || !host)
		return fd;
	fd = host->internal_fd(fd);
	for (int i = 0; i < FDS_MAX; i++) {
		int none = 0;

		if (__atomic_compare_exchange_n(
			    (int *)&fds[i], &none, fd + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			break;
	}
	return fd;
}

static bool forget(int fd)
{
	for (int i = 0; i < FDS_MAX; i++) {
		int kept = fd + 1;

		if (__atomic_compare_exchange_n(
			    (int *)&fds[i], &kept, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

void inline_fd_close_all(void)
{
	for (int i = 0; i < FDS_MAX; i++) {
		int fd = __atomic_exchange_n((int *)&fds[i], 0, __ATOMIC_ACQ_REL) - 1;

		if (fd >= 0)
			host->internal_close(fd);
	}
}

/* --- what makes descriptors ---------------------------------------------------------------------- */

#define MAKER(name, params, args, real)                                                                              \
	int __wrap_##name params;                                                                                    \
	int __wrap_##name params                                                                                     \
	{                                                                                                            \
		return keep(real args);                                                                              \
	}
/* What our library serves too, and what it does not. */
#define SERVED(name, params, args) MAKER(name, params, args, libc_##name)
#define OTHER(name, params, args)                                                                                    \
	int __real_##name params;                                                                                    \
	MAKER(name, params, args, __real_##name)

SERVED(socket, (int family, int type, int protocol), (family, type, protocol))
SERVED(accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))
SERVED(accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags), (fd, addr, len, flags))
SERVED(epoll_create, (int size), (size))
SERVED(epoll_create1, (int flags), (flags))
SERVED(dup, (int fd), (fd))
OTHER(eventfd, (unsigned value, int flags), (value, flags))
OTHER(memfd_create, (const char *name, unsigned flags), (name, flags))
OTHER(timerfd_create, (int clock, int flags), (clock, flags))
OTHER(__open_2, (const char *path, int flags), (path, flags))
OTHER(__open64_2, (const char *path, int flags), (path, flags))

int __wrap_socketpair(int family, int type, int protocol, int fds[2])
{
	int result = libc_socketpair(family, type, protocol, fds);

	for (int i = 0; i < 2 && result == 0; i++)
		fds[i] = keep(fds[i]);
	return result;
}

/* The mode is passed on whether there is one or not: the ABI passes it as a fixed argument. */
#define OPENER(name)                                                                                                 \
	int __real_##name(const char *path, int flags, ...);                                                         \
	int __wrap_##name(const char *path, int flags, ...);                                                         \
	int __wrap_##name(const char *path, int flags, ...)                                                          \
	{                                                                                                            \
		va_list list;                                                                                        \
		int mode;                                                                                            \
                                                                                                                     \
		va_start(list, flags);                                                                               \
		mode = va_arg(list, int);                                                                            \
		va_end(list);                                                                                        \
		return keep(__real_##name(path, flags, mode));                                                       \
	}
OPENER(open)
OPENER(open64)

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = libc_recvmsg(fd, msg, flags);

	for (struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(msg) : NULL; h; h = CMSG_NXTHDR(msg, h)) {
		size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS && i < count; i++) {
			int one;

			memcpy(&one, CMSG_DATA(h) + i * sizeof(int), sizeof(one));
			one = keep(one);
			memcpy(CMSG_DATA(h) + i * sizeof(int), &one, sizeof(one));
		}
	}
	return n;
}

long __wrap_syscall(long number, ...)
{
	va_list list;
	long arg[6], result;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	result = libc_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	return number == SYS_memfd_create ? keep((int)result) : result;
}

int __wrap_close(int fd)
{
	if (!forget(fd))
		return libc_close(fd);
	host->internal_close(fd);
	return 0;
}

/* --- what is the program's ----------------------------------------------------------------------- */

/* The TAP driver wants a signal for each frame; without one it reads whenever it is polled. */
int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return keep(libc_fcntl(fd, cmd, arg));
	return libc_fcntl(fd, cmd, cmd == F_SETFL ? arg & ~(long)O_ASYNC : arg);
}

int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	return __wrap_fcntl(fd, cmd, arg);
}

int __wrap_sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	(void)sig;
	(void)action;
	if (old)
		*old = (struct sigaction){.sa_handler = SIG_DFL};
	return 0;
}

void __wrap_openlog(const char *ident, int option, int facility);
void __wrap_openlog(const char *ident, int option, int facility)
{
	(void)ident;
	(void)option;
	(void)facility;
}

void __wrap_syslog(int priority, const char *format, ...);
void __wrap_syslog(int priority, const char *format, ...)
{
	(void)priority;
	(void)format;
}
