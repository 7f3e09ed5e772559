/* SPDX-License-Identifier: BSD-3-Clause */
/* Readiness and waiting: see wait.h, which says what each function promises. */
#include "shim/wait.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/real.h"
#include "shim/handler.h"
#include "stack/api/command.h"

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
#define SPIN_CLOCK_TURNS 64 /* looks between two readings of the clock and yields */
#define SPIN_CLOCK_YIELDS 4
#define LINK_CHECK_LOOKS 1024 /* calls between two looks at the control connection */
#define NAP_NS 1000000

#define LOAD(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELEASE)
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#define READABLE (POLLIN | POLLRDNORM)
#define WRITABLE (POLLOUT | POLLWRNORM)

/* --- readiness ------------------------------------------------------------------------------- */

bool wait_has_room(const struct cv_sock *rec)
{
	uint64_t queued = LOAD(rec->tx_pos) - LOAD_ACQUIRE(rec->tx_acked);
	uint32_t sndbuf = LOAD(rec->sndbuf);

	return queued <= sndbuf && sndbuf - queued >= sndbuf / 3 && wait_unsent_is_low(rec, 2);
}

void wait_want_room(struct cv_sock *rec)
{
	__atomic_fetch_add(&rec->tx_want, 1, __ATOMIC_SEQ_CST);
	FENCE();
}

/* SO_RCVLOWAT, as far as the receive buffer can ever hold that much. */
static bool stream_has_data(const struct cv_sock *rec)
{
	uint64_t consumed = LOAD(rec->rx_consumed);
	uint64_t unread = LOAD_ACQUIRE(rec->rx_produced) - consumed;
	uint32_t lowat = LOAD(rec->rcvlowat);

	/* The urgent byte is not read with the others. */
	if (unread > 0 && (LOAD(rec->status) & CV_ST_URGENT) && !rec->oob_inline &&
		LOAD(rec->rx_urgent_pos) == consumed)
		unread--;
	if (unread == 0)
		return false;
	return lowat <= 1 || unread >= lowat || unread >= LOAD(rec->rcvbuf) / 2;
}

bool wait_urgent(const struct cv_sock *rec, uint32_t status)
{
	uint64_t at;

	if (!(status & CV_ST_URGENT))
		return false;
	at = LOAD_ACQUIRE(rec->rx_urgent_pos);
	if (LOAD(rec->oob_pos) > at)
		return LOAD(rec->oob_unread) != 0;
	return LOAD_ACQUIRE(rec->rx_produced) > at;
}

/* tcp_poll(). The states are those of the record: none of LISTENING, CONNECTING, CONNECTED is a
 * socket in CLOSED that was never (or is no longer) connected, whose POLLOUT | POLLHUP programs see
 * on Linux too. */
static uint32_t stream_ready(const struct cv_sock *rec, uint32_t status)
{
	bool rx_shut = (status & (CV_ST_RX_EOF | CV_ST_DEAD)) != 0 || LOAD(rec->rx_shut) != 0;
	bool tx_shut = (status & (CV_ST_TX_SHUT | CV_ST_DEAD)) != 0 || LOAD(rec->tx_shut) != 0;
	bool closed =
		(status & CV_ST_DEAD) != 0 || (status & (CV_ST_CONNECTING | CV_ST_CONNECTED)) == 0;
	uint32_t ready = 0;

	if (status & CV_ST_LISTENING)
		return LOAD_ACQUIRE(rec->rx_produced) != LOAD(rec->rx_consumed) ? READABLE : 0;
	if (closed || (rx_shut && tx_shut))
		ready |= POLLHUP;
	if (rx_shut)
		ready |= READABLE | POLLRDHUP;
	if ((status & (CV_ST_CONNECTING | CV_ST_DEAD)) == CV_ST_CONNECTING)
		return ready;
	if (stream_has_data(rec))
		ready |= READABLE;
	if (tx_shut || closed || wait_has_room(rec))
		ready |= WRITABLE;
	if (wait_urgent(rec, status))
		ready |= POLLPRI;
	return ready;
}

/* datagram_poll(). */
static uint32_t datagram_ready(const struct cv_sock *rec, uint32_t status)
{
	bool rx_shut = LOAD(rec->rx_shut) != 0 || (status & CV_ST_RX_EOF) != 0;
	uint32_t ready = 0;

	if (rx_shut)
		ready |= READABLE | POLLRDHUP;
	if (rx_shut && LOAD(rec->tx_shut) != 0)
		ready |= POLLHUP;
	if (LOAD_ACQUIRE(rec->rx_produced) != LOAD(rec->rx_consumed))
		ready |= READABLE;
	if (wait_has_room(rec))
		ready |= WRITABLE | POLLWRBAND;
	if (status & CV_ST_ERRQUEUE)
		ready |= POLLERR;
	return ready;
}

uint32_t wait_ready(const struct mux_file *f)
{
	const struct cv_sock *rec = f->rec;
	uint32_t status, ready;
	bool error;

	if (LOAD(f->link->dead) || LOAD(rec->handle) != f->handle)
		return READABLE | WRITABLE | POLLRDHUP | POLLERR | POLLHUP;
	status = LOAD_ACQUIRE(rec->status);
	ready = rec->type == CV_STREAM ? stream_ready(rec, status) : datagram_ready(rec, status);
	error = LOAD_ACQUIRE(rec->error_seq) != LOAD(rec->error_seen);
	/* A stream's error is its end; the engine writes it just before it writes that. Both are
	 * told together, or none. */
	if (error && !(status & CV_ST_LISTENING) &&
		(rec->type != CV_STREAM || (status & CV_ST_DEAD) ||
			(status & (CV_ST_CONNECTED | CV_ST_CONNECTING)) == 0))
		ready |= POLLERR;
	return ready;
}

uint32_t wait_ready_want(const struct mux_file *f, uint32_t events)
{
	/* As it is before the look: who is connected just behind it wants no room, and would be told of
	 * some later. */
	uint32_t status = LOAD_ACQUIRE(f->rec->status), ready = wait_ready(f);

	if (!(events & (WRITABLE | POLLWRBAND)) || (ready & WRITABLE) ||
		(status & (CV_ST_LISTENING | CV_ST_CONNECTING)))
		return ready;
	wait_want_room(f->rec);
	return wait_ready(f);
}

/* --- time, spinning, signals -------------------------------------------------------------------
 */

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
	static uint64_t value = UINT64_MAX;
	uint64_t ns = LOAD(value);
	const char *text;
	char *end;

	if (ns != UINT64_MAX)
		return ns;
	ns = (inside ? SPIN_INSIDE_US : SPIN_DEFAULT_US) * 1000;
	text = getenv("CULVERT_SPIN_US");
	if (text && *text) {
		unsigned long us = strtoul(text, &end, 10);

		if (*end == 0 && us <= SPIN_MAX_US)
			ns = us * 1000;
	}
	STORE(value, ns);
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
	uint64_t most = spin_ns(false);

	if (s->inside || !s->worker || most == 0)
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

/* Always one turn before the sleep. */
static bool spin_inside(struct wait_slow *s)
{
	uint64_t now = signal_safe_turn(s->inside);

	signal_check_late();
	s->turns++;
	/* Our peer may want this core. */
	if (s->turns % SPIN_YIELD_TURNS == 0)
		sched_yield();
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

/* --- sets --------------------------------------------------------------------------------------
 */

void wait_set_arm(struct cv_set *set, uint32_t *armed)
{
	if (++*armed == 0)
		*armed = 1;
	STORE(set->armed, *armed);
	FENCE();
}

void wait_set_disarm(struct cv_set *set)
{
	STORE(set->armed, 0);
}

uint32_t wait_set_drain(const struct cv_segment *seg, struct cv_set *set)
{
	uint32_t all = 0;

	for (unsigned k = 0; k < wait_set_rings(seg); k++) {
		struct cv_set *ring = wait_set_ring(seg, set, k);
		uint32_t tail = LOAD_ACQUIRE(ring->tail), unread = tail - ring->head;

		STORE_RELEASE(ring->head, tail);
		all += unread > seg->set_entries ? seg->set_entries : unread;
	}
	if (all > 0)
		FENCE();
	return all;
}

void wait_lane_init(struct wait_lane *w, struct wait_link *link, struct cv_lane *lane,
	struct cv_set *set, uint32_t index, uint32_t worker, int bell)
{
	*w = (struct wait_lane){.link = link,
		.lane = lane,
		.set = set,
		.index = index,
		.worker = worker,
		.bell = bell};
}

void wait_lane_fini(struct wait_lane *w)
{
	if (w->watched)
		munmap(w->watched, w->watched_size);
	w->watched = NULL;
}

/* Indexed by record, so that a wait costs one comparison; untouched pages of it cost nothing, and a
 * record's next life has another handle. */
static bool watched_map(struct wait_lane *w)
{
	void *map;

	w->watched_size = (size_t)w->link->seg->socks_max * sizeof(*w->watched);
	map = mmap(NULL, w->watched_size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return false;
	w->watched = map;
	return true;
}

uint32_t wait_watch_with(struct wait_lane *w)
{
	return w->watched || watched_map(w) ? w->index + 1 : 0;
}

void wait_watched(struct wait_lane *w, uint32_t handle)
{
	uint32_t index = CV_SOCK_INDEX(handle);

	if (w->watched && index < w->link->seg->socks_max)
		w->watched[index] = handle;
}

bool wait_watch(struct wait_lane *w, const struct mux_file *f)
{
	uint32_t index = CV_SOCK_INDEX(f->handle);
	struct cv_command command = {.op = CV_CMD_WATCH, .sock = f->handle, .arg = w->index};

	if (!w->watched && !watched_map(w))
		return false;
	if (index >= w->link->seg->socks_max)
		return false;
	if (w->watched[index] == f->handle)
		return true;
	if (!mux_post(w->link, &command))
		return false;
	w->watched[index] = f->handle;
	return true;
}

/* --- the engine's end ---------------------------------------------------------------------------
 */

static bool control_is_closed(short revents)
{
	return (revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void wait_link_check(struct wait_link *link)
{
	struct pollfd control = {.fd = link->control_fd};

	if (LOAD(link->inside) || LOAD(link->dead) || ++link->looks % LINK_CHECK_LOOKS != 0)
		return;
	if (wait_kernel_poll(&control, 1) == 1 && control_is_closed(control.revents))
		mux_link_lost(link);
}

/* --- calls that are no cancellation points: a lock may be held, or signals blocked ----------- */

int wait_kernel_poll(struct pollfd *fds, nfds_t n)
{
	struct timespec none = {0, 0};

	return (int)real_syscall(SYS_ppoll, fds, n, &none, NULL, (size_t)0);
}

void wait_bell_read(int bell)
{
	uint64_t count;

	/* Several rings are one wake: neither the count nor an empty bell matters. */
	real_syscall(SYS_read, bell, &count, sizeof(count));
}

void wait_bell_write(int bell)
{
	uint64_t one = 1;

	/* Full cannot happen before 2^64 rings; then it is readable anyway. */
	real_syscall(SYS_write, bell, &one, sizeof(one));
}

/* --- sleeping -----------------------------------------------------------------------------------
 */

static int sleep_once(struct pollfd *fds, nfds_t n, uint64_t deadline_ns, const sigset_t *mask)
{
	struct timespec left;
	int ready = real_ppoll(fds, n, wait_left(deadline_ns, &left), mask);

	return ready < 0 ? -errno : ready;
}

int wait_sleep(const struct wait_link *link, struct pollfd *fds, nfds_t n, uint64_t deadline_ns,
	const sigset_t *mask)
{
	const struct cv_inline_engine *inside = link ? LOAD(link->inside) : NULL;
	uint64_t until = WAIT_FOREVER;
	int watch = inside ? inside->watch_begin(&until) : -1, ready;

	if (watch == -2) {
		(void)signal_safe_turn(inside);
		for (nfds_t i = 0; i < n; i++)
			fds[i].revents = 0;
		return 0;
	}
	if (watch < 0)
		return sleep_once(fds, n, deadline_ns, mask);
	fds[n] = (struct pollfd){.fd = watch, .events = POLLIN};
	ready = sleep_once(fds, n + 1, until < deadline_ns ? until : deadline_ns, mask);
	inside->watch_end();
	/* A device, a doorbell, or the engine's time. */
	if (ready == 0 || (ready > 0 && fds[n].revents))
		(void)signal_safe_turn(inside);
	return ready > 0 && fds[n].revents ? ready - 1 : ready;
}

int wait_lane_sleep(struct wait_lane *w, struct wait_link *link, struct pollfd *fds, nfds_t n,
	uint64_t deadline_ns, const sigset_t *mask)
{
	int ready;

	if (!w && link && deadline_ns > wait_now_ns() + NAP_NS)
		deadline_ns = wait_now_ns() + NAP_NS;
	fds[n] = (struct pollfd){.fd = w ? w->bell : -1, .events = POLLIN};
	fds[n + 1] = (struct pollfd){.fd = link ? link->control_fd : -1};
	ready = wait_sleep(link, fds, n + 2, deadline_ns, mask);
	if (ready <= 0)
		return ready;
	if (fds[n].revents) {
		ready--;
		wait_bell_read(w->bell);
	}
	if (fds[n + 1].revents) {
		ready--;
		if (control_is_closed(fds[n + 1].revents))
			mux_link_lost(link);
	}
	return ready;
}

/* One wait of a blocking call. */
struct wait_try {
	int (*look)(struct wait_try *t); /* > 0: what was waited for is there */
	struct wait_lane *w;
	struct wait_link *link;
	bool interruptible;
	int kernel_fd; /* -1: none */
	uint32_t events;
	const struct mux_file *f;
	uint32_t value;
	uint32_t kernel_looks;
};

/* Arms, looks, sleeps. > 0: there; 0: look at the clock and go on; -EINTR. */
static int try_sleep(struct wait_try *t, uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd fds[1 + WAIT_OWN_FDS] = {{.fd = t->kernel_fd, .events = (short)t->events}};
	nfds_t n = t->kernel_fd >= 0 ? 1 : 0;
	struct cv_set *set = t->w ? t->w->set : NULL;
	int result;

	if (set) {
		wait_set_arm(set, &t->w->armed);
		wait_set_drain(t->link->seg, set);
	}
	result = t->look(t);
	if (result == 0)
		result = wait_lane_sleep(t->w, t->link, fds, n, deadline_ns, mask);
	if (set)
		wait_set_disarm(set);
	if (result == 1 && n == 1 && fds[0].revents)
		return (int)(WAIT_KERNEL | (uint16_t)fds[0].revents);
	return result;
}

/* All handlers of this process are SA_RESTART. */
static bool all_restart(void)
{
	struct sigaction action;

	for (int sig = 1; sig < NSIG; sig++) {
		if (sigaction(sig, NULL, &action) != 0 || action.sa_handler == SIG_DFL ||
			action.sa_handler == SIG_IGN)
			continue;
		if (!(action.sa_flags & SA_RESTART))
			return false;
	}
	return true;
}

/* Whether all handlers that have run lately are SA_RESTART. */
static bool handlers_restart(struct wait_slow *s)
{
	if (signal_turn.handled == s->handled)
		return all_restart(); /* one that we do not stand before */
	s->handled = signal_turn.handled;
	return signal_turn.broken == s->broken;
}

/* -EINTR stays one unless the call is one that goes on. */
static int try_restarted(
	const struct wait_try *t, struct wait_slow *s, uint64_t deadline_ns, int result)
{
	if (result == -EINTR &&
		(!t->interruptible || (deadline_ns == WAIT_FOREVER && handlers_restart(s))))
		return 0;
	return result;
}

static int try_slow(struct wait_try *t, uint64_t deadline_ns)
{
	struct wait_slow slow;
	int result;

	wait_slow_begin(&slow, t->link, t->w ? t->w->worker : 0, deadline_ns, WAIT_FOREVER);
	do
		result = t->look(t);
	while (result == 0 && wait_slow_spin(&slow));
	if (result == 0)
		result = try_restarted(t, &slow, deadline_ns, wait_slow_signal(&slow));
	while (result == 0) {
		result = try_sleep(t, deadline_ns, t->interruptible ? &slow.old : NULL);
		result = try_restarted(t, &slow, deadline_ns, result);
		if (result == 0) {
			result = t->look(t);
			if (result == 0 && deadline_ns != WAIT_FOREVER &&
				wait_now_ns() >= deadline_ns)
				break;
		}
	}
	wait_slow_end(&slow);
	return result;
}

static int try_wait(struct wait_try *t, uint64_t deadline_ns)
{
	int result = t->look(t);

	return result != 0 ? result : try_slow(t, deadline_ns);
}

static int look_sock(struct wait_try *t)
{
	uint32_t ready = wait_ready_want(t->f, t->events) & (t->events | POLLERR | POLLHUP);
	struct pollfd shadow = {.fd = t->kernel_fd, .events = (short)t->events};

	if (ready || t->kernel_fd < 0 || t->kernel_looks++ % SPIN_CLOCK_TURNS != 0)
		return (int)ready;
	if (wait_kernel_poll(&shadow, 1) == 1)
		return (int)(WAIT_KERNEL | (uint16_t)shadow.revents);
	return 0;
}

int wait_sock(const struct mux_file *f, uint32_t events, int kernel_fd, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_sock,
		.link = f->link,
		.f = f,
		.events = events,
		.kernel_fd = kernel_fd,
		.interruptible = true};
	int result = look_sock(&t);

	if (result != 0)
		return result;
	/* Without a lane or a watch the bell will not ring for us: then the wait naps. */
	t.w = mux_lane(f->link);
	if (t.w && !wait_watch(t.w, f))
		t.w = NULL;
	return try_slow(&t, deadline_ns);
}

static int look_reply(struct wait_try *t)
{
	if (LOAD_ACQUIRE(t->w->lane->reply_seq) == t->value)
		return 1;
	return LOAD(t->link->dead) ? -ENETDOWN : 0;
}

int wait_reply(struct wait_lane *w, uint32_t seq)
{
	struct wait_try t = {
		.look = look_reply, .w = w, .link = w->link, .kernel_fd = -1, .value = seq};
	int result = try_wait(&t, WAIT_FOREVER);

	return result < 0 ? result : 0;
}

static int look_ring(struct wait_try *t)
{
	if (LOAD_ACQUIRE(t->w->lane->cmd_head) != t->value)
		return 1;
	return LOAD(t->link->dead) ? -ENETDOWN : 0;
}

/* What only this thread's lane brings, and only when asked for. */
static int lane_wait(struct wait_try *t, uint64_t deadline_ns)
{
	int result;

	STORE(t->w->lane->want, 1);
	FENCE();
	result = try_wait(t, deadline_ns);
	STORE(t->w->lane->want, 0);
	return result;
}

int wait_ring(struct wait_lane *w, uint32_t head)
{
	struct wait_try t = {
		.look = look_ring, .w = w, .link = w->link, .kernel_fd = -1, .value = head};
	int result = lane_wait(&t, WAIT_FOREVER);

	return result < 0 ? result : 0;
}

static int look_completion(struct wait_try *t)
{
	if (LOAD_ACQUIRE(t->w->lane->comp_tail) != t->value)
		return 1;
	return LOAD(t->link->dead) ? -ENETDOWN : 0;
}

int wait_completion(struct wait_lane *w, uint32_t tail, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_completion,
		.w = w,
		.link = w->link,
		.kernel_fd = -1,
		.value = tail,
		.interruptible = true};

	return lane_wait(&t, deadline_ns);
}
