/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of the program that act on descriptors: options, duplicates, closing, flags, ioctl. What is the kernel's goes there.
 * Owns: nothing. Calls that move data are in call.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/interfaces.h"
#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sigio.h"
#include "shim/sock.h"
#include "shim/stream.h"

/* --- options ---------------------------------------------------------------------------------- */

int shim_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct file *f = call_engine_file(fd);

	if (!f)
		return real_getsockopt(fd, level, name, value, len);
	if (call_bad_pointer(len) || ((int)*len > 0 && call_bad_pointer(value)))
		return call_end(f, -EFAULT);
	if (mcast_reads(level, name))
		return call_end(f, mcast_get(fd, f, level, name, value, len));
	return call_end(f, option_get(fd, f, level, name, value, len));
}

int shim_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct file *f = fd_get(fd);

	if (f && (f->mux.rec || f->mux.undecided) && mcast_option(level, name))
		return call_end(f, (int)len < 0 ? -EINVAL
				   : call_bad_pointer(value) ? -EFAULT
							     : mcast_set(fd, f, level, name, value, len));
	if (f && f->mux.rec)
		return call_end(f, (int)len < 0 ? -EINVAL
				   : len > 0 && call_bad_pointer(value)
					   ? -EFAULT
					   : option_set(fd, f, level, name, value, len));
	if (real_setsockopt(fd, level, name, value, len) != 0)
		return call_put(f), -1;
	if (f && f->mux.undecided)
		option_note(f, level, name, value, len);
	call_put(f);
	return 0;
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* Who asks a socket's inode may look for the same one later, also in another process: from now on it has its own. */
static void tell_apart(int fd)
{
	int saved = errno;
	struct file *f = fd_get(fd);

	if (f) {
		pass_own_shadow(f);
		file_put(f);
	}
	errno = saved;
}

int shim_fstat(int fd, struct stat *st)
{
	tell_apart(fd);
	return real_fstat(fd, st);
}

int shim_fstat64(int fd, struct stat64 *st)
{
	tell_apart(fd);
	return real_fstat64(fd, st);
}

/* What programs of before glibc 2.33 call. The version is that of the layout, of which 64-bit machines have one. */
int shim___fxstat(int version, int fd, struct stat *st)
{
	(void)version;
	return shim_fstat(fd, st);
}

int shim___fxstat64(int version, int fd, struct stat64 *st)
{
	(void)version;
	return shim_fstat64(fd, st);
}

int shim_close(int fd)
{
	if (fd_is_internal(fd)) {
		errno = EBADF;
		return -1;
	}
	fd_remove(fd);
	signal_check_late();
	return real_close(fd);
}

/* Our own descriptors stay: a program that closes what it does not know has not meant them. */
int shim_close_range(unsigned first, unsigned last, int flags)
{
	unsigned at = first, end = last == UINT_MAX ? last : last + 1;
	int result = 0;

	if ((flags & ~(int)CLOSE_RANGE_UNSHARE) || first > last)
		return real_close_range(first, last, flags);
	if (flags && real_close_range(UINT_MAX, UINT_MAX, CLOSE_RANGE_UNSHARE) != 0) /* no number that is in use */
		return -1;
	while (at < end && result == 0) {
		unsigned kept = fd_internal_next(at, end);

		fd_remove_range(at, kept);
		if (kept > at)
			result = real_close_range(at, kept - 1, 0);
		at = kept < end ? kept + 1 : end;
	}
	return result;
}

void shim_closefrom(int first)
{
	shim_close_range(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0);
}

static int duplicated(struct file *f, int fd)
{
	if (fd >= 0 && !fd_alias(fd, f)) {
		quiet_close(fd);
		return call_end(f, -EMFILE);
	}
	if (fd >= 0 && fd <= STDERR_FILENO && f->mux.rec)
		stream_follow(fd);
	call_put(f);
	return fd;
}

int shim_dup(int fd)
{
	struct file *f = fd_get(fd);
	int to = real_dup(fd);

	return f ? duplicated(f, to) : to;
}

int shim_dup3(int fd, int to, int flags)
{
	struct file *f;

	if (fd == to || (flags & ~O_CLOEXEC) || real_fcntl(fd, F_GETFD) < 0)
		return real_dup3(fd, to, flags);
	if (fd_is_internal(to)) {
		errno = EBUSY;
		return -1;
	}
	f = fd_get(fd);
	fd_remove(to);
	to = real_dup3(fd, to, flags);
	return f ? duplicated(f, to) : to;
}

int shim_dup2(int fd, int to)
{
	return fd == to ? real_dup2(fd, to) : shim_dup3(fd, to, 0);
}

#define FLAGS_KEPT (O_NONBLOCK | O_ASYNC | O_APPEND)

/* Flags of a socket that has no kernel socket yet (fd.h). -EAGAIN: it needs one. */
static int lazy_fcntl(struct file *f, int cmd, long arg)
{
	if (cmd == F_GETFL)
		return (int)(O_RDWR | f->lazy_flags);
	if (cmd != F_SETFL || (arg & FLAGS_KEPT & ~(long)O_NONBLOCK))
		return -EAGAIN;
	f->lazy_flags = (uint32_t)arg & O_NONBLOCK;
	return 0;
}

int shim_fcntl(int fd, int cmd, ...)
{
	struct file *f = fd_look(fd);
	va_list list;
	int result;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	if (f && f->lazy && cmd != F_GETFD && cmd != F_SETFD) {
		result = lazy_fcntl(f, cmd, arg);
		if (result != -EAGAIN)
			return call_end(f, result);
		sock_make_whole(fd, f);
	}
	if (f && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))
		return duplicated(f, real_fcntl(fd, cmd, arg));
	if (f && f->mux.rec && cmd == F_GETFL)
		return call_end(f, (int)(O_RDWR | f->mux.rec->flags));
	if (f && f->mux.rec && cmd == F_SETFL) {
		sigio_set_async(fd, f, arg & O_ASYNC);
		f->mux.rec->flags = (uint32_t)arg & FLAGS_KEPT;
		return call_end(f, 0);
	}
	if (f && f->mux.undecided && cmd == F_SETFL && (arg & O_ASYNC))
		sigio_note_async(fd, f);
	if (f && (f->mux.rec || f->mux.undecided) && sigio_is_fcntl(cmd))
		return call_end(f, sigio_fcntl(fd, f, cmd, arg));
	call_put(f);
	return real_fcntl(fd, cmd, arg);
}

int shim_fcntl64(int fd, int cmd, ...)
{
	va_list list;
	long arg;

	va_start(list, cmd);
	arg = va_arg(list, long);
	va_end(list);
	return shim_fcntl(fd, cmd, arg);
}

static int engine_ioctl(int fd, struct file *f, unsigned long request, void *arg)
{
	struct cv_sock *rec = f->mux.rec;
	bool listens = rec->status & CV_ST_LISTENING;
	int value;

	switch (request) {
	case FIONREAD:
		value = listens ? -EINVAL : rx_next_bytes(f);
		break;
	case SIOCOUTQ:
		value = listens ? -EINVAL : (int)(rec->tx_pos - __atomic_load_n(&rec->tx_acked, __ATOMIC_ACQUIRE));
		break;
	case SIOCOUTQNSD:
		value = f->type != SOCK_STREAM ? -ENOTTY : listens ? -EINVAL : option_unsent(f);
		break;
	case SIOCATMARK:
		value = f->type != SOCK_STREAM ? -ENOTTY : rx_at_mark(f);
		break;
	case FIONBIO:
		if (!arg)
			return -EFAULT;
		memcpy(&value, arg, sizeof(value));
		rec->flags = value ? rec->flags | O_NONBLOCK : rec->flags & ~(uint32_t)O_NONBLOCK;
		return 0;
	default:
		return interfaces_ioctl(fd, request, arg) < 0 ? -errno : 0;
	}
	if (value < 0)
		return value;
	if (!arg)
		return -EFAULT;
	memcpy(arg, &value, sizeof(value));
	return 0;
}

int shim_ioctl(int fd, unsigned long request, ...)
{
	struct file *f = request == FIONBIO ? fd_look(fd) : NULL;
	va_list list;
	void *arg;
	int value;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (f && f->lazy && arg) {
		memcpy(&value, arg, sizeof(value));
		f->lazy_flags = value ? O_NONBLOCK : 0;
		return call_end(f, 0);
	}
	call_put(f);
	if (sigio_is_ioctl(request)) {
		f = fd_get(fd);
		if (f && (f->mux.rec || f->mux.undecided))
			return call_end(f, sigio_ioctl(fd, f, request, arg));
		call_put(f);
		return real_ioctl(fd, request, arg);
	}
	f = call_engine_file(fd);
	return f ? call_end(f, engine_ioctl(fd, f, request, arg)) : interfaces_ioctl(fd, request, arg);
}

int shim_sockatmark(int fd)
{
	int value;

	return shim_ioctl(fd, SIOCATMARK, &value) < 0 ? -1 : value;
}
