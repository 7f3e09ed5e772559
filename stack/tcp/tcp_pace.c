/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pacing: what the window allows leaves at a rate instead of at once, so that a queue on the way
 * that is much smaller than the window need not hold a burst of it. No RFC says how; the rates are
 * Linux's (tcp_update_pacing_rate): twice the window in a round trip while it doubles, 1.2 times of
 * it later, and never more than SO_MAX_PACING_RATE.
 *
 * Who is paced: sockets with SO_MAX_PACING_RATE, and, as long as it is so, connections with a large
 * window over a long path ([tcp] pacing_window, pacing_rtt). All others have no struct tcp_pace
 * (tcp_loss.h), and pay for one look at a pointer.
 *
 * How: next_ns is when all that was sent will have left at the rate. Until then nothing goes; then
 * so much as leaves in a tick of the wheel, or two segments. A timer that comes late is made up
 * for: the next quantum counts from next_ns.
 *
 * Called by: tcp_output.c around what it sends, tcp_timer.c with round trips, the socket's option,
 * its end.
 */
#include "stack/tcp/tcp_loss.h"

#define TICK_NS (1ull << WHEEL_TICK_SHIFT)
#define QUANTUM_SEGMENTS 2u
#define RATE_MOST (1ull << 40) /* so that products with a few ticks fit 64 bits */

uint64_t tcp_pace_max(const struct tcp_sock *tp)
{
	return tp->pace != NULL ? tp->pace->max_rate : UINT64_MAX;
}

uint64_t tcp_pace_rate(const struct tcp_sock *tp)
{
	const struct engine_tcp_config *config = &tp->sk.engine->tcp->config;
	uint64_t way = tcp_pipe(tp), cwnd = tp->cwnd - tp->cwnd % tcp_eff_mss(tp),
		 rate = UINT64_MAX, most = tcp_pace_max(tp);
	uint32_t percent =
		tp->cwnd < tp->ssthresh / 2 ? config->pacing_ss_ratio : config->pacing_ca_ratio;

	if (way < cwnd) /* whole segments: how ACKs came in a burst makes a difference of bytes */
		way = cwnd;
	if (way < tcp_eff_mss(tp)) /* which goes whatever the window is */
		way = tcp_eff_mss(tp);
	if (tp->srtt_us > 0)
		rate = way * percent * (SEC / 1000 / 100) / tp->srtt_us;
	return rate < most || most == 0 ? rate : most;
}

static uint64_t rate_in_use(const struct tcp_sock *tp)
{
	uint64_t rate = tcp_pace_rate(tp);

	return rate == 0 ? 1 : rate < RATE_MOST ? rate : RATE_MOST;
}

static void fired(struct engine *e, struct timer *timer)
{
	struct tcp_pace *p = cv_container_of(timer, struct tcp_pace, timer);

	(void)e;
	sock_output_later(&p->tp->sk);
}

static bool begin(struct tcp_sock *tp, uint64_t max_rate, bool asked)
{
	struct tcp_pace *p = tp->pace;

	if (p == NULL) {
		p = pool_get(&tp->sk.engine->tcp->paces);
		if (p == NULL)
			return false;
		*p = (struct tcp_pace){.tp = tp};
		timer_init(&p->timer, fired);
		tp->pace = p;
	}
	p->max_rate = max_rate;
	p->asked |= asked;
	return true;
}

void tcp_pace_drop(struct tcp_sock *tp)
{
	struct engine *e = tp->sk.engine;

	if (tp->pace == NULL)
		return;
	timer_del(&e->wheel, &tp->pace->timer);
	pool_put(&e->tcp->paces, tp->pace);
	tp->pace = NULL;
}

void tcp_pace_stop(struct tcp_sock *tp)
{
	if (tp->pace == NULL)
		return;
	timer_del(&tp->sk.engine->wheel, &tp->pace->timer);
	tp->pace->next_ns = 0;
	if (!tp->pace->asked)
		tcp_pace_drop(tp);
}

int tcp_pace_set(struct tcp_sock *tp, uint64_t max_rate)
{
	if (tp->pace == NULL && max_rate == UINT64_MAX)
		return 0;
	if (!begin(tp, max_rate, true))
		return -CV_ENOBUFS;
	tcp_pace_hurry(tp); /* what waits for the old rate */
	return 0;
}

void tcp_pace_hurry(struct tcp_sock *tp)
{
	if (tp->pace == NULL)
		return;
	tp->pace->next_ns = 0;
	if (timer_is_set(&tp->pace->timer))
		sock_output_later(&tp->sk);
}

/* By what was under way at the end of a turn, so that it is the same however a burst of ACKs is
 * taken. */
void tcp_pace_look(struct tcp_sock *tp)
{
	const struct engine_tcp_config *config = &tp->sk.engine->tcp->config;
	bool large = config->pacing_window != 0 && tp->cwnd_used >= config->pacing_window,
	     small = tp->cwnd_used < config->pacing_window / 2;

	if (tp->pace == NULL) {
		if (large && tp->min_rtt_us >= config->pacing_rtt * 1000)
			(void)begin(tp, UINT64_MAX, false); /* no memory: it goes on without */
	} else if (small && !tp->pace->asked) {
		if (timer_is_set(&tp->pace->timer))
			sock_output_later(&tp->sk);
		tcp_pace_drop(tp);
	}
}

void tcp_pace_begin(struct tcp_sock *tp)
{
	struct tcp_pace *p = tp->pace;
	uint64_t now = tp->sk.engine->now_ns, rate = rate_in_use(tp);
	uint64_t least = QUANTUM_SEGMENTS * tcp_eff_mss(tp), quantum = rate * TICK_NS / SEC;
	uint64_t quantum_ns = quantum < least ? least * SEC / rate : TICK_NS;

	p->rate = rate;
	p->next_seq = tp->snd_nxt;
	p->credit = p->again = 0;
	if (p->next_ns > now)
		return;
	if (p->next_ns + quantum_ns <
		now) /* it was idle: no more than one quantum is made up for */
		p->next_ns = now - quantum_ns;
	quantum = (quantum < least ? least : quantum) + (now - p->next_ns) * rate / SEC;
	p->credit = quantum < UINT32_MAX / 2 ? (uint32_t)quantum : UINT32_MAX / 2;
	p->credit = (p->credit + tcp_eff_mss(tp) - 1) / tcp_eff_mss(tp) * tcp_eff_mss(tp);
}

void tcp_pace_end(struct tcp_sock *tp)
{
	struct tcp_pace *p = tp->pace;
	uint32_t spent = p->again + (tp->snd_nxt - p->next_seq);

	p->next_ns += spent * SEC / p->rate;
	if (tcp_pace_room(tp) >= tcp_eff_mss(tp) ||
		(tp->loss == NULL && !seq_lt(tp->snd_nxt, tp->snd_end)))
		timer_del(&tp->sk.engine->wheel, &p->timer); /* it is not we whom it waits for */
	else
		timer_set(&tp->sk.engine->wheel, &p->timer, p->next_ns);
}
