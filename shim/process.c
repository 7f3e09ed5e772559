/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork and daemon: the child holds what the parent holds, by a control connection of its own.
 * vfork is served as fork, whose child cannot damage its parent's memory. exec is in exec.c.
 *
 * A process that may not open descriptors any more has before what it needs (setrlimit).
 *
 * What is to be done stands next to the fork itself, where pthread_atfork(3) puts the handlers that were there first:
 * handlers of the program may use sockets, before and after, on both sides. Forks from inside libc (forkpty(3)) are
 * served that way, too. _Fork(3) and forks by number (syscall(SYS_clone)) call no handlers: it stands around them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/exec.h"
#include "shim/fd.h"
#include "shim/inline.h"
#include "shim/lane.h"
#include "shim/process.h"
#include "shim/real.h"
#include "shim/sigio.h"
#include "shim/sock.h"
#include "shim/stream.h"

static void prepare(void)
{
	exec_fork_prepare();
	sock_fork_prepare();
	inline_fork_prepare();
	/* Locks in the order in which they are taken elsewhere. */
	sigio_fork_prepare();
	mux_fork_prepare();
	link_fork_prepare();
	stream_fork_prepare();
}

/* Also when there was no child. */
static void parent(void)
{
	stream_fork_done();
	link_fork_parent();
	mux_fork_parent();
	sigio_fork_parent();
	exec_fork_done();
}

static void child(void)
{
	stream_fork_done();
	link_fork_child();
	lane_fork_child();
	sock_fork_child();
	fd_fork_child();
	mux_fork_child();
	sigio_fork_child();
	exec_fork_done();
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(prepare, parent, child);
}

static bool clone_is_fork(uint64_t flags, bool own_stack)
{
	return !own_stack && !(flags & (CLONE_VM | CLONE_FILES));
}

bool process_is_fork(long number, const long a[6])
{
	const struct clone_args *args = (const void *)a[0];

	switch (number) {
#ifdef SYS_fork /* newer architectures have only clone */
	case SYS_fork:
		return true;
#endif
	case SYS_clone:
		return clone_is_fork((uint64_t)a[0], a[1] != 0);
	case SYS_clone3:
		return !call_bad_pointer(args) && a[1] >= CLONE_ARGS_SIZE_VER0 &&
		       clone_is_fork(args->flags, args->stack != 0);
	default:
		return false;
	}
}

static void forked(long pid)
{
	int saved = errno;

	if (pid == 0)
		child();
	else
		parent();
	errno = saved;
}

long process_fork(long number, const long a[6])
{
	long pid;

	prepare();
	pid = real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	forked(pid);
	return pid;
}

pid_t shim__Fork(void)
{
	pid_t pid;

	prepare();
	pid = real__Fork();
	forked(pid);
	return pid;
}

pid_t shim_vfork(void)
{
	return fork();
}

int shim_daemon(int keep_directory, int keep_output)
{
	pid_t pid = fork();
	int null;

	if (pid < 0)
		return -1;
	if (pid > 0)
		_exit(0);
	if (setsid() < 0)
		return -1;
	if (!keep_directory && chdir("/") != 0)
		return -1;
	if (keep_output)
		return 0;
	null = open("/dev/null", O_RDWR);
	if (null < 0)
		return -1;
	for (int fd = 0; fd < 3; fd++)
		shim_dup2(null, fd);
	if (null > 2)
		quiet_close(null);
	return 0;
}

/* Bytes of address space that this process has. */
static uint64_t mapped_bytes(void)
{
	char text[64] = "";
	int fd = (int)real_syscall(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (quiet_pread(fd, text, sizeof(text) - 1, 0) < 0)
		text[0] = 0;
	quiet_close(fd);
	return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Servers lock in what serves strangers. New descriptors forbidden: one of them would be its first lane's. Little
 * memory: most of what is mapped is the segment's and the engine's, so the program gets what it allows itself on top of
 * what there is. */
static void limit_soon(int resource, rlim64_t *cur, rlim64_t *max)
{
	struct link *l = link_now();

	if (!l)
		return;
	if (resource == (int)RLIMIT_NOFILE)
		lane_prepare(l);
	if (resource != (int)RLIMIT_AS)
		return;
	if (*cur != RLIM64_INFINITY)
		*cur += mapped_bytes();
	if (*max != RLIM64_INFINITY)
		*max += mapped_bytes();
}

static bool limit_is_ours(int resource)
{
	return resource == (int)RLIMIT_NOFILE || resource == (int)RLIMIT_AS;
}

static int limit_set(pid_t pid, int resource, const struct rlimit64 *limit, struct rlimit64 *old)
{
	struct rlimit64 ours = *limit;

	limit_soon(resource, &ours.rlim_cur, &ours.rlim_max);
	if (real_prlimit64(pid, resource, &ours, old) == 0)
		return 0;
	/* Above the hard limit, which the program keeps to. */
	return errno == EPERM ? real_prlimit64(pid, resource, limit, old) : -1;
}

/* A sanitizer sets limits before it has its memory: what it wants goes past all that needs that. */
#define EARLY __attribute__((no_sanitize("address")))

EARLY int shim_setrlimit64(int resource, const struct rlimit64 *limit)
{
	return limit && limit_is_ours(resource) ? limit_set(0, resource, limit, NULL)
						: real_setrlimit64(resource, limit);
}

EARLY int shim_prlimit64(pid_t pid, int resource, const struct rlimit64 *limit, struct rlimit64 *old)
{
	return limit && limit_is_ours(resource) && (pid == 0 || pid == getpid())
		       ? limit_set(pid, resource, limit, old)
		       : real_prlimit64(pid, resource, limit, old);
}

void shim__exit(int status)
{
	inline_end();
	real__exit(status);
}
