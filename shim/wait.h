/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: what a socket is ready for, and how a thread sleeps until it is.
 *
 * Owns: readiness from a record (exactly as Linux's tcp_poll and datagram_poll see it), the wait
 * itself (look, spin, arm, look again, sleep on bell + control connection + kernel descriptors),
 * the watches of a thread's own set. Does not own: the descriptor table, the lanes and their rings,
 * the link to the engine (fd.h, lane.h, link.h); epoll instances (epoll.c). Called by: every
 * blocking call of shim/, poll.c, epoll.c.
 *
 * Invariants
 * - No lost wake-up: armed is written, then a full fence, then the ring is emptied and the records
 *   are looked at; only then does the thread sleep. The engine does it the other way round.
 * - From the end of the spin on signals are blocked, so that a handler runs either before the last look, or
 *   in the sleep, which it ends with EINTR: no signal is swallowed between look and sleep.
 * - Nothing here allocates or locks on a wait (a set's table of watches is mapped once a thread).
 *
 * Values: readiness is poll(2)'s POLL* bits (epoll's are the same numbers). Times are nanoseconds
 * of CLOCK_MONOTONIC; WAIT_FOREVER is no deadline. Errors are -errno.
 */
#ifndef CULVERT_SHIM_WAIT_H
#define CULVERT_SHIM_WAIT_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "stack/api/page.h"
#include "stack/api/segment.h"

struct cv_command;
struct cv_inline_engine;
struct wait_link;
struct wait_lane;
struct mux_item;
struct ep;

#define WAIT_FOREVER UINT64_MAX
#define WAIT_KERNEL (1u << 30) /* in a result of wait_sock: the kernel descriptor is ready */

/* --- embedded in shim-core's structures; zero-initialised, the fields below filled in --------- */

/* In the link to one engine. A dead link stays mapped as long as a file refers to it. */
struct wait_link {
	const struct cv_segment *seg;
	const struct cv_page *page;
	int control_fd; /* of this process; renewed after fork */
	uint32_t dead;  /* non-zero: the engine is gone, all its sockets are in error */
	uint32_t looks; /* wait.c's */
	const struct cv_inline_engine *inside; /* the engine runs in this process; NULL: elsewhere */
};

/* In a lane: the waiting of the thread that owns it. wait_lane_init() fills it in. */
struct wait_lane {
	struct wait_link *link;
	struct cv_lane *lane;
	struct cv_set *set; /* NULL, and no bell: the parent's, in a child whose wait began before the fork */
	uint32_t index; /* the lane's and its set's */
	uint32_t worker;
	int bell;            /* eventfd, non-blocking */
	uint32_t armed;      /* last value written to set->armed */
	uint64_t *watched;   /* by record index: what the set watches, as watched_name() says; NULL until used */
	size_t watched_size; /* of the mapping */
};

/* In an open file description as this process sees it: one for all descriptors that dup made. */
struct mux_file {
	struct wait_link *link; /* with rec */
	struct cv_sock *rec;    /* the record; NULL while undecided and for a kernel socket */
	uint32_t handle;
	uint32_t life;  /* with handle, which comes again: of no other file that this process has had */
	bool both;      /* served by the kernel as well (wildcard): the descriptor is its shadow */
	bool undecided; /* neither bound nor connected yet: may become the engine's */
	struct ep *ep;  /* an epoll instance (epoll.c owns it); NULL: a socket */
	struct mux_item *items; /* epoll.c's: the sets it is a member of */
};

/* --- what shim-core provides ------------------------------------------------------------------ */

/* The file of a descriptor that is ours (engine, undecided or wildcard socket, epoll instance), or
 * NULL. A table look-up, no lock; the file stays valid until mux_file_put. */
struct mux_file *mux_file_get(int fd);
void mux_file_put(struct mux_file *f);
/* One more mux_file_put will follow. */
void mux_file_hold(struct mux_file *f);
/* Whether a number of this process still names it. */
bool mux_file_is_open(const struct mux_file *f);
/* The calling thread's waiting for engine `link` (opens the lane when it has none). NULL: no lane
 * can be had, or the engine is gone. */
struct wait_lane *mux_lane(struct wait_link *link);
/* Posts an asynchronous command on the calling thread's lane to the worker of the command's socket, or carries it out
 * by the control connection when no lane can be had. 0 (then *ticket says which it is, unless NULL), -ENETDOWN: the
 * engine is gone, -EINVAL: one that needs a lane. */
struct mux_ticket {
	uint32_t lane, tail; /* the lane's, behind the command */
};
int mux_post(struct wait_link *link, const struct cv_command *command, struct mux_ticket *ticket);
/* Commands of different threads have no order. Returns when the engine has taken that one, or what the calling thread posts
 * comes after it anyway, or the engine does not move. */
void mux_await(struct wait_link *link, const struct mux_ticket *ticket);
/* The control connection was found closed: says so once, marks the link dead. */
void mux_link_lost(struct wait_link *link);
/* A set for an epoll instance: CV_CTL_SET_OPEN with bell. Returns its index or -errno. */
int mux_set_open(struct wait_link *link, int bell);
void mux_set_close(struct wait_link *link, uint32_t set);
/* Moves a new descriptor to a number that programs do not expect (close-on-exec, and kept by
 * close_range and closefrom of the program); -errno. Internal descriptors are closed with
 * mux_internal_close. */
int mux_internal_fd(int fd);
void mux_internal_close(int fd);
/* Makes fd the new file of an epoll instance (epoll_create); 0 or -errno (fd was closed then). */
int mux_file_add_epoll(int fd, struct ep *ep);
/* Calls f for each descriptor number of this process that refers to the file. Takes no lock that is
 * held while a hook below is called. */
void mux_file_each_fd(struct mux_file *file, void (*f)(int fd, void *arg), void *arg);

/* --- readiness ------------------------------------------------------------------------------- */

/* All that the socket is ready for now: POLLIN POLLRDNORM POLLPRI POLLOUT POLLWRNORM POLLWRBAND
 * POLLRDHUP POLLERR POLLHUP. Dead engine: POLLIN POLLRDNORM POLLRDHUP POLLOUT POLLWRNORM POLLERR
 * POLLHUP. f->rec is not NULL. Looks at the record only; any context. */
uint32_t wait_ready(const struct mux_file *f);
/* The same, for one who will sleep until `events` come: asks the engine to tell about room. */
uint32_t wait_ready_want(const struct mux_file *f, uint32_t events);
/* An urgent byte is there to be read (status: as it was loaded). */
bool wait_urgent(const struct cv_sock *rec, uint32_t status);
/* Whether POLLOUT holds: at least a third of the send buffer is free, and less than half of TCP_NOTSENT_LOWAT is not
 * sent. */
bool wait_has_room(const struct cv_sock *rec);
/* Whether `times` what is not sent is less than TCP_NOTSENT_LOWAT. Linux asks senders for once, and for twice who is to be
 * woken. */
static inline bool wait_unsent_is_low(const struct cv_sock *rec, int64_t times)
{
	uint32_t lowat = __atomic_load_n(&rec->notsent_lowat, __ATOMIC_ACQUIRE);
	int64_t unsent;

	if (lowat == 0)
		return true;
	/* Less than none: another thread's send is just being told in tx_pos. */
	unsent = (int64_t)(__atomic_load_n(&rec->tx_pos, __ATOMIC_RELAXED) -
			   __atomic_load_n(&rec->tx_sent, __ATOMIC_ACQUIRE));
	return unsent * times < lowat;
}
/* Call when the send buffer was found full, then look at tx_acked once more before sleeping. Never
 * clear tx_want. */
void wait_want_room(struct cv_sock *rec);

/* --- blocking calls -------------------------------------------------------------------------- */

uint64_t wait_now_ns(void);
/* The clock of a few milliseconds' grain: a fraction of the other's price. */
uint64_t wait_coarse_ns(void);
/* In ns; NULL or beyond all measure: WAIT_FOREVER. */
uint64_t wait_timeout_of(const struct timespec *timeout);
/* now + timeout; timeout 0 (as in rcvtimeo_ns) is WAIT_FOREVER. */
uint64_t wait_deadline(uint64_t timeout_ns);

/*
 * Waits until the socket is ready for one of `events` (POLLERR and POLLHUP always count).
 * kernel_fd >= 0: or until the kernel says so of that descriptor (a wildcard socket's shadow),
 * which is WAIT_KERNEL in the result. Returns the readiness (> 0), 0 when the deadline passed, or
 * -EINTR: a handler ran that must not restart the call (signal(7): no SA_RESTART, or a deadline is
 * set), -ENETDOWN: no lane. A dead engine makes the socket ready. May be called with any signal
 * mask, without locks held.
 */
int wait_sock(const struct mux_file *f, uint32_t events, int kernel_fd, uint64_t deadline_ns);
/* The same for who has seen what was received up to the position `seen` and wants more, or the end. */
int wait_more(const struct mux_file *f, uint64_t seen, uint64_t deadline_ns);
/* The same for the kernel's half alone. */
int wait_kernel_half(const struct mux_file *f, uint32_t events, int kernel_fd, uint64_t deadline_ns);

/* Waits until the lane's synchronous command seq is answered. Not interruptible: replies come
 * within a turn. 0, or -ENETDOWN: the engine is gone. */
int wait_reply(struct wait_lane *w, uint32_t seq);
/* Waits until the engine has taken commands beyond `head` (the ring was full). Same results. */
int wait_ring(struct wait_lane *w, uint32_t head);
/* Waits until there are completions beyond `tail` (the arena was full), for who sends on f. Interruptible and bounded
 * as wait_sock: > 0, 0 (deadline), -EINTR, -ENETDOWN. */
int wait_completion(struct wait_lane *w, const struct mux_file *f, uint32_t tail, uint64_t deadline_ns);

/* --- a lane's waiting ------------------------------------------------------------------------ */

void wait_lane_init(struct wait_lane *w, struct wait_link *link, struct cv_lane *lane,
	struct cv_set *set, uint32_t index, uint32_t worker, int bell);
/* Before the lane is closed or when its thread ends; also in the child for lanes it inherited. */
void wait_lane_fini(struct wait_lane *w);

/* What a call holds while it waits, in its own frame: given back when a handler leaves the call by longjmp (jump.c), and when the
 * thread is cancelled in it. */
struct wait_hold {
	struct wait_hold *outer;
	void (*give)(struct wait_hold *hold);
	bool given;
};
extern __thread struct wait_hold *wait_holds __attribute__((tls_model("initial-exec"))); /* of this thread, the innermost */
static inline void wait_hold_begin(struct wait_hold *hold, void (*give)(struct wait_hold *hold))
{
	*hold = (struct wait_hold){.outer = wait_holds, .give = give};
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	wait_holds = hold;
}
/* All that this thread holds. */
void wait_holds_give(void);
/* The same, for pthread_cleanup_push() around a kernel's wait: the thread is cancelled there. */
void wait_cancelled(void *unused);
/* False: it was given back, though the call goes on. */
static inline bool wait_hold_end(struct wait_hold *hold)
{
	if (!hold->given)
		wait_holds = hold->outer;
	return !hold->given;
}

/* --- hooks: shim-core calls them -------------------------------------------------------------- */

/* The undecided socket fd (all its descriptors) was given to the engine: f->rec is set now. Moves
 * it from the kernel's sets to ours. Call it for a wildcard socket too (f->both). */
void mux_sock_decided(int fd, struct mux_file *f);
/* f->both has changed. */
void mux_sock_both(struct mux_file *f);
/* It went to the kernel instead. */
void mux_sock_undecided_gone(struct mux_file *f);
/* Whether somebody may sleep on the file until it is decided, and what is readable from then on; -1: none can be had.
 * Look whether it is still undecided after this, then sleep. */
bool mux_is_awaited(const struct mux_file *f);
int mux_decision_bell(struct mux_file *f);
/* The last descriptor of the file in this process is being closed; before CV_CMD_CLOSE is posted
 * and before the number is free. Leaves all sets; frees an epoll instance. */
void mux_file_closed(struct mux_file *f);
/* The sets that f is a member of look at it again, as if it had changed: what it waits for is no event of the
 * engine's (send buffers of this thread). */
void mux_file_kick(struct mux_file *f);
/* Around fork, as pthread_atfork's; in the child after its link, before any other call. */
void mux_fork_prepare(void);
void mux_fork_parent(void);
void mux_fork_child(void);

/* --- between the files of waiting, poll and epoll --------------------------------------------------
 */

/*
 * The slow path of a wait, entered when the first look found nothing:
 *	wait_slow_begin(&s, ...);
 *	do look; while (nothing && wait_slow_spin(&s));
 *	if (nothing) wait_slow_signal(&s);
 *	arm, look, sleep with s.old, disarm ...
 *	wait_slow_end(&s);
 * When the spin is over the caller's signals are blocked until the end, except inside the sleep, which gets `old`
 * (or the program's own mask). A handler that runs before that ends the spin, and wait_slow_signal() says so.
 * Where the engine is in this process, spinning is running its turns.
 */
struct wait_slow {
	sigset_t old;
	sig_atomic_t handled, broken; /* signal_turn's, as they were at the beginning */
	bool blocked;
	uint64_t spin_ns, timeout_ns; /* what is still to be counted from the first reading of the clock */
	uint64_t begun_ns, end_ns;    /* the spin; 0: the clock was not read yet */
	uint64_t deadline_ns;         /* of the wait */
	uint32_t turns, told;
	const struct cv_page_worker *worker;
	const struct cv_inline_engine *inside;
};
/* deadline_ns: when the wait ends; or WAIT_FOREVER, and timeout_ns says how long it lasts (WAIT_FOREVER: for ever):
 * then s->deadline_ns is known when the spin is over. No clock is read here: that takes as long as a look. */
void wait_slow_begin(struct wait_slow *s, const struct wait_link *link, uint32_t worker, uint64_t deadline_ns,
	uint64_t timeout_ns);
#define WAIT_OWN_FDS 3u
bool wait_slow_spin(struct wait_slow *s); /* one turn; false: its time is over */
/* -EINTR when a handler has run during the spin, else 0. */
int wait_slow_signal(const struct wait_slow *s);
void wait_slow_end(struct wait_slow *s);  /* pending handlers run in here */

/* The time left until the deadline, 0 if passed; NULL for WAIT_FOREVER. */
const struct timespec *wait_left(uint64_t deadline_ns, struct timespec *left);

/* Each worker posts a set's events to a ring of its own; how many there are. Worker 0's is the set's, with the armed word. */
static inline unsigned wait_set_rings(const struct cv_segment *seg)
{
	return seg->workers > 1 && seg->workers <= CV_WORKERS_MAX ? seg->workers : 1;
}
static inline struct cv_set *wait_set_ring(const struct cv_segment *seg, struct cv_set *set, unsigned worker)
{
	return (struct cv_set *)(void *)((char *)set + (uint64_t)worker * seg->sets_max * seg->set_stride);
}
/* Arms a set (new value, full fence); *armed is the last value used. */
void wait_set_arm(struct cv_set *set, uint32_t *armed);
void wait_set_disarm(struct cv_set *set);
/* Forgets all unread events, with the fence that must follow. Returns how many there were. */
uint32_t wait_set_drain(const struct cv_segment *seg, struct cv_set *set);
/* Makes sure that the lane's set watches the socket. False: the engine is gone or memory is short.
 */
bool wait_watch(struct wait_lane *w, const struct mux_file *f);
/* For CV_F_CONNECT: the set of a lane that can watch, and 1 (0: it cannot), and that it watches that socket now. */
uint32_t wait_watch_with(struct wait_lane *w);
void wait_watched(struct wait_lane *w, const struct mux_file *f);
/* poll() without waiting, reading a bell empty, ringing one; no cancellation points. */
int wait_kernel_poll(struct pollfd *fds, nfds_t n);
void wait_bell_read(int bell);
void wait_bell_write(int bell);
/* For loops that never sleep: looks once in so many calls whether the engine has died. */
void wait_link_check(struct wait_link *link);
/* Commands that this thread has posted and that an engine in its own process has not seen yet: a thread that was given
 * several sockets' news at once answers them one by one, and the engine does better with all answers together. They
 * are carried out at the thread's next wait, with the next few, or by the engine's own thread within a few milliseconds. */
struct wait_batch {
	uint32_t news;  /* that the last wait brought */
	uint32_t posts;
};
extern __thread struct wait_batch wait_batch __attribute__((tls_model("initial-exec")));
#define WAIT_BATCH_POSTS 32u
bool wait_batch_goes_on(const struct cv_inline_engine *inside);
/* At the start of a wait. */
void wait_batch_flush(const struct wait_link *link);

/* A thread that looks without waiting gives an engine in its own process the occasion to work. False: the engine
 * works elsewhere, and another look is no use. */
bool wait_turn(const struct wait_link *link);
/* The sleep of a thread on fds[0..n), where entry n is free: an engine in this process gets its turns meanwhile.
 * As ppoll, in fds[0..n); deadline in ns. */
int wait_sleep(const struct wait_link *link, struct pollfd *fds, nfds_t n, uint64_t deadline_ns,
	const sigset_t *mask);
/* Sleeps on the lane's bell, the control connection and n descriptors of fds (WAIT_OWN_FDS more entries must
 * be free behind them), with the signal mask. Returns how many of fds are ready (revents set), 0:
 * woken or the deadline passed, -EINTR. w NULL (no lane to be had) or without a bell: naps a millisecond. */
int wait_lane_sleep(struct wait_lane *w, struct wait_link *link, struct pollfd *fds, nfds_t n,
	uint64_t deadline_ns, const sigset_t *mask);

#endif
