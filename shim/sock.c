/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls that make a socket what it is: socket, bind, listen, accept, connect, shutdown, names. Does not own: the decision who
 * serves it (decide.c), data (rx.c, tx.c), what every call on an engine socket needs (record.c).
 */
#include "shim/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/real.h"

#define STALE_MAX 65536 /* datagrams, more than a receive buffer has room for as a rule */

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
	rec->rcvlowat = listener->mux.rec->rcvlowat;
	rec->peek_off = listener->mux.rec->peek_off;
	rec->rcvtimeo_ns = listener->mux.rec->rcvtimeo_ns;
	rec->sndtimeo_ns = listener->mux.rec->sndtimeo_ns;
	rec->linger_on = listener->mux.rec->linger_on;
	rec->linger_s = listener->mux.rec->linger_s;
	rec->oob_inline = listener->mux.rec->oob_inline;
	sock_post(&content, &c);
	if (!fd_add(fd, &content)) {
		sock_close(&content);
		quiet_close(fd);
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
		quiet_close(got);
		if (result == SOCK_OWN_LOCK)
			return result;
	}
	if (!f->mux.both)
		return -EAGAIN;
	result = quiet_accept4(fd, addr, len, flags);
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
			return result == SOCK_OWN_LOCK ? -EAGAIN : result;
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
	struct file *f;

	pthread_testcancel();
	f = fd_get(fd);

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
		if (result == 0)
			f->connecting = false;
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
	f->connecting = true;
	return sock_waits(f, 0) ? wait_connected(f) : -EINPROGRESS;
}

/* The kernel's half of a datagram socket keeps the port, and is connected to where nobody speaks from: it takes nothing
 * that is for other sockets on the port. */
static void half_sleeps(int fd, const struct file *f, bool sleeps)
{
	const struct sockaddr_in6 six = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(1)};
	const struct sockaddr_in four = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
	const struct sockaddr none = {.sa_family = AF_UNSPEC};
	int saved = errno;

	if (f->type != SOCK_DGRAM)
		return;
	if (!sleeps)
		real_connect(fd, &none, sizeof(none));
	else if (f->family == AF_INET6)
		real_connect(fd, (const struct sockaddr *)&six, sizeof(six));
	else
		real_connect(fd, (const struct sockaddr *)&four, sizeof(four));
	errno = saved;
}

/* Of a wildcard socket that is connected to where the engine serves nobody hears the kernel's half, until the socket is
 * disconnected. What came meanwhile was for nobody. */
static void half_follow(int fd, struct file *f, bool connected)
{
	struct msghdr nothing = {.msg_iovlen = 0};

	if (connected ? !f->mux.both : !f->half_asleep)
		return;
	half_sleeps(fd, f, connected);
	/* What still comes while this goes on is for the socket as it will be. */
	for (int n = 0; n < STALE_MAX && !connected && f->type == SOCK_DGRAM; n++) {
		if (quiet_recvmsg(fd, &nothing, MSG_DONTWAIT) < 0)
			break;
	}
	f->half_asleep = connected;
	f->mux.both = !connected;
	mux_sock_both(&f->mux);
}

static int engine_connect(int fd, struct file *f, const struct cv_endpoint *end, uint8_t family)
{
	struct cv_command c = {.op = CV_CMD_CONNECT, .peer = *end, .family = family};
	uint32_t status = f->mux.rec->status, error_seq = __atomic_load_n(&f->mux.rec->error_seq, __ATOMIC_ACQUIRE);
	int result;

	if (f->type == SOCK_STREAM && family != CV_AF_NONE) {
		if (status & CV_ST_LISTENING)
			return -EISCONN;
		/* A second call collects the first one's result, or waits for it. */
		if ((status & CV_ST_CONNECTING) && !(status & CV_ST_DEAD))
			return sock_waits(f, 0) ? wait_connected(f) : -EALREADY;
		/* Who was told that it goes on, or was interrupted, is told once that it is done. */
		if ((status & (CV_ST_CONNECTED | CV_ST_DEAD)) == CV_ST_CONNECTED)
			return __atomic_exchange_n(&f->connecting, false, __ATOMIC_RELAXED) ? 0 : -EISCONN;
	}
	result = sock_call(f, &c, NULL, NULL);
	if (result == -EALREADY && sock_waits(f, 0)) /* another thread was first */
		return wait_connected(f);
	if (result < 0)
		return result;
	half_follow(fd, f, family != CV_AF_NONE);
	if (f->type == SOCK_DGRAM)
		return result;
	f->mux.rec->rx_shut = f->mux.rec->tx_shut = 0;
	if (family != CV_AF_NONE) /* what connect(AF_UNSPEC) left behind was of another connection */
		f->mux.rec->error_seen = error_seq;
	return family == CV_AF_NONE ? result : stream_begun(f);
}

/* A wildcard datagram socket that now speaks to a kernel address only. */
static void both_to_kernel(int fd, struct file *f)
{
	mux_file_closed(&f->mux);
	if (f->half_asleep)
		half_sleeps(fd, f, false);
	if (!(f->mux.rec->flags & O_NONBLOCK))
		real_fcntl(fd, F_SETFL, real_fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	sock_close(f);
	fd_forget(f);
}

static int kernel_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return real_connect(fd, addr, len) == 0 ? 0 : -errno;
}

/* A datagram socket of IPv6 takes IPv4's form of an address for the mapped one (Linux). */
static bool takes_ipv4(int fd, const struct file *f)
{
	int only = 1;
	socklen_t len = sizeof(only);

	if (f->family != AF_INET6 || f->type != SOCK_DGRAM)
		return false;
	if (f->mux.rec)
		return !f->mux.rec->v6only;
	return real_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) == 0 && !only;
}

static int sock_connect(int fd, struct file *f, const struct sockaddr *addr, socklen_t len)
{
	struct cv_endpoint end;
	int family, result = address_in(addr, len, &end, &family);

	if (result && f->mux.rec)
		return family == AF_UNSPEC ? engine_connect(fd, f, &end, CV_AF_NONE) : result;
	if (result || (family != f->family && !(family == AF_INET && takes_ipv4(fd, f)))) {
		sock_make_whole(fd, f);
		return f->mux.rec ? -EAFNOSUPPORT : kernel_connect(fd, addr, len);
	}
	result = f->mux.rec ? CONNECT_ENGINE : sock_connect_decide(fd, f, &end);
	if (result < 0)
		return result;
	if (result == CONNECT_BEGUN)
		return stream_begun(f);
	if (result == CONNECT_ENGINE && (f->mux.both || f->half_asleep) && link_side_of(sock_link(f), &end, false) == LINK_KERNEL) {
		both_to_kernel(fd, f);
		result = CONNECT_KERNEL;
	}
	return result == CONNECT_KERNEL ? kernel_connect(fd, addr, len) : engine_connect(fd, f, &end, address_family(&end));
}

int shim_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct file *f;

	pthread_testcancel();
	f = fd_look(fd);

	if (!f || f->mux.ep)
		return call_put(f), real_connect(fd, addr, len);
	return call_end(f, sock_connect(fd, f, addr, len));
}

/* --- shutdown, names -------------------------------------------------------------------------- */

/* As Linux: who waits in accept gets EINVAL, who waits in connect ECONNRESET; either may begin again. */
static int stop_waiting(struct file *f)
{
	struct cv_command c = {.op = CV_CMD_CONNECT, .family = CV_AF_NONE};

	return sock_call(f, &c, NULL, NULL);
}

static int sock_shutdown(int fd, struct file *f, int how)
{
	struct cv_sock *rec = f->mux.rec;
	struct cv_command c = {.op = CV_CMD_SHUTDOWN};
	uint32_t status = rec->status;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (f->mux.both)
		real_shutdown(fd, how);
	if (status & CV_ST_LISTENING)
		return how == SHUT_WR ? 0 : stop_waiting(f);
	if (f->type == SOCK_STREAM && (status & CV_ST_CONNECTING))
		return stop_waiting(f);
	if (how != SHUT_RD)
		__atomic_store_n(&rec->tx_shut, 1, __ATOMIC_RELEASE);
	if (how != SHUT_WR)
		__atomic_store_n(&rec->rx_shut, 1, __ATOMIC_RELEASE);
	/* Else there is nothing to end, and what another thread begins is not meant; whoever waits is woken all the
	 * same. */
	if (how != SHUT_RD && (status & CV_ST_CONNECTED)) {
		c.pos = rec->tx_pos;
		sock_post(f, &c);
	}
	if (how != SHUT_WR || !(status & CV_ST_CONNECTED))
		sock_tell(f);
	return status & CV_ST_CONNECTED ? 0 : -ENOTCONN;
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
	if ((status & (CV_ST_CONNECTED | CV_ST_DEAD)) != CV_ST_CONNECTED || f->mux.rec->peer.port == 0)
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
