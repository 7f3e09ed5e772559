/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptors of an engine inside a program.
 *
 * DPDK and we open descriptors where the program would see them: in a loop that closes all numbers, or as a number
 * that its dup2 takes. The module is linked so that the calls which make descriptors come here (dpdk/meson.build):
 * each is moved out of the program's sight. Signals and the system log of the process stay the program's: what a
 * driver asks of them is not done.
 * Called by: inline.c; everything else in the module by the linker's doing.
 */
#ifndef CULVERT_DPDK_INLINE_H
#define CULVERT_DPDK_INLINE_H

#include "stack/api/inline.h"

void inline_fd_host(const struct cv_inline_host *host);
/* In a fork's child. */
void inline_fd_close_all(void);

#endif
