/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The course of a recovery: what an ACK that tells of loss changes, how a recovery begins and ends, what is sent again.
 * What is lost is found by tcp_rack.c, or without records by tcp_holes.c; how much may go is tcp_prr.c's; whether it
 * was needless, tcp_undo.c's.
 */
#include <string.h>

#include "stack/tcp/tcp_ack.h"

#define RENEGED_MIN (10 * MS)
#define LAST_WORD_MIN (10 * MS) /* beyond two round trips, for an ACK that tells of duplicates */

/* --- the life of a tcp_loss ------------------------------------------------------------------------ */

/* By the time: what went once did so by number, and what an earlier recovery sent again lies between. */
static void records_list(struct tcp_sock *tp, struct tcp_loss *l)
{
	struct list *at;

	if (tp->xmit != NULL && seq_lt(tp->xmit->lo, tp->snd_una))
		tp->xmit->lo = tp->snd_una;
	for (struct tcp_xmit *x = tp->xmit; x != NULL; x = x->next) {
		if (!(x->flags & XMIT_AGAIN))
			list_add_tail(&l->flight, &x->way);
	}
	at = l->flight.prev;
	for (struct tcp_xmit *x = tp->xmit; x != NULL; x = x->next) {
		if (x->flags & XMIT_AGAIN)
			at = tcp_xmit_place(l, at, x);
	}
}

struct tcp_loss *tcp_loss_get(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	if (l != NULL)
		return l;
	l = pool_get(&tp->sk.engine->tcp->losses);
	if (l == NULL) {
		tp->sk.engine->counters.tcp_loss_limit++;
		return NULL;
	}
	memset(l, 0, offsetof(struct tcp_loss, sacked));
	ranges_init(&l->sacked, l->sacked_room, TCP_HOLES_MAX);
	l->recover = l->high_rxt = l->lost_below = l->fack = l->again_end = tp->snd_una;
	l->rack_rtt_ns = 1000ull * tp->srtt_us;
	list_init(&l->flight);
	list_init(&l->lost);
	l->holes = tp->xmit == NULL;
	records_list(tp, l);
	tp->timing = 0; /* records time each ACK; without them Karn's algorithm says no */
	return tp->loss = l;
}

void tcp_loss_put(struct tcp_sock *tp)
{
	if (tp->loss == NULL)
		return;
	pool_put(&tp->sk.engine->tcp->losses, tp->loss);
	tp->loss = NULL;
	tp->in_recovery = tp->rto_recovery = 0;
	tcp_timer_stop(tp, TCP_T_REO);
}

/* After a recovery the peer may still tell that it was needless, or a probe: until data that was sent later is
 * acknowledged, or for two round trips when there is none. */
static bool last_word_is_out(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	if (l->undo && seq_gt(tp->snd_una, l->recover))
		l->undo = false;
	if (!l->undo && !l->tlp_out)
		return false;
	if (tp->snd_una == tp->snd_max && !l->timed) {
		l->timed = true;
		tcp_timer_set(tp, TCP_T_REO, 2000ull * tp->srtt_us + LAST_WORD_MIN);
	}
	return true;
}

void tcp_loss_settle(struct tcp_sock *tp)
{
	const struct tcp_loss *l = tp->loss;

	if (l == NULL || tp->in_recovery || tp->rto_recovery)
		return;
	if (l->holes ? l->sacked.n > 0 || l->dupacks > 0
		     : l->sacked_bytes > 0 || l->lost_bytes > 0 || last_word_is_out(tp))
		return;
	tcp_loss_put(tp);
}

/* --- beginnings and ends --------------------------------------------------------------------------- */

void tcp_recovery_rate(struct tcp_sock *tp, uint32_t delivered, bool safe)
{
	uint32_t pipe = tcp_pipe(tp);

	if (delivered > 0 || tp->loss->prr_out == 0)
		tp->cwnd = pipe + tcp_prr_sndcnt(tp->loss, pipe, tp->ssthresh, delivered, safe, tcp_eff_mss(tp));
}

static void rate(struct tcp_sock *tp, const struct tcp_acked *a)
{
	tcp_recovery_rate(tp, a->delivered, tp->snd_una != a->una && a->lost == 0);
}

/* under_way: before the ACK, less what was selectively acknowledged. */
static void reduce(struct tcp_sock *tp, uint32_t under_way)
{
	struct tcp_loss *l = tp->loss;

	tcp_undo_keep(tp);
	l->recover = tp->snd_max;
	tp->ssthresh = tcp_cc_reduce(tp);
	tp->in_recovery = 1;
	tcp_prr_begin(l, under_way);
}

static void begin(struct tcp_sock *tp, const struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;

	tp->sk.engine->counters.tcp_recoveries++;
	l->cwr = false;
	l->probe = tcp_plpmtud_is_lost(tp);
	if (l->probe) { /* RFC4821:7.6.2: not congestion */
		l->undo = false;
		l->recover = tp->snd_max;
		tp->in_recovery = 1;
		return;
	}
	reduce(tp, tp->snd_max - tp->snd_una - l->sacked_bytes + a->delivered);
	rate(tp, a);
}

/* Back to ssthresh, to which PRR has brought it as a rule. Where the peer went silent for a while much less is under way, and
 * to send the rest at once would be a burst of as much (RFC6582:3.2 step 3): no more than a connection begins with; slow
 * start does the rest. */
void tcp_recovery_window(struct tcp_sock *tp)
{
	uint32_t pipe = tcp_pipe(tp), cwnd = tp->cwnd > pipe ? tp->cwnd : pipe;

	cwnd += tcp_initial_window(tp);
	tp->cwnd = cwnd < tp->ssthresh ? cwnd : tp->ssthresh;
}

static void end(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->loss;

	if (tp->in_recovery && !l->probe)
		tcp_recovery_window(tp);
	if (!l->cwr)
		tcp_rack_recovered(tp);
	tp->in_recovery = tp->rto_recovery = 0;
	l->cwr = l->frto = l->probe = false;
	l->recover = tp->snd_max;
}

bool tcp_recovery_cwr(struct tcp_sock *tp)
{
	if (tp->in_recovery || tp->rto_recovery)
		return false;
	if (tp->xmit == NULL || tcp_loss_get(tp) == NULL) { /* at once, without PRR */
		tp->ssthresh = tcp_cc_reduce(tp);
		if (tp->cwnd > tp->ssthresh)
			tp->cwnd = tp->ssthresh;
		return true;
	}
	reduce(tp, tp->snd_max - tp->snd_una - tp->loss->sacked_bytes);
	tp->loss->cwr = true;
	tp->loss->undo = false; /* congestion was told: nothing to doubt */
	return true;
}

/* --- an ACK ------------------------------------------------------------------------------------------ */

static void in_fast_recovery(struct tcp_sock *tp, const struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;
	bool advanced = tp->snd_una != a->una;

	if (tcp_undo_is_told(tp) || (advanced && tcp_undo_is_delayed(tp, a->h))) {
		tcp_undo(tp);
		l->recover = tp->snd_max;
	} else if (seq_geq(tp->snd_una, l->recover)) {
		end(tp);
	} else {
		if (l->cwr && l->lost_bytes > 0) { /* the window shrinks already */
			l->cwr = false;
			l->recover = tp->snd_max;
		}
		if (!l->probe)
			rate(tp, a);
		else if (a->lost > 0) /* more than the probe */
			begin(tp, a);
		return;
	}
	if (l->lost_bytes > 0)
		begin(tp, a);
}

static void after_timeout(struct tcp_sock *tp, const struct tcp_acked *a)
{
	struct tcp_loss *l = tp->loss;

	if (!tcp_undo_frto(tp, a)) {
		l->recover = tp->snd_max;
	} else {
		if (seq_geq(tp->snd_una, l->recover))
			end(tp);
		if (tp->snd_una != a->una)
			tcp_cc_acked(tp, tp->snd_una - a->una, a->h);
	}
	if (!tp->rto_recovery && l->lost_bytes > 0)
		begin(tp, a);
}

static void proceed(struct tcp_sock *tp, const struct tcp_acked *a)
{
	const struct tcp_loss *l = tp->loss;

	if (tp->in_recovery) {
		in_fast_recovery(tp, a);
	} else if (tp->rto_recovery) {
		after_timeout(tp, a);
	} else {
		if (tcp_undo_is_told(tp)) /* after its end */
			tcp_undo(tp);
		if (l->lost_bytes > 0)
			begin(tp, a);
		else if (tp->snd_una != a->una)
			tcp_cc_acked(tp, tp->snd_una - a->una, a->h);
	}
}

void tcp_recovery_ack(struct tcp_sock *tp, const struct wire_tcp *h, bool duplicate)
{
	struct tcp_loss *l = tp->loss;
	struct tcp_acked a = {.h = h, .una = tp->snd_una, .fack = l->fack, .duplicate = duplicate};

	if (h->sacks_n > 0 && !tcp_rack_sack(tp, &a)) {
		tcp_holes_ack(tp, h, false);
		return;
	}
	l->dupacks = (uint8_t)(l->dupacks + (a.sacked && l->dupacks < UINT8_MAX));
	if (seq_gt(h->ack, tp->snd_una)) {
		tcp_ack_una(tp, h);
		tcp_rack_una(tp, &a);
		l->dupacks = 0;
	}
	if (tp->snd_una != a.una && l->sample == TCP_SAMPLE_UNSURE)
		l->sample_tsecr = tp->ts_ok && h->has_ts ? h->tsecr : 0;
	a.lost = tcp_rack_detect(tp, a.dsack);
	tcp_tlp_ack(tp, &a);
	proceed(tp, &a);
	if (tp->snd_una != a.una)
		tcp_rexmt_update(tp, true);
	if (l->reneged)
		tcp_timer_set(tp, TCP_T_REXMT,
			500ull * tp->srtt_us > RENEGED_MIN ? 500ull * tp->srtt_us : RENEGED_MIN);
	sock_output_later(&tp->sk);
}

/* The round trip (RFC6298:3), after all ACKs of the turn, so that it is the same whether a burst was merged or not. What
 * was sent more than once only the timestamp can tell apart (Karn, RFC7323:4.1). */
static void time_it(struct tcp_sock *tp, struct tcp_loss *l)
{
	if (l->sample == TCP_SAMPLE_SURE) {
		tcp_rtt_sample(tp, tp->sk.engine->now_ns - l->heard_ns);
	} else if (l->sample == TCP_SAMPLE_UNSURE && l->sample_tsecr != 0) {
		uint32_t ms = tcp_ts_now(tp) - l->sample_tsecr;

		if (ms < TCP_RTO_MAX / MS)
			tcp_rtt_sample(tp, (ms > 0 ? ms : 1) * MS);
	}
	l->sample = TCP_SAMPLE_NONE;
	l->sample_tsecr = 0;
}

void tcp_recovery_turn(struct tcp_sock *tp)
{
	if (!tp->loss->holes)
		time_it(tp, tp->loss);
	tcp_loss_settle(tp);
}

/* --- timers ------------------------------------------------------------------------------------------ */

void tcp_recovery_timer(struct tcp_sock *tp)
{
	const struct wire_tcp none = {0};
	const struct tcp_acked a = {.h = &none, .una = tp->snd_una};
	struct tcp_loss *l = tp->loss;

	if (l == NULL || l->holes)
		return;
	if (l->timed) { /* the last word was not said */
		if (l->tlp_out && l->tlp_again && seq_geq(tp->snd_una, l->tlp_end))
			tcp_tlp_lost(tp);
		l->timed = l->undo = l->tlp_out = false;
	}
	if (tcp_rack_detect(tp, false) > 0 && !tp->in_recovery && !tp->rto_recovery)
		begin(tp, &a);
	sock_output_later(&tp->sk);
	tcp_loss_settle(tp);
}

/* Nothing is known and nothing can be: the first segment again. */
static void timeout_without_memory(struct tcp_sock *tp)
{
	tp->ssthresh = tcp_cc_reduce(tp);
	tp->cwnd = tcp_eff_mss(tp);
	tcp_cc_event(tp, TCP_CC_RTO);
	(void)tcp_segment_send(tp, tp->snd_una, seq_min(tp->snd_una + tp->cwnd, tp->snd_max) - tp->snd_una, 0);
}

static void resend(struct tcp_sock *tp, struct tcp_loss *l, bool all)
{
	tp->in_recovery = 0;
	tp->rto_recovery = 1;
	l->cwr = l->tlp_out = l->frto_new = l->timed = l->probe = false;
	l->recover = tp->snd_max;
	l->dupacks = 0;
	tp->timing = 0;
	tcp_timer_stop(tp, TCP_T_REO);
	if (l->holes || !tcp_rack_timeout(tp, all))
		tcp_holes_timeout(tp);
	sock_output_later(&tp->sk);
}

void tcp_recovery_rto(struct tcp_sock *tp)
{
	struct tcp_loss *l = tcp_loss_get(tp);
	/* RFC5682:3.1 step 1: not where an earlier timeout's repair has come some way; again for the same segment, as Linux */
	bool first = !(tp->in_recovery | tp->rto_recovery), frto = first || (tp->rto_recovery && tp->backoff > 1);

	if (l == NULL) {
		timeout_without_memory(tp);
		return;
	}
	if (first || seq_geq(tp->snd_una, l->recover)) { /* RFC5681 (4): once */
		tcp_undo_keep(tp);
		tp->ssthresh = tcp_cc_reduce(tp);
	}
	resend(tp, l, false);
	/* What is believed to be under way still leaves room for one. */
	tp->cwnd = tcp_pipe(tp) + tcp_eff_mss(tp);
	tcp_cc_event(tp, TCP_CC_RTO);
	l->frto = frto && !l->holes && l->undo;
	if (l->frto)
		l->again = false;
}

void tcp_recovery_resend(struct tcp_sock *tp)
{
	struct tcp_loss *l = tp->snd_max != tp->snd_una ? tcp_loss_get(tp) : NULL;

	if (l == NULL)
		return;
	l->undo = l->frto = false;
	if (tp->ssthresh > tp->cwnd)
		tp->ssthresh = tp->cwnd;
	resend(tp, l, true);
}

/* --- what the output asks ----------------------------------------------------------------------------- */

uint32_t tcp_pipe_in_loss(const struct tcp_sock *tp)
{
	const struct tcp_loss *l = tp->loss;

	return l->holes ? tcp_holes_pipe(tp) : tp->snd_max - tp->snd_una - l->sacked_bytes - l->lost_bytes;
}

static bool lost_next(const struct tcp_sock *tp, uint32_t *seq, uint32_t *len)
{
	const struct tcp_loss *l = tp->loss;
	const struct tcp_xmit *x;

	/* F-RTO waits for the answer to the first before it sends more of what may not be lost. */
	if (list_empty(&l->lost) || (l->frto && l->again))
		return false;
	x = list_entry(l->lost.next, const struct tcp_xmit, way);
	*seq = seq_max(x->lo, tp->snd_una);
	*len = seq_min(*seq + tcp_eff_mss(tp), x->hi) - *seq;
	return true;
}

bool tcp_recovery_next(struct tcp_sock *tp, uint32_t *seq, uint32_t *len)
{
	uint32_t end, allowed = tp->snd_una + tp->snd_wnd;

	if (tp->loss == NULL || !(tp->in_recovery | tp->rto_recovery))
		return false;
	if (!(tp->loss->holes ? tcp_holes_next(tp, seq, len) : lost_next(tp, seq, len)))
		return false;
	/* Not beyond what the peer allows now: it may have taken back a part of its window, and some
	 * (Linux since 6.17) then drop the whole segment. The first segment goes in any case. */
	end = *seq + *len;
	if (seq_gt(end, allowed) && seq_lt(*seq, allowed))
		*len = allowed - *seq;
	return true;
}

void tcp_recovery_sent(struct tcp_sock *tp, uint32_t seq, uint32_t len)
{
	struct tcp_loss *l = tp->loss;

	tcp_undo_again(tp, seq, len);
	if (l->holes)
		l->high_rxt = seq + len;
	else if (!tcp_xmit_again(tp, list_entry(l->lost.next, struct tcp_xmit, way), seq, len))
		tcp_xmit_forget(tp);
}
