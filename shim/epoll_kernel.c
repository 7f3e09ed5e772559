/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's half of an instance: what it tells, without what is not the program's, and what others learn of ours by it.
 * Owns: nothing. See epoll.h for the whole.
 */
#include "shim/atomic.h"
#include "shim/epoll.h"
#include "shim/real.h"

static bool fd_is_readable(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return wait_kernel_poll(&entry, 1) == 1;
}

void ep_sync_nested(struct ep *ep)
{
	for (const struct mux_item *item = ep->tagged; item; item = item->tagged_next) {
		if (item->kind == ITEM_NESTED && item->file->ep)
			ep_sync(item->file->ep, item->fd);
	}
}

bool ep_sync(struct ep *ep, int epfd)
{
	bool locked, any;

	if (ep->generation != ep_generation || !ep->nested) {
		locked = mux_lock();
		if (ep->generation != ep_generation)
			ep_adopt(ep, epfd);
		ep_mark_nested(ep, epfd);
		mux_unlock(locked);
	}
	locked = ep_lock(&ep->lock);
	if (ep->nested_n)
		ep_sync_nested(ep);
	if (!ep->set) {
		ep_unlock(&ep->lock, locked);
		return false;
	}
	ep_drain(ep);
	any = ep_any_ready(ep);
	if (!any) {
		/* Silence the bell, then look whether that was right. */
		wait_bell_read(ep->bell);
		ep_rearm(ep);
		ep_drain(ep);
		any = ep_any_ready(ep);
	}
	/* No second ring on top of one: it would be an edge that nothing has caused. */
	if (any && !fd_is_readable(ep->bell))
		ep_wake(ep);
	ep_unlock(&ep->lock, locked);
	return any;
}

static struct mux_item *tagged_find(const struct ep *ep, const void *tag)
{
	struct mux_item *item = ep->tagged;

	while (item && item != tag)
		item = item->tagged_next;
	return item;
}

/* An event of the kernel's half that carries an item of ours. Fills in what the program gets;
 * false: nothing. */
static bool tagged_event(int epfd, struct mux_item *item, struct epoll_event *event, uint32_t batch)
{
	uint32_t events = event->events;

	if (item->kind == ITEM_NESTED) {
		struct ep *inner = item->file->ep;

		/* Its bell may have rung for what is gone again. Its sync looks at the rest too. */
		if (inner && !ep_sync(inner, item->fd) && !fd_is_readable(item->fd)) {
			if (item->events & EPOLLONESHOT)
				ep_tag_ctl(epfd, EPOLL_CTL_MOD, item);
			return false;
		}
	} else {
		if (item->disabled || item->batch == batch)
			return false;
		events |= wait_ready(item->file);
		events &= (item->events & EVENT_BITS) | EVENT_ALWAYS;
		if (!events)
			return false;
		item->batch = batch;
		if (item->events & EPOLLET)
			ep_item_see(item);
		if (item->events & EPOLLONESHOT)
			ep_item_disable(item);
	}
	event->events = events;
	event->data = item->data;
	return true;
}

static void control_event(struct ep *ep, int epfd, const struct epoll_event *event)
{
	struct wait_link *link = ep->link;

	if (!link || !(event->events & (EPOLLHUP | EPOLLERR)))
		return;
	real_epoll_ctl(epfd, EPOLL_CTL_DEL, link->control_fd, NULL);
	mux_link_lost(link);
}

/* Takes out what is not the program's, translates what is tagged; returns how many are left. */
int ep_filter(struct ep *ep, int epfd, struct epoll_event *out, int n, uint32_t batch)
{
	int kept = 0;
	bool locked;

	if (n <= 0 || (!ep->set && !ep->tagged))
		return n;
	locked = ep_lock(&ep->lock);
	for (int i = 0; i < n; i++) {
		struct mux_item *item;

		if (out[i].data.ptr == EP_BELL_TAG(ep)) {
			/* Seen from outside it is a level: then it must be read away. */
			if (ep->nested && ep->set)
				wait_bell_read(ep->bell);
			if (ep->set)
				ep_rearm(ep);
			continue;
		}
		if (out[i].data.ptr == EP_CONTROL_TAG(ep)) {
			control_event(ep, epfd, &out[i]);
			continue;
		}
		item = tagged_find(ep, out[i].data.ptr);
		if (item && !tagged_event(epfd, item, &out[i], batch))
			continue;
		out[kept++] = out[i];
	}
	ep_unlock(&ep->lock, locked);
	return kept;
}

/* Looks at the kernel's half. Looks again when all that came was not for the program: what is there
 * behind it must not wait for its next turn. */
int ep_look_kernel(struct ep *ep, int epfd, struct epoll_event *out, int max, uint32_t batch)
{
	int n, kept = 0;

	if (LOAD(ep->nested_n)) {
		bool locked = ep_lock(&ep->lock);

		ep_sync_nested(ep);
		ep_unlock(&ep->lock, locked);
	}
	for (int tries = 0; tries < 3 && kept == 0; tries++) {
		n = real_epoll_wait(epfd, out, max, 0);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		kept = ep_filter(ep, epfd, out, n, batch);
	}
	return kept;
}
