/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Explicit congestion notification (RFC3168): agreed upon in the handshake; routers mark our data instead of dropping it, the
 * receiver echoes the marks, the sender slows down. With DCTCP (RFC8257) both ends are exact about which bytes were
 * marked.
 *
 * Owns: ecn_ok, ecn_echo, ecn_cwr, ecn_until of a connection. Does not own: how much a mark slows down (struct tcp_cc).
 * Called by: the handshake, tcp_segment.c for what leaves, tcp_steps.c and tcp_predict.c for what comes.
 */
#include "stack/tcp/tcp.h"

enum { ECN_NOT_ECT = 0, ECN_ECT0 = 2, ECN_CE = 3, ECN_MASK = 3 };
enum { CONFIG_OFF = 0, CONFIG_ASK = 1 }; /* Linux's tcp_ecn; 2: only answer */

/* A SYN that was lost may have been so for its flags: the next one is without them (6.1.1.1). */
uint8_t tcp_ecn_syn_flags(const struct tcp_sock *tp)
{
	bool asks = tp->cc->ecn || tp->sk.engine->tcp->config.ecn == CONFIG_ASK;

	return asks && tp->backoff == 0 ? TCP_ECE | TCP_CWR : 0;
}

/* The other end's SYN-ACK (6.1.1), or its SYN that crossed ours. */
void tcp_ecn_answered(struct tcp_sock *tp, const struct wire_tcp *h)
{
	uint8_t both = h->flags & (TCP_ECE | TCP_CWR);
	bool asked = tp->cc->ecn || tp->sk.engine->tcp->config.ecn == CONFIG_ASK;

	tp->ecn_ok = asked && both == (h->flags & TCP_ACK ? TCP_ECE : TCP_ECE | TCP_CWR);
}

bool tcp_ecn_accepts(const struct tcp_sock *lp, const struct wire_tcp *h, uint8_t tos)
{
	if ((h->flags & (TCP_ECE | TCP_CWR)) != (TCP_ECE | TCP_CWR))
		return false;
	/* A SYN is not marked as capable (6.1.1): who does it, or some box on the way, is not to be trusted with marks.
	 * DCTCP marks all of its packets. */
	return lp->cc->ecn || (lp->sk.engine->tcp->config.ecn != CONFIG_OFF && (tos & ECN_MASK) == ECN_NOT_ECT);
}

/* New data only: not what is sent again (6.1.5), no window probes (6.1.6), no ACKs (6.1.4). DCTCP marks all. */
uint8_t tcp_ecn_codepoint(const struct tcp_sock *tp, uint32_t seq, uint32_t len)
{
	return tp->cc->ecn || (len > 0 && seq_geq(seq, tp->snd_max)) ? ECN_ECT0 : ECN_NOT_ECT;
}

/* RFC8257:3.2: each ACK tells of bytes that were all marked or all not, so one goes before the change. */
static void exact_echo(struct tcp_sock *tp, bool ce)
{
	if (ce == tp->ecn_echo)
		return;
	if (tp->ack_pending > 0)
		tcp_ack_send(tp);
	tp->ecn_echo = ce;
	tp->ack_now = 1;
}

void tcp_ecn_received(struct tcp_sock *tp, const struct tcp_seg *s)
{
	uint8_t bits = pkt_of(s->m)->tos & ECN_MASK;
	bool ce = bits == ECN_CE;

	if (s->len == 0)
		return;
	if (bits != ECN_NOT_ECT)
		tp->ecn_seen = 1;
	if (tp->cc->ecn) {
		exact_echo(tp, ce);
		return;
	}
	if (s->h.flags & TCP_CWR) { /* it has slowed down, and its window may be small: it waits for ACKs */
		tp->ecn_echo = 0;
		tp->ack_now = 1;
	}
	if (ce && !tp->ecn_echo) {
		tp->ecn_echo = 1;
		tp->ack_now = 1;
	}
}

void tcp_ecn_ack(struct tcp_sock *tp, const struct wire_tcp *h)
{
	bool echo = (h->flags & TCP_ECE) != 0;

	if (seq_lt(tp->ecn_until, tp->snd_una - 1)) /* or it would be ahead again 2 GiB later */
		tp->ecn_until = tp->snd_una - 1;
	if (tp->cc->delivered != NULL)
		tp->cc->delivered(tp, h->ack - tp->snd_una, echo);
	/* Once for a window of data, and not for one of which some was lost (6.1.2). */
	if (!echo || seq_leq(h->ack, tp->ecn_until))
		return;
	tp->ecn_told = 1;
	(void)tcp_recovery_cwr(tp);
	tp->ecn_told = 0;
}
