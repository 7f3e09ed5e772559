/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process' way to the engine: control connection, segment, page, and its end.
 *
 * Owns: finding the engine, requests on the control connection, which addresses are the engine's,
 * the connection over fork, messages on stderr. Does not own: rings (lane.h).
 * Called by: decide.c, record.c, lane.c, process.c; errors are -errno.
 * Invariant: a link once made stays mapped; a dead one has wait.dead set and is never used for new
 * sockets.
 */
#ifndef CULVERT_SHIM_LINK_H
#define CULVERT_SHIM_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/wait.h"
#include "stack/api/control.h"

struct link {
	struct wait_link wait; /* first */
	uint8_t *base;         /* of the segment */
	uint32_t proc;
	uint32_t generation; /* forks: lanes of another generation are the parent's */
	int bells[CV_WORKERS_MAX];
	uint32_t connects; /* spread over the workers */
	int child_fd; /* between link_fork_prepare and its end */
	uint32_t child_proc;
};

enum link_side {
	LINK_KERNEL, /* the kernel's alone */
	LINK_ENGINE, /* the engine's alone */
	LINK_BOTH,   /* the wildcard */
};

/* The live link, looking for an engine when there is none (seldom again after a failure); NULL. */
struct link *link_get(void);
/* Without looking for one. */
struct link *link_now(void);
/* Who serves an address (16 bytes, mapped) to bind to or to send to. */
enum link_side link_side_of(const struct link *l, const struct cv_endpoint *end, bool to_bind);
/* The number of the engine's interface that has an address; 0: it is none of the engine's. */
uint16_t link_interface(const struct link *l, const uint8_t addr[16]);
/* An IPv4 address of the interface (16 bytes, mapped); false: the engine has no such interface, or it no such address. */
bool link_interface_address(const struct link *l, uint32_t ifindex, uint8_t addr[16]);
bool link_has_interface(const struct link *l, uint32_t ifindex);
/* One request with at most one descriptor (-1: none). The reply's value, or -errno. */
int64_t link_request(struct link *l, struct cv_request *request, int fd);
/* What ended processes held is closed when it returns. False: it may be so or not. */
bool link_sync(struct link *l);
/* After exec: the engine that the old program left us a control connection to, as the link from now on.
 * NULL: it is gone. */
struct link *link_attach(int control);
/* The process ends: the engine may close what only it held. */
void link_end(void);
/* The control connection of a child to be; proc: how the engine knows it. -1: none can be had. */
int link_child(struct link *l, uint32_t *proc);
/* Around fork, in the child before any other call. */
void link_fork_prepare(void);
void link_fork_parent(void);
void link_fork_child(void);

/* For the next connection: each worker in turn. */
uint32_t link_worker_next(struct link *l);
int link_errno(int cv_error); /* of an enum cv_error, without its sign */
enum link_log { LINK_OFF, LINK_WARN, LINK_INFO, LINK_DEBUG };
void link_say(enum link_log level, const char *text);

#endif
