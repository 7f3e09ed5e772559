/* SPDX-License-Identifier: BSD-3-Clause */
/* Forks by their system call's number; see process.c. */
#ifndef CULVERT_SHIM_PROCESS_H
#define CULVERT_SHIM_PROCESS_H

#include <stdbool.h>

/* Whether the system call with these arguments makes a process that goes on here with memory and descriptors of its
 * own. */
bool process_is_fork(long number, const long a[6]);
/* That call, with what belongs around a fork. The result is as syscall's: -1 and errno. */
long process_fork(long number, const long a[6]);

#endif
