/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * connects server ADDRESS PORT
 * connects client ADDRESS PORT SECONDS
 *
 * Connections made and ended one after the other, one thread on each side, no data: the server
 * accepts and closes, the client connects, sees the end and closes. Prints one JSON object with the
 * rate. The server closes first, so that what waits in TIME_WAIT is on its side and the client
 * never runs out of ports.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void serve(struct sockaddr_in *name)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)name, sizeof(*name)) != 0 || listen(listener, 128) != 0)
		die("connects: listen");
	for (;;) {
		int link = accept(listener, NULL, NULL);

		if (link < 0)
			die("connects: accept");
		close(link);
	}
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void meet(struct sockaddr_in *name)
{
	int link = socket(AF_INET, SOCK_STREAM, 0);
	char byte;

	if (link < 0 || connect(link, (void *)name, sizeof(*name)) != 0)
		die("connects: connect");
	if (recv(link, &byte, 1, 0) != 0)
		die("connects: something else than the end came");
	close(link);
}

static void ask(struct sockaddr_in *name, double seconds)
{
	double begin, took;
	long count = 0;

	meet(name);
	begin = now_s();
	do {
		meet(name);
		count++;
		took = now_s() - begin;
	} while (took < seconds);
	printf("{\"connections\": %.1f, \"count\": %ld}\n", (double)count / took, count);
}

int main(int argc, char **argv)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	double seconds = argc == 5 ? atof(argv[4]) : 0;
	int is_server = argc == 4 && strcmp(argv[1], "server") == 0,
	    is_client = argc == 5 && strcmp(argv[1], "client") == 0 && seconds > 0;

	if ((!is_server && !is_client) || inet_pton(AF_INET, argv[2], &name.sin_addr) != 1) {
		fprintf(stderr, "usage: connects server ADDRESS PORT\n"
				"       connects client ADDRESS PORT SECONDS\n");
		return 2;
	}
	name.sin_port = htons((uint16_t)atoi(argv[3]));
	if (is_server)
		serve(&name);
	ask(&name, seconds);
	return 0;
}
