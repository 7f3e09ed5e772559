/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups: see group.h. */
#include "dpdk/group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpdk/log.h"
#include "stack/api/error.h"

/* --- what runs on the workers ------------------------------------------------------------------ */

/* One request to stack/user/, its arguments and answer. */
struct request {
	struct group *g;
	struct user_limits *limits;
	const uint32_t *handles;
	const struct cv_command *command;
	uint32_t number;
	int proc, bell, result;
	int32_t pid;
	bool lane;
	int lane_worker;
	uint32_t opened; /* workers that have the new process, a bit each */
	uint16_t worker; /* that it is carried out on now */
};

/* On one worker after the other, each time between two of its turns. */
static void call_all(struct request *r, void (*fn)(void *arg))
{
	struct service *s = r->g->s;

	for (r->worker = 0; r->worker < s->workers; r->worker++)
		worker_call(&s->worker[r->worker], fn, r);
}

static struct user_group *group_here(const struct request *r)
{
	return r->g->user[r->worker];
}

static void on_group_done(void *arg)
{
	struct group *g = arg;

	atomic_fetch_add(&g->done, 1);
}

/* A worker that cannot, after others could: the result says so, and undo_open() follows. */
static void do_open(void *arg)
{
	struct request *r = arg;
	struct user_group **g = &r->g->user[r->worker];
	int proc = -CV_ENOMEM;

	r->limits->worker = r->worker;
	*g = user_group_open(r->g->s->worker[r->worker].user, r->g->segment, r->g->size, r->limits);
	if (*g)
		proc = user_proc_open(*g, -1, r->pid);
	if (r->result >= 0)
		r->result = proc;
}

static void undo_open(void *arg)
{
	struct request *r = arg;

	if (group_here(r))
		user_group_close(group_here(r), NULL, NULL);
}

static void do_fork(void *arg)
{
	struct request *r = arg;
	int proc = r->result < 0 ? r->result : user_proc_open(group_here(r), r->proc, r->pid);

	if (proc >= 0) {
		r->opened |= 1u << r->worker;
		r->number = (uint32_t)proc;
	}
	r->result = proc;
}

static void undo_fork(void *arg)
{
	struct request *r = arg;

	if (r->opened & 1u << r->worker)
		(void)user_proc_close(group_here(r), (int)r->number);
}

/* A worker serves others between so many sockets and the next. */
#define END_AT_ONCE 256u

static void do_proc_end(void *arg)
{
	struct request *r = arg;

	if (!user_proc_end(group_here(r), r->proc, END_AT_ONCE))
		r->result = 1;
}

/* The number may be another worker's last one already. */
static void do_proc_close(void *arg)
{
	struct request *r = arg;

	if (user_proc_close(group_here(r), r->proc) > 0)
		return;
	user_group_close(group_here(r), on_group_done, r->g);
	r->g->user[r->worker] = NULL;
}

static void do_exec(void *arg)
{
	struct request *r = arg;

	user_proc_exec(group_here(r), r->proc);
}

static void do_pid(void *arg)
{
	struct request *r = arg;

	user_proc_pid_set(group_here(r), r->proc, r->pid);
}

static void do_retain(void *arg)
{
	struct request *r = arg;

	if (r->handles)
		user_proc_retain(group_here(r), r->proc, r->handles, r->number);
	else
		user_proc_retain_done(group_here(r), r->proc);
}

static void do_lane_open(void *arg)
{
	struct request *r = arg;

	r->result = user_lane_open(group_here(r), r->proc, r->bell);
}

static void do_lane_mirror(void *arg)
{
	struct request *r = arg;

	if (r->worker != r->lane_worker)
		user_lane_mirror(group_here(r), r->proc, (uint32_t)r->result, r->bell);
}

/* Each gives it the same number, or none has one. */
static void do_set_open(void *arg)
{
	struct request *r = arg;

	r->result = user_set_open(group_here(r), r->proc, r->bell);
}

static void do_set_close(void *arg)
{
	struct request *r = arg;

	if (!r->lane)
		r->result = user_set_close(group_here(r), r->proc, r->number);
	else if (user_lane_close(group_here(r), r->proc, r->number) == 0)
		r->result = 0;
}

static void do_lane_unmirror(void *arg)
{
	struct request *r = arg;

	user_lane_mirror_close(group_here(r), r->proc, r->number);
}

static void do_command(void *arg)
{
	struct request *r = arg;

	r->result = user_proc_command(group_here(r), r->proc, r->command);
}

/* --- memory ------------------------------------------------------------------------------------ */

static void limits_fill(const struct config_limits *c, struct user_limits *l)
{
	*l = (struct user_limits){.socks_max = (uint32_t)c->sockets,
		.rxds_max = (uint32_t)c->descriptors,
		.lanes_max = (uint32_t)c->lanes,
		.sets_max = (uint32_t)c->sets,
		.comp_entries = (uint32_t)c->send_buffers,
		.rx_bytes = c->receive_memory,
		.tx_bytes_lane = c->send_memory};
}

/* Sealed, so that a program that shrinks it cannot make the engine fault. */
static int segment_make(struct group *g)
{
	g->segment_fd = memfd_create("culvert-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (g->segment_fd < 0 || ftruncate(g->segment_fd, (off_t)g->size) != 0 ||
		fcntl(g->segment_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return -1;
	g->segment = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		g->segment_fd, 0);
	if (g->segment == MAP_FAILED) {
		g->segment = NULL;
		return -1;
	}
	return 0;
}

/* All but its first page, whose numbers a library that goes on divides by. */
static void segment_empty(const struct group *g)
{
	if (fallocate(g->segment_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, CV_SEGMENT_PAGE,
		    (off_t)(g->size - CV_SEGMENT_PAGE)) != 0)
		log_line(LOG_WARNING, "a program's memory stays taken: %s", strerror(errno));
}

uint64_t group_memory(const struct group *g)
{
	struct stat st;

	return fstat(g->segment_fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void group_free(struct group *g)
{
	if (g->ended)
		segment_empty(g);
	if (g->segment)
		munmap(g->segment, g->size);
	if (g->segment_fd >= 0)
		close(g->segment_fd);
	for (unsigned k = 0; k < CV_WORKERS_MAX; k++) {
		if (g->doorbell[k] >= 0)
			close(g->doorbell[k]);
	}
	for (uint32_t i = 0; g->bells && i < g->sets_max; i++) {
		if (g->bells[i].fd >= 0)
			close(g->bells[i].fd);
	}
	free(g->bells);
	free(g);
}

static int doorbells_make(struct group *g)
{
	for (uint16_t k = 0; k < g->s->workers; k++) {
		g->doorbell[k] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (g->doorbell[k] < 0 || worker_doorbell_add(&g->s->worker[k], g->doorbell[k]) != 0)
			return -1;
	}
	return 0;
}

static struct group *group_make(struct service *s, const struct user_limits *limits)
{
	struct group *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->s = s;
	g->size = user_segment_size(limits);
	g->segment_fd = -1;
	for (unsigned k = 0; k < CV_WORKERS_MAX; k++)
		g->doorbell[k] = -1;
	if (doorbells_make(g) != 0 || segment_make(g) != 0) {
		log_line(LOG_WARNING, "no segment for a program: %s", strerror(errno));
		group_free(g);
		return NULL;
	}
	return g;
}

static int bells_make(struct group *g)
{
	const struct cv_segment *head = g->segment;

	g->sets_max = head->sets_max; /* nobody else has the segment yet */
	g->bells = malloc(g->sets_max * sizeof(*g->bells));
	if (!g->bells)
		return -CV_ENOMEM;
	for (uint32_t i = 0; i < g->sets_max; i++)
		g->bells[i].fd = -1;
	return 0;
}

/* --- the control thread's calls ---------------------------------------------------------------- */

void group_list_init(struct group_list *l, struct service *s)
{
	l->s = s;
	l->n = 0;
	list_init(&l->open);
	list_init(&l->closing);
}

uint32_t group_count(const struct group_list *l, uid_t uid)
{
	uint32_t n = 0;

	list_for_each(node, &l->open)
		n += list_entry(node, struct group, node)->uid == uid;
	list_for_each(node, &l->closing)
		n += list_entry(node, struct group, node)->uid == uid;
	return n;
}

struct group *group_find(const struct group_list *l, uid_t uid, const char family[CV_FAMILY_BYTES])
{
	list_for_each (node, &l->open) {
		struct group *g = list_entry(node, struct group, node);

		if (g->uid == uid && memcmp(g->family, family, CV_FAMILY_BYTES) == 0)
			return g;
	}
	return NULL;
}

struct group *group_open(struct group_list *l, int32_t pid, uid_t uid, bool inside, int *proc, int *result)
{
	struct user_limits limits;
	struct request r = {.limits = &limits, .pid = pid};

	*result = -CV_EMFILE;
	if (l->n >= l->s->config.limits.groups)
		return NULL;
	limits_fill(&l->s->config.limits, &limits);
	limits.inside = inside;
	limits.workers = l->s->workers;
	limits.number = ++l->numbers;
	*result = -CV_ENOMEM;
	r.g = group_make(l->s, &limits);
	if (!r.g)
		return NULL;
	r.g->uid = uid;
	call_all(&r, do_open);
	*result = r.result;
	if (r.result < 0) {
		call_all(&r, undo_open);
		group_free(r.g);
		return NULL;
	}
	*proc = r.result;
	list_add_tail(&l->open, &r.g->node);
	l->n++;
	*result = bells_make(r.g);
	if (*result < 0) {
		group_proc_close(l, r.g, *proc);
		return NULL;
	}
	return r.g;
}

int group_fork(struct group *g, int parent, int32_t pid)
{
	struct request r = {.g = g, .proc = parent, .pid = pid};

	call_all(&r, do_fork);
	if (r.result < 0)
		call_all(&r, undo_fork);
	return r.result;
}

static void bells_close(struct group *g, int proc)
{
	for (uint32_t i = 0; g->bells && i < g->sets_max; i++) {
		if (g->bells[i].fd < 0 || g->bells[i].proc != proc)
			continue;
		close(g->bells[i].fd);
		g->bells[i].fd = -1;
	}
}

void group_proc_close(struct group_list *l, struct group *g, int proc)
{
	struct request r = {.g = g, .proc = proc};

	do {
		r.result = 0;
		call_all(&r, do_proc_end);
	} while (r.result != 0);
	call_all(&r, do_proc_close);
	bells_close(g, proc);
	if (g->user[0])
		return;
	list_del(&g->node);
	list_add_tail(&l->closing, &g->node);
	l->n--;
}

void group_proc_exec(struct group *g, int proc)
{
	struct request r = {.g = g, .proc = proc};

	call_all(&r, do_exec);
	bells_close(g, proc);
}

void group_proc_pid(struct group *g, int proc, int32_t pid)
{
	struct request r = {.g = g, .proc = proc, .pid = pid};

	call_all(&r, do_pid);
}

void group_retain(struct group *g, int proc, const uint32_t *handles, uint32_t n)
{
	struct request r = {.g = g, .proc = proc, .handles = handles, .number = n};

	call_all(&r, do_retain);
}

int group_set_open(struct group *g, int proc, int bell, int lane_worker)
{
	struct request r = {.g = g, .proc = proc, .bell = bell, .lane_worker = lane_worker};

	if (lane_worker < 0) {
		call_all(&r, do_set_open);
	} else {
		r.worker = (uint16_t)lane_worker;
		worker_call(&g->s->worker[lane_worker], do_lane_open, &r);
		if (r.result >= 0)
			call_all(&r, do_lane_mirror);
	}
	if (r.result >= 0)
		g->bells[r.result] = (struct group_bell){.fd = bell, .proc = proc};
	return r.result;
}

int group_set_close(struct group *g, int proc, uint32_t set, bool lane)
{
	struct request r = {.g = g, .proc = proc, .number = set, .lane = lane, .result = -CV_EINVAL};

	call_all(&r, do_set_close);
	if (r.result != 0)
		return r.result;
	if (lane)
		call_all(&r, do_lane_unmirror);
	close(g->bells[set].fd);
	g->bells[set].fd = -1;
	return 0;
}

int group_command(struct group *g, int proc, uint16_t worker, const struct cv_command *command)
{
	struct request r = {.g = g, .proc = proc, .command = command, .worker = worker};

	worker_call(&g->s->worker[worker], do_command, &r);
	return r.result;
}

bool group_reap(struct group_list *l)
{
	list_for_each_safe(node, &l->closing)
	{
		struct group *g = list_entry(node, struct group, node);

		if (atomic_load(&g->done) < g->s->workers)
			continue;
		list_del(&g->node);
		group_free(g);
	}
	return !list_empty(&l->closing);
}
