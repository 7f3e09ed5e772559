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

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
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

/* libc's function of any name; ends the process when there is none. */
void *real_find(const char *name);

#endif
