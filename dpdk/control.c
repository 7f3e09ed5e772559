/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread: one epoll loop over the connections of the control socket (stack/api/control.h). A connection is a process;
 * its end is the process's end. Owns: who is there. Does not own: what they ask (request.c), the socket (control_socket.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dpdk/control_priv.h"
#include "dpdk/log.h"
#include "stack/api/error.h"
#include "stack/tcp/tcp.h"

#define EVENTS 64

struct control {
	struct service *s;
	int epoll, signals;
	bool open; /* programs are let in */
	int spare; /* a descriptor to give up when there are no more; turn_away() */
	int starter; /* pidfd of the process that wanted a private engine; -1: none, or gone */
	uint64_t memory_most; /* bytes that one group may make real */
	uint32_t conns_n;
	struct list conns, ended;
	struct group_list groups;
};

bool control_peer(int fd, struct ucred *who)
{
	socklen_t len = sizeof(*who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) == 0;
}

bool control_may_have(uid_t uid, uint32_t n, uint64_t configured, uint64_t all)
{
	uint64_t most = configured != 0 ? configured : all - all / 2;

	return uid == 0 || uid == geteuid() || n < most;
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

/* An event of it may still be in hand when it has ended. */
static void conn_ready(struct control *c, struct conn *conn)
{
	if (conn->fd >= 0 && !request_answer(c, c->s, &c->groups, conn))
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

/* A connection for a user's process at the other end; NULL with the limit that says no in *why. */
static struct conn *conn_new(struct control *c, int fd, uid_t uid, const char **why)
{
	const struct config_limits *l = &c->s->config.limits;
	struct conn *conn;
	struct epoll_event ev = {.events = EPOLLIN};

	*why = "processes";
	if (c->conns_n >= l->processes)
		return NULL;
	*why = "user_processes";
	if (!control_may_have(uid, conns_of(c, uid), l->user_processes, l->processes))
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL)
		return NULL;
	*conn = (struct conn){.fd = fd, .uid = uid};
	ev.data.ptr = conn;
	if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
		free(conn);
		return NULL;
	}
	list_add_tail(&c->conns, &conn->node);
	c->conns_n++;
	return conn;
}

int control_fork(struct control *c, const struct conn *parent, int proc, int *child)
{
	const char *why;
	struct conn *conn;
	int end[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) != 0)
		return -CV_EMFILE;
	conn = conn_new(c, end[0], parent->uid, &why);
	if (conn == NULL) {
		log_line(LOG_WARNING, "a program's child is not served: as many as [limits] %s= allows", why);
		close(end[0]);
		close(end[1]);
		return -CV_EMFILE;
	}
	conn->group = parent->group;
	conn->proc = proc;
	conn->pid = parent->pid;
	*child = end[1];
	return 0;
}

/* The kernel has closed a process's end of its connection before anybody can learn that it is over. What it had still
 * asked goes unanswered: nobody hears it. */
void control_sync(struct control *c, const struct conn *asker)
{
	list_for_each_safe (node, &c->conns) {
		struct conn *conn = list_entry(node, struct conn, node);
		struct pollfd end = {.fd = conn->fd};

		if (conn != asker && poll(&end, 1, 0) > 0)
			conn_end(c, conn);
	}
}

/* Its own pidfd stands for it: a connection that never says anything and ends when it does. */
void control_hold(struct control *c, const struct conn *conn)
{
	struct ucred who;
	const char *why;
	int fd = -1;

	if (c->s->until_idle != 0 && control_peer(conn->fd, &who) && who.pid > 0)
		fd = pidfd_open(who.pid, 0);
	if (fd >= 0 && conn_new(c, fd, conn->uid, &why) == NULL)
		close(fd);
}

static void accept_one(struct control *c)
{
	int fd = accept4(c->s->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who;
	const char *why;

	if (fd < 0) {
		if ((errno == EMFILE || errno == ENFILE) && c->spare >= 0)
			turn_away(c);
		return;
	}
	if (!control_peer(fd, &who)) {
		close(fd);
	} else if (conn_new(c, fd, who.uid, &why) == NULL) {
		log_line(LOG_WARNING, "a program is turned away: as many as [limits] %s= allows", why);
		close(fd);
	}
}

/* --- memory ------------------------------------------------------------------------------------- */

static void group_end(struct control *c, struct group *g)
{
	g->ended = true;
	list_for_each_safe(node, &c->conns)
	{
		struct conn *conn = list_entry(node, struct conn, node);

		if (conn->group == g)
			conn_end(c, conn);
	}
}

/* A segment is address space until somebody writes to it, be it the program behind our back. Nothing of a process shows it to
 * the kernel that looks for memory to free, and the engine would be the one that is ended. */
static void memory_watch(struct control *c)
{
	list_for_each_safe(node, &c->groups.open)
	{
		struct group *g = list_entry(node, struct group, node);
		uint64_t bytes = group_memory(g);

		if (bytes <= c->memory_most)
			continue;
		log_line(LOG_WARNING, "a program of user %u has made %llu MiB of its segment real: more than [limits] memory= allows, "
			 "its connections are reset", g->uid, (unsigned long long)(bytes >> 20));
		group_end(c, g);
	}
}

static uint64_t memory_most(const struct service *s)
{
	uint64_t configured = s->config.limits.memory;

	if (s->inside) /* the program's own */
		return UINT64_MAX;
	return configured != 0 ? configured : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

/* --- the end ------------------------------------------------------------------------------------ */

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
		int n = epoll_wait(c->epoll, ev, EVENTS, waiting ? workers_tick_ms(c->s) : -1);

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
		memory_watch(c);
		stop = stop || is_over(c);
	}
}

static void *control_main(void *arg)
{
	struct service *s = arg;
	struct control c = {.s = s, .starter = -1, .memory_most = memory_most(s)};
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
	s->own_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->own_fds < 0)
		return -1;
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
