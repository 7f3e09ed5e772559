/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * middle A B [loss=N] [duplicate=N] [reorder=N] [delay=MS] [late=MS] [seed=N]: joins two interfaces as a bad network between
 * them would. Each frame that comes in on one goes out on the other after `delay` milliseconds; N of 1,000 are lost, doubled,
 * or come `late` milliseconds later than the rest, by a generator that begins with the seed. Says what it did when it is ended
 * (SIGTERM). For machines whose kernel has no netem.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <arpa/inet.h>

#define FRAME_MAX 65600
#define QUEUE_MAX 8192 /* frames under way; more are lost, as in any queue */

struct frame {
	uint64_t at_ns, order;
	int to; /* socket */
	uint32_t len;
	uint8_t *data;
};

static struct {
	unsigned loss, duplicate, reorder, delay, late, seed;
} how = {.late = 5, .seed = 1};
static struct frame heap[QUEUE_MAX];
static unsigned heap_n;
static uint64_t dice, order, forwarded, lost, doubled, reordered, full;
static volatile sig_atomic_t ended;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool chance(unsigned per_mille)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % 1000 < per_mille;
}

static bool before(const struct frame *a, const struct frame *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_put(struct frame f)
{
	unsigned i = heap_n++;

	for (; i > 0 && before(&f, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = f;
}

static struct frame heap_take(void)
{
	struct frame first = heap[0], last = heap[--heap_n];
	unsigned i = 0, child;

	while ((child = 2 * i + 1) < heap_n) {
		if (child + 1 < heap_n && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &last))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return first;
}

static void enqueue(int to, const uint8_t *data, uint32_t len, uint64_t at_ns)
{
	struct frame f = {.at_ns = at_ns, .order = order++, .to = to, .len = len};

	if (heap_n == QUEUE_MAX || (f.data = malloc(len)) == NULL) {
		full++;
		return;
	}
	memcpy(f.data, data, len);
	heap_put(f);
}

static void pass(int from, int to)
{
	static uint8_t data[FRAME_MAX];
	ssize_t n;

	while ((n = recv(from, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		uint64_t at = now_ns() + how.delay * 1000000ull;

		forwarded++;
		if (chance(how.loss)) {
			lost++;
			continue;
		}
		if (chance(how.reorder)) {
			reordered++;
			at += how.late * 1000000ull;
		}
		enqueue(to, data, (uint32_t)n, at);
		if (chance(how.duplicate)) {
			doubled++;
			enqueue(to, data, (uint32_t)n, at);
		}
	}
}

static void deliver(void)
{
	while (heap_n > 0 && heap[0].at_ns <= now_ns()) {
		struct frame f = heap_take();

		if (send(f.to, f.data, f.len, 0) < 0)
			full++;
		free(f.data);
	}
}

static int port_open(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name)};
	struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1, room = 8 << 20;

	if (fd < 0 || at.sll_ifindex == 0 || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) != 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) != 0 ||
		bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
		fprintf(stderr, "middle: %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return fd;
}

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void options_read(int argc, char **argv)
{
	static const struct {
		const char *name;
		unsigned *value;
	} known[] = {{"loss", &how.loss}, {"duplicate", &how.duplicate}, {"reorder", &how.reorder}, {"delay", &how.delay},
		{"late", &how.late}, {"seed", &how.seed}};

	for (int i = 3; i < argc; i++) {
		const char *is = strchr(argv[i], '=');
		unsigned k = 0;

		while (is != NULL && k < 6 && strncmp(argv[i], known[k].name, (size_t)(is - argv[i])) != 0)
			k++;
		if (is == NULL || k == 6) {
			fprintf(stderr, "middle: what is %s?\n", argv[i]);
			exit(2);
		}
		*known[k].value = (unsigned)strtoul(is + 1, NULL, 10);
	}
}

int main(int argc, char **argv)
{
	const struct sigaction act = {.sa_handler = end};
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (argc < 3) {
		fprintf(stderr, "usage: middle INTERFACE INTERFACE [loss=PER-MILLE] [delay=MS] ...\n");
		return 2;
	}
	options_read(argc, argv);
	dice = (how.seed + 1) * 0x9e3779b97f4a7c15ull;
	fds[0].fd = port_open(argv[1]);
	fds[1].fd = port_open(argv[2]);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	while (!ended) {
		uint64_t now = now_ns();
		uint64_t wait = heap_n == 0 ? 100000000 : heap[0].at_ns > now ? heap[0].at_ns - now : 0;
		struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};

		if (ppoll(fds, 2, &timeout, NULL) > 0) {
			pass(fds[0].fd, fds[1].fd);
			pass(fds[1].fd, fds[0].fd);
		}
		deliver();
	}
	printf("forwarded=%lu lost=%lu doubled=%lu reordered=%lu full=%lu\n", forwarded, lost, doubled, reordered, full);
	return 0;
}
