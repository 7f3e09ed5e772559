/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * datagrams server ADDRESS PORT
 * datagrams client ADDRESS PORT SIZE SECONDS
 *
 * The client sends datagrams of SIZE bytes as fast as it can for SECONDS, then asks the server how
 * many came, again and again until it answers, and prints one JSON object: datagrams sent and
 * received a second, and the loss in per cent. One datagram a call on both sides.
 *
 * The server counts by run (a number that the client draws), over the time from a run's first to
 * its last datagram.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_BYTES 65507
#define ASK_TRIES 100 /* of 50 ms each */

enum kind { KIND_LOAD, KIND_QUESTION, KIND_ANSWER };

struct head {
	uint64_t run;
	uint32_t kind, unused;
	uint64_t count, took_ns; /* of an answer */
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void serve(int fd, struct sockaddr_in *name)
{
	static char data[SIZE_MAX_BYTES];
	struct head h, sum = {.kind = KIND_ANSWER};
	uint64_t begin = 0, last = 0;

	if (bind(fd, (void *)name, sizeof(*name)) != 0)
		die("datagrams: bind");
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (void *)&from, &length);

		if (n < 0)
			die("datagrams: recvfrom");
		if ((size_t)n < sizeof(h))
			continue;
		memcpy(&h, data, sizeof(h));
		if (h.run != sum.run) {
			sum.run = h.run;
			sum.count = 0;
			begin = last = now_ns();
		}
		if (h.kind == KIND_LOAD) {
			sum.count++;
			last = now_ns();
			continue;
		}
		sum.took_ns = last - begin;
		sendto(fd, &sum, sizeof(sum), 0, (void *)&from, length);
	}
}

/* The answer to a question about the run; datagrams of the load may still be before it in a queue.
 */
static struct head server_says(int fd, uint64_t run)
{
	struct timeval patience = {.tv_usec = 50000};
	struct head question = {.run = run, .kind = KIND_QUESTION}, answer;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < ASK_TRIES; i++) {
		send(fd, &question, sizeof(question), 0);
		while (recv(fd, &answer, sizeof(answer), 0) == (ssize_t)sizeof(answer)) {
			if (answer.run == run && answer.kind == KIND_ANSWER)
				return answer;
		}
	}
	fprintf(stderr, "datagrams: the server does not answer\n");
	exit(1);
}

static void flood(int fd, struct sockaddr_in *name, size_t size, double seconds)
{
	static char data[SIZE_MAX_BYTES];
	struct head h = {.run = now_ns() ^ (uint64_t)getpid() << 48, .kind = KIND_LOAD}, answer;
	uint64_t begin, end, sent = 0;
	double took;

	if (connect(fd, (void *)name, sizeof(*name)) != 0)
		die("datagrams: connect");
	server_says(fd, h.run - 1); /* neighbours are found, the server is there */
	memcpy(data, &h, sizeof(h));
	begin = now_ns();
	end = begin + (uint64_t)(seconds * 1e9);
	/* What does not fit the socket's buffer was not sent: the call blocks for room. */
	while (now_ns() < end)
		sent += send(fd, data, size, 0) == (ssize_t)size;
	took = (double)(now_ns() - begin) / 1e9;
	answer = server_says(fd, h.run);
	printf("{\"sent\": %.1f, \"received\": %.1f, \"loss\": %.3f, \"count\": %lu}\n",
		(double)sent / took,
		answer.took_ns > 0 ? (double)answer.count / ((double)answer.took_ns / 1e9) : 0,
		sent > 0 ? 100 * (1 - (double)answer.count / (double)sent) : 0,
		(unsigned long)sent);
}

int main(int argc, char **argv)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	size_t size = argc == 6 ? (size_t)atol(argv[4]) : 0;
	double seconds = argc == 6 ? atof(argv[5]) : 0;
	int is_server = argc == 4 && strcmp(argv[1], "server") == 0,
	    is_client = argc == 6 && strcmp(argv[1], "client") == 0 &&
			size >= sizeof(struct head) && size <= SIZE_MAX_BYTES && seconds > 0,
	    fd;

	if ((!is_server && !is_client) || inet_pton(AF_INET, argv[2], &name.sin_addr) != 1) {
		fprintf(stderr,
			"usage: datagrams server ADDRESS PORT\n"
			"       datagrams client ADDRESS PORT SIZE SECONDS (SIZE from %zu)\n",
			sizeof(struct head));
		return 2;
	}
	name.sin_port = htons((uint16_t)atoi(argv[3]));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		die("datagrams: socket");
	if (is_server)
		serve(fd, &name);
	flood(fd, &name, size, seconds);
	return 0;
}
