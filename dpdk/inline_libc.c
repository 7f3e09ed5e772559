/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libc's own functions for an engine inside a program: the names that the preloaded library serves (intercept.def)
 * would lead back into it. The module is linked with --wrap for each of them (dpdk/meson.build), so that a call here or
 * in DPDK comes to __wrap_NAME, which goes to libc. Those that make or end descriptors are in inline_fd.c instead;
 * hence the weak symbols.
 */
#include <stdarg.h>

#include "dpdk/inline.h"

static const struct cv_inline_host *host;

void inline_libc_host(const struct cv_inline_host *h)
{
	host = h;
}

/* Each pointer begins at a stub that replaces it. Threads that race write the same value. */
#define X(ret, name, params, args)                                                                                   \
	static ret first_##name params;                                                                              \
	ret(*libc_##name) params = first_##name;                                                                     \
	static ret first_##name params                                                                               \
	{                                                                                                            \
		*(void **)(void *)&libc_##name = host->libc(#name);                                                  \
		return libc_##name args;                                                                             \
	}                                                                                                            \
	__attribute__((weak)) ret __wrap_##name params;                                                              \
	ret __wrap_##name params                                                                                     \
	{                                                                                                            \
		return libc_##name args;                                                                             \
	}
/* The ABI passes variable arguments as fixed ones: passing one too many is harmless. */
#define V(ret, name, params)                                                                                         \
	static ret first_##name params;                                                                              \
	ret(*libc_##name) params = first_##name;
#define A(ret, name, params, args, to)
#define E(ret, name, params)
#include "stack/api/intercept.def"

static int first_fcntl(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&libc_fcntl = host->libc("fcntl");
	return libc_fcntl(fd, cmd, arg);
}

static int first_fcntl64(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&libc_fcntl64 = host->libc("fcntl64");
	return libc_fcntl64(fd, cmd, arg);
}

static int first_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	long arg;

	va_start(list, request);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&libc_ioctl = host->libc("ioctl");
	return libc_ioctl(fd, request, arg);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	long arg;

	va_start(list, request);
	arg = va_arg(list, long);
	va_end(list);
	return libc_ioctl(fd, request, arg);
}

static long first_syscall(long number, ...)
{
	va_list list;
	long arg[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&libc_syscall = host->libc("syscall");
	return libc_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
