/* SPDX-License-Identifier: BSD-3-Clause */
/* What the cases about multiplexing (mux_*.c) share: short forms of epoll's calls. */
#ifndef CULVERT_DIFF_MUX_H
#define CULVERT_DIFF_MUX_H

#include <sys/epoll.h>

#include "tests/diff/diff.h"

#define MUX_SOON 3000 /* ms in which what must come has come */
#define MUX_QUIET 30  /* ms in which what must not come has not come */

static inline int mux_new(void)
{
	return (int)works(epoll_create1(EPOLL_CLOEXEC));
}

static inline int mux_ctl(int set, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	return epoll_ctl(set, op, fd, &event);
}

static inline void mux_add(int set, int fd, uint32_t events, uint64_t data)
{
	works(mux_ctl(set, EPOLL_CTL_ADD, fd, events, data));
}

static inline void mux_mod(int set, int fd, uint32_t events, uint64_t data)
{
	works(mux_ctl(set, EPOLL_CTL_MOD, fd, events, data));
}

static inline void mux_del(int set, int fd)
{
	works(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
}

/* Exactly one event comes, with this data; its bits are returned. */
static inline uint32_t mux_one(int set, uint64_t data)
{
	struct epoll_event events[8];
	int n = (int)works(epoll_wait(set, events, 8, MUX_SOON));

	same(n, 1);
	same(events[0].data.u64, data);
	return events[0].events;
}

/* No event comes. */
static inline void mux_none(int set)
{
	struct epoll_event events[8];

	same(epoll_wait(set, events, 8, MUX_QUIET), 0);
}

/* Waits until the socket reports all of `bits` to poll(), which needs no set. */
static inline void mux_settle(int fd, short bits)
{
	uint64_t end = diff_now_ms() + MUX_SOON;
	struct pollfd entry = {.fd = fd, .events = bits};

	do {
		works(poll(&entry, 1, 1));
		if ((entry.revents & bits) == bits)
			return;
	} while (diff_now_ms() < end);
	diff_fail(__FILE__, __LINE__, "fd %d: only %#x of %#x within %d ms", fd,
		(unsigned)entry.revents, (unsigned)bits, MUX_SOON);
}

static inline void mux_send(int fd, const char *text)
{
	diff_write_all(fd, text, strlen(text));
}

static inline void mux_expect(int fd, const char *text)
{
	char got[256];

	diff_read_all(fd, got, strlen(text));
	same_bytes(got, text, strlen(text));
}

#endif
