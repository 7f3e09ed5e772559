/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signal-driven I/O on engine sockets: a thread of the library sends the signals that the kernel would (0023).
 *
 * Who is to get which signal belongs to the open file: the kernel keeps and checks it for the shadow (F_SETOWN,
 * F_SETSIG), and a copy lies in the record, for the thread and for relatives, after fork and exec too. The thread
 * begins with the first socket of the process that has an owner, or O_ASYNC. It sleeps on a set of its own at the
 * engine, compares records with what it has seen of them, and signals; it has no lane, and runs no code of the
 * program's. Of several processes that hold the socket one sends: the last that asked for anything, or when that has
 * ended whoever has news of the socket first.
 *
 * Owns: the thread, its set. Does not own: how a signal is sent (sigio_send.c), O_ASYNC itself (record, descriptor.c).
 * A wildcard socket's kernel half signals by itself. Called by: descriptor.c, decide.c, exec.c, pass.c, fd.c,
 * process.c.
 *
 * Relatives with other rights write the record, too: whoever it names, this process signals itself, or whom its own
 * program has named, and by what nobody is killed who did not ask for it.
 *
 * Invariants
 * - Everything here is under the lock, signals blocked; the thread takes no other lock and waits for nobody under it.
 * - An entry is in the table as long as a descriptor of this process names its file.
 */
#include "shim/sigio.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim/atomic.h"
#include "shim/inline.h"
#include "shim/lock.h"
#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sigio_send.h"
#include "shim/sock.h"

#define STACK_BYTES (256u << 10)
#define COOKIE_SLOTS (1u << 20) /* as epoll's: the rest of a cookie counts a slot's lives */
#define COUNT_MAX 1024u         /* signals at a time about what came to one socket */

/* --- the sockets ---------------------------------------------------------------------------------- */

/* Of a record, when it was looked at last. */
struct seen {
	uint32_t status, error_seq, want;
	uint64_t rx, urgent; /* urgent: behind the byte; 0: none */
};

struct entry {
	struct cv_sock *rec; /* NULL: free */
	const struct wait_link *link;
	uint32_t handle;
	uint32_t life;
	uint32_t next_free;
	struct mux_ticket watched;
	struct seen seen;
	struct sigio_owner named; /* by this process's own program; id 0: nobody */
};

static struct {
	struct quiet_lock lock;
	bool running; /* the thread */
	int bell;     /* of the set, for all the life of the process; -1: none */
	struct wait_link *link;
	struct cv_set *set;
	uint32_t set_index, armed;
	uint32_t head[CV_WORKERS_MAX], overflow[CV_WORKERS_MAX]; /* by worker: of its ring */
	struct entry *entries;
	uint32_t entries_n, first_free, used;
} s = {.bell = -1};

static void lock(void)
{
	quiet_lock(&s.lock);
}

static void unlock(void)
{
	quiet_unlock(&s.lock);
}

static struct seen seen_now(const struct cv_sock *rec)
{
	uint32_t status = LOAD_ACQUIRE(rec->status);

	return (struct seen){.status = status,
		.error_seq = LOAD_ACQUIRE(rec->error_seq),
		.want = LOAD(rec->tx_want),
		.rx = LOAD_ACQUIRE(rec->rx_produced),
		.urgent = status & CV_ST_URGENT ? LOAD_ACQUIRE(rec->rx_urgent_pos) + 1 : 0};
}

/* A sender has found it full, and now there is room. What is wanted is wanted again, for an answer that came too early.
 */
static bool room_came(struct cv_sock *rec, const struct seen *was)
{
	if (LOAD(rec->tx_want) == was->want)
		return false;
	if (!wait_has_room(rec))
		wait_want_room(rec);
	return wait_has_room(rec);
}

static uint32_t arrived(const struct cv_sock *rec, const struct sigio_owner *o, uint64_t n)
{
	bool counts = rec->type != CV_STREAM || (LOAD(rec->status) & CV_ST_LISTENING);

	/* Datagrams and connections are signalled each. Of signals that are not queued one is as good. */
	if (!counts || o->sig < SIGRTMIN)
		return n > 0;
	return n < COUNT_MAX ? (uint32_t)n : COUNT_MAX;
}

/* Who gets the entry's signals from here; false: nobody. */
static bool entry_owner(const struct entry *e, struct sigio_owner *o)
{
	const struct sigio_owner *named = &e->named;

	*o = sigio_owner_load(e->rec);
	if (o->id == 0 ||
		((o->id != named->id || o->kind != named->kind) && (o->id != getpid() || o->kind != F_OWNER_PID)))
		return false;
	if (o->sig != named->sig && o->sig != SIGIO && o->sig < SIGRTMIN)
		o->sig = 0;
	return sigio_owner_is_served_here(e->rec);
}

static void entry_signal(const struct entry *e, const struct seen *was, const struct seen *now, bool room)
{
	const struct cv_sock *rec = e->rec;
	bool async = LOAD(rec->flags) & O_ASYNC, stream = rec->type == CV_STREAM;
	uint32_t begun = now->status & ~was->status;
	struct sigio_owner o;

	if (!entry_owner(e, &o))
		return;
	if (now->urgent > was->urgent) {
		sigio_send_plain(&o, SIGURG);
		if (async && o.sig != 0)
			sigio_send_async(&o, POLL_PRI);
	}
	if (!async)
		return;
	if (stream && (begun & CV_ST_CONNECTED))
		sigio_send_async(&o, POLL_OUT);
	for (uint32_t n = arrived(rec, &o, now->rx - was->rx); n > 0; n--)
		sigio_send_async(&o, POLL_IN);
	if (begun & CV_ST_FIN)
		sigio_send_async(&o, LOAD(rec->tx_shut) || (now->status & CV_ST_TX_SHUT) ? POLL_HUP : POLL_IN);
	if (now->error_seq != was->error_seq || (begun & CV_ST_ERRQUEUE))
		sigio_send_async(&o, POLL_ERR);
	if (room)
		sigio_send_async(&o, POLL_OUT);
}

static void entry_look(struct entry *e)
{
	struct seen was = e->seen;
	bool room;

	if (LOAD(e->rec->handle) != e->handle)
		return;
	e->seen = seen_now(e->rec);
	room = room_came(e->rec, &was);
	if (!room)
		e->seen.want = was.want;
	if (e->seen.urgent == 0)
		e->seen.urgent = was.urgent; /* the byte was read; the next lies behind it */
	entry_signal(e, &was, &e->seen, room);
}

/* Its connections are reset. */
static void entry_end(struct entry *e)
{
	struct sigio_owner o;

	if (entry_owner(e, &o) && (LOAD(e->rec->flags) & O_ASYNC))
		sigio_send_async(&o, POLL_ERR);
}

/* Of the engine that there is. */
static void each_entry(void (*each)(struct entry *e))
{
	for (uint32_t i = 0; i < s.entries_n; i++) {
		if (s.entries[i].rec && s.entries[i].link == s.link)
			each(&s.entries[i]);
	}
}

/* --- the thread ----------------------------------------------------------------------------------- */

static uint32_t ring_drain(struct cv_set *ring, uint32_t *head)
{
	const uint64_t *events = (const uint64_t *)(const void *)(ring + 1);
	uint32_t tail = LOAD_ACQUIRE(ring->tail), n = 0;

	for (; *head != tail; n++) {
		uint64_t event = LOAD(events[(*head)++ & (s.link->seg->set_entries - 1)]);
		uint32_t cookie = (uint32_t)(event >> 32), i = cookie % COOKIE_SLOTS;

		/* Read before the look: what comes after it is another event. */
		STORE_RELEASE(ring->head, *head);
		FENCE();
		if (i < s.entries_n && s.entries[i].rec && s.entries[i].life == cookie / COOKIE_SLOTS)
			entry_look(&s.entries[i]);
	}
	return n;
}

static bool drain(void)
{
	bool any = false, all = false;

	for (unsigned k = 0; k < wait_set_rings(s.link->seg); k++) {
		struct cv_set *ring = wait_set_ring(s.link->seg, s.set, k);

		any |= ring_drain(ring, &s.head[k]) > 0;
		all |= s.overflow[k] != LOAD(ring->overflow);
		s.overflow[k] = LOAD(ring->overflow);
	}
	if (all)
		each_entry(entry_look);
	return any;
}

/* Takes what there is; returns the control connection, whose end is the engine's; -1: there is none, or it is this
 * process that ends it: as long as somebody waits for it, closing it would not. */
static int look(void)
{
	int control = -1;

	lock();
	if (s.link && LOAD_ACQUIRE(s.link->dead)) {
		each_entry(entry_end);
		s.link = NULL;
	}
	if (s.link) {
		do
			wait_set_arm(s.set, &s.armed);
		while (drain());
		control = s.link->inside ? -1 : s.link->control_fd;
	}
	unlock();
	return control;
}

static void *run(void *unused)
{
	(void)unused;
	prctl(PR_SET_NAME, "culvert-sigio");
	for (;;) {
		struct pollfd fds[2] = {{.fd = s.bell, .events = POLLIN}, {.events = 0}};

		fds[1].fd = look();
		inline_pass(); /* what ends with the process is not signalled */
		real_syscall(SYS_ppoll, fds, (nfds_t)2, NULL, NULL, (size_t)0);
		if (fds[0].revents)
			wait_bell_read(fds[0].fd);
		inline_pass();
		if (fds[1].revents & (POLLHUP | POLLERR)) {
			struct link *l = link_now();

			if (l && l->wait.control_fd == fds[1].fd)
				mux_link_lost(&l->wait);
		}
	}
	return NULL;
}

static bool thread_start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	if (s.running)
		return true;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	error = pthread_create(&thread, &attr, run, NULL); /* with the lock's mask: all signals blocked */
	pthread_attr_destroy(&attr);
	s.running = error == 0;
	return s.running;
}

/* --- the table ------------------------------------------------------------------------------------ */

static bool set_open(struct wait_link *link)
{
	int index;

	if (s.link == link)
		return true;
	if (s.bell < 0)
		s.bell = mux_internal_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	index = s.bell < 0 ? -EMFILE : mux_set_open(link, s.bell);
	if (index < 0)
		return false;
	s.set_index = (uint32_t)index;
	s.set = (struct cv_set *)(void *)((uint8_t *)(uintptr_t)link->seg + link->seg->sets_off +
					  s.set_index * link->seg->set_stride);
	for (unsigned k = 0; k < wait_set_rings(link->seg); k++) {
		const struct cv_set *ring = wait_set_ring(link->seg, s.set, k);

		s.head[k] = LOAD(ring->head);
		s.overflow[k] = LOAD(ring->overflow);
	}
	s.link = link;
	wait_set_arm(s.set, &s.armed);
	wait_bell_write(s.bell); /* a thread that sleeps looks at this link's end from now on */
	return true;
}

static bool entry_watch(struct entry *e, enum cv_op op)
{
	struct cv_command command = {.op = (uint8_t)op,
		.sock = e->handle,
		.arg = s.set_index,
		.len = (uint32_t)(e - s.entries) + e->life * COOKIE_SLOTS};

	return mux_post(s.link, &command, &e->watched) == 0;
}

static struct entry *entry_new(void)
{
	uint32_t n = s.entries_n ? 2 * s.entries_n : 16;
	struct entry *entries;

	if (s.first_free == s.entries_n) {
		entries = n > COOKIE_SLOTS
				  ? NULL
				  : memory_grow(s.entries, s.entries_n * sizeof(*entries), n * sizeof(*entries));
		if (!entries)
			return NULL;
		for (uint32_t i = s.entries_n; i < n; i++)
			entries[i] = (struct entry){.next_free = i + 1};
		s.entries = entries;
		s.entries_n = n;
	}
	entries = &s.entries[s.first_free];
	s.first_free = entries->next_free;
	return entries;
}

static void entry_free(struct entry *e)
{
	*e = (struct entry){.life = (e->life + 1) % (UINT_MAX / COOKIE_SLOTS), .next_free = s.first_free};
	s.first_free = (uint32_t)(e - s.entries);
}

/* From now on the thread knows of it, having seen what `from` says. */
static bool watch(struct file *f, struct seen from)
{
	struct entry *e;

	if (f->sigio)
		return true;
	if (!set_open(f->mux.link) || !thread_start() || !(e = entry_new()))
		return false;
	e->rec = f->mux.rec;
	e->link = f->mux.link;
	e->handle = f->mux.handle;
	e->seen = from;
	if (!entry_watch(e, CV_CMD_WATCH)) {
		entry_free(e);
		return false;
	}
	f->sigio = (uint32_t)(e - s.entries) + 1;
	s.used++;
	return true;
}

static void unwatch(struct file *f)
{
	struct entry *e = &s.entries[f->sigio - 1];

	if (s.link == f->mux.link && !LOAD(s.link->dead)) {
		/* Another thread's "watch" that came after this would stay for good. */
		mux_await(s.link, &e->watched);
		entry_watch(e, CV_CMD_UNWATCH);
	}
	entry_free(e);
	f->sigio = 0;
	s.used--;
}

static void say_none(int fd)
{
	static bool said;
	char text[112];

	if (__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		return;
	snprintf(text, sizeof(text),
		"F_SETOWN: descriptor %d is the engine's, and no thread or memory can be had to signal for it", fd);
	link_say(LINK_WARN, text);
}

static void name(struct entry *e, const struct sigio_owner *o, bool names)
{
	struct sigio_owner was = e->named;

	e->named = *o;
	if (!names) {
		e->named.id = was.id;
		e->named.kind = was.kind;
	}
}

/* The shadow knows who gets which signal; names: the program has just said who; async_fd: as which O_ASYNC was just
 * set, -1: as before. */
static void owner_update(int fd, struct file *f, bool names, int async_fd, struct seen from)
{
	struct f_owner_ex ex = {.pid = 0};
	int sig = 0, saved = errno;
	struct sigio_owner o;

	lock();
	if (!f->placeholder && real_fcntl(fd, F_GETOWN_EX, &ex) == 0)
		sig = real_fcntl(fd, F_GETSIG);
	o = sigio_owner_load(f->mux.rec);
	o = (struct sigio_owner){
		.id = ex.pid, .kind = (int)ex.type, .sig = sig > 0 ? sig : 0, .fd = async_fd < 0 ? o.fd : async_fd};
	/* A relative may make somebody its owner later. */
	if ((ex.pid != 0 || async_fd >= 0) && !watch(f, from))
		say_none(fd);
	if (f->sigio && async_fd >= 0)
		s.entries[f->sigio - 1].seen = from;
	if (f->sigio)
		name(&s.entries[f->sigio - 1], &o, names);
	sigio_owner_store(f->mux.rec, &o);
	unlock();
	errno = saved;
}

/* --- what the program asks for -------------------------------------------------------------------- */

bool sigio_is_fcntl(int cmd)
{
	return cmd == F_SETOWN || cmd == F_SETOWN_EX || cmd == F_SETSIG;
}

bool sigio_is_ioctl(unsigned long request)
{
	return request == FIOASYNC || request == FIOSETOWN || request == SIOCSPGRP;
}

/* The shadow must be its own: an owner is not for all that share one. */
static int own_shadow(struct file *f)
{
	pass_own_shadow(f);
	f->sigio_asked = true;
	return f->placeholder ? -ENFILE : 0;
}

int sigio_fcntl(int fd, struct file *f, int cmd, long arg)
{
	int error = own_shadow(f);

	if (error)
		return error;
	if (real_fcntl(fd, cmd, arg) < 0)
		return -errno;
	if (f->mux.rec)
		owner_update(fd, f, cmd != F_SETSIG, -1, seen_now(f->mux.rec));
	return 0;
}

int sigio_ioctl(int fd, struct file *f, unsigned long request, void *arg)
{
	int value, error;

	if (request != FIOASYNC) {
		error = own_shadow(f);
		if (!error && real_ioctl(fd, request, arg) < 0)
			return -errno;
		if (!error && f->mux.rec)
			owner_update(fd, f, true, -1, seen_now(f->mux.rec));
		return error;
	}
	if (!arg)
		return -EFAULT;
	memcpy(&value, arg, sizeof(value));
	if (f->mux.rec) {
		sigio_set_async(fd, f, value != 0);
		return 0;
	}
	if (value)
		sigio_note_async(fd, f);
	return real_ioctl(fd, request, arg) < 0 ? -errno : 0;
}

void sigio_set_async(int fd, struct file *f, bool on)
{
	struct cv_sock *rec = f->mux.rec;
	int flags;

	if (on == ((rec->flags & O_ASYNC) != 0))
		return;
	/* What the kernel serves of it, now or later, signals by itself. */
	flags = f->placeholder ? -1 : real_fcntl(fd, F_GETFL);
	if (flags >= 0)
		real_fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC);
	if (on)
		owner_update(fd, f, false, fd, seen_now(rec));
	__atomic_store_n(&rec->flags, on ? rec->flags | O_ASYNC : rec->flags & ~(uint32_t)O_ASYNC, __ATOMIC_RELEASE);
}

void sigio_note_async(int fd, struct file *f)
{
	f->sigio_asked = true;
	f->sigio_fd = fd;
}

void sigio_decided(int fd, struct file *f)
{
	if (f->sigio_asked)
		owner_update(fd, f, true, f->sigio_fd ? f->sigio_fd : fd, (struct seen){.want = 0});
}

void sigio_came(struct file *f)
{
	if (!LOAD(f->mux.rec->sigio_owner) && !(LOAD(f->mux.rec->flags) & O_ASYNC))
		return;
	lock();
	watch(f, seen_now(f->mux.rec));
	unlock();
}

void sigio_closed(struct file *f)
{
	if (!f->sigio)
		return;
	lock();
	unwatch(f);
	/* A relative that holds it too goes on. */
	if (LOAD(f->mux.rec->handle) == f->mux.handle && LOAD(f->mux.rec->sigio_sender) == (uint32_t)getpid())
		STORE(f->mux.rec->sigio_sender, 0);
	unlock();
}

/* --- fork ----------------------------------------------------------------------------------------- */

void sigio_fork_prepare(void)
{
	lock();
}

void sigio_fork_parent(void)
{
	unlock();
}

static void watch_again(struct entry *e)
{
	entry_watch(e, CV_CMD_WATCH);
}

/* The child has a set and a thread of its own, for the day when the parent signals no more. */
void sigio_fork_child(void)
{
	struct wait_link *link = s.link;

	s.running = false;
	s.link = NULL;
	mux_internal_close(s.bell);
	s.bell = -1;
	if (link && !LOAD(link->dead) && s.used > 0 && set_open(link) && thread_start())
		each_entry(watch_again);
	unlock();
}
