/* SPDX-License-Identifier: BSD-3-Clause */
/* The environment, where it may be believed. */
#ifndef CULVERT_SHIM_ENV_H
#define CULVERT_SHIM_ENV_H

#include <stdlib.h>
#include <unistd.h>

/* In a set-user-ID program (with the library in /etc/ld.so.preload) it is its caller's, who may name an engine of his
 * own, and with it what is mapped here. Root's is believed, which also executes with an effective user that is another
 * one. */
static inline const char *env_get(const char *name)
{
	const char *value = secure_getenv(name);

	return value || getuid() != 0 ? value : getenv(name);
}

#endif
