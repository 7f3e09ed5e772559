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
#include <string.h>

#include "stack/base/compiler.h"
#include "stack/base/ranges.h"

enum wire_tcp_flags {
	TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_PSH = 0x08,
	TCP_ACK = 0x10, TCP_URG = 0x20, TCP_ECE = 0x40, TCP_CWR = 0x80,
};

#define WIRE_TCP_BYTES_MIN 20
#define WIRE_TCP_BYTES_MAX 60
#define WIRE_TCP_SACK_MAX 4
#define WIRE_TCP_FO_MIN 4
#define WIRE_TCP_FO_MAX 16

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
	bool has_fo;  /* Fast Open (RFC7413:4.1.1): a cookie of fo_n bytes, */
	uint8_t fo_n; /* 0: it asks for one */
	uint32_t tsval, tsecr;
	struct range sacks[WIRE_TCP_SACK_MAX]; /* from here on nothing is zeroed */
	uint8_t fo[WIRE_TCP_FO_MAX];
};

/* Reads the header at data (len bytes of TCP). False when it is truncated, its data offset is below 20
 * bytes or beyond len. A malformed option ends the options (RFC9293:3.1, MUST-7 asks for no crash);
 * those before it count. */
static inline bool wire_tcp_parse(struct wire_tcp *h, const uint8_t *data, size_t len);

/* Bytes that wire_tcp_emit() will write for h: 20 to 60. */
static inline size_t wire_tcp_emit_bytes(const struct wire_tcp *h);
/* Writes the header, checksum zero, options in Linux's order (mss, sackOK, TS, nop, wscale; TS, SACK).
 * SACK blocks that do not fit are left out. Returns the bytes written. */
static inline size_t wire_tcp_emit(const struct wire_tcp *h, uint8_t *out);

/* --- inline, because each segment passes here */

/* len bytes of options at data, added to h. */
void wire_tcp_parse_options(struct wire_tcp *h, const uint8_t *data, size_t len);

static inline uint16_t wire_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_get32(const uint8_t *p)
{
	return (uint32_t)wire_get16(p) << 16 | wire_get16(p + 2);
}

/* What nearly every segment of an established connection has: NOP, NOP, timestamps (RFC7323:A). */
#define WIRE_TCP_TS_ALONE 0x0101080au

static inline bool wire_tcp_parse(struct wire_tcp *h, const uint8_t *p, size_t len)
{
	size_t bytes;

	if (cv_unlikely(len < WIRE_TCP_BYTES_MIN))
		return false;
	bytes = (p[12] >> 4) * 4u;
	if (cv_unlikely(bytes < WIRE_TCP_BYTES_MIN || bytes > len))
		return false;
	memset(h, 0, offsetof(struct wire_tcp, sacks));
	h->sport = wire_get16(p);
	h->dport = wire_get16(p + 2);
	h->seq = wire_get32(p + 4);
	h->ack = wire_get32(p + 8);
	h->header_bytes = (uint8_t)bytes;
	h->flags = p[13];
	h->wnd = wire_get16(p + 14);
	h->urg = wire_get16(p + 18); /* between them the checksum: verified below us */
	p += WIRE_TCP_BYTES_MIN;
	if (cv_likely(bytes == WIRE_TCP_BYTES_MIN + 12 && wire_get32(p) == WIRE_TCP_TS_ALONE)) {
		h->has_ts = true;
		h->tsval = wire_get32(p + 4);
		h->tsecr = wire_get32(p + 8);
	} else if (bytes > WIRE_TCP_BYTES_MIN) {
		wire_tcp_parse_options(h, p, bytes - WIRE_TCP_BYTES_MIN);
	}
	return true;
}

static inline uint8_t *wire_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static inline uint8_t *wire_put32(uint8_t *p, uint32_t v)
{
	return wire_put16(wire_put16(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

/* What all options of h take, and writing them. */
size_t wire_tcp_options_bytes(const struct wire_tcp *h);
void wire_tcp_emit_options(const struct wire_tcp *h, uint8_t *p);

/* No option but timestamps. */
static inline bool wire_tcp_is_plain(const struct wire_tcp *h)
{
	return !(h->has_mss | h->has_wscale | h->sack_ok | h->has_fo | h->sacks_n);
}

static inline size_t wire_tcp_emit_bytes(const struct wire_tcp *h)
{
	if (cv_likely(wire_tcp_is_plain(h)))
		return WIRE_TCP_BYTES_MIN + (h->has_ts ? 12u : 0u);
	return WIRE_TCP_BYTES_MIN + wire_tcp_options_bytes(h);
}

static inline size_t wire_tcp_emit(const struct wire_tcp *h, uint8_t *out)
{
	size_t bytes = wire_tcp_emit_bytes(h);
	uint8_t *p = out;

	p = wire_put16(p, h->sport);
	p = wire_put16(p, h->dport);
	p = wire_put32(p, h->seq);
	p = wire_put32(p, h->ack);
	*p++ = (uint8_t)(bytes / 4 << 4);
	*p++ = h->flags;
	p = wire_put16(p, h->wnd);
	p = wire_put16(p, 0);
	p = wire_put16(p, h->urg);
	if (cv_unlikely(!wire_tcp_is_plain(h))) {
		wire_tcp_emit_options(h, p);
	} else if (h->has_ts) {
		p = wire_put32(p, WIRE_TCP_TS_ALONE);
		p = wire_put32(p, h->tsval);
		(void)wire_put32(p, h->tsecr);
	}
	return bytes;
}

#endif
