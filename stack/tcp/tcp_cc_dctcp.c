/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DCTCP (RFC8257): the window is reduced by how much of it was marked, not by half: queues stay near the switch's marking
 * threshold. For data centres, where all senders of a link use it. Between the marks, and after a loss, it is NewReno;
 * also towards a peer that has no ECN.
 *
 * Called by: tcp_cc.c; tcp_ecn.c for what was marked.
 */
#include <assert.h>

#include "stack/tcp/tcp.h"

#define ALPHA_ONE 1024u
#define G_SHIFT 4 /* g = 1/16 (RFC8257:4.2) */

struct dctcp {
	uint64_t reno;       /* Reno's state */
	uint32_t alpha;      /* part of the bytes that were marked, smoothed; of ALPHA_ONE */
	uint32_t acked, marked; /* bytes of this window, */
	uint32_t window_end; /* which ends here */
};
static_assert(sizeof(struct dctcp) <= TCP_CC_PRIV, "DCTCP's state fits");

static struct dctcp *state_of(struct tcp_sock *tp)
{
	return (struct dctcp *)tp->cc_priv;
}

static void dctcp_init(struct tcp_sock *tp)
{
	state_of(tp)->alpha = ALPHA_ONE; /* careful until something is known */
}

/* RFC8257:3.3 (4) to (7). */
static void dctcp_delivered(struct tcp_sock *tp, uint32_t bytes, bool marked)
{
	struct dctcp *d = state_of(tp);
	uint32_t part;

	if (d->acked == 0) /* what is under way when the first ACK of it comes */
		d->window_end = tp->snd_nxt;
	d->acked += bytes;
	if (marked)
		d->marked += bytes;
	if (seq_lt(tp->snd_una + bytes, d->window_end) || d->acked == 0)
		return;
	part = (uint32_t)((uint64_t)d->marked * ALPHA_ONE / d->acked);
	/* The last bits of alpha would never go. */
	d->alpha -= d->alpha >> G_SHIFT != 0 ? d->alpha >> G_SHIFT : d->alpha;
	d->alpha += part >> G_SHIFT;
	d->acked = d->marked = 0;
}

/* RFC8257:3.3 (9). */
static uint32_t dctcp_marked(struct tcp_sock *tp)
{
	uint32_t least = 2 * tcp_eff_mss(tp);
	uint32_t cwnd = tp->cwnd - (uint32_t)((uint64_t)tp->cwnd * state_of(tp)->alpha / (2 * ALPHA_ONE));

	return cwnd > least ? cwnd : least;
}

static void dctcp_acked(struct tcp_sock *tp, uint32_t bytes)
{
	tcp_cc_reno.acked(tp, bytes);
}

/* RFC8257:3.4: a loss is a loss. */
static uint32_t dctcp_ssthresh(struct tcp_sock *tp)
{
	return tcp_cc_reno.ssthresh(tp);
}

const struct tcp_cc tcp_cc_dctcp = {
	.name = "dctcp",
	.ecn = true,
	.init = dctcp_init,
	.acked = dctcp_acked,
	.delivered = dctcp_delivered,
	.ssthresh = dctcp_ssthresh,
	.marked = dctcp_marked,
};
