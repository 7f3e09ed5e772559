/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine inside a program (stack/api/inline.h): the same service, whose worker is whoever holds the baton.
 *
 * Owns: the baton, who watches, the module's own thread. Does not own: turns and sleep (worker.c), the rest of the
 * service, what the module asks of libc (inline.h).
 * Called by: the program's threads, through struct cv_inline_engine; nothing here takes a lock.
 *
 * The own thread is the EAL's main thread. It makes the engine, and then looks, once a nap, whether anybody has run
 * turns since; when nobody has, it is the worker until somebody does.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include <rte_lcore.h>

#include "dpdk/inline.h"
#include "dpdk/log.h"
#include "dpdk/service.h"
#include "stack/tcp/tcp.h"

#define NAP_NS 1000000ull       /* of the own thread, while others run turns */
#define NAP_LAST_NS 4000000ull  /* while one watches */
#define FINISH_NAP_NS 200000ull
#define WATCH_LATE_NS 100000000ull

static struct service s = {.control_fd = -1, .inside = true};

static struct {
	_Alignas(64) _Atomic uint32_t baton; /* 1: somebody runs a turn */
	_Atomic uint32_t again;              /* somebody wanted to meanwhile */
	_Alignas(64) _Atomic uint32_t watching; /* 1: a thread of the program sleeps for all, */
	_Atomic uint64_t watch_until; /* until then by itself; 0: it does not sleep */
	_Atomic uint64_t own_until;   /* the module's own thread, the same */
	_Atomic uint64_t turns;
	uint64_t tick; /* of the coarse clock, at the last turn of post(); the baton's holder's */
} word;

/* --- turns --------------------------------------------------------------------------------------- */

static bool baton_take(void)
{
	if (atomic_exchange(&word.baton, 1) == 0)
		return true;
	/* The holder looks at this word after it has let go: either it sees it, or we get the baton now. */
	atomic_store(&word.again, 1);
	return atomic_exchange(&word.baton, 1) == 0;
}

/* Before the holder looks for work: who asked until now is served by that look. */
static void again_clear(void)
{
	if (atomic_load_explicit(&word.again, memory_order_relaxed) != 0)
		atomic_exchange(&word.again, 0);
}

/* True: the baton was given, and taken back because somebody asked meanwhile. */
static bool baton_give(void)
{
	atomic_store(&word.baton, 0);
	return atomic_load(&word.again) != 0 && atomic_exchange(&word.baton, 1) == 0;
}

static bool sleeps_beyond(_Atomic uint64_t *until, uint64_t deadline)
{
	uint64_t ns = atomic_load_explicit(until, memory_order_relaxed);

	return ns != 0 && deadline < ns;
}

/* Who sleeps went to sleep before this turn set a timer. */
static void sleepers_hurry(void)
{
	uint64_t deadline;

	if (atomic_load_explicit(&word.watch_until, memory_order_relaxed) == 0 &&
		atomic_load_explicit(&word.own_until, memory_order_relaxed) == 0)
		return;
	deadline = engine_deadline_ns(s.worker[0].engine);
	if (!sleeps_beyond(&word.watch_until, deadline) && !sleeps_beyond(&word.own_until, deadline))
		return;
	worker_kick(&s.worker[0]);
}

/* DPDK keeps a cache of buffers for each lcore; the baton's holder has the engine's. */
static uint32_t run(uint64_t now)
{
	unsigned lcore = RTE_PER_LCORE(_lcore_id);
	uint32_t work;

	RTE_PER_LCORE(_lcore_id) = 0;
	work = worker_turn(&s.worker[0], now);
	RTE_PER_LCORE(_lcore_id) = lcore;
	atomic_store_explicit(
		&word.turns, atomic_load_explicit(&word.turns, memory_order_relaxed) + 1, memory_order_relaxed);
	return work;
}

static uint64_t turn(void)
{
	uint64_t now;

	if (!baton_take())
		return CV_INLINE_BUSY;
	do {
		again_clear();
		now = worker_now_ns();
		run(now);
		sleepers_hurry();
	} while (baton_give());
	return now;
}

static uint64_t coarse_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* A clock costs half a turn. Within one tick of the coarse one the last turn's time will do for what a command sends. */
static void post(void)
{
	uint64_t tick;

	if (!baton_take())
		return;
	do {
		again_clear();
		tick = coarse_ns();
		if (tick != word.tick || s.worker[0].engine->now_ns < tick) {
			word.tick = tick;
			run(worker_now_ns());
		} else {
			run(s.worker[0].engine->now_ns);
		}
		sleepers_hurry();
	} while (baton_give());
}

/* The fence: either we see the sleeper here, the module's own thread among them, or it sees our command before it
 * sleeps. */
static bool may_defer(void)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&word.watching, memory_order_relaxed) == 0 &&
	       atomic_load_explicit(&word.own_until, memory_order_relaxed) == 0;
}

/* --- who waits ----------------------------------------------------------------------------------- */

/* With the baton: until when the caller may sleep for all, in *until; false: a turn is due. */
static bool sleep_begin(_Atomic uint64_t *until)
{
	uint64_t ns = worker_sleep_until(&s.worker[0]);

	if (ns <= worker_now_ns())
		return false;
	atomic_store(until, ns);
	if (!worker_is_called(&s.worker[0]))
		return true;
	atomic_store(until, 0);
	return false;
}

/* With the baton, before a look: whatever has rung is found by that. While the module's own thread sleeps the edges are
 * left to it, which may be the only one that they wake. */
static void edges_take(void)
{
	struct epoll_event ev[8];

	if (atomic_load(&word.own_until) == 0)
		(void)epoll_wait(s.worker[0].epoll, ev, 8, 0);
}

static int watch_begin(uint64_t *until_ns)
{
	bool sleeps;

	if (atomic_exchange(&word.watching, 1) != 0)
		return -1;
	if (!baton_take()) {
		atomic_store(&word.watching, 0);
		return -1;
	}
	edges_take();
	sleeps = sleep_begin(&word.watch_until);
	*until_ns = atomic_load(&word.watch_until);
	/* Who asked meanwhile is served by the turn that the caller runs now. */
	if (baton_give()) {
		atomic_store(&word.baton, 0);
		sleeps = false;
	}
	if (sleeps)
		return s.worker[0].epoll;
	atomic_store(&word.watch_until, 0);
	atomic_store(&word.watching, 0);
	return -2;
}

/* No edge is taken here: the caller may have been woken by something else, and run no turn. */
static void watch_end(void)
{
	atomic_store(&word.watch_until, 0);
	atomic_store(&word.watching, 0);
}

/* --- the module's own thread --------------------------------------------------------------------- */

/* A watch that outlasts its time was left by longjmp from a signal's handler. */
static bool is_watched(void)
{
	uint64_t until;

	if (atomic_load(&word.watching) == 0)
		return false;
	until = atomic_load(&word.watch_until);
	if (until == 0 || worker_now_ns() < until + WATCH_LATE_NS)
		return true;
	atomic_store(&word.watch_until, 0);
	atomic_store(&word.watching, 0);
	return false;
}

static bool others_at_work(uint64_t *seen)
{
	uint64_t turns = atomic_load(&word.turns), before = *seen;

	*seen = turns;
	return turns != before || is_watched();
}

/* As the service's worker. Turns of others meanwhile end it, but not before the one that what woke it may ask for: it
 * has taken the edge, and who sleeps for all does not see that any more. */
static void work_alone(uint64_t *seen)
{
	bool slept = false;

	while (!atomic_load_explicit(&s.stop, memory_order_relaxed)) {
		bool sleeps = false, others = others_at_work(seen);
		uint32_t work;

		if ((others && !slept) || !baton_take())
			return;
		do {
			again_clear();
			work = run(worker_now_ns());
			*seen += 1;
			sleeps = !others && work == 0 &&
				 s.worker[0].engine->now_ns - s.worker[0].idle.since >=
					 (uint64_t)s.config.spin_us * 1000 &&
				 sleep_begin(&word.own_until);
		} while (baton_give());
		if (sleeps)
			worker_wait(&s.worker[0], s.worker[0].engine->now_ns, atomic_load(&word.own_until));
		else if (work == 0)
			sched_yield();
		atomic_store(&word.own_until, 0);
		slept = sleeps;
	}
}

static void nap(uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	nanosleep(&t, NULL);
}

static void take_over_when_nobody_does(void)
{
	uint64_t seen = 0, nap_ns = NAP_NS;

	prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!atomic_load(&s.stop)) {
		if (!others_at_work(&seen)) {
			work_alone(&seen);
			nap_ns = NAP_NS;
			continue;
		}
		nap(nap_ns);
		if (atomic_load(&word.watching) == 0)
			nap_ns = NAP_NS;
		else if (nap_ns < NAP_LAST_NS)
			nap_ns *= 2;
	}
}

struct start {
	sem_t done;
	int code;
	char *error;
};

static void *own_thread(void *arg)
{
	struct start *start = arg;

	prctl(PR_SET_NAME, "culvert-engine");
	start->code = service_start(&s, false, start->error);
	if (start->code == 0) {
		worker_settle(&s.worker[0]);
		__atomic_store_n(&s.page->worker[0].armed, 1, __ATOMIC_RELAXED);
	}
	if (start->code != 0 && s.control_fd >= 0) {
		unlink(s.config.control); /* the name is another program's to have */
		close(s.control_fd);
		close(s.lock_fd);
	}
	sem_post(&start->done);
	if (start->code == 0)
		take_over_when_nobody_does();
	return NULL;
}

/* --- the module's entry -------------------------------------------------------------------------- */

/* Embryos and TIME_WAITs aside, which hold nothing that was sent. */
static uint32_t connections_alive(void)
{
	uint32_t connections, time_waits;

	tcp_count(s.worker[0].engine, &connections, &time_waits);
	return connections;
}

static void finish(uint64_t wait_ns)
{
	uint64_t end = worker_now_ns() + wait_ns, idle_ns;
	bool over = false;

	while (!over) {
		if (!baton_take()) {
			sched_yield();
			continue;
		}
		do {
			again_clear();
			run(worker_now_ns());
			idle_ns = s.worker[0].engine->now_ns - s.worker[0].idle.since;
			over = connections_alive() == 0 || s.worker[0].engine->now_ns >= end;
		} while (baton_give());
		if (idle_ns > FINISH_NAP_NS)
			nap(FINISH_NAP_NS);
	}
	unlink(s.config.control);
}

static void forked(void)
{
	inline_fd_close_all();
}

static int config_take(const char *config, char error[CONFIG_ERROR_BYTES])
{
	config_init(&s.config);
	return config != NULL && config[0] != '\0' ? config_load(&s.config, config, error)
						    : config_load_default(&s.config, "culvert", error);
}

static int start_service(char *error)
{
	struct start start = {.error = error};
	pthread_t thread;
	int status;

	sem_init(&start.done, 0, 0);
	status = pthread_create(&thread, NULL, own_thread, &start);
	if (status != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "no thread for the engine: %s", strerror(status));
		return -1;
	}
	while (sem_wait(&start.done) != 0) {
	}
	sem_destroy(&start.done);
	pthread_detach(thread);
	return start.code == 0 ? 0 : -1;
}

static uint32_t told(void)
{
	return user_told(s.worker[0].user);
}

static const struct cv_inline_engine calls = {
	.version = CV_API_VERSION,
	.turn = turn,
	.told = told,
	.post = post,
	.may_defer = may_defer,
	.watch_begin = watch_begin,
	.watch_end = watch_end,
	.finish = finish,
	.forked = forked,
};

__attribute__((visibility("default"))) cv_inline_start culvert_inline_start;

int culvert_inline_start(const struct cv_inline_host *host, const char *config,
	struct cv_inline_engine *engine, char error[CV_INLINE_ERROR_BYTES])
{
	static_assert(CV_INLINE_ERROR_BYTES >= CONFIG_ERROR_BYTES, "an error fits");
	inline_libc_host(host);
	inline_fd_host(host);
	log_to(host->say);
	*engine = calls;
	if (config_take(config, error) != 0)
		return -1;
	memcpy(engine->control, s.config.control, sizeof(engine->control));
	if (control_answers(s.config.control))
		return 1;
	if (start_service(error) == 0)
		return 0;
	/* Another program was faster? */
	return s.control_fd < 0 && control_answers(s.config.control) ? 1 : -1;
}
