/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's callbacks, groups and what `culvert ss` asks; see user.h. */
#include <stdlib.h>
#include <string.h>

#include "stack/core/engine.h"
#include "stack/user/priv.h"

static struct user_group *group_of(struct list *node)
{
	return list_entry(node, struct user_group, node);
}

static uint32_t group_commands(struct user_group *g)
{
	uint32_t done = 0;

	/* Backwards: a lane that ends makes room with the last one, which was looked at. */
	for (uint32_t i = g->active_n; i-- > 0;) {
		if (i < g->active_n)
			done += user_lane_run(&g->lanes[g->active[i]], USER_LANE_BUDGET);
	}
	return done;
}

static uint32_t commands(void *ctx)
{
	struct user *u = ctx;
	uint32_t done = 0;

	list_for_each(node, &u->groups)
		done += group_commands(group_of(node));
	return done;
}

static bool pending(void *ctx)
{
	return user_pending(ctx);
}

static void on_sock_event(void *ctx, struct sock *sk)
{
	(void)ctx;
	if (sk->user != NULL)
		user_sock_refresh(sk->user);
}

static bool keeps_up(const struct sock *sk)
{
	return user_rx_keeps_up(sk->user);
}

static void on_events_done(void *ctx)
{
	struct user *u = ctx;

	list_for_each_safe(node, &u->groups)
	{
		struct user_group *g = group_of(node);

		if (g->closing && g->busy == 0) {
			user_group_free(g);
			continue;
		}
		user_rx_feed_starved(g);
		user_events_flush(g);
	}
}

struct user *user_new(struct engine *e, const struct user_env *env)
{
	struct user *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->e = e;
	u->env = *env;
	list_init(&u->groups);
	e->message = user_message;
	e->commands = commands;
	e->pending = pending;
	e->sock_event = on_sock_event;
	e->user_keeps_up = keeps_up;
	e->events_done = on_events_done;
	e->user_ctx = u;
	return u;
}

void user_free(struct user *u)
{
	while (!list_empty(&u->groups))
		user_group_free(group_of(list_first(&u->groups)));
	free(u);
}

struct user_group *user_group_open(struct user *u, void *seg, uint64_t size,
	const struct user_limits *limits)
{
	struct user_group *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->u = u;
	g->seg = seg;
	g->inside = limits && limits->inside;
	g->worker = limits ? limits->worker : 0;
	g->number = limits ? limits->number : 0;
	list_init(&g->starved);
	list_init(&g->replicas);
	user_geometry(limits, &g->geo);
	if (g->geo.size > size || user_group_memory_init(g) != 0) {
		user_group_memory_fini(g);
		free(g);
		return NULL;
	}
	memcpy(seg, &g->geo, sizeof(g->geo));
	list_add_tail(&u->groups, &g->node);
	return g;
}

void user_group_free(struct user_group *g)
{
	list_del(&g->node);
	user_group_memory_fini(g);
	if (g->done)
		g->done(g->done_arg);
	free(g);
}

void user_group_close(struct user_group *g, void (*done)(void *arg), void *arg)
{
	user_proc_close_all(g);
	g->notify = NULL;
	g->touched = NULL;
	g->closing = true;
	g->done = done;
	g->done_arg = arg;
	if (g->busy == 0)
		user_group_free(g);
}

/* What the end of the last turn left to do, or was told after it. */
static bool is_behind(const struct user_group *g)
{
	return !g->closing && (g->notify || g->touched || g->starved_left > 0 || (g->rx_freed && g->starved_n > 0));
}

bool user_pending(const struct user *u)
{
	list_for_each(node, &u->groups)
	{
		const struct user_group *g = group_of(node);

		if (is_behind(g))
			return true;
		for (uint32_t i = 0; i < g->active_n; i++) {
			if (user_lane_ready(&g->lanes[g->active[i]]))
				return true;
		}
	}
	return false;
}

uint32_t user_told(const struct user *u)
{
	return __atomic_load_n(&u->told, __ATOMIC_RELAXED);
}

/* --- for ss and stat --------------------------------------------------------------------------- */

static int32_t first_pid(const struct user_group *g, const struct user_sock *us)
{
	for (uint32_t i = 0; i < g->procs_top; i++) {
		if (g->procs[i].open && (!us || user_proc_holds(g, i, us)))
			return g->procs[i].pid;
	}
	return 0;
}

void user_group_info(const struct user_group *g, struct user_group_info *info)
{
	*info = (struct user_group_info){.number = g->number,
		.pid = first_pid(g, NULL),
		.procs = g->procs_n,
		.lanes = g->lanes_n,
		.sets = g->sets_n,
		.socks = g->socks_n,
		.rxds_used = g->rxds_used,
		.watches = g->watches_n,
		.rx_bytes_used = g->arena.used_bytes,
		.txbufs_used = g->busy,
		.starved = g->starved_n,
		.violations = g->violations,
		.refused = g->refused,
		.closing = g->closing};
	list_for_each(node, &g->replicas)
	{
		(void)node;
		info->socks--; /* worker 0's */
	}
	for (uint32_t i = 0; i < g->active_n; i++)
		info->tx_bytes_used += g->lanes[g->active[i]].busy_bytes;
}

static void sock_info(const struct user_sock *us, struct user_sock_info *info)
{
	const struct sock *sk = us->sk;

	*info = (struct user_sock_info){.handle = us->handle,
		.pid = first_pid(us->g, us),
		.holders = us->holders,
		.recvq = sk->rxq_bytes + sk->rx_lent,
		.sendq = (uint32_t)(us->tx_taken - us->tx_acked),
		.sk = sk};
	if (sk->status & CV_ST_LISTENING) {
		/* Those in its chain that nobody took, whichever worker's they are, and those not yet there. */
		uint64_t taken = SEG_LOAD(&us->g->records[us->index].rx_consumed);

		info->recvq = sock_accepts_n(sk);
		if (taken >= us->rx_consumed && taken <= us->rx_produced)
			info->recvq += (uint32_t)(us->rx_produced - taken);
		info->sendq = us->backlog;
		info->replica = (us->flags & US_REPLICA) != 0;
	}
}

void user_group_foreach(struct user *u, void (*f)(struct user_group *g, void *arg), void *arg)
{
	list_for_each(node, &u->groups)
		f(group_of(node), arg);
}

static uint32_t group_socks(
	struct user_group *g, uint32_t i, uint32_t most, void (*f)(const struct user_sock_info *info, void *arg), void *arg)
{
	struct user_sock_info info;

	for (; i < g->socks_fresh && most > 0; i++, most--) {
		if (!g->socks[i].sk)
			continue;
		sock_info(&g->socks[i], &info);
		f(&info, arg);
	}
	return i;
}

/* Groups lie in the order of their numbers. */
bool user_sock_foreach(struct user *u, struct user_sock_place *at, uint32_t most,
	void (*f)(const struct user_sock_info *info, void *arg), void *arg)
{
	list_for_each(node, &u->groups)
	{
		struct user_group *g = group_of(node);
		uint32_t first;

		if (g->number < at->group)
			continue;
		if (g->number > at->group || at->sock < g->socks_first)
			*at = (struct user_sock_place){.group = g->number, .sock = g->socks_first};
		first = at->sock;
		at->sock = group_socks(g, first, most, f, arg);
		most -= at->sock - first;
		if (at->sock < g->socks_fresh)
			return true;
		*at = (struct user_sock_place){.group = g->number + 1};
	}
	return false;
}

bool user_sock_info(const struct sock *sk, struct user_sock_info *info)
{
	if (!sk->user)
		return false;
	sock_info(sk->user, info);
	return true;
}
