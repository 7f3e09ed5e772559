/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting on a datagram socket of which it is not known yet who serves it: another thread's bind, connect or first
 * datagram may make it the engine's while this one sleeps, and nothing for it ever comes to the kernel then. (A stream
 * has nothing to wait for before it is connected; epoll's members move over by themselves, epoll.c.)
 *
 * Owns: a file's bell, which is made by the first who waits and rung, once and for all, by the decision. Called by:
 * call.c, poll.c, decide.c, fd.c.
 */
#include "shim/undecided.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/time.h>

#include "shim/atomic.h"
#include "shim/handler.h"
#include "shim/real.h"

bool mux_is_awaited(const struct mux_file *f)
{
	return f->undecided && ((const struct file *)(const void *)f)->type == SOCK_DGRAM;
}

int mux_decision_bell(struct mux_file *file)
{
	struct file *f = (struct file *)(void *)file;
	int none = 0, bell = LOAD_ACQUIRE(f->decision_bell), made;

	if (bell == 0) {
		made = mux_internal_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
		if (made < 0)
			return -1;
		if (__atomic_compare_exchange_n(
			    &f->decision_bell, &none, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			bell = made;
		} else {
			mux_internal_close(made);
			bell = none;
		}
	}
	FENCE(); /* either the decision sees the bell, or its caller sees the decision */
	return bell;
}

void undecided_told(struct file *f)
{
	FENCE();
	if (LOAD(f->decision_bell) != 0)
		wait_bell_write(f->decision_bell);
}

void undecided_forget(struct file *f)
{
	if (f->decision_bell != 0)
		mux_internal_close(f->decision_bell);
	f->decision_bell = 0;
}

static uint64_t receive_deadline(int fd)
{
	struct timeval t = {0, 0};
	socklen_t len = sizeof(t);

	if (real_getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len) != 0)
		return WAIT_FOREVER;
	return wait_deadline((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u);
}

struct undecided_hold {
	struct wait_hold hold;
	struct file *f;
};

static void undecided_give(struct wait_hold *hold)
{
	file_put(((struct undecided_hold *)(void *)hold)->f);
}

/* One sleep: as wait_sleep's. */
static int sleep_undecided(struct file *f, struct pollfd *fds, uint64_t deadline)
{
	const struct link *l = link_now();
	struct undecided_hold h = {.f = f};
	int n;

	wait_hold_begin(&h.hold, undecided_give);
	n = wait_sleep(l ? &l->wait : NULL, fds, 2, deadline, NULL);
	if (!wait_hold_end(&h.hold))
		mux_file_hold(&f->mux);
	return n;
}

int undecided_wait(int fd, struct file *f)
{
	struct pollfd fds[2 + WAIT_OWN_FDS] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
	uint64_t deadline;
	int n = 0;

	if (real_fcntl(fd, F_GETFL) & O_NONBLOCK)
		return 0;
	fds[1].fd = mux_decision_bell(&f->mux);
	deadline = receive_deadline(fd);
	while (n == 0 && fds[1].fd >= 0 && mux_is_awaited(&f->mux)) {
		sig_atomic_t broken = signal_turn.broken;

		n = sleep_undecided(f, fds, deadline);
		if (n == 0 && deadline != WAIT_FOREVER && wait_now_ns() >= deadline)
			return -EAGAIN;
		/* A call with a time ends whatever the handler's flags say (signal(7)). */
		if (n == -EINTR && deadline == WAIT_FOREVER && signal_turn.broken == broken)
			n = 0;
	}
	return n == -EINTR ? n : 0;
}
