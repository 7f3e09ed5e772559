/* SPDX-License-Identifier: BSD-3-Clause */
/* What every call of the program begins and ends with: whose the descriptor is; the reference goes, the result becomes errno. */
#ifndef CULVERT_SHIM_CALL_H
#define CULVERT_SHIM_CALL_H

#include <errno.h>
#include <pthread.h>

#include "shim/fd.h"
#include "shim/inline.h"
#include "shim/handler.h"

/* What the kernel would answer with EFAULT, as far as a look at the number tells: NULL and what is
 * near it. Other bad pointers are the program's own fault, as with any library. */
static inline bool call_bad_pointer(const void *p)
{
	return (uintptr_t)p < 4096;
}

/* The same of a length: more than there are addresses. */
static inline bool call_bad_length(size_t n)
{
	return n >> 47 != 0;
}

/* The engine's socket behind fd, with a reference, or NULL: the kernel's. */
static inline struct file *call_engine_file(int fd)
{
	struct file *f = fd_get(fd);

	if (f && !f->mux.rec) {
		file_put(f);
		return NULL;
	}
	return f;
}

/* The same for calls that are cancellation points (pthreads(7)), whether they wait or not. */
static inline struct file *call_point_file(int fd)
{
	pthread_testcancel();
	return call_engine_file(fd);
}

static inline void call_put(struct file *f)
{
	if (f)
		file_put(f);
}

/* Results fit an int except those of data, which have call_end_size. */
static inline ssize_t call_end_size(struct file *f, ssize_t result)
{
	file_put(f);
	inline_pass();
	signal_check_late();
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

static inline int call_end(struct file *f, int result)
{
	return (int)call_end_size(f, result);
}

#endif
