/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An epoll instance that may hold engine sockets, inside the shim.
 *
 * The program's descriptor is a real epoll instance. It holds what the kernel serves: the program's
 * kernel descriptors, sockets that are undecided yet, the shadows of wildcard sockets, nested epoll
 * instances - and, from the first engine socket on, the set's bell and the control connection.
 * Engine sockets are members of our own list. A wait looks at both halves and sleeps in the
 * kernel's.
 *
 * Files: epoll_instance.c (create, locks, the set at the engine), epoll.c (ctl, the hooks of
 * wait.h), epoll_call.c (the waits as the program calls them), epoll_wait.c (looking and sleeping),
 * epoll_ready.c and epoll_kernel.c (the two halves), epoll_fork.c (instances inherited over fork). Called by: the program, poll.c.
 *
 * Locks: mux_lock() over all instances guards membership (items, files' lists, the kernel's half);
 * ep->lock guards the ready list, the ring's head and what a wait reads of an item. Order:
 * mux_lock, ep->lock of an outer set, ep->lock of a set nested in it. A wait takes only the latter.
 *
 * Invariant: an engine item that may be ready and was not reported since is on the ready list, or
 * its event is unread in the ring, or the engine will still post one.
 */
#ifndef CULVERT_SHIM_EPOLL_H
#define CULVERT_SHIM_EPOLL_H

#include <errno.h>
#include <sys/epoll.h>

#include "shim/handler.h"
#include "shim/wait.h"

/* Held by a thread; taken again by a signal handler of the same thread it is not given back early.
 */
struct ep_lock {
	const void *owner;
};
/* False: this thread holds it already; then ep_unlock must not be called. */
bool ep_lock(struct ep_lock *lock);
void ep_unlock(struct ep_lock *lock, bool locked);
bool mux_lock(void);
void mux_unlock(bool locked);

enum item_kind {
	ITEM_OURS,   /* an engine socket, watched by our set */
	ITEM_KERNEL, /* an undecided socket, in the kernel's half with the program's data */
	ITEM_NESTED, /* another epoll instance, in the kernel's half with a tag as data */
};

/* The engine's share of what makes a socket writable (wait_has_room). */
struct ep_room {
	uint64_t acked, sent;
	uint32_t sndbuf, notsent_lowat;
};

struct mux_item {
	struct ep *ep;
	struct mux_file *file;
	int fd; /* the number it was added as; with file it is the key, as on Linux */
	enum item_kind kind;
	uint32_t handle;
	uint32_t cookie;   /* EP_SLOT(cookie) is the index in ep->slots; the rest is no other item's for long */
	struct mux_ticket watched; /* ITEM_OURS: the command by which the engine learned of it */
	uint32_t events;   /* the program's, flags included */
	epoll_data_t data; /* the program's */
	bool tagged;       /* in the kernel's half, with this item's address as data */
	bool disabled;     /* EPOLLONESHOT has fired */
	bool ready;        /* on the ready list */
	bool fresh;        /* added or modified: readiness counts as an edge */
	uint32_t batch;    /* wait that reported it last */
	/* what EPOLLET has reported */
	uint64_t seen_rx;
	struct ep_room seen_room;
	uint32_t seen_status, seen_error;
	struct mux_item *ready_next, *ready_prev;
	struct mux_item *file_next; /* in file->items */
	struct mux_item *fd_next;   /* in ep->by_fd[fd] */
	struct mux_item *tagged_next;
};

/* Items of one instance at a time. What is left of a cookie counts a slot's lives: threads' commands to the engine may overtake
 * each other, so that an old item's end comes after the next one's beginning. */
#define EP_SLOTS_MAX (1u << 20)
#define EP_SLOT(cookie) ((cookie) & (EP_SLOTS_MAX - 1))

struct ep_slot {
	struct mux_item *item; /* NULL: free */
	uint32_t next_free;
	uint32_t life;
};

struct ep {
	struct ep_lock lock;
	struct ep *next; /* of all */
	struct mux_file *file;
	uint32_t users; /* calls inside; memory is used again at 0 */
	bool closed;
	uint32_t generation; /* of the process (forks) that it belongs to */
	bool shared;         /* the kernel's half is another process's too */
	/* the set; NULL and -1 until there is an engine member */
	struct wait_link *link;
	struct cv_set *set;
	uint32_t ring_mask;
	uint32_t set_index;
	int bell;
	uint32_t armed;
	/* by worker: of its ring */
	uint32_t overflow[CV_WORKERS_MAX], head[CV_WORKERS_MAX];
	uint32_t sleepers;
	bool nested;    /* was given to another set, poll or select: always armed */
	bool dead_seen; /* the link's end was taken over into the ready list */
	/* members */
	struct ep_slot *slots;       /* by cookie */
	uint32_t slots_n, slot_free; /* slot_free: first free one, slots_n when there is none */
	uint32_t items_n, nested_n;
	struct mux_item *tagged; /* few: listeners and such that the kernel serves as well, other instances */
	struct mux_item **by_fd;
	uint32_t by_fd_n;
	int32_t kernel_n; /* members of the kernel's half, ours not counted; never too small */
	struct mux_item *ready_first, *ready_last;
	uint32_t ready_n;
	/* sharing out between the halves */
	bool kernel_turn;
	uint32_t batch;
	uint32_t kernel_skipped; /* looks since the kernel's half was last looked at */
	uint64_t kernel_looked_ns;
};

/* The instance behind a descriptor, usable until ep_leave; NULL: none that we know. */
struct ep *ep_enter(int epfd, struct mux_file **file);
void ep_leave(struct ep *ep, struct mux_file *file);
/* The same for one that we did not see being made (exec, a descriptor received): known to the
 * kernel only until now. NULL: it is no epoll instance, or no memory. */
struct ep *ep_enter_unknown(int epfd, struct mux_file **file);
/* A result of ours as the program gets it: -errno becomes -1 and errno. */
static inline int ep_result(int result)
{
	signal_check_late();
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

/* Whether the kernel's half alone does not tell its readiness. Any context. */
bool ep_has_members(const struct ep *ep);
/* Makes the kernel's half tell the truth about ours: its bell is readable exactly when an engine
 * member is ready, and will ring when one becomes so. epfd is any descriptor of it. For those who
 * then look at or sleep on epfd in the kernel. Returns whether a member of ours is ready. */
bool ep_sync(struct ep *ep, int epfd);

/* --- between the files of epoll -----------------------------------------------------------------
 */

/* Bits of epoll_event.events that are readiness, and those that are always of interest. */
#define EVENT_BITS 0xffffu
#define EVENT_ALWAYS (EPOLLERR | EPOLLHUP)

/* Called with ep->lock held. */
void ep_queue(struct ep *ep, struct mux_item *item);
void ep_unqueue(struct ep *ep, struct mux_item *item);
/* Whether the kernel's half has it: keeps ep->tagged. */
void ep_item_tag(struct mux_item *item, bool tagged);
/* Drops what is not ready from the ready list; returns whether anything is. */
bool ep_any_ready(struct ep *ep);
void ep_rearm(struct ep *ep);
/* Rings the bell ourselves. */
void ep_wake(const struct ep *ep);
/* Whoever waits in the kernel learns that an item may have become ready without an event. */
void ep_item_kick(struct ep *ep, struct mux_item *item);

/* Takes the events that have arrived over into the ready list. */
void ep_drain(struct ep *ep);
/* An edge-triggered item is reported as it is now. */
void ep_item_see(struct mux_item *item);
/* EPOLLONESHOT has fired. */
void ep_item_disable(struct mux_item *item);
/* The instances that are members tell the truth about theirs. */
void ep_sync_nested(struct ep *ep);

/* Called without a lock. */
/* After a look at the kernel's half that no look at ours follows: it may have taken the bell that rang for a sleeper.
 */
void ep_pass_on(struct ep *ep);
/* Reports up to max items of our half. */
int ep_harvest(struct ep *ep, struct epoll_event *out, int max, uint32_t batch);
/* Up to max events of the kernel's half, or -errno. */
int ep_look_kernel(struct ep *ep, int epfd, struct epoll_event *out, int max, uint32_t batch);
/* Takes out of n events (or an error) what is not the program's, translates what is tagged; returns how many are left. */
int ep_filter(struct ep *ep, int epfd, struct epoll_event *out, int n, uint32_t batch);

/* Called with mux_lock held. 0 or -errno. */
int ep_set_open(struct ep *ep, int epfd, struct wait_link *link);
void ep_set_forget(struct ep *ep, bool close_set);
int ep_watch(struct ep *ep, struct mux_item *item);
/* Puts a tagged item into the kernel's half (op ADD or MOD) or out of it (DEL). */
int ep_tag_ctl(int epfd, int op, struct mux_item *item);
/* From now on somebody may wait for it from outside. */
void ep_mark_nested(struct ep *ep, int epfd);
/* Takes an instance of the parent over into this process. */
void ep_adopt(struct ep *ep, int epfd);
/* Gives this process a kernel's half of its own. 0 or -errno. */
int ep_privatise(struct ep *ep, int epfd);
/* Some descriptor of it, -1 if none. */
int ep_any_fd(struct ep *ep);
extern uint32_t ep_generation; /* forks since the first process */
extern struct ep *ep_all;

/* The addresses are the data under which the bell and the control connection are registered. */
#define EP_BELL_TAG(ep) ((void *)&(ep)->bell)
#define EP_CONTROL_TAG(ep) ((void *)&(ep)->link)

/* A wait of timeout_ns; 0: look only; WAIT_FOREVER. Returns the number of events or -errno. */
int ep_wait(struct ep *ep, int epfd, struct epoll_event *out, int max, uint64_t timeout_ns,
	const sigset_t *mask);
/* A wait that sleeps; what it counts for is given back when the thread does not come back (wait.h). */
struct ep_sleeper {
	struct wait_hold hold;
	struct ep *ep;
};
/* Around a real wait that blocks on an instance without members of ours: begin says whether that
 * is so; end takes what must not be seen out of the n events and returns how many are left. */
bool ep_kernel_wait_begin(struct ep *ep, struct ep_sleeper *s);
int ep_kernel_wait_end(struct ep *ep, struct ep_sleeper *s, int epfd, struct epoll_event *out, int n);

#endif
