/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CUBIC (RFC9438), the default: after a loss the window comes back to where it was, stays about there, and goes on, along a
 * cubic of the time since the loss, whatever the round trip time. The first slow start ends by HyStart++ (RFC9406), when
 * the round trips of one round say that a queue builds up, not when it has overflowed.
 *
 * Units: windows in bytes, times in ticks of 2^20 ns (those of the timing wheel); no floating point. Times are 32 bits: they
 * go round after 52 days.
 * Called by: tcp_cc.c.
 */
#include <assert.h>
#include <string.h>

#include "stack/tcp/tcp.h"

/* beta = 0.7, C = 0.4 segments/s^3 (RFC9438:5). C per tick^3 is 4.6117e-10, in 2^-40 segments: */
#define C_PER_TICK3 507ull
#define TICKS_MAX (1u << 20) /* 18 minutes: beyond it the curve means nothing */
#define BETA(x) ((uint32_t)((uint64_t)(x) * 7 / 10))
#define FAST_CONVERGENCE(x) ((uint32_t)((uint64_t)(x) * 17 / 20)) /* (1 + beta) / 2 */

/* HyStart++ (RFC9406:4.2, 4.3) */
#define ROUND_SAMPLES 8u
#define RTT_THRESH_MIN_US 4000u
#define RTT_THRESH_MAX_US 16000u
#define CSS_DIVISOR 4u
#define CSS_ROUNDS 5u

/* Congestion avoidance. epoch 0: the next ACK begins one. */
struct cubic {
	uint32_t w_max, prior; /* cwnd at the last reduction: the plateau, and what it really was */
	uint32_t epoch, last;  /* ticks at which it began, and of the last ACK */
	uint32_t k;            /* ticks from the epoch to the plateau */
	uint32_t w_est, est_bytes; /* what Reno would have; acknowledged since that grew */
	uint32_t rest;         /* of cwnd's growth: below a byte, in parts of cwnd */
};

/* The first slow start. */
struct hystart {
	uint32_t round_end; /* sequence number */
	uint32_t last_min_us, min_us; /* of the rounds' RTTs; 0: none */
	uint32_t css_base_us; /* in conservative slow start: what it began with */
	uint32_t turn; /* paced: of the last sample */
	uint8_t samples, css_rounds;
	bool started, css;
};

union state {
	struct hystart h;
	struct cubic c;
};
static_assert(sizeof(union state) <= TCP_CC_PRIV, "CUBIC's state fits");

static union state *state_of(struct tcp_sock *tp)
{
	return (union state *)tp->cc_priv;
}

static uint32_t ticks_now(const struct tcp_sock *tp)
{
	uint32_t t = (uint32_t)(tp->sk.engine->now_ns >> WHEEL_TICK_SHIFT);

	return t != 0 ? t : 1;
}

/* The largest x with x^3 <= n, bit by bit: once for a loss. */
uint32_t tcp_cubic_root(uint64_t n)
{
	uint64_t x = 0;

	for (uint64_t bit = 1u << 21; bit != 0; bit >>= 1) {
		uint64_t t = x | bit;

		if (t * t * t <= n && t < 2642246) /* t^3 < 2^64 */
			x = t;
	}
	return (uint32_t)x;
}

/* W_cubic at t ticks into the epoch (RFC9438:4.2, figure 1). */
static uint32_t w_cubic(const struct tcp_sock *tp, const struct cubic *c, uint32_t t)
{
	uint64_t d = t > c->k ? t - c->k : c->k - t, delta;

	d = d < TICKS_MAX ? d : TICKS_MAX;
	delta = (uint64_t)(((unsigned __int128)(d * d * d) * (C_PER_TICK3 * tcp_eff_mss(tp))) >> 40);
	if (t < c->k)
		return delta < c->w_max ? c->w_max - (uint32_t)delta : 0;
	delta += c->w_max;
	return delta < INT32_MAX ? (uint32_t)delta : INT32_MAX;
}

static void epoch_begin(struct tcp_sock *tp, struct cubic *c, uint32_t now)
{
	c->epoch = c->last = now;
	c->w_est = tp->cwnd;
	c->est_bytes = c->rest = 0;
	c->k = 0;
	if (tp->cwnd >= c->w_max)
		c->w_max = tp->cwnd;
	else /* K = cbrt((W_max - cwnd) / C), in segments and ticks (RFC9438:4.2, figure 2) */
		c->k = tcp_cubic_root((uint64_t)(((unsigned __int128)(c->w_max - tp->cwnd) << 40) /
			(C_PER_TICK3 * tcp_eff_mss(tp))));
}

/* What Reno would have by now with CUBIC's beta (RFC9438:4.3): alpha = 3 (1 - beta) / (1 + beta) = 9/17 until it is where
 * the loss was, then 1. */
static void reno_friendly(struct tcp_sock *tp, struct cubic *c, uint32_t bytes)
{
	uint64_t each = c->w_est < c->prior ? (uint64_t)tp->cwnd * 17 / 9 : tp->cwnd;

	c->est_bytes += bytes;
	if (c->est_bytes < each)
		return;
	c->w_est += (uint32_t)(c->est_bytes / each) * tcp_eff_mss(tp);
	c->est_bytes = (uint32_t)(c->est_bytes % each);
}

static void avoidance(struct tcp_sock *tp, uint32_t bytes)
{
	struct cubic *c = &state_of(tp)->c;
	uint32_t now = ticks_now(tp), rtt = (uint32_t)(((uint64_t)tp->srtt_us * 1000) >> WHEEL_TICK_SHIFT), target;
	uint64_t grow;

	if (c->epoch == 0)
		epoch_begin(tp, c, now);
	/* Time in which cwnd was not what limited does not count (RFC9438:4.2, and 5.8): no ACK came here. */
	if (now - c->last > 2 * rtt + 2)
		c->epoch += now - c->last;
	c->last = now;
	reno_friendly(tp, c, bytes);
	target = w_cubic(tp, c, now - c->epoch + rtt);
	if (target > tp->cwnd + tp->cwnd / 2)
		target = tp->cwnd + tp->cwnd / 2;
	if (w_cubic(tp, c, now - c->epoch) < c->w_est) {
		if (c->w_est > tp->cwnd)
			tp->cwnd = c->w_est;
		return;
	}
	if (target <= tp->cwnd)
		return;
	/* (target - cwnd) / cwnd for each byte; what is less than a byte is kept. */
	grow = (uint64_t)(target - tp->cwnd) * bytes + c->rest;
	c->rest = (uint32_t)(grow % tp->cwnd);
	tp->cwnd += (uint32_t)(grow / tp->cwnd);
}

/* Leaves the first slow start for good. */
static void hystart_end(struct tcp_sock *tp)
{
	memset(tp->cc_priv, 0, sizeof(tp->cc_priv));
	tp->ssthresh = tp->cwnd;
}

static bool is_first_slow_start(const struct tcp_sock *tp)
{
	return tp->ssthresh == UINT32_MAX;
}

static void hystart_round(struct tcp_sock *tp, struct hystart *h)
{
	h->last_min_us = h->min_us;
	h->min_us = 0;
	h->samples = 0;
	h->round_end = tp->snd_nxt;
	if (h->css && ++h->css_rounds == CSS_ROUNDS)
		hystart_end(tp);
}

static uint32_t thresh_of(uint32_t min_us)
{
	uint32_t thresh = min_us / 8;

	thresh = thresh > RTT_THRESH_MIN_US ? thresh : RTT_THRESH_MIN_US;
	return thresh < RTT_THRESH_MAX_US ? thresh : RTT_THRESH_MAX_US;
}

/* Of a paced connection no burst of its own makes the round trip longer: a few turns in a row that tell of it tell that
 * the path is full. It is high time: paced, the path shows nothing until the window is near what it holds, a
 * round's least would tell one round later, and rounds in CSS would go on beyond it. */
static void hystart_paced(struct tcp_sock *tp, struct hystart *h, uint32_t rtt_us)
{
	uint32_t turn = (uint32_t)tp->sk.engine->now_ns;

	/* Turns are counted, not ACKs, of which a burst may be made one. */
	if (turn != h->turn && h->samples >= ROUND_SAMPLES) {
		if (h->min_us >= tp->min_rtt_us + thresh_of(tp->min_rtt_us)) {
			hystart_end(tp);
			return;
		}
		h->min_us = 0;
		h->samples = 0;
	}
	h->samples = (uint8_t)(h->samples + (turn != h->turn && h->samples < UINT8_MAX));
	h->turn = turn;
	h->css = false;
	if (h->min_us == 0 || rtt_us < h->min_us)
		h->min_us = rtt_us;
}

/* RFC9406 grows by a quarter for five rounds in any case, which on a long path is three times the window and a queue's end.
 * A later round that is longer again by as much is no jitter: that ends it. */
static void hystart_look(struct tcp_sock *tp, struct hystart *h)
{
	uint32_t thresh = thresh_of(h->last_min_us);

	if (h->samples < ROUND_SAMPLES || h->last_min_us == 0)
		return;
	if (h->css && h->min_us < h->css_base_us) {
		h->css = false; /* it was jitter */
	} else if (h->css && h->css_rounds > 0 && h->min_us >= h->css_base_us + thresh) {
		hystart_end(tp);
	} else if (!h->css && h->min_us >= h->last_min_us + thresh) {
		h->css = true;
		h->css_rounds = 0;
		h->css_base_us = h->min_us;
	}
}

static void cubic_rtt(struct tcp_sock *tp, uint32_t rtt_us)
{
	struct hystart *h = &state_of(tp)->h;

	if (!is_first_slow_start(tp))
		return;
	if (tp->pace != NULL) {
		hystart_paced(tp, h, rtt_us);
		return;
	}
	if (!h->started || seq_geq(tp->snd_una, h->round_end)) {
		h->started = true;
		hystart_round(tp, h);
		if (!is_first_slow_start(tp))
			return;
	}
	if (h->min_us == 0 || rtt_us < h->min_us)
		h->min_us = rtt_us;
	if (h->samples < UINT8_MAX)
		h->samples++;
	hystart_look(tp, h);
}

static void cubic_acked(struct tcp_sock *tp, uint32_t bytes)
{
	if (tp->cwnd < tp->ssthresh) {
		bool css = is_first_slow_start(tp) && state_of(tp)->h.css;

		bytes = tcp_slow_start(tp, css ? bytes / CSS_DIVISOR : bytes);
		if (bytes == 0 || tp->cwnd < tp->ssthresh)
			return;
	}
	avoidance(tp, bytes);
}

/* RFC9438:4.6, 4.7. */
static uint32_t cubic_ssthresh(struct tcp_sock *tp)
{
	struct cubic *c = &state_of(tp)->c;
	uint32_t least = 2 * tcp_eff_mss(tp), ssthresh = BETA(tcp_cc_flight(tp));

	if (is_first_slow_start(tp))
		memset(c, 0, sizeof(*c));
	c->prior = tp->cwnd;
	c->w_max = tp->cwnd < c->w_max ? FAST_CONVERGENCE(tp->cwnd) : tp->cwnd;
	c->epoch = 0;
	return ssthresh > least ? ssthresh : least;
}

static void cubic_event(struct tcp_sock *tp, enum tcp_cc_event event)
{
	struct cubic *c = &state_of(tp)->c;

	if (is_first_slow_start(tp)) {
		memset(tp->cc_priv, 0, sizeof(tp->cc_priv)); /* after silence the rounds begin anew */
		return;
	}
	c->epoch = 0;
	if (event == TCP_CC_RTO) /* the next epoch begins at its plateau (RFC9438:4.8) */
		c->w_max = 0;
	else if (event == TCP_CC_UNDO) /* (RFC9438:4.9) */
		c->w_max = c->prior;
}

const struct tcp_cc tcp_cc_cubic = {
	.name = "cubic",
	.acked = cubic_acked,
	.rtt = cubic_rtt,
	.ssthresh = cubic_ssthresh,
	.event = cubic_event,
};
