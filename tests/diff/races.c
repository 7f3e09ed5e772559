/* SPDX-License-Identifier: BSD-3-Clause */
/* Two threads that do the same to one socket at the same time, where the first of them decides what the socket is (socket(7)):
 * there is one socket, as if one thread had come after the other. And a signal handler in the midst of that. */
#include <sched.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include <sys/sendfile.h>

#include "tests/diff/diff.h"

extern char **environ;

#define ROUNDS 300
#define THREADS 2

/* What both threads call, as near to each other as a counter brings them. */
struct race {
	int (*call)(const struct race *r);
	int fd;
	struct sockaddr_in to;
	unsigned begun; /* threads, over all rounds */
	unsigned done;
	unsigned round; /* that may begin */
	int result[THREADS];
};

static unsigned seen(const unsigned *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static void until(const unsigned *counter, unsigned value)
{
	for (unsigned looks = 0; seen(counter) < value; looks++)
		if (looks > 200)
			sched_yield();
}

static void race_once(struct race *r, unsigned round, unsigned who)
{
	__atomic_add_fetch(&r->begun, 1, __ATOMIC_ACQ_REL);
	until(&r->begun, (round + 1) * THREADS);
	r->result[who] = r->call(r);
	__atomic_add_fetch(&r->done, 1, __ATOMIC_ACQ_REL);
}

static void *race_second(void *arg)
{
	struct race *r = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		until(&r->round, round + 1);
		race_once(r, round, 1);
	}
	return NULL;
}

static void race_round(struct race *r, unsigned round)
{
	__atomic_store_n(&r->round, round + 1, __ATOMIC_RELEASE);
	race_once(r, round, 0);
	until(&r->done, (round + 1) * THREADS);
}

/* 0, or the negative errno. */
static int connect_now(const struct race *r)
{
	return connect(r->fd, CSA(r->to), sizeof(r->to)) == 0 ? 0 : -errno;
}

static int send_now(const struct race *r)
{
	return sendto(r->fd, "x", 1, 0, CSA(r->to), sizeof(r->to)) == 1 ? 0 : -errno;
}

static int bind_now(const struct race *r)
{
	return bind(r->fd, CSA(r->to), sizeof(r->to)) == 0 ? 0 : -errno;
}

static int listen_now(const struct race *r)
{
	return listen(r->fd, 4) == 0 ? 0 : -errno;
}

/* Connections that wait at the listener, all taken and closed. */
static unsigned waiting(int listener)
{
	unsigned n = 0;

	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; n++)
		works(close(fd));
	same(errno, EAGAIN);
	return n;
}

/* Each round's socket is connected once: one call says so, the other one the same or that it was connected already. */
static void connect_race(void (*prepare)(int fd), int type)
{
	int listener = diff_listen(SOCK_NONBLOCK, 0, 64);
	struct race r = {.call = connect_now, .to = diff_addr(diff_port(listener))};
	pthread_t second = diff_thread(race_second, &r);

	for (unsigned round = 0; round < ROUNDS; round++) {
		r.fd = (int)works(socket(AF_INET, SOCK_STREAM | type, 0));
		if (prepare)
			prepare(r.fd);
		race_round(&r, round);
		for (unsigned who = 0; who < THREADS; who++)
			is(r.result[who] == 0 || r.result[who] == -EISCONN ||
				(type && (r.result[who] == -EINPROGRESS || r.result[who] == -EALREADY)));
		is(r.result[0] == 0 || r.result[1] == 0 || type);
		is(diff_writable(r.fd, 3000));
		same(diff_int_option(r.fd, SOL_SOCKET, SO_ERROR), 0);
		is(diff_readable(listener, 3000));
		same(waiting(listener), 1);
		works(close(r.fd));
	}
	pthread_join(second, NULL);
	same(waiting(listener), 0);
}

CASE(connect__two_threads_at_once__one_connection)
{
	connect_race(NULL, 0);
}

CASE(connect__two_threads_at_once_without_waiting__one_connection)
{
	connect_race(NULL, SOCK_NONBLOCK);
}

/* An option, so that there is something to be told before. */
static void with_option(int fd)
{
	diff_set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 70);
}

CASE(connect__two_threads_at_once_after_an_option__one_connection)
{
	connect_race(with_option, 0);
}

/* All that a socket sends comes from its one port. */
CASE(sendto__two_threads_at_once_on_a_new_socket__one_port)
{
	int to = diff_udp();
	struct race r = {.call = send_now, .to = diff_addr(diff_port(to))};
	pthread_t second = diff_thread(race_second, &r);

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct sockaddr_in from[THREADS];
		char byte;

		r.fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
		race_round(&r, round);
		for (unsigned i = 0; i < THREADS; i++) {
			socklen_t len = sizeof(from[i]);

			same(r.result[i], 0);
			is(diff_readable(to, 3000));
			same(recvfrom(to, &byte, 1, 0, SA(from[i]), &len), 1);
		}
		same(from[0].sin_port, from[1].sin_port);
		same(diff_port(r.fd), ntohs(from[0].sin_port));
		works(close(r.fd));
	}
	pthread_join(second, NULL);
}

/* One bind counts, and the port is free again when the socket is closed. */
static void bind_race(int type, const char *address)
{
	struct race r = {.call = bind_now, .to = diff_addr(0)};
	pthread_t second = diff_thread(race_second, &r);
	int probe = (int)works(socket(AF_INET, type, 0));

	if (address)
		r.to.sin_addr.s_addr = inet_addr(address);
	works(bind(probe, CSA(r.to), sizeof(r.to)));
	r.to.sin_port = htons(diff_port(probe));
	works(close(probe));
	for (unsigned round = 0; round < ROUNDS; round++) {
		r.fd = (int)works(socket(AF_INET, type, 0));
		race_round(&r, round);
		same(r.result[0] + r.result[1], -EINVAL);
		is(r.result[0] == 0 || r.result[1] == 0);
		works(close(r.fd));
	}
	pthread_join(second, NULL);
}

CASE(bind__two_threads_at_once__one_is_refused)
{
	bind_race(SOCK_STREAM, NULL);
	bind_race(SOCK_DGRAM, NULL);
}

CASE(bind__two_threads_at_once_to_the_wildcard__one_is_refused)
{
	bind_race(SOCK_STREAM, "0.0.0.0");
	bind_race(SOCK_DGRAM, "0.0.0.0");
}

CASE(listen__two_threads_at_once_on_a_new_socket__both_are_right)
{
	struct race r = {.call = listen_now};
	pthread_t second = diff_thread(race_second, &r);

	for (unsigned round = 0; round < ROUNDS; round++) {
		r.fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		race_round(&r, round);
		same(r.result[0], 0);
		same(r.result[1], 0);
		is(diff_port(r.fd) != 0);
		works(close(diff_connect(r.fd)));
		works(close(r.fd));
	}
	pthread_join(second, NULL);
}

static volatile int handled_fd = -1;
static volatile unsigned handled;

/* Whatever the interrupted call was doing, the answer is one that Linux gives, and it comes. */
static void handler(int sig)
{
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	int saved = errno;

	(void)sig;
	handled++;
	if (handled_fd >= 0 && send(handled_fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		(errno == EBADF || errno == ENOTSOCK))
		_exit(2);
	if (handled_fd >= 0 && getsockname(handled_fd, SA(own), &len) != 0)
		_exit(3);
	errno = saved;
}

CASE(connect__handlers_use_the_socket_meanwhile__one_connection)
{
	int listener = diff_listen(SOCK_NONBLOCK, 0, 64);
	struct sockaddr_in to = diff_addr(diff_port(listener));
	const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	const struct itimerval often = {.it_interval = {.tv_usec = 70}, .it_value = {.tv_usec = 70}}, never = {{0, 0}, {0, 0}};
	unsigned rounds = 0;

	works(sigaction(SIGALRM, &action, NULL));
	works(setitimer(ITIMER_REAL, &often, NULL));
	for (; handled < 2000; rounds++) {
		int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

		handled_fd = fd;
		works(connect(fd, CSA(to), sizeof(to)));
		handled_fd = -1;
		is(diff_readable(listener, 3000));
		same(waiting(listener), 1);
		works(close(fd));
	}
	works(setitimer(ITIMER_REAL, &never, NULL));
	is(rounds > 0);
}

/* --- a number replaced under a reader, which is then signalled (Java's close) ------------------------- */

#define REPLACED 300

struct reader {
	int fd;
	unsigned begun;
	ssize_t result;
};

static void *reads_once(void *arg)
{
	struct reader *r = arg;
	char byte;

	__atomic_store_n(&r->begun, 1, __ATOMIC_RELEASE);
	r->result = read(r->fd, &byte, 1);
	return NULL;
}

static void ignore(int sig)
{
	(void)sig;
}

/* Begun before, it is interrupted; begun afterwards, it reads what is there now: an end. */
CASE(read__its_number_replaced_then_signalled__comes_back)
{
	const struct sigaction action = {.sa_handler = ignore};
	int marker[2], client, server;

	works(sigaction(SIGUSR1, &action, NULL));
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, marker));
	works(shutdown(marker[0], SHUT_RDWR));
	diff_pair(&client, &server);
	for (unsigned i = 0; i < REPLACED; i++) {
		struct reader r = {.fd = (int)works(dup(server))};
		pthread_t thread;

		works(close(server));
		thread = diff_thread(reads_once, &r);
		until(&r.begun, 1);
		for (volatile unsigned wait = 0; wait < i * 100; wait++)
			;
		works(dup2(marker[0], r.fd));
		same(pthread_kill(thread, SIGUSR1), 0);
		same(pthread_join(thread, NULL), 0);
		is(r.result <= 0);
		works(close(r.fd));
		works(close(client));
		diff_pair(&client, &server);
	}
}

/* --- fork ---------------------------------------------------------------------------------------- */

#define FORKS 200
#define FORKS_USED 40
#define CHURNERS 2

static void make_and_close(void)
{
	int fd[16];

	for (int i = 0; i < 16; i++)
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
	for (int i = 0; i < 16; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
	}
}

/* Whatever comes of it: where a child was the first to have an engine inside, that ends with it. */
static void bind_and_close(void)
{
	struct sockaddr_in address = diff_addr(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)bind(fd, SA(address), sizeof(address));
	close(fd);
}

/* A connection, waited for and used. */
static void use(void)
{
	int client, server, set = (int)works(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = {.events = EPOLLIN};
	char byte;

	diff_pair(&client, &server);
	works(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
	same(send(client, "x", 1, 0), 1);
	same(epoll_wait(set, &event, 1, 5000), 1);
	same(recv(server, &byte, 1, 0), 1);
	works(close(client));
	works(close(server));
	works(close(set));
}

struct churn {
	void (*once)(void);
	unsigned over;
};

static void *churn(void *arg)
{
	const struct churn *c = arg;

	while (!seen(&c->over))
		c->once();
	return NULL;
}

/* A child has one thread, and nobody in it ends what the others were just doing. */
static void fork_while(void (*once)(void), int forks)
{
	struct churn c = {.once = once};
	pthread_t thread[CHURNERS];

	for (int i = 0; i < CHURNERS; i++)
		thread[i] = diff_thread(churn, &c);
	for (int i = 0; i < forks; i++) {
		int status;
		pid_t child = (pid_t)works(fork());

		if (child == 0) {
			alarm(10);
			once();
			_exit(0);
		}
		same(waitpid(child, &status, 0), child);
		same(status, 0);
	}
	__atomic_store_n(&c.over, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < CHURNERS; i++)
		same(pthread_join(thread[i], NULL), 0);
}

CASE(fork__while_threads_make_and_close_sockets__the_child_can_too)
{
	fork_while(make_and_close, FORKS);
}

CASE(fork__while_threads_bind_their_first_sockets__the_child_can_too)
{
	fork_while(bind_and_close, FORKS_USED);
}

CASE(fork__while_threads_use_sockets__the_child_can_too)
{
	use();
	fork_while(use, FORKS_USED);
}

/* --- a thread that is to be cancelled when it gets there (pthreads(7)) ---------------------------- */

struct doomed {
	int fd, in;
	ssize_t result;
};

static void ended_by(void *(*run)(void *), struct doomed *d, bool cancelled)
{
	void *result;

	d->result = -2;
	same(pthread_join(diff_thread(run, d), &result), 0);
	same(result == PTHREAD_CANCELED, cancelled);
}

static void *doomed_accept(void *arg)
{
	pthread_cancel(pthread_self());
	accept(((struct doomed *)arg)->fd, NULL, NULL);
	return NULL;
}

static void *doomed_recv(void *arg)
{
	char byte;

	pthread_cancel(pthread_self());
	recv(((struct doomed *)arg)->fd, &byte, 1, 0);
	return NULL;
}

/* Not one that the stack chooses: those may all be held by what other cases' connections left behind. */
#define WILDCARD_PORT 9473

static int wildcard(int type)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(WILDCARD_PORT)};
	int fd = (int)works(socket(AF_INET, type, 0));

	works(bind(fd, SA(any), sizeof(any)));
	if (type == SOCK_STREAM)
		works(listen(fd, 5));
	return fd;
}

CASE(wildcard_sockets__reader_cancelled_then_closed__their_ports_are_free)
{
	struct doomed d = {.fd = wildcard(SOCK_STREAM)};

	ended_by(doomed_accept, &d, true);
	works(close(d.fd));
	works(close(wildcard(SOCK_STREAM)));
	d.fd = wildcard(SOCK_DGRAM);
	ended_by(doomed_recv, &d, true);
	works(close(d.fd));
	works(close(wildcard(SOCK_DGRAM)));
}

/* Reading is a point where it ends, also when there is something to read. */
CASE(datagram_there__reader_cancelled__it_stays)
{
	struct doomed d;
	char byte;
	int a;

	diff_udp_pair(&a, &d.fd);
	same(send(a, "x", 1, 0), 1);
	is(diff_readable(d.fd, 3000));
	ended_by(doomed_recv, &d, true);
	same(recv(d.fd, &byte, 1, MSG_DONTWAIT), 1);
}

static void *doomed_sendfile(void *arg)
{
	struct doomed *d = arg;
	off_t at = 0;

	pthread_cancel(pthread_self());
	d->result = sendfile(d->fd, d->in, &at, 5);
	pthread_testcancel();
	return NULL;
}

static void *doomed_setsockopt(void *arg)
{
	struct doomed *d = arg;
	int on = 1;

	pthread_cancel(pthread_self());
	d->result = setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	pthread_testcancel();
	return NULL;
}

static void *doomed_bind(void *arg)
{
	struct doomed *d = arg;
	struct sockaddr_in address = diff_addr(0);

	pthread_cancel(pthread_self());
	d->result = bind(d->fd, SA(address), sizeof(address));
	pthread_testcancel();
	return NULL;
}

/* The first call of a thread, which makes its way to the engine; of a fresh socket, whose number gets something behind
 * it. */
CASE(calls_that_are_no_cancellation_points__thread_to_be_cancelled__are_done_first)
{
	char name[] = "/tmp/diff_races_XXXXXX", text[8];
	struct doomed d;
	int client, server;

	diff_pair(&client, &server);
	d.fd = client;
	d.in = (int)works(mkstemp(name));
	works(unlink(name));
	same(write(d.in, "hello", 5), 5);
	ended_by(doomed_sendfile, &d, true);
	same(d.result, 5);
	diff_read_all(server, text, 5);
	ended_by(doomed_setsockopt, &d, true);
	same(d.result, 0);
	works(close(client));
	is(diff_readable(server, 3000));
	same(recv(server, text, sizeof(text), MSG_DONTWAIT), 0);
	d.fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	ended_by(doomed_setsockopt, &d, true);
	same(d.result, 0);
	same(diff_int_option(d.fd, IPPROTO_TCP, TCP_NODELAY) != 0, true);
	d.fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	ended_by(doomed_bind, &d, true);
	same(d.result, 0);
	works(close(d.fd));
}

/* --- posix_spawn beside fork ---------------------------------------------------------------------- */

#define SPAWNED 40
#define FORKED 400 /* at the most */

static bool all_spawned;

static void *spawn_many(void *arg)
{
	char *const words[] = {(char *)"true", NULL};

	for (unsigned i = 0; i < SPAWNED; i++) {
		pid_t child;

		same(posix_spawnp(&child, words[0], NULL, NULL, words, environ), 0);
		diff_join(child);
	}
	__atomic_store_n(&all_spawned, true, __ATOMIC_RELEASE);
	return arg;
}

/* What was spawned had the connection, and is gone; what was forked has let go of it, and is there still. */
CASE_LIMIT(spawn__while_another_thread_forks__who_ends_holds_nothing, 30)
{
	pid_t child[FORKED];
	pthread_t thread;
	int client, server;
	unsigned n = 0;
	char byte;

	diff_pair(&client, &server);
	thread = diff_thread(spawn_many, NULL);
	while (n < FORKED && !__atomic_load_n(&all_spawned, __ATOMIC_ACQUIRE)) {
		child[n] = (pid_t)works(fork());
		if (child[n++] == 0) {
			close(server);
			alarm(60);
			pause();
			_exit(0);
		}
	}
	same(pthread_join(thread, NULL), 0);
	works(close(server));
	is(diff_readable(client, 5000));
	same(recv(client, &byte, 1, MSG_DONTWAIT), 0);
	while (n-- > 0) {
		works(kill(child[n], SIGKILL));
		works(waitpid(child[n], NULL, 0));
	}
}
