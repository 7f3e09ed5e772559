/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a socket: undecided, then the engine's, the kernel's, or both; bind, listen, accept,
 * connect, shutdown, names. Owns: the decision. Does not own: data (rx.c, tx.c), what every call on an engine socket
 * needs (record.c), the kernel sockets of undecided ones (lazy.c).
 */
#include "shim/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/real.h"

#define PORT_TRIES 64   /* ports that one side has free and the other not */
#define WORKER_TRIES 8  /* of a UDP socket, while others bind and end */

/* --- the decision ----------------------------------------------------------------------------- */

/* What is decided for or against the engine is decided by one thread (sock_decide_begin()); the others see the engine's
 * socket when it is all there, never before: it is made in a copy of the file. */

/* Told at CULVERT_LOG=info: what the engine does not serve is never so unseen. */
static void to_kernel(int fd, struct file *f, const char *why)
{
	char text[96];

	f->mux.undecided = false; /* for who waits for the decision */
	snprintf(text, sizeof(text), "descriptor %d goes to the kernel: %s", fd, why);
	link_say(LINK_INFO, text);
	mux_sock_undecided_gone(&f->mux);
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
		return -ENETDOWN;
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

/* The kernel has bound it; the engine takes the same port. A port that only the engine has in use
 * is in use. */
static int bind_both(int fd, struct file *f, struct link *l)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct file made = *f;
	struct cv_endpoint end;
	int family, error;

	if (real_getsockname(fd, (struct sockaddr *)&name, &len) != 0)
		return -errno;
	error = address_in((const struct sockaddr *)&name, len, &end, &family);
	if (!error)
		error = to_engine_bound(fd, &made, l, &end);
	if (error)
		return error;
	decided(fd, f, &made, true);
	return 0;
}

/* A port of nobody's choice: the engine's, if the kernel has it free too. The other way round a
 * kernel socket that is bound already would have to be bound again. */
static int bind_both_anywhere(int fd, struct file *f, struct link *l, const struct cv_endpoint *any)
{
	struct file made = *f;

	for (int tries = 0; tries < PORT_TRIES; tries++) {
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

static int bind_wildcard(int fd, struct file *f, struct link *l, const struct sockaddr *addr, socklen_t len)
{
	if (real_bind(fd, addr, len) != 0)
		return -errno;
	if (!l || bind_both(fd, f, l) == -ENETDOWN)
		to_kernel(fd, f, l ? "the engine is gone" : "no engine, or not its family");
	else if (!f->mux.rec)
		return -EADDRINUSE;
	return 0;
}

static int bind_undecided(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	struct file made = *f;
	struct cv_endpoint end;
	struct link *l;
	int family, error;

	error = address_in(addr, len, &end, &family);
	l = error || family != f->family ? NULL : link_get();
	if (l && address_is_any(&end) && end.port == 0) {
		error = bind_both_anywhere(fd, f, l, &end);
		if (error != -ENETDOWN)
			return error;
	}
	if (!l || address_is_any(&end))
		return bind_wildcard(fd, f, l, addr, len);
	if (link_side_of(l, &end, true) == LINK_KERNEL) {
		if (real_bind(fd, addr, len) != 0)
			return -errno;
		to_kernel(fd, f, "bound to an address that is not the engine's");
		return 0;
	}
	error = to_engine_bound(fd, &made, l, &end);
	if (error)
		return error;
	decided(fd, f, &made, false);
	return 0;
}

static int sock_bind(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	int result = -EINVAL;

	if (!sock_decide_begin(f))
		return -EALREADY;
	if (f->mux.undecided)
		result = bind_undecided(fd, f, addr, len);
	else if (!f->mux.rec)
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

int shim_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct file *f = fd_get(fd);
	int result;

	if (!f || f->mux.ep)
		return call_put(f), real_bind(fd, addr, len);
	result = sock_bind(fd, f, addr, len);
	return call_end(f, result);
}

int shim_listen(int fd, int backlog)
{
	struct file *f = fd_get(fd);
	struct cv_command c = {.op = CV_CMD_LISTEN};
	int result = 0;

	if (!f || f->mux.ep)
		return call_put(f), real_listen(fd, backlog);
	if (!f->mux.rec && f->type == SOCK_STREAM)
		result = sock_autobind(fd, f);
	if (result < 0)
		return call_end(f, result);
	if (!f->mux.rec)
		return call_put(f), real_listen(fd, backlog);
	/* Linux takes a negative backlog for the largest. */
	c.arg = backlog < 0 || backlog > 4096 ? 4096u : (uint32_t)backlog;
	result = f->type == SOCK_STREAM ? sock_call(f, &c, NULL, NULL) : -EOPNOTSUPP;
	if (result == 0)
		(void)lazy_placeholder(); /* now, while there are numbers left */
	if (result == 0 && f->mux.both && real_listen(fd, backlog) != 0)
		result = -errno;
	return call_end(f, result);
}

/* --- accept ----------------------------------------------------------------------------------- */

static int adopt(struct file *listener, int fd, uint32_t handle, int flags, struct sockaddr *addr,
	socklen_t *len)
{
	struct file content = {.family = listener->family,
		.type = SOCK_STREAM,
		.placeholder = true,
		.bound = true};
	struct cv_command c = {.op = CV_CMD_ACCEPTED};
	struct cv_sock *rec;

	sock_attach(&content, sock_link(listener), handle);
	rec = content.mux.rec;
	rec->flags = flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	rec->rcvlowat = 1;
	rec->rcvtimeo_ns = listener->mux.rec->rcvtimeo_ns;
	rec->sndtimeo_ns = listener->mux.rec->sndtimeo_ns;
	rec->linger_on = listener->mux.rec->linger_on;
	rec->linger_s = listener->mux.rec->linger_s;
	rec->oob_inline = listener->mux.rec->oob_inline;
	sock_post(&content, &c);
	if (!fd_add(fd, &content)) {
		sock_close(&content);
		real_close(fd);
		return -ENOMEM;
	}
	if (addr && len)
		address_out(&rec->peer, content.family, addr, len);
	return fd;
}

static int try_accept(int fd, struct file *f, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint32_t handle;
	int result, got;

	if (wait_ready(&f->mux) & POLLIN) {
		if (addr && call_bad_pointer(len))
			return -EFAULT;
		if (addr && (int)*len < 0)
			return -EINVAL;
		got = lazy_reserve(flags & SOCK_CLOEXEC);
		if (got < 0)
			return got;
		result = rx_connection(f, &handle);
		if (result == 0)
			return adopt(f, got, handle, flags, addr, len);
		real_close(got);
	}
	if (!f->mux.both)
		return -EAGAIN;
	result = real_accept4(fd, addr, len, flags);
	return result < 0 ? -errno : result;
}

static int sock_accept(int fd, struct file *f, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint64_t deadline = wait_deadline(f->mux.rec->rcvtimeo_ns);
	bool turned = false;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return -EINVAL;
	if (f->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	wait_link_check(f->mux.link);
	for (;;) {
		int result;

		if (sock_is_dead(f))
			return -ENETDOWN;
		if (!(f->mux.rec->status & CV_ST_LISTENING))
			return -EINVAL;
		result = try_accept(fd, f, addr, len, flags);
		if (result != -EAGAIN)
			return result;
		if (!sock_waits(f, 0)) {
			if (turned || !(turned = wait_turn(f->mux.link)))
				return -EAGAIN;
			continue;
		}
		result = wait_sock(&f->mux, POLLIN, f->mux.both ? fd : -1, deadline);
		if (result <= 0)
			return result == 0 ? -EAGAIN : result;
	}
}

int shim_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct file *f = fd_get(fd);

	if (!f || !f->mux.rec)
		return call_put(f), real_accept4(fd, addr, len, flags);
	return call_end(f, sock_accept(fd, f, addr, len, flags));
}

int shim_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return shim_accept4(fd, addr, len, 0);
}

/* --- connect ---------------------------------------------------------------------------------- */

static int stream_connected(struct file *f)
{
	uint32_t status = __atomic_load_n(&f->mux.rec->status, __ATOMIC_ACQUIRE);
	int error = sock_take_error(f);

	if (error)
		return -error;
	if (status & CV_ST_DEAD)
		return -ECONNABORTED;
	return status & CV_ST_CONNECTED ? 0 : -EINPROGRESS;
}

static int wait_connected(struct file *f)
{
	uint64_t deadline = wait_deadline(f->mux.rec->sndtimeo_ns);
	int result;

	for (;;) {
		result = stream_connected(f);
		if (result != -EINPROGRESS || !sock_waits(f, 0))
			return result;
		result = wait_sock(&f->mux, POLLOUT, -1, deadline);
		if (result <= 0)
			return result == 0 ? -EINPROGRESS : result;
	}
}

/* The engine has begun to connect. */
static int stream_begun(struct file *f)
{
	/* Fast Open: nothing is sent before there is data, and that may be written now. */
	if (__atomic_load_n(&f->mux.rec->status, __ATOMIC_ACQUIRE) & CV_ST_SYN_WAITS)
		return 0;
	/* Also when it is done or refused already: what the program expects of this call. */
	return sock_waits(f, 0) ? wait_connected(f) : -EINPROGRESS;
}

static int engine_connect(struct file *f, const struct cv_endpoint *end, uint8_t family)
{
	struct cv_command c = {.op = CV_CMD_CONNECT, .peer = *end, .family = family};
	uint32_t status = f->mux.rec->status;
	int result;

	if (f->type == SOCK_STREAM && family != CV_AF_NONE) {
		if (status & CV_ST_LISTENING)
			return -EISCONN;
		/* A second call collects the first one's result, or waits for it. */
		if ((status & CV_ST_CONNECTING) && !(status & CV_ST_DEAD))
			return sock_waits(f, 0) ? wait_connected(f) : -EALREADY;
		if ((status & (CV_ST_CONNECTED | CV_ST_DEAD)) == CV_ST_CONNECTED)
			return -EISCONN;
	}
	result = sock_call(f, &c, NULL, NULL);
	if (result == -EALREADY && sock_waits(f, 0)) /* another thread was first */
		return wait_connected(f);
	if (result < 0)
		return result;
	f->mux.rec->rx_shut = f->mux.rec->tx_shut = 0;
	return f->type == SOCK_DGRAM || family == CV_AF_NONE ? result : stream_begun(f);
}

/* What connect_undecided() has come to. */
enum { CONNECT_BEGUN, CONNECT_KERNEL, CONNECT_ENGINE };

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
		return -ENETDOWN;
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
		wait_watched(w, (uint32_t)handle);
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

static int connect_decide(int fd, struct file *f, const struct cv_endpoint *end)
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

/* A wildcard datagram socket that now speaks to a kernel address only. */
static void both_to_kernel(int fd, struct file *f)
{
	mux_file_closed(&f->mux);
	if (!(f->mux.rec->flags & O_NONBLOCK))
		real_fcntl(fd, F_SETFL, real_fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	sock_close(f);
	fd_forget(f);
}

static int kernel_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return real_connect(fd, addr, len) == 0 ? 0 : -errno;
}

static int sock_connect(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	struct cv_endpoint end;
	int family, result = address_in(addr, len, &end, &family);
	if (result && f->mux.rec)
		return family == AF_UNSPEC ? engine_connect(f, &end, CV_AF_NONE) : result;
	if (result || family != f->family) {
		sock_make_whole(fd, f);
		return f->mux.rec ? -EAFNOSUPPORT : kernel_connect(fd, addr, len);
	}
	result = f->mux.rec ? CONNECT_ENGINE : connect_decide(fd, f, &end);
	if (result < 0)
		return result;
	if (result == CONNECT_BEGUN)
		return stream_begun(f);
	if (result == CONNECT_ENGINE && f->mux.both && link_side_of(sock_link(f), &end, false) == LINK_KERNEL) {
		both_to_kernel(fd, f);
		result = CONNECT_KERNEL;
	}
	return result == CONNECT_KERNEL ? kernel_connect(fd, addr, len) : engine_connect(f, &end, address_family(&end));
}

int shim_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct file *f = fd_look(fd);

	if (!f || f->mux.ep)
		return call_put(f), real_connect(fd, addr, len);
	return call_end(f, sock_connect(fd, f, addr, len));
}

/* --- shutdown, names -------------------------------------------------------------------------- */

/* As Linux: who waits in accept gets EINVAL, and listen may begin again. */
static int stop_listening(struct file *f)
{
	struct cv_command c = {.op = CV_CMD_CONNECT, .family = CV_AF_NONE};

	return sock_call(f, &c, NULL, NULL);
}

static int sock_shutdown(int fd, struct file *f, int how)
{
	struct cv_sock *rec = f->mux.rec;
	struct cv_command c = {.op = CV_CMD_SHUTDOWN};

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (!(rec->status & (CV_ST_CONNECTED | CV_ST_CONNECTING | CV_ST_LISTENING)))
		return -ENOTCONN;
	if (f->mux.both)
		real_shutdown(fd, how);
	if (rec->status & CV_ST_LISTENING)
		return how == SHUT_WR ? 0 : stop_listening(f);
	if (how != SHUT_RD) {
		__atomic_store_n(&rec->tx_shut, 1, __ATOMIC_RELEASE);
		c.pos = rec->tx_pos;
		sock_post(f, &c);
	}
	if (how != SHUT_WR) {
		__atomic_store_n(&rec->rx_shut, 1, __ATOMIC_RELEASE);
		c = (struct cv_command){.op = CV_CMD_SHUTDOWN, .flags = CV_F_READ};
		sock_post(f, &c);
	}
	return 0;
}

int shim_shutdown(int fd, int how)
{
	struct file *f = fd_get(fd);

	if (!f || !f->mux.rec)
		return call_put(f), real_shutdown(fd, how);
	return call_end(f, sock_shutdown(fd, f, how));
}

static int name_out(
	const struct file *f, const struct cv_endpoint *end, struct sockaddr *addr, socklen_t *len)
{
	if (call_bad_pointer(len))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	if (*len > 0 && call_bad_pointer(addr))
		return -EFAULT;
	address_out(end, f->family, addr, len);
	return 0;
}

int shim_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct file *f = fd_get(fd);

	if (!f || !f->mux.rec)
		return call_put(f), real_getsockname(fd, addr, len);
	return call_end(f, name_out(f, &f->mux.rec->local, addr, len));
}

int shim_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct file *f = fd_get(fd);
	uint32_t status;

	if (!f || !f->mux.rec)
		return call_put(f), real_getpeername(fd, addr, len);
	status = f->mux.rec->status;
	if ((status & (CV_ST_CONNECTED | CV_ST_DEAD)) != CV_ST_CONNECTED)
		return call_end(f, -ENOTCONN);
	return call_end(f, name_out(f, &f->mux.rec->peer, addr, len));
}

int shim_socket(int family, int type, int protocol)
{
	int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), fd = -1;
	struct file content = {.family = family, .type = kind, .mux = {.undecided = true}};

	if ((family == AF_INET || family == AF_INET6) && kind == SOCK_STREAM &&
		(protocol == 0 || protocol == IPPROTO_TCP))
		fd = lazy_socket(family, type);
	if (fd >= 0)
		return fd;
	fd = real_socket(family, type, protocol);
	if (fd < 0 || (family != AF_INET && family != AF_INET6))
		return fd;
	if ((kind == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) ||
		(kind == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP)))
		fd_add(fd, &content); /* without memory it is the kernel's */
	return fd;
}
