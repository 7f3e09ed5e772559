/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a signal about an engine socket is sent, and to whom: what the kernel would have sent, as far as it lets a
 * program. Owns: the record's words sigio_*. Does not own: when (sigio.c, whose thread calls this).
 */
#include "shim/sigio_send.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/atomic.h"
#include "shim/real.h"

/* --- what is shared: the record's words ----------------------------------------------------------- */

#define HOW(kind, sig, fd) ((uint32_t)(kind) | (uint32_t)(sig) << 2 | (uint32_t)(fd) << 9)
#define HOW_FD_BITS 23

struct sigio_owner sigio_owner_load(const struct cv_sock *rec)
{
	uint32_t id = LOAD_ACQUIRE(rec->sigio_owner), how = LOAD_ACQUIRE(rec->sigio_how);

	/* It is taken away before it is changed: what belongs to another one is not used. */
	if (LOAD(rec->sigio_owner) != id || (pid_t)id < 0)
		id = 0;
	return (struct sigio_owner){.id = (pid_t)id, .kind = how & 3, .sig = how >> 2 & 0x7f, .fd = (int)(how >> 9)};
}

void sigio_owner_store(struct cv_sock *rec, const struct sigio_owner *o)
{
	STORE_RELEASE(rec->sigio_owner, 0);
	FENCE();
	STORE_RELEASE(rec->sigio_how, HOW(o->kind, o->sig, (uint32_t)o->fd & ((1u << HOW_FD_BITS) - 1)));
	STORE_RELEASE(rec->sigio_owner, (uint32_t)o->id);
	STORE(rec->sigio_sender, (uint32_t)getpid());
}

/* Also one that nobody has waited for yet, if it is a child. No descriptor may be opened for that, here: the program's
 * next one would have another number. */
static bool process_is_over(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};

	if (kill(pid, 0) != 0 && errno == ESRCH)
		return true;
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

bool sigio_owner_is_served_here(struct cv_sock *rec)
{
	uint32_t me = (uint32_t)getpid(), sender = LOAD(rec->sigio_sender);

	if (sender == me)
		return true;
	if (sender != 0 && !process_is_over((pid_t)sender))
		return false;
	return __atomic_compare_exchange_n(&rec->sigio_sender, &sender, me, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* --- signals -------------------------------------------------------------------------------------- */

static bool sig_is_ignored(int sig)
{
	struct sigaction a;

	if (real_sigaction(sig, NULL, &a) != 0)
		return false;
	return a.sa_handler == SIG_IGN || (a.sa_handler == SIG_DFL && sig == SIGURG);
}

/* To this process, as if the kernel had sent it, which only allows that to a thread about itself: process-wide all the
 * same, and this thread takes none. But what is ignored would wake somebody, since this thread, which blocks it, is
 * asked. */
static int send_here(int sig, siginfo_t *info)
{
	if (sig_is_ignored(sig))
		return kill(getpid(), sig);
	return (int)real_syscall(SYS_rt_sigqueueinfo, gettid(), sig, info);
}

static int send_to(const struct sigio_owner *o, int sig, siginfo_t *info)
{
	bool queued = info->si_code != SI_KERNEL;
	int result;

	if (o->kind == F_OWNER_PGRP) /* -1 would be everybody */
		return o->id == 1 ? 0 : kill(-o->id, sig);
	if (o->kind == F_OWNER_PID && o->id == getpid())
		return send_here(sig, info);
	if (!queued)
		return (int)(o->kind == F_OWNER_PID ? kill(o->id, sig) : real_syscall(SYS_tkill, o->id, sig));
	info->si_code = SI_SIGIO; /* POLL_* are the kernel's alone */
	if (o->kind == F_OWNER_PID)
		return (int)real_syscall(SYS_rt_sigqueueinfo, o->id, sig, info);
	result = (int)real_syscall(SYS_rt_tgsigqueueinfo, getpid(), o->id, sig, info);
	if (result != 0 && errno == ESRCH) /* a thread of another process */
		result = (int)real_syscall(SYS_rt_sigqueueinfo, o->id, sig, info);
	return result;
}

void sigio_send_plain(const struct sigio_owner *o, int sig)
{
	siginfo_t info = {.si_signo = sig, .si_code = SI_KERNEL};

	send_to(o, sig, &info);
}

/* Those whose si_code means something else. */
static bool sig_has_codes(int sig)
{
	return sig == SIGILL || sig == SIGFPE || sig == SIGSEGV || sig == SIGBUS || sig == SIGTRAP || sig == SIGCHLD ||
	       sig == SIGSYS;
}

static long band_of(int code)
{
	switch (code) {
	case POLL_IN:
		return POLLIN | POLLRDNORM;
	case POLL_OUT:
		return POLLOUT | POLLWRNORM | POLLWRBAND;
	case POLL_ERR:
		return POLLERR;
	case POLL_PRI:
		return POLLPRI | POLLRDBAND;
	default:
		return POLLHUP | POLLERR;
	}
}

void sigio_send_async(const struct sigio_owner *o, int code)
{
	siginfo_t info = {.si_signo = o->sig};

	if (o->sig == 0) {
		sigio_send_plain(o, SIGIO);
		return;
	}
	info.si_code = sig_has_codes(o->sig) ? SI_SIGIO : code;
	info.si_band = band_of(code);
	info.si_fd = o->fd;
	if (send_to(o, o->sig, &info) != 0 && errno == EAGAIN)
		sigio_send_plain(o, SIGIO);
}
