/* SPDX-License-Identifier: BSD-3-Clause */
/* The real functions, and the second names: see real.h. */
#include "shim/real.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>

/* A name that libc does not have cannot have been linked by the program either. */
void *real_find(const char *name)
{
	void *address = dlsym(RTLD_NEXT, name);

	if (!address)
		abort();
	return address;
}

/* Each pointer begins at a stub that replaces it. Threads that race write the same value. */
#define X(ret, name, params, args)                                                                 \
	static ret first_##name params;                                                            \
	ret(*real_##name) params = first_##name;                                                   \
	static ret first_##name params                                                             \
	{                                                                                          \
		*(void **)(void *)&real_##name = real_find(#name);                                   \
		return real_##name args;                                                           \
	}
#define V(ret, name, params)                                                                       \
	static ret first_##name params;                                                            \
	ret(*real_##name) params = first_##name;
#define A(ret, name, params, args, to)                                                             \
	ret shim_##name params                                                                     \
	{                                                                                          \
		return shim_##to args;                                                             \
	}
#define E(ret, name, params)
#include "stack/api/intercept.def"
#undef E
#undef X
#undef V
#undef A

/* The ABI passes variable arguments as fixed ones: reading one too many is harmless. */
static int first_fcntl(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&real_fcntl = real_find("fcntl");
	return real_fcntl(fd, cmd, arg);
}

static int first_fcntl64(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&real_fcntl64 = real_find("fcntl64");
	return real_fcntl64(fd, cmd, arg);
}

static int first_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	long arg;

	va_start(list, request);
	arg = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&real_ioctl = real_find("ioctl");
	return real_ioctl(fd, request, arg);
}

static long first_syscall(long number, ...)
{
	va_list list;
	long arg[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	*(void **)(void *)&real_syscall = real_find("syscall");
	return real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
