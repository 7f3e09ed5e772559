/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll, ppoll, select, pselect over any mix of engine sockets, kernel descriptors and epoll sets.
 *
 * Owns: nothing that outlives a call. Does not own: readiness and sleeping (wait.h), epoll
 * (epoll.h). Called by: the program.
 *
 * A call that names no descriptor of ours goes to the kernel after one look at the table for each.
 * Otherwise the entries are split: engine sockets are looked at in their records, the rest is given
 * to one real ppoll(). A wildcard socket is in both halves. Like Linux, a call that finds one ready
 * descriptor reports all that are ready.
 *
 * Invariant: no lock is held and nothing is allocated for up to SMALL entries, so that a signal
 * handler may poll too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "shim/call.h"
#include "shim/epoll.h"
#include "shim/memory.h"
#include "shim/real.h"
#include "shim/wait.h"

#define SMALL 64
#define KERNEL_LOOK_TURNS 64 /* turns of a spin between two looks at the kernel's descriptors */

#define SELECT_IN (POLLIN | POLLRDNORM | POLLRDBAND)
#define SELECT_OUT (POLLOUT | POLLWRNORM | POLLWRBAND)
#define SELECT_EX POLLPRI

struct memory {
	void *at;
	size_t bytes;
};

struct poll_set {
	struct wait_hold hold;
	struct pollfd *fds; /* the program's */
	nfds_t n;
	bool select;             /* select() ignores POLLHUP and POLLERR for some of its sets */
	struct mux_file **files; /* per entry: ours, or NULL */
	struct pollfd *kernel;   /* the kernel's half, with a bell for each that is undecided, and what a sleep adds */
	uint32_t *kernel_at;     /* entry of fds that it belongs to; BELL: to none, it is a decision's */
	nfds_t kernel_n;
	struct wait_link *link; /* of the engine sockets; NULL: none is alive */
	bool nested;            /* an epoll set with engine members is among them */
	nfds_t awaited;         /* sockets among them that are undecided, */
	bool decided;           /* and one of these is no more */
	struct memory memory;   /* of more than SMALL entries */
	struct mux_file *small_files[SMALL];
	struct pollfd small_kernel[2 * SMALL + WAIT_OWN_FDS];
	uint32_t small_at[2 * SMALL];
};
#define BELL UINT32_MAX

/* Whether the kernel alone cannot answer for the descriptor. */
static bool file_is_special(const struct mux_file *f)
{
	return f->rec != NULL || mux_is_awaited(f) || (f->ep != NULL && ep_has_members(f->ep));
}

static bool fd_is_special(int fd)
{
	struct mux_file *f = fd >= 0 ? mux_file_get(fd) : NULL;
	bool special;

	if (!f)
		return false;
	special = file_is_special(f);
	mux_file_put(f);
	return special;
}

/* What of ready counts for entry i. */
static uint32_t set_accepts(const struct poll_set *ps, nfds_t i)
{
	uint32_t events = (uint16_t)ps->fds[i].events;

	if (!ps->select)
		return events | POLLERR | POLLHUP | POLLNVAL;
	if (events & POLLIN)
		events |= POLLHUP | POLLERR;
	if (events & POLLOUT)
		events |= POLLERR;
	return events | POLLNVAL;
}

static __thread struct memory left_memory __attribute__((tls_model("initial-exec"))); /* of a call that was left */

static bool set_memory(struct poll_set *ps)
{
	size_t each = sizeof(*ps->files) + 2 * sizeof(*ps->kernel) + 2 * sizeof(*ps->kernel_at);
	char *at;

	ps->files = ps->small_files;
	ps->kernel = ps->small_kernel;
	ps->kernel_at = ps->small_at;
	ps->memory = (struct memory){0};
	if (ps->n <= SMALL)
		return true;
	ps->memory.bytes = ps->n * each + WAIT_OWN_FDS * sizeof(*ps->kernel);
	at = ps->memory.at = memory_get(ps->memory.bytes);
	if (!at)
		return false;
	ps->files = (struct mux_file **)(void *)at;
	at += ps->n * sizeof(*ps->files);
	ps->kernel = (struct pollfd *)(void *)at;
	at += (2 * ps->n + WAIT_OWN_FDS) * sizeof(*ps->kernel);
	ps->kernel_at = (uint32_t *)(void *)at;
	return true;
}

static void set_add_kernel(struct poll_set *ps, nfds_t i)
{
	ps->kernel[ps->kernel_n] =
		(struct pollfd){.fd = ps->fds[i].fd, .events = ps->fds[i].events};
	ps->kernel_at[ps->kernel_n++] = (uint32_t)i;
}

/* Splits the entries. False: no memory. */
static bool set_open(struct poll_set *ps)
{
	if (!set_memory(ps))
		return false;
	ps->kernel_n = 0;
	ps->link = NULL;
	ps->nested = ps->decided = false;
	ps->awaited = 0;
	for (nfds_t i = 0; i < ps->n; i++) {
		struct mux_file *f = ps->fds[i].fd >= 0 ? mux_file_get(ps->fds[i].fd) : NULL;

		if (f && !file_is_special(f)) {
			mux_file_put(f);
			f = NULL;
		}
		ps->files[i] = f;
		ps->fds[i].revents = 0;
		if (f && f->rec && !__atomic_load_n(&f->link->dead, __ATOMIC_RELAXED))
			ps->link = f->link;
		if (f && f->ep)
			ps->nested = true;
		if (f && !f->rec && !f->ep)
			ps->awaited++;
		if (ps->fds[i].fd >= 0 && (!f || !f->rec || f->both))
			set_add_kernel(ps, i);
	}
	return true;
}

static void set_close(struct poll_set *ps)
{
	for (nfds_t i = 0; i < ps->n; i++) {
		if (ps->files[i])
			mux_file_put(ps->files[i]);
	}
	memory_put(ps->memory.at, ps->memory.bytes);
}

/* The memory stays until the next call: this one may go on for another look. */
static void set_give(struct wait_hold *hold)
{
	struct poll_set *ps = (struct poll_set *)(void *)hold;

	for (nfds_t i = 0; i < ps->n; i++) {
		if (ps->files[i])
			mux_file_put(ps->files[i]);
		ps->files[i] = NULL;
	}
	memory_put(left_memory.at, left_memory.bytes);
	left_memory = ps->memory;
}

/* Looks at the engine's sockets; returns whether one is ready. */
static bool set_look(struct poll_set *ps)
{
	bool any = false;

	for (nfds_t i = 0; i < ps->n; i++) {
		const struct mux_file *f = ps->files[i];
		uint32_t ready;

		if (!f || !f->rec)
			continue;
		ready = wait_ready_want(f, (uint16_t)ps->fds[i].events) & set_accepts(ps, i);
		ps->fds[i].revents = (short)ready;
		any = any || ready != 0;
	}
	return any;
}

/* Brings the kernel's view of epoll sets up to date. */
static void set_sync(struct poll_set *ps)
{
	for (nfds_t i = 0; ps->nested && i < ps->n; i++) {
		if (ps->files[i] && ps->files[i]->ep)
			ep_sync(ps->files[i]->ep, ps->fds[i].fd);
	}
}

/* Takes over what ppoll() wrote into the kernel's half; returns whether anything of it counts. */
static bool set_merge(struct poll_set *ps)
{
	bool any = false;

	for (nfds_t k = 0; k < ps->kernel_n; k++) {
		nfds_t i = ps->kernel_at[k];
		uint32_t ready;

		if (i == BELL) {
			ps->decided = ps->decided || ps->kernel[k].revents != 0;
			continue;
		}
		ready = (uint16_t)ps->kernel[k].revents & set_accepts(ps, i);
		if (ready == 0 && ps->kernel[k].revents != 0 && ps->kernel[k].fd >= 0)
			/* select() waits for nothing but urgent data here, and there is an end
			 * or an error instead: asked again, ppoll() would return at once. */
			ps->kernel[k].fd = -1;
		ps->fds[i].revents = (short)((uint16_t)ps->fds[i].revents | ready);
		any = any || ready != 0;
	}
	return any;
}

/* Looks at the kernel's half without waiting. > 0: something is ready, 0, -errno. */
static int set_look_kernel(struct poll_set *ps, const sigset_t *mask)
{
	int n, looks = 0;

	if (ps->kernel_n == 0 && !mask)
		return 0;
	/* A nested set's bell may have rung just behind its sync, for nothing that the set reports: asked twice. */
	do {
		struct timespec none = {0, 0};

		set_sync(ps);
		n = real_ppoll(ps->kernel, ps->kernel_n, &none, mask);
	} while (n > 0 && ps->nested && ++looks < 2);
	if (n < 0)
		return -errno;
	return n > 0 && set_merge(ps) ? 1 : 0;
}

/* One sleep; 1: something is ready, 0: look again, -errno. */
static int set_sleep(
	struct poll_set *ps, struct wait_lane *w, uint64_t deadline_ns, const sigset_t *mask)
{
	bool any;
	int n;

	if (w) {
		wait_set_arm(w->set, &w->armed);
		wait_set_drain(ps->link->seg, w->set);
	}
	any = set_look(ps);
	n = 0;
	if (!any) {
		set_sync(ps);
		n = wait_lane_sleep(w, ps->link, ps->kernel, ps->kernel_n, deadline_ns, mask);
	}
	if (w)
		wait_set_disarm(w->set);
	if (n < 0)
		return n;
	any = set_look(ps);
	/* Sets nested in ours may have woken us for what is gone again: asked once more. */
	if (n > 0 && ps->nested)
		n = set_look_kernel(ps, NULL);
	else if (n > 0)
		n = set_merge(ps);
	else if (any)
		n = set_look_kernel(ps, NULL);
	return any ? 1 : n;
}

/* As for one socket (wait.c, try_begins()): a number now names something else, or nothing. */
static bool set_is_stale(const struct poll_set *ps)
{
	for (nfds_t i = 0; i < ps->n; i++) {
		if (ps->files[i] && !mux_file_is_open(ps->files[i]))
			return true;
	}
	return false;
}

/* What may still become the engine's says so when it does. */
static void set_add_bells(struct poll_set *ps)
{
	nfds_t still = 0;

	for (nfds_t i = 0; ps->awaited && i < ps->n; i++) {
		if (!ps->files[i] || !mux_is_awaited(ps->files[i]))
			continue;
		ps->kernel[ps->kernel_n] =
			(struct pollfd){.fd = mux_decision_bell(ps->files[i]), .events = POLLIN};
		ps->kernel_at[ps->kernel_n++] = BELL;
		still += mux_is_awaited(ps->files[i]);
	}
	ps->decided = still != ps->awaited;
}

#define SET_STALE (-ESTALE) /* to be opened again */

/* Nothing was ready at the first look. The time that is left, for who waits again. */
static int set_wait(struct poll_set *ps, uint64_t *timeout_ns, const sigset_t *mask)
{
	struct wait_lane *w = ps->link ? mux_lane(ps->link) : NULL;
	struct wait_slow slow;
	uint32_t turns = 0;
	int result;

	for (nfds_t i = 0; w && i < ps->n; i++) {
		if (ps->files[i] && ps->files[i]->rec && !wait_watch(w, ps->files[i]))
			w = NULL;
	}
	set_add_bells(ps);
	wait_slow_begin(&slow, ps->link, w ? w->worker : 0, WAIT_FOREVER, *timeout_ns);
	do {
		result = set_look(ps);
		if (result || turns++ % KERNEL_LOOK_TURNS == 0) {
			int n = set_look_kernel(ps, NULL);

			result = result ? result : n;
		}
	} while (result == 0 && wait_slow_spin(&slow));
	if (result == 0)
		result = wait_slow_signal(&slow);
	if (result == 0 && (ps->decided || set_is_stale(ps)))
		result = SET_STALE;
	while (result == 0) {
		result = set_sleep(ps, w, slow.deadline_ns, mask ? mask : &slow.old);
		if (result == 0 && ps->decided)
			result = SET_STALE;
		if (result == 0 && slow.deadline_ns != WAIT_FOREVER && wait_now_ns() >= slow.deadline_ns)
			break;
	}
	if (result == SET_STALE && slow.deadline_ns != WAIT_FOREVER) {
		uint64_t now = wait_now_ns();

		*timeout_ns = slow.deadline_ns > now ? slow.deadline_ns - now : 1;
	}
	wait_slow_end(&slow);
	return result;
}

/* timeout 0: look only. Returns how many entries are ready, or -errno. */
static int poll_once(struct pollfd *fds, nfds_t n, bool is_select, uint64_t *timeout_ns, const sigset_t *mask)
{
	struct poll_set ps;
	int result, count = 0;

	ps.fds = fds;
	ps.n = n;
	ps.select = is_select;
	if (!set_open(&ps))
		return -ENOMEM;
	if (ps.link)
		wait_link_check(ps.link);
	wait_batch_flush(ps.link);
	result = set_look(&ps);
	if (!result && *timeout_ns == 0 && ps.link && wait_turn(ps.link))
		result = set_look(&ps);
	if (result || *timeout_ns == 0) {
		/* Signals that the mask lets through end a call that finds nothing. */
		int n_kernel = set_look_kernel(&ps, result ? NULL : mask);

		result = result ? result : n_kernel;
	} else {
		wait_hold_begin(&ps.hold, set_give);
		result = set_wait(&ps, timeout_ns, mask);
		if (!wait_hold_end(&ps.hold)) /* by a handler */
			return -EINTR;
	}
	for (nfds_t i = 0; result >= 0 && i < n; i++)
		count += fds[i].revents != 0;
	set_close(&ps);
	wait_batch.news = (uint32_t)count;
	return result < 0 ? result : count;
}

/* The whole call. */
static int poll_mixed(struct pollfd *fds, nfds_t n, bool is_select, uint64_t timeout_ns, const sigset_t *mask)
{
	int result;

	do
		result = poll_once(fds, n, is_select, &timeout_ns, mask);
	while (result == SET_STALE);
	return result;
}

static int with_errno(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

static bool timeout_is_bad(const struct timespec *timeout)
{
	return timeout &&
	       (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000);
}

static bool fds_are_special(const struct pollfd *fds, nfds_t n)
{
	if (call_bad_pointer(fds))
		return false;
	for (nfds_t i = 0; i < n; i++) {
		if (fd_is_special(fds[i].fd))
			return true;
	}
	return false;
}

int shim_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};

	if (!fds_are_special(fds, n))
		return real_poll(fds, n, timeout_ms);
	return with_errno(
		poll_mixed(fds, n, false, wait_timeout_of(timeout_ms < 0 ? NULL : &timeout), NULL));
}

int shim_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	if (timeout_is_bad(timeout) || !fds_are_special(fds, n))
		return real_ppoll(fds, n, timeout, mask);
	return with_errno(poll_mixed(fds, n, false, wait_timeout_of(timeout), mask));
}

int shim___poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t bytes)
{
	if (bytes / sizeof(*fds) < n)
		return real___poll_chk(fds, n, timeout_ms, bytes);
	return shim_poll(fds, n, timeout_ms);
}

int shim___ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
	const sigset_t *mask, size_t bytes)
{
	if (bytes / sizeof(*fds) < n)
		return real___ppoll_chk(fds, n, timeout, mask, bytes);
	return shim_ppoll(fds, n, timeout, mask);
}

/* --- select ------------------------------------------------------------------------------------
 */

#define WORD_BITS (8 * (int)sizeof(fd_mask))

/* The program's sets may be longer than an fd_set: words, as the kernel sees them. */
static bool bit_get(const fd_set *set, int fd)
{
	const fd_mask *words = (const fd_mask *)(const void *)set;

	return set && (((unsigned long)words[fd / WORD_BITS] >> (fd % WORD_BITS)) & 1);
}

static void bit_set(fd_set *set, int fd)
{
	fd_mask *words = (fd_mask *)(void *)set;

	words[fd / WORD_BITS] =
		(fd_mask)((unsigned long)words[fd / WORD_BITS] | 1ul << (fd % WORD_BITS));
}

static void bits_clear(fd_set *set, int n)
{
	if (set)
		memset(set, 0, (size_t)((n + WORD_BITS - 1) / WORD_BITS) * sizeof(fd_mask));
}

static short select_events(int fd, const fd_set *in, const fd_set *out, const fd_set *ex)
{
	return (short)((bit_get(in, fd) ? SELECT_IN : 0) | (bit_get(out, fd) ? SELECT_OUT : 0) |
		       (bit_get(ex, fd) ? SELECT_EX : 0));
}

/* How many descriptors are named, and whether one of them is ours. */
static int select_count(int n, const fd_set *in, const fd_set *out, const fd_set *ex, bool *special)
{
	int count = 0;

	*special = false;
	for (int fd = 0; fd < n; fd++) {
		if (!select_events(fd, in, out, ex))
			continue;
		count++;
		*special = *special || fd_is_special(fd);
	}
	return count;
}

/* Turns the answer into bits. -EBADF when an entry is no descriptor: then the sets stay. */
static int select_answer(
	const struct pollfd *fds, int count, int n, fd_set *in, fd_set *out, fd_set *ex)
{
	int bits = 0;

	for (int i = 0; i < count; i++) {
		if (fds[i].revents & POLLNVAL)
			return -EBADF;
	}
	bits_clear(in, n);
	bits_clear(out, n);
	bits_clear(ex, n);
	for (int i = 0; i < count; i++) {
		int events = fds[i].events, ready = fds[i].revents;

		if ((events & POLLIN) && (ready & (SELECT_IN | POLLHUP | POLLERR))) {
			bit_set(in, fds[i].fd);
			bits++;
		}
		if ((events & POLLOUT) && (ready & (SELECT_OUT | POLLERR))) {
			bit_set(out, fds[i].fd);
			bits++;
		}
		if ((events & POLLPRI) && (ready & SELECT_EX)) {
			bit_set(ex, fds[i].fd);
			bits++;
		}
	}
	return bits;
}

static int select_mixed(int n, int count, fd_set *in, fd_set *out, fd_set *ex, uint64_t timeout_ns,
	const sigset_t *mask)
{
	struct pollfd small[SMALL], *fds = small;
	int i = 0, result;

	if (count > SMALL) {
		fds = memory_get((size_t)count * sizeof(*fds));
		if (!fds)
			return -ENOMEM;
	}
	for (int fd = 0; fd < n && i < count; fd++) {
		short events = select_events(fd, in, out, ex);

		if (events)
			fds[i++] = (struct pollfd){.fd = fd, .events = events};
	}
	result = poll_mixed(fds, (nfds_t)i, true, timeout_ns, mask);
	if (result >= 0)
		result = select_answer(fds, i, n, in, out, ex);
	if (fds != small)
		memory_put(fds, (size_t)count * sizeof(*fds));
	return result;
}

/* As Linux: what is left of it; nothing when it ran out. No call takes no time at all. */
static void timeout_left(struct timeval *timeout, uint64_t ns, uint64_t begin_ns, int result)
{
	uint64_t took = wait_coarse_ns() - begin_ns + 1000, left = result == 0 || took > ns ? 0 : ns - took;

	timeout->tv_sec = (time_t)(left / 1000000000u);
	timeout->tv_usec = (suseconds_t)(left % 1000000000u / 1000);
}

int shim_select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout)
{
	struct timespec span = {0, 0};
	uint64_t ns = WAIT_FOREVER, begin = 0;
	bool special = false;
	int count = select_count(n, in, out, ex, &special), result;

	if (n < 0 || !special || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
		return real_select(n, in, out, ex, timeout);
	if (timeout) {
		span.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		span.tv_nsec = timeout->tv_usec % 1000000 * 1000;
		ns = wait_timeout_of(&span);
		begin = wait_coarse_ns();
	}
	result = select_mixed(n, count, in, out, ex, ns, NULL);
	if (timeout && ns != WAIT_FOREVER)
		timeout_left(timeout, ns, begin, result);
	return with_errno(result);
}

int shim_pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
	const sigset_t *mask)
{
	bool special = false;
	int count = select_count(n, in, out, ex, &special);

	if (n < 0 || !special || timeout_is_bad(timeout))
		return real_pselect(n, in, out, ex, timeout, mask);
	return with_errno(select_mixed(n, count, in, out, ex, wait_timeout_of(timeout), mask));
}
