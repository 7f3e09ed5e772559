/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process' descriptors that are ours: a number -> what is behind it.
 *
 * Owns: the table, the life of struct file, the numbers of our internal descriptors. Does not own:
 * what a socket is (sock.h), epoll (epoll.h). Called by: all of shim/.
 *
 * Invariants
 * - A look-up takes no lock: a number that is not ours costs one load.
 * - The memory of a struct file is never used for anything else, so a look-up that loses a race
 *   against close finds a file, though perhaps another one, and looks again.
 * - A number is put into the table after it was opened and taken out before it is closed.
 */
#ifndef CULVERT_SHIM_FD_H
#define CULVERT_SHIM_FD_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/memory.h"
#include "shim/wait.h"
#include "stack/api/option.h"

/* What the program set on a socket before it was decided who serves it. */
struct file_option {
	bool set;
	uint8_t len;
	uint8_t value[CV_CONGESTION_NAME_BYTES];
};

struct file {
	_Alignas(MEMORY_ALIGN) struct mux_file mux; /* first: wait.h's functions take it */
	uint32_t refs;       /* descriptors and calls under way; 0: free */
	uint32_t fds;        /* descriptors */
	int family;          /* AF_INET, AF_INET6; 0: an epoll instance */
	int type;            /* SOCK_STREAM, SOCK_DGRAM */
	bool placeholder;    /* the descriptor is a duplicate of the placeholder socket */
	bool lazy; /* an undecided stream whose kernel socket is not made yet: most that connect to the engine never need it */
	uint32_t lazy_flags; /* O_NONBLOCK of a lazy one */
	uint32_t decider;    /* id of the thread that decides what it is, 0: none; sock_decide_begin() */
	bool bound;
	bool connecting;     /* the outcome of connect() was not told yet */
	bool half_asleep; /* a wildcard socket's kernel half while it is connected to where the engine serves: mux.both is false */
	bool closed;         /* the engine was told */
	int decision_bell;   /* undecided.c: rung when it is decided; 0: nobody waits for that */
	bool sigio_asked;    /* sigio.c: for an owner of its signals, or O_ASYNC, perhaps while it was undecided */
	int sigio_fd;        /* sigio.c: the number that O_ASYNC was set by while it was undecided; 0: not */
	uint32_t sigio;      /* 1 + its place in sigio.c's table; 0: in none */
	struct file_option options[CV_OPT_COUNT];
	struct mcast_notes *mcast; /* mcast.c; NULL: nothing about groups */
};

/* The file with a reference, or NULL: not ours. A lazy one is made whole. */
struct file *fd_get(int fd);
/* The same for calls that know what a lazy one is. */
struct file *fd_look(int fd);
void file_put(struct file *f);
/* A new file under fd, with one descriptor, no reference for the caller. NULL: no memory. */
struct file *fd_add(int fd, const struct file *content);
/* Another descriptor of the same file (dup). */
bool fd_alias(int fd, struct file *f);
/* Takes fd out of the table; ends what is behind it with the last descriptor. Not the descriptor
 * itself, which the caller closes next. False: it was not ours. */
bool fd_remove(int fd);
/* The same for all numbers from first to end - 1. */
void fd_remove_range(uint32_t first, uint32_t end);
/* Makes the numbers of f ordinary kernel descriptors (it was decided so). */
void fd_forget(struct file *f);
/* In a fork's child: the parent's calls under way are none of its own. */
void fd_fork_child(void);
/* For each number that is ours. */
void fd_each(void (*each)(int fd, struct file *f, void *arg), void *arg);
/* Whether the number is one of our own, which the program must not touch. */
bool fd_is_internal(int fd);
/* The first such number from `from` on, end if there is none below it. */
uint32_t fd_internal_next(uint32_t from, uint32_t end);

#endif
