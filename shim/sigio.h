/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signal-driven I/O (fcntl(2): O_ASYNC, F_SETOWN, F_SETSIG; socket(7): SIGURG) on engine sockets: see sigio.c.
 * Functions return 0 or -errno unless they say otherwise.
 */
#ifndef CULVERT_SHIM_SIGIO_H
#define CULVERT_SHIM_SIGIO_H

#include "shim/fd.h"

/* Whether the fcntl command, the ioctl request changes who gets which signal. */
bool sigio_is_fcntl(int cmd);
bool sigio_is_ioctl(unsigned long request);
/* These, on an engine's or an undecided socket. */
int sigio_fcntl(int fd, struct file *f, int cmd, long arg);
int sigio_ioctl(int fd, struct file *f, unsigned long request, void *arg);
/* O_ASYNC as F_SETFL has it, on an engine's socket. */
void sigio_set_async(int fd, struct file *f, bool on);
/* The same on an undecided socket, of whose kernel socket it is asked for next. */
void sigio_note_async(int fd, struct file *f);
/* An undecided socket has become the engine's; who asked for signals while it was neither's gets them. */
void sigio_decided(int fd, struct file *f);
/* The socket came from elsewhere (exec, a descriptor received), perhaps with an owner. */
void sigio_came(struct file *f);
/* The last descriptor of the file in this process is being closed; before the socket is. */
void sigio_closed(struct file *f);
/* Around fork; in the child when it can speak to the engine. */
void sigio_fork_prepare(void);
void sigio_fork_parent(void);
void sigio_fork_child(void);

#endif
