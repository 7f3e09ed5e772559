/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libc's own functions for an engine inside a program: the names that the preloaded library serves
 * (intercept.def) would lead back into it. The module is linked with --wrap for each of them
 * (dpdk/meson.build), so that a call here or in DPDK comes to __wrap_NAME, which goes to libc.
 * Those that make or end descriptors are in inline_fd.c instead, those of drivers at work in inline_raw.c; hence the weak symbols.
 */
#include <stdarg.h>

#include "dpdk/inline.h"

/* One pointer a name, and what the module's calls come to. Variable arguments have theirs by hand.
 */
#define X(ret, name, params, args)                                                                 \
	ret(*libc_##name) params;                                                                  \
	__attribute__((weak)) ret __wrap_##name params;                                            \
	ret __wrap_##name params                                                                   \
	{                                                                                          \
		return libc_##name args;                                                           \
	}
#define V(ret, name, params) ret(*libc_##name) params;
#define A(ret, name, params, args, to)
#define E(ret, name, params)
#include "stack/api/intercept.def"
#undef X
#undef V

void inline_libc_host(const struct cv_inline_host *host)
{
#define X(ret, name, params, args) *(void **)(void *)&libc_##name = host->libc(#name);
#define V(ret, name, params) *(void **)(void *)&libc_##name = host->libc(#name);
#include "stack/api/intercept.def"
}

int __wrap_dprintf(int fd, const char *format, ...);
int __wrap_dprintf(int fd, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = libc_vdprintf(fd, format, args);
	va_end(args);
	return n;
}

int __wrap___dprintf_chk(int fd, int flag, const char *format, ...);
int __wrap___dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = libc___vdprintf_chk(fd, flag, format, args);
	va_end(args);
	return n;
}

/* The ABI passes variable arguments as fixed ones: passing one too many is harmless. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	long arg;

	va_start(list, request);
	arg = va_arg(list, long);
	va_end(list);
	return libc_ioctl(fd, request, arg);
}
