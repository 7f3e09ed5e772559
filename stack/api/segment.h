/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shared-memory contract between a group of related processes (a program and its forks) and
 * the engine: what lies where in the segment, and who writes each word.
 *
 * Owns: the layout. Does not own: the commands (command.h), how a process gets its segment
 * (control.h), which addresses the engine serves (page.h).
 * Called by: shim/ (the program's side) and stack/user/ (the engine's side).
 *
 * Invariants
 * - Every word has one writing side, named in its group's comment. The program's side is all
 *   processes of the group; they exclude each other by rx_lock and tx_lock.
 * - The engine never reads back what it wrote here: it keeps its own copy. What the program
 *   wrote it reads once, and checks before use.
 * - Positions (`*_pos`, rx_produced, ...) count from 0 and never wrap (64 bits). A stream counts
 *   bytes; a datagram socket counts datagrams; a listener counts connections.
 */
#ifndef CULVERT_API_SEGMENT_H
#define CULVERT_API_SEGMENT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define CV_SEGMENT_MAGIC 0x747265766c7543ull /* "Culvert", little endian */
/* Of all of stack/api/; who meets another one says so and leaves the program to the kernel. Raised once for all changes between two
 * releases, by any that one side must know of: a layout, the meaning of a word, a command, request or option whose refusal the other
 * side does not expect. What is appended and can be refused (an error's number, an option) does without. */
#define CV_API_VERSION 2u
#define CV_CACHE_LINE 64
#define CV_ALIGNED __attribute__((aligned(CV_CACHE_LINE)))

/* A socket handle names one life of one record: index in the low bits, generation above; the top bit
 * is 0, so that a handle fits a reply's result. 0 is no socket (record 0 is never used). A stale
 * handle is refused by the engine. */
#define CV_SOCK_INDEX_BITS 20
#define CV_SOCK_GEN_BITS 11
#define CV_SOCK_INDEX(handle) ((handle) & ((1u << CV_SOCK_INDEX_BITS) - 1))
#define CV_SOCK_GEN_MASK ((1u << CV_SOCK_GEN_BITS) - 1)
#define CV_SOCK_HANDLE(index, gen) ((((gen) & CV_SOCK_GEN_MASK) << CV_SOCK_INDEX_BITS) | (index))
#define CV_SOCK_NONE 0u

#define CV_RXD_NONE 0u /* descriptor 0 is never used */

/* Addresses are 16 bytes in network order on both families; IPv4 is ::ffff:a.b.c.d. */
enum cv_family { CV_AF_NONE = 0, CV_AF_INET = 4, CV_AF_INET6 = 6 };
enum cv_type { CV_STREAM = 1, CV_DGRAM = 2 };

struct cv_endpoint {
	uint8_t addr[16]; /* network order, IPv4 mapped */
	uint16_t port;    /* host order */
	uint16_t scope;   /* IPv6 scope id, 0 if none */
};
static_assert(sizeof(struct cv_endpoint) == 20, "cv_endpoint is 20 bytes");

/* cv_sock.status: what the connection is, as the program should see it. Level, never an edge. */
enum cv_status {
	CV_ST_BOUND = 1u << 0,
	CV_ST_LISTENING = 1u << 1,
	CV_ST_CONNECTING = 1u << 2,
	CV_ST_CONNECTED = 1u << 3, /* a stream is established (also after either side's FIN), a
				      datagram socket has a peer */
	CV_ST_RX_EOF = 1u << 4,    /* no more than rx_produced will ever come: FIN, or dead */
	CV_ST_TX_SHUT = 1u << 5,   /* our FIN is queued or sent: sending is EPIPE */
	CV_ST_DEAD = 1u << 6,      /* the connection is over: reset, timed out, refused, or both FINs
				      are acknowledged */
	CV_ST_URGENT = 1u << 7,    /* urgent data is pending: POLLPRI */
	CV_ST_SYN_WAITS = 1u << 8, /* Fast Open: may be written to, and the first data goes with the SYN */
	CV_ST_ERRQUEUE = 1u << 9,  /* errors can be read (CV_OPT_ERRQUEUE): POLLERR */
	CV_ST_FIN = 1u << 10,      /* with CV_ST_RX_EOF: the peer's FIN, which no later error changes */
};

/*
 * One socket. 256 bytes; an idle connection costs this and the engine's own object.
 *
 * Receive chain. Received units lie in descriptors (struct cv_rxd) linked by `next`. To find its
 * place after loading rx_produced (acquire) with rx_consumed != rx_produced, the program asks:
 *   rx_head_pos == rx_consumed      -> start at rx_head, offset 0
 *   rx_off < rxd[rx_cur].len        -> go on in rx_cur (a stream's last descriptor may grow)
 *   otherwise                       -> rx_cur = rxd[rx_cur].next, offset 0
 * The engine frees what lies wholly below rx_consumed, at the next command on this socket, and
 * restarts the chain (rx_head, rx_head_pos) only when all of it was consumed.
 *
 * Send. The program copies into its lane's arena, posts CV_CMD_SEND with tx_pos as the position,
 * then adds the length to tx_pos. tx_pos - tx_acked may be up to sndbuf.
 */
struct cv_sock {
	/* Line 0: the engine writes; the program reads at every call. */
	uint32_t handle; /* of the present life; 0 when free */
	uint32_t status; /* enum cv_status */
	uint64_t rx_produced;
	uint64_t rx_head_pos;
	uint32_t rx_head;   /* descriptor that begins at rx_head_pos */
	uint32_t error_seq; /* a new pending error adds one */
	uint64_t tx_acked;  /* stream: bytes acknowledged; datagram: bytes that left */
	uint64_t rx_notify_pos; /* once rx_consumed reaches this, post CV_CMD_RECVD: the peer's
				   window has waited for it */
	uint32_t sndbuf;        /* bytes that may be queued */
	uint32_t error;         /* enum cv_error, latest; pending while error_seq != error_seen */
	uint64_t rx_urgent_pos; /* position of the urgent byte, with CV_ST_URGENT */

	/* Line 1: the engine writes, seldom. */
	struct cv_endpoint local CV_ALIGNED;
	struct cv_endpoint peer;
	uint8_t family; /* enum cv_family */
	uint8_t type;   /* enum cv_type */
	uint8_t worker;
	uint8_t v6only;
	uint32_t rcvbuf;
	uint32_t mss;
	uint32_t notsent_lowat; /* TCP_NOTSENT_LOWAT: send while less than that is not sent, 0: no matter; */
	uint64_t tx_sent;       /* with it: bytes sent */

	/* Line 2: the program writes. */
	uint32_t rx_lock CV_ALIGNED; /* thread id of the holder, 0 when free */
	uint32_t tx_lock;
	uint64_t rx_consumed;
	uint32_t rx_cur;
	uint32_t rx_off;
	uint64_t tx_pos;
	uint32_t tx_want;    /* grows by one when a sender found it full: tell when there is room */
	uint32_t error_seen; /* error_seq at the last SO_ERROR or failed call */
	uint32_t rx_shut;    /* shutdown(SHUT_RD) was called */
	uint32_t tx_shut;    /* shutdown(SHUT_WR) was called */
	uint8_t oob_inline;  /* SO_OOBINLINE */
	uint8_t spare2[7];
	uint64_t oob_pos; /* urgent bytes below this position were read by MSG_OOB */

	/* Line 3: the program writes; the state that Linux keeps in the open file description,
	 * which fork and dup share. */
	uint32_t flags CV_ALIGNED; /* O_NONBLOCK, O_ASYNC as fcntl gives them */
	uint32_t rcvlowat;
	uint64_t rcvtimeo_ns; /* 0: for ever */
	uint64_t sndtimeo_ns;
	uint32_t linger_on;
	uint32_t linger_s;
	uint32_t wants; /* the library's own: what its recvmsg and sendmsg must do besides (SO_TIMESTAMP ...) */
	uint32_t taker; /* 1 + the process that took this connection from its listener's chain: until a command on it says so to
			   the engine, it ends with that process */
	uint64_t peeked_pos; /* empty datagrams below it were peeked at, which SO_PEEK_OFF steps over */
	uint32_t peek_off;   /* 1 + SO_PEEK_OFF, as an int; the library's own */
	uint32_t sigio_owner; /* F_SETOWN and F_SETSIG, the library's own (shim/sigio_send.c): who, 0: nobody; how;
				 which process sends */
	uint32_t sigio_how;
	uint32_t sigio_sender;
};
static_assert(sizeof(struct cv_sock) == 256, "cv_sock is 256 bytes");
static_assert(offsetof(struct cv_sock, local) == 64, "line 1");
static_assert(offsetof(struct cv_sock, rx_lock) == 128, "line 2");
static_assert(offsetof(struct cv_sock, flags) == 192, "line 3");

/* In cv_rxd.off of an engine inside the program's process: the rest is the address of the first byte, in a packet
 * buffer. Such a descriptor may be given an ordinary offset later: the word is to be loaded once. */
#define CV_RXD_INSIDE (1ull << 63)

/* Received unit. The engine writes; the program reads. */
enum cv_rxd_flags {
	CV_RXD_TRUNC = 1u << 0,  /* a datagram that was cut to fit */
	CV_RXD_EXTRA = 1u << 1,  /* struct cv_rxd_extra lies in front of its bytes */
};
/* With datagrams of a socket that asked for it (SO_RXQ_OVFL, SO_TIMESTAMP). */
struct cv_rxd_extra {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint32_t drops;   /* of this socket, until now */
	uint32_t spare;
};
struct cv_rxd {
	uint32_t next;  /* following descriptor, CV_RXD_NONE while there is none */
	uint32_t len;   /* bytes at off; a stream's last descriptor may grow */
	uint64_t off;   /* of the first byte, from the segment's start; with CV_RXD_INSIDE an address */
	uint32_t sock;  /* on a listener: the handle of the new connection; datagram: it is several of so many
			   bytes each (UDP_GRO), 0: one */
	uint32_t flags; /* enum cv_rxd_flags */
	struct cv_endpoint peer;  /* datagram: who sent it */
	uint8_t local_addr[16];   /* datagram: to which address (PKTINFO) */
	uint8_t tos;
	uint8_t ttl;
	uint16_t ifindex; /* datagram: of the port that it came by */
};
static_assert(sizeof(struct cv_rxd) == 64, "cv_rxd is 64 bytes");

/*
 * A lane: one thread's way to one worker. Commands go down, completions of send buffers and the
 * reply of the one synchronous command in flight come up. Each lane has an arena for send
 * buffers that only its thread allocates from; the engine answers each CV_CMD_SEND by a
 * completion that carries the buffer's offset, when nothing refers to the buffer any more.
 * Rings' cursors run freely; the slot is cursor & (entries - 1).
 * Behind the struct lie `cmd_entries` struct cv_command, then `comp_entries` uint64_t.
 * A lane's waiting set has the lane's own index.
 */
#define CV_REPLY_BYTES 1280
struct cv_lane {
	/* The engine writes. */
	uint32_t cmd_head CV_ALIGNED; /* commands taken */
	uint32_t comp_tail;           /* completions posted */
	uint32_t reply_seq;           /* seq of the last synchronous command answered */
	int32_t reply_result;         /* 0 or more, or -enum cv_error */
	uint32_t reply_len;
	uint8_t reply[CV_REPLY_BYTES] CV_ALIGNED;
	/* The program writes. */
	uint32_t cmd_tail CV_ALIGNED; /* commands posted */
	uint32_t comp_head;           /* completions taken */
	/* non-zero: the thread waits for completions, or for room among its commands; wake its set for them */
	uint32_t want;
};

/*
 * A waiting set: an epoll instance, or what a thread waits for in poll, select or a blocking call.
 * The engine posts (cookie << 32 | handle) when a watched socket's state changed; a pair that is
 * still unread is not posted twice. On overflow the program looks at all its watched sockets.
 * Each worker has a ring of its own for each set (worker w's at sets_off + (w * sets_max + set) * set_stride); `armed` is the
 * first one's, which all read, and there is one eventfd.
 * To sleep: armed = a new non-zero value, full fence, look again, sleep on the set's eventfd. The
 * engine rings once for each value. Behind the struct lie `set_entries` uint64_t.
 */
struct cv_set {
	/* The engine writes. */
	uint32_t tail CV_ALIGNED;
	uint32_t overflow; /* times that an event was dropped because the ring was full */
	/* The program writes. */
	uint32_t head CV_ALIGNED;
	uint32_t armed; /* 0: awake */
};
#define CV_SET_EVENT(handle, cookie) (((uint64_t)(cookie) << 32) | (handle))

/* First page of the segment: written once by the engine before the program maps it. Offsets are
 * from the segment's start. Counts are powers of two where they are ring sizes. Records, descriptors, lanes and receive
 * memory are divided among the workers: what is whose is the engine's affair, and a record says its worker. */
struct cv_segment {
	uint64_t magic;
	uint32_t version;
	uint32_t workers;
	uint64_t size;
	uint32_t socks_max, rxds_max, lanes_max, sets_max; /* sets_max includes the lanes' */
	uint32_t cmd_entries, comp_entries, set_entries;
	uint32_t spare;
	uint64_t socks_off, rxds_off;
	uint64_t lanes_off, lane_stride;
	uint64_t sets_off, set_stride;
	uint64_t rx_off, rx_bytes;           /* receive arena, the engine's */
	uint64_t tx_off, tx_bytes_lane;      /* send arenas, lane i's at tx_off + i * tx_bytes_lane */
};
#define CV_SEGMENT_PAGE 4096

#endif
