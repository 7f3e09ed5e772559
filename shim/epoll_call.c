/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoll_wait, epoll_pwait, epoll_pwait2 as the program calls them: arguments, timeouts, and which
 * half of an instance has to answer. Owns: nothing. Waiting itself is epoll_wait.c's. See epoll.h.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "shim/epoll.h"
#include "shim/real.h"

#define EVENTS_MAX ((int)(INT_MAX / sizeof(struct epoll_event)))

/* In ns; WAIT_FOREVER. */
static uint64_t timeout_of_ms(int timeout_ms)
{
	return timeout_ms < 0 ? WAIT_FOREVER : (uint64_t)timeout_ms * 1000000u;
}

/* How the program asked; the kernel gets the same when it alone is concerned. */
struct call {
	enum { CALL_WAIT, CALL_PWAIT, CALL_PWAIT2 } kind;
	int timeout_ms;
	const struct timespec *timeout;
	const sigset_t *mask;
};

static int call_real(const struct call *call, int epfd, struct epoll_event *out, int max)
{
	switch (call->kind) {
	case CALL_WAIT:
		return real_epoll_wait(epfd, out, max, call->timeout_ms);
	case CALL_PWAIT:
		return real_epoll_pwait(epfd, out, max, call->timeout_ms, call->mask);
	case CALL_PWAIT2:
		break;
	}
	return real_epoll_pwait2(epfd, out, max, call->timeout, call->mask);
}

static int call_alone(const struct call *call, int epfd, struct epoll_event *out, int max)
{
	int n;

	pthread_cleanup_push(wait_cancelled, NULL);
	n = call_real(call, epfd, out, max);
	pthread_cleanup_pop(0);
	return n;
}

static bool call_is_bad(const struct call *call, const struct epoll_event *out, int max)
{
	const struct timespec *t = call->timeout;

	return max <= 0 || max > EVENTS_MAX || !out ||
	       (t && (t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000));
}

static int call_ep(
	const struct call *call, struct ep *ep, int epfd, struct epoll_event *out, int max)
{
	struct ep_sleeper s;
	uint64_t timeout;
	int n;

	if (call_is_bad(call, out, max))
		return call_real(call, epfd, out, max);
	timeout = call->kind == CALL_PWAIT2 ? wait_timeout_of(call->timeout) : timeout_of_ms(call->timeout_ms);
	if (ep_kernel_wait_begin(ep, &s)) {
		int came = call_alone(call, epfd, out, max);

		n = ep_kernel_wait_end(ep, &s, epfd, out, came);
		if (came < 0 || n > 0 || !ep_has_members(ep))
			return n;
	}
	n = ep_wait(ep, epfd, out, max, timeout, call->mask);
	wait_batch.news = n > 0 ? (uint32_t)n : 0;
	return ep_result(n);
}

/* The instance that a call waits on. */
struct call_hold {
	struct wait_hold hold;
	struct ep *ep;
	struct mux_file *file;
};

static void call_give(struct wait_hold *hold)
{
	struct call_hold *h = (struct call_hold *)(void *)hold;

	ep_leave(h->ep, h->file);
}

static int call_any(const struct call *call, int epfd, struct epoll_event *out, int max)
{
	struct mux_file *file;
	struct ep *ep = ep_enter(epfd, &file);
	struct call_hold h = {.ep = ep, .file = file};
	int n;

	if (!ep)
		return call_real(call, epfd, out, max);
	wait_hold_begin(&h.hold, call_give);
	n = call_ep(call, ep, epfd, out, max);
	if (wait_hold_end(&h.hold))
		ep_leave(ep, file);
	return n;
}

int shim_epoll_wait(int epfd, struct epoll_event *out, int max, int timeout_ms)
{
	struct call call = {.kind = CALL_WAIT, .timeout_ms = timeout_ms};

	return call_any(&call, epfd, out, max);
}

int shim_epoll_pwait(
	int epfd, struct epoll_event *out, int max, int timeout_ms, const sigset_t *mask)
{
	struct call call = {.kind = CALL_PWAIT, .timeout_ms = timeout_ms, .mask = mask};

	return call_any(&call, epfd, out, max);
}

int shim_epoll_pwait2(int epfd, struct epoll_event *out, int max, const struct timespec *timeout,
	const sigset_t *mask)
{
	struct call call = {.kind = CALL_PWAIT2, .timeout = timeout, .mask = mask};

	return call_any(&call, epfd, out, max);
}
