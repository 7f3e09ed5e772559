/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting, poll and epoll of the shim against an engine made of one function: sockets are records
 * on the heap, commands are carried out at once, events and bells follow the contract of segment.h
 * to the letter. What depends on timing (an event between look and sleep) is provoked by a second
 * thread that plays the engine as fast as it can; a lost wake-up ends a wait by its timeout, which
 * fails the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/handler.h"
#include "shim/epoll.h"
#include "shim/real.h"
#include "stack/api/command.h"

#define SOCKS 64
#define SETS 8
#define ENTRIES 16
#define WATCHES 64
#define FDS 256
#define LONG_MS 10000

/* --- libc ----------------------------------------------------------------------------------------
 */

#define X(ret, name, params, args) ret(*real_##name) params;
#define V(ret, name, params) ret(*real_##name) params;
#define A(ret, name, params, args, to)
#define E(ret, name, params)
#include "stack/api/intercept.def"
#undef X
#undef V
#undef A
#undef E

__attribute__((constructor)) static void find_real(void)
{
#define X(ret, name, params, args) *(void **)(void *)&real_##name = dlsym(RTLD_NEXT, #name);
#define V(ret, name, params) *(void **)(void *)&real_##name = dlsym(RTLD_NEXT, #name);
#define A(ret, name, params, args, to)
#define E(ret, name, params)
#include "stack/api/intercept.def"
#undef X
#undef V
#undef A
#undef E
}

/* No engine is inside: no turn keeps a handler out. */
__thread struct signal_turn signal_turn;

void signal_run_late(void)
{
}

/* --- the engine ------------------------------------------------------------------------------ */

struct set_memory {
	struct cv_set set;
	uint64_t ring[ENTRIES];
};

struct watch {
	uint32_t sock, set, cookie;
	bool used, posted;
	uint32_t posted_at;
};

static struct {
	pthread_mutex_t lock;
	struct {
		struct cv_segment head;
		struct cv_sock socks[SOCKS];
		struct set_memory sets[SETS];
	} seg;
	struct cv_page page;
	struct wait_link link;
	int bells[SETS];
	uint32_t rung[SETS];
	uint32_t sets_n;
	uint32_t served[SOCKS]; /* the value of tx_want that was answered */
	struct watch watches[WATCHES];
	struct mux_file files[SOCKS];
	uint32_t lives;
	struct mux_file *fds[FDS];
	struct mux_file epolls[SETS];
	uint32_t epolls_n;
} world;

static __thread struct wait_lane lane;
static struct cv_lane *lane_shared; /* of a waiting thread */
static bool completed;              /* with a bell for it */

static void post(struct watch *w)
{
	struct set_memory *m = &world.seg.sets[w->set];
	uint32_t head = __atomic_load_n(&m->set.head, __ATOMIC_ACQUIRE), armed;

	if (w->posted && (int32_t)(w->posted_at - head) >= 0)
		return;
	if (m->set.tail - head >= ENTRIES) {
		m->set.overflow++;
		w->posted = false;
	} else {
		m->ring[m->set.tail % ENTRIES] =
			CV_SET_EVENT(world.seg.socks[w->sock].handle, w->cookie);
		w->posted = true;
		w->posted_at = m->set.tail;
		__atomic_store_n(&m->set.tail, m->set.tail + 1, __ATOMIC_RELEASE);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	armed = __atomic_load_n(&m->set.armed, __ATOMIC_RELAXED);
	if (armed != 0 && armed != world.rung[w->set]) {
		world.rung[w->set] = armed;
		wait_bell_write(world.bells[w->set]);
	}
}

/* The record of `sock` has changed. */
static void tell(uint32_t sock)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (int i = 0; i < WATCHES; i++) {
		if (world.watches[i].used && world.watches[i].sock == sock)
			post(&world.watches[i]);
	}
}

static void produce(uint32_t sock, uint32_t n)
{
	struct cv_sock *rec = &world.seg.socks[sock];

	pthread_mutex_lock(&world.lock);
	__atomic_store_n(&rec->rx_produced, rec->rx_produced + n, __ATOMIC_RELEASE);
	tell(sock);
	pthread_mutex_unlock(&world.lock);
}

static void consume(uint32_t sock)
{
	struct cv_sock *rec = &world.seg.socks[sock];

	rec->rx_consumed = __atomic_load_n(&rec->rx_produced, __ATOMIC_ACQUIRE);
}

static uint32_t unread(uint32_t sock)
{
	struct cv_sock *rec = &world.seg.socks[sock];

	return (uint32_t)(__atomic_load_n(&rec->rx_produced, __ATOMIC_ACQUIRE) - rec->rx_consumed);
}

static void become(uint32_t sock, uint32_t status)
{
	pthread_mutex_lock(&world.lock);
	__atomic_store_n(&world.seg.socks[sock].status, status, __ATOMIC_RELEASE);
	tell(sock);
	pthread_mutex_unlock(&world.lock);
}

/* --- what shim-core provides ----------------------------------------------------------------- */

struct mux_file *mux_file_get(int fd)
{
	return fd >= 0 && fd < FDS ? world.fds[fd] : NULL;
}

bool mux_file_is_open(const struct mux_file *f)
{
	(void)f;
	return true;
}

void mux_file_hold(struct mux_file *f)
{
	(void)f;
}

void mux_file_put(struct mux_file *f)
{
	(void)f;
}

int mux_set_open(struct wait_link *link, int bell)
{
	(void)link;
	pthread_mutex_lock(&world.lock);
	uint32_t index = world.sets_n++;
	assert_true(index < SETS);
	world.bells[index] = bell;
	pthread_mutex_unlock(&world.lock);
	return (int)index;
}

void mux_set_close(struct wait_link *link, uint32_t set)
{
	(void)link;
	for (int i = 0; i < WATCHES; i++) {
		if (world.watches[i].set == set)
			world.watches[i].used = false;
	}
}

struct wait_lane *mux_lane(struct wait_link *link)
{
	if (!lane.set) {
		int bell = eventfd(0, EFD_NONBLOCK), set = mux_set_open(link, bell);
		static struct cv_lane none;

		wait_lane_init(
			&lane, link, &none, &world.seg.sets[set].set, (uint32_t)set, 0, bell);
	}
	return &lane;
}

int mux_post(struct wait_link *link, const struct cv_command *c, struct mux_ticket *ticket)
{
	uint32_t sock = CV_SOCK_INDEX(c->sock);
	int at = -1;

	(void)link;
	(void)ticket;
	pthread_mutex_lock(&world.lock);
	for (int i = 0; i < WATCHES; i++) {
		struct watch *w = &world.watches[i];

		if (!w->used)
			at = at < 0 ? i : at;
		else if (w->sock == sock && w->set == c->arg && w->cookie == c->len)
			w->used = c->op == CV_CMD_WATCH;
	}
	if (c->op == CV_CMD_WATCH) {
		assert_true(at >= 0);
		world.watches[at] =
			(struct watch){.sock = sock, .set = c->arg, .cookie = c->len, .used = true};
		post(&world.watches[at]);
	}
	pthread_mutex_unlock(&world.lock);
	return 0;
}

void mux_await(struct wait_link *link, const struct mux_ticket *ticket)
{
	(void)link;
	(void)ticket;
}

bool mux_is_awaited(const struct mux_file *f)
{
	(void)f;
	return false;
}

int mux_decision_bell(struct mux_file *f)
{
	(void)f;
	return -1;
}

void mux_link_lost(struct wait_link *link)
{
	link->dead = 1;
}

int mux_internal_fd(int fd)
{
	return fd;
}

void mux_internal_close(int fd)
{
	real_close(fd);
}

int mux_file_add_epoll(int fd, struct ep *ep)
{
	struct mux_file *f = &world.epolls[world.epolls_n++ % SETS];

	*f = (struct mux_file){.ep = ep};
	world.fds[fd] = f;
	return 0;
}

void mux_file_each_fd(struct mux_file *file, void (*f)(int fd, void *arg), void *arg)
{
	for (int fd = 0; fd < FDS; fd++) {
		if (world.fds[fd] == file)
			f(fd, arg);
	}
}

/* --- set-up ---------------------------------------------------------------------------------- */

static int control[2];

static int setup(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	memset(&lane, 0, sizeof(lane));
	pthread_mutex_init(&world.lock, NULL);
	assert_int_equal(pipe(control), 0);
	world.seg.head = (struct cv_segment){.socks_max = SOCKS,
		.sets_max = SETS,
		.set_entries = ENTRIES,
		.sets_off = offsetof(__typeof__(world.seg), sets),
		.set_stride = sizeof(struct set_memory)};
	world.page.worker[0].cpu = UINT32_MAX;
	/* The reading end of a pipe: POLLHUP when the other one is closed. */
	world.link = (struct wait_link){
		.seg = &world.seg.head, .page = &world.page, .control_fd = control[0]};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wait_lane_fini(&lane);
	for (int fd = 0; fd < FDS; fd++) {
		struct mux_file *f = world.fds[fd];

		if (!f)
			continue;
		world.fds[fd] = NULL;
		mux_file_closed(f);
		real_close(fd);
	}
	real_close(control[0]);
	real_close(control[1]);
	return 0;
}

/* A connected stream; record i. */
static int sock_new(uint32_t i)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct cv_sock *rec = &world.seg.socks[i];

	*rec = (struct cv_sock){.handle = CV_SOCK_HANDLE(i, 1),
		.status = CV_ST_CONNECTED,
		.type = CV_STREAM,
		.sndbuf = 30000,
		.rcvbuf = 60000,
		.rcvlowat = 1};
	world.files[i] = (struct mux_file){
		.link = &world.link, .rec = rec, .handle = CV_SOCK_HANDLE(i, 1), .life = ++world.lives};
	world.fds[fd] = &world.files[i];
	return fd;
}

static void add(int set, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), 0);
}

static void mod(int set, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	assert_int_equal(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event), 0);
}

static uint32_t one(int set, uint64_t data)
{
	struct epoll_event events[4];

	assert_int_equal(epoll_wait(set, events, 4, LONG_MS), 1);
	assert_int_equal(events[0].data.u64, data);
	return events[0].events;
}

static void none(int set)
{
	struct epoll_event events[4];

	assert_int_equal(epoll_wait(set, events, 4, 0), 0);
	assert_int_equal(epoll_wait(set, events, 4, 5), 0);
}

/* --- readiness ------------------------------------------------------------------------------- */

static void ready__each_state__as_tcp_poll(void **state)
{
	uint32_t in = POLLIN | POLLRDNORM, out = POLLOUT | POLLWRNORM;
	struct mux_file *f = mux_file_get(sock_new(1));

	(void)state;
	assert_int_equal(wait_ready(f), out);
	f->rec->status = 0;
	assert_int_equal(wait_ready(f), out | POLLHUP);
	f->rec->status = CV_ST_BOUND | CV_ST_CONNECTING;
	assert_int_equal(wait_ready(f), 0);
	f->rec->status = CV_ST_LISTENING;
	assert_int_equal(wait_ready(f), 0);
	f->rec->rx_produced = 1;
	assert_int_equal(wait_ready(f), in);
	f->rec->status = CV_ST_CONNECTED;
	assert_int_equal(wait_ready(f), in | out);
	f->rec->rx_consumed = 1;
	f->rec->status |= CV_ST_RX_EOF;
	assert_int_equal(wait_ready(f), in | out | POLLRDHUP);
	f->rec->status |= CV_ST_TX_SHUT;
	assert_int_equal(wait_ready(f), in | out | POLLRDHUP | POLLHUP);
	f->rec->status = CV_ST_CONNECTED | CV_ST_DEAD;
	f->rec->error_seq = 1;
	assert_int_equal(wait_ready(f), in | out | POLLRDHUP | POLLHUP | POLLERR);
	f->rec->error_seen = 1;
	assert_int_equal(wait_ready(f), in | out | POLLRDHUP | POLLHUP);
	f->rec->status = CV_ST_CONNECTED | CV_ST_URGENT;
	f->rec->rx_urgent_pos = 1;
	assert_int_equal(wait_ready(f), out); /* announced, and still on its way */
	f->rec->rx_produced = 2;
	assert_int_equal(wait_ready(f), out | POLLPRI);
	f->rec->rx_consumed = 2; /* passed by unread */
	assert_int_equal(wait_ready(f), out);
	world.link.dead = 1;
	assert_int_equal(wait_ready(f), in | out | POLLRDHUP | POLLHUP | POLLERR);
}

static void ready__room__a_third(void **state)
{
	struct mux_file *f = mux_file_get(sock_new(1));

	(void)state;
	f->rec->tx_pos = 20000;
	assert_true(wait_ready(f) & POLLOUT);
	f->rec->tx_pos = 20001;
	assert_false(wait_ready(f) & POLLOUT);
	assert_int_equal(f->rec->tx_want, 0);
	assert_false(wait_ready_want(f, POLLIN) & POLLOUT);
	assert_int_equal(f->rec->tx_want, 0);
	assert_false(wait_ready_want(f, POLLOUT) & POLLOUT);
	assert_int_equal(f->rec->tx_want, 1);
	f->rec->rcvlowat = 100;
	f->rec->rx_produced = 99;
	assert_false(wait_ready(f) & POLLIN);
	f->rec->rx_produced = 100;
	assert_true(wait_ready(f) & POLLIN);
}

/* --- epoll ----------------------------------------------------------------------------------- */

static void epoll__level_edge_oneshot(void **state)
{
	int set = epoll_create1(0), a = sock_new(1), b = sock_new(2), c = sock_new(3);

	(void)state;
	add(set, a, EPOLLIN, 1);
	add(set, b, EPOLLIN | EPOLLET, 2);
	add(set, c, EPOLLIN | EPOLLONESHOT, 3);
	none(set);
	produce(1, 1);
	assert_int_equal(one(set, 1), EPOLLIN);
	assert_int_equal(one(set, 1), EPOLLIN);
	consume(1);
	none(set);
	produce(2, 1);
	assert_int_equal(one(set, 2), EPOLLIN);
	none(set);
	produce(2, 1);
	assert_int_equal(one(set, 2), EPOLLIN);
	none(set);
	mod(set, b, EPOLLIN | EPOLLET, 4);
	assert_int_equal(one(set, 4), EPOLLIN);
	/* An event that changed nothing the item asks for is no edge. */
	pthread_mutex_lock(&world.lock);
	world.seg.socks[2].tx_acked = 0;
	tell(2);
	pthread_mutex_unlock(&world.lock);
	none(set);
	produce(3, 1);
	assert_int_equal(one(set, 3), EPOLLIN);
	produce(3, 1);
	none(set);
	mod(set, c, EPOLLIN | EPOLLONESHOT, 5);
	assert_int_equal(one(set, 5), EPOLLIN);
	become(1, CV_ST_CONNECTED | CV_ST_RX_EOF | CV_ST_TX_SHUT);
	assert_int_equal(one(set, 1), EPOLLIN | EPOLLHUP);
}

/* What the engine does at the end of a turn for a sender that found the buffer full, when there is room by what it has
 * taken until then: each want is answered once. */
static void answer(uint32_t sock)
{
	struct cv_sock *rec = &world.seg.socks[sock];

	pthread_mutex_lock(&world.lock);
	if (rec->tx_want != world.served[sock]) {
		world.served[sock] = rec->tx_want;
		tell(sock);
	}
	pthread_mutex_unlock(&world.lock);
}

static void epoll__edge_out__answer_before_the_last_bytes_were_taken(void **state)
{
	int set = epoll_create1(0), fd = sock_new(1);
	struct cv_sock *rec = &world.seg.socks[1];

	(void)state;
	add(set, fd, EPOLLOUT | EPOLLET, 1);
	assert_int_equal(one(set, 1), EPOLLOUT);
	rec->tx_pos = rec->sndbuf;
	wait_want_room(rec);
	none(set);
	/* The program sees what is acknowledged before it is told, and fills the room. */
	rec->tx_acked = rec->sndbuf;
	answer(1);
	assert_int_equal(one(set, 1), EPOLLOUT);
	rec->tx_pos += rec->sndbuf;
	wait_want_room(rec);
	answer(1); /* the engine has not taken these yet */
	none(set);
	rec->tx_acked = rec->tx_pos;
	answer(1);
	assert_int_equal(one(set, 1), EPOLLOUT);
	none(set);
}

static void epoll__edge_out__room_without_acknowledgement(void **state)
{
	int set = epoll_create1(0), fd = sock_new(1);
	struct cv_sock *rec = &world.seg.socks[1];

	(void)state;
	add(set, fd, EPOLLOUT | EPOLLET, 1);
	assert_int_equal(one(set, 1), EPOLLOUT);
	rec->tx_pos = rec->sndbuf;
	wait_want_room(rec);
	none(set);
	rec->sndbuf *= 2;
	answer(1);
	assert_int_equal(one(set, 1), EPOLLOUT);
	none(set);
}

/* The queue of errors was read empty, and has another one before the set is looked at. */
static void epoll__edge_err__queue_that_was_empty_between(void **state)
{
	int set = epoll_create1(0), fd = sock_new(1);

	(void)state;
	world.seg.socks[1].type = CV_DGRAM;
	add(set, fd, EPOLLIN | EPOLLET, 1);
	none(set);
	for (int i = 0; i < 2; i++) {
		become(1, CV_ST_BOUND | CV_ST_ERRQUEUE);
		assert_int_equal(one(set, 1), EPOLLERR);
		none(set);
		become(1, CV_ST_BOUND);
	}
}

/* The engine says where the urgent byte is before it has come. */
static void epoll__edge_pri__byte_after_its_announcement(void **state)
{
	int set = epoll_create1(0), fd = sock_new(1);
	struct cv_sock *rec = &world.seg.socks[1];

	(void)state;
	add(set, fd, EPOLLPRI | EPOLLET, 1);
	none(set);
	rec->rx_urgent_pos = 3;
	become(1, CV_ST_CONNECTED | CV_ST_URGENT);
	none(set);
	produce(1, 4);
	assert_int_equal(one(set, 1), EPOLLPRI);
	none(set);
	rec->rx_urgent_pos = 7;
	produce(1, 4);
	assert_int_equal(one(set, 1), EPOLLPRI);
	none(set);
}

static void epoll__ring_overflow__all_members_are_looked_at(void **state)
{
	struct epoll_event events[2 * ENTRIES];
	int set = epoll_create1(0);
	unsigned seen = 0;

	(void)state;
	for (uint32_t i = 1; i <= 2 * ENTRIES; i++)
		add(set, sock_new(i), EPOLLIN, i);
	for (uint32_t i = 1; i <= 2 * ENTRIES; i++)
		produce(i, 1);
	assert_true(world.seg.sets[0].set.overflow > 0);
	while (seen < 2 * ENTRIES) {
		int n = epoll_wait(set, events, 2 * ENTRIES, LONG_MS);

		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			assert_true(unread((uint32_t)events[i].data.u64));
			consume((uint32_t)events[i].data.u64);
			seen++;
		}
	}
	none(set);
}

static void epoll__nested_and_in_poll(void **state)
{
	int outer = epoll_create1(0), inner = epoll_create1(0), a = sock_new(1), b = sock_new(2);

	(void)state;
	add(inner, a, EPOLLIN, 1);
	add(outer, inner, EPOLLIN, 2);
	add(outer, b, EPOLLIN, 3);
	none(outer);
	produce(1, 1);
	assert_int_equal(one(outer, 2), EPOLLIN);
	assert_int_equal(one(inner, 1), EPOLLIN);
	consume(1);
	none(outer);
	produce(2, 1);
	assert_int_equal(one(outer, 3), EPOLLIN);
	consume(2);
	none(outer);
	struct pollfd fds[2] = {{.fd = inner, .events = POLLIN}, {.fd = b, .events = POLLIN}};
	assert_int_equal(poll(fds, 2, 0), 0);
	produce(1, 1);
	assert_int_equal(poll(fds, 2, LONG_MS), 1);
	assert_int_equal(fds[0].revents, POLLIN);
	produce(2, 1);
	assert_int_equal(poll(fds, 2, LONG_MS), 2);
}

static void epoll__engine_dies__members_report(void **state)
{
	int set = epoll_create1(0), a = sock_new(1);

	(void)state;
	add(set, a, EPOLLIN, 1);
	none(set);
	real_close(control[1]);
	control[1] = -1;
	assert_int_equal(one(set, 1), EPOLLIN | EPOLLERR | EPOLLHUP);
	assert_int_equal(world.link.dead, 1);
	assert_int_equal(one(set, 1), EPOLLIN | EPOLLERR | EPOLLHUP);
}

static void poll__engine_dies__reported(void **state)
{
	int a = sock_new(1);
	struct pollfd fd = {.fd = a, .events = POLLIN};

	(void)state;
	real_close(control[1]);
	control[1] = -1;
	assert_int_equal(poll(&fd, 1, LONG_MS), 1);
	assert_int_equal(fd.revents, POLLIN | POLLERR | POLLHUP);
	assert_true(wait_sock(&world.files[1], POLLIN, -1, WAIT_FOREVER) > 0);
}

/* --- who is told ------------------------------------------------------------------------------ */

/* The bell that rings for a sleeper is taken by another thread's look at the kernel's half, behind its look at ours. */
static struct {
	pthread_t sleeper;
	int set, got;
	bool told;
	uint32_t at_door, open;
	__typeof__(real_epoll_wait) wait;
	__typeof__(real_epoll_pwait2) pwait2;
} door;

static int at_the_door(int set, struct epoll_event *out, int max, const struct timespec *timeout, const sigset_t *mask)
{
	__atomic_store_n(&door.at_door, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&door.open, __ATOMIC_ACQUIRE))
		sched_yield();
	return door.pwait2(set, out, max, timeout, mask);
}

static int behind_the_look(int set, struct epoll_event *out, int max, int timeout_ms)
{
	real_epoll_wait = door.wait;
	produce(1, 1);
	return door.wait(set, out, max, timeout_ms);
}

static void *sleeper(void *arg)
{
	struct epoll_event event;
	uint64_t end = wait_now_ns() + 2000000000u;

	(void)arg;
	/* Who was not told finds the event when its time is over. */
	door.got = epoll_wait(door.set, &event, 1, 2000);
	door.told = wait_now_ns() < end;
	return NULL;
}

static void epoll__bell_taken_by_who_does_not_sleep__the_sleeper_is_told(void **state)
{
	int ends[2], a = sock_new(1);
	struct epoll_event events[4];
	struct ep *ep;

	(void)state;
	memset(&door, 0, sizeof(door));
	door.set = epoll_create1(0);
	door.wait = real_epoll_wait;
	door.pwait2 = real_epoll_pwait2;
	assert_int_equal(pipe(ends), 0);
	add(door.set, a, EPOLLIN, 1);
	add(door.set, ends[0], EPOLLIN | EPOLLET, 2);
	none(door.set);
	real_epoll_pwait2 = at_the_door;
	assert_int_equal(pthread_create(&door.sleeper, NULL, sleeper, NULL), 0);
	while (!__atomic_load_n(&door.at_door, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_int_equal(write(ends[1], "p", 1), 1);
	ep = world.fds[door.set]->ep;
	ep->kernel_turn = true; /* ours goes first */
	ep->kernel_looked_ns = 0;
	real_epoll_wait = behind_the_look;
	assert_int_equal(epoll_wait(door.set, events, 4, LONG_MS), 1);
	assert_int_equal(events[0].data.u64, 2);
	__atomic_store_n(&door.open, 1, __ATOMIC_RELEASE);
	pthread_join(door.sleeper, NULL);
	real_epoll_pwait2 = door.pwait2;
	assert_int_equal(door.got, 1);
	assert_true(door.told);
	real_close(ends[0]);
	real_close(ends[1]);
}

static void poll__handle_comes_again__watched_again(void **state)
{
	struct pollfd fd = {.fd = sock_new(1), .events = POLLIN};
	struct mux_file *f = world.fds[fd.fd];

	(void)state;
	assert_int_equal(poll(&fd, 1, 1), 0);
	assert_true(world.watches[0].used);
	/* It ends, and with it what watched it; many lives later its record has that number again. */
	world.watches[0].used = false;
	world.fds[fd.fd] = NULL;
	mux_file_closed(f);
	real_close(fd.fd);
	fd.fd = sock_new(1);
	assert_int_equal(poll(&fd, 1, 1), 0);
	assert_true(world.watches[0].used);
}

/* Like the engine, which asks the lane before it rings for its progress. */
static void *completes(void *arg)
{
	pthread_t waiter = *(pthread_t *)arg;
	struct cv_lane *shared = lane_shared;
	struct cv_set *set = &world.seg.sets[0].set;

	usleep(50000);
	pthread_kill(waiter, SIGUSR1);
	usleep(50000);
	__atomic_store_n(&shared->comp_tail, 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	completed = __atomic_load_n(&shared->want, __ATOMIC_RELAXED) && __atomic_load_n(&set->armed, __ATOMIC_RELAXED);
	wait_bell_write(world.bells[0]);
	return NULL;
}

static void waits_too(int sig)
{
	(void)sig;
	(void)wait_ring(mux_lane(&world.link), UINT32_MAX);
}

static void completion__handler_waits_meanwhile__still_wanted(void **state)
{
	struct sigaction action = {.sa_handler = waits_too, .sa_flags = SA_RESTART}, old;
	pthread_t thread, self = pthread_self();

	(void)state;
	sock_new(1);
	lane_shared = mux_lane(&world.link)->lane;
	assert_int_equal(real_sigaction(SIGUSR1, &action, &old), 0);
	assert_int_equal(pthread_create(&thread, NULL, completes, &self), 0);
	assert_int_equal(wait_completion(mux_lane(&world.link), &world.files[1], 0, WAIT_FOREVER), 1);
	pthread_join(thread, NULL);
	real_sigaction(SIGUSR1, &old, NULL);
	assert_true(completed);
	assert_int_equal(lane_shared->want, 0);
	lane_shared->comp_tail = 0;
}

/* --- fork ------------------------------------------------------------------------------------ */

/* The child's copy of the heap is an engine of its own; what is shared is the kernel's half. */
static int child_uses_set(int set, int inner, const int ends[2])
{
	char byte;

	mux_fork_child();
	memset(&lane, 0, sizeof(lane));
	none(set);
	produce(1, 1);
	assert_int_equal(one(set, 1), EPOLLIN);
	consume(1);
	none(set);
	assert_int_equal(write(ends[1], "p", 1), 1);
	assert_int_equal(one(set, 2), EPOLLIN);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	produce(2, 1);
	assert_int_equal(one(set, 3), EPOLLIN);
	assert_int_equal(one(inner, 4), EPOLLIN);
	consume(2);
	none(set);
	/* The parent's sets are left alone. */
	assert_int_equal(world.seg.sets[0].set.armed, world.page.pid);
	return 0;
}

static void fork__child_takes_the_set_over__parent_undisturbed(void **state)
{
	int set = epoll_create1(0), inner = epoll_create1(0), a = sock_new(1), b = sock_new(2);
	int ends[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	add(set, a, EPOLLIN, 1);
	add(set, ends[0], EPOLLIN, 2);
	add(inner, b, EPOLLIN, 4);
	add(set, inner, EPOLLIN, 3);
	none(set);
	/* Any word that the child inherits will do to remember this one. */
	world.page.pid = world.seg.sets[0].set.armed;
	mux_fork_prepare();
	child = fork();
	if (child == 0)
		_exit(child_uses_set(set, inner, ends));
	mux_fork_parent();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	none(set);
	produce(1, 1);
	assert_int_equal(one(set, 1), EPOLLIN);
	consume(1);
	produce(2, 1);
	assert_int_equal(one(set, 3), EPOLLIN);
	real_close(ends[0]);
	real_close(ends[1]);
}

/* --- no wake-up is lost ---------------------------------------------------------------------- */

#define ROUNDS 20000
#define BUSY 8

static uint32_t acknowledged;

/* Produces on one socket after the other, the next as soon as the last was consumed; now and then a
 * pause lets the other side fall asleep. */
static void *engine(void *arg)
{
	uint32_t seed = 1;

	(void)arg;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		seed = seed * 1664525u + 1013904223u;
		uint32_t pause = seed >> 24;

		if (pause == 0)
			usleep(100);
		for (volatile uint32_t i = 0; i < pause * 4; i++)
			;
		produce(1 + (seed >> 8) % BUSY, 1);
		while (__atomic_load_n(&acknowledged, __ATOMIC_ACQUIRE) <= round)
			sched_yield();
	}
	return NULL;
}

enum way { BY_EPOLL, BY_EDGE, BY_POLL, BY_NESTED };

static void wait_by(enum way way, int outer, int set, struct pollfd *fds)
{
	struct epoll_event event;

	switch (way) {
	case BY_NESTED:
		assert_int_equal(epoll_wait(outer, &event, 1, LONG_MS), 1);
		assert_int_equal(epoll_wait(set, &event, 1, LONG_MS), 1);
		break;
	case BY_EPOLL:
	case BY_EDGE:
		assert_int_equal(epoll_wait(set, &event, 1, LONG_MS), 1);
		break;
	case BY_POLL:
		assert_int_equal(poll(fds, BUSY, LONG_MS), 1);
	}
}

static void stress(enum way way)
{
	int outer = epoll_create1(0), set = epoll_create1(0);
	struct pollfd fds[BUSY];
	pthread_t thread;

	acknowledged = 0;
	for (uint32_t i = 0; i < BUSY; i++) {
		fds[i] = (struct pollfd){.fd = sock_new(i + 1), .events = POLLIN};
		add(set, fds[i].fd, way == BY_EDGE ? EPOLLIN | EPOLLET : EPOLLIN, i);
	}
	if (way == BY_NESTED)
		add(outer, set, EPOLLIN, 99);
	assert_int_equal(pthread_create(&thread, NULL, engine, NULL), 0);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t found = 0;

		wait_by(way, outer, set, fds);
		for (uint32_t i = 1; i <= BUSY; i++) {
			found += unread(i);
			consume(i);
		}
		assert_int_equal(found, 1);
		__atomic_store_n(&acknowledged, round + 1, __ATOMIC_RELEASE);
	}
	pthread_join(thread, NULL);
}

static void stress__epoll(void **state)
{
	(void)state;
	stress(BY_EPOLL);
}

static void stress__edge(void **state)
{
	(void)state;
	stress(BY_EDGE);
}

static void stress__poll(void **state)
{
	(void)state;
	stress(BY_POLL);
}

static void stress__nested(void **state)
{
	(void)state;
	stress(BY_NESTED);
}

static void stress__blocking_call(void **state)
{
	pthread_t thread;

	(void)state;
	acknowledged = 0;
	for (uint32_t i = 1; i <= BUSY; i++)
		sock_new(i);
	assert_int_equal(pthread_create(&thread, NULL, engine, NULL), 0);
	uint32_t seed = 1;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		seed = seed * 1664525u + 1013904223u;
		uint32_t sock = 1 + (seed >> 8) % BUSY;

		assert_true(
			wait_sock(&world.files[sock], POLLIN, -1, wait_deadline(10000000000u)) > 0);
		assert_int_equal(unread(sock), 1);
		consume(sock);
		__atomic_store_n(&acknowledged, round + 1, __ATOMIC_RELEASE);
	}
	pthread_join(thread, NULL);
}

/* Threads that share one set, each event for one of them, sockets and pipes: one that gets a pipe's does not come back
 * before the sockets' are served, and there is always one that sleeps. */
#define SHARERS 3
#define SHARED_ROUNDS 5000

static struct {
	int set, fds[BUSY], pipes[2];
	uint32_t served, stop, held, release;
} shared;

static void *sharer(void *arg)
{
	struct epoll_event events[2];

	(void)arg;
	while (!__atomic_load_n(&shared.stop, __ATOMIC_ACQUIRE)) {
		int n = epoll_wait(shared.set, events, 2, -1);

		for (int i = 0; i < n; i++) {
			uint32_t k = (uint32_t)events[i].data.u64;

			if (k == BUSY)
				continue;
			consume(k + 1);
			mod(shared.set, shared.fds[k], EPOLLIN | EPOLLONESHOT, k);
			__atomic_add_fetch(&shared.served, 1, __ATOMIC_ACQ_REL);
		}
		for (int i = 0; i < n; i++) {
			char byte;

			if (events[i].data.u64 != BUSY || __atomic_load_n(&shared.stop, __ATOMIC_ACQUIRE))
				continue;
			assert_int_equal(read(shared.pipes[0], &byte, 1), 1);
			__atomic_add_fetch(&shared.held, 1, __ATOMIC_ACQ_REL);
			while (!__atomic_load_n(&shared.release, __ATOMIC_ACQUIRE))
				sched_yield();
			mod(shared.set, shared.pipes[0], EPOLLIN | EPOLLONESHOT, BUSY);
			__atomic_sub_fetch(&shared.held, 1, __ATOMIC_ACQ_REL);
		}
	}
	return NULL;
}

static bool becomes(const uint32_t *word, uint32_t value)
{
	uint64_t end = wait_now_ns() + 5000000000u;

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
		if (wait_now_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

static void stress__threads_share_a_set(void **state)
{
	pthread_t threads[SHARERS];
	uint32_t seed = 1;

	(void)state;
	memset(&shared, 0, sizeof(shared));
	shared.set = epoll_create1(0);
	assert_int_equal(pipe(shared.pipes), 0);
	for (uint32_t i = 0; i < BUSY; i++) {
		shared.fds[i] = sock_new(i + 1);
		add(shared.set, shared.fds[i], EPOLLIN | EPOLLONESHOT, i);
	}
	add(shared.set, shared.pipes[0], EPOLLIN | EPOLLONESHOT, BUSY);
	for (int i = 0; i < SHARERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sharer, NULL), 0);
	for (uint32_t round = 0; round < SHARED_ROUNDS; round++) {
		seed = seed * 1664525u + 1013904223u;
		for (volatile uint32_t i = 0; i < (seed >> 20); i++)
			;
		__atomic_store_n(&shared.release, 0, __ATOMIC_RELEASE);
		if (seed >> 8 & 1)
			assert_int_equal(write(shared.pipes[1], "p", 1), 1);
		produce(1 + (seed >> 12) % BUSY, 1);
		if (!(seed >> 8 & 1))
			assert_int_equal(write(shared.pipes[1], "p", 1), 1);
		assert_true(becomes(&shared.served, round + 1));
		assert_true(becomes(&shared.held, 1));
		__atomic_store_n(&shared.release, 1, __ATOMIC_RELEASE);
		assert_true(becomes(&shared.held, 0));
	}
	__atomic_store_n(&shared.stop, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < SHARERS; i++) {
		for (uint32_t k = 0; k < BUSY; k++)
			produce(k + 1, 1);
		assert_int_equal(write(shared.pipes[1], "pppp", 4), 4);
	}
	for (int i = 0; i < SHARERS; i++)
		pthread_join(threads[i], NULL);
	real_close(shared.pipes[0]);
	real_close(shared.pipes[1]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(ready__each_state__as_tcp_poll),
		CASE(ready__room__a_third),
		CASE(epoll__level_edge_oneshot),
		CASE(epoll__edge_out__answer_before_the_last_bytes_were_taken),
		CASE(epoll__edge_out__room_without_acknowledgement),
		CASE(epoll__edge_err__queue_that_was_empty_between),
		CASE(epoll__edge_pri__byte_after_its_announcement),
		CASE(epoll__ring_overflow__all_members_are_looked_at),
		CASE(epoll__nested_and_in_poll),
		CASE(epoll__engine_dies__members_report),
		CASE(poll__engine_dies__reported),
		CASE(epoll__bell_taken_by_who_does_not_sleep__the_sleeper_is_told),
		CASE(poll__handle_comes_again__watched_again),
		CASE(completion__handler_waits_meanwhile__still_wanted),
		CASE(fork__child_takes_the_set_over__parent_undisturbed),
		CASE(stress__epoll),
		CASE(stress__edge),
		CASE(stress__poll),
		CASE(stress__nested),
		CASE(stress__blocking_call),
		CASE(stress__threads_share_a_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
