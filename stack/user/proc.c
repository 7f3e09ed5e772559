/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes of a group: which sockets each holds, which lanes and sets it has; their beginning and end.
 * A socket lives as long as some process holds it.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/user/priv.h"

static uint32_t map_words(const struct user_group *g)
{
	return (g->geo.socks_max + 63) / 64;
}

static bool map_has(const uint64_t *map, uint32_t i)
{
	return (map[i / 64] >> (i % 64) & 1) != 0;
}

bool user_proc_holds(const struct user_group *g, uint32_t proc, const struct user_sock *us)
{
	return map_has(g->procs[proc].holds, us->index);
}

void user_proc_hold(struct user_group *g, uint32_t proc, struct user_sock *us)
{
	uint64_t *word = &g->procs[proc].holds[us->index / 64];
	uint64_t bit = 1ull << (us->index % 64);

	if (*word & bit)
		return;
	*word |= bit;
	us->holders++;
}

/* Calls f for each connection that the process has taken off the listener's chain, before a command could say that it has it. */
static void untold_each(struct user_group *g, uint32_t proc, struct user_sock *listener,
	void (*f)(struct user_group *g, uint32_t proc, struct user_sock *us))
{
	uint32_t n = 0;

	list_for_each_safe(node, &listener->pending)
	{
		struct user_sock *us = list_entry(node, struct user_sock, pending_node);

		if (SEG_LOAD(&g->records[us->index].taker) != proc + 1)
			continue;
		f(g, proc, us);
		n++;
	}
	if (listener->flags & US_REPLICA) {
		while (n-- > 0)
			user_replica_taken(listener);
	} else if (n > 0) {
		user_rx_sync(listener);
	}
}

static void untold_keep_one(struct user_group *g, uint32_t proc, struct user_sock *us)
{
	user_rx_accepted(us);
	user_proc_hold(g, proc, us);
}

void user_untold_keep(struct user_sock *listener)
{
	struct user_group *g = listener->g;

	for (uint32_t i = 0; i < g->procs_top && !list_empty(&listener->pending); i++) {
		if (g->procs[i].open)
			untold_each(g, i, listener, untold_keep_one);
	}
}

void user_proc_drop(struct user_group *g, uint32_t proc, struct user_sock *us, bool abort)
{
	uint64_t *word = &g->procs[proc].holds[us->index / 64];
	uint64_t bit = 1ull << (us->index % 64);

	if (!(*word & bit))
		return;
	/* Another thread of the process, whose lane comes after this one's, has accepted. */
	if (!list_empty(&us->pending))
		untold_each(g, proc, us, untold_keep_one);
	*word &= ~bit;
	if (--us->holders > 0)
		return;
	user_rx_sync(us); /* what was read is not unread data: FIN, not RST */
	user_sock_end(us, abort);
}

/* Calls f for each socket that map names. f may drop it. */
static void map_each(struct user_group *g, uint32_t proc, const uint64_t *map,
	void (*f)(struct user_group *g, uint32_t proc, struct user_sock *us))
{
	for (uint32_t w = 0; w < map_words(g); w++) {
		uint64_t bits = map[w];

		while (bits != 0) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);

			bits &= bits - 1;
			f(g, proc, &g->socks[i]);
		}
	}
}

static void add_holder(struct user_group *g, uint32_t proc, struct user_sock *us)
{
	(void)g;
	(void)proc;
	us->holders++;
}

/* No more than fits a lane, for a program may post as fast as we take. */
void user_lanes_run_dry(struct user_group *g)
{
	uint32_t done;

	for (uint32_t i = 0; i < g->active_n; i++)
		g->lanes[g->active[i]].dry_left = g->geo.cmd_entries;
	do {
		done = 0;
		for (uint32_t i = g->active_n; i-- > 0;) {
			struct user_lane *l = i < g->active_n ? &g->lanes[g->active[i]] : NULL;
			uint32_t n = l != NULL && l->dry_left > 0 ? user_lane_run(l, l->dry_left) : 0;

			if (n > 0)
				l->dry_left -= n;
			done += n;
		}
	} while (done > 0);
}

int user_proc_open(struct user_group *g, int parent, int32_t pid)
{
	uint32_t i = 0;
	struct user_proc *p;
	uint64_t *holds;

	if (parent >= (int)g->procs_top || (parent >= 0 && !g->procs[parent].open))
		return -CV_EINVAL;
	while (i < g->procs_top && g->procs[i].open)
		i++;
	if (i == USER_PROCS_MAX)
		return -CV_EMFILE;
	holds = calloc(map_words(g), sizeof(*holds));
	if (!holds)
		return -CV_ENOMEM;
	p = &g->procs[i];
	*p = (struct user_proc){.open = true, .pid = pid, .holds = holds};
	if (i == g->procs_top)
		g->procs_top++;
	g->procs_n++;
	if (g->procs_n > 1)
		user_rx_leave_buffers(g);
	if (parent >= 0) {
		user_lanes_run_dry(g); /* what it accepted and closed before it forked */
		memcpy(holds, g->procs[parent].holds, map_words(g) * sizeof(*holds));
		map_each(g, i, holds, add_holder);
	}
	return (int)i;
}

void user_proc_pid_set(struct user_group *g, int proc, int32_t pid)
{
	g->procs[proc].pid = pid;
}

/* --- lanes and sets ---------------------------------------------------------------------------- */

static void set_begin(struct user_group *g, struct user_set *s, uint32_t proc, int bell)
{
	user_set_place(g, s);
	memset(s->shared, 0, sizeof(*s->shared));
	s->open = true;
	s->proc = proc;
	s->bell = bell;
	s->tail = 0;
	s->overflow = 0;
	s->rung = 0;
	s->bad_head = 0;
	g->sets_n++;
	g->procs[proc].sets++;
}

static void set_end(struct user_group *g, struct user_set *s)
{
	user_watch_drop_set(s);
	if (s->deaf)
		g->deaf_n--;
	s->deaf = false;
	s->open = false;
	g->sets_n--;
	g->procs[s->proc].sets--;
}

int user_set_open(struct user_group *g, int proc, int bell)
{
	uint32_t i = g->sets_free;

	if (i != USER_NONE)
		g->sets_free = g->sets[i].free_next;
	else if (g->sets_fresh < g->geo.sets_max)
		i = g->sets_fresh++;
	else
		return -CV_EMFILE;
	set_begin(g, &g->sets[i], (uint32_t)proc, bell);
	return (int)i;
}

static void set_release(struct user_group *g, uint32_t i)
{
	set_end(g, &g->sets[i]);
	g->sets[i].free_next = g->sets_free;
	g->sets_free = i;
}

int user_set_close(struct user_group *g, int proc, uint32_t set)
{
	if (set >= g->geo.sets_max || set < g->geo.lanes_max || !g->sets[set].open ||
		g->sets[set].proc != (uint32_t)proc)
		return -CV_EINVAL;
	set_release(g, set);
	return 0;
}

int user_lane_open(struct user_group *g, int proc, int bell)
{
	struct user_lane *l = g->lanes + g->lanes_first;

	while (l < g->lanes + g->lanes_end && l->state != LANE_FREE)
		l++;
	if (l == g->lanes + g->lanes_end)
		return -CV_EMFILE;
	user_lane_place(g, l);
	if (user_txbufs_init(l) != 0)
		return -CV_ENOMEM;
	memset(l->shared, 0, sizeof(*l->shared));
	/* The commands' count goes on, so that a thread can tell whether the last owner's were taken. */
	SEG_STORE(&l->shared->cmd_head, l->cmd_head);
	SEG_STORE(&l->shared->cmd_tail, l->cmd_head);
	l->state = LANE_OPEN;
	l->proc = (uint32_t)proc;
	l->comp_tail = 0;
	l->close_tail = l->bad_tail = 0;
	l->blocked = false;
	l->active_slot = g->active_n;
	g->active[g->active_n++] = l->index;
	g->lanes_n++;
	g->procs[proc].lanes++;
	set_begin(g, &g->sets[l->index], (uint32_t)proc, bell);
	return (int)l->index;
}

void user_lane_mirror(struct user_group *g, int proc, uint32_t lane, int bell)
{
	set_begin(g, &g->sets[lane], (uint32_t)proc, bell);
}

void user_lane_mirror_close(struct user_group *g, int proc, uint32_t lane)
{
	if (g->sets[lane].open && g->sets[lane].proc == (uint32_t)proc)
		set_end(g, &g->sets[lane]);
}

static void lane_free(struct user_lane *l)
{
	struct user_group *g = l->g;
	uint32_t last = g->active[--g->active_n];

	g->active[l->active_slot] = last;
	g->lanes[last].active_slot = l->active_slot;
	g->lanes_n--;
	l->state = LANE_FREE;
}

void user_lane_settle(struct user_lane *l)
{
	if (l->state == LANE_DRAINING && l->cmd_head == l->close_tail)
		l->state = LANE_EMPTYING;
	if (l->state == LANE_EMPTYING && l->busy == 0)
		lane_free(l);
}

/* From now on only what was posted before counts. */
static void lane_drain(struct user_lane *l)
{
	struct user_group *g = l->g;
	uint32_t tail = SEG_LOAD_ACQUIRE(&l->shared->cmd_tail);

	l->close_tail = tail - l->cmd_head <= g->geo.cmd_entries ? tail : l->cmd_head;
	l->state = LANE_DRAINING;
	l->blocked = false;
	g->procs[l->proc].lanes--;
	set_end(g, &g->sets[l->index]);
	if (user_lane_run(l, g->geo.cmd_entries) == 0)
		user_lane_settle(l);
}

int user_lane_close(struct user_group *g, int proc, uint32_t lane)
{
	if (lane >= g->geo.lanes_max || g->lanes[lane].state != LANE_OPEN ||
		g->lanes[lane].proc != (uint32_t)proc)
		return -CV_EINVAL;
	lane_drain(&g->lanes[lane]);
	return 0;
}

static void lanes_drain(struct user_group *g, uint32_t proc)
{
	for (uint32_t i = 0; i < g->geo.lanes_max; i++) {
		if (g->lanes[i].state == LANE_OPEN && g->lanes[i].proc == proc)
			lane_drain(&g->lanes[i]);
		else if (i < g->lanes_first || i >= g->lanes_end)
			user_lane_mirror_close(g, (int)proc, i);
	}
	for (uint32_t i = g->geo.lanes_max; i < g->sets_fresh; i++) {
		if (g->sets[i].open && g->sets[i].proc == proc)
			set_release(g, i);
	}
	user_lanes_run_dry(g);
}

/* What a dead process said and nobody can carry out any more: its streams lack those bytes, and must
 * not look as if they had ended in good order. */
static void lane_cut(struct user_lane *l)
{
	struct user_group *g = l->g;

	for (; l->cmd_head != l->close_tail; l->cmd_head++) {
		struct cv_command cmd = user_command_copy(l);
		struct user_sock *us = user_sock_find(g, cmd.sock);

		if (cmd.op == CV_CMD_SEND && us && user_proc_holds(g, l->proc, us))
			us->flags |= US_TX_BROKEN;
	}
	user_lane_settle(l);
}

static void lanes_cut(struct user_group *g, uint32_t proc)
{
	for (uint32_t i = 0; i < g->geo.lanes_max; i++) {
		if (g->lanes[i].state == LANE_DRAINING && g->lanes[i].proc == proc)
			lane_cut(&g->lanes[i]);
	}
}

static void untold_end_one(struct user_group *g, uint32_t proc, struct user_sock *us)
{
	(void)g;
	(void)proc;
	user_rx_sync(us);
	user_sock_end(us, false);
}

/* Its process is gone. */
static void untold_end(struct user_group *g, uint32_t proc, struct user_sock *listener)
{
	untold_each(g, proc, listener, untold_end_one);
}

static void listeners_look(struct user_group *g, uint32_t proc)
{
	map_each(g, proc, g->procs[proc].holds, untold_end);
	list_for_each(node, &g->replicas)
		untold_end(g, proc, list_entry(node, struct user_sock, pending_node));
}

/* --- the end ----------------------------------------------------------------------------------- */

bool user_proc_end(struct user_group *g, int proc, uint32_t most)
{
	struct user_proc *p = &g->procs[proc];

	if (!p->ending)
		user_proc_exec(g, proc);
	p->ending = true;
	for (; p->holds_at < map_words(g); p->holds_at++) {
		const uint64_t *word = &p->holds[p->holds_at];

		for (; *word != 0; most--) {
			if (most == 0)
				return false;
			user_proc_drop(g, (uint32_t)proc,
				&g->socks[p->holds_at * 64 + (uint32_t)__builtin_ctzll(*word)], false);
		}
	}
	return true;
}

uint32_t user_proc_close(struct user_group *g, int proc)
{
	struct user_proc *p = &g->procs[proc];

	(void)user_proc_end(g, proc, UINT32_MAX);
	free(p->holds);
	free(p->retained);
	*p = (struct user_proc){.open = false};
	g->epoch++;
	return --g->procs_n;
}

void user_proc_exec(struct user_group *g, int proc)
{
	lanes_drain(g, (uint32_t)proc);
	lanes_cut(g, (uint32_t)proc);
	listeners_look(g, (uint32_t)proc);
}

void user_proc_retain(struct user_group *g, int proc, const uint32_t *handles, uint32_t n)
{
	struct user_proc *p = &g->procs[proc];

	if (!p->retained)
		p->retained = calloc(map_words(g), sizeof(*p->retained));
	if (!p->retained)
		return; /* memory is short: all is kept, nothing is lost */
	p->retaining = true;
	for (uint32_t i = 0; i < n; i++) {
		const struct user_sock *us = user_sock_find(g, handles[i]);

		if (us && user_proc_holds(g, (uint32_t)proc, us))
			p->retained[us->index / 64] |= 1ull << (us->index % 64);
	}
}

static void drop_unretained(struct user_group *g, uint32_t proc, struct user_sock *us)
{
	const struct user_proc *p = &g->procs[proc];

	if (!p->retained || !map_has(p->retained, us->index))
		user_proc_drop(g, proc, us, false);
}

void user_proc_retain_done(struct user_group *g, int proc)
{
	struct user_proc *p = &g->procs[proc];

	map_each(g, (uint32_t)proc, p->holds, drop_unretained);
	free(p->retained);
	p->retained = NULL;
	p->retaining = false;
}

void user_proc_close_all(struct user_group *g)
{
	for (uint32_t i = 0; i < g->procs_top; i++) {
		if (g->procs[i].open)
			(void)user_proc_close(g, (int)i);
	}
	/* What was passed on and never arrived. */
	for (uint32_t i = g->socks_first; i < g->socks_fresh; i++) {
		if (g->socks[i].sk)
			user_sock_end(&g->socks[i], false);
	}
}
