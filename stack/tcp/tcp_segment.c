/* SPDX-License-Identifier: BSD-3-Clause */
/* Builds segments: header, options, payload attached from the send queue without a copy. */
#include <netinet/in.h>
#include <string.h>

#include "stack/base/addr.h"
#include "stack/tcp/tcp_loss.h"

#define CKSUM_OFF 16
#define MSS_LEAST 48u /* Linux's tcp_min_snd_mss: 40 bytes of options and 8 of data */

/* IP and TCP headers without options (RFC9293:3.7.1). */
static uint32_t headers_to(const uint8_t peer[16])
{
	return WIRE_TCP_BYTES_MIN + (addr_is_v4(peer) ? 20u : 40u);
}

static uint32_t headers(const struct tcp_sock *tp)
{
	return headers_to(tp->sk.peer.addr);
}

uint16_t tcp_mss_default(const uint8_t peer[16])
{
	return addr_is_v4(peer) ? TCP_MSS_DEFAULT : TCP_MSS_DEFAULT_V6;
}

uint16_t tcp_mss_offer(const struct ip_path *path, const uint8_t peer[16], uint16_t user_mss)
{
	uint32_t head = headers_to(peer);
	uint16_t mss = path->mtu > head ? (uint16_t)(path->mtu - head) : tcp_mss_default(peer);

	return user_mss != 0 && user_mss < mss ? user_mss : mss;
}

uint32_t tcp_mss_of_path(const struct tcp_sock *tp)
{
	uint32_t mtu = tp->path.pmtu, mss = mtu > 60 + MSS_LEAST ? mtu - headers(tp) : MSS_LEAST;

	if (tp->peer_mss != 0 && tp->peer_mss < mss)
		mss = tp->peer_mss;
	if (tp->user_mss != 0 && tp->user_mss < mss)
		mss = tp->user_mss;
	if (mss < MSS_LEAST) /* whatever the peer says: with all options there is room for data left */
		mss = MSS_LEAST;
	return tp->ts_ok ? mss - 12 : mss;
}

void tcp_mss_update(struct tcp_sock *tp)
{
	tp->pmtu = tp->path.pmtu;
	tp->mss = tcp_mss_of_path(tp);
	if (tp->plpmtud != NULL && tp->plpmtud->low < tp->mss)
		tp->mss = tp->plpmtud->low;
}

uint32_t tcp_segment_max(const struct tcp_sock *tp)
{
	const struct port *port = tp->path.port;
	uint32_t mss = tcp_eff_mss(tp), head = headers(tp) + (tp->ts_ok ? 12 : 0), most;

	/* One header has one urgent pointer. A path that is narrower than its link goes beyond it,
	 * to who takes no frame as large as a trusted link's other end. */
	if (port == NULL || port->tso == PORT_TSO_NONE || seq_gt(tp->snd_up, tp->snd_nxt) ||
		(port->tso == PORT_TSO_TRUSTED && (tp->path.pmtu != tp->path.mtu || tp->plpmtud != NULL)) || port->tso_max <= head)
		return mss;
	most = (port->tso_max - head) / mss;
	if (port->tso == PORT_TSO_SOFTWARE && most > PORT_GSO_SEGMENTS)
		most = PORT_GSO_SEGMENTS;
	return most > 1 ? most * mss : mss;
}

static uint16_t window_field(struct tcp_sock *tp, bool syn)
{
	uint32_t wnd = tcp_receive_window(tp);
	uint8_t shift = syn ? 0 : tp->rcv_wscale;

	if (wnd >> shift > 65535)
		wnd = 65535u << shift;
	wnd = wnd >> shift << shift;
	tp->rcv_wnd = wnd;
	tp->rcv_adv = seq_max(tp->rcv_adv, tp->rcv_nxt + wnd);
	return (uint16_t)(wnd >> shift);
}

/* What is before b, the hint. What is nearer to the beginning does not move it: retransmissions are, between which new data
 * goes. */
static struct txbuf *locate_before(struct tcp_sock *tp, struct txbuf *b, uint32_t seq)
{
	struct txbuf *first = list_entry(tp->txq.next, struct txbuf, node);

	if (seq - first->seq < b->seq - seq) {
		while (seq_geq(seq, first->seq + first->len))
			first = list_entry(first->node.next, struct txbuf, node);
		return first;
	}
	while (seq_lt(seq, b->seq))
		b = list_entry(b->node.prev, struct txbuf, node);
	return tp->cursor = b;
}

/* The buffer of the queue that holds seq; moves the hint there: O(1) for what follows. */
static struct txbuf *locate(struct tcp_sock *tp, uint32_t seq)
{
	struct txbuf *b = tp->cursor;

	if (b == NULL)
		b = list_entry(tp->txq.next, struct txbuf, node);
	if (cv_unlikely(seq_lt(seq, b->seq)))
		return locate_before(tp, b, seq);
	while (seq_geq(seq, b->seq + b->len))
		b = list_entry(b->node.next, struct txbuf, node);
	tp->cursor = b;
	return b;
}

uint32_t tcp_segment_fit(struct tcp_sock *tp, uint32_t seq, uint32_t len)
{
	const struct txbuf *b = locate(tp, seq);
	uint32_t have = b->seq + b->len - seq, mss = tcp_eff_mss(tp);

	for (uint32_t pieces = 1; have < len && pieces < TCP_CHAIN_MAX; pieces++) {
		b = list_entry(b->node.next, struct txbuf, node);
		have += b->len;
	}
	if (have >= len)
		return len;
	return have > mss ? have / mss * mss : mss;
}

/* From b, which holds seq, on. */
static bool payload_copy(struct txbuf *b, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	while (len > 0) {
		uint32_t off = seq - b->seq, n = b->len - off;
		char *to;

		if (n > len)
			n = len;
		to = rte_pktmbuf_append(m, (uint16_t)n);
		if (to == NULL)
			return false;
		memcpy(to, b->data + off, n);
		len -= n;
		seq += n;
		if (len > 0)
			b = list_entry(b->node.next, struct txbuf, node);
	}
	return true;
}

static bool payload_attach(struct txbuf *b, struct rte_mempool *pool, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	struct rte_mbuf *last = m;

	while (len > 0) {
		uint32_t off = seq - b->seq, n = b->len - off;
		struct rte_mbuf *x = rte_pktmbuf_alloc(pool);

		if (x == NULL)
			return false;
		if (n > len)
			n = len;
		txbuf_get(b);
		rte_pktmbuf_attach_extbuf(
			x, (uint8_t *)(uintptr_t)(b->data + off), RTE_BAD_IOVA, (uint16_t)n, &b->shinfo);
		x->data_off = 0;
		x->data_len = (uint16_t)n;
		x->pkt_len = n;
		last->next = x;
		last = x;
		m->nb_segs++;
		m->pkt_len += n;
		len -= n;
		seq += n;
		if (len > 0)
			b = list_entry(b->node.next, struct txbuf, node);
	}
	return true;
}

/* Few large pieces are attached, anything else is copied behind the header. */
static bool payload_add(struct tcp_sock *tp, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	struct txbuf *first = locate(tp, seq), *b = first;
	uint32_t have = b->seq + b->len - seq, pieces = 1;

	while (have < len && pieces <= TCP_PIECES_MAX) {
		b = list_entry(b->node.next, struct txbuf, node);
		have += b->len;
		pieces++;
	}
	if ((len <= TCP_COPY_MAX || pieces > TCP_PIECES_MAX) && len <= rte_pktmbuf_tailroom(m))
		return payload_copy(first, m, seq, len);
	return payload_attach(first, tp->sk.engine->pkt_pool, m, seq, len);
}

static void header_fill(struct tcp_sock *tp, struct wire_tcp *h, uint32_t seq, uint8_t flags)
{
	memset(h, 0, offsetof(struct wire_tcp, sacks));
	h->sport = tp->sk.local.port;
	h->dport = tp->sk.peer.port;
	h->seq = seq;
	h->ack = (flags & TCP_ACK) ? tp->rcv_nxt : 0;
	h->flags = flags;
	h->wnd = window_field(tp, (flags & TCP_SYN) != 0);
	h->has_ts = tp->ts_ok;
	h->tsval = tcp_ts_now(tp);
	h->tsecr = (flags & TCP_ACK) ? tp->ts_recent : 0;
	if (flags & TCP_SYN) {
		bool first = !(flags & TCP_ACK);

		h->has_mss = true;
		h->mss = tcp_mss_offer(&tp->path, tp->sk.peer.addr, tp->user_mss);
		h->has_ts = first || tp->ts_ok;
		h->sack_ok = first || tp->sack_ok;
		h->has_wscale = first || tp->wscale_ok;
		h->wscale = tp->rcv_wscale;
		h->flags |= first ? tcp_ecn_syn_flags(tp) : tp->ecn_ok ? TCP_ECE : 0;
	} else if (cv_unlikely(tp->ecn_echo) && !(flags & TCP_RST)) {
		h->flags |= TCP_ECE;
	}
}

static int emit(struct tcp_sock *tp, const struct wire_tcp *h, uint32_t len)
{
	struct engine *e = tp->sk.engine;
	struct rte_mbuf *m;
	size_t bytes = wire_tcp_emit_bytes(h);
	uint32_t mss = tcp_eff_mss(tp), segments = 1; /* on the wire */
	uint8_t tos = tp->tos;
	char *to;

	if (!ip_path_is_valid(e, &tp->path) &&
		ip_path_resolve(e, &tp->path, tp->sk.peer.addr, tp->sk.local.addr) != 0)
		return -CV_ENETUNREACH;
	if (len > mss && len > tcp_segment_max(tp)) { /* another port since it was cut */
		sock_output_later(&tp->sk);
		return -CV_ENOBUFS;
	}
	if (tp->path.pmtu != tp->pmtu && tp->state >= TCP_ESTABLISHED)
		tcp_mss_update(tp); /* for the next one: another route, or a path that was tried again */
	m = rte_pktmbuf_alloc(e->pkt_pool);
	if (m == NULL) {
		e->counters.no_mbuf++;
		return -CV_ENOBUFS;
	}
	to = rte_pktmbuf_append(m, (uint16_t)bytes);
	if (to == NULL ||
		(len > 0 && !payload_add(tp, m, h->seq + ((h->flags & TCP_SYN) != 0), len))) {
		rte_pktmbuf_free(m);
		return -CV_ENOBUFS;
	}
	wire_tcp_emit(h, (uint8_t *)to);
	if (len > mss) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m->tso_segsz = (uint16_t)mss;
		m->l4_len = bytes & 0xff;
		if (tp->path.port->tso != PORT_TSO_TRUSTED)
			segments = (len + mss - 1) / mss;
	}
	tp->segs_out += segments;
	tp->data_segs_out += len > 0 ? segments : 0;
	e->counters.tcp_out += segments;
	if (h->flags & TCP_ACK) {
		tp->ack_now = 0;
		tp->ack_pending = 0;
		tp->last_ack_sent = h->ack;
		tcp_timer_stop(tp, TCP_T_DELACK);
	}
	if (cv_unlikely(tp->ecn_ok) && !(h->flags & TCP_SYN))
		tos |= tcp_ecn_codepoint(tp, h->seq, len);
	return ip_output(e, &tp->path, m, IPPROTO_TCP, tos, tp->ttl != 0 ? tp->ttl : ip_hops(&tp->path, tp->sk.peer.addr),
		tp->sk.local.addr, tp->sk.peer.addr, CKSUM_OFF);
}

/* [lo, hi) goes for the first time: with what went before in this turn, if nothing came between. */
static inline void record(struct tcp_sock *tp, uint32_t lo, uint32_t hi)
{
	struct tcp_xmit *x = tp->xmit_last;

	if (tp->xmit != NULL && x->sent_ns == tp->sk.engine->now_ns && x->flags == 0)
		x->hi = hi;
	else
		tcp_xmit_add(tp, lo, hi);
}

/* Data [seq, seq + len) of the send queue, and the FIN when the range reaches behind the last byte.
 * Moves snd_nxt and snd_max. False: no buffer; the retransmission timer will see to it. */
bool tcp_segment_send(struct tcp_sock *tp, uint32_t seq, uint32_t len, uint8_t flags)
{
	struct wire_tcp h;
	uint32_t data = seq_gt(seq + len, tp->snd_end) ? tp->snd_end - seq : len;

	flags |= TCP_ACK;
	if (data < len)
		flags |= TCP_FIN;
	header_fill(tp, &h, seq, flags);
	if (seq_gt(tp->snd_up, seq) && tp->snd_up - seq <= 65535) {
		h.flags |= TCP_URG;
		h.urg = (uint16_t)(tp->snd_up - seq);
	}
	if (cv_unlikely(tp->ecn_cwr) && data > 0 && seq_geq(seq, tp->snd_max))
		h.flags |= TCP_CWR;
	if (emit(tp, &h, data) == -CV_ENOBUFS)
		return false;
	if (h.flags & TCP_CWR)
		tp->ecn_cwr = 0;
	if (data > 0) {
		if (tp->sk.engine->now_ms - tp->last_data_rx_ms < TCP_DELACK / MS)
			tp->pingpong = true;
		tp->last_data_tx_ns = tp->sk.engine->now_ns;
	}
	if (seq_lt(seq, tp->snd_max)) {
		tp->bytes_retrans += data;
		tp->total_retrans++;
		tp->sk.engine->counters.tcp_retrans++;
	} else {
		record(tp, seq, seq + len);
		if (!tp->timing && (tp->loss == NULL || tp->loss->holes)) { /* one a round trip */
			tp->timing = 1;
			tp->rtt_seq = seq + len;
			tp->rtt_start = tp->sk.engine->now_ns;
		}
	}
	if (tp->loss != NULL)
		tp->loss->prr_out += len;
	if (data < len)
		tp->fin_sent = 1;
	/* Nearly all are of one MSS or less, for which no division is made. */
	if (data != tcp_eff_mss(tp) && data % tcp_eff_mss(tp) != 0 && seq_geq(seq, tp->snd_nxt))
		tp->snd_sml = seq + data;
	tp->snd_nxt = seq_max(tp->snd_nxt, seq + len);
	tp->snd_max = seq_max(tp->snd_max, tp->snd_nxt);
	return true;
}

void tcp_syn_send(struct tcp_sock *tp)
{
	struct wire_tcp h;
	uint32_t len = 0;

	(void)ip_path_resolve(tp->sk.engine, &tp->path, tp->sk.peer.addr, tp->sk.local.addr);
	header_fill(tp, &h, tp->iss, tp->state == TCP_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK);
	if (tp->state == TCP_SYN_SENT)
		len = tcp_fastopen_syn(tp, &h);
	else if (tp->fastopen_keys != 0 && tp->sk.accepts != NULL)
		tcp_fastopen_cookie_give(tp, &tp->sk.local, &tp->sk.peer, &h);
	(void)emit(tp, &h, len);
	tp->snd_nxt = tp->snd_max = seq_max(tp->snd_max, tp->iss + 1 + len);
	if (tp->rtt_start == 0) {
		tp->retrans_start_ms = tcp_now_ms(tp->sk.engine); /* a user's timeout begins here */
		tp->timing = 1;
		tp->rtt_seq = tp->iss + 1;
		tp->rtt_start = tp->sk.engine->now_ns;
	}
}

/* A peer that took back a part of its window takes nothing that begins beyond it, ACKs included
 * (RFC9293:3.10.7.4, first step): the edge of the window is where it still looks. */
static uint32_t acceptable_seq(const struct tcp_sock *tp)
{
	uint32_t end = tp->snd_una + tp->snd_wnd;

	return seq_gt(tp->snd_nxt, end) ? end : tp->snd_nxt;
}

/* A burst that opened many gaps has more to tell than one ACK has room for. */
static void tell_more(struct tcp_sock *tp)
{
	struct wire_tcp h;

	for (uint32_t n = 1; n < TCP_SACK_ACKS && tcp_sack_is_due(tp); n++) {
		header_fill(tp, &h, acceptable_seq(tp), TCP_ACK);
		h.sacks_n = tcp_sack_blocks(tp, h.sacks);
		(void)emit(tp, &h, 0);
	}
}

void tcp_ack_send(struct tcp_sock *tp)
{
	struct wire_tcp h;

	header_fill(tp, &h, acceptable_seq(tp), TCP_ACK);
	if (tp->sack_ok && (tp->ooo != NULL || tp->dup_lo != tp->dup_hi))
		h.sacks_n = tcp_sack_blocks(tp, h.sacks);
	(void)emit(tp, &h, 0);
	if (cv_unlikely(tp->ooo != NULL) && tp->sack_ok)
		tell_more(tp);
}

void tcp_probe_send(struct tcp_sock *tp, uint32_t seq)
{
	struct wire_tcp h;

	header_fill(tp, &h, seq, TCP_ACK);
	(void)emit(tp, &h, 0);
}

void tcp_rst_send(struct tcp_sock *tp)
{
	struct wire_tcp h;

	tp->sk.engine->counters.tcp_rst_out++;
	header_fill(tp, &h, tp->snd_nxt, TCP_RST | TCP_ACK);
	h.has_ts = false;
	(void)emit(tp, &h, 0);
}

bool tcp_challenge_allowed(struct engine *e, uint32_t *last)
{
	struct tcp *t = e->tcp;
	uint64_t second = e->now_ns / SEC;

	/* As many as one connection may have are no more than what others see too: or who counts those that are left of a
	 * known number learns of connections that are not his (CVE-2016-5696). As Linux: both limits, and a number
	 * that is drawn. */
	if (*last != 0 && e->now_ms - *last < TCP_REFUSED_ACK_MS)
		return false;
	*last = tcp_now_ms(e);
	if (second != t->challenge_second) {
		t->challenge_second = second;
		t->challenges = TCP_CHALLENGES_PER_SECOND / 2 +
			(uint32_t)e->env.random64(e->env.ctx) % TCP_CHALLENGES_PER_SECOND;
	}
	if (t->challenges == 0)
		return false;
	t->challenges--;
	e->counters.tcp_challenges++;
	return true;
}

void tcp_challenge_ack(struct tcp_sock *tp)
{
	if (tcp_challenge_allowed(tp->sk.engine, &tp->refused_ack_ms))
		tcp_ack_send(tp);
}

void tcp_path_send(struct engine *e, const struct ip_path *path, const struct cv_endpoint *from,
	const struct cv_endpoint *to, const struct wire_tcp *h, uint8_t tos, uint8_t ttl)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(e->pkt_pool);
	char *at;

	if (m == NULL) {
		e->counters.no_mbuf++;
		return;
	}
	at = rte_pktmbuf_append(m, (uint16_t)wire_tcp_emit_bytes(h));
	if (at == NULL) {
		rte_pktmbuf_free(m);
		return;
	}
	wire_tcp_emit(h, (uint8_t *)at);
	e->counters.tcp_out++;
	ip_output(e, path, m, IPPROTO_TCP, tos, ttl != 0 ? ttl : ip_hops(path, to->addr), from->addr, to->addr, CKSUM_OFF);
}

void tcp_raw_send(struct engine *e, const struct cv_endpoint *from, const struct cv_endpoint *to,
	const struct wire_tcp *h)
{
	struct cv_endpoint src = *from;
	struct ip_path path = {0};

	if (ip_path_resolve(e, &path, to->addr, src.addr) == 0)
		tcp_path_send(e, &path, &src, to, h, 0, 0);
}

void tcp_rst_reply(struct engine *e, const struct pkt *p, const struct tcp_seg *s)
{
	struct wire_tcp h = {.sport = s->h.dport, .dport = s->h.sport, .flags = TCP_RST};

	if (s->h.flags & TCP_RST)
		return;
	if (s->h.flags & TCP_ACK) {
		h.seq = s->h.ack;
	} else {
		h.flags |= TCP_ACK;
		h.ack = s->h.seq + s->len + s->fin + ((s->h.flags & TCP_SYN) ? 1 : 0);
	}
	e->counters.tcp_rst_out++;
	tcp_raw_send(e, &p->dst, &p->src, &h);
}
