/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which processes belong together although none has spoken to the engine yet: a master makes its workers, joined to
 * each by a pair of Unix sockets, opens a listener later, and passes them its connections (Node's cluster). Sockets are
 * passed within a group (pass.c), and who says HELLO for itself makes a group of its own: so each of them names their
 * family.
 *
 * A family begins with the first pair of Unix sockets, without which nothing can be passed to a process that comes
 * after: other parents (shells, supervisors) keep their children apart. Its name is a secret, in the memory of who is
 * forked and in the environment of who is executed.
 *
 * Owns: the name. Called by: the program (socketpair), exec.c, link.c, pass.c.
 */
#include "shim/family.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "shim/atomic.h"
#include "shim/env.h"
#include "shim/real.h"
#include "stack/api/control.h"

static char name[CV_FAMILY_BYTES + 1];
static uint32_t has_name, making;

static void take(const char *text)
{
	memcpy(name, text, CV_FAMILY_BYTES);
	STORE_RELEASE(has_name, 1);
}

/* Of two threads that begin it at once one does; the other's pair is not used yet. */
static void begin(void)
{
	char text[CV_FAMILY_BYTES + 1];
	uint64_t random[2];
	int saved = errno;

	if (LOAD(has_name) || __atomic_exchange_n(&making, 1, __ATOMIC_RELAXED))
		return;
	if (getrandom(random, sizeof(random), GRND_NONBLOCK) == (ssize_t)sizeof(random)) {
		snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)random[0],
			(unsigned long long)random[1]);
		take(text);
	}
	errno = saved;
}

const char *family_name(void)
{
	return LOAD_ACQUIRE(has_name) ? name : NULL;
}

int shim_socketpair(int domain, int type, int protocol, int ends[2])
{
	int result = real_socketpair(domain, type, protocol, ends);

	if (result == 0 && domain == AF_UNIX)
		begin();
	return result;
}

__attribute__((constructor)) static void inherit(void)
{
	const char *text = env_get(FAMILY_ENV);

	if (text && strlen(text) == CV_FAMILY_BYTES)
		take(text);
}
