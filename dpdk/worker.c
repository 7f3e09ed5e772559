/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker: turns, and what it does when there is nothing to do.
 *
 * Idle (design 5): for spin_us after the last work it looks again, giving the core to whoever shares it;
 * then it says on the page that it sleeps, looks once more, and waits for a device, a doorbell or its own
 * next deadline. A device without a descriptor is looked at after naps that grow with the time since the last work
 * (nap.h).
 *
 * worker_run is the service's; inline.c has its own way to run worker_turn and to sleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "dpdk/log.h"
#include "dpdk/nap.h"
#include "dpdk/service.h"
#include "stack/net/ip.h"

#define SLEEP_MAX_NS 1000000000ull
#define LINK_LOOK_NS 100000000ull
#define CALLBACK_LOOK_NS 1000000ull /* a sleeping worker is woken */
#define LOOKS_PER_TURN 16u
#define CPU_EVERY 256u /* turns between looks at which core we are on */

uint64_t worker_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t random64(void *ctx)
{
	static uint64_t pool[64];
	static unsigned left;

	(void)ctx;
	if (left == 0) {
		if (getrandom(pool, sizeof(pool), 0) != (ssize_t)sizeof(pool))
			log_line(LOG_ERR, "getrandom: %s", strerror(errno));
		left = 64;
	}
	return pool[--left];
}

/* The program's eventfd, without O_NONBLOCK if the program has changed that: then a full one would hold
 * the worker. The control thread watches s->ringing and interrupts a write that lasts; such a bell is
 * exchanged for one that swallows everything. */
static void ring(void *ctx, int bell)
{
	const uint64_t one = 1;
	struct service *s = ctx;
	uint32_t seq = atomic_load_explicit(&s->ringing, memory_order_relaxed);
	ssize_t n;

	atomic_store_explicit(&s->ringing, seq + 1, memory_order_relaxed);
	n = write(bell, &one, sizeof(one));
	atomic_store_explicit(&s->ringing, seq + 2, memory_order_relaxed);
	if (n < 0 && errno == EINTR && dup3(s->silence, bell, O_CLOEXEC) >= 0)
		log_line(LOG_WARNING, "a program's doorbell blocks: it is not rung again");
}

static void interrupted(int sig)
{
	(void)sig;
}

/* Interrupts system calls, and nothing else. */
static void interruption_prepare(void)
{
	const struct sigaction act = {.sa_handler = interrupted};

	sigaction(SERVICE_SIGNAL, &act, NULL);
}

static int engine_make(struct service *s, char *error)
{
	const struct config_limits *l = &s->config.limits;
	const struct engine_config config = {.tcp_max = (uint32_t)l->tcp_connections,
		.udp_max = (uint32_t)l->udp_sockets,
		.neigh_max = (uint32_t)l->neighbours,
		.neigh_queue = (uint32_t)l->neighbour_queue,
		.pkt_pool = s->ports.pool,
		.loopback = s->config.loopback,
		.secret = {s->secret[0], s->secret[1]},
		.tcp = &s->config.tcp};
	const struct engine_env env = {
		.ctx = &s->ports, .rx = ports_rx, .tx = ports_tx, .random64 = random64};
	const struct user_env user_env = {.ctx = s, .ring = ring};
	const char *why = "";

	s->engine = engine_new(&config, &env, worker_now_ns(), &why);
	if (s->engine != NULL)
		s->user = user_new(s->engine, &user_env);
	if (s->user == NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "the engine does not start: %s", why);
		return -1;
	}
	return ports_engine_add(&s->ports, s->engine, &s->config, error);
}

static int watch_fd(struct service *s, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

/* Edge-triggered: a bell need not be read, and a program that reads it hurts only itself. */
int worker_doorbell_add(struct service *s, int fd)
{
	return watch_fd(s, fd, EPOLLIN | EPOLLET);
}

int worker_prepare(struct service *s, char error[CONFIG_ERROR_BYTES])
{
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->silence = open("/dev/null", O_WRONLY | O_CLOEXEC);
	s->worker = pthread_self();
	s->idle = (struct worker_idle){.since = worker_now_ns()};
	if (!s->inside)
		interruption_prepare();
	if (s->epoll < 0 || s->kick < 0 || s->silence < 0 || watch_fd(s, s->kick, EPOLLIN | EPOLLET) != 0 ||
		watch_fd(s, s->ports.callbacks_fd, EPOLLIN) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "the worker: %s", strerror(errno));
		return -1;
	}
	for (uint16_t i = 0; i < s->ports.n; i++) {
		if (s->ports.port[i].rx_fd >= 0 &&
			watch_fd(s, s->ports.port[i].rx_fd, EPOLLIN) != 0)
			s->ports.port[i].rx_fd = -1;
	}
	return engine_make(s, error);
}

static bool all_ports_wake(const struct service *s)
{
	for (uint16_t i = 0; i < s->ports.n; i++) {
		if (s->ports.port[i].rx_fd < 0)
			return false;
	}
	return true;
}

static bool call_run(struct service *s)
{
	struct worker_call *c = atomic_load_explicit(&s->call, memory_order_acquire);

	if (c == NULL)
		return false;
	atomic_store_explicit(&s->call, NULL, memory_order_relaxed);
	c->fn(c->arg);
	sem_post(&c->done);
	return true;
}

bool worker_is_called(struct service *s)
{
	return user_pending(s->user) || atomic_load(&s->call) != NULL || atomic_load(&s->stop);
}

void worker_wait(struct service *s, uint64_t now, uint64_t until)
{
	struct epoll_event ev[8];
	struct timespec t = {0, 0};

	if (until > now) {
		t.tv_sec = (time_t)((until - now) / 1000000000ull);
		t.tv_nsec = (long)((until - now) % 1000000000ull);
	}
	(void)epoll_pwait2(s->epoll, ev, 8, &t, NULL);
}

uint64_t worker_sleep_until(struct service *s)
{
	uint64_t now = s->engine->now_ns, until = engine_deadline_ns(s->engine);
	uint64_t most = all_ports_wake(s) ? SLEEP_MAX_NS : nap_ns(now - s->idle.since);

	return until > now + most ? now + most : until;
}

bool worker_look(struct service *s)
{
	bool work = engine_look(s->engine) || atomic_load_explicit(&s->call, memory_order_relaxed) != NULL;

	if (!work && !s->idle.asleep && ++s->idle.looks < LOOKS_PER_TURN)
		return false;
	s->idle.looks = 0;
	return true;
}

static void idle_step(struct service *s, uint64_t now)
{
	struct cv_page_worker *w = &s->page->worker[0];
	uint64_t until;

	if (s->config.idle == IDLE_MODE_POLL ||
		now - s->idle.since < (uint64_t)s->config.spin_us * 1000) {
		sched_yield();
		return;
	}
	until = worker_sleep_until(s);
	if (until <= now)
		return;
	s->idle.asleep = true;
	__atomic_store_n(&w->armed, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!worker_is_called(s))
		worker_wait(s, now, until);
	__atomic_store_n(&w->armed, 0, __ATOMIC_RELAXED);
}

/* A callback may have changed a link. */
static void devices_look(struct service *s, uint64_t now)
{
	s->idle.called = now;
	if (ports_callbacks(&s->ports) == 0 && now - s->idle.looked < LINK_LOOK_NS)
		return;
	s->idle.looked = now;
	ports_link_look(&s->ports, s->engine);
}

uint32_t worker_turn(struct service *s, uint64_t now)
{
	struct cv_page_worker *w = &s->page->worker[0];
	uint32_t work = engine_turn(s->engine, now);

	if (call_run(s))
		work++;
	if (w->turns++ % CPU_EVERY == 0)
		w->cpu = (uint32_t)sched_getcpu();
	if (now - s->idle.called >= CALLBACK_LOOK_NS)
		devices_look(s, now);
	if (work > 0) {
		s->idle.since = now;
		s->idle.asleep = false;
	}
	return work;
}

void worker_run(struct service *s)
{
	prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		uint64_t now;

		if (!worker_look(s)) {
			sched_yield();
			continue;
		}
		now = worker_now_ns();
		if (worker_turn(s, now) == 0)
			idle_step(s, now);
	}
	/* Who still asks gets an answer. */
	(void)call_run(s);
}

/* A doorbell that the worker has been in since the last look, at least a tick ago, blocks it. Inside a program
 * the bells are its own. */
void worker_watch(struct service *s)
{
	uint32_t now = atomic_load_explicit(&s->ringing, memory_order_relaxed);
	uint64_t turns = __atomic_load_n(&s->page->worker[0].turns, __ATOMIC_RELAXED);

	if (s->inside)
		return;
	if ((now & 1) && now == s->look.ringing && turns == s->look.turns) {
		if (s->look.ticks++ > 0)
			pthread_kill(s->worker, SERVICE_SIGNAL);
		return;
	}
	s->look = (struct worker_look){.ringing = now, .turns = turns};
}

static bool call_done(struct worker_call *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += SERVICE_TICK_MS * 1000000l;
	if (t.tv_nsec >= 1000000000l) {
		t.tv_nsec -= 1000000000l;
		t.tv_sec++;
	}
	return sem_clockwait(&c->done, CLOCK_MONOTONIC, &t) == 0;
}

void worker_call(struct service *s, void (*fn)(void *arg), void *arg)
{
	const uint64_t one = 1;
	struct worker_call c = {.fn = fn, .arg = arg};

	sem_init(&c.done, 0, 0);
	atomic_store_explicit(&s->call, &c, memory_order_seq_cst);
	if (write(s->kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_line(LOG_ERR, "the worker's bell: %s", strerror(errno));
	/* The worker may be held by a doorbell, and nobody but this thread frees it. */
	while (!call_done(&c))
		worker_watch(s);
	sem_destroy(&c.done);
}
