/* SPDX-License-Identifier: BSD-3-Clause */
/* See tcp.h. Option kinds and lengths: RFC9293:3.1, RFC7323:2.2 and 3.2, RFC2018:2 and 3. */
#include "stack/wire/tcp.h"

#include <string.h>

#include "stack/base/bytes.h"

enum { OPT_END = 0, OPT_NOP = 1, OPT_MSS = 2, OPT_WSCALE = 3, OPT_SACK_OK = 4, OPT_SACK = 5,
	OPT_TS = 8, OPT_FO = 34 };

static void parse_sack(struct wire_tcp *h, struct bytes *body)
{
	while (bytes_left(body) >= 8 && h->sacks_n < WIRE_TCP_SACK_MAX) {
		h->sacks[h->sacks_n].lo = bytes_be32(body);
		h->sacks[h->sacks_n].hi = bytes_be32(body);
		h->sacks_n++;
	}
}

/* body holds exactly the option's value. A wrong length for its kind: ignored. */
static void parse_option(struct wire_tcp *h, uint8_t kind, struct bytes *body)
{
	size_t len = bytes_left(body);

	switch (kind) {
	case OPT_MSS:
		if (len == 2) {
			h->has_mss = true;
			h->mss = bytes_be16(body);
		}
		break;
	case OPT_WSCALE:
		if (len == 1) {
			h->has_wscale = true;
			h->wscale = bytes_u8(body);
		}
		break;
	case OPT_SACK_OK:
		h->sack_ok |= len == 0;
		break;
	case OPT_SACK:
		if (len % 8 == 0)
			parse_sack(h, body);
		break;
	case OPT_TS:
		if (len == 8) {
			h->has_ts = true;
			h->tsval = bytes_be32(body);
			h->tsecr = bytes_be32(body);
		}
		break;
	case OPT_FO:
		if (len != 0 && (len < WIRE_TCP_FO_MIN || len > WIRE_TCP_FO_MAX || len % 2 != 0))
			break;
		h->has_fo = true;
		h->fo_n = (uint8_t)len;
		if (len > 0)
			memcpy(h->fo, bytes_take(body, len), len);
		break;
	default:
		break; /* RFC9293 MUST-6: unknown options are skipped */
	}
}

static void parse_options(struct wire_tcp *h, struct bytes *b)
{
	while (bytes_left(b) > 0) {
		uint8_t kind = bytes_u8(b), len;
		const uint8_t *value;
		struct bytes body;

		if (kind == OPT_END)
			return;
		if (kind == OPT_NOP)
			continue;
		len = bytes_u8(b);
		if (b->bad || len < 2)
			return; /* a length that does not advance must not loop */
		value = bytes_take(b, len - 2u);
		if (value == NULL)
			return;
		body = bytes_over(value, len - 2u);
		parse_option(h, kind, &body);
	}
}

void wire_tcp_parse_options(struct wire_tcp *h, const uint8_t *data, size_t len)
{
	struct bytes options = bytes_over(data, len);

	parse_options(h, &options);
}

static size_t bytes_without_sacks(const struct wire_tcp *h)
{
	size_t n = 0;

	n += h->has_mss ? 4 : 0;
	n += h->has_ts ? (h->sack_ok ? 10 : 12) : 0;
	n += h->sack_ok ? (h->has_ts ? 2 : 4) : 0;
	n += h->has_wscale ? 4 : 0;
	n += h->has_fo ? (2u + h->fo_n + 3) / 4 * 4 : 0;
	return n;
}

/* In what the other options leave of 40 bytes. */
static size_t sack_blocks_that_fit(const struct wire_tcp *h)
{
	size_t fit = (WIRE_TCP_BYTES_MAX - WIRE_TCP_BYTES_MIN - bytes_without_sacks(h) - 4) / 8;

	return h->sacks_n < fit ? h->sacks_n : fit;
}

size_t wire_tcp_options_bytes(const struct wire_tcp *h)
{
	return bytes_without_sacks(h) + (h->sacks_n ? 4 + 8 * sack_blocks_that_fit(h) : 0);
}

static uint8_t *put4(uint8_t *p, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	p[0] = a;
	p[1] = b;
	p[2] = c;
	p[3] = d;
	return p + 4;
}

void wire_tcp_emit_options(const struct wire_tcp *h, uint8_t *p)
{
	if (h->has_mss) {
		*p++ = OPT_MSS;
		*p++ = 4;
		p = wire_put16(p, h->mss);
	}
	/* Pairs of two-byte things share a word with the ten bytes of the timestamps. */
	if (h->sack_ok) {
		if (!h->has_ts)
			p = wire_put16(p, OPT_NOP << 8 | OPT_NOP);
		p = wire_put16(p, OPT_SACK_OK << 8 | 2);
	} else if (h->has_ts) {
		p = wire_put16(p, OPT_NOP << 8 | OPT_NOP);
	}
	if (h->has_ts) {
		p = wire_put16(p, OPT_TS << 8 | 10);
		p = wire_put32(p, h->tsval);
		p = wire_put32(p, h->tsecr);
	}
	if (h->has_wscale)
		p = put4(p, OPT_NOP, OPT_WSCALE, 3, h->wscale);
	if (h->has_fo) {
		p = wire_put16(p, (uint16_t)(OPT_FO << 8 | (2 + h->fo_n)));
		memcpy(p, h->fo, h->fo_n);
		p += h->fo_n;
		if (h->fo_n % 4 == 0)
			p = wire_put16(p, OPT_NOP << 8 | OPT_NOP);
	}
	if (h->sacks_n) {
		size_t blocks = sack_blocks_that_fit(h);

		p = put4(p, OPT_NOP, OPT_NOP, OPT_SACK, (uint8_t)(2 + 8 * blocks));
		for (size_t i = 0; i < blocks; i++)
			p = wire_put32(wire_put32(p, h->sacks[i].lo), h->sacks[i].hi);
	}
}
