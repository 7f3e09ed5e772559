/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments against one connection, opened either way with the options that the first bytes choose, between calls of the user,
 * ICMP errors and jumps of the clock. A peer that knows the numbers is met most: it acknowledges parts of what is under way,
 * reports other parts (SACK, DSACK), sends data in and out of order, marks packets; bytes that fit nothing come as well. The
 * consistency of the connection is checked after every entry (checks=true).
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/world/script.h"

#define FRAMES_MOST 2048u

struct target {
	struct script *s;
	struct sock *sk, *listener;
	struct tcp_sock *tp;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_tcp");
	world_tcp_max = 64;
	return 0;
}

/* --- the handshake ------------------------------------------------------------------------------- */

static struct sock *passive(struct script *s, struct sock **listener, uint8_t ecn)
{
	*listener = script_listen(s, 4);
	script_send(s, TCP_SYN | ecn, 0, 0, NULL, 0);
	script_send(s, TCP_ACK, 1, 1, NULL, 0);
	return script_accept(s, *listener);
}

static struct sock *active(struct script *s, uint8_t ecn)
{
	struct cv_endpoint to = world_endpoint(1, s->peer_port);
	struct sock *sk = script_socket(s);

	(void)sock_connect(sk, &to);
	script_wait(s, MS);
	script_send(s, TCP_SYN | TCP_ACK | (ecn & TCP_ECE), 0, 1, NULL, 0);
	return sk;
}

static void target_open(struct target *t, struct fuzz_input *in)
{
	static const uint16_t mss[] = {1460, 536, 1000, 0};
	static const char *const congestion[] = {"cubic", "reno", "dctcp", "cubic"};
	uint8_t how = fuzz_u8(in), with = fuzz_u8(in);
	struct script *s = t->s;

	s->sack_ok = how & 2;
	s->ts = how & 4;
	s->has_wscale = how & 8;
	s->wscale = s->has_wscale ? 7 : 0;
	s->mss = mss[how >> 4 & 3];
	s->e->tcp->config.ecn = with >> 2 & 1 ? 1 : 2;
	t->sk = how & 1 ? passive(s, &t->listener, how & 64 ? TCP_ECE | TCP_CWR : 0)
			: active(s, how & 64 ? TCP_ECE : 0);
	t->tp = tcp_of(t->sk);
	(void)sock_setopt(t->sk, CV_OPT_CONGESTION, congestion[with & 3], (uint32_t)strlen(congestion[with & 3]));
	s->head = s->tail;
}

/* --- the peer ------------------------------------------------------------------------------------ */

static void send_or_queue(struct script *s, bool queue, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	static const uint8_t payload[1500];

	if (!queue)
		script_send(s, flags, seq, ack, payload, len);
	else if (s->w->frames_n < FRAMES_MOST) /* a part of the burst that the next one ends */
		script_queue(s, flags, seq, ack, payload, len);
}

/* Any bytes near the beginning of the connection, or anywhere. */
static void segment_any(struct script *s, struct fuzz_input *in)
{
	uint8_t flags = fuzz_u8(in);
	uint32_t seq = fuzz_u8(in), ack = fuzz_u8(in), len = fuzz_u8(in);

	if (seq > 200)
		seq = fuzz_u32(in);
	if (ack > 200)
		ack = fuzz_u32(in);
	s->wnd = fuzz_u16(in);
	s->sacks_n = fuzz_u8(in) % (WIRE_TCP_SACK_MAX + 1);
	for (uint8_t i = 0; i < s->sacks_n; i++)
		s->sacks[i] = (struct range){fuzz_u16(in), fuzz_u16(in)};
	s->urg = fuzz_u8(in) % 8 == 0 ? fuzz_u16(in) : 0;
	len = len % 4 == 0 ? len * 5 : len;
	send_or_queue(s, !(fuzz_u8(in) & 1), flags, seq, ack, len);
	s->urg = 0;
	s->sacks_n = 0;
}

/* Parts of what is under way were received: from and for so many segments' bytes. The first may be told as received twice. */
static void sacks_fill(struct target *t, struct fuzz_input *in, uint8_t n)
{
	uint32_t una = t->tp->snd_una - t->s->irs, mss = t->tp->mss;

	for (uint8_t i = 0; i < n % (WIRE_TCP_SACK_MAX + 1); i++) {
		uint8_t at = fuzz_u8(in);
		uint32_t lo = una + (at & 31u) * mss, hi = lo + (1u + (at >> 5)) * mss;

		if (i == 0 && (n & 64)) {
			lo -= 2 * mss;
			hi = lo + mss;
		} else if ((n & 128) && (int32_t)(hi + t->s->irs - t->tp->snd_max) > 0) {
			hi = t->tp->snd_max - t->s->irs;
		}
		if (hi != lo)
			t->s->sacks[t->s->sacks_n++] = (struct range){lo, hi};
	}
}

/* A segment of a peer that knows where we are. */
static void segment_near(struct target *t, struct fuzz_input *in, bool sacks)
{
	static const uint16_t windows[] = {65535, 65535, 3000, 0};
	uint8_t what = fuzz_u8(in), how = fuzz_u8(in);
	const struct tcp_sock *tp = t->tp;
	struct script *s = t->s;
	uint32_t una = tp->snd_una - s->irs, max = tp->snd_max - s->irs, nxt = tp->rcv_nxt - s->iss;
	const uint32_t acks[] = {una, una, max, una + tp->mss, una + 2u * tp->mss, una + (max - una) / 2, una - 1, max + 1};
	const uint32_t seqs[] = {nxt, nxt, nxt + 1000, nxt - 1000, nxt + 100u * fuzz_u8(in), nxt - 1, nxt + tp->rcv_wnd, nxt + 3000};
	const uint32_t lens[] = {0, 0, 1000, 1};
	uint8_t flags = TCP_ACK | (how & 4 ? TCP_ECE : 0) | (how & 8 ? TCP_CWR : 0);

	if ((how & 0xf0) == 0x10)
		flags |= TCP_FIN;
	else if ((how & 0xf0) == 0x20)
		flags = TCP_RST;
	else if ((how & 0xf0) == 0x30)
		flags |= TCP_SYN;
	s->wnd = windows[how & 3];
	s->tos = how >> 6; /* ECN's field */
	s->tsval += how >> 5 & 1;
	if (sacks)
		sacks_fill(t, in, fuzz_u8(in));
	send_or_queue(s, (how & 0xf0) == 0x40, flags, seqs[what >> 3 & 7], acks[what & 7], lens[what >> 6]);
	s->sacks_n = 0;
	s->tos = 0;
}

static void icmp(struct target *t, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	struct script *s = t->s;
	const struct icmp_error err = {.error = what & 1 ? CV_EHOSTUNREACH : CV_ECONNREFUSED, .hard = what & 2,
		.mtu = what & 4 ? (uint16_t)(fuzz_u8(in) * 8) : 0, .local = world_endpoint(0, s->port),
		.peer = world_endpoint(1, s->peer_port), .seq = t->tp->snd_una + (what & 8 ? fuzz_u16(in) : 0)};

	tcp_icmp_error(s->e, &err);
}

/* --- the user ------------------------------------------------------------------------------------ */

static void option(struct sock *sk, struct fuzz_input *in)
{
	uint8_t out[256];
	uint32_t len = sizeof(out);
	enum cv_option which = (enum cv_option)(1 + fuzz_u8(in) % (CV_OPT_COUNT - 1));
	uint8_t how = fuzz_u8(in);
	int v = how & 1 ? (int)(how >> 2) : (int)fuzz_u32(in);

	if (how & 2)
		(void)sock_getopt(sk, which, out, &len);
	else
		(void)sock_setopt(sk, which, &v, sizeof(v));
}

static void user_call(struct target *t, struct fuzz_input *in)
{
	static uint8_t buf[4096];
	uint8_t what = fuzz_u8(in);
	struct sock *sk = t->sk;
	int on = what & 1;

	switch (what % 8) {
	case 0:
	case 1:
	case 2:
		if ((sk->status & CV_ST_CONNECTED) && !(sk->status & (CV_ST_TX_SHUT | CV_ST_DEAD)))
			script_write(t->s, sk, what & 128 ? 1u + fuzz_u16(in) % 60000 : 1u + fuzz_u8(in));
		break;
	case 3:
	case 4:
		(void)sock_recv_copy(sk, buf, sizeof(buf));
		break;
	case 5:
		if (what > 200)
			sock_shutdown_wr(sk);
		else
			(void)sock_setopt(sk, what & 8 ? CV_OPT_NODELAY : CV_OPT_CORK, &on, sizeof(on));
		break;
	case 6:
		(void)sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on));
		break;
	default:
		option(sk, in);
	}
}

/* --- time ---------------------------------------------------------------------------------------- */

/* To the next timer, or a time that means something to one. */
static void time_pass(struct script *s, uint8_t what)
{
	static const uint16_t ms[] = {1, 2, 5, 10, 20, 30, 50, 100, 150, 200, 300, 500, 1000, 3000, 10000, 60000};
	uint64_t deadline = engine_deadline_ns(s->e);

	if ((what & 1) && deadline != UINT64_MAX && deadline > s->w->now_ns)
		script_wait(s, deadline - s->w->now_ns);
	else
		script_wait(s, ms[what >> 1 & 15] * MS);
}

static void step(struct target *t, struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
		user_call(t, in);
		break;
	case 3:
	case 4:
	case 5:
		time_pass(t->s, op >> 4 | (uint8_t)(op << 3 & 0x10));
		break;
	case 6:
		icmp(t, in);
		break;
	case 7:
	case 8:
		segment_any(t->s, in);
		break;
	case 9:
	case 10:
	case 11:
	case 12:
		segment_near(t, in, false);
		break;
	default:
		segment_near(t, in, true);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct target t = {.s = script_new(1)};
	const int none = 0;
	const uint64_t no_bound = UINT64_MAX;

	t.s->forgets = true; /* what it answers is checked as it comes, and not looked at later */
	target_open(&t, &in);
	while (in.left > 0)
		step(&t, &in);
	/* Whatever was asked for, it is over in time. */
	(void)sock_setopt(t.sk, CV_OPT_USER_TIMEOUT, &none, sizeof(none));
	(void)sock_setopt(t.sk, CV_OPT_LINGER2, &none, sizeof(none));
	(void)sock_setopt(t.sk, CV_OPT_MAX_PACING_RATE, &no_bound, sizeof(no_bound)); /* a byte a second takes long */
	sock_close(t.sk, size > 0 && (data[0] & 128));
	if (t.listener != NULL)
		sock_close(t.listener, true);
	script_free(t.s);
	return 0;
}
