/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group of related processes as the control thread sees it: its segment's memory, the bells that its
 * processes handed over, its own doorbell.
 *
 * Owns: the memory and the descriptors. Does not own: what lies in the segment (stack/user/).
 * Called by: control.c and request.c, on the control thread only. What touches stack/user/ goes by worker_call().
 */
#ifndef CULVERT_DPDK_GROUP_H
#define CULVERT_DPDK_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dpdk/service.h"
#include "stack/api/command.h"
#include "stack/api/control.h"
#include "stack/base/list.h"

struct group_bell {
	int fd; /* -1: none */
	int proc;
};

struct group {
	struct list node;
	struct service *s;
	struct user_group *user[CV_WORKERS_MAX]; /* by worker; the first one's is NULL once it is closed */
	uid_t uid; /* who said HELLO */
	char family[CV_FAMILY_BYTES]; /* in whose name; zeros: none's */
	int segment_fd;
	int doorbell[CV_WORKERS_MAX]; /* by worker */
	void *segment;
	uint64_t size;
	bool ended; /* by us: its processes may go on, and hold the segment */
	uint32_t sets_max;
	struct group_bell *bells; /* by set; a lane's set has the lane's index */
	_Atomic uint32_t done;    /* workers of which nothing refers to the segment any more */
};

struct group_list {
	struct service *s;
	struct list open, closing;
	uint32_t n;
	uint32_t numbers; /* given out */
};

void group_list_init(struct group_list *l, struct service *s);
/* A new group of a user with one process; *proc. inside: it is our own process. NULL: *result is -CV_E... */
struct group *group_open(struct group_list *l, int32_t pid, uid_t uid, bool inside, int *proc, int *result);
/* The group of that user that was made in a family's name; NULL. */
struct group *group_find(const struct group_list *l, uid_t uid, const char family[CV_FAMILY_BYTES]);
/* Those that the user has, ended ones included while something is held for them. */
uint32_t group_count(const struct group_list *l, uid_t uid);
/* A new process, which holds what parent does; parent -1: nothing. The number, or -CV_E... */
int group_fork(struct group *g, int parent, int32_t pid);
/* The last process takes the group along. */
void group_proc_close(struct group_list *l, struct group *g, int proc);
/* Bytes of the segment that are real. */
uint64_t group_memory(const struct group *g);
void group_proc_exec(struct group *g, int proc);
void group_proc_pid(struct group *g, int proc, int32_t pid);
/* handles == NULL: no more come, the others are dropped. */
void group_retain(struct group *g, int proc, const uint32_t *handles, uint32_t n);
/* lane_worker: -1 for a set, else the worker of the lane. Index or -CV_E...; takes bell over in the first case. */
int group_set_open(struct group *g, int proc, int bell, int lane_worker);
int group_set_close(struct group *g, int proc, uint32_t set, bool lane);
/* user_proc_command() on a worker. */
int group_command(struct group *g, int proc, uint16_t worker, const struct cv_command *command);
/* Frees what closed groups left, as far as the engine has let go. True when some are left. */
bool group_reap(struct group_list *l);

#endif
