/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of stack/user/ share: the engine's own view of a group. Nothing here lies in the
 * segment; what the engine knows it keeps here and never reads back from there.
 *
 * Files: user.c (the engine's callbacks, groups), segment.c (layout), proc.c (processes, lanes,
 * sets, holds), command.c (what lanes say), send.c (send buffers and completions), record.c
 * (sockets' records and life), rx.c (receive chains), event.c (watches, events, bells), replica.c (listeners on several
 * workers).
 */
#ifndef CULVERT_USER_PRIV_H
#define CULVERT_USER_PRIV_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "stack/base/pool.h"
#include "stack/core/crew.h"
#include "stack/sock/sock.h"
#include "stack/user/arena.h"
#include "stack/user/user.h"

/* Words of the segment: read once, written once, never cached by the compiler. */
#define SEG_LOAD(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define SEG_LOAD_ACQUIRE(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define SEG_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define SEG_STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#define USER_PROCS_MAX 1024u
#define USER_PASSED_MAX 65536u /* times that one socket is under way between processes */
#define USER_WATCHES_PER_SOCK 256u  /* the list of one socket is walked; beyond: the set is deaf */
#define USER_LANE_BUDGET 64u        /* commands of one lane in one turn */
#define USER_STARVED_BUDGET 64u     /* sockets looked at again in one turn */
#define USER_BACKLOG_MAX 4096u      /* as Linux's somaxconn */
#define USER_COPY_MAX 2048u         /* a stream's SEND up to this is copied, see send.c */
#define USER_CHUNK_BYTES 4096u
#define USER_CHUNKS_MAX 65536u      /* of a group: 256 MiB, touched as used */
#define USER_LOOPBACK_IFINDEX 1u /* what the engine's way to itself is called: Linux's lo */
#define USER_DGRAM_MAX 65527u /* of UDP on IPv6; the protocol knows better */
#define USER_REUSE_DISTANCE 64u     /* free records before an index is used again: generations
				       are 12 bits and must not come round while an event waits */
#define USER_NONE UINT32_MAX

struct user_group;
struct user_sock;

/* One send buffer under way. A lane owns as many as its completion ring has entries, so that one
 * lane's program cannot take another's. */
struct user_txbuf {
	struct txbuf b;
	struct user_txbuf *next; /* free list */
};

/* Small sends of one stream, copied one behind the other: the program's buffers are free at once, and many small
 * messages that a peer does not read do not use up what one lane has. */
struct user_chunk {
	struct txbuf b;
	struct user_group *g;
	struct user_sock *us; /* whose open chunk it is; NULL: nobody's any more */
	uint8_t data[];
};

enum lane_state {
	LANE_FREE,
	LANE_OPEN,
	LANE_DRAINING, /* closed; commands up to close_tail are still carried out */
	LANE_EMPTYING, /* nothing more to do, but send buffers of its arena are under way */
};

struct user_lane {
	struct user_group *g;
	struct cv_lane *shared;
	struct cv_command *cmds;
	uint64_t *comps;
	uint32_t index;
	uint32_t proc;
	enum lane_state state;
	uint32_t cmd_head, comp_tail;
	uint32_t close_tail; /* LANE_DRAINING */
	uint32_t dry_left;   /* commands that user_lanes_run_dry() still takes */
	uint32_t bad_tail;   /* cmd_tail was this, which cannot be: counted once. 0: none */
	/* The head command waits. Looked at again only when one of these has changed, so that a
	 * lane that waits for ever does not keep the engine awake. */
	bool blocked;
	uint32_t blocked_comp_head;
	uint64_t blocked_epoch;
	uint32_t busy; /* send buffers under way */
	uint64_t busy_bytes;
	struct user_txbuf *bufs; /* comp_entries of them, from the lane's first opening */
	struct user_txbuf *free_bufs;
	uint32_t bufs_fresh; /* from here on never used */
	uint32_t active_slot; /* in g->active */
};

struct user_watch {
	uint32_t sock; /* record index */
	uint32_t set;
	uint32_t cookie;
	bool fresh;           /* post whatever the socket's state */
	bool posted;          /* at posted_pos, and perhaps unread */
	uint64_t posted_pos;
	uint32_t sock_next;   /* list of the socket; also the free list */
	uint32_t set_prev, set_next;
};

struct user_set {
	struct user_group *group;
	struct cv_set *shared;
	const uint32_t *armed; /* the first worker's, whoever we are */
	uint64_t *ring;
	bool open;
	uint32_t proc;
	int bell;
	uint64_t tail;
	uint32_t overflow;
	uint32_t rung;      /* the armed value that was answered */
	uint32_t bad_head;  /* head was this, which cannot be: counted once */
	uint32_t watches;   /* list */
	bool touched;       /* in g->touched: look at armed */
	bool only_if_wanted; /* touched by the lane's own progress only: ask its `want` first */
	struct user_set *touched_next;
	bool deaf;              /* a watch found no room: everything is news (event.c) */
	uint32_t free_next;
};

struct user_proc {
	bool open;
	bool retaining; /* between exec and the last RETAIN */
	bool ending;
	uint32_t holds_at; /* while ending: no word of holds before this one has a bit */
	int32_t pid;
	uint32_t lanes, sets; /* open ones */
	uint64_t *holds;      /* bitmap over records */
	uint64_t *retained;   /* same, while retaining */
};

/* The engine's own copy of a descriptor. */
struct user_rxd {
	struct rte_mbuf *m; /* the packet buffer that the program reads; NULL: the block */
	uint64_t block; /* arena offset, ARENA_NONE: no block */
	uint64_t end;   /* position behind it */
	uint32_t len;
	uint32_t size;  /* of the block */
	uint32_t bytes; /* datagram: what to tell sock_consumed() */
	uint32_t next;
};

enum user_sock_flags {
	US_NOTIFY_LISTED = 1u << 0, /* in g->notify */
	US_CHANGED = 1u << 1,       /* tell all watches */
	US_FRESH = 1u << 2,         /* some watch is fresh */
	US_TX_MOVED = 1u << 3,      /* look at tx_want */
	US_STARVED = 1u << 4,       /* in g->starved */
	US_REPLICA = 1u << 6,       /* of a listener of worker 0; nobody holds it */
	US_UNLISTENED = 1u << 7, /* its replicas have been told to end, by user_replicas_unlisten() */
	US_TX_BROKEN = 1u << 5,     /* bytes were lost between taken and sent: only RST is honest */
};

/* One record's private side. */
struct user_sock {
	struct user_group *g;
	struct sock *sk; /* NULL: free */
	uint32_t index, handle;
	uint16_t gen;
	uint16_t rx_part_held; /* segments of rx_part that e->rx_held counts */
	uint32_t flags; /* enum user_sock_flags */
	uint32_t holders; /* processes, and those below */
	uint32_t passed;  /* on the way from one process to another */
	uint32_t watches, watches_n;
	struct user_sock *notify_next;
	struct list starved_node;

	/* as published */
	uint32_t status, error_seq, sndbuf, rcvbuf;
	uint64_t tx_acked, rx_notify, rx_urgent;

	/* receive */
	uint64_t rx_produced, rx_consumed;
	uint64_t rx_base; /* rx_produced when the present connection began */
	uint32_t rx_head, rx_tail, rx_n; /* chain, and how many descriptors it has */
	uint32_t rx_seg_off;      /* of the first segment of the next from here, */
	struct rte_mbuf *rx_part; /* taken from the socket: what of its segments is not yet moved */

	/* send */
	struct user_chunk *chunk; /* that the next small SEND may go on in; NULL: none */
	uint64_t tx_taken; /* bytes of SENDs carried out, failed ones too */
	uint32_t tx_served; /* the value of tx_want that was answered */
	uint32_t free_next;

	/* a connection that waits in a listener's chain */
	struct user_sock *listener;
	struct list pending_node;
	struct list pending; /* on the listener */
	uint32_t home;       /* on a replica: its listener's handle; its pending_node is in g->replicas */
	uint16_t replies_due, listen_lane; /* on a listener: a LISTEN waits for its replicas; its lane, counted from 1 */
	uint32_t backlog;                  /* of all workers */
	bool mirrored;                     /* it has replicas */
	bool listen_done;                  /* they are all there */
	uint16_t crew_listener;            /* crew.h's number of it and them */
};
static_assert(sizeof(struct user_sock) <= 240, "a connection is small");

struct user_group {
	struct user *u;
	struct list node; /* in user.groups */
	uint8_t *seg;
	struct cv_segment geo; /* a private copy of the first page's contents */

	uint16_t worker;
	uint32_t number; /* among the groups, on all workers */
	struct user_lane *lanes;
	uint32_t lanes_first, lanes_end; /* this worker's */
	uint32_t *active; /* indexes of open, draining and emptying lanes */
	uint32_t active_n;
	uint64_t epoch; /* grows when a blocked lane might go on */
	struct user_set *sets;
	uint32_t sets_fresh, sets_free, sets_n;
	uint32_t deaf_n; /* sets that are deaf */
	struct user_set *touched;
	struct user_proc procs[USER_PROCS_MAX];
	uint32_t procs_top, procs_n;
	uint32_t lanes_n;

	struct user_sock *socks;
	struct cv_sock *records;
	uint32_t socks_first, socks_fresh, socks_end, socks_n; /* this worker's part of the records; fresh: never used */
	struct list replicas;
	uint32_t socks_free_head, socks_free_tail, socks_free_n;
	struct user_sock *notify;

	struct cv_rxd *rxds;
	struct user_rxd *rxd_own;
	uint32_t rxds_fresh, rxds_end, rxds_free, rxds_used;
	struct arena arena;
	uint64_t rx_off; /* of this worker's part of the receive memory */
	struct list starved;
	uint32_t starved_n;
	uint32_t starved_left; /* still to be looked at since memory came free */
	bool inside;   /* streams may be read from packet buffers */
	bool rx_freed; /* receive memory or a record came free: look at the starved */

	struct user_watch *watches;
	uint32_t watches_max, watches_fresh, watches_free, watches_n;

	struct pool chunks;
	uint32_t busy; /* send buffers under way, all lanes, and chunks */
	uint64_t violations, refused;
	bool mute; /* a bell of its programs blocked: none is rung any more */
	bool closing;
	void (*done)(void *arg);
	void *done_arg;
};

struct user {
	struct engine *e;
	struct user_env env;
	struct list groups;
	uint32_t told; /* user_told() */
};

/* segment.c */
/* Fills in the defaults, rounds ring sizes up to powers of two and lays everything out. */
void user_geometry(const struct user_limits *limits, struct cv_segment *geo);
/* Allocates the group's private side; 0 or -1 (then user_group_memory_fini is still due). */
int user_group_memory_init(struct user_group *g);
void user_group_memory_fini(struct user_group *g);
/* Where what belongs to a lane or a set lies. At its opening: what no program opens stays untouched memory. */
void user_lane_place(struct user_group *g, struct user_lane *l);
void user_set_place(struct user_group *g, struct user_set *s);

/* proc.c */
bool user_proc_holds(const struct user_group *g, uint32_t proc, const struct user_sock *us);
void user_proc_hold(struct user_group *g, uint32_t proc, struct user_sock *us);
/* proc holds it no longer; the last one closes. */
void user_proc_drop(struct user_group *g, uint32_t proc, struct user_sock *us, bool abort);
/* A listener's part on this worker ends: what processes have taken from it stays theirs. */
void user_untold_keep(struct user_sock *listener);
/* Carries out what was posted before on all lanes of the group: a command waits for those that carry the bytes before
 * its own, and they may be on another process's lane. */
void user_lanes_run_dry(struct user_group *g);
/* A draining lane that came to its end becomes emptying, an emptying one without buffers free. */
void user_lane_settle(struct user_lane *l);
/* The end of a closing group, once its send buffers are back. */
void user_group_free(struct user_group *g);
void user_proc_close_all(struct user_group *g);

/* command.c */
/* The program may write on: from here on only the copy counts, and the compiler must not look again. */
static inline struct cv_command user_command_copy(const struct user_lane *l)
{
	struct cv_command cmd = l->cmds[l->cmd_head & (l->g->geo.cmd_entries - 1)];

	__asm__ volatile("" : "+m"(cmd) : : "memory");
	return cmd;
}
/* Carries out up to budget commands of a lane; returns how many. */
uint32_t user_lane_run(struct user_lane *l, uint32_t budget);
/* True when user_lane_run would do something. */
bool user_lane_ready(const struct user_lane *l);

/* send.c */
/* Allocates a lane's send buffers, once; 0 or -1. */
int user_txbufs_init(struct user_lane *l);
/* Carries out a SEND that was checked, on a lane that has room. */
int user_send(struct user_lane *l, struct user_sock *us, const struct cv_command *cmd);
/* The completion ring has room for one more buffer. */
bool user_lane_has_room(struct user_lane *l);
void user_completion_post(struct user_lane *l, uint64_t off);
/* The socket sends no more: what is under way goes on. */
void user_chunk_close(struct user_sock *us);

/* record.c */
struct user_sock *user_sock_alloc(struct user_group *g);
/* Undoes user_sock_alloc. */
void user_sock_unalloc(struct user_sock *us);
/* Ties sk and the record together and publishes it. */
void user_sock_start(struct user_sock *us, struct sock *sk);
/* Lets go of the protocol's socket and frees record, chain and watches. */
void user_sock_end(struct user_sock *us, bool abort);
/* By handle; NULL when it is not a socket of the group in its present life. */
struct user_sock *user_sock_find(struct user_group *g, uint32_t handle);
/* Looks at what the protocol's side says and publishes what changed. */
void user_sock_refresh(struct user_sock *us);
void user_sock_publish_tx(struct user_sock *us);
/* The names may have changed, and the status with it or not. */
void user_sock_publish_names(struct user_sock *us);

/* rx.c */
/* Moves what waits in the protocol's queue to the program, as far as memory goes. */
void user_rx_pull(struct user_sock *us);
/* Reads rx_consumed, frees what lies below. */
void user_rx_sync(struct user_sock *us);
/* Frees the chain; unread bytes stay counted in sk->rx_lent, so that close knows. */
void user_rx_end(struct user_sock *us);
/* A second process has come, which does not see the engine's memory: what lies in packet buffers is copied. */
void user_rx_leave_buffers(struct user_group *g);
/* True when all that the protocol has is in the chain. */
bool user_rx_is_drained(const struct user_sock *us);
void user_rx_unstarve(struct user_sock *us);
/* The group's memory takes all that comes. */
bool user_rx_keeps_up(const struct user_sock *us);
void user_rx_feed_starved(struct user_group *g);
/* Appends a connection, which may be another worker's, to the listener's chain; false: no descriptor. */
bool user_rx_connection(struct user_sock *us, uint32_t handle);
/* Publishes what was appended. */
void user_rx_announce(struct user_sock *us);
/* A connection was taken from the listener's chain, or ended there. */
void user_rx_accepted(struct user_sock *us);

/* replica.c */
bool user_has_replicas(const struct user_group *g);
/* Whether user_replicas_tell() finds room for its messages. */
bool user_replicas_room(const struct user_group *g);
/* Makes the listener's replicas, or tells them what has changed. waits: a LISTEN is answered when
 * they are there. */
void user_replicas_tell(struct user_sock *us, bool waits);
/* Ends the replicas while the listener is still there: us->replies_due of them answer when they are gone. */
void user_replicas_unlisten(struct user_sock *us);
/* The socket listens no longer: nor do they. */
void user_replicas_end(struct user_sock *us);
/* A connection of a replica waits to be accepted. False: its listener cannot be told, there is no
 * room. */
bool user_replica_announce(struct user_sock *replica, uint32_t handle);
/* A connection of the replica was taken by the program. */
void user_replica_taken(struct user_sock *replica);
/* engine.message */
void user_message(void *ctx, uint16_t from, const struct crew_message *msg);

/* event.c */
/* 0 or -CV_E... */
int user_watch_add(struct user_sock *us, uint32_t set, uint32_t cookie);
int user_watch_del(struct user_sock *us, uint32_t set, uint32_t cookie);
void user_watch_drop_sock(struct user_sock *us);
void user_watch_drop_set(struct user_set *s);
/* Tell the watches at the end of the turn. flag: US_CHANGED, US_FRESH or US_TX_MOVED. */
void user_notify(struct user_sock *us, uint32_t flag);
/* Completions were posted, or commands taken: the lane's thread is told when it waits for that. */
void user_lane_moved(struct user_lane *l);
/* The set asked for a watch that had no room: from now on it is told of every change of anything, by
 * its overflow count, until it is closed. Slow, but nothing is missed. */
void user_set_deafen(struct user_group *g, struct user_set *s);
/* Look at the set's armed word at the end of the turn. */
void user_set_touch(struct user_group *g, struct user_set *s);
/* Posts events and rings bells. Everything else was published before. */
void user_events_flush(struct user_group *g);

#endif
