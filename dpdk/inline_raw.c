/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What drivers call in a turn of an engine inside a program (inline_libc.c says how the calls come here): the system calls
 * themselves. libc's functions of the same names are places for a thread of the program to be cancelled in, and it would take
 * the baton along.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dpdk/inline.h"

#define RAW(ret, name, params, ...)                                                                \
	ret __wrap_##name params;                                                                  \
	ret __wrap_##name params                                                                   \
	{                                                                                          \
		return (ret)libc_syscall(SYS_##name, __VA_ARGS__);                                 \
	}
RAW(ssize_t, read, (int fd, void *buf, size_t n), fd, buf, n)
RAW(ssize_t, write, (int fd, const void *buf, size_t n), fd, buf, n)
RAW(ssize_t, readv, (int fd, const struct iovec *iov, int n), fd, iov, n)
RAW(ssize_t, writev, (int fd, const struct iovec *iov, int n), fd, iov, n)
RAW(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), fd, msg, flags)
RAW(ssize_t, sendto, (int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len), fd, buf, n,
	flags, addr, len)
RAW(ssize_t, recvfrom, (int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len), fd, buf, n, flags, addr,
	len)

ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags)
{
	return __wrap_sendto(fd, buf, n, flags, NULL, 0);
}

ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags)
{
	return __wrap_recvfrom(fd, buf, n, flags, NULL, NULL);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec left = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l}; /* the system call writes to it */

	return (int)libc_syscall(SYS_ppoll, fds, n, timeout_ms < 0 ? NULL : &left, NULL, (size_t)0);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
	return (int)libc_syscall(SYS_epoll_pwait, epoll, events, max, timeout_ms, NULL, (size_t)0);
}
