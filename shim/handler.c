/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program's signal handlers, with one of ours before each, for two reasons.
 *
 * A wait that spins before it sleeps must end with EINTR when a handler has run meanwhile, as the
 * sleep would: the program looks at what the handler has set only then. So handlers are counted.
 *
 * A handler that interrupts its thread in the middle of a turn of an engine in this process must
 * not run there: one that leaves by longjmp would take the baton along, one that waits for the
 * engine would wait for itself. It runs a few microseconds later, when the turn is over, as if the
 * signal had come then.
 *
 * Owns: the handlers that the program has set, as the program sees them. Signals that a fault
 * raises are left alone. Called by: the program; spin.c, wait.c, lane.c and call.h around turns.
 *
 * How: within a turn the signal is blocked in the interrupted context and queued again to the
 * thread, with all that came with it; the kernel delivers it when it is unblocked.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "shim/real.h"
#include "shim/handler.h"

#define SIGNALS 65

__thread struct signal_turn signal_turn __attribute__((tls_model("initial-exec")));
static __thread uint64_t late_set __attribute__((tls_model("initial-exec"))); /* bit sig - 1 */
static struct sigaction theirs[SIGNALS];

static bool is_fault(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
	       sig == SIGTRAP || sig == SIGSYS || sig == SIGABRT;
}

static bool has_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

static void come_later(int sig, siginfo_t *info, ucontext_t *context)
{
	sigaddset(&context->uc_sigmask, sig);
	late_set |= 1ull << (sig - 1);
	signal_turn.late = 1;
	real_syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sig, info);
}

static void handler(int sig, siginfo_t *info, void *context)
{
	struct sigaction a = theirs[sig];
	int saved = errno;

	if (signal_turn.running) {
		come_later(sig, info, context);
		errno = saved;
		return;
	}
	if (!has_handler(&a))
		return; /* taken back meanwhile */
	signal_turn.handled = (sig_atomic_t)((unsigned)signal_turn.handled + 1);
	if (!(a.sa_flags & SA_RESTART))
		signal_turn.broken = (sig_atomic_t)((unsigned)signal_turn.broken + 1);
	if (a.sa_flags & (int)SA_RESETHAND) {
		const struct sigaction none = {.sa_handler = SIG_DFL};

		shim_sigaction(sig, &none, NULL);
	}
	errno = saved;
	if (a.sa_flags & SA_SIGINFO)
		a.sa_sigaction(sig, info, context);
	else
		a.sa_handler(sig);
}

void signal_run_late(void)
{
	uint64_t bits = late_set;
	sigset_t set;

	signal_turn.late = 0;
	late_set = 0;
	sigemptyset(&set);
	for (int sig = 1; sig < SIGNALS; sig++) {
		if (bits >> (sig - 1) & 1)
			sigaddset(&set, sig);
	}
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int shim_sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	struct sigaction before, ours;
	int result;

	if (sig <= 0 || sig >= SIGNALS || is_fault(sig))
		return real_sigaction(sig, action, old);
	before = theirs[sig];
	if (action)
		theirs[sig] = *action;
	if (action && has_handler(action)) {
		ours = *action;
		ours.sa_sigaction = handler;
		ours.sa_flags = (action->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
		result = real_sigaction(sig, &ours, old);
	} else {
		result = real_sigaction(sig, action, old);
	}
	if (result != 0) {
		theirs[sig] = before;
		return result;
	}
	if (old && (old->sa_flags & SA_SIGINFO) && old->sa_sigaction == handler)
		*old = before;
	return 0;
}

static uint64_t interrupting; /* siginterrupt(3) was asked for: bit sig - 1 */

static sighandler_t set_handler(int sig, struct sigaction *action)
{
	struct sigaction old;

	if (action->sa_handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	return shim_sigaction(sig, action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

static bool is_interrupting(int sig)
{
	return sig > 0 && sig < SIGNALS && (__atomic_load_n(&interrupting, __ATOMIC_RELAXED) >> (sig - 1) & 1);
}

sighandler_t shim_signal(int sig, sighandler_t new_handler)
{
	struct sigaction action = {.sa_handler = new_handler, .sa_flags = is_interrupting(sig) ? 0 : SA_RESTART};

	sigaddset(&action.sa_mask, sig);
	return set_handler(sig, &action);
}

/* What a strict program's signal() is: for one signal, which may come again meanwhile (signal(2)). */
sighandler_t shim_sysv_signal(int sig, sighandler_t new_handler)
{
	struct sigaction action = {.sa_handler = new_handler, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

	return set_handler(sig, &action);
}

int shim_siginterrupt(int sig, int flag)
{
	struct sigaction action;

	if (shim_sigaction(sig, NULL, &action) != 0)
		return -1;
	if (flag) {
		__atomic_fetch_or(&interrupting, 1ull << (sig - 1), __ATOMIC_RELAXED);
		action.sa_flags &= ~SA_RESTART;
	} else {
		__atomic_fetch_and(&interrupting, ~(1ull << (sig - 1)), __ATOMIC_RELAXED);
		action.sa_flags |= SA_RESTART;
	}
	return shim_sigaction(sig, &action, NULL);
}
