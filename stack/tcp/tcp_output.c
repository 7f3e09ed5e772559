/* SPDX-License-Identifier: BSD-3-Clause */
/* The end of a turn: what one connection sends now. Retransmissions, then new data, then an ACK. */
#include "stack/tcp/tcp_loss.h"

#define TCP_TURN_BYTES 8192u /* of a super-segment count as one more segment of TCP_SEGS_PER_TURN */

static bool more_follows(const struct tcp_sock *tp)
{
	const struct txbuf *last;

	if (tp->cork)
		return true;
	if (list_empty(&tp->txq))
		return false;
	last = list_entry(tp->txq.prev, struct txbuf, node);
	return (last->flags & CV_F_MORE) != 0;
}

/* Nagle's algorithm as Minshall put it (RFC9293:A.3, and Linux): one short segment at a time, whatever full ones are
 * under way. The end of a large answer need not wait for the ACK of what went before it. */
static bool short_is_under_way(const struct tcp_sock *tp)
{
	return seq_gt(tp->snd_sml, tp->snd_una) && seq_leq(tp->snd_sml, tp->snd_nxt);
}

/* SWS avoidance and Nagle (RFC9293:3.8.6.2.1, 3.7.4) for len bytes that fill no segment, of left that wait. */
static bool may_send_short(const struct tcp_sock *tp, uint32_t len, uint32_t left)
{
	if (len < left) /* cut by the window: only if it is a good part of what the peer ever offered */
		return len >= tp->max_wnd / 2;
	if (tp->fin_queued)
		return true;
	if (more_follows(tp))
		return false;
	return tp->nodelay || !short_is_under_way(tp);
}

static uint32_t output_retransmit(struct tcp_sock *tp, uint32_t budget)
{
	uint32_t seq, len, sent = 0;

	while (sent < budget && !tcp_port_is_full(tp) && tcp_recovery_next(tp, &seq, &len)) {
		uint32_t pipe = tcp_pipe(tp);

		/* Without records the first one goes always (RFC6675:5 (4.3)); the window is what the peer allows. */
		if (pipe + len > tp->cwnd && pipe > 0 && !(tp->loss->holes && seq == tp->snd_una))
			break;
		if (tp->pace != NULL && tcp_pace_room(tp) < len)
			break;
		if (!tcp_segment_send(tp, seq, len, 0))
			break;
		if (tp->pace != NULL)
			tp->pace->again += len;
		tcp_recovery_sent(tp, seq, len);
		if (sent == 0)
			tcp_rexmt_update(tp, seq == tp->snd_una);
		sent++;
	}
	return sent;
}

/* Bytes of the next new segment, of left that wait: what the windows, the MSS and the port's super-segments
 * allow; 0: none now. *limited: without cwnd they would be more. */
static uint32_t new_bytes(struct tcp_sock *tp, uint32_t left, bool *limited)
{
	uint32_t mss = tcp_eff_mss(tp), end = tp->snd_una + tp->snd_wnd, most = left > mss ? tcp_segment_max(tp) : mss;
	uint32_t pipe = tcp_pipe(tp), cwnd = tp->cwnd, len = left, room, tail;

	/* Limited transmit (RFC3042); with SACK the pipe is less by what has left already. */
	if (tp->loss != NULL && !tp->sack_ok && !tp->in_recovery && !tp->rto_recovery && tp->loss->dupacks < 3)
		cwnd += tp->loss->dupacks * mss;
	if (seq_gt(tp->snd_nxt + len, end))
		len = seq_lt(tp->snd_nxt, end) ? end - tp->snd_nxt : 0;
	if (len > most)
		len = most;
	room = cwnd > pipe ? cwnd - pipe : 0;
	if (pipe == 0 && room < mss)
		room = mss;
	*limited = len > room;
	if (tp->pace != NULL && tcp_pace_room(tp) < room)
		room = tcp_pace_room(tp);
	if (len > room)
		len = room / mss * mss;
	if (len > mss)
		len = tcp_segment_fit(tp, tp->snd_nxt, len);
	tail = len < mss ? len : len == mss ? 0 : len % mss;
	if (tail > 0 && !may_send_short(tp, tail, left - (len - tail)))
		len -= tail;
	return len;
}

static uint32_t output_new(struct tcp_sock *tp, uint32_t budget)
{
	uint32_t sent = 0;
	bool limited = false;

	if (tp->snd_max == tp->snd_una && tp->snd_end != tp->snd_nxt)
		tcp_cc_restart(tp);
	while (sent < budget && !tp->fin_sent && !tcp_port_is_full(tp)) {
		uint32_t left = tp->snd_end - tp->snd_nxt, len;
		bool fin;

		if (left == 0 && !tp->fin_queued)
			break;
		len = new_bytes(tp, left, &limited);
		fin = tp->fin_queued && len == left && seq_lt(tp->snd_nxt + len, tp->snd_una + tp->snd_wnd);
		if (len == 0 && !fin)
			break;
		if (!tcp_segment_send(tp, tp->snd_nxt, len + fin, len == left ? TCP_PSH : 0)) {
			tcp_timer_set(tp, TCP_T_REXMT, tp->rto_us * US); /* no buffer: try again then */
			break;
		}
		sent += 1 + len / TCP_TURN_BYTES;
	}
	/* A device without room is no reason for a larger window. */
	limited &= !tcp_port_is_full(tp);
	if (sent > 0 || limited)
		tcp_cc_sent(tp, limited);
	if (tp->sk.lowat)
		sock_event(&tp->sk); /* less is unsent */
	return sent;
}

/* F-RTO wanted new data to go (RFC5682:3.1 step 2 b). If none could, the lost goes as ever. */
static uint32_t output_frto(struct tcp_sock *tp, uint32_t budget)
{
	struct tcp_loss *l = tp->loss;

	l->frto_new = false;
	if (seq_gt(tp->snd_nxt, l->recover))
		return 0;
	l->frto = false;
	return output_retransmit(tp, budget);
}

static void output_ack(struct tcp_sock *tp)
{
	/* Without SACK the peer counts duplicate ACKs: one for each segment out of order. Data that went
	 * before neither counts as one nor carries SACK blocks. */
	for (; tp->dup_owed > 1 && !tp->sack_ok; tp->dup_owed--)
		tcp_ack_send(tp);
	if (tp->dup_owed > 0)
		tp->ack_now = 1;
	tp->dup_owed = 0;
	/* RFC5681:4.2 allows a delay of one segment's ACK. It is worth it only where an answer comes to
	 * carry it; a peer with Nagle's algorithm would wait for it. */
	if (tp->ack_now || tp->ack_pending >= 2 ||
		(tp->ack_pending > 0 && (tp->quickack || !tp->pingpong)))
		tcp_ack_send(tp);
	else if (tp->ack_pending > 0 && !tcp_timer_is_on(tp, TCP_T_DELACK))
		tcp_timer_set(tp, TCP_T_DELACK, TCP_DELACK);
}

static uint32_t output_data(struct tcp_sock *tp)
{
	uint32_t sent = tp->loss != NULL ? output_retransmit(tp, TCP_SEGS_PER_TURN) : 0;

	if (cv_unlikely(tp->plpmtud != NULL))
		sent += tcp_plpmtud_output(tp);
	sent += output_new(tp, TCP_SEGS_PER_TURN - sent);
	if (tp->loss != NULL && tp->loss->frto_new)
		sent += output_frto(tp, TCP_SEGS_PER_TURN - sent);
	return sent;
}

static uint32_t output_paced(struct tcp_sock *tp)
{
	uint32_t sent;

	tcp_pace_begin(tp);
	sent = output_data(tp);
	tcp_pace_end(tp);
	return sent;
}

void tcp_output(struct sock *sk)
{
	struct tcp_sock *tp = tcp_of(sk);
	uint32_t sent = 0;

	if (tp->state == TCP_SYN_SENT && tp->fastopen_waits && tp->snd_max == tp->iss && !list_empty(&tp->txq)) {
		tcp_syn_send(tp); /* the data that it waited for is here */
		tcp_rexmt_update(tp, true);
	}
	if (tp->state == TCP_CLOSED || tp->state == TCP_LISTEN || tp->state == TCP_SYN_SENT) {
		tcp_leave(tp);
		return;
	}
	if (tp->state >= TCP_ESTABLISHED || tp->fastopen) {
		tp->snd_up = seq_max(tp->snd_up, tp->snd_una); /* or it would be ahead again 2 GiB later */
		if (tp->loss != NULL)
			tcp_recovery_turn(tp);
		sent = cv_unlikely(tp->pace != NULL) ? output_paced(tp) : output_data(tp);
		if (tcp_port_is_full(tp))
			sock_output_wait(sk, tp->path.port->device);
		else if (sent >= TCP_SEGS_PER_TURN)
			sock_output_later(sk);
		tcp_rexmt_update(tp, false);
	}
	output_ack(tp);
	tcp_leave(tp);
}
