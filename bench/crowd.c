/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crowd server ADDRESS PORT
 * crowd client ADDRESS PORT IDLE ACTIVE SECONDS
 *
 * What idle connections cost the others. The server echoes, one thread, epoll. The client opens
 * ACTIVE connections, on each of which 64 bytes go there and back for SECONDS; then IDLE
 * connections more, on which nothing goes; then the same again. Prints one JSON object: round trips
 * a second without and with the idle ones. With ACTIVE 0 it says "holding", and holds them for
 * SECONDS.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_BYTES 64
#define DESCRIPTORS 65536
#define EVENTS 64

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The socket into the set, with small messages sent at once. */
static void watch(int set, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0)
		die("crowd: epoll_ctl");
}

static void echo(int fd)
{
	char data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	if (n <= 0 || send(fd, data, (size_t)n, MSG_NOSIGNAL) != n)
		close(fd);
}

static void serve(struct sockaddr_in *name)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), set = epoll_create1(0), on = 1;
	struct epoll_event events[EVENTS];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (void *)name, sizeof(*name)) != 0 || listen(listener, 4096) != 0)
		die("crowd: listen");
	watch(set, listener);
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != listener) {
				echo(events[i].data.fd);
				continue;
			}
			int link = accept(listener, NULL, NULL);

			if (link < 0)
				die("crowd: accept");
			watch(set, link);
		}
	}
}

static int link_new(struct sockaddr_in *name)
{
	int link = socket(AF_INET, SOCK_STREAM, 0);

	if (link < 0 || connect(link, (void *)name, sizeof(*name)) != 0)
		die("crowd: connect");
	return link;
}

/* One message of the link came back whole, or a part of it. Returns whether it is whole. */
static int came_back(int link, size_t *missing)
{
	char data[MESSAGE_BYTES];
	ssize_t n = recv(link, data, *missing, 0);

	if (n <= 0)
		die("crowd: recv");
	*missing -= (size_t)n;
	return *missing == 0;
}

static void ask(int link, size_t *missing)
{
	static const char data[MESSAGE_BYTES] = "are you there?";

	if (send(link, data, sizeof(data), MSG_NOSIGNAL) != sizeof(data))
		die("crowd: send");
	*missing = sizeof(data);
}

/* Round trips a second over all links of the set, each with one message under way; none is
 * afterwards. */
static double rate(int set, const int *links, int count, size_t *missing, double seconds)
{
	struct epoll_event events[EVENTS];
	double begin = now_s(), took;
	int under_way = count;
	long done = 0;

	for (int i = 0; i < count; i++)
		ask(links[i], &missing[links[i]]);
	do {
		int n = epoll_wait(set, events, EVENTS, 1000);

		took = now_s() - begin;
		if (n <= 0)
			die("crowd: nothing comes back");
		for (int i = 0; i < n; i++) {
			int link = events[i].data.fd;

			if (!came_back(link, &missing[link]))
				continue;
			done++;
			if (took < seconds)
				ask(link, &missing[link]);
			else
				under_way--;
		}
	} while (under_way > 0);
	return (double)done / took;
}

static void measure(struct sockaddr_in *name, int idle, int active, double seconds)
{
	static size_t missing[DESCRIPTORS]; /* of the message under way, by descriptor */
	int *links = calloc((size_t)active + 1, sizeof(*links)), set = epoll_create1(0);
	double without, with;

	if (links == NULL)
		die("crowd");
	for (int i = 0; i < active; i++) {
		links[i] = link_new(name);
		watch(set, links[i]);
	}
	if (active > 0)
		rate(set, links, active, missing, seconds / 10);
	without = active > 0 ? rate(set, links, active, missing, seconds) : 0;
	for (int i = 0; i < idle; i++)
		link_new(name);
	if (active == 0) {
		printf("holding\n");
		fflush(stdout);
		usleep((useconds_t)(seconds * 1e6));
		return;
	}
	rate(set, links, active, missing, seconds / 10);
	with = rate(set, links, active, missing, seconds);
	printf("{\"without\": %.1f, \"requests\": %.1f, \"share\": %.4f}\n", without, with,
		with / without);
	free(links);
}

int main(int argc, char **argv)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	struct rlimit files = {.rlim_cur = DESCRIPTORS, .rlim_max = DESCRIPTORS};
	int idle = argc == 7 ? atoi(argv[4]) : -1, active = argc == 7 ? atoi(argv[5]) : -1;
	double seconds = argc == 7 ? atof(argv[6]) : 0;
	int is_server = argc == 4 && strcmp(argv[1], "server") == 0,
	    is_client = argc == 7 && strcmp(argv[1], "client") == 0 && idle >= 0 && active >= 0 &&
			seconds > 0;

	if ((!is_server && !is_client) || inet_pton(AF_INET, argv[2], &name.sin_addr) != 1) {
		fprintf(stderr, "usage: crowd server ADDRESS PORT\n"
				"       crowd client ADDRESS PORT IDLE ACTIVE SECONDS\n");
		return 2;
	}
	name.sin_port = htons((uint16_t)atoi(argv[3]));
	setrlimit(RLIMIT_NOFILE, &files);
	if (is_server)
		serve(&name);
	measure(&name, idle, active, seconds);
	return 0;
}
