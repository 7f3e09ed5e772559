/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TCP header and its options on the wire (RFC9293:3.1, RFC7323, RFC2018): parse and emit, no state.
 * Numbers are in host order.
 */
#ifndef CULVERT_WIRE_TCP_H
#define CULVERT_WIRE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/base/ranges.h"

enum wire_tcp_flags {
	TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_PSH = 0x08,
	TCP_ACK = 0x10, TCP_URG = 0x20, TCP_ECE = 0x40, TCP_CWR = 0x80,
};

#define WIRE_TCP_BYTES_MIN 20
#define WIRE_TCP_BYTES_MAX 60
#define WIRE_TCP_SACK_MAX 4

struct wire_tcp {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint8_t header_bytes;  /* options included */
	uint16_t wnd, urg;
	/* options */
	bool has_mss, has_wscale, has_ts, sack_ok;
	uint16_t mss;
	uint8_t wscale; /* as sent; RFC7323:2.3 caps it at 14 where it is used */
	uint8_t sacks_n;
	uint32_t tsval, tsecr;
	struct range sacks[WIRE_TCP_SACK_MAX];
};

/* Reads the header at data (len bytes of TCP). False when it is truncated, its data offset is below 20
 * bytes or beyond len. A malformed option ends the options (RFC9293:3.1, MUST-7 asks for no crash);
 * those before it count. */
bool wire_tcp_parse(struct wire_tcp *h, const uint8_t *data, size_t len);

/* Bytes that wire_tcp_emit() will write for h: 20 to 60. */
size_t wire_tcp_emit_bytes(const struct wire_tcp *h);
/* Writes the header, checksum zero, options in Linux's order (mss, sackOK, TS, nop, wscale; TS, SACK).
 * SACK blocks that do not fit are left out. Returns the bytes written. */
size_t wire_tcp_emit(const struct wire_tcp *h, uint8_t *out);

#endif
