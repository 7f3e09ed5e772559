/* SPDX-License-Identifier: BSD-3-Clause */
/* Lanes and posting: see lane.h. */
#include "shim/lane.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "shim/atomic.h"
#include "shim/fd.h"
#include "shim/real.h"
#include "shim/handler.h"
#include "shim/memory.h"

#define AWAIT_TRIES 10000
#define DEPTHS 2 /* the thread, and a signal handler that interrupts it inside a lane */

struct thread_lanes {
	struct lane *lane[DEPTHS][CV_WORKERS_MAX];
	unsigned depth;
	bool opening;
	bool registered;
};
static __thread struct thread_lanes mine __attribute__((tls_model("initial-exec")));
static pthread_key_t end_key;
/* Parent's lanes are not the child's. */
static uint32_t generation;

static void lane_free(struct lane *lane)
{
	wait_lane_fini(&lane->wait);
	mux_internal_close(lane->wait.bell);
	memory_put(lane->pool.slabs, lane->pool.slabs_n * sizeof(*lane->pool.slabs));
	memory_put(lane, sizeof(*lane));
}

static void lane_close(struct lane *lane)
{
	struct cv_request request = {.op = CV_CTL_LANE_CLOSE, .arg = lane->wait.index};

	if (lane->generation == generation && !lane->link->wait.dead)
		link_request(lane->link, &request, -1);
	lane_free(lane);
}

static void thread_end(void *arg)
{
	(void)arg;
	for (unsigned d = 0; d < DEPTHS; d++) {
		for (unsigned w = 0; w < CV_WORKERS_MAX; w++) {
			struct lane *lane = mine.lane[d][w];

			mine.lane[d][w] = NULL;
			if (lane)
				lane_close(lane);
		}
	}
	mine.registered = false;
}

/* Early, so that the key is one of those for which setting it takes no memory. */
__attribute__((constructor)) static void end_key_make(void)
{
	pthread_key_create(&end_key, thread_end);
}

static struct lane *lane_locate(struct link *l, uint32_t index, uint32_t worker, int bell)
{
	const struct cv_segment *seg = l->wait.seg;
	struct lane *lane = memory_get(sizeof(*lane));
	void *slabs = memory_get(txbuf_memory(seg->tx_bytes_lane));
	struct cv_lane *shared =
		(struct cv_lane *)(void *)(l->base + seg->lanes_off + index * seg->lane_stride);
	struct cv_set *set =
		(struct cv_set *)(void *)(l->base + seg->sets_off + index * seg->set_stride);

	if (!lane || !slabs) {
		memory_put(lane, sizeof(*lane));
		memory_put(slabs, txbuf_memory(seg->tx_bytes_lane));
		return NULL;
	}
	wait_lane_init(&lane->wait, &l->wait, shared, set, index, worker, bell);
	lane->link = l;
	lane->commands = (struct cv_command *)(void *)(shared + 1);
	lane->completions = (const uint64_t *)(const void *)(lane->commands + seg->cmd_entries);
	lane->tail = shared->cmd_tail;
	lane->seq = shared->reply_seq;
	lane->generation = generation;
	txbuf_init(&lane->pool, slabs, seg->tx_bytes_lane);
	return lane;
}

static void lanes_used_up(void)
{
	static bool said;

	if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		link_say(LINK_WARN, "more threads use sockets than the engine's [limits] lanes= allows: the others get ENOBUFS");
}

static struct lane *lane_open(struct link *l, uint32_t worker)
{
	struct cv_request request = {.op = CV_CTL_LANE_OPEN, .arg = worker};
	int bell = mux_internal_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	struct lane *lane = NULL;
	int64_t index;

	if (bell < 0)
		return NULL;
	index = link_request(l, &request, bell);
	if (index >= 0 && index < l->wait.seg->lanes_max)
		lane = lane_locate(l, (uint32_t)index, worker, bell);
	else if (index == -EMFILE)
		lanes_used_up();
	if (!lane)
		mux_internal_close(bell);
	if (!mine.registered) {
		pthread_setspecific(end_key, &mine);
		mine.registered = true;
	}
	return lane;
}

struct lane *lane_enter(struct link *l, uint32_t worker)
{
	struct lane **slot, *lane;

	if (mine.depth >= DEPTHS || worker >= CV_WORKERS_MAX || LOAD_ACQUIRE(l->wait.dead))
		return NULL;
	slot = &mine.lane[mine.depth++][worker];
	lane = *slot;
	if (lane && (lane->generation != generation || lane->link != l)) {
		*slot = NULL;
		lane_free(lane);
		lane = NULL;
	}
	if (!lane)
		lane = *slot = lane_open(l, worker);
	if (!lane)
		mine.depth--;
	return lane;
}

void lane_prepare(struct link *l)
{
	for (uint32_t w = 0; w < l->wait.page->workers; w++) {
		struct lane *lane = lane_enter(l, w);

		if (lane)
			lane_leave(lane);
	}
}

int lane_error(const struct link *l)
{
	return LOAD_ACQUIRE(l->wait.dead) ? -ENETDOWN : -ENOBUFS;
}

void lane_leave(struct lane *lane)
{
	(void)lane;
	if (mine.depth > 0) /* else a handler has forked amid a call that goes on in the child, too */
		mine.depth--;
}

/* A handler that forks may have interrupted a wait, which goes on in both: the child's must leave the parent's set and
 * bell alone. */
static void lane_leave_alone(struct lane *lane)
{
	lane->wait.set = NULL;
	mux_internal_close(lane->wait.bell);
	lane->wait.bell = -1;
}

void lane_fork_child(void)
{
	generation++;
	mine.depth = 0;
	for (unsigned d = 0; d < DEPTHS; d++) {
		for (unsigned w = 0; w < CV_WORKERS_MAX; w++) {
			if (mine.lane[d][w])
				lane_leave_alone(mine.lane[d][w]);
		}
	}
}

/* The worker may be about to sleep: our command must be seen before its word is read. An engine in
 * our own process carries it out at once, on this thread. */
static void doorbell(struct lane *lane, bool waits)
{
	struct link *l = lane->link;
	uint32_t worker = lane->wait.worker;

	if (l->wait.inside) {
		if (!waits && wait_batch_goes_on(l->wait.inside))
			return;
		wait_batch.posts = 0;
		signal_safe_post(l->wait.inside);
		return;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&l->wait.page->worker[worker].armed, __ATOMIC_RELAXED))
		wait_bell_write(l->bells[worker]);
}

int lane_post(struct lane *lane, const struct cv_command *command)
{
	struct cv_lane *shared = lane->wait.lane;
	uint32_t entries = lane->link->wait.seg->cmd_entries, head;

	while (lane->tail - (head = LOAD_ACQUIRE(shared->cmd_head)) >= entries) {
		int error = wait_ring(&lane->wait, head);

		if (error)
			return error;
	}
	lane->commands[lane->tail & (entries - 1)] = *command;
	lane->tail++;
	STORE_RELEASE(shared->cmd_tail, lane->tail);
	doorbell(lane, command->seq != 0);
	wait_link_check(&lane->link->wait);
	return 0;
}

int lane_call(struct lane *lane, struct cv_command *command)
{
	int error;

	if (++lane->seq == 0)
		lane->seq = 1;
	command->seq = lane->seq;
	error = lane_post(lane, command);
	if (!error)
		error = wait_reply(&lane->wait, lane->seq);
	if (error)
		return error;
	error = lane->wait.lane->reply_result;
	return error < 0 ? -link_errno(-error) : error;
}

static void collect(struct lane *lane)
{
	struct cv_lane *shared = lane->wait.lane;
	const struct cv_segment *seg = lane->link->wait.seg;
	uint64_t arena = seg->tx_off + lane->wait.index * seg->tx_bytes_lane;
	uint32_t tail = LOAD_ACQUIRE(shared->comp_tail), head = shared->comp_head;

	for (; head != tail; head++)
		txbuf_give(&lane->pool, lane->completions[head & (seg->comp_entries - 1)] - arena);
	STORE_RELEASE(shared->comp_head, head);
}

uint64_t lane_buffer(struct lane *lane, uint32_t bytes, uint32_t *size)
{
	const struct cv_segment *seg = lane->link->wait.seg;
	uint64_t offset;

	collect(lane);
	/* As many as there are completions for: beyond, the engine would leave the whole lane
	 * waiting. */
	if (lane->pool.used + 2 >= seg->comp_entries)
		return TXBUF_NONE;
	offset = txbuf_take(&lane->pool, bytes, size);
	if (offset == TXBUF_NONE)
		return offset;
	return seg->tx_off + lane->wait.index * seg->tx_bytes_lane + offset;
}

void lane_buffer_give(struct lane *lane, uint64_t offset)
{
	const struct cv_segment *seg = lane->link->wait.seg;

	txbuf_give(&lane->pool, offset - seg->tx_off - lane->wait.index * seg->tx_bytes_lane);
}

/* --- for wait.h ------------------------------------------------------------------------------- */

struct wait_lane *mux_lane(struct wait_link *link)
{
	struct lane *lane = lane_enter((struct link *)(void *)link, 0);

	if (!lane)
		return NULL;
	lane_leave(lane);
	return &lane->wait;
}

/* A command from a thread without a lane. What it says must not get lost: a socket that is closed, bytes that were
 * read. */
static int post_without(struct link *l, uint32_t worker, const struct cv_command *command)
{
	struct cv_request request = {.op = CV_CTL_COMMAND, .arg = worker, .text_len = sizeof(*command)};

	memcpy(request.text, command, sizeof(*command));
	return (int)link_request(l, &request, -1);
}

static const struct cv_lane *lane_shared(const struct wait_link *link, uint32_t index)
{
	return (const struct cv_lane *)(const void *)((const uint8_t *)link->seg + link->seg->lanes_off +
						      index * link->seg->lane_stride);
}

int mux_post(struct wait_link *link, const struct cv_command *command, struct mux_ticket *ticket)
{
	const struct cv_sock *socks =
		(const struct cv_sock *)(const void *)((const uint8_t *)link->seg +
						       link->seg->socks_off);
	uint32_t worker = socks[CV_SOCK_INDEX(command->sock) % link->seg->socks_max].worker;
	struct lane *lane = lane_enter((struct link *)(void *)link, worker);
	int error;

	if (!lane && LOAD_ACQUIRE(link->dead))
		return -ENETDOWN;
	if (!lane) {
		error = post_without((struct link *)(void *)link, worker, command);
		if (error == 0 && ticket)
			*ticket = (struct mux_ticket){
				0, LOAD_ACQUIRE(lane_shared(link, 0)->cmd_head)}; /* taken already */
		return error && LOAD_ACQUIRE(link->dead) ? -ENETDOWN : error;
	}
	error = lane_post(lane, command);
	if (error == 0 && ticket)
		*ticket = (struct mux_ticket){lane->wait.index, lane->tail};
	lane_leave(lane);
	return error;
}

void mux_await(struct wait_link *link, const struct mux_ticket *ticket)
{
	const struct cv_lane *lane = lane_shared(link, ticket->lane);

	for (uint32_t w = 0; w < link->seg->workers; w++) {
		if (mine.lane[0][w] && mine.lane[0][w]->wait.link == link && mine.lane[0][w]->wait.index == ticket->lane)
			return;
	}
	/* A lane's cursors go on when another thread is given it. */
	for (uint32_t tries = 0; (int32_t)(LOAD_ACQUIRE(lane->cmd_head) - ticket->tail) < 0 && tries < AWAIT_TRIES;
		tries++) {
		if (LOAD_ACQUIRE(link->dead))
			return;
		if (!wait_turn(link))
			sched_yield();
	}
}
