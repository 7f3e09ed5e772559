/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control messages of datagrams (cmsg(3), ip(7), ipv6(7), udp(7)) and the error queue (IP_RECVERR).
 * Owns: cv_sock.wants. Called by: rx.c, tx.c, option.c.
 */
#ifndef CULVERT_SHIM_ANCILLARY_H
#define CULVERT_SHIM_ANCILLARY_H

#include <stdbool.h>
#include <sys/socket.h>

#include "shim/sock.h"
#include "stack/api/command.h"

/* Bits of cv_sock.wants. */
enum want {
	WANT_PKTINFO = 1u << 0,
	WANT_PKTINFO6 = 1u << 1,
	WANT_TTL = 1u << 2,
	WANT_TOS = 1u << 3,
	WANT_HOPS = 1u << 4,
	WANT_TCLASS = 1u << 5,
	WANT_ORIGDST = 1u << 6,
	WANT_ORIGDST6 = 1u << 7,
	WANT_DROPS = 1u << 8,
	WANT_TIME = 1u << 9,
	WANT_TIME_NS = 1u << 10,
	WANT_GRO = 1u << 11,
	WANT_ANSWER = 1u << 12, /* a send may be refused for what was set: it waits for the engine's answer */
};

/* Option opt was set to value on f's socket. */
void ancillary_note(struct file *f, unsigned opt, const void *value);
/* What goes with a received datagram into msg's control buffer; sets msg_controllen, and MSG_CTRUNC in msg_flags.
 * extra: NULL when the engine gave none. */
void ancillary_put(const struct file *f, struct msghdr *msg, const struct cv_rxd *d,
	const struct cv_rxd_extra *extra);
/* Reads msg's control buffer for a datagram to a destination of that enum cv_family. 0: nothing is asked for, 1: with
 * holds it, -errno. */
int ancillary_take(const struct file *f, const struct msghdr *msg, uint8_t to, struct cv_send_with *with);
/* recvmsg(MSG_ERRQUEUE): never waits. */
ssize_t ancillary_error(int fd, struct file *f, struct msghdr *msg, int flags);

#endif
