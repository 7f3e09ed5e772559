/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of the program that move data or act on descriptors: theirs go to the kernel, ours to
 * rx.c, tx.c, option.c. Owns: nothing.
 */
#include "shim/call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sock.h"

/* The engine's socket behind fd, with a reference, or NULL: the kernel's. */
static struct file *engine_file(int fd)
{
	struct file *f = fd_get(fd);

	if (f && !f->mux.rec) {
		file_put(f);
		return NULL;
	}
	return f;
}

/* --- receiving -------------------------------------------------------------------------------- */

static ssize_t receive(int fd, struct file *f, void *buf, size_t n, int flags)
{
	struct iovec iov = {buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return call_end_size(f, rx_message(fd, f, &msg, flags));
}

ssize_t shim_read(int fd, void *buf, size_t n)
{
	struct file *f = engine_file(fd);

	return f ? receive(fd, f, buf, n, 0) : real_read(fd, buf, n);
}

ssize_t shim_recv(int fd, void *buf, size_t n, int flags)
{
	struct file *f = engine_file(fd);

	return f ? receive(fd, f, buf, n, flags) : real_recv(fd, buf, n, flags);
}

/* readv(), writev() and their kin, on a socket of ours. */
static ssize_t vectors(int fd, struct file *f, const struct iovec *iov, int n, int flags,
	ssize_t (*message)(int fd, struct file *f, struct msghdr *msg, int flags))
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	if (n < 0 || n > IOV_MAX)
		return call_end(f, -EINVAL);
	if (n == 0)
		return call_end(f, 0);
	return call_end_size(f, message(fd, f, &msg, flags));
}

static ssize_t transmit_message(int fd, struct file *f, struct msghdr *msg, int flags)
{
	return tx_message(fd, f, msg, flags);
}

/* What preadv2(2) and pwritev2(2) say of a file that has no positions. 0, or -errno. */
static int vectors_refuse(off_t at, int flags)
{
	const int known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;

	if (at != -1)
		return at < 0 ? -EINVAL : -ESPIPE;
	return flags & ~known ? -EOPNOTSUPP : 0;
}

static int vectors_flags(int flags)
{
	return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

ssize_t shim_readv(int fd, const struct iovec *iov, int n)
{
	struct file *f = engine_file(fd);

	return f ? vectors(fd, f, iov, n, 0, rx_message) : real_readv(fd, iov, n);
}

ssize_t shim_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	struct file *f = engine_file(fd);
	int refused = vectors_refuse(at, flags);

	if (!f)
		return real_preadv2(fd, iov, n, at, flags);
	return refused ? call_end(f, refused)
		       : vectors(fd, f, iov, n, vectors_flags(flags), rx_message);
}

ssize_t shim_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct file *f = engine_file(fd);
	struct iovec iov = {buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t result;

	if (!f)
		return real_recvfrom(fd, buf, n, flags, addr, len);
	msg.msg_name = addr && len ? addr : NULL;
	msg.msg_namelen = msg.msg_name ? *len : 0;
	result = rx_message(fd, f, &msg, flags);
	if (result >= 0 && msg.msg_name)
		*len = msg.msg_namelen;
	return call_end_size(f, result);
}

ssize_t shim_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct file *f = engine_file(fd);

	if (!f) {
		ssize_t n = real_recvmsg(fd, msg, flags);

		if (n >= 0)
			pass_received(msg);
		return n;
	}
	if (!call_bad_pointer(msg) && msg->msg_iovlen > IOV_MAX)
		return call_end(f, -EMSGSIZE);
	return call_end_size(f, rx_message(fd, f, msg, flags));
}

int shim_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	struct file *f = engine_file(fd);
	unsigned done;
	uint64_t end = WAIT_FOREVER;

	if (!f)
		return real_recvmmsg(fd, msgs, n, flags, timeout);
	if (timeout)
		end = wait_now_ns() + (uint64_t)timeout->tv_sec * 1000000000u +
		      (uint64_t)timeout->tv_nsec;
	for (done = 0; done < n; done++) {
		ssize_t got = rx_message(fd, f, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);

		if (got < 0)
			return call_end(f, done ? (int)done : (int)got);
		msgs[done].msg_len = (unsigned)got;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (end != WAIT_FOREVER && wait_now_ns() >= end) {
			done++;
			break;
		}
	}
	return call_end(f, (int)done);
}

ssize_t shim___read_chk(int fd, void *buf, size_t n, size_t size)
{
	return n > size ? real___read_chk(fd, buf, n, size) : shim_read(fd, buf, n);
}

ssize_t shim___recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	return n > size ? real___recv_chk(fd, buf, n, size, flags) : shim_recv(fd, buf, n, flags);
}

ssize_t shim___recvfrom_chk(
	int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr, socklen_t *len)
{
	return n > size ? real___recvfrom_chk(fd, buf, n, size, flags, addr, len)
			: shim_recvfrom(fd, buf, n, flags, addr, len);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* As engine_file; a datagram socket that sends before it is bound is decided here. */
static struct file *sending_file(int fd, const void *to)
{
	struct file *f = fd_get(fd);

	if (f && !f->mux.rec && f->mux.undecided && to && f->type == SOCK_DGRAM)
		sock_autobind(fd, f);
	if (f && !f->mux.rec) {
		file_put(f);
		return NULL;
	}
	return f;
}

static ssize_t transmit(int fd, struct file *f, const void *buf, size_t n, int flags)
{
	struct iovec iov = {(void *)(uintptr_t)buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return call_end_size(f, tx_message(fd, f, &msg, flags));
}

ssize_t shim_write(int fd, const void *buf, size_t n)
{
	struct file *f = engine_file(fd);

	return f ? transmit(fd, f, buf, n, 0) : real_write(fd, buf, n);
}

ssize_t shim_send(int fd, const void *buf, size_t n, int flags)
{
	struct file *f = engine_file(fd);

	return f ? transmit(fd, f, buf, n, flags) : real_send(fd, buf, n, flags);
}

ssize_t shim_writev(int fd, const struct iovec *iov, int n)
{
	struct file *f = engine_file(fd);

	return f ? vectors(fd, f, iov, n, 0, transmit_message) : real_writev(fd, iov, n);
}

ssize_t shim_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	struct file *f = engine_file(fd);
	int refused = vectors_refuse(at, flags);

	if (!f)
		return real_pwritev2(fd, iov, n, at, flags);
	return refused ? call_end(f, refused)
		       : vectors(fd, f, iov, n, vectors_flags(flags), transmit_message);
}

/* MSG_FASTOPEN: a connect whose SYN waits for the data, if the engine knows a cookie of the peer's.
 * 0: connected, or as good as; 1: not a socket of ours, its stack knows the flag; -1 with errno. */
static int fastopen(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct file *f = fd_look(fd);
	bool ours = f && !f->mux.ep && f->type == SOCK_STREAM && (f->mux.rec || f->mux.undecided);
	const int on = 1;

	call_put(f);
	if (!ours)
		return 1;
	if (len >= sizeof(addr->sa_family) && addr->sa_family == AF_UNSPEC) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (shim_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)) != 0 &&
		errno == EOPNOTSUPP)
		return -1;
	return shim_connect(fd, addr, len); /* EISCONN, too, is its to say */
}

ssize_t shim_sendto(
	int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	int begun = (flags & MSG_FASTOPEN) && addr && !call_bad_pointer(addr)
			    ? fastopen(fd, addr, len)
			    : 1;
	struct iovec iov = {(void *)(uintptr_t)buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct file *f;

	if (begun < 0)
		return -1;
	if (begun == 0) {
		flags &= ~MSG_FASTOPEN;
		addr = NULL;
		len = 0;
	}
	f = sending_file(fd, addr);
	if (!f)
		return real_sendto(fd, buf, n, flags, addr, len);
	msg.msg_name = (void *)(uintptr_t)addr;
	msg.msg_namelen = addr ? len : 0;
	return call_end_size(f, tx_message(fd, f, &msg, flags));
}

ssize_t shim_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr rest;
	struct file *f;

	if ((flags & MSG_FASTOPEN) && !call_bad_pointer(msg) && msg->msg_name &&
		!call_bad_pointer(msg->msg_name)) {
		int begun = fastopen(fd, msg->msg_name, msg->msg_namelen);

		if (begun < 0)
			return -1;
		if (begun == 0) {
			rest = *msg;
			rest.msg_name = NULL;
			rest.msg_namelen = 0;
			msg = &rest;
			flags &= ~MSG_FASTOPEN;
		}
	}
	f = sending_file(fd, call_bad_pointer(msg) ? NULL : msg->msg_name);

	if (!f) {
		ssize_t n;

		if (call_bad_pointer(msg))
			return real_sendmsg(fd, msg, flags);
		pass_sent(msg);
		n = real_sendmsg(fd, msg, flags);
		if (n < 0)
			pass_failed(msg);
		return n;
	}
	if (!call_bad_pointer(msg) && msg->msg_iovlen > IOV_MAX)
		return call_end(f, -EMSGSIZE);
	return call_end_size(f, tx_message(fd, f, msg, flags));
}

int shim_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	struct file *f = sending_file(fd, n && msgs ? msgs[0].msg_hdr.msg_name : NULL);
	unsigned done;

	if (!f)
		return real_sendmmsg(fd, msgs, n, flags);
	for (done = 0; done < n; done++) {
		ssize_t sent = tx_message(fd, f, &msgs[done].msg_hdr, flags);

		if (sent < 0)
			return call_end(f, done ? (int)done : (int)sent);
		msgs[done].msg_len = (unsigned)sent;
	}
	return call_end(f, (int)done);
}

/* A datagram for each piece, as large as Linux makes them at the most. */
static ssize_t send_file_datagrams(int out, struct file *f, int in, off_t at, size_t n)
{
	char buf[32768];
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(
			in, buf, n - done < sizeof(buf) ? n - done : sizeof(buf), at + (off_t)done);
		struct iovec iov = {buf, got > 0 ? (size_t)got : 0};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent = got < 0 ? -errno : got > 0 ? tx_message(out, f, &msg, 0) : 0;

		if (sent <= 0)
			return done ? (ssize_t)done : sent;
		done += (size_t)sent;
	}
	return (ssize_t)done;
}

/* Programs name any length to mean the whole file. What is sent as "more follows" must be followed.
 */
static size_t file_rest(int in, off_t at, size_t n)
{
	struct stat st;

	if (n > 65536 && fstat(in, &st) == 0 && S_ISREG(st.st_mode) && st.st_size - at < (off_t)n)
		return st.st_size > at ? (size_t)(st.st_size - at) : 0;
	return n;
}

/* The file's offset moves by what was sent, never by what was only read. */
static ssize_t send_file(int out, struct file *f, int in, off_t *offset, size_t n)
{
	off_t at = offset ? *offset : lseek(in, 0, SEEK_CUR);
	ssize_t sent;

	if (at < 0)
		return -(offset ? EINVAL : errno);
	sent = f->type == SOCK_DGRAM ? send_file_datagrams(out, f, in, at, n)
				     : tx_file(f, in, at, file_rest(in, at, n));
	if (sent > 0)
		at += sent;
	if (offset)
		*offset = at;
	else
		lseek(in, at, SEEK_SET);
	return sent;
}

ssize_t shim_sendfile(int out, int in, off_t *offset, size_t n)
{
	struct file *f = engine_file(out);

	return f ? call_end_size(f, send_file(out, f, in, offset, n))
		 : real_sendfile(out, in, offset, n);
}

ssize_t shim_sendfile64(int out, int in, off_t *offset, size_t n)
{
	return shim_sendfile(out, in, offset, n);
}

/* The kernel would move the shadow's bytes, of which there are none. EINVAL is what Linux gives for
 * a file that cannot be spliced, and sends programs back to reading and writing. */
ssize_t shim_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	struct file *f = engine_file(in);

	if (!f)
		f = engine_file(out);
	return f ? call_end_size(f, -EINVAL) : real_splice(in, in_at, out, out_at, n, flags);
}

/* --- options ---------------------------------------------------------------------------------- */

int shim_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct file *f = engine_file(fd);

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

	if (flags != 0 || first > last)
		return real_close_range(first, last, flags);
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
		real_close(fd);
		return call_end(f, -EMFILE);
	}
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

	if (fd == to || real_fcntl(fd, F_GETFD) < 0)
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
		f->mux.rec->flags = (uint32_t)arg & FLAGS_KEPT;
		return call_end(f, 0);
	}
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

static int bytes_unread(struct file *f)
{
	const struct cv_sock *rec = f->mux.rec;

	if (rec->status & CV_ST_LISTENING)
		return -EINVAL;
	if (f->type == SOCK_DGRAM)
		return rx_next_bytes(f);
	return (int)(__atomic_load_n(&rec->rx_produced, __ATOMIC_ACQUIRE) - rec->rx_consumed);
}

static int engine_ioctl(int fd, struct file *f, unsigned long request, void *arg)
{
	struct cv_sock *rec = f->mux.rec;
	int value;

	switch (request) {
	case FIONREAD:
		value = bytes_unread(f);
		break;
	case SIOCOUTQ:
		value = (int)(rec->tx_pos - __atomic_load_n(&rec->tx_acked, __ATOMIC_ACQUIRE));
		break;
	case SIOCOUTQNSD:
		if (f->type != SOCK_STREAM)
			return real_ioctl(fd, request, arg) < 0 ? -errno : 0;
		value = rec->status & CV_ST_LISTENING ? -EINVAL : option_unsent(f);
		break;
	case SIOCATMARK:
		value = f->type == SOCK_STREAM && rx_at_mark(f);
		break;
	case FIONBIO:
		if (!arg)
			return -EFAULT;
		memcpy(&value, arg, sizeof(value));
		rec->flags = value ? rec->flags | O_NONBLOCK : rec->flags & ~(uint32_t)O_NONBLOCK;
		return 0;
	default:
		return real_ioctl(fd, request, arg) < 0 ? -errno : 0;
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
	f = engine_file(fd);
	return f ? call_end(f, engine_ioctl(fd, f, request, arg)) : real_ioctl(fd, request, arg);
}

int shim_sockatmark(int fd)
{
	int value;

	return shim_ioctl(fd, SIOCATMARK, &value) < 0 ? -1 : value;
}
