/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Time, and the part of a wait before its sleep: looking for a bounded time, or running turns of an engine in this process; and
 * keeping signals out from the last look on. See wait.h, which says what each function promises.
 */
#include "shim/wait.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "shim/atomic.h"
#include "shim/env.h"
#include "shim/handler.h"

/* Measured: bench/pingpong, 64 bytes, median round trip on two cores shared with the engine. Both
 * programs on the engine: 8.6 to 11.2 us without a spin, 6.4 to 7.3 us with 20, and no less with
 * 50, 100 or 200. The peer a kernel program behind a TAP: 12.5 us, then 6.9 to 7.8, and 6.9 to 10.3
 * with more. An answer that is not there after 20 us is worth a sleep, which leaves the core to
 * others. */
#define SPIN_DEFAULT_US 20
#define SPIN_INSIDE_US 200
#define SPIN_YIELD_TURNS 64 /* of our own engine without an answer, between yields */
#define SPIN_MAX_US 1000000
/* A wait that lasted so many spins would not have ended in one; asleep it takes longer by what waking costs. */
#define SPIN_WORTH 4u
#define SPIN_MISSES_MAX 5u
#define SPIN_CORES 256u
#define SPIN_CLOCK_TURNS 64 /* looks between two readings of the clock and yields */
#define SPIN_CLOCK_YIELDS 4

uint64_t wait_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t wait_coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t wait_timeout_of(const struct timespec *timeout)
{
	if (!timeout || timeout->tv_sec > (time_t)(WAIT_FOREVER / 4 / 1000000000u))
		return WAIT_FOREVER;
	return (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec;
}

uint64_t wait_deadline(uint64_t timeout_ns)
{
	uint64_t now;

	if (timeout_ns == 0)
		return WAIT_FOREVER;
	now = wait_now_ns();
	return timeout_ns < WAIT_FOREVER - now ? now + timeout_ns : WAIT_FOREVER;
}

const struct timespec *wait_left(uint64_t deadline_ns, struct timespec *left)
{
	uint64_t now, ns;

	if (deadline_ns == WAIT_FOREVER)
		return NULL;
	now = wait_now_ns();
	ns = deadline_ns > now ? deadline_ns - now : 0;
	left->tv_sec = (time_t)(ns / 1000000000u);
	left->tv_nsec = (long)(ns % 1000000000u);
	return left;
}

/* Read once. Two threads may both do it and find the same. Where the engine is ours, nobody works
 * while we sleep. */
static uint64_t spin_ns(bool inside)
{
	static uint64_t value[2] = {UINT64_MAX, UINT64_MAX};
	uint64_t ns = LOAD(value[inside]);
	const char *text;
	char *end;

	if (ns != UINT64_MAX)
		return ns;
	ns = (inside ? SPIN_INSIDE_US : SPIN_DEFAULT_US) * 1000;
	text = env_get("CULVERT_SPIN_US");
	if (text && *text) {
		unsigned long us = strtoul(text, &end, 10);

		if (*end == 0 && us <= SPIN_MAX_US)
			ns = us * 1000;
	}
	STORE(value[inside], ns);
	return ns;
}

/* This thread's waits in a row that were too long for a spin: each halves the next one, until it sleeps at once. Who waits
 * for requests that come seldom leaves the core to those that have one; an answer that comes soon starts over. */
static __thread uint32_t spin_misses __attribute__((tls_model("initial-exec")));

static uint64_t spin_worth(void)
{
	return spin_misses < SPIN_MISSES_MAX ? spin_ns(false) >> spin_misses : 0;
}

static void spin_learn(const struct wait_slow *s)
{
	uint64_t most;

	if (s->inside || !s->worker)
		return;
	most = spin_ns(false);
	if (most == 0)
		return;
	if (!s->blocked || wait_now_ns() - s->begun_ns < SPIN_WORTH * most)
		spin_misses = 0;
	else if (spin_misses < SPIN_MISSES_MAX)
		spin_misses++;
}

void wait_slow_begin(struct wait_slow *s, const struct wait_link *link, uint32_t worker,
	uint64_t deadline_ns, uint64_t timeout_ns)
{
	const struct cv_inline_engine *inside = link ? LOAD(link->inside) : NULL;

	s->turns = 0;
	s->handled = signal_turn.handled;
	s->broken = signal_turn.broken;
	s->blocked = false;
	s->inside = inside;
	s->told = inside ? inside->told() : 0;
	s->worker = link && link->page ? &link->page->worker[worker % CV_WORKERS_MAX] : NULL;
	s->spin_ns = !s->worker ? 0 : inside ? spin_ns(true) : spin_worth();
	s->timeout_ns = timeout_ns;
	s->deadline_ns = deadline_ns;
	s->end_ns = 0;
}

/* Whether the spin goes on at this time. */
static bool spin_lasts(struct wait_slow *s, uint64_t now)
{
	if (s->end_ns == 0) {
		s->begun_ns = now;
		if (s->timeout_ns < WAIT_FOREVER - now)
			s->deadline_ns = now + s->timeout_ns;
		s->end_ns = now + s->spin_ns;
		if (s->end_ns > s->deadline_ns)
			s->end_ns = s->deadline_ns;
	}
	return now < s->end_ns;
}

static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Another thread of the program has spun on this core since we did: one look each, then the next one's. */
static bool is_crowded(void)
{
	static const void *last[SPIN_CORES];
	unsigned core = (unsigned)sched_getcpu() % SPIN_CORES;
	const void *me = &spin_misses;

	if (LOAD(last[core]) == me)
		return false;
	STORE(last[core], me);
	return true;
}

/* Always one turn before the sleep. */
static bool spin_inside(struct wait_slow *s)
{
	uint32_t told = s->inside->told();
	uint64_t now;

	s->turns++;
	/* What we were told last was for another thread, which may want this core now; or one waits here as well; or it is
	 * our peer's, too. */
	if (told != s->told || is_crowded() || s->turns % SPIN_YIELD_TURNS == 0) {
		s->told = told;
		sched_yield();
	}
	now = signal_safe_turn(s->inside);
	signal_check_late();
	if (now == CV_INLINE_BUSY) {
		cpu_pause();
		if (s->turns % SPIN_CLOCK_TURNS != 0)
			return true;
		now = wait_now_ns();
	}
	return spin_lasts(s, now) || s->turns == 1;
}

static bool spin_elsewhere(struct wait_slow *s)
{
	s->turns++;
	if (s->spin_ns == 0)
		return false;
	/* The engine on our own core cannot work while we look. */
	if ((uint32_t)sched_getcpu() == LOAD(s->worker->cpu)) {
		sched_yield();
		return s->turns % SPIN_CLOCK_YIELDS != 0 || spin_lasts(s, wait_now_ns());
	}
	if (is_crowded())
		sched_yield();
	else
		cpu_pause();
	if (s->turns % SPIN_CLOCK_TURNS != 0)
		return true;
	/* Whoever else wants this core (our peer, say) is not kept from it for the whole spin. */
	sched_yield();
	return spin_lasts(s, wait_now_ns());
}

/* What a fault raises must stay deliverable: blocked it would kill the process unheard. */
static void signals_block(sigset_t *old)
{
	sigset_t block;

	sigfillset(&block);
	sigdelset(&block, SIGSEGV);
	sigdelset(&block, SIGBUS);
	sigdelset(&block, SIGFPE);
	sigdelset(&block, SIGILL);
	sigdelset(&block, SIGTRAP);
	sigdelset(&block, SIGSYS);
	pthread_sigmask(SIG_BLOCK, &block, old);
}

bool wait_slow_spin(struct wait_slow *s)
{
	if ((s->inside ? spin_inside(s) : spin_elsewhere(s)) && signal_turn.handled == s->handled)
		return true;
	if (s->end_ns == 0)
		(void)spin_lasts(s, wait_now_ns());
	signals_block(&s->old);
	s->blocked = true;
	return false;
}

int wait_slow_signal(const struct wait_slow *s)
{
	return signal_turn.handled == s->handled ? 0 : -EINTR;
}

void wait_slow_end(struct wait_slow *s)
{
	int saved = errno;

	spin_learn(s);
	if (s->blocked)
		pthread_sigmask(SIG_SETMASK, &s->old, NULL);
	errno = saved;
}

__thread struct wait_batch wait_batch __attribute__((tls_model("initial-exec")));

bool wait_batch_goes_on(const struct cv_inline_engine *inside)
{
	return wait_batch.news > 1 && ++wait_batch.posts < WAIT_BATCH_POSTS && inside->may_defer();
}

void wait_batch_flush(const struct wait_link *link)
{
	const struct cv_inline_engine *inside = link ? LOAD(link->inside) : NULL;

	if (wait_batch.posts == 0)
		return;
	wait_batch.posts = 0;
	if (inside)
		signal_safe_post(inside);
}

bool wait_turn(const struct wait_link *link)
{
	const struct cv_inline_engine *inside = LOAD(link->inside);

	return inside && signal_safe_turn(inside) != CV_INLINE_BUSY;
}
