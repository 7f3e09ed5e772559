/* SPDX-License-Identifier: BSD-3-Clause */
/* exec and posix_spawn beside fork; see exec.c. */
#ifndef CULVERT_SHIM_EXEC_H
#define CULVERT_SHIM_EXEC_H

/* Before a fork, and behind it on both sides: none is between a spawn's first and last step in another thread. */
void exec_fork_prepare(void);
void exec_fork_done(void);

#endif
