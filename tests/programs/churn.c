/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * churn ADDRESS COUNT: connects to itself, accepts, closes, COUNT times, in one process and without
 * letting up; prints progress on stderr and the rate at the end.
 *
 * Half of the connections end with a FIN from each side (client first), a quarter by a reset from the
 * client, a quarter by a reset from the server. So that TIME_WAIT does not run out of port pairs, the
 * client side spreads over LISTENERS ports. What is under way at once is at most WINDOW.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LISTENERS 64
#define WINDOW 16

static int listeners[LISTENERS];
static struct sockaddr_in names[LISTENERS];

static _Noreturn void
die(const char *what, long at)
{
	fprintf(stderr, "churn: connection %ld: %s: %s\n", at, what, strerror(errno));
	exit(1);
}

static void
listen_all(const char *address)
{
	for (int i = 0; i < LISTENERS; i++) {
		socklen_t length = sizeof(names[i]);

		names[i].sin_family = AF_INET;
		if (inet_pton(AF_INET, address, &names[i].sin_addr) != 1)
			die("address", 0);
		listeners[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (listeners[i] < 0 || bind(listeners[i], (void *)&names[i], length) != 0 ||
			listen(listeners[i], WINDOW) != 0 ||
			getsockname(listeners[i], (void *)&names[i], &length) != 0)
			die("listen", 0);
	}
}

static void
close_hard(int fd, long at)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) != 0 || close(fd) != 0)
		die("close with a reset", at);
}

/* The client says which connection it is; the server must get exactly that. */
static void
meet(long at)
{
	int clients[WINDOW], servers[WINDOW], on = (int)(at / WINDOW % LISTENERS);

	for (int i = 0; i < WINDOW; i++) {
		long number = at + i;

		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (clients[i] < 0 ||
			connect(clients[i], (void *)&names[on], sizeof(names[on])) != 0)
			die("connect", number);
		if (send(clients[i], &number, sizeof(number), 0) != sizeof(number))
			die("send", number);
	}
	for (int i = 0; i < WINDOW; i++) {
		long number = -1;

		servers[i] = accept(listeners[on], NULL, NULL);
		if (servers[i] < 0)
			die("accept", at + i);
		if (recv(servers[i], &number, sizeof(number), MSG_WAITALL) != sizeof(number) ||
			number != at + i)
			die("another connection's bytes", at + i);
	}
	for (int i = 0; i < WINDOW; i++) {
		if (i % 4 == 2) {
			close_hard(clients[i], at + i);
			close(servers[i]);
		} else if (i % 4 == 3) {
			close_hard(servers[i], at + i);
			close(clients[i]);
		} else if (close(clients[i]) != 0 || close(servers[i]) != 0) {
			die("close", at + i);
		}
	}
}

int
main(int argc, char **argv)
{
	struct timespec begin, now;
	long count = argc == 3 ? atol(argv[2]) : 0;
	double took = 0;

	if (count < WINDOW) {
		fprintf(stderr, "usage: churn ADDRESS COUNT\n");
		return 2;
	}
	listen_all(argv[1]);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (long at = 0; at < count; at += WINDOW) {
		meet(at);
		if (at % (64 * 1024) == 0)
			fprintf(stderr, "churn: %ld of %ld\n", at, count);
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	took = (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
	printf("%ld connections, %.0f a second\n", count, (double)count / took);
	return 0;
}
