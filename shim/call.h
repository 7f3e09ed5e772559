/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of every call of the program: the reference goes, the result becomes errno. */
#ifndef CULVERT_SHIM_CALL_H
#define CULVERT_SHIM_CALL_H

#include <errno.h>

#include "shim/fd.h"
#include "shim/inline.h"
#include "shim/handler.h"

/* What the kernel would answer with EFAULT, as far as a look at the number tells: NULL and what is
 * near it. Other bad pointers are the program's own fault, as with any library. */
static inline bool call_bad_pointer(const void *p)
{
	return (uintptr_t)p < 4096;
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
