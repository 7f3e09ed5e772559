/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of a stream may wait to be sent and acknowledged (SO_SNDBUF), where the program did not
 * say it (tcp(7), tcp_wmem): it grows with the congestion window, twice of it, so that the window
 * is never short of bytes.
 *
 * On a short path nothing is ever lost and the window grows without end, but what waits there only
 * falls out of the caches. So the connections that have much to send share what a core can send in
 * a round trip.
 *
 * And how much of it may wait to be sent only (TCP_NOTSENT_LOWAT), so that a program decides late what to send.
 *
 * Called by: tcp_ack.h, for ACKs of connections that have much to send; stack/user/.
 */
#include "stack/tcp/tcp.h"

#define CORE_BYTES_PER_US 13000u /* a core that does nothing but send, rounded up */
#define SHARED_LEAST                                                                               \
	(512u << 10)   /* a quarter of a core's cache: what goes round is written and read there   \
			  twice */
#define EPOCH_SHIFT 24 /* 17 ms in ns */

/* How many have much to send: those of the last epoch, or already more in this one. */
static uint32_t senders(struct tcp_sock *tp)
{
	struct tcp *t = tp->sk.engine->tcp;
	uint32_t epoch = (uint32_t)(tp->sk.engine->now_ns >> EPOCH_SHIFT);

	if (t->send_epoch != epoch) {
		t->senders_before = t->send_epoch + 1 == epoch ? t->senders : 1;
		t->senders = 0;
		t->send_epoch = epoch;
	}
	if (tp->send_epoch != (uint16_t)epoch || t->senders == 0) {
		tp->send_epoch = (uint16_t)epoch;
		t->senders++;
	}
	return t->senders > t->senders_before ? t->senders : t->senders_before;
}

void tcp_sndbuf_acked(struct tcp_sock *tp)
{
	uint64_t shared = (uint64_t)tp->min_rtt_us * CORE_BYTES_PER_US,
		 want = 2 * (uint64_t)tp->cwnd;
	uint32_t most;

	if (tp->sndbuf_locked)
		return;
	if (shared < SHARED_LEAST)
		shared = SHARED_LEAST;
	shared /= senders(tp);
	want = (want < shared ? want : shared) / TCP_SNDBUF_LEAST * TCP_SNDBUF_LEAST;
	if (want < TCP_SNDBUF_LEAST)
		want = TCP_SNDBUF_LEAST;
	most = tp->sk.engine->tcp->config.wmem_max;
	tp->sk.sndbuf = want < most ? (uint32_t)want : most;
}

uint32_t tcp_unsent(const struct sock *sk, uint32_t *lowat)
{
	const struct tcp_sock *tp = cv_container_of(sk, const struct tcp_sock, sk);

	*lowat = tp->notsent_lowat != 0 ? tp->notsent_lowat : sk->engine->tcp->config.notsent_lowat;
	return tp->snd_end - seq_min(tp->snd_nxt, tp->snd_end);
}
