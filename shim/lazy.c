/* SPDX-License-Identifier: BSD-3-Clause */
/* Stream sockets that are not decided yet cost no kernel socket: their number is a duplicate of one placeholder until a call
 * needs the real thing, which then takes the number's place. Connections that were accepted keep theirs. */
#include "shim/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shim/real.h"

int lazy_placeholder(void)
{
	static int placeholder = -1;
	int from = __atomic_load_n(&placeholder, __ATOMIC_ACQUIRE), expected = -1;

	if (from >= 0)
		return from;
	from = mux_internal_fd(real_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (from < 0)
		return -errno;
	if (__atomic_compare_exchange_n(
		    &placeholder, &expected, from, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return from;
	mux_internal_close(from);
	return expected;
}

int lazy_reserve(bool cloexec)
{
	int from = lazy_placeholder(), fd;

	if (from < 0)
		return from;
	fd = real_fcntl(from, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
	return fd < 0 ? -errno : fd;
}

static bool lazies; /* there was one */

int lazy_socket(int family, int type)
{
	struct file content = {.family = family,
		.type = SOCK_STREAM,
		.mux = {.undecided = true},
		.lazy = true,
		.lazy_flags = type & SOCK_NONBLOCK ? O_NONBLOCK : 0};
	int fd = link_now() ? lazy_reserve(type & SOCK_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	lazies = true;
	if (fd_add(fd, &content))
		return fd;
	quiet_close(fd);
	return -1;
}

int lazy_socket_over(int fd, const struct file *f, int cloexec)
{
	int made = real_socket(f->family, f->type | cloexec, 0);

	if (made < 0 && (errno == EMFILE || errno == ENFILE)) {
		quiet_close(fd);
		made = real_socket(f->family, f->type | cloexec, 0);
	}
	if (made < 0 || made == fd)
		return made;
	real_dup3(made, fd, cloexec ? O_CLOEXEC : 0);
	quiet_close(made);
	return fd;
}

void lazy_end(int fd, struct file *f)
{
	int saved = errno, flags;

	if (!f->lazy)
		return;
	flags = real_fcntl(fd, F_GETFD);
	if (lazy_socket_over(fd, f, flags > 0 && (flags & FD_CLOEXEC) ? SOCK_CLOEXEC : 0) == fd && f->lazy_flags)
		real_fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	__atomic_store_n(&f->lazy, false, __ATOMIC_RELEASE);
	errno = saved;
}

void sock_make_whole(int fd, struct file *f)
{
	if (!sock_decide_begin(f))
		return;
	lazy_end(fd, f);
	sock_decide_end(f);
}

/* To get it is to make it whole. */
static void nothing(int fd, struct file *f, void *arg)
{
	(void)fd;
	(void)f;
	(void)arg;
}

void sock_fork_prepare(void)
{
	if (lazies)
		fd_each(nothing, NULL);
}
