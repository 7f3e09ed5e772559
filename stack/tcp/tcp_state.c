/* SPDX-License-Identifier: BSD-3-Clause */
/* States, the legal transitions (RFC9293 figure 5), what each state requires. See tcp.h. */
#include "stack/tcp/tcp_loss.h"

const char *tcp_state_name(enum tcp_state s)
{
	static const char *const names[TCP_STATES] = {
#define X(name, number) #name,
#include "stack/tcp/tcp_state.def"
#undef X
	};

	return s < TCP_STATES ? names[s] : "?";
}

enum cv_tcp_state tcp_state_number(enum tcp_state s)
{
	static const enum cv_tcp_state numbers[TCP_STATES] = {
#define X(name, number) number,
#include "stack/tcp/tcp_state.def"
#undef X
	};

	return numbers[s];
}

#define TO(s) (1u << TCP_##s)

bool tcp_state_may(enum tcp_state from, enum tcp_state to)
{
	/* CLOSED is reachable from everywhere: reset, timeout, abort. */
	static const uint16_t legal[TCP_STATES] = {
		[TCP_CLOSED] = TO(LISTEN) | TO(SYN_SENT) | TO(SYN_RECEIVED),
		[TCP_LISTEN] = TO(CLOSED) | TO(SYN_SENT),
		[TCP_SYN_SENT] = TO(CLOSED) | TO(SYN_RECEIVED) | TO(ESTABLISHED),
		[TCP_SYN_RECEIVED] = TO(CLOSED) | TO(ESTABLISHED) | TO(FIN_WAIT_1) | TO(CLOSE_WAIT),
		[TCP_ESTABLISHED] = TO(CLOSED) | TO(FIN_WAIT_1) | TO(CLOSE_WAIT),
		[TCP_CLOSE_WAIT] = TO(CLOSED) | TO(LAST_ACK),
		[TCP_FIN_WAIT_1] = TO(CLOSED) | TO(FIN_WAIT_2) | TO(CLOSING) | TO(TIME_WAIT),
		[TCP_CLOSING] = TO(CLOSED) | TO(TIME_WAIT),
		[TCP_LAST_ACK] = TO(CLOSED),
		[TCP_FIN_WAIT_2] = TO(CLOSED) | TO(TIME_WAIT),
		[TCP_TIME_WAIT] = TO(CLOSED),
	};

	return (legal[from] & (1u << to)) != 0;
}

bool tcp_state_needs_rst(enum tcp_state s)
{
	return s == TCP_SYN_RECEIVED || s == TCP_ESTABLISHED || s == TCP_CLOSE_WAIT ||
		s == TCP_FIN_WAIT_1 || s == TCP_FIN_WAIT_2;
}

static uint32_t status_of(const struct tcp_sock *tp)
{
	uint32_t st = tp->sk.status & (CV_ST_BOUND | CV_ST_URGENT | CV_ST_RX_EOF | CV_ST_FIN | CV_ST_TX_SHUT);

	switch ((enum tcp_state)tp->state) {
	case TCP_CLOSED:
		return st;
	case TCP_LISTEN:
		return st | CV_ST_LISTENING;
	case TCP_SYN_SENT:
		return st | (tp->fastopen_waits ? CV_ST_CONNECTED | CV_ST_SYN_WAITS : CV_ST_CONNECTING);
	case TCP_SYN_RECEIVED: /* a simultaneous open under way, or opened fast */
		return st | (tp->fastopen ? CV_ST_CONNECTED : CV_ST_CONNECTING);
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
	case TCP_FIN_WAIT_1:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
	case TCP_FIN_WAIT_2:
	case TCP_TIME_WAIT:
	case TCP_STATES:
		break;
	}
	return st | CV_ST_CONNECTED;
}

void tcp_set_state(struct tcp_sock *tp, enum tcp_state to, const char *why)
{
	(void)why; /* for the tracer */
	assert(tcp_state_may(tp->state, to));
	tp->state = (uint8_t)to;
	tp->sk.status = status_of(tp);
	sock_event(&tp->sk);
}

static void queues_drop(struct tcp_sock *tp)
{
	struct list *node;

	tp->cursor = NULL;
	while ((node = list_pop(&tp->txq)) != NULL)
		txbuf_put(list_entry(node, struct txbuf, node));
	tp->sk.tx_acked = tp->sk.tx_taken;
	tcp_ooo_drop(tp);
	tcp_xmit_drop(tp);
	tcp_loss_put(tp);
}

void tcp_done(struct tcp_sock *tp, enum cv_error error, const char *why)
{
	if (tp->state == TCP_CLOSED)
		return;
	tcp_fastopen_end(tp, error != CV_OK);
	tcp_timer_stop_all(tp);
	tcp_pace_stop(tp);
	tcp_plpmtud_stop(tp);
	queues_drop(tp);
	if (tp->hashed)
		tcp_flow_del(tp->sk.engine, &tp->sk.flow);
	tp->hashed = 0;
	tp->ended = tp->state >= TCP_ESTABLISHED;
	tcp_set_state(tp, TCP_CLOSED, why);
	tp->sk.status |= CV_ST_DEAD | CV_ST_RX_EOF;
	if (error != CV_OK)
		sock_set_error(&tp->sk, error);
}

#define WALK_ALWAYS (1u << 20) /* bytes; for more, a walk at each segment would take the square of the time */
#define WALK_EVERY 256u

static bool is_walked(const struct tcp_sock *tp, uint32_t bytes)
{
	return bytes <= WALK_ALWAYS || (tp->segs_in + tp->segs_out) % WALK_EVERY == 0;
}

/* They cover all that is under way, and count it rightly. */
static bool records_are_consistent(const struct tcp_sock *tp)
{
	uint32_t sacked = 0, lost = 0, flight = 0;
	uint64_t sent_ns = 0;

	if (tp->xmit == NULL)
		return tp->loss == NULL || (tp->loss->sacked_bytes == 0 && tp->loss->lost_bytes == 0);
	if (seq_gt(tp->xmit->lo, tp->snd_una) || tp->xmit_last->hi != tp->snd_max || tp->xmit_last->next != NULL)
		return false;
	if (!is_walked(tp, tp->snd_max - tp->snd_una))
		return true;
	for (const struct tcp_xmit *x = tp->xmit; x != NULL; x = x->next) {
		if (!seq_lt(x->lo, x->hi) || (x->next != NULL && x->next->lo != x->hi))
			return false;
		if (x->flags & XMIT_SACKED)
			sacked += x->hi - x->lo;
		else if (x->flags & XMIT_LOST)
			lost += x->hi - x->lo;
		else
			flight++;
	}
	if (tp->loss == NULL)
		return sacked + lost == 0;
	list_for_each(node, &tp->loss->flight)
	{
		const struct tcp_xmit *x = list_entry(node, const struct tcp_xmit, way);

		if (x->sent_ns < sent_ns) /* tcp_rack_detect() stops at the first that is not due */
			return false;
		sent_ns = x->sent_ns;
		flight--;
	}
	return sacked == tp->loss->sacked_bytes && lost == tp->loss->lost_bytes && flight == 0;
}

bool tcp_consistent(const struct tcp_sock *tp, const char **why)
{
	bool synced = tp->state >= TCP_ESTABLISHED;

#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			*why = #cond;                                                              \
			return false;                                                              \
		}                                                                                  \
	} while (0)
	MUST(tp->state < TCP_STATES);
	if (tp->state == TCP_CLOSED) {
		MUST(!tp->hashed);
		MUST(tp->loss == NULL && tp->ooo == NULL && tp->xmit == NULL);
		MUST(list_empty(&tp->txq));
		MUST(!timer_is_set(&tp->timer) && !tcp_pace_holds(tp) && tp->plpmtud == NULL);
		return true;
	}
	if (tp->state == TCP_LISTEN) {
		MUST(!tp->hashed);
		MUST(list_empty(&tp->txq));
		MUST(tp->sk.accepts != NULL);
		return true;
	}
	MUST(tp->hashed);
	MUST(tp->sk.accepts == NULL || (tp->fastopen && tp->state == TCP_SYN_RECEIVED));
	MUST(seq_leq(tp->snd_una, tp->snd_nxt));
	MUST(seq_leq(tp->snd_nxt, tp->snd_max));
	MUST(seq_leq(tp->snd_max, tp->snd_end + 1));
	MUST(tp->loss != NULL || !(tp->in_recovery | tp->rto_recovery));
	MUST(tp->loss == NULL || tp->loss->sacked.n == 0 || seq_gt(tp->loss->sacked.r[0].lo, tp->snd_una));
	MUST(records_are_consistent(tp));
	MUST(!is_walked(tp, tp->rcv_adv - tp->rcv_nxt) || tcp_ooo_is_consistent(tp));
	if (tp->snd_max != tp->snd_una)
		MUST(tcp_timer_is_on(tp, TCP_T_REXMT));
	if (synced)
		MUST(tp->mss > 0 && tp->cwnd > 0);
	if (tp->state == TCP_FIN_WAIT_1 || tp->state == TCP_CLOSING || tp->state == TCP_LAST_ACK)
		MUST(tp->fin_queued);
	if (tp->state == TCP_CLOSE_WAIT || tp->state == TCP_LAST_ACK || tp->state == TCP_CLOSING)
		MUST(tp->fin_received);
	if (tp->state == TCP_FIN_WAIT_2)
		MUST(tp->snd_una == tp->snd_end + 1);
#undef MUST
	return true;
}
