/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leaver ADDRESS PORT HOW MILLISECONDS [PEER PEERPORT]: a program that ends in the middle of its traffic. Some threads send to
 * others, over connections between ADDRESS and itself (and to PEER, who reads); one makes connections and closes them; one
 * waits in epoll_wait. After so many milliseconds it ends, while all of them go on:
 *
 *   exit    by exit() in another thread    return  by the end of main()
 *   _exit   by _exit()                     signal  by SIGTERM, which it does not handle
 *   handler by exit() in a signal handler
 *
 * Exit code 3 (by SIGTERM: the signal): it ended as it wanted to.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS 3
#define CODE 3

static struct sockaddr_in self, peer;
static char block[65536];

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(1);
}

static void start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg) != 0)
		die("pthread_create");
}

static void *reads(void *arg)
{
	char data[65536];
	int fd = *(int *)arg;

	while (recv(fd, data, sizeof(data), 0) > 0) {
	}
	return NULL;
}

static void *sends(void *arg)
{
	int fd = *(int *)arg;

	while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0) {
	}
	return NULL;
}

static int *number(int fd)
{
	int *n = malloc(sizeof(*n));

	if (fd < 0 || n == NULL)
		die("socket");
	*n = fd;
	return n;
}

static int connected(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd >= 0 && connect(fd, (const void *)to, sizeof(*to)) != 0)
		die("connect");
	return fd;
}

static void *accepts(void *arg)
{
	int listener = *(int *)arg;

	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
		start(reads, number(fd));
	return NULL;
}

static _Noreturn void *comes_and_goes(void *arg)
{
	(void)arg;
	for (;;)
		close(connected(&self));
}

static _Noreturn void *polls(void *arg)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int set = epoll_create1(0);

	epoll_ctl(set, EPOLL_CTL_ADD, *(int *)arg, &ev);
	for (;;)
		(void)epoll_wait(set, &ev, 1, 5);
}

static _Noreturn void *exits(void *arg)
{
	nanosleep(arg, NULL);
	exit(CODE);
}

static void on_alarm(int sig)
{
	(void)sig;
	exit(CODE);
}

static struct sockaddr_in name(const char *address, const char *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		die(address);
	return in;
}

static void traffic(bool far)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)&self, sizeof(self)) != 0 || listen(listener, 128) != 0)
		die("listen");
	start(accepts, number(listener));
	for (int i = 0; i < PAIRS; i++)
		start(sends, number(connected(&self)));
	start(comes_and_goes, NULL);
	start(polls, number(connected(&self)));
	if (far)
		start(sends, number(connected(&peer)));
}

int main(int argc, char **argv)
{
	static struct timespec after;
	const char *how;
	int ms;

	if (argc != 5 && argc != 7)
		return 2;
	self = name(argv[1], argv[2]);
	how = argv[3];
	ms = atoi(argv[4]);
	if (argc == 7)
		peer = name(argv[5], argv[6]);
	after = (struct timespec){ms / 1000, ms % 1000 * 1000000l};
	traffic(argc == 7);
	if (strcmp(how, "exit") == 0)
		start(exits, &after);
	if (strcmp(how, "handler") == 0) {
		signal(SIGALRM, on_alarm);
		nanosleep(&after, NULL);
		kill(getpid(), SIGALRM);
	}
	if (strcmp(how, "exit") == 0 || strcmp(how, "handler") == 0)
		(void)sends(number(connected(&self)));
	nanosleep(&after, NULL);
	if (strcmp(how, "_exit") == 0)
		_exit(CODE);
	if (strcmp(how, "signal") == 0)
		kill(getpid(), SIGTERM);
	return CODE;
}
