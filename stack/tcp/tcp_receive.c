/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive side: what is acceptable, text in order, the window. What is not in order yet waits in tcp_ooo.c.
 */
#include "stack/tcp/tcp_loss.h"

/* Below this many queued packets memory is not worth a copy. */
#define COALESCE_FROM 8u
#define COALESCE_BYTES 256u

static uint32_t good_piece(const struct tcp_sock *tp)
{
	uint32_t half = tp->sk.rcvbuf / 2, mss = tcp_eff_mss(tp);

	return half < mss ? half : mss;
}

/* RFC9293:3.8.6.2.2: the right edge moves only by a good piece, and never back. */
uint32_t tcp_receive_window(const struct tcp_sock *tp)
{
	const struct sock *sk = &tp->sk;
	uint32_t held = sk->rxq_bytes + sk->rx_lent, room, promised;

	room = sk->rcvbuf > held ? sk->rcvbuf - held : 0;
	if (tp->window_clamp != 0 && room > tp->window_clamp)
		room = tp->window_clamp;
	if (tp->state < TCP_ESTABLISHED)
		return room;
	promised = tp->rcv_adv - tp->rcv_nxt;
	if (room < promised + good_piece(tp)) {
		/* Rounded up, because the header's field cannot say it exactly and must not take
		 * anything back (RFC7323:2.4). */
		uint32_t unit = 1u << tp->rcv_wscale;

		return (promised + unit - 1) & ~(unit - 1);
	}
	return room;
}

static void window_update(struct tcp_sock *tp)
{
	uint32_t promised = tp->rcv_adv - tp->rcv_nxt, now = tcp_receive_window(tp);

	if (now >= 2 * promised && now - promised >= good_piece(tp) / 2) {
		tp->ack_now = 1;
		sock_output_later(&tp->sk);
	}
}

/* The buffer follows what the reader takes in a round trip (Linux's dynamic right-sizing): twice of it, so that the window is
 * never what limits the sender, and on a long path more while that grows: by the time that the window is told and
 * filled, a sender in slow start is two doublings ahead. */
static void autotune(struct tcp_sock *tp)
{
	uint32_t most = tp->sk.engine->tcp->config.rmem_max, more = tp->rcv_copied - tp->rcv_space;
	uint64_t want = 2 * (uint64_t)tp->rcv_copied;

	if (tp->rcvbuf_locked || tp->rcv_copied <= tp->rcv_space)
		return;
	if (tp->srtt_us >= TCP_LONG_PATH_US)
		want += 2 * (want * (more < tp->rcv_space ? more : tp->rcv_space) / tp->rcv_space);
	want = want < most ? want : most;
	if (want > tp->sk.rcvbuf)
		tp->sk.rcvbuf = (uint32_t)want;
	tp->rcv_space = tp->rcv_copied;
}

/* About microseconds. */
static uint32_t autotune_now(const struct tcp_sock *tp)
{
	return (uint32_t)(tp->sk.engine->now_ns >> 10);
}

void tcp_receive_begin(struct tcp_sock *tp)
{
	tp->autotune_start = autotune_now(tp);
	tp->rcv_space = tcp_initial_window(tp);
}

/* What is taken in one moment belongs to one round trip, in however many pieces. */
static void copied(struct tcp_sock *tp, uint32_t bytes)
{
	uint32_t now = autotune_now(tp);

	if (now - tp->autotune_start > tp->srtt_us) {
		autotune(tp);
		tp->rcv_copied = 0;
		tp->autotune_start = now;
	}
	tp->rcv_copied += bytes;
}

void tcp_receive_consumed(struct tcp_sock *tp, uint32_t bytes)
{
	if (tp->state < TCP_ESTABLISHED || tp->fin_received)
		return;
	copied(tp, bytes);
	window_update(tp);
}

void tcp_receive_duplicate(struct tcp_sock *tp, const struct tcp_seg *s)
{
	if (seq_lt(s->seq, tp->rcv_nxt) && tp->rcv_nxt - s->seq <= tp->sk.rcvbuf)
		tcp_sack_duplicate(tp, s->seq, seq_min(s->seq + s->len, tp->rcv_nxt));
}

bool tcp_receive_trim(struct tcp_sock *tp, struct tcp_seg *s)
{
	uint32_t wnd = tp->rcv_adv - tp->rcv_nxt, end = s->seq + s->len, cut;
	bool syn = (s->h.flags & TCP_SYN) != 0;

	if (s->len == 0 && !s->fin && !syn) /* the common bare ACK */
		return wnd == 0 ? s->seq == tp->rcv_nxt
				: s->seq - tp->rcv_nxt < wnd || s->seq == tp->rcv_adv;
	if (syn) /* its answer does not depend on the window's edges: RFC5961:4.2 */
		return seq_leq(tp->rcv_nxt, s->seq) && seq_leq(s->seq, tp->rcv_adv);
	if (seq_lt(end + s->fin, tp->rcv_nxt + 1) || seq_gt(s->seq, tp->rcv_adv))
		return false;
	if (seq_lt(s->seq, tp->rcv_nxt)) {
		cut = tp->rcv_nxt - s->seq;
		tcp_sack_duplicate(tp, s->seq, s->len > 0 ? tp->rcv_nxt : s->seq);
		pkt_cut_front(s->m, cut < s->len ? cut : s->len);
		s->len -= cut < s->len ? cut : s->len;
		s->seq = tp->rcv_nxt;
		s->cut = true; /* the peer missed an ACK */
	}
	end = s->seq + s->len;
	if (seq_gt(end, tp->rcv_adv)) {
		cut = end - tp->rcv_adv;
		pkt_cut_back(s->m, cut);
		s->len -= cut;
		s->fin = false;
		s->cut = true; /* a probe of the window wants its answer */
	}
	/* Against a shut window the ACK of the segment still counts, if it begins where we are. */
	return s->len > 0 || s->fin || s->seq == tp->rcv_nxt;
}

static bool coalesce(struct sock *sk, struct rte_mbuf *m)
{
	struct rte_mbuf *tail = sk->rxq.tail;
	uint32_t len = rte_pktmbuf_pkt_len(m);

	if (sk->rxq.n < COALESCE_FROM || len > COALESCE_BYTES || m->nb_segs > 1 ||
		tail->nb_segs > 1 || !RTE_MBUF_DIRECT(tail) || rte_mbuf_refcnt_read(tail) > 1 ||
		rte_pktmbuf_tailroom(tail) < len)
		return false;
	rte_memcpy(rte_pktmbuf_append(tail, (uint16_t)len), rte_pktmbuf_mtod(m, void *), len);
	sk->rxq_bytes += len;
	rte_pktmbuf_free(m);
	sock_event(sk);
	return true;
}

static void append(struct tcp_sock *tp, struct rte_mbuf *m)
{
	uint32_t len = rte_pktmbuf_pkt_len(m);

	tp->rcv_nxt += len;
	tp->rx_total += len;
	if (!coalesce(&tp->sk, m))
		sock_rx_queue(&tp->sk, m);
}

static bool fin_take(struct tcp_sock *tp)
{
	tp->rcv_nxt++;
	tp->fin_received = 1;
	tp->sk.status |= CV_ST_RX_EOF | CV_ST_FIN;
	tp->ack_now = 1;
	sock_output_later(&tp->sk);
	sock_event(&tp->sk);
	return true;
}

/* The gap has closed: moves what follows now. True: a FIN was among it. */
static bool ooo_pull(struct tcp_sock *tp)
{
	struct rte_mbuf *m;

	while ((m = tcp_ooo_take(tp)) != NULL) {
		bool fin = pkt_of(m)->fin;

		if (rte_pktmbuf_pkt_len(m) > 0)
			append(tp, m);
		else
			rte_pktmbuf_free(m);
		if (fin) {
			tcp_ooo_drop(tp); /* whatever claims to lie behind it */
			return fin_take(tp);
		}
	}
	return false;
}

/* count and the segments that s stands for: many may be merged, or come in one frame (port.h, enum port_tso), which is then more
 * than the link takes. What the peer takes of us says nothing of it. */
static uint8_t segments_add(const struct tcp_sock *tp, uint8_t count, const struct tcp_seg *s)
{
	uint32_t n = s->segs, one = tcp_eff_mss(tp);

	if (cv_unlikely(s->len > one * n)) {
		if (tp->path.mtu > one + WIRE_TCP_BYTES_MAX)
			one = tp->path.mtu - WIRE_TCP_BYTES_MAX;
		n = s->len > one * n ? s->len / one : n;
	}
	return count + n < UINT8_MAX ? (uint8_t)(count + n) : UINT8_MAX;
}

static void ooo_queue(struct tcp_sock *tp, struct tcp_seg *s)
{
	tp->ack_now = 1;
	tp->dup_owed = segments_add(tp, tp->dup_owed, s);
	sock_output_later(&tp->sk);
	tcp_ooo_queue(tp, s);
}

bool tcp_receive_data(struct tcp_sock *tp, struct tcp_seg *s)
{
	if (s->len > 0 && sock_rx_refuse(&tp->sk)) {
		tp->sk.engine->counters.tcp_rx_pressure++;
		tp->ack_now = 1;
		sock_output_later(&tp->sk);
		return false;
	}
	if (s->seq != tp->rcv_nxt) {
		ooo_queue(tp, s);
		return false;
	}
	if (s->len > 0) {
		append(tp, s->m);
		s->m = NULL;
		tp->last_data_rx_ms = tcp_now_ms(tp->sk.engine);
		tp->ack_pending = segments_add(tp, tp->ack_pending, s);
		sock_output_later(&tp->sk);
	}
	if (s->fin) {
		tcp_ooo_drop(tp);
		return fin_take(tp);
	}
	if (tp->ooo == NULL)
		return false;
	tp->ack_now = 1; /* RFC5681:4.2: a gap closes, or part of it */
	return ooo_pull(tp);
}

void tcp_receive_forget(struct tcp_sock *tp)
{
	struct sock *sk = &tp->sk;
	struct rte_mbuf *m;

	tcp_ooo_drop(tp);
	while ((m = sock_recv_take(sk)) != NULL)
		rte_pktmbuf_free(m);
	sk->rx_lent = 0;
}
