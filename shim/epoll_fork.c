/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Epoll instances and fork.
 *
 * On Linux parent and child share one interest list. Ours is each process's own, so that either may
 * go on alone: at its first use in the child, an instance with engine members gets a kernel's half
 * of its own (a new epoll instance under the same descriptor numbers, with the same kernel members
 * as /proc/self/fdinfo tells them) and a set of its own; all engine members are watched again. The
 * parent goes on undisturbed. daemon(), where the parent exits and the child goes on with the set,
 * behaves as on Linux. Where both go on, both get every event, and a change by one is not seen by
 * the other; on Linux each event of a shared set goes to one of them. Instances that hold kernel
 * descriptors only stay shared as they are.
 */
#include "shim/epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/real.h"

static bool prepared_membership;

/* Takes the locks of all instances or of none: a thread inside may hold an outer one and want an
 * inner one, so that waiting for one while holding others could last for ever. */
static bool try_lock_all(void)
{
	static const char fork_owner;
	struct ep *ep, *undo;

	for (ep = ep_all; ep; ep = ep->next) {
		const void *expected = NULL;

		if (!__atomic_compare_exchange_n(&ep->lock.owner, &expected, &fork_owner, false,
			    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			break;
	}
	if (!ep)
		return true;
	for (undo = ep_all; undo != ep; undo = undo->next)
		__atomic_store_n(&undo->lock.owner, NULL, __ATOMIC_RELEASE);
	return false;
}

static void unlock_all(void)
{
	for (struct ep *ep = ep_all; ep; ep = ep->next)
		__atomic_store_n(&ep->lock.owner, NULL, __ATOMIC_RELEASE);
}

void mux_fork_prepare(void)
{
	prepared_membership = mux_lock();
	while (!try_lock_all())
		sched_yield();
}

void mux_fork_parent(void)
{
	unlock_all();
	mux_unlock(prepared_membership);
}

void mux_fork_child(void)
{
	ep_generation++;
	for (struct ep *ep = ep_all; ep; ep = ep->next) {
		ep->sleepers = 0;
		ep->users = 0;
		ep->shared = true;
	}
	unlock_all();
	mux_unlock(prepared_membership);
}

/* --- taking over ----------------------------------------------------------------------------- */

static bool is_ours(const struct ep *ep, int fd, uint64_t data)
{
	void *tag = (void *)(uintptr_t)data;

	if (tag == EP_BELL_TAG(ep) || tag == EP_CONTROL_TAG(ep))
		return true;
	for (const struct mux_item *item = ep->tagged; item; item = item->tagged_next) {
		if (item == tag && item->fd == fd)
			return true;
	}
	return false;
}

/* A file's lines, without the program's allocator: memory.h says why. */
struct lines {
	int fd;
	off_t pos;
	size_t at, end;
	char text[1024];
};

/* The next line, ended by 0 instead of its newline; NULL: there is no more. */
static char *line_next(struct lines *l)
{
	char *line, *newline;
	ssize_t n;

	while (!(newline = memchr(l->text + l->at, '\n', l->end - l->at))) {
		memmove(l->text, l->text + l->at, l->end - l->at);
		l->end -= l->at;
		l->at = 0;
		n = quiet_pread(l->fd, l->text + l->end, sizeof(l->text) - l->end, l->pos);
		if (n <= 0)
			return NULL;
		l->end += (size_t)n;
		l->pos += n;
	}
	*newline = 0;
	line = l->text + l->at;
	l->at = (size_t)(newline + 1 - l->text);
	return line;
}

/* Adds to `to` what the kernel says that `from` holds, except what we put there ourselves. */
static int kernel_copy(const struct ep *ep, int from, int to)
{
	struct lines info = {.at = 0};
	char path[48], *line;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", from);
	info.fd = (int)real_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (info.fd < 0)
		return -errno;
	while ((line = line_next(&info))) {
		struct epoll_event event;
		unsigned long long data;
		unsigned events;
		int fd;

		if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3 ||
			is_ours(ep, fd, data))
			continue;
		event.events = events;
		event.data.u64 = data;
		/* A number that is closed, its file held by a duplicate only: the kernel would go
		 * on reporting it; we cannot name it any more. */
		real_epoll_ctl(to, EPOLL_CTL_ADD, fd, &event);
	}
	quiet_close(info.fd);
	return 0;
}

struct replace {
	int with;
};

static void replace_fd(int fd, void *arg)
{
	const struct replace *r = arg;
	int flags = real_fcntl(fd, F_GETFD);

	if (flags >= 0)
		real_dup3(r->with, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

int ep_privatise(struct ep *ep, int epfd)
{
	struct replace r = {.with = real_epoll_create1(EPOLL_CLOEXEC)};
	int error;

	if (r.with < 0)
		return -errno;
	error = kernel_copy(ep, epfd, r.with);
	if (!error)
		mux_file_each_fd(ep->file, replace_fd, &r);
	quiet_close(r.with);
	if (!error)
		ep->shared = false;
	return error;
}

/* The parent's set is the parent's: it only loses our descriptor of its bell. */
static void watch_again(struct ep *ep, int epfd)
{
	for (uint32_t i = 0; i < ep->slots_n; i++) {
		struct mux_item *item = ep->slots[i].item;

		if (!item)
			continue;
		if (item->kind == ITEM_OURS && ep_set_open(ep, epfd, item->file->link) == 0 &&
			ep_watch(ep, item) == 0)
			ep_item_kick(ep, item);
		if (item->tagged) {
			/* Counted already. */
			__atomic_fetch_sub(&ep->kernel_n, 1, __ATOMIC_RELAXED);
			ep_item_tag(item, false);
			ep_tag_ctl(epfd, EPOLL_CTL_ADD, item);
		}
	}
}

void ep_adopt(struct ep *ep, int epfd)
{
	if (ep->generation == ep_generation)
		return;
	ep->generation = ep_generation;
	/* The copies of those nested in it must be there before they are added to ours. */
	for (uint32_t i = 0; i < ep->slots_n; i++) {
		struct mux_item *item = ep->slots[i].item;

		if (item && item->kind == ITEM_NESTED && item->file->ep)
			ep_adopt(item->file->ep, item->fd);
	}
	if (!ep->set && ep->items_n == 0)
		return;
	if (ep_privatise(ep, epfd) != 0)
		return;
	if (ep->set)
		ep_set_forget(ep, false);
	watch_again(ep, epfd);
}
