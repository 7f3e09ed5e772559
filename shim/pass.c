/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Engine sockets that travel as SCM_RIGHTS over the kernel's Unix sockets (unix(7)), between processes of one
 * group (family.c). What travels is the shadow; it carries the handle as a tag, in an option that means nothing for
 * a socket that never sends. On the way the engine holds the socket, so that the sender may close it.
 * Another group's process gets the shadow only: its segment is another one.
 *
 * Owns: the tag, and shadows of accepted connections, which share one until they must be told apart.
 * Called by: call.c (sendmsg, recvmsg), exec.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "shim/family.h"
#include "shim/lane.h"
#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sigio.h"

#define TAG_MAGIC 0x43564c54ull /* in the upper half; the handle is the lower */

struct renumber {
	struct file *f;
	int made; /* the number that has it, -1: none yet */
};

static void renumber_fd(int fd, void *arg)
{
	struct renumber *r = arg;
	int flags = real_fcntl(fd, F_GETFD);

	if (flags < 0)
		return;
	if (r->made < 0)
		r->made = lazy_socket_over(fd, r->f, flags & FD_CLOEXEC ? SOCK_CLOEXEC : 0);
	else
		real_dup3(r->made, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

void pass_own_shadow(struct file *f)
{
	struct renumber r = {.f = f, .made = -1};

	if (!f->placeholder)
		return;
	mux_file_each_fd(&f->mux, renumber_fd, &r);
	f->placeholder = r.made < 0;
}

/* Calls each(fd) for every descriptor among the rights of msg. */
static void each_right(const struct msghdr *msg, void (*each)(int fd))
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL;
		h = CMSG_NXTHDR((struct msghdr *)(uintptr_t)msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
			h->cmsg_len < CMSG_LEN(0))
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			each(fd);
		}
	}
}

static void send_one(int fd)
{
	struct file *f = fd_get(fd);
	struct cv_command c = {.op = CV_CMD_PASS};
	uint64_t tag;

	if (f && f->mux.rec && !sock_is_dead(f)) {
		pass_own_shadow(f);
		tag = TAG_MAGIC << 32 | f->mux.handle;
		if (!f->placeholder && real_setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &tag, sizeof(tag)) == 0)
			sock_call(f, &c, NULL, NULL);
	}
	if (f)
		file_put(f);
}

void pass_sent(const struct msghdr *msg)
{
	if (link_now() && msg->msg_control && msg->msg_controllen > 0)
		each_right(msg, send_one);
}

/* It stays here: what was held for the way is let go. */
static void unsend_one(int fd)
{
	struct file *f = fd_get(fd);
	struct cv_command c = {.op = CV_CMD_TAKE};

	if (f && f->mux.rec && !sock_is_dead(f))
		sock_call(f, &c, NULL, NULL);
	if (f)
		file_put(f);
}

void pass_failed(const struct msghdr *msg)
{
	int saved = errno;

	if (link_now() && msg->msg_control && msg->msg_controllen > 0)
		each_right(msg, unsend_one);
	errno = saved;
}

/* The socket of our group that the tag names; false: none. */
static bool tag_resolve(const struct link *l, uint64_t tag, struct file *content)
{
	if (CV_SOCK_INDEX((uint32_t)tag) >= l->wait.seg->socks_max)
		return false;
	sock_attach(content, (struct link *)(uintptr_t)l, (uint32_t)tag);
	if (sock_is_dead(content))
		return false;
	content->family = content->mux.rec->family == CV_AF_INET ? AF_INET : AF_INET6;
	content->type = content->mux.rec->type == CV_STREAM ? SOCK_STREAM : SOCK_DGRAM;
	content->bound = true;
	return true;
}

void pass_half(int fd, struct file *content)
{
	struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(name);
	bool connected = content->mux.rec->status & (CV_ST_CONNECTED | CV_ST_CONNECTING);

	/* The port is at one place in both families. */
	if (real_getsockname(fd, (struct sockaddr *)&name, &len) != 0 || ((const struct sockaddr_in *)&name)->sin_port == 0)
		return;
	content->mux.both = !connected;
	content->half_asleep = connected;
}

struct search {
	uint32_t handle;
	struct file *found; /* with a reference */
};

static void find_one(int fd, struct file *f, void *arg)
{
	struct search *s = arg;

	(void)fd;
	if (!s->found && f->mux.rec && f->mux.handle == s->handle && !sock_is_dead(f)) {
		mux_file_hold(&f->mux);
		s->found = f;
	}
}

/* A socket that this process has already gets one more number: the engine knows who holds it, not how often. */
static void arrived(int fd, struct file *content)
{
	struct search s = {.handle = content->mux.handle};
	struct file *f;

	fd_each(find_one, &s);
	if (s.found) {
		fd_alias(fd, s.found);
		file_put(s.found);
		return;
	}
	pass_half(fd, content);
	f = fd_add(fd, content);
	if (f)
		sigio_came(f);
}

static void receive(int fd, bool peeked)
{
	struct cv_command c = {.op = CV_CMD_TAKE}, back = {.op = CV_CMD_PASS};
	struct file content = {.family = 0};
	const struct link *l;
	socklen_t len = sizeof(uint64_t);
	uint64_t tag = 0;

	if (real_getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &tag, &len) != 0 || len != sizeof(tag) ||
		tag >> 32 != TAG_MAGIC)
		return;
	l = link_get(); /* perhaps this is its first one */
	if (!l || !tag_resolve(l, tag, &content))
		return;
	if (sock_call(&content, &c, NULL, NULL) != 0)
		return;
	if (peeked)
		sock_call(&content, &back, NULL, NULL);
	arrived(fd, &content);
}

static void receive_one(int fd)
{
	receive(fd, false);
}

/* The message is still under way, with what was just taken. */
static void peek_one(int fd)
{
	receive(fd, true);
}

void pass_received(const struct msghdr *msg, int flags)
{
	if ((link_now() || family_name()) && msg->msg_control && msg->msg_controllen > 0)
		each_right(msg, flags & MSG_PEEK ? peek_one : receive_one);
}
