/* SPDX-License-Identifier: BSD-3-Clause */
/* Who gets signals about an engine socket, and sending them: see sigio_send.c. */
#ifndef CULVERT_SHIM_SIGIO_SEND_H
#define CULVERT_SHIM_SIGIO_SEND_H

#include <stdbool.h>
#include <sys/types.h>

#include "stack/api/segment.h"

struct sigio_owner {
	pid_t id; /* 0: none */
	int kind; /* F_OWNER_* */
	int sig;  /* F_SETSIG; 0: SIGIO without queued information */
	int fd;   /* as which O_ASYNC was set */
};

struct sigio_owner sigio_owner_load(const struct cv_sock *rec);
/* From then on this process sends. */
void sigio_owner_store(struct cv_sock *rec, const struct sigio_owner *o);
/* Whether this process is the one that sends: it becomes that when the one that was is over. */
bool sigio_owner_is_served_here(struct cv_sock *rec);
/* SIGIO, SIGURG: nothing comes with them. By a thread that has all signals blocked. */
void sigio_send_plain(const struct sigio_owner *o, int sig);
/* The signal that was asked for, code: POLL_IN and so on. As send_sigio() of Linux: when no more can be queued a plain
 * SIGIO says that something was lost. */
void sigio_send_async(const struct sigio_owner *o, int code);

#endif
