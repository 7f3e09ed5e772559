/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments near what is expected, against connections of both kinds, between calls of the user; the consistency of
 * each connection is checked after every entry (checks=true). */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/world/script.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_tcp");
	world_tcp_max = 64;
	return 0;
}

static void segment(struct script *s, struct fuzz_input *in)
{
	static const uint8_t payload[1400];
	uint8_t flags = fuzz_u8(in) & 0x3f;
	uint32_t seq = fuzz_u8(in), ack = fuzz_u8(in), len = fuzz_u8(in);

	if (seq > 200)
		seq = fuzz_u32(in);
	if (ack > 200)
		ack = fuzz_u32(in);
	s->wnd = fuzz_u16(in);
	s->sacks_n = fuzz_u8(in) % 5;
	for (uint8_t i = 0; i < s->sacks_n && i < WIRE_TCP_SACK_MAX; i++)
		s->sacks[i] = (struct range){fuzz_u16(in), fuzz_u16(in)};
	if (s->sacks_n > WIRE_TCP_SACK_MAX)
		s->sacks_n = 0;
	s->urg = fuzz_u8(in) % 8 == 0 ? fuzz_u16(in) : 0;
	len = len % 4 == 0 ? len * 5 : len;
	if (fuzz_u8(in) & 1)
		script_send(s, flags, seq, ack, payload, len);
	else if (s->w->frames_n < 2048) /* a part of the burst that the next one ends */
		script_queue(s, flags, seq, ack, payload, len);
}

static void user_call(struct script *s, struct sock *sk, struct fuzz_input *in)
{
	static uint8_t buf[4096];
	uint8_t what = fuzz_u8(in);
	int on = what & 1;

	switch (what % 6) {
	case 0:
		if ((sk->status & CV_ST_CONNECTED) && !(sk->status & (CV_ST_TX_SHUT | CV_ST_DEAD)))
			script_write(s, sk, 1u + fuzz_u16(in) % 5000);
		break;
	case 1:
		(void)sock_recv_copy(sk, buf, sizeof(buf));
		break;
	case 2:
		sock_shutdown_wr(sk);
		break;
	case 3:
		(void)sock_setopt(sk, CV_OPT_NODELAY, &on, sizeof(on));
		break;
	case 4:
		(void)sock_setopt(sk, CV_OPT_KEEPALIVE, &on, sizeof(on));
		break;
	default:
		(void)sock_setopt(sk, CV_OPT_CORK, &on, sizeof(on));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct script *s = script_new(1);
	bool passive = fuzz_u8(&in) & 1;
	struct sock *listener = NULL;
	struct sock *sk = passive ? script_established_passive(s, &listener) : script_established_active(s);

	while (in.left > 0) {
		uint8_t op = fuzz_u8(&in);

		if (op % 4 == 0)
			user_call(s, sk, &in);
		else if (op % 4 == 1)
			script_wait(s, (uint64_t)(op >> 2) * (op >> 2) * 10 * MS);
		else
			segment(s, &in);
		s->head = s->tail; /* what it answers is not looked at */
	}
	sock_close(sk, fuzz_u8(&in) & 1);
	if (listener != NULL)
		sock_close(listener, true);
	script_free(s);
	return 0;
}
