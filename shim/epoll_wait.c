/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting on an instance: looking at both halves of it and sleeping in the kernel's. Called by
 * epoll_call.c and poll.c. Owns: nothing. See epoll.h for the whole.
 *
 * The kernel's half is looked at when ours has nothing, and while ours is busy
 * at every tick of the coarse clock, or after KERNEL_LOOK_LOOKS looks that were faster than that; who goes first
 * alternates, so that neither starves, even with room for one event.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "shim/atomic.h"
#include "shim/epoll.h"
#include "shim/real.h"

#define KERNEL_LOOK_LOOKS 16

/* One look at both halves as far as they are due. */
static int ep_look(struct ep *ep, int epfd, struct epoll_event *out, int max, uint32_t batch)
{
	bool due = false, kernel_first = false;
	int n = 0, more;

	if (LOAD(ep->kernel_n) > 0) {
		uint64_t now = wait_coarse_ns();

		due = now != LOAD(ep->kernel_looked_ns) || LOAD(ep->kernel_skipped) >= KERNEL_LOOK_LOOKS;
		STORE(ep->kernel_skipped, due ? 0 : LOAD(ep->kernel_skipped) + 1);
		if (due)
			STORE(ep->kernel_looked_ns, now);
		kernel_first = due && !LOAD(ep->kernel_turn);
		STORE(ep->kernel_turn, kernel_first);
	}
	if (kernel_first) {
		n = ep_look_kernel(ep, epfd, out, max, batch);
		if (n < 0)
			return n;
	}
	n += ep_harvest(ep, out + n, max - n, batch);
	if (!due || kernel_first)
		return n;
	if (n == max) {
		/* No room this time: first next time. */
		STORE(ep->kernel_looked_ns, 0);
		return n;
	}
	more = ep_look_kernel(ep, epfd, out + n, max - n, batch);
	ep_pass_on(ep);
	return more < 0 && n == 0 ? more : n + (more > 0 ? more : 0);
}

/* Our own engine's sleep besides the program's. */
static int kernel_sleep_inside(const struct wait_link *link, int epfd, struct epoll_event *out, int max,
	uint64_t deadline_ns, const sigset_t *mask)
{
	struct pollfd fds[2] = {{.fd = epfd, .events = POLLIN}};
	int n = wait_sleep(link, fds, 1, deadline_ns, mask);

	if (n <= 0 || !fds[0].revents)
		return n < 0 ? n : 0;
	n = real_epoll_wait(epfd, out, max, 0);
	return n < 0 ? -errno : n;
}

static int kernel_sleep_alone(
	int epfd, struct epoll_event *out, int max, const struct timespec *timeout, const sigset_t *mask)
{
	int n;

	pthread_cleanup_push(wait_cancelled, NULL);
	if (!timeout)
		n = real_epoll_pwait(epfd, out, max, -1, mask);
	else
		n = real_epoll_pwait2(epfd, out, max, timeout, mask);
	if (n < 0 && errno == ENOSYS && timeout) {
		/* Before Linux 5.11: milliseconds, rounded up. */
		int64_t ms = (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;

		n = real_epoll_pwait(epfd, out, max, ms > INT_MAX ? INT_MAX : (int)ms, mask);
	}
	pthread_cleanup_pop(0);
	return n < 0 ? -errno : n;
}

static int kernel_sleep(
	const struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t deadline_ns, const sigset_t *mask)
{
	const struct wait_link *link = LOAD(ep->link);
	struct timespec left;

	if (link && LOAD(link->inside))
		return kernel_sleep_inside(link, epfd, out, max, deadline_ns, mask);
	return kernel_sleep_alone(epfd, out, max, wait_left(deadline_ns, &left), mask);
}

static void sleeper_count(struct ep *ep, int change)
{
	bool locked = ep_lock(&ep->lock);

	__atomic_fetch_add(&ep->sleepers, (uint32_t)change, __ATOMIC_SEQ_CST);
	if (ep->set)
		ep_rearm(ep);
	ep_unlock(&ep->lock, locked);
}

static void sleeper_give(struct wait_hold *hold)
{
	struct ep *ep = ((struct ep_sleeper *)(void *)hold)->ep;

	sleeper_count(ep, -1);
	ep_pass_on(ep); /* it may have been woken, and looks no more */
}

/* It is counted. */
static void sleeper_hold(struct ep_sleeper *s, struct ep *ep)
{
	s->ep = ep;
	wait_hold_begin(&s->hold, sleeper_give);
}

static void sleeper_end(struct ep_sleeper *s)
{
	if (wait_hold_end(&s->hold))
		sleeper_count(s->ep, -1);
}

/* Arms, looks, sleeps. Events, 0: look at the clock, -errno. */
static int ep_sleep(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t deadline_ns,
	const sigset_t *mask, uint32_t batch)
{
	struct ep_sleeper s;
	int n;

	sleeper_count(ep, 1);
	sleeper_hold(&s, ep);
	n = ep_harvest(ep, out, max, batch);
	if (n == 0) {
		if (LOAD(ep->nested_n)) {
			bool locked = ep_lock(&ep->lock);

			ep_sync_nested(ep);
			ep_unlock(&ep->lock, locked);
		}
		n = kernel_sleep(ep, epfd, out, max, deadline_ns, mask);
		sleeper_end(&s);
		n = ep_filter(ep, epfd, out, n, batch);
	} else {
		sleeper_end(&s);
	}
	if (n < 0 || n == max)
		return n;
	return n + ep_harvest(ep, out + n, max - n, batch);
}

static int ep_slow(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t timeout_ns,
	const sigset_t *mask, uint32_t batch)
{
	struct wait_slow slow;
	int n;

	wait_slow_begin(&slow, ep->link, 0, WAIT_FOREVER, timeout_ns);
	do
		n = ep_look(ep, epfd, out, max, batch);
	while (n == 0 && wait_slow_spin(&slow));
	if (n == 0)
		n = wait_slow_signal(&slow);
	while (n == 0) {
		n = ep_sleep(ep, epfd, out, max, slow.deadline_ns, mask ? mask : &slow.old, batch);
		if (n == 0 && slow.deadline_ns != WAIT_FOREVER && wait_now_ns() >= slow.deadline_ns)
			break;
	}
	wait_slow_end(&slow);
	return n;
}

int ep_wait(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t timeout_ns,
	const sigset_t *mask)
{
	uint32_t batch = __atomic_add_fetch(&ep->batch, 1, __ATOMIC_RELAXED);
	struct wait_link *link = LOAD(ep->link);
	int n;

	wait_batch_flush(link);
	n = ep_look(ep, epfd, out, max, batch);
	if (n == 0 && timeout_ns == 0 && link && wait_turn(link))
		n = ep_look(ep, epfd, out, max, batch);
	if (n != 0)
		return n;
	if (link)
		wait_link_check(link);
	if (timeout_ns != 0)
		return ep_slow(ep, epfd, out, max, timeout_ns, mask, batch);
	if (mask) {
		/* A signal that the mask lets through ends the call, though it does not wait. */
		n = real_epoll_pwait(epfd, out, max, 0, mask);
		n = n < 0 ? -errno : ep_filter(ep, epfd, out, n, batch);
	} else if (LOAD(ep->kernel_n) > 0) {
		n = ep_look_kernel(ep, epfd, out, max, batch);
	}
	ep_pass_on(ep);
	return n;
}

bool ep_kernel_wait_begin(struct ep *ep, struct ep_sleeper *s)
{
	if (ep_has_members(ep))
		return false;
	__atomic_fetch_add(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	if (!ep_has_members(ep)) {
		sleeper_hold(s, ep);
		return true;
	}
	__atomic_fetch_sub(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	return false;
}

int ep_kernel_wait_end(struct ep *ep, struct ep_sleeper *s, int epfd, struct epoll_event *out, int n)
{
	int saved = errno;

	/* Members came while it slept: then what comes next must see the bell re-armed. */
	sleeper_end(s);
	if (ep_has_members(ep))
		n = ep_filter(ep, epfd, out, n, __atomic_add_fetch(&ep->batch, 1, __ATOMIC_RELAXED));
	ep_pass_on(ep);
	errno = saved;
	return n;
}
