/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Header prediction: in an established connection nearly every segment is the next data in order, or an ACK
 * of ours, or both, and brings nothing else. For these the eight steps of tcp_steps.c come down to what is here; all
 * others, and all in doubt, take the steps. Both ways must do the same: tests/world runs them side by side.
 */
#include "stack/tcp/tcp_ack.h"

#define FLAGS_THAT_MATTER (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG | TCP_ECE | TCP_CWR)

static inline bool is_expected(const struct tcp_sock *tp, const struct tcp_seg *s)
{
	const struct wire_tcp *h = &s->h;

	/* steps 1 to 4, 6 and 8: the very next, inside the window, not old by its timestamp */
	return tp->state == TCP_ESTABLISHED && (h->flags & FLAGS_THAT_MATTER) == TCP_ACK &&
		h->seq == tp->rcv_nxt && s->len <= tp->rcv_adv - tp->rcv_nxt &&
		h->has_ts == tp->ts_ok && seq_geq(h->tsval, tp->ts_recent) &&
		/* step 5: an ACK of what is under way that tells of no loss, while none is mended, */
		h->ack - tp->snd_una <= tp->snd_max - tp->snd_una &&
		h->sacks_n == 0 && tp->loss == NULL &&
		/* and that without data is not one that counts as a duplicate */
		(h->ack != tp->snd_una || s->len > 0) &&
		/* step 7: closes no gap, and somebody reads it */
		tp->ooo == NULL && !tp->closed;
}

bool tcp_predict(struct tcp_sock *tp, struct tcp_seg *s)
{
	const struct wire_tcp *h = &s->h;

	if (cv_unlikely(!is_expected(tp, s)))
		return false;
	tcp_segs_count(tp, s);
	tp->last_rx_ms = tp->sk.engine->now_ms;
	tp->keep_probes = 0;
	tp->probes_out = 0;
	if (tp->ts_ok)
		tcp_ts_recent_update(tp, h);
	tcp_ack_window(tp, h);
	if (cv_unlikely(tp->ecn_ok))
		tcp_ecn_ack(tp, h);
	if (h->ack != tp->snd_una)
		tcp_ack_advance(tp, h);
	if (s->len > 0) {
		if (cv_unlikely(tp->ecn_ok))
			tcp_ecn_received(tp, s);
		(void)tcp_receive_data(tp, s);
	}
#ifdef CULVERT_CHECKS
	tcp_leave(tp);
#endif
	return true;
}
