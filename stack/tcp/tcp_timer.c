/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers: RTO (RFC6298) and tail loss probes (RFC8985:7.2), window probes, delayed ACK, keepalive
 * (RFC1122:4.2.3.6), orphans; when a peer is given up (RFC1122:4.2.3.5, RFC5482).
 * One wheel timer stands at or before the earliest deadline; moving a deadline later is one store.
 */
#include <string.h>

#include "stack/tcp/tcp_loss.h"

#define PTO_SLACK (2 * MS) /* two ticks of the wheel */

static const struct engine_tcp_config *config_of(const struct tcp_sock *tp)
{
	return &tp->sk.engine->tcp->config;
}

static void rearm(struct tcp_sock *tp)
{
	struct engine *e = tp->sk.engine;
	uint64_t first = UINT64_MAX;

	for (int i = 0; i < TCP_TIMERS; i++) {
		uint64_t at = tp->deadline[i] != 0 ? tcp_deadline_ns(e, tp->deadline[i]) : UINT64_MAX;

		first = at < first ? at : first;
	}
	if (first != UINT64_MAX)
		timer_set(&e->wheel, &tp->timer, first);
}

void tcp_timer_set(struct tcp_sock *tp, enum tcp_timer t, uint64_t after_ns)
{
	uint64_t at = tp->sk.engine->now_ns + after_ns;

	tp->deadline[t] = tcp_deadline(at);
	if (!timer_is_set(&tp->timer) || tp->timer.expires > at >> WHEEL_TICK_SHIFT)
		timer_set(&tp->sk.engine->wheel, &tp->timer, at);
}

void tcp_timer_stop_all(struct tcp_sock *tp)
{
	for (int i = 0; i < TCP_TIMERS; i++)
		tp->deadline[i] = 0;
	timer_del(&tp->sk.engine->wheel, &tp->timer);
}

void tcp_rtt_sample(struct tcp_sock *tp, uint64_t rtt_ns)
{
	uint32_t r = (uint32_t)(rtt_ns / US);
	uint64_t rto, pto;

	if (r == 0)
		r = 1;
	if (tp->srtt_us == 0) { /* RFC6298:2.2 */
		tp->srtt_us = r;
		tp->rttvar_us = r / 2;
		tp->min_rtt_us = r;
	} else { /* 2.3 */
		uint32_t d = tp->srtt_us > r ? tp->srtt_us - r : r - tp->srtt_us;

		tp->rttvar_us = tp->rttvar_us - tp->rttvar_us / 4 + d / 4;
		tp->srtt_us = tp->srtt_us - tp->srtt_us / 8 + r / 8;
		if (r < tp->min_rtt_us)
			tp->min_rtt_us = r;
	}
	rto = 4ull * tp->rttvar_us;
	rto = tp->srtt_us + (rto > TCP_RTO_MIN / US ? rto : TCP_RTO_MIN / US);
	tp->rto_us = (uint32_t)(rto < TCP_RTO_MAX / US ? rto : TCP_RTO_MAX / US);
	pto = 2ull * tp->srtt_us + PTO_SLACK / US;
	tp->pto_us = tp->sack_ok && pto < tp->rto_us ? (uint32_t)pto : tp->rto_us;
	tcp_pace_look(tp);
}

/* The RTO, doubled so many times. */
static uint64_t backed_off(const struct tcp_sock *tp, uint32_t shift)
{
	uint64_t t = tp->rto_us * US << (shift < 12 ? shift : 12);

	return t < TCP_RTO_MAX ? t : TCP_RTO_MAX;
}

static void count(uint8_t *n)
{
	if (*n < UINT8_MAX)
		++*n;
}

/* Sets the retransmission timer; the user's patience may end before it (RFC5482). */
static void rexmt_set(struct tcp_sock *tp, uint64_t wait)
{
	if (tp->user_timeout_ms != 0 && tp->retrans_start_ms != 0) {
		uint32_t waited = tp->sk.engine->now_ms - tp->retrans_start_ms;
		uint64_t left = waited < tp->user_timeout_ms ? (tp->user_timeout_ms - waited) * MS : 0;

		wait = wait < left ? wait : left;
	}
	tcp_timer_set(tp, TCP_T_REXMT, wait);
}

static uint64_t rexmt_wait(const struct tcp_sock *tp)
{
	if (tp->backoff == 0 && tp->loss == NULL && tp->snd_max - tp->snd_una > tcp_eff_mss(tp))
		return tp->pto_us * US;
	return backed_off(tp, tp->backoff);
}

void tcp_rexmt_update(struct tcp_sock *tp, bool restart)
{
	bool waiting = tp->snd_max != tp->snd_una;

	if (waiting) {
		uint64_t wait = rexmt_wait(tp);

		/* It also comes nearer: the second segment of a flight may be probed for. */
		if (restart || tp->persist || tp->deadline[TCP_T_REXMT] == 0 ||
			tcp_deadline_ns(tp->sk.engine, tp->deadline[TCP_T_REXMT]) > tp->sk.engine->now_ns + wait)
			rexmt_set(tp, wait);
		tp->persist = 0;
		return;
	}
	/* Nothing under way, and data that is held back: by a shut window, which is probed
	 * (RFC9293:3.8.6.1), or as too small to be worth a segment (SWS, MSG_MORE, TCP_CORK), which
	 * ends in time. What pacing holds back has a timer of its own. */
	if (tp->state >= TCP_ESTABLISHED && !tcp_pace_holds(tp) &&
		(seq_lt(tp->snd_nxt, tp->snd_end) || (tp->fin_queued && !tp->fin_sent))) {
		uint64_t wait = tp->snd_wnd == 0 ? backed_off(tp, tp->probes) : TCP_HELD_MAX;

		/* It also comes nearer, when a window that was shut opens a little. */
		if (!tp->persist || tp->deadline[TCP_T_REXMT] == 0 ||
			tcp_deadline_ns(tp->sk.engine, tp->deadline[TCP_T_REXMT]) > tp->sk.engine->now_ns + wait + MS)
			rexmt_set(tp, wait);
		tp->persist = 1;
		return;
	}
	tp->persist = 0;
	tp->probes = 0;
	tcp_timer_stop(tp, TCP_T_REXMT);
}

static bool gave_up(struct tcp_sock *tp, uint32_t tries, uint32_t most)
{
	const struct engine *e = tp->sk.engine;

	if (tp->retrans_start_ms == 0)
		tp->retrans_start_ms = tcp_now_ms(e);
	if (tp->user_timeout_ms != 0 && e->now_ms - tp->retrans_start_ms >= tp->user_timeout_ms)
		return true;
	if (tp->user_timeout_ms != 0 && tp->state >= TCP_ESTABLISHED)
		return false;
	return tries >= most;
}

static void time_out(struct tcp_sock *tp, const char *why)
{
	enum cv_error error = tp->soft_error ? tp->soft_error : CV_ETIMEDOUT;

	tcp_done(tp, error, why);
}

static void persist_timeout(struct tcp_sock *tp)
{
	if (tp->snd_wnd > 0) { /* held back for long enough: what fits goes now */
		uint32_t end = seq_min(tp->snd_end, tp->snd_nxt + tp->snd_wnd);

		end = seq_min(end, tp->snd_nxt + tcp_eff_mss(tp));
		if (end != tp->snd_nxt)
			(void)tcp_segment_send(tp, tp->snd_nxt, end - tp->snd_nxt, TCP_PSH);
		sock_output_later(&tp->sk); /* a FIN that waited */
		tcp_rexmt_update(tp, true);
		return;
	}
	/* A peer that answers probes keeps the connection for ever (MUST-37), unless nobody is here. */
	if (tp->closed ? gave_up(tp, tp->probes, config_of(tp)->orphan_retries)
		       : gave_up(tp, tp->probes_out, config_of(tp)->retries2)) {
		time_out(tp, "no answer to window probes");
		return;
	}
	count(&tp->probes_out);
	count(&tp->probes);
	tcp_probe_send(tp, tp->snd_una - 1);
	rexmt_set(tp, backed_off(tp, tp->probes));
}

/* The timer may have stood for a probe, or before what the records say: true when it is not the RTO's time. */
static bool probe_or_wait(struct tcp_sock *tp)
{
	uint64_t now = tp->sk.engine->now_ns, due, probe;

	if (tp->loss != NULL && tp->loss->reneged)
		return false;
	if (tp->xmit == NULL) { /* there were records when it was set */
		due = tp->pto_us < tp->rto_us && tp->backoff == 0 ? now + (tp->rto_us - tp->pto_us) * US : now;
		tp->pto_us = tp->rto_us;
	} else {
		due = tp->xmit->sent_ns + backed_off(tp, tp->backoff);
		probe = tcp_tlp_due(tp);
		if (probe != 0 && probe <= now && tcp_tlp_send(tp)) {
			if (tp->retrans_start_ms == 0)
				tp->retrans_start_ms = tcp_now_ms(tp->sk.engine);
			due = now + tp->rto_us * US; /* RFC8985:7.3 */
		} else if (probe > now && probe < due) {
			due = probe;
		}
	}
	if (due <= now)
		return false;
	rexmt_set(tp, due - now);
	return true;
}

/* RFC1122:4.2.3.5 (a): the way to the peer may be another by now. */
static void doubt_path(struct tcp_sock *tp)
{
	tp->sk.engine->counters.tcp_r1++;
	memset(&tp->path, 0, sizeof(tp->path));
}

static void rexmt_timeout(struct tcp_sock *tp)
{
	const struct engine_tcp_config *config = config_of(tp);
	uint32_t most = tp->closed ? config->orphan_retries : config->retries2;

	if (tp->state == TCP_SYN_SENT)
		most = tp->syncnt != 0 ? tp->syncnt : config->syn_retries;
	else if (tp->state == TCP_SYN_RECEIVED)
		most = tp->syncnt != 0 ? tp->syncnt : config->synack_retries;
	if (!(tp->user_timeout_ms != 0 && tp->retrans_start_ms != 0 && gave_up(tp, 0, most)) && probe_or_wait(tp))
		return;
	/* A peer that has shut its window and answers is there (SHLD-17): what goes again is a probe. */
	if (gave_up(tp, tp->snd_wnd == 0 && !tp->closed && tp->state >= TCP_ESTABLISHED ? tp->probes_out : tp->backoff,
		    most)) {
		time_out(tp, "retransmissions gave up");
		return;
	}
	count(&tp->probes_out);
	count(&tp->backoff);
	if (tp->backoff == config->retries1)
		doubt_path(tp);
	tp->sk.engine->counters.tcp_timeouts++;
	tp->timing = 0; /* Karn */
	if (tp->state <= TCP_SYN_RECEIVED) {
		tcp_syn_send(tp);
	} else {
		if (tp->backoff >= config->retries1 || tp->plpmtud != NULL)
			tcp_plpmtud_timeout(tp);
		tcp_recovery_rto(tp);
		tcp_pace_hurry(tp);
		sock_output_later(&tp->sk);
	}
	rexmt_set(tp, backed_off(tp, tp->backoff));
}

void tcp_keepalive_restart(struct tcp_sock *tp)
{
	tp->keep_probes = 0;
	if (tp->keepalive && tp->state >= TCP_ESTABLISHED)
		tcp_timer_set(tp, TCP_T_KEEP, (uint64_t)tp->keep_idle_s * SEC);
	else
		tcp_timer_stop(tp, TCP_T_KEEP);
}

void tcp_orphan_timer(struct tcp_sock *tp)
{
	int seconds = tp->linger2_s;

	if (seconds < 0) /* TCP_LINGER2: not at all */
		tcp_done(tp, CV_OK, "FIN_WAIT_2 is not wanted");
	else
		tcp_timer_set(tp, TCP_T_LINGER, (seconds > 0 ? (uint32_t)seconds : config_of(tp)->fin_timeout) * SEC);
}

static void keep_timeout(struct tcp_sock *tp)
{
	uint64_t quiet = (tp->sk.engine->now_ms - tp->last_rx_ms) * MS,
		 idle = (uint64_t)tp->keep_idle_s * SEC;

	if (tp->keep_probes == 0 && quiet < idle) {
		tcp_timer_set(tp, TCP_T_KEEP, idle - quiet);
		return;
	}
	/* Behind a FIN snd_nxt is beyond snd_end: there is nothing to send, and the peer is asked. */
	if (tp->snd_max != tp->snd_una || seq_lt(tp->snd_nxt, tp->snd_end)) {
		tcp_timer_set(tp, TCP_T_KEEP, idle); /* the retransmission timer watches */
		return;
	}
	/* tcp(7): the user's timeout takes the place of the count */
	if (tp->user_timeout_ms != 0 ? tp->keep_probes > 0 && quiet >= tp->user_timeout_ms * MS
				     : tp->keep_probes >= tp->keep_cnt) {
		tcp_rst_send(tp);
		tcp_done(tp, CV_ETIMEDOUT, "keepalive");
		return;
	}
	count(&tp->keep_probes);
	tcp_probe_send(tp, tp->snd_una - 1);
	tcp_timer_set(tp, TCP_T_KEEP, (uint64_t)tp->keep_intvl_s * SEC);
}

static void timeout(struct tcp_sock *tp, enum tcp_timer t)
{
	switch (t) {
	case TCP_T_REXMT:
		if (tp->persist)
			persist_timeout(tp);
		else
			rexmt_timeout(tp);
		break;
	case TCP_T_DELACK:
		tp->ack_now = 1;
		tp->pingpong = false; /* no answer came to carry it */
		sock_output_later(&tp->sk);
		break;
	case TCP_T_KEEP:
		keep_timeout(tp);
		break;
	case TCP_T_LINGER:
		if (tp->state == TCP_FIN_WAIT_2)
			tcp_done(tp, CV_OK, "FIN_WAIT_2 timeout");
		break;
	case TCP_T_REO:
		tcp_recovery_timer(tp);
		break;
	case TCP_TIMERS:
		break;
	}
}

static void wheel_fired(struct engine *e, struct timer *timer)
{
	struct tcp_sock *tp = cv_container_of(timer, struct tcp_sock, timer);

	for (int i = 0; i < TCP_TIMERS && tp->state != TCP_CLOSED; i++) {
		if (tp->deadline[i] == 0 || tcp_deadline_ns(e, tp->deadline[i]) > e->now_ns)
			continue;
		tp->deadline[i] = 0;
		timeout(tp, (enum tcp_timer)i);
	}
	if (tp->state != TCP_CLOSED)
		rearm(tp);
	if (tp->sk.lowat)
		sock_event(&tp->sk); /* what was held back may have gone */
	tcp_leave(tp);
}

void tcp_timer_init(struct tcp_sock *tp)
{
	timer_init(&tp->timer, wheel_fired);
}
