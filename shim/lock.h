/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock for what is rare. Signals stay out while it is held: a handler that wants it would wait for itself. And a
 * thread that is cancelled goes on until it has let go.
 */
#ifndef CULVERT_SHIM_LOCK_H
#define CULVERT_SHIM_LOCK_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>

struct quiet_lock {
	uint32_t word;
	sigset_t mask; /* the holder's, as they were */
	int cancel;
};

static inline void quiet_lock(struct quiet_lock *l)
{
	sigset_t all, old;
	int cancel;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	while (__atomic_exchange_n(&l->word, 1, __ATOMIC_ACQUIRE))
		sched_yield();
	l->mask = old;
	l->cancel = cancel;
}

/* errno stays as it is. */
static inline void quiet_unlock(struct quiet_lock *l)
{
	sigset_t old = l->mask;
	int saved = errno, cancel = l->cancel;

	__atomic_store_n(&l->word, 0, __ATOMIC_RELEASE);
	pthread_setcancelstate(cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = saved;
}

#endif
