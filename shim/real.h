/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names of intercept.def: shim_NAME is what a program calls as NAME, real_NAME is libc's.
 *
 * Inside shim/ an intercepted name must be called as real_NAME: the plain name would come back to
 * us. real_NAME is a pointer that finds the function at its first call, so it may be used before
 * any constructor, from any thread.
 * Owns: the table. Called by: all of shim/.
 */
#ifndef CULVERT_SHIM_REAL_H
#define CULVERT_SHIM_REAL_H

#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define SHIM_EXPORT __attribute__((visibility("default")))

#define X(ret, name, params, args)                                                                 \
	SHIM_EXPORT ret shim_##name params __asm__(#name);                                         \
	extern ret(*real_##name) params;
#define V(ret, name, params)                                                                       \
	SHIM_EXPORT ret shim_##name params __asm__(#name);                                         \
	extern ret(*real_##name) params;
#define A(ret, name, params, args, to) SHIM_EXPORT ret shim_##name params __asm__(#name);
#define E(ret, name, params) SHIM_EXPORT ret shim_##name params __asm__(#name);
#include "stack/api/intercept.def"
#undef X
#undef V
#undef A
#undef E

/* As libc's, and no cancellation points: for who holds something that a cancelled thread would take along, and for calls of the
 * program that are none. */
static inline int quiet_close(int fd)
{
	return (int)real_syscall(SYS_close, fd);
}

static inline int quiet_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return (int)real_syscall(SYS_accept4, fd, addr, len, flags);
}

static inline ssize_t quiet_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return real_syscall(SYS_recvmsg, fd, msg, flags);
}

static inline ssize_t quiet_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return real_syscall(SYS_sendmsg, fd, msg, flags);
}

static inline ssize_t quiet_pread(int fd, void *buf, size_t n, off_t at)
{
	return real_syscall(SYS_pread64, fd, buf, n, at);
}

/* libc's function of any name; ends the process when there is none. */
void *real_find(const char *name);

#endif
