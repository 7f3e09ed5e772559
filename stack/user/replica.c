/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners on several workers (docs/decisions/0015-workers.md): the listener itself is worker 0's; each other worker has a
 * replica, which lets connections in and announces them to the listener. A connection stays where it is: the program
 * finds its handle in the listener's chain and takes it by a command to the connection's own worker.
 *
 * Invariants: a replica is made and ended by its listener only; connections that nobody took end with their replica.
 */
#include <stdlib.h>
#include <string.h>

#include "stack/user/priv.h"

enum {
	MSG_LISTEN = 1,  /* a: the listener, b: the backlog, data: what it is like, spare: crew.h's number, family, and whether to answer */
	MSG_LISTENING,   /* a: the listener: done as it said */
	MSG_UNLISTEN,    /* a: the listener, spare: whether to answer (LISTENING) */
	MSG_CONNECTION,  /* a: the listener, b: the connection */
	MSG_TAKEN,       /* a: the listener, of whose chain the program has read */
	MSG_REFUSED,     /* b: the connection, for which the listener had no room */
};

/* --- sending --------------------------------------------------------------------------------------- */

/* All but LISTEN and CONNECTION end or answer something, and are as few as what they end or answer:
 * UNLISTEN as the listeners there are, LISTENING and REFUSED as the messages that came (a worker
 * that stands still, so that none can be sent to it, sends none), TAKEN as the connections
 * announced. */
static void tell(struct user *u, uint16_t to, const struct crew_message *msg)
{
	(void)crew_send_owed(u->e, to, msg);
}

bool user_has_replicas(const struct user_group *g)
{
	return g->geo.workers > 1 && g->worker == 0;
}

bool user_replicas_room(const struct user_group *g)
{
	return crew_has_room(g->u->e);
}

/* What waits on all workers counts against the one backlog. */
static uint32_t number_of(struct user_sock *us)
{
	if (us->sk->accepts->crew == 0)
		sock_listener_share(us->sk, crew_listener_new(us->g->u->e));
	us->crew_listener = (uint16_t)us->sk->accepts->crew;
	return us->crew_listener;
}

void user_replicas_tell(struct user_sock *us, bool waits)
{
	struct user_group *g = us->g;
	uint32_t number = number_of(us);

	for (uint16_t to = 1; to < g->geo.workers; to++) {
		const struct crew_message msg = {.kind = MSG_LISTEN,
			.group = g->number,
			.a = us->handle,
			.b = us->backlog,
			.data = sock_listener_copy(us->sk),
			.spare = (uint64_t)number << 16 | (uint64_t)us->sk->family << 1 | waits};

		if (msg.data == NULL)
			continue; /* memory is short: that worker refuses */
		if (!crew_send(g->u->e, to, &msg)) {
			free(msg.data);
			continue;
		}
		us->replies_due = (uint16_t)(us->replies_due + waits);
		us->mirrored = true;
	}
}

void user_replicas_unlisten(struct user_sock *us)
{
	const struct crew_message msg = {.kind = MSG_UNLISTEN, .group = us->g->number, .a = us->handle, .spare = 1};

	us->flags |= US_UNLISTENED;
	for (uint16_t to = 1; to < us->g->geo.workers; to++)
		us->replies_due = (uint16_t)(us->replies_due + crew_send_owed(us->g->u->e, to, &msg));
}

void user_replicas_end(struct user_sock *us)
{
	const struct crew_message msg = {.kind = MSG_UNLISTEN, .group = us->g->number, .a = us->handle};

	for (uint16_t to = 1; us->mirrored && !(us->flags & US_UNLISTENED) && to < us->g->geo.workers; to++)
		tell(us->g->u, to, &msg);
	if (us->mirrored)
		crew_listener_end(us->g->u->e, us->crew_listener);
	us->mirrored = false;
	us->flags &= ~(uint32_t)US_UNLISTENED;
}

bool user_replica_announce(struct user_sock *replica, uint32_t handle)
{
	const struct crew_message msg = {
		.kind = MSG_CONNECTION, .group = replica->g->number, .a = replica->home, .b = handle};

	return crew_send(replica->g->u->e, 0, &msg);
}

void user_replica_taken(struct user_sock *replica)
{
	const struct crew_message msg = {.kind = MSG_TAKEN, .group = replica->g->number, .a = replica->home};

	tell(replica->g->u, 0, &msg);
}

/* --- receiving ------------------------------------------------------------------------------------- */

static struct user_sock *replica_find(struct user_group *g, uint32_t home)
{
	list_for_each(node, &g->replicas)
	{
		struct user_sock *us = list_entry(node, struct user_sock, pending_node);

		if (us->home == home)
			return us;
	}
	return NULL;
}

static struct user_sock *replica_new(struct user_group *g, uint32_t home, uint8_t family)
{
	struct user_sock *us = user_sock_alloc(g);
	struct sock *sk;

	if (us == NULL)
		return NULL;
	if (sock_open(g->u->e, family, CV_STREAM, &sk) != 0) {
		user_sock_unalloc(us);
		return NULL;
	}
	us->flags |= US_REPLICA;
	us->home = home;
	list_add_tail(&g->replicas, &us->pending_node);
	user_sock_start(us, sk);
	return us;
}

static void on_listen(struct user_group *g, const struct crew_message *msg)
{
	const struct crew_message answer = {.kind = MSG_LISTENING, .group = msg->group, .a = msg->a};
	struct user_sock *us = replica_find(g, msg->a);

	if (us == NULL)
		us = replica_new(g, msg->a, (uint8_t)(msg->spare >> 1 & 0x7f));
	if (us != NULL && sock_listener_mirror(us->sk, msg->data, msg->b) != 0)
		user_sock_end(us, true);
	else if (us != NULL)
		sock_listener_share(us->sk, (uint32_t)(msg->spare >> 16));
	if (msg->spare & 1)
		tell(g->u, 0, &answer);
}

static void on_listening(struct user_group *g, const struct crew_message *msg)
{
	struct user_sock *us = user_sock_find(g, msg->a);

	if (us == NULL || us->replies_due == 0)
		return;
	if (--us->replies_due == 0) {
		us->listen_done = true;
		g->epoch++;
	}
}

static void on_unlisten(struct user_group *g, const struct crew_message *msg)
{
	const struct crew_message answer = {.kind = MSG_LISTENING, .group = msg->group, .a = msg->a};
	struct user_sock *us = replica_find(g, msg->a);

	if (us != NULL)
		user_sock_end(us, true);
	if (msg->spare & 1)
		tell(g->u, 0, &answer);
}

/* A listener that has gone has told its replicas so. */
static void on_connection(struct user_group *g, uint16_t from, const struct crew_message *msg)
{
	const struct crew_message no = {.kind = MSG_REFUSED, .group = msg->group, .b = msg->b};
	struct user_sock *us = user_sock_find(g, msg->a);

	if (us == NULL || !(us->sk->status & CV_ST_LISTENING))
		return;
	if (user_rx_connection(us, msg->b))
		user_rx_announce(us);
	else
		tell(g->u, from, &no);
}

/* What the connections' descriptors took comes free. */
static void on_taken(struct user_group *g, const struct crew_message *msg)
{
	struct user_sock *us = user_sock_find(g, msg->a);

	if (us != NULL)
		user_rx_sync(us);
}

static void on_refused(struct user_group *g, const struct crew_message *msg)
{
	struct user_sock *us = user_sock_find(g, msg->b);

	if (us != NULL && us->listener != NULL)
		user_sock_end(us, true);
}

void user_message(void *ctx, uint16_t from, const struct crew_message *msg)
{
	struct user *u = ctx;

	list_for_each(node, &u->groups)
	{
		struct user_group *g = list_entry(node, struct user_group, node);

		if (g->number != msg->group || g->closing)
			continue;
		if (msg->kind == MSG_LISTEN)
			on_listen(g, msg);
		else if (msg->kind == MSG_LISTENING)
			on_listening(g, msg);
		else if (msg->kind == MSG_UNLISTEN)
			on_unlisten(g, msg);
		else if (msg->kind == MSG_CONNECTION)
			on_connection(g, from, msg);
		else if (msg->kind == MSG_TAKEN)
			on_taken(g, msg);
		else if (msg->kind == MSG_REFUSED)
			on_refused(g, msg);
		break;
	}
	free(msg->data);
}
