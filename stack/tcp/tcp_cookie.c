/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SYN cookies (RFC4987:3.6): a listener that has as many embryos as it may answers SYNs without
 * remembering them. Our initial number says what the handshake must not forget, and proves that it
 * was we who said it:
 *
 *     3 bits  which of the values below the peer's MSS is rounded down to
 *     2 bits  the time, in units of 64 s
 *     27 bits of a keyed hash of all that, the whole time, both ends and the peer's initial number
 *
 * The other options come back in our timestamp's lowest bits, where the peer has timestamps (as
 * Linux does it): without them neither SACK nor window scaling is agreed on.
 *
 * Owns: the form of cookies. Called by: tcp_listen.c.
 */
#include <string.h>

#include "stack/tcp/tcp.h"

#define COOKIE_UNIT (64 * SEC)
#define COOKIE_MAC_BITS 27u
#define COOKIE_MAC_MASK ((1u << COOKIE_MAC_BITS) - 1)
#define COOKIE_AGE_MAX 1u /* units: 64 to 128 s */

/* 1460 and 1440 are Ethernet's, 1400 and 1300 tunnels', 8940 that of large frames, 1220 and 536
 * what must work. */
static const uint16_t mss_of[8] = {216, 536, 1220, 1300, 1400, 1440, 1460, 8940};

/* In the timestamp. */
#define TS_BITS 6u
#define TS_WSCALE 0x0fu
#define TS_WSCALE_NONE 0x0fu
#define TS_SACK 0x10u
#define TS_ECN 0x20u

static uint32_t mac(struct engine *e, const struct tcp_embryo *r, uint32_t time, uint32_t mss)
{
	uint64_t w[6];

	memcpy(&w[0], r->flow.local.addr, 16);
	memcpy(&w[2], r->flow.peer.addr, 16);
	w[4] = (uint64_t)time << 32 | (uint32_t)r->flow.local.port << 16 | r->flow.peer.port;
	w[5] = (uint64_t)mss << 32 | r->irs;
	return (uint32_t)siphash(&e->tcp->secret, w, 6) & COOKIE_MAC_MASK;
}

static uint32_t time_of(const struct engine *e)
{
	return (uint32_t)(e->now_ns / COOKIE_UNIT);
}

/* Not after the present, so that the peer's clock check (RFC7323:5) sees ours go forwards only. */
static uint32_t ts_with_options(const struct engine *e, const struct tcp_embryo *r)
{
	uint32_t now = (uint32_t)(e->now_ns / MS), ts,
		 options = r->wscale_ok ? r->snd_wscale : TS_WSCALE_NONE;

	options |= (r->sack_ok ? TS_SACK : 0) | (r->ecn_ok ? TS_ECN : 0);
	ts = now >> TS_BITS << TS_BITS | options;
	if (seq_gt(ts, now))
		ts -= 1u << TS_BITS;
	return ts + r->ts_offset;
}

void tcp_cookie_send(struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p)
{
	struct engine *e = lp->sk.engine;
	uint32_t mss = 7, time = time_of(e);
	struct tcp_embryo r;

	tcp_embryo_read(&r, lp, s, p);
	if (!r.ts_ok)
		r.sack_ok = r.wscale_ok = r.ecn_ok = 0;
	while (mss > 0 && mss_of[mss] > r.peer_mss)
		mss--;
	r.iss = mss << 29 | (time & 3) << COOKIE_MAC_BITS | mac(e, &r, time, mss);
	tcp_listening(lp)->cookie_ns = e->now_ns;
	e->counters.tcp_cookies_out++;
	tcp_embryo_answer(&r, ts_with_options(e, &r));
}

static void options_from_ts(struct tcp_embryo *r, const struct wire_tcp *h)
{
	uint32_t options = (h->tsecr - r->ts_offset) & ((1u << TS_BITS) - 1);

	r->sack_ok = h->has_ts && (options & TS_SACK);
	r->ecn_ok = h->has_ts && (options & TS_ECN);
	r->wscale_ok = h->has_ts && (options & TS_WSCALE) != TS_WSCALE_NONE;
	r->snd_wscale = r->wscale_ok ? options & TS_WSCALE : 0;
	if (r->snd_wscale > 14)
		r->snd_wscale = 14;
}

bool tcp_cookie_check(
	struct tcp_sock *lp, const struct tcp_seg *s, const struct pkt *p, struct tcp_embryo *r)
{
	struct engine *e = lp->sk.engine;
	uint32_t cookie = s->h.ack - 1, now = time_of(e), age, mss = cookie >> 29;
	uint64_t sent = tcp_listening(lp)->cookie_ns;

	/* None is about: a stray ACK must not cost a hash, nor be believed. */
	if (sent == 0 || e->now_ns - sent > (COOKIE_AGE_MAX + 1) * COOKIE_UNIT)
		return false;
	age = (now - (cookie >> COOKIE_MAC_BITS)) & 3;
	tcp_embryo_read(r, lp, s, p);
	r->irs = s->h.seq - 1;
	r->iss = cookie;
	if (age > COOKIE_AGE_MAX || (cookie & COOKIE_MAC_MASK) != mac(e, r, now - age, mss)) {
		e->counters.tcp_cookies_bad++;
		return false;
	}
	e->counters.tcp_cookies_in++;
	r->peer_mss = mss_of[mss];
	options_from_ts(r, &s->h);
	return true;
}
