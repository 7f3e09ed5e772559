/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets together with everything else that can be waited for, sets inside sets, and who starves
 * whom. */
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "tests/diff/mux.h"

enum { SOCK, PIPE, EVENT, TIMER, SIGNAL, INOTIFY, TTY, KINDS };

struct zoo {
	int fd[KINDS];
	int client, pipe_in, tty, directory_file;
	char directory[64];
};

static void zoo_open(struct zoo *z)
{
	int ends[2];
	sigset_t usr1;

	diff_pair(&z->client, &z->fd[SOCK]);
	works(pipe(ends));
	z->fd[PIPE] = ends[0];
	z->pipe_in = ends[1];
	z->fd[EVENT] = (int)works(eventfd(0, EFD_NONBLOCK));
	z->fd[TIMER] = (int)works(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	z->fd[SIGNAL] = (int)works(signalfd(-1, &usr1, SFD_NONBLOCK));
	z->fd[INOTIFY] = (int)works(inotify_init1(IN_NONBLOCK));
	strcpy(z->directory, "/tmp/culvert-mux-XXXXXX");
	is(mkdtemp(z->directory) != NULL);
	works(inotify_add_watch(z->fd[INOTIFY], z->directory, IN_CREATE));
	works(openpty(&z->fd[TTY], &z->tty, NULL, NULL, NULL));
}

static void zoo_stir(struct zoo *z, int kind)
{
	struct itimerspec soon = {.it_value.tv_nsec = 1000000};
	uint64_t one = 1;
	char path[80];

	switch (kind) {
	case SOCK:
		mux_send(z->client, "s");
		break;
	case PIPE:
		same(write(z->pipe_in, "p", 1), 1);
		break;
	case EVENT:
		same(write(z->fd[EVENT], &one, 8), 8);
		break;
	case TIMER:
		works(timerfd_settime(z->fd[TIMER], 0, &soon, NULL));
		break;
	case SIGNAL:
		works(kill(getpid(), SIGUSR1));
		break;
	case INOTIFY:
		snprintf(path, sizeof(path), "%s/f", z->directory);
		works(close((int)works(open(path, O_CREAT | O_WRONLY, 0600))));
		works(unlink(path));
		works(rmdir(z->directory));
		break;
	default:
		same(write(z->tty, "t", 1), 1);
	}
}

static void zoo_calm(struct zoo *z, int kind)
{
	char bytes[4096];

	is(read(z->fd[kind], bytes, sizeof(bytes)) > 0);
}

CASE(epoll__every_kind_of_descriptor__reports)
{
	struct zoo z;
	int set = mux_new();

	zoo_open(&z);
	for (int i = 0; i < KINDS; i++)
		mux_add(set, z.fd[i], EPOLLIN, (uint64_t)i);
	mux_none(set);
	for (int i = 0; i < KINDS; i++) {
		zoo_stir(&z, i);
		same(mux_one(set, (uint64_t)i), EPOLLIN);
		zoo_calm(&z, i);
		mux_none(set);
	}
}

CASE(poll__every_kind_of_descriptor__reports)
{
	struct pollfd fds[KINDS];
	struct zoo z;

	zoo_open(&z);
	for (int i = 0; i < KINDS; i++)
		fds[i] = (struct pollfd){.fd = z.fd[i], .events = POLLIN};
	same(poll(fds, KINDS, MUX_QUIET), 0);
	for (int i = 0; i < KINDS; i++) {
		zoo_stir(&z, i);
		same(works(poll(fds, KINDS, MUX_SOON)), 1);
		for (int j = 0; j < KINDS; j++)
			same(fds[j].revents, i == j ? POLLIN : 0);
		zoo_calm(&z, i);
		same(poll(fds, KINDS, 0), 0);
	}
}

CASE(select__every_kind_of_descriptor__reports)
{
	struct zoo z;

	zoo_open(&z);
	for (int i = 0; i < KINDS; i++) {
		zoo_stir(&z, i);
		struct timeval soon = {.tv_sec = 3};
		fd_set in;
		FD_ZERO(&in);
		for (int j = 0; j < KINDS; j++)
			FD_SET(z.fd[j], &in);
		same(works(select(FD_SETSIZE, &in, NULL, NULL, &soon)), 1);
		is(FD_ISSET(z.fd[i], &in));
		zoo_calm(&z, i);
	}
}

CASE(epoll__all_ready_at_once__all_reported)
{
	struct epoll_event events[KINDS];
	unsigned seen = 0, want = (1u << KINDS) - 1;
	struct zoo z;
	int set = mux_new();

	zoo_open(&z);
	for (int i = 0; i < KINDS; i++) {
		zoo_stir(&z, i);
		mux_settle(z.fd[i], POLLIN);
		mux_add(set, z.fd[i], EPOLLIN, (uint64_t)i);
	}
	/* Which of them come first is open, but none may be left out for long. */
	for (int looks = 0; looks < 64 && seen != want; looks++) {
		int n = (int)works(epoll_wait(set, events, KINDS, MUX_SOON));
		for (int i = 0; i < n; i++)
			seen |= 1u << events[i].data.u64;
	}
	same(seen, want);
}

CASE(poll__all_ready_at_once__all_reported)
{
	struct pollfd fds[KINDS];
	struct zoo z;

	zoo_open(&z);
	for (int i = 0; i < KINDS; i++) {
		zoo_stir(&z, i);
		mux_settle(z.fd[i], POLLIN);
		fds[i] = (struct pollfd){.fd = z.fd[i], .events = POLLIN};
	}
	same(works(poll(fds, KINDS, MUX_SOON)), KINDS);
	for (int i = 0; i < KINDS; i++)
		same(fds[i].revents, POLLIN);
}

/* Calls epoll_wait until `data` comes; the rest is ready all the time. */
static int looks_until(int set, int max, uint64_t data)
{
	struct epoll_event events[8];

	for (int looks = 1;; looks++) {
		int n = (int)works(epoll_wait(set, events, max, MUX_SOON));
		is(n > 0);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == data)
				return looks;
		}
		is(looks < 100000);
	}
}

CASE(epoll__busy_socket__does_not_starve_a_pipe)
{
	int set = mux_new(), client, server, ends[2];

	diff_pair(&client, &server);
	works(pipe(ends));
	mux_add(set, server, EPOLLIN | EPOLLOUT, 1);
	mux_add(set, ends[0], EPOLLIN, 2);
	for (int max = 1; max <= 8; max += 7) {
		for (int i = 0; i < 100; i++) {
			same(write(ends[1], "p", 1), 1);
			uint64_t start = diff_now_ms();
			looks_until(set, max, 2);
			is(diff_now_ms() - start < 1000);
			char byte;
			same(read(ends[0], &byte, 1), 1);
		}
	}
}

CASE(epoll__busy_pipe__does_not_starve_a_socket)
{
	int set = mux_new(), client, server, ends[2];

	diff_pair(&client, &server);
	works(pipe(ends));
	same(write(ends[1], "p", 1), 1);
	mux_add(set, ends[0], EPOLLIN, 2);
	mux_add(set, ends[1], EPOLLOUT, 3);
	mux_add(set, server, EPOLLIN, 1);
	for (int max = 1; max <= 8; max += 7) {
		for (int i = 0; i < 100; i++) {
			mux_send(client, "x");
			uint64_t start = diff_now_ms();
			looks_until(set, max, 1);
			is(diff_now_ms() - start < 1000);
			mux_expect(server, "x");
		}
	}
}

/* --- sets inside sets ----------------------------------------------------------------------------
 */

CASE(epoll_in_epoll__ready_while_inner_has_events)
{
	int outer = mux_new(), inner = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(outer, inner, EPOLLIN, 1);
	mux_none(outer);
	mux_add(inner, server, EPOLLIN, 2);
	mux_none(outer);
	mux_send(client, "x");
	same(mux_one(outer, 1), EPOLLIN);
	same(mux_one(inner, 2), EPOLLIN);
	same(mux_one(outer, 1), EPOLLIN);
	mux_expect(server, "x");
	mux_none(outer);
	mux_send(client, "y");
	same(mux_one(outer, 1), EPOLLIN);
	mux_del(inner, server);
	mux_none(outer);
}

CASE(epoll_in_epoll__member_added_first)
{
	int outer = mux_new(), inner = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	mux_add(inner, server, EPOLLIN, 2);
	mux_add(outer, inner, EPOLLIN, 1);
	same(mux_one(outer, 1), EPOLLIN);
	mux_mod(outer, inner, EPOLLIN, 3);
	same(mux_one(outer, 3), EPOLLIN);
	mux_del(outer, inner);
	mux_none(outer);
	same(mux_one(inner, 2), EPOLLIN);
}

CASE(epoll_in_epoll_edge__once_for_each_event)
{
	int outer = mux_new(), inner = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(inner, server, EPOLLIN, 2);
	mux_add(outer, inner, EPOLLIN | EPOLLET, 1);
	/* What comes while the engine is only just told of the member may be two edges here (docs/compatibility.md). */
	mux_none(outer);
	mux_send(client, "x");
	same(mux_one(outer, 1), EPOLLIN);
	mux_none(outer);
	mux_send(client, "y");
	same(mux_one(outer, 1), EPOLLIN);
	mux_none(outer);
	same(mux_one(inner, 2), EPOLLIN);
}

CASE(epoll_in_epoll__inner_edge_taken__outer_silent)
{
	int outer = mux_new(), inner = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(inner, server, EPOLLIN | EPOLLET, 2);
	mux_add(outer, inner, EPOLLIN, 1);
	mux_send(client, "x");
	same(mux_one(outer, 1), EPOLLIN);
	same(mux_one(inner, 2), EPOLLIN);
	mux_none(outer);
	mux_send(client, "y");
	same(mux_one(outer, 1), EPOLLIN);
}

CASE(epoll_three_deep__ready_through_all)
{
	int a = mux_new(), b = mux_new(), c = mux_new(), client, server, ends[2];
	char byte;

	diff_pair(&client, &server);
	works(pipe(ends));
	mux_add(a, b, EPOLLIN, 1);
	mux_add(b, c, EPOLLIN, 2);
	mux_add(c, server, EPOLLIN, 3);
	mux_add(c, ends[0], EPOLLIN, 4);
	mux_none(a);
	mux_send(client, "x");
	same(mux_one(a, 1), EPOLLIN);
	same(mux_one(b, 2), EPOLLIN);
	same(mux_one(c, 3), EPOLLIN);
	mux_expect(server, "x");
	mux_none(a);
	same(write(ends[1], "p", 1), 1);
	same(mux_one(a, 1), EPOLLIN);
	same(read(ends[0], &byte, 1), 1);
	mux_none(a);
	fails(mux_ctl(c, EPOLL_CTL_ADD, a, EPOLLIN, 9), ELOOP);
}

CASE(epoll_too_deep__einval_or_eloop)
{
	int sets[8], deepest = 0;

	for (int i = 0; i < 8; i++)
		sets[i] = mux_new();
	for (int i = 0; i < 7; i++) {
		if (mux_ctl(sets[i], EPOLL_CTL_ADD, sets[i + 1], EPOLLIN, 0) != 0) {
			is(errno == EINVAL || errno == ELOOP);
			break;
		}
		deepest++;
	}
	same(deepest, 4);
}

CASE(epoll_in_poll_and_select__readable_while_it_has_events)
{
	int set = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	is(!diff_readable(set, MUX_QUIET));
	for (int i = 0; i < 3; i++) {
		mux_send(client, "x");
		same(diff_poll(set, POLLIN | POLLOUT, MUX_SOON), POLLIN);
		struct timeval soon = {.tv_sec = 3};
		fd_set in, out;
		FD_ZERO(&in);
		FD_ZERO(&out);
		FD_SET(set, &in);
		FD_SET(set, &out);
		same(works(select(set + 1, &in, &out, NULL, &soon)), 1);
		is(FD_ISSET(set, &in));
		is(!FD_ISSET(set, &out));
		mux_expect(server, "x");
		is(!diff_readable(set, MUX_QUIET));
	}
}

static void *send_later(void *arg)
{
	struct timespec pause = {.tv_nsec = 30000000};

	/* Gives the other side time to fall asleep; the result does not depend on it. */
	nanosleep(&pause, NULL);
	mux_send(*(int *)arg, "x");
	return NULL;
}

CASE(epoll_in_epoll__wakes_an_outer_sleeper)
{
	int outer = mux_new(), inner = mux_new(), client, server;

	diff_pair(&client, &server);
	mux_add(inner, server, EPOLLIN, 2);
	mux_add(outer, inner, EPOLLIN, 1);
	for (int i = 0; i < 5; i++) {
		pthread_t thread = diff_thread(send_later, &client);
		same(mux_one(outer, 1), EPOLLIN);
		same(mux_one(inner, 2), EPOLLIN);
		mux_expect(server, "x");
		same(pthread_join(thread, NULL), 0);
	}
	for (int i = 0; i < 5; i++) {
		pthread_t thread = diff_thread(send_later, &client);
		same(diff_poll(inner, POLLIN, MUX_SOON), POLLIN);
		mux_expect(server, "x");
		same(pthread_join(thread, NULL), 0);
	}
}

CASE(epoll__socket_beside_nested_set__each_reports)
{
	int outer = mux_new(), inner = mux_new(), client[2], server[2];
	struct epoll_event events[4];

	for (int i = 0; i < 2; i++)
		diff_pair(&client[i], &server[i]);
	mux_add(outer, server[0], EPOLLIN, 1);
	mux_add(outer, inner, EPOLLIN, 2);
	mux_add(inner, server[1], EPOLLIN, 3);
	mux_send(client[0], "x");
	same(mux_one(outer, 1), EPOLLIN);
	mux_expect(server[0], "x");
	mux_send(client[1], "y");
	same(mux_one(outer, 2), EPOLLIN);
	mux_send(client[0], "z");
	mux_settle(server[0], POLLIN);
	unsigned seen = 0;
	for (int looks = 0; looks < 64 && seen != 6; looks++) {
		int n = (int)works(epoll_wait(outer, events, 4, MUX_SOON));
		for (int i = 0; i < n; i++)
			seen |= 1u << events[i].data.u64;
	}
	same(seen, 6);
	works(close(inner));
	mux_expect(server[0], "z");
	mux_none(outer);
}

/* The number that a program gives a member is its own: 0 means nothing to anybody else. */
CASE(epoll__data_of_zero__beside_a_wildcard_listener)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int set = mux_new(), event = (int)works(eventfd(0, EFD_NONBLOCK));
	int listener = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	uint64_t one = 1;

	works(bind(listener, SA(any), sizeof(any)));
	works(listen(listener, 1));
	mux_add(set, listener, EPOLLIN, 1);
	mux_add(set, event, EPOLLIN, 0);
	mux_none(set);
	same(write(event, &one, 8), 8);
	same(mux_one(set, 0), EPOLLIN);
	same(read(event, &one, 8), 8);
	mux_none(set);
}
