/* SPDX-License-Identifier: BSD-3-Clause */
/* Signal-driven I/O: who gets which signal and when (fcntl(2): O_ASYNC, F_SETOWN, F_SETSIG; socket(7), tcp(7)).
 * Signals are blocked and waited for, so that each is one answer. */
#include <sys/epoll.h>

#include "tests/diff/diff.h"

#define SOON_MS 3000
#define QUIET_MS 20 /* in which what must not come has not come */
#define RT (SIGRTMIN + 3)

static sigset_t ours(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGURG);
	sigaddset(&set, RT);
	return set;
}

static void block(void)
{
	sigset_t set = ours();

	works(sigprocmask(SIG_BLOCK, &set, NULL));
}

static int next_within(siginfo_t *info, unsigned ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	sigset_t set = ours();

	return sigtimedwait(&set, info, &time);
}

/* The next signal is sig, with this si_code; of a queued one with this descriptor and band. */
static void next(int sig, int code, int fd, long band)
{
	siginfo_t info;

	same(next_within(&info, SOON_MS), sig);
	if (sig != SIGURG) /* which is ignored: what comes with it is nobody's to see */
		same(info.si_code, code);
	if (sig != RT)
		return;
	same(info.si_fd, fd);
	same(info.si_band, band);
}

static void none(void)
{
	siginfo_t info;

	fails(next_within(&info, QUIET_MS), EAGAIN);
}

static void set_async(int fd, bool on)
{
	int flags = (int)works(fcntl(fd, F_GETFL));

	works(fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC));
}

/* This process gets what comes to fd, by RT or (0) as SIGIO. */
static void ask(int fd, int sig)
{
	block();
	works(fcntl(fd, F_SETOWN, getpid()));
	works(fcntl(fd, F_SETSIG, sig));
	set_async(fd, true);
}

static void next_in(int fd)
{
	next(RT, POLL_IN, fd, POLLIN | POLLRDNORM);
}

static void next_out(int fd)
{
	next(RT, POLL_OUT, fd, POLLOUT | POLLWRNORM | POLLWRBAND);
}

static void next_err(int fd)
{
	next(RT, POLL_ERR, fd, POLLERR);
}

/* --- who and which ------------------------------------------------------------------------------ */

static void owner_is_kept(int fd)
{
	struct f_owner_ex ex = {.type = F_OWNER_TID, .pid = gettid()}, got;
	int id = getpid();

	same(fcntl(fd, F_GETOWN), 0);
	same(fcntl(fd, F_GETSIG), 0);
	works(fcntl(fd, F_SETOWN, getpid()));
	same(fcntl(fd, F_GETOWN), getpid());
	works(fcntl(fd, F_GETOWN_EX, &got));
	same(got.type, F_OWNER_PID);
	works(fcntl(fd, F_SETOWN_EX, &ex));
	works(fcntl(fd, F_GETOWN_EX, &got));
	same(got.type, F_OWNER_TID);
	same(got.pid, gettid());
	works(fcntl(fd, F_SETOWN, -getpgrp()));
	works(fcntl(fd, F_GETOWN_EX, &got));
	same(got.type, F_OWNER_PGRP);
	same(got.pid, getpgrp());
	works(ioctl(fd, FIOSETOWN, &id));
	id = 0;
	works(ioctl(fd, FIOGETOWN, &id));
	same(id, getpid());
	works(ioctl(fd, SIOCSPGRP, &id));
	id = 0;
	works(ioctl(fd, SIOCGPGRP, &id));
	same(id, getpid());
	works(fcntl(fd, F_SETSIG, RT));
	same(fcntl(fd, F_GETSIG), RT);
	works(fcntl(fd, F_SETOWN, 0));
	same(fcntl(fd, F_GETOWN), 0);
}

CASE(owner__set_by_every_call__is_told_by_every_call)
{
	int client, server, a, b;

	diff_pair(&client, &server);
	diff_udp_pair(&a, &b);
	owner_is_kept(client);
	owner_is_kept(server);
	owner_is_kept(a);
	owner_is_kept((int)works(socket(AF_INET, SOCK_STREAM, 0)));
}

CASE(owner__that_cannot_be__is_refused)
{
	struct f_owner_ex ex = {.type = (enum __pid_type)7, .pid = getpid()};
	int client, server;

	diff_pair(&client, &server);
	fails(fcntl(server, F_SETOWN_EX, &ex), EINVAL);
	fails(fcntl(server, F_SETSIG, 65), EINVAL);
	fails(fcntl(server, F_SETSIG, -1), EINVAL);
	fails(fcntl(server, F_SETOWN, 0x3ffffff), ESRCH);
	fails(ioctl(server, FIOSETOWN, NULL), EFAULT);
	fails(ioctl(server, FIOASYNC, NULL), EFAULT);
}

CASE(owner__of_one_connection__is_no_other_ones)
{
	int listener = diff_listen(0, 0, 8), one = diff_connect(listener), other = diff_connect(listener);
	int first, second;

	ask(listener, RT);
	first = (int)works(accept(listener, NULL, NULL));
	second = (int)works(accept(listener, NULL, NULL));
	same(fcntl(first, F_GETOWN), 0);
	same(fcntl(first, F_GETFL) & O_ASYNC, 0);
	ask(first, RT);
	same(fcntl(first, F_GETOWN), getpid());
	same(fcntl(second, F_GETOWN), 0);
	same(fcntl(second, F_GETFL) & O_ASYNC, 0);
	diff_write_all(other, "x", 1);
	diff_arrived(second, 1);
	diff_write_all(one, "x", 1);
	next_in(first);
	none();
}

/* --- what is signalled --------------------------------------------------------------------------- */

CASE(stream__data__sigio_of_the_kernel)
{
	int client, server;

	diff_pair(&client, &server);
	ask(server, 0);
	is(fcntl(server, F_GETFL) & O_ASYNC);
	diff_write_all(client, "x", 1);
	next(SIGIO, SI_KERNEL, 0, 0);
	none();
}

CASE(stream__data_with_a_signal_chosen__queued_with_its_descriptor)
{
	int client, server;

	diff_pair(&client, &server);
	ask(server, RT);
	for (int i = 0; i < 3; i++) {
		diff_write_all(client, "x", 1);
		next_in(server);
	}
	set_async(server, false);
	same(fcntl(server, F_GETFL) & O_ASYNC, 0);
	diff_write_all(client, "x", 1);
	diff_arrived(server, 4);
	none();
	set_async(server, true);
	none();
	diff_write_all(client, "x", 1);
	next_in(server);
	works(fcntl(server, F_SETSIG, SIGIO));
	diff_write_all(client, "x", 1);
	next(SIGIO, POLL_IN, 0, 0);
	works(fcntl(server, F_SETOWN, 0));
	diff_write_all(client, "x", 1);
	diff_arrived(server, 7);
	none();
}

CASE(fioasync__data__as_by_fcntl)
{
	int client, server, on = 1, off = 0;

	diff_pair(&client, &server);
	ask(server, RT);
	works(ioctl(server, FIOASYNC, &off));
	same(fcntl(server, F_GETFL) & O_ASYNC, 0);
	works(ioctl(server, FIOASYNC, &on));
	is(fcntl(server, F_GETFL) & O_ASYNC);
	diff_write_all(client, "x", 1);
	next_in(server);
}

CASE(stream__the_peer_ends__in_then_hup_when_we_have_ended)
{
	int client, server;
	siginfo_t info;

	diff_pair(&client, &server);
	ask(server, RT);
	works(shutdown(client, SHUT_WR));
	next_in(server); /* and another one on Linux */
	ask(client, RT);
	works(close(server));
	do
		same(next_within(&info, SOON_MS), RT);
	while (info.si_fd == server);
	same(info.si_fd, client);
	same(info.si_code, POLL_HUP);
	same(info.si_band, POLLHUP | POLLERR);
}

CASE(stream__reset__err)
{
	struct linger hard = {.l_onoff = 1};
	int client, server;

	diff_pair(&client, &server);
	ask(server, RT);
	works(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	works(close(client));
	next_err(server);
	none();
}

CASE(stream__room_after_a_full_buffer__out)
{
	char bytes[65536] = "";
	int client, server;
	ssize_t n;

	diff_pair(&client, &server);
	diff_nonblock(client);
	diff_nonblock(server);
	ask(client, RT);
	none();
	do
		n = send(client, bytes, sizeof(bytes), 0);
	while (n > 0);
	same(errno, EAGAIN);
	/* Of all that it holds the peer takes everything: then there is room, sooner or later. */
	for (uint64_t end = diff_now_ms() + SOON_MS;;) {
		siginfo_t info;

		while (recv(server, bytes, sizeof(bytes), 0) > 0)
			;
		if (next_within(&info, 1) == RT && info.si_code == POLL_OUT && info.si_fd == client)
			break;
		is(diff_now_ms() < end);
	}
}

CASE(connect__established__out)
{
	int listener = diff_listen(0, 0, 8), fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct sockaddr_in to = diff_addr(diff_port(listener));

	ask(fd, RT);
	if (connect(fd, CSA(to), sizeof(to)) != 0)
		same(errno, EINPROGRESS);
	next_out(fd);
	none();
}

CASE(connect__refused__err)
{
	int bound = diff_listen(0, 0, 8), fd = (int)works(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	struct sockaddr_in to = diff_addr(diff_port(bound));

	works(close(bound));
	ask(fd, RT);
	if (connect(fd, CSA(to), sizeof(to)) != 0)
		is(errno == EINPROGRESS || errno == ECONNREFUSED);
	next_err(fd);
}

CASE(listener__connections__in_for_each)
{
	int listener = diff_listen(0, 0, 8);

	ask(listener, RT);
	diff_connect(listener);
	diff_connect(listener);
	next_in(listener);
	next_in(listener);
	none();
}

CASE(listener__asked_before_it_was_bound__in)
{
	struct sockaddr_in to = diff_addr(0);
	int listener = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	ask(listener, RT);
	works(bind(listener, CSA(to), sizeof(to)));
	works(listen(listener, 8));
	diff_connect(listener);
	next_in(listener);
	none();
}

CASE(wildcard_sockets__either_half__in)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, near = diff_addr(0);
	int listener = (int)works(socket(AF_INET, SOCK_STREAM, 0)), udp = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
	int from = (int)works(socket(AF_INET, SOCK_DGRAM, 0)), client;

	works(bind(listener, CSA(any), sizeof(any)));
	works(listen(listener, 8));
	works(bind(udp, CSA(any), sizeof(any)));
	ask(listener, RT);
	ask(udp, RT);
	for (int half = 0; half < 2; half++) {
		struct sockaddr_in to = near;

		if (half == 1)
			to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		to.sin_port = htons(diff_port(listener));
		client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		works(connect(client, CSA(to), sizeof(to)));
		next_in(listener);
		to.sin_port = htons(diff_port(udp));
		from = (int)works(socket(AF_INET, SOCK_DGRAM, 0));
		works(sendto(from, "x", 1, 0, CSA(to), sizeof(to)));
		next_in(udp);
	}
	none();
}

CASE(datagrams__some__in_for_each)
{
	int a, b;

	diff_udp_pair(&a, &b);
	ask(b, RT);
	for (int i = 0; i < 3; i++)
		works(send(a, "x", 1, 0));
	for (int i = 0; i < 3; i++)
		next_in(b);
	none();
}

CASE(datagrams__nobody_there__err)
{
	int a, b;

	diff_udp_pair(&a, &b);
	works(close(b));
	ask(a, RT);
	works(send(a, "x", 1, 0));
	next_err(a);
}

CASE(urgent_data__an_owner_alone__sigurg)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	block();
	works(fcntl(server, F_SETOWN, getpid()));
	for (int i = 0; i < 2; i++) {
		works(send(client, "ab!", 3, MSG_OOB));
		next(SIGURG, SI_KERNEL, 0, 0);
		none();
		diff_poll(server, POLLPRI, SOON_MS);
		same(recv(server, &byte, 1, MSG_OOB), 1);
		diff_read_all(server, &(char[2]){0}, 2);
	}
}

CASE(urgent_data__asked_for_signals__pri_too)
{
	int client, server, pri = 0, in = 0;
	siginfo_t info;

	diff_pair(&client, &server);
	ask(server, RT);
	works(send(client, "!", 1, MSG_OOB));
	next(SIGURG, SI_KERNEL, 0, 0);
	while (pri + in < 2) {
		same(next_within(&info, SOON_MS), RT);
		same(info.si_fd, server);
		pri += info.si_code == POLL_PRI && info.si_band == (POLLPRI | POLLRDBAND);
		in += info.si_code == POLL_IN;
	}
	same(pri, 1);
}

/* Nobody handles SIGURG: it is ignored, and wakes nobody. */
CASE(urgent_data__sigurg_ignored__no_wait_ends)
{
	int client, server, set = (int)works(epoll_create1(0)), pipe_fds[2];
	struct epoll_event event = {.events = EPOLLIN}, got;

	diff_pair(&client, &server);
	works(pipe(pipe_fds));
	works(epoll_ctl(set, EPOLL_CTL_ADD, pipe_fds[0], &event));
	works(fcntl(server, F_SETOWN, getpid()));
	for (int i = 0; i < 5; i++) {
		works(send(client, "!", 1, MSG_OOB));
		same(epoll_wait(set, &got, 1, 4), 0);
	}
}

/* --- handlers ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t handled, handled_code, handled_fd;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	char bytes[16];

	(void)sig;
	(void)context;
	handled_code = info->si_code;
	handled_fd = info->si_fd;
	if (recv(info->si_fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		handled++;
}

static bool is_handled(void *n)
{
	return handled >= *(int *)n;
}

CASE(handler__reads_in_it__all_is_read)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	int client, server;
	sigset_t set = ours();

	diff_pair(&client, &server);
	works(sigaction(RT, &action, NULL));
	ask(server, RT);
	works(sigprocmask(SIG_UNBLOCK, &set, NULL));
	for (int i = 1; i <= 20; i++) {
		diff_write_all(client, "0123456789", 10);
		is(diff_until(is_handled, &i, SOON_MS));
		same(handled_code, POLL_IN);
		same(handled_fd, server);
	}
}

/* --- whose it is: the open file's ---------------------------------------------------------------- */

CASE(duplicate__of_an_asked_socket__shares_it)
{
	int client, server, other;

	diff_pair(&client, &server);
	ask(server, RT);
	other = (int)works(dup(server));
	same(fcntl(other, F_GETOWN), getpid());
	same(fcntl(other, F_GETSIG), RT);
	is(fcntl(other, F_GETFL) & O_ASYNC);
	works(close(server));
	diff_write_all(client, "x", 1);
	next_in(server); /* the number that it was asked for by */
	set_async(other, false);
	set_async(other, true);
	diff_write_all(client, "x", 1);
	next_in(other);
	works(close(other));
	none();
}

static void wait_for_in(void *fd)
{
	siginfo_t info;

	same(next_within(&info, SOON_MS), RT);
	same(info.si_fd, *(int *)fd);
	same(info.si_band, POLLIN | POLLRDNORM);
	none();
}

/* A gate is a pipe. */
static void pass(int gate)
{
	same(write(gate, "x", 1), 1);
}

static void wait_at(int gate)
{
	char byte;

	same(read(gate, &byte, 1), 1);
}

static void not_for_it(void *gate)
{
	wait_at(*(int *)gate);
	none();
}

CASE(fork__owner_is_the_parent__one_signal)
{
	int client, server, gate[2];

	diff_pair(&client, &server);
	ask(server, RT);
	works(pipe(gate));
	pid_t child = diff_child(not_for_it, &gate[0]);
	diff_write_all(client, "x", 1);
	wait_for_in(&server);
	pass(gate[1]);
	diff_join(child);
	diff_write_all(client, "x", 1);
	next_in(server);
	none();
}

CASE(fork__owner_is_the_child_the_parent_closes__goes_on)
{
	int client, server;

	diff_pair(&client, &server);
	block();
	works(fcntl(server, F_SETSIG, RT));
	set_async(server, true);
	pid_t child = diff_child(wait_for_in, &server);
	works(fcntl(server, F_SETOWN, child));
	works(close(server));
	diff_write_all(client, "x", 1);
	diff_join(child);
}

/* The process that asked is over; who is left is told. */
static void ask_for_parent(void *fd)
{
	works(fcntl(*(int *)fd, F_SETOWN, getppid()));
	works(fcntl(*(int *)fd, F_SETSIG, RT));
	set_async(*(int *)fd, true);
}

CASE(fork__the_child_asked_and_ended__the_parent_is_told)
{
	int client, server;
	siginfo_t info;

	diff_pair(&client, &server);
	ask(server, 0);
	diff_join(diff_child(ask_for_parent, &server));
	diff_write_all(client, "x", 1);
	same(next_within(&info, SOON_MS), RT);
	same(info.si_fd, server);
	none();
}

CASE(fork__the_child_asked_and_nobody_has_waited__the_parent_is_told)
{
	int client, server;
	siginfo_t info;

	diff_pair(&client, &server);
	ask(server, 0);
	pid_t child = diff_child(ask_for_parent, &server);
	same(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	diff_write_all(client, "x", 1);
	same(next_within(&info, SOON_MS), RT);
	diff_join(child);
}

CASE(exec__an_asked_socket__still_signals)
{
	int client, server, flags, status;

	diff_pair(&client, &server);
	flags = (int)works(fcntl(server, F_GETFD));
	works(fcntl(server, F_SETFD, flags & ~FD_CLOEXEC));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		works(fcntl(server, F_SETOWN, getpid()));
		set_async(server, true); /* SIGIO's default ends it */
		execlp("sleep", "sleep", "5", NULL);
		_exit(127);
	}
	/* Before exec or after, data ends it. */
	for (uint64_t end = diff_now_ms() + SOON_MS;;) {
		diff_write_all(client, "x", 1);
		if (works(waitpid(child, &status, WNOHANG)) == child)
			break;
		is(diff_now_ms() < end);
		works(usleep(1000));
	}
	is(WIFSIGNALED(status));
	same(WTERMSIG(status), SIGIO);
}

struct taker {
	int fd;
	pid_t tid;
	int ready[2];
};

static void *take(void *arg)
{
	struct taker *t = arg;

	t->tid = gettid();
	pass(t->ready[1]);
	wait_for_in(&t->fd);
	return NULL;
}

CASE(owner__a_thread__that_thread_is_told)
{
	struct taker t;
	struct f_owner_ex ex = {.type = F_OWNER_TID};
	int client;

	diff_pair(&client, &t.fd);
	block();
	works(pipe(t.ready));
	pthread_t thread = diff_thread(take, &t);
	wait_at(t.ready[0]);
	ex.pid = t.tid;
	works(fcntl(t.fd, F_SETOWN_EX, &ex));
	works(fcntl(t.fd, F_SETSIG, RT));
	set_async(t.fd, true);
	diff_write_all(client, "x", 1);
	same(pthread_join(thread, NULL), 0);
	none();
}

static void wait_for_sigio(void *gate)
{
	siginfo_t info;

	pass(*(int *)gate);
	same(next_within(&info, SOON_MS), SIGIO);
}

CASE(owner__a_process_group__all_are_told)
{
	int client, server, gate[2];
	siginfo_t info;

	diff_pair(&client, &server);
	works(setpgid(0, 0));
	block();
	works(pipe(gate));
	pid_t child = diff_child(wait_for_sigio, &gate[1]);
	wait_at(gate[0]);
	works(fcntl(server, F_SETOWN, -getpgrp()));
	set_async(server, true);
	diff_write_all(client, "x", 1);
	same(next_within(&info, SOON_MS), SIGIO);
	diff_join(child);
}

/* It ends as if no thread of the library's were there. */
static void end_at_once(void *arg)
{
	ask(*(int *)arg, RT);
}

CASE(exit__with_asked_sockets__ends)
{
	int client, server;

	diff_pair(&client, &server);
	for (int i = 0; i < 10; i++)
		diff_join(diff_child(end_at_once, &server));
	ask(server, RT);
	diff_write_all(client, "x", 1);
	next_in(server);
}
