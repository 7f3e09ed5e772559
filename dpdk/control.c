/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket (stack/api/control.h): one thread, one epoll loop. A connection is a process; its
 * end is the process's end. Nothing that a peer sends or fails to read can hold the thread up.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpdk/group.h"
#include "dpdk/log.h"
#include "stack/api/error.h"
#include "stack/tcp/tcp.h"

#define BACKLOG 512
#define EVENTS 64
#define LOCK_TRIES 100
#define LOCK_TRIES_ANSWERED 10
#define LOCK_TRY_US 50000

struct conn {
	struct list node;
	int fd;
	uid_t uid; /* as the kernel says */
	int proc;
	int32_t pid;
	struct group *group; /* NULL: a query, or no HELLO yet */
};

struct control {
	struct service *s;
	int epoll, signals;
	bool open; /* programs are let in */
	int spare; /* a descriptor to give up when there are no more; turn_away() */
	int starter; /* pidfd of the process that wanted a private engine; -1: none, or gone */
	uint32_t conns_n;
	struct list conns, ended;
	struct group_list groups;
};

/* One request being answered. */
struct exchange {
	struct control *c;
	struct conn *conn;
	struct cv_request req;
	struct cv_reply reply;
	int in;                     /* descriptor that came along, -1: none */
	int out[CV_CTL_FDS_MAX], out_n;
	int made; /* of those, one to close after sending; -1 */
};

/* --- the socket -------------------------------------------------------------------------------- */

static bool somebody_answers(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

bool control_answers(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	return somebody_answers(&un);
}

static int listen_fail(struct service *s, char *error, const char *what)
{
	snprintf(error, CONFIG_ERROR_BYTES, "%s: %s", s->config.control, what);
	return -1;
}

/* The lock's file outlives the engine, and keeps what its successor needs to look like it to their peers. */
static void secret_keep(struct service *s, int fd)
{
	uint64_t *secret = s->secret;

	if (pread(fd, secret, sizeof(s->secret), 0) == (ssize_t)sizeof(s->secret))
		return;
	if (getrandom(secret, sizeof(s->secret), 0) != (ssize_t)sizeof(s->secret) ||
		pwrite(fd, secret, sizeof(s->secret), 0) != (ssize_t)sizeof(s->secret))
		log_line(LOG_WARNING, "a restarted engine will not be known again: %s", strerror(errno));
}

/* One engine of a name at a time. One that is just ending holds the lock until it is gone. */
static int name_lock(struct service *s, const struct sockaddr_un *un, char *error)
{
	char path[sizeof(un->sun_path) + 8];
	int fd;

	snprintf(path, sizeof(path), "%s.lock", un->sun_path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return listen_fail(s, error, strerror(errno));
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			secret_keep(s, fd);
			return 0;
		}
		/* One that was just killed seems to answer until the kernel has taken it apart. */
		if (i >= LOCK_TRIES_ANSWERED && somebody_answers(un))
			return listen_fail(s, error, "an engine of this name is running already");
		usleep(LOCK_TRY_US);
	}
	return listen_fail(s, error, "an engine of this name does not answer and does not end");
}

/* Nobody can connect before listen(). Any user's program may be served, unless the configuration says otherwise: its
 * group is its own, and no user can have all of what there is for all (may_have()). */
static int rights_set(const struct config *c)
{
	mode_t mode = c->control_mode != 0 ? c->control_mode : c->control_group != CONFIG_NO_GROUP ? 0660 : 0666;

	if (c->control_group != CONFIG_NO_GROUP && chown(c->control, (uid_t)-1, c->control_group) != 0)
		return -1;
	return chmod(c->control, mode);
}

int control_listen(struct service *s, char error[CONFIG_ERROR_BYTES])
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, s->config.control, sizeof(un.sun_path));
	if (strncmp(un.sun_path, CV_CONTROL_DIR "/", sizeof(CV_CONTROL_DIR)) == 0)
		(void)mkdir(CV_CONTROL_DIR, 0755);
	if (name_lock(s, &un, error) != 0)
		return -1;
	s->control_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->control_fd < 0)
		return listen_fail(s, error, strerror(errno));
	(void)unlink(un.sun_path);
	if (bind(s->control_fd, (const struct sockaddr *)&un, sizeof(un)) != 0)
		return listen_fail(s, error, strerror(errno));
	if (rights_set(&s->config) != 0)
		return listen_fail(s, error, strerror(errno));
	if (listen(s->control_fd, BACKLOG) != 0)
		return listen_fail(s, error, strerror(errno));
	return 0;
}

/* --- requests ---------------------------------------------------------------------------------- */

static void fds_of_group(struct exchange *x, const struct group *g)
{
	x->out[x->out_n++] = g->segment_fd;
	x->out[x->out_n++] = x->c->s->page_fd;
	for (uint16_t k = 0; k < x->c->s->workers; k++)
		x->out[x->out_n++] = g->doorbell[k];
	x->reply.size = g->size;
	memcpy(x->reply.token, g->token, sizeof(x->reply.token));
}

static bool peer_of(int fd, struct ucred *who)
{
	socklen_t len = sizeof(*who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) == 0;
}

/* Whether a user may have one more of what he has n of, and all together `all` of: half, unless it was configured. */
static bool may_have(uid_t uid, uint32_t n, uint64_t configured, uint64_t all)
{
	uint64_t most = configured != 0 ? configured : all - all / 2;

	return uid == 0 || uid == geteuid() || n < most;
}

/* Not what it says of itself: what the kernel says. */
static bool is_own_process(const struct exchange *x)
{
	struct ucred who = {0};

	return x->c->s->inside && peer_of(x->conn->fd, &who) && who.pid == getpid();
}

static int on_hello(struct exchange *x)
{
	const struct config_limits *l = &x->c->s->config.limits;
	int result;

	if (x->conn->group)
		return -CV_EINVAL;
	if (!may_have(x->conn->uid, group_count(&x->c->groups, x->conn->uid), l->user_groups, l->groups)) {
		snprintf(x->reply.text, sizeof(x->reply.text), "as many programs as [limits] user_groups= allows one user");
		return -CV_EMFILE;
	}
	x->conn->group =
		group_open(&x->c->groups, x->conn->pid, x->conn->uid, is_own_process(x), &x->conn->proc, &result);
	if (!x->conn->group) {
		snprintf(x->reply.text, sizeof(x->reply.text), "%s",
			result == -CV_EMFILE ? "as many programs as [limits] groups= allows"
					     : "no memory for a segment");
		return result;
	}
	fds_of_group(x, x->conn->group);
	return 0;
}

static int on_fork(struct exchange *x)
{
	struct group *g = group_find(&x->c->groups, x->req.token);
	int proc;

	if (x->conn->group || !g)
		return -CV_EINVAL;
	proc = group_fork(g, x->req.arg, x->conn->pid);
	if (proc < 0)
		return proc;
	x->conn->group = g;
	x->conn->proc = proc;
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
static bool is_eventfd(int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static int on_set_open(struct exchange *x, bool lane)
{
	int index;

	if (!x->conn->group || x->in < 0 || (lane && x->req.arg >= x->c->s->page->workers) ||
		!is_eventfd(x->in) || fcntl(x->in, F_SETFL, O_NONBLOCK) != 0)
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

static int on_query(struct exchange *x)
{
	char *text;
	size_t len;
	int fd;

	if (x->req.text_len >= CV_REQUEST_TEXT)
		return -CV_EINVAL;
	x->req.text[x->req.text_len] = '\0';
	text = report_make(x->c->s, x->req.text);
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
	default:
		return -CV_EINVAL;
	}
}

/* --- connections ------------------------------------------------------------------------------- */

static void conn_end(struct control *c, struct conn *conn)
{
	if (conn->fd < 0)
		return;
	/* A child of the program that hosts the engine may hold it too: closing it here would leave its events in the set. */
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, conn->fd, NULL);
	close(conn->fd);
	conn->fd = -1;
	if (conn->group)
		group_proc_close(&c->groups, conn->group, conn->proc);
	conn->group = NULL;
	list_del(&conn->node);
	list_add_tail(&c->ended, &conn->node); /* an event of it may still be in hand */
	c->conns_n--;
}

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

static void conn_ready(struct control *c, struct conn *conn)
{
	struct exchange x = {.c = c, .conn = conn, .in = -1, .made = -1};
	enum received got = conn->fd >= 0 ? receive(&x) : NOTHING;

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
	if (got == OVER || got == REQUEST_STRANGE)
		conn_end(c, conn);
}

/* Out of descriptors, with a peer at the door that would wake us again and again. */
static void turn_away(struct control *c)
{
	int fd;

	close(c->spare);
	fd = accept4(c->s->control_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	log_line(LOG_WARNING, "a program is turned away: the engine has as many descriptors as it may have");
}

static uint32_t conns_of(const struct control *c, uid_t uid)
{
	uint32_t n = 0;

	list_for_each(node, &c->conns)
		n += list_entry(node, struct conn, node)->uid == uid;
	return n;
}

/* A connection for the process at the other end; NULL with the limit that says no in *why. */
static struct conn *conn_new(struct control *c, int fd, const char **why)
{
	const struct config_limits *l = &c->s->config.limits;
	struct ucred who;
	struct conn *conn;

	*why = "processes";
	if (c->conns_n >= l->processes || !peer_of(fd, &who))
		return NULL;
	*why = "user_processes";
	if (!may_have(who.uid, conns_of(c, who.uid), l->user_processes, l->processes))
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (conn != NULL)
		*conn = (struct conn){.fd = fd, .uid = who.uid};
	return conn;
}

static void accept_one(struct control *c)
{
	int fd = accept4(c->s->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *conn;
	const char *why;
	struct epoll_event ev = {.events = EPOLLIN};

	if (fd < 0) {
		if ((errno == EMFILE || errno == ENFILE) && c->spare >= 0)
			turn_away(c);
		return;
	}
	conn = conn_new(c, fd, &why);
	ev.data.ptr = conn;
	if (!conn || epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		log_line(LOG_WARNING, "a program is turned away: as many as [limits] %s= allows", why);
		free(conn);
		close(fd);
		return;
	}
	list_add_tail(&c->conns, &conn->node);
	c->conns_n++;
}

struct count {
	const struct engine *e;
	uint32_t n;
};

static void count_connections(void *arg)
{
	struct count *count = arg;
	uint32_t waits;

	tcp_count(count->e, &count->n, &waits);
}

static void conns_forget(struct control *c)
{
	struct list *node;

	while ((node = list_pop(&c->ended)) != NULL)
		free(list_entry(node, struct conn, node));
}

/* A private engine ends with its last program. What that program still had to send goes out first. */
static bool is_over(struct control *c)
{
	uint32_t connections = 0;

	if (c->s->until_idle == 0 || c->starter >= 0 || c->conns_n > 0 || c->groups.n > 0)
		return false;
	for (uint16_t k = 0; k < c->s->workers; k++) {
		struct count count = {.e = c->s->worker[k].engine};

		worker_call(&c->s->worker[k], count_connections, &count);
		connections += count.n;
	}
	return connections == 0;
}

static void starter_gone(struct control *c)
{
	close(c->starter);
	c->starter = -1;
}

/* --- the thread -------------------------------------------------------------------------------- */

static int watch(struct control *c, int fd, void *who)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = who};

	return fd < 0 ? -1 : epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev);
}

/* Programs wait in the socket's queue until the addresses are settled. True: the engine ends. */
static bool is_told(struct control *c)
{
	uint64_t calls;

	if (read(c->s->control_kick, &calls, sizeof(calls)) < 0)
		return false;
	if (atomic_load(&c->s->settled) && !c->open && watch(c, c->s->control_fd, &c->s->control_fd) != 0) {
		log_line(LOG_ERR, "the control thread: %s", strerror(errno));
		return true;
	}
	c->open |= atomic_load(&c->s->settled);
	return atomic_load(&c->s->stop);
}

static void control_loop(struct control *c)
{
	struct epoll_event ev[EVENTS];
	bool stop = false;

	while (!stop) {
		bool waiting = group_reap(&c->groups) || c->groups.n > 0 ||
			(c->s->until_idle != 0 && c->starter < 0);
		int n = epoll_wait(c->epoll, ev, EVENTS, waiting ? SERVICE_TICK_MS : -1);

		for (int i = 0; i < n; i++) {
			void *who = ev[i].data.ptr;

			if (who == &c->s->control_fd)
				accept_one(c);
			else if (who == &c->starter)
				starter_gone(c);
			else if (who == &c->signals)
				stop = true;
			else if (who == &c->s->control_kick)
				stop |= is_told(c);
			else
				conn_ready(c, who);
		}
		conns_forget(c);
		workers_watch(c->s);
		stop = stop || is_over(c);
	}
}

static void *control_main(void *arg)
{
	struct service *s = arg;
	struct control c = {.s = s, .starter = -1};
	sigset_t ends;

	prctl(PR_SET_NAME, "culvert-control");
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	list_init(&c.conns);
	list_init(&c.ended);
	group_list_init(&c.groups, s);
	c.spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	c.epoll = epoll_create1(EPOLL_CLOEXEC);
	c.signals = s->inside ? -1 : signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->until_idle != 0)
		c.starter = pidfd_open(s->until_idle, 0);
	if (c.starter >= 0)
		(void)watch(&c, c.starter, &c.starter);
	if ((s->inside || watch(&c, c.signals, &c.signals) == 0) &&
		watch(&c, s->control_kick, &s->control_kick) == 0)
		control_loop(&c);
	else
		log_line(LOG_ERR, "the control thread: %s", strerror(errno));
	/* All programs' connections are reset while the worker still sends. */
	while (!list_empty(&c.conns))
		conn_end(&c, list_entry(list_first(&c.conns), struct conn, node));
	conns_forget(&c);
	atomic_store(&s->stop, true);
	for (uint16_t k = 0; k < s->workers; k++)
		worker_kick(&s->worker[k]);
	return NULL;
}

/* Each thread and each epoll set of a program is a descriptor here; the usual 1024 are soon gone. */
static void descriptors_raise(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
		log_line(LOG_DEBUG, "setrlimit: %s", strerror(errno));
}

int control_start(struct service *s)
{
	if (!s->inside)
		descriptors_raise();
	s->control_kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->control_kick < 0 ? -1 : -pthread_create(&s->control, NULL, control_main, s);
}

void control_call(struct service *s)
{
	const uint64_t one = 1;

	if (write(s->control_kick, &one, sizeof(one)) < 0)
		log_line(LOG_ERR, "the control thread's bell: %s", strerror(errno));
}

void control_stop(struct service *s)
{
	pthread_join(s->control, NULL);
	unlink(s->config.control);
	close(s->control_fd);
}
