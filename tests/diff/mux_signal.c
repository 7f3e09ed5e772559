/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals and waiting: masks that hold for one call, EINTR, what SA_RESTART restarts (signal(7)).
 */
#include <sys/select.h>
#include <sys/time.h>

#include "tests/diff/mux.h"

static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

static void handle(int sig, int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

	works(sigaction(sig, &action, NULL));
}

static sigset_t only(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return set;
}

struct target {
	pthread_t thread;
	pid_t tid;
	int fd; /* >= 0: send data instead of a signal */
};

static struct target target_self(void)
{
	return (struct target){.thread = pthread_self(), .tid = gettid(), .fd = -1};
}

static void *kill_when_blocked(void *arg)
{
	struct target *t = arg;
	sigset_t usr1 = only(SIGUSR1);

	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	diff_wait_blocked(t->tid);
	same(pthread_kill(t->thread, SIGUSR1), 0);
	return NULL;
}

static void *kill_then_send(void *arg)
{
	struct target *t = arg;

	kill_when_blocked(t);
	diff_wait_blocked(t->tid);
	mux_send(t->fd, "data");
	return NULL;
}

/* Neither of these is ever restarted, whatever SA_RESTART says. */
CASE(epoll_wait__signal__eintr_even_with_restart)
{
	int set = mux_new(), client, server;
	struct epoll_event event;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		struct target t = target_self();
		handle(SIGUSR1, flags);
		handled = 0;
		pthread_t thread = diff_thread(kill_when_blocked, &t);
		fails(epoll_wait(set, &event, 1, 5000), EINTR);
		same(handled, 1);
		same(pthread_join(thread, NULL), 0);
	}
}

CASE(poll_and_select__signal__eintr_even_with_restart)
{
	int client, server;

	diff_pair(&client, &server);
	for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
		struct pollfd entry = {.fd = server, .events = POLLIN};
		struct target t = target_self();
		handle(SIGUSR1, flags);
		pthread_t thread = diff_thread(kill_when_blocked, &t);
		fails(poll(&entry, 1, 5000), EINTR);
		same(pthread_join(thread, NULL), 0);

		struct timeval timeout = {.tv_sec = 5};
		fd_set in;
		FD_ZERO(&in);
		FD_SET(server, &in);
		thread = diff_thread(kill_when_blocked, &t);
		fails(select(server + 1, &in, NULL, NULL, &timeout), EINTR);
		is(timeout.tv_sec <= 5);
		same(pthread_join(thread, NULL), 0);
	}
}

CASE(recv__signal_without_restart__eintr)
{
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	handle(SIGUSR1, 0);
	struct target t = target_self();
	pthread_t thread = diff_thread(kill_when_blocked, &t);
	fails(recv(server, text, sizeof(text), 0), EINTR);
	same(pthread_join(thread, NULL), 0);
}

/* A recv that SIGUSR1 meets, whose handler has SA_RESTART. */
static void recv_goes_on(void)
{
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	handle(SIGUSR1, SA_RESTART);
	struct target t = target_self();
	t.fd = client;
	pthread_t thread = diff_thread(kill_then_send, &t);
	same(recv(server, text, sizeof(text), 0), 4);
	same(handled, 1);
	same(pthread_join(thread, NULL), 0);
}

CASE(recv__signal_with_restart__goes_on)
{
	recv_goes_on();
}

/* It is the handler that ran which counts, not what others of the process are like. */
CASE(recv__signal_with_restart_among_handlers_without__goes_on)
{
	handle(SIGUSR2, 0);
	recv_goes_on();
}

/* With a timeout on the socket it is EINTR, SA_RESTART or not. */
CASE(recv__timeout_and_signal_with_restart__eintr)
{
	struct timeval timeout = {.tv_sec = 5};
	int client, server;
	char text[8];

	diff_pair(&client, &server);
	works(setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)));
	handle(SIGUSR1, SA_RESTART);
	struct target t = target_self();
	pthread_t thread = diff_thread(kill_when_blocked, &t);
	fails(recv(server, text, sizeof(text), 0), EINTR);
	same(pthread_join(thread, NULL), 0);
}

CASE(accept__signal_without_restart__eintr)
{
	int listener = diff_listen(0, 0, 4);

	handle(SIGUSR1, 0);
	struct target t = target_self();
	pthread_t thread = diff_thread(kill_when_blocked, &t);
	fails(accept(listener, NULL, NULL), EINTR);
	same(pthread_join(thread, NULL), 0);
}

/* A pending blocked signal that the call's mask lets through ends it at once. */
CASE(epoll_pwait__pending_signal__eintr_and_mask_back)
{
	int set = mux_new(), client, server;
	struct epoll_event event;
	sigset_t usr1 = only(SIGUSR1), none, now;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	handle(SIGUSR1, 0);
	sigemptyset(&none);
	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	works(raise(SIGUSR1));
	same(epoll_wait(set, &event, 1, MUX_QUIET), 0);
	same(handled, 0);
	fails(epoll_pwait(set, &event, 1, 5000, &none), EINTR);
	same(handled, 1);
	same(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	same(sigismember(&now, SIGUSR1), 1);
}

CASE(epoll_pwait2__pending_signal__eintr)
{
	int set = mux_new(), client, server;
	struct timespec timeout = {.tv_sec = 5};
	struct epoll_event event;
	sigset_t usr1 = only(SIGUSR1), none;

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	handle(SIGUSR1, 0);
	sigemptyset(&none);
	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	works(raise(SIGUSR1));
	fails(epoll_pwait2(set, &event, 1, &timeout, &none), EINTR);
	same(handled, 1);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	same(epoll_pwait2(set, &event, 1, &timeout, &none), 1);
	mux_expect(server, "x");
	timeout = (struct timespec){.tv_nsec = 20000000};
	uint64_t start = diff_now_ms();
	same(epoll_pwait2(set, &event, 1, &timeout, NULL), 0);
	is(diff_now_ms() - start >= 19);
	timeout = (struct timespec){.tv_nsec = -1};
	fails(epoll_pwait2(set, &event, 1, &timeout, NULL), EINVAL);
}

CASE(epoll_pwait__blocked_by_its_mask__no_eintr)
{
	int set = mux_new(), client, server;
	struct epoll_event event;
	sigset_t usr1 = only(SIGUSR1);

	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	handle(SIGUSR1, 0);
	struct target t = target_self();
	t.fd = client;
	pthread_t thread = diff_thread(kill_then_send, &t);
	same(epoll_pwait(set, &event, 1, 5000, &usr1), 1);
	/* It came when the mask was put back. */
	same(handled, 1);
	same(pthread_join(thread, NULL), 0);
}

CASE(ppoll_and_pselect__pending_signal__eintr)
{
	struct timespec timeout = {.tv_sec = 5};
	sigset_t usr1 = only(SIGUSR1), none;
	int client, server;
	fd_set in;

	diff_pair(&client, &server);
	handle(SIGUSR1, 0);
	sigemptyset(&none);
	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	works(raise(SIGUSR1));
	struct pollfd entry = {.fd = server, .events = POLLIN};
	fails(ppoll(&entry, 1, &timeout, &none), EINTR);
	same(handled, 1);
	works(raise(SIGUSR1));
	FD_ZERO(&in);
	FD_SET(server, &in);
	fails(pselect(server + 1, &in, NULL, NULL, &timeout, &none), EINTR);
	same(handled, 2);
	/* Nothing to wait for, but the mask counts. */
	works(raise(SIGUSR1));
	timeout = (struct timespec){0};
	fails(ppoll(&entry, 1, &timeout, &none), EINTR);
	same(handled, 3);
}

/* What is ready is reported; the signal waits until the mask lets it through. */
CASE(ppoll__ready_and_pending_signal__ready_wins)
{
	sigset_t usr1 = only(SIGUSR1), none;
	int client, server;

	diff_pair(&client, &server);
	handle(SIGUSR1, 0);
	sigemptyset(&none);
	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	mux_send(client, "x");
	mux_settle(server, POLLIN);
	works(raise(SIGUSR1));
	struct pollfd entry = {.fd = server, .events = POLLIN};
	same(ppoll(&entry, 1, NULL, &none), 1);
	same(entry.revents, POLLIN);
	same(handled, 0);
	same(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
	same(handled, 1);
}

/* Signals that come at any moment: before the look, while it spins, in the sleep. Every one of
 * them is handled, and data always arrives. */
static volatile sig_atomic_t storm_over;

static void *storm(void *arg)
{
	struct target *t = arg;
	sigset_t usr1 = only(SIGUSR1);

	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	while (!storm_over) {
		struct timespec pause = {.tv_nsec = 20000};
		pthread_kill(t->thread, SIGUSR1);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void *echo(void *arg)
{
	int fd = *(int *)arg;
	sigset_t usr1 = only(SIGUSR1);
	char byte;

	same(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	while (read(fd, &byte, 1) == 1)
		diff_write_all(fd, &byte, 1);
	return NULL;
}

/* Under the preload a wait looks for a while before it sleeps, here for a second: a signal that
 * comes then is no less one. The timer's 20 ms are within it, and on Linux within the sleep. */
static void signal_soon(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec soon = {.it_value.tv_nsec = 20000000};
	timer_t timer;

	works(timer_create(CLOCK_MONOTONIC, &event, &timer));
	works(timer_settime(timer, 0, &soon, NULL));
}

CASE(every_wait__signal_before_the_sleep__eintr)
{
	int set = mux_new(), client, server;
	struct pollfd entry = {.events = POLLIN};
	struct epoll_event event;
	char byte;

	works(setenv("CULVERT_SPIN_US", "1000000", 1));
	diff_pair(&client, &server);
	mux_add(set, server, EPOLLIN, 1);
	entry.fd = server;
	handle(SIGUSR1, 0);
	signal_soon();
	fails(epoll_wait(set, &event, 1, 3000), EINTR);
	signal_soon();
	fails(poll(&entry, 1, 3000), EINTR);
	signal_soon();
	fails(recv(server, &byte, 1, 0), EINTR);
	same(handled, 3);
}

CASE_LIMIT(epoll_and_recv__storm_of_signals__nothing_lost, 30)
{
	int set = mux_new(), client, server;
	struct target t = target_self();
	struct epoll_event event;
	char byte;

	diff_pair(&client, &server);
	mux_add(set, client, EPOLLIN, 1);
	handle(SIGUSR1, SA_RESTART);
	pthread_t threads[2] = {diff_thread(storm, &t), diff_thread(echo, &server)};
	for (int i = 0; i < 2000; i++) {
		diff_write_all(client, "x", 1);
		if (i & 1) {
			int n;
			do
				n = epoll_wait(set, &event, 1, 5000);
			while (n < 0 && errno == EINTR);
			same(n, 1);
		}
		same(recv(client, &byte, 1, 0), 1);
	}
	storm_over = 1;
	same(pthread_join(threads[0], NULL), 0);
	works(shutdown(client, SHUT_RDWR));
	same(pthread_join(threads[1], NULL), 0);
	is(handled > 0);
}

/* --- what signal-safety(7) lets a handler call, whatever it interrupted ----------------------------- */

#define AMID 2000 /* handlers */
#define AMID_FDS 100

static int amid_listener;
static volatile unsigned amid_handled;
static volatile unsigned amid_failed; /* the line of the first that failed */

static void amid_check(bool ok, unsigned line)
{
	if (!ok && amid_failed == 0)
		amid_failed = line;
}

static void connect_and_close(void)
{
	const struct sockaddr_in to = diff_addr(diff_port(amid_listener));
	int client = socket(AF_INET, SOCK_STREAM, 0), server;
	char byte = 0;

	amid_check(connect(client, CSA(to), sizeof(to)) == 0, __LINE__);
	server = accept(amid_listener, NULL, NULL);
	amid_check(server >= 0 && send(server, "x", 1, 0) == 1, __LINE__);
	amid_check(recv(client, &byte, 1, 0) == 1 && byte == 'x', __LINE__);
	amid_check(close(client) == 0 && close(server) == 0, __LINE__);
}

static void make_wait_and_close(int sig)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd fds[AMID_FDS];
	int saved = errno, fd = socket(AF_INET, SOCK_STREAM, 0), set = epoll_create1(EPOLL_CLOEXEC);

	(void)sig;
	amid_check(fd >= 0 && set >= 0, __LINE__);
	for (int i = 0; i < AMID_FDS; i++)
		fds[i] = (struct pollfd){.fd = fd, .events = POLLPRI};
	amid_check(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0, __LINE__);
	amid_check(poll(fds, AMID_FDS, 0) == AMID_FDS, __LINE__);
	amid_check(close(fd) == 0 && close(set) == 0, __LINE__);
	if (amid_handled++ % 8 == 0)
		connect_and_close();
	errno = saved;
}

static void *sleep_beside(void *arg)
{
	(void)arg;
	pause();
	return NULL;
}

/* With a second thread there, the allocator takes its locks. */
CASE(handlers_amid_malloc__use_sockets_and_sets__they_can)
{
	const struct sigaction action = {.sa_handler = make_wait_and_close, .sa_flags = SA_RESTART};
	const struct itimerval often = {.it_interval = {.tv_usec = 50}, .it_value = {.tv_usec = 50}},
			       never = {{0, 0}, {0, 0}};
	sigset_t alarm_only = only(SIGALRM);
	pthread_t beside;

	same(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL), 0);
	beside = diff_thread(sleep_beside, NULL);
	same(pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL), 0);
	amid_listener = diff_listen(0, 0, 5);
	works(sigaction(SIGALRM, &action, NULL));
	works(setitimer(ITIMER_REAL, &often, NULL));
	for (size_t n = 0; amid_handled < AMID; n++) {
		void *volatile memory = malloc(2000 + n % 64 * 1000);

		is(memory != NULL);
		free(memory);
	}
	works(setitimer(ITIMER_REAL, &never, NULL));
	same(amid_failed, 0);
	same(pthread_cancel(beside), 0);
	same(pthread_join(beside, NULL), 0);
}

static int own_socket;
static volatile sig_atomic_t own_failed, own_done;

static void send_own(int sig)
{
	int saved = errno;

	(void)sig;
	if (send(own_socket, "!", 1, MSG_DONTWAIT) < 0 && errno != EAGAIN)
		own_failed = errno;
	handled++;
	errno = saved;
}

static void *read_all(void *arg)
{
	static char sink[1 << 16];

	while (read(*(const int *)arg, sink, sizeof(sink)) > 0)
		;
	return NULL;
}

static void receive_own(int sig)
{
	char byte;
	int saved = errno;

	(void)sig;
	if (recv(own_socket, &byte, 1, 0) < 0 && errno != EAGAIN)
		own_failed = errno;
	handled++;
	errno = saved;
}

static void *send_on(void *arg)
{
	static const char data[60000];
	int fd = *(const int *)arg;

	while (!own_done) {
		send(fd, data, sizeof(data), 0);
		usleep(100); /* the receiver keeps up */
	}
	return NULL;
}

CASE(handler__receives_on_the_socket_that_it_interrupts_a_receive_on__goes_on)
{
	static char data[60000];
	const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = receive_own, .sa_flags = SA_RESTART};
	sigset_t alarm_only = only(SIGALRM);
	pthread_t sender;
	int peer;

	diff_udp_pair(&own_socket, &peer);
	same(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL), 0);
	sender = diff_thread(send_on, &peer);
	same(pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL), 0);
	works(sigaction(SIGALRM, &action, NULL));
	works(setitimer(ITIMER_REAL, &often, NULL));
	while (handled < 1000)
		works(recv(own_socket, data, sizeof(data), 0));
	works(setitimer(ITIMER_REAL, &never, NULL));
	own_done = 1; /* whoever waited has got something */
	same(own_failed, 0);
	same(pthread_join(sender, NULL), 0);
}

/* send() may be called in a handler (signal-safety(7)), and whose send is interrupted is nobody's to ask. */
CASE(handler__sends_on_the_socket_that_it_interrupts_a_send_on__goes_on)
{
	static const char data[1 << 16];
	const struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = send_own, .sa_flags = SA_RESTART};
	sigset_t alarm_only = only(SIGALRM);
	pthread_t reader;
	int server;

	diff_pair(&own_socket, &server);
	same(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL), 0);
	reader = diff_thread(read_all, &server);
	same(pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL), 0);
	works(sigaction(SIGALRM, &action, NULL));
	works(setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < 20000 && handled < 1000; i++)
		works(send(own_socket, data, sizeof(data), 0));
	works(setitimer(ITIMER_REAL, &never, NULL));
	same(own_failed, 0);
	works(close(own_socket));
	same(pthread_join(reader, NULL), 0);
}
