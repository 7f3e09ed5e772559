/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests on the control socket (stack/api/control.h): read, checked, carried out on the groups, answered. Nothing that a
 * peer sends or fails to read can hold the thread up. Called by: control.c, on the control thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dpdk/control_priv.h"
#include "stack/api/error.h"

/* One request being answered. */
struct exchange {
	struct control *c;
	struct service *s;
	struct group_list *groups;
	struct conn *conn;
	struct cv_request req;
	struct cv_reply reply;
	int in;                     /* descriptor that came along, -1: none */
	int out[CV_CTL_FDS_MAX], out_n;
	int made; /* of those, one to close after sending; -1 */
};

static void fds_of_group(struct exchange *x, const struct group *g)
{
	x->out[x->out_n++] = g->segment_fd;
	x->out[x->out_n++] = x->s->page_fd;
	for (uint16_t k = 0; k < x->s->workers; k++)
		x->out[x->out_n++] = g->doorbell[k];
	x->reply.size = g->size;
}

/* Not what it says of itself: what the kernel says. */
static bool is_own_process(const struct exchange *x)
{
	struct ucred who = {0};

	return x->s->inside && control_peer(x->conn->fd, &who) && who.pid == getpid();
}

/* 1: a group with its name is there, and the process is one of its; 0: none; or -CV_E... */
static int join_family(struct exchange *x)
{
	struct group *g = x->req.text_len > 0 ? group_find(x->groups, x->conn->uid, x->req.text) : NULL;
	int proc;

	if (!g)
		return 0;
	proc = group_fork(g, -1, x->conn->pid);
	if (proc < 0) {
		snprintf(x->reply.text, sizeof(x->reply.text), "as many processes as one group may have");
		return proc;
	}
	x->conn->group = g;
	x->conn->proc = proc;
	fds_of_group(x, g);
	return 1;
}

static int on_hello(struct exchange *x)
{
	const struct config_limits *l = &x->s->config.limits;
	int result;

	if (x->conn->group || (x->req.text_len != 0 && x->req.text_len != CV_FAMILY_BYTES) ||
		(x->req.text_len != 0 && memchr(x->req.text, 0, CV_FAMILY_BYTES)))
		return -CV_EINVAL;
	result = join_family(x);
	if (result != 0)
		return result < 0 ? result : 0;
	if (!control_may_have(x->conn->uid, group_count(x->groups, x->conn->uid), l->user_groups, l->groups)) {
		snprintf(x->reply.text, sizeof(x->reply.text), "as many programs as [limits] user_groups= allows one user");
		return -CV_EMFILE;
	}
	x->conn->group =
		group_open(x->groups, x->conn->pid, x->conn->uid, is_own_process(x), &x->conn->proc, &result);
	if (!x->conn->group) {
		snprintf(x->reply.text, sizeof(x->reply.text), "%s",
			result == -CV_EMFILE ? "as many programs as [limits] groups= allows"
					     : "no memory for a segment");
		return result;
	}
	memcpy(x->conn->group->family, x->req.text, x->req.text_len);
	fds_of_group(x, x->conn->group);
	return 0;
}

/* If the answer does not arrive, the child's end closes with it, and the process is gone again. */
static int on_fork(struct exchange *x)
{
	struct group *g = x->conn->group;
	int proc, result;

	if (!g)
		return -CV_EINVAL;
	proc = group_fork(g, x->conn->proc, x->conn->pid);
	if (proc < 0)
		return proc;
	result = control_fork(x->c, x->conn, proc, &x->made);
	if (result != 0) {
		group_proc_close(x->groups, g, proc);
		return result;
	}
	x->reply.value = (uint32_t)proc;
	x->out[x->out_n++] = x->made;
	return 0;
}

static int on_attach(struct exchange *x)
{
	if (!x->conn->group)
		return -CV_EINVAL;
	group_proc_exec(x->conn->group, x->conn->proc);
	fds_of_group(x, x->conn->group);
	return 0;
}

static int on_retain(struct exchange *x)
{
	uint32_t handles[CV_REQUEST_TEXT / sizeof(uint32_t)];
	uint32_t n = x->req.arg;

	if (!x->conn->group || n > CV_REQUEST_TEXT / sizeof(uint32_t) ||
		x->req.text_len != n * sizeof(uint32_t))
		return -CV_EINVAL;
	memcpy(handles, x->req.text, n * sizeof(uint32_t));
	group_retain(x->conn->group, x->conn->proc, n > 0 ? handles : NULL, n);
	return 0;
}

/* Only an eventfd may be rung: a write to anything else could block, or do harm. */
static bool is_eventfd(const struct exchange *x, int fd)
{
	char name[16], target[64];
	ssize_t n;

	snprintf(name, sizeof(name), "%d", fd);
	n = readlinkat(x->s->own_fds, name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static int on_set_open(struct exchange *x, bool lane)
{
	int index;

	if (!x->conn->group || x->in < 0 || (lane && x->req.arg >= x->s->page->workers) ||
		!is_eventfd(x, x->in) || fcntl(x->in, F_SETFL, O_NONBLOCK) != 0)
		return -CV_EINVAL;
	index = group_set_open(x->conn->group, x->conn->proc, x->in, lane ? (int)x->req.arg : -1);
	if (index < 0)
		return index;
	x->in = -1; /* the group's now */
	x->reply.value = (uint32_t)index;
	return 0;
}

static int on_set_close(struct exchange *x, bool lane)
{
	if (!x->conn->group)
		return -CV_EINVAL;
	return group_set_close(x->conn->group, x->conn->proc, x->req.arg, lane);
}

static int on_command(struct exchange *x)
{
	struct cv_command command;

	if (!x->conn->group || x->req.arg >= x->s->workers || x->req.text_len != sizeof(command))
		return -CV_EINVAL;
	memcpy(&command, x->req.text, sizeof(command));
	return group_command(x->conn->group, x->conn->proc, (uint16_t)x->req.arg, &command);
}

static int on_sync(struct exchange *x)
{
	if (!x->conn->group)
		return -CV_EINVAL;
	control_sync(x->c, x->conn);
	return 0;
}

static int on_query(struct exchange *x)
{
	char *text;
	size_t len;
	int fd;

	if (x->req.text_len >= CV_REQUEST_TEXT)
		return -CV_EINVAL;
	x->req.text[x->req.text_len] = '\0';
	if (strcmp(x->req.text, "hold") == 0) {
		control_hold(x->c, x->conn);
		return 0;
	}
	text = report_make(x->s, x->req.text);
	if (!text)
		return -CV_EINVAL;
	len = strlen(text);
	fd = memfd_create("culvert-report", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len) {
		free(text);
		if (fd >= 0)
			close(fd);
		return -CV_ENOMEM;
	}
	free(text);
	lseek(fd, 0, SEEK_SET);
	x->reply.size = len;
	x->out[x->out_n++] = x->made = fd;
	return 0;
}

static int dispatch(struct exchange *x)
{
	if (x->req.version != CV_API_VERSION) {
		snprintf(x->reply.text, sizeof(x->reply.text),
			"the program's side (libculvert.so, culvert) speaks version %u, the engine %u",
			x->req.version, CV_API_VERSION);
		return -CV_EPROTO;
	}
	if (x->req.text_len > CV_REQUEST_TEXT)
		return -CV_EINVAL;
	switch (x->req.op) {
	case CV_CTL_HELLO:
		return on_hello(x);
	case CV_CTL_FORK:
		return on_fork(x);
	case CV_CTL_ATTACH:
		return on_attach(x);
	case CV_CTL_RETAIN:
		return on_retain(x);
	case CV_CTL_LANE_OPEN:
		return on_set_open(x, true);
	case CV_CTL_LANE_CLOSE:
		return on_set_close(x, true);
	case CV_CTL_SET_OPEN:
		return on_set_open(x, false);
	case CV_CTL_SET_CLOSE:
		return on_set_close(x, false);
	case CV_CTL_QUERY:
		return on_query(x);
	case CV_CTL_COMMAND:
		return on_command(x);
	case CV_CTL_SYNC:
		return on_sync(x);
	default:
		return -CV_EINVAL;
	}
}

/* --- messages ----------------------------------------------------------------------------------- */

static void fds_take(struct exchange *x, struct msghdr *msg)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
		size_t n;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (x->in < 0)
				x->in = fd;
			else
				close(fd);
		}
	}
}

/* REQUEST: one is there. REQUEST_STRANGE: one of a library of other times, whose messages have another length: its head is
 * there. NOTHING: not now. OVER: the connection is, or talks nonsense. */
enum received { OVER, NOTHING, REQUEST, REQUEST_STRANGE };
static enum received receive(struct exchange *x)
{
	char space[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {&x->req, sizeof(x->req)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space,
		.msg_controllen = sizeof(space)};
	ssize_t n = recvmsg(x->conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? NOTHING : OVER;
	fds_take(x, &msg);
	if (n == (ssize_t)sizeof(x->req) && !(msg.msg_flags & MSG_TRUNC))
		return REQUEST;
	return n >= (ssize_t)CV_REQUEST_HEAD && x->req.version != CV_API_VERSION ? REQUEST_STRANGE : OVER;
}

static int answer(struct exchange *x)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(CV_CTL_FDS_MAX * sizeof(int))];
	} c = {0};
	struct iovec iov = {&x->reply, sizeof(x->reply)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t bytes = (size_t)x->out_n * sizeof(int);

	if (x->out_n > 0) {
		c.head.cmsg_len = CMSG_LEN(bytes);
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&c.head), x->out, bytes);
		msg.msg_control = &c;
		msg.msg_controllen = CMSG_SPACE(bytes);
	}
	return sendmsg(x->conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* A fork's child inherits its connection and speaks under its own number. */
static void pid_update(struct exchange *x)
{
	if (x->req.pid == x->conn->pid)
		return;
	x->conn->pid = x->req.pid;
	if (x->conn->group)
		group_proc_pid(x->conn->group, x->conn->proc, x->conn->pid);
}

bool request_answer(struct control *c, struct service *s, struct group_list *groups, struct conn *conn)
{
	struct exchange x = {.c = c, .s = s, .groups = groups, .conn = conn, .in = -1, .made = -1};
	enum received got = receive(&x);

	if (got == REQUEST)
		pid_update(&x);
	if (got >= REQUEST) {
		x.reply.op = x.req.op;
		x.reply.result = dispatch(&x);
		x.reply.proc = (uint32_t)conn->proc;
		if (answer(&x) != 0)
			got = OVER;
	}
	if (x.in >= 0)
		close(x.in);
	if (x.made >= 0)
		close(x.made);
	return got != OVER && got != REQUEST_STRANGE;
}
