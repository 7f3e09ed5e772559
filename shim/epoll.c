/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoll_ctl, and the hooks by which descriptors leave or change sides.
 * Owns: membership. See epoll.h for the whole.
 */
#include "shim/epoll.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/memory.h"
#include "shim/real.h"
#include "stack/api/command.h"

/* What Linux lets go together with EPOLLEXCLUSIVE. */
#define EXCLUSIVE_ALLOWED                                                                          \
	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
/* A wildcard socket's room to send is told by the record alone. */
#define SHADOW_EVENTS (EPOLLIN | EPOLLRDNORM | EPOLLPRI | EPOLLRDHUP | EPOLLET | EPOLLEXCLUSIVE)

/* --- items ----------------------------------------------------------------------------------- */

static void ep_unwatch(struct ep *ep, struct mux_item *item)
{
	struct cv_command command = {.op = CV_CMD_UNWATCH,
		.sock = item->handle,
		.arg = ep->set_index,
		.len = item->cookie};

	/* A set inherited and not taken over is the parent's to change. */
	if (!ep->set || ep->link != item->file->link || ep->generation != ep_generation)
		return;
	/* Another thread's "watch" that came after this would stay for good. */
	mux_await(ep->link, &item->watched);
	mux_post(ep->link, &command, NULL);
}

static struct mux_item *item_find(const struct ep *ep, int fd, const struct mux_file *file)
{
	struct mux_item *item = (uint32_t)fd < ep->by_fd_n ? ep->by_fd[fd] : NULL;

	while (item && item->file != file)
		item = item->fd_next;
	return item;
}

static bool table_fits(struct ep *ep, int fd)
{
	if (ep->slot_free == ep->slots_n) {
		uint32_t n = ep->slots_n ? 2 * ep->slots_n : 16;
		struct ep_slot *slots =
			n <= EP_SLOTS_MAX ? memory_grow(ep->slots, ep->slots_n * sizeof(*slots), n * sizeof(*slots))
					  : NULL;

		if (!slots)
			return false;
		ep->slots = slots;
		for (uint32_t i = ep->slots_n; i < n; i++)
			slots[i] = (struct ep_slot){.next_free = i + 1};
		ep->slots_n = n;
	}
	if ((uint32_t)fd >= ep->by_fd_n) {
		uint32_t n = (uint32_t)fd + 64 + (uint32_t)fd / 2;
		struct mux_item **by_fd =
			memory_grow(ep->by_fd, ep->by_fd_n * sizeof(struct mux_item *), n * sizeof(struct mux_item *));

		if (!by_fd)
			return false;
		ep->by_fd = by_fd;
		ep->by_fd_n = n;
	}
	return true;
}

static struct mux_item *item_add(struct ep *ep, int fd, struct mux_file *file, enum item_kind kind,
	const struct epoll_event *event)
{
	struct mux_item *item = memory_get(sizeof(*item));
	struct ep_slot *slot;
	bool locked;

	if (!item)
		return NULL;
	locked = ep_lock(&ep->lock);
	if (!table_fits(ep, fd)) {
		ep_unlock(&ep->lock, locked);
		memory_put(item, sizeof(*item));
		return NULL;
	}
	*item = (struct mux_item){.ep = ep,
		.file = file,
		.fd = fd,
		.kind = kind,
		.handle = file->handle,
		.cookie = ep->slot_free + ep->slots[ep->slot_free].life * EP_SLOTS_MAX,
		.events = event->events,
		.data = event->data,
		.fresh = true,
		.fd_next = ep->by_fd[fd],
		.file_next = file->items};
	ep->by_fd[fd] = item;
	file->items = item;
	slot = &ep->slots[ep->slot_free];
	ep->slot_free = slot->next_free;
	slot->item = item;
	ep->items_n++;
	ep->nested_n += kind == ITEM_NESTED;
	ep_unlock(&ep->lock, locked);
	return item;
}

void ep_item_tag(struct mux_item *item, bool tagged)
{
	struct mux_item **link = &item->ep->tagged;

	if (item->tagged == tagged)
		return;
	item->tagged = tagged;
	if (tagged) {
		item->tagged_next = *link;
		*link = item;
		return;
	}
	while (*link != item)
		link = &(*link)->tagged_next;
	*link = item->tagged_next;
}

static void item_remove(struct mux_item *item)
{
	struct ep *ep = item->ep;
	struct mux_item **link = &item->file->items;
	struct ep_slot *slot;
	bool locked;

	while (*link != item)
		link = &(*link)->file_next;
	*link = item->file_next;
	if (item->kind == ITEM_OURS)
		ep_unwatch(ep, item);
	locked = ep_lock(&ep->lock);
	for (link = &ep->by_fd[item->fd]; *link != item;)
		link = &(*link)->fd_next;
	*link = item->fd_next;
	ep_unqueue(ep, item);
	slot = &ep->slots[EP_SLOT(item->cookie)];
	*slot = (struct ep_slot){.next_free = ep->slot_free, .life = slot->life + 1};
	ep->slot_free = EP_SLOT(item->cookie);
	ep->items_n--;
	ep->nested_n -= item->kind == ITEM_NESTED;
	ep_item_tag(item, false);
	ep_unlock(&ep->lock, locked);
	memory_put(item, sizeof(*item));
}

int ep_tag_ctl(int epfd, int op, struct mux_item *item)
{
	struct epoll_event event = {.events = item->events, .data.ptr = item};
	struct ep *ep = item->ep;

	if (item->kind == ITEM_OURS)
		event.events &= SHADOW_EVENTS;
	if (real_epoll_ctl(epfd, op, item->fd, &event) != 0)
		return -errno;
	if (op != EPOLL_CTL_MOD) {
		bool locked = ep_lock(&ep->lock), tagged = op == EPOLL_CTL_ADD;

		ep_item_tag(item, tagged);
		ep_unlock(&ep->lock, locked);
		__atomic_fetch_add(&ep->kernel_n, tagged ? 1 : -1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* The item's socket is the engine's: from now on our set watches it. */
static int item_watch(struct ep *ep, int epfd, struct mux_item *item)
{
	int error = ep_set_open(ep, epfd, item->file->link);

	if (!error)
		error = ep_watch(ep, item);
	if (!error && item->file->both)
		error = ep_tag_ctl(epfd, EPOLL_CTL_ADD, item);
	if (!error)
		ep_item_kick(ep, item);
	return error;
}

/* --- epoll_ctl ------------------------------------------------------------------------------- */

static int event_check(int op, const struct mux_file *file, const struct epoll_event *event)
{
	if (op != EPOLL_CTL_DEL && !event)
		return -EFAULT;
	if (op == EPOLL_CTL_DEL || !(event->events & EPOLLEXCLUSIVE))
		return 0;
	if (op == EPOLL_CTL_MOD || file->ep || (event->events & ~(uint32_t)EXCLUSIVE_ALLOWED))
		return -EINVAL;
	return 0;
}

static int ours_add(
	struct ep *ep, int epfd, int fd, struct mux_file *f, const struct epoll_event *event)
{
	struct mux_item *item = item_add(ep, fd, f, ITEM_OURS, event);
	int error;

	if (!item)
		return -ENOMEM;
	error = item_watch(ep, epfd, item);
	if (error) {
		if (item->tagged)
			ep_tag_ctl(epfd, EPOLL_CTL_DEL, item);
		item_remove(item);
	}
	return error;
}

static int ours_mod(struct ep *ep, int epfd, struct mux_item *item, const struct epoll_event *event)
{
	bool locked;

	if (item->events & EPOLLEXCLUSIVE)
		return -EINVAL;
	locked = ep_lock(&ep->lock);
	item->events = event->events;
	item->data = event->data;
	item->disabled = false;
	item->fresh = true;
	ep_unlock(&ep->lock, locked);
	if (item->tagged)
		ep_tag_ctl(epfd, EPOLL_CTL_MOD, item);
	ep_item_kick(ep, item);
	return 0;
}

/* The kernel has the item, under the program's own data. */
static void item_take_over(struct mux_item *item, int epfd)
{
	struct ep *ep = item->ep;
	bool locked;

	real_epoll_ctl(epfd, EPOLL_CTL_DEL, item->fd, NULL);
	__atomic_fetch_sub(&ep->kernel_n, 1, __ATOMIC_RELAXED);
	locked = ep_lock(&ep->lock);
	item->kind = ITEM_OURS;
	item->handle = item->file->handle;
	item->fresh = true;
	ep_unlock(&ep->lock, locked);
	/* An error leaves the item without events; the socket still works. The set could not be had
	 * because the engine just died (then the link's end wakes nobody who has no set) or because
	 * its sets are used up. */
	(void)item_watch(ep, epfd, item);
}

static int ours_ctl(struct ep *ep, int epfd, int op, int fd, struct mux_file *f,
	const struct epoll_event *event)
{
	struct mux_item *item = item_find(ep, fd, f);

	if (item && item->kind == ITEM_KERNEL)
		item_take_over(item, epfd);
	switch (op) {
	case EPOLL_CTL_ADD:
		return item ? -EEXIST : ours_add(ep, epfd, fd, f, event);
	case EPOLL_CTL_MOD:
		return item ? ours_mod(ep, epfd, item, event) : -ENOENT;
	case EPOLL_CTL_DEL:
		if (!item)
			return -ENOENT;
		if (item->tagged)
			ep_tag_ctl(epfd, EPOLL_CTL_DEL, item);
		item_remove(item);
		return 0;
	default:
		return -EINVAL;
	}
}

static int kernel_ctl(struct ep *ep, int epfd, int op, int fd, struct epoll_event *event)
{
	if (real_epoll_ctl(epfd, op, fd, event) != 0)
		return -errno;
	if (op != EPOLL_CTL_MOD)
		__atomic_fetch_add(&ep->kernel_n, op == EPOLL_CTL_ADD ? 1 : -1, __ATOMIC_RELAXED);
	return 0;
}

/* The kernel serves it, for now: we remember what it was added with. */
static int undecided_ctl(
	struct ep *ep, int epfd, int op, int fd, struct mux_file *f, struct epoll_event *event)
{
	struct mux_item *item = item_find(ep, fd, f);
	int error = kernel_ctl(ep, epfd, op, fd, event);

	if (error)
		return error;
	if (op == EPOLL_CTL_DEL && item) {
		item_remove(item);
	} else if (op == EPOLL_CTL_MOD && item) {
		item->events = event->events;
		item->data = event->data;
	} else if (op == EPOLL_CTL_ADD && !item_add(ep, fd, f, ITEM_KERNEL, event)) {
		kernel_ctl(ep, epfd, EPOLL_CTL_DEL, fd, NULL);
		return -ENOMEM;
	}
	return 0;
}

/* Another epoll instance. Its events carry a tag, so that a wake-up by its bell that turns out to
 * be for nothing can be told from the program's own data. */
static int nested_ctl(
	struct ep *ep, int epfd, int op, int fd, struct mux_file *f, struct epoll_event *event)
{
	struct mux_item *item = item_find(ep, fd, f);
	int error;

	if (op == EPOLL_CTL_ADD && !item) {
		item = item_add(ep, fd, f, ITEM_NESTED, event);
		if (!item)
			return -ENOMEM;
		error = ep_tag_ctl(epfd, EPOLL_CTL_ADD, item);
		if (error)
			item_remove(item);
		else
			ep_mark_nested(f->ep, fd);
		return error;
	}
	if (!item)
		return kernel_ctl(ep, epfd, op, fd, event);
	if (op == EPOLL_CTL_MOD) {
		item->events = event->events;
		item->data = event->data;
	}
	error = op == EPOLL_CTL_ADD ? -EEXIST : ep_tag_ctl(epfd, op, item);
	if (!error && op == EPOLL_CTL_DEL)
		item_remove(item);
	return error;
}

static int ep_ctl(
	struct ep *ep, int epfd, int op, int fd, struct mux_file *f, struct epoll_event *event)
{
	int error = event_check(op, f, event);
	bool locked;

	if (error)
		return error;
	locked = mux_lock();
	if (f->rec)
		error = ours_ctl(ep, epfd, op, fd, f, event);
	else if (f->ep && f->ep != ep)
		error = nested_ctl(ep, epfd, op, fd, f, event);
	else if (f->undecided)
		error = undecided_ctl(ep, epfd, op, fd, f, event);
	else
		error = kernel_ctl(ep, epfd, op, fd, event);
	mux_unlock(locked);
	return error;
}

int shim_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct mux_file *f = mux_file_get(fd), *epfile;
	struct ep *ep = ep_enter(epfd, &epfile);
	int result;

	if (!ep && f)
		ep = ep_enter_unknown(epfd, &epfile);
	if (!ep)
		result = real_epoll_ctl(epfd, op, fd, event) == 0 ? 0 : -errno;
	else if (!f)
		result = kernel_ctl(ep, epfd, op, fd, event);
	else
		result = ep_ctl(ep, epfd, op, fd, f, event);
	if (ep)
		ep_leave(ep, epfile);
	if (f)
		mux_file_put(f);
	return ep_result(result);
}

/* --- hooks ----------------------------------------------------------------------------------- */

void mux_sock_decided(int fd, struct mux_file *f)
{
	bool locked = mux_lock();

	(void)fd;
	for (struct mux_item *item = f->items; item; item = item->file_next) {
		int epfd = item->kind == ITEM_KERNEL ? ep_any_fd(item->ep) : -1;

		if (epfd < 0)
			continue;
		if (item->ep->generation != ep_generation)
			ep_adopt(item->ep, epfd);
		if (item->kind == ITEM_KERNEL)
			item_take_over(item, epfd);
	}
	mux_unlock(locked);
}

void mux_sock_both(struct mux_file *f)
{
	bool locked = mux_lock();

	for (struct mux_item *item = f->items; item; item = item->file_next) {
		int epfd = item->kind == ITEM_OURS && item->tagged != f->both ? ep_any_fd(item->ep) : -1;

		if (epfd >= 0)
			ep_tag_ctl(epfd, f->both ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, item);
	}
	mux_unlock(locked);
}

void mux_sock_undecided_gone(struct mux_file *f)
{
	bool locked = mux_lock();

	/* The kernel has it already; ours forget it. */
	while (f->items)
		item_remove(f->items);
	mux_unlock(locked);
}

static void ep_close(struct ep *ep)
{
	bool locked;

	for (uint32_t i = 0; i < ep->slots_n; i++) {
		if (ep->slots[i].item)
			item_remove(ep->slots[i].item);
	}
	ep_set_forget(ep, ep->generation == ep_generation);
	locked = ep_lock(&ep->lock);
	memory_put(ep->slots, ep->slots_n * sizeof(*ep->slots));
	memory_put(ep->by_fd, ep->by_fd_n * sizeof(struct mux_item *));
	ep->slots = NULL;
	ep->by_fd = NULL;
	ep->slots_n = ep->slot_free = ep->by_fd_n = 0;
	ep->file = NULL;
	ep_unlock(&ep->lock, locked);
	ep->closed = true;
}

void mux_file_kick(struct mux_file *f)
{
	bool locked = mux_lock();

	for (struct mux_item *item = f->items; item; item = item->file_next) {
		if (item->kind != ITEM_OURS)
			continue;
		item->fresh = true;
		ep_item_kick(item->ep, item);
	}
	mux_unlock(locked);
}

void mux_file_closed(struct mux_file *f)
{
	bool locked;

	if (!f->items && !f->ep)
		return;
	locked = mux_lock();
	while (f->items) {
		struct mux_item *item = f->items;

		if (item->tagged || item->kind == ITEM_KERNEL)
			__atomic_fetch_sub(&item->ep->kernel_n, 1, __ATOMIC_RELAXED);
		item_remove(item);
	}
	if (f->ep)
		ep_close(f->ep);
	f->ep = NULL;
	mux_unlock(locked);
}
