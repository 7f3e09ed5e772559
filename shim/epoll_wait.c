/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting on an instance: looking at both halves of it and sleeping in the kernel's. Called by
 * epoll_call.c and poll.c. Owns: the ready list and the ring's head. See epoll.h for the whole.
 *
 * A look at our half costs the events that arrived and the items on the ready list, whatever the
 * number of members. The kernel's half is looked at when ours has nothing, and while ours is busy
 * at every tick of the coarse clock, or after KERNEL_LOOK_LOOKS looks that were faster than that; who goes first
 * alternates, so that neither starves, even with room for one event.
 */
#include <errno.h>
#include <limits.h>

#include "shim/epoll.h"
#include "shim/real.h"

#define KERNEL_LOOK_LOOKS 16
/* Bits of epoll_event.events that are readiness, and those that are always of interest. */
#define EVENT_BITS 0xffffu
#define EVENT_ALWAYS (EPOLLERR | EPOLLHUP)

#define LOAD(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELEASE)
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* --- the ready list ------------------------------------------------------------------------------
 */

void ep_queue(struct ep *ep, struct mux_item *item)
{
	if (item->ready)
		return;
	item->ready = true;
	item->ready_next = NULL;
	item->ready_prev = ep->ready_last;
	if (ep->ready_last)
		ep->ready_last->ready_next = item;
	else
		ep->ready_first = item;
	ep->ready_last = item;
	ep->ready_n++;
}

void ep_unqueue(struct ep *ep, struct mux_item *item)
{
	if (!item->ready)
		return;
	item->ready = false;
	if (item->ready_prev)
		item->ready_prev->ready_next = item->ready_next;
	else
		ep->ready_first = item->ready_next;
	if (item->ready_next)
		item->ready_next->ready_prev = item->ready_prev;
	else
		ep->ready_last = item->ready_prev;
	ep->ready_n--;
}

static void queue_all(struct ep *ep)
{
	for (uint32_t i = 0; i < ep->slots_n; i++) {
		struct mux_item *item = ep->slots[i].item;

		if (item && item->kind == ITEM_OURS)
			ep_queue(ep, item);
	}
}

void ep_wake(const struct ep *ep)
{
	wait_bell_write(ep->bell);
}

/* A new value, so that the engine rings again for whoever still sleeps. */
void ep_rearm(struct ep *ep)
{
	if (ep->sleepers || ep->nested)
		wait_set_arm(ep->set, &ep->armed);
	else
		wait_set_disarm(ep->set);
}

static uint32_t ring_drain(struct ep *ep, struct cv_set *set, uint32_t *head)
{
	const uint64_t *events = (const uint64_t *)(const void *)(set + 1);
	uint32_t tail = LOAD_ACQUIRE(set->tail), n = 0;

	while (*head != tail) {
		uint64_t event = LOAD(events[(*head)++ & ep->ring_mask]);
		uint32_t cookie = (uint32_t)(event >> 32);
		struct mux_item *item = cookie < ep->slots_n ? ep->slots[cookie].item : NULL;

		if (item && item->handle == (uint32_t)event && item->kind == ITEM_OURS)
			ep_queue(ep, item);
		n++;
	}
	if (n)
		STORE_RELEASE(set->head, tail);
	return n;
}

/* Takes the events off the rings. */
static uint32_t drain_once(struct ep *ep)
{
	const struct cv_segment *seg = ep->link->seg;
	uint32_t n = 0;
	bool all = false;

	for (unsigned k = 0; k < wait_set_rings(seg); k++) {
		struct cv_set *set = wait_set_ring(seg, ep->set, k);

		n += ring_drain(ep, set, &ep->head[k]);
		if (ep->overflow[k] == LOAD(set->overflow))
			continue;
		ep->overflow[k] = LOAD(set->overflow);
		all = true;
	}
	if (n)
		FENCE();
	if (all)
		queue_all(ep);
	return n;
}

static void ep_drain(struct ep *ep)
{
	if (!ep->set)
		return;
	if (LOAD(ep->link->dead) && !ep->dead_seen) {
		ep->dead_seen = true;
		queue_all(ep);
	}
	/* What rang for these events may have been swallowed by us: the others are armed anew. */
	while (drain_once(ep) && (LOAD(ep->sleepers) || ep->nested))
		ep_rearm(ep);
}

/* The engine's word, and what of it is the program's own. */
static uint32_t record_status(const struct cv_sock *rec)
{
	return LOAD(rec->status) | (LOAD(rec->rx_shut) ? 1u << 31 : 0) |
	       (LOAD(rec->tx_shut) ? 1u << 30 : 0);
}

/* Grows with either of what makes a stream writable (wait_has_room). */
static uint64_t tx_moved(const struct cv_sock *rec)
{
	return LOAD_ACQUIRE(rec->tx_acked) + LOAD_ACQUIRE(rec->tx_sent);
}

/* Whether anything that this item asks for has happened since it was last reported. */
static bool item_has_edge(const struct mux_item *item)
{
	const struct cv_sock *rec = item->file->rec;

	if (item->fresh || LOAD(item->file->link->dead))
		return true;
	if (item->seen_status != record_status(rec) || item->seen_error != LOAD(rec->error_seq))
		return true;
	if ((item->events & (EPOLLIN | EPOLLRDNORM)) && item->seen_rx != LOAD(rec->rx_produced))
		return true;
	return (item->events & (EPOLLOUT | EPOLLWRNORM)) && item->seen_tx != tx_moved(rec);
}

/* Before the look, so that what comes after it is a new edge. */
static void item_see(struct mux_item *item)
{
	const struct cv_sock *rec = item->file->rec;

	item->fresh = false;
	item->seen_status = record_status(rec);
	item->seen_error = LOAD(rec->error_seq);
	item->seen_rx = LOAD(rec->rx_produced);
	item->seen_tx = tx_moved(rec);
}

/* What the item has to report now; 0: it goes off the ready list. */
static uint32_t item_events(struct mux_item *item)
{
	uint32_t interest = (item->events & EVENT_BITS) | EVENT_ALWAYS;

	if (item->disabled)
		return 0;
	if (item->events & EPOLLET) {
		if (!item_has_edge(item))
			return 0;
		item_see(item);
	}
	return wait_ready_want(item->file, item->events) & interest;
}

static void item_disable(struct mux_item *item)
{
	int epfd;

	item->disabled = true;
	if (!item->tagged)
		return;
	/* Its shadow must fall silent with it. EPOLL_CTL_MOD brings both back. */
	epfd = ep_any_fd(item->ep);
	if (epfd >= 0) {
		struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = item};

		real_epoll_ctl(epfd, EPOLL_CTL_MOD, item->fd, &event);
	}
}

/* The lock-free first look. What it misses because another thread is at work, that thread tells the
 * sleepers, and this one sees at its next look. */
static bool may_harvest(const struct ep *ep)
{
	struct cv_set *set = LOAD(ep->set);
	const struct wait_link *link = LOAD(ep->link);

	if (!set || !link)
		return false;
	for (unsigned k = 0; k < wait_set_rings(link->seg); k++) {
		const struct cv_set *ring = wait_set_ring(link->seg, set, k);

		if (LOAD_ACQUIRE(ring->tail) != LOAD(ep->head[k]) || LOAD(ep->overflow[k]) != LOAD(ring->overflow))
			return true;
	}
	return LOAD(ep->ready_n) != 0 || LOAD(link->dead);
}

/* Reports up to max items of our half. The list is gone through once; what is reported and level
 * triggered goes to its end. */
static int ep_harvest(struct ep *ep, struct epoll_event *out, int max, uint32_t batch)
{
	bool locked;
	int n = 0;

	if (!may_harvest(ep))
		return 0;
	locked = ep_lock(&ep->lock);
	ep_drain(ep);
	for (uint32_t left = ep->ready_n; left > 0 && n < max; left--) {
		struct mux_item *item = ep->ready_first;
		uint32_t events;

		ep_unqueue(ep, item);
		if (item->batch == batch) {
			/* Its shadow was reported in this call. */
			ep_queue(ep, item);
			continue;
		}
		events = item_events(item);
		if (events == 0)
			continue;
		out[n].events = events;
		out[n++].data = item->data;
		item->batch = batch;
		if (item->events & EPOLLONESHOT)
			item_disable(item);
		else if (!(item->events & EPOLLET))
			ep_queue(ep, item);
	}
	/* As on Linux: what is left is the next sleeper's. */
	if (ep->ready_n && (LOAD(ep->sleepers) || ep->nested))
		ep_wake(ep);
	ep_unlock(&ep->lock, locked);
	return n;
}

bool ep_any_ready(struct ep *ep)
{
	for (uint32_t left = ep->ready_n; left > 0; left--) {
		struct mux_item *item = ep->ready_first;
		bool fresh = item->fresh;
		struct mux_item was = *item;
		uint32_t events = item_events(item);

		/* Looked at, not reported: an edge stays one. */
		item->fresh = fresh;
		item->seen_rx = was.seen_rx;
		item->seen_tx = was.seen_tx;
		item->seen_status = was.seen_status;
		item->seen_error = was.seen_error;
		if (events)
			return true;
		ep_unqueue(ep, item);
	}
	return false;
}

void ep_item_kick(struct ep *ep, struct mux_item *item)
{
	bool locked = ep_lock(&ep->lock);

	ep_queue(ep, item);
	if (ep->set && (LOAD(ep->sleepers) || ep->nested) && item->kind == ITEM_OURS &&
		(wait_ready_want(item->file, item->events) & (item->events | EVENT_ALWAYS)))
		ep_wake(ep);
	ep_unlock(&ep->lock, locked);
}

/* --- the kernel's half ----------------------------------------------------------------------- */

static bool fd_is_readable(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return wait_kernel_poll(&entry, 1) == 1;
}

static void sync_nested(struct ep *ep)
{
	for (uint32_t i = 0; i < ep->slots_n; i++) {
		struct mux_item *item = ep->slots[i].item;

		if (item && item->kind == ITEM_NESTED && item->file->ep)
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
		sync_nested(ep);
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
	for (uint32_t i = 0; i < ep->slots_n; i++) {
		struct mux_item *item = ep->slots[i].item;

		if (item == tag && item->tagged)
			return item;
	}
	return NULL;
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
			item_see(item);
		if (item->events & EPOLLONESHOT)
			item_disable(item);
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
static int ep_filter(struct ep *ep, int epfd, struct epoll_event *out, int n, uint32_t batch)
{
	int kept = 0;
	bool locked;

	if (n <= 0 || (!ep->set && !ep->tagged_n))
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
		item = ep->tagged_n ? tagged_find(ep, out[i].data.ptr) : NULL;
		if (item && !tagged_event(epfd, item, &out[i], batch))
			continue;
		out[kept++] = out[i];
	}
	ep_unlock(&ep->lock, locked);
	return kept;
}

/* Looks at the kernel's half. Looks again when all that came was not for the program: what is there
 * behind it must not wait for its next turn. */
static int ep_look_kernel(struct ep *ep, int epfd, struct epoll_event *out, int max, uint32_t batch)
{
	int n, kept = 0;

	if (LOAD(ep->nested_n)) {
		bool locked = ep_lock(&ep->lock);

		sync_nested(ep);
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

/* --- waiting --------------------------------------------------------------------------------- */

/* One look at both halves as far as they are due. */
static int ep_look(struct ep *ep, int epfd, struct epoll_event *out, int max, uint32_t batch)
{
	bool due = false, kernel_first = false;
	int n = 0, more;

	if (LOAD(ep->kernel_n) > 0) {
		uint64_t now = wait_coarse_ns();

		due = now != LOAD(ep->kernel_looked_ns) || LOAD(ep->kernel_skipped) >= KERNEL_LOOK_LOOKS;
		STORE(ep->kernel_skipped, due ? 0 : LOAD(ep->kernel_skipped) + 1);
		if (due)
			STORE(ep->kernel_looked_ns, now);
		kernel_first = due && !LOAD(ep->kernel_turn);
		STORE(ep->kernel_turn, kernel_first);
	}
	if (kernel_first) {
		n = ep_look_kernel(ep, epfd, out, max, batch);
		if (n < 0)
			return n;
	}
	n += ep_harvest(ep, out + n, max - n, batch);
	if (!due || kernel_first)
		return n;
	if (n == max) {
		/* No room this time: first next time. */
		STORE(ep->kernel_looked_ns, 0);
		return n;
	}
	more = ep_look_kernel(ep, epfd, out + n, max - n, batch);
	return more < 0 && n == 0 ? more : n + (more > 0 ? more : 0);
}

/* Our own engine's sleep besides the program's. */
static int kernel_sleep_inside(const struct wait_link *link, int epfd, struct epoll_event *out, int max,
	uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd fds[2] = {{.fd = epfd, .events = POLLIN}};
	int n = wait_sleep(link, fds, 1, deadline_ns, mask);

	if (n <= 0 || !fds[0].revents)
		return n < 0 ? n : 0;
	n = real_epoll_wait(epfd, out, max, 0);
	return n < 0 ? -errno : n;
}

static int kernel_sleep(const struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t deadline_ns,
	const sigset_t *mask)
{
	const struct wait_link *link = LOAD(ep->link);
	struct timespec left;
	const struct timespec *timeout;
	int n;

	if (link && LOAD(link->inside))
		return kernel_sleep_inside(link, epfd, out, max, deadline_ns, mask);
	timeout = wait_left(deadline_ns, &left);
	if (!timeout)
		n = real_epoll_pwait(epfd, out, max, -1, mask);
	else
		n = real_epoll_pwait2(epfd, out, max, timeout, mask);
	if (n < 0 && errno == ENOSYS && timeout) {
		/* Before Linux 5.11: milliseconds, rounded up. */
		int64_t ms = (int64_t)left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000;

		n = real_epoll_pwait(epfd, out, max, ms > INT_MAX ? INT_MAX : (int)ms, mask);
	}
	return n < 0 ? -errno : n;
}

static void sleeper_count(struct ep *ep, int change)
{
	bool locked = ep_lock(&ep->lock);

	__atomic_fetch_add(&ep->sleepers, (uint32_t)change, __ATOMIC_SEQ_CST);
	if (ep->set)
		ep_rearm(ep);
	ep_unlock(&ep->lock, locked);
}

/* Arms, looks, sleeps. Events, 0: look at the clock, -errno. */
static int ep_sleep(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t deadline_ns,
	const sigset_t *mask, uint32_t batch)
{
	int n;

	sleeper_count(ep, 1);
	n = ep_harvest(ep, out, max, batch);
	if (n == 0) {
		if (LOAD(ep->nested_n)) {
			bool locked = ep_lock(&ep->lock);

			sync_nested(ep);
			ep_unlock(&ep->lock, locked);
		}
		n = kernel_sleep(ep, epfd, out, max, deadline_ns, mask);
		sleeper_count(ep, -1);
		n = ep_filter(ep, epfd, out, n, batch);
	} else {
		sleeper_count(ep, -1);
	}
	if (n < 0 || n == max)
		return n;
	return n + ep_harvest(ep, out + n, max - n, batch);
}

static int ep_slow(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t timeout_ns,
	const sigset_t *mask, uint32_t batch)
{
	struct wait_slow slow;
	int n;

	wait_slow_begin(&slow, ep->link, 0, WAIT_FOREVER, timeout_ns);
	do
		n = ep_look(ep, epfd, out, max, batch);
	while (n == 0 && wait_slow_spin(&slow));
	if (n == 0)
		n = wait_slow_signal(&slow);
	while (n == 0) {
		n = ep_sleep(ep, epfd, out, max, slow.deadline_ns, mask ? mask : &slow.old, batch);
		if (n == 0 && slow.deadline_ns != WAIT_FOREVER && wait_now_ns() >= slow.deadline_ns)
			break;
	}
	wait_slow_end(&slow);
	return n;
}

int ep_wait(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t timeout_ns,
	const sigset_t *mask)
{
	uint32_t batch = __atomic_add_fetch(&ep->batch, 1, __ATOMIC_RELAXED);
	struct wait_link *link = LOAD(ep->link);
	int n;

	wait_batch_flush(link);
	n = ep_look(ep, epfd, out, max, batch);
	if (n == 0 && timeout_ns == 0 && link && wait_turn(link))
		n = ep_look(ep, epfd, out, max, batch);
	if (n != 0)
		return n;
	if (link)
		wait_link_check(link);
	if (timeout_ns != 0)
		return ep_slow(ep, epfd, out, max, timeout_ns, mask, batch);
	if (mask) {
		/* A signal that the mask lets through ends the call, though it does not wait. */
		n = real_epoll_pwait(epfd, out, max, 0, mask);
		return n < 0 ? -errno : ep_filter(ep, epfd, out, n, batch);
	}
	return LOAD(ep->kernel_n) > 0 ? ep_look_kernel(ep, epfd, out, max, batch) : 0;
}

bool ep_kernel_wait_begin(struct ep *ep)
{
	if (ep_has_members(ep))
		return false;
	__atomic_fetch_add(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	if (!ep_has_members(ep))
		return true;
	__atomic_fetch_sub(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	return false;
}

int ep_kernel_wait_end(struct ep *ep, int epfd, struct epoll_event *out, int n)
{
	int saved = errno;

	/* Members came while it slept: then what comes next must see the bell re-armed. */
	if (ep_has_members(ep)) {
		sleeper_count(ep, -1);
		n = ep_filter(
			ep, epfd, out, n, __atomic_add_fetch(&ep->batch, 1, __ATOMIC_RELAXED));
	} else {
		__atomic_fetch_sub(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	}
	errno = saved;
	return n;
}
