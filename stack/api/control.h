/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control connection: a SOCK_SEQPACKET Unix socket at CV_CONTROL_DIR/NAME.sock (or any path).
 * Each request is one struct cv_request and gets one struct cv_reply, in order; descriptors travel
 * as SCM_RIGHTS of the same message. The engine takes the end of the connection for the end of the
 * process: what only that process held is closed (FIN, or RST where data was unread), its lanes and
 * sets are taken back.
 *
 * Life of a process
 * - HELLO on a new connection makes a group, with this process as its first. One that names a family joins the group
 * that another process of the same user has made in its name, if there is one: relatives that may pass each other
 * sockets share a group, whoever of them is the first to need it.
 * - Before fork() the parent says FORK, and gets a connection for the new process, which holds whatever the parent
 *   holds. Only the child keeps that connection, so its end is the child's end, however early. It takes no path, no
 *   environment and no rights, which the parent may have given up (chroot, setuid).
 * - A process that will exec() with sockets open makes the connection inheritable; the new program
 *   says ATTACH on it (fresh lanes, same holds), then RETAIN names what it found; the rest is closed.
 */
#ifndef CULVERT_API_CONTROL_H
#define CULVERT_API_CONTROL_H

#include "page.h"

#define CV_CONTROL_DIR "/run/culvert"
#define CV_DEFAULT_ENGINE "culvert"
#define CV_REQUEST_TEXT 1024
#define CV_FAMILY_BYTES 32 /* of a family's name, which nobody can guess */

enum cv_ctl_op {
	CV_CTL_HELLO = 1,  /* text: nothing, or a family's name -> proc, size; fds: segment, page,
			      one eventfd per worker */
	CV_CTL_FORK,       /* -> value: the child's proc; fd: its connection */
	CV_CTL_ATTACH,     /* -> as HELLO */
	CV_CTL_RETAIN,     /* text: uint32_t handles, arg: how many; the last one has text empty
			      (arg 0) and closes what no RETAIN named */
	CV_CTL_LANE_OPEN,  /* fd: eventfd; arg: worker -> value: lane. Its arena and rings are empty */
	CV_CTL_LANE_CLOSE, /* arg: lane */
	CV_CTL_SET_OPEN,   /* fd: eventfd -> value: set */
	CV_CTL_SET_CLOSE,  /* arg: set */
	CV_CTL_QUERY,      /* text: "ss", "stat", "config", "version"; -> fd: a memfd with JSON.
			      On a connection of its own, without HELLO. "hold": no fd; an engine that ends when it is idle
			      does not as long as the asking process lives */
	CV_CTL_COMMAND,    /* text: a struct cv_command, arg: worker. From a thread that has no lane: what
			      user_proc_command() takes */
	CV_CTL_SYNC, /* answered when processes that had ended before it was sent have ended for the engine, too */
};

/* Of all versions: op and version of a request, op and result of a reply, so that a library and an engine that do not
 * belong together can say so, whatever else has changed. */
struct cv_request {
	uint32_t op;
	uint32_t version; /* CV_API_VERSION */
#define CV_REQUEST_HEAD 8u
	uint32_t arg;
	int32_t pid;
	uint32_t text_len;
	char text[CV_REQUEST_TEXT];
};

struct cv_reply {
	uint32_t op;
	int32_t result; /* 0 or -enum cv_error */
	uint32_t value;
	uint32_t proc;
	uint64_t size; /* of the segment, in bytes */
	char text[128]; /* with an error: what was wrong, one line */
};
#define CV_CTL_FDS_MAX (2 + CV_WORKERS_MAX)

#endif
