/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile ADDRESS PORT SECONDS SEED: opens sockets on the engine as any program does, then finds the
 * segment it shares with the engine among its own mappings and writes over all of it, again and again,
 * while it rings every doorbell it has. Meant to run under the preload.
 *
 * Rounds alternate between random words over the whole segment, small numbers (which look like
 * indexes, lengths and cursors that could be right) over its first megabytes, and single flipped bits.
 * Exit: 0 after its time, 3 when it found no segment.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REGIONS 16
#define BELLS 64

static struct {
	uint64_t *words;
	size_t n;
} regions[REGIONS];
static int regions_n, bells[BELLS], bells_n;
static uint64_t state;

static uint64_t
draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Shared, writable mappings of memory files. */
static void
find_regions(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL && regions_n < REGIONS) {
		unsigned long from, to;
		char rights[8];

		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 ||
			strcmp(rights, "rw-s") != 0 || strstr(line, "memfd:") == NULL)
			continue;
		regions[regions_n].words = (uint64_t *)from;
		regions[regions_n++].n = (to - from) / 8;
		fprintf(stderr, "hostile: %lu KiB: %s", (to - from) / 1024, line);
	}
	if (maps != NULL)
		fclose(maps);
}

static void
find_bells(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	char path[300], target[64];

	while (dir != NULL && (entry = readdir(dir)) != NULL && bells_n < BELLS) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = 0;
		if (strstr(target, "eventfd") != NULL)
			bells[bells_n++] = atoi(entry->d_name);
	}
	if (dir != NULL)
		closedir(dir);
}

/* Neither the library's memory nor its descriptors are in order any more: raw system calls only. */
static void
ring(void)
{
	uint64_t one = 1;

	for (int i = 0; i < bells_n; i++)
		syscall(SYS_write, bells[i], &one, sizeof(one));
}

static void
scribble(unsigned round)
{
	for (int r = 0; r < regions_n; r++) {
		uint64_t *words = regions[r].words;
		size_t n = regions[r].n, head = n < (4u << 17) ? n : 4u << 17;

		if (round == 0) {
			for (size_t i = 0; i < n; i++)
				words[i] = draw();
		} else if (round % 3 == 0) {
			for (size_t i = 0; i < 100000; i++)
				words[draw() % n] = draw();
		} else if (round % 3 == 1) {
			for (size_t i = 0; i < head; i++)
				words[i] = draw() % 4096 | (draw() % 64) << 32;
		} else {
			for (size_t i = 0; i < 100000; i++)
				words[draw() % n] ^= 1ull << draw() % 64;
		}
		ring();
	}
}

/* Something for the engine to have under way: listeners, connections, data queued both ways. */
static void
open_sockets(const char *address, uint16_t port)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
	static char data[100000];

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		exit(2);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&name, sizeof(name)) != 0 || listen(listener, 64) != 0) {
		perror("hostile: listen");
		exit(1);
	}
	for (int i = 0; i < 32; i++) {
		int client = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(client, (void *)&name, sizeof(name)) != 0) {
			perror("hostile: connect");
			exit(1);
		}
		send(client, data, sizeof(data), MSG_DONTWAIT);
		if (i % 2 == 0)
			send(accept(listener, NULL, NULL), data, sizeof(data), MSG_DONTWAIT);
	}
}

int
main(int argc, char **argv)
{
	struct timespec begin, now;
	unsigned round = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: hostile ADDRESS PORT SECONDS SEED\n");
		return 2;
	}
	state = strtoull(argv[4], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
	open_sockets(argv[1], (uint16_t)atoi(argv[2]));
	find_regions();
	find_bells();
	if (regions_n == 0)
		return 3;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		scribble(round++);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < atoi(argv[3]));
	fprintf(stderr, "hostile: %u rounds, %d doorbells\n", round, bells_n);
	_exit(0);
}
