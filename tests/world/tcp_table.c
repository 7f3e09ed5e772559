/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State x event, exhaustively: every combination of flags with every kind of sequence number, acknowledgment and text meets a
 * connection in each state, and what comes of it is compared with tcp_table.def (RFC9293:3.10.7).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/world/script.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* As tcp_table.def names them. */
enum {
	CLOSED = 1 << 0, LISTEN = 1 << 1, SYN_SENT = 1 << 2, SYN_RECEIVED = 1 << 3, SYN_RECEIVED_ACTIVE = 1 << 4,
	ESTABLISHED = 1 << 5, CLOSE_WAIT = 1 << 6, FIN_WAIT_1 = 1 << 7, CLOSING = 1 << 8, LAST_ACK = 1 << 9,
	FIN_WAIT_2 = 1 << 10, TIME_WAIT = 1 << 11, STATES = 12,
	SYNCHRONISED = SYN_RECEIVED_ACTIVE | ESTABLISHED | CLOSE_WAIT | FIN_WAIT_1 | CLOSING | LAST_ACK | FIN_WAIT_2,
	SAME = 0,
};
enum { FIN = TCP_FIN, SYN = TCP_SYN, RST = TCP_RST, ACK = TCP_ACK, FLAGS = 64 };
/* The first number of the segment: long ago; one before what is expected; a few before; that; in the window; its end; beyond. */
enum { OLD = 1 << 0, LAST = 1 << 1, PART = 1 << 2, NEXT = 1 << 3, INSIDE = 1 << 4, EDGE = 1 << 5, BEYOND = 1 << 6,
	SEQS = 7, ANY_SEQ = 127 };
/* What it acknowledges: more than a window below; below; what is acknowledged already; all; more than we sent. OLD is 1, too. */
enum { UNA = 1 << 1, NEW = 1 << 2, FUTURE = 1 << 3, TOO_OLD = 1 << 4, ACKS = 5, ANY_ACK = 31 };
enum { EMPTY = 1, BYTES = 2, ANY_TEXT = 3 };
enum answer { NOTHING, ACK_NOW, SYN_ACK, RST_OF_ACK, RST_WITH_ACK, OTHER, SEVERAL };
enum taken { NO, YES, LATER };

static const char *const state_names[] = {"CLOSED", "LISTEN", "SYN_SENT", "SYN_RECEIVED", "SYN_RECEIVED_ACTIVE", "ESTABLISHED",
	"CLOSE_WAIT", "FIN_WAIT_1", "CLOSING", "LAST_ACK", "FIN_WAIT_2", "TIME_WAIT"};
static const char *const seq_names[] = {"OLD", "LAST", "PART", "NEXT", "INSIDE", "EDGE", "BEYOND"};
static const char *const ack_names[] = {"OLD", "UNA", "NEW", "FUTURE", "TOO_OLD"};
static const char *const answer_names[] = {"NOTHING", "ACK_NOW", "SYN_ACK", "RST_OF_ACK", "RST_WITH_ACK", "another", "several"};
static const char *const taken_names[] = {"NO", "YES", "LATER"};

struct row {
	unsigned states, with, without, seq, ack, text, after;
	enum answer answer;
	enum taken taken;
	const char *why;
	unsigned fits;
};

static struct row rows[] = {
#define X(states, with, without, seq, ack, text, after, answer, taken, why)                                                  \
	{states, with, without, seq, ack, text, after, answer, taken, why, 0},
#include "tests/world/tcp_table.def"
#undef X
};

/* One segment for one state. */
struct cell {
	unsigned state, flags, seq, ack, text;
};

struct outcome {
	unsigned after;
	enum answer answer;
	enum taken taken;
};

/* What the segment is aimed at. */
struct target {
	struct sock *sk;
	uint32_t rcv_nxt, rcv_wnd, una, max; /* relative, as in a script */
};

static struct script *s;
static struct sock *listener;

/* --- a connection in a state --------------------------------------------------------------------- */

static struct sock_flow *flow(void)
{
	const struct cv_endpoint local = world_endpoint(0, s->port), peer = world_endpoint(1, s->peer_port);

	return tcp_flow_find(s->e, &local, &peer);
}

static struct sock *passive(void)
{
	s->port = SCRIPT_PORT;
	script_send(s, TCP_SYN, 0, 0, NULL, 0);
	script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	return script_accept(s, listener);
}

static struct sock *active(void)
{
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	assert_int_equal(sock_connect(sk, &to), 0);
	script_expect(s, TCP_SYN, 0, 0, 0);
	return sk;
}

static struct sock *closing(unsigned state)
{
	struct sock *sk = passive();

	if (state == LAST_ACK)
		script_send(s, TCP_ACK | TCP_FIN, 1, 1, NULL, 0);
	sock_shutdown_wr(sk);
	script_wait(s, 0);
	if (state == CLOSING)
		script_send(s, TCP_ACK | TCP_FIN, 1, 1, NULL, 0);
	if (state == FIN_WAIT_2 || state == TIME_WAIT)
		script_send(s, TCP_ACK, 1, 2, NULL, 0);
	if (state == TIME_WAIT)
		script_send(s, TCP_ACK | TCP_FIN, 1, 2, NULL, 0);
	return sk;
}

static struct sock *state_reach(unsigned state)
{
	struct sock *sk = NULL;

	s->port = state == CLOSED ? 81 : SCRIPT_PORT;
	s->irs_known = false;
	if (state == CLOSED || state == LISTEN) {
		s->irs = 0;
		s->irs_known = true;
	} else if (state == SYN_RECEIVED) {
		script_send(s, TCP_SYN, 0, 0, NULL, 0);
		script_expect(s, TCP_SYN | TCP_ACK, 0, 1, 0);
	} else if (state == SYN_SENT || state == SYN_RECEIVED_ACTIVE) {
		sk = active();
		if (state == SYN_RECEIVED_ACTIVE)
			script_send(s, TCP_SYN, 0, 0, NULL, 0);
	} else if (state == ESTABLISHED || state == CLOSE_WAIT) {
		sk = passive();
		if (state == CLOSE_WAIT)
			script_send(s, TCP_ACK | TCP_FIN, 1, 1, NULL, 0);
		script_write(s, sk, 10);
		script_wait(s, 0);
	} else {
		sk = closing(state);
	}
	s->head = s->tail;
	return sk;
}

static struct target target_of(unsigned state, struct sock *sk)
{
	struct target t = {.sk = sk, .rcv_nxt = 1, .rcv_wnd = 65535, .una = 1, .max = 1};
	const struct sock_flow *f = flow();

	if (f != NULL && f->kind == TCP_FLOW_SOCK) {
		const struct tcp_sock *tp = tcp_of(sk);

		if (state != SYN_SENT) {
			t.rcv_nxt = tp->rcv_nxt - s->iss;
			t.rcv_wnd = tp->rcv_adv - tp->rcv_nxt;
		}
		t.una = tp->snd_una - s->irs;
		t.max = tp->snd_max - s->irs;
	} else if (f != NULL && f->kind == TCP_FLOW_EMBRYO) {
		t.rcv_wnd = cv_container_of(f, const struct tcp_embryo, flow)->rcv_wnd;
		t.una = 0;
	} else if (f != NULL) {
		const struct tcp_tw *tw = cv_container_of(f, const struct tcp_tw, flow);

		t.rcv_nxt = tw->rcv_nxt - s->iss;
		t.una = t.max = tw->snd_nxt - s->irs;
	}
	return t;
}

/* --- the segment, and what came of it ------------------------------------------------------------------ */

static uint32_t seq_of(const struct target *t, unsigned seq)
{
	switch (seq) {
	case OLD:
		return t->rcv_nxt - 200;
	case LAST:
		return t->rcv_nxt - 1;
	case PART:
		return t->rcv_nxt - 5;
	case INSIDE:
		return t->rcv_nxt + 100;
	case EDGE:
		return t->rcv_nxt + t->rcv_wnd;
	case BEYOND:
		return t->rcv_nxt + t->rcv_wnd + 100;
	default:
		return t->rcv_nxt;
	}
}

static uint32_t ack_of(const struct target *t, unsigned ack)
{
	switch (ack) {
	case OLD:
		return t->una - 1;
	case TOO_OLD:
		return t->una - 100000000;
	case NEW:
		return t->max;
	case FUTURE:
		return t->max + 1;
	default:
		return t->una;
	}
}

static enum answer answer_of(const struct target *t, const struct cell *c)
{
	const struct script_seg *seg = script_next(s, 0);
	uint8_t flags;

	if (seg == NULL)
		return NOTHING;
	if (script_next(s, 0) != NULL)
		return SEVERAL;
	flags = seg->h.flags & (uint8_t)~TCP_PSH;
	if (flags == TCP_ACK)
		return ACK_NOW;
	if (flags == (TCP_SYN | TCP_ACK))
		return SYN_ACK;
	if (flags == TCP_RST && seg->seq == ack_of(t, c->ack))
		return RST_OF_ACK;
	return flags == (TCP_RST | TCP_ACK) ? RST_WITH_ACK : OTHER;
}

static unsigned state_of_sock(const struct sock *sk)
{
	static const unsigned states[TCP_STATES] = {[TCP_CLOSED] = CLOSED, [TCP_LISTEN] = LISTEN, [TCP_SYN_SENT] = SYN_SENT,
		[TCP_SYN_RECEIVED] = SYN_RECEIVED_ACTIVE, [TCP_ESTABLISHED] = ESTABLISHED, [TCP_CLOSE_WAIT] = CLOSE_WAIT,
		[TCP_FIN_WAIT_1] = FIN_WAIT_1, [TCP_CLOSING] = CLOSING, [TCP_LAST_ACK] = LAST_ACK,
		[TCP_FIN_WAIT_2] = FIN_WAIT_2, [TCP_TIME_WAIT] = TIME_WAIT};

	return states[script_state(sk)];
}

static unsigned state_now(const struct cell *c, struct sock *sk)
{
	const struct sock_flow *f = flow();

	if (f != NULL && f->kind == TCP_FLOW_EMBRYO)
		return SYN_RECEIVED;
	if (f != NULL && f->kind == TCP_FLOW_TW)
		return TIME_WAIT;
	if (sk != NULL)
		return state_of_sock(sk);
	return c->state == LISTEN || c->state == SYN_RECEIVED ? LISTEN : CLOSED;
}

static enum taken taken_of(const struct sock *sk, uint64_t before)
{
	if (sk == NULL)
		return NO;
	if (tcp_of((struct sock *)(uintptr_t)sk)->ooo != NULL)
		return LATER;
	return tcp_of((struct sock *)(uintptr_t)sk)->rx_total > before ? YES : NO;
}

/* Nothing of the cell is left. */
static void forget(struct sock *sk)
{
	struct sock_flow *f;

	if (sk != NULL)
		sock_close(sk, true);
	while (sock_accept(listener) != NULL)
		sock_accept_done(listener);
	f = flow();
	if (f != NULL && f->kind == TCP_FLOW_EMBRYO)
		tcp_embryo_free(s->e, cv_container_of(f, struct tcp_embryo, flow));
	else if (f != NULL && f->kind == TCP_FLOW_TW)
		tcp_tw_free(s->e, cv_container_of(f, struct tcp_tw, flow));
	assert_null(flow());
	script_wait(s, 2 * MS); /* challenge ACKs are rationed by the second */
	s->head = s->tail;
}

static struct outcome play(const struct cell *c)
{
	static const uint8_t text[10];
	struct outcome o;
	struct target t;
	struct sock *sk;
	uint64_t before;

	s->peer_port = (uint16_t)(s->peer_port < 60000 ? s->peer_port + 1 : 1025);
	sk = state_reach(c->state);
	t = target_of(c->state, sk);
	before = sk != NULL ? tcp_of(sk)->rx_total : 0;
	s->urg = c->flags & TCP_URG ? 1 : 0;
	script_send(s, (uint8_t)c->flags, seq_of(&t, c->seq), ack_of(&t, c->ack), text, c->text == BYTES ? sizeof(text) : 0);
	s->urg = 0;
	if (sk == NULL && (sk = sock_accept(listener)) != NULL)
		sock_accept_done(listener);
	o.answer = answer_of(&t, c);
	o.after = state_now(c, sk);
	o.taken = taken_of(sk, before);
	forget(sk);
	return o;
}

/* --- the table -------------------------------------------------------------------------------------- */

static struct row *row_of(const struct cell *c)
{
	for (size_t i = 0; i < N(rows); i++) {
		struct row *r = &rows[i];

		if ((r->states & c->state) && (c->flags & r->with) == r->with && !(c->flags & r->without) && (r->seq & c->seq) &&
			(!(c->flags & TCP_ACK) || (r->ack & c->ack)) && (r->text & c->text))
			return r;
	}
	return NULL;
}

static unsigned bit_of(unsigned mask)
{
	return (unsigned)__builtin_ctz(mask);
}

static void complain(const struct cell *c, const struct row *r, const struct outcome *o)
{
	static const char *const flags[] = {"FIN ", "SYN ", "RST ", "PSH ", "ACK ", "URG "};
	char text[64] = "";

	for (unsigned i = 0; i < N(flags); i++)
		strcat(text, c->flags & 1u << i ? flags[i] : "");
	print_error("%s, %sseq %s ack %s %s: %s, %s, text %s; the table: %s, %s, text %s (%s)\n", state_names[bit_of(c->state)],
		text, seq_names[bit_of(c->seq)], ack_names[bit_of(c->ack)], c->text == BYTES ? "with text" : "empty",
		state_names[bit_of(o->after)], answer_names[o->answer], taken_names[o->taken],
		r == NULL ? "no row" : state_names[bit_of(r->after != SAME ? r->after : c->state)],
		r == NULL ? "" : answer_names[r->answer], r == NULL ? "" : taken_names[r->taken], r == NULL ? "" : r->why);
}

static bool cell_is_right(const struct cell *c)
{
	struct row *r = row_of(c);
	struct outcome o = play(c);

	if (r != NULL)
		r->fits++;
	if (r != NULL && o.after == (r->after != SAME ? r->after : c->state) && o.answer == r->answer && o.taken == r->taken)
		return true;
	complain(c, r, &o);
	return false;
}

static void every_state__every_segment__as_the_table_says(void **state)
{
	unsigned cells = 0, wrong = 0;

	(void)state;
	s = script_new(1);
	listener = script_listen(s, 16);
	for (struct cell c = {.state = CLOSED}; c.state <= TIME_WAIT; c.state <<= 1)
		for (c.flags = 0; c.flags < FLAGS; c.flags++)
			for (c.seq = OLD; c.seq <= BEYOND; c.seq <<= 1)
				for (c.ack = OLD; c.ack <= (c.flags & TCP_ACK ? TOO_OLD : OLD); c.ack <<= 1)
					for (c.text = EMPTY; c.text <= BYTES; c.text++, cells++)
						if (!cell_is_right(&c) && ++wrong == 100000)
							fail_msg("100 cells are not as the table says");
	sock_close(listener, true);
	script_free(s);
	for (size_t i = 0; i < N(rows); i++)
		if (rows[i].fits == 0)
			fail_msg("no segment fits row %zu: %s", i, rows[i].why);
	print_message("%u cells, %zu rows\n", cells, N(rows));
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state__every_segment__as_the_table_says),
	};

	world_eal_init("tcp_table");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
