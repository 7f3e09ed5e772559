/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holders ADDRESS PORT COUNT listen|connect: the two ends of COUNT idle connections. Each prints one
 * line when all are there, then waits for its end without doing anything. When SIGUSR1 comes, the
 * connecting end sends one byte on each and reads one back, to show that they are alive, and prints
 * a second line; the listening end echoes for ever.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
serve(struct sockaddr_in *name, int count)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), set = epoll_create1(0), on = 1;
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	char byte;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)name, sizeof(*name)) != 0 || listen(listener, 4096) != 0 ||
		epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) != 0)
		die("holders: listen");
	for (int accepted = 0;;) {
		if (epoll_wait(set, &event, 1, -1) != 1)
			continue;
		if (event.data.fd == listener) {
			event.data.fd = accept(listener, NULL, NULL);
			if (event.data.fd < 0 ||
				epoll_ctl(set, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
				die("holders: accept");
			if (++accepted == count) {
				printf("%d accepted\n", accepted);
				fflush(stdout);
			}
		} else if (read(event.data.fd, &byte, 1) != 1 ||
			   write(event.data.fd, &byte, 1) != 1) {
			close(event.data.fd);
		}
	}
}

static void
hold(struct sockaddr_in *name, int count)
{
	int *links = calloc((size_t)count, sizeof(*links)), signal_number;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < count; i++) {
		links[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (links[i] < 0 || connect(links[i], (void *)name, sizeof(*name)) != 0)
			die("holders: connect");
	}
	printf("%d connected\n", count);
	fflush(stdout);
	while (sigwait(&set, &signal_number) == 0) {
		int alive = 0;

		for (int i = 0; i < count; i++) {
			char byte = (char)i, back = (char)~i;

			alive += write(links[i], &byte, 1) == 1 && read(links[i], &back, 1) == 1 &&
				 back == byte;
		}
		printf("%d alive\n", alive);
		fflush(stdout);
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};

	if (argc != 5 || inet_pton(AF_INET, argv[1], &name.sin_addr) != 1) {
		fprintf(stderr, "usage: holders ADDRESS PORT COUNT listen|connect\n");
		return 2;
	}
	name.sin_port = htons((uint16_t)atoi(argv[2]));
	setrlimit(RLIMIT_NOFILE, &files);
	if (strcmp(argv[4], "listen") == 0)
		serve(&name, atoi(argv[3]));
	else
		hold(&name, atoi(argv[3]));
	return 0;
}
