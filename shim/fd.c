/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of descriptors: see fd.h. */
#include "shim/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/real.h"
#include "shim/sigio.h"
#include "shim/sock.h"
#include "shim/undecided.h"

/* Address space only: pages that no descriptor uses are never touched. */
#define FDS_MAX (1u << 20)
#define FILES_A_TIME 64
#define INTERNAL_ROOM 256 /* numbers that we want above INTERNAL_LOWEST */
#define INTERNAL_LOWEST 1000

#define LOAD(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELEASE)

static struct file **table; /* NULL until the first file */
static uint32_t table_end;  /* numbers from here on are not ours */
static struct memory_stack free_files;  /* theirs only: see fd_look() */
static uint64_t internal[FDS_MAX / 64]; /* a bit a number: ours, hidden from the program */

static bool table_open(void)
{
	struct file **map, **none = NULL;

	if (LOAD(table))
		return true;
	map = mmap(NULL, FDS_MAX * sizeof(*map), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return false;
	if (!__atomic_compare_exchange_n(
		    &table, &none, map, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		munmap(map, FDS_MAX * sizeof(*map));
	return true;
}

static struct file *file_new(void)
{
	struct file *f = memory_pop(&free_files);

	return f ? f : memory_stack_grow(&free_files, sizeof(*f), FILES_A_TIME - 1);
}

static void file_free(struct file *f)
{
	mcast_forget(f);
	undecided_forget(f);
	memory_push(&free_files, f);
}

struct file *fd_look(int fd)
{
	struct file *f;
	uint32_t refs;

	if ((uint32_t)fd >= LOAD(table_end))
		return NULL;
	while ((f = LOAD(table[fd])) != NULL) {
		refs = LOAD(f->refs);
		while (refs != 0 && !__atomic_compare_exchange_n(&f->refs, &refs, refs + 1, true,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			;
		if (refs == 0)
			continue;
		if (LOAD(table[fd]) == f)
			return f;
		file_put(f);
	}
	return NULL;
}

struct file *fd_get(int fd)
{
	struct file *f = fd_look(fd);

	if (f && __builtin_expect(LOAD(f->lazy), 0))
		sock_make_whole(fd, f);
	return f;
}

void file_put(struct file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	/* As the kernel's: a call under way holds the file, whatever becomes of its number. */
	if (f->mux.rec)
		sock_close(f);
	file_free(f);
}

static bool table_set(int fd, struct file *f)
{
	uint32_t end = LOAD(table_end);

	if ((uint32_t)fd >= FDS_MAX || !table_open())
		return false;
	STORE(table[fd], f);
	while ((uint32_t)fd >= end && !__atomic_compare_exchange_n(&table_end, &end,
					      (uint32_t)fd + 1, true, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE))
		;
	return true;
}

struct file *fd_add(int fd, const struct file *content)
{
	struct file *f = file_new();

	if (!f)
		return NULL;
	*f = *content;
	f->fds = 1;
	STORE(f->refs, 1);
	if (table_set(fd, f))
		return f;
	file_put(f);
	return NULL;
}

bool fd_alias(int fd, struct file *f)
{
	__atomic_add_fetch(&f->refs, 1, __ATOMIC_ACQ_REL);
	__atomic_add_fetch(&f->fds, 1, __ATOMIC_ACQ_REL);
	if (table_set(fd, f))
		return true;
	__atomic_sub_fetch(&f->fds, 1, __ATOMIC_ACQ_REL);
	file_put(f);
	return false;
}

bool fd_remove(int fd)
{
	struct file *f;

	if ((uint32_t)fd >= LOAD(table_end))
		return false;
	f = __atomic_exchange_n(&table[fd], NULL, __ATOMIC_ACQ_REL);
	if (!f)
		return false;
	if (__atomic_sub_fetch(&f->fds, 1, __ATOMIC_ACQ_REL) == 0) {
		sigio_closed(f);
		mux_file_closed(&f->mux);
	}
	file_put(f);
	return true;
}

void fd_remove_range(uint32_t first, uint32_t end)
{
	uint32_t known = LOAD(table_end);

	for (uint32_t fd = first; fd < end && fd < known; fd++)
		fd_remove((int)fd);
}

void fd_forget(struct file *f)
{
	for (uint32_t fd = 0; fd < LOAD(table_end); fd++) {
		struct file *expected = f;

		if (__atomic_compare_exchange_n(&table[fd], &expected, NULL, false,
			    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			__atomic_sub_fetch(&f->fds, 1, __ATOMIC_ACQ_REL);
			file_put(f);
		}
	}
}

void fd_fork_child(void)
{
	for (uint32_t fd = 0; fd < LOAD(table_end); fd++) {
		struct file *f = LOAD(table[fd]);

		if (!f)
			continue;
		if (!wait_holds) /* else a handler forked, and the call that it interrupted goes on here, too */
			STORE(f->refs, f->fds);
		f->decider = 0; /* a thread of the parent's */
		undecided_forget(f);
	}
}

void fd_each(void (*each)(int fd, struct file *f, void *arg), void *arg)
{
	for (uint32_t fd = 0; fd < LOAD(table_end); fd++) {
		struct file *f = LOAD(table[fd]) ? fd_get((int)fd) : NULL;

		if (!f)
			continue;
		each((int)fd, f, arg);
		file_put(f);
	}
}

/* --- our own numbers -------------------------------------------------------------------------- */

bool fd_is_internal(int fd)
{
	if ((uint32_t)fd >= FDS_MAX)
		return false;
	return (LOAD(internal[(uint32_t)fd / 64]) >> ((uint32_t)fd % 64)) & 1;
}

uint32_t fd_internal_next(uint32_t from, uint32_t end)
{
	while (from < end && from < FDS_MAX) {
		uint64_t rest = LOAD(internal[from / 64]) >> (from % 64);

		if (rest != 0) {
			from += (uint32_t)__builtin_ctzll(rest);
			return from < end ? from : end;
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

static int high_number(int fd)
{
	struct rlimit limit = {.rlim_cur = INTERNAL_LOWEST + INTERNAL_ROOM};
	int lowest = INTERNAL_LOWEST, moved;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < INTERNAL_LOWEST + INTERNAL_ROOM)
		lowest = (int)(limit.rlim_cur / 2);
	moved = real_fcntl(fd, F_DUPFD_CLOEXEC, lowest);
	if (moved < 0)
		return fd; /* better low than not at all */
	quiet_close(fd);
	return moved;
}

int mux_internal_fd(int fd)
{
	if (fd < 0)
		return fd;
	fd = high_number(fd);
	if ((uint32_t)fd < FDS_MAX)
		__atomic_fetch_or(&internal[fd / 64], UINT64_C(1) << (fd % 64), __ATOMIC_ACQ_REL);
	return fd;
}

void mux_internal_close(int fd)
{
	if (fd < 0)
		return;
	if ((uint32_t)fd < FDS_MAX)
		__atomic_fetch_and(
			&internal[fd / 64], ~(UINT64_C(1) << (fd % 64)), __ATOMIC_ACQ_REL);
	quiet_close(fd);
}

/* --- for wait.h ------------------------------------------------------------------------------- */

struct mux_file *mux_file_get(int fd)
{
	struct file *f = fd_get(fd);

	return f ? &f->mux : NULL;
}

bool mux_file_is_open(const struct mux_file *f)
{
	return LOAD(((const struct file *)(const void *)f)->fds) > 0;
}

void mux_file_hold(struct mux_file *f)
{
	__atomic_add_fetch(&((struct file *)(void *)f)->refs, 1, __ATOMIC_ACQ_REL);
}

void mux_file_put(struct mux_file *f)
{
	file_put((struct file *)(void *)f);
}

int mux_file_add_epoll(int fd, struct ep *ep)
{
	struct file content = {.mux = {.ep = ep}};

	if (fd_add(fd, &content))
		return 0;
	quiet_close(fd);
	return -ENOMEM;
}

void mux_file_each_fd(struct mux_file *file, void (*f)(int fd, void *arg), void *arg)
{
	struct file *mine = (struct file *)(void *)file;
	uint32_t left = LOAD(mine->fds);

	for (uint32_t fd = 0; left > 0 && fd < LOAD(table_end); fd++) {
		if (LOAD(table[fd]) != mine)
			continue;
		f((int)fd, arg);
		left--;
	}
}
