/* SPDX-License-Identifier: BSD-3-Clause */
/* Handshakes: SYNs with all options, and what may follow them, from a few ports against a listener with SYN cookies and Fast Open or without,
 * between accepts, writes and ends; and connects of ours, fast ones among them. The consistency of each connection is checked
 * after every entry (checks=true). */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/world/script.h"

#define SOCKS 8u

struct ends {
	struct sock *listener, *sk[SOCKS];
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_handshake");
	world_tcp_max = 64;
	return 0;
}

static void segment(struct script *s, struct fuzz_input *in)
{
	static const uint8_t payload[256];
	uint8_t flags = fuzz_u8(in) & 0x3f, options = fuzz_u8(in), numbers = fuzz_u8(in);
	size_t got;
	const uint8_t *cookie;

	s->peer_port = (uint16_t)(SCRIPT_PEER_PORT + (options & 3));
	s->mss = options & 4 ? fuzz_u16(in) : 0;
	s->ts = options & 8;
	s->tsval += numbers >> 6;
	s->sack_ok = options & 16;
	s->has_wscale = options & 32;
	s->wscale = numbers & 15;
	s->has_fo = options & 64;
	s->fo_n = s->has_fo && (options & 128) ? (uint8_t)(4 + numbers % 7 * 2) : 0;
	cookie = fuzz_bytes(in, s->fo_n, &got);
	memset(s->fo, 0, sizeof(s->fo));
	if (got > 0)
		memcpy(s->fo, cookie, got);
	s->wnd = fuzz_u16(in);
	if (flags & TCP_SYN)
		s->irs_known = false;
	script_send(s, flags, numbers % 5, 1 + numbers % 3, payload, fuzz_u8(in));
}

static struct sock **place(struct ends *e, uint8_t at)
{
	return &e->sk[at % SOCKS];
}

static void drop(struct sock **at, bool abort)
{
	if (*at != NULL)
		sock_close(*at, abort);
	*at = NULL;
}

static void user_call(struct script *s, struct ends *e, struct fuzz_input *in)
{
	static const uint8_t keys[36] = {[3] = 1, [20] = 2};
	uint8_t what = fuzz_u8(in);
	struct sock **at = place(e, what >> 4);
	struct cv_endpoint to = world_endpoint(1, (uint16_t)(SCRIPT_PEER_PORT + (what >> 6)));
	int v = what >> 4 & 1;

	switch (what % 6) {
	case 0:
		drop(at, true);
		*at = sock_accept(e->listener);
		if (*at != NULL) {
			(*at)->user = s;
			sock_accept_done(e->listener);
		}
		break;
	case 1:
		drop(at, true);
		*at = script_socket(s);
		(void)sock_setopt(*at, CV_OPT_FASTOPEN_CONNECT, &v, sizeof(v));
		(void)sock_connect(*at, &to);
		break;
	case 2:
		if (*at != NULL && ((*at)->status & CV_ST_CONNECTED) && !((*at)->status & (CV_ST_TX_SHUT | CV_ST_DEAD)))
			script_write(s, *at, 1u + fuzz_u16(in) % 5000);
		break;
	case 3:
		if (*at != NULL)
			sock_shutdown_wr(*at);
		break;
	case 4:
		drop(at, v);
		break;
	default:
		v = what >> 4;
		(void)sock_setopt(e->listener, v & 1 ? CV_OPT_FASTOPEN : CV_OPT_DEFER_ACCEPT, &v, sizeof(v));
		if (v & 2) /* one key or two, of few, so that their cookies come again */
			(void)sock_setopt(e->listener, CV_OPT_FASTOPEN_KEY, keys + (v & 4), v & 8 ? 16 : 32);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t fast[] = {1, 3, 0x603, 7};
	struct fuzz_input in = {data, size};
	struct script *s = script_new(1);
	uint8_t mode = fuzz_u8(&in);
	struct ends e = {.listener = script_listen(s, mode >> 4)};

	s->forgets = true; /* what it answers is checked as it comes, and not looked at later */
	s->e->tcp->config.syncookies = mode % 3;
	s->e->tcp->config.fastopen = fast[mode >> 2 & 3];
	while (in.left > 0) {
		uint8_t op = fuzz_u8(&in);

		if (op % 4 == 0)
			user_call(s, &e, &in);
		else if (op % 4 == 1)
			script_wait(s, (uint64_t)(op >> 2) * (op >> 2) * 10 * MS);
		else
			segment(s, &in);
	}
	for (uint8_t i = 0; i < SOCKS; i++)
		drop(&e.sk[i], fuzz_u8(&in) & 1);
	sock_close(e.listener, true);
	script_free(s);
	return 0;
}
