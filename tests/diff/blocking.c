/* SPDX-License-Identifier: BSD-3-Clause */
/* What blocking calls do besides succeeding: timeouts, signals, EINTR and SA_RESTART (socket(7), signal(7)). */
#include <setjmp.h>
#include <sys/time.h>

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
