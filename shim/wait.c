/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets and sleeping, and the calls that block: see wait.h, which says what each function promises. What a socket is ready for is
 * ready.c's, the spin before a sleep spin.c's. */
#include "shim/wait.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/atomic.h"
#include "shim/real.h"
#include "shim/handler.h"
#include "stack/api/command.h"

#define KERNEL_LOOK_TURNS 64  /* looks at the record between two at the kernel's descriptor */
#define LINK_CHECK_LOOKS 1024 /* calls between two looks at the control connection */
#define NAP_NS 1000000

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
	if (set) /* a handler that forked has taken it from the child */
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
 * record's next life has another name. */
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

/* Handles come again after some thousand lives of a record, and threads live longer. */
static uint64_t watched_name(const struct mux_file *f)
{
	return (uint64_t)f->life << 32 | f->handle;
}

void wait_watched(struct wait_lane *w, const struct mux_file *f)
{
	uint32_t index = CV_SOCK_INDEX(f->handle);

	if (w->watched && index < w->link->seg->socks_max)
		w->watched[index] = watched_name(f);
}

bool wait_watch(struct wait_lane *w, const struct mux_file *f)
{
	uint32_t index = CV_SOCK_INDEX(f->handle);
	struct cv_command command = {.op = CV_CMD_WATCH, .sock = f->handle, .arg = w->index};

	if (!w->watched && !watched_map(w))
		return false;
	if (index >= w->link->seg->socks_max)
		return false;
	if (w->watched[index] == watched_name(f))
		return true;
	if (mux_post(w->link, &command, NULL) != 0)
		return false;
	w->watched[index] = watched_name(f);
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

__thread struct wait_hold *wait_holds __attribute__((tls_model("initial-exec")));

void wait_holds_give(void)
{
	struct wait_hold *hold = wait_holds;

	wait_holds = NULL;
	for (; hold; hold = hold->outer) {
		hold->given = true;
		hold->give(hold);
	}
}

void wait_cancelled(void *unused)
{
	(void)unused;
	wait_holds_give();
}

#define SELECT_FDS 65536

/* ppoll() takes no more entries than the process may have descriptors (setrlimit(2)), and it may have been forbidden
 * them all; pselect() does not mind. */
__attribute__((noinline)) static int sleep_by_select(
	struct pollfd *fds, nfds_t n, const struct timespec *left, const sigset_t *mask)
{
	unsigned long in[SELECT_FDS / 64] = {0}, out[SELECT_FDS / 64] = {0}, ex[SELECT_FDS / 64] = {0};
	int end = 0, ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)fds[i].fd;

		if (fds[i].fd < 0)
			continue;
		if (fd >= SELECT_FDS) {
			errno = EINVAL;
			return -1;
		}
		in[fd / 64] |= (fds[i].events & POLLIN ? 1ul : 0) << fd % 64;
		out[fd / 64] |= (fds[i].events & POLLOUT ? 1ul : 0) << fd % 64;
		ex[fd / 64] |= (fds[i].events & POLLPRI ? 1ul : 0) << fd % 64;
		end = fds[i].fd >= end ? fds[i].fd + 1 : end;
	}
	if (real_pselect(end, (void *)in, (void *)out, (void *)ex, left, mask) < 0)
		return -1;
	for (nfds_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)fds[i].fd, bit = fd % 64;

		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		fds[i].revents =
			(short)((in[fd / 64] >> bit & 1 ? POLLIN : 0) | (out[fd / 64] >> bit & 1 ? POLLOUT : 0) |
				(ex[fd / 64] >> bit & 1 ? POLLPRI : 0));
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int sleep_once(struct pollfd *fds, nfds_t n, uint64_t deadline_ns, const sigset_t *mask)
{
	struct timespec left;
	int ready;

	pthread_cleanup_push(wait_cancelled, NULL);
	ready = real_ppoll(fds, n, wait_left(deadline_ns, &left), mask);
	if (ready < 0 && errno == EINVAL)
		ready = sleep_by_select(fds, n, wait_left(deadline_ns, &left), mask);
	pthread_cleanup_pop(0);
	return ready < 0 ? -errno : ready;
}

/* The right to sleep for all. */
struct watch_hold {
	struct wait_hold hold;
	const struct cv_inline_engine *inside;
};

static void watch_give(struct wait_hold *hold)
{
	((struct watch_hold *)(void *)hold)->inside->watch_end();
}

int wait_sleep(const struct wait_link *link, struct pollfd *fds, nfds_t n, uint64_t deadline_ns,
	const sigset_t *mask)
{
	const struct cv_inline_engine *inside = link ? LOAD(link->inside) : NULL;
	struct watch_hold h = {.inside = inside};
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
	wait_hold_begin(&h.hold, watch_give);
	ready = sleep_once(fds, n + 1, until < deadline_ns ? until : deadline_ns, mask);
	if (wait_hold_end(&h.hold) && LOAD(link->inside)) /* not in a child that a handler has forked */
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

	if ((!w || w->bell < 0) && link && deadline_ns > wait_now_ns() + NAP_NS)
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
	bool watches;  /* w may be any lane of the thread's that watches f */
	int kernel_fd; /* -1: none */
	uint32_t events;
	const struct mux_file *f;
	uint64_t seen; /* look_more() */
	uint32_t value;
	uint32_t kernel_looks;
};

/* Without a lane or a watch the bell will not ring for us: then the wait naps. */
static void try_lane(struct wait_try *t)
{
	t->w = mux_lane(t->link);
	if (t->w && !wait_watch(t->w, t->f))
		t->w = NULL;
}

/* Arms, looks, sleeps. > 0: there; 0: look at the clock and go on; -EINTR. */
static int try_sleep(struct wait_try *t, uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd fds[1 + WAIT_OWN_FDS] = {{.fd = t->kernel_fd, .events = (short)t->events}};
	nfds_t n = t->kernel_fd >= 0 ? 1 : 0;
	struct cv_set *set;
	int result;

	if (t->watches && t->w && !t->w->set)
		try_lane(t);
	set = t->w ? t->w->set : NULL;
	if (set) {
		wait_set_arm(set, &t->w->armed);
		wait_set_drain(t->link->seg, set);
	}
	result = t->look(t);
	if (result == 0)
		result = wait_lane_sleep(t->w, t->link, fds, n, deadline_ns, mask);
	if (set)
		wait_set_disarm(t->w->set);
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

/* A signal that came before they were blocked did not end this call, and one that restarts it lets it begin again: as
 * Linux's, it then finds what its number names. Who closes or replaces a descriptor and then signals the thread that
 * reads from it (Java) counts on that. 0, or -EBADF. */
static int try_begins(const struct wait_try *t)
{
	return t->interruptible && !mux_file_is_open(t->f) ? -EBADF : 0;
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
	if (result == 0)
		result = try_begins(t);
	while (result == 0) {
		int slept = try_sleep(t, deadline_ns, t->interruptible ? &slow.old : NULL);

		result = try_restarted(t, &slow, deadline_ns, slept);
		if (result == 0 && slept == -EINTR)
			result = try_begins(t);
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

/* A wait for the engine's answer ends soon, and who waits holds what others need: it is no place to be cancelled in. */
static int try_answer(struct wait_try *t, uint64_t deadline_ns)
{
	int result = t->look(t), cancel;

	if (result != 0)
		return result;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	result = try_slow(t, deadline_ns);
	pthread_setcancelstate(cancel, NULL);
	return result;
}

static int look_sock(struct wait_try *t)
{
	uint32_t ready = wait_ready_want(t->f, t->events) & (t->events | POLLERR | POLLHUP);
	struct pollfd shadow = {.fd = t->kernel_fd, .events = (short)t->events};

	if (ready || t->kernel_fd < 0 || t->kernel_looks++ % KERNEL_LOOK_TURNS != 0)
		return (int)ready;
	if (wait_kernel_poll(&shadow, 1) == 1)
		return (int)(WAIT_KERNEL | (uint16_t)shadow.revents);
	return 0;
}

struct sock_hold {
	struct wait_hold hold;
	struct mux_file *f;
};

static void sock_give(struct wait_hold *hold)
{
	mux_file_put(((struct sock_hold *)(void *)hold)->f);
}

static int look_more(struct wait_try *t)
{
	uint32_t ready = wait_ready(t->f);

	if (LOAD_ACQUIRE(t->f->rec->rx_produced) == t->seen)
		ready &= POLLRDHUP | POLLERR | POLLHUP;
	return (int)ready & (POLLIN | POLLRDHUP | POLLERR | POLLHUP);
}

static int look_kernel_half(struct wait_try *t)
{
	struct pollfd half = {.fd = t->kernel_fd, .events = (short)t->events};

	return wait_kernel_poll(&half, 1) == 1 ? (int)(WAIT_KERNEL | (uint16_t)half.revents) : 0;
}

/* A wait in which the caller's reference to the file goes when the call ends by a jump or with its thread. */
static int try_held(struct wait_try *t, uint64_t deadline_ns)
{
	struct sock_hold h = {.f = (struct mux_file *)(uintptr_t)t->f};
	int result;

	wait_hold_begin(&h.hold, sock_give);
	result = try_slow(t, deadline_ns);
	if (!wait_hold_end(&h.hold))
		mux_file_hold(h.f);
	return result;
}

static int sock_wait(struct wait_try *t, uint64_t deadline_ns)
{
	int result;

	t->link = t->f->link;
	t->interruptible = true;
	result = t->look(t);
	if (result != 0)
		return result;
	t->watches = true;
	try_lane(t);
	return try_held(t, deadline_ns);
}

int wait_sock(const struct mux_file *f, uint32_t events, int kernel_fd, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_sock, .f = f, .events = events, .kernel_fd = kernel_fd};

	return sock_wait(&t, deadline_ns);
}

int wait_kernel_half(const struct mux_file *f, uint32_t events, int kernel_fd, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_kernel_half, .f = f, .events = events, .kernel_fd = kernel_fd};

	return sock_wait(&t, deadline_ns);
}

int wait_more(const struct mux_file *f, uint64_t seen, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_more, .f = f, .seen = seen, .kernel_fd = -1};

	return sock_wait(&t, deadline_ns);
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
	int result = try_answer(&t, WAIT_FOREVER);

	return result < 0 ? result : 0;
}

static int look_ring(struct wait_try *t)
{
	if (LOAD_ACQUIRE(t->w->lane->cmd_head) != t->value)
		return 1;
	return LOAD(t->link->dead) ? -ENETDOWN : 0;
}

/* What only this thread's lane brings, and only when asked for. The wait that a handler has interrupted goes on
 * wanting; in a child that a handler has forked the word is the parent's. */
static int lane_wait(struct wait_try *t, uint64_t deadline_ns)
{
	uint32_t wanted = LOAD(t->w->lane->want);
	int result;

	STORE(t->w->lane->want, 1);
	FENCE();
	result = t->look(t);
	if (result == 0)
		result = t->f ? try_held(t, deadline_ns) : try_answer(t, deadline_ns);
	if (t->w->set)
		STORE(t->w->lane->want, wanted);
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

int wait_completion(struct wait_lane *w, const struct mux_file *f, uint32_t tail, uint64_t deadline_ns)
{
	struct wait_try t = {.look = look_completion,
		.w = w,
		.link = w->link,
		.f = f,
		.kernel_fd = -1,
		.value = tail,
		.interruptible = true};

	return lane_wait(&t, deadline_ns);
}
