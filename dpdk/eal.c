/* SPDX-License-Identifier: BSD-3-Clause */
/* The start of DPDK's EAL: cores, hugepages, and memory for as many packet buffers as the configuration asks for, each with room
 * for the largest frame. */
#include "dpdk/driver_calls.h"
#include "dpdk/ports_priv.h"

#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <rte_eal.h>
#include <rte_errno.h>

#define BUFFERS_MOST 32768u
#define BUFFERS_LEAST 8192u
#define BUFFERS_BYTES (256ull << 20) /* of all buffers, between these two */
#define ENGINE_MIB 256 /* beside packets: tables, device rings */

#define FRAME_MOST (UINT16_MAX - RTE_PKTMBUF_HEADROOM) /* what one packet buffer holds */

/* Bytes of the largest frame that comes or goes by a port. */
uint32_t ports_frame_bytes(const struct config_port *o)
{
	uint32_t ip = o->mtu;

	if (o->tso == TSO_TRUSTED && o->tso_max > ip)
		ip = o->tso_max;
	if (memif_is(o->device))
		return memif_buffer_bytes(o->device, ip + FRAME_HEADER);
	return ip + FRAME_HEADER < FRAME_MOST ? ip + FRAME_HEADER : FRAME_MOST;
}

uint32_t ports_buffer_room(const struct config *c)
{
	uint32_t room = RTE_MBUF_DEFAULT_BUF_SIZE;

	for (int i = 0; i < c->ports_n; i++) {
		uint32_t frame = ports_frame_bytes(&c->ports[i]) + RTE_PKTMBUF_HEADROOM;

		room = frame > room ? frame : room;
	}
	return room;
}

/* How many, where the configuration does not say: memory for large ones is real with hugepages. */
uint64_t ports_buffers(const struct config *c)
{
	uint64_t n = BUFFERS_BYTES / ports_buffer_room(c);

	if (c->limits.packet_buffers != 0)
		return c->limits.packet_buffers;
	if (n > BUFFERS_MOST)
		n = BUFFERS_MOST;
	return n < BUFFERS_LEAST ? BUFFERS_LEAST : n;
}

/* Bytes in hugepages of any size: `what` is nr_hugepages or free_hugepages. */
static uint64_t hugepages_bytes(const char *what)
{
	glob_t found = {0};
	uint64_t total = 0;
	char pattern[128];

	snprintf(pattern, sizeof(pattern), "/sys/kernel/mm/hugepages/hugepages-*/%s", what);
	glob(pattern, 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		FILE *f = fopen(found.gl_pathv[i], "re");
		unsigned long n = 0, kib = 0;

		if (f != NULL && fscanf(f, "%lu", &n) == 1 &&
			sscanf(strstr(found.gl_pathv[i], "hugepages-"), "hugepages-%lukB", &kib) == 1)
			total += (uint64_t)n * kib << 10;
		if (f != NULL)
			fclose(f);
	}
	globfree(&found);
	return total;
}

/* 0, or -1 with one line in error: they are wanted and there are none. */
static int hugepages_decide(struct config *c, uint64_t mib, char *error)
{
	if (c->hugepages == HUGEPAGES_AUTO)
		c->hugepages = hugepages_bytes("free_hugepages") >> 20 >= mib + mib / 4 ? HUGEPAGES_YES
											 : HUGEPAGES_NO;
	if (c->hugepages == HUGEPAGES_NO || hugepages_bytes("nr_hugepages") > 0)
		return 0;
	snprintf(error, CONFIG_ERROR_BYTES,
		"%s: hugepages=yes, and the machine has none: set vm.nr_hugepages (%llu MiB are"
		" wanted) or hugepages=no", c->path, (unsigned long long)mib);
	return -1;
}

/* The cores that this process may use, as a list: taskset's word holds for an engine too. */
static void cores_allowed(char *text, size_t size)
{
	cpu_set_t set;
	size_t n = 0;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		CPU_SET(0, &set);
	text[0] = '\0';
	for (int i = 0; i < CPU_SETSIZE && n + 8 < size; i++)
		if (CPU_ISSET(i, &set))
			n += (size_t)snprintf(text + n, size - n, "%s%d", n > 0 ? "," : "", i);
}

/* EAL reads its arguments by getopt, whose state may be in the middle of the program's own (getopt(3): 0 starts it
 * anew). */
static int eal_init(int argc, char **argv)
{
	char *nothing[] = {(char *)"culvert", NULL}, *arg = optarg;
	int index = optind, option = optopt, error = opterr, status;

	optind = 0;
	(void)getopt(1, nothing, "");
	driver_calls_begin();
	status = rte_eal_init(argc, argv);
	optind = 0;
	(void)getopt(1, nothing, "");
	optind = index;
	optopt = option;
	opterr = error;
	optarg = arg;
	return status;
}

int ports_eal_init(struct config *c, bool inside, bool noise, char error[CONFIG_ERROR_BYTES])
{
	char prefix[64], memory[32], allowed[1024], lcores[1056];
	char *argv[20];
	int argc = 0;
	bool pci = false, zero_copy = false;
	uint64_t mib = ENGINE_MIB +
		((ports_buffers(c) * (ports_buffer_room(c) + 384)) >> 20);
	sigset_t realtime;

	for (int i = 0; i < c->ports_n; i++) {
		pci = pci || c->ports[i].pci;
		zero_copy = zero_copy || memif_is_zero_copy(c->ports[i].device);
	}
	snprintf(prefix, sizeof(prefix), "--file-prefix=culvert-%s", c->name);
	snprintf(memory, sizeof(memory), "%llu", (unsigned long long)mib);
	cores_allowed(allowed, sizeof(allowed));
	snprintf(lcores, sizeof(lcores), "--lcores=0@(%s)", c->cores[0] != '\0' ? c->cores : allowed);
	argv[argc++] = (char *)"culvertd";
	argv[argc++] = prefix;
	argv[argc++] = lcores;
	if (hugepages_decide(c, mib, error) != 0)
		return -2;
	/* Each excludes the other. In memory: nothing is left in a hugetlbfs, and none need be mounted. */
	argv[argc++] = (char *)(c->hugepages == HUGEPAGES_YES ? "--in-memory" : "--no-huge");
	if (c->hugepages == HUGEPAGES_NO) {
		argv[argc++] = (char *)"-m";
		argv[argc++] = memory;
	}
	if (zero_copy) /* the memif driver hands the files of this memory to the other end */
		argv[argc++] = (char *)"--single-file-segments";
	if (!pci)
		argv[argc++] = (char *)"--no-pci";
	if (inside) {
		argv[argc++] = (char *)"--no-telemetry";
		if (c->hugepages == HUGEPAGES_NO)
			argv[argc++] = (char *)"--no-shconf";
	}
	if (!noise)
		argv[argc++] = (char *)"--log-level=*:3"; /* its errors are told by us, once */
	argv[argc] = NULL;
	/* The TAP driver asks for a signal for each frame and reads only after one. Blocked in every
	 * thread from the start none ever comes, and the driver reads whenever it is polled. */
	sigemptyset(&realtime);
	for (int s = SIGRTMIN; s <= SIGRTMAX; s++)
		sigaddset(&realtime, s);
	pthread_sigmask(SIG_BLOCK, &realtime, NULL);
	if (eal_init(argc, argv) < 0) {
		snprintf(error, CONFIG_ERROR_BYTES, "%s: DPDK does not start: %s", c->path,
			rte_strerror(rte_errno));
		return -1;
	}
	return 0;
}
