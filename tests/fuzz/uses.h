/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What programs do with datagram sockets, for fuzz targets: options, memberships and filters, sends with control data, reads,
 * the error queue, binding and connecting anew. One step is an operation on one of a few sockets that share a port.
 */
#ifndef CULVERT_TESTS_USES_H
#define CULVERT_TESTS_USES_H

#include "tests/fuzz/fuzz.h"
#include "tests/world/world.h"

#define USES_SOCKS 6u /* even ones are IPv4's */
#define USES_PORT 53

struct uses {
	struct world *w;
	struct sock *sk[USES_SOCKS];
};

/* The fixed addresses of both hosts, 0 is ours. */
extern const uint8_t uses_addr6[2][16];

/* The world's hosts have their addresses of both families; sockets of host 0 are opened, on its workers in turn. how: seven
 * options that may be set, a bit each. */
void uses_start(struct uses *u, struct world *w, uint8_t how);
/* what: the operation and the socket (or all of them), any number. More is taken from `in`. */
void uses_step(struct uses *u, struct fuzz_input *in, uint16_t what);
void uses_end(struct uses *u);

#endif
