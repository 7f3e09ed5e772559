/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches, events and bells: how a program learns that a socket's record changed.
 *
 * During the turn records are published and sockets are listed (user_notify). At its end, after one
 * full fence, events are posted; after another one the armed words are read and bells rung. Both
 * fences pair with the program's: it moves head, fence, looks at records; it writes armed, fence,
 * looks at tail. No word is written by both sides: whether an event is still unread follows from
 * the position where it was posted and the program's head.
 */
#include "stack/user/priv.h"

static uint32_t watch_alloc(struct user_group *g)
{
	uint32_t i = g->watches_free;

	if (i != USER_NONE)
		g->watches_free = g->watches[i].sock_next;
	else if (g->watches_fresh < g->watches_max)
		i = g->watches_fresh++;
	if (i != USER_NONE)
		g->watches_n++;
	return i;
}

/* The caller took it off its socket's list. */
static void watch_free(struct user_group *g, uint32_t i)
{
	struct user_watch *w = &g->watches[i];
	struct user_set *s = &g->sets[w->set];

	if (w->set_prev != USER_NONE)
		g->watches[w->set_prev].set_next = w->set_next;
	else
		s->watches = w->set_next;
	if (w->set_next != USER_NONE)
		g->watches[w->set_next].set_prev = w->set_prev;
	w->sock_next = g->watches_free;
	g->watches_free = i;
	g->watches_n--;
}

static struct user_watch *watch_find(struct user_sock *us, uint32_t set, uint32_t cookie)
{
	struct user_group *g = us->g;

	for (uint32_t i = us->watches; i != USER_NONE; i = g->watches[i].sock_next) {
		if (g->watches[i].set == set && g->watches[i].cookie == cookie)
			return &g->watches[i];
	}
	return NULL;
}

int user_watch_add(struct user_sock *us, uint32_t set, uint32_t cookie)
{
	struct user_group *g = us->g;
	struct user_set *s = &g->sets[set];
	struct user_watch *w = watch_find(us, set, cookie);
	uint32_t i;

	if (!w) {
		if (us->watches_n >= USER_WATCHES_PER_SOCK)
			return -CV_ENOMEM;
		i = watch_alloc(g);
		if (i == USER_NONE)
			return -CV_ENOMEM;
		w = &g->watches[i];
		*w = (struct user_watch){.sock = us->index,
			.set = set,
			.cookie = cookie,
			.sock_next = us->watches,
			.set_prev = USER_NONE,
			.set_next = s->watches};
		if (s->watches != USER_NONE)
			g->watches[s->watches].set_prev = i;
		s->watches = i;
		us->watches = i;
		us->watches_n++;
	}
	w->fresh = true;
	user_notify(us, US_FRESH);
	return 0;
}

int user_watch_del(struct user_sock *us, uint32_t set, uint32_t cookie)
{
	struct user_group *g = us->g;
	uint32_t *link = &us->watches;

	for (; *link != USER_NONE; link = &g->watches[*link].sock_next) {
		uint32_t i = *link;

		if (g->watches[i].set != set || g->watches[i].cookie != cookie)
			continue;
		*link = g->watches[i].sock_next;
		us->watches_n--;
		watch_free(g, i);
		return 0;
	}
	return -CV_ENOENT;
}

void user_watch_drop_sock(struct user_sock *us)
{
	while (us->watches != USER_NONE) {
		uint32_t i = us->watches;

		us->watches = us->g->watches[i].sock_next;
		watch_free(us->g, i);
	}
	us->watches_n = 0;
}

void user_watch_drop_set(struct user_set *s)
{
	struct user_group *g = s->group;
	uint32_t set = (uint32_t)(s - g->sets);

	while (s->watches != USER_NONE) {
		const struct user_watch *w = &g->watches[s->watches];

		user_watch_del(&g->socks[w->sock], set, w->cookie);
	}
}

void user_notify(struct user_sock *us, uint32_t flag)
{
	us->flags |= flag;
	if (us->flags & US_NOTIFY_LISTED)
		return;
	us->flags |= US_NOTIFY_LISTED;
	us->notify_next = us->g->notify;
	us->g->notify = us;
}

static void set_touch(struct user_group *g, struct user_set *s, bool only_if_wanted)
{
	if (!s->open)
		return;
	if (s->touched) {
		s->only_if_wanted &= only_if_wanted;
		return;
	}
	s->touched = true;
	s->only_if_wanted = only_if_wanted;
	s->touched_next = g->touched;
	g->touched = s;
}

void user_set_touch(struct user_group *g, struct user_set *s)
{
	set_touch(g, s, false);
}

void user_lane_moved(struct user_lane *l)
{
	set_touch(l->g, &l->g->sets[l->index], true);
}

/* How far the program has read, as a position of ours. A head outside the ring is a violation, and
 * means that everything was read: the worst that follows is an event too many. */
static uint64_t set_head(struct user_group *g, struct user_set *s)
{
	uint32_t head = SEG_LOAD(&s->shared->head);
	uint32_t unread = (uint32_t)s->tail - head;

	if (unread <= g->geo.set_entries)
		return s->tail - unread;
	if (s->bad_head != head) {
		s->bad_head = head;
		g->violations++;
	}
	return s->tail;
}

static void watch_post(struct user_group *g, struct user_watch *w, uint32_t handle)
{
	struct user_set *s = &g->sets[w->set];
	uint64_t head = set_head(g, s);

	w->fresh = false;
	if (w->posted && w->posted_pos >= head)
		return;
	user_set_touch(g, s);
	if (s->tail - head >= g->geo.set_entries) {
		SEG_STORE(&s->shared->overflow, ++s->overflow);
		w->posted = false;
		return;
	}
	SEG_STORE(&s->ring[s->tail & (g->geo.set_entries - 1)], CV_SET_EVENT(handle, w->cookie));
	w->posted = true;
	w->posted_pos = s->tail++;
	SEG_STORE_RELEASE(&s->shared->tail, (uint32_t)s->tail);
}

/* Linux calls a stream writable when at least a third of what may be queued is free, and less than half of
 * TCP_NOTSENT_LOWAT is not sent. */
static bool has_tx_room(const struct user_sock *us)
{
	uint64_t queued = us->tx_taken - us->tx_acked;
	uint32_t lowat = 0;

	if (us->sk->lowat && 2 * (uint64_t)sock_unsent(us->sk, &lowat) >= lowat)
		return false;
	return queued <= us->sndbuf && us->sndbuf - queued >= us->sndbuf / 3;
}

static void notify_post(struct user_group *g, struct user_sock *us)
{
	uint32_t flags = us->flags;

	us->flags &= ~(uint32_t)(US_NOTIFY_LISTED | US_CHANGED | US_FRESH | US_TX_MOVED);
	if (!us->sk)
		return; /* closed since */
	if ((flags & US_TX_MOVED) && !(flags & US_CHANGED)) {
		uint32_t want = SEG_LOAD(&g->records[us->index].tx_want);

		/* Like an armed word: the program only adds, each value is answered once. */
		if (want != us->tx_served && has_tx_room(us)) {
			us->tx_served = want;
			flags |= US_CHANGED;
		}
	}
	if (!(flags & (US_CHANGED | US_FRESH)))
		return;
	for (uint32_t i = us->watches; i != USER_NONE; i = g->watches[i].sock_next) {
		struct user_watch *w = &g->watches[i];

		if ((flags & US_CHANGED) || w->fresh)
			watch_post(g, w, us->handle);
	}
}

void user_set_deafen(struct user_group *g, struct user_set *s)
{
	if (s->deaf)
		return;
	s->deaf = true;
	g->deaf_n++;
}

static void deaf_tell(struct user_group *g)
{
	uint32_t left = g->deaf_n;

	for (uint32_t i = 0; i < g->sets_fresh && left > 0; i++) {
		struct user_set *s = &g->sets[i];

		if (!s->deaf)
			continue;
		left--;
		SEG_STORE(&s->shared->overflow, ++s->overflow);
		user_set_touch(g, s);
	}
}

static void set_ring(struct user_group *g, struct user_set *s)
{
	uint32_t armed;

	s->touched = false;
	if (!s->open)
		return;
	armed = SEG_LOAD(s->armed);
	if (s->only_if_wanted && SEG_LOAD(&g->lanes[s - g->sets].shared->want) == 0)
		return;
	if (armed == 0 || armed == s->rung || g->mute)
		return;
	s->rung = armed;
	g->mute = !g->u->env.ring(g->u->env.ctx, s->bell);
}

void user_events_flush(struct user_group *g)
{
	if (!g->notify && !g->touched)
		return;
	__atomic_store_n(&g->u->told, g->u->told + 1, __ATOMIC_RELAXED);
	if (g->notify) {
		struct user_sock *us = g->notify;

		g->notify = NULL;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		while (us) {
			struct user_sock *next = us->notify_next;

			notify_post(g, us);
			us = next;
		}
		if (g->deaf_n > 0)
			deaf_tell(g);
	}
	if (g->touched) {
		struct user_set *s = g->touched;

		g->touched = NULL;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		while (s) {
			struct user_set *next = s->touched_next;

			set_ring(g, s);
			s = next;
		}
	}
}
