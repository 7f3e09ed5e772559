/* SPDX-License-Identifier: BSD-3-Clause */
/* What control.c, who is there, and request.c, what they ask, share. The control thread's alone. */
#ifndef CULVERT_DPDK_CONTROL_PRIV_H
#define CULVERT_DPDK_CONTROL_PRIV_H

#include <sys/socket.h>

#include "dpdk/group.h"

struct control;

/* A connection: a process, or a query. */
struct conn {
	struct list node;
	int fd; /* -1: ended */
	uid_t uid; /* as the kernel says */
	int proc;
	int32_t pid;
	struct group *group; /* NULL: a query, or no HELLO yet */
};

/* control.c */
/* Who is at the other end, as the kernel says. */
bool control_peer(int fd, struct ucred *who);
/* Whether a user may have one more of what he has n of, and all together `all` of: half, unless it was configured. */
bool control_may_have(uid_t uid, uint32_t n, uint64_t configured, uint64_t all);

/* The connection of a process that is to be like the one of `parent`, and counts as its user's. Its other end is in *child; or
 * -CV_E... */
int control_fork(struct control *c, const struct conn *parent, int proc, int *child);

/* Processes that have ended by now, asker apart, have when it returns: what they held is closed. */
void control_sync(struct control *c, const struct conn *asker);

/* The process at the other end will have programs for us: as long as it lives we are not idle. */
void control_hold(struct control *c, const struct conn *conn);

/* request.c: answers what conn asks, if it asks anything now. False: it is over, or talks nonsense. */
bool request_answer(struct control *c, struct service *s, struct group_list *groups, struct conn *conn);

#endif
