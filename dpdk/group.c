/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups: see group.h. */
#include "dpdk/group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "dpdk/log.h"
#include "stack/api/error.h"

/* --- what runs on the worker ------------------------------------------------------------------- */

/* One request to stack/user/, its arguments and answer. */
struct request {
	struct group *g;
	const struct user_limits *limits;
	const uint32_t *handles;
	uint32_t number;
	int proc, bell, result;
	int32_t pid;
	bool lane;
};

static void on_group_done(void *arg)
{
	struct group *g = arg;

	atomic_store(&g->done, true);
}

static void do_open(void *arg)
{
	struct request *r = arg;

	r->g->user = user_group_open(r->g->s->user, r->g->segment, r->g->size, r->limits);
	r->result = r->g->user ? user_proc_open(r->g->user, -1, r->pid) : -CV_ENOMEM;
	if (r->result < 0 && r->g->user) {
		user_group_close(r->g->user, NULL, NULL);
		r->g->user = NULL;
	}
}

static void do_fork(void *arg)
{
	struct request *r = arg;

	r->result = user_proc_open(r->g->user, r->proc, r->pid);
}

static void do_proc_close(void *arg)
{
	struct request *r = arg;

	if (user_proc_close(r->g->user, r->proc) > 0)
		return;
	user_group_close(r->g->user, on_group_done, r->g);
	r->g->user = NULL;
}

static void do_exec(void *arg)
{
	struct request *r = arg;

	user_proc_exec(r->g->user, r->proc);
}

static void do_pid(void *arg)
{
	struct request *r = arg;

	user_proc_pid_set(r->g->user, r->proc, r->pid);
}

static void do_retain(void *arg)
{
	struct request *r = arg;

	if (r->handles)
		user_proc_retain(r->g->user, r->proc, r->handles, r->number);
	else
		user_proc_retain_done(r->g->user, r->proc);
}

static void do_set_open(void *arg)
{
	struct request *r = arg;

	r->result = r->lane ? user_lane_open(r->g->user, r->proc, r->bell)
			    : user_set_open(r->g->user, r->proc, r->bell);
}

static void do_set_close(void *arg)
{
	struct request *r = arg;

	r->result = r->lane ? user_lane_close(r->g->user, r->proc, r->number)
			    : user_set_close(r->g->user, r->proc, r->number);
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

static void group_free(struct group *g)
{
	if (g->segment)
		munmap(g->segment, g->size);
	if (g->segment_fd >= 0)
		close(g->segment_fd);
	if (g->doorbell >= 0)
		close(g->doorbell);
	for (uint32_t i = 0; g->bells && i < g->sets_max; i++) {
		if (g->bells[i].fd >= 0)
			close(g->bells[i].fd);
	}
	free(g->bells);
	free(g);
}

static struct group *group_make(struct service *s, const struct user_limits *limits)
{
	struct group *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->s = s;
	g->size = user_segment_size(limits);
	g->segment_fd = -1;
	g->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->doorbell < 0 || worker_doorbell_add(s, g->doorbell) != 0 || segment_make(g) != 0 ||
		getrandom(g->token, sizeof(g->token), 0) != (ssize_t)sizeof(g->token)) {
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

struct group *group_open(struct group_list *l, int32_t pid, bool inside, int *proc, int *result)
{
	struct user_limits limits;
	struct request r = {.limits = &limits, .pid = pid};

	*result = -CV_EMFILE;
	if (l->n >= l->s->config.limits.groups)
		return NULL;
	limits_fill(&l->s->config.limits, &limits);
	limits.inside = inside;
	*result = -CV_ENOMEM;
	r.g = group_make(l->s, &limits);
	if (!r.g)
		return NULL;
	worker_call(l->s, do_open, &r);
	*result = r.result;
	if (r.result < 0) {
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

struct group *group_find(struct group_list *l, const uint8_t token[CV_TOKEN_BYTES])
{
	list_for_each(node, &l->open)
	{
		struct group *g = list_entry(node, struct group, node);

		if (memcmp(g->token, token, CV_TOKEN_BYTES) == 0)
			return g;
	}
	return NULL;
}

int group_fork(struct group *g, uint32_t parent, int32_t pid)
{
	struct request r = {.g = g, .proc = (int)parent, .pid = pid};

	if (parent > INT32_MAX)
		return -CV_EINVAL;
	worker_call(g->s, do_fork, &r);
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

	worker_call(g->s, do_proc_close, &r);
	bells_close(g, proc);
	if (g->user)
		return;
	list_del(&g->node);
	list_add_tail(&l->closing, &g->node);
	l->n--;
}

void group_proc_exec(struct group *g, int proc)
{
	struct request r = {.g = g, .proc = proc};

	worker_call(g->s, do_exec, &r);
	bells_close(g, proc);
}

void group_proc_pid(struct group *g, int proc, int32_t pid)
{
	struct request r = {.g = g, .proc = proc, .pid = pid};

	worker_call(g->s, do_pid, &r);
}

void group_retain(struct group *g, int proc, const uint32_t *handles, uint32_t n)
{
	struct request r = {.g = g, .proc = proc, .handles = handles, .number = n};

	worker_call(g->s, do_retain, &r);
}

int group_set_open(struct group *g, int proc, int bell, bool lane)
{
	struct request r = {.g = g, .proc = proc, .bell = bell, .lane = lane};

	worker_call(g->s, do_set_open, &r);
	if (r.result >= 0)
		g->bells[r.result] = (struct group_bell){.fd = bell, .proc = proc};
	return r.result;
}

int group_set_close(struct group *g, int proc, uint32_t set, bool lane)
{
	struct request r = {.g = g, .proc = proc, .number = set, .lane = lane};

	worker_call(g->s, do_set_close, &r);
	if (r.result == 0) {
		close(g->bells[set].fd);
		g->bells[set].fd = -1;
	}
	return r.result;
}

bool group_reap(struct group_list *l)
{
	list_for_each_safe(node, &l->closing)
	{
		struct group *g = list_entry(node, struct group, node);

		if (!atomic_load(&g->done))
			continue;
		list_del(&g->node);
		group_free(g);
	}
	return !list_empty(&l->closing);
}
