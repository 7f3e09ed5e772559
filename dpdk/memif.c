/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the memif driver is told: the sizes of its ring and of the ring's buffers.
 *
 * Owns: the driver's arguments bsize= and rsize=, where the configuration does not give them; the socket file
 * of a server that was killed. Does not own: the other arguments.
 * Called by: ports.c before the device is made.
 *
 * Every frame must lie in one buffer of the ring. When one needs two, the driver of DPDK 22.11 marks the first as
 * continued and never takes the mark off, so that a later frame in that place swallows the one behind it; and
 * near a full ring it counts one free place too many.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <rte_kvargs.h>
#include <rte_mbuf.h>

#include "dpdk/ports.h"

#define BUFFER_LEAST 2048u /* the driver's default */
#define BUFFER_MOST (UINT16_MAX - RTE_PKTMBUF_HEADROOM) /* what one packet buffer can take over */
#define RING_LEAST 6u /* log2 */
#define RING_MOST 10u /* the driver's default */
#define RING_BYTES (2u << 20) /* of a ring's buffers: bulk goes round in it, and more falls out of a core's cache */

bool memif_is(const char *device)
{
	return strncmp(device, "net_memif", 9) == 0;
}

/* NULL: it is no memif, or has none. The caller frees it with rte_kvargs_free(). */
static struct rte_kvargs *arguments(const char *device)
{
	const char *args = strchr(device, ',');

	return memif_is(device) && args != NULL ? rte_kvargs_parse(args + 1, NULL) : NULL;
}

/* The number that an argument has, 0 when it is not there. */
static uint32_t argument(const char *device, const char *key)
{
	struct rte_kvargs *kv = arguments(device);
	const char *value = kv != NULL ? rte_kvargs_get(kv, key) : NULL;
	uint32_t n = value != NULL ? (uint32_t)strtoul(value, NULL, 10) : 0;

	rte_kvargs_free(kv);
	return n;
}

bool memif_connects(const char *device)
{
	struct rte_kvargs *kv = arguments(device);
	const char *role = kv != NULL ? rte_kvargs_get(kv, "role") : NULL;
	/* The driver's older words are still taken. */
	bool server = role != NULL && (strcmp(role, "server") == 0 || strcmp(role, "master") == 0);

	rte_kvargs_free(kv);
	return memif_is(device) && !server;
}

bool memif_is_zero_copy(const char *device)
{
	struct rte_kvargs *kv = arguments(device);
	const char *wanted = kv != NULL ? rte_kvargs_get(kv, "zero-copy") : NULL;
	bool is = wanted != NULL && strcmp(wanted, "yes") == 0 && memif_connects(device);

	rte_kvargs_free(kv);
	return is;
}

uint32_t memif_buffer_bytes(const char *device, uint32_t frame)
{
	uint32_t given = argument(device, "bsize");

	if (given != 0)
		return given < BUFFER_MOST ? given : BUFFER_MOST;
	if (frame < BUFFER_LEAST)
		frame = BUFFER_LEAST;
	frame = (frame + 63) & ~63u;
	return frame < BUFFER_MOST ? frame : BUFFER_MOST;
}

static uint32_t ring_log2(uint32_t buffer)
{
	uint32_t n = RING_MOST;

	while (n > RING_LEAST && buffer << n > RING_BYTES)
		n--;
	return n;
}

void memif_device(const char *device, uint32_t frame, char *out, size_t size)
{
	uint32_t buffer = memif_buffer_bytes(device, frame);
	int n = snprintf(out, size, "%s", device);

	if (argument(device, "bsize") == 0)
		n += snprintf(out + n, size - (size_t)n, ",bsize=%u", buffer);
	if (argument(device, "rsize") == 0)
		snprintf(out + n, size - (size_t)n, ",rsize=%u", ring_log2(buffer));
}

/* A socket, and nobody behind it. Other files refuse as well. */
static bool is_abandoned(const struct sockaddr_un *un)
{
	struct stat st;
	int fd;
	bool refused;

	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	refused = fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

void memif_socket_clear(const char *device)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct rte_kvargs *kv = arguments(device);
	const char *path = kv != NULL ? rte_kvargs_get(kv, "socket") : NULL;

	if (path != NULL && !memif_connects(device) && strlen(path) < sizeof(un.sun_path)) {
		memcpy(un.sun_path, path, strlen(path));
		if (is_abandoned(&un))
			unlink(un.sun_path);
	}
	rte_kvargs_free(kv);
}
