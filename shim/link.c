/* SPDX-License-Identifier: BSD-3-Clause */
/* The way to the engine: see link.h. */
#include "shim/link.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/env.h"
#include "shim/family.h"
#include "shim/inline.h"
#include "shim/lock.h"
#include "shim/memory.h"
#include "shim/real.h"
#include "stack/api/error.h"

#define RETRY_NS 1000000000u /* an engine that was not there is looked for again after this */
#define SAID_ENV "CULVERT_SAID" /* so that a tree of processes says it once */

static struct link *current;
static uint64_t retry_at_ns;
static struct quiet_lock held;

static void lock(void)
{
	quiet_lock(&held);
}

static void unlock(void)
{
	quiet_unlock(&held);
}

int link_errno(int cv_error)
{
	static const int numbers[CV_ERROR_COUNT] = {
#define X(name) [CV_##name] = name,
#include "stack/api/error.def"
#undef X
	};

	return cv_error > 0 && cv_error < CV_ERROR_COUNT ? numbers[cv_error] : EPROTO;
}

void link_say(enum link_log level, const char *text)
{
	static const char *const names[] = {"off", "warn", "info", "debug"};
	const char *want = env_get("CULVERT_LOG");
	enum link_log limit = LINK_WARN;
	char line[400];
	int n;

	for (int i = 0; want && i < 4; i++) {
		if (strcmp(want, names[i]) == 0)
			limit = (enum link_log)i;
	}
	if (level > limit)
		return;
	n = snprintf(line, sizeof(line), "culvert: %s\n", text);
	if (n > 0 && real_write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody to tell */
}

/* Why no engine serves this program: once for a tree of processes. Who has the library for all programs of the machine
 * (/etc/ld.so.preload) has not asked for an engine here, and is told at CULVERT_LOG=info. */
static void say_kernel(const char *name, const char *why)
{
	bool asked = env_get("CULVERT_ENGINE") || getenv("LD_PRELOAD");
	char text[320];

	if (env_get(SAID_ENV))
		return;
	setenv(SAID_ENV, "1", 1);
	snprintf(text, sizeof(text), "no engine: %.120s: %.140s: sockets go to the kernel", name, why);
	link_say(asked ? LINK_WARN : LINK_INFO, text);
}

/* NULL: there is none inside, which inline.c has said. */
static const char *engine_name(void)
{
	const char *name = inline_wanted() ? inline_start() : env_get("CULVERT_ENGINE");

	return (name && *name) || inline_wanted() ? name : CV_DEFAULT_ENGINE;
}

static int connect_engine(const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, n;

	if (!name)
		return -ENOENT;
	if (strchr(name, '/'))
		n = snprintf(un.sun_path, sizeof(un.sun_path), "%s", name);
	else
		n = snprintf(un.sun_path, sizeof(un.sun_path), CV_CONTROL_DIR "/%s.sock", name);
	if (n < 0 || (size_t)n >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	fd = real_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (real_connect(fd, (const struct sockaddr *)&un, sizeof(un)) != 0) {
		int error = -errno;

		quiet_close(fd);
		return error;
	}
	return mux_internal_fd(fd);
}

static int send_request(int control, struct cv_request *request, int fd)
{
	struct iovec iov = {request, sizeof(*request)};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} c;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	request->version = CV_API_VERSION;
	request->pid = getpid();
	if (fd >= 0) {
		c.head.cmsg_len = CMSG_LEN(sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&c.head), &fd, sizeof(fd));
		msg.msg_control = &c;
		msg.msg_controllen = sizeof(c.space);
	}
	while (real_sendmsg(control, &msg, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* fds: room for CV_CTL_FDS_MAX, or NULL. */
static int receive_reply(int control, struct cv_reply *reply, int *fds, unsigned *fds_n)
{
	struct iovec iov = {reply, sizeof(*reply)};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(CV_CTL_FDS_MAX * sizeof(int))];
	} c;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	msg.msg_control = fds ? &c : NULL;
	msg.msg_controllen = fds ? sizeof(c.space) : 0;
	do
		n = real_recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ENETDOWN;
	if (n != (ssize_t)sizeof(*reply) || (msg.msg_flags & MSG_TRUNC)) { /* an engine of other times */
		reply->text[0] = '\0';
		return -EPROTO;
	}
	reply->text[sizeof(reply->text) - 1] = '\0';
	if (fds) {
		const struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

		*fds_n = 0;
		if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			*fds_n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(h), *fds_n * sizeof(int));
		}
	}
	return reply->result < 0 ? -link_errno(-reply->result) : 0;
}

static void *map_fd(int fd, int protection, size_t *size)
{
	struct stat st;
	void *map;

	if (real_fstat(fd, &st) != 0 || st.st_size <= 0)
		return NULL;
	*size = (size_t)st.st_size;
	map = mmap(NULL, *size, protection, MAP_SHARED, fd, 0);
	return map == MAP_FAILED ? NULL : map;
}

static struct link *link_map(
	int control, const struct cv_reply *reply, const int *fds, unsigned fds_n)
{
	struct link *l = memory_get(sizeof(*l));
	const struct cv_page *page;
	size_t size = 0, page_size = 0;

	if (!l || fds_n < 3)
		goto fail;
	l->base = map_fd(fds[0], PROT_READ | PROT_WRITE, &size);
	page = map_fd(fds[1], PROT_READ, &page_size);
	if (!l->base || !page || page_size < sizeof(*page) || page->magic != CV_PAGE_MAGIC ||
		page->version != CV_API_VERSION || page->workers + 2 > fds_n)
		goto fail;
	l->wait.seg = (const struct cv_segment *)(const void *)l->base;
	if (l->wait.seg->magic != CV_SEGMENT_MAGIC || l->wait.seg->size > size)
		goto fail;
	l->wait.page = page;
	l->wait.control_fd = control;
	l->wait.inside = inline_engine();
	l->child_fd = -1;
	l->proc = reply->proc;
	for (unsigned i = 0; i < page->workers; i++)
		l->bells[i] = mux_internal_fd(fds[2 + i]);
	quiet_close(fds[0]);
	quiet_close(fds[1]);
	return l;
fail:
	for (unsigned i = 0; i < fds_n; i++)
		quiet_close(fds[i]);
	memory_put(l, sizeof(*l));
	return NULL;
}

/* HELLO or ATTACH on a new connection. NULL: *why says what was wrong, perhaps in *reply; the connection is closed. */
static struct link *link_introduce(int control, enum cv_ctl_op op, struct cv_reply *reply, const char **why)
{
	struct cv_request request = {.op = op};
	const char *family = op == CV_CTL_HELLO ? family_name() : NULL;
	int fds[CV_CTL_FDS_MAX], error;
	unsigned fds_n = 0;
	struct link *l = NULL;

	if (family) {
		request.text_len = CV_FAMILY_BYTES;
		memcpy(request.text, family, CV_FAMILY_BYTES);
	}
	memset(reply, 0, sizeof(*reply));
	error = send_request(control, &request, -1);
	if (!error)
		error = receive_reply(control, reply, fds, &fds_n);
	if (!error)
		l = link_map(control, reply, fds, fds_n);
	if (l)
		return l;
	*why = reply->text;
	if (error == -EPROTO && reply->text[0] == '\0')
		*why = "it speaks another version than this libculvert.so";
	else if (reply->text[0] == '\0')
		*why = error ? strerrordesc_np(-error) : "its segment cannot be mapped";
	mux_internal_close(control);
	return NULL;
}

static struct link *link_open(void)
{
	const char *name = engine_name(), *why = "it is not running";
	int control = connect_engine(name);
	struct cv_reply reply;
	struct link *l;

	if (control >= 0) {
		l = link_introduce(control, CV_CTL_HELLO, &reply, &why);
		if (l)
			return l;
	} else if (control != -ENOENT && control != -ECONNREFUSED) {
		why = strerrordesc_np(-control);
	}
	if (name)
		say_kernel(name, why);
	return NULL;
}

struct link *link_attach(int control)
{
	struct cv_reply reply;
	int type = 0;
	socklen_t len = sizeof(type);
	const char *why;
	char text[256];
	struct link *l;

	/* What the environment says need not be so. */
	if (real_getsockopt(control, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET)
		return NULL;
	l = link_introduce(mux_internal_fd(control), CV_CTL_ATTACH, &reply, &why);
	if (!l) {
		snprintf(text, sizeof(text), "the engine is gone: inherited sockets are lost: %s", why);
		link_say(LINK_WARN, text);
		return NULL;
	}
	__atomic_store_n(&current, l, __ATOMIC_RELEASE);
	return l;
}

struct link *link_now(void)
{
	struct link *l = __atomic_load_n(&current, __ATOMIC_ACQUIRE);

	return l && !__atomic_load_n(&l->wait.dead, __ATOMIC_ACQUIRE) ? l : NULL;
}

struct link *link_get(void)
{
	struct link *l = link_now();
	int saved = errno;
	uint64_t now;

	if (l)
		return l;
	now = wait_now_ns();
	if (now < __atomic_load_n(&retry_at_ns, __ATOMIC_RELAXED))
		return NULL;
	lock();
	l = link_now();
	if (!l) {
		l = link_open();
		if (l)
			__atomic_store_n(&current, l, __ATOMIC_RELEASE);
		else
			__atomic_store_n(&retry_at_ns, now + RETRY_NS, __ATOMIC_RELAXED);
	}
	unlock();
	errno = saved;
	return l;
}

static bool prefix_matches(const struct cv_route *r, const uint8_t addr[16])
{
	unsigned bytes = r->prefix / 8u, bits = r->prefix % 8u;

	if (bytes > 16 || memcmp(r->addr, addr, bytes) != 0)
		return false;
	return bits == 0 || ((r->addr[bytes] ^ addr[bytes]) >> (8 - bits)) == 0;
}

/* fe80::/10: on the interface that the program says. */
static bool scope_matches(const struct cv_route *r, const struct cv_endpoint *end)
{
	bool scoped = end->addr[0] == 0xfe && (end->addr[1] & 0xc0) == 0x80;

	return !scoped || end->scope == 0 || end->scope == r->ifindex;
}

uint16_t link_interface(const struct link *l, const uint8_t addr[16])
{
	const struct cv_page *page = l->wait.page;

	for (uint32_t i = 0; i < page->routes_n && i < CV_ROUTES_MAX; i++) {
		const struct cv_route *r = &page->routes[i];

		if ((__atomic_load_n(&r->flags, __ATOMIC_ACQUIRE) & CV_ROUTE_LOCAL) && memcmp(r->addr, addr, 16) == 0)
			return r->ifindex;
	}
	return 0;
}

bool link_interface_address(const struct link *l, uint32_t ifindex, uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const struct cv_page *page = l->wait.page;

	for (uint32_t i = 0; i < page->routes_n && i < CV_ROUTES_MAX; i++) {
		const struct cv_route *r = &page->routes[i];

		if ((r->flags & CV_ROUTE_LOCAL) && r->ifindex == ifindex && memcmp(r->addr, mapped, 12) == 0) {
			memcpy(addr, r->addr, 16);
			return true;
		}
	}
	return false;
}

bool link_has_interface(const struct link *l, uint32_t ifindex)
{
	const struct cv_page *page = l->wait.page;

	for (uint32_t i = 0; ifindex != 0 && i < page->routes_n && i < CV_ROUTES_MAX; i++) {
		if (page->routes[i].ifindex == ifindex)
			return true;
	}
	return false;
}

enum link_side link_side_of(const struct link *l, const struct cv_endpoint *end, bool to_bind)
{
	const struct cv_page *page = l->wait.page;
	const struct cv_route *best = NULL;

	for (uint32_t i = 0; i < page->routes_n && i < CV_ROUTES_MAX; i++) {
		const struct cv_route *r = &page->routes[i];

		if (__atomic_load_n(&r->flags, __ATOMIC_ACQUIRE) != 0 && prefix_matches(r, end->addr) &&
			scope_matches(r, end) && (!best || r->prefix > best->prefix))
			best = r;
	}
	if (!best || (best->flags & CV_ROUTE_KERNEL))
		return LINK_KERNEL;
	if (best->flags & CV_ROUTE_LOCAL)
		return LINK_ENGINE;
	return (best->flags & CV_ROUTE_OUT) && !to_bind ? LINK_ENGINE : LINK_KERNEL;
}

int64_t link_request(struct link *l, struct cv_request *request, int fd)
{
	struct cv_reply reply;
	int error;

	lock();
	error = send_request(l->wait.control_fd, request, fd);
	if (!error)
		error = receive_reply(l->wait.control_fd, &reply, NULL, NULL);
	unlock();
	if (error == -ENETDOWN || error == -EPIPE || error == -ECONNRESET)
		mux_link_lost(&l->wait);
	return error ? error : (int64_t)reply.value;
}

bool link_sync(struct link *l)
{
	struct cv_request request = {.op = CV_CTL_SYNC};

	return link_request(l, &request, -1) == 0;
}

uint32_t link_worker_next(struct link *l)
{
	uint32_t n = l->wait.page->workers;

	/* Processes that open one socket each are spread, too. */
	return n > 1 ? (__atomic_fetch_add(&l->connects, 1, __ATOMIC_RELAXED) + (uint32_t)getpid()) % n : 0;
}

void mux_link_lost(struct wait_link *link)
{
	if (__atomic_exchange_n(&link->dead, 1, __ATOMIC_ACQ_REL) == 0)
		link_say(LINK_WARN, "the engine is gone: its connections are reset");
}

int mux_set_open(struct wait_link *link, int bell)
{
	struct cv_request request = {.op = CV_CTL_SET_OPEN};
	int64_t set = link_request((struct link *)(void *)link, &request, bell);

	if (set >= 0 && set >= link->seg->sets_max)
		return -EPROTO;
	return (int)set;
}

void mux_set_close(struct wait_link *link, uint32_t set)
{
	struct cv_request request = {.op = CV_CTL_SET_CLOSE, .arg = set};

	if (!link->dead)
		link_request((struct link *)(void *)link, &request, -1);
}

void link_end(void)
{
	struct link *l = link_now();

	if (!l)
		return;
	__atomic_store_n(&l->wait.dead, 1, __ATOMIC_RELEASE);
	mux_internal_close(l->wait.control_fd);
}

/* --- fork ------------------------------------------------------------------------------------- */

/* With the lock. */
static int child_connection(const struct link *l, uint32_t *proc)
{
	struct cv_request request = {.op = CV_CTL_FORK};
	int fds[CV_CTL_FDS_MAX];
	unsigned fds_n = 0;
	struct cv_reply reply;

	if (send_request(l->wait.control_fd, &request, -1) != 0 ||
		receive_reply(l->wait.control_fd, &reply, fds, &fds_n) != 0 || fds_n != 1)
		return -1;
	*proc = reply.value;
	return mux_internal_fd(fds[0]);
}

int link_child(struct link *l, uint32_t *proc)
{
	int fd;

	lock();
	fd = child_connection(l, proc);
	unlock();
	return fd;
}

static struct link *forking; /* the link that a fork under way shares, NULL: none */

/* The lock is held over the fork, linked or not: another thread may be just about to link. */
void link_fork_prepare(void)
{
	lock();
	forking = link_now();
	if (forking)
		forking->child_fd = child_connection(forking, &forking->child_proc);
}

void link_fork_parent(void)
{
	struct link *l = forking;

	forking = NULL;
	if (l) {
		mux_internal_close(l->child_fd);
		l->child_fd = -1;
	}
	unlock();
}

void link_fork_child(void)
{
	struct link *l = forking;

	forking = NULL;
	unlock();
	inline_fork_child();
	if (!l)
		return;
	l->wait.inside = NULL;
	mux_internal_close(l->wait.control_fd);
	l->wait.control_fd = l->child_fd;
	l->proc = l->child_proc;
	l->child_fd = -1;
	l->generation++;
	if (l->wait.control_fd < 0)
		mux_link_lost(&l->wait);
}
