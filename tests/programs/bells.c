/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bells SOCKET BELLS SECONDS: a program that speaks to an engine's control socket itself and gives it doorbells that
 * block for ever: eventfds that are full, made blocking again once the engine has them. Then it sleeps on each as the
 * contract says and asks for something, so that the engine rings. Prints `rung` and stays for SECONDS.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "stack/api/command.h"
#include "stack/api/control.h"

static int engine;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* One request and its reply; fds: what came along. */
static struct cv_reply ask(struct cv_request request, int fd, int fds[CV_CTL_FDS_MAX])
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(CV_CTL_FDS_MAX * sizeof(int))];
	} c = {0};
	struct cv_reply reply;
	struct iovec iov = {&request, sizeof(request)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	request.version = CV_API_VERSION;
	request.pid = getpid();
	if (fd >= 0) {
		c.head.cmsg_len = CMSG_LEN(sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&c.head), &fd, sizeof(fd));
		msg.msg_control = &c;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
	}
	if (sendmsg(engine, &msg, 0) < 0)
		die("sendmsg");
	iov = (struct iovec){&reply, sizeof(reply)};
	msg.msg_control = &c;
	msg.msg_controllen = sizeof(c.space);
	if (recvmsg(engine, &msg, 0) != (ssize_t)sizeof(reply) || reply.result < 0)
		die("the engine refuses");
	if (fds != NULL && CMSG_FIRSTHDR(&msg) != NULL)
		memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), 3 * sizeof(int));
	return reply;
}

/* A lane with such a bell, and a command on it. */
static void bell_ring(uint8_t *base)
{
	const uint64_t full = UINT64_MAX - 1;
	const struct cv_segment *seg = (const struct cv_segment *)(const void *)base;
	int bell = eventfd(0, 0);
	struct cv_reply reply;
	struct cv_lane *lane;
	struct cv_set *set;

	if (write(bell, &full, sizeof(full)) < 0)
		die("eventfd");
	reply = ask((struct cv_request){.op = CV_CTL_LANE_OPEN}, bell, NULL);
	if (fcntl(bell, F_SETFL, 0) != 0)
		die("fcntl");
	lane = (struct cv_lane *)(void *)(base + seg->lanes_off + reply.value * seg->lane_stride);
	set = (struct cv_set *)(void *)(base + seg->sets_off + reply.value * seg->set_stride);
	set->armed = 1;
	*(struct cv_command *)(void *)(lane + 1) = (struct cv_command){.op = CV_CMD_NOP, .seq = 1};
	__atomic_store_n(&lane->cmd_tail, 1, __ATOMIC_SEQ_CST);
}

int main(int argc, char **argv)
{
	const uint64_t one = 1;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fds[CV_CTL_FDS_MAX];
	struct cv_reply reply;
	uint8_t *base;

	if (argc != 4)
		return 2;
	strncpy(at.sun_path, argv[1], sizeof(at.sun_path) - 1);
	engine = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (connect(engine, (struct sockaddr *)&at, sizeof(at)) != 0)
		die(argv[1]);
	reply = ask((struct cv_request){.op = CV_CTL_HELLO}, -1, fds);
	base = mmap(NULL, reply.size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	if (base == MAP_FAILED)
		die("mmap");
	for (int bells = atoi(argv[2]); bells > 0; bells--)
		bell_ring(base);
	if (write(fds[2], &one, sizeof(one)) < 0)
		die("doorbell");
	puts("rung");
	fflush(stdout);
	sleep((unsigned)atoi(argv[3]));
	return 0;
}
