/* SPDX-License-Identifier: BSD-3-Clause */
/* See callbacks.h. */
#define ALLOW_EXPERIMENTAL_API /* what a handle holds */
#include "dpdk/callbacks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stack/base/list.h"

#define BUDGET 64u /* of one look */

struct callback {
	struct list node;
	struct rte_intr_handle *handle;
	int fd;
	rte_intr_callback_fn fn;
	void *arg;
	bool running, over;
	rte_intr_unregister_callback_fn ended;
};

static struct list callbacks = {&callbacks, &callbacks};
static int epoll = -1;

int callbacks_start(void)
{
	if (epoll < 0)
		epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll < 0 ? -errno : epoll;
}

void callbacks_stop(void)
{
	if (epoll >= 0)
		close(epoll);
	epoll = -1;
}

/* memif's listener and its connections are the only Unix sockets that a driver waits for. */
static bool is_ours(const struct rte_intr_handle *handle)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return epoll >= 0 && rte_intr_type_get(handle) == RTE_INTR_HANDLE_EXT &&
		getsockopt(rte_intr_fd_get(handle), SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static struct callback *find(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, const void *arg)
{
	list_for_each(node, &callbacks)
	{
		struct callback *c = list_entry(node, struct callback, node);

		/* EAL's word for any argument is -1. */
		if (c->fd == rte_intr_fd_get(handle) && c->fn == fn && (c->arg == arg || arg == (void *)-1))
			return c;
	}
	return NULL;
}

static void end(struct callback *c)
{
	(void)epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
	list_del(&c->node);
	if (c->ended != NULL)
		c->ended(c->handle, c->arg);
	free(c);
}

/* One at a time: a callback may end others, whose events would still be in hand. */
unsigned callbacks_run(void)
{
	struct epoll_event ev;
	unsigned n = 0;

	while (n < BUDGET && epoll_wait(epoll, &ev, 1, 0) == 1) {
		struct callback *c = ev.data.ptr;

		c->running = true;
		c->fn(c->arg);
		c->running = false;
		if (c->over)
			end(c);
		n++;
	}
	return n;
}

int callbacks_register(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP};
	struct callback *c;

	if (!is_ours(handle))
		return -ENOTSUP;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return -ENOMEM;
	*c = (struct callback){
		.handle = (struct rte_intr_handle *)(uintptr_t)handle, .fd = rte_intr_fd_get(handle), .fn = fn, .arg = arg};
	ev.data.ptr = c;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
		free(c);
		return -errno;
	}
	list_add_tail(&callbacks, &c->node);
	return 0;
}

int callbacks_unregister(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	struct callback *c = find(handle, fn, arg);

	if (c == NULL)
		return -ENOTSUP;
	if (c->running)
		return -EAGAIN;
	end(c);
	return 1;
}

int callbacks_unregister_pending(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg,
	rte_intr_unregister_callback_fn ended)
{
	struct callback *c = find(handle, fn, arg);

	if (c == NULL)
		return -ENOTSUP;
	if (!c->running)
		return -EAGAIN;
	c->over = true;
	c->ended = ended;
	return 1;
}
