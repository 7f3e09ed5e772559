/* SPDX-License-Identifier: BSD-3-Clause */
/* Congestion control algorithms, by name. NewReno's window: RFC5681:3.1 with byte counting (RFC3465), in slow start
 * without a limit, as Linux: a receiver that acknowledges bursts sends few ACKs, each for many segments. */
#include <string.h>

#include "stack/tcp/tcp.h"

static void reno_init(struct tcp_sock *tp)
{
	tp->cc_priv[0] = 0; /* bytes acknowledged since the last increase */
}

static void reno_acked(struct tcp_sock *tp, uint32_t bytes)
{
	if (tp->cwnd < tp->ssthresh) {
		uint32_t n = tp->ssthresh - tp->cwnd;

		n = bytes < n ? bytes : n;
		tp->cwnd += n;
		bytes -= n;
	}
	tp->cc_priv[0] += bytes;
	while (tp->cc_priv[0] >= tp->cwnd) {
		tp->cc_priv[0] -= tp->cwnd;
		tp->cwnd += tcp_eff_mss(tp);
	}
}

static uint32_t reno_ssthresh(struct tcp_sock *tp)
{
	uint32_t half = (tp->snd_max - tp->snd_una) / 2, least = 2 * tcp_eff_mss(tp);

	tp->cc_priv[0] = 0; /* what was counted for a larger window */
	return half > least ? half : least;
}

const struct tcp_cc tcp_cc_reno = {"reno", reno_init, reno_acked, reno_ssthresh};

const struct tcp_cc *tcp_cc_find(const char *name)
{
	return strcmp(name, "reno") == 0 ? &tcp_cc_reno : NULL;
}
