/* SPDX-License-Identifier: BSD-3-Clause */
/* Talking to an engine's control socket (stack/api/control.h). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "stack/api/control.h"
#include "stack/api/error.h"

#define ANSWER_SECONDS 10

const char *engine_choose(const char *name)
{
	const char *env = getenv("CULVERT_ENGINE");

	if (name != NULL)
		return name;
	return env != NULL && env[0] != '\0' ? env : CV_DEFAULT_ENGINE;
}

int engine_connect(const char *name)
{
	const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n, fd;

	if (strchr(name, '/') != NULL)
		n = snprintf(un.sun_path, sizeof(un.sun_path), "%s", name);
	else
		n = snprintf(un.sun_path, sizeof(un.sun_path), CV_CONTROL_DIR "/%s.sock", name);
	if (n < 0 || (size_t)n >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&un, sizeof(un)) != 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* The reply to the one request on fd, and the descriptor that came with it (-1: none). False: the connection ended before. */
static bool receive(int fd, struct cv_reply *reply, int *report)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} c;
	struct iovec iov = {reply, sizeof(*reply)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &c,
		.msg_controllen = sizeof(c.space)};
	const struct cmsghdr *h;
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	*report = -1;
	if (n <= 0)
		return false;
	h = CMSG_FIRSTHDR(&msg);
	if (h != NULL && h->cmsg_type == SCM_RIGHTS)
		memcpy(report, CMSG_DATA(h), sizeof(*report));
	if (n != (ssize_t)sizeof(*reply) || (msg.msg_flags & MSG_TRUNC)) {
		reply->result = -CV_EPROTO;
		snprintf(reply->text, sizeof(reply->text), "it speaks another version than this culvert");
	}
	reply->text[sizeof(reply->text) - 1] = '\0';
	return true;
}

/* Asks on a connection of its own. The reply is there, or the engine ended before. */
static bool ask(int fd, const char *what, struct cv_reply *reply, int *report)
{
	struct cv_request request = {.op = CV_CTL_QUERY, .version = CV_API_VERSION, .pid = getpid()};

	*report = -1;
	*reply = (struct cv_reply){.op = CV_CTL_QUERY};
	request.text_len = (uint32_t)strlen(what);
	memcpy(request.text, what, request.text_len);
	return send(fd, &request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request) && receive(fd, reply, report);
}

int engine_serves(const char *name)
{
	struct cv_reply reply;
	int fd = engine_connect(name), report;
	bool answered = fd >= 0 && ask(fd, "version", &reply, &report);

	if (fd >= 0)
		close(fd);
	if (!answered)
		return 0;
	if (report >= 0)
		close(report);
	if (reply.result == 0)
		return 1;
	fprintf(stderr, "culvert: engine %s does not serve this program: %s\n", name, reply.text);
	return -1;
}

void engine_hold(const char *name)
{
	struct cv_reply reply;
	int fd = engine_connect(name), report = -1;

	if (fd >= 0 && ask(fd, "hold", &reply, &report) && report >= 0)
		close(report);
	if (fd >= 0)
		close(fd);
}

static json_t *load(int fd, const char *name)
{
	json_error_t error;
	json_t *o = json_loadfd(fd, 0, &error);

	if (o == NULL)
		fprintf(stderr, "culvert: the answer of engine %s is not JSON: %s\n", name, error.text);
	return o;
}

json_t *engine_query(const char *name, const char *what)
{
	struct cv_reply reply;
	json_t *answer = NULL;
	int fd = engine_connect(name), report;

	if (fd < 0) {
		fprintf(stderr, "culvert: engine %s does not answer: %s\n", name,
			fd == -ENOENT || fd == -ECONNREFUSED ? "it is not running" : strerror(-fd));
		return NULL;
	}
	if (ask(fd, what, &reply, &report) && report >= 0 && reply.result == 0)
		answer = load(report, name);
	else
		fprintf(stderr, "culvert: engine %s gives no answer%s%s\n", name,
			reply.text[0] != '\0' ? ": " : "", reply.text);
	if (report >= 0)
		close(report);
	close(fd);
	return answer;
}
