/* SPDX-License-Identifier: BSD-3-Clause */
/* Sets between threads and over fork: who is woken, who holds what. */
#include "tests/diff/mux.h"

struct adder {
	int set, fd, op;
	uint32_t events;
	pid_t sleeper;
};

static void *ctl_when_blocked(void *arg)
{
	struct adder *a = arg;

	diff_wait_blocked(a->sleeper);
	works(mux_ctl(a->set, a->op, a->fd, a->events, 9));
	return NULL;
}

CASE(epoll__add_while_another_thread_waits__wakes_it)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	struct adder a = {set, server, EPOLL_CTL_ADD, EPOLLIN, gettid()};
	pthread_t thread = diff_thread(ctl_when_blocked, &a);
	same(mux_one(set, 9), EPOLLIN);
	same(pthread_join(thread, NULL), 0);
	/* And with a member already there. */
	mux_mod(set, server, EPOLLPRI, 1);
	a.op = EPOLL_CTL_MOD;
	thread = diff_thread(ctl_when_blocked, &a);
	same(mux_one(set, 9), EPOLLIN);
	same(pthread_join(thread, NULL), 0);
}

struct worker {
	int set;
	uint64_t got;
};

static void *wait_one(void *arg)
{
	struct worker *w = arg;
	struct epoll_event event;

	same(works(epoll_wait(w->set, &event, 1, 5000)), 1);
	w->got = event.data.u64;
	return NULL;
}

CASE(epoll__two_threads_one_shot__one_event_each)
{
	for (int round = 0; round < 50; round++) {
		int set = mux_new(), client[2], server[2];
		struct worker w[2] = {{set, 0}, {set, 0}};
		pthread_t threads[2];

		for (int i = 0; i < 2; i++) {
			diff_pair(&client[i], &server[i]);
			mux_add(set, server[i], EPOLLIN | EPOLLONESHOT, (uint64_t)i + 1);
			threads[i] = diff_thread(wait_one, &w[i]);
		}
		for (int i = 0; i < 2; i++)
			mux_send(client[i], "x");
		for (int i = 0; i < 2; i++)
			same(pthread_join(threads[i], NULL), 0);
		same(w[0].got + w[1].got, 3);
		for (int i = 0; i < 2; i++) {
			works(close(client[i]));
			works(close(server[i]));
		}
		works(close(set));
	}
}

/* --- many threads accept ------------------------------------------------------------------------
 */

enum { ACCEPTORS = 4, CONNECTIONS = 200 };

struct acceptor {
	int set, listener;
	uint32_t *total;
};

static void *accept_all(void *arg)
{
	struct acceptor *a = arg;
	struct epoll_event event;

	while (__atomic_load_n(a->total, __ATOMIC_SEQ_CST) < CONNECTIONS) {
		if (works(epoll_wait(a->set, &event, 1, 50)) == 0)
			continue;
		int fd = accept(a->listener, NULL, NULL);
		if (fd < 0) {
			same(errno, EAGAIN);
			continue;
		}
		mux_send(fd, "hi");
		works(close(fd));
		__atomic_fetch_add(a->total, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void many_acceptors(bool one_set, uint32_t flags)
{
	int listener = diff_listen(SOCK_NONBLOCK, 0, 64), set = mux_new();
	struct acceptor a[ACCEPTORS];
	pthread_t threads[ACCEPTORS];
	uint32_t total = 0;

	if (one_set)
		mux_add(set, listener, EPOLLIN | flags, 0);
	for (int i = 0; i < ACCEPTORS; i++) {
		a[i] = (struct acceptor){one_set ? set : mux_new(), listener, &total};
		if (!one_set)
			mux_add(a[i].set, listener, EPOLLIN | flags, 0);
		threads[i] = diff_thread(accept_all, &a[i]);
	}
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = diff_connect(listener);
		mux_expect(fd, "hi");
		works(close(fd));
	}
	for (int i = 0; i < ACCEPTORS; i++)
		same(pthread_join(threads[i], NULL), 0);
	same(total, CONNECTIONS);
}

CASE(epoll__threads_with_own_sets_exclusive__each_connection_once)
{
	many_acceptors(false, EPOLLEXCLUSIVE);
}

CASE(epoll__threads_with_own_sets__each_connection_once)
{
	many_acceptors(false, 0);
}

CASE(epoll__threads_on_one_set__each_connection_once)
{
	many_acceptors(true, 0);
}

/* --- request and reply over threads: no wake-up is lost -------------------------------------- */

static void *serve(void *arg)
{
	int fd = *(int *)arg, set = mux_new();
	struct epoll_event event;
	char byte;

	mux_add(set, fd, EPOLLIN | EPOLLET, 1);
	for (;;) {
		ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
		if (n == 0)
			return NULL;
		if (n == 1) {
			diff_write_all(fd, &byte, 1);
			continue;
		}
		same(errno, EAGAIN);
		same(works(epoll_wait(set, &event, 1, 5000)), 1);
	}
}

CASE_LIMIT(epoll_edge__ping_pong_20000__no_wake_up_lost, 30)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	pthread_t thread = diff_thread(serve, &server);
	for (int i = 0; i < 20000; i++) {
		diff_write_all(client, "x", 1);
		same(recv(client, &byte, 1, 0), 1);
	}
	works(shutdown(client, SHUT_WR));
	same(pthread_join(thread, NULL), 0);
}

/* --- fork ----------------------------------------------------------------------------------------
 */

struct inherited {
	int set, client, server, pipe_in, pipe_out, done_in;
};

/* The parent of this one has gone: as after daemon(). */
static void go_on_alone(struct inherited *h)
{
	char byte;

	same(mux_one(h->set, 1), EPOLLIN);
	mux_expect(h->server, "first");
	mux_none(h->set);
	same(write(h->pipe_in, "p", 1), 1);
	same(mux_one(h->set, 2), EPOLLIN);
	same(read(h->pipe_out, &byte, 1), 1);
	mux_send(h->client, "second");
	same(mux_one(h->set, 1), EPOLLIN);
	mux_expect(h->server, "second");
	mux_mod(h->set, h->server, EPOLLOUT, 3);
	same(mux_one(h->set, 3), EPOLLOUT);
	mux_del(h->set, h->server);
	mux_none(h->set);
	mux_add(h->set, h->server, EPOLLIN, 4);
	works(close(h->client));
	same(mux_one(h->set, 4), EPOLLIN);
	mux_del(h->set, h->pipe_out);
	same(write(h->done_in, "d", 1), 1);
}

static void be_a_daemon(void *arg)
{
	struct inherited *h = arg;
	pid_t pid = (pid_t)works(fork());

	if (pid != 0)
		_exit(0);
	go_on_alone(h);
	_exit(0);
}

CASE(epoll__daemon__child_goes_on_with_the_set)
{
	struct inherited h = {.set = mux_new()};
	int ends[2], done[2];
	char byte;

	diff_pair(&h.client, &h.server);
	works(pipe(ends));
	works(pipe(done));
	h.pipe_out = ends[0];
	h.pipe_in = ends[1];
	h.done_in = done[1];
	mux_add(h.set, h.server, EPOLLIN, 1);
	mux_add(h.set, h.pipe_out, EPOLLIN, 2);
	mux_none(h.set);
	diff_join(diff_child(be_a_daemon, &h));
	works(close(done[1]));
	mux_send(h.client, "first");
	works(close(h.client));
	same(diff_readable(done[0], 8000), true);
	same(read(done[0], &byte, 1), 1);
}

static void use_own_set(void *arg)
{
	struct inherited *h = arg;
	int set = mux_new();

	mux_add(set, h->server, EPOLLIN, 5);
	same(mux_one(set, 5), EPOLLIN);
	mux_expect(h->server, "for the child");
	mux_none(set);
	works(close(h->server));
}

/* The usual prefork: the set is the parent's, each child makes its own. */
CASE(epoll__child_makes_its_own_set__parent_undisturbed)
{
	struct inherited h = {.set = mux_new()};

	diff_pair(&h.client, &h.server);
	mux_add(h.set, h.server, EPOLLIN, 1);
	mux_none(h.set);
	pid_t child = diff_child(use_own_set, &h);
	mux_send(h.client, "for the child");
	diff_join(child);
	mux_none(h.set);
	mux_send(h.client, "for the parent");
	same(mux_one(h.set, 1), EPOLLIN);
	mux_expect(h.server, "for the parent");
}

static void look_at_the_set(void *arg)
{
	struct inherited *h = arg;

	same(mux_one(h->set, 1), EPOLLIN);
}

/* Both look at the same set, level triggered: each sees what is ready. */
CASE(epoll__both_use_the_set_after_fork__both_see_levels)
{
	struct inherited h = {.set = mux_new()};

	diff_pair(&h.client, &h.server);
	mux_add(h.set, h.server, EPOLLIN, 1);
	mux_none(h.set);
	pid_t child = diff_child(look_at_the_set, &h);
	mux_send(h.client, "x");
	same(mux_one(h.set, 1), EPOLLIN);
	diff_join(child);
	same(mux_one(h.set, 1), EPOLLIN);
	mux_expect(h.server, "x");
	mux_none(h.set);
}

static void exit_at_once(void *arg)
{
	(void)arg;
}

CASE(epoll__child_exits_untouched__parent_goes_on)
{
	struct inherited h = {.set = mux_new()};

	diff_pair(&h.client, &h.server);
	mux_add(h.set, h.server, EPOLLIN, 1);
	for (int i = 0; i < 5; i++) {
		diff_join(diff_child(exit_at_once, NULL));
		mux_send(h.client, "x");
		same(mux_one(h.set, 1), EPOLLIN);
		mux_expect(h.server, "x");
		mux_none(h.set);
	}
}
