/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose a socket is: it is undecided until it is bound, connected, or sends; then the engine's, the kernel's, or both. Owns: that
 * decision, and making the engine's socket. Does not own: what is called afterwards (sock.c), the kernel sockets of undecided ones
 * (lazy.c).
 *
 * One thread decides (sock_decide_begin()); the others see the engine's socket when it is all there, never before: it is made in a
 * copy of the file.
 */
#include "shim/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "shim/real.h"
#include "shim/sigio.h"
#include "shim/undecided.h"

#define PORT_TRIES 64   /* ports that one side has free and the other not */
#define WORKER_TRIES 8  /* of a UDP socket, while others bind and end */

/* Told at CULVERT_LOG=info: what the engine does not serve is never so unseen. */
static void to_kernel(int fd, struct file *f, const char *why)
{
	char text[96];

	f->mux.undecided = false; /* for who waits for the decision */
	snprintf(text, sizeof(text), "descriptor %d goes to the kernel: %s", fd, why);
	link_say(LINK_INFO, text);
	mux_sock_undecided_gone(&f->mux);
	undecided_told(f);
	fd_forget(f);
}

/* An engine socket of that worker's for fd, in a copy of its file: worker 0's when it binds (0015). decided() gives it
 * to the file itself. */
static int to_engine(int fd, struct file *f, struct link *l, uint32_t worker)
{
	struct lane *lane = lane_enter(l, worker);
	struct cv_command c = {.op = CV_CMD_OPEN,
		.family = f->family == AF_INET ? CV_AF_INET : CV_AF_INET6,
		.type = f->type == SOCK_STREAM ? CV_STREAM : CV_DGRAM};
	int handle, flags;

	if (!lane)
		return lane_error(l);
	handle = lane_call(lane, &c);
	lane_leave(lane);
	if (handle < 0)
		return handle;
	sock_attach(f, l, (uint32_t)handle);
	flags = real_fcntl(fd, F_GETFL);
	f->mux.rec->flags = flags > 0 ? (uint32_t)flags & (O_NONBLOCK | O_ASYNC) : 0;
	f->mux.rec->rcvlowat = 1;
	option_replay(fd, f);
	return 0;
}

static void decided(int fd, struct file *f, const struct file *made, bool both)
{
	f->mux.both = both;
	/* Looked at by accept and recv after the engine's queue: it must never wait. */
	if (both)
		real_fcntl(fd, F_SETFL, real_fcntl(fd, F_GETFL) | O_NONBLOCK);
	sock_attach(f, sock_link(made), made->mux.handle);
	f->mux.undecided = false;
	mux_sock_decided(fd, &f->mux);
	undecided_told(f);
	sigio_decided(fd, f);
}

/* The engine would not: the copy is as the file is, undecided. */
static void undo(struct file *f)
{
	sock_close(f);
	f->closed = false;
	f->mux.rec = NULL;
	f->mux.link = NULL;
	f->mux.handle = 0;
}

static int shadow_flag(int fd, int level, int name)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return real_getsockopt(fd, level, name, &v, &len) == 0 && v;
}

/* -EXDEV: the port is another worker's, *owner's. */
static int engine_bind(int fd, struct file *f, const struct cv_endpoint *end, uint32_t *owner)
{
	uint32_t len = sizeof(*owner);
	struct cv_command c = {.op = CV_CMD_BIND, .peer = *end, .family = address_family(end)};

	c.arg = (shadow_flag(fd, SOL_SOCKET, SO_REUSEADDR) ? CV_BIND_REUSEADDR : 0u) |
		(shadow_flag(fd, SOL_SOCKET, SO_REUSEPORT) ? CV_BIND_REUSEPORT : 0u);
	if (f->family == AF_INET6 && shadow_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY))
		c.arg |= CV_BIND_V6ONLY;
	return sock_call(f, &c, owner, &len);
}

/* An engine socket for fd, bound: a listener-to-be is worker 0's. Of UDP's ports each is one worker's, unless
 * its sockets share it (stack/core/crew.h): where it is in use, there its further sockets are opened. */
static int to_engine_bound(int fd, struct file *f, struct link *l, const struct cv_endpoint *end)
{
	uint32_t worker = f->type == SOCK_DGRAM ? link_worker_next(l) : 0;
	int error;

	for (int tries = 0; tries < WORKER_TRIES; tries++) {
		error = to_engine(fd, f, l, worker);
		if (error)
			return error;
		error = engine_bind(fd, f, end, &worker);
		if (error >= 0)
			return 0;
		undo(f);
		if (error != -EXDEV)
			return error;
	}
	return -EADDRINUSE;
}

/* By both. The engine first: a kernel socket that is bound already could not be bound elsewhere when the engine has the port
 * in use. A port of nobody's choice is one that both have free. */
static int bind_both(int fd, struct file *f, struct link *l, const struct cv_endpoint *any)
{
	struct file made = *f;

	for (int tries = any->port == 0 ? PORT_TRIES : 1; tries > 0; tries--) {
		struct sockaddr_storage name;
		socklen_t len = sizeof(name);
		int error = to_engine_bound(fd, &made, l, any);

		if (error)
			return error;
		address_out(&made.mux.rec->local, f->family, (struct sockaddr *)&name, &len);
		if (real_bind(fd, (const struct sockaddr *)&name, len) == 0) {
			decided(fd, f, &made, true);
			return 0;
		}
		error = -errno;
		undo(&made);
		if (error != -EADDRINUSE)
			return error;
	}
	return -EADDRINUSE;
}

/* By the kernel alone, which knows what is wrong with a strange address. */
static int bind_kernel(int fd, struct file *f, const struct sockaddr *addr, socklen_t len, const char *why)
{
	if (real_bind(fd, addr, len) != 0)
		return -errno;
	to_kernel(fd, f, why);
	return 0;
}

static int bind_undecided(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	struct file made = *f;
	struct cv_endpoint end;
	int family, error = address_in(addr, len, &end, &family);
	struct link *l = error || family != f->family ? NULL : link_get();

	if (!l)
		return bind_kernel(fd, f, addr, len, "no engine, or not its family");
	if (address_is_any(&end)) {
		error = bind_both(fd, f, l, &end);
		return error == -ENETDOWN ? bind_kernel(fd, f, addr, len, "the engine is gone") : error;
	}
	if (link_side_of(l, &end, true) == LINK_KERNEL)
		return bind_kernel(fd, f, addr, len, "bound to an address that is not the engine's");
	error = to_engine_bound(fd, &made, l, &end);
	if (error)
		return error;
	decided(fd, f, &made, false);
	return 0;
}

/* It was bound by connect() and is so no more, after connect(AF_UNSPEC). */
static int bind_again(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	struct cv_endpoint end;
	uint32_t owner;
	int family, error;

	if (f->mux.both || (__atomic_load_n(&f->mux.rec->status, __ATOMIC_RELAXED) & CV_ST_BOUND))
		return -EINVAL;
	error = address_in(addr, len, &end, &family);
	if (error || family != f->family)
		return error ? error : -EAFNOSUPPORT;
	error = engine_bind(fd, f, &end, &owner);
	return error == -EXDEV ? -EADDRINUSE : error;
}

int sock_bind(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	int result = -EINVAL;

	if (!sock_decide_begin(f))
		return -EALREADY;
	if (f->mux.undecided)
		result = bind_undecided(fd, f, addr, len);
	else if (f->mux.rec)
		result = bind_again(fd, f, addr, len);
	else
		result = real_bind(fd, addr, len) == 0 ? 0 : -errno;
	sock_decide_end(f);
	return result;
}

int sock_autobind(int fd, struct file *f)
{
	struct sockaddr_storage any = {.ss_family = (sa_family_t)f->family};
	int result = 0;

	if (!sock_decide_begin(f))
		return -EALREADY;
	if (f->mux.undecided)
		result = bind_undecided(fd, f, (const struct sockaddr *)&any,
			f->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	sock_decide_end(f);
	return result;
}

/* --- connect ---------------------------------------------------------------------------------- */

/* to_engine() and engine_connect() in one command, for a stream socket that has no options to be
 * told before. */
static int open_and_connect(int fd, struct file *f, struct link *l, const struct cv_endpoint *end)
{
	struct file made = {.lazy_flags = 0};
	struct cv_command c = {.op = CV_CMD_OPEN,
		.flags = CV_F_CONNECT,
		.type = CV_STREAM,
		.peer = *end,
		.family = address_family(end),
		.arg = f->family == AF_INET ? CV_AF_INET : CV_AF_INET6};
	struct wait_lane *w = mux_lane(&l->wait);
	struct lane *lane = lane_enter(l, link_worker_next(l));
	int32_t result;
	int handle;

	if (!lane)
		return lane_error(l);
	c.len = w && !(f->lazy_flags & O_NONBLOCK) ? wait_watch_with(w) : 0;
	handle = lane_call(lane, &c);
	memcpy(&result, lane->wait.lane->reply, sizeof(result));
	lane_leave(lane);
	if (handle < 0)
		return handle;
	sock_attach(&made, l, (uint32_t)handle);
	made.mux.rec->flags = f->lazy_flags;
	made.mux.rec->rcvlowat = 1;
	f->placeholder = true;
	decided(fd, f, &made, false);
	__atomic_store_n(&f->lazy, false, __ATOMIC_RELEASE);
	if (c.len > 0)
		wait_watched(w, &f->mux);
	return result < 0 ? -link_errno(-result) : CONNECT_BEGUN;
}

static int open_to_connect(int fd, struct file *f, struct link *l)
{
	struct file made = *f;
	int error = to_engine(fd, &made, l, link_worker_next(l));

	if (error)
		return error;
	decided(fd, f, &made, false);
	return CONNECT_ENGINE;
}

/* Decides whose f is by the address that it connects to. Waits for nobody but the engine. */
static int connect_undecided(int fd, struct file *f, const struct cv_endpoint *end)
{
	struct link *l = link_get();
	int result = -ENETDOWN;

	if (l && link_side_of(l, end, false) != LINK_KERNEL)
		result = f->lazy ? open_and_connect(fd, f, l, end) : open_to_connect(fd, f, l);
	if (result != -ENETDOWN || f->mux.rec)
		return result;
	lazy_end(fd, f);
	to_kernel(fd, f, "connected to an address that the engine does not serve");
	return CONNECT_KERNEL;
}

int sock_connect_decide(int fd, struct file *f, const struct cv_endpoint *end)
{
	int result;

	if (!sock_decide_begin(f))
		return -EALREADY;
	if (f->mux.undecided)
		result = connect_undecided(fd, f, end);
	else /* another thread was first */
		result = f->mux.rec ? CONNECT_ENGINE : CONNECT_KERNEL;
	sock_decide_end(f);
	return result;
}
