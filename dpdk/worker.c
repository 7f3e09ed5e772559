/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The workers: turns, and what they do when there is nothing to do.
 *
 * Idle (design 5): for spin_us after the last work it looks again, giving the core to whoever shares it;
 * then it says on the page that it sleeps, looks once more, and waits for a device, a doorbell or its own
 * next deadline. A device without a descriptor is looked at after naps that grow with the time since the last work
 * (nap.h).
 *
 * Several workers have a thread each, the first one the thread that made them all; each sleeps on its own, and whoever
 * puts something into a sleeping one's ring wakes it.
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
#include <rte_lcore.h>

#include "dpdk/log.h"
#include "dpdk/nap.h"
#include "dpdk/service.h"
#include "stack/base/compiler.h"
#include "stack/core/crew.h"
#include "stack/net/ip.h"

#define SLEEP_MAX_NS 1000000000ull
#define LINK_LOOK_NS 100000000ull
#define CALLBACK_LOOK_NS 1000000ull /* a sleeping worker is woken */
#define LOOKS_PER_TURN 16u
#define SETTLE_NS 9000000000ull /* RFC5227's test takes 4 to 7 s, RFC4862's 1 to 2 s */
#define CPU_EVERY 256u /* turns between looks at which core we are on */

uint64_t worker_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static struct worker *worker_of(void *ctx)
{
	return cv_container_of(ctx, struct worker, ports);
}

static uint64_t random64(void *ctx)
{
	struct worker *w = worker_of(ctx);

	if (w->random_left == 0) {
		if (getrandom(w->random, sizeof(w->random), 0) != (ssize_t)sizeof(w->random))
			log_line(LOG_ERR, "getrandom: %s", strerror(errno));
		w->random_left = sizeof(w->random) / sizeof(w->random[0]);
	}
	return w->random[--w->random_left];
}

void worker_kick(struct worker *w)
{
	const uint64_t one = 1;

	if (write(w->kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_line(LOG_ERR, "a worker's bell: %s", strerror(errno));
}

/* Something lies in the other one's ring. A worker that is just falling asleep has said so before it looked. */
static void wake(void *ctx, uint16_t number)
{
	struct service *s = worker_of(ctx)->s;

	if (__atomic_load_n(&s->page->worker[number].armed, __ATOMIC_RELAXED) != 0)
		worker_kick(&s->worker[number]);
}

/* The program's eventfd, without O_NONBLOCK if the program has changed that: then a full one would hold
 * the worker. The control thread watches w->ringing and interrupts a write that lasts. */
static bool ring(void *ctx, int bell)
{
	const uint64_t one = 1;
	struct worker *w = ctx;
	uint32_t seq = atomic_load_explicit(&w->ringing, memory_order_relaxed);
	ssize_t n;

	atomic_store_explicit(&w->ringing, seq + 1, memory_order_relaxed);
	n = write(bell, &one, sizeof(one));
	atomic_store_explicit(&w->ringing, seq + 2, memory_order_relaxed);
	if (n >= 0 || errno != EINTR)
		return true;
	log_line(LOG_WARNING, "a program's doorbell blocks: none of that program's is rung again");
	return false;
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

static int engine_make(struct worker *w, char *error)
{
	const struct service *s = w->s;
	const struct config_limits *l = &s->config.limits;
	const struct engine_config config = {.tcp_max = (uint32_t)l->tcp_connections,
		.udp_max = (uint32_t)l->udp_sockets,
		.neigh_max = (uint32_t)l->neighbours,
		.neigh_queue = (uint32_t)l->neighbour_queue,
		.pkt_pool = s->ports.pool,
		.loopback = s->config.loopback,
		.secret = {s->secret[0], s->secret[1]},
		.tcp = &s->config.tcp,
		.crew = s->crew,
		.worker = w->number};
	const struct engine_env env = {
		.ctx = &w->ports, .rx = ports_rx, .tx = ports_tx, .random64 = random64, .wake = wake};
	const struct user_env user_env = {.ctx = w, .ring = ring};
	const char *why = "";

	w->engine = engine_new(&config, &env, worker_now_ns(), &why);
	if (w->engine != NULL)
		w->user = user_new(w->engine, &user_env);
	if (w->user == NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "the engine does not start: %s", why);
		return -1;
	}
	return ports_engine_add(&w->ports, w->engine, &s->config, error);
}

static int watch_fd(struct worker *w, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

/* Edge-triggered: a bell need not be read, and a program that reads it hurts only itself. */
int worker_doorbell_add(struct worker *w, int fd)
{
	return watch_fd(w, fd, EPOLLIN | EPOLLET);
}

/* What it waits for. Drivers' callbacks are the first one's. */
static int waiting_prepare(struct worker *w)
{
	struct service *s = w->s;

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll < 0 || w->kick < 0 || watch_fd(w, w->kick, EPOLLIN | EPOLLET) != 0 ||
		(w->number == 0 && watch_fd(w, s->ports.callbacks_fd, EPOLLIN) != 0))
		return -1;
	for (uint16_t i = 0; i < s->ports.n; i++) {
		int *fd = &s->ports.port[i].rx_fd[w->number];

		if (*fd >= 0 && watch_fd(w, *fd, EPOLLIN) != 0)
			*fd = -1;
	}
	return 0;
}

static int worker_prepare(struct worker *w, char *error)
{
	w->idle = (struct worker_idle){.since = worker_now_ns()};
	if (waiting_prepare(w) != 0 || ports_view_init(&w->ports, &w->s->ports, w->number) != 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "worker %u: %s", w->number, strerror(errno));
		return -1;
	}
	return 0;
}

/* All views before any engine: an engine changes the ports that the others copy. */
int workers_prepare(struct service *s, char error[CONFIG_ERROR_BYTES])
{
	const struct engine_env env = {.ctx = &s->worker[0].ports, .random64 = random64};

	s->workers = (uint16_t)s->config.workers;
	s->worker[0].thread = pthread_self();
	if (!s->inside)
		interruption_prepare();
	s->crew = s->workers > 1 ? crew_new(s->workers, &env) : NULL;
	if (s->workers > 1 && s->crew == NULL) {
		snprintf(error, CONFIG_ERROR_BYTES, "the workers: %s", strerror(errno));
		return -1;
	}
	for (uint16_t k = 0; k < s->workers; k++) {
		s->worker[k].s = s;
		s->worker[k].number = k;
		if (worker_prepare(&s->worker[k], error) != 0)
			return -1;
	}
	for (uint16_t k = 0; k < s->workers; k++) {
		if (engine_make(&s->worker[k], error) != 0)
			return -1;
	}
	return 0;
}

/* A port by which nothing comes for this worker need not wake it. */
static bool all_ports_wake(const struct worker *w)
{
	for (uint16_t i = 0; i < w->s->ports.n; i++) {
		const struct ports_port *q = &w->s->ports.port[i];

		if (w->number < q->queues && q->rx_fd[w->number] < 0)
			return false;
	}
	return true;
}

static bool call_run(struct worker *w)
{
	struct worker_call *c = atomic_load_explicit(&w->call, memory_order_acquire);

	if (c == NULL)
		return false;
	atomic_store_explicit(&w->call, NULL, memory_order_relaxed);
	c->fn(c->arg);
	sem_post(&c->done);
	return true;
}

bool worker_is_called(struct worker *w)
{
	return user_pending(w->user) || atomic_load(&w->call) != NULL || atomic_load(&w->s->stop) ||
		(w->s->crew != NULL && (crew_pending(w->engine) || ports_lent(&w->ports)));
}

void worker_wait(struct worker *w, uint64_t now, uint64_t until)
{
	struct epoll_event ev[8];
	struct timespec t = {0, 0};

	if (until > now) {
		t.tv_sec = (time_t)((until - now) / 1000000000ull);
		t.tv_nsec = (long)((until - now) % 1000000000ull);
	}
	(void)epoll_pwait2(w->epoll, ev, 8, &t, NULL);
}

uint64_t worker_sleep_until(struct worker *w)
{
	uint64_t now = w->engine->now_ns, until = engine_deadline_ns(w->engine);
	uint64_t most = all_ports_wake(w) ? SLEEP_MAX_NS : nap_ns(now - w->idle.since);

	return until > now + most ? now + most : until;
}

bool worker_look(struct worker *w)
{
	bool work = engine_look(w->engine) || atomic_load_explicit(&w->call, memory_order_relaxed) != NULL;

	if (!work && !w->idle.asleep && ++w->idle.looks < LOOKS_PER_TURN)
		return false;
	w->idle.looks = 0;
	return true;
}

static void idle_step(struct worker *w, uint64_t now)
{
	const struct config *c = &w->s->config;
	struct cv_page_worker *page = &w->s->page->worker[w->number];
	uint64_t until;

	if (c->idle == IDLE_MODE_POLL || now - w->idle.since < (uint64_t)c->spin_us * 1000) {
		sched_yield();
		return;
	}
	until = worker_sleep_until(w);
	if (until <= now)
		return;
	w->idle.asleep = true;
	__atomic_store_n(&page->armed, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!worker_is_called(w))
		worker_wait(w, now, until);
	__atomic_store_n(&page->armed, 0, __ATOMIC_RELAXED);
}

/* A callback may have changed a link. */
static void devices_look(struct worker *w, uint64_t now)
{
	w->idle.called = now;
	if ((w->number > 0 || ports_callbacks(&w->s->ports) == 0) && now - w->idle.looked < LINK_LOOK_NS)
		return;
	w->idle.looked = now;
	if (w->number == 0) {
		ports_link_look(&w->s->ports, w->engine);
		page_addresses(w->s, w->engine);
	} else {
		ports_link_follow(&w->ports, w->engine);
	}
}

/* Frames that we have no queue for were put where others send them. */
static void lent_tell(struct worker *w)
{
	uint32_t told = w->ports.told;

	w->ports.told = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint16_t to = 0; told != 0; to++, told >>= 1) {
		if (told & 1)
			wake(&w->ports, to);
	}
}

uint32_t worker_turn(struct worker *w, uint64_t now)
{
	struct cv_page_worker *page = &w->s->page->worker[w->number];
	uint32_t work = engine_turn(w->engine, now);

	if (call_run(w))
		work++;
	if (w->ports.told != 0)
		lent_tell(w);
	if (page->turns++ % CPU_EVERY == 0)
		page->cpu = (uint32_t)sched_getcpu();
	if (now - w->idle.called >= CALLBACK_LOOK_NS)
		devices_look(w, now);
	if (work > 0) {
		w->idle.since = now;
		w->idle.asleep = false;
	}
	return work;
}

/* A program on our core has something to do now, if it was told of anything. Otherwise whoever is there waits for us, and
 * frames that come while it runs lie unseen: it gets the core with the next idle turn (idle_step). */
static void core_offer(struct worker *w)
{
	uint32_t told = user_told(w->user);

	if (told == w->idle.told)
		return;
	w->idle.told = told;
	sched_yield();
}

static void worker_step(struct worker *w)
{
	uint64_t now;

	if (!worker_look(w)) {
		core_offer(w);
		return;
	}
	now = worker_now_ns();
	if (worker_turn(w, now) == 0)
		idle_step(w, now);
}

void worker_settle(struct worker *w)
{
	struct service *s = w->s;
	uint64_t end = worker_now_ns() + SETTLE_NS;

	while (!atomic_load(&s->stop) && net_has_tentative(w->engine)) {
		if (worker_now_ns() >= end) {
			log_line(LOG_NOTICE, "an address is still being tested: it cannot be bound yet");
			break;
		}
		worker_step(w);
	}
	atomic_store(&s->settled, true);
	control_call(s);
}

void worker_run(struct worker *w)
{
	prctl(PR_SET_TIMERSLACK, 1000ul);
	while (!atomic_load_explicit(&w->s->stop, memory_order_relaxed))
		worker_step(w);
	/* Who still asks gets an answer. */
	(void)call_run(w);
}

/* --- threads --------------------------------------------------------------------------------------- */

/* With as many cores as workers each has its own; else the kernel places them among all. */
static void core_take(const struct worker *w)
{
	cpu_set_t all, mine;
	int left = w->number;

	if (w->s->workers == 1 || pthread_getaffinity_np(pthread_self(), sizeof(all), &all) != 0 ||
		w->s->config.cores[0] == '\0' || CPU_COUNT(&all) < w->s->workers)
		return;
	CPU_ZERO(&mine);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &all) && left-- == 0)
			CPU_SET(cpu, &mine);
	}
	(void)pthread_setaffinity_np(pthread_self(), sizeof(mine), &mine);
}

/* Registered, so that it has a cache of packet buffers of its own (mempool). */
static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	snprintf(name, sizeof(name), "culvert-%u", w->number);
	prctl(PR_SET_NAME, name);
	if (rte_thread_register() != 0)
		log_line(LOG_NOTICE, "worker %u has no cache of packet buffers", w->number);
	core_take(w);
	worker_run(w);
	rte_thread_unregister();
	return NULL;
}

int workers_start(struct service *s, char error[CONFIG_ERROR_BYTES])
{
	for (uint16_t k = 1; k < s->workers; k++) {
		int status = pthread_create(&s->worker[k].thread, NULL, worker_main, &s->worker[k]);

		if (status != 0) {
			snprintf(error, CONFIG_ERROR_BYTES, "no thread for worker %u: %s", k, strerror(status));
			return -1;
		}
	}
	core_take(&s->worker[0]); /* last: the others begin with this thread's cores */
	return 0;
}

void workers_end(struct service *s)
{
	for (uint16_t k = 1; k < s->workers; k++)
		pthread_join(s->worker[k].thread, NULL);
	for (uint16_t k = 0; k < s->workers; k++)
		engine_free(s->worker[k].engine);
	for (uint16_t k = 0; k < s->workers; k++)
		user_free(s->worker[k].user);
	crew_free(s->crew);
}

/* --- the control thread's -------------------------------------------------------------------------- */

/* A doorbell that the worker has been in since the last look, at least a tick ago, blocks it. */
static void worker_watch(struct worker *w)
{
	uint32_t now = atomic_load_explicit(&w->ringing, memory_order_relaxed);
	uint64_t turns = __atomic_load_n(&w->s->page->worker[w->number].turns, __ATOMIC_RELAXED);

	if ((now & 1) && now == w->look.ringing && turns == w->look.turns) {
		if (w->look.ticks++ > 0) {
			pthread_kill(w->thread, SERVICE_SIGNAL);
			w->s->wary_until = worker_now_ns() + SERVICE_WARY_NS;
		}
		return;
	}
	w->look = (struct worker_look){.ringing = now, .turns = turns};
}

/* Inside a program the bells are its own. */
void workers_watch(struct service *s)
{
	for (uint16_t k = 0; k < s->workers && !s->inside; k++)
		worker_watch(&s->worker[k]);
}

int workers_tick_ms(const struct service *s)
{
	return worker_now_ns() < s->wary_until ? SERVICE_TICK_WARY_MS : SERVICE_TICK_MS;
}

static bool call_done(struct worker_call *c, int tick_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += tick_ms * 1000000l;
	if (t.tv_nsec >= 1000000000l) {
		t.tv_nsec -= 1000000000l;
		t.tv_sec++;
	}
	return sem_clockwait(&c->done, CLOCK_MONOTONIC, &t) == 0;
}

void worker_call(struct worker *w, void (*fn)(void *arg), void *arg)
{
	struct worker_call c = {.fn = fn, .arg = arg};

	sem_init(&c.done, 0, 0);
	atomic_store_explicit(&w->call, &c, memory_order_seq_cst);
	worker_kick(w);
	/* The worker may be held by a doorbell, and nobody but this thread frees it. */
	while (!call_done(&c, workers_tick_ms(w->s)))
		workers_watch(w->s);
	sem_destroy(&c.done);
}
