/* SPDX-License-Identifier: BSD-3-Clause */
/* Engine sockets between processes of a group; see pass.c. */
#ifndef CULVERT_SHIM_PASS_H
#define CULVERT_SHIM_PASS_H

#include "shim/sock.h"

/* Gives f's numbers a kernel socket of their own, so that it can be told from others. */
void pass_own_shadow(struct file *f);
/* Of a wildcard socket the shadow is bound as well: the kernel serves it, too, unless it is connected. content: what was made of
 * fd here, with its record. */
void pass_half(int fd, struct file *content);
/* Before a message goes out over a kernel socket, when it could not, and after one has come (by recvmsg with flags).
 * errno stays. */
void pass_sent(const struct msghdr *msg);
void pass_failed(const struct msghdr *msg);
void pass_received(const struct msghdr *msg, int flags);

#endif
