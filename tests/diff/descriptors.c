/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets as descriptors: fcntl, the dup family, close_range, fstat, passing them to other processes
 * (fcntl(2), dup(2), close_range(2), unix(7)). */
#include <sys/resource.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/diff/diff.h"

CASE(fstat__a_socket)
{
	struct stat st;
	int client, server;

	diff_pair(&client, &server);
	works(fstat(client, &st));
	is(S_ISSOCK(st.st_mode));
	works(fstat(server, &st));
	is(S_ISSOCK(st.st_mode));
	same(isatty(client), 0);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	works(fstat(fd, &st));
	return st.st_ino;
}

/* A socket is known again by its inode (dovecot, whose processes pass each other connections). */
CASE(fstat__before_and_after__tells_the_socket_again)
{
	int listener, client, server, other_client, other, channel[2];
	ino_t inode;

	diff_pair(&client, &server);
	diff_pair(&other_client, &other);
	inode = inode_of(server);
	is(inode != inode_of(other));
	is(inode != inode_of(client));
	same(inode_of((int)works(dup(server))), inode);
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	diff_pass(channel[0], server);
	same(inode_of(diff_take(channel[1], 0)), inode);
	same(inode_of(server), inode);
	diff_ping(client, server);
	listener = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	inode = inode_of(listener);
	is(inode != inode_of((int)works(socket(AF_INET, SOCK_STREAM, 0))));
	works(listen(listener, 1));
	same(inode_of(listener), inode);
}

CASE(fcntl__flags__kept_and_shared_with_duplicates)
{
	int client, server, copy;

	diff_pair(&client, &server);
	same(works(fcntl(server, F_GETFL)), O_RDWR);
	copy = (int)works(dup(server));
	works(fcntl(server, F_SETFL, O_NONBLOCK));
	same(works(fcntl(copy, F_GETFL)), O_RDWR | O_NONBLOCK);
	fails(recv(copy, &(char){0}, 1, 0), EAGAIN);
	works(fcntl(copy, F_SETFL, 0));
	same(works(fcntl(server, F_GETFL)), O_RDWR);
	works(fcntl(server, F_SETFD, FD_CLOEXEC));
	same(works(fcntl(server, F_GETFD)), FD_CLOEXEC);
	same(works(fcntl(copy, F_GETFD)), 0);
	fails(fcntl(server, 9999), EINVAL);
	fails(fcntl(-1, F_GETFL), EBADF);
}

CASE(fcntl_setfl__other_bits__ignored)
{
	int client, server;

	diff_pair(&client, &server);
	works(fcntl(client, F_SETFL, O_NONBLOCK | O_CREAT | O_WRONLY));
	same(works(fcntl(client, F_GETFL)), O_RDWR | O_NONBLOCK);
}

CASE(dup__last_close_ends)
{
	int client, server, copy;

	diff_pair(&client, &server);
	copy = (int)works(dup(client));
	works(close(client));
	diff_not_ended(server);
	diff_ping(copy, server);
	diff_ping(server, copy);
	works(close(copy));
	diff_ended(server);
}

CASE(dup2__onto_a_connection__closes_it)
{
	int client, server, other, other_server;

	diff_pair(&client, &server);
	diff_pair(&other, &other_server);
	same(dup2(other, client), client);
	diff_ended(server);
	diff_ping(client, other_server);
	works(close(other));
	diff_ping(client, other_server);
	same(dup2(client, client), client);
	diff_ping(client, other_server);
}

CASE(dup2__a_file_onto_a_connection_and_back)
{
	int client, server, ends[2], kept;

	diff_pair(&client, &server);
	works(pipe(ends));
	kept = (int)works(dup(client));
	same(dup2(ends[1], client), client);
	diff_not_ended(server);
	diff_ping(client, ends[0]);
	same(dup2(kept, client), client);
	works(close(kept));
	diff_ping(client, server);
}

CASE(dup3_and_f_dupfd__numbers_and_flags)
{
	int client, server, copy;

	diff_pair(&client, &server);
	copy = (int)works(fcntl(client, F_DUPFD, 100));
	is(copy >= 100);
	same(works(fcntl(copy, F_GETFD)), 0);
	diff_ping(copy, server);
	copy = (int)works(fcntl(client, F_DUPFD_CLOEXEC, 200));
	is(copy >= 200);
	same(works(fcntl(copy, F_GETFD)), FD_CLOEXEC);
	diff_ping(server, copy);
	same(dup3(client, 150, O_CLOEXEC), 150);
	same(works(fcntl(150, F_GETFD)), FD_CLOEXEC);
	diff_ping(150, server);
	fails(dup3(client, client, 0), EINVAL);
	fails(dup3(client, 150, 0x77), EINVAL);
	fails(dup(-1), EBADF);
	fails(dup2(client, -1), EBADF);
	fails(dup2(-1, client), EBADF);
	diff_ping(client, server);
}

CASE(dup__of_a_listener__accepts_on_either)
{
	int listener = diff_listen(0, 0, 8), copy = (int)works(dup(listener)), client, server;

	client = diff_connect(listener);
	server = (int)works(accept(copy, NULL, NULL));
	diff_ping(client, server);
	works(close(listener));
	client = diff_connect(copy);
	server = (int)works(accept(copy, NULL, NULL));
	diff_ping(client, server);
}

CASE(close_range__ends_all_in_it)
{
	int one, one_server, two, two_server;

	diff_pair(&one, &one_server);
	diff_pair(&two, &two_server);
	same(dup2(one, 300), 300);
	same(dup2(two, 301), 301);
	works(close(one));
	works(close(two));
	works(close_range(300, 400, 0));
	diff_ended(one_server);
	diff_ended(two_server);
	fails(send(300, "x", 1, 0), EBADF);
}

CASE(close_range__cloexec__only_marks)
{
	int client, server;

	diff_pair(&client, &server);
	same(dup2(client, 300), 300);
	works(close_range(300, ~0u, CLOSE_RANGE_CLOEXEC));
	same(works(fcntl(300, F_GETFD)), FD_CLOEXEC);
	diff_ping(300, server);
	fails(close_range(5, 4, 0), EINVAL);
}

/* Rings would go around the library: a program that asks for one before its first socket falls back, too. */
CASE(syscall__io_uring_before_the_first_socket__enosys_under_the_preload)
{
	char params[256] = {0};
	long ring;

	if (!diff_on_culvert()) {
		ring = syscall(SYS_io_uring_setup, 1, params);
		is(ring >= 0 || errno == ENOSYS || errno == EPERM);
		return;
	}
	fails(syscall(SYS_io_uring_setup, 1, params), ENOSYS);
}

CASE(syscall__numbers_of_socket_calls__act_on_the_socket)
{
	int client, server, copy;
	char byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	struct pollfd look = {.events = POLLIN};
	struct timespec soon = {3, 0};

	diff_pair(&client, &server);
	same(syscall(SYS_sendto, client, "s", 1, 0, NULL, 0), 1);
	look.fd = server;
	same(syscall(SYS_ppoll, &look, 1, &soon, NULL, 0), 1);
	same(syscall(SYS_recvmsg, server, &msg, 0), 1);
	same(byte, 's');
	copy = (int)works(syscall(SYS_dup, client));
	works(syscall(SYS_close, client));
	diff_ping(copy, server);
#ifdef SYS_dup2
	client = (int)works(open("/dev/null", O_RDONLY));
	same(syscall(SYS_dup2, copy, client), client);
	works(close(copy));
	copy = client;
	diff_ping(copy, server);
#endif
	fails(syscall(SYS_recvfrom, copy, &byte, 1, MSG_DONTWAIT, NULL, NULL), EAGAIN);
	works(syscall(SYS_shutdown, copy, SHUT_WR));
	diff_ended(server);
	works(syscall(SYS_close_range, copy, copy, 0));
	fails(send(copy, "x", 1, 0), EBADF);
}

/* Descriptors that no server of sockets may keep for itself, with many threads behind it. */
static void *one_byte_each(void *arg)
{
	const int *fd = arg;
	char byte;

	same(recv(fd[0], &byte, 1, 0), 1);
	return NULL;
}

CASE(close_range__after_many_threads_waited__others_still_work)
{
	enum { THREADS = 64 };
	pthread_t thread[THREADS];
	int client, server, other_client, other_server;

	diff_pair(&client, &server);
	for (int i = 0; i < THREADS; i++)
		thread[i] = diff_thread(one_byte_each, &server);
	for (int i = 0; i < THREADS; i++)
		same(send(client, "x", 1, 0), 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	diff_pair(&other_client, &other_server);
	is(other_client < 64 && other_server < 64);
	works(close_range(64, ~0u, 0));
	diff_ping(other_client, other_server);
	diff_ping(client, server);
}

CASE(closefrom__sockets_work_again_afterwards)
{
	int client, server;

	diff_pair(&client, &server);
	/* A daemon closes all it does not know; whoever carries the sockets must survive it. */
	closefrom(3);
	fails(send(client, "x", 1, 0), EBADF);
	fails(send(server, "x", 1, 0), EBADF);
	diff_pair(&client, &server);
	diff_ping(client, server);
	diff_ping(server, client);
}

CASE(close_all_numbers__sockets_work_again_afterwards)
{
	int client, server;
	struct rlimit limit;

	diff_pair(&client, &server);
	works(getrlimit(RLIMIT_NOFILE, &limit));
	for (int fd = 3; fd < (int)(limit.rlim_cur < 70000 ? limit.rlim_cur : 70000); fd++)
		close(fd);
	diff_pair(&client, &server);
	diff_ping(client, server);
	diff_ping(server, client);
}

CASE(numbers__closed_and_reused__no_mixing)
{
	for (int i = 0; i < 200; i++) {
		int client, server, ends[2];

		diff_pair(&client, &server);
		diff_ping(client, server);
		works(close(client));
		works(close(server));
		works(pipe(ends));
		same(ends[0] < 20, 1);
		diff_ping(ends[1], ends[0]);
		works(close(ends[0]));
		works(close(ends[1]));
	}
}

CASE(rlimit__emfile__nothing_is_lost)
{
	struct rlimit limit = {.rlim_cur = 60, .rlim_max = 60};
	int listener = diff_listen(0, 0, 64), client, fd, last = -1, n = 0;
	char byte;

	client = diff_connect(listener);
	works(prlimit(0, RLIMIT_NOFILE, &limit, NULL));
	while ((fd = open("/dev/null", O_RDONLY)) >= 0 && n++ < 100)
		last = fd;
	same(errno, EMFILE);
	fails(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	fails(accept(listener, NULL, NULL), EMFILE);
	fails(dup(listener), EMFILE);
	/* The connection waits still. */
	works(close(last));
	fd = (int)works(accept(listener, NULL, NULL));
	diff_write_all(client, "x", 1);
	diff_read_all(fd, &byte, 1);
}

/* It inherited no socket, and is one of us all the same (haproxy's reload, Python's forkserver). */
CASE(scm_rights__to_an_execed_child_without_sockets__used_there)
{
	int channel[2], client, server;
	char text[6];

	diff_pair(&client, &server);
	works(fcntl(client, F_SETFD, FD_CLOEXEC));
	works(fcntl(server, F_SETFD, FD_CLOEXEC));
	works(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		dup2(channel[1], 0);
		execlp("python3", "python3", "-c",
			"import socket\n"
			"fd = socket.recv_fds(socket.socket(fileno=0), 1, 1)[1][0]\n"
			"s = socket.socket(fileno=fd)\n"
			"s.sendall(s.recv(6).upper())",
			NULL);
		_exit(127);
	}
	diff_pass(channel[0], server);
	works(close(server));
	diff_write_all(client, "passed", 6);
	diff_read_all(client, text, 6);
	same_bytes(text, "PASSED", 6);
	diff_join(child);
	diff_ended(client);
}

CASE(scm_rights__kernel_descriptors__still_pass)
{
	int channel[2], ends[2], got;

	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	works(pipe(ends));
	diff_pass(channel[0], ends[1]);
	got = diff_take(channel[1], 0);
	diff_ping(got, ends[0]);
}

CASE(scm_rights__message_that_does_not_go__holds_nothing)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, chunk[4096] = {0};
	struct iovec part = {chunk, sizeof(chunk)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *head;
	int channel[2], client, server;

	diff_pair(&client, &server);
	works(socketpair(AF_UNIX, SOCK_DGRAM, 0, channel));
	while (sendmsg(channel[0], &message, MSG_DONTWAIT) > 0)
		;
	same(errno, EAGAIN);
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	head = CMSG_FIRSTHDR(&message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &server, sizeof(int));
	fails(sendmsg(channel[0], &message, MSG_DONTWAIT), EAGAIN);
	works(close(server));
	diff_ended(client);
}

/* To a child, which looks at the message first if it is to. */
static void passed_to_a_child(bool peek)
{
	int channel[2], client, server;
	char byte = 'x';

	/* Related by a fork with sockets open: strangers to each other get the descriptor only. */
	diff_pair(&client, &server);
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		int peeked = peek ? diff_take(channel[1], MSG_PEEK) : -1, got = diff_take(channel[1], 0);

		if (peek)
			works(close(peeked));
		diff_read_all(got, &byte, 1);
		diff_write_all(got, "y", 1);
		exit(0);
	}
	diff_pair(&client, &server);
	diff_pass(channel[0], server);
	works(close(server));
	diff_write_all(client, &byte, 1);
	diff_read_all(client, &byte, 1);
	same(byte, 'y');
	diff_join(child);
	diff_ended(client);
}

CASE(scm_rights__connection_to_a_child__both_hold_it)
{
	passed_to_a_child(false);
}

CASE(scm_rights__peeked_at_first__each_descriptor_is_the_connection)
{
	passed_to_a_child(true);
}

CASE(scm_rights__wildcard_listener__whoever_has_it_serves_both_stacks)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, address;
	int channel[2], client, server, listener;

	diff_pair(&client, &server);
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		int got = diff_take(channel[1], 0);

		for (int i = 0; i < 2; i++)
			diff_write_all((int)works(accept(got, NULL, NULL)), "y", 1);
		exit(0);
	}
	listener = (int)works(socket(AF_INET, SOCK_STREAM, 0));
	works(bind(listener, SA(any), sizeof(any)));
	works(listen(listener, 8));
	address = diff_addr(diff_port(listener));
	diff_pass(channel[0], listener);
	for (int i = 0; i < 2; i++) {
		char byte;

		if (i == 1)
			address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		client = (int)works(socket(AF_INET, SOCK_STREAM, 0));
		works(connect(client, SA(address), sizeof(address)));
		diff_read_all(client, &byte, 1);
	}
	diff_join(child);
}

/* One descriptor more of the same connection, which ends with the last one. */
CASE(scm_rights__to_who_has_the_connection_already__first_closed__second_goes_on)
{
	int channel[2], client, server, again;
	char text[4];

	for (int i = 0; i < 2; i++) {
		diff_pair(&client, &server);
		works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
		pid_t child = i == 0 ? 0 : (pid_t)works(fork());
		if (child != 0) {
			diff_pass(channel[0], server);
			works(close(server));
			diff_read_all(client, text, 3);
			diff_join(child);
		} else {
			if (i == 0)
				diff_pass(channel[0], server);
			again = diff_take(channel[1], 0);
			works(close(server));
			if (i == 1)
				works(close(client));
			diff_write_all(again, "abc", 3);
			works(close(again));
			if (i == 1)
				exit(0);
			diff_read_all(client, text, 3);
		}
		diff_ended(client);
		works(close(client));
	}
}

CASE(scm_rights__sendmmsg_and_recvmmsg__the_connection_arrives)
{
	char space[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x', text[3];
	struct iovec v = {&byte, 1};
	struct mmsghdr m = {
		.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)}};
	struct cmsghdr *head = CMSG_FIRSTHDR(&m.msg_hdr);
	int channel[2], client, server, got;

	diff_pair(&client, &server);
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	*head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(head), &server, sizeof(server));
	same(sendmmsg(channel[0], &m, 1, 0), 1);
	works(close(server));
	same(recvmmsg(channel[1], &m, 1, 0, NULL), 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m.msg_hdr)), sizeof(got));
	diff_write_all(client, "abc", 3);
	diff_read_all(got, text, 3);
	same_bytes(text, "abc", 3);
}

/* Accepted connections have no kernel socket of their own until they must be told apart, also when there is no number
 * left. */
CASE(scm_rights__no_descriptors_left__each_connection_is_itself)
{
	struct rlimit all, few = {.rlim_cur = 100};
	int channel[2], go[2], client[2], server[2];
	char byte;

	works(getrlimit(RLIMIT_NOFILE, &all));
	few.rlim_max = all.rlim_max;
	works(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
	works(pipe(go));
	for (int i = 0; i < 2; i++)
		diff_pair(&client[i], &server[i]);
	pid_t child = (pid_t)works(fork());
	if (child == 0) {
		same(read(go[0], &byte, 1), 1);
		for (int i = 0; i < 2; i++)
			diff_write_all(diff_take(channel[1], 0), i == 0 ? "0" : "1", 1);
		exit(0);
	}
	works(setrlimit(RLIMIT_NOFILE, &few));
	while (dup(channel[0]) >= 0)
		;
	same(errno, EMFILE);
	diff_pass(channel[0], server[0]);
	diff_pass(channel[0], server[1]);
	works(setrlimit(RLIMIT_NOFILE, &all));
	same(write(go[1], "g", 1), 1);
	for (int i = 0; i < 2; i++) {
		diff_read_all(client[i], &byte, 1);
		same(byte, '0' + i);
	}
	diff_join(child);
}

CASE(close_range__with_a_table_of_its_own__connection_ends)
{
	int client, server;
	char byte;

	diff_pair(&client, &server);
	works(close_range((unsigned)server, (unsigned)server, CLOSE_RANGE_UNSHARE));
	is(diff_readable(client, 3000));
	same(recv(client, &byte, 1, MSG_DONTWAIT), 0);
	fails(recv(server, &byte, 1, 0), EBADF);
}
