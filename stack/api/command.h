/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands that a program posts on a lane (segment.h), 64 bytes each.
 *
 * A command with seq != 0 is synchronous: the engine writes reply_result (and reply[]), then
 * reply_seq = seq, then wakes the lane's set. One may be in flight on a lane. Asynchronous commands
 * never fail visibly: their effect shows in the socket's record.
 *
 * Commands of several lanes on one socket are ordered by `pos`: the engine takes CV_CMD_SEND,
 * CV_CMD_SHUTDOWN and CV_CMD_CLOSE only when as many bytes were taken as `pos` says, and leaves the
 * lane alone until then.
 */
#ifndef CULVERT_API_COMMAND_H
#define CULVERT_API_COMMAND_H

#include "segment.h"

enum cv_op {
	CV_CMD_NONE = 0,
	CV_CMD_OPEN,     /* sync. family, type -> result: handle. The lane's process holds it.
			    CV_F_CONNECT: and CONNECT */
	CV_CMD_BIND,     /* sync. sock, peer (the address to bind), arg: enum cv_bind_flags */
	CV_CMD_LISTEN,   /* sync. sock, arg: backlog. Again: a new backlog */
	CV_CMD_CONNECT,  /* sync. sock, peer -> 0: begun (stream: CV_ST_CONNECTED or an error
			    follows in the record) or done (datagram). family CV_AF_NONE: dissolve */
	CV_CMD_SEND,     /* sock, pos, off, len, flags; datagram: peer, or family CV_AF_NONE for the
			    connected one. Sync, if a datagram's sender asks: what became of it */
	CV_CMD_SHUTDOWN, /* sock, pos: no more data after pos (SHUT_WR) */
	CV_CMD_CLOSE,    /* sock, pos, flags: this process holds it no longer; the last one closes.
			    CV_F_ABORT: RST instead of FIN. Sync: a listener is gone from all workers */
	CV_CMD_ACCEPTED, /* sock: a connection taken from a listener: this process holds it now */
	CV_CMD_RECVD,    /* sock: look at rx_consumed */
	CV_CMD_SETOPT,   /* sock, arg: enum cv_option, value; sync. where it may be refused; a longer value goes on in pos
			    and off */
	CV_CMD_GETOPT,   /* sync. sock, arg: enum cv_option, value: what it is asked about, if anything -> reply[] */
	CV_CMD_WATCH,    /* sock, arg: set, len: cookie. Posts one event at once */
	CV_CMD_UNWATCH,  /* sock, arg: set, len: cookie */
	CV_CMD_NOP,      /* sync: an empty round trip */
	CV_CMD_PASS, /* sync. sock: it is on its way to another process of the group (SCM_RIGHTS)
			and held on the way */
	CV_CMD_TAKE, /* sync. sock: it has arrived, this process holds it */
	CV_CMD_COUNT
};

enum cv_cmd_flags {
	CV_F_MORE = 1u << 0,   /* MSG_MORE: more is coming, hold a partial segment */
	CV_F_ABORT = 1u << 1,  /* close with RST */
	CV_F_URGENT = 1u << 2, /* MSG_OOB: the last byte is urgent */
	CV_F_READ = 1u << 3,   /* SHUTDOWN: of reading, which is the program's affair (rx_shut): all
				  who watch are told, nothing else */
	CV_F_CONNECT = 1u << 5, /* OPEN, in one turn with CONNECT to peer of `family`; arg: the socket's family;
				   len: 0 or a set to WATCH, and 1. reply[]: CONNECT's int32_t result. The
				   socket is open whatever that says */
	CV_F_WITH = 1u << 4,   /* SEND of a datagram: struct cv_send_with lies at off, the bytes behind it */
};

/* What one datagram is sent with (cmsg(3): IP_PKTINFO, IP_TTL, UDP_SEGMENT ...); `what` says which fields hold. */
enum cv_with {
	CV_WITH_SOURCE = 1u << 0,
	CV_WITH_IFINDEX = 1u << 1,
	CV_WITH_TTL = 1u << 2,
	CV_WITH_TOS = 1u << 3,
	CV_WITH_SEGMENT = 1u << 4,
	CV_WITH_DONTFRAG = 1u << 5, /* dontfrag says */
};
struct cv_send_with {
	uint8_t source[16];
	uint16_t ifindex;
	uint16_t segment;
	uint8_t ttl, tos;
	uint8_t what;
	uint8_t dontfrag;
};
static_assert(sizeof(struct cv_send_with) == 24, "cv_send_with is 24 bytes");

enum cv_bind_flags {
	CV_BIND_REUSEADDR = 1u << 0,
	CV_BIND_REUSEPORT = 1u << 1,
	CV_BIND_V6ONLY = 1u << 2,
};

struct cv_command {
	uint8_t op;     /* enum cv_op */
	uint8_t flags;  /* enum cv_cmd_flags */
	uint8_t family; /* enum cv_family: of peer, or of the socket to open */
	uint8_t type;   /* enum cv_type */
	uint32_t seq;   /* non-zero: synchronous */
	uint32_t sock;
	uint32_t len;
	uint64_t pos;
	uint64_t off; /* from the segment's start, inside the lane's send arena */
	union {
		struct cv_endpoint peer;
		uint8_t value[20]; /* CV_CMD_SETOPT */
	};
	uint32_t arg;
	uint32_t spare[2];
};
static_assert(sizeof(struct cv_command) == 64, "cv_command is 64 bytes");

#endif
