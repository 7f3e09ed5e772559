/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoll_create, epoll_create1, and what an instance is made of: its memory, its locks, its set at
 * the engine and the bell in the kernel's half. Does not own its members (epoll.c) nor the ready
 * list (epoll_ready.c). Called by the other files of epoll; see epoll.h for the whole.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shim/epoll.h"
#include "shim/memory.h"
#include "shim/real.h"
#include "stack/api/command.h"

#define LOCK_TRIES 100

struct ep *ep_all;
uint32_t ep_generation;
static struct ep_lock membership;
static int membership_cancel; /* its holder's state */

/* --- locks ---------------------------------------------------------------------------------------
 */

/* Its address names the thread, also over fork. */
static __thread char self;

bool ep_lock(struct ep_lock *lock)
{
	const void *expected = NULL;

	if (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == &self)
		return false;
	for (unsigned tries = 0; !__atomic_compare_exchange_n(
		     &lock->owner, &expected, &self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
		tries++) {
		expected = NULL;
		/* Held for less than a microsecond, unless its holder lost the core. */
		if (tries >= LOCK_TRIES)
			sched_yield();
	}
	return true;
}

void ep_unlock(struct ep_lock *lock, bool locked)
{
	if (locked)
		__atomic_store_n(&lock->owner, NULL, __ATOMIC_RELEASE);
}

/* Descriptors are made and closed under it, where a thread could be cancelled. */
bool mux_lock(void)
{
	bool locked;
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	locked = ep_lock(&membership);
	if (locked)
		membership_cancel = cancel;
	else
		pthread_setcancelstate(cancel, NULL);
	return locked;
}

void mux_unlock(bool locked)
{
	int cancel = membership_cancel;

	ep_unlock(&membership, locked);
	if (locked)
		pthread_setcancelstate(cancel, NULL);
}

/* --- instances ------------------------------------------------------------------------------- */

/* Instances are few; their memory is never given back, so that a thread that still sleeps in a
 * closed one finds it. */
static struct ep *ep_new(void)
{
	bool locked = mux_lock();
	struct ep *ep;

	for (ep = ep_all; ep; ep = ep->next) {
		if (ep->closed && __atomic_load_n(&ep->users, __ATOMIC_SEQ_CST) == 0)
			break;
	}
	if (ep) {
		struct ep *next = ep->next;

		*ep = (struct ep){.next = next};
	} else {
		ep = memory_get(sizeof(*ep));
		if (ep) {
			ep->next = ep_all;
			ep_all = ep;
		}
	}
	if (ep) {
		ep->bell = -1;
		ep->generation = ep_generation;
	}
	mux_unlock(locked);
	return ep;
}

static void ep_discard(struct ep *ep)
{
	bool locked = mux_lock();

	ep->closed = true;
	mux_unlock(locked);
}

/* Gives a new kernel instance its ep. Returns fd or -errno (fd is closed then). */
static int ep_register(int fd)
{
	struct ep *ep = ep_new();
	int error;

	if (!ep) {
		quiet_close(fd);
		return -ENOMEM;
	}
	error = mux_file_add_epoll(fd, ep);
	if (error) {
		ep_discard(ep);
		return error;
	}
	ep->file = mux_file_get(fd);
	if (ep->file)
		mux_file_put(ep->file);
	return fd;
}

int shim_epoll_create1(int flags)
{
	int fd = real_epoll_create1(flags);

	return fd < 0 ? fd : ep_result(ep_register(fd));
}

int shim_epoll_create(int size)
{
	int fd = real_epoll_create(size);

	return fd < 0 ? fd : ep_result(ep_register(fd));
}

struct ep *ep_enter(int epfd, struct mux_file **file)
{
	struct mux_file *f = mux_file_get(epfd);
	struct ep *ep = f ? f->ep : NULL;
	bool locked;

	*file = f;
	if (!ep) {
		if (f)
			mux_file_put(f);
		return NULL;
	}
	__atomic_fetch_add(&ep->users, 1, __ATOMIC_SEQ_CST);
	if (ep->generation != ep_generation) {
		locked = mux_lock();
		ep_adopt(ep, epfd);
		mux_unlock(locked);
	}
	return ep;
}

void ep_leave(struct ep *ep, struct mux_file *file)
{
	__atomic_fetch_sub(&ep->users, 1, __ATOMIC_SEQ_CST);
	mux_file_put(file);
}

bool ep_has_members(const struct ep *ep)
{
	return ep->set != NULL || ep->tagged != NULL;
}

static void take_fd(int fd, void *arg)
{
	*(int *)arg = fd;
}

int ep_any_fd(struct ep *ep)
{
	int fd = -1;

	if (ep->file)
		mux_file_each_fd(ep->file, take_fd, &fd);
	return fd;
}

struct ep *ep_enter_unknown(int epfd, struct mux_file **file)
{
	char path[40], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", epfd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return NULL;
	target[n] = 0;
	if (strcmp(target, "anon_inode:[eventpoll]") != 0)
		return NULL;
	if (ep_register(epfd) < 0)
		return NULL;
	return ep_enter(epfd, file);
}

/* --- the set --------------------------------------------------------------------------------- */

static int kernel_add(int epfd, int fd, uint32_t events, void *tag)
{
	struct epoll_event event = {.events = events, .data.ptr = tag};

	if (real_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static void set_locate(struct ep *ep, struct wait_link *link, uint32_t index)
{
	uint8_t *base = (uint8_t *)(uintptr_t)link->seg;
	struct cv_set *set = (struct cv_set *)(void *)(base + link->seg->sets_off +
						       index * link->seg->set_stride);

	ep->link = link;
	ep->set_index = index;
	ep->ring_mask = link->seg->set_entries - 1;
	for (unsigned k = 0; k < wait_set_rings(link->seg); k++) {
		const struct cv_set *ring = wait_set_ring(link->seg, set, k);

		ep->head[k] = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
		ep->overflow[k] = __atomic_load_n(&ring->overflow, __ATOMIC_RELAXED);
	}
	ep->dead_seen = false;
	__atomic_store_n(&ep->set, set, __ATOMIC_SEQ_CST);
	/* Whoever sleeps in the kernel already has armed nothing. */
	wait_set_arm(set, &ep->armed);
}

int ep_set_open(struct ep *ep, int epfd, struct wait_link *link)
{
	int bell, index, error;
	bool locked;

	if (ep->set && ep->link == link)
		return 0;
	if (ep->set)
		ep_set_forget(ep, true);
	error = ep->shared ? ep_privatise(ep, epfd) : 0;
	if (error)
		return error;
	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	bell = bell < 0 ? -errno : mux_internal_fd(bell);
	if (bell < 0)
		return bell;
	index = mux_set_open(link, bell);
	if (index < 0) {
		mux_internal_close(bell);
		return index;
	}
	ep->bell = bell;
	locked = ep_lock(&ep->lock);
	set_locate(ep, link, (uint32_t)index);
	ep_unlock(&ep->lock, locked);
	/* An edge is enough for the sleepers of this set, and need not be read away. From outside
	 * only the level is seen. */
	error = kernel_add(
		epfd, bell, ep->nested ? EPOLLIN : EPOLLIN | (uint32_t)EPOLLET, EP_BELL_TAG(ep));
	if (!error)
		error = kernel_add(epfd, link->control_fd, 0, EP_CONTROL_TAG(ep));
	if (error)
		ep_set_forget(ep, true);
	return error;
}

void ep_set_forget(struct ep *ep, bool close_set)
{
	struct wait_link *link = ep->link;
	bool locked = ep_lock(&ep->lock);
	struct cv_set *set = ep->set;
	int epfd;

	ep->set = NULL;
	ep->link = NULL;
	ep_unlock(&ep->lock, locked);
	if (!set)
		return;
	epfd = close_set ? ep_any_fd(ep) : -1;
	if (epfd >= 0)
		real_epoll_ctl(epfd, EPOLL_CTL_DEL, link->control_fd, NULL);
	if (close_set)
		mux_set_close(link, ep->set_index);
	mux_internal_close(ep->bell);
	ep->bell = -1;
}

int ep_watch(struct ep *ep, struct mux_item *item)
{
	struct cv_command command = {.op = CV_CMD_WATCH,
		.sock = item->handle,
		.arg = ep->set_index,
		.len = item->cookie};

	return mux_post(item->file->link, &command, &item->watched);
}

void ep_mark_nested(struct ep *ep, int epfd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = EP_BELL_TAG(ep)};

	if (ep->nested)
		return;
	ep->nested = true;
	if (!ep->set)
		return;
	real_epoll_ctl(epfd, EPOLL_CTL_MOD, ep->bell, &event);
	wait_set_arm(ep->set, &ep->armed);
}
