/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork and daemon: the child holds what the parent holds, by a control connection of its own.
 * vfork is served as fork, whose child cannot damage its parent's memory. exec is in exec.c.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/fd.h"
#include "shim/inline.h"
#include "shim/lane.h"
#include "shim/real.h"
#include "shim/sock.h"
#include "shim/stream.h"

pid_t shim_fork(void)
{
	pid_t pid;

	sock_fork_prepare();
	inline_fork_prepare();
	/* Locks in the order in which they are taken elsewhere. */
	mux_fork_prepare();
	link_fork_prepare();
	stream_fork_prepare();
	pid = real_fork();
	stream_fork_done();
	if (pid == 0) {
		link_fork_child();
		lane_fork_child();
		sock_fork_child();
		fd_fork_child();
		mux_fork_child();
		return pid;
	}
	link_fork_parent();
	mux_fork_parent();
	return pid;
}

int shim_daemon(int keep_directory, int keep_output)
{
	pid_t pid = shim_fork();
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

void shim__exit(int status)
{
	inline_end();
	real__exit(status);
}
