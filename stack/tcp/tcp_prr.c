/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Proportional rate reduction (RFC6937, RFC9937): in a recovery each ACK lets go as much as brings the window
 * down to ssthresh by its end; and below ssthresh no more than arrives (CRB), or an MSS above it where the ACK shows
 * that the repair works (SSRB). Bytes.
 */
#include "stack/tcp/tcp_loss.h"

void tcp_prr_begin(struct tcp_loss *l, uint32_t under_way)
{
	l->prr_delivered = l->prr_out = 0;
	l->prr_from = under_way > 0 ? under_way : 1;
}

uint32_t tcp_prr_sndcnt(struct tcp_loss *l, uint32_t pipe, uint32_t ssthresh, uint32_t delivered, bool safe,
	uint32_t mss)
{
	uint32_t n, most;

	l->prr_delivered += delivered;
	if (pipe > ssthresh) {
		uint64_t share = ((uint64_t)l->prr_delivered * ssthresh + l->prr_from - 1) / l->prr_from;

		n = share > l->prr_out ? (uint32_t)(share - l->prr_out) : 0;
	} else {
		n = l->prr_delivered > l->prr_out ? l->prr_delivered - l->prr_out : 0;
		if (n < delivered)
			n = delivered;
		if (safe)
			n += mss;
		most = ssthresh - pipe;
		if (n > most)
			n = most;
	}
	/* The fast retransmit goes in any case. */
	return n < mss && l->prr_out == 0 ? mss : n;
}
