/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A segment meets a connection: SYN-SENT (RFC9293:3.10.7.3), and for the synchronised states the
 * eight steps of 3.10.7.4 by their numbers, with RFC5961's answers to blind attacks and RFC7323's
 * PAWS.
 */
#include "stack/tcp/tcp_ack.h"

void tcp_syn_options(struct tcp_sock *tp, const struct wire_tcp *h)
{
	tp->peer_mss = h->has_mss && h->mss != 0 ? h->mss : tcp_mss_default(tp->sk.peer.addr);
	tp->wscale_ok &= h->has_wscale;
	if (tp->wscale_ok)
		tp->snd_wscale = h->wscale < 14 ? h->wscale : 14;
	else
		tp->rcv_wscale = 0;
	tp->sack_ok &= h->sack_ok;
	tp->ts_ok &= h->has_ts;
	if (tp->ts_ok) {
		tp->ts_recent = h->tsval;
		tp->ts_recent_ms = tp->sk.engine->now_ms;
	}
	tcp_mss_update(tp);
}

/* What the SYN said of our window holds from the number that it asked for. */
static void receive_begin(struct tcp_sock *tp, uint32_t irs)
{
	tp->irs = irs;
	tp->rcv_nxt = irs + 1;
	tp->rcv_adv = tp->rcv_nxt + tp->rcv_wnd;
	tp->last_ack_sent = tp->rcv_nxt;
}

static void syn_sent_syn(struct tcp_sock *tp, struct tcp_seg *s)
{
	tcp_syn_options(tp, &s->h);
	tcp_ecn_answered(tp, &s->h);
	receive_begin(tp, s->h.seq);
	s->seq = s->h.seq + 1;
	if (!(s->h.flags & TCP_ACK)) { /* simultaneous open */
		tp->snd_wnd = s->h.wnd;
		tcp_set_state(tp, TCP_SYN_RECEIVED, "SYN");
		tcp_syn_send(tp);
		tcp_rexmt_update(tp, true);
		return;
	}
	tcp_fastopen_learn(tp, &s->h);
	tcp_established(tp, &s->h);
	if (s->h.ack != tp->snd_una)
		tcp_ack_advance(tp, &s->h);
	s->h.flags &= (uint8_t)~TCP_SYN;
	tp->ack_now = 1;
	sock_output_later(&tp->sk);
	if ((s->len > 0 || s->fin) && tcp_receive_trim(tp, s) && tcp_receive_data(tp, s))
		tcp_set_state(tp, TCP_CLOSE_WAIT, "FIN");
}

void tcp_syn_sent_input(struct tcp_sock *tp, struct tcp_seg *s)
{
	bool ack = (s->h.flags & TCP_ACK) != 0;

	if (ack && (seq_leq(s->h.ack, tp->iss) || seq_gt(s->h.ack, tp->snd_max))) {
		tcp_rst_reply(tp->sk.engine, pkt_of(s->m), s);
		return;
	}
	if (s->h.flags & TCP_RST) {
		if (ack) {
			tp->sk.engine->counters.tcp_rst_in++;
			tcp_done(tp, CV_ECONNREFUSED, "RST");
		}
		return;
	}
	if (s->h.flags & TCP_SYN)
		syn_sent_syn(tp, s);
}

/* RFC7323:5.3 R1. A timestamp 24 days old or more says nothing (5.5). */
static bool paws_rejects(struct tcp_sock *tp, const struct tcp_seg *s)
{
	if (!tp->ts_ok || !s->h.has_ts || (s->h.flags & TCP_RST) ||
		!seq_lt(s->h.tsval, tp->ts_recent))
		return false;
	if (tp->sk.engine->now_ms - tp->ts_recent_ms > 24u * 24 * 3600 * 1000)
		return false;
	tp->sk.engine->counters.tcp_paws++;
	return true;
}

/* In SYN-RECEIVED the SYN comes again: lost SYN-ACK, or the other half of a simultaneous open. */
static enum tcp_verdict syn_again(struct tcp_sock *tp, struct tcp_seg *s)
{
	if (!(s->h.flags & TCP_ACK)) {
		tcp_syn_send(tp);
		return TCP_STOP;
	}
	if (s->h.ack == tp->iss + 1) {
		s->seq++;
		s->h.wnd = (uint16_t)(s->h.wnd >> tp->snd_wscale); /* a SYN's is not scaled (RFC7323:2.2) */
		s->h.flags &= (uint8_t)~TCP_SYN;
	}
	return TCP_NEXT;
}

static void ack_soon(struct tcp_sock *tp)
{
	tp->ack_now = 1;
	sock_output_later(&tp->sk);
}

/* A segment that is not acceptable is answered with an ACK. */
static void refuse(struct tcp_sock *tp, const struct tcp_seg *s)
{
	if ((s->h.flags & TCP_RST) ||
		!(s->cut || tcp_refused_may_ack(tp->sk.engine, &tp->refused_ack_ms, s)))
		return;
	tcp_receive_duplicate(tp, s);
	ack_soon(tp);
}

/* A repeat of text that we have: the peer lost our ACK, and times the next one by the timestamp it
 * echoes. If that were an old one (RFC7323:5.3 R2 leaves the new one out; Linux takes it when the
 * repeat ends where our last ACK was) the peer would measure all the time that it waited, and wait
 * longer. What a stranger could guess is not believed: the repeat must be within a window of what
 * we expect, and its ACK be possible (RFC5961:5). */
static bool is_repeat(const struct tcp_sock *tp, const struct tcp_seg *s)
{
	uint32_t end = s->seq + s->len + s->fin;

	return s->len > 0 && seq_leq(end, tp->rcv_nxt) && tp->rcv_nxt - s->seq <= tp->sk.rcvbuf &&
		(s->h.flags & TCP_ACK) && seq_leq(s->h.ack, tp->snd_max) &&
		seq_geq(s->h.ack, tp->snd_una - tp->max_wnd);
}

/* First: sequence number. */
static enum tcp_verdict step_sequence(struct tcp_sock *tp, struct tcp_seg *s)
{
	bool stamped = tp->ts_ok && s->h.has_ts && !(s->h.flags & TCP_RST);

	if (tp->state == TCP_SYN_RECEIVED && (s->h.flags & TCP_SYN) && !(s->h.flags & TCP_RST) &&
		s->h.seq == tp->irs && syn_again(tp, s) == TCP_STOP)
		return TCP_STOP;
	if (paws_rejects(tp, s)) {
		refuse(tp, s);
		return TCP_STOP;
	}
	if (!tcp_receive_trim(tp, s)) {
		if (stamped && is_repeat(tp, s))
			tcp_ts_recent_update(tp, &s->h);
		refuse(tp, s);
		return TCP_STOP;
	}
	if (stamped)
		tcp_ts_recent_update(tp, &s->h);
	return TCP_NEXT;
}

static enum cv_error reset_error(const struct tcp_sock *tp)
{
	if (tp->state == TCP_SYN_RECEIVED && !tp->fastopen)
		return CV_ECONNREFUSED;
	return tp->state == TCP_CLOSE_WAIT ? CV_EPIPE : CV_ECONNRESET; /* as Linux */
}

/* Second: RST, believed at the very number that is expected (RFC5961:3.2). */
static enum tcp_verdict step_rst(struct tcp_sock *tp, const struct tcp_seg *s)
{
	if (!(s->h.flags & TCP_RST))
		return TCP_NEXT;
	if (s->h.seq != tp->rcv_nxt) {
		tcp_challenge_ack(tp);
		return TCP_STOP;
	}
	tp->sk.engine->counters.tcp_rst_in++;
	tcp_done(tp, reset_error(tp), "RST");
	return TCP_STOP;
}

/* Fourth: SYN (RFC5961:4.2). Third, security, is nothing on today's Internet. */
static enum tcp_verdict step_syn(struct tcp_sock *tp, const struct tcp_seg *s)
{
	if (!(s->h.flags & TCP_SYN))
		return TCP_NEXT;
	tcp_challenge_ack(tp);
	return TCP_STOP;
}

/* Fifth, in SYN-RECEIVED: is it our SYN that is acknowledged? */
static enum tcp_verdict ack_of_syn(struct tcp_sock *tp, struct tcp_seg *s)
{
	if (seq_leq(s->h.ack, tp->snd_una) || seq_gt(s->h.ack, tp->snd_max)) {
		tcp_rst_reply(tp->sk.engine, pkt_of(s->m), s);
		return TCP_STOP;
	}
	tcp_established(tp, &s->h);
	if (tp->fin_queued)
		tcp_set_state(tp, TCP_FIN_WAIT_1, "FIN was queued");
	return TCP_NEXT;
}

/* Fifth: ACK, and where it acknowledges our FIN. */
static enum tcp_verdict step_ack(struct tcp_sock *tp, struct tcp_seg *s)
{
	bool fin_acked;

	if (!(s->h.flags & TCP_ACK))
		return TCP_STOP;
	if (tp->state == TCP_SYN_RECEIVED && ack_of_syn(tp, s) == TCP_STOP)
		return TCP_STOP;
	if (tcp_ack_input(tp, s) == TCP_STOP)
		return TCP_STOP;
	fin_acked = tp->fin_sent && tp->snd_una == tp->snd_end + 1;
	if (!fin_acked)
		return TCP_NEXT;
	if (tp->state == TCP_FIN_WAIT_1) {
		tcp_set_state(tp, TCP_FIN_WAIT_2, "ACK of FIN");
		if (tp->closed)
			tcp_orphan_timer(tp);
	} else if (tp->state == TCP_CLOSING) {
		tcp_time_wait(tp);
		return TCP_STOP;
	} else if (tp->state == TCP_LAST_ACK) {
		tcp_done(tp, CV_OK, "ACK of FIN");
		return TCP_STOP;
	}
	return TCP_NEXT;
}

/* Sixth: URG (RFC6093). */
static void step_urg(struct tcp_sock *tp, const struct tcp_seg *s)
{
	uint32_t up = s->h.seq + s->h.urg;
	uint64_t pos = tp->rx_total + (up - 1 - tp->rcv_nxt);

	if (!(s->h.flags & TCP_URG) || s->h.urg == 0 || tp->fin_received || !seq_gt(up, tp->rcv_nxt) ||
		((tp->sk.status & CV_ST_URGENT) && pos <= tp->sk.rx_urgent_pos))
		return;
	tp->sk.rx_urgent_pos = pos;
	tp->sk.status |= CV_ST_URGENT;
	sock_event(&tp->sk);
}

static void fin_in_order(struct tcp_sock *tp)
{
	switch ((enum tcp_state)tp->state) {
	case TCP_SYN_RECEIVED:
	case TCP_ESTABLISHED:
		tcp_set_state(tp, TCP_CLOSE_WAIT, "FIN");
		break;
	case TCP_FIN_WAIT_1:
		tcp_set_state(tp, TCP_CLOSING, "FIN");
		break;
	case TCP_FIN_WAIT_2:
		tcp_ack_send(tp);
		tcp_time_wait(tp);
		break;
	case TCP_CLOSED:
	case TCP_LISTEN:
	case TCP_SYN_SENT:
	case TCP_CLOSE_WAIT:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
	case TCP_TIME_WAIT:
	case TCP_STATES:
		break; /* a FIN was there before */
	}
}

/* Seventh and eighth: text and FIN. */
static void step_text(struct tcp_sock *tp, struct tcp_seg *s)
{
	if ((s->len == 0 && !s->fin) || tp->fin_received)
		return;
	if (tp->closed && s->len > 0) { /* nobody will read it: RFC9293:3.6.1, RFC1122:4.2.2.13 */
		tcp_rst_send(tp);
		tcp_done(tp, CV_OK, "data after close");
		return;
	}
	if (tp->ecn_ok)
		tcp_ecn_received(tp, s);
	if (tcp_receive_data(tp, s))
		fin_in_order(tp);
}

static void steps(struct tcp_sock *tp, struct tcp_seg *s)
{
	if (step_sequence(tp, s) == TCP_STOP || step_rst(tp, s) == TCP_STOP ||
		step_syn(tp, s) == TCP_STOP || step_ack(tp, s) == TCP_STOP)
		return;
	if (s->cut)
		ack_soon(tp);
	step_urg(tp, s);
	step_text(tp, s);
}

void tcp_steps(struct tcp_sock *tp, struct tcp_seg *s)
{
	tcp_segs_count(tp, s);
	if (tp->state == TCP_SYN_SENT)
		tcp_syn_sent_input(tp, s);
	else
		steps(tp, s);
	tp->last_rx_ms = tp->sk.engine->now_ms;
	tp->keep_probes = 0;
	tcp_leave(tp);
}
