/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Congestion control: the algorithms by name, and what all of them share.
 * NewReno's window: RFC5681:3.1 with byte counting (RFC3465), in slow start without a limit, as Linux: a receiver that
 * acknowledges bursts sends few ACKs, each for many segments.
 */
#include <string.h>

#include "stack/tcp/tcp.h"

uint32_t tcp_slow_start(struct tcp_sock *tp, uint32_t bytes)
{
	uint32_t n = tp->ssthresh - tp->cwnd;

	n = bytes < n ? bytes : n;
	tp->cwnd += n;
	return bytes - n;
}

static void reno_acked(struct tcp_sock *tp, uint32_t bytes)
{
	if (tp->cwnd < tp->ssthresh)
		bytes = tcp_slow_start(tp, bytes);
	tp->cc_priv[0] += bytes; /* acknowledged since the last increase */
	while (tp->cc_priv[0] >= tp->cwnd) {
		tp->cc_priv[0] -= tp->cwnd;
		tp->cwnd += tcp_eff_mss(tp);
	}
}

static uint32_t reno_ssthresh(struct tcp_sock *tp)
{
	uint32_t half = tcp_cc_flight(tp) / 2, least = 2 * tcp_eff_mss(tp);

	tp->cc_priv[0] = 0; /* what was counted for a larger window */
	return half > least ? half : least;
}

const struct tcp_cc tcp_cc_reno = {.name = "reno", .acked = reno_acked, .ssthresh = reno_ssthresh};

static const struct tcp_cc *const algorithms[] = {
#define X(name) &tcp_cc_##name,
#include "stack/core/tcp_congestion.def"
#undef X
};

const struct tcp_cc *tcp_cc_find(const char *name)
{
	for (size_t i = 0; i < RTE_DIM(algorithms); i++) {
		if (strcmp(name, algorithms[i]->name) == 0)
			return algorithms[i];
	}
	return NULL;
}

const struct tcp_cc *tcp_cc_default(const struct engine_tcp_config *config)
{
	return algorithms[config->congestion_control < RTE_DIM(algorithms) ? config->congestion_control : 0];
}

void tcp_cc_init(struct tcp_sock *tp)
{
	memset(tp->cc_priv, 0, sizeof(tp->cc_priv));
	tp->cwnd_limited = 0;
	tp->cwnd_used = 0;
	tp->cwnd_used_seq = tp->snd_nxt;
	if (tp->cc->init != NULL)
		tp->cc->init(tp);
}

uint32_t tcp_cc_reduce(struct tcp_sock *tp)
{
	tp->ecn_cwr = tp->ecn_ok;
	tp->ecn_until = tp->snd_max;
	return tp->ecn_told && tp->cc->marked != NULL ? tp->cc->marked(tp) : tp->cc->ssthresh(tp);
}

void tcp_cc_event(struct tcp_sock *tp, enum tcp_cc_event event)
{
	if (tp->cc->event != NULL)
		tp->cc->event(tp, event);
}

void tcp_cc_grow(struct tcp_sock *tp, uint32_t bytes, const struct wire_tcp *h)
{
	/* A timestamp gives every ACK's round trip, to the millisecond. */
	if (tp->cwnd < tp->ssthresh && tp->cc->rtt != NULL && h != NULL && h->has_ts && h->tsecr != 0) {
		uint32_t ms = tcp_ts_now(tp) - h->tsecr;

		if (ms < TCP_RTO_MAX / MS)
			tp->cc->rtt(tp, ms * 1000 + 1);
	}
	tp->cc->acked(tp, bytes);
}

void tcp_cc_sent(struct tcp_sock *tp, bool limited)
{
	uint32_t used = tp->snd_max - tp->snd_una;

	/* Whether cwnd was full at any time holds for a window of data; if not, how far it was used. */
	if (limited || seq_geq(tp->snd_una, tp->cwnd_used_seq) ||
		(!tp->cwnd_limited && used > tp->cwnd_used)) {
		tp->cwnd_limited = limited;
		tp->cwnd_used = used;
		tp->cwnd_used_seq = tp->snd_nxt;
	}
}

/* RFC5681:4.1 would have all of cwnd forgotten after one RTO; as in Linux it halves with each RTO of silence
 * (RFC2861:3.1), down to what a connection begins with. */
void tcp_cc_restart(struct tcp_sock *tp)
{
	uint64_t idle = tp->sk.engine->now_ns - tp->last_data_tx_ns, rto = tp->rto_us * US;
	uint32_t least = tcp_initial_window(tp), kept = tp->cwnd / 4 * 3;

	if (tp->last_data_tx_ns == 0 || idle <= rto || tp->cwnd <= least)
		return;
	if (tp->ssthresh < kept) /* where to: RFC2861:3.1 */
		tp->ssthresh = kept;
	for (; idle > rto && tp->cwnd > least; idle -= rto)
		tp->cwnd /= 2;
	if (tp->cwnd < least)
		tp->cwnd = least;
	tcp_cc_event(tp, TCP_CC_IDLE);
}
