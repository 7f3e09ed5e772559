/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending on an engine socket: one copy into the thread's arena, one command a buffer.
 * Owns: tx_pos. Does not own: the arena's allocator. Called by: call.c.
 * Invariant: under tx_lock a command's position is tx_pos, and tx_pos grows after the post.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/ancillary.h"
#include "shim/call.h"
#include "shim/real.h"
#include "shim/sock.h"

#define BUFFER_BYTES 65536u
#define NO_BUFFER                                                                                                      \
	(-EUSERS) /* the thread's send buffers are used up: it waits. Without a lane, which has them, it is -ENOBUFS   \
		   */
#define DATAGRAM_MAX_V4 65507u
#define DATAGRAM_MAX_V6 65527u

static size_t gather(const struct msghdr *msg, size_t at, uint8_t *to, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < msg->msg_iovlen && done < n; i++) {
		const struct iovec *v = &msg->msg_iov[i];
		size_t take;

		if (at >= v->iov_len) {
			at -= v->iov_len;
			continue;
		}
		take = v->iov_len - at < n - done ? v->iov_len - at : n - done;
		memcpy(to + done, (const uint8_t *)v->iov_base + at, take);
		done += take;
		at = 0;
	}
	return done;
}

static uint64_t room(const struct cv_sock *rec)
{
	uint64_t queued = rec->tx_pos - __atomic_load_n(&rec->tx_acked, __ATOMIC_ACQUIRE);
	uint32_t sndbuf = __atomic_load_n(&rec->sndbuf, __ATOMIC_RELAXED);

	if (queued >= sndbuf || !wait_unsent_is_low(rec, 1))
		return 0;
	/* Bounded by what is unsent, one buffer goes however large it is, as one of the kernel's does. */
	if (__atomic_load_n(&rec->notsent_lowat, __ATOMIC_RELAXED) != 0 && sndbuf - queued > BUFFER_BYTES)
		return BUFFER_BYTES;
	return sndbuf - queued;
}

/* 0: may send; 1: not yet (connecting); -errno. When a part of the message has gone, the call will return how much,
 * without a signal, and the error that ended it is the next call's. */
static int stream_state(struct file *f, int flags, bool begun)
{
	uint32_t status = __atomic_load_n(&f->mux.rec->status, __ATOMIC_ACQUIRE);
	int error = 0;

	if (!begun)
		error = sock_take_error(f);
	else if (sock_is_dead(f))
		error = EPIPE;
	if (error)
		return -error;
	if ((status & (CV_ST_CONNECTING | CV_ST_DEAD)) == CV_ST_CONNECTING)
		return 1;
	if ((status & (CV_ST_TX_SHUT | CV_ST_DEAD)) || !(status & CV_ST_CONNECTED) ||
		__atomic_load_n(&f->mux.rec->tx_shut, __ATOMIC_ACQUIRE)) {
		inline_pass();
		if (!begun && !(flags & MSG_NOSIGNAL))
			raise(SIGPIPE);
		return -EPIPE;
	}
	return 0;
}

/* What a stream sends: a message's bytes, or a file's, which are read straight into the send
 * buffer. */
struct source {
	const struct msghdr *msg; /* NULL: the file */
	int file;
	off_t file_at; /* of the first byte */
	size_t bytes;
};

/* Bytes from `at` on of the source, up to n; 0: the file ends here; -errno. */
static ssize_t source_read(const struct source *s, size_t at, void *to, size_t n)
{
	ssize_t got;

	if (s->msg)
		return (ssize_t)gather(s->msg, at, to, n);
	got = quiet_pread(s->file, to, n, s->file_at + (off_t)at);
	return got < 0 ? -errno : got;
}

/* Whether bytes follow those before `at`. Programs name any length to mean the whole file. */
static bool source_goes_on(const struct source *s, size_t at)
{
	struct stat st;

	return s->msg || real_fstat(s->file, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size - s->file_at > (off_t)at;
}

/* Sends up to n bytes at once. > 0 bytes, 0: the source has no more, -EAGAIN: no room, NO_BUFFER, SOCK_OWN_LOCK,
 * -errno. */
static ssize_t stream_put(struct file *f, const struct source *src, size_t at, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	struct cv_command c = {.op = CV_CMD_SEND, .sock = f->mux.handle};
	struct lane *lane;
	uint64_t free_bytes;
	size_t left = src->bytes - at, n = left;
	uint32_t size = 0;
	ssize_t result = -EAGAIN;

	if (!sock_lock(f, &rec->tx_lock))
		return sock_is_dead(f) ? -ENETDOWN : SOCK_OWN_LOCK;
	lane = lane_enter(sock_link(f), rec->worker);
	if (!lane) {
		sock_unlock(&rec->tx_lock);
		return sock_is_dead(f) ? -ENETDOWN : -ENOBUFS;
	}
	free_bytes = room(rec);
	if (n > BUFFER_BYTES)
		n = BUFFER_BYTES;
	if (free_bytes > 0) {
		if (n > free_bytes)
			n = (size_t)free_bytes;
		c.off = lane_buffer(lane, (uint32_t)n, &size);
		result = c.off == TXBUF_NONE ? NO_BUFFER : 0;
	}
	if (result == 0) {
		if (n > size)
			n = size;
		result = source_read(src, at, sock_link(f)->base + c.off, n);
		if (result <= 0)
			lane_buffer_give(lane, c.off);
	}
	if (result > 0) {
		if ((size_t)result < n) /* the file ends before its time */
			left = (size_t)result;
		n = (size_t)result;
		c.len = (uint32_t)n;
		c.pos = rec->tx_pos;
		/* Only the message's last buffer ends it; one that no other will follow at once
		 * must not wait for it. */
		if (n < left)
			flags &= ~MSG_OOB;
		if (n < left && n < free_bytes && rec->notsent_lowat == 0 && source_goes_on(src, at + n))
			flags |= MSG_MORE;
		c.flags = (uint8_t)((flags & MSG_MORE ? CV_F_MORE : 0) |
				    (flags & MSG_OOB ? CV_F_URGENT : 0));
		result = lane_post(lane, &c);
		if (result == 0) {
			__atomic_store_n(&rec->tx_pos, c.pos + n, __ATOMIC_RELEASE);
			result = (ssize_t)n;
		}
	}
	lane_leave(lane);
	sock_unlock(&rec->tx_lock);
	return result;
}

/* The arena is full: until the engine gives buffers back. As wait_sock. */
static int wait_buffer(struct file *f, uint64_t deadline)
{
	struct lane *lane = lane_enter(sock_link(f), f->mux.rec->worker);
	struct wait_lane *w;

	if (!lane)
		return -ENOBUFS;
	w = &lane->wait;
	lane_leave(lane);
	return wait_completion(w, &f->mux, w->lane->comp_head, deadline);
}

/* > 0: try again; 0: time is over; -errno. */
static int stream_wait(struct file *f, ssize_t why, uint64_t deadline)
{
	if (why == NO_BUFFER)
		return wait_buffer(f, deadline);
	wait_want_room(f->mux.rec);
	if (room(f->mux.rec) > 0)
		return 1;
	return wait_sock(&f->mux, POLLOUT, -1, deadline);
}

static ssize_t stream_send(struct file *f, const struct source *src, int flags)
{
	struct cv_sock *rec = f->mux.rec;
	uint64_t deadline = 0;
	size_t done = 0;

	for (;;) {
		int state = stream_state(f, flags, done > 0), waited;
		ssize_t n = -EAGAIN;

		if (state < 0)
			return done ? (ssize_t)done : state;
		if (src->bytes == 0 && state == 0)
			return 0;
		if (state == 0)
			n = stream_put(f, src, done, flags);
		if (n > 0) {
			done += (size_t)n;
			if (done == src->bytes)
				return (ssize_t)done;
			continue;
		}
		if (n == 0)
			return (ssize_t)done;
		if (n != -EAGAIN && n != NO_BUFFER)
			return done ? (ssize_t)done : n == SOCK_OWN_LOCK ? -EAGAIN : n;
		if (!sock_waits(f, flags)) {
			wait_want_room(rec);
			if (state == 0 && n == -EAGAIN && room(rec) > 0)
				continue;
			if (n == NO_BUFFER)
				mux_file_kick(&f->mux);
			return done ? (ssize_t)done : -EAGAIN;
		}
		if (deadline == 0)
			deadline = wait_deadline(rec->sndtimeo_ns);
		waited = state == 1 ? wait_sock(&f->mux, POLLOUT, -1, deadline)
				    : stream_wait(f, n, deadline);
		if (waited <= 0)
			return done ? (ssize_t)done : waited == 0 ? -EAGAIN : waited;
	}
}

/* What one datagram is sent by. */
struct datagram {
	const struct msghdr *msg;
	size_t bytes;
	const struct cv_endpoint *to; /* NULL: the peer */
	uint8_t family;               /* enum cv_family of where it goes */
	bool more;
	bool answer; /* it may be refused, which the caller is to hear of this one */
	const struct cv_send_with *with; /* NULL: nothing */
};

/* Puts the message into the buffer and the command onto the lane. */
static ssize_t datagram_post(struct file *f, struct lane *lane, const struct datagram *d, struct cv_command *c)
{
	struct cv_sock *rec = f->mux.rec;
	uint8_t *to = sock_link(f)->base + c->off;
	int result;

	if (d->with) {
		memcpy(to, d->with, sizeof(*d->with));
		to += sizeof(*d->with);
	}
	gather(d->msg, 0, to, d->bytes);
	c->pos = rec->tx_pos;
	result = d->answer ? lane_call(lane, c) : lane_post(lane, c);
	if (result == 0 || d->answer) /* refused, it was taken all the same */
		__atomic_store_n(&rec->tx_pos, c->pos + d->bytes, __ATOMIC_RELEASE);
	return result == 0 ? (ssize_t)d->bytes : result == -EAGAIN || result == -ENOBUFS ? NO_BUFFER : result;
}

/* One datagram to the engine; -EAGAIN, NO_BUFFER, SOCK_OWN_LOCK as stream_put. */
static ssize_t datagram_put(struct file *f, const struct datagram *d)
{
	struct cv_sock *rec = f->mux.rec;
	struct cv_command c = {.op = CV_CMD_SEND,
		.sock = f->mux.handle,
		.len = (uint32_t)d->bytes,
		.flags = (uint8_t)((d->with ? CV_F_WITH : 0) | (d->more ? CV_F_MORE : 0))};
	size_t n = d->bytes + (d->with ? sizeof(*d->with) : 0);
	struct lane *lane;
	uint32_t size = 0;
	ssize_t result = -EAGAIN;

	if (!sock_lock(f, &rec->tx_lock))
		return sock_is_dead(f) ? -ENETDOWN : SOCK_OWN_LOCK;
	lane = lane_enter(sock_link(f), rec->worker);
	if (!lane) {
		sock_unlock(&rec->tx_lock);
		return sock_is_dead(f) ? -ENETDOWN : -ENOBUFS;
	}
	if (d->to) {
		c.family = d->family;
		c.peer = *d->to;
	}
	/* As Linux: the last datagram may go over the limit. */
	if (room(rec) > 0) {
		c.off = lane_buffer(lane, n ? (uint32_t)n : 1, &size);
		result = c.off == TXBUF_NONE ? NO_BUFFER : 0;
		if (result == 0 && size < n) {
			lane_buffer_give(lane, c.off);
			result = NO_BUFFER;
		}
	}
	if (result == 0)
		result = datagram_post(f, lane, d, &c);
	lane_leave(lane);
	sock_unlock(&rec->tx_lock);
	return result;
}

static int datagram_target(
	struct file *f, const struct msghdr *msg, struct cv_endpoint *to, bool *kernel)
{
	int family, error;

	*kernel = false;
	if (!msg->msg_name)
		return f->mux.rec->status & CV_ST_CONNECTED ? 0 : -EDESTADDRREQ;
	error = address_in(msg->msg_name, msg->msg_namelen, to, &family);
	if (error)
		return error;
	if (f->family == AF_INET && family != AF_INET)
		return -EAFNOSUPPORT;
	if (to->port == 0)
		return -EINVAL;
	*kernel = (f->mux.both || f->half_asleep) && link_side_of(sock_link(f), to, false) == LINK_KERNEL && !mcast_to_engine(f, to);
	return 0;
}

/* Everything that is known before the engine is asked. 0, or -errno. */
static int datagram_prepare(
	struct file *f, const struct msghdr *msg, int flags, struct datagram *d, struct cv_send_with *with)
{
	const struct cv_sock *rec = f->mux.rec;
	const uint8_t *addr = d->to ? d->to->addr : rec->peer.addr;
	int error;

	d->family = address_family(d->to ? d->to : &rec->peer);
	d->bytes = msg_bytes(msg);
	error = ancillary_take(f, msg, d->family, with);
	if (error < 0)
		return error;
	if (error > 0)
		d->with = with;
	if (d->bytes > (d->family == CV_AF_INET6 ? DATAGRAM_MAX_V6 : DATAGRAM_MAX_V4) ||
		(d->with && d->bytes + sizeof(*with) > TXBUF_SLAB_BYTES))
		return -EMSGSIZE;
	d->more = (flags & MSG_MORE) != 0;
	/* What looks like a broadcast address needs leave (SO_BROADCAST). */
	d->answer = d->more || d->with || (rec->wants & WANT_ANSWER) ||
		(d->family == CV_AF_INET && addr[15] == 255);
	return 0;
}

/* The kernel's half of a wildcard socket never waits by itself. */
static ssize_t kernel_send(int fd, struct file *f, const struct msghdr *msg, int flags, uint64_t deadline)
{
	for (;;) {
		ssize_t sent = quiet_sendmsg(fd, msg, flags);
		int result;

		if (sent >= 0)
			return sent;
		if (errno != EAGAIN || !sock_waits(f, flags))
			return -errno;
		result = wait_kernel_half(&f->mux, POLLOUT, fd, deadline);
		if (result <= 0)
			return result == 0 ? -EAGAIN : result;
	}
}

static ssize_t datagram_send(int fd, struct file *f, const struct msghdr *msg, int flags)
{
	uint64_t deadline = wait_deadline(f->mux.rec->sndtimeo_ns);
	struct datagram d = {.msg = msg};
	struct cv_send_with with;
	struct cv_endpoint to;
	bool kernel;
	int error = sock_take_error(f);

	if (error)
		return -error;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (f->mux.rec->tx_shut)
		return -EPIPE;
	error = datagram_target(f, msg, &to, &kernel);
	if (error)
		return error;
	if (msg_is_bad(msg))
		return -EFAULT;
	if (kernel)
		return kernel_send(fd, f, msg, flags, deadline);
	d.to = msg->msg_name ? &to : NULL;
	error = datagram_prepare(f, msg, flags, &d, &with);
	if (error)
		return error;
	for (;;) {
		ssize_t sent = datagram_put(f, &d);

		if (sent != -EAGAIN && sent != NO_BUFFER)
			return sent == SOCK_OWN_LOCK ? -EAGAIN : sent;
		if (!sock_waits(f, flags)) {
			wait_want_room(f->mux.rec);
			if (sent == -EAGAIN && room(f->mux.rec) > 0)
				continue;
			if (sent == NO_BUFFER)
				mux_file_kick(&f->mux);
			return -EAGAIN;
		}
		error = stream_wait(f, sent, deadline);
		if (error <= 0)
			return error == 0 ? -EAGAIN : error;
	}
}

ssize_t tx_message(int fd, struct file *f, const struct msghdr *msg, int flags)
{
	struct source src = {.msg = msg};
	int error = msg_refuse(msg);

	if (error)
		return error;
	wait_link_check(f->mux.link);
	if (f->type == SOCK_DGRAM)
		return datagram_send(fd, f, msg, flags);
	if (msg_is_bad(msg))
		return -EFAULT;
	src.bytes = msg_bytes(msg);
	return stream_send(f, &src, flags);
}

ssize_t tx_file(struct file *f, int in, off_t at, size_t n)
{
	struct source src = {.file = in, .file_at = at, .bytes = n};

	wait_link_check(f->mux.link);
	return stream_send(f, &src, 0);
}
