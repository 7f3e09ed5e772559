/* SPDX-License-Identifier: BSD-3-Clause */
/* What blocking calls do besides succeeding: timeouts, signals, EINTR and SA_RESTART (socket(7), signal(7)). */
#include <setjmp.h>
#include <sys/time.h>

#include <sys/epoll.h>
#include <sys/select.h>

#include "tests/diff/diff.h"

static volatile sig_atomic_t alarms;

static void
on_alarm(int number)
{
	(void)number;
	alarms++;
}

static void
handle(int flags)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};

	works(sigaction(SIGALRM, &action, NULL));
}

/* After 50 ms and then every 50 ms: a call that just begins to block when the first comes is met too. */
static void
alarm_soon(void)
{
	struct itimerval time = {.it_value.tv_usec = 50000, .it_interval.tv_usec = 50000};

	works(setitimer(ITIMER_REAL, &time, NULL));
}

static void
timeout_set(int fd, int option, int ms)
{
	struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	works(setsockopt(fd, SOL_SOCKET, option, &time, sizeof(time)));
}

CASE(so_rcvtimeo__nothing_comes__eagain_after_the_time)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	timeout_set(server, SO_RCVTIMEO, 80);
	uint64_t begin = diff_now_ms();
	fails(recv(server, &byte, 1, 0), EAGAIN);
	is(diff_now_ms() - begin >= 75);
	is(diff_now_ms() - begin < 2000);
	diff_write_all(client, "x", 1);
	same(recv(server, &byte, 1, 0), 1);
}

CASE(so_rcvtimeo__some_came__short_count_with_waitall)
{
	char text[8];
	int client, server;

	diff_pair(&client, &server);
	timeout_set(server, SO_RCVTIMEO, 80);
	diff_write_all(client, "abc", 3);
	is(diff_readable(server, 3000));
	same(recv(server, text, 8, MSG_WAITALL), 3);
}

CASE(so_rcvtimeo__accept_and_udp__eagain)
{
	char byte;
	int listener = diff_listen(0, 0, 1), udp = diff_udp();

	timeout_set(listener, SO_RCVTIMEO, 60);
	timeout_set(udp, SO_RCVTIMEO, 60);
	fails(accept(listener, NULL, NULL), EAGAIN);
	fails(recv(udp, &byte, 1, 0), EAGAIN);
	diff_connect(listener);
	works(accept(listener, NULL, NULL));
}

CASE(so_rcvtimeo__set_before_the_first_address__counts)
{
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	struct sockaddr_in address = diff_addr(0);

	timeout_set(fd, SO_RCVTIMEO, 60);
	works(bind(fd, SA(address), sizeof(address)));
	works(listen(fd, 1));
	fails(accept(fd, NULL, NULL), EAGAIN);
}

CASE(so_sndtimeo__peer_reads_nothing__short_count_then_eagain)
{
	static char chunk[64 << 20];
	int client, server;

	diff_pair(&client, &server);
	timeout_set(client, SO_SNDTIMEO, 100);
	ssize_t n = send(client, chunk, sizeof(chunk), 0);
	is(n > 0 && n < (ssize_t)sizeof(chunk));
	/* The window may still open a little; then nothing goes. */
	for (int i = 0; n > 0 && i < 20; i++)
		n = send(client, chunk, sizeof(chunk), 0);
	same(n, -1);
	same(errno, EAGAIN);
	(void)server;
}

CASE(recv__signal_without_restart__eintr)
{
	char byte;
	int client, server;

	handle(0);
	diff_pair(&client, &server);
	alarm_soon();
	fails(recv(server, &byte, 1, 0), EINTR);
	is(alarms >= 1);
}

CASE(recv__signal_with_restart__goes_on)
{
	char byte;
	int client, server;

	handle(SA_RESTART);
	diff_pair(&client, &server);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		sigset_t set;

		/* Timers are not inherited: this one ends when the parent has been interrupted. */
		sigemptyset(&set);
		works(read(client, &byte, 1));
		diff_write_all(client, "x", 1);
		exit(0);
	}
	alarm_soon();
	while (alarms < 1)
		pause();
	diff_write_all(server, "g", 1);
	same(recv(server, &byte, 1, 0), 1);
	same(byte, 'x');
	diff_join(child);
}

static void *
send_after_alarms(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	while (alarms < 3)
		poll(NULL, 0, 1);
	diff_write_all(*(int *)arg, "x", 1);
	return NULL;
}

CASE(recv__several_signals_with_restart__data_in_the_end)
{
	char byte;
	int client, server;
	sigset_t set;

	handle(SA_RESTART);
	diff_pair(&client, &server);
	/* The thread is made with the signal blocked, so that it meets this one only. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_t thread = diff_thread(send_after_alarms, &client);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	alarm_soon();
	same(recv(server, &byte, 1, 0), 1);
	is(alarms >= 3);
	same(pthread_join(thread, NULL), 0);
}

CASE(accept__signal__eintr)
{
	int listener = diff_listen(0, 0, 1);

	handle(0);
	alarm_soon();
	fails(accept(listener, NULL, NULL), EINTR);
}

CASE(send__signal_when_full__eintr_or_short_count)
{
	static char chunk[64 << 20];
	int client, server;

	handle(0);
	diff_pair(&client, &server);
	alarm_soon();
	ssize_t n = send(client, chunk, sizeof(chunk), 0);
	is(n > 0 && n < (ssize_t)sizeof(chunk));
	for (int i = 0; n > 0 && i < 20; i++)
		n = send(client, chunk, sizeof(chunk), 0);
	same(n, -1);
	same(errno, EINTR);
	(void)server;
}

CASE(recv_with_timeout__signal__eintr_even_with_restart)
{
	char byte;
	int client, server;

	handle(SA_RESTART);
	diff_pair(&client, &server);
	timeout_set(server, SO_RCVTIMEO, 5000);
	alarm_soon();
	fails(recv(server, &byte, 1, 0), EINTR);
}

static sigjmp_buf escape;

static void
jump(int number)
{
	(void)number;
	siglongjmp(escape, 1);
}

CASE(recv__handler_jumps_out__socket_still_works)
{
	char byte;
	int client, server;

	signal(SIGALRM, jump);
	diff_pair(&client, &server);
	if (sigsetjmp(escape, 1) == 0) {
		struct itimerval time = {.it_value.tv_usec = 50000};

		works(setitimer(ITIMER_REAL, &time, NULL));
		recv(server, &byte, 1, 0);
		diff_fail(__FILE__, __LINE__, "recv returned");
	}
	diff_write_all(client, "x", 1);
	same(recv(server, &byte, 1, 0), 1);
	diff_write_all(server, "y", 1);
	same(recv(client, &byte, 1, 0), 1);
}

/* The call that a handler left never returns: nothing of it may hold the socket. Twice, as a program does that bounds its calls so. */
static void
jumps_out_of(void (*block)(int fd))
{
	volatile int client, server, jumps = 0;
	int pair[2];
	char byte;

	signal(SIGALRM, jump);
	diff_pair(&pair[0], &pair[1]);
	client = pair[0];
	server = pair[1];
	sigsetjmp(escape, 1);
	if (jumps++ < 2) {
		struct itimerval time = {.it_value.tv_usec = 30000};

		works(setitimer(ITIMER_REAL, &time, NULL));
		block(server);
		diff_fail(__FILE__, __LINE__, "the call returned");
	}
	works(close(server));
	is(diff_readable(client, 3000));
	same(recv(client, &byte, 1, MSG_DONTWAIT), 0);
}

static void
in_recv(int fd)
{
	char byte;

	recv(fd, &byte, 1, 0);
}

static void
in_poll(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	poll(&entry, 1, -1);
}

static void
in_poll_of_many(int fd)
{
	struct pollfd entry[100];

	for (int i = 0; i < 100; i++)
		entry[i] = (struct pollfd){.fd = fd, .events = POLLIN};
	poll(entry, 100, -1);
}

static void
in_select(int fd)
{
	fd_set in;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	select(fd + 1, &in, NULL, NULL, NULL);
}

static void
in_epoll_wait(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = (int)works(epoll_create1(0));

	works(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	epoll_wait(set, &event, 1, -1);
}

static void
in_accept(int fd)
{
	int listener = diff_listen(0, 0, 1);

	(void)fd;
	accept(listener, NULL, NULL);
}

CASE(recv__handler_jumps_out__close_ends_the_connection)
{
	jumps_out_of(in_recv);
}

CASE(poll__handler_jumps_out__close_ends_the_connection)
{
	jumps_out_of(in_poll);
	jumps_out_of(in_poll_of_many);
}

CASE(select__handler_jumps_out__close_ends_the_connection)
{
	jumps_out_of(in_select);
}

CASE(epoll_wait__handler_jumps_out__close_ends_the_connection)
{
	jumps_out_of(in_epoll_wait);
}

CASE(accept__handler_jumps_out__others_go_on)
{
	jumps_out_of(in_accept);
}

struct cancelled {
	int fd;
	pid_t tid;
	void (*block)(int fd);
};

static void *
blocks(void *arg)
{
	struct cancelled *c = arg;

	__atomic_store_n(&c->tid, gettid(), __ATOMIC_RELEASE);
	c->block(c->fd);
	return NULL;
}

static bool
has_begun(void *arg)
{
	return __atomic_load_n(&((struct cancelled *)arg)->tid, __ATOMIC_ACQUIRE) != 0;
}

static void cancel_in(void (*block)(int fd), int fd)
{
	struct cancelled c = {.fd = fd, .block = block};
	pthread_t thread = diff_thread(blocks, &c);
	void *result;

	is(diff_until(has_begun, &c, 3000));
	diff_wait_blocked(c.tid);
	same(pthread_cancel(thread), 0);
	same(pthread_join(thread, &result), 0);
	is(result == PTHREAD_CANCELED);
}

/* A thread that is cancelled in a call leaves nothing of it behind. */
static void cancelled_in(void (*block)(int fd))
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	cancel_in(block, server);
	diff_write_all(client, "x", 1);
	same(recv(server, &byte, 1, 0), 1);
	works(close(server));
	is(diff_readable(client, 3000));
	same(recv(client, &byte, 1, MSG_DONTWAIT), 0);
}

CASE(recv__thread_cancelled__close_ends_the_connection)
{
	cancelled_in(in_recv);
}

CASE(poll__thread_cancelled__close_ends_the_connection)
{
	cancelled_in(in_poll);
	cancelled_in(in_poll_of_many);
	cancelled_in(in_select);
}

CASE(epoll_wait__thread_cancelled__close_ends_the_connection)
{
	cancelled_in(in_epoll_wait);
}

static void on_set(int set)
{
	struct epoll_event event;

	epoll_wait(set, &event, 1, -1);
}

/* The process's address space, in pages (proc(5)). */
static long pages(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long n = -1;

	is(f != NULL && fscanf(f, "%ld", &n) == 1);
	fclose(f);
	return n;
}

/* Nothing is kept of a set whose waiter never came back. */
CASE(epoll_wait__thread_cancelled__its_set_goes_when_closed)
{
	int client, server;
	long before = 0;

	diff_pair(&client, &server);
	for (int round = 0; round < 320; round++) {
		struct epoll_event event = {.events = EPOLLIN};
		int set = (int)works(epoll_create1(EPOLL_CLOEXEC));

		works(epoll_ctl(set, EPOLL_CTL_ADD, server, &event));
		cancel_in(on_set, set);
		works(close(set));
		if (round == 20)
			before = pages();
	}
	is(pages() - before < 50);
}

CASE(connect__signal__eintr_then_completes)
{
	/* An address that answers nothing is not at hand on a loopback: a full listener holds the
	 * connection back instead. */
	int listener = diff_listen(0, 0, 0), fd, n = 0;
	struct sockaddr_in address = diff_addr(diff_port(listener));

	handle(0);
	for (n = 0; n < 16; n++) {
		int filler = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
		connect(filler, SA(address), sizeof(address));
		if (diff_poll(filler, POLLOUT, 200) == 0)
			break;
	}
	if (n == 16)
		diff_skip("the listener takes every connection");
	fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	alarm_soon();
	fails(connect(fd, SA(address), sizeof(address)), EINTR);
	diff_nonblock(fd);
	fails(connect(fd, SA(address), sizeof(address)), EALREADY);
}

CASE(fcntl_nonblock__while_open__next_call_obeys)
{
	char byte;
	int client, server;

	diff_pair(&client, &server);
	works(fcntl(server, F_SETFL, O_NONBLOCK));
	fails(recv(server, &byte, 1, 0), EAGAIN);
	works(fcntl(server, F_SETFL, 0));
	handle(0);
	alarm_soon();
	fails(recv(server, &byte, 1, 0), EINTR);
}

CASE(ioctl_fionbio__as_fcntl)
{
	char byte;
	int client, server, on = 1, off = 0;

	diff_pair(&client, &server);
	works(ioctl(server, FIONBIO, &on));
	same(works(fcntl(server, F_GETFL)), O_RDWR | O_NONBLOCK);
	fails(recv(server, &byte, 1, 0), EAGAIN);
	works(ioctl(server, FIONBIO, &off));
	same(works(fcntl(server, F_GETFL)), O_RDWR);
}

CASE(peek_of_all__less_than_that__waits_until_its_time)
{
	struct timeval time = {.tv_usec = 100000};
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	works(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	diff_write_all(client, "abc", 3);
	is(diff_readable(server, 3000));
	same(recv(server, text, sizeof(text), MSG_PEEK | MSG_WAITALL), 3);
	same(recv(server, text, sizeof(text), MSG_WAITALL), 3);
}

static void *send_the_rest(void *arg)
{
	const struct waiting_peer {
		int fd;
		pid_t reader;
	} *peer = arg;

	diff_wait_blocked(peer->reader);
	diff_write_all(peer->fd, "de", 2);
	diff_wait_blocked(peer->reader);
	diff_write_all(peer->fd, "fgh", 3);
	return NULL;
}

CASE(peek_of_all__the_rest_comes__all_of_it)
{
	struct {
		int fd;
		pid_t reader;
	} peer = {.reader = getpid()};
	char text[8];
	int server;

	diff_pair(&peer.fd, &server);
	diff_write_all(peer.fd, "abc", 3);
	is(diff_readable(server, 3000));
	pthread_t thread = diff_thread(send_the_rest, &peer);
	same(recv(server, text, sizeof(text), MSG_PEEK | MSG_WAITALL), 8);
	same_bytes(text, "abcdefgh", 8);
	same(pthread_join(thread, NULL), 0);
}

CASE(receive_time__less_than_none__does_not_wait)
{
	struct timeval time = {.tv_sec = -1, .tv_usec = 5};
	socklen_t length = sizeof(time);
	int client, server;
	char byte;

	diff_pair(&client, &server);
	works(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	fails(recv(server, &byte, 1, 0), EAGAIN);
	works(getsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, &length));
	same(time.tv_sec, 0);
	same(time.tv_usec, 0);
}

/* As nanoseconds in 64 bits it would be a fifth of a second. */
CASE(receive_time__more_than_any_clock_has__waits)
{
	struct timeval time = {.tv_sec = 18446744074};
	int client, server;
	char byte;

	diff_pair(&client, &server);
	works(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		poll(NULL, 0, 400);
		diff_write_all(client, "x", 1);
		exit(0);
	}
	same(recv(server, &byte, 1, 0), 1);
	diff_join(child);
}

struct sleeper {
	pthread_t thread;
	pid_t id;
};

static void *alarm_when_it_sleeps(void *arg)
{
	const struct sleeper *s = arg;

	diff_wait_blocked(s->id);
	same(pthread_kill(s->thread, SIGALRM), 0);
	return NULL;
}

static void interrupted(int fd)
{
	struct sleeper me = {pthread_self(), getpid()};
	pthread_t thread = diff_thread(alarm_when_it_sleeps, &me);
	char byte;

	fails(recv(fd, &byte, 1, 0), EINTR);
	same(pthread_join(thread, NULL), 0);
}

/* The older ways to a handler that interrupts (siginterrupt(3), sysv_signal(3), sigset(3), SA_RESETHAND). */
CASE(handlers_of_old__signal_in_recv__EINTR)
{
	struct sigaction once = {.sa_handler = on_alarm, .sa_flags = (int)SA_RESETHAND}, now;
	int client, server;

	diff_pair(&client, &server);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	is(signal(SIGALRM, on_alarm) == SIG_DFL);
	works(siginterrupt(SIGALRM, 1));
	interrupted(server);
	is(signal(SIGALRM, on_alarm) == on_alarm); /* which remembers it */
	interrupted(server);
	works(siginterrupt(SIGALRM, 0));
	works(sigaction(SIGALRM, NULL, &now));
	same(now.sa_flags & SA_RESTART, SA_RESTART);
	is(sysv_signal(SIGALRM, on_alarm) == on_alarm);
	interrupted(server);
	is(sysv_signal(SIGALRM, on_alarm) == SIG_DFL);
	works(sigaction(SIGALRM, &once, NULL));
	interrupted(server);
	works(sigaction(SIGALRM, NULL, &now));
	is(now.sa_handler == SIG_DFL);
	is(sigset(SIGALRM, on_alarm) == SIG_DFL);
	interrupted(server);
#pragma GCC diagnostic pop
}

struct marked {
	int fd;
	pid_t tid;
};
static void *wait_for_mark(void *arg)
{
	struct marked *m = arg;

	__atomic_store_n(&m->tid, gettid(), __ATOMIC_RELEASE);
	same(diff_poll(m->fd, POLLIN, 10000), POLLIN);
	return NULL;
}
static bool marked_begun(void *arg)
{
	return __atomic_load_n(&((struct marked *)arg)->tid, __ATOMIC_ACQUIRE) != 0;
}
CASE(low_water_mark__lowered__who_polls_is_woken)
{
	struct marked m = {0};
	pthread_t thread;
	int client;

	diff_pair(&client, &m.fd);
	diff_set_int(m.fd, SOL_SOCKET, SO_RCVLOWAT, 6);
	diff_write_all(client, "abc", 3);
	thread = diff_thread(wait_for_mark, &m);
	is(diff_until(marked_begun, &m, 3000));
	diff_wait_blocked(m.tid);
	diff_set_int(m.fd, SOL_SOCKET, SO_RCVLOWAT, 3);
	pthread_join(thread, NULL);
}

CASE(low_water_mark__time_is_over__what_there_is)
{
	struct timeval time = {.tv_usec = 200000};
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	diff_set_int(server, SOL_SOCKET, SO_RCVLOWAT, 5);
	works(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	diff_write_all(client, "abc", 3);
	same(diff_poll(server, POLLIN, 50), 0);
	same(recv(server, text, sizeof(text), MSG_DONTWAIT), 3);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		diff_write_all(client, "abc", 3);
		exit(0);
	}
	same(recv(server, text, sizeof(text), 0), 3);
	diff_join(child);
}
