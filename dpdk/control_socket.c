/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket's name: one engine of a name at a time, who may connect, and what an engine's successor keeps of it.
 * Does not own: who has connected (control.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpdk/log.h"
#include "dpdk/service.h"
#include "stack/api/control.h"

#define BACKLOG 512
#define LOCK_TRIES 100
#define LOCK_TRIES_ANSWERED 10
#define LOCK_TRY_US 50000

static bool somebody_answers(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

bool control_answers(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	return somebody_answers(&un);
}

static int listen_fail(struct service *s, char *error, const char *what)
{
	snprintf(error, CONFIG_ERROR_BYTES, "%s: %s", s->config.control, what);
	return -1;
}

/* The lock's file outlives the engine, and keeps what its successor needs to look like it to their peers. */
static void secret_keep(struct service *s, int fd)
{
	uint64_t *secret = s->secret;

	if (pread(fd, secret, sizeof(s->secret), 0) == (ssize_t)sizeof(s->secret))
		return;
	if (getrandom(secret, sizeof(s->secret), 0) != (ssize_t)sizeof(s->secret) ||
		pwrite(fd, secret, sizeof(s->secret), 0) != (ssize_t)sizeof(s->secret))
		log_line(LOG_WARNING, "a restarted engine will not be known again: %s", strerror(errno));
}

/* One engine of a name at a time. One that is just ending holds the lock until it is gone. */
static int name_lock(struct service *s, const struct sockaddr_un *un, char *error)
{
	char path[sizeof(un->sun_path) + 8];
	int fd;

	snprintf(path, sizeof(path), "%s.lock", un->sun_path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	s->lock_fd = fd;
	if (fd < 0)
		return listen_fail(s, error, strerror(errno));
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			secret_keep(s, fd);
			return 0;
		}
		/* One that was just killed seems to answer until the kernel has taken it apart. */
		if (i >= LOCK_TRIES_ANSWERED && somebody_answers(un))
			return listen_fail(s, error, "an engine of this name is running already");
		usleep(LOCK_TRY_US);
	}
	return listen_fail(s, error, "an engine of this name does not answer and does not end");
}

/* Nobody can connect before listen(). Any user's program may be served, unless the configuration says otherwise: its
 * group is its own, and no user can have all of what there is for all (may_have()). */
static int rights_set(const struct config *c)
{
	mode_t mode = c->control_mode != 0 ? c->control_mode : c->control_group != CONFIG_NO_GROUP ? 0660 : 0666;

	if (c->control_group != CONFIG_NO_GROUP && chown(c->control, (uid_t)-1, c->control_group) != 0)
		return -1;
	return chmod(c->control, mode);
}

int control_listen(struct service *s, char error[CONFIG_ERROR_BYTES])
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, s->config.control, sizeof(un.sun_path));
	if (strncmp(un.sun_path, CV_CONTROL_DIR "/", sizeof(CV_CONTROL_DIR)) == 0)
		(void)mkdir(CV_CONTROL_DIR, 0755);
	if (name_lock(s, &un, error) != 0) {
		if (s->lock_fd >= 0)
			close(s->lock_fd);
		return -1;
	}
	s->control_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->control_fd < 0)
		return listen_fail(s, error, strerror(errno));
	(void)unlink(un.sun_path);
	if (bind(s->control_fd, (const struct sockaddr *)&un, sizeof(un)) != 0)
		return listen_fail(s, error, strerror(errno));
	if (rights_set(&s->config) != 0)
		return listen_fail(s, error, strerror(errno));
	if (listen(s->control_fd, BACKLOG) != 0)
		return listen_fail(s, error, strerror(errno));
	return 0;
}
