/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packetization layer path MTU discovery (RFC4821), for paths on which large packets vanish and no
 * ICMP message says so. As Linux with tcp_mtu_probing=1, but slower to believe it of sizes that
 * arrived before: a connection whose large segments time out several times in a row goes on with
 * smaller ones, and then looks for the largest that arrives:
 * one segment at a time is made larger than the others. Acknowledged, it is the size of all;
 * missing, while what was sent after it arrived, it was too large, and that is no sign of
 * congestion.
 *
 * Sizes are payload bytes of a segment, as tcp_eff_mss() has them. The first probe has all that the
 * path should take: if it arrives, the silence was an outage and all is as before. Else the search
 * halves what is left.
 *
 * Only a connection in such trouble has a struct tcp_plpmtud (tcp_loss.h). Without SACK nothing
 * tells a probe's loss from any other: then the segments stay small.
 *
 * Called by: tcp_timer.c at timeouts, tcp_output.c before new data, tcp_recovery.c when something
 * is lost.
 */
#include "stack/tcp/tcp_loss.h"

#define PROVEN_TIMEOUTS                                                                            \
	5u /* more than retries1, in a row: of segments as large as others that arrived */
#define PROVEN_SEGMENTS 2u
#define CLOSE_ENOUGH 8u /* Linux's tcp_probe_threshold */
#define WINDOW_LEAST                                                                               \
	11u /* segments: a lost probe still leaves enough to be noticed by, as in Linux */
#define BEHIND_PROBE 4u /* segments that go behind it and tell of its loss */

static bool begin(struct tcp_sock *tp, uint32_t low)
{
	struct tcp_plpmtud *p = pool_get(&tp->sk.engine->tcp->plpmtuds);

	if (p == NULL)
		return false;
	*p = (struct tcp_plpmtud){.low = (uint16_t)low, .high = (uint16_t)tcp_mss_of_path(tp)};
	tp->plpmtud = p;
	return true;
}

void tcp_plpmtud_stop(struct tcp_sock *tp)
{
	if (tp->plpmtud == NULL)
		return;
	pool_put(&tp->sk.engine->tcp->plpmtuds, tp->plpmtud);
	tp->plpmtud = NULL;
}

void tcp_plpmtud_established(struct tcp_sock *tp)
{
	const struct engine_tcp_config *config = &tp->sk.engine->tcp->config;

	if (config->mtu_probing == 2 && tp->plpmtud == NULL && tp->mss > config->base_mss &&
		begin(tp, config->base_mss))
		tcp_mss_update(tp);
}

/* The path has another MTU by now, or we may not reach it at all. */
static bool path_is_known(struct tcp_sock *tp)
{
	return ip_path_is_valid(tp->sk.engine, &tp->path) ||
	       ip_path_resolve(tp->sk.engine, &tp->path, tp->sk.peer.addr, tp->sk.local.addr) == 0;
}

/* As many bytes arrived as such segments have: it hardly is their size. */
static bool is_proven(const struct tcp_sock *tp)
{
	uint32_t acked = (uint32_t)tp->bytes_acked - (tp->plpmtud != NULL ? tp->plpmtud->acked : 0);

	if (tp->loss != NULL)
		acked += tcp_loss_sacked(tp->loss);
	return acked >= PROVEN_SEGMENTS * tp->mss;
}

/* Linux does not ask what arrived before, and takes any bad loss for a hole: its segments end at 48
 * bytes. */
static bool is_black_hole(const struct tcp_sock *tp, const struct engine_tcp_config *config)
{
	uint32_t needed = config->retries1;

	if (is_proven(tp)) {
		if (tp->mss <= config->base_mss)
			return false;
		needed += PROVEN_TIMEOUTS;
	}
	return config->mtu_probing != 0 && tp->backoff >= needed;
}

void tcp_plpmtud_timeout(struct tcp_sock *tp)
{
	const struct engine_tcp_config *config = &tp->sk.engine->tcp->config;
	struct tcp_plpmtud *p = tp->plpmtud;
	uint32_t first = seq_min(tp->snd_una + tp->mss, tp->snd_max) - tp->snd_una;
	uint32_t low = tp->mss > config->base_mss ? config->base_mss : tp->mss / 2;

	if (p != NULL && p->probe != 0) {
		p->high = (uint16_t)(p->probe - 1);
		p->probe = 0;
	}
	if (low < config->mtu_probe_floor)
		low = config->mtu_probe_floor;
	/* What is so small already does not arrive for another reason. */
	if (first <= low || !is_black_hole(tp, config) || !path_is_known(tp))
		return;
	if (p == NULL && !begin(tp, low))
		return;
	tp->plpmtud->low = (uint16_t)low;
	tp->plpmtud->acked = (uint32_t)tp->bytes_acked;
	tp->plpmtud->rest_ms = 0;
	tp->sk.engine->counters.tcp_black_holes++;
	tcp_mss_update(tp);
}

/* What is tried next; 0: nothing, now. */
static uint32_t next_size(struct tcp_sock *tp, struct tcp_plpmtud *p)
{
	uint32_t path = tcp_mss_of_path(tp), now = tcp_now_ms(tp->sk.engine);
	uint32_t high = p->high < path ? p->high : path;

	if (p->low + CLOSE_ENOUGH <= high)
		return high == path ? high : (p->low + high + 1) / 2;
	if (p->rest_ms == 0)
		p->rest_ms = now > 0 ? now : 1;
	if (now - p->rest_ms < tp->sk.engine->tcp->config.mtu_probe_interval * 1000)
		return 0;
	p->rest_ms = 0; /* the path may be another by now (RFC4821:7.7) */
	p->high = (uint16_t)path;
	return 0;
}

/* All that Linux wants too: a quiet connection with enough to send, that the window lets go. */
static bool may_probe(const struct tcp_sock *tp, uint32_t size)
{
	uint32_t mss = tcp_eff_mss(tp), need = size + BEHIND_PROBE * mss,
		 way = tp->snd_max - tp->snd_una;

	return tp->sack_ok && tp->loss == NULL && tp->backoff == 0 && !tp->fin_sent &&
	       tp->snd_nxt == tp->snd_max && tp->cwnd >= WINDOW_LEAST * mss &&
	       tp->snd_end - tp->snd_nxt >= need &&
	       seq_leq(tp->snd_nxt + need, tp->snd_una + tp->snd_wnd) && way + need <= tp->cwnd &&
	       (way == 0 || tp->xmit != NULL) && (tp->pace == NULL || tcp_pace_room(tp) >= size);
}

uint32_t tcp_plpmtud_output(struct tcp_sock *tp)
{
	struct tcp_plpmtud *p = tp->plpmtud;
	uint32_t size;

	if (p->probe != 0) {
		if (seq_lt(tp->snd_una, p->probe_lo + p->probe))
			return 0;
		p->low = p->probe;
		p->probe = 0;
		tcp_mss_update(tp);
	}
	if (p->low >= tcp_mss_of_path(tp)) {
		tcp_plpmtud_stop(tp);
		tcp_mss_update(tp);
		return 0;
	}
	size = next_size(tp, p);
	if (size == 0 || !may_probe(tp, size))
		return 0;
	p->probe_lo = tp->snd_nxt;
	tp->mss = (uint16_t)size; /* of this one */
	if (tcp_segment_send(tp, tp->snd_nxt, size, 0)) {
		p->probe = (uint16_t)size;
		tp->sk.engine->counters.tcp_mtu_probes++;
	}
	tcp_mss_update(tp);
	return 1;
}

bool tcp_plpmtud_is_lost(struct tcp_sock *tp)
{
	struct tcp_plpmtud *p = tp->plpmtud;
	const struct tcp_loss *l = tp->loss;
	const struct tcp_xmit *x;

	if (p == NULL || p->probe == 0 || l->holes || list_empty(&l->lost) ||
		l->lost_bytes > p->probe)
		return false;
	x = list_entry(l->lost.next, const struct tcp_xmit, way);
	if (tp->snd_una != p->probe_lo || x->lo != p->probe_lo)
		return false;
	p->high = (uint16_t)(p->probe - 1);
	p->probe = 0;
	return true;
}
