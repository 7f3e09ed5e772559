/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lanes say. A command is copied out of the segment once, checked, carried out. One that must
 * wait (its turn among several lanes, room for its completion) stays at the head of its lane.
 */
#include <string.h>

#include "stack/user/priv.h"

enum progress { CMD_DONE, CMD_WAIT };

static void reply(struct user_lane *l, const struct cv_command *cmd, int32_t result, uint32_t len)
{
	if (cmd->seq == 0 || l->state != LANE_OPEN)
		return;
	SEG_STORE(&l->shared->reply_result, result);
	SEG_STORE(&l->shared->reply_len, len);
	SEG_STORE_RELEASE(&l->shared->reply_seq, cmd->seq);
	user_set_touch(l->g, &l->g->sets[l->index]);
}

/* --- commands without a socket ---------------------------------------------------------------- */

static int do_open(struct user_lane *l, uint32_t family, uint8_t type)
{
	struct user_group *g = l->g;
	struct user_sock *us;
	struct sock *sk;
	int r;

	if (family != CV_AF_INET && family != CV_AF_INET6)
		return -CV_EAFNOSUPPORT;
	us = user_sock_alloc(g);
	if (!us)
		return -CV_ENOBUFS;
	r = sock_open(g->u->e, (uint8_t)family, type, &sk);
	if (r != 0) {
		user_sock_unalloc(us);
		return r;
	}
	user_sock_start(us, sk);
	user_proc_hold(g, l->proc, us);
	return (int)us->handle;
}

/* --- commands on a socket ----------------------------------------------------------------------
 */

static int do_bind(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd, uint32_t *len)
{
	struct sock *sk = us->sk;
	uint32_t owner;
	int r;

	if (us->g->worker != 0 && sk->type == CV_STREAM)
		return -CV_EINVAL; /* worker 0 knows which ports are taken */
	sk->reuseaddr = (cmd->arg & CV_BIND_REUSEADDR) != 0;
	sk->reuseport = (cmd->arg & CV_BIND_REUSEPORT) != 0;
	sk->v6only = (cmd->arg & CV_BIND_V6ONLY) != 0;
	r = sock_bind(sk, &cmd->peer);
	if (r == -CV_EXDEV) { /* the program opens it there instead */
		owner = crew_udp_owner(sk->engine, &cmd->peer, &(const struct cv_endpoint){0});
		memcpy(l->shared->reply, &owner, sizeof(owner));
		*len = sizeof(owner);
	}
	return r;
}

/* Answered when the other workers have their replicas: who connects then must find one. */
static int do_listen(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	uint32_t backlog = cmd->arg < USER_BACKLOG_MAX ? cmd->arg : USER_BACKLOG_MAX;
	int r;

	if (us->g->worker != 0)
		return -CV_EINVAL;
	if (!user_replicas_room(us->g))
		return -CV_ENOBUFS;
	r = sock_listen(us->sk, backlog);
	us->backlog = backlog;
	if (r == 0 && user_has_replicas(us->g)) {
		us->listen_lane = (uint16_t)(l->index + 1);
		user_replicas_tell(us, true);
	}
	return r;
}

/* A LISTEN whose replicas were not there yet when it was last looked at. True: it is done. */
static bool listen_is_done(const struct user_lane *l, struct user_sock *us)
{
	if (!us->listen_done || us->listen_lane != l->index + 1)
		return false;
	us->listen_done = false;
	us->listen_lane = 0;
	return true;
}

static int do_connect(struct user_sock *us, const struct cv_command *cmd)
{
	int r;

	if (cmd->family == CV_AF_NONE)
		return sock_disconnect(us->sk);
	r = sock_connect(us->sk, &cmd->peer);
	if (r == 0 && us->sk->type == CV_STREAM) {
		us->rx_base = us->rx_produced;
		us->flags &= ~(uint32_t)US_TX_BROKEN;
	}
	return r;
}

static int do_setopt(struct user_sock *us, const struct cv_command *cmd)
{
	uint8_t value[sizeof(cmd->value) + sizeof(cmd->pos) + sizeof(cmd->off)];
	int r;

	if (cmd->arg == CV_OPT_NONE || cmd->arg >= CV_OPT_COUNT || cmd->len > sizeof(value))
		return -CV_EINVAL;
	if ((us->sk->status & CV_ST_LISTENING) && !user_replicas_room(us->g))
		return -CV_ENOBUFS;
	memcpy(value, cmd->value, sizeof(cmd->value));
	memcpy(value + sizeof(cmd->value), &cmd->pos, sizeof(cmd->pos));
	memcpy(value + sizeof(cmd->value) + sizeof(cmd->pos), &cmd->off, sizeof(cmd->off));
	r = sock_setopt(us->sk, (enum cv_option)cmd->arg, value, cmd->len);
	if (r == 0 && (us->sk->status & CV_ST_LISTENING) && user_has_replicas(us->g))
		user_replicas_tell(us, false);
	return r;
}

static int do_getopt(
	struct user_lane *l, struct user_sock *us, const struct cv_command *cmd, uint32_t *len)
{
	uint8_t value[CV_REPLY_BYTES];
	int r;

	if (cmd->arg == CV_OPT_NONE || cmd->arg >= CV_OPT_COUNT)
		return -CV_EINVAL;
	memcpy(value, cmd->value, sizeof(cmd->value)); /* what is asked about */
	*len = sizeof(value);
	r = sock_getopt(us->sk, (enum cv_option)cmd->arg, value, len);
	if (r != 0) {
		*len = 0;
		return r;
	}
	memcpy(l->shared->reply, value, *len);
	return 0;
}

static bool set_is_ours(const struct user_lane *l, uint32_t set)
{
	return set < l->g->geo.sets_max && l->g->sets[set].open && l->g->sets[set].proc == l->proc;
}

static int watch(struct user_lane *l, struct user_sock *us, uint32_t set, uint32_t cookie)
{
	int r;

	if (!set_is_ours(l, set))
		return -CV_EINVAL;
	r = user_watch_add(us, set, cookie);
	if (r != 0)
		user_set_deafen(l->g, &l->g->sets[set]);
	return r;
}

static int unwatch(struct user_lane *l, struct user_sock *us, uint32_t set, uint32_t cookie)
{
	return set_is_ours(l, set) ? user_watch_del(us, set, cookie) : -CV_EINVAL;
}

/* A connection leaves its listener's chain: whoever holds the listener may take it. Another thread
 * of the process may use it before the ACCEPTED on the first one's lane is seen: any command takes
 * it. */
static void take_if_pending(struct user_lane *l, struct user_sock *us)
{
	struct user_sock *listener = us->listener;

	if (!listener ||
		(!(listener->flags & US_REPLICA) && !user_proc_holds(l->g, l->proc, listener)))
		return; /* who holds a replica's listener only worker 0 knows: any process of the
			   group may */
	user_rx_accepted(us);
	user_proc_hold(l->g, l->proc, us);
	if (listener->flags & US_REPLICA)
		user_replica_taken(listener);
	else
		user_rx_sync(listener);
}

/* Commands that carry a position wait until all bytes before it were taken. */
static bool is_ordered(uint8_t op)
{
	return op == CV_CMD_SEND || op == CV_CMD_SHUTDOWN || op == CV_CMD_CLOSE;
}

static bool send_is_valid(
	const struct user_lane *l, const struct user_sock *us, const struct cv_command *cmd)
{
	const struct cv_segment *geo = &l->g->geo;
	uint64_t arena = geo->tx_off + l->index * geo->tx_bytes_lane;

	uint64_t bytes = cmd->len + (cmd->flags & CV_F_WITH ? sizeof(struct cv_send_with) : 0);

	if (bytes > geo->tx_bytes_lane || cmd->off < arena ||
		cmd->off - arena > geo->tx_bytes_lane - bytes ||
		((cmd->flags & CV_F_WITH) && us->sk->type != CV_DGRAM))
		return false;
	return us->sk->type == CV_STREAM ? cmd->len > 0 : cmd->len <= USER_DGRAM_MAX;
}

static int32_t sock_command(
	struct user_lane *l, struct user_sock *us, const struct cv_command *cmd, uint32_t *len)
{
	switch ((enum cv_op)cmd->op) {
	case CV_CMD_BIND:
		return do_bind(l, us, cmd, len);
	case CV_CMD_LISTEN:
		return do_listen(l, us, cmd);
	case CV_CMD_CONNECT:
		return do_connect(us, cmd);
	case CV_CMD_SHUTDOWN:
		if (cmd->flags & CV_F_READ)
			user_notify(us, US_CHANGED);
		else
			sock_shutdown_wr(us->sk);
		return 0;
	case CV_CMD_ACCEPTED:
	case CV_CMD_RECVD:
		return 0; /* done before: every command takes and looks */
	case CV_CMD_SETOPT:
		return do_setopt(us, cmd);
	case CV_CMD_GETOPT:
		return do_getopt(l, us, cmd, len);
	case CV_CMD_WATCH:
		return watch(l, us, cmd->arg, cmd->len);
	case CV_CMD_UNWATCH:
		return unwatch(l, us, cmd->arg, cmd->len);
	case CV_CMD_PASS:
		if (us->passed >= USER_PASSED_MAX)
			return -CV_ENOBUFS;
		us->holders++;
		us->passed++;
		return 0;
	case CV_CMD_NONE:
	case CV_CMD_TAKE:
	case CV_CMD_OPEN:
	case CV_CMD_SEND:
	case CV_CMD_CLOSE:
	case CV_CMD_NOP:
	case CV_CMD_COUNT:
		break; /* not here */
	}
	l->g->violations++;
	return -CV_EINVAL;
}

/* A command on a socket that the program holds. */
static enum progress held(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd)
{
	uint32_t len = 0;
	int32_t result;

	if (is_ordered(cmd->op) && cmd->pos > us->tx_taken)
		return CMD_WAIT;
	if (cmd->op == CV_CMD_SEND) {
		if (cmd->pos != us->tx_taken || !send_is_valid(l, us, cmd)) {
			l->g->violations++;
			return CMD_DONE;
		}
		if (!user_lane_has_room(l))
			return CMD_WAIT;
		result = user_send(l, us, cmd);
		reply(l, cmd, result, 0);
		return CMD_DONE;
	}
	if (cmd->op == CV_CMD_LISTEN && listen_is_done(l, us)) {
		reply(l, cmd, 0, 0);
		return CMD_DONE;
	}
	if (cmd->op == CV_CMD_LISTEN && us->replies_due > 0)
		return CMD_WAIT;
	user_rx_sync(us);
	/* Who is told that it is closed finds no one listening on any worker. */
	if (cmd->op == CV_CMD_CLOSE && cmd->seq != 0 && us->mirrored && us->holders == 1 && !(us->flags & US_UNLISTENED))
		user_replicas_unlisten(us);
	if (cmd->op == CV_CMD_CLOSE && (us->flags & US_UNLISTENED) && us->replies_due > 0)
		return CMD_WAIT;
	if (cmd->op == CV_CMD_CLOSE) {
		user_proc_drop(l->g, l->proc, us, (cmd->flags & CV_F_ABORT) != 0);
		reply(l, cmd, 0, 0);
		return CMD_DONE;
	}
	result = sock_command(l, us, cmd, &len);
	if (us->mirrored && !(us->sk->status & CV_ST_LISTENING))
		user_replicas_end(us); /* by connect(AF_UNSPEC) */
	user_sock_refresh(us);         /* the record says it before the reply does */
	if (cmd->op == CV_CMD_CONNECT || cmd->op == CV_CMD_BIND)
		user_sock_publish_names(us); /* of a datagram socket that was connected already */
	if (cmd->op == CV_CMD_LISTEN && us->replies_due > 0)
		return CMD_WAIT;
	reply(l, cmd, result, len);
	return CMD_DONE;
}

/* What a client does first, in one answer: it waits for it. */
static void open_and_connect(struct user_lane *l, const struct cv_command *cmd)
{
	int32_t handle = do_open(l, cmd->arg, cmd->type), result;
	struct user_sock *us;

	if (handle < 0) {
		reply(l, cmd, handle, 0);
		return;
	}
	us = user_sock_find(l->g, (uint32_t)handle);
	if (cmd->len > 0)
		(void)watch(l, us, cmd->len - 1, 0);
	result = do_connect(us, cmd);
	user_sock_refresh(us);
	memcpy(l->shared->reply, &result, sizeof(result));
	reply(l, cmd, handle, sizeof(result));
}

static void refused(struct user_lane *l, const struct cv_command *cmd)
{
	const struct cv_segment *geo = &l->g->geo;

	l->g->refused++;
	/* The buffer of a SEND that came too late is the program's again. */
	if (cmd->op == CV_CMD_SEND && user_lane_has_room(l) && cmd->off < geo->size)
		user_completion_post(l, cmd->off);
	reply(l, cmd, -CV_EBADF, 0);
}

static enum progress command(struct user_lane *l, const struct cv_command *cmd)
{
	struct user_sock *us;

	if (cmd->op == CV_CMD_NOP) {
		reply(l, cmd, 0, 0);
		return CMD_DONE;
	}
	if (cmd->op == CV_CMD_OPEN) {
		if (cmd->flags & CV_F_CONNECT)
			open_and_connect(l, cmd);
		else
			reply(l, cmd, do_open(l, cmd->family, cmd->type), 0);
		return CMD_DONE;
	}
	us = user_sock_find(l->g, cmd->sock);
	if (us)
		take_if_pending(l, us);
	if (us && cmd->op == CV_CMD_TAKE && us->passed > 0) {
		user_proc_hold(l->g, l->proc, us);
		us->passed--;
		us->holders--;
		reply(l, cmd, 0, 0);
		return CMD_DONE;
	}
	if (!us || !user_proc_holds(l->g, l->proc, us)) {
		refused(l, cmd);
		return CMD_DONE;
	}
	return held(l, us, cmd);
}

/* Neither bytes nor an answer come with it. */
static bool goes_without_lane(uint8_t op)
{
	return op == CV_CMD_SHUTDOWN || op == CV_CMD_CLOSE || op == CV_CMD_ACCEPTED || op == CV_CMD_RECVD ||
	       op == CV_CMD_SETOPT || op == CV_CMD_WATCH || op == CV_CMD_UNWATCH;
}

int user_proc_command(struct user_group *g, int proc, const struct cv_command *cmd)
{
	struct user_lane none = {.g = g, .proc = (uint32_t)proc, .state = LANE_FREE}; /* nobody reads its answers */
	struct cv_command c = *cmd;

	c.seq = 0;
	if (!goes_without_lane(c.op))
		return -CV_EINVAL;
	if (command(&none, &c) == CMD_DONE)
		return 0;
	user_lanes_run_dry(g);
	return command(&none, &c) == CMD_DONE ? 0 : -CV_EAGAIN;
}

/* Where the commands end, as far as this lane may say; cmd_head when what it says cannot be. */
static uint32_t lane_tail(struct user_lane *l)
{
	uint32_t tail = l->close_tail;

	if (l->state == LANE_OPEN)
		tail = SEG_LOAD_ACQUIRE(&l->shared->cmd_tail);
	if (tail - l->cmd_head <= l->g->geo.cmd_entries)
		return tail;
	if (l->bad_tail != tail) {
		l->bad_tail = tail;
		l->g->violations++;
	}
	return l->cmd_head;
}

bool user_lane_ready(const struct user_lane *l)
{
	uint32_t tail = l->close_tail;

	if (l->state != LANE_OPEN && l->state != LANE_DRAINING)
		return false;
	if (l->state == LANE_OPEN)
		tail = SEG_LOAD_ACQUIRE(&l->shared->cmd_tail);
	if (tail == l->cmd_head)
		return false;
	if (tail - l->cmd_head > l->g->geo.cmd_entries)
		return tail != l->bad_tail;
	return !l->blocked || l->blocked_epoch != l->g->epoch ||
	       l->blocked_comp_head != SEG_LOAD(&l->shared->comp_head);
}

uint32_t user_lane_run(struct user_lane *l, uint32_t budget)
{
	uint32_t done = 0;

	if (!user_lane_ready(l))
		return 0;
	l->blocked = false;
	/* As it was before the look that may say `wait`, so that a change since then is one. */
	l->blocked_comp_head = SEG_LOAD(&l->shared->comp_head);
	for (uint32_t tail = lane_tail(l); l->cmd_head != tail && done < budget; done++) {
		struct cv_command cmd = user_command_copy(l);

		if (command(l, &cmd) == CMD_WAIT) {
			l->blocked = true;
			l->blocked_epoch = l->g->epoch;
			break;
		}
		l->cmd_head++;
	}
	SEG_STORE_RELEASE(&l->shared->cmd_head, l->cmd_head);
	if (done > 0)
		user_lane_moved(l);
	if (l->state == LANE_DRAINING)
		user_lane_settle(l);
	return done;
}
