/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only a connection in trouble needs, from pools of the engine: an idle or healthy one has neither.
 *
 * struct tcp_loss: what the peer tells of our segments that did not arrive, and what is done about it. Taken at the first
 * sign of loss or reordering, given back when all is acknowledged again (tcp_recovery.c).
 * struct tcp_ooo: segments of the peer that wait for a gap before them to close (tcp_receive.c).
 *
 * When a pool is empty (counted): without a tcp_loss the first segment is sent again at each timeout, and nothing more;
 * without a tcp_ooo what comes out of order is dropped. The connection goes on either way.
 */
#ifndef CULVERT_TCP_LOSS_H
#define CULVERT_TCP_LOSS_H

#include "stack/tcp/tcp.h"

struct tcp_loss {
	struct ranges sacked; /* what the peer has beyond snd_una */
	uint32_t recover;     /* the recovery ends here (RFC6582, RFC6675: RecoveryPoint) */
	uint32_t high_rxt;    /* holes below it were sent again in this recovery (RFC6675: HighRxt) */
	uint32_t lost_below;  /* holes below it are lost */
	uint8_t dupacks;
};

struct tcp_ooo {
	struct pktq q;         /* ascending sequence; see tcp_receive.c */
	struct rte_mbuf *hint; /* the one queued last; NULL: none, or gone */
	struct ranges ranges;  /* what q holds, FINs included: our SACK blocks */
	uint32_t last;         /* where the latest out-of-order segment begins */
};

/* The connection's, taken from the pool if it has none. NULL: the pool is empty. */
struct tcp_loss *tcp_loss_get(struct tcp_sock *tp);
/* Gives it back, when there is one. */
void tcp_loss_put(struct tcp_sock *tp);

#endif
