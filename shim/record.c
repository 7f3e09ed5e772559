/* SPDX-License-Identifier: BSD-3-Clause */
/* What every call on an engine socket needs: commands about it, its pending error, whether it still is there, its record's locks, its end.
 * Does not own: the decision whose a socket is (decide.c). */
#include "shim/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LOCK_TRIES 1000 /* looks between two questions whether the holder lives */

static int call_once(struct file *f, struct cv_command *command, void *reply, uint32_t *reply_len)
{
	struct lane *lane = lane_enter(sock_link(f), f->mux.rec ? f->mux.rec->worker : 0);
	int result;

	if (!lane)
		return sock_is_dead(f) ? -ENETDOWN : -ENOBUFS;
	command->sock = f->mux.handle;
	result = lane_call(lane, command);
	if ((result >= 0 || result == -EXDEV) && reply) { /* of the latter: where it is */
		uint32_t n = lane->wait.lane->reply_len;

		n = n < *reply_len ? n : *reply_len;
		memcpy(reply, lane->wait.lane->reply, n);
		*reply_len = n;
	}
	lane_leave(lane);
	return result;
}

/* What is in use may have been so by a process that is over. Linux has closed its sockets before anybody can know that;
 * the engine learns of its end by and by. */
int sock_call(struct file *f, struct cv_command *command, void *reply, uint32_t *reply_len)
{
	int result = call_once(f, command, reply, reply_len);

	if (result == -EADDRINUSE && link_sync(sock_link(f)))
		result = call_once(f, command, reply, reply_len);
	return result;
}

int sock_post(struct file *f, struct cv_command *command)
{
	command->sock = f->mux.handle;
	return mux_post(f->mux.link, command, NULL);
}

void sock_tell(struct file *f)
{
	struct cv_command c = {.op = CV_CMD_SHUTDOWN, .flags = CV_F_READ};

	sock_post(f, &c);
}

bool sock_is_dead(const struct file *f)
{
	return __atomic_load_n(&f->mux.link->dead, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&f->mux.rec->handle, __ATOMIC_ACQUIRE) != f->mux.handle;
}

bool sock_has_error(const struct file *f)
{
	const struct cv_sock *rec = f->mux.rec;

	return __atomic_load_n(&rec->error_seq, __ATOMIC_ACQUIRE) != rec->error_seen;
}

int sock_take_error(struct file *f)
{
	struct cv_sock *rec = f->mux.rec;
	uint32_t seq;

	if (sock_is_dead(f))
		return __atomic_load_n(&f->mux.link->dead, __ATOMIC_ACQUIRE) ? ECONNRESET : EBADF;
	seq = __atomic_load_n(&rec->error_seq, __ATOMIC_ACQUIRE);
	if (seq == rec->error_seen)
		return 0;
	rec->error_seen = seq;
	return link_errno((int)rec->error);
}

bool sock_waits(const struct file *f, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(f->mux.rec->flags & O_NONBLOCK);
}

struct cv_sock *sock_record(const struct link *l, uint32_t handle)
{
	struct cv_sock *socks = (struct cv_sock *)(void *)(l->base + l->wait.seg->socks_off);

	return &socks[CV_SOCK_INDEX(handle) % l->wait.seg->socks_max];
}

/* Other threads go by the record. */
void sock_attach(struct file *f, struct link *l, uint32_t handle)
{
	static uint32_t lives;

	f->mux.life = __atomic_add_fetch(&lives, 1, __ATOMIC_RELAXED);
	f->mux.link = &l->wait;
	f->mux.handle = handle;
	__atomic_store_n(&f->mux.rec, sock_record(l, handle), __ATOMIC_RELEASE);
}

static __thread uint32_t tid __attribute__((tls_model("initial-exec")));

static uint32_t thread_id(void)
{
	if (tid == 0)
		tid = (uint32_t)gettid();
	return tid;
}

void sock_fork_child(void)
{
	tid = 0;
}

bool sock_lock(struct file *f, uint32_t *word)
{
	uint32_t me = thread_id(), holder = 0;

	for (unsigned tries = 1;; tries++) {
		if (__atomic_compare_exchange_n(
			    word, &holder, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (holder == me || sock_is_dead(f))
			return false;
		/* A holder that was killed inside leaves a consistent record: take it over. */
		if (tries % LOCK_TRIES == 0 && kill((pid_t)holder, 0) != 0 && errno == ESRCH) {
			if (__atomic_compare_exchange_n(
				    word, &holder, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return true;
		}
		if (tries > 50)
			sched_yield();
		holder = 0;
	}
}

void sock_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

bool thread_lock(uint32_t *word)
{
	uint32_t me = thread_id(), holder = 0;

	while (!__atomic_compare_exchange_n(word, &holder, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (holder == me)
			return false;
		sched_yield();
		holder = 0;
	}
	return true;
}

void thread_unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

bool sock_decide_begin(struct file *f)
{
	return thread_lock(&f->decider);
}

void sock_decide_end(struct file *f)
{
	thread_unlock(&f->decider);
}

void sock_close(struct file *f)
{
	struct cv_sock *rec = f->mux.rec;
	struct cv_command c = {.op = CV_CMD_CLOSE, .pos = rec->tx_pos};

	if (f->closed || sock_is_dead(f))
		return;
	f->closed = true;
	if (rec->linger_on && rec->linger_s == 0)
		c.flags = CV_F_ABORT;
	/* Whoever is told that a listener is closed must not find another worker's part of it. */
	if (!(__atomic_load_n(&rec->status, __ATOMIC_RELAXED) & CV_ST_LISTENING) || f->mux.link->page->workers == 1 ||
		sock_call(f, &c, NULL, NULL) == -ENOBUFS)
		sock_post(f, &c);
}
