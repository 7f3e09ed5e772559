/* SPDX-License-Identifier: BSD-3-Clause */
/* What the memif driver is told (dpdk/memif.c): the sizes of its ring, and whose socket file may go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "dpdk/ports.h"

#define SERVER "net_memif0,role=server,id=0"

static void device_is(const char *device, uint32_t frame, const char *wanted)
{
	char out[256];

	memif_device(device, frame, out, sizeof(out));
	assert_string_equal(out, wanted);
}

static void sizes__are_filled_in__for_the_largest_frame(void **state)
{
	(void)state;
	device_is(SERVER, 1526, SERVER ",bsize=2048,rsize=10");
	device_is(SERVER, 9026, SERVER ",bsize=9088,rsize=7");
	device_is(SERVER, 32794, SERVER ",bsize=32832,rsize=6");
	device_is(SERVER, 65561, SERVER ",bsize=65407,rsize=6"); /* what a packet buffer holds */
	device_is("net_memif1", 1526, "net_memif1,bsize=2048,rsize=10");
}

static void sizes__that_are_given__stay(void **state)
{
	(void)state;
	device_is(SERVER ",bsize=4096", 1526, SERVER ",bsize=4096,rsize=9");
	device_is(SERVER ",rsize=12", 1526, SERVER ",rsize=12,bsize=2048");
	device_is(SERVER ",rsize=3,bsize=9000", 9026, SERVER ",rsize=3,bsize=9000");
	assert_int_equal(memif_buffer_bytes(SERVER ",bsize=65535", 1526), 65407);
}

static void zero_copy__is_a_client_s(void **state)
{
	(void)state;
	assert_true(memif_is_zero_copy("net_memif0,zero-copy=yes"));
	assert_true(memif_is_zero_copy("net_memif0,role=client,zero-copy=yes"));
	assert_false(memif_is_zero_copy("net_memif0,role=server,zero-copy=yes"));
	assert_false(memif_is_zero_copy("net_memif0,role=client,zero-copy=no"));
	assert_false(memif_is_zero_copy("net_memif0"));
	assert_false(memif_is_zero_copy("net_tap0,iface=zero-copy=yes"));
}

/* A server's socket in a directory of the test's own, bound; listening or abandoned. */
static int server_socket(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && strlen(path) < sizeof(un.sun_path));
	memcpy(un.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static void socket_file__of_a_dead_server__goes__and_no_other(void **state)
{
	char dir[] = "/tmp/unit_memif.XXXXXX", path[64], device[160];
	struct stat st;
	FILE *f;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m.sock", dir);
	snprintf(device, sizeof(device), SERVER ",socket=%s,socket-abstract=no", path);

	fd = server_socket(path);
	assert_int_equal(listen(fd, 1), 0);
	memif_socket_clear(device); /* somebody is there */
	assert_int_equal(stat(path, &st), 0);
	close(fd);
	memif_socket_clear("net_memif0,role=client,socket=x,socket-abstract=no");
	assert_int_equal(stat(path, &st), 0);
	memif_socket_clear(device);
	assert_int_equal(stat(path, &st), -1);

	f = fopen(path, "we"); /* no socket at all: somebody's file */
	assert_non_null(f);
	fclose(f);
	memif_socket_clear(device);
	assert_int_equal(stat(path, &st), 0);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes__are_filled_in__for_the_largest_frame),
		cmocka_unit_test(sizes__that_are_given__stay),
		cmocka_unit_test(zero_copy__is_a_client_s),
		cmocka_unit_test(socket_file__of_a_dead_server__goes__and_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
