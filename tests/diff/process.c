/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets over fork, daemon and exit, and within a process' limits: who holds a connection, and when it ends (fork(2),
 * daemon(3), getrlimit(2)). New programs: exec.c. */
#include <linux/sched.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/diff/diff.h"

CASE(fork__child_uses_the_parents_connection)
{
	int client, server;
	char text[4];

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		diff_read_all(server, text, 4);
		diff_write_all(server, text, 4);
		exit(0);
	}
	diff_write_all(client, "abcd", 4);
	diff_read_all(client, text, 4);
	same_bytes(text, "abcd", 4);
	diff_join(child);
	/* The child is gone, the parent holds it still. */
	diff_not_ended(client);
	diff_ping(client, server);
	works(close(server));
	diff_ended(client);
}

/* Whatever it is made of before it is decided who serves it: it is one socket for both. */
CASE(fork__socket_not_yet_bound__bound_by_the_child_is_bound_here)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, name = {0};
	socklen_t length = sizeof(name);
	int client, server, fd;

	diff_pair(&client, &server);
	fd = works(socket(AF_INET, SOCK_STREAM, 0));
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(bind(fd, (const struct sockaddr *)&any, sizeof(any)));
		works(fcntl(fd, F_SETFL, O_NONBLOCK));
		exit(0);
	}
	diff_join(child);
	works(getsockname(fd, (struct sockaddr *)&name, &length));
	same(name.sin_port != 0, true);
	same(works(fcntl(fd, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
	works(close(fd));
}

/* A number that was never used for anything but flags, then for everything that a fresh socket may be asked. */
CASE(socket__flags_then_other_calls__a_socket_like_any)
{
	int client, server, fd, value = 1, other;
	socklen_t length = sizeof(value);
	struct stat st;

	diff_pair(&client, &server);
	fd = works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	same(works(fcntl(fd, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
	same(works(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	works(fcntl(fd, F_SETFL, O_RDWR));
	works(ioctl(fd, FIONBIO, &value));
	other = works(dup(fd));
	same(works(fcntl(other, F_GETFL)) & O_NONBLOCK, O_NONBLOCK);
	same(works(fcntl(fd, F_GETFD)), FD_CLOEXEC);
	same(works(fcntl(other, F_GETFD)), 0);
	works(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)));
	value = 0;
	works(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, &length));
	same(value, 1);
	works(fstat(fd, &st));
	same(S_ISSOCK(st.st_mode), true);
	fails(recv(fd, &value, 1, 0), ENOTCONN);
	works(close(fd));
	works(close(other));
}

CASE(fork__parent_closes__child_goes_on)
{
	int client, server;
	char text[4];

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(close(client));
		diff_read_all(server, text, 4);
		diff_write_all(server, text, 4);
		exit(0);
	}
	works(close(server));
	diff_not_ended(client);
	diff_write_all(client, "abcd", 4);
	diff_read_all(client, text, 4);
	diff_join(child);
	diff_ended(client);
}

CASE(fork__child_closes_its_copy__parent_goes_on)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(close(client));
		works(close(server));
		exit(0);
	}
	diff_join(child);
	diff_not_ended(client);
	diff_ping(client, server);
	diff_ping(server, client);
}

/* Forks for which libc calls no handlers: by number, as vsftpd, whose children get namespaces of their own... */
static long clone_by_number(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static long clone3_by_number(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD};

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* ... and the one for handlers of signals. */
static long fork_in_handlers(void)
{
	return _Fork();
}

static void forked_by(long (*fork_one)(void))
{
	int client, server;
	char text[4];

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork_one());
	if (child == 0) {
		works(close(client));
		diff_read_all(server, text, 4);
		diff_write_all(server, text, 4);
		_exit(0);
	}
	works(close(server));
	diff_not_ended(client);
	diff_write_all(client, "abcd", 4);
	diff_read_all(client, text, 4);
	same_bytes(text, "abcd", 4);
	diff_join(child);
	diff_ended(client);
}

CASE(clone_by_number__parent_closes__child_goes_on)
{
	forked_by(clone_by_number);
}

CASE(clone3_by_number__parent_closes__child_goes_on)
{
	forked_by(clone3_by_number);
}

CASE(fork_without_handlers__parent_closes__child_goes_on)
{
	forked_by(fork_in_handlers);
}

CASE(clone_by_number__child_listens_and_ends__parent_goes_on)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(clone_by_number());
	if (child == 0) {
		int c, s;

		diff_pair(&c, &s);
		diff_ping(c, s);
		_exit(0);
	}
	diff_join(child);
	diff_not_ended(client);
	diff_ping(client, server);
	diff_ping(server, client);
}

CASE(fork__child_killed__nothing_ends)
{
	int client, server, status;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0)
		for (;;)
			pause();
	works(kill(child, SIGKILL));
	same(waitpid(child, &status, 0), child);
	diff_not_ended(client);
	diff_ping(client, server);
}

CASE(fork__shutdown_in_the_child__ends_for_all)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(shutdown(client, SHUT_WR));
		exit(0);
	}
	diff_join(child);
	diff_ended(server);
	fails(send(client, "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE(fork__prefork_accept__every_connection_served_once)
{
	enum { CHILDREN = 4, N = 60 };
	int listener = diff_listen(0, 0, N), served = 0;
	pid_t children[CHILDREN];

	for (int i = 0; i < CHILDREN; i++) {
		children[i] = (pid_t)works(fork());
		if (children[i] != 0)
			continue;
		for (;;) {
			uint32_t pid = (uint32_t)getpid();
			int fd = (int)works(accept(listener, NULL, NULL));

			diff_write_all(fd, &pid, sizeof(pid));
			works(close(fd));
		}
	}
	for (int i = 0; i < N; i++) {
		uint32_t pid = 0;
		char byte;
		int fd = diff_connect(listener);

		diff_read_all(fd, &pid, sizeof(pid));
		same(recv(fd, &byte, 1, 0), 0);
		for (int c = 0; c < CHILDREN; c++)
			served += pid == (uint32_t)children[c];
		works(close(fd));
	}
	same(served, N);
	for (int i = 0; i < CHILDREN; i++)
		works(kill(children[i], SIGKILL));
}

CASE(fork__child_opens_its_own__parent_unaware)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		int c, s;

		diff_pair(&c, &s);
		diff_ping(c, s);
		diff_ping(s, c);
		exit(0);
	}
	for (int i = 0; i < 50; i++) {
		diff_ping(client, server);
		diff_ping(server, client);
	}
	diff_join(child);
}

CASE(fork__listener_closed_in_parent__child_serves)
{
	int listener = diff_listen(0, 0, 8), client;
	struct sockaddr_in address = diff_addr(diff_port(listener));

	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		int fd = (int)works(accept(listener, NULL, NULL));
		diff_write_all(fd, "p", 1);
		exit(0);
	}
	works(close(listener));
	client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	works(connect(client, SA(address), sizeof(address)));
	diff_read_all(client, &(char){0}, 1);
	diff_join(child);
	diff_ended(client);
	/* The last holder is gone: the port is closed. */
	works(close(client));
	client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(client, SA(address), sizeof(address)), ECONNREFUSED);
}

/* So many children that have nothing but what they inherited end at the same time, and are waited for. */
static void crowd_ends(int n)
{
	int start[2], status;

	works(pipe(start));
	for (int i = 0; i < n; i++) {
		if (works(fork()) == 0) {
			close(start[1]);
			_exit((int)read(start[0], &status, 1));
		}
	}
	works(close(start[0]));
	works(close(start[1]));
	for (int i = 0; i < n; i++) {
		works(wait(&status));
		same(status, 0);
	}
}

static int bound(int type, struct sockaddr_in *address)
{
	int fd = (int)works(socket(AF_INET, type, 0));

	diff_set_int(fd, SOL_SOCKET, SO_REUSEADDR, type == SOCK_STREAM);
	works(bind(fd, SA(*address), sizeof(*address)));
	*address = diff_addr(diff_port(fd));
	return fd;
}

static void bind_after_crowds(int type)
{
	struct sockaddr_in address = diff_addr(0);

	for (int i = 0; i < 20; i++) {
		int fd = bound(type, &address);

		if (type == SOCK_STREAM)
			works(listen(fd, 8));
		crowd_ends(8);
		works(close(fd));
	}
}

/* Who has waited for a process knows that its sockets are closed. */
CASE(children_waited_for__bind__their_port_is_free)
{
	bind_after_crowds(SOCK_STREAM);
	bind_after_crowds(SOCK_DGRAM);
}

CASE(children_waited_for__listen__their_listener_is_gone)
{
	for (int i = 0; i < 20; i++) {
		struct sockaddr_in address = diff_addr(0);
		int first = bound(SOCK_STREAM, &address), second = bound(SOCK_STREAM, &address);

		works(listen(first, 8));
		fails(listen(second, 8), EADDRINUSE);
		crowd_ends(8);
		works(close(first));
		works(listen(second, 8));
		works(close(second));
	}
}

CASE(fork_many__all_share_one_connection)
{
	enum { CHILDREN = 20, EACH = 100 };
	int client, server;
	pid_t children[CHILDREN];

	diff_pair(&client, &server);
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = (pid_t)works(fork());
		if (children[i] == 0) {
			for (int n = 0; n < EACH; n++)
				diff_write_all(client, "b", 1);
			exit(0);
		}
	}
	works(close(client));
	for (int i = 0; i < CHILDREN * EACH; i++)
		diff_read_all(server, &(char){0}, 1);
	for (int i = 0; i < CHILDREN; i++)
		diff_join(children[i]);
	diff_ended(server);
}

CASE(fork_in_fork__grandchild_holds)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		if (works(fork()) == 0) {
			char byte;

			works(close(client));
			while (read(server, &byte, 1) == 1)
				diff_write_all(server, &byte, 1);
		}
		_exit(0);
	}
	diff_join(child);
	works(close(server));
	diff_not_ended(client);
	for (int i = 0; i < 10; i++)
		diff_ping(client, client);
	works(shutdown(client, SHUT_WR));
	diff_ended(client);
}

/* Both are there before any socket of theirs. */
CASE(fork__before_the_first_socket__one_is_passed)
{
	int pair[2], client, server;
	char byte;

	works(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(close(pair[0]));
		server = diff_take(pair[1], 0);
		while (read(server, &byte, 1) == 1)
			diff_write_all(server, &byte, 1);
		exit(0);
	}
	diff_pair(&client, &server);
	diff_pass(pair[0], server);
	works(close(server));
	for (int i = 0; i < 3; i++)
		diff_ping(client, client);
	works(shutdown(client, SHUT_WR));
	diff_ended(client);
	diff_join(child);
}

/* --- limits ------------------------------------------------------------------------------------ */

/* As servers lock up what serves a stranger (vsftpd). */
CASE(no_more_descriptors_after_fork__those_there_go_on)
{
	const struct rlimit none = {0, 0};
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(setrlimit(RLIMIT_NOFILE, &none));
		fails(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
		diff_ping(server, client);
		diff_ping(client, server);
		works(close(server));
		_exit(0);
	}
	works(close(server));
	diff_join(child);
	diff_ended(client);
}

CASE(little_memory__sockets_made_before__the_program_gets_it)
{
	const size_t mib = 1 << 20;
	struct rlimit little = {200 * mib, 200 * mib};
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(setrlimit(RLIMIT_AS, &little));
		is(mmap(NULL, 20 * mib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
		diff_ping(server, client);
		is(mmap(NULL, 400 * mib, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
		_exit(0);
	}
	diff_join(child);
	diff_ping(client, server);
}

/* --- daemon and exit --------------------------------------------------------------------------- */

CASE(daemon__listener_opened_before__served_after)
{
	int listener = diff_listen(0, 0, 8), client;
	pid_t child = (pid_t)works(fork());

	if (child == 0) {
		char byte;

		works(daemon(1, 1));
		int fd = (int)works(accept(listener, NULL, NULL));
		while (read(fd, &byte, 1) == 1)
			diff_write_all(fd, &byte, 1);
		_exit(0);
	}
	diff_join(child); /* the daemon is its child */
	client = diff_connect(listener);
	for (int i = 0; i < 10; i++)
		diff_ping(client, client);
	works(shutdown(client, SHUT_WR));
	diff_ended(client);
}

CASE(exit__all_connections_end)
{
	int client, server;

	int listener = diff_listen(0, 0, 8);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(close(listener));
		exit(0);
	}
	diff_join(child);
	child = (pid_t)works(fork());
	if (child == 0) {
		server = (int)works(accept(listener, NULL, NULL));
		diff_write_all(server, "bye", 3);
		exit(0);
	}
	client = diff_connect(listener);
	char text[3];
	diff_read_all(client, text, 3);
	diff_ended(client);
	diff_join(child);
}

static void *
receive_for_ever(void *arg)
{
	char byte;

	recv(*(int *)arg, &byte, 1, 0);
	return NULL;
}

CASE(exit__while_threads_are_in_calls)
{
	int client, server;

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(close(client));
		for (int i = 0; i < 4; i++)
			diff_thread(receive_for_ever, &server);
		exit(0);
	}
	works(close(server));
	diff_join(child);
	diff_ended(client);
}

static void *
thread_ping(void *arg)
{
	int *ends = arg;

	for (int i = 0; i < 200; i++) {
		diff_ping(ends[0], ends[1]);
		diff_ping(ends[1], ends[0]);
	}
	return NULL;
}

CASE(threads__come_and_go__sockets_stay)
{
	enum { THREADS = 8, ROUNDS = 10 };
	int ends[THREADS][2];

	for (int i = 0; i < THREADS; i++)
		diff_pair(&ends[i][0], &ends[i][1]);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t threads[THREADS];

		for (int i = 0; i < THREADS; i++)
			threads[i] = diff_thread(thread_ping, ends[(i + round) % THREADS]);
		for (int i = 0; i < THREADS; i++)
			same(pthread_join(threads[i], NULL), 0);
	}
}

CASE(fork__from_a_thread_while_others_transfer)
{
	int ends[2][2];

	diff_pair(&ends[0][0], &ends[0][1]);
	diff_pair(&ends[1][0], &ends[1][1]);
	pthread_t thread = diff_thread(thread_ping, ends[0]);
	for (int i = 0; i < 20; i++) {
		pid_t child = (pid_t)works(fork());
		if (child == 0)
			_exit(0);
		diff_join(child);
		diff_ping(ends[1][0], ends[1][1]);
	}
	same(pthread_join(thread, NULL), 0);
}

/* --- handlers of the program around fork (pthread_atfork(3)), which use sockets -------------------- */

static int at_fork = -1;

static void close_at_fork(void)
{
	works(close(at_fork));
}

static void send_at_fork(void)
{
	diff_write_all(at_fork, "x", 1);
}

/* One that has used no socket yet. */
static void *fork_in_a_thread(void *arg)
{
	pid_t child = (pid_t)works(fork());

	if (child == 0)
		_exit(0);
	diff_join(child);
	return arg;
}

static void forked_with(void (*before)(void), void (*here)(void), void (*there)(void))
{
	int client, server;
	char text[3];

	diff_pair(&client, &server);
	at_fork = client;
	same(pthread_atfork(before, here, there), 0);
	same(pthread_join(diff_thread(fork_in_a_thread, NULL), NULL), 0);
	if (there != close_at_fork)
		diff_read_all(server, text, 1);
	same(diff_poll(server, POLLIN | POLLRDHUP, 30), 0);
	diff_write_all(client, "abc", 3);
	diff_read_all(server, text, 3);
	same_bytes(text, "abc", 3);
}

CASE(atfork__child_closes_its_copy__parent_goes_on)
{
	forked_with(NULL, NULL, close_at_fork);
}

CASE(atfork__sends_before__arrives)
{
	forked_with(send_at_fork, NULL, NULL);
}

CASE(atfork__sends_in_the_parent__arrives)
{
	forked_with(NULL, send_at_fork, NULL);
}

CASE(atfork__sends_in_the_child__arrives)
{
	forked_with(NULL, NULL, send_at_fork);
}

/* A fork from inside libc. */
CASE(forkpty__child_uses_and_closes__parent_goes_on)
{
	int client, server, terminal;
	char text[3];

	diff_pair(&client, &server);
	pid_t child = (pid_t)works(forkpty(&terminal, NULL, NULL, NULL));
	if (child == 0) {
		diff_write_all(client, "abc", 3);
		works(close(client));
		works(close(server));
		exit(0);
	}
	diff_join(child);
	diff_read_all(server, text, 3);
	diff_not_ended(server);
	diff_ping(client, server);
}

/* --- a handler that forks --------------------------------------------------------------------------- */

static volatile sig_atomic_t forked_child = -1;

static void fork_in_handler(int number)
{
	(void)number;
	forked_child = (sig_atomic_t)works(fork());
}

static void *signal_when_it_sleeps(void *arg)
{
	pthread_t main_thread = *(pthread_t *)arg;

	diff_wait_blocked(getpid());
	same(pthread_kill(main_thread, SIGUSR1), 0);
	return NULL;
}

/* Waits for `go`, then sends a byte at a time and waits for whoever has it to answer; q for each of the two. */
static void ask_many_times(int out, int in)
{
	char byte;

	diff_read_all(in, &byte, 1);
	for (int i = 0; i < 50; i++) {
		poll(NULL, 0, 2); /* until both sleep, mostly */
		diff_write_all(out, "x", 1);
		diff_read_all(in, &byte, 1);
	}
	diff_write_all(out, "qq", 2);
}

CASE(recv__handler_forks__goes_on_in_both)
{
	struct sigaction action = {.sa_handler = fork_in_handler, .sa_flags = SA_RESTART};
	pthread_t self = pthread_self();
	int client, server, back, answer;
	pid_t me = getpid(), peer, child = -1;
	char byte = 0;

	diff_pair(&client, &server);
	diff_pair(&back, &answer);
	peer = (pid_t)works(fork());
	if (peer == 0) {
		works(close(server));
		works(close(answer));
		ask_many_times(client, back);
		exit(0);
	}
	works(sigaction(SIGUSR1, &action, NULL));
	child = (pid_t)works(fork());
	if (child == 0) {
		poll(NULL, 0, 200);
		diff_write_all(answer, "g", 1);
		exit(0);
	}
	diff_thread(signal_when_it_sleeps, &self);
	while (byte != 'q') {
		same(recv(server, &byte, 1, 0), 1);
		if (byte != 'q')
			diff_write_all(answer, "a", 1);
	}
	if (getpid() != me)
		exit(0);
	diff_join(peer);
	diff_join(child);
	diff_join((pid_t)forked_child);
}

/* A server of old: a child for each connection, which prints to it. */
CASE(dup2_to_the_standard_streams__stdio__speaks_to_the_peer)
{
	int client, server;
	char text[32];

	for (int how = 0; how < 2; how++) {
		diff_pair(&client, &server);
		pid_t child = (pid_t)works(fork());
		if (child == 0) {
			printf("early ");
			if (how == 0) {
				same(dup2(server, 0), 0);
				same(dup2(server, 1), 1);
			} else {
				works(close(0));
				same(dup(server), 0);
				works(close(1));
				same(fcntl(server, F_DUPFD, 0), 1);
			}
			works(close(server));
			printf("hello\n");
			fflush(stdout);
			is(fgets(text, sizeof(text), stdin) != NULL);
			printf("%s", text);
			puts("end"); /* which goes out at the exit */
			exit(0);
		}
		works(close(server));
		diff_read_all(client, text, 12);
		same_bytes(text, "early hello\n", 12);
		diff_write_all(client, "again\n", 6);
		diff_read_all(client, text, 10);
		same_bytes(text, "again\nend\n", 10);
		diff_join(child);
		diff_ended(client);
		works(close(client));
	}
}
