/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an engine inside a program asks of libc, and what belongs to the program.
 *
 * DPDK and we open descriptors where the program would see them: in a loop that closes all numbers, or as a number
 * that its dup2 takes. Each is moved out of its sight. Signals and the system log of the process stay the
 * program's: what a driver asks of them is not done.
 * Called by: inline.c; everything else in the module by the linker's doing.
 */
#ifndef CULVERT_DPDK_INLINE_H
#define CULVERT_DPDK_INLINE_H

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
#include <sys/uio.h>

#include "stack/api/inline.h"

/* Before anything else in the module. */
void inline_libc_host(const struct cv_inline_host *host);
void inline_fd_host(const struct cv_inline_host *host);
/* In a fork's child. */
void inline_fd_close_all(void);

/* libc_NAME is libc's; the module's calls of NAME come to __wrap_NAME. */
#define X(ret, name, params, args)                                                                                   \
	extern ret(*libc_##name) params;                                                                             \
	ret __wrap_##name params;
#define V(ret, name, params)                                                                                         \
	extern ret(*libc_##name) params;                                                                             \
	ret __wrap_##name params;
#define A(ret, name, params, args, to)
#define E(ret, name, params)
#include "stack/api/intercept.def"
#undef X
#undef V
#undef A
#undef E

#endif
