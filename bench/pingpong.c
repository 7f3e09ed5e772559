/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pingpong server ADDRESS PORT
 * pingpong client ADDRESS PORT SIZE COUNT [SECONDS]
 *
 * One connection; the client sends SIZE bytes and waits for the same bytes back, COUNT times after
 * a tenth as many to warm up, and prints one JSON object: the round trip's percentiles in
 * microseconds. After SECONDS (and a hundred round trips) it leaves it at what it has. Blocking
 * calls and TCP_NODELAY, as a plain request-response program has them. The numbers' memory is there
 * before the first: a page fault is no part of a round trip, but the other end would sleep meanwhile.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (1 << 20)
#define COUNT_LEAST 100

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void send_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
		if (sent <= 0)
			die("pingpong: send");
		data += sent;
		n -= (size_t)sent;
	}
}

static void receive_all(int fd, char *data, size_t n)
{
	while (n > 0) {
		ssize_t got = recv(fd, data, n, 0);
		if (got <= 0)
			die("pingpong: recv");
		data += got;
		n -= (size_t)got;
	}
}

static void serve(struct sockaddr_in *name)
{
	static char data[SIZE_MAX_BYTES];
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)name, sizeof(*name)) != 0 || listen(listener, 16) != 0)
		die("pingpong: listen");
	for (;;) {
		int link = accept(listener, NULL, NULL);
		ssize_t n;

		if (link < 0)
			die("pingpong: accept");
		setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while ((n = recv(link, data, sizeof(data), 0)) > 0)
			send_all(link, data, (size_t)n);
		close(link);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile(const uint64_t *sorted, size_t n, double p)
{
	return (double)sorted[(size_t)(p * (double)(n - 1))] / 1000;
}

/* One round trip; returns its nanoseconds. */
static uint64_t exchange(int link, size_t size, int mark)
{
	static char out[SIZE_MAX_BYTES], in[SIZE_MAX_BYTES];
	uint64_t begin = now_ns();

	memset(out, mark, size < 16 ? size : 16);
	send_all(link, out, size);
	receive_all(link, in, size);
	if (memcmp(in, out, size) != 0) {
		fprintf(stderr, "pingpong: other bytes came back\n");
		exit(1);
	}
	return now_ns() - begin;
}

static void ask(struct sockaddr_in *name, size_t size, size_t count, double seconds)
{
	uint64_t *took = malloc(count * sizeof(*took)), end;
	int link = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	size_t n;

	if (took == NULL || link < 0 || connect(link, (void *)name, sizeof(*name)) != 0)
		die("pingpong: connect");
	memset(took, 1, count * sizeof(*took));
	setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	end = now_ns() + (uint64_t)(seconds * 0.1e9);
	for (size_t i = 0; i < count / 10 && (i < COUNT_LEAST || now_ns() < end); i++)
		exchange(link, size, (int)i);
	end = now_ns() + (uint64_t)(seconds * 1e9);
	for (n = 0; n < count && (n < COUNT_LEAST || now_ns() < end); n++)
		took[n] = exchange(link, size, (int)n);
	close(link);
	qsort(took, n, sizeof(*took), compare);
	printf("{\"p50\": %.2f, \"p99\": %.2f, \"p99.9\": %.2f, \"count\": %zu}\n",
		percentile(took, n, 0.5), percentile(took, n, 0.99), percentile(took, n, 0.999), n);
	free(took);
}

int main(int argc, char **argv)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	int is_server = argc == 4 && strcmp(argv[1], "server") == 0,
	    is_client = (argc == 6 || argc == 7) && strcmp(argv[1], "client") == 0;
	size_t size = is_client ? (size_t)atol(argv[4]) : 1,
	       count = is_client ? (size_t)atol(argv[5]) : 10;
	double seconds = argc == 7 ? atof(argv[6]) : 1e6;

	if ((!is_server && !is_client) || inet_pton(AF_INET, argv[2], &name.sin_addr) != 1 ||
		size < 1 || size > SIZE_MAX_BYTES || count < 10 || !(seconds > 0)) {
		fprintf(stderr, "usage: pingpong server ADDRESS PORT\n"
				"       pingpong client ADDRESS PORT SIZE COUNT [SECONDS]\n");
		return 2;
	}
	name.sin_port = htons((uint16_t)atoi(argv[3]));
	if (is_server)
		serve(&name);
	ask(&name, size, count, seconds);
	return 0;
}
