/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syscall(): numbers that act on sockets, for programs that go around libc's names, take the way of
 * those names, and those that fork are forks; all others go to the kernel. Owns: nothing. Called by the program.
 */
#include <poll.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/inline.h"
#include "shim/link.h"
#include "shim/process.h"
#include "shim/real.h"

#define INT(i) ((int)a[i])
#define LEN(i) ((socklen_t)a[i])
#define SIZE(i) ((size_t)a[i])
#define PTR(i) ((void *)a[i])

/* False: not one of these. The result is as syscall's: -1 and errno. */
static bool name_call(long number, const long *a, long *result)
{
#define IS(name, call)                                                                             \
	case SYS_##name:                                                                           \
		*result = (call);                                                                  \
		return true;
	switch (number) {
		IS(socket, shim_socket(INT(0), INT(1), INT(2)))
		IS(socketpair, shim_socketpair(INT(0), INT(1), INT(2), PTR(3)))
		IS(bind, shim_bind(INT(0), PTR(1), LEN(2)))
		IS(listen, shim_listen(INT(0), INT(1)))
		IS(accept4, shim_accept4(INT(0), PTR(1), PTR(2), INT(3)))
		IS(accept, shim_accept(INT(0), PTR(1), PTR(2)))
		IS(connect, shim_connect(INT(0), PTR(1), LEN(2)))
		IS(shutdown, shim_shutdown(INT(0), INT(1)))
		IS(getsockname, shim_getsockname(INT(0), PTR(1), PTR(2)))
		IS(getpeername, shim_getpeername(INT(0), PTR(1), PTR(2)))
		IS(getsockopt, shim_getsockopt(INT(0), INT(1), INT(2), PTR(3), PTR(4)))
		IS(setsockopt, shim_setsockopt(INT(0), INT(1), INT(2), PTR(3), LEN(4)))
		IS(close, shim_close(INT(0)))
		IS(close_range, shim_close_range((unsigned)a[0], (unsigned)a[1], INT(2)))
		IS(dup, shim_dup(INT(0)))
		IS(dup3, shim_dup3(INT(0), INT(1), INT(2)))
		IS(fcntl, shim_fcntl(INT(0), INT(1), a[2]))
		IS(read, shim_read(INT(0), PTR(1), SIZE(2)))
		IS(readv, shim_readv(INT(0), PTR(1), INT(2)))
		IS(preadv2, shim_preadv2(INT(0), PTR(1), INT(2), (off_t)a[3], INT(5)))
		IS(recvfrom, shim_recvfrom(INT(0), PTR(1), SIZE(2), INT(3), PTR(4), PTR(5)))
		IS(recvmsg, shim_recvmsg(INT(0), PTR(1), INT(2)))
		IS(recvmmsg, shim_recvmmsg(INT(0), PTR(1), (unsigned)a[2], INT(3), PTR(4)))
		IS(write, shim_write(INT(0), PTR(1), SIZE(2)))
		IS(writev, shim_writev(INT(0), PTR(1), INT(2)))
		IS(pwritev2, shim_pwritev2(INT(0), PTR(1), INT(2), (off_t)a[3], INT(5)))
		IS(sendto, shim_sendto(INT(0), PTR(1), SIZE(2), INT(3), PTR(4), LEN(5)))
		IS(sendmsg, shim_sendmsg(INT(0), PTR(1), INT(2)))
		IS(sendmmsg, shim_sendmmsg(INT(0), PTR(1), (unsigned)a[2], INT(3)))
		IS(sendfile, shim_sendfile(INT(0), INT(1), PTR(2), SIZE(3)))
		IS(splice, shim_splice(INT(0), PTR(1), INT(2), PTR(3), SIZE(4), (unsigned)a[5]))
		IS(epoll_create1, shim_epoll_create1(INT(0)))
		IS(epoll_ctl, shim_epoll_ctl(INT(0), INT(1), INT(2), PTR(3)))
		IS(epoll_pwait, shim_epoll_pwait(INT(0), PTR(1), INT(2), INT(3), PTR(4)))
		IS(ppoll, shim_ppoll(PTR(0), (nfds_t)a[1], PTR(2), PTR(3)))
		IS(epoll_pwait2, shim_epoll_pwait2(INT(0), PTR(1), INT(2), PTR(3), PTR(4)))
#ifdef SYS_poll /* newer architectures have only ppoll, epoll_pwait and the like */
		IS(dup2, shim_dup2(INT(0), INT(1)))
		IS(epoll_create, shim_epoll_create(INT(0)))
		IS(poll, shim_poll(PTR(0), (nfds_t)a[1], INT(2)))
		IS(epoll_wait, shim_epoll_wait(INT(0), PTR(1), INT(2), INT(3)))
#endif
	default:
		return false;
	}
#undef IS
}

/* Six words, whatever was passed, as libc's: what is too much is not used. */
__attribute__((no_sanitize("address"))) long shim_syscall(long number, ...)
{
	va_list list;
	long a[6], result;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (name_call(number, a, &result))
		return result;
	if (process_is_fork(number, a))
		return process_fork(number, a);
	/* It would bypass us: ENOSYS where there is an engine, so that programs fall back. */
	if (number == SYS_io_uring_setup && (inline_wanted() || link_get())) {
		errno = ENOSYS;
		return -1;
	}
	return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
