/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of the program that move data: what is the kernel's goes there, ours to rx.c and tx.c. Owns: nothing. Calls that
 * act on descriptors are in descriptor.c.
 */
#include "shim/call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sock.h"
#include "shim/undecided.h"

static struct iovec one_part(const void *buf, size_t n)
{
	return (struct iovec){(void *)(uintptr_t)buf, msg_bytes_cut(n)};
}

/* --- receiving -------------------------------------------------------------------------------- */

/* As call_point_file; a call that may wait on a datagram socket does so here while that is undecided. *error: 0, or why
 * the wait ended for the call, which is for the caller to return. */
static struct file *receiving_file(int fd, int flags, int *error)
{
	struct file *f;

	pthread_testcancel();
	*error = 0;
	f = fd_get(fd);
	if (f && mux_is_awaited(&f->mux) && !(flags & MSG_DONTWAIT))
		*error = undecided_wait(fd, f);
	if (f && !f->mux.rec && !*error) {
		file_put(f);
		return NULL;
	}
	return f;
}

static ssize_t receive(int fd, struct file *f, void *buf, size_t n, int flags)
{
	struct iovec iov = one_part(buf, n);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return call_end_size(f, rx_message(fd, f, &msg, flags));
}

ssize_t shim_read(int fd, void *buf, size_t n)
{
	int error;
	struct file *f = receiving_file(fd, n == 0 ? MSG_DONTWAIT : 0, &error);

	if (error)
		return call_end(f, error);
	if (f && n == 0) /* unlike recv() it looks at nothing (read(2)) */
		return call_end(f, 0);
	if (f && call_bad_length(n))
		return call_end(f, -EFAULT);
	return f ? receive(fd, f, buf, n, 0) : real_read(fd, buf, n);
}

ssize_t shim_recv(int fd, void *buf, size_t n, int flags)
{
	int error;
	struct file *f = receiving_file(fd, flags, &error);

	if (error)
		return call_end(f, error);
	return f ? receive(fd, f, buf, n, flags) : real_recv(fd, buf, n, flags);
}

/* readv(), writev() and their kin, on a socket of ours. */
static ssize_t vectors(int fd, struct file *f, const struct iovec *iov, int n, int flags,
	ssize_t (*message)(int fd, struct file *f, struct msghdr *msg, int flags))
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	int refused = n < 0 || n > IOV_MAX ? -EINVAL : msg_refuse(&msg);

	if (refused || msg_bytes(&msg) == 0) /* an empty datagram is neither sent nor received */
		return call_end(f, refused);
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
	int error;
	struct file *f = receiving_file(fd, 0, &error);

	if (error)
		return call_end(f, error);
	return f ? vectors(fd, f, iov, n, 0, rx_message) : real_readv(fd, iov, n);
}

ssize_t shim_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	struct file *f = call_point_file(fd);
	int refused = vectors_refuse(at, flags);

	if (!f)
		return real_preadv2(fd, iov, n, at, flags);
	return refused ? call_end(f, refused)
		       : vectors(fd, f, iov, n, vectors_flags(flags), rx_message);
}

ssize_t shim_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	int error;
	struct file *f = receiving_file(fd, flags, &error);
	struct iovec iov = one_part(buf, n);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t result;

	if (error)
		return call_end(f, error);
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
	int error;
	struct file *f = receiving_file(fd, flags, &error);

	if (error)
		return call_end(f, error);
	if (!f) {
		ssize_t n = real_recvmsg(fd, msg, flags);

		if (n >= 0)
			pass_received(msg, flags);
		return n;
	}
	return call_end_size(f, rx_message(fd, f, msg, flags));
}

/* What is left of recvmmsg(2)'s timeout; false: nothing. */
static bool time_goes_on(struct timespec *left, const struct timespec *total, uint64_t began_ns)
{
	uint64_t spent = wait_now_ns() - began_ns;

	left->tv_sec = total->tv_sec - (time_t)(spent / 1000000000u);
	left->tv_nsec = total->tv_nsec - (long)(spent % 1000000000u);
	if (left->tv_nsec < 0) {
		left->tv_sec--;
		left->tv_nsec += 1000000000;
	}
	if (left->tv_sec < 0)
		*left = (struct timespec){0, 0};
	return left->tv_sec != 0 || left->tv_nsec != 0;
}

/* Messages until one does not come; the number, or -errno of the first. Its time is looked at after each only, as Linux
 * does. */
static int receive_many(int fd, struct file *f, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	const struct timespec total = timeout ? *timeout : (struct timespec){0, 0};
	uint64_t began = timeout ? wait_now_ns() : 0;
	unsigned done = 0;

	while (done < n && !(done > 0 && sock_has_error(f))) { /* the error is the next call's */
		ssize_t got = rx_message(fd, f, &msgs[done].msg_hdr, flags & ~MSG_WAITFORONE);

		if (got < 0)
			return done ? (int)done : (int)got;
		msgs[done++].msg_len = (unsigned)got;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (timeout && !time_goes_on(timeout, &total, began))
			break;
	}
	return (int)done;
}

int shim_recvmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags, struct timespec *timeout)
{
	int error;
	struct file *f = receiving_file(fd, flags, &error);

	if (error)
		return call_end(f, error);
	if (!f) {
		int got = real_recvmmsg(fd, msgs, n, flags, timeout);

		for (int i = 0; i < got; i++)
			pass_received(&msgs[i].msg_hdr, flags);
		return got;
	}
	if (timeout && call_bad_pointer(timeout))
		return call_end(f, -EFAULT);
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000))
		return call_end(f, -EINVAL);
	return call_end(f, receive_many(fd, f, msgs, n, flags, timeout));
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

/* As call_point_file; a datagram socket that sends before it is bound is decided here. *error: 0, or why it cannot be,
 * which is for the caller to return: the kernel's it is not. */
static struct file *sending_file(int fd, const void *to, int *error)
{
	struct file *f;

	pthread_testcancel();
	*error = 0;
	f = fd_get(fd);
	if (f && !f->mux.rec && f->mux.undecided && to && f->type == SOCK_DGRAM)
		*error = sock_autobind(fd, f);
	if (*error == -EADDRINUSE ||
		*error == -EALREADY) /* no port is free, or a handler interrupted who chooses one */
		*error = -EAGAIN;
	if (f && !f->mux.rec && !*error) {
		file_put(f);
		return NULL;
	}
	return f;
}

static ssize_t transmit(int fd, struct file *f, const void *buf, size_t n, int flags)
{
	struct iovec iov = one_part(buf, n);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return call_end_size(f, tx_message(fd, f, &msg, flags));
}

ssize_t shim_write(int fd, const void *buf, size_t n)
{
	struct file *f = call_point_file(fd);

	if (f && call_bad_length(n))
		return call_end(f, -EFAULT);
	return f ? transmit(fd, f, buf, n, 0) : real_write(fd, buf, n);
}

ssize_t shim_send(int fd, const void *buf, size_t n, int flags)
{
	struct file *f = call_point_file(fd);

	return f ? transmit(fd, f, buf, n, flags) : real_send(fd, buf, n, flags);
}

ssize_t shim_writev(int fd, const struct iovec *iov, int n)
{
	struct file *f = call_point_file(fd);

	return f ? vectors(fd, f, iov, n, 0, transmit_message) : real_writev(fd, iov, n);
}

ssize_t shim_pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	struct file *f = call_point_file(fd);
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
	struct iovec iov = one_part(buf, n);
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct file *f;
	int error;

	if (begun < 0)
		return -1;
	if (begun == 0) {
		flags &= ~MSG_FASTOPEN;
		addr = NULL;
		len = 0;
	}
	f = sending_file(fd, addr, &error);
	if (!f)
		return real_sendto(fd, buf, n, flags, addr, len);
	if (error)
		return call_end(f, error);
	msg.msg_name = (void *)(uintptr_t)addr;
	msg.msg_namelen = addr ? len : 0;
	return call_end_size(f, tx_message(fd, f, &msg, flags));
}

ssize_t shim_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct msghdr rest;
	struct file *f;
	int error;

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
	f = sending_file(fd, call_bad_pointer(msg) ? NULL : msg->msg_name, &error);
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
	if (error)
		return call_end(f, error);
	return call_end_size(f, tx_message(fd, f, msg, flags));
}

/* Messages to the kernel's sockets may carry ours. */
static int send_rights(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	int sent;

	for (unsigned i = 0; msgs && i < n; i++)
		pass_sent(&msgs[i].msg_hdr);
	sent = real_sendmmsg(fd, msgs, n, flags);
	for (unsigned i = sent < 0 ? 0 : (unsigned)sent; msgs && i < n; i++)
		pass_failed(&msgs[i].msg_hdr);
	return sent;
}

int shim_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
	int error;
	struct file *f = sending_file(fd, n && msgs ? msgs[0].msg_hdr.msg_name : NULL, &error);
	unsigned done;

	n = n < IOV_MAX ? n : IOV_MAX; /* as many as Linux takes of messages, too */
	if (!f)
		return send_rights(fd, msgs, n, flags);
	if (error)
		return call_end(f, error);
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
		ssize_t got = quiet_pread(in, buf, n - done < sizeof(buf) ? n - done : sizeof(buf), at + (off_t)done);
		struct iovec iov = {buf, got > 0 ? (size_t)got : 0};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t sent = got < 0 ? -errno : got > 0 ? tx_message(out, f, &msg, 0) : 0;

		if (sent <= 0)
			return done ? (ssize_t)done : sent;
		done += (size_t)sent;
	}
	return (ssize_t)done;
}

/* The file's offset moves by what was sent, never by what was only read. */
static ssize_t send_file(int out, struct file *f, int in, off_t *offset, size_t n)
{
	off_t at = offset ? *offset : lseek(in, 0, SEEK_CUR);
	ssize_t sent;

	if (at < 0) /* what cannot be sought in cannot be sent from */
		return offset || errno == ESPIPE ? -EINVAL : -errno;
	sent = f->type == SOCK_DGRAM ? send_file_datagrams(out, f, in, at, n)
				     : tx_file(f, in, at, n);
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
	struct file *f = call_engine_file(out);

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
	struct file *f = call_point_file(in);

	if (!f)
		f = call_engine_file(out);
	return f ? call_end_size(f, -EINVAL) : real_splice(in, in_at, out, out_at, n, flags);
}
