/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted peer (script.h) of a connection with segments under way, which tells by number what it has of them: where
 * tests of loss and its repair begin.
 */
#ifndef CULVERT_TESTS_FLIGHT_H
#define CULVERT_TESTS_FLIGHT_H

#include "tests/world/script.h"

#define RTT (20 * MS)
#define N 1000u /* bytes of a segment */

/* Ten segments of N bytes are under way over a path of RTT, at time 0. */
struct sock *ten_under_way_with(struct script *s, bool sack);
struct sock *ten_under_way(struct script *s);
/* The peer has all before segment `ack`, and those from lo to hi (not included). */
void told(struct script *s, uint32_t ack, uint32_t lo, uint32_t hi);
/* Segment i comes ms after since_ns, within what the timing wheel may take. */
void comes(struct script *s, uint32_t i, uint64_t since_ns, uint64_t ms);

/* The SACK blocks of a segment, relative to the peer's numbers. */
void blocks_are(const struct script *s, const struct script_seg *seg, const struct range *r, unsigned n);
#define BLOCKS(s, seg, ...)                                                                                  \
	blocks_are(s, seg, (const struct range[]){__VA_ARGS__},                                              \
		sizeof((const struct range[]){__VA_ARGS__}) / sizeof(struct range))

#endif
