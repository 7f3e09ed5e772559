/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stdio over engine sockets: libc's streams call the kernel from inside libc, where no preload
 * reaches, so fdopen() of a socket gives a stream whose reading and writing is ours
 * (fopencookie(3)). A program that starts with an engine socket as its standard streams, as under
 * inetd, gets such streams there, and one that duplicates a socket onto their numbers.
 *
 * Owns: which stream stands for which descriptor. Called by: the program, exec.c, descriptor.c.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/call.h"
#include "shim/real.h"
#include "shim/stream.h"

struct cookie {
	int fd;
	FILE *stream;
	struct cookie *next;
};

static struct cookie *cookies;
static uint32_t cookies_lock;

static void lock(void)
{
	while (__atomic_exchange_n(&cookies_lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&cookies_lock, 0, __ATOMIC_RELEASE);
}

void stream_fork_prepare(void)
{
	lock();
}

void stream_fork_done(void)
{
	unlock();
}

static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
	return shim_read(((struct cookie *)cookie)->fd, buf, n);
}

/* A short write is an error to stdio: all of it, or as much as goes. */
static ssize_t cookie_write(void *cookie, const char *buf, size_t n)
{
	const struct cookie *c = cookie;
	size_t done = 0;

	while (done < n) {
		ssize_t put = shim_write(c->fd, buf + done, n - done);

		if (put <= 0)
			break;
		done += (size_t)put;
	}
	return (ssize_t)done;
}

/* Known errors are what stdio goes on after (lseek(2)). */
static int cookie_seek(void *cookie, off64_t *at, int whence)
{
	(void)cookie;
	(void)at;
	(void)whence;
	errno = ESPIPE;
	return -1;
}

static int cookie_close(void *cookie)
{
	struct cookie *c = cookie, **link = &cookies;
	int result = shim_close(c->fd);

	lock();
	while (*link && *link != c)
		link = &(*link)->next;
	if (*link)
		*link = c->next;
	unlock();
	free(c);
	return result;
}

static FILE *stream_make(int fd, const char *mode)
{
	static const cookie_io_functions_t io = {
		.read = cookie_read, .write = cookie_write, .seek = cookie_seek, .close = cookie_close};
	/* fopencookie() looks for a + in fewer places than fdopen(). */
	const char plain[] = {mode[0], strchr(mode, '+') ? '+' : 0, 0};
	struct cookie *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	c->fd = fd;
	c->stream = fopencookie(c, plain, io);
	if (!c->stream) {
		free(c);
		return NULL;
	}
	lock();
	c->next = cookies;
	cookies = c;
	unlock();
	return c->stream;
}

static bool is_ours(int fd)
{
	struct file *f = fd_get(fd);
	bool ours = f && !f->mux.ep;

	call_put(f);
	return ours;
}

FILE *shim_fdopen(int fd, const char *mode)
{
	return is_ours(fd) ? stream_make(fd, mode) : real_fdopen(fd, mode);
}

int shim_fileno(FILE *stream)
{
	int fd = -1;

	if (!__atomic_load_n(&cookies, __ATOMIC_ACQUIRE))
		return real_fileno(stream);
	lock();
	for (const struct cookie *c = cookies; c && fd < 0; c = c->next) {
		if (c->stream == stream)
			fd = c->fd;
	}
	unlock();
	return fd >= 0 ? fd : real_fileno(stream);
}

/* dprintf() and its kin write from inside libc. */
static int print(int fd, const char *format, va_list args)
{
	struct cookie c = {.fd = fd};
	char *text;
	int n = vasprintf(&text, format, args);
	ssize_t put;

	if (n < 0)
		return n;
	put = cookie_write(&c, text, (size_t)n);
	free(text);
	return put == n ? n : -1;
}

int shim_vdprintf(int fd, const char *format, va_list args)
{
	return is_ours(fd) ? print(fd, format, args) : real_vdprintf(fd, format, args);
}

int shim___vdprintf_chk(int fd, int flag, const char *format, va_list args)
{
	return is_ours(fd) ? print(fd, format, args) : real___vdprintf_chk(fd, flag, format, args);
}

int shim_dprintf(int fd, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = shim_vdprintf(fd, format, args);
	va_end(args);
	return n;
}

int shim___dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = shim___vdprintf_chk(fd, flag, format, args);
	va_end(args);
	return n;
}

static bool is_made(const FILE *stream)
{
	const struct cookie *c;

	lock();
	for (c = cookies; c && c->stream != stream; c = c->next)
		;
	unlock();
	return c != NULL;
}

void stream_follow(int fd)
{
	FILE **name = fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr, *old = *name, *s;

	if (is_made(old))
		return; /* and does for whatever is behind the number */
	s = stream_make(fd, fd == 0 ? "r" : "w");
	if (!s)
		return;
	if (fd == 2)
		setvbuf(s, NULL, _IONBF, 0);
	/* What was printed and not written yet goes to where the number leads now. */
	if (fd != 0 && __fpending(old) > 0) {
		fwrite(old->_IO_write_base, 1, __fpending(old), s);
		__fpurge(old);
	}
	*name = s;
}

void stream_standard(void)
{
	for (int fd = 0; fd < 3; fd++) {
		struct file *f = fd_get(fd);

		if (f && f->mux.rec)
			stream_follow(fd);
		call_put(f);
	}
}

void stream_flush(void)
{
	for (const struct cookie *c = cookies; c; c = c->next)
		fflush(c->stream);
}
