/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our half of an instance: what may be ready, and what of it the program gets. Owns: the ready list and the ring's head. A look
 * costs the events that arrived and the items on the list, whatever the number of members. See epoll.h for the whole.
 */
#include "shim/atomic.h"
#include "shim/epoll.h"
#include "shim/real.h"

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
		struct mux_item *item = EP_SLOT(cookie) < ep->slots_n ? ep->slots[EP_SLOT(cookie)].item : NULL;

		if (item && item->cookie == cookie && item->handle == (uint32_t)event && item->kind == ITEM_OURS)
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
	if (n || all)
		FENCE();
	if (all)
		queue_all(ep);
	return n;
}

void ep_drain(struct ep *ep)
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

static struct ep_room record_room(const struct cv_sock *rec)
{
	return (struct ep_room){.acked = LOAD_ACQUIRE(rec->tx_acked),
		.sent = LOAD_ACQUIRE(rec->tx_sent),
		.sndbuf = LOAD(rec->sndbuf),
		.notsent_lowat = LOAD(rec->notsent_lowat)};
}

static bool room_moved(const struct ep_room *a, const struct ep_room *b)
{
	return a->acked != b->acked || a->sent != b->sent || a->sndbuf != b->sndbuf ||
	       a->notsent_lowat != b->notsent_lowat;
}

/* Whether anything that this item asks for has happened since it was last reported. */
static bool item_has_edge(const struct mux_item *item)
{
	const struct cv_sock *rec = item->file->rec;
	struct ep_room room;

	if (item->fresh || LOAD(item->file->link->dead))
		return true;
	/* Errors that can be read may be others than those that were seen. */
	if ((LOAD(rec->status) & CV_ST_ERRQUEUE) || item->seen_status != record_status(rec) ||
		item->seen_error != LOAD(rec->error_seq))
		return true;
	/* An urgent byte is one of them. */
	if ((item->events & (EPOLLIN | EPOLLRDNORM | EPOLLPRI)) && item->seen_rx != LOAD(rec->rx_produced))
		return true;
	room = record_room(rec);
	return (item->events & (EPOLLOUT | EPOLLWRNORM)) && room_moved(&item->seen_room, &room);
}

/* Before the look, so that what comes after it is a new edge. */
void ep_item_see(struct mux_item *item)
{
	const struct cv_sock *rec = item->file->rec;

	item->fresh = false;
	item->seen_status = record_status(rec);
	item->seen_error = LOAD(rec->error_seq);
	item->seen_rx = LOAD(rec->rx_produced);
	item->seen_room = record_room(rec);
}

/* The engine answers each want for room once, by what it has taken by then: such an answer may meet a program that has
 * seen all of it and filled the room since. Then the want is a new one. Whether it made, or met, an edge. */
static bool item_wants_again(const struct mux_item *item)
{
	wait_ready_want(item->file, item->events);
	return item_has_edge(item);
}

/* What the item has to report now; 0: it goes off the ready list. */
static uint32_t item_events(struct mux_item *item)
{
	uint32_t interest = (item->events & EVENT_BITS) | EVENT_ALWAYS;

	if (item->disabled)
		return 0;
	if (item->events & EPOLLET) {
		if (!item_has_edge(item) && !item_wants_again(item))
			return 0;
		ep_item_see(item);
	}
	return wait_ready_want(item->file, item->events) & interest;
}

void ep_item_disable(struct mux_item *item)
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

void ep_pass_on(struct ep *ep)
{
	bool locked;

	if (LOAD(ep->sleepers) == 0 || !may_harvest(ep))
		return;
	locked = ep_lock(&ep->lock);
	if (ep->set)
		ep_wake(ep);
	ep_unlock(&ep->lock, locked);
}

/* Reports up to max items of our half. The list is gone through once; what is reported and level
 * triggered goes to its end. */
int ep_harvest(struct ep *ep, struct epoll_event *out, int max, uint32_t batch)
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
			ep_item_disable(item);
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
		item->seen_room = was.seen_room;
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
