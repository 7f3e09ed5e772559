/* SPDX-License-Identifier: BSD-3-Clause */
/* What else brings bytes to a socket and from it: files and stdio (sendfile(2), dprintf(3), fdopen(3)). */
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include "tests/diff/diff.h"

struct stream {
	int fd;
	size_t total;
};

/* --- sendfile ---------------------------------------------------------------------------------- */

static int pattern_file(size_t size, uint64_t seed)
{
	int fd = (int)works(memfd_create("pattern", 0));
	void *map;

	works(ftruncate(fd, (off_t)size));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	is(map != MAP_FAILED);
	diff_pattern(map, size, seed, 0);
	works(munmap(map, size));
	return fd;
}

static void *expect_seed_7(void *arg)
{
	struct stream *s = arg;

	diff_expect_pattern(s->fd, s->total, 7);
	return NULL;
}

CASE(sendfile__without_offset__file_position_moves)
{
	enum { SIZE = 300000 };
	int client, server, file = pattern_file(SIZE, 7);
	size_t sent = 0;

	diff_pair(&client, &server);
	struct stream s = {server, SIZE};
	pthread_t reader = diff_thread(expect_seed_7, &s);
	while (sent < SIZE) {
		ssize_t n = (ssize_t)works(sendfile(client, file, NULL, SIZE));
		is(n > 0);
		sent += (size_t)n;
		same(lseek(file, 0, SEEK_CUR), sent);
	}
	same(sendfile(client, file, NULL, SIZE), 0);
	same(pthread_join(reader, NULL), 0);
}

CASE(sendfile__offset__only_the_offset_moves)
{
	enum { SIZE = 1 << 20 };
	off_t offset = 100;
	char got[1000], wanted[1000];
	int client, server, file = pattern_file(SIZE, 7);

	diff_pair(&client, &server);
	same(sendfile(client, file, &offset, 1000), 1000);
	same(offset, 1100);
	same(lseek(file, 0, SEEK_CUR), 0);
	diff_read_all(server, got, 1000);
	diff_pattern(wanted, 1000, 7, 100);
	same_bytes(got, wanted, 1000);
	offset = SIZE - 10;
	same(sendfile(client, file, &offset, 1000), 10);
	same(offset, SIZE);
	same(sendfile(client, file, &offset, 1000), 0);
	diff_read_all(server, got, 10);
}

CASE(sendfile__nonblocking__partial_and_exact)
{
	enum { SIZE = 64 << 20 };
	off_t offset = 0;
	int client, server, file = pattern_file(SIZE, 7);

	diff_pair(&client, &server);
	diff_nonblock(client);
	ssize_t n = (ssize_t)works(sendfile(client, file, &offset, SIZE));
	is(n > 0 && n < SIZE);
	same(offset, n);
	for (;;) {
		ssize_t more = sendfile(client, file, &offset, SIZE);
		if (more < 0)
			break;
		n += more;
		same(offset, n);
	}
	same(errno, EAGAIN);
	same(offset, n);
	diff_expect_pattern(server, (size_t)n, 7);
}

/* Whole buffers of any size must not be taken for a beginning that the rest follows. */
CASE(sendfile__longer_than_the_file__its_end_is_not_held_back)
{
	enum { SIZE = 1 << 16 };
	int client, server, file = pattern_file(SIZE, 7), size = 1 << 20;

	diff_pair(&client, &server);
	works(setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	for (size_t sent = 0; sent < SIZE;)
		sent += (size_t)works(sendfile(client, file, NULL, 1 << 30));
	diff_arrived(server, SIZE);
	diff_expect_pattern(server, SIZE, 7);
}

CASE(sendfile__bad_descriptors__errno)
{
	int client, server, ends[2], file = pattern_file(100, 7);

	diff_pair(&client, &server);
	works(pipe(ends));
	fails(sendfile(client, -1, NULL, 10), EBADF);
	fails(sendfile(-1, file, NULL, 10), EBADF);
	off_t negative = -5;
	fails(sendfile(client, file, &negative, 10), EINVAL);
}

CASE(write__to_a_file_from_a_socket__positions_are_espipe)
{
	char text[4];
	int client, server;

	diff_pair(&client, &server);
	fails(lseek(client, 0, SEEK_SET), ESPIPE);
	fails(pread(client, text, 4, 0), ESPIPE);
	fails(pwrite(client, text, 4, 0), ESPIPE);
}

CASE(sendfile__from_a_pipe__EINVAL)
{
	int client, server, ends[2];

	diff_pair(&client, &server);
	works(pipe(ends));
	fails(sendfile(client, ends[0], NULL, 5), EINVAL);
	fails(sendfile(client, -1, NULL, 5), EBADF);
}

/* --- stdio -------------------------------------------------------------------------------------- */

static int print_list(int fd, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vdprintf(fd, format, list);
	va_end(list);
	return n;
}

CASE(dprintf_vdprintf__print_to_a_socket)
{
	char text[32] = "";
	int client, server;

	diff_pair(&client, &server);
	same(dprintf(client, "%d bottles\n", 99), 11);
	same(print_list(client, "%s%c", "of bee", 'r'), 7);
	diff_arrived(server, 18);
	same(recv(server, text, sizeof(text), 0), 18);
	same_bytes(text, "99 bottles\nof beer", 18);
	same(shutdown(client, SHUT_WR), 0);
	signal(SIGPIPE, SIG_IGN);
	fails(dprintf(client, "x"), EPIPE);
}

CASE(fdopen__lines_both_ways__fclose_is_the_end)
{
	char line[32], byte;
	int client, server;

	diff_pair(&client, &server);
	FILE *out = fdopen(client, "r+"), *in = fdopen(server, "r+");
	is(out != NULL && in != NULL);
	same(fileno(out), client);
	is(fprintf(out, "line %d\n", 1) == 7);
	works(fflush(out));
	is(fgets(line, sizeof(line), in) != NULL);
	same_bytes(line, "line 1\n", 8);
	works(fclose(out));
	is(fgets(line, sizeof(line), in) == NULL);
	is(feof(in));
	works(fclose(in));
	fails(recv(client, &byte, 1, 0), EBADF);
}

CASE(stream_for_both__flush_before_the_answer__no_error)
{
	int client, server;
	char line[16];

	diff_pair(&client, &server);
	FILE *f = fdopen(server, "rbe+");
	is(f != NULL);
	diff_write_all(client, "one\ntwo\n", 8);
	is(fgets(line, sizeof(line), f) != NULL);
	errno = 0;
	same(fflush(f), 0);
	fails(fseek(f, 0, SEEK_CUR), ESPIPE);
	is(fgets(line, sizeof(line), f) != NULL);
	same_bytes(line, "two\n", 5);
	same(fprintf(f, "answer\n"), 7);
	same(fflush(f), 0);
	diff_read_all(client, line, 7);
	same_bytes(line, "answer\n", 7);
	errno = 0;
	is(fdopen(client, "zz") == NULL);
	same(errno, EINVAL);
}
