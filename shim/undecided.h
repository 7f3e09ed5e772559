/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiving on a datagram socket before it is decided who serves it; see undecided.c. */
#ifndef CULVERT_SHIM_UNDECIDED_H
#define CULVERT_SHIM_UNDECIDED_H

#include "shim/link.h"
#include "shim/fd.h"

/* Sleeps, if the socket is one that may, until it is decided or the kernel has something for it. 0: now receive;
 * -EAGAIN: SO_RCVTIMEO is over; -EINTR. A cancellation point. */
int undecided_wait(int fd, struct file *f);
/* It is decided: f says so already. */
void undecided_told(struct file *f);
/* The file is no more; or the process is a fork's child, whose decisions are its own. */
void undecided_forget(struct file *f);

#endif
